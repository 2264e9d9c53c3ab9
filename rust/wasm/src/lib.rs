//! krakpot for browsers: each file converts, calls the core, wraps. JavaScript wraps it again: `web/` has the package.
//!
//! Each feature becomes a module of its own, so that a page loads only what it uses: `session` is the core, `proof` computes
//! the checksums of recorded rows again, `exchange` is the built-in exchange. None has a clock, a socket or a thread: times
//! are arguments, ns since the epoch as `BigInt`.
#![allow(clippy::must_use_candidate, clippy::new_without_default, reason = "JavaScript has neither")]
#![allow(clippy::needless_pass_by_value, reason = "what JavaScript hands over belongs to the call")]

mod error;
#[cfg(any(feature = "session", feature = "exchange"))]
mod input;
#[cfg(any(feature = "session", feature = "proof"))]
mod json;
#[cfg(feature = "session")]
mod options;
#[cfg(feature = "session")]
mod session;
#[cfg(feature = "session")]
mod digest;
#[cfg(feature = "session")]
mod events;
#[cfg(feature = "session")]
mod book;
#[cfg(feature = "session")]
mod orders;
#[cfg(feature = "proof")]
mod rows;
#[cfg(feature = "proof")]
mod sha256;
#[cfg(feature = "proof")]
mod verifier;
#[cfg(feature = "exchange")]
mod exchange;

use wasm_bindgen::prelude::wasm_bindgen;

/// Version of the package.
#[wasm_bindgen]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").into()
}
