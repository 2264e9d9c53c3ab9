//! The exchange: connections, subscriptions, and time, which only moves when it is told to.
//!
//! Requests in, WebSocket frames out, in blocks. The same seed, the same requests and the same times give the same bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use serde_json::{Map, Value, json};

use crate::engine::{Change, OrderChange, Side};
use crate::faults::{self, Fault, Faults, Injected, Occasion, What};
use crate::market::{INTERVALS, Market};
use crate::message;
use crate::orders::{self, OrderEntry, OrderView};
use crate::pairs::{Pair, pairs};
use crate::request::{self, Endpoint, Request, Topic};
use crate::rng::Rng;
use crate::view::{self, Checksum, Entry, View, checksum};
use crate::wire;

const MS: i64 = 1_000_000;
const SECOND: i64 = 1000 * MS;
/// From the ack of a subscription to its snapshot.
const SNAPSHOT_AFTER: i64 = 50 * MS;
/// Between two snapshots of a connection.
const SNAPSHOT_EVERY: i64 = MS;
/// Mean time between two changes of a pair's status.
const STATUS_EVERY: f64 = 20e9;
/// Requests a second, and how many at once.
const REQUESTS: (f64, f64) = (50.0, 100.0);
/// Costs of level3 subscriptions a second, of a standard account, and how much at once.
const COSTS: (f64, f64) = (200.0, 200.0);
/// Symbols of the level3 channel on one connection.
const LEVEL3_SYMBOLS: usize = 200;
/// Tokens that are valid at once; of more the oldest is forgotten.
const TOKENS_MAX: usize = 1000;
/// Accounts of connections that are gone; of more the oldest is forgotten.
const PAST_MAX: usize = 10_000;
/// Bits of an order's number within its pair.
const ID_BITS: u32 = 40;
/// Messages of a full subscription (book of depth 1000, trade, ticker by bbo) for a step of a market: measured, see the
/// test below.
const MESSAGES_PER_STEP: f64 = 1.04;
/// Multiplier of the hash over checksums: hash = hash × this + checksum, modulo 2^64 (Knuth's MMIX generator).
pub const HASH: u64 = 6_364_136_223_846_793_005;
/// After so long a frame that waits for the next one, to change places with it, goes alone.
const REORDER: i64 = SECOND;
/// Status of a pair that is kept from trading.
const KEPT: [&str; 5] = ["cancel_only", "limit_only", "maintenance", "reduce_only", "work_in_progress"];
const DELISTED: &str = "delisted";
/// Most pairs.
pub const PAIRS_MAX: usize = 1500;

/// Messages of one channel and symbol that were sent to one connection.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    messages: u64,
    /// Over the checksums of books, over the ids of trades.
    hash: u64,
}

/// How messages of a channel go out, ns.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    /// From the making of a message to its sending.
    pub delay: i64,
    /// Up to as much more, at random. Messages of one connection stay in their order.
    pub jitter: i64,
    /// For so long changes of one symbol are collected into one message; 0: each step of the market has its own.
    pub conflate: i64,
}

/// Something that is used up, and comes again with time.
#[derive(Debug)]
struct Bucket {
    left: f64,
    at: i64,
    /// A second, and at most.
    refill: (f64, f64),
}

impl Bucket {
    const fn new(refill: (f64, f64), now: i64) -> Self {
        Self { left: refill.1, at: now, refill }
    }

