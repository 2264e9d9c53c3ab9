//! Bytes as what clients do to the built-in exchange: they connect, ask for what is offered and what is not, and go.
//!
//! Each client has a session of the core that observes: it shares no books and no checksums with the exchange, and what
//! it holds must be what the exchange says of itself.

use std::collections::BTreeSet;

use krakpot_core::session::{Options, Session};
use krakpot_core::wire::message::Side;
use krakpot_exchange::{Endpoint, Exchange, PAIRS_MAX, Pace};
use krakpot_frames::{Random, START};
use serde_json::{Value, json};

use crate::mutate::mutate;

const MS: i64 = 1_000_000;
/// Steps of one script.
const STEPS_MAX: usize = 400;
const CLIENTS_MAX: usize = 4;
/// Messages a second of a full subscription.
const RATE: f64 = 2000.0;
/// Bytes of an answer, without what it repeats of the request.
const ANSWER_MAX: usize = 400;
/// Bytes that the instrument channel says of a pair, its assets included.
const PAIR_MAX: usize = 1200;
const TOKEN: &str = "a token";
const FAULTS: [&str; 17] = [
    "drop=0.1,channel=book",
    "repeat=0.2",
    "reorder=0.2,for=1s",
    "delay=0.1,by=30ms",
    "digit=0.1",
    "silence=once",
    "refuse=0.5,for=1s",
    "ratelimit=0.2,for=1s",
    "hollow=0.5,for=1s",
    "precision=every:100ms,for=1s",
    "delist=once",
    "list=once",
    "list=once,by=9223372036854775806",
    "absent=0.1,by=timestamp",
    "null=0.1,by=checksum",
    "huge=0.1,by=symbol",
    "stray=0.1",
];

/// Plays `data`: the first bytes choose seed and exchange, the others what happens. Panics where the exchange breaks its
/// word.
pub fn exchange(data: &[u8]) {
    let Some((head, mut steps)) = data.split_at_checked(5) else { return };
    let seed = u64::from(u32::from_le_bytes([head[0], head[1], head[2], head[3]]));
    let mut play = Play::new(seed, head[4]);
    for _ in 0..STEPS_MAX {
        let Some((&step, rest)) = steps.split_first() else { break };
        steps = rest;
        if step & 0x3F == 0x3F {
            // The bytes that follow are the request itself.
            let length = rest.first().map_or(0, |&length| usize::from(length));
            let (text, rest) = rest.split_at(rest.len().min(1 + length));
            play.ask(usize::from(step >> 6), text.get(1..).unwrap_or_default());
            steps = rest;
        } else {
            play.step(step);
        }
    }
    play.finish();
}

struct Client {
    id: u64,
    session: Session,
    /// Books that were granted with a snapshot, of level 2 or 3, and not left.
    granted: BTreeSet<(bool, String)>,
    frames: u64,
    bytes: usize,
}

struct Play {
    random: Random,
    exchange: Exchange,
    symbols: Vec<String>,
    clients: Vec<Client>,
    /// Frames are late or come to harm: then books prove nothing, and answers come when they come.
    troubled: bool,
}

impl Play {
    fn new(seed: u64, mode: u8) -> Self {
        let pairs = 1 + usize::from(mode >> 2) % 6;
        let mut exchange = Exchange::new(pairs, RATE, seed, START, mode & 4 == 0);
        let troubled = mode & 3 == 3;
        if troubled {
            let pace = Pace { delay: 3 * MS, jitter: 5 * MS, conflate: 10 * MS };
            exchange.set_paces(pace, pace);
        }
        let symbols = exchange.symbols().map(str::to_owned).collect();
        let mut play = Self { random: Random::new(seed), exchange, symbols, clients: Vec::new(), troubled };
        for _ in 0..CLIENTS_MAX - 1 {
            play.connect();
        }
        play
    }

