//! One pair on paper: messages that wait for others of their instant, requests that arrive between instants, and what
//! becomes of orders.
//!
//! Within an instant the record comes first: trades, then what orders lost, then new orders; then own requests. A request
//! is carried out when the record has passed its arrival, or when its answer is due. So nothing that was received later
//! decides earlier, and a recording gives what a live feed gives.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::amount::{Amount, Price, Qty};
use crate::bounds::Bounds;
use crate::ghosts::{Ghost, Hit, Print};
use crate::model::{Change, INSTANT, Moment, Record, instant_of};
use crate::options::{AmendUp, Gaps, Latency, Model, Options, Together};
use crate::pair::Pair;
use crate::questions::{Question, Taken};
use crate::queue::Queue;
use crate::report::{Answer, Asked, Change as What, Evidence, Fill, Reply, Report};
use crate::shown::Id;
use crate::terms::{Request, Side, Terms, TimeInForce};
use foldhash::HashMap;
use krakpot_core::decimal::pow10;

/// Messages and trades of a pair that wait for others of their instant. Beyond that the oldest waits no longer.
const WAITING_MAX: usize = 100_000;
/// So many messages wait at most, once they are due, where nobody hears what they decide.
const UNHEARD_MAX: usize = 256;
/// Orders of one account in a pair. Kraken allows fewer.
const ORDERS_MAX: usize = 10_000;
/// The largest quantity of an own order: sums of several fit.
const QTY_MAX: i64 = 1 << 56;
/// The longest way of a message that is believed, ns.
const LAG_MAX: i64 = 10_000_000_000;
/// One, as the coupling of a latency has it.
const COUPLING: i128 = 1_000_000;

/// Kraken's texts, and those of the built-in exchange where Kraken's are not known.
pub(crate) const UNKNOWN: &str = "EOrder:Unknown order";
const POST_ONLY: &str = "EOrder:Post only order";
const DEADLINE: &str = "EService:Deadline elapsed";
const TOO_MANY: &str = "EOrder:Orders limit exceeded";
const TOO_SMALL: &str = "EOrder:Order minimum not met";
const BAD_PRICE: &str = "EOrder:Invalid price";
const INVALID: &str = "EGeneral:Invalid arguments";
const GAP: &str = "krakpot:gap";
const BY_USER: &str = "User requested";
const POST: &str = "Post only order";
const IMMEDIATE: &str = "Immediate or cancel";
const ALL: &str = "Fill or kill";
const SELF_TRADE: &str = "Self trade prevention";

/// A message or a trade that waits.
#[derive(Debug)]
struct Waiting {
    instant: i64,
    ts: i64,
    item: Item,
}

#[derive(Debug)]
enum Item {
    Print(Print),
    /// So many rows.
    Update(usize),
    Snapshot(usize),
}

/// What arrives at the exchange.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Arriving {
    Asked(Request),
    /// An order's time is over.
    Expiry(u64),
}

/// An own order.
#[derive(Debug)]
struct Own {
    terms: Terms,
    id: Arc<str>,
    qty: Qty,
    price: Option<Price>,
    filled: Qty,
    /// Where it rests; `None`: it waits for its price.
    ghost: Option<u32>,
    number: u64,
}

/// Something for an account.
#[derive(Debug)]
pub(crate) struct Out {
    pub account: u32,
    pub order: u64,
    /// When it is heard, ns.
    pub heard: i64,
    pub reply: Reply,
    /// Whether the order has ended, or never was.
    pub ended: bool,
}

/// When something happened and when it was decided.
#[derive(Debug, Clone, Copy)]
struct Now {
    ts: i64,
    decided: i64,
}

/// One pair.
#[derive(Debug)]
pub(crate) struct Market {
    pub pair: Pair,
    number: usize,
    options: Options,
    record: Box<dyn Record>,
    waiting: VecDeque<Waiting>,
    changes: VecDeque<Change>,
    /// When messages are due, and their instants, in the order of receipt.
    due: VecDeque<(i64, i64)>,
    requests: BTreeMap<(i64, u64), (u32, Arriving)>,
    /// The last instant that was decided.
    passed: i64,
    /// Instant of the last message of the book.
    last_update: i64,
    last_trade: Option<i64>,
    last_price: Option<Price>,
    /// Whether the book is not known, and the instants of the last gap.
    dark: bool,
    gap: (i64, i64),
    /// How long the newest message was on its way, and when it was received.
    lag: i64,
    recv: i64,
    /// The least that a message was on its way, and how much longer the newest one was.
    usual: i64,
    late: i64,
    orders: HashMap<(u32, u64), Own>,
    /// Orders that wait for their price.
    untriggered: Vec<(u32, u64)>,
    made: u64,
    sent: u64,
    hits: Vec<Hit>,
    prints: Vec<Print>,
    skipped: u64,
    pub out: Vec<Out>,
}

