//! What a strategy in Python hears and holds: its orders, what became of them, fills, gaps, timers.

use std::sync::{Arc, Mutex, MutexGuard};

use krakpot_core::decimal::{Decimal, pow10};
use krakpot_trade::amount::{AMOUNT_SCALE, Amount, Price, Qty};
use krakpot_trade::order::{self, State};
use krakpot_trade::report::{self, Asked, Change};
use krakpot_trade::run::{self, Run};
use krakpot_trade::trader::{self, News};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyString};

use crate::error::{poisoned, value_error};
use crate::numbers::Numbers;

/// A run, as its Python objects share it.
pub struct Shared {
    run: Mutex<Run>,
    /// How strategies want numbers.
    pub numbers: Numbers,
}

impl Shared {
    /// Shares a run.
    pub const fn new(run: Run, numbers: Numbers) -> Self {
        Self { run: Mutex::new(run), numbers }
    }

    /// The run; an error, if an earlier call failed.
    pub fn lock(&self) -> PyResult<MutexGuard<'_, Run>> {
        self.run.lock().map_err(|_| poisoned())
    }

    /// A price as Python wants it.
    pub fn price<'py>(&self, py: Python<'py>, price: Price, precision: u8) -> PyResult<Bound<'py, PyAny>> {
        self.numbers.of(py, price.0.into(), precision)
    }

    /// A quantity as Python wants it.
    pub fn qty<'py>(&self, py: Python<'py>, qty: Qty, precision: u8) -> PyResult<Bound<'py, PyAny>> {
        self.numbers.of(py, qty.0.into(), precision)
    }

    /// An amount of an asset as Python wants it; whole steps have ten decimals.
    pub fn amount<'py>(&self, py: Python<'py>, amount: Amount) -> PyResult<Bound<'py, PyAny>> {
        amount_of(py, amount, self.numbers)
    }

    /// Whole steps of a number that a strategy gave; `name` and `symbol` are for the sentence about a wrong one.
    pub fn steps(&self, given: &Bound<'_, PyAny>, precision: u8, name: &str, symbol: &str) -> PyResult<i64> {
        let wrong = |allowed: &str| value_error(format!("{name}: {given:?} is not allowed; allowed is {allowed}"));
        let beyond = || {
            wrong(&format!(
                "a number with at most {precision} decimals for {symbol}; Market.round gives the nearest one"
            ))
        };
        if given.is_instance_of::<PyBool>() {
            return Err(wrong("a number"));
        }
        if self.numbers == Numbers::Int {
            return given.extract().map_err(|_| wrong("a whole number of steps of the pair, with numbers='int'"));
        }
        if given.is_instance_of::<PyFloat>() {
            if self.numbers != Numbers::Float {
                return Err(wrong("a decimal.Decimal or its text; floats only with numbers='float'"));
            }
            let value: f64 = given.extract()?;
            #[allow(clippy::cast_precision_loss, reason = "a power of ten up to 10^10 is exact")]
            let scaled = value * pow10(precision) as f64;
            let steps = scaled.round();
            // What is meant to be a step is off by what a float cannot hold, and not by more.
            if !(scaled - steps).abs().is_finite() || (scaled - steps).abs() > 1e-3 || steps.abs() > 9e15 {
                return Err(beyond());
            }
            #[allow(clippy::cast_possible_truncation, reason = "it is whole, and below 2^53")]
            return Ok(steps as i64);
        }
        // A whole number of thousands of digits has no text.
        let text = given.str().map(|text| text.to_string()).unwrap_or_default();
        let number = if given.is_instance_of::<PyInt>() || given.is_instance_of::<PyString>() || is_decimal(given)? {
            Decimal::parse(text.as_bytes())
        } else {
            None
        };
        let number = number.ok_or_else(|| wrong("a decimal.Decimal, its text, or a whole number"))?;
        number.rescale(precision).and_then(|steps| i64::try_from(steps).ok()).ok_or_else(beyond)
    }
}

/// Whether it is a `decimal.Decimal`.
fn is_decimal(given: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(given.get_type().name()?.to_cow()? == "Decimal")
}

/// Decimals of amounts as whole steps.
const DIGITS: u8 = 10;

