//! One pair's market: simulated order flow into the matching engine, and the statistics that the exchange publishes.
//!
//! Each market has its own random numbers, so what happens on one pair does not depend on the others.

use std::collections::VecDeque;

use crate::engine::{Change, Engine, Fill, OWN, OrderChange, Side};
use crate::pairs::Pair;
use crate::rng::Rng;

/// Lengths of candles, minutes.
pub const INTERVALS: [i64; 9] = [1, 5, 15, 30, 60, 240, 1440, 10_080, 21_600];
/// Closed candles in a snapshot.
const CANDLES: i64 = 12;
/// Trades that a snapshot holds.
const TRADES: usize = 50;
const MINUTE: i64 = 60_000_000_000;
const HOUR: i64 = 60 * MINUTE;
/// Largest quantity of one order, so that the sum of a level stays far below 2^63.
const QTY_MAX: f64 = 1e15;
/// The first trade ids of pairs differ by up to this much, as those of real pairs differ.
const FIRST_IDS: f64 = 1000.0;
/// One of this many resting orders is an iceberg.
const ICEBERGS: usize = 10;
/// Parts of an iceberg at most: Kraken's display quantity is at least a fifteenth.
const PARTS: usize = 15;

/// A published trade.
#[derive(Debug, Clone, Copy)]
pub struct Trade {
    /// Id, unique within the pair; they are consecutive.
    pub id: i64,
    /// Side of the taker.
    pub taker: Side,
    /// Whether the taker's order was a market order.
    pub market: bool,
    /// Price.
    pub price: i64,
    /// Quantity.
    pub qty: i64,
    /// Time, ns.
    pub ts: i64,
}

/// Prices and sums over a period.
#[derive(Debug, Clone, Copy)]
pub struct Candle {
    /// Begin, ns.
    pub begin: i64,
    /// First price.
    pub open: i64,
    /// Highest price.
    pub high: i64,
    /// Lowest price.
    pub low: i64,
    /// Last price.
    pub close: i64,
    /// Sum of quantities.
    pub volume: i128,
    /// Sum of price times quantity.
    pub cost: i128,
    /// Number of trades.
    pub trades: u64,
}

impl Candle {
    /// A candle without trades yet.
    #[must_use]
    pub const fn new(begin: i64, price: i64) -> Self {
        Self { begin, open: price, high: price, low: price, close: price, volume: 0, cost: 0, trades: 0 }
    }

    /// Adds a trade.
    pub fn add(&mut self, price: i64, qty: i64) {
        self.high = self.high.max(price);
        self.low = self.low.min(price);
        self.close = price;
        self.volume += i128::from(qty);
        self.cost += i128::from(price) * i128::from(qty);
        self.trades += 1;
    }

    /// Average price by quantity, rounded down.
    #[must_use]
    pub const fn vwap(&self) -> i128 {
        if self.volume == 0 { self.close as i128 } else { self.cost / self.volume }
    }
}

/// A fill of an order of the account.
#[derive(Debug, Clone, Copy)]
pub struct OwnFill {
    /// Number of the order.
    pub order: u64,
    /// The trade that is published.
    pub trade: Trade,
    /// Whether the order rested.
    pub maker: bool,
    /// Quantity that is shown anew of an iceberg; 0: none.
    pub refill: i64,
}

/// The market of one pair.
#[derive(Debug)]
pub struct Market {
    /// The pair.
    pub pair: Pair,
    /// Its books.
    pub engine: Engine,
    /// What the last step changed, in order.
    pub changes: Vec<Change>,
    /// The same, order by order.
    pub order_changes: Vec<OrderChange>,
    /// Trades of the last step, in order.
    pub fills: Vec<Trade>,
    /// Fills of the account's orders in the last step.
    pub own: Vec<OwnFill>,
    /// The latest trades.
    pub trades: VecDeque<Trade>,
    /// Candles by interval, oldest first.
    pub candles: [VecDeque<Candle>; 9],
    /// Hours of the last day, oldest first.
    hours: VecDeque<Candle>,
    last_id: i64,
    rng: Rng,
    /// Quantity of a typical order.
    qty: f64,
}

