//! What is known of an account at the exchange, and why it may take no new risk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};

use crate::amount::Amount;
use crate::clock::Clock;
use crate::names::order_number;
use crate::note::Note;
use crate::order::Look;
use crate::rate::Tier;
use crate::reconcile::{self, Ask, Outcome, Reconcile, Strangers};
use crate::report::{Change, Fill, Reply};
use crate::run::Adopted;
use crate::terms::{Side, Terms};
use crate::trader::Trader;
use crate::wire::decode::Decoder;
use crate::wire::follow::{Awaiting, Sequence};
use crate::wire::message::{Advisory, Execution};
use crate::wire::request::{SelfTrade, Token, Writer};

pub(super) const SECOND: i64 = 1_000_000_000;
/// With money there is one account in a run.
pub const ACCOUNT: usize = 0;
/// Balances and reports come in different messages: so long they may disagree.
pub(super) const BALANCES_WAIT: i64 = 2 * SECOND;
/// In an account in which there is always something on its way, they are compared after so long all the same.
pub(super) const BALANCES_LATE: i64 = 30 * SECOND;
/// Requests whose time is remembered to compare the clocks.
pub(super) const TIMED_MAX: usize = 1000;
/// Reports of orders that are not taken over yet.
pub(super) const WAITING_MAX: usize = 10_000;
/// Ids of the last changes of balances.
pub(super) const ENTRIES_MAX: usize = 1000;
/// From so long before a maintenance no new risk is taken; Kraken announces it in these words.
pub(super) const MAINTENANCE: i64 = 30 * 60 * SECOND;
/// So long before a maintenance the dead-man timer is ended: nobody could set it again.
pub(super) const DISARM: i64 = 60 * SECOND;

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
pub(super) enum Effect {
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
    pub(super) const fn moves_money(&self) -> bool {
        match self {
            Self::Reply(Reply::Report(report)) => matches!(report.change, Change::Fill(_)),
            Self::Look(..) | Self::Adopt(..) => true,
            Self::Reply(_) | Self::Deposit(..) | Self::System(_) | Self::Tier(_) => false,
        }
    }
}

/// What a frame, or time, led to.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// For the trader.
    pub(super) effects: Vec<Effect>,
    /// Why the connection is to be made anew.
    pub(super) renew: Option<String>,
}

/// An account at the exchange.
pub struct Live {
    pub(super) options: Options,
    pub(super) writer: Writer,
    pub(super) decoder: Decoder,
    pub(super) token: Option<Token>,
    pub(super) phase: Phase,
    pub(super) reports: Sequence,
    pub(super) holdings: Sequence,
    pub(super) awaiting: Awaiting,
    /// When requests were sent, by their ids: the clocks are compared by what is answered.
    pub(super) timed: BTreeMap<u64, i64>,
    /// The last time of the exchange in an answer on this connection, ns: what it did earlier is told already.
    pub(super) told: i64,
    pub(super) clock: Clock,
    /// Numbers of orders by the exchange's ids.
    pub(super) ids: HashMap<Arc<str>, u64>,
    pub(super) earlier: BTreeMap<u64, Earlier>,
    /// Reports of orders that are not taken over yet.
    pub(super) waiting: Vec<Execution>,
    pub(super) reconcile: Option<Reconcile>,
    /// When the exchange was asked for reports on this connection, ns by its clock: a snapshot is not older.
    pub(super) subscribed: Option<i64>,
    pub(super) outcome: Option<Outcome>,
    /// When the reconciliation was over except for the balances.
    pub(super) agreed: Option<i64>,
    /// A look for orders that have no answer, while all others are known.
    pub(super) doubt: Option<Reconcile>,
    /// What REST was asked, by number; whether it is of a reconciliation; when, ns by the exchange's clock.
    pub(super) asks: BTreeMap<u64, (Ask, bool, i64)>,
    pub(super) asked: u64,
    /// The last question before this machine's clock was set: local times of questions up to it mean nothing now.
    pub(super) set_after: u64,
    pub(super) max_rate: Option<u32>,
    /// Balances as the exchange says.
    pub(super) balances: Option<BTreeMap<Arc<str>, Amount>>,
    /// Whether balances of an earlier time are known: then a difference needs a reason.
    pub(super) has_before: bool,
    /// When balances or fills changed first and last since they were compared, in an account with other programs.
    pub(super) moved: Option<(i64, i64)>,
    /// Ids of the last changes of balances that were heard.
    pub(super) entries: VecDeque<Arc<str>>,
    /// Cancels that wait for a connection.
    pub(super) cancels: Vec<u64>,
    pub(super) notes: Vec<Note>,
    pub(super) troubles: Vec<String>,
    /// When the dead-man timer ends, ns by the exchange.
    pub(super) timer: Option<i64>,
    pub(super) timer_ids: BTreeSet<u64>,
    /// Pair and side of the orders of the last snapshot.
    pub(super) shown: HashMap<Arc<str>, (usize, Side)>,
    /// What the exchange announced last, with a begin.
    pub(super) maintenances: Vec<Advisory>,
    /// Why nothing is sent beside what is known here: the journal cannot be written, or the like.
    pub(super) trouble: Option<Arc<str>>,
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

    pub(super) fn exchange_time(&self, now: i64) -> i64 {
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
}
