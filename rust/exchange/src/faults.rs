//! The faults of an exchange: which happens when, to what, and which happened.
//!
//! Chances are drawn from a generator of their own, so that a market does not depend on them, and the same seed,
//! requests and times have the same faults.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::kinds::{Fault, How, Occasion, SECOND, What};
use crate::request::Endpoint;
use crate::rng::Rng;

/// Faults that happened are kept until they are taken; beyond this number the oldest is forgotten, but counted.
const INJECTED_MAX: usize = 100_000;
/// Attempts to connect are counted for this long, and an address that made too many is refused for this long, ns.
const WINDOW: i64 = 600 * SECOND;
/// HTTP status.
const TOO_MANY_REQUESTS: u16 = 429;
/// Addresses that are counted.
const ADDRESSES_MAX: usize = 1000;

/// A fault that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injected {
    /// Time of the exchange, ns.
    pub ts: i64,
    /// Name of the fault.
    pub name: &'static str,
    /// Number of the connection, if it happened to one.
    pub connection: Option<u64>,
    /// Number of the connection's next frame at that moment.
    pub frame: Option<u64>,
    /// Channel, or empty.
    pub channel: &'static str,
    /// Symbol, or empty.
    pub symbol: String,
    /// The value of `by`, a time (ns) or a number.
    pub by: i64,
}

/// How a client is refused that wants to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status; 0: the connection is reset without an answer.
    pub status: u16,
    /// Seconds that the header `Retry-After` names, if there is one.
    pub retry_after: Option<u64>,
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
    /// Random numbers for chances and damage.
    pub rng: Rng,
    injected: VecDeque<Injected>,
    counts: BTreeMap<&'static str, u64>,
    /// Whether a fault of frames is in the list.
    pub frames: bool,
    /// When a fault of time may be due, or a fault ends, ns.
    pub next: i64,
    attempts: HashMap<String, Attempts>,
}

impl Faults {
    /// No faults yet.
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

    /// Adds a fault.
    pub fn add(&mut self, fault: Fault) {
        self.list.push(fault);
        self.refresh();
    }

    /// Ends all faults.
    pub fn clear(&mut self) {
        self.list.clear();
        self.attempts.clear();
        self.refresh();
    }

    /// The faults that are in force or will be, as they were asked for.
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

    /// The fault that happens on an occasion: the first that applies, in the order in which they were asked for.
    pub fn pick(
        &mut self,
        occasion: Occasion,
        (now, connection, channel, symbol): (i64, u64, &str, &str),
        may: impl Fn(&Fault) -> bool,
    ) -> Option<Fault> {
        for fault in &mut self.list {
            if fault.kind.occasion == occasion
                && fault.is_active(now)
                && may(fault)
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

    /// Faults of time that are due now. One of connections comes once for each connection that it selects.
    pub fn due(&mut self, now: i64, connections: &[(u64, Endpoint)]) -> Vec<(Fault, Option<u64>)> {
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
                    // It has begun, and lasts until its end.
                    How::Always => fault.next = i64::MAX,
                }
                let concerned: Vec<Option<u64>> = if fault.kind.occasion == Occasion::Socket {
                    let concerned = |&(id, endpoint): &(u64, Endpoint)| {
                        (fault.connection.is_none_or(|one| one == id) && fault.is_at(endpoint)).then_some(Some(id))
                    };
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

    /// How much the clock that stamps messages is off now, ns.
    #[must_use]
    pub fn skew(&self, now: i64) -> i64 {
        let skews = self.list.iter().filter(|fault| fault.kind.what == What::Skew);
        skews.filter(|fault| fault.is_active(now)).map(|fault| fault.by).sum()
    }

    /// The fault that refuses a client of an address at an endpoint, and how; `None` if the client may connect.
    pub fn admit(&mut self, now: i64, who: &str, endpoint: Endpoint) -> Option<(Fault, Refusal)> {
        for fault in self.list.iter().filter(|fault| fault.kind.what == What::Budget) {
            if !fault.is_active(now) || !fault.is_at(endpoint) {
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
                return Some((fault.clone(), Refusal { status: TOO_MANY_REQUESTS, retry_after: None }));
            }
            attempts.at.push_back(now);
        }
        let may = |fault: &Fault| fault.kind.what != What::Budget && fault.is_at(endpoint);
        let hit = self.pick(Occasion::Handshake, (now, 0, "", ""), may)?;
        let by = hit.by.unsigned_abs();
        let refusal = if hit.kind.what == What::RetryAfter {
            Refusal { status: TOO_MANY_REQUESTS, retry_after: Some(by.div_ceil(SECOND.unsigned_abs())) }
        } else {
            Refusal { status: u16::try_from(by).unwrap_or_default(), retry_after: None }
        };
        Some((hit, refusal))
    }

    /// Records that a fault happened.
    pub fn happened(&mut self, injected: Injected) {
        *self.counts.entry(injected.name).or_default() += 1;
        if self.injected.len() == INJECTED_MAX {
            self.injected.pop_front();
        }
        self.injected.push_back(injected);
    }

    /// Faults that happened since the last call.
    pub fn take(&mut self) -> Vec<Injected> {
        self.injected.drain(..).collect()
    }

    /// How often each fault happened.
    #[must_use]
    pub const fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::read;

    const MS: i64 = 1_000_000;

    /// Goal: chances, periods and `once` happen as often as they say, within their time.
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
                count += faults.due(faults.next, &[(4, Endpoint::Public), (9, Endpoint::Private)]).len();
            }
            count
        };
        assert_eq!(due("cut"), 2, "both connections, once");
        assert_eq!(due("cut=every:100s,connection=9"), 10);
        assert_eq!((due("cut,endpoint=private"), due("cut,endpoint=level3")), (1, 0));
        assert_eq!(due("maintenance=every:100s,for=500s"), 4, "the fifth would be at its end");
        assert!((60..140).contains(&due("list=0.1")));
    }

    /// Goal: an address that connects too often is refused for ten minutes, others are not.
    #[test]
    fn budget() {
        let mut faults = Faults::new(5);
        faults.add(read("budget,by=3", 0).expect("right"));
        let statuses: Vec<Option<u16>> = (0..5)
            .map(|i| faults.admit(i * SECOND, "a", Endpoint::Public).map(|(_, refusal)| refusal.status))
            .collect();
        assert_eq!(statuses, [None, None, None, Some(429), Some(429)]);
        assert!(faults.admit(5 * SECOND, "b", Endpoint::Public).is_none());
        assert!(faults.admit(602 * SECOND, "a", Endpoint::Public).is_some(), "ten minutes from the first refusal");
        assert!(faults.admit(604 * SECOND, "a", Endpoint::Public).is_none());
    }

    /// Goal: the time after which a client may connect again is in whole seconds, never too few.
    #[test]
    fn retry_after() {
        let mut faults = Faults::new(5);
        faults.add(read("retry_after=once,by=1500ms", 0).expect("right"));
        let (_, refusal) = faults.admit(0, "a", Endpoint::Public).expect("refused");
        assert_eq!(refusal, Refusal { status: 429, retry_after: Some(2) });
        assert!(faults.admit(0, "a", Endpoint::Public).is_none(), "once");
        faults.add(read("handshake,by=502,endpoint=private", 0).expect("right"));
        assert!(faults.admit(0, "a", Endpoint::Public).is_none(), "another endpoint");
        assert!(faults.admit(0, "a", Endpoint::Private).is_some());
    }
}
