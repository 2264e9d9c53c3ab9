//! The matching engine of one pair: price-time priority.
//!
//! Prices and quantities are integers in units of the pair's last decimal. The engine knows no clock, no symbol and no
//! subscriber; it reports what each order changed.
//!
//! An iceberg shows only a part of its quantity. No book contains the hidden part, and it trades only once it is shown:
//! when the shown part is filled, the next one goes to the back of the queue at its price.

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
    /// The other side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }

    /// A key of the price: the better the price, the smaller the key.
    #[must_use]
    pub const fn key(self, price: i64) -> i64 {
        match self {
            Self::Buy => -price,
            Self::Sell => price,
        }
    }
}

/// A resting order.
// One cache line each: which order is next is as good as random.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub struct Order {
    /// Running number.
    pub id: u64,
    /// Side.
    pub side: Side,
    /// Price.
    pub price: i64,
    /// Quantity that is shown, and still open.
    pub qty: i64,
    /// When it got its place in the queue, ns: different for all orders of an engine.
    pub ts: i64,
    /// Quantity that is hidden.
    hidden: i64,
    /// Quantity that is shown at once.
    peak: i64,
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

/// A level that changed: its quantity now, 0 if it is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Side of the book.
    pub side: Side,
    /// Price.
    pub price: i64,
    /// Quantity now.
    pub qty: i64,
}

/// What is shown of an order, and since when it has its place in the queue, ns. Quantity 0: nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shown {
    /// Quantity.
    pub qty: i64,
    /// Time, ns.
    pub ts: i64,
}

/// An order of the book that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderChange {
    /// Running number.
    pub id: u64,
    /// Side.
    pub side: Side,
    /// Price.
    pub price: i64,
    /// What was shown of it.
    pub before: Shown,
    /// What is shown of it now; an order that is gone keeps its time.
    pub after: Shown,
}

/// One price: its orders in the order of arrival. No level is empty.
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
    slots: Vec<Order>,
    free: Vec<usize>,
    /// Slots of the open orders, unsorted, so that one can be chosen at random.
    open: Vec<usize>,
    next_id: u64,
    /// Time of the latest event, ns.
    last: i64,
    /// What the last order changed, in order.
    pub changes: Vec<Change>,
    /// The same, order by order.
    pub order_changes: Vec<OrderChange>,
    /// Fills of the last order, in order.
    pub fills: Vec<Fill>,
}

impl Engine {
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

    /// Whether there are orders at `key` of a side.
    #[must_use]
    pub fn has(&self, side: Side, key: i64) -> bool {
        self.side(side).contains_key(&key)
    }

    /// Orders at `key` of a side, the first to be filled first.
    pub fn queue(&self, side: Side, key: i64) -> impl Iterator<Item = &Order> {
        self.side(side).get(&key).into_iter().flat_map(|level| &level.queue).map(|&slot| &self.slots[slot])
    }

    /// Orders of the best `levels` levels of a side, the first to be filled first.
    pub fn best_orders(&self, side: Side, levels: usize) -> impl Iterator<Item = &Order> {
        self.side(side).values().take(levels).flat_map(|level| &level.queue).map(|&slot| &self.slots[slot])
    }

    /// Time of the latest event, ns; it grows with each event.
    #[must_use]
    pub const fn last(&self) -> i64 {
        self.last
    }

    /// The open order at a place of the list, 0..`orders()`.
    #[must_use]
    pub fn order(&self, at: usize) -> Order {
        self.slots[self.open[at]]
    }

    fn begin(&mut self, ts: i64) {
        self.changes.clear();
        self.order_changes.clear();
        self.fills.clear();
        self.last = ts.max(self.last + 1);
    }

