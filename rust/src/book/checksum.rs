//! Kraken's CRC32 over the digits of the best levels.
//!
//! For each of the best ten asks, then the best ten bids: the digits of the price, then of the quantity, both without the
//! point and without leading zeros (docs.kraken.com, guide "book checksum v2"). With integers at the pair's precision
//! these are the digits of the two integers. Level 3 has the same for every order of those levels, in the order of the
//! queue. CRC-32/ISO-HDLC, as in zlib.

use std::sync::LazyLock;

/// Levels a side that the checksum covers.
pub const LEVELS: usize = 10;

/// Bytes that hold the digits of two numbers of 128 bits.
pub const DIGITS: usize = 2 * 39;

/// The eight digits of a number below 10^8, the first in the lowest byte, by arithmetic on parts of 64 bits.
#[inline]
const fn eight(value: u64) -> u64 {
    // Fours, pairs, digits: the upper part of each goes below the lower. Reciprocals are exact for what a part holds.
    let fours = (value / 10_000) | ((value % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007F_0000_007F;
    let pairs = hundreds | ((fours - 100 * hundreds) << 16);
    let tens = ((pairs * 103) >> 10) & 0x000F_000F_000F_000F;
    tens | ((pairs - 10 * tens) << 8)
}

/// `0` in each byte.
const ZEROS: u64 = u64::from_le_bytes([b'0'; 8]);
const EIGHT: u64 = 100_000_000;

/// Writes the decimal digits of `value` to `out` from `at` on. Returns where they end. Bytes behind them are overwritten.
///
/// # Panics
/// If they do not fit.
#[inline]
pub fn digits(value: u128, out: &mut [u8; DIGITS + 8], at: usize) -> usize {
    match u64::try_from(value) {
        Ok(value) if value < EIGHT => {
            let digits = eight(value);
            // Zero has a digit too.
            let zeros = (digits.trailing_zeros() / 8).min(7);
            let text = (digits | ZEROS) >> (8 * zeros);
            out[at..at + 8].copy_from_slice(&text.to_le_bytes());
            at + 8 - zeros as usize
        }
        Ok(value) if value < EIGHT * EIGHT => {
            let at = digits((value / EIGHT).into(), out, at);
            out[at..at + 8].copy_from_slice(&(eight(value % EIGHT) | ZEROS).to_le_bytes());
            at + 8
        }
        _ => many_digits(value, out, at),
    }
}

/// The same for 10^16 and more.
#[cold]
fn many_digits(value: u128, out: &mut [u8; DIGITS + 8], at: usize) -> usize {
    let text = value.to_string();
    out[at..at + text.len()].copy_from_slice(text.as_bytes());
    at + text.len()
}

/// Appends the decimal digits of `value`.
pub fn push_digits(value: u128, out: &mut Vec<u8>) {
    let mut text = [0; DIGITS + 8];
    let end = digits(value, &mut text, 0);
    out.extend_from_slice(&text[..end]);
}

/// CRC-32/ISO-HDLC of `bytes`.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// Zeros in front of a text for [`crc32_behind_zeros`].
pub const FRONT: usize = 16;

/// A register of zeros; the library holds its complement. Making one asks what the processor can do, so it is made once.
static ZEROED: LazyLock<crc32fast::Hasher> = LazyLock::new(|| crc32fast::Hasher::new_with_initial(u32::MAX));

/// CRC-32/ISO-HDLC of the bytes behind [`FRONT`] zeros.
///
/// The register begins with ones. That equals a register of zeros with the first four bytes inverted. Zeros in front then
/// change nothing. So as many are taken as make the length a multiple of 16: no rest is left that costs a step a byte.
///
/// # Panics
/// If the text is shorter than the zeros.
#[must_use]
#[inline]
pub fn crc32_behind_zeros(text: &mut [u8]) -> u32 {
    let Some(first) = text[FRONT..].first_chunk_mut::<4>() else { return crc32(&text[FRONT..]) };
    let inverted = |bytes: [u8; 4]| (!u32::from_ne_bytes(bytes)).to_ne_bytes();
    let written = *first;
    *first = inverted(written);
    let mut hasher = ZEROED.clone();
    hasher.update(&text[text.len() % 16..]);
    text[FRONT..FRONT + 4].copy_from_slice(&written);
    hasher.finalize()
}

/// CRC-32/ISO-HDLC of earlier bytes, given by their CRC `before`, and `bytes`.
#[must_use]
pub fn crc32_after(before: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(before);
    hasher.update(bytes);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_equal_the_standard_librarys() {
        let powers = (0..=38).map(|n| 10u128.pow(n)).chain((0..128).map(|n| 1 << n));
        for value in powers.flat_map(|power| [power - 1, power, power + 1, power / 3]).chain([u128::MAX]) {
            let mut out = [b'#'; DIGITS + 8];
            let end = digits(value, &mut out, 3);
            assert_eq!(out[3..end], *value.to_string().as_bytes());
            assert_eq!(out[..3], *b"###");
        }
        // Every number of four digits, above and below.
        for value in (0..10_000).flat_map(|four| [four, four * 10_000, 99_990_000 + four]) {
            assert_eq!(
                eight(value) | ZEROS,
                u64::from_le_bytes(*format!("{value:08}").as_bytes().first_chunk().expect("8"))
            );
        }
    }

    #[test]
    fn crc_is_zlibs() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32_after(crc32(b"1234"), b"56789"), 0xCBF4_3926);
        let mut text = [0; FRONT].to_vec();
        for byte in (b'0'..=b'9').cycle().take(300) {
            assert_eq!(crc32_behind_zeros(&mut text.clone()), crc32(&text[FRONT..]));
            text.push(byte);
        }
    }
}
