//! The account's side of the exchange, as a client sees it: answers, reports, balances, and own orders on level 3.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::needless_pass_by_value,
    clippy::unreadable_literal,
    reason = "small numbers, written as they are sent"
)]

mod common;

use std::collections::BTreeMap;

use common::{SECOND, START, texts};
use krakpot_exchange::rng::Rng;
use krakpot_exchange::settings::Settings;
use krakpot_exchange::{Endpoint, Exchange};
use serde_json::{Value, json};

const SYMBOL: &str = "BTC/USD";

/// Reads a message. In a build with other crates `serde_json` may keep the digits of numbers: here 0.10 equals 0.1.
fn read(text: &[u8]) -> Value {
    fn plain(value: Value) -> Value {
        match value {
            Value::Number(number) if number.is_f64() => json!(number.as_f64()),
            Value::Array(values) => values.into_iter().map(plain).collect(),
            Value::Object(members) => members.into_iter().map(|(name, value)| (name, plain(value))).collect(),
            other => other,
        }
    }
    plain(serde_json::from_slice(text).expect("JSON"))
}

/// An exchange, and a client of its account that hears everything.
struct Account {
    exchange: Exchange,
    client: u64,
    level3: u64,
    /// Reports and changes of balances, and the sequence of each channel.
    reports: Vec<Value>,
    entries: Vec<Value>,
    sequences: BTreeMap<String, u64>,
    /// Orders on level 3, by id: price and quantity.
    book: BTreeMap<String, (String, String)>,
    requests: u64,
}

impl Account {
    fn new(settings: &[&str], rate: f64, seed: u64) -> Self {
        let mut exchange = Exchange::new(2, rate, seed, START, false);
        let mut account = Settings::default();
        for text in settings {
            account.set(text).expect(text);
        }
        exchange.set_account(account);
        exchange.allow("token", i64::MAX);
        let client = exchange.connect(Endpoint::Private);
        let level3 = exchange.connect(Endpoint::Level3);
        let mut account = Self {
            exchange,
            client,
            level3,
            reports: Vec::new(),
            entries: Vec::new(),
            sequences: BTreeMap::new(),
            book: BTreeMap::new(),
            requests: 0,
        };
        for params in
            [json!({"channel": "executions", "snap_trades": true, "ratecounter": true}), json!({"channel": "balances"})]
        {
            let answers = account.ask("subscribe", params);
            assert_eq!(answers[0]["success"], true, "{answers:?}");
        }
        let symbol = json!([SYMBOL]);
        let params = json!({"channel": "level3", "depth": 1000, "symbol": symbol, "token": "token"});
        let request = json!({"method": "subscribe", "params": params});
        account.exchange.receive(level3, request.to_string().as_bytes());
        account.wait(1);
        account
    }

    /// Answers of a request; what else came is remembered.
    fn ask(&mut self, method: &str, mut params: Value) -> Vec<Value> {
        self.requests += 1;
        if params.get("token").is_none() {
            params["token"] = json!("token");
        }
        let request = json!({"method": method, "params": params, "req_id": self.requests});
        // Of the numbers only those of at most 15 digits are used, which a float holds.
        self.exchange.receive(self.client, request.to_string().as_bytes());
        self.hear()
    }

    fn hear(&mut self) -> Vec<Value> {
        let mut answers = Vec::new();
        for text in texts(&self.exchange.take(self.client)) {
            let message = read(&text);
            match message["channel"].as_str() {
                Some(channel @ ("executions" | "balances")) if message.get("method").is_none() => {
                    let next = if message["type"] == "snapshot" { 1 } else { self.sequences[channel] + 1 };
                    assert_eq!(message["sequence"], next, "no gap: {message}");
                    self.sequences.insert(channel.to_owned(), next);
                    let rows = message["data"].as_array().expect("rows").clone();
                    if message["type"] == "update" {
                        let list = if channel == "executions" { &mut self.reports } else { &mut self.entries };
                        list.extend(rows);
                    }
                }
                _ if message.get("method").is_some() => answers.push(message),
                _ => {}
            }
        }
        for text in texts(&self.exchange.take(self.level3)) {
            let message = read(&text);
            if message["channel"] != "level3" {
                continue;
            }
            for order in ["bids", "asks"].iter().filter_map(|side| message["data"][0][side].as_array()).flatten() {
                let id = order["order_id"].as_str().expect("an id").to_owned();
                if order["event"] == "delete" {
                    self.book.remove(&id);
                } else {
                    self.book.insert(id, (order["limit_price"].to_string(), order["order_qty"].to_string()));
                }
            }
        }
        answers
    }

    fn wait(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.exchange.advance(self.exchange.now() + SECOND, usize::MAX, 0);
            self.hear();
        }
    }

    /// Best bid and ask.
    fn best(&self) -> [f64; 2] {
        let [bids, asks] = self.exchange.book(SYMBOL, 1).expect("a book");
        [bids, asks].map(|side| side[0].0.parse().expect("a price"))
    }

    fn add(&mut self, side: &str, qty: f64, price: f64, more: Value) -> Value {
        let mut params = json!({"order_type": "limit", "side": side, "symbol": SYMBOL, "order_qty": qty});
        if price > 0.0 {
            params["limit_price"] = json!(price);
        }
        for (name, value) in more.as_object().expect("members") {
            params[name] = value.clone();
        }
        self.ask("add_order", params).remove(0)
    }

    fn id(answer: &Value) -> String {
        answer["result"]["order_id"].as_str().unwrap_or_else(|| panic!("accepted: {answer}")).to_owned()
    }

    /// Kinds of the reports of an order, in order.
    fn life(&self, id: &str) -> Vec<String> {
        let of = self.reports.iter().filter(|report| report["order_id"] == id);
        of.map(|report| report["exec_type"].as_str().expect("a kind").to_owned()).collect()
    }

    fn reason(&self, id: &str) -> String {
        let last = self.reports.iter().rfind(|report| report["order_id"] == id).expect("a report");
        last["reason"].as_str().unwrap_or_default().to_owned()
    }

    fn balances(&self) -> Value {
        self.exchange.account("balances", i64::MAX)
    }
}

