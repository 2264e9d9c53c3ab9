//! What the exchange says, decoded: one type a kind of message, borrowed from the frame where it is text.

use std::ops::Range;

use crate::decimal::Decimal;
use crate::error::Error;
use crate::instrument::{Asset, Pair};
use crate::limits;

/// `snapshot` or `update`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Replaces what was known.
    Snapshot,
    /// Changes it.
    Update,
}

impl Kind {
    /// The word on the wire and in the tables.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Update => "update",
        }
    }
}

/// Side of a book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Buyers.
    Bid,
    /// Sellers.
    Ask,
}

impl Side {
    /// The word in the tables.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Bid => "bid",
            Self::Ask => "ask",
        }
    }
}

/// One level of a book message: the quantity now standing at a price, zero where the level is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Side.
    pub side: Side,
    /// Price, in quote units.
    pub price: Decimal,
    /// Quantity, in base units.
    pub qty: Decimal,
}

/// The same in 64 bits, as nearly all are: numbers of at most 18 digits, not negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortEntry {
    /// Side.
    pub side: Side,
    /// Digits of the price.
    pub price: i64,
    /// Digits of the quantity.
    pub qty: i64,
    /// Decimals of the two, as written.
    pub scales: (u8, u8),
}

impl From<&ShortEntry> for Entry {
    fn from(short: &ShortEntry) -> Self {
        let number = |mantissa: i64, scale| Decimal { mantissa: mantissa.into(), scale };
        Self { side: short.side, price: number(short.price, short.scales.0), qty: number(short.qty, short.scales.1) }
    }
}

/// What one message of the book channel or of level 3 says of one symbol. Its entries are a range of the decoder's
/// levels or orders, in wire order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookData<'a> {
    /// `BTC/USD`, as bytes: it is looked up, and read only if it is not found.
    pub symbol: &'a [u8],
    /// Where its entries are.
    pub entries: Range<usize>,
    /// CRC32 of the best ten levels, or of the orders there, after this message.
    pub checksum: Option<u32>,
    /// Time of the exchange, ns. Missing in snapshots before 2026.
    pub timestamp: Option<i64>,
}

/// What befell an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderEvent {
    /// It is in the window now. The orders of a snapshot are all added.
    Add,
    /// Its quantity changed.
    Modify,
    /// It is gone: filled or cancelled.
    Delete,
}

impl OrderEvent {
    /// The word on the wire and in the tables.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Modify => "modify",
            Self::Delete => "delete",
        }
    }

    /// The event of that word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        [Self::Add, Self::Modify, Self::Delete].into_iter().find(|event| event.word() == word)
    }
}

/// An order's id, exactly as sent: `OTCFZG-YOE2Q-LQKNM3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OrderId<'a>(pub(crate) Name<'a>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Name<'a> {
    /// Of Kraken's shape, 6-5-6 capitals and figures: the 17 characters as fields of six bits, the first on top. Each
    /// character has a number of its own and a field of its own, so no two ids share a number.
    Packed(u128),
    /// Of any other shape.
    Text(&'a str),
}

/// The characters of an order id by their six bits.
const FIGURES: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

fn pack(text: &[u8]) -> Option<u128> {
    let text: &[u8; 19] = text.try_into().ok()?;
    if text[6] != b'-' || text[12] != b'-' {
        return None;
    }
    let mut packed = 0;
    for &byte in text[..6].iter().chain(&text[7..12]).chain(&text[13..]) {
        let figure = match byte {
            b'0'..=b'9' => byte - b'0',
            b'A'..=b'Z' => byte - b'A' + 10,
            _ => return None,
        };
        packed = packed << 6 | u128::from(figure);
    }
    Some(packed)
}

impl<'a> OrderId<'a> {
    /// Takes an id of any shape.
    ///
    /// # Errors
    /// [`Error::Limit`] if it is longer than [`limits::ORDER_ID_LENGTH_MAX`].
    pub fn new(text: &'a str) -> Result<Self, Error> {
        if let Some(packed) = pack(text.as_bytes()) {
            return Ok(Self(Name::Packed(packed)));
        }
        if text.len() > limits::ORDER_ID_LENGTH_MAX {
            return Err(Error::Limit {
                what: "ORDER_ID_LENGTH_MAX",
                limit: limits::ORDER_ID_LENGTH_MAX,
                found: text.len(),
            });
        }
        Ok(Self(Name::Text(text)))
    }
}

impl OrderId<'_> {
    /// The id as sent; `buffer` is scratch memory.
    pub fn text<'b>(&'b self, buffer: &'b mut [u8; 19]) -> &'b str {
        match self.0 {
            Name::Packed(packed) => {
                *buffer = *b"......-.....-......";
                let places = (0..6).chain(7..12).chain(13..19);
                for (field, place) in (0..17u32).rev().zip(places) {
                    buffer[place] = FIGURES[(packed >> (6 * field) & 63) as usize % FIGURES.len()];
                }
                std::str::from_utf8(buffer).unwrap_or("")
            }
            Name::Text(text) => text,
        }
    }
}

impl std::fmt::Display for OrderId<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text(&mut [0; 19]))
    }
}

/// One order of a level-3 message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderEntry<'a> {
    /// Side.
    pub side: Side,
    /// What befell it.
    pub event: OrderEvent,
    /// Its id.
    pub id: OrderId<'a>,
    /// Limit price, in quote units.
    pub price: Decimal,
    /// Quantity that remains visible, in base units; of a delete the last one.
    pub qty: Decimal,
    /// When it was inserted or amended, ns.
    pub timestamp: i64,
}

