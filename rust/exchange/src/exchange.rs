//! The exchange: its parts together, and time, which moves only when the caller says so.
//!
//! Requests in, WebSocket frames out, in blocks. The same seed, the same requests and the same times give the same bytes.

use serde_json::Value;

use crate::account::Accounts;
use crate::connection::Label;
use crate::desk::Desk;
use crate::engine::Side;
use crate::fanout::Fanout;
use crate::faults::{Injected, Refusal};
use crate::history::{History, Kept};
use crate::inject::Injector;
use crate::kinds::{Occasion, What};
use crate::market::{Candle, Market};
use crate::message;
use crate::outbox::{Outbox, Pace};
use crate::pairs::{PAIRS_MAX, Pair, pairs};
use crate::private::Private;
use crate::query;
use crate::request::Endpoint;
use crate::rng::Rng;
use crate::serve::Server;
use crate::settings::Settings;
use crate::terms::{DEADLINE_MIN, Params};
use crate::wire;

/// Mean time between two changes of a pair's status, ns.
const STATUS_EVERY: f64 = 20e9;
/// Messages of a full subscription (book of depth 1000, trade, ticker by bbo) for a step of a market: measured; a test
/// checks the rate that follows from it.
const MESSAGES_PER_STEP: f64 = 1.04;
/// ns.
const MINUTE: i64 = 60_000_000_000;
/// The busiest pairs keep their status, because demos and measurements depend on them.
const STEADY_PAIRS: usize = 30;

/// The exchange.
#[derive(Debug)]
pub struct Exchange {
    fanout: Fanout,
    server: Server,
    desk: Desk,
    /// Until when signed requests are refused by a fault, and for how long each of them prolongs that, ns.
    locked: (i64, i64),
    injector: Injector,
    accounts: Accounts,
    /// Which pair steps, when, and the ids that connections get.
    rng: Rng,
    /// Running sums of the pairs' weights.
    weights: Vec<f64>,
    /// Mean time between two steps, ns.
    every: f64,
    next_step: i64,
    next_status: i64,
    /// The pair that is in `post_only` for a while.
    suspended: Option<usize>,
}

