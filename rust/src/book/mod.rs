//! Books, and when they may be trusted.
//!
//! In reading order; a file uses only those above it:
//!
//! | module | what |
//! | --- | --- |
//! | [`checksum`] | Kraken's CRC32 over the digits of the best levels |
//! | `digits` | the digits of the best levels of one side, kept as they change |
//! | [`sorted`] | the levels of one side in the order of their prices |
//! | [`synced`] | the rule of trust: in sync from the snapshot to the first mismatch, crossing or end |
//! | [`level2`] | the level-2 book |
//! | `slab` | items by number |
//! | [`ids`] | the numbers of orders by their ids |
//! | [`modify_rule`] | what a `modify` of level 3 does to the place of an order |
//! | [`level3`] | the level-3 book: every order, its place in the queue, the level-2 book that follows |

pub mod checksum;
mod digits;
pub mod sorted;
pub mod synced;
pub mod level2;
mod slab;
pub mod ids;
pub mod modify_rule;
pub mod level3;
