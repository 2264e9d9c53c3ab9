//! Ghosts in the levels of level 2: two bounds of what they would have got.
//!
//! Level 2 does not say where it stood what left a level without being traded. [`Cancels`] assumes one place for all of it:
//! before the ghost, or behind it. What was traded moves a ghost in both. A price outside of the window says nothing:
//! nothing stands before the ghost, or everything does.

use std::collections::VecDeque;

use crate::amount::{Price, Qty};
use crate::eaten::Eaten;
use crate::ghosts::{Ghost, Ghosts, Hit, Print, reach, trade_at, trade_below};
use crate::model::{Attribution, Change, INSTANT, Moment, Offer, Place, Record, instant_of};
use crate::options::{Cancels, Gaps, Options, Together};
use crate::questions::{Questions, Rest};
use crate::report::Evidence;
use crate::shown::{Id, key};
use crate::terms::Side;
use krakpot_core::book::sorted::SortedLevels;

/// How much later than a trade its level may show it, ns: what leaves the level within it counts as traded.
const LATE: i64 = 1_000_000_000;
/// Levels a side that are held; the window is smaller.
const LEVELS_MAX: usize = 10_000;

/// A level.
#[derive(Debug, Clone, Copy)]
struct Level {
    /// See [`key`].
    key: i64,
    qty: Qty,
}

impl Level {
    const fn price(self) -> Price {
        Price(self.key.abs())
    }
}

/// What a level lost in an instant.
#[derive(Debug, Clone, Copy)]
struct Step {
    side: Side,
    price: Price,
    before: Qty,
    after: Qty,
}

/// Level 2 of a pair.
#[derive(Debug)]
pub(crate) struct Bounds {
    /// By side, the worst first.
    sides: [SortedLevels<Level>; 2],
    ghosts: Ghosts,
    questions: Questions,
    cancels: Cancels,
    options: Options,
    /// What accounts took of levels.
    eaten: Eaten<(Side, Price)>,
    attribution: Attribution,
    skipped: u64,
    met: Vec<u32>,
}

impl Bounds {
    pub fn new(cancels: Cancels, options: Options) -> Self {
        Self {
            sides: Default::default(),
            ghosts: Ghosts::default(),
            questions: Questions::default(),
            cancels,
            options,
            eaten: Eaten::default(),
            attribution: Attribution::default(),
            skipped: 0,
            met: Vec::new(),
        }
    }

    fn depth(&self) -> usize {
        usize::from(self.options.depth).min(LEVELS_MAX)
    }

    fn qty(&self, side: Side, price: Price) -> Qty {
        qty_of(&self.sides, side, price)
    }

    fn is_visible(&self, side: Side, price: Price) -> bool {
        let levels = &self.sides[side as usize];
        levels.len() < self.depth() || levels.first().is_none_or(|worst| key(side, price) >= worst.key)
    }

    /// Sets a level; returns its quantity before.
    fn set(&mut self, side: Side, price: Price, qty: Qty) -> Qty {
        let (key, levels) = (key(side, price), &mut self.sides[side as usize]);
        let at = levels.place(|level| level.key < key);
        match levels.get_mut(at).filter(|level| level.key == key) {
            Some(level) if qty.is_positive() => std::mem::replace(&mut level.qty, qty),
            Some(_) => levels.remove(at).qty,
            None => {
                if qty.is_positive() {
                    levels.insert(at, Level { key, qty });
                }
                Qty::ZERO
            }
        }
    }

