//! The level-2 book of one symbol.
//!
//! A [`Book`] holds at most `depth` levels on each side, in 64 bits, or in 128 bits for the few symbols that need it. It
//! keeps the digits of its best levels as they change, so that a checksum costs one pass over about 200 bytes.
//! [`Synced`] says when it may be trusted.

use crate::book::checksum::{self, LEVELS};
use crate::book::digits::{ChecksumDigits, Level, Mantissa};
use crate::book::sorted::SortedLevels;
use crate::book::synced::{BookMeta, ChecksummedBook, Levels, Outcome, Synced};
use crate::decimal::{Decimal, pow10, refuse, scaled};
use crate::error::Error;
use crate::limits;
use crate::wire::message::{Entry, Kind, ShortEntry, Side};

/// One side, and the digits of which its checksum is.
#[derive(Debug, Clone)]
struct SideLevels<M: Mantissa> {
    held: SortedLevels<Level<M>>,
    side: Side,
    text: ChecksumDigits<M>,
}

impl<M: Mantissa> SideLevels<M> {
    fn new(side: Side) -> Self {
        Self { held: SortedLevels::default(), side, text: ChecksumDigits::EMPTY }
    }

    fn key(&self, price: M) -> M {
        match self.side {
            Side::Bid => price,
            Side::Ask => -price,
        }
    }

    /// Sets a level and keeps the best `depth`. Returns whether one of the best ten changed, and `false` as the second
    /// value if a level to be removed was not there.
    #[allow(
        clippy::inline_always,
        reason = "it is called once or twice a message, and the call costs a twentieth of it"
    )]
    #[inline(always)]
    fn set(&mut self, price: M, qty: M, depth: usize) -> (bool, bool) {
        let level = Level { key: self.key(price), qty };
        let at = self.held.place(|other| other.key < level.key);
        let found = self.held.get(at).is_some_and(|other| other.key == level.key);
        // Its place from the best.
        let from_best = self.held.len() - at - usize::from(found);
        let top = from_best < LEVELS;
        if qty == M::ZERO {
            if found {
                self.held.remove(at);
                if top {
                    self.text.remove(from_best);
                    if let Some(tenth) = self.held.len().checked_sub(LEVELS) {
                        self.text.insert(LEVELS - 1, self.held[tenth]);
                    }
                }
            }
            return (found && top, found);
        }
        if found {
            self.held[at].qty = qty;
            if top {
                self.text.replace(from_best, level);
            }
        } else {
            self.held.insert(at, level);
            if top {
                self.text.insert(from_best, level);
            }
            if self.held.len() > depth {
                self.held.fall();
                if self.text.count > depth {
                    self.text.remove(depth);
                }
            }
        }
        (top, true)
    }

    /// Price and quantity of every level, best first.
    fn iter(&self) -> impl Iterator<Item = (i128, i128)> + '_ {
        self.held.iter().rev().map(|level| (self.key(level.key).into(), level.qty.into()))
    }
}

/// Both sides.
#[derive(Debug, Clone)]
struct Sides<M: Mantissa> {
    bids: SideLevels<M>,
    asks: SideLevels<M>,
    /// The checksum, until one of the best ten levels changes.
    checksum: Option<u32>,
}

impl<M: Mantissa> Sides<M> {
    fn new() -> Self {
        Self { bids: SideLevels::new(Side::Bid), asks: SideLevels::new(Side::Ask), checksum: None }
    }

    #[inline]
    fn set(&mut self, side: Side, price: M, qty: M, depth: usize) -> bool {
        let levels = match side {
            Side::Bid => &mut self.bids,
            Side::Ask => &mut self.asks,
        };
        let (top, found) = levels.set(price, qty, depth);
        if top {
            self.checksum = None;
        }
        found
    }

    fn checksum(&mut self) -> u32 {
        if let Some(checksum) = self.checksum {
            return checksum;
        }
        let (asks, bids) = (self.asks.text.end, self.bids.text.whole());
        let both = asks + bids.len();
        let text = self.asks.text.digits.as_mut();
        text[asks..both].copy_from_slice(bids);
        let checksum = checksum::crc32_behind_zeros(&mut text[..both]);
        self.checksum = Some(checksum);
        checksum
    }

    fn crossed(&self) -> bool {
        match (self.bids.held.last(), self.asks.held.last()) {
            (Some(bid), Some(ask)) => bid.key >= -ask.key,
            _ => false,
        }
    }