/// An amount as Python wants it; a `Decimal` has no zeros at its end beyond ten decimals.
pub fn amount_of(py: Python<'_>, amount: Amount, numbers: Numbers) -> PyResult<Bound<'_, PyAny>> {
    let unit = pow10(AMOUNT_SCALE - DIGITS);
    if numbers == Numbers::Int || amount % unit == 0 {
        return numbers.of(py, amount.div_euclid(unit), DIGITS);
    }
    numbers.of(py, amount, AMOUNT_SCALE)
}

/// Place of an order in the queue of its price.
#[pyclass(frozen, module = "krakpot._core")]
pub struct Queue {
    place: krakpot_trade::paper::Place,
    precision: u8,
    numbers: Numbers,
}

#[pymethods]
impl Queue {
    #[getter]
    const fn orders_ahead(&self) -> usize {
        self.place.orders_ahead
    }

    #[getter]
    fn qty_ahead<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.numbers.of(py, self.place.qty_ahead.0.into(), self.precision)
    }

    #[getter]
    fn qty_behind<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.numbers.of(py, self.place.qty_behind.0.into(), self.precision)
    }

    #[getter]
    fn exact(&self) -> bool {
        self.place.exact
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let (ahead, behind) = (self.qty_ahead(py)?, self.qty_behind(py)?);
        Ok(format!("Queue({ahead} ahead, {behind} behind{})", if self.place.exact { "" } else { ", at most" }))
    }
}

/// An own order. It shows how the order is now.
#[pyclass(frozen, module = "krakpot._core")]
pub struct Order {
    shared: Arc<Shared>,
    account: usize,
    number: u64,
}

impl Order {
    /// The order of an account by its number.
    pub const fn new(shared: Arc<Shared>, account: usize, number: u64) -> Self {
        Self { shared, account, number }
    }

    /// Its number, if it is one of this account of this run.
    pub fn number_in(&self, shared: &Arc<Shared>, account: usize) -> Option<u64> {
        (Arc::ptr_eq(&self.shared, shared) && self.account == account).then_some(self.number)
    }

    /// What `read` finds in it, with the decimals of prices and quantities.
    fn read<T>(&self, read: impl FnOnce(&order::Order, &Run) -> T) -> PyResult<(T, (u8, u8))> {
        let run = self.shared.lock()?;
        let order = run.trader(self.account).order(self.number);
        let order = order.ok_or_else(|| value_error(format!("there is no order {}", self.number)))?;
        let pair = run.pair(order.terms.pair);
        Ok((read(order, &run), (pair.price_precision, pair.qty_precision)))
    }

    fn of_qty<'py>(&self, py: Python<'py>, read: impl FnOnce(&order::Order) -> Qty) -> PyResult<Bound<'py, PyAny>> {
        let (qty, (_, precision)) = self.read(|order, _| read(order))?;
        self.shared.qty(py, qty, precision)
    }
}

#[pymethods]
impl Order {
    #[getter]
    const fn id(&self) -> u64 {
        self.number
    }

    #[getter]
    fn order_id(&self) -> PyResult<Option<String>> {
        Ok(self.read(|order, _| order.order_id.as_ref().map(ToString::to_string))?.0)
    }

    #[getter]
    fn symbol(&self) -> PyResult<String> {
        Ok(self.read(|order, run| run.pair(order.terms.pair).symbol.to_string())?.0)
    }

    #[getter]
    fn side(&self) -> PyResult<&'static str> {
        Ok(self.read(|order, _| order.terms.side.word())?.0)
    }

    #[getter]
    fn kind(&self) -> PyResult<&'static str> {
        Ok(self.read(|order, _| kind_of(order))?.0)
    }

    #[getter]
    fn qty<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.of_qty(py, |order| order.qty)
    }

    #[getter]
    fn filled<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.of_qty(py, |order| order.filled)
    }

    #[getter]
    fn left<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.of_qty(py, |order| order.qty - order.filled)
    }

    #[getter]
    fn price<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (price, (precision, _)) = self.read(|order, _| order.price)?;
        price.map(|price| self.shared.price(py, price, precision)).transpose()
    }

    #[getter]
    fn average<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (average, _) = self.read(|order, run| order.average(run.pair(order.terms.pair)))?;
        let unit = pow10(AMOUNT_SCALE - DIGITS);
        average.map(|average| self.shared.amount(py, average - average % unit)).transpose()
    }

    #[getter]
    fn state(&self) -> PyResult<&'static str> {
        Ok(self.read(|order, _| order.state().word())?.0)
    }

    #[getter]
    fn live(&self) -> PyResult<bool> {
        Ok(self.read(|order, _| order.is_live())?.0)
    }

    #[getter]
    fn reason(&self) -> PyResult<String> {
        Ok(self.read(|order, _| order.reason.to_string())?.0)
    }

    #[getter]
    fn tag(&self) -> PyResult<String> {
        Ok(self.read(|order, _| order.tag.to_string())?.0)
    }

    #[getter]
    fn sent(&self) -> PyResult<i64> {
        Ok(self.read(|order, _| order.sent)?.0)
    }

    #[getter]
    fn acked(&self) -> PyResult<Option<i64>> {
        Ok(self.read(|order, run| run.tally(self.account).times.get(&order.number).and_then(|times| times.acked))?.0)
    }

    #[getter]
    fn deadline(&self) -> PyResult<i64> {
        Ok(self.read(|order, _| order.deadline)?.0)
    }

    #[getter]
    fn queue(&self) -> PyResult<Option<Queue>> {
        let (place, (_, precision)) = self.read(|_, run| run.place(self.account, self.number))?;
        Ok(place.map(|place| Queue { place, precision, numbers: self.shared.numbers }))
    }

    #[getter]
    fn rest_tradable(&self) -> PyResult<bool> {
        Ok(self.read(|order, run| order.qty - order.filled >= run.pair(order.terms.pair).qty_min)?.0)
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| {
            let other = other.get();
            Arc::ptr_eq(&self.shared, &other.shared) && (self.account, self.number) == (other.account, other.number)
        })
    }

    const fn __hash__(&self) -> u64 {
        self.number
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let (side, symbol, state) = (self.side()?, self.symbol()?, self.state()?);
        let price = self.price(py)?.map_or_else(|| "the market".to_owned(), |price| price.to_string());
        let (filled, qty) = (self.filled(py)?, self.qty(py)?);
        Ok(format!("Order({}, {side} {qty} {symbol} at {price}, {filled} filled, {state})", self.number))
    }
}

