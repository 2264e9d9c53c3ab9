//! The level3 channel as a client meets it: what is refused, what it costs, what comes when, and that it says the same as
//! the book channel. That its messages keep a subscriber right is tested beside `OrderView`.

mod common;

use std::collections::BTreeMap;

use common::{MS, SECOND, START, texts};
use krakpot_exchange::{Endpoint, Exchange, Pace};
use serde_json::{Value, json};

const TOKEN: &str = "a token";

/// Messages that wait for a connection.
fn take(exchange: &mut Exchange, id: u64) -> Vec<Value> {
    texts(&exchange.take(id)).iter().map(|text| serde_json::from_slice(text).expect("JSON")).collect()
}

fn ask(exchange: &mut Exchange, id: u64, method: &str, params: &Value) -> Vec<Value> {
    take(exchange, id);
    exchange.receive(id, json!({"method": method, "params": params, "req_id": 3}).to_string().as_bytes());
    take(exchange, id)
}

fn symbols(exchange: &Exchange) -> Vec<String> {
    exchange.symbols().map(str::to_owned).collect()
}

/// An exchange with a token, and a connection for level 3.
fn level3(pairs: usize, rate: f64, seed: u64) -> (Exchange, u64) {
    let mut exchange = Exchange::new(pairs, rate, seed, START, true);
    exchange.allow(TOKEN, START + 900 * SECOND);
    let id = exchange.connect(Endpoint::Level3);
    (exchange, id)
}

fn of<'a>(messages: &'a [Value], channel: &str, kind: &str) -> Vec<&'a Value> {
    messages.iter().filter(|m| m["channel"] == channel && m["type"] == kind).collect()
}

/// Goal: each endpoint serves its own channels and refuses the others in Kraken's words.
#[test]
fn endpoints() {
    let (mut exchange, private) = level3(5, 1.0, 1);
    let public = exchange.connect(Endpoint::Public);
    for (id, channel, error) in [
        (public, "level3", "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com"),
        (private, "book", "Public market data subscriptions are unavailable on this endpoint. Try ws.kraken.com"),
        (private, "instrument", "Public market data subscriptions are unavailable on this endpoint. Try ws.kraken.com"),
        (private, "trade", "Public market data subscriptions are unavailable on this endpoint. Try ws.kraken.com"),
        (private, "executions", "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com"),
        (private, "boo", "Subscription name invalid"),
    ] {
        let params = json!({"channel": channel, "symbol": ["BTC/USD"], "token": TOKEN});
        let answers = ask(&mut exchange, id, "subscribe", &params);
        assert_eq!(answers.len(), 1, "{answers:?}");
        assert_eq!((&answers[0]["error"], &answers[0]["success"]), (&json!(error), &json!(false)), "{channel}");
    }
}

/// Goal: without a valid token there is nothing, and the refusal has the members that were recorded; a subscription
/// outlives its token.
#[test]
fn tokens() {
    let (mut exchange, id) = level3(5, 1000.0, 1);
    let symbol = json!(["BTC/USD"]);
    let wrong = [json!({}), json!({"token": "another"}), json!({"token": 5})];
    for mut params in wrong {
        params["channel"] = json!("level3");
        params["symbol"] = symbol.clone();
        let answers = ask(&mut exchange, id, "subscribe", &params);
        assert_eq!(answers.len(), 1, "{answers:?}");
        let mut answer = answers[0].clone();
        for time in ["time_in", "time_out"] {
            assert!(answer.as_object_mut().and_then(|answer| answer.remove(time)).is_some(), "{time}");
        }
        let recorded = json!({"channel": "level3", "error": "ESession:Invalid session", "method": "subscribe", "req_id": 3,
            "status": "error", "success": false});
        assert_eq!(answer, recorded);
    }
    let params = json!({"channel": "level3", "symbol": symbol, "token": TOKEN});
    let answers = ask(&mut exchange, id, "subscribe", &params);
    let result = json!({"channel": "level3", "depth": 10, "snapshot": true, "symbol": "BTC/USD"});
    assert_eq!(answers[0]["result"], result);
    exchange.advance(START + 901 * SECOND, usize::MAX, 0);
    let lived = take(&mut exchange, id);
    let last = of(&lived, "level3", "update").pop().expect("updates")["data"][0]["timestamp"].to_string();
    assert!(last.as_str() > "\"2026-08-02T03:50:51", "15 minutes later it lives: {last}");
    let late =
        ask(&mut exchange, id, "subscribe", &json!({"channel": "level3", "symbol": ["ETH/USD"], "token": TOKEN}));
    assert_eq!(late[0]["error"], "ESession:Invalid session", "too old for a new one");
}

