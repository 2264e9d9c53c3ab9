//! Exact amounts: whole numbers in units of a last decimal, and how they are read and rounded. No floats.

/// Parts of a fee rate: a rate of 4000 is 0.40 %.
pub const RATE: i128 = 1_000_000;
/// Decimals beyond which no number is read, so that nothing here overflows.
const DECIMALS_MAX: i32 = 60;

/// Why a number cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// It is none, or far too large.
    NoNumber,
    /// It has more decimals than are allowed.
    TooFine,
}

/// How what lies between two units is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// Away from zero.
    Up,
    /// To the nearer one, halves to the even one.
    HalfEven,
}

/// 10^n.
#[must_use]
pub const fn pow10(n: u8) -> i128 {
    10i128.pow(n as u32)
}

/// Decimals of the amounts of an asset.
#[must_use]
pub fn precision(asset: &str) -> u8 {
    if matches!(asset, "USD" | "EUR" | "GBP" | "JPY") { 4 } else { 10 }
}

/// Reads the text of a JSON number to units of 10^-`decimals`, exactly.
///
/// # Errors
/// If it is no number of up to 30 digits, or has digits behind the last decimal.
pub fn read(text: &str, decimals: u8) -> Result<i128, Wrong> {
    let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let exponent: i32 = exponent.parse().map_err(|_| Wrong::NoNumber)?;
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{}", part.trim_end_matches('0'));
    if digits.is_empty() || digits.len() > 60 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Wrong::NoNumber);
    }
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Ok(0);
    }
    let fine = i32::try_from(part.trim_end_matches('0').len()).map_err(|_| Wrong::NoNumber)?;
    if exponent.abs() > DECIMALS_MAX {
        return Err(Wrong::NoNumber);
    }
    let shift = i32::from(decimals) + exponent - fine;
    // Zeros at the end of a whole number with a negative exponent are not finer.
    let cut = usize::try_from(-shift).unwrap_or(0);
    let kept = digits.len() - (digits.len() - digits.trim_end_matches('0').len()).min(cut);
    let missing = cut - (digits.len() - kept);
    if missing > 0 {
        return Err(Wrong::TooFine);
    }
    let zeros = usize::try_from(shift).unwrap_or(0);
    if kept + zeros > 30 {
        return Err(Wrong::NoNumber);
    }
    let value: i128 = format!("{}{}", &digits[..kept], "0".repeat(zeros)).parse().map_err(|_| Wrong::NoNumber)?;
    Ok(if negative { -value } else { value })
}

/// Divides by a positive number, and rounds.
#[must_use]
pub const fn divide(value: i128, by: i128, rounding: Rounding) -> i128 {
    let (whole, rest) = (value.div_euclid(by), value.rem_euclid(by));
    let up = match rounding {
        Rounding::Up => rest > 0 && value > 0,
        Rounding::HalfEven => rest * 2 > by || (rest * 2 == by && whole % 2 != 0),
    };
    // Away from zero is down for what is below it, and that is what the division did.
    whole + up as i128
}

/// Brings a value from one number of decimals to another.
#[must_use]
pub const fn rescale(value: i128, from: u8, to: u8, rounding: Rounding) -> i128 {
    if to >= from { value * pow10(to - from) } else { divide(value, pow10(from - to), rounding) }
}

/// The text of a value, padded to its decimals.
#[must_use]
pub fn text(value: i128, decimals: u8) -> String {
    let mut digits = Vec::new();
    crate::wire::number(value, decimals, &mut digits);
    digits.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what JSON can write is read exactly, or refused for the right reason.
    #[test]
    fn numbers() {
        for (given, decimals, value) in [
            ("0.00500000", 8, Ok(500_000)),
            ("26500", 1, Ok(265_000)),
            ("26500.0", 1, Ok(265_000)),
            ("26500.00", 1, Ok(265_000)),
            ("1e-8", 8, Ok(1)),
            ("1E-8", 8, Ok(1)),
            ("12e2", 1, Ok(12_000)),
            ("1200e-2", 0, Ok(12)),
            ("90071992547.40993", 5, Ok(9_007_199_254_740_993)),
            ("-0.5", 1, Ok(-5)),
            ("0.0", 0, Ok(0)),
            ("0.05", 1, Err(Wrong::TooFine)),
            ("1e-9", 8, Err(Wrong::TooFine)),
            ("1205e-2", 1, Err(Wrong::TooFine)),
            ("1e31", 0, Err(Wrong::NoNumber)),
            ("1e999999", 0, Err(Wrong::NoNumber)),
            ("1e99999999999", 0, Err(Wrong::NoNumber)),
            ("\"1\"", 0, Err(Wrong::NoNumber)),
            (".", 0, Err(Wrong::NoNumber)),
            ("true", 0, Err(Wrong::NoNumber)),
        ] {
            assert_eq!(read(given, decimals), value, "{given}");
        }
    }

    #[test]
    fn rounding() {
        for (value, up, even) in [(10, 1, 1), (11, 2, 1), (15, 2, 2), (25, 3, 2), (26, 3, 3), (0, 0, 0)] {
            assert_eq!((divide(value, 10, Rounding::Up), divide(value, 10, Rounding::HalfEven)), (up, even), "{value}");
        }
        assert_eq!(rescale(1_329_995, 4, 10, Rounding::Up), 1_329_995_000_000);
        assert_eq!(rescale(132_999_550, 6, 4, Rounding::HalfEven), 1_329_996);
        assert_eq!(text(1_329_995, 4), "132.9995");
    }
}
