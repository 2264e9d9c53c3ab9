//! What a session knows of each symbol, and how a symbol is found by its name.

use super::SECOND;
use super::options::Channel;
use crate::book::level2::Book;
use crate::book::level3::Orders;
use crate::book::synced::{ChecksummedBook, Synced};
use crate::decimal::Decimal;
use crate::instrument::{Origin, Pair};
use crate::limits;
use crate::wire::message::Side;

/// After this long without data an active subscription is called idle.
const IDLE: i64 = 60 * SECOND;
/// The longest pause between two attempts at one symbol.
const PAUSE_MAX: i64 = 300 * SECOND;
/// A symbol that was well for this long starts again with short pauses.
const WELL: i64 = 600 * SECOND;

/// A subscription of one symbol.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subscription {
    pub(super) state: SubscriptionState,
    /// Attempts since it was last well.
    pub(super) attempts: u32,
    /// When it was last asked for.
    pub(super) requested_at: i64,
    /// Whether it was ever delivering: to ask for it again is a resync.
    pub(super) was_active: bool,
    /// When its last data came.
    pub(super) last_received: i64,
    /// Why it stands as it does, where that is not as it should be.
    pub(super) reason: &'static str,
}

impl Subscription {
    pub(super) const OFF: Self = Self {
        state: SubscriptionState::Off,
        attempts: 0,
        requested_at: 0,
        was_active: false,
        last_received: 0,
        reason: "",
    };

    /// It is delivering.
    pub(super) fn activate(&mut self, now: i64) {
        *self = Self { state: SubscriptionState::Active, was_active: true, last_received: now, reason: "", ..*self };
    }

    /// Where it stands, in a word.
    pub(super) fn word(&self, now: i64) -> &'static str {
        if self.state == SubscriptionState::Active && now - self.last_received > IDLE {
            "idle"
        } else {
            self.state.word()
        }
    }

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
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Pending(_) => "pending",
            Self::Requested(_) => "requested",
            Self::Acked(_) => "acked",
            Self::Active => "active",
            Self::Resyncing(_) => "resyncing",
            Self::Unsubscribing(_) => "unsubscribing",
            Self::Rejected => "rejected",
            Self::Removed => "removed",
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
    /// Whether the ledger already says that this life is in doubt.
    pub(super) doubted: bool,
    /// The rule that the ledger last named.
    pub(super) detected_rule: Option<B::Rule>,
}

impl<B: ChecksummedBook> Default for BookSlot<B> {
    fn default() -> Self {
        let synced = Synced::default();
        Self { synced, depth: None, hour: 0, refusals: 0, explained: false, doubted: false, detected_rule: None }
    }
}

impl<B: ChecksummedBook> BookSlot<B> {
    /// Whether a book that lives is doubted for the first time in its life.
    pub(super) fn newly_doubted(&mut self) -> bool {
        self.synced.book().is_some() && !std::mem::replace(&mut self.doubted, true)
    }

    /// The life is over, and the ledger says why.
    pub(super) fn end(&mut self) {
        self.synced.end();
        self.explained = true;
    }
}

/// What is known of one symbol.
#[derive(Debug)]
pub(super) struct Symbol {
    pub(super) name: Box<str>,
    /// The view of its name in the tables, if that is short.
    pub(super) view: Option<u128>,
    pub(super) pair: Option<Pair>,
    pub(super) selected: bool,
    pub(super) subscriptions: [Subscription; Channel::ALL.len()],
    pub(super) book: BookSlot<Book>,
    pub(super) orders: BookSlot<Orders>,
    /// Price and quantity precision in force, and where it comes from.
    pub(super) precision: Option<(u8, u8, Origin)>,
    pub(super) last_trade: Option<i64>,
    /// Price of the last trade of this session.
    pub(super) last_price: Option<Decimal>,
    /// Best bid, best ask and last price, as the ticker says.
    pub(super) quoted: [Option<Decimal>; 3],
    /// Since when the ticker says other best prices than the book, and another last price than the trades; and since
    /// when level 3 has other best prices than either of the two.
    pub(super) disagree_since: [Option<i64>; 3],
}

impl Symbol {
    /// Its books that live.
    pub(super) fn books_in_sync(&self) -> usize {
        usize::from(self.in_sync(Channel::Book)) + usize::from(self.in_sync(Channel::Level3))
    }

    /// Whether `channel` keeps a book that lives.
    pub(super) fn in_sync(&self, channel: Channel) -> bool {
        match channel {
            Channel::Book => self.book.synced.book().is_some(),
            Channel::Level3 => self.orders.synced.book().is_some(),
            Channel::Trade | Channel::Ticker | Channel::Ohlc => false,
        }
    }

    /// Ends the book that `channel` keeps, if it keeps one.
    pub(super) fn end(&mut self, channel: Channel) {
        match channel {
            Channel::Book => self.book.end(),
            Channel::Level3 => self.orders.end(),
            Channel::Trade | Channel::Ticker | Channel::Ohlc => {}
        }
    }

    pub(super) fn subscription(&self, channel: Channel) -> &Subscription {
        &self.subscriptions[channel as usize]
    }

    /// The best prices of its book, while it lives.
    pub(super) fn best(&self) -> [Option<Decimal>; 2] {
        [Side::Bid, Side::Ask].map(|side| self.book.synced.book().and_then(|book| book.best(side)))
    }

    /// The best prices of its level 3, while it lives.
    pub(super) fn best_orders(&self) -> [Option<Decimal>; 2] {
        [Side::Bid, Side::Ask].map(|side| {
            let orders = self.orders.synced.book()?;
            let (mantissa, ..) = orders.levels(side).next()?;
            Some(Decimal { mantissa, scale: orders.precision().0 })
        })
    }
}

/// Whether of two accounts of the same prices one says another than the other; what is not known differs from nothing.
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
