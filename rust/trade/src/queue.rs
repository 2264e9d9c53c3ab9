//! Ghosts in the queues of level 3: which trades and orders of the record would have met them.
//!
//! All rules go by instants. What orders lost in an instant is known with their places, so no ghost needs to be told what
//! moves before it; a message costs as much as it does without ghosts, unless it has trades.
//!
//! - Of what is traded at a ghost's price, the orders before it have what they lost; the rest reaches it. That is `queue`
//!   as far as orders behind it lost as much, and `beyond` where more was traded than orders lost.
//! - What is traded at a worse price would have met it first: `through`.
//! - An order of the other side that comes at its price or a better one would have met it: `crossed`.
//!
//! An order stands before a ghost if it was there when the ghost came, or if its own time is older.

use std::collections::VecDeque;

use crate::amount::{Price, Qty};
use crate::eaten::Eaten;
use crate::ghosts::{Ghost, Ghosts, Hit, Print, reach, trade_at, trade_below};
use crate::model::{Attribution, Change, Moment, Offer, Place, Record, instant_of};
use crate::options::{Gaps, Options, Together};
use crate::questions::{Questions, Rest, Seen};
use crate::report::Evidence;
use crate::shown::{Id, Order, Shown};
use crate::terms::Side;
use krakpot_core::wire::message::OrderEvent;

/// Losses of orders, and trades, that are remembered for trades that come late.
const LOSSES_MAX: usize = 4096;
const PRINTS_MAX: usize = 1024;

/// What an order lost.
#[derive(Debug, Clone, Copy)]
struct Loss {
    instant: i64,
    side: Side,
    price: Price,
    qty: i64,
    ts: i64,
    came: u64,
}

/// An order that came, or that moved to another price.
#[derive(Debug)]
struct Arrival {
    slot: u32,
    id: Id,
    came: u64,
    side: Side,
    price: Price,
    qty: Qty,
}

/// Whether an order that came as the `came`th and has this time stands before a ghost.
const fn is_ahead(came: u64, ts: i64, ghost: &Ghost) -> bool {
    came < ghost.came || ts < ghost.ts
}

/// Level 3 of a pair.
#[derive(Debug)]
pub(crate) struct Queue {
    shown: Shown,
    ghosts: Ghosts,
    questions: Questions,
    options: Options,
    losses: VecDeque<Loss>,
    printed: VecDeque<(i64, Print)>,
    /// What accounts took of orders, by slot.
    eaten: Eaten<u32>,
    /// Whether a ghost remembers what stood before it when its price left the window.
    any_unseen: bool,
    attribution: Attribution,
    skipped: u64,
    met: Vec<u32>,
    arrivals: Vec<Arrival>,
    now_lost: Vec<Loss>,
    now_printed: Vec<Print>,
}

impl Queue {
    pub fn new(options: Options) -> Self {
        Self {
            shown: Shown::default(),
            ghosts: Ghosts::default(),
            questions: Questions::default(),
            options,
            losses: VecDeque::new(),
            printed: VecDeque::new(),
            eaten: Eaten::default(),
            any_unseen: false,
            attribution: Attribution::default(),
            skipped: 0,
            met: Vec::new(),
            arrivals: Vec::new(),
            now_lost: Vec::new(),
            now_printed: Vec::new(),
        }
    }

    fn depth(&self) -> usize {
        usize::from(self.options.depth)
    }

