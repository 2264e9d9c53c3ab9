//! The account's orders: accepted or refused, in the market, amended, cancelled, expired; and what follows for its assets.
//!
//! Every change leaves news: rows for those who follow the account.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::amount::{self, Rounding};
use crate::engine::{Arrival, Arrived, Order, Side, Wait};
use crate::fanout::{DELISTED, Fanout, first_id};
use crate::market::OwnFill;
use crate::own::{Amended, ClientId, OrderKind, OwnOrder, Stage, State, Terms, TimeInForce, cost, first_number, hold};
use crate::pairs::Pair;
use crate::rate::{self, RateCounter};
use crate::report::{self, OwnTrade};
use crate::settings::Settings;
use crate::terms::Asked;
use crate::wallet::{Wallet, text_id};

/// Orders that ended, and fills, that are kept; the oldest are forgotten first.
const KEPT_MAX: usize = 100_000;
/// Least quantity of an order, in units of the last decimal, as the instrument channel says.
const QTY_MIN: i64 = 1000;
/// Least price × quantity, in hundredths of the quote asset.
const COST_MIN: i128 = 50;
/// Volume is that of the last 30 days, ns.
const MONTH: i64 = 30 * 86_400 * 1_000_000_000;
/// Ids of fills, and of amendments, are of kinds of their own.
const EXEC_IDS: u64 = 2 << 60;
const AMEND_IDS: u64 = 3 << 60;

/// Kraken's texts.
pub const UNKNOWN: &str = "EOrder:Unknown order";
/// More than the account has free.
pub const FUNDS: &str = "EOrder:Insufficient funds";
/// A post-only order would take.
pub const POST_ONLY: &str = "EOrder:Post only order";
const LIMITED: &str = "EOrder:Rate limit exceeded";
/// Reasons of reports. Kraken's for the last six are not known.
/// As Kraken says it.
pub const BY_USER: &str = "User requested";
/// The same of an order that was edited.
pub const REPLACED: &str = "Order replaced";
const POST: &str = "Post only order";
const IMMEDIATE: &str = "Immediate or cancel";
const ALL: &str = "Fill or kill";
const SELF_TRADE: &str = "Self trade prevention";
const DEAD_MAN: &str = "Cancel all orders after timeout";
const NO_FUNDS: &str = "Insufficient funds";
const NO_MARKET: &str = "Market restarted";

/// A row for those who follow a channel of the account.
#[derive(Debug)]
pub struct News {
    /// Number of the pair of a report, and the value of its rate counter; `None`: a change of a balance.
    pub report: Option<(usize, f64)>,
    /// Whether followers without `order_status` get it too.
    pub always: bool,
    /// The row, without its closing brace.
    pub row: Vec<u8>,
}

/// Which orders a request means.
#[derive(Debug, Clone)]
pub enum Which {
    /// `order_id`.
    Id(String),
    /// `cl_ord_id`.
    Name(String),
    /// `order_userref`: all of them.
    Number(i64),
}

/// The account's orders and assets.
#[derive(Debug)]
pub struct Desk {
    /// How it behaves.
    pub settings: Settings,
    /// Fee of a resting order and of one that takes, in millionths, as they are now.
    pub fees: [i128; 2],
    /// Its assets.
    pub wallet: Wallet,
    /// Its orders, open and ended.
    pub orders: BTreeMap<u64, OwnOrder>,
    /// Its fills, oldest first.
    pub trades: VecDeque<OwnTrade>,
    /// What followers are to be told, in order.
    pub news: Vec<News>,
    /// When the account's orders are all cancelled, ns.
    pub dead_man: Option<i64>,
    /// When something is due next, ns.
    pub next_due: i64,
    /// Numbers of the orders that can still change.
    pub alive: BTreeSet<u64>,
    ended: VecDeque<u64>,
    ids: HashMap<String, u64>,
    names: HashMap<String, u64>,
    counters: HashMap<usize, RateCounter>,
    next_number: u64,
    made: u64,
}