/// Goal: depths are 10, 100 and 1000, one a symbol; pairs that do not exist are named; unsubscribing ends it.
#[test]
fn subscriptions() {
    let (mut exchange, id) = level3(5, 1000.0, 1);
    let params =
        |symbol: &str, depth: usize| json!({"channel": "level3", "symbol": [symbol], "depth": depth, "token": TOKEN});
    for (params, error) in [
        (params("BTC/USD", 25), "Subscription depth not supported"),
        (params("XBT/USD", 10), "Currency pair not supported XBT/USD"),
        (json!({"channel": "level3", "token": TOKEN}), "Pair field must be an array"),
    ] {
        assert_eq!(ask(&mut exchange, id, "subscribe", &params)[0]["error"], error);
    }
    assert_eq!(ask(&mut exchange, id, "subscribe", &params("BTC/USD", 10))[0]["success"], true);
    assert_eq!(ask(&mut exchange, id, "subscribe", &params("BTC/USD", 100))[0]["error"], "Already subscribed");
    exchange.advance(START + SECOND, usize::MAX, 0);
    let lived = take(&mut exchange, id);
    assert_eq!(of(&lived, "level3", "snapshot").len(), 1);
    assert!(of(&lived, "level3", "update").len() > 10, "awake");
    let gone = ask(&mut exchange, id, "unsubscribe", &params("BTC/USD", 10));
    assert_eq!(gone[0]["result"], json!({"channel": "level3", "depth": 10, "symbol": "BTC/USD"}));
    exchange.advance(START + 2 * SECOND, usize::MAX, 0);
    assert!(take(&mut exchange, id).iter().all(|message| message["channel"] == "heartbeat"));
    let again = params("BTC/USD", 1000);
    assert_eq!(ask(&mut exchange, id, "subscribe", &again)[0]["success"], true, "another depth, once it is free");
}

/// Goal: depths 10, 100 and 1000 cost 5, 25 and 100 of 200 that come again each second; more is refused, symbol by symbol.
#[test]
fn costs() {
    for (depth, many) in [(10, 40), (100, 8), (1000, 2)] {
        let (mut exchange, id) = level3(100, 1.0, 1);
        let symbols = symbols(&exchange);
        let mut accepted = 0;
        for (second, refused) in [(0, symbols.len() - many), (1, many)] {
            exchange.advance(START + second * SECOND, usize::MAX, 0);
            let count = if second == 0 { symbols.len() } else { 2 * many };
            let some = &symbols[accepted..(accepted + count).min(symbols.len())];
            let params = json!({"channel": "level3", "symbol": some, "depth": depth, "token": TOKEN});
            let answers = ask(&mut exchange, id, "subscribe", &params);
            let errors = answers.iter().filter(|a| a["error"] == "EGeneral:Rate limit exceeded").count();
            let good = answers.iter().filter(|a| a["success"] == true).count();
            assert_eq!((good, errors), (many, refused.min(some.len() - many)), "depth {depth}, second {second}");
            accepted += good;
        }
    }
}

/// Goal: no connection has more than 200 symbols of level 3.
#[test]
fn two_hundred_symbols() {
    let (mut exchange, id) = level3(250, 1.0, 1);
    let symbols = symbols(&exchange);
    let mut errors = 0;
    for (second, some) in (1..).zip(symbols.chunks(40)) {
        exchange.advance(START + second * SECOND, usize::MAX, 0);
        let params = json!({"channel": "level3", "symbol": some, "depth": 10, "token": TOKEN});
        let answers = ask(&mut exchange, id, "subscribe", &params);
        errors += answers.iter().filter(|a| a["error"] == "EGeneral:Subscription limit exceeded").count();
    }
    assert_eq!(errors, 50);
}

