//! The queues of one symbol, rebuilt from the rows of one session and verified by [`crate::rebuild`]: every order at a
//! time, the path of one order, and all that happens at one price.
//!
//! The level-2 book is read the same way: each of its levels counts as one order without an id and a time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow_array::builder::StringViewBuilder;
use arrow_array::types::{Decimal128Type, TimestampNanosecondType};
use arrow_array::{Array, ArrayRef, PrimitiveArray, RecordBatch, UInt32Array, UInt64Array};
use arrow_schema::DataType;

use krakpot_core::book::level2::Book;
use krakpot_core::book::level3::{Found, Orders};
use krakpot_core::book::synced::Levels;
use krakpot_core::decimal::pow10;
use krakpot_core::limits::{DEPTH_MAX, DIGITS_MAX, SCALE};
use krakpot_core::wire::message::{OrderId, Side};

use crate::columns::{TextColumn, column};
use crate::held::{ABSENT, UNCHECKED};
use crate::rebuild::{FromRows, Rebuild, Verifier};

/// What is read of the queues. Prices have the scale of the columns.
#[derive(Debug, Clone)]
pub enum Watch {
    /// Every order of the book at a time.
    Orders {
        /// The time, ns.
        at: i64,
        /// Levels on each side.
        depth: usize,
    },
    /// One order: its place after each message that changed it or its level.
    Order {
        /// Its id.
        id: String,
    },
    /// The orders at one price, and those of the other side that an order at this price would meet: all of them at a
    /// time, then what each message changed.
    Level {
        /// Side.
        side: Side,
        /// Price.
        price: i128,
        /// The time, ns.
        at: i64,
    },
}

/// A book whose orders can be read one by one.
pub trait Queues: FromRows + Levels {
    /// Calls `each` with id, quantity and time of the orders at a price, in the order in which they are filled.
    fn each_order(&self, side: Side, price: i128, each: impl FnMut(&str, i128, Option<i64>));

    /// The same of the best `depth` levels of a side, best first, with the price.
    fn each_of_best(&self, side: Side, depth: usize, each: impl FnMut(i128, &str, i128, Option<i64>));

    /// An order by its id, and what is before it in its queue.
    fn found(&self, id: &str) -> Option<Found>;

    /// Kraken's checksum of the book.
    fn own_checksum(&mut self, buffer: &mut Vec<u8>) -> u32;

    /// Levels kept on each side.
    fn window(&self) -> usize;

    /// The worst price of a side, and how many levels the side has.
    fn worst(&self, side: Side) -> Option<(i128, usize)>;
}

impl Queues for Book {
    fn each_order(&self, side: Side, price: i128, mut each: impl FnMut(&str, i128, Option<i64>)) {
        self.each_level(side, usize::MAX, |at, qty| {
            if at == price {
                each("", qty, None);
            }
        });
    }

    fn each_of_best(&self, side: Side, depth: usize, mut each: impl FnMut(i128, &str, i128, Option<i64>)) {
        self.each_level(side, depth, |price, qty| each(price, "", qty, None));
    }

    fn found(&self, _: &str) -> Option<Found> {
        None
    }

    fn own_checksum(&mut self, _: &mut Vec<u8>) -> u32 {
        self.checksum()
    }

    fn window(&self) -> usize {
        self.depth().into()
    }

    fn worst(&self, side: Side) -> Option<(i128, usize)> {
        let (mut worst, mut count) = (None, 0);
        self.each_level(side, usize::MAX, |price, _| (worst, count) = (Some(price), count + 1));
        worst.map(|price| (price, count))
    }
}

impl Queues for Orders {
    fn each_order(&self, side: Side, price: i128, mut each: impl FnMut(&str, i128, Option<i64>)) {
        for (id, qty, timestamp) in self.queue(side, price) {
            each(id.text(&mut [0; 19]), qty, Some(timestamp));
        }
    }

