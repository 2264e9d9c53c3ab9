//! What a subscriber of the level3 channel holds: every order of the best levels, and the messages that keep it so.

use std::collections::BTreeSet;

use crate::engine::{Engine, Order, OrderChange, Side};
use crate::rng::Rng;
use crate::view::TOP;
use crate::wire;

/// What happened to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It is new, or its level entered the window.
    Add,
    /// Its quantity changed.
    Modify,
    /// It is gone: filled or cancelled.
    Delete,
}

/// An entry of a level3 message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderEntry {
    /// What happened.
    pub event: Event,
    /// Side.
    pub side: Side,
    /// The engine's number of the order.
    pub id: u64,
    /// Price.
    pub price: i64,
    /// Quantity shown; for an order that is gone, the last one.
    pub qty: i64,
    /// When it got its place in the queue, ns; for an order that is gone, the time of the message.
    pub ts: i64,
}

impl OrderEntry {
    const fn add(order: &Order) -> Self {
        let &Order { id, side, price, qty, ts, .. } = order;
        Self { event: Event::Add, side, id, price, qty, ts }
    }
}

/// Merges the changes of each order at a price into one; an order that was added and removed leaves none.
pub fn merge(changes: &mut Vec<OrderChange>) {
    // Stable: the changes of one order stay in their order. An order that moved has changes at two prices.
    changes.sort_by_key(|change| (change.id, change.price));
    changes.dedup_by(|later, first| {
        let same = later.id == first.id && later.price == first.price;
        if same {
            first.after = later.after;
        }
        same
    });
    changes.retain(|change| change.before != change.after && change.before.qty.max(change.after.qty) > 0);
}

/// The price levels of one side that subscribers of one depth hold.
#[derive(Debug)]
struct Window {
    depth: usize,
    held: BTreeSet<i64>,
    /// Levels that the last update brought into the window.
    entered: Vec<i64>,
    /// Levels of the window that are empty since the last update.
    emptied: Vec<i64>,
}

impl Window {
    fn new(engine: &Engine, side: Side, depth: usize) -> Self {
        let held = engine.best(side).take(depth).map(|(price, _)| side.key(price)).collect();
        Self { depth, held, entered: Vec::new(), emptied: Vec::new() }
    }

    /// Moves the window to the engine's book; `keys` are those of all levels of the side that changed.
    fn update(&mut self, engine: &Engine, side: Side, keys: impl Iterator<Item = i64> + Clone) {
        self.entered.clear();
        self.emptied.clear();
        // Behind it there may be levels that did not change and are not held.
        let edge = if self.held.len() < self.depth { i64::MAX } else { self.held.last().copied().unwrap_or(i64::MAX) };
        for key in keys.clone() {
            if !engine.has(side, key) && self.held.remove(&key) {
                self.emptied.push(key);
            }
        }
        for key in keys {
            if key <= edge && engine.has(side, key) && self.held.insert(key) {
                self.entered.push(key);
            }
        }
        let mut behind = edge;
        while self.held.len() < self.depth {
            let Some((price, _)) = engine.behind_key(side, behind) else { break };
            behind = side.key(price);
            self.held.insert(behind);
            self.entered.push(behind);
        }
        while self.held.len() > self.depth {
            // It left the window: no entry.
            if let Some(key) = self.held.pop_last() {
                self.entered.retain(|&entered| entered != key);
            }
        }
    }
}

/// The orders that subscribers of one depth hold. The orders are the engine's.
#[derive(Debug)]
pub struct OrderView {
    windows: [Window; 2],
}

impl OrderView {
    /// The view of a book as it is now.
    #[must_use]
    pub fn new(engine: &Engine, depth: usize) -> Self {
        Self { windows: [Side::Buy, Side::Sell].map(|side| Window::new(engine, side, depth)) }
    }