impl Market {
    /// A market with its books filled before `start`, ns since the epoch.
    #[must_use]
    pub fn new(pair: Pair, seed: u64, start: i64) -> Self {
        let mut rng = Rng::new(seed);
        let price = as_f64(pair.price) / 10f64.powi(i32::from(pair.price_precision));
        // About a hundred units of the quote currency.
        let qty = (100.0 / price * 10f64.powi(i32::from(pair.qty_precision))).clamp(2.0, 1e13);
        // A later start begins higher: an exchange that is restarted must not give other trades the ids of earlier ones.
        // A pair would need a million trades a second to reach the ids of a later start.
        let last_id = start.max(0) / 1000 + as_i64(rng.unit() * FIRST_IDS);
        let mut market = Self {
            engine: Engine::default(),
            changes: Vec::new(),
            order_changes: Vec::new(),
            fills: Vec::new(),
            own: Vec::new(),
            trades: VecDeque::new(),
            candles: Default::default(),
            hours: VecDeque::new(),
            last_id,
            rng,
            qty,
            pair,
        };
        // Some orders have been waiting for an hour.
        let mut ts = start.saturating_sub(HOUR);
        #[allow(clippy::cast_possible_wrap, reason = "some thousands")]
        let every = HOUR / (market.pair.levels as i64 * 4 + 2);
        for side in [Side::Buy, Side::Sell] {
            for _ in 0..market.pair.levels * 2 {
                let (price, qty) = market.quote(side);
                let peak = market.peak(qty);
                ts += 1 + as_i64(market.rng.unit() * as_f64(every));
                market.engine.submit(side, Some(price), qty, peak, ts);
            }
        }
        if market.pair.levels < 20 {
            // Thin books at Kraken have absurd prices of eleven digits and more.
            let moon = market.pair.price.saturating_mul(9_731_113).min(1_000_000_000_000_000);
            let qty = as_i64(market.qty);
            market.engine.submit(Side::Sell, Some(moon), qty, qty, ts);
        }
        market
    }

    /// A market that starts again; its trade ids continue.
    #[must_use]
    pub fn restarted(&self, pair: Pair, seed: u64, start: i64) -> Self {
        Self { last_id: self.last_id, ..Self::new(pair, seed, start) }
    }

    /// Sets the id of the next trade. Trades after the greatest id begin again at 1.
    pub const fn restart_ids(&mut self, first: i64) {
        self.last_id = first - 1;
    }

    /// Best price of a side.
    #[must_use]
    pub fn best(&self, side: Side) -> Option<(i64, i64)> {
        self.engine.best(side).next()
    }

    /// Price and quantity of a new resting order: near the other side's best, far with a heavy tail.
    fn quote(&mut self, side: Side) -> (i64, i64) {
        let start = self.pair.price;
        #[allow(clippy::cast_precision_loss, reason = "small")]
        let reach = self.pair.levels as f64 * 0.8 + 2.0;
        let away = as_i64(self.rng.pareto(reach).min(as_f64(start) * 3.0));
        let price = match side {
            Side::Buy => {
                let top = self.best(Side::Sell).map_or(start, |(price, _)| price - 1);
                let price = top - away;
                // A price must be positive: choose any between 0 and the top.
                if price > 0 { price } else { 1 + as_i64(self.rng.unit() * as_f64(top.max(1) - 1)) }
            }
            Side::Sell => self.best(Side::Buy).map_or(start, |(price, _)| price) + 1 + away,
        };
        (price.max(1), self.quantity(1.0))
    }

    fn quantity(&mut self, times: f64) -> i64 {
        let tail = 0.05 + self.rng.pareto(1.0);
        // Round numbers are common.
        let qty = (self.qty * tail * times).min(QTY_MAX);
        let qty = if self.rng.below(3) == 0 { (qty / 1e4).ceil() * 1e4 } else { qty };
        as_i64(qty.min(QTY_MAX)).max(1)
    }

