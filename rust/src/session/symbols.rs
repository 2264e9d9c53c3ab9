//! What a session knows of each symbol, and how a symbol is found by its name.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::options::{Channel, Options};
use super::output::Output;
use crate::book::level2::Book;
use crate::book::level3::Orders;
use crate::book::synced::{ChecksummedBook, Synced};
use crate::decimal::Decimal;
use crate::error::Error;
use crate::instrument::{Origin, Pair};
use crate::limits;
use crate::table::rows::short_view;
use crate::wire::message::Side;
use crate::wire::time::SECOND;

/// After this long without data an active subscription is called idle.
const IDLE: i64 = 60 * SECOND;
/// After this long without an ack a symbol is requested again.
const ACK_TIMEOUT: i64 = 20 * SECOND;
/// After this long without its snapshot a book is requested again. Kraken needs 0.1 to 0.6 s when it is not busy.
const SNAPSHOT_TIMEOUT: i64 = 60 * SECOND;
/// The longest pause between two attempts at one symbol.
const PAUSE_MAX: i64 = 300 * SECOND;
/// A symbol that had no trouble for this long starts again with short pauses.
const WELL: i64 = 600 * SECOND;
/// Trades of a symbol that are remembered: more than the 50 that a snapshot of Kraken repeats.
const TRADES_KEPT: usize = 64;

/// What follows for a subscription from what happened to its data. The part that notices it says so; the session acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    None,
    /// The book is out of sync: unsubscribe and subscribe the symbol again.
    Resync(&'static str),
    /// A message may be lost: the book stays in sync until it is unsubscribed, to be subscribed again.
    Doubt(&'static str),
    /// Its numbers cannot be held: subscribe it again later.
    Refuse(&'static str),
    /// Its numbers cannot be held, again: give it up.
    GiveUp(&'static str),
}

/// The state of a subscription of one symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SubscriptionState {
    /// Not wanted.
    Off,
    /// To be requested, not before this time.
    Pending(i64),
    /// Requested at this time; the ack is to come.
    Requested(i64),
    /// Acked at this time; the snapshot is to come.
    Acked(i64),
    /// It delivers.
    Active,
    /// It is active, and had no data for a minute.
    Idle,
    /// To be unsubscribed and subscribed again, not before this time.
    Resyncing(i64),
    /// The unsubscribe was sent at this time; the ack is to come.
    Unsubscribing(i64),
    /// The exchange refused it.
    Rejected,
    /// Given up: the pair is delisted, or its data cannot be held.
    Removed,
}

impl SubscriptionState {
    /// The words of all states.
    pub(super) const WORDS: [&'static str; 10] =
        ["off", "pending", "requested", "acked", "active", "idle", "resyncing", "unsubscribing", "rejected", "removed"];

    /// Its place among the words.
    pub(super) const fn index(self) -> usize {
        match self {
            Self::Off => 0,
            Self::Pending(_) => 1,
            Self::Requested(_) => 2,
            Self::Acked(_) => 3,
            Self::Active => 4,
            Self::Idle => 5,
            Self::Resyncing(_) => 6,
            Self::Unsubscribing(_) => 7,
            Self::Rejected => 8,
            Self::Removed => 9,
        }
    }

    pub(super) const fn word(self) -> &'static str {
        Self::WORDS[self.index()]
    }

    /// Whether data comes as it should.
    pub(super) const fn delivers(self) -> bool {
        matches!(self, Self::Active | Self::Idle)
    }
}

/// Since when data of a symbol is missing, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) since: Option<i64>,
    pub(super) reason: &'static str,
}

/// A subscription of one symbol. Its state is set by `Subscriptions::set` alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subscription {
    pub(super) state: SubscriptionState,
    /// Attempts since it last had no trouble.
    pub(super) attempts: u32,
    /// When it was last requested.
    pub(super) requested_at: i64,
    /// Whether it ever delivered: to subscribe it again is a resync then.
    pub(super) was_active: bool,
    /// When its last data came.
    pub(super) last_received: i64,
    /// Why it has its state, where that is not as it should be.
    pub(super) reason: &'static str,
    /// Data that is missing; `None` while all is known, and before anything was.
    pub(super) lost: Option<Lost>,
    /// Whether it is to be unsubscribed because it is no longer selected, or waits for the answer to that.
    pub(super) leaving: bool,
    /// The entry of the queue of due times that is its own; others are out of date.
    pub(super) due: i64,
    /// The word of its state in its last event.
    pub(super) told: &'static str,
    /// Whether it is in the list of those whose state may differ from the one in their last event.
    pub(super) changed: bool,
}

