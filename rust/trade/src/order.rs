//! The state of one order: what was asked, what is known of it, and which replies change that.
//!
//! Replies may come in any order, more than once, or never: what is known only grows. So the same replies give the
//! same state in whichever order they come. A reply that contradicts what is known changes nothing and says why. The
//! answer to a request says that it was taken or refused; only a report says what became of the order.

use std::sync::Arc;

use crate::amount::{AMOUNT_SCALE, Amount, Price, Qty};
use crate::pair::Pair;
use crate::report::{Answer, Asked, Change, Fill, FillId, Report};
use crate::terms::Terms;
use crate::wire::refusal::Refusal;
use krakpot_core::decimal::pow10;

/// After its deadline the exchange may need this long until an order can be looked for in vain, ns by its clock.
pub const GRACE: i64 = 5_000_000_000;
/// Amounts beyond this are refused: 10^36 units are 10^16 of an asset, and sums of thousands of them still fit.
pub const AMOUNT_MAX: Amount = pow10(36);

/// Price × quantity, if it is an amount that can be.
#[must_use]
pub fn cost(pair: &Pair, price: Price, qty: Qty) -> Option<Amount> {
    let scale = pow10(AMOUNT_SCALE.checked_sub(pair.price_precision)?.checked_sub(pair.qty_precision)?);
    let cost = i128::from(price.0).checked_mul(i128::from(qty.0))?.checked_mul(scale)?;
    (cost.abs() <= AMOUNT_MAX).then_some(cost)
}

/// What an order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It was sent; nothing is known of it.
    Sent,
    /// The exchange has it; it is not in the market yet.
    Pending,
    /// It is in the market, or waits for its trigger.
    Open,
    /// The same, and an amendment is under way.
    Amending,
    /// The same, and a cancel is under way.
    Canceling,
    /// A request had no clear answer. The order may live, may be filled, or may never have arrived.
    Unknown,
    /// All of it is filled.
    Filled,
    /// What was left was cancelled.
    Canceled,
    /// Its time was over.
    Expired,
    /// It was refused, here or by the exchange.
    Rejected,
}

impl State {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Pending => "pending",
            Self::Open => "open",
            Self::Amending => "amending",
            Self::Canceling => "canceling",
            Self::Unknown => "unknown",
            Self::Filled => "filled",
            Self::Canceled => "canceled",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
        }
    }

    /// Whether no other state follows.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Filled | Self::Canceled | Self::Expired | Self::Rejected)
    }
}

/// Why a reply changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ignored {
    /// It was applied before.
    Duplicate,
    /// More than it says is known.
    Stale,
    /// The order ended otherwise.
    Ended,
    /// More would be filled than was ordered.
    Overfilled,
    /// It cannot be true if what is known is true.
    Contradicts,
    /// The exchange gave this order another id.
    OtherId,
    /// A quantity, price or id in it cannot be.
    Malformed,
    /// No order of this account has this number.
    Stranger,
    /// The order was looked for before it must have been there.
    TooEarly,
}

impl Ignored {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Duplicate,
        Self::Stale,
        Self::Ended,
        Self::Overfilled,
        Self::Contradicts,
        Self::OtherId,
        Self::Malformed,
        Self::Stranger,
        Self::TooEarly,
    ];

    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::Stale => "stale",
            Self::Ended => "ended",
            Self::Overfilled => "overfilled",
            Self::Contradicts => "contradicts",
            Self::OtherId => "other_id",
            Self::Malformed => "malformed",
            Self::Stranger => "stranger",
            Self::TooEarly => "too_early",
        }
    }
}

/// What somebody who looked for an order at the exchange found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Time of the exchange up to which this is true, ns. The exchange may show the past: then it is that time.
    pub ts: i64,
    /// The exchange's id of the order.
    pub order_id: Arc<str>,
    /// Pending, open, filled, canceled or expired.
    pub state: State,
    /// Quantity in all.
    pub qty: Qty,
    /// Worst price.
    pub price: Option<Price>,
    /// Quantity that is filled.
    pub filled: Qty,
    /// Its fills, as far as they were found.
    pub fills: Vec<Fill>,
    /// Why it ended; empty where nothing is said.
    pub reason: Arc<str>,
}

/// The result of a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// It is there.
    Found(Found),
    /// At this time of the exchange, ns, neither the open nor the ended orders had it.
    NotFound {
        /// Time.
        ts: i64,
    },
}

