//! One number for all that a session made: its rows, its books, its subscriptions and its counts.
//!
//! Two sessions that took the same frames have the same digest, wherever they run: natively, in Python, in a browser.
//! It is no proof against somebody who wants to deceive: the checksums of the exchange are what proves a book.

use crate::session::{Checked, Session};
use crate::table::rows::{Rows, Values, Views};
use crate::table::schema::Table;
use crate::wire::message::Side;

/// Multiplier of a step: 2^64 divided by the golden ratio, which is odd.
const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// A hash of words in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Self(MULTIPLIER)
    }
}

impl Hash {
    fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(MULTIPLIER).rotate_left(29);
    }

    fn wide(&mut self, number: u128) {
        // The lower half, then the upper one.
        #[allow(clippy::cast_possible_truncation, reason = "see above")]
        self.word(number as u64);
        self.word((number >> 64) as u64);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
    }

    /// The text of a row: the view that holds it, or its bytes.
    fn view(&mut self, views: &Views, row: usize) {
        match views.longer(row) {
            Some(text) => self.bytes(text),
            None => self.wide(views.views[row]),
        }
    }

    fn row(&mut self, rows: &Rows, row: usize) {
        for column in &rows.columns {
            if column.valid.as_ref().is_some_and(|valid| !valid.get(row)) {
                self.word(u64::MAX);
                continue;
            }
            self.word(0);
            match &column.values {
                Values::Views(views) => self.view(views, row),
                Values::Bool(bits) => self.word(u64::from(bits.bytes[row / 8] >> (row % 8) & 1)),
                Values::U8(values) => self.word(values[row].into()),
                Values::U16(values) => self.word(values[row].into()),
                Values::U32(values) => self.word(values[row].into()),
                Values::U64(values) => self.word(values[row]),
                Values::I64(values) => self.word(values[row].cast_unsigned()),
                Values::I128(values) => self.wide(values[row].cast_unsigned()),
            }
        }
    }

    fn number(&mut self, number: i128, scale: u8) {
        self.wide(number.cast_unsigned());
        self.word(scale.into());
    }
}

/// The digest of a session, while it goes on.
///
/// ```
/// use krakpot_core::digest::Digest;
/// use krakpot_core::session::{Options, Session};
///
/// let mut session = Session::new("demo", Options { passive: true, ..Options::default() });
/// let mut digest = Digest::default();
/// let before = digest.value(&session);
/// session.receive(br#"{"channel":"heartbeat"}"#, 1_785_641_750_295_158_100);
/// digest.take(&mut session);
/// assert_ne!(digest.value(&session), before);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Digest {
    /// A hash for each table: when rows are taken decides nothing.
    tables: [Hash; Table::ALL.len()],
}

impl Digest {
    /// Takes the rows that a session has collected.
    pub fn take(&mut self, session: &mut Session) {
        for rows in session.drain() {
            let hash = &mut self.tables[rows.table as usize];
            for row in 0..rows.len {
                hash.row(&rows, row);
            }
        }
    }

    /// The number: of all rows that were taken, and of the session's books, subscriptions and counts as they are now.
    #[must_use]
    pub fn value(&self, session: &Session) -> u64 {
        let mut hash = Hash::default();
        self.tables.iter().for_each(|table| hash.word(table.0));
        for (channel, symbol, state, reason) in session.subscriptions() {
            for text in [channel.name(), symbol, state, reason] {
                hash.bytes(text.as_bytes());
            }
        }
        for (pair, selected) in session.pairs() {
            hash.bytes(pair.symbol.as_bytes());
            hash.word(selected.into());
        }
        books(session, &mut hash);
        counts(session, &mut hash);
        hash.0
    }
}

