//! The states that the books of a lake went through, told in the same words for the book channel and for the book that
//! follows from orders, so that the two can be compared ([`crate::align`]).
//!
//! The books are rebuilt and proved as [`crate::rebuild`] does it; a state comes from a message whose checksum proved it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::StringViewBuilder;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{Array, ArrayRef, PrimitiveArray, RecordBatch, UInt32Array, UInt64Array};

use crate::rebuild::{Seen, Told, Verifier, column};
use krakpot_core::book::checksum::LEVELS;
use krakpot_core::book::level2::Book;
use krakpot_core::book::level3::Orders;
use krakpot_core::decimal::pow10;
use krakpot_core::limits::SCALE;
use krakpot_core::wire::message::Side;

/// A book seen as levels.
pub trait Levels: Told {
    /// The level-2 CRC32 of the best ten levels; `buffer` is scratch memory.
    fn checksum_level2(&mut self, buffer: &mut Vec<u8>) -> u32;

    /// Calls `each` with price and quantity of the best `depth` levels of a side, best first.
    fn each_level(&self, side: Side, depth: usize, each: impl FnMut(i128, i128));
}

impl Levels for Book {
    fn checksum_level2(&mut self, _: &mut Vec<u8>) -> u32 {
        self.checksum()
    }

    fn each_level(&self, side: Side, depth: usize, each: impl FnMut(i128, i128)) {
        self.each_level(side, depth, each);
    }
}

impl Levels for Orders {
    fn checksum_level2(&mut self, buffer: &mut Vec<u8>) -> u32 {
        self.checksum_level2(buffer)
    }

    fn each_level(&self, side: Side, depth: usize, mut each: impl FnMut(i128, i128)) {
        self.levels(side).take(depth).for_each(|(price, qty, _)| each(price, qty));
    }
}

/// A 64-bit hash of the best `depth` levels of both sides, whatever the precision: a sum over the levels, so that it does
/// not wait for one level to go on to the next. The order of levels follows from their prices.
pub fn full<B: Levels>(book: &B, depth: usize) -> u64 {
    // Numbers at the columns' scale, modulo 2^64: what differs there by a multiple of it differs by 1.8e9 units.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "modulo 2^64")]
    let low = |value: i128| value as u64;
    let (price_precision, qty_precision) = book.precision();
    let by = |precision: u8| low(pow10(SCALE.saturating_sub(precision)));
    let (price_by, qty_by) = (by(price_precision), by(qty_precision));
    let mut sum = 0_u64;
    for (side, salt) in [(Side::Bid, 0x9e37_79b9_7f4a_7c15), (Side::Ask, 0xc2b2_ae3d_27d4_eb4f)] {
        book.each_level(side, depth, |price, qty| {
            let price = spread(low(price).wrapping_mul(price_by) ^ salt);
            sum = sum.wrapping_add(spread(price.wrapping_add(low(qty).wrapping_mul(qty_by))));
        });
    }
    sum
}