/// Goal: an order that rests is reported, holds its value, is on level 3 under its own id, and is gone when cancelled.
#[test]
fn a_resting_order() {
    let mut account = Account::new(&[], 1e-6, 1);
    let price = account.best()[0] - 0.5;
    let answer = account.add("buy", 0.005, price, json!({"cl_ord_id": "kp-1", "post_only": true}));
    let id = Account::id(&answer);
    assert_eq!(answer["result"]["cl_ord_id"], "kp-1");
    assert_eq!(account.life(&id), ["pending_new", "new"]);
    let first = account.reports[0].clone();
    for (name, value) in [
        ("symbol", json!(SYMBOL)),
        ("order_qty", json!(0.005)),
        ("side", json!("buy")),
        ("order_type", json!("limit")),
        ("time_in_force", json!("GTC")),
        ("post_only", json!(true)),
        ("limit_price", json!(price)),
        ("cl_ord_id", json!("kp-1")),
        ("order_status", json!("pending_new")),
        ("fee_ccy_pref", json!("fciq")),
    ] {
        assert_eq!(first[name], value, "{name}: {first}");
    }
    assert_eq!(account.reports[1]["ratecount"], "1.0000000000");
    // price × 0.005 × 1.004, rounded up.
    let held = format!("{:.4}", (price * 0.005 * 1.004 * 1e4 - 1e-6).ceil() / 1e4);
    assert_eq!(account.balances()["USD"], json!(["100000.0000", held]));
    account.wait(1);
    assert_eq!(account.book[&id], (format!("{price:.1}"), "0.005".to_owned()), "on level 3, under the same id");
    let amended = account.ask("amend_order", json!({"cl_ord_id": "kp-1", "order_qty": 0.002})).remove(0);
    assert!(amended["result"]["amend_id"].as_str().expect("an id").starts_with('T'), "{amended}");
    assert_eq!(account.book[&id].1, "0.002", "less quantity is a modify");
    let gone = account.ask("cancel_order", json!({"cl_ord_id": ["kp-1", "kp-2"]}));
    assert_eq!((&gone[0]["result"]["cl_ord_id"], &gone[1]["error"]), (&json!("kp-1"), &json!("EOrder:Unknown order")));
    assert_eq!(account.life(&id), ["pending_new", "new", "amended", "canceled"]);
    assert_eq!(account.reason(&id), "User requested");
    assert!(!account.book.contains_key(&id));
    assert_eq!(account.balances()["USD"], json!(["100000.0000", "0.0000"]));
    assert!(account.entries.is_empty());
}

