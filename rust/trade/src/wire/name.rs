//! Names of own orders (`cl_ord_id`): the strategy's prefix and the order's number, by which an order is known again.

/// Characters of a prefix.
pub const PREFIX_LENGTH: usize = 8;
/// Characters of a number: Kraken takes names of up to 18.
const NUMBER_LENGTH: usize = 10;
/// Digits of a number. Letters that people confuse with digits are left out.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Numbers of orders are smaller: ten digits hold them.
pub const ORDERS_MAX: u64 = 1 << (5 * NUMBER_LENGTH);

/// The names of a strategy's orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names(Box<str>);

impl Names {
    /// Names with this prefix. `None` unless it has eight letters or digits: prefixes of one length are never the begin of
    /// another.
    #[must_use]
    pub fn new(prefix: &str) -> Option<Self> {
        let fits = prefix.len() == PREFIX_LENGTH && prefix.bytes().all(|byte| byte.is_ascii_alphanumeric());
        fits.then(|| Self(prefix.into()))
    }

    /// The prefix.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.0
    }

    /// The name of an order; `None` from [`ORDERS_MAX`] on.
    #[must_use]
    pub fn name(&self, order: u64) -> Option<String> {
        if order >= ORDERS_MAX {
            return None;
        }
        let digit = |place: usize| char::from(DIGITS[usize::try_from(order >> (5 * place) & 31).unwrap_or(0)]);
        Some(self.0.chars().chain((0..NUMBER_LENGTH).rev().map(digit)).collect())
    }

    /// Whether a name has this strategy's prefix.
    #[must_use]
    pub fn has_prefix(&self, name: &str) -> bool {
        name.starts_with(&*self.0)
    }

    /// The number of the order of this name; `None` if it is not one that [`Self::name`] makes.
    #[must_use]
    pub fn order(&self, name: &str) -> Option<u64> {
        let digits = name.strip_prefix(&*self.0)?.as_bytes();
        if digits.len() != NUMBER_LENGTH {
            return None;
        }
        digits.iter().try_fold(0, |number, digit| {
            let value = DIGITS.iter().position(|one| one == digit)?;
            Some(number << 5 | u64::try_from(value).ok()?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a name says which order it is, and no other text does.
    #[test]
    fn names_are_read_back() {
        let names = Names::new("kpmaker0").expect("eight characters");
        assert_eq!(names.name(33).as_deref(), Some("kpmaker00000000011"));
        for order in [0, 1, 31, 32, 33, 1023, 1024, 123_456_789, ORDERS_MAX - 1] {
            let name = names.name(order).expect("a name");
            assert!(name.len() <= 18 && names.has_prefix(&name), "{name}");
            assert_eq!(names.order(&name), Some(order), "{name}");
        }
        assert_eq!(names.name(ORDERS_MAX), None);
        for foreign in [
            "",
            "kpmaker0",
            "kpmaker0000000001",
            "kpmaker000000000001",
            "kpmaker0000000000l",
            "kpmaker0000000000A",
            "kpmakes00000000001",
        ] {
            assert_eq!(names.order(foreign), None, "{foreign}");
        }
        for prefix in ["", "short", "ninechars", "with a b", "quote\"s1", "with-das", "äöüä"] {
            assert_eq!(Names::new(prefix), None, "{prefix}");
        }
    }
}
