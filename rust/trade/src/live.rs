//! An account at the exchange: frames of its private socket in, requests as frames out. What they say of orders comes back
//! as effects for the account's [`Trader`], and as notes for its journal.
//!
//! Nothing here waits, sends or writes. After each connection, and whenever a message is missing, own orders are
//! reconciled; no new risk is taken before. A request without an answer is looked for, and never sent again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};
use krakpot_core::wire::message::Kind;

use crate::amount::{Amount, Price, Qty};
use crate::clock::Clock;
use crate::names::{cl_ord_id, order_number};
use crate::note::{self, Note};
use crate::order::{Found, GRACE, Ignored, Look, Order, State};
use crate::rate::Tier;
use crate::reconcile::{self, Ask, Outcome, Own, Reconcile, Seen, Strangers, Trouble, Unexplained};
use crate::report::{Answer, Asked, Change, Fill, Reply};
use crate::run::{Adopted, Run};
use crate::terms::{Request, Sent, Side, Terms};
use crate::trader::Trader;
use crate::wire::decode::Decoder;
use crate::wire::follow::{Awaiting, Sequence};
use crate::wire::message::{Ack, Advisory, Entry, ExecType, Execution, Message, Rows, Status};
use crate::wire::refusal::Refusal;
use crate::wire::request::{self, Frame, SelfTrade, Token, Unsendable, Writer};

const SECOND: i64 = 1_000_000_000;
/// With money there is one account in a run.
pub const ACCOUNT: usize = 0;
/// Balances and reports come in different messages: so long they may disagree.
const BALANCES_WAIT: i64 = 2 * SECOND;
/// In an account in which there is always something on its way, they are compared after so long all the same.
const BALANCES_LATE: i64 = 30 * SECOND;
/// Requests whose time is remembered to compare the clocks.
const TIMED_MAX: usize = 1000;
/// Reports of orders that are not taken over yet.
const WAITING_MAX: usize = 10_000;
/// Ids of the last changes of balances.
const ENTRIES_MAX: usize = 1000;
/// From so long before a maintenance no new risk is taken; Kraken announces it in these words.
const MAINTENANCE: i64 = 30 * 60 * SECOND;
/// So long before a maintenance the dead-man timer is ended: nobody could set it again.
const DISARM: i64 = 60 * SECOND;

/// How an account at the exchange behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Begin of the names of the strategy's orders.
    pub prefix: Box<str>,
    /// What happens where own orders meet.
    pub self_trade: SelfTrade,
    /// Whether new orders are only checked by the exchange.
    pub validate: bool,
    /// What is thought of orders with this prefix that are not known.
    pub strangers: Strangers,
    /// How old what REST shows may be, ns.
    pub lag: i64,
    /// After how long a reconciliation has failed, ns.
    pub limit: i64,
    /// How far the clocks may be apart, ns; `None`: as far as they are.
    pub clock: Option<i64>,
    /// Whether the dead-man timer must run before new risk is taken.
    pub dead_man: bool,
    /// Whether other programs trade in this account: what own fills and entries do not explain is theirs.
    pub shared: bool,
}

impl Options {
    /// The usual ones.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        let reconcile::Options { prefix, strangers, lag, limit } = reconcile::Options::new(prefix);
        let (self_trade, clock) = (SelfTrade::default(), Some(SECOND / 4));
        Self { prefix, self_trade, validate: false, strangers, lag, limit, clock, dead_man: false, shared: false }
    }
}

/// How far the account is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not connected.
    Down,
    /// Own orders are being compared with the exchange's.
    Reconciling,
    /// All is known.
    Ready,
    /// What does not agree is in [`Live::troubles`].
    Failed,
}

/// An order of an earlier run that may be at the exchange.
#[derive(Debug, Clone)]
pub struct Earlier {
    /// Its number.
    pub number: u64,
    /// What was asked for at first.
    pub terms: Terms,
    /// A word of the strategy.
    pub tag: Arc<str>,
    /// The exchange's id, if it was told.
    pub order_id: Option<Arc<str>>,
    /// Local time at which it was sent, ns.
    pub sent: i64,
    /// The exchange does not match it after this time, ns.
    pub deadline: i64,
    /// Its fills that are known.
    pub known: Vec<Fill>,
    /// Time of the last of them, ns.
    pub last_fill: Option<i64>,
}

/// What is to be done to the account's trader, in this order.
#[derive(Debug, Clone)]
enum Effect {
    /// The exchange said something of an order.
    Reply(Reply),
    /// Somebody looked for an order.
    Look(u64, Look),
    /// An order of an earlier run was found; whether no journal had it.
    Adopt(Box<Adopted>, bool),
    /// Something came from outside, or left.
    Deposit(Arc<str>, Amount),
    /// The exchange is in this state.
    System(Arc<str>),
    /// So much it allows the account.
    Tier(Tier),
}

impl Effect {
    /// Whether own fills may be in it.
    const fn moves_money(&self) -> bool {
        match self {
            Self::Reply(Reply::Report(report)) => matches!(report.change, Change::Fill(_)),
            Self::Look(..) | Self::Adopt(..) => true,
            Self::Reply(_) | Self::Deposit(..) | Self::System(_) | Self::Tier(_) => false,
        }
    }
}

/// What a frame, or time, led to.
#[derive(Debug, Default)]
struct Heard {
    /// For the trader.
    effects: Vec<Effect>,
    /// Why the connection is to be made anew.
    renew: Option<String>,
}

