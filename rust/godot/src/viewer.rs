//! A client of the stream inside the engine: what it wants, and what it is sent. As `python/krakpot/serve/viewer.py`.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use krakpot_core::session::{Channel, Session};
use krakpot_core::wire::message::OrderId;

use crate::book::{SIDES, float};
use crate::encode::{self, Head, IN_SYNC, Line, NOT_CONTINUED, Order};
use crate::market::{Market, Messages, Pair};
use crate::request::{Request, SYMBOLS_MAX};
use crate::values::Result;

/// Seconds between two clocks.
const CLOCK: f64 = 0.25;
/// Seconds between two overviews.
const OVERVIEW: f64 = 1.0;
/// States of a pair a second, unless another rate is requested.
const RATE: f64 = 30.0;
/// Trades before its time that a new subscription begins with.
const TRADES_BEFORE: usize = 50;
/// Levels that an imbalance is of.
const IMBALANCE_LEVELS: usize = 5;

/// A pair, as `hello` describes it; its place in the list is its number.
#[derive(Debug, Clone)]
pub struct PairFacts {
    /// The pair.
    pub symbol: Arc<str>,
    /// Decimals of prices.
    pub price_precision: u8,
    /// Decimals of quantities.
    pub qty_precision: u8,
    /// What there is of it.
    pub channels: Vec<Channel>,
}

impl PairFacts {
    fn has(&self, channel: Channel) -> bool {
        self.channels.contains(&channel)
    }
}

/// The sessions that the books are in.
#[derive(Clone, Copy)]
pub struct Sessions<'a> {
    /// Of the public channels.
    pub public: &'a Session,
    /// Of level 3.
    pub level3: Option<&'a Session>,
}

/// How much of a book was sent.
#[derive(Debug, Default)]
struct Seen {
    /// `None`: nothing.
    count: Option<u64>,
    run: u64,
    in_sync: bool,
}

impl Seen {
    /// What a state begins with, if there is something new.
    fn head(&mut self, number: usize, messages: &Messages, in_sync: bool) -> Option<Head> {
        let new = self.count != Some(messages.count) || self.in_sync != in_sync || self.run != messages.run;
        if !new {
            return None;
        }
        let continued = self.count.is_some() && self.run == messages.run;
        let flags = u8::from(in_sync) * IN_SYNC + u8::from(!continued) * NOT_CONTINUED;
        let since = self.count.map_or(0, |count| messages.count - count);
        *self = Self { count: Some(messages.count), run: messages.run, in_sync };
        let Messages { checked, ts_recv, ts_event, checksum, .. } = *messages;
        Some(Head { number, flags, checked, ts_recv, ts_event, checksum, messages: since })
    }
}

/// A pair that is wanted.
#[derive(Debug)]
struct Subscription {
    number: usize,
    depth: usize,
    orders: bool,
    book: Seen,
    level3: Seen,
    /// Trades that were sent, or that are lost; `None`: nothing yet.
    traded: Option<u64>,
    trade_run: u64,
}

/// What is wanted, and how far it was sent.
#[derive(Debug)]
pub struct Viewer {
    rate: f64,
    overview: bool,
    subscriptions: Vec<Subscription>,
    gaps: u64,
    states_due: f64,
    clock_due: f64,
    overview_due: f64,
}

impl Viewer {
    /// Nothing is wanted yet; gaps before now are of no interest.
    pub fn new(market: &Market) -> Self {
        let gaps = market.gap_count;
        Self {
            rate: RATE,
            overview: false,
            subscriptions: Vec::new(),
            gaps,
            states_due: 0.0,
            clock_due: 0.0,
            overview_due: 0.0,
        }
    }

    /// Does a request.
    pub fn act(&mut self, request: Request, pairs: &[PairFacts]) -> Result<()> {
        match request {
            Request::Subscribe { symbols, depth, orders } => self.subscribe(&symbols, depth, orders, pairs)?,
            Request::Unsubscribe(symbols) => {
                let numbers = numbers_of(&symbols, pairs)?;
                self.subscriptions.retain(|one| !numbers.contains(&one.number));
            }
            Request::Overview(on) => {
                self.overview = on;
                self.overview_due = 0.0;
            }
            Request::Rate(rate) => self.rate = rate,
        }
        self.states_due = 0.0;
        Ok(())
    }

