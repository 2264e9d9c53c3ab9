//! The protocol of a session: what it requests, what it makes of the answers, how it repairs one symbol.

use std::collections::{HashMap, HashSet};

use krakpot_core::book::checksum::crc32;
use krakpot_core::book::level2::Book;
use krakpot_core::book::level3::Orders;
use krakpot_core::book::modify_rule::ModifyRule;
use krakpot_core::decimal::Decimal;
use krakpot_core::limits;
use krakpot_core::session::{Channel, EventKind, EventSet, Options, Session};
use krakpot_core::table::ledger::LedgerKind;
use krakpot_core::table::schema::Table;
use krakpot_core::wire::message::{Entry, OrderEntry, OrderEvent, OrderId, Side};

mod layout;
mod trades;

const SECOND: i64 = 1_000_000_000;
const START: i64 = 1_785_641_750 * SECOND;

fn session(channels: &[Channel], symbols: &[&str]) -> Session {
    let symbols = symbols.iter().map(ToString::to_string).collect();
    Session::new("test", Options { channels: channels.to_vec(), symbols, ..Options::default() })
}

fn pair(symbol: &str, status: &str, price_precision: u8) -> String {
    format!(
        r#"{{"symbol":"{symbol}","base":"B","quote":"Q","status":"{status}","price_precision":{price_precision},"qty_precision":8,"qty_min":0.0001,"tick_size":0.1}}"#
    )
}

