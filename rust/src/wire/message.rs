//! The messages of the exchange: one type for each kind. Text is borrowed from the frame.

use std::ops::Range;
use std::sync::Arc;

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

/// One level of a book message: the quantity at a price now, zero if the level is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Side.
    pub side: Side,
    /// Price, in quote units.
    pub price: Decimal,
    /// Quantity, in base units.
    pub qty: Decimal,
}

/// A level in 64 bits, as nearly all are: numbers of at most 18 digits, not negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortEntry {
    /// Side.
    pub side: Side,
    /// Digits of the price.
    pub price: i64,
    /// Digits of the quantity.
    pub qty: i64,
    /// Decimals of price and quantity, as written.
    pub scales: (u8, u8),
}

impl From<&ShortEntry> for Entry {
    fn from(short: &ShortEntry) -> Self {
        let number = |mantissa: i64, scale| Decimal { mantissa: mantissa.into(), scale };
        Self { side: short.side, price: number(short.price, short.scales.0), qty: number(short.qty, short.scales.1) }
    }
}

/// The data of one symbol in a message of the book channel or of level 3. Its entries are a range of the decoder's levels
/// or orders, in wire order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookData<'a> {
    /// `BTC/USD`, as bytes: it is looked up first, and checked as text only if it is not found.
    pub symbol: &'a [u8],
    /// The place of its entries.
    pub entries: Range<usize>,
    /// CRC32 of the best ten levels, or of the orders there, after this message.
    pub checksum: Option<u32>,
    /// Time of the exchange, ns. Missing in snapshots before 2026.
    pub timestamp: Option<i64>,
}

/// What happened to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderEvent {
    /// The order is in the window now. All orders of a snapshot are added.
    Add,
    /// Its quantity changed.
    Modify,
    /// The order is gone: filled or cancelled.
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
    /// Of Kraken's shape, 6-5-6 capitals and figures: the 17 characters as fields of six bits, the first one highest. So
    /// different ids have different numbers.
    Packed(u128),
    /// Of any other shape.
    Text(&'a str),
}

/// The same byte eight times.
pub(crate) const fn eight_of(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Which of eight ASCII characters are `least` or above, in their top bits.
const fn at_least(word: u64, least: u8) -> u64 {
    (word + eight_of(0x80 - least)) & eight_of(0x80)
}

/// Packs eight capitals or figures, the first in the highest byte, into six bits each.
#[inline]
const fn pack_eight(word: u64) -> Option<u64> {
    if word & eight_of(0x80) != 0 {
        return None;
    }
    let letters = at_least(word, b'A');
    let other = at_least(word, b'Z' + 1) | (at_least(word, b'9' + 1) ^ letters) | !at_least(word, b'0');
    if other & eight_of(0x80) != 0 {
        return None;
    }
    let sixes = word - eight_of(b'0') - (letters >> 7) * 7;
    let twelves = sixes & 0x00FF_00FF_00FF_00FF | (sixes & 0xFF00_FF00_FF00_FF00) >> 2;
    let halves = twelves & 0x0000_FFFF_0000_FFFF | (twelves & 0xFFFF_0000_FFFF_0000) >> 4;
    Some(halves & 0xFFFF_FFFF | halves >> 32 << 24)
}

/// The characters of eight fields of six bits; of those above 35, which no id has, any.
#[inline]
const fn unpack_eight(packed: u64) -> u64 {
    let halves = packed & 0xFF_FFFF | (packed >> 24 & 0xFF_FFFF) << 32;
    let twelves = halves & 0x0000_0FFF_0000_0FFF | (halves & 0x00FF_F000_00FF_F000) << 4;
    let sixes = twelves & 0x003F_003F_003F_003F | (twelves & 0x0FC0_0FC0_0FC0_0FC0) << 2;
    let letters = at_least(sixes, 10) >> 7;
    sixes + eight_of(b'0') + letters * 7
}

/// Packs an id of Kraken's shape, `None` if it has another: in three words, with zeros before the characters of each.
#[inline]
fn pack(text: &[u8; 19]) -> Option<u128> {
    const ZEROS: u64 = eight_of(b'0');
    if text[6] != b'-' || text[12] != b'-' {
        return None;
    }
    let word = |at: usize| text[at..].first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
    let first = pack_eight(word(0)? >> 16 | ZEROS << 48)?;
    let second = pack_eight(word(5)? >> 8 & 0x00FF_FFFF_FFFF | ZEROS << 40)?;
    let third = pack_eight(word(11)? & 0xFFFF_FFFF_FFFF | ZEROS << 48)?;
    Some(u128::from(first) << 66 | u128::from(second) << 36 | u128::from(third))
}

impl<'a> OrderId<'a> {
    /// Takes an id of Kraken's shape; `None` of another.
    #[inline]
    pub(crate) fn short(text: &[u8; 19]) -> Option<Self> {
        Some(Self(Name::Packed(pack(text)?)))
    }

    /// Takes an id of Kraken's shape, without the text that it stands in; `None` of another.
    #[inline]
    #[must_use]
    pub fn packed(text: &str) -> Option<OrderId<'static>> {
        text.as_bytes().try_into().ok().and_then(OrderId::short)
    }

    /// Takes an id of any shape.
    ///
    /// # Errors
    /// [`Error::Limit`] if it is longer than [`limits::ORDER_ID_LENGTH_MAX`].
    pub fn new(text: &'a str) -> Result<Self, Error> {
        if let Some(id) = text.as_bytes().try_into().ok().and_then(Self::short) {
            return Ok(id);
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
            Name::Packed(_) => std::str::from_utf8(self.bytes(buffer)).unwrap_or(""),
            Name::Text(text) => text,
        }
    }

    /// The same as bytes.
    #[inline]
    pub(crate) fn bytes<'b>(&'b self, buffer: &'b mut [u8; 19]) -> &'b [u8] {
        match self.0 {
            Name::Packed(packed) => {
                // Of each word the lower 48 bits are read, and the characters of the lower six or five fields taken.
                #[allow(clippy::cast_possible_truncation, reason = "see above")]
                let [first, second, third] =
                    [packed >> 66, packed >> 36, packed].map(|part| unpack_eight(part as u64).to_be_bytes());
                buffer[..6].copy_from_slice(&first[2..]);
                buffer[6] = b'-';
                buffer[7..12].copy_from_slice(&second[3..]);
                buffer[12] = b'-';
                buffer[13..].copy_from_slice(&third[2..]);
                buffer
            }
            Name::Text(text) => text.as_bytes(),
        }
    }
}

