//! `Events`: what the frames of a socket read changed, message by message, for a strategy. The core makes the events;
//! here they become Python objects. A message that nobody wants becomes no object.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use krakpot_core::decimal::Decimal;
use krakpot_core::limits::SCALE;
use krakpot_core::session::{self, BookMessage, Event, EventKind, EventSet, LevelEntry, OrderChange, at_precision};
use krakpot_core::wire::message::{OHLC_NUMBERS, OrderEvent, TICKER_NUMBERS};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyString;

use crate::error::{poisoned, value_error};
use crate::numbers::{Numbers, decimal};
use crate::session::Session;

/// A word that comes again and again: one object for all its uses.
fn word(py: Python<'_>, text: &str) -> Py<PyString> {
    PyString::intern(py, text).unbind()
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
    message: BookMessage,
    levels: Vec<LevelEntry>,
}

/// Side, price, quantity.
type Entry<'py> = (Py<PyString>, Bound<'py, PyAny>, Bound<'py, PyAny>);
/// Side, event, order id, price, quantity, time.
type Order<'py> = (Py<PyString>, Option<Py<PyString>>, String, Bound<'py, PyAny>, Bound<'py, PyAny>, i64);

/// Price and quantity of an entry of a book message.
fn both<'py>(
    py: Python<'py>,
    numbers: Numbers,
    message: &BookMessage,
    (price, qty): (i128, i128),
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let of = |value, precision| {
        let value = at_precision(value, precision);
        numbers.of(py, value.mantissa, value.scale)
    };
    Ok((of(price, message.price_precision)?, of(qty, message.qty_precision)?))
}

#[pymethods]
impl BookEvent {
    #[classattr]
    #[pyo3(name = "channel")]
    const CHANNEL: &'static str = EventKind::Book.name();

    #[getter]
    fn symbol(&self, py: Python<'_>) -> Py<PyString> {
        word(py, &self.message.received.symbol)
    }

    #[getter]
    fn message(&self) -> u64 {
        self.message.received.message
    }

    #[getter]
    fn ts_recv(&self) -> i64 {
        self.message.received.ts_recv
    }

    #[getter]
    fn ts_event(&self) -> Option<i64> {
        self.message.received.ts_event
    }

    #[getter]
    fn kind(&self) -> &'static str {
        self.message.kind.word()
    }

    #[getter]
    fn checksum(&self) -> Option<u32> {
        self.message.checksum
    }

    #[getter]
    fn outcome(&self) -> &'static str {
        self.message.outcome.word()
    }

    #[pyo3(signature = (numbers = Numbers::Decimal), text_signature = "($self, numbers='decimal')")]
    fn entries<'py>(
        &self,
        py: Python<'py>,
        #[pyo3(from_py_with = Numbers::given)] numbers: Numbers,
    ) -> PyResult<Vec<Entry<'py>>> {
        let entry = |level: &LevelEntry| {
            let (price, qty) = both(py, numbers, &self.message, (level.price, level.qty))?;
            Ok((word(py, level.side.word()), price, qty))
        };
        self.levels.iter().map(entry).collect()
    }

    fn __repr__(&self) -> String {
        let (message, kind, outcome) = (self.message(), self.kind(), self.outcome());
        format!("BookEvent({}, message {message}, {kind}, {outcome})", self.message.received.symbol)
    }
}

/// A message of level 3 was applied, or was not the exchange's book.
#[pyclass(frozen, module = "krakpot._core")]
pub struct Level3Event {
    message: BookMessage,
    orders: Vec<OrderChange>,
}

#[pymethods]
impl Level3Event {
    #[classattr]
    #[pyo3(name = "channel")]
    const CHANNEL: &'static str = EventKind::Level3.name();

    #[getter]
    fn symbol(&self, py: Python<'_>) -> Py<PyString> {
        word(py, &self.message.received.symbol)
    }

    #[getter]
    fn message(&self) -> u64 {
        self.message.received.message
    }

    #[getter]
    fn ts_recv(&self) -> i64 {
        self.message.received.ts_recv
    }

    #[getter]
    fn ts_event(&self) -> Option<i64> {
        self.message.received.ts_event
    }

