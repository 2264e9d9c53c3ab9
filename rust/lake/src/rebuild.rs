//! Books rebuilt from the rows of a lake alone. Every checksum is computed again, by the rule of trust that the session
//! follows while it records ([`krakpot_core::book::synced`]).
//!
//! Rows of `book` or `orders` come sorted by symbol, then message, then entry, part after part of one session. The ledger
//! says when a book goes out of sync. A checkpoint must equal the book that was rebuilt so far; if the book is out of
//! sync, the checkpoint brings it back in sync.

use std::collections::{BTreeMap, HashMap, VecDeque};

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{Array, RecordBatch};

use krakpot_core::book::checksum::crc32;
use krakpot_core::book::level2::Book;
use krakpot_core::book::level3::Orders;
use krakpot_core::book::modify_rule::ModifyRule;
use krakpot_core::book::synced::{BookMeta, ChecksummedBook, Outcome, Synced};
use krakpot_core::decimal::{Decimal, Tens};
use krakpot_core::error::Error;
use krakpot_core::limits::SCALE;
use krakpot_core::wire::message::{Entry, Kind, OrderEntry, OrderEvent, OrderId, ShortEntry, ShortOrder, Side};

use crate::columns::{TextColumn, column, decimals};

/// Sentences about problems that are kept for each symbol.
const PROBLEMS_MAX: usize = 10;

/// What was found for one symbol.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The symbol.
    pub symbol: String,
    /// Messages of its book.
    pub messages: u64,
    /// Messages with the right checksum.
    pub ok: u64,
    /// Messages with a wrong checksum, with a crossed book, or with numbers that cannot be held.
    pub bad: u64,
    /// Messages while the book was out of sync, and messages without a checksum.
    pub unchecked: u64,
    /// Bad messages that the ledger does not name.
    pub bad_unexplained: u64,
    /// Unchecked messages for which the ledger gives no reason.
    pub unchecked_unexplained: u64,
    /// Checkpoints that equal the rebuilt book, or bring it back in sync.
    pub checkpoints_ok: u64,
    /// Checkpoints that differ from the rebuilt book.
    pub checkpoints_bad: u64,
    /// What is wrong, in sentences. At most ten.
    pub problems: Vec<String>,
}

impl Found {
    fn problem(&mut self, sentence: impl FnOnce() -> String) {
        if self.problems.len() < PROBLEMS_MAX {
            let sentence = sentence();
            self.problems.push(sentence);
        }
    }
}

/// A kind of book that can be read from rows.
pub trait FromRows: ChecksummedBook {
    /// Columns that only this kind has.
    type Columns;

    /// Finds these columns.
    ///
    /// # Errors
    /// A sentence, if a column is missing or of another type.
    fn columns(batch: &RecordBatch, checkpoint: bool) -> Result<Self::Columns, String>;

    /// The rule that was known at the time of a checkpoint.
    fn rule(columns: &Self::Columns, row: usize) -> Self::Rule;

    /// The entry of a row.
    fn entry(columns: &Self::Columns, row: usize, side: Side, price: Decimal, qty: Decimal) -> Option<Self::Entry<'_>>;

    /// The book of a checkpoint. `None` if its rows are no book.
    fn restored(meta: (u16, u8, u8), entries: &[Self::Entry<'_>]) -> Option<Self>;

    /// Whether both books are equal.
    fn same(&self, other: &Self) -> bool;

    /// Applies a message, given as levels in 64 bits, if all is as it nearly always is. `None` otherwise: nothing changes.
    fn update<'a>(
        _book: &mut Synced<Self>,
        _meta: &BookMeta,
        _levels: impl FnOnce() -> Option<&'a [ShortEntry]>,
    ) -> Option<Outcome> {
        None
    }
}

impl FromRows for Book {
    type Columns = ();

    fn columns(_: &RecordBatch, _: bool) -> Result<(), String> {
        Ok(())
    }

    fn rule((): &(), _: usize) {}

    fn entry((): &(), _: usize, side: Side, price: Decimal, qty: Decimal) -> Option<Entry> {
        Some(Entry { side, price, qty })
    }

