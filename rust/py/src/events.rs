//! `Events`: what the frames of a socket read changed, message by message, for a strategy.
//!
//! Events are read from the rows that the session made of the frames: what is recorded and what a strategy is told are
//! the same. A message that nobody asked for becomes no object.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Decimal128Type, Int64Type, TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{Array, PrimitiveArray, RecordBatch, StringViewArray};
use krakpot_core::decimal::Decimal;
use krakpot_core::limits::SCALE;
use krakpot_core::session::{Channel, Counts};
use krakpot_core::table::schema::Table;
use krakpot_core::wire::message::{OHLC_NUMBERS, TICKER_NUMBERS};
use krakpot_lake::batch::batch;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyString;

use crate::error::{fault, poisoned, value_error};
use crate::numbers::{Numbers, decimal};
use crate::session::Session;

/// Columns of the rows of one table, by name.
#[derive(Clone)]
struct Columns(Arc<RecordBatch>);

impl Columns {
    fn array(&self, name: &str) -> PyResult<&dyn Array> {
        let array =
            self.0.column_by_name(name).ok_or_else(|| value_error(format!("the rows have no column {name}")))?;
        Ok(array.as_ref())
    }

    fn numbers<T: ArrowPrimitiveType>(&self, name: &str) -> PyResult<&PrimitiveArray<T>> {
        let wrong = || value_error(format!("column {name} is not what the table's schema says"));
        self.array(name)?.as_primitive_opt().ok_or_else(wrong)
    }

    fn text(&self, name: &str) -> PyResult<&StringViewArray> {
        let wrong = || value_error(format!("column {name} is not what the table's schema says"));
        self.array(name)?.as_string_view_opt().ok_or_else(wrong)
    }
}

fn present<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    array.is_valid(row).then(|| array.value(row))
}

/// A word that comes again and again: one object for all its uses.
fn word(py: Python<'_>, text: &str) -> Py<PyString> {
    PyString::intern(py, text).unbind()
}

/// A number of a table at the precision of its pair.
fn at_precision(value: i128, precision: u8) -> Decimal {
    let whole = Decimal { mantissa: value, scale: SCALE };
    // A number with more decimals than its pair has keeps them.
    whole.rescale(precision).map_or(whole, |mantissa| Decimal { mantissa, scale: precision })
}

/// A number without precision, with the decimals that it needs.
fn as_needed(py: Python<'_>, value: Option<i128>) -> PyResult<Option<Bound<'_, PyAny>>> {
    let number = |value| {
        let whole = Decimal { mantissa: value, scale: SCALE };
        decimal(py, at_precision(value, whole.needed()))
    };
    value.map(number).transpose()
}

/// A message of the book channel was applied, or was not the exchange's book.
#[pyclass(frozen, module = "krakpot._core")]
pub struct BookEvent {
    #[pyo3(get)]
    symbol: Py<PyString>,
    #[pyo3(get)]
    message: u64,
    #[pyo3(get)]
    ts_recv: i64,
    #[pyo3(get)]
    ts_event: Option<i64>,
    #[pyo3(get)]
    kind: Py<PyString>,
    #[pyo3(get)]
    checksum: Option<u32>,
    #[pyo3(get)]
    outcome: &'static str,
    columns: Columns,
    rows: Range<usize>,
}

#[pymethods]
impl BookEvent {
    #[classattr]
    #[pyo3(name = "channel")]
    const CHANNEL: &'static str = "book";

    #[pyo3(signature = (numbers = "decimal"))]
    fn entries<'py>(&self, py: Python<'py>, numbers: &str) -> PyResult<Vec<Entry<'py>>> {
        let numbers = Numbers::named(numbers)?;
        let side = self.columns.text("side")?;
        let price = self.columns.numbers::<Decimal128Type>("price")?;
        let qty = self.columns.numbers::<Decimal128Type>("qty")?;
        let precisions = [
            self.columns.numbers::<UInt8Type>("price_precision")?,
            self.columns.numbers::<UInt8Type>("qty_precision")?,
        ];
        let of = |value: Decimal| numbers.of(py, value.mantissa, value.scale);
        // A message without entries has one row, without a side.
        let rows = self.rows.clone().filter(|&row| side.is_valid(row));
        rows.map(|row| {
            let price = of(at_precision(price.value(row), precisions[0].value(row)))?;
            let qty = of(at_precision(qty.value(row), precisions[1].value(row)))?;
            Ok((word(py, side.value(row)), price, qty))
        })
        .collect()
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let Self { symbol, message, outcome, .. } = self;
        format!("BookEvent({}, message {message}, {}, {outcome})", symbol.bind(py), self.kind.bind(py))
    }
}

