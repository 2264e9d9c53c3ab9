//! A matching engine with simulated order flow that speaks Kraken's v2 protocol. No clock, no socket, no file.
//!
//! It shares no decimals, books or checksums with the recorder's core, so that the two check each other. Everything
//! follows from the seed, the requests and the times that the caller gives. A file uses only those that are named above it.
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

pub mod rng;
pub mod wire;
pub mod amount;
pub mod pairs;
pub mod engine;
pub mod market;
pub mod history;
pub mod view;
pub mod orders;
pub mod rate;
pub mod settings;
pub mod own;
pub mod wallet;
pub mod terms;
mod report;
mod message;
mod request;
pub mod kinds;
mod damage;
pub mod faults;
mod connection;
mod outbox;
mod account;
mod fanout;
mod desk;
mod amend;
mod serve;
mod inject;
mod private;
mod query;
mod exchange;

pub use connection::HASH;
pub use exchange::Exchange;
pub use outbox::Pace;
pub use pairs::PAIRS_MAX;
pub use request::{ENDPOINTS, Endpoint};