/// Goal: orders that take trade at the book's prices, publicly, with fees to the last digit; the balances are explained.
#[test]
fn takers() {
    let mut account = Account::new(&[], 1e-6, 2);
    let public = account.exchange.connect(Endpoint::Public);
    let request = json!({"method": "subscribe", "params": {"channel": "trade", "symbol": [SYMBOL], "snapshot": false}});
    account.exchange.receive(public, request.to_string().as_bytes());
    account.wait(1);
    account.exchange.take(public);
    let [_, asks] = account.exchange.book(SYMBOL, 3).expect("a book");
    let quantities: Vec<f64> = asks.iter().map(|level| level.1.parse().expect("a quantity")).collect();
    let qty = ((quantities[0] + quantities[1] / 2.0).max(0.001) * 1e8).round() / 1e8;
    let id = Account::id(&account.add("buy", qty, 0.0, json!({"order_type": "market"})));
    let life = account.life(&id);
    assert_eq!(
        (&life[..2], life.last().map(String::as_str)),
        (&["pending_new".to_owned(), "new".to_owned()][..], Some("filled"))
    );
    let trades: Vec<Value> = account.reports.iter().filter(|report| report["exec_type"] == "trade").cloned().collect();
    assert!(trades.len() > 1 && trades.iter().all(|trade| trade["liquidity_ind"] == "t"), "{trades:?}");
    let told: Vec<Value> = texts(&account.exchange.take(public))
        .iter()
        .map(|text| read(text))
        .filter(|message| message["channel"] == "trade")
        .flat_map(|message| message["data"].as_array().expect("trades").clone())
        .collect();
    let ids = |rows: &[Value]| rows.iter().map(|row| row["trade_id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&trades), ids(&told), "each fill is a public trade");
    let mut total = 0;
    for trade in &trades {
        // In units of 10^-4 USD, from texts: price has 1 decimal, quantity 8.
        let units = |name: &str, decimals: i32| {
            (trade[name].as_f64().expect("a number") * 10f64.powi(decimals)).round() as i128
        };
        let exact = units("last_price", 1) * units("last_qty", 8);
        let cost = (exact + 50_000) / 100_000;
        // 0.4 %, rounded up.
        let fee = (exact * 4 + 99_999_999) / 100_000_000;
        assert!((units("cost", 4) - cost).abs() <= i128::from(exact % 100_000 == 50_000), "{trade}");
        assert_eq!((trade["fees"][0]["qty"].as_f64().expect("a fee") * 1e4).round() as i128, fee, "{trade}");
        total += units("cost", 4) + fee;
    }
    let left = 1_000_000_000 - total;
    assert_eq!(account.balances()["USD"][0], format!("{}.{:04}", left / 10_000, left % 10_000));
    assert_eq!(account.entries.len(), trades.len() * 2);
    for (entry, trade) in account.entries.chunks(2).zip(&trades) {
        assert_eq!((&entry[0]["asset"], &entry[1]["asset"]), (&json!("BTC"), &json!("USD")));
        assert_eq!((&entry[0]["ref_id"], &entry[1]["ref_id"]), (&trade["exec_id"], &trade["exec_id"]));
    }
    let far = account.best()[1] + 1000.0;
    let id = Account::id(&account.add("buy", 0.001, far / 2.0, json!({"time_in_force": "ioc"})));
    assert_eq!(account.life(&id), ["pending_new", "new", "canceled"]);
    let id = Account::id(&account.add("buy", 1.0, account.best()[1], json!({"time_in_force": "fok"})));
    assert_eq!(account.life(&id), ["pending_new", "new", "canceled"], "there is not so much");
    let price = account.best()[1];
    let refused = account.add("buy", 0.001, price, json!({"post_only": true}));
    assert_eq!(refused["error"], "EOrder:Post only order");
    let spent =
        account.add("buy", 0.0, 0.0, json!({"order_type": "market", "cash_order_qty": 50.0, "order_qty": null}));
    let id = Account::id(&spent);
    let done = account.reports.iter().rfind(|report| report["order_id"] == id.as_str()).expect("a report");
    let cost = done["cum_cost"].as_f64().expect("a cost");
    assert!(cost > 49.99 && cost <= 50.0001, "{done}");
}

/// Goal: an average price is that of the trades, not of their costs, which are rounded: a buy never shows a worse one
/// than its limit.
#[test]
fn average_prices() {
    let mut account = Account::new(&[], 1e-6, 2);
    let limit = account.best()[1];
    // 0.0001 × the price has more decimals than a cost.
    let id = Account::id(&account.add("buy", 0.0001, limit, json!({"time_in_force": "ioc"})));
    assert_eq!(account.life(&id).last().map(String::as_str), Some("filled"));
    let of: Vec<&Value> = account.reports.iter().filter(|report| report["order_id"] == id.as_str()).collect();
    let told: Vec<&Value> = of.iter().filter_map(|report| report.get("avg_price")).collect();
    assert!(told.len() > 1, "{of:?}");
    assert!(told.iter().all(|&price| *price == json!(limit)), "{limit}: {told:?}");
    let orders = account.exchange.account("orders", i64::MAX);
    assert_eq!(orders[0]["average"], format!("{limit:.1}"));
    assert_ne!(orders[0]["cost"].as_str().map(|cost| cost.parse().ok()), Some(Some(limit * 0.0001)), "it is rounded");
}

/// Goal: own orders never trade with each other, whatever is asked for; the reports say who was cancelled.
#[test]
fn self_trades() {
    for (kind, old, new) in [
        ("cancel_newest", None, Some("canceled")),
        ("cancel_oldest", Some("canceled"), None),
        ("cancel_both", Some("canceled"), Some("canceled")),
    ] {
        let mut account = Account::new(&[], 1e-6, 3);
        let [_, asks] = account.exchange.book(SYMBOL, 1).expect("a book");
        let price = account.best()[1];
        // Behind the others, who are met first.
        let resting = Account::id(&account.add("sell", 0.001, price, json!({})));
        let qty = asks[0].1.parse::<f64>().expect("a quantity") + 0.01;
        let arriving = Account::id(&account.add("buy", qty, price, json!({"stp_type": kind})));
        let end = |id: &str| account.life(id).last().cloned().filter(|kind| kind == "canceled");
        assert_eq!((end(&resting).as_deref(), end(&arriving).as_deref()), (old, new), "{kind}");
        assert!(account.life(&arriving).iter().any(|kind| kind == "trade"));
        assert!(account.reports.iter().all(|report| report["liquidity_ind"] != "m"), "not with each other");
        assert_eq!(
            account.exchange.account("open", i64::MAX).as_array().map(Vec::len),
            Some(2 - old.map_or(0, |_| 1) - new.map_or(0, |_| 1))
        );
    }
}

/// Goal: orders that wait for a price enter the market when it trades, those that expire end, and so does all if the
/// dead-man timer is not set again.
#[test]
fn what_waits() {
    let mut account = Account::new(&[], 200.0, 4);
    account.wait(20);
    let [bid, ask] = account.best();
    let trigger = json!({"price": bid - 0.1, "reference": "last"});
    let stop = account.add("sell", 0.001, 0.0, json!({"order_type": "stop-loss", "triggers": trigger}));
    let stop = Account::id(&stop);
    let trigger = json!({"price": 1.0});
    let never = account.add("buy", 0.001, 1000.0, json!({"order_type": "take-profit-limit", "triggers": trigger}));
    let never = Account::id(&never);
    assert_eq!(account.life(&never), ["pending_new", "new"]);
    assert_eq!(account.reports[account.reports.len() - 2]["triggers"]["status"], "untriggered");
    let ends = (account.exchange.now() + 3 * SECOND) / SECOND;
    let time = format!("2026-08-02T{:02}:{:02}:{:02}Z", ends / 3600 % 24, ends / 60 % 60, ends % 60);
    let gtd = account.add("buy", 0.001, 1000.0, json!({"time_in_force": "gtd", "expire_time": time}));
    let gtd = Account::id(&gtd);
    account.wait(10);
    assert_eq!(account.life(&gtd), ["pending_new", "new", "expired"]);
    for _ in 0..300 {
        if account.life(&stop).len() > 2 {
            break;
        }
        account.wait(10);
    }
    let life = account.life(&stop);
    assert!(
        life[..4] == ["pending_new", "new", "status", "trade"] && life.last().is_some_and(|last| last == "filled"),
        "{life:?} {ask}"
    );
    let set = account.ask("cancel_all_orders_after", json!({"timeout": 5}));
    assert_eq!(set[0]["success"], true, "{set:?}");
    account.wait(3);
    account.ask("cancel_all_orders_after", json!({"timeout": 5}));
    account.wait(4);
    assert_eq!(account.life(&never), ["pending_new", "new"], "it was set again");
    account.wait(2);
    assert_eq!(account.life(&never), ["pending_new", "new", "canceled"]);
}

/// Goal: what is refused is refused in the order and the words of Kraken, and changes nothing.
#[test]
fn refusals() {
    let mut account = Account::new(&["balance.USD=100", "tier=starter"], 1e-6, 5);
    for (params, error) in [
        (json!({"token": "wrong", "fish": 1}), "Token(s) not found"),
        (json!({"limit_price": "1", "fish": 1}), "Limit_price field must be a number_float"),
        (json!({"fish": 1, "symbol": "FISH/USD"}), "Unsupported field: 'fish' for the given msg type: add_order"),
        (json!({"symbol": "FISH/USD", "side": "long"}), "Currency pair not supported FISH/USD"),
        (json!({"symbol": "BTCUSD"}), "Currency pair not in ISO 4217-A3 format BTCUSD"),
        (json!({"side": "long", "limit_price": 0}), "EGeneral:Invalid arguments:type"),
        (json!({"deadline": "2020-01-01T00:00:00Z", "limit_price": 0}), "EService:Deadline elapsed"),
        (json!({"limit_price": 0, "order_qty": 0.00000001}), "EOrder:Invalid price"),
        (json!({"limit_price": 0.05}), "EOrder:Invalid price:BTC/USD price can only be specified up to 1 decimals."),
        (json!({"order_qty": 0.00000001}), "EOrder:Order minimum not met"),
        (json!({"order_qty": 0.00001}), "EOrder:Cost minimum not met"),
        (json!({"order_qty": 1}), "EOrder:Insufficient funds"),
        (json!({"triggers": {"price": 1}}), "EGeneral:Invalid arguments:triggers"),
    ] {
        let answer = account.add("buy", 0.001, 1000.0, params.clone());
        assert_eq!((answer["error"].as_str(), &answer["success"]), (Some(error), &json!(false)), "{params}");
    }
    let known = account.add("buy", 0.001, 1000.0, json!({"validate": true}));
    assert_eq!((&known["success"], known["result"].get("order_id")), (&json!(true), None), "only looked at");
    assert!(account.reports.is_empty());
    for (method, params, error) in [
        ("amend_order", json!({"order_id": "O", "order_qty": 1}), "EOrder:Unknown order"),
        ("amend_order", json!({"order_qty": 1}), "EGeneral:Invalid arguments"),
        ("cancel_order", json!({}), "EGeneral:Invalid arguments"),
        ("cancel_all_orders_after", json!({"timeout": 86400}), "EGeneral:Invalid arguments:timeout"),
        ("batch_cancel", json!({"orders": ["O"]}), "EGeneral:Invalid arguments"),
        ("batch_add", json!({"symbol": SYMBOL, "orders": []}), "EGeneral:Invalid arguments"),
        ("fish", json!({}), "Malformed request"),
    ] {
        assert_eq!(account.ask(method, params)[0]["error"], error, "{method}");
    }
    let public = account.exchange.connect(Endpoint::Public);
    account.exchange.receive(public, br#"{"method":"cancel_all","params":{"token":"token"}}"#);
    let texts = texts(&account.exchange.take(public));
    assert!(texts.iter().any(|text| String::from_utf8_lossy(text).contains("Try ws-auth.kraken.com")));
    let old = account.ask("subscribe", json!({"channel": "executions", "token": "old"})).remove(0);
    assert_eq!((&old["error"], &old["status"]), (&json!("ESession:Invalid session"), &json!("error")));
    assert_eq!(account.ask("subscribe", json!({"channel": "executions"}))[0]["error"], "Already subscribed");
    // The fixed part of what is refused is counted: sixty fit, and fall by one a second.
    account.wait(120);
    let mut errors = Vec::new();
    for _ in 0..62 {
        let answer = account.add("buy", 1.0, 1000.0, json!({}));
        errors.push(answer["error"].as_str().expect("refused").to_owned());
    }
    assert!(errors[..60].iter().all(|error| error == "EOrder:Insufficient funds"), "{errors:?}");
    assert_eq!(errors[60..], ["EOrder:Rate limit exceeded", "EOrder:Rate limit exceeded"]);
}

/// Goal: batches are checked as a whole, then each order alone; both forms of cancelling count.
#[test]
fn batches() {
    let mut account = Account::new(&["balance.USD=1000"], 1e-6, 6);
    let order =
        |price: f64, qty: f64| json!({"order_type": "limit", "side": "buy", "order_qty": qty, "limit_price": price});
    let wrong = account.ask("batch_add", json!({"symbol": SYMBOL, "orders": [order(1000.0, 0.1), order(-1.0, 0.1)]}));
    assert_eq!(wrong[0]["error"], "EOrder:Invalid price");
    let orders = json!([order(1000.0, 0.5), order(1000.0, 0.6), order(999.0, 0.1)]);
    let made = account.ask("batch_add", json!({"symbol": SYMBOL, "orders": orders})).remove(0);
    assert_eq!(made["result"][1]["error"], "EOrder:Insufficient funds", "{made}");
    let ids = [0, 2].map(|at| made["result"][at]["order_id"].as_str().expect("made").to_owned());
    let count = account.ask("batch_cancel", json!({"orders": ids})).remove(0);
    assert_eq!((&count["orders_cancelled"], count.get("result")), (&json!(2), None));
    let id = Account::id(&account.add("buy", 0.1, 1000.0, json!({"order_userref": 7})));
    let edited = account.ask("edit_order", json!({"order_id": id, "symbol": SYMBOL, "limit_price": 1001.0})).remove(0);
    assert_eq!(edited["result"]["original_order_id"], id.as_str());
    assert_eq!(account.reason(&id), "Order replaced");
    assert_eq!(account.ask("cancel_all", json!({}))[0]["result"]["count"], 1);
    assert_eq!(account.balances()["USD"][1], "0.0000");
}

/// Goal: an iceberg is filled part by part; each new part goes to the back and is told, and level 3 shows no more.
#[test]
fn an_iceberg() {
    let mut account = Account::new(&[], 400.0, 7);
    let price = account.best()[0];
    let terms = json!({"order_type": "iceberg", "display_qty": 0.0004});
    let id = Account::id(&account.add("buy", 0.004, price, terms));
    for _ in 0..600 {
        account.wait(1);
        if let Some((_, shown)) = account.book.get(&id) {
            assert!(shown.parse::<f64>().expect("a number") <= 0.0004, "{shown}");
        }
        if account.life(&id).last().is_some_and(|last| last == "filled") {
            break;
        }
    }
    let life = account.life(&id);
    let refills = life.iter().filter(|kind| *kind == "iceberg_refill").count();
    assert!(refills > 3 && life.last().is_some_and(|last| last == "filled"), "{life:?}");
    assert!(
        account
            .reports
            .iter()
            .filter(|report| report["exec_type"] == "trade")
            .all(|report| report["liquidity_ind"] == "m")
    );
}

/// Goal: faults of requests and reports do what their lines of help say.
#[test]
fn faults() {
    let mut account = Account::new(&[], 1e-6, 8);
    let open = |account: &Account| account.exchange.account("open", i64::MAX).as_array().map_or(0, Vec::len);
    let order =
        json!({"order_type": "limit", "side": "buy", "symbol": SYMBOL, "order_qty": 0.001, "limit_price": 1000.0});
    for (fault, answers, orders, reports) in
        [("lost_request=once", 0, 0, 0), ("lost_ack=once", 0, 1, 2), ("late_ack=once,by=2s,method=add_*", 0, 2, 4)]
    {
        account.exchange.inject(fault).expect(fault);
        let got = account.ask("add_order", order.clone());
        assert_eq!((got.len(), open(&account), account.reports.len()), (answers, orders, reports), "{fault}");
    }
    account.exchange.advance(account.exchange.now() + 2 * SECOND, usize::MAX, 0);
    assert_eq!(account.hear().len(), 1, "it is late");
    account.exchange.inject("report_before_ack=once").expect("right");
    account
        .exchange
        .receive(account.client, json!({"method": "cancel_all", "params": {"token": "token"}}).to_string().as_bytes());
    let first: Value = serde_json::from_slice(&texts(&account.exchange.take(account.client))[0]).expect("JSON");
    assert_eq!(first["channel"], "executions", "reports first");
    account.exchange.inject("token_refused=once").expect("right");
    assert_eq!(account.ask("cancel_all", json!({}))[0]["error"], "Token(s) not found");
    for (fault, expected) in
        [("duplicate_report=once,channel=executions", [6u64, 7, 8]), ("sequence_gap=once,channel=exec*", [10, 11, 0])]
    {
        account.exchange.inject(fault).expect(fault);
        account.exchange.receive(account.client, json!({"method": "add_order", "params": {"token": "token", "order_type": "limit", "side": "buy", "symbol": SYMBOL, "order_qty": 0.001, "limit_price": 1000.0}}).to_string().as_bytes());
        let numbers: Vec<u64> = texts(&account.exchange.take(account.client))
            .iter()
            .filter_map(|text| serde_json::from_slice::<Value>(text).expect("JSON")["sequence"].as_u64())
            .collect();
        let from = account.sequences["executions"] + 2;
        let shifted: Vec<u64> =
            expected.iter().filter(|&&number| number > 0).map(|number| number - 6 + from + 1).collect();
        assert_eq!(numbers, shifted, "{fault}");
    }
}

/// Goal: with random requests on a moving market all that a client hears is consistent: fills add up, what ended stays so,
/// the balances are the sum of their entries, what is held belongs to open orders, and level 3 has them.
#[test]
fn random_requests() {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 0..12 {
        let mut rng = Rng::new(seed);
        let mut account = Account::new(&["tier=pro"], 60.0, seed);
        for _ in 0..120 {
            let [bid, ask] = account.best();
            let side = ["buy", "sell"][rng.below(2)];
            let away = (rng.unit() - 0.4) * 12.0;
            let price = ((if side == "buy" { ask - away } else { bid + away }) * 10.0).round() / 10.0;
            let qty = (1 + rng.below(40)) as f64 / 1e4;
            let open = account.exchange.account("open", i64::MAX);
            let open = open.as_array().expect("orders");
            let some = (!open.is_empty()).then(|| open[rng.below(open.len())]["id"].clone());
            match (rng.below(8), some) {
                (0, Some(id)) => drop(account.ask("cancel_order", json!({"order_id": [id]}))),
                (1 | 2, Some(id)) => {
                    let more = if rng.below(2) == 0 {
                        json!({"order_id": id, "order_qty": qty})
                    } else {
                        json!({"order_id": id, "limit_price": price})
                    };
                    account.ask("amend_order", more);
                }
                (3, _) => drop(account.add(side, qty, 0.0, json!({"order_type": "market"}))),
                (4, _) => {
                    let parts = 2 + rng.below(10);
                    let shown = (qty / parts as f64 * 1e8).ceil() / 1e8;
                    account.add(side, qty, price, json!({"order_type": "iceberg", "display_qty": shown}));
                }
                (kind, _) => {
                    let wait = ["gtc", "gtc", "ioc", "fok"][rng.below(4)];
                    let stp = ["cancel_newest", "cancel_oldest", "cancel_both"][rng.below(3)];
                    let post = kind == 5 && wait == "gtc";
                    account.add(side, qty, price, json!({"time_in_force": wait, "stp_type": stp, "post_only": post}));
                }
            }
            account.wait(i64::try_from(rng.below(2)).expect("small"));
        }
        check(&account);
        for report in &account.reports {
            *seen.entry(report["exec_type"].as_str().expect("a kind").to_owned()).or_default() += 1;
        }
    }
    for kind in ["pending_new", "new", "trade", "filled", "canceled", "amended", "iceberg_refill"] {
        assert!(seen.get(kind).copied().unwrap_or_default() > 10, "the test is awake: {kind} {seen:?}");
    }
}

/// Checks what a client heard.
fn check(account: &Account) {
    let units =
        |value: &Value, decimals: i32| (value.as_f64().expect("a number") * 10f64.powi(decimals)).round() as i128;
    let text = |value: &Value| value.as_str().expect("a text").replace('.', "").parse::<i128>().expect("digits");
    let mut filled: BTreeMap<&str, (i128, i128)> = BTreeMap::new();
    let mut ended: BTreeMap<&str, &str> = BTreeMap::new();
    for report in &account.reports {
        let id = report["order_id"].as_str().expect("an id");
        assert!(!ended.contains_key(id), "an order that ended says no more: {report}");
        let sums = filled.entry(id).or_default();
        match report["exec_type"].as_str().expect("a kind") {
            "trade" => {
                sums.0 += units(&report["last_qty"], 8);
                sums.1 += units(&report["cost"], 4);
                assert_eq!((units(&report["cum_qty"], 8), units(&report["cum_cost"], 4)), *sums, "{report}");
            }
            kind @ ("filled" | "canceled" | "expired") => {
                assert_eq!(units(&report["cum_qty"], 8), sums.0, "{report}");
                ended.insert(id, kind);
            }
            _ => {}
        }
    }
    let mut held = BTreeMap::from([("USD", 0i128), ("BTC", 0)]);
    let orders = account.exchange.account("orders", i64::MAX);
    for order in orders.as_array().expect("orders") {
        let id = order["id"].as_str().expect("an id");
        let (qty, done) = (text(&order["qty"]), text(&order["filled"]));
        assert!(done <= qty && filled[id].0 == done, "{order}");
        let status = order["status"].as_str().expect("a status");
        assert_eq!(ended.get(id).map_or("open", |kind| if *kind == "filled" { "closed" } else { kind }), status);
        if status != "open" {
            assert!(!account.book.contains_key(id), "{order}");
            continue;
        }
        let shown = units(&serde_json::from_str(&account.book[id].1).expect("a number"), 8);
        assert!(shown > 0 && shown <= qty - done && (order["kind"] == "iceberg" || shown == qty - done), "{order}");
        if order["side"] == "buy" {
            let value = text(&order["limit"]) * (qty - done) * 1_004_000;
            *held.entry("USD").or_default() += (value + 99_999_999_999) / 100_000_000_000;
        } else {
            *held.entry("BTC").or_default() += (qty - done) * 100;
        }
    }
    let balances = account.balances();
    for (asset, begin, decimals) in [("USD", 1_000_000_000i128, 4), ("BTC", 100_000_000_000, 10)] {
        let of = account.entries.iter().filter(|entry| entry["asset"] == asset);
        let sum: i128 = of.map(|entry| units(&entry["amount"], decimals) - units(&entry["fee"], decimals)).sum();
        assert_eq!(text(&balances[asset][0]), begin + sum, "{asset}");
        assert_eq!(text(&balances[asset][1]), held[asset], "{asset} that is held");
    }
}

/// Goal: an account without orders changes nothing for anybody else; the same requests give the same bytes.
#[test]
fn others_do_not_notice() {
    let run = |own: bool, follows: bool| {
        let mut exchange = Exchange::new(3, 500.0, 9, START, true);
        exchange.allow("token", i64::MAX);
        let public = exchange.connect(Endpoint::Public);
        let private = exchange.connect(Endpoint::Private);
        let request = json!({"method": "subscribe", "params": {"channel": "book", "symbol": [SYMBOL], "depth": 100}});
        exchange.receive(public, request.to_string().as_bytes());
        if follows {
            exchange.receive(private, br#"{"method":"subscribe","params":{"channel":"executions","token":"token"}}"#);
        }
        let mut bytes = Vec::new();
        for _ in 0..20 {
            if own {
                let params =
                    r#"{"order_type":"limit","side":"sell","symbol":"BTC/USD","order_qty":0.01,"limit_price":60000}"#;
                exchange.order("add_order", params);
            }
            exchange.advance(exchange.now() + SECOND, usize::MAX, 0);
            bytes.extend(exchange.take(public));
        }
        bytes
    };
    assert!(run(false, false) == run(false, true), "following changes nothing");
    assert!(run(false, false) != run(true, false), "own orders do");
    assert!(run(true, true) == run(true, true), "deterministic");
}

/// Goal: where Kraken is silent, each switch does what it says.
#[test]
fn switches() {
    // An amendment to more quantity keeps the place: the time on level 3 stays.
    for (setting, keeps) in [("amend_up=lose", false), ("amend_up=keep", true)] {
        let mut account = Account::new(&[setting], 1e-6, 10);
        let price = account.best()[0];
        let id = Account::id(&account.add("buy", 0.001, price, json!({})));
        account.exchange.take(account.level3);
        account.ask("amend_order", json!({"order_id": id, "order_qty": 0.0005}));
        account.ask("amend_order", json!({"order_id": id, "order_qty": 0.002}));
        assert_eq!(account.book[&id].1, "0.002");
        // The rest of the level is behind it, or before it: an order that takes the level but one unit leaves one of them.
        let [bids, _] = account.exchange.book(SYMBOL, 1).expect("a book");
        let all: f64 = bids[0].1.parse().expect("a quantity");
        assert!(all > 0.004, "others are there: {all}");
        let later = Account::id(&account.add("buy", 0.001, price, json!({})));
        account.ask("amend_order", json!({"order_id": id, "order_qty": 0.003}));
        // What others do is not known here: of the two own orders, the first in the queue is met first.
        let qty = ((all + 0.0015) * 1e8).round() / 1e8;
        let taker = account.add("sell", qty, price, json!({"stp_type": "cancel_oldest"}));
        assert_eq!(taker["success"], true);
        let canceled: Vec<&Value> = account.reports.iter().filter(|report| report["exec_type"] == "canceled").collect();
        let first = if keeps { &id } else { &later };
        assert_eq!(canceled.first().map(|report| report["order_id"].as_str().expect("an id")), Some(first.as_str()));
    }
    let mut account = Account::new(&["post_only=cancel"], 1e-6, 11);
    let price = account.best()[1];
    let id = Account::id(&account.add("buy", 0.001, price, json!({"post_only": true})));
    assert_eq!(
        (account.life(&id).last().map(String::as_str), account.reason(&id).as_str()),
        (Some("canceled"), "Post only order")
    );
    let mut account = Account::new(&["fok=fail", "unknown=ignore"], 1e-6, 12);
    let refused = account.add("buy", 1.0, price, json!({"time_in_force": "fok", "fish": 1}));
    assert_eq!(refused["error"], "EOrder:Invalid order");
    let mut account = Account::new(&["hold=maker", "ack=late"], 1e-6, 13);
    account.exchange.receive(
        account.client,
        json!({"method": "add_order", "params": {"token": "token", "order_type": "limit", "side": "buy", "symbol": SYMBOL, "order_qty": 0.1, "limit_price": 1000}}).to_string().as_bytes(),
    );
    let last: Value =
        serde_json::from_slice(texts(&account.exchange.take(account.client)).last().expect("a text")).expect("JSON");
    assert_eq!(last["method"], "add_order", "the answer is the last");
    assert_eq!(account.balances()["USD"][1], "100.2500");
    let mut counts = Vec::new();
    for setting in ["trades=order", "trades=price"] {
        let mut account = Account::new(&[setting, "fees=half_even"], 1e-6, 14);
        let [_, asks] = account.exchange.book(SYMBOL, 1).expect("a book");
        let id = Account::id(&account.add("buy", 0.9, 0.0, json!({"order_type": "market"})));
        let trades: Vec<&Value> = account.reports.iter().filter(|report| report["exec_type"] == "trade").collect();
        let best: f64 = asks[0].0.parse().expect("a price");
        counts.push((trades.len(), trades.iter().filter(|trade| trade["last_price"] == best).count()));
        for trade in &trades {
            let fee = trade["fees"][0]["qty"].as_f64().expect("a fee");
            let exact = trade["last_price"].as_f64().expect("a price")
                * trade["last_qty"].as_f64().expect("a quantity")
                * 0.004;
            assert!((fee - exact).abs() < 0.000_051, "to the nearest: {trade}");
        }
        assert_eq!(account.reports.last().map(|report| report["cum_qty"].clone()), Some(json!(0.9)), "{id}");
    }
    assert!(counts[1].0 < counts[0].0 && counts[1].1 == 1, "{counts:?}");
    let mut account = Account::new(&["threshold=at", "tier=starter"], 1e-6, 15);
    let accepted = (0..61).filter(|_| account.add("buy", 0.001, 1000.0, json!({}))["success"] == true).count();
    assert_eq!(accepted, 59, "the sixtieth reaches the threshold");
}

/// Goal: an order that is amended away from its place is a delete and an add on level 3, or one modify, as is wanted.
#[test]
fn amendments_on_level3() {
    for (setting, events) in
        [("amend_l3=order", ["delete", "add"].as_slice()), ("amend_l3=modify", ["modify"].as_slice())]
    {
        let mut account = Account::new(&[setting], 1e-6, 19);
        let price = account.best()[0];
        let id = Account::id(&account.add("buy", 0.001, price, json!({})));
        for more in [json!({"limit_price": price - 0.3}), json!({"order_qty": 0.005})] {
            let mut params = more.clone();
            params["order_id"] = json!(id);
            params["token"] = json!("token");
            let request = json!({"method": "amend_order", "params": params});
            account.exchange.receive(account.client, request.to_string().as_bytes());
            let told: Vec<Value> = texts(&account.exchange.take(account.level3))
                .iter()
                .map(|text| read(text))
                .filter(|message| message["channel"] == "level3")
                .flat_map(|message| message["data"][0]["bids"].as_array().expect("orders").clone())
                .collect();
            let kinds: Vec<&str> = told.iter().map(|order| order["event"].as_str().expect("an event")).collect();
            assert_eq!(kinds, events, "{more}");
            assert!(told.iter().all(|order| order["order_id"] == id.as_str()));
            assert_eq!(told.last().map(|order| order["limit_price"].clone()), Some(json!(price - 0.3)));
        }
    }
}

/// Goal: the rate counter that reports tell is that of a model of its own, over an hour of random requests.
#[test]
fn the_rate_counter() {
    let mut rng = Rng::new(16);
    let mut account = Account::new(&["balance.USD=100000000"], 1e-6, 16);
    // Value and time of the counter; creation or last amendment of each open order.
    let (mut value, mut at) = (0.0f64, account.exchange.now());
    let mut open: Vec<(String, i64)> = Vec::new();
    let (mut limited, mut compared) = (0, 0);
    let end = at + 3600 * SECOND;
    while account.exchange.now() < end {
        let pause = (rng.exponential() * 0.9e9) as i64;
        account.exchange.advance(account.exchange.now() + pause, usize::MAX, 0);
        let now = account.exchange.now();
        value = (value - (now - at) as f64 / 1e9 * 2.34).max(0.0);
        at = now;
        let heard = account.reports.len();
        let steps =
            |age: i64, table: &[(i64, f64)]| table.iter().find(|row| age < row.0 * SECOND).map_or(0.0, |row| row.1);
        let one = if open.is_empty() { 0 } else { rng.below(open.len()) };
        match rng.below(4) {
            0 if !open.is_empty() => {
                let (id, since) = open.swap_remove(one);
                value += steps(now - since, &[(5, 8.0), (10, 6.0), (15, 5.0), (45, 4.0), (90, 2.0), (300, 1.0)]);
                account.ask("cancel_order", json!({"order_id": [id]}));
            }
            1 | 2 if !open.is_empty() => {
                let cost = 1.0 + steps(now - open[one].1, &[(5, 3.0), (10, 2.0), (15, 1.0)]);
                let price = 1000 + rng.below(1000);
                let answer = account.ask("amend_order", json!({"order_id": open[one].0, "limit_price": price}));
                if value + cost > 125.0 {
                    assert_eq!(answer[0]["error"], "EOrder:Rate limit exceeded");
                    limited += 1;
                    value += 1.0;
                } else {
                    value += cost;
                    open[one].1 = now;
                }
            }
            _ => {
                let answer = account.add("buy", 0.001, 1000.0, json!({}));
                value += 1.0;
                match answer["error"].as_str() {
                    None => open.push((Account::id(&answer), now)),
                    Some("EOrder:Rate limit exceeded") => {
                        assert!(value > 125.0);
                        limited += 1;
                    }
                    Some(error) => assert_eq!(error, "EOrder:Orders limit exceeded"),
                }
            }
        }
        if let Some(report) = account.reports[heard..].last() {
            let told: f64 = report["ratecount"].as_str().expect("a text").parse().expect("a number");
            assert!((told - value).abs() < 1e-9, "{told} {value} {report}");
            compared += 1;
        }
    }
    assert!(compared > 1000 && limited > 3, "the test is awake: {compared} compared, {limited} refused");
}

/// Goal: a dead-man timer that is on when a maintenance ends cancels all; orders whose market starts again end; nothing is
/// taken in a maintenance, and in the other states what they allow.
#[test]
fn states_of_the_exchange() {
    let mut account = Account::new(&[], 1e-6, 17);
    let id = Account::id(&account.add("buy", 0.001, 1000.0, json!({})));
    account.ask("cancel_all_orders_after", json!({"timeout": 2}));
    account.exchange.inject("maintenance=once,by=10s").expect("right");
    account.wait(5);
    assert_eq!(account.life(&id), ["pending_new", "new"], "the timer waits for the end of the maintenance");
    assert_eq!(account.ask("cancel_all", json!({}))[0]["error"], "EService:Unavailable");
    assert_eq!(account.add("buy", 0.001, 1000.0, json!({}))["error"], "EService:Unavailable");
    account.wait(7);
    assert_eq!(account.life(&id), ["pending_new", "new", "canceled"]);
    account.exchange.inject("cancel_only=once,by=3s").expect("right");
    let id = Account::id(&account.add("buy", 0.001, 1000.0, json!({})));
    account.wait(1);
    assert_eq!(account.add("buy", 0.001, 1000.0, json!({}))["error"], "EService:Market in cancel_only mode");
    assert_eq!(account.ask("cancel_order", json!({"order_id": [id]}))[0]["success"], true);
    account.wait(3);
    account.exchange.inject("post_only=once,by=3s").expect("right");
    account.wait(1);
    assert_eq!(account.add("buy", 0.001, 1000.0, json!({}))["error"], "EService:Market in post_only mode");
    let id = Account::id(&account.add("buy", 0.001, 1000.0, json!({"post_only": true})));
    account.wait(3);
    account.exchange.inject("precision=once,symbol=BTC/USD").expect("right");
    account.wait(1);
    assert_eq!(account.life(&id), ["pending_new", "new", "canceled"], "its market started again");
    assert_eq!(account.balances()["USD"][1], "0.0000");
    account.exchange.inject("delist=once,symbol=BTC/USD").expect("right");
    account.wait(1);
    assert_eq!(account.add("buy", 0.001, 1000.0, json!({}))["error"], "Currency pair not supported BTC/USD");
}

/// What a hostile client sends.
const VALUES: [&str; 22] = [
    "0",
    "-1",
    "1e-8",
    "0.00000001",
    "100000000",
    "1e15",
    "1e16",
    "1e30",
    "1e300",
    "1e-300",
    "99999999999999999999.99999999",
    "null",
    "true",
    "\"\"",
    "\"1\"",
    "[]",
    "{}",
    "[[[]]]",
    "\"buy\"",
    "\"market\"",
    "\"2026-08-02T04:00:00Z\"",
    "\"O\"",
];
const NAMES: [&str; 20] = [
    "order_qty",
    "limit_price",
    "display_qty",
    "cash_order_qty",
    "side",
    "order_type",
    "time_in_force",
    "expire_time",
    "effective_time",
    "deadline",
    "cl_ord_id",
    "order_userref",
    "triggers",
    "stp_type",
    "validate",
    "post_only",
    "order_id",
    "timeout",
    "orders",
    "symbol",
];
const ANY_METHODS: [&str; 14] = [
    "add_order",
    "add_order",
    "add_order",
    "amend_order",
    "edit_order",
    "cancel_order",
    "cancel_all",
    "cancel_all_orders_after",
    "batch_add",
    "batch_cancel",
    "subscribe",
    "unsubscribe",
    "ping",
    "",
];

/// Goal: whatever is sent gets an answer, and never ends the exchange: extreme numbers, wrong kinds, pieces of texts.
#[test]
fn hostile_requests() {
    let mut rng = Rng::new(18);
    let mut account = Account::new(&["balance.BTC=999999999999999999", "balance.USD=99999999999999999999"], 50.0, 18);
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..2500 {
        let side = ["\"buy\"", "\"sell\""][rng.below(2)];
        let mut params: BTreeMap<&str, String> = BTreeMap::new();
        for (name, value) in [
            ("token", "\"token\""),
            ("symbol", "\"BTC/USD\""),
            ("side", side),
            ("order_type", "\"limit\""),
            ("order_qty", "0.01"),
            ("limit_price", "60000"),
            ("channel", "\"executions\""),
        ] {
            params.insert(name, value.to_owned());
        }
        let method = ANY_METHODS[rng.below(ANY_METHODS.len())];
        if method == "add_order" {
            params.remove("channel");
        }
        for _ in 0..rng.below(3) {
            params.insert(NAMES[rng.below(NAMES.len())], VALUES[rng.below(VALUES.len())].to_owned());
        }
        let params: Vec<String> = params.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let mut text = format!("{{\"method\":\"{method}\",\"params\":{{{}}},\"req_id\":1}}", params.join(","));
        if rng.below(10) == 0 {
            text.truncate(rng.below(text.len()));
        }
        account.exchange.advance(account.exchange.now() + SECOND / 20, usize::MAX, 0);
        account.exchange.take(account.client);
        account.exchange.receive(account.client, text.as_bytes());
        let answers: Vec<Value> = texts(&account.exchange.take(account.client))
            .iter()
            .map(|text| serde_json::from_slice(text).expect("JSON"))
            .filter(|message: &Value| message.get("method").is_some())
            .collect();
        // Nothing is answered twice; a cancel of no orders has its refusal.
        assert!(!answers.is_empty(), "{text}");
        accepted += answers.iter().filter(|answer| answer["success"] == true).count();
        refused += answers.iter().filter(|answer| answer["success"] == false).count();
        account.exchange.take(account.level3);
    }
    assert!(accepted > 150 && refused > 150, "the test is awake: {accepted} accepted, {refused} refused");
    let balances = account.balances();
    assert!(
        balances.as_object().expect("balances").values().all(|row| !row[1].as_str().expect("a text").starts_with('-'))
    );
}
