//! One frame, two readers.

use std::cell::RefCell;

use krakpot_core::decimal::Decimal;
use krakpot_core::error::Error;
use krakpot_core::limits;
use krakpot_core::wire::decode::Decoder;
use krakpot_core::wire::message::{
    BookData, Data, Entries, Entry, Items, Kind, Message, Ohlc, OrderEntry, Reply, Side, Status, Ticker, Trade,
};
use krakpot_core::wire::message::{OHLC_NUMBERS, TICKER_NUMBERS};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::number::Number;

thread_local! {
    /// Serves every frame of this thread, so that what one frame leaves behind meets the next.
    static REUSED: RefCell<Decoder> = RefCell::default();
}

/// Decodes `data` and compares with `serde_json`; panics where they differ.
pub fn decode(data: &[u8]) {
    let theirs: Result<Value, _> = serde_json::from_slice(data);
    let ours = Decoder::default().decode(data, |message, entries| {
        match &theirs {
            Ok(value) => {
                message_equals(&message, entries, value);
                message.each_refused(|_, refused| refused_with_reason(&refused.error, data, value));
            }
            Err(error) => panic!("taken as {message:?}, but serde_json refuses it: {error}"),
        }
        format!("{message:?} {entries:?}")
    });
    let again =
        REUSED.with_borrow_mut(|decoder| decoder.decode(data, |message, entries| format!("{message:?} {entries:?}")));
    assert_eq!(ours, again, "a decoder that was used before says the same");
    let slowly = Decoder::default().decode_any(data, |message, entries| format!("{message:?} {entries:?}"));
    assert_eq!(ours, slowly, "the reader of the hot messages says the same");
    if let (Err(error), Ok(value)) = (&ours, &theirs) {
        refused_with_reason(error, data, value);
    }
}

/// A number of a frame, bare or as text.
fn number(value: &Value) -> Option<Number> {
    match value {
        Value::Number(number) => Number::of(&number.to_string()),
        Value::String(text) => Number::of(text),
        _ => None,
    }
}

/// With a field twice, once as null, null may come last for `serde_json`, and is as if it were not there for the core.
fn last_null(theirs: &Value) -> bool {
    theirs.is_null()
}

#[track_caller]
fn same_number(ours: Decimal, theirs: &Value) {
    if last_null(theirs) {
        return;
    }
    assert_eq!(Some(Number::of_decimal(ours)), number(theirs), "{ours:?} and {theirs}");
    // The written scale tells the precision, so it is kept.
    let text = theirs.as_str().map_or_else(|| theirs.to_string(), str::to_owned);
    if !text.contains(['e', 'E']) && text.len() < 36 {
        let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        assert_eq!(usize::from(ours.scale), decimals, "decimals of {text}");
    }
}

#[track_caller]
fn same_whole(ours: i128, theirs: &Value) {
    if last_null(theirs) {
        return;
    }
    assert_eq!(number(theirs).and_then(|n| n.scaled(0)), Some(ours), "{ours} and {theirs}");
}

#[track_caller]
fn same_time(ours: i64, theirs: &Value) {
    if last_null(theirs) {
        return;
    }
    let text = theirs.as_str().expect("a time is text");
    // The civil date of the day, by counting years.
    let (mut day, of_day) = (ours.div_euclid(86_400_000_000_000), ours.rem_euclid(86_400_000_000_000));
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut year = 1970;
    while day >= 365 + i64::from(leap(year)) {
        day -= 365 + i64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while day >= lengths[month] {
        day -= lengths[month];
        month += 1;
    }
    let second = of_day / 1_000_000_000;
    let full = format!(
        "{year:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}",
        month + 1,
        day + 1,
        second / 3600,
        second / 60 % 60,
        second % 60,
        of_day % 1_000_000_000
    );
    let written = text.trim_end_matches('Z');
    assert!(
        full.starts_with(written) && full[written.len()..].trim_start_matches('.').bytes().all(|b| b == b'0'),
        "{full} and {text}"
    );
}

#[track_caller]
fn same_text(ours: Option<&str>, theirs: &Value) {
    if !last_null(theirs) || ours.is_none() {
        assert_eq!(ours, theirs.as_str());
    }
}

/// Compares each item that was read with its counterpart. Those that were not read are counted.
#[track_caller]
fn items<T>(ours: &Items<T>, theirs: &[Value], same: impl Fn(&T, &Value)) {
    let refused = ours.refused.len() + usize::try_from(ours.more).expect("a count");
    assert_eq!(ours.taken.len() + refused, theirs.len(), "every item is taken or refused");
    let mut places: Vec<_> = ours.taken.iter().map(|(place, _)| *place).collect();
    places.extend(ours.refused.iter().map(|refused| refused.index));
    let named = places.len();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), named, "no item is both");
    for (place, item) in &ours.taken {
        same(item, &theirs[*place]);
    }
    for refused in &ours.refused {
        if let Some(symbol) = &refused.symbol {
            assert!(theirs[refused.index].get("symbol").is_some(), "{symbol} is a symbol of the item");
        }
    }
}

