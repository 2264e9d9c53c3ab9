//! `Digest`: one number for all that a session made.

use krakpot_core::digest;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::session::Session;

/// One number for all that a session made.
#[wasm_bindgen]
pub struct Digest(digest::Digest);

#[wasm_bindgen]
impl Digest {
    /// Of nothing yet.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self(digest::Digest::default())
    }

    /// Takes the rows that the session has collected.
    pub fn take(&mut self, session: &mut Session) {
        self.0.take(session.core_mut());
    }

    /// The number, 64 bits.
    pub fn value(&self, session: &Session) -> u64 {
        self.0.value(session.core())
    }
}
