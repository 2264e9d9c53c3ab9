//! `Verifier`: books rebuilt from rows.

use std::sync::Mutex;

use arrow_array::RecordBatch;
use krakpot_core::book::level2::Book;
use krakpot_core::book::level3::Orders;
use krakpot_core::session::Channel;
use krakpot_lake::rebuild;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arrow::batches;
use crate::error::value_error;

/// A verifier of either kind of books.
enum Kind {
    Book(rebuild::Verifier<Book>),
    Level3(rebuild::Verifier<Orders>),
}

/// Rebuilds the books of one session from the rows of its tables alone and recomputes every checksum.
// A mutex, since several threads may hold the object; each call takes it whole.
#[pyclass(frozen, module = "krakpot._core")]
pub struct Verifier(Mutex<Option<Kind>>);

impl Verifier {
    fn each(
        &self,
        py: Python<'_>,
        rows: &Bound<'_, PyAny>,
        take: impl Fn(&mut Kind, &RecordBatch) -> Result<(), String> + Send + Sync,
    ) -> PyResult<()> {
        let batches = batches(rows)?;
        py.detach(|| {
            let mut guard = self.0.lock().map_err(|_| "an earlier call failed".to_owned())?;
            let verifier = guard.as_mut().ok_or_else(|| "the verifier is finished".to_owned())?;
            batches.iter().try_for_each(|batch| take(verifier, batch))
        })
        .map_err(value_error)
    }
}

#[pymethods]
impl Verifier {
    #[new]
    #[pyo3(signature = (session, *, channel = "book", shard = 0, shards = 1))]
    fn new(session: &str, channel: &str, shard: u32, shards: u32) -> PyResult<Self> {
        if shard >= shards {
            return Err(value_error(format!("shard {shard} is not below shards {shards}")));
        }
        let kind = match Channel::named(channel) {
            Some(Channel::Book) => Kind::Book(rebuild::Verifier::new(session, shard, shards)),
            Some(Channel::Level3) => Kind::Level3(rebuild::Verifier::new(session, shard, shards)),
            _ => return Err(value_error(format!("channel {channel:?} has no books; channels: book, level3"))),
        };
        Ok(Self(Mutex::new(Some(kind))))
    }

    fn ends(&self, py: Python<'_>, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        self.each(py, rows, |kind, batch| match kind {
            Kind::Book(verifier) => verifier.ends(batch),
            Kind::Level3(verifier) => verifier.ends(batch),
        })
    }

    fn checkpoints(&self, py: Python<'_>, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        self.each(py, rows, |kind, batch| match kind {
            Kind::Book(verifier) => verifier.checkpoints(batch),
            Kind::Level3(verifier) => verifier.checkpoints(batch),
        })
    }

    fn messages(&self, py: Python<'_>, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        self.each(py, rows, |kind, batch| match kind {
            Kind::Book(verifier) => verifier.messages(batch),
            Kind::Level3(verifier) => verifier.messages(batch),
        })
    }

    fn finish<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let taken = self.0.lock().map_err(|_| value_error("an earlier call failed".into()))?.take();
        let verifier = taken.ok_or_else(|| value_error("the verifier is finished".into()))?;
        let found = match verifier {
            Kind::Book(verifier) => verifier.finish(),
            Kind::Level3(verifier) => verifier.finish(),
        };
        let dict = |found: rebuild::Found| {
            let dict = PyDict::new(py);
            dict.set_item("symbol", found.symbol)?;
            for (name, count) in [
                ("messages", found.messages),
                ("ok", found.ok),
                ("bad", found.bad),
                ("unchecked", found.unchecked),
                ("bad_unexplained", found.bad_unexplained),
                ("unchecked_unexplained", found.unchecked_unexplained),
                ("checkpoints_ok", found.checkpoints_ok),
                ("checkpoints_bad", found.checkpoints_bad),
            ] {
                dict.set_item(name, count)?;
            }
            dict.set_item("problems", found.problems)?;
            Ok(dict)
        };
        found.into_iter().map(dict).collect()
    }
}
