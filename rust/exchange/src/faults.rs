//! Faults on demand: what goes wrong, when, and with what. What it means is done where it happens ([`crate::Exchange`]);
//! what happens to sockets is decided here and done by whoever holds them.
//!
//! A fault is a text, `NAME[=HOW][,KEY=VALUE]…`:
//!
//! ```
//! let mut exchange = krakpot_exchange::Exchange::new(2, 1000.0, 1, 0, false);
//! for text in ["drop=0.01,channel=book,symbol=*/USD", "cut=every:30s,after=5s", "maintenance=once,by=20s", "ignore"] {
//!     exchange.fault(text).expect("they can be read");
//! }
//! assert!(exchange.fault("dorp").expect_err("there is none").starts_with("no fault 'dorp'"));
//! ```
//!
//! Chances are drawn from a generator of their own, so that a market does not depend on them, and the same seed,
//! requests and times have the same faults.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::rng::Rng;

const MS: i64 = 1_000_000;
const SECOND: i64 = 1000 * MS;
/// The longest time that a fault can name.
const TIME_MAX: i64 = 3600 * SECOND;
/// The shortest time between two faults of a kind.
const EVERY_MIN: i64 = MS;
/// What happened is kept until it is taken; of more the oldest is forgotten, but counted.
const INJECTED_MAX: usize = 100_000;
/// For so long attempts to connect are counted, and an address that made too many is refused.
const WINDOW: i64 = 600 * SECOND;
/// Addresses that are counted.
const ADDRESSES_MAX: usize = 1000;
/// Channels, as the log names them.
pub const CHANNELS: [&str; 11] =
    ["book", "level3", "trade", "ticker", "ohlc", "instrument", "status", "heartbeat", "ack", "refusal", "pong"];

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
    Budget,
    Maintenance,
    CancelOnly,
    PostOnly,
    Status,
    Instrument,
    Precision,
    Delist,
    List,
    Skew,
}

/// What a fault may happen to, and so when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// A frame that goes out.
    Frame,
    /// A symbol of a request that is answered.
    Answer,
    /// A connection, at a time. Done by the caller.
    Socket,
    /// A client that wants to connect.
    Handshake,
    /// The exchange, at a time.
    Exchange,
    /// A pair, at a time.
    Pair,
}

impl Occasion {
    /// What the page of the documentation calls it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Frame => "frame",
            Self::Answer => "answer",
            Self::Socket => "connection",
            Self::Handshake => "handshake",
            Self::Exchange => "exchange",
            Self::Pair => "pair",
        }
    }

    /// Whether the clock decides when.
    const fn timed(self) -> bool {
        matches!(self, Self::Socket | Self::Exchange | Self::Pair)
    }

    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Frame | Self::Answer => &["by", "channel", "symbol", "connection", "after", "for"],
            Self::Socket => &["by", "connection", "after", "for"],
            Self::Handshake | Self::Exchange => &["by", "after", "for"],
            Self::Pair => &["by", "symbol", "after", "for"],
        }
    }
}

