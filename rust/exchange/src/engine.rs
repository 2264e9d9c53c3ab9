//! The matching engine of one pair: price-time priority.
//!
//! Prices and quantities are integers in units of the pair's last decimal. The engine knows no clock, no symbol and no
//! subscriber; it reports what each order changed.
//!
//! An iceberg shows only a part of its quantity. No book contains the hidden part, and it trades only once it is shown:
//! when the shown part is filled, the next one goes to the back of the queue at its price.
//!
//! Orders of the account have numbers of their own, from `OWN` on. They trade in the same queues as all others, but never
//! with each other, and nobody chooses them at random.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

/// Numbers of the account's orders begin here; the simulated orders never reach it.
pub const OWN: u64 = 1 << 39;
/// No slot.
const NONE: u32 = u32::MAX;

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
    /// Price.
    pub price: i64,
    /// Quantity that is shown, and still open.
    pub qty: i64,
    /// When it got its place in the queue, ns: different for all orders of an engine.
    pub ts: i64,
    /// Quantity that is hidden.
    pub hidden: i64,
    /// Quantity that is shown at once.
    peak: i64,
    /// Place in the list of open orders; `NONE` for an order of the account.
    open_at: u32,
    /// Slots of its neighbours in the queue.
    before: u32,
    after: u32,
    /// Side.
    pub side: Side,
}

/// How long an order may wait for its fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// What is left rests.
    Rest,
    /// What is not filled at once is cancelled.
    Immediate,
    /// All of it is filled at once, or nothing.
    AllOrNothing,
}

/// What happens if an order would trade with another one of the account. They never trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelfTrade {
    /// What is left of the arriving order is cancelled.
    CancelNewest,
    /// The resting order is cancelled.
    CancelOldest,
    /// Both are.
    CancelBoth,
}

/// An order that arrives.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Its number; from `OWN` on it is one of the account.
    pub id: u64,
    /// Side.
    pub side: Side,
    /// Worst price; `None`: any.
    pub limit: Option<i64>,
    /// Quantity.
    pub qty: i64,
    /// Quantity that is shown at once.
    pub peak: i64,
    /// How long it may wait.
    pub wait: Wait,
    /// What happens if it meets another order of the account.
    pub self_trade: SelfTrade,
}

/// What became of an order when it arrived, beside its fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrived {
    /// Nothing is left of it.
    Filled,
    /// This quantity rests.
    Rests(i64),
    /// This quantity found no other side at once, and is cancelled.
    Unfilled(i64),
    /// This quantity would have traded with an order of the account, and is cancelled.
    SelfTrade(i64),
}

/// New terms of a resting order.
#[derive(Debug, Clone, Copy)]
pub struct Amendment {
    /// Price.
    pub price: i64,
    /// Quantity that is still open, at least 1.
    pub qty: i64,
    /// Quantity that is shown at once: from the next part on, if the order keeps its place.
    pub peak: i64,
    /// Whether more quantity at the same price keeps its place.
    pub keep: bool,
    /// What happens if it meets another order of the account.
    pub self_trade: SelfTrade,
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
    /// Quantity of the resting order that is shown anew, because this was all that was shown; 0: none.
    pub refill: i64,
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

/// One price: a queue of orders, by the slots of its first and its last one. No level is empty.
#[derive(Debug, Clone, Copy)]
struct Level {
    qty: i64,
    first: u32,
    last: u32,
}

/// Numbers are consecutive: one multiplication spreads them well enough (Knuth's multiplicative hashing).
#[derive(Debug, Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

/// The books of one pair and its open orders.
#[derive(Debug, Default)]
pub struct Engine {
    buys: BTreeMap<i64, Level>,
    sells: BTreeMap<i64, Level>,
    slots: Vec<Order>,
    free: Vec<u32>,
    /// Slots of the open orders by their numbers.
    found: HashMap<u64, u32, BuildHasherDefault<Spread>>,
    /// Slots of the open orders that are not the account's, unsorted, so that one can be chosen at random.
    open: Vec<u32>,
    next_id: u64,
    /// Time of the latest event, ns.
    last: i64,
    /// What the last order changed, in order.
    pub changes: Vec<Change>,
    /// The same, order by order.
    pub order_changes: Vec<OrderChange>,
    /// Fills of the last order, in order.
    pub fills: Vec<Fill>,
    /// Resting orders of the account that the last order cancelled, because it would have traded with them.
    pub prevented: Vec<u64>,
}

impl Engine {
    const fn side(&self, side: Side) -> &BTreeMap<i64, Level> {
        match side {
            Side::Buy => &self.buys,
            Side::Sell => &self.sells,
        }
    }