/// Kraken's word for what an order is.
pub const fn kind_of(order: &order::Order) -> &'static str {
    match (order.terms.price, order.terms.trigger, order.terms.display) {
        (None, None, _) => "market",
        (Some(_), None, None) => "limit",
        (Some(_), None, Some(_)) => "iceberg",
        (None, Some(trigger), _) if trigger.stop => "stop-loss",
        (None, Some(_), _) => "take-profit",
        (Some(_), Some(trigger), _) if trigger.stop => "stop-loss-limit",
        (Some(_), Some(_), _) => "take-profit-limit",
    }
}

/// What became of an order.
#[pyclass(frozen, module = "krakpot._core")]
pub struct OrderEvent {
    order: Py<Order>,
    change: &'static str,
    reason: Arc<str>,
    before: State,
    ts: i64,
}

#[pymethods]
impl OrderEvent {
    #[getter]
    fn order(&self, py: Python<'_>) -> Py<Order> {
        self.order.clone_ref(py)
    }

    #[getter]
    const fn change(&self) -> &'static str {
        self.change
    }

    #[getter]
    fn reason(&self) -> String {
        self.reason.to_string()
    }

    #[getter]
    const fn before(&self) -> &'static str {
        self.before.word()
    }

    #[getter]
    const fn ts(&self) -> i64 {
        self.ts
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let why = if self.reason.is_empty() { String::new() } else { format!(": {}", self.reason) };
        let number = self.order.get().number;
        let state = self.order.bind(py).get().state()?;
        Ok(format!("OrderEvent(order {number}, {}{why}, {} to {state})", self.change, self.before.word()))
    }
}

/// A fill of an own order.
#[pyclass(frozen, module = "krakpot._core")]
pub struct Fill {
    shared: Arc<Shared>,
    order: Py<Order>,
    of: report::Fill,
    precisions: (u8, u8),
    ts: i64,
}

#[pymethods]
impl Fill {
    #[getter]
    fn order(&self, py: Python<'_>) -> Py<Order> {
        self.order.clone_ref(py)
    }

    #[getter]
    fn symbol(&self) -> PyResult<String> {
        self.order.get().symbol()
    }

    #[getter]
    fn side(&self) -> PyResult<&'static str> {
        self.order.get().side()
    }

    #[getter]
    fn exec_id(&self) -> String {
        self.of.exec_id.to_string()
    }

    #[getter]
    const fn trade_id(&self) -> Option<i64> {
        self.of.trade_id
    }

    #[getter]
    fn counterparty(&self) -> Option<String> {
        self.of.counterparty.as_ref().map(ToString::to_string)
    }

    #[getter]
    fn qty<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.shared.qty(py, self.of.qty, self.precisions.1)
    }

    #[getter]
    fn price<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.shared.price(py, self.of.price, self.precisions.0)
    }

    #[getter]
    fn fee<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.shared.amount(py, self.of.fee)
    }

    #[getter]
    const fn liquidity(&self) -> &'static str {
        if self.of.maker { "maker" } else { "taker" }
    }

    #[getter]
    const fn evidence(&self) -> &'static str {
        self.of.evidence.word()
    }

    #[getter]
    const fn doubt(&self) -> bool {
        self.of.doubt
    }

    #[getter]
    const fn ts(&self) -> i64 {
        self.ts
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let (side, symbol, qty, price) = (self.side()?, self.symbol()?, self.qty(py)?, self.price(py)?);
        Ok(format!("Fill({side} {qty} {symbol} at {price}, {}, {})", self.liquidity(), self.evidence()))
    }
}