    fn subscribe(&mut self, symbols: &[String], depth: usize, orders: bool, pairs: &[PairFacts]) -> Result<()> {
        let numbers = numbers_of(symbols, pairs)?;
        if let Some(&number) = numbers.iter().find(|&&number| orders && !pairs[number].has(Channel::Level3)) {
            return Err(format!("orders: there is no level 3 of {} here", pairs[number].symbol));
        }
        let others = self.subscriptions.iter().filter(|one| !numbers.contains(&one.number)).count();
        if others + numbers.len() > SYMBOLS_MAX {
            return Err(format!("symbols: more than {SYMBOLS_MAX} pairs are too many; unsubscribe some"));
        }
        for number in numbers {
            let (book, level3) = (Seen::default(), Seen::default());
            let new = Subscription { number, depth, orders, book, level3, traded: None, trade_run: 0 };
            match self.subscriptions.iter_mut().find(|one| one.number == number) {
                Some(one) => *one = new,
                None => self.subscriptions.push(new),
            }
        }
        Ok(())
    }

    /// Numbers of the pairs that are subscribed; `orders`: only those whose orders are wanted.
    pub fn wanted(&self, orders: bool) -> impl Iterator<Item = usize> {
        self.subscriptions.iter().filter(move |one| one.orders || !orders).map(|one| one.number)
    }

    /// The most levels a side that are wanted of a pair.
    pub fn deepest(&self, orders: bool) -> usize {
        let wanted = self.subscriptions.iter().filter(|one| one.orders || !orders);
        wanted.map(|one| one.depth).max().unwrap_or_default()
    }

    /// The binary messages that are due now; `now`: seconds of a monotonic clock, `wall`: ns since 1970.
    pub fn due(&mut self, now: f64, wall: i64, of: Sessions, market: &mut Market, pairs: &[PairFacts]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        if now >= self.states_due {
            self.states_due = now + 1.0 / self.rate;
            for one in &mut self.subscriptions {
                states(one, of, market, &pairs[one.number], &mut found);
            }
            self.new_gaps(market, pairs, &mut found);
        }
        if self.overview && now >= self.overview_due {
            self.overview_due = now + OVERVIEW;
            let read: HashSet<&str> =
                of.public.pairs().filter(|(_, selected)| *selected).map(|(pair, _)| pair.symbol.as_str()).collect();
            let line_of = |pair: &PairFacts| line(pair, market.pair(&pair.symbol), of, read.contains(&*pair.symbol));
            let lines: Vec<Line> = pairs.iter().map(line_of).collect();
            found.push(encode::overview(market.ts, &lines));
        }
        if now >= self.clock_due {
            self.clock_due = now + CLOCK;
            found.push(encode::clock(market.connected(), market.ts, wall));
        }
        found
    }

    fn new_gaps(&mut self, market: &Market, pairs: &[PairFacts], found: &mut Vec<Vec<u8>>) {
        let new = usize::try_from(market.gap_count - self.gaps).unwrap_or(usize::MAX).min(market.gaps.len());
        self.gaps = market.gap_count;
        for gap in market.gaps.range(market.gaps.len() - new..) {
            let Some(channel) = encode::channel(gap.channel) else { continue };
            for one in &self.subscriptions {
                let pair = &pairs[one.number];
                let meant = gap.symbol.as_ref().is_none_or(|symbol| *symbol == pair.symbol);
                if meant && pair.has(gap.channel) && (gap.channel != Channel::Level3 || one.orders) {
                    found.push(encode::gap(channel, one.number, gap.since, gap.until, &gap.reason));
                }
            }
        }
    }
}

fn numbers_of(symbols: &[String], pairs: &[PairFacts]) -> Result<Vec<usize>> {
    let mut found = Vec::new();
    for symbol in symbols {
        let number = pairs.iter().position(|pair| *pair.symbol == **symbol);
        let number =
            number.ok_or_else(|| format!("symbols: there is no pair {symbol:?} here; `hello` lists the pairs"))?;
        if !found.contains(&number) {
            found.push(number);
        }
    }
    Ok(found)
}

