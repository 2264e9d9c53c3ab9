//! Own orders that rest on paper: ghosts. They are found by side and price, and change nothing of what they stand in.

use std::sync::Arc;

use crate::amount::{Price, Qty};
use crate::report::Evidence;
use crate::shown::key;
use crate::terms::Side;

/// A trade, as the orders see it that it met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Print {
    /// Side of the orders that it met.
    pub side: Side,
    pub price: Price,
    pub qty: Qty,
    pub trade_id: i64,
}

/// What a ghost got, and what proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hit {
    pub account: u32,
    pub order: u64,
    pub qty: Qty,
    pub price: Price,
    pub evidence: Evidence,
    pub trade_id: Option<i64>,
    pub counterparty: Option<Arc<str>>,
    pub doubt: bool,
    /// Whether another part of an iceberg is shown now.
    pub refilled: bool,
    /// What is left of the order.
    pub left: Qty,
}

/// An own order at its price.
#[derive(Debug, Clone)]
pub(crate) struct Ghost {
    pub account: u32,
    pub order: u64,
    pub side: Side,
    pub price: Price,
    /// All that is left of it.
    pub left: Qty,
    /// What is shown of that.
    pub shown: Qty,
    /// What is shown at once.
    pub display: Option<Qty>,
    /// The time of its place, ns. The record comes first within an instant.
    pub ts: i64,
    /// How many orders of the record were told before it took its place.
    pub came: u64,
    /// Its number: the older order is asked first where nothing else decides.
    pub number: u64,
    /// Level 3: quantity that stood before it when its price left the window.
    pub unseen: Qty,
    /// Level 2: quantity before it; `None`: not known.
    pub ahead: Option<Qty>,
    /// Level 2: instant and quantity of trades at its price that its level has not shown yet.
    pub printed: (i64, Qty),
    /// What it got in its last instant: the instant, at its price, at worse ones.
    pub took: (i64, Qty, Qty),
}

impl Ghost {
    /// Takes up to `qty`: of what is shown, or of all. Returns how much, and whether another part is shown now.
    pub fn take(&mut self, qty: Qty, all: bool) -> (Qty, bool) {
        let most = if all { self.left } else { self.shown };
        let took = Qty(qty.0.min(most.0).max(0));
        self.left -= took;
        let Some(display) = self.display.filter(|display| display.is_positive()) else {
            self.shown = self.left;
            return (took, false);
        };
        let over = took.0 - self.shown.0;
        if over < 0 || self.left == Qty::ZERO {
            self.shown = Qty((-over).max(0));
            return (took, false);
        }
        self.shown = Qty((display.0 - over % display.0).min(self.left.0));
        (took, true)
    }

    /// Notes a fill, if it is one. `why`: what proves it, whether it is in doubt, whether another part is shown now.
    pub fn note(&self, hits: &mut Vec<Hit>, qty: Qty, why: (Evidence, bool, bool), trade_id: Option<i64>) {
        let (evidence, doubt, refilled) = why;
        if qty.is_positive() {
            let (account, order, price, left) = (self.account, self.order, self.price, self.left);
            hits.push(Hit {
                account,
                order,
                qty,
                price,
                evidence,
                trade_id,
                counterparty: None,
                doubt,
                refilled,
                left,
            });
        }
    }

    /// A smaller quantity, at the same place.
    pub fn shrink(&mut self, left: Qty) {
        self.left = left;
        self.shown = Qty(self.display.map_or(left.0, |display| self.shown.0.max(display.0)).min(left.0));
    }
}

/// The ghosts of a pair.
#[derive(Debug, Default)]
pub(crate) struct Ghosts {
    held: Vec<Option<Ghost>>,
    free: Vec<u32>,
    /// Key of the price and slot, by side, the worst first.
    sides: [Vec<(i64, u32)>; 2],
}

impl Ghosts {
    pub fn insert(&mut self, ghost: Ghost) -> u32 {
        let key = key(ghost.side, ghost.price);
        let side = ghost.side as usize;
        let slot = if let Some(slot) = self.free.pop() {
            self.held[slot as usize] = Some(ghost);
            slot
        } else {
            self.held.push(Some(ghost));
            // Orders of accounts are bounded far below.
            u32::try_from(self.held.len() - 1).unwrap_or(u32::MAX)
        };
        let at = self.sides[side].partition_point(|held| held.0 < key);
        self.sides[side].insert(at, (key, slot));
        slot
    }

