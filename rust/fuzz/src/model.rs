//! Books as a plain map, by the written rules: the second opinion on [`krakpot_core::book::level2`] and the session's counters.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use krakpot_core::limits::{DEPTHS, SCALE, SYMBOL_LENGTH_MAX};
use krakpot_core::session::{Channel, Counts, Session};
use krakpot_core::wire::message::Side;
use krakpot_frames::crc32;
use serde_json::Value;

use crate::number::Number;

/// A book: numbers × 10^10, bids under negated prices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Plain {
    sides: [BTreeMap<i128, i128>; 2],
    depth: usize,
    precision: (u8, u8),
}

/// `value` × 10^-10 as an integer at `precision`, if it is whole there.
fn at(value: i128, precision: u8) -> Option<i128> {
    let unit = 10i128.pow(u32::from(SCALE - precision));
    (value % unit == 0).then_some(value / unit)
}

impl Plain {
    fn set(&mut self, side: usize, price: i128, qty: i128) {
        let levels = &mut self.sides[side];
        let key = if side == 0 { -price } else { price };
        if qty == 0 {
            levels.remove(&key);
            return;
        }
        levels.insert(key, qty);
        if levels.len() > self.depth {
            levels.pop_last();
        }
    }

    fn checksum(&self) -> u32 {
        let mut text = String::new();
        for side in [1, 0] {
            for (key, qty) in self.sides[side].iter().take(10) {
                let (price, qty) = (at(key.abs(), self.precision.0), at(*qty, self.precision.1));
                let _ = write!(text, "{}{}", price.expect("held"), qty.expect("held"));
            }
        }
        crc32(text.as_bytes())
    }

    fn crossed(&self) -> bool {
        matches!((self.sides[0].keys().next(), self.sides[1].keys().next()), (Some(bid), Some(ask)) if -bid >= *ask)
    }

    /// As the session shows a side, best first.
    fn levels(&self, side: usize) -> Vec<(i128, i128)> {
        let level = |(key, qty): (&i128, &i128)| {
            (at(key.abs(), self.precision.0).expect("held"), at(*qty, self.precision.1).expect("held"))
        };
        self.sides[side].iter().map(level).collect()
    }
}

/// Messages of books by their outcome; `errors` are those that could not be held.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Outcomes {
    ok: u64,
    bad: u64,
    unchecked: u64,
    errors: u64,
}

impl Outcomes {
    fn of(counts: &Counts) -> Self {
        Self { ok: counts.book.ok, bad: counts.book.bad, unchecked: counts.unchecked, errors: counts.errors }
    }

    fn since(self, before: Self) -> Self {
        Self {
            ok: self.ok - before.ok,
            bad: self.bad - before.bad,
            unchecked: self.unchecked - before.unchecked,
            errors: self.errors - before.errors,
        }
    }
}

fn count(counts: &Counts, channel: &str) -> u64 {
    counts.messages.iter().find(|(name, _)| name == channel).map_or(0, |(_, n)| *n)
}

/// What the books of a session must be.
#[derive(Debug, Default)]
pub struct Model {
    observe: bool,
    books: BTreeMap<String, Plain>,
    /// The precision that was given; a precision that the session infers is taken from its books.
    precision: BTreeMap<String, (u8, u8)>,
    /// Depth granted by an ack, else the option's.
    depth: BTreeMap<String, usize>,
    depth_option: usize,
}

impl Model {
    pub fn new(observe: bool, depth: u16, precision: &[(&str, (u8, u8))]) -> Self {
        let precision = precision.iter().map(|(symbol, p)| ((*symbol).to_owned(), *p)).collect();
        Self { observe, depth_option: depth.into(), precision, ..Self::default() }
    }

