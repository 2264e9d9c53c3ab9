//! The reader of the hot messages: updates and snapshots of the book channel, updates of level 3.
//!
//! It reads only the exact layout that Kraken sends: keys in Kraken's order, no blanks, plain padded numbers. At the first
//! byte that differs it gives up, and the general reader takes the whole frame. What it does read is valid JSON and gives
//! the same message; tests and fuzzing compare the two.

use crate::decimal::Decimal;
use crate::limits;
use crate::wire::message::{BookData, Kind, OrderEntry, OrderEvent, OrderId, ShortEntry, Side, eight_of};
use crate::wire::time::parse_time;

/// The last minute that was read, as written, and its begin in ns: most times of a feed are of the same minute.
#[derive(Debug, Default)]
pub struct Minute {
    text: [u8; 17],
    begin: i64,
}

/// Reads `frame` as a message of the book channel and adds its entries to `levels`. Returns `None` if it has another
/// layout; `levels` may then hold anything.
#[inline]
pub fn book<'f>(frame: &'f [u8], minute: &mut Minute, levels: &mut Vec<ShortEntry>) -> Option<(Kind, BookData<'f>)> {
    const UPDATE: &[u8; 53] = b"{\"channel\":\"book\",\"type\":\"update\",\"data\":[{\"symbol\":\"";
    const SNAPSHOT: &[u8; 55] = b"{\"channel\":\"book\",\"type\":\"snapshot\",\"data\":[{\"symbol\":\"";
    let (kind, rest) = match behind(frame, UPDATE) {
        Some(rest) => (Kind::Update, rest),
        None => (Kind::Snapshot, behind(frame, SNAPSHOT)?),
    };
    let data = Cursor { rest, minute }.book(levels)?;
    Some((kind, data))
}

/// The rest of the frame behind `literal`, of at least 8 bytes, if the frame begins with it. Compared word by word, which
/// needs no call.
#[inline]
fn behind<'f, const N: usize>(frame: &'f [u8], literal: &[u8; N]) -> Option<&'f [u8]> {
    let (begin, rest) = frame.split_first_chunk::<N>()?;
    let different = |a: &[u8; 8], b: &[u8; 8]| u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b);
    let words = begin.as_chunks().0.iter().zip(literal.as_chunks().0);
    let words = words.fold(0, |all, (a, b)| all | different(a, b));
    (words | different(begin.last_chunk()?, literal.last_chunk()?) == 0).then_some(rest)
}

/// Reads `frame` as an update of level 3 and adds its entries to `orders`, as [`book`] does.
pub fn level3<'f>(
    frame: &'f [u8],
    minute: &mut Minute,
    orders: &mut Vec<OrderEntry<'f>>,
) -> Option<(Kind, BookData<'f>)> {
    let rest = behind(frame, b"{\"channel\":\"level3\",\"type\":\"update\",\"data\":[{\"checksum\":")?;
    let data = Cursor { rest, minute }.level3(orders)?;
    Some((Kind::Update, data))
}

struct Cursor<'f, 'm> {
    rest: &'f [u8],
    minute: &'m mut Minute,
}

/// By the number of decimals of a second: nanoseconds of the last one.
const POWERS: [i64; 10] = [0, 100_000_000, 10_000_000, 1_000_000, 100_000, 10_000, 1_000, 100, 10, 1];

/// Powers of ten.
const TENS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// The top bits of bytes.
const TOPS: u64 = eight_of(0x80);

/// How many of eight bytes, from the first, are ASCII digits, and their value.
#[inline]
fn digits(bytes: [u8; 8]) -> (usize, u64) {
    let word = u64::from_le_bytes(bytes) ^ eight_of(b'0');
    // A byte above 9 has its top bit set in one of the two. A carry reaches later bytes only.
    let other = (word | word.wrapping_add(eight_of(0x76))) & TOPS;
    let count = other.trailing_zeros() / 8;
    // Zeros in front, behind which the digits end with the last byte.
    let word = word.checked_shl(64 - 8 * count).unwrap_or(0);
    let pairs = (word.wrapping_mul(10).wrapping_add(word >> 8)) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs.wrapping_mul(100).wrapping_add(pairs >> 16)) & 0x0000_FFFF_0000_FFFF;
    (count as usize, (fours.wrapping_mul(10_000).wrapping_add(fours >> 32)) & 0xFFFF_FFFF)
}

