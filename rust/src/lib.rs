//! Kraken's spot market data feed, decoded exactly.
//!
//! A [`session::Session`] takes the frames of one connection with their receive times and gives back rows (tables of
//! exact numbers), events (what happened) and requests (what the protocol calls for next).
//!
//! ```
//! use krakpot_core::session::{Options, Session};
//!
//! let mut session = Session::new("demo", Options { observe: true, ..Options::default() });
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
//! | [`instrument`] | pairs, assets, and which symbols a pattern chooses |
//! | [`message`] | what the exchange says, decoded |
//! | [`decode`] | from bytes to messages, by simd-json; `layout`: the hot ones, as Kraken lays them out |
//! | [`checksum`] | Kraken's CRC32 over the digits of the best levels |
//! | [`book`] | the level-2 book, and the one rule of when it may be trusted |
//! | [`orders`] | the level-3 book: every order, its place in the queue, and the level-2 book that follows |
//! | [`schema`] | the tables and their columns |
//! | [`rows`] | rows being collected, column by column |
//! | [`runs`] | the same of book messages, whose rows share most of their cells |
//! | `batch` | rows as Arrow record batches (feature `arrow`) |
//! | [`secret`] | tokens that the exchange repeats are made unreadable |
//! | [`session`] | the protocol state of one connection |
//! | [`verify`] | books rebuilt from rows alone |
//! | [`compare`] | the states that the books of a lake went through, to be compared |
//! | [`books`] | the books of one symbol at many times |
//! | [`align`] | which state of one sequence is which of another |

pub mod error;
pub mod limits;
pub mod decimal;
pub mod instrument;
pub mod message;
pub mod decode;
mod layout;
pub mod checksum;
pub mod book;
pub mod orders;
pub mod schema;
pub mod rows;
pub mod runs;
#[cfg(feature = "arrow")]
pub mod batch;
pub mod secret;
pub mod session;
#[cfg(feature = "arrow")]
pub mod verify;
#[cfg(feature = "arrow")]
pub mod compare;
#[cfg(feature = "arrow")]
pub mod books;
pub mod align;

pub use error::Error;
