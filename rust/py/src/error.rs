//! Errors of the core as Python exceptions: one `match`.

use krakpot_core::error::Error;
use krakpot_core::wire::message::Refused;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

pyo3::import_exception!(krakpot.errors, ConfigError);
pyo3::import_exception!(krakpot.errors, DecodeError);
pyo3::import_exception!(krakpot.errors, LimitExceeded);

/// An argument is wrong. The class is a `ValueError` as well.
pub fn value_error(sentence: String) -> PyErr {
    ConfigError::new_err((sentence,))
}

/// An earlier call panicked while it held the lock: the object may be in any state.
pub fn poisoned() -> PyErr {
    PyRuntimeError::new_err("an earlier call on this object failed; make a new one")
}

/// What cannot happen unless the extension has a fault.
pub fn fault(error: impl std::fmt::Display) -> PyErr {
    PyRuntimeError::new_err(format!("a fault of krakpot, please report it: {error}"))
}

/// An error of the core, with its facts as attributes.
pub fn core_error(py: Python<'_>, error: &Error) -> PyErr {
    match error {
        Error::Shape { channel, field, offset } => decode_error(py, error, channel, field, Some(*offset)),
        Error::Json { offset, .. } => decode_error(py, error, "", "", Some(*offset)),
        Error::Limit { what, limit, found } => LimitExceeded::new_err((*what, *limit, *found)),
        // Errors without a place in a frame, those to come among them: the core's enum is open.
        _ => decode_error(py, error, "", "", None),
    }
}

/// An item of a message of `channel` that could not be read.
pub fn item_error(py: Python<'_>, channel: &str, refused: &Refused) -> PyErr {
    match &refused.error {
        Error::Decimal { .. } => decode_error(py, &refused.error, channel, refused.field, None),
        error => core_error(py, error),
    }
}

fn decode_error(py: Python<'_>, error: &Error, channel: &str, field: &str, offset: Option<usize>) -> PyErr {
    let facts = || {
        let facts = PyDict::new(py);
        facts.set_item("channel", channel)?;
        facts.set_item("field", field)?;
        facts.set_item("offset", offset)?;
        let class = py.get_type::<DecodeError>();
        class.call((error.to_string(),), Some(&facts))
    };
    facts().map_or_else(|error| error, PyErr::from_value)
}
