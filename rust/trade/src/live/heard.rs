//! What frames of the private socket say, and what follows for the account and its journal.

use std::sync::Arc;

use krakpot_core::wire::message::Kind;

use super::account::{ACCOUNT, ENTRIES_MAX, Earlier, Effect, Heard, Live, Phase, WAITING_MAX};
use crate::amount::{Price, Qty};
use crate::names::order_number;
use crate::note;
use crate::order::{Found, Ignored, Look, Order, State};
use crate::rate::Tier;
use crate::reconcile::Seen;
use crate::report::{Asked, Change, Fill, Reply};
use crate::run::{Adopted, Run};
use crate::trader::Trader;
use crate::wire::follow::Sequence;
use crate::wire::message::{Ack, Advisory, Entry, ExecType, Execution, Message, Rows, Status};
use crate::wire::refusal::Refusal;

impl Live {
    /// A frame of the private socket. Returns why the connection is to be made anew, if it is.
    pub fn frame(&mut self, now: i64, frame: &[u8], run: &mut Run) -> Option<String> {
        let message = match self.decoder.decode(frame) {
            Ok(message) => message,
            Err(why) => return Some(format!("a message cannot be read ({why})")),
        };
        let heard = self.message(now, message, run.trader(ACCOUNT));
        self.act(now, run, heard)
    }

    pub(super) fn message(&mut self, now: i64, message: Message, trader: &Trader) -> Heard {
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
    pub(super) fn act(&mut self, now: i64, run: &mut Run, mut heard: Heard) -> Option<String> {
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
    pub(super) fn apply(&mut self, now: i64, run: &mut Run, effect: Effect) -> Option<String> {
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
    pub(super) fn reply(&mut self, now: i64, run: &mut Run, reply: &Reply) -> Option<String> {
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
    pub(super) fn revive(&mut self, now: i64, run: &mut Run, number: u64) {
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
    pub(super) fn forget(&mut self, trader: &Trader, number: u64) {
        let over = |order: &&Order| !order.is_live() && !order.at_stake().is_positive();
        if let Some(id) = trader.order(number).filter(over).and_then(|order| order.order_id.as_ref()) {
            self.ids.remove(id);
        }
    }

    /// Own orders do not agree with the exchange's: nothing is traded.
    pub(super) fn fail(&mut self, troubles: Vec<String>) {
        self.troubles = troubles;
        let note = note::failed(&self.troubles);
        self.note(note);
        (self.phase, self.reconcile) = (Phase::Failed, None);
    }

    pub(super) fn ack(&mut self, now: i64, ack: &Ack, trader: &Trader, heard: &mut Heard) {
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

    pub(super) fn executions(&mut self, now: i64, rows: Rows<Execution>, trader: &Trader, heard: &mut Heard) {
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
    pub(super) fn number(&mut self, row: &Execution) -> Option<u64> {
        let named = row.cl_ord_id.as_ref().and_then(|name| order_number(&self.options.prefix, name));
        let number = named.or_else(|| self.ids.get(&row.order_id).copied())?;
        self.ids.insert(row.order_id.clone(), number);
        Some(number)
    }

    /// Whether an order of an earlier run, of which nothing was known, came to the exchange after the snapshot.
    pub(super) fn has_arrived(&self, number: u64) -> bool {
        let unheard = self.earlier.get(&number).is_some_and(|order| order.order_id.is_none() && order.known.is_empty());
        unheard && self.reconcile.as_ref().is_some_and(|one| one.is_missing(number))
    }

    pub(super) fn report(&mut self, row: Execution, trader: &Trader, heard: &mut Heard) {
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

    pub(super) fn snapshot(&mut self, now: i64, rows: Vec<Execution>, trader: &Trader, heard: &mut Heard) {
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

    pub(super) fn entry(&mut self, entry: &Entry, heard: &mut Heard) {
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

    pub(super) fn status(&mut self, all: Vec<Status>, heard: &mut Heard) {
        for status in all {
            let concerns = |one: &Advisory| {
                one.services.is_empty() || one.services.iter().any(|service| service.starts_with("spot"))
            };
            let dated = status.maintenance.into_iter().filter(|one| one.begin.is_some() && concerns(one));
            self.maintenances = dated.collect();
            heard.effects.push(Effect::System(status.system));
        }
    }
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