    fn any<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[usize::try_from(self.random.below(from.len() as u64)).expect("an index")]
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.random.below(n) == 0
    }

    fn connect(&mut self) {
        let endpoint = if self.one_in(3) { Endpoint::Level3 } else { Endpoint::Public };
        let options = Options { passive: true, ..Options::default() };
        let client = Client {
            id: self.exchange.connect(endpoint),
            session: Session::new("client", options),
            granted: BTreeSet::new(),
            frames: 0,
            bytes: 0,
        };
        self.clients.push(client);
        self.take(self.clients.len() - 1);
    }

    fn disconnect(&mut self, i: usize) {
        let client = self.clients.swap_remove(i);
        self.exchange.disconnect(client.id);
        assert!(self.exchange.take(client.id).is_empty(), "nobody is there");
        self.exchange.receive(client.id, b"{}");
    }

    fn step(&mut self, step: u8) {
        let i = usize::from(step >> 6);
        match step & 0x3F {
            0..26 => {
                let text = self.request();
                self.ask(i, text.as_bytes());
            }
            26..36 => {
                let (text, other) = (self.request(), self.request());
                let text = mutate(text.as_bytes(), other.as_bytes(), &mut self.random);
                self.ask(i, &text);
            }
            36 => {
                let text = self.long_request();
                self.ask(i, text.as_bytes());
            }
            37 => self.waver(i),
            38..50 => {
                let ms = self.random.near(60);
                self.advance(i64::try_from(ms).expect("small") * MS);
            }
            50 => self.advance(1000 * MS),
            51..54 if self.clients.len() < CLIENTS_MAX => self.connect(),
            54 if !self.clients.is_empty() => self.disconnect(i % self.clients.len()),
            55 => self.exchange.allow(TOKEN, self.exchange.now() + 2000 * MS),
            56..60 if self.troubled => self.fault(),
            60 if self.troubled => self.exchange.clear_faults(),
            61 => {
                let wrong =
                    self.any(&["dorp", "drop=2", "cut,by=1,by=2", "silence,symbol=NO/NE", "status,after=-1s", "="]);
                assert!(self.exchange.inject(wrong).is_err(), "{wrong}");
            }
            _ => {}
        }
    }

    fn fault(&mut self) {
        let text = self.any(&FAULTS);
        if self.one_in(3) {
            let other = self.any(&FAULTS);
            let text = mutate(text.as_bytes(), other.as_bytes(), &mut self.random);
            // Whether it can still be read does not matter.
            let _ = self.exchange.inject(&String::from_utf8_lossy(&text));
        } else {
            self.exchange.inject(text).expect("as documented");
        }
    }

    /// A request near the protocol.
    fn request(&mut self) -> String {
        let method =
            self.any(&["subscribe", "subscribe", "subscribe", "unsubscribe", "unsubscribe", "ping", "add_order"]);
        let channel = self.any(&[
            "book",
            "book",
            "book",
            "level3",
            "level3",
            "trade",
            "ticker",
            "ohlc",
            "instrument",
            "executions",
        ]);
        let mut symbols: Vec<String> = Vec::new();
        for _ in 0..self.random.near(5) + u64::from(!self.one_in(20)) {
            let known = usize::try_from(self.random.below(self.symbols.len() as u64)).expect("an index");
            let other = self.any(&["XBT/USD", "BTCUSD", "", "\"\\\u{e9}\n\u{1F600}", "*"]);
            symbols.push(if self.one_in(8) { other.to_owned() } else { self.symbols[known].clone() });
        }
        let mut params = json!({ "channel": channel, "symbol": symbols });
        for (name, values, of) in [
            ("depth", &["10", "10", "25", "100", "1000", "27", "-10", "1e1"][..], 3),
            ("snapshot", &["true", "false", "null"], 12),
            ("event_trigger", &["\"bbo\"", "\"trades\"", "3"], 12),
            ("interval", &["1", "5", "60", "7"], 4),
            ("token", &["\"a token\"", "\"a token\"", "\"another\""], 2),
        ] {
            if !self.one_in(of) {
                params[name] = serde_json::from_str(self.any(values)).expect("JSON");
            }
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

    /// A request of more symbols, or of a longer one, than anybody needs.
    fn long_request(&mut self) -> String {
        let count = usize::try_from(self.random.near(4000)).expect("small");
        let symbols = match self.random.below(3) {
            0 => vec![self.symbols[0].clone(); count],
            1 => vec![String::new(); count],
            _ => vec!["x/".repeat(count * 10)],
        };
        json!({"method": "subscribe", "params": {"channel": "book", "symbol": symbols}, "req_id": 1}).to_string()
    }

    /// Subscribes and leaves, again and again.
    fn waver(&mut self, i: usize) {
        for n in 0..self.random.near(80) {
            let method = if n % 2 == 0 { "subscribe" } else { "unsubscribe" };
            let params = json!({ "channel": "book", "symbol": self.symbols, "depth": 25 });
            self.ask(i, json!({ "method": method, "params": params }).to_string().as_bytes());
        }
    }

    /// Sends a request, and looks at the answer.
    fn ask(&mut self, i: usize, text: &[u8]) {
        if self.clients.is_empty() {
            return;
        }
        let i = i % self.clients.len();
        self.take(i);
        self.exchange.receive(self.clients[i].id, text);
        let before = self.clients[i].bytes;
        let answers = self.take(i);
        let request: Value = serde_json::from_slice(text).unwrap_or_default();
        let symbols = request["params"]["symbol"].as_array().map_or(&[][..], |list| list);
        let most = 2 * text.len() + ANSWER_MAX * (1 + symbols.len().min(PAIRS_MAX)) + PAIR_MAX * self.symbols.len();
        let bytes = self.clients[i].bytes - before;
        if self.troubled {
            return;
        }
        assert!(bytes <= most, "{bytes} bytes for a request of {}", text.len());
        assert!(!answers.is_empty(), "a request is answered: {}", String::from_utf8_lossy(text));
        let id = request.get("req_id").filter(|id| request.is_object() && (id.is_u64() || id.is_i64()));
        for answer in &answers {
            assert_eq!(answer.get("req_id"), id, "{answer} repeats the number");
            let right = answer["success"] == (answer.get("error").is_none()) || answer["method"] == "pong";
            assert!(right, "{answer} is yes or no");
        }
        // One answer, or one for each symbol.
        let named: Vec<&str> = answers.iter().filter_map(symbol_of).collect();
        if named.is_empty() {
            assert_eq!(answers.len(), 1, "answered once: {request}");
        } else {
            let asked: Vec<&str> = symbols.iter().map(|symbol| symbol.as_str().unwrap_or_default()).collect();
            assert_eq!(named, asked, "each symbol is answered, in order");
            assert_eq!(named.len(), answers.len());
        }
    }

    /// Takes what waits for a client; returns the answers in it.
    fn take(&mut self, i: usize) -> Vec<Value> {
        let now = self.exchange.now();
        let block = self.exchange.take(self.clients[i].id);
        let client = &mut self.clients[i];
        client.bytes += block.len();
        let mut answers = Vec::new();
        for text in frames(&block) {
            client.frames += 1;
            client.session.receive(text, now);
            assert!(self.troubled || client.session.counts().errors == 0, "{}", String::from_utf8_lossy(text));
            // That the others are JSON, the session says.
            if self.troubled || !text.windows(9).any(|part| part == b"\"method\":") {
                continue;
            }
            let message: Value = serde_json::from_slice(text).expect("the exchange speaks JSON");
            let Some(method) = message.get("method").and_then(Value::as_str) else { continue };
            let result = &message["result"];
            if let (true, Some("book" | "level3"), Some(symbol)) =
                (message["success"] == true, result["channel"].as_str(), result["symbol"].as_str())
            {
                let key = (result["channel"] == "level3", symbol.to_owned());
                if method == "subscribe" && result["snapshot"] == true {
                    client.granted.insert(key);
                } else if method == "unsubscribe" {
                    client.granted.remove(&key);
                }
            }
            answers.push(message);
        }
        client.session.drain();
        answers
    }

    fn advance(&mut self, by: i64) {
        let to = self.exchange.now() + by;
        assert_eq!(self.exchange.advance(to, usize::MAX, 0), to);
        for i in 0..self.clients.len() {
            let answers = self.take(i);
            assert!(answers.is_empty(), "answers come at once: {answers:?}");
        }
        self.exchange.take_faults();
        self.exchange.take_log();
        if !self.troubled && self.one_in(8) {
            self.proved();
        }
    }

    fn proved(&self) {
        for client in &self.clients {
            client.proved(&self.exchange);
        }
    }

    fn finish(mut self) {
        // A snapshot comes 50 ms after its ack, a millisecond after the one before, those aside that were given up.
        self.advance(100 * MS);
        if !self.troubled {
            self.proved();
            for client in &self.clients {
                for (level3, symbol) in &client.granted {
                    let session = &client.session;
                    let lives = if *level3 { session.orders(symbol).is_some() } else { session.book(symbol).is_some() };
                    assert!(lives, "the snapshot of {symbol} has come");
                }
            }
        }
        let account = self.exchange.summary();
        let connections = account["connections"].as_array().expect("a list");
        let sum: u64 = connections.iter().filter_map(|one| one["frames"].as_u64()).sum();
        assert_eq!(account["messages"].as_u64(), Some(sum), "messages add up");
        for client in &self.clients {
            let one = connections.iter().find(|one| one["connection"] == client.id).expect("it is there");
            assert_eq!(one["frames"].as_u64(), Some(client.frames), "what it got is what was sent");
        }
    }
}

impl Client {
    /// All that came was right, and the books are the exchange's.
    fn proved(&self, exchange: &Exchange) {
        let counts = self.session.counts();
        assert_eq!((counts.book.bad, counts.level3.bad, counts.errors), (0, 0, 0), "{counts:?}");
        let plain = |text: &str| text.replace('.', "").parse::<i128>().expect("digits");
        for symbol in exchange.symbols() {
            let compare = |depth: u16, held: [Vec<(i128, i128)>; 2]| {
                let truth = exchange.book(symbol, depth.into()).expect("it is listed");
                let truth = truth
                    .map(|levels| levels.iter().map(|(price, qty)| (plain(price), plain(qty))).collect::<Vec<_>>());
                assert_eq!(held, truth, "the book of {symbol}, depth {depth}");
            };
            if let Some(book) = self.session.book(symbol) {
                compare(book.depth(), [Side::Bid, Side::Ask].map(|side| book.levels(side)));
            }
            if let Some(book) = self.session.orders(symbol).and_then(|life| life.book()) {
                let levels = |side| book.levels(side).map(|(price, qty, _)| (price, qty)).collect();
                compare(book.depth(), [Side::Bid, Side::Ask].map(levels));
            }
        }
    }
}

fn symbol_of(answer: &Value) -> Option<&str> {
    answer.get("symbol").or_else(|| answer["result"].get("symbol")).and_then(Value::as_str)
}

/// Texts of WebSocket frames as the exchange writes them.
pub fn frames(mut block: &[u8]) -> Vec<&[u8]> {
    let mut texts = Vec::new();
    while let [0x81, length, ..] = *block {
        let (at, length) = match length {
            126 => (4, usize::from(u16::from_be_bytes([block[2], block[3]]))),
            127 => (10, usize::try_from(u64::from_be_bytes(block[2..10].try_into().expect("8"))).expect("fits")),
            short => (2, usize::from(short)),
        };
        texts.push(&block[at..at + length]);
        block = &block[at + length..];
    }
    assert!(block.is_empty(), "whole frames");
    texts
}
