//! Whether a subscription that was granted still delivers: channels of one symbol are compared with each other.

use super::SECOND;
use super::options::Channel;
use super::output::{LedgerRow, detail};
use super::state::State;
use super::symbols::{Subscription, SubscriptionState, Symbol, differ};
use crate::table::ledger::LedgerKind;

/// If two channels of a symbol disagree for this long, the one that sent nothing meanwhile is considered dead.
const STALE: i64 = 10 * SECOND;
/// A connection that brings nothing for this long is silent as a whole: a heartbeat comes every second.
const HEARTBEATS: i64 = 3 * SECOND;

impl State {
    /// Channels of a symbol bear witness of each other: the ticker and the book of the best prices, the ticker and the
    /// trades of the last price. Where two of them disagree for a while and one was silent all the while, that one is
    /// acknowledged and dead, and is asked for again.
    pub(super) fn stale(&mut self, i: usize, now: i64) {
        let symbol = &mut self.symbols[i];
        let best = symbol.best();
        // Who was granted and never spoke is taken to have said what the other said first.
        if symbol.quoted == [None; 3] && symbol.subscription(Channel::Ticker).state == SubscriptionState::Active {
            symbol.quoted = [best[0], best[1], None];
        }
        let [bid, ask, last] = symbol.quoted;
        if symbol.last_price.is_none() && symbol.subscription(Channel::Trade).state == SubscriptionState::Active {
            symbol.last_price = last;
        }
        let disagree = [differ([bid, ask], best), differ([last], [symbol.last_price])];
        for (pair, witness) in [Channel::Book, Channel::Trade].into_iter().enumerate() {
            if !disagree[pair] {
                self.symbols[i].disagree_since[pair] = None;
                continue;
            }
            let since = *self.symbols[i].disagree_since[pair].get_or_insert(now);
            if now - since <= STALE {
                continue;
            }
            self.symbols[i].disagree_since[pair] = None;
            let symbol = &mut self.symbols[i];
            let last_received = |channel: Channel| symbol.subscriptions[channel as usize].last_received;
            // The one that spoke last is right. A trade alone brings no ticker.
            let channel =
                if last_received(witness) < last_received(Channel::Ticker) { witness } else { Channel::Ticker };
            let Subscription { state, last_received, .. } = symbol.subscriptions[channel as usize];
            let follows = channel != Channel::Ticker || witness == Channel::Book;
            if state != SubscriptionState::Active || last_received >= since || !follows {
                continue;
            }
            symbol.quoted = [None; 3];
            self.resubscribe_silent(i, channel, last_received, now);
        }
    }

    /// The same of level 3, whose witness is another session's symbol.
    pub(super) fn stale_orders(&mut self, i: usize, other: &Symbol, now: i64) {
        let symbol = &mut self.symbols[i];
        let book = other.best();
        let (best, channel) = if book == [None; 2] {
            ([other.quoted[0], other.quoted[1]], Channel::Ticker)
        } else {
            (book, Channel::Book)
        };
        // While nothing at all arrives here, it is the connection that is silent.
        let silent = now - self.last_received > HEARTBEATS;
        if silent || !differ(best, symbol.best_orders()) {
            symbol.disagree_since[2] = None;
            return;
        }
        let since = *symbol.disagree_since[2].get_or_insert(now);
        let Subscription { state, last_received, .. } = *symbol.subscription(Channel::Level3);
        if now - since <= STALE {
            return;
        }
        symbol.disagree_since[2] = None;
        if state == SubscriptionState::Active
            && last_received < since
            && last_received < other.subscription(channel).last_received
        {
            self.resubscribe_silent(i, Channel::Level3, last_received, now);
        }
    }

    /// A subscription was granted and is silent since `last_received`, though it should not be: it ends, and is asked for again.
    pub(super) fn resubscribe_silent(&mut self, i: usize, channel: Channel, last_received: i64, now: i64) {
        self.symbols[i].end(channel);
        let reason = "silent, and another channel of the symbol says that it should not be";
        for kind in [LedgerKind::Stale, LedgerKind::Gap] {
            let row = LedgerRow {
                ts_from: Some(last_received),
                ts_to: Some(now),
                detail: Some(detail("reason", reason)),
                ..self.out.ledger_row(kind, Some(channel), &self.symbols[i].name)
            };
            self.out.add_ledger_row(row);
        }
        self.resubscribe(i, channel, reason);
    }
}
