//! The truth test: a client quotes on the built-in exchange; its requests and the public record of the same time, without
//! its own orders, go through paper trading. What was filled there must be what was filled here.

#![allow(clippy::print_stdout, reason = "it says what it found")]

#[path = "../../exchange/tests/common/mod.rs"]
mod frames;
mod told;

use std::collections::BTreeMap;

use frames::{MS, START, texts};
use krakpot_core::session::{Event, EventKind, EventSet, Options as SessionOptions, Session};
use krakpot_core::wire::message::Kind;
use krakpot_exchange::{Endpoint, Exchange};
use krakpot_trade::amount::{Price, Qty};
use krakpot_trade::pair::Pair;
use krakpot_trade::paper::{Cancels, Latency, Model, Options, Paper};
use krakpot_trade::report::{Change, Evidence, Reply};
use krakpot_trade::terms::{Request, Sent, Side, Terms};
use serde_json::{Value, json};

const SYMBOL: &str = "BTC/USD";
/// The smallest order: a lot.
const LOT: i64 = 1000;
const STEP: i64 = 5 * MS;

/// A fill: order, time, price, quantity.
type Filled = (u64, i64, i64, i64);

/// What the public sees, and what the client did and got.
struct Run {
    events: Vec<(i64, Event)>,
    requests: Vec<Sent>,
    ids: Vec<String>,
    filled: Vec<Filled>,
}

/// A number in steps; it has few enough digits for a float.
#[allow(clippy::cast_possible_truncation, reason = "rounded, and small")]
fn steps(value: &Value, decimals: i32) -> i64 {
    (value.as_f64().expect("a number") * 10f64.powi(decimals)).round() as i64
}

fn time(text: &Value) -> i64 {
    let text = text.as_str().expect("a time");
    let (clock, fraction) = text.trim_end_matches('Z').split_once('.').expect("a fraction");
    let part = |from: usize, to: usize| clock[from..to].parse::<i64>().expect("digits");
    // All of it is one day after the start, or the same.
    let days = START / 1_000_000_000 / 86_400;
    let seconds = days * 86_400 + part(11, 13) * 3600 + part(14, 16) * 60 + part(17, 19);
    seconds * 1_000_000_000 + format!("{fraction:0<9}").parse::<i64>().expect("digits")
}

/// A client that keeps an order of a lot at the best price of each side, and follows it.
struct Client {
    exchange: Exchange,
    private: u64,
    /// Numbers of its orders by id, and the open one of each side with its price.
    numbers: BTreeMap<String, u64>,
    open: [Option<(u64, i64)>; 2],
    run: Run,
}

impl Client {
    fn ask(&mut self, method: &str, mut params: Value, request: Option<Request>) -> Option<Value> {
        params["token"] = json!("token");
        let text = json!({"method": method, "params": params, "req_id": 1}).to_string();
        self.exchange.receive(self.private, text.as_bytes());
        let answer = self.hear();
        // What the exchange refuses, as its rate counter does, changes nothing.
        if let Some(request) = request.filter(|_| answer.as_ref().is_some_and(|answer| answer["success"] == true)) {
            self.run.requests.push(Sent { ts: self.exchange.now(), request });
        }
        answer
    }

    /// The answer, if one came; and what became of the orders.
    fn hear(&mut self) -> Option<Value> {
        let mut answer = None;
        let messages: Vec<Value> = texts(&self.exchange.take(self.private))
            .iter()
            .map(|text| serde_json::from_slice(text).expect("JSON"))
            .collect();
        for message in &messages {
            if message.get("method").is_some() {
                answer = Some(message.clone());
                if let Some(id) = message["result"]["order_id"].as_str().filter(|_| message["method"] == "add_order") {
                    self.numbers.insert(id.to_owned(), self.numbers.len() as u64);
                    self.run.ids.push(id.to_owned());
                }
            }
        }
        for row in messages.iter().filter_map(|message| message["data"].as_array()).flatten() {
            let Some(&number) = row["order_id"].as_str().and_then(|id| self.numbers.get(id)) else { continue };
            match row["exec_type"].as_str() {
                Some("trade") => {
                    assert_eq!(row["liquidity_ind"], "m", "{row}");
                    let (price, qty) = (steps(&row["last_price"], 1), steps(&row["last_qty"], 8));
                    self.run.filled.push((number, time(&row["timestamp"]), price, qty));
                }
                Some("filled" | "canceled") => {
                    for open in &mut self.open {
                        open.take_if(|open| open.0 == number);
                    }
                }
                _ => {}
            }
        }
        answer
    }