/// What `by` says of a fault.
#[derive(Debug, Clone, Copy)]
pub enum By {
    /// It has none.
    Nothing,
    /// A time; the default, ns. May be negative where the second is true.
    Time(i64, bool),
    /// A number: what of, the default, from, to.
    Number(&'static str, i64, i64, i64),
    /// Words; the default.
    Words(&'static str),
}

/// A kind of fault.
#[derive(Debug)]
pub struct Kind {
    /// What goes wrong.
    pub what: What,
    /// Its name.
    pub name: &'static str,
    /// What it may happen to.
    pub occasion: Occasion,
    /// What `by` says of it.
    pub by: By,
    /// What it does, in a line.
    pub help: &'static str,
}

const fn kind(what: What, name: &'static str, occasion: Occasion, by: By, help: &'static str) -> Kind {
    Kind { what, name, occasion, by, help }
}

/// All kinds.
#[rustfmt::skip]
pub static KINDS: [Kind; 31] = [
    kind(What::Drop, "drop", Occasion::Frame, By::Nothing, "the frame is not sent"),
    kind(What::Repeat, "repeat", Occasion::Frame, By::Nothing, "it is sent twice"),
    kind(What::Reorder, "reorder", Occasion::Frame, By::Nothing, "it changes places with the next one of its channel and symbol, or comes a second late"),
    kind(What::Delay, "delay", Occasion::Frame, By::Time(SECOND, false), "it leaves so much later; others overtake it"),
    kind(What::Digit, "digit", Occasion::Frame, By::Nothing, "one of its digits is another"),
    kind(What::Truncate, "truncate", Occasion::Frame, By::Nothing, "its text ends early"),
    kind(What::Garbage, "garbage", Occasion::Frame, By::Nothing, "bytes at random stand in its place"),
    kind(What::Oversize, "oversize", Occasion::Frame, By::Number("bytes", 20 << 20, 1, 1 << 30), "blanks make it so long"),
    kind(What::Silence, "silence", Occasion::Frame, By::Nothing, "neither it nor what follows of its subscription is sent, until that is asked for anew"),
    kind(What::Refuse, "refuse", Occasion::Answer, By::Words("EService:Unavailable"), "a subscription is refused in these words"),
    kind(What::Already, "already", Occasion::Answer, By::Nothing, "a subscription is refused as 'Already subscribed'"),
    kind(What::RateLimit, "ratelimit", Occasion::Answer, By::Nothing, "a request is refused as 'Exceeded msg rate'"),
    kind(What::Ignore, "ignore", Occasion::Answer, By::Nothing, "a request has no answer and does nothing"),
    kind(What::Hollow, "hollow", Occasion::Answer, By::Nothing, "a subscription is acknowledged, and nothing of it ever comes"),
    kind(What::Cut, "cut", Occasion::Socket, By::Nothing, "TCP reset"),
    kind(What::Close, "close", Occasion::Socket, By::Number("code", 1001, 1000, 4999), "a WebSocket close with this code"),
    kind(What::HalfOpen, "half_open", Occasion::Socket, By::Nothing, "nothing is sent or read any more, and no end is told"),
    kind(What::Stall, "stall", Occasion::Socket, By::Time(10 * SECOND, false), "nothing is sent for so long, then all at once"),
    kind(What::Deaf, "deaf", Occasion::Socket, By::Time(10 * SECOND, false), "nothing is read for so long"),
    kind(What::Trickle, "trickle", Occasion::Socket, By::Number("bytes a second", 1000, 1, 1 << 30), "for ten seconds no more than so many bytes a second are sent"),
    kind(What::Handshake, "handshake", Occasion::Handshake, By::Number("HTTP status", 503, 0, 599), "a client is refused with this HTTP status; 0: cut without a word"),
    kind(What::Budget, "budget", Occasion::Handshake, By::Number("connections", 150, 0, 1_000_000), "an address that connects more than so often in 10 minutes is refused (429) for 10 minutes"),
    kind(What::Maintenance, "maintenance", Occasion::Exchange, By::Time(10 * SECOND, false), "the exchange is in maintenance for so long: it says so, and nothing moves"),
    kind(What::CancelOnly, "cancel_only", Occasion::Exchange, By::Time(10 * SECOND, false), "the same with cancel_only"),
    kind(What::PostOnly, "post_only", Occasion::Exchange, By::Time(10 * SECOND, false), "the same with post_only"),
    kind(What::Status, "status", Occasion::Exchange, By::Nothing, "a status message announces a maintenance"),
    kind(What::Instrument, "instrument", Occasion::Pair, By::Time(10 * SECOND, false), "a pair is limit_only, cancel_only or the like for so long: told, and it does not move"),
    kind(What::Precision, "precision", Occasion::Pair, By::Nothing, "a pair's prices have a decimal more or fewer: told, its market begins anew, and subscribers of its books get a snapshot"),
    kind(What::Delist, "delist", Occasion::Pair, By::Nothing, "a pair is delisted: told, and its subscriptions end"),
    kind(What::List, "list", Occasion::Pair, By::Nothing, "a pair that was delisted comes again, else a new one comes"),
    kind(What::Skew, "skew", Occasion::Exchange, By::Time(5 * SECOND, true), "the clock that stamps messages is so far off from then on, while the fault lasts"),
];

/// When a fault happens.
#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    Always,
    Once,
    /// Of each occasion; of those of time in each second.
    Chance(f64),
    /// ns.
    Every(i64),
}

/// A fault that was asked for.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Of which kind.
    pub kind: &'static Kind,
    /// As it was asked for.
    pub text: String,
    /// What `by` says, as a number, and in words.
    pub by: i64,
    /// The same in words.
    pub words: String,
    how: How,
    channel: Option<String>,
    /// Pattern of symbols.
    pub symbol: Option<String>,
    connection: Option<u64>,
    from: i64,
    until: i64,
    /// The next time: of those of time, or of `every`.
    next: i64,
    done: bool,
}

