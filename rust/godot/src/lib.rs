//! krakpot inside Godot 4: each class converts, calls the core or the built-in exchange, wraps.
//!
//! The words are those of `rust/wasm`. None of the classes has a clock, a socket or a thread: times are arguments, and the
//! addon `godot/addons/krakpot` moves the bytes. What is wrong comes back as a plain sentence, an empty one if all is well.
#![allow(clippy::needless_pass_by_value, reason = "what the engine hands over belongs to the call")]
#![allow(clippy::must_use_candidate, reason = "a script may ignore what it gets")]

mod values;
mod options;
mod session;
mod events;
mod book;
mod orders;
mod exchange;
mod encode;
mod market;
mod request;
mod viewer;
mod stream;
mod entry;