/// Other fields, kept as JSON: everything of `item` that `taken` does not name.
fn same_extra(extra: &str, item: &Map<String, Value>, taken: impl Fn(&str, &Value) -> bool) {
    let extra: Map<String, Value> =
        if extra.is_empty() { Map::new() } else { serde_json::from_str(extra).expect("extra is JSON") };
    for (key, value) in item.iter().filter(|(key, value)| !taken(key, value)) {
        assert_eq!(extra.get(key), Some(value), "{key} is kept in extra");
    }
}

fn message_equals(message: &Message<'_>, entries: Entries<'_, '_>, value: &Value) {
    let kind = |kind: &Kind| assert_eq!(value["type"], kind.word());
    let list = || value["data"].as_array().expect("data is a list");
    let channel = |name: &str| {
        assert_eq!(value["channel"], name);
        assert!(value.get("method").is_none_or(Value::is_null), "an answer is not a message of a channel");
    };
    match message {
        Message::Book(k, data) => {
            (channel("book"), kind(k));
            books(data, list(), |ours, theirs| book(ours, theirs, &entries.levels[ours.entries.clone()], level));
        }
        Message::Level3(k, data) => {
            (channel("level3"), kind(k));
            books(data, list(), |ours, theirs| {
                book(ours, theirs, &entries.orders[ours.entries.clone()], |entry, side, order| {
                    one_order(entry, side, order, *k);
                });
            });
        }
        Message::Trade(k, data) => {
            (channel("trade"), kind(k));
            items(data, list(), trade);
        }
        Message::Ticker(k, data) => {
            (channel("ticker"), kind(k));
            items(data, list(), ticker);
        }
        Message::Ohlc(k, time, data) => {
            (channel("ohlc"), kind(k));
            if let Some(time) = *time {
                same_time(time, &value["timestamp"]);
            }
            items(data, list(), ohlc);
        }
        Message::Instrument(k, assets, pairs) => {
            (channel("instrument"), kind(k));
            let list = |key: &str| value["data"].get(key).and_then(Value::as_array);
            if let Some(list) = list("assets") {
                items(assets, list, |ours, theirs| {
                    same_text(Some(&ours.id), &theirs["id"]);
                    same_text(Some(&ours.status), &theirs["status"]);
                });
            }
            let Some(list) = list("pairs") else { return };
            items(pairs, list, |ours, theirs| {
                same_text(Some(&ours.symbol), &theirs["symbol"]);
                same_whole(ours.price_precision.into(), &theirs["price_precision"]);
                same_whole(ours.qty_precision.into(), &theirs["qty_precision"]);
                for (name, number) in
                    [("price_increment", ours.price_increment), ("qty_min", ours.qty_min), ("cost_min", ours.cost_min)]
                {
                    if let Some(number) = number {
                        same_number(number, &theirs[name]);
                    }
                }
            });
        }
        Message::Status(data) => {
            channel("status");
            items(data, list(), status);
        }
        Message::Heartbeat => channel("heartbeat"),
        Message::Other(name) => channel(name),
        Message::Reply(ours) => reply(ours, value),
    }
}