impl Desk {
    /// An account without orders, on an exchange that begins at `start`, ns.
    #[must_use]
    pub fn new(settings: Settings, start: i64) -> Self {
        Self {
            fees: settings.fees_of(settings.volume.unwrap_or(0)),
            wallet: Wallet::new(&settings.balances),
            settings,
            orders: BTreeMap::new(),
            trades: VecDeque::new(),
            news: Vec::new(),
            dead_man: None,
            next_due: i64::MAX,
            alive: BTreeSet::new(),
            ended: VecDeque::new(),
            ids: HashMap::new(),
            names: HashMap::new(),
            counters: HashMap::new(),
            next_number: first_number(start),
            made: 0,
        }
    }

    /// Orders that can still change.
    pub fn open(&self) -> impl Iterator<Item = &OwnOrder> {
        self.alive.iter().filter_map(|number| self.orders.get(number))
    }

    /// Numbers of the open orders that a request means.
    #[must_use]
    pub fn find(&self, which: &Which) -> Vec<u64> {
        let found: Vec<u64> = match which {
            Which::Id(id) => self.ids.get(id).copied().into_iter().collect(),
            Which::Name(name) => self.names.get(name).copied().into_iter().collect(),
            Which::Number(number) => {
                let named = |order: &&OwnOrder| order.terms.client == ClientId::Number(*number);
                self.open().filter(named).map(|order| order.number).collect()
            }
        };
        found.into_iter().filter(|number| self.alive.contains(number)).collect()
    }

    // The rate counter.

    /// The rate counter of a pair.
    pub fn counter(&mut self, pair: usize) -> &mut RateCounter {
        self.counters.entry(pair).or_default()
    }

    /// Value of a pair's rate counter.
    pub fn counted(&mut self, pair: usize, now: i64) -> f64 {
        let tier = self.settings.tier;
        self.counter(pair).now(now, &tier)
    }

    /// Counts the fixed part of a request; refuses it if all of it is too much.
    ///
    /// # Errors
    /// Kraken's text.
    pub fn count(&mut self, pair: usize, (fixed, more): (f64, f64), now: i64) -> Result<(), String> {
        let (tier, at) = (self.settings.tier, self.settings.is_other("threshold"));
        let counter = self.counter(pair);
        let exceeded = counter.exceeded(fixed + more, now, &tier, at);
        counter.add(fixed);
        if exceeded { Err(LIMITED.to_owned()) } else { Ok(()) }
    }

    // New orders.

    /// Whether the market of a pair takes this request in its state, and that of the exchange.
    ///
    /// # Errors
    /// Kraken's text.
    pub fn is_served(fanout: &Fanout, pair: usize, system: &str, post_only: bool, market: bool) -> Result<(), String> {
        for state in [system, fanout.listings[pair].market.pair.status] {
            match state {
                "online" => {}
                "post_only" if post_only => {}
                "limit_only" if !market => {}
                "maintenance" | "work_in_progress" | DELISTED => return Err("EService:Unavailable".to_owned()),
                other => return Err(format!("EService:Market in {other} mode")),
            }
        }
        Ok(())
    }

    /// What an order holds when it arrives, or must at least be there.
    pub fn needs(&self, fanout: &Fanout, terms: &Terms, qty: i64) -> i128 {
        let market = &fanout.listings[terms.pair].market;
        let ([_, taker], rate) = (self.fees, self.held_rate());
        let price = terms.limit.or(terms.trigger.map(|trigger| trigger.0));
        match price {
            Some(price) => hold(&market.pair, terms.side, price, qty, (rate, terms.base_fee)),
            None if terms.side == Side::Sell => hold(&market.pair, Side::Sell, 1, qty, (taker, terms.base_fee)),
            None => {
                let levels = market.engine.takes(&arrival(0, terms, qty, None));
                let of =
                    |&(price, qty): &(i64, i64)| hold(&market.pair, Side::Buy, price, qty, (taker, terms.base_fee));
                levels.iter().map(of).sum()
            }
        }
    }

