//! What can go wrong, and how a fault is asked for.
//!
//! A fault is a text, `NAME[=HOW][,KEY=VALUE]…`:
//!
//! ```
//! let mut exchange = krakpot_exchange::Exchange::new(2, 1000.0, 1, 0, false);
//! for text in ["drop=0.01,channel=book,symbol=*/USD", "cut=every:30s,after=5s", "maintenance=once,by=20s", "ignore"] {
//!     exchange.inject(text).expect("they can be read");
//! }
//! assert!(exchange.inject("dorp").expect_err("there is none").starts_with("no fault 'dorp'"));
//! ```

use crate::request::{ENDPOINTS, Endpoint};
use crate::rng::Rng;

const MS: i64 = 1_000_000;
/// ns.
pub const SECOND: i64 = 1000 * MS;
/// The longest time that a fault can name.
const TIME_MAX: i64 = 3600 * SECOND;
/// The shortest time between two faults of a kind.
const EVERY_MIN: i64 = MS;
/// Channels, as the log names them.
pub const CHANNELS: [&str; 13] = [
    "book",
    "level3",
    "trade",
    "ticker",
    "ohlc",
    "instrument",
    "status",
    "heartbeat",
    "ack",
    "refusal",
    "pong",
    "executions",
    "balances",
];

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each has its line of help in KINDS")]
pub enum What {
    Drop,
    Repeat,
    Reorder,
    Delay,
    Digit,
    Truncate,
    Garbage,
    Oversize,
    Absent,
    Null,
    Huge,
    Stray,
    Silence,
    Refuse,
    Already,
    RateLimit,
    Ignore,
    Hollow,
    Cut,
    Close,
    HalfOpen,
    Stall,
    Deaf,
    Trickle,
    Handshake,
    RetryAfter,
    Budget,
    Rest,
    RestLimit,
    Maintenance,
    CancelOnly,
    PostOnly,
    Status,
    Instrument,
    Precision,
    Delist,
    List,
    Skew,
    LateAck,
    LostAck,
    LostRequest,
    ReportBeforeAck,
    DuplicateReport,
    CutAnswer,
    SequenceGap,
    TokenRefused,
    RestLag,
    RestBusy,
    Nonce,
    Lockout,
}

/// What a fault happens to. This decides when it can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// A frame on its way out.
    Frame,
    /// A symbol of a request that is answered.
    Answer,
    /// A connection, at a time. The caller does it.
    Socket,
    /// A client that wants to connect.
    Handshake,
    /// A request to REST for public data.
    Rest,
    /// A request of the private endpoint that makes, changes or cancels orders.
    Order,
    /// A message of a channel of the account.
    Report,
    /// A token that is used.
    Token,
    /// A signed request to REST.
    Account,
    /// The exchange, at a time.
    Exchange,
    /// A pair, at a time.
    Pair,
}

impl Occasion {
    /// Its name in the documentation.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Frame => "frame",
            Self::Answer => "answer",
            Self::Socket => "connection",
            Self::Handshake => "handshake",
            Self::Rest => "request",
            Self::Order => "order request",
            Self::Report => "report",
            Self::Token => "token",
            Self::Account => "signed request",
            Self::Exchange => "exchange",
            Self::Pair => "pair",
        }
    }

    /// Whether the clock decides when it happens.
    #[must_use]
    pub const fn timed(self) -> bool {
        matches!(self, Self::Socket | Self::Exchange | Self::Pair)
    }

    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Frame | Self::Answer => &["by", "channel", "symbol", "connection", "endpoint", "after", "for"],
            Self::Socket => &["by", "connection", "endpoint", "after", "for"],
            Self::Order => &["by", "method", "symbol", "connection", "after", "for"],
            Self::Report => &["channel", "connection", "after", "for"],
            Self::Token => &["method", "connection", "after", "for"],
            Self::Account => &["by", "method", "after", "for"],
            Self::Handshake => &["by", "endpoint", "after", "for"],
            Self::Rest | Self::Exchange => &["by", "after", "for"],
            Self::Pair => &["by", "symbol", "after", "for"],
        }
    }
}

