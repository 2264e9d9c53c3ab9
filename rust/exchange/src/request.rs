//! Requests of a client, read; and the texts of the exchange's answers.

use serde_json::Value;

use crate::market::INTERVALS;
use crate::pairs::PAIRS_MAX;
use crate::terms::METHODS;
use crate::wire;

/// Depths of the book channel.
pub const DEPTHS: [usize; 5] = [10, 25, 100, 500, 1000];
/// Depths of the level3 channel, in price levels, and what a subscription of one symbol costs.
const LEVEL3: [(usize, f64); 3] = [(10, 5.0), (100, 25.0), (1000, 100.0)];

/// What a connection is for: Kraken has a host for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// Public market data.
    Public,
    /// The level3 channel.
    Level3,
    /// The account: its orders and balances.
    Private,
}

/// Their names.
pub const ENDPOINTS: [(&str, Endpoint); 3] =
    [("public", Endpoint::Public), ("level3", Endpoint::Level3), ("private", Endpoint::Private)];

/// What is subscribed, of one pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// Level-2 book of a depth.
    Book(usize),
    /// Orders of a depth, in price levels.
    Level3(usize),
    /// Trades.
    Trade,
    /// Ticker: on each change of the best prices, else on each trade.
    Ticker {
        /// `event_trigger` bbo.
        bbo: bool,
    },
    /// Candles: the place in `INTERVALS`.
    Ohlc(usize),
}

impl Topic {
    /// Channel of the topic.
    #[must_use]
    pub const fn channel(self) -> &'static str {
        match self {
            Self::Book(_) => "book",
            Self::Level3(_) => "level3",
            Self::Trade => "trade",
            Self::Ticker { .. } => "ticker",
            Self::Ohlc(_) => "ohlc",
        }
    }

    /// What a subscription of it costs of a connection's budget.
    #[must_use]
    pub fn cost(self) -> f64 {
        LEVEL3.iter().find(|(depth, _)| self == Self::Level3(*depth)).map_or(0.0, |(_, cost)| *cost)
    }

    /// Whether a connection may have only one of the two for a symbol: one book depth, one ticker, one of each interval.
    #[must_use]
    pub fn excludes(self, other: Self) -> bool {
        match (self, other) {
            (Self::Ohlc(a), Self::Ohlc(b)) => a == b,
            _ => self.channel() == other.channel(),
        }
    }
}

/// A request that could be read.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Application ping.
    Ping,
    /// Instruments.
    Instrument {
        /// Subscribe, or unsubscribe.
        subscribe: bool,
        /// Whether a snapshot is wanted.
        snapshot: bool,
    },
    /// A topic for some symbols.
    Topic {
        /// Subscribe, or unsubscribe.
        subscribe: bool,
        /// What to follow.
        topic: Topic,
        /// Of these pairs.
        symbols: Vec<String>,
        /// Whether a snapshot is wanted.
        snapshot: bool,
        /// The token, for a channel that needs one.
        token: Option<String>,
    },
}

/// Reads a request: its method and id for the answer, and the request or the text of the refusal.
pub fn read(text: &[u8], endpoint: Endpoint) -> (String, Option<Value>, Result<Request, &'static str>) {
    let Ok(Value::Object(message)) = serde_json::from_slice(text) else {
        return ("error".to_owned(), None, Err("Malformed request"));
    };
    let req_id = message.get("req_id").filter(|id| id.is_u64() || id.is_i64()).cloned();
    let params = message.get("params");
    let (method, request) = match message.get("method").and_then(Value::as_str) {
        Some("ping") if params.is_some() => ("ping", Err("Unsupported field: 'params' for the given msg type: ping")),
        Some("ping") => ("ping", Ok(Request::Ping)),
        Some("subscribe") => ("subscribe", subscription(params, endpoint, true)),
        Some("unsubscribe") => ("unsubscribe", subscription(params, endpoint, false)),
        Some(method) if METHODS.iter().any(|known| known.0 == method) => (method, Err(PRIVATE)),
        _ => ("error", Err("Malformed request")),
    };
    (method.to_owned(), req_id, request)
}

fn subscription(params: Option<&Value>, endpoint: Endpoint, subscribe: bool) -> Result<Request, &'static str> {
    let Some(Value::Object(params)) = params else { return Err("Unsupported event") };
    let channel = params.get("channel").and_then(Value::as_str);
    match (channel, endpoint) {
        (Some("level3"), Endpoint::Public) | (Some("executions" | "balances"), _) => return Err(PRIVATE),
        (Some("instrument" | "book" | "trade" | "ticker" | "ohlc"), Endpoint::Level3) => return Err(PUBLIC),
        _ => {}
    }
    let snapshot = |default: bool| params.get("snapshot").and_then(Value::as_bool).unwrap_or(default);
    let number = |name: &str, default: u64, wrong| match params.get(name) {
        None => Ok(default),
        Some(value) => value.as_u64().ok_or(wrong),
    };
    let (topic, snapshot) = match channel {
        Some("instrument") => return Ok(Request::Instrument { subscribe, snapshot: snapshot(true) }),
        Some("book") => {
            let depth = number("depth", 10, "Subscription book depth must be an integer")?;
            let depth = DEPTHS.into_iter().find(|&d| d as u64 == depth).ok_or(NO_DEPTH)?;
            (Topic::Book(depth), snapshot(true))
        }
        Some("level3") => {
            let depth = number("depth", 10, NO_DEPTH)?;
            let depth = LEVEL3.iter().find(|(d, _)| *d as u64 == depth).ok_or(NO_DEPTH)?.0;
            (Topic::Level3(depth), snapshot(true))
        }
        Some("trade") => (Topic::Trade, snapshot(false)),
        Some("ticker") => {
            let bbo = params.get("event_trigger").and_then(Value::as_str) == Some("bbo");
            (Topic::Ticker { bbo }, snapshot(true))
        }
        Some("ohlc") => {
            let wrong = "Subscription ohlc interval not supported";
            let minutes = number("interval", 1, wrong)?;
            let interval = INTERVALS.iter().position(|&i| i.unsigned_abs() == minutes).ok_or(wrong)?;
            (Topic::Ohlc(interval), snapshot(true))
        }
        _ => return Err("Subscription name invalid"),
    };
    let Some(Value::Array(symbols)) = params.get("symbol") else { return Err("Pair field must be an array") };
    if !(1..=PAIRS_MAX).contains(&symbols.len()) {
        return Err(SYMBOLS);
    }
    let symbols = symbols.iter().map(|s| s.as_str().unwrap_or_default().to_owned()).collect();
    let token = params.get("token").and_then(Value::as_str).map(str::to_owned);
    Ok(Request::Topic { subscribe, topic, symbols, snapshot, token })
}