/// The data of a message of books: one element, by the documentation and as seen by others, without a list of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data<'a> {
    /// As documented.
    One([BookData<'a>; 1]),
    /// None, or several.
    Many(Vec<BookData<'a>>),
}

impl<'a> From<Vec<BookData<'a>>> for Data<'a> {
    fn from(list: Vec<BookData<'a>>) -> Self {
        <[BookData<'a>; 1]>::try_from(list).map_or_else(Self::Many, Self::One)
    }
}

impl<'a> std::ops::Deref for Data<'a> {
    type Target = [BookData<'a>];

    fn deref(&self) -> &[BookData<'a>] {
        match self {
            Self::One(one) => one,
            Self::Many(list) => list,
        }
    }
}

/// The entries of a message of books, to which its data refer: of the book channel or of level 3.
#[derive(Debug, Clone, Copy, Default)]
pub struct Entries<'e, 'a> {
    /// Levels.
    pub levels: &'e [Entry],
    /// Orders.
    pub orders: &'e [OrderEntry<'a>],
}

/// One trade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trade<'a> {
    /// `BTC/USD`.
    pub symbol: &'a str,
    /// Side of the taker: `buy` or `sell`.
    pub side: &'a str,
    /// Price, in quote units.
    pub price: Decimal,
    /// Quantity, in base units.
    pub qty: Decimal,
    /// Order type of the taker: `limit` or `market`.
    pub ord_type: &'a str,
    /// Running number within the symbol.
    pub trade_id: i64,
    /// Time of the exchange, ns.
    pub timestamp: i64,
}

/// Best prices and the statistics of the last 24 hours.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ticker<'a> {
    /// `BTC/USD`.
    pub symbol: &'a str,
    /// Best bid, its quantity, best ask, its quantity, last price, volume, volume-weighted price, low, high, change
    /// (quote units), change (percent): in the order of [`crate::schema::TICKER_NUMBERS`].
    pub numbers: [Option<Decimal>; 11],
    /// Time of the exchange, ns. Documented since 2026.
    pub timestamp: Option<i64>,
    /// Other fields as JSON, empty where there are none.
    pub extra: String,
}

/// One candle.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ohlc<'a> {
    /// `BTC/USD`.
    pub symbol: &'a str,
    /// Minutes.
    pub interval: u16,
    /// Begin of the candle, ns.
    pub interval_begin: i64,
    /// Open, high, low, close, volume-weighted price, volume: in the order of [`crate::schema::OHLC_NUMBERS`].
    pub numbers: [Option<Decimal>; 6],
    /// Trades in the candle so far.
    pub trades: Option<u64>,
    /// Other fields as JSON, empty where there are none.
    pub extra: String,
}

/// State of the exchange.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status<'a> {
    /// `online`, `cancel_only`, `maintenance`, `post_only`.
    pub system: &'a str,
    /// Version of the server.
    pub version: Option<&'a str>,
    /// `v2`.
    pub api_version: Option<&'a str>,
    /// Number of the connection; above 2^63 at times.
    pub connection_id: Option<u64>,
    /// Other fields (announced maintenance, emergencies) as JSON, empty where there are none.
    pub extra: String,
}

/// An answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reply<'a> {
    /// `subscribe`, `unsubscribe`, `pong`, `error`, …
    pub method: &'a str,
    /// Whether the request was granted; a pong may lack it.
    pub success: Option<bool>,
    /// Why not.
    pub error: Option<&'a str>,
    /// Number of the request.
    pub req_id: Option<i128>,
    /// Symbol it is about: of the result, else of the reply.
    pub symbol: Option<&'a str>,
    /// Channel it is about.
    pub channel: Option<&'a str>,
    /// Book depth granted.
    pub depth: Option<u64>,
    /// Time of the exchange at which it was sent, ns.
    pub timestamp: Option<i64>,
    /// Advice of the exchange, as JSON, empty where there is none.
    pub warnings: String,
}

/// A decoded frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'a> {
    /// Channel `book`.
    Book(Kind, Data<'a>),
    /// Channel `level3`.
    Level3(Kind, Data<'a>),
    /// Channel `trade`.
    Trade(Kind, Vec<Trade<'a>>),
    /// Channel `ticker`.
    Ticker(Kind, Vec<Ticker<'a>>),
    /// Channel `ohlc`, with the time of the message.
    Ohlc(Kind, Option<i64>, Vec<Ohlc<'a>>),
    /// Channel `instrument`.
    Instrument(Kind, Vec<Asset>, Vec<Pair>),
    /// Channel `status`.
    Status(Vec<Status<'a>>),
    /// Channel `heartbeat`.
    Heartbeat,
    /// An answer.
    Reply(Reply<'a>),
    /// A channel that this version does not know.
    Other(&'a str),
}

impl Message<'_> {
    /// The latest time of the exchange that the message carries, ns.
    #[must_use]
    pub fn timestamp(&self) -> Option<i64> {
        match self {
            Self::Book(_, data) => data.iter().filter_map(|d| d.timestamp).max(),
            Self::Level3(_, data) => data.iter().filter_map(|d| d.timestamp).max(),
            Self::Trade(_, data) => data.iter().map(|d| d.timestamp).max(),
            Self::Ticker(_, data) => data.iter().filter_map(|d| d.timestamp).max(),
            Self::Ohlc(_, time, _) => *time,
            Self::Reply(reply) => reply.timestamp,
            Self::Instrument(..) | Self::Status(_) | Self::Heartbeat | Self::Other(_) => None,
        }
    }
}
