//! The controls that act before a request is built: what each of them allows, and the number that it refuses.
//!
//! Limits are set as a whole or not at all. The three amounts have no default; the others are switched off only by an
//! explicit `None` or `false`. An order counts as open and as filled as long as nobody knows its end.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::amount::{Amount, Price, Qty};
use crate::order::cost;
use crate::pair::Pair;
use crate::rules::{amount, number};
use crate::terms::Side;
use crate::wallet::Inventory;

/// Nanoseconds.
const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
const DAY: i64 = 86_400 * SECOND;
/// Millionths.
const MILLION: i128 = 1_000_000;
/// An order this many times as large as the median of one's own last orders is taken for a slip.
const FAT_TIMES: i128 = 5;
/// So many last orders of a pair are looked at, if there are at least [`FAT_LEAST`].
const FAT_ORDERS: usize = 50;
const FAT_LEAST: usize = 3;
/// The first orders of a day may be worth half of what others may.
const FIRST_ORDERS: usize = 3;

/// Bounds of a strategy with money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most that one order may be worth, in the quote asset.
    pub order_value: Amount,
    /// Most of each base asset that may be bought or sold in all, open orders included. An asset without an entry may
    /// not be traded.
    pub inventory: BTreeMap<Arc<str>, Amount>,
    /// Most that may be lost, in a quote asset; more halts.
    pub loss: Amount,
    /// Open orders of all pairs.
    pub open_orders: Option<usize>,
    /// Distance of a price from the mid and from the last trade, in millionths.
    pub collar: Option<i64>,
    /// A last trade that is older than this is not known any more, ns; `None`: any age will do.
    pub last_trade: Option<i64>,
    /// New orders in a minute.
    pub orders_per_minute: Option<usize>,
    /// Time without a message of the feed, ns.
    pub stale: Option<i64>,
    /// The fee of an order that takes, as a share of its value, in millionths. Small orders pay more: fees are rounded
    /// up.
    pub fee_share: Option<i64>,
    /// Whether orders much larger than one's own last ones are refused, unless they are confirmed.
    pub fat_finger: bool,
    /// Whether orders that would meet an own one are refused.
    pub self_trade: bool,
    /// So many first orders must have the smallest quantity that the pair allows.
    pub ramp: Option<u64>,
}

/// It is over: what is lost is more than may be lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Halt {
    /// Why.
    pub reason: Arc<str>,
}

/// What is known of the market of a pair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Market {
    /// Best bid.
    pub bid: Option<(Price, Qty)>,
    /// Best ask.
    pub ask: Option<(Price, Qty)>,
    /// Last trade: price, time.
    pub last: Option<(Price, i64)>,
    /// Whether the book is in sync.
    pub trusted: bool,
}

impl Market {
    /// The price at which an inventory counts: the worse of the side that would take it and the last trade.
    #[must_use]
    pub fn worse(&self, inventory: Qty) -> Option<Price> {
        let last = self.last.map(|last| last.0);
        let (touch, long) = if inventory.0 < 0 { (self.ask, false) } else { (self.bid, true) };
        let prices = [touch.map(|touch| touch.0), last].into_iter().flatten();
        if long { prices.min() } else { prices.max() }
    }
}

/// New risk that is asked for: an order, or an amendment that makes one larger or moves its price.
#[derive(Debug, Clone, Copy)]
pub struct Risk<'a> {
    /// Local time, ns.
    pub now: i64,
    /// Its pair.
    pub pair: &'a Pair,
    /// What is known of its market.
    pub market: &'a Market,
    /// Side.
    pub side: Side,
    /// Quantity that would be open.
    pub qty: Qty,
    /// The worst price at which it may be filled, or for a market order is likely to be.
    pub price: Price,
    /// The price that starts it, where it waits for one.
    pub trigger: Option<Price>,
    /// Whether it is a new order.
    pub new: bool,
    /// Whether somebody said that this size is meant.
    pub confirmed: bool,
}

