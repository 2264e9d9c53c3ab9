//! From bytes to messages.
//!
//! Messages in the exact layout that Kraken sends are read by `fast`, all others by the parser of JSON. The result is the
//! same.

use crate::error::Error;
use crate::limits;
use crate::wire::fast::{self, Minute};
use crate::wire::message::{BookData, Data, Entries, Entry, Kind, Message, OrderEntry, ShortEntry};
use crate::wire::parser::Parser;
use crate::wire::tape::TapeReader;

/// Decodes frames, reusing its memory.
#[derive(Default)]
pub struct Decoder {
    parser: Parser,
    minute: Minute,
    /// Levels of the last message of the book channel.
    entries: Vec<Entry>,
    /// The same, if the fast reader read it.
    short: Vec<ShortEntry>,
    /// Memory for the entries of a level-3 message; empty between two frames.
    orders: Vec<OrderEntry<'static>>,
    /// Fields that no column and no `extra` keeps, counted over all frames.
    pub unknown_fields: u64,
}

impl Decoder {
    /// Decodes one frame and hands the message, with its entries if it is of books, to `then`.
    ///
    /// # Errors
    /// [`Error::Json`], [`Error::Shape`], [`Error::Limit`] or [`Error::Decimal`]; `then` is not called in that case.
    pub fn decode<R>(
        &mut self,
        frame: &[u8],
        then: impl FnOnce(Message<'_>, Entries<'_, '_>) -> R,
    ) -> Result<R, Error> {
        if let Some((kind, data, _)) = self.book(frame) {
            let entries = Entries { levels: self.levels(), orders: &[] };
            return Ok(then(Message::Book(kind, Data::One((0, data))), entries));
        }
        if let Some((kind, data, orders)) = self.level3(frame) {
            let entries = Entries { levels: &[], orders: &orders };
            let result = then(Message::Level3(kind, Data::One((0, data))), entries);
            self.reuse(orders);
            return Ok(result);
        }
        self.decode_any(frame, then)
    }

    /// Reads a message of the book channel, the hottest of all, and its entries. `None` if it is no such message, or not in
    /// the exact layout that Kraken sends.
    #[inline]
    pub fn book<'f>(&mut self, frame: &'f [u8]) -> Option<(Kind, BookData<'f>, &[ShortEntry])> {
        self.short.clear();
        if frame.len() > limits::FRAME_MAX {
            return None;
        }
        let (kind, data) = fast::book(frame, &mut self.minute, &mut self.short)?;
        Some((kind, data, &self.short))
    }

    /// The entries of the message that [`Self::book`] read, in full width.
    pub fn levels(&mut self) -> &[Entry] {
        self.entries.clear();
        self.entries.extend(self.short.iter().map(Entry::from));
        &self.entries
    }

    /// Reads a message of the level3 channel and its orders; [`Self::reuse`] takes their memory back. `None` if it is no
    /// such message, or not in the exact layout that Kraken sends.
    #[inline]
    pub fn level3<'f>(&mut self, frame: &'f [u8]) -> Option<(Kind, BookData<'f>, Vec<OrderEntry<'f>>)> {
        if frame.len() > limits::FRAME_MAX {
            return None;
        }
        let mut orders = emptied(std::mem::take(&mut self.orders));
        if let Some((kind, data)) = fast::level3(frame, &mut self.minute, &mut orders) {
            return Some((kind, data, orders));
        }
        self.reuse(orders);
        None
    }

    /// Takes back the memory of the orders of a message.
    #[inline]
    pub fn reuse(&mut self, orders: Vec<OrderEntry<'_>>) {
        self.orders = emptied(orders);
    }

    /// As [`Self::decode`], with the general reader only. The result must be the same.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_any<R>(
        &mut self,
        frame: &[u8],
        then: impl FnOnce(Message<'_>, Entries<'_, '_>) -> R,
    ) -> Result<R, Error> {
        self.entries.clear();
        self.parser.read(frame, |nodes, base, numbers| {
            let orders = emptied(std::mem::take(&mut self.orders));
            let mut reader = TapeReader::new(nodes, base, numbers, &mut self.entries, orders);
            let message = reader.message();
            let (orders, unknown) = (reader.orders, reader.unknown);
            self.unknown_fields += unknown;
            let result = message.map(|message| then(message, Entries { levels: &self.entries, orders: &orders }));
            self.orders = emptied(orders);
            result
        })?
    }
}

