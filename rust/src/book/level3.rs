//! The level-3 book of one symbol: every order in the window of the best levels, its place in the queue of its price,
//! and the level-2 book that follows from it.
//!
//! Orders lie in one slab and are linked, price by price, in the order of their queue: by the order's timestamp, then by
//! arrival, since the orders of a message come in no order. A level keeps the sum of its orders and the digits that the
//! two checksums want of it, so that an event renders its own level again and no other; what lies below the tenth level
//! costs nothing.
//!
//! What an order's `modify` does to its place is not documented: [`Modify`] has both answers, and the checksum says
//! which is right.

use std::ops::{Index, IndexMut};

use foldhash::HashMap;

use crate::book::checksum::{self, LEVELS};
use crate::book::level2::{self, LifeOf, Proved, Ranked};
use crate::decimal::{Decimal, pow10};
use crate::error::Error;
use crate::limits;
use crate::wire::message::{Name, OrderEntry, OrderEvent, OrderId, Side};

/// The number of no order, no level, no other place.
const NONE: u32 = u32::MAX;
/// Bytes of digits that a level without orders keeps for the next one in its place.
const TEXT_KEPT: usize = 1024;
/// Orders passed on the way to places within queues, in one message. Beyond, queues are sorted when it ends: a snapshot
/// of many orders at one price, in no order, costs no more than sorting them.
const WALK_MAX: u32 = 4096;
/// Sums of a level's quantities stay below, as every number of the feed does.
const BOUND: i128 = pow10(38);

/// The level-3 book of one symbol while it may be trusted.
pub type Life = LifeOf<Orders>;

/// Where an order stands in the queue of its price: the smaller, the earlier it is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Place {
    timestamp: i64,
    arrival: u64,
}

/// What a `modify` does to the order's place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Modify {
    /// The order keeps its place unless its price changes (as on the one capture that others have told of).
    #[default]
    KeepPlace,
    /// The order goes where the time that the `modify` carries puts it (Kraken's own SDK for Go).
    TakeTimestamp,
}

impl Modify {
    /// Its name in other languages.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::KeepPlace => "keep_place",
            Self::TakeTimestamp => "take_timestamp",
        }
    }

    /// The answer of that name.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        [Self::KeepPlace, Self::TakeTimestamp].into_iter().find(|answer| answer.word() == word)
    }

    const fn other(self) -> Self {
        match self {
            Self::KeepPlace => Self::TakeTimestamp,
            Self::TakeTimestamp => Self::KeepPlace,
        }
    }

    /// The place of an order after a `modify`, from the place it `held` and the one of an order `sent` anew.
    fn place(self, held: Place, price_changed: bool, sent: Place) -> Place {
        match self {
            _ if price_changed => sent,
            Self::KeepPlace => held,
            // The order's own time says nothing new: it stays before later arrivals of that time.
            Self::TakeTimestamp if sent.timestamp == held.timestamp => held,
            Self::TakeTimestamp => sent,
        }
    }
}

/// Things by number; the numbers of removed ones are used again.
#[derive(Debug, Clone)]
struct Slab<T> {
    items: Vec<T>,
    free: Vec<u32>,
}

impl<T: Default> Slab<T> {
    fn new() -> Self {
        Self { items: Vec::new(), free: Vec::new() }
    }

    /// The number of a thing that the caller fills in.
    fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.items.push(T::default());
            #[allow(clippy::cast_possible_truncation, reason = "at most limits::ORDERS_MAX, and no more levels")]
            let number = (self.items.len() - 1) as u32;
            number
        })
    }

    fn give_back(&mut self, number: u32) {
        self.free.push(number);
    }

    fn len(&self) -> usize {
        self.items.len() - self.free.len()
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, number: u32) -> &T {
        &self.items[number as usize]
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, number: u32) -> &mut T {
        &mut self.items[number as usize]
    }
}

/// One order: 64 bytes.
#[derive(Debug, Clone, Default)]
struct Order {
    /// Packed, or [`NAMED`].
    id: u128,
    qty: i128,
    place: Place,
    before: u32,
    behind: u32,
    level: u32,
    /// Its number in [`Orders::alternatives`].
    alternative: u32,
}

/// Stands for the id of an order whose id has another shape and lies in [`Orders::names`]. No packed id has its top bit.
const NAMED: u128 = u128::MAX;

/// All orders of one price.
#[derive(Debug, Clone, Default)]
struct Level {
    /// The price as a key that grows towards the touch (asks negated).
    key: i128,
    ask: bool,
    qty: i128,
    count: u32,
    first: u32,
    last: u32,
    /// Whether the queue is out of order until the message ends.
    unsorted: bool,
    /// Digits for the checksum, by [`View`]; empty before they were first wanted and after a change.
    digits: [Vec<u8>; 2],
}

/// What a checksum is of.
#[derive(Debug, Clone, Copy)]
enum View {
    /// Price and sum of each level.
    Level2,
    /// Price and quantity of each order.
    Level3,
}

/// One level's place on its side.
#[derive(Debug, Clone, Copy)]
struct Rung {
    key: i128,
    level: u32,
}

/// One side, worst level first, best last, as in [`crate::book::level2`].
#[derive(Debug, Clone, Default)]
struct Ladder(Ranked<Rung>);

impl Ladder {
    fn place(&self, key: i128) -> usize {
        self.0.place(|rung| rung.key < key)
    }

    fn find(&self, key: i128) -> Option<u32> {
        self.0.get(self.place(key)).filter(|rung| rung.key == key).map(|rung| rung.level)
    }

    /// Whether a level of that price is, or would be, under the checksum.
    fn is_top(&self, key: i128) -> bool {
        self.0.len().checked_sub(LEVELS).is_none_or(|tenth| key >= self.0[tenth].key)
    }

    /// The levels' numbers, best first.
    fn best(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().rev().map(|rung| rung.level)
    }
}