/// Every level and every order of the books that are in sync.
fn books(session: &Session, hash: &mut Hash) {
    let mut buffer = Vec::new();
    let mut last = "";
    for (_, symbol, ..) in session.subscriptions() {
        // The subscriptions of a symbol follow each other.
        if symbol == last {
            continue;
        }
        last = symbol;
        hash.word(session.book(symbol).is_some().into());
        if let Some(book) = session.book(symbol) {
            let (price_precision, qty_precision) = book.precision();
            hash.word(book.depth().into());
            hash.word(book.clone().checksum().into());
            for side in [Side::Bid, Side::Ask] {
                book.each_level(side, usize::MAX, |price, qty| {
                    hash.word(side as u64);
                    hash.number(price, price_precision);
                    hash.number(qty, qty_precision);
                });
            }
        }
        let orders = session.orders(symbol).and_then(|synced| synced.book());
        hash.word(orders.is_some().into());
        let Some(orders) = orders else { continue };
        let (price_precision, qty_precision) = orders.precision();
        hash.word(orders.depth().into());
        hash.word(orders.clone().checksum(&mut buffer).into());
        for side in [Side::Bid, Side::Ask] {
            for (price, ..) in orders.levels(side) {
                hash.word(side as u64);
                hash.number(price, price_precision);
                for (id, qty, timestamp) in orders.queue(side, price) {
                    hash.bytes(id.to_string().as_bytes());
                    hash.number(qty, qty_precision);
                    hash.word(timestamp.cast_unsigned());
                }
            }
        }
    }
}

fn counts(session: &Session, hash: &mut Hash) {
    let counts = session.counts();
    for (name, count) in &counts.messages {
        hash.bytes(name.as_bytes());
        hash.word(*count);
    }
    counts.rows.iter().for_each(|count| hash.word(*count));
    for Checked { ok, bad } in [counts.book, counts.level3] {
        hash.word(ok);
        hash.word(bad);
    }
    let others = [
        counts.frames,
        counts.unchecked,
        counts.errors,
        counts.gaps,
        counts.refused,
        counts.unknown_entries,
        counts.replaced,
        counts.unknown_fields,
    ];
    for count in others {
        hash.word(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Options;

    const SNAPSHOT: &str = r#"{"channel":"book","type":"snapshot","data":[{"symbol":"A/USD","bids":[{"price":1.0,"qty":2.0}],"asks":[{"price":1.1,"qty":3.0}],"checksum":0,"timestamp":"2026-08-02T03:35:51.660084Z"}]}"#;
    const STATUS: &str =
        r#"{"channel":"status","type":"update","data":[{"system":"online","version":"2.0.10-longer-than-a-view"}]}"#;

    fn session() -> Session {
        Session::new("demo", Options { passive: true, depth: Some(10), ..Options::default() })
    }

    /// Goal: the digest does not depend on when rows are taken, and every frame and every time changes it.
    #[test]
    fn rows_may_be_taken_at_any_time_and_every_difference_is_seen() {
        let value = |frames: &[(&str, i64)], every: usize| {
            let (mut session, mut digest) = (session(), Digest::default());
            for (n, (frame, at)) in frames.iter().enumerate() {
                session.receive(frame.as_bytes(), *at);
                if n.is_multiple_of(every) {
                    digest.take(&mut session);
                }
            }
            digest.take(&mut session);
            assert!(session.counts().rows.iter().sum::<u64>() >= frames.len() as u64);
            digest.value(&session)
        };
        let frames = [(STATUS, 1), (SNAPSHOT, 2), (STATUS, 3), (SNAPSHOT, 4)];
        let all = value(&frames, 1);
        assert_eq!(all, value(&frames, 3));
        assert_ne!(all, value(&frames[..3], 1));
        assert_ne!(all, value(&[(STATUS, 1), (STATUS, 3), (SNAPSHOT, 2), (SNAPSHOT, 4)], 1));
        assert_ne!(all, value(&[(STATUS, 1), (SNAPSHOT, 2), (STATUS, 3), (SNAPSHOT, 5)], 1));
        let other = SNAPSHOT.replace("3.0", "3.1");
        assert_ne!(all, value(&[(STATUS, 1), (&other, 2), (STATUS, 3), (SNAPSHOT, 4)], 1));
        let other = STATUS.replace("longer", "looger");
        assert_ne!(all, value(&[(STATUS, 1), (SNAPSHOT, 2), (&other, 3), (SNAPSHOT, 4)], 1));
    }
}