/// Where the account stands beside the order in question.
#[derive(Debug, Clone, Copy, Default)]
pub struct Standing {
    /// Bought less sold of the base asset, over all pairs with it.
    pub inventory: Amount,
    /// What other orders of the same side may still buy or sell of it.
    pub at_stake: Amount,
    /// Other open orders of all pairs.
    pub open_orders: usize,
    /// The best price of own orders of the other side.
    pub own: Option<Price>,
    /// Local time of the last message of the feed, ns.
    pub heard: i64,
    /// Orders that were sent, also by earlier runs.
    pub sent: u64,
}

/// Own orders of the last time.
#[derive(Debug, Clone, Default)]
pub struct Recent {
    times: VecDeque<i64>,
    sizes: BTreeMap<usize, VecDeque<Qty>>,
    day: i64,
    today: usize,
}

impl Recent {
    /// An order was sent.
    pub fn add(&mut self, pair: usize, qty: Qty, now: i64) {
        while self.times.front().is_some_and(|first| now.saturating_sub(*first) >= MINUTE) {
            self.times.pop_front();
        }
        self.times.push_back(now);
        let sizes = self.sizes.entry(pair).or_default();
        if sizes.len() == FAT_ORDERS {
            sizes.pop_front();
        }
        sizes.push_back(qty);
        if now.div_euclid(DAY) != self.day {
            (self.day, self.today) = (now.div_euclid(DAY), 0);
        }
        self.today += 1;
    }

    /// Orders of today, UTC.
    fn today(&self, now: i64) -> usize {
        if now.div_euclid(DAY) == self.day { self.today } else { 0 }
    }

    /// When one more order in a minute fits.
    fn fits(&self, most: usize, now: i64) -> Result<(), i64> {
        let within = self.times.iter().filter(|time| now.saturating_sub(**time) < MINUTE).count();
        if within < most {
            return Ok(());
        }
        let first = if most == 0 { None } else { self.times.get(self.times.len() - most) };
        Err(first.map_or(i64::MAX, |first| first.saturating_add(MINUTE)))
    }

    /// Twice the median of the last orders of a pair, if there are enough of them.
    fn twice_median(&self, pair: usize) -> Option<i128> {
        let mut sizes: Vec<i64> = self.sizes.get(&pair)?.iter().map(|qty| qty.0).collect();
        if sizes.len() < FAT_LEAST {
            return None;
        }
        sizes.sort_unstable();
        Some(i128::from(sizes[(sizes.len() - 1) / 2]) + i128::from(sizes[sizes.len() / 2]))
    }
}

type Checked = Result<(), Arc<str>>;

fn refuse(limit: &str, why: &str) -> Checked {
    Err(format!("krakpot:{limit}: {why}").into())
}

impl Limits {
    /// Limits with the usual values beside the three amounts that everybody has to choose.
    #[must_use]
    pub const fn new(order_value: Amount, inventory: BTreeMap<Arc<str>, Amount>, loss: Amount) -> Self {
        Self {
            order_value,
            inventory,
            loss,
            open_orders: Some(10),
            collar: Some(20_000),
            last_trade: Some(10 * MINUTE),
            orders_per_minute: Some(60),
            stale: Some(2 * SECOND),
            fee_share: Some(10_000),
            fat_finger: true,
            self_trade: true,
            ramp: Some(20),
        }
    }

    /// Whether new risk may be taken.
    ///
    /// # Errors
    /// `krakpot:<limit>: ` and the number that was hit; the first limit answers.
    pub fn check(&self, risk: &Risk, standing: &Standing, recent: &Recent, pair: usize) -> Checked {
        self.stale(risk.now, standing.heard)?;
        self.order_value(risk)?;
        self.inventory(risk, standing)?;
        if risk.new {
            self.open_orders(standing.open_orders)?;
            self.orders_per_minute(recent, risk.now)?;
            self.ramp(risk, standing.sent)?;
        }
        self.collar(risk)?;
        self.fat_finger(risk, recent, pair)?;
        self.self_trade(risk, standing.own)?;
        self.fee_share(risk)
    }

    fn stale(&self, now: i64, heard: i64) -> Checked {
        let silent = now.saturating_sub(heard);
        match self.stale {
            Some(most) if silent > most => refuse(
                "stale",
                &format!("the feed said nothing for {} s; {} s are allowed", seconds(silent), seconds(most)),
            ),
            _ => Ok(()),
        }
    }