impl Level {
    /// Writes its digits for a checksum.
    fn write(&mut self, slab: &Slab<Order>, view: View) {
        let mut text = [0; checksum::DIGITS + 8];
        let price = checksum::digits(self.key.unsigned_abs(), &mut text, 0);
        let digits = &mut self.digits[view as usize];
        match view {
            View::Level2 => {
                let both = checksum::digits(self.qty.unsigned_abs(), &mut text, price);
                digits.extend_from_slice(&text[..both]);
            }
            View::Level3 => {
                let mut number = self.first;
                while number != NONE {
                    let order = &slab[number];
                    // Behind the price, which stays.
                    let both = checksum::digits(order.qty.unsigned_abs(), &mut text, price);
                    digits.extend_from_slice(&text[..both]);
                    number = order.behind;
                }
            }
        }
    }
}

/// What is under a checksum, and the checksum, as long as nothing there changed.
#[derive(Debug, Clone, Default)]
struct Sum {
    /// CRC of the asks' digits.
    asks: Option<u32>,
    /// Whether `text` has the bids' digits.
    bids: bool,
    text: Vec<u8>,
    both: Option<u32>,
}

/// Where an order modified by the last message would stand by the other answer.
#[derive(Debug, Clone, Copy)]
struct Alternative {
    order: u32,
    place: Place,
}

/// The level-3 book of one symbol.
#[derive(Debug, Clone)]
pub struct Orders {
    bids: Ladder,
    asks: Ladder,
    levels: Slab<Level>,
    slab: Slab<Order>,
    packed: HashMap<u128, u32>,
    /// Ids of other shapes, both ways.
    named: HashMap<Box<str>, u32>,
    names: HashMap<u32, Box<str>>,
    arrivals: u64,
    walked: u32,
    unsorted: Vec<u32>,
    alternatives: Vec<Alternative>,
    arbitrated: Option<Modify>,
    replaced: u64,
    /// By [`View`].
    sums: [Sum; 2],
    depth: u16,
    price_precision: u8,
    qty_precision: u8,
}

/// One order and its place, as asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Side.
    pub side: Side,
    /// At the price precision.
    pub price: i128,
    /// At the quantity precision.
    pub qty: i128,
    /// The time that its place goes by, ns.
    pub timestamp: i64,
    /// Orders before it at its price.
    pub orders_ahead: usize,
    /// Their quantity.
    pub qty_ahead: i128,
}