/// Lets every bit have a say in most others.
fn spread(value: u64) -> u64 {
    let value = (value ^ (value >> 32)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    value ^ (value >> 32)
}

/// A life of a symbol's book, and the state that it is in.
struct Open {
    life: u32,
    checksum: u32,
    full: u64,
}

#[derive(Default)]
struct StateColumns {
    symbol: Vec<u32>,
    life: Vec<u32>,
    message: Vec<u64>,
    ts_recv: Vec<i64>,
    ts_event: Vec<Option<i64>>,
    checksum: Vec<u32>,
    full: Vec<u64>,
    entries: Vec<u32>,
}

struct Life {
    symbol: u32,
    message_from: u64,
    ts_from: i64,
    end: Option<(u64, String)>,
    /// Of the message that ended it; where the ledger did, its row knows.
    ts_to: Option<i64>,
}

/// What became of the books: names of the symbols, states, lives.
#[derive(Default)]
struct Story {
    depths: HashMap<String, u16>,
    symbols: Vec<String>,
    numbers: HashMap<String, u32>,
    open: HashMap<u32, Open>,
    states: StateColumns,
    lives: Vec<Life>,
    buffer: Vec<u8>,
}

/// Collects the states of one channel in one session.
pub struct States<B: Levels> {
    verifier: Verifier<B>,
    story: Story,
}

#[allow(clippy::cast_possible_truncation, reason = "fewer symbols, lives and entries than 2^32")]
fn count(length: usize) -> u32 {
    length as u32
}

impl Story {
    fn number(&mut self, symbol: &str) -> u32 {
        if let Some(&number) = self.numbers.get(symbol) {
            return number;
        }
        let number = count(self.symbols.len());
        self.symbols.push(symbol.to_owned());
        self.numbers.insert(symbol.to_owned(), number);
        number
    }

    fn close(&mut self, symbol: u32, end: (u64, String), ts_to: Option<i64>) {
        if let Some(open) = self.open.remove(&symbol) {
            let life = &mut self.lives[open.life as usize];
            (life.end, life.ts_to) = (Some(end), ts_to);
        }
    }

    fn message<B: Levels>(&mut self, seen: Seen<'_, B>, ts_recv: i64, ts_event: Option<i64>) {
        let symbol = self.number(seen.symbol);
        if let Some(end) = seen.ended {
            let ts_to = (end.0 == seen.message).then_some(ts_recv);
            self.close(symbol, end, ts_to);
        }
        let Some(book) = seen.book else { return };
        if seen.snapshot {
            // A snapshot begins the book anew, even where none was asked for.
            self.close(symbol, (seen.message, "snapshot".into()), Some(ts_recv));
        }
        let depth = self.depths.get(seen.symbol).map_or(LEVELS, |depth| usize::from(*depth));
        let (checksum, full) = (book.checksum_level2(&mut self.buffer), full(book, depth));
        let life = match self.open.get_mut(&symbol) {
            Some(open) if (open.checksum, open.full) == (checksum, full) => return,
            Some(open) => {
                (open.checksum, open.full) = (checksum, full);
                open.life
            }
            None => {
                let life = count(self.lives.len());
                let (message_from, ts_from) = (seen.message, ts_recv);
                self.lives.push(Life { symbol, message_from, ts_from, end: None, ts_to: None });
                self.open.insert(symbol, Open { life, checksum, full });
                life
            }
        };
        let states = &mut self.states;
        states.symbol.push(symbol);
        states.life.push(life);
        states.message.push(seen.message);
        states.ts_recv.push(ts_recv);
        states.ts_event.push(ts_event);
        states.checksum.push(checksum);
        states.full.push(full);
        states.entries.push(count(seen.entries));
    }

    fn names(&self, symbols: impl Iterator<Item = u32>) -> ArrayRef {
        let mut names = StringViewBuilder::new();
        symbols.for_each(|symbol| names.append_value(&self.symbols[symbol as usize]));
        Arc::new(names.finish())
    }
}

fn times(values: Vec<Option<i64>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<PrimitiveArray<TimestampNanosecondType>>().with_timezone("UTC"))
}

