//! Reconciliation: own orders against what the exchange shows, after a start, a lost connection or a missing message.
//!
//! The snapshot of the private socket shows what is open now, and the last fills. REST shows what ended, but as it was up
//! to a minute ago. Nothing is believed dead while either may still show it, and nothing is ever sent again. The caller
//! asks what [`Reconcile::take_asks`] says, brings the answers, and gives [`Reconcile::take_looks`] to the account.
//! Times are the exchange's, ns.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::amount::{Amount, Qty};
use crate::names::order_number;
use crate::order::{Found, GRACE, Look, State};
use crate::report::{Fill, FillId};

const SECOND: i64 = 1_000_000_000;
/// After how long REST is asked again: the last time about two minutes after the first.
const RETRIES: [i64; 6] = [SECOND, 2 * SECOND, 5 * SECOND, 15 * SECOND, 30 * SECOND, 60 * SECOND];
/// After how long a question without an answer is asked again: nothing was learned, so nothing is to be waited for.
const UNANSWERED: i64 = 2 * SECOND;
/// Orders that one request may ask for.
const QUERIED: usize = 50;
/// The exchange takes no order whose deadline is further away than this.
const DEADLINE_MAX: i64 = 60 * SECOND;
/// Clocks of the exchange may differ by so much.
const MARGIN: i64 = 5 * SECOND;
/// Orders without an id that were made within this time are looked for together: all ended orders of that time are read.
const TOGETHER: i64 = 300 * SECOND;
/// Fills are asked for from this long before the last one that is known: times of fills and of messages differ.
const OVERLAP: i64 = 60 * SECOND;

/// What is thought of orders with this strategy's prefix that no journal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strangers {
    /// The reconciliation fails with their list.
    #[default]
    Report,
    /// They are taken over.
    Adopt,
}

/// How to reconcile.
#[derive(Debug, Clone)]
pub struct Options {
    /// Begin of the names of the strategy's orders.
    pub prefix: Box<str>,
    /// What is thought of orders with this prefix that are not known.
    pub strangers: Strangers,
    /// How old what REST shows may be.
    pub lag: i64,
    /// After how long it has failed.
    pub limit: i64,
}

impl Options {
    /// As Kraken is known to be: REST a minute late at most, and two minutes for all.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into(), strangers: Strangers::default(), lag: 60 * SECOND, limit: 120 * SECOND }
    }
}

/// An own order that may be at the exchange, as the account knows it.
#[derive(Debug, Clone)]
pub struct Own {
    /// Its number.
    pub number: u64,
    /// Its name.
    pub name: Arc<str>,
    /// The exchange's id, if it was told.
    pub order_id: Option<Arc<str>>,
    /// The exchange does not match it after this time, unless it came before.
    pub deadline: i64,
    /// When it was sent.
    pub sent: i64,
    /// Quantity of the fills that are known.
    pub filled: Qty,
    /// What these fills are known by.
    pub fills: Vec<FillId>,
    /// Time of the last of them.
    pub last_fill: Option<i64>,
}

/// An order as the exchange shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its name, if it has one.
    pub name: Option<Arc<str>>,
    /// What it is. Fills that are shown elsewhere are not in it.
    pub found: Found,
}

/// A question to REST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// `QueryOrders` of these ids.
    Orders(Vec<Arc<str>>),
    /// `ClosedOrders` of these names, which were made between these times, if they were made.
    Closed {
        /// Names of orders whose ids are not known.
        names: Vec<Arc<str>>,
        /// They were not made before this time.
        from: i64,
        /// Nor after this one.
        to: i64,
    },
    /// `TradesHistory` from this time on.
    Trades(i64),
}

/// What does not agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// REST says that it is open, the socket says that it is not.
    Open(u64),
    /// Neither shows an order that the exchange once acknowledged, or nobody could look.
    Lost(u64),
    /// So much of it was filled by fills that nobody shows.
    Fills(u64, Qty),
    /// It has the prefix of this strategy, and no journal has it: its name and its id.
    Stranger(Arc<str>, Arc<str>),
    /// No snapshot came.
    Silent,
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open(order) => write!(f, "order {order}: REST says that it is open, the socket says that it is not"),
            Self::Lost(order) => write!(f, "order {order}: the exchange shows it neither as open nor as ended"),
            Self::Fills(order, qty) => write!(f, "order {order}: fills of {} steps are not shown", qty.0),
            Self::Stranger(name, id) => {
                write!(f, "{id}: open under the name {name} of this strategy, and not in the journal")
            }
            Self::Silent => f.write_str("the exchange sent no snapshot of the account"),
        }
    }
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// What does not agree; nothing is traded then.
    pub troubles: Vec<Trouble>,
    /// Orders of this strategy that are to be taken over, with their numbers.
    pub adopted: Vec<(u64, Seen)>,
    /// Open orders of other programs, untouched.
    pub foreign: Vec<Arc<str>>,
    /// Own orders that were found.
    pub found: usize,
    /// Own orders that never came to the exchange.
    pub dead: usize,
}

