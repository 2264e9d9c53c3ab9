//! `Session`: the protocol state of one connection.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use krakpot_core::book::level3;
use krakpot_core::decimal::Decimal;
use krakpot_core::limits;
use krakpot_core::session::{self, Channel, ChannelSymbols, LedgerRow, Options};
use krakpot_core::table::ledger::LedgerKind;
use krakpot_core::table::schema::Table;
use krakpot_core::wire::message::{OrderId, Side};
use krakpot_lake::batch::batch;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyFloat};

use crate::arrow::Batch;
use crate::book::Book;
use crate::error::{fault, poisoned, value_error};
use crate::numbers::{Numbers, level_count};
use crate::orders::Orders;

/// What Kraken lets an account subscribe of level 3, shared by its sessions.
#[pyclass(frozen, module = "krakpot._core")]
pub struct Budget(Mutex<session::Budget>);

#[pymethods]
impl Budget {
    #[new]
    #[pyo3(signature = (*, rate = limits::LEVEL3_RATE, resync_share = 0.1), text_signature = "(*, rate=200, resync_share=0.1)")]
    fn new(rate: u32, resync_share: f64) -> PyResult<Self> {
        if rate == 0 || !(0.0..=1.0).contains(&resync_share) {
            return Err(value_error(format!("rate {rate} is to be above 0, resync_share {resync_share} from 0 to 1")));
        }
        Ok(Self(Mutex::new(session::Budget::new(rate, resync_share))))
    }
}

/// Protocol state of one connection: frames and times in; rows, events and requests out.
// A mutex, since the recorder's threads may hold the object; each call takes it whole.
#[pyclass(frozen, module = "krakpot._core")]
pub struct Session(Mutex<session::Session>);

impl Session {
    /// Wraps a session of the core.
    pub const fn of(session: session::Session) -> Self {
        Self(Mutex::new(session))
    }

    /// The session; an error, if an earlier call failed.
    pub fn lock(&self) -> PyResult<MutexGuard<'_, session::Session>> {
        self.0.lock().map_err(|_| poisoned())
    }

    /// What `read` finds in a level-3 book that is in sync. Python's objects are made of it when the lock is gone, as in
    /// [`Self::top`].
    fn with_orders<T>(&self, symbol: &str, read: impl FnOnce(&level3::Orders) -> T) -> PyResult<Option<T>> {
        Ok(self.lock()?.orders(symbol).and_then(|synced| synced.book()).map(read))
    }

    /// Precisions, best bid and best ask of a book that is in sync. Python's objects are made of them when the lock is gone: to
    /// make one may run the collector, and with it code that asks for the session again.
    fn top(&self, symbol: &str) -> PyResult<Option<Top>> {
        let session = self.lock()?;
        let first = |book: &krakpot_core::book::level2::Book, side| {
            let mut best = None;
            book.each_level(side, 1, |price, qty| best = Some((price, qty)));
            best
        };
        Ok(session.book(symbol).map(|book| (book.precision(), first(book, Side::Bid), first(book, Side::Ask))))
    }
}

/// Price and quantity of the best levels: bid, then ask.
type Best<'py> = (Cell<'py>, Cell<'py>, Cell<'py>, Cell<'py>);
/// Spread and middle.
type Middle<'py> = (Cell<'py>, Cell<'py>);
type Cell<'py> = Option<Bound<'py, PyAny>>;
/// Price and quantity as integers, where there is one.
type Level = Option<(i128, i128)>;
/// Precisions, best bid, best ask.
type Top = ((u8, u8), Level, Level);
/// Prices, quantities and numbers of orders, best first.
type OrderLevels<'py> = Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>, u32)>;
/// Ids, quantities and times of orders, the first to be filled first.
type Queue<'py> = Vec<(String, Bound<'py, PyAny>, i64)>;
/// Prices and quantities, best first.
type Levels<'py> = Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)>;