    fn restored((depth, price_precision, qty_precision): (u16, u8, u8), entries: &[Entry]) -> Option<Self> {
        let mut book = Self::new(depth, price_precision, qty_precision);
        let held = entries.iter().all(|entry| book.set(entry).is_ok()) && book.len() == entries.len();
        held.then_some(book)
    }

    fn same(&self, other: &Self) -> bool {
        self.precision() == other.precision()
            && self.depth() == other.depth()
            && [Side::Bid, Side::Ask].iter().all(|&side| self.levels(side) == other.levels(side))
    }

    #[inline]
    fn update<'a>(
        book: &mut Synced<Self>,
        meta: &BookMeta,
        levels: impl FnOnce() -> Option<&'a [ShortEntry]>,
    ) -> Option<Outcome> {
        book.update(meta, levels()?)
    }
}

/// A number in steps of a precision; `None` if it is none, or does not fit.
fn steps(array: &arrow_array::PrimitiveArray<Decimal128Type>, row: usize, tens: Tens) -> Option<i64> {
    i64::try_from(tens.divide(u64::try_from(array.value(row)).ok()?)?).ok()
}

/// Columns of `orders` and `orders_checkpoints`.
pub struct OrderColumns {
    id: TextColumn,
    timestamp: arrow_array::PrimitiveArray<TimestampNanosecondType>,
    /// Only of messages.
    event: Option<TextColumn>,
    /// Only of checkpoints.
    rule: Option<TextColumn>,
}

impl FromRows for Orders {
    type Columns = OrderColumns;

    fn columns(batch: &RecordBatch, checkpoint: bool) -> Result<OrderColumns, String> {
        Ok(OrderColumns {
            id: column(batch, "order_id", TextColumn::of)?,
            timestamp: column(batch, "ts_order", |a| a.as_primitive_opt().cloned())?,
            event: (!checkpoint).then(|| column(batch, "event", TextColumn::of)).transpose()?,
            rule: checkpoint.then(|| column(batch, "modify_rule", TextColumn::of)).transpose()?,
        })
    }

    fn rule(columns: &OrderColumns, row: usize) -> ModifyRule {
        columns.rule.as_ref().and_then(|rule| ModifyRule::named(rule.get(row)?)).unwrap_or_default()
    }

    fn entry(columns: &OrderColumns, row: usize, side: Side, price: Decimal, qty: Decimal) -> Option<OrderEntry<'_>> {
        // The orders of a snapshot have no event: all of them are added.
        let word = columns.event.as_ref().and_then(|event| event.get(row));
        let event = word.map_or(Some(OrderEvent::Add), OrderEvent::named)?;
        let id = OrderId::new(columns.id.get(row)?).ok()?;
        let timestamp = columns.timestamp.is_valid(row).then(|| columns.timestamp.value(row))?;
        Some(OrderEntry { side, event, id, price, qty, timestamp })
    }

    fn restored((depth, price_precision, qty_precision): (u16, u8, u8), entries: &[OrderEntry<'_>]) -> Option<Self> {
        let mut orders = Self::new(depth, price_precision, qty_precision);
        let held = orders.apply(entries, ModifyRule::default()).is_ok() && orders.len() == entries.len();
        held.then_some(orders)
    }

    fn same(&self, other: &Self) -> bool {
        self.precision() == other.precision()
            && self.depth() == other.depth()
            && [Side::Bid, Side::Ask].iter().all(|&side| {
                self.levels(side).eq(other.levels(side))
                    && self.levels(side).all(|(price, ..)| self.queue(side, price).eq(other.queue(side, price)))
            })
    }
}

/// What rebuilds books from rows, whatever it makes of them. Rows of one session are given in this order: `ends`, then for
/// each part in turn `checkpoints` before `messages`.
pub trait Rebuild {
    /// Takes rows of the ledger after which a book is out of sync: columns `symbol` (null: all books), `message`, `kind`.
    ///
    /// # Errors
    /// A sentence, if a column is missing or of another type.
    fn ends(&mut self, rows: &RecordBatch) -> Result<(), String>;

    /// Takes rows of `checkpoints` or `orders_checkpoints`, sorted by symbol, message and entry.
    ///
    /// # Errors
    /// A sentence, if a column is missing or of another type.
    fn checkpoints(&mut self, rows: &RecordBatch) -> Result<(), String>;

