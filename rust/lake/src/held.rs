//! Rows of books: the best levels of each, level after level, or why there is none.

use std::sync::Arc;

use arrow_array::builder::StringViewBuilder;
use arrow_array::types::{Decimal128Type, Float64Type};
use arrow_array::{ArrayRef, PrimitiveArray, RecordBatch, UInt32Array};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_schema::DataType;

use krakpot_core::book::synced::Levels;
use krakpot_core::decimal::pow10;
use krakpot_core::limits::{DIGITS_MAX, SCALE};
use krakpot_core::wire::message::Side;

/// Why there is no book before the first message.
pub const ABSENT: &str = "absent";
/// Why there is no book after a message without a checksum.
pub const UNCHECKED: &str = "unchecked";

/// Values of a column: price or quantity of one level.
enum Values {
    Decimal(Vec<i128>),
    Float(Vec<f64>),
}

/// The nearest binary number. For 64 bits, as nearly all have, that is one instruction.
#[allow(clippy::cast_precision_loss, reason = "asked for")]
fn float(number: i128) -> f64 {
    // A function of its own: otherwise the compiler merges the two into one conversion of 128 bits.
    #[cold]
    #[inline(never)]
    fn wide(number: i128) -> f64 {
        number as f64
    }
    i64::try_from(number).map_or_else(|_| wide(number), |number| number as f64)
}

/// The book after the last message, or why there is none.
#[derive(Default)]
pub(crate) struct Held {
    /// The best levels: bid price, bid quantity, ask price, ask quantity, level after level; at the scale of the columns.
    decimals: Vec<i128>,
    floats: Vec<f64>,
    bids: usize,
    asks: usize,
    /// `None`: there is no book.
    checksum: Option<u32>,
    reason: String,
}

impl Held {
    /// Room for `depth` levels of each side, and no book.
    pub(crate) fn new(depth: usize) -> Self {
        let width = 4 * depth;
        Self { decimals: vec![0; width], floats: vec![0.0; width], reason: ABSENT.into(), ..Self::default() }
    }

    pub(crate) fn take<B: Levels>(&mut self, book: &mut B, depth: usize, floats: bool, buffer: &mut Vec<u8>) {
        self.checksum = Some(book.checksum_level2(buffer));
        let (price, qty) = book.precision();
        // A pair has at most as many decimals as the columns.
        let [price_by, qty_by] = [price, qty].map(|precision| pow10(SCALE.saturating_sub(precision)));
        // Powers of ten up to 10^22 are exact. So the quotient of two exact numbers is the nearest to the decimal.
        #[allow(clippy::cast_precision_loss, reason = "see above")]
        let [price_of, qty_of] = [price, qty].map(|precision| pow10(precision) as f64);
        for (side, at) in [(Side::Bid, 0), (Side::Ask, 2)] {
            let mut count = 0;
            book.each_level(side, depth, |price, qty| {
                let place = 4 * count + at;
                if floats {
                    self.floats[place] = float(price) / price_of;
                    self.floats[place + 1] = float(qty) / qty_of;
                } else {
                    self.decimals[place] = price * price_by;
                    self.decimals[place + 1] = qty * qty_by;
                }
                count += 1;
            });
            *(if side == Side::Bid { &mut self.bids } else { &mut self.asks }) = count;
        }
    }

    /// Whether it is a book.
    pub(crate) fn is_book(&self) -> bool {
        self.checksum.is_some()
    }

    /// Whether both are books with the same levels.
    pub(crate) fn same(&self, other: &Self) -> bool {
        let sides = [(0, self.bids), (2, self.asks)];
        self.is_book()
            && other.is_book()
            && (self.bids, self.asks) == (other.bids, other.asks)
            && sides.iter().all(|&(at, levels)| {
                (0..levels).all(|level| {
                    let place = 4 * level + at;
                    self.decimals[place..place + 2] == other.decimals[place..place + 2]
                        && self.floats[place..place + 2] == other.floats[place..place + 2]
                })
            })
    }

    pub(crate) fn none(&mut self, reason: String) {
        (self.checksum, self.bids, self.asks, self.reason) = (None, 0, 0, reason);
    }
}

/// Rows of books, as they become columns.
pub(crate) struct Rows {
    bids: Vec<usize>,
    asks: Vec<usize>,
    checksums: Vec<Option<u32>>,
    /// Why there is no book: places in `reasons`.
    whys: Vec<Option<usize>>,
    reasons: Vec<String>,
    columns: Vec<Values>,
}

