//! `krakpot._core`.
