//! Rows of one session of a lake, given back to a [`Session`] in their order: every table, message by message.
//!
//! Rows come in windows of messages. What lies in a window is put in order when it is made, which another thread may do;
//! then [`Window::step`] applies what came together, message after message.

use std::collections::HashMap;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int64Type, TimestampNanosecondType, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{Array, PrimitiveArray, RecordBatch};

use krakpot_core::book::level2::Book;
use krakpot_core::book::level3::Orders;
use krakpot_core::book::synced::BookMeta;
use krakpot_core::decimal::Decimal;
use krakpot_core::limits::SCALE;
use krakpot_core::session::{LedgerRow, Recorded, Session};
use krakpot_core::table::ledger::LedgerKind;
use krakpot_core::table::schema::Table;
use krakpot_core::wire::message::{
    BookData, Data, Entries, Entry, Items, Kind, Message, OHLC_NUMBERS, Ohlc, ShortEntry, Status, TICKER_NUMBERS,
    Ticker, Trade,
};

use crate::columns::{TextColumn, column, decimals};
use crate::rebuild::{FromRows, Levels, ShortOrders};

type Times = PrimitiveArray<TimestampNanosecondType>;
type Decimals = PrimitiveArray<Decimal128Type>;

/// Rows of orders that are read together.
const AHEAD: usize = 256;

/// Which time orders the messages of different sessions and channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The receive time: as they came.
    Recv,
    /// The time of the exchange. Messages of one symbol and channel keep their order.
    Event,
}

/// The columns that all tables have.
struct Common {
    message: PrimitiveArray<UInt64Type>,
    ts_recv: Times,
    ts_event: Times,
    symbol: TextColumn,
}

impl Common {
    fn of(batch: &RecordBatch) -> Result<Self, String> {
        Ok(Self {
            message: column(batch, "message", |a| a.as_primitive_opt().cloned())?,
            ts_recv: column(batch, "ts_recv", |a| a.as_primitive_opt().cloned())?,
            ts_event: column(batch, "ts_event", |a| a.as_primitive_opt().cloned())?,
            symbol: column(batch, "symbol", TextColumn::of)?,
        })
    }

    fn event(&self, row: usize) -> Option<i64> {
        self.ts_event.is_valid(row).then(|| self.ts_event.value(row))
    }
}

/// Rows of messages of one kind of book.
struct BookMessages<B: FromRows> {
    kind: TextColumn,
    checksum: PrimitiveArray<UInt32Type>,
    levels: Levels,
    own: B::Columns,
}

impl<B: FromRows> BookMessages<B> {
    fn of(batch: &RecordBatch) -> Result<Self, String> {
        Ok(Self {
            kind: column(batch, "kind", TextColumn::of)?,
            checksum: column(batch, "checksum", |a| a.as_primitive_opt().cloned())?,
            levels: Levels::of(batch)?,
            own: B::columns(batch, false)?,
        })
    }

    fn meta(&self, row: usize) -> BookMeta {
        let (depth, price_precision, qty_precision) = self.levels.meta(row);
        BookMeta {
            kind: kind_of(&self.kind, row),
            checksum: self.checksum.is_valid(row).then(|| self.checksum.value(row)),
            depth,
            price_precision,
            qty_precision,
        }
    }
}

struct TradeRows {
    kind: TextColumn,
    side: TextColumn,
    price: Decimals,
    qty: Decimals,
    ord_type: TextColumn,
    trade_id: PrimitiveArray<Int64Type>,
    precisions: [PrimitiveArray<arrow_array::types::UInt8Type>; 2],
}

struct LedgerRows {
    kind: TextColumn,
    channel: TextColumn,
    ts_from: Times,
    ts_to: Times,
    count: PrimitiveArray<UInt64Type>,
    detail: TextColumn,
}

/// The rows of a table, as columns.
#[allow(clippy::large_enum_variant, reason = "a window has one for each table")]
enum Columns {
    Book(BookMessages<Book>),
    Orders(BookMessages<Orders>, ShortOrders),
    Trades(TradeRows),
    Ticker(TextColumn, Vec<Decimals>),
    Ohlc(TextColumn, PrimitiveArray<UInt16Type>, Times, PrimitiveArray<UInt64Type>, Vec<Decimals>),
    Status(TextColumn),
    Checkpoints(Levels, <Book as FromRows>::Columns),
    OrdersCheckpoints(Levels, <Orders as FromRows>::Columns),
    Ledger(LedgerRows),
}

