//! What happens on the markets, as messages to those who follow them: who gets what of a pair.

use std::collections::{HashMap, VecDeque};

use crate::connection::{Label, PendingSnapshot};
use crate::engine::{Change, Engine, OWN, OrderChange, Side};
use crate::history::{HISTORY, History};
use crate::market::{INTERVALS, Market};
use crate::message;
use crate::orders::{self, OrderEntry, OrderView};
use crate::outbox::{BOOK, LEVEL3, Outbox};
use crate::pairs::Pair;
use crate::request::Topic;
use crate::view::{self, Checksum, Entry, View, checksum};

const SECOND: i64 = 1_000_000_000;
/// Bits of an order's number within its pair.
const ID_BITS: u32 = 40;
/// Status of a pair that is no longer listed.
pub const DELISTED: &str = "delisted";

/// Changes of a pair that are collected for one message.
#[derive(Debug)]
struct Collected<T> {
    changes: Vec<T>,
    /// Time of the latest one, ns.
    ts: i64,
}

impl<T> Default for Collected<T> {
    fn default() -> Self {
        Self { changes: Vec::new(), ts: 0 }
    }
}

/// Who follows a pair: places of connections.
#[derive(Debug, Default)]
struct Subscribers {
    /// By depth.
    books: Vec<(usize, View, Vec<usize>)>,
    /// By depth.
    level3: Vec<(usize, OrderView, Vec<usize>)>,
    book_checksum: Checksum,
    level3_checksum: Checksum,
    book_changes: Collected<Change>,
    level3_changes: Collected<OrderChange>,
    trades: Vec<usize>,
    /// By bbo, by trades.
    tickers: [Vec<usize>; 2],
    ohlc: [Vec<usize>; INTERVALS.len()],
}

/// A pair's market, and who follows it.
#[derive(Debug)]
pub struct Listing {
    /// The market.
    pub market: Market,
    subscribers: Subscribers,
    /// Best prices after the last step.
    best: [i64; 2],
}

/// All pairs, and all that is sent about them.
#[derive(Debug)]
pub struct Fanout {
    /// The pairs, the busiest first. A pair's number is its index.
    pub listings: Vec<Listing>,
    /// Where messages go.
    pub outbox: Outbox,
    /// The trades that were made.
    pub history: History,
    /// Whether level 3 shows an amended order of the account as one `modify`, wherever it goes.
    pub amends_modify: bool,
    numbers: HashMap<String, usize>,
    /// When the collected changes of a pair are due, by channel as in `Outbox::paces`.
    conflated: [VecDeque<(i64, usize)>; 2],
    entries: Vec<Entry>,
    order_entries: Vec<OrderEntry>,
    scratch: Vec<u8>,
}

impl Fanout {
    /// Nobody follows these markets yet. The outbox learns their symbols here.
    pub fn new(markets: Vec<Market>, outbox: Outbox) -> Self {
        let mut fanout = Self {
            listings: Vec::new(),
            outbox,
            history: History::new(HISTORY),
            amends_modify: false,
            numbers: HashMap::new(),
            conflated: Default::default(),
            entries: Vec::new(),
            order_entries: Vec::new(),
            scratch: Vec::new(),
        };
        for market in markets {
            fanout.add(market);
        }
        fanout
    }

    /// Adds a pair; returns its number.
    pub fn add(&mut self, market: Market) -> usize {
        let number = self.listings.len();
        self.numbers.insert(market.pair.symbol.clone(), number);
        self.outbox.symbols.push(market.pair.symbol.clone());
        self.listings.push(Listing { market, subscribers: Subscribers::default(), best: [0; 2] });
        number
    }

    /// Number of a pair.
    pub fn find(&self, symbol: &str) -> Option<usize> {
        self.numbers.get(symbol).copied()
    }

    // What happens on a market.

    /// Lets a pair's market make a step, and sends what it changed.
    pub fn step(&mut self, pair: usize) {
        let now = self.outbox.now;
        self.listings[pair].market.step(now);
        self.publish(pair);
    }

    /// Lets the account do something on a pair's market, and sends what it changed: see `Market::act_for`.
    pub fn act_for<T>(&mut self, pair: usize, taker: (u64, Side, bool), act: impl FnOnce(&mut Engine, i64) -> T) -> T {
        // Trades and books are stamped with whole microseconds.
        let ts = self.outbox.now - self.outbox.now.rem_euclid(1000);
        let result = self.listings[pair].market.act_for(taker, ts, |engine| act(engine, ts));
        self.publish(pair);
        result
    }