/// What the key `by` of a fault means.
#[derive(Debug, Clone, Copy)]
pub enum By {
    /// The fault has no `by`.
    Nothing,
    /// A time: its default, ns, and whether it may be negative.
    Time(i64, bool),
    /// A number: its unit, default, least and greatest value.
    Number(&'static str, i64, i64, i64),
    /// Words: their default.
    Words(&'static str),
}

/// A kind of fault.
#[derive(Debug)]
pub struct Kind {
    /// What goes wrong.
    pub what: What,
    /// Its name.
    pub name: &'static str,
    /// What it happens to.
    pub occasion: Occasion,
    /// What `by` means.
    pub by: By,
    /// What it does, in one line.
    pub help: &'static str,
}

const fn kind(what: What, name: &'static str, occasion: Occasion, by: By, help: &'static str) -> Kind {
    Kind { what, name, occasion, by, help }
}

/// All kinds.
#[rustfmt::skip]
pub static KINDS: [Kind; 50] = [
    kind(What::Drop, "drop", Occasion::Frame, By::Nothing, "the frame is not sent"),
    kind(What::Repeat, "repeat", Occasion::Frame, By::Nothing, "the frame is sent twice"),
    kind(What::Reorder, "reorder", Occasion::Frame, By::Nothing, "the frame is sent after the next frame of its channel and symbol, or a second late"),
    kind(What::Delay, "delay", Occasion::Frame, By::Time(SECOND, false), "the frame is sent this much later; other frames overtake it"),
    kind(What::Digit, "digit", Occasion::Frame, By::Nothing, "one digit of the frame is changed"),
    kind(What::Truncate, "truncate", Occasion::Frame, By::Nothing, "the text of the frame is cut short"),
    kind(What::Garbage, "garbage", Occasion::Frame, By::Nothing, "the text of the frame is replaced by random bytes"),
    kind(What::Oversize, "oversize", Occasion::Frame, By::Number("bytes", 20 << 20, 1, 1 << 30), "the frame is padded with spaces to this size"),
    kind(What::Absent, "absent", Occasion::Frame, By::Words("ord_type"), "one field of this name is left out of the frame"),
    kind(What::Null, "null", Occasion::Frame, By::Words("ord_type"), "one field of this name in the frame is null"),
    kind(What::Huge, "huge", Occasion::Frame, By::Words("qty"), "one field of this name in the frame is a number of 22 digits, or a text of 70 characters"),
    kind(What::Stray, "stray", Occasion::Frame, By::Words(r#"{"foo":"bar"}"#), "a frame of this text, which is not a message, is sent before it"),
    kind(What::Silence, "silence", Occasion::Frame, By::Nothing, "the frame and all later frames of its subscription are not sent, until the client subscribes again"),
    kind(What::Refuse, "refuse", Occasion::Answer, By::Words("EService:Unavailable"), "a subscription is refused with this text"),
    kind(What::Already, "already", Occasion::Answer, By::Nothing, "a subscription is refused as 'Already subscribed'"),
    kind(What::RateLimit, "ratelimit", Occasion::Answer, By::Nothing, "a request is refused as 'Exceeded msg rate'"),
    kind(What::Ignore, "ignore", Occasion::Answer, By::Nothing, "a request gets no answer and has no effect"),
    kind(What::Hollow, "hollow", Occasion::Answer, By::Nothing, "a subscription is acknowledged, but no message of it is ever sent"),
    kind(What::Cut, "cut", Occasion::Socket, By::Nothing, "the connection is reset (TCP)"),
    kind(What::Close, "close", Occasion::Socket, By::Number("code", 1001, 1000, 4999), "the connection is closed with this WebSocket code"),
    kind(What::HalfOpen, "half_open", Occasion::Socket, By::Nothing, "the connection stays open, but nothing is sent or read any more"),
    kind(What::Stall, "stall", Occasion::Socket, By::Time(10 * SECOND, false), "nothing is sent for this long, then everything at once"),
    kind(What::Deaf, "deaf", Occasion::Socket, By::Time(10 * SECOND, false), "nothing is read for this long"),
    kind(What::Trickle, "trickle", Occasion::Socket, By::Number("bytes a second", 1000, 1, 1 << 30), "at most this many bytes per second are sent, for ten seconds"),
    kind(What::Handshake, "handshake", Occasion::Handshake, By::Number("HTTP status", 503, 0, 599), "a client is refused with this HTTP status; 0: the connection is reset without an answer"),
    kind(What::RetryAfter, "retry_after", Occasion::Handshake, By::Time(5 * SECOND, false), "a client is refused with 429 and a Retry-After header of this time"),
    kind(What::Budget, "budget", Occasion::Handshake, By::Number("connections", 150, 0, 1_000_000), "an address that connects more often than this in 10 minutes is refused with 429 for 10 minutes"),
    kind(What::Rest, "rest", Occasion::Rest, By::Number("HTTP status", 503, 400, 599), "a request to REST for public data is answered with this HTTP status"),
    kind(What::RestLimit, "rest_limit", Occasion::Rest, By::Words("EGeneral:Too many requests"), "a request to REST for public data is refused with this text"),
    kind(What::Maintenance, "maintenance", Occasion::Exchange, By::Time(10 * SECOND, false), "the exchange announces that it is in maintenance, and nothing trades for this long"),
    kind(What::CancelOnly, "cancel_only", Occasion::Exchange, By::Time(10 * SECOND, false), "the same with the state cancel_only"),
    kind(What::PostOnly, "post_only", Occasion::Exchange, By::Time(10 * SECOND, false), "the same with the state post_only"),
    kind(What::Status, "status", Occasion::Exchange, By::Time(30 * SECOND, false), "a maintenance is announced that begins this much later, and again in each of its phases; the fault maintenance lets it begin"),
    kind(What::Instrument, "instrument", Occasion::Pair, By::Time(10 * SECOND, false), "a pair gets a status such as limit_only or cancel_only, and does not trade for this long"),
    kind(What::Precision, "precision", Occasion::Pair, By::Nothing, "the prices of a pair get one decimal more or fewer: its market restarts, and subscribers of its books get a snapshot"),
    kind(What::Delist, "delist", Occasion::Pair, By::Nothing, "a pair gets the status delisted, and its subscriptions end"),
    kind(What::List, "list", Occasion::Pair, By::Number("trade id", 0, 0, i64::MAX), "a delisted pair, or else a new one, is listed; its trade ids begin here, or continue (0)"),
    kind(What::Skew, "skew", Occasion::Exchange, By::Time(5 * SECOND, true), "the clock that stamps messages is off by this much while the fault lasts"),
    kind(What::LateAck, "late_ack", Occasion::Order, By::Time(2 * SECOND, false), "the request is done, its reports come, and its answer comes this much later"),
    kind(What::LostAck, "lost_ack", Occasion::Order, By::Nothing, "the request is done, and its answer never comes"),
    kind(What::LostRequest, "lost_request", Occasion::Order, By::Nothing, "the request is lost: it is not done, and no answer comes"),
    kind(What::ReportBeforeAck, "report_before_ack", Occasion::Order, By::Nothing, "the reports of the request come before its answer"),
    kind(What::CutAnswer, "cut_answer", Occasion::Order, By::Nothing, "the request is done, and the connection is reset before its answer and its reports"),
    kind(What::DuplicateReport, "duplicate_report", Occasion::Report, By::Nothing, "the message is sent again, with the next number of its sequence"),
    kind(What::SequenceGap, "sequence_gap", Occasion::Report, By::Nothing, "the sequence leaves out a number before the message"),
    kind(What::TokenRefused, "token_refused", Occasion::Token, By::Nothing, "the token is refused, as if it were unknown"),
    kind(What::RestLag, "rest_lag", Occasion::Account, By::Time(60 * SECOND, false), "orders, trades and balances are shown as they were this long ago"),
    kind(What::RestBusy, "rest_busy", Occasion::Account, By::Words("EService:Busy"), "the request is not done, and refused with this text"),
    kind(What::Nonce, "nonce", Occasion::Account, By::Nothing, "the request is refused as 'EAPI:Invalid nonce'"),
    kind(What::Lockout, "lockout", Occasion::Account, By::Time(900 * SECOND, false), "all signed requests are refused as 'EGeneral:Temporary lockout' for this long; each of them starts the time anew"),
];

/// How often a fault happens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum How {
    /// On each occasion.
    Always,
    /// On the first occasion.
    Once,
    /// With this probability on each occasion; where the clock decides, in each second.
    Chance(f64),
    /// On the first occasion after each period, ns.
    Every(i64),
}

/// A fault that was asked for.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Its kind.
    pub kind: &'static Kind,
    /// As it was asked for.
    pub text: String,
    /// The value of `by`, where it is a time (ns) or a number.
    pub by: i64,
    /// The value of `by`, where it is words.
    pub words: String,
    /// How often it happens.
    pub how: How,
    /// Pattern of channels.
    pub channel: Option<String>,
    /// Pattern of symbols.
    pub symbol: Option<String>,
    /// Number of a connection.
    pub connection: Option<u64>,
    /// What the connection is for.
    pub endpoint: Option<Endpoint>,
    /// It happens from this time on, ns.
    pub from: i64,
    /// It happens before this time, ns.
    pub until: i64,
    /// When it happens next, if the clock decides or it is periodic, ns.
    pub next: i64,
    /// Whether it will not happen again.
    pub done: bool,
}

/// Whether `pattern`, with `*` for any run of characters and `?` for one, is the whole of `text`.
#[must_use]
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut read) = (0, 0);
    // The latest star, and where its run ends for now: the run grows when the rest of the pattern does not match.
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(&one) if one == b'?' || one == text[read] => (at, read) = (at + 1, read + 1),
            _ => {
                let Some((begin, end)) = &mut star else { return false };
                *end += 1;
                (at, read) = (*begin + 1, *end);
            }
        }
    }
    pattern[at..].iter().all(|&one| one == b'*')
}