    /// What is wrong with an order, in the order in which it is looked for; the rate counter was asked before.
    ///
    /// # Errors
    /// Kraken's text.
    pub fn check(&self, fanout: &Fanout, asked: &Asked) -> Result<(), String> {
        let terms = &asked.terms;
        let market = &fanout.listings[terms.pair].market;
        if self.open().filter(|order| order.terms.pair == terms.pair).count() >= self.settings.tier.orders {
            return Err("EOrder:Orders limit exceeded".to_owned());
        }
        if let ClientId::Name(name) = &terms.client
            && self.names.contains_key(name)
        {
            return Err("EGeneral:Invalid arguments:cl_ord_id".to_owned());
        }
        if let Some(error) = &asked.price {
            return Err(error.clone());
        }
        let qty = Self::quantity(fanout, terms);
        Self::check_sizes(market.best(terms.side.other()), &market.pair, terms, qty)?;
        if self.needs(fanout, terms, qty) > self.wallet.free(held_asset(&market.pair, terms.side)) {
            return Err(FUNDS.to_owned());
        }
        let takes = terms.begins.is_none() && market.engine.crosses(terms.side, terms.limit);
        if terms.post_only && takes && !self.settings.is_other("post_only") {
            return Err(POST_ONLY.to_owned());
        }
        if terms.time_in_force == TimeInForce::Fok && self.settings.is_other("fok") {
            let found: i64 = market.engine.takes(&arrival(0, terms, qty, None)).iter().map(|take| take.1).sum();
            if found < qty {
                return Err("EOrder:Invalid order".to_owned());
            }
        }
        Ok(())
    }

    /// Whether an order is large enough.
    ///
    /// # Errors
    /// Kraken's text.
    pub fn check_sizes(best: Option<(i64, i64)>, pair: &Pair, terms: &Terms, qty: i64) -> Result<(), String> {
        if qty < QTY_MIN {
            return Err("EOrder:Order minimum not met".to_owned());
        }
        let price = terms.limit.or(terms.trigger.map(|trigger| trigger.0)).or(best.map(|best| best.0));
        let least = COST_MIN * amount::pow10(amount::precision(&pair.quote) - 2);
        if price.is_some_and(|price| cost(pair, price, qty, Rounding::HalfEven) < least) {
            return Err("EOrder:Cost minimum not met".to_owned());
        }
        Ok(())
    }

    /// Quantity of an order: one that is bought for an amount gets what that amount buys now.
    fn quantity(fanout: &Fanout, terms: &Terms) -> i64 {
        let Some(mut cash) = terms.cash else { return terms.qty };
        let market = &fanout.listings[terms.pair].market;
        let mut all = 0;
        for (price, qty) in market.engine.takes(&arrival(0, terms, i64::MAX, None)) {
            let whole = cost(&market.pair, price, qty, Rounding::Up);
            if whole > cash {
                // Units that the rest pays for, rounded down.
                let decimals = market.pair.price_precision + market.pair.qty_precision;
                let money = amount::precision(&market.pair.quote);
                let (up, down) =
                    (amount::pow10(decimals.saturating_sub(money)), amount::pow10(money.saturating_sub(decimals)));
                let rest = cash.saturating_mul(up) / down / i128::from(price);
                return all + i64::try_from(rest).unwrap_or(0).min(qty);
            }
            (all, cash) = (all + qty, cash - whole);
        }
        all
    }

    /// Takes an order that was checked; returns its id.
    pub fn place(&mut self, fanout: &mut Fanout, mut terms: Terms) -> String {
        let (now, clock) = (fanout.outbox.now, stamp(fanout));
        terms.qty = Self::quantity(fanout, &terms);
        let held = if terms.kind == OrderKind::Market { 0 } else { self.needs(fanout, &terms, terms.qty) };
        let number = self.next_number;
        self.next_number += 1;
        let pair = fanout.listings[terms.pair].market.pair.clone();
        let id = text_id(b'O', first_id(terms.pair) + number);
        let state = State {
            ts: now,
            clock,
            stage: Stage::Scheduled,
            qty: terms.qty,
            limit: terms.limit,
            display: terms.display,
            trigger: terms.trigger.map(|trigger| trigger.0),
            filled: 0,
            cost: 0,
            worth: 0,
            fee: 0,
            held,
            amended: false,
            reason: None,
        };
        self.wallet.hold(held_asset(&pair, terms.side), held);
        if let ClientId::Name(name) = &terms.client {
            self.names.insert(name.clone(), number);
        }
        let begins = terms.begins.is_some_and(|begins| begins > clock);
        let first = self.amended(now, [terms.qty; 2], &state);
        let mut order = OwnOrder {
            number,
            id: id.clone(),
            pair,
            terms,
            created: clock,
            aged: now,
            now: state,
            history: Vec::new(),
            amends: vec![first],
            fills: Vec::new(),
        };
        order.keep((now, clock));
        self.ids.insert(id.clone(), number);
        self.tell(&order, false, report::pending(&order, clock), now);
        self.orders.insert(number, order);
        self.alive.insert(number);
        if !begins {
            self.activate(fanout, number);
        }
        self.find_next_due(fanout);
        id
    }

