//! Numbers by their text: the second opinion on [`krakpot_core::decimal`].

use krakpot_core::decimal::Decimal;

/// A JSON number taken apart: the value is ± `digits` × 10^`exponent`, zero has no digits and no sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number {
    negative: bool,
    /// Without zeros at either end.
    digits: String,
    exponent: i64,
}

impl Number {
    /// Takes a JSON number apart; `None` if it is none, or its exponent passes 18 digits.
    pub fn of(text: &str) -> Option<Self> {
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (negative, mantissa) = mantissa.strip_prefix('-').map_or((false, mantissa), |rest| (true, rest));
        let (whole, decimals) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let grammar = !whole.is_empty()
            && is_digits(whole)
            && (whole == "0" || !whole.starts_with('0'))
            && is_digits(decimals)
            && (mantissa.contains('.') != decimals.is_empty())
            && is_digits(exponent.strip_prefix(['-', '+']).unwrap_or(exponent));
        if !grammar {
            return None;
        }
        let all = format!("{whole}{decimals}");
        let digits = all.trim_start_matches('0').trim_end_matches('0');
        if digits.is_empty() {
            return Some(Self { negative: false, digits: String::new(), exponent: 0 });
        }
        let zeros = all.len() - all.trim_end_matches('0').len();
        let exponent = exponent.parse::<i64>().ok().filter(|e| e.abs() < 1_000_000_000_000_000_000)?;
        let exponent = exponent - i64::try_from(decimals.len()).ok()? + i64::try_from(zeros).ok()?;
        Some(Self { negative, digits: digits.into(), exponent })
    }

    /// The same of the core's number, by the standard library's digits.
    pub fn of_decimal(value: Decimal) -> Self {
        Self::of(&format!("{}e-{}", value.mantissa, value.scale)).expect("an integer is a number")
    }

    /// The value × 10^`scale`, if it is whole and below 10^38.
    pub fn scaled(&self, scale: i64) -> Option<i128> {
        if self.digits.is_empty() {
            return Some(0);
        }
        let shift = usize::try_from(self.exponent.checked_add(scale)?).ok()?;
        if self.digits.len().checked_add(shift)? > 38 {
            return None;
        }
        let value: i128 = format!("{}{}", self.digits, "0".repeat(shift)).parse().ok()?;
        Some(if self.negative { -value } else { value })
    }

    /// Whether 38 digits and 255 decimals are enough to write it: then the core has no reason to refuse it.
    pub fn plain(&self) -> bool {
        let Ok(digits) = i64::try_from(self.digits.len()) else { return false };
        let before = digits + self.exponent.max(0);
        before <= 38 && self.exponent >= -255
    }
}

#[cfg(test)]
mod tests {
    use super::Number;

    /// Goal: the second opinion itself is right where the answer is known.
    #[test]
    fn numbers_by_their_text() {
        for (text, scaled) in
            [("1.50", Some(150)), ("15e-1", Some(150)), ("-0.0", Some(0)), ("0.001", None), ("2E1", Some(2000))]
        {
            assert_eq!(Number::of(text).and_then(|n| n.scaled(2)), scaled, "{text}");
        }
        for text in ["", "-", "01", "1.", ".5", "1e", "1e+", "+1", "1.2.3", " 1", "0x1"] {
            assert_eq!(Number::of(text), None, "{text}");
        }
        assert_eq!(Number::of("1.50"), Number::of("1500e-3"));
    }
}
