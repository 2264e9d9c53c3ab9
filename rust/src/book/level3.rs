//! The level-3 book of one symbol: every order at the best levels, its place in the queue of its price, and the level-2
//! book that follows from the orders.
//!
//! The orders are in one slab. At each price they form a linked list in the order of the queue: by the order's
//! timestamp, then by arrival, because the orders of a message come in no order. A level keeps the sum of its orders and
//! the digits that the two checksums need. So an event renders the digits of its own level only, and levels below the
//! tenth cost nothing.

use crate::book::checksum::{self, LEVELS};
use crate::book::ids::OrderIds;
use crate::book::modify_rule::{ModifyRule, Place};
use crate::book::slab::Slab;
use crate::book::sorted::SortedLevels;
use crate::book::synced::{BookMeta, ChecksummedBook, Levels, Outcome, Synced};
use crate::decimal::{Decimal, pow10, refuse, scaled};
use crate::error::Error;
use crate::limits;
use crate::wire::message::{Kind, OrderEntry, OrderEvent, OrderId, ShortOrder, Side};

/// Stands for no order, no level, no other place.
const NONE: u32 = u32::MAX;
/// Bytes of digits that a level without orders keeps for the next one in its place.
const TEXT_KEPT: usize = 1024;
/// Orders of queues that one message may walk past to find places. Beyond that, queues are sorted when the message ends:
/// a snapshot of many orders at one price, in no order, costs no more than sorting them.
const WALK_MAX: u32 = 4096;
/// The sum of a level's quantities stays below this bound, as every number of the feed does.
const BOUND: i128 = pow10(38);

/// One order, in one line of the processor's cache.
#[derive(Debug, Clone, Default)]
#[repr(align(64))]
struct Order {
    /// What [`OrderIds`] keeps here.
    id: u128,
    qty: i128,
    place: Place,
    before: u32,
    behind: u32,
    level: u32,
    /// Its place in [`Orders::alternatives`].
    alternative: u32,
}

/// All orders of one price.
#[derive(Debug, Clone, Default)]
struct Level {
    /// The price as a key that grows towards the best price (asks negated).
    key: i128,
    ask: bool,
    qty: i128,
    count: u32,
    first: u32,
    last: u32,
    /// Whether the queue is out of order until the message ends.
    unsorted: bool,
    /// Digits for the checksum, by [`View`]. Empty before they are first needed and after a change.
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

/// A level on its side. Without room between them, fewer bytes are moved when a level comes or goes.
#[derive(Debug, Clone, Copy)]
#[repr(Rust, packed(4))]
struct LevelRef {
    key: i128,
    level: u32,
}

/// The levels of one side, the worst first, the best last.
#[derive(Debug, Clone, Default)]
struct PriceLevels(SortedLevels<LevelRef>);

impl PriceLevels {
    fn place(&self, key: i128) -> usize {
        self.0.place(|level_ref| level_ref.key < key)
    }

    fn find(&self, key: i128) -> Option<u32> {
        self.0.get(self.place(key)).filter(|level_ref| level_ref.key == key).map(|level_ref| level_ref.level)
    }

    /// Whether the checksum covers a level of that price, or would cover it.
    fn is_top(&self, key: i128) -> bool {
        self.0.len().checked_sub(LEVELS).is_none_or(|tenth| key >= self.0[tenth].key)
    }