    /// Gives ghosts their part of the trades of an instant.
    fn decide(&mut self, at: &Moment, prints: &[Print], hits: &mut Vec<Hit>) {
        let share = self.options.together == Together::Share;
        let mut met = std::mem::take(&mut self.met);
        self.ghosts.met(prints, share, &mut met);
        let (mut account, mut taken) = (None, [0_i64; 2]);
        for &slot in &met {
            let Some(ghost) = self.ghosts.get(slot) else { continue };
            if instant_of(ghost.ts) >= at.instant {
                continue;
            }
            if account != Some(ghost.account) {
                (account, taken) = (Some(ghost.account), [0; 2]);
            }
            let (side, price) = (ghost.side, ghost.price);
            let level = self.qty(side, price);
            let Some(ghost) = self.ghosts.get_mut(slot) else { continue };
            let (traded, worse) = reach(prints, side, price, Qty(if share { taken[side as usize] } else { 0 }));
            let ahead = ghost.ahead.unwrap_or(traded);
            let mut mine = (traded - ahead).0.max(0);
            if at.dark && self.options.gaps == Gaps::Worst {
                mine = 0;
            }
            if traded.is_positive() {
                ghost.ahead = ghost.ahead.map(|ahead| Qty((ahead - traded).0.max(0)));
                // Trades that the level will show; older ones it has shown, or never will.
                let before = if at.instant - ghost.printed.0 <= LATE / INSTANT { ghost.printed.1 } else { Qty::ZERO };
                ghost.printed = (at.instant, Qty(before.0.saturating_add(traded.0)));
            }
            let behind = (level - ahead).0.max(0);
            let trade_id = trade_at(prints, side, price, ahead);
            let (mut got, mut refilled) = (0, false);
            for (most, evidence) in [(mine.min(behind), Evidence::Queue), (mine, Evidence::Beyond)] {
                let (took, again) = if refilled { (Qty::ZERO, false) } else { ghost.take(Qty(most - got), false) };
                got += took.0;
                refilled |= again;
                let doubt = at.dark || evidence == Evidence::Beyond;
                ghost.note(hits, took, (evidence, doubt, again), trade_id);
            }
            if worse.is_positive() {
                let (took, again) = ghost.take(worse, true);
                got += took.0;
                refilled |= again;
                ghost.ahead = Some(Qty::ZERO);
                ghost.note(hits, took, (Evidence::Through, at.dark, again), trade_below(prints, side, price));
            }
            taken[side as usize] = taken[side as usize].saturating_add(got);
            if refilled {
                // The part that is shown now stands behind the level, of which what was traded is gone.
                ghost.ts = at.ts;
                ghost.ahead = Some(Qty((level - traded).0.max(0)));
            }
            if !ghost.left.is_positive() {
                self.ghosts.remove(slot);
            }
        }
        self.met = met;
    }

    /// A level has another quantity: ghosts there may stand before less.
    fn step(&mut self, at: &Moment, step: &Step) {
        let slots: Vec<u32> = self.ghosts.at(step.side, step.price).collect();
        for slot in slots {
            let Some(ghost) = self.ghosts.get_mut(slot) else { continue };
            move_by(at, step, self.cancels, &mut ghost.ahead, &mut ghost.printed);
        }
    }

    /// A level of the other side grew where it cannot stand beside ghosts: what is new of it would have met them.
    fn cross(&mut self, at: &Moment, step: &Step, hits: &mut Vec<Hit>) {
        let new = step.after - step.before;
        if !new.is_positive() || !self.ghosts.is_reached(step.side.other(), step.price) {
            return;
        }
        let mut met = std::mem::take(&mut self.met);
        met.clear();
        met.extend(self.ghosts.reaching(step.side.other(), step.price));
        self.ghosts.sort(true, &mut met);
        let (mut account, mut left) = (None, new);
        for &slot in &met {
            let Some(ghost) = self.ghosts.get_mut(slot) else { continue };
            if account != Some(ghost.account) {
                (account, left) = (Some(ghost.account), new);
            }
            let (took, refilled) = ghost.take(left, true);
            left -= took;
            ghost.note(hits, took, (Evidence::Crossed, at.dark, refilled), None);
            let (account, is_done) = (ghost.account, !ghost.left.is_positive());
            if refilled {
                ghost.ts = at.ts;
            }
            if took.is_positive() {
                self.eaten.add((step.side, step.price), account, took);
            }
            if is_done {
                self.ghosts.remove(slot);
            }
        }
        self.met = met;
    }