/// The rows of one table in a window.
struct TableRows {
    table: Table,
    common: Common,
    columns: Columns,
}

#[inline]
fn kind_of(kind: &TextColumn, row: usize) -> Kind {
    if kind.is(row, "snapshot") { Kind::Snapshot } else { Kind::Update }
}

impl TableRows {
    fn of(table: Table, batch: &RecordBatch) -> Result<Self, String> {
        let text = |name| column(batch, name, TextColumn::of);
        let times = |name| column(batch, name, |a| a.as_primitive_opt().cloned());
        let count = |name| column(batch, name, |a| a.as_primitive_opt().cloned());
        let numbers = |names: &[&'static str]| -> Result<Vec<Decimals>, String> {
            names.iter().map(|name| column(batch, name, decimals)).collect()
        };
        let columns = match table {
            Table::Book => Columns::Book(BookMessages::of(batch)?),
            Table::Orders => Columns::Orders(BookMessages::of(batch)?, ShortOrders::default()),
            Table::Trades => {
                let precision = |name| column(batch, name, |a| a.as_primitive_opt().cloned());
                Columns::Trades(TradeRows {
                    kind: text("kind")?,
                    side: text("side")?,
                    price: column(batch, "price", decimals)?,
                    qty: column(batch, "qty", decimals)?,
                    ord_type: text("ord_type")?,
                    trade_id: column(batch, "trade_id", |a| a.as_primitive_opt().cloned())?,
                    precisions: [precision("price_precision")?, precision("qty_precision")?],
                })
            }
            Table::Ticker => Columns::Ticker(text("kind")?, numbers(&TICKER_NUMBERS)?),
            Table::Ohlc => Columns::Ohlc(
                text("kind")?,
                column(batch, "interval", |a| a.as_primitive_opt().cloned())?,
                times("interval_begin")?,
                count("trades")?,
                numbers(&OHLC_NUMBERS)?,
            ),
            Table::Status => Columns::Status(text("system")?),
            Table::Checkpoints => Columns::Checkpoints(Levels::of(batch)?, Book::columns(batch, true)?),
            Table::OrdersCheckpoints => Columns::OrdersCheckpoints(Levels::of(batch)?, Orders::columns(batch, true)?),
            Table::Ledger => Columns::Ledger(LedgerRows {
                kind: text("kind")?,
                channel: text("channel")?,
                ts_from: times("ts_from")?,
                ts_to: times("ts_to")?,
                count: count("count")?,
                detail: text("detail")?,
            }),
            Table::Pairs | Table::Assets | Table::Frames => {
                return Err(format!("the table {} is not replayed", table.name()));
            }
        };
        Ok(Self { table, common: Common::of(batch)?, columns })
    }

    /// Its place among rows of the same message: a checkpoint is the book before it, the ledger tells what it led to.
    const fn rank(&self) -> u8 {
        match self.columns {
            Columns::Checkpoints(..) | Columns::OrdersCheckpoints(..) => 0,
            Columns::Ledger(_) => 2,
            _ => 1,
        }
    }

    /// Whether two rows that follow each other belong to one message of one symbol. If a frame holds several messages of
    /// one book, their `checksum` separates them.
    fn together(&self, row: usize, next: usize) -> bool {
        let Common { message, symbol, .. } = &self.common;
        if message.value(row) != message.value(next) || message.is_null(next) || !symbol.same(row, next) {
            return false;
        }
        let checksum = match &self.columns {
            Columns::Book(book) => &book.checksum,
            Columns::Orders(orders, _) => &orders.checksum,
            Columns::Checkpoints(..) | Columns::OrdersCheckpoints(..) => return true,
            _ => return false,
        };
        (checksum.is_valid(row), checksum.value(row)) == (checksum.is_valid(next), checksum.value(next))
    }
}

/// Rows of one message.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// The time that orders it among the sessions.
    key: i64,
    message: u64,
    ts_recv: i64,
    rank: u8,
    table: u8,
    from: u32,
    to: u32,
}

/// Scratch memory.
#[derive(Default)]
struct Buffers {
    short: Vec<ShortEntry>,
    levels: Vec<Entry>,
}