/// Side, price, quantity.
type Entry<'py> = (Py<PyString>, Bound<'py, PyAny>, Bound<'py, PyAny>);

/// A trade.
#[pyclass(frozen, module = "krakpot._core")]
pub struct TradeEvent {
    #[pyo3(get)]
    symbol: Py<PyString>,
    #[pyo3(get)]
    message: u64,
    #[pyo3(get)]
    ts_recv: i64,
    #[pyo3(get)]
    ts_event: Option<i64>,
    #[pyo3(get)]
    kind: Py<PyString>,
    #[pyo3(get)]
    side: Py<PyString>,
    #[pyo3(get)]
    ord_type: Py<PyString>,
    #[pyo3(get)]
    trade_id: i64,
    both: [Decimal; 2],
}

#[pymethods]
impl TradeEvent {
    #[classattr]
    #[pyo3(name = "channel")]
    const CHANNEL: &'static str = "trade";

    #[getter]
    fn price<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        decimal(py, self.both[0])
    }

    #[getter]
    fn qty<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        decimal(py, self.both[1])
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let [price, qty] = self.both;
        format!("TradeEvent({}, {} {qty} at {price})", self.symbol.bind(py), self.side.bind(py))
    }
}

/// Best prices and 24-hour statistics.
#[pyclass(frozen, module = "krakpot._core")]
pub struct TickerEvent {
    #[pyo3(get)]
    symbol: Py<PyString>,
    #[pyo3(get)]
    message: u64,
    #[pyo3(get)]
    ts_recv: i64,
    #[pyo3(get)]
    ts_event: Option<i64>,
    numbers: [Option<i128>; TICKER_NUMBERS.len()],
}

#[pymethods]
impl TickerEvent {
    #[classattr]
    #[pyo3(name = "channel")]
    const CHANNEL: &'static str = "ticker";

    #[getter]
    fn bid<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        as_needed(py, self.numbers[0])
    }

    #[getter]
    fn bid_qty<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        as_needed(py, self.numbers[1])
    }

    #[getter]
    fn ask<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        as_needed(py, self.numbers[2])
    }

    #[getter]
    fn ask_qty<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        as_needed(py, self.numbers[3])
    }

    #[getter]
    fn last<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        as_needed(py, self.numbers[4])
    }

    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<HashMap<&'static str, Option<Bound<'py, PyAny>>>> {
        let all = TICKER_NUMBERS.into_iter().zip(self.numbers).skip(5);
        all.map(|(name, value)| Ok((name, as_needed(py, value)?))).collect()
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!("TickerEvent({}, message {})", self.symbol.bind(py), self.message)
    }
}

/// A candle as it stands.
#[pyclass(frozen, module = "krakpot._core")]
pub struct OhlcEvent {
    #[pyo3(get)]
    symbol: Py<PyString>,
    #[pyo3(get)]
    message: u64,
    #[pyo3(get)]
    ts_recv: i64,
    #[pyo3(get)]
    ts_event: Option<i64>,
    #[pyo3(get)]
    interval: u16,
    #[pyo3(get)]
    interval_begin: i64,
    #[pyo3(get)]
    trades: Option<u64>,
    numbers: [Option<i128>; OHLC_NUMBERS.len()],
}

#[pymethods]
impl OhlcEvent {
    #[classattr]
    #[pyo3(name = "channel")]
    const CHANNEL: &'static str = "ohlc";

    fn candle<'py>(&self, py: Python<'py>) -> PyResult<HashMap<&'static str, Option<Bound<'py, PyAny>>>> {
        let all = OHLC_NUMBERS.into_iter().zip(self.numbers);
        all.map(|(name, value)| Ok((name, as_needed(py, value)?))).collect()
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!("OhlcEvent({}, message {})", self.symbol.bind(py), self.message)
    }
}

/// What the exchange says of itself.
#[pyclass(frozen, get_all, module = "krakpot._core")]
pub struct StatusEvent {
    message: u64,
    ts_recv: i64,
    system: Py<PyString>,
}

#[pymethods]
impl StatusEvent {
    #[classattr]
    #[pyo3(name = "channel")]
    const CHANNEL: &'static str = "status";

    fn __repr__(&self, py: Python<'_>) -> String {
        format!("StatusEvent({})", self.system.bind(py))
    }
}