    /// The same book with every price multiplied by `price` and every quantity by `qty`, in another integer.
    fn convert<N: Mantissa>(&self, price: i128, qty: i128) -> Option<Sides<N>> {
        let mut other = Sides::new();
        for (from, to) in [(&self.bids, &mut other.bids), (&self.asks, &mut other.asks)] {
            for level in from.held.iter() {
                let (key, quantity): (i128, i128) = (level.key.into(), level.qty.into());
                let key = N::try_from(key.checked_mul(price)?).ok()?;
                let level = Level { key, qty: N::try_from(quantity.checked_mul(qty)?).ok()? };
                to.held.insert(to.held.len(), level);
                to.text.insert(0, level);
            }
        }
        Some(other)
    }
}

/// The level-2 book of one symbol: at most `depth` levels on each side, prices and quantities as integers at their
/// precision.
#[derive(Debug, Clone)]
pub struct Book {
    sides: Width,
    depth: u16,
    price_precision: u8,
    qty_precision: u8,
}

#[derive(Debug, Clone)]
enum Width {
    Narrow(Box<Sides<i64>>),
    Wide(Box<Sides<i128>>),
}

impl Book {
    /// An empty book.
    #[must_use]
    pub fn new(depth: u16, price_precision: u8, qty_precision: u8) -> Self {
        Self { sides: Width::Narrow(Box::new(Sides::new())), depth, price_precision, qty_precision }
    }

    /// Levels kept on each side.
    #[must_use]
    pub fn depth(&self) -> u16 {
        self.depth
    }

    /// Decimals of prices and of quantities.
    #[must_use]
    pub fn precision(&self) -> (u8, u8) {
        (self.price_precision, self.qty_precision)
    }

    /// Sets one level; a quantity of zero removes it. Then keeps the best `depth` levels: Kraken's server and its own SDK
    /// truncate after every entry. Returns `false` if a level to be removed was not there.
    ///
    /// # Errors
    /// [`Error::Decimal`], without a symbol, if a number has more decimals than the precision, or is negative.
    pub fn set(&mut self, entry: &Entry) -> Result<bool, Error> {
        let price = scaled(entry.price, self.price_precision)?;
        let qty = scaled(entry.qty, self.qty_precision)?;
        let depth = usize::from(self.depth);
        if let Width::Narrow(sides) = &mut self.sides {
            if let (Ok(price), Ok(qty)) = (i64::try_from(price), i64::try_from(qty)) {
                return Ok(sides.set(entry.side, price, qty, depth));
            }
            // One level beyond 64 bits (BCH/USD has had an ask of 886,110,000,000.00): the whole book moves to 128.
            let wide = sides.convert(1, 1).ok_or_else(|| refuse(entry.price, self.price_precision))?;
            self.sides = Width::Wide(Box::new(wide));
        }
        match &mut self.sides {
            Width::Wide(sides) => Ok(sides.set(entry.side, price, qty, depth)),
            Width::Narrow(_) => unreachable!("moved to 128 bits above"),
        }
    }

    /// Gives the book more decimals. Returns `false`, and changes nothing, if it would lose some or overflow.
    fn widen(&mut self, price_precision: u8, qty_precision: u8) -> bool {
        let (Some(price), Some(qty)) =
            (price_precision.checked_sub(self.price_precision), qty_precision.checked_sub(self.qty_precision))
        else {
            return false;
        };
        if price > 38 || qty > 38 {
            return false;
        }
        let (price, qty) = (pow10(price), pow10(qty));
        let wide = |sides: Sides<i128>| Width::Wide(Box::new(sides));
        let converted = match &self.sides {
            Width::Narrow(sides) => {
                let narrow = sides.convert(price, qty).map(|sides| Width::Narrow(Box::new(sides)));
                narrow.or_else(|| sides.convert(price, qty).map(wide))
            }
            Width::Wide(sides) => sides.convert(price, qty).map(wide),
        };
        converted.is_some_and(|sides| {
            *self = Self { sides, depth: self.depth, price_precision, qty_precision };
            true
        })
    }

    /// CRC32 of the best ten levels.
    #[inline]
    pub fn checksum(&mut self) -> u32 {
        match &mut self.sides {
            Width::Narrow(sides) => sides.checksum(),
            Width::Wide(sides) => sides.checksum(),
        }
    }

    /// Whether the best bid is at or above the best ask. That is possible with a right checksum, which does not see below
    /// the tenth level.
    #[must_use]
    #[inline]
    pub fn crossed(&self) -> bool {
        match &self.sides {
            Width::Narrow(sides) => sides.crossed(),
            Width::Wide(sides) => sides.crossed(),
        }
    }

    /// The best price of a side.
    #[must_use]
    pub fn best(&self, side: Side) -> Option<Decimal> {
        let price = |price: i128| Decimal { mantissa: price, scale: self.price_precision };
        match (&self.sides, side) {
            (Width::Narrow(sides), Side::Bid) => sides.bids.iter().next().map(|level| price(level.0)),
            (Width::Narrow(sides), Side::Ask) => sides.asks.iter().next().map(|level| price(level.0)),
            (Width::Wide(sides), Side::Bid) => sides.bids.iter().next().map(|level| price(level.0)),
            (Width::Wide(sides), Side::Ask) => sides.asks.iter().next().map(|level| price(level.0)),
        }
    }

