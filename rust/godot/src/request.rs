//! The requests of a client of the stream: JSON, read without trust.

use serde_json::{Map, Value, json};

use crate::values::Result;

/// Pairs that a client may subscribe.
pub const SYMBOLS_MAX: usize = 100;
/// Levels a side, if a client names none.
const DEPTH: u64 = 100;
/// Levels a side at most.
const DEPTH_MAX: u64 = 1000;
/// States of a pair a second, at most.
const RATE_MAX: f64 = 60.0;
/// Requests that only a recording can do.
const OF_LAKES: [&str; 5] = ["seek", "pause", "resume", "speed", "coverage"];
const METHODS: &str = "subscribe, unsubscribe, overview, rate";

/// A request that can be done.
#[derive(Debug, PartialEq)]
pub enum Request {
    /// Books and trades of these pairs; with level 3 if `orders`.
    Subscribe {
        /// The pairs.
        symbols: Vec<String>,
        /// Levels a side.
        depth: usize,
        /// Level-3 queues too.
        orders: bool,
    },
    /// No more of these pairs.
    Unsubscribe(Vec<String>),
    /// Figures of all pairs, or not.
    Overview(bool),
    /// States of a pair a second.
    Rate(f64),
}

/// A request as it came: its method and its number, as far as they can be told, and what it means or what is wrong with it.
pub struct Asked {
    method: Option<String>,
    req_id: Option<u64>,
    request: Option<Result<Request>>,
}

impl Asked {
    /// Reads a text.
    pub fn read(text: &str) -> Self {
        let Ok(value) = serde_json::from_str::<Value>(text) else {
            return Self { method: None, req_id: None, request: Some(Err("this is not JSON".into())) };
        };
        let Value::Object(message) = value else {
            let example = r#"a request is a JSON object, as {"method": "subscribe", "symbols": ["BTC/USD"]}"#;
            return Self { method: None, req_id: None, request: Some(Err(example.into())) };
        };
        let method = message.get("method").and_then(Value::as_str).map(str::to_owned);
        let req_id = message.get("req_id").and_then(Value::as_u64);
        let request = understood(&message, method.as_deref().unwrap_or_default());
        Self { method, req_id, request: Some(request) }
    }

    /// What it means, or what is wrong with it; once.
    pub fn take(&mut self) -> Result<Request> {
        self.request.take().unwrap_or_else(|| Err("this request was done before".into()))
    }

    /// The answer.
    pub fn answer(&self, done: Result<()>) -> String {
        let mut answer = json!({"type": "answer", "method": self.method, "success": done.is_ok()});
        if let Some(req_id) = self.req_id {
            answer["req_id"] = req_id.into();
        }
        if let Err(error) = done {
            answer["error"] = error.into();
        }
        answer.to_string()
    }
}

fn understood(message: &Map<String, Value>, method: &str) -> Result<Request> {
    let allowed: &[&str] = match method {
        "subscribe" => &["symbols", "depth", "orders"],
        "unsubscribe" => &["symbols"],
        "overview" => &["on"],
        "rate" => &["per_second"],
        _ if OF_LAKES.contains(&method) => {
            return Err(format!("{method}: this is live; only a recording can do that"));
        }
        _ => return Err(format!("method: {method:?} is not allowed; allowed is one of {METHODS}")),
    };
    if let Some(name) =
        message.keys().find(|name| !["method", "req_id"].contains(&name.as_str()) && !allowed.contains(&name.as_str()))
    {
        return Err(format!("{name:?} is not allowed; {method} takes {}", allowed.join(", ")));
    }
    Ok(match method {
        "subscribe" => {
            let depth = message.get("depth").map_or(Some(DEPTH), Value::as_u64);
            let depth =
                depth.filter(|depth| (1..=DEPTH_MAX).contains(depth)).and_then(|depth| usize::try_from(depth).ok());
            let depth = depth.ok_or_else(|| format!("depth: allowed is a whole number from 1 to {DEPTH_MAX}"))?;
            Request::Subscribe { symbols: symbols(message)?, depth, orders: flag(message, "orders", false)? }
        }
        "unsubscribe" => Request::Unsubscribe(symbols(message)?),
        "overview" => Request::Overview(flag(message, "on", true)?),
        _ => {
            let rate = message.get("per_second").and_then(Value::as_f64).filter(|rate| (1.0..=RATE_MAX).contains(rate));
            Request::Rate(rate.ok_or_else(|| format!("per_second: allowed is a number from 1 to {RATE_MAX}"))?)
        }
    })
}

fn symbols(message: &Map<String, Value>) -> Result<Vec<String>> {
    let wrong = || "symbols: allowed is a list of pairs, as [\"BTC/USD\"]".to_owned();
    let names = message.get("symbols").and_then(Value::as_array).filter(|names| !names.is_empty()).ok_or_else(wrong)?;
    if names.len() > SYMBOLS_MAX {
        return Err(format!("symbols: {} pairs are too many; allowed are {SYMBOLS_MAX}", names.len()));
    }
    names.iter().map(|name| name.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
}

fn flag(message: &Map<String, Value>, name: &str, otherwise: bool) -> Result<bool> {
    let value = message.get(name).map_or(Some(otherwise), Value::as_bool);
    value.ok_or_else(|| format!("{name}: allowed is true or false"))
}
