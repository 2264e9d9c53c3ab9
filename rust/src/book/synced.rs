//! The one rule of trust: a book is in sync from its snapshot, or from a checkpoint, to the first wrong checksum, the
//! first time that it is crossed, or an end from outside (unsubscribed, disconnected, a gap).
//!
//! Every book that a checksum covers follows this rule: the level-2 book, the level-3 book, the session while it records
//! and the books that are rebuilt from rows. Updates while the book is out of sync change nothing and are counted as
//! unchecked. This module keeps no history and reads no clock.

use crate::error::Error;
use crate::wire::message::{Kind, Side};

/// The result of one book message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The checksum is right: the book equals the book of the exchange.
    Ok,
    /// The book was out of sync, or the message had no checksum.
    Unchecked,
    /// The checksum is wrong: the book differs from the book of the exchange, and is out of sync now.
    Mismatch {
        /// The checksum that the exchange sent.
        expected: u32,
        /// The checksum of the book that is held.
        computed: u32,
    },
    /// The checksum is right or missing, but the best bid is at or above the best ask. The book is out of sync now.
    Crossed,
}

/// What [`Synced::apply`] needs to know of a book message besides its entries.
#[derive(Debug, Clone, Copy)]
pub struct BookMeta {
    /// Snapshot or update.
    pub kind: Kind,
    /// The checksum that the exchange sent.
    pub checksum: Option<u32>,
    /// Depth in force.
    pub depth: u16,
    /// Price precision in force.
    pub price_precision: u8,
    /// Quantity precision in force.
    pub qty_precision: u8,
}

/// A book that a checksum covers: what [`Synced`] needs of it.
pub trait ChecksummedBook: Sized + std::fmt::Debug {
    /// One entry of its messages.
    type Entry<'a>;
    /// A rule of the exchange that the checksums reveal. It stays known when the book is out of sync.
    type Rule: Copy + Default + PartialEq + std::fmt::Debug;

    /// A book without levels.
    fn empty(depth: u16, price_precision: u8, qty_precision: u8) -> Self;

    /// Decimals of prices and of quantities.
    fn precision(&self) -> (u8, u8);

    /// Gives the book more decimals; `false`, and the same book, if it would lose some or overflow.
    fn widen(&mut self, price_precision: u8, qty_precision: u8) -> bool;

    /// Applies the entries of one message. Returns how many of them named a level or an order that is not there.
    ///
    /// # Errors
    /// If an entry cannot be held. The book must not be used afterwards.
    fn apply(&mut self, entries: &[Self::Entry<'_>], rule: Self::Rule) -> Result<u64, Error>;

    /// The checksum after a message for which the exchange sent `expected`. The book may try another rule to reach it.
    /// `buffer` is scratch memory.
    fn verify_checksum(&mut self, expected: u32, rule: &mut Self::Rule, buffer: &mut Vec<u8>) -> u32;

    /// Whether the best bid is at or above the best ask.
    fn crossed(&self) -> bool;
}

/// The book of one symbol while it is in sync, and the rule that says how long it is.
#[derive(Debug, Clone)]
pub struct Synced<B: ChecksummedBook> {
    book: Option<B>,
    /// Entries of updates that named a level or an order that was not there. Kraken never sends one, so they hint at a
    /// lost message.
    pub unknown_entries: u64,
    /// The rule that the checksums revealed last. It stays known when the book is out of sync.
    pub rule: B::Rule,
}

impl<B: ChecksummedBook> Default for Synced<B> {
    fn default() -> Self {
        Self { book: None, unknown_entries: 0, rule: B::Rule::default() }
    }
}

impl<B: ChecksummedBook> Synced<B> {
    /// The book, if it is in sync.
    #[must_use]
    pub fn book(&self) -> Option<&B> {
        self.book.as_ref()
    }

    /// The same, mutable: a checksum is computed once and cached.
    pub fn book_mut(&mut self) -> Option<&mut B> {
        self.book.as_mut()
    }

    /// The book is out of sync from now on: unsubscribed, disconnected, a gap.
    pub fn end(&mut self) {
        self.book = None;
    }

    /// The book is in sync from now on, with a book that is known from elsewhere (a checkpoint).
    pub fn begin(&mut self, book: B) {
        self.book = Some(book);
    }

    /// Applies one message. A snapshot always rebuilds the book. `buffer` is scratch memory.
    ///
    /// # Errors
    /// [`Error::Decimal`] if an entry cannot be held at the precision in force, [`Error::Limit`] if a book grows beyond
    /// its bound. The book is out of sync then.
    pub fn apply(&mut self, meta: &BookMeta, entries: &[B::Entry<'_>], buffer: &mut Vec<u8>) -> Result<Outcome, Error> {
        if meta.kind == Kind::Snapshot {
            self.book = Some(B::empty(meta.depth, meta.price_precision, meta.qty_precision));
        }
        let Some(book) = &mut self.book else { return Ok(Outcome::Unchecked) };
        if book.precision() != (meta.price_precision, meta.qty_precision)
            && !book.widen(meta.price_precision, meta.qty_precision)
        {
            self.book = None;
            return Ok(Outcome::Unchecked);
        }
        match book.apply(entries, self.rule) {
            Ok(unknown) => {
                if meta.kind == Kind::Update {
                    self.unknown_entries += unknown;
                }
                Ok(self.check(meta, buffer))
            }
            Err(error) => {
                self.book = None;
                Err(error)
            }
        }
    }

    /// Compares the book with the checksum after the entries of a message. The book is out of sync if they differ.
    #[allow(
        clippy::inline_always,
        reason = "it is called once or twice a message, and the call costs a twentieth of it"
    )]
    #[inline(always)]
    pub(crate) fn check(&mut self, meta: &BookMeta, buffer: &mut Vec<u8>) -> Outcome {
        let Some(book) = &mut self.book else { return Outcome::Unchecked };
        let outcome = match meta.checksum {
            Some(expected) => {
                let computed = book.verify_checksum(expected, &mut self.rule, buffer);
                if computed == expected { Outcome::Ok } else { Outcome::Mismatch { expected, computed } }
            }
            None => Outcome::Unchecked,
        };
        let outcome = match outcome {
            Outcome::Ok | Outcome::Unchecked if book.crossed() => Outcome::Crossed,
            other => other,
        };
        if matches!(outcome, Outcome::Crossed | Outcome::Mismatch { .. }) {
            self.book = None;
        }
        outcome
    }
}

/// A book as levels, whichever kind it is.
pub trait Levels: ChecksummedBook {
    /// The level-2 CRC32 of the best ten levels. `buffer` is scratch memory.
    fn checksum_level2(&mut self, buffer: &mut Vec<u8>) -> u32;

    /// Calls `each` with price and quantity of the best `depth` levels of a side, best first.
    fn each_level(&self, side: Side, depth: usize, each: impl FnMut(i128, i128));
}