fn instrument(kind: &str, pairs: &[String]) -> String {
    format!(r#"{{"channel":"instrument","type":"{kind}","data":{{"assets":[],"pairs":[{}]}}}}"#, pairs.join(","))
}

fn ack(method: &str, channel: &str, symbol: &str, id: u64) -> String {
    format!(
        r#"{{"method":"{method}","req_id":{id},"result":{{"channel":"{channel}","symbol":"{symbol}","depth":10}},"success":true}}"#
    )
}

fn book(kind: &str, symbol: &str, price: &str, checksum: u32) -> String {
    format!(
        r#"{{"channel":"book","type":"{kind}","data":[{{"symbol":"{symbol}","bids":[{{"price":{price},"qty":1.00000000}}],"asks":[],"checksum":{checksum},"timestamp":"2026-08-02T03:35:51.660084Z"}}]}}"#
    )
}

/// The checksum of a book of one bid of 1.0 at `digits`.
fn one_bid(digits: &str) -> u32 {
    crc32(format!("{digits}100000000").as_bytes())
}

fn kinds(session: &mut Session) -> Vec<String> {
    session.take_ledger().into_iter().map(|row| row.kind.name().to_owned()).collect()
}

/// A session whose instrument snapshot has arrived, with the requests that follow.
fn begun(channels: &[Channel], pairs: &[String]) -> (Session, Vec<String>) {
    let mut session = session(channels, &["*"]);
    let first = session.requests(START);
    assert_eq!(first.len(), 1, "only the instrument channel is requested at first");
    assert!(first[0].contains(r#""channel":"instrument""#), "{first:?}");
    session.receive(instrument("snapshot", pairs).as_bytes(), START);
    let requests = session.requests(START);
    (session, requests)
}

#[test]
fn subscribes_the_chosen_symbols_of_the_instrument_channel_in_batches() {
    let pairs: Vec<_> = (0..120).map(|i| pair(&format!("S{i}/USD"), "online", 1)).collect();
    let (session, requests) = begun(&[Channel::Book], &pairs);
    assert_eq!(requests.len(), 3, "120 symbols in batches of at most {}", limits::BATCH_MAX);
    assert!(requests[0].contains(r#""depth":100"#) && requests[0].contains(r#""snapshot":true"#), "{}", requests[0]);
    assert_eq!(session.subscriptions().filter(|s| s.2 == "requested").count(), 120);
}

#[test]
fn no_more_symbols_are_asked_for_than_may_wait() {
    let pairs: Vec<_> = (0..400).map(|i| pair(&format!("S{i}/USD"), "online", 1)).collect();
    let (mut session, requests) = begun(&[Channel::Book], &pairs);
    assert_eq!(requests.len() * limits::BATCH_MAX, limits::WAITING_MAX);
    assert!(session.requests(START).is_empty(), "the window is full");
    for i in 0..50 {
        session.receive(ack("subscribe", "book", &format!("S{i}/USD"), 2).as_bytes(), START);
    }
    assert!(session.requests(START).is_empty(), "acked, but their snapshots are still to come");
    for i in 0..50 {
        session.receive(book("snapshot", &format!("S{i}/USD"), "1.0", one_bid("10")).as_bytes(), START);
    }
    assert_eq!(session.requests(START).len(), 1);
    assert_eq!(session.books_in_sync(), 50);
}

#[test]
fn patterns_exclusions_and_delisted_pairs() {
    let pairs = [pair("BTC/USD", "online", 1), pair("BTC/EUR", "online", 1), pair("ETH/USD", "delisted", 2)];
    let mut session = Session::new(
        "test",
        Options {
            channels: vec![Channel::Trade],
            symbols: vec!["*/USD".into(), "BTC/*".into()],
            exclude: vec!["*/EUR".into()],
            ..Options::default()
        },
    );
    session.requests(START);
    session.receive(instrument("snapshot", &pairs).as_bytes(), START);
    let requests = session.requests(START);
    assert_eq!(requests.len(), 1);
    assert!(requests[0].contains(r#"["BTC/USD"]"#) && requests[0].contains(r#""snapshot":false"#), "{}", requests[0]);
    // A listing while running is followed; a delisting ends with a ledger row.
    session.receive(instrument("update", &[pair("NEW/USD", "online", 3)]).as_bytes(), START);
    assert!(session.requests(START)[0].contains("NEW/USD"));
    session.receive(instrument("update", &[pair("NEW/USD", "delisted", 3)]).as_bytes(), START);
    assert_eq!(kinds(&mut session), ["listed", "delisted"]);
}

#[test]
fn a_wrong_checksum_repairs_one_symbol_and_leaves_the_others_alone() {
    let (mut session, _) = begun(&[Channel::Book], &[pair("A/USD", "online", 1), pair("B/USD", "online", 1)]);
    for symbol in ["A/USD", "B/USD"] {
        session.receive(ack("subscribe", "book", symbol, 2).as_bytes(), START);
        session.receive(book("snapshot", symbol, "1.0", one_bid("10")).as_bytes(), START);
    }
    assert_eq!((session.books_in_sync(), session.counts().book.ok), (2, 2));
    session.receive(book("update", "A/USD", "1.0", 7).as_bytes(), START);
    assert_eq!((session.books_in_sync(), session.counts().book.bad), (1, 1));
    let leave = session.requests(START);
    assert_eq!(leave.len(), 1);
    assert!(leave[0].contains("unsubscribe") && leave[0].contains(r#"["A/USD"]"#), "{leave:?}");
    assert!(session.requests(START).is_empty(), "it waits for the ack");
    session.receive(book("update", "A/USD", "1.0", 8).as_bytes(), START);
    assert_eq!(session.counts().unchecked, 1, "still of the old subscription");
    session.receive(ack("unsubscribe", "book", "A/USD", 3).as_bytes(), START);
    let again = session.requests(START);
    assert!(again[0].contains(r#""method":"subscribe""#) && again[0].contains("A/USD"), "{again:?}");
    session.receive(ack("subscribe", "book", "A/USD", 4).as_bytes(), START);
    session.receive(book("snapshot", "A/USD", "2.0", one_bid("20")).as_bytes(), START);
    assert_eq!((session.books_in_sync(), session.counts().book.ok, session.counts().errors), (2, 3, 0));
    let kinds = kinds(&mut session);
    for kind in ["mismatch", "resync", "unsubscribed", "subscribed", "snapshot"] {
        assert!(kinds.iter().any(|k| k == kind), "{kind} in {kinds:?}");
    }
}

#[test]
fn repairs_that_repeat_come_ever_more_slowly() {
    let (mut session, _) = begun(&[Channel::Book], &[pair("A/USD", "online", 1)]);
    let mut now = START;
    let mut pauses = Vec::new();
    for _ in 0..6 {
        session.receive(ack("subscribe", "book", "A/USD", 2).as_bytes(), now);
        session.receive(book("snapshot", "A/USD", "1.0", 7).as_bytes(), now);
        let from = now;
        while session.requests(now).is_empty() {
            now += SECOND / 10;
        }
        pauses.push((now - from) / SECOND);
        session.receive(ack("unsubscribe", "book", "A/USD", 3).as_bytes(), now);
        assert_eq!(session.requests(now).len(), 1);
    }
    assert_eq!(pauses, [0, 1, 2, 4, 8, 16]);
}

#[test]
fn refusals_are_told_by_symbol_and_reason() {
    let pairs = [pair("A/USD", "online", 1), pair("B/USD", "online", 1), pair("C/USD", "online", 1)];
    let (mut session, requests) = begun(&[Channel::Book, Channel::Trade], &pairs);
    assert!(requests[0].contains(r#""req_id":2"#) && requests[1].contains(r#""req_id":3"#), "{requests:?}");
    let refusal = r#"{"error":"Currency pair not supported A/USD","method":"subscribe","req_id":2,"success":false,"symbol":"A/USD"}"#;
    session.receive(refusal.as_bytes(), START);
    let refused: Vec<_> = session.take_ledger().into_iter().filter(|e| e.kind == LedgerKind::Refused).collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].symbol.as_deref(), Some("A/USD"));
    assert!(refused[0].detail.as_deref().is_some_and(|d| d.contains("Currency pair not supported")), "{refused:?}");
    // Without a symbol the number of the request tells whom it is about: all that have no answer of their own, when
    // nothing else comes.
    let depth = r#"{"error":"Subscription depth not supported","method":"subscribe","req_id":2,"success":false}"#;
    session.receive(depth.as_bytes(), START);
    assert_eq!(kinds(&mut session), [""; 0]);
    session.tick(START + 2 * SECOND);
    let refused: Vec<_> = session.take_ledger().into_iter().filter_map(|e| e.symbol).collect();
    assert_eq!(refused, ["B/USD", "C/USD"]);
    // A refusal of the rate is no refusal of the symbols.
    let rate = r#"{"error":"Exceeded msg rate","method":"subscribe","req_id":3,"success":false}"#;
    session.receive(rate.as_bytes(), START);
    session.tick(START + 2 * SECOND);
    assert!(session.requests(START + 2 * SECOND).is_empty());
    assert!(session.requests(START + 3 * SECOND)[0].contains(r#""channel":"trade""#));
    let states: Vec<_> = session.subscriptions().filter(|s| s.0 == Channel::Book).map(|s| s.2).collect();
    assert_eq!(states, ["rejected"; 3]);
}

#[test]
fn already_subscribed_means_leave_and_ask_again() {
    let (mut session, _) = begun(&[Channel::Book], &[pair("A/USD", "online", 1)]);
    let reply = r#"{"error":"Already subscribed","method":"subscribe","req_id":2,"success":false,"symbol":"A/USD"}"#;
    session.receive(reply.as_bytes(), START);
    assert!(session.requests(START)[0].contains("unsubscribe"));
}

#[test]
fn silence_is_asked_again() {
    let (mut session, _) = begun(&[Channel::Book], &[pair("A/USD", "online", 1)]);
    session.tick(START + 30 * SECOND);
    assert_eq!(kinds(&mut session), ["resync"]);
    let again = session.requests(START + 40 * SECOND);
    assert!(again[0].contains("A/USD"), "{again:?}");
    session.receive(ack("subscribe", "book", "A/USD", 3).as_bytes(), START + 40 * SECOND);
    session.tick(START + 140 * SECOND);
    assert!(session.requests(START + 180 * SECOND)[0].contains("unsubscribe"), "granted, but no snapshot came");
}

#[test]
fn bad_input_is_counted_and_the_session_goes_on() {
    let (mut session, _) = begun(&[Channel::Book], &[pair("A/USD", "online", 1)]);
    session.receive(ack("subscribe", "book", "A/USD", 2).as_bytes(), START);
    session.receive(book("snapshot", "A/USD", "1.0", one_bid("10")).as_bytes(), START);
    session.take_ledger();
    let deep = "[".repeat(100_000);
    let truncated = &book("update", "A/USD", "1.0", 1)[..80];
    let bad: [&[u8]; 12] = [
        b"",
        b"not json",
        b"{\"channel\":\"book\"}",
        b"{\"channel\":\"book\",\"type\":\"update\",\"data\":{}}",
        b"{\"channel\":\"book\",\"type\":\"update\",\"data\":[{\"symbol\":5,\"bids\":[],\"asks\":[]}]}",
        b"{\"channel\":\"trade\",\"type\":\"update\",\"data\":[{\"symbol\":\"A/USD\",\"price\":\"x\"}]}",
        b"{\"channel\":\"status\",\"type\":\"update\",\"data\":[{\"system\":\"\xff\xfe\"}]}",
        b"{\"channel\":\"book\",\"type\":\"update\",\"data\":[{\"symbol\":\"UNKNOWN/USD\",\"bids\":[],\"asks\":[],\"checksum\":1}]}",
        b"{\"a\":01}",
        b"{\"a\":1e}",
        deep.as_bytes(),
        truncated.as_bytes(),
    ];
    for frame in bad {
        session.receive(frame, START);
    }
    assert_eq!(session.counts().errors, bad.len() as u64);
    assert_eq!(session.books_in_sync(), 1, "none of them touched the book");
    let rows = session.take_ledger().iter().filter(|e| e.kind == LedgerKind::DecodeError).count();
    assert_eq!(rows, limits::ERROR_ROWS_MAX as usize, "the first of a second one by one");
    session.receive(book("update", "A/USD", "1.0", one_bid("10")).as_bytes(), START + 2 * SECOND);
    let summed: Vec<_> = session.take_ledger().into_iter().filter(|e| e.kind == LedgerKind::DecodeError).collect();
    assert_eq!(summed[0].count, Some(bad.len() as u64 - u64::from(limits::ERROR_ROWS_MAX)), "the others together");
    assert_eq!((session.books_in_sync(), session.counts().book.ok), (1, 2));
}

#[test]
fn digits_beyond_the_precision_end_the_book_and_twice_in_a_snapshot_give_the_symbol_up() {
    let (mut session, _) = begun(&[Channel::Book], &[pair("A/USD", "online", 1)]);
    session.receive(ack("subscribe", "book", "A/USD", 2).as_bytes(), START);
    session.receive(book("snapshot", "A/USD", "1.0", one_bid("10")).as_bytes(), START);
    session.receive(book("update", "A/USD", "1.05", 1).as_bytes(), START);
    assert_eq!((session.books_in_sync(), session.counts().errors), (0, 1));
    assert!(session.requests(START)[0].contains("unsubscribe"));
    for _ in 0..2 {
        session.receive(book("snapshot", "A/USD", "1.05", 1).as_bytes(), START);
    }
    assert_eq!(kinds(&mut session).last().map(String::as_str), Some("gone"));
    assert!(session.requests(START + 1000 * SECOND).is_empty(), "it does not try for ever");
}

#[test]
fn a_symbol_given_up_for_its_digits_is_asked_for_again_when_its_precision_changes() {
    let (mut session, _) = begun(&[Channel::Book], &[pair("A/USD", "online", 1)]);
    session.receive(ack("subscribe", "book", "A/USD", 2).as_bytes(), START);
    for _ in 0..2 {
        // The snapshot came before the news of the pair: on another connection it may.
        session.receive(book("snapshot", "A/USD", "1.05", 1).as_bytes(), START);
    }
    assert_eq!(kinds(&mut session).last().map(String::as_str), Some("gone"));
    session.receive(instrument("update", &[pair("A/USD", "online", 2)]).as_bytes(), START);
    assert!(session.requests(START)[0].contains(r#""method":"subscribe""#));
    session.receive(ack("subscribe", "book", "A/USD", 3).as_bytes(), START);
    session.receive(book("snapshot", "A/USD", "1.05", one_bid("105")).as_bytes(), START);
    assert_eq!(session.books_in_sync(), 1);
}

#[test]
fn a_change_of_precision_renews_the_book() {
    let (mut session, _) = begun(&[Channel::Book], &[pair("A/USD", "online", 1)]);
    session.receive(ack("subscribe", "book", "A/USD", 2).as_bytes(), START);
    session.receive(book("snapshot", "A/USD", "1.0", one_bid("10")).as_bytes(), START);
    session.receive(instrument("update", &[pair("A/USD", "online", 2)]).as_bytes(), START);
    assert_eq!(session.books_in_sync(), 0);
    assert!(session.requests(START)[0].contains("unsubscribe"));
    session.receive(ack("unsubscribe", "book", "A/USD", 3).as_bytes(), START);
    session.requests(START);
    session.receive(book("snapshot", "A/USD", "1.00", one_bid("100")).as_bytes(), START);
    assert_eq!((session.books_in_sync(), session.counts().book.ok), (1, 2));
}

fn trade(kind: &str, ids: &[i64]) -> String {
    let trade = |id| {
        format!(
            r#"{{"symbol":"A/USD","side":"buy","price":1.0,"qty":2.00000000,"ord_type":"limit","trade_id":{id},"timestamp":"2026-08-02T03:35:51.660084Z"}}"#
        )
    };
    let trades: Vec<_> = ids.iter().map(trade).collect();
    format!(r#"{{"channel":"trade","type":"{kind}","data":[{}]}}"#, trades.join(","))
}

#[test]
fn trades_of_a_reconnect_are_neither_lost_unnoticed_nor_taken_twice() {
    let (mut first, _) = begun(&[Channel::Trade], &[pair("A/USD", "online", 1), pair("OLD/USD", "online", 1)]);
    first.receive(trade("update", &[5, 6]).as_bytes(), START);
    first.end(START, "cut");
    let mut second = Session::after("second", Options { channels: vec![Channel::Trade], ..Options::default() }, &first);
    second.requests(START);
    second.receive(instrument("snapshot", &[pair("A/USD", "online", 1)]).as_bytes(), START);
    assert_eq!(kinds(&mut second), ["delisted"], "OLD/USD is no longer listed");
    let request = second.requests(START);
    assert!(request[0].contains(r#""snapshot":true"#), "the snapshot closes the gap: {request:?}");
    second.receive(trade("snapshot", &[5, 6, 7, 8]).as_bytes(), START);
    assert_eq!(second.counts().rows[Table::Trades as usize], 2);
    second.receive(trade("update", &[12]).as_bytes(), START);
    let gaps: Vec<_> = second.take_ledger().into_iter().filter(|e| e.kind == LedgerKind::TradeGap).collect();
    assert_eq!(gaps[0].detail.as_deref(), Some(r#"{"first":9,"last":11}"#));
    assert_eq!((gaps[0].count, second.counts().gaps), (Some(3), 1));
}

#[test]
fn every_hour_each_living_book_is_written_once_whether_it_moves_or_not() {
    let (mut session, _) = begun(&[Channel::Book], &[pair("A/USD", "online", 1), pair("B/USD", "online", 1)]);
    for symbol in ["A/USD", "B/USD"] {
        session.receive(ack("subscribe", "book", symbol, 2).as_bytes(), START);
        session.receive(book("snapshot", symbol, "1.0", one_bid("10")).as_bytes(), START);
    }
    let rows = |session: &Session| session.counts().rows[Table::Checkpoints as usize];
    let next_hour = (START / (3600 * SECOND) + 1) * 3600 * SECOND;
    session.receive(book("update", "A/USD", "1.0", one_bid("10")).as_bytes(), next_hour);
    assert_eq!(rows(&session), 2, "one level each: at the hour's first step, before the message is applied");
    session.tick(next_hour + SECOND);
    session.tick(next_hour + 2 * SECOND);
    assert_eq!(rows(&session), 2);
}

#[test]
fn a_subscription_is_idle_a_minute_after_its_last_data() {
    let (mut session, _) = begun(&[Channel::Book], &[pair("A/USD", "online", 1)]);
    session.receive(ack("subscribe", "book", "A/USD", 2).as_bytes(), START);
    session.receive(book("snapshot", "A/USD", "1.0", one_bid("10")).as_bytes(), START);
    let word = |session: &mut Session, now: i64| {
        session.tick(now);
        session.subscriptions().next().map(|(_, _, word, _)| word)
    };
    session.receive(book("update", "A/USD", "1.0", one_bid("10")).as_bytes(), START + 50 * SECOND);
    assert_eq!(word(&mut session, START + 100 * SECOND), Some("active"));
    assert_eq!(word(&mut session, START + 111 * SECOND), Some("idle"));
    session.receive(book("update", "A/USD", "1.0", one_bid("10")).as_bytes(), START + 112 * SECOND);
    assert_eq!(word(&mut session, START + 113 * SECOND), Some("active"));
}

#[test]
fn alive_rows_account_for_every_frame_and_row() {
    let (mut session, _) = begun(&[Channel::Book], &[pair("A/USD", "online", 1)]);
    session.receive(book("snapshot", "A/USD", "1.0", one_bid("10")).as_bytes(), START);
    session.receive(br#"{"channel":"heartbeat"}"#, START + 2 * SECOND);
    session.end(START + 3 * SECOND, "done");
    session.receive(br#"{"channel":"heartbeat"}"#, START + 4 * SECOND);
    assert_eq!(session.counts().frames, 3, "nothing is taken after the end");
    assert_eq!(session.books_in_sync(), 0);
    let rows = session.drain();
    let names: Vec<_> = rows.iter().map(|rows| rows.table.name()).collect();
    assert_eq!(names, ["book", "pairs", "ledger"]);
    assert!(session.drain().is_empty());
}

#[test]
fn unknown_channels_and_fields_are_taken_and_counted() {
    let mut session = Session::new("test", Options { passive: true, ..Options::default() });
    for i in 0..100 {
        session.receive(
            format!(r#"{{"channel":"new{i}","type":"update","data":[{{"x":[1,{{"y":null}}]}}]}}"#).as_bytes(),
            START,
        );
    }
    session.receive(
        br#"{"data":[{"unknown":1.5,"timestamp":"2026-08-02T03:35:51.660084Z","checksum":1,"asks":[],"symbol":"A/USD","bids":[]}],"type":"update","channel":"book","new":true}"#,
        START,
    );
    let counts = session.counts();
    assert_eq!((counts.errors, counts.frames, counts.unknown_fields), (0, 101, 1));
    assert!(counts.messages.len() <= limits::CHANNELS_MAX + 1, "names are bounded: {:?}", counts.messages);
}

#[test]
fn numbers_that_are_none_or_come_twice_are_refused() {
    let (mut session, _) = begun(&[Channel::Book, Channel::Ticker], &[pair("A/USD", "online", 1)]);
    session.receive(ack("subscribe", "book", "A/USD", 2).as_bytes(), START);
    session.receive(book("snapshot", "A/USD", "1.0", one_bid("10")).as_bytes(), START);
    session.receive(book("update", "A/USD", "\"\"", one_bid("10")).as_bytes(), START);
    assert_eq!((session.counts().errors, session.books_in_sync()), (1, 1), "an empty text is no number");
    let beyond = "340282366920938463463374607431768211456.5";
    let ticker = format!(
        r#"{{"channel":"ticker","type":"update","data":[{{"symbol":"A/USD","bid":0.5,"bid":{beyond},"ask":1.0}}]}}"#
    );
    session.receive(ticker.as_bytes(), START);
    assert_eq!(session.counts().errors, 2, "a field twice, whichever of the two a column can hold");
}

#[test]
fn a_crossed_book_ends_with_or_without_a_checksum() {
    let (mut session, _) = begun(&[Channel::Book], &[pair("A/USD", "online", 1)]);
    session.receive(ack("subscribe", "book", "A/USD", 2).as_bytes(), START);
    let crossed = r#"{"channel":"book","type":"snapshot","data":[{"symbol":"A/USD","bids":[{"price":2.0,"qty":1.00000000}],"asks":[{"price":1.0,"qty":1.00000000}]}]}"#;
    session.receive(crossed.as_bytes(), START);
    assert_eq!((session.books_in_sync(), session.counts().book.bad), (0, 1));
    assert!(kinds(&mut session).iter().any(|kind| kind == "crossed"));
}

#[test]
fn an_empty_symbol_is_refused_since_the_ledger_would_take_it_for_all() {
    let mut session = Session::new("test", Options { passive: true, ..Options::default() });
    session.receive(book("update", "", "1.0", 1).as_bytes(), START);
    session.receive(instrument("snapshot", &[pair("", "online", 1)]).as_bytes(), START);
    assert_eq!((session.counts().errors, session.pairs().count()), (2, 0));
    assert_eq!(kinds(&mut session), ["decode_error", "decode_error"]);
}

#[test]
fn a_precision_beyond_the_columns_ends_the_book_as_the_ledger_says() {
    let (mut session, _) = begun(&[Channel::Book], &[pair("A/USD", "online", 1)]);
    session.receive(ack("subscribe", "book", "A/USD", 2).as_bytes(), START);
    session.receive(book("snapshot", "A/USD", "1.0", one_bid("10")).as_bytes(), START);
    session.receive(instrument("update", &[pair("A/USD", "online", limits::SCALE + 1)]).as_bytes(), START);
    assert_eq!(session.books_in_sync(), 0);
    assert_eq!(kinds(&mut session).last().map(String::as_str), Some("gone"));
    assert!(session.requests(START + 1000 * SECOND).is_empty(), "it is not asked for again");
}

#[test]
fn an_answer_that_names_nothing_ends_no_book() {
    let (mut session, _) = begun(&[Channel::Book], &[pair("A/USD", "online", 1)]);
    session.receive(ack("subscribe", "book", "A/USD", 2).as_bytes(), START);
    session.receive(book("snapshot", "A/USD", "1.0", one_bid("10")).as_bytes(), START);
    let before = kinds(&mut session);
    assert!(before.contains(&"snapshot".to_owned()), "awake");
    session.receive(br#"{"method":"unsubscribe","result":{},"success":true}"#, START);
    session.receive(br#"{"method":"subscribe","result":{},"success":true}"#, START);
    assert_eq!(session.books_in_sync(), 1);
    assert!(kinds(&mut session).is_empty());
}

#[test]
fn an_ack_settles_its_symbol_and_refusals_without_a_symbol_the_others() {
    let refusal = r#"{"error":"Currency pair not supported","method":"subscribe","req_id":2,"success":false}"#;
    let ack = ack("subscribe", "book", "B/USD", 2);
    for order in [[&*ack, refusal, refusal], [refusal, &*ack, refusal], [refusal, refusal, &*ack]] {
        let pairs = ["A/USD", "B/USD", "C/USD"].map(|name| pair(name, "online", 1));
        let (mut session, _) = begun(&[Channel::Book], &pairs);
        for answer in order {
            session.receive(answer.as_bytes(), START);
        }
        session.receive(book("snapshot", "B/USD", "1.0", one_bid("10")).as_bytes(), START);
        let states: Vec<_> = session.subscriptions().map(|(_, name, state, _)| (name.to_owned(), state)).collect();
        let state = |at: usize| (states[at].0.as_str(), states[at].1);
        assert_eq!([state(0), state(1), state(2)], [("A/USD", "rejected"), ("B/USD", "active"), ("C/USD", "rejected")]);
        let refused: Vec<_> = session
            .take_ledger()
            .into_iter()
            .filter(|row| row.kind == LedgerKind::Refused)
            .filter_map(|row| row.symbol)
            .collect();
        assert_eq!(refused, ["A/USD", "C/USD"], "{order:?}");
        session.tick(START + 30 * SECOND);
        assert!(session.requests(START + 30 * SECOND).is_empty(), "nothing is requested again");
        assert_eq!(session.books_in_sync(), 1);
    }
}

#[test]
fn json_that_is_no_message_touches_no_book() {
    let (mut session, _) = begun(&[Channel::Book], &[pair("A/USD", "online", 1)]);
    session.receive(ack("subscribe", "book", "A/USD", 2).as_bytes(), START);
    session.receive(book("snapshot", "A/USD", "1.0", one_bid("10")).as_bytes(), START);
    session.take_ledger();
    for n in 0..10 {
        let frame = if n % 2 == 0 { r#"{"foo":"bar"}"# } else { "[1,2,3]" };
        session.receive(frame.as_bytes(), START + n * SECOND / 2);
        session.tick(START + n * SECOND / 2);
    }
    let rows = kinds(&mut session);
    assert_eq!(rows, vec!["decode_error"; 10]);
    assert!(session.requests(START + 5 * SECOND).is_empty());
    assert_eq!(session.books_in_sync(), 1);
    // What may have been about a book is another thing.
    session.receive(br#"{"channel":"book","type":"upd"#, START + 6 * SECOND);
    assert!(kinds(&mut session).contains(&"doubt".to_owned()));
}

#[test]
fn symbols_with_a_given_precision_need_no_instrument_snapshot() {
    let precision = [("A/USD".to_owned(), (1, 8)), ("UNNAMED/USD".to_owned(), (1, 8))].into();
    let symbols = vec!["A/USD".to_owned(), "B/USD".to_owned()];
    let channels = vec![Channel::Book];
    let mut session = Session::new("test", Options { channels, symbols, precision, ..Options::default() });
    assert!(session.requests(START)[0].contains("instrument"));
    session.tick(START + 10 * SECOND);
    assert!(session.requests(START + 10 * SECOND).is_empty(), "it may still come");
    session.tick(START + 11 * SECOND);
    let requests = session.requests(START + 11 * SECOND);
    assert_eq!(requests.len(), 1);
    assert!(requests[0].contains(r#""symbol":["A/USD"]"#), "named, and with a precision: {requests:?}");
    let told: Vec<_> = session.take_ledger().into_iter().map(|row| (row.kind, row.symbol)).collect();
    assert_eq!(told, [(LedgerKind::Listed, Some("A/USD".to_owned()))]);
    session.receive(ack("subscribe", "book", "A/USD", 2).as_bytes(), START + 12 * SECOND);
    session.receive(book("snapshot", "A/USD", "1.0", one_bid("10")).as_bytes(), START + 12 * SECOND);
    assert_eq!((session.books_in_sync(), session.subscription_counts().selected), (1, 1));
    // The instrument channel is requested again, and the ledger says so.
    session.receive(br#"{"channel":"heartbeat"}"#, START + 61 * SECOND);
    session.tick(START + 61 * SECOND);
    assert!(session.requests(START + 61 * SECOND)[0].contains("instrument"));
    assert!(session.take_ledger().iter().any(|row| row.channel.as_deref() == Some("instrument")));
}

#[test]
fn a_gap_lasts_until_data_of_its_channel_comes() {
    let channels = [Channel::Book, Channel::Trade, Channel::Ticker];
    let (mut first, _) = begun(&channels, &[pair("A/USD", "online", 1)]);
    first.receive(ack("subscribe", "book", "A/USD", 2).as_bytes(), START);
    first.receive(book("snapshot", "A/USD", "1.0", one_bid("10")).as_bytes(), START + SECOND);
    first.end(START + 2 * SECOND, "cut");
    let mut second = Session::after("second", Options { channels: channels.to_vec(), ..Options::default() }, &first);
    let mut gaps = Vec::new();
    let mut take = |session: &mut Session| {
        let rows = session.take_ledger().into_iter().filter(|row| row.kind == LedgerKind::Gap);
        gaps.extend(rows.map(|row| (row.channel.unwrap_or_default(), row.ts_from, row.ts_to, row.detail)));
    };
    let at = |seconds: i64| START + seconds * SECOND;
    second.requests(at(9));
    second.receive(instrument("snapshot", &[pair("A/USD", "online", 1)]).as_bytes(), at(9));
    second.requests(at(9));
    second.receive(ack("subscribe", "book", "A/USD", 2).as_bytes(), at(10));
    take(&mut second);
    second.receive(book("snapshot", "A/USD", "1.0", one_bid("10")).as_bytes(), at(11));
    second.receive(ack("subscribe", "trade", "A/USD", 3).as_bytes(), at(12));
    // The ticker never answers: its gap ends with the session.
    second.end(at(20), "cut");
    take(&mut second);
    let detail = Some(r#"{"reason":"not connected","previous":"test"}"#.to_owned());
    let gap = |channel: &str, to| (channel.to_owned(), Some(at(1)), Some(at(to)), detail.clone());
    assert_eq!(gaps, [gap("book", 11), gap("trade", 12), gap("ticker", 20)]);
}

#[test]
fn nothing_piles_up_that_nobody_wants() {
    let options = Options { rows: false, ledger: false, channels: vec![Channel::Book], ..Options::default() };
    let mut session = Session::new("test", options);
    session.requests(START);
    session.receive(instrument("snapshot", &[pair("A/USD", "online", 1)]).as_bytes(), START);
    session.requests(START);
    session.receive(ack("subscribe", "book", "A/USD", 2).as_bytes(), START);
    session.receive(book("snapshot", "A/USD", "1.0", one_bid("10")).as_bytes(), START);
    for n in 0..100 {
        session.receive(book("update", "A/USD", "1.0", one_bid("10")).as_bytes(), START + n * SECOND);
        session.tick(START + n * SECOND);
    }
    assert_eq!((session.pending_rows(), session.take_ledger(), session.take_events()), (0, vec![], vec![]));
    assert_eq!((session.counts().book.ok, session.books_in_sync()), (101, 1));
    session.collect(true, true);
    session.receive(book("update", "A/USD", "1.0", one_bid("10")).as_bytes(), START + 100 * SECOND);
    assert!(session.pending_rows() > 0);
}

#[test]
fn symbols_are_selected_and_deselected_while_it_runs() {
    let pairs = ["A/USD", "B/USD", "C/USD"].map(|name| pair(name, "online", 1));
    let mut session = session(&[Channel::Book, Channel::Ticker], &["A/USD"]);
    session.requests(START);
    session.receive(instrument("snapshot", &pairs).as_bytes(), START);
    assert_eq!(session.requests(START).len(), 2);
    for channel in ["book", "ticker"] {
        session.receive(ack("subscribe", channel, "A/USD", 2).as_bytes(), START);
    }
    session.receive(book("snapshot", "A/USD", "1.0", one_bid("10")).as_bytes(), START);
    // B comes, with its book alone; A goes.
    let of_channels: HashMap<_, _> = [(Channel::Ticker, vec!["A/*".to_owned()])].into();
    session.take_ledger();
    session.select(START, vec!["B/USD".into()], vec![], of_channels.clone());
    // At once, whether the requests may leave yet or not; and it is no gap.
    let told = |session: &Session| -> Vec<_> {
        let of_a = session.subscriptions().filter(|told| told.1 == "A/USD");
        of_a.map(|told| (told.0.name().to_owned(), told.2, told.3)).collect()
    };
    let leaving = ["book", "ticker"].map(|name| (name.to_owned(), "unsubscribing", "no longer selected"));
    assert_eq!((session.books_in_sync(), told(&session)), (0, leaving.to_vec()));
    session.select(START, vec!["B/USD".into()], vec![], of_channels);
    let rows: Vec<_> = session.take_ledger().into_iter().map(|row| (row.kind, row.symbol, row.detail)).collect();
    let left = (LedgerKind::Unsubscribed, Some("A/USD".into()), Some(r#"{"reason":"no longer selected"}"#.into()));
    assert_eq!(rows, [left.clone(), left]);
    assert_eq!(session.counts().gaps, 0);
    let requests = session.requests(START);
    assert_eq!(requests.len(), 3, "{requests:?}");
    assert!(requests[..2].iter().all(|request| request.contains("unsubscribe") && request.contains("A/USD")));
    assert!(requests[2].contains(r#""channel":"book","symbol":["B/USD"]"#), "{requests:?}");
    assert_eq!(session.books_in_sync(), 0);
    for channel in ["book", "ticker"] {
        session.receive(ack("unsubscribe", channel, "A/USD", 4).as_bytes(), START);
    }
    assert!(session.requests(START).is_empty(), "it is not subscribed again");
    let counts = session.subscription_counts();
    assert_eq!((counts.selected, counts.waiting, counts.subscribed), (1, 1, 0));
}

#[test]
fn what_was_deselected_and_is_selected_again_has_no_gap() {
    let mut session = session(&[Channel::Book, Channel::Trade], &["*"]);
    session.want_events(EventSet::NONE.with(EventKind::Gap));
    session.requests(START);
    session.receive(instrument("snapshot", &[pair("A/USD", "online", 1)]).as_bytes(), START);
    let subscribe = |session: &mut Session, trade_id: i64| {
        session.requests(START);
        for channel in ["book", "trade"] {
            session.receive(ack("subscribe", channel, "A/USD", 2).as_bytes(), START);
        }
        session.receive(book("snapshot", "A/USD", "1.0", one_bid("10")).as_bytes(), START);
        session.receive(trade("update", &[trade_id]).as_bytes(), START);
        assert_eq!(session.books_in_sync(), 1);
    };
    subscribe(&mut session, 1);
    session.select(START, vec![], vec![], HashMap::new());
    // What was on its way brings no book back.
    session.receive(book("snapshot", "A/USD", "1.0", one_bid("10")).as_bytes(), START);
    assert_eq!(session.books_in_sync(), 0);
    session.requests(START);
    session.receive(trade("update", &[2]).as_bytes(), START);
    // One request is refused, the other one answered.
    session.receive(ack("unsubscribe", "book", "A/USD", 3).as_bytes(), START);
    let refusal =
        r#"{"method":"unsubscribe","req_id":5,"success":false,"error":"Subscription Not Found","symbol":"A/USD"}"#;
    session.receive(refusal.as_bytes(), START);
    assert_eq!(session.subscriptions().count(), 0, "not subscribed again, whatever the answer");
    session.select(START, vec!["*".into()], vec![], HashMap::new());
    subscribe(&mut session, 9);
    assert_eq!((session.take_events(), session.counts().gaps), (vec![], 0));
    // Nor where the connection is lost before the answer, and it is selected again on the next one.
    session.select(START, vec![], vec![], HashMap::new());
    session.requests(START);
    session.receive(trade("update", &[10]).as_bytes(), START);
    session.end(START, "cut");
    let options = Options { channels: vec![Channel::Book, Channel::Trade], symbols: vec![], ..Options::default() };
    let mut next = Session::after("next", options, &session);
    next.want_events(EventSet::NONE.with(EventKind::Gap));
    next.requests(START);
    next.receive(instrument("snapshot", &[pair("A/USD", "online", 1)]).as_bytes(), START);
    next.select(START, vec!["*".into()], vec![], HashMap::new());
    subscribe(&mut next, 20);
    assert_eq!(next.take_events(), []);
    let missing = next.take_ledger().into_iter().filter(|row| row.kind == LedgerKind::TradeGap);
    assert_eq!(missing.count(), 0);
}

#[test]
fn a_pair_that_left_while_the_instrument_channel_was_away_leaves_level_3_too() {
    let options = Options { channels: vec![Channel::Level3], instrument: false, ..Options::default() };
    let mut session = Session::new("level3", Options { symbols: vec!["*".into()], ..options });
    let names = ["A/USD".to_owned(), "B/USD".to_owned()];
    let [a, b] = ["A/USD", "B/USD"].map(|name| pair(name, "online", 1));
    let states = |session: &Session| session.subscriptions().map(|told| told.2).collect::<Vec<_>>();
    let (first, _) = begun(&[Channel::Book], &[a.clone(), b.clone()]);
    session.import_pairs(&first, &names, START);
    assert_eq!(states(&session), ["pending"; 2]);
    // Another connection that knows nothing yet says nothing.
    let mut second = Session::after("second", Options::default(), &first);
    second.requests(START);
    session.import_pairs(&second, &names, START);
    assert_eq!(states(&session), ["pending"; 2]);
    second.receive(instrument("snapshot", &[a]).as_bytes(), START);
    for _ in 0..2 {
        session.import_pairs(&second, &names, START);
    }
    assert_eq!(states(&session), ["pending", "removed"]);
    let gone = session.take_ledger().into_iter().filter(|row| row.kind == LedgerKind::Delisted);
    assert_eq!(gone.map(|row| row.symbol).collect::<Vec<_>>(), [Some("B/USD".into())]);
    second.receive(instrument("update", &[b]).as_bytes(), START);
    session.import_pairs(&second, &names, START);
    assert_eq!(states(&session), ["pending"; 2]);
}
