//! What a subscriber of the book channel holds: the best levels of an engine's book, and the messages that keep it so.

use std::collections::BTreeSet;

use crate::engine::{Change, Engine, Side};
use crate::wire;

/// An entry of a book message: side, price, quantity (0: the level is gone).
pub type Entry = (Side, i64, i64);

/// The levels that subscribers of one depth hold. Quantities are the engine's.
#[derive(Debug)]
pub struct View {
    depth: usize,
    buys: BTreeSet<i64>,
    sells: BTreeSet<i64>,
}

impl View {
    /// The view of a book as it is now.
    #[must_use]
    pub fn new(engine: &Engine, depth: usize) -> Self {
        let keys = |side: Side| engine.best(side).take(depth).map(|(price, _)| side.key(price)).collect();
        Self { depth, buys: keys(Side::Buy), sells: keys(Side::Sell) }
    }

    /// Turns changes of the engine's book into entries for the subscribers.
    ///
    /// `engine` is the book after all `changes`. A level that leaves the window has no entry: the subscriber truncates
    /// after each entry, as this function does. If a level within the window is removed, an entry adds the next deeper
    /// one with its quantity at the end of the message; a later change of that level has an entry with the same quantity.
    pub fn update(&mut self, engine: &Engine, changes: &[Change], entries: &mut Vec<Entry>) {
        for &Change { side, price, qty } in changes {
            let (held, depth) = match side {
                Side::Buy => (&mut self.buys, self.depth),
                Side::Sell => (&mut self.sells, self.depth),
            };
            let key = side.key(price);
            if qty == 0 {
                if held.remove(&key) {
                    entries.push((side, price, 0));
                    let deepest = held.last().map_or(i64::MIN, |&key| key);
                    if let Some((price, qty)) = engine.behind_key(side, deepest) {
                        held.insert(side.key(price));
                        entries.push((side, price, qty));
                    }
                }
            } else if held.len() < depth || held.last().is_some_and(|&deepest| key <= deepest) {
                entries.push((side, price, qty));
                held.insert(key);
                if held.len() > depth {
                    held.pop_last();
                }
            }
        }
    }
}

/// Keeps only the last change of each level, for a message that covers several steps.
pub fn merge(changes: &mut Vec<Change>) {
    let mut seen = BTreeSet::new();
    changes.reverse();
    changes.retain(|change| seen.insert((change.side == Side::Sell, change.price)));
    changes.reverse();
}

/// Levels per side in a checksum.
pub const TOP: usize = 10;

/// A checksum that is computed again only if it may have changed.
#[derive(Debug, Default)]
pub struct Checksum {
    /// The checksum, and per side the key of the deepest level in it; `i64::MAX` if the book has fewer levels.
    known: Option<(u32, [i64; 2])>,
}

impl Checksum {
    /// Returns what `compute` returns for a book after some levels (side and price) `changed`; all of them must be given.
    pub fn after(
        &mut self,
        engine: &Engine,
        mut changed: impl Iterator<Item = (Side, i64)>,
        compute: impl Fn(&Engine, &mut Vec<u8>) -> u32,
        scratch: &mut Vec<u8>,
    ) -> u32 {
        if let Some((sum, edges)) = self.known
            && changed.all(|(side, price)| side.key(price) > edges[usize::from(side == Side::Sell)])
        {
            // A level behind the edge enters the checksum only when one before it is removed.
            return sum;
        }
        let sum = compute(engine, scratch);
        let edge = |side: Side| engine.best(side).nth(TOP - 1).map_or(i64::MAX, |(price, _)| side.key(price));
        self.known = Some((sum, [edge(Side::Buy), edge(Side::Sell)]));
        sum
    }

    /// Forgets the checksum: later changes will not be given.
    pub const fn forget(&mut self) {
        self.known = None;
    }
}

/// The checksum of a book: the best ten asks, then the best ten bids, price and quantity as digits.
pub fn checksum(engine: &Engine, scratch: &mut Vec<u8>) -> u32 {
    scratch.clear();
    for side in [Side::Sell, Side::Buy] {
        for (price, qty) in engine.best(side).take(TOP) {
            wire::digits(price, scratch);
            wire::digits(qty, scratch);
        }
    }
    wire::crc32(scratch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::Market;
    use crate::pairs::pairs;
    use std::collections::BTreeMap;

    /// Goal: a subscriber that applies the entries and truncates after each holds exactly the engine's best levels, also
    /// if a message covers several steps.
    #[test]
    fn a_subscriber_holds_the_best_levels() {
        let (mut refills, mut dropped, mut merged) = (0, 0, 0);
        for (i, pair) in pairs(60, 9).into_iter().enumerate().step_by(7) {
            let mut market = Market::new(pair, i as u64, 0);
            for (depth, every) in [(1, 1), (3, 1), (10, 1), (25, 1), (100, 1), (1, 7), (10, 20), (100, 3)] {
                let mut view = View::new(&market.engine, depth);
                let mut books = [Side::Buy, Side::Sell].map(|side| {
                    market.engine.best(side).take(depth).map(|(p, q)| (side.key(p), q)).collect::<BTreeMap<_, _>>()
                });
                let (mut changes, mut sum, mut scratch) = (Vec::new(), Checksum::default(), Vec::new());
                for step in 0..4000 {
                    market.step(step);
                    changes.extend_from_slice(&market.changes);
                    if step % every != 0 {
                        continue;
                    }
                    if every > 1 {
                        let before = changes.len();
                        merge(&mut changes);
                        merged += before - changes.len();
                    }
                    let mut entries = Vec::new();
                    view.update(&market.engine, &changes, &mut entries);
                    refills += usize::from(entries.len() > changes.len());
                    let levels = changes.iter().map(|change| (change.side, change.price));
                    let kept = sum.after(&market.engine, levels, checksum, &mut scratch);
                    assert_eq!(kept, checksum(&market.engine, &mut scratch), "a kept checksum is the right one");
                    changes.clear();
                    for (side, price, qty) in entries {
                        let book = &mut books[usize::from(side == Side::Sell)];
                        if qty == 0 {
                            assert!(book.remove(&side.key(price)).is_some(), "only what is held is deleted");
                        } else {
                            book.insert(side.key(price), qty);
                        }
                        if book.len() > depth {
                            book.pop_last();
                            dropped += 1;
                        }
                    }
                    for side in [Side::Buy, Side::Sell] {
                        let held: Vec<_> =
                            books[usize::from(side == Side::Sell)].iter().map(|(k, &q)| (k.abs(), q)).collect();
                        let best: Vec<_> = market.engine.best(side).take(depth).collect();
                        assert_eq!(held, best, "{} depth {depth} step {step}", market.pair.symbol);
                    }
                }
            }
        }
        assert!(refills > 100 && dropped > 100, "the test is awake: {refills} refills, {dropped} dropped");
        assert!(merged > 100, "the test is awake: {merged} changes merged");
    }
}