    /// An amendment of now, with an id of its own.
    pub fn amended(&mut self, ts: i64, qty: [i64; 2], state: &State) -> Amended {
        self.made += 1;
        Amended { id: text_id(b'T', AMEND_IDS + self.made), ts, qty, limit: state.limit, display: state.display }
    }

    fn tell(&mut self, order: &OwnOrder, always: bool, row: Vec<u8>, now: i64) {
        let counted = self.counted(order.terms.pair, now);
        self.news.push(News { report: Some((order.terms.pair, counted)), always, row });
    }

    /// Tells of an order as it is now, and keeps that.
    pub fn changed(&mut self, times: (i64, i64), number: u64, always: bool, row: impl FnOnce(&OwnOrder) -> Vec<u8>) {
        let Some(mut order) = self.orders.remove(&number) else { return };
        order.keep(times);
        let row = row(&order);
        self.tell(&order, always, row, times.0);
        self.orders.insert(number, order);
    }

    /// An order is in force: in the market, or waiting for its price.
    fn activate(&mut self, fanout: &mut Fanout, number: u64) {
        let (now, stamp) = (fanout.outbox.now, stamp(fanout));
        let Some(order) = self.orders.get_mut(&number) else { return };
        let waits = order.now.trigger.is_some();
        order.now.stage = if waits { Stage::Untriggered } else { Stage::Open };
        self.changed((now, stamp), number, true, |order| report::new(order, stamp));
        if waits { self.watch_all(fanout) } else { self.enter(fanout, number) }
    }

    /// Lets an order into the market.
    fn enter(&mut self, fanout: &mut Fanout, number: u64) {
        let Some(order) = self.orders.get(&number) else { return };
        let (pair, left) = (order.terms.pair, order.left());
        let mut terms = order.terms.clone();
        (terms.limit, terms.display) = (order.now.limit, order.now.display);
        if terms.kind == OrderKind::Market || terms.kind.stops().is_some_and(|_| terms.limit.is_none()) {
            // The book may have moved since the price was named.
            terms.trigger = None;
            let held = order.now.held;
            if self.needs(fanout, &terms, left) > self.wallet.free(held_asset(&order.pair, terms.side)) + held {
                return self.end(fanout, number, Stage::Canceled, Some(NO_FUNDS));
            }
        }
        if terms.post_only && fanout.listings[pair].market.engine.crosses(terms.side, terms.limit) {
            return self.end(fanout, number, Stage::Canceled, Some(POST));
        }
        let arrival = arrival(number, &terms, left, terms.limit);
        let taker = (number, terms.side, terms.limit.is_none());
        let arrived = fanout.act_for(pair, taker, |engine, ts| engine.arrive(&arrival, ts));
        self.settle(fanout, pair);
        self.arrived(fanout, number, arrived);
        self.watch(fanout, pair);
    }

    /// What becomes of an order after its fills.
    pub fn arrived(&mut self, fanout: &Fanout, number: u64, arrived: Arrived) {
        let Some(order) = self.orders.get(&number) else { return };
        let reason = match arrived {
            Arrived::Filled | Arrived::Rests(_) => return,
            Arrived::SelfTrade(_) => SELF_TRADE,
            Arrived::Unfilled(_) if order.terms.time_in_force == TimeInForce::Fok => ALL,
            Arrived::Unfilled(_) => IMMEDIATE,
        };
        self.end(fanout, number, Stage::Canceled, Some(reason));
    }

    // Fills.

    /// Books the fills of the last step of a pair's market, and the orders that a self-trade cancelled.
    pub fn settle(&mut self, fanout: &mut Fanout, pair: usize) {
        let market = &mut fanout.listings[pair].market;
        let (mut fills, prevented) = (std::mem::take(&mut market.own), std::mem::take(&mut market.engine.prevented));
        if self.settings.is_other("trades") {
            fills = by_price(fills);
        }
        for fill in &fills {
            self.fill(fanout, fill);
        }
        for number in prevented {
            self.end(fanout, number, Stage::Canceled, Some(SELF_TRADE));
        }
    }