    /// Applies a row, and notes what the order lost or whether it may meet ghosts.
    fn apply(&mut self, instant: i64, change: Change) {
        let place = (change.side, change.price);
        if change.event == OrderEvent::Add {
            if (!self.eaten.is_empty() || self.questions.has_eaten())
                && let Some(stale) = self.shown.find(&change.id)
            {
                self.forget(stale);
            }
            self.add(change);
            return;
        }
        let gone = change.event == OrderEvent::Delete || !change.qty.is_positive();
        let held = self.shown.find(&change.id);
        let Some((slot, order)) = held.and_then(|slot| Some((slot, self.shown.order(slot)?))) else {
            self.skipped += 1;
            return;
        };
        let moved = (order.side, order.price) != place;
        let left = if gone || moved { 0 } else { change.qty.0 };
        let (side, price, ts, came) = (order.side, order.price, order.ts, order.came);
        let loss = Loss { instant, side, price, qty: order.qty.0 - left, ts, came };
        if loss.qty > 0 {
            if self.losses.len() == LOSSES_MAX {
                self.losses.pop_front();
            }
            self.losses.push_back(loss);
        }
        if gone {
            self.drop(slot);
        } else if self.shown.modify(slot, place, change.qty, change.ts, self.options.modify)
            && self.is_reached(change.side.other(), change.price)
            && let Some(order) = self.shown.order(slot)
        {
            let (came, side, price, qty) = (order.came, change.side, change.price, change.qty);
            self.arrivals.push(Arrival { slot, id: change.id, came, side, price, qty });
        }
    }

    fn add(&mut self, change: Change) {
        if !change.qty.is_positive() {
            return;
        }
        let (side, price, qty) = (change.side, change.price, change.qty);
        let order = self.shown.told_order((side, price), qty, change.ts);
        let came = order.came;
        match self.shown.add(&change.id, order) {
            Some(slot) if self.is_reached(side.other(), price) => {
                self.arrivals.push(Arrival { slot, id: change.id, came, side, price, qty });
            }
            Some(_) => {}
            None => self.skipped += 1,
        }
    }

    /// Whether an own order, or a question, of a side rests at this price or a better one.
    fn is_reached(&self, side: Side, price: Price) -> bool {
        self.ghosts.is_reached(side, price) || self.questions.is_reached(side, price)
    }

    fn drop(&mut self, slot: u32) {
        self.shown.remove(slot);
        self.forget(slot);
    }

    /// An order is gone, or begins anew: what was eaten of it counts no more.
    fn forget(&mut self, slot: u32) {
        self.questions.forget(slot);
        if !self.eaten.is_empty() {
            self.eaten.remove(&slot);
        }
    }

    /// What was lost and traded in an instant, what came before and late included; and counts it.
    fn gather(&mut self, at: &Moment, prints: &[Print]) {
        let of = |instant: i64| move |other: i64| (other == instant, other < instant);
        let is = of(at.instant);
        self.now_lost.clear();
        let losses = self.losses.iter().rev().take_while(|loss| !is(loss.instant).1);
        self.now_lost.extend(losses.filter(|loss| is(loss.instant).0));
        self.now_printed.clear();
        let printed = self.printed.iter().rev().take_while(|print| !is(print.0).1);
        self.now_printed.extend(printed.filter(|print| is(print.0).0).map(|print| print.1));
        self.now_printed.reverse();
        for print in prints {
            let same = |other: &&Print| (other.side, other.price) == (print.side, print.price);
            let before = self.now_printed.iter().filter(same).fold(0_i64, |sum, other| sum.saturating_add(other.qty.0));
            let lost = self.now_lost.iter().filter(|loss| (loss.side, loss.price) == (print.side, print.price));
            let lost = lost.fold(0_i64, |sum, loss| sum.saturating_add(loss.qty));
            self.attribution.count(print.qty.0, before, lost);
            self.now_printed.push(*print);
            if self.printed.len() == PRINTS_MAX {
                self.printed.pop_front();
            }
            self.printed.push_back((at.instant, *print));
        }
    }