    fn order_value(&self, risk: &Risk) -> Checked {
        let quote = &risk.pair.quote;
        match cost(risk.pair, risk.price, risk.qty) {
            Some(value) if value <= self.order_value => Ok(()),
            Some(value) => {
                let (value, most) = (amount(value, quote), amount(self.order_value, quote));
                refuse("order_value", &format!("the order is worth {value}; {most} are allowed"))
            }
            None => refuse("order_value", "the order is worth more than can be counted"),
        }
    }

    fn inventory(&self, risk: &Risk, standing: &Standing) -> Checked {
        let base = &risk.pair.base;
        let Some(most) = self.inventory.get(base) else {
            return refuse("inventory", &format!("{base} has no limit; name one to trade it"));
        };
        let sum = standing.at_stake.saturating_add(risk.pair.amount(risk.qty));
        let reached = match risk.side {
            Side::Buy => standing.inventory.saturating_add(sum),
            Side::Sell => sum.saturating_sub(standing.inventory),
        };
        if reached <= *most {
            return Ok(());
        }
        let done = if risk.side == Side::Buy { "bought" } else { "sold" };
        let (reached, most) = (amount(reached, base), amount(*most, base));
        refuse("inventory", &format!("{reached} would be {done} if all open orders are filled; {most} are allowed"))
    }

    fn open_orders(&self, open: usize) -> Checked {
        match self.open_orders {
            Some(most) if open >= most => refuse("open_orders", &format!("{open} are open; {most} are allowed")),
            _ => Ok(()),
        }
    }

    fn orders_per_minute(&self, recent: &Recent, now: i64) -> Checked {
        let Some(most) = self.orders_per_minute else { return Ok(()) };
        recent
            .fits(most, now)
            .or_else(|at| refuse("orders_per_minute", &format!("{most} are allowed; the next one fits at {at} ns")))
    }

    fn ramp(&self, risk: &Risk, sent: u64) -> Checked {
        let Some(first) = self.ramp.filter(|first| sent < *first) else { return Ok(()) };
        let (price, pair) = (risk.price.0.max(1), risk.pair);
        // The quantity that is worth the least cost, rounded up to a step.
        let step = pair.cost(Price(price), Qty(1));
        let worth = i64::try_from((pair.cost_min + step - 1) / step).unwrap_or(i64::MAX);
        let smallest = pair.qty_min.0.max(worth);
        if risk.qty.0 <= smallest {
            return Ok(());
        }
        let (qty, most) = (i128::from(risk.qty.0), i128::from(smallest));
        let (qty, most) = (number(qty, pair.qty_precision), number(most, pair.qty_precision));
        refuse("ramp", &format!("{qty} as order {} of the first {first}; {most} are allowed at first", sent + 1))
    }

    fn collar(&self, risk: &Risk) -> Checked {
        let Some(collar) = self.collar else { return Ok(()) };
        if let Some(trigger) = risk.trigger {
            // It waits until the market is there: only its own two prices say whether it is a slip.
            return within(collar, risk.price, 2 * i128::from(trigger.0), "trigger");
        }
        let (Some((bid, _)), Some((ask, _))) = (risk.market.bid, risk.market.ask) else {
            return refuse("collar", "the mid is not known; a bid and an ask are needed");
        };
        let Some((last, ts)) = risk.market.last else {
            return refuse("collar", "no trade of the pair is known yet");
        };
        let age = risk.now.saturating_sub(ts);
        if self.last_trade.is_some_and(|most| age > most) {
            return refuse("collar", &format!("the last trade is {} s old, which is too long ago", seconds(age)));
        }
        let twice = i128::from(bid.0) + i128::from(ask.0);
        within(collar, risk.price, twice, "mid")?;
        within(collar, risk.price, 2 * i128::from(last.0), "last trade")
    }