/// An account at the exchange.
pub struct Live {
    options: Options,
    writer: Writer,
    decoder: Decoder,
    token: Option<Token>,
    phase: Phase,
    reports: Sequence,
    holdings: Sequence,
    awaiting: Awaiting,
    /// When requests were sent, by their ids: the clocks are compared by what is answered.
    timed: BTreeMap<u64, i64>,
    /// The last time of the exchange in an answer on this connection, ns: what it did earlier is told already.
    told: i64,
    clock: Clock,
    /// Numbers of orders by the exchange's ids.
    ids: HashMap<Arc<str>, u64>,
    earlier: BTreeMap<u64, Earlier>,
    /// Reports of orders that are not taken over yet.
    waiting: Vec<Execution>,
    reconcile: Option<Reconcile>,
    /// When the exchange was asked for reports on this connection, ns by its clock: a snapshot is not older.
    subscribed: Option<i64>,
    outcome: Option<Outcome>,
    /// When the reconciliation was over except for the balances.
    agreed: Option<i64>,
    /// A look for orders that have no answer, while all others are known.
    doubt: Option<Reconcile>,
    /// What REST was asked, by number; whether it is of a reconciliation; when, ns by the exchange's clock.
    asks: BTreeMap<u64, (Ask, bool, i64)>,
    asked: u64,
    /// The last question before this machine's clock was set: local times of questions up to it mean nothing now.
    set_after: u64,
    max_rate: Option<u32>,
    /// Balances as the exchange says.
    balances: Option<BTreeMap<Arc<str>, Amount>>,
    /// Whether balances of an earlier time are known: then a difference needs a reason.
    has_before: bool,
    /// When balances or fills changed first and last since they were compared, in an account with other programs.
    moved: Option<(i64, i64)>,
    /// Ids of the last changes of balances that were heard.
    entries: VecDeque<Arc<str>>,
    /// Cancels that wait for a connection.
    cancels: Vec<u64>,
    notes: Vec<Note>,
    troubles: Vec<String>,
    /// When the dead-man timer ends, ns by the exchange.
    timer: Option<i64>,
    timer_ids: BTreeSet<u64>,
    /// Pair and side of the orders of the last snapshot.
    shown: HashMap<Arc<str>, (usize, Side)>,
    /// What the exchange announced last, with a begin.
    maintenances: Vec<Advisory>,
    /// Why nothing is sent beside what is known here: the journal cannot be written, or the like.
    trouble: Option<Arc<str>>,
}

