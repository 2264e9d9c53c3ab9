//! One run of strategies: what the exchange sends, what comes back to requests, and timers, in the order of time.
//!
//! [`Run::take`] is given an event of a session; [`Run::poll`] says what a strategy is to hear next, and when all is said up
//! to a time. What a strategy asks for meanwhile is sent before the next call. Strategies share the data and the simulated
//! exchange; each has an account. With money there is one account, whose requests the caller takes and sends, and whose
//! replies it brings; a simulated exchange may then be given the same requests, to be compared.

use std::borrow::Borrow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use foldhash::HashMap;
use krakpot_core::decimal::Decimal;
use krakpot_core::session::{BookOutcome, Channel, Event, TradeEvent};
use krakpot_core::wire::message::Kind;

use crate::amount::{Amount, Price, Qty};
use crate::books::{Books, Touch};
use crate::order::{Found, Ignored, Look};
use crate::pair::Pair;
use crate::paper::{Attribution, Paper, Place};
use crate::rate::Tier;
use crate::report::{Change, Fill, Reply};
use crate::tally::{Tally, ValueRow};
use crate::terms::{Sent, Side, Terms};
use crate::trader::{OrderEvent, Trader};

/// When the handlers of data are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// At every message.
    Message,
    /// When the best prices or their quantities are others, and at every trade.
    Touch,
    /// At most once in so many ns, if there was a message of the pair.
    Every(i64),
    /// Never: timers and what becomes of own orders are enough.
    Never,
}

/// Data is missing, or is there again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// `data`: the book; `trades`: trades that were missed; `account`: what becomes of own orders is not heard;
    /// `exchange`: it takes no orders, or will soon; `clock`: the clocks differ.
    pub of: &'static str,
    /// Number of the pair; `None`: all of them.
    pub pair: Option<usize>,
    /// Whether it is over.
    pub healed: bool,
}

/// An order of an earlier run that was found at the exchange.
#[derive(Debug, Clone)]
pub struct Adopted {
    /// Its number.
    pub number: u64,
    /// What was asked for at first.
    pub terms: Terms,
    /// A word of the strategy.
    pub tag: Arc<str>,
    /// What it is.
    pub found: Found,
    /// Its fills that are known.
    pub known: Vec<Fill>,
}

/// What a strategy is to hear.
#[derive(Debug, Clone)]
pub enum Call {
    /// The run begins.
    Start,
    /// A message of a book.
    Book(Arc<Event>),
    /// A trade.
    Trade(Arc<Event>),
    /// What became of an order; of a fill the strategy hears as well.
    Order(Box<OrderEvent>),
    /// Data is missing, or is there again.
    Gap(Gap),
    /// A timer, with its tag.
    Timer(Arc<str>),
    /// The run ends.
    Stop(Arc<str>),
}

/// A pair in a run.
#[allow(clippy::struct_excessive_bools, reason = "facts that do not depend on each other")]
struct Market {
    pair: Pair,
    /// Whether its orders come by level 3; then level 2 decides nothing.
    level3: bool,
    touch: Touch,
    synced: bool,
    /// The session in which its book was in sync last.
    session: Arc<str>,
    /// Whether it was in sync at any time.
    known: bool,
    /// Whether the simulated exchange has its book.
    given: bool,
    /// Its book was given as it was after what was received at this time, ns.
    given_at: i64,
    /// The last message of its book, where handlers are called at times.
    last: Option<Arc<Event>>,
}

/// An account, and what its strategy waits for.
struct Account {
    trader: Trader,
    timers: BTreeMap<(i64, u64), Arc<str>>,
    /// Whether the strategy may have asked for something.
    dirty: bool,
    due: i64,
    tally: Tally,
    /// Whether it has handlers of books and of trades.
    hears: (bool, bool),
    /// How often its strategy was called at this time, ns.
    instant: (i64, u32),
}

/// How a run goes.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// When handlers of data are called.
    pub wake: Wake,
    /// For so many ns from the first message on no order is accepted.
    pub warmup: i64,
    /// The asset in which values are given.
    pub quote: Arc<str>,
    /// Where orders go.
    pub venue: Venue,
}

/// Where orders go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Venue {
    /// To the simulated exchange.
    Paper,
    /// To the exchange, by the caller.
    Live {
        /// Whether the simulated exchange is given them as well.
        shadow: bool,
    },
}

/// What the simulated exchange said to a request that went to the exchange as well.
#[derive(Debug, Clone)]
pub struct Simulated {
    /// When it would have been heard, local time, ns.
    pub heard: i64,
    /// What it said.
    pub reply: Reply,
    /// Where the order came to stand, if this is the report of it.
    pub entry: Option<Place>,
}

