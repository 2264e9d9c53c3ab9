//! `check_frame`: what is wrong with one frame.

use krakpot_core::wire::decode::Decoder;
use pyo3::prelude::*;

use crate::error::{core_error, item_error};

/// Raises what is wrong with a frame, if something is.
#[pyfunction]
pub fn check_frame(py: Python<'_>, frame: &[u8]) -> PyResult<()> {
    let mut first = None;
    let decoded = py.detach(|| {
        Decoder::default().decode(frame, |message, _| {
            message.each_refused(|channel, refused| {
                first.get_or_insert_with(|| (channel, refused.clone()));
            })
        })
    });
    decoded.map_err(|error| core_error(py, &error))?;
    first.map_or(Ok(()), |(channel, refused)| Err(item_error(py, channel, &refused)))
}
