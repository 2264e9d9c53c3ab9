//! Exact numbers: an integer and a scale.
//!
//! ```
//! use krakpot_core::decimal::Decimal;
//!
//! let price = Decimal::parse(b"45285.2").unwrap();
//! assert_eq!((price.mantissa, price.scale), (452_852, 1));
//! assert_eq!(price.rescale(10), Some(452_852_000_000_000));
//! ```
//!
//! Every number of the feed is read from its text and never passes through binary floating point. The scale is kept as
//! written: Kraken pads to the pair's precision, which a recording without instrument data is read by.

use crate::error::Error;
use crate::limits::DIGITS_MAX;

/// `mantissa` × 10^-`scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Decimal {
    /// The digits as an integer; at most 38 of them.
    pub mantissa: i128,
    /// Decimals as written (`1.50` has two).
    pub scale: u8,
}

/// 10^n.
///
/// # Panics
/// For n > 38, which no caller passes: scales are bounded before.
#[must_use]
pub const fn pow10(n: u8) -> i128 {
    const POWERS: [i128; 39] = {
        let mut powers = [1i128; 39];
        let mut i = 1;
        while i < 39 {
            powers[i] = powers[i - 1] * 10;
            i += 1;
        }
        powers
    };
    POWERS[n as usize]
}