    /// Price and quantity of every level of a side as integers at their precision, best first.
    #[must_use]
    pub fn levels(&self, side: Side) -> Vec<(i128, i128)> {
        match (&self.sides, side) {
            (Width::Narrow(sides), Side::Bid) => sides.bids.iter().collect(),
            (Width::Narrow(sides), Side::Ask) => sides.asks.iter().collect(),
            (Width::Wide(sides), Side::Bid) => sides.bids.iter().collect(),
            (Width::Wide(sides), Side::Ask) => sides.asks.iter().collect(),
        }
    }

    /// Calls `each` with price and quantity of the best `depth` levels of a side, best first.
    pub fn each_level(&self, side: Side, depth: usize, mut each: impl FnMut(i128, i128)) {
        let mut each = |(price, qty)| each(price, qty);
        match (&self.sides, side) {
            (Width::Narrow(sides), Side::Bid) => sides.bids.iter().take(depth).for_each(&mut each),
            (Width::Narrow(sides), Side::Ask) => sides.asks.iter().take(depth).for_each(&mut each),
            (Width::Wide(sides), Side::Bid) => sides.bids.iter().take(depth).for_each(&mut each),
            (Width::Wide(sides), Side::Ask) => sides.asks.iter().take(depth).for_each(&mut each),
        }
    }

    /// Levels held, both sides.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.sides {
            Width::Narrow(sides) => sides.bids.held.len() + sides.asks.held.len(),
            Width::Wide(sides) => sides.bids.held.len() + sides.asks.held.len(),
        }
    }

    /// Whether both sides are empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl ChecksummedBook for Book {
    type Entry<'a> = Entry;
    type Rule = ();

    fn empty(depth: u16, price_precision: u8, qty_precision: u8) -> Self {
        Self::new(depth, price_precision, qty_precision)
    }

    fn precision(&self) -> (u8, u8) {
        self.precision()
    }

    fn widen(&mut self, price_precision: u8, qty_precision: u8) -> bool {
        self.widen(price_precision, qty_precision)
    }

    fn apply(&mut self, entries: &[Entry], (): ()) -> Result<u64, Error> {
        let mut unknown = 0;
        for entry in entries {
            unknown += u64::from(!self.set(entry)?);
        }
        Ok(unknown)
    }

    #[inline]
    fn verify_checksum(&mut self, _: u32, (): &mut (), _: &mut Vec<u8>) -> u32 {
        self.checksum()
    }

    fn crossed(&self) -> bool {
        self.crossed()
    }
}

impl Levels for Book {
    fn checksum_level2(&mut self, _: &mut Vec<u8>) -> u32 {
        self.checksum()
    }

    fn each_level(&self, side: Side, depth: usize, each: impl FnMut(i128, i128)) {
        self.each_level(side, depth, each);
    }
}

impl Synced<Book> {
    /// The same as [`Synced::apply`] for an update in 64 bits whose numbers are written at the precision in force.
    /// Returns `None`, and changes nothing, for any other message, and if the book is out of sync, wider than 64 bits or
    /// of another precision.
    #[inline]
    pub fn update(&mut self, meta: &BookMeta, entries: &[ShortEntry]) -> Option<Outcome> {
        let book = self.book_mut()?;
        let Width::Narrow(sides) = &mut book.sides else { return None };
        let precision = (meta.price_precision, meta.qty_precision);
        let written = |entry: &ShortEntry| entry.scales == precision;
        if meta.kind != Kind::Update
            || (book.price_precision, book.qty_precision) != precision
            || !entries.iter().all(written)
        {
            return None;
        }
        let mut unknown = 0;
        for entry in entries {
            let found = sides.set(entry.side, entry.price, entry.qty, book.depth.into());
            unknown += u64::from(!found);
        }
        self.unknown_entries += unknown;
        Some(self.check(meta, &mut Vec::new()))
    }
}

