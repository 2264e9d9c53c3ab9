//! A strategy in Rust on the built-in exchange: its messages as frames, a session that reads them, and a maker.

#![allow(dead_code, reason = "the example and the test use a part of it each")]

use krakpot_core::session::{Channel, Event, EventKind, EventSet, Options as SessionOptions, Session};
use krakpot_exchange::{Endpoint, Exchange};
use krakpot_trade::amount::{FeeRate, Price, Qty};
use krakpot_trade::engine::{Engine, Market, Strategy};
use krakpot_trade::loaded::{Loaded, Loader};
use krakpot_trade::pair::Pair;
use krakpot_trade::paper::{Cancels, Latency, Model, Options, Paper};
use krakpot_trade::report::Fill;
use krakpot_trade::run::{Gap, Run, RunOptions, Venue, Wake};
use krakpot_trade::terms::{Side, Terms};
use krakpot_trade::trader::{Options as TraderOptions, OrderEvent, Trader};

pub const SECOND: i64 = 1_000_000_000;
pub const MS: i64 = 1_000_000;
pub const SYMBOL: &str = "BTC/USD";
/// Messages of the exchange in a second, about.
const RATE: f64 = 2000.0;
/// An amount that is enough of everything, at scale 18.
const RICH: i128 = 10_i128.pow(9 + 18);

/// What came with one read of a socket: its time, ns, and texts of frames.
pub type Read = (i64, Vec<Vec<u8>>);

/// Texts of the frames of a block.
fn texts(mut block: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while let [0x81, length, ..] = *block {
        let (from, length) = match length {
            126 => (4, usize::from(u16::from_be_bytes([block[2], block[3]]))),
            127 => (
                10,
                usize::try_from(u64::from_be_bytes(*block[2..].first_chunk().expect("eight bytes"))).expect("fits"),
            ),
            short => (2, usize::from(short)),
        };
        found.push(block[from..from + length].to_vec());
        block = &block[from + length..];
    }
    assert!(block.is_empty(), "whole frames");
    found
}