/// The powers of ten that 64 bits hold.
const POWERS: [i64; 19] = {
    let mut powers = [1i64; 19];
    let mut i = 1;
    while i < 19 {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// Division by a power of ten that leaves no rest, by one multiplication: it takes a tenth of the time of a division.
#[derive(Debug, Clone, Copy)]
pub struct Tens {
    /// Of 5^n, modulo 2^64.
    inverse: u64,
    /// n: a factor of 2^n is left.
    twos: u32,
    /// The largest quotient.
    most: u64,
}

impl Tens {
    /// Division by 10^`n`; `None` if 64 bits do not hold that.
    #[inline]
    #[must_use]
    pub fn new(n: u8) -> Option<Self> {
        const ALL: [Tens; 20] = {
            let mut all = [Tens { inverse: 1, twos: 0, most: u64::MAX }; 20];
            let mut n = 1;
            while n < 20 {
                // The inverse of 5: 5 × 0xCCCC_CCCC_CCCC_CCCD = 2^66 + 1.
                let inverse = all[n - 1].inverse.wrapping_mul(0xCCCC_CCCC_CCCC_CCCD);
                all[n] = Tens { inverse, twos: all[n - 1].twos + 1, most: all[n - 1].most / 10 };
                n += 1;
            }
            all
        };
        ALL.get(usize::from(n)).copied()
    }

    /// The quotient; `None` if there is a rest.
    ///
    /// The inverse turns multiples of 5^n, and only these, into their quotients; any other number becomes larger than each
    /// of them. The rotation does the same for 2^n.
    #[inline]
    #[must_use]
    pub fn divide(self, value: u64) -> Option<u64> {
        let quotient = value.wrapping_mul(self.inverse).rotate_right(self.twos);
        (quotient <= self.most).then_some(quotient)
    }
}

impl Decimal {
    /// Zero.
    pub const ZERO: Self = Self { mantissa: 0, scale: 0 };

    /// Reads a JSON number: plain, padded, bare-integer or exponent form.
    ///
    /// `None` if it is not one by JSON's grammar, or if it has more than 38 significant digits, or a value that cannot
    /// be written with 38 digits before and 255 decimals behind the point.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        // The hot case: up to 18 digits, no exponent. 18 digits never overflow a u64.
        let (negative, digits) = match text.first() {
            Some(b'-') => (true, &text[1..]),
            _ => (false, text),
        };
        if digits.len() <= 19 {
            let mut value = 0u64;
            let mut point = None;
            let mut plain = true;
            for (i, &byte) in digits.iter().enumerate() {
                let digit = byte.wrapping_sub(b'0');
                if digit < 10 {
                    value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
                } else if byte == b'.' && point.is_none() {
                    point = Some(i);
                } else {
                    plain = false;
                    break;
                }
            }
            let whole = point.unwrap_or(digits.len());
            let leading_zero = whole > 1 && digits[0] == b'0';
            let decimals = digits.len() - whole - usize::from(point.is_some());
            // Never overflows: at most 19 digits, and 10^19 < 2^64.
            if plain && whole > 0 && !leading_zero && (point.is_none() || decimals > 0) {
                let value = i128::from(value);
                #[allow(clippy::cast_possible_truncation, reason = "at most 19")]
                return Some(Self { mantissa: if negative { -value } else { value }, scale: decimals as u8 });
            }
        }
        Self::parse_any(negative, digits)
    }

    /// The general form: any length, exponents. `digits` has no sign.
    fn parse_any(negative: bool, digits: &[u8]) -> Option<Self> {
        let count = |from: usize| digits[from..].iter().take_while(|b| b.is_ascii_digit()).count();
        let whole = count(0);
        if whole == 0 || (whole > 1 && digits[0] == b'0') {
            return None;
        }
        let mut at = whole;
        let mut decimals = 0;
        if digits.get(at) == Some(&b'.') {
            decimals = count(at + 1);
            if decimals == 0 {
                return None;
            }
            at += 1 + decimals;
        }
        let mut exponent = 0i64;
        if matches!(digits.get(at), Some(b'e' | b'E')) {
            at += 1;
            let minus = digits.get(at) == Some(&b'-');
            if matches!(digits.get(at), Some(b'+' | b'-')) {
                at += 1;
            }
            let length = count(at);
            if length == 0 {
                return None;
            }
            for &byte in &digits[at..at + length] {
                exponent = (exponent * 10 + i64::from(byte - b'0')).min(1_000_000_000);
            }
            at += length;
            if minus {
                exponent = -exponent;
            }
        }
        if at != digits.len() {
            return None;
        }
        let mut figures = digits[..whole].iter().chain(digits.get(whole + 1..whole + 1 + decimals).unwrap_or(&[]));
        let total = whole + decimals;
        // Trailing zeros are given up only where the digits would not fit otherwise.
        let zeros = figures.clone().rev().take_while(|b| **b == b'0').count();
        let significant = total - zeros - figures.clone().take_while(|b| **b == b'0').count().min(total - zeros);
        if significant == 0 {
            let scale = u8::try_from(i64::try_from(decimals).ok()?.saturating_sub(exponent).clamp(0, 255)).ok()?;
            return Some(Self { mantissa: 0, scale });
        }
        if significant > DIGITS_MAX as usize {
            return None;
        }
        let mut mantissa = 0i128;
        for _ in 0..total - zeros {
            mantissa = mantissa * 10 + i128::from(figures.next()? - b'0');
        }
        let mut scale = i64::try_from(decimals).ok()? - i64::try_from(zeros).ok()? - exponent;
        // Put back as many trailing zeros as fit: the written scale tells the precision.
        let mut back = i64::try_from(zeros).ok()?;
        let bound = pow10(37);
        while (back > 0 || scale < 0) && mantissa.abs() < bound {
            mantissa *= 10;
            scale += 1;
            back -= 1;
        }
        let scale = u8::try_from(scale).ok()?;
        Some(Self { mantissa: if negative { -mantissa } else { mantissa }, scale })
    }

    /// The mantissa at another scale; `None` if a digit would be lost or 38 digits passed.
    #[inline]
    #[must_use]
    pub fn rescale(self, scale: u8) -> Option<i128> {
        if self.scale == scale {
            return Some(self.mantissa);
        }
        if let (Ok(mantissa), Some(up)) = (i64::try_from(self.mantissa), scale.checked_sub(self.scale))
            && let Some(&power) = POWERS.get(usize::from(up))
        {
            // Below 2^63 × 10^18 < 10^37: it fits, and 64-bit factors are multiplied faster.
            return Some(i128::from(mantissa) * i128::from(power));
        }
        self.rescale_any(scale)
    }

    /// The same where digits may be lost, or 64 bits do not hold the factors.
    fn rescale_any(self, scale: u8) -> Option<i128> {
        if self.mantissa == 0 {
            return Some(0);
        }
        if scale > self.scale {
            let up = scale - self.scale;
            if up > 38 {
                return None;
            }
            let value = self.mantissa.checked_mul(pow10(up))?;
            return (value.unsigned_abs() < pow10(38).unsigned_abs()).then_some(value);
        }
        let down = self.scale - scale;
        if down > 38 {
            return None;
        }
        // A 64-bit division costs a fraction of the 128-bit one, and almost every number fits.
        if let (Ok(mantissa), Some(&divisor)) = (i64::try_from(self.mantissa), POWERS.get(usize::from(down))) {
            return (mantissa % divisor == 0).then(|| i128::from(mantissa / divisor));
        }
        (self.mantissa % pow10(down) == 0).then(|| self.mantissa / pow10(down))
    }

    /// The nearest double, for people and pictures: nothing that is kept or compared passes through it. `None` beyond 21
    /// decimals, which no price or quantity has.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "it is rounded once, to the nearest double")]
    pub fn float(self) -> Option<f64> {
        /// Up to here a quotient has the bits of a double and more, since the power of ten has at most 70 of 127.
        const SCALE_MAX: u8 = 21;
        if self.scale > SCALE_MAX {
            return None;
        }
        let magnitude = self.mantissa.unsigned_abs();
        let divisor = pow10(self.scale).unsigned_abs();
        let whole = if magnitude < 1 << 53 {
            // Both are exact as doubles, so that their quotient is rounded once.
            magnitude as f64 / divisor as f64
        } else {
            let up = magnitude.leading_zeros();
            let shifted = magnitude << up;
            // A rest makes the last bit 1, far below those that a double keeps: the cast rounds as the exact quotient would.
            let quotient = (shifted / divisor) | u128::from(!shifted.is_multiple_of(divisor));
            quotient as f64 / (1u128 << up) as f64
        };
        Some(if self.mantissa < 0 { -whole } else { whole })
    }

    /// Decimals that the value needs: the scale without trailing zeros.
    #[must_use]
    pub fn needed(self) -> u8 {
        let (mut mantissa, mut scale) = (self.mantissa, self.scale);
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        scale
    }
}

impl std::fmt::Display for Decimal {
    /// Plain digits, padded to the scale: `0.50000000`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scale = usize::from(self.scale);
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let digits = format!("{:0>width$}", self.mantissa.unsigned_abs(), width = scale + 1);
        let (whole, decimals) = digits.split_at(digits.len() - scale);
        let point = if scale > 0 { "." } else { "" };
        write!(f, "{sign}{whole}{point}{decimals}")
    }
}

