//! `Orders`: one level-3 book, from messages given as plain values.

use std::sync::{Mutex, MutexGuard};

use krakpot_core::book::level3::{self, Orders as OrderBook};
use krakpot_core::book::modify_rule::ModifyRule;
use krakpot_core::book::synced::{BookMeta, Outcome, Synced};
use krakpot_core::decimal::Decimal;
use krakpot_core::limits;
use krakpot_core::wire::message::{Kind, OrderEntry, OrderEvent, OrderId, Side};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::PyDict;

use crate::error::{core_error, poisoned, value_error};
use crate::numbers::{level_count, text};

/// Side, event, order id, price, quantity, time.
type Given = (PyBackedStr, Option<PyBackedStr>, PyBackedStr, PyBackedStr, PyBackedStr, i64);
/// Order id, quantity, time.
type Queued = (String, String, i64);

/// One level-3 book of a symbol.
// A mutex, since several threads may hold the object; each call takes it whole.
#[pyclass(frozen, module = "krakpot._core")]
pub struct Orders {
    meta: BookMeta,
    state: Mutex<(Synced<OrderBook>, Vec<u8>)>,
}

fn side(word: &str) -> PyResult<Side> {
    [Side::Bid, Side::Ask]
        .into_iter()
        .find(|side| side.word() == word)
        .ok_or_else(|| value_error(format!("no side {word:?}; sides: bid, ask")))
}

fn decimal(text: &str) -> PyResult<Decimal> {
    Decimal::parse(text.as_bytes()).ok_or_else(|| value_error(format!("{text:?} is no number")))
}

fn entry<'a>(py: Python<'_>, given: &'a Given) -> PyResult<OrderEntry<'a>> {
    let (of_side, event, id, price, qty, timestamp) = given;
    let event = match event {
        None => OrderEvent::Add,
        Some(word) => OrderEvent::named(word)
            .ok_or_else(|| value_error(format!("no event {:?}; events: add, modify, delete", &**word)))?,
    };
    Ok(OrderEntry {
        side: side(of_side)?,
        event,
        id: OrderId::new(id).map_err(|error| core_error(py, &error))?,
        price: decimal(price)?,
        qty: decimal(qty)?,
        timestamp: *timestamp,
    })
}

impl Orders {
    /// A copy of a book that is in sync.
    pub fn copy(synced: &Synced<OrderBook>) -> Option<Self> {
        let book = synced.book()?;
        let (price_precision, qty_precision) = book.precision();
        let meta =
            BookMeta { kind: Kind::Snapshot, checksum: None, depth: book.depth(), price_precision, qty_precision };
        Some(Self { meta, state: Mutex::new((synced.clone(), Vec::new())) })
    }

    fn lock(&self) -> PyResult<MutexGuard<'_, (Synced<OrderBook>, Vec<u8>)>> {
        self.state.lock().map_err(|_| poisoned())
    }

    fn apply<'py>(
        &self,
        py: Python<'py>,
        kind: Kind,
        given: &[Given],
        checksum: Option<u32>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let entries = given.iter().map(|given| entry(py, given)).collect::<PyResult<Vec<_>>>()?;
        let (outcome, found) = py.detach(|| {
            let (synced, buffer) = &mut *self.lock()?;
            let outcome = synced.apply(&BookMeta { kind, checksum, ..self.meta }, &entries, buffer);
            let found = synced
                .book_mut()
                .map(|book| (book.checksum(buffer), book.checksum_level2(buffer), book.detected_rule()));
            Ok::<_, PyErr>((outcome, found))
        })?;
        let outcome = outcome.map_err(|error| core_error(py, &error))?;
        let result = PyDict::new(py);
        let (word, computed) = match outcome {
            Outcome::Ok => ("ok", None),
            Outcome::Unchecked => ("unchecked", None),
            Outcome::Mismatch { computed, .. } => ("mismatch", Some(computed)),
            Outcome::Crossed => ("crossed", None),
        };
        result.set_item("outcome", word)?;
        result.set_item("checksum", found.map(|found| found.0).or(computed))?;
        result.set_item("checksum_level2", found.map(|found| found.1))?;
        result.set_item("modify", found.and_then(|found| found.2).map(ModifyRule::word))?;
        Ok(result)
    }

    fn price(&self, mantissa: i128) -> String {
        Decimal { mantissa, scale: self.meta.price_precision }.to_string()
    }

    fn qty(&self, mantissa: i128) -> String {
        Decimal { mantissa, scale: self.meta.qty_precision }.to_string()
    }

    fn levels(&self, side: Side, levels: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<(String, String, u32)>> {
        let (state, count) = (self.lock()?, level_count(levels)?);
        let all = state.0.book().into_iter().flat_map(|book| book.levels(side)).take(count);
        Ok(all.map(|(price, qty, orders)| (self.price(price), self.qty(qty), orders)).collect())
    }
}

