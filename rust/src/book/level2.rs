//! The level-2 book of one symbol, and the one rule of when it may be trusted.
//!
//! [`Life`] takes snapshots and updates and says of each message whether the book is proved by it. The same rule
//! serves the live session, [`krakpot_lake::rebuild`] and the level-3 book ([`crate::book::level3`]): a book lives from its snapshot (or a checkpoint) to the first of
//! wrong checksum, crossed book, or an end from outside (unsubscribed, disconnected, a gap). Updates outside a life
//! change nothing and are counted unchecked. It keeps no history and reads no clock.

use crate::book::checksum::{self, LEVELS};
use crate::decimal::Decimal;
use crate::error::Error;
use crate::limits;
use crate::wire::message::{Entry, Kind, ShortEntry, Side};

/// An integer that holds prices and quantities at the pair's scale: 64 bits, or 128 for the few symbols that need it.
trait Mantissa: Copy + Ord + TryFrom<i128> + Into<i128> + std::ops::Neg<Output = Self> {
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

/// One level: its price as a key that grows towards the touch (asks negated), its quantity.
#[derive(Debug, Clone, Copy)]
struct Level<M: Mantissa> {
    key: M,
    qty: M,
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

/// The text under the checksum of one side: the digits of its best levels, best first, kept as they change.
#[derive(Debug, Clone)]
struct Text<M: Mantissa> {
    /// Zeros ([`checksum::FRONT`]), then the digits. Those of both sides fit, so that the other side's can be put behind.
    digits: M::Digits,
    /// How many of each level, the best in the lowest byte: at most 2 × 39. Bytes behind the last level say nothing.
    lengths: u128,
    /// Where the last level ends.
    end: usize,
    /// Levels.
    count: usize,
}

/// All bits of so many bytes, from the lowest.
#[inline]
const fn bytes_below(count: usize) -> u128 {
    (1 << (8 * count)) - 1
}

impl<M: Mantissa> Text<M> {
    const EMPTY: Self = Self { digits: M::NO_DIGITS, lengths: 0, end: checksum::FRONT, count: 0 };

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
    fn whole(&self) -> &[u8] {
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
    fn insert(&mut self, at: usize, level: Level<M>) {
        let end = if self.count < LEVELS { self.end } else { self.end - self.length(LEVELS - 1) };
        let length = self.splice(self.begin(at), 0, end, level);
        let better = bytes_below(at);
        self.lengths = self.lengths & better | length << (8 * at) | (self.lengths & !better) << 8;
        self.end = end + length as usize;
        self.count = LEVELS.min(self.count + 1);
    }

    /// The level at a place has another quantity.
    #[inline]
    fn replace(&mut self, at: usize, level: Level<M>) {
        let gone = self.length(at);
        let length = self.splice(self.begin(at), gone, self.end, level);
        self.lengths = self.lengths & !(0xFF << (8 * at)) | length << (8 * at);
        self.end = self.end + length as usize - gone;
    }

    /// The level at a place is gone.
    #[inline]
    fn remove(&mut self, at: usize) {
        let (from, gone) = (self.begin(at), self.length(at));
        self.digits.as_mut().copy_within(from + gone..self.end, from);
        let better = bytes_below(at);
        self.lengths = self.lengths & better | (self.lengths >> 8) & !better;
        self.end -= gone;
        self.count -= 1;
    }
}

/// Levels, the worst first, the best last: most changes are near the touch and move little.
#[derive(Debug, Clone)]
pub(crate) struct Ranked<T> {
    /// Levels that fell out of the depth, until they are many; then the levels.
    held: Vec<T>,
    /// How many fell out.
    fallen: usize,
}

impl<T> Default for Ranked<T> {
    fn default() -> Self {
        Self { held: Vec::new(), fallen: 0 }
    }
}

impl<T> std::ops::Deref for Ranked<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        &self.held[self.fallen..]
    }
}

impl<T> std::ops::DerefMut for Ranked<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.held[self.fallen..]
    }
}

impl<T: Copy> Ranked<T> {
    /// The place behind the last level that is worse: among the best first, by quarters, whose comparisons do not wait
    /// for each other; else by halves.
    #[inline]
    pub fn place(&self, worse: impl Fn(&T) -> bool) -> usize {
        let Some((rest, best)) = self.split_last_chunk::<16>() else { return self.partition_point(worse) };
        if !worse(&best[0]) {
            return rest.partition_point(worse);
        }
        let is_worse = |at: usize| usize::from(worse(&best[at]));
        let quarter = 4 * (is_worse(3) + is_worse(7) + is_worse(11));
        rest.len() + quarter + is_worse(quarter) + is_worse(quarter + 1) + is_worse(quarter + 2) + is_worse(quarter + 3)
    }