    /// Takes rows of `book` or `orders`, sorted by symbol, message and entry.
    ///
    /// # Errors
    /// A sentence, if a column is missing or of another type.
    fn messages(&mut self, rows: &RecordBatch) -> Result<(), String>;
}

/// What is wrong with a message that was counted as bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The ledger's word for it: mismatch, crossed, `decode_error`.
    pub kind: &'static str,
    /// The checksum that the exchange sent, and that of the rebuilt book.
    pub checksums: Option<(u32, u32)>,
    /// Whether the ledger says so too.
    pub explained: bool,
}

/// A message that was applied, as [`Verifier::watch`] reports it.
pub struct Applied<'a, B> {
    /// Its symbol.
    pub symbol: &'a str,
    /// Its number.
    pub message: u64,
    /// Its first row in the batch.
    pub row: usize,
    /// The row after its last one.
    pub next: usize,
    /// Its rows that have a level or an order.
    pub entries: usize,
    /// Whether it is a snapshot.
    pub snapshot: bool,
    /// Why the book went out of sync, if it did since the previous message of the symbol or by this one.
    pub ended: Option<End>,
    /// What is wrong with it.
    pub failed: Option<Failure>,
    /// The book after it, if its checksum is right.
    pub book: Option<&'a mut B>,
}

/// The message after which, or by which, a book went out of sync, and the ledger's word for the reason.
pub type End = (u64, String);

/// A checkpoint of one book.
struct Checkpoint<B: FromRows> {
    message: u64,
    /// `None` if its rows are no book.
    book: Option<B>,
    rule: B::Rule,
}

struct Symbol<B: FromRows> {
    found: Found,
    synced: Synced<B>,
    /// Why the book is out of sync, if the ledger says so.
    out_of_sync: Option<String>,
    /// Messages after which the ledger says that the book goes out of sync, with the reason.
    ends: VecDeque<(u64, String)>,
    checkpoints: VecDeque<Checkpoint<B>>,
    begun: bool,
    /// Why the book went out of sync, until it is reported.
    ended: Option<End>,
    /// What is wrong with the message, until it is reported.
    failed: Option<Failure>,
}

/// Rebuilds the books of one kind of one session and computes every checksum again.
pub struct Verifier<B: FromRows> {
    session: String,
    shard: u32,
    shards: u32,
    symbols: BTreeMap<String, Symbol<B>>,
    /// Ends of all books: (message, reason), ascending.
    all_ends: Vec<(u64, String)>,
    symbol_ends: HashMap<String, Vec<(u64, String)>>,
    buffer: Vec<u8>,
}

/// Orders of rows that follow each other, read together: the columns of a row lie far apart in memory, and to go to all of
/// them again for every message takes longer than to read many rows at once.
#[derive(Default)]
pub(crate) struct ShortOrders {
    orders: Vec<ShortOrder>,
    /// The row of the first one.
    first: usize,
    /// Decimals of their prices and quantities.
    precision: (u8, u8),
}

impl ShortOrders {
    /// Whether the orders of these rows were read, at the precision in force.
    fn has(&self, rows: &std::ops::Range<usize>, meta: &BookMeta) -> bool {
        self.precision == (meta.price_precision, meta.qty_precision)
            && self.first <= rows.start
            && rows.end <= self.first + self.orders.len()
    }
}

/// The columns that the messages and checkpoints of both kinds of books share.
pub(crate) struct Levels {
    pub(crate) symbol: TextColumn,
    pub(crate) message: arrow_array::PrimitiveArray<UInt64Type>,
    pub(crate) side: TextColumn,
    pub(crate) price: arrow_array::PrimitiveArray<Decimal128Type>,
    pub(crate) qty: arrow_array::PrimitiveArray<Decimal128Type>,
    depth: arrow_array::PrimitiveArray<UInt16Type>,
    price_precision: arrow_array::PrimitiveArray<UInt8Type>,
    qty_precision: arrow_array::PrimitiveArray<UInt8Type>,
}