impl Orders {
    /// An empty book.
    #[must_use]
    pub fn new(depth: u16, price_precision: u8, qty_precision: u8) -> Self {
        Self {
            bids: Ladder::default(),
            asks: Ladder::default(),
            levels: Slab::new(),
            slab: Slab::new(),
            packed: HashMap::default(),
            named: HashMap::default(),
            names: HashMap::default(),
            arrivals: 0,
            walked: 0,
            unsorted: Vec::new(),
            alternatives: Vec::new(),
            arbitrated: None,
            replaced: 0,
            sums: Default::default(),
            depth,
            price_precision,
            qty_precision,
        }
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

    /// The answer that the last message's checksum verified, if it could tell the two apart.
    #[must_use]
    pub fn arbitrated(&self) -> Option<Modify> {
        self.arbitrated
    }

    /// Orders added again while they were still held: the new copy replaced the old one.
    #[must_use]
    pub fn replaced(&self) -> u64 {
        self.replaced
    }

    /// Orders held, both sides.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether both sides are empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Applies one message, then keeps the best levels of each side; a level that falls out takes its orders along.
    /// An order without quantity is none. Returns how many entries named an order that was not there.
    ///
    /// # Errors
    /// [`Error::Decimal`], without a symbol, if a number has more decimals than the precision, or is negative, or a
    /// level's sum is beyond 38 digits; [`Error::Limit`] beyond [`limits::ORDERS_MAX`]. The book is then between two
    /// states.
    pub fn apply(&mut self, entries: &[OrderEntry<'_>], modify: Modify) -> Result<u64, Error> {
        self.arbitrated = None;
        for alternative in self.alternatives.drain(..) {
            if alternative.order != NONE {
                self.slab[alternative.order].alternative = NONE;
            }
        }
        self.walked = 0;
        let mut absent = 0;
        for entry in entries {
            match (entry.event, self.number(entry.id)) {
                (OrderEvent::Add, known) => self.add(entry, known)?,
                (OrderEvent::Modify, Some(order)) => self.modify(entry, order, modify)?,
                (OrderEvent::Delete, Some(order)) => self.remove(order),
                (_, None) => absent += 1,
            }
        }
        self.truncate(Side::Bid);
        self.truncate(Side::Ask);
        self.sort();
        Ok(absent)
    }

    fn add(&mut self, entry: &OrderEntry<'_>, known: Option<u32>) -> Result<(), Error> {
        let price = level2::scaled(entry.price, self.price_precision)?;
        let qty = level2::scaled(entry.qty, self.qty_precision)?;
        if let Some(stale) = known {
            self.remove(stale);
            self.replaced += 1;
        }
        if qty == 0 {
            return Ok(());
        }
        if self.len() >= limits::ORDERS_MAX {
            return Err(Error::Limit { what: "ORDERS_MAX", limit: limits::ORDERS_MAX, found: self.len() + 1 });
        }
        let key = key(entry.side, price);
        self.room(entry.side, key, qty)?;
        let place = self.arrival(entry.timestamp);
        let number = self.slab.take();
        let id = match entry.id.0 {
            Name::Packed(id) => {
                self.packed.insert(id, number);
                id
            }
            Name::Text(name) => {
                self.named.insert(name.into(), number);
                self.names.insert(number, name.into());
                NAMED
            }
        };
        self.slab[number] = Order { id, qty, place, before: NONE, behind: NONE, level: NONE, alternative: NONE };
        self.enter(number, entry.side, key);
        Ok(())
    }

    fn modify(&mut self, entry: &OrderEntry<'_>, number: u32, modify: Modify) -> Result<(), Error> {
        let price = level2::scaled(entry.price, self.price_precision)?;
        let qty = level2::scaled(entry.qty, self.qty_precision)?;
        if qty == 0 {
            self.remove(number);
            return Ok(());
        }
        let sent = self.arrival(entry.timestamp);
        let order = &self.slab[number];
        let (held, old_qty, level, alternative) = (order.place, order.qty, order.level, order.alternative);
        let held_otherwise = if alternative == NONE { held } else { self.alternatives[alternative as usize].place };
        let key = key(entry.side, price);
        let moved = self.levels[level].key != key || self.levels[level].ask != (entry.side == Side::Ask);
        let place = modify.place(held, moved, sent);
        let otherwise = modify.other().place(held_otherwise, moved, sent);
        if moved {
            self.room(entry.side, key, qty)?;
            self.leave(number);
            self.slab[number].qty = qty;
            self.slab[number].place = place;
            self.enter(number, entry.side, key);
        } else {
            self.room(entry.side, key, qty - old_qty)?;
            self.levels[level].qty += qty - old_qty;
            self.slab[number].qty = qty;
            if place != held {
                self.dequeue(number);
                self.slab[number].place = place;
                self.enqueue(number, level);
            }
            self.touch(level);
        }
        self.forget_alternative(number);
        if otherwise != place {
            #[allow(clippy::cast_possible_truncation, reason = "a message has fewer entries than FRAME_MAX bytes")]
            let alternative = self.alternatives.len() as u32;
            self.slab[number].alternative = alternative;
            self.alternatives.push(Alternative { order: number, place: otherwise });
        }
        Ok(())
    }

    /// Refuses a quantity that would bring a level's sum beyond the bound.
    fn room(&self, side: Side, key: i128, more: i128) -> Result<(), Error> {
        let held = self.ladder(side).find(key).map_or(0, |level| self.levels[level].qty);
        match held.checked_add(more) {
            Some(sum) if sum < BOUND => Ok(()),
            _ => Err(level2::refuse(Decimal { mantissa: more, scale: self.qty_precision }, self.qty_precision)),
        }
    }

    fn arrival(&mut self, timestamp: i64) -> Place {
        self.arrivals += 1;
        Place { timestamp, arrival: self.arrivals }
    }

    fn ladder(&self, side: Side) -> &Ladder {
        match side {
            Side::Bid => &self.bids,
            Side::Ask => &self.asks,
        }
    }

    fn ladder_mut(&mut self, side: Side) -> &mut Ladder {
        match side {
            Side::Bid => &mut self.bids,
            Side::Ask => &mut self.asks,
        }
    }

    fn number(&self, id: OrderId<'_>) -> Option<u32> {
        match id.0 {
            Name::Packed(id) => self.packed.get(&id).copied(),
            Name::Text(name) => self.named.get(name).copied(),
        }
    }

    fn id(&self, number: u32) -> OrderId<'_> {
        OrderId(match self.slab[number].id {
            NAMED => Name::Text(self.names.get(&number).map_or("", |name| name)),
            id => Name::Packed(id),
        })
    }

    /// Puts an order to the level of its price, which is made where there is none.
    fn enter(&mut self, number: u32, side: Side, key: i128) {
        let ladder = self.ladder(side);
        let at = ladder.place(key);
        let level = match ladder.0.get(at) {
            Some(rung) if rung.key == key => rung.level,
            _ => {
                let level = self.levels.take();
                self.ladder_mut(side).0.insert(at, Rung { key, level });
                let new = &mut self.levels[level];
                (new.key, new.ask, new.qty, new.count) = (key, side == Side::Ask, 0, 0);
                (new.first, new.last) = (NONE, NONE);
                level
            }
        };
        let qty = self.slab[number].qty;
        self.levels[level].qty += qty;
        self.enqueue(number, level);
        let digits = &mut self.levels[level].digits[View::Level3 as usize];
        if self.slab[number].behind == NONE && !digits.is_empty() {
            // The usual case: the order goes to the end of its queue, its digits to the end of the level's.
            let digits = std::mem::take(digits);
            self.touch(level);
            self.levels[level].digits[View::Level3 as usize] = digits;
            self.write_order(number, level);
        } else {
            self.touch(level);
        }
    }

    /// Takes an order from its level, which goes with the last.
    fn leave(&mut self, number: u32) {
        let level = self.slab[number].level;
        self.dequeue(number);
        self.levels[level].qty -= self.slab[number].qty;
        self.touch(level);
        if self.levels[level].count == 0 {
            let (side, key) = (self.side(level), self.levels[level].key);
            let ladder = self.ladder_mut(side);
            let at = ladder.place(key);
            ladder.0.remove(at);
            self.drop_level(level);
        }
    }

    fn remove(&mut self, number: u32) {
        self.leave(number);
        self.drop_order(number);
    }

    fn drop_order(&mut self, number: u32) {
        self.forget_alternative(number);
        match self.slab[number].id {
            NAMED => {
                if let Some(name) = self.names.remove(&number) {
                    self.named.remove(&name);
                }
            }
            id => {
                self.packed.remove(&id);
            }
        }
        self.slab.give_back(number);
    }

    fn drop_level(&mut self, level: u32) {
        self.levels[level].unsorted = false;
        for digits in &mut self.levels[level].digits {
            digits.clear();
            digits.shrink_to(TEXT_KEPT);
        }
        self.levels.give_back(level);
    }

    fn truncate(&mut self, side: Side) {
        let depth = usize::from(self.depth);
        while self.ladder(side).0.len() > depth {
            let Some(rung) = self.ladder_mut(side).0.fall() else { return };
            self.touch(rung.level);
            let mut number = self.levels[rung.level].first;
            while number != NONE {
                let behind = self.slab[number].behind;
                self.drop_order(number);
                number = behind;
            }
            self.drop_level(rung.level);
        }
    }

    fn dequeue(&mut self, number: u32) {
        let Order { before, behind, level, .. } = self.slab[number];
        match before {
            NONE => self.levels[level].first = behind,
            _ => self.slab[before].behind = behind,
        }
        match behind {
            NONE => self.levels[level].last = before,
            _ => self.slab[behind].before = before,
        }
        self.levels[level].count -= 1;
    }

    fn enqueue(&mut self, number: u32, level: u32) {
        let place = self.slab[number].place;
        let Level { first, last, unsorted, .. } = self.levels[level];
        // Most orders come last. The first place is looked at next: a level told from the back costs no more.
        let before = if unsorted {
            last
        } else if first == NONE || self.slab[first].place > place {
            NONE
        } else {
            let mut before = last;
            while self.slab[before].place > place && self.walked < WALK_MAX {
                before = self.slab[before].before;
                self.walked += 1;
            }
            if self.slab[before].place > place {
                self.levels[level].unsorted = true;
                self.unsorted.push(level);
                before = last;
            }
            before
        };
        let behind = if before == NONE { first } else { self.slab[before].behind };
        match before {
            NONE => self.levels[level].first = number,
            _ => self.slab[before].behind = number,
        }
        match behind {
            NONE => self.levels[level].last = number,
            _ => self.slab[behind].before = number,
        }
        self.levels[level].count += 1;
        let order = &mut self.slab[number];
        (order.before, order.behind, order.level) = (before, behind, level);
    }

    /// Puts the queues in order that the message left out of it.
    fn sort(&mut self) {
        for level in std::mem::take(&mut self.unsorted) {
            // A level that is gone is in order, and so is the one that has its number now.
            if !std::mem::take(&mut self.levels[level].unsorted) {
                continue;
            }
            let mut queue = Vec::new();
            let mut number = self.levels[level].first;
            while number != NONE {
                queue.push(number);
                number = self.slab[number].behind;
            }
            queue.sort_unstable_by_key(|number| self.slab[*number].place);
            let mut before = NONE;
            for &number in &queue {
                self.slab[number].before = before;
                match before {
                    NONE => self.levels[level].first = number,
                    _ => self.slab[before].behind = number,
                }
                before = number;
            }
            if before != NONE {
                self.slab[before].behind = NONE;
            }
            self.levels[level].last = before;
            self.touch(level);
        }
    }

    fn side(&self, level: u32) -> Side {
        if self.levels[level].ask { Side::Ask } else { Side::Bid }
    }

    fn price(&self, level: u32) -> i128 {
        self.levels[level].key.abs()
    }

    /// Notes that a level changed.
    fn touch(&mut self, number: u32) {
        let level = &mut self.levels[number];
        level.digits.iter_mut().for_each(Vec::clear);
        let (key, ask) = (level.key, level.ask);
        if self.ladder(if ask { Side::Ask } else { Side::Bid }).is_top(key) {
            for sums in &mut self.sums {
                sums.both = None;
                if ask {
                    sums.asks = None;
                } else {
                    sums.bids = false;
                }
            }
        }
    }

    fn forget_alternative(&mut self, number: u32) {
        let alternative = std::mem::replace(&mut self.slab[number].alternative, NONE);
        if alternative != NONE {
            self.alternatives[alternative as usize].order = NONE;
        }
    }

    /// Lets the orders that the last message modified change their places with those by the other answer. Twice changes
    /// nothing.
    fn exchange_places(&mut self) {
        self.walked = 0;
        let mut alternatives = std::mem::take(&mut self.alternatives);
        alternatives.retain(|alternative| alternative.order != NONE);
        for alternative in &alternatives {
            self.dequeue(alternative.order);
        }
        for alternative in &mut alternatives {
            std::mem::swap(&mut alternative.place, &mut self.slab[alternative.order].place);
        }
        for (at, alternative) in (0..).zip(&alternatives) {
            let level = self.slab[alternative.order].level;
            self.slab[alternative.order].alternative = at;
            self.enqueue(alternative.order, level);
            self.touch(level);
        }
        self.alternatives = alternatives;
        self.sort();
    }

    /// Appends the digits of an order at the end of its level's.
    fn write_order(&mut self, number: u32, level: u32) {
        let price = self.price(level).unsigned_abs();
        let digits = &mut self.levels[level].digits[View::Level3 as usize];
        checksum::push_digits(price, digits);
        checksum::push_digits(self.slab[number].qty.unsigned_abs(), digits);
    }

    fn sum(&mut self, view: View, buffer: &mut Vec<u8>) -> u32 {
        let Self { bids, asks, levels, slab, sums, .. } = self;
        let sum = &mut sums[view as usize];
        if let Some(both) = sum.both {
            return both;
        }
        // The digits of the best ten levels of a side.
        let mut write = |ladder: &Ladder, text: &mut Vec<u8>| {
            text.clear();
            for number in ladder.best().take(LEVELS) {
                let level = &mut levels[number];
                if level.digits[view as usize].is_empty() {
                    level.write(slab, view);
                }
                text.extend_from_slice(&level.digits[view as usize]);
            }
        };
        let of_asks = *sum.asks.get_or_insert_with(|| {
            write(asks, buffer);
            checksum::crc32(buffer)
        });
        if !sum.bids {
            write(bids, &mut sum.text);
            sum.bids = true;
        }
        let both = checksum::crc32_after(of_asks, &sum.text);
        sum.both = Some(both);
        both
    }

    /// Level 3: CRC32 of every order of the best ten levels; `buffer` is scratch memory.
    pub fn checksum(&mut self, buffer: &mut Vec<u8>) -> u32 {
        self.sum(View::Level3, buffer)
    }

    /// Level 2: CRC32 of the best ten levels, as [`crate::book::level2::Book::checksum`] of the same book.
    pub fn checksum_level2(&mut self, buffer: &mut Vec<u8>) -> u32 {
        self.sum(View::Level2, buffer)
    }

    /// Whether the best bid is at or above the best ask.
    #[must_use]
    pub fn crossed(&self) -> bool {
        match (self.bids.0.last(), self.asks.0.last()) {
            (Some(bid), Some(ask)) => bid.key >= -ask.key,
            _ => false,
        }
    }

    /// The level-2 book: price, sum of quantities and number of orders of every level of a side, best first.
    pub fn levels(&self, side: Side) -> impl Iterator<Item = (i128, i128, u32)> + '_ {
        self.ladder(side).best().map(|number| {
            let level = &self.levels[number];
            (self.price(number), level.qty, level.count)
        })
    }