    pub fn remove(&mut self, slot: u32) -> Option<Ghost> {
        let ghost = self.held.get_mut(slot as usize)?.take()?;
        let key = key(ghost.side, ghost.price);
        let side = &mut self.sides[ghost.side as usize];
        let from = side.partition_point(|held| held.0 < key);
        let at = side[from..].iter().position(|held| held.1 == slot)?;
        side.remove(from + at);
        self.free.push(slot);
        Some(ghost)
    }

    pub fn get(&self, slot: u32) -> Option<&Ghost> {
        self.held.get(slot as usize)?.as_ref()
    }

    pub fn get_mut(&mut self, slot: u32) -> Option<&mut Ghost> {
        self.held.get_mut(slot as usize)?.as_mut()
    }

    pub fn is_empty(&self) -> bool {
        self.sides.iter().all(Vec::is_empty)
    }

    pub fn all(&self) -> impl Iterator<Item = (u32, &Ghost)> {
        (0..).zip(&self.held).filter_map(|(slot, ghost)| Some((slot, ghost.as_ref()?)))
    }

    /// Those of a side whose price is this one or a better one, from the best on.
    pub fn reaching(&self, side: Side, price: Price) -> impl Iterator<Item = u32> {
        let least = key(side, price);
        self.sides[side as usize].iter().rev().take_while(move |held| held.0 >= least).map(|held| held.1)
    }

    /// Those at a price.
    pub fn at(&self, side: Side, price: Price) -> impl Iterator<Item = u32> {
        let key = key(side, price);
        let side = &self.sides[side as usize];
        let from = side.partition_point(|held| held.0 < key);
        side[from..].iter().take_while(move |held| held.0 == key).map(|held| held.1)
    }

    /// Whether one of a side is at this price or a better one.
    pub fn is_reached(&self, side: Side, price: Price) -> bool {
        self.sides[side as usize].last().is_some_and(|best| best.0 >= key(side, price))
    }

    /// Those that trades may have met, in the order in which they are asked: account by account, the older place first;
    /// with `by_price` the better price before that.
    pub fn met(&self, prints: &[Print], by_price: bool, found: &mut Vec<u32>) {
        found.clear();
        for side in [Side::Buy, Side::Sell] {
            let worst = prints.iter().filter(|print| print.side == side).map(|print| key(side, print.price)).min();
            let Some(worst) = worst else { continue };
            let of_side = self.sides[side as usize].iter().rev();
            found.extend(of_side.take_while(|held| held.0 >= worst).map(|held| held.1));
        }
        self.sort(by_price, found);
    }

    /// The order in which those are asked that one order of the other side meets: the best price first.
    pub fn sort(&self, by_price: bool, found: &mut [u32]) {
        found.sort_by_key(|slot| {
            self.get(*slot).map(|ghost| {
                let price = if by_price { -key(ghost.side, ghost.price) } else { 0 };
                (ghost.account, price, ghost.ts, ghost.number)
            })
        });
    }
}

/// What was traded at a price, and at worse ones. `gone`: what own orders took of the trades before; it is missing at
/// their worst price.
pub(crate) fn reach(prints: &[Print], side: Side, price: Price, gone: Qty) -> (Qty, Qty) {
    let (mut at, mut worse) = (0_i64, 0_i64);
    for print in prints.iter().filter(|print| print.side == side) {
        if print.price == price {
            at = at.saturating_add(print.qty.0);
        } else if side.better(price, print.price) {
            worse = worse.saturating_add(print.qty.0);
        }
    }
    let more = (gone.0 - worse).max(0);
    (Qty((at - more).max(0)), Qty((worse - gone.0).max(0)))
}

/// The trade in which an order got its first part, if `before` of what was traded at its price was another's.
pub(crate) fn trade_at(prints: &[Print], side: Side, price: Price, before: Qty) -> Option<i64> {
    let at = || prints.iter().filter(move |print| print.side == side && print.price == price);
    let mut sum = 0_i64;
    let reached = |print: &&Print| {
        sum = sum.saturating_add(print.qty.0);
        sum > before.0
    };
    at().find(reached).or_else(|| at().next_back()).map(|print| print.trade_id)
}