    fn each_of_best(&self, side: Side, depth: usize, mut each: impl FnMut(i128, &str, i128, Option<i64>)) {
        for (price, ..) in self.levels(side).take(depth) {
            self.each_order(side, price, |id, qty, timestamp| each(price, id, qty, timestamp));
        }
    }

    fn found(&self, id: &str) -> Option<Found> {
        self.find(OrderId::new(id).ok()?)
    }

    fn own_checksum(&mut self, buffer: &mut Vec<u8>) -> u32 {
        self.checksum(buffer)
    }

    fn window(&self) -> usize {
        self.depth().into()
    }

    fn worst(&self, side: Side) -> Option<(i128, usize)> {
        self.worst(side)
    }
}

/// One row of the result. Numbers have the scale of the columns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Row {
    message: Option<u64>,
    recv: Option<i64>,
    event: Option<i64>,
    what: &'static str,
    reason: Option<String>,
    side: Option<Side>,
    price: Option<i128>,
    id: Option<String>,
    order: Option<i64>,
    before: Option<i128>,
    qty: Option<i128>,
    place: Option<u32>,
    ahead: Option<i128>,
    behind: Option<i128>,
    level: Option<u32>,
}

impl Row {
    /// A row of a message.
    fn of((message, recv, event): Place) -> Self {
        Self { message: Some(message), recv: Some(recv), event, ..Self::default() }
    }

    /// Whether an order and its queue are as in another row.
    fn same_place(&self, other: &Self) -> bool {
        let facts = |row: &Self| (row.side, row.price, row.qty, row.place, row.ahead, row.behind);
        facts(self) == facts(other)
    }

    /// The order that the row is of.
    fn held(&self) -> Option<Held> {
        let (side, price, qty, id) = (self.side?, self.price?, self.qty?, self.id.clone()?);
        Some(Held { side, price, id, order: self.order, qty })
    }
}

/// An order of a queue that is remembered. Two orders are the same if side, price, id and time are.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    side: Side,
    price: i128,
    id: String,
    order: Option<i64>,
    qty: i128,
}

impl Held {
    /// Orders of the same key are the same one in the same place.
    fn key(&self) -> (bool, i128, Option<i64>, &str) {
        (self.side == Side::Ask, self.price, self.order, &self.id)
    }
}

/// Number, receive time and exchange's time of a message.
type Place = (u64, i64, Option<i64>);

/// The columns of a batch that are read beside those of the verifier.
struct Columns<'a> {
    message: &'a PrimitiveArray<arrow_array::types::UInt64Type>,
    recv: &'a PrimitiveArray<TimestampNanosecondType>,
    event: &'a PrimitiveArray<TimestampNanosecondType>,
    side: TextColumn,
    price: &'a PrimitiveArray<Decimal128Type>,
    /// Of level 3.
    what: Option<TextColumn>,
    id: Option<TextColumn>,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, String> {
        let optional = |name| batch.column_by_name(name).and_then(TextColumn::of);
        Ok(Self {
            message: column(batch, "message", |array| array.as_any().downcast_ref())?,
            recv: column(batch, "ts_recv", |array| array.as_any().downcast_ref())?,
            event: column(batch, "ts_event", |array| array.as_any().downcast_ref())?,
            side: column(batch, "side", TextColumn::of)?,
            price: column(batch, "price", |array| array.as_any().downcast_ref())?,
            what: optional("event"),
            id: optional("order_id"),
        })
    }

    fn place(&self, row: usize) -> Place {
        let event = self.event.is_valid(row).then(|| self.event.value(row));
        (self.message.value(row), self.recv.value(row), event)
    }

    fn time(&self, row: usize, event: bool) -> i64 {
        let (_, recv, sent) = self.place(row);
        sent.filter(|_| event).unwrap_or(recv)
    }

    /// What the entries of these rows say of an order: one deletes it, one modifies it, one gives it another price.
    fn said(&self, rows: std::ops::Range<usize>, one: &Held) -> (bool, bool, bool) {
        let (mut deleted, mut modified, mut moved) = (false, false, false);
        if let (Some(ids), Some(what)) = (&self.id, &self.what) {
            for row in rows.filter(|row| ids.get(*row) == Some(&one.id)) {
                deleted |= what.get(row) == Some("delete");
                modified |= what.get(row) == Some("modify");
                moved |= self.price.value(row) != one.price || self.side.get(row) != Some(one.side.word());
            }
        }
        (deleted, modified, moved)
    }

    /// Whether a row of a message may change the level of an order at this price, or bring one that it would meet.
    fn touches(&self, mut rows: std::ops::Range<usize>, side: Side, price: i128) -> bool {
        rows.any(|row| {
            // An order of this side may move the window, and one that is modified may leave its price.
            self.side.get(row) != Some(opposite(side).word())
                || self.what.as_ref().is_some_and(|what| what.get(row) == Some("modify"))
                || reaches(side, price, self.price.value(row))
        })
    }
}

