//! What the tests share.
#![allow(dead_code, reason = "each test uses some of it")]

/// Time of the exchange at the start, ns.
pub const START: i64 = 1_785_641_751_000_000_000;
/// ns.
pub const MS: i64 = 1_000_000;
/// ns.
pub const SECOND: i64 = 1000 * MS;

/// Texts of the WebSocket frames in a block: an own, simple reader.
pub fn texts(mut block: &[u8]) -> Vec<Vec<u8>> {
    let mut texts = Vec::new();
    while let [0x81, length, ..] = *block {
        let (at, length) = match length {
            126 => (4, usize::from(u16::from_be_bytes([block[2], block[3]]))),
            127 => (10, usize::try_from(u64::from_be_bytes(block[2..10].try_into().expect("8"))).expect("fits")),
            short => (2, usize::from(short)),
        };
        texts.push(block[at..at + length].to_vec());
        block = &block[at + length..];
    }
    assert!(block.is_empty(), "whole frames");
    texts
}