#[track_caller]
fn books<'a>(ours: &Data<'a>, theirs: &[Value], same: impl Fn(&BookData<'a>, &Value)) {
    match ours {
        Data::One((_, data)) => {
            assert_eq!(theirs.len(), 1);
            same(data, &theirs[0]);
        }
        Data::Many(many) => items(many, theirs, same),
    }
}

fn level(entry: &Entry, side: Side, level: &Value) {
    assert_eq!(entry.side, side);
    same_number(entry.price, &level["price"]);
    same_number(entry.qty, &level["qty"]);
}

fn one_order(entry: &OrderEntry<'_>, side: Side, order: &Value, kind: Kind) {
    assert_eq!(entry.side, side);
    let event = order.get("event").and_then(Value::as_str);
    if let Some(word) = event {
        assert_eq!(entry.event.word(), word);
    }
    assert!(kind == Kind::Update || entry.event.word() == "add", "orders of a snapshot are added");
    same_text(Some(&entry.id.to_string()), &order["order_id"]);
    same_number(entry.price, &order["limit_price"]);
    same_number(entry.qty, &order["order_qty"]);
    same_time(entry.timestamp, &order["timestamp"]);
}

fn book<E>(ours: &BookData<'_>, theirs: &Value, entries: &[E], same: impl Fn(&E, Side, &Value)) {
    same_text(Some(std::str::from_utf8(ours.symbol).expect("text")), &theirs["symbol"]);
    let item = theirs.as_object().expect("an object");
    let sides = item.iter().filter_map(|(key, levels)| match key.as_str() {
        "bids" => Some((Side::Bid, levels)),
        "asks" => Some((Side::Ask, levels)),
        _ => None,
    });
    let sides: Vec<_> = sides.collect();
    if sides.iter().all(|(_, list)| list.is_array()) {
        let levels: Vec<_> = sides
            .iter()
            .flat_map(|(side, list)| list.as_array().into_iter().flatten().map(move |l| (*side, l)))
            .collect();
        assert_eq!(entries.len(), levels.len());
        for (entry, (side, level)) in entries.iter().zip(levels) {
            same(entry, side, level);
        }
    }
    let there = |key: &str| !theirs[key].is_null();
    assert!(ours.checksum.is_some() || !there("checksum"));
    assert!(ours.timestamp.is_some() || !there("timestamp"));
    if let Some(checksum) = ours.checksum {
        same_whole(checksum.into(), &theirs["checksum"]);
    }
    if let Some(time) = ours.timestamp {
        same_time(time, &theirs["timestamp"]);
    }
}

fn trade(ours: &Trade<'_>, theirs: &Value) {
    same_text(Some(ours.symbol), &theirs["symbol"]);
    same_text(Some(ours.side), &theirs["side"]);
    same_text(Some(ours.ord_type), &theirs["ord_type"]);
    same_number(ours.price, &theirs["price"]);
    same_number(ours.qty, &theirs["qty"]);
    same_whole(ours.trade_id.into(), &theirs["trade_id"]);
    same_time(ours.timestamp, &theirs["timestamp"]);
}

fn numbers(names: &[&str], ours: &[Option<Decimal>], theirs: &Value) {
    for (name, number) in names.iter().zip(ours) {
        if let Some(number) = *number {
            same_number(number, &theirs[name]);
        }
    }
}

fn ticker(ours: &Ticker<'_>, theirs: &Value) {
    same_text(Some(ours.symbol), &theirs["symbol"]);
    numbers(&TICKER_NUMBERS, &ours.numbers, theirs);
    let column = |key: &str| TICKER_NUMBERS.iter().position(|name| *name == key);
    same_extra(&ours.extra, theirs.as_object().expect("an object"), |key, value| match column(key) {
        Some(i) => ours.numbers[i].is_some() || value.is_null(),
        None => matches!(key, "symbol" | "timestamp"),
    });
}