impl Levels {
    pub(crate) fn of(batch: &RecordBatch) -> Result<Self, String> {
        Ok(Self {
            symbol: column(batch, "symbol", TextColumn::of)?,
            message: column(batch, "message", |a| a.as_primitive_opt().cloned())?,
            side: column(batch, "side", TextColumn::of)?,
            price: column(batch, "price", decimals)?,
            qty: column(batch, "qty", decimals)?,
            depth: column(batch, "depth", |a| a.as_primitive_opt().cloned())?,
            price_precision: column(batch, "price_precision", |a| a.as_primitive_opt().cloned())?,
            qty_precision: column(batch, "qty_precision", |a| a.as_primitive_opt().cloned())?,
        })
    }

    // Otherwise each entry is copied twice, which takes a tenth of the time of a verification.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "see above")]
    pub(crate) fn entry<'b, B: FromRows>(&self, own: &'b B::Columns, row: usize) -> Option<B::Entry<'b>> {
        let side = self.side(row)?;
        let number = |array: &arrow_array::PrimitiveArray<Decimal128Type>| {
            array.is_valid(row).then(|| Decimal { mantissa: array.value(row), scale: SCALE })
        };
        B::entry(own, row, side, number(&self.price)?, number(&self.qty)?)
    }

    #[inline]
    fn side(&self, row: usize) -> Option<Side> {
        if self.side.is(row, "bid") { Some(Side::Bid) } else { self.side.is(row, "ask").then_some(Side::Ask) }
    }

    /// The levels of an update as numbers of 64 bits at the precision in force; `None` if one does not fit.
    #[inline]
    pub(crate) fn short<'a>(
        &self,
        rows: std::ops::Range<usize>,
        meta: &BookMeta,
        short: &'a mut Vec<ShortEntry>,
    ) -> Option<&'a [ShortEntry]> {
        short.clear();
        if meta.kind != Kind::Update {
            return None;
        }
        let scales = (meta.price_precision, meta.qty_precision);
        let (price_tens, qty_tens) =
            (Tens::new(SCALE.checked_sub(scales.0)?)?, Tens::new(SCALE.checked_sub(scales.1)?)?);
        for row in rows {
            if let Some(side) = self.side(row) {
                if self.price.is_null(row) || self.qty.is_null(row) {
                    return None;
                }
                let (price, qty) = (steps(&self.price, row, price_tens)?, steps(&self.qty, row, qty_tens)?);
                short.push(ShortEntry { side, price, qty, scales });
            }
        }
        Some(short)
    }

    /// The orders of an update, the same way. Those of the rows after it, up to `until`, are read with them.
    #[inline]
    pub(crate) fn short_orders<'a>(
        &self,
        own: &OrderColumns,
        rows: std::ops::Range<usize>,
        until: usize,
        meta: &BookMeta,
        read: &'a mut ShortOrders,
    ) -> Option<&'a [ShortOrder]> {
        if meta.kind != Kind::Update {
            return None;
        }
        if !read.has(&rows, meta) {
            let price_tens = Tens::new(SCALE.checked_sub(meta.price_precision)?)?;
            let qty_tens = Tens::new(SCALE.checked_sub(meta.qty_precision)?)?;
            (read.first, read.precision) = (rows.start, (meta.price_precision, meta.qty_precision));
            read.orders.clear();
            read.orders.extend((rows.start..until).map_while(|row| self.short_order(own, row, price_tens, qty_tens)));
        }
        read.orders.get(rows.start - read.first..rows.end - read.first)
    }

    #[inline]
    fn short_order(&self, own: &OrderColumns, row: usize, price_tens: Tens, qty_tens: Tens) -> Option<ShortOrder> {
        let event = [OrderEvent::Add, OrderEvent::Delete, OrderEvent::Modify];
        let events = own.event.as_ref()?;
        let event = event.into_iter().find(|event| events.is(row, event.word()))?;
        if self.price.is_null(row) || self.qty.is_null(row) || own.timestamp.is_null(row) {
            return None;
        }
        let (price, qty) = (steps(&self.price, row, price_tens)?, steps(&self.qty, row, qty_tens)?);
        let (side, id) = (self.side(row)?, OrderId::packed(own.id.get(row)?)?);
        Some(ShortOrder { side, event, id, price, qty, timestamp: own.timestamp.value(row) })
    }

    pub(crate) fn meta(&self, row: usize) -> (u16, u8, u8) {
        (self.depth.value(row), self.price_precision.value(row), self.qty_precision.value(row))
    }

    /// Calls `each` with every symbol and its rows.
    fn symbols(&self, rows: usize, mut each: impl FnMut(&str, std::ops::Range<usize>)) {
        let mut from = 0;
        while from < rows {
            let Some(symbol) = self.symbol.get(from) else {
                from += 1;
                continue;
            };
            let mut to = from + 1;
            while to < rows && self.symbol.same(from, to) {
                to += 1;
            }
            each(symbol, from..to);
            from = to;
        }
    }

    /// Calls `each` with every message in the rows of a symbol: its number and its rows. If a frame holds several messages
    /// of one symbol, their `checksum` separates them.
    fn messages(
        &self,
        rows: std::ops::Range<usize>,
        checksum: Option<&arrow_array::PrimitiveArray<UInt32Type>>,
        mut each: impl FnMut(u64, std::ops::Range<usize>),
    ) {
        let value = |row: usize| checksum.filter(|c| c.is_valid(row)).map(|c| c.value(row));
        let mut from = rows.start;
        while from < rows.end {
            let (message, sent) = (self.message.value(from), value(from));
            let mut to = from + 1;
            while to < rows.end && self.message.value(to) == message && value(to) == sent {
                to += 1;
            }
            each(message, from..to);
            from = to;
        }
    }
}

