//! The trades that the exchange made, as its REST gives them back: those of all pairs together are bounded, and the
//! oldest of all are forgotten first.

use std::collections::VecDeque;

use crate::market::{Candle, Trade};

/// Trades that are kept unless another number is asked for: some 50 MB.
pub const HISTORY: usize = 1_000_000;

/// A trade that is kept, and its place in time: its time, or later by so many ns that no two trades of a pair have one
/// place. A client that asks for what follows a place misses nothing of a moment in which many trades were made.
pub type Kept = (i64, Trade);

/// The trades of each pair, oldest first.
#[derive(Debug)]
pub struct History {
    /// Most trades of all pairs together.
    most: usize,
    /// Pairs of all trades that are kept, in the order in which they were made.
    order: VecDeque<u32>,
    pairs: Vec<VecDeque<Kept>>,
    /// The last place of each pair.
    last: Vec<i64>,
}

impl History {
    /// No trades yet; at most `most` are kept.
    #[must_use]
    pub const fn new(most: usize) -> Self {
        Self { most, order: VecDeque::new(), pairs: Vec::new(), last: Vec::new() }
    }

    /// Keeps trades of a pair that were just made.
    pub fn add(&mut self, pair: usize, trades: &[Trade]) {
        if self.pairs.len() <= pair {
            self.pairs.resize_with(pair + 1, VecDeque::new);
            self.last.resize(pair + 1, i64::MIN);
        }
        // There are at most `PAIRS_MAX` pairs, and some that were listed since.
        let number = u32::try_from(pair).unwrap_or(u32::MAX);
        for &trade in trades {
            self.last[pair] = trade.ts.max(self.last[pair].saturating_add(1));
            self.pairs[pair].push_back((self.last[pair], trade));
            self.order.push_back(number);
        }
        while self.order.len() > self.most {
            if let Some(oldest) = self.order.pop_front() {
                self.pairs[oldest as usize].pop_front();
            }
        }
    }

    /// The oldest trades of a pair after the place `since`, ns, or the latest ones; at most `count`.
    pub fn trades(&self, pair: usize, since: Option<i64>, count: usize) -> impl Iterator<Item = &Kept> {
        self.pairs.get(pair).into_iter().flat_map(move |trades| {
            let begin = match since {
                Some(since) => trades.partition_point(|kept| kept.0 <= since),
                None => trades.len().saturating_sub(count),
            };
            trades.range(begin..).take(count)
        })
    }

    /// The latest candles of a pair, oldest first, at most `count`; `length` in ns. The oldest one may lack trades that
    /// are forgotten.
    #[must_use]
    pub fn candles(&self, pair: usize, length: i64, count: usize) -> Vec<Candle> {
        let mut candles: VecDeque<Candle> = VecDeque::new();
        for (_, trade) in self.pairs.get(pair).into_iter().flatten() {
            let begin = trade.ts - trade.ts.rem_euclid(length);
            if candles.back().is_none_or(|candle| candle.begin != begin) {
                if candles.len() == count {
                    candles.pop_front();
                }
                candles.push_back(Candle::new(begin, trade.price));
            }
            if let Some(candle) = candles.back_mut() {
                candle.add(trade.price, trade.qty);
            }
        }
        candles.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Side;

    fn trade(id: i64, ts: i64) -> Trade {
        Trade { id, taker: Side::Buy, market: false, price: 100 + id, qty: 10, ts }
    }

    fn ids(history: &History, pair: usize, since: impl Into<Option<i64>>, count: usize) -> Vec<i64> {
        history.trades(pair, since.into(), count).map(|kept| kept.1.id).collect()
    }

    /// Goal: the oldest trades of all pairs are forgotten, and no others.
    #[test]
    fn the_oldest_go_first() {
        let mut history = History::new(4);
        history.add(0, &[trade(1, 10), trade(2, 10)]);
        history.add(2, &[trade(7, 20)]);
        history.add(0, &[trade(3, 30)]);
        assert_eq!(ids(&history, 0, i64::MIN, 9), [1, 2, 3]);
        history.add(2, &[trade(8, 40), trade(9, 40)]);
        assert_eq!((ids(&history, 0, 0, 9), ids(&history, 2, 0, 9)), (vec![3], vec![7, 8, 9]));
        assert_eq!(ids(&history, 2, 20, 9), [8, 9], "later than since");
        assert_eq!(history.trades(2, Some(40), 9).map(|kept| kept.0).collect::<Vec<_>>(), [41], "a place for each");
        assert_eq!(ids(&history, 2, 0, 2), [7, 8], "the oldest ones");
        assert_eq!(ids(&history, 2, None, 2), [8, 9], "the latest ones");
        assert!(ids(&history, 1, 0, 9).is_empty() && ids(&history, 99, 0, 9).is_empty());
    }

    /// Goal: candles hold each trade once, and the latest are given.
    #[test]
    fn candles_of_trades() {
        let mut history = History::new(100);
        history.add(0, &[trade(1, 5), trade(5, 9), trade(2, 9), trade(3, 10), trade(4, 35)]);
        let all = history.candles(0, 10, 9);
        assert_eq!(all.iter().map(|candle| candle.begin).collect::<Vec<_>>(), [0, 10, 30]);
        let first = all[0];
        assert_eq!((first.open, first.high, first.low, first.close, first.trades), (101, 105, 101, 102, 3));
        assert_eq!((first.volume, first.cost), (30, 10 * (101 + 105 + 102)));
        assert_eq!(history.candles(0, 10, 2).first().map(|candle| candle.begin), Some(10));
        assert!(history.candles(7, 10, 2).is_empty());
    }
}
