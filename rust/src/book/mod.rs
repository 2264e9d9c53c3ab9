//! Books, and when they may be trusted.

pub mod checksum;
pub mod level2;
pub mod level3;
