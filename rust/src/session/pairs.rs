//! Pairs and assets of the instrument channel, and which of them a session subscribes.

use std::sync::Arc;

use super::options::{Channel, Options};
use super::output::{Output, column, pair_row};
use super::subscriptions::Subscriptions;
use super::symbols::{Effect, SubscriptionState, Symbols};
use crate::error::Error;
use crate::instrument::{Asset, Origin, Pair};
use crate::limits;
use crate::table::ledger::LedgerKind;
use crate::table::rows::Cell;
use crate::table::schema::Table;
use crate::wire::message::Items;

/// Why a book is subscribed again whose pair has other decimals now.
pub(super) const PRECISION_CHANGED: &str = "precision changed";

/// The pairs that a session has to know of beyond its symbols.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    /// Pairs that an earlier session followed and this one has not seen yet.
    missing: Vec<Arc<str>>,
    /// Pairs of the instrument snapshot that could not be read.
    unread: Vec<Box<str>>,
    /// Whether the instrument snapshot has pairs that could not be read and whose names are not known.
    unread_unnamed: bool,
}

impl Pairs {
    /// Takes over what an earlier session followed.
    pub(super) fn go_on_after(&mut self, before: &Self, symbols: &Symbols) {
        let selected = symbols.all.iter().filter(|symbol| symbol.selected).map(|symbol| symbol.name.clone());
        self.missing = selected.chain(before.missing.iter().cloned()).collect();
    }

    /// The instrument snapshot is complete: what an earlier session followed and the exchange no longer lists is gone.
    pub(super) fn complete(&mut self, out: &mut Output, listed: &Items<Pair>) {
        self.unread = listed.refused.iter().filter_map(|refused| refused.symbol.clone()).collect();
        self.unread_unnamed = listed.more > 0 || self.unread.len() < listed.refused.len();
        let missing = std::mem::take(&mut self.missing);
        let (unread, gone): (Vec<_>, Vec<_>) = missing.into_iter().partition(|name| self.may_be_listed(name));
        self.missing = unread;
        for name in gone {
            let row = out.ledger_row(LedgerKind::Delisted, None, &name);
            out.add_ledger_row(row.reason("no longer listed after a reconnect"));
        }
    }

    /// Whether a pair that the instrument snapshot does not list may be one of those that could not be read.
    pub(super) fn may_be_listed(&self, name: &str) -> bool {
        self.unread_unnamed || self.unread.iter().any(|unread| **unread == *name)
    }

    /// Decides which subscriptions a pair has, which is new or changed.
    pub(super) fn choose(
        &mut self,
        options: &Options,
        symbols: &mut Symbols,
        subscriptions: &mut Subscriptions,
        out: &mut Output,
        (i, pair, change): (usize, &Pair, Change),
    ) {
        let now = out.now;
        let first = !subscriptions.instrument.delivers();
        let Change { known_before, status_changed, precision_changed } = change;
        let name = symbols.all[i].name.clone();
        if options.passive || !options.selects(&name) {
            return;
        }
        self.missing.retain(|missing| *missing != name);
        if pair.status == "delisted" {
            let followed = remove(symbols, subscriptions, now, i, "delisted");
            if followed || (symbols.all[i].selected && status_changed) {
                out.add_ledger_row(out.ledger_row(LedgerKind::Delisted, None, &name));
            }
            return;
        }
        let decimals = pair.price_precision.max(pair.qty_precision);
        if decimals > limits::SCALE {
            remove(symbols, subscriptions, now, i, "its numbers cannot be held");
            let error = Error::Limit { what: "SCALE", limit: limits::SCALE.into(), found: decimals.into() };
            out.add_ledger_row(out.ledger_row(LedgerKind::Gone, None, &name).reason(&error.to_string()));
            return;
        }
        select(symbols, i);
        if !first && !known_before {
            out.add_ledger_row(out.ledger_row(LedgerKind::Listed, None, &name));
        }
        if status_changed || precision_changed {
            for channel in Channel::ALL {
                let state = symbols.all[i].subscription(channel).state;
                if matches!(state, SubscriptionState::Rejected | SubscriptionState::Removed) {
                    subscriptions.set(symbols, i, channel, SubscriptionState::Pending(now), "");
                }
            }
        }
        subscriptions.want(options, symbols, now, i);
    }
}

