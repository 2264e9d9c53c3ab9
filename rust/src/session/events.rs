//! Events for a strategy, as plain values: what each message changed, and how the book came out.
//!
//! A session makes only the events that are wanted. Python, and later other languages, wrap these types.

use std::sync::Arc;

use super::options::Channel;
use crate::book::synced::Outcome;
use crate::decimal::Decimal;
use crate::limits::SCALE;
use crate::wire::message::{Kind, OHLC_NUMBERS, OrderEvent, OwnedOrderId, Side, TICKER_NUMBERS};

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A message of the book channel.
    Book,
    /// A trade.
    Trade,
    /// A message of the ticker channel.
    Ticker,
    /// A candle.
    Ohlc,
    /// A message of the level3 channel.
    Level3,
    /// The state of the exchange.
    Status,
    /// A subscription changed its state.
    Subscription,
    /// Something was missed.
    Gap,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Book, Self::Trade, Self::Ticker, Self::Ohlc, Self::Level3, Self::Status, Self::Subscription, Self::Gap];

    /// Its name: the channel of the message where it is one.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Book => "book",
            Self::Trade => "trade",
            Self::Ticker => "ticker",
            Self::Ohlc => "ohlc",
            Self::Level3 => "level3",
            Self::Status => "status",
            Self::Subscription => "subscription",
            Self::Gap => "gap",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventSet(u8);

const _: () = assert!(EventKind::ALL.len() <= u8::BITS as usize, "a set has a bit for each kind");

impl EventSet {
    /// None of them.
    pub const NONE: Self = Self(0);

    /// The same and one more.
    #[must_use]
    pub const fn with(self, kind: EventKind) -> Self {
        Self(self.0 | 1 << kind as u8)
    }

    /// Those that are in either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether it holds a kind.
    #[must_use]
    pub const fn has(self, kind: EventKind) -> bool {
        self.0 & 1 << kind as u8 != 0
    }
}

/// The message that an event comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The pair.
    pub symbol: Arc<str>,
    /// Number of the message within its session.
    pub message: u64,
    /// Receive time, ns.
    pub ts_recv: i64,
    /// Time of the exchange, ns.
    pub ts_event: Option<i64>,
}

/// How a book came out of one of its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BookOutcome {
    /// The checksum is right.
    Ok,
    /// The book was out of sync, or the message had no checksum.
    Unchecked,
    /// The checksum is wrong; the book is out of sync now.
    Mismatch,
    /// The best bid is at or above the best ask; the book is out of sync now.
    Crossed,
    /// Its numbers cannot be held; the message was not applied, and the book is out of sync now.
    Refused,
}

impl BookOutcome {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unchecked => "unchecked",
            Self::Mismatch => "mismatch",
            Self::Crossed => "crossed",
            Self::Refused => "refused",
        }
    }
}

impl From<Outcome> for BookOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Ok => Self::Ok,
            Outcome::Unchecked => Self::Unchecked,
            Outcome::Mismatch { .. } => Self::Mismatch,
            Outcome::Crossed => Self::Crossed,
        }
    }
}

/// What the messages of both kinds of books have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookMessage {
    /// The message.
    pub received: Received,
    /// Snapshot or update.
    pub kind: Kind,
    /// The checksum that the exchange sent.
    pub checksum: Option<u32>,
    /// How the book came out.
    pub outcome: BookOutcome,
    /// Decimals of prices.
    pub price_precision: u8,
    /// Decimals of quantities.
    pub qty_precision: u8,
}

/// A level of a message of the book channel; numbers at scale 10.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LevelEntry {
    /// Bid or ask.
    pub side: Side,
    /// Price.
    pub price: i128,
    /// Quantity; 0 removes the level.
    pub qty: i128,
}

/// An order of a message of level 3; numbers at scale 10.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderChange {
    /// Bid or ask.
    pub side: Side,
    /// What happened to it; `None` in a snapshot.
    pub event: Option<OrderEvent>,
    /// Its id.
    pub id: OwnedOrderId,
    /// Price.
    pub price: i128,
    /// Quantity.
    pub qty: i128,
    /// Time of the order, ns.
    pub timestamp: i64,
}

/// A trade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TradeEvent {
    /// The message.
    pub received: Received,
    /// Snapshot or update.
    pub kind: Kind,
    /// Side of the taker: `buy` or `sell`.
    pub side: String,
    /// Order type of the taker.
    pub ord_type: String,
    /// Its number within the pair.
    pub trade_id: i64,
    /// Price.
    pub price: Decimal,
    /// Quantity.
    pub qty: Decimal,
}

/// Best prices and 24-hour statistics; numbers at scale 10, in the order of [`TICKER_NUMBERS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TickerEvent {
    /// The message.
    pub received: Received,
    /// The numbers.
    pub numbers: [Option<i128>; TICKER_NUMBERS.len()],
}

/// A candle; numbers at scale 10, in the order of [`OHLC_NUMBERS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OhlcEvent {
    /// The message.
    pub received: Received,
    /// Its length, minutes.
    pub interval: u16,
    /// Its begin, ns.
    pub interval_begin: i64,
    /// Trades so far.
    pub trades: Option<u64>,
    /// The numbers.
    pub numbers: [Option<i128>; OHLC_NUMBERS.len()],
}

/// What the exchange says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusEvent {
    /// Number of the message within its session.
    pub message: u64,
    /// Receive time, ns.
    pub ts_recv: i64,
    /// `online`, `maintenance`, …
    pub system: String,
}

/// A subscription has another state than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionEvent {
    /// The pair.
    pub symbol: Arc<str>,
    /// The channel that is subscribed.
    pub channel: Channel,
    /// Its state.
    pub state: &'static str,
    /// Why it has this state; empty where all is well.
    pub reason: &'static str,
    /// When, ns.
    pub ts_recv: i64,
}

/// Something of a symbol was missed. It comes when data is known again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GapEvent {
    /// The message with which data is known again.
    pub received: Received,
    /// The channel.
    pub channel: Channel,
    /// Of trades: first and last number that is missing.
    pub trade_ids: Option<(i64, i64)>,
    /// Receive time of the last data before, ns.
    pub ts_from: Option<i64>,
    /// Receive time of the data after it, ns.
    pub ts_to: i64,
    /// Why.
    pub reason: &'static str,
}

/// An event. What is large and rare is not in itself: events are moved often, and most are of books. Trades are shared: many
/// strategies may hear of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message of the book channel.
    Book(BookMessage, Vec<LevelEntry>),
    /// A message of level 3.
    Level3(BookMessage, Vec<OrderChange>),
    /// A trade.
    Trade(Arc<TradeEvent>),
    /// A ticker.
    Ticker(Box<TickerEvent>),
    /// A candle.
    Ohlc(Box<OhlcEvent>),
    /// The state of the exchange.
    Status(StatusEvent),
    /// A subscription changed its state.
    Subscription(SubscriptionEvent),
    /// Something was missed.
    Gap(GapEvent),
}

/// A number at scale 10 with the decimals of its pair; a number with more decimals than its pair keeps them all.
#[must_use]
pub fn at_precision(value: i128, precision: u8) -> Decimal {
    let whole = Decimal { mantissa: value, scale: SCALE };
    whole.rescale(precision).map_or(whole, |mantissa| Decimal { mantissa, scale: precision })
}