    /// Turns merged changes of orders into entries for the subscribers.
    ///
    /// `engine` is the book after the changes; `ts` the time of the message, ns. Deletes come first, then modifies, then
    /// adds, so that a subscriber may truncate after each entry or after the message. Adds are often not sorted by time,
    /// as at Kraken: the place of an order in its queue follows from its time.
    pub fn update(&mut self, engine: &Engine, changes: &[OrderChange], ts: i64, entries: &mut Vec<OrderEntry>) {
        for (window, side) in self.windows.iter_mut().zip([Side::Buy, Side::Sell]) {
            let of_side = changes.iter().filter(|change| change.side == side);
            window.update(engine, side, of_side.clone().map(|change| side.key(change.price)));
            let stays = |key: &i64| window.held.contains(key) && !window.entered.contains(key);
            for &OrderChange { id, price, before, after, .. } in of_side.clone() {
                let key = side.key(price);
                let told = stays(&key) || window.emptied.contains(&key);
                if told && before.qty > 0 && (after.qty == 0 || after.ts != before.ts) {
                    entries.push(OrderEntry { event: Event::Delete, side, id, price, qty: before.qty, ts });
                }
            }
            for &OrderChange { id, price, before, after, .. } in of_side.clone() {
                if before.qty > 0 && after.qty > 0 && after.ts == before.ts && stays(&side.key(price)) {
                    entries.push(OrderEntry { event: Event::Modify, side, id, price, qty: after.qty, ts: after.ts });
                }
            }
            let adds = entries.len();
            for &OrderChange { id, price, before, after, .. } in of_side {
                let new = after.qty > 0 && (before.qty == 0 || after.ts != before.ts);
                if new && stays(&side.key(price)) {
                    entries.push(OrderEntry { event: Event::Add, side, id, price, qty: after.qty, ts: after.ts });
                }
            }
            for &key in &window.entered {
                entries.extend(engine.queue(side, key).map(OrderEntry::add));
            }
            shuffle(&mut entries[adds..], ts);
        }
    }
}

/// Makes one `modify` of a `delete` and an `add` of the same order, where `amended` says so of its two prices.
pub fn join_amended(entries: &mut Vec<OrderEntry>, amended: impl Fn(u64, i64, i64) -> bool) {
    let deletes: Vec<OrderEntry> = entries.iter().filter(|entry| entry.event == Event::Delete).copied().collect();
    for old in deletes {
        let found = |new: &OrderEntry| new.event == Event::Add && new.id == old.id && new.side == old.side;
        let Some(at) = entries.iter().position(|new| found(new) && amended(new.id, old.price, new.price)) else {
            continue;
        };
        let new = entries.remove(at);
        if let Some(entry) = entries.iter_mut().find(|entry| **entry == old) {
            *entry = OrderEntry { event: Event::Modify, ..new };
        }
    }
}

/// Puts entries into an order that follows from `seed`; half of the seeds leave them as they are.
fn shuffle(entries: &mut [OrderEntry], seed: i64) {
    if entries.len() < 2 {
        return;
    }
    let mut rng = Rng::new(seed.unsigned_abs());
    if rng.below(2) == 0 {
        for at in (1..entries.len()).rev() {
            entries.swap(at, rng.below(at + 1));
        }
    }
}

/// Entries of a snapshot: all orders of the best `depth` levels, best first, in the order of their queues.
pub fn snapshot(engine: &Engine, depth: usize, entries: &mut Vec<OrderEntry>) {
    for side in [Side::Buy, Side::Sell] {
        entries.extend(engine.best_orders(side, depth).map(OrderEntry::add));
    }
}

