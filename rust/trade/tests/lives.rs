//! Random lives of orders at a simple, true exchange, behind a network that delays, doubles and loses: whatever is
//! heard in whichever order, the account ends as the exchange has it, and is consistent all the time.

mod common;

use std::collections::BTreeMap;

use common::{ONE, Random, SECOND, fill, id, limit, pair, refused, reported, taken};
use krakpot_trade::amount::{Amount, Price, Qty};
use krakpot_trade::order::{Found, Ignored, Look, Order, State};
use krakpot_trade::pair::Pair;
use krakpot_trade::report::{Answer, Asked, Change, Fill, Reply, Report};
use krakpot_trade::terms::{Request, Sent, Side, Terms};
use krakpot_trade::trader::{News, Options, Trader};

const SEEDS: u64 = 10_000;
const STEPS: usize = 30;
/// What the account has at first, of both assets.
const FUNDS: Amount = 40 * ONE;
const UNKNOWN: &str = "EOrder:Unknown order";
/// The last digit of a fee: each fill is rounded up by less than this.
const FEE_STEP: Amount = ONE / 100_000;

/// An order as it is.
#[derive(Debug, Clone)]
struct True {
    terms: Terms,
    qty: i64,
    price: i64,
    state: State,
    fills: Vec<Fill>,
}

impl True {
    fn filled(&self) -> i64 {
        self.fills.iter().map(|fill| fill.qty.0).sum()
    }
}

/// The exchange: every event of it has a later time than the one before.
struct Exchange {
    pair: Pair,
    clock: i64,
    orders: BTreeMap<u64, True>,
    said: Vec<Reply>,
}

impl Exchange {
    fn tick(&mut self) -> i64 {
        self.clock += 1;
        self.clock
    }

    fn say(&mut self, order: u64, change: Change) {
        let (ts, filled) = (self.tick(), self.orders[&order].filled());
        self.said.push(reported(order, ts, change, Some(filled)));
    }

    fn answer(&mut self, make: impl FnOnce(i64) -> Answer) {
        let ts = self.tick();
        self.said.push(Reply::Answer(make(ts)));
    }

    fn is_live(&self, order: u64) -> bool {
        self.orders.get(&order).is_some_and(|order| !order.state.is_final())
    }

    fn end(&mut self, order: u64, state: State) {
        self.orders.get_mut(&order).expect("it is there").state = state;
        let change = if state == State::Expired { Change::Expired } else { Change::Canceled };
        self.say(order, change);
    }

    fn receive(&mut self, sent: &Sent, now: i64, random: &mut Random) {
        self.clock = self.clock.max(now);
        match sent.request {
            Request::Add { order, deadline, .. } if now > deadline => {
                self.answer(|ts| refused(order, Asked::Add, ts, "EService:Deadline elapsed"));
            }
            Request::Add { order, .. } if random.one_in(12) => {
                self.answer(|ts| refused(order, Asked::Add, ts, "EOrder:Post only order"));
            }
            Request::Add { order, terms, .. } => {
                let (qty, price) = (terms.qty.0, terms.price.expect("limit").0);
                self.orders.insert(order, True { terms, qty, price, state: State::Open, fills: Vec::new() });
                self.answer(|ts| taken(order, Asked::Add, ts));
                self.say(order, Change::Pending);
                self.say(order, Change::New);
            }
            Request::Amend { order, .. } | Request::Cancel { order } if !self.is_live(order) => {
                let asked = if matches!(sent.request, Request::Cancel { .. }) { Asked::Cancel } else { Asked::Amend };
                self.answer(|ts| refused(order, asked, ts, UNKNOWN));
            }
            Request::Amend { order, deadline, .. } if now > deadline => {
                self.answer(|ts| refused(order, Asked::Amend, ts, "EService:Deadline elapsed"));
            }
            Request::Amend { order, .. } if random.one_in(6) => {
                self.answer(|ts| refused(order, Asked::Amend, ts, "EOrder:Post only order"));
            }
            Request::Amend { order, qty, price, .. } => {
                let known = self.orders.get_mut(&order).expect("live");
                known.qty = qty.map_or(known.qty, |qty| qty.0).max(known.filled());
                known.price = price.map_or(known.price, |price| price.0);
                let (qty, price, over) = (Qty(known.qty), Some(Price(known.price)), known.qty == known.filled());
                self.answer(|ts| taken(order, Asked::Amend, ts));
                self.say(order, Change::Amended { qty, price, restated: false });
                if over {
                    self.end(order, State::Canceled);
                }
            }
            Request::Cancel { order } => {
                self.answer(|ts| taken(order, Asked::Cancel, ts));
                self.end(order, State::Canceled);
            }
        }
    }

