//! The binary messages of the stream, as docs/reference/stream.md lays them out.

use krakpot_core::session::Channel;

/// Byte 0 of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A level-2 book.
    Book = 1,
    /// Trades.
    Trades = 2,
    /// A level-3 book.
    Orders = 3,
    /// Figures of all pairs.
    Overview = 4,
    /// Something is not known.
    Gap = 5,
    /// What time it is.
    Clock = 6,
}

/// Byte 1 of books and orders: the book may be trusted.
pub const IN_SYNC: u8 = 1;
/// Byte 1 of books, orders and trades: what came before is of another time or before a gap.
pub const NOT_CONTINUED: u8 = 2;
/// Byte 2 of books and orders: what became of the checksum of the last message.
pub const UNCHECKED: u8 = 0;
/// The checksum was right.
pub const RIGHT: u8 = 1;
/// The checksum was wrong.
pub const WRONG: u8 = 2;
/// Byte 1 of a clock.
const LIVE: u8 = 4;
/// The connection to the exchange is up.
const CONNECTED: u8 = 8;
/// Bytes of the reason of a gap.
const REASON_MAX: usize = 1000;

/// A message being written; little-endian.
pub struct Message(Vec<u8>);

impl Message {
    fn new(kind: Kind, rest: [u8; 3]) -> Self {
        Self(vec![kind as u8, rest[0], rest[1], rest[2]])
    }

    fn u32(&mut self, number: usize) -> &mut Self {
        self.0.extend(u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
        self
    }

    fn i64(&mut self, number: i64) -> &mut Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    /// Numbers side by side.
    fn floats(&mut self, numbers: impl Iterator<Item = f64>) -> &mut Self {
        self.0.extend(numbers.flat_map(f64::to_le_bytes));
        self
    }

    fn times(&mut self, numbers: impl Iterator<Item = i64>) -> &mut Self {
        self.0.extend(numbers.flat_map(i64::to_le_bytes));
        self
    }

    fn counts(&mut self, numbers: impl Iterator<Item = u64>) -> &mut Self {
        let short = |number| u32::try_from(number).unwrap_or(u32::MAX);
        self.0.extend(numbers.map(short).flat_map(u32::to_le_bytes));
        self
    }

    /// The bytes.
    pub fn done(self) -> Vec<u8> {
        self.0
    }
}

/// What books and orders begin with.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    /// Number of the pair.
    pub number: usize,
    /// Byte 1.
    pub flags: u8,
    /// Byte 2.
    pub checked: u8,
    /// Receipt of the last message, ns.
    pub ts_recv: i64,
    /// The exchange's time of it.
    pub ts_event: i64,
    /// The checksum that came with it.
    pub checksum: u32,
    /// Messages since the state before.
    pub messages: u64,
}

impl Head {
    fn message(&self, kind: Kind, bids: usize, asks: usize) -> Message {
        let mut message = Message::new(kind, [self.flags, self.checked, 0]);
        message.u32(self.number).i64(self.ts_recv).i64(self.ts_event);
        message.0.extend(self.checksum.to_le_bytes());
        message.u32(usize::try_from(self.messages).unwrap_or(usize::MAX)).u32(bids).u32(asks);
        message
    }
}

/// Kind 1: the levels of each side, price and quantity, best first.
pub fn book(head: &Head, sides: &[Vec<(f64, f64)>; 2]) -> Vec<u8> {
    let mut message = head.message(Kind::Book, sides[0].len(), sides[1].len());
    for side in sides {
        message.floats(side.iter().map(|level| level.0)).floats(side.iter().map(|level| level.1));
    }
    message.done()
}

/// An order of a level-3 book.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// Its price.
    pub price: f64,
    /// Its quantity.
    pub qty: f64,
    /// Its time, ns.
    pub time: i64,
    /// A number that is the same for the same id.
    pub number: u64,
}