/// The level-3 checksum of a book: price and quantity, as digits, of all orders of the best ten levels, asks first.
pub fn checksum(engine: &Engine, scratch: &mut Vec<u8>) -> u32 {
    scratch.clear();
    for side in [Side::Sell, Side::Buy] {
        for order in engine.best_orders(side, TOP) {
            wire::digits(order.price, scratch);
            wire::digits(order.qty, scratch);
        }
    }
    wire::crc32(scratch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Shown;
    use crate::market::Market;
    use crate::pairs::pairs;
    use crate::view::{Checksum, View};
    use std::collections::BTreeMap;

    /// A naive subscriber: a list of orders, sorted by time.
    struct Subscriber {
        depth: usize,
        /// Side, key of the price, time, number, quantity.
        orders: Vec<(Side, i64, i64, u64, i64)>,
    }

    impl Subscriber {
        fn apply(&mut self, entry: &OrderEntry) {
            let &OrderEntry { event, side, id, price, qty, ts } = entry;
            let held = self.orders.iter().position(|order| order.3 == id);
            match event {
                Event::Add => {
                    if let Some(at) = held {
                        self.orders.remove(at);
                    }
                    self.orders.push((side, side.key(price), ts, id, qty));
                }
                Event::Modify => {
                    let at = held.expect("only what is held is modified");
                    assert_eq!(self.orders[at], (side, side.key(price), ts, id, self.orders[at].4));
                    self.orders[at].4 = qty;
                }
                Event::Delete => {
                    let order = self.orders.remove(held.expect("only what is held is deleted"));
                    assert_eq!(order, (side, side.key(price), order.2, id, qty), "the last quantity");
                }
            }
        }

        /// Forgets the levels behind the window; returns the number of their orders.
        fn truncate(&mut self) -> usize {
            let before = self.orders.len();
            for side in [Side::Buy, Side::Sell] {
                let keys: BTreeSet<i64> = self.orders.iter().filter(|o| o.0 == side).map(|o| o.1).collect();
                if let Some(&edge) = keys.iter().nth(self.depth) {
                    self.orders.retain(|o| o.0 != side || o.1 < edge);
                }
            }
            before - self.orders.len()
        }

        fn queue(&self, side: Side) -> Vec<(i64, i64, u64, i64)> {
            let mut orders: Vec<_> = self.orders.iter().filter(|o| o.0 == side).map(|o| (o.1, o.2, o.3, o.4)).collect();
            orders.sort_by_key(|o| (o.0, o.1));
            orders
        }

        fn checksum(&self) -> u32 {
            let mut text = String::new();
            for side in [Side::Sell, Side::Buy] {
                let queue = self.queue(side);
                let keys: BTreeSet<i64> = queue.iter().map(|o| o.0).collect();
                let edge = keys.iter().nth(9).copied().unwrap_or(i64::MAX);
                for (key, _, _, qty) in queue.into_iter().filter(|o| o.0 <= edge) {
                    text += &key.abs().to_string();
                    text += &qty.to_string();
                }
            }
            // Bit by bit: not by the tables of the exchange.
            let mut crc = u32::MAX;
            for byte in text.bytes() {
                crc ^= u32::from(byte);
                for _ in 0..8 {
                    crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
                }
            }
            !crc
        }
    }

    /// Goal: a subscriber that applies the entries naively, truncating after each message or after each entry, holds the
    /// engine's orders within the window, with the checksum and the level-2 sums of the book channel.
    #[test]
    fn a_subscriber_holds_the_orders_of_the_best_levels() {
        let (mut entered, mut shuffled, mut refilled, mut dropped, mut kept) = (0, 0, 0, 0, 0);
        for (i, pair) in pairs(60, 9).into_iter().enumerate().step_by(6) {
            for (depth, steps, every) in [(1, 600, 1), (3, 600, 4), (10, 1200, 1), (100, 300, 3), (1000, 30, 1)] {
                let mut market = Market::new(pair.clone(), i as u64, 1_000_000_000_000_000_000);
                let mut view = OrderView::new(&market.engine, depth);
                let mut book = View::new(&market.engine, depth);
                let (mut entries, mut book_entries) = (Vec::new(), Vec::new());
                snapshot(&market.engine, depth, &mut entries);
                let mut subscribers = [(); 2].map(|()| Subscriber { depth, orders: Vec::new() });
                for subscriber in &mut subscribers {
                    for entry in &entries {
                        subscriber.apply(entry);
                    }
                }
                let held = |side| market.engine.best(side).take(depth).map(|(p, q)| (side.key(p), q)).collect();
                let mut level2: [BTreeMap<i64, i64>; 2] = [Side::Buy, Side::Sell].map(held);
                let (mut sum, mut scratch) = (Checksum::default(), Vec::new());
                let (mut pending, mut pending2) = (Vec::new(), Vec::new());
                for step in 0..steps {
                    market.step(1_000_000_000_000_000_000 + step * 1_000_000);
                    pending.extend_from_slice(&market.order_changes);
                    pending2.extend_from_slice(&market.changes);
                    if step % every != 0 {
                        continue;
                    }
                    merge(&mut pending);
                    refilled += pending.iter().filter(|c| c.before.qty > 0 && c.after.ts != c.before.ts).count();
                    entries.clear();
                    let ts = market.engine.last();
                    view.update(&market.engine, &pending, ts, &mut entries);
                    let changed = pending.iter().map(|change| (change.side, change.price));
                    let computed = sum.after(&market.engine, changed, checksum, &mut scratch);
                    assert_eq!(computed, checksum(&market.engine, &mut scratch), "a kept checksum is the right one");
                    kept += usize::from(!pending.is_empty() && entries.is_empty());
                    pending.clear();
                    assert!(entries.iter().all(|e| e.ts <= ts && (e.event != Event::Delete || e.ts == ts)));
                    let adds: Vec<_> = entries.iter().filter(|e| e.event == Event::Add).collect();
                    entered += adds.iter().filter(|e| e.ts < ts - 10_000_000).count();
                    shuffled += adds.windows(2).filter(|w| w[0].side == w[1].side && w[0].ts > w[1].ts).count();
                    for entry in &entries {
                        for subscriber in &mut subscribers {
                            subscriber.apply(entry);
                        }
                        dropped += subscribers[0].truncate();
                    }
                    subscribers[1].truncate();
                    book_entries.clear();
                    book.update(&market.engine, &pending2, &mut book_entries);
                    pending2.clear();
                    for &(side, price, qty) in &book_entries {
                        let held = &mut level2[usize::from(side == Side::Sell)];
                        if qty == 0 {
                            held.remove(&side.key(price))
                        } else {
                            held.insert(side.key(price), qty)
                        };
                        if held.len() > depth {
                            held.pop_last();
                        }
                    }
                    for subscriber in &subscribers {
                        let place = format!("{} depth {depth} step {step}", market.pair.symbol);
                        for side in [Side::Buy, Side::Sell] {
                            let orders = market.engine.best_orders(side, depth);
                            let orders: Vec<_> = orders.map(|o| (side.key(o.price), o.ts, o.id, o.qty)).collect();
                            let queue = subscriber.queue(side);
                            assert_eq!(queue, orders, "{place}");
                            let mut sums: BTreeMap<i64, i64> = BTreeMap::new();
                            for (key, _, _, qty) in queue {
                                *sums.entry(key).or_default() += qty;
                            }
                            assert_eq!(sums, level2[usize::from(side == Side::Sell)], "{place}: the book channel");
                        }
                        if depth >= TOP {
                            assert_eq!(subscriber.checksum(), computed, "{place}");
                        }
                    }
                }
            }
        }
        let awake = [entered > 1000, shuffled > 300, refilled > 20, dropped > 1000, kept > 100];
        assert_eq!(awake, [true; 5], "awake: {entered} {shuffled} {refilled} {dropped} {kept}");
    }

    /// Goal: one change is left of each order; none of an order that was added and removed.
    #[test]
    fn changes_are_merged() {
        let change = |id, before: (i64, i64), after: (i64, i64)| {
            let shown = |(qty, ts)| Shown { qty, ts };
            OrderChange { id, side: Side::Buy, price: 5, before: shown(before), after: shown(after) }
        };
        let mut changes = vec![
            change(2, (0, 0), (7, 3)),
            change(1, (9, 1), (4, 1)),
            change(2, (7, 3), (0, 3)),
            change(1, (4, 1), (9, 5)),
            change(3, (2, 1), (1, 1)),
        ];
        merge(&mut changes);
        assert_eq!(changes, [change(1, (9, 1), (9, 5)), change(3, (2, 1), (1, 1))]);
    }
}
