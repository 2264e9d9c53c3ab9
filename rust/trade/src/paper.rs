//! Paper trading: what would have become of requests, on recorded or live data, for any number of accounts in one pass.
//!
//! Own orders are ghosts: they never change a book, so all accounts share the books. Times are those of the data: what is
//! decided depends on the order of what comes in and on receive times only, not on how often [`Paper::advance`] is called.

use std::collections::{BTreeMap, VecDeque};

use crate::amount::{Price, Qty};
use crate::ghosts::Print;
use crate::market::{Arriving, Market, UNKNOWN};
use crate::model::Change;
pub use crate::model::{Attribution, Place};
pub use crate::options::{AmendUp, Cancels, Gaps, Latency, Model, Options, Together};
use crate::pair::Pair;
use crate::questions::{Question, Taken};
use crate::report::{Answer, Asked, Reply};
use crate::shown::Id;
use crate::terms::{Request, Sent, Side};
use foldhash::{HashMap, HashSet};
use krakpot_core::decimal::{Tens, pow10};
use krakpot_core::limits::SCALE;
use krakpot_core::session::{LevelEntry, OrderChange};
use krakpot_core::wire::message::{self, Kind, OrderEvent};

/// Pairs, and accounts.
const PAIRS_MAX: usize = 20_000;
const ACCOUNTS_MAX: usize = 10_000;
/// Requests of all accounts that are on their way to a pair, and replies that were not taken: beyond it new orders are
/// refused.
const REQUESTS_MAX: usize = 100_000;
const REPLIES_MAX: usize = 1_000_000;
/// Ids of own orders in the record that are remembered; the oldest are forgotten first.
const HIDDEN_MAX: usize = 100_000;
const BUSY: &str = "EService:Busy";
/// Stands for the id of a level, which has none. Of Kraken's shape, it needs no memory of its own.
const NO_ID: &str = "000000-00000-000000";

/// An account on paper.
#[derive(Debug)]
struct Account {
    /// The pairs of its orders.
    orders: HashMap<u64, usize>,
    /// When its last request arrives, and its last reply is heard: they keep their order.
    last: i64,
    heard: i64,
}

impl Account {
    fn new() -> Self {
        Self { orders: HashMap::default(), last: i64::MIN, heard: i64::MIN }
    }
}

/// Any number of accounts on the data of any number of pairs.
#[derive(Debug)]
pub struct Paper {
    options: Options,
    markets: Vec<Market>,
    pairs: HashMap<std::sync::Arc<str>, usize>,
    accounts: Vec<Account>,
    /// By the time when they are heard, and in the order in which they were made.
    replies: BTreeMap<(i64, u64), (usize, Reply)>,
    made: u64,
    now: i64,
    /// What was due up to this time counts as decided.
    reached: i64,
    hidden: HashSet<Id>,
    hidden_order: VecDeque<Id>,
}

