//! The private protocol against the built-in exchange: it takes every request, every message is read, and sums agree.

#[path = "../../exchange/tests/common/mod.rs"]
mod frames;

use std::collections::BTreeMap;
use std::sync::Arc;

use frames::{SECOND, START, texts};
use krakpot_core::decimal::{Decimal, pow10};
use krakpot_core::wire::message::Kind;
use krakpot_exchange::rng::Rng;
use krakpot_exchange::settings::Settings;
use krakpot_exchange::{Endpoint, Exchange};
use krakpot_trade::amount::{AMOUNT_SCALE, Amount, FeeRate, Price, Qty};
use krakpot_trade::names::order_number;
use krakpot_trade::pair::Pair;
use krakpot_trade::report::{Asked, Change, Report};
use krakpot_trade::terms::{Request, Side, Terms, TimeInForce, Trigger};
use krakpot_trade::wire::decode::Decoder;
use krakpot_trade::wire::follow::{Awaiting, Sequence};
use krakpot_trade::wire::message::{ExecType, Message};
use krakpot_trade::wire::request::{self, SelfTrade, Token, Writer};

const TOKEN: &str = "a token of the test";

fn amount(text: &str) -> Amount {
    Decimal::parse(text.as_bytes()).and_then(|number| number.rescale(AMOUNT_SCALE)).expect(text)
}

/// What is known of an order from its reports alone.
#[derive(Debug, Default, Clone, PartialEq)]
struct Known {
    filled: i64,
    /// As the last report that says it.
    told: i64,
    ended: bool,
}

struct Client {
    exchange: Exchange,
    connection: u64,
    pair: Pair,
    writer: Writer,
    token: Token,
    decoder: Decoder,
    awaiting: Awaiting,
    sequences: [Sequence; 2],
    orders: BTreeMap<u64, Known>,
    ids: BTreeMap<Arc<str>, u64>,
    balances: BTreeMap<Arc<str>, Amount>,
    kinds: BTreeMap<String, usize>,
    answers: [usize; 2],
    refusals: BTreeMap<Arc<str>, usize>,
    jumps: usize,
    fees: Amount,
}

impl Client {
    fn new(seed: u64) -> Self {
        let mut exchange = Exchange::new(2, 300.0, seed, START, false);
        let mut settings = Settings::default();
        settings.set("tier=pro").expect("a setting");
        exchange.set_account(settings);
        let token = TOKEN.replace(' ', "-");
        exchange.allow(&token, i64::MAX);
        let connection = exchange.connect(Endpoint::Private);
        let listed = exchange.pairs().next().expect("a pair");
        let pair = Pair {
            symbol: listed.symbol.as_str().into(),
            base: listed.base.as_str().into(),
            quote: listed.quote.as_str().into(),
            price_precision: listed.price_precision,
            qty_precision: listed.qty_precision,
            cost_precision: 4,
            price_increment: Price(1),
            qty_min: Qty(1),
            cost_min: 0,
            maker: FeeRate(2500),
            taker: FeeRate(4000),
            status: "online".into(),
        };
        let mut client = Self {
            exchange,
            connection,
            pair,
            writer: Writer { prefix: "kptests0".into(), self_trade: SelfTrade::CancelOldest, validate: false },
            token: Token::new(&token).expect("a token"),
            decoder: Decoder::default(),
            awaiting: Awaiting::new(0),
            sequences: [Sequence::default(); 2],
            orders: BTreeMap::new(),
            ids: BTreeMap::new(),
            balances: BTreeMap::new(),
            kinds: BTreeMap::new(),
            answers: [0; 2],
            refusals: BTreeMap::new(),
            jumps: 0,
            fees: 0,
        };
        let subscriptions = [
            request::executions((client.awaiting.id(), &client.token)),
            request::balances((client.awaiting.id(), &client.token)),
        ];
        for frame in subscriptions {
            client.exchange.receive(connection, frame.text().as_bytes());
        }
        client.hear();
        assert!(client.balances.len() > 1, "a snapshot of balances");
        client
    }

    fn ask(&mut self, request: &Request, amended: Option<(&Terms, Qty)>) {
        let id = self.awaiting.add(request);
        let frame = self.writer.request(request, &self.pair, amended, (id, &self.token)).expect("it can be said");
        self.exchange.receive(self.connection, frame.text().as_bytes());
        self.hear();
    }