/// Whether `pattern`, with `*` for any run of characters and `?` for one, is the whole of `text`.
#[must_use]
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut read) = (0, 0);
    // The latest star, and where its run ends for now: it grows when what follows does not fit.
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

/// A time as `5ms`, `250us`, `1.5s`, `2m`, ns.
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

const TIMES: &str = "a time as 5ms, 1.5s or 2m, up to an hour";

/// Reads a fault; `now` is the time from which `after` counts. The error is a sentence that says what is allowed.
///
/// # Errors
/// For a name that is not known, and values that are not allowed.
pub fn read(text: &str, now: i64) -> Result<Fault, String> {
    let mut parts = text.trim().split(',').map(|part| part.split_once('=').map_or((part, None), |(k, v)| (k, Some(v))));
    let (name, how) = parts.next().unwrap_or_default();
    let Some(kind) = KINDS.iter().find(|kind| kind.name == name) else {
        let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        return Err(format!("no fault '{name}'; faults: {}", names.join(", ")));
    };
    let how = match how {
        None if kind.occasion.timed() && kind.what != What::Skew => How::Once,
        None => How::Always,
        Some("once") => How::Once,
        Some(how) => {
            let chance = how.parse().ok().filter(|chance| (0.0..=1.0).contains(chance)).map(How::Chance);
            let every =
                || how.strip_prefix("every:").and_then(time).filter(|&every| every >= EVERY_MIN).map(How::Every);
            chance.or_else(every).ok_or_else(|| {
                format!("{name}={how}: allowed is a chance from 0 to 1, once, or every: and {TIMES}, as every:30s")
            })?
        }
    };
    if kind.what == What::Skew && how != How::Always {
        return Err("skew lasts: it is asked for without a chance; after and for say when".to_owned());
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
            "by" => fault.by(value).map_err(|allowed| wrong(&allowed))?,
            "channel" if CHANNELS.iter().any(|channel| glob(value, channel)) => fault.channel = Some(value.to_owned()),
            "channel" => return Err(wrong(&format!("one of {}, or a pattern of them", CHANNELS.join(", ")))),
            "symbol" => fault.symbol = Some(value.to_owned()),
            "connection" => fault.connection = Some(value.parse().map_err(|_| wrong("the number of a connection"))?),
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
    fn by(&mut self, value: &str) -> Result<(), String> {
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
                // No others may stand in a close frame.
                if self.kind.what == What::Close && !matches!(self.by, 1000..=1003 | 1007..=1014 | 3000..) {
                    return Err("a close code: 1000 to 1003, 1007 to 1014, 3000 to 4999".to_owned());
                }
            }
            By::Words(_) if (1..=200).contains(&value.len()) => value.clone_into(&mut self.words),
            By::Words(_) => return Err("some words, up to 200 bytes".to_owned()),
        }
        Ok(())
    }

    fn concerns(&self, connection: u64, channel: &str, symbol: &str) -> bool {
        self.connection.is_none_or(|one| one == connection)
            && self.channel.as_ref().is_none_or(|pattern| glob(pattern, channel))
            && self.symbol.as_ref().is_none_or(|pattern| glob(pattern, symbol))
    }

    /// Whether it happens on an occasion of now.
    fn hits(&mut self, now: i64, rng: &mut Rng) -> bool {
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

/// A fault that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injected {
    /// Time of the exchange, ns.
    pub ts: i64,
    /// Name of the fault.
    pub name: &'static str,
    /// Connection, where it is about one.
    pub connection: Option<u64>,
    /// Number of the connection's frame that was or would have been the next.
    pub frame: Option<u64>,
    /// Channel, or nothing.
    pub channel: &'static str,
    /// Symbol, or nothing.
    pub symbol: String,
    /// What `by` said.
    pub by: i64,
}