impl Paper {
    /// Without pairs and accounts.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            markets: Vec::new(),
            pairs: HashMap::default(),
            accounts: Vec::new(),
            replies: BTreeMap::new(),
            made: 0,
            now: i64::MIN,
            reached: i64::MIN,
            hidden: HashSet::default(),
            hidden_order: VecDeque::new(),
        }
    }

    /// What is assumed where the record does not say.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// Adds a pair, or gives a known one new facts; returns its number. Its precision stays. `None`: there are too many, or
    /// it has more decimals than the feed's numbers.
    pub fn set_pair(&mut self, pair: Pair) -> Option<usize> {
        if pair.price_precision > SCALE || pair.qty_precision > SCALE {
            return None;
        }
        if let Some(&number) = self.pairs.get(&pair.symbol) {
            let known = &mut self.markets[number].pair;
            if (known.price_precision, known.qty_precision) != (pair.price_precision, pair.qty_precision) {
                return None;
            }
            *known = pair;
            return Some(number);
        }
        let number = self.markets.len();
        if number >= PAIRS_MAX {
            return None;
        }
        self.pairs.insert(pair.symbol.clone(), number);
        self.markets.push(Market::new(pair, number, self.options));
        Some(number)
    }

    /// A pair by its number.
    #[must_use]
    pub fn pair(&self, pair: usize) -> Option<&Pair> {
        self.markets.get(pair).map(|market| &market.pair)
    }

    /// Another account; returns its number. `None`: there are too many.
    pub fn add_account(&mut self) -> Option<usize> {
        let number = self.accounts.len();
        (number < ACCOUNTS_MAX).then(|| self.accounts.push(Account::new())).map(|()| number)
    }

    // Requests.

    /// Sends a request of an account, which arrives as the latency says, and not before the one sent last.
    pub fn send(&mut self, account: usize, sent: Sent) {
        let Some(known) = self.accounts.get(account) else { return };
        let pair = self.pair_of(account, &sent.request);
        let entry = self.markets.get(pair).map_or(0, |market| market.ways().0);
        let at = sent.ts.saturating_add(entry).max(known.last);
        self.send_at(account, sent, at);
    }

    fn pair_of(&self, account: usize, request: &Request) -> usize {
        match request {
            Request::Add { terms, .. } => terms.pair,
            other => self.accounts[account].orders.get(&other.order()).copied().unwrap_or(0),
        }
    }

    /// The same, where the time of its arrival at the exchange is known.
    pub fn send_at(&mut self, account: usize, sent: Sent, arrival: i64) {
        if account >= self.accounts.len() {
            return;
        }
        let (pair, order) = (self.pair_of(account, &sent.request), sent.request.order());
        let asked = match sent.request {
            Request::Add { .. } => Asked::Add,
            Request::Amend { .. } => Asked::Amend,
            Request::Cancel { .. } => Asked::Cancel,
        };
        let waiting = self.replies.len();
        let Some(market) = self.markets.get_mut(pair) else {
            let error = if asked == Asked::Add { "EGeneral:Invalid arguments:pair" } else { UNKNOWN };
            return self.refuse(account, order, asked, error, arrival);
        };
        if asked == Asked::Add && (market.on_their_way() >= REQUESTS_MAX || waiting >= REPLIES_MAX) {
            return self.refuse(account, order, asked, BUSY, arrival);
        }
        // Cancels and amendments of known orders are few: one order has one at a time.
        if market.on_their_way() >= 2 * REQUESTS_MAX {
            return self.refuse(account, order, asked, BUSY, arrival);
        }
        let Ok(number) = u32::try_from(account) else { return };
        market.arrive(arrival, number, Arriving::Asked(sent.request));
        let known = &mut self.accounts[account];
        known.last = known.last.max(arrival);
        if asked == Asked::Add {
            known.orders.insert(order, pair);
        }
    }

    fn refuse(&mut self, account: usize, order: u64, asked: Asked, error: &str, ts: i64) {
        let answer = Answer { order, asked, result: Err(error.into()), ts };
        self.reply(ts.max(self.now), account, Reply::Answer(answer));
    }

    fn reply(&mut self, heard: i64, account: usize, reply: Reply) {
        let Some(known) = self.accounts.get_mut(account) else { return };
        known.heard = known.heard.max(heard);
        let heard = known.heard;
        self.made += 1;
        self.replies.insert((heard, self.made), (account, reply));
    }

    // Data.

    /// All that was due before something is received.
    fn receive(&mut self, pair: usize, recv: i64) -> Option<i64> {
        if pair >= self.markets.len() {
            return None;
        }
        // Receive times do not go back.
        let recv = recv.max(self.now);
        if recv > i64::MIN {
            self.now = recv - 1;
            self.decide(self.now);
        }
        Some(recv)
    }

    /// A message of level 3 of a pair, with its receive time and the exchange's, ns.
    pub fn level3(&mut self, pair: usize, recv: i64, ts: Option<i64>, kind: Kind, rows: &[OrderChange]) {
        let Some(recv) = self.receive(pair, recv) else { return };
        let market = &mut self.markets[pair];
        let steps = Steps::of(&market.pair);
        let hidden = &self.hidden;
        let rows = rows.iter().filter_map(|row| {
            if !hidden.is_empty() && hidden.contains(&row.id) {
                return None;
            }
            let event = row.event.unwrap_or(OrderEvent::Add);
            Some(steps.change(row.side, (row.price, row.qty), event, row.id.clone(), row.timestamp))
        });
        market.update((recv, self.reached), ts, kind == Kind::Snapshot, rows);
    }

    /// A message of the book of a pair.
    pub fn level2(&mut self, pair: usize, recv: i64, ts: Option<i64>, kind: Kind, rows: &[LevelEntry]) {
        let Some(recv) = self.receive(pair, recv) else { return };
        let market = &mut self.markets[pair];
        let steps = Steps::of(&market.pair);
        let none = Id::new(NO_ID);
        let time = ts.unwrap_or(recv);
        let rows =
            rows.iter().map(|row| steps.change(row.side, (row.price, row.qty), OrderEvent::Modify, none.clone(), time));
        market.update((recv, self.reached), ts, kind == Kind::Snapshot, rows);
    }

    /// A trade of a pair: its times, side of its taker, price, quantity, number. One without price or quantity is none.
    #[allow(clippy::too_many_arguments, reason = "a trade has as many facts")]
    pub fn trade(&mut self, pair: usize, recv: i64, ts: i64, taker: Side, price: Price, qty: Qty, trade_id: i64) {
        let Some(recv) = self.receive(pair, recv) else { return };
        if price.0 > 0 && qty.is_positive() {
            self.markets[pair].trade((recv, self.reached), ts, Print { side: taker.other(), price, qty, trade_id });
        }
    }

    /// The book of a pair is not known from now on, until its next snapshot.
    pub fn gap(&mut self, pair: usize, recv: i64) {
        let Some(recv) = self.receive(pair, recv) else { return };
        self.markets[pair].begin_gap(recv);
        self.collect(pair);
    }

    /// Ids of our own real orders in the record: they are taken out of it before anything else.
    pub fn hide<'a>(&mut self, ids: impl IntoIterator<Item = &'a str>) {
        self.catch_up();
        for id in ids {
            let id = Id::new(id);
            self.markets.iter_mut().for_each(|market| market.hide(&id));
            if self.hidden.insert(id.clone()) {
                self.hidden_order.push_back(id);
            }
            if self.hidden_order.len() > HIDDEN_MAX
                && let Some(oldest) = self.hidden_order.pop_front()
            {
                self.hidden.remove(&oldest);
            }
        }
    }

    // Time.

    fn decide(&mut self, now: i64) {
        self.reach(now);
        for pair in 0..self.markets.len() {
            if self.markets[pair].next_due() <= now {
                self.markets[pair].advance(now);
                self.collect(pair);
            }
        }
    }

    fn collect(&mut self, pair: usize) {
        let mut out = std::mem::take(&mut self.markets[pair].out);
        for one in out.drain(..) {
            let account = one.account as usize;
            if let Some(known) = self.accounts.get_mut(account).filter(|_| one.ended) {
                known.orders.remove(&one.order);
            }
            self.reply(one.heard, account, one.reply);
        }
        self.markets[pair].out = out;
    }

    /// Time has come so far, and [`Self::next_due`] is later.
    pub fn reach(&mut self, now: i64) {
        self.reached = self.reached.max(now);
    }

    /// Decides what was due and waits only because nobody hears of it.
    pub fn catch_up(&mut self) {
        for pair in 0..self.markets.len() {
            self.markets[pair].advance(self.reached);
            self.collect(pair);
        }
    }

    /// Decides what is due at a time, and lets replies be heard up to it.
    pub fn advance(&mut self, now: i64) {
        self.now = self.now.max(now);
        self.reach(self.now);
        self.catch_up();
    }

    /// When to call [`Paper::advance`] next; [`i64::MAX`]: nothing waits.
    #[must_use]
    pub fn next_due(&self) -> i64 {
        let heard = self.replies.keys().next().map_or(i64::MAX, |key| key.0);
        self.markets.iter().map(Market::next_due).min().unwrap_or(i64::MAX).min(heard)
    }

    /// The replies that were heard up to the last [`Paper::advance`]: account, time, reply; in the order of time.
    pub fn take_replies(&mut self) -> Vec<(usize, i64, Reply)> {
        let mut taken = Vec::new();
        while let Some(first) = self.replies.first_entry() {
            let heard = first.key().0;
            if heard > self.now {
                break;
            }
            let (account, reply) = first.remove();
            taken.push((account, heard, reply));
        }
        taken
    }

    // Questions.

    /// Asks what would have become of orders of a pair, each as if it were alone: they never see each other, nor any
    /// account. None of them arrives before what was received already. `keeps`: their parts are wanted, not only the sums.
    pub fn ask(&mut self, pair: usize, questions: Vec<Question>, keeps: bool) {
        self.catch_up();
        if let Some(market) = self.markets.get_mut(pair) {
            market.ask(questions, keeps);
        }
    }

    /// Whether questions wait for a verdict.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.markets.iter().any(Market::is_asked)
    }

    /// The data is over: all questions get their verdicts.
    pub fn finish(&mut self) {
        self.markets.iter_mut().for_each(Market::finish);
    }

    /// The verdicts of a pair since the last call; and parts, with the numbers of their questions, if they are kept.
    pub fn take_verdicts(&mut self, pair: usize) -> Option<Taken<'_>> {
        self.markets.get_mut(pair).map(Market::take_verdicts)
    }

    // What is known.

    /// Where an order stands; `None` if it does not rest.
    #[must_use]
    pub fn place(&self, account: usize, order: u64) -> Option<Place> {
        let pair = *self.accounts.get(account)?.orders.get(&order)?;
        self.markets.get(pair)?.place(u32::try_from(account).ok()?, order)
    }

    /// How much of what was traded in a pair the book explains.
    #[must_use]
    pub fn attribution(&self, pair: usize) -> Attribution {
        self.markets.get(pair).map_or_else(Attribution::default, |market| market.record().attribution())
    }

    /// Rows of a pair that could not be taken: numbers that are no steps, orders that are not known, a book that is not.
    #[must_use]
    pub fn skipped(&self, pair: usize) -> u64 {
        self.markets.get(pair).map_or(0, Market::skipped)
    }
}