/// A subscription stands otherwise than before.
#[pyclass(frozen, get_all, module = "krakpot._core")]
pub struct SubscriptionEvent {
    symbol: Py<PyString>,
    of: &'static str,
    state: &'static str,
    reason: &'static str,
    ts_recv: i64,
}

#[pymethods]
impl SubscriptionEvent {
    #[classattr]
    #[pyo3(name = "channel")]
    const CHANNEL: &'static str = "subscription";

    fn __repr__(&self, py: Python<'_>) -> String {
        let Self { symbol, of, state, reason, .. } = self;
        let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        format!("SubscriptionEvent({of} {}, {state}{why})", symbol.bind(py))
    }
}

/// How the books' messages of one frame came out.
struct Checked {
    message: u64,
    ok: u64,
    bad: u64,
    unchecked: u64,
}

impl Checked {
    /// What the frame `message` added to the counters.
    fn since(before: (u64, u64, u64), message: u64, counts: &Counts) -> Self {
        let (ok, bad, unchecked) = tally(counts);
        Self { message, ok: ok - before.0, bad: bad - before.1, unchecked: unchecked - before.2 }
    }
}

fn tally(counts: &Counts) -> (u64, u64, u64) {
    (counts.book.ok, counts.book.bad, counts.unchecked)
}

/// What happened within one call.
struct Read {
    checked: Vec<Checked>,
    tables: Vec<(Table, Columns)>,
    /// Channel, symbol, state and reason of the subscriptions that stand otherwise than before.
    changed: Vec<(Channel, String, &'static str, &'static str)>,
    now: i64,
}

/// Events with the place of their message, to be put in order.
type Placed<'py> = Vec<(u64, Bound<'py, PyAny>)>;

/// Makes events of what a session is told.
#[pyclass(frozen, module = "krakpot._core")]
pub struct Events {
    tables: [bool; Table::ALL.len()],
    subscriptions: bool,
    /// States as last told, by symbol and channel.
    known: Mutex<HashMap<String, [&'static str; Channel::ALL.len()]>>,
}

/// Channels of events and the tables that they are read from.
const CHANNELS: [(&str, Table); 5] = [
    ("book", Table::Book),
    ("trade", Table::Trades),
    ("ticker", Table::Ticker),
    ("ohlc", Table::Ohlc),
    ("status", Table::Status),
];
const SUBSCRIPTION: &str = "subscription";

#[pymethods]
#[allow(clippy::needless_pass_by_value, reason = "arguments are made from Python objects and belong to the call")]
impl Events {
    #[new]
    fn new(channels: Vec<String>) -> PyResult<Self> {
        let mut tables = [false; Table::ALL.len()];
        for name in &channels {
            match CHANNELS.iter().find(|(channel, _)| channel == name) {
                Some((_, table)) => tables[*table as usize] = true,
                None if name == SUBSCRIPTION => {}
                None => {
                    let names = CHANNELS.map(|(name, _)| name).join(", ");
                    let sentence = format!("no events of {name:?}; there are {names}, {SUBSCRIPTION}");
                    return Err(value_error(sentence));
                }
            }
        }
        let subscriptions = channels.iter().any(|name| name == SUBSCRIPTION);
        Ok(Self { tables, subscriptions, known: Mutex::new(HashMap::new()) })
    }

    /// The book's verdicts are known frame by frame, so the frames go to the session here.
    fn receive<'py>(
        &self,
        py: Python<'py>,
        session: &Bound<'py, Session>,
        frames: Vec<PyBackedBytes>,
        ts_recv: i64,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let shared = session.get();
        let read = py.detach(|| self.read(shared, &frames, ts_recv))?;
        let mut events: Placed<'py> = Vec::new();
        for (table, columns) in &read.tables {
            match table {
                Table::Book => books(py, shared, &read, columns, &mut events)?,
                Table::Trades => trades(py, columns, &mut events)?,
                Table::Ticker => tickers(py, columns, &mut events)?,
                Table::Ohlc => candles(py, columns, &mut events)?,
                Table::Status => statuses(py, columns, &mut events)?,
                // The ledger, which is here for the verdicts on books.
                _ => {}
            }
        }
        // Stable: events of one message stay in their order.
        events.sort_by_key(|(message, _)| *message);
        let mut events: Vec<_> = events.into_iter().map(|(_, event)| event).collect();
        for (channel, symbol, state, reason) in read.changed {
            let event =
                SubscriptionEvent { symbol: word(py, &symbol), of: channel.name(), state, reason, ts_recv: read.now };
            events.push(Bound::new(py, event)?.into_any());
        }
        Ok(events)
    }
}