    fn fill(&mut self, fanout: &Fanout, fill: &OwnFill) {
        let now = fanout.outbox.now;
        let Some(mut order) = self.orders.remove(&fill.order) else { return };
        let (price, qty, side) = (fill.trade.price, fill.trade.qty, order.terms.side);
        let (quote_decimals, base_decimals) = order.precisions();
        let money = cost(&order.pair, price, qty, Rounding::HalfEven);
        let goods = amount::rescale(qty.into(), order.pair.qty_precision, base_decimals, Rounding::HalfEven);
        let rate = self.fees[usize::from(!fill.maker)];
        let rounding = if self.settings.is_other("fees") { Rounding::HalfEven } else { Rounding::Up };
        let base_fee = order.terms.base_fee;
        let exact = if base_fee {
            (i128::from(qty) * rate, order.pair.qty_precision + 6, base_decimals)
        } else {
            let value = i128::from(price) * i128::from(qty) * rate;
            (value, order.pair.price_precision + order.pair.qty_precision + 6, quote_decimals)
        };
        let fee = amount::rescale(exact.0, exact.1, exact.2, rounding);
        order.now.filled += qty;
        order.now.cost += money;
        order.now.worth += i128::from(price) * i128::from(qty);
        order.now.fee += fee;
        // What it no longer holds is free, or was spent.
        let (rate, price_held) = (self.held_rate(), order.now.limit.or(order.now.trigger));
        let held = match price_held {
            Some(price) => hold(&order.pair, side, price, order.left(), (rate, base_fee)),
            None => 0,
        };
        self.wallet.hold(held_asset(&order.pair, side), held - order.now.held);
        order.now.held = held;
        self.made += 1;
        let exec_id = text_id(b'T', EXEC_IDS + self.made);
        let sign = if side == Side::Buy { 1 } else { -1 };
        let stamp = fanout.outbox.stamp(fill.trade.ts);
        let fees = if base_fee { (fee, 0) } else { (0, fee) };
        let mut entries = [String::new(), String::new()];
        let mut rows = Vec::new();
        for (at, (asset, change)) in
            [(&order.pair.base, (sign * goods, fees.0)), (&order.pair.quote, (-sign * money, fees.1))]
                .into_iter()
                .enumerate()
        {
            let entry = self.wallet.book(asset, change, &exec_id, (now, stamp));
            entries[at].clone_from(&entry.id);
            rows.push(report::entry(entry));
        }
        let (number, maker, mut trade) = (order.number, fill.maker, fill.trade);
        trade.ts = stamp;
        let trade = OwnTrade { exec_id, order: number, at: now, trade, maker, cost: money, fee, entries };
        order.fills.push(trade.exec_id.clone());
        order.keep((now, stamp));
        let row = report::trade(&order, &trade);
        self.tell(&order, true, row, now);
        self.news.extend(rows.into_iter().map(|row| News { report: None, always: true, row }));
        if self.trades.len() == KEPT_MAX {
            self.trades.pop_front();
        }
        self.trades.push_back(trade);
        let done = order.left() == 0;
        if fill.refill > 0 {
            let row = report::refilled(&order, fill.refill, stamp);
            self.tell(&order, false, row, now);
        }
        self.orders.insert(number, order);
        self.find_fees(now);
        if done {
            self.end(fanout, number, Stage::Filled, None);
        }
    }

    /// What was traded for USD in the last 30 days, in units of the last decimal.
    #[must_use]
    pub fn volume(&self, now: i64) -> i128 {
        let dollars = |trade: &&OwnTrade| self.orders.get(&trade.order).is_some_and(|order| order.pair.quote == "USD");
        let recent = self.trades.iter().rev().take_while(|trade| trade.at > now - MONTH).filter(dollars);
        recent.map(|trade| trade.cost).sum::<i128>() + self.settings.volume.unwrap_or(0)
    }

    /// Looks which fees hold from now on.
    fn find_fees(&mut self, now: i64) {
        if self.settings.volume.is_some() {
            self.fees = self.settings.fees_of(self.volume(now));
        }
    }

    fn held_rate(&self) -> i128 {
        let [maker, taker] = self.fees;
        if self.settings.is_other("hold") { maker } else { taker }
    }