    /// Sends what the last step, or the account, changed on a pair's market, and remembers its trades.
    fn publish(&mut self, pair: usize) {
        let now = self.outbox.now;
        self.history.add(pair, &self.listings[pair].market.fills);
        self.collect(pair);
        let Self { listings, outbox, .. } = self;
        let Listing { market, subscribers, best } = &mut listings[pair];
        let prices = [Side::Buy, Side::Sell].map(|side| market.best(side).unwrap_or_default().0);
        let moved = std::mem::replace(best, prices) != prices;
        let traded = !market.fills.is_empty();
        let stamp = outbox.stamp(now);
        if traded && !subscribers.trades.is_empty() {
            message::trades(&market.pair, false, market.fills.iter(), outbox.compose());
            let last = market.fills.last().map_or(0, |trade| trade.id.unsigned_abs());
            outbox.send(&subscribers.trades, Label::of("trade", pair, last));
        }
        for (places, happened) in subscribers.tickers.iter().zip([moved, traded]) {
            if happened && !places.is_empty() {
                message::ticker(market, false, stamp, outbox.compose());
                outbox.send(places, Label::of("ticker", pair, 0));
            }
        }
        for (interval, places) in subscribers.ohlc.iter().enumerate() {
            if traded && !places.is_empty() {
                let running = market.candles[interval].back();
                message::ohlc(&market.pair, interval, false, running.into_iter(), stamp, outbox.compose());
                outbox.send(places, Label::of("ohlc", pair, 0));
            }
        }
    }

    /// Takes what a step changed in the books of a pair; sends it unless the channel is conflated.
    fn collect(&mut self, pair: usize) {
        let Self { listings, outbox, conflated, .. } = self;
        let (now, paces) = (outbox.now, outbox.paces);
        let Listing { market, subscribers, .. } = &mut listings[pair];
        for (channel, due) in conflated.iter_mut().enumerate() {
            let (followed, empty, changed) = if channel == BOOK {
                let empty = subscribers.book_changes.changes.is_empty();
                (!subscribers.books.is_empty(), empty, !market.changes.is_empty())
            } else {
                let empty = subscribers.level3_changes.changes.is_empty();
                (!subscribers.level3.is_empty(), empty, !market.order_changes.is_empty())
            };
            if followed && empty && changed && paces[channel].conflate > 0 {
                due.push_back((now + paces[channel].conflate, pair));
            }
        }
        if !subscribers.books.is_empty() {
            subscribers.book_changes.changes.append(&mut market.changes);
            subscribers.book_changes.ts = now;
        }
        if !subscribers.level3.is_empty() {
            subscribers.level3_changes.changes.append(&mut market.order_changes);
            subscribers.level3_changes.ts = market.engine.last();
        }
        for channel in [BOOK, LEVEL3] {
            if paces[channel].conflate == 0 {
                self.send_changes(channel, pair);
            }
        }
    }

    /// When collected changes are due next, ns.
    pub fn next_conflated(&self) -> i64 {
        self.conflated.iter().filter_map(|due| due.front()).map(|due| due.0).min().unwrap_or(i64::MAX)
    }

    /// Sends what was collected for long enough. A snapshot may have sent the changes of a pair earlier.
    pub fn send_conflated(&mut self) {
        for channel in [BOOK, LEVEL3] {
            while self.conflated[channel].front().is_some_and(|due| due.0 <= self.outbox.now) {
                if let Some((_, pair)) = self.conflated[channel].pop_front() {
                    self.send_changes(channel, pair);
                }
            }
        }
    }

    fn send_changes(&mut self, channel: usize, pair: usize) {
        if channel == BOOK {
            self.send_books(pair);
        } else {
            self.send_level3(pair);
        }
    }

    fn send_books(&mut self, pair: usize) {
        let Self { listings, outbox, entries, scratch, .. } = self;
        let Listing { market, subscribers, .. } = &mut listings[pair];
        let Subscribers { books, book_checksum, book_changes: Collected { changes, ts }, .. } = subscribers;
        if changes.is_empty() {
            return;
        }
        let stamp = outbox.stamp(*ts);
        if outbox.paces[BOOK].conflate > 0 {
            view::merge(changes);
        }
        let levels = changes.iter().map(|change| (change.side, change.price));
        let sum = book_checksum.after(&market.engine, levels, checksum, scratch);
        for (_, view, places) in books {
            entries.clear();
            view.update(&market.engine, changes, entries);
            if entries.is_empty() {
                continue;
            }
            message::book(&market.pair, false, entries, sum, stamp, outbox.compose());
            outbox.send(places, Label::of("book", pair, sum.into()));
        }
        changes.clear();
    }

