//! The orders of an account by their number: those of this run, as many ended ones as are kept, and those taken over.

use std::collections::{BTreeMap, VecDeque};

use crate::order::Order;

/// All orders.
#[derive(Debug)]
pub struct Orders {
    /// Number of the first order of this run.
    first: u64,
    /// Number of the first slot; all before it are forgotten.
    from: u64,
    /// Orders of this run by number; an empty slot was forgotten.
    slots: VecDeque<Option<Box<Order>>>,
    /// Numbers of those that ended and of which all fills are known, oldest first.
    ended: VecDeque<u64>,
    /// So many of them are kept; at least the last one, which is still being told of.
    kept: usize,
    /// Orders of earlier runs.
    adopted: BTreeMap<u64, Order>,
}

impl Orders {
    /// None yet.
    #[must_use]
    pub const fn new(first: u64, kept: usize) -> Self {
        Self {
            first,
            from: first,
            slots: VecDeque::new(),
            ended: VecDeque::new(),
            kept: if kept == 0 { 1 } else { kept },
            adopted: BTreeMap::new(),
        }
    }

    /// The number of the next order.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.from + self.slots.len() as u64
    }

    /// Whether this run, or an earlier one as far as it was taken over, made an order of this number. It may be
    /// forgotten.
    #[must_use]
    pub fn is_known(&self, number: u64) -> bool {
        (self.first..self.next()).contains(&number) || self.adopted.contains_key(&number)
    }

    /// An order.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&Order> {
        match number.checked_sub(self.from) {
            Some(index) => self.slots.get(usize::try_from(index).ok()?)?.as_deref(),
            None => self.adopted.get(&number),
        }
    }

    /// An order, to be changed.
    pub fn get_mut(&mut self, number: u64) -> Option<&mut Order> {
        match number.checked_sub(self.from) {
            Some(index) => self.slots.get_mut(usize::try_from(index).ok()?)?.as_deref_mut(),
            None => self.adopted.get_mut(&number),
        }
    }

    /// All that are kept: those of earlier runs first.
    pub fn all(&self) -> impl Iterator<Item = &Order> {
        self.adopted.values().chain(self.slots.iter().flatten().map(|order| &**order))
    }

    /// Adds the next order.
    pub fn push(&mut self, order: Order) {
        self.slots.push_back(Some(Box::new(order)));
    }

    /// Takes over an order of an earlier run; false if its number is one of this run, or known. This run goes on behind it.
    pub fn adopt(&mut self, order: Order) -> bool {
        let (number, next) = (order.number, self.next());
        let strange = !(self.first..next).contains(&number) && !self.adopted.contains_key(&number);
        if strange {
            if number >= next {
                let made = self.slots.drain(..).flatten().map(|order| (order.number, *order));
                self.adopted.extend(made);
                self.from = number.saturating_add(1);
            }
            self.adopted.insert(number, order);
        }
        strange
    }

    /// It was not taken over after all.
    pub fn disown(&mut self, number: u64) {
        self.adopted.remove(&number);
    }

    /// Something follows about an order that had ended.
    pub fn revive(&mut self, number: u64) {
        self.ended.retain(|ended| *ended != number);
    }

    /// Nothing follows about an order of this run any more: it is forgotten when so many others ended after it.
    pub fn end(&mut self, number: u64) {
        if number < self.from {
            return;
        }
        self.ended.push_back(number);
        if self.ended.len() <= self.kept {
            return;
        }
        let oldest = self.ended.pop_front().and_then(|oldest| usize::try_from(oldest.checked_sub(self.from)?).ok());
        if let Some(slot) = oldest.and_then(|oldest| self.slots.get_mut(oldest)) {
            *slot = None;
        }
        // One slot stays, so that there is a number to count on from.
        while self.slots.len() > 1 && self.slots.front().is_some_and(Option::is_none) {
            self.slots.pop_front();
            self.from += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amount::{Price, Qty};
    use crate::order::{Found, Until};
    use crate::pair::Pair;
    use crate::terms::{Side, Terms};

    fn order(number: u64) -> Order {
        let terms = Terms::limit(0, Side::Buy, Qty(1), Price(1));
        Order::new(number, terms, "".into(), 0, Until::at(0))
    }

    /// Goal: of ended orders the last ones are kept, live ones always; numbers go on, and forgotten ones are still
    /// known.
    #[test]
    fn ended_orders_are_forgotten() {
        let mut orders = Orders::new(10, 2);
        for number in 10..20 {
            assert_eq!(orders.next(), number);
            orders.push(order(number));
        }
        // Order 12 lives on.
        for number in [10, 11, 13, 14, 15, 16] {
            orders.end(number);
        }
        let kept: Vec<u64> = orders.all().map(|order| order.number).collect();
        assert_eq!(kept, [12, 15, 16, 17, 18, 19]);
        assert!(orders.get(13).is_none() && orders.get(12).is_some() && orders.get_mut(10).is_none());
        assert!([10, 13, 19].iter().all(|number| orders.is_known(*number)));
        assert!(![9, 20].iter().any(|number| orders.is_known(*number)));
        for number in [12, 17, 18, 19] {
            orders.end(number);
        }
        let kept: Vec<u64> = orders.all().map(|order| order.number).collect();
        assert_eq!((kept, orders.next()), (vec![18, 19], 20));
        let mut none = Orders::new(0, 0);
        none.push(order(0));
        none.end(0);
        none.push(order(1));
        none.end(1);
        assert_eq!((none.all().map(|order| order.number).collect(), none.next()), (vec![1], 2));
    }

    /// Goal: orders of earlier runs are taken over once, and this run never gives their numbers again.
    #[test]
    fn orders_of_an_earlier_run() {
        let mut orders = Orders::new(10, 0);
        let strange = |number| {
            let (order_id, state) = ("O".into(), crate::order::State::Open);
            let (qty, price, filled) = (Qty(1), None, Qty(0));
            let found = Found { ts: 0, order_id, state, qty, price, filled, fills: Vec::new(), reason: "".into() };
            Order::adopted(number, order(number).terms, "".into(), &found, &Pair::example(), &[])
        };
        orders.push(order(10));
        assert!(orders.adopt(strange(3)) && !orders.adopt(strange(3)) && !orders.adopt(strange(10)));
        // No journal had it: the next one of this run must have another number.
        assert!(orders.adopt(strange(20)) && !orders.adopt(strange(15)) && orders.next() == 21);
        orders.push(order(21));
        let all: Vec<u64> = orders.all().map(|order| order.number).collect();
        assert_eq!((all, orders.get(10).map(|order| order.number)), (vec![3, 10, 20, 21], Some(10)));
        orders.end(3);
        assert!(orders.is_known(3) && orders.get_mut(3).is_some());
        orders.disown(3);
        assert!(!orders.is_known(3));
    }
}