impl Subscription {
    pub(super) const OFF: Self = Self {
        state: SubscriptionState::Off,
        attempts: 0,
        requested_at: 0,
        was_active: false,
        last_received: 0,
        reason: "",
        lost: None,
        leaving: false,
        due: 0,
        told: "off",
        changed: false,
    };

    /// When to try again: at once the first time, then 1, 2, 4 … seconds later.
    pub(super) fn pause(&mut self, now: i64) -> i64 {
        if now - self.requested_at > WELL {
            self.attempts = 0;
        }
        let pause = match self.attempts {
            0 => 0,
            n => (SECOND << (n - 1).min(9)).min(PAUSE_MAX),
        };
        self.attempts += 1;
        now + pause
    }

    /// The word of its state.
    pub(super) const fn word(&self) -> &'static str {
        // Whether the request has left yet makes no difference to who removed it.
        if self.leaving { SubscriptionState::Unsubscribing(0).word() } else { self.state.word() }
    }

    /// Nobody selects it any more: what its data lacks from here on is missed by nobody.
    pub(super) const fn forget(&mut self) {
        (self.lost, self.was_active) = (None, false);
    }

    /// When its state calls for something.
    pub(super) const fn due_time(&self) -> Option<i64> {
        match self.state {
            SubscriptionState::Pending(at) | SubscriptionState::Resyncing(at) => Some(at),
            SubscriptionState::Requested(at) | SubscriptionState::Unsubscribing(at) => Some(at + ACK_TIMEOUT + 1),
            SubscriptionState::Acked(at) => Some(at + SNAPSHOT_TIMEOUT + 1),
            SubscriptionState::Active => Some(self.last_received + IDLE + 1),
            SubscriptionState::Off
            | SubscriptionState::Idle
            | SubscriptionState::Rejected
            | SubscriptionState::Removed => None,
        }
    }
}

/// A book of one symbol, and what goes with it.
#[derive(Debug)]
pub(super) struct BookSlot<B: ChecksummedBook> {
    pub(super) synced: Synced<B>,
    /// Depth in force, and where it comes from.
    pub(super) depth: Option<(u16, &'static str)>,
    /// Hour of the last checkpoint, or of the snapshot.
    pub(super) hour: i64,
    /// Snapshots that could not be held, in a row.
    pub(super) refusals: u8,
    /// Whether the ledger already says why updates are unchecked.
    pub(super) explained: bool,
    /// Whether the ledger already says that a message may be lost since the last snapshot.
    pub(super) doubted: bool,
    /// The rule that the ledger last named.
    pub(super) detected_rule: Option<B::Rule>,
    /// The last checksum that was wrong: what the exchange sent, and what was computed.
    pub(super) mismatch: Option<(u32, u32)>,
    /// Whether it is counted among the books in sync.
    counted: bool,
}

impl<B: ChecksummedBook> Default for BookSlot<B> {
    fn default() -> Self {
        Self {
            synced: Synced::default(),
            depth: None,
            hour: 0,
            refusals: 0,
            explained: false,
            doubted: false,
            detected_rule: None,
            mismatch: None,
            counted: false,
        }
    }
}

impl<B: ChecksummedBook> BookSlot<B> {
    /// Whether a book that is in sync is doubted for the first time since its snapshot.
    pub(super) fn newly_doubted(&mut self) -> bool {
        self.synced.book().is_some() && !std::mem::replace(&mut self.doubted, true)
    }

    /// Whether it is in sync; corrects `in_sync`, how many are.
    fn recount(&mut self, in_sync: &mut usize) -> bool {
        let now = self.synced.book().is_some();
        match (std::mem::replace(&mut self.counted, now), now) {
            (false, true) => *in_sync += 1,
            (true, false) => *in_sync -= 1,
            _ => {}
        }
        now
    }
}

/// The last trade of a symbol, and what tells whether a trade was already taken.
#[derive(Debug, Clone)]
pub(super) struct Trades {
    /// Number of the last one.
    pub(super) last: i64,
    /// Its time, ns.
    pub(super) timestamp: i64,
    /// When it came, ns.
    pub(super) last_received: i64,
    /// Number and fingerprint of those with the greatest numbers since the numbering began, ascending.
    pub(super) recent: VecDeque<(i64, u64)>,
    /// Whether the numbering ever started again.
    pub(super) restarted: bool,
}

impl Trades {
    pub(super) fn new(id: i64, timestamp: i64, last_received: i64, fingerprint: u64, restarted: bool) -> Self {
        Self { last: id, timestamp, last_received, recent: VecDeque::from([(id, fingerprint)]), restarted }
    }

