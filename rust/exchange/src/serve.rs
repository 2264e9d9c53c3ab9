//! Requests of clients, answered: what is accepted, and what is refused in Kraken's words.

use std::collections::{BTreeSet, VecDeque};

use serde_json::Value;

use crate::connection::{LEVEL3_SYMBOLS, Label, PendingSnapshot, Subscription};
use crate::fanout::{DELISTED, Fanout};
use crate::kinds::{Fault, Occasion, What};
use crate::message;
use crate::request::{self, Request, Topic};

const MS: i64 = 1_000_000;
const SECOND: i64 = 1000 * MS;
/// From the ack of a subscription to its snapshot.
const SNAPSHOT_AFTER: i64 = 50 * MS;
/// Between two snapshots of a connection.
const SNAPSHOT_EVERY: i64 = MS;
/// Tokens that are kept; beyond this number the oldest is forgotten.
const TOKENS_MAX: usize = 1000;
/// Kraken's texts.
pub const ALREADY: &str = "Already subscribed";
/// More requests than a connection may send.
pub const TOO_MANY: &str = "Exceeded msg rate";
/// Kraken's texts for these three are not known.
pub const NOT_SUBSCRIBED: &str = "Subscription not found";
const TOO_MANY_SYMBOLS: &str = "EGeneral:Subscription limit exceeded";
const TOO_EXPENSIVE: &str = "EGeneral:Rate limit exceeded";

/// Who asked for what: what every answer repeats.
#[derive(Debug, Clone, Copy)]
struct Asked<'a> {
    place: usize,
    method: &'a str,
    req_id: Option<&'a Value>,
}

/// Answers requests.
#[derive(Debug, Default)]
pub struct Server {
    /// WebSocket tokens, the oldest first, and until when each may be used, ns.
    tokens: VecDeque<(String, i64)>,
    /// Subscriptions that there have been.
    subscriptions: u64,
}

impl Server {
    /// Allows a WebSocket token for subscriptions until `until`, ns. A subscription outlives its token.
    pub fn allow(&mut self, token: &str, until: i64, now: i64) {
        self.tokens.retain(|known| known.1 > now);
        if self.tokens.len() == TOKENS_MAX {
            self.tokens.pop_front();
        }
        self.tokens.push_back((token.to_owned(), until));
    }

    /// Answers a request of a connection; the answers wait in its queue.
    pub fn receive(&mut self, fanout: &mut Fanout, place: usize, text: &[u8]) {
        let now = fanout.outbox.now;
        let Some(connection) = &mut fanout.outbox.connections[place] else { return };
        let (method, req_id, request) = request::read(text, connection.endpoint);
        let asked = Asked { place, method: &method, req_id: req_id.as_ref() };
        let request = if connection.requests.take(1.0, now) { request } else { Err(TOO_MANY) };
        let request = match request {
            Ok(request) if is_limited(fanout, place, &request) => Err(TOO_MANY),
            request => request,
        };
        match request {
            Err(error) => refuse(fanout, asked, error, None),
            Ok(Request::Ping) => {
                let stamp = fanout.outbox.stamp(now);
                request::pong(asked.req_id, stamp, fanout.outbox.compose());
                fanout.outbox.send(&[place], Label::new("pong"));
            }
            Ok(Request::Instrument { subscribe, snapshot }) => instrument(fanout, asked, subscribe, snapshot),
            Ok(Request::Topic { topic: Topic::Level3(_), token, .. }) if !self.is_valid(token.as_deref(), now) => {
                request::invalid_session("level3", &method, asked.req_id, now, fanout.outbox.compose());
                fanout.outbox.send(&[place], Label::new("refusal"));
            }
            Ok(Request::Topic { subscribe, topic, symbols, snapshot, token: _ }) => {
                for symbol in symbols {
                    if subscribe {
                        self.subscribe(fanout, asked, topic, &symbol, snapshot);
                    } else {
                        unsubscribe(fanout, asked, topic, &symbol);
                    }
                }
            }
        }
        fanout.outbox.find_next_due();
    }

