//! What REST is asked, and own orders and balances compared with the exchange's.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::account::{ACCOUNT, BALANCES_LATE, BALANCES_WAIT, Earlier, Effect, Heard, Live, Phase};
use crate::amount::{Amount, Price};
use crate::names::order_number;
use crate::order::{Found, GRACE, Look, Order, State};
use crate::reconcile::{Ask, Outcome, Reconcile, Seen, Strangers, Trouble, Unexplained};
use crate::report::{Fill, Reply};
use crate::run::{Adopted, Run};
use crate::terms::Terms;
use crate::trader::Trader;
use crate::{note, reconcile};

impl Live {
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
    pub(super) fn asking(&mut self, number: u64) -> Option<(Ask, i64, &mut Reconcile)> {
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
    pub(super) fn settle(&mut self, now: i64, trader: &Trader, heard: &mut Heard) {
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

    pub(super) fn found(&mut self, number: u64, look: Look, trader: &Trader, heard: &mut Heard) {
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
    pub(super) fn catch_up(&mut self, number: u64, terms: Terms, trader: &Trader, heard: &mut Heard) {
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
    pub(super) fn compare(&mut self, now: i64, outcome: Outcome, trader: &Trader, heard: &mut Heard) {
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
    pub(super) fn money_moved(&mut self, now: i64) {
        if self.options.shared {
            self.moved = Some((self.moved.map_or(now, |(first, _)| first), now));
        }
    }

    /// What other programs of the account did to its balances, once nothing is on its way that would explain it: it counts
    /// as if it came from outside. What was taken for theirs too early is taken back by the next comparison.
    pub(super) fn changes_of_others(&mut self, now: i64, trader: &Trader) -> Vec<Effect> {
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
    pub(super) fn strange(&self, number: u64, seen: &Seen, trader: &Trader) -> Result<Adopted, Trouble> {
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
    pub(super) fn unknown(trader: &Trader, time: i64) -> impl Iterator<Item = &Order> {
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
    pub(super) fn look_for_unknown(&mut self, trader: &Trader) {
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