    /// Remembers a trade.
    pub(super) fn add(&mut self, id: i64, timestamp: i64, last_received: i64, fingerprint: u64) {
        if id > self.last {
            (self.last, self.timestamp) = (id, timestamp);
        }
        self.last_received = last_received;
        let at = self.recent.partition_point(|(other, _)| *other < id);
        if self.recent.get(at).is_some_and(|(other, _)| *other == id) {
            return;
        }
        self.recent.insert(at, (id, fingerprint));
        if self.recent.len() > TRADES_KEPT {
            self.recent.pop_front();
        }
    }
}

/// What is known of one symbol.
#[derive(Debug)]
pub(super) struct Symbol {
    pub(super) name: Arc<str>,
    /// The view of its name in the tables, if that is short.
    pub(super) view: Option<u128>,
    pub(super) pair: Option<Pair>,
    pub(super) selected: bool,
    pub(super) subscriptions: [Subscription; Channel::ALL.len()],
    pub(super) book: BookSlot<Book>,
    pub(super) orders: BookSlot<Orders>,
    /// Price and quantity precision in force, and where it comes from.
    pub(super) precision: Option<(u8, u8, Origin)>,
    pub(super) trades: Option<Trades>,
    /// Price of the last trade of this session.
    pub(super) last_price: Option<Decimal>,
    /// Best bid, best ask and last price, as the ticker says.
    pub(super) quoted: [Option<Decimal>; 3],
    /// Since when the ticker and the book have different best prices; the ticker and the trades different last prices;
    /// level 3 and either of the two different best prices.
    pub(super) disagree_since: [Option<i64>; 3],
    /// Whether it is in the list of symbols that the liveness check has to look at.
    pub(super) touched: bool,
}

impl Symbol {
    /// Whether `channel` keeps a book that is in sync.
    pub(super) fn in_sync(&self, channel: Channel) -> bool {
        match channel {
            Channel::Book => self.book.synced.book().is_some(),
            Channel::Level3 => self.orders.synced.book().is_some(),
            Channel::Trade | Channel::Ticker | Channel::Ohlc => false,
        }
    }

    pub(super) fn subscription(&self, channel: Channel) -> &Subscription {
        &self.subscriptions[channel as usize]
    }

    /// State and reason of its subscription of a channel, if there is one.
    pub(super) fn told(&self, channel: Channel) -> Option<(&'static str, &'static str)> {
        let subscription = self.subscription(channel);
        (subscription.state != SubscriptionState::Off).then(|| (subscription.word(), subscription.reason))
    }

    pub(super) fn subscription_mut(&mut self, channel: Channel) -> &mut Subscription {
        &mut self.subscriptions[channel as usize]
    }

    /// The best prices of its book, while it is in sync.
    pub(super) fn best(&self) -> [Option<Decimal>; 2] {
        [Side::Bid, Side::Ask].map(|side| self.book.synced.book().and_then(|book| book.best(side)))
    }

    /// The best prices of its level 3, while it is in sync.
    pub(super) fn best_orders(&self) -> [Option<Decimal>; 2] {
        [Side::Bid, Side::Ask].map(|side| {
            let orders = self.orders.synced.book()?;
            let (mantissa, ..) = orders.levels(side).next()?;
            Some(Decimal { mantissa, scale: orders.precision().0 })
        })
    }

    /// What a later session has to know of it; `last_received` is when this session's last frame came.
    fn remember(&self, last_received: i64) -> Before {
        let lost = Channel::ALL.map(|channel| {
            let Subscription { lost, was_active, .. } = *self.subscription(channel);
            let now = Lost { since: (last_received > 0).then_some(last_received), reason: "not connected" };
            lost.or(was_active.then_some(now))
        });
        // After a removal by choice, missing trades are no gap.
        let trades = if self.subscription(Channel::Trade).leaving { None } else { self.trades.clone() };
        Before { trades, lost }
    }
}

/// What an earlier session knew of a symbol.
#[derive(Debug, Clone, Default)]
struct Before {
    trades: Option<Trades>,
    lost: [Option<Lost>; Channel::ALL.len()],
}

/// All symbols of a session.
#[derive(Default)]
pub(super) struct Symbols {
    pub(super) all: Vec<Symbol>,
    index: Index,
    /// Books in sync, of both kinds.
    pub(super) in_sync: usize,
    /// Symbols whose pair is known, and those of them that are selected.
    pub(super) pairs: usize,
    pub(super) selected: usize,
    /// Symbols that the liveness check has to look at.
    pub(super) touched: Vec<usize>,
    before: HashMap<Arc<str>, Before>,
}

impl Symbols {
    #[inline]
    pub(super) fn get(&self, name: impl AsRef<[u8]>) -> Option<usize> {
        self.index.get(name)
    }