/// What is remembered between two messages, and the rows so far.
struct State {
    watch: Watch,
    event: bool,
    rows: Vec<Row>,
    /// The orders after the last message; of a level.
    held: Vec<Held>,
    /// Whether a level lies inside the window, and the place of the order, after the last message.
    shown: bool,
    last: Option<Row>,
    /// Why there is no book; `None` if there is one.
    reason: Option<String>,
    /// Whether a level's rows have begun.
    begun: bool,
    checksum: Option<u32>,
    precision: Option<(u8, u8)>,
    buffer: Vec<u8>,
}

/// Factors from the precision of a book to the scale of the columns, of prices and quantities.
fn factors<B: Queues>(book: &B) -> (i128, i128) {
    let (price, qty) = book.precision();
    (pow10(SCALE.saturating_sub(price)), pow10(SCALE.saturating_sub(qty)))
}

/// Whether `price` of `side` is at or better than `other`.
fn reaches(side: Side, price: i128, other: i128) -> bool {
    match side {
        Side::Bid => price >= other,
        Side::Ask => price <= other,
    }
}

fn opposite(side: Side) -> Side {
    match side {
        Side::Bid => Side::Ask,
        Side::Ask => Side::Bid,
    }
}

/// Whether a price is in the window of its side.
fn inside<B: Queues>(book: &B, side: Side, price: i128) -> bool {
    let by = factors(book).0;
    book.worst(side).is_none_or(|(worst, count)| count < book.window() || reaches(side, price, worst * by))
}

/// The orders at a price, and those of the other side that it reaches, best first; whether the price is in the window.
fn level<B: Queues>(book: &B, side: Side, price: i128, held: &mut Vec<Held>) -> bool {
    let (price_by, qty_by) = factors(book);
    held.clear();
    let mut take = |side, at: i128, id: &str, qty: i128, order| {
        held.push(Held { side, price: at * price_by, id: id.to_owned(), order, qty: qty * qty_by });
    };
    if price % price_by == 0 {
        let at = price / price_by;
        book.each_order(side, at, |id, qty, order| take(side, at, id, qty, order));
    }
    // Most often the best level of the other side is out of reach.
    let (other, mut best, mut met) = (opposite(side), None, 0);
    book.each_level(other, 1, |at, _| best = Some(at));
    if best.is_some_and(|at| reaches(side, price, at * price_by)) {
        book.each_level(other, usize::MAX, |at, _| met += usize::from(reaches(side, price, at * price_by)));
        book.each_of_best(other, met, |at, id, qty, order| take(other, at, id, qty, order));
    }
    inside(book, side, price)
}

