//! Books rebuilt from the rows of a lake alone: every checksum computed again, by the same rule as live.
//!
//! Rows of `book` or `orders` come sorted by symbol, then message, then entry, part after part of one session. Ends of
//! lives come from the ledger. A checkpoint must equal the book rebuilt so far; where none could be rebuilt, it begins a
//! life.

use std::collections::{BTreeMap, HashMap, VecDeque};

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;

use krakpot_core::book::checksum::crc32;
use krakpot_core::book::level2::{Book, LifeOf, Outcome, Proved, Terms};
use krakpot_core::book::level3::{Modify, Orders};
use krakpot_core::decimal::Decimal;
use krakpot_core::limits::SCALE;
use krakpot_core::wire::message::{Entry, Kind, OrderEntry, OrderEvent, OrderId, Side};

/// Sentences kept per symbol.
const PROBLEMS_MAX: usize = 10;

/// What was found for one symbol.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The symbol.
    pub symbol: String,
    /// Messages of its book.
    pub messages: u64,
    /// With the right checksum.
    pub ok: u64,
    /// With another checksum, or crossed, or not to be held.
    pub bad: u64,
    /// Outside the life of a book, or without a checksum.
    pub unchecked: u64,
    /// Of the bad: those that the ledger does not know of.
    pub bad_unexplained: u64,
    /// Of the unchecked: those for which the ledger gives no reason.
    pub unchecked_unexplained: u64,
    /// Checkpoints that equal the rebuilt book, or begin one.
    pub checkpoints_ok: u64,
    /// Checkpoints that do not.
    pub checkpoints_bad: u64,
    /// What is wrong, in sentences; the first ten.
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

/// A kind of book as its rows tell it.
pub trait Told: Proved {
    /// Columns that only this kind has.
    type Columns;

    /// Finds them.
    ///
    /// # Errors
    /// A sentence, if a column is missing or of another type.
    fn columns(batch: &RecordBatch, checkpoint: bool) -> Result<Self::Columns, String>;

    /// What was learnt of the exchange by the time of a checkpoint.
    fn habit(columns: &Self::Columns, row: usize) -> Self::Habit;

    /// The entry of a row.
    fn entry(columns: &Self::Columns, row: usize, side: Side, price: Decimal, qty: Decimal) -> Option<Self::Entry<'_>>;