impl<B: FromRows> Verifier<B> {
    /// A verifier of one session. It takes only symbols whose CRC32 modulo `shards` is `shard`.
    #[must_use]
    pub fn new(session: &str, shard: u32, shards: u32) -> Self {
        Self {
            session: session.into(),
            shard,
            shards: shards.max(1),
            symbols: BTreeMap::new(),
            all_ends: Vec::new(),
            symbol_ends: HashMap::new(),
            buffer: Vec::new(),
        }
    }

    /// The id of the session.
    #[must_use]
    pub fn session(&self) -> &str {
        &self.session
    }

    fn symbol<'a>(
        symbols: &'a mut BTreeMap<String, Symbol<B>>,
        all_ends: &[(u64, String)],
        symbol_ends: &mut HashMap<String, Vec<(u64, String)>>,
        name: &str,
    ) -> &'a mut Symbol<B> {
        symbols.entry(name.to_owned()).or_insert_with(|| {
            let mut ends = symbol_ends.remove(name).unwrap_or_default();
            ends.extend_from_slice(all_ends);
            ends.sort();
            Symbol {
                found: Found { symbol: name.to_owned(), ..Found::default() },
                synced: Synced::default(),
                out_of_sync: None,
                ends: ends.into(),
                checkpoints: VecDeque::new(),
                begun: false,
                ended: None,
                failed: None,
            }
        })
    }

    /// Takes rows of messages as [`Rebuild::messages`] does, and calls `each` with every message.
    ///
    /// # Errors
    /// A sentence, if a column is missing or of another type.
    pub fn watch(&mut self, batch: &RecordBatch, mut each: impl FnMut(Applied<'_, B>)) -> Result<(), String> {
        let levels = Levels::of(batch)?;
        let own = B::columns(batch, false)?;
        let kind = column(batch, "kind", TextColumn::of)?;
        let checksum = column(batch, "checksum", |a| a.as_primitive_opt::<UInt32Type>())?;
        let Self { symbols, all_ends, symbol_ends, shard, shards, buffer, .. } = self;
        let (mut short, mut entries) = (Vec::new(), Vec::new());
        levels.symbols(batch.num_rows(), |name, rows| {
            if crc32(name.as_bytes()) % *shards != *shard {
                return;
            }
            let symbol = Self::symbol(symbols, all_ends, symbol_ends, name);
            levels.messages(rows, Some(checksum), |message, rows| {
                let (row, next) = (rows.start, rows.end);
                let (depth, price_precision, qty_precision) = levels.meta(row);
                let meta = BookMeta {
                    kind: if kind.is(row, "snapshot") { Kind::Snapshot } else { Kind::Update },
                    checksum: checksum.is_valid(row).then(|| checksum.value(row)),
                    depth,
                    price_precision,
                    qty_precision,
                };
                let mut count = 0;
                let verified = symbol.message(message, &meta, |book| {
                    if let Some(outcome) = B::update(book, &meta, || levels.short(rows.clone(), &meta, &mut short)) {
                        count = short.len();
                        return Ok(outcome);
                    }
                    entries.clear();
                    entries.extend(rows.filter_map(|row| levels.entry::<B>(&own, row)));
                    count = entries.len();
                    book.apply(&meta, &entries, buffer)
                });
                let (ended, failed) = (symbol.ended.take(), symbol.failed.take());
                let book = if verified { symbol.synced.book_mut() } else { None };
                let (entries, snapshot) = (count, meta.kind == Kind::Snapshot);
                each(Applied { symbol: name, message, row, next, entries, snapshot, ended, failed, book });
            });
        });
        Ok(())
    }

    /// The book of a symbol before `message`, from the rows taken so far: its checkpoint for example.
    pub fn before(&mut self, name: &str, message: u64) -> Option<&mut B> {
        let symbol = self.symbols.get_mut(name)?;
        symbol.until(message);
        symbol.synced.book_mut()
    }

    /// Takes the ends and checkpoints after the last message. Returns the books that went out of sync, by symbol.
    pub fn ended(&mut self) -> Vec<(String, End)> {
        let ended = |(name, symbol): (&String, &mut Symbol<B>)| {
            symbol.until(u64::MAX);
            symbol.ended.take().map(|end| (name.clone(), end))
        };
        self.symbols.iter_mut().filter_map(ended).collect()
    }

    /// What was found, by symbol.
    #[must_use]
    pub fn finish(mut self) -> Vec<Found> {
        for symbol in self.symbols.values_mut() {
            symbol.until(u64::MAX);
        }
        self.symbols.into_values().map(|symbol| symbol.found).collect()
    }
}

