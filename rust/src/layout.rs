//! The two hot messages, read as Kraken lays them out: updates and snapshots of the book channel, updates of level 3.
//!
//! Keys in the order in which Kraken sends them, no blanks, plain padded numbers: at the first byte that is another one
//! the reader gives way, and [`crate::decode`] reads the whole frame by simd-json. What it does read is valid JSON and
//! gives the same message, which tests and fuzzing compare.

use crate::decimal::Decimal;
use crate::decode::parse_time;
use crate::limits;
use crate::message::{BookData, Entry, Kind, OrderEntry, OrderEvent, OrderId, Side};

/// The last minute that was read, as written, and its begin in ns: most times of a feed are of the same one.
#[derive(Debug, Default)]
pub struct Minute {
    text: [u8; 17],
    begin: i64,
}

/// What was read: whether of level 3, the kind, and the data, whose entries are in the lists given.
pub type Read<'f> = (bool, Kind, BookData<'f>);

/// Reads `frame`, adding its entries to `levels` or `orders`; `None` if it is laid out otherwise. The lists then hold
/// anything.
pub fn read<'f>(
    frame: &'f [u8],
    minute: &mut Minute,
    levels: &mut Vec<Entry>,
    orders: &mut Vec<OrderEntry<'f>>,
) -> Option<Read<'f>> {
    let mut at = Cursor { rest: frame, minute };
    at.take(b"{\"channel\":\"")?;
    if at.take(b"book\",\"type\":\"").is_some() {
        let kind = at.kind()?;
        return at.book(levels).map(|data| (false, kind, data));
    }
    at.take(b"level3\",\"type\":\"update\",\"data\":[{")?;
    at.level3(orders).map(|data| (true, Kind::Update, data))
}

struct Cursor<'f, 'm> {
    rest: &'f [u8],
    minute: &'m mut Minute,
}

/// Nanoseconds of the last digit of so many decimals of a second.
const POWERS: [i64; 10] = [0, 100_000_000, 10_000_000, 1_000_000, 100_000, 10_000, 1_000, 100, 10, 1];

/// The value of eight ASCII digits; `None` if they are something else.
#[inline]
fn eight(bytes: [u8; 8]) -> Option<u64> {
    let word = u64::from_le_bytes(bytes);
    let digits = word.wrapping_sub(0x3030_3030_3030_3030);
    // A byte that is no digit has its top bit set in one of the two, or in the word itself.
    if (word | digits | word.wrapping_add(0x4646_4646_4646_4646)) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    let pairs = (digits * 10 + (digits >> 8)) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_FFFF_0000_FFFF;
    Some((fours * 10_000 + (fours >> 32)) & 0xFFFF_FFFF)
}