/// What a step brought, besides events of the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// The connection was established.
    Up {
        /// When, ns.
        ts_recv: i64,
    },
    /// It was lost.
    Down {
        /// When, ns.
        ts_recv: i64,
        /// The facts of the ledger, JSON.
        detail: String,
    },
}

/// The times that windows have reached, so that those which follow them go on there.
#[derive(Debug, Clone)]
pub struct Keys {
    /// The last time, and the least that is allowed for all symbols.
    last: i64,
    floor: i64,
    /// In the exchange's order: the last time of each table and symbol, and the least that is allowed for a symbol.
    symbols: HashMap<(u8, String), i64>,
    floors: HashMap<String, i64>,
}

impl Default for Keys {
    fn default() -> Self {
        Self { last: i64::MIN, floor: i64::MIN, symbols: HashMap::new(), floors: HashMap::new() }
    }
}

impl Keys {
    /// No time from now on is less than `floor`.
    pub fn raise(&mut self, floor: i64) {
        self.last = self.last.max(floor);
        self.floor = self.floor.max(floor);
    }
}

/// Rows of some messages of one session, in order.
pub struct Window {
    tables: Vec<TableRows>,
    runs: Vec<Run>,
    next: usize,
    order: Order,
    buffers: Buffers,
}

impl Window {
    /// Puts rows in order. Each table is sorted by message and entry. `keys` is what the window before left.
    ///
    /// # Errors
    /// A sentence, if a column is missing or of another type.
    pub fn new(tables: &[(Table, RecordBatch)], order: Order, keys: &mut Keys) -> Result<Self, String> {
        let mut all = Vec::with_capacity(tables.len());
        let mut runs = Vec::new();
        for (place, (table, batch)) in (0..).zip(tables) {
            let rows = TableRows::of(*table, batch)?;
            let count = batch.num_rows();
            let mut from = 0;
            while from < count {
                let mut to = from + 1;
                while to < count && rows.together(from, to) {
                    to += 1;
                }
                // Rows of the ledger without a message come before all.
                let valid = rows.common.message.is_valid(from);
                let (message, rank) = if valid { (rows.common.message.value(from), rows.rank()) } else { (0, 0) };
                let ts_recv = rows.common.ts_recv.value(from);
                let key = match order {
                    Order::Recv => ts_recv,
                    Order::Event => rows.common.event(from).unwrap_or(i64::MIN),
                };
                let place_of = |row: usize| u32::try_from(row).map_err(|_| "too many rows in a window".to_owned());
                let (first, last) = (place_of(from)?, place_of(to)?);
                runs.push(Run { key, message, ts_recv, rank, table: place, from: first, to: last });
                from = to;
            }
            all.push(rows);
        }
        // Stable: a table's rows keep their order. The tables are sorted runs, which this sort merges.
        runs.sort_by_key(|run| (run.message, run.rank));
        match order {
            // A clock may step back; the order of messages counts.
            Order::Recv => {
                for run in &mut runs {
                    keys.last = keys.last.max(run.key);
                    run.key = keys.last;
                }
            }
            Order::Event => {
                by_event(&mut runs, &all, keys);
                runs.sort_by_key(|run| run.key);
            }
        }
        Ok(Self { tables: all, runs, next: 0, order, buffers: Buffers::default() })
    }

    /// The time of what comes next; `None` at the end.
    #[must_use]
    pub fn peek(&self) -> Option<i64> {
        self.runs.get(self.next).map(|run| run.key)
    }

    /// The last time in it.
    #[must_use]
    pub fn last(&self) -> Option<i64> {
        self.runs.last().map(|run| run.key)
    }

    /// Lets the session take what came with one read of the socket; in the exchange's order one message. `connecting` says
    /// whether its connection is being made: its first message says that there is one.
    ///
    /// # Errors
    /// A sentence about a row that cannot be.
    pub fn step(&mut self, session: &mut Session, connecting: &mut bool) -> Result<Option<Connection>, String> {
        let Self { tables, runs, next, order, buffers } = self;
        let Some(first) = runs.get(*next).copied() else { return Ok(None) };
        let mut connection = None;
        while let Some(run) = runs.get(*next).copied() {
            if run.ts_recv != first.ts_recv || (*order == Order::Event && run.key != first.key) {
                break;
            }
            let rows = &mut tables[usize::from(run.table)];
            if *connecting && rows.rank() == 1 {
                *connecting = false;
                return Ok(Some(Connection::Up { ts_recv: run.ts_recv }));
            }
            *next += 1;
            match apply(rows, run, *order, session, buffers)? {
                Some(LedgerKind::Connect) => *connecting = true,
                Some(LedgerKind::Disconnect) => {
                    let Columns::Ledger(ledger) = &rows.columns else { continue };
                    let detail = ledger.detail.get(run.from as usize).unwrap_or_default().into();
                    connection = Some(Connection::Down { ts_recv: run.ts_recv, detail });
                    break;
                }
                _ => {}
            }
        }
        Ok(connection)
    }
}

