//! Bytes as what clients of the account do to the built-in exchange: orders of all kinds, and what only looks like them.
//!
//! What they hear is kept in a model of its own: it must be the account that the exchange shows, then and later.

use std::collections::{BTreeMap, BTreeSet};

use krakpot_exchange::settings::{SWITCHES, Settings};
use krakpot_exchange::{Endpoint, Exchange};
use krakpot_frames::{Random, START};
use serde_json::{Value, json};

use crate::exchange::frames;
use crate::mutate::mutate;

const MS: i64 = 1_000_000;
/// Steps of one script.
const STEPS_MAX: usize = 300;
/// Messages a second of a full subscription.
const RATE: f64 = 500.0;
const TOKEN: &str = "a token";
/// Decimals of the model's amounts: more than any amount has.
const DECIMALS: usize = 12;
const FAULTS: [&str; 12] = [
    "late_ack=0.3,by=300ms",
    "lost_ack=0.3",
    "lost_request=0.3",
    "report_before_ack=0.5",
    "duplicate_report=0.3",
    "sequence_gap=0.3",
    "token_refused=0.3",
    "cut_answer=once",
    "skew,by=-7s,for=1s",
    "maintenance,by=300ms",
    "status,by=31s",
    "precision=once",
];

/// Plays `data`: the first bytes choose seed, switches and whether there are faults, the others what happens. Panics where
/// the exchange breaks its word.
pub fn private(data: &[u8]) {
    let Some((head, mut steps)) = data.split_at_checked(7) else { return };
    let seed = u64::from(u32::from_le_bytes([head[0], head[1], head[2], head[3]]));
    let mut play = Play::new(seed, u16::from_le_bytes([head[4], head[5]]), head[6] & 3 == 3);
    for _ in 0..STEPS_MAX {
        let Some((&step, rest)) = steps.split_first() else { break };
        steps = rest;
        if step == 0xFF {
            // The bytes that follow are the request itself.
            let length = rest.first().map_or(0, |&length| usize::from(length));
            let (text, rest) = rest.split_at(rest.len().min(1 + length));
            play.ask(text.get(1..).unwrap_or_default());
            steps = rest;
        } else {
            play.step(step);
        }
    }
    play.finish();
}

/// An order, as its reports tell it. Amounts have `DECIMALS` decimals.
#[derive(Default)]
struct Order {
    qty: i128,
    filled: i128,
    state: String,
}

struct Play {
    random: Random,
    exchange: Exchange,
    symbols: Vec<String>,
    client: u64,
    /// Frames come twice, late, or not at all: then the model proves nothing.
    troubled: bool,
    orders: BTreeMap<String, Order>,
    /// Ids of fills that were heard.
    fills: BTreeSet<String>,
    /// Of each asset the balance that the last entry told.
    balances: BTreeMap<String, i128>,
    sequences: [u64; 2],
    /// The account as it was, to be asked for again.
    past: Vec<(i64, [Value; 3])>,
    names: u64,
}

impl Play {
    fn new(seed: u64, switches: u16, troubled: bool) -> Self {
        let mut exchange = Exchange::new(2, RATE, seed, START, false);
        let mut settings = Settings::default();
        for (at, (name, _, other, _)) in SWITCHES.iter().enumerate() {
            if switches >> at & 1 == 1 {
                settings.set(&format!("{name}={other}")).expect("as documented");
            }
        }
        exchange.set_account(settings);
        exchange.allow(TOKEN, i64::MAX);
        let symbols = exchange.symbols().map(str::to_owned).collect();
        let client = exchange.connect(Endpoint::Private);
        let mut play = Self {
            random: Random::new(seed),
            exchange,
            symbols,
            client,
            troubled,
            orders: BTreeMap::new(),
            fills: BTreeSet::new(),
            balances: BTreeMap::new(),
            sequences: [0; 2],
            past: Vec::new(),
            names: 0,
        };
        play.follow();
        play
    }