/// Kind 3: the orders of each side by price, then by their place in the queue.
pub fn orders(head: &Head, sides: &[Vec<Order>; 2]) -> Vec<u8> {
    let mut message = head.message(Kind::Orders, sides[0].len(), sides[1].len());
    for side in sides {
        message.floats(side.iter().map(|order| order.price)).floats(side.iter().map(|order| order.qty));
        message.times(side.iter().map(|order| order.time));
        message.0.extend(side.iter().flat_map(|order| order.number.to_le_bytes()));
    }
    message.done()
}

/// A trade as it is kept.
#[derive(Debug, Clone, Copy)]
pub struct Trade {
    /// The exchange's time, ns.
    pub ts_event: i64,
    /// Receipt, ns.
    pub ts_recv: i64,
    /// Its number within the pair.
    pub id: i64,
    /// Its price.
    pub price: f64,
    /// Its quantity.
    pub qty: f64,
    /// Side of the taker: 0 buy, 1 sell.
    pub side: u8,
    /// Order type of the taker: 0 limit, 1 market.
    pub kind: u8,
}

/// Kind 2.
pub fn trades(number: usize, flags: u8, kept: &[Trade], left_out: u64) -> Vec<u8> {
    let mut message = Message::new(Kind::Trades, [flags, 0, 0]);
    message.u32(number).u32(kept.len()).u32(usize::try_from(left_out).unwrap_or(usize::MAX));
    message.times(kept.iter().map(|trade| trade.ts_event)).times(kept.iter().map(|trade| trade.ts_recv));
    message.times(kept.iter().map(|trade| trade.id));
    message.floats(kept.iter().map(|trade| trade.price)).floats(kept.iter().map(|trade| trade.qty));
    message.0.extend(kept.iter().map(|trade| trade.side));
    message.0.extend(kept.iter().map(|trade| trade.kind));
    message.done()
}

/// What an overview says of one pair.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// Best bid, best ask, last price, volume, imbalance.
    pub figures: [f64; 5],
    /// Checksums that were right.
    pub right: u64,
    /// Checksums that were wrong.
    pub wrong: u64,
    /// 1 in sync, 0 not.
    pub in_sync: u8,
}

/// Kind 4; the lines in the order of the pairs' numbers.
pub fn overview(ts: i64, lines: &[Line]) -> Vec<u8> {
    let mut message = Message::new(Kind::Overview, [0, 0, 0]);
    message.u32(lines.len()).i64(ts);
    for figure in 0..5 {
        message.floats(lines.iter().map(|line| line.figures[figure]));
    }
    message.counts(0..lines.len() as u64);
    message.counts(lines.iter().map(|line| line.right)).counts(lines.iter().map(|line| line.wrong));
    message.0.extend(lines.iter().map(|line| line.in_sync));
    message.done()
}

/// The number of a channel in a gap; `None`: the stream has none of it.
pub const fn channel(channel: Channel) -> Option<u8> {
    match channel {
        Channel::Book => Some(0),
        Channel::Trade => Some(1),
        Channel::Level3 => Some(2),
        Channel::Ticker => Some(3),
        Channel::Ohlc => None,
    }
}

/// Kind 5; `until` 0: it lasts.
pub fn gap(channel: u8, number: usize, since: i64, until: i64, reason: &str) -> Vec<u8> {
    let mut end = reason.len().min(REASON_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let length = u16::try_from(end).unwrap_or_default().to_le_bytes();
    let mut message = Message::new(Kind::Gap, [channel, length[0], length[1]]);
    message.u32(number).i64(since).i64(until);
    message.0.extend(&reason.as_bytes()[..end]);
    message.done()
}

/// Kind 6 of a market as it is now.
pub fn clock(connected: bool, shown: i64, now: i64) -> Vec<u8> {
    let mut message = Message::new(Kind::Clock, [if connected { LIVE | CONNECTED } else { LIVE }, 0, 0]);
    message.u32(0).i64(shown).i64(now).floats(std::iter::once(1.0));
    message.done()
}
