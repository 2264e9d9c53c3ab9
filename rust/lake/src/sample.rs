//! The books of one symbol at many times, rebuilt from the rows of one session and verified by [`crate::rebuild`].
//!
//! The book at a time is the book after the last message, in the order of application, whose time is not later. Receive
//! times may step back: books that were sampled too early are then taken back and sampled again.

use std::sync::Arc;

use arrow_array::builder::StringViewBuilder;
use arrow_array::types::{Decimal128Type, Float64Type, TimestampNanosecondType};
use arrow_array::{Array, ArrayRef, PrimitiveArray, RecordBatch, UInt32Array};
use arrow_buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow_schema::DataType;

use krakpot_core::book::synced::Levels;
use krakpot_core::decimal::pow10;
use krakpot_core::limits::{DIGITS_MAX, SCALE};
use krakpot_core::wire::message::Side;

use crate::columns::column;
use crate::rebuild::{FromRows, Rebuild, Verifier};

/// Why there is no book before the first message.
pub const ABSENT: &str = "absent";
/// Why there is no book after a message without a checksum.
pub const UNCHECKED: &str = "unchecked";

/// Room for times between the last message of one batch and the next batch.
const BEHIND: usize = 16;

/// What to sample.
pub struct SampleOptions {
    /// The times, ns, ascending.
    pub times: ScalarBuffer<i64>,
    /// Levels on each side.
    pub depth: usize,
    /// Whether the times are the exchange's; otherwise they are receive times.
    pub event: bool,
    /// Whether numbers are given in binary floating point; otherwise as exact decimals.
    pub floats: bool,
}

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

/// How many of these ascending times come before `time`. Most often only a few do.
fn before(times: &[i64], time: i64) -> usize {
    let mut end = 1;
    while end < times.len() && times[end] < time {
        end *= 2;
    }
    let begin = end / 2;
    begin + times[begin..end.min(times.len())].partition_point(|other| *other < time)
}