impl Live {
    /// Not connected yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let (self_trade, validate) = (options.self_trade, options.validate);
        let writer = Writer { prefix: options.prefix.clone(), self_trade, validate };
        Self {
            options,
            writer,
            decoder: Decoder::default(),
            token: None,
            phase: Phase::Down,
            reports: Sequence::default(),
            holdings: Sequence::default(),
            awaiting: Awaiting::default(),
            timed: BTreeMap::new(),
            told: i64::MIN,
            clock: Clock::default(),
            ids: HashMap::new(),
            earlier: BTreeMap::new(),
            waiting: Vec::new(),
            reconcile: None,
            subscribed: None,
            outcome: None,
            agreed: None,
            doubt: None,
            asks: BTreeMap::new(),
            asked: 0,
            set_after: 0,
            max_rate: None,
            balances: None,
            has_before: false,
            moved: None,
            entries: VecDeque::new(),
            cancels: Vec::new(),
            notes: Vec::new(),
            troubles: Vec::new(),
            timer: None,
            timer_ids: BTreeSet::new(),
            shown: HashMap::new(),
            maintenances: Vec::new(),
            trouble: None,
        }
    }

    // What is known.

    /// How far the account is known.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// What does not agree, in sentences.
    #[must_use]
    pub fn troubles(&self) -> &[String] {
        &self.troubles
    }

    /// Own orders that were compared at last: what was found, and open orders of other programs.
    #[must_use]
    pub const fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// The exchange's clock less this one, ns, and the length of the exchange that says so; `None`: not known yet.
    #[must_use]
    pub fn clock(&self) -> Option<(i64, i64)> {
        self.clock.best()
    }

    /// How high the exchange lets the rate counter be; `None`: it did not say yet.
    #[must_use]
    pub const fn max_rate(&self) -> Option<u32> {
        self.max_rate
    }

    /// When the dead-man timer ends, ns by the exchange.
    #[must_use]
    pub const fn timer(&self) -> Option<i64> {
        self.timer
    }

    /// Requests that have no answer yet.
    #[must_use]
    pub fn unanswered_requests(&self) -> usize {
        self.awaiting.len()
    }

    /// Rows for the journal, oldest first. Those of requests must be on disk before the requests are sent.
    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// An order of an earlier run that may be at the exchange.
    pub fn restore(&mut self, earlier: Earlier) {
        if let Some(id) = &earlier.order_id {
            self.ids.insert(id.clone(), earlier.number);
        }
        self.earlier.insert(earlier.number, earlier);
    }

    /// The account's balances of an earlier time are known: what there is now needs a reason.
    pub const fn has_balances(&mut self) {
        self.has_before = true;
    }

    /// Something else forbids new risk, or does not any more.
    pub fn set_trouble(&mut self, why: Option<Arc<str>>) {
        self.trouble = why;
    }

    /// Why no new risk may be taken: what the gap is of, and what a refusal says after `krakpot:`.
    #[must_use]
    pub fn why_not(&self, now: i64) -> Option<(&'static str, Arc<str>)> {
        let account = |text: &str| Some(("account", Arc::from(text)));
        if let Some(trouble) = &self.trouble {
            return Some(("account", trouble.clone()));
        }
        match self.phase {
            Phase::Ready => {}
            Phase::Failed => return account("account: own orders do not agree with the exchange; it was halted"),
            Phase::Down => return account("account: the private connection is down; only cancels wait for it"),
            Phase::Reconciling => {
                return account("account: own orders are being compared with the exchange; only cancels pass");
            }
        }
        if let Some(most) = self.options.clock {
            let Some((offset, _)) = self.clock.best() else {
                let text = if self.clock.offset().is_some() {
                    "clock: this machine's clock was set; the exchange's next answer says how far from its own it is"
                } else {
                    "clock: no answer of the exchange said its time yet"
                };
                return Some(("clock", text.into()));
            };
            if offset.abs() > most {
                let (offset, most) = (offset / 1_000_000, most / 1_000_000);
                let text = format!("clock: the exchange's clock is {offset} ms from this one; {most} ms are allowed");
                return Some(("clock", text.into()));
            }
        }
        if self.is_near(now, MAINTENANCE) {
            return Some(("exchange", "maintenance: the exchange announces one within half an hour".into()));
        }
        if self.options.dead_man && self.timer.is_none_or(|end| end <= self.exchange_time(now)) {
            return account("dead_man: the exchange did not confirm the dead-man timer");
        }
        None
    }

    /// Whether the dead-man timer should run now: not in a maintenance, in which nobody could set it again.
    #[must_use]
    pub fn may_arm(&self, now: i64) -> bool {
        !self.is_near(now, DISARM)
    }

    /// Whether a maintenance begins within so long, or goes on by what was announced.
    fn is_near(&self, now: i64, before: i64) -> bool {
        let time = self.exchange_time(now);
        // One that is over does not hide the next one.
        let near = |begin: i64| time >= begin.saturating_sub(before);
        self.maintenances.iter().any(|one| one.begin.is_some_and(near) && one.end.is_none_or(|end| time < end))
    }

    /// The pair of an own order, by the exchange's id of it or by its name.
    #[must_use]
    pub fn pair_of(&self, order_id: &str, name: Option<&str>, trader: &Trader) -> Option<usize> {
        let named = name.and_then(|name| order_number(&self.options.prefix, name));
        let number = named.or_else(|| self.ids.get(order_id).copied())?;
        let here = trader.order(number).map(|order| order.terms.pair);
        here.or_else(|| self.earlier.get(&number).map(|order| order.terms.pair))
    }

    fn exchange_time(&self, now: i64) -> i64 {
        now + self.clock.offset().unwrap_or(0)
    }

    /// This machine's clock was set: it shows so much more than it would have, ns. Where a limit looks at the clocks, no
    /// new risk is taken until they are compared again.
    pub fn clock_was_set(&mut self, by: i64) {
        self.clock.set(by);
        // What was sent before cannot be compared with what is heard from now on.
        self.timed.clear();
        self.set_after = self.asked;
        self.agreed = self.agreed.map(|at| at.saturating_add(by));
        self.moved = self.moved.map(|(first, last)| (first.saturating_add(by), last.saturating_add(by)));
    }

    // The connection.

    /// A connection is open: what is to be sent over it at once. `None`: the token is none.
    pub fn connected(&mut self, now: i64, token: &str, trader: &Trader) -> Option<Vec<Frame>> {
        let token = Token::new(token)?;
        self.reports.reset();
        self.holdings.reset();
        self.awaiting.take_all();
        self.timed.clear();
        self.told = i64::MIN;
        self.timer_ids.clear();
        self.waiting.clear();
        self.asks.clear();
        (self.doubt, self.balances, self.agreed, self.outcome) = (None, None, None, None);
        self.phase = Phase::Reconciling;
        // The request comes later than it is sent, however uncertain the clocks are.
        self.subscribed = self.clock.best().map(|(offset, length)| now.saturating_add(offset - length / 2));
        self.reconcile = Some(self.begin(now, trader));
        let mut frames = Vec::new();
        for subscription in [request::executions, request::balances] {
            let id = self.id(now);
            frames.push(subscription((id, &token)));
        }
        // What was cancelled meanwhile. It can only end orders.
        for order in std::mem::take(&mut self.cancels) {
            if trader.order(order).is_some_and(Order::is_live) {
                let asked = Request::Cancel { order };
                let id = self.awaiting.add(&asked);
                self.time(id, now);
                frames.extend(self.writer.cancel(&[order], (id, &token)).ok());
            }
        }
        self.token = Some(token);
        Some(frames)
    }

    fn begin(&self, now: i64, trader: &Trader) -> Reconcile {
        let options = reconcile::Options {
            prefix: self.options.prefix.clone(),
            strangers: self.options.strangers,
            lag: self.options.lag,
            limit: self.options.limit,
        };
        Reconcile::new(self.exchange_time(now), self.own(trader), options)
    }

    /// The connection is gone.
    pub fn disconnected(&mut self) {
        (self.phase, self.token, self.reconcile, self.doubt) = (Phase::Down, None, None, None);
        self.asks.clear();
        self.awaiting.take_all();
    }

    /// Own orders that may be at the exchange.
    fn own(&self, trader: &Trader) -> Vec<Own> {
        let name = |number| cl_ord_id(&self.options.prefix, number).map(Arc::from);
        let of = |order: &Order| {
            Some(Own {
                number: order.number,
                name: name(order.number)?,
                order_id: order.order_id.clone(),
                deadline: order.deadline,
                sent: order.sent,
                filled: order.booked,
                fills: order.fill_ids().to_vec(),
                last_fill: order.reported,
            })
        };
        let here = trader.all_orders().filter(|order| order.is_live() || order.at_stake().is_positive()).filter_map(of);
        let before = self.earlier.values().filter_map(|order| {
            Some(Own {
                number: order.number,
                name: name(order.number)?,
                order_id: order.order_id.clone(),
                deadline: order.deadline,
                sent: order.sent,
                filled: order.known.iter().map(|fill| fill.qty).sum(),
                fills: order.known.iter().map(Fill::id).collect(),
                last_fill: order.last_fill,
            })
        });
        before.chain(here).collect()
    }

    fn id(&mut self, now: i64) -> u64 {
        let id = self.awaiting.id();
        self.time(id, now);
        id
    }

    fn time(&mut self, id: u64, now: i64) {
        // Some are never answered; the newest are the ones that may be.
        if self.timed.len() == TIMED_MAX {
            self.timed.pop_first();
        }
        self.timed.insert(id, now);
    }

    // Requests.

    /// The requests of the run as frames, in their order, and whether one is a cancel. The rows of the others must be in the
    /// journal before they are sent; cancels may go in any case.
    pub fn requests(&mut self, now: i64, run: &mut Run) -> Vec<(Frame, bool)> {
        let sent = run.take_outbox();
        if sent.is_empty() {
            return Vec::new();
        }
        let (frames, effects) = self.frames(now, sent, run.trader(ACCOUNT));
        self.act(now, run, Heard { effects, renew: None });
        frames
    }

    fn frames(&mut self, now: i64, sent: Vec<Sent>, trader: &Trader) -> (Vec<(Frame, bool)>, Vec<Effect>) {
        let (mut frames, mut effects) = (Vec::new(), Vec::new());
        let time = self.exchange_time(now);
        for Sent { request, .. } in sent {
            let number = request.order();
            let Some(order) = trader.order(number) else { continue };
            let refuse = |text: String| {
                let asked = match request {
                    Request::Add { .. } => Asked::Add,
                    Request::Amend { .. } => Asked::Amend,
                    Request::Cancel { .. } => Asked::Cancel,
                };
                let result = Err(format!("krakpot:{text}").into());
                Effect::Reply(Reply::Answer(Answer { order: number, asked, result, ts: time }))
            };
            let Some(token) = &self.token else {
                if matches!(request, Request::Cancel { .. }) {
                    // The exchange may never have heard of it; if it has, it is cancelled then.
                    if !self.cancels.contains(&number) {
                        self.cancels.push(number);
                    }
                    self.note(note::intent(&request, order, trader.pair(order.terms.pair), &self.options.prefix));
                } else {
                    effects.push(refuse("account: the private connection is down; nothing was sent".into()));
                }
                continue;
            };
            let id = self.awaiting.add(&request);
            let pair = trader.pair(order.terms.pair);
            match self.writer.request(&request, pair, Some((&order.terms, order.qty)), (id, token)) {
                Ok(frame) => {
                    let note = note::intent(&request, order, pair, &self.options.prefix);
                    self.note(note);
                    self.time(id, now);
                    frames.push((frame, matches!(request, Request::Cancel { .. })));
                }
                Err(why) => {
                    self.awaiting.forget(id);
                    effects.push(refuse(format!("unsendable: {why}")));
                }
            }
        }
        (frames, effects)
    }

    /// Sets the dead-man timer of the account; 0 ends it. `None` without a connection.
    ///
    /// # Errors
    /// [`Unsendable::Timeout`].
    pub fn arm(&mut self, now: i64, seconds: u32) -> Result<Option<Frame>, Unsendable> {
        if self.token.is_none() {
            return Ok(None);
        }
        let id = self.id(now);
        if self.timer_ids.len() == TIMED_MAX {
            self.timer_ids.pop_first();
        }
        self.timer_ids.insert(id);
        let Some(token) = &self.token else { return Ok(None) };
        request::cancel_all_after(seconds, (id, token)).map(Some)
    }

    /// A sign of life is asked for: its answer compares the clocks.
    pub fn ping(&mut self, now: i64) -> String {
        request::ping(self.id(now))
    }

    fn note(&mut self, note: Note) {
        self.notes.push(note);
    }

    // Frames.

    /// A frame of the private socket. Returns why the connection is to be made anew, if it is.
    pub fn frame(&mut self, now: i64, frame: &[u8], run: &mut Run) -> Option<String> {
        let message = match self.decoder.decode(frame) {
            Ok(message) => message,
            Err(why) => return Some(format!("a message cannot be read ({why})")),
        };
        let heard = self.message(now, message, run.trader(ACCOUNT));
        self.act(now, run, heard)
    }

    fn message(&mut self, now: i64, message: Message, trader: &Trader) -> Heard {
        let mut heard = Heard::default();
        match message {
            Message::Ack(ack) => self.ack(now, &ack, trader, &mut heard),
            Message::Executions(rows) => self.executions(now, rows, trader, &mut heard),
            Message::Holdings(rows) => {
                if let Some(why) = doubtful("balances", &mut self.holdings, &rows) {
                    heard.renew = Some(why);
                }
                self.money_moved(now);
                self.balances = Some(rows.taken.into_iter().map(|row| (row.asset, row.total)).collect());
            }
            Message::Entries(rows) => {
                if let Some(why) = doubtful("balances", &mut self.holdings, &rows) {
                    heard.renew = Some(why);
                }
                self.money_moved(now);
                for entry in rows.taken {
                    self.entry(&entry, &mut heard);
                }
            }
            Message::Status(all) => self.status(all, &mut heard),
            Message::Restarting => heard.renew = Some("what is between here and the exchange restarts".into()),
            Message::Heartbeat | Message::Other(_) => {}
        }
        self.settle(now, trader, &mut heard);
        heard
    }

    /// Does to the run what was heard, and what follows from that.
    fn act(&mut self, now: i64, run: &mut Run, mut heard: Heard) -> Option<String> {
        let mut renew = heard.renew.take();
        loop {
            for effect in std::mem::take(&mut heard.effects) {
                if effect.moves_money() {
                    self.money_moved(now);
                }
                renew = renew.or(self.apply(now, run, effect));
            }
            self.settle(now, run.trader(ACCOUNT), &mut heard);
            renew = renew.or(heard.renew.take());
            if heard.effects.is_empty() {
                break;
            }
        }
        run.set_offset(ACCOUNT, self.exchange_time(now) - now);
        let why = self.why_not(now);
        run.block(now, ACCOUNT, why);
        renew
    }

    /// Does one effect. Returns why the connection is to be made anew: what was said contradicts what is known.
    fn apply(&mut self, now: i64, run: &mut Run, effect: Effect) -> Option<String> {
        let (number, at, fills) = match effect {
            Effect::Deposit(asset, amount) => {
                run.deposit(ACCOUNT, &asset, amount);
                return None;
            }
            Effect::Tier(tier) => {
                run.set_tier(ACCOUNT, tier);
                return None;
            }
            Effect::System(system) => {
                run.set_system(now, &system);
                return None;
            }
            Effect::Reply(reply) => return self.reply(now, run, &reply),
            Effect::Look(number, look) => {
                let (at, fills) = match &look {
                    Look::Found(found) => (found.ts, &found.fills[..]),
                    Look::NotFound { ts } => (*ts, &[][..]),
                };
                let order = run.trader(ACCOUNT).order(number)?;
                let new: Vec<Fill> = fills.iter().filter(|fill| !order.has_fill(fill)).cloned().collect();
                if matches!(look, Look::Found(_)) {
                    self.revive(now, run, number);
                }
                if let Err(why) = run.resolve(now, ACCOUNT, number, &look) {
                    // More is known than REST shows: reports came meanwhile.
                    if ![Ignored::Stale, Ignored::Duplicate, Ignored::Ended].contains(&why) {
                        let word = why.word();
                        self.fail(vec![format!(
                            "order {number}: what REST shows does not agree with reports ({word})"
                        )]);
                    }
                    return None;
                }
                (number, at, new)
            }
            Effect::Adopt(adopted, is_strange) => {
                let (number, found) = (adopted.number, adopted.found.clone());
                if let Err(why) = run.adopt(now, ACCOUNT, *adopted) {
                    let word = why.word();
                    self.fail(vec![format!("order {number}: {} cannot be taken over ({word})", found.order_id)]);
                    return None;
                }
                let trader = run.trader(ACCOUNT);
                if let Some(order) = trader.order(number).filter(|_| is_strange) {
                    let note = note::adopted(order, trader.pair(order.terms.pair), &self.options.prefix);
                    self.note(note);
                }
                (number, found.ts, found.fills)
            }
        };
        let trader = run.trader(ACCOUNT);
        let order = trader.order(number)?;
        let pair = trader.pair(order.terms.pair);
        if !fills.is_empty() {
            // The quantity first: the fills may be of an amendment that no row tells of.
            self.note(note::looked(order, pair, at, false));
        }
        for fill in &fills {
            self.note(note::fill(fill, order, pair, at));
        }
        self.note(note::looked(order, pair, at, true));
        self.forget(trader, number);
        None
    }

    /// An answer or a report.
    fn reply(&mut self, now: i64, run: &mut Run, reply: &Reply) -> Option<String> {
        let (number, is_report) = match reply {
            Reply::Answer(answer) => (answer.order, false),
            Reply::Report(report) => (report.order, true),
        };
        if is_report {
            self.revive(now, run, number);
        }
        let ignored = run.reply(now, ACCOUNT, reply.clone()).err();
        let trader = run.trader(ACCOUNT);
        let order = trader.order(number)?;
        if ignored.is_none() {
            let note = note::reply(reply, order, trader.pair(order.terms.pair));
            self.note(note);
        }
        self.forget(trader, number);
        let wrong = [Ignored::Overfilled, Ignored::Contradicts, Ignored::OtherId, Ignored::Malformed];
        let why = ignored.filter(|why| is_report && wrong.contains(why))?;
        Some(format!("a report of order {number} does not agree with what is known ({})", why.word()))
    }

    /// The exchange shows an order: if it was believed to be rejected, it is cancelled, and nothing is traded any more.
    fn revive(&mut self, now: i64, run: &mut Run, number: u64) {
        let Some(order) = run.trader(ACCOUNT).order(number).filter(|order| order.state() == State::Rejected) else {
            return;
        };
        let sentence = format!("order {number}: the exchange shows it, which was rejected ({})", order.reason);
        run.revive(now, ACCOUNT, number);
        let trader = run.trader(ACCOUNT);
        if let Some(order) = trader.order(number) {
            let note = note::looked(order, trader.pair(order.terms.pair), now, true);
            self.note(note);
        }
        self.fail(vec![sentence]);
    }

    /// An order is over and nothing is missing of it: reports say its name, if any come.
    fn forget(&mut self, trader: &Trader, number: u64) {
        let over = |order: &&Order| !order.is_live() && !order.at_stake().is_positive();
        if let Some(id) = trader.order(number).filter(over).and_then(|order| order.order_id.as_ref()) {
            self.ids.remove(id);
        }
    }

    /// Own orders do not agree with the exchange's: nothing is traded.
    fn fail(&mut self, troubles: Vec<String>) {
        self.troubles = troubles;
        let note = note::failed(&self.troubles);
        self.note(note);
        (self.phase, self.reconcile) = (Phase::Failed, None);
    }

    fn ack(&mut self, now: i64, ack: &Ack, trader: &Trader, heard: &mut Heard) {
        let id = ack.req_id.unwrap_or_default();
        self.told = self.told.max(ack.time_out.unwrap_or(i64::MIN));
        if let (Some(sent), Some(came), Some(left)) = (self.timed.remove(&id), ack.time_in, ack.time_out) {
            let first = self.clock.offset().is_none();
            self.clock.add(sent, came, left, now);
            if let (true, Some(offset)) = (first, self.clock.offset()) {
                // It began by this machine's clock; the snapshot may be there already.
                self.reconcile.iter_mut().chain(&mut self.doubt).for_each(|one| one.shift(offset));
                self.asks.values_mut().for_each(|ask| ask.2 = ask.2.saturating_add(offset));
            }
        }
        if ack.channel.as_deref() == Some("executions") && ack.result.is_ok() {
            self.subscribed = ack.time_in.or(self.subscribed);
            let limit = ack.rate_limit.and_then(|limit| u32::try_from(limit.rescale(0)?).ok());
            self.max_rate = limit.or(self.max_rate);
            heard.effects.extend(limit.map(|limit| Effect::Tier(Tier::with_limit(limit))));
        }
        if self.timer_ids.remove(&id) {
            match &ack.result {
                Ok(_) => self.timer = ack.trigger_time,
                Err(text) => heard.renew = Some(format!("the dead-man timer was refused: {text}")),
            }
            return;
        }
        match &ack.result {
            Err(text) if Refusal::of(text) == Refusal::Token => {
                heard.renew = Some(format!("the token is not taken: {text}"));
            }
            Err(text) if ack.method == "subscribe" => {
                heard.renew = Some(format!("a subscription was refused: {text}"));
            }
            _ => {}
        }
        let Some(mut answer) = self.awaiting.answer(ack, self.exchange_time(now)) else { return };
        if self.options.validate && answer.asked == Asked::Add && answer.result.is_ok() {
            answer.result = Err("krakpot:validated: the exchange would take it; nothing was placed".into());
        }
        match &answer.result {
            Ok(id) if !id.is_empty() => {
                self.ids.insert(id.clone(), answer.order);
            }
            // The exchange repeats the name.
            Ok(_) => {
                let known = trader.order(answer.order).and_then(|order| order.order_id.clone());
                answer.result = Ok(known.unwrap_or_default());
            }
            Err(_) => {}
        }
        if answer.result.is_ok()
            && let Some(doubt) = &mut self.doubt
        {
            doubt.heard(answer.order);
        }
        if trader.order(answer.order).is_some() {
            heard.effects.push(Effect::Reply(Reply::Answer(answer)));
        }
    }

    fn executions(&mut self, now: i64, rows: Rows<Execution>, trader: &Trader, heard: &mut Heard) {
        if let Some(why) = doubtful("executions", &mut self.reports, &rows) {
            heard.renew = Some(why);
            return;
        }
        if rows.kind == Kind::Snapshot {
            self.snapshot(now, rows.taken, trader, heard);
            return;
        }
        for row in rows.taken {
            self.report(row, trader, heard);
        }
    }

    /// The number of a report's order; `None`: it is not this strategy's.
    fn number(&mut self, row: &Execution) -> Option<u64> {
        let named = row.cl_ord_id.as_ref().and_then(|name| order_number(&self.options.prefix, name));
        let number = named.or_else(|| self.ids.get(&row.order_id).copied())?;
        self.ids.insert(row.order_id.clone(), number);
        Some(number)
    }

    /// Whether an order of an earlier run, of which nothing was known, came to the exchange after the snapshot.
    fn has_arrived(&self, number: u64) -> bool {
        let unheard = self.earlier.get(&number).is_some_and(|order| order.order_id.is_none() && order.known.is_empty());
        unheard && self.reconcile.as_ref().is_some_and(|one| one.is_missing(number))
    }

    fn report(&mut self, row: Execution, trader: &Trader, heard: &mut Heard) {
        let Some(number) = self.number(&row) else { return };
        let Some(order) = trader.order(number) else {
            if self.has_arrived(number) {
                // It was on its way when the run before ended. All reports of it follow.
                let (ts, order_id) = (row.ts, row.order_id.clone());
                let Some(Earlier { terms, tag, known, .. }) = self.earlier.remove(&number) else { return };
                let found =
                    Found { qty: terms.qty, price: terms.price, state: State::Pending, ..nothing(order_id, ts) };
                heard.effects.push(Effect::Adopt(Box::new(Adopted { number, terms, tag, found, known }), false));
                if let Some(reconcile) = &mut self.reconcile {
                    reconcile.heard(number);
                }
                self.waiting.push(row);
                self.catch_up(number, terms, trader, heard);
            } else if self.earlier.contains_key(&number) {
                if self.waiting.len() < WAITING_MAX {
                    self.waiting.push(row);
                } else {
                    heard.renew = Some("too many reports of orders of an earlier run wait".into());
                }
            } else if self.phase == Phase::Ready && !matches!(row.exec_type, ExecType::Other(_)) {
                heard.renew = Some(format!("an order that is not known was reported: {}", row.order_id));
            }
            return;
        };
        match row.report(number, trader.pair(order.terms.pair)) {
            Ok(Some(report)) => {
                for reconcile in self.reconcile.iter_mut().chain(&mut self.doubt) {
                    reconcile.heard(number);
                }
                heard.effects.push(Effect::Reply(Reply::Report(report)));
            }
            Ok(None) => {}
            Err(why) => heard.renew = Some(format!("a report cannot be read ({why})")),
        }
    }

    fn snapshot(&mut self, now: i64, rows: Vec<Execution>, trader: &Trader, heard: &mut Heard) {
        self.shown.clear();
        let (mut open, mut fills) = (Vec::new(), Vec::new());
        for row in rows {
            let number = self.number(&row);
            let pair = row.symbol.as_ref().and_then(|symbol| trader.find(symbol));
            // An order of another pair is nobody's of this run; only its name counts.
            let Some(pair) = pair.map(|pair| trader.pair(pair)) else {
                if row.exec_type != ExecType::Trade {
                    open.push(Seen { name: row.cl_ord_id, found: nothing(row.order_id, row.ts) });
                }
                continue;
            };
            if row.exec_type == ExecType::Trade {
                match row.report(number.unwrap_or_default(), pair) {
                    Ok(Some(report)) => {
                        if let Change::Fill(fill) = report.change {
                            fills.push((row.order_id, fill));
                        }
                    }
                    Ok(None) => {}
                    Err(why) => heard.renew = Some(format!("a fill of the snapshot cannot be read ({why})")),
                }
                continue;
            }
            let steps = |number: Option<krakpot_core::decimal::Decimal>, precision| {
                number.and_then(|number| i64::try_from(number.rescale(precision)?).ok())
            };
            let Some(qty) = steps(row.order_qty, pair.qty_precision) else {
                heard.renew = Some("an order of the snapshot has no quantity".into());
                continue;
            };
            if let Some((pair, side)) = trader.find(&pair.symbol).zip(row.side) {
                self.shown.insert(row.order_id.clone(), (pair, side));
            }
            let pending = row.order_status.as_deref() == Some("pending_new");
            let found = Found {
                // What it says is true now, though nothing changed since.
                ts: row.ts.max(self.subscribed.unwrap_or(row.ts)),
                order_id: row.order_id,
                state: if pending { State::Pending } else { State::Open },
                qty: Qty(qty),
                price: steps(row.limit_price, pair.price_precision).map(Price),
                filled: Qty(steps(row.cum_qty, pair.qty_precision).unwrap_or(0)),
                fills: Vec::new(),
                reason: row.reason,
            };
            open.push(Seen { name: row.cl_ord_id, found });
        }
        let time = self.exchange_time(now);
        if let Some(reconcile) = &mut self.reconcile {
            reconcile.snapshot(time, open, &fills);
        }
    }

    fn entry(&mut self, entry: &Entry, heard: &mut Heard) {
        // The same one may come twice.
        if self.entries.contains(&entry.ledger_id) {
            return;
        }
        if self.entries.len() == ENTRIES_MAX {
            self.entries.pop_front();
        }
        self.entries.push_back(entry.ledger_id.clone());
        if let Some(all) = &mut self.balances {
            all.insert(entry.asset.clone(), entry.balance);
        }
        // Those of trades are told by reports.
        if &*entry.kind != "trade" {
            let note = note::entry(entry);
            self.note(note);
            heard.effects.push(Effect::Deposit(entry.asset.clone(), entry.amount - entry.fee));
        }
    }

    fn status(&mut self, all: Vec<Status>, heard: &mut Heard) {
        for status in all {
            let concerns = |one: &Advisory| {
                one.services.is_empty() || one.services.iter().any(|service| service.starts_with("spot"))
            };
            let dated = status.maintenance.into_iter().filter(|one| one.begin.is_some() && concerns(one));
            self.maintenances = dated.collect();
            heard.effects.push(Effect::System(status.system));
        }
    }

    // Reconciliation.

    /// What REST is to be asked now: a number for the answer, and the question.
    pub fn take_asks(&mut self, now: i64) -> Vec<(u64, Ask)> {
        let time = self.exchange_time(now);
        let mut found = Vec::new();
        for (reconcile, of_all) in [(&mut self.reconcile, true), (&mut self.doubt, false)] {
            for ask in reconcile.iter_mut().flat_map(|reconcile| reconcile.take_asks(time)) {
                self.asked += 1;
                self.asks.insert(self.asked, (ask.clone(), of_all, time));
                found.push((self.asked, ask));
            }
        }
        found
    }

    /// A question, when it was asked at the earliest, and whose it is.
    fn asking(&mut self, number: u64) -> Option<(Ask, i64, &mut Reconcile)> {
        let (ask, of_all, asked) = self.asks.remove(&number)?;
        let reconcile = if of_all { &mut self.reconcile } else { &mut self.doubt };
        Some((ask, asked, reconcile.as_mut()?))
    }

    /// Orders that REST showed; it was asked at `asked`, local time.
    pub fn rest_orders(&mut self, now: i64, number: u64, asked: i64, rows: &[Seen], run: &mut Run) -> Option<String> {
        let time = self.exchange_time(now);
        // Where this clock was set meanwhile, only the time at which the question was made is known.
        let asked = if number > self.set_after { self.exchange_time(asked) } else { i64::MIN };
        for seen in rows {
            // Fills that REST shows later name only this id.
            let named = seen.name.as_ref().and_then(|name| order_number(&self.options.prefix, name));
            if let Some(number) = named {
                self.ids.insert(seen.found.order_id.clone(), number);
            }
        }
        if let Some((ask, earliest, reconcile)) = self.asking(number) {
            // What is known of the clocks may have changed meanwhile.
            reconcile.orders(time, &ask, asked.max(earliest), rows);
        }
        self.act(now, run, Heard::default())
    }

    /// Fills that REST showed, by order id.
    pub fn rest_fills(&mut self, now: i64, number: u64, fills: &[(Arc<str>, Fill)], run: &mut Run) -> Option<String> {
        let time = self.exchange_time(now);
        if let Some((ask, asked, reconcile)) = self.asking(number) {
            reconcile.trades(time, &ask, asked, fills);
        }
        self.act(now, run, Heard::default())
    }

    /// REST did not answer.
    pub fn unanswered(&mut self, now: i64, number: u64) {
        let time = self.exchange_time(now);
        if let Some((ask, _, reconcile)) = self.asking(number) {
            reconcile.unanswered(time, &ask);
        }
    }

    /// It is so late. Returns why the connection is to be made anew, if it is.
    pub fn advance(&mut self, now: i64, run: &mut Run) -> Option<String> {
        self.look_for_unknown(run.trader(ACCOUNT));
        let effects = self.changes_of_others(now, run.trader(ACCOUNT));
        self.act(now, run, Heard { effects, renew: None })
    }

    /// When [`Self::advance`] or [`Self::take_asks`] has something to do, local time, ns; more often is never wrong.
    #[must_use]
    pub fn next_due(&self) -> i64 {
        let offset = self.clock.offset().unwrap_or(0);
        let due = [&self.reconcile, &self.doubt].into_iter().flatten().map(Reconcile::next_due).min();
        let due = due.map_or(i64::MAX, |due| due.saturating_sub(offset));
        let moved = self.moved.map(|(first, last)| (last + BALANCES_WAIT).min(first + BALANCES_LATE));
        self.agreed.map(|agreed| agreed + BALANCES_WAIT).into_iter().chain(moved).fold(due, i64::min)
    }

    /// Hands over what was found, and ends a reconciliation that is over.
    fn settle(&mut self, now: i64, trader: &Trader, heard: &mut Heard) {
        let mut looks: Vec<(u64, Look)> = Vec::new();
        for reconcile in self.reconcile.iter_mut().chain(&mut self.doubt) {
            looks.extend(reconcile.take_looks());
        }
        for (number, look) in looks {
            self.found(number, look, trader, heard);
        }
        let time = self.exchange_time(now);
        if self.doubt.as_ref().is_some_and(|doubt| doubt.outcome(time).is_some()) {
            self.doubt = None;
        }
        if self.phase != Phase::Reconciling || !heard.effects.is_empty() {
            // What was found has to be known to the account first; the caller comes back.
            return;
        }
        let Some(mut outcome) = self.reconcile.as_ref().and_then(|one| one.outcome(time)) else { return };
        if outcome.troubles.is_empty() && self.agreed.is_none() {
            self.agreed = Some(now);
            // In the order of their numbers: the next order of this run comes behind all of them.
            outcome.adopted.sort_by_key(|adopted| adopted.0);
            for (number, seen) in &outcome.adopted {
                match self.strange(*number, seen, trader) {
                    Ok(adopted) => heard.effects.push(Effect::Adopt(Box::new(adopted), true)),
                    Err(trouble) => outcome.troubles.push(trouble),
                }
            }
            if outcome.troubles.is_empty() && !heard.effects.is_empty() {
                return;
            }
        }
        if outcome.troubles.is_empty() {
            self.compare(now, outcome, trader, heard);
        } else {
            self.fail(outcome.troubles.iter().map(ToString::to_string).collect());
            self.outcome = Some(outcome);
        }
    }

    fn found(&mut self, number: u64, look: Look, trader: &Trader, heard: &mut Heard) {
        if let Look::Found(found) = &look {
            self.ids.insert(found.order_id.clone(), number);
        }
        let Some(earlier) = self.earlier.remove(&number) else {
            heard.effects.push(Effect::Look(number, look));
            return;
        };
        match look {
            Look::Found(found) => {
                let Earlier { terms, tag, known, .. } = earlier;
                let adopted = Adopted { number, terms, tag, found, known };
                heard.effects.push(Effect::Adopt(Box::new(adopted), false));
                self.catch_up(number, terms, trader, heard);
            }
            Look::NotFound { ts } => {
                let note = note::dead(number, ts);
                self.note(note);
            }
        }
    }

    /// Reports that waited until their order was taken over.
    fn catch_up(&mut self, number: u64, terms: Terms, trader: &Trader, heard: &mut Heard) {
        let rows = std::mem::take(&mut self.waiting);
        for row in rows {
            if self.number(&row) != Some(number) {
                self.waiting.push(row);
                continue;
            }
            match row.report(number, trader.pair(terms.pair)) {
                Ok(Some(report)) => heard.effects.push(Effect::Reply(Reply::Report(report))),
                Ok(None) => {}
                Err(why) => heard.renew = Some(format!("a report cannot be read ({why})")),
            }
        }
    }

    /// All orders agree: now the balances.
    fn compare(&mut self, now: i64, outcome: Outcome, trader: &Trader, heard: &mut Heard) {
        let agreed = self.agreed.unwrap_or(now);
        let late = now >= agreed + BALANCES_WAIT;
        let Some(balances) = &self.balances else {
            if now >= agreed + self.options.limit {
                self.fail(vec!["the exchange sent no balances".into()]);
            }
            return;
        };
        let differences = reconcile::unexplained(&totals(trader), balances);
        if self.has_before && !differences.is_empty() && !late {
            return;
        }
        for Unexplained { asset, expected, found } in &differences {
            heard.effects.push(Effect::Deposit(asset.clone(), found - expected));
        }
        let mut unexplained = if self.has_before { differences } else { Vec::new() };
        if self.options.shared {
            let at = self.exchange_time(now);
            self.notes.extend(unexplained.drain(..).map(|one| note::others(&one, at)));
            self.moved = None;
        }
        let (found, all) = (note::reconciled(&outcome, &unexplained), note::balances(balances));
        self.note(all);
        self.note(found);
        self.has_before = true;
        (self.phase, self.reconcile, self.agreed, self.outcome) = (Phase::Ready, None, None, Some(outcome));
        self.troubles.clear();
    }

    /// Balances or fills changed: what belongs together may still be on its way.
    fn money_moved(&mut self, now: i64) {
        if self.options.shared {
            self.moved = Some((self.moved.map_or(now, |(first, _)| first), now));
        }
    }

    /// What other programs of the account did to its balances, once nothing is on its way that would explain it: it counts
    /// as if it came from outside. What was taken for theirs too early is taken back by the next comparison.
    fn changes_of_others(&mut self, now: i64, trader: &Trader) -> Vec<Effect> {
        let Some((first, last)) = self.moved.filter(|_| self.phase == Phase::Ready) else { return Vec::new() };
        if now < last + BALANCES_WAIT && now < first + BALANCES_LATE {
            return Vec::new();
        }
        self.moved = None;
        let Some(balances) = &self.balances else { return Vec::new() };
        let at = self.exchange_time(now);
        let differences = reconcile::unexplained(&totals(trader), balances);
        self.notes.extend(differences.iter().map(|one| note::others(one, at)));
        differences.into_iter().map(|one| Effect::Deposit(one.asset, one.found - one.expected)).collect()
    }

    /// An order with this strategy's prefix that no journal has, if all that was filled of it is shown.
    fn strange(&self, number: u64, seen: &Seen, trader: &Trader) -> Result<Adopted, Trouble> {
        let found = seen.found.clone();
        let known = self.shown.get(&found.order_id).filter(|(pair, _)| *pair < trader.pairs());
        let Some(&(pair, side)) = known else {
            return Err(Trouble::Stranger(seen.name.clone().unwrap_or_default(), found.order_id));
        };
        let missing = found.filled - found.fills.iter().map(|fill| fill.qty).sum();
        if missing.is_positive() {
            return Err(Trouble::Fills(number, missing));
        }
        let terms = Terms { price: found.price, ..Terms::limit(pair, side, found.qty, Price(0)) };
        Ok(Adopted { number, terms, tag: "".into(), found, known: Vec::new() })
    }

    /// A row of the balances as they are now, for the end of a journal. False while they are not known, or a report of what
    /// changed them is on its way: nothing is written then.
    pub fn note_balances(&mut self, run: &Run) -> bool {
        let Some(balances) = self.balances.as_ref().filter(|_| self.phase == Phase::Ready) else { return false };
        if !reconcile::unexplained(&totals(run.trader(ACCOUNT)), balances).is_empty() {
            return false;
        }
        let note = note::balances(balances);
        self.note(note);
        true
    }

    // Requests without an answer.

    /// Orders without a clear answer to a request that the exchange does not do any more at this time of its clock.
    fn unknown(trader: &Trader, time: i64) -> impl Iterator<Item = &Order> {
        let orders = (0..trader.pairs()).flat_map(|pair| trader.orders(pair, None));
        orders.filter(move |order| order.overdue().is_some_and(|deadline| time >= deadline.saturating_add(GRACE)))
    }

    /// Whether a sign of life is needed to know what became of a request: until the exchange answers something later, a
    /// report of it may be on its way.
    #[must_use]
    pub fn needs_ping(&self, now: i64, run: &Run) -> bool {
        let trader = run.trader(ACCOUNT);
        let waits = |order: &Order| order.overdue().is_some_and(|deadline| self.told < deadline.saturating_add(GRACE));
        self.phase == Phase::Ready && Self::unknown(trader, self.exchange_time(now)).any(waits)
    }

    /// Looks for what has no clear answer, once it cannot happen any more; other orders are traded meanwhile.
    fn look_for_unknown(&mut self, trader: &Trader) {
        if self.phase != Phase::Ready || self.doubt.is_some() {
            return;
        }
        let time = self.told;
        let unknown: Vec<&Order> = Self::unknown(trader, time).collect();
        if unknown.is_empty() {
            return;
        }
        let numbers: Vec<u64> = unknown.iter().map(|order| order.number).collect();
        let own = self.own(trader).into_iter().filter(|own| numbers.contains(&own.number)).collect();
        // The socket, of which no message is missing, still shows these as they are known; the others it does not show.
        let open = unknown.iter().filter(|order| order.is_known() && !order.is_gone()).filter_map(|order| {
            let found = Found {
                ts: time,
                order_id: order.order_id.clone()?,
                state: State::Open,
                qty: order.qty,
                price: order.price,
                filled: order.filled,
                fills: Vec::new(),
                reason: "".into(),
            };
            Some(Seen { name: None, found })
        });
        let options = reconcile::Options {
            prefix: self.options.prefix.clone(),
            strangers: Strangers::Report,
            lag: self.options.lag,
            limit: self.options.limit.max(self.options.lag + self.options.limit),
        };
        let mut doubt = Reconcile::new(time, own, options);
        doubt.snapshot(time, open.collect(), &[]);
        self.doubt = Some(doubt);
    }
}

/// What the account has, by its own fills and entries.
fn totals(trader: &Trader) -> BTreeMap<Arc<str>, Amount> {
    trader.balances().map(|(asset, balance)| (asset.clone(), balance.total)).collect()
}

/// An order of which only its id is known.
fn nothing(order_id: Arc<str>, ts: i64) -> Found {
    let (state, qty, price, filled) = (State::Open, Qty(0), None, Qty(0));
    Found { ts, order_id, state, qty, price, filled, fills: Vec::new(), reason: "".into() }
}

/// Why a message of a channel is not to be trusted.
fn doubtful<T>(channel: &str, sequence: &mut Sequence, rows: &Rows<T>) -> Option<String> {
    if let Err(jump) = sequence.take(rows.kind, rows.sequence) {
        return Some(format!("{channel}: message {} came in place of {}", jump.found, jump.expected));
    }
    let first = rows.refused.first()?;
    Some(format!("{channel}: {} rows cannot be read ({first})", rows.refused.len() + rows.more))
}