/// The smallest depth that Kraken offers and that holds `levels` on each side.
#[must_use]
pub fn smallest_depth(levels: usize) -> u16 {
    limits::DEPTHS.into_iter().find(|depth| usize::from(*depth) >= levels).unwrap_or(limits::DEPTH_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(side: Side, price: &str, qty: &str) -> Entry {
        let number = |text: &str| Decimal::parse(text.as_bytes()).expect(text);
        Entry { side, price: number(price), qty: number(qty) }
    }

    fn prices(book: &Book, side: Side) -> Vec<i128> {
        book.levels(side).into_iter().map(|(price, _)| price).collect()
    }

    #[test]
    fn keeps_the_best_levels_of_each_side_in_order() {
        let mut book = Book::new(3, 1, 8);
        for price in ["10.1", "10.3", "10.2", "10.0", "10.4"] {
            book.set(&entry(Side::Bid, price, "1")).expect("set");
            book.set(&entry(Side::Ask, price.replace("10.", "11.").as_str(), "1")).expect("set");
        }
        assert_eq!(prices(&book, Side::Bid), [104, 103, 102]);
        assert_eq!(prices(&book, Side::Ask), [110, 111, 112]);
        assert!(book.set(&entry(Side::Bid, "10.3", "0")).expect("set"));
        assert!(!book.set(&entry(Side::Bid, "9.9", "0.00000000")).expect("set"));
        assert_eq!(prices(&book, Side::Bid), [104, 102]);
        assert!(!book.crossed());
        book.set(&entry(Side::Bid, "11.0", "1")).expect("set");
        assert!(book.crossed());
    }

    #[test]
    fn a_level_beyond_64_bits_changes_nothing_but_the_width() {
        let mut narrow = Book::new(10, 2, 8);
        let mut wide = Book::new(10, 2, 8);
        for i in 1..=10 {
            for book in [&mut narrow, &mut wide] {
                book.set(&entry(Side::Ask, &format!("{i}.50"), "0.10000000")).expect("set");
            }
        }
        // In and out again: pushed out by depth at once, but the book is wide from here on.
        wide.set(&entry(Side::Bid, "1", "886110000000.00")).expect("set");
        wide.set(&entry(Side::Bid, "1", "0")).expect("set");
        assert!(matches!(wide.sides, Width::Wide(_)));
        assert_eq!(narrow.levels(Side::Ask), wide.levels(Side::Ask));
        assert_eq!(narrow.checksum(), wide.checksum());
    }

    #[test]
    fn refuses_digits_beyond_the_precision() {
        let mut book = Book::new(10, 1, 8);
        assert!(matches!(book.set(&entry(Side::Bid, "1.55", "1")), Err(Error::Decimal { scale: 1, .. })));
        assert!(matches!(book.set(&entry(Side::Bid, "-1.5", "1")), Err(Error::Decimal { .. })));
        assert!(book.set(&entry(Side::Bid, "1.50000", "1")).is_ok(), "zeros beyond the precision are accepted");
    }

    #[test]
    fn in_sync_from_a_snapshot_to_the_first_wrong_checksum() {
        let mut buffer = Vec::new();
        let mut synced = Synced::<Book>::default();
        let meta = |kind, checksum| BookMeta {
            kind,
            checksum: Some(checksum),
            depth: 10,
            price_precision: 1,
            qty_precision: 8,
        };
        let update = [entry(Side::Bid, "10.1", "1")];
        assert_eq!(synced.apply(&meta(Kind::Update, 1), &update, &mut buffer), Ok(Outcome::Unchecked));
        let right = checksum::crc32(b"101100000000");
        assert_eq!(synced.apply(&meta(Kind::Snapshot, right), &update, &mut buffer), Ok(Outcome::Ok));
        assert_eq!(synced.apply(&meta(Kind::Update, right), &[], &mut buffer), Ok(Outcome::Ok));
        let wrong = synced.apply(&meta(Kind::Update, 7), &[], &mut buffer);
        assert_eq!(wrong, Ok(Outcome::Mismatch { expected: 7, computed: right }));
        assert_eq!(synced.apply(&meta(Kind::Update, right), &[], &mut buffer), Ok(Outcome::Unchecked));
        assert!(synced.book().is_none());
    }

    #[test]
    fn more_decimals_keep_the_book_and_change_its_digits() {
        let mut buffer = Vec::new();
        let mut synced = Synced::<Book>::default();
        let mut meta = BookMeta {
            kind: Kind::Snapshot,
            checksum: Some(checksum::crc32(b"1011")),
            depth: 10,
            price_precision: 1,
            qty_precision: 0,
        };
        assert_eq!(synced.apply(&meta, &[entry(Side::Bid, "10.1", "1")], &mut buffer), Ok(Outcome::Ok));
        meta =
            BookMeta { kind: Kind::Update, checksum: Some(checksum::crc32(b"1012510100")), qty_precision: 2, ..meta };
        let update = [entry(Side::Bid, "10.1", "1"), entry(Side::Bid, "10.12", "0.25")];
        assert!(
            synced.apply(
                &BookMeta { price_precision: 2, checksum: Some(checksum::crc32(b"1012251010100")), ..meta },
                &update,
                &mut buffer
            ) == Ok(Outcome::Ok)
        );
    }
}