impl<B: FromRows> Rebuild for Verifier<B> {
    fn ends(&mut self, rows: &RecordBatch) -> Result<(), String> {
        let symbol = column(rows, "symbol", TextColumn::of)?;
        let kind = column(rows, "kind", TextColumn::of)?;
        let message = column(rows, "message", |a| a.as_primitive_opt::<UInt64Type>())?;
        for row in 0..rows.num_rows() {
            let end =
                (if message.is_valid(row) { message.value(row) } else { 0 }, kind.get(row).unwrap_or("?").to_owned());
            let Some(name) = symbol.get(row) else {
                self.symbols.values_mut().for_each(|symbol| symbol.ends.push_back(end.clone()));
                self.all_ends.push(end);
                continue;
            };
            match self.symbols.get_mut(name) {
                Some(symbol) => symbol.ends.push_back(end),
                None => self.symbol_ends.entry(name.to_owned()).or_default().push(end),
            }
        }
        self.symbols.values_mut().for_each(|symbol| symbol.ends.make_contiguous().sort());
        Ok(())
    }

    fn checkpoints(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let levels = Levels::of(batch)?;
        let own = B::columns(batch, true)?;
        let Self { symbols, all_ends, symbol_ends, shard, shards, .. } = self;
        let mut entries = Vec::new();
        levels.symbols(batch.num_rows(), |name, rows| {
            if crc32(name.as_bytes()) % *shards != *shard {
                return;
            }
            let symbol = Self::symbol(symbols, all_ends, symbol_ends, name);
            levels.messages(rows, None, |message, rows| {
                let (meta, rule) = (levels.meta(rows.start), B::rule(&own, rows.start));
                entries.clear();
                entries.extend(rows.filter_map(|row| levels.entry::<B>(&own, row)));
                symbol.checkpoints.push_back(Checkpoint { message, book: B::restored(meta, &entries), rule });
            });
        });
        Ok(())
    }

    fn messages(&mut self, rows: &RecordBatch) -> Result<(), String> {
        self.watch(rows, |_| ())
    }
}