/// A number cannot be held. The symbol is empty: the caller knows it.
pub(crate) fn refuse(value: Decimal, scale: u8) -> Error {
    Error::Decimal { symbol: String::new(), text: value.to_string(), scale }
}

/// A price or quantity as an integer at its precision: not negative, no digit lost.
#[inline]
pub(crate) fn scaled(value: Decimal, scale: u8) -> Result<i128, Error> {
    value.rescale(scale).filter(|v| *v >= 0).ok_or_else(|| refuse(value, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(i128, u8)> {
        Decimal::parse(text.as_bytes()).map(|d| (d.mantissa, d.scale))
    }

    /// Goal: the double is the one that the digits mean, which the standard library's reader of text says.
    #[test]
    fn the_nearest_double_is_that_of_the_digits() {
        let mut seed = 1u128;
        let mut checked = 0;
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645).wrapping_add(0x5851_F42D);
            // 126 bits at most: fewer than 38 digits.
            let mantissa = (seed >> (2 + seed % 126)).cast_signed();
            for (mantissa, scale) in [(mantissa, (seed >> 90).to_le_bytes()[0] % 22), (-mantissa, 10), (mantissa, 0)] {
                let number = Decimal { mantissa, scale };
                let text: f64 = number.to_string().parse().unwrap();
                assert_eq!(number.float().unwrap().to_bits() << 1, text.to_bits() << 1, "{number}");
                assert!(mantissa == 0 || number.float().unwrap().is_sign_negative() == (mantissa < 0));
                checked += 1;
            }
        }
        assert_eq!(checked, 60_000);
        assert_eq!(Decimal { mantissa: 1, scale: 22 }.float(), None);
    }

    #[test]
    fn tens_divide_as_division_does() {
        for n in 0..20 {
            let tens = Tens::new(n).expect("64 bits hold it");
            let power = 10u64.pow(n.into());
            let multiples = [0, 1, 2, 9, 10, 123_456_789, u64::MAX / power / 3, u64::MAX / power];
            let near =
                |multiple: u64| [-1, 0, 1, 2, 5, 10].map(|by| (multiple.wrapping_mul(power)).wrapping_add_signed(by));
            for value in
                multiples.into_iter().flat_map(near).chain((0..128).map(|bit| u64::MAX.rotate_left(bit) >> (bit / 2)))
            {
                let expected = (value % power == 0).then(|| value / power);
                assert_eq!(tens.divide(value), expected, "{value} by 10^{n}");
            }
        }
        assert!(Tens::new(20).is_none());
    }

    #[test]
    fn reads_every_form_of_a_json_number() {
        for (text, mantissa, scale) in [
            ("0", 0, 0),
            ("-0", 0, 0),
            ("45285.2", 452_852, 1),
            ("0.00000000", 0, 8),
            ("1e-08", 1, 8),
            ("5.325e-05", 5325, 8),
            ("1E-8", 1, 8),
            ("1.5e3", 1500, 0),
            ("15e+2", 1500, 0),
            ("886110000000.00", 88_611_000_000_000, 2),
            ("-12.50", -1250, 2),
            ("1234567890123456789012.345", 1_234_567_890_123_456_789_012_345, 3),
            ("100000000000000000000000000000000000000", pow10(38), 0),
            ("0.10000000000000000000000000000000000000000000000", pow10(36), 37),
            ("0e999999999999", 0, 0),
        ] {
            if text.len() < 39 {
                assert_eq!(parsed(text), Some((mantissa, scale)), "{text}");
            }
        }
        assert_eq!(
            Decimal::parse(b"0.1000000000000000000000000000000000000000000000").and_then(|d| d.rescale(10)),
            Some(pow10(9))
        );
    }

    #[test]
    fn refuses_what_json_refuses_and_what_does_not_fit() {
        for text in
            ["", "-", "+1", "01", "1.", ".5", "1e", "1e+", "1.2.3", "1 ", "0x1", "NaN", "1e400", "--1", "1e-300"]
        {
            assert_eq!(parsed(text), None, "{text}");
        }
        assert_eq!(parsed(&"1".repeat(39)), None);
        assert_eq!(parsed(&"9".repeat(38)).map(|p| p.1), Some(0));
    }

    #[test]
    fn rescales_exactly_or_not_at_all() {
        let d = |text: &str| Decimal::parse(text.as_bytes()).expect(text);
        assert_eq!(d("1.50").rescale(1), Some(15));
        assert_eq!(d("1.55").rescale(1), None);
        assert_eq!(d("1.5").rescale(10), Some(15_000_000_000));
        assert_eq!(d("1e27").rescale(10), Some(pow10(37)));
        assert_eq!(d("1e28").rescale(10), None);
        assert_eq!(d("0.00000000").rescale(2), Some(0));
        assert_eq!(d("1234567890123456789012.50").rescale(1), Some(12_345_678_901_234_567_890_125));
        assert_eq!(d("1.500").needed(), 1);
    }

    #[test]
    fn writes_padded_digits() {
        for text in ["0.00005100", "63381.0", "7", "-0.50", "0"] {
            assert_eq!(Decimal::parse(text.as_bytes()).expect(text).to_string(), text);
        }
    }
}