    #[inline]
    pub fn insert(&mut self, at: usize, level: T) {
        if at == 0 {
            return self.insert_worst(level);
        }
        self.held.insert(self.fallen + at, level);
    }

    /// How many levels there is to be room for at the front.
    fn room(&self) -> usize {
        8 + self.len() / 16
    }

    /// What a snapshot brings, which begins with the best, and what comes up from below: there is room where levels fell
    /// out, or it is made.
    fn insert_worst(&mut self, level: T) {
        if self.fallen == 0 {
            self.fallen = self.room();
            self.held.splice(0..0, std::iter::repeat_n(level, self.fallen));
        }
        self.fallen -= 1;
        self.held[self.fallen] = level;
    }

    #[inline]
    pub fn remove(&mut self, at: usize) -> T {
        self.held.remove(self.fallen + at)
    }

    /// The worst level falls out. To take it away moves all others: that is done for many at once.
    #[inline]
    pub fn fall(&mut self) -> Option<T> {
        let worst = self.first().copied()?;
        self.fallen += 1;
        if self.fallen > 2 * self.room() {
            let room = self.room();
            self.held.drain(..room);
            self.fallen -= room;
        }
        Some(worst)
    }
}

/// One side, and the text under its checksum.
#[derive(Debug, Clone)]
struct Levels<M: Mantissa> {
    held: Ranked<Level<M>>,
    side: Side,
    text: Text<M>,
}

impl<M: Mantissa> Levels<M> {
    fn new(side: Side) -> Self {
        Self { held: Ranked::default(), side, text: Text::EMPTY }
    }

    fn key(&self, price: M) -> M {
        match self.side {
            Side::Bid => price,
            Side::Ask => -price,
        }
    }

    /// Sets a level and keeps the best `depth`; says whether one of the best ten changed, and whether a level to be
    /// removed was there.
    #[inline]
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

/// That a number cannot be held, told without its symbol.
pub(crate) fn refuse(value: Decimal, scale: u8) -> Error {
    Error::Decimal { symbol: String::new(), text: value.to_string(), scale }
}

/// A price or quantity as an integer at its precision: not negative, no digit lost.
#[inline]
pub(crate) fn scaled(value: Decimal, scale: u8) -> Result<i128, Error> {
    value.rescale(scale).filter(|v| *v >= 0).ok_or_else(|| refuse(value, scale))
}

/// Both sides.
#[derive(Debug, Clone)]
struct Sides<M: Mantissa> {
    bids: Levels<M>,
    asks: Levels<M>,
    /// The checksum, as long as none of the levels under it changed.
    checksum: Option<u32>,
}

impl<M: Mantissa> Sides<M> {
    fn new() -> Self {
        Self { bids: Levels::new(Side::Bid), asks: Levels::new(Side::Ask), checksum: None }
    }

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

/// The level-2 book of one symbol: at most `depth` levels a side, prices and quantities as integers at their
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

    /// Levels kept a side.
    #[must_use]
    pub fn depth(&self) -> u16 {
        self.depth
    }

    /// Decimals of prices and of quantities.
    #[must_use]
    pub fn precision(&self) -> (u8, u8) {
        (self.price_precision, self.qty_precision)
    }

    /// Sets one level, zero quantity removes it; then keeps the best `depth` (Kraken's server and its own SDK truncate
    /// after every entry). Says whether a level to be removed was there.
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