    /// Follows the best price of a side.
    fn quote(&mut self, side: Side, lots: i64) {
        let [bids, asks] = self.exchange.book(SYMBOL, 1).expect("a book");
        let best = if side == Side::Buy { bids } else { asks };
        let Some(price) = best.first().map(|best| steps(&json!(best.0.parse::<f64>().expect("a price")), 1)) else {
            return;
        };
        match self.open[side as usize] {
            Some((_, held)) if held == price => {}
            Some((order, _)) => {
                let id = self.run.ids[usize::try_from(order).expect("small")].clone();
                let request = Request::Cancel { order };
                self.ask("cancel_order", json!({"order_id": [id]}), Some(request));
            }
            None => {
                let order = self.numbers.len() as u64;
                let terms = Terms { post_only: true, ..Terms::limit(0, side, Qty(LOT * lots), Price(price)) };
                // Written as digits: a float of them is exact enough.
                #[allow(clippy::cast_precision_loss, reason = "small")]
                let number = |value: i64, decimals: i32| json!(value as f64 / 10f64.powi(decimals));
                let params = json!({
                    "order_type": "limit", "side": side.word(), "symbol": SYMBOL, "post_only": true,
                    "order_qty": number(LOT * lots, 8), "limit_price": number(price, 1),
                });
                let request = Request::Add { order, terms, deadline: i64::MAX };
                let answer = self.ask("add_order", params, Some(request)).expect("an answer");
                if answer["success"] == true {
                    self.open[side as usize] = Some((order, price));
                }
            }
        }
    }
}

/// Quotes for so many seconds.
fn quoted(seed: u64, seconds: i64, lots: i64) -> Run {
    let mut exchange = Exchange::new(1, 400.0, seed, START, false);
    let mut settings = krakpot_exchange::settings::Settings::default();
    for text in ["tier=pro", "balance.USD=100000000", "balance.BTC=1000"] {
        settings.set(text).expect(text);
    }
    exchange.set_account(settings);
    exchange.allow("token", i64::MAX);
    let [private, public, level3] =
        [Endpoint::Private, Endpoint::Public, Endpoint::Level3].map(|end| exchange.connect(end));
    let subscribe = |more: Value| {
        let mut params = json!({"symbol": [SYMBOL]});
        params.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json!({"method": "subscribe", "params": params}).to_string()
    };
    exchange.receive(public, subscribe(json!({"channel": "trade", "snapshot": false})).as_bytes());
    exchange.receive(public, subscribe(json!({"channel": "book", "depth": 100})).as_bytes());
    exchange.receive(level3, subscribe(json!({"channel": "level3", "depth": 1000, "token": "token"})).as_bytes());
    let mut session = Session::new(
        "truth",
        SessionOptions {
            passive: true,
            depth: Some(100),
            level3_depth: Some(1000),
            precision: [(SYMBOL.to_owned(), (1, 8))].into(),
            rows: false,
            ledger: false,
            ..SessionOptions::default()
        },
    );
    let kinds = [EventKind::Book, EventKind::Level3, EventKind::Trade, EventKind::Gap];
    session.want_events(kinds.into_iter().fold(EventSet::NONE, EventSet::with));
    let run = Run { events: Vec::new(), requests: Vec::new(), ids: Vec::new(), filled: Vec::new() };
    let mut client = Client { exchange, private, numbers: BTreeMap::new(), open: [None, None], run };
    client.ask("subscribe", json!({"channel": "executions"}), None);
    let end = START + seconds * 1_000_000_000;
    while client.exchange.now() < end {
        let now = client.exchange.now() + STEP;
        client.exchange.advance(now, usize::MAX, 0);
        client.hear();
        // The snapshot of level 3 takes its time.
        if now > START + 1_000 * MS {
            client.quote(Side::Buy, lots);
            client.quote(Side::Sell, lots);
        }
        for socket in [level3, public] {
            for frame in texts(&client.exchange.take(socket)) {
                session.receive(&frame, now);
            }
        }
        client.run.events.extend(session.take_events().into_iter().map(|event| (now, event)));
    }
    client.run
}

