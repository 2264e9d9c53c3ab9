//! The exchange's own examples, read from the folder that `KRAKPOT_DATA` names: they must give the documented checksums.
#![allow(clippy::disallowed_methods, reason = "the test reads recorded frames, where the environment says they are")]

use std::path::{Path, PathBuf};

use krakpot_core::book::level3::Orders;
use krakpot_core::book::synced::{BookMeta, Outcome, Synced};
use krakpot_core::decimal::Decimal;
use krakpot_core::session::{Options, Session};
use krakpot_core::wire::message::{Kind, OrderEntry, OrderEvent, OrderId, Side};
use krakpot_core::wire::time::parse_time;

/// The folder of recorded frames; without one the test says so and ends.
fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("KRAKPOT_DATA").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: KRAKPOT_DATA names no folder of recorded frames");
    }
    folder
}

/// Feeds every line of a file to an observing session.
fn ingest(path: &Path, options: Options) -> Session {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut session = Session::new("example", Options { passive: true, ..options });
    for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        session.receive_untimed(line);
    }
    session
}

fn told(symbol: &str, price: u8, qty: u8, depth: u16) -> Options {
    Options { precision: [(symbol.to_owned(), (price, qty))].into(), depth: Some(depth), ..Options::default() }
}

#[test]
fn documented_examples_verify() {
    let Some(data) = data() else { return };
    let examples = data.join("examples");
    let session = ingest(&examples.join("book_snapshot_worked_example_wire.json"), Options::default());
    let mut book = session.book("BTC/USD").expect("alive").clone();
    assert_eq!(book.checksum(), 3_310_070_434);

    let matic = "book_channel_page_matic_snapshot_and_update.jsonl";
    let session = ingest(&examples.join(matic), told("MATIC/USD", 4, 8, 10));
    assert_eq!((session.counts().book.ok, session.counts().book.bad), (2, 0));
    let mut book = session.book("MATIC/USD").expect("alive").clone();
    assert_eq!(book.checksum(), 2_114_181_697);

    let damaged = ingest(&examples.join("btc_2025_float_roundtrip.json"), told("BTC/USD", 1, 8, 10));
    assert_eq!(
        (damaged.counts().book.ok, damaged.counts().book.bad),
        (1, 0),
        "exponents and lost zeros are restored by the precision"
    );
}

/// The documented level-3 snapshot, its numbers bare and as strings: the documented checksum, the documented queue, and
/// one order out of its place is one too many.
#[test]
fn the_documented_level_3_snapshot_verifies() {
    let Some(data) = data() else { return };
    for file in ["l3_snapshot_worked_example_wire.json", "l3_snapshot_worked_example_strings.json"] {
        let text = std::fs::read(data.join("examples").join(file)).expect(file);
        let message: serde_json::Value = serde_json::from_slice(&text).expect(file);
        let told = &message["data"][0];
        let mut entries = Vec::new();
        for (side, name) in [(Side::Bid, "bids"), (Side::Ask, "asks")] {
            for order in told[name].as_array().expect(name) {
                let text = |field: &str| match &order[field] {
                    serde_json::Value::String(text) => text.clone(),
                    number => number.to_string(),
                };
                let number = |field| Decimal::parse(text(field).as_bytes()).expect("a number");
                entries.push(OrderEntry {
                    side,
                    event: OrderEvent::Add,
                    id: OrderId::new(order["order_id"].as_str().expect("text")).expect("an id"),
                    price: number("limit_price"),
                    qty: number("order_qty"),
                    timestamp: parse_time(text("timestamp").as_bytes()).expect("a time"),
                });
            }
        }
        assert_eq!(entries.len(), 35, "14 asks and 21 bids");
        let meta = BookMeta {
            kind: Kind::Snapshot,
            checksum: told["checksum"].as_u64().and_then(|checksum| u32::try_from(checksum).ok()),
            depth: 10,
            price_precision: 1,
            qty_precision: 8,
        };
        assert_eq!(meta.checksum, Some(1_063_832_831));
        let mut buffer = Vec::new();
        let mut synced = Synced::<Orders>::default();
        // The order of levels within a message has no meaning: in reverse it is the same book.
        for _ in 0..2 {
            assert_eq!(synced.apply(&meta, &entries, &mut buffer), Ok(Outcome::Ok), "{file}");
            entries.reverse();
        }
        let first = OrderId::new("OTCFZG-YOE2Q-LQKNM3").expect("an id");
        let book = synced.book().expect("alive");
        let third = book.find(OrderId::new("OMPHVY-IZPJ4-KOKA3P").expect("an id")).expect("in the book");
        assert_eq!((third.orders_ahead, third.qty_ahead, third.price), (2, 88_968_699 + 45_210_000, 449_394));
        assert_eq!(book.queue(Side::Bid, 449_394).next().map(|(id, ..)| id), Some(first));
        entries.iter_mut().filter(|entry| entry.id == first).for_each(|entry| entry.timestamp += 3_000_000_000);
        assert!(matches!(synced.apply(&meta, &entries, &mut buffer), Ok(Outcome::Mismatch { .. })), "{file}");
    }
}

#[test]
fn recorded_files_verify_to_the_last_checksum() {
    let Some(data) = data() else { return };
    for (file, options, expected) in [
        ("book-btcusd-d25.jsonl", Options::default(), 2052),
        ("book-xrpusd-d25.jsonl", Options::default(), 1147),
        ("book-btcusd-d10-2023-unpadded.jsonl", told("BTC/USD", 1, 8, 10), 510),
    ] {
        let session = ingest(&data.join("recorded").join(file), options);
        let counts = session.counts();
        assert_eq!((counts.book.ok, counts.book.bad, counts.unchecked, counts.errors), (expected, 0, 0, 0), "{file}");
    }
    // The negative: one precision too few and the padded digits, hence the checksum, are others.
    let session = ingest(&data.join("recorded/book-btcusd-d25.jsonl"), told("BTC/USD", 2, 8, 25));
    assert_eq!((session.counts().book.ok, session.counts().book.bad), (0, 1));
}
