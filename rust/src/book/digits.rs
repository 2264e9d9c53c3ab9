//! The digits of the best levels of a side, kept as the levels change: what the checksum of a level-2 book is of.

use crate::book::checksum::{self, LEVELS};

/// An integer that holds prices and quantities at the pair's scale: 64 bits, or 128 for the few symbols that need it.
pub(super) trait Mantissa: Copy + Ord + TryFrom<i128> + Into<i128> + std::ops::Neg<Output = Self> {
    /// The digits of the best levels of both sides.
    type Digits: AsMut<[u8]> + AsRef<[u8]> + Clone + std::fmt::Debug;
    const NO_DIGITS: Self::Digits;
    const ZERO: Self;
}

impl Mantissa for i64 {
    type Digits = [u8; checksum::FRONT + 2 * LEVELS * 2 * 19];
    const NO_DIGITS: Self::Digits = [0; checksum::FRONT + 2 * LEVELS * 2 * 19];
    const ZERO: Self = 0;
}

impl Mantissa for i128 {
    type Digits = [u8; checksum::FRONT + 2 * LEVELS * 2 * 39];
    const NO_DIGITS: Self::Digits = [0; checksum::FRONT + 2 * LEVELS * 2 * 39];
    const ZERO: Self = 0;
}

/// One level: its price as a key that grows towards the best price (asks negated), and its quantity.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level<M: Mantissa> {
    pub key: M,
    pub qty: M,
}

impl<M: Mantissa> Level<M> {
    /// The digits of price and quantity as the checksum wants them, and how many they are.
    #[inline]
    fn digits(self) -> ([u8; checksum::DIGITS + 8], usize) {
        let mut out = [0; checksum::DIGITS + 8];
        let (price, qty): (i128, i128) = (self.key.into(), self.qty.into());
        let price = checksum::digits(price.unsigned_abs(), &mut out, 0);
        let both = checksum::digits(qty.unsigned_abs(), &mut out, price);
        (out, both)
    }
}

/// The text of which the checksum of one side is: the digits of its best levels, best first.
#[derive(Debug, Clone)]
pub(super) struct ChecksumDigits<M: Mantissa> {
    /// Zeros ([`checksum::FRONT`]), then the digits. Those of both sides fit, so that the other side's can be put behind.
    pub digits: M::Digits,
    /// How many of each level, the best in the lowest byte: at most 2 × 39. Bytes behind the last level say nothing.
    lengths: u128,
    /// Where the last level ends.
    pub end: usize,
    /// How many levels.
    pub count: usize,
}

/// All bits of the lowest `count` bytes.
#[inline]
const fn bytes_below(count: usize) -> u128 {
    (1 << (8 * count)) - 1
}

impl<M: Mantissa> ChecksumDigits<M> {
    pub const EMPTY: Self = Self { digits: M::NO_DIGITS, lengths: 0, end: checksum::FRONT, count: 0 };

    /// Where a level begins: behind all that are better.
    #[inline]
    fn begin(&self, level: usize) -> usize {
        const EVEN: u128 =
            u128::from_le_bytes([0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0]);
        let lengths = self.lengths & bytes_below(level);
        let pairs = (lengths & EVEN) + ((lengths >> 8) & EVEN);
        // Below 2^64 and below 2^16, in which the sums of both halves fit.
        #[allow(clippy::cast_possible_truncation, reason = "see above")]
        let sum = (pairs as u64 + (pairs >> 64) as u64).wrapping_mul(0x0001_0001_0001_0001) >> 48;
        checksum::FRONT + sum as usize
    }

    #[inline]
    fn length(&self, level: usize) -> usize {
        (self.lengths >> (8 * level)) as usize & 0xFF
    }

    /// The digits of all levels.
    pub fn whole(&self) -> &[u8] {
        &self.digits.as_ref()[checksum::FRONT..self.end]
    }

    /// Writes `level` over the `gone` bytes at `from`, moving what follows up to `end`.
    #[inline]
    fn splice(&mut self, from: usize, gone: usize, end: usize, level: Level<M>) -> u128 {
        let (digits, length) = level.digits();
        let text = self.digits.as_mut();
        if gone != length {
            text.copy_within(from + gone..end, from + length);
        }
        let (begin, end) = (from, from + length);
        // In two parts that overlap, whose lengths are known: that takes no call.
        match length {
            8..=16 => {
                text[begin..begin + 8].copy_from_slice(&digits[..8]);
                text[end - 8..end].copy_from_slice(&digits[length - 8..length]);
            }
            17..=32 => {
                text[begin..begin + 16].copy_from_slice(&digits[..16]);
                text[end - 16..end].copy_from_slice(&digits[length - 16..length]);
            }
            _ => text[begin..end].copy_from_slice(&digits[..length]),
        }
        length as u128
    }

    /// A level is new at a place; what it pushes out of the best is gone.
    #[inline]
    pub fn insert(&mut self, at: usize, level: Level<M>) {
        let end = if self.count < LEVELS { self.end } else { self.end - self.length(LEVELS - 1) };
        let length = self.splice(self.begin(at), 0, end, level);
        let better = bytes_below(at);
        self.lengths = self.lengths & better | length << (8 * at) | (self.lengths & !better) << 8;
        self.end = end + length as usize;
        self.count = LEVELS.min(self.count + 1);
    }

    /// The level at a place has another quantity.
    #[inline]
    pub fn replace(&mut self, at: usize, level: Level<M>) {
        let gone = self.length(at);
        let length = self.splice(self.begin(at), gone, self.end, level);
        self.lengths = self.lengths & !(0xFF << (8 * at)) | length << (8 * at);
        self.end = self.end + length as usize - gone;
    }

    /// The level at a place is gone.
    #[inline]
    pub fn remove(&mut self, at: usize) {
        let (from, gone) = (self.begin(at), self.length(at));
        self.digits.as_mut().copy_within(from + gone..self.end, from);
        let better = bytes_below(at);
        self.lengths = self.lengths & better | (self.lengths >> 8) & !better;
        self.end -= gone;
        self.count -= 1;
    }
}