/// What is missing of an own order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Need {
    Nothing,
    /// What became of it.
    State,
    /// Fills of what became of it.
    Fills(Found),
}

#[derive(Debug)]
struct Doubt {
    own: Own,
    need: Need,
    /// Fills that were found and are not known to the account.
    new: Vec<Fill>,
    /// REST last showed it as open.
    shown_open: bool,
    tries: usize,
    due: i64,
    asking: bool,
}

impl Doubt {
    /// Takes fills of this order that were not known.
    fn take(&mut self, fills: &[(Arc<str>, Fill)]) {
        for (order_id, fill) in fills {
            let known = self.own.fills.iter().any(|id| fill.is(id)) || self.new.iter().any(|one| fill.is(&one.id()));
            if self.own.order_id.as_ref() == Some(order_id) && !known {
                self.new.push(fill.clone());
            }
        }
    }

    /// Quantity of all fills that are known now.
    fn filled(&self) -> Qty {
        self.own.filled + self.new.iter().map(|fill| fill.qty).sum()
    }

    /// What can be told to the account, if nothing is missing of what was found.
    fn look(&mut self, found: Found) -> Option<Look> {
        if self.filled() < found.filled {
            self.need = Need::Fills(found);
            return None;
        }
        self.need = Need::Nothing;
        Some(Look::Found(Found { fills: self.new.clone(), ..found }))
    }
}

/// One reconciliation.
#[derive(Debug)]
pub struct Reconcile {
    options: Options,
    begun: i64,
    /// When the snapshot came.
    snapshot: Option<i64>,
    /// By number.
    doubts: BTreeMap<u64, Doubt>,
    looks: Vec<(u64, Look)>,
    outcome: Outcome,
}

impl Reconcile {
    /// Begins, with all own orders that may be at the exchange.
    #[must_use]
    pub fn new(now: i64, own: Vec<Own>, options: Options) -> Self {
        let doubt = |own: Own| {
            let number = own.number;
            let fresh = (Need::State, Vec::new());
            (number, Doubt { own, need: fresh.0, new: fresh.1, shown_open: false, tries: 0, due: now, asking: false })
        };
        Self {
            options,
            begun: now,
            snapshot: None,
            doubts: own.into_iter().map(doubt).collect(),
            looks: Vec::new(),
            outcome: Outcome::default(),
        }
    }

    /// All times were by a clock that shows so much less than the exchange's, ns: it is known now.
    pub fn shift(&mut self, by: i64) {
        self.begun = self.begun.saturating_add(by);
        self.snapshot = self.snapshot.map(|at| at.saturating_add(by));
        self.doubts.values_mut().for_each(|doubt| doubt.due = doubt.due.saturating_add(by));
    }

    /// The snapshot of the socket: all open orders, and the last fills by order id.
    pub fn snapshot(&mut self, now: i64, open: Vec<Seen>, fills: &[(Arc<str>, Fill)]) {
        if self.snapshot.is_some() {
            return;
        }
        self.snapshot = Some(now);
        for seen in open {
            let own = self.doubts.values_mut().find(|doubt| {
                doubt
                    .own
                    .order_id
                    .as_ref()
                    .map_or_else(|| seen.name.as_ref() == Some(&doubt.own.name), |id| *id == seen.found.order_id)
            });
            if let Some(doubt) = own {
                doubt.own.order_id = Some(seen.found.order_id.clone());
                doubt.take(fills);
                doubt.due = now;
                if let Some(look) = doubt.look(seen.found) {
                    self.outcome.found += 1;
                    self.looks.push((doubt.own.number, look));
                }
                continue;
            }
            let name = seen.name.clone().filter(|name| name.starts_with(&*self.options.prefix));
            match (name.as_ref().and_then(|name| order_number(&self.options.prefix, name)), name) {
                (_, None) => self.outcome.foreign.push(seen.found.order_id),
                (Some(number), Some(_)) if self.options.strangers == Strangers::Adopt => {
                    let of = fills.iter().filter(|fill| fill.0 == seen.found.order_id);
                    let fills = of.map(|fill| fill.1.clone()).collect();
                    self.outcome.adopted.push((number, Seen { found: Found { fills, ..seen.found }, ..seen }));
                }
                (_, Some(name)) => self.outcome.troubles.push(Trouble::Stranger(name, seen.found.order_id)),
            }
        }
        for doubt in self.doubts.values_mut().filter(|doubt| doubt.need == Need::State) {
            doubt.take(fills);
            doubt.due = now;
        }
    }

