//! Whether an active subscription still delivers: the channels of one symbol are compared with each other.
//!
//! The ticker and the book both have the best prices, the ticker and the trades the last price. If two of them disagree
//! for a while and one sent nothing meanwhile, that one is considered dead. Only symbols of which something changed, or
//! that disagree already, are looked at.

use super::options::Channel;
use super::output::Output;
use super::symbols::{Effect, Subscription, Symbol, Symbols, differ};
use crate::table::ledger::LedgerKind;
use crate::wire::time::SECOND;

/// If two channels of a symbol disagree for this long, the one that sent nothing meanwhile is considered dead.
const STALE: i64 = 10 * SECOND;
/// A connection that brings nothing for this long is silent as a whole: a heartbeat comes every second.
const HEARTBEATS: i64 = 3 * SECOND;
pub(super) const REASON: &str = "silent, and another channel of the symbol says that it should not be";

/// Looks at all symbols that changed; says which subscriptions are dead.
pub(super) fn check(symbols: &mut Symbols, out: &mut Output, now: i64) -> Vec<(usize, Channel, Effect)> {
    let mut effects = Vec::new();
    for i in std::mem::take(&mut symbols.touched) {
        let symbol = &mut symbols.all[i];
        symbol.touched = false;
        for (channel, since) in compare(symbol, now).into_iter().flatten() {
            effects.push(end(symbols, out, i, channel, since, now));
        }
        // It has to be looked at until they agree again.
        let [ticker, trades, _] = symbols.all[i].disagree_since;
        if ticker.is_some() || trades.is_some() {
            symbols.touch(i);
        }
    }
    effects
}

/// Channels of a symbol that are dead, and when their last data came.
fn compare(symbol: &mut Symbol, now: i64) -> [Option<(Channel, i64)>; 2] {
    let best = symbol.best();
    // A channel that is active and sent nothing yet is taken to have said what the other said first.
    if symbol.quoted == [None; 3] && symbol.subscription(Channel::Ticker).state.delivers() {
        symbol.quoted = [best[0], best[1], None];
    }
    let [bid, ask, last] = symbol.quoted;
    if symbol.last_price.is_none() && symbol.subscription(Channel::Trade).state.delivers() {
        symbol.last_price = last;
    }
    let disagree = [differ([bid, ask], best), differ([last], [symbol.last_price])];
    let mut dead = [None; 2];
    for (pair, other) in [Channel::Book, Channel::Trade].into_iter().enumerate() {
        if !disagree[pair] {
            symbol.disagree_since[pair] = None;
            continue;
        }
        let since = *symbol.disagree_since[pair].get_or_insert(now);
        if now - since <= STALE {
            continue;
        }
        symbol.disagree_since[pair] = None;
        let last_received = |channel| symbol.subscription(channel).last_received;
        // The one that sent something last is right. A trade alone brings no ticker.
        let channel = if last_received(other) < last_received(Channel::Ticker) { other } else { Channel::Ticker };
        let Subscription { state, last_received, .. } = *symbol.subscription(channel);
        let follows = channel != Channel::Ticker || other == Channel::Book;
        if state.delivers() && last_received < since && follows {
            symbol.quoted = [None; 3];
            dead[pair] = Some((channel, last_received));
        }
    }
    dead
}

/// The same of level 3, which is compared with another session's symbol.
pub(super) fn check_level3(
    symbols: &mut Symbols,
    out: &mut Output,
    i: usize,
    other: &Symbol,
    now: i64,
) -> (usize, Channel, Effect) {
    let none = (i, Channel::Level3, Effect::None);
    let symbol = &mut symbols.all[i];
    let book = other.best();
    let (best, channel) =
        if book == [None; 2] { ([other.quoted[0], other.quoted[1]], Channel::Ticker) } else { (book, Channel::Book) };
    // While nothing at all arrives here, it is the connection that is silent.
    let silent = now - out.last_received > HEARTBEATS;
    if silent || !differ(best, symbol.best_orders()) {
        symbol.disagree_since[2] = None;
        return none;
    }
    let since = *symbol.disagree_since[2].get_or_insert(now);
    let Subscription { state, last_received, .. } = *symbol.subscription(Channel::Level3);
    if now - since <= STALE {
        return none;
    }
    symbol.disagree_since[2] = None;
    if state.delivers() && last_received < since && last_received < other.subscription(channel).last_received {
        return end(symbols, out, i, Channel::Level3, last_received, now);
    }
    none
}

/// A subscription that should deliver is silent since `since`: from then on its data is not known.
fn end(
    symbols: &mut Symbols,
    out: &mut Output,
    i: usize,
    channel: Channel,
    since: i64,
    now: i64,
) -> (usize, Channel, Effect) {
    symbols.end(i, channel, since, REASON);
    for kind in [LedgerKind::Stale, LedgerKind::Gap] {
        let row = out.ledger_row(kind, Some(channel), &symbols.all[i].name);
        out.add_ledger_row(row.span(Some(since), Some(now)).reason(REASON));
    }
    (i, channel, Effect::Resync(REASON))
}
