//! Errors of the core as Python exceptions: one `match`.

use pyo3::PyErr;
use pyo3::exceptions::PyValueError;

/// A sentence about a wrong argument.
pub fn value_error(sentence: String) -> PyErr {
    PyValueError::new_err(sentence)
}