    /// Whether a token may be used now.
    pub fn is_valid(&self, token: Option<&str>, now: i64) -> bool {
        self.tokens.iter().any(|(known, until)| Some(known.as_str()) == token && now < *until)
    }

    fn subscribe(&mut self, fanout: &mut Fanout, asked: Asked<'_>, topic: Topic, symbol: &str, snapshot: bool) {
        let Some(pair) = listed(fanout, asked, symbol) else { return };
        let fault = answer_fault(fanout, asked.place, topic.channel(), symbol, |what| what != What::RateLimit);
        let hollow = match &fault {
            Some(fault) if fault.kind.what == What::Hollow => true,
            Some(fault) => return apply_fault(fanout, asked, fault, Some(symbol)),
            None => false,
        };
        let now = fanout.outbox.now;
        let Some(connection) = &mut fanout.outbox.connections[asked.place] else { return };
        let full = topic.channel() == "level3" && connection.level3_symbols() == LEVEL3_SYMBOLS;
        let subscriptions = connection.subscriptions.entry(pair).or_default();
        if subscriptions.iter().any(|subscription| subscription.topic.excludes(topic)) {
            return refuse(fanout, asked, ALREADY, Some(symbol));
        }
        if full {
            return refuse(fanout, asked, TOO_MANY_SYMBOLS, Some(symbol));
        }
        if !connection.costs.take(topic.cost(), now) {
            return refuse(fanout, asked, TOO_EXPENSIVE, Some(symbol));
        }
        self.subscriptions += 1;
        let number = self.subscriptions;
        subscriptions.push(Subscription { topic, number });
        if hollow {
            // It is acknowledged below, and nothing follows.
        } else if snapshot {
            let after = connection.pending_snapshots.back().map_or(0, |last| last.due + SNAPSHOT_EVERY);
            let due = after.max(now + SNAPSHOT_AFTER);
            connection.pending_snapshots.push_back(PendingSnapshot { due, pair, subscription: number });
        } else {
            fanout.join(asked.place, pair, topic, false);
        }
        ack(fanout, asked, &request::result(topic, symbol, true, snapshot));
    }
}

fn unsubscribe(fanout: &mut Fanout, asked: Asked<'_>, topic: Topic, symbol: &str) {
    let Some(pair) = listed(fanout, asked, symbol) else { return };
    if let Some(fault) = answer_fault(fanout, asked.place, topic.channel(), symbol, |what| what == What::Ignore) {
        return apply_fault(fanout, asked, &fault, Some(symbol));
    }
    let Some(connection) = &mut fanout.outbox.connections[asked.place] else { return };
    let subscriptions = connection.subscriptions.entry(pair).or_default();
    let Some(at) = subscriptions.iter().position(|subscription| subscription.topic.excludes(topic)) else {
        return refuse(fanout, asked, NOT_SUBSCRIBED, Some(symbol));
    };
    let subscription = subscriptions.swap_remove(at);
    connection.silenced.remove(&(topic.channel(), pair));
    // A snapshot that is no longer wanted must not delay the others.
    connection.pending_snapshots.retain(|snapshot| snapshot.subscription != subscription.number);
    fanout.leave(asked.place, pair, subscription.topic);
    ack(fanout, asked, &request::result(subscription.topic, symbol, false, false));
}