    /// Whether the snapshot came and did not show an order, of which nothing was found since.
    #[must_use]
    pub fn is_missing(&self, number: u64) -> bool {
        self.snapshot.is_some() && self.doubts.get(&number).is_some_and(|doubt| doubt.need == Need::State)
    }

    /// The socket reported an order after the snapshot: the account knows what it is.
    pub fn heard(&mut self, number: u64) {
        if let Some(doubt) = self.doubts.get_mut(&number).filter(|doubt| doubt.need == Need::State) {
            doubt.need = Need::Nothing;
            self.outcome.found += 1;
        }
    }

    /// What REST is to be asked now. Each question is to be answered by [`Self::orders`], [`Self::trades`] or
    /// [`Self::unanswered`].
    pub fn take_asks(&mut self, now: i64) -> Vec<Ask> {
        if self.snapshot.is_none() {
            return Vec::new();
        }
        let (mut ids, mut unnamed, mut since) = (Vec::new(), Vec::new(), None::<i64>);
        for doubt in self.doubts.values_mut().filter(|doubt| !doubt.asking && doubt.due <= now) {
            match &doubt.need {
                Need::Nothing => continue,
                Need::State => match &doubt.own.order_id {
                    Some(id) => ids.push(id.clone()),
                    None => unnamed.push((doubt.own.deadline, doubt.own.name.clone())),
                },
                Need::Fills(_) => {
                    let from = doubt.own.last_fill.unwrap_or(doubt.own.sent) - OVERLAP;
                    since = Some(since.map_or(from, |since| since.min(from)));
                }
            }
            doubt.asking = true;
        }
        let mut asks = together(unnamed);
        asks.extend(ids.chunks(QUERIED).map(|ids| Ask::Orders(ids.to_vec())));
        asks.extend(since.map(Ask::Trades));
        asks
    }

    /// Whether a question is about an order.
    fn is_about(ask: &Ask, doubt: &Doubt) -> bool {
        doubt.asking
            && match ask {
                Ask::Orders(ids) => {
                    doubt.need == Need::State && doubt.own.order_id.as_ref().is_some_and(|id| ids.contains(id))
                }
                Ask::Closed { names, .. } => doubt.need == Need::State && names.contains(&doubt.own.name),
                Ask::Trades(_) => matches!(doubt.need, Need::Fills(_)),
            }
    }

    /// The answer to [`Ask::Orders`] or [`Ask::Closed`], which was sent at `asked`.
    pub fn orders(&mut self, now: i64, ask: &Ask, asked: i64, rows: &[Seen]) {
        let (lag, begun) = (self.options.lag, self.snapshot.unwrap_or(self.begun));
        for doubt in self.doubts.values_mut().filter(|doubt| Self::is_about(ask, doubt)) {
            doubt.asking = false;
            let row = rows.iter().find(|seen| match &doubt.own.order_id {
                Some(id) => *id == seen.found.order_id,
                None => seen.name.as_ref() == Some(&doubt.own.name),
            });
            let ended = row.filter(|seen| matches!(seen.found.state, State::Filled | State::Canceled | State::Expired));
            doubt.shown_open = row.is_some() && ended.is_none();
            if let Some(seen) = ended {
                doubt.own.order_id = Some(seen.found.order_id.clone());
                let new = seen.found.fills.iter().map(|fill| (seen.found.order_id.clone(), fill.clone()));
                doubt.take(&new.collect::<Vec<_>>());
                (doubt.tries, doubt.due) = (0, now);
                if let Some(look) = doubt.look(seen.found.clone()) {
                    self.outcome.found += 1;
                    self.looks.push((doubt.own.number, look));
                }
                continue;
            }
            // The socket says that it is not open, so an open row is of the past. A missing one may be, too: what REST does
            // not have is dead only if REST shows a time at which it was not open any more, and could not come any more.
            let certain = doubt.own.deadline.saturating_add(GRACE).max(begun) + lag;
            if row.is_none() && doubt.own.order_id.is_none() && asked >= certain {
                doubt.need = Need::Nothing;
                self.outcome.dead += 1;
                self.looks.push((doubt.own.number, Look::NotFound { ts: asked - lag }));
                continue;
            }
            Self::put_off(doubt, now, asked, certain);
        }
    }

