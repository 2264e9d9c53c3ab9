//! Kraken's spot market data feed, decoded exactly.
//!
//! A [`session::Session`] takes the frames of one connection with their receive times and gives back rows (tables of
//! exact numbers), events (what happened) and requests (what the protocol calls for next).
//!
//! ```
//! use krakpot_core::session::{Options, Session};
//!
//! let mut session = Session::new("demo", Options { passive: true, ..Options::default() });
//! session.receive(br#"{"channel":"heartbeat"}"#, 1_785_641_750_295_158_100);
//! assert_eq!(session.counts().frames, 1);
//! assert_eq!(session.counts().errors, 0);
//! ```
//!
//! The core has no clock, no socket and no file: time is an argument, requests are handed to the caller.
//! In reading order; a file uses only those above it:
//!
//! | module | what |
//! | --- | --- |
//! | [`error`] | why a frame or a number was refused |
//! | [`limits`] | every bound, in one place |
//! | [`decimal`] | exact numbers: an integer and a scale |
//! | [`instrument`] | pairs, assets, and which symbols a pattern selects |
//! | [`wire`] | what is on the wire: messages, and how bytes are read |
//! | [`book`] | level-2 and level-3 books, their checksums, and when a book may be trusted |
//! | [`table`] | the tables of a lake and their rows, without Arrow |
//! | [`session`] | the protocol state of one connection |
//! | [`digest`] | one number for all that a session made |

pub mod error;
pub mod limits;
pub mod decimal;
pub mod instrument;
pub mod wire;
pub mod book;
pub mod table;
pub mod session;
pub mod digest;

pub use error::Error;