    /// The quantity of a resting order that is shown at once.
    fn peak(&mut self, qty: i64) -> i64 {
        #[allow(clippy::cast_possible_wrap, reason = "at most fifteen")]
        if self.rng.below(ICEBERGS) == 0 { 1 + qty / (2 + self.rng.below(PARTS - 1) as i64) } else { qty }
    }

    fn begin(&mut self) {
        self.changes.clear();
        self.order_changes.clear();
        self.fills.clear();
        self.own.clear();
    }

    /// Lets the account do something to the engine at `ts`; what it changed and traded is there as after a step. `taker`
    /// is the order that may take, its side, and whether it is a market order.
    pub fn act_for<T>(
        &mut self,
        (taker, side, market): (u64, Side, bool),
        ts: i64,
        act: impl FnOnce(&mut Engine) -> T,
    ) -> T {
        self.begin();
        let result = act(&mut self.engine);
        self.collect();
        self.record(side, market, ts, Some(taker));
        result
    }

    /// Makes one step at `ts`; what it changed and traded is in `changes`, `order_changes` and `fills`.
    pub fn step(&mut self, ts: i64) {
        self.begin();
        // Now and then a participant requotes many orders at once: long messages with repeated prices.
        let times = match self.rng.below(400) {
            0 => 2 + self.rng.below(20),
            1..=16 => 2,
            _ => 1,
        };
        for _ in 0..times {
            // Orders arrive between the whole microseconds of the other channels.
            let ns = as_i64(self.rng.unit() * 500.0);
            self.act(ts, ts + ns);
        }
    }

    fn act(&mut self, ts: i64, arrived: i64) {
        let side = self.lean();
        let (depth, other) = (self.engine.depth(side), self.engine.depth(side.other()));
        let chance = self.rng.unit();
        let full = depth >= self.pair.levels;
        if chance < 0.05 && other > 1 {
            let qty = self.quantity(0.7);
            self.submit(side, None, qty, ts, arrived);
        } else if chance < 0.06 && other > 1 {
            // A limit order that takes the best level and rests with the remainder.
            if let Some((price, _)) = self.best(side.other()) {
                let qty = self.quantity(0.7);
                self.submit(side, Some(price), qty, ts, arrived);
            }
        } else if chance < if full { 0.28 } else { 0.55 } || self.engine.orders() == 0 {
            let (price, qty) = self.quote(side);
            self.submit(side, Some(price), qty, ts, arrived);
        } else {
            let at = self.rng.below(self.engine.orders());
            let side = self.engine.order(at).side;
            self.engine.cancel(at, arrived);
            self.collect();
            if self.rng.below(2) == 0 {
                // A quote that moves: one order is removed and another added, in one message.
                let (price, qty) = self.quote(side);
                self.submit(side, Some(price), qty, ts, arrived);
            }
        }
    }

    /// A random side, biased towards the price at the start, so that no market runs away.
    fn lean(&mut self) -> Side {
        let (start, mid) = (as_f64(self.pair.price), self.best(Side::Sell).map_or(0.0, |(price, _)| as_f64(price)));
        let buy = (0.5 + (start - mid) / start).clamp(0.2, 0.8);
        if self.rng.unit() < buy { Side::Buy } else { Side::Sell }
    }

    /// Adds the changes of the engine's last order to those of the step.
    fn collect(&mut self) {
        self.changes.extend_from_slice(&self.engine.changes);
        self.order_changes.extend_from_slice(&self.engine.order_changes);
    }

    fn submit(&mut self, side: Side, limit: Option<i64>, qty: i64, ts: i64, arrived: i64) {
        let peak = if limit.is_some() { self.peak(qty) } else { qty };
        self.engine.submit(side, limit, qty, peak, arrived);
        self.collect();
        self.record(side, limit.is_none(), ts, None);
    }

