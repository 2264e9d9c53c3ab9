//! Orders and accounts of a strategy, and what would have become of its orders on recorded or live data.
//!
//! No clock, no socket, no file: times are arguments, and what is to be done comes back as values. A strategy's account
//! ([`report`] says what reaches it) is the same on paper and with money; only who answers differs. A file uses only those
//! that are named above it.

pub mod amount;
pub mod pair;
pub mod terms;
pub mod report;
pub mod names;
pub mod wire;
pub mod rate;
pub mod order;
pub mod orders;
pub mod wallet;
pub mod rules;
pub mod limits;
pub mod trader;
pub mod reconcile;
mod clock;
pub mod note;
pub mod journal;
mod shown;
mod ghosts;
mod eaten;
pub mod questions;
mod options;
mod model;
mod queue;
mod bounds;
mod market;
pub mod paper;
pub mod books;
pub mod tally;
pub mod run;
pub mod live;
pub mod engine;
pub mod loaded;
