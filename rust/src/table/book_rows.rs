//! Rows of book messages. Values of one level or order are appended to their columns at once. Values that all rows of a
//! message share are stored once and expanded when the rows are taken: of the 14 columns of a level, three are its own.

use crate::book::synced::BookMeta;
use crate::table::rows::{Bits, Column, Rows, Values, Views, view};
use crate::table::schema::Table;
use crate::wire::message::{Kind, OrderEntry, OrderEvent, Side};

/// The values that all rows of one message share.
#[derive(Debug, Clone, Copy)]
pub struct MessageRows {
    /// Number of the WebSocket message within its session.
    pub message: u64,
    /// Place within the message of its first row.
    pub entry: u32,
    /// Receive time, ns.
    pub ts_recv: i64,
    /// Time of the exchange, ns.
    pub ts_event: Option<i64>,
    /// The number of the symbol, as the caller counts them.
    pub symbol: usize,
    /// Kind, checksum, depth, precisions.
    pub meta: BookMeta,
    /// Rows, at least one: a message without entries is one row without side, price and quantity. A frame has at most
    /// 16 Mi of them.
    rows: u32,
}

impl MessageRows {
    /// A message that has no rows yet.
    #[must_use]
    pub fn new(
        (message, entry): (u64, u32),
        (ts_recv, ts_event): (i64, Option<i64>),
        symbol: usize,
        meta: BookMeta,
    ) -> Self {
        Self { message, entry, ts_recv, ts_event, symbol, meta, rows: 0 }
    }
}

/// The columns whose values differ within a message.
pub trait OwnColumns: Default {
    /// The table.
    const TABLE: Table;

    /// Adds the row of a message without entries.
    fn push_empty(&mut self);
    /// Rows.
    fn rows(&self) -> usize;
    /// The columns. No row is left.
    fn take(&mut self) -> Vec<Column>;
}

/// The values. The vector has room for as many again, because the next batch is about as long.
fn taken<T>(values: &mut Vec<T>) -> Vec<T> {
    let next = Vec::with_capacity(values.len());
    std::mem::replace(values, next)
}

fn words(views: Vec<u128>) -> Values {
    Values::Views(Views::from(views))
}

/// Columns of levels.
#[derive(Debug, Default)]
pub struct LevelColumns {
    sides: Vec<u128>,
    prices: Vec<i128>,
    qtys: Vec<i128>,
    /// Rows of messages without entries, ascending.
    empty: Vec<usize>,
}

impl LevelColumns {
    /// Adds a level, its numbers at scale 10.
    #[inline]
    pub fn push(&mut self, side: Side, price: i128, qty: i128) {
        const WORDS: [u128; 2] = [view(Side::Bid.word()), view(Side::Ask.word())];
        self.sides.push(WORDS[side as usize]);
        self.prices.push(price);
        self.qtys.push(qty);
    }

    /// Which rows have a level, if some have none.
    fn valid(&self) -> Option<Bits> {
        let has_level = |row| self.empty.binary_search(&row).is_err();
        (!self.empty.is_empty()).then(|| (0..self.rows()).map(has_level).collect())
    }
}

impl OwnColumns for LevelColumns {
    const TABLE: Table = Table::Book;

    fn push_empty(&mut self) {
        self.empty.push(self.sides.len());
        self.sides.push(0);
        self.prices.push(0);
        self.qtys.push(0);
    }

    fn rows(&self) -> usize {
        self.sides.len()
    }

    fn take(&mut self) -> Vec<Column> {
        let valid = [(); 3].map(|()| self.valid());
        self.empty.clear();
        let numbers = [&mut self.prices, &mut self.qtys].map(|numbers| Values::I128(taken(numbers)));
        let values = std::iter::once(words(taken(&mut self.sides))).chain(numbers);
        values.zip(valid).map(|(values, valid)| Column { values, valid }).collect()
    }
}

/// Columns of orders.
#[derive(Debug, Default)]
pub struct OrderColumns {
    levels: LevelColumns,
    events: Vec<Option<OrderEvent>>,
    ids: Views,
    times: Vec<i64>,
}

impl OrderColumns {
    /// Adds an order, its numbers at scale 10. In a snapshot it has no event.
    #[inline]
    pub fn push(&mut self, entry: &OrderEntry<'_>, kind: Kind, price: i128, qty: i128) {
        self.levels.push(entry.side, price, qty);
        self.events.push((kind == Kind::Update).then_some(entry.event));
        self.ids.push(entry.id.bytes(&mut [0; 19]));
        self.times.push(entry.timestamp);
    }
}

impl OwnColumns for OrderColumns {
    const TABLE: Table = Table::Orders;

    fn push_empty(&mut self) {
        self.levels.push_empty();
        self.events.push(None);
        self.ids.views.push(0);
        self.times.push(0);
    }