impl Events {
    /// Lets the session take the frames; the rows of what is wanted.
    fn read(&self, session: &Session, frames: &[PyBackedBytes], ts_recv: i64) -> PyResult<Read> {
        let mut session = session.lock()?;
        let mut checked = Vec::with_capacity(frames.len());
        for frame in frames {
            let (message, before) = (session.counts().frames, tally(session.counts()));
            session.receive(frame, ts_recv);
            checked.push(Checked::since(before, message, session.counts()));
        }
        let id = session.id().to_owned();
        let mut tables = Vec::new();
        let mut ledger = false;
        for rows in session.drain() {
            let table = rows.table;
            ledger |= table == Table::Ledger;
            // The ledger says why a book is not what its checksum says.
            if self.tables[table as usize] || (table == Table::Ledger && self.tables[Table::Book as usize]) {
                let rows = batch(&id, rows).map_err(fault)?;
                tables.push((table, Columns(Arc::new(rows))));
            }
        }
        let mut changed = Vec::new();
        // Nothing changes but the ledger tells, or time passes.
        if self.subscriptions && (ledger || frames.is_empty()) {
            let mut known = self.known.lock().map_err(|_| poisoned())?;
            for (channel, symbol, state, reason) in session.subscriptions() {
                let told = match known.get_mut(symbol) {
                    Some(told) => told,
                    None => known.entry(symbol.to_owned()).or_default(),
                };
                if std::mem::replace(&mut told[channel as usize], state) != state {
                    changed.push((channel, symbol.to_owned(), state, reason));
                }
            }
        }
        Ok(Read { checked, tables, changed, now: session.now() })
    }
}

/// Whether the ledger's rows of a read say that a book was wrong, and how.
fn verdict(read: &Read, session: &Session, message: u64, symbol: &str) -> PyResult<&'static str> {
    let checked = read.checked.iter().find(|checked| checked.message == message);
    let Some(Checked { ok, bad, unchecked, .. }) = checked else { return Ok("unchecked") };
    if *bad == 0 && *unchecked == 0 {
        return Ok("ok");
    }
    for (_, columns) in read.tables.iter().filter(|(table, _)| *table == Table::Ledger) {
        let (kinds, symbols) = (columns.text("kind")?, columns.text("symbol")?);
        let messages = columns.numbers::<UInt64Type>("message")?;
        for row in 0..kinds.len() {
            if present(messages, row) == Some(message) && symbols.is_valid(row) && symbols.value(row) == symbol {
                match kinds.value(row) {
                    "mismatch" => return Ok("mismatch"),
                    "crossed" => return Ok("crossed"),
                    _ => {}
                }
            }
        }
    }
    // A frame of several books, of which some were wrong: Kraken sends none.
    let live = *ok > 0 && session.lock()?.book(symbol).is_some();
    Ok(if live { "ok" } else { "unchecked" })
}

fn books<'py>(
    py: Python<'py>,
    session: &Session,
    read: &Read,
    columns: &Columns,
    events: &mut Placed<'py>,
) -> PyResult<()> {
    let (symbols, kinds) = (columns.text("symbol")?, columns.text("kind")?);
    let messages = columns.numbers::<UInt64Type>("message")?;
    let received = columns.numbers::<TimestampNanosecondType>("ts_recv")?;
    let times = columns.numbers::<TimestampNanosecondType>("ts_event")?;
    let checksums = columns.numbers::<UInt32Type>("checksum")?;
    let rows = columns.0.num_rows();
    let mut from = 0;
    while from < rows {
        let (message, symbol) = (messages.value(from), symbols.value(from));
        let same = |row: &usize| messages.value(*row) == message && symbols.value(*row) == symbol;
        let to = from + (from..rows).take_while(same).count();
        let event = BookEvent {
            symbol: word(py, symbol),
            message,
            ts_recv: received.value(from),
            ts_event: present(times, from),
            kind: word(py, kinds.value(from)),
            checksum: present(checksums, from),
            outcome: verdict(read, session, message, symbol)?,
            columns: columns.clone(),
            rows: from..to,
        };
        events.push((message, Bound::new(py, event)?.into_any()));
        from = to;
    }
    Ok(())
}

