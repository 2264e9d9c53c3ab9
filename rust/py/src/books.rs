//! `Books`: the books of one symbol at many times.

use std::sync::Mutex;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampNanosecondType;
use arrow_buffer::ScalarBuffer;
use krakpot_core::book::level2::Book;
use krakpot_core::book::level3::Orders;
use krakpot_core::session::Channel;
use krakpot_lake::sample::{self, Wanted};
use pyo3::prelude::*;

use crate::arrow::{Frame, batches};
use crate::error::value_error;

/// The books of either channel.
enum Kind {
    Book(sample::Books<Book>),
    Level3(sample::Books<Orders>),
}

/// The books of one symbol at many times, rebuilt from the rows of one session.
// A mutex, since several threads may hold the object; each call takes it whole.
#[pyclass(frozen, module = "krakpot._core")]
pub struct BookSampler(Mutex<Option<Kind>>);

fn times(rows: &[RecordBatch]) -> Result<ScalarBuffer<i64>, String> {
    let [batch] = rows else { return Ok(Vec::new().into()) };
    let column = batch.column_by_name("ts").and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>());
    let column = column.ok_or("the times need a column ts of nanoseconds")?;
    let times = column.values().clone();
    if !times.is_sorted() {
        return Err("the times do not ascend".into());
    }
    Ok(times)
}

impl BookSampler {
    fn with<T: Send>(&self, py: Python<'_>, call: impl FnOnce(&mut Kind) -> Result<T, String> + Send) -> PyResult<T> {
        py.detach(|| {
            let mut guard = self.0.lock().map_err(|_| "an earlier call failed".to_owned())?;
            call(guard.as_mut().ok_or_else(|| "the books were taken".to_owned())?)
        })
        .map_err(value_error)
    }

    fn each(
        &self,
        py: Python<'_>,
        rows: &Bound<'_, PyAny>,
        take: impl Fn(&mut Kind, &RecordBatch) -> Result<(), String> + Send + Sync,
    ) -> PyResult<()> {
        let batches = batches(rows)?;
        self.with(py, |kind| batches.iter().try_for_each(|batch| take(kind, batch)))
    }
}

#[pymethods]
impl BookSampler {
    #[new]
    #[pyo3(signature = (session, *, channel, times, depth, event = false, floats = false))]
    fn new(
        session: &str,
        channel: &str,
        times: &Bound<'_, PyAny>,
        depth: usize,
        event: bool,
        floats: bool,
    ) -> PyResult<Self> {
        let times = self::times(&batches(times)?).map_err(value_error)?;
        let wanted = Wanted { times, depth, event, floats };
        let kind = match Channel::named(channel) {
            Some(Channel::Book) => Kind::Book(sample::Books::new(session, wanted)),
            Some(Channel::Level3) => Kind::Level3(sample::Books::new(session, wanted)),
            _ => return Err(value_error(format!("channel {channel:?} has no books; channels: book, level3"))),
        };
        Ok(Self(Mutex::new(Some(kind))))
    }

    fn ends(&self, py: Python<'_>, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        self.each(py, rows, |kind, batch| match kind {
            Kind::Book(books) => books.ends(batch),
            Kind::Level3(books) => books.ends(batch),
        })
    }

    fn checkpoints(&self, py: Python<'_>, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        self.each(py, rows, |kind, batch| match kind {
            Kind::Book(books) => books.checkpoints(batch),
            Kind::Level3(books) => books.checkpoints(batch),
        })
    }

    fn begin(&self, py: Python<'_>, symbol: &str, message: u64, since: i64) -> PyResult<()> {
        self.with(py, |kind| {
            match kind {
                Kind::Book(books) => books.begin(symbol, message, since),
                Kind::Level3(books) => books.begin(symbol, message, since),
            }
            Ok(())
        })
    }

    fn messages(&self, py: Python<'_>, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        self.each(py, rows, |kind, batch| match kind {
            Kind::Book(books) => books.messages(batch),
            Kind::Level3(books) => books.messages(batch),
        })
    }

    #[getter]
    fn first(&self, py: Python<'_>) -> PyResult<Option<usize>> {
        self.with(py, |kind| {
            Ok(match kind {
                Kind::Book(books) => books.first(),
                Kind::Level3(books) => books.first(),
            })
        })
    }

    fn frame(&self, py: Python<'_>, until: usize) -> PyResult<Frame> {
        let taken = self.0.lock().map_err(|_| value_error("an earlier call failed".into()))?.take();
        let kind = taken.ok_or_else(|| value_error("the books were taken".into()))?;
        py.detach(|| match kind {
            Kind::Book(books) => books.frame(until),
            Kind::Level3(books) => books.frame(until),
        })
        .map(Frame)
        .map_err(value_error)
    }
}