/// Strategies on one stream of data.
pub struct Run {
    options: RunOptions,
    paper: Paper,
    markets: Vec<Market>,
    numbers: HashMap<Arc<str>, usize>,
    assets: Vec<Arc<str>>,
    accounts: Vec<Account>,
    calls: VecDeque<(usize, Call)>,
    /// Whether any strategy may have asked for something.
    dirty: bool,
    /// What comes back, by the time at which it is heard.
    replies: BTreeMap<(i64, u64), (usize, Reply)>,
    count: u64,
    now: i64,
    /// The first message, ns.
    begin: Option<i64>,
    wake_at: i64,
    value_at: i64,
    /// What accounts have is noted once in so many ns; in a long run more seldom, so that it stays bounded.
    values_every: i64,
    accounts_due: i64,
    /// When the warm-up ends, ns; it is over after.
    warm_at: i64,
    warm: bool,
    system: Arc<str>,
    over: Option<Arc<str>>,
    messages: u64,
    stuck: bool,
    /// What no new risk is taken for.
    blocked: Option<&'static str>,
    /// Requests for the caller to send.
    outbox: Vec<Sent>,
    /// What the simulated exchange said to the same requests.
    shadow: Vec<Simulated>,
    /// Places of own orders in the real queues.
    places: HashMap<u64, Place>,
}

/// Times of which it is noted what an account has; from then on half as many are kept.
const VALUES_MAX: usize = 4096;
/// How often that is at first, ns.
const VALUES_EVERY: i64 = 1_000_000_000;
/// After all times.
const NEVER: i64 = i64::MAX;
/// Calls of a strategy at one time. More are a strategy that asks for the next one each time: time would never go on.
const CALLS_MAX: u32 = 1_000_000;

impl Run {
    /// A run without pairs and accounts.
    #[must_use]
    pub fn new(options: RunOptions, paper: Paper) -> Self {
        Self {
            options,
            paper,
            markets: Vec::new(),
            numbers: HashMap::default(),
            assets: Vec::new(),
            accounts: Vec::new(),
            calls: VecDeque::new(),
            dirty: false,
            replies: BTreeMap::new(),
            count: 0,
            now: i64::MIN,
            begin: None,
            wake_at: NEVER,
            value_at: NEVER,
            values_every: VALUES_EVERY,
            accounts_due: NEVER,
            warm_at: NEVER,
            warm: false,
            system: Arc::from(""),
            over: None,
            messages: 0,
            stuck: false,
            blocked: None,
            outbox: Vec::new(),
            shadow: Vec::new(),
            places: HashMap::default(),
        }
    }

    /// Adds a pair, before any account; `None`: too many. `level3`: its orders come by level 3.
    pub fn add_pair(&mut self, pair: Pair, level3: bool) -> Option<usize> {
        let symbol = pair.symbol.clone();
        for asset in [&pair.base, &pair.quote] {
            if !self.assets.contains(asset) {
                self.assets.push(asset.clone());
            }
        }
        let number = self.paper.set_pair(pair.clone())?;
        debug_assert_eq!(number, self.markets.len(), "pairs have the same numbers everywhere");
        self.numbers.insert(symbol, number);
        let (synced, known, given, given_at) = (false, false, false, NEVER);
        let (touch, session, last) = (Touch::default(), Arc::from(""), None);
        self.markets.push(Market { pair, level3, touch, synced, session, known, given, given_at, last });
        Some(number)
    }

    /// The state of a pair as the exchange says it: `online`, `cancel_only`, …; new orders follow it from now on.
    pub fn set_pair_status(&mut self, now: i64, pair: usize, status: &str) {
        self.now = self.now.max(now);
        let Some(market) = self.markets.get_mut(pair).filter(|market| *market.pair.status != *status) else { return };
        market.pair.status = status.into();
        let known = market.pair.clone();
        for account in &mut self.accounts {
            account.trader.set_pair(known.clone());
        }
        self.paper.set_pair(known);
    }

    /// Adds an account; its trader knows the pairs, in their order. `hears`: whether it wants messages of books, and trades.
    /// `None`: too many.
    pub fn add_account(&mut self, trader: Trader, hears: (bool, bool)) -> Option<usize> {
        let number = self.paper.add_account()?;
        debug_assert_eq!(number, self.accounts.len(), "accounts have the same numbers everywhere");
        let (timers, tally) = (BTreeMap::new(), Tally::default());
        self.accounts.push(Account { trader, timers, dirty: false, due: NEVER, tally, hears, instant: (NEVER, 0) });
        Some(number)
    }

    /// The simulated exchange, to ask it questions.
    pub fn paper(&mut self) -> &mut Paper {
        &mut self.paper
    }

