//! From bytes to messages.
//!
//! simd-json hands numbers over as binary floating point and keeps no text. So the frame is copied once into a scratch
//! buffer (the parser wants to write anyway) and bare numbers are put in quotes on the way: every number then arrives
//! as its text. The copy checks each number against JSON's grammar, the parser all the rest.
//!
//! Fields in any order, unknown fields and unknown channels are taken; a known field twice is refused.

use simd_json::{Buffers, Tape};

use crate::error::Error;
use crate::limits;
use crate::wire::fast::{self, Minute};
use crate::wire::json::quote_numbers;
use crate::wire::message::{BookData, Data, Entries, Entry, Kind, Message, OrderEntry, ShortEntry};
use crate::wire::tape::TapeReader;

/// Decodes frames, reusing its memory.
pub struct Decoder {
    scratch: Vec<u8>,
    /// Offsets in `scratch` of the first character of each bare number, ascending.
    numbers: Vec<u32>,
    buffers: Buffers,
    tape: Option<Tape<'static>>,
    minute: Minute,
    /// Entries of the last book message.
    entries: Vec<Entry>,
    /// The same of one that was laid out as Kraken does.
    short: Vec<ShortEntry>,
    /// Memory for the entries of a level-3 message; empty between two frames.
    orders: Vec<OrderEntry<'static>>,
    /// Fields that no column and no `extra` keeps, counted over all frames.
    pub unknown_fields: u64,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            scratch: Vec::new(),
            numbers: Vec::new(),
            buffers: Buffers::with_max_depth(4096, limits::NESTING_MAX),
            tape: Some(Tape(Vec::new())),
            minute: Minute::default(),
            entries: Vec::new(),
            short: Vec::new(),
            orders: Vec::new(),
            unknown_fields: 0,
        }
    }
}

impl Decoder {
    /// Decodes one frame and hands the message, with its entries if it is of books, to `then`.
    ///
    /// # Errors
    /// [`Error::Json`], [`Error::Shape`], [`Error::Limit`] or [`Error::Decimal`]; `then` is not called in that case.
    pub fn decode<R>(
        &mut self,
        frame: &[u8],
        then: impl FnOnce(Message<'_>, Entries<'_, '_>) -> R,
    ) -> Result<R, Error> {
        if let Some((kind, data, _)) = self.book(frame) {
            let entries = Entries { levels: self.levels(), orders: &[] };
            return Ok(then(Message::Book(kind, Data::One([data])), entries));
        }
        self.decode_other(frame, then)
    }

    /// Reads a message of the book channel, the hottest of all, if it is laid out as Kraken does; with its entries.
    #[inline]
    pub fn book<'f>(&mut self, frame: &'f [u8]) -> Option<(Kind, BookData<'f>, &[ShortEntry])> {
        self.short.clear();
        if frame.len() > limits::FRAME_MAX {
            return None;
        }
        let (kind, data) = fast::book(frame, &mut self.minute, &mut self.short)?;
        Some((kind, data, &self.short))
    }

    /// The entries of the message that [`Self::book`] read, in full width.
    pub fn levels(&mut self) -> &[Entry] {
        self.entries.clear();
        self.entries.extend(self.short.iter().map(Entry::from));
        &self.entries
    }

    /// The same as [`Self::decode`] of a frame that [`Self::book`] did not read.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_other<R>(
        &mut self,
        frame: &[u8],
        then: impl FnOnce(Message<'_>, Entries<'_, '_>) -> R,
    ) -> Result<R, Error> {
        if frame.len() > limits::FRAME_MAX {
            return Err(Error::Limit { what: "FRAME_MAX", limit: limits::FRAME_MAX, found: frame.len() });
        }
        let mut orders = emptied(std::mem::take(&mut self.orders));
        let hot = fast::level3(frame, &mut self.minute, &mut orders);
        if let Some((kind, data)) = hot {
            let result = then(Message::Level3(kind, Data::One([data])), Entries { levels: &[], orders: &orders });
            self.orders = emptied(orders);
            return Ok(result);
        }
        self.orders = emptied(orders);
        self.decode_any(frame, then)
    }

    /// The same without the reader for the hot messages as Kraken lays them out, which must not make a difference.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_any<R>(
        &mut self,
        frame: &[u8],
        then: impl FnOnce(Message<'_>, Entries<'_, '_>) -> R,
    ) -> Result<R, Error> {
        self.entries.clear();
        self.scratch.clear();
        self.numbers.clear();
        quote_numbers(frame, &mut self.scratch, &mut self.numbers)?;
        let length = self.scratch.len();
        self.scratch.resize(length + simd_json::INPUT_PADDING, 0);
        let base = self.scratch.as_ptr() as usize;
        let mut tape = self.tape.take().unwrap_or(Tape(Vec::new())).reset();
        let outcome = simd_json::fill_tape_padded(&mut self.scratch, length, &mut self.buffers, &mut tape);
        let result = match outcome {
            Ok(()) => {
                let orders = emptied(std::mem::take(&mut self.orders));
                let mut reader = TapeReader::new(&tape.0, base, &self.numbers, &mut self.entries, orders);
                let message = reader.message();
                let (orders, unknown) = (reader.orders, reader.unknown);
                self.unknown_fields += unknown;
                let result = message.map(|message| then(message, Entries { levels: &self.entries, orders: &orders }));
                self.orders = emptied(orders);
                result
            }
            Err(error) => {
                // Quotes were added before this place: two for each number begun before it.
                let at = error.index().min(length);
                let added = 2 * self.numbers.partition_point(|&n| (n as usize) < at);
                Err(Error::Json { offset: at.saturating_sub(added), reason: format!("{:?}", error.error()) })
            }
        };
        self.tape = Some(tape.reset());
        result
    }
}

/// The memory of a list for entries that live elsewhere: collecting nothing out of a vector keeps its allocation.
#[allow(clippy::unnecessary_filter_map, reason = "the closure makes the other lifetime")]
fn emptied<'b>(mut orders: Vec<OrderEntry<'_>>) -> Vec<OrderEntry<'b>> {
    orders.clear();
    orders.into_iter().filter_map(|_| None).collect()
}
