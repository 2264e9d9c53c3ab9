//! A session that replays recorded rows: messages as the lake has them, and the rows of its ledger, in their order.
//!
//! Books, checksums, gaps and events follow by the same code as when the frames came. The subscriptions, which nobody
//! requests here, follow from the ledger. Their states between request and acknowledgement, and `idle`, are not recorded.

use super::books::{self, BookChannel, Books, Fast};
use super::liveness;
use super::options::{Channel, Options};
use super::output::{LedgerRow, Output};
use super::subscriptions::{NO_LONGER_SELECTED, Subscriptions};
use super::symbols::{Effect, SubscriptionState, Symbols};
use super::{pairs, refused};
use crate::book::level2::Book;
use crate::book::level3::Orders;
use crate::book::synced::BookMeta;
use crate::instrument::Origin;
use crate::table::ledger::LedgerKind;
use crate::wire::message::{BookData, Kind, Message, ShortEntry, ShortOrder};
use crate::wire::refusal::Refusal;

/// Reasons that the ledger of a session has, as events give them.
const REASONS: [&str; 15] = [
    books::UNREADABLE,
    refused::UNREADABLE,
    books::NOT_HELD,
    "checksum mismatch",
    "crossed book",
    "unknown order",
    "order added twice",
    liveness::REASON,
    pairs::PRECISION_CHANGED,
    NO_LONGER_SELECTED,
    "already subscribed, without a snapshot",
    "no answer to subscribe",
    "no answer to unsubscribe",
    "no snapshot",
    "unsubscribing was refused",
];
/// The reason of an event whose row in the ledger has other words.
const IN_THE_LEDGER: &str = "see the ledger";

/// Number and receive time (ns) of a recorded message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Its number within the session.
    pub message: u64,
    /// Its receive time, ns.
    pub ts_recv: i64,
}

/// The text that a row's facts begin with: `{"key":"text"`.
fn words<'a>(detail: Option<&'a str>, key: &str) -> Option<&'a str> {
    let rest = detail?.strip_prefix("{\"")?.strip_prefix(key)?.strip_prefix("\":\"")?;
    rest.split_once('"').map(|(words, _)| words)
}

fn known_reason(detail: Option<&str>) -> &'static str {
    let written = words(detail, "reason");
    REASONS.into_iter().find(|known| Some(*known) == written).unwrap_or(IN_THE_LEDGER)
}

/// Takes what the rows of a message of a book say of the precision and the depth in force; the number of its symbol.
fn settle<B: BookChannel>(
    symbols: &mut Symbols,
    subscriptions: &mut Subscriptions,
    out: &mut Output,
    symbol: &[u8],
    meta: &BookMeta,
) -> Option<usize> {
    let known = symbols.get(symbol);
    let add = || std::str::from_utf8(symbol).ok();
    let i = known.or_else(|| add().and_then(|name| symbols.get_or_add(name, out)))?;
    let symbol = &mut symbols.all[i];
    symbol.precision = Some((meta.price_precision, meta.qty_precision, Origin::Instrument));
    let slot = B::slot_mut(symbol);
    if slot.depth.is_none_or(|(depth, _)| depth != meta.depth) {
        slot.depth = Some((meta.depth, "ack"));
    }
    // A snapshot says that it is subscribed, also where the acknowledgement was lost.
    if meta.kind == Kind::Snapshot && symbol.subscription(B::CHANNEL).state == SubscriptionState::Off {
        subscriptions.set(symbols, i, B::CHANNEL, SubscriptionState::Acked(out.now), "");
    }
    Some(i)
}

