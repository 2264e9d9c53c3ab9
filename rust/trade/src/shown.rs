//! The orders that a level-3 record shows, by id and in the queues of their prices.
//!
//! The core's book proves itself by checksums. This one answers what a simulation asks at every change: which order is it,
//! what did it lose, when did it come. So it has no digits, and its numbers are steps of the pair in 64 bits.

use crate::amount::{Price, Qty};
use crate::terms::Side;
use krakpot_core::book::ids::{NAMED, OrderIds};
use krakpot_core::book::modify_rule::ModifyRule;
use krakpot_core::book::sorted::SortedLevels;
use krakpot_core::limits::ORDERS_MAX;

/// Stands for no order.
const NONE: u32 = u32::MAX;
/// An order's id.
pub(crate) use krakpot_core::wire::message::OwnedOrderId as Id;

/// An order of the record, in one line of the processor's cache.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(crate) struct Order {
    /// What [`OrderIds`] keeps here.
    id: u128,
    pub side: Side,
    pub price: Price,
    pub qty: Qty,
    /// The time that its place goes by, ns.
    pub ts: i64,
    /// How many orders were told before it.
    pub came: u64,
    before: u32,
    behind: u32,
    level: u32,
}

/// First and last order of a price.
#[derive(Debug, Clone, Copy)]
struct Level {
    first: u32,
    last: u32,
}

/// A price as a key that grows towards the best price.
pub(crate) const fn key(side: Side, price: Price) -> i64 {
    match side {
        Side::Buy => price.0,
        Side::Sell => -price.0,
    }
}

/// The orders.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shown {
    orders: Vec<Order>,
    free: Vec<u32>,
    ids: OrderIds,
    levels: Vec<Level>,
    free_levels: Vec<u32>,
    /// Keys and levels by side, the worst first.
    sides: [SortedLevels<(i64, u32)>; 2],
    told: u64,
}

impl Shown {
    /// The next number of an order that is told, or of a ghost that takes its place now.
    pub fn tell(&mut self) -> u64 {
        self.told += 1;
        self.told
    }

    /// How many were told.
    pub const fn told(&self) -> u64 {
        self.told
    }

    pub fn find(&self, id: &Id) -> Option<u32> {
        self.ids.find(id.borrowed(), |slot| self.orders[slot as usize].id)
    }

    pub fn order(&self, slot: u32) -> Option<&Order> {
        self.orders.get(slot as usize)
    }

    /// The id of an order that is held.
    pub fn id(&self, slot: u32) -> Id {
        self.ids.id(self.orders[slot as usize].id, slot).into()
    }

    /// Another order; `None` if there are too many. It takes the slot of one of the same id, which is removed before.
    pub fn add(&mut self, id: &Id, mut order: Order) -> Option<u32> {
        let slot = if let Some(slot) = self.find(id) {
            self.dequeue(slot);
            order.id = self.orders[slot as usize].id;
            self.orders[slot as usize] = order;
            slot
        } else {
            if self.ids.len() >= ORDERS_MAX {
                return None;
            }
            let slot = self.free.pop().or_else(|| u32::try_from(self.orders.len()).ok())?;
            order.id = self.ids.insert(id.borrowed(), slot, |other| self.orders[other as usize].id);
            if slot as usize == self.orders.len() {
                self.orders.push(order);
            } else {
                self.orders[slot as usize] = order;
            }
            slot
        };
        self.enqueue(slot);
        Some(slot)
    }

    /// An order as the record tells it now.
    pub fn told_order(&mut self, (side, price): (Side, Price), qty: Qty, ts: i64) -> Order {
        Order { id: NAMED, side, price, qty, ts, came: self.tell(), before: NONE, behind: NONE, level: NONE }
    }

    /// Another quantity, and perhaps another place. Returns whether the order moved to another price.
    pub fn modify(&mut self, slot: u32, (side, price): (Side, Price), qty: Qty, ts: i64, rule: ModifyRule) -> bool {
        let order = &mut self.orders[slot as usize];
        order.qty = qty;
        let moved = order.price != price || order.side != side;
        if moved || (rule == ModifyRule::TakeTimestamp && order.ts != ts) {
            self.dequeue(slot);
            let came = self.tell();
            let order = &mut self.orders[slot as usize];
            (order.side, order.price, order.ts, order.came) = (side, price, ts, came);
            self.enqueue(slot);
        }
        moved
    }

    /// Removes an order, which can be read in its slot until another one comes.
    pub fn remove(&mut self, slot: u32) {
        self.ids.remove(self.orders[slot as usize].id, slot);
        self.dequeue(slot);
        self.free.push(slot);
    }

    pub fn clear(&mut self) {
        *self = Self { told: self.told, ..Self::default() };
    }