/// Reads a time like `5ms`, `250us`, `1.5s` or `2m`, to ns.
fn time(text: &str) -> Option<i64> {
    let (number, unit) = [("us", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9)]
        .into_iter()
        .find_map(|(name, unit)| text.strip_suffix(name).map(|number| (number, unit)))?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let ns = number.parse::<f64>().ok()? * unit;
    #[allow(clippy::cast_possible_truncation, reason = "rounded, and bounded in the next line")]
    let ns = ns.round() as i64;
    (0..=TIME_MAX).contains(&ns).then_some(ns)
}

const TIMES: &str = "a time like 5ms, 1.5s or 2m, up to an hour";

/// Reads a fault; `after` counts from `now`.
///
/// # Errors
/// A sentence that says what is allowed, for an unknown name or a value that is not allowed.
pub fn read(text: &str, now: i64) -> Result<Fault, String> {
    let mut parts = text.trim().split(',').map(|part| part.split_once('=').map_or((part, None), |(k, v)| (k, Some(v))));
    let (name, how) = parts.next().unwrap_or_default();
    let Some(kind) = KINDS.iter().find(|kind| kind.name == name) else {
        let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        return Err(format!("no fault '{name}'; the faults are: {}", names.join(", ")));
    };
    let how = match how {
        None if kind.occasion.timed() && kind.what != What::Skew => How::Once,
        None => How::Always,
        Some("once") => How::Once,
        Some(how) => {
            let chance = how.parse().ok().filter(|chance| (0.0..=1.0).contains(chance)).map(How::Chance);
            let every =
                || how.strip_prefix("every:").and_then(time).filter(|&every| every >= EVERY_MIN).map(How::Every);
            chance
                .or_else(every)
                .ok_or_else(|| format!("{name}={how}: allowed is a chance from 0 to 1, once, or every: with {TIMES}"))?
        }
    };
    if kind.what == What::Skew && how != How::Always {
        return Err("skew lasts, so it takes no chance, once or every; use after and for".to_owned());
    }
    let (by, words) = match kind.by {
        By::Nothing => (0, String::new()),
        By::Time(by, _) | By::Number(_, by, ..) => (by, String::new()),
        By::Words(words) => (0, words.to_owned()),
    };
    let mut fault = Fault {
        kind,
        text: text.trim().to_owned(),
        by,
        words,
        how,
        channel: None,
        symbol: None,
        connection: None,
        endpoint: None,
        from: now,
        until: i64::MAX,
        next: 0,
        done: false,
    };
    let mut lasts = None;
    for (key, value) in parts {
        let keys: Vec<&str> = kind
            .occasion
            .keys()
            .iter()
            .copied()
            .filter(|key| *key != "by" || !matches!(kind.by, By::Nothing))
            .collect();
        let Some(value) = value.filter(|_| keys.contains(&key)) else {
            return Err(format!("{name} has no '{key}'; it has {}, each with = and a value", keys.join(", ")));
        };
        let wrong = |allowed: &str| format!("{name}: {key}={value}: allowed is {allowed}");
        match key {
            "by" => fault.set_by(value).map_err(|allowed| wrong(&allowed))?,
            "channel" if CHANNELS.iter().any(|channel| glob(value, channel)) => fault.channel = Some(value.to_owned()),
            "channel" => return Err(wrong(&format!("one of {}, or a pattern of them", CHANNELS.join(", ")))),
            "method" if !value.is_empty() => fault.channel = Some(value.to_owned()),
            "method" => return Err(wrong("the name of a method, or a pattern, as *_order")),
            "symbol" => fault.symbol = Some(value.to_owned()),
            "connection" => fault.connection = Some(value.parse().map_err(|_| wrong("the number of a connection"))?),
            "endpoint" => {
                let names = ENDPOINTS.map(|endpoint| endpoint.0).join(", ");
                let found = ENDPOINTS.into_iter().find(|endpoint| endpoint.0 == value);
                fault.endpoint = Some(found.ok_or_else(|| wrong(&format!("one of {names}")))?.1);
            }
            "after" => fault.from = now + time(value).ok_or_else(|| wrong(TIMES))?,
            _ => lasts = Some(time(value).ok_or_else(|| wrong(TIMES))?),
        }
    }
    fault.until = lasts.map_or(i64::MAX, |lasts| fault.from + lasts);
    fault.next = match fault.how {
        How::Every(every) => fault.from + every,
        How::Chance(_) => fault.from + SECOND,
        How::Always | How::Once => fault.from,
    };
    Ok(fault)
}