/// Kraken's text for no symbols, or for more than it has, is not known.
const SYMBOLS: &str = "EGeneral:Invalid arguments";
const NO_DEPTH: &str = "Subscription depth not supported";
const PRIVATE: &str = "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com";
/// A public channel on an endpoint that has none.
pub const PUBLIC: &str = "Public market data subscriptions are unavailable on this endpoint. Try ws.kraken.com";

fn head(method: &str, req_id: Option<&Value>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"method\":\"");
    out.extend_from_slice(method.as_bytes());
    out.push(b'"');
    if let Some(id) = req_id {
        out.extend_from_slice(format!(",\"req_id\":{id}").as_bytes());
    }
}

fn tail(now: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"time_in\":");
    wire::time(now, 6, out);
    out.extend_from_slice(b",\"time_out\":");
    wire::time(now + 30_000, 6, out);
    out.push(b'}');
}

/// Answer of a ping.
pub fn pong(req_id: Option<&Value>, now: i64, out: &mut Vec<u8>) {
    out.push(b'{');
    head("pong", req_id, out);
    tail(now, out);
}

/// A refusal, with the symbol where the exchange gives it.
pub fn refusal(error: &str, method: &str, req_id: Option<&Value>, symbol: Option<&str>, now: i64, out: &mut Vec<u8>) {
    // As JSON, because the text may quote the client's text.
    out.extend_from_slice(b"{\"error\":");
    out.extend_from_slice(Value::from(error).to_string().as_bytes());
    out.push(b',');
    head(method, req_id, out);
    out.extend_from_slice(b",\"success\":false");
    if let Some(symbol) = symbol {
        out.extend_from_slice(b",\"symbol\":");
        out.extend_from_slice(Value::from(symbol).to_string().as_bytes());
    }
    tail(now, out);
}

/// The refusal of a token that is missing, wrong or too old, with its members as recorded.
pub fn invalid_session(channel: &str, method: &str, req_id: Option<&Value>, now: i64, out: &mut Vec<u8>) {
    let begin = format!("{{\"channel\":\"{channel}\",\"error\":\"ESession:Invalid session\",");
    out.extend_from_slice(begin.as_bytes());
    head(method, req_id, out);
    out.extend_from_slice(b",\"status\":\"error\",\"success\":false");
    tail(now, out);
}

/// Kraken's text for a pair that it does not have.
#[must_use]
pub fn unknown_pair(symbol: &str) -> String {
    if symbol.contains('/') {
        format!("Currency pair not supported {symbol}")
    } else {
        format!("Currency pair not in ISO 4217-A3 format {symbol}")
    }
}

/// An answer to what was done; `members` say what that is.
pub fn answer(members: &str, method: &str, req_id: Option<&Value>, now: i64, out: &mut Vec<u8>) {
    out.push(b'{');
    head(method, req_id, out);
    out.extend_from_slice(format!(",{members},\"success\":true").as_bytes());
    tail(now, out);
}

/// An ack; `result` is the inside of the object.
pub fn ack(result: &str, method: &str, req_id: Option<&Value>, now: i64, out: &mut Vec<u8>) {
    answer(&format!("\"result\":{{{result}}}"), method, req_id, now, out);
}

/// What an ack says about a topic. The ack of a ticker has no trigger; that of an unsubscribe has.
#[must_use]
pub fn result(topic: Topic, symbol: &str, subscribe: bool, snapshot: bool) -> String {
    let snapshot = if subscribe { format!(",\"snapshot\":{snapshot}") } else { String::new() };
    match topic {
        Topic::Book(depth) | Topic::Level3(depth) => {
            format!("\"channel\":\"{}\",\"depth\":{depth}{snapshot},\"symbol\":\"{symbol}\"", topic.channel())
        }
        Topic::Trade => format!("\"channel\":\"trade\"{snapshot},\"symbol\":\"{symbol}\""),
        Topic::Ticker { bbo } if !subscribe => {
            let trigger = if bbo { "bbo" } else { "trades" };
            format!("\"channel\":\"ticker\",\"event_trigger\":\"{trigger}\",\"symbol\":\"{symbol}\"")
        }
        Topic::Ticker { .. } => format!("\"channel\":\"ticker\"{snapshot},\"symbol\":\"{symbol}\""),
        Topic::Ohlc(interval) => {
            let warnings =
                if subscribe { ",\"warnings\":[\"timestamp is deprecated, use interval_begin\"]" } else { "" };
            format!(
                "\"channel\":\"ohlc\",\"interval\":{}{snapshot},\"symbol\":\"{symbol}\"{warnings}",
                INTERVALS[interval]
            )
        }
    }
}