    /// Gives ghosts their part of the trades of an instant.
    fn decide(&mut self, at: &Moment, hits: &mut Vec<Hit>) {
        let share = self.options.together == Together::Share;
        let (prints, mut met) = (std::mem::take(&mut self.now_printed), std::mem::take(&mut self.met));
        self.ghosts.met(&prints, share, &mut met);
        let mut account = None;
        // What the account took of the trades of each side; places and parts of its orders that are left.
        let mut taken = [0_i64; 2];
        let mut older: Vec<(Side, Price, u64, i64)> = Vec::new();
        for &slot in &met {
            let Some(ghost) = self.ghosts.get_mut(slot) else { continue };
            if instant_of(ghost.ts) >= at.instant {
                continue;
            }
            if account != Some(ghost.account) {
                (account, taken) = (Some(ghost.account), [0; 2]);
                older.clear();
            }
            let (side, price, came) = (ghost.side, ghost.price, ghost.came);
            let before = if ghost.took.0 == at.instant { (ghost.took.1.0, ghost.took.2.0) } else { (0, 0) };
            let (traded, worse) = reach(&prints, side, price, Qty(if share { taken[side as usize] } else { 0 }));
            let (mut gone, mut behind) = (0_i64, 0_i64);
            for loss in self.now_lost.iter().filter(|loss| (loss.side, loss.price) == (side, price)) {
                let part = if is_ahead(loss.came, loss.ts, ghost) { &mut gone } else { &mut behind };
                *part = part.saturating_add(loss.qty);
            }
            let used: i64 = if share {
                0
            } else {
                let same = |one: &&(Side, Price, u64, i64)| (one.0, one.1) == (side, price) && one.2 < came;
                older.iter().filter(same).fold(0_i64, |sum, one| sum.saturating_add(one.3))
            };
            let mut mine = traded.0 - traded.0.min(gone) - used;
            let unseen = ghost.unseen.0.min(mine).max(0);
            ghost.unseen.0 -= unseen;
            mine -= unseen + before.0;
            if at.dark && self.options.gaps == Gaps::Worst {
                mine = 0;
            }
            let trade_id = trade_at(&prints, side, price, Qty(gone.saturating_add(used).saturating_add(before.0)));
            let (mut at_price, mut below) = (0, 0);
            let mut refilled = false;
            for (most, evidence) in [(mine.min(behind), Evidence::Queue), (mine, Evidence::Beyond)] {
                if refilled {
                    break;
                }
                let (took, again) = ghost.take(Qty(most - at_price), false);
                (at_price, refilled) = (at_price + took.0, again);
                let doubt = at.dark || evidence == Evidence::Beyond;
                ghost.note(hits, took, (evidence, doubt, refilled), trade_id);
            }
            if worse.0 > before.1 {
                let (took, again) = ghost.take(Qty(worse.0 - before.1), true);
                (below, refilled) = (took.0, refilled || again);
                ghost.note(hits, took, (Evidence::Through, at.dark, again), trade_below(&prints, side, price));
            }
            ghost.took = (at.instant, Qty(before.0 + at_price), Qty(before.1 + below));
            taken[side as usize] = taken[side as usize].saturating_add(at_price + below);
            if refilled {
                (ghost.ts, ghost.came) = (at.ts, self.shown.tell());
            }
            if ghost.left.is_positive() {
                older.push((side, price, came, at_price + below));
            } else {
                self.ghosts.remove(slot);
            }
        }
        (self.now_printed, self.met) = (prints, met);
    }

    /// An order of the record that could not rest beside ghosts: it would have met them.
    fn cross(&mut self, at: &Moment, arrival: &Arrival, hits: &mut Vec<Hit>) {
        let mut met = std::mem::take(&mut self.met);
        met.clear();
        met.extend(self.ghosts.reaching(arrival.side.other(), arrival.price));
        self.ghosts.sort(true, &mut met);
        for &slot in &met {
            let Some(ghost) = self.ghosts.get_mut(slot) else { continue };
            let is_held = self.shown.order(arrival.slot).is_some_and(|order| order.came == arrival.came);
            let free = arrival.qty - self.eaten.of(&arrival.slot, ghost.account);
            let (took, refilled) = ghost.take(free, true);
            if !took.is_positive() {
                continue;
            }
            ghost.note(hits, took, (Evidence::Crossed, at.dark, refilled), None);
            if let (true, Some(hit)) = (is_held, hits.last_mut()) {
                hit.counterparty = Some(arrival.id.to_string().into());
            }
            if refilled {
                (ghost.ts, ghost.came) = (at.ts, self.shown.tell());
            }
            let (account, is_done) = (ghost.account, !ghost.left.is_positive());
            self.eat(account, arrival.slot.into(), took);
            if is_done {
                self.ghosts.remove(slot);
            }
        }
        self.met = met;
    }