    /// Takes over what an earlier session knew; `last_received` is when its last frame came.
    pub(super) fn go_on_after(&mut self, before: &Self, last_received: i64) {
        self.before.clone_from(&before.before);
        let known = before.all.iter().map(|symbol| (symbol.name.clone(), symbol.remember(last_received)));
        self.before.extend(known);
    }

    /// The same where symbols are known already: nothing of them was received yet.
    pub(super) fn go_on_from(&mut self, before: &Self, last_received: i64) {
        for symbol in &before.all {
            let known = symbol.remember(last_received);
            let Some(i) = self.index.get(&*symbol.name) else {
                self.before.insert(symbol.name.clone(), known);
                continue;
            };
            let here = &mut self.all[i];
            here.trades = here.trades.take().or(known.trades);
            for (subscription, lost) in here.subscriptions.iter_mut().zip(known.lost) {
                subscription.lost = subscription.lost.or(lost);
            }
        }
    }

    /// The symbol of a data message; `None`, counted, if it was never requested.
    #[inline]
    pub(super) fn find(&mut self, options: &Options, name: &[u8], channel: Channel, out: &mut Output) -> Option<usize> {
        let subscribed =
            |&i: &usize| options.passive || self.all[i].subscription(channel).state != SubscriptionState::Off;
        let found = self.index.get(name).filter(subscribed);
        found.or_else(|| self.unknown(options, name, out))
    }

    #[cold]
    fn unknown(&mut self, options: &Options, name: &[u8], out: &mut Output) -> Option<usize> {
        let name = String::from_utf8_lossy(name);
        if options.passive {
            return self.add(&name, out);
        }
        out.refuse(&Error::Symbol { symbol: name.chars().take(limits::SYMBOL_LENGTH_MAX).collect() }, None, b"");
        None
    }

    /// The number of a symbol, which is added if it is not known. `None`, counted, if it cannot be held.
    pub(super) fn get_or_add(&mut self, name: &str, out: &mut Output) -> Option<usize> {
        self.index.get(name).or_else(|| self.add(name, out))
    }

    fn add(&mut self, name: &str, out: &mut Output) -> Option<usize> {
        if name.is_empty() {
            // In the ledger a row without a symbol is about all of them.
            out.refuse(&Error::Symbol { symbol: String::new() }, None, b"");
            return None;
        }
        let limit = [
            ("SYMBOL_LENGTH_MAX", limits::SYMBOL_LENGTH_MAX, name.len()),
            ("SYMBOLS_MAX", limits::SYMBOLS_MAX, self.all.len() + 1),
        ];
        if let Some((what, limit, found)) = limit.into_iter().find(|(_, limit, found)| found > limit) {
            out.refuse(&Error::Limit { what, limit, found }, None, b"");
            return None;
        }
        let i = self.all.len();
        let Before { trades, lost } = self.before.get(name).cloned().unwrap_or_default();
        let mut subscriptions = [Subscription::OFF; Channel::ALL.len()];
        for (subscription, lost) in subscriptions.iter_mut().zip(lost) {
            subscription.lost = lost;
        }
        self.all.push(Symbol {
            name: name.into(),
            view: short_view(name),
            pair: None,
            selected: false,
            subscriptions,
            book: BookSlot::default(),
            orders: BookSlot::default(),
            precision: None,
            trades,
            last_price: None,
            quoted: [None; 3],
            disagree_since: [None; 3],
            touched: false,
        });
        self.index.insert(name.as_bytes(), i);
        Some(i)
    }

    /// The liveness check has to look at a symbol: something of it is other than before.
    #[inline]
    pub(super) fn touch(&mut self, i: usize) {
        if !std::mem::replace(&mut self.all[i].touched, true) {
            self.touched.push(i);
        }
    }

    /// Whether the book of `channel` is in sync, after something that may have changed that.
    pub(super) fn recount(&mut self, i: usize, channel: Channel) -> bool {
        let Self { all, in_sync, .. } = self;
        match channel {
            Channel::Book => all[i].book.recount(in_sync),
            Channel::Level3 => all[i].orders.recount(in_sync),
            Channel::Trade | Channel::Ticker | Channel::Ohlc => false,
        }
    }

