//! `Digest`: one number for all that a session made.

use std::sync::Mutex;

use krakpot_core::digest;
use pyo3::prelude::*;

use crate::error::poisoned;
use crate::session::Session;

/// One number for all that a session made.
// A mutex, since several threads may hold the object; each call takes it whole.
#[pyclass(frozen, module = "krakpot._core")]
pub struct Digest(Mutex<digest::Digest>);

#[pymethods]
impl Digest {
    #[new]
    fn new() -> Self {
        Self(Mutex::default())
    }

    fn take(&self, py: Python<'_>, session: &Bound<'_, Session>) -> PyResult<()> {
        let shared = session.get();
        py.detach(|| {
            let mut digest = self.0.lock().map_err(|_| poisoned())?;
            digest.take(&mut *shared.lock()?);
            Ok(())
        })
    }

    fn value(&self, py: Python<'_>, session: &Bound<'_, Session>) -> PyResult<u64> {
        let shared = session.get();
        py.detach(|| {
            let digest = self.0.lock().map_err(|_| poisoned())?;
            Ok(digest.value(&*shared.lock()?))
        })
    }
}
