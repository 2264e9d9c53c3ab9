//! A paper exchange that is told in few words: rows and trades as text, times in milliseconds, events as text.

#![allow(dead_code, reason = "each file of tests uses a part of it")]

use std::sync::Arc;

use krakpot_core::decimal::pow10;
use krakpot_core::session::{LevelEntry, OrderChange};
use krakpot_core::wire::message::{self, Kind, OrderEvent, OwnedOrderId};
use krakpot_trade::amount::{FeeRate, Price, Qty};
use krakpot_trade::pair::Pair;
use krakpot_trade::paper::{Latency, Options, Paper};
use krakpot_trade::report::{Change, Reply};
use krakpot_trade::terms::{Request, Sent, Side, Terms};

pub const MS: i64 = 1_000_000;

/// The book that most tests begin with.
pub const BOOK: &str = "add buy 1 100 5, add buy 2 100 3, add buy 5 99 9, add sell 3 101 4, add sell 4 102 9";

pub fn pair() -> Pair {
    Pair {
        symbol: "A/B".into(),
        base: "A".into(),
        quote: "B".into(),
        price_precision: 0,
        qty_precision: 0,
        cost_precision: 2,
        price_increment: Price(1),
        qty_min: Qty(1),
        cost_min: 0,
        maker: FeeRate(2500),
        taker: FeeRate(4000),
        status: "online".into(),
    }
}

/// One way takes a millisecond, the other none; nothing is joined that is not of one receive time.
pub fn quick() -> Options {
    Options { latency: Latency::Fixed { entry: MS, response: 0 }, join: 0, depth: 1000, ..Options::default() }
}

pub fn limit(side: Side, qty: i64, price: i64) -> Terms {
    Terms::limit(0, side, Qty(qty), Price(price))
}

pub fn buy(qty: i64, price: i64) -> Terms {
    limit(Side::Buy, qty, price)
}

pub fn sell(qty: i64, price: i64) -> Terms {
    limit(Side::Sell, qty, price)
}

pub struct Bench {
    pub paper: Paper,
    trade_id: i64,
}

impl Bench {
    /// An exchange with an account, whose book is as said at 1 ms.
    pub fn new(options: Options, rows: &str) -> Self {
        let mut bench = Self::empty(options);
        bench.snapshot(1, rows);
        bench
    }

    /// The same, without a book.
    pub fn empty(options: Options) -> Self {
        let mut paper = Paper::new(options);
        assert_eq!(paper.set_pair(pair()), Some(0));
        assert_eq!(paper.add_account(), Some(0));
        Self { paper, trade_id: 0 }
    }

    fn orders(rows: &str, t: i64) -> Vec<OrderChange> {
        rows.split(", ")
            .filter(|row| !row.is_empty())
            .map(|row| {
                let words: Vec<&str> = row.split(' ').collect();
                let number = |at: usize| words[at].parse::<i64>().expect("a number");
                OrderChange {
                    event: Some(OrderEvent::named(words[0]).expect("an event")),
                    side: if words[1] == "buy" { message::Side::Bid } else { message::Side::Ask },
                    id: OwnedOrderId::new(words[2]),
                    price: i128::from(number(3)) * pow10(10),
                    qty: i128::from(number(4)) * pow10(10),
                    timestamp: if words.len() > 5 { number(5) * MS } else { t * MS },
                }
            })
            .collect()
    }

    pub fn snapshot(&mut self, t: i64, rows: &str) {
        self.snapshot_at(t, t, rows);
    }

    pub fn snapshot_at(&mut self, recv: i64, t: i64, rows: &str) {
        self.paper.level3(0, recv * MS, Some(t * MS), Kind::Snapshot, &Self::orders(rows, t));
    }

    /// Rows of level 3 of a time, which is also when they are received.
    pub fn rows(&mut self, t: i64, rows: &str) {
        self.rows_at(t, t, rows);
    }

    pub fn rows_at(&mut self, recv: i64, t: i64, rows: &str) {
        self.paper.level3(0, recv * MS, Some(t * MS), Kind::Update, &Self::orders(rows, t));
    }

    /// Levels of level 2: side, price, quantity.
    pub fn levels(&mut self, t: i64, kind: Kind, rows: &str) {
        let rows: Vec<LevelEntry> = rows
            .split(", ")
            .map(|row| {
                let words: Vec<&str> = row.split(' ').collect();
                let number = |at: usize| i128::from(words[at].parse::<i64>().expect("a number")) * pow10(10);
                let side = if words[0] == "buy" { message::Side::Bid } else { message::Side::Ask };
                LevelEntry { side, price: number(1), qty: number(2) }
            })
            .collect();
        self.paper.level2(0, t * MS, Some(t * MS), kind, &rows);
    }

    pub fn trade(&mut self, t: i64, taker: Side, price: i64, qty: i64) {
        self.trade_at(t, t, taker, price, qty);
    }

    pub fn trade_at(&mut self, recv: i64, t: i64, taker: Side, price: i64, qty: i64) {
        self.trade_id += 1;
        self.paper.trade(0, recv * MS, t * MS, taker, Price(price), Qty(qty), self.trade_id);
    }

    pub fn send(&mut self, t: i64, order: u64, terms: Terms) {
        self.ask(0, t, Request::Add { order, terms, deadline: i64::MAX });
    }

    pub fn amend(&mut self, t: i64, order: u64, qty: Option<i64>, price: Option<i64>) {
        self.ask(0, t, Request::Amend { order, qty: qty.map(Qty), price: price.map(Price), deadline: i64::MAX });
    }

    pub fn cancel(&mut self, t: i64, order: u64) {
        self.ask(0, t, Request::Cancel { order });
    }

    pub fn ask(&mut self, account: usize, t: i64, request: Request) {
        self.paper.send(account, Sent { ts: t * MS, request });
    }

    /// All that has come out up to a time, as text.
    pub fn until(&mut self, t: i64) -> Vec<String> {
        self.paper.advance(t * MS);
        let replies = self.paper.take_replies();
        replies.iter().filter_map(|(account, _, reply)| text(*account, reply)).collect()
    }

    pub fn end(&mut self) -> Vec<String> {
        self.until(i64::MAX / MS)
    }
}

/// An event in words: `20 #1 fill 1@100 queue`; of accounts after the first with their number.
pub fn text(account: usize, reply: &Reply) -> Option<String> {
    let who = |order: u64| if account == 0 { format!("#{order}") } else { format!("{account}#{order}") };
    match reply {
        Reply::Answer(answer) => {
            let error: &Arc<str> = answer.result.as_ref().err()?;
            Some(format!("{} {} {:?} refused: {error}", answer.ts / MS, who(answer.order), answer.asked))
        }
        Reply::Report(report) => {
            let what = match &report.change {
                Change::Pending => return None,
                Change::New => "new".to_owned(),
                Change::Fill(fill) => {
                    let doubt = if fill.doubt { " in doubt" } else { "" };
                    format!("fill {}@{} {}{doubt}", fill.qty.0, fill.price.0, fill.evidence.word())
                }
                Change::Filled => "filled".to_owned(),
                Change::Amended { qty, price, .. } => {
                    format!("amended {}@{}", qty.0, price.map_or("market".to_owned(), |price| price.0.to_string()))
                }
                Change::Refilled => "refilled".to_owned(),
                Change::Triggered => "triggered".to_owned(),
                Change::Canceled => format!("canceled: {}", report.reason),
                Change::Expired => "expired".to_owned(),
            };
            Some(format!("{} {} {what}", report.ts / MS, who(report.order)))
        }
    }
}
