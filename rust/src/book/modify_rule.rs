//! What a `modify` of level 3 does to the place of an order in its queue.
//!
//! It is not documented. [`ModifyRule`] has both answers that others found, and the checksum says which one is right.

/// The place of an order in the queue of its price: the smaller, the earlier it is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Place {
    pub timestamp: i64,
    pub arrival: u64,
}

/// What a `modify` does to the order's place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ModifyRule {
    /// The order keeps its place unless its price changes (so it is in the one capture that others published).
    #[default]
    KeepPlace,
    /// The time that the `modify` carries gives its new place (so it is in Kraken's own SDK for Go).
    TakeTimestamp,
}

impl ModifyRule {
    /// Its name in other languages.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::KeepPlace => "keep_place",
            Self::TakeTimestamp => "take_timestamp",
        }
    }

    /// The rule of that name.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        [Self::KeepPlace, Self::TakeTimestamp].into_iter().find(|rule| rule.word() == word)
    }

    #[inline]
    pub(super) const fn other(self) -> Self {
        match self {
            Self::KeepPlace => Self::TakeTimestamp,
            Self::TakeTimestamp => Self::KeepPlace,
        }
    }

    /// The place of an order after a `modify`: `held` is the place before, `sent` the place of an order that arrives now.
    #[inline]
    pub(super) fn place(self, held: Place, price_changed: bool, sent: Place) -> Place {
        match self {
            _ if price_changed => sent,
            Self::KeepPlace => held,
            // The same time as before: the order stays before later arrivals of that time.
            Self::TakeTimestamp if sent.timestamp == held.timestamp => held,
            Self::TakeTimestamp => sent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_rules() {
        let place = |timestamp, arrival| Place { timestamp, arrival };
        for (held, price_changed, sent, kept, taken) in [
            (place(1, 1), false, place(5, 9), place(1, 1), place(5, 9)),
            (place(1, 1), false, place(1, 9), place(1, 1), place(1, 1)),
            (place(1, 1), true, place(5, 9), place(5, 9), place(5, 9)),
            (place(1, 1), true, place(1, 9), place(1, 9), place(1, 9)),
        ] {
            assert_eq!(ModifyRule::KeepPlace.place(held, price_changed, sent), kept);
            assert_eq!(ModifyRule::TakeTimestamp.place(held, price_changed, sent), taken);
        }
        for rule in [ModifyRule::KeepPlace, ModifyRule::TakeTimestamp] {
            assert_eq!(ModifyRule::named(rule.word()), Some(rule));
            assert_eq!(rule.other().other(), rule);
        }
        assert_eq!(ModifyRule::named(""), None);
    }
}