    /// Open orders that are not the account's.
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

    /// The orders of a level, the first to be filled first.
    fn waiting(&self, level: &Level) -> impl Iterator<Item = &Order> {
        let first = self.slots.get(level.first as usize);
        std::iter::successors(first, |order| self.slots.get(order.after as usize))
    }

    /// Orders at `key` of a side, the first to be filled first.
    pub fn queue(&self, side: Side, key: i64) -> impl Iterator<Item = &Order> {
        self.side(side).get(&key).into_iter().flat_map(|level| self.waiting(level))
    }

    /// Orders of the best `levels` levels of a side, the first to be filled first.
    pub fn best_orders(&self, side: Side, levels: usize) -> impl Iterator<Item = &Order> {
        self.side(side).values().take(levels).flat_map(|level| self.waiting(level))
    }

    /// Time of the latest event, ns; it grows with each event.
    #[must_use]
    pub const fn last(&self) -> i64 {
        self.last
    }

    /// The open order at a place of the list, 0..`orders()`.
    #[must_use]
    pub fn order(&self, at: usize) -> Order {
        self.slots[self.open[at] as usize]
    }

    /// The open order of a number.
    #[must_use]
    pub fn find(&self, id: u64) -> Option<&Order> {
        self.found.get(&id).map(|&slot| &self.slots[slot as usize])
    }

    /// Whether an order at `limit` (`None`: any price) would meet the other side on arrival.
    #[must_use]
    pub fn crosses(&self, side: Side, limit: Option<i64>) -> bool {
        let other = side.other();
        let best = self.side(other).first_key_value();
        best.is_some_and(|(&key, _)| limit.is_none_or(|limit| key <= other.key(limit)))
    }

    /// What `arrival` would trade on arrival if only others' orders were there: price and quantity by level, best first.
    /// Where it would be cancelled because it meets an order of the account, it ends.
    #[must_use]
    pub fn takes(&self, arrival: &Arrival) -> Vec<(i64, i64)> {
        let other = arrival.side.other();
        let mut left = arrival.qty;
        let mut takes = Vec::new();
        for (&key, level) in self.side(other) {
            if left == 0 || arrival.limit.is_some_and(|limit| other.key(limit) < key) {
                break;
            }
            // In front of an order of the account only what is shown comes first: refills go behind it.
            let stops = arrival.self_trade != SelfTrade::CancelOldest;
            let met = stops && self.waiting(level).any(|order| order.id >= OWN);
            let sum: i64 = if met {
                self.waiting(level).take_while(|order| order.id < OWN).map(|order| order.qty).sum()
            } else {
                self.waiting(level).filter(|order| order.id < OWN).map(|order| order.qty + order.hidden).sum()
            };
            let qty = sum.min(left);
            if qty > 0 {
                takes.push((key.abs(), qty));
            }
            left -= qty;
            if met {
                break;
            }
        }
        takes
    }

    fn begin(&mut self, ts: i64) {
        self.changes.clear();
        self.order_changes.clear();
        self.fills.clear();
        self.prevented.clear();
        self.last = ts.max(self.last + 1);
    }

    /// Takes an order at `ts`: matches what crosses `limit` (`None`: at any price), rests what is left of a limit order,
    /// of which `peak` is shown at once. Returns its number.
    ///
    /// Each order that enters a queue gets a different time: `ts`, or some ns later.
    pub fn submit(&mut self, side: Side, limit: Option<i64>, qty: i64, peak: i64, ts: i64) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let wait = if limit.is_some() { Wait::Rest } else { Wait::Immediate };
        let self_trade = SelfTrade::CancelNewest;
        self.arrive(&Arrival { id, side, limit, qty, peak, wait, self_trade }, ts);
        id
    }

