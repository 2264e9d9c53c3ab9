//! `check_frame`: what is wrong with one frame. `text_frame`: a frame as a client sends it.

use krakpot_core::wire::decode::Decoder;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::{core_error, item_error, value_error};

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

/// First byte of a whole text message.
const WHOLE_TEXT: u8 = 0x81;
/// Bit of the second byte: the frame is masked.
const MASKED: u8 = 0x80;
/// The second byte has the length up to 125, or says in how many bytes it follows: two or eight.
const IN_TWO: u8 = 0x7e;
const IN_EIGHT: u8 = 0x7f;

/// The WebSocket frame of a whole text message, masked with `key` as a client's must be (RFC 6455, 5.2 and 5.3).
#[pyfunction]
pub fn text_frame<'py>(py: Python<'py>, text: &[u8], key: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let key: [u8; 4] = key.try_into().map_err(|_| value_error("key: it must have four bytes".into()))?;
    let mut frame = Vec::with_capacity(text.len() + 14);
    frame.push(WHOLE_TEXT);
    match (u8::try_from(text.len()), u16::try_from(text.len())) {
        (Ok(length @ ..IN_TWO), _) => frame.push(MASKED | length),
        (_, Ok(length)) => {
            frame.push(MASKED | IN_TWO);
            frame.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            frame.push(MASKED | IN_EIGHT);
            frame.extend_from_slice(&(text.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&key);
    frame.extend(text.iter().zip(key.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    Ok(PyBytes::new(py, &frame))
}