    /// Id, quantity and timestamp of the orders at a price, in the order of the queue.
    pub fn queue(&self, side: Side, price: i128) -> impl Iterator<Item = (OrderId<'_>, i128, i64)> + '_ {
        let mut number = self.ladder(side).find(key(side, price)).map_or(NONE, |level| self.levels[level].first);
        std::iter::from_fn(move || {
            let current = (number != NONE).then_some(number)?;
            let order = &self.slab[current];
            number = order.behind;
            Some((self.id(current), order.qty, order.place.timestamp))
        })
    }

    /// An order by its id, with what stands before it at its price.
    #[must_use]
    pub fn find(&self, id: OrderId<'_>) -> Option<Found> {
        let order = &self.slab[self.number(id)?];
        let (mut orders_ahead, mut qty_ahead) = (0, 0);
        let mut before = order.before;
        while before != NONE {
            orders_ahead += 1;
            // Never overflows: the sum of the level is below 10^38.
            qty_ahead += self.slab[before].qty;
            before = self.slab[before].before;
        }
        Some(Found {
            side: self.side(order.level),
            price: self.price(order.level),
            qty: order.qty,
            timestamp: order.place.timestamp,
            orders_ahead,
            qty_ahead,
        })
    }
}

/// A price as a key that grows towards the touch.
fn key(side: Side, price: i128) -> i128 {
    match side {
        Side::Bid => price,
        Side::Ask => -price,
    }
}

impl Proved for Orders {
    type Entry<'a> = OrderEntry<'a>;
    type Habit = Modify;