fn symbol_list(names: Vec<String>) -> PyResult<Vec<String>> {
    match names.iter().find(|name| name.is_empty() || name.len() > limits::SYMBOL_LENGTH_MAX) {
        Some(name) => Err(value_error(format!(
            "{name:?} is no symbol pattern: 1 to {} bytes, as BTC/USD or BTC/*",
            limits::SYMBOL_LENGTH_MAX
        ))),
        None => Ok(names),
    }
}

fn side_named(side: &str) -> PyResult<Side> {
    match side {
        "bid" => Ok(Side::Bid),
        "ask" => Ok(Side::Ask),
        _ => Err(value_error(format!("no side {side:?}; sides: bid, ask"))),
    }
}

pub fn channel_named(name: &str) -> PyResult<Channel> {
    let names = || Channel::ALL.map(Channel::name).join(", ");
    Channel::named(name).ok_or_else(|| value_error(format!("no channel {name:?}; channels: {}", names())))
}

fn channel_patterns(patterns: Option<HashMap<String, Vec<String>>>) -> PyResult<ChannelSymbols> {
    let patterns = patterns.unwrap_or_default().into_iter();
    patterns.map(|(name, symbols)| Ok((channel_named(&name)?, symbol_list(symbols)?))).collect()
}

#[pymethods]
#[allow(clippy::needless_pass_by_value, reason = "arguments are made from Python objects and belong to the call")]
impl Session {
    #[new]
    #[pyo3(signature = (
        session, *, channels = vec!["book".into(), "trade".into(), "ticker".into()], symbols = vec!["*".into()],
        exclude = vec![], depth = None, level3_depth = None, interval = 1, precision = None, frames = false,
        tokenised = false, instrument = true, passive = false, after = None, channel_symbols = None, rows = true,
        ledger = true
    ), text_signature = "(session, *, channels=('book', 'trade', 'ticker'), symbols=['*'], exclude=(), depth=None, \
        level3_depth=None, interval=1, precision=None, frames=False, tokenised=False, instrument=True, passive=False, \
        after=None, channel_symbols=None, rows=True, ledger=True)")]
    // The text is what Python shows: PyO3 cannot write a list as a default, nor Python's inspect read a tuple of one. The
    // stub is checked against it.
    #[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools, reason = "keyword arguments in Python")]
    fn new(
        session: &str,
        channels: Vec<String>,
        symbols: Vec<String>,
        exclude: Vec<String>,
        depth: Option<u16>,
        level3_depth: Option<u16>,
        interval: u16,
        precision: Option<HashMap<String, (u8, u8)>>,
        frames: bool,
        tokenised: bool,
        instrument: bool,
        passive: bool,
        after: Option<&Bound<'_, Self>>,
        channel_symbols: Option<HashMap<String, Vec<String>>>,
        rows: bool,
        ledger: bool,
    ) -> PyResult<Self> {
        if let Some(depth) = depth.filter(|depth| !limits::DEPTHS.contains(depth)) {
            return Err(value_error(format!("depth {depth} is not offered; depths: {:?}", limits::DEPTHS)));
        }
        if let Some(depth) = level3_depth.filter(|depth| !limits::LEVEL3_DEPTHS.contains(depth)) {
            return Err(value_error(format!(
                "level-3 depth {depth} is not offered; depths: {:?}",
                limits::LEVEL3_DEPTHS
            )));
        }
        if !limits::INTERVALS.contains(&interval) {
            return Err(value_error(format!("interval {interval} is not offered; intervals: {:?}", limits::INTERVALS)));
        }
        let precision = precision.unwrap_or_default();
        if let Some((symbol, (price, qty))) = precision.iter().find(|(_, p)| p.0.max(p.1) > limits::SCALE) {
            return Err(value_error(format!("{symbol}: precision {price},{qty} is beyond {} decimals", limits::SCALE)));
        }
        let options = Options {
            channels: channels.iter().map(|name| channel_named(name)).collect::<PyResult<_>>()?,
            symbols: symbol_list(symbols)?,
            exclude: symbol_list(exclude)?,
            channel_symbols: channel_patterns(channel_symbols)?,
            depth,
            level3_depth,
            interval,
            precision,
            frames,
            tokenised,
            instrument,
            passive,
            rows,
            ledger,
        };
        let session = match after {
            Some(before) => session::Session::after(session, options, &*before.get().lock()?),
            None => session::Session::new(session, options),
        };
        Ok(Self(Mutex::new(session)))
    }

    #[getter]
    fn id(&self) -> PyResult<String> {
        Ok(self.lock()?.id().to_owned())
    }

    #[getter]
    fn now(&self) -> PyResult<i64> {
        Ok(self.lock()?.now())
    }

    #[getter]
    fn last_received(&self) -> PyResult<i64> {
        Ok(self.lock()?.last_received())
    }

    #[getter]
    fn system(&self) -> PyResult<Option<String>> {
        Ok(self.lock()?.system().map(str::to_owned))
    }

    fn receive(&self, py: Python<'_>, frames: Vec<PyBackedBytes>, ts_recv: i64) -> PyResult<()> {
        py.detach(|| {
            let mut session = self.lock()?;
            for frame in &frames {
                session.receive(frame, ts_recv);
            }
            Ok(())
        })
    }

    #[pyo3(signature = (frames, ts_recv = None))]
    fn ingest(&self, py: Python<'_>, frames: Vec<PyBackedBytes>, ts_recv: Option<Vec<i64>>) -> PyResult<()> {
        if let Some(times) = &ts_recv
            && times.len() != frames.len()
        {
            return Err(value_error(format!("{} frames and {} receive times", frames.len(), times.len())));
        }
        py.detach(|| {
            let mut session = self.lock()?;
            if let Some(times) = ts_recv {
                for (frame, time) in frames.iter().zip(times) {
                    session.receive(frame, time);
                }
            } else {
                let slices: Vec<&[u8]> = frames.iter().map(|frame| &**frame).collect();
                session.first_time(&slices);
                for frame in slices {
                    session.receive_untimed(frame);
                }
            }
            Ok(())
        })
    }

    #[pyo3(signature = (*, rows, ledger = true))]
    fn collect(&self, rows: bool, ledger: bool) -> PyResult<()> {
        self.lock()?.collect(rows, ledger);
        Ok(())
    }

    #[pyo3(signature = (symbols, now, *, exclude = vec![], channel_symbols = None), text_signature =
        "($self, symbols, now, *, exclude=(), channel_symbols=None)")]
    fn select(
        &self,
        symbols: Vec<String>,
        now: i64,
        exclude: Vec<String>,
        channel_symbols: Option<HashMap<String, Vec<String>>>,
    ) -> PyResult<()> {
        let (symbols, exclude, of_channels) =
            (symbol_list(symbols)?, symbol_list(exclude)?, channel_patterns(channel_symbols)?);
        self.lock()?.select(now, symbols, exclude, of_channels);
        Ok(())
    }

    fn tick(&self, now: i64) -> PyResult<()> {
        self.lock()?.tick(now);
        Ok(())
    }

    #[pyo3(signature = (now, budget = None))]
    fn requests<'py>(
        &self,
        py: Python<'py>,
        now: i64,
        budget: Option<&Bound<'py, Budget>>,
    ) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        let requests = match budget {
            None => self.lock()?.requests(now),
            Some(budget) => {
                let shared = &budget.get().0;
                let mut budget = shared.lock().map_err(|_| poisoned())?;
                self.lock()?.requests_within(now, &mut budget)
            }
        };
        Ok(requests.iter().map(|request| PyBytes::new(py, request.as_bytes())).collect())
    }

    fn import_pairs(&self, other: &Bound<'_, Self>, symbols: Vec<String>, now: i64) -> PyResult<()> {
        if std::ptr::eq(self, other.get()) {
            return Err(value_error("a session cannot learn from itself".into()));
        }
        let other = other.get().lock()?;
        self.lock()?.import_pairs(&other, &symbols, now);
        Ok(())
    }

    fn go_on_from(&self, before: &Bound<'_, Self>) -> PyResult<()> {
        if std::ptr::eq(self, before.get()) {
            return Err(value_error("a session cannot go on from itself".into()));
        }
        let before = before.get().lock()?;
        self.lock()?.go_on_from(&before);
        Ok(())
    }

    fn cross_check(&self, other: &Bound<'_, Self>, now: i64) -> PyResult<()> {
        if std::ptr::eq(self, other.get()) {
            return Err(value_error("a session is no witness of itself".into()));
        }
        let other = other.get().lock()?;
        self.lock()?.cross_check(&other, now);
        Ok(())
    }

    #[getter]
    fn token_needed(&self) -> PyResult<bool> {
        Ok(self.lock()?.token_needed())
    }

    fn set_token(&self, token: &str) -> PyResult<()> {
        self.lock()?.set_token(token);
        Ok(())
    }

    fn ping<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, self.lock()?.ping().as_bytes()))
    }

    #[pyo3(signature = (
        kind, now, *, channel = None, symbol = None, ts_from = None, ts_to = None, count = None, detail = None
    ))]
    #[allow(clippy::too_many_arguments, reason = "the columns of the ledger, by keyword in Python")]
    fn add_ledger_row(
        &self,
        kind: String,
        now: i64,
        channel: Option<String>,
        symbol: Option<String>,
        ts_from: Option<i64>,
        ts_to: Option<i64>,
        count: Option<u64>,
        detail: Option<String>,
    ) -> PyResult<()> {
        let Some(kind) = LedgerKind::named(&kind) else {
            let names = LedgerKind::ALL.map(LedgerKind::name).join(", ");
            return Err(value_error(format!("no kind of ledger row {kind:?}; kinds: {names}")));
        };
        self.lock()?.add_ledger_row(LedgerRow { kind, channel, symbol, ts_recv: now, ts_from, ts_to, count, detail });
        Ok(())
    }

    fn end(&self, now: i64, detail: &str) -> PyResult<()> {
        self.lock()?.end(now, detail);
        Ok(())
    }

    fn take_ledger<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let dict = |row: LedgerRow| {
            let dict = PyDict::new(py);
            dict.set_item("kind", row.kind.name())?;
            dict.set_item("channel", row.channel)?;
            dict.set_item("symbol", row.symbol)?;
            dict.set_item("ts_recv", row.ts_recv)?;
            dict.set_item("ts_from", row.ts_from)?;
            dict.set_item("ts_to", row.ts_to)?;
            dict.set_item("count", row.count)?;
            dict.set_item("detail", row.detail)?;
            Ok(dict)
        };
        let rows = self.lock()?.take_ledger();
        rows.into_iter().map(dict).collect()
    }

    #[getter]
    fn pending_rows(&self) -> PyResult<usize> {
        Ok(self.lock()?.pending_rows())
    }

    fn drain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (id, tables) = {
            let mut session = self.lock()?;
            (session.id().to_owned(), session.drain())
        };
        let dict = PyDict::new(py);
        for rows in tables {
            let table = rows.table;
            let batch = batch(&id, rows).map_err(fault)?;
            dict.set_item(table.name(), Batch::new(table, batch))?;
        }
        Ok(dict)
    }

    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let session = self.lock()?;
        let counts = session.counts();
        let named = |pairs: &mut dyn Iterator<Item = (&str, u64)>| {
            let dict = PyDict::new(py);
            for (name, count) in pairs.filter(|(_, count)| *count > 0) {
                dict.set_item(name, count)?;
            }
            PyResult::Ok(dict)
        };
        let dict = PyDict::new(py);
        dict.set_item("frames", counts.frames)?;
        dict.set_item("messages", named(&mut counts.messages.iter().map(|(name, n)| (name.as_str(), *n)))?)?;
        dict.set_item("rows", named(&mut Table::ALL.into_iter().map(Table::name).zip(counts.rows))?)?;
        let checksums = PyDict::new(py);
        for (channel, checked) in [(Channel::Book, counts.book), (Channel::Level3, counts.level3)] {
            let dict = PyDict::new(py);
            dict.set_item("ok", checked.ok)?;
            dict.set_item("bad", checked.bad)?;
            checksums.set_item(channel.name(), dict)?;
        }
        dict.set_item("checksums", checksums)?;
        for (name, count) in [
            ("unchecked", counts.unchecked),
            ("errors", counts.errors),
            ("gaps", counts.gaps),
            ("unknown_entries", counts.unknown_entries),
            ("replaced", counts.replaced),
            ("unknown_fields", counts.unknown_fields),
        ] {
            dict.set_item(name, count)?;
        }
        let subscriptions = session.subscription_counts();
        for (name, count) in [
            ("pairs", subscriptions.pairs),
            ("selected", subscriptions.selected),
            ("subscribed", subscriptions.subscribed),
            ("rejected", subscriptions.rejected),
            ("waiting", subscriptions.waiting),
            ("in_sync", subscriptions.in_sync),
        ] {
            dict.set_item(name, count)?;
        }
        Ok(dict)
    }

    #[getter]
    fn instrument_messages(&self) -> PyResult<u64> {
        let session = self.lock()?;
        let found = session.counts().messages.iter().find(|(name, _)| name == "instrument");
        Ok(found.map_or(0, |(_, count)| *count))
    }

    fn subscriptions(&self) -> PyResult<Vec<(&'static str, String, &'static str, &'static str)>> {
        let session = self.lock()?;
        let told = session.subscriptions();
        Ok(told.map(|(channel, symbol, word, reason)| (channel.name(), symbol.to_owned(), word, reason)).collect())
    }

    fn subscription(&self, symbol: &str, channel: &str) -> PyResult<Option<(&'static str, &'static str)>> {
        let channel = channel_named(channel)?;
        Ok(self.lock()?.subscription(symbol, channel))
    }

    fn pair_status(&self, symbol: &str) -> PyResult<Option<String>> {
        Ok(self.lock()?.pair(symbol).map(|pair| pair.status.clone()))
    }

    fn pairs<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let session = self.lock()?;
        let dict = |(pair, selected): (&krakpot_core::instrument::Pair, bool)| {
            let dict = PyDict::new(py);
            dict.set_item("symbol", &pair.symbol)?;
            dict.set_item("base", &pair.base)?;
            dict.set_item("quote", &pair.quote)?;
            dict.set_item("status", &pair.status)?;
            dict.set_item("price_precision", pair.price_precision)?;
            dict.set_item("qty_precision", pair.qty_precision)?;
            dict.set_item("qty_min", pair.qty_min.map(|value| value.to_string()))?;
            dict.set_item("cost_min", pair.cost_min.map(|value| value.to_string()))?;
            dict.set_item("price_increment", pair.price_increment.map(|value| value.to_string()))?;
            dict.set_item("cost_precision", pair.cost_precision)?;
            dict.set_item("marginable", pair.marginable)?;
            dict.set_item("selected", selected)?;
            Ok(dict)
        };
        session.pairs().map(dict).collect()
    }

    fn book(&self, symbol: &str) -> PyResult<Option<Book>> {
        Ok(self.lock()?.book(symbol).map(|book| Book::new(symbol, book)))
    }

    #[pyo3(signature = (symbol, numbers = "decimal"))]
    fn best<'py>(&self, py: Python<'py>, symbol: &str, numbers: &str) -> PyResult<Option<Best<'py>>> {
        let numbers = Numbers::named(numbers)?;
        let Some(((price_precision, qty_precision), bid, ask)) = self.top(symbol)? else { return Ok(None) };
        let price = |level: Option<(i128, i128)>| level.map(|l| numbers.of(py, l.0, price_precision)).transpose();
        let qty = |level: Option<(i128, i128)>| level.map(|l| numbers.of(py, l.1, qty_precision)).transpose();
        Ok(Some((price(bid)?, qty(bid)?, price(ask)?, qty(ask)?)))
    }

    #[pyo3(signature = (symbol, numbers = "decimal"))]
    fn mid_and_spread<'py>(&self, py: Python<'py>, symbol: &str, numbers: &str) -> PyResult<Option<Middle<'py>>> {
        let numbers = Numbers::named(numbers)?;
        if numbers == Numbers::Int {
            return Err(value_error("a middle may lie between two steps; numbers: decimal, float".into()));
        }
        let Some(((precision, _), bid, ask)) = self.top(symbol)? else { return Ok(None) };
        let (Some((bid, _)), Some((ask, _))) = (bid, ask) else { return Ok(Some((None, None))) };
        // One decimal more holds every half.
        let Some(middle) = (bid + ask).checked_mul(5) else {
            return Err(value_error(format!("{symbol}: its prices are too large for a middle")));
        };
        Ok(Some((Some(numbers.of(py, ask - bid, precision)?), Some(numbers.of(py, middle, precision + 1)?))))
    }

    #[pyo3(signature = (symbol, side, levels = None, numbers = "decimal"))]
    fn levels<'py>(
        &self,
        py: Python<'py>,
        symbol: &str,
        side: &str,
        levels: Option<&Bound<'py, PyAny>>,
        numbers: &str,
    ) -> PyResult<Option<Levels<'py>>> {
        let numbers = Numbers::named(numbers)?;
        let (side, count) = (side_named(side)?, level_count(levels)?);
        let mut found = Vec::new();
        let precision = self.lock()?.book(symbol).map(|book| {
            book.each_level(side, count, |price, qty| found.push((price, qty)));
            book.precision()
        });
        let Some((price_precision, qty_precision)) = precision else { return Ok(None) };
        let cells = |(price, qty)| Ok((numbers.of(py, price, price_precision)?, numbers.of(py, qty, qty_precision)?));
        found.into_iter().map(cells).collect::<PyResult<_>>().map(Some)
    }

    #[pyo3(signature = (symbol, channel = "book"))]
    fn in_sync(&self, symbol: &str, channel: &str) -> PyResult<bool> {
        match channel_named(channel)? {
            Channel::Book => Ok(self.lock()?.book(symbol).is_some()),
            Channel::Level3 => Ok(self.lock()?.orders(symbol).is_some()),
            _ => Err(value_error(format!("channel {channel} keeps no book; channels: book, level3"))),
        }
    }

    #[pyo3(signature = (symbol, channel = "book"))]
    fn last_mismatch(&self, symbol: &str, channel: &str) -> PyResult<Option<(u32, u32)>> {
        match channel_named(channel)? {
            Channel::Book => Ok(self.lock()?.last_mismatch(symbol, false)),
            Channel::Level3 => Ok(self.lock()?.last_mismatch(symbol, true)),
            _ => Err(value_error(format!("channel {channel} keeps no book; channels: book, level3"))),
        }
    }

    #[pyo3(signature = (symbol, numbers = "decimal"))]
    fn order_best<'py>(&self, py: Python<'py>, symbol: &str, numbers: &str) -> PyResult<Option<Best<'py>>> {
        let numbers = Numbers::named(numbers)?;
        let found = self.with_orders(symbol, |orders| {
            let best = |side| orders.levels(side).next().map(|(price, qty, _)| (price, qty));
            (orders.precision(), best(Side::Bid), best(Side::Ask))
        })?;
        let Some((precision, bid, ask)) = found else { return Ok(None) };
        let price = |level: Level| level.map(|level| numbers.of(py, level.0, precision.0)).transpose();
        let qty = |level: Level| level.map(|level| numbers.of(py, level.1, precision.1)).transpose();
        Ok(Some((price(bid)?, qty(bid)?, price(ask)?, qty(ask)?)))
    }

    #[pyo3(signature = (symbol, side, levels = None, numbers = "decimal"))]
    fn order_levels<'py>(
        &self,
        py: Python<'py>,
        symbol: &str,
        side: &str,
        levels: Option<&Bound<'py, PyAny>>,
        numbers: &str,
    ) -> PyResult<Option<OrderLevels<'py>>> {
        let numbers = Numbers::named(numbers)?;
        let (side, count) = (side_named(side)?, level_count(levels)?);
        let found = self
            .with_orders(symbol, |orders| (orders.precision(), orders.levels(side).take(count).collect::<Vec<_>>()))?;
        let Some((precision, levels)) = found else { return Ok(None) };
        let cells =
            |(price, qty, orders)| Ok((numbers.of(py, price, precision.0)?, numbers.of(py, qty, precision.1)?, orders));
        levels.into_iter().map(cells).collect::<PyResult<_>>().map(Some)
    }

    #[pyo3(signature = (symbol, side, price, numbers = "decimal"))]
    fn order_queue<'py>(
        &self,
        py: Python<'py>,
        symbol: &str,
        side: &str,
        price: &Bound<'py, PyAny>,
        numbers: &str,
    ) -> PyResult<Option<Queue<'py>>> {
        let numbers = Numbers::named(numbers)?;
        let side = side_named(side)?;
        let price = if numbers == Numbers::Int {
            Err(price.extract::<i128>()?)
        } else {
            // Python's Decimal and str have the digits; a float has not.
            if price.is_instance_of::<PyFloat>() {
                return Err(value_error(
                    "a price is a Decimal or text: a float may be none of the book's prices".into(),
                ));
            }
            let text = price.str()?.to_string();
            Ok(Decimal::parse(text.as_bytes()).ok_or_else(|| value_error(format!("{text:?} is no number")))?)
        };
        let found = self.with_orders(symbol, |orders| {
            let price = match price {
                Ok(price) => price.rescale(orders.precision().0),
                Err(steps) => Some(steps),
            };
            let queue = price.into_iter().flat_map(|price| orders.queue(side, price));
            let queue = queue.map(|(id, qty, timestamp)| (id.to_string(), qty, timestamp)).collect::<Vec<_>>();
            (orders.precision().1, queue)
        })?;
        let Some((precision, queue)) = found else { return Ok(None) };
        let cells = |(id, qty, timestamp)| Ok((id, numbers.of(py, qty, precision)?, timestamp));
        queue.into_iter().map(cells).collect::<PyResult<_>>().map(Some)
    }

    #[pyo3(signature = (symbol, order_id, numbers = "decimal"))]
    fn order<'py>(
        &self,
        py: Python<'py>,
        symbol: &str,
        order_id: &str,
        numbers: &str,
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let numbers = Numbers::named(numbers)?;
        // An id too long to be held is not held.
        let Ok(id) = OrderId::new(order_id) else { return Ok(None) };
        let found = self.with_orders(symbol, |orders| Some((orders.precision(), orders.find(id)?)))?.flatten();
        let Some((precision, found)) = found else { return Ok(None) };
        let result = PyDict::new(py);
        result.set_item("side", found.side.word())?;
        result.set_item("price", numbers.of(py, found.price, precision.0)?)?;
        result.set_item("qty", numbers.of(py, found.qty, precision.1)?)?;
        result.set_item("ts_order", found.timestamp)?;
        result.set_item("orders_ahead", found.orders_ahead)?;
        result.set_item("qty_ahead", numbers.of(py, found.qty_ahead, precision.1)?)?;
        Ok(Some(result))
    }

    fn orders(&self, symbol: &str) -> PyResult<Option<Orders>> {
        Ok(self.lock()?.orders(symbol).and_then(Orders::copy))
    }
}