/// How many decimals numbers at scale 10 have too many of.
#[derive(Debug, Clone, Copy)]
struct Steps {
    price: u8,
    qty: u8,
}

impl Steps {
    fn of(pair: &Pair) -> Self {
        let of = |precision: u8| SCALE.saturating_sub(precision);
        Self { price: of(pair.price_precision), qty: of(pair.qty_precision) }
    }

    fn whole(number: i128, decimals: u8) -> Option<i64> {
        if let Ok(number) = u64::try_from(number) {
            return i64::try_from(Tens::new(decimals)?.divide(number)?).ok();
        }
        // Of a number that 64 bits do not hold, the steps may fit.
        let unit = pow10(decimals);
        i64::try_from(number / unit).ok().filter(|_| number % unit == 0)
    }

    /// A row in steps; `None` if its numbers are no whole steps, or no price and quantity.
    fn change(
        self,
        side: message::Side,
        (price, qty): (i128, i128),
        event: OrderEvent,
        id: Id,
        ts: i64,
    ) -> Option<Change> {
        let price = Price(Self::whole(price, self.price).filter(|price| *price > 0)?);
        let qty = Qty(Self::whole(qty, self.qty).filter(|qty| *qty >= 0)?);
        let side = if side == message::Side::Bid { Side::Buy } else { Side::Sell };
        Some(Change { side, event, id, price, qty, ts })
    }
}