    fn hear(&mut self) {
        for text in texts(&self.exchange.take(self.connection)) {
            let shown = String::from_utf8_lossy(&text).into_owned();
            match self.decoder.decode(&text).unwrap_or_else(|why| panic!("{why}: {shown}")) {
                Message::Executions(rows) => {
                    assert!(rows.refused.is_empty() && rows.more == 0, "{shown}");
                    self.jumps += usize::from(self.sequences[0].take(rows.kind, rows.sequence).is_err());
                    for row in &rows.taken {
                        let Some(order) =
                            row.cl_ord_id.as_deref().and_then(|name| order_number(&self.writer.prefix, name))
                        else {
                            panic!("not an own order: {shown}");
                        };
                        assert!(
                            rows.kind == Kind::Snapshot || row.rate.is_some(),
                            "the counter was asked for: {shown}"
                        );
                        assert!(!matches!(row.exec_type, ExecType::Other(_)), "{shown}");
                        *self.kinds.entry(format!("{:?}", row.exec_type)).or_default() += 1;
                        let report = row.report(order, &self.pair).unwrap_or_else(|why| panic!("{why}: {shown}"));
                        if let Some(report) = report {
                            self.report(&report, &shown);
                        }
                    }
                }
                Message::Holdings(rows) => {
                    assert_eq!(self.sequences[1].take(rows.kind, rows.sequence), Ok(()), "{shown}");
                    self.balances = rows.taken.iter().map(|row| (row.asset.clone(), row.total)).collect();
                }
                Message::Entries(rows) => {
                    self.jumps += usize::from(self.sequences[1].take(rows.kind, rows.sequence).is_err());
                    assert!(rows.refused.is_empty(), "{shown}");
                    for row in &rows.taken {
                        let balance = self.balances.entry(row.asset.clone()).or_default();
                        if self.jumps == 0 {
                            assert_eq!(row.balance, *balance + row.amount - row.fee, "{shown}");
                        }
                        *balance = row.balance;
                        self.fees += row.fee;
                    }
                }
                Message::Ack(ack) => match self.awaiting.answer(&ack, self.exchange.now()) {
                    Some(answer) => {
                        self.answers[usize::from(answer.result.is_err())] += 1;
                        match answer.result {
                            Ok(id) if answer.asked == Asked::Add => assert!(id.starts_with('O'), "{shown}"),
                            Ok(_) => {}
                            Err(text) => *self.refusals.entry(text).or_default() += 1,
                        }
                    }
                    None => assert!(ack.result.is_ok(), "{shown}"),
                },
                Message::Status(_) | Message::Heartbeat => {}
                Message::Other(_) | Message::Restarting => panic!("{shown}"),
            }
        }
    }

    fn report(&mut self, report: &Report, shown: &str) {
        assert_eq!(*self.ids.entry(report.order_id.clone()).or_insert(report.order), report.order, "{shown}");
        let known = self.orders.entry(report.order).or_default();
        assert!(!known.ended || matches!(report.change, Change::Fill(_)), "nothing follows the end: {shown}");
        if let Change::Fill(fill) = &report.change {
            known.filled += fill.qty.0;
        }
        known.told = report.filled.map_or(known.told, |filled| filled.0);
        if self.jumps == 0 {
            assert_eq!(known.told, known.filled, "{shown}");
        }
        known.ended |= matches!(report.change, Change::Filled | Change::Canceled | Change::Expired);
    }

    /// Best bid and ask, in steps.
    fn best(&self) -> [Price; 2] {
        let sides = self.exchange.book(&self.pair.symbol, 1).expect("a book");
        sides.map(|side| {
            let price = Decimal::parse(side[0].0.as_bytes()).and_then(|price| price.rescale(self.pair.price_precision));
            Price(price.and_then(|price| i64::try_from(price).ok()).expect("whole steps"))
        })
    }

