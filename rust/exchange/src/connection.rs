//! One client's connection: its subscriptions, its limits, what waits for it, and what was sent to it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::request::{Endpoint, Topic};

/// Requests per second, and the burst that is allowed.
const REQUESTS: (f64, f64) = (50.0, 100.0);
/// Cost of level3 subscriptions per second, and the burst that is allowed: those of a standard account.
const COSTS: (f64, f64) = (200.0, 200.0);
/// Symbols of the level3 channel on one connection.
pub const LEVEL3_SYMBOLS: usize = 200;
/// Multiplier of the hash over checksums: hash = hash × this + checksum, modulo 2^64 (Knuth's MMIX generator).
pub const HASH: u64 = 6_364_136_223_846_793_005;

/// What a frame is about.
#[derive(Debug, Clone, Copy)]
pub struct Label {
    /// Channel, as the log names it.
    pub channel: &'static str,
    /// Number of the pair, where the frame is about one.
    pub pair: Option<usize>,
    /// Checksum of a book, id of the last trade, 0 for everything else.
    pub number: u64,
}

impl Label {
    /// Label of a frame that is about no pair.
    pub const fn new(channel: &'static str) -> Self {
        Self { channel, pair: None, number: 0 }
    }

    /// Label of a frame about a pair.
    pub const fn of(channel: &'static str, pair: usize, number: u64) -> Self {
        Self { channel, pair: Some(pair), number }
    }
}

/// Messages of one channel and symbol that were sent to one connection.
#[derive(Debug, Clone, Copy, Default)]
pub struct Count {
    /// How many.
    pub messages: u64,
    /// Hash over the checksums of books, over the ids of trades.
    pub hash: u64,
}

/// A token bucket: it refills at a constant rate, up to a maximum.
#[derive(Debug)]
pub struct Bucket {
    left: f64,
    at: i64,
    /// Per second, and at most.
    refill: (f64, f64),
}

impl Bucket {
    const fn new(refill: (f64, f64), now: i64) -> Self {
        Self { left: refill.1, at: now, refill }
    }

    /// Takes `cost` if the bucket holds as much.
    pub fn take(&mut self, cost: f64, now: i64) -> bool {
        #[allow(clippy::cast_precision_loss, reason = "a rate")]
        let since = (now - self.at) as f64 / 1e9;
        self.left = (self.left + since * self.refill.0).min(self.refill.1);
        self.at = now;
        let enough = self.left >= cost;
        if enough {
            self.left -= cost;
        }
        enough
    }
}

/// A frame that leaves at a later time.
#[derive(Debug)]
pub struct Delayed {
    /// When it leaves, ns.
    pub due: i64,
    /// The whole WebSocket frame.
    pub frame: Vec<u8>,
    /// What it is about.
    pub label: Label,
}

/// A frame that a fault holds back: later frames overtake it.
#[derive(Debug)]
pub struct HeldBack {
    /// The frame. It leaves at its time at the latest.
    pub delayed: Delayed,
    /// Whether it leaves right after the next frame of its channel and symbol.
    pub swap: bool,
}

/// One channel of one pair that a client follows.
#[derive(Debug)]
pub struct Subscription {
    /// What it follows.
    pub topic: Topic,
    /// Distinguishes a subscription from an earlier one of the same topic.
    pub number: u64,
}

/// A snapshot that is due later.
#[derive(Debug, Clone, Copy)]
pub struct PendingSnapshot {
    /// When it is sent, ns.
    pub due: i64,
    /// Number of the pair.
    pub pair: usize,
    /// Number of the subscription.
    pub subscription: u64,
}

/// How a client follows a channel of the account.
#[derive(Debug, Clone, Copy)]
pub struct Follows {
    /// Number of its last message.
    pub sequence: u64,
    /// Whether every change of an order is told.
    pub every: bool,
    /// Whether reports have the rate counter.
    pub counter: bool,
}

