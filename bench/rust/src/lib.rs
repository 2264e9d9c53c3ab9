//! What the benchmarks measure, and on which frames. The peers are in [`peers`], the numbers in `benches/core.rs`.

pub mod cases;
pub mod krakpot;
pub mod orders;
pub mod peers;
#[cfg(simdjson)]
pub mod simdjson;

/// What a reader of book frames must have seen: sums that are known in advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Answer {
    /// Number of level entries.
    pub entries: u64,
    /// Sum of all checksums.
    pub checksums: u64,
}