fn trades<'py>(py: Python<'py>, columns: &Columns, events: &mut Placed<'py>) -> PyResult<()> {
    let [symbols, kinds, sides, types] = ["symbol", "kind", "side", "ord_type"].map(|name| columns.text(name));
    let (symbols, kinds, sides, types) = (symbols?, kinds?, sides?, types?);
    let messages = columns.numbers::<UInt64Type>("message")?;
    let received = columns.numbers::<TimestampNanosecondType>("ts_recv")?;
    let times = columns.numbers::<TimestampNanosecondType>("ts_event")?;
    let ids = columns.numbers::<Int64Type>("trade_id")?;
    let numbers = [columns.numbers::<Decimal128Type>("price")?, columns.numbers::<Decimal128Type>("qty")?];
    let precisions = [columns.numbers::<UInt8Type>("price_precision")?, columns.numbers::<UInt8Type>("qty_precision")?];
    for row in 0..columns.0.num_rows() {
        let at = |i: usize| at_precision(numbers[i].value(row), present(precisions[i], row).unwrap_or(SCALE));
        let event = TradeEvent {
            symbol: word(py, symbols.value(row)),
            message: messages.value(row),
            ts_recv: received.value(row),
            ts_event: present(times, row),
            kind: word(py, kinds.value(row)),
            side: word(py, sides.value(row)),
            ord_type: word(py, types.value(row)),
            trade_id: ids.value(row),
            both: [at(0), at(1)],
        };
        events.push((messages.value(row), Bound::new(py, event)?.into_any()));
    }
    Ok(())
}

/// The number columns of a row.
fn all_numbers<const N: usize>(columns: &Columns, names: [&str; N], row: usize) -> PyResult<[Option<i128>; N]> {
    let mut numbers = [None; N];
    for (number, name) in numbers.iter_mut().zip(names) {
        *number = present(columns.numbers::<Decimal128Type>(name)?, row);
    }
    Ok(numbers)
}

fn tickers<'py>(py: Python<'py>, columns: &Columns, events: &mut Placed<'py>) -> PyResult<()> {
    let symbols = columns.text("symbol")?;
    let messages = columns.numbers::<UInt64Type>("message")?;
    let received = columns.numbers::<TimestampNanosecondType>("ts_recv")?;
    let times = columns.numbers::<TimestampNanosecondType>("ts_event")?;
    for row in 0..columns.0.num_rows() {
        let event = TickerEvent {
            symbol: word(py, symbols.value(row)),
            message: messages.value(row),
            ts_recv: received.value(row),
            ts_event: present(times, row),
            numbers: all_numbers(columns, TICKER_NUMBERS, row)?,
        };
        events.push((messages.value(row), Bound::new(py, event)?.into_any()));
    }
    Ok(())
}

fn candles<'py>(py: Python<'py>, columns: &Columns, events: &mut Placed<'py>) -> PyResult<()> {
    let symbols = columns.text("symbol")?;
    let messages = columns.numbers::<UInt64Type>("message")?;
    let received = columns.numbers::<TimestampNanosecondType>("ts_recv")?;
    let times = columns.numbers::<TimestampNanosecondType>("ts_event")?;
    let intervals = columns.numbers::<UInt16Type>("interval")?;
    let begins = columns.numbers::<TimestampNanosecondType>("interval_begin")?;
    let counts = columns.numbers::<UInt64Type>("trades")?;
    for row in 0..columns.0.num_rows() {
        let event = OhlcEvent {
            symbol: word(py, symbols.value(row)),
            message: messages.value(row),
            ts_recv: received.value(row),
            ts_event: present(times, row),
            interval: intervals.value(row),
            interval_begin: begins.value(row),
            trades: present(counts, row),
            numbers: all_numbers(columns, OHLC_NUMBERS, row)?,
        };
        events.push((messages.value(row), Bound::new(py, event)?.into_any()));
    }
    Ok(())
}

fn statuses<'py>(py: Python<'py>, columns: &Columns, events: &mut Placed<'py>) -> PyResult<()> {
    let systems = columns.text("system")?;
    let messages = columns.numbers::<UInt64Type>("message")?;
    let received = columns.numbers::<TimestampNanosecondType>("ts_recv")?;
    for row in 0..columns.0.num_rows() {
        let message = messages.value(row);
        let event = StatusEvent { message, ts_recv: received.value(row), system: word(py, systems.value(row)) };
        events.push((message, Bound::new(py, event)?.into_any()));
    }
    Ok(())
}