impl State {
    /// The book after a message, or of a checkpoint: every order of its best levels.
    fn take_orders<B: Queues>(&mut self, book: &mut B, depth: usize) {
        self.rows.clear();
        let (price_by, qty_by) = factors(book);
        self.checksum = Some(book.own_checksum(&mut self.buffer));
        for side in [Side::Bid, Side::Ask] {
            let (mut level, mut place, mut ahead, mut last) = (0, 0, 0, None);
            book.each_of_best(side, depth, |price, id, qty, order| {
                if last.replace(price).is_some_and(|last| last != price) {
                    (level, place, ahead) = (level + 1, 0, 0);
                }
                let (price, qty) = (price * price_by, qty * qty_by);
                self.rows.push(Row {
                    side: Some(side),
                    price: Some(price),
                    id: Some(id.to_owned()),
                    order,
                    qty: Some(qty),
                    place: Some(place),
                    ahead: Some(ahead),
                    level: Some(level),
                    ..Row::default()
                });
                place += 1;
                ahead += qty;
            });
        }
    }

    /// The book that is known before the first message.
    fn begin<B: Queues>(&mut self, book: &mut B) {
        (self.reason, self.precision) = (None, Some(book.precision()));
        match self.watch.clone() {
            Watch::Orders { depth, .. } => self.take_orders(book, depth),
            Watch::Order { id } => self.last = order_row(book, &id, (0, 0, None)),
            Watch::Level { side, price, .. } => self.shown = level(book, side, price, &mut self.held),
        }
    }

    /// There is no book from a message on.
    fn none(&mut self, reason: String, at: Place) {
        let row = Row { reason: Some(reason.clone()), ..Row::of(at) };
        match &self.watch {
            Watch::Orders { .. } => {
                self.rows.clear();
                self.checksum = None;
            }
            Watch::Order { .. } => {
                if self.last.take().is_some() {
                    self.rows.push(Row { what: "end", ..row });
                }
            }
            Watch::Level { .. } => {
                if self.begun && self.reason.is_none() {
                    self.rows.push(Row { what: "end", ..row });
                }
                self.held.clear();
            }
        }
        self.reason = Some(reason);
    }

    /// The first rows of a level: what is there at the time.
    fn there(&mut self) {
        self.begun = true;
        if let Some(reason) = &self.reason {
            self.rows.push(Row { what: "end", reason: Some(reason.clone()), ..Row::default() });
            return;
        }
        self.rows.push(Row { what: if self.shown { "shown" } else { "hidden" }, ..Row::default() });
        let there = |one: &Held| Row { message: None, recv: None, ..change("there", one, 0, one.qty, (0, 0, None)) };
        self.rows.extend(self.held.iter().map(there));
    }

    /// What a message changed at a level, whose orders are in `book` after it.
    fn changed<B: Queues>(&mut self, book: &B, at: Place, columns: &Columns<'_>, rows: std::ops::Range<usize>) {
        let Watch::Level { side, price, .. } = self.watch else { return };
        let mut now = Vec::new();
        let shown = level(book, side, price, &mut now);
        let before = std::mem::replace(&mut self.held, now);
        let here: HashSet<_> = self.held.iter().map(Held::key).collect();
        let old: HashMap<_, _> = before.iter().map(|one| (one.key(), one.qty)).collect();
        let mut requeued = Vec::new();
        for one in before.iter().filter(|one| !here.contains(&one.key())) {
            let (deleted, modified, moved) = columns.said(rows.clone(), one);
            let what = if columns.id.is_none() {
                if inside(book, one.side, one.price) { "delete" } else { "left" }
            } else if deleted {
                "delete"
            } else if !modified {
                "left"
            } else if moved {
                "moved"
            } else if let Some(place) = self.held.iter().position(|other| other.id == one.id) {
                // By the other rule of `modify` it has another time now, and another place.
                requeued.push((place, one.qty));
                continue;
            } else {
                "delete"
            };
            self.rows.push(change(what, one, one.qty, 0, at));
        }
        for (place, one) in self.held.iter().enumerate() {
            let again = requeued.iter().find(|other| other.0 == place).map(|other| other.1);
            match again.or_else(|| old.get(&one.key()).copied()) {
                None => self.rows.push(change("add", one, 0, one.qty, at)),
                Some(old) if old != one.qty || again.is_some() => {
                    self.rows.push(change("modify", one, old, one.qty, at));
                }
                Some(_) => (),
            }
        }
        if shown != self.shown {
            self.rows.push(Row { what: if shown { "shown" } else { "hidden" }, ..Row::of(at) });
            self.shown = shown;
        }
    }
}