impl Fault {
    fn set_by(&mut self, value: &str) -> Result<(), String> {
        match self.kind.by {
            By::Nothing => {}
            By::Time(_, signed) => {
                let (sign, rest) = match value.strip_prefix('-') {
                    Some(rest) if signed => (-1, rest),
                    _ => (1, value),
                };
                self.by = sign * time(rest).ok_or(TIMES)?;
            }
            By::Number(of, _, least, most) => {
                let number = value.parse().ok().filter(|number| (least..=most).contains(number));
                self.by = number.ok_or_else(|| format!("a number of {of} from {least} to {most}"))?;
                // A close frame may carry no other code.
                if self.kind.what == What::Close && !matches!(self.by, 1000..=1003 | 1007..=1014 | 3000..) {
                    return Err("a close code: 1000 to 1003, 1007 to 1014, 3000 to 4999".to_owned());
                }
            }
            By::Words(_) if (1..=200).contains(&value.len()) => value.clone_into(&mut self.words),
            By::Words(_) => return Err("a text of 1 to 200 bytes".to_owned()),
        }
        Ok(())
    }

    /// Whether it is in force.
    #[must_use]
    pub fn is_active(&self, now: i64) -> bool {
        (self.from..self.until).contains(&now)
    }

    /// Whether it selects a connection, channel and symbol.
    #[must_use]
    pub fn concerns(&self, connection: u64, channel: &str, symbol: &str) -> bool {
        self.connection.is_none_or(|one| one == connection)
            && self.channel.as_ref().is_none_or(|pattern| glob(pattern, channel))
            && self.symbol.as_ref().is_none_or(|pattern| glob(pattern, symbol))
    }

