//! What the tests of orders and accounts share: a pair, terms, replies, random numbers.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::sync::Arc;

use krakpot_trade::amount::{AMOUNT_SCALE, Amount, FeeRate, Price, Qty};
use krakpot_trade::pair::Pair;
use krakpot_trade::report::{Answer, Asked, Change, Evidence, Fill, Reply, Report};
use krakpot_trade::terms::{Side, Terms};

pub const SECOND: i64 = 1_000_000_000;
/// One of an asset.
pub const ONE: Amount = 10i128.pow(AMOUNT_SCALE as u32);

/// Prices with one decimal, quantities with eight.
pub fn pair(base: &str, quote: &str) -> Pair {
    Pair {
        symbol: format!("{base}/{quote}").into(),
        base: base.into(),
        quote: quote.into(),
        price_precision: 1,
        qty_precision: 8,
        cost_precision: 5,
        price_increment: Price(1),
        qty_min: Qty(5000),
        cost_min: ONE / 2,
        maker: FeeRate(2500),
        taker: FeeRate(4000),
        status: "online".into(),
    }
}

pub fn limit(side: Side, qty: i64, price: i64) -> Terms {
    Terms::limit(0, side, Qty(qty), Price(price))
}

pub fn fill(pair: &Pair, exec_id: &str, qty: i64, price: i64) -> Fill {
    Fill {
        exec_id: exec_id.into(),
        trade_id: None,
        counterparty: None,
        cost: None,
        qty: Qty(qty),
        price: Price(price),
        maker: true,
        fee: pair.fee(pair.cost(Price(price), Qty(qty)), true),
        evidence: Evidence::Exchange,
        doubt: false,
    }
}

pub fn id(order: u64) -> Arc<str> {
    format!("O{order}").into()
}

pub fn report(order: u64, ts: i64, change: Change, filled: Option<i64>) -> Report {
    Report { order, order_id: id(order), ts, change, filled: filled.map(Qty), reason: "".into() }
}

pub fn reported(order: u64, ts: i64, change: Change, filled: Option<i64>) -> Reply {
    Reply::Report(report(order, ts, change, filled))
}

pub fn taken(order: u64, asked: Asked, ts: i64) -> Answer {
    Answer { order, asked, result: Ok(id(order)), ts }
}

pub fn refused(order: u64, asked: Asked, ts: i64, text: &str) -> Answer {
    Answer { order, asked, result: Err(text.into()), ts }
}

/// Random numbers that are the same everywhere for the same seed: splitmix64.
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in 0..n.
    #[allow(clippy::cast_possible_truncation, reason = "below n")]
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    /// Uniform in a..=b.
    pub fn between(&mut self, a: i64, b: i64) -> i64 {
        a + i64::try_from(self.below(usize::try_from(b - a + 1).expect("a <= b"))).expect("small")
    }

    /// True one time in n.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        if all.is_empty() { None } else { all.get(self.below(all.len())) }
    }
}
