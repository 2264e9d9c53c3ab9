//! The books of one symbol at many times, rebuilt and proved from the rows of one session as [`crate::rebuild`] does it.
//!
//! The book at a time is the one after the last message, in the order of application, whose time is not later. Times of
//! receipt may step back: what was told too early is then taken back and told anew.

use std::sync::Arc;

use arrow_array::builder::StringViewBuilder;
use arrow_array::types::{Decimal128Type, Float64Type, TimestampNanosecondType};
use arrow_array::{Array, ArrayRef, PrimitiveArray, RecordBatch, UInt32Array};
use arrow_buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow_schema::DataType;

use crate::rebuild::{Verifier, column};
use crate::states::Levels;
use krakpot_core::decimal::pow10;
use krakpot_core::limits::{DIGITS_MAX, SCALE};
use krakpot_core::wire::message::Side;

/// Why there is no book where none was seen yet.
pub const ABSENT: &str = "absent";
/// Why there is none where a message came without a checksum.
pub const UNCHECKED: &str = "unchecked";

/// Times that may come between the last message of a piece and the next piece, for which there is room.
const BEHIND: usize = 16;

/// What is asked for.
pub struct Wanted {
    /// The times, ns, ascending.
    pub times: ScalarBuffer<i64>,
    /// Levels a side.
    pub depth: usize,
    /// Whether the times are the exchange's; else they are of receipt.
    pub event: bool,
    /// Whether numbers are told in binary floating point; else as exact decimals.
    pub floats: bool,
}

/// Values of a column: price or quantity of one level.
enum Values {
    Decimal(Vec<i128>),
    Float(Vec<f64>),
}

/// The nearest binary number. Of 64 bits, as nearly all are, that is one instruction.
#[allow(clippy::cast_precision_loss, reason = "asked for")]
fn float(number: i128) -> f64 {
    // Apart: the compiler would make one conversion of 128 bits of the two.
    #[cold]
    #[inline(never)]
    fn wide(number: i128) -> f64 {
        number as f64
    }
    i64::try_from(number).map_or_else(|_| wide(number), |number| number as f64)
}

/// How many of these ascending times come before `time`. Most often it is one of the first.
fn before(times: &[i64], time: i64) -> usize {
    let mut end = 1;
    while end < times.len() && times[end] < time {
        end *= 2;
    }
    let begin = end / 2;
    begin + times[begin..end.min(times.len())].partition_point(|told| *told < time)
}

/// The book after the last message, or why there is none.
#[derive(Default)]
struct Held {
    /// Of the best levels: bid price, bid quantity, ask price, ask quantity, level after level; scaled as the columns.
    decimals: Vec<i128>,
    floats: Vec<f64>,
    bids: usize,
    asks: usize,
    /// `None`: there is no book.
    checksum: Option<u32>,
    reason: String,
}