    /// Whether it selects the connections of an endpoint.
    #[must_use]
    pub fn is_at(&self, endpoint: Endpoint) -> bool {
        self.endpoint.is_none_or(|one| one == endpoint)
    }

    /// Whether it happens on an occasion at this time.
    pub fn hits(&mut self, now: i64, rng: &mut Rng) -> bool {
        match self.how {
            How::Always => true,
            How::Once => !std::mem::replace(&mut self.done, true),
            How::Chance(chance) => rng.unit() < chance,
            How::Every(every) => {
                let due = now >= self.next;
                if due {
                    self.next = now + every;
                }
                due
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a wrong text is refused with what is allowed; a right one is read.
    #[test]
    fn texts() {
        for (text, sentence) in [
            ("dorp", "no fault 'dorp'; the faults are: drop, repeat,"),
            ("", "no fault ''; the faults are:"),
            ("drop=2", "drop=2: allowed is a chance from 0 to 1, once, or every:"),
            ("drop=-0.1", "allowed is a chance from 0 to 1"),
            ("drop=NaN", "allowed is a chance from 0 to 1"),
            ("drop=every:0s", "allowed is a chance"),
            ("drop=1,chanel=book", "drop has no 'chanel'; it has channel, symbol, connection, endpoint, after, for"),
            ("drop=1,by=5", "drop has no 'by'"),
            ("drop=1,channel", "drop has no 'channel'; it has channel"),
            ("drop=1,channel=bok", "drop: channel=bok: allowed is one of book, level3,"),
            ("drop,for=5", "drop: for=5: allowed is a time like 5ms"),
            ("drop,after=2h", "drop: after=2h: allowed is a time"),
            ("drop,after=61m", "drop: after=61m: allowed is a time"),
            ("drop,after=.s", "drop: after=.s: allowed is a time"),
            ("close,by=99", "close: by=99: allowed is a number of code from 1000 to 4999"),
            ("close,by=1006", "close: by=1006: allowed is a close code: 1000 to 1003,"),
            ("cut,symbol=BTC/USD", "cut has no 'symbol'; it has connection, endpoint, after, for"),
            ("cut,endpoint=rest", "cut: endpoint=rest: allowed is one of public, level3, private"),
            ("cut,connection=x", "cut: connection=x: allowed is the number of a connection"),
            ("stall,by=-5s", "stall: by=-5s: allowed is a time"),
            ("skew=0.5", "skew lasts"),
            ("refuse,by=", "refuse: by=: allowed is a text"),
        ] {
            let error = read(text, 0).expect_err(text);
            assert!(error.contains(sentence), "{text}: {error}");
        }
        for kind in &KINDS {
            let fault = read(kind.name, 7).expect(kind.name);
            assert_eq!((fault.from, fault.until, fault.text.as_str()), (7, i64::MAX, kind.name));
        }
        let fault =
            read("delay=0.25,by=1.5s,channel=b*,symbol=*/USD,connection=3,after=2m,for=250ms", 1).expect("right");
        assert_eq!((fault.how, fault.by), (How::Chance(0.25), 1_500 * MS));
        assert_eq!((fault.from, fault.until), (1 + 120 * SECOND, 1 + 120 * SECOND + 250 * MS));
        assert!(fault.concerns(3, "book", "BTC/USD"));
        assert!(!fault.concerns(2, "book", "BTC/USD"));
        assert!(!fault.concerns(3, "trade", "BTC/USD"));
        assert!(!fault.concerns(3, "book", "BTC/EUR"));
        assert_eq!(read("skew,by=-5s", 0).expect("right").by, -5 * SECOND);
        assert_eq!(read("refuse,by=EGeneral:Internal error", 0).expect("right").words, "EGeneral:Internal error");
    }

    #[test]
    fn names_differ_and_each_has_its_line() {
        let names: std::collections::HashSet<_> = KINDS.iter().map(|kind| kind.name).collect();
        assert_eq!(names.len(), KINDS.len());
        assert!(KINDS.iter().all(|kind| kind.help.len() > 5 && !kind.help.contains('\n')));
    }

    #[test]
    fn patterns() {
        for (pattern, text, is) in [
            ("*", "", true),
            ("*/USD", "BTC/USD", true),
            ("*/USD", "BTC/USDT", false),
            ("B?C/*", "BTC/EUR", true),
            ("BTC", "BTC/USD", false),
            ("", "x", false),
        ] {
            assert_eq!(glob(pattern, text), is, "{pattern} {text}");
        }
    }
}
