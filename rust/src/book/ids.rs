//! The numbers of orders by their ids.
//!
//! An order of Kraken's shape has its packed id in its own memory, where the table reads it. So the table holds four bytes
//! an order, and stays in the processor's cache; a table of ids is several times as large as the orders that it is asked for.

use std::hash::BuildHasher as _;

use foldhash::HashMap;
use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::wire::message::{Name, OrderId};

/// Stands in an order's memory for an id of another shape. No packed id has its top bit set.
pub const NAMED: u128 = u128::MAX;

/// Numbers by id. `packed` of its methods gives what [`Self::insert`] returned for a number.
#[derive(Debug, Clone, Default)]
pub struct OrderIds {
    packed: HashTable<u32>,
    state: RandomState,
    /// Ids of other shapes, both ways.
    named: HashMap<Box<str>, u32>,
    names: HashMap<u32, Box<str>>,
}

impl OrderIds {
    /// How many ids there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.packed.len() + self.named.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of an id.
    #[inline]
    #[must_use]
    pub fn find(&self, id: OrderId<'_>, packed: impl Fn(u32) -> u128) -> Option<u32> {
        match id.0 {
            Name::Packed(id) => self.packed.find(self.state.hash_one(id), |&number| packed(number) == id).copied(),
            Name::Text(name) => self.named.get(name).copied(),
        }
    }

    /// Adds an id that is not there. Returns what the order's memory is to hold of it.
    #[inline]
    pub fn insert(&mut self, id: OrderId<'_>, number: u32, packed: impl Fn(u32) -> u128) -> u128 {
        match id.0 {
            Name::Packed(id) => {
                let state = &self.state;
                self.packed.insert_unique(state.hash_one(id), number, |&other| state.hash_one(packed(other)));
                id
            }
            Name::Text(name) => {
                self.named.insert(name.into(), number);
                self.names.insert(number, name.into());
                NAMED
            }
        }
    }

    /// Removes the id of a number; `held`: what the order's memory holds of it.
    #[inline]
    pub fn remove(&mut self, held: u128, number: u32) {
        if held == NAMED {
            if let Some(name) = self.names.remove(&number) {
                self.named.remove(&name);
            }
        } else if let Ok(found) = self.packed.find_entry(self.state.hash_one(held), |&other| other == number) {
            found.remove();
        }
    }

    /// The id of a number; `held`: what the order's memory holds of it.
    #[must_use]
    pub fn id(&self, held: u128, number: u32) -> OrderId<'_> {
        OrderId(match held {
            NAMED => Name::Text(self.names.get(&number).map_or("", |name| name)),
            id => Name::Packed(id),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: ids of both shapes are found by their numbers until they are removed, and no others.
    #[test]
    fn ids_are_found_until_they_are_removed() {
        let texts: Vec<String> =
            (0..2000).map(|n| if n % 3 == 0 { format!("name {n}") } else { format!("OABCDE-{n:05}-ABCDEF") }).collect();
        let id = |number: u32| OrderId::new(&texts[number as usize]).expect("short");
        let (mut ids, mut held) = (OrderIds::default(), vec![NAMED; texts.len()]);
        for number in 0..2000 {
            assert_eq!(ids.find(id(number), |other| held[other as usize]), None);
            held[number as usize] = ids.insert(id(number), number, |other| held[other as usize]);
        }
        assert!(held.contains(&NAMED) && held.iter().any(|id| *id != NAMED));
        for number in (0..2000).filter(|number| number % 2 == 0) {
            ids.remove(held[number as usize], number);
        }
        assert_eq!((ids.len(), ids.named.len()), (1000, ids.names.len()));
        for number in 0..2000 {
            let found = ids.find(id(number), |other| held[other as usize]);
            assert_eq!(found, (number % 2 == 1).then_some(number));
            if found.is_some() {
                assert_eq!(ids.id(held[number as usize], number), id(number));
            }
        }
    }
}