impl Held {
    fn take<B: Levels>(&mut self, book: &mut B, wanted: &Wanted, buffer: &mut Vec<u8>) {
        self.checksum = Some(book.checksum_level2(buffer));
        let (price, qty) = book.precision();
        // A pair has at most as many decimals as the columns.
        let [price_by, qty_by] = [price, qty].map(|precision| pow10(SCALE.saturating_sub(precision)));
        // Powers of ten up to 10^22 are exact, so that the quotient of two exact numbers is the nearest to the decimal.
        #[allow(clippy::cast_precision_loss, reason = "see above")]
        let [price_of, qty_of] = [price, qty].map(|precision| pow10(precision) as f64);
        for (side, at) in [(Side::Bid, 0), (Side::Ask, 2)] {
            let mut count = 0;
            book.each_level(side, wanted.depth, |price, qty| {
                let place = 4 * count + at;
                if wanted.floats {
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

    fn none(&mut self, reason: String) {
        (self.checksum, self.bids, self.asks, self.reason) = (None, 0, 0, reason);
    }
}

/// What is told so far: a row for each of the times from `first` on.
struct Rows {
    wanted: Wanted,
    /// The first time that is told, once one is.
    first: Option<usize>,
    /// Levels of each side.
    bids: Vec<usize>,
    asks: Vec<usize>,
    checksums: Vec<Option<u32>>,
    /// Why there is no book: places in `reasons`.
    whys: Vec<Option<usize>>,
    reasons: Vec<String>,
    columns: Vec<Values>,
    held: Held,
    /// Whether the last message proved a book. It need not be held.
    live: bool,
    buffer: Vec<u8>,
}

impl Rows {
    /// The place of the time that is told next.
    fn at(&self) -> usize {
        self.first.map_or(0, |first| first + self.bids.len())
    }

    /// Tells the book that is held at every time before `place`.
    fn tell(&mut self, place: usize) {
        let count = place.saturating_sub(self.at());
        if count == 0 {
            return;
        }
        let held = &self.held;
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

    /// Makes room for all that is told when the messages from one time to another have come.
    fn reserve(&mut self, begin: i64, end: i64) {
        let times = &self.wanted.times;
        let at = self.first.map_or_else(|| times.partition_point(|told| *told < begin), |_| self.at());
        let count = times.partition_point(|told| *told < end).saturating_sub(at) + BEHIND;
        for lengths in [&mut self.bids, &mut self.asks] {
            lengths.reserve(count);
        }
        self.checksums.reserve(count);
        self.whys.reserve(count);
        for column in &mut self.columns {
            match column {
                Values::Decimal(values) => values.reserve(count),
                Values::Float(values) => values.reserve(count),
            }
        }
    }

    /// Takes back what was told from `place` on.
    fn untell(&mut self, place: usize) {
        let first = self.first.map_or(place, |first| first.min(place));
        let length = place - first;
        self.first = Some(first);
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

    /// A message, or a checkpoint, of this time comes: all before it is told, nothing from it on.
    fn come(&mut self, time: i64) {
        let times = &self.wanted.times;
        let at = self.at();
        let now = self.first.is_some();
        if now && at < times.len() && times[at] < time {
            self.tell(at + before(&times[at..], time));
        } else if !now || (at > 0 && times[at - 1] >= time) {
            self.untell(times.partition_point(|told| *told < time));
        }
    }
}

/// Tells the books of one symbol in one session.
pub struct Books<B: Levels> {
    verifier: Verifier<B>,
    rows: Rows,
}

impl<B: Levels> Books<B> {
    /// For one session.
    #[must_use]
    pub fn new(session: &str, wanted: Wanted) -> Self {
        let width = 4 * wanted.depth;
        let column = || if wanted.floats { Values::Float(Vec::new()) } else { Values::Decimal(Vec::new()) };
        let columns = (0..width).map(|_| column()).collect();
        let held =
            Held { decimals: vec![0; width], floats: vec![0.0; width], reason: ABSENT.into(), ..Held::default() };
        let rows = Rows {
            wanted,
            first: None,
            bids: Vec::new(),
            asks: Vec::new(),
            checksums: Vec::new(),
            whys: Vec::new(),
            reasons: Vec::new(),
            columns,
            held,
            live: false,
            buffer: Vec::new(),
        };
        Self { verifier: Verifier::new(session, 0, 1), rows }
    }

    /// As [`Verifier::ends`].
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

    /// Takes the book of the checkpoint before `message` for the book from `since` on, ns.
    pub fn begin(&mut self, symbol: &str, message: u64, since: i64) {
        let Rows { wanted, held, live, buffer, .. } = &mut self.rows;
        if let Some(book) = self.verifier.before(symbol, message) {
            held.take(book, wanted, buffer);
            *live = true;
            self.rows.come(since);
        }
    }

    /// As [`Verifier::messages`], of one symbol; the column `ts_recv` is needed too, and `ts_event` where the times are
    /// the exchange's. A message without such a time counts by its time of receipt.
    ///
    /// # Errors
    /// A sentence, if a column is missing or of another type.
    pub fn messages(&mut self, batch: &RecordBatch) -> Result<(), String> {
        type Times<'a> = &'a PrimitiveArray<TimestampNanosecondType>;
        let times = |name| -> Result<Times<'_>, String> { column(batch, name, |array| array.as_any().downcast_ref()) };
        let recv = times("ts_recv")?;
        let event = if self.rows.wanted.event { Some(times("ts_event")?) } else { None };
        let time = |row| event.filter(|event| event.is_valid(row)).unwrap_or(recv).value(row);
        let Self { verifier, rows } = self;
        if let Some(last) = batch.num_rows().checked_sub(1) {
            rows.reserve(time(0), time(last));
        }
        verifier.watch(batch, |seen| {
            rows.come(time(seen.row));
            let due = rows.wanted.times.get(rows.at()).copied();
            let Rows { wanted, held, live, buffer, .. } = &mut *rows;
            let lived = std::mem::replace(live, seen.book.is_some());
            match (seen.book, seen.ended) {
                (Some(book), _) => {
                    // Only a book that is told before the next message comes is worth a copy.
                    if seen.next == batch.num_rows() || due.is_some_and(|due| due < time(seen.next)) {
                        held.take(book, wanted, buffer);
                    }
                }
                (None, Some((_, reason))) => held.none(reason),
                (None, None) if lived => held.none(UNCHECKED.into()),
                (None, None) => (),
            }
        })
    }

    /// The first time that is told, as a place among those asked for; `None` if there was no message.
    #[must_use]
    pub fn first(&self) -> Option<usize> {
        self.rows.first
    }

    /// The books at the times from the first on and before the one at `until`, as columns `ts`, `reason` (null where
    /// there is a book), `checksum` (level 2), and for each level `bid_price_0`, `bid_qty_0`, `ask_price_0`,
    /// `ask_qty_0`, …
    ///
    /// # Errors
    /// Never; a sentence would name a mistake of this crate.
    pub fn frame(mut self, until: usize) -> Result<RecordBatch, String> {
        let rows = &mut self.rows;
        let first = rows.first.unwrap_or(until).min(until);
        if rows.first.is_some() {
            rows.tell(until);
            rows.untell(until.max(first));
        }
        let count = until - first;
        let times = ScalarBuffer::from(rows.wanted.times[first..until].to_vec());
        let mut reasons = StringViewBuilder::with_capacity(count);
        rows.whys.iter().for_each(|why| reasons.append_option(why.map(|why| &rows.reasons[why])));
        let mut columns: Vec<(String, ArrayRef)> = vec![
            ("ts".into(), Arc::new(PrimitiveArray::<TimestampNanosecondType>::new(times, None).with_timezone("UTC"))),
            ("reason".into(), Arc::new(reasons.finish())),
            ("checksum".into(), Arc::new(UInt32Array::from(std::mem::take(&mut rows.checksums)))),
        ];
        let fewest = [&rows.bids, &rows.asks].map(|held| held.iter().copied().min().unwrap_or(0));
        let names = ["bid_price", "bid_qty", "ask_price", "ask_qty"];
        for (place, values) in std::mem::take(&mut rows.columns).into_iter().enumerate() {
            let (level, kind) = (place / 4, place % 4);
            let (held, fewest) = if kind < 2 { (&rows.bids, fewest[0]) } else { (&rows.asks, fewest[1]) };
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
    fn the_times_before_another_are_counted() {
        let times: Vec<i64> = (0..70).map(|n| n / 3 * 10).collect();
        for length in 0..=times.len() {
            for time in -1..=times[times.len() - 1] + 1 {
                let counted = times[..length].iter().filter(|told| **told < time).count();
                assert_eq!(before(&times[..length], time), counted, "{length} times, {time}");
            }
        }
    }

    #[test]
    fn numbers_of_any_size_are_told_as_the_nearest() {
        let wide = i128::from(i64::MAX) * 1000;
        let numbers = [(1, 1.0), (-(1 << 53), -9_007_199_254_740_992.0), (wide, 9.223_372_036_854_776e21)];
        for (number, nearest) in numbers {
            assert!((float(number) - nearest).abs() < f64::MIN_POSITIVE, "{number}");
        }
    }
}
