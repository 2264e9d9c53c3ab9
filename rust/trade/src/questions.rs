//! Questions: what would have become of any number of orders, each as if it were alone in the record.
//!
//! A question waits for its time, takes what it would meet, and rests. Those that came to a price at one time stand at one
//! place: what reaches the place is found once, and each gets it until it is filled. Then, or when its time is over, there
//! is a verdict, and the question is forgotten. The rules are those of `queue` and `bounds`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::vec::Drain;

use foldhash::HashMap;
use smallvec::{SmallVec, smallvec};

use crate::amount::{Price, Qty};
use crate::ghosts::{Print, reach, trade_at, trade_below};
use crate::report::Evidence;
use crate::shown::key;
use crate::terms::Side;

/// No time, and no trade.
const NONE: i64 = i64::MIN;
/// Places of a price that are over, beyond those that are not, before they are swept out.
const DEAD_MAX: usize = 16;

/// An order that is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// Its number.
    pub number: u32,
    /// Side.
    pub side: Side,
    /// Worst price.
    pub price: Price,
    /// Quantity.
    pub qty: Qty,
    /// When it reaches the exchange, ns.
    pub at: i64,
    /// When it is taken back, ns.
    pub until: i64,
}

/// How a question ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its time lies where the book is not known: nothing can be said.
    NotRecorded,
    /// All of it was filled.
    Filled,
    /// Its time was over.
    Expired,
    /// The record was over before its time.
    Unfinished,
}

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Number of the question.
    pub number: u32,
    /// How it ended.
    pub ending: Ending,
    /// Up to this time it is known, ns.
    pub until: i64,
    /// What it got.
    pub sum: Sum,
    /// Quantity before it when it came to rest; `None`: its price was not shown, or it did not rest.
    pub ahead: Option<Qty>,
    /// How often the book was not known while it rested.
    pub gaps: u32,
}

/// What an order got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sum {
    /// Quantity in all.
    pub filled: i64,
    /// Quantity that is not in doubt.
    pub certain: i64,
    /// Times of the first and the last part, ns.
    times: (i64, i64),
    /// What proves it.
    pub evidence: EvidenceKinds,
    trade_id: i64,
}

impl Sum {
    const ZERO: Self = Self { filled: 0, certain: 0, times: (NONE, NONE), evidence: EvidenceKinds(0), trade_id: NONE };

    /// Times of the first and the last part.
    #[must_use]
    pub fn times(&self) -> Option<(i64, i64)> {
        (self.times.0 != NONE).then_some(self.times)
    }

    /// Number of the first trade that gave it something.
    #[must_use]
    pub fn trade_id(&self) -> Option<i64> {
        (self.trade_id != NONE).then_some(self.trade_id)
    }

    fn add(&mut self, part: &Part, qty: i64) {
        self.filled += qty;
        if !part.doubt {
            self.certain += qty;
        }
        self.times = (if self.times.0 == NONE { part.ts } else { self.times.0 }, part.ts);
        if self.trade_id == NONE {
            self.trade_id = part.trade_id.unwrap_or(NONE);
        }
        self.evidence.add(part.evidence);
    }
}

/// Kinds of evidence, each of them once, in the order in which they came: three bits each, the first one lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvidenceKinds(u32);

impl EvidenceKinds {
    fn add(&mut self, evidence: Evidence) {
        let code = (0u32..).zip(KINDS).find(|(_, kind)| *kind == Some(evidence)).map_or(0, |(code, _)| code);
        let mut at = 0;
        while (self.0 >> at) & 7 != 0 && (self.0 >> at) & 7 != code {
            at += 3;
        }
        self.0 |= code << at;
    }

    /// The first one first.
    pub fn iter(self) -> impl Iterator<Item = Evidence> {
        (0..KINDS.len()).filter_map(move |at| KINDS.get(((self.0 >> (3 * at)) & 7) as usize).copied().flatten())
    }
}