impl std::fmt::Display for OrderId<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text(&mut [0; 19]))
    }
}

/// The same without the frame that it stands in; one of Kraken's shape needs no memory of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OwnedOrderId(OwnedName);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum OwnedName {
    Packed(u128),
    Text(Arc<str>),
}

impl OwnedOrderId {
    /// Takes an id of any shape and length.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let short = text.as_bytes().try_into().ok().and_then(OrderId::short);
        short.unwrap_or(OrderId(Name::Text(text))).into()
    }

    /// Its number, if it is of Kraken's shape: other ids have other numbers.
    #[must_use]
    pub const fn packed(&self) -> Option<u128> {
        match self.0 {
            OwnedName::Packed(packed) => Some(packed),
            OwnedName::Text(_) => None,
        }
    }

    /// The id, borrowed.
    #[must_use]
    pub fn borrowed(&self) -> OrderId<'_> {
        OrderId(match &self.0 {
            OwnedName::Packed(packed) => Name::Packed(*packed),
            OwnedName::Text(text) => Name::Text(text),
        })
    }
}

impl From<OrderId<'_>> for OwnedOrderId {
    fn from(id: OrderId<'_>) -> Self {
        Self(match id.0 {
            Name::Packed(packed) => OwnedName::Packed(packed),
            Name::Text(text) => OwnedName::Text(text.into()),
        })
    }
}

impl std::fmt::Display for OwnedOrderId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.borrowed().fmt(f)
    }
}

/// One order of a level-3 message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderEntry<'a> {
    /// Side.
    pub side: Side,
    /// What happened to it.
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

/// An order of an update in 64 bits and at the pair's precision, as nearly all are, with an id of Kraken's shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortOrder {
    /// Side.
    pub side: Side,
    /// What happened to it.
    pub event: OrderEvent,
    /// Its id.
    pub id: OrderId<'static>,
    /// Limit price, in steps of the precision.
    pub price: i64,
    /// Quantity that remains visible, in steps of the precision; of a delete the last one.
    pub qty: i64,
    /// When it was inserted or amended, ns.
    pub timestamp: i64,
}

/// The items of a message's array.
///
/// Each item is read for itself: one that cannot be read never blocks the others. A message of a book is one item, because
/// its checksum covers it as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Items<T> {
    /// The items that were read, each with its place in the array.
    pub taken: Vec<(usize, T)>,
    /// The items that could not be read, at most [`limits::REFUSED_ITEMS_MAX`].
    pub refused: Vec<Refused>,
    /// How many more could not be read.
    pub more: u64,
}

impl<T> Default for Items<T> {
    fn default() -> Self {
        Self { taken: Vec::new(), refused: Vec::new(), more: 0 }
    }
}

