//! `BookSampler` and `BookChanges`: the books of one symbol at many times, and after each message that changed them.

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampNanosecondType;
use arrow_buffer::ScalarBuffer;
use krakpot_core::book::level2::Book;
use krakpot_core::book::level3::Orders;
use krakpot_lake::changes::{self, ChangeOptions};
use krakpot_lake::sample::{self, Clock, SampleOptions};
use pyo3::prelude::*;

use crate::arrow::{Frame, batches};
use crate::error::value_error;
use crate::rebuild::{Kind, Rebuilder, of_either};

/// The books of one symbol at many times, rebuilt from the rows of one session.
#[pyclass(frozen, module = "krakpot._core")]
pub struct BookSampler(Rebuilder<Kind<sample::BookSampler<Book>, sample::BookSampler<Orders>>>);

fn times(rows: &[RecordBatch]) -> Result<ScalarBuffer<i64>, String> {
    let [batch] = rows else { return Ok(Vec::new().into()) };
    let column = batch.column_by_name("ts").and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>());
    let column = column.ok_or("the times need a column ts of nanoseconds")?;
    let times = column.values().clone();
    if !times.is_sorted() {
        return Err("the times are not sorted".into());
    }
    Ok(times)
}

fn clock(name: &str) -> PyResult<Clock> {
    Clock::named(name).ok_or_else(|| value_error(format!("no clock {name:?}; clocks: recv, event, message")))
}

#[pymethods]
impl BookSampler {
    #[new]
    #[pyo3(signature = (session, *, channel, times, depth, room = 0, clock = "recv", floats = false))]
    fn new(
        session: &str,
        channel: &str,
        times: &Bound<'_, PyAny>,
        depth: usize,
        room: usize,
        clock: &str,
        floats: bool,
    ) -> PyResult<Self> {
        let times = self::times(&batches(times)?).map_err(value_error)?;
        let options = SampleOptions { times, depth, room, clock: self::clock(clock)?, floats };
        let (book, level3) = (sample::BookSampler::new, sample::BookSampler::new);
        Rebuilder::new(channel, options, |options| book(session, options), |options| level3(session, options)).map(Self)
    }

    fn ends(&self, py: Python<'_>, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        self.0.ends(py, rows)
    }

    fn checkpoints(&self, py: Python<'_>, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        self.0.checkpoints(py, rows)
    }

    fn begin(&self, py: Python<'_>, symbol: &str, message: u64, since: i64) -> PyResult<()> {
        self.0.with(py, |kind| {
            of_either!(kind, books => books.begin(symbol, message, since));
            Ok(())
        })
    }

    fn messages(&self, py: Python<'_>, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        self.0.messages(py, rows)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.0.with(py, |kind| {
            of_either!(kind, books => books.close());
            Ok(())
        })
    }

    #[getter]
    fn first(&self, py: Python<'_>) -> PyResult<Option<usize>> {
        self.0.with(py, |kind| Ok(of_either!(kind, books => books.first())))
    }

    fn frame(&self, py: Python<'_>, until: usize) -> PyResult<Frame> {
        let kind = self.0.take(py)?;
        py.detach(|| of_either!(kind, books => books.frame(until))).map(Frame).map_err(value_error)
    }
}

/// The books of one symbol after each message that changed them, rebuilt from the rows of one session.
#[pyclass(frozen, module = "krakpot._core")]
pub struct BookChanges(Rebuilder<Kind<changes::BookChanges<Book>, changes::BookChanges<Orders>>>);

#[pymethods]
impl BookChanges {
    #[new]
    #[pyo3(signature = (session, *, channel, begin, end, depth, clock = "recv", floats = false))]
    fn new(
        session: &str,
        channel: &str,
        begin: i64,
        end: i64,
        depth: usize,
        clock: &str,
        floats: bool,
    ) -> PyResult<Self> {
        let options = ChangeOptions { begin, end, depth, clock: self::clock(clock)?, floats };
        let (book, level3) = (changes::BookChanges::new, changes::BookChanges::new);
        Rebuilder::new(channel, options, |options| book(session, options), |options| level3(session, options)).map(Self)
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

    fn frame(&self, py: Python<'_>) -> PyResult<Frame> {
        let kind = self.0.take(py)?;
        py.detach(|| of_either!(kind, books => books.frame())).map(Frame).map_err(value_error)
    }
}