/// A row of an order of a level.
fn change(what: &'static str, one: &Held, before: i128, qty: i128, at: Place) -> Row {
    Row {
        what,
        side: Some(one.side),
        price: Some(one.price),
        id: Some(one.id.clone()),
        order: one.order,
        before: Some(before),
        qty: Some(qty),
        ..Row::of(at)
    }
}

/// The place of one order, if it is in the book.
fn order_row<B: Queues>(book: &B, id: &str, at: Place) -> Option<Row> {
    let found = book.found(id)?;
    let (price_by, qty_by) = factors(book);
    let mut all = 0;
    book.each_order(found.side, found.price, |_, qty, _| all += qty);
    Some(Row {
        what: "there",
        side: Some(found.side),
        price: Some(found.price * price_by),
        id: Some(id.to_owned()),
        order: Some(found.timestamp),
        qty: Some(found.qty * qty_by),
        place: u32::try_from(found.orders_ahead).ok(),
        ahead: Some(found.qty_ahead * qty_by),
        behind: Some((all - found.qty_ahead - found.qty) * qty_by),
        ..Row::of(at)
    })
}

/// Reads the queues of one symbol in one session.
pub struct QueueReader<B: Queues> {
    verifier: Verifier<B>,
    state: State,
}

impl<B: Queues> QueueReader<B> {
    /// A reader for one session. `event`: times are the exchange's; otherwise receive times.
    #[must_use]
    pub fn new(session: &str, watch: Watch, event: bool) -> Self {
        let state = State {
            watch,
            event,
            rows: Vec::new(),
            held: Vec::new(),
            shown: false,
            last: None,
            reason: Some(ABSENT.into()),
            begun: false,
            checksum: None,
            precision: None,
            buffer: Vec::new(),
        };
        Self { verifier: Verifier::new(session, 0, 1), state }
    }

    /// Takes the book of the checkpoint before `message` as the book at the beginning.
    pub fn begin(&mut self, symbol: &str, message: u64) {
        if let Some(book) = self.verifier.before(symbol, message) {
            self.state.begin(book);
        }
    }

    /// Why there is no book after the last message; `None` if there is one.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.state.reason.as_deref()
    }

    /// Kraken's checksum of the book whose orders were read.
    #[must_use]
    pub fn checksum(&self) -> Option<u32> {
        self.state.checksum
    }

    /// Decimals of the prices and quantities of the last book.
    #[must_use]
    pub fn precision(&self) -> Option<(u8, u8)> {
        self.state.precision
    }

    /// Takes the rows so far. `last`: no message will follow, so that a level has its first rows in any case.
    ///
    /// # Errors
    /// Never for rows of this reader; a sentence would name a mistake of this crate.
    pub fn take(&mut self, last: bool) -> Result<RecordBatch, String> {
        if last && !self.state.begun && matches!(self.state.watch, Watch::Level { .. }) {
            self.state.there();
        }
        frame(&std::mem::take(&mut self.state.rows))
    }
}

impl<B: Queues> Rebuild for QueueReader<B> {
    fn ends(&mut self, rows: &RecordBatch) -> Result<(), String> {
        self.verifier.ends(rows)
    }

    fn checkpoints(&mut self, rows: &RecordBatch) -> Result<(), String> {
        self.verifier.checkpoints(rows)
    }