    /// Something happens in the market.
    fn act(&mut self, now: i64, random: &mut Random) {
        self.clock = self.clock.max(now);
        let live: Vec<u64> = self.orders.keys().copied().filter(|order| self.is_live(*order)).collect();
        let Some(&order) = random.pick(&live) else { return };
        match random.below(12) {
            0 => self.end(order, State::Canceled),
            1 => self.end(order, State::Expired),
            2 => {
                let known = self.orders.get_mut(&order).expect("live");
                let left = known.qty - known.filled();
                if left > 1 {
                    known.qty -= random.between(1, left - 1);
                    let (qty, price) = (Qty(known.qty), Some(Price(known.price)));
                    self.say(order, Change::Amended { qty, price, restated: true });
                }
            }
            _ => {
                let count: usize = self.orders.values().map(|order| order.fills.len()).sum();
                let pair = self.pair.clone();
                let known = self.orders.get_mut(&order).expect("live");
                let left = known.qty - known.filled();
                let qty = if random.one_in(2) { left } else { random.between(1, left) };
                // Never at a worse price than the order's.
                let better = random.between(0, 3) * if known.terms.side == Side::Buy { -1 } else { 1 };
                let mut fill = fill(&pair, &format!("T{count}"), qty, known.price + better);
                if random.one_in(3) {
                    // As some reports are: it is known by the number of its trade alone.
                    (fill.exec_id, fill.trade_id) = ("".into(), i64::try_from(count).ok());
                }
                known.fills.push(fill.clone());
                let all = known.filled() == known.qty;
                if all {
                    known.state = State::Filled;
                }
                self.say(order, Change::Fill(fill));
                if all {
                    self.say(order, Change::Filled);
                }
            }
        }
    }

    /// What somebody sees who looks for an order now.
    fn look(&mut self, order: u64) -> Look {
        let ts = self.tick();
        let Some(known) = self.orders.get(&order) else { return Look::NotFound { ts } };
        Look::Found(Found {
            ts,
            order_id: id(order),
            state: known.state,
            qty: Qty(known.qty),
            price: Some(Price(known.price)),
            filled: Qty(known.filled()),
            fills: known.fills.clone(),
            reason: "".into(),
        })
    }
}

/// What must never go back: filled, booked, and the end.
type Past = BTreeMap<u64, (Qty, Qty, Option<State>)>;

/// How often something was seen, by name.
type Seen = BTreeMap<&'static str, u64>;

