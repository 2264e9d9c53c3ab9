//! A strategy in Rust, and the engine that runs it: no call of it goes through a table of functions.
//!
//! The engine is given the events of sessions: of a replay, or of a live feed. Everything that a strategy asks for is sent
//! when its handler returns, and is answered by later calls.

use std::borrow::Borrow;
use std::sync::Arc;

use krakpot_core::session::{Event, Session};

use crate::amount::{Price, Qty};
use crate::books::{Books, Touch};
use crate::order::Order;
use crate::report::{Change, Fill};
use crate::run::{Call, Gap, Run};
use crate::terms::{Side, Terms};
use crate::trader::{News, OrderEvent};
use crate::wallet::{Balance, Inventory};

/// What a strategy does. Every handler may be left out.
#[allow(unused_variables, reason = "the names say what a handler is given")]
pub trait Strategy {
    /// The run begins.
    fn start(&mut self, m: &mut Market<'_>) {}

    /// A message of a book, as often as the run's `wake` says.
    fn book(&mut self, m: &mut Market<'_>, e: &Event) {}

    /// A trade.
    fn trade(&mut self, m: &mut Market<'_>, e: &Event) {}

    /// What became of an order.
    fn order(&mut self, m: &mut Market<'_>, e: &OrderEvent) {}

    /// A fill, after what became of its order.
    fn fill(&mut self, m: &mut Market<'_>, e: &OrderEvent, fill: &Fill) {}

    /// Data is missing, or is there again.
    fn gap(&mut self, m: &mut Market<'_>, e: &Gap) {}

    /// A time that was asked for by [`Market::after`].
    fn timer(&mut self, m: &mut Market<'_>, tag: &str) {}

    /// The run ends.
    fn stop(&mut self, m: &mut Market<'_>, reason: &str) {}
}

/// What a strategy sees and does, while one of its handlers runs.
pub struct Market<'a> {
    run: &'a mut Run,
    account: usize,
}

impl Market<'_> {
    /// Local time, ns.
    #[must_use]
    pub const fn now(&self) -> i64 {
        self.run.now()
    }

    /// Whether the warm-up is over.
    #[must_use]
    pub fn warm(&self) -> bool {
        self.run.warm()
    }

    /// Whether new orders are taken.
    #[must_use]
    pub fn trading(&self) -> bool {
        self.run.trading(self.account)
    }

    /// The run: its pairs, and the account.
    #[must_use]
    pub const fn run(&self) -> &Run {
        self.run
    }

    /// The best levels of a pair; `None` if its book is out of sync.
    #[must_use]
    pub fn touch(&self, pair: usize) -> Option<Touch> {
        let (touch, synced) = self.run.touch(pair);
        synced.then_some(touch)
    }

    /// An order.
    #[must_use]
    pub fn order(&self, order: u64) -> Option<&Order> {
        self.run.trader(self.account).order(order)
    }

    /// Orders of a pair, or of one side of it, that are not over.
    pub fn orders(&self, pair: usize, side: Option<Side>) -> impl Iterator<Item = &Order> {
        self.run.trader(self.account).orders(pair, side)
    }

    /// What the account has of an asset.
    #[must_use]
    pub fn balance(&self, asset: &str) -> Balance {
        self.run.trader(self.account).balance(asset)
    }

    /// What was bought and sold of a pair.
    #[must_use]
    pub fn inventory(&self, pair: usize) -> Inventory {
        self.run.trader(self.account).inventory(pair)
    }

    /// The rate counter of a pair: used, and the limit.
    #[must_use]
    pub fn rate(&self, pair: usize) -> (f64, u32) {
        self.run.trader(self.account).rate(pair, self.run.now())
    }

    /// Places an order; its number. What cannot be is refused, which [`Strategy::order`] hears.
    pub fn place(&mut self, terms: Terms, patience: i64, tag: &str) -> u64 {
        self.run.order(self.account, terms, patience, Arc::from(tag))
    }

    /// Asks for another quantity in all, or another price.
    pub fn amend(&mut self, order: u64, qty: Option<Qty>, price: Option<Price>) {
        self.run.amend(self.account, order, qty, price);
    }

    /// Cancels an order.
    pub fn cancel(&mut self, order: u64) {
        self.run.cancel(self.account, order);
    }

    /// Cancels all own orders, or those of a pair.
    pub fn cancel_all(&mut self, pair: Option<usize>) {
        self.run.cancel_all(self.account, pair);
    }

    /// Calls [`Strategy::timer`] after so many ns.
    pub fn after(&mut self, delay: i64, tag: &str) {
        self.run.after(self.account, delay, Arc::from(tag));
    }

    /// Cancels own orders and takes no new risk.
    pub fn halt(&mut self, reason: &str) {
        self.run.halt(self.account, Arc::from(reason));
    }
}

/// Runs strategies, one for each account of its run.
pub struct Engine<S> {
    run: Run,
    strategies: Vec<S>,
}

impl<S: Strategy> Engine<S> {
    /// Strategies in the order of the accounts of the run.
    #[must_use]
    pub const fn new(run: Run, strategies: Vec<S>) -> Self {
        Self { run, strategies }
    }

    /// Begins, at a local time.
    pub fn start(&mut self, now: i64) {
        self.run.start(now);
        self.say(now);
    }

    /// Takes what came with one read of a session, whose books are those after it.
    pub fn events(&mut self, events: impl IntoIterator<Item = Event>, session: &Session) {
        for event in events {
            self.event(event, session);
        }
    }

    /// Takes an event, which others may have too; `books` are those after it.
    pub fn event<E: Borrow<Event> + Into<Arc<Event>>>(&mut self, event: E, books: &impl Books) {
        let Some(recv) = received(event.borrow()) else { return };
        self.take(recv, |run| run.take(event, books));
        self.say(recv);
    }

    /// Lets the run take what was received at a time. What that leads to is said with what is due next.
    pub(crate) fn take(&mut self, recv: i64, take: impl FnOnce(&mut Run)) {
        // What is due at the same time happened before: a message is heard when it is read.
        self.say(recv);
        take(&mut self.run);
    }

    /// Lets time pass without an event.
    pub fn advance(&mut self, now: i64) {
        self.say(now);
    }

    /// Ends.
    pub fn stop(&mut self, reason: &str) {
        self.run.stop(&Arc::from(reason));
        self.say(i64::MAX);
    }

    /// The run.
    #[must_use]
    pub const fn run(&self) -> &Run {
        &self.run
    }

    /// The strategies.
    #[must_use]
    pub fn strategies(&self) -> &[S] {
        &self.strategies
    }

    fn say(&mut self, until: i64) {
        let Self { run, strategies } = self;
        while let Some((account, call)) = run.poll(until) {
            let strategy = &mut strategies[account];
            let m = &mut Market { run, account };
            match &call {
                Call::Start => strategy.start(m),
                Call::Book(event) => strategy.book(m, event),
                Call::Trade(event) => strategy.trade(m, event),
                Call::Order(event) => {
                    strategy.order(m, event);
                    if let News::Changed(Change::Fill(fill)) = &event.change {
                        strategy.fill(m, event, fill);
                    }
                }
                Call::Gap(gap) => strategy.gap(m, gap),
                Call::Timer(tag) => strategy.timer(m, tag),
                Call::Stop(reason) => strategy.stop(m, reason),
            }
        }
    }
}

/// When an event was received; `None` of one that changes nothing for a strategy.
#[must_use]
pub fn received(event: &Event) -> Option<i64> {
    match event {
        Event::Book(message, _) | Event::Level3(message, _) => Some(message.received.ts_recv),
        Event::Trade(trade) => Some(trade.received.ts_recv),
        Event::Gap(gap) => Some(gap.received.ts_recv),
        Event::Status(status) => Some(status.ts_recv),
        Event::Subscription(_) | Event::Ticker(_) | Event::Ohlc(_) => None,
    }
}