    /// Rows of one symbol. The columns `ts_recv` and `ts_event` are needed too. A message without a time of the exchange
    /// counts by its receive time.
    fn messages(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let columns = Columns::of(batch)?;
        let Self { verifier, state } = self;
        let total = batch.num_rows();
        verifier.watch(batch, |applied| {
            let at = columns.place(applied.row);
            let (time, event) = (columns.time(applied.row, state.event), state.event);
            // The book is needed after this message only if the next one is later than the time asked for.
            let due = |asked: i64| applied.next == total || columns.time(applied.next, event) > asked;
            let watch = state.watch.clone();
            match watch {
                Watch::Level { at: asked, .. } if time > asked && !state.begun => state.there(),
                Watch::Orders { at: asked, .. } if time > asked => return,
                _ => (),
            }
            let Some(book) = applied.book else {
                match applied.ended {
                    Some((_, reason)) => state.none(reason, at),
                    None if state.reason.is_none() => state.none(UNCHECKED.into(), at),
                    None => (),
                }
                return;
            };
            if let Some((_, reason)) = applied.ended {
                // It ended, and this message, a snapshot, is the next book.
                state.none(reason, at);
            }
            (state.reason, state.precision) = (None, Some(book.precision()));
            match watch {
                Watch::Orders { at: asked, depth } => {
                    if due(asked) {
                        state.take_orders(book, depth.min(DEPTH_MAX.into()));
                    }
                }
                Watch::Order { id } => {
                    let now = order_row(book, &id, at);
                    let rows = applied.row..applied.next;
                    match (&state.last, &now) {
                        (None, Some(row)) => state.rows.push(row.clone()),
                        (Some(last), Some(row)) if !last.same_place(row) => state.rows.push(row.clone()),
                        (Some(last), None) => {
                            let deleted = last.held().is_some_and(|one| {
                                let (deleted, modified, _) = columns.said(rows, &one);
                                deleted || modified
                            });
                            let what = if deleted { "delete" } else { "left" };
                            state.rows.push(Row { what, ..Row::of(at) });
                        }
                        _ => (),
                    }
                    state.last = now;
                }
                Watch::Level { side, price, at: asked } => {
                    let rows = applied.row..applied.next;
                    if state.begun {
                        if applied.snapshot || columns.touches(rows.clone(), side, price) {
                            state.changed(book, at, &columns, rows);
                        }
                    } else if due(asked) {
                        state.shown = level(book, side, price, &mut state.held);
                    }
                }
            }
        })
    }
}

/// The rows as columns.
fn frame(rows: &[Row]) -> Result<RecordBatch, String> {
    let text = |get: &dyn Fn(&Row) -> Option<&str>| -> ArrayRef {
        let mut found = StringViewBuilder::with_capacity(rows.len());
        for row in rows {
            found.append_option(get(row));
        }
        Arc::new(found.finish())
    };
    let time = |get: &dyn Fn(&Row) -> Option<i64>| -> ArrayRef {
        let values = rows.iter().map(get).collect::<PrimitiveArray<TimestampNanosecondType>>();
        Arc::new(values.with_timezone("UTC"))
    };
    // 38 and 10: both fit.
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "38 and 10")]
    let number = |get: &dyn Fn(&Row) -> Option<i128>| -> ArrayRef {
        let values = rows.iter().map(get).collect::<PrimitiveArray<Decimal128Type>>();
        Arc::new(values.with_data_type(DataType::Decimal128(DIGITS_MAX as u8, SCALE as i8)))
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("message", Arc::new(rows.iter().map(|row| row.message).collect::<UInt64Array>())),
        ("ts_recv", time(&|row| row.recv)),
        ("ts_event", time(&|row| row.event)),
        ("what", text(&|row| Some(row.what))),
        ("reason", text(&|row| row.reason.as_deref())),
        ("side", text(&|row| row.side.map(Side::word))),
        ("price", number(&|row| row.price)),
        ("order_id", text(&|row| row.id.as_deref())),
        ("ts_order", time(&|row| row.order)),
        ("before", number(&|row| row.before)),
        ("qty", number(&|row| row.qty)),
        ("place", Arc::new(rows.iter().map(|row| row.place).collect::<UInt32Array>())),
        ("ahead", number(&|row| row.ahead)),
        ("behind", number(&|row| row.behind)),
        ("level", Arc::new(rows.iter().map(|row| row.level).collect::<UInt32Array>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
        .map_err(|error| error.to_string())
}