    fn fat_finger(&self, risk: &Risk, recent: &Recent, pair: usize) -> Checked {
        if !self.fat_finger || risk.confirmed || !risk.new {
            return Ok(());
        }
        let value = cost(risk.pair, risk.price, risk.qty).unwrap_or(Amount::MAX / 2);
        if recent.today(risk.now) < FIRST_ORDERS && value * 2 > self.order_value {
            let (value, quote) = (amount(value, &risk.pair.quote), &risk.pair.quote);
            let most = amount(self.order_value / 2, quote);
            return refuse(
                "fat_finger",
                &format!("{value} as one of the first orders of a day; {most} are allowed, or confirm it"),
            );
        }
        match recent.twice_median(pair) {
            Some(twice) if i128::from(risk.qty.0) * 2 > FAT_TIMES * twice => refuse(
                "fat_finger",
                &format!("the quantity is more than {FAT_TIMES} times the median of the last orders; confirm it"),
            ),
            _ => Ok(()),
        }
    }

    fn self_trade(&self, risk: &Risk, own: Option<Price>) -> Checked {
        match own {
            Some(own) if self.self_trade && risk.trigger.is_none() && !risk.side.better(own, risk.price) => {
                let own = number(i128::from(own.0), risk.pair.price_precision);
                refuse("self_trade", &format!("it would meet an own order at {own}; cancel that first"))
            }
            _ => Ok(()),
        }
    }

    fn fee_share(&self, risk: &Risk) -> Checked {
        let (Some(most), Some(value)) = (self.fee_share, cost(risk.pair, risk.price, risk.qty)) else { return Ok(()) };
        let fee = risk.pair.fee(value, false);
        // Both are below 10^36: in millionths they do not overflow if the share is that of at most a hundred percent.
        if fee <= value / MILLION * i128::from(most) + value % MILLION * i128::from(most) / MILLION {
            return Ok(());
        }
        let (fee, share) = (amount(fee, &risk.pair.quote), number(i128::from(most), 4));
        refuse("fee_share", &format!("a fee of {fee} is more than {share} % of the order's value"))
    }

    /// Whether too much is lost: realised, less fees, and what the inventory would bring at the worse of touch and last
    /// trade; per quote asset. `pairs`: pair, what is known of its market, what its fills made.
    ///
    /// # Errors
    /// It is over.
    pub fn loss<'a>(&self, pairs: impl Iterator<Item = (&'a Pair, &'a Market, &'a Inventory)>) -> Result<(), Halt> {
        let mut results: BTreeMap<&Arc<str>, Amount> = BTreeMap::new();
        for (pair, market, inventory) in pairs {
            let open = market.worse(inventory.qty).map_or(0, |price| inventory.unrealised(pair, price));
            *results.entry(&pair.quote).or_default() += inventory.realised - inventory.fees + open;
        }
        match results.into_iter().find(|(_, result)| *result < -self.loss) {
            Some((quote, result)) => {
                let (lost, most) = (amount(-result, quote), amount(self.loss, quote));
                Err(Halt { reason: format!("krakpot:loss: {lost} are lost; {most} are allowed").into() })
            }
            None => Ok(()),
        }
    }
}

/// Whether a price is near enough to another one, of which this is twice the value.
fn within(collar: i64, price: Price, twice: i128, name: &str) -> Checked {
    let distance = (2 * i128::from(price.0) - twice).abs();
    if twice > 0 && distance * MILLION <= i128::from(collar) * twice {
        return Ok(());
    }
    // Rounded up, so that the text never shows the limit itself.
    let share = number((distance * MILLION + twice.max(1) - 1) / twice.max(1), 4);
    let most = number(i128::from(collar), 4);
    refuse("collar", &format!("the price is {share} % from the {name}; {most} % are allowed"))
}

