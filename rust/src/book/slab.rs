//! Items by number, in one allocation.

use std::ops::{Index, IndexMut};

/// Items by number. The numbers of removed items are used again.
#[derive(Debug, Clone)]
pub(super) struct Slab<T> {
    pub items: Vec<T>,
    free: Vec<u32>,
}

impl<T: Default> Slab<T> {
    pub fn new() -> Self {
        Self { items: Vec::new(), free: Vec::new() }
    }

    /// The number of an item that the caller fills in. It may hold the values of a removed item.
    #[inline]
    pub fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.items.push(T::default());
            #[allow(clippy::cast_possible_truncation, reason = "at most limits::ORDERS_MAX, and no more levels")]
            let number = (self.items.len() - 1) as u32;
            number
        })
    }

    #[inline]
    pub fn give_back(&mut self, number: u32) {
        self.free.push(number);
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.items.len() - self.free.len()
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    #[inline]
    fn index(&self, number: u32) -> &T {
        &self.items[number as usize]
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, number: u32) -> &mut T {
        &mut self.items[number as usize]
    }
}