impl Exchange {
    /// An exchange of `count` pairs (at most `PAIRS_MAX`) whose full subscription has about `rate` messages per second,
    /// at the time `start`, ns since the epoch. With `log`, `take_log` names every frame.
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
        let mut exchange = Self {
            fanout: Fanout::new(markets, Outbox::new(seed, start, log)),
            server: Server::default(),
            desk: Desk::new(Settings::default(), start),
            locked: (i64::MIN, 0),
            injector: Injector::new(seed),
            accounts: Accounts::default(),
            rng,
            weights: Vec::new(),
            every: 1e9 * MESSAGES_PER_STEP / rate.max(1e-6),
            next_step: start,
            next_status: start,
            suspended: None,
        };
        exchange.weigh();
        exchange.next_step = exchange.after(exchange.every);
        exchange.next_status = exchange.after(STATUS_EVERY);
        exchange
    }

    /// Sets how the channels book and level3 leave.
    pub const fn set_paces(&mut self, book: Pace, level3: Pace) {
        self.fanout.outbox.paces = [book, level3];
    }

    /// Keeps at most this many trades of all pairs together for `trades` and `candles`.
    pub fn set_history(&mut self, most: usize) {
        self.fanout.history = History::new(most);
    }

    /// Gives the account these balances, fees and limits, and what it does where Kraken is silent. It has no orders then.
    pub fn set_account(&mut self, settings: Settings) {
        self.fanout.amends_modify = settings.is_other("amend_l3");
        self.desk = Desk::new(settings, self.now());
    }

    /// Time of the exchange, ns since the epoch.
    #[must_use]
    pub const fn now(&self) -> i64 {
        self.fanout.outbox.now
    }

    /// Symbols, the busiest first.
    pub fn symbols(&self) -> impl Iterator<Item = &str> {
        self.fanout.outbox.symbols.iter().map(String::as_str)
    }

    /// State of the exchange.
    #[must_use]
    pub const fn system(&self) -> &'static str {
        self.injector.system
    }

    /// The maintenance that is announced, as an entry of `upcoming_maintenance`, JSON.
    #[must_use]
    pub fn upcoming_maintenance(&self) -> Option<String> {
        self.injector.advisory(&self.fanout)
    }

    /// Time by the clock that stamps messages, ns: `now`, unless a fault lets it be off.
    #[must_use]
    pub fn clock(&self) -> i64 {
        self.fanout.outbox.stamp(self.now())
    }

    /// The best levels of a pair's book as they are: price and quantity, bids then asks.
    #[must_use]
    pub fn book(&self, symbol: &str, depth: usize) -> Option<[Vec<(String, String)>; 2]> {
        let Market { engine, pair, .. } = &self.fanout.listings[self.fanout.find(symbol)?].market;
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

    /// The pairs that are listed.
    pub fn pairs(&self) -> impl Iterator<Item = &Pair> {
        self.fanout.listed()
    }

    /// The oldest trades of a pair after the place `since`, ns, or the latest ones, at most `count`: those that are
    /// still kept. `None` for an unknown symbol.
    #[must_use]
    pub fn trades(&self, symbol: &str, since: Option<i64>, count: usize) -> Option<(&Pair, Vec<Kept>)> {
        let pair = self.fanout.find(symbol)?;
        let trades = self.fanout.history.trades(pair, since, count).copied().collect();
        Some((&self.fanout.listings[pair].market.pair, trades))
    }

    /// The latest candles of a pair from the trades that are still kept, oldest first, at most `count`; `None` for an
    /// unknown symbol.
    #[must_use]
    pub fn candles(&self, symbol: &str, minutes: i64, count: usize) -> Option<(&Pair, Vec<Candle>)> {
        let pair = self.fanout.find(symbol)?;
        let length = minutes.max(1).saturating_mul(MINUTE);
        Some((&self.fanout.listings[pair].market.pair, self.fanout.history.candles(pair, length, count)))
    }

    /// How a request to REST for public data goes wrong by a fault, if it does: an HTTP status, or 200 and the text of
    /// a refusal.
    pub fn refuse_rest(&mut self) -> Option<(u16, String)> {
        Injector::refuse_rest(&mut self.fanout)
    }

    // The account.

    /// What a fault does to a signed request to REST, if it does something: the text of a refusal.
    pub fn refuse_signed(&mut self, method: &str) -> Option<String> {
        const LOCKED: &str = "EGeneral:Temporary lockout";
        let now = self.now();
        let may = |what| what != What::RestLag;
        let outbox = &mut self.fanout.outbox;
        let fault = outbox.faults.pick(Occasion::Account, (now, 0, method, ""), |fault| may(fault.kind.what));
        if let Some(fault) = &fault {
            outbox.record_fault(fault, None, "", None);
            match fault.kind.what {
                What::Nonce => return Some("EAPI:Invalid nonce".to_owned()),
                What::RestBusy => return Some(fault.words.clone()),
                _ => self.locked = (now, fault.by),
            }
        }
        let (until, by) = self.locked;
        if until < now {
            return None;
        }
        self.locked.0 = now.saturating_add(by);
        Some(LOCKED.to_owned())
    }

    /// The time whose state a signed request to REST is shown, ns: now, unless a fault makes it an earlier one.
    pub fn shown_at(&mut self, method: &str) -> i64 {
        let now = self.now();
        let outbox = &mut self.fanout.outbox;
        let lags = |fault: &crate::kinds::Fault| fault.kind.what == What::RestLag;
        let Some(fault) = outbox.faults.pick(Occasion::Account, (now, 0, method, ""), lags) else { return now };
        outbox.record_fault(&fault, None, "", None);
        now - fault.by
    }

    /// Does what an order method asks for, with its parameters as JSON; returns the answers as a JSON list: objects with
    /// `result` or `orders_cancelled`, or with `error`.
    pub fn order(&mut self, method: &str, params: &str) -> String {
        let Some(params) = Params::read(params) else {
            return "[{\"error\":\"EGeneral:Invalid arguments\"}]".to_owned();
        };
        let mut private = self.private();
        let answers = private.act(method, &params);
        private.tell();
        self.fanout.outbox.find_next_due();
        let text = |answer: Result<String, String>| match answer {
            Ok(members) => format!("{{{members}}}"),
            Err(error) => format!("{{\"error\":{}}}", Value::from(error)),
        };
        format!("[{}]", answers.into_iter().map(text).collect::<Vec<_>>().join(","))
    }

    /// The account at a time, ns: `orders`, `open`, `closed`, `trades`, `balances` or `entries`; null for another word.
    #[must_use]
    pub fn account(&self, what: &str, at: i64) -> Value {
        match what {
            "orders" => query::orders(&self.desk, at, None),
            "open" => query::orders(&self.desk, at, Some(true)),
            "closed" => query::orders(&self.desk, at, Some(false)),
            "trades" => query::trades(&self.desk, at),
            "balances" => query::balances(&self.desk, at),
            "entries" => query::entries(&self.desk, at),
            _ => Value::Null,
        }
    }

    /// Fees of a resting order and of one that takes, in millionths, as they are now.
    #[must_use]
    pub const fn fees(&self) -> [i128; 2] {
        self.desk.fees
    }

    /// The fees by the volume in USD from which they hold.
    #[must_use]
    pub fn fee_schedule(&self) -> Vec<(i128, [i128; 2])> {
        self.desk.settings.schedule()
    }

    /// What the account traded for USD in the last 30 days, in hundredths of a cent.
    #[must_use]
    pub fn volume(&self) -> i128 {
        self.desk.volume(self.now())
    }

    /// Name of the account's tier.
    #[must_use]
    pub const fn tier(&self) -> &'static str {
        self.desk.settings.tier.name
    }

    const fn private(&mut self) -> Private<'_> {
        let soonest = DEADLINE_MIN[1];
        Private { fanout: &mut self.fanout, desk: &mut self.desk, system: self.injector.system, soonest }
    }

    // Clients.

    /// Allows a WebSocket token for subscriptions until `until`, ns. A subscription outlives its token.
    pub fn allow(&mut self, token: &str, until: i64) {
        self.server.allow(token, until, self.fanout.outbox.now);
    }

    /// Whether a client of an address may connect to an endpoint.
    ///
    /// # Errors
    /// How it is refused.
    pub fn admit(&mut self, who: &str, endpoint: Endpoint) -> Result<(), Refusal> {
        Injector::admit(&mut self.fanout, who, endpoint)
    }

    /// Takes a new connection to an endpoint; returns its number. The first frame waits to be taken.
    pub fn connect(&mut self, endpoint: Endpoint) -> u64 {
        let announced_id = self.rng.bits();
        let advisory = self.injector.advisory(&self.fanout);
        let outbox = &mut self.fanout.outbox;
        let (place, id) = outbox.open(announced_id, endpoint);
        message::status(self.injector.system, announced_id, advisory.as_deref(), outbox.compose());
        outbox.send(&[place], Label::new("status"));
        id
    }

    /// Forgets a connection; its account stays in `summary`, which has the last 10,000.
    pub fn disconnect(&mut self, id: u64) {
        let Some(place) = self.fanout.outbox.place(id) else { return };
        let Some(connection) = self.fanout.outbox.connections[place].take() else { return };
        for (&pair, subscriptions) in &connection.subscriptions {
            for subscription in subscriptions {
                self.fanout.leave(place, pair, subscription.topic);
            }
        }
        self.accounts.keep(&connection, &self.fanout.outbox.symbols);
        self.fanout.outbox.find_next_due();
    }

    /// Answers a request of a connection; the answers wait to be taken.
    pub fn receive(&mut self, id: u64, text: &[u8]) {
        let Some(place) = self.fanout.outbox.place(id) else { return };
        let endpoint = self.fanout.outbox.connections[place].as_ref().map(|connection| connection.endpoint);
        if endpoint == Some(Endpoint::Private) {
            let Self { server, fanout, desk, injector, .. } = self;
            Private { fanout, desk, system: injector.system, soonest: DEADLINE_MIN[0] }.receive(server, place, text);
        } else {
            self.server.receive(&mut self.fanout, place, text);
        }
    }

    /// Takes what waits for a connection: whole WebSocket frames.
    pub fn take(&mut self, id: u64) -> Vec<u8> {
        let Some(place) = self.fanout.outbox.place(id) else { return Vec::new() };
        self.fanout.outbox.connections[place].as_mut().map_or_else(Vec::new, |connection| {
            let capacity = connection.out.len();
            std::mem::replace(&mut connection.out, Vec::with_capacity(capacity))
        })
    }

    /// Takes the log: `wall_ns,connection,frame,channel,symbol,checksum,sent_ns,fault`, a line for each frame and fault.
    pub fn take_log(&mut self) -> Vec<u8> {
        self.fanout.outbox.take_log()
    }

    /// What was sent: messages in all, and per connection the id that was announced, frames, bytes and, per symbol and
    /// channel, the number of messages and a hash over the checksums (book, level3) or the last trade id of each
    /// message (trade). Of symbols and channels these are the messages that were made; `faults` there says what happened
    /// to some of them. `faults` at the top says how often each fault happened.
    #[must_use]
    pub fn summary(&self) -> Value {
        self.accounts.summary(&self.fanout.outbox)
    }

    // Faults.

    /// Asks for a fault, by the text that [`crate::kinds`] describes. It begins now.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the text, and what is allowed.
    pub fn inject(&mut self, text: &str) -> Result<(), String> {
        Injector::inject(&mut self.fanout, text)
    }

    /// Ends all faults. What they did stays done; what they hold back comes.
    pub fn clear_faults(&mut self) {
        let before = self.injector.system;
        self.injector.clear_faults(&mut self.fanout);
        self.locked = (i64::MIN, 0);
        self.look_after_orders(before);
    }

    /// The faults that are in force or will be, as they were asked for.
    pub fn faults(&self) -> impl Iterator<Item = &str> {
        self.fanout.outbox.faults.texts()
    }

    /// Faults that happened since the last call. What happens to sockets is only reported: the caller does it.
    pub fn take_faults(&mut self) -> Vec<Injected> {
        self.fanout.outbox.faults.take()
    }

    // Time.

    /// Moves time forward to `to`, or until a connection has `limit` bytes waiting. Returns the time reached. `wall` is
    /// the time for the log, ns.
    pub fn advance(&mut self, to: i64, limit: usize, wall: i64) -> i64 {
        self.fanout.outbox.wall = wall;
        loop {
            let next_conflated = self.fanout.next_conflated();
            let next_fault = self.injector.next(&self.fanout);
            let next_due = self.fanout.outbox.next_due;
            let next_own = self.desk.next_due;
            let next =
                self.next_step.min(next_due).min(self.next_status).min(next_conflated).min(next_fault).min(next_own);
            if next > to {
                self.fanout.outbox.now = self.now().max(to);
                break;
            }
            self.fanout.outbox.now = next;
            if next == next_fault {
                let before = self.injector.system;
                self.injector.apply_due(&mut self.fanout);
                self.weigh();
                self.look_after_orders(before);
            } else if next == next_own {
                self.desk.do_due(&mut self.fanout, self.injector.system);
                self.private().tell();
            } else if next == next_due {
                self.fanout.send_due();
            } else if next == next_conflated {
                self.fanout.send_conflated();
            } else if next == self.next_status {
                self.change_status();
                self.next_status = self.after(STATUS_EVERY);
            } else {
                self.step();
                self.next_step = self.after(self.every);
            }
            if self.fanout.outbox.connections.iter().flatten().any(|connection| connection.out.len() >= limit) {
                break;
            }
        }
        self.now()
    }

    /// A time after now, `mean` ns on average, in whole microseconds and at least one.
    #[allow(clippy::cast_possible_truncation, reason = "saturates")]
    fn after(&mut self, mean: f64) -> i64 {
        let us = (self.rng.exponential() * mean / 1000.0).round() as i64;
        self.now() - self.now().rem_euclid(1000) + us.max(1) * 1000
    }

    /// Adds the weights of pairs that are new.
    fn weigh(&mut self) {
        let mut sum = self.weights.last().copied().unwrap_or_default();
        for listing in &self.fanout.listings[self.weights.len()..] {
            sum += listing.market.pair.weight;
            self.weights.push(sum);
        }
    }

    /// Lets one pair's market make a step.
    fn step(&mut self) {
        let total = self.weights.last().copied().unwrap_or_default();
        let at = self.rng.unit() * total;
        let pair = self.weights.partition_point(|&sum| sum <= at).min(self.weights.len() - 1);
        if self.fanout.listings[pair].market.pair.status == "online" && self.injector.system == "online" {
            self.fanout.step(pair);
            self.desk.follow(&mut self.fanout, pair);
            self.private().tell();
        }
    }

    /// What faults of pairs and of the exchange do to the account's orders. A dead-man timer that is on when a maintenance
    /// ends cancels them.
    fn look_after_orders(&mut self, before: &str) {
        self.desk.end_lost(&mut self.fanout);
        let system = self.injector.system;
        if before == "maintenance" && system != "maintenance" && self.desk.dead_man.is_some() {
            self.desk.die(&mut self.fanout);
        }
        self.desk.do_due(&mut self.fanout, system);
        self.private().tell();
    }

    /// A pair goes to `post_only` and back, as pairs do when they are listed or maintained; then another one.
    fn change_status(&mut self) {
        let (pair, status, before) = match self.suspended.take() {
            Some(pair) => (pair, "online", "post_only"),
            None => (self.rng.below(self.fanout.listings.len()), "post_only", "online"),
        };
        // A fault may have given it another status.
        if pair < STEADY_PAIRS || self.fanout.listings[pair].market.pair.status != before {
            return;
        }
        self.suspended = (status == "post_only").then_some(pair);
        self.fanout.set_status(pair, status);
    }
}