/// The memory of a list for entries that live elsewhere: collecting nothing out of a vector keeps its allocation.
#[allow(clippy::unnecessary_filter_map, reason = "the closure makes the other lifetime")]
fn emptied<'b>(mut orders: Vec<OrderEntry<'_>>) -> Vec<OrderEntry<'b>> {
    orders.clear();
    orders.into_iter().filter_map(|_| None).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(frame: &str) -> Error {
        Decoder::default().decode(frame.as_bytes(), |_, _| ()).expect_err(frame)
    }

    /// Goal: an error names the channel, the field and the byte of the field in the frame as it was sent.
    #[test]
    fn errors_say_where() {
        let mut decoder = Decoder::default();
        let trade = |price| {
            format!(
                r#"{{"channel":"trade", "timestamp": 12.5, "type":"update","data":[{{"trade_id":7,"qty":1.5,"symbol":"\u0041/USD","price":{price}}}]}}"#
            )
        };
        for price in ["true", r#""x""#, "[1]", r#"{"a":1}"#] {
            let frame = trade(price);
            let at = frame.find("price").expect("there");
            let found = decoder.decode(frame.as_bytes(), |message, _| {
                let mut all = Vec::new();
                assert_eq!(message.each_refused(|_, refused| all.push(refused.clone())), 0);
                all
            });
            let found = found.expect("a frame whose item is refused");
            assert_eq!((found.len(), found[0].field, found[0].symbol.as_deref()), (1, "price", Some("A/USD")));
            let Error::Shape { channel, field, offset } = &found[0].error else { panic!("{:?}", found[0].error) };
            assert_eq!((&**channel, *field), ("trade", "price"));
            // Only texts and numbers have a place: of another value its field's name is the nearest.
            assert_eq!(*offset, if price == r#""x""# { at + 8 } else { at }, "{frame}");
        }
        assert_eq!(
            error(r#"{"channel":"book","type":5,"data":[]}"#),
            Error::Shape { channel: "book".into(), field: "type", offset: 25 }
        );
    }

    /// Goal: only what may have been about a book counts as that.
    #[test]
    fn what_concerns_no_book() {
        for (frame, concerns) in [
            (r#"{"foo":"bar"}"#, false),
            ("[1,2,3]", false),
            ("7", false),
            (r#"{"channel":null,"type":"update"}"#, false),
            (r#"{"channel":"trade","type":5,"data":[]}"#, false),
            (r#"{"channel":"level3","type":"update","data":{}}"#, true),
            (r#"{"channel":"book"}"#, true),
            (r#"{"method":"subscribe","success":3}"#, false),
            (r#"{"channel":"trade","#, true),
        ] {
            assert_eq!(error(frame).may_concern_books(), concerns, "{frame}");
        }
    }

    /// Goal: a frame full of odd items costs little memory, and the good ones behind them are taken.
    #[test]
    fn many_odd_items_are_counted() {
        let status = r#"{"system":"online"}"#;
        let frame = format!(r#"{{"channel":"status","type":"update","data":[{}{status}]}}"#, "0,".repeat(5000));
        let found = Decoder::default().decode(frame.as_bytes(), |message, _| {
            let Message::Status(items) = message else { panic!("a status") };
            (items.taken.len(), items.taken[0].0, items.refused.len(), items.more)
        });
        assert_eq!(found, Ok((1, 5000, limits::REFUSED_ITEMS_MAX, 5000 - limits::REFUSED_ITEMS_MAX as u64)));
    }

    /// Goal: null is as if the field were not there, in every optional field of every channel and of answers.
    #[test]
    fn null_is_absent() {
        let time = r#""2026-08-02T03:35:51.660084Z""#;
        for (with, without) in [
            (
                r#"{"channel":"status","type":"update","timestamp":null,"data":[{"system":"online","version":null,"api_version":null,"connection_id":null}]}"#.to_owned(),
                r#"{"channel":"status","type":"update","data":[{"system":"online"}]}"#.to_owned(),
            ),
            (
                r#"{"channel":"book","type":"update","data":[{"symbol":"A/USD","bids":null,"asks":null,"checksum":null,"timestamp":null}]}"#.into(),
                r#"{"channel":"book","type":"update","data":[{"symbol":"A/USD"}]}"#.into(),
            ),
            (
                format!(r#"{{"channel":"level3","type":"snapshot","data":[{{"symbol":"A/USD","bids":[{{"event":null,"order_id":"a","limit_price":1,"order_qty":2,"timestamp":{time}}}],"checksum":null,"timestamp":null}}]}}"#),
                format!(r#"{{"channel":"level3","type":"snapshot","data":[{{"symbol":"A/USD","bids":[{{"order_id":"a","limit_price":1,"order_qty":2,"timestamp":{time}}}]}}]}}"#),
            ),
            (
                r#"{"channel":"ticker","type":"update","data":[{"symbol":"A/USD","timestamp":null,"bid":null}]}"#.into(),
                r#"{"channel":"ticker","type":"update","data":[{"symbol":"A/USD"}]}"#.into(),
            ),
            (
                format!(r#"{{"channel":"ohlc","type":"update","timestamp":null,"data":[{{"symbol":"A/USD","interval":1,"interval_begin":{time},"trades":null,"open":null}}]}}"#),
                format!(r#"{{"channel":"ohlc","type":"update","data":[{{"symbol":"A/USD","interval":1,"interval_begin":{time}}}]}}"#),
            ),
            (
                r#"{"channel":"instrument","type":"update","data":{"assets":null,"pairs":[{"symbol":"A/USD","price_precision":1,"qty_precision":2,"base":null,"quote":null,"status":null,"marginable":null,"position_limit_long":null,"new":null}]}}"#.into(),
                r#"{"channel":"instrument","type":"update","data":{"pairs":[{"symbol":"A/USD","price_precision":1,"qty_precision":2}]}}"#.into(),
            ),
            (
                r#"{"method":"subscribe","success":null,"error":null,"req_id":null,"symbol":null,"time_out":null,"channel":null,"result":{"symbol":null,"channel":null,"depth":null,"warnings":null}}"#.into(),
                r#"{"method":"subscribe","result":null}"#.into(),
            ),
        ] {
            let read = |frame: &str| Decoder::default().decode(frame.as_bytes(), |message, entries| format!("{message:?} {entries:?}"));
            let found = read(&with);
            assert!(found.as_ref().is_ok_and(|text| !text.contains("Refused {")), "{with}: {found:?}");
            assert_eq!(found, read(&without), "{with}");
        }
    }
}