/// Takes a message of the book channel the short way, if it can be.
pub(super) fn levels(
    options: &Options,
    symbols: &mut Symbols,
    subscriptions: &mut Subscriptions,
    out: &mut Output,
    (meta, data, levels): (&BookMeta, &BookData<'_>, &[ShortEntry]),
) -> bool {
    settle::<Book>(symbols, subscriptions, out, data.symbol, meta);
    match Books::update(options, symbols, out, meta.kind, data, levels) {
        Fast::NotTaken => return false,
        Fast::Taken(_, Effect::None) => {}
        Fast::Taken(i, effect) => subscriptions.follow(options, symbols, out, (i, Channel::Book, effect)),
    }
    true
}

/// Takes a message of level 3 the short way, if it can be.
pub(super) fn orders(
    options: &Options,
    (symbols, subscriptions, books): (&mut Symbols, &mut Subscriptions, &mut Books),
    out: &mut Output,
    (meta, data, orders): (&BookMeta, &BookData<'_>, &[ShortOrder]),
) -> bool {
    let Some(i) = settle::<Orders>(symbols, subscriptions, out, data.symbol, meta) else { return false };
    subscriptions.received(symbols, i, Channel::Level3, out.now);
    let Some(effects) = books.update_orders(symbols, out, i, data, (meta, orders)) else { return false };
    out.count(Channel::Level3.name());
    for effect in effects.into_iter().filter(|effect| *effect != Effect::None) {
        subscriptions.follow(options, symbols, out, (i, Channel::Level3, effect));
    }
    true
}

/// Takes what the rows of a message say besides the message.
pub(super) fn prepare(
    symbols: &mut Symbols,
    subscriptions: &mut Subscriptions,
    out: &mut Output,
    meta: &BookMeta,
    message: &Message<'_>,
) {
    match message {
        Message::Book(_, data) => {
            for (_, data) in data.taken() {
                settle::<Book>(symbols, subscriptions, out, data.symbol, meta);
            }
        }
        Message::Level3(_, data) => {
            for (_, data) in data.taken() {
                settle::<Orders>(symbols, subscriptions, out, data.symbol, meta);
            }
        }
        Message::Trade(_, data) => {
            for (_, trade) in &data.taken {
                if let Some(i) = symbols.get_or_add(trade.symbol, out) {
                    let precision = (meta.price_precision, meta.qty_precision, Origin::Instrument);
                    symbols.all[i].precision = Some(precision);
                }
            }
        }
        _ => {}
    }
}

/// A symbol is followed that was subscribed before the replay begins.
pub(super) fn subscribed(
    symbols: &mut Symbols,
    subscriptions: &mut Subscriptions,
    out: &mut Output,
    (symbol, channel): (&str, Channel),
) {
    if let Some(i) = symbols.get_or_add(symbol, out)
        && symbols.all[i].subscription(channel).state == SubscriptionState::Off
    {
        subscriptions.activate(symbols, i, channel, out.now);
    }
}

/// Takes the book of a checkpoint, if no book is in sync.
pub(super) fn restore<B: BookChannel>(
    symbols: &mut Symbols,
    subscriptions: &mut Subscriptions,
    out: &mut Output,
    (symbol, book, rule): (&str, B, B::Rule),
) {
    let Some(i) = symbols.get_or_add(symbol, out) else { return };
    let slot = B::slot_mut(&mut symbols.all[i]);
    if slot.synced.book().is_some() {
        return;
    }
    slot.synced.begin(book);
    slot.synced.rule = rule;
    symbols.recount(i, B::CHANNEL);
    subscriptions.activate(symbols, i, B::CHANNEL, out.now);
}

/// Takes a row of the ledger, after the message that it belongs to. Returns why the connection was lost, if it says so.
pub(super) fn ledger(
    symbols: &mut Symbols,
    subscriptions: &mut Subscriptions,
    out: &mut Output,
    row: &LedgerRow,
) -> Option<&'static str> {
    let reason = known_reason(row.detail.as_deref());
    if row.kind == LedgerKind::Disconnect {
        // Heartbeats are no rows; the ledger knows when the last frame came.
        out.last_received = row.ts_from.unwrap_or(out.last_received);
        return Some(reason);
    }
    // A row without a symbol is about all: of a gap before this session, `Session::after` knows.
    let i = row.symbol.as_deref().and_then(|name| symbols.get_or_add(name, out))?;
    let named = row.channel.as_deref().and_then(Channel::named);
    for channel in Channel::ALL.into_iter().filter(|channel| named.is_none_or(|named| named == *channel)) {
        follow(symbols, subscriptions, out.now, row, (i, channel, named.is_some(), reason));
    }
    None
}

/// What a row of the ledger means for one channel of its symbol; `named`: the row names the channel.
fn follow(
    symbols: &mut Symbols,
    subscriptions: &mut Subscriptions,
    now: i64,
    row: &LedgerRow,
    (i, channel, named, reason): (usize, Channel, bool, &'static str),
) {
    let off = symbols.all[i].subscription(channel).state == SubscriptionState::Off;
    let book = matches!(channel, Channel::Book | Channel::Level3);
    match row.kind {
        LedgerKind::Subscribed if named && book => {
            subscriptions.set(symbols, i, channel, SubscriptionState::Acked(now), "");
        }
        LedgerKind::Subscribed if named => subscriptions.activate(symbols, i, channel, now),
        LedgerKind::Refused if named => {
            let error = words(row.detail.as_deref(), "error").unwrap_or_default();
            let leaving = matches!(symbols.all[i].subscription(channel).state, SubscriptionState::Resyncing(_));
            let (state, reason) = match Refusal::of(error) {
                refusal if refusal.may_pass() => (SubscriptionState::Pending(now), "refused for now"),
                Refusal::AlreadySubscribed => {
                    (SubscriptionState::Resyncing(now), "already subscribed, without a snapshot")
                }
                // What was to be unsubscribed is not subscribed any more.
                _ if leaving => (SubscriptionState::Pending(now), "unsubscribing was refused"),
                _ => (SubscriptionState::Rejected, "refused by the exchange"),
            };
            if symbols.all[i].subscription(channel).state != SubscriptionState::Removed {
                subscriptions.set(symbols, i, channel, state, reason);
            }
        }
        LedgerKind::Unsubscribed if !off && reason == NO_LONGER_SELECTED => {
            symbols.end(i, channel, now, reason);
            symbols.all[i].subscription_mut(channel).forget();
            subscriptions.set(symbols, i, channel, SubscriptionState::Off, "");
        }
        LedgerKind::Unsubscribed if !off => {
            symbols.end(i, channel, now, "unsubscribed");
            let reason = symbols.all[i].subscription(channel).reason;
            subscriptions.set(symbols, i, channel, SubscriptionState::Pending(now), reason);
        }
        LedgerKind::Resync if !off => {
            subscriptions.set(symbols, i, channel, SubscriptionState::Resyncing(now), reason);
        }
        LedgerKind::Gap => symbols.end(i, channel, row.ts_from.unwrap_or(now), reason),
        LedgerKind::Mismatch if named => symbols.end(i, channel, now, "checksum mismatch"),
        LedgerKind::Crossed if named => symbols.end(i, channel, now, "crossed book"),
        LedgerKind::DecodeError | LedgerKind::Limit if named && book => {
            symbols.end(i, channel, now, books::NOT_HELD);
            if !off {
                subscriptions.set(symbols, i, channel, SubscriptionState::Resyncing(now), books::NOT_HELD);
            }
        }
        LedgerKind::Gone if !off => {
            symbols.end(i, channel, now, books::NOT_HELD);
            subscriptions.set(symbols, i, channel, SubscriptionState::Removed, books::NOT_HELD);
        }
        LedgerKind::Delisted if !off => {
            symbols.end(i, channel, now, "delisted");
            subscriptions.set(symbols, i, channel, SubscriptionState::Removed, "delisted");
        }
        _ => {}
    }
}