#[pymethods]
#[allow(clippy::needless_pass_by_value, reason = "arguments are made from Python objects and belong to the call")]
impl Orders {
    #[new]
    #[pyo3(signature = (*, depth, price_precision, qty_precision, modify = "keep_place"))]
    fn new(depth: u16, price_precision: u8, qty_precision: u8, modify: &str) -> PyResult<Self> {
        if depth == 0 || depth > limits::DEPTH_MAX {
            return Err(value_error(format!("depth {depth} is not between 1 and {}", limits::DEPTH_MAX)));
        }
        if price_precision.max(qty_precision) > limits::SCALE {
            return Err(value_error(format!(
                "precision {price_precision},{qty_precision} is beyond {} decimals",
                limits::SCALE
            )));
        }
        let rule = ModifyRule::named(modify)
            .ok_or_else(|| value_error(format!("no answer {modify:?}; answers: keep_place, take_timestamp")))?;
        let meta = BookMeta { kind: Kind::Snapshot, checksum: None, depth, price_precision, qty_precision };
        let mut synced = Synced::default();
        synced.rule = rule;
        Ok(Self { meta, state: Mutex::new((synced, Vec::new())) })
    }

    #[pyo3(signature = (orders, checksum = None))]
    fn snapshot<'py>(
        &self,
        py: Python<'py>,
        orders: Vec<Given>,
        checksum: Option<u32>,
    ) -> PyResult<Bound<'py, PyDict>> {
        self.apply(py, Kind::Snapshot, &orders, checksum)
    }

    #[pyo3(signature = (orders, checksum = None))]
    fn update<'py>(&self, py: Python<'py>, orders: Vec<Given>, checksum: Option<u32>) -> PyResult<Bound<'py, PyDict>> {
        self.apply(py, Kind::Update, &orders, checksum)
    }

    #[getter]
    fn in_sync(&self) -> PyResult<bool> {
        Ok(self.lock()?.0.book().is_some())
    }

    #[getter]
    fn modify(&self) -> PyResult<&'static str> {
        Ok(self.lock()?.0.rule.word())
    }

    #[pyo3(signature = (levels = None))]
    fn bids(&self, levels: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<(String, String, u32)>> {
        self.levels(Side::Bid, levels)
    }

    #[pyo3(signature = (levels = None))]
    fn asks(&self, levels: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<(String, String, u32)>> {
        self.levels(Side::Ask, levels)
    }

    fn queue(&self, side: &Bound<'_, PyAny>, price: &Bound<'_, PyAny>) -> PyResult<Vec<Queued>> {
        let side = self::side(&text(side, "side", "bid or ask")?)?;
        let price = decimal(&text(price, "price", "decimal text, as '97500.1'")?)?.rescale(self.meta.price_precision);
        let state = self.lock()?;
        let (Some(book), Some(price)) = (state.0.book(), price) else { return Ok(Vec::new()) };
        Ok(book.queue(side, price).map(|(id, qty, timestamp)| (id.to_string(), self.qty(qty), timestamp)).collect())
    }

    fn order<'py>(&self, py: Python<'py>, order_id: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let order_id = text(order_id, "order_id", "the text of an order's id")?;
        // An id too long to be held is not held.
        let Ok(id) = OrderId::new(&order_id) else { return Ok(None) };
        let Some(found) = self.lock()?.0.book().and_then(|book| book.find(id)) else { return Ok(None) };
        let level3::Found { side, price, qty, timestamp, orders_ahead, qty_ahead } = found;
        let result = PyDict::new(py);
        result.set_item("side", side.word())?;
        result.set_item("price", self.price(price))?;
        result.set_item("qty", self.qty(qty))?;
        result.set_item("timestamp", timestamp)?;
        result.set_item("orders_ahead", orders_ahead)?;
        result.set_item("qty_ahead", self.qty(qty_ahead))?;
        Ok(Some(result))
    }

    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let state = self.lock()?;
        let (synced, book) = (&state.0, state.0.book());
        let levels = |side| book.map_or(0, |book| book.levels(side).count());
        let result = PyDict::new(py);
        result.set_item("orders", book.map_or(0, OrderBook::len))?;
        result.set_item("bids", levels(Side::Bid))?;
        result.set_item("asks", levels(Side::Ask))?;
        result.set_item("unknown_entries", synced.unknown_entries)?;
        result.set_item("replaced", book.map_or(0, OrderBook::replaced))?;
        Ok(result)
    }
}