/// Attempts of one address to connect.
#[derive(Debug, Default)]
struct Attempts {
    at: VecDeque<i64>,
    banned: i64,
}

/// The faults of an exchange.
#[derive(Debug)]
pub struct Faults {
    list: Vec<Fault>,
    /// For chances and damage.
    pub rng: Rng,
    injected: VecDeque<Injected>,
    counts: BTreeMap<&'static str, u64>,
    /// Whether any is about frames: else they need not be asked.
    pub frames: bool,
    /// When one of time may be due, or one ends, ns.
    pub next: i64,
    attempts: HashMap<String, Attempts>,
}

impl Faults {
    /// None yet.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            list: Vec::new(),
            rng: Rng::new(seed ^ 0x4641_554C),
            injected: VecDeque::new(),
            counts: BTreeMap::new(),
            frames: false,
            next: i64::MAX,
            attempts: HashMap::new(),
        }
    }

    /// Adds one.
    pub fn add(&mut self, fault: Fault) {
        self.list.push(fault);
        self.refresh();
    }

    /// Ends all.
    pub fn clear(&mut self) {
        self.list.clear();
        self.attempts.clear();
        self.refresh();
    }

    /// Those that are in force, or will be, as they were asked for.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|fault| fault.text.as_str())
    }

    fn refresh(&mut self) {
        self.list.retain(|fault| !fault.done);
        self.frames = self.list.iter().any(|fault| fault.kind.occasion == Occasion::Frame);
        let due = self.list.iter().filter(|fault| fault.kind.occasion.timed()).map(|fault| fault.next).min();
        let ends = self.list.iter().map(|fault| fault.until).min();
        self.next = due.unwrap_or(i64::MAX).min(ends.unwrap_or(i64::MAX));
    }

    /// The fault that happens to something, if one does: the first in the order in which they were asked for.
    pub fn pick(
        &mut self,
        occasion: Occasion,
        (now, connection, channel, symbol): (i64, u64, &str, &str),
        may: impl Fn(What) -> bool,
    ) -> Option<Fault> {
        for fault in &mut self.list {
            if fault.kind.occasion == occasion
                && (fault.from..fault.until).contains(&now)
                && may(fault.kind.what)
                && fault.concerns(connection, channel, symbol)
                && fault.hits(now, &mut self.rng)
            {
                let hit = fault.clone();
                if hit.done {
                    self.refresh();
                }
                return Some(hit);
            }
        }
        None
    }

    /// Faults of time that are due now, with the connections concerned where they are about connections.
    pub fn due(&mut self, now: i64, connections: &[u64]) -> Vec<(Fault, Option<u64>)> {
        let mut due = Vec::new();
        let Self { list, rng, .. } = self;
        list.retain(|fault| fault.until > now);
        for fault in list.iter_mut().filter(|fault| fault.kind.occasion.timed()) {
            while fault.next <= now && !fault.done {
                let chance = match fault.how {
                    How::Chance(chance) => chance,
                    How::Every(_) | How::Once | How::Always => 1.0,
                };
                match fault.how {
                    How::Chance(_) => fault.next += SECOND,
                    How::Every(every) => fault.next += every,
                    How::Once => fault.done = true,
                    // It has begun, and lasts.
                    How::Always => fault.next = i64::MAX,
                }
                let concerned: Vec<Option<u64>> = if fault.kind.occasion == Occasion::Socket {
                    let concerned = |&id: &u64| fault.connection.is_none_or(|one| one == id).then_some(Some(id));
                    connections.iter().filter_map(concerned).collect()
                } else {
                    vec![None]
                };
                for one in concerned {
                    if chance >= 1.0 || rng.unit() < chance {
                        due.push((fault.clone(), one));
                    }
                }
            }
        }
        self.refresh();
        due
    }

    /// How far the clock that stamps messages is off now, ns.
    #[must_use]
    pub fn skew(&self, now: i64) -> i64 {
        let skews = self.list.iter().filter(|fault| fault.kind.what == What::Skew);
        skews.filter(|fault| (fault.from..fault.until).contains(&now)).map(|fault| fault.by).sum()
    }

    /// A client of an address wants to connect: the fault that keeps it out, and with which HTTP status.
    pub fn knock(&mut self, now: i64, who: &str) -> Option<(Fault, u16)> {
        for fault in self.list.iter().filter(|fault| fault.kind.what == What::Budget) {
            if !(fault.from..fault.until).contains(&now) {
                continue;
            }
            if self.attempts.len() >= ADDRESSES_MAX && !self.attempts.contains_key(who) {
                self.attempts.retain(|_, attempts| attempts.at.back().is_some_and(|&at| at > now - WINDOW));
            }
            let attempts = self.attempts.entry(who.to_owned()).or_default();
            while attempts.at.front().is_some_and(|&at| at <= now - WINDOW) {
                attempts.at.pop_front();
            }
            let many = i64::try_from(attempts.at.len()).is_ok_and(|count| count >= fault.by);
            if many && attempts.banned <= now {
                attempts.banned = now + WINDOW;
            }
            if attempts.banned > now {
                return Some((fault.clone(), 429));
            }
            attempts.at.push_back(now);
        }
        let hit = self.pick(Occasion::Handshake, (now, 0, "", ""), |what| what == What::Handshake)?;
        let status = u16::try_from(hit.by).unwrap_or_default();
        Some((hit, status))
    }

    /// Keeps that one happened.
    pub fn happened(&mut self, injected: Injected) {
        *self.counts.entry(injected.name).or_default() += 1;
        if self.injected.len() == INJECTED_MAX {
            self.injected.pop_front();
        }
        self.injected.push_back(injected);
    }

    /// What happened since the last call.
    pub fn take(&mut self) -> Vec<Injected> {
        self.injected.drain(..).collect()
    }

    /// How often each happened.
    #[must_use]
    pub const fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }
}

