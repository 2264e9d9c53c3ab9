//! A strategy's account at one exchange: the same on paper and with money. What is to be sent and told comes back as
//! values.
//!
//! Nothing here waits or sends. The caller passes the requests on, brings the replies and the time, and hands the
//! events to the strategy. Refusals are values too: an order that breaks a rule is an order in state `rejected`.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;

use crate::amount::{Amount, Price, Qty};
use crate::limits::{Limits, Market, Recent, Risk, Standing};
use crate::order::{Found, Ignored, Look, Order, State, Until, cost};
use crate::orders::Orders;
use crate::pair::Pair;
use crate::rate::{Cost, RateCounter, Tier};
use crate::report::{Asked, Change, Fill, Reply};
use crate::rules;
use crate::terms::{Request, Sent, Side, Terms};
use crate::wallet::{Balance, Entry, Inventory, Wallet};

/// Nanoseconds.
const SECOND: i64 = 1_000_000_000;
/// A market order to buy holds this much more than the best ask, in millionths: it may walk up the book. One percent is
/// beyond what an order of a size that the limits allow walks in a liquid pair; the fill itself is booked as it comes.
pub const MARKET_MARGIN: i64 = 10_000;
/// Numbers of strange orders that are kept.
const STRANGERS_MAX: usize = 1000;

/// How an account behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Rate counter and open orders that the exchange allows.
    pub tier: Tier,
    /// Bounds; `None`: none, as on paper.
    pub limits: Option<Limits>,
    /// Number of the first order.
    pub first_order: u64,
    /// Orders that earlier runs sent.
    pub sent_before: u64,
    /// So many ended orders are kept, but at least one; older ones are forgotten.
    pub ended_orders: usize,
    /// Time after which an amendment or a cancel without a result is unknown, ns.
    pub answer_wait: i64,
    /// Whether every refusal is final, as in a simulation. Kraken's `EService:Busy` and a few others are not.
    pub certain: bool,
    /// Whether entries are kept for [`Trader::take_entries`].
    pub entries: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tier: Tier::INTERMEDIATE,
            limits: None,
            first_order: 1,
            sent_before: 0,
            ended_orders: usize::MAX,
            answer_wait: 5 * SECOND,
            certain: false,
            entries: false,
        }
    }
}

/// What happened to an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// The exchange took a request. What becomes of it is reported.
    Acked(Asked),
    /// A request was refused, here or by the exchange. A refused `Add` ends the order, the others change nothing.
    Refused(Asked),
    /// A request has no clear answer.
    Unknown,
    /// The exchange reported it. After a fill the strategy hears the fill itself, too.
    Changed(Change),
    /// Somebody looked: this is what it is.
    Resolved,
    /// An order of an earlier run was found.
    Adopted,
}

/// What a strategy hears of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderEvent {
    /// Its number.
    pub order: u64,
    /// What happened.
    pub change: News,
    /// Why; empty where nothing is said.
    pub reason: Arc<str>,
    /// What it was.
    pub before: State,
    /// What it is.
    pub state: State,
    /// Time of the exchange, ns; local time of what happened here.
    pub ts: i64,
}

/// A pair of the account.
#[derive(Debug)]
struct Desk {
    pair: Pair,
    market: Market,
    inventory: Inventory,
    counter: RateCounter,
    /// Numbers of its assets.
    base: usize,
    quote: usize,
    /// Orders that are live, or of whose fills one is missing; oldest first.
    active: Vec<u64>,
}

/// The account.
#[derive(Debug)]
pub struct Trader {
    options: Options,
    pairs: Vec<Desk>,
    wallet: Wallet,
    orders: Orders,
    requests: Vec<Sent>,
    events: Vec<OrderEvent>,
    entries: Vec<Entry>,
    /// When a request may be without an answer, and of which order; it may have one by now.
    dues: BinaryHeap<Reverse<(i64, u64)>>,
    recent: Recent,
    system: Arc<str>,
    heard: i64,
    next_check: i64,
    halted: Option<Arc<str>>,
    /// Why no new risk is taken for now.
    blocked: Option<Arc<str>>,
    ignored: [u64; Ignored::ALL.len()],
    strangers: BTreeSet<u64>,
    /// Orders that were sent, also by earlier runs.
    sent: u64,
    /// The exchange's clock less this one, ns.
    offset: i64,
}