    /// The answer to [`Ask::Trades`], which was sent at `asked`: fills by order id.
    pub fn trades(&mut self, now: i64, ask: &Ask, asked: i64, fills: &[(Arc<str>, Fill)]) {
        let latest = self.snapshot.unwrap_or(self.begun) + self.options.lag;
        for doubt in self.doubts.values_mut().filter(|doubt| Self::is_about(ask, doubt)) {
            doubt.asking = false;
            doubt.take(fills);
            let Need::Fills(found) = doubt.need.clone() else { continue };
            match doubt.look(found) {
                Some(look) => {
                    self.outcome.found += 1;
                    self.looks.push((doubt.own.number, look));
                }
                None => Self::put_off(doubt, now, asked, latest),
            }
        }
    }

    /// A question has no answer: it is asked again later.
    pub fn unanswered(&mut self, now: i64, ask: &Ask) {
        for doubt in self.doubts.values_mut().filter(|doubt| Self::is_about(ask, doubt)) {
            doubt.asking = false;
            doubt.due = now + UNANSWERED;
        }
    }

    /// Looks again after a while, and not later than `certain`, from which on REST must show it.
    const fn put_off(doubt: &mut Doubt, now: i64, asked: i64, certain: i64) {
        let last = RETRIES.len() - 1;
        let pause = RETRIES[if doubt.tries < last { doubt.tries } else { last }];
        doubt.tries += 1;
        doubt.due = now + pause;
        // A question that was sent before may be answered after.
        if asked < certain && certain < doubt.due {
            doubt.due = if certain > now { certain } else { now };
        }
    }

    /// When something is to be asked, or it has failed.
    #[must_use]
    pub fn next_due(&self) -> i64 {
        let waits = self.doubts.values().filter(|doubt| doubt.need != Need::Nothing && !doubt.asking);
        let due = waits.map(|doubt| doubt.due).min().filter(|_| self.snapshot.is_some());
        due.unwrap_or(i64::MAX).min(self.begun + self.options.limit)
    }

    /// What was found of own orders, for [`crate::trader::Trader::resolve`].
    pub fn take_looks(&mut self) -> Vec<(u64, Look)> {
        std::mem::take(&mut self.looks)
    }

    /// How it ended; `None` while it goes on.
    #[must_use]
    pub fn outcome(&self, now: i64) -> Option<Outcome> {
        let open: Vec<&Doubt> = self.doubts.values().filter(|doubt| doubt.need != Need::Nothing).collect();
        let over = now >= self.begun + self.options.limit;
        if (self.snapshot.is_none() || !open.is_empty()) && !over {
            return None;
        }
        let mut outcome = self.outcome.clone();
        if self.snapshot.is_none() {
            outcome.troubles.push(Trouble::Silent);
        }
        outcome.troubles.extend(open.into_iter().map(|doubt| match &doubt.need {
            Need::Fills(found) => Trouble::Fills(doubt.own.number, found.filled - doubt.filled()),
            _ if doubt.shown_open => Trouble::Open(doubt.own.number),
            _ => Trouble::Lost(doubt.own.number),
        }));
        Some(outcome)
    }
}

/// Questions for orders without an id, given with their deadlines: one for those of about the same time.
fn together(mut unnamed: Vec<(i64, Arc<str>)>) -> Vec<Ask> {
    unnamed.sort_unstable();
    let mut asks: Vec<Ask> = Vec::new();
    for (deadline, name) in unnamed {
        let (begin, end) = (deadline.saturating_sub(DEADLINE_MAX + MARGIN), deadline.saturating_add(MARGIN));
        match asks.last_mut() {
            Some(Ask::Closed { names, from, to }) if end.saturating_sub(*from) <= TOGETHER => {
                names.push(name);
                *to = end;
            }
            _ => asks.push(Ask::Closed { names: vec![name], from: begin, to: end }),
        }
    }
    asks
}

/// A balance that fills and entries do not explain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unexplained {
    /// Asset.
    pub asset: Arc<str>,
    /// What there should be.
    pub expected: Amount,
    /// What there is.
    pub found: Amount,
}

/// Compares what the account says with what the exchange says, in all assets that either has.
#[must_use]
pub fn unexplained(expected: &BTreeMap<Arc<str>, Amount>, found: &BTreeMap<Arc<str>, Amount>) -> Vec<Unexplained> {
    let of = |all: &BTreeMap<Arc<str>, Amount>, asset: &Arc<str>| all.get(asset).copied().unwrap_or(0);
    let mut assets: Vec<&Arc<str>> = expected.keys().chain(found.keys()).collect();
    assets.sort_unstable();
    assets.dedup();
    let all = assets.into_iter().map(|asset| Unexplained {
        asset: asset.clone(),
        expected: of(expected, asset),
        found: of(found, asset),
    });
    all.filter(|one| one.expected != one.found).collect()
}
