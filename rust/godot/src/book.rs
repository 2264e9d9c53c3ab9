//! Books of a session: levels as numbers, for a picture, and as exact texts.

use godot::builtin::{GString, PackedFloat64Array, PackedStringArray, VarDictionary};
use godot::register::godot_api;
use krakpot_core::decimal::Decimal;
use krakpot_core::wire::message::Side;

use crate::session::KrakpotSession;
use crate::values::packed;

/// The sides, in the order of all that is given here.
pub const SIDES: [(Side, &str); 2] = [(Side::Bid, "bids"), (Side::Ask, "asks")];

/// The nearest double; a book's precision is at most ten.
pub fn float(mantissa: i128, scale: u8) -> f64 {
    Decimal { mantissa, scale }.float().unwrap_or(f64::NAN)
}

/// How many levels of each side: a script's negative number means all.
pub fn depth_of(depth: i64) -> usize {
    usize::try_from(depth).unwrap_or(usize::MAX)
}

#[godot_api(secondary)]
impl KrakpotSession {
    /// The best `depth` levels of each side, best first, as numbers: `bids` and `asks`, first the prices, then as many
    /// quantities. Empty if the book is out of sync. A negative depth means all.
    #[func]
    fn numbers(&self, symbol: GString, depth: i64) -> VarDictionary {
        let mut found = VarDictionary::new();
        let Some(book) = self.core().book(&symbol.to_string()) else { return found };
        let (price_precision, qty_precision) = book.precision();
        for (side, name) in SIDES {
            let (mut prices, mut qtys) = (Vec::new(), Vec::new());
            book.each_level(side, depth_of(depth), |price, qty| {
                prices.push(float(price, price_precision));
                qtys.push(float(qty, qty_precision));
            });
            prices.append(&mut qtys);
            found.set(name, &PackedFloat64Array::from(prices));
        }
        found
    }

    /// The same, exactly: `bids` and `asks`, price and quantity in turn, padded to the pair's decimals.
    #[func]
    fn levels(&self, symbol: GString, depth: i64) -> VarDictionary {
        let mut found = VarDictionary::new();
        let Some(book) = self.core().book(&symbol.to_string()) else { return found };
        let (price_precision, qty_precision) = book.precision();
        for (side, name) in SIDES {
            let mut texts = Vec::new();
            book.each_level(side, depth_of(depth), |price, qty| {
                texts.push(Decimal { mantissa: price, scale: price_precision }.to_string());
                texts.push(Decimal { mantissa: qty, scale: qty_precision }.to_string());
            });
            let texts: PackedStringArray = packed(texts);
            found.set(name, &texts);
        }
        found
    }

    /// The checksum of a book in sync, computed now; -1 if it is out of sync.
    #[func]
    fn checksum(&self, symbol: GString) -> i64 {
        self.core().book(&symbol.to_string()).map_or(-1, |book| i64::from(book.clone().checksum()))
    }
}