/// How far the exchange is known to be with an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Sent,
    Acked,
    Pending,
    Open,
}

/// A request without its result.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    /// Local time at which it was sent.
    sent: i64,
    /// Local time from which on nobody knows what became of it.
    due: i64,
    /// The same by the exchange's clock: it does nothing later, unless it is a cancel, which can only end the order.
    deadline: i64,
    overdue: bool,
}

/// Until when a request may be answered.
#[derive(Debug, Clone, Copy)]
pub struct Until {
    /// Local time, ns.
    pub due: i64,
    /// The exchange's, ns.
    pub deadline: i64,
}

impl Until {
    /// Where the clocks agree.
    #[must_use]
    pub const fn at(ts: i64) -> Self {
        Self { due: ts, deadline: ts }
    }
}

impl Waiting {
    const fn new(sent: i64, Until { due, deadline }: Until) -> Self {
        Self { sent, due, deadline, overdue: false }
    }
}

/// An amendment that is under way: the quantity in all and the price that it asks for.
#[derive(Debug, Clone, Copy)]
struct Amending {
    wait: Waiting,
    qty: Qty,
    price: Option<Price>,
}

/// The last answer to requests of a kind: its time, and whether it was a refusal.
type Answered = Option<(i64, bool)>;

/// An order.
#[derive(Debug, Clone)]
pub struct Order {
    /// The account's own number of it.
    pub number: u64,
    /// The exchange's id of it.
    pub order_id: Option<Arc<str>>,
    /// What was asked for at first.
    pub terms: Terms,
    /// A word of the strategy.
    pub tag: Arc<str>,
    /// Quantity in all, as amended.
    pub qty: Qty,
    /// Worst price, as amended.
    pub price: Option<Price>,
    /// Quantity that is filled, as told.
    pub filled: Qty,
    /// Quantity of the fills that are known one by one; less than `filled` while a report of a fill is missing.
    pub booked: Qty,
    /// Price × quantity of these fills.
    pub cost: Amount,
    /// Their fees.
    pub fee: Amount,
    /// Why it was refused, or ended; Kraken's text, or one that begins with `krakpot:`.
    pub reason: Arc<str>,
    /// Local time at which it was sent, ns.
    pub sent: i64,
    /// The exchange does not match it after this time, ns.
    pub deadline: i64,
    /// Time of the exchange's answer, ns.
    pub acked: Option<i64>,
    /// Time of the first report, ns.
    pub reported: Option<i64>,
    /// Time of the exchange at which it ended, ns; local time if it was refused here.
    pub ended: Option<i64>,
    /// Whether its trigger was reached.
    pub triggered: bool,
    /// At which price it is held for, where it has none.
    pub hold_price: Option<Price>,
    stage: Stage,
    end: Option<State>,
    /// What is filled in all, once it ended and that is known.
    total: Option<Qty>,
    add: Option<Waiting>,
    amend: Option<Amending>,
    cancel: Option<Waiting>,
    /// The exchange said at this time that it has no such open order.
    gone: Option<i64>,
    /// Local time from which on its age counts.
    aged: i64,
    amended_at: i64,
    /// The same of the last amendment that was asked for, not made by the exchange itself.
    asked_at: i64,
    filled_at: i64,
    refilled_at: i64,
    answered: [Answered; 3],
    fills: Vec<FillId>,
}

/// Whether a refusal says that the order is not open.
fn is_unknown_order(text: &str) -> bool {
    text.get(..20).is_some_and(|start| start.eq_ignore_ascii_case("EOrder:Unknown order"))
}

impl Order {
    /// An order that is sent now.
    #[must_use]
    pub fn new(number: u64, terms: Terms, tag: Arc<str>, now: i64, until: Until) -> Self {
        Self {
            number,
            order_id: None,
            terms,
            tag,
            qty: terms.qty,
            price: terms.price,
            filled: Qty::ZERO,
            booked: Qty::ZERO,
            cost: 0,
            fee: 0,
            reason: Arc::from(""),
            sent: now,
            deadline: until.deadline,
            acked: None,
            reported: None,
            ended: None,
            triggered: false,
            hold_price: None,
            stage: Stage::Sent,
            end: None,
            total: None,
            add: Some(Waiting::new(now, until)),
            amend: None,
            cancel: None,
            gone: None,
            aged: now,
            amended_at: i64::MIN,
            asked_at: i64::MIN,
            filled_at: i64::MIN,
            refilled_at: i64::MIN,
            answered: [None; 3],
            fills: Vec::new(),
        }
    }

