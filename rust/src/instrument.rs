//! Pairs and assets of the instrument channel, and which symbols a pattern selects.

use crate::decimal::Decimal;

/// A pair as the instrument channel describes it. Fields not named here are in `extra`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pair {
    /// `BTC/USD`.
    pub symbol: String,
    /// Base asset.
    pub base: String,
    /// Quote asset.
    pub quote: String,
    /// `online`, `cancel_only`, `delisted`, `limit_only`, `maintenance`, `post_only`, `reduce_only`, `work_in_progress`, or a word not known yet.
    pub status: String,
    /// Decimals of prices: on the wire, in the book, in the checksum.
    pub price_precision: u8,
    /// Decimals of quantities.
    pub qty_precision: u8,
    /// Smallest step of a price, in quote units.
    pub price_increment: Option<Decimal>,
    /// Smallest step of a quantity, in base units.
    pub qty_increment: Option<Decimal>,
    /// Smallest order, in base units.
    pub qty_min: Option<Decimal>,
    /// Smallest order, in quote units.
    pub cost_min: Option<Decimal>,
    /// Decimals of costs.
    pub cost_precision: Option<u8>,
    /// Whether margin trading is offered.
    pub marginable: Option<bool>,
    /// Initial margin, a fraction.
    pub margin_initial: Option<Decimal>,
    /// Largest long position, in base units.
    pub position_limit_long: Option<i64>,
    /// Largest short position, in base units.
    pub position_limit_short: Option<i64>,
    /// Whether an index price exists.
    pub has_index: Option<bool>,
    /// Other fields as JSON, empty where there are none.
    pub extra: String,
}

/// An asset as the instrument channel describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asset {
    /// `BTC`.
    pub id: String,
    /// `enabled`, `depositonly`, …
    pub status: String,
    /// Decimals in the ledger of the exchange.
    pub precision: Option<u8>,
    /// Decimals for display.
    pub precision_display: Option<u8>,
    /// Whether it may be borrowed.
    pub borrowable: Option<bool>,
    /// Fraction of its value accepted as collateral.
    pub collateral_value: Option<Decimal>,
    /// Interest of borrowing.
    pub margin_rate: Option<Decimal>,
    /// `currency`, …
    pub class: Option<String>,
    /// Other fields as JSON, empty where there are none.
    pub extra: String,
}

/// Where a precision comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Inferred from the padded digits of a snapshot.
    Inferred,
    /// From an option of the caller.
    Option,
    /// From the instrument channel.
    Instrument,
}

impl Origin {
    /// The word in the column `origin` of `pairs`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Inferred => "inferred",
            Self::Option => "option",
            Self::Instrument => "instrument",
        }
    }
}

/// Whether `pattern` matches the whole of `symbol`: `*` is any run of characters, `?` is one. Case matters
/// (`AAPLx/USD`).
#[must_use]
pub fn matches(pattern: &str, symbol: &str) -> bool {
    let (pattern, symbol) = (pattern.as_bytes(), symbol.as_bytes());
    let (mut p, mut s) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while s < symbol.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, s));
            p += 1;
        } else if pattern.get(p).is_some_and(|&c| c == b'?' || c == symbol[s]) {
            p += 1;
            s += 1;
        } else if let Some((at, from)) = star {
            // The last star takes one character more. Linear in pattern × symbol, both short.
            star = Some((at, from + 1));
            p = at + 1;
            s = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn globs() {
        for (pattern, symbol, expected) in [
            ("*", "BTC/USD", true),
            ("BTC/*", "BTC/USD", true),
            ("*/USD", "BTC/USDT", false),
            ("*/USD*", "BTC/USDT", true),
            ("?TC/USD", "BTC/USD", true),
            ("BTC/USD", "BTC/USD", true),
            ("btc/usd", "BTC/USD", false),
            ("*B*C*/*D", "BTC/USD", true),
            ("", "BTC/USD", false),
            ("BTC/USD?", "BTC/USD", false),
        ] {
            assert_eq!(matches(pattern, symbol), expected, "{pattern} {symbol}");
        }
    }
}