    /// Levels beyond the window are no longer told: what stands there before a ghost is remembered until they are again.
    fn truncate(&mut self) {
        for side in [Side::Buy, Side::Sell] {
            while let Some(price) = self.shown.excess(side, self.depth()) {
                let slots: Vec<u32> = self.ghosts.at(side, price).collect();
                for slot in slots {
                    let Some(ghost) = self.ghosts.get(slot) else { continue };
                    let before = self.shown.queue(side, price).map(|(_, order)| order);
                    let before = before.filter(|order| is_ahead(order.came, order.ts, ghost));
                    let unseen = before.fold(0_i64, |sum, order| sum.saturating_add(order.qty.0));
                    if let Some(ghost) = self.ghosts.get_mut(slot) {
                        ghost.unseen = Qty(unseen);
                        self.any_unseen = true;
                    }
                }
                let seen = |order: &Order| Seen { came: order.came, ts: order.ts, qty: order.qty.0 };
                let orders = self.shown.queue(side, price).map(|(_, order)| seen(order));
                self.questions.hide(side, price, self.shown.told(), orders);
                let gone: Vec<u32> = self.shown.queue(side, price).map(|(slot, _)| slot).collect();
                for slot in gone {
                    self.drop(slot);
                }
            }
        }
    }

    /// The window is as it is after an instant.
    fn close(&mut self) {
        self.truncate();
        if self.any_unseen {
            self.forget_unseen();
        }
        if self.questions.has_away() {
            let (shown, depth) = (&self.shown, self.depth());
            self.questions.show(|side, price| shown.is_visible(side, price, depth));
        }
    }

    fn forget_unseen(&mut self) {
        let depth = self.depth();
        let is_unseen = |ghost: &Ghost| ghost.unseen.is_positive();
        let unseen: Vec<u32> = self.ghosts.all().filter(|(_, ghost)| is_unseen(ghost)).map(|(slot, _)| slot).collect();
        self.any_unseen = false;
        for slot in unseen {
            let Some(ghost) = self.ghosts.get_mut(slot) else { continue };
            if self.shown.is_visible(ghost.side, ghost.price, depth) {
                ghost.unseen = Qty::ZERO;
            } else {
                self.any_unseen = true;
            }
        }
    }
}

impl Record for Queue {
    fn ghosts(&self) -> &Ghosts {
        &self.ghosts
    }

    fn ghosts_mut(&mut self) -> &mut Ghosts {
        &mut self.ghosts
    }

    fn pass(
        &mut self,
        at: &Moment,
        prints: &[Print],
        (changes, count): (&mut VecDeque<Change>, usize),
        hits: &mut Vec<Hit>,
    ) {
        self.arrivals.clear();
        for _ in 0..count {
            let Some(change) = changes.pop_front() else { break };
            self.apply(at.instant, change);
        }
        if !prints.is_empty() {
            self.gather(at, prints);
            if !self.ghosts.is_empty() {
                self.decide(at, hits);
            }
            if self.questions.rests() {
                let losses = &self.now_lost;
                let now = (at.instant, at.ts, at.dark);
                self.questions.decide(now, &self.now_printed, |side, price, found| {
                    let lost = losses.iter().filter(|loss| (loss.side, loss.price) == (side, price));
                    found.extend(lost.map(|loss| Seen { came: loss.came, ts: loss.ts, qty: loss.qty }));
                });
            }
        }
        if !self.arrivals.is_empty() {
            let mut arrivals = std::mem::take(&mut self.arrivals);
            for arrival in &arrivals {
                self.cross(at, arrival, hits);
                if self.questions.is_reached(arrival.side.other(), arrival.price) {
                    let now = (at.instant, at.ts, at.dark);
                    self.questions.cross(now, arrival.side, arrival.price, arrival.qty, arrival.slot);
                }
            }
            arrivals.clear();
            self.arrivals = arrivals;
        }
        self.close();
    }

