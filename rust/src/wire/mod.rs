//! What is on the wire: the exchange's messages, and how their bytes are read.
//!
//! In reading order; a file uses only those above it:
//!
//! | module | what |
//! | --- | --- |
//! | [`message`] | the messages: one type for each kind |
//! | [`time`] | times: RFC 3339, nanoseconds of a second and an hour |
//! | `json` | JSON as text: numbers in quotes, strings and objects written |
//! | [`parser`] | any JSON, its numbers as text |
//! | `fast` | the reader of the hot messages, in the exact layout that Kraken sends |
//! | `tape` | the general reader, over simd-json's tape |
//! | [`decode`] | the decoder: tries the fast reader, then the general one |
//! | `request` | requests as text: subscribe, unsubscribe, ping |
//! | `refusal` | refusals of the exchange: what the text of an error means |
//! | [`secret`] | tokens that come back are hidden |

pub mod message;
pub mod time;
pub(crate) mod json;
pub mod parser;
mod fast;
mod tape;
pub mod decode;
pub(crate) mod request;
pub(crate) mod refusal;
pub mod secret;

pub use json::write_text;