    fn send_level3(&mut self, pair: usize) {
        let Self { listings, outbox, order_entries, scratch, amends_modify, .. } = self;
        let Listing { market, subscribers, .. } = &mut listings[pair];
        let Subscribers { level3, level3_checksum, level3_changes: Collected { changes, ts }, .. } = subscribers;
        if changes.is_empty() {
            return;
        }
        let stamp = outbox.stamp(*ts);
        orders::merge(changes);
        let levels = changes.iter().map(|change| (change.side, change.price));
        let sum = level3_checksum.after(&market.engine, levels, orders::checksum, scratch);
        for (_, view, places) in level3 {
            order_entries.clear();
            view.update(&market.engine, changes, *ts, order_entries);
            if *amends_modify {
                // At one price it may also be an iceberg whose next part is shown: then there was a trade.
                let amended = |id, old, new| id >= OWN && (old != new || market.fills.is_empty());
                orders::join_amended(order_entries, amended);
            }
            if order_entries.is_empty() {
                continue;
            }
            message::level3(&market.pair, first_id(pair), false, order_entries, sum, stamp, outbox.compose());
            outbox.send(places, Label::of("level3", pair, sum.into()));
        }
        changes.clear();
    }

    // Who follows what.

    /// Lets a connection follow a topic from now on, with a snapshot of this moment if it wants one.
    pub fn join(&mut self, place: usize, pair: usize, topic: Topic, snapshot: bool) {
        // The others get the collected changes first, so that the new one does not get them twice.
        match topic {
            Topic::Book(_) => self.send_books(pair),
            Topic::Level3(_) => self.send_level3(pair),
            _ => {}
        }
        if snapshot {
            self.send_snapshot(place, pair, topic);
        }
        let Listing { market, subscribers, .. } = &mut self.listings[pair];
        match topic {
            Topic::Book(depth) => {
                if let Some((_, _, places)) = subscribers.books.iter_mut().find(|book| book.0 == depth) {
                    places.push(place);
                } else {
                    subscribers.books.push((depth, View::new(&market.engine, depth), vec![place]));
                }
            }
            Topic::Level3(depth) => {
                if let Some((_, _, places)) = subscribers.level3.iter_mut().find(|view| view.0 == depth) {
                    places.push(place);
                } else {
                    subscribers.level3.push((depth, OrderView::new(&market.engine, depth), vec![place]));
                }
            }
            Topic::Trade => subscribers.trades.push(place),
            Topic::Ticker { bbo } => subscribers.tickers[usize::from(!bbo)].push(place),
            Topic::Ohlc(interval) => subscribers.ohlc[interval].push(place),
        }
    }

    /// Ends what `join` began.
    pub fn leave(&mut self, place: usize, pair: usize, topic: Topic) {
        let subscribers = &mut self.listings[pair].subscribers;
        match topic {
            Topic::Book(depth) => {
                for book in subscribers.books.iter_mut().filter(|book| book.0 == depth) {
                    book.2.retain(|&p| p != place);
                }
                subscribers.books.retain(|book| !book.2.is_empty());
                if subscribers.books.is_empty() {
                    subscribers.book_changes.changes.clear();
                    subscribers.book_checksum.forget();
                }
            }
            Topic::Level3(depth) => {
                for view in subscribers.level3.iter_mut().filter(|view| view.0 == depth) {
                    view.2.retain(|&p| p != place);
                }
                subscribers.level3.retain(|view| !view.2.is_empty());
                if subscribers.level3.is_empty() {
                    subscribers.level3_changes.changes.clear();
                    subscribers.level3_checksum.forget();
                }
            }
            Topic::Trade => subscribers.trades.retain(|&p| p != place),
            Topic::Ticker { bbo } => subscribers.tickers[usize::from(!bbo)].retain(|&p| p != place),
            Topic::Ohlc(interval) => subscribers.ohlc[interval].retain(|&p| p != place),
        }
    }

    /// Sends a connection the state of a topic at this moment.
    fn send_snapshot(&mut self, place: usize, pair: usize, topic: Topic) {
        let Self { listings, outbox, entries, order_entries, scratch, .. } = self;
        let market = &listings[pair].market;
        let (now, stamp) = (outbox.now, outbox.stamp(outbox.now));
        let skew = stamp - now;
        let number = match topic {
            Topic::Book(depth) => {
                entries.clear();
                for side in [Side::Buy, Side::Sell] {
                    entries.extend(market.engine.best(side).take(depth).map(|(price, qty)| (side, price, qty)));
                }
                let sum = checksum(&market.engine, scratch);
                message::book(&market.pair, true, entries, sum, stamp, outbox.compose());
                sum.into()
            }
            Topic::Level3(depth) => {
                order_entries.clear();
                orders::snapshot(&market.engine, depth, order_entries);
                let sum = orders::checksum(&market.engine, scratch);
                let ts = now.max(market.engine.last()) + skew;
                message::level3(&market.pair, first_id(pair), true, order_entries, sum, ts, outbox.compose());
                sum.into()
            }
            Topic::Trade => {
                message::trades(&market.pair, true, market.trades.iter(), outbox.compose());
                market.trades.back().map_or(0, |trade| trade.id.unsigned_abs())
            }
            Topic::Ticker { .. } => {
                message::ticker(market, true, stamp, outbox.compose());
                0
            }
            Topic::Ohlc(interval) => {
                let candles = market.candles[interval].iter();
                message::ohlc(&market.pair, interval, true, candles, stamp, outbox.compose());
                0
            }
        };
        outbox.send(&[place], Label::of(topic.channel(), pair, number));
    }