    fn enqueue(&mut self, slot: u32) {
        let order = &self.orders[slot as usize];
        let (key, ts) = (key(order.side, order.price), order.ts);
        let side = &mut self.sides[order.side as usize];
        let at = side.place(|level| level.0 < key);
        let number = match side.get(at) {
            Some(&(held, number)) if held == key => number,
            _ => {
                let empty = Level { first: NONE, last: NONE };
                let number = if let Some(number) = self.free_levels.pop() {
                    self.levels[number as usize] = empty;
                    number
                } else {
                    self.levels.push(empty);
                    // There are no more levels than orders.
                    u32::try_from(self.levels.len() - 1).unwrap_or(NONE)
                };
                side.insert(at, (key, number));
                number
            }
        };
        let level = self.levels[number as usize];
        // Behind all that are as old; from the front if it is older than all.
        let mut before = level.last;
        if level.first != NONE && self.orders[level.first as usize].ts > ts {
            before = NONE;
        }
        while before != NONE && self.orders[before as usize].ts > ts {
            before = self.orders[before as usize].before;
        }
        let behind = if before == NONE { level.first } else { self.orders[before as usize].behind };
        match before {
            NONE => self.levels[number as usize].first = slot,
            _ => self.orders[before as usize].behind = slot,
        }
        match behind {
            NONE => self.levels[number as usize].last = slot,
            _ => self.orders[behind as usize].before = slot,
        }
        let order = &mut self.orders[slot as usize];
        (order.before, order.behind, order.level) = (before, behind, number);
    }

    fn dequeue(&mut self, slot: u32) {
        let order = &self.orders[slot as usize];
        let (before, behind, number) = (order.before, order.behind, order.level);
        match before {
            NONE => self.levels[number as usize].first = behind,
            _ => self.orders[before as usize].behind = behind,
        }
        match behind {
            NONE => self.levels[number as usize].last = before,
            _ => self.orders[behind as usize].before = before,
        }
        if self.levels[number as usize].first == NONE {
            let order = &self.orders[slot as usize];
            let key = key(order.side, order.price);
            let side = &mut self.sides[order.side as usize];
            let at = side.place(|level| level.0 < key);
            side.remove(at);
            self.free_levels.push(number);
        }
    }

    /// Whether the window shows this price.
    pub fn is_visible(&self, side: Side, price: Price, depth: usize) -> bool {
        let levels = &self.sides[side as usize];
        levels.len() < depth || levels.first().is_none_or(|worst| key(side, price) >= worst.0)
    }

    /// The worst price of a side that has more levels than the window.
    pub fn excess(&self, side: Side, depth: usize) -> Option<Price> {
        let levels = &self.sides[side as usize];
        let worst = levels.first().filter(|_| levels.len() > depth)?;
        self.queue_of(worst.1).next().map(|(_, order)| order.price)
    }

    fn queue_of(&self, level: u32) -> impl Iterator<Item = (u32, &Order)> {
        let mut slot = self.levels.get(level as usize).map_or(NONE, |level| level.first);
        std::iter::from_fn(move || {
            let order = self.orders.get(slot as usize)?;
            let found = (slot, order);
            slot = order.behind;
            Some(found)
        })
    }

    /// The orders at a price, in the order of the queue.
    pub fn queue(&self, side: Side, price: Price) -> impl Iterator<Item = (u32, &Order)> {
        let levels = &self.sides[side as usize];
        let key = key(side, price);
        let level = levels.get(levels.place(|level| level.0 < key)).filter(|level| level.0 == key);
        self.queue_of(level.map_or(NONE, |level| level.1))
    }

    /// All orders of a side, the best first.
    pub fn best(&self, side: Side) -> impl Iterator<Item = (u32, &Order)> {
        self.sides[side as usize].iter().rev().flat_map(|level| self.queue_of(level.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(shown: &mut Shown, id: &str, price: i64, qty: i64, ts: i64) {
        let order = shown.told_order((Side::Buy, Price(price)), Qty(qty), ts);
        shown.add(&Id::new(id), order).expect("room");
    }

    fn ids(shown: &Shown) -> Vec<String> {
        shown.best(Side::Buy).map(|(slot, _)| shown.id(slot).to_string()).collect()
    }

    /// Goal: queues go by time, then by arrival; levels by price; slots are used again.
    #[test]
    fn orders_are_in_their_places() {
        let mut shown = Shown::default();
        for (id, price, ts) in [("a", 100, 5), ("b", 100, 3), ("c", 101, 9), ("d", 100, 5), ("e", 100, 4)] {
            add(&mut shown, id, price, 1, ts);
        }
        assert_eq!(ids(&shown), ["c", "b", "e", "a", "d"]);
        let slot = shown.find(&Id::new("e")).expect("there");
        shown.remove(slot);
        add(&mut shown, "f", 99, 1, 1);
        assert_eq!(ids(&shown), ["c", "b", "a", "d", "f"]);
        // The same id again is the order anew.
        add(&mut shown, "b", 100, 1, 8);
        assert_eq!(ids(&shown), ["c", "a", "d", "b", "f"]);
        assert_eq!(shown.excess(Side::Buy, 2), Some(Price(99)));
        assert!(!shown.is_visible(Side::Buy, Price(98), 3) && shown.is_visible(Side::Buy, Price(98), 4));
        let slot = shown.find(&Id::new("a")).expect("there");
        assert!(!shown.modify(slot, (Side::Buy, Price(100)), Qty(1), 7, ModifyRule::KeepPlace));
        assert_eq!(ids(&shown), ["c", "a", "d", "b", "f"]);
        assert!(!shown.modify(slot, (Side::Buy, Price(100)), Qty(1), 7, ModifyRule::TakeTimestamp));
        assert_eq!(ids(&shown), ["c", "d", "a", "b", "f"]);
        assert!(shown.modify(slot, (Side::Buy, Price(101)), Qty(1), 10, ModifyRule::KeepPlace));
        assert_eq!(ids(&shown), ["c", "a", "d", "b", "f"]);
        shown.clear();
        assert!(ids(&shown).is_empty() && shown.find(&Id::new("a")).is_none());
    }
}