    #[getter]
    fn kind(&self) -> &'static str {
        self.message.kind.word()
    }

    #[getter]
    fn checksum(&self) -> Option<u32> {
        self.message.checksum
    }

    #[getter]
    fn outcome(&self) -> &'static str {
        self.message.outcome.word()
    }

    #[pyo3(signature = (numbers = Numbers::Decimal), text_signature = "($self, numbers='decimal')")]
    fn orders<'py>(
        &self,
        py: Python<'py>,
        #[pyo3(from_py_with = Numbers::given)] numbers: Numbers,
    ) -> PyResult<Vec<Order<'py>>> {
        let order = |order: &OrderChange| {
            let (price, qty) = both(py, numbers, &self.message, (order.price, order.qty))?;
            let event = order.event.map(|event: OrderEvent| word(py, event.word()));
            Ok((word(py, order.side.word()), event, order.id.to_string(), price, qty, order.timestamp))
        };
        self.orders.iter().map(order).collect()
    }

    fn __repr__(&self) -> String {
        let (message, kind, outcome) = (self.message(), self.kind(), self.outcome());
        format!("Level3Event({}, message {message}, {kind}, {outcome})", self.message.received.symbol)
    }
}

/// A trade.
#[pyclass(frozen, module = "krakpot._core")]
pub struct TradeEvent(Arc<session::TradeEvent>);

#[pymethods]
impl TradeEvent {
    #[classattr]
    #[pyo3(name = "channel")]
    const CHANNEL: &'static str = EventKind::Trade.name();

    #[getter]
    fn symbol(&self, py: Python<'_>) -> Py<PyString> {
        word(py, &self.0.received.symbol)
    }

    #[getter]
    fn message(&self) -> u64 {
        self.0.received.message
    }

    #[getter]
    fn ts_recv(&self) -> i64 {
        self.0.received.ts_recv
    }

    #[getter]
    fn ts_event(&self) -> Option<i64> {
        self.0.received.ts_event
    }

    #[getter]
    fn kind(&self) -> &'static str {
        self.0.kind.word()
    }

    #[getter]
    fn side(&self, py: Python<'_>) -> Py<PyString> {
        word(py, &self.0.side)
    }

    #[getter]
    fn ord_type(&self, py: Python<'_>) -> Py<PyString> {
        word(py, &self.0.ord_type)
    }

    #[getter]
    fn trade_id(&self) -> i64 {
        self.0.trade_id
    }

    #[getter]
    fn price<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        decimal(py, self.0.price)
    }

    #[getter]
    fn qty<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        decimal(py, self.0.qty)
    }

    fn __repr__(&self) -> String {
        let session::TradeEvent { received, side, price, qty, .. } = &*self.0;
        format!("TradeEvent({}, {side} {qty} at {price})", received.symbol)
    }
}

/// Best prices and 24-hour statistics.
#[pyclass(frozen, module = "krakpot._core")]
pub struct TickerEvent(session::TickerEvent);

#[pymethods]
impl TickerEvent {
    #[classattr]
    #[pyo3(name = "channel")]
    const CHANNEL: &'static str = EventKind::Ticker.name();

    #[getter]
    fn symbol(&self, py: Python<'_>) -> Py<PyString> {
        word(py, &self.0.received.symbol)
    }

    #[getter]
    fn message(&self) -> u64 {
        self.0.received.message
    }

    #[getter]
    fn ts_recv(&self) -> i64 {
        self.0.received.ts_recv
    }

    #[getter]
    fn ts_event(&self) -> Option<i64> {
        self.0.received.ts_event
    }

    #[getter]
    fn bid<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        as_needed(py, self.0.numbers[0])
    }

    #[getter]
    fn bid_qty<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        as_needed(py, self.0.numbers[1])
    }

    #[getter]
    fn ask<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        as_needed(py, self.0.numbers[2])
    }

    #[getter]
    fn ask_qty<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        as_needed(py, self.0.numbers[3])
    }

    #[getter]
    fn last<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        as_needed(py, self.0.numbers[4])
    }

    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<HashMap<&'static str, Option<Bound<'py, PyAny>>>> {
        let all = TICKER_NUMBERS.into_iter().zip(self.0.numbers).skip(5);
        all.map(|(name, value)| Ok((name, as_needed(py, value)?))).collect()
    }

    fn __repr__(&self) -> String {
        format!("TickerEvent({}, message {})", self.0.received.symbol, self.0.received.message)
    }
}

/// A candle as it is so far.
#[pyclass(frozen, module = "krakpot._core")]
pub struct OhlcEvent(session::OhlcEvent);

#[pymethods]
impl OhlcEvent {
    #[classattr]
    #[pyo3(name = "channel")]
    const CHANNEL: &'static str = EventKind::Ohlc.name();