/// Keys of the exchange's time: those of one symbol and table never step back. What has no such time, as the rows of the
/// ledger, stays between what it follows and what comes after it of its symbol, or of all.
fn by_event(runs: &mut [Run], tables: &[TableRows], keys: &mut Keys) {
    for run in runs {
        let rows = &tables[usize::from(run.table)];
        let row = run.from as usize;
        let name = rows.common.symbol.get(row).unwrap_or_default();
        if run.key == i64::MIN {
            // Before the first time of the exchange there is only the receive time.
            run.key = if keys.last == i64::MIN { run.ts_recv } else { keys.last };
            if name.is_empty() {
                keys.floor = keys.last;
            } else {
                keys.floors.insert(name.to_owned(), keys.last);
            }
            continue;
        }
        let floor = keys.floors.get(name).copied().unwrap_or(keys.floor).max(keys.floor);
        let known = keys.symbols.entry((rows.table as u8, name.to_owned())).or_insert(floor);
        *known = (*known).max(run.key).max(floor);
        run.key = *known;
        keys.last = keys.last.max(run.key);
    }
}

fn apply(
    rows: &mut TableRows,
    run: Run,
    order: Order,
    session: &mut Session,
    buffers: &mut Buffers,
) -> Result<Option<LedgerKind>, String> {
    let TableRows { common, columns, .. } = rows;
    let (row, range) = (run.from as usize, run.from as usize..run.to as usize);
    let at = Recorded { message: run.message, ts_recv: run.ts_recv };
    let symbol = || common.symbol.get(row).unwrap_or_default();
    match columns {
        Columns::Book(book) => {
            let meta = book.meta(row);
            let data = |entries| BookData {
                symbol: symbol().as_bytes(),
                entries: 0..entries,
                checksum: meta.checksum,
                timestamp: common.event(row),
            };
            if let Some(levels) = book.levels.short(range.clone(), &meta, &mut buffers.short)
                && session.replay_levels(at, &meta, &data(levels.len()), levels)
            {
                return Ok(None);
            }
            buffers.levels.clear();
            buffers.levels.extend(range.filter_map(|row| book.levels.entry::<Book>(&book.own, row)));
            let message = Message::Book(meta.kind, Data::One((0, data(buffers.levels.len()))));
            let entries = Entries { levels: &buffers.levels, orders: &[] };
            session.replay(at, Some(&meta), &message, entries);
        }
        Columns::Orders(book, read) => {
            // In the exchange's order, messages of several symbols do not come row by row.
            let until = if order == Order::Recv { common.message.len().min(row + AHEAD) } else { range.end };
            apply_orders(common, book, (range.clone(), until.max(range.end)), at, session, read);
        }
        Columns::Trades(trades) => {
            let number = |column: &Decimals| Decimal { mantissa: column.value(row), scale: SCALE };
            let trade = Trade {
                symbol: symbol(),
                side: trades.side.get(row).unwrap_or_default(),
                price: number(&trades.price),
                qty: number(&trades.qty),
                ord_type: trades.ord_type.get(row).unwrap_or_default(),
                trade_id: trades.trade_id.value(row),
                timestamp: common.event(row).unwrap_or(run.ts_recv),
            };
            let [price, qty] = &trades.precisions;
            let kind = kind_of(&trades.kind, row);
            let meta = (price.is_valid(row) && qty.is_valid(row)).then(|| BookMeta {
                kind,
                checksum: None,
                depth: 0,
                price_precision: price.value(row),
                qty_precision: qty.value(row),
            });
            session.replay(at, meta.as_ref(), &Message::Trade(kind, one(trade)), Entries::default());
        }
        Columns::Ticker(kind, numbers) => {
            let mut ticker = Ticker { symbol: symbol(), timestamp: common.event(row), ..Ticker::default() };
            fill(&mut ticker.numbers, numbers, row);
            session.replay(at, None, &Message::Ticker(kind_of(kind, row), one(ticker)), Entries::default());
        }
        Columns::Ohlc(kind, interval, interval_begin, trades, numbers) => {
            let mut ohlc = Ohlc {
                symbol: symbol(),
                interval: interval.value(row),
                interval_begin: interval_begin.value(row),
                trades: trades.is_valid(row).then(|| trades.value(row)),
                ..Ohlc::default()
            };
            fill(&mut ohlc.numbers, numbers, row);
            let message = Message::Ohlc(kind_of(kind, row), common.event(row), one(ohlc));
            session.replay(at, None, &message, Entries::default());
        }
        Columns::Status(system) => {
            let status = Status { system: system.get(row).unwrap_or_default(), ..Status::default() };
            session.replay(at, None, &Message::Status(one(status)), Entries::default());
        }
        Columns::Checkpoints(levels, own) => {
            // Most books are in sync, and need none.
            if session.book(symbol()).is_none() {
                let entries: Vec<_> = range.filter_map(|row| levels.entry::<Book>(own, row)).collect();
                if let Some(book) = Book::restored(levels.meta(row), &entries) {
                    session.replay_checkpoint(symbol(), book, run.ts_recv);
                }
            }
        }
        Columns::OrdersCheckpoints(levels, own) => {
            if session.orders(symbol()).is_none() {
                let entries: Vec<_> = range.filter_map(|row| levels.entry::<Orders>(own, row)).collect();
                if let Some(orders) = Orders::restored(levels.meta(row), &entries) {
                    session.replay_orders_checkpoint(symbol(), orders, Orders::rule(own, row), run.ts_recv);
                }
            }
        }
        Columns::Ledger(ledger) => return ledger_row(common, ledger, row, session).map(Some),
    }
    Ok(None)
}