/// The codes of evidence.
const KINDS: [Option<Evidence>; 6] = [
    None,
    Some(Evidence::Queue),
    Some(Evidence::Beyond),
    Some(Evidence::Through),
    Some(Evidence::Crossed),
    Some(Evidence::Taken),
];

/// A part that orders at a place got, or could have got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Time of the exchange, ns.
    pub ts: i64,
    /// What proves it.
    pub evidence: Evidence,
    /// Price.
    pub price: Price,
    /// Quantity.
    pub qty: Qty,
    /// Number of the trade, where there is one.
    pub trade_id: Option<i64>,
    /// Whether it is in doubt.
    pub doubt: bool,
}

/// Verdicts that are taken, and parts with the numbers of their questions.
pub type Taken<'a> = (Drain<'a, Verdict>, Drain<'a, (u32, Part)>);

/// When something happened: instant (µs), time (ns), whether the book was not known.
pub(crate) type When = (i64, i64, bool);

/// An order of the record as a place sees it: how many were told before it, its time, its quantity or what of it is gone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub came: u64,
    pub ts: i64,
    pub qty: i64,
}

/// A question that rests.
#[derive(Debug)]
struct Open {
    number: u32,
    qty: i64,
}

/// Where questions rest that came to a price at one time.
#[derive(Debug)]
struct Place {
    number: u64,
    side: Side,
    price: Price,
    /// See [`crate::ghosts::Ghost`].
    ts: i64,
    instant: i64,
    came: u64,
    /// Gaps that there were before.
    gaps: u32,
    ahead: Option<Qty>,
    sum: Sum,
    parts: Vec<Part>,
    /// Nearly always one.
    open: SmallVec<[Open; 1]>,
    /// What it got in its last instant: the instant, at its price, at worse ones.
    took: (i64, i64, i64),
    /// Level 3: of what stood before it when its price left the window, what has been traded since; and the mark of that.
    passed: (u64, i64),
    /// Level 3: what it took of orders that live on.
    eaten: Vec<(u64, i64)>,
    /// Level 2: see [`crate::ghosts::Ghost`].
    before: Option<Qty>,
    printed: (i64, Qty),
}

impl Place {
    fn is_ahead(&self, order: &Seen) -> bool {
        order.came < self.came || order.ts < self.ts
    }
}

/// The places of a price, in the order of time.
#[derive(Debug, Default)]
struct Level {
    places: VecDeque<u32>,
    /// How many of them are not over.
    live: usize,
    /// Level 3: the orders that stood there when the price left the window, and how many orders were told before that.
    away: Vec<Seen>,
    mark: u64,
}

impl Level {
    /// Quantity that stood before a place when the price left the window, and is not traded since.
    fn unseen(&self, place: &Place) -> i64 {
        if self.away.is_empty() || place.came > self.mark {
            return 0;
        }
        let all = self.away.iter().filter(|order| place.is_ahead(order)).fold(0_i64, |sum, order| sum + order.qty);
        all - if place.passed.0 == self.mark { place.passed.1 } else { 0 }
    }
}

/// What a question takes when it comes.
#[derive(Debug)]
pub(crate) struct Entry {
    question: Question,
    sum: Sum,
    /// Whether parts are kept, not only their sum.
    keeps: bool,
    parts: Vec<Part>,
    /// Slots and quantities of the orders that it took.
    eaten: Vec<(u32, i64)>,
}

impl Entry {
    /// Takes of an offer; whether more is wanted. `slot`: of an order.
    pub fn take(&mut self, price: Price, qty: Qty, slot: Option<u32>) -> bool {
        let took = qty.0.min(self.question.qty.0 - self.sum.filled);
        let (ts, evidence) = (self.question.at, Evidence::Taken);
        let part = Part { ts, evidence, price, qty: Qty(took), trade_id: None, doubt: false };
        self.sum.add(&part, took);
        if self.keeps {
            self.parts.push(part);
        }
        self.eaten.extend(slot.map(|slot| (slot, took)));
        self.left()
    }

    pub fn left(&self) -> bool {
        self.sum.filled < self.question.qty.0
    }
}