    fn clear(&mut self) {
        self.shown.clear();
        self.eaten.clear();
        self.questions.clear();
    }

    fn snapshot(&mut self, (changes, count): (&mut VecDeque<Change>, usize)) {
        self.clear();
        let mut rows: Vec<Change> = (0..count).map_while(|_| changes.pop_front()).collect();
        rows.sort_by_key(|row| row.ts);
        for row in rows {
            self.add(row);
        }
        // A snapshot tells what is there; it says nothing of who met whom.
        self.arrivals.clear();
        if self.options.gaps == Gaps::Worst {
            let slots: Vec<u32> = self.ghosts.all().map(|(slot, _)| slot).collect();
            for slot in slots {
                let came = self.shown.tell();
                if let Some(ghost) = self.ghosts.get_mut(slot) {
                    ghost.came = came;
                }
            }
        }
        self.close();
    }

    fn rest(&mut self, mut ghost: Ghost) -> u32 {
        ghost.came = self.shown.tell();
        self.ghosts.insert(ghost)
    }

    fn offers(&self, account: u32, side: Side, limit: Option<Price>, each: &mut dyn FnMut(Offer) -> bool) {
        for (slot, order) in self.shown.best(side.other()) {
            if limit.is_some_and(|limit| side.better(order.price, limit)) {
                break;
            }
            let qty = order.qty - self.eaten.of(&slot, account);
            let (price, ts, came) = (order.price, order.ts, order.came);
            let offer = Offer { key: slot.into(), price, qty, id: Some(self.shown.id(slot)), ts, came };
            if qty.is_positive() && each(offer) {
                break;
            }
        }
    }

    fn eat(&mut self, account: u32, key: i64, qty: Qty) {
        let Ok(slot) = u32::try_from(key) else { return };
        self.eaten.add(slot, account, qty);
    }

    fn place(&self, slot: u32, dark: bool) -> Option<Place> {
        let ghost = self.ghosts.get(slot)?;
        let exact = !dark && self.shown.is_visible(ghost.side, ghost.price, self.depth());
        let (mut orders_ahead, mut ahead, mut behind) = (0, ghost.unseen.0, 0_i64);
        for (_, order) in self.shown.queue(ghost.side, ghost.price) {
            if is_ahead(order.came, order.ts, ghost) {
                orders_ahead += 1;
                ahead = ahead.saturating_add(order.qty.0);
            } else {
                behind = behind.saturating_add(order.qty.0);
            }
        }
        Some(Place { orders_ahead, qty_ahead: Qty(ahead), qty_behind: Qty(behind), exact })
    }

    fn hide(&mut self, id: &Id) {
        if let Some(slot) = self.shown.find(id) {
            self.drop(slot);
        }
    }

    fn questions(&self) -> &Questions {
        &self.questions
    }

    fn questions_mut(&mut self) -> &mut Questions {
        &mut self.questions
    }

    fn ask(&mut self, is_due: &dyn Fn(i64) -> bool, dark: bool, in_gap: bool) {
        while let Some(question) = self.questions.next(is_due) {
            if dark {
                self.questions.refuse(&question);
                continue;
            }
            let (side, price) = (question.side, question.price);
            let mut entry = self.questions.entry(question);
            for (slot, order) in self.shown.best(side.other()) {
                if side.better(order.price, price) || !entry.take(order.price, order.qty, Some(slot)) {
                    break;
                }
            }
            let (shown, depth) = (&mut self.shown, usize::from(self.options.depth));
            self.questions.enter(entry, instant_of(question.at), in_gap, || {
                let came = shown.tell();
                let ahead = || shown.queue(side, price).fold(0_i64, |sum, (_, order)| sum.saturating_add(order.qty.0));
                let ahead = shown.is_visible(side, price, depth).then(ahead).map(Qty);
                Rest { came, ahead, before: None }
            });
        }
        self.questions.end(is_due);
    }

    fn attribution(&self) -> Attribution {
        self.attribution
    }

    fn skipped(&self) -> u64 {
        self.skipped
    }
}