impl<B: FromRows> Symbol<B> {
    /// Applies the ends that the ledger has before `message`.
    fn ends_before(&mut self, message: u64) {
        while self.ends.front().is_some_and(|(at, _)| *at < message) {
            if let Some((at, reason)) = self.ends.pop_front() {
                if self.synced.book().is_some() {
                    self.ended.get_or_insert((at, reason.clone()));
                }
                self.synced.end();
                self.out_of_sync = Some(reason);
            }
        }
    }

    /// Applies all that comes before `message`. Checkpoints first, each after the ends before it: an end after a checkpoint
    /// must not be lost when that checkpoint brings the book back in sync.
    fn until(&mut self, message: u64) {
        self.checkpoints_until(message);
        self.ends_before(message);
    }

    /// Compares the book with the checkpoints up to the one before `message`, or takes them if it is out of sync.
    fn checkpoints_until(&mut self, message: u64) {
        while self.checkpoints.front().is_some_and(|checkpoint| checkpoint.message <= message) {
            let Some(checkpoint) = self.checkpoints.pop_front() else { return };
            self.ends_before(checkpoint.message);
            let held = self.synced.book();
            let same = |book: &B| held.is_none_or(|held| held.same(book));
            if let Some(book) = checkpoint.book.filter(same) {
                self.found.checkpoints_ok += 1;
                if self.synced.book().is_none() {
                    self.synced.begin(book);
                    self.synced.rule = checkpoint.rule;
                    self.out_of_sync = None;
                }
            } else {
                self.found.checkpoints_bad += 1;
                let (name, at) = (self.found.symbol.clone(), checkpoint.message);
                self.found.problem(|| {
                    format!("{name}: the checkpoint before message {at} is not the book rebuilt from the rows")
                });
            }
        }
    }

    /// Whether the ledger says that the book went out of sync at this very message.
    fn named(&self, message: u64, kinds: &[&str]) -> bool {
        self.ends.iter().take_while(|(at, _)| *at == message).any(|(_, kind)| kinds.contains(&kind.as_str()))
    }

    /// A message after which the book is out of sync. The messages after it are unchecked for this reason, which is said
    /// once.
    fn bad(&mut self, message: u64, kind: &'static str, checksums: Option<(u32, u32)>, what: String) {
        self.found.bad += 1;
        let explained = self.named(message, &[kind]);
        self.failed = Some(Failure { kind, checksums, explained });
        if !explained {
            self.found.bad_unexplained += 1;
            let name = self.found.symbol.clone();
            self.found.problem(|| format!("{name}: message {message}: {what}, and the ledger does not say so"));
        }
        self.out_of_sync = Some(what);
        self.ended.get_or_insert((message, kind.to_owned()));
    }

    /// Applies a message, as `apply` does to the book. Returns whether its checksum is right.
    #[inline]
    fn message(
        &mut self,
        message: u64,
        meta: &BookMeta,
        apply: impl FnOnce(&mut Synced<B>) -> Result<Outcome, Error>,
    ) -> bool {
        self.until(message);
        self.found.messages += 1;
        let begun = std::mem::replace(&mut self.begun, true);
        match apply(&mut self.synced) {
            Ok(Outcome::Ok) => {
                self.found.ok += 1;
                self.out_of_sync = None;
                return true;
            }
            Ok(Outcome::Unchecked) => {
                self.found.unchecked += 1;
                let explained =
                    self.out_of_sync.is_some() || meta.checksum.is_none() || self.named(message, &["gap", "missing"]);
                if !explained {
                    self.found.unchecked_unexplained += 1;
                    if self.found.unchecked_unexplained == 1 {
                        let since = if begun { "" } else { ", the first that is here" };
                        let name = self.found.symbol.clone();
                        self.found.problem(|| {
                            format!("{name}: message {message}{since}: an update without a snapshot or a checkpoint")
                        });
                    }
                }
            }
            Ok(Outcome::Mismatch { expected, computed }) => {
                let what = format!("checksum {expected} expected, {computed} computed");
                self.bad(message, "mismatch", Some((expected, computed)), what);
            }
            Ok(Outcome::Crossed) => self.bad(message, "crossed", None, "the book is crossed".into()),
            Err(error) => self.bad(message, "decode_error", None, format!("the numbers cannot be held: {error}")),
        }
        false
    }
}