/// The book after the last message, or why there is none.
#[derive(Default)]
struct Held {
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
    fn take<B: Levels>(&mut self, book: &mut B, options: &SampleOptions, buffer: &mut Vec<u8>) {
        self.checksum = Some(book.checksum_level2(buffer));
        let (price, qty) = book.precision();
        // A pair has at most as many decimals as the columns.
        let [price_by, qty_by] = [price, qty].map(|precision| pow10(SCALE.saturating_sub(precision)));
        // Powers of ten up to 10^22 are exact. So the quotient of two exact numbers is the nearest to the decimal.
        #[allow(clippy::cast_precision_loss, reason = "see above")]
        let [price_of, qty_of] = [price, qty].map(|precision| pow10(precision) as f64);
        for (side, at) in [(Side::Bid, 0), (Side::Ask, 2)] {
            let mut count = 0;
            book.each_level(side, options.depth, |price, qty| {
                let place = 4 * count + at;
                if options.floats {
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

/// The samples so far: a row for each of the times from `first` on.
struct Samples {
    options: SampleOptions,
    /// The first time that has a sample, once one has.
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
    /// Whether the book is in sync after the last message. It may not have been copied.
    in_sync: bool,
    buffer: Vec<u8>,
}

impl Samples {
    /// The place of the next time to sample.
    fn at(&self) -> usize {
        self.first.map_or(0, |first| first + self.bids.len())
    }

    /// Samples the book that is held, at every time before `place`.
    fn fill(&mut self, place: usize) {
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

    /// Makes room for the samples of the messages from one time to another.
    fn reserve(&mut self, begin: i64, end: i64) {
        let times = &self.options.times;
        let at = self.first.map_or_else(|| times.partition_point(|other| *other < begin), |_| self.at());
        let count = times.partition_point(|other| *other < end).saturating_sub(at) + BEHIND;
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

    /// Takes back the samples from `place` on.
    fn truncate(&mut self, place: usize) {
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

    /// A message, or a checkpoint, of this time comes next: every time before it has a sample, none from it on.
    fn advance(&mut self, time: i64) {
        let times = &self.options.times;
        let at = self.at();
        let now = self.first.is_some();
        if now && at < times.len() && times[at] < time {
            self.fill(at + before(&times[at..], time));
        } else if !now || (at > 0 && times[at - 1] >= time) {
            self.truncate(times.partition_point(|other| *other < time));
        }
    }
}

/// Samples the books of one symbol in one session.
pub struct BookSampler<B: Levels + FromRows> {
    verifier: Verifier<B>,
    samples: Samples,
}

impl<B: Levels + FromRows> BookSampler<B> {
    /// A sampler for one session.
    #[must_use]
    pub fn new(session: &str, options: SampleOptions) -> Self {
        let width = 4 * options.depth;
        let column = || if options.floats { Values::Float(Vec::new()) } else { Values::Decimal(Vec::new()) };
        let columns = (0..width).map(|_| column()).collect();
        let held =
            Held { decimals: vec![0; width], floats: vec![0.0; width], reason: ABSENT.into(), ..Held::default() };
        let samples = Samples {
            options,
            first: None,
            bids: Vec::new(),
            asks: Vec::new(),
            checksums: Vec::new(),
            whys: Vec::new(),
            reasons: Vec::new(),
            columns,
            held,
            in_sync: false,
            buffer: Vec::new(),
        };
        Self { verifier: Verifier::new(session, 0, 1), samples }
    }

    /// Takes the book of the checkpoint before `message` as the book from `since` on, ns.
    pub fn begin(&mut self, symbol: &str, message: u64, since: i64) {
        let Samples { options, held, in_sync, buffer, .. } = &mut self.samples;
        if let Some(book) = self.verifier.before(symbol, message) {
            held.take(book, options, buffer);
            *in_sync = true;
            self.samples.advance(since);
        }
    }

    /// The first time that has a sample, as a place in [`SampleOptions::times`]; `None` if there was no message.
    #[must_use]
    pub fn first(&self) -> Option<usize> {
        self.samples.first
    }

    /// The books at the times from the first on and before the one at `until`, as columns `ts`, `reason` (null where
    /// there is a book), `checksum` (level 2), and for each level `bid_price_0`, `bid_qty_0`, `ask_price_0`,
    /// `ask_qty_0`, …
    ///
    /// # Errors
    /// Never for samples of this sampler; a sentence would name a mistake of this crate.
    pub fn frame(mut self, until: usize) -> Result<RecordBatch, String> {
        let samples = &mut self.samples;
        let first = samples.first.unwrap_or(until).min(until);
        if samples.first.is_some() {
            samples.fill(until);
            samples.truncate(until.max(first));
        }
        let count = until - first;
        let times = ScalarBuffer::from(samples.options.times[first..until].to_vec());
        let mut reasons = StringViewBuilder::with_capacity(count);
        samples.whys.iter().for_each(|why| reasons.append_option(why.map(|why| &samples.reasons[why])));
        let mut columns: Vec<(String, ArrayRef)> = vec![
            ("ts".into(), Arc::new(PrimitiveArray::<TimestampNanosecondType>::new(times, None).with_timezone("UTC"))),
            ("reason".into(), Arc::new(reasons.finish())),
            ("checksum".into(), Arc::new(UInt32Array::from(std::mem::take(&mut samples.checksums)))),
        ];
        let fewest = [&samples.bids, &samples.asks].map(|held| held.iter().copied().min().unwrap_or(0));
        let names = ["bid_price", "bid_qty", "ask_price", "ask_qty"];
        for (place, values) in std::mem::take(&mut samples.columns).into_iter().enumerate() {
            let (level, kind) = (place / 4, place % 4);
            let (held, fewest) = if kind < 2 { (&samples.bids, fewest[0]) } else { (&samples.asks, fewest[1]) };
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

impl<B: Levels + FromRows> Rebuild for BookSampler<B> {
    fn ends(&mut self, rows: &RecordBatch) -> Result<(), String> {
        self.verifier.ends(rows)
    }

    fn checkpoints(&mut self, rows: &RecordBatch) -> Result<(), String> {
        self.verifier.checkpoints(rows)
    }

    /// Rows of one symbol. The column `ts_recv` is needed too, and `ts_event` if the times are the exchange's. A message
    /// without a time of the exchange counts by its receive time.
    fn messages(&mut self, batch: &RecordBatch) -> Result<(), String> {
        type Times<'a> = &'a PrimitiveArray<TimestampNanosecondType>;
        let times = |name| -> Result<Times<'_>, String> { column(batch, name, |array| array.as_any().downcast_ref()) };
        let recv = times("ts_recv")?;
        let event = if self.samples.options.event { Some(times("ts_event")?) } else { None };
        let time = |row| event.filter(|event| event.is_valid(row)).unwrap_or(recv).value(row);
        let Self { verifier, samples } = self;
        if let Some(last) = batch.num_rows().checked_sub(1) {
            samples.reserve(time(0), time(last));
        }
        verifier.watch(batch, |applied| {
            samples.advance(time(applied.row));
            let due = samples.options.times.get(samples.at()).copied();
            let Samples { options, held, in_sync, buffer, .. } = &mut *samples;
            let was_in_sync = std::mem::replace(in_sync, applied.book.is_some());
            match (applied.book, applied.ended) {
                (Some(book), _) => {
                    // A copy is needed only if a time to sample comes before the next message.
                    if applied.next == batch.num_rows() || due.is_some_and(|due| due < time(applied.next)) {
                        held.take(book, options, buffer);
                    }
                }
                (None, Some((_, reason))) => held.none(reason),
                (None, None) if was_in_sync => held.none(UNCHECKED.into()),
                (None, None) => (),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_another_are_counted() {
        let times: Vec<i64> = (0..70).map(|n| n / 3 * 10).collect();
        for length in 0..=times.len() {
            for time in -1..=times[times.len() - 1] + 1 {
                let counted = times[..length].iter().filter(|other| **other < time).count();
                assert_eq!(before(&times[..length], time), counted, "{length} times, {time}");
            }
        }
    }

    #[test]
    fn numbers_of_any_size_become_the_nearest() {
        let wide = i128::from(i64::MAX) * 1000;
        let numbers = [(1, 1.0), (-(1 << 53), -9_007_199_254_740_992.0), (wide, 9.223_372_036_854_776e21)];
        for (number, nearest) in numbers {
            assert!((float(number) - nearest).abs() < f64::MIN_POSITIVE, "{number}");
        }
    }
}
