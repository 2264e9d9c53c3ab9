//! A matching engine with simulated order flow that speaks Kraken's v2 protocol. No clock, no socket, no file.

pub mod engine;
pub mod pairs;
pub mod rng;
pub mod wire;