    fn run(&mut self, seed: u64, requests: usize) {
        let mut rng = Rng::new(seed);
        let mut random = |below: usize| i64::try_from(rng.below(below)).expect("small");
        let mut made: Vec<Terms> = Vec::new();
        for _ in 0..requests {
            let now = self.exchange.now();
            let [bid, ask] = self.best();
            let side = if random(2) == 0 { Side::Buy } else { Side::Sell };
            let known = u64::try_from(random(made.len() + 1)).expect("positive");
            match random(10) {
                0..=5 => {
                    let near = if side == Side::Buy { bid } else { ask };
                    let price = Price(near.0 + random(60) - 30);
                    let qty = Qty(100_000 + random(900_000));
                    let mut terms = Terms { post_only: random(3) == 0, ..Terms::limit(0, side, qty, price) };
                    match random(8) {
                        0 => (terms.price, terms.post_only) = (None, false),
                        1 => (terms.time_in_force, terms.post_only) = (TimeInForce::Ioc, false),
                        2 => (terms.time_in_force, terms.post_only) = (TimeInForce::Fok, false),
                        3 => {
                            let until = now + (2 + random(5)) * SECOND + random(1_000_000_000);
                            terms.time_in_force = TimeInForce::Gtd(until);
                        }
                        4 => terms.display = Some(Qty(qty.0 / 10 + 1)),
                        5 => {
                            let by = random(20) * if side == Side::Buy { 1 } else { -1 };
                            let stop = random(4) > 0;
                            let price = Price(near.0 + if stop { by } else { -by });
                            terms.trigger = Some(Trigger { price, stop });
                            terms.post_only = false;
                            terms.price = terms.price.filter(|_| random(2) == 0);
                        }
                        _ => {}
                    }
                    let order = made.len() as u64;
                    made.push(terms);
                    self.ask(&Request::Add { order, terms, deadline: now + 5 * SECOND }, None);
                }
                6 | 7 => {
                    let Some(terms) = made.get(usize::try_from(known).expect("small")).copied() else { continue };
                    let price = terms.price.filter(|_| random(2) == 0).map(|price| Price(price.0 + random(9) - 4));
                    let qty = (random(2) == 0 || price.is_none()).then(|| Qty(terms.qty.0 / 2 + random(900_000)));
                    let deadline = now + 5 * SECOND;
                    self.ask(&Request::Amend { order: known, qty, price, deadline }, Some((&terms, terms.qty)));
                }
                _ => self.ask(&Request::Cancel { order: known }, None),
            }
            self.exchange.advance(now + random(400_000_000), usize::MAX, 0);
            self.hear();
        }
    }

    /// Balances and filled quantities as the exchange has them.
    fn check(&self) {
        let account = self.exchange.account("balances", i64::MAX);
        let listed = account.as_object().expect("balances");
        assert!(listed.len() > 1);
        for (asset, value) in listed {
            let total = amount(value[0].as_str().expect("a text"));
            assert_eq!(self.balances.get(asset.as_str()).copied().unwrap_or(0), total, "{asset}");
        }
        let trades = self.exchange.account("trades", i64::MAX);
        let mut filled: BTreeMap<&str, usize> = BTreeMap::new();
        for trade in trades.as_array().expect("trades") {
            *filled.entry(trade["order"].as_str().expect("an id of an order")).or_default() += 1;
        }
        let known: Vec<&str> = self.ids.iter().filter(|id| self.orders[id.1].filled > 0).map(|id| &**id.0).collect();
        assert_eq!(known, filled.into_keys().collect::<Vec<_>>(), "the same orders were filled");
    }
}

/// Goal: a client that knows only what it decodes has the same fills, fees and balances as the exchange, to the last digit.
#[test]
fn what_is_decoded_is_what_happened() {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 1..=6 {
        let mut client = Client::new(seed);
        client.run(seed, 400);
        assert_eq!(client.jumps, 0);
        assert!(client.awaiting.is_empty(), "every request has its answer");
        let [done, refused] = client.answers;
        assert!(done > 100 && refused > 5, "{done} done, {refused} refused: {:?}", client.refusals);
        for text in client.refusals.keys() {
            assert!(!text.contains("Unsupported field") && !text.contains("Malformed"), "{:?}", client.refusals);
        }
        assert!(client.fees > pow10(AMOUNT_SCALE) / 100, "fees were paid: {}", client.fees);
        client.check();
        for (kind, count) in &client.kinds {
            *kinds.entry(kind.clone()).or_default() += count;
        }
    }
    let heard: Vec<&str> = kinds.keys().map(String::as_str).collect();
    assert_eq!(
        heard,
        ["Amended", "Canceled", "Expired", "Filled", "IcebergRefill", "New", "PendingNew", "Status", "Trade"],
        "{kinds:?}"
    );
}

/// Goal: lost and late answers leave requests without one; missing messages are seen by their numbers.
#[test]
fn faults_are_seen() {
    let mut client = Client::new(9);
    client.exchange.inject("lost_ack=0.2").expect("a fault");
    client.exchange.inject("sequence_gap=0.1").expect("a fault");
    client.run(9, 200);
    assert!(client.jumps > 3, "{}", client.jumps);
    let lost = client.awaiting.take_all();
    assert!(lost.len() > 10, "{}", lost.len());
}