    fn empty(depth: u16, price_precision: u8, qty_precision: u8) -> Self {
        Self::new(depth, price_precision, qty_precision)
    }

    fn precision(&self) -> (u8, u8) {
        self.precision()
    }

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
        let fits = |value: i128, by: i128| value.checked_mul(by).is_some_and(|value| value.abs() < BOUND);
        // No order's quantity is more than its level's.
        let levels = || self.bids.best().chain(self.asks.best());
        if !levels().all(|level| fits(self.levels[level].key, price) && fits(self.levels[level].qty, qty)) {
            return false;
        }
        for number in levels().collect::<Vec<_>>() {
            let level = &mut self.levels[number];
            level.key *= price;
            level.qty *= qty;
            level.digits.iter_mut().for_each(Vec::clear);
            let mut order = level.first;
            while order != NONE {
                self.slab[order].qty *= qty;
                order = self.slab[order].behind;
            }
        }
        for rung in self.bids.0.iter_mut().chain(self.asks.0.iter_mut()) {
            rung.key *= price;
        }
        self.sums = Default::default();
        (self.price_precision, self.qty_precision) = (price_precision, qty_precision);
        true
    }

    fn apply(&mut self, entries: &[OrderEntry<'_>], habit: Modify) -> Result<u64, Error> {
        self.apply(entries, habit)
    }

    /// Where the message modified orders, the other answer is tried before the book is given up, and preferred from then
    /// on if it was the right one.
    fn prove(&mut self, expected: u32, habit: &mut Modify, buffer: &mut Vec<u8>) -> u32 {
        let computed = self.checksum(buffer);
        if self.alternatives.iter().all(|alternative| alternative.order == NONE) {
            return computed;
        }
        self.exchange_places();
        let otherwise = self.checksum(buffer);
        if otherwise == expected && computed != expected {
            *habit = habit.other();
            self.arbitrated = Some(*habit);
            return otherwise;
        }
        self.exchange_places();
        if computed == expected && otherwise != expected {
            self.arbitrated = Some(*habit);
        }
        computed
    }

    fn crossed(&self) -> bool {
        self.crossed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::level2::{Book, Outcome, Terms};
    use crate::wire::message::{Entry, Kind};

    fn number(text: &str) -> Decimal {
        Decimal::parse(text.as_bytes()).expect(text)
    }

    fn entry<'a>(event: OrderEvent, side: Side, id: &'a str, price: &str, qty: &str, timestamp: i64) -> OrderEntry<'a> {
        let id = OrderId::new(id).expect(id);
        OrderEntry { side, event, id, price: number(price), qty: number(qty), timestamp }
    }