    /// Takes the frame that `session` has just taken; `before` are its counters of before. Panics where they differ.
    pub fn frame(&mut self, session: &Session, before: &Counts, frame: &[u8]) {
        let counts = session.counts();
        assert_eq!(counts.frames, before.frames + 1);
        let messages: u64 = counts.messages.iter().map(|(_, n)| n).sum();
        assert_eq!(messages, counts.frames, "each frame counts as one message");
        let more = |channel| count(counts, channel) - count(before, channel) == 1;
        let delta = Outcomes::of(counts).since(Outcomes::of(before));
        if more("undecoded") && delta.errors == 1 {
            assert_eq!(delta, Outcomes { errors: 1, ..Outcomes::default() }, "a frame refused whole changes no book");
            self.check(session);
            return;
        }
        let value: Value = serde_json::from_slice(frame).unwrap_or_else(|e| {
            panic!("the core takes what serde_json refuses, {e}: {}", String::from_utf8_lossy(frame))
        });
        if more("book") && value.get("method").is_none() {
            let only_errors = delta == Outcomes { errors: delta.errors, ..Outcomes::default() };
            if delta.errors > 0 && only_errors && self.equals(session) {
                // Items that cannot be read, or of symbols that are not selected, are refused and change no book.
            } else if delta.errors > 0 && value["data"].as_array().is_some_and(|items| items.len() > 1) {
                // Which of several items was refused only the session knows.
                let named = value["data"].as_array().into_iter().flatten().filter_map(|item| item["symbol"].as_str());
                let symbols: Vec<String> = self.books.keys().cloned().chain(named.map(str::to_owned)).collect();
                for symbol in symbols {
                    self.follow(session, &symbol, &Value::Null);
                }
            } else {
                self.book_frame(session, &value, delta);
            }
        } else {
            assert_eq!((delta.ok, delta.bad, delta.unchecked), (0, 0, 0), "only book messages are proved");
            self.other_frame(session, &value);
        }
        self.check(session);
    }

    /// Whether the books are the session's, level by level.
    fn equals(&self, session: &Session) -> bool {
        session.books_in_sync() == self.books.len()
            && self.books.iter().all(|(symbol, plain)| {
                session.book(symbol).is_some_and(|book| {
                    book.levels(Side::Bid) == plain.levels(0) && book.levels(Side::Ask) == plain.levels(1)
                })
            })
    }

    /// Books are the session's, level by level; a book that the session ended elsewhere is dropped by the caller before.
    pub fn check(&self, session: &Session) {
        assert_eq!(session.books_in_sync(), self.books.len(), "the same books live: {:?}", self.books.keys());
        for (symbol, plain) in &self.books {
            let book = session.book(symbol).unwrap_or_else(|| panic!("the book of {symbol} lives"));
            assert_eq!(
                (book.precision(), usize::from(book.depth())),
                (plain.precision, plain.depth),
                "meta of {symbol}"
            );
            assert_eq!(book.levels(Side::Bid), plain.levels(0), "bids of {symbol}");
            assert_eq!(book.levels(Side::Ask), plain.levels(1), "asks of {symbol}");
            assert!(book.len() <= 2 * plain.depth && !book.crossed());
        }
    }

    /// The session ends this book, and says so.
    pub fn drop(&mut self, symbol: &str) {
        assert!(self.books.remove(symbol).is_some(), "only a live book is ended");
    }

    pub fn end(&mut self) {
        self.books.clear();
    }

    /// An answer or an instrument message may end books and change meta; it never changes a level.
    fn other_frame(&mut self, session: &Session, value: &Value) {
        self.books.retain(|symbol, _| session.book(symbol).is_some());
        if value["channel"] == "instrument" {
            for (pair, _) in session.pairs() {
                self.precision.insert(pair.symbol.clone(), (pair.price_precision, pair.qty_precision));
            }
        }
        let result = &value["result"];
        if value["method"] == "subscribe" && value.get("error").is_none() && result["channel"] == "book" {
            let symbol = result["symbol"].as_str().or(value["symbol"].as_str());
            let depth = Number::of(&result["depth"].to_string()).and_then(|n| n.scaled(0));
            if let (Some(symbol), Some(depth)) = (symbol, depth.and_then(|d| u16::try_from(d).ok()))
                && DEPTHS.contains(&depth)
                // A session that asks takes answers about the pairs it knows.
                && (self.observe || self.precision.contains_key(symbol))
            {
                self.depth.insert(symbol.to_owned(), depth.into());
            }
        }
    }