/// The connection of one client.
#[derive(Debug)]
pub struct Connection {
    /// The exchange's number of the connection, counted from 0.
    pub id: u64,
    /// The `connection_id` that its status message announces.
    pub announced_id: u64,
    /// What the connection is for.
    pub endpoint: Endpoint,
    /// Whether a fault is about to reset it: nothing leaves any more.
    pub lost: bool,
    /// Frames that wait to be taken.
    pub out: Vec<u8>,
    /// Frames that leave later, in order: the delay of a channel, and what follows it.
    pub delayed: VecDeque<Delayed>,
    /// Frames that a fault holds back, by time.
    pub held_back: VecDeque<HeldBack>,
    /// Channels and pairs that a fault silenced, until the client subscribes again.
    pub silenced: BTreeSet<(&'static str, usize)>,
    /// Frames that were sent.
    pub frames: u64,
    /// Bytes that were sent.
    pub bytes: u64,
    /// When the next heartbeat is due, ns; `i64::MAX` before the first subscription.
    pub next_heartbeat: i64,
    /// Whether it follows the instrument channel.
    pub instrument: bool,
    /// How it follows the reports of the account's orders.
    pub executions: Option<Follows>,
    /// How it follows the account's balances.
    pub balances: Option<Follows>,
    /// Tokens with which it followed something.
    pub tokens: BTreeSet<String>,
    /// Its subscriptions, by pair.
    pub subscriptions: HashMap<usize, Vec<Subscription>>,
    /// Snapshots of new subscriptions, by time.
    pub pending_snapshots: VecDeque<PendingSnapshot>,
    /// Limit of requests.
    pub requests: Bucket,
    /// Limit of level3 subscriptions.
    pub costs: Bucket,
    /// Messages that were made for it, by channel (book, level3, trade, ticker, ohlc) and pair.
    pub counts: HashMap<(&'static str, usize), Count>,
    /// How often each fault happened to these messages, by its name.
    pub fault_counts: BTreeMap<(&'static str, usize), BTreeMap<&'static str, u64>>,
}

impl Connection {
    /// A new connection without subscriptions.
    pub fn new(id: u64, announced_id: u64, endpoint: Endpoint, now: i64) -> Self {
        Self {
            id,
            announced_id,
            endpoint,
            lost: false,
            out: Vec::new(),
            delayed: VecDeque::new(),
            held_back: VecDeque::new(),
            silenced: BTreeSet::new(),
            frames: 0,
            bytes: 0,
            next_heartbeat: i64::MAX,
            instrument: false,
            executions: None,
            balances: None,
            tokens: BTreeSet::new(),
            subscriptions: HashMap::new(),
            pending_snapshots: VecDeque::new(),
            requests: Bucket::new(REQUESTS, now),
            costs: Bucket::new(COSTS, now),
            counts: HashMap::new(),
            fault_counts: BTreeMap::new(),
        }
    }

    /// When the connection next has something to do: a heartbeat, a snapshot, a frame that leaves later.
    pub fn next_due(&self) -> i64 {
        let snapshot = self.pending_snapshots.front().map_or(i64::MAX, |snapshot| snapshot.due);
        let delayed = self.delayed.front().map_or(i64::MAX, |delayed| delayed.due);
        let held_back = self.held_back.front().map_or(i64::MAX, |held_back| held_back.delayed.due);
        self.next_heartbeat.min(snapshot).min(delayed).min(held_back)
    }

    /// Counts a message that was made for this connection.
    pub fn count(&mut self, label: Label) {
        if let Some(pair) = label.pair {
            let count = self.counts.entry((label.channel, pair)).or_default();
            count.messages += 1;
            count.hash = count.hash.wrapping_mul(HASH).wrapping_add(label.number);
        }
    }

    /// Counts a fault that happened to a message of this connection.
    pub fn count_fault(&mut self, label: Label, fault: &'static str) {
        if let Some(pair) = label.pair {
            *self.fault_counts.entry((label.channel, pair)).or_default().entry(fault).or_default() += 1;
        }
    }

    /// Whether a fault silenced what a frame is about.
    pub fn is_silenced(&self, label: Label) -> bool {
        label.pair.is_some_and(|pair| self.silenced.contains(&(label.channel, pair)))
    }

    /// Symbols of the level3 channel that it follows. On this endpoint there is no other channel.
    pub fn level3_symbols(&self) -> usize {
        self.subscriptions.values().map(Vec::len).sum()
    }
}
