//! A matching engine with simulated order flow that speaks Kraken's v2 protocol. No clock, no socket, no file.
//!
//! It shares no decimals, books or checksums with the recorder's core, so that the two check each other. Everything
//! follows from the seed, the requests and the times that it is told.
//!
//! ```
//! use krakpot_exchange::{Endpoint, Exchange};
//!
//! let mut exchange = Exchange::new(10, 1000.0, 1, 0, false);
//! let client = exchange.connect(Endpoint::Public);
//! exchange.receive(client, br#"{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":10}}"#);
//! exchange.advance(1_000_000_000, usize::MAX, 0);
//! assert!(exchange.take(client).len() > 1000, "WebSocket frames, to be written to the client's socket");
//! ```

pub mod engine;
mod exchange;
pub mod faults;
pub mod market;
mod message;
pub mod orders;
pub mod pairs;
mod request;
pub mod rng;
pub mod view;
pub mod wire;

pub use exchange::{Exchange, HASH, PAIRS_MAX, Pace};
pub use request::Endpoint;