    #[getter]
    fn symbol(&self, py: Python<'_>) -> Py<PyString> {
        word(py, &self.0.received.symbol)
    }

    #[getter]
    fn message(&self) -> u64 {
        self.0.received.message
    }

    #[getter]
    fn ts_recv(&self) -> i64 {
        self.0.received.ts_recv
    }

    #[getter]
    fn ts_event(&self) -> Option<i64> {
        self.0.received.ts_event
    }

    #[getter]
    fn interval(&self) -> u16 {
        self.0.interval
    }

    #[getter]
    fn interval_begin(&self) -> i64 {
        self.0.interval_begin
    }

    #[getter]
    fn trades(&self) -> Option<u64> {
        self.0.trades
    }

    fn candle<'py>(&self, py: Python<'py>) -> PyResult<HashMap<&'static str, Option<Bound<'py, PyAny>>>> {
        let all = OHLC_NUMBERS.into_iter().zip(self.0.numbers);
        all.map(|(name, value)| Ok((name, as_needed(py, value)?))).collect()
    }

    fn __repr__(&self) -> String {
        format!("OhlcEvent({}, message {})", self.0.received.symbol, self.0.received.message)
    }
}

/// What the exchange says of itself.
#[pyclass(frozen, module = "krakpot._core")]
pub struct StatusEvent(session::StatusEvent);

#[pymethods]
impl StatusEvent {
    #[classattr]
    #[pyo3(name = "channel")]
    const CHANNEL: &'static str = EventKind::Status.name();

    #[getter]
    fn message(&self) -> u64 {
        self.0.message
    }

    #[getter]
    fn ts_recv(&self) -> i64 {
        self.0.ts_recv
    }

    #[getter]
    fn system(&self, py: Python<'_>) -> Py<PyString> {
        word(py, &self.0.system)
    }

    fn __repr__(&self) -> String {
        format!("StatusEvent({})", self.0.system)
    }
}

/// A subscription has another state than before.
#[pyclass(frozen, module = "krakpot._core")]
pub struct SubscriptionEvent(session::SubscriptionEvent);

#[pymethods]
impl SubscriptionEvent {
    #[classattr]
    #[pyo3(name = "channel")]
    const CHANNEL: &'static str = EventKind::Subscription.name();

    #[getter]
    fn symbol(&self, py: Python<'_>) -> Py<PyString> {
        word(py, &self.0.symbol)
    }

    #[getter]
    fn of(&self) -> &'static str {
        self.0.channel.name()
    }

    #[getter]
    fn state(&self) -> &'static str {
        self.0.state
    }

    #[getter]
    fn reason(&self) -> &'static str {
        self.0.reason
    }

    #[getter]
    fn ts_recv(&self) -> i64 {
        self.0.ts_recv
    }

    fn __repr__(&self) -> String {
        let session::SubscriptionEvent { symbol, channel, state, reason, .. } = &self.0;
        let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        format!("SubscriptionEvent({} {symbol}, {state}{why})", channel.name())
    }
}

/// Something of a symbol was missed.
#[pyclass(frozen, module = "krakpot._core")]
pub struct GapEvent(session::GapEvent);

#[pymethods]
impl GapEvent {
    #[classattr]
    #[pyo3(name = "channel")]
    const CHANNEL: &'static str = EventKind::Gap.name();

    #[getter]
    fn symbol(&self, py: Python<'_>) -> Py<PyString> {
        word(py, &self.0.received.symbol)
    }

    #[getter]
    fn of(&self) -> &'static str {
        self.0.channel.name()
    }

    #[getter]
    fn first_trade_id(&self) -> Option<i64> {
        self.0.trade_ids.map(|ids| ids.0)
    }

    #[getter]
    fn last_trade_id(&self) -> Option<i64> {
        self.0.trade_ids.map(|ids| ids.1)
    }

    #[getter]
    fn message(&self) -> u64 {
        self.0.received.message
    }

    #[getter]
    fn ts_recv(&self) -> i64 {
        self.0.received.ts_recv
    }

    #[getter]
    fn ts_from(&self) -> Option<i64> {
        self.0.ts_from
    }

    #[getter]
    fn ts_to(&self) -> i64 {
        self.0.ts_to
    }

    #[getter]
    fn reason(&self) -> &'static str {
        self.0.reason
    }

    fn __repr__(&self) -> String {
        let session::GapEvent { received, channel, trade_ids, reason, .. } = &self.0;
        let ids = trade_ids.map_or_else(String::new, |(first, last)| format!(" {first} to {last}"));
        format!("GapEvent({} {}{ids}: {reason})", channel.name(), received.symbol)
    }
}

