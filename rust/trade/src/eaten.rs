//! What accounts took of the record: it is there for others, and gone for whoever took it.

use std::hash::Hash;

use foldhash::HashMap;

use crate::amount::Qty;

/// Quantities that accounts took, by the order or level that they took them of.
#[derive(Debug)]
pub(crate) struct Eaten<K>(HashMap<K, Vec<(u32, Qty)>>);

impl<K> Default for Eaten<K> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<K: Eq + Hash> Eaten<K> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What an account took there.
    pub fn of(&self, key: &K, account: u32) -> Qty {
        let part = self.0.get(key).and_then(|parts| parts.iter().find(|part| part.0 == account));
        part.map_or(Qty::ZERO, |part| part.1)
    }

    pub fn add(&mut self, key: K, account: u32, qty: Qty) {
        let parts = self.0.entry(key).or_default();
        match parts.iter_mut().find(|part| part.0 == account) {
            Some(part) => part.1 += qty,
            None => parts.push((account, qty)),
        }
    }

    /// Gives what each account took there another value.
    pub fn change(&mut self, key: &K, change: impl Fn(Qty) -> Qty) {
        let Some(parts) = self.0.get_mut(key) else { return };
        for part in parts.iter_mut() {
            part.1 = change(part.1);
        }
        parts.retain(|part| part.1.is_positive());
        if parts.is_empty() {
            self.0.remove(key);
        }
    }

    pub fn remove(&mut self, key: &K) {
        self.0.remove(key);
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}