    fn add<'a>(side: Side, id: &'a str, price: &str, qty: &str, timestamp: i64) -> OrderEntry<'a> {
        entry(OrderEvent::Add, side, id, price, qty, timestamp)
    }

    fn ids(orders: &Orders, side: Side, price: i128) -> Vec<String> {
        orders.queue(side, price).map(|(id, ..)| id.to_string()).collect()
    }

    /// Every invariant of the book's parts.
    fn check(orders: &Orders) {
        let (mut held, mut levels) = (0, 0);
        for (side, ladder) in [(Side::Bid, &orders.bids), (Side::Ask, &orders.asks)] {
            assert!(ladder.0.len() <= usize::from(orders.depth), "the window holds");
            assert!(ladder.0.iter().zip(ladder.0.iter().skip(1)).all(|(a, b)| a.key < b.key), "worst level first");
            for rung in ladder.0.iter() {
                let level = &orders.levels[rung.level];
                assert_eq!((level.key, level.ask), (rung.key, side == Side::Ask));
                let (mut at, mut before, mut qty, mut count) = (level.first, NONE, 0, 0);
                while at != NONE {
                    let order = &orders.slab[at];
                    assert_eq!((order.before, order.level), (before, rung.level));
                    assert!(before == NONE || orders.slab[before].place < order.place, "earliest first");
                    assert_eq!(orders.number(orders.id(at)), Some(at));
                    (qty, count, before, at) = (qty + order.qty, count + 1, at, order.behind);
                }
                assert_eq!((level.qty, level.count, level.last), (qty, count, before));
                assert!(count > 0, "a level without orders is none");
                held += count as usize;
                levels += 1;
            }
        }
        assert_eq!((orders.len(), orders.levels.len()), (held, levels), "no order and no level without a place");
        assert_eq!(orders.packed.len() + orders.named.len(), held, "ids go with their orders");
        assert_eq!(orders.named.len(), orders.names.len());
    }

    #[test]
    fn a_queue_goes_by_time_then_arrival_whatever_the_order_of_the_message() {
        let mut orders = Orders::new(10, 1, 8);
        let message = [
            add(Side::Bid, "OAAAAA-AAAAA-AAAAA3", "10.1", "3", 30),
            add(Side::Bid, "OAAAAA-AAAAA-AAAAA1", "10.1", "1", 10),
            add(Side::Bid, "OAAAAA-AAAAA-AAAAA2", "10.1", "2", 20),
            add(Side::Bid, "an id of another shape", "10.1", "4", 20),
        ];
        assert_eq!(orders.apply(&message, Modify::KeepPlace), Ok(0));
        check(&orders);
        assert_eq!(
            ids(&orders, Side::Bid, 101),
            ["OAAAAA-AAAAA-AAAAA1", "OAAAAA-AAAAA-AAAAA2", "an id of another shape", "OAAAAA-AAAAA-AAAAA3"]
        );
        let last = orders.find(OrderId::new("OAAAAA-AAAAA-AAAAA3").expect("an id")).expect("held");
        assert_eq!((last.orders_ahead, last.qty_ahead, last.qty), (3, 700_000_000, 300_000_000));
        assert_eq!(
            orders.checksum(&mut Vec::new()),
            checksum::crc32(b"101100000000101200000000101400000000101300000000")
        );
        assert_eq!(orders.levels(Side::Bid).collect::<Vec<_>>(), [(101, 1_000_000_000, 4)]);
        assert_eq!(orders.checksum_level2(&mut Vec::new()), checksum::crc32(b"1011000000000"));
    }

    /// Goal: many orders at one price in one message, in no order, with others changed meanwhile, stand as if sorted; and
    /// so do they by the other answer, and again by the first.
    #[test]
    fn a_long_queue_told_in_no_order_is_sorted() {
        let count = 1000;
        let names: Vec<_> = (0..count).map(|n| format!("OAAAAA-AAAAA-{n:0>6}")).collect();
        // 1009 is prime: no time twice, and far from in order.
        let time = |n: i64| n * 7919 % 1009;
        let mut message: Vec<_> = (0..).zip(&names).map(|(n, id)| add(Side::Ask, id, "5", "1", time(n))).collect();
        let (event, late) = (OrderEvent::Modify, 5000);
        message.extend((0..).zip(&names).step_by(3).map(|(n, id)| entry(event, Side::Ask, id, "5", "1", late - n)));
        message.extend(names.iter().step_by(5).map(|id| entry(OrderEvent::Delete, Side::Ask, id, "5", "1", 0)));
        message.extend((0..9).map(|n| add(Side::Bid, &names[5 * n], "4", "1", -1)));
        let mut orders = Orders::new(10, 0, 0);
        // A level whose digits are known before; the last order comes when no more steps are left.
        let before = [add(Side::Ask, "first", "6", "1", 1), add(Side::Ask, "last", "6", "3", 3)];
        assert_eq!(orders.apply(&before, Modify::KeepPlace), Ok(0));
        assert_eq!(orders.checksum(&mut Vec::new()), checksum::crc32(b"6163"));
        message.push(add(Side::Ask, "between", "6", "2", 2));
        assert_eq!(orders.apply(&message, Modify::KeepPlace), Ok(0));
        assert_eq!(orders.walked, WALK_MAX, "the long way was not taken");
        let mut fresh = orders.clone();
        assert!(fresh.widen(0, 0), "which forgets all digits");
        assert_eq!(orders.checksum(&mut Vec::new()), fresh.checksum(&mut Vec::new()));
        assert_eq!(ids(&orders, Side::Ask, 6), ["first", "between", "last"]);
        let sorted = |late: &dyn Fn(i64) -> i64| {
            let mut sorted: Vec<_> = (0..).zip(&names).filter(|(n, _)| n % 5 != 0).collect();
            sorted.sort_by_key(|(n, _)| late(*n));
            sorted.into_iter().map(|(_, id)| id.clone()).collect::<Vec<_>>()
        };
        for _ in 0..2 {
            check(&orders);
            assert!(ids(&orders, Side::Ask, 5) == sorted(&time), "by the first times");
            orders.exchange_places();
            check(&orders);
            let taken = sorted(&|n| if n % 3 == 0 { late - n } else { time(n) });
            assert!(ids(&orders, Side::Ask, 5) == taken, "by the times of the modifies");
            orders.exchange_places();
        }
    }

    #[test]
    fn a_level_that_falls_out_takes_its_orders_and_returns_by_adds() {
        let mut orders = Orders::new(2, 0, 0);
        let first =
            [add(Side::Ask, "a", "5", "1", 1), add(Side::Ask, "b", "5", "2", 2), add(Side::Ask, "c", "4", "3", 3)];
        assert_eq!(orders.apply(&first, Modify::KeepPlace), Ok(0));
        // Three levels for a moment; at the end of the message only the best two are kept.
        let better = [add(Side::Ask, "d", "3", "4", 4), entry(OrderEvent::Delete, Side::Ask, "a", "5", "1", 5)];
        assert_eq!(orders.apply(&better, Modify::KeepPlace), Ok(0));
        check(&orders);
        assert!(orders.find(OrderId::new("b").expect("an id")).is_none(), "level 5 fell out");
        assert_eq!(orders.apply(&[entry(OrderEvent::Delete, Side::Ask, "b", "5", "2", 6)], Modify::KeepPlace), Ok(1));
        let back = [
            entry(OrderEvent::Delete, Side::Ask, "d", "3", "4", 7),
            add(Side::Ask, "b", "5", "2", 2),
            add(Side::Ask, "c", "4", "9", 8),
        ];
        assert_eq!(orders.apply(&back, Modify::KeepPlace), Ok(0));
        check(&orders);
        assert_eq!(orders.replaced(), 1, "c was held and is now the new copy");
        assert_eq!(orders.levels(Side::Ask).collect::<Vec<_>>(), [(4, 9, 1), (5, 2, 1)]);
    }

    #[test]
    fn the_checksum_decides_what_a_modify_does_and_later_ones_follow() {
        let mut life = Life::default();
        let mut buffer = Vec::new();
        let terms = |kind, text: &[u8]| Terms {
            kind,
            checksum: Some(checksum::crc32(text)),
            depth: 10,
            price_precision: 0,
            qty_precision: 0,
        };
        let first =
            [add(Side::Bid, "a", "5", "1", 1), add(Side::Bid, "b", "5", "2", 2), add(Side::Bid, "c", "5", "3", 3)];
        assert_eq!(life.apply(&terms(Kind::Snapshot, b"515253"), &first, &mut buffer), Ok(Outcome::Ok));
        let modify = |id, qty, time| entry(OrderEvent::Modify, Side::Bid, id, "5", qty, time);
        // The last in its queue stands there by either answer: the checksum cannot tell.
        assert_eq!(life.apply(&terms(Kind::Update, b"515254"), &[modify("c", "4", 4)], &mut buffer), Ok(Outcome::Ok));
        assert_eq!(life.book().and_then(Orders::arbitrated), None);
        // Kept its place.
        assert_eq!(life.apply(&terms(Kind::Update, b"595254"), &[modify("a", "9", 5)], &mut buffer), Ok(Outcome::Ok));
        assert_eq!(life.book().and_then(Orders::arbitrated), Some(Modify::KeepPlace));
        // Went by the new times, twice: the book is not given up, and remembers.
        let both = [modify("a", "8", 6), modify("b", "6", 7), modify("a", "7", 8)];
        assert_eq!(life.apply(&terms(Kind::Update, b"545657"), &both, &mut buffer), Ok(Outcome::Ok));
        assert_eq!(
            (life.book().and_then(Orders::arbitrated), life.habit),
            (Some(Modify::TakeTimestamp), Modify::TakeTimestamp)
        );
        check(life.book().expect("alive"));
        assert_eq!(life.apply(&terms(Kind::Update, b"565751"), &[modify("c", "1", 9)], &mut buffer), Ok(Outcome::Ok));
        assert_eq!(life.book().and_then(Orders::arbitrated), Some(Modify::TakeTimestamp));
        // And back: the first of two changes of an order counts as little as the second.
        let both = [modify("b", "2", 10), modify("c", "3", 11), modify("b", "4", 12)];
        assert_eq!(life.apply(&terms(Kind::Update, b"545753"), &both, &mut buffer), Ok(Outcome::Ok));
        assert_eq!(life.habit, Modify::KeepPlace);
        let last = [modify("b", "2", 13)];
        assert_eq!(life.apply(&terms(Kind::Update, b"575352"), &last, &mut buffer), Ok(Outcome::Ok));
        // Neither: the life ends, what was learnt outlives it.
        let wrong = life.apply(&terms(Kind::Update, b"?"), &[modify("a", "2", 14)], &mut buffer);
        let (expected, computed) = (checksum::crc32(b"?"), checksum::crc32(b"535252"));
        assert_eq!(wrong, Ok(Outcome::Mismatch { expected, computed }));
        assert!(life.book().is_none());
        assert_eq!(life.habit, Modify::TakeTimestamp);
    }

    #[test]
    fn the_two_answers() {
        let place = |timestamp, arrival| Place { timestamp, arrival };
        for (held, price_changed, sent, kept, taken) in [
            (place(1, 1), false, place(5, 9), place(1, 1), place(5, 9)),
            (place(1, 1), false, place(1, 9), place(1, 1), place(1, 1)),
            (place(1, 1), true, place(5, 9), place(5, 9), place(5, 9)),
            (place(1, 1), true, place(1, 9), place(1, 9), place(1, 9)),
        ] {
            assert_eq!(Modify::KeepPlace.place(held, price_changed, sent), kept);
            assert_eq!(Modify::TakeTimestamp.place(held, price_changed, sent), taken);
        }
        for answer in [Modify::KeepPlace, Modify::TakeTimestamp] {
            assert_eq!(Modify::named(answer.word()), Some(answer));
            assert_eq!(answer.other().other(), answer);
        }
        assert_eq!(Modify::named(""), None);
    }

    #[test]
    fn a_modify_with_another_price_goes_to_the_end_of_that_queue() {
        for answer in [Modify::KeepPlace, Modify::TakeTimestamp] {
            let mut orders = Orders::new(10, 0, 0);
            let first = [add(Side::Bid, "a", "5", "1", 1), add(Side::Bid, "b", "6", "2", 2)];
            assert_eq!(orders.apply(&first, answer), Ok(0));
            assert_eq!(orders.apply(&[entry(OrderEvent::Modify, Side::Bid, "a", "6", "1", 3)], answer), Ok(0));
            check(&orders);
            assert_eq!(ids(&orders, Side::Bid, 6), ["b", "a"]);
            assert_eq!(orders.apply(&[entry(OrderEvent::Modify, Side::Bid, "a", "6", "0", 4)], answer), Ok(0));
            assert_eq!(orders.len(), 1, "an order without quantity is none");
            // The side is part of the level, even where both have the same price.
            let sides = [add(Side::Bid, "c", "0", "1", 5), entry(OrderEvent::Modify, Side::Ask, "c", "0", "1", 6)];
            assert_eq!(orders.apply(&sides, answer), Ok(0));
            assert_eq!(ids(&orders, Side::Ask, 0), ["c"]);
        }
    }

    #[test]
    fn what_cannot_be_held_is_refused_by_name() {
        let mut orders = Orders::new(10, 1, 0);
        let refused = |result| matches!(result, Err(Error::Decimal { .. }));
        assert!(refused(orders.apply(&[add(Side::Bid, "a", "5.55", "1", 1)], Modify::KeepPlace)));
        assert!(refused(orders.apply(&[add(Side::Bid, "a", "-5.5", "1", 1)], Modify::KeepPlace)));
        assert!(refused(orders.apply(&[add(Side::Bid, "a", "5.5", "0.1", 1)], Modify::KeepPlace)));
        let most = "9".repeat(38);
        assert_eq!(orders.apply(&[add(Side::Bid, "a", "5.5", &most, 1)], Modify::KeepPlace), Ok(0));
        check(&orders);
        assert!(refused(orders.apply(&[add(Side::Bid, "b", "5.5", "1", 1)], Modify::KeepPlace)), "38 digits are most");
        assert!(OrderId::new(&"x".repeat(limits::ORDER_ID_LENGTH_MAX)).is_ok());
        let found = limits::ORDER_ID_LENGTH_MAX + 1;
        let limit = Error::Limit { what: "ORDER_ID_LENGTH_MAX", limit: limits::ORDER_ID_LENGTH_MAX, found };
        assert_eq!(OrderId::new(&"x".repeat(found)), Err(limit));
    }

    #[test]
    fn ids_come_back_as_they_were_sent() {
        for text in
            ["OTCFZG-YOE2Q-LQKNM3", "000000-00000-000000", "ZZZZZZ-ZZZZZ-ZZZZZZ", "", "OTCFZG-YOE2Q-LQKNm3", "ö"]
        {
            let id = OrderId::new(text).expect("short enough");
            assert_eq!(id.to_string(), text);
            let kraken = text.len() == 19 && !text.contains('m');
            assert_eq!(matches!(id.0, Name::Packed(_)), kraken, "{text}");
        }
        // Every byte at every place.
        for (byte, at) in (0..=u8::MAX).flat_map(|byte| (0..19).map(move |at| (byte, at))) {
            let mut text = *b"OTCFZG-YOE2Q-LQKNM3";
            text[at] = byte;
            let figure = byte.is_ascii_digit() || byte.is_ascii_uppercase();
            let kraken = if at == 6 || at == 12 { byte == b'-' } else { figure };
            let id = OrderId::short(&text);
            assert_eq!(id.is_some(), kraken, "{text:?}");
            assert!(id.is_none_or(|id| id.to_string().as_bytes() == text), "{text:?}");
        }
        // A field apart: the same characters moved by one are another id.
        assert_ne!(OrderId::new("O00000-0000A-000000"), OrderId::new("O00000-00000-A00000"));
    }

    #[test]
    fn more_decimals_keep_the_orders_and_change_their_digits() {
        let mut orders = Orders::new(10, 1, 0);
        let first = [add(Side::Bid, "a", "10.1", "1", 1), add(Side::Ask, "b", "10.2", "2", 2)];
        assert_eq!(orders.apply(&first, Modify::KeepPlace), Ok(0));
        let mut buffer = Vec::new();
        assert_eq!(orders.checksum(&mut buffer), checksum::crc32(b"10221011"));
        assert!(!orders.widen(0, 0), "decimals are never lost");
        assert!(orders.widen(2, 1));
        check(&orders);
        assert_eq!(orders.checksum(&mut buffer), checksum::crc32(b"102020101010"));
        assert_eq!(orders.checksum_level2(&mut buffer), checksum::crc32(b"102020101010"));
    }

    /// Random messages: every invariant holds after each, the level-2 view is the book of its sums, both checksums equal
    /// those of a copy that has nothing cached, and numbers are used again.
    #[test]
    fn random_messages_keep_every_invariant() {
        let mut state = 1u64;
        let mut below = |n: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).expect("31 bits") % n
        };
        let names: Vec<_> =
            (0..120).map(|n| if n % 10 == 0 { format!("n{n}") } else { format!("OAAAAA-AAAAA-AAA{n:0>3}") }).collect();
        let mut orders = Orders::new(12, 0, 0);
        let mut buffer = Vec::new();
        let (mut habit, mut switches) = (Modify::KeepPlace, 0);
        for time in 0..4000 {
            let message: Vec<_> = (0..below(6))
                .map(|_| {
                    let id = &names[below(names.len())];
                    let mut event = [OrderEvent::Add, OrderEvent::Modify, OrderEvent::Delete][below(3)];
                    let (mut side, base) = if below(2) == 0 { (Side::Bid, 10) } else { (Side::Ask, 40) };
                    let mut price = (base + below(14)).to_string();
                    match orders.find(OrderId::new(id).expect("short")) {
                        // Most modifies keep the price, most orders are added once.
                        Some(held) if below(5) > 0 => (side, price) = (held.side, held.price.to_string()),
                        None if below(5) > 0 => event = OrderEvent::Add,
                        _ => {}
                    }
                    let timestamp = time - i64::try_from(below(9)).expect("small");
                    entry(event, side, id, &price, &below(50).to_string(), timestamp)
                })
                .collect();
            orders.apply(&message, habit).expect("all can be held");
            check(&orders);
            let mut fresh = orders.clone();
            assert!(fresh.widen(0, 0), "which forgets what is cached");
            let expected = fresh.checksum(&mut buffer);
            assert_eq!(orders.checksum(&mut buffer), expected);
            assert_eq!(orders.checksum_level2(&mut buffer), fresh.checksum_level2(&mut buffer));
            let mut book = Book::new(12, 0, 0);
            for side in [Side::Bid, Side::Ask] {
                for (price, qty, _) in orders.levels(side) {
                    let number = |mantissa| Decimal { mantissa, scale: 0 };
                    book.set(&Entry { side, price: number(price), qty: number(qty) }).expect("held");
                }
            }
            assert_eq!(orders.checksum_level2(&mut buffer), book.checksum());
            // By turns the right checksum, that of the other answer, and none that there could be.
            fresh.exchange_places();
            check(&fresh);
            let otherwise = fresh.checksum(&mut buffer);
            let told = [expected, otherwise][below(2)];
            let before = habit;
            assert_eq!(orders.prove(told, &mut habit, &mut buffer), told);
            check(&orders);
            switches += u32::from(before != habit);
            assert_eq!(before != habit, told != expected);
            assert_eq!(orders.arbitrated().is_some(), expected != otherwise);
            assert_eq!(orders.checksum(&mut buffer), told);
        }
        assert!(switches > 100, "{switches}");
        // A message holds at most five entries more than the window did.
        assert!(orders.slab.items.len() <= 120 && orders.levels.items.len() <= 2 * 12 + 5);
    }

    #[test]
    fn a_book_has_a_most_of_orders() {
        let mut orders = Orders::new(10, 0, 0);
        // All but one, in no queue: adding a million takes seconds.
        orders.slab.items.resize_with(limits::ORDERS_MAX - 1, Order::default);
        assert_eq!(orders.apply(&[add(Side::Ask, "a", "1", "1", 0)], Modify::KeepPlace), Ok(0));
        let (what, limit, found) = ("ORDERS_MAX", limits::ORDERS_MAX, limits::ORDERS_MAX + 1);
        let refused = Err(Error::Limit { what, limit, found });
        assert_eq!(orders.apply(&[add(Side::Ask, "b", "1", "1", 0)], Modify::KeepPlace), refused);
        assert_eq!(
            orders.apply(&[add(Side::Ask, "a", "1", "1", 0)], Modify::KeepPlace),
            Ok(0),
            "replaced, not one more"
        );
    }
}