/// Where an order comes to rest: how many orders were told before, quantity before it for the verdict and for level 2.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rest {
    pub came: u64,
    pub ahead: Option<Qty>,
    pub before: Option<Qty>,
}

/// The time at which a question ends; where it rests: slot and number of the place; its number.
type End = (i64, u32, u64, u32);

/// Questions by the time at which they end. Most come in the order of these times, so few need to be sorted.
#[derive(Debug, Default)]
struct Ends {
    in_order: VecDeque<End>,
    others: BinaryHeap<Reverse<End>>,
}

impl Ends {
    fn push(&mut self, end: End) {
        if self.in_order.back().is_none_or(|last| last.0 <= end.0) {
            self.in_order.push_back(end);
        } else {
            self.others.push(Reverse(end));
        }
    }

    /// The next one whose time is over.
    fn next(&mut self, is_due: &dyn Fn(i64) -> bool) -> Option<End> {
        let (first, other) = (self.in_order.front(), self.others.peek().map(|end| &end.0));
        let is_other = other.is_some_and(|other| first.is_none_or(|first| other.0 < first.0));
        if !(if is_other { other } else { first }).is_some_and(|end| is_due(end.0)) {
            return None;
        }
        if is_other { self.others.pop().map(|end| end.0) } else { self.in_order.pop_front() }
    }

    fn clear(&mut self) {
        self.in_order.clear();
        self.others.clear();
    }
}

/// The questions of a pair.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    /// The next one is the last.
    waiting: Vec<Question>,
    places: Vec<Place>,
    free: Vec<u32>,
    /// By the key of the price.
    sides: [BTreeMap<i64, Level>; 2],
    /// Prices that left the window.
    away: [BTreeSet<i64>; 2],
    ends: Ends,
    /// Orders that a place took a part of, by slot, with a number that is not used again.
    eaten: HashMap<u32, u64>,
    made: u64,
    gaps: u32,
    /// How many rest.
    resting: usize,
    /// Whether parts are kept, not only their sums.
    keeps: bool,
    verdicts: Vec<Verdict>,
    parts: Vec<(u32, Part)>,
    lost: Vec<Seen>,
}

/// What places give their verdicts to.
struct Given<'a> {
    verdicts: &'a mut Vec<Verdict>,
    parts: &'a mut Vec<(u32, Part)>,
    resting: &'a mut usize,
    gaps: u32,
    keeps: bool,
}

impl Given<'_> {
    /// Gives a place a part; whether anyone is left there.
    fn give(&mut self, place: &mut Place, level: &mut usize, part: &Part) -> bool {
        if place.open.is_empty() || !part.qty.is_positive() {
            return !place.open.is_empty();
        }
        let reached = place.sum.filled.saturating_add(part.qty.0);
        let (sum, gaps, ahead) = (place.sum, self.gaps.saturating_sub(place.gaps), place.ahead);
        let kept = &place.parts;
        place.open.retain(|open| {
            if open.qty > reached {
                return true;
            }
            let (mut sum, rest) = (sum, open.qty - sum.filled);
            sum.add(part, rest);
            let ending = Ending::Filled;
            self.verdicts.push(Verdict { number: open.number, ending, until: part.ts, sum, ahead, gaps });
            if self.keeps {
                self.parts.extend(kept.iter().map(|part| (open.number, *part)));
                self.parts.push((open.number, Part { qty: Qty(rest), ..*part }));
            }
            *self.resting -= 1;
            false
        });
        if place.open.is_empty() {
            *level -= 1;
            return false;
        }
        place.sum.add(part, part.qty.0);
        if self.keeps {
            place.parts.push(*part);
        }
        true
    }
}

/// The price of a key.
const fn price_of(side: Side, key: i64) -> Price {
    match side {
        Side::Buy => Price(key),
        Side::Sell => Price(-key),
    }
}

impl Questions {
    /// Asks more, in the order of their times; later than those before.
    pub fn ask(&mut self, mut questions: Vec<Question>, keeps: bool) {
        self.keeps |= keeps;
        questions.append(&mut self.waiting);
        // Those of one price and time next to each other: they share a place.
        questions.sort_by_key(|one| Reverse((one.at, one.side as u8, one.price, one.number)));
        self.waiting = questions;
    }