    /// Makes trades of the engine's fills; `taker` is the account's order that took, if one did.
    fn record(&mut self, side: Side, market: bool, ts: i64, taker: Option<u64>) {
        for i in 0..self.engine.fills.len() {
            let Fill { price, qty, maker, refill } = self.engine.fills[i];
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            let trade = Trade { id: self.last_id, taker: side, market, price, qty, ts };
            self.fills.push(trade);
            if let Some(order) = taker {
                self.own.push(OwnFill { order, trade, maker: false, refill: 0 });
            } else if maker >= OWN {
                self.own.push(OwnFill { order: maker, trade, maker: true, refill });
            }
            if self.trades.len() == TRADES {
                self.trades.pop_front();
            }
            self.trades.push_back(trade);
            for (candles, minutes) in self.candles.iter_mut().zip(INTERVALS) {
                count(candles, ts, minutes * MINUTE, CANDLES + 1, price, qty);
            }
            count(&mut self.hours, ts, HOUR, 24, price, qty);
        }
    }

    /// The last 24 hours as one candle; before the first trade a candle of zeros.
    #[must_use]
    pub fn day(&self, ts: i64) -> Candle {
        let mut recent = self.hours.iter().filter(|hour| hour.begin > ts - 24 * HOUR);
        let Some(&first) = recent.next() else { return Candle::new(ts, 0) };
        recent.fold(first, |day, hour| Candle {
            high: day.high.max(hour.high),
            low: day.low.min(hour.low),
            close: hour.close,
            volume: day.volume + hour.volume,
            cost: day.cost + hour.cost,
            trades: day.trades + hour.trades,
            ..day
        })
    }
}

/// Adds a trade to its candle, and forgets candles that began `keep` lengths before.
fn count(candles: &mut VecDeque<Candle>, ts: i64, length: i64, keep: i64, price: i64, qty: i64) {
    let begin = ts - ts.rem_euclid(length);
    if candles.back().is_none_or(|candle| candle.begin != begin) {
        candles.push_back(Candle::new(begin, price));
        while candles.front().is_some_and(|candle| candle.begin <= begin - keep * length) {
            candles.pop_front();
        }
    }
    if let Some(candle) = candles.back_mut() {
        candle.add(price, qty);
    }
}

#[allow(clippy::cast_precision_loss, reason = "the simulation's own quantities; nothing that was recorded")]
const fn as_f64(value: i64) -> f64 {
    value as f64
}

#[allow(clippy::cast_possible_truncation, reason = "saturates, which is what is wanted")]
const fn as_i64(value: f64) -> i64 {
    value as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::pairs;

    /// Goal: a market may run for long without growing, draining, or running away from its price.
    #[test]
    fn a_market_stays_alive_and_bounded() {
        for (i, pair) in pairs(45, 3).into_iter().enumerate().step_by(4) {
            let (levels, start) = (pair.levels, pair.price);
            let mut market = Market::new(pair, i as u64, 0);
            let mut trades = 0;
            for step in 0..60_000i64 {
                market.step(step * 1_000_000);
                trades += market.fills.len();
            }
            let depth = [Side::Buy, Side::Sell].map(|side| market.engine.depth(side));
            let symbol = &market.pair.symbol;
            assert!(depth.iter().all(|&d| d > 0 && d < levels * 3 + 50), "{symbol}: {depth:?} of {levels}");
            assert!(market.engine.orders() < levels * 30 + 2000, "{symbol}: {} orders", market.engine.orders());
            assert!(trades > 1000, "{symbol}: {trades} trades");
            let (bid, ask) = (market.best(Side::Buy).expect("a bid").0, market.best(Side::Sell).expect("an ask").0);
            assert!(bid < ask && ask < start * 4 && bid > start / 10, "{symbol}: {bid} {ask} from {start}");
            let day = market.day(60_000_000_000);
            assert!(day.low <= day.close && day.close <= day.high && day.trades == trades as u64, "{symbol}");
        }
    }
}