/// An item that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The field of the message that has the array: `data`, or `assets` and `pairs` of the instrument channel.
    pub array: &'static str,
    /// Its place in the array.
    pub index: usize,
    /// Its symbol, if it can be read.
    pub symbol: Option<Box<str>>,
    /// The field that is wrong.
    pub field: &'static str,
    /// What is wrong.
    pub error: Error,
    /// The item as JSON, at most [`limits::EXCERPT_MAX`] bytes.
    pub excerpt: String,
}

/// Items of a message of books, each with its place in the array.
pub type Placed<'a> = (usize, BookData<'a>);

/// The data of a message of books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data<'a> {
    /// One item, as documented and as all others have seen it: it needs no list.
    One(Placed<'a>),
    /// None, several, or one that could not be read.
    Many(Items<BookData<'a>>),
}

impl<'a> From<Items<BookData<'a>>> for Data<'a> {
    fn from(mut items: Items<BookData<'a>>) -> Self {
        if items.taken.len() == 1
            && items.refused.is_empty()
            && let Some(one) = items.taken.pop()
        {
            return Self::One(one);
        }
        Self::Many(items)
    }
}

impl<'a> Data<'a> {
    /// The items that were read, each with its place in the array.
    #[must_use]
    pub fn taken(&self) -> &[Placed<'a>] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(items) => &items.taken,
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

/// Number fields of a ticker, in the order of [`Ticker::numbers`] and of the columns of `ticker`.
pub const TICKER_NUMBERS: [&str; 11] =
    ["bid", "bid_qty", "ask", "ask_qty", "last", "volume", "vwap", "low", "high", "change", "change_pct"];
/// Number fields of a candle, in the order of [`Ohlc::numbers`] and of the columns of `ohlc`.
pub const OHLC_NUMBERS: [&str; 6] = ["open", "high", "low", "close", "vwap", "volume"];

/// Best prices and the statistics of the last 24 hours.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ticker<'a> {
    /// `BTC/USD`.
    pub symbol: &'a str,
    /// Best bid, its quantity, best ask, its quantity, last price, volume, volume-weighted price, low, high, change
    /// (quote units), change (percent): in the order of [`TICKER_NUMBERS`].
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
    /// Open, high, low, close, volume-weighted price, volume: in the order of [`OHLC_NUMBERS`].
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
    Trade(Kind, Items<Trade<'a>>),
    /// Channel `ticker`.
    Ticker(Kind, Items<Ticker<'a>>),
    /// Channel `ohlc`, with the time of the message.
    Ohlc(Kind, Option<i64>, Items<Ohlc<'a>>),
    /// Channel `instrument`.
    Instrument(Kind, Items<Asset>, Items<Pair>),
    /// Channel `status`.
    Status(Items<Status<'a>>),
    /// Channel `heartbeat`.
    Heartbeat,
    /// An answer.
    Reply(Reply<'a>),
    /// A channel that this version does not know.
    Other(&'a str),
}

impl Message<'_> {
    /// Calls `each` with the channel and every item that could not be read. Returns how many more there are.
    pub fn each_refused(&self, mut each: impl FnMut(&'static str, &Refused)) -> u64 {
        let mut all = |channel, refused: &[Refused], more| {
            for refused in refused {
                each(channel, refused);
            }
            more
        };
        match self {
            Self::Book(_, Data::Many(items)) => all("book", &items.refused, items.more),
            Self::Level3(_, Data::Many(items)) => all("level3", &items.refused, items.more),
            Self::Trade(_, items) => all("trade", &items.refused, items.more),
            Self::Ticker(_, items) => all("ticker", &items.refused, items.more),
            Self::Ohlc(_, _, items) => all("ohlc", &items.refused, items.more),
            Self::Instrument(_, assets, pairs) => {
                all("instrument", &assets.refused, assets.more) + all("instrument", &pairs.refused, pairs.more)
            }
            Self::Status(items) => all("status", &items.refused, items.more),
            Self::Book(..) | Self::Level3(..) | Self::Heartbeat | Self::Reply(_) | Self::Other(_) => 0,
        }
    }

    /// The latest time of the exchange that the message carries, ns.
    #[must_use]
    pub fn timestamp(&self) -> Option<i64> {
        match self {
            Self::Book(_, data) | Self::Level3(_, data) => {
                data.taken().iter().filter_map(|(_, data)| data.timestamp).max()
            }
            Self::Trade(_, items) => items.taken.iter().map(|(_, trade)| trade.timestamp).max(),
            Self::Ticker(_, items) => items.taken.iter().filter_map(|(_, ticker)| ticker.timestamp).max(),
            Self::Ohlc(_, time, _) => *time,
            Self::Reply(reply) => reply.timestamp,
            Self::Instrument(..) | Self::Status(_) | Self::Heartbeat | Self::Other(_) => None,
        }
    }
}