fn frame(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch, String> {
    RecordBatch::try_from_iter(columns).map_err(|error| error.to_string())
}

impl<B: Levels> States<B> {
    /// For one session; `depths`: levels a side that both channels have, by symbol, else the best ten.
    #[must_use]
    pub fn new(session: &str, depths: HashMap<String, u16>) -> Self {
        Self { verifier: Verifier::new(session, 0, 1), story: Story { depths, ..Story::default() } }
    }

    /// As [`Verifier::ends`]; further ones may come later.
    ///
    /// # Errors
    /// A sentence, if a column is missing or of another type.
    pub fn ends(&mut self, batch: &RecordBatch) -> Result<(), String> {
        self.verifier.ends(batch)
    }

    /// As [`Verifier::checkpoints`].
    ///
    /// # Errors
    /// A sentence, if a column is missing or of another type.
    pub fn checkpoints(&mut self, batch: &RecordBatch) -> Result<(), String> {
        self.verifier.checkpoints(batch)
    }

    /// As [`Verifier::messages`]; columns `ts_recv` and `ts_event` are needed too.
    ///
    /// # Errors
    /// A sentence, if a column is missing or of another type.
    pub fn messages(&mut self, batch: &RecordBatch) -> Result<(), String> {
        type Times<'a> = &'a PrimitiveArray<TimestampNanosecondType>;
        let ts_recv: Times<'_> = column(batch, "ts_recv", |array| array.as_any().downcast_ref())?;
        let ts_event: Times<'_> = column(batch, "ts_event", |array| array.as_any().downcast_ref())?;
        let Self { verifier, story } = self;
        verifier.watch(batch, |seen| {
            let row = seen.row;
            story.message(seen, ts_recv.value(row), ts_event.is_valid(row).then(|| ts_event.value(row)));
        })
    }

    /// The states since the last call: symbol, life, message, `ts_recv`, `ts_event`, checksum, full, entries.
    ///
    /// # Errors
    /// Never; a sentence would name a mistake of this crate.
    pub fn states(&mut self) -> Result<RecordBatch, String> {
        let states = std::mem::take(&mut self.story.states);
        frame(vec![
            ("symbol", self.story.names(states.symbol.into_iter())),
            ("life", Arc::new(UInt32Array::from(states.life))),
            ("message", Arc::new(UInt64Array::from(states.message))),
            ("ts_recv", times(states.ts_recv.into_iter().map(Some).collect())),
            ("ts_event", times(states.ts_event)),
            ("checksum", Arc::new(UInt32Array::from(states.checksum))),
            ("full", Arc::new(UInt64Array::from(states.full))),
            ("entries", Arc::new(UInt32Array::from(states.entries))),
        ])
    }

    /// All lives so far: symbol, life, `message_from`, `ts_from`, `message_to`, `ts_to` (null where the ledger ended it),
    /// reason (null while it lasts).
    ///
    /// # Errors
    /// Never; a sentence would name a mistake of this crate.
    pub fn lives(&mut self) -> Result<RecordBatch, String> {
        for (name, end) in self.verifier.ended() {
            let symbol = self.story.number(&name);
            self.story.close(symbol, end, None);
        }
        let lives = &self.story.lives;
        let mut reasons = StringViewBuilder::new();
        for life in lives {
            reasons.append_option(life.end.as_ref().map(|end| &end.1));
        }
        let ends = lives.iter().map(|life| life.end.as_ref().map(|end| end.0));
        frame(vec![
            ("symbol", self.story.names(lives.iter().map(|life| life.symbol))),
            ("life", Arc::new(UInt32Array::from_iter_values(0..count(lives.len())))),
            ("message_from", Arc::new(UInt64Array::from_iter_values(lives.iter().map(|life| life.message_from)))),
            ("ts_from", times(lives.iter().map(|life| Some(life.ts_from)).collect())),
            ("message_to", Arc::new(ends.collect::<UInt64Array>())),
            ("ts_to", times(lives.iter().map(|life| life.ts_to).collect())),
            ("reason", Arc::new(reasons.finish())),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use krakpot_core::book::level3::Modify;
    use krakpot_core::decimal::Decimal;
    use krakpot_core::wire::message::{Entry, OrderEntry, OrderEvent, OrderId};

    fn number(text: &str) -> Decimal {
        Decimal::parse(text.as_bytes()).expect(text)
    }

    #[test]
    fn the_hash_is_of_prices_and_quantities_and_of_nothing_else() {
        let levels = [(Side::Bid, "10.1", "2"), (Side::Bid, "10.0", "1.5"), (Side::Ask, "10.2", "2")];
        let book = |precision: (u8, u8), levels: &[(Side, &str, &str)]| {
            let mut book = Book::new(10, precision.0, precision.1);
            for &(side, price, qty) in levels {
                book.set(&Entry { side, price: number(price), qty: number(qty) }).expect("set");
            }
            book
        };
        let mut orders = Orders::new(1000, 2, 8);
        let queued = [
            (Side::Bid, "10.1", "0.75"),
            (Side::Bid, "10.1", "1.25"),
            (Side::Bid, "10", "1.5"),
            (Side::Ask, "10.2", "2"),
        ];
        let ids = ["a", "b", "c", "d"];
        let entries: Vec<_> = queued
            .iter()
            .zip(ids)
            .map(|(&(side, price, qty), id)| OrderEntry {
                side,
                event: OrderEvent::Add,
                id: OrderId::new(id).expect("an id"),
                price: number(price),
                qty: number(qty),
                timestamp: 0,
            })
            .collect();
        orders.apply(&entries, Modify::default()).expect("apply");
        let plain = full(&book((1, 1), &levels), 10);
        assert_eq!(plain, full(&book((3, 5), &levels), 10), "not of the precision");
        assert_eq!(plain, full(&orders, 10), "not of who stands behind a level");
        assert_ne!(plain, full(&book((1, 1), &levels[..2]), 10));
        assert_ne!(plain, full(&book((1, 1), &[levels[0], levels[1], (Side::Ask, "10.2", "2.1")]), 10));
        assert_ne!(
            full(&book((1, 1), &[(Side::Bid, "1", "2")]), 10),
            full(&book((1, 1), &[(Side::Ask, "1", "2")]), 10),
            "of the side"
        );
        assert_eq!(full(&book((1, 1), &levels), 1), full(&book((1, 1), &[levels[0], levels[2]]), 10), "to its depth");
    }
}
