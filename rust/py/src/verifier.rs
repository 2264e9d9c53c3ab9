//! `Verifier`: books rebuilt from rows, every checksum computed again.

use krakpot_core::book::level2::Book;
use krakpot_core::book::level3::Orders;
use krakpot_lake::rebuild::{self, Found};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::value_error;
use crate::rebuild::{Kind, Rebuilder, of_either};

/// Rebuilds the books of one session from the rows of its tables alone and recomputes every checksum.
#[pyclass(frozen, module = "krakpot._core")]
pub struct Verifier(Rebuilder<Kind<rebuild::Verifier<Book>, rebuild::Verifier<Orders>>>);

#[pymethods]
impl Verifier {
    #[new]
    #[pyo3(signature = (session, *, channel = "book", shard = 0, shards = 1))]
    fn new(session: &str, channel: &str, shard: u32, shards: u32) -> PyResult<Self> {
        if shard >= shards {
            return Err(value_error(format!("shard {shard} is not below shards {shards}")));
        }
        let (book, level3) = (rebuild::Verifier::new, rebuild::Verifier::new);
        Rebuilder::new(channel, (), |()| book(session, shard, shards), |()| level3(session, shard, shards)).map(Self)
    }

    fn ends(&self, py: Python<'_>, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        self.0.ends(py, rows)
    }

    fn checkpoints(&self, py: Python<'_>, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        self.0.checkpoints(py, rows)
    }

    fn messages(&self, py: Python<'_>, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        self.0.messages(py, rows)
    }

    fn finish<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let verifier = self.0.take(py)?;
        let found = py.detach(|| of_either!(verifier, verifier => verifier.finish()));
        found.into_iter().map(|found| dict(py, found)).collect()
    }
}

fn dict(py: Python<'_>, found: Found) -> PyResult<Bound<'_, PyDict>> {
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
}
