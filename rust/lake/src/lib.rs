//! Rows of a lake as Arrow record batches, and what is rebuilt from them.
//!
//! In reading order; a file uses only those above it:
//!
//! | module | what |
//! | --- | --- |
//! | [`batch`] | rows as Arrow record batches |
//! | [`rebuild`] | books rebuilt from rows; every checksum computed again |
//! | [`states`] | the states that the books of a lake went through, to be compared |
//! | `held` | rows of books: the best levels of each |
//! | [`sample`] | the books of one symbol at many times |
//! | [`queue`] | the orders of one symbol: at a time, of one price, and one order's place in its queue |
//! | [`replay`] | rows given back to a session, in their order |
//! | [`changes`] | the books of one symbol after each message that changed them |
//! | [`align`] | which state of one sequence is which of another |

pub mod batch;
mod columns;
pub mod rebuild;
pub mod states;
mod held;
pub mod sample;
pub mod queue;
pub mod replay;
pub mod changes;
pub mod align;