/// The first trade at a worse price.
pub(crate) fn trade_below(prints: &[Print], side: Side, price: Price) -> Option<i64> {
    prints.iter().find(|print| print.side == side && side.better(price, print.price)).map(|print| print.trade_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ghost(account: u32, side: Side, price: i64, left: i64, display: Option<i64>) -> Ghost {
        Ghost {
            account,
            order: 1,
            side,
            price: Price(price),
            left: Qty(left),
            shown: Qty(display.unwrap_or(left)),
            display: display.map(Qty),
            ts: 0,
            came: 0,
            number: 0,
            unseen: Qty::ZERO,
            ahead: None,
            printed: (0, Qty::ZERO),
            took: (0, Qty::ZERO, Qty::ZERO),
        }
    }

    /// Goal: an iceberg gives what it shows, then shows the next part; what sweeps its price takes all of it.
    #[test]
    fn icebergs_show_parts() {
        let mut one = ghost(0, Side::Buy, 100, 10, Some(3));
        assert_eq!(one.take(Qty(2), false), (Qty(2), false));
        assert_eq!((one.left, one.shown), (Qty(8), Qty(1)));
        assert_eq!(one.take(Qty(5), false), (Qty(1), true));
        assert_eq!((one.left, one.shown), (Qty(7), Qty(3)));
        assert_eq!(one.take(Qty(4), true), (Qty(4), true));
        assert_eq!((one.left, one.shown), (Qty(3), Qty(2)));
        assert_eq!(one.take(Qty(9), true), (Qty(3), false));
        assert_eq!((one.left, one.shown), (Qty(0), Qty(0)));
        assert_eq!(one.take(Qty(-1), true), (Qty(0), false));
        let mut plain = ghost(0, Side::Buy, 100, 10, None);
        assert_eq!(plain.take(Qty(4), false), (Qty(4), false));
        assert_eq!((plain.left, plain.shown), (Qty(6), Qty(6)));
    }

    /// Goal: ghosts are found by side and price, the best first.
    #[test]
    fn ghosts_are_found_by_price() {
        let mut ghosts = Ghosts::default();
        let slots: Vec<u32> =
            [(Side::Buy, 99), (Side::Buy, 101), (Side::Sell, 103), (Side::Buy, 100), (Side::Sell, 105)]
                .map(|(side, price)| ghosts.insert(ghost(0, side, price, 1, None)))
                .into();
        let reaching = |ghosts: &Ghosts, side, price| ghosts.reaching(side, Price(price)).collect::<Vec<_>>();
        assert_eq!(reaching(&ghosts, Side::Buy, 100), [slots[1], slots[3]]);
        assert_eq!(reaching(&ghosts, Side::Sell, 104), [slots[2]]);
        assert!(ghosts.is_reached(Side::Sell, Price(103)) && !ghosts.is_reached(Side::Sell, Price(102)));
        assert_eq!(ghosts.remove(slots[1]).map(|ghost| ghost.price), Some(Price(101)));
        assert!(ghosts.remove(slots[1]).is_none());
        assert_eq!(reaching(&ghosts, Side::Buy, 90), [slots[3], slots[0]]);
        assert_eq!(ghosts.at(Side::Buy, Price(100)).collect::<Vec<_>>(), [slots[3]]);
    }

    /// Goal: what own orders took is missing at the worst price of the trades.
    #[test]
    fn trades_are_shared() {
        let print = |price, qty, trade_id| Print { side: Side::Buy, price: Price(price), qty: Qty(qty), trade_id };
        let prints = [print(100, 4, 1), print(99, 3, 2), print(100, 2, 3)];
        assert_eq!(reach(&prints, Side::Buy, Price(100), Qty(0)), (Qty(6), Qty(3)));
        assert_eq!(reach(&prints, Side::Buy, Price(100), Qty(2)), (Qty(6), Qty(1)));
        assert_eq!(reach(&prints, Side::Buy, Price(100), Qty(5)), (Qty(4), Qty(0)));
        assert_eq!(reach(&prints, Side::Buy, Price(99), Qty(5)), (Qty(0), Qty(0)));
        assert_eq!(reach(&prints, Side::Sell, Price(99), Qty(0)), (Qty(0), Qty(0)));
        assert_eq!(trade_at(&prints, Side::Buy, Price(100), Qty(3)), Some(1));
        assert_eq!(trade_at(&prints, Side::Buy, Price(100), Qty(4)), Some(3));
        assert_eq!(trade_below(&prints, Side::Buy, Price(100)), Some(2));
    }
}
