//! The exchange as a client meets it: rates, the order of messages, requests and their answers.

mod common;

use common::{MS, SECOND, START, texts};
use krakpot_exchange::{Endpoint, Exchange, PAIRS_MAX};
use serde_json::{Value, json};

/// Messages that wait for a connection.
fn read(exchange: &mut Exchange, id: u64) -> Vec<Value> {
    texts(&exchange.take(id)).iter().map(|text| serde_json::from_slice(text).expect("JSON")).collect()
}

fn messages(exchange: &Exchange) -> u64 {
    exchange.summary()["messages"].as_u64().expect("a number")
}

/// Number of snapshots in a list of messages.
fn snapshots(messages: &[Value]) -> usize {
    messages.iter().filter(|message| message["type"] == "snapshot").count()
}

fn full(exchange: &mut Exchange, depth: usize) -> u64 {
    let id = exchange.connect(Endpoint::Public);
    let symbols: Vec<String> = exchange.symbols().map(str::to_owned).collect();
    for params in [
        json!({"channel": "instrument"}),
        json!({"channel": "book", "symbol": symbols, "depth": depth}),
        json!({"channel": "trade", "symbol": symbols, "snapshot": true}),
        json!({"channel": "ticker", "symbol": symbols, "event_trigger": "bbo"}),
    ] {
        exchange.receive(id, json!({"method": "subscribe", "params": params, "req_id": 7}).to_string().as_bytes());
    }
    id
}

/// Goal: a full subscription gets about the requested rate.
#[test]
fn rate_is_about_what_was_asked_for() {
    let mut exchange = Exchange::new(200, 5000.0, 1, START, false);
    let id = full(&mut exchange, 1000);
    exchange.advance(START + 2 * SECOND, usize::MAX, 0);
    exchange.take(id);
    let before = messages(&exchange);
    exchange.advance(START + 12 * SECOND, usize::MAX, 0);
    let rate = (messages(&exchange) - before) / 10;
    assert!((4500..5500).contains(&rate), "{rate}");
}