    /// Whose orders of the record are our own.
    pub fn hide<'a>(&mut self, ids: impl IntoIterator<Item = &'a str>) {
        self.paper.hide(ids);
    }

    /// Lets every strategy begin.
    pub fn start(&mut self, now: i64) {
        self.now = self.now.max(now);
        self.value_at = self.now;
        // What was heard before, of orders of an earlier run, comes after it; a gap that is over by now was none.
        self.calls.retain(|(_, call)| !matches!(call, Call::Gap(_)));
        for account in (0..self.accounts.len()).rev() {
            self.calls.push_front((account, Call::Start));
            // Its first time without a message is not known before.
            self.own(account).tally.gaps.clear();
        }
        if let Some(of) = self.blocked {
            self.accounts[0].tally.gap(of, None, self.now, 0);
            self.calls.push_back((0, Call::Gap(Gap { of, pair: None, healed: false })));
        }
    }

    /// Lets every strategy end; nothing is sent any more.
    pub fn stop(&mut self, reason: &Arc<str>) {
        if self.over.is_none() {
            self.note_values();
        }
        self.paper.catch_up();
        self.over = Some(reason.clone());
        self.calls.clear();
        for account in 0..self.accounts.len() {
            self.calls.push_back((account, Call::Stop(reason.clone())));
        }
    }

    /// What is to be said next, of all that happens up to a time; `None`: all is said.
    pub fn poll(&mut self, until: i64) -> Option<(usize, Call)> {
        loop {
            self.settle();
            if let Some((account, call)) = self.calls.pop_front() {
                if self.over.is_some() && !matches!(call, Call::Stop(_)) {
                    // The end is the last thing that is said, even if an order was refused just before.
                    continue;
                }
                // What it asks for makes its account dirty: most calls ask for nothing.
                let (now, own) = (self.now, &mut self.accounts[account]);
                own.tally.calls += 1;
                own.instant = if own.instant.0 == now { (now, own.instant.1 + 1) } else { (now, 1) };
                let stuck = own.instant.1 > CALLS_MAX;
                self.stuck |= stuck;
                return Some((account, call));
            }
            let due = self.next_due();
            if self.over.is_some() {
                return None;
            }
            if due > until {
                self.paper.reach(until);
                return None;
            }
            self.advance(due);
        }
    }

    /// When something happens next without a message.
    #[must_use]
    pub fn next_due(&self) -> i64 {
        let reply = self.replies.first_key_value().map_or(NEVER, |(key, _)| key.0);
        self.paper.next_due().min(reply).min(self.accounts_due).min(self.wake_at).min(self.value_at).min(self.warm_at)
    }

    /// Whether something is to be said of what happens up to a time.
    #[must_use]
    pub fn is_due(&self, until: i64) -> bool {
        !self.calls.is_empty() || self.next_due() <= until || self.dirty
    }

    /// Takes an event of a session, whose books are those after it; others may have it too. All that was due before it is
    /// said already.
    pub fn take<E: Borrow<Event> + Into<Arc<Event>>>(&mut self, event: E, books: &impl Books) {
        let received = match event.borrow() {
            Event::Book(message, _) | Event::Level3(message, _) => &message.received,
            Event::Trade(trade) => &trade.received,
            Event::Gap(gap) => &gap.received,
            Event::Status(status) => return self.status(&status.system, status.ts_recv),
            Event::Subscription(_) | Event::Ticker(_) | Event::Ohlc(_) => return,
        };
        let recv = received.ts_recv;
        let Some(&pair) = self.numbers.get(&received.symbol) else { return };
        self.now = self.now.max(recv);
        if self.begin.is_none() {
            self.begin = Some(self.now);
            self.warm = self.options.warmup == 0;
            self.warm_at = if self.warm { NEVER } else { self.now.saturating_add(self.options.warmup) };
            // Books may have been in sync before.
            self.trust();
        }
        self.messages += 1;
        match event.borrow() {
            Event::Gap(gap) => {
                if gap.channel == Channel::Trade {
                    self.missed(pair, gap.ts_from.unwrap_or(recv), recv);
                }
                // The books are those of the session that the gap is of: others are not in it.
                let leads = if self.markets[pair].level3 { Channel::Level3 } else { Channel::Book };
                if gap.channel == leads {
                    self.look(pair, books);
                }
            }
            Event::Trade(trade) => {
                if self.trade(pair, trade) && matches!(self.options.wake, Wake::Message | Wake::Touch) {
                    self.call_all(event, false);
                }
            }
            _ => self.book(pair, event, books),
        }
    }

    /// Looks whether books are still in sync, of level 3 or of level 2: after a connection was lost, or a subscription
    /// changed.
    pub fn look_at(&mut self, now: i64, level3: bool, books: &impl Books) {
        self.now = self.now.max(now);
        for pair in 0..self.markets.len() {
            // Other connections have the books of other pairs.
            if self.markets[pair].level3 == level3 && books.follows(&self.markets[pair].session) {
                self.look(pair, books);
            }
        }
    }

    /// Looks at the book of a pair that was in sync before the run began.
    pub fn see(&mut self, now: i64, pair: usize, books: &impl Books) {
        self.now = self.now.max(now);
        if let Some(touch) = books.touch(&self.markets[pair].pair.symbol, self.markets[pair].level3) {
            self.seen(pair, touch, books.session());
        }
    }

    fn look(&mut self, pair: usize, books: &impl Books) {
        let market = &self.markets[pair];
        if market.synced && books.touch(&market.pair.symbol, market.level3).is_none() {
            self.lost(pair);
        }
    }

    fn status(&mut self, system: &str, recv: i64) {
        self.now = self.now.max(recv);
        if *self.system != *system {
            self.system = system.into();
            for account in &mut self.accounts {
                account.trader.set_system(self.system.clone());
            }
        }
    }

    /// Takes a trade; whether it is one.
    fn trade(&mut self, pair: usize, trade: &TradeEvent) -> bool {
        let Some((price, qty)) = self.steps(pair, trade) else { return false };
        let recv = trade.received.ts_recv;
        // Those of a snapshot were made before.
        if trade.kind == Kind::Update {
            let taker = if trade.side == "buy" { Side::Buy } else { Side::Sell };
            let ts = trade.received.ts_event.unwrap_or(recv);
            if self.simulates() {
                self.paper.trade(pair, recv, ts, taker, price, qty, trade.trade_id);
            }
            for account in &mut self.accounts {
                account.trader.last_trade(pair, price, recv);
            }
        }
        true
    }

    /// Price and quantity of a trade in steps of the pair; `None` if they are none.
    fn steps(&self, pair: usize, trade: &TradeEvent) -> Option<(Price, Qty)> {
        let known = &self.markets[pair].pair;
        let whole = |value: Decimal, precision| i64::try_from(value.rescale(precision)?).ok();
        Some((Price(whole(trade.price, known.price_precision)?), Qty(whole(trade.qty, known.qty_precision)?)))
    }

    fn book<E: Borrow<Event> + Into<Arc<Event>>>(&mut self, pair: usize, event: E, books: &impl Books) {
        let (Event::Book(message, _) | Event::Level3(message, _)) = event.borrow() else { return };
        let level3 = matches!(event.borrow(), Event::Level3(..));
        let (recv, ts, kind) = (message.received.ts_recv, message.received.ts_event, message.kind);
        let right = matches!(message.outcome, BookOutcome::Ok | BookOutcome::Unchecked);
        let leads = level3 == self.markets[pair].level3;
        let mut changed = false;
        if leads {
            if right && self.simulates() {
                self.give(pair, event.borrow(), (recv, ts, kind), books);
            }
            if right && level3 && self.is_live() {
                self.find_places(pair, books);
            }
            let touch = if right { books.touch(&self.markets[pair].pair.symbol, level3) } else { None };
            changed = touch.is_some_and(|touch| self.seen(pair, touch, books.session()));
            if touch.is_none() {
                self.lost(pair);
            }
        }
        match self.options.wake {
            Wake::Message => self.call_all(event, true),
            Wake::Touch if changed => self.call_all(event, true),
            Wake::Every(step) if leads => {
                self.markets[pair].last = Some(event.into());
                if self.wake_at == NEVER {
                    self.wake_at = (self.now.div_euclid(step) + 1) * step;
                }
            }
            _ => {}
        }
    }

    /// The data is entered at a time when the book of a pair is known, however long nothing more is told of it.
    pub fn resume(&mut self, pair: usize, now: i64, books: &impl Books) {
        let (symbol, by_orders) = (self.markets[pair].pair.symbol.clone(), self.markets[pair].level3);
        let Some(touch) = books.touch(&symbol, by_orders) else { return };
        self.now = self.now.max(now);
        if by_orders {
            let orders = books.orders(&symbol).unwrap_or_default();
            self.paper.level3(pair, now, None, Kind::Snapshot, &orders);
        } else {
            let levels = books.levels(&symbol).unwrap_or_default();
            self.paper.level2(pair, now, None, Kind::Snapshot, &levels);
        }
        (self.markets[pair].given, self.markets[pair].given_at) = (true, NEVER);
        self.seen(pair, touch, books.session());
    }

    /// Gives the simulated exchange a message of a book. Where the data begins within a recording there is no snapshot: then
    /// it is given the whole book, as it is after all that was received together.
    fn give(&mut self, pair: usize, event: &Event, at: (i64, Option<i64>, Kind), books: &impl Books) {
        let (recv, ts, kind) = at;
        let market = &mut self.markets[pair];
        if kind == Kind::Update && !market.given {
            let symbol = market.pair.symbol.clone();
            (market.given, market.given_at) = (true, recv);
            if market.level3 {
                let orders = books.orders(&symbol).unwrap_or_default();
                self.paper.level3(pair, recv, ts, Kind::Snapshot, &orders);
            } else {
                let levels = books.levels(&symbol).unwrap_or_default();
                self.paper.level2(pair, recv, ts, Kind::Snapshot, &levels);
            }
            return;
        }
        if kind == Kind::Update && market.given_at == recv {
            return;
        }
        market.given = true;
        match event {
            Event::Level3(_, orders) => self.paper.level3(pair, recv, ts, kind, orders),
            Event::Book(_, levels) => self.paper.level2(pair, recv, ts, kind, levels),
            _ => {}
        }
    }

    /// The book of a pair is in sync in a session, with these best levels; whether they are others than before.
    fn seen(&mut self, pair: usize, touch: Touch, session: &str) -> bool {
        let market = &mut self.markets[pair];
        if *market.session != *session {
            market.session = session.into();
        }
        let healed = !market.synced;
        if !healed && market.touch == touch {
            return false;
        }
        market.touch = touch;
        for account in &mut self.accounts {
            account.trader.touch(pair, touch.bid, touch.ask);
        }
        if healed {
            let before = self.markets[pair].known;
            (self.markets[pair].synced, self.markets[pair].known) = (true, true);
            self.trust();
            if !before {
                self.note_first_values();
            }
            if before {
                self.gap_call(&Gap { of: "data", pair: Some(pair), healed: true });
                for account in &mut self.accounts {
                    account.tally.healed("data", Some(pair), self.now);
                }
            }
        }
        true
    }

    /// The book of a pair is out of sync.
    fn lost(&mut self, pair: usize) {
        if !std::mem::replace(&mut self.markets[pair].synced, false) {
            return;
        }
        self.markets[pair].given = false;
        self.paper.gap(pair, self.now);
        self.trust();
        for account in &mut self.accounts {
            let resting = account.trader.orders(pair, None).count();
            account.tally.gap("data", Some(pair), self.now, resting);
        }
        self.gap_call(&Gap { of: "data", pair: Some(pair), healed: false });
    }

    /// Trades were missed. The book may have been in sync all the while: then no snapshot follows, and the simulated exchange
    /// is given the whole book with the next message.
    fn missed(&mut self, pair: usize, begin: i64, end: i64) {
        self.paper.gap(pair, self.now);
        self.markets[pair].given = false;
        for account in &mut self.accounts {
            account.tally.gap("trades", Some(pair), begin, 0);
            account.tally.healed("trades", Some(pair), end);
        }
        self.gap_call(&Gap { of: "trades", pair: Some(pair), healed: true });
    }

    fn gap_call(&mut self, gap: &Gap) {
        for account in 0..self.accounts.len() {
            self.calls.push_back((account, Call::Gap(gap.clone())));
        }
    }

    /// Tells the traders which books may be trusted: none before the end of the warm-up, so that nothing is sent.
    fn trust(&mut self) {
        for account in &mut self.accounts {
            for (pair, market) in self.markets.iter().enumerate() {
                account.trader.trust(pair, market.synced && self.warm);
            }
        }
    }

    /// Whether the exchange takes orders, as far as it said.
    fn open(&self) -> bool {
        matches!(&*self.system, "" | "online" | "post_only" | "limit_only")
    }

    fn call_all(&mut self, event: impl Into<Arc<Event>>, book: bool) {
        let hears = |account: &Account| if book { account.hears.0 } else { account.hears.1 };
        if !self.accounts.iter().any(hears) {
            return;
        }
        let event = event.into();
        for (number, account) in self.accounts.iter().enumerate() {
            if hears(account) {
                let event = event.clone();
                self.calls.push_back((number, if book { Call::Book(event) } else { Call::Trade(event) }));
            }
        }
    }

    /// Hands over what strategies asked for.
    fn settle(&mut self) {
        if !std::mem::replace(&mut self.dirty, false) {
            return;
        }
        for number in 0..self.accounts.len() {
            let account = &mut self.accounts[number];
            if !std::mem::replace(&mut account.dirty, false) {
                continue;
            }
            for sent in account.trader.take_requests() {
                if let Some(order) = account.trader.order(sent.request.order()) {
                    account.tally.request(&sent, order.terms.pair);
                }
                if self.options.venue == Venue::Paper {
                    self.paper.send(number, sent);
                } else {
                    if self.options.venue == (Venue::Live { shadow: true }) {
                        self.paper.send(number, sent);
                    }
                    self.outbox.push(sent);
                }
            }
            self.tell(number);
        }
        self.accounts_due = self.accounts.iter().map(|account| account.due).min().unwrap_or(NEVER);
    }

    /// Collects what an account's strategy is to hear of its orders.
    fn tell(&mut self, number: usize) {
        let account = &mut self.accounts[number];
        for event in account.trader.take_events() {
            let live = self.options.venue != Venue::Paper;
            let (places, paper) = (&self.places, &self.paper);
            let place = |order| if live { places.get(&order).copied() } else { paper.place(number, order) };
            account.tally.heard(&event, self.now, &account.trader, place);
            if event.state.is_final() {
                // It is in no queue any more.
                self.places.remove(&event.order);
            }
            self.calls.push_back((number, Call::Order(Box::new(event))));
        }
        let timer = account.timers.first_key_value().map_or(NEVER, |(key, _)| key.0);
        account.due = account.trader.next_due().min(timer);
    }

    /// Lets time pass up to what is due next.
    fn advance(&mut self, due: i64) {
        self.now = self.now.max(due);
        if self.paper.next_due() <= self.now {
            self.paper.advance(self.now);
        }
        for (account, heard, reply) in self.paper.take_replies() {
            if self.is_live() {
                let is_new = matches!(&reply, Reply::Report(report) if matches!(report.change, Change::New));
                let entry = if is_new { self.paper.place(account, reply.order()) } else { None };
                self.shadow.push(Simulated { heard, reply, entry });
                continue;
            }
            self.count += 1;
            self.replies.insert((heard, self.count), (account, reply));
        }
        while let Some(first) = self.replies.first_entry().filter(|first| first.key().0 <= self.now) {
            let ((heard, _), (account, reply)) = first.remove_entry();
            // What changes nothing is counted by the trader.
            let _ = self.hear(account, heard, reply);
        }
        if self.warm_at <= self.now {
            (self.warm_at, self.warm) = (NEVER, true);
            self.trust();
        }
        if self.accounts_due <= self.now {
            self.wait(self.now);
        }
        if self.wake_at <= self.now {
            self.wake_at = NEVER;
            for pair in 0..self.markets.len() {
                if let Some(event) = self.markets[pair].last.take() {
                    self.call_all(event, true);
                }
            }
        }
        if self.value_at <= self.now {
            self.note_values();
            self.value_at = (self.now.div_euclid(self.values_every) + 1) * self.values_every;
        }
    }

    fn hear(&mut self, number: usize, heard: i64, reply: Reply) -> Result<(), Ignored> {
        let account = &mut self.accounts[number];
        account.tally.reply(&reply, heard, &account.trader);
        let changed = account.trader.reply(heard, reply);
        (account.dirty, self.dirty) = (true, true);
        self.tell(number);
        changed
    }

    /// Timers, and orders without an answer.
    fn wait(&mut self, now: i64) {
        for number in 0..self.accounts.len() {
            let account = &mut self.accounts[number];
            if account.due > now {
                continue;
            }
            account.trader.advance(now);
            (account.dirty, self.dirty) = (true, true);
            while let Some(first) = account.timers.first_entry().filter(|first| first.key().0 <= now) {
                self.calls.push_back((number, Call::Timer(first.remove())));
            }
            self.tell(number);
        }
    }

    // With money: what the caller sends and brings.

    /// Whether orders go to the exchange.
    fn is_live(&self) -> bool {
        self.options.venue != Venue::Paper
    }

    /// Whether the simulated exchange is given the data.
    fn simulates(&self) -> bool {
        self.options.venue != (Venue::Live { shadow: false })
    }

    /// A message of the feed came, be it a heartbeat.
    pub fn heard(&mut self, now: i64) {
        for account in &mut self.accounts {
            account.trader.heard(now);
        }
    }

    /// What the exchange allows the account, as it says.
    pub fn set_tier(&mut self, account: usize, tier: Tier) {
        self.accounts[account].trader.set_tier(tier);
    }

    /// The requests that the strategy asked for and that are to be sent, oldest first.
    pub fn take_outbox(&mut self) -> Vec<Sent> {
        self.settle();
        std::mem::take(&mut self.outbox)
    }

    /// What the simulated exchange said to the same requests.
    pub fn take_shadow(&mut self) -> Vec<Simulated> {
        std::mem::take(&mut self.shadow)
    }

    /// The exchange said something of an order.
    ///
    /// # Errors
    /// Why that changes nothing.
    pub fn reply(&mut self, now: i64, account: usize, reply: Reply) -> Result<(), Ignored> {
        self.now = self.now.max(now);
        let order = reply.order();
        let heard = self.hear(account, now, reply);
        self.hide_own(account, order);
        heard
    }

    /// Takes a real order out of the book of the simulated exchange, where its simulated twin stands.
    fn hide_own(&mut self, account: usize, order: u64) {
        if self.options.venue == (Venue::Live { shadow: true })
            && let Some(id) = self.accounts[account].trader.order(order).and_then(|order| order.order_id.as_deref())
        {
            self.paper.hide([id]);
        }
    }

    /// The exchange is in this state.
    pub fn set_system(&mut self, now: i64, system: &str) {
        self.status(system, now);
    }

    /// Somebody looked for an order at the exchange.
    ///
    /// # Errors
    /// Why that changes nothing.
    pub fn resolve(&mut self, now: i64, account: usize, order: u64, look: &Look) -> Result<(), Ignored> {
        self.now = self.now.max(now);
        let resolved = self.own(account).trader.resolve(now, order, look);
        self.hide_own(account, order);
        self.tell(account);
        resolved
    }

    /// The exchange shows an order that was believed to be rejected; see [`Trader::revive`].
    pub fn revive(&mut self, now: i64, account: usize, order: u64) {
        self.now = self.now.max(now);
        self.own(account).trader.revive(order);
        self.tell(account);
    }

    /// How far the exchange's clock is ahead of this one, ns.
    pub fn set_offset(&mut self, account: usize, offset: i64) {
        self.own(account).trader.set_offset(offset);
    }

    /// An order of an earlier run was found at the exchange; see [`Trader::adopt`].
    ///
    /// # Errors
    /// Why it is none of this account's.
    pub fn adopt(&mut self, now: i64, account: usize, adopted: Adopted) -> Result<(), Ignored> {
        self.now = self.now.max(now);
        let Adopted { number, terms, tag, found, known } = adopted;
        let taken = self.own(account).trader.adopt(now, number, terms, tag, found, &known);
        self.hide_own(account, number);
        self.tell(account);
        taken
    }

    /// A fill of an earlier run; see [`Trader::restore`].
    pub fn restore(&mut self, account: usize, pair: usize, side: Side, fill: &Fill) {
        self.accounts[account].trader.restore(pair, side, fill);
    }

    /// Something came to an account from outside, or left it.
    pub fn deposit(&mut self, account: usize, asset: &str, amount: Amount) {
        self.accounts[account].trader.deposit(asset, amount);
    }

    /// Takes no new risk for now, or again; the strategy hears it as a gap. `why`: see [`Trader::block`].
    pub fn block(&mut self, now: i64, account: usize, why: Option<(&'static str, Arc<str>)>) {
        self.now = self.now.max(now);
        let before = self.blocked.take();
        if let Some(of) = before.filter(|of| why.as_ref().is_none_or(|(new, _)| new != of)) {
            self.accounts[account].tally.healed(of, None, self.now);
            self.calls.push_back((account, Call::Gap(Gap { of, pair: None, healed: true })));
        }
        if let Some((of, _)) = &why {
            self.blocked = Some(of);
            if before != Some(*of) {
                let resting = self.live(account, None, None).len();
                self.accounts[account].tally.gap(of, None, self.now, resting);
                self.calls.push_back((account, Call::Gap(Gap { of, pair: None, healed: false })));
            }
        }
        self.own(account).trader.block(why.map(|why| why.1));
    }

    /// Looks where own orders of a pair are in the real queues.
    fn find_places(&mut self, pair: usize, books: &impl Books) {
        let Some(account) = self.accounts.first() else { return };
        for order in account.trader.orders(pair, None) {
            let (Some(id), Some(price)) = (&order.order_id, order.price) else { continue };
            let symbol = &self.markets[pair].pair.symbol;
            match books.place(symbol, order.terms.side, price, id) {
                Some(place) => self.places.insert(order.number, place),
                None => self.places.remove(&order.number),
            };
        }
    }

    // What accounts are worth.

    fn note_values(&mut self) {
        for number in 0..self.accounts.len() {
            let row = self.value(number);
            self.accounts[number].tally.values.push(row);
        }
        if self.accounts.iter().any(|account| account.tally.values.len() > VALUES_MAX) {
            self.values_every = self.values_every.saturating_mul(2);
            let every = self.values_every;
            for account in &mut self.accounts {
                account.tally.thin(every);
            }
        }
    }

    /// Notes what accounts have as soon as it is known: a book was not in sync before.
    fn note_first_values(&mut self) {
        for number in 0..self.accounts.len() {
            if self.accounts[number].tally.values.last().is_some_and(|row| row.mid.is_none()) {
                let row = self.value(number);
                if row.mid.is_some() {
                    self.accounts[number].tally.values.push(row);
                }
            }
        }
    }

    /// What an account has now.
    #[must_use]
    pub fn value(&self, number: usize) -> ValueRow {
        let trader = &self.accounts[number].trader;
        let totals: Vec<Amount> = self.assets.iter().map(|asset| trader.balance(asset).total).collect();
        let (mut mid, mut exit) = (Some(0), Some(0));
        for (asset, &total) in self.assets.iter().zip(&totals) {
            let worth = if *asset == self.options.quote || total == 0 {
                Some((total, total))
            } else {
                self.worth(asset, total)
            };
            mid = mid.zip(worth).map(|(sum, worth)| sum + worth.0);
            exit = exit.zip(worth).map(|(sum, worth)| sum + worth.1);
        }
        ValueRow { ts: self.now, totals, mid, exit }
    }

    /// An amount of an asset in the quote asset: at the middle, and if it is sold at the best bid.
    fn worth(&self, asset: &Arc<str>, total: Amount) -> Option<(Amount, Amount)> {
        let quote = &self.options.quote;
        let market = self.markets.iter().find(|one| one.pair.base == *asset && one.pair.quote == *quote)?;
        let (pair, touch) = (&market.pair, market.touch);
        let ((bid, _), (ask, _)) = (touch.bid?, touch.ask?);
        // Whole steps of the quantity: what is less is dust, which no order can sell.
        let qty = Qty(i64::try_from(total / pair.amount(Qty(1))).ok()?);
        let cost = |price| pair.cost(price, qty);
        let exit = cost(bid) - if qty.is_positive() { pair.fee(cost(bid), false) } else { 0 };
        Some((i128::midpoint(cost(bid), cost(ask)), exit))
    }

    // What strategies ask and do.

    /// An account whose strategy may ask for something now.
    fn own(&mut self, account: usize) -> &mut Account {
        self.dirty = true;
        let own = &mut self.accounts[account];
        own.dirty = true;
        own
    }

    /// The time of what happened last, ns.
    #[must_use]
    pub const fn now(&self) -> i64 {
        self.now
    }

    /// Whether a strategy is called again and again at one time, which would never end.
    #[must_use]
    pub const fn stuck(&self) -> bool {
        self.stuck
    }

    /// Messages that were taken.
    #[must_use]
    pub const fn messages(&self) -> u64 {
        self.messages
    }

    /// Time of the first message.
    #[must_use]
    pub const fn begin(&self) -> Option<i64> {
        self.begin
    }

    /// Whether the warm-up is over.
    #[must_use]
    pub const fn warm(&self) -> bool {
        self.warm
    }

    /// State of the exchange as it said last; empty before.
    #[must_use]
    pub const fn system(&self) -> &Arc<str> {
        &self.system
    }

    /// Whether an account may take new risk.
    #[must_use]
    pub fn trading(&self, account: usize) -> bool {
        let trader = &self.accounts[account].trader;
        let allowed = trader.halted().is_none() && trader.blocked().is_none();
        self.warm && self.open() && self.over.is_none() && allowed
    }

    /// Number of a pair.
    #[must_use]
    pub fn find(&self, symbol: &str) -> Option<usize> {
        self.numbers.get(symbol).copied()
    }

    /// A pair.
    #[must_use]
    pub fn pair(&self, pair: usize) -> &Pair {
        &self.markets[pair].pair
    }

    /// How many pairs there are.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.markets.len()
    }

    /// Assets of the pairs, as [`ValueRow::totals`] has them.
    #[must_use]
    pub fn assets(&self) -> &[Arc<str>] {
        &self.assets
    }

    /// The best levels of a pair, and whether its book is in sync.
    #[must_use]
    pub fn touch(&self, pair: usize) -> (Touch, bool) {
        (self.markets[pair].touch, self.markets[pair].synced)
    }

    /// An account.
    #[must_use]
    pub fn trader(&self, account: usize) -> &Trader {
        &self.accounts[account].trader
    }

    /// What the run left of an account so far.
    #[must_use]
    pub fn tally(&self, account: usize) -> &Tally {
        &self.accounts[account].tally
    }

    /// Place of an order in the queue.
    #[must_use]
    pub fn place(&self, account: usize, order: u64) -> Option<Place> {
        if self.is_live() { self.places.get(&order).copied() } else { self.paper.place(account, order) }
    }

    /// Quantity of a pair that was traded, and how much of it nothing in the book explains; while an account has no order,
    /// without the newest messages until the run is stopped.
    #[must_use]
    pub fn attribution(&self, pair: usize) -> Attribution {
        self.paper.attribution(pair)
    }

    /// Places an order, which waits for an answer for `patience` ns; its number. What cannot be is refused by an event.
    pub fn order(&mut self, account: usize, terms: Terms, patience: i64, tag: Arc<str>) -> u64 {
        let (now, own) = (self.now, self.own(account));
        own.trader.place(now, terms, patience, tag)
    }

    /// The same for an order whose unusual size is meant.
    pub fn order_confirmed(&mut self, account: usize, terms: Terms, patience: i64, tag: Arc<str>) -> u64 {
        let (now, own) = (self.now, self.own(account));
        own.trader.place_confirmed(now, terms, patience, tag)
    }

    /// Amends an order.
    pub fn amend(&mut self, account: usize, order: u64, qty: Option<Qty>, price: Option<Price>) {
        let (now, own) = (self.now, self.own(account));
        own.trader.amend(now, order, qty, price);
    }

    /// Cancels an order.
    pub fn cancel(&mut self, account: usize, order: u64) {
        let (now, own) = (self.now, self.own(account));
        own.trader.cancel(now, order);
    }

    /// Cancels all orders of an account, or those of a pair.
    pub fn cancel_all(&mut self, account: usize, pair: Option<usize>) {
        let (now, own) = (self.now, self.own(account));
        own.trader.cancel_all(now, pair);
    }

    /// Numbers of the orders of an account that are not over, in the order in which they were sent.
    #[must_use]
    pub fn live(&self, account: usize, pair: Option<usize>, side: Option<Side>) -> Vec<u64> {
        let trader = &self.accounts[account].trader;
        let pairs = pair.map_or(0..self.markets.len(), |pair| pair..pair + 1);
        let mut found: Vec<_> = pairs.flat_map(|pair| trader.orders(pair, side)).map(|order| order.number).collect();
        found.sort_unstable();
        found
    }

    /// Calls the strategy after so many ns.
    pub fn after(&mut self, account: usize, delay: i64, tag: Arc<str>) {
        self.count += 1;
        let key = (self.now.saturating_add(delay.max(0)), self.count);
        self.own(account).timers.insert(key, tag);
    }

    /// Cancels what rests, and takes no new risk from now on.
    pub fn halt(&mut self, account: usize, reason: Arc<str>) {
        let (now, own) = (self.now, self.own(account));
        own.trader.halt(now, reason);
    }

    /// Why an account was halted.
    #[must_use]
    pub fn halted(&self, account: usize) -> Option<&Arc<str>> {
        self.accounts[account].trader.halted()
    }
}