impl Rows {
    /// No rows, and room for some.
    pub(crate) fn new(depth: usize, floats: bool, room: usize) -> Self {
        let column =
            || if floats { Values::Float(Vec::with_capacity(room)) } else { Values::Decimal(Vec::with_capacity(room)) };
        let columns = (0..4 * depth).map(|_| column()).collect();
        let lengths = || Vec::with_capacity(room);
        let (checksums, whys) = (Vec::with_capacity(room), Vec::with_capacity(room));
        Self { bids: lengths(), asks: lengths(), checksums, whys, reasons: Vec::new(), columns }
    }

    pub(crate) fn len(&self) -> usize {
        self.bids.len()
    }

    /// Adds the book that is held, `count` times.
    pub(crate) fn push(&mut self, held: &Held, count: usize) {
        let why = held.checksum.is_none().then(|| {
            self.reasons.iter().position(|reason| *reason == held.reason).unwrap_or_else(|| {
                self.reasons.push(held.reason.clone());
                self.reasons.len() - 1
            })
        });
        let length = self.bids.len() + count;
        self.bids.resize(length, held.bids);
        self.asks.resize(length, held.asks);
        self.checksums.resize(length, held.checksum);
        self.whys.resize(length, why);
        for (column, place) in self.columns.iter_mut().zip(0..) {
            match column {
                Values::Decimal(values) => values.resize(length, held.decimals[place]),
                Values::Float(values) => values.resize(length, held.floats[place]),
            }
        }
    }

    /// Takes back the rows from `length` on.
    pub(crate) fn truncate(&mut self, length: usize) {
        for lengths in [&mut self.bids, &mut self.asks] {
            lengths.truncate(length);
        }
        self.checksums.truncate(length);
        self.whys.truncate(length);
        for column in &mut self.columns {
            match column {
                Values::Decimal(values) => values.truncate(length),
                Values::Float(values) => values.truncate(length),
            }
        }
    }

    /// The columns `first`, then `reason`, `checksum`, and for each level `bid_price_0`, `bid_qty_0`, `ask_price_0`,
    /// `ask_qty_0`, …
    ///
    /// # Errors
    /// A sentence, if the first columns are of another length.
    pub(crate) fn batch(self, first: Vec<(&str, ArrayRef)>) -> Result<RecordBatch, String> {
        let count = self.len();
        let mut columns: Vec<(String, ArrayRef)> =
            first.into_iter().map(|(name, array)| (name.into(), array)).collect();
        let mut reasons = StringViewBuilder::with_capacity(count);
        self.whys.iter().for_each(|why| reasons.append_option(why.map(|why| &self.reasons[why])));
        columns.push(("reason".into(), Arc::new(reasons.finish())));
        columns.push(("checksum".into(), Arc::new(UInt32Array::from(self.checksums))));
        let fewest = [&self.bids, &self.asks].map(|held| held.iter().copied().min().unwrap_or(0));
        let names = ["bid_price", "bid_qty", "ask_price", "ask_qty"];
        for (place, values) in self.columns.into_iter().enumerate() {
            let (level, kind) = (place / 4, place % 4);
            let (held, fewest) = if kind < 2 { (&self.bids, fewest[0]) } else { (&self.asks, fewest[1]) };
            let nulls =
                (fewest <= level).then(|| NullBuffer::new(BooleanBuffer::collect_bool(count, |row| held[row] > level)));
            let array: ArrayRef = match values {
                Values::Float(values) => Arc::new(PrimitiveArray::<Float64Type>::new(values.into(), nulls)),
                // 38 and 10: both fit.
                #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "38 and 10")]
                Values::Decimal(values) => Arc::new(
                    PrimitiveArray::<Decimal128Type>::new(values.into(), nulls)
                        .with_data_type(DataType::Decimal128(DIGITS_MAX as u8, SCALE as i8)),
                ),
            };
            columns.push((format!("{}_{level}", names[kind]), array));
        }
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
            .map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_size_become_the_nearest() {
        let wide = i128::from(i64::MAX) * 1000;
        let numbers = [(1, 1.0), (-(1 << 53), -9_007_199_254_740_992.0), (wide, 9.223_372_036_854_776e21)];
        for (number, nearest) in numbers {
            assert!((float(number) - nearest).abs() < f64::MIN_POSITIVE, "{number}");
        }
    }
}