/// Damages the text of a frame.
pub fn damage(what: What, by: i64, text: &mut Vec<u8>, rng: &mut Rng) {
    match what {
        What::Digit => {
            let digits: Vec<usize> = (0..text.len()).filter(|&at| text[at].is_ascii_digit()).collect();
            if !digits.is_empty() {
                let at = digits[rng.below(digits.len())];
                #[allow(clippy::cast_possible_truncation, reason = "below 9")]
                let step = 1 + rng.below(9) as u8;
                text[at] = b'0' + (text[at] - b'0' + step) % 10;
            }
        }
        What::Truncate => text.truncate(rng.below(text.len().max(1))),
        What::Garbage => {
            for byte in text.iter_mut() {
                *byte = rng.bits().to_le_bytes()[0];
            }
        }
        What::Oversize => text.resize(text.len().max(usize::try_from(by).unwrap_or(0)), b' '),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what is wrong with a text is said with what is allowed; what is right is read.
    #[test]
    fn texts() {
        for (text, sentence) in [
            ("dorp", "no fault 'dorp'; faults: drop, repeat,"),
            ("", "no fault ''; faults:"),
            ("drop=2", "drop=2: allowed is a chance from 0 to 1, once, or every:"),
            ("drop=-0.1", "allowed is a chance from 0 to 1"),
            ("drop=NaN", "allowed is a chance from 0 to 1"),
            ("drop=every:0s", "allowed is a chance"),
            ("drop=1,chanel=book", "drop has no 'chanel'; it has channel, symbol, connection, after, for"),
            ("drop=1,by=5", "drop has no 'by'"),
            ("drop=1,channel", "drop has no 'channel'; it has channel"),
            ("drop=1,channel=bok", "drop: channel=bok: allowed is one of book, level3,"),
            ("drop,for=5", "drop: for=5: allowed is a time as 5ms"),
            ("drop,after=2h", "drop: after=2h: allowed is a time"),
            ("drop,after=61m", "drop: after=61m: allowed is a time"),
            ("drop,after=.s", "drop: after=.s: allowed is a time"),
            ("close,by=99", "close: by=99: allowed is a number of code from 1000 to 4999"),
            ("close,by=1006", "close: by=1006: allowed is a close code: 1000 to 1003,"),
            ("cut,symbol=BTC/USD", "cut has no 'symbol'; it has connection, after, for"),
            ("cut,connection=x", "cut: connection=x: allowed is the number of a connection"),
            ("stall,by=-5s", "stall: by=-5s: allowed is a time"),
            ("skew=0.5", "skew lasts"),
            ("refuse,by=", "refuse: by=: allowed is some words"),
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

    /// Goal: chances, times and `once` happen as often as they say, within their time.
    #[test]
    fn how_often() {
        let count = |text: &str| {
            let mut faults = Faults::new(5);
            faults.add(read(text, 0).expect("right"));
            (0..100_000i64)
                .filter(|ms| faults.pick(Occasion::Frame, (ms * MS, 0, "book", ""), |_| true).is_some())
                .count()
        };
        assert_eq!(count("drop"), 100_000);
        assert_eq!(count("drop=once,after=7s"), 1);
        assert_eq!(count("drop=every:10s"), 9);
        assert_eq!(count("drop,after=10s,for=20s"), 20_000);
        assert_eq!(count("drop,channel=trade"), 0);
        assert!((900..1100).contains(&count("drop=0.01")));
        let due = |text: &str| {
            let mut faults = Faults::new(5);
            faults.add(read(text, 0).expect("right"));
            let mut count = 0;
            while faults.next <= 1000 * SECOND {
                count += faults.due(faults.next, &[4, 9]).len();
            }
            count
        };
        assert_eq!(due("cut"), 2, "both connections, once");
        assert_eq!(due("cut=every:100s,connection=9"), 10);
        assert_eq!(due("maintenance=every:100s,for=500s"), 4, "the fifth would be at its end");
        assert!((60..140).contains(&due("list=0.1")));
    }

    /// Goal: an address that connects too often is kept out for ten minutes, others are not.
    #[test]
    fn budget() {
        let mut faults = Faults::new(5);
        faults.add(read("budget,by=3", 0).expect("right"));
        let statuses: Vec<Option<u16>> =
            (0..5).map(|i| faults.knock(i * SECOND, "a").map(|(_, status)| status)).collect();
        assert_eq!(statuses, [None, None, None, Some(429), Some(429)]);
        assert!(faults.knock(5 * SECOND, "b").is_none());
        assert!(faults.knock(602 * SECOND, "a").is_some(), "ten minutes from the first refusal");
        assert!(faults.knock(604 * SECOND, "a").is_none());
    }

    #[test]
    fn damages() {
        let mut rng = Rng::new(1);
        for _ in 0..100 {
            let (mut digit, mut cut, mut garbage) = (b"{\"a\":12.5}".to_vec(), b"{\"a\":1}".to_vec(), vec![b' '; 50]);
            damage(What::Digit, 0, &mut digit, &mut rng);
            assert_eq!(digit.iter().zip(b"{\"a\":12.5}").filter(|(a, b)| a != b).count(), 1);
            damage(What::Truncate, 0, &mut cut, &mut rng);
            assert!(cut.len() < 7 && b"{\"a\":1}".starts_with(&cut));
            damage(What::Garbage, 0, &mut garbage, &mut rng);
            assert!(garbage.len() == 50 && garbage != [b' '; 50]);
        }
        let mut long = b"{}".to_vec();
        damage(What::Oversize, 100, &mut long, &mut rng);
        assert_eq!((long.len(), &long[..3]), (100, &b"{} "[..]));
    }
}