/// So many seconds of one pair: a channel of books and trades, a read each millisecond.
pub fn reads(seconds: i64, seed: u64, books: Channel) -> Vec<Read> {
    let mut exchange = Exchange::new(1, RATE, seed, 0, false);
    let [public, level3] = [Endpoint::Public, Endpoint::Level3].map(|endpoint| exchange.connect(endpoint));
    exchange.allow("token", i64::MAX);
    let book = format!(r#""channel":"{}","depth":1000,"symbol":["{SYMBOL}"]"#, books.name());
    for (client, params) in [
        (public, r#""channel":"instrument""#.to_owned()),
        (public, format!(r#""channel":"trade","symbol":["{SYMBOL}"]"#)),
        if books == Channel::Level3 { (level3, format!(r#"{book},"token":"token""#)) } else { (public, book) },
    ] {
        exchange.receive(client, format!(r#"{{"method":"subscribe","params":{{{params}}}}}"#).as_bytes());
    }
    let mut found = Vec::new();
    for now in (0..seconds * SECOND).step_by(usize::try_from(MS).expect("fits")).skip(1) {
        exchange.advance(now, usize::MAX, 0);
        let frames: Vec<_> = [public, level3].into_iter().flat_map(|client| texts(&exchange.take(client))).collect();
        if !frames.is_empty() {
            found.push((now, frames));
        }
    }
    found
}

/// A session that takes them, and makes the events that a run wants.
pub fn session(books: Channel) -> Session {
    let channels = vec![Channel::Trade, books];
    let options = SessionOptions {
        channels,
        passive: true,
        depth: Some(1000),
        level3_depth: Some(1000),
        rows: false,
        ledger: false,
        ..SessionOptions::default()
    };
    let mut session = Session::new("played", options);
    let kinds = [EventKind::Level3, EventKind::Book, EventKind::Trade, EventKind::Gap, EventKind::Status];
    session.want_events(kinds.into_iter().fold(EventSet::NONE, EventSet::with));
    session
}

/// The pair, as the exchange describes it.
pub fn pair(reads: &[Read]) -> Pair {
    let mut session = session(Channel::Level3);
    for (now, frames) in reads {
        for frame in frames {
            session.receive(frame, *now);
        }
        if let Some((pair, _)) = session.pairs().find(|(pair, _)| pair.symbol == SYMBOL) {
            let steps = |value: Option<krakpot_core::decimal::Decimal>, precision| {
                value.and_then(|value| value.rescale(precision)).map_or(1, |steps| i64::try_from(steps).expect("fits"))
            };
            return Pair {
                symbol: SYMBOL.into(),
                base: pair.base.as_str().into(),
                quote: pair.quote.as_str().into(),
                price_precision: pair.price_precision,
                qty_precision: pair.qty_precision,
                cost_precision: pair.cost_precision.unwrap_or(5),
                price_increment: Price(steps(pair.price_increment, pair.price_precision)),
                qty_min: Qty(steps(pair.qty_min, pair.qty_precision)),
                cost_min: 0,
                maker: FeeRate(2500),
                taker: FeeRate(4000),
                status: pair.status.as_str().into(),
            };
        }
    }
    panic!("the exchange describes {SYMBOL}");
}

/// A run with so many accounts, each of which has enough of everything.
pub fn run(pair: &Pair, wake: Wake, accounts: usize, books: Channel) -> Run {
    let level3 = books == Channel::Level3;
    let model = if level3 { Model::Orders } else { Model::Bounds(Cancels::Ahead) };
    let latency = Latency::Fixed { entry: 5 * MS, response: 5 * MS };
    let options = RunOptions { wake, warmup: 0, quote: pair.quote.clone(), venue: Venue::Paper };
    let mut run = Run::new(options, Paper::new(Options { model, latency, depth: 1000, ..Options::default() }));
    assert_eq!(run.add_pair(pair.clone(), level3), Some(0));
    for _ in 0..accounts {
        let mut trader = Trader::new(TraderOptions { certain: true, ..TraderOptions::default() });
        trader.set_pair(pair.clone());
        trader.deposit(&pair.base, RICH);
        trader.deposit(&pair.quote, RICH);
        run.add_account(trader, (true, false)).expect("room");
    }
    run
}

/// Rests a little at the best price of each side, and goes along with it.
#[derive(Debug, Default)]
pub struct Maker {
    /// Own fills: local time, side, price, quantity, what proves it.
    pub fills: Vec<(i64, Side, Price, Qty, &'static str)>,
    /// Times at which the timer came.
    pub timers: Vec<i64>,
    pub gaps: usize,
    /// Why the run ended.
    pub ended: String,
}

impl Strategy for Maker {
    fn start(&mut self, m: &mut Market<'_>) {
        m.after(SECOND, "second");
    }

    fn book(&mut self, m: &mut Market<'_>, _: &Event) {
        let Some(touch) = m.touch(0) else { return };
        // What an order may cost of the rate counter at most.
        let (used, most) = m.rate(0);
        if used + 10.0 > f64::from(most) {
            return;
        }
        for (side, best) in [(Side::Buy, touch.bid), (Side::Sell, touch.ask)] {
            let Some((price, _)) = best else { continue };
            let own = m.orders(0, Some(side)).next().map(|order| (order.number, order.state().word(), order.price));
            match own {
                None => {
                    let qty = Qty(10 * m.run().pair(0).qty_min.0);
                    let terms = Terms { post_only: true, ..Terms::limit(0, side, qty, price) };
                    m.place(terms, 5 * SECOND, "");
                }
                Some((order, "open", at)) if at != Some(price) => m.amend(order, None, Some(price)),
                Some(_) => {}
            }
        }
    }

    fn fill(&mut self, m: &mut Market<'_>, e: &OrderEvent, fill: &Fill) {
        let side = m.order(e.order).expect("an own order").terms.side;
        self.fills.push((m.now(), side, fill.price, fill.qty, fill.evidence.word()));
    }

    fn gap(&mut self, _: &mut Market<'_>, _: &Gap) {
        self.gaps += 1;
    }

    fn timer(&mut self, m: &mut Market<'_>, tag: &str) {
        assert_eq!(tag, "second");
        self.timers.push(m.now());
        m.after(SECOND, "second");
    }

    fn stop(&mut self, _: &mut Market<'_>, reason: &str) {
        reason.clone_into(&mut self.ended);
    }
}

/// All of it in memory, and its events.
pub fn load(reads: &[Read], books: Channel) -> (Loaded, Vec<Event>) {
    let (mut session, mut loader, mut all) = (session(books), Loader::new(), Vec::new());
    let level3 = books == Channel::Level3;
    loader.add_pair(&pair(reads), level3, !level3).expect("room");
    for (now, frames) in reads {
        for frame in frames {
            session.receive(frame, *now);
        }
        let events = session.take_events();
        all.extend(events.iter().cloned());
        loader.read(*now, events, None, &session);
    }
    (loader.finish(), all)
}

/// Lets strategies run on what was read, to the end; how many events there were.
pub fn play<S: Strategy>(engine: &mut Engine<S>, reads: &[Read], books: Channel) -> usize {
    let (mut session, mut count) = (session(books), 0);
    engine.start(reads.first().map_or(0, |read| read.0));
    for (now, frames) in reads {
        // What is due before is said while books are those of before.
        engine.advance(*now);
        for frame in frames {
            session.receive(frame, *now);
        }
        let events = session.take_events();
        count += events.len();
        engine.events(events, &session);
    }
    engine.stop("the recording ended");
    count
}
