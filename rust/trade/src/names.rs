//! The name of an order at the exchange: which program made it, and which number it has there.

/// Letters of a prefix.
const PREFIX: usize = 8;
/// Digits of a number after it.
const DIGITS: usize = 10;
/// Letters and digits that cannot be mistaken for each other, in the order of their bytes.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The `cl_ord_id` of an order: the strategy's prefix, and the order's number to the base 32. 18 ASCII characters, as
/// many as Kraken allows; in the order of the numbers. `None` if the prefix has not eight letters or digits, or the
/// number more than ten digits.
#[must_use]
pub fn cl_ord_id(prefix: &str, number: u64) -> Option<String> {
    if prefix.len() != PREFIX || !prefix.bytes().all(|letter| letter.is_ascii_alphanumeric()) {
        return None;
    }
    let digit = |place: usize| char::from(ALPHABET[(number >> (5 * place) & 31) as usize]);
    (number >> (5 * DIGITS) == 0).then(|| prefix.chars().chain((0..DIGITS).rev().map(digit)).collect())
}

/// The number of the order with this `cl_ord_id`; `None` if another program named it.
#[must_use]
pub fn order_number(prefix: &str, text: &str) -> Option<u64> {
    let digits = text.strip_prefix(prefix)?;
    if prefix.len() != PREFIX || digits.len() != DIGITS {
        return None;
    }
    digits.bytes().try_fold(0u64, |number, letter| {
        let digit = ALPHABET.iter().position(|known| *known == letter)?;
        Some(number << 5 | digit as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: numbers and names are told apart and found again, at both ends and in between; names are in the order of
    /// numbers.
    #[test]
    fn there_and_back() {
        assert_eq!(cl_ord_id("makerBTC", 33).as_deref(), Some("makerBTC0000000011"));
        let mut last = String::new();
        for number in [0, 1, 31, 32, 1_000_000, (1 << 50) - 1] {
            let name = cl_ord_id("makerBTC", number).expect("it fits");
            assert!(name.len() == 18 && name.is_ascii() && name > last, "{name}");
            assert_eq!(order_number("makerBTC", &name), Some(number));
            assert_eq!(order_number("makerETH", &name), None, "another program's");
            last = name;
        }
        assert_eq!(cl_ord_id("makerBTC", 1 << 50), None);
    }

    /// Goal: what is no name of ours has no number.
    #[test]
    fn strange_names() {
        for prefix in ["short", "too-long-a", "maker BT", "makerBT\u{e9}"] {
            assert_eq!(cl_ord_id(prefix, 1), None, "{prefix}");
        }
        for name in
            ["", "makerBTC", "makerBTC000000001", "makerBTC00000000011", "makerBTC000000001I", "makerBTC00000000\u{e9}"]
        {
            assert_eq!(order_number("makerBTC", name), None, "{name}");
        }
    }
}