    // What is due.

    /// Sends delayed frames, heartbeats and snapshots that are due.
    pub fn send_due(&mut self) {
        for place in 0..self.outbox.connections.len() {
            loop {
                if self.outbox.send_overdue(place) {
                    continue;
                }
                let now = self.outbox.now;
                let Some(connection) = &mut self.outbox.connections[place] else { break };
                if connection.next_heartbeat <= now {
                    connection.next_heartbeat += SECOND;
                    self.outbox.compose().extend_from_slice(message::HEARTBEAT);
                    self.outbox.send(&[place], Label::new("heartbeat"));
                } else if connection.pending_snapshots.front().is_some_and(|snapshot| snapshot.due <= now) {
                    if let Some(snapshot) = connection.pending_snapshots.pop_front() {
                        self.begin(place, snapshot);
                    }
                } else {
                    break;
                }
            }
        }
        self.outbox.find_next_due();
    }

    /// Begins a subscription with its snapshot.
    fn begin(&mut self, place: usize, snapshot: PendingSnapshot) {
        let Some(connection) = &self.outbox.connections[place] else { return };
        let pair = snapshot.pair;
        let subscription = connection
            .subscriptions
            .get(&pair)
            .and_then(|all| all.iter().find(|subscription| subscription.number == snapshot.subscription));
        // A pair may have been delisted meanwhile: then there is no snapshot.
        if let Some(topic) = subscription.map(|subscription| subscription.topic) {
            self.join(place, pair, topic, true);
        }
    }

    // What happens to a pair.

    /// Gives a pair a status, and tells the followers of the instrument channel.
    pub fn set_status(&mut self, pair: usize, status: &'static str) {
        let Self { listings, outbox, .. } = self;
        let pair = &mut listings[pair].market.pair;
        pair.status = status;
        message::instrument(false, &[], std::iter::once(&*pair), outbox.compose());
        let places: Vec<usize> = outbox
            .connections
            .iter()
            .enumerate()
            .filter_map(|(place, c)| c.as_ref().filter(|c| c.instrument).map(|_| place))
            .collect();
        outbox.send(&places, Label::new("instrument"));
    }

    /// Pairs that are listed.
    pub fn listed(&self) -> impl Iterator<Item = &Pair> {
        self.listings.iter().map(|listing| &listing.market.pair).filter(|pair| pair.status != DELISTED)
    }

    /// Replaces the market of a pair by another one. Subscribers of its books need `resend_books`.
    pub fn replace_market(&mut self, pair: usize, market: Market) {
        let listing = &mut self.listings[pair];
        listing.market = market;
        listing.best = [0; 2];
        let subscribers = &mut listing.subscribers;
        subscribers.book_changes.changes.clear();
        subscribers.level3_changes.changes.clear();
        subscribers.book_checksum.forget();
        subscribers.level3_checksum.forget();
    }

    /// Sends a snapshot to each subscriber of a pair's books.
    pub fn resend_books(&mut self, pair: usize) {
        let Listing { market, subscribers, .. } = &mut self.listings[pair];
        let mut followers: Vec<(usize, Topic)> = Vec::new();
        for (depth, view, places) in &mut subscribers.books {
            *view = View::new(&market.engine, *depth);
            followers.extend(places.iter().map(|&place| (place, Topic::Book(*depth))));
        }
        for (depth, view, places) in &mut subscribers.level3 {
            *view = OrderView::new(&market.engine, *depth);
            followers.extend(places.iter().map(|&place| (place, Topic::Level3(*depth))));
        }
        for (place, topic) in followers {
            self.send_snapshot(place, pair, topic);
        }
    }

    /// Delists a pair: its subscriptions end, and it cannot be subscribed.
    pub fn delist(&mut self, pair: usize) {
        for place in 0..self.outbox.connections.len() {
            let Some(connection) = &mut self.outbox.connections[place] else { continue };
            for subscription in connection.subscriptions.remove(&pair).unwrap_or_default() {
                self.leave(place, pair, subscription.topic);
            }
        }
        self.set_status(pair, DELISTED);
    }
}

/// Number of a pair's first order: no two pairs have a number in common.
pub const fn first_id(pair: usize) -> u64 {
    (pair as u64) << ID_BITS
}