fn instrument(fanout: &mut Fanout, asked: Asked<'_>, subscribe: bool, snapshot: bool) {
    let may = |what| what == What::Ignore || (subscribe && what != What::RateLimit && what != What::Hollow);
    if let Some(fault) = answer_fault(fanout, asked.place, "instrument", "", may) {
        return apply_fault(fanout, asked, &fault, None);
    }
    let Some(connection) = &mut fanout.outbox.connections[asked.place] else { return };
    if connection.instrument == subscribe {
        return refuse(fanout, asked, if subscribe { ALREADY } else { NOT_SUBSCRIBED }, None);
    }
    connection.instrument = subscribe;
    if !subscribe {
        return ack(fanout, asked, "\"channel\":\"instrument\"");
    }
    let warning = "tick_size is deprecated, use price_increment";
    let result = format!("\"channel\":\"instrument\",\"snapshot\":{snapshot},\"warnings\":[\"{warning}\"]");
    ack(fanout, asked, &result);
    if snapshot {
        let mut text = std::mem::take(fanout.outbox.compose());
        let assets: BTreeSet<&str> =
            fanout.listed().flat_map(|pair| [pair.base.as_str(), pair.quote.as_str()]).collect();
        let assets: Vec<&str> = assets.into_iter().collect();
        message::instrument(true, &assets, fanout.listed(), &mut text);
        *fanout.outbox.compose() = text;
        fanout.outbox.send(&[asked.place], Label::new("instrument"));
    }
}

/// Number of a pair that is listed; else the request is refused.
fn listed(fanout: &mut Fanout, asked: Asked<'_>, symbol: &str) -> Option<usize> {
    let pair = fanout.find(symbol).filter(|&pair| fanout.listings[pair].market.pair.status != DELISTED);
    if pair.is_none() {
        refuse(fanout, asked, &request::unknown_pair(symbol), Some(symbol));
    }
    pair
}

fn refuse(fanout: &mut Fanout, asked: Asked<'_>, error: &str, symbol: Option<&str>) {
    let outbox = &mut fanout.outbox;
    let stamp = outbox.stamp(outbox.now);
    request::refusal(error, asked.method, asked.req_id, symbol, stamp, outbox.compose());
    outbox.send(&[asked.place], Label::new("refusal"));
}

fn ack(fanout: &mut Fanout, asked: Asked<'_>, result: &str) {
    let outbox = &mut fanout.outbox;
    let (now, stamp) = (outbox.now, outbox.stamp(outbox.now));
    request::ack(result, asked.method, asked.req_id, stamp, outbox.compose());
    outbox.send(&[asked.place], Label::new("ack"));
    if let Some(connection) = &mut outbox.connections[asked.place]
        && connection.next_heartbeat == i64::MAX
    {
        connection.next_heartbeat = now + SECOND;
    }
}

// Faults of answers.

/// Whether a fault refuses a request as one too many.
fn is_limited(fanout: &mut Fanout, place: usize, request: &Request) -> bool {
    let (channel, symbols) = match request {
        Request::Ping => return false,
        Request::Instrument { .. } => ("instrument", &[String::new()][..]),
        Request::Topic { topic, symbols, .. } => (topic.channel(), &symbols[..]),
    };
    symbols.iter().any(|symbol| answer_fault(fanout, place, channel, symbol, |what| what == What::RateLimit).is_some())
}

/// The fault that happens to the answer about a symbol.
fn answer_fault(
    fanout: &mut Fanout,
    place: usize,
    channel: &'static str,
    symbol: &str,
    may: impl Fn(What) -> bool,
) -> Option<Fault> {
    let pair = fanout.find(symbol);
    let outbox = &mut fanout.outbox;
    let (id, endpoint) = outbox.connections[place].as_ref().map(|connection| (connection.id, connection.endpoint))?;
    let may = |fault: &Fault| may(fault.kind.what) && fault.is_at(endpoint);
    let fault = outbox.faults.pick(Occasion::Answer, (outbox.now, id, channel, symbol), may)?;
    outbox.record_fault(&fault, Some(place), channel, pair);
    Some(fault)
}

/// Answers as a fault wants it: with a refusal, or not at all.
fn apply_fault(fanout: &mut Fanout, asked: Asked<'_>, fault: &Fault, symbol: Option<&str>) {
    match fault.kind.what {
        What::Refuse => refuse(fanout, asked, &fault.words, symbol),
        What::Already => refuse(fanout, asked, ALREADY, symbol),
        _ => {}
    }
}