    /// Takes an order at `ts`. One without a limit never rests.
    pub fn arrive(&mut self, arrival: &Arrival, ts: i64) -> Arrived {
        self.begin(ts);
        let takes = || self.takes(arrival).iter().map(|(_, qty)| qty).sum::<i64>();
        if arrival.wait == Wait::AllOrNothing && takes() < arrival.qty {
            return Arrived::Unfilled(arrival.qty);
        }
        self.enter(arrival)
    }

    fn enter(&mut self, arrival: &Arrival) -> Arrived {
        let &Arrival { id, side, limit, qty, peak, wait, .. } = arrival;
        let mut left = qty;
        let maker_side = side.other();
        let mut met = false;
        while left > 0 && !met {
            let Some((&key, _)) = self.side(maker_side).first_key_value() else { break };
            let price = key.abs();
            if limit.is_some_and(|limit| maker_side.key(limit) < key) {
                break;
            }
            (left, met) = self.take(maker_side, key, left, arrival);
            let now = self.side(maker_side).get(&key).map_or(0, |level| level.qty);
            self.changes.push(Change { side: maker_side, price, qty: now });
        }
        if left == 0 {
            return Arrived::Filled;
        }
        if met {
            return Arrived::SelfTrade(left);
        }
        let (Some(price), Wait::Rest) = (limit, wait) else { return Arrived::Unfilled(left) };
        self.last += 1;
        let (qty, ts) = (left.min(peak.max(1)), self.last);
        let open_at = if id < OWN { count(self.open.len()) } else { NONE };
        let (hidden, peak, before, after) = (left - qty, qty, NONE, NONE);
        let order = Order { id, price, qty, ts, hidden, peak, open_at, before, after, side };
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = order;
            slot
        } else {
            self.slots.push(order);
            count(self.slots.len() - 1)
        };
        if id < OWN {
            self.open.push(slot);
        }
        self.found.insert(id, slot);
        let levels = levels_of(&mut self.buys, &mut self.sells, side);
        let level = levels.entry(side.key(price)).or_insert(Level { qty: 0, first: NONE, last: NONE });
        level.qty += qty;
        append(&mut self.slots, level, slot);
        self.changes.push(Change { side, price, qty: level.qty });
        let (before, after) = (Shown::default(), Shown { qty, ts });
        self.order_changes.push(OrderChange { id, side, price, before, after });
        Arrived::Rests(left)
    }

    /// Fills up to `left` from one level; returns what is left, and whether the order met one of the account and ends.
    fn take(&mut self, side: Side, key: i64, mut left: i64, arrival: &Arrival) -> (i64, bool) {
        let levels = levels_of(&mut self.buys, &mut self.sells, side);
        let Some(level) = levels.get_mut(&key) else { return (left, false) };
        let mut done = Vec::new();
        let mut met = false;
        while left > 0 {
            let slot = level.first;
            let Some(order) = self.slots.get_mut(slot as usize) else { break };
            let before = Shown { qty: order.qty, ts: order.ts };
            if arrival.id >= OWN && order.id >= OWN {
                met = arrival.self_trade != SelfTrade::CancelOldest;
                if arrival.self_trade == SelfTrade::CancelNewest {
                    break;
                }
                self.prevented.push(order.id);
                level.qty -= order.qty;
                let (id, price, after) = (order.id, order.price, Shown { qty: 0, ts: order.ts });
                remove(&mut self.slots, level, slot);
                done.push(slot);
                self.order_changes.push(OrderChange { id, side, price, before, after });
                if met {
                    break;
                }
                continue;
            }
            let qty = order.qty.min(left);
            order.qty -= qty;
            level.qty -= qty;
            left -= qty;
            let (id, price, mut refill) = (order.id, order.price, 0);
            if order.qty == 0 {
                if order.hidden > 0 {
                    self.last += 1;
                    order.ts = self.last;
                    order.qty = order.hidden.min(order.peak);
                    refill = order.qty;
                    order.hidden -= order.qty;
                    level.qty += order.qty;
                } else {
                    done.push(slot);
                }
            }
            let after = Shown { qty: order.qty, ts: order.ts };
            if refill > 0 || after.qty == 0 {
                remove(&mut self.slots, level, slot);
            }
            if refill > 0 {
                append(&mut self.slots, level, slot);
            }
            self.fills.push(Fill { price, qty, maker: id, refill });
            self.order_changes.push(OrderChange { id, side, price, before, after });
        }
        if level.first == NONE {
            levels.remove(&key);
        }
        for slot in done {
            self.close(slot);
        }
        (left, met)
    }

    /// Removes an order from the lists of open ones.
    fn close(&mut self, slot: u32) {
        let Order { id, open_at: at, .. } = self.slots[slot as usize];
        self.found.remove(&id);
        if at != NONE {
            self.open.swap_remove(at as usize);
            if let Some(&moved) = self.open.get(at as usize) {
                self.slots[moved as usize].open_at = at;
            }
        }
        self.free.push(slot);
    }

    /// Cancels the open order at a place of the list.
    pub fn cancel(&mut self, at: usize, ts: i64) {
        self.begin(ts);
        self.withdraw(self.open[at]);
    }

    /// Cancels the open order of a number, wherever it is in its queue; returns it as it was.
    pub fn cancel_id(&mut self, id: u64, ts: i64) -> Option<Order> {
        self.begin(ts);
        let slot = *self.found.get(&id)?;
        let order = self.slots[slot as usize];
        self.withdraw(slot);
        Some(order)
    }

    /// Takes an order out of its queue and closes it.
    fn withdraw(&mut self, slot: u32) {
        let Order { id, side, price, qty, ts, .. } = self.slots[slot as usize];
        self.close(slot);
        let key = side.key(price);
        let levels = levels_of(&mut self.buys, &mut self.sells, side);
        let mut now = 0;
        if let Some(level) = levels.get_mut(&key) {
            remove(&mut self.slots, level, slot);
            level.qty -= qty;
            now = level.qty;
            if level.first == NONE {
                levels.remove(&key);
            }
        }
        self.changes.push(Change { side, price, qty: now });
        let (before, after) = (Shown { qty, ts }, Shown { qty: 0, ts });
        self.order_changes.push(OrderChange { id, side, price, before, after });
    }

    /// Gives an open order new terms; `None` if there is no such order.
    ///
    /// Less quantity at the same price keeps its place: what is hidden goes first. Every other change takes the order out
    /// of its queue, and it arrives again, with the same number and a new time.
    pub fn amend(&mut self, id: u64, new: &Amendment, ts: i64) -> Option<Arrived> {
        self.begin(ts);
        let slot = *self.found.get(&id)?;
        let Order { side, price, qty, hidden, ts, .. } = self.slots[slot as usize];
        if new.price != price || (new.qty > qty + hidden && !new.keep) {
            self.withdraw(slot);
            let &Amendment { price, qty, peak, self_trade, .. } = new;
            return Some(self.enter(&Arrival {
                id,
                side,
                limit: Some(price),
                qty,
                peak,
                wait: Wait::Rest,
                self_trade,
            }));
        }
        let peak = new.peak.max(1);
        // An order that shows all it has shows all that it gets; an iceberg hides it.
        let shown = if hidden == 0 && peak >= new.qty { new.qty } else { qty.min(new.qty) };
        let order = &mut self.slots[slot as usize];
        (order.qty, order.hidden, order.peak) = (shown, new.qty - shown, peak);
        if shown != qty {
            let levels = levels_of(&mut self.buys, &mut self.sells, side);
            if let Some(level) = levels.get_mut(&side.key(price)) {
                level.qty += shown - qty;
                self.changes.push(Change { side, price, qty: level.qty });
            }
            let (before, after) = (Shown { qty, ts }, Shown { qty: shown, ts });
            self.order_changes.push(OrderChange { id, side, price, before, after });
        }
        Some(Arrived::Rests(new.qty))
    }
}