    /// Ends an order that is not in the market any more.
    fn end(&mut self, fanout: &Fanout, number: u64, stage: Stage, reason: Option<&'static str>) {
        let (now, stamp) = (fanout.outbox.now, stamp(fanout));
        let Some(order) = self.orders.get_mut(&number).filter(|order| order.now.stage.is_alive()) else { return };
        let held = std::mem::take(&mut order.now.held);
        (order.now.stage, order.now.reason) = (stage, reason);
        if let ClientId::Name(name) = &order.terms.client {
            self.names.remove(name);
        }
        let asset = order.holds().to_owned();
        self.wallet.hold(&asset, -held);
        self.alive.remove(&number);
        self.changed((now, stamp), number, true, |order| report::ended(order, stamp));
        self.ended.push_back(number);
        if self.ended.len() > KEPT_MAX
            && let Some(oldest) = self.ended.pop_front()
            && let Some(order) = self.orders.remove(&oldest)
        {
            self.ids.remove(&order.id);
        }
    }

    /// Follows a step of a pair's market: fills of resting orders, and prices that trigger others.
    pub fn follow(&mut self, fanout: &mut Fanout, pair: usize) {
        if !self.alive.is_empty() {
            self.settle(fanout, pair);
            self.watch(fanout, pair);
        }
    }

    /// Triggers the orders of a pair that waited for the prices of its last trades.
    pub fn watch(&mut self, fanout: &mut Fanout, pair: usize) {
        let fills = &fanout.listings[pair].market.fills;
        let prices: Vec<i64> = fills.iter().map(|trade| trade.price).collect();
        for price in prices {
            self.trigger(fanout, pair, price);
        }
    }

    /// The same by the last price of each pair, for an order that is new.
    pub fn watch_all(&mut self, fanout: &mut Fanout) {
        let pairs: BTreeSet<usize> = self.open().map(|order| order.terms.pair).collect();
        for pair in pairs {
            if let Some(price) = fanout.listings[pair].market.trades.back().map(|trade| trade.price) {
                self.trigger(fanout, pair, price);
            }
        }
    }

    fn trigger(&mut self, fanout: &mut Fanout, pair: usize, last: i64) {
        let (now, stamp) = (fanout.outbox.now, stamp(fanout));
        let hit = |order: &&OwnOrder| {
            let (Some(price), Some(stops)) = (order.now.trigger, order.terms.kind.stops()) else { return false };
            // A stop to buy waits for a higher price, as does a profit to be taken by selling.
            let rises = stops == (order.terms.side == Side::Buy);
            order.terms.pair == pair
                && order.now.stage == Stage::Untriggered
                && if rises { last >= price } else { last <= price }
        };
        let hits: Vec<u64> = self.open().filter(hit).map(|order| order.number).collect();
        for number in hits {
            let Some(order) = self.orders.get_mut(&number).filter(|order| order.now.stage == Stage::Untriggered) else {
                continue;
            };
            order.now.stage = Stage::Open;
            self.changed((now, stamp), number, false, |order| report::triggered(order, last, stamp));
            self.enter(fanout, number);
        }
    }

    // Changes of orders.

    /// Takes an order out of the market.
    fn withdraw(&mut self, fanout: &mut Fanout, number: u64) -> Option<Order> {
        let order = self.orders.get(&number)?;
        let taker = (number, order.terms.side, false);
        fanout.act_for(order.terms.pair, taker, |engine, ts| engine.cancel_id(number, ts))
    }

    /// Cancels an order for a reason.
    pub fn cancel(&mut self, fanout: &mut Fanout, number: u64, reason: &'static str) {
        self.withdraw(fanout, number);
        self.end(fanout, number, Stage::Canceled, Some(reason));
    }

    /// Cancels an order as its owner asked, and counts that.
    pub fn cancel_for(&mut self, fanout: &mut Fanout, number: u64) {
        let now = fanout.outbox.now;
        let Some(order) = self.orders.get(&number) else { return };
        let (pair, cost) = (order.terms.pair, rate::cancel(now - order.aged));
        self.counted(pair, now);
        self.counter(pair).add(cost);
        self.cancel(fanout, number, BY_USER);
        self.find_next_due(fanout);
    }

    /// Cancels all orders as their owner asked; returns how many.
    pub fn cancel_all(&mut self, fanout: &mut Fanout) -> usize {
        let all: Vec<u64> = self.alive.iter().copied().collect();
        for &number in &all {
            self.cancel_for(fanout, number);
        }
        all.len()
    }