    /// The exchange shows an order that was believed to be rejected: it is there as far as is known.
    pub fn revive(&mut self) {
        if self.end == Some(State::Rejected) {
            (self.end, self.ended, self.total, self.reason) = (None, None, None, Arc::from(""));
            self.know(Stage::Pending);
        }
    }

    /// It is refused here, and never sent.
    pub fn refuse(&mut self, reason: Arc<str>) {
        (self.reason, self.total) = (reason, Some(Qty::ZERO));
        self.finish(State::Rejected, self.sent);
    }

    /// What it is.
    #[must_use]
    pub fn state(&self) -> State {
        if let Some(end) = self.end {
            return end;
        }
        let waits = [self.add, self.amend.map(|amend| amend.wait), self.cancel];
        if self.gone.is_some() || waits.iter().flatten().any(|wait| wait.overdue) {
            State::Unknown
        } else if self.cancel.is_some() {
            State::Canceling
        } else if self.amend.is_some() {
            State::Amending
        } else {
            match self.stage {
                Stage::Sent => State::Sent,
                Stage::Acked | Stage::Pending => State::Pending,
                Stage::Open => State::Open,
            }
        }
    }

    /// Whether it has not ended, as far as is known.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.end.is_none()
    }

    /// Quantity that is not filled yet; none after its end.
    #[must_use]
    pub fn left(&self) -> Qty {
        if self.is_live() { self.qty - self.filled } else { Qty::ZERO }
    }

    /// What may be filled in all: an amendment that is under way may have been made.
    #[must_use]
    pub fn most(&self) -> Qty {
        let asked = self.amend.map_or(self.qty, |amend| amend.qty.max(self.qty));
        self.total.unwrap_or(asked)
    }

    /// What may still be filled, and at which worst price: by its terms, and by those of an amendment that is under
    /// way. Only one of the two can come true.
    #[must_use]
    pub fn claims(&self) -> [(Option<Price>, Qty); 2] {
        let over = self.end.is_some() && self.total.is_none();
        let left = |qty: Qty| {
            if over { Qty::ZERO } else { Qty((self.total.unwrap_or(qty).min(qty) - self.booked).0.max(0)) }
        };
        let now = (self.price.or(self.hold_price), left(self.qty));
        [now, self.amend.map_or(now, |amend| (amend.price.or(self.hold_price), left(amend.qty)))]
    }

    /// Quantity that may still change the balances. Whatever is unknown of the order, it is not more; after an end that
    /// did not say how much is filled, nothing is waited for.
    #[must_use]
    pub fn at_stake(&self) -> Qty {
        if self.end.is_some() && self.total.is_none() { Qty::ZERO } else { self.most() - self.booked }
    }

    /// The worst price at which it may be filled; `None` for one that takes any.
    #[must_use]
    pub fn worst(&self) -> Option<Price> {
        let price = self.price.or(self.hold_price)?;
        let asked = self.amend.and_then(|amend| amend.price).unwrap_or(price);
        Some(if self.terms.side.better(asked, price) { asked } else { price })
    }

    /// Average price of its fills as an amount for one of the base asset; `None` without a fill.
    #[must_use]
    pub fn average(&self, pair: &Pair) -> Option<Amount> {
        let qty = i128::from(self.booked.0);
        let one = pow10(pair.qty_precision);
        (qty > 0).then(|| self.cost / qty * one + self.cost % qty * one / qty)
    }

    /// Its age as the rate counter means it: ns since it was made or last amended.
    #[must_use]
    pub const fn age(&self, now: i64) -> i64 {
        now.saturating_sub(self.aged)
    }

    /// Whether an amendment is under way.
    #[must_use]
    pub const fn is_amending(&self) -> bool {
        self.amend.is_some() && self.end.is_none()
    }

    /// Whether a cancel is under way and may still be answered.
    #[must_use]
    pub const fn is_canceling(&self) -> bool {
        matches!(self.cancel, Some(Waiting { overdue: false, .. }))
    }

    /// An amendment is sent.
    pub fn amend(&mut self, qty: Option<Qty>, price: Option<Price>, now: i64, until: Until) {
        let wait = Waiting::new(now, until);
        self.amend = Some(Amending { wait, qty: qty.unwrap_or(self.qty), price: price.or(self.price) });
    }

    /// A cancel is sent.
    pub fn cancel(&mut self, now: i64, until: Until) {
        self.cancel = Some(Waiting::new(now, until));
    }

    /// The next local time at which a request has no answer any more.
    #[must_use]
    pub fn next_due(&self) -> Option<i64> {
        if !self.is_live() {
            return None;
        }
        let waits = [self.add, self.amend.map(|amend| amend.wait), self.cancel];
        waits.iter().flatten().filter(|wait| !wait.overdue).map(|wait| wait.due).min()
    }

    /// It is so late. Returns whether the order became unknown.
    pub fn advance(&mut self, now: i64) -> bool {
        let before = self.state();
        let amend = self.amend.as_mut().map(|amend| &mut amend.wait);
        for wait in [self.add.as_mut(), amend, self.cancel.as_mut()].into_iter().flatten() {
            wait.overdue |= wait.due <= now;
        }
        before != State::Unknown && self.state() == State::Unknown
    }

    /// The last deadline of its requests without a clear answer, ns by the exchange's clock; `None`: all have one.
    #[must_use]
    pub fn overdue(&self) -> Option<i64> {
        let amend = self.amend.map(|amend| amend.wait);
        let waits = [self.add, amend, self.cancel].into_iter().flatten();
        waits.filter(|wait| wait.overdue).map(|wait| wait.deadline).chain(self.gone).max()
    }

    /// Whether the exchange said that it has no such open order, and did not say how it ended.
    #[must_use]
    pub const fn is_gone(&self) -> bool {
        self.gone.is_some()
    }

    /// Its fills that are known.
    #[must_use]
    pub fn fill_ids(&self) -> &[FillId] {
        &self.fills
    }

    /// Whether a fill is known.
    #[must_use]
    pub fn has_fill(&self, fill: &Fill) -> bool {
        self.fills.iter().any(|known| fill.is(known))
    }

    /// Whether the exchange said that it has it.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.stage > Stage::Sent || self.order_id.is_some()
    }

    // Answers.

    /// Applies the answer to a request. `certain`: every refusal is final, as in a simulation.
    ///
    /// # Errors
    /// Why it changes nothing.
    pub fn answer(&mut self, answer: &Answer, certain: bool) -> Result<(), Ignored> {
        let kind = answer.asked as usize;
        let last = (answer.ts, answer.result.is_err());
        match self.answered[kind] {
            Some(known) if known == last => return Err(Ignored::Duplicate),
            Some((ts, _)) if answer.ts < ts => return Err(Ignored::Stale),
            _ => {}
        }
        if self.end == Some(State::Rejected) {
            return Err(Ignored::Ended);
        }
        match &answer.result {
            Ok(id) => self.taken(answer.asked, id, answer.ts)?,
            Err(text) => self.refused(answer, text, certain)?,
        }
        self.answered[kind] = Some(last);
        Ok(())
    }

    fn taken(&mut self, asked: Asked, id: &Arc<str>, ts: i64) -> Result<(), Ignored> {
        match asked {
            Asked::Add => {
                self.take_id(id)?;
                self.acked = Some(ts);
                self.know(Stage::Acked);
            }
            // What became of it is reported.
            Asked::Amend if self.amend.is_none() => return Err(Ignored::Stale),
            Asked::Cancel if self.cancel.is_none() => return Err(Ignored::Stale),
            Asked::Amend | Asked::Cancel => self.take_id(id)?,
        }
        Ok(())
    }

    fn refused(&mut self, answer: &Answer, text: &Arc<str>, certain: bool) -> Result<(), Ignored> {
        let (asked, ts) = (answer.asked, answer.ts);
        if !self.is_live() {
            return Err(Ignored::Ended);
        }
        let wait = match asked {
            Asked::Add => self.add.as_mut(),
            Asked::Amend => self.amend.as_mut().map(|amend| &mut amend.wait),
            Asked::Cancel => self.cancel.as_mut(),
        };
        let Some(wait) = wait else {
            return Err(if asked == Asked::Add { Ignored::Contradicts } else { Ignored::Stale });
        };
        if !certain && Refusal::of(text) == Refusal::MayLive {
            wait.overdue = true;
            return Ok(());
        }
        match asked {
            Asked::Add => {
                (self.reason, self.total) = (text.clone(), Some(Qty::ZERO));
                self.finish(State::Rejected, ts);
            }
            Asked::Amend => self.amend = None,
            // One is under way: it is what is waited for.
            Asked::Cancel if text.starts_with("EOrder:Cancel pending") => {}
            Asked::Cancel => self.cancel = None,
        }
        if asked != Asked::Add && is_unknown_order(text) {
            // The first time counts: cancels that are repeated do not put off the look for it.
            self.gone.get_or_insert(ts);
        }
        self.complete();
        Ok(())
    }

    // Reports.

    /// Applies a report. A fill that is applied is to be booked by the caller.
    ///
    /// # Errors
    /// Why it changes nothing.
    pub fn report(&mut self, pair: &Pair, report: &Report) -> Result<(), Ignored> {
        if self.end == Some(State::Rejected) {
            return Err(Ignored::Ended);
        }
        if self.order_id.as_ref().is_some_and(|id| *id != report.order_id) {
            return Err(Ignored::OtherId);
        }
        let told = report.filled.unwrap_or(Qty::ZERO);
        if told < Qty::ZERO || report.order_id.is_empty() {
            return Err(Ignored::Malformed);
        }
        if told > self.most() {
            return Err(Ignored::Overfilled);
        }
        match &report.change {
            Change::Pending => self.reach(Stage::Pending)?,
            Change::New => self.reach(Stage::Open)?,
            Change::Fill(fill) => {
                if report.filled.is_some_and(|told| told < fill.qty) {
                    return Err(Ignored::Malformed);
                }
                self.book(pair, fill)?;
                self.filled_at = self.filled_at.max(report.ts);
                self.know(Stage::Open);
            }
            Change::Amended { qty, price, restated } => {
                self.amended((*qty, *price, *restated), told, report.ts)?;
                self.know(Stage::Open);
            }
            Change::Refilled if self.is_live() && report.ts > self.refilled_at => {
                self.refilled_at = report.ts;
                self.know(Stage::Open);
            }
            Change::Triggered if self.is_live() && !self.triggered => {
                self.triggered = true;
                self.know(Stage::Open);
            }
            Change::Refilled | Change::Triggered => return Err(Ignored::Stale),
            Change::Filled => self.end_by(State::Filled, report)?,
            Change::Canceled => self.end_by(State::Canceled, report)?,
            Change::Expired => self.end_by(State::Expired, report)?,
        }
        self.order_id.get_or_insert_with(|| report.order_id.clone());
        self.reported = Some(self.reported.map_or(report.ts, |first| first.min(report.ts)));
        self.tell(told);
        self.complete();
        Ok(())
    }

    /// It reaches a stage, by a report that says only that.
    fn reach(&mut self, stage: Stage) -> Result<(), Ignored> {
        if self.stage >= stage || !self.is_live() {
            return Err(Ignored::Stale);
        }
        self.know(stage);
        Ok(())
    }

    fn know(&mut self, stage: Stage) {
        self.stage = self.stage.max(stage);
        self.add = None;
    }

    fn take_id(&mut self, id: &Arc<str>) -> Result<(), Ignored> {
        if id.is_empty() {
            return Err(Ignored::Malformed);
        }
        if *self.order_id.get_or_insert_with(|| id.clone()) == *id { Ok(()) } else { Err(Ignored::OtherId) }
    }

    /// So much is filled. If that is more than its quantity, the amendment that is under way was made.
    fn tell(&mut self, filled: Qty) {
        self.filled = self.filled.max(filled).max(self.booked);
        if let Some(amend) = self.amend
            && self.filled > self.qty
        {
            (self.qty, self.price) = (amend.qty, amend.price);
        }
    }

    /// Adds a fill to what is known.
    fn book(&mut self, pair: &Pair, fill: &Fill) -> Result<(), Ignored> {
        if !fill.qty.is_positive() || fill.price.0 <= 0 || (fill.exec_id.is_empty() && fill.trade_id.is_none()) {
            return Err(Ignored::Malformed);
        }
        let cost = cost(pair, fill.price, fill.qty).ok_or(Ignored::Malformed)?;
        if fill.fee.unsigned_abs() > AMOUNT_MAX.unsigned_abs() {
            return Err(Ignored::Malformed);
        }
        if self.has_fill(fill) {
            return Err(Ignored::Duplicate);
        }
        if fill.qty > self.most() - self.booked {
            return Err(Ignored::Overfilled);
        }
        self.fills.push(fill.id());
        self.booked += fill.qty;
        (self.cost, self.fee) = (self.cost.saturating_add(cost), self.fee.saturating_add(fill.fee));
        Ok(())
    }

    fn amended(&mut self, new: (Qty, Option<Price>, bool), told: Qty, ts: i64) -> Result<(), Ignored> {
        let (qty, price, restated) = new;
        if !qty.is_positive() || price.is_some_and(|price| price.0 <= 0) {
            return Err(Ignored::Malformed);
        }
        let new = (qty, price.or(self.price));
        if ts == self.amended_at && new == (self.qty, self.price) {
            return Err(Ignored::Duplicate);
        }
        let over = qty < self.filled.max(told) || (self.end == Some(State::Filled) && qty != self.qty);
        // A quantity that is less than what is filled was said before that was filled.
        let then = if over { self.filled_at.max(self.ended.unwrap_or(i64::MIN)) } else { i64::MIN };
        let known = self.amended_at.max(then);
        let asked = !restated && ts > self.asked_at;
        if ts < known {
            // Something later was heard of first. The terms are older; but the amendment that is under way was made.
            if !asked || self.amend.is_none() || told > self.qty {
                return Err(Ignored::Stale);
            }
        } else if over {
            return Err(Ignored::Contradicts);
        } else {
            (self.qty, self.price, self.amended_at) = (new.0, new.1, ts);
        }
        if asked {
            self.asked_at = ts;
            self.aged = self.amend.take().map_or(self.aged, |amend| amend.wait.sent);
        }
        Ok(())
    }

    /// A report ends it.
    fn end_by(&mut self, end: State, report: &Report) -> Result<(), Ignored> {
        if let Some(known) = self.end {
            return Err(if known == end { Ignored::Stale } else { Ignored::Ended });
        }
        let total = match (report.filled, end) {
            (Some(told), _) if told < self.filled.max(self.booked) => return Err(Ignored::Contradicts),
            (Some(told), State::Filled) if !told.is_positive() => return Err(Ignored::Malformed),
            (Some(told), _) => Some(told),
            (None, State::Filled) => Some(self.qty.max(self.filled)),
            (None, _) => None,
        };
        self.tell(total.unwrap_or(self.filled));
        if end == State::Filled {
            self.qty = self.filled;
        }
        self.total = total;
        self.reason = report.reason.clone();
        self.know(Stage::Open);
        self.finish(end, report.ts);
        Ok(())
    }

    fn finish(&mut self, end: State, ts: i64) {
        (self.end, self.ended) = (Some(end), Some(ts));
        (self.add, self.cancel, self.gone) = (None, None, None);
        // An amendment that was under way may still come to light, and say at which price the last fills were made.
    }

    /// It ends if all of it is filled. A fill from before its last amendment does not prove that: an order that is
    /// amended to what is filled is cancelled.
    fn complete(&mut self) {
        if self.is_live()
            && self.filled.is_positive()
            && self.filled >= self.most()
            && self.filled_at >= self.amended_at
        {
            self.total = Some(self.filled);
            self.finish(State::Filled, self.filled_at);
        }
    }

    // Looks.

    /// Applies what was found. Returns the fills that are new, which the caller books.
    ///
    /// # Errors
    /// Why it changes nothing.
    pub fn found(&mut self, pair: &Pair, found: &Found) -> Result<Vec<Fill>, Ignored> {
        let sum = found.fills.iter().try_fold(0i64, |sum, fill| sum.checked_add(fill.qty.0)).map(Qty);
        let fits = sum.is_some_and(|sum| sum <= found.filled) && found.filled <= found.qty && found.qty.is_positive();
        if !fits
            || found.filled < Qty::ZERO
            || found.order_id.is_empty()
            || found.price.is_some_and(|price| price.0 <= 0)
        {
            return Err(Ignored::Malformed);
        }
        let ends = match found.state {
            State::Filled | State::Canceled | State::Expired => true,
            State::Pending | State::Open => false,
            _ => return Err(Ignored::Malformed),
        };
        if self.end == Some(State::Rejected) {
            return Err(Ignored::Ended);
        }
        if self.order_id.as_ref().is_some_and(|id| *id != found.order_id) {
            return Err(Ignored::OtherId);
        }
        if self.end.is_some_and(|end| ends && end != found.state) {
            return Err(Ignored::Ended);
        }
        if ends && found.filled < self.filled.max(self.booked) {
            return Err(Ignored::Contradicts);
        }
        // All of it is tried on a copy: a fill that cannot be refuses the whole look.
        let mut next = self.clone();
        next.take_id(&found.order_id)?;
        if ends {
            // It says everything: nothing comes after it.
            (next.qty, next.price, next.total) = (found.qty, found.price.or(next.price), Some(found.filled));
            (next.filled, next.amended_at, next.amend) = (found.filled, next.amended_at.max(found.ts), None);
            if next.is_live() {
                next.reason = found.reason.clone();
                next.finish(found.state, found.ts);
            }
        } else if next.is_live() && found.ts > next.amended_at && found.qty >= next.filled.max(next.booked) {
            (next.qty, next.price) = (found.qty, found.price.or(next.price));
            next.amended_at = found.ts;
        }
        let mut new = Vec::new();
        for fill in &found.fills {
            match next.book(pair, fill) {
                Ok(()) => new.push(fill.clone()),
                Err(Ignored::Duplicate) => {}
                Err(other) => return Err(other),
            }
        }
        if found.filled > next.most() {
            return Err(Ignored::Overfilled);
        }
        next.tell(found.filled);
        if next.is_live() {
            next.settle(found);
        }
        let told = |order: &Self| {
            let waits = [order.add.is_some(), order.amend.is_some(), order.cancel.is_some(), order.gone.is_some()];
            (order.state(), order.qty, order.price, order.filled, order.booked, order.total, waits)
        };
        if told(&next) == told(self) {
            return Err(Ignored::Stale);
        }
        *self = next;
        Ok(new)
    }

    /// What a look at an open order says of its requests. One that was under way at the time of the look stays so.
    fn settle(&mut self, found: &Found) {
        self.know(if found.state == State::Open { Stage::Open } else { Stage::Pending });
        let over = |deadline: i64| found.ts >= deadline.saturating_add(GRACE);
        if let Some(amend) = self.amend {
            let made = (amend.qty, amend.price) == (found.qty, found.price.or(amend.price));
            if made {
                self.aged = amend.wait.sent;
            }
            if made || over(amend.wait.deadline) {
                (self.amend, self.asked_at) = (None, self.asked_at.max(found.ts));
            }
        }
        if self.cancel.is_some_and(|wait| over(wait.deadline)) {
            self.cancel = None;
        }
        if self.gone.is_some_and(over) {
            self.gone = None;
        }
        // The answer to a request whose result is known may still come. It is not that of the next one.
        let waits = [false, self.amend.is_some(), self.cancel.is_some()];
        for (answered, waits) in self.answered.iter_mut().zip(waits) {
            if !waits && answered.is_none_or(|(ts, _)| ts < found.ts) {
                *answered = Some((found.ts, false));
            }
        }
    }

    /// It was looked for in vain.
    ///
    /// # Errors
    /// Why that does not end it.
    pub fn not_found(&mut self, ts: i64) -> Result<(), Ignored> {
        if !self.is_live() {
            return Err(Ignored::Ended);
        }
        if self.stage > Stage::Sent || self.order_id.is_some() {
            return Err(Ignored::Contradicts);
        }
        if ts < self.deadline.saturating_add(GRACE) {
            return Err(Ignored::TooEarly);
        }
        (self.reason, self.total) = (Arc::from("krakpot:not_found"), Some(Qty::ZERO));
        self.finish(State::Rejected, ts);
        Ok(())
    }

    /// An order of an earlier run that was found at the exchange, with those of its fills that are known. One that cannot
    /// be is left out: then the look that follows says what is missing.
    #[must_use]
    pub fn adopted(number: u64, terms: Terms, tag: Arc<str>, found: &Found, pair: &Pair, known: &[Fill]) -> Self {
        let mut order = Self::new(number, terms, tag, found.ts, Until::at(found.ts));
        (order.qty, order.price) = (found.qty, found.price.or(terms.price));
        for fill in known {
            let _ = order.book(pair, fill);
        }
        order
    }
}