/// A number of orders; there are never four thousand million.
fn count(orders: usize) -> u32 {
    u32::try_from(orders).unwrap_or(NONE)
}

/// Puts an order at the end of a queue.
fn append(slots: &mut [Order], level: &mut Level, slot: u32) {
    (slots[slot as usize].before, slots[slot as usize].after) = (level.last, NONE);
    match slots.get_mut(level.last as usize) {
        Some(last) => last.after = slot,
        None => level.first = slot,
    }
    level.last = slot;
}

/// Takes an order out of its queue.
fn remove(slots: &mut [Order], level: &mut Level, slot: u32) {
    let Order { before, after, .. } = slots[slot as usize];
    match slots.get_mut(before as usize) {
        Some(order) => order.after = after,
        None => level.first = after,
    }
    match slots.get_mut(after as usize) {
        Some(order) => order.before = before,
        None => level.last = before,
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
    #[derive(Default, Clone)]
    struct Model {
        orders: Vec<Resting>,
        turns: usize,
        refills: usize,
        fills: Vec<Fill>,
        prevented: Vec<u64>,
    }

    impl Model {
        fn arrive(&mut self, arrival: &Arrival) -> Arrived {
            self.fills.clear();
            self.prevented.clear();
            if arrival.wait == Wait::AllOrNothing {
                // It tries, and looks whether that was enough.
                let mut tried = self.clone();
                let mut immediate = *arrival;
                immediate.wait = Wait::Immediate;
                if tried.arrive(&immediate) != Arrived::Filled {
                    return Arrived::Unfilled(arrival.qty);
                }
            }
            let &Arrival { id, side, limit, qty: mut left, peak, .. } = arrival;
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
                if id >= OWN && order.id >= OWN {
                    if arrival.self_trade != SelfTrade::CancelNewest {
                        self.prevented.push(order.id);
                        self.orders.remove(i);
                    }
                    if arrival.self_trade == SelfTrade::CancelOldest {
                        continue;
                    }
                    return Arrived::SelfTrade(left);
                }
                let qty = left.min(order.qty);
                left -= qty;
                order.qty -= qty;
                let (price, maker, mut refill) = (order.price, order.id, 0);
                if order.qty == 0 && order.hidden == 0 {
                    self.orders.remove(i);
                } else if order.qty == 0 {
                    refill = order.peak.min(order.hidden);
                    order.qty = refill;
                    order.hidden -= order.qty;
                    self.turns += 1;
                    order.turn = self.turns;
                    self.refills += 1;
                }
                self.fills.push(Fill { price, qty, maker, refill });
            }
            if left == 0 {
                return Arrived::Filled;
            }
            let (Some(price), Wait::Rest) = (limit, arrival.wait) else { return Arrived::Unfilled(left) };
            self.turns += 1;
            let (qty, turn) = (left.min(peak), self.turns);
            self.orders.push(Resting { id, side, price, qty, hidden: left - qty, peak: qty, turn });
            Arrived::Rests(left)
        }

        fn amend(&mut self, id: u64, new: &Amendment) -> Option<Arrived> {
            self.fills.clear();
            self.prevented.clear();
            let i = self.orders.iter().position(|o| o.id == id)?;
            let order = &mut self.orders[i];
            let (side, all) = (order.side, order.qty + order.hidden);
            if new.price == order.price && (new.qty <= all || new.keep) {
                if order.hidden == 0 && new.peak >= new.qty {
                    order.qty = new.qty;
                }
                order.qty = order.qty.min(new.qty);
                order.hidden = new.qty - order.qty;
                order.peak = new.peak;
                return Some(Arrived::Rests(new.qty));
            }
            self.orders.remove(i);
            let &Amendment { price, qty, peak, self_trade, .. } = new;
            Some(self.arrive(&Arrival { id, side, limit: Some(price), qty, peak, wait: Wait::Rest, self_trade }))
        }

        /// Number, price and shown quantity of each order of a side, in the order in which they will be filled.
        fn queue(&self, side: Side) -> Vec<(u64, i64, i64)> {
            let mut orders: Vec<_> = self.orders.iter().filter(|o| o.side == side).collect();
            orders.sort_by_key(|o| (side.key(o.price), o.turn));
            orders.into_iter().map(|o| (o.id, o.price, o.qty)).collect()
        }
    }

    fn small(rng: &mut Rng, below: usize) -> i64 {
        i64::try_from(rng.below(below)).expect("small")
    }

    /// What is done at random to both.
    struct Both {
        rng: Rng,
        engine: Engine,
        model: Model,
        own: Vec<u64>,
        /// How often each of these happened: fills of own orders, self-trades, fill-or-kill filled and not, amended.
        seen: [usize; 5],
    }

    impl Both {
        fn arrival(&mut self, id: u64) -> Arrival {
            let rng = &mut self.rng;
            let side = if rng.bits() & 1 == 0 { Side::Buy } else { Side::Sell };
            let limit = (rng.unit() < 0.8).then(|| 1000 + small(rng, 40));
            let qty = 1 + small(rng, 50);
            let peak = if rng.below(3) == 0 { 1 + qty / 5 } else { qty };
            let wait = [Wait::Rest, Wait::Rest, Wait::Immediate, Wait::AllOrNothing][rng.below(4)];
            let kinds = [SelfTrade::CancelNewest, SelfTrade::CancelOldest, SelfTrade::CancelBoth];
            Arrival { id, side, limit, qty, peak, wait, self_trade: kinds[rng.below(3)] }
        }

        fn step(&mut self, step: i64) {
            let chance = self.rng.unit();
            if chance < 0.25 && self.engine.orders() > 0 {
                let at = self.rng.below(self.engine.orders());
                let id = self.engine.order(at).id;
                assert!(id < OWN, "nobody else cancels the account's orders");
                self.engine.cancel(at, step);
                self.model.orders.retain(|o| o.id != id);
            } else if chance < 0.3 && !self.own.is_empty() {
                let id = self.own[self.rng.below(self.own.len())];
                let known = self.model.orders.iter().find(|o| o.id == id).map(|o| (o.qty, o.hidden));
                let gone = self.engine.cancel_id(id, step).map(|o| (o.qty, o.hidden));
                assert_eq!(gone, known, "step {step}");
                self.model.orders.retain(|o| o.id != id);
            } else if chance < 0.4 && !self.own.is_empty() {
                let id = self.own[self.rng.below(self.own.len())];
                let Arrival { limit, qty, peak, self_trade, .. } = self.arrival(id);
                let price = self.engine.find(id).map_or(1, |order| order.price);
                let price = if self.rng.below(2) == 0 { limit.unwrap_or(price) } else { price };
                let new = Amendment { price, qty, peak, keep: self.rng.below(2) == 0, self_trade };
                assert_eq!(self.engine.amend(id, &new, step), self.model.amend(id, &new), "step {step}: {new:?}");
                self.seen[4] += 1;
            } else if chance < 0.6 {
                let id = OWN + u64::try_from(step).expect("positive");
                let arrival = self.arrival(id);
                let became = self.model.arrive(&arrival);
                assert_eq!(self.engine.arrive(&arrival, step), became, "step {step}: {arrival:?}");
                if matches!(became, Arrived::Rests(_)) {
                    self.own.push(id);
                }
                self.seen[1] += usize::from(matches!(became, Arrived::SelfTrade(_)));
                if arrival.wait == Wait::AllOrNothing {
                    self.seen[if became == Arrived::Filled { 2 } else { 3 }] += 1;
                }
            } else {
                let Arrival { side, limit, qty, peak, .. } = self.arrival(0);
                let id = self.engine.submit(side, limit, qty, peak, step);
                let wait = if limit.is_some() { Wait::Rest } else { Wait::Immediate };
                let self_trade = SelfTrade::CancelBoth;
                self.model.arrive(&Arrival { id, side, limit, qty, peak, wait, self_trade });
                assert_eq!(self.engine.fills, self.model.fills, "step {step}");
            }
            let orders = &self.model.orders;
            self.own.retain(|id| orders.iter().any(|o| o.id == *id));
            self.seen[0] += self.engine.fills.iter().filter(|fill| fill.maker >= OWN).count();
        }
    }

    /// Goal: fills, queues, levels and reported changes are those of a naive model: icebergs, orders of the account,
    /// limits of time, amendments and self-trades included.
    #[test]
    fn matches_by_price_then_time_as_a_naive_model_does() {
        let (engine, model) = (Engine::default(), Model::default());
        let mut both = Both { rng: Rng::new(7), engine, model, own: Vec::new(), seen: [0; 5] };
        let mut filled = 0;
        for step in 0..30_000 {
            let mut told: BTreeMap<u64, (Side, i64, Shown)> =
                [Side::Buy, Side::Sell].iter().flat_map(|&side| shown(&both.engine, side)).collect();
            both.step(step);
            let Both { engine, model, .. } = &both;
            if !engine.fills.is_empty() {
                assert_eq!(engine.fills, model.fills, "step {step}");
                assert_eq!(engine.prevented, model.prevented, "step {step}");
            }
            filled += engine.fills.len();
            for change in &engine.order_changes {
                let before = told.insert(change.id, (change.side, change.price, change.after));
                let before = before.map_or(Shown::default(), |before| before.2);
                assert_eq!(before, change.before, "step {step}: {change:?}");
                if change.after.qty == 0 {
                    told.remove(&change.id);
                }
            }
            let now: BTreeMap<u64, (Side, i64, Shown)> =
                [Side::Buy, Side::Sell].iter().flat_map(|&side| shown(engine, side)).collect();
            assert_eq!(told, now, "step {step}: the changes of orders lead from the book before to this one");
            for side in [Side::Buy, Side::Sell] {
                let queue = model.queue(side);
                let orders = engine.best_orders(side, usize::MAX).map(|o| (o.id, o.price, o.qty));
                assert_eq!(orders.collect::<Vec<_>>(), queue, "step {step}");
                let mut levels: BTreeMap<i64, i64> = BTreeMap::new();
                for (id, price, qty) in queue {
                    *levels.entry(side.key(price)).or_default() += qty;
                    assert_eq!(engine.find(id).map(|order| (order.price, order.qty)), Some((price, qty)));
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
                // A level that changes twice tells both; the last is how it is now.
                let last = engine.changes.iter().rfind(|c| c.side == change.side && c.price == change.price);
                assert_eq!(Some(now), last.map(|c| c.qty), "step {step}: {change:?}");
            }
            assert_eq!(engine.found.len(), model.orders.len());
            assert_eq!(engine.orders() + both.own.len(), model.orders.len());
        }
        let refills = both.model.refills;
        assert!(filled > 1000 && refills > 300, "the test is awake: {filled} fills, {refills} refills");
        assert!(both.seen.iter().all(|&times| times > 100), "the test is awake: {:?}", both.seen);
        assert!(both.engine.slots.len() < 2000, "slots are used again: {}", both.engine.slots.len());
    }

    /// Goal: an order is found by its number wherever it waits: a cancel in a queue of 200,000 costs what one in a short
    /// queue costs. Searching the queue for each of them would take minutes.
    #[test]
    fn a_cancel_does_not_search_the_queue() {
        let mut engine = Engine::default();
        let ids: Vec<u64> = (0..200_000).map(|ts| engine.submit(Side::Buy, Some(100), 1, 1, ts)).collect();
        for (ts, id) in (0..).zip(ids.iter().skip(1).step_by(2).rev()) {
            assert!(engine.cancel_id(*id, ts).is_some());
        }
        assert_eq!((engine.orders(), engine.best(Side::Buy).next()), (100_000, Some((100, 100_000))));
        let waiting: Vec<u64> = engine.queue(Side::Buy, -100).map(|order| order.id).collect();
        assert_eq!(waiting, ids.iter().copied().step_by(2).collect::<Vec<_>>());
        assert!(engine.cancel_id(ids[1], 0).is_none(), "it is gone");
    }

    /// What is shown of each order of a side; queues are in order of time, and all times differ.
    fn shown(engine: &Engine, side: Side) -> Vec<(u64, (Side, i64, Shown))> {
        let orders: Vec<&Order> = engine.best_orders(side, usize::MAX).collect();
        assert!(orders.windows(2).all(|pair| pair[0].price != pair[1].price || pair[0].ts < pair[1].ts));
        orders.into_iter().map(|o| (o.id, (o.side, o.price, Shown { qty: o.qty, ts: o.ts }))).collect()
    }
}
