//! The states that the books of a lake went through. They have the same form for the book channel and for the book that
//! follows from orders, so that the two can be compared ([`crate::align`]).
//!
//! The books are rebuilt and verified by [`crate::rebuild`]. A state comes from a message whose checksum is right.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::StringViewBuilder;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{Array, ArrayRef, PrimitiveArray, RecordBatch, UInt32Array, UInt64Array};

use krakpot_core::book::checksum::LEVELS;
use krakpot_core::book::synced::Levels;
use krakpot_core::decimal::pow10;
use krakpot_core::limits::SCALE;
use krakpot_core::wire::message::Side;

use crate::columns::column;
use crate::rebuild::{Applied, FromRows, Rebuild, Verifier};

/// A 64-bit hash of the best `depth` levels of both sides. It does not depend on the precision. It is a sum over the
/// levels, so that levels are hashed independently of each other; their order follows from their prices.
pub fn full<B: Levels>(book: &B, depth: usize) -> u64 {
    // Numbers at the scale of the columns, modulo 2^64: two numbers with the same remainder differ by 1.8e9 units or more.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "modulo 2^64")]
    let low = |value: i128| value as u64;
    let (price_precision, qty_precision) = book.precision();
    let by = |precision: u8| low(pow10(SCALE.saturating_sub(precision)));
    let (price_by, qty_by) = (by(price_precision), by(qty_precision));
    let mut sum = 0_u64;
    for (side, salt) in [(Side::Bid, 0x9e37_79b9_7f4a_7c15), (Side::Ask, 0xc2b2_ae3d_27d4_eb4f)] {
        book.each_level(side, depth, |price, qty| {
            let price = mix(low(price).wrapping_mul(price_by) ^ salt);
            sum = sum.wrapping_add(mix(price.wrapping_add(low(qty).wrapping_mul(qty_by))));
        });
    }
    sum
}

/// Mixes the bits: every bit of `value` changes about half of the others.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 32)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    value ^ (value >> 32)
}

/// The span that a book is in, and its state.
struct Open {
    span: u32,
    checksum: u32,
    full: u64,
}

#[derive(Default)]
struct StateColumns {
    symbol: Vec<u32>,
    span: Vec<u32>,
    message: Vec<u64>,
    ts_recv: Vec<i64>,
    ts_event: Vec<Option<i64>>,
    checksum: Vec<u32>,
    full: Vec<u64>,
    entries: Vec<u32>,
}

/// A time in which the book of a symbol was in sync.
struct Span {
    symbol: u32,
    message_from: u64,
    ts_from: i64,
    end: Option<(u64, String)>,
    /// Time of the message that ended it. `None` if a row of the ledger ended it, which has the time.
    ts_to: Option<i64>,
}

/// The history of the books: names of the symbols, states, spans.
#[derive(Default)]
struct History {
    depths: HashMap<String, u16>,
    symbols: Vec<String>,
    numbers: HashMap<String, u32>,
    open: HashMap<u32, Open>,
    states: StateColumns,
    spans: Vec<Span>,
    buffer: Vec<u8>,
}

/// Collects the states of one channel in one session.
pub struct StateCollector<B: Levels + FromRows> {
    verifier: Verifier<B>,
    history: History,
}

#[allow(clippy::cast_possible_truncation, reason = "fewer symbols, spans and entries than 2^32")]
fn count(length: usize) -> u32 {
    length as u32
}