/// How many of eight bytes, from the first, are printable ASCII characters except quotes and escapes, and whether a quote
/// follows them; `None` if something else follows.
#[inline]
fn printable(bytes: [u8; 8]) -> Option<(usize, bool)> {
    const fn zeros(word: u64) -> u64 {
        word.wrapping_sub(eight_of(1)) & !word & TOPS
    }
    let word = u64::from_le_bytes(bytes);
    // The first mark of each is exact; later ones may be wrong.
    let quotes = zeros(word ^ eight_of(b'"')).trailing_zeros();
    let controls = word.wrapping_sub(eight_of(b' ')) & !word;
    let beyond = word | word.wrapping_add(eight_of(1));
    let other = ((controls | beyond | zeros(word ^ eight_of(b'\\'))) & TOPS).trailing_zeros();
    (other > quotes || other == u64::BITS).then_some((quotes as usize / 8, quotes < u64::BITS))
}

impl<'f> Cursor<'f, '_> {
    #[inline]
    fn take(&mut self, literal: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(literal)?;
        Some(())
    }

    /// Text without escapes, printable ASCII, and its closing quote. No frame ends within eight bytes of one.
    #[inline]
    fn text(&mut self, longest: usize) -> Option<&'f [u8]> {
        let mut end = 0;
        loop {
            let (count, ended) = printable(*self.rest.get(end..)?.first_chunk()?)?;
            end += count;
            if end > longest {
                return None;
            }
            if ended {
                break;
            }
        }
        let (text, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.get(1..)?;
        Some(text)
    }

    /// A plain number of up to 18 digits, without sign and exponent. No frame ends within 18 bytes of where one begins.
    ///
    /// Returns its digits and how many of them are decimals.
    #[allow(clippy::inline_always, reason = "a call for each number costs a tenth of it")]
    #[inline(always)]
    fn number(&mut self) -> Option<(i64, u8)> {
        let bytes: &[u8; 18] = self.rest.first_chunk()?;
        let (whole, value) = digits(*bytes.first_chunk()?);
        // No digits, zeros in front, or what is no point: too many digits, or none behind.
        if whole == 0 || (bytes[0] == b'0' && whole > 1) || bytes[whole] != b'.' {
            return self.other_number();
        }
        let (decimals, fraction) = digits(*bytes[whole + 1..].first_chunk()?);
        let end = whole + 1 + decimals;
        // A point without decimals, or more of them.
        if decimals == 0 || (decimals == 8 && bytes[end].is_ascii_digit()) {
            return self.other_number();
        }
        self.rest = self.rest.get(end..)?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "at most 8, and 16 digits")]
        Some(((value * TENS[decimals] + fraction) as i64, decimals as u8))
    }

    #[inline]
    fn decimal(&mut self) -> Option<Decimal> {
        let (mantissa, scale) = self.number()?;
        Some(Decimal { mantissa: mantissa.into(), scale })
    }

    /// A number of any length, with or without decimals; `None` if JSON forbids it.
    #[cold]
    fn other_number(&mut self) -> Option<(i64, u8)> {
        let bytes = self.rest;
        let count = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let whole = count(0);
        let (end, scale) = match bytes.get(whole) {
            Some(b'.') => (whole + 1 + count(whole + 1), count(whole + 1)),
            _ => (whole, 0),
        };
        // The general reader takes what JSON forbids, and what 64 bits may not hold.
        if whole + scale > 18 || (end > whole && scale == 0) {
            return None;
        }
        let (text, rest) = bytes.split_at(end);
        self.rest = rest;
        let number = Decimal::parse(text)?;
        Some((number.mantissa.try_into().ok()?, number.scale))
    }

    /// A whole number of 32 bits.
    #[inline]
    fn whole(&mut self) -> Option<u32> {
        let (mut at, mut value) = digits(*self.rest.first_chunk()?);
        if at == 0 || (at > 1 && self.rest[0] == b'0') {
            return None;
        }
        while let Some(digit) = self.rest.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
            if at == 10 {
                return None;
            }
            value = value * 10 + u64::from(digit);
            at += 1;
        }
        self.rest = &self.rest[at..];
        u32::try_from(value).ok()
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
        let (mut at, value) = digits(*fraction.first_chunk()?);
        let mut value = i64::try_from(value).ok()?;
        if at == 0 {
            return None;
        }
        if let Some(digit) = fraction.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
            // The ninth; what follows is no quote if there are more.
            value = value * 10 + i64::from(digit);
            at += 1;
        }
        self.rest = fraction[at..].strip_prefix(b"Z\"")?;
        let second = i64::from(tens) * 10 + i64::from(ones);
        Some(self.minute.begin + second * 1_000_000_000 + value * POWERS[at])
    }

    /// The levels of one side and the bracket behind them.
    #[inline]
    fn levels(&mut self, side: Side, levels: &mut Vec<ShortEntry>) -> Option<()> {
        if self.take(b"]").is_some() {
            return Some(());
        }
        loop {
            self.take(b"{\"price\":")?;
            let (price, decimals) = self.number()?;
            self.take(b",\"qty\":")?;
            let (qty, qty_decimals) = self.number()?;
            levels.push(ShortEntry { side, price, qty, scales: (decimals, qty_decimals) });
            if self.take(b"},").is_none() {
                return self.take(b"}]");
            }
        }
    }

    #[inline]
    fn book(&mut self, levels: &mut Vec<ShortEntry>) -> Option<BookData<'f>> {
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

    /// The id of an order, and its closing quote.
    #[inline]
    fn id(&mut self) -> Option<OrderId<'f>> {
        if let Some((text, [b'"', rest @ ..])) = self.rest.split_first_chunk()
            && let Some(id) = OrderId::short(text)
        {
            self.rest = rest;
            return Some(id);
        }
        let text = self.text(limits::ORDER_ID_LENGTH_MAX)?;
        OrderId::new(std::str::from_utf8(text).ok()?).ok()
    }

    /// The orders of one side and the bracket behind them.
    fn orders(&mut self, side: Side, orders: &mut Vec<OrderEntry<'f>>) -> Option<()> {
        if self.take(b"]").is_some() {
            return Some(());
        }
        loop {
            self.take(b"{\"event\":\"")?;
            let event = match self.rest.first()? {
                b'a' => self.take(b"add\"").map(|()| OrderEvent::Add)?,
                b'd' => self.take(b"delete\"").map(|()| OrderEvent::Delete)?,
                _ => self.take(b"modify\"").map(|()| OrderEvent::Modify)?,
            };
            self.take(b",\"order_id\":\"")?;
            let id = self.id()?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bytes_at_once_are_read_as_one_by_one() {
        // Every byte at every place, behind digits and letters.
        for byte in 0..=u8::MAX {
            for at in 0..8 {
                let mut bytes = *b"90817263";
                bytes[at] = byte;
                let count = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let value = bytes[..count].iter().fold(0, |value, byte| value * 10 + u64::from(byte - b'0'));
                assert_eq!(digits(bytes), (count, value), "{bytes:?}");

                let mut bytes = *b"aZ /-~!0";
                bytes[at] = byte;
                let plain = |byte: &u8| (b' '..=b'~').contains(byte) && !matches!(byte, b'"' | b'\\');
                let count = bytes.iter().take_while(|byte| plain(byte)).count();
                let ended = bytes.get(count) == Some(&b'"');
                let expected = (ended || count == 8).then_some((count, ended));
                assert_eq!(printable(bytes), expected, "{bytes:?}");
            }
        }
    }

    #[test]
    fn decimals_are_those_of_json_at_every_length() {
        for whole in 0..=19 {
            for (first, point, scale) in (0..=19).flat_map(|n| [("9", ".", n), ("0", ".", n), ("9", "", 0)]) {
                let whole = if whole == 0 { String::new() } else { format!("{first}{}", "8".repeat(whole - 1)) };
                let text = format!("{whole}{point}{}", "7".repeat(scale));
                let frame = format!("{text}}}],\"checksum\":0,\"timestamp\":\"");
                let mut at = Cursor { rest: frame.as_bytes(), minute: &mut Minute::default() };
                let read = at.decimal();
                let valid = serde_json::from_str::<serde_json::Value>(&text).is_ok() && whole.len() + scale <= 18;
                assert_eq!(read.is_some(), valid, "{text}");
                if valid {
                    assert_eq!(read, Decimal::parse(text.as_bytes()), "{text}");
                    assert_eq!(at.rest, &frame.as_bytes()[text.len()..], "{text}");
                }
            }
        }
    }

    #[test]
    fn a_frame_cut_anywhere_is_left_to_the_general_reader() {
        let frame: &[u8] = br#"{"channel":"book","type":"update","data":[{"symbol":"LONGNAME/USD","bids":[],"asks":[{"price":886110000000.00,"qty":0.123456789012},{"price":12345678,"qty":1.5}],"checksum":4294967295,"timestamp":"2026-08-02T10:00:00.123456789Z"}]}"#;
        let mut minute = Minute::default();
        let mut read = |frame| book(frame, &mut minute, &mut Vec::new()).is_some();
        assert!(read(frame));
        for length in 0..frame.len() {
            assert!(!read(&frame[..length]), "{length}");
        }
    }
}
