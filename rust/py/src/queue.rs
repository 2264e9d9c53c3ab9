//! `QueueReader`: the queues of one symbol.

use krakpot_core::book::level2::Book;
use krakpot_core::book::level3::Orders;
use krakpot_core::decimal::Decimal;
use krakpot_core::limits::SCALE;
use krakpot_core::wire::message::Side;
use krakpot_lake::queue::{self, Watch};
use pyo3::prelude::*;

use crate::arrow::Frame;
use crate::error::value_error;
use crate::rebuild::{Kind, Rebuilder, of_either};

/// The queues of one symbol, rebuilt from the rows of one session.
#[pyclass(frozen, module = "krakpot._core")]
pub struct QueueReader(Rebuilder<Kind<queue::QueueReader<Book>, queue::QueueReader<Orders>>>);

fn made(session: &str, channel: &str, watch: Watch, event: bool) -> PyResult<QueueReader> {
    let (book, level3) = (queue::QueueReader::new, queue::QueueReader::new);
    Rebuilder::new(channel, watch, |watch| book(session, watch, event), |watch| level3(session, watch, event))
        .map(QueueReader)
}

#[pymethods]
impl QueueReader {
    #[staticmethod]
    #[pyo3(signature = (session, at, *, depth, event = false))]
    fn orders(session: &str, at: i64, depth: usize, event: bool) -> PyResult<Self> {
        made(session, "level3", Watch::Orders { at, depth }, event)
    }

    #[staticmethod]
    fn order(session: &str, order_id: String) -> PyResult<Self> {
        made(session, "level3", Watch::Order { id: order_id }, false)
    }

    #[staticmethod]
    #[pyo3(signature = (session, at, *, channel, side, price))]
    fn level(session: &str, at: i64, channel: &str, side: &str, price: &str) -> PyResult<Self> {
        let side = [Side::Bid, Side::Ask]
            .into_iter()
            .find(|one| one.word() == side)
            .ok_or_else(|| value_error(format!("no side {side:?}; sides: bid, ask")))?;
        let price = Decimal::parse(price.as_bytes())
            .and_then(|price| price.rescale(SCALE))
            .ok_or_else(|| value_error(format!("{price:?} is no price of at most {SCALE} decimals")))?;
        made(session, channel, Watch::Level { side, price, at }, true)
    }

    fn ends(&self, py: Python<'_>, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        self.0.ends(py, rows)
    }

    fn checkpoints(&self, py: Python<'_>, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        self.0.checkpoints(py, rows)
    }

    fn begin(&self, py: Python<'_>, symbol: &str, message: u64) -> PyResult<()> {
        self.0.with(py, |kind| {
            of_either!(kind, books => books.begin(symbol, message));
            Ok(())
        })
    }

    fn messages(&self, py: Python<'_>, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        self.0.messages(py, rows)
    }

    #[getter]
    fn reason(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.0.with(py, |kind| Ok(of_either!(kind, books => books.reason().map(str::to_owned))))
    }

    #[getter]
    fn checksum(&self, py: Python<'_>) -> PyResult<Option<u32>> {
        self.0.with(py, |kind| Ok(of_either!(kind, books => books.checksum())))
    }

    #[getter]
    fn precision(&self, py: Python<'_>) -> PyResult<Option<(u8, u8)>> {
        self.0.with(py, |kind| Ok(of_either!(kind, books => books.precision())))
    }

    #[pyo3(signature = (*, last = false))]
    fn take(&self, py: Python<'_>, last: bool) -> PyResult<Frame> {
        self.0.with(py, |kind| of_either!(kind, books => books.take(last))).map(Frame)
    }
}