    // Time.

    /// Looks for the next thing that is due.
    pub fn find_next_due(&mut self, fanout: &Fanout) {
        let now = fanout.outbox.now;
        let of = |order: &OwnOrder| {
            let begins = order.terms.begins.filter(|_| order.now.stage == Stage::Scheduled);
            begins.into_iter().chain(order.terms.expires).min().unwrap_or(i64::MAX)
        };
        // Orders begin and expire by the clock that stamps messages.
        let ahead = stamp(fanout) - now;
        let orders = self.open().map(of).min().map_or(i64::MAX, |due| due.saturating_sub(ahead));
        self.next_due = orders.min(self.dead_man.unwrap_or(i64::MAX)).max(now.saturating_add(1));
    }

    /// Does what is due: orders begin and expire, and a dead-man timer cancels all orders. In maintenance nothing is.
    pub fn do_due(&mut self, fanout: &mut Fanout, system: &str) {
        let (now, clock) = (fanout.outbox.now, stamp(fanout));
        if system != "maintenance" {
            if self.dead_man.is_some_and(|due| due <= now) {
                self.die(fanout);
            }
            let over = |order: &&OwnOrder| order.terms.expires.is_some_and(|due| due <= clock);
            for number in self.open().filter(over).map(|order| order.number).collect::<Vec<_>>() {
                self.withdraw(fanout, number);
                self.end(fanout, number, Stage::Expired, None);
            }
            let begins = |order: &&OwnOrder| {
                order.now.stage == Stage::Scheduled && order.terms.begins.is_some_and(|due| due <= clock)
            };
            for number in self.open().filter(begins).map(|order| order.number).collect::<Vec<_>>() {
                self.activate(fanout, number);
            }
        }
        self.find_next_due(fanout);
        if system == "maintenance" {
            // It is asked again when the maintenance ends.
            self.next_due = i64::MAX;
        }
    }

    /// The dead-man timer cancels all orders, and is off.
    pub fn die(&mut self, fanout: &mut Fanout) {
        self.dead_man = None;
        for number in self.alive.iter().copied().collect::<Vec<_>>() {
            self.cancel(fanout, number, DEAD_MAN);
        }
    }

    /// Ends the orders whose market is gone: it started again, or the pair is no longer listed.
    pub fn end_lost(&mut self, fanout: &mut Fanout) {
        let lost = |order: &&OwnOrder| {
            let market = &fanout.listings[order.terms.pair].market;
            let gone = order.now.stage == Stage::Open && market.engine.find(order.number).is_none();
            gone || market.pair.status == DELISTED || market.pair.price_precision != order.pair.price_precision
        };
        for number in self.open().filter(lost).map(|order| order.number).collect::<Vec<_>>() {
            self.cancel(fanout, number, NO_MARKET);
        }
        self.find_next_due(fanout);
    }
}

/// The time that reports carry now.
pub fn stamp(fanout: &Fanout) -> i64 {
    fanout.outbox.stamp(fanout.outbox.now)
}

/// The asset that an order holds.
fn held_asset(pair: &Pair, side: Side) -> &str {
    if side == Side::Buy { &pair.quote } else { &pair.base }
}

fn arrival(id: u64, terms: &Terms, qty: i64, limit: Option<i64>) -> Arrival {
    let wait = match terms.time_in_force {
        TimeInForce::Gtc | TimeInForce::Gtd => Wait::Rest,
        TimeInForce::Ioc => Wait::Immediate,
        TimeInForce::Fok => Wait::AllOrNothing,
    };
    let (side, peak, limit) = (terms.side, terms.display.unwrap_or(qty), limit.or(terms.limit));
    Arrival { id, side, limit, qty, peak, wait, self_trade: terms.self_trade }
}

/// One fill for all that follow each other at one price.
fn by_price(fills: Vec<OwnFill>) -> Vec<OwnFill> {
    let mut joined: Vec<OwnFill> = Vec::new();
    for fill in fills {
        match joined.last_mut() {
            Some(last) if last.order == fill.order && !fill.maker && last.trade.price == fill.trade.price => {
                let qty = last.trade.qty + fill.trade.qty;
                last.trade = fill.trade;
                last.trade.qty = qty;
            }
            _ => joined.push(fill),
        }
    }
    joined
}