    /// The levels' numbers, best first.
    fn best(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().rev().map(|level_ref| level_ref.level)
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

/// A checksum and the digits that it covers, until one of them changes.
#[derive(Debug, Clone, Default)]
struct Sum {
    /// CRC of the asks' digits.
    asks: Option<u32>,
    /// Whether `text` has the bids' digits.
    bids: bool,
    text: Vec<u8>,
    both: Option<u32>,
}

/// What a message tells of an order.
#[derive(Debug, Clone, Copy)]
struct Told {
    side: Side,
    /// The price as a key.
    key: i128,
    qty: i128,
    timestamp: i64,
}

impl Told {
    fn of(side: Side, (price, qty): (i128, i128), timestamp: i64) -> Self {
        Self { side, key: key(side, price), qty, timestamp }
    }
}

/// The place that an order of the last message would have by the other rule.
#[derive(Debug, Clone, Copy)]
struct Alternative {
    order: u32,
    place: Place,
}

/// The level-3 book of one symbol.
#[derive(Debug, Clone)]
pub struct Orders {
    bids: PriceLevels,
    asks: PriceLevels,
    levels: Slab<Level>,
    slab: Slab<Order>,
    ids: OrderIds,
    arrivals: u64,
    walked: u32,
    unsorted: Vec<u32>,
    alternatives: Vec<Alternative>,
    detected_rule: Option<ModifyRule>,
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
            bids: PriceLevels::default(),
            asks: PriceLevels::default(),
            levels: Slab::new(),
            slab: Slab::new(),
            ids: OrderIds::default(),
            arrivals: 0,
            walked: 0,
            unsorted: Vec::new(),
            alternatives: Vec::new(),
            detected_rule: None,
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

    /// The rule that the checksum of the last message verified, if that message could tell the two apart.
    #[must_use]
    pub fn detected_rule(&self) -> Option<ModifyRule> {
        self.detected_rule
    }

    /// Orders that were added again while they were still held. The new copy replaced the old one.
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

    /// Applies one message, then keeps the best levels of each side. A level that falls out takes its orders along. An
    /// order without quantity is removed. Returns how many entries named an order that was not there.
    ///
    /// # Errors
    /// [`Error::Decimal`], without a symbol, if a number has more decimals than the precision, or is negative, or a
    /// level's sum is beyond 38 digits; [`Error::Limit`] beyond [`limits::ORDERS_MAX`]. The message is then applied in
    /// part, and the book must not be used.
    pub fn apply(&mut self, entries: &[OrderEntry<'_>], modify: ModifyRule) -> Result<u64, Error> {
        self.begin();
        let mut unknown = 0;
        for entry in entries {
            match (entry.event, self.number(entry.id)) {
                (OrderEvent::Add, known) => self.add(entry.id, &self.told(entry)?, known)?,
                (OrderEvent::Modify, Some(order)) => self.modify(&self.told(entry)?, order, modify)?,
                (OrderEvent::Delete, Some(order)) => self.remove(order),
                (_, None) => unknown += 1,
            }
        }
        self.finish();
        Ok(unknown)
    }

    /// The same of numbers at the precision of the book, none of them negative.
    ///
    /// # Errors
    /// As of [`Self::apply`].
    fn apply_short(&mut self, orders: &[ShortOrder], modify: ModifyRule) -> Result<u64, Error> {
        self.begin();
        let mut unknown = 0;
        for order in orders {
            let told = || Told::of(order.side, (order.price.into(), order.qty.into()), order.timestamp);
            match (order.event, self.number(order.id)) {
                (OrderEvent::Add, known) => self.add(order.id, &told(), known)?,
                (OrderEvent::Modify, Some(number)) => self.modify(&told(), number, modify)?,
                (OrderEvent::Delete, Some(number)) => self.remove(number),
                (_, None) => unknown += 1,
            }
        }
        self.finish();
        Ok(unknown)
    }

    /// What an entry tells, at the precision of the book.
    fn told(&self, entry: &OrderEntry<'_>) -> Result<Told, Error> {
        let numbers = (scaled(entry.price, self.price_precision)?, scaled(entry.qty, self.qty_precision)?);
        Ok(Told::of(entry.side, numbers, entry.timestamp))
    }

    /// A message begins.
    fn begin(&mut self) {
        self.detected_rule = None;
        for alternative in self.alternatives.drain(..) {
            if alternative.order != NONE {
                self.slab[alternative.order].alternative = NONE;
            }
        }
        self.walked = 0;
    }

    /// A message ends.
    fn finish(&mut self) {
        self.truncate(Side::Bid);
        self.truncate(Side::Ask);
        if !self.unsorted.is_empty() {
            self.sort();
        }
    }

    fn add(&mut self, id: OrderId<'_>, told: &Told, known: Option<u32>) -> Result<(), Error> {
        let &Told { side, key, qty, timestamp } = told;
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
        let at = self.price_levels(side).place(key);
        self.room(self.at(side, key, at), qty)?;
        let place = self.arrival(timestamp);
        let number = self.slab.take();
        let slab = &self.slab;
        let id = self.ids.insert(id, number, |other| slab[other].id);
        self.slab[number] = Order { id, qty, place, before: NONE, behind: NONE, level: NONE, alternative: NONE };
        self.enter(number, (side, key, at));
        Ok(())
    }

    fn modify(&mut self, told: &Told, number: u32, modify: ModifyRule) -> Result<(), Error> {
        let &Told { side, key, qty, timestamp } = told;
        if qty == 0 {
            self.remove(number);
            return Ok(());
        }
        let sent = self.arrival(timestamp);
        let order = &self.slab[number];
        let (held, old_qty, level, alternative) = (order.place, order.qty, order.level, order.alternative);
        let held_otherwise = if alternative == NONE { held } else { self.alternatives[alternative as usize].place };
        let moved = self.levels[level].key != key || self.levels[level].ask != (side == Side::Ask);
        let place = modify.place(held, moved, sent);
        let otherwise = modify.other().place(held_otherwise, moved, sent);
        if moved {
            self.room(self.at(side, key, self.price_levels(side).place(key)), qty)?;
            self.leave(number);
            self.slab[number].qty = qty;
            self.slab[number].place = place;
            let at = self.price_levels(side).place(key);
            self.enter(number, (side, key, at));
        } else {
            self.room(Some(level), qty - old_qty)?;
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

    /// The level of a price that would be at this place of its side, if there is one.
    fn at(&self, side: Side, key: i128, at: usize) -> Option<u32> {
        let found = self.price_levels(side).0.get(at).filter(|level_ref| level_ref.key == key);
        found.map(|level_ref| level_ref.level)
    }

    /// Refuses a quantity that would bring a level's sum beyond the bound.
    fn room(&self, level: Option<u32>, more: i128) -> Result<(), Error> {
        let held = level.map_or(0, |level| self.levels[level].qty);
        match held.checked_add(more) {
            Some(sum) if sum < BOUND => Ok(()),
            _ => Err(refuse(Decimal { mantissa: more, scale: self.qty_precision }, self.qty_precision)),
        }
    }

    fn arrival(&mut self, timestamp: i64) -> Place {
        self.arrivals += 1;
        Place { timestamp, arrival: self.arrivals }
    }

    fn price_levels(&self, side: Side) -> &PriceLevels {
        match side {
            Side::Bid => &self.bids,
            Side::Ask => &self.asks,
        }
    }

    fn price_levels_mut(&mut self, side: Side) -> &mut PriceLevels {
        match side {
            Side::Bid => &mut self.bids,
            Side::Ask => &mut self.asks,
        }
    }

    fn number(&self, id: OrderId<'_>) -> Option<u32> {
        self.ids.find(id, |number| self.slab[number].id)
    }

    fn id(&self, number: u32) -> OrderId<'_> {
        self.ids.id(self.slab[number].id, number)
    }

    /// Adds an order to the level of its price, and makes the level if there is none; `at`: its place on its side.
    fn enter(&mut self, number: u32, (side, key, at): (Side, i128, usize)) {
        let level = self.at(side, key, at).unwrap_or_else(|| {
            let level = self.levels.take();
            self.price_levels_mut(side).0.insert(at, LevelRef { key, level });
            let new = &mut self.levels[level];
            (new.key, new.ask, new.qty, new.count) = (key, side == Side::Ask, 0, 0);
            (new.first, new.last) = (NONE, NONE);
            level
        });
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

    /// Takes an order from its level, and removes the level if it was the last one.
    fn leave(&mut self, number: u32) {
        let level = self.slab[number].level;
        self.dequeue(number);
        self.levels[level].qty -= self.slab[number].qty;
        self.touch(level);
        if self.levels[level].count == 0 {
            let (side, key) = (self.side(level), self.levels[level].key);
            let price_levels = self.price_levels_mut(side);
            let at = price_levels.place(key);
            price_levels.0.remove(at);
            self.drop_level(level);
        }
    }

    fn remove(&mut self, number: u32) {
        self.leave(number);
        self.drop_order(number);
    }

    fn drop_order(&mut self, number: u32) {
        self.forget_alternative(number);
        self.ids.remove(self.slab[number].id, number);
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
        while self.price_levels(side).0.len() > depth {
            let Some(level_ref) = self.price_levels_mut(side).0.fall() else { return };
            self.touch(level_ref.level);
            let mut number = self.levels[level_ref.level].first;
            while number != NONE {
                let behind = self.slab[number].behind;
                self.drop_order(number);
                number = behind;
            }
            self.drop_level(level_ref.level);
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
        // Most orders come last. The first place is tried next, so that a level sent from the back costs no more.
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

    /// Sorts the queues that the message left out of order.
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

    /// A level changed: its digits, and the checksums if they cover it, must be computed again.
    fn touch(&mut self, number: u32) {
        let level = &mut self.levels[number];
        level.digits.iter_mut().for_each(Vec::clear);
        let (key, ask) = (level.key, level.ask);
        if self.price_levels(if ask { Side::Ask } else { Side::Bid }).is_top(key) {
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

    /// Swaps the places of the orders that the last message modified with those by the other rule. Calling it twice
    /// changes nothing.
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

    /// Appends the digits of an order, the last of its queue, to those of its level.
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
        let mut write = |price_levels: &PriceLevels, text: &mut Vec<u8>| {
            text.clear();
            for number in price_levels.best().take(LEVELS) {
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
        self.price_levels(side).best().map(|number| {
            let level = &self.levels[number];
            (self.price(number), level.qty, level.count)
        })
    }

    /// The worst price of a side, and how many levels the side has.
    #[must_use]
    pub fn worst(&self, side: Side) -> Option<(i128, usize)> {
        let levels = &self.price_levels(side).0;
        levels.first().map(|level_ref| (level_ref.key.abs(), levels.len()))
    }

    /// Id, quantity and timestamp of the orders at a price, in the order of the queue.
    pub fn queue(&self, side: Side, price: i128) -> impl Iterator<Item = (OrderId<'_>, i128, i64)> + '_ {
        let mut number = self.price_levels(side).find(key(side, price)).map_or(NONE, |level| self.levels[level].first);
        std::iter::from_fn(move || {
            let current = (number != NONE).then_some(number)?;
            let order = &self.slab[current];
            number = order.behind;
            Some((self.id(current), order.qty, order.place.timestamp))
        })
    }

    /// An order by its id, and what is before it in its queue.
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

/// A price as a key that grows towards the best price.
fn key(side: Side, price: i128) -> i128 {
    match side {
        Side::Bid => price,
        Side::Ask => -price,
    }
}

impl ChecksummedBook for Orders {
    type Entry<'a> = OrderEntry<'a>;
    type Rule = ModifyRule;

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
        for level_ref in self.bids.0.iter_mut().chain(self.asks.0.iter_mut()) {
            level_ref.key *= price;
        }
        self.sums = Default::default();
        (self.price_precision, self.qty_precision) = (price_precision, qty_precision);
        true
    }

    fn apply(&mut self, entries: &[OrderEntry<'_>], rule: ModifyRule) -> Result<u64, Error> {
        self.apply(entries, rule)
    }

    /// If the message modified orders, the other rule is tried before the book is out of sync. If that gives the right
    /// checksum, it is the rule from then on.
    fn verify_checksum(&mut self, expected: u32, rule: &mut ModifyRule, buffer: &mut Vec<u8>) -> u32 {
        let computed = self.checksum(buffer);
        if self.alternatives.iter().all(|alternative| alternative.order == NONE) {
            return computed;
        }
        self.exchange_places();
        let otherwise = self.checksum(buffer);
        if otherwise == expected && computed != expected {
            *rule = rule.other();
            self.detected_rule = Some(*rule);
            return otherwise;
        }
        self.exchange_places();
        if computed == expected && otherwise != expected {
            self.detected_rule = Some(*rule);
        }
        computed
    }

    fn crossed(&self) -> bool {
        self.crossed()
    }
}

impl Synced<Orders> {
    /// Applies an update whose numbers are at the precision of the book, none of them negative. `None`, and nothing is
    /// done, of any other message, and if the book is out of sync or of another precision.
    pub(crate) fn update(
        &mut self,
        meta: &BookMeta,
        orders: &[ShortOrder],
        buffer: &mut Vec<u8>,
    ) -> Option<Result<Outcome, Error>> {
        let rule = self.rule;
        let book = self.book_mut()?;
        if meta.kind != Kind::Update || book.precision() != (meta.price_precision, meta.qty_precision) {
            return None;
        }
        Some(match book.apply_short(orders, rule) {
            Ok(unknown) => {
                self.unknown_entries += unknown;
                Ok(self.check(meta, buffer))
            }
            Err(error) => {
                self.end();
                Err(error)
            }
        })
    }
}

impl Levels for Orders {
    fn checksum_level2(&mut self, buffer: &mut Vec<u8>) -> u32 {
        self.checksum_level2(buffer)
    }

    fn each_level(&self, side: Side, depth: usize, mut each: impl FnMut(i128, i128)) {
        self.levels(side).take(depth).for_each(|(price, qty, _)| each(price, qty));
    }
}

#[cfg(test)]
mod tests;
