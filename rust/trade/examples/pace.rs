//! How fast paper trading is: `pace [SECONDS [ACCOUNTS]]`. It makes a level-3 record of the built-in exchange, then passes
//! it through paper trading alone, with one account and with many that follow the best prices to within some steps, and prints
//! rows a second of processor time.
#![allow(clippy::disallowed_methods, reason = "a program around the engine: it reads its arguments and the clock")]
#![allow(clippy::print_stdout, reason = "it prints its result")]

use std::time::Instant;

use krakpot_core::session::{Event, EventKind, EventSet, Options as SessionOptions, Session};
use krakpot_core::wire::message::{Kind, Side as BookSide};
use krakpot_exchange::{Endpoint, Exchange};
use krakpot_trade::amount::{FeeRate, Price, Qty};
use krakpot_trade::pair::Pair;
use krakpot_trade::paper::{Options, Paper};
use krakpot_trade::terms::{Request, Sent, Side, Terms};

const START: i64 = 1_785_641_751_000_000_000;
const MS: i64 = 1_000_000;
const SYMBOL: &str = "BTC/USD";

/// Best prices of both sides at a time.
type Best = [i64; 2];

/// Seconds of a processor that this program had, where the system tells; else those of the clock.
fn cpu(begin: Instant) -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let ns = text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok());
    ns.map_or_else(|| begin.elapsed().as_secs_f64(), |ns| ns / 1e9)
}

/// Texts of the WebSocket frames in a block.
fn texts(mut block: &[u8]) -> Vec<&[u8]> {
    let mut texts = Vec::new();
    while let [0x81, length, ..] = *block {
        let (at, length) = match length {
            126 => (4, usize::from(u16::from_be_bytes([block[2], block[3]]))),
            127 => (10, u32::from_be_bytes([block[6], block[7], block[8], block[9]]) as usize),
            short => (2, usize::from(short)),
        };
        texts.push(&block[at..at + length]);
        block = &block[at + length..];
    }
    texts
}

fn recorded(seconds: i64) -> Vec<(i64, Event, Best)> {
    let mut exchange = Exchange::new(1, 5000.0, 1, START, false);
    exchange.allow("token", i64::MAX);
    let [public, level3] = [Endpoint::Public, Endpoint::Level3].map(|end| exchange.connect(end));
    let subscribe = |more: &str| format!(r#"{{"method":"subscribe","params":{{"symbol":["{SYMBOL}"],{more}}}}}"#);
    exchange.receive(public, subscribe(r#""channel":"trade","snapshot":false"#).as_bytes());
    exchange.receive(level3, subscribe(r#""channel":"level3","depth":1000,"token":"token""#).as_bytes());
    let options = SessionOptions {
        passive: true,
        level3_depth: Some(1000),
        precision: [(SYMBOL.to_owned(), (1, 8))].into(),
        rows: false,
        ledger: false,
        ..SessionOptions::default()
    };
    let mut session = Session::new("pace", options);
    session.want_events(EventSet::NONE.with(EventKind::Level3).with(EventKind::Trade));
    let mut events = Vec::new();
    while exchange.now() < START + seconds * 1000 * MS {
        let now = exchange.now() + MS;
        exchange.advance(now, usize::MAX, 0);
        for socket in [level3, public] {
            for frame in texts(&exchange.take(socket)) {
                session.receive(frame, now);
            }
        }
        let orders = session.orders(SYMBOL).and_then(|synced| synced.book());
        let best = [BookSide::Bid, BookSide::Ask].map(|side| {
            let level = orders.and_then(|orders| orders.levels(side).next());
            level.and_then(|level| i64::try_from(level.0).ok()).unwrap_or(0)
        });
        events.extend(session.take_events().into_iter().map(|event| (now, event, best)));
    }
    events
}

fn terms(side: Side, price: i64) -> Terms {
    Terms { post_only: true, ..Terms::limit(0, side, Qty(1000), Price(price)) }
}

/// Seconds that a pass takes, and how many replies it gave.
fn pass(events: &[(i64, Event, Best)], accounts: usize, patience: i64) -> (f64, usize) {
    let mut paper = Paper::new(Options::default());
    let text = |text: &str| text.into();
    paper.set_pair(Pair {
        symbol: text(SYMBOL),
        base: text("BTC"),
        quote: text("USD"),
        price_precision: 1,
        qty_precision: 8,
        cost_precision: 4,
        price_increment: Price(1),
        qty_min: Qty(1000),
        cost_min: 0,
        maker: FeeRate(2500),
        taker: FeeRate(4000),
        status: text("online"),
    });
    for _ in 0..accounts {
        paper.add_account();
    }
    let mut quotes = vec![[(0_u64, 0_i64); 2]; accounts];
    let (mut next, mut replies, mut last) = (0, 0, 0);
    let begin = Instant::now();
    let before = cpu(begin);
    for (recv, event, best) in events {
        match event {
            Event::Level3(message, rows) => paper.level3(0, *recv, message.received.ts_event, message.kind, rows),
            Event::Trade(trade) if trade.kind == Kind::Update => {
                let taker = if trade.side == "buy" { Side::Buy } else { Side::Sell };
                let number = |found: Option<i128>| found.and_then(|number| i64::try_from(number).ok()).unwrap_or(0);
                let (price, qty) = (number(trade.price.rescale(1)), number(trade.qty.rescale(8)));
                let ts = trade.received.ts_event.unwrap_or(*recv);
                paper.trade(0, *recv, ts, taker, Price(price), Qty(qty), trade.trade_id);
            }
            _ => {}
        }
        paper.advance(*recv);
        replies += paper.take_replies().len();
        if *recv == last {
            continue;
        }
        last = *recv;
        // Each account keeps an order some steps behind the best price; it moves it when it is far from there.
        for (account, held) in quotes.iter_mut().enumerate() {
            for side in [Side::Buy, Side::Sell] {
                let away = i64::try_from(account % 3).unwrap_or(0);
                let price = if side == Side::Buy { best[0] - away } else { best[1] + away };
                let (order, at) = &mut held[side as usize];
                if (price - *at).abs() <= patience {
                    continue;
                }
                let cancel = Request::Cancel { order: *order };
                next += 1;
                (*order, *at) = (next, price);
                let add = Request::Add { order: next, terms: terms(side, price), deadline: i64::MAX };
                for request in [cancel, add] {
                    paper.send(account, Sent { ts: *recv, request });
                }
            }
        }
    }
    (cpu(begin) - before, replies)
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse::<i64>().ok());
    let seconds = arguments.next().unwrap_or(60);
    let many = arguments.next().and_then(|many| usize::try_from(many).ok()).unwrap_or(100);
    let events = recorded(seconds);
    let rows: usize = events
        .iter()
        .map(|(_, event, _)| match event {
            Event::Level3(_, rows) => rows.len(),
            _ => 1,
        })
        .sum();
    for (accounts, patience) in [(0, 0), (1, 50), (many, 50), (1, 0), (many, 0)] {
        let best = (0..3).map(|_| pass(&events, accounts, patience)).min_by(|one, other| one.0.total_cmp(&other.0));
        let (seconds, replies) = best.unwrap_or_default();
        #[allow(clippy::cast_precision_loss, reason = "a rate")]
        let rate = rows as f64 / seconds / 1e6;
        println!(
            "{accounts:>5} accounts, {patience:>2} steps: {rows} rows, {seconds:.3} s, {rate:.2} M rows/s, {replies} replies"
        );
    }
}
