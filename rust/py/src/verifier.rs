//! `Verifier`: books rebuilt from rows.

use std::sync::Mutex;

use arrow_array::RecordBatch;
use krakpot_core::verify;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arrow::batches;
use crate::error::value_error;

/// Rebuilds the books of one session from the rows of its tables alone and recomputes every checksum.
// A mutex, since several threads may hold the object; each call takes it whole.
#[pyclass(frozen, module = "krakpot._core")]
pub struct Verifier(Mutex<Option<verify::Verifier>>);

impl Verifier {
    fn each(
        &self,
        py: Python<'_>,
        rows: &Bound<'_, PyAny>,
        take: impl Fn(&mut verify::Verifier, &RecordBatch) -> Result<(), String> + Send + Sync,
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
    #[pyo3(signature = (session, *, shard = 0, shards = 1))]
    fn new(session: &str, shard: u32, shards: u32) -> PyResult<Self> {
        if shard >= shards {
            return Err(value_error(format!("shard {shard} is not below shards {shards}")));
        }
        Ok(Self(Mutex::new(Some(verify::Verifier::new(session, shard, shards)))))
    }

    fn ends(&self, py: Python<'_>, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        self.each(py, rows, verify::Verifier::ends)
    }

    fn checkpoints(&self, py: Python<'_>, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        self.each(py, rows, verify::Verifier::checkpoints)
    }

    fn book(&self, py: Python<'_>, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        self.each(py, rows, verify::Verifier::book)
    }

    fn finish<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let taken = self.0.lock().map_err(|_| value_error("an earlier call failed".into()))?.take();
        let verifier = taken.ok_or_else(|| value_error("the verifier is finished".into()))?;
        let dict = |found: verify::Found| {
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
        verifier.finish().into_iter().map(dict).collect()
    }
}