    /// Whether there is one that is not answered.
    pub fn is_busy(&self) -> bool {
        !self.waiting.is_empty() || self.resting > 0
    }

    pub fn rests(&self) -> bool {
        self.resting > 0
    }

    pub fn take_verdicts(&mut self) -> Taken<'_> {
        (self.verdicts.drain(..), self.parts.drain(..))
    }

    /// Whether one of a side rests at this price or a better one.
    pub fn is_reached(&self, side: Side, price: Price) -> bool {
        self.sides[side as usize].last_key_value().is_some_and(|best| *best.0 >= key(side, price))
    }

    // Times.

    /// The next one whose time has come.
    pub fn next(&mut self, is_due: &dyn Fn(i64) -> bool) -> Option<Question> {
        self.waiting.pop_if(|next| is_due(next.at))
    }

    /// It comes now, and has taken nothing yet.
    pub const fn entry(&self, question: Question) -> Entry {
        Entry { question, sum: Sum::ZERO, keeps: self.keeps, parts: Vec::new(), eaten: Vec::new() }
    }

    /// Nothing is known of its time.
    pub fn refuse(&mut self, question: &Question) {
        let (number, until, ending) = (question.number, question.at, Ending::NotRecorded);
        self.verdicts.push(Verdict { number, ending, until, sum: Sum::ZERO, ahead: None, gaps: 0 });
    }

    /// It came, and took what was there; what is left rests where `rest` says.
    pub fn enter(&mut self, entry: Entry, instant: i64, in_gap: bool, rest: impl FnOnce() -> Rest) {
        let Entry { question, sum, parts, eaten, .. } = entry;
        let Question { number, side, price, qty, at: ts, until } = question;
        if sum.filled >= qty.0 {
            let ending = Ending::Filled;
            self.verdicts.push(Verdict { number, ending, until: ts, sum, ahead: None, gaps: 0 });
            self.parts.extend(parts.into_iter().map(|part| (number, part)));
            return;
        }
        self.resting += 1;
        let level = self.sides[side as usize].entry(key(side, price)).or_default();
        let last = level.places.back().copied();
        let same = last.filter(|slot| {
            let place = &self.places[*slot as usize];
            place.ts == ts && !place.open.is_empty()
        });
        let open = Open { number, qty: qty.0 };
        let slot = if let Some(slot) = same {
            self.places[slot as usize].open.push(open);
            slot
        } else {
            let Rest { came, ahead, before } = rest();
            self.made += 1;
            let mut place = Place {
                number: self.made,
                side,
                price,
                ts,
                instant,
                came,
                gaps: self.gaps - u32::from(in_gap),
                ahead,
                sum,
                parts,
                open: smallvec![open],
                took: (i64::MIN, 0, 0),
                passed: (0, 0),
                eaten: Vec::new(),
                before,
                printed: (0, Qty::ZERO),
            };
            for (slot, qty) in eaten {
                self.made += 1;
                place.eaten.push((*self.eaten.entry(slot).or_insert(self.made), qty));
            }
            let slot = if let Some(slot) = self.free.pop() {
                self.places[slot as usize] = place;
                slot
            } else {
                self.places.push(place);
                // There are no more places than questions, whose numbers are as large.
                u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
            };
            level.places.push_back(slot);
            level.live += 1;
            slot
        };
        if until < i64::MAX {
            self.ends.push((until, slot, self.places[slot as usize].number, number));
        }
    }

    /// Ends those whose time is over.
    pub fn end(&mut self, is_due: &dyn Fn(i64) -> bool) {
        while let Some((until, slot, place, number)) = self.ends.next(is_due) {
            self.end_one((slot, place, number), Ending::Expired, until);
        }
    }

    fn end_one(&mut self, (slot, place, number): (u32, u64, u32), ending: Ending, until: i64) {
        let Some(place) = self.places.get_mut(slot as usize).filter(|found| found.number == place) else { return };
        let Some(at) = place.open.iter().position(|open| open.number == number) else { return };
        place.open.swap_remove(at);
        self.resting -= 1;
        let (sum, ahead, gaps) = (place.sum, place.ahead, self.gaps.saturating_sub(place.gaps));
        self.verdicts.push(Verdict { number, ending, until, sum, ahead, gaps });
        if self.keeps {
            self.parts.extend(place.parts.iter().map(|part| (number, *part)));
        }
        if place.open.is_empty() {
            let (side, key) = (place.side, key(place.side, place.price));
            if let Some(level) = self.sides[side as usize].get_mut(&key) {
                level.live -= 1;
            }
            self.sweep(side, key);
        }
    }

    /// The book is not known from now on.
    pub fn gap(&mut self) {
        self.gaps += 1;
    }

    /// The record is over. `until`: up to then it is known; `in_gap`: it ended with a gap, which is no gap of its own.
    pub fn finish(&mut self, until: i64, in_gap: bool) {
        for question in std::mem::take(&mut self.waiting) {
            self.refuse(&question);
        }
        self.gaps -= u32::from(in_gap && self.gaps > 0);
        let open = |(slot, place): (u32, &Place)| {
            place.open.iter().map(|open| (slot, place.number, open.number)).collect::<Vec<_>>()
        };
        let all: Vec<_> = (0..).zip(&self.places).flat_map(open).collect();
        for one in all {
            let at = self.places[one.0 as usize].ts;
            self.end_one(one, Ending::Unfinished, until.max(at));
        }
        self.ends.clear();
    }

    /// Forgets a price, or its places, that are over.
    fn sweep(&mut self, side: Side, key: i64) {
        let Some(level) = self.sides[side as usize].get_mut(&key) else { return };
        if level.live == 0 {
            self.free.extend(level.places.drain(..));
            self.sides[side as usize].remove(&key);
            self.away[side as usize].remove(&key);
        } else if level.places.len() > 2 * level.live + DEAD_MAX {
            let (places, free) = (&self.places, &mut self.free);
            level.places.retain(|slot| {
                let is_live = !places[*slot as usize].open.is_empty();
                if !is_live {
                    free.push(*slot);
                }
                is_live
            });
        }
    }

    /// Calls `each` with the places of a side whose price is this one or a better one.
    fn reaching(
        &mut self,
        side: Side,
        least: i64,
        mut each: impl FnMut(&mut Given<'_>, Price, &mut Level, &mut [Place], &mut HashMap<u32, u64>),
    ) {
        let mut over = Vec::new();
        let mut given = Given {
            verdicts: &mut self.verdicts,
            parts: &mut self.parts,
            resting: &mut self.resting,
            gaps: self.gaps,
            keeps: self.keeps,
        };
        for (&key, level) in self.sides[side as usize].range_mut(least..) {
            each(&mut given, price_of(side, key), level, &mut self.places, &mut self.eaten);
            // The first ones are over first.
            let is_over = |slot: &u32| self.places[*slot as usize].open.is_empty();
            while level.live > 0 && level.places.front().is_some_and(is_over) {
                self.free.extend(level.places.pop_front());
            }
            if level.live == 0 || level.places.len() > 2 * level.live + DEAD_MAX {
                over.push(key);
            }
        }
        for key in over {
            self.sweep(side, key);
        }
    }

    // Level 3.

    /// Gives places their part of the trades of an instant. `lost`: what orders at a price lost in it.
    pub fn decide(&mut self, (instant, ts, dark): When, prints: &[Print], lost: impl Fn(Side, Price, &mut Vec<Seen>)) {
        let mut gone_of = std::mem::take(&mut self.lost);
        for side in [Side::Buy, Side::Sell] {
            let Some(bound) = worst(prints, side) else { continue };
            self.reaching(side, bound, |given, price, level, places, _| {
                let (traded, worse) = reach(prints, side, price, Qty::ZERO);
                gone_of.clear();
                lost(side, price, &mut gone_of);
                for at in 0..level.places.len() {
                    let place = &mut places[level.places[at] as usize];
                    if place.open.is_empty() || place.instant >= instant {
                        continue;
                    }
                    let (mut gone, mut behind) = (0_i64, 0_i64);
                    for order in &gone_of {
                        let part = if place.is_ahead(order) { &mut gone } else { &mut behind };
                        *part = part.saturating_add(order.qty);
                    }
                    let mut mine = traded.0 - traded.0.min(gone);
                    if mine == 0 && worse == Qty::ZERO {
                        // Later places have more before them.
                        break;
                    }
                    let before = if place.took.0 == instant { (place.took.1, place.took.2) } else { (0, 0) };
                    let unseen = level.unseen(place).min(mine).max(0);
                    if unseen > 0 {
                        let passed = if place.passed.0 == level.mark { place.passed.1 } else { 0 };
                        place.passed = (level.mark, passed + unseen);
                    }
                    mine -= unseen + before.0;
                    let trade_id = trade_at(prints, side, price, Qty(gone.saturating_add(before.0)));
                    let part = |evidence, qty: i64, doubt, trade_id| Part {
                        ts,
                        evidence,
                        price,
                        qty: Qty(qty),
                        trade_id,
                        doubt,
                    };
                    let queued = mine.min(behind).max(0);
                    let beyond = (mine - queued).max(0);
                    let below = (worse.0 - before.1).max(0);
                    let live = &mut level.live;
                    if given.give(place, live, &part(Evidence::Queue, queued, dark, trade_id))
                        && given.give(place, live, &part(Evidence::Beyond, beyond, true, trade_id))
                        && (below == 0 || {
                            let trade_id = trade_below(prints, side, price);
                            given.give(place, live, &part(Evidence::Through, below, dark, trade_id))
                        })
                    {
                        place.took = (instant, before.0 + queued + beyond, before.1 + below);
                    }
                }
            });
        }
        self.lost = gone_of;
    }

    /// An order of the record came where it could not rest beside places: it would have met them.
    pub fn cross(&mut self, (_, ts, dark): When, side: Side, price: Price, qty: Qty, slot: u32) {
        let mut made = self.made + 1;
        self.reaching(side.other(), key(side.other(), price), |given, at, level, places, eaten| {
            for &number in &level.places {
                let place = &mut places[number as usize];
                if place.open.is_empty() {
                    continue;
                }
                let known = eaten.get(&slot).copied();
                let took = place.eaten.iter_mut().find(|one| Some(one.0) == known);
                let free = qty.0 - took.as_ref().map_or(0, |took| took.1);
                if free <= 0 {
                    continue;
                }
                let evidence = Evidence::Crossed;
                if let Some(took) = took {
                    took.1 += free;
                } else {
                    place.eaten.push((*eaten.entry(slot).or_insert(made), free));
                    made += 1;
                }
                let part = Part { ts, evidence, price: at, qty: Qty(free), trade_id: None, doubt: dark };
                given.give(place, &mut level.live, &part);
            }
        });
        self.made = made;
    }

    /// Whether anything was eaten of an order of the record.
    pub fn has_eaten(&self) -> bool {
        !self.eaten.is_empty()
    }

    /// An order of the record is gone, or begins anew.
    pub fn forget(&mut self, slot: u32) {
        if !self.eaten.is_empty() {
            self.eaten.remove(&slot);
        }
    }

    /// A price leaves the window with these orders, when so many orders were told.
    pub fn hide(&mut self, side: Side, price: Price, told: u64, orders: impl Iterator<Item = Seen>) {
        let key = key(side, price);
        if let Some(level) = self.sides[side as usize].get_mut(&key) {
            level.away.clear();
            level.away.extend(orders);
            level.mark = told;
            self.away[side as usize].insert(key);
        }
    }

    /// Whether prices that left the window are to be looked at.
    pub fn has_away(&self) -> bool {
        self.away.iter().any(|side| !side.is_empty())
    }

    /// Forgets what stood at prices that are shown again.
    pub fn show(&mut self, is_visible: impl Fn(Side, Price) -> bool) {
        for side in [Side::Buy, Side::Sell] {
            while let Some(best) = self.away[side as usize].last().copied() {
                if !is_visible(side, price_of(side, best)) {
                    break;
                }
                self.away[side as usize].pop_last();
                if let Some(level) = self.sides[side as usize].get_mut(&best) {
                    level.away.clear();
                }
            }
        }
    }

    /// No order of the record is known any more.
    pub fn clear(&mut self) {
        self.eaten.clear();
    }

    // Level 2.

    /// Gives places their part of the trades of an instant. `shown`: the quantity of a level before it; `late`: so many
    /// instants later a level may show a trade.
    pub fn decide_sums(
        &mut self,
        (instant, ts, dark): When,
        prints: &[Print],
        late: i64,
        shown: impl Fn(Side, Price) -> Qty,
    ) {
        for side in [Side::Buy, Side::Sell] {
            let Some(bound) = worst(prints, side) else { continue };
            self.reaching(side, bound, |given, price, level, places, _| {
                let (traded, worse) = reach(prints, side, price, Qty::ZERO);
                let qty = shown(side, price);
                for &slot in &level.places {
                    let place = &mut places[slot as usize];
                    if place.open.is_empty() || place.instant >= instant {
                        continue;
                    }
                    let ahead = place.before.unwrap_or(traded);
                    if traded.is_positive() {
                        place.before = place.before.map(|before| Qty((before - traded).0.max(0)));
                        let known = if instant - place.printed.0 <= late { place.printed.1 } else { Qty::ZERO };
                        place.printed = (instant, Qty(known.0.saturating_add(traded.0)));
                    }
                    let mine = (traded - ahead).0.max(0);
                    let queued = mine.min((qty - ahead).0.max(0));
                    let trade_id = trade_at(prints, side, price, ahead);
                    let part = |evidence, qty: i64, doubt, trade_id| Part {
                        ts,
                        evidence,
                        price,
                        qty: Qty(qty),
                        trade_id,
                        doubt,
                    };
                    let live = &mut level.live;
                    given.give(place, live, &part(Evidence::Queue, queued, dark, trade_id));
                    given.give(place, live, &part(Evidence::Beyond, mine - queued, true, trade_id));
                    if worse.is_positive() {
                        place.before = Some(Qty::ZERO);
                        let trade_id = trade_below(prints, side, price);
                        given.give(place, live, &part(Evidence::Through, worse.0, dark, trade_id));
                    }
                }
            });
        }
    }

    /// Calls `change` with quantity before each place of a price, and instant and quantity of its last trades.
    pub fn each_at(&mut self, side: Side, price: Price, mut change: impl FnMut(&mut Option<Qty>, &mut (i64, Qty))) {
        let Some(level) = self.sides[side as usize].get(&key(side, price)) else { return };
        for slot in &level.places {
            let place = &mut self.places[*slot as usize];
            change(&mut place.before, &mut place.printed);
        }
    }

    /// The same of all places, with side and price.
    pub fn each(&mut self, mut change: impl FnMut(Side, Price, &mut Option<Qty>, &mut (i64, Qty))) {
        for place in self.places.iter_mut().filter(|place| !place.open.is_empty()) {
            change(place.side, place.price, &mut place.before, &mut place.printed);
        }
    }

    /// What is new of a level could not rest beside places: it would have met them.
    pub fn cross_sum(&mut self, (_, ts, dark): When, side: Side, price: Price, qty: Qty) {
        self.reaching(side.other(), key(side.other(), price), |given, at, level, places, _| {
            for &slot in &level.places {
                let evidence = Evidence::Crossed;
                let part = Part { ts, evidence, price: at, qty, trade_id: None, doubt: dark };
                given.give(&mut places[slot as usize], &mut level.live, &part);
            }
        });
    }
}

/// The key of the worst price that was traded on a side.
fn worst(prints: &[Print], side: Side) -> Option<i64> {
    prints.iter().filter(|print| print.side == side).map(|print| key(side, print.price)).min()
}
