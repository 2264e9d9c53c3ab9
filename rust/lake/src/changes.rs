//! The books of one symbol after each message that changed one of the best levels, rebuilt from the rows of one session.

use std::sync::Arc;

use arrow_array::types::TimestampNanosecondType;
use arrow_array::{PrimitiveArray, RecordBatch, UInt64Array};

use krakpot_core::book::synced::Levels;

use crate::held::{Held, Rows, UNCHECKED};
use crate::rebuild::{FromRows, Rebuild, Verifier};
use crate::sample::{Clock, Times};

/// Which messages are wanted, and what of their books.
pub struct ChangeOptions {
    /// Only messages from this time on, ns.
    pub begin: i64,
    /// Only messages before this time, ns.
    pub end: i64,
    /// Levels on each side. A change of a deeper level counts for nothing.
    pub depth: usize,
    /// What the times are.
    pub clock: Clock,
    /// Whether numbers are given in binary floating point; otherwise as exact decimals.
    pub floats: bool,
}

/// Collects the changes of the books of one symbol in one session.
pub struct BookChanges<B: Levels + FromRows> {
    verifier: Verifier<B>,
    options: ChangeOptions,
    times: Vec<i64>,
    messages: Vec<u64>,
    rows: Rows,
    /// The book after the last message.
    held: Held,
    /// Room for the next one.
    next: Held,
    buffer: Vec<u8>,
}

impl<B: Levels + FromRows> BookChanges<B> {
    /// A collector for one session.
    #[must_use]
    pub fn new(session: &str, options: ChangeOptions) -> Self {
        let depth = options.depth;
        Self {
            verifier: Verifier::new(session, 0, 1),
            rows: Rows::new(depth, options.floats, 0),
            options,
            times: Vec::new(),
            messages: Vec::new(),
            held: Held::new(depth),
            next: Held::new(depth),
            buffer: Vec::new(),
        }
    }

    /// Takes the book of the checkpoint before `message` as the book before it.
    pub fn begin(&mut self, symbol: &str, message: u64) {
        if let Some(book) = self.verifier.before(symbol, message) {
            self.held.take(book, self.options.depth, self.options.floats, &mut self.buffer);
        }
    }

    /// The changes, as columns `ts`, `message`, `reason` (null where there is a book), `checksum`, and for each level
    /// `bid_price_0`, `bid_qty_0`, `ask_price_0`, `ask_qty_0`, …
    ///
    /// # Errors
    /// Never for rows of this collector; a sentence would name a mistake of this crate.
    pub fn frame(self) -> Result<RecordBatch, String> {
        let times = PrimitiveArray::<TimestampNanosecondType>::new(self.times.into(), None).with_timezone("UTC");
        let messages = UInt64Array::from(self.messages);
        self.rows.batch(vec![("ts", Arc::new(times)), ("message", Arc::new(messages))])
    }
}

impl<B: Levels + FromRows> Rebuild for BookChanges<B> {
    fn ends(&mut self, rows: &RecordBatch) -> Result<(), String> {
        self.verifier.ends(rows)
    }

    fn checkpoints(&mut self, rows: &RecordBatch) -> Result<(), String> {
        self.verifier.checkpoints(rows)
    }

    /// Rows of one symbol, with the column of the clock: `ts_recv`, and `ts_event` for the exchange's.
    fn messages(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let Self { verifier, options, times, messages, rows, held, next, buffer } = self;
        let clock = Times::of(batch, options.clock)?;
        verifier.watch(batch, |applied| {
            // The ledger knows when a book went out of sync between two messages. Whatever comes then is a change.
            let between = applied.ended.as_ref().is_some_and(|end| end.0 < applied.message);
            if between {
                held.none(String::new());
            }
            let changed = match (applied.book, applied.ended) {
                (Some(book), _) => {
                    next.take(book, options.depth, options.floats, buffer);
                    !next.same(held)
                }
                (None, Some((at, reason))) if at == applied.message => {
                    next.none(reason);
                    true
                }
                (None, _) => {
                    next.none(UNCHECKED.into());
                    held.is_book()
                }
            };
            if !changed {
                return;
            }
            std::mem::swap(held, next);
            let time = clock.at(applied.row);
            if (options.begin..options.end).contains(&time) {
                times.push(time);
                messages.push(applied.message);
                rows.push(held, 1);
            }
        })
    }
}