impl Market {
    pub fn new(pair: Pair, number: usize, options: Options) -> Self {
        let record: Box<dyn Record> = match options.model {
            Model::Orders => Box::new(Queue::new(options)),
            Model::Bounds(cancels) => Box::new(Bounds::new(cancels, options)),
        };
        Self {
            pair,
            number,
            options,
            record,
            waiting: VecDeque::new(),
            changes: VecDeque::new(),
            due: VecDeque::new(),
            requests: BTreeMap::new(),
            passed: i64::MIN,
            last_update: i64::MIN,
            last_trade: None,
            last_price: None,
            dark: true,
            gap: (i64::MIN, i64::MIN),
            lag: 0,
            recv: i64::MIN,
            usual: i64::MAX,
            late: 0,
            orders: HashMap::default(),
            untriggered: Vec::new(),
            made: 0,
            sent: 0,
            hits: Vec::new(),
            prints: Vec::new(),
            skipped: 0,
            out: Vec::new(),
        }
    }

    pub fn record(&self) -> &dyn Record {
        &*self.record
    }

    pub fn skipped(&self) -> u64 {
        self.skipped + self.record.skipped()
    }

    pub fn hide(&mut self, id: &Id) {
        self.record.hide(id);
    }

    pub fn place(&self, account: u32, order: u64) -> Option<crate::model::Place> {
        self.record.place(self.orders.get(&(account, order))?.ghost?, self.dark)
    }

    // Ways.

    /// How long requests are on their way, and reports.
    pub fn ways(&self) -> (i64, i64) {
        match self.options.latency {
            Latency::Fixed { entry, response } => (entry, response),
            Latency::Recorded => (self.lag, self.lag),
            Latency::Loaded { entry, response, coupling } => {
                let more = i128::from(self.late) * i128::from(coupling) / COUPLING;
                let more = i64::try_from(more).unwrap_or(i64::MAX);
                (entry.saturating_add(more), response.saturating_add(more))
            }
        }
    }

    /// The exchange's time of a message, which is not believed if it is far ahead.
    fn received(&mut self, recv: i64, ts: i64) -> i64 {
        let lag = recv.saturating_sub(ts);
        self.usual = self.usual.min(lag);
        (self.lag, self.late) = (lag.clamp(0, LAG_MAX), lag.saturating_sub(self.usual).min(LAG_MAX));
        self.recv = recv;
        ts.min(recv.saturating_add(LAG_MAX))
    }

    /// When the answer to a request is due. Ways may be shorter since then.
    fn answered(&self, at: i64) -> i64 {
        at.saturating_add(self.ways().1).max(self.recv)
    }

    // What comes in.

    /// Puts an item in its place. All that was due up to `reached` is decided before.
    fn wait(&mut self, (recv, reached): (i64, i64), ts: i64, instant: i64, item: Item) {
        if self.is_unheard() && self.waiting.back().is_some_and(|last| last.instant >= instant) {
            self.advance(reached);
        }
        if self.waiting.len() >= WAITING_MAX
            && let Some(oldest) = self.waiting.front().map(|first| first.instant)
        {
            self.due.pop_front();
            self.pass_until(oldest, recv);
        }
        self.due.push_back((recv.saturating_add(self.options.join), instant));
        // Nearly all come in the order of their times.
        if self.waiting.back().is_none_or(|last| last.instant <= instant) {
            self.waiting.push_back(Waiting { instant, ts, item });
        } else {
            let at = self.waiting.partition_point(|other| other.instant <= instant);
            self.waiting.insert(at, Waiting { instant, ts, item });
        }
    }