/// A time as seconds.
fn seconds(ns: i64) -> String {
    number(i128::from(ns), 9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amount::AMOUNT_SCALE;
    use crate::rules::code;
    use krakpot_core::decimal::pow10;

    const ONE: Amount = pow10(AMOUNT_SCALE);
    const COIN: i64 = 100_000_000;
    /// 2026-11-29 12:00 UTC.
    const NOON: i64 = 1_795_953_600 * SECOND;

    fn pair() -> Pair {
        Pair { cost_precision: 2, qty_min: Qty(1), cost_min: 0, ..Pair::example() }
    }

    /// Orders up to 100 USD, inventories up to 5 BTC, losses up to 10 USD.
    fn limits() -> Limits {
        Limits { ramp: None, ..Limits::new(100 * ONE, BTreeMap::from([("BTC".into(), 5 * ONE)]), 10 * ONE) }
    }

    /// Bid 9.9, ask 10.1, last trade 10.0.
    fn market() -> Market {
        let level = |price| Some((Price(price), Qty(COIN)));
        Market { bid: level(99), ask: level(101), last: Some((Price(100), NOON)), trusted: true }
    }

    fn risk<'a>(pair: &'a Pair, market: &'a Market, side: Side, qty: i64, price: i64) -> Risk<'a> {
        let (qty, price) = (Qty(qty), Price(price));
        Risk { now: NOON, pair, market, side, qty, price, trigger: None, new: true, confirmed: true }
    }

    fn standing() -> Standing {
        Standing { heard: NOON, ..Standing::default() }
    }

    /// The name of the limit that refuses, or nothing.
    fn told(limits: &Limits, risk: &Risk, standing: &Standing, recent: &Recent) -> String {
        let refusal = limits.check(risk, standing, recent, 0).err();
        refusal.map_or(String::new(), |reason| code(&reason).trim_start_matches("krakpot:").to_owned())
    }

    /// Goal: an order is worth as much as is allowed, and one step of quantity or price more.
    #[test]
    fn order_value() {
        let (pair, market, mut limits) = (pair(), market(), limits());
        limits.inventory.insert("BTC".into(), 100 * ONE);
        let value = |qty, price| {
            let refusal =
                limits.check(&risk(&pair, &market, Side::Buy, qty, price), &standing(), &Recent::default(), 0);
            refusal.err().map_or(String::new(), |text| text.to_string())
        };
        assert_eq!(value(10 * COIN, 100), "");
        let text = "krakpot:order_value: the order is worth 100.0000001 USD; 100 USD are allowed";
        assert_eq!(value(10 * COIN + 1, 100), text);
        assert_eq!(value(10 * COIN, 101), "krakpot:order_value: the order is worth 101 USD; 100 USD are allowed");
        assert!(value(i64::MAX, i64::MAX).starts_with("krakpot:order_value"));
    }

    /// Goal: what is bought and may be bought reaches the limit of the asset and not more; the same for what is sold;
    /// the other side is not limited by it; an asset without a limit is not traded.
    #[test]
    fn inventory() {
        let (pair, market, limits, recent) = (pair(), market(), limits(), Recent::default());
        let at = Standing { inventory: 2 * ONE, at_stake: ONE, ..standing() };
        let with = |side, qty, at: &Standing| told(&limits, &risk(&pair, &market, side, qty, 100), at, &recent);
        assert_eq!(with(Side::Buy, 2 * COIN, &at), "", "2 + 1 + 2");
        assert_eq!(with(Side::Buy, 2 * COIN + 1, &at), "inventory");
        assert_eq!(with(Side::Sell, 6 * COIN, &at), "", "2 - 1 - 6");
        assert_eq!(with(Side::Sell, 6 * COIN + 1, &at), "inventory");
        let over = Standing { inventory: 7 * ONE, ..standing() };
        assert_eq!((with(Side::Buy, 1, &over), with(Side::Sell, COIN, &over)), ("inventory".into(), String::new()));
        let ether = Pair { base: "ETH".into(), ..pair.clone() };
        assert_eq!(told(&limits, &risk(&ether, &market, Side::Buy, 1, 100), &standing(), &recent), "inventory");
    }

    /// Goal: the first orders have the smallest quantity that the pair allows and not a step more; it is the larger of the
    /// least quantity and what is worth the least cost; later orders are free, and an amendment is none.
    #[test]
    fn ramp() {
        let (mut pair, market, recent) = (pair(), market(), Recent::default());
        (pair.qty_min, pair.cost_min) = (Qty(5000), ONE / 2);
        let limits = Limits { ramp: Some(3), fee_share: None, ..limits() };
        let with = |pair: &Pair, qty, sent| {
            let at = Standing { sent, ..standing() };
            told(&limits, &risk(pair, &market, Side::Buy, qty, 100), &at, &recent)
        };
        let least = COIN / 20;
        assert_eq!((with(&pair, least, 2), with(&pair, least + 1, 2)), (String::new(), "ramp".into()), "0.5 USD at 10");
        assert_eq!(with(&pair, least + 1, 3), "");
        let cheap = Pair { cost_min: 0, ..pair.clone() };
        assert_eq!((with(&cheap, 5000, 0), with(&cheap, 5001, 0)), (String::new(), "ramp".into()));
        let amended = Risk { new: false, ..risk(&pair, &market, Side::Buy, COIN, 100) };
        assert_eq!(told(&limits, &amended, &standing(), &recent), "");
        let off = Limits { ramp: None, ..limits };
        assert_eq!(told(&off, &risk(&pair, &market, Side::Buy, COIN, 100), &standing(), &recent), "");
    }

    #[test]
    fn open_orders() {
        let (pair, market, mut limits, recent) = (pair(), market(), limits(), Recent::default());
        let with = |limits: &Limits, open_orders| {
            let at = Standing { open_orders, ..standing() };
            told(limits, &risk(&pair, &market, Side::Buy, COIN, 100), &at, &recent)
        };
        assert_eq!((with(&limits, 9), with(&limits, 10)), (String::new(), "open_orders".into()));
        let amended = Risk { new: false, ..risk(&pair, &market, Side::Buy, COIN, 100) };
        assert_eq!(told(&limits, &amended, &Standing { open_orders: 10, ..standing() }, &recent), "");
        limits.open_orders = None;
        assert_eq!(with(&limits, 1000), "");
    }

    /// Goal: sixty orders fit into a minute; the next one fits when the first is a minute old, and the text says so.
    #[test]
    fn orders_per_minute() {
        let (pair, market, mut limits, mut recent) = (pair(), market(), limits(), Recent::default());
        let mut order = risk(&pair, &market, Side::Buy, COIN, 100);
        for i in 0..60 {
            assert_eq!(told(&limits, &order, &standing(), &recent), "");
            recent.add(0, Qty(COIN), NOON + i);
        }
        order.now = NOON + MINUTE - 1;
        let at = Standing { heard: order.now, ..standing() };
        let text = limits.check(&order, &at, &recent, 0).expect_err("the 61st");
        let due = NOON + MINUTE;
        assert_eq!(*text, *format!("krakpot:orders_per_minute: 60 are allowed; the next one fits at {due} ns"));
        assert_eq!(told(&limits, &Risk { now: due, ..order }, &at, &recent), "");
        limits.orders_per_minute = Some(0);
        assert_eq!(told(&limits, &Risk { now: due, ..order }, &at, &recent), "orders_per_minute");
        limits.orders_per_minute = None;
        assert_eq!(told(&limits, &order, &at, &recent), "");
    }

    /// Goal: a price two percent from mid and last trade passes, one step more does not, on both sides of them; a price
    /// ten times as high does not; without fresh prices none passes.
    #[test]
    fn collar() {
        let (pair, limits, recent) = (pair(), limits(), Recent::default());
        let level = |price| Some((Price(price), Qty(COIN)));
        let market = Market { bid: level(9999), ask: level(10_001), last: Some((Price(10_000), NOON)), trusted: true };
        let with = |limits: &Limits, market: &Market, price| {
            told(limits, &risk(&pair, market, Side::Buy, COIN / 100, price), &standing(), &recent)
        };
        for (price, name) in [(10_200, ""), (10_201, "collar"), (9800, ""), (9799, "collar"), (100_000, "collar")] {
            assert_eq!(with(&limits, &market, price), name, "{price}");
        }
        let moved = Market { last: Some((Price(10_100), NOON)), ..market };
        assert_eq!((with(&limits, &moved, 9898), with(&limits, &moved, 9897)), (String::new(), "collar".into()));
        let text = limits.check(&risk(&pair, &market, Side::Sell, COIN / 100, 9799), &standing(), &recent, 0);
        let told = "krakpot:collar: the price is 2.01 % from the mid; 2 % are allowed";
        assert_eq!(*text.expect_err("too low"), *told);
        let oldest = NOON - 10 * MINUTE;
        for (market, name) in [
            (Market { bid: None, ..market }, "collar"),
            (Market { ask: None, ..market }, "collar"),
            (Market { last: None, ..market }, "collar"),
            (Market { last: Some((Price(10_000), oldest)), ..market }, ""),
            (Market { last: Some((Price(10_000), oldest - 1)), ..market }, "collar"),
            (Market { bid: level(0), ask: level(0), ..market }, "collar"),
        ] {
            assert_eq!(with(&limits, &market, 10_000), name, "{market:?}");
        }
        let off = Limits { collar: None, ..limits.clone() };
        assert_eq!(with(&off, &Market::default(), 50_000), "");
        let any_age = Limits { last_trade: None, ..limits };
        assert_eq!(with(&any_age, &Market { last: Some((Price(10_000), 0)), ..market }, 10_000), "");
    }

    /// Goal: a stop waits far from the market; its own two prices may not be far from each other.
    #[test]
    fn collar_of_a_trigger() {
        let (pair, market, limits, recent) = (pair(), market(), limits(), Recent::default());
        let with = |price| {
            let stop = Risk { trigger: Some(Price(5000)), ..risk(&pair, &market, Side::Sell, COIN / 100, price) };
            told(&limits, &stop, &standing(), &recent)
        };
        assert_eq!((with(4900), with(4899)), (String::new(), "collar".into()));
    }

    /// Goal: five times the median of the last fifty orders passes, one step more does not unless it is confirmed; with
    /// fewer than three orders there is no median.
    #[test]
    fn fat_finger_by_quantity() {
        // Fees of orders as small as these are rounded up to a cent.
        let limits = Limits { fee_share: None, ..limits() };
        let (pair, market, mut recent) = (pair(), market(), Recent::default());
        let with = |recent: &Recent, qty, confirmed| {
            let order = Risk { confirmed, now: NOON + MINUTE, ..risk(&pair, &market, Side::Buy, qty, 100) };
            told(&limits, &order, &Standing { heard: NOON + MINUTE, ..standing() }, recent)
        };
        for qty in [1000, 9000] {
            recent.add(0, Qty(qty), NOON);
        }
        assert_eq!(with(&recent, COIN, false), "", "no median of two");
        recent.add(0, Qty(2000), NOON);
        assert_eq!((with(&recent, 10_000, false), with(&recent, 10_001, false)), (String::new(), "fat_finger".into()));
        assert_eq!(with(&recent, 10_001, true), "", "it is meant");
        recent.add(0, Qty(3000), NOON);
        assert_eq!((with(&recent, 12_500, false), with(&recent, 12_501, false)), (String::new(), "fat_finger".into()));
        for _ in 0..50 {
            recent.add(0, Qty(10_000), NOON - DAY);
            recent.add(1, Qty(1), NOON);
        }
        assert_eq!((with(&recent, 50_000, false), with(&recent, 50_001, false)), (String::new(), "fat_finger".into()));
    }

    /// Goal: the first three orders of a day are worth half of the limit at most, also after a night.
    #[test]
    fn fat_finger_by_value() {
        let (pair, market, mut limits, mut recent) = (pair(), market(), limits(), Recent::default());
        limits.inventory.insert("BTC".into(), 100 * ONE);
        let at = standing();
        let order = |qty, now| Risk { confirmed: false, now, ..risk(&pair, &market, Side::Buy, qty, 100) };
        for _ in 0..3 {
            assert_eq!(told(&limits, &order(5 * COIN, NOON), &at, &recent), "", "50 USD");
            assert_eq!(told(&limits, &order(5 * COIN + 1, NOON), &at, &recent), "fat_finger");
            recent.add(0, Qty(5 * COIN), NOON);
        }
        assert_eq!(told(&limits, &order(5 * COIN + 1, NOON), &at, &recent), "");
        let (last, next) = (NOON + DAY / 2 - 1, NOON + DAY / 2);
        let no_collar = Limits { collar: None, stale: None, ..limits };
        assert_eq!(told(&no_collar, &order(5 * COIN + 1, last), &at, &recent), "");
        assert_eq!(told(&no_collar, &order(5 * COIN + 1, next), &at, &recent), "fat_finger", "a new day");
        let off = Limits { fat_finger: false, ..no_collar };
        assert_eq!(told(&off, &order(5 * COIN + 1, next), &at, &recent), "");
    }

    #[test]
    fn stale() {
        let (pair, market, mut limits, recent) = (pair(), market(), limits(), Recent::default());
        let with = |limits: &Limits, heard| {
            told(limits, &risk(&pair, &market, Side::Buy, COIN, 100), &Standing { heard, ..standing() }, &recent)
        };
        assert_eq!(
            (with(&limits, NOON - 2 * SECOND), with(&limits, NOON - 2 * SECOND - 1)),
            (String::new(), "stale".into())
        );
        assert_eq!(with(&limits, i64::MIN), "stale", "nothing was ever heard");
        limits.stale = None;
        assert_eq!(with(&limits, i64::MIN), "");
    }

    /// Goal: an order may come next to an own one of the other side, and not reach it.
    #[test]
    fn self_trade() {
        let (pair, market, mut limits, recent) = (pair(), market(), limits(), Recent::default());
        let with = |limits: &Limits, side, price| {
            let at = Standing { own: Some(Price(100)), ..standing() };
            told(limits, &risk(&pair, &market, side, COIN, price), &at, &recent)
        };
        assert_eq!((with(&limits, Side::Buy, 99), with(&limits, Side::Buy, 100)), (String::new(), "self_trade".into()));
        assert_eq!(
            (with(&limits, Side::Sell, 101), with(&limits, Side::Sell, 100)),
            (String::new(), "self_trade".into())
        );
        limits.self_trade = false;
        assert_eq!(with(&limits, Side::Buy, 100), "");
    }

    /// Goal: the fee of a small order is rounded up to a cent: at one percent of its value it passes, above that not.
    #[test]
    fn fee_share() {
        let (pair, market, mut limits, recent) = (pair(), market(), limits(), Recent::default());
        let with =
            |limits: &Limits, qty| told(limits, &risk(&pair, &market, Side::Buy, qty, 100), &standing(), &recent);
        assert_eq!(with(&limits, COIN / 10), "", "a cent of a dollar");
        assert_eq!(with(&limits, COIN / 10 - 1), "fee_share");
        limits.fee_share = None;
        assert_eq!(with(&limits, 1), "");
    }

    /// Goal: realised, fees and what is open add up to the loss that is allowed, and one step more halts; the worse of
    /// touch and last trade counts; another quote asset is another sum.
    #[test]
    fn loss() {
        let (pair, limits, market) = (pair(), limits(), market());
        let with = |pair: &Pair, market: &Market, inventory: &Inventory| {
            let halt = limits.loss([(pair, market, inventory)].into_iter()).err();
            halt.map_or(String::new(), |halt| halt.reason.to_string())
        };
        // Two bought at 13 are worth 9.9 each: 6.2 lost; 3.8 more are realised and paid.
        let worst = Inventory { qty: Qty(2 * COIN), basis: 26 * ONE, realised: -3 * ONE, fees: ONE * 4 / 5 };
        assert_eq!(with(&pair, &market, &worst), "");
        let more = Inventory { fees: worst.fees + 1, ..worst };
        let told = "krakpot:loss: 10.00000000000000000001 USD are lost; 10 USD are allowed";
        assert_eq!(with(&pair, &market, &more), told);
        let lower = Market { last: Some((Price(98), NOON)), ..market };
        assert!(with(&pair, &lower, &worst).starts_with("krakpot:loss"), "the last trade is worse than the bid");
        // Two sold at 7 cost 10.1 each.
        let short = Inventory { qty: Qty(-2 * COIN), basis: -14 * ONE, realised: -3 * ONE, fees: ONE * 4 / 5 };
        assert_eq!(with(&pair, &market, &short), "");
        assert!(!with(&pair, &market, &Inventory { realised: short.realised - 1, ..short }).is_empty());
        assert_eq!(
            with(&pair, &Market::default(), &Inventory { realised: 0, fees: 10 * ONE, ..worst }),
            "",
            "no price"
        );
        let euro = Pair { quote: "EUR".into(), ..pair.clone() };
        let half = Inventory { qty: Qty(0), basis: 0, realised: -6 * ONE, fees: 0 };
        let both = |other| limits.loss([(&pair, &market, &half), (other, &market, &half)].into_iter());
        assert!(both(&euro).is_ok() && both(&pair).is_err());
    }
}