/// The states of a pair that are new: its book, its orders, its trades.
fn states(one: &mut Subscription, of: Sessions, market: &mut Market, facts: &PairFacts, found: &mut Vec<Vec<u8>>) {
    let symbol = &*facts.symbol;
    let pair = market.pair(&facts.symbol);
    if facts.has(Channel::Book) {
        let in_sync = of.public.book(symbol).is_some();
        if let Some(head) = one.book.head(one.number, &pair.book, in_sync) {
            found.push(encode::book(&head, &levels(of.public, symbol, one.depth)));
        }
    }
    if one.orders
        && let Some(session) = of.level3
    {
        let in_sync = session.orders(symbol).is_some();
        if let Some(head) = one.level3.head(one.number, &pair.level3, in_sync) {
            found.push(encode::orders(&head, &queues(session, symbol, one.depth)));
        }
    }
    if facts.has(Channel::Trade)
        && let Some(message) = trades(one, pair)
    {
        found.push(message);
    }
}

fn trades(one: &mut Subscription, pair: &Pair) -> Option<Vec<u8>> {
    let began = one.traded.is_none();
    if began {
        let before = pair.trades.len().min(TRADES_BEFORE);
        one.traded = Some(pair.traded - before as u64);
        one.trade_run = pair.trade_run;
    }
    let new = pair.traded - one.traded.unwrap_or_default();
    if new == 0 {
        return None;
    }
    let kept = usize::try_from(new).unwrap_or(usize::MAX).min(pair.trades.len());
    let flags = if began || one.trade_run != pair.trade_run { NOT_CONTINUED } else { 0 };
    (one.traded, one.trade_run) = (Some(pair.traded), pair.trade_run);
    let newest: Vec<_> = pair.trades.range(pair.trades.len() - kept..).copied().collect();
    Some(encode::trades(one.number, flags, &newest, new - kept as u64))
}

/// The best levels of both sides; none of a book out of sync.
fn levels(session: &Session, symbol: &str, depth: usize) -> [Vec<(f64, f64)>; 2] {
    let Some(book) = session.book(symbol) else { return Default::default() };
    let (price_precision, qty_precision) = book.precision();
    SIDES.map(|(side, _)| {
        let mut found = Vec::new();
        book.each_level(side, depth, |price, qty| {
            found.push((float(price, price_precision), float(qty, qty_precision)));
        });
        found
    })
}

/// A number that is the same for the same id, without a memory of ids.
fn number_of(id: OrderId) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.to_string().hash(&mut hasher);
    hasher.finish()
}

/// All orders of the best levels of both sides; none of a book out of sync.
fn queues(session: &Session, symbol: &str, depth: usize) -> [Vec<Order>; 2] {
    let Some(book) = session.orders(symbol).and_then(|synced| synced.book()) else { return Default::default() };
    let (price_precision, qty_precision) = book.precision();
    SIDES.map(|(side, _)| {
        let orders = book.levels(side).take(depth).flat_map(|(price, _, _)| {
            let number = float(price, price_precision);
            book.queue(side, price).map(move |(id, qty, time)| Order {
                price: number,
                qty: float(qty, qty_precision),
                time,
                number: number_of(id),
            })
        });
        orders.collect()
    })
}

/// What an overview says of a pair; `read`: whether its channels are subscribed at the exchange.
fn line(facts: &PairFacts, pair: &Pair, of: Sessions, read: bool) -> Line {
    let (mut bid, mut ask, mut last, mut volume) = (f64::NAN, f64::NAN, pair.last, pair.volume);
    if let Some(ticker) = pair.ticker {
        [bid, ask, last, volume] = ticker;
        if !pair.last.is_nan() {
            // A trade is at least as new.
            last = pair.last;
        }
    }
    let mut line = Line { figures: [bid, ask, last, volume, f64::NAN], right: 0, wrong: 0, in_sync: 0 };
    if facts.has(Channel::Book) && read {
        (line.right, line.wrong) = (pair.book.right, pair.book.wrong);
        let [bids, asks] = levels(of.public, &facts.symbol, IMBALANCE_LEVELS);
        line.in_sync = u8::from(of.public.book(&facts.symbol).is_some());
        line.figures[0] = bids.first().map_or(f64::NAN, |level| level.0);
        line.figures[1] = asks.first().map_or(f64::NAN, |level| level.0);
        let [bought, sold] = [bids, asks].map(|side| side.iter().map(|level| level.1).sum::<f64>());
        if bought + sold > 0.0 {
            line.figures[4] = (bought - sold) / (bought + sold);
        }
    } else {
        line.in_sync = 2;
    }
    line
}