    /// Rows of a message of the book that wait from now on.
    pub fn update(
        &mut self,
        (recv, reached): (i64, i64),
        ts: Option<i64>,
        snapshot: bool,
        rows: impl Iterator<Item = Option<Change>>,
    ) {
        let ts = ts.map_or(recv, |ts| self.received(recv, ts));
        let before = self.changes.len();
        for row in rows {
            match row {
                Some(row) => self.changes.push_back(row),
                None => self.skipped += 1,
            }
        }
        let count = self.changes.len() - before;
        // Messages of a book are applied in their order, whatever their times say.
        self.last_update = self.last_update.max(instant_of(ts));
        let item = if snapshot { Item::Snapshot(count) } else { Item::Update(count) };
        self.wait((recv, reached), ts, self.last_update, item);
    }

    /// A trade. Its number says whether it was told before.
    pub fn trade(&mut self, (recv, reached): (i64, i64), ts: i64, print: Print) {
        let ts = self.received(recv, ts);
        if self.last_trade.is_some_and(|last| print.trade_id <= last) {
            return;
        }
        self.last_trade = Some(print.trade_id);
        self.wait((recv, reached), ts, instant_of(ts), Item::Print(print));
    }

    /// Something arrives at a time; after what was sent before and arrives then too.
    pub fn arrive(&mut self, at: i64, account: u32, what: Arriving) {
        self.sent += 1;
        self.requests.insert((at, self.sent), (account, what));
    }

    /// Requests that have not arrived yet.
    pub fn on_their_way(&self) -> usize {
        self.requests.len()
    }

    /// The record has a hole from now on.
    pub fn begin_gap(&mut self, recv: i64) {
        self.pass_until(i64::MAX, recv);
        if !self.dark && self.record.questions().is_busy() {
            // What was lost may have come at any time since the last message.
            self.record.questions_mut().gap();
            self.record.ask(&|at| instant_of(at) < instant_of(recv), false, true);
        }
        self.carry_out(|at| instant_of(at) < instant_of(recv), recv);
        self.record.clear();
        if !self.dark {
            self.gap = (self.passed, i64::MAX);
        }
        self.dark = true;
        if self.options.gaps == Gaps::Cancel {
            let mut all: Vec<(u32, u64)> = self.orders.keys().copied().collect();
            all.sort_unstable();
            for key in all {
                self.end(key, What::Canceled, GAP, Now { ts: recv, decided: recv });
            }
        }
    }

    // Time.

    /// Whether nobody hears what messages decide. Those that do not wait are decided one by one nevertheless.
    fn is_unheard(&self) -> bool {
        self.orders.is_empty() && self.requests.is_empty() && self.options.join > 0
    }

    /// When something is due. Where no account has an order or a request, nobody hears what messages decide: then many are
    /// decided at once, later, and come to the same.
    pub fn next_due(&self) -> i64 {
        if self.is_unheard() && self.waiting.len() < UNHEARD_MAX {
            return i64::MAX;
        }
        let first = self.due.front().map_or(i64::MAX, |due| due.0);
        let request = self.requests.keys().next().map_or(i64::MAX, |key| self.answered(key.0));
        first.min(request)
    }

    /// Decides what is due.
    pub fn advance(&mut self, now: i64) {
        loop {
            let item = self.due.front().copied();
            let request = self.requests.keys().next().map(|key| (self.answered(key.0), key.0));
            match (item, request) {
                (Some((due, instant)), request) if due <= now && request.is_none_or(|request| due <= request.0) => {
                    self.due.pop_front();
                    self.pass_until(instant, due);
                }
                (_, Some((due, at))) if due <= now => {
                    self.pass_until(instant_of(at), due);
                    self.carry_out(|other| other <= at, due);
                }
                _ => break,
            }
        }
    }

    /// The record up to an instant, and the requests that arrive before its last one.
    fn pass_until(&mut self, last: i64, decided: i64) {
        while let Some(instant) = self.waiting.front().map(|first| first.instant).filter(|instant| *instant <= last) {
            self.carry_out(|at| instant_of(at) < instant, decided);
            self.pass(instant, decided);
        }
    }

    fn carry_out(&mut self, is_due: impl Fn(i64) -> bool, decided: i64) {
        if self.record.questions().is_busy() {
            self.record.ask(&is_due, self.dark, false);
        }
        while let Some(entry) = self.requests.first_entry() {
            let at = entry.key().0;
            if !is_due(at) {
                break;
            }
            let (account, what) = entry.remove();
            let now = Now { ts: at, decided };
            match what {
                Arriving::Asked(Request::Add { order, terms, deadline }) => {
                    self.add((account, order), terms, deadline, now);
                }
                Arriving::Asked(Request::Amend { order, qty, price, deadline }) => {
                    self.amend((account, order), (qty, price, deadline), now);
                }
                Arriving::Asked(Request::Cancel { order }) => self.cancel((account, order), now),
                Arriving::Expiry(order) => self.end((account, order), What::Expired, "", now),
            }
        }
    }

