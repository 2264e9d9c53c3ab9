//! Kraken's CRC32 over the digits of the best levels.
//!
//! For each of the best ten asks, then the best ten bids: the price's digits, then the quantity's, both without the
//! point and without leading zeros (docs.kraken.com, guide "book checksum v2"). With integers at the pair's precision
//! those are just the digits of the two integers. Of level 3 the same is said for every order of those levels, in the
//! order of the queue. CRC-32/ISO-HDLC, as in zlib.

/// Levels a side that the checksum covers.
pub const LEVELS: usize = 10;

/// Writes the decimal digits of `value` at the end of `out`; returns where they begin.
pub fn digits_64(mut value: u64, out: &mut [u8; 39]) -> usize {
    const PAIRS: &[u8; 200] =
        b"0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849\
5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";
    let mut at = out.len();
    while value >= 100 {
        #[allow(clippy::cast_possible_truncation, reason = "below 100")]
        let pair = (value % 100) as usize * 2;
        value /= 100;
        at -= 2;
        out[at] = PAIRS[pair];
        out[at + 1] = PAIRS[pair + 1];
    }
    #[allow(clippy::cast_possible_truncation, reason = "below 100")]
    let rest = value as u8;
    if rest >= 10 {
        at -= 2;
        out[at] = b'0' + rest / 10;
        out[at + 1] = b'0' + rest % 10;
    } else {
        at -= 1;
        out[at] = b'0' + rest;
    }
    at
}

/// The same for 128 bits: at most 39 digits.
pub fn digits_128(mut value: u128, out: &mut [u8; 39]) -> usize {
    if let Ok(value) = u64::try_from(value) {
        return digits_64(value, out);
    }
    let mut at = out.len();
    while value > 0 {
        at -= 1;
        #[allow(clippy::cast_possible_truncation, reason = "below 10")]
        let digit = (value % 10) as u8;
        out[at] = b'0' + digit;
        value /= 10;
    }
    at
}

/// Appends the decimal digits of `value`.
pub fn push_digits(value: u128, out: &mut Vec<u8>) {
    let mut digits = [0; 39];
    let begin = digits_128(value, &mut digits);
    out.extend_from_slice(&digits[begin..]);
}

/// CRC-32/ISO-HDLC of `bytes`.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// CRC-32/ISO-HDLC of what came `before`, which is given as its CRC, and `bytes`.
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
        let mut out = [0; 39];
        for value in [0, 1, 9, 10, 99, 100, 101, 12_345, u64::MAX] {
            let at = digits_64(value, &mut out);
            assert_eq!(out[at..], *value.to_string().as_bytes());
        }
        for value in [7, u128::from(u64::MAX) + 1, u128::MAX] {
            let at = digits_128(value, &mut out);
            assert_eq!(out[at..], *value.to_string().as_bytes());
        }
    }

    #[test]
    fn crc_is_zlibs() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32_after(crc32(b"1234"), b"56789"), 0xCBF4_3926);
    }
}