fn ohlc(ours: &Ohlc<'_>, theirs: &Value) {
    same_text(Some(ours.symbol), &theirs["symbol"]);
    same_whole(ours.interval.into(), &theirs["interval"]);
    same_time(ours.interval_begin, &theirs["interval_begin"]);
    numbers(&OHLC_NUMBERS, &ours.numbers, theirs);
    if let Some(trades) = ours.trades {
        same_whole(trades.into(), &theirs["trades"]);
    }
    let column = |key: &str| OHLC_NUMBERS.iter().position(|name| *name == key);
    same_extra(&ours.extra, theirs.as_object().expect("an object"), |key, value| match column(key) {
        Some(i) => ours.numbers[i].is_some() || value.is_null(),
        None => matches!(key, "symbol" | "interval" | "interval_begin" | "trades"),
    });
}

fn status(ours: &Status<'_>, theirs: &Value) {
    same_text(Some(ours.system), &theirs["system"]);
    same_text(ours.version, &theirs["version"]);
    same_text(ours.api_version, &theirs["api_version"]);
    if let Some(id) = ours.connection_id {
        same_whole(id.into(), &theirs["connection_id"]);
    }
    same_extra(&ours.extra, theirs.as_object().expect("an object"), |key, _| {
        matches!(key, "system" | "version" | "api_version" | "connection_id")
    });
}

fn reply(ours: &Reply<'_>, theirs: &Value) {
    same_text(Some(ours.method), &theirs["method"]);
    same_text(ours.error, &theirs["error"]);
    let there = |key: &str| !theirs[key].is_null();
    assert!(!there("success") || ours.success == theirs["success"].as_bool());
    if let Some(id) = ours.req_id {
        same_whole(id, &theirs["req_id"]);
    }
    if let Some(time) = ours.timestamp {
        same_time(time, &theirs["time_out"]);
    }
}

/// A message as documented. Repeated fields are refused by the derived reader too.
#[derive(Deserialize)]
#[allow(dead_code, reason = "read for its shape")]
struct Frame<T> {
    channel: String,
    #[serde(rename = "type")]
    kind: String,
    data: Vec<T>,
    #[serde(default)]
    timestamp: Value,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "read for its shape")]
struct TradeItem {
    symbol: String,
    side: String,
    price: serde_json::Number,
    qty: serde_json::Number,
    ord_type: String,
    trade_id: i64,
    timestamp: String,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "read for its shape")]
struct BookItem {
    symbol: String,
    bids: Vec<BookLevel>,
    asks: Vec<BookLevel>,
    checksum: u32,
    timestamp: String,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "read for its shape")]
struct BookLevel {
    price: serde_json::Number,
    qty: serde_json::Number,
}

fn nesting(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(nesting).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(nesting).max().unwrap_or(0),
        _ => 0,
    }
}

fn any_number(value: &Value, test: &impl Fn(&Value) -> bool) -> bool {
    match value {
        Value::Array(list) => list.iter().any(|value| any_number(value, test)),
        Value::Object(fields) => fields.values().any(|value| any_number(value, test)),
        _ => test(value),
    }
}

/// JSON that the core refuses: for what it says, and never a documented message of books or trades, or an item of one.
fn refused_with_reason(error: &Error, data: &[u8], value: &Value) {
    match error {
        Error::Json { .. } => {
            assert!(nesting(value) >= limits::NESTING_MAX - 1, "valid JSON was refused: {error}");
            return;
        }
        Error::Decimal { .. } => {
            let beyond = any_number(value, &|value| match value {
                Value::Number(n) => !Number::of(&n.to_string()).is_some_and(|n| n.plain()),
                Value::String(text) => Number::of(text).is_none_or(|n| !n.plain()),
                _ => false,
            });
            assert!(beyond, "every number fits, and yet: {error}");
            return;
        }
        Error::Limit { .. } => return,
        _ => {}
    }
    documented::<BookItem>("book", error, data, value);
    documented::<TradeItem>("trade", error, data, value);
}

fn documented<'a, T: Deserialize<'a>>(channel: &str, error: &Error, data: &'a [u8], value: &Value) {
    let Ok(frame) = serde_json::from_slice::<Frame<T>>(data) else { return };
    let named = frame.channel == channel && matches!(frame.kind.as_str(), "snapshot" | "update");
    if named && value.get("method").is_none_or(Value::is_null) {
        let excused = matches!(error, Error::Shape { field: "timestamp", .. });
        assert!(excused, "a documented {channel} message was refused: {error}");
    }
}