impl History {
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
            let span = &mut self.spans[open.span as usize];
            (span.end, span.ts_to) = (Some(end), ts_to);
        }
    }

    fn message<B: Levels>(&mut self, applied: Applied<'_, B>, ts_recv: i64, ts_event: Option<i64>) {
        let symbol = self.number(applied.symbol);
        if let Some(end) = applied.ended {
            let ts_to = (end.0 == applied.message).then_some(ts_recv);
            self.close(symbol, end, ts_to);
        }
        let Some(book) = applied.book else { return };
        if applied.snapshot {
            // A snapshot begins a new span, even if it was not requested.
            self.close(symbol, (applied.message, "snapshot".into()), Some(ts_recv));
        }
        let depth = self.depths.get(applied.symbol).map_or(LEVELS, |depth| usize::from(*depth));
        let (checksum, full) = (book.checksum_level2(&mut self.buffer), full(book, depth));
        let span = match self.open.get_mut(&symbol) {
            Some(open) if (open.checksum, open.full) == (checksum, full) => return,
            Some(open) => {
                (open.checksum, open.full) = (checksum, full);
                open.span
            }
            None => {
                let span = count(self.spans.len());
                let (message_from, ts_from) = (applied.message, ts_recv);
                self.spans.push(Span { symbol, message_from, ts_from, end: None, ts_to: None });
                self.open.insert(symbol, Open { span, checksum, full });
                span
            }
        };
        let states = &mut self.states;
        states.symbol.push(symbol);
        states.span.push(span);
        states.message.push(applied.message);
        states.ts_recv.push(ts_recv);
        states.ts_event.push(ts_event);
        states.checksum.push(checksum);
        states.full.push(full);
        states.entries.push(count(applied.entries));
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

impl<B: Levels + FromRows> StateCollector<B> {
    /// A collector for one session. `depths`: levels on each side that both channels have, by symbol; else the best ten.
    #[must_use]
    pub fn new(session: &str, depths: HashMap<String, u16>) -> Self {
        Self { verifier: Verifier::new(session, 0, 1), history: History { depths, ..History::default() } }
    }

    /// The states since the last call: symbol, span, message, `ts_recv`, `ts_event`, checksum, full, entries.
    ///
    /// # Errors
    /// Never for states of this collector; a sentence would name a mistake of this crate.
    pub fn states(&mut self) -> Result<RecordBatch, String> {
        let states = std::mem::take(&mut self.history.states);
        frame(vec![
            ("symbol", self.history.names(states.symbol.into_iter())),
            ("span", Arc::new(UInt32Array::from(states.span))),
            ("message", Arc::new(UInt64Array::from(states.message))),
            ("ts_recv", times(states.ts_recv.into_iter().map(Some).collect())),
            ("ts_event", times(states.ts_event)),
            ("checksum", Arc::new(UInt32Array::from(states.checksum))),
            ("full", Arc::new(UInt64Array::from(states.full))),
            ("entries", Arc::new(UInt32Array::from(states.entries))),
        ])
    }

    /// All spans so far: symbol, span, `message_from`, `ts_from`, `message_to`, `ts_to` (null if the ledger ended it),
    /// reason (null if the book is still in sync).
    ///
    /// # Errors
    /// Never for states of this collector; a sentence would name a mistake of this crate.
    pub fn spans(&mut self) -> Result<RecordBatch, String> {
        for (name, end) in self.verifier.ended() {
            let symbol = self.history.number(&name);
            self.history.close(symbol, end, None);
        }
        let spans = &self.history.spans;
        let mut reasons = StringViewBuilder::new();
        for span in spans {
            reasons.append_option(span.end.as_ref().map(|end| &end.1));
        }
        let ends = spans.iter().map(|span| span.end.as_ref().map(|end| end.0));
        frame(vec![
            ("symbol", self.history.names(spans.iter().map(|span| span.symbol))),
            ("span", Arc::new(UInt32Array::from_iter_values(0..count(spans.len())))),
            ("message_from", Arc::new(UInt64Array::from_iter_values(spans.iter().map(|span| span.message_from)))),
            ("ts_from", times(spans.iter().map(|span| Some(span.ts_from)).collect())),
            ("message_to", Arc::new(ends.collect::<UInt64Array>())),
            ("ts_to", times(spans.iter().map(|span| span.ts_to).collect())),
            ("reason", Arc::new(reasons.finish())),
        ])
    }
}

impl<B: Levels + FromRows> Rebuild for StateCollector<B> {
    fn ends(&mut self, rows: &RecordBatch) -> Result<(), String> {
        self.verifier.ends(rows)
    }

    fn checkpoints(&mut self, rows: &RecordBatch) -> Result<(), String> {
        self.verifier.checkpoints(rows)
    }

    /// The columns `ts_recv` and `ts_event` are needed too.
    fn messages(&mut self, rows: &RecordBatch) -> Result<(), String> {
        type Times<'a> = &'a PrimitiveArray<TimestampNanosecondType>;
        let ts_recv: Times<'_> = column(rows, "ts_recv", |array| array.as_any().downcast_ref())?;
        let ts_event: Times<'_> = column(rows, "ts_event", |array| array.as_any().downcast_ref())?;
        let Self { verifier, history } = self;
        verifier.watch(rows, |applied| {
            let row = applied.row;
            history.message(applied, ts_recv.value(row), ts_event.is_valid(row).then(|| ts_event.value(row)));
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use krakpot_core::book::level2::Book;
    use krakpot_core::book::level3::Orders;
    use krakpot_core::book::modify_rule::ModifyRule;
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
        orders.apply(&entries, ModifyRule::default()).expect("apply");
        let plain = full(&book((1, 1), &levels), 10);
        assert_eq!(plain, full(&book((3, 5), &levels), 10), "not of the precision");
        assert_eq!(plain, full(&orders, 10), "not of the orders of a level");
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
