//! Errors, as JavaScript throws them.

use wasm_bindgen::JsError;

/// A result whose error is thrown.
pub type Result<T> = std::result::Result<T, JsError>;

/// An argument is wrong.
pub fn wrong(sentence: impl AsRef<str>) -> JsError {
    JsError::new(sentence.as_ref())
}