    /// What accounts took of a level is gone with it: of what left it first, or last.
    fn digest(&mut self, step: &Step) {
        let (gone, cancels) = ((step.before - step.after).0.max(0), self.cancels);
        self.eaten.change(&(step.side, step.price), |took| match cancels {
            Cancels::Ahead => Qty((took.0 - gone).max(0)),
            Cancels::Behind => took.min(step.after),
        });
    }

    fn truncate(&mut self) {
        for side in [Side::Buy, Side::Sell] {
            while self.sides[side as usize].len() > self.depth() {
                let Some(level) = self.sides[side as usize].fall() else { break };
                let price = level.price();
                self.eaten.remove(&(side, price));
                let slots: Vec<u32> = self.ghosts.at(side, price).collect();
                for slot in slots {
                    if let Some(ghost) = self.ghosts.get_mut(slot)
                        && self.cancels == Cancels::Ahead
                    {
                        ghost.ahead = Some(Qty::ZERO);
                    }
                }
                if self.cancels == Cancels::Ahead {
                    self.questions.each_at(side, price, |ahead, _| *ahead = Some(Qty::ZERO));
                }
            }
        }
    }

    /// What stands before an order that comes to a price now.
    fn all_ahead(&self, side: Side, price: Price) -> Option<Qty> {
        match self.cancels {
            _ if self.is_visible(side, price) => Some(self.qty(side, price)),
            Cancels::Ahead => Some(Qty::ZERO),
            Cancels::Behind => None,
        }
    }
}

/// Quantity of a level.
fn qty_of(sides: &[SortedLevels<Level>; 2], side: Side, price: Price) -> Qty {
    let (levels, key) = (&sides[side as usize], key(side, price));
    let found = levels.get(levels.place(|level| level.key < key));
    found.filter(|level| level.key == key).map_or(Qty::ZERO, |level| level.qty)
}

/// A level has another quantity: who stands there may stand before less. `printed`: instant and quantity of trades that the
/// level has not shown yet.
fn move_by(at: &Moment, step: &Step, cancels: Cancels, before: &mut Option<Qty>, printed: &mut (i64, Qty)) {
    let gone = (step.before - step.after).0.max(0);
    let is_late = at.instant - printed.0 > LATE / INSTANT;
    let traded = if is_late { 0 } else { gone.min(printed.1.0) };
    printed.1 = if is_late { Qty::ZERO } else { printed.1 - Qty(traded) };
    let ahead = match (*before, cancels) {
        (Some(ahead), Cancels::Ahead) => (ahead.0 - (gone - traded)).max(0),
        (Some(ahead), Cancels::Behind) => ahead.0,
        (None, _) => step.after.0,
    };
    *before = Some(Qty(ahead.min(step.after.0)));
}