    /// Takes `cost` if there is as much.
    fn take(&mut self, cost: f64, now: i64) -> bool {
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

/// A message on its way.
#[derive(Debug)]
struct Late {
    due: i64,
    frame: Vec<u8>,
    channel: &'static str,
    pair: Option<usize>,
    number: u64,
}

/// A message that others overtake.
#[derive(Debug)]
struct Aside {
    late: Late,
    /// Whether it goes when the next one of its channel and symbol went.
    swap: bool,
}

#[derive(Debug)]
struct Subscription {
    topic: Topic,
    /// Tells a subscription from an earlier one of the same name.
    number: u64,
    live: bool,
}

/// A snapshot that is due.
#[derive(Debug, Clone, Copy)]
struct Coming {
    due: i64,
    pair: usize,
    number: u64,
}

#[derive(Debug)]
struct Connection {
    id: u64,
    /// The number that the exchange tells it.
    told: u64,
    endpoint: Endpoint,
    out: Vec<u8>,
    /// What is delayed, and what came after it.
    late: VecDeque<Late>,
    /// What others overtake, by time.
    aside: VecDeque<Aside>,
    /// What is kept silent, until it is asked for anew.
    silent: BTreeSet<(&'static str, usize)>,
    frames: u64,
    bytes: u64,
    next_heartbeat: i64,
    instrument: bool,
    /// By pair.
    subscriptions: HashMap<usize, Vec<Subscription>>,
    coming: VecDeque<Coming>,
    requests: Bucket,
    costs: Bucket,
    /// By channel (book, level3, trade, ticker, ohlc) and pair.
    counts: HashMap<(&'static str, usize), Count>,
    /// Faults of their messages, by name.
    harmed: BTreeMap<(&'static str, usize), BTreeMap<&'static str, u64>>,
}

impl Connection {
    /// When it has something to do: a heartbeat, a snapshot, a message that was delayed.
    fn next_duty(&self) -> i64 {
        let snapshot = self.coming.front().map_or(i64::MAX, |coming| coming.due);
        let late = self.late.front().map_or(i64::MAX, |late| late.due);
        let aside = self.aside.front().map_or(i64::MAX, |aside| aside.late.due);
        self.next_heartbeat.min(snapshot).min(late).min(aside)
    }
}

/// Changes of a pair that wait to be told at once.
#[derive(Debug)]
struct Held<T> {
    changes: Vec<T>,
    /// Time of the latest one, ns.
    ts: i64,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self { changes: Vec::new(), ts: 0 }
    }
}

/// Who gets what of a pair: places of connections.
#[derive(Debug, Default)]
struct Topics {
    books: Vec<(usize, View, Vec<usize>)>,
    level3: Vec<(usize, OrderView, Vec<usize>)>,
    book_sum: Checksum,
    level3_sum: Checksum,
    held_books: Held<Change>,
    held_level3: Held<OrderChange>,
    trades: Vec<usize>,
    /// By bbo, by trades.
    tickers: [Vec<usize>; 2],
    ohlc: [Vec<usize>; INTERVALS.len()],
}

/// The exchange.
#[derive(Debug)]
pub struct Exchange {
    markets: Vec<Market>,
    topics: Vec<Topics>,
    /// Best prices that the last ticker told.
    told: Vec<[i64; 2]>,
    places: HashMap<String, usize>,
    cumulative: Vec<f64>,
    rng: Rng,
    now: i64,
    /// Mean time between two steps, ns.
    every: f64,
    next_step: i64,
    next_status: i64,
    /// The pair that is in `post_only` for a while.
    quiet: Option<usize>,
    /// How the channels book and level3 go out.
    paces: [Pace; 2],
    /// When the collected changes of a pair are due, by channel as in `paces`.
    conflated: [VecDeque<(i64, usize)>; 2],
    /// For the jitter alone: what happens on the markets does not depend on it.
    jitter: Rng,
    /// WebSocket tokens, the oldest first, and until when they may be used, ns.
    tokens: VecDeque<(String, i64)>,
    /// The earliest heartbeat, snapshot or delayed message.
    next_duty: i64,
    connections: Vec<Option<Connection>>,
    /// Accounts of connections that are gone, the oldest first.
    past: VecDeque<Value>,
    subscriptions: u64,
    connected: u64,
    messages: u64,
    log: Option<Vec<u8>>,
    wall: i64,
    faults: Faults,
    /// Its state; nothing trades unless it is online.
    system: &'static str,
    /// When the state ends that a fault brought, of the exchange or of a pair.
    restore: Vec<(i64, Option<usize>)>,
    seed: u64,
    entries: Vec<Entry>,
    order_entries: Vec<OrderEntry>,
    text: Vec<u8>,
    framed: Vec<u8>,
    scratch: Vec<u8>,
}

impl Exchange {
    /// An exchange of `count` pairs (at most `PAIRS_MAX`) whose full subscription has about `rate` messages a second,
    /// at the time `start`, ns since the epoch. With `log`, `take_log` tells every frame.
    #[must_use]
    pub fn new(count: usize, rate: f64, seed: u64, start: i64, log: bool) -> Self {
        let mut rng = Rng::new(seed);
        let markets: Vec<Market> = pairs(count.clamp(1, PAIRS_MAX), seed)
            .into_iter()
            .map(|pair| {
                let seed = rng.bits();
                Market::new(pair, seed, start)
            })
            .collect();
        let mut sum = 0.0;
        let mut exchange = Self {
            topics: markets.iter().map(|_| Topics::default()).collect(),
            told: vec![[0; 2]; markets.len()],
            places: markets.iter().enumerate().map(|(i, m)| (m.pair.symbol.clone(), i)).collect(),
            cumulative: markets
                .iter()
                .map(|m| {
                    sum += m.pair.weight;
                    sum
                })
                .collect(),
            every: 1e9 * MESSAGES_PER_STEP / rate.max(1e-6),
            now: start,
            next_step: start,
            next_status: start,
            quiet: None,
            paces: [Pace::default(); 2],
            conflated: Default::default(),
            jitter: Rng::new(seed ^ 0x4A49_5454),
            tokens: VecDeque::new(),
            next_duty: i64::MAX,
            connections: Vec::new(),
            past: VecDeque::new(),
            subscriptions: 0,
            connected: 0,
            messages: 0,
            log: log.then(|| b"wall_ns,connection,frame,channel,symbol,checksum,sent_ns,fault\n".to_vec()),
            wall: 0,
            faults: Faults::new(seed),
            system: "online",
            restore: Vec::new(),
            seed,
            entries: Vec::new(),
            order_entries: Vec::new(),
            text: Vec::new(),
            framed: Vec::new(),
            scratch: Vec::new(),
            markets,
            rng,
        };
        exchange.next_step = exchange.after(exchange.every);
        exchange.next_status = exchange.after(STATUS_EVERY);
        exchange
    }

    /// Sets how the channels book and level3 go out.
    pub fn set_paces(&mut self, book: Pace, level3: Pace) {
        self.paces = [book, level3];
    }

    /// Lets a WebSocket token be used for subscriptions until `until`, ns; those that were made with it live on.
    pub fn allow(&mut self, token: &str, until: i64) {
        self.tokens.retain(|known| known.1 > self.now);
        if self.tokens.len() == TOKENS_MAX {
            self.tokens.pop_front();
        }
        self.tokens.push_back((token.to_owned(), until));
    }

    /// A time after now, `mean` ns on average, in whole microseconds and at least one.
    #[allow(clippy::cast_possible_truncation, reason = "saturates")]
    fn after(&mut self, mean: f64) -> i64 {
        let us = (self.rng.exponential() * mean / 1000.0).round() as i64;
        self.now - self.now.rem_euclid(1000) + us.max(1) * 1000
    }

    /// Time of the exchange, ns since the epoch.
    #[must_use]
    pub const fn now(&self) -> i64 {
        self.now
    }

    /// Symbols, the busiest first.
    pub fn symbols(&self) -> impl Iterator<Item = &str> {
        self.markets.iter().map(|market| market.pair.symbol.as_str())
    }

    /// Takes a new connection to an endpoint; returns its number. The first frame waits for it.
    pub fn connect(&mut self, endpoint: Endpoint) -> u64 {
        let id = self.connected;
        self.connected += 1;
        let told = self.rng.bits();
        let connection = Connection {
            id,
            told,
            endpoint,
            out: Vec::new(),
            late: VecDeque::new(),
            aside: VecDeque::new(),
            silent: BTreeSet::new(),
            frames: 0,
            bytes: 0,
            next_heartbeat: i64::MAX,
            instrument: false,
            subscriptions: HashMap::new(),
            coming: VecDeque::new(),
            requests: Bucket::new(REQUESTS, self.now),
            costs: Bucket::new(COSTS, self.now),
            counts: HashMap::new(),
            harmed: BTreeMap::new(),
        };
        let place = self.connections.iter().position(Option::is_none).unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        self.connections[place] = Some(connection);
        self.text.clear();
        message::status(self.system, told, None, &mut self.text);
        self.send(&[place], "status", None, 0);
        id
    }

    fn place(&self, id: u64) -> Option<usize> {
        self.connections.iter().position(|c| c.as_ref().is_some_and(|c| c.id == id))
    }

    /// Forgets a connection; its account stays in `summary`, which has the last 10,000.
    pub fn disconnect(&mut self, id: u64) {
        let Some(place) = self.place(id) else { return };
        let Some(connection) = self.connections[place].take() else { return };
        for (&pair, subscriptions) in &connection.subscriptions {
            for subscription in subscriptions {
                self.leave(place, pair, subscription.topic);
            }
        }
        if self.past.len() == PAST_MAX {
            self.past.pop_front();
        }
        self.past.push_back(self.account(&connection));
        self.find_duty();
    }

    /// Takes what a connection's queue holds: whole WebSocket frames.
    pub fn take(&mut self, id: u64) -> Vec<u8> {
        let Some(place) = self.place(id) else { return Vec::new() };
        self.connections[place].as_mut().map_or_else(Vec::new, |c| {
            let capacity = c.out.len();
            std::mem::replace(&mut c.out, Vec::with_capacity(capacity))
        })
    }

    /// Takes the log: `wall_ns,connection,frame,channel,symbol,checksum,sent_ns,fault`, a line a frame and a fault.
    pub fn take_log(&mut self) -> Vec<u8> {
        self.log.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Moves time forward to `to`, or until a connection has `limit` bytes waiting. Returns the time reached. `wall` is
    /// the time for the log, ns.
    pub fn advance(&mut self, to: i64, limit: usize, wall: i64) -> i64 {
        self.wall = wall;
        loop {
            let conflated = self.conflated.iter().filter_map(|due| due.front()).map(|due| due.0).min();
            let conflated = conflated.unwrap_or(i64::MAX);
            let next = self.next_step.min(self.next_duty).min(self.next_status).min(conflated).min(self.next_fault());
            if next > to {
                self.now = self.now.max(to);
                break;
            }
            self.now = next;
            if next == self.next_fault() {
                self.go_wrong();
            } else if next == self.next_duty {
                self.duty();
            } else if next == conflated {
                self.tell_conflated();
            } else if next == self.next_status {
                self.change_status();
                self.next_status = self.after(STATUS_EVERY);
            } else {
                self.step();
                self.next_step = self.after(self.every);
            }
            if self.connections.iter().flatten().any(|c| c.out.len() >= limit) {
                break;
            }
        }
        self.now
    }

    // What happens.

    fn step(&mut self) {
        let total = self.cumulative.last().copied().unwrap_or_default();
        let at = self.rng.unit() * total;
        let pair = self.cumulative.partition_point(|&sum| sum <= at).min(self.markets.len() - 1);
        let now = self.now;
        if self.markets[pair].pair.status != "online" || self.system != "online" {
            return;
        }
        self.markets[pair].step(now);
        self.changed(pair);
        let Self { markets, topics, told, text, .. } = self;
        let (market, topics) = (&markets[pair], &topics[pair]);
        let best = [Side::Buy, Side::Sell].map(|side| market.best(side).unwrap_or_default().0);
        let bbo = std::mem::replace(&mut told[pair], best) != best;
        let traded = !market.fills.is_empty();
        if traded && !topics.trades.is_empty() {
            text.clear();
            message::trades(&market.pair, false, market.fills.iter(), text);
            let last = market.fills.last().map_or(0, |trade| trade.id.unsigned_abs());
            let places = std::mem::take(&mut self.topics[pair].trades);
            self.send(&places, "trade", Some(pair), last);
            self.topics[pair].trades = places;
        }
        for (trigger, happened) in [(0, bbo), (1, traded)] {
            if happened && !self.topics[pair].tickers[trigger].is_empty() {
                self.text.clear();
                let stamp = self.stamp(now);
                message::ticker(&self.markets[pair], false, stamp, &mut self.text);
                let places = std::mem::take(&mut self.topics[pair].tickers[trigger]);
                self.send(&places, "ticker", Some(pair), 0);
                self.topics[pair].tickers[trigger] = places;
            }
        }
        for interval in 0..INTERVALS.len() {
            if traded && !self.topics[pair].ohlc[interval].is_empty() {
                self.text.clear();
                let stamp = self.stamp(now);
                let market = &self.markets[pair];
                let running = market.candles[interval].back();
                message::ohlc(&market.pair, interval, false, running.into_iter(), stamp, &mut self.text);
                let places = std::mem::take(&mut self.topics[pair].ohlc[interval]);
                self.send(&places, "ohlc", Some(pair), 0);
                self.topics[pair].ohlc[interval] = places;
            }
        }
    }

    /// Tells or keeps what a step changed in the book of a pair.
    fn changed(&mut self, pair: usize) {
        let now = self.now;
        let Self { markets, topics, paces, conflated, .. } = self;
        let (market, topics) = (&mut markets[pair], &mut topics[pair]);
        for (channel, due) in conflated.iter_mut().enumerate() {
            let (subscribed, empty, something) = if channel == BOOK {
                (!topics.books.is_empty(), topics.held_books.changes.is_empty(), !market.changes.is_empty())
            } else {
                (!topics.level3.is_empty(), topics.held_level3.changes.is_empty(), !market.order_changes.is_empty())
            };
            if subscribed && empty && something && paces[channel].conflate > 0 {
                due.push_back((now + paces[channel].conflate, pair));
            }
        }
        if !topics.books.is_empty() {
            topics.held_books.changes.append(&mut market.changes);
            topics.held_books.ts = now;
        }
        if !topics.level3.is_empty() {
            topics.held_level3.changes.append(&mut market.order_changes);
            topics.held_level3.ts = market.engine.last();
        }
        for channel in [BOOK, LEVEL3] {
            if self.paces[channel].conflate == 0 {
                self.tell(channel, pair);
            }
        }
    }

    /// Tells what was collected for long enough. A pair may have been told meanwhile, for a snapshot.
    fn tell_conflated(&mut self) {
        for channel in [BOOK, LEVEL3] {
            while self.conflated[channel].front().is_some_and(|due| due.0 <= self.now) {
                if let Some((_, pair)) = self.conflated[channel].pop_front() {
                    self.tell(channel, pair);
                }
            }
        }
    }

    fn tell(&mut self, channel: usize, pair: usize) {
        if channel == BOOK {
            self.tell_books(pair);
        } else {
            self.tell_level3(pair);
        }
    }

    fn tell_books(&mut self, pair: usize) {
        let held = &mut self.topics[pair].held_books;
        if held.changes.is_empty() {
            return;
        }
        let (mut changes, ts) = (std::mem::take(&mut held.changes), held.ts);
        let mut books = std::mem::take(&mut self.topics[pair].books);
        let stamp = self.stamp(ts);
        if self.paces[BOOK].conflate > 0 {
            view::merge(&mut changes);
        }
        let Self { markets, topics, scratch, .. } = self;
        let levels = changes.iter().map(|change| (change.side, change.price));
        let sum = topics[pair].book_sum.after(&markets[pair].engine, levels, checksum, scratch);
        for (_, view, places) in &mut books {
            let Self { markets, entries, text, .. } = self;
            let market = &markets[pair];
            entries.clear();
            view.update(&market.engine, &changes, entries);
            if entries.is_empty() {
                continue;
            }
            text.clear();
            message::book(&market.pair, false, entries, sum, stamp, text);
            self.send(places, "book", Some(pair), sum.into());
        }
        changes.clear();
        self.topics[pair].books = books;
        self.topics[pair].held_books.changes = changes;
    }

    fn tell_level3(&mut self, pair: usize) {
        let held = &mut self.topics[pair].held_level3;
        if held.changes.is_empty() {
            return;
        }
        let (mut changes, ts) = (std::mem::take(&mut held.changes), held.ts);
        let mut views = std::mem::take(&mut self.topics[pair].level3);
        let stamp = self.stamp(ts);
        orders::merge(&mut changes);
        let Self { markets, topics, scratch, .. } = self;
        let levels = changes.iter().map(|change| (change.side, change.price));
        let sum = topics[pair].level3_sum.after(&markets[pair].engine, levels, orders::checksum, scratch);
        for (_, view, places) in &mut views {
            let Self { markets, order_entries, text, .. } = self;
            let market = &markets[pair];
            order_entries.clear();
            view.update(&market.engine, &changes, ts, order_entries);
            if order_entries.is_empty() {
                continue;
            }
            text.clear();
            message::level3(&market.pair, (pair as u64) << ID_BITS, false, order_entries, sum, stamp, text);
            self.send(places, "level3", Some(pair), sum.into());
        }
        changes.clear();
        self.topics[pair].level3 = views;
        self.topics[pair].held_level3.changes = changes;
    }

    /// A pair goes to `post_only` and back, as pairs do when they are listed or looked after; then another.
    fn change_status(&mut self) {
        let (pair, status, before) = match self.quiet.take() {
            Some(pair) => (pair, "online", "post_only"),
            None => (self.rng.below(self.markets.len()), "post_only", "online"),
        };
        // The first ones stay: they carry demos and measurements. A fault may have given it another.
        if pair < 30 || self.markets[pair].pair.status != before {
            return;
        }
        self.quiet = (status == "post_only").then_some(pair);
        self.set_status(pair, status);
    }

    /// Gives a pair a status, and tells who follows the instrument channel.
    fn set_status(&mut self, pair: usize, status: &'static str) {
        self.markets[pair].pair.status = status;
        self.text.clear();
        message::instrument(false, &[], std::iter::once(&self.markets[pair].pair), &mut self.text);
        let places: Vec<usize> = self
            .connections
            .iter()
            .enumerate()
            .filter_map(|(place, c)| c.as_ref().filter(|c| c.instrument).map(|_| place))
            .collect();
        self.send(&places, "instrument", None, 0);
    }

    /// Delayed messages, heartbeats and snapshots that are due.
    fn duty(&mut self) {
        for place in 0..self.connections.len() {
            loop {
                let now = self.now;
                let Some(connection) = &mut self.connections[place] else { break };
                if connection.aside.front().is_some_and(|aside| aside.late.due <= now) {
                    if let Some(Aside { late, .. }) = connection.aside.pop_front() {
                        self.put(place, &late.frame, late.channel, late.pair, late.number, "");
                    }
                } else if connection.late.front().is_some_and(|late| late.due <= now) {
                    if let Some(late) = connection.late.pop_front() {
                        self.deliver(place, &late.frame, late.channel, late.pair, late.number);
                    }
                } else if connection.next_heartbeat <= now {
                    connection.next_heartbeat += SECOND;
                    self.text.clear();
                    self.text.extend_from_slice(message::HEARTBEAT);
                    self.send(&[place], "heartbeat", None, 0);
                } else if connection.coming.front().is_some_and(|coming| coming.due <= now) {
                    if let Some(coming) = connection.coming.pop_front() {
                        self.snapshot(place, coming);
                    }
                } else {
                    break;
                }
            }
        }
        self.find_duty();
    }

    fn find_duty(&mut self) {
        self.next_duty = self.connections.iter().flatten().map(Connection::next_duty).min().unwrap_or(i64::MAX);
    }

    fn snapshot(&mut self, place: usize, coming: Coming) {
        let now = self.now;
        let Some(connection) = &mut self.connections[place] else { return };
        let pair = coming.pair;
        // It may have been given up meanwhile: then there is none, as with Kraken.
        let Some(subscription) = connection
            .subscriptions
            .get_mut(&pair)
            .and_then(|all| all.iter_mut().find(|one| one.number == coming.number))
        else {
            return;
        };
        subscription.live = true;
        let topic = subscription.topic;
        self.join(place, pair, topic, Some(now));
    }

    /// Sends a snapshot: the state of this moment.
    fn tell_snapshot(&mut self, place: usize, pair: usize, topic: Topic, now: i64) {
        self.text.clear();
        let skew = self.faults.skew(self.now);
        let market = &self.markets[pair];
        let mut number = 0;
        match topic {
            Topic::Book(depth) => {
                self.entries.clear();
                for side in [Side::Buy, Side::Sell] {
                    self.entries.extend(market.engine.best(side).take(depth).map(|(price, qty)| (side, price, qty)));
                }
                let sum = checksum(&market.engine, &mut self.scratch);
                number = sum.into();
                message::book(&market.pair, true, &self.entries, sum, now + skew, &mut self.text);
            }
            Topic::Level3(depth) => {
                self.order_entries.clear();
                orders::snapshot(&market.engine, depth, &mut self.order_entries);
                let sum = orders::checksum(&market.engine, &mut self.scratch);
                number = sum.into();
                let (first_id, ts) = ((pair as u64) << ID_BITS, now.max(market.engine.last()) + skew);
                message::level3(&market.pair, first_id, true, &self.order_entries, sum, ts, &mut self.text);
            }
            Topic::Trade => {
                message::trades(&market.pair, true, market.trades.iter(), &mut self.text);
                number = market.trades.back().map_or(0, |trade| trade.id.unsigned_abs());
            }
            Topic::Ticker { .. } => message::ticker(market, true, now + skew, &mut self.text),
            Topic::Ohlc(interval) => {
                message::ohlc(
                    &market.pair,
                    interval,
                    true,
                    market.candles[interval].iter(),
                    now + skew,
                    &mut self.text,
                );
            }
        }
        self.send(&[place], topic.channel(), Some(pair), number);
    }

    // Who gets what.

    /// Lets a connection have a topic from now on; with a snapshot of the time that is given.
    fn join(&mut self, place: usize, pair: usize, topic: Topic, snapshot: Option<i64>) {
        // What was collected is told to the others first, so that the new one does not get it twice.
        match topic {
            Topic::Book(_) => self.tell_books(pair),
            Topic::Level3(_) => self.tell_level3(pair),
            _ => {}
        }
        if let Some(now) = snapshot {
            self.tell_snapshot(place, pair, topic, now);
        }
        let topics = &mut self.topics[pair];
        match topic {
            Topic::Book(depth) => {
                if let Some((_, _, places)) = topics.books.iter_mut().find(|book| book.0 == depth) {
                    places.push(place);
                } else {
                    topics.books.push((depth, View::new(&self.markets[pair].engine, depth), vec![place]));
                }
            }
            Topic::Level3(depth) => {
                if let Some((_, _, places)) = topics.level3.iter_mut().find(|view| view.0 == depth) {
                    places.push(place);
                } else {
                    topics.level3.push((depth, OrderView::new(&self.markets[pair].engine, depth), vec![place]));
                }
            }
            Topic::Trade => topics.trades.push(place),
            Topic::Ticker { bbo } => topics.tickers[usize::from(!bbo)].push(place),
            Topic::Ohlc(interval) => topics.ohlc[interval].push(place),
        }
    }

    fn leave(&mut self, place: usize, pair: usize, topic: Topic) {
        let topics = &mut self.topics[pair];
        match topic {
            Topic::Book(depth) => {
                for book in topics.books.iter_mut().filter(|book| book.0 == depth) {
                    book.2.retain(|&p| p != place);
                }
                topics.books.retain(|book| !book.2.is_empty());
                if topics.books.is_empty() {
                    topics.held_books.changes.clear();
                    topics.book_sum.forget();
                }
            }
            Topic::Level3(depth) => {
                for view in topics.level3.iter_mut().filter(|view| view.0 == depth) {
                    view.2.retain(|&p| p != place);
                }
                topics.level3.retain(|view| !view.2.is_empty());
                if topics.level3.is_empty() {
                    topics.held_level3.changes.clear();
                    topics.level3_sum.forget();
                }
            }
            Topic::Trade => topics.trades.retain(|&p| p != place),
            Topic::Ticker { bbo } => topics.tickers[usize::from(!bbo)].retain(|&p| p != place),
            Topic::Ohlc(interval) => topics.ohlc[interval].retain(|&p| p != place),
        }
    }

    /// Sends `self.text` to some connections: at once, or after the delay of the channel, behind what waits already.
    fn send(&mut self, places: &[usize], channel: &'static str, pair: Option<usize>, number: u64) {
        let mut framed = std::mem::take(&mut self.framed);
        framed.clear();
        wire::frame(&self.text, &mut framed);
        let pace = match channel {
            "book" => self.paces[BOOK],
            "level3" => self.paces[LEVEL3],
            _ => Pace::default(),
        };
        for &place in places {
            let Some(connection) = &mut self.connections[place] else { continue };
            let latest = connection.late.back().map(|late| late.due);
            let mut due = self.now + pace.delay;
            if let Ok(jitter @ 1..) = usize::try_from(pace.jitter) {
                due = due.saturating_add_unsigned(self.jitter.below(jitter + 1) as u64);
            }
            if due > self.now || latest.is_some() {
                due = due.max(latest.unwrap_or(due));
                connection.late.push_back(Late { due, frame: framed.clone(), channel, pair, number });
                self.next_duty = self.next_duty.min(due);
            } else {
                self.deliver(place, &framed, channel, pair, number);
            }
        }
        self.framed = framed;
    }

    /// Counts a frame as meant for a connection, and puts it into its queue unless a fault prevents that.
    fn deliver(&mut self, place: usize, frame: &[u8], channel: &'static str, pair: Option<usize>, number: u64) {
        let Some(connection) = &mut self.connections[place] else { return };
        if let Some(pair) = pair {
            let count = connection.counts.entry((channel, pair)).or_default();
            count.messages += 1;
            count.hash = count.hash.wrapping_mul(HASH).wrapping_add(number);
        }
        if self.faults.frames || !connection.silent.is_empty() {
            self.harm(place, frame, channel, pair, number);
        } else {
            self.put(place, frame, channel, pair, number, "");
        }
    }

    /// Puts a frame into the queue of a connection.
    fn put(
        &mut self,
        place: usize,
        frame: &[u8],
        channel: &'static str,
        pair: Option<usize>,
        number: u64,
        fault: &'static str,
    ) {
        let Some(connection) = &mut self.connections[place] else { return };
        connection.out.extend_from_slice(frame);
        connection.bytes += frame.len() as u64;
        if let Some(log) = &mut self.log {
            let symbol = pair.map_or("", |pair| self.markets[pair].pair.symbol.as_str());
            let (wall, id, count, now) = (self.wall, connection.id, connection.frames, self.now);
            log.extend_from_slice(
                format!("{wall},{id},{count},{channel},{symbol},{number},{now},{fault}\n").as_bytes(),
            );
        }
        connection.frames += 1;
        self.messages += 1;
        if !connection.aside.is_empty() {
            // What was to change places with this one follows it.
            let swaps = |aside: &Aside| aside.swap && aside.late.channel == channel && aside.late.pair == pair;
            if let Some(at) = connection.aside.iter().position(swaps)
                && let Some(Aside { late, .. }) = connection.aside.remove(at)
            {
                self.put(place, &late.frame, channel, pair, late.number, "");
            }
        }
    }

    // What goes wrong.

    /// Asks for a fault, by the text that `faults` describes. It begins now.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the text, and what is allowed.
    pub fn fault(&mut self, text: &str) -> Result<(), String> {
        let fault = faults::read(text, self.now)?;
        if let Some(pattern) = &fault.symbol
            && !self.markets.iter().any(|market| faults::glob(pattern, &market.pair.symbol))
        {
            return Err(format!("{}: symbol={pattern}: no pair of this exchange is so called", fault.kind.name));
        }
        self.faults.add(fault);
        Ok(())
    }

    /// Ends all faults. What they did stays done; what they hold back comes.
    pub fn heal(&mut self) {
        self.faults.clear();
        for connection in self.connections.iter_mut().flatten() {
            connection.silent.clear();
        }
        for (_, what) in std::mem::take(&mut self.restore) {
            self.restore_state(what);
        }
    }

    /// The faults that are in force or will be, as they were asked for.
    pub fn faults(&self) -> impl Iterator<Item = &str> {
        self.faults.texts()
    }

    /// What went wrong since the last call. What happens to connections is only told here: the caller does it.
    pub fn take_faults(&mut self) -> Vec<Injected> {
        self.faults.take()
    }

    /// Whether a client of an address may connect; else the HTTP status with which it is refused, 0 for none.
    ///
    /// # Errors
    /// That status.
    pub fn knock(&mut self, who: &str) -> Result<(), u16> {
        match self.faults.knock(self.now, who) {
            None => Ok(()),
            Some((fault, status)) => {
                self.happened(&fault, None, "", None);
                Err(status)
            }
        }
    }

    /// State of the exchange.
    #[must_use]
    pub const fn system(&self) -> &'static str {
        self.system
    }

    /// The best levels of a pair's book as they are: price and quantity, bids then asks.
    #[must_use]
    pub fn book(&self, symbol: &str, depth: usize) -> Option<[Vec<(String, String)>; 2]> {
        let Market { engine, pair, .. } = &self.markets[*self.places.get(symbol)?];
        let text = |value: i64, decimals: u8| {
            let mut digits = Vec::new();
            wire::number(value.into(), decimals, &mut digits);
            digits.into_iter().map(char::from).collect::<String>()
        };
        Some([Side::Buy, Side::Sell].map(|side| {
            let levels = engine.best(side).take(depth);
            levels.map(|(price, qty)| (text(price, pair.price_precision), text(qty, pair.qty_precision))).collect()
        }))
    }

    fn next_fault(&self) -> i64 {
        self.restore.iter().map(|(due, _)| *due).min().unwrap_or(i64::MAX).min(self.faults.next)
    }

    /// The time that a message carries for something that happened at `ts`.
    fn stamp(&self, ts: i64) -> i64 {
        ts + self.faults.skew(self.now)
    }

    /// Keeps that a fault happened.
    fn happened(&mut self, fault: &Fault, place: Option<usize>, channel: &'static str, pair: Option<usize>) {
        let connection = place.and_then(|place| self.connections[place].as_mut());
        let (id, frame) = connection.as_ref().map(|c| (c.id, c.frames)).unzip();
        let symbol = pair.map_or("", |pair| self.markets[pair].pair.symbol.as_str());
        let (name, now, by) = (fault.kind.name, self.now, fault.by);
        // What harms a frame is told in the frame's own line.
        if let Some(log) = &mut self.log
            && fault.kind.occasion != Occasion::Frame
        {
            let text = |number: Option<u64>| number.map_or(String::new(), |number| number.to_string());
            let (wall, id, frame) = (self.wall, text(id), text(frame));
            log.extend_from_slice(format!("{wall},{id},{frame},{channel},{symbol},0,{now},{name}\n").as_bytes());
        }
        let symbol = symbol.to_owned();
        self.faults.happened(Injected { ts: now, name, connection: id, frame, channel, symbol, by });
    }

    /// What faults do to a frame on its way out.
    fn harm(&mut self, place: usize, frame: &[u8], channel: &'static str, pair: Option<usize>, number: u64) {
        let now = self.now;
        let Some(connection) = &mut self.connections[place] else { return };
        if pair.is_some_and(|pair| connection.silent.contains(&(channel, pair))) {
            return self.lose(place, channel, pair, number, "silence");
        }
        let symbol = pair.map_or("", |pair| self.markets[pair].pair.symbol.as_str());
        let may = |what| pair.is_some() || what != What::Silence;
        let Some(fault) = self.faults.pick(Occasion::Frame, (now, connection.id, channel, symbol), may) else {
            return self.put(place, frame, channel, pair, number, "");
        };
        self.happened(&fault, Some(place), channel, pair);
        let Some(connection) = &mut self.connections[place] else { return };
        let name = fault.kind.name;
        match fault.kind.what {
            What::Drop => return self.lose(place, channel, pair, number, name),
            What::Silence => {
                connection.silent.extend(pair.map(|pair| (channel, pair)));
                return self.lose(place, channel, pair, number, name);
            }
            _ => {}
        }
        if let Some(pair) = pair {
            *connection.harmed.entry((channel, pair)).or_default().entry(name).or_default() += 1;
        }
        match fault.kind.what {
            What::Repeat => {
                self.put(place, frame, channel, pair, number, "");
                self.put(place, frame, channel, pair, number, name);
            }
            What::Reorder | What::Delay => {
                let swap = fault.kind.what == What::Reorder;
                let due = now + if swap { REORDER } else { fault.by };
                let aside = Aside { late: Late { due, frame: frame.to_vec(), channel, pair, number }, swap };
                let at = connection.aside.partition_point(|other| other.late.due <= due);
                connection.aside.insert(at, aside);
                self.next_duty = self.next_duty.min(due);
            }
            what => {
                let mut text = wire::text(frame).to_vec();
                faults::damage(what, fault.by, &mut text, &mut self.faults.rng);
                let mut damaged = Vec::new();
                wire::frame(&text, &mut damaged);
                self.put(place, &damaged, channel, pair, number, name);
            }
        }
    }

    /// A frame is not sent: it has a line in the log, with the number of the next one that is.
    fn lose(&mut self, place: usize, channel: &'static str, pair: Option<usize>, number: u64, fault: &'static str) {
        let Some(connection) = &mut self.connections[place] else { return };
        if let Some(pair) = pair {
            *connection.harmed.entry((channel, pair)).or_default().entry(fault).or_default() += 1;
        }
        if let Some(log) = &mut self.log {
            let symbol = pair.map_or("", |pair| self.markets[pair].pair.symbol.as_str());
            let (wall, id, count, now) = (self.wall, connection.id, connection.frames, self.now);
            log.extend_from_slice(
                format!("{wall},{id},{count},{channel},{symbol},{number},{now},{fault}\n").as_bytes(),
            );
        }
    }

    /// Faults of time that are due, and ends of what they brought.
    fn go_wrong(&mut self) {
        let now = self.now;
        let over: Vec<Option<usize>> =
            self.restore.iter().filter(|(due, _)| *due <= now).map(|(_, what)| *what).collect();
        self.restore.retain(|(due, _)| *due > now);
        for what in over {
            self.restore_state(what);
        }
        let connections: Vec<u64> = self.connections.iter().flatten().map(|connection| connection.id).collect();
        for (fault, connection) in self.faults.due(now, &connections) {
            match fault.kind.occasion {
                Occasion::Socket => {
                    let place = connection.and_then(|id| self.place(id));
                    self.happened(&fault, place, "", None);
                }
                Occasion::Pair => self.pair_goes_wrong(&fault),
                _ => {
                    let state = match fault.kind.what {
                        What::Maintenance => Some("maintenance"),
                        What::CancelOnly => Some("cancel_only"),
                        What::PostOnly => Some("post_only"),
                        _ => None,
                    };
                    self.happened(&fault, None, "status", None);
                    if let Some(state) = state {
                        self.system = state;
                        self.restore.retain(|(_, what)| what.is_some());
                        self.restore.push((now + fault.by, None));
                    }
                    if fault.kind.what != What::Skew {
                        self.tell_status(state.is_none());
                    }
                }
            }
        }
    }

    /// The exchange, or a pair, is online again.
    fn restore_state(&mut self, what: Option<usize>) {
        match what {
            None => {
                self.system = "online";
                self.tell_status(false);
            }
            Some(pair) if self.markets[pair].pair.status != DELISTED => self.set_status(pair, "online"),
            Some(_) => {}
        }
    }

    /// Tells all connections the state of the exchange; with a maintenance that is announced, on request.
    fn tell_status(&mut self, announce: bool) {
        for place in 0..self.connections.len() {
            if let Some(name) = self.connections[place].as_ref().map(|connection| connection.told) {
                self.text.clear();
                message::status(self.system, name, announce.then_some(self.now), &mut self.text);
                self.send(&[place], "status", None, 0);
            }
        }
    }

    /// A fault of a pair that its pattern chooses. Where there is none nothing happens.
    fn pair_goes_wrong(&mut self, fault: &Fault) {
        let chosen = |market: &Market| fault.symbol.as_ref().is_none_or(|p| faults::glob(p, &market.pair.symbol));
        let listing = fault.kind.what == What::List;
        let fits: Vec<usize> = (0..self.markets.len())
            .filter(|&i| chosen(&self.markets[i]) && (self.markets[i].pair.status == DELISTED) == listing)
            // Its own status comes back with `restore`, once.
            .filter(|&i| fault.kind.what != What::Instrument || self.markets[i].pair.status == "online")
            .collect();
        let pair = match (fits.len(), listing) {
            (0, true) if fault.symbol.is_none() && self.markets.len() < PAIRS_MAX => self.new_pair(),
            (0, _) => return,
            (n, _) => fits[self.faults.rng.below(n)],
        };
        self.happened(fault, None, "instrument", Some(pair));
        match fault.kind.what {
            What::Instrument => {
                let status = KEPT[self.faults.rng.below(KEPT.len())];
                self.restore.push((self.now + fault.by, Some(pair)));
                self.set_status(pair, status);
            }
            What::Delist => self.delist(pair),
            What::List => {
                self.begin_anew(pair, self.markets[pair].pair.price_precision);
                self.set_status(pair, "online");
            }
            _ => {
                let before = self.markets[pair].pair.price_precision;
                let more = before == 0 || (before < 10 && self.faults.rng.below(2) == 0);
                self.begin_anew(pair, if more { before + 1 } else { before - 1 });
                let status = self.markets[pair].pair.status;
                self.set_status(pair, status);
                self.books_anew(pair);
            }
        }
    }

    /// A pair more; its market does not trade until it is listed.
    fn new_pair(&mut self) -> usize {
        let place = self.markets.len();
        let mut all = pairs(place + 1, self.seed);
        let mut pair = all.swap_remove(place);
        pair.status = DELISTED;
        let sum = self.cumulative.last().copied().unwrap_or_default() + pair.weight;
        self.cumulative.push(sum);
        self.places.insert(pair.symbol.clone(), place);
        self.markets.push(Market::new(pair, self.seed, self.now));
        self.topics.push(Topics::default());
        self.told.push([0; 2]);
        place
    }

    /// A pair's market begins anew, with prices of so many decimals. Its trades go on counting.
    fn begin_anew(&mut self, place: usize, price_precision: u8) {
        let mut pair = self.markets[place].pair.clone();
        pair.price = match price_precision.cmp(&pair.price_precision) {
            std::cmp::Ordering::Less => pair.price / 10,
            std::cmp::Ordering::Equal => pair.price,
            std::cmp::Ordering::Greater => pair.price.saturating_mul(10),
        }
        .max(500);
        pair.price_precision = price_precision;
        let seed = self.faults.rng.bits();
        self.markets[place] = self.markets[place].anew(pair, seed, self.now);
        self.told[place] = [0; 2];
        let topics = &mut self.topics[place];
        topics.held_books.changes.clear();
        topics.held_level3.changes.clear();
        topics.book_sum.forget();
        topics.level3_sum.forget();
    }

    /// Subscribers of a pair's books get a snapshot each.
    fn books_anew(&mut self, pair: usize) {
        let now = self.now;
        let Self { markets, topics, .. } = self;
        let engine = &markets[pair].engine;
        let mut told: Vec<(usize, Topic)> = Vec::new();
        for (depth, view, places) in &mut topics[pair].books {
            *view = View::new(engine, *depth);
            told.extend(places.iter().map(|&place| (place, Topic::Book(*depth))));
        }
        for (depth, view, places) in &mut topics[pair].level3 {
            *view = OrderView::new(engine, *depth);
            told.extend(places.iter().map(|&place| (place, Topic::Level3(*depth))));
        }
        for (place, topic) in told {
            self.tell_snapshot(place, pair, topic, now);
        }
    }

    /// A pair is no longer listed: nothing of it comes any more, and it cannot be subscribed.
    fn delist(&mut self, pair: usize) {
        for place in 0..self.connections.len() {
            let Some(connection) = &mut self.connections[place] else { continue };
            for subscription in connection.subscriptions.remove(&pair).unwrap_or_default() {
                self.leave(place, pair, subscription.topic);
            }
        }
        self.set_status(pair, DELISTED);
    }

    // Requests.

    /// Takes a request of a connection; the answers wait in its queue.
    pub fn receive(&mut self, id: u64, text: &[u8]) {
        let Some(place) = self.place(id) else { return };
        let now = self.now;
        let Some(connection) = &mut self.connections[place] else { return };
        let (method, req_id, request) = request::read(text, connection.endpoint);
        let req_id = req_id.as_ref();
        let request = if connection.requests.take(1.0, now) { request } else { Err(TOO_MANY) };
        let request = match request {
            Ok(request) if self.limited(place, &request) => Err(TOO_MANY),
            request => request,
        };
        match request {
            Err(error) => self.refuse(place, error, &method, req_id, None),
            Ok(Request::Ping) => {
                self.text.clear();
                request::pong(req_id, self.stamp(now), &mut self.text);
                self.send(&[place], "pong", None, 0);
            }
            Ok(Request::Instrument { subscribe, snapshot }) => {
                self.instrument(place, subscribe, snapshot, &method, req_id);
            }
            Ok(Request::Topic { topic: Topic::Level3(_), token, .. }) if !self.may(token.as_deref()) => {
                self.text.clear();
                request::invalid_session("level3", &method, req_id, now, &mut self.text);
                self.send(&[place], "refusal", None, 0);
            }
            Ok(Request::Topic { subscribe, topic, symbols, snapshot, token: _ }) => {
                for symbol in symbols {
                    self.topic(place, subscribe, topic, &symbol, snapshot, &method, req_id);
                }
            }
        }
        self.find_duty();
    }

    /// Whether a fault lets a request be one too many.
    fn limited(&mut self, place: usize, request: &Request) -> bool {
        let (channel, symbols) = match request {
            Request::Ping => return false,
            Request::Instrument { .. } => ("instrument", &[String::new()][..]),
            Request::Topic { topic, symbols, .. } => (topic.channel(), &symbols[..]),
        };
        symbols.iter().any(|symbol| self.answer_fault(place, channel, symbol, |what| what == What::RateLimit).is_some())
    }

    /// The fault that happens to the answer about a symbol.
    fn answer_fault(
        &mut self,
        place: usize,
        channel: &'static str,
        symbol: &str,
        may: impl Fn(What) -> bool,
    ) -> Option<Fault> {
        let id = self.connections[place].as_ref()?.id;
        let fault = self.faults.pick(Occasion::Answer, (self.now, id, channel, symbol), may)?;
        let pair = self.places.get(symbol).copied();
        self.happened(&fault, Some(place), channel, pair);
        Some(fault)
    }

    /// Whether a token is valid now.
    fn may(&self, token: Option<&str>) -> bool {
        self.tokens.iter().any(|(known, until)| Some(known.as_str()) == token && self.now < *until)
    }

    fn refuse(&mut self, place: usize, error: &str, method: &str, req_id: Option<&Value>, symbol: Option<&str>) {
        self.text.clear();
        request::refusal(error, method, req_id, symbol, self.stamp(self.now), &mut self.text);
        self.send(&[place], "refusal", None, 0);
    }

    fn ack(&mut self, place: usize, result: &str, method: &str, req_id: Option<&Value>) {
        self.text.clear();
        request::ack(result, method, req_id, self.stamp(self.now), &mut self.text);
        self.send(&[place], "ack", None, 0);
        if let Some(connection) = &mut self.connections[place]
            && connection.next_heartbeat == i64::MAX
        {
            connection.next_heartbeat = self.now + SECOND;
        }
    }

    fn instrument(&mut self, place: usize, subscribe: bool, snapshot: bool, method: &str, req_id: Option<&Value>) {
        let may = |what| what == What::Ignore || (subscribe && what != What::RateLimit && what != What::Hollow);
        if let Some(fault) = self.answer_fault(place, "instrument", "", may) {
            return self.wrong_answer(place, &fault, method, req_id, None);
        }
        let Some(connection) = &mut self.connections[place] else { return };
        if connection.instrument == subscribe {
            let error = if subscribe { ALREADY } else { NOT_SUBSCRIBED };
            return self.refuse(place, error, method, req_id, None);
        }
        connection.instrument = subscribe;
        if !subscribe {
            return self.ack(place, "\"channel\":\"instrument\"", method, req_id);
        }
        let warning = "tick_size is deprecated, use price_increment";
        let result = format!("\"channel\":\"instrument\",\"snapshot\":{snapshot},\"warnings\":[\"{warning}\"]");
        self.ack(place, &result, method, req_id);
        if snapshot {
            let listed = |pair: &&Pair| pair.status != DELISTED;
            let pairs = || self.markets.iter().map(|market| &market.pair).filter(listed);
            let assets: BTreeSet<&str> = pairs().flat_map(|pair| [pair.base.as_str(), pair.quote.as_str()]).collect();
            let assets: Vec<&str> = assets.into_iter().collect();
            let mut text = Vec::new();
            message::instrument(true, &assets, pairs(), &mut text);
            self.text = text;
            self.send(&[place], "instrument", None, 0);
        }
    }

    /// An answer by a fault: none, or a refusal.
    fn wrong_answer(
        &mut self,
        place: usize,
        fault: &Fault,
        method: &str,
        req_id: Option<&Value>,
        symbol: Option<&str>,
    ) {
        match fault.kind.what {
            What::Refuse => self.refuse(place, &fault.words, method, req_id, symbol),
            What::Already => self.refuse(place, ALREADY, method, req_id, symbol),
            _ => {}
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one request, taken apart")]
    fn topic(
        &mut self,
        place: usize,
        subscribe: bool,
        topic: Topic,
        symbol: &str,
        snapshot: bool,
        method: &str,
        req_id: Option<&Value>,
    ) {
        let listed = |pair: &&usize| self.markets[**pair].pair.status != DELISTED;
        let Some(&pair) = self.places.get(symbol).filter(listed) else {
            let error = if symbol.contains('/') {
                format!("Currency pair not supported {symbol}")
            } else {
                format!("Currency pair not in ISO 4217-A3 format {symbol}")
            };
            return self.refuse(place, &error, method, req_id, Some(symbol));
        };
        let may = |what| what == What::Ignore || (subscribe && what != What::RateLimit);
        let fault = self.answer_fault(place, topic.channel(), symbol, may);
        let hollow = match &fault {
            Some(fault) if fault.kind.what == What::Hollow => true,
            Some(fault) => return self.wrong_answer(place, fault, method, req_id, Some(symbol)),
            None => false,
        };
        let now = self.now;
        let Some(connection) = &mut self.connections[place] else { return };
        let full = topic.channel() == "level3" && connection.subscriptions.values().flatten().count() == LEVEL3_SYMBOLS;
        let all = connection.subscriptions.entry(pair).or_default();
        let existing = all.iter().position(|one| one.topic.excludes(topic));
        match (subscribe, existing) {
            (true, Some(_)) => self.refuse(place, ALREADY, method, req_id, Some(symbol)),
            (false, None) => self.refuse(place, NOT_SUBSCRIBED, method, req_id, Some(symbol)),
            (false, Some(at)) => {
                let subscription = all.swap_remove(at);
                connection.silent.remove(&(topic.channel(), pair));
                // A snapshot that nobody wants any more keeps no other waiting.
                connection.coming.retain(|coming| coming.number != subscription.number);
                self.leave(place, pair, subscription.topic);
                let result = request::result(subscription.topic, symbol, false, false);
                self.ack(place, &result, method, req_id);
            }
            (true, None) if full => self.refuse(place, TOO_MANY_SYMBOLS, method, req_id, Some(symbol)),
            (true, None) if !connection.costs.take(topic.cost(), now) => {
                self.refuse(place, TOO_EXPENSIVE, method, req_id, Some(symbol));
            }
            (true, None) => {
                self.subscriptions += 1;
                let number = self.subscriptions;
                all.push(Subscription { topic, number, live: !snapshot });
                if hollow {
                    // Nothing is on its way.
                } else if snapshot {
                    let after = connection.coming.back().map_or(0, |last| last.due + SNAPSHOT_EVERY);
                    let due = after.max(self.now + SNAPSHOT_AFTER);
                    connection.coming.push_back(Coming { due, pair, number });
                } else {
                    self.join(place, pair, topic, None);
                }
                let result = request::result(topic, symbol, true, snapshot);
                self.ack(place, &result, method, req_id);
            }
        }
    }

    // Accounts.

    fn account(&self, connection: &Connection) -> Value {
        let mut symbols: Map<String, Value> = Map::new();
        let mut counts: Vec<_> = connection.counts.iter().collect();
        counts.sort_by_key(|((channel, pair), _)| (*pair, *channel));
        for (&(channel, pair), count) in counts {
            let symbol = self.markets[pair].pair.symbol.clone();
            let mut facts = json!({ "messages": count.messages, "hash": format!("{:016x}", count.hash) });
            if let Some(harmed) = connection.harmed.get(&(channel, pair)) {
                facts["faults"] = json!(harmed);
            }
            if let Value::Object(channels) = symbols.entry(symbol).or_insert_with(|| json!({})) {
                channels.insert(channel.to_owned(), facts);
            }
        }
        json!({
            "connection": connection.id, "connection_id": connection.told, "frames": connection.frames,
            "bytes": connection.bytes, "symbols": symbols
        })
    }

    /// What was sent: messages in all, and per connection the id that it was told, frames, bytes and, per symbol and
    /// channel, the number of messages and a hash over the checksums (book, level3) or the last trade id of each
    /// message (trades). Of symbols and channels these are the messages that were made; `faults` there says what became
    /// of some of them. And how often each fault happened.
    #[must_use]
    pub fn summary(&self) -> Value {
        let connections: Vec<Value> =
            self.past.iter().cloned().chain(self.connections.iter().flatten().map(|c| self.account(c))).collect();
        json!({ "messages": self.messages, "now": self.now, "faults": self.faults.counts(), "connections": connections })
    }
}

/// Places in `Exchange::paces` and `Exchange::conflated`.
const BOOK: usize = 0;
const LEVEL3: usize = 1;
const ALREADY: &str = "Already subscribed";
const TOO_MANY: &str = "Exceeded msg rate";
/// Kraken's texts for these are not known.
const NOT_SUBSCRIBED: &str = "Subscription not found";
const TOO_MANY_SYMBOLS: &str = "EGeneral:Subscription limit exceeded";
const TOO_EXPENSIVE: &str = "EGeneral:Rate limit exceeded";

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_785_641_751_000_000_000;

    /// Texts of the frames in a block: the reader's own, simple, way to take WebSocket frames apart.
    fn texts(mut block: &[u8]) -> Vec<String> {
        let mut texts = Vec::new();
        while let [0x81, length, ..] = *block {
            let (at, length) = match length {
                126 => (4, usize::from(u16::from_be_bytes([block[2], block[3]]))),
                127 => (10, usize::try_from(u64::from_be_bytes(block[2..10].try_into().expect("8"))).expect("fits")),
                short => (2, usize::from(short)),
            };
            texts.push(String::from_utf8(block[at..at + length].to_vec()).expect("text"));
            block = &block[at + length..];
        }
        assert!(block.is_empty(), "whole frames");
        texts
    }

    fn full(exchange: &mut Exchange, depth: usize) -> u64 {
        let id = exchange.connect(Endpoint::Public);
        let symbols: Vec<String> = exchange.symbols().map(str::to_owned).collect();
        for params in [
            json!({"channel": "instrument"}),
            json!({"channel": "book", "symbol": symbols, "depth": depth}),
            json!({"channel": "trade", "symbol": symbols, "snapshot": true}),
            json!({"channel": "ticker", "symbol": symbols, "event_trigger": "bbo"}),
        ] {
            exchange.receive(id, json!({"method": "subscribe", "params": params, "req_id": 7}).to_string().as_bytes());
        }
        id
    }

    /// Goal: the rate that is asked for is about the rate that comes, for a full subscription.
    #[test]
    fn rate_is_about_what_was_asked_for() {
        let mut exchange = Exchange::new(200, 5000.0, 1, START, false);
        let id = full(&mut exchange, 1000);
        exchange.advance(START + 2 * SECOND, usize::MAX, 0);
        exchange.take(id);
        let before = exchange.messages;
        exchange.advance(START + 12 * SECOND, usize::MAX, 0);
        let rate = (exchange.messages - before) / 10;
        assert!((4500..5500).contains(&rate), "{rate}");
    }

    /// Goal: the same seed and requests give the same bytes; another seed gives others.
    #[test]
    fn deterministic() {
        let run = |seed| {
            let mut exchange = Exchange::new(50, 2000.0, seed, START, false);
            let id = full(&mut exchange, 10);
            exchange.advance(START + SECOND, usize::MAX, 0);
            exchange.take(id)
        };
        assert_eq!(run(5), run(5));
        assert_ne!(run(5), run(6));
    }

    /// Goal: status first, acks before snapshots, snapshots before updates, heartbeats every second, times that grow.
    #[test]
    fn order_of_messages() {
        let mut exchange = Exchange::new(20, 2000.0, 2, START, false);
        let id = full(&mut exchange, 1000);
        exchange.advance(START + 3 * SECOND + MS, usize::MAX, 0);
        let texts: Vec<Value> =
            texts(&exchange.take(id)).iter().map(|text| serde_json::from_str(text).expect("JSON")).collect();
        assert_eq!(texts[0]["channel"], "status");
        let is = |v: &Value, channel: &str, kind: &str| v["channel"] == channel && v["type"] == kind;
        assert!(texts.iter().filter(|v| v["success"] == true).all(|v| v["req_id"] == 7));
        assert_eq!(texts.iter().filter(|v| v["success"] == true).count(), 61);
        assert_eq!(texts.iter().filter(|v| v["channel"] == "heartbeat").count(), 3);
        for symbol in exchange.symbols() {
            let mine: Vec<&Value> = texts.iter().filter(|v| v["data"][0]["symbol"] == symbol).collect();
            let books: Vec<&&Value> = mine.iter().filter(|v| v["channel"] == "book").collect();
            assert!(is(books[0], "book", "snapshot"), "{symbol}");
            assert!(books[1..].iter().all(|v| is(v, "book", "update")), "{symbol}");
            let times: Vec<&str> = books.iter().map(|v| v["data"][0]["timestamp"].as_str().expect("a time")).collect();
            assert!(times[1..].windows(2).all(|w| w[0] < w[1]), "{symbol}");
        }
        assert!(texts.iter().filter(|v| is(v, "book", "update")).count() > 1000, "awake");
        assert!(texts.iter().any(|v| is(v, "trade", "update")), "awake");
    }

    /// Goal: refusals in Kraken's words, with its members.
    #[test]
    fn refusals() {
        let mut exchange = Exchange::new(5, 1.0, 2, START, false);
        let id = exchange.connect(Endpoint::Public);
        exchange.take(id);
        let mut ask = |text: &str| {
            exchange.receive(id, text.as_bytes());
            let texts = texts(&exchange.take(id));
            assert_eq!(texts.len(), 1, "{texts:?}");
            serde_json::from_str::<Value>(&texts[0]).expect("JSON")
        };
        let book = |symbol: &str, depth: &str| {
            format!(
                r#"{{"method":"subscribe","params":{{"channel":"book","symbol":["{symbol}"],"depth":{depth}}},"req_id":3}}"#
            )
        };
        for (text, error, symbol) in [
            (book("XBT/USD", "10"), "Currency pair not supported XBT/USD", Some("XBT/USD")),
            (book("XBTUSD", "10"), "Currency pair not in ISO 4217-A3 format XBTUSD", Some("XBTUSD")),
            (book("BTC/USD", "27"), "Subscription depth not supported", None),
            (r#"{"method":"subscribe","params":{"channel":"bok"}}"#.to_owned(), "Subscription name invalid", None),
            ("[1".to_owned(), "Malformed request", None),
            (
                r#"{"method":"subscribe","params":{"channel":"executions","token":"x"}}"#.to_owned(),
                "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com",
                None,
            ),
        ] {
            let answer = ask(&text);
            assert_eq!(answer["error"], error);
            assert_eq!(answer["success"], false);
            assert_eq!(answer.get("symbol").and_then(Value::as_str), symbol, "{error}");
            assert!(answer.get("result").is_none());
        }
        assert_eq!(ask(&book("BTC/USD", "10"))["success"], true);
        assert_eq!(ask(&book("BTC/USD", "10"))["error"], "Already subscribed");
        assert_eq!(ask(&book("BTC/USD", "25"))["error"], "Already subscribed", "one depth a symbol");
        let pong = ask(r#"{"method":"ping","req_id":101}"#);
        assert_eq!(
            (pong["method"].as_str(), pong["req_id"].as_i64(), pong.get("success")),
            (Some("pong"), Some(101), None)
        );
        for symbols in [vec![], vec!["BTC/USD"; PAIRS_MAX + 1]] {
            let text = json!({"method": "subscribe", "params": {"channel": "trade", "symbol": symbols}, "req_id": 4});
            let answer = ask(&text.to_string());
            assert_eq!((&answer["error"], &answer["req_id"]), (&json!("EGeneral:Invalid arguments"), &json!(4)));
        }
        let errors: Vec<Value> = (0..200).map(|_| ask(r#"{"method":"ping"}"#)).collect();
        assert!(errors.iter().any(|v| v["error"] == "Exceeded msg rate"));
    }

    /// Goal: a subscription that is given up before its snapshot gets none; the next one gets its own.
    #[test]
    fn given_up_before_the_snapshot() {
        let mut exchange = Exchange::new(1, 100.0, 2, START, false);
        let id = exchange.connect(Endpoint::Public);
        for method in ["subscribe", "unsubscribe", "subscribe"] {
            let params = json!({"channel": "book", "symbol": ["BTC/USD"]});
            exchange.receive(id, json!({"method": method, "params": params}).to_string().as_bytes());
        }
        exchange.advance(START + SECOND, usize::MAX, 0);
        let snapshots = texts(&exchange.take(id)).iter().filter(|text| text.contains("\"snapshot\",\"data\"")).count();
        assert_eq!(snapshots, 1);
    }

    /// Goal: who subscribes and leaves, again and again, waits no longer for the last snapshot than for the first.
    #[test]
    fn snapshots_given_up_keep_nobody_waiting() {
        let mut exchange = Exchange::new(30, 100.0, 2, START, false);
        let id = exchange.connect(Endpoint::Public);
        let symbols: Vec<String> = exchange.symbols().map(str::to_owned).collect();
        for n in 0..99 {
            let method = if n % 2 == 0 { "subscribe" } else { "unsubscribe" };
            let params = json!({"channel": "book", "symbol": symbols});
            exchange.receive(id, json!({"method": method, "params": params}).to_string().as_bytes());
        }
        exchange.advance(START + SNAPSHOT_AFTER + 30 * SNAPSHOT_EVERY, usize::MAX, 0);
        let snapshots = texts(&exchange.take(id)).iter().filter(|text| text.contains("\"snapshot\",\"data\"")).count();
        assert_eq!(snapshots, 30);
    }

    /// Goal: an exchange that clients come to and leave for months does not grow.
    #[test]
    fn the_oldest_accounts_are_forgotten() {
        let mut exchange = Exchange::new(1, 1.0, 2, START, false);
        for _ in 0..PAST_MAX + 2 {
            let id = exchange.connect(Endpoint::Public);
            exchange.disconnect(id);
        }
        let summary = exchange.summary();
        let connections = summary["connections"].as_array().expect("a list");
        assert_eq!((connections.len(), &connections[0]["connection"]), (PAST_MAX, &json!(2)));
    }
}