/// Goal: the same seed and requests give the same bytes; another seed gives others.
#[test]
fn deterministic() {
    let run = |seed| {
        let mut exchange = Exchange::new(50, 2000.0, seed, START, false);
        let id = full(&mut exchange, 10);
        exchange.advance(START + SECOND, usize::MAX, 0);
        exchange.take(id)
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

/// Goal: status first, acks before snapshots, snapshots before updates, heartbeats every second, growing times.
#[test]
fn order_of_messages() {
    let mut exchange = Exchange::new(20, 2000.0, 2, START, false);
    let id = full(&mut exchange, 1000);
    exchange.advance(START + 3 * SECOND + MS, usize::MAX, 0);
    let texts: Vec<Value> = read(&mut exchange, id);
    assert_eq!(texts[0]["channel"], "status");
    let is = |v: &Value, channel: &str, kind: &str| v["channel"] == channel && v["type"] == kind;
    assert!(texts.iter().filter(|v| v["success"] == true).all(|v| v["req_id"] == 7));
    assert_eq!(texts.iter().filter(|v| v["success"] == true).count(), 61);
    assert_eq!(texts.iter().filter(|v| v["channel"] == "heartbeat").count(), 3);
    for symbol in exchange.symbols() {
        let mine: Vec<&Value> = texts.iter().filter(|v| v["data"][0]["symbol"] == symbol).collect();
        let books: Vec<&&Value> = mine.iter().filter(|v| v["channel"] == "book").collect();
        assert!(is(books[0], "book", "snapshot"), "{symbol}");
        assert!(books[1..].iter().all(|v| is(v, "book", "update")), "{symbol}");
        let times: Vec<&str> = books.iter().map(|v| v["data"][0]["timestamp"].as_str().expect("a time")).collect();
        assert!(times[1..].windows(2).all(|w| w[0] < w[1]), "{symbol}");
    }
    assert!(texts.iter().filter(|v| is(v, "book", "update")).count() > 1000, "awake");
    assert!(texts.iter().any(|v| is(v, "trade", "update")), "awake");
}

/// Goal: refusals in Kraken's words, with its members.
#[test]
fn refusals() {
    let mut exchange = Exchange::new(5, 1.0, 2, START, false);
    let id = exchange.connect(Endpoint::Public);
    exchange.take(id);
    let mut ask = |text: &str| {
        exchange.receive(id, text.as_bytes());
        let answers = read(&mut exchange, id);
        assert_eq!(answers.len(), 1, "{answers:?}");
        answers[0].clone()
    };
    let book = |symbol: &str, depth: &str| {
        format!(
            r#"{{"method":"subscribe","params":{{"channel":"book","symbol":["{symbol}"],"depth":{depth}}},"req_id":3}}"#
        )
    };
    for (text, error, symbol) in [
        (book("XBT/USD", "10"), "Currency pair not supported XBT/USD", Some("XBT/USD")),
        (book("XBTUSD", "10"), "Currency pair not in ISO 4217-A3 format XBTUSD", Some("XBTUSD")),
        (book("BTC/USD", "27"), "Subscription depth not supported", None),
        (r#"{"method":"subscribe","params":{"channel":"bok"}}"#.to_owned(), "Subscription name invalid", None),
        ("[1".to_owned(), "Malformed request", None),
        (
            r#"{"method":"subscribe","params":{"channel":"executions","token":"x"}}"#.to_owned(),
            "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com",
            None,
        ),
    ] {
        let answer = ask(&text);
        assert_eq!(answer["error"], error);
        assert_eq!(answer["success"], false);
        assert_eq!(answer.get("symbol").and_then(Value::as_str), symbol, "{error}");
        assert!(answer.get("result").is_none());
    }
    assert_eq!(ask(&book("BTC/USD", "10"))["success"], true);
    assert_eq!(ask(&book("BTC/USD", "10"))["error"], "Already subscribed");
    assert_eq!(ask(&book("BTC/USD", "25"))["error"], "Already subscribed", "one depth a symbol");
    let pong = ask(r#"{"method":"ping","req_id":101}"#);
    assert_eq!(
        (pong["method"].as_str(), pong["req_id"].as_i64(), pong.get("success")),
        (Some("pong"), Some(101), None)
    );
    for symbols in [vec![], vec!["BTC/USD"; PAIRS_MAX + 1]] {
        let text = json!({"method": "subscribe", "params": {"channel": "trade", "symbol": symbols}, "req_id": 4});
        let answer = ask(&text.to_string());
        assert_eq!((&answer["error"], &answer["req_id"]), (&json!("EGeneral:Invalid arguments"), &json!(4)));
    }
    let errors: Vec<Value> = (0..200).map(|_| ask(r#"{"method":"ping"}"#)).collect();
    assert!(errors.iter().any(|v| v["error"] == "Exceeded msg rate"));
}

/// Goal: a subscription that ends before its snapshot gets none; the next one gets its own.
#[test]
fn unsubscribed_before_the_snapshot() {
    let mut exchange = Exchange::new(1, 100.0, 2, START, false);
    let id = exchange.connect(Endpoint::Public);
    for method in ["subscribe", "unsubscribe", "subscribe"] {
        let params = json!({"channel": "book", "symbol": ["BTC/USD"]});
        exchange.receive(id, json!({"method": method, "params": params}).to_string().as_bytes());
    }
    exchange.advance(START + SECOND, usize::MAX, 0);
    assert_eq!(snapshots(&read(&mut exchange, id)), 1);
}

/// Goal: snapshots of subscriptions that ended do not delay those of later ones.
#[test]
fn ended_subscriptions_delay_no_snapshot() {
    let mut exchange = Exchange::new(30, 100.0, 2, START, false);
    let id = exchange.connect(Endpoint::Public);
    let symbols: Vec<String> = exchange.symbols().map(str::to_owned).collect();
    for n in 0..99 {
        let method = if n % 2 == 0 { "subscribe" } else { "unsubscribe" };
        let params = json!({"channel": "book", "symbol": symbols});
        exchange.receive(id, json!({"method": method, "params": params}).to_string().as_bytes());
    }
    exchange.advance(START + 50 * MS + 30 * MS, usize::MAX, 0);
    assert_eq!(snapshots(&read(&mut exchange, id)), 30);
}

/// Goal: an exchange that clients connect to and leave for months does not grow.
#[test]
fn the_oldest_accounts_are_forgotten() {
    let mut exchange = Exchange::new(1, 1.0, 2, START, false);
    for _ in 0..10_002 {
        let id = exchange.connect(Endpoint::Public);
        exchange.disconnect(id);
    }
    let summary = exchange.summary();
    let connections = summary["connections"].as_array().expect("a list");
    assert_eq!((connections.len(), &connections[0]["connection"]), (10_000, &json!(2)));
}