    fn book_frame(&mut self, session: &Session, value: &Value, delta: Outcomes) {
        let snapshot = value["type"] == "snapshot";
        let mut expected = Outcomes::default();
        let mut sure = true;
        for item in value["data"].as_array().expect("a list") {
            let symbol = item["symbol"].as_str().expect("text");
            let known = if self.observe {
                (1..=SYMBOL_LENGTH_MAX).contains(&symbol.len())
            } else {
                session.subscriptions().any(|(channel, name, ..)| channel == Channel::Book && name == symbol)
            };
            if !known {
                expected.errors += 1;
                continue;
            }
            match self.precision.get(symbol).copied() {
                Some(precision) if precision.0.max(precision.1) <= SCALE => {
                    self.apply(item, symbol, snapshot, precision, &mut expected);
                }
                _ => {
                    sure = false;
                    self.follow(session, symbol, item);
                }
            }
        }
        if sure {
            assert_eq!(delta, expected, "outcomes of {value}");
        }
    }

    /// What the rules say of a message at a known precision.
    fn apply(&mut self, item: &Value, symbol: &str, snapshot: bool, precision: (u8, u8), outcomes: &mut Outcomes) {
        let old = self.books.remove(symbol);
        let Some(entries) = entries(item) else {
            outcomes.errors += 1;
            return;
        };
        let depth = self.depth.get(symbol).copied().unwrap_or(self.depth_option);
        let mut plain = match (snapshot, old) {
            (true, _) => Plain { depth, precision, ..Plain::default() },
            (false, Some(old)) => old,
            (false, None) => {
                outcomes.unchecked += 1;
                return;
            }
        };
        if plain.precision.0 > precision.0 || plain.precision.1 > precision.1 {
            outcomes.unchecked += 1;
            return;
        }
        plain.precision = precision;
        for (side, price, qty) in entries {
            let held = price >= 0 && qty >= 0 && at(price, precision.0).is_some() && at(qty, precision.1).is_some();
            if !held {
                outcomes.errors += 1;
                return;
            }
            plain.set(side, price, qty);
        }
        let sent = checksum(item);
        if plain.crossed() || sent.is_some_and(|sent| sent != plain.checksum()) {
            outcomes.bad += 1;
            return;
        }
        *(if sent.is_some() { &mut outcomes.ok } else { &mut outcomes.unchecked }) += 1;
        self.books.insert(symbol.to_owned(), plain);
    }

    /// A message at a precision that the session infers: its book is taken over, and must have the checksum it was
    /// proved by.
    fn follow(&mut self, session: &Session, symbol: &str, item: &Value) {
        self.books.remove(symbol);
        let Some(book) = session.book(symbol) else { return };
        let (price_precision, qty_precision) = book.precision();
        assert!(price_precision.max(qty_precision) <= SCALE, "no precision beyond the columns is inferred");
        let up = |value: i128, precision: u8| value * 10i128.pow(u32::from(SCALE - precision));
        let mut plain = Plain { depth: book.depth().into(), precision: book.precision(), ..Plain::default() };
        for (side, name) in [(0, Side::Bid), (1, Side::Ask)] {
            for (price, qty) in book.levels(name) {
                plain.set(side, up(price, price_precision), up(qty, qty_precision));
            }
        }
        // A message of several items may end with one that has no checksum.
        if let Some(checksum) = checksum(item) {
            assert_eq!(plain.checksum(), checksum, "a living book of {symbol} has the last checksum");
        }
        self.books.insert(symbol.to_owned(), plain);
    }
}

/// Side, price and quantity of every entry in wire order; `None` if a number passes what the columns hold.
fn entries(item: &Value) -> Option<Vec<(usize, i128, i128)>> {
    let number = |value: &Value| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Number::of(&text)?.scaled(SCALE.into())
    };
    let mut entries = Vec::new();
    for (key, levels) in item.as_object().expect("an object") {
        let side = match key.as_str() {
            "bids" => 0,
            "asks" => 1,
            _ => continue,
        };
        for level in levels.as_array().expect("a list") {
            entries.push((side, number(&level["price"])?, number(&level["qty"])?));
        }
    }
    Some(entries)
}

fn checksum(item: &Value) -> Option<u32> {
    // Null means absent.
    let value = item.get("checksum").filter(|value| !value.is_null())?;
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let checksum = Number::of(&text).and_then(|n| n.scaled(0)).and_then(|n| u32::try_from(n).ok());
    Some(checksum.expect("32 bits"))
}