    /// The book of a checkpoint; `None` if its rows are no book.
    fn restored(terms: (u16, u8, u8), entries: &[Self::Entry<'_>]) -> Option<Self>;

    /// Whether both hold the same.
    fn same(&self, other: &Self) -> bool;
}

impl Told for Book {
    type Columns = ();

    fn columns(_: &RecordBatch, _: bool) -> Result<(), String> {
        Ok(())
    }

    fn habit((): &(), _: usize) {}

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
}

/// Columns of `orders` and `orders_checkpoints`.
pub struct OrderColumns {
    id: Text,
    timestamp: arrow_array::PrimitiveArray<TimestampNanosecondType>,
    /// Not of a checkpoint.
    event: Option<Text>,
    /// Of a checkpoint.
    rule: Option<Text>,
}

impl Told for Orders {
    type Columns = OrderColumns;

    fn columns(batch: &RecordBatch, checkpoint: bool) -> Result<OrderColumns, String> {
        Ok(OrderColumns {
            id: column(batch, "order_id", Text::of)?,
            timestamp: column(batch, "ts_order", |a| a.as_primitive_opt().cloned())?,
            event: (!checkpoint).then(|| column(batch, "event", Text::of)).transpose()?,
            rule: checkpoint.then(|| column(batch, "modify_rule", Text::of)).transpose()?,
        })
    }

    fn habit(columns: &OrderColumns, row: usize) -> Modify {
        columns.rule.as_ref().and_then(|rule| Modify::named(rule.get(row)?)).unwrap_or_default()
    }

    fn entry(columns: &OrderColumns, row: usize, side: Side, price: Decimal, qty: Decimal) -> Option<OrderEntry<'_>> {
        // The orders of a snapshot have no event: all of them are there now.
        let word = columns.event.as_ref().and_then(|event| event.get(row));
        let event = word.map_or(Some(OrderEvent::Add), OrderEvent::named)?;
        let id = OrderId::new(columns.id.get(row)?).ok()?;
        let timestamp = columns.timestamp.is_valid(row).then(|| columns.timestamp.value(row))?;
        Some(OrderEntry { side, event, id, price, qty, timestamp })
    }

    fn restored((depth, price_precision, qty_precision): (u16, u8, u8), entries: &[OrderEntry<'_>]) -> Option<Self> {
        let mut orders = Self::new(depth, price_precision, qty_precision);
        let held = orders.apply(entries, Modify::default()).is_ok() && orders.len() == entries.len();
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

/// A message that a verifier went through, for whoever looks on ([`Verifier::watch`]).
pub struct Seen<'a, B> {
    /// Its symbol.
    pub symbol: &'a str,
    /// Its number.
    pub message: u64,
    /// Its first row in the batch.
    pub row: usize,
    /// The row after its last one; the next message of the symbol begins there, if the symbol goes on.
    pub next: usize,
    /// Its rows that tell a level or an order.
    pub entries: usize,
    /// Whether it is a snapshot.
    pub snapshot: bool,
    /// The end of the life before, if one ended since the symbol's message before, or by this one.
    pub ended: Option<End>,
    /// The book after it, if its checksum proved it.
    pub book: Option<&'a mut B>,
}

/// The end of a life: the message after which, or by which, it ended, and the ledger's word for the reason.
pub type End = (u64, String);

/// A book as a checkpoint tells it.
struct Checkpoint<B: Told> {
    message: u64,
    /// Nothing, if its rows are no book.
    book: Option<B>,
    habit: B::Habit,
}

struct Symbol<B: Told> {
    found: Found,
    life: LifeOf<B>,
    /// Why the book is not alive, if the ledger says so.
    dead: Option<String>,
    /// Messages after which the ledger ends the life, with the reason.
    ends: VecDeque<(u64, String)>,
    checkpoints: VecDeque<Checkpoint<B>>,
    begun: bool,
    /// The end of a life that nobody was told of yet.
    ended: Option<End>,
}

/// Rebuilds the books of one kind of one session; see the module's page.
pub struct Verifier<B: Told> {
    session: String,
    shard: u32,
    shards: u32,
    symbols: BTreeMap<String, Symbol<B>>,
    /// Ends of all books: (message, reason), ascending.
    all_ends: Vec<(u64, String)>,
    symbol_ends: HashMap<String, Vec<(u64, String)>>,
    buffer: Vec<u8>,
}

/// Text columns as they come: Arrow has several layouts for them.
pub(crate) enum Text {
    View(arrow_array::StringViewArray),
    Large(arrow_array::LargeStringArray),
    Small(arrow_array::StringArray),
}

impl Text {
    pub(crate) fn of(array: &ArrayRef) -> Option<Self> {
        match array.data_type() {
            DataType::Utf8View => array.as_string_view_opt().cloned().map(Self::View),
            DataType::LargeUtf8 => array.as_string_opt().cloned().map(Self::Large),
            DataType::Utf8 => array.as_string_opt().cloned().map(Self::Small),
            _ => None,
        }
    }

    pub(crate) fn get(&self, row: usize) -> Option<&str> {
        match self {
            Self::View(a) => a.is_valid(row).then(|| a.value(row)),
            Self::Large(a) => a.is_valid(row).then(|| a.value(row)),
            Self::Small(a) => a.is_valid(row).then(|| a.value(row)),
        }
    }

    /// Whether two rows hold the same text, or none.
    fn same(&self, row: usize, other: usize) -> bool {
        // Views of the same text are equal as they are if it is short, as most is.
        matches!(self, Self::View(a) if a.null_count() == 0 && a.views()[row] == a.views()[other])
            || self.get(row) == self.get(other)
    }
}

pub(crate) fn column<'a, T>(
    batch: &'a RecordBatch,
    name: &str,
    read: impl Fn(&'a ArrayRef) -> Option<T>,
) -> Result<T, String> {
    let array = batch.column_by_name(name).ok_or_else(|| format!("the rows have no column {name}"))?;
    read(array).ok_or_else(|| format!("column {name} is {}, not what the table's schema says", array.data_type()))
}

/// The columns that the messages and checkpoints of both kinds of books share.
struct Levels<'a> {
    symbol: Text,
    message: &'a arrow_array::PrimitiveArray<UInt64Type>,
    side: Text,
    price: &'a arrow_array::PrimitiveArray<Decimal128Type>,
    qty: &'a arrow_array::PrimitiveArray<Decimal128Type>,
    depth: &'a arrow_array::PrimitiveArray<UInt16Type>,
    price_precision: &'a arrow_array::PrimitiveArray<UInt8Type>,
    qty_precision: &'a arrow_array::PrimitiveArray<UInt8Type>,
}

impl<'a> Levels<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, String> {
        let decimal = |array: &'a ArrayRef| {
            let scale = i8::try_from(SCALE).ok()?;
            matches!(array.data_type(), DataType::Decimal128(_, s) if *s == scale).then(|| array.as_primitive())
        };
        Ok(Self {
            symbol: column(batch, "symbol", Text::of)?,
            message: column(batch, "message", |a| a.as_primitive_opt())?,
            side: column(batch, "side", Text::of)?,
            price: column(batch, "price", decimal)?,
            qty: column(batch, "qty", decimal)?,
            depth: column(batch, "depth", |a| a.as_primitive_opt())?,
            price_precision: column(batch, "price_precision", |a| a.as_primitive_opt())?,
            qty_precision: column(batch, "qty_precision", |a| a.as_primitive_opt())?,
        })
    }

    // Else each entry goes through memory twice, which is a tenth of a proof.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "see above")]
    fn entry<'b, B: Told>(&self, own: &'b B::Columns, row: usize) -> Option<B::Entry<'b>> {
        let side = match self.side.get(row)? {
            "bid" => Side::Bid,
            "ask" => Side::Ask,
            _ => return None,
        };
        let number = |array: &arrow_array::PrimitiveArray<Decimal128Type>| {
            array.is_valid(row).then(|| Decimal { mantissa: array.value(row), scale: SCALE })
        };
        B::entry(own, row, side, number(self.price)?, number(self.qty)?)
    }

    fn terms(&self, row: usize) -> (u16, u8, u8) {
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

    /// Calls `each` with every message in the rows of a symbol: number, its rows. A frame may hold several messages of
    /// one symbol: then their `checksum` tells them apart.
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

impl<B: Told> Verifier<B> {
    /// For one session; takes only symbols whose CRC32 modulo `shards` is `shard`.
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

    /// The session.
    #[must_use]
    pub fn session(&self) -> &str {
        &self.session
    }

    /// Takes rows of the ledger that end lives: columns `symbol` (null: all books), `message`, `kind`.
    ///
    /// # Errors
    /// A sentence, if a column is missing or of another type.
    pub fn ends(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let symbol = column(batch, "symbol", Text::of)?;
        let kind = column(batch, "kind", Text::of)?;
        let message = column(batch, "message", |a| a.as_primitive_opt::<UInt64Type>())?;
        for row in 0..batch.num_rows() {
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
                life: LifeOf::default(),
                dead: None,
                ends: ends.into(),
                checkpoints: VecDeque::new(),
                begun: false,
                ended: None,
            }
        })
    }

    /// Takes rows of `checkpoints` or `orders_checkpoints`, sorted by symbol, message and entry.
    ///
    /// # Errors
    /// A sentence, if a column is missing or of another type.
    pub fn checkpoints(&mut self, batch: &RecordBatch) -> Result<(), String> {
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
                let (terms, habit) = (levels.terms(rows.start), B::habit(&own, rows.start));
                entries.clear();
                entries.extend(rows.filter_map(|row| levels.entry::<B>(&own, row)));
                symbol.checkpoints.push_back(Checkpoint { message, book: B::restored(terms, &entries), habit });
            });
        });
        Ok(())
    }

    /// Takes rows of `book` or `orders`, sorted by symbol, message and entry.
    ///
    /// # Errors
    /// A sentence, if a column is missing or of another type.
    pub fn messages(&mut self, batch: &RecordBatch) -> Result<(), String> {
        self.watch(batch, |_| ())
    }

    /// The same, and calls `each` with every message.
    ///
    /// # Errors
    /// A sentence, if a column is missing or of another type.
    pub fn watch(&mut self, batch: &RecordBatch, mut each: impl FnMut(Seen<'_, B>)) -> Result<(), String> {
        let levels = Levels::of(batch)?;
        let own = B::columns(batch, false)?;
        let kind = column(batch, "kind", Text::of)?;
        let checksum = column(batch, "checksum", |a| a.as_primitive_opt::<UInt32Type>())?;
        let Self { symbols, all_ends, symbol_ends, shard, shards, buffer, .. } = self;
        let mut entries = Vec::new();
        levels.symbols(batch.num_rows(), |name, rows| {
            if crc32(name.as_bytes()) % *shards != *shard {
                return;
            }
            let symbol = Self::symbol(symbols, all_ends, symbol_ends, name);
            levels.messages(rows, Some(checksum), |message, rows| {
                let (row, next) = (rows.start, rows.end);
                let (depth, price_precision, qty_precision) = levels.terms(row);
                let terms = Terms {
                    kind: if kind.get(row) == Some("snapshot") { Kind::Snapshot } else { Kind::Update },
                    checksum: checksum.is_valid(row).then(|| checksum.value(row)),
                    depth,
                    price_precision,
                    qty_precision,
                };
                entries.clear();
                for row in rows {
                    if let Some(entry) = levels.entry::<B>(&own, row) {
                        entries.push(entry);
                    }
                }
                let proved = symbol.message(message, &terms, &entries, buffer);
                let ended = symbol.ended.take();
                let book = if proved { symbol.life.book_mut() } else { None };
                let (entries, snapshot) = (entries.len(), terms.kind == Kind::Snapshot);
                each(Seen { symbol: name, message, row, next, entries, snapshot, ended, book });
            });
        });
        Ok(())
    }

    /// The book that a symbol has before `message` by what was taken so far, its checkpoint for example.
    pub fn before(&mut self, name: &str, message: u64) -> Option<&mut B> {
        let symbol = self.symbols.get_mut(name)?;
        symbol.until(message);
        symbol.life.book_mut()
    }

    /// Goes through what stands behind the last message; the lives that ended meanwhile, by symbol.
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

impl<B: Told> Symbol<B> {
    /// Applies the ends that the ledger puts before `message`.
    fn ends_before(&mut self, message: u64) {
        while self.ends.front().is_some_and(|(at, _)| *at < message) {
            if let Some((at, reason)) = self.ends.pop_front() {
                if self.life.book().is_some() {
                    self.ended.get_or_insert((at, reason.clone()));
                }
                self.life.end();
                self.dead = Some(reason);
            }
        }
    }

    /// Goes through what stands before `message`. Checkpoints first, each after the ends before it: an end behind a
    /// checkpoint must not be forgotten when that checkpoint begins a life.
    fn until(&mut self, message: u64) {
        self.checkpoints_until(message);
        self.ends_before(message);
    }

    /// Compares, or begins with, the checkpoints up to the one that stands before `message`.
    fn checkpoints_until(&mut self, message: u64) {
        while self.checkpoints.front().is_some_and(|checkpoint| checkpoint.message <= message) {
            let Some(checkpoint) = self.checkpoints.pop_front() else { return };
            self.ends_before(checkpoint.message);
            let live = self.life.book();
            let same = |book: &B| live.is_none_or(|live| live.same(book));
            if let Some(book) = checkpoint.book.filter(same) {
                self.found.checkpoints_ok += 1;
                if self.life.book().is_none() {
                    self.life.begin(book);
                    self.life.habit = checkpoint.habit;
                    self.dead = None;
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

    /// Whether the ledger names this very message as the one at which the life ended.
    fn named(&self, message: u64, kinds: &[&str]) -> bool {
        self.ends.iter().take_while(|(at, _)| *at == message).any(|(_, kind)| kinds.contains(&kind.as_str()))
    }

    /// A message that ended the life. What follows is unchecked for this reason, so it is said once.
    fn bad(&mut self, message: u64, kind: &str, what: String) {
        self.found.bad += 1;
        if !self.named(message, &[kind]) {
            self.found.bad_unexplained += 1;
            let name = self.found.symbol.clone();
            self.found.problem(|| format!("{name}: message {message}: {what}, and the ledger does not say so"));
        }
        self.dead = Some(what);
        self.ended.get_or_insert((message, kind.to_owned()));
    }

    /// Whether the message proved the book.
    fn message(&mut self, message: u64, terms: &Terms, entries: &[B::Entry<'_>], buffer: &mut Vec<u8>) -> bool {
        self.until(message);
        self.found.messages += 1;
        let begun = std::mem::replace(&mut self.begun, true);
        match self.life.apply(terms, entries, buffer) {
            Ok(Outcome::Ok) => {
                self.found.ok += 1;
                self.dead = None;
                return true;
            }
            Ok(Outcome::Unchecked) => {
                self.found.unchecked += 1;
                let explained =
                    self.dead.is_some() || terms.checksum.is_none() || self.named(message, &["gap", "missing"]);
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
                self.bad(message, "mismatch", format!("checksum {expected} expected, {computed} computed"));
            }
            Ok(Outcome::Crossed) => self.bad(message, "crossed", "the book is crossed".into()),
            Err(error) => self.bad(message, "decode_error", format!("the numbers cannot be held: {error}")),
        }
        false
    }
}