struct Life {
    random: Random,
    exchange: Exchange,
    trader: Trader,
    now: i64,
    /// Requests on their way, in order: arrival.
    requests: Vec<(i64, Sent)>,
    /// Replies on their way: arrival.
    replies: Vec<(i64, Reply)>,
    /// All comes at once and in order.
    orderly: bool,
    /// Something may be lost.
    lossy: bool,
    /// An amendment changes the quantity or the price. If it changes both, and the order is filled meanwhile, there may
    /// be too little for the rest: Kraken refuses that amendment, this exchange does not.
    plain: bool,
    past: Past,
    sums: BTreeMap<String, Amount>,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let lossy = seed % 5 > 2;
        // Without a loss nobody has to look, so that no refusal may leave anything open.
        let certain = !lossy || random.one_in(2);
        let mut trader = Trader::new(Options { certain, entries: true, ..Options::default() });
        let pair = pair("BTC", "USD");
        trader.set_pair(pair.clone());
        trader.trust(0, true);
        for asset in ["BTC", "USD"] {
            trader.deposit(asset, FUNDS);
        }
        let exchange = Exchange { pair, clock: 0, orders: BTreeMap::new(), said: Vec::new() };
        Self {
            random,
            exchange,
            trader,
            now: 0,
            requests: Vec::new(),
            replies: Vec::new(),
            orderly: seed.is_multiple_of(5),
            lossy,
            plain: seed % 7 < 4,
            past: Past::new(),
            sums: BTreeMap::new(),
        }
    }

    /// The strategy does something.
    fn ask(&mut self) {
        let live: Vec<u64> = self.trader.orders(0, None).map(|order| order.number).collect();
        let random = &mut self.random;
        let (qty, price) = (random.between(5000, 500_000_000), random.between(50, 60));
        match (random.below(4), random.pick(&live)) {
            (2, Some(&order)) => {
                let (qty, price) = match random.below(if self.plain { 2 } else { 3 }) {
                    0 => (Some(Qty(random.between(1, 600_000_000))), None),
                    1 => (None, Some(Price(price))),
                    _ => (Some(Qty(qty)), Some(Price(price))),
                };
                self.trader.amend(self.now, order, qty, price);
            }
            (3, Some(&order)) => self.trader.cancel(self.now, order),
            _ if live.len() < 4 => {
                let side = if random.one_in(2) { Side::Buy } else { Side::Sell };
                self.trader.place(self.now, limit(side, qty, price), 5 * SECOND, "".into());
            }
            _ => {}
        }
        for sent in self.trader.take_requests() {
            let last = self.requests.last().map_or(0, |last| last.0);
            let delay = if self.random.one_in(8) { 8 * SECOND } else { SECOND };
            let at = last.max(self.now + if self.orderly { 0 } else { self.random.between(0, delay) });
            if !self.lossy || !self.random.one_in(15) {
                self.requests.push((at.min(self.now + 8 * SECOND), sent));
            }
        }
    }

    /// Requests arrive, and what the exchange said goes on its way.
    fn arrive(&mut self) {
        while self.requests.first().is_some_and(|first| first.0 <= self.now) {
            let (at, sent) = self.requests.remove(0);
            self.exchange.receive(&sent, at, &mut self.random);
        }
        for reply in std::mem::take(&mut self.exchange.said) {
            if self.orderly {
                self.replies.push((self.now, reply));
                continue;
            }
            let copies = [1, 1, 1, 1, 1, 1, 2, 2, 3, usize::from(!self.lossy)][self.random.below(10)];
            for _ in 0..copies {
                let at = self.now + self.random.between(0, 3 * SECOND);
                self.replies.push((at, reply.clone()));
            }
        }
    }

    /// What arrived is heard, in any order.
    fn hear(&mut self, seen: &mut Seen) {
        loop {
            let due: Vec<usize> = (0..self.replies.len()).filter(|i| self.replies[*i].0 <= self.now).collect();
            let next = if self.orderly { due.first() } else { self.random.pick(&due) };
            let Some(&next) = next else { break };
            let (_, reply) = self.replies.remove(next);
            let heard = self.trader.reply(self.now, reply.clone());
            if let Err(why) = heard {
                *seen.entry(why.word()).or_default() += 1;
                let expected = match why {
                    Ignored::Duplicate => !self.orderly,
                    Ignored::Stale | Ignored::Ended => true,
                    // Nothing that a true exchange says contradicts what it said before.
                    _ => false,
                };
                assert!(expected, "{why:?}: {reply:?}\n{:?}", self.trader.order(number(&reply)));
            }
            self.check(seen);
        }
    }

    /// What holds at every moment.
    fn check(&mut self, seen: &mut Seen) {
        let mut rounded = 0;
        for order in self.trader.all_orders() {
            let (filled, booked) = (order.filled, order.booked);
            assert!(Qty::ZERO <= booked && booked <= filled && filled <= order.qty, "{order:?}");
            let end = Some(order.state()).filter(|state| state.is_final());
            let before = self.past.insert(order.number, (filled, booked, end));
            if let Some((was_filled, was_booked, was_end)) = before {
                assert!(was_filled <= filled && was_booked <= booked, "{order:?}");
                assert!(was_end.is_none() || was_end == end, "{was_end:?} became {end:?}");
            }
            rounded += i128::from(order.fee > 0) * 100;
        }
        for entry in self.trader.take_entries() {
            let sum = self.sums.entry(entry.asset.to_string()).or_default();
            *sum += entry.amount - entry.fee;
            assert_eq!(entry.balance, *sum, "an entry says what is there after it");
        }
        for (asset, sum) in &self.sums {
            let balance = self.trader.balance(asset);
            assert_eq!(balance.total, *sum, "the entries explain {asset}");
            let covered = !self.plain || balance.free() > -rounded * FEE_STEP - 1;
            assert!(balance.held >= 0 && covered, "{asset}: {balance:?}");
        }
        for event in self.trader.take_events() {
            let name = match event.change {
                News::Unknown => "unknown",
                News::Refused(asked) if event.reason.starts_with("krakpot:") || event.reason.contains(": ") => {
                    if asked == Asked::Add { "add refused here" } else { "request refused here" }
                }
                News::Refused(Asked::Add) => "add refused",
                News::Refused(_) => "request refused",
                News::Changed(Change::Amended { restated: false, .. }) => "amended",
                News::Changed(Change::Fill(_)) => "fill",
                News::Resolved => "resolved",
                _ => event.state.word(),
            };
            *seen.entry(name).or_default() += 1;
        }
    }

    fn look(&mut self, order: u64, seen: &mut Seen) {
        let look = self.exchange.look(order);
        let result = self.trader.resolve(self.now, order, &look);
        let fine = match result {
            Ok(()) | Err(Ignored::Stale) => true,
            Err(Ignored::TooEarly) => self.now < 20 * SECOND * i64::try_from(STEPS).expect("small"),
            Err(Ignored::Ended) => self.trader.order(order).is_some_and(|order| order.state() == State::Rejected),
            Err(_) => false,
        };
        assert!(fine, "{result:?}: {look:?}\n{:?}", self.trader.order(order));
        self.check(seen);
    }

    fn step(&mut self, seen: &mut Seen) {
        self.now += self.random.between(0, 2 * SECOND);
        self.trader.advance(self.now);
        self.arrive();
        if self.random.one_in(2) {
            self.exchange.act(self.now, &mut self.random);
        }
        self.arrive();
        self.hear(seen);
        self.ask();
        self.check(seen);
        if self.random.one_in(10) {
            let unknown = self.trader.orders(0, None).find(|order| order.state() == State::Unknown);
            if let Some(number) = unknown.map(|order| order.number) {
                self.look(number, seen);
            }
        }
    }

    /// The account is what the exchange has.
    fn compare(&self, seed: u64) {
        let pair = &self.exchange.pair;
        let (mut base, mut quote, mut held) = (FUNDS, FUNDS, [0; 2]);
        for order in self.trader.all_orders() {
            let Some(known) = self.exchange.orders.get(&order.number) else {
                assert_eq!((order.state(), order.filled), (State::Rejected, Qty(0)), "seed {seed}: {order:?}");
                continue;
            };
            assert_eq!(order.state(), known.state, "seed {seed}: {order:?}\n{known:?}");
            let (filled, left) = (Qty(known.filled()), Qty(known.qty - known.filled()));
            assert_eq!((order.filled, order.booked), (filled, filled), "seed {seed}: {order:?}\n{known:?}");
            let terms = (order.qty, order.price);
            assert_eq!(terms, (Qty(known.qty), Some(Price(known.price))), "seed {seed}: {order:?}\n{known:?}");
            let (cost, fee) = known
                .fills
                .iter()
                .fold((0, 0), |(cost, fee), fill| (cost + pair.cost(fill.price, fill.qty), fee + fill.fee));
            assert_eq!((order.cost, order.fee), (cost, fee), "seed {seed}: {order:?}\n{known:?}");
            let sign = if known.terms.side == Side::Buy { 1 } else { -1 };
            base += sign * pair.amount(filled);
            quote -= sign * cost + fee;
            if !known.state.is_final() {
                let cost = pair.cost(Price(known.price), left);
                let buy = known.terms.side == Side::Buy;
                held[usize::from(buy)] += if buy { cost + pair.fee(cost, false) } else { pair.amount(left) };
            }
        }
        let (btc, usd) = (self.trader.balance("BTC"), self.trader.balance("USD"));
        assert_eq!((btc.total, usd.total), (base, quote), "seed {seed}: balances");
        assert_eq!([btc.held, usd.held], held, "seed {seed}: holds");
        assert_eq!(pair.amount(self.trader.inventory(0).qty), base - FUNDS, "seed {seed}: inventory");
    }
}