    fn any<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[usize::try_from(self.random.below(from.len() as u64)).expect("an index")]
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.random.below(n) == 0
    }

    /// Follows both channels: their snapshots are where the model begins.
    fn follow(&mut self) {
        for channel in ["executions", "balances"] {
            let params = json!({ "channel": channel, "token": TOKEN });
            self.ask(json!({ "method": "subscribe", "params": params }).to_string().as_bytes());
        }
    }

    /// Connects anew: reports that came to nobody are in the snapshot.
    fn reconnect(&mut self) {
        self.exchange.disconnect(self.client);
        self.client = self.exchange.connect(Endpoint::Private);
        self.sequences = [0; 2];
        self.follow();
    }

    fn step(&mut self, step: u8) {
        match step & 0x3F {
            0..34 => {
                let text = self.request();
                self.ask(text.as_bytes());
            }
            34..42 => {
                let (text, other) = (self.request(), self.request());
                let text = mutate(text.as_bytes(), other.as_bytes(), &mut self.random);
                self.ask(&text);
            }
            42..58 => {
                let ms = i64::try_from(self.random.near(400)).expect("small");
                self.advance(ms * MS);
            }
            58 => self.advance(20_000 * MS),
            59 => self.reconnect(),
            60..62 if self.troubled => {
                let fault = self.any(&FAULTS);
                self.exchange.inject(fault).expect("as documented");
            }
            62 if self.troubled => self.exchange.clear_faults(),
            _ => self.compare(),
        }
    }

    /// A request near the protocol.
    fn request(&mut self) -> String {
        let method = self.any(&[
            "add_order",
            "add_order",
            "add_order",
            "add_order",
            "amend_order",
            "amend_order",
            "edit_order",
            "cancel_order",
            "cancel_all",
            "cancel_all_orders_after",
            "batch_add",
            "batch_cancel",
            "ping",
        ]);
        let mut params = match method {
            "add_order" => self.terms(),
            "batch_add" => {
                let orders: Vec<Value> = (0..1 + self.random.near(16)).map(|_| self.terms()).collect();
                json!({ "orders": orders })
            }
            "amend_order" | "edit_order" => self.changes(),
            "cancel_order" => json!({ "order_id": (0..self.random.near(4)).map(|_| self.id()).collect::<Vec<_>>() }),
            "batch_cancel" => json!({ "orders": (0..self.random.near(9)).map(|_| self.id()).collect::<Vec<_>>() }),
            "cancel_all_orders_after" => json!({ "timeout": self.random.near(5) }),
            _ => json!({}),
        };
        if method != "add_order" && !method.starts_with("cancel") && !self.one_in(10) {
            params["symbol"] = json!(self.symbols[0]);
        }
        if !self.one_in(30) {
            params["token"] = json!(TOKEN);
        }
        let mut request = json!({ "method": method });
        if method != "ping" || self.one_in(8) {
            request["params"] = params;
        }
        if !self.one_in(4) {
            request["req_id"] = json!(self.random.near(1 << 40));
        }
        request.to_string()
    }

    /// An id of an order that is known, or of none.
    fn id(&mut self) -> String {
        let at = self.random.below(self.orders.len() as u64 + 1);
        let found = usize::try_from(at).ok().and_then(|at| self.orders.keys().rev().nth(at));
        found.map_or_else(|| "OAAAAA-AAAAA-AAAAAA".to_owned(), String::clone)
    }

    /// A price near the book's, now and then one that cannot be.
    fn price(&mut self, symbol: &str) -> Value {
        let [bids, asks] = self.exchange.book(symbol, 3).expect("it is listed");
        let side = if self.one_in(2) { bids } else { asks };
        let at = usize::try_from(self.random.below(3)).expect("small");
        let text = side.get(at).map_or("1", |level| level.0.as_str());
        let text = if self.one_in(20) { self.any(&["0", "-1", "1e9", "0.000000001", "99999999999999"]) } else { text };
        serde_json::from_str(text).expect("a number")
    }

    fn qty(&mut self) -> Value {
        let text = self.any(&["0.01", "0.1", "0.5", "2", "0.00001", "0.015", "40", "1000000"]);
        serde_json::from_str(text).expect("a number")
    }

    fn terms(&mut self) -> Value {
        let at = usize::from(self.one_in(6));
        let symbol = self.symbols[at].clone();
        let kind = self.any(&[
            "limit",
            "limit",
            "limit",
            "market",
            "iceberg",
            "stop-loss",
            "stop-loss-limit",
            "take-profit",
            "take-profit-limit",
            "trailing-stop",
        ]);
        let mut terms = json!({
            "symbol": symbol, "order_type": kind, "side": self.any(&["buy", "sell"]), "order_qty": self.qty(),
        });
        if kind.ends_with("limit") || kind == "iceberg" {
            terms["limit_price"] = self.price(&symbol);
        }
        if kind.contains('-') {
            terms["triggers"] = json!({ "price": self.price(&symbol), "reference": self.any(&["last", "index"]) });
        }
        if kind == "iceberg" {
            terms["display_qty"] = self.qty();
        }
        for (name, values, of) in [
            ("time_in_force", &["\"ioc\"", "\"fok\"", "\"gtc\"", "\"gtd\""][..], 4),
            ("post_only", &["true"], 6),
            ("stp_type", &["\"cancel_oldest\"", "\"cancel_both\""], 6),
            ("fee_preference", &["\"base\"", "\"quote\""], 6),
            ("validate", &["true"], 20),
            ("cash_order_qty", &["100", "0.01"], 30),
            ("conditional", &["{}"], 40),
            ("effective_time", &["\"2026-08-02T03:35:53Z\""], 20),
            ("expire_time", &["\"2026-08-02T03:36:20Z\""], 20),
            ("deadline", &["\"2026-08-02T03:36:00Z\""], 30),
        ] {
            if self.one_in(of) {
                terms[name] = serde_json::from_str(self.any(values)).expect("JSON");
            }
        }
        if self.one_in(3) {
            self.names += 1;
            terms["cl_ord_id"] = json!(format!("n{}", self.names / 2));
        }
        terms
    }

    fn changes(&mut self) -> Value {
        let (id, symbol) = (self.id(), self.symbols[0].clone());
        let mut changes = json!({ "order_id": id });
        if self.one_in(2) {
            changes["order_qty"] = self.qty();
        }
        for (name, of) in [("limit_price", 2), ("trigger_price", 6)] {
            if self.one_in(of) {
                changes[name] = self.price(&symbol);
            }
        }
        if self.one_in(5) {
            changes["display_qty"] = self.qty();
        }
        changes
    }

    /// Sends a request, and looks at the answer.
    fn ask(&mut self, text: &[u8]) {
        self.take();
        self.exchange.receive(self.client, text);
        let answers = self.take();
        if self.troubled {
            return;
        }
        assert!(!answers.is_empty(), "a request is answered: {}", String::from_utf8_lossy(text));
        let request: Value = serde_json::from_slice(text).unwrap_or_default();
        let id = request.get("req_id").filter(|id| request.is_object() && (id.is_u64() || id.is_i64()));
        for answer in &answers {
            assert_eq!(answer.get("req_id"), id, "{answer} repeats the number");
            let right = answer["success"] == (answer.get("error").is_none()) || answer["method"] == "pong";
            assert!(right, "{answer} is yes or no");
        }
        if request["method"] != "cancel_order" {
            assert_eq!(answers.len(), 1, "answered once: {request}");
        }
    }

    /// Takes what waits: messages of the account change the model, answers are returned.
    fn take(&mut self) -> Vec<Value> {
        let block = self.exchange.take(self.client);
        let mut answers = Vec::new();
        for text in frames(&block) {
            let message: Value = serde_json::from_slice(text).expect("the exchange speaks JSON");
            let at = ["executions", "balances"].iter().position(|channel| message["channel"] == *channel);
            match at {
                Some(at) if message.get("method").is_none() => self.hear(at, &message),
                _ if message.get("method").is_some() => answers.push(message),
                _ => {}
            }
        }
        answers
    }

    fn hear(&mut self, at: usize, message: &Value) {
        let number = message["sequence"].as_u64().expect("a number");
        let expected = if message["type"] == "snapshot" { 1 } else { self.sequences[at] + 1 };
        assert!(number == expected || (self.troubled && number > expected), "{message}");
        self.sequences[at] = number;
        for row in message["data"].as_array().expect("rows") {
            if at == 1 {
                let asset = row["asset"].as_str().expect("an asset").to_owned();
                let now = amount(&row["balance"]);
                let before = self.balances.insert(asset, now);
                if let (Some(before), false, Some(_)) = (before, self.troubled, row.get("ledger_id")) {
                    assert_eq!(before + amount(&row["amount"]) - amount(&row["fee"]), now, "{row}");
                }
            } else {
                self.report(row);
            }
        }
    }

    fn report(&mut self, row: &Value) {
        let id = row["order_id"].as_str().expect("an id").to_owned();
        let troubled = self.troubled;
        let order = self.orders.entry(id).or_default();
        let ended = |state: &str| ["filled", "canceled", "expired"].contains(&state);
        assert!(troubled || !ended(&order.state), "what ended stays so: {row}");
        if row.get("order_qty").is_some() {
            order.qty = amount(&row["order_qty"]);
        }
        if row["exec_type"] == "trade" {
            let new = self.fills.insert(row["exec_id"].as_str().expect("an id").to_owned());
            assert!(new || troubled, "told once: {row}");
            if new {
                order.filled += amount(&row["last_qty"]);
            }
        }
        if row.get("cum_qty").is_some() && !troubled {
            assert_eq!(order.filled, amount(&row["cum_qty"]), "fills add up: {row}");
        }
        assert!(troubled || order.filled <= order.qty, "{row}");
        row["order_status"].as_str().expect("a state").clone_into(&mut order.state);
    }

    fn advance(&mut self, by: i64) {
        let to = self.exchange.now() + by;
        assert_eq!(self.exchange.advance(to, usize::MAX, 0), to);
        let answers = self.take();
        assert!(self.troubled || answers.is_empty(), "answers come at once: {answers:?}");
        self.exchange.take_faults();
        if self.past.len() < 20 && self.one_in(4) {
            // What happens later within this instant belongs to it too.
            self.past.push((to - 1, self.shown(to - 1)));
        }
    }

    fn shown(&self, at: i64) -> [Value; 3] {
        ["orders", "balances", "trades"].map(|what| self.exchange.account(what, at))
    }

    /// What the exchange shows of the account is what the client heard.
    fn compare(&mut self) {
        let now = self.exchange.now();
        let [orders, balances, trades] = self.shown(now);
        let mut held = BTreeSet::new();
        for order in orders.as_array().expect("a list") {
            let (qty, filled) = (amount(&order["qty"]), amount(&order["filled"]));
            assert!(filled <= qty, "{order}");
            if order["closed"].is_null() {
                let buys = order["side"] == "buy";
                held.insert(order[if buys { "quote" } else { "base" }].as_str().expect("an asset").to_owned());
            }
            if self.troubled {
                continue;
            }
            let heard = self.orders.get(order["id"].as_str().expect("an id")).expect("it was told");
            assert_eq!((heard.qty, heard.filled), (qty, filled), "{order}");
            let told = match heard.state.as_str() {
                "pending_new" => "pending",
                "new" | "partially_filled" => "open",
                "filled" => "closed",
                other => other,
            };
            assert_eq!(order["status"], told, "{order}");
        }
        for (asset, row) in balances.as_object().expect("balances") {
            let (total, kept) = (amount(&row[0]), amount(&row[1]));
            assert!(kept >= 0 && kept <= total, "{asset}: {row}");
            assert!(kept == 0 || held.contains(asset), "{asset} is held for no order");
            if !self.troubled {
                assert_eq!(self.balances.get(asset), Some(&total), "{asset}");
            }
        }
        if !self.troubled {
            assert_eq!(trades.as_array().map_or(0, Vec::len), self.fills.len(), "all fills were told");
        }
    }

    fn finish(mut self) {
        self.advance(100 * MS);
        self.compare();
        for (at, before) in &self.past {
            assert_eq!(&self.shown(*at), before, "the past does not change");
        }
        let account = self.exchange.summary();
        let connections = account["connections"].as_array().expect("a list");
        let sum: u64 = connections.iter().filter_map(|one| one["frames"].as_u64()).sum();
        assert_eq!(account["messages"].as_u64(), Some(sum), "messages add up");
    }
}

/// A number, or a text of one, in units of `DECIMALS` decimals.
fn amount(value: &Value) -> i128 {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    assert!(part.len() <= DECIMALS, "{text}");
    format!("{whole}{part:0<DECIMALS$}").parse().unwrap_or_else(|_| panic!("an amount: {text}"))
}