impl Record for Bounds {
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
        if !prints.is_empty() && !self.ghosts.is_empty() {
            self.decide(at, prints, hits);
        }
        let now = (at.instant, at.ts, at.dark);
        if !prints.is_empty() && self.questions.rests() {
            let sides = &self.sides;
            self.questions.decide_sums(now, prints, LATE / INSTANT, |side, price| qty_of(sides, side, price));
        }
        let mut steps = Vec::new();
        for _ in 0..count {
            let Some(change) = changes.pop_front() else { break };
            let (side, price, after) = (change.side, change.price, change.qty);
            let before = self.set(side, price, after);
            let step = Step { side, price, before, after };
            if !self.ghosts.is_empty() {
                self.step(at, &step);
            }
            if self.questions.rests() {
                let cancels = self.cancels;
                self.questions.each_at(side, price, |ahead, printed| {
                    move_by(at, &step, cancels, ahead, printed);
                });
            }
            if !self.eaten.is_empty() {
                self.digest(&step);
            }
            let is_reached =
                self.ghosts.is_reached(side.other(), price) || self.questions.is_reached(side.other(), price);
            if !prints.is_empty() || is_reached {
                steps.push(step);
            }
        }
        for (n, print) in prints.iter().enumerate() {
            let same = |other: &&Print| (other.side, other.price) == (print.side, print.price);
            let before = prints[..n].iter().filter(same).fold(0_i64, |sum, other| sum.saturating_add(other.qty.0));
            let of_level = steps.iter().filter(|step| (step.side, step.price) == (print.side, print.price));
            let lost = of_level.fold(0_i64, |sum, step| sum.saturating_add((step.before - step.after).0.max(0)));
            self.attribution.count(print.qty.0, before, lost);
        }
        for step in &steps {
            self.cross(at, step, hits);
            let new = step.after - step.before;
            if new.is_positive() && self.questions.is_reached(step.side.other(), step.price) {
                self.questions.cross_sum(now, step.side, step.price, new);
            }
        }
        self.truncate();
    }

    fn clear(&mut self) {
        self.sides = Default::default();
        self.eaten.clear();
    }

    fn snapshot(&mut self, (changes, count): (&mut VecDeque<Change>, usize)) {
        self.clear();
        for _ in 0..count {
            let Some(change) = changes.pop_front() else { break };
            self.set(change.side, change.price, change.qty);
        }
        self.truncate();
        let places: Vec<_> = self.ghosts.all().map(|(slot, ghost)| (slot, ghost.side, ghost.price)).collect();
        for (slot, side, price) in places {
            let ahead = self.all_ahead(side, price);
            if let Some(ghost) = self.ghosts.get_mut(slot) {
                (ghost.ahead, ghost.printed) = (ahead, (0, Qty::ZERO));
            }
        }
        let mut questions = std::mem::take(&mut self.questions);
        questions.each(|side, price, ahead, printed| {
            (*ahead, *printed) = (self.all_ahead(side, price), (0, Qty::ZERO));
        });
        self.questions = questions;
    }

    fn rest(&mut self, mut ghost: Ghost) -> u32 {
        ghost.ahead = self.all_ahead(ghost.side, ghost.price);
        self.ghosts.insert(ghost)
    }

    fn offers(&self, account: u32, side: Side, limit: Option<Price>, each: &mut dyn FnMut(Offer) -> bool) {
        let other = side.other();
        for level in self.sides[other as usize].iter().rev() {
            let price = level.price();
            if limit.is_some_and(|limit| side.better(price, limit)) {
                break;
            }
            let qty = level.qty - self.eaten.of(&(other, price), account);
            // The key of an offer is the price, negative for a bid.
            let offer = Offer { key: -level.key, price, qty, id: None, ts: 0, came: 0 };
            if qty.is_positive() && each(offer) {
                break;
            }
        }
    }

    fn eat(&mut self, account: u32, key: i64, qty: Qty) {
        let at = if key < 0 { (Side::Buy, Price(-key)) } else { (Side::Sell, Price(key)) };
        self.eaten.add(at, account, qty);
    }

    fn place(&self, slot: u32, _: bool) -> Option<Place> {
        let ghost = self.ghosts.get(slot)?;
        let level = self.qty(ghost.side, ghost.price);
        let qty_ahead = ghost.ahead.unwrap_or(level);
        let qty_behind = Qty((level - qty_ahead).0.max(0));
        Some(Place { orders_ahead: 0, qty_ahead, qty_behind, exact: false })
    }

    fn hide(&mut self, _: &Id) {}

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
            for level in self.sides[side.other() as usize].iter().rev() {
                if side.better(level.price(), price) || !entry.take(level.price(), level.qty, None) {
                    break;
                }
            }
            let before = self.all_ahead(side, price);
            let ahead = self.is_visible(side, price).then(|| self.qty(side, price));
            self.questions.enter(entry, instant_of(question.at), in_gap, || Rest { came: 0, ahead, before });
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