fn number(reply: &Reply) -> u64 {
    match reply {
        Reply::Answer(answer) => answer.order,
        Reply::Report(report) => report.order,
    }
}

/// Goal: filled ≤ qty and never less than before, an end is an end, fills are booked once, the entries explain the
/// balances. In whichever order all of it is heard, and how often, the account becomes what the exchange has, to the
/// last digit; if something was lost, after a look at it.
#[test]
fn lives_in_any_order() {
    let mut seen = Seen::new();
    for seed in 0..SEEDS {
        let mut life = Life::new(seed);
        for _ in 0..STEPS {
            life.step(&mut seen);
        }
        for _ in 0..12 {
            life.now += SECOND;
            life.arrive();
            life.hear(&mut seen);
        }
        life.now += 20 * SECOND * i64::try_from(STEPS).expect("small");
        life.exchange.clock = life.now;
        life.trader.advance(life.now);
        life.check(&mut seen);
        assert!(life.requests.is_empty() && life.replies.is_empty());
        if life.lossy {
            let orders: Vec<u64> = life.trader.all_orders().map(|order| order.number).collect();
            for order in orders {
                life.look(order, &mut seen);
            }
        }
        life.compare(seed);
    }
    let names = [
        "add refused",
        "add refused here",
        "amended",
        "canceled",
        "duplicate",
        "ended",
        "expired",
        "fill",
        "filled",
        "open",
        "pending",
        "request refused",
        "request refused here",
        "resolved",
        "stale",
        "unknown",
    ];
    for name in names {
        assert!(seen.get(name).is_some_and(|count| *count > 1000), "{name}: {seen:?}");
    }
}