/// What changed of a pair.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    known_before: bool,
    status_changed: bool,
    precision_changed: bool,
}

/// A pair of an instrument message, where it is the one at `entry`: makes its row, and says which symbol it is.
pub(super) fn listed(symbols: &mut Symbols, out: &mut Output, pair: &Pair, entry: usize) -> Option<usize> {
    let i = symbols.get_or_add(&pair.symbol, out)?;
    pair_row(out, &pair.symbol, pair, Origin::Instrument, entry);
    Some(i)
}

/// Stores what is known of a pair now. Returns what changed, and what follows for its books.
pub(super) fn describe(
    symbols: &mut Symbols,
    out: &mut Output,
    i: usize,
    pair: &Pair,
) -> (Change, Vec<(usize, Channel, Effect)>) {
    let symbol = &mut symbols.all[i];
    let known_before = symbol.pair.is_some();
    let precision = (pair.price_precision, pair.qty_precision, Origin::Instrument);
    let precision_changed = symbol.precision.is_some_and(|known| known != precision);
    let status_changed = symbol.pair.as_ref().is_some_and(|known| known.status != pair.status);
    symbol.pair = Some(pair.clone());
    symbols.pairs += usize::from(!known_before);
    symbol.precision = Some(precision);
    let name = symbol.name.clone();
    let mut effects = Vec::new();
    if precision_changed {
        // What was refused for its digits may be held now.
        (symbol.book.refusals, symbol.orders.refusals) = (0, 0);
        out.precision_row(&name, precision);
        // What Kraken does to a book at that moment is not documented: it is subscribed again.
        for channel in [Channel::Book, Channel::Level3] {
            if symbols.all[i].subscription(channel).state.delivers() {
                symbols.end(i, channel, out.now, PRECISION_CHANGED);
                out.add_ledger_row(out.ledger_row(LedgerKind::Gap, Some(channel), &name).reason(PRECISION_CHANGED));
                effects.push((i, channel, Effect::Resync(PRECISION_CHANGED)));
            }
        }
    }
    (Change { known_before, status_changed, precision_changed }, effects)
}

/// Counts a symbol among the selected ones.
fn select(symbols: &mut Symbols, i: usize) {
    if !std::mem::replace(&mut symbols.all[i].selected, true) {
        symbols.selected += 1;
    }
}

/// A symbol no longer delivers; says whether any channel of it was subscribed.
fn remove(symbols: &mut Symbols, subscriptions: &mut Subscriptions, now: i64, i: usize, reason: &'static str) -> bool {
    let mut followed = false;
    for channel in Channel::ALL {
        symbols.end(i, channel, now, reason);
        let state = symbols.all[i].subscription(channel).state;
        if state != SubscriptionState::Off {
            followed |= state != SubscriptionState::Removed;
            subscriptions.set(symbols, i, channel, SubscriptionState::Removed, reason);
        }
    }
    followed
}

/// The patterns changed: symbols that they select are to be subscribed, the others are to be unsubscribed.
pub(super) fn select_anew(
    options: &Options,
    symbols: &mut Symbols,
    subscriptions: &mut Subscriptions,
    out: &mut Output,
) {
    for i in 0..symbols.all.len() {
        let symbol = &symbols.all[i];
        let tradable = symbol.pair.as_ref().is_some_and(|pair| {
            pair.status != "delisted" && pair.price_precision.max(pair.qty_precision) <= limits::SCALE
        });
        subscriptions.unwant(options, symbols, out, i);
        if !options.selects(&symbols.all[i].name) {
            if std::mem::take(&mut symbols.all[i].selected) {
                symbols.selected -= 1;
            }
        } else if tradable {
            select(symbols, i);
            subscriptions.want(options, symbols, out.now, i);
        }
    }
}

/// One asset of an instrument message.
pub(super) fn asset(out: &mut Output, asset: &Asset, entry: usize) {
    let place = out.place(entry, None, None);
    let cells = [
        Cell::Text(&asset.id),
        Cell::Text(&asset.status),
        Cell::of(asset.precision, Cell::U8),
        Cell::of(asset.precision_display, Cell::U8),
        Cell::of(asset.borrowable, Cell::Bool),
        column(asset.collateral_value),
        column(asset.margin_rate),
        Cell::of(asset.class.as_deref(), Cell::Text),
        Cell::text_or_null(&asset.extra),
    ];
    out.row(Table::Assets, &place, cells);
}