    /// Takes an order at `ts`: matches what crosses `limit` (`None`: at any price), rests what is left of a limit order,
    /// of which `peak` is shown at once. Returns its number.
    ///
    /// Each order that enters a queue gets a different time: `ts`, or some ns later.
    pub fn submit(&mut self, side: Side, limit: Option<i64>, qty: i64, peak: i64, ts: i64) -> u64 {
        self.begin(ts);
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
            self.last += 1;
            let (qty, ts) = (left.min(peak.max(1)), self.last);
            let order = Order { id, side, price, qty, ts, hidden: left - qty, peak: qty, open_at: self.open.len() };
            let slot = if let Some(slot) = self.free.pop() {
                self.slots[slot] = order;
                slot
            } else {
                self.slots.push(order);
                self.slots.len() - 1
            };
            self.open.push(slot);
            let level = levels_of(&mut self.buys, &mut self.sells, side).entry(side.key(price)).or_default();
            level.qty += qty;
            level.queue.push_back(slot);
            self.changes.push(Change { side, price, qty: level.qty });
            let (before, after) = (Shown::default(), Shown { qty, ts });
            self.order_changes.push(OrderChange { id, side, price, before, after });
        }
        id
    }

    /// Fills up to `left` from one level; returns what is left.
    fn take(&mut self, side: Side, key: i64, mut left: i64) -> i64 {
        let levels = levels_of(&mut self.buys, &mut self.sells, side);
        let Some(level) = levels.get_mut(&key) else { return left };
        let mut done = Vec::new();
        while left > 0 {
            let Some(&slot) = level.queue.front() else { break };
            let order = &mut self.slots[slot];
            let before = Shown { qty: order.qty, ts: order.ts };
            let qty = order.qty.min(left);
            order.qty -= qty;
            level.qty -= qty;
            left -= qty;
            self.fills.push(Fill { price: order.price, qty, maker: order.id });
            if order.qty == 0 {
                level.queue.pop_front();
                if order.hidden > 0 {
                    self.last += 1;
                    order.ts = self.last;
                    order.qty = order.hidden.min(order.peak);
                    order.hidden -= order.qty;
                    level.qty += order.qty;
                    level.queue.push_back(slot);
                } else {
                    done.push(slot);
                }
            }
            let after = Shown { qty: order.qty, ts: order.ts };
            self.order_changes.push(OrderChange { id: order.id, side, price: order.price, before, after });
        }
        if level.queue.is_empty() {
            levels.remove(&key);
        }
        for slot in done {
            self.close(slot);
        }
        left
    }

    /// Removes an order from the list of open ones.
    fn close(&mut self, slot: usize) {
        let at = self.slots[slot].open_at;
        self.open.swap_remove(at);
        if let Some(&moved) = self.open.get(at) {
            self.slots[moved].open_at = at;
        }
        self.free.push(slot);
    }

    /// Cancels the open order at a place of the list.
    pub fn cancel(&mut self, at: usize, ts: i64) {
        self.begin(ts);
        let slot = self.open[at];
        let Order { id, side, price, qty, ts, .. } = self.slots[slot];
        self.close(slot);
        let key = side.key(price);
        let levels = levels_of(&mut self.buys, &mut self.sells, side);
        let mut now = 0;
        if let Some(level) = levels.get_mut(&key) {
            if let Some(place) = level.queue.iter().position(|&queued| queued == slot) {
                level.queue.remove(place);
            }
            level.qty -= qty;
            now = level.qty;
            if level.queue.is_empty() {
                levels.remove(&key);
            }
        }
        self.changes.push(Change { side, price, qty: now });
        let (before, after) = (Shown { qty, ts }, Shown { qty: 0, ts });
        self.order_changes.push(OrderChange { id, side, price, before, after });
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

    /// An order of the model: quantity shown, hidden, shown at once, and the turn at which it got its place.
    #[derive(Clone)]
    struct Resting {
        id: u64,
        side: Side,
        price: i64,
        qty: i64,
        hidden: i64,
        peak: i64,
        turn: usize,
    }

    /// A naive model: a list of orders, searched each time.
    #[derive(Default)]
    struct Model {
        orders: Vec<Resting>,
        turns: usize,
        refills: usize,
    }

    impl Model {
        fn submit(&mut self, id: u64, side: Side, limit: Option<i64>, mut left: i64, peak: i64) -> Vec<Fill> {
            let mut fills = Vec::new();
            while left > 0 {
                let best = self
                    .orders
                    .iter()
                    .enumerate()
                    .filter(|(_, o)| o.side == side.other())
                    .filter(|(_, o)| limit.is_none_or(|l| o.side.key(o.price) <= o.side.key(l)))
                    .min_by_key(|(_, o)| (o.side.key(o.price), o.turn))
                    .map(|(i, _)| i);
                let Some(i) = best else { break };
                let order = &mut self.orders[i];
                let qty = left.min(order.qty);
                fills.push(Fill { price: order.price, qty, maker: order.id });
                left -= qty;
                order.qty -= qty;
                if order.qty == 0 && order.hidden == 0 {
                    self.orders.remove(i);
                } else if order.qty == 0 {
                    order.qty = order.peak.min(order.hidden);
                    order.hidden -= order.qty;
                    self.turns += 1;
                    order.turn = self.turns;
                    self.refills += 1;
                }
            }
            if let (Some(price), true) = (limit, left > 0) {
                self.turns += 1;
                let (qty, turn) = (left.min(peak), self.turns);
                self.orders.push(Resting { id, side, price, qty, hidden: left - qty, peak: qty, turn });
            }
            fills
        }

        /// Number, price and shown quantity of each order of a side, in the order in which they will be filled.
        fn queue(&self, side: Side) -> Vec<(u64, i64, i64)> {
            let mut orders: Vec<_> = self.orders.iter().filter(|o| o.side == side).collect();
            orders.sort_by_key(|o| (side.key(o.price), o.turn));
            orders.into_iter().map(|o| (o.id, o.price, o.qty)).collect()
        }
    }

    /// Goal: fills, queues, levels and reported changes are those of a naive model, icebergs included.
    #[test]
    fn matches_by_price_then_time_as_a_naive_model_does() {
        let mut rng = Rng::new(7);
        let (mut engine, mut model) = (Engine::default(), Model::default());
        let mut filled = 0;
        for step in 0..20_000 {
            let side = if rng.bits() & 1 == 0 { Side::Buy } else { Side::Sell };
            let mut told: BTreeMap<u64, Shown> =
                [Side::Buy, Side::Sell].iter().flat_map(|&side| shown(&engine, side)).collect();
            if rng.unit() < 0.4 && engine.orders() > 0 {
                let at = rng.below(engine.orders());
                let id = engine.order(at).id;
                engine.cancel(at, step);
                model.orders.retain(|o| o.id != id);
            } else {
                let limit = (rng.unit() < 0.8).then(|| 1000 + i64::try_from(rng.below(40)).expect("small"));
                let qty = 1 + i64::try_from(rng.below(50)).expect("small");
                let peak = if rng.below(3) == 0 { 1 + qty / 5 } else { qty };
                let id = engine.submit(side, limit, qty, peak, step);
                assert_eq!(engine.fills, model.submit(id, side, limit, qty, peak), "step {step}");
                filled += engine.fills.len();
            }
            for change in &engine.order_changes {
                let before = told.insert(change.id, change.after).unwrap_or_default();
                assert_eq!(before, change.before, "step {step}: {change:?}");
                if change.after.qty == 0 {
                    told.remove(&change.id);
                }
            }
            let now: BTreeMap<u64, Shown> =
                [Side::Buy, Side::Sell].iter().flat_map(|&side| shown(&engine, side)).collect();
            assert_eq!(told, now, "step {step}: the changes of orders lead from the book before to this one");
            for side in [Side::Buy, Side::Sell] {
                let queue = model.queue(side);
                let orders = engine.best_orders(side, usize::MAX).map(|o| (o.id, o.price, o.qty));
                assert_eq!(orders.collect::<Vec<_>>(), queue, "step {step}");
                let mut levels: BTreeMap<i64, i64> = BTreeMap::new();
                for (_, price, qty) in queue {
                    *levels.entry(side.key(price)).or_default() += qty;
                }
                let levels: Vec<(i64, i64)> = levels.into_iter().map(|(key, qty)| (key.abs(), qty)).collect();
                assert_eq!(engine.best(side).collect::<Vec<_>>(), levels, "step {step}: only what is shown counts");
            }
            let best = |side| engine.best(side).next().map(|l| l.0);
            if let (Some(bid), Some(ask)) = (best(Side::Buy), best(Side::Sell)) {
                assert!(bid < ask, "crossed at step {step}");
            }
            for change in &engine.changes {
                let now = engine.best(change.side).find(|l| l.0 == change.price).map_or(0, |l| l.1);
                assert_eq!(now, change.qty, "step {step}: {change:?}");
            }
            assert_eq!(engine.orders(), model.orders.len());
        }
        assert!(filled > 1000 && model.refills > 300, "the test is awake: {filled} fills, {} refills", model.refills);
        assert!(engine.slots.len() < 2000, "slots are used again: {}", engine.slots.len());
    }

    /// What is shown of each order of a side; queues are in order of time, and all times differ.
    fn shown(engine: &Engine, side: Side) -> Vec<(u64, Shown)> {
        let orders: Vec<&Order> = engine.best_orders(side, usize::MAX).collect();
        assert!(orders.windows(2).all(|pair| pair[0].price != pair[1].price || pair[0].ts < pair[1].ts));
        orders.into_iter().map(|o| (o.id, Shown { qty: o.qty, ts: o.ts })).collect()
    }
}