/// Data is missing, or is there again.
#[pyclass(frozen, module = "krakpot._core")]
pub struct Gap {
    of: &'static str,
    symbol: Arc<str>,
    healed: bool,
    ts: i64,
}

#[pymethods]
impl Gap {
    #[getter]
    const fn of(&self) -> &'static str {
        self.of
    }

    #[getter]
    fn symbol(&self) -> String {
        self.symbol.to_string()
    }

    #[getter]
    const fn healed(&self) -> bool {
        self.healed
    }

    #[getter]
    const fn ts(&self) -> i64 {
        self.ts
    }

    fn __repr__(&self) -> String {
        format!("Gap({} of {}{})", self.of, self.symbol, if self.healed { ", healed" } else { "" })
    }
}

/// A time that a strategy asked for.
#[pyclass(frozen, module = "krakpot._core")]
pub struct Timer {
    tag: Arc<str>,
    ts: i64,
}

#[pymethods]
impl Timer {
    #[getter]
    fn tag(&self) -> String {
        self.tag.to_string()
    }

    #[getter]
    const fn ts(&self) -> i64 {
        self.ts
    }

    fn __repr__(&self) -> String {
        format!("Timer({:?})", self.tag)
    }
}

/// The objects of what became of an order: the event, and the fill if it is one.
pub fn order_event<'py>(
    py: Python<'py>,
    shared: &Arc<Shared>,
    account: usize,
    event: &trader::OrderEvent,
) -> PyResult<(Bound<'py, PyAny>, Option<Bound<'py, PyAny>>)> {
    let order = Py::new(py, Order::new(shared.clone(), account, event.order))?;
    let fill = match &event.change {
        News::Changed(Change::Fill(fill)) => {
            let ((), precisions) = order.get().read(|_, _| ())?;
            let (order, of, ts) = (order.clone_ref(py), fill.clone(), event.ts);
            Some(Bound::new(py, Fill { shared: shared.clone(), order, of, precisions, ts })?.into_any())
        }
        _ => None,
    };
    let change = word_of(&event.change);
    let event = OrderEvent { order, change, reason: event.reason.clone(), before: event.before, ts: event.ts };
    Ok((Bound::new(py, event)?.into_any(), fill))
}

/// All words of [`word_of`].
pub const CHANGES: [&str; 19] = [
    "acked",
    "amend acked",
    "cancel acked",
    "rejected",
    "amend refused",
    "cancel refused",
    "unknown",
    "resolved",
    "adopted",
    "pending",
    "new",
    "trade",
    "filled",
    "amended",
    "restated",
    "refilled",
    "triggered",
    "canceled",
    "expired",
];

/// The word of what happened.
pub const fn word_of(change: &News) -> &'static str {
    match change {
        News::Acked(Asked::Add) => "acked",
        News::Acked(Asked::Amend) => "amend acked",
        News::Acked(Asked::Cancel) => "cancel acked",
        News::Refused(Asked::Add) => "rejected",
        News::Refused(Asked::Amend) => "amend refused",
        News::Refused(Asked::Cancel) => "cancel refused",
        News::Unknown => "unknown",
        News::Resolved => "resolved",
        News::Adopted => "adopted",
        News::Changed(Change::Pending) => "pending",
        News::Changed(Change::New) => "new",
        News::Changed(Change::Fill(_)) => "trade",
        News::Changed(Change::Filled) => "filled",
        News::Changed(Change::Amended { restated: false, .. }) => "amended",
        News::Changed(Change::Amended { restated: true, .. }) => "restated",
        News::Changed(Change::Refilled) => "refilled",
        News::Changed(Change::Triggered) => "triggered",
        News::Changed(Change::Canceled) => "canceled",
        News::Changed(Change::Expired) => "expired",
    }
}

/// The object of a gap.
pub fn gap<'py>(py: Python<'py>, gap: &run::Gap, symbol: Arc<str>, ts: i64) -> PyResult<Bound<'py, PyAny>> {
    Ok(Bound::new(py, Gap { of: gap.of, symbol, healed: gap.healed, ts })?.into_any())
}

/// The object of a timer.
pub fn timer<'py>(py: Python<'py>, tag: &Arc<str>, ts: i64) -> PyResult<Bound<'py, PyAny>> {
    Ok(Bound::new(py, Timer { tag: tag.clone(), ts })?.into_any())
}