    /// All that waits of one instant.
    fn pass(&mut self, instant: i64, decided: i64) {
        let mut prints = std::mem::take(&mut self.prints);
        let (mut count, mut ts) = (0, None);
        prints.clear();
        while self.waiting.front().is_some_and(|next| next.instant == instant) {
            let Some(next) = self.waiting.pop_front() else { break };
            ts = ts.max(Some(next.ts));
            match next.item {
                Item::Print(print) => prints.push(print),
                Item::Update(rows) if self.dark => {
                    self.changes.drain(..rows.min(self.changes.len()));
                    self.skipped += rows as u64;
                }
                Item::Update(rows) => count += rows,
                Item::Snapshot(rows) => {
                    self.happen(Moment { instant, ts: next.ts, dark: self.dark }, decided, &prints, count);
                    prints.clear();
                    count = 0;
                    self.record.snapshot((&mut self.changes, rows));
                    if std::mem::take(&mut self.dark) && self.gap.1 == i64::MAX {
                        self.gap.1 = instant;
                    }
                }
            }
        }
        let dark = self.dark || (self.gap.0 < instant && instant <= self.gap.1);
        self.happen(Moment { instant, ts: ts.unwrap_or(decided), dark }, decided, &prints, count);
        self.prints = prints;
        self.passed = self.passed.max(instant);
    }

    /// One moment of the record, and what follows for orders.
    fn happen(&mut self, at: Moment, decided: i64, prints: &[Print], count: usize) {
        if prints.is_empty() && count == 0 {
            return;
        }
        let mut hits = std::mem::take(&mut self.hits);
        self.record.pass(&at, prints, (&mut self.changes, count), &mut hits);
        let now = Now { ts: at.ts, decided };
        for hit in hits.drain(..) {
            let evidence = Proof { evidence: hit.evidence, trade_id: hit.trade_id, doubt: hit.doubt };
            let key = (hit.account, hit.order);
            self.fill(key, (hit.price, hit.qty), true, (evidence, hit.counterparty), now);
            if hit.left == Qty::ZERO {
                self.end(key, What::Filled, "", now);
            } else if hit.refilled {
                self.report(key, What::Refilled, "", now);
            }
        }
        self.hits = hits;
        for print in prints {
            self.last_price = Some(print.price);
            if !self.untriggered.is_empty() {
                self.trigger(print.price, now);
            }
        }
    }

    // Questions.

    /// What would have become of these orders, none of which arrives before what has passed.
    pub fn ask(&mut self, questions: Vec<Question>, keeps: bool) {
        self.record.questions_mut().ask(questions, keeps);
    }

    /// Nothing more comes: all questions get their verdicts.
    pub fn finish(&mut self) {
        self.pass_until(i64::MAX, self.recv);
        let until = self.passed.saturating_mul(INSTANT).saturating_add(INSTANT - 1);
        self.record.questions_mut().finish(until, self.dark);
    }

    /// Whether a question has no verdict.
    pub fn is_asked(&self) -> bool {
        self.record.questions().is_busy()
    }