/// Makes events of the frames that a session takes.
#[pyclass(frozen, module = "krakpot._core")]
pub struct Events {
    wanted: EventSet,
    /// The session whose subscriptions last became events.
    told: Mutex<String>,
}

#[pymethods]
#[allow(clippy::needless_pass_by_value, reason = "arguments are made from Python objects and belong to the call")]
impl Events {
    #[new]
    fn new(channels: Vec<String>) -> PyResult<Self> {
        Ok(Self { wanted: events_named(&channels)?, told: Mutex::new(String::new()) })
    }

    fn receive<'py>(
        &self,
        py: Python<'py>,
        session: &Bound<'py, Session>,
        frames: Vec<PyBackedBytes>,
        ts_recv: i64,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let shared = session.get();
        let events = py.detach(|| self.read(shared, &frames, ts_recv))?;
        events.into_iter().map(|event| object(py, event)).collect()
    }
}

impl Events {
    /// Lets the session take the frames; the events that are wanted.
    pub fn read(&self, session: &Session, frames: &[PyBackedBytes], ts_recv: i64) -> PyResult<Vec<Event>> {
        let mut session = session.lock()?;
        let mut told = self.told.lock().map_err(|_| poisoned())?;
        if *told != session.id() {
            session.id().clone_into(&mut told);
            session.tell_all_subscriptions();
        }
        session.want_events(self.wanted);
        for frame in frames {
            session.receive(frame, ts_recv);
        }
        let events = session.take_events();
        // Until the next call only these are made, of which there are few: nothing piles up if there is no next call.
        let few = EventSet::NONE.with(EventKind::Subscription).with(EventKind::Gap);
        session.want_events(self.wanted.and(few));
        Ok(events)
    }
}

/// The events of these channels.
pub fn events_named(channels: &[String]) -> PyResult<EventSet> {
    let kind = |name: &String| {
        EventKind::named(name).ok_or_else(|| {
            let names = EventKind::ALL.map(EventKind::name).join(", ");
            value_error(format!("no events of {name:?}; there are {names}"))
        })
    };
    let kinds = channels.iter().map(kind).collect::<PyResult<Vec<_>>>()?;
    Ok(kinds.into_iter().fold(EventSet::NONE, EventSet::with))
}

/// The Python object of an event.
pub fn object(py: Python<'_>, event: Event) -> PyResult<Bound<'_, PyAny>> {
    Ok(match event {
        Event::Book(message, levels) => Bound::new(py, BookEvent { message, levels })?.into_any(),
        Event::Level3(message, orders) => Bound::new(py, Level3Event { message, orders })?.into_any(),
        Event::Trade(event) => Bound::new(py, TradeEvent(event))?.into_any(),
        Event::Ticker(event) => Bound::new(py, TickerEvent(*event))?.into_any(),
        Event::Ohlc(event) => Bound::new(py, OhlcEvent(*event))?.into_any(),
        Event::Status(event) => Bound::new(py, StatusEvent(event))?.into_any(),
        Event::Subscription(event) => Bound::new(py, SubscriptionEvent(event))?.into_any(),
        Event::Gap(event) => Bound::new(py, GapEvent(event))?.into_any(),
    })
}

/// The event that a Python object was made of; `None` of an object that is none.
pub fn event_of(object: &Bound<'_, PyAny>) -> Option<Event> {
    if let Ok(event) = object.cast::<BookEvent>() {
        let event = event.get();
        return Some(Event::Book(event.message.clone(), event.levels.clone()));
    }
    if let Ok(event) = object.cast::<Level3Event>() {
        let event = event.get();
        return Some(Event::Level3(event.message.clone(), event.orders.clone()));
    }
    if let Ok(event) = object.cast::<TradeEvent>() {
        return Some(Event::Trade(event.get().0.clone()));
    }
    if let Ok(event) = object.cast::<GapEvent>() {
        return Some(Event::Gap(event.get().0.clone()));
    }
    if let Ok(event) = object.cast::<SubscriptionEvent>() {
        return Some(Event::Subscription(event.get().0.clone()));
    }
    let status = object.cast::<StatusEvent>().ok()?;
    Some(Event::Status(status.get().0.clone()))
}