/// Goal: replies that make no sense are refused as values: whatever they say, nothing panics, what must hold holds, and
/// each refusal is counted.
#[test]
fn nonsense() {
    let mut counts = BTreeMap::new();
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let pair = pair("BTC", "USD");
        let mut trader = Trader::new(Options::default());
        trader.set_pair(pair.clone());
        trader.trust(0, true);
        trader.deposit("USD", FUNDS);
        let order = trader.place(0, limit(Side::Buy, 100_000_000, 55), SECOND, "".into());
        assert_eq!(trader.take_requests().len(), 1);
        let (mut past, mut end, mut refused_all) = (Qty::ZERO, None, 0);
        let strange = [i64::MIN, -1, 0, 1, 55, 5000, 99_999_999, 100_000_000, 100_000_001, i64::MAX];
        for _ in 0..30 {
            let ts = *random.pick(&strange).expect("some");
            let [a, b] = [(); 2].map(|()| *random.pick(&strange).expect("some"));
            let mut piece = fill(&pair, ["", "T1", "T2"][random.below(3)], 1, 1);
            (piece.qty, piece.price, piece.fee) = (Qty(a), Price(b), [0, 1, Amount::MIN, Amount::MAX][random.below(4)]);
            piece.trade_id = [None, Some(1)][random.below(2)];
            let change = match random.below(9) {
                0 => Change::Pending,
                1 => Change::New,
                2..=4 => Change::Fill(piece),
                5 => Change::Amended { qty: Qty(a), price: Some(Price(b)), restated: random.one_in(2) },
                6 => [Change::Refilled, Change::Triggered][random.below(2)].clone(),
                7 => Change::Filled,
                _ => [Change::Canceled, Change::Expired][random.below(2)].clone(),
            };
            let number = if random.one_in(10) { a.unsigned_abs() } else { order };
            let filled = [None, Some(Qty(b))][random.below(2)];
            let order_id = ["O1", "O1", "O1", "O2", ""][random.below(5)].into();
            let asked = [Asked::Add, Asked::Amend, Asked::Cancel][random.below(3)];
            let text = ["EOrder:Invalid order", UNKNOWN, "EService: Busy", "?", "\u{e9}"][random.below(5)];
            let result = if random.one_in(2) { Ok(order_id) } else { Err(text.into()) };
            let reply = if random.one_in(4) {
                Reply::Answer(Answer { order: number, asked, result, ts })
            } else {
                let order_id = ["O1", "O1", "O1", "O2", ""][random.below(5)].into();
                Reply::Report(Report { order: number, order_id, ts, change, filled, reason: "".into() })
            };
            refused_all += u64::from(trader.reply(ts, reply).is_err());
            if random.one_in(10) {
                trader.amend(ts, order, Some(Qty(a)), Some(Price(b)));
                trader.cancel(ts, order);
                trader.advance(ts);
            }
            let known: &Order = trader.order(order).expect("known");
            assert!(
                Qty::ZERO <= known.booked && known.booked <= known.filled && known.filled <= known.qty,
                "{known:?}"
            );
            assert!(past <= known.filled && (end.is_none() || end == Some(known.state())), "seed {seed}: {known:?}");
            (past, end) = (known.filled, Some(known.state()).filter(|state| state.is_final()));
            assert!(trader.balance("USD").held >= 0, "seed {seed}: {:?} {known:?}", trader.balance("USD"));
        }
        assert_eq!(trader.ignored().map(|(_, count)| count).sum::<u64>(), refused_all);
        for (why, count) in trader.ignored() {
            *counts.entry(why).or_insert(0) += count;
        }
    }
    for why in Ignored::ALL.into_iter().filter(|why| *why != Ignored::TooEarly) {
        assert!(counts.get(&why).is_some_and(|count| *count > 100), "{}: {counts:?}", why.word());
    }
}