/// Goal: a level3 message has the members of a recorded one, in their order; ids keep their form; snapshot entries have no
/// event; deletes have the message's time.
#[test]
fn the_text_of_messages() {
    let (mut exchange, id) = level3(3, 1000.0, 1);
    let params = json!({"channel": "level3", "symbol": ["BTC/USD"], "token": TOKEN});
    ask(&mut exchange, id, "subscribe", &params);
    exchange.advance(START + SECOND, usize::MAX, 0);
    let block = String::from_utf8_lossy(&exchange.take(id)).into_owned();
    let snapshot = "{\"channel\":\"level3\",\"type\":\"snapshot\",\"data\":[{\"checksum\":";
    let update = snapshot.replace("snapshot", "update");
    assert!(block.contains(snapshot) && block.contains(&update));
    let delete = block.split("{\"event\":\"delete\",\"order_id\":\"O").nth(1).expect("a delete").split('}').next();
    let delete = delete.expect("its end");
    assert!(delete[18..].starts_with("\",\"limit_price\":"), "{delete}");
    assert!(delete.contains(",\"order_qty\":") && delete.contains(",\"timestamp\":\"2026-08-02T03:35:51."), "{delete}");
    let (mut exchange, id) = level3(3, 1000.0, 1);
    ask(&mut exchange, id, "subscribe", &params);
    exchange.advance(START + SECOND, usize::MAX, 0);
    let messages = take(&mut exchange, id);
    let sides = |m: &Value| ["bids", "asks"].map(|s| m["data"][0][s].as_array().expect("entries").clone()).concat();
    let snapshot = sides(of(&messages, "level3", "snapshot")[0]);
    assert!(snapshot.len() >= 20 && snapshot.iter().all(|entry| entry.get("event").is_none()));
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for message in of(&messages, "level3", "update") {
        for entry in sides(message) {
            let event = entry["event"].as_str().expect("an event").to_owned();
            assert!(event != "delete" || entry["timestamp"] == message["data"][0]["timestamp"]);
            *kinds.entry(event).or_default() += 1;
        }
    }
    assert_eq!(kinds.keys().collect::<Vec<_>>(), ["add", "delete", "modify"], "{kinds:?}");
}

/// Subscribes book and level3 of all symbols and lets time pass; what came of each, and the log.
fn both(book: Pace, level3_pace: Pace, seed: u64, seconds: i64) -> (Vec<Value>, Vec<Value>, String) {
    let (mut exchange, orders) = level3(8, 3000.0, seed);
    exchange.set_paces(book, level3_pace);
    let books = exchange.connect(Endpoint::Public);
    let symbols = symbols(&exchange);
    for (id, channel) in [(orders, "level3"), (books, "book")] {
        let params = json!({"channel": channel, "symbol": symbols, "depth": 100, "token": TOKEN});
        exchange.receive(id, json!({"method": "subscribe", "params": params}).to_string().as_bytes());
    }
    exchange.advance(START + seconds * SECOND, usize::MAX, 7);
    let (books, orders) = (take(&mut exchange, books), take(&mut exchange, orders));
    (books, orders, String::from_utf8(exchange.take_log()).expect("text"))
}

fn times(messages: &[Value], channel: &str) -> Vec<(String, String)> {
    of(messages, channel, "update")
        .iter()
        .map(|m| &m["data"][0])
        .map(|d| {
            (
                d["symbol"].as_str().expect("a symbol").to_owned(),
                d["timestamp"].as_str().expect("a time")[..26].to_owned(),
            )
        })
        .collect()
}

/// Goal: the same seed, requests and times give the same bytes, jitter included; another seed gives others.
#[test]
fn deterministic() {
    let pace = Pace { delay: 5 * MS, jitter: 3 * MS, conflate: 10 * MS };
    let run = |seed| both(pace, pace, seed, 1);
    let (one, other) = (run(5), run(6));
    assert_eq!(one, run(5));
    assert_ne!(one.0, other.0);
    assert_ne!(one.1, other.1);
}

/// Goal: both channels name the same states: every book message within the window has the microsecond of a level3 one.
#[test]
fn the_same_moments() {
    let (books, orders, _) = both(Pace::default(), Pace::default(), 2, 2);
    let (books, orders) = (times(&books, "book"), times(&orders, "level3"));
    assert!(books.len() > 1000, "awake: {}", books.len());
    let orders: std::collections::BTreeSet<_> = orders.into_iter().collect();
    assert!(books.iter().all(|time| orders.contains(time)));
}

