//! The matching engine of one pair: price-time priority.
//!
//! Prices and quantities are integers in units of the pair's last decimal. The engine knows no time, no symbol and no
//! subscriber; it tells what each order changed.

use std::collections::{BTreeMap, VecDeque};

/// Side of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Buy.
    Buy,
    /// Sell.
    Sell,
}

impl Side {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }

    /// A key of the price that is smaller the better the price is.
    #[must_use]
    pub const fn key(self, price: i64) -> i64 {
        match self {
            Self::Buy => -price,
            Self::Sell => price,
        }
    }
}

/// A resting order.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// Running number.
    pub id: u64,
    /// Side.
    pub side: Side,
    /// Price.
    pub price: i64,
    /// Quantity still open.
    pub qty: i64,
    /// Place in the list of open orders.
    open_at: usize,
}

/// A fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// Price of the resting order.
    pub price: i64,
    /// Quantity.
    pub qty: i64,
    /// Resting order.
    pub maker: u64,
}

/// A level that changed: what stands there now, 0 if nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Side of the book.
    pub side: Side,
    /// Price.
    pub price: i64,
    /// Quantity now.
    pub qty: i64,
}

/// One price: its orders in the order of arrival. Cancelled orders stay in the queue until they come to its head.
#[derive(Debug, Default)]
struct Level {
    qty: i64,
    queue: VecDeque<usize>,
}

/// The books of one pair and its open orders.
#[derive(Debug, Default)]
pub struct Engine {
    buys: BTreeMap<i64, Level>,
    sells: BTreeMap<i64, Level>,
    /// Slots of orders; a cancelled one has quantity 0 until its place in the queue is gone.
    slots: Vec<Order>,
    free: Vec<usize>,
    /// Slots of the open orders, in no order: to choose one at random.
    open: Vec<usize>,
    next_id: u64,
    /// What the last order changed, in order.
    pub changes: Vec<Change>,
    /// Fills of the last order, in order.
    pub fills: Vec<Fill>,
}

impl Engine {
    fn levels(&mut self, side: Side) -> &mut BTreeMap<i64, Level> {
        match side {
            Side::Buy => &mut self.buys,
            Side::Sell => &mut self.sells,
        }
    }

    const fn side(&self, side: Side) -> &BTreeMap<i64, Level> {
        match side {
            Side::Buy => &self.buys,
            Side::Sell => &self.sells,
        }
    }

    /// Open orders.
    #[must_use]
    pub fn orders(&self) -> usize {
        self.open.len()
    }

    /// Levels of a side.
    #[must_use]
    pub fn depth(&self, side: Side) -> usize {
        self.side(side).len()
    }

    /// Price and quantity of the levels of a side, best first.
    pub fn best(&self, side: Side) -> impl Iterator<Item = (i64, i64)> + '_ {
        self.side(side).iter().map(move |(key, level)| (key.abs(), level.qty))
    }

    /// The best level that is worse than the one with `key`.
    #[must_use]
    pub fn behind_key(&self, side: Side, key: i64) -> Option<(i64, i64)> {
        self.side(side).range(key.saturating_add(1)..).next().map(|(key, level)| (key.abs(), level.qty))
    }

    /// The open order at a place of the list, 0..`orders()`.
    #[must_use]
    pub fn order(&self, at: usize) -> Order {
        self.slots[self.open[at]]
    }

    /// Takes an order: matches what crosses `limit` (`None`: at any price), rests what is left of a limit order. Returns
    /// its number.
    pub fn submit(&mut self, side: Side, limit: Option<i64>, qty: i64) -> u64 {
        self.changes.clear();
        self.fills.clear();
        let id = self.next_id;
        self.next_id += 1;
        let mut left = qty;
        let maker_side = side.other();
        while left > 0 {
            let Some((&key, _)) = self.side(maker_side).first_key_value() else { break };
            let price = key.abs();
            if limit.is_some_and(|limit| maker_side.key(limit) < key) {
                break;
            }
            left = self.take(maker_side, key, left);
            let now = self.side(maker_side).get(&key).map_or(0, |level| level.qty);
            self.changes.push(Change { side: maker_side, price, qty: now });
        }
        if let (Some(price), true) = (limit, left > 0) {
            let order = Order { id, side, price, qty: left, open_at: self.open.len() };
            let slot = if let Some(slot) = self.free.pop() {
                self.slots[slot] = order;
                slot
            } else {
                self.slots.push(order);
                self.slots.len() - 1
            };
            self.open.push(slot);
            let level = self.levels(side).entry(side.key(price)).or_default();
            level.qty += left;
            level.queue.push_back(slot);
            let qty = level.qty;
            self.changes.push(Change { side, price, qty });
        }
        id
    }

    /// Fills up to `left` from one level; returns what is left.
    fn take(&mut self, side: Side, key: i64, mut left: i64) -> i64 {
        while left > 0 {
            let levels = match side {
                Side::Buy => &mut self.buys,
                Side::Sell => &mut self.sells,
            };
            let Some(level) = levels.get_mut(&key) else { break };
            let Some(&slot) = level.queue.front() else {
                levels.remove(&key);
                break;
            };
            let order = &mut self.slots[slot];
            let qty = order.qty.min(left);
            if qty > 0 {
                order.qty -= qty;
                level.qty -= qty;
                left -= qty;
                self.fills.push(Fill { price: order.price, qty, maker: order.id });
            }
            let (done, open_at) = (order.qty == 0, order.open_at);
            if done {
                level.queue.pop_front();
                let empty = level.qty == 0;
                self.free.push(slot);
                if open_at != usize::MAX {
                    self.close(open_at);
                }
                if empty {
                    // What is still queued here was cancelled.
                    if let Some(level) = levels_of(&mut self.buys, &mut self.sells, side).remove(&key) {
                        self.free.extend(level.queue);
                    }
                }
            }
        }
        left
    }

    /// Removes an order from the list of open ones.
    fn close(&mut self, at: usize) {
        self.open.swap_remove(at);
        if let Some(&moved) = self.open.get(at) {
            self.slots[moved].open_at = at;
        }
    }

    /// Cancels the open order at a place of the list.
    pub fn cancel(&mut self, at: usize) {
        self.changes.clear();
        self.fills.clear();
        let slot = self.open[at];
        let order = self.slots[slot];
        self.close(at);
        self.slots[slot].qty = 0;
        self.slots[slot].open_at = usize::MAX;
        let key = order.side.key(order.price);
        let levels = levels_of(&mut self.buys, &mut self.sells, order.side);
        let mut now = 0;
        if let Some(level) = levels.get_mut(&key) {
            level.qty -= order.qty;
            now = level.qty;
            if now == 0
                && let Some(level) = levels.remove(&key)
            {
                self.free.extend(level.queue);
            }
        }
        self.changes.push(Change { side: order.side, price: order.price, qty: now });
    }
}

