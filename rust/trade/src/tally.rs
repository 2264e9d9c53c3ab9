//! What a run leaves of an account: fills, requests, its value over time, gaps, delays. Results are made of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::amount::{Amount, Price, Qty};
use crate::paper::Place;
use crate::report::{Asked, Change, Fill, Reply};
use crate::rules;
use crate::terms::{Request, Sent, Side};
use crate::trader::{News, OrderEvent, Trader};

/// A fill as it was heard.
#[derive(Debug, Clone)]
pub struct FillRow {
    /// When the strategy heard of it, local time, ns.
    pub heard: i64,
    /// When it happened, time of the exchange, ns.
    pub ts: i64,
    /// The account's number of the order.
    pub order: u64,
    /// Number of the pair.
    pub pair: usize,
    /// Side of the order.
    pub side: Side,
    /// The fill.
    pub fill: Fill,
    /// The order's place when it came into the market.
    pub entry: Option<Place>,
}

/// A request that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestRow {
    /// Local time, ns.
    pub ts: i64,
    /// The account's number of the order.
    pub order: u64,
    /// `add`, `amend`, `cancel`.
    pub what: &'static str,
    /// Number of the pair.
    pub pair: usize,
    /// Quantity that it asks for.
    pub qty: Option<Qty>,
    /// Price that it asks for.
    pub price: Option<Price>,
}

/// What an account had at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueRow {
    /// Local time, ns.
    pub ts: i64,
    /// Amount of each asset, in the order of the run's assets.
    pub totals: Vec<Amount>,
    /// All of it in the quote asset, at the middle of the best prices; `None` where a price is not known.
    pub mid: Option<Amount>,
    /// The same at the best bids, with the fee of taking: what is left if all is sold now.
    pub exit: Option<Amount>,
}

/// A time in which data of a pair was missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GapRow {
    /// What of, as [`crate::run::Gap`] has it.
    pub of: &'static str,
    /// Number of the pair; `None`: all of them.
    pub pair: Option<usize>,
    /// Its begin, local time, ns.
    pub begin: i64,
    /// Its end; `None` if it did not end in the run.
    pub end: Option<i64>,
    /// Orders of the account that rested when it began.
    pub resting: usize,
}

/// When requests of an order arrived, and when the strategy heard of it.
#[derive(Debug, Clone, Default)]
pub struct Times {
    /// When the order reached the exchange, by its time, ns.
    pub arrived: Option<i64>,
    /// When the first answer was heard, local time, ns.
    pub acked: Option<i64>,
    /// When the first report was heard, local time, ns.
    pub reported: Option<i64>,
    /// When it ended, local time, ns.
    pub ended: Option<i64>,
    /// Its place when it came into the market.
    pub entry: Option<Place>,
}

/// What a run leaves of an account.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Fills, as they were heard.
    pub fills: Vec<FillRow>,
    /// Requests, as they were sent.
    pub requests: Vec<RequestRow>,
    /// What the account had.
    pub values: Vec<ValueRow>,
    /// Gaps.
    pub gaps: Vec<GapRow>,
    /// Times of each order, by its number.
    pub times: HashMap<u64, Times>,
    /// Delays of the answers: to the exchange, and back, ns.
    pub delays: Vec<(i64, i64)>,
    /// Texts of refusals, and how often each came.
    pub refusals: BTreeMap<Arc<str>, u64>,
    /// Number of the calls of handlers.
    pub calls: u64,
}

impl Tally {
    /// Keeps the last value of each interval of so many ns.
    pub fn thin(&mut self, every: i64) {
        let mut kept: Vec<ValueRow> = Vec::with_capacity(self.values.len());
        for row in self.values.drain(..) {
            match kept.last_mut() {
                Some(last) if last.ts.div_euclid(every) == row.ts.div_euclid(every) => *last = row,
                _ => kept.push(row),
            }
        }
        self.values = kept;
    }

    /// Notes a request.
    pub fn request(&mut self, sent: &Sent, pair: usize) {
        let (what, qty, price) = match sent.request {
            Request::Add { terms, .. } => ("add", Some(terms.qty), terms.price),
            Request::Amend { qty, price, .. } => ("amend", qty, price),
            Request::Cancel { .. } => ("cancel", None, None),
        };
        self.requests.push(RequestRow { ts: sent.ts, order: sent.request.order(), what, pair, qty, price });
    }

    /// Notes a refusal.
    pub fn refused(&mut self, text: &Arc<str>) {
        *self.refusals.entry(text.clone()).or_default() += 1;
    }

    /// Begins a gap.
    pub fn gap(&mut self, of: &'static str, pair: Option<usize>, begin: i64, resting: usize) {
        self.gaps.push(GapRow { of, pair, begin, end: None, resting });
    }

    /// Ends the gap that is open.
    pub fn healed(&mut self, of: &'static str, pair: Option<usize>, end: i64) {
        if let Some(gap) = self.gaps.iter_mut().rev().find(|gap| gap.pair == pair && gap.of == of && gap.end.is_none())
        {
            gap.end = Some(end);
        }
    }

    /// Notes what a reply says of delays.
    pub fn reply(&mut self, reply: &Reply, heard: i64, trader: &Trader) {
        match reply {
            Reply::Answer(answer) => {
                let times = self.times.entry(answer.order).or_default();
                times.acked.get_or_insert(heard);
                times.arrived.get_or_insert(answer.ts);
                if let Some(order) = trader.order(answer.order).filter(|_| answer.asked == Asked::Add) {
                    self.delays.push((answer.ts - order.sent, heard - answer.ts));
                }
            }
            Reply::Report(report) => {
                self.times.entry(report.order).or_default().reported.get_or_insert(heard);
            }
        }
    }

    /// Notes what a strategy hears of an order.
    pub fn heard(&mut self, event: &OrderEvent, now: i64, trader: &Trader, place: impl Fn(u64) -> Option<Place>) {
        let Some(order) = trader.order(event.order) else { return };
        let times = self.times.entry(event.order).or_default();
        if times.entry.is_none() && matches!(event.change, News::Changed(Change::New)) {
            times.entry = place(event.order);
        }
        if !order.is_live() {
            times.ended.get_or_insert(now);
        }
        match &event.change {
            News::Changed(Change::Fill(fill)) => {
                let entry = times.entry;
                let (pair, side) = (order.terms.pair, order.terms.side);
                let row =
                    FillRow { heard: now, ts: event.ts, order: event.order, pair, side, fill: fill.clone(), entry };
                self.fills.push(row);
            }
            News::Refused(_) => self.refused(&rules::code(&event.reason).into()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what is kept of a long run is the last value of each longer interval, the end included.
    #[test]
    fn values_are_thinned() {
        let row = |ts| ValueRow { ts, totals: Vec::new(), mid: Some(i128::from(ts)), exit: None };
        let mut tally = Tally { values: (0..10).map(row).collect(), ..Tally::default() };
        tally.thin(4);
        assert_eq!(tally.values, [3, 7, 9].map(row));
        tally.thin(8);
        assert_eq!(tally.values, [7, 9].map(row));
    }
}
