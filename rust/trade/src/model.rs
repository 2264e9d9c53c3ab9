//! What a market on paper is asked, whichever record it is made of.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::amount::{Price, Qty};
use crate::ghosts::{Ghost, Ghosts, Hit, Print};
use crate::questions::Questions;
use crate::shown::Id;
use crate::terms::Side;
use krakpot_core::wire::message::OrderEvent;

/// Nanoseconds of an instant: all that the exchange did in one microsecond.
pub(crate) const INSTANT: i64 = 1000;

/// The instant of a time.
pub(crate) const fn instant_of(ts: i64) -> i64 {
    ts.div_euclid(INSTANT)
}

/// When something happened, and what is known of that time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// The instant, µs.
    pub instant: i64,
    /// Time of the exchange, ns.
    pub ts: i64,
    /// Whether the book was not known.
    pub dark: bool,
}

/// A row of the record: an order, or a level of level 2, which has no id and is always modified.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub side: Side,
    pub event: OrderEvent,
    pub id: Id,
    pub price: Price,
    pub qty: Qty,
    pub ts: i64,
}

/// What an order could take.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    /// What is eaten by it: see [`Record::eat`].
    pub key: i64,
    pub price: Price,
    /// What the account has not taken of it before.
    pub qty: Qty,
    pub id: Option<Id>,
    /// Its place.
    pub ts: i64,
    pub came: u64,
}

impl Offer {
    pub fn order_id(&self) -> Option<Arc<str>> {
        self.id.as_ref().map(|id| id.to_string().into())
    }
}

/// Where an own order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Orders of others before it; 0 on level 2, which shows none.
    pub orders_ahead: usize,
    /// Quantity before it.
    pub qty_ahead: Qty,
    /// Quantity of others behind it.
    pub qty_behind: Qty,
    /// Whether this is known: level 3, in sync, the price inside of the window.
    pub exact: bool,
}

/// Quantity that was traded, and what of it no order or level lost at its instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attribution {
    /// What was traded.
    pub printed: Qty,
    /// What of it no reduction explains.
    pub unattributed: Qty,
}

impl Attribution {
    /// Counts what was traded at a price in an instant, beside what was counted of it before. `lost`: what the price lost.
    pub fn count(&mut self, new: i64, before: i64, lost: i64) {
        let unexplained = |qty: i64| (qty - lost).max(0);
        self.printed.0 = self.printed.0.saturating_add(new);
        let more = unexplained(before.saturating_add(new)) - unexplained(before);
        self.unattributed.0 = self.unattributed.0.saturating_add(more);
    }
}

/// The record of a pair with ghosts in it.
pub(crate) trait Record: std::fmt::Debug + Send {
    fn ghosts(&self) -> &Ghosts;

    fn ghosts_mut(&mut self) -> &mut Ghosts;

    /// What happened in an instant: `count` rows of `changes`, then gone from it, and trades. Ghosts that were there
    /// before get what is theirs.
    fn pass(&mut self, at: &Moment, prints: &[Print], changes: (&mut VecDeque<Change>, usize), hits: &mut Vec<Hit>);

    /// The record ends.
    fn clear(&mut self);

    /// It begins anew with these rows.
    fn snapshot(&mut self, changes: (&mut VecDeque<Change>, usize));

    /// Gives a ghost its place, behind all that is there.
    fn rest(&mut self, ghost: Ghost) -> u32;

    /// Calls `each` with what an order of this side could take, the best first, until it says that it has enough.
    fn offers(&self, account: u32, side: Side, limit: Option<Price>, each: &mut dyn FnMut(Offer) -> bool);

    /// What an account took of an offer is gone for that account until the order, or the level, is gone.
    fn eat(&mut self, account: u32, key: i64, qty: Qty);

    fn place(&self, slot: u32, dark: bool) -> Option<Place>;

    /// Takes an order out of the record.
    fn hide(&mut self, id: &Id);

    fn questions(&self) -> &Questions;

    fn questions_mut(&mut self) -> &mut Questions;

    /// Lets questions come whose time has come, and ends those whose time is over. `dark`: the book is not known.
    fn ask(&mut self, is_due: &dyn Fn(i64) -> bool, dark: bool, in_gap: bool);

    fn attribution(&self) -> Attribution;

    /// Rows that could not be taken: of unknown orders, or beyond a limit.
    fn skipped(&self) -> u64;
}