impl<'f> Cursor<'f, '_> {
    #[inline]
    fn take(&mut self, literal: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(literal)?;
        Some(())
    }

    fn kind(&mut self) -> Option<Kind> {
        if self.take(b"update\",\"data\":[{").is_some() {
            return Some(Kind::Update);
        }
        self.take(b"snapshot\",\"data\":[{")?;
        Some(Kind::Snapshot)
    }

    /// Text without escapes, printable ASCII, and its closing quote.
    #[inline]
    fn text(&mut self, longest: usize) -> Option<&'f str> {
        let end = self.rest.iter().take(longest + 1).position(|&byte| byte == b'"')?;
        let (text, rest) = self.rest.split_at(end);
        if text.iter().any(|&byte| !(b' '..=b'~').contains(&byte) || byte == b'\\') {
            return None;
        }
        self.rest = &rest[1..];
        std::str::from_utf8(text).ok()
    }

    /// A plain number of up to 18 digits, without sign and exponent.
    #[inline]
    fn decimal(&mut self) -> Option<Decimal> {
        let bytes = self.rest;
        let mut at = 0;
        let mut value = 0u64;
        while let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
            at += 1;
        }
        if at == 0 || (at > 1 && bytes[0] == b'0') {
            return None;
        }
        let mut scale = 0;
        if bytes.get(at) == Some(&b'.') {
            at += 1;
            let point = at;
            if let Some(digits) = bytes[at..].first_chunk::<8>().and_then(|chunk| eight(*chunk)) {
                value = value.wrapping_mul(100_000_000).wrapping_add(digits);
                at += 8;
            }
            while let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
                value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
                at += 1;
            }
            scale = at - point;
            if scale == 0 {
                return None;
            }
        }
        // 18 digits never overflow 64 bits; with the point they are 19 bytes.
        if at > 19 || (scale == 0 && at > 18) {
            return None;
        }
        self.rest = &bytes[at..];
        #[allow(clippy::cast_possible_truncation, reason = "at most 18")]
        Some(Decimal { mantissa: value.into(), scale: scale as u8 })
    }

    /// A whole number of 32 bits.
    #[inline]
    fn whole(&mut self) -> Option<u32> {
        let number = self.decimal().filter(|number| number.scale == 0)?;
        u32::try_from(number.mantissa).ok()
    }

    /// A time with decimals of a second, and its closing quote.
    #[inline]
    fn time(&mut self) -> Option<i64> {
        let begins = self.rest.first_chunk::<17>()?;
        if *begins != self.minute.text {
            let end = self.rest.iter().take(31).position(|&byte| byte == b'"')?;
            let time = parse_time(&self.rest[..end])?;
            // Seconds are whole behind the 17th byte, or the time would not have been read.
            *self.minute = Minute { text: *begins, begin: time - time.rem_euclid(60_000_000_000) };
        }
        let [tens, ones, b'.', ..] = self.rest[17..] else { return None };
        let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
        if tens > 5 || ones > 9 {
            return None;
        }
        let fraction = &self.rest[20..];
        let mut at = 0;
        let mut value = 0i64;
        if let Some(digits) = fraction.first_chunk::<8>().and_then(|chunk| eight(*chunk)) {
            value = i64::try_from(digits).ok()?;
            at = 8;
        }
        while let Some(digit) = fraction.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
            if at == 9 {
                return None;
            }
            value = value * 10 + i64::from(digit);
            at += 1;
        }
        if at == 0 {
            return None;
        }
        self.rest = fraction[at..].strip_prefix(b"Z\"")?;
        let second = i64::from(tens) * 10 + i64::from(ones);
        Some(self.minute.begin + second * 1_000_000_000 + value * POWERS[at])
    }

    /// The levels of one side and the bracket behind them.
    #[inline]
    fn levels(&mut self, side: Side, levels: &mut Vec<Entry>) -> Option<()> {
        if self.take(b"]").is_some() {
            return Some(());
        }
        loop {
            self.take(b"{\"price\":")?;
            let price = self.decimal()?;
            self.take(b",\"qty\":")?;
            let qty = self.decimal()?;
            levels.push(Entry { side, price, qty });
            if self.take(b"},").is_none() {
                return self.take(b"}]");
            }
        }
    }

    fn book(&mut self, levels: &mut Vec<Entry>) -> Option<BookData<'f>> {
        self.take(b"\"symbol\":\"")?;
        let symbol = self.text(limits::SYMBOL_LENGTH_MAX)?;
        self.take(b",\"bids\":[")?;
        self.levels(Side::Bid, levels)?;
        self.take(b",\"asks\":[")?;
        self.levels(Side::Ask, levels)?;
        self.take(b",\"checksum\":")?;
        let checksum = Some(self.whole()?);
        self.take(b",\"timestamp\":\"")?;
        let timestamp = Some(self.time()?);
        self.end()?;
        Some(BookData { symbol, entries: 0..levels.len(), checksum, timestamp })
    }

    /// The end of a frame, and nothing behind it.
    fn end(&mut self) -> Option<()> {
        self.take(b"}]}")?;
        self.rest.is_empty().then_some(())
    }

    /// The orders of one side and the bracket behind them.
    fn orders(&mut self, side: Side, orders: &mut Vec<OrderEntry<'f>>) -> Option<()> {
        if self.take(b"]").is_some() {
            return Some(());
        }
        loop {
            self.take(b"{\"event\":\"")?;
            let event = OrderEvent::named(self.text(8)?)?;
            self.take(b",\"order_id\":\"")?;
            let id = OrderId::new(self.text(limits::ORDER_ID_LENGTH_MAX)?).ok()?;
            self.take(b",\"limit_price\":")?;
            let price = self.decimal()?;
            self.take(b",\"order_qty\":")?;
            let qty = self.decimal()?;
            self.take(b",\"timestamp\":\"")?;
            let timestamp = self.time()?;
            orders.push(OrderEntry { side, event, id, price, qty, timestamp });
            if self.take(b"},").is_none() {
                return self.take(b"}]");
            }
        }
    }

    fn level3(&mut self, orders: &mut Vec<OrderEntry<'f>>) -> Option<BookData<'f>> {
        self.take(b"\"checksum\":")?;
        let checksum = Some(self.whole()?);
        self.take(b",\"symbol\":\"")?;
        let symbol = self.text(limits::SYMBOL_LENGTH_MAX)?;
        self.take(b",\"timestamp\":\"")?;
        let timestamp = Some(self.time()?);
        self.take(b",\"bids\":[")?;
        self.orders(Side::Bid, orders)?;
        self.take(b",\"asks\":[")?;
        self.orders(Side::Ask, orders)?;
        self.end()?;
        Some(BookData { symbol, entries: 0..orders.len(), checksum, timestamp })
    }
}