fn levels_of<'a>(
    buys: &'a mut BTreeMap<i64, Level>,
    sells: &'a mut BTreeMap<i64, Level>,
    side: Side,
) -> &'a mut BTreeMap<i64, Level> {
    match side {
        Side::Buy => buys,
        Side::Sell => sells,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// A model without any cleverness: a list of orders, searched anew each time.
    #[derive(Default)]
    struct Model(Vec<(u64, Side, i64, i64)>);

    impl Model {
        fn submit(&mut self, id: u64, side: Side, limit: Option<i64>, mut left: i64) -> Vec<Fill> {
            let mut fills = Vec::new();
            while left > 0 {
                let best = self
                    .0
                    .iter()
                    .enumerate()
                    .filter(|(_, o)| o.1 == side.other())
                    .filter(|(_, o)| limit.is_none_or(|l| o.1.key(o.2) <= o.1.key(l)))
                    .min_by_key(|(_, o)| (o.1.key(o.2), o.0))
                    .map(|(i, _)| i);
                let Some(i) = best else { break };
                let qty = left.min(self.0[i].3);
                fills.push(Fill { price: self.0[i].2, qty, maker: self.0[i].0 });
                left -= qty;
                self.0[i].3 -= qty;
                if self.0[i].3 == 0 {
                    self.0.remove(i);
                }
            }
            if let (Some(price), true) = (limit, left > 0) {
                self.0.push((id, side, price, left));
            }
            fills
        }

        fn levels(&self, side: Side) -> Vec<(i64, i64)> {
            let mut levels: BTreeMap<i64, i64> = BTreeMap::new();
            for order in self.0.iter().filter(|o| o.1 == side) {
                *levels.entry(side.key(order.2)).or_default() += order.3;
            }
            levels.into_iter().map(|(key, qty)| (key.abs(), qty)).collect()
        }
    }

    #[test]
    fn matches_by_price_then_time_as_a_naive_model_does() {
        let mut rng = Rng::new(7);
        let (mut engine, mut model) = (Engine::default(), Model::default());
        let mut filled = 0;
        for step in 0..20_000 {
            let side = if rng.bits() & 1 == 0 { Side::Buy } else { Side::Sell };
            if rng.unit() < 0.4 && engine.orders() > 0 {
                let at = rng.below(engine.orders());
                let id = engine.order(at).id;
                engine.cancel(at);
                model.0.retain(|o| o.0 != id);
            } else {
                let limit = (rng.unit() < 0.8).then(|| 1000 + i64::try_from(rng.below(40)).expect("small"));
                let qty = 1 + i64::try_from(rng.below(50)).expect("small");
                let id = engine.submit(side, limit, qty);
                assert_eq!(engine.fills, model.submit(id, side, limit, qty), "step {step}");
                filled += engine.fills.len();
            }
            for side in [Side::Buy, Side::Sell] {
                assert_eq!(engine.best(side).collect::<Vec<_>>(), model.levels(side), "step {step}");
            }
            let best = |side| engine.best(side).next().map(|l| l.0);
            if let (Some(bid), Some(ask)) = (best(Side::Buy), best(Side::Sell)) {
                assert!(bid < ask, "crossed at step {step}");
            }
            for change in &engine.changes {
                let now = engine.best(change.side).find(|l| l.0 == change.price).map_or(0, |l| l.1);
                assert_eq!(now, change.qty, "step {step}: {change:?}");
            }
            assert_eq!(engine.orders(), model.0.len());
        }
        assert!(filled > 1000, "the test is awake: {filled} fills");
        assert!(engine.slots.len() < 2000, "slots are used again: {}", engine.slots.len());
    }
}