/// Goal: delay and jitter shift when frames leave, by as much as was asked for, and change neither what is said nor its
/// order; the log and nothing else tells it.
#[test]
fn delayed() {
    let pace = Pace { delay: 5 * MS, jitter: 2 * MS, conflate: 0 };
    let (prompt, prompt_orders, _) = both(Pace::default(), Pace::default(), 3, 2);
    let (late, orders, log) = both(pace, Pace::default(), 3, 2);
    assert_eq!(orders, prompt_orders, "the other channel is as before");
    let (late, prompt) = (times(&late, "book"), times(&prompt, "book"));
    assert!(late.len() > 1000 && late.len() < prompt.len(), "the last are on their way");
    assert_eq!(late, prompt[..late.len()]);
    let sent: Vec<i64> = log
        .lines()
        .map(|line| line.split(',').collect::<Vec<_>>())
        .filter(|fields| fields[3] == "book")
        .map(|fields| fields[6].parse().expect("a time"))
        .collect();
    let snapshots = sent.len() - late.len();
    assert_eq!(snapshots, 8);
    assert!(sent.is_sorted());
    let lag: Vec<i64> = sent[snapshots..]
        .iter()
        .zip(&late)
        .filter_map(|(sent, (_, time))| {
            let second: f64 = time[17..].parse().expect("seconds");
            #[allow(clippy::cast_possible_truncation, reason = "microseconds of a minute")]
            let made = START - 51 * SECOND + (second * 1e6).round() as i64 * 1000;
            (made > START + SECOND).then_some(sent - made)
        })
        .collect();
    let (least, most) = (lag.iter().min().expect("some"), lag.iter().max().expect("some"));
    assert!(lag.len() > 500 && *least >= 5 * MS && *most <= 7 * MS && most - least > MS, "{least} {most}");
}

/// Goal: a delayed connection stays in order: the ack of an unsubscription comes behind the last book message.
#[test]
fn nothing_overtakes() {
    let mut exchange = Exchange::new(3, 3000.0, 1, START, false);
    exchange.set_paces(Pace { delay: 50 * MS, ..Pace::default() }, Pace::default());
    let id = exchange.connect(Endpoint::Public);
    let params = json!({"channel": "book", "symbol": ["BTC/USD"]});
    ask(&mut exchange, id, "subscribe", &params);
    exchange.advance(START + SECOND, usize::MAX, 0);
    assert!(ask(&mut exchange, id, "unsubscribe", &params).is_empty(), "the ack waits");
    exchange.advance(START + 2 * SECOND, usize::MAX, 0);
    let rest = take(&mut exchange, id);
    let ack = rest.iter().position(|m| m["method"] == "unsubscribe").expect("an ack");
    assert!(ack > 3, "awake: {ack}");
    assert!(rest[ack..].iter().all(|message| message["channel"] != "book"));
}

/// Goal: a conflated channel has fewer messages, none sooner after another of its symbol than asked for, and the checksums
/// that the other channel's prompt messages have at the same times.
#[test]
fn conflated() {
    let pace = Pace { conflate: 20 * MS, ..Pace::default() };
    for (book, level3) in [(pace, Pace::default()), (Pace::default(), pace)] {
        let (books, orders, _) = both(book, level3, 4, 3);
        let (prompt, prompt_orders, _) = both(Pace::default(), Pace::default(), 4, 3);
        for (channel, slow, fast, pace) in [("book", books, prompt, book), ("level3", orders, prompt_orders, level3)] {
            let sums = |messages: &[Value]| -> BTreeMap<(String, String), Value> {
                let sums: Vec<Value> =
                    of(messages, channel, "update").iter().map(|m| m["data"][0]["checksum"].clone()).collect();
                times(messages, channel).into_iter().zip(sums).collect()
            };
            let (slow, fast) = (sums(&slow), sums(&fast));
            if pace.conflate == 0 {
                assert_eq!(slow, fast);
                continue;
            }
            assert!(slow.len() > 100 && slow.len() * 2 < fast.len(), "awake: {} of {}", slow.len(), fast.len());
            // A message whose last step changed nothing within the window has no prompt twin.
            let same: Vec<bool> =
                slow.iter().filter_map(|(key, sum)| fast.get(key).map(|other| other == sum)).collect();
            assert!(same.len() > 100 && same.iter().all(|same| *same), "{channel}");
        }
    }
}