    /// Data of a channel is not known from `since` on: its book, if it has one, is out of sync, and the ledger says why.
    pub(super) fn end(&mut self, i: usize, channel: Channel, since: i64, reason: &'static str) {
        let symbol = &mut self.all[i];
        let known = match channel {
            Channel::Book => {
                symbol.book.explained = true;
                let known = symbol.book.synced.book().is_some();
                symbol.book.synced.end();
                known
            }
            Channel::Level3 => {
                symbol.orders.explained = true;
                let known = symbol.orders.synced.book().is_some();
                symbol.orders.synced.end();
                known
            }
            Channel::Trade | Channel::Ticker | Channel::Ohlc => symbol.subscription(channel).state.delivers(),
        };
        if known {
            self.lose(i, channel, since, reason);
        }
    }

    /// The same of a book that is already out of sync.
    pub(super) fn lose(&mut self, i: usize, channel: Channel, since: i64, reason: &'static str) {
        self.all[i].subscription_mut(channel).lost.get_or_insert(Lost { since: Some(since), reason });
        self.recount(i, channel);
        self.touch(i);
    }

    /// Data of a channel is known again.
    pub(super) fn regain(&mut self, i: usize, channel: Channel, out: &mut Output) {
        let symbol = &mut self.all[i];
        if let Some(Lost { since, reason }) = symbol.subscription_mut(channel).lost.take()
            && channel != Channel::Trade
        {
            // Of trades the numbers tell what is missing.
            out.gap_event(&symbol.name, channel, since, None, reason);
        }
    }
}

/// Whether two channels have different prices; a price that is not known differs from nothing.
pub(super) fn differ<const N: usize>(one: [Option<Decimal>; N], other: [Option<Decimal>; N]) -> bool {
    one.into_iter().zip(other).any(|pair| match pair {
        (Some(one), Some(other)) => one.rescale(limits::SCALE) != other.rescale(limits::SCALE),
        _ => false,
    })
}

/// The numbers of symbols by their names.
#[derive(Default)]
pub(super) struct Index {
    pub(super) short: foldhash::HashMap<ShortName, usize>,
    pub(super) long: foldhash::HashMap<Box<[u8]>, usize>,
}

/// A name of up to 16 bytes as numbers, which are compared without a call: its begin, its end, its length.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct ShortName(u64, u64, usize);

impl ShortName {
    #[inline]
    pub(super) fn new(name: &[u8]) -> Option<Self> {
        let length = name.len();
        if let (8..=16, Some(first), Some(last)) = (length, name.first_chunk(), name.last_chunk()) {
            return Some(Self(u64::from_le_bytes(*first), u64::from_le_bytes(*last), length));
        }
        if let (4..8, Some(first), Some(last)) = (length, name.first_chunk(), name.last_chunk()) {
            return Some(Self(u32::from_le_bytes(*first).into(), u32::from_le_bytes(*last).into(), length));
        }
        let digits = name.iter().fold(0, |digits, byte| digits << 8 | u64::from(*byte));
        (length < 4).then_some(Self(digits, 0, length))
    }
}

impl Index {
    #[inline]
    pub(super) fn get(&self, name: impl AsRef<[u8]>) -> Option<usize> {
        let name = name.as_ref();
        match ShortName::new(name) {
            Some(short) => self.short.get(&short),
            None => self.long.get(name),
        }
        .copied()
    }

    pub(super) fn insert(&mut self, name: &[u8], i: usize) {
        match ShortName::new(name) {
            Some(short) => self.short.insert(short, i),
            None => self.long.insert(name.into(), i),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_length_are_found_and_no_other() {
        let mut index = Index::default();
        let names: Vec<_> = ["A", "B"].iter().flat_map(|letter| (1..=20).map(|n| letter.repeat(n))).collect();
        // The same but for one letter in the middle.
        let others = names.iter().map(|name| name[..name.len() / 2].to_owned() + "/" + &name[name.len() / 2 + 1..]);
        let names: Vec<_> = names.iter().cloned().chain(others.filter(|name| name.len() > 1)).collect();
        assert_eq!(index.get("A"), None);
        for (i, name) in names.iter().enumerate() {
            assert_eq!(index.get(name), None, "{name}");
            index.insert(name.as_bytes(), i);
        }
        for (i, name) in names.iter().enumerate() {
            assert_eq!(index.get(name), Some(i), "{name}");
        }
        assert_eq!(index.get(""), None);
    }
}
