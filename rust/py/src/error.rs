//! Errors of the core as Python exceptions: one `match`.

use pyo3::PyErr;
use pyo3::exceptions::{PyRuntimeError, PyValueError};

/// A sentence about a wrong argument.
pub fn value_error(sentence: String) -> PyErr {
    PyValueError::new_err(sentence)
}

/// An earlier call panicked while it held the lock: the object may be in any state.
pub fn poisoned() -> PyErr {
    PyRuntimeError::new_err("an earlier call on this object failed; make a new one")
}