/// A message of level 3.
fn apply_orders(
    common: &Common,
    book: &BookMessages<Orders>,
    (rows, until): (std::ops::Range<usize>, usize),
    at: Recorded,
    session: &mut Session,
    read: &mut ShortOrders,
) {
    let row = rows.start;
    let meta = book.meta(row);
    let data = |entries| BookData {
        symbol: common.symbol.get(row).unwrap_or_default().as_bytes(),
        entries: 0..entries,
        checksum: meta.checksum,
        timestamp: common.event(row),
    };
    if let Some(orders) = book.levels.short_orders(&book.own, rows.clone(), until, &meta, read)
        && session.replay_orders(at, &meta, &data(orders.len()), orders)
    {
        return;
    }
    let orders: Vec<_> = rows.filter_map(|row| book.levels.entry::<Orders>(&book.own, row)).collect();
    let message = Message::Level3(meta.kind, Data::One((0, data(orders.len()))));
    session.replay(at, Some(&meta), &message, Entries { levels: &[], orders: &orders });
}

fn ledger_row(common: &Common, ledger: &LedgerRows, row: usize, session: &mut Session) -> Result<LedgerKind, String> {
    let name = ledger.kind.get(row).unwrap_or_default();
    let kind = LedgerKind::named(name).ok_or_else(|| format!("the ledger has a row of the unknown kind {name:?}"))?;
    let ts_recv = common.ts_recv.value(row);
    let time = |column: &Times| column.is_valid(row).then(|| column.value(row));
    session.replay_ledger(&LedgerRow {
        kind,
        channel: ledger.channel.get(row).map(Into::into),
        symbol: common.symbol.get(row).map(Into::into),
        ts_recv,
        ts_from: time(&ledger.ts_from),
        ts_to: time(&ledger.ts_to),
        count: ledger.count.is_valid(row).then(|| ledger.count.value(row)),
        detail: ledger.detail.get(row).map(Into::into),
    });
    Ok(kind)
}

fn one<T>(item: T) -> Items<T> {
    Items { taken: vec![(0, item)], ..Items::default() }
}

fn fill<const N: usize>(numbers: &mut [Option<Decimal>; N], columns: &[Decimals], row: usize) {
    for (number, column) in numbers.iter_mut().zip(columns) {
        *number = column.is_valid(row).then(|| Decimal { mantissa: column.value(row), scale: SCALE });
    }
}