    /// Gives the book more decimals; `false` if it would lose some or overflow.
    fn widen(&mut self, price_precision: u8, qty_precision: u8) -> bool {
        let (Some(price), Some(qty)) =
            (price_precision.checked_sub(self.price_precision), qty_precision.checked_sub(self.qty_precision))
        else {
            return false;
        };
        if price > 38 || qty > 38 {
            return false;
        }
        let (price, qty) = (crate::decimal::pow10(price), crate::decimal::pow10(qty));
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

    /// Whether the best bid is at or above the best ask. The checksum is blind below the tenth level, and a book can
    /// be crossed with a right one.
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

/// What a book message turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The book equals the exchange's, by its checksum.
    Ok,
    /// An update outside a life, or a message without a checksum.
    Unchecked,
    /// Another checksum: the book is not the exchange's and its life has ended.
    Mismatch {
        /// As sent.
        expected: u32,
        /// Of the book held.
        computed: u32,
    },
    /// The checksum is right, or none was sent, and yet the best bid is at or above the best ask; the life has ended.
    Crossed,
}

/// Facts of a book message that [`Life::apply`] goes by.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Snapshot or update.
    pub kind: Kind,
    /// Checksum sent along.
    pub checksum: Option<u32>,
    /// Depth in force.
    pub depth: u16,
    /// Price precision in force.
    pub price_precision: u8,
    /// Quantity precision in force.
    pub qty_precision: u8,
}

/// A book that a checksum proves: what [`LifeOf`] asks of it.
pub trait Proved: Sized + std::fmt::Debug {
    /// One entry of its messages.
    type Entry<'a>;
    /// What was learnt of the exchange on the way and outlives a book.
    type Habit: Copy + Default + PartialEq + std::fmt::Debug;

    /// A book without levels.
    fn empty(depth: u16, price_precision: u8, qty_precision: u8) -> Self;

    /// Decimals of prices and of quantities.
    fn precision(&self) -> (u8, u8);

    /// Gives the book more decimals; `false`, and the same book, if it would lose some or overflow.
    fn widen(&mut self, price_precision: u8, qty_precision: u8) -> bool;

    /// Applies the entries of one message; returns how many of them named what was not there.
    ///
    /// # Errors
    /// If an entry cannot be held; the book is then not to be used any more.
    fn apply(&mut self, entries: &[Self::Entry<'_>], habit: Self::Habit) -> Result<u64, Error>;

    /// The checksum after a message for which the exchange says `expected`; `buffer` is scratch memory.
    fn prove(&mut self, expected: u32, habit: &mut Self::Habit, buffer: &mut Vec<u8>) -> u32;

    /// Whether the best bid is at or above the best ask.
    fn crossed(&self) -> bool;
}

impl Proved for Book {
    type Entry<'a> = Entry;
    type Habit = ();

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
        let mut absent = 0;
        for entry in entries {
            absent += u64::from(!self.set(entry)?);
        }
        Ok(absent)
    }

    #[inline]
    fn prove(&mut self, _: u32, (): &mut (), _: &mut Vec<u8>) -> u32 {
        self.checksum()
    }

    fn crossed(&self) -> bool {
        self.crossed()
    }
}

/// The level-2 book of one symbol while it may be trusted.
pub type Life = LifeOf<Book>;

/// A book of one symbol while it may be trusted: the rule, for every book that a checksum proves.
#[derive(Debug, Clone)]
pub struct LifeOf<B: Proved> {
    book: Option<B>,
    /// Entries that named what was not there; Kraken never sends one, so they hint at a lost message.
    pub absent: u64,
    /// What was learnt of the exchange; it outlives the book.
    pub habit: B::Habit,
}

impl<B: Proved> Default for LifeOf<B> {
    fn default() -> Self {
        Self { book: None, absent: 0, habit: B::Habit::default() }
    }
}

impl Life {
    /// The same as [`LifeOf::apply`] of an update in 64 bits, written at the precision in force. `None`, and nothing
    /// done, if it is another one, or the book does not live, or is wider or of another precision.
    #[inline]
    pub fn update(&mut self, terms: &Terms, entries: &[ShortEntry]) -> Option<Outcome> {
        let book = self.book.as_mut()?;
        let Width::Narrow(sides) = &mut book.sides else { return None };
        let precision = (terms.price_precision, terms.qty_precision);
        let written = |entry: &ShortEntry| entry.scales == precision;
        if terms.kind != Kind::Update
            || (book.price_precision, book.qty_precision) != precision
            || !entries.iter().all(written)
        {
            return None;
        }
        for entry in entries {
            let found = sides.set(entry.side, entry.price, entry.qty, book.depth.into());
            self.absent += u64::from(!found);
        }
        Some(self.judge(terms, &mut Vec::new()))
    }
}

impl<B: Proved> LifeOf<B> {
    /// The book, while it lives.
    #[must_use]
    pub fn book(&self) -> Option<&B> {
        self.book.as_ref()
    }

    /// The same, to compute its checksum.
    pub fn book_mut(&mut self) -> Option<&mut B> {
        self.book.as_mut()
    }

    /// Ends the life: unsubscribed, disconnected, a gap.
    pub fn end(&mut self) {
        self.book = None;
    }