/// The same on paper.
fn simulated(run: &Run, model: Model) -> (Vec<Filled>, Vec<Evidence>) {
    let latency = Latency::Fixed { entry: 0, response: 0 };
    let depth = if model == Model::Orders { 1000 } else { 100 };
    let mut paper = Paper::new(Options { model, latency, depth, ..Options::default() });
    let pair = Pair { symbol: SYMBOL.into(), price_precision: 1, qty_precision: 8, ..told::pair() };
    assert_eq!((paper.set_pair(pair), paper.add_account()), (Some(0), Some(0)));
    paper.hide(run.ids.iter().map(String::as_str));
    for sent in &run.requests {
        paper.send_at(0, *sent, sent.ts);
    }
    let mut messages = 0;
    for (recv, event) in &run.events {
        match event {
            Event::Book(message, rows) if model != Model::Orders => {
                messages += 1;
                paper.level2(0, *recv, message.received.ts_event, message.kind, rows);
            }
            Event::Level3(message, rows) if model == Model::Orders => {
                messages += 1;
                paper.level3(0, *recv, message.received.ts_event, message.kind, rows);
            }
            Event::Trade(trade) if trade.kind == Kind::Update => {
                let taker = if trade.side == "buy" { Side::Buy } else { Side::Sell };
                let price = trade.price.rescale(1).and_then(|price| i64::try_from(price).ok()).expect("a price");
                let qty = trade.qty.rescale(8).and_then(|qty| i64::try_from(qty).ok()).expect("a quantity");
                let ts = trade.received.ts_event.expect("a time");
                paper.trade(0, *recv, ts, taker, Price(price), Qty(qty), trade.trade_id);
            }
            Event::Gap(gap) => panic!("a gap: {gap:?}"),
            _ => {}
        }
    }
    assert!(messages > 100, "only {messages} messages of a book");
    paper.advance(i64::MAX);
    assert_eq!(paper.skipped(0), 0);
    let (mut filled, mut evidence) = (Vec::new(), Vec::new());
    for (_, _, reply) in paper.take_replies() {
        match reply {
            Reply::Report(report) => {
                if let Change::Fill(fill) = report.change {
                    assert!(fill.maker);
                    filled.push((report.order, report.ts / 1000 * 1000, fill.price.0, fill.qty.0));
                    evidence.push(fill.evidence);
                }
            }
            Reply::Answer(answer) => {
                assert!(answer.result.is_ok() || answer.asked == krakpot_trade::report::Asked::Cancel, "{answer:?}");
            }
        }
    }
    (filled, evidence)
}