    fn rows(&self) -> usize {
        self.times.len()
    }

    fn take(&mut self) -> Vec<Column> {
        const WORDS: [u128; 3] =
            [view(OrderEvent::Add.word()), view(OrderEvent::Modify.word()), view(OrderEvent::Delete.word())];
        let all = self.events.iter().all(Option::is_some);
        let valid = (!all).then(|| self.events.iter().map(Option::is_some).collect());
        let events = self.events.drain(..).map(|event| event.map_or(0, |event| WORDS[event as usize])).collect();
        let events = Column { values: words(events), valid };
        let ids = Column { values: Values::Views(std::mem::take(&mut self.ids)), valid: self.levels.valid() };
        let times = Column { values: Values::I64(taken(&mut self.times)), valid: self.levels.valid() };
        let mut columns = self.levels.take();
        columns.splice(1..1, [events, ids]);
        columns.push(times);
        columns
    }
}

/// The words of [`Kind`].
const KINDS: [u128; 2] = [view(Kind::Snapshot.word()), view(Kind::Update.word())];

/// Rows of one of the two tables of books.
#[derive(Debug, Default)]
pub struct BookRows<C> {
    messages: Vec<MessageRows>,
    own: C,
}

impl<C: OwnColumns> BookRows<C> {
    /// Rows waiting to be taken.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.own.rows()
    }

    /// Adds the rows of a message. `push` adds its `entries`; a message without entries is one row. Returns the number of
    /// rows.
    #[inline]
    pub fn push(&mut self, message: MessageRows, entries: usize, push: impl FnOnce(&mut C)) -> usize {
        if entries == 0 {
            self.own.push_empty();
        }
        push(&mut self.own);
        let rows = entries.max(1);
        #[allow(clippy::cast_possible_truncation, reason = "at most 16 Mi, as a frame has")]
        self.messages.push(MessageRows { rows: rows as u32, ..message });
        rows
    }

    /// The rows since the last call, if there are any. `name` gives the name of a symbol, and its view if it is short.
    pub fn take<'a>(&mut self, name: impl Fn(usize) -> (&'a str, Option<u128>)) -> Option<Rows> {
        let len = self.own.rows();
        if len == 0 {
            return None;
        }
        let messages = &self.messages;
        // The message of each row, and its place there.
        let (mut of, mut entries) = (Vec::with_capacity(len), Vec::with_capacity(len));
        let mut symbols = Views::default();
        symbols.views.reserve(len);
        for (at, message) in messages.iter().enumerate() {
            for entry in message.entry..message.entry + message.rows {
                of.push(at);
                entries.push(entry);
            }
            let (name, view) = name(message.symbol);
            symbols.push_times(name, view, message.rows as usize);
        }
        let shared = Shared { messages, of: &of };
        let mut columns = vec![
            shared.column(Values::U64, |message| message.message),
            Column { values: Values::U32(entries), valid: None },
            shared.column(Values::I64, |message| message.ts_recv),
            shared.nullable(Values::I64, |message| message.ts_event),
            Column { values: Values::Views(symbols), valid: None },
            shared.column(words, |message| KINDS[message.meta.kind as usize]),
        ];
        columns.extend(self.own.take());
        columns.extend([
            shared.nullable(Values::U32, |message| message.meta.checksum),
            shared.column(Values::U16, |message| message.meta.depth),
            shared.column(Values::U8, |message| message.meta.price_precision),
            shared.column(Values::U8, |message| message.meta.qty_precision),
        ]);
        self.messages.clear();
        Some(Rows { table: C::TABLE, columns, len })
    }
}

/// Messages, to be expanded to their rows.
struct Shared<'a> {
    messages: &'a [MessageRows],
    /// The message of each row.
    of: &'a [usize],
}

impl Shared<'_> {
    fn expand<T>(&self, value: impl Fn(&MessageRows) -> T) -> impl Iterator<Item = T> {
        self.of.iter().map(move |&at| value(&self.messages[at]))
    }

    /// A column of a value that each message has.
    fn column<T>(&self, values: impl FnOnce(Vec<T>) -> Values, value: impl Fn(&MessageRows) -> T) -> Column {
        Column { values: values(self.expand(value).collect()), valid: None }
    }

    /// The same of a value that may be missing.
    fn nullable<T: Default>(
        &self,
        values: impl FnOnce(Vec<T>) -> Values,
        value: impl Fn(&MessageRows) -> Option<T>,
    ) -> Column {
        let all = self.messages.iter().all(|message| value(message).is_some());
        let valid = (!all).then(|| self.expand(|message| value(message).is_some()).collect());
        Column { valid, ..self.column(values, |message| value(message).unwrap_or_default()) }
    }
}