    /// Begins a life with a book known from elsewhere (a checkpoint).
    pub fn begin(&mut self, book: B) {
        self.book = Some(book);
    }

    /// Applies one message; `buffer` is scratch memory. A snapshot always rebuilds the book.
    ///
    /// # Errors
    /// [`Error::Decimal`] if an entry cannot be held at the precision in force, [`Error::Limit`] if a book grows beyond
    /// its bound; the life has then ended.
    pub fn apply(&mut self, terms: &Terms, entries: &[B::Entry<'_>], buffer: &mut Vec<u8>) -> Result<Outcome, Error> {
        if terms.kind == Kind::Snapshot {
            self.book = Some(B::empty(terms.depth, terms.price_precision, terms.qty_precision));
        }
        let Some(book) = &mut self.book else { return Ok(Outcome::Unchecked) };
        if book.precision() != (terms.price_precision, terms.qty_precision)
            && !book.widen(terms.price_precision, terms.qty_precision)
        {
            self.book = None;
            return Ok(Outcome::Unchecked);
        }
        match book.apply(entries, self.habit) {
            Ok(absent) => {
                if terms.kind == Kind::Update {
                    self.absent += absent;
                }
                Ok(self.judge(terms, buffer))
            }
            Err(error) => {
                self.book = None;
                Err(error)
            }
        }
    }

    /// What the book is after the entries of a message; it ends if it is not the exchange's.
    #[inline]
    fn judge(&mut self, terms: &Terms, buffer: &mut Vec<u8>) -> Outcome {
        let Some(book) = &mut self.book else { return Outcome::Unchecked };
        let outcome = match terms.checksum {
            Some(expected) => {
                let computed = book.prove(expected, &mut self.habit, buffer);
                if computed == expected { Outcome::Ok } else { Outcome::Mismatch { expected, computed } }
            }
            None => Outcome::Unchecked,
        };
        let outcome = match outcome {
            Outcome::Ok | Outcome::Unchecked if book.crossed() => Outcome::Crossed,
            other => other,
        };
        if matches!(outcome, Outcome::Crossed | Outcome::Mismatch { .. }) {
            self.book = None;
        }
        outcome
    }
}

/// The smallest depth that Kraken offers and that holds `levels` a side.
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
    fn a_life_ends_with_the_first_wrong_checksum_and_begins_with_a_snapshot() {
        let mut buffer = Vec::new();
        let mut life = Life::default();
        let terms =
            |kind, checksum| Terms { kind, checksum: Some(checksum), depth: 10, price_precision: 1, qty_precision: 8 };
        let update = [entry(Side::Bid, "10.1", "1")];
        assert_eq!(life.apply(&terms(Kind::Update, 1), &update, &mut buffer), Ok(Outcome::Unchecked));
        let right = checksum::crc32(b"101100000000");
        assert_eq!(life.apply(&terms(Kind::Snapshot, right), &update, &mut buffer), Ok(Outcome::Ok));
        assert_eq!(life.apply(&terms(Kind::Update, right), &[], &mut buffer), Ok(Outcome::Ok));
        let wrong = life.apply(&terms(Kind::Update, 7), &[], &mut buffer);
        assert_eq!(wrong, Ok(Outcome::Mismatch { expected: 7, computed: right }));
        assert_eq!(life.apply(&terms(Kind::Update, right), &[], &mut buffer), Ok(Outcome::Unchecked));
        assert!(life.book().is_none());
    }

    #[test]
    fn more_decimals_keep_the_book_and_change_its_digits() {
        let mut buffer = Vec::new();
        let mut life = Life::default();
        let mut terms = Terms {
            kind: Kind::Snapshot,
            checksum: Some(checksum::crc32(b"1011")),
            depth: 10,
            price_precision: 1,
            qty_precision: 0,
        };
        assert_eq!(life.apply(&terms, &[entry(Side::Bid, "10.1", "1")], &mut buffer), Ok(Outcome::Ok));
        terms = Terms { kind: Kind::Update, checksum: Some(checksum::crc32(b"1012510100")), qty_precision: 2, ..terms };
        let update = [entry(Side::Bid, "10.1", "1"), entry(Side::Bid, "10.12", "0.25")];
        assert!(
            life.apply(
                &Terms { price_precision: 2, checksum: Some(checksum::crc32(b"1012251010100")), ..terms },
                &update,
                &mut buffer
            ) == Ok(Outcome::Ok)
        );
    }
}