/// Goal: with orders of one lot, at least 99 of 100 fills are the same: order, instant, price and quantity.
#[test]
fn paper_is_what_was() {
    let (mut real, mut equal, mut more) = (0, 0, 0);
    let mut by_evidence: BTreeMap<&str, usize> = BTreeMap::new();
    let runs = runs();
    for seed in 0..runs {
        let run = quoted(seed, 30, 1);
        let (paper, evidence) = simulated(&run, Model::Orders);
        let (paper, was) = (joined(&paper), joined(&run.filled));
        for one in evidence {
            *by_evidence.entry(one.word()).or_default() += 1;
        }
        let same = was.iter().filter(|fill| paper.contains(fill)).count();
        (real, equal, more) = (real + was.len(), equal + same, more + paper.len() - same);
        for fill in was.iter().filter(|fill| !paper.contains(fill)).take(3) {
            println!("seed {seed}: real {fill:?}, on paper {:?}", paper.iter().find(|other| other.0 == fill.0));
        }
        for fill in paper.iter().filter(|fill| !was.contains(fill)).take(3) {
            println!("seed {seed}: on paper {fill:?}, real {:?}", was.iter().find(|other| other.0 == fill.0));
        }
    }
    println!("{real} fills, {equal} equal, {more} only on paper; {by_evidence:?}");
    assert!(real as u64 > 5 * runs, "only {real} fills");
    assert!(
        equal * 100 >= real * 99 && more * 100 <= real,
        "{equal} of {real} fills are equal, {more} are on paper only"
    );
}

/// Fills of an order at one instant and price together: on paper each kind of evidence is a fill of its own.
fn joined(filled: &[Filled]) -> Vec<Filled> {
    let mut sums: BTreeMap<(u64, i64, i64), i64> = BTreeMap::new();
    for &(order, time, price, qty) in filled {
        *sums.entry((order, time, price)).or_default() += qty;
    }
    sums.into_iter().map(|((order, time, price), qty)| (order, time, price, qty)).collect()
}

/// How many runs a test makes: `KRAKPOT_TRUTH`, or three.
#[allow(clippy::disallowed_methods, reason = "a test: how many runs it makes is said from outside")]
fn runs() -> u64 {
    std::env::var("KRAKPOT_TRUTH").ok().and_then(|runs| runs.parse().ok()).unwrap_or(3)
}

/// What fills are worth at the last price, in the smallest steps of both.
fn worth(run: &Run, filled: &[Filled]) -> i128 {
    let last = run.events.iter().rev().find_map(|(_, event)| match event {
        Event::Trade(trade) => trade.price.rescale(1),
        _ => None,
    });
    let last = last.expect("a trade");
    let side = |order: u64| {
        run.requests.iter().find_map(|sent| match sent.request {
            Request::Add { order: number, terms, .. } if number == order => Some(terms.side),
            _ => None,
        })
    };
    let of = |&(order, _, price, qty): &Filled| {
        let gain = (last - i128::from(price)) * i128::from(qty);
        if side(order) == Some(Side::Buy) { gain } else { -gain }
    };
    filled.iter().map(of).sum()
}

/// Goal: on level 2 what the client really made lies between the two bounds in 95 of 100 runs, and so does what was filled.
#[test]
fn level_2_gives_an_interval() {
    let runs = runs();
    let (mut worth_inside, mut qty_inside, mut fills) = (0, 0, 0);
    for seed in 100..100 + runs {
        let run = quoted(seed, 30, 1);
        let bounds = [Cancels::Ahead, Cancels::Behind].map(|cancels| simulated(&run, Model::Bounds(cancels)).0);
        let [most, least] = [0, 1].map(|at| worth(&run, &bounds[at]));
        let real = worth(&run, &run.filled);
        worth_inside += u64::from((most.min(least)..=most.max(least)).contains(&real));
        let qty = |filled: &[Filled]| filled.iter().map(|fill| fill.3).sum::<i64>();
        qty_inside += u64::from((qty(&bounds[1])..=qty(&bounds[0])).contains(&qty(&run.filled)));
        fills += run.filled.len();
    }
    assert!(fills as u64 > 5 * runs, "only {fills} fills");
    println!(
        "{fills} fills; of {runs} runs the worth of {worth_inside} is inside of the bounds, the quantity of {qty_inside}"
    );
    let least = runs - runs.div_ceil(20);
    assert!(worth_inside >= least, "the worth of only {worth_inside} of {runs} runs is inside");
    assert!(qty_inside >= least, "the quantity of only {qty_inside} of {runs} runs is inside");
}