type Checked<T> = Result<T, Arc<str>>;

/// What an order holds: of a buy price × quantity and the fee of taking, of a sell the quantity.
fn needs(pair: &Pair, side: Side, price: Price, qty: Qty) -> Option<Amount> {
    match side {
        Side::Buy => cost(pair, price, qty).map(|cost| cost + pair.fee(cost, false)),
        Side::Sell => Some(pair.amount(qty)),
    }
}

impl Trader {
    /// An account without assets.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let next_check = if options.limits.is_some() { i64::MIN } else { i64::MAX };
        Self {
            sent: options.sent_before,
            orders: Orders::new(options.first_order, options.ended_orders),
            options,
            pairs: Vec::new(),
            wallet: Wallet::default(),
            requests: Vec::new(),
            events: Vec::new(),
            entries: Vec::new(),
            dues: BinaryHeap::new(),
            recent: Recent::default(),
            system: "online".into(),
            heard: i64::MIN,
            next_check,
            halted: None,
            blocked: None,
            ignored: [0; Ignored::ALL.len()],
            strangers: BTreeSet::new(),
            offset: 0,
        }
    }

    /// The exchange's clock is so many ns ahead of this one: deadlines are by its clock.
    pub const fn set_offset(&mut self, offset: i64) {
        self.offset = offset;
    }

    // What the market is.

    /// Adds a pair, or gives a known one new facts (status, fees, minima). Returns its number. A pair whose steps
    /// changed is another one: its old orders keep their steps.
    pub fn set_pair(&mut self, pair: Pair) -> usize {
        let steps = |pair: &Pair| (pair.price_precision, pair.qty_precision, pair.base.clone(), pair.quote.clone());
        if let Some(known) = self.find(&pair.symbol)
            && steps(&self.pairs[known].pair) == steps(&pair)
        {
            self.pairs[known].pair = pair;
            return known;
        }
        let (base, quote) = (self.wallet.asset(&pair.base), self.wallet.asset(&pair.quote));
        let counter = RateCounter::new(self.options.tier);
        let (market, inventory) = (Market::default(), Inventory::default());
        self.pairs.push(Desk { pair, market, inventory, counter, base, quote, active: Vec::new() });
        self.pairs.len() - 1
    }

    /// A pair.
    ///
    /// # Panics
    /// If no pair has this number.
    #[must_use]
    pub fn pair(&self, pair: usize) -> &Pair {
        &self.pairs[pair].pair
    }

    /// The number of the pair with this symbol.
    #[must_use]
    pub fn find(&self, symbol: &str) -> Option<usize> {
        self.pairs.iter().rposition(|desk| *desk.pair.symbol == *symbol)
    }

    /// How many pairs there are.
    #[must_use]
    pub const fn pairs(&self) -> usize {
        self.pairs.len()
    }

    /// The best bid and ask of a pair.
    pub fn touch(&mut self, pair: usize, bid: Option<(Price, Qty)>, ask: Option<(Price, Qty)>) {
        if let Some(desk) = self.pairs.get_mut(pair) {
            (desk.market.bid, desk.market.ask) = (bid, ask);
        }
    }

    /// The last trade of a pair. `ts`: local time or the exchange's, ns.
    pub fn last_trade(&mut self, pair: usize, price: Price, ts: i64) {
        if let Some(desk) = self.pairs.get_mut(pair) {
            desk.market.last = Some((price, ts));
        }
    }

    /// Whether the book of a pair is in sync. Without it no new risk is taken.
    pub fn trust(&mut self, pair: usize, trusted: bool) {
        if let Some(desk) = self.pairs.get_mut(pair) {
            desk.market.trusted = trusted;
        }
    }

    /// A message of the feed came, be it a heartbeat. Only limits look at it.
    pub const fn heard(&mut self, now: i64) {
        self.heard = now;
    }

    /// The state of the exchange: `online`, `cancel_only`, …
    pub fn set_system(&mut self, system: Arc<str>) {
        self.system = system;
    }

    /// What is known of the market of a pair.
    #[must_use]
    pub fn market(&self, pair: usize) -> Market {
        self.pairs.get(pair).map(|desk| desk.market).unwrap_or_default()
    }

    /// What the exchange allows the account, as it says; what was counted stays.
    pub fn set_tier(&mut self, tier: Tier) {
        self.options.tier = tier;
        for desk in &mut self.pairs {
            desk.counter.set_tier(tier);
        }
    }

    /// Takes no new risk until it is told `None`: the account is not known, or the clock is wrong. `why` is what a refusal
    /// says after `krakpot:`.
    pub fn block(&mut self, why: Option<Arc<str>>) {
        self.blocked = why;
    }

    /// Why no new risk is taken for now.
    #[must_use]
    pub const fn blocked(&self) -> Option<&Arc<str>> {
        self.blocked.as_ref()
    }

    // What the account has.

    /// A fill of an earlier run: it counts in what was bought and sold of its pair; balances have it already.
    pub fn restore(&mut self, pair: usize, side: Side, fill: &Fill) {
        if let Some(desk) = self.pairs.get_mut(pair) {
            desk.inventory.fill(&desk.pair, side, fill);
        }
    }

    /// Something comes from outside; negative: it goes.
    pub fn deposit(&mut self, asset: &str, amount: Amount) {
        let entry = self.wallet.deposit(asset, amount);
        if self.options.entries {
            self.entries.push(entry);
        }
    }

    /// What there is of an asset.
    #[must_use]
    pub fn balance(&self, asset: &str) -> Balance {
        self.wallet.of(asset)
    }

    /// What there is of all assets.
    pub fn balances(&self) -> impl Iterator<Item = (&Arc<str>, Balance)> {
        self.wallet.all()
    }

    /// What the fills of a pair made.
    #[must_use]
    pub fn inventory(&self, pair: usize) -> Inventory {
        self.pairs.get(pair).map(|desk| desk.inventory).unwrap_or_default()
    }

    /// What its inventory would bring beyond its cost at the worse of touch and last trade, fees not counted; 0 while
    /// neither is known.
    #[must_use]
    pub fn unrealised(&self, pair: usize) -> Amount {
        let Some(desk) = self.pairs.get(pair) else { return 0 };
        let price = desk.market.worse(desk.inventory.qty);
        price.map_or(0, |price| desk.inventory.unrealised(&desk.pair, price))
    }

    /// The rate counter of a pair as the exchange counts it: its value, and the most that it may be.
    #[must_use]
    pub fn rate(&self, pair: usize, now: i64) -> (f64, u32) {
        let tier = self.options.tier;
        (self.pairs.get(pair).map_or(0.0, |desk| desk.counter.used(now)), tier.limit)
    }

    /// What a request about an order would count now.
    #[must_use]
    pub fn rate_cost(&self, order: u64, asked: Asked, now: i64) -> Option<f64> {
        let age = self.order(order)?.age(now);
        let cost = match asked {
            Asked::Add => Cost::ADD,
            Asked::Amend => Cost::amend(age),
            Asked::Cancel => Cost::cancel(age),
        };
        Some(cost.counts())
    }

    /// An order.
    #[must_use]
    pub fn order(&self, number: u64) -> Option<&Order> {
        self.orders.get(number)
    }

    /// The number that the next order gets.
    #[must_use]
    pub fn next_order(&self) -> u64 {
        self.orders.next()
    }

    /// The live orders of a pair, oldest first; `side`: only of that.
    pub fn orders(&self, pair: usize, side: Option<Side>) -> impl Iterator<Item = &Order> {
        let active = self.pairs.get(pair).map(|desk| &desk.active[..]).unwrap_or_default();
        let orders = active.iter().filter_map(|number| self.order(*number));
        orders.filter(move |order| order.is_live() && side.is_none_or(|side| side == order.terms.side))
    }

    /// All orders that are kept, live and ended: those of earlier runs first.
    pub fn all_orders(&self) -> impl Iterator<Item = &Order> {
        self.orders.all()
    }

    /// Why no new risk is taken any more, if that is so.
    #[must_use]
    pub const fn halted(&self) -> Option<&Arc<str>> {
        self.halted.as_ref()
    }

    /// How many replies changed nothing, by reason.
    pub fn ignored(&self) -> impl Iterator<Item = (Ignored, u64)> {
        Ignored::ALL.into_iter().zip(self.ignored)
    }

    /// Numbers that replies named and no order has; each is to be looked for at the exchange, and adopted.
    pub fn take_strangers(&mut self) -> BTreeSet<u64> {
        std::mem::take(&mut self.strangers)
    }

    /// The requests to be sent, oldest first.
    pub fn take_requests(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.requests)
    }

    /// What the strategy is to hear, oldest first.
    pub fn take_events(&mut self) -> Vec<OrderEvent> {
        std::mem::take(&mut self.events)
    }

    /// The changes of balances, oldest first, if [`Options::entries`] keeps them.
    pub fn take_entries(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.entries)
    }

    // Requests.

    /// Places an order, that the exchange does not match later than `wait` ns after now. Returns its number. One that
    /// breaks a rule is in state `rejected`, with Kraken's text or `krakpot:<limit>`, and nothing is sent.
    pub fn place(&mut self, now: i64, terms: Terms, wait: i64, tag: Arc<str>) -> u64 {
        self.place_as(now, terms, wait, tag, false)
    }

    /// The same for an order whose unusual size is meant.
    pub fn place_confirmed(&mut self, now: i64, terms: Terms, wait: i64, tag: Arc<str>) -> u64 {
        self.place_as(now, terms, wait, tag, true)
    }

    fn place_as(&mut self, now: i64, terms: Terms, wait: i64, tag: Arc<str>, confirmed: bool) -> u64 {
        let number = self.orders.next();
        let until = self.until(now, wait);
        let mut order = Order::new(number, terms, tag, now, until);
        let admitted = self.admit(&terms, now, wait, confirmed);
        match admitted {
            Err(reason) => {
                order.refuse(reason.clone());
                self.orders.push(order);
                self.orders.end(number);
                self.tell(number, News::Refused(Asked::Add), reason, State::Sent, now);
            }
            Ok(price) => {
                order.hold_price = Some(price);
                self.orders.push(order);
                let desk = &mut self.pairs[terms.pair];
                desk.counter.add(Cost::ADD, now);
                desk.active.push(number);
                self.sent += 1;
                if self.options.limits.is_some() {
                    self.recent.add(terms.pair, terms.qty, now);
                }
                let deadline = until.deadline;
                self.requests.push(Sent { ts: now, request: Request::Add { order: number, terms, deadline } });
                self.dues.push(Reverse((until.due, number)));
                self.hold(number);
            }
        }
        number
    }

    /// Asks for another quantity in all, or another price. A refusal is an event.
    pub fn amend(&mut self, now: i64, number: u64, qty: Option<Qty>, price: Option<Price>) {
        match self.may_amend(now, number, qty, price) {
            Err(reason) => self.tell_refusal(number, Asked::Amend, reason, now),
            Ok(cost) => {
                let until = self.until(now, self.options.answer_wait);
                let Some(pair) = self.change(number, |order| order.amend(qty, price, now, until)) else { return };
                self.pairs[pair].counter.add(cost, now);
                let deadline = until.deadline;
                self.requests.push(Sent { ts: now, request: Request::Amend { order: number, qty, price, deadline } });
                self.dues.push(Reverse((until.due, number)));
                self.hold(number);
            }
        }
    }

    /// Asks for an end of an order. A refusal is an event. Cancels are never held back by a limit.
    pub fn cancel(&mut self, now: i64, number: u64) {
        let refusal = match self.order(number) {
            Some(order) if order.is_canceling() => Some(rules::CANCEL_PENDING),
            Some(order) if order.is_live() => None,
            _ => Some(rules::UNKNOWN),
        };
        if let Some(text) = refusal {
            return self.tell_refusal(number, Asked::Cancel, text.into(), now);
        }
        let until = self.until(now, self.options.answer_wait);
        let age = self.order(number).map_or(0, |order| order.age(now));
        let Some(pair) = self.change(number, |order| order.cancel(now, until)) else { return };
        self.pairs[pair].counter.add(Cost::cancel(age), now);
        self.requests.push(Sent { ts: now, request: Request::Cancel { order: number } });
        self.dues.push(Reverse((until.due, number)));
    }

    /// Asks for an end of all live orders, of one pair or of all. One of which the exchange says that it is not open is left
    /// alone: a look says what became of it.
    pub fn cancel_all(&mut self, now: i64, pair: Option<usize>) {
        let pairs = pair.map_or(0..self.pairs.len(), |pair| pair..pair.saturating_add(1));
        let orders = pairs.flat_map(|pair| self.orders(pair, None));
        let asked = |order: &&Order| !order.is_canceling() && !order.is_gone();
        let numbers: Vec<u64> = orders.filter(asked).map(|order| order.number).collect();
        for number in numbers {
            self.cancel(now, number);
        }
    }

    /// Takes no new risk any more and cancels all own orders. The first reason stays.
    pub fn halt(&mut self, now: i64, reason: Arc<str>) {
        self.halted.get_or_insert(reason);
        self.cancel_all(now, None);
    }

    /// So long after now, by both clocks.
    const fn until(&self, now: i64, wait: i64) -> Until {
        let due = now.saturating_add(wait);
        Until { due, deadline: due.saturating_add(self.offset) }
    }

    // Checks.

    fn may_risk(&self, desk: &Desk) -> Checked<()> {
        if let Some(reason) = &self.halted {
            return Err(format!("krakpot:halted: {reason}").into());
        }
        if let Some(why) = &self.blocked {
            return Err(format!("krakpot:{why}").into());
        }
        if !desk.market.trusted {
            return Err(
                "krakpot:stale: the book is not in sync, or the warm-up goes on; only cancels pass until then".into()
            );
        }
        Ok(())
    }

    /// Whether an order may be sent. Returns the worst price at which it is likely to be filled.
    fn admit(&self, terms: &Terms, now: i64, wait: i64, confirmed: bool) -> Checked<Price> {
        let Some(desk) = self.pairs.get(terms.pair) else {
            return Err(format!("krakpot:pair: no pair has the number {}", terms.pair).into());
        };
        self.may_risk(desk)?;
        let pair = &desk.pair;
        rules::form(terms, now, wait)?;
        rules::served(pair, &self.system, terms.post_only, terms.price.is_none())?;
        Self::fits(desk, Cost::ADD, now)?;
        if self.orders(terms.pair, None).count() >= self.options.tier.open_orders {
            let most = self.options.tier.open_orders;
            return Err(format!("{}: {most} may be open in a pair", rules::ORDERS).into());
        }
        let trigger = terms.trigger.map(|trigger| trigger.price);
        let touch = if terms.side == Side::Buy { desk.market.ask } else { desk.market.bid };
        let Some(valued) = terms.price.or(trigger).or(touch.map(|touch| touch.0)) else {
            return Err("krakpot:no_price: the other side of the book is empty; a market order has no price".into());
        };
        let named: Vec<Price> = terms.price.into_iter().chain(trigger).collect();
        rules::sizes(pair, &named, valued, terms.qty)?;
        let worst = match (terms.price, terms.side) {
            (Some(price), _) => price,
            (None, Side::Sell) => valued,
            (None, Side::Buy) => {
                let more = (i128::from(valued.0) * i128::from(MARKET_MARGIN) + 999_999) / 1_000_000;
                Price(i64::try_from(i128::from(valued.0) + more).unwrap_or(i64::MAX))
            }
        };
        self.funded(desk, terms.side, needs(pair, terms.side, worst, terms.qty), 0)?;
        let risk = Risk {
            now,
            pair,
            market: &desk.market,
            side: terms.side,
            qty: terms.qty,
            price: worst,
            trigger,
            new: true,
            confirmed,
        };
        self.limited(&risk, terms.pair, None)?;
        Ok(worst)
    }

    /// Whether an order may be amended. Returns what that counts.
    fn may_amend(&self, now: i64, number: u64, qty: Option<Qty>, price: Option<Price>) -> Checked<Cost> {
        let Some(order) = self.order(number).filter(|order| order.is_live()) else { return Err(rules::UNKNOWN.into()) };
        let Some(desk) = self.pairs.get(order.terms.pair) else { return Err(rules::UNKNOWN.into()) };
        let side = order.terms.side;
        match order.state() {
            State::Unknown => {
                return Err("krakpot:unknown: it may have ended; cancel it, or wait for what it is".into());
            }
            State::Canceling => return Err(rules::CANCEL_PENDING.into()),
            State::Amending => return Err("krakpot:amending: its last amendment has no result yet".into()),
            _ => {}
        }
        let (new_qty, new_price) = (qty.unwrap_or(order.qty), price.or(order.price));
        if qty.is_none() && price.is_none() {
            return Err(rules::INVALID.into());
        }
        if !new_qty.is_positive() {
            return Err(format!("{}:volume", rules::INVALID).into());
        }
        if price.is_some() && order.terms.price.is_none() {
            return Err(format!("{}:price", rules::INVALID).into());
        }
        let age = order.age(now);
        if new_qty <= order.filled {
            // It takes risk away: what is left of the order is cancelled.
            Self::fits(desk, Cost::amend_away(age), now)?;
            if price.is_some_and(|price| price.0 <= 0) {
                return Err("EOrder:Invalid price".into());
            }
            return Ok(Cost::amend_away(age));
        }
        let more = new_qty > order.qty || new_price != order.price;
        if more {
            self.may_risk(desk)?;
        }
        rules::served(&desk.pair, &self.system, order.terms.post_only, order.terms.price.is_none())?;
        Self::fits(desk, Cost::amend(age), now)?;
        let (left, worst) = (new_qty - order.booked, new_price.or(order.hold_price).unwrap_or_default());
        let named: Vec<Price> = new_price.into_iter().collect();
        rules::sizes(&desk.pair, &named, worst, new_qty)?;
        if order.terms.display.is_some_and(|display| i128::from(display.0) * 15 < i128::from(new_qty.0)) {
            return Err(format!("{}:displayvol", rules::INVALID).into());
        }
        if more {
            let held = self.wallet.held(number);
            self.funded(desk, side, needs(&desk.pair, side, worst, left), held)?;
            let risk = Risk {
                now,
                pair: &desk.pair,
                market: &desk.market,
                side,
                qty: left,
                price: worst,
                trigger: order.terms.trigger.filter(|_| !order.triggered).map(|trigger| trigger.price),
                new: false,
                confirmed: true,
            };
            self.limited(&risk, order.terms.pair, Some(number))?;
        }
        Ok(Cost::amend(age))
    }

    fn fits(desk: &Desk, cost: Cost, now: i64) -> Checked<()> {
        desk.counter.fits(cost, now).map_err(|at| format!("{}: it fits at {at} ns", rules::RATE).into())
    }

    /// Whether there is enough of what an order holds. `held`: what it holds already.
    fn funded(&self, desk: &Desk, side: Side, needs: Option<Amount>, held: Amount) -> Checked<()> {
        let (asset, name) = match side {
            Side::Buy => (desk.quote, &desk.pair.quote),
            Side::Sell => (desk.base, &desk.pair.base),
        };
        let free = self.wallet.balance(asset).free() + held;
        match needs {
            Some(needs) if needs <= free => Ok(()),
            Some(needs) => {
                let (needs, free) = (rules::amount(needs, name), rules::amount(free, name));
                Err(format!("{}: it needs {needs}; {free} are free", rules::FUNDS).into())
            }
            None => Err(format!("{}:volume", rules::INVALID).into()),
        }
    }

    /// Asks the limits. `but`: the order that is amended.
    fn limited(&self, risk: &Risk, pair: usize, but: Option<u64>) -> Checked<()> {
        let Some(limits) = &self.options.limits else { return Ok(()) };
        let mut standing = Standing { heard: self.heard, sent: self.sent, ..Standing::default() };
        for (number, desk) in self.pairs.iter().enumerate() {
            let orders = desk.active.iter().filter_map(|number| self.order(*number));
            let same_base = desk.base == self.pairs[pair].base;
            if same_base {
                standing.inventory += desk.pair.amount(desk.inventory.qty);
            }
            for order in orders.filter(|order| Some(order.number) != but) {
                standing.open_orders += usize::from(order.is_live());
                if same_base && order.terms.side == risk.side {
                    standing.at_stake += desk.pair.amount(order.at_stake());
                }
                let waits = order.terms.trigger.is_some() && !order.triggered;
                if number == pair
                    && order.terms.side != risk.side
                    && order.is_live()
                    && !waits
                    && let Some(own) = order.worst()
                    && standing.own.is_none_or(|best| order.terms.side.better(own, best))
                {
                    standing.own = Some(own);
                }
            }
        }
        limits.check(risk, &standing, &self.recent, pair)
    }

    // Replies and time.

    /// An answer or a report.
    ///
    /// # Errors
    /// Why it changes nothing; that is counted, and needs no more of the caller.
    pub fn reply(&mut self, now: i64, reply: Reply) -> Result<(), Ignored> {
        let result = self.apply(now, reply);
        self.count(result)
    }

    fn count(&mut self, result: Result<(), Ignored>) -> Result<(), Ignored> {
        if let Err(why) = result {
            self.ignored[why as usize] += 1;
        }
        result
    }

    fn apply(&mut self, now: i64, reply: Reply) -> Result<(), Ignored> {
        let number = match &reply {
            Reply::Answer(answer) => answer.order,
            Reply::Report(report) => report.order,
        };
        let certain = self.options.certain;
        let Some(order) = self.orders.get_mut(number) else {
            if self.orders.is_known(number) {
                return Err(Ignored::Ended);
            }
            if self.strangers.len() < STRANGERS_MAX {
                self.strangers.insert(number);
            }
            return Err(Ignored::Stranger);
        };
        let (before, claims) = (order.state(), order.claims());
        // An order of no pair was refused here, and never sent.
        let desk = self.pairs.get_mut(order.terms.pair).ok_or(Ignored::Ended)?;
        let (change, reason, ts) = match reply {
            Reply::Answer(answer) => {
                order.answer(&answer, certain)?;
                match answer.result {
                    Ok(_) => (News::Acked(answer.asked), Arc::from(""), answer.ts),
                    Err(text) if order.state() == State::Unknown => (News::Unknown, text, answer.ts),
                    Err(text) => (News::Refused(answer.asked), text, answer.ts),
                }
            }
            Reply::Report(report) => {
                order.report(&desk.pair, &report)?;
                if let Change::Fill(fill) = &report.change {
                    let what = (number, order.terms.side, report.ts);
                    let entries = self.wallet.fill(&desk.pair, &mut desk.inventory, what, fill);
                    if self.options.entries {
                        self.entries.extend(entries);
                    }
                }
                (News::Changed(report.change), report.reason, report.ts)
            }
        };
        let filled = matches!(change, News::Changed(Change::Fill(_)));
        // Most replies say nothing about money.
        if claims != order.claims() || !order.is_live() {
            self.settle(number);
        }
        self.tell(number, change, reason, before, ts);
        if filled {
            self.check_loss(now);
        }
        Ok(())
    }

    /// What somebody found who looked for an order at the exchange.
    ///
    /// # Errors
    /// Why that changes nothing.
    pub fn resolve(&mut self, now: i64, number: u64, look: &Look) -> Result<(), Ignored> {
        let result = self.resolve_as(now, number, look, News::Resolved);
        self.count(result)
    }

    fn resolve_as(&mut self, now: i64, number: u64, look: &Look, change: News) -> Result<(), Ignored> {
        let order = self.orders.get_mut(number);
        let order = order.ok_or(Ignored::Stranger)?;
        let before = order.state();
        let desk = self.pairs.get_mut(order.terms.pair).ok_or(Ignored::Ended)?;
        let (fills, ts) = match look {
            Look::Found(found) => (order.found(&desk.pair, found)?, found.ts),
            Look::NotFound { ts } => {
                order.not_found(*ts)?;
                (Vec::new(), *ts)
            }
        };
        let what = (number, order.terms.side, ts);
        let reason = order.reason.clone();
        for fill in &fills {
            let entries = self.wallet.fill(&desk.pair, &mut desk.inventory, what, fill);
            if self.options.entries {
                self.entries.extend(entries);
            }
        }
        self.settle(number);
        self.tell(number, change, reason, before, ts);
        let state = self.order(number).map_or(before, Order::state);
        let any = !fills.is_empty();
        for fill in fills {
            self.tell(number, News::Changed(Change::Fill(fill)), "".into(), state, ts);
        }
        if any {
            self.check_loss(now);
        }
        Ok(())
    }

    /// Takes over an order of an earlier run that was found at the exchange. `known`: its fills of earlier runs, which the
    /// balances have already.
    ///
    /// # Errors
    /// Why it is none of this account's.
    pub fn adopt(
        &mut self,
        now: i64,
        number: u64,
        terms: Terms,
        tag: Arc<str>,
        found: Found,
        known: &[Fill],
    ) -> Result<(), Ignored> {
        let Some(desk) = self.pairs.get_mut(terms.pair) else { return self.count(Err(Ignored::Stranger)) };
        let order = Order::adopted(number, terms, tag, &found, &desk.pair, known);
        if !self.orders.adopt(order) {
            return self.count(Err(Ignored::Stranger));
        }
        desk.active.push(number);
        let result = self.resolve_as(now, number, &Look::Found(found), News::Adopted);
        if result.is_err() {
            self.orders.disown(number);
            self.pairs[terms.pair].active.retain(|active| *active != number);
        }
        self.strangers.remove(&number);
        self.count(result)
    }

    /// The exchange shows an order that was believed to be rejected: it counts as open again, until it is known what it is.
    pub fn revive(&mut self, number: u64) {
        let Some(order) = self.orders.get_mut(number).filter(|order| order.state() == State::Rejected) else { return };
        let (before, ts) = (order.state(), order.ended.unwrap_or(order.sent));
        order.revive();
        if let Some(desk) = self.pairs.get_mut(order.terms.pair) {
            desk.active.push(number);
        }
        self.orders.revive(number);
        self.hold(number);
        self.tell(number, News::Unknown, "krakpot:revived: it was believed to be rejected".into(), before, ts);
    }

    /// It is so late.
    pub fn advance(&mut self, now: i64) {
        while let Some(Reverse((due, number))) = self.dues.peek().copied()
            && due <= now
        {
            self.dues.pop();
            let order = self.orders.get_mut(number);
            let Some(order) = order else { continue };
            let before = order.state();
            if order.advance(now) {
                self.tell(number, News::Unknown, "".into(), before, now);
            }
        }
        if self.next_check <= now {
            self.check_loss(now);
            self.next_check = now.saturating_add(SECOND);
        }
    }

    /// The local time at which [`Trader::advance`] is to be called at the latest, ns; earlier is never wrong.
    #[must_use]
    pub fn next_due(&self) -> i64 {
        self.dues.peek().map_or(i64::MAX, |Reverse((due, _))| *due).min(self.next_check)
    }

    fn check_loss(&mut self, now: i64) {
        let Some(limits) = &self.options.limits else { return };
        let pairs = self.pairs.iter().map(|desk| (&desk.pair, &desk.market, &desk.inventory));
        if let Err(halt) = limits.loss(pairs)
            && self.halted.is_none()
        {
            self.halt(now, halt.reason);
        }
    }

    // What follows from a change.

    /// Changes a live order. Returns the number of its pair.
    fn change(&mut self, number: u64, change: impl FnOnce(&mut Order)) -> Option<usize> {
        let order = self.orders.get_mut(number)?;
        change(order);
        Some(order.terms.pair)
    }

    /// Lets an order hold what it may still use.
    fn hold(&mut self, number: u64) {
        let Some(order) = self.order(number) else { return };
        let Some(desk) = self.pairs.get(order.terms.pair) else { return };
        let side = order.terms.side;
        let asset = if side == Side::Buy { desk.quote } else { desk.base };
        let [now, asked] = order.claims();
        let amount = |(price, left): (Option<Price>, Qty)| {
            let needs = left.is_positive().then(|| needs(&desk.pair, side, price.unwrap_or_default(), left));
            needs.flatten().unwrap_or(0)
        };
        let amount = if now == asked { amount(now) } else { amount(now).max(amount(asked)) };
        self.wallet.hold(number, asset, amount);
    }

    /// After a change: what it holds, and whether it is still active.
    fn settle(&mut self, number: u64) {
        self.hold(number);
        let Some(order) = self.order(number) else { return };
        if !order.is_live() && !order.at_stake().is_positive() {
            let pair = order.terms.pair;
            if let Some(desk) = self.pairs.get_mut(pair)
                && let Some(place) = desk.active.iter().position(|active| *active == number)
            {
                desk.active.remove(place);
                self.orders.end(number);
            }
        }
    }

    fn tell(&mut self, order: u64, change: News, reason: Arc<str>, before: State, ts: i64) {
        let state = self.order(order).map_or(State::Unknown, Order::state);
        self.events.push(OrderEvent { order, change, reason, before, state, ts });
    }

    fn tell_refusal(&mut self, number: u64, asked: Asked, reason: Arc<str>, now: i64) {
        let before = self.order(number).map_or(State::Unknown, Order::state);
        self.tell(number, News::Refused(asked), reason, before, now);
    }
}
