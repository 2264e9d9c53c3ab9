//! The books of one symbol at many times, rebuilt from the rows of one session and verified by [`crate::rebuild`].
//!
//! The book at a time is the book after the last message, in the order of application, whose time is not later. Receive
//! times may step back: books that were sampled too early are then taken back and sampled again.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{TimestampNanosecondType, UInt64Type};
use arrow_array::{Array, ArrayRef, PrimitiveArray, RecordBatch};
use arrow_buffer::ScalarBuffer;

use krakpot_core::book::synced::Levels;

use crate::columns::column;
use crate::held::{Held, Rows, UNCHECKED};
use crate::rebuild::{End, FromRows, Rebuild, Verifier};

/// What a time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// When a message was received.
    Recv,
    /// The exchange's time of a message. One without it counts by its receive time.
    Event,
    /// The number of a message. Then ends between two messages, which the ledger knows, count too.
    Message,
}

impl Clock {
    /// The clock with a name: `recv`, `event`, `message`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "recv" => Some(Self::Recv),
            "event" => Some(Self::Event),
            "message" => Some(Self::Message),
            _ => None,
        }
    }
}

/// The times of the messages of a batch.
pub(crate) enum Times<'a> {
    Recv(&'a PrimitiveArray<TimestampNanosecondType>),
    Event(&'a PrimitiveArray<TimestampNanosecondType>, &'a PrimitiveArray<TimestampNanosecondType>),
    Message(&'a PrimitiveArray<UInt64Type>),
}

impl<'a> Times<'a> {
    /// # Errors
    /// A sentence, if a column is missing or of another type.
    pub(crate) fn of(batch: &'a RecordBatch, clock: Clock) -> Result<Self, String> {
        let times = |name| column(batch, name, |array: &'a ArrayRef| array.as_primitive_opt());
        Ok(match clock {
            Clock::Recv => Self::Recv(times("ts_recv")?),
            Clock::Event => Self::Event(times("ts_event")?, times("ts_recv")?),
            Clock::Message => Self::Message(column(batch, "message", |array| array.as_primitive_opt())?),
        })
    }

    pub(crate) fn at(&self, row: usize) -> i64 {
        match self {
            Self::Recv(recv) => recv.value(row),
            Self::Event(event, recv) => if event.is_valid(row) { event } else { recv }.value(row),
            Self::Message(message) => message_time(message.value(row)),
        }
    }
}

/// What to sample.
pub struct SampleOptions {
    /// The times, ns, ascending.
    pub times: ScalarBuffer<i64>,
    /// Levels on each side.
    pub depth: usize,
    /// How many of the times will likely have a sample: columns that grow are copied.
    pub room: usize,
    /// What a time is.
    pub clock: Clock,
    /// Whether numbers are given in binary floating point; otherwise as exact decimals.
    pub floats: bool,
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

/// The samples so far: a row for each of the times from `first` on.
struct Samples {
    options: SampleOptions,
    /// The first time that has a sample, once one has.
    first: Option<usize>,
    rows: Rows,
    held: Held,
    /// Whether the book is in sync after the last message. It may not have been copied.
    in_sync: bool,
    buffer: Vec<u8>,
}

impl Samples {
    /// The place of the next time to sample.
    fn at(&self) -> usize {
        self.first.map_or(0, |first| first + self.rows.len())
    }

    /// Samples the book that is held, at every time before `place`.
    fn fill(&mut self, place: usize) {
        let count = place.saturating_sub(self.at());
        if count > 0 {
            self.rows.push(&self.held, count);
        }
    }

    /// Takes back the samples from `place` on.
    fn truncate(&mut self, place: usize) {
        let first = self.first.map_or(place, |first| first.min(place));
        self.first = Some(first);
        self.rows.truncate(place - first);
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

    /// The ledger says that the book went out of sync after a message.
    fn end(&mut self, (message, reason): End) {
        self.advance(message_time(message));
        self.held.none(reason);
        self.in_sync = false;
    }
}

/// The number of a message as a time.
fn message_time(message: u64) -> i64 {
    i64::try_from(message).unwrap_or(i64::MAX)
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
        let samples = Samples {
            first: None,
            rows: Rows::new(options.depth, options.floats, options.room),
            held: Held::new(options.depth),
            options,
            in_sync: false,
            buffer: Vec::new(),
        };
        Self { verifier: Verifier::new(session, 0, 1), samples }
    }

    /// Takes the book of the checkpoint before `message` as the book from `since` on.
    pub fn begin(&mut self, symbol: &str, message: u64, since: i64) {
        let Samples { options, held, in_sync, buffer, .. } = &mut self.samples;
        if let Some(book) = self.verifier.before(symbol, message) {
            held.take(book, options.depth, options.floats, buffer);
            *in_sync = true;
            self.samples.advance(since);
        }
    }

    /// All rows were given. With the clock of messages, a row of the ledger after the last one counts too.
    pub fn close(&mut self) {
        if self.samples.options.clock == Clock::Message {
            for (_, end) in self.verifier.ended() {
                self.samples.end(end);
            }
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
        let times = samples.options.times.slice(first, until - first);
        let times = PrimitiveArray::<TimestampNanosecondType>::new(times, None).with_timezone("UTC");
        self.samples.rows.batch(vec![("ts", Arc::new(times))])
    }
}

impl<B: Levels + FromRows> Rebuild for BookSampler<B> {
    fn ends(&mut self, rows: &RecordBatch) -> Result<(), String> {
        self.verifier.ends(rows)
    }

    fn checkpoints(&mut self, rows: &RecordBatch) -> Result<(), String> {
        self.verifier.checkpoints(rows)
    }

    /// Rows of one symbol, with the column of the clock: `ts_recv`, and `ts_event` for the exchange's.
    fn messages(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let Self { verifier, samples } = self;
        let clock = samples.options.clock;
        let times = Times::of(batch, clock)?;
        verifier.watch(batch, |mut applied| {
            if clock == Clock::Message
                && let Some(end) = applied.ended.take_if(|end| end.0 < applied.message)
            {
                samples.end(end);
            }
            samples.advance(times.at(applied.row));
            let due = samples.options.times.get(samples.at()).copied();
            let Samples { options, held, in_sync, buffer, .. } = &mut *samples;
            let was_in_sync = std::mem::replace(in_sync, applied.book.is_some());
            match (applied.book, applied.ended) {
                (Some(book), _) => {
                    // A copy is needed only if a time to sample comes before the next message.
                    if applied.next == batch.num_rows() || due.is_some_and(|due| due < times.at(applied.next)) {
                        held.take(book, options.depth, options.floats, buffer);
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
}