    pub fn take_verdicts(&mut self) -> Taken<'_> {
        self.record.questions_mut().take_verdicts()
    }

    // What accounts hear.

    fn say(&mut self, (account, order): (u32, u64), reply: Reply, ended: bool, now: Now) {
        let heard = now.ts.saturating_add(self.ways().1).max(now.decided);
        self.out.push(Out { account, order, heard, reply, ended });
    }

    fn answer(&mut self, key: (u32, u64), asked: Asked, result: Result<Arc<str>, &str>, now: Now) {
        // A refused order never was; a refused amendment or cancel changes nothing.
        let ended = asked == Asked::Add && result.is_err() && !self.orders.contains_key(&key);
        let answer = Answer { order: key.1, asked, result: result.map_err(Into::into), ts: now.ts };
        self.say(key, Reply::Answer(answer), ended, now);
    }

    fn report(&mut self, key: (u32, u64), change: What, reason: &str, now: Now) {
        let Some(own) = self.orders.get(&key) else { return };
        let (order_id, filled) = (own.id.clone(), Some(own.filled));
        let report = Report { order: key.1, order_id, ts: now.ts, change, filled, reason: reason.into() };
        self.say(key, Reply::Report(report), false, now);
    }

    fn end(&mut self, key: (u32, u64), change: What, reason: &str, now: Now) {
        let filled = change == What::Filled;
        self.report(key, change, reason, now);
        let Some(own) = self.orders.remove(&key) else { return };
        if let Some(last) = self.out.last_mut() {
            last.ended = true;
        }
        // A ghost that is filled is gone already.
        if let (Some(ghost), false) = (own.ghost, filled) {
            self.record.ghosts_mut().remove(ghost);
        }
        if own.terms.trigger.is_some() {
            self.untriggered.retain(|other| *other != key);
        }
    }

    /// An id of Kraken's shape.
    fn id(&mut self, first: char) -> Arc<str> {
        self.made += 1;
        let mut number = (self.number as u128) << 64 | u128::from(self.made);
        let mut text = [b'0'; 19];
        for place in text.iter_mut().rev() {
            *place = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[(number % 36) as usize];
            number /= 36;
        }
        let text: String = text.iter().map(|byte| char::from(*byte)).collect();
        format!("{first}{}-{}-{}", &text[3..8], &text[8..13], &text[13..19]).into()
    }

    /// Price × quantity; `None` where that is beyond what an amount can be.
    fn worth(&self, price: Price, qty: Qty) -> Option<Amount> {
        let decimals = self.pair.price_precision + self.pair.qty_precision;
        (i128::from(price.0) * i128::from(qty.0)).checked_mul(pow10(crate::amount::AMOUNT_SCALE - decimals))
    }

    fn fill(
        &mut self,
        key: (u32, u64),
        (price, qty): (Price, Qty),
        maker: bool,
        (proof, counterparty): (Proof, Option<Arc<str>>),
        now: Now,
    ) {
        let fee = self.pair.fee(self.worth(price, qty).unwrap_or(0), maker);
        let exec_id = self.id('T');
        let Some(own) = self.orders.get_mut(&key) else { return };
        own.filled += qty;
        let Proof { evidence, trade_id, doubt } = proof;
        let cost = None;
        let fill = Fill { exec_id, trade_id, counterparty, qty, price, cost, maker, fee, evidence, doubt };
        self.report(key, What::Fill(fill), "", now);
    }

    // Requests.

    /// What is wrong with a new order, whatever the market is.
    fn check(&self, key: (u32, u64), terms: &Terms, deadline: i64, now: Now) -> Result<(), &'static str> {
        if now.ts > deadline {
            return Err(DEADLINE);
        }
        if self.dark {
            return Err(GAP);
        }
        let is_known = self.orders.contains_key(&key);
        if is_known || terms.qty.0 > QTY_MAX || (terms.post_only && terms.price.is_none()) {
            return Err(INVALID);
        }
        if !terms.qty.is_positive() || terms.display.is_some_and(|display| !display.is_positive()) {
            return Err(TOO_SMALL);
        }
        let prices = [terms.price, terms.trigger.map(|trigger| trigger.price)];
        let is_wrong = |price: Price| price.0 <= 0 || self.worth(price, terms.qty).is_none();
        if prices.into_iter().flatten().any(is_wrong) {
            return Err(BAD_PRICE);
        }
        if self.orders.len() >= ORDERS_MAX && self.orders.keys().filter(|other| other.0 == key.0).count() >= ORDERS_MAX
        {
            return Err(TOO_MANY);
        }
        Ok(())
    }

    fn add(&mut self, key: (u32, u64), terms: Terms, deadline: i64, now: Now) {
        let checked = self.check(key, &terms, deadline, now).and_then(|()| {
            let plan = self.plan(key.0, &terms, terms.price, terms.qty);
            let takes = terms.trigger.is_none() && (plan.has_offer || plan.meets_own);
            if terms.post_only && takes { Err(POST_ONLY) } else { Ok(plan) }
        });
        let plan = match checked {
            Ok(plan) => plan,
            Err(error) => return self.answer(key, Asked::Add, Err(error), now),
        };
        let id = self.id('O');
        let (qty, price, number) = (terms.qty, terms.price, self.made);
        let own = Own { terms, id: id.clone(), qty, price, filled: Qty::ZERO, ghost: None, number };
        self.orders.insert(key, own);
        self.answer(key, Asked::Add, Ok(id), now);
        self.report(key, What::Pending, "", now);
        if let TimeInForce::Gtd(until) = terms.time_in_force {
            self.arrive(until.max(now.ts), key.0, Arriving::Expiry(key.1));
        }
        if terms.trigger.is_none() {
            return self.enter(key, plan, true, now);
        }
        self.report(key, What::New, "", now);
        self.untriggered.push(key);
        if let Some(last) = self.last_price {
            self.trigger(last, now);
        }
    }

    /// Starts the orders that wait for this price of the last trade.
    fn trigger(&mut self, last: Price, now: Now) {
        let orders = &self.orders;
        let is_hit = |key: &(u32, u64)| {
            orders.get(key).and_then(|own| Some((own, own.terms.trigger?))).is_some_and(|(own, trigger)| {
                // A stop to buy waits for a higher price, as does a profit to be taken by selling.
                let rises = trigger.stop == (own.terms.side == Side::Buy);
                if rises { last >= trigger.price } else { last <= trigger.price }
            })
        };
        let hits: Vec<(u32, u64)> = self.untriggered.iter().filter(|key| is_hit(key)).copied().collect();
        self.untriggered.retain(|key| !hits.contains(key));
        for key in hits {
            self.report(key, What::Triggered, "", now);
            let Some(own) = self.orders.get(&key) else { continue };
            let (terms, price, qty) = (own.terms, own.price, own.qty);
            if self.dark {
                // Nobody knows what it would meet.
                self.end(key, What::Canceled, GAP, now);
                continue;
            }
            let plan = self.plan(key.0, &terms, price, qty);
            if terms.post_only && (plan.has_offer || plan.meets_own) {
                self.end(key, What::Canceled, POST, now);
            } else {
                self.enter(key, plan, false, now);
            }
        }
    }

    /// What an order would take now.
    fn plan(&self, account: u32, terms: &Terms, limit: Option<Price>, qty: Qty) -> Plan {
        let side = terms.side;
        let share = self.options.together == Together::Share;
        let worst = limit.unwrap_or(if side == Side::Buy { Price(i64::MAX) } else { Price(-i64::MAX) });
        let ghosts = self.record.ghosts();
        let mine: Vec<&Ghost> = ghosts
            .reaching(side.other(), worst)
            .filter_map(|slot| ghosts.get(slot))
            .filter(|m| m.account == account)
            .collect();
        let mut plan = Plan { takes: Vec::new(), offered: 0, has_offer: false, meets_own: !mine.is_empty() };
        let (mut left, mut stopped) = (qty, false);
        self.record.offers(account, side, limit, &mut |offer| {
            plan.has_offer = true;
            stopped |= mine.iter().any(|own| {
                let is_before = own.price == offer.price && offer.came >= own.came && offer.ts >= own.ts;
                if share {
                    side.other().better(own.price, offer.price) || is_before
                } else {
                    side.better(own.price, offer.price)
                }
            });
            stopped |= self.worth(offer.price, qty).is_none();
            if stopped && share {
                return true;
            }
            plan.offered = offer.qty.0.saturating_add(plan.offered);
            if !stopped && left.is_positive() {
                let took = Qty(left.0.min(offer.qty.0));
                left -= took;
                plan.takes.push((offer.key, offer.price, took, offer.order_id()));
            }
            plan.offered >= qty.0
        });
        plan
    }

    /// An order is in the market: it takes, then it rests.
    fn enter(&mut self, key: (u32, u64), plan: Plan, is_new: bool, now: Now) {
        let Some(own) = self.orders.get(&key) else { return };
        let (terms, wanted) = (own.terms, own.qty - own.filled);
        if terms.time_in_force == TimeInForce::Fok && plan.offered < wanted.0 {
            return self.end(key, What::Canceled, ALL, now);
        }
        if is_new {
            self.report(key, What::New, "", now);
        }
        for (offer, price, qty, counterparty) in plan.takes {
            let proof = Proof { evidence: Evidence::Taken, trade_id: None, doubt: self.dark };
            self.fill(key, (price, qty), false, (proof, counterparty), now);
            self.record.eat(key.0, offer, qty);
        }
        let Some(own) = self.orders.get(&key) else { return };
        if own.filled >= own.qty {
            return self.end(key, What::Filled, "", now);
        }
        if plan.meets_own {
            return self.end(key, What::Canceled, SELF_TRADE, now);
        }
        match (own.price, terms.time_in_force) {
            (Some(price), TimeInForce::Gtc | TimeInForce::Gtd(_)) => self.rest(key, price, now),
            _ => self.end(key, What::Canceled, IMMEDIATE, now),
        }
    }

    fn rest(&mut self, key: (u32, u64), price: Price, now: Now) {
        let Some(own) = self.orders.get_mut(&key) else { return };
        let left = own.qty - own.filled;
        let display = own.terms.display.filter(|display| *display < left);
        let ghost = Ghost {
            account: key.0,
            order: key.1,
            side: own.terms.side,
            price,
            left,
            shown: display.unwrap_or(left),
            display,
            ts: now.ts,
            came: 0,
            number: own.number,
            unseen: Qty::ZERO,
            ahead: None,
            printed: (0, Qty::ZERO),
            took: (i64::MIN, Qty::ZERO, Qty::ZERO),
        };
        own.ghost = Some(self.record.rest(ghost));
    }

    fn amend(&mut self, key: (u32, u64), asked: (Option<Qty>, Option<Price>, i64), now: Now) {
        let (qty, price, deadline) = asked;
        if now.ts > deadline {
            return self.answer(key, Asked::Amend, Err(DEADLINE), now);
        }
        let Some(own) = self.orders.get(&key) else { return self.answer(key, Asked::Amend, Err(UNKNOWN), now) };
        let (terms, ghost, id, filled) = (own.terms, own.ghost, own.id.clone(), own.filled);
        let (qty, price, before) = (qty.unwrap_or(own.qty), price.or(own.price), (own.qty, own.price));
        let is_wrong = |price: Price| price.0 <= 0 || self.worth(price, qty).is_none();
        // A market order that waits for its trigger has no price, and gets none.
        if price.is_some_and(is_wrong) || (price.is_some() && terms.price.is_none()) {
            return self.answer(key, Asked::Amend, Err(BAD_PRICE), now);
        }
        if !(0..=QTY_MAX).contains(&qty.0) {
            return self.answer(key, Asked::Amend, Err(INVALID), now);
        }
        let left = qty - filled;
        let keeps = price == before.1 && (qty <= before.0 || self.options.amend_up == AmendUp::Keep);
        let takes = ghost.is_some() && !keeps && left.is_positive() && self.options.together == Together::Share;
        let plan = if takes { self.plan(key.0, &terms, price, left) } else { Plan::default() };
        if terms.post_only && (plan.has_offer || plan.meets_own) {
            return self.answer(key, Asked::Amend, Err(POST_ONLY), now);
        }
        self.answer(key, Asked::Amend, Ok(id), now);
        if let Some(own) = self.orders.get_mut(&key) {
            (own.qty, own.price) = (qty, price);
        }
        self.report(key, What::Amended { qty, price, restated: false }, "", now);
        if !left.is_positive() {
            return self.end(key, What::Canceled, BY_USER, now);
        }
        let Some(slot) = ghost else { return };
        if keeps {
            if let Some(ghost) = self.record.ghosts_mut().get_mut(slot) {
                ghost.shrink(left);
            }
            return;
        }
        self.record.ghosts_mut().remove(slot);
        if let Some(own) = self.orders.get_mut(&key) {
            own.ghost = None;
        }
        self.enter(key, plan, false, now);
    }

    fn cancel(&mut self, key: (u32, u64), now: Now) {
        let Some(own) = self.orders.get(&key) else { return self.answer(key, Asked::Cancel, Err(UNKNOWN), now) };
        let id = own.id.clone();
        self.answer(key, Asked::Cancel, Ok(id), now);
        self.end(key, What::Canceled, BY_USER, now);
    }
}

/// What proves a fill.
#[derive(Debug, Clone, Copy)]
struct Proof {
    evidence: Evidence,
    trade_id: Option<i64>,
    doubt: bool,
}

/// What an order would take.
#[derive(Debug, Default)]
struct Plan {
    /// Key of the offer, price, quantity, id of the order.
    takes: Vec<(i64, Price, Qty, Option<Arc<str>>)>,
    /// Quantity that is there for it, as far as it was looked for.
    offered: i64,
    has_offer: bool,
    /// Whether it meets an order of the same account.
    meets_own: bool,
}
