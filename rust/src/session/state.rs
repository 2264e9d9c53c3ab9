//! The state that all parts of a session share, and what all of them need: finding a symbol, refusing a message.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::options::{Channel, Options};
use super::output::{LedgerRow, Output, detail};
use super::symbols::{BookSlot, Index, Subscription, SubscriptionState, Symbol};
use crate::error::Error;
use crate::limits;
use crate::table::ledger::LedgerKind;
use crate::table::rows::short_view;
use crate::table::schema::Table;
use crate::wire::json::write_text;

/// A request that awaits its answers.
#[derive(Debug)]
pub(super) struct AwaitedRequest {
    pub(super) channel: Option<Channel>,
    pub(super) symbols: Vec<usize>,
    /// Number of the token that it was sent with.
    pub(super) token: u32,
}

pub(super) struct State {
    pub(super) out: Output,
    pub(super) symbols: Vec<Symbol>,
    pub(super) index: Index,
    /// Requests without all their answers, by `req_id`.
    pub(super) awaited: HashMap<u64, AwaitedRequest>,
    pub(super) next_request: u64,
    pub(super) instrument: SubscriptionState,
    /// Pairs that an earlier session knew and this one has not seen yet.
    pub(super) missing: Vec<Box<str>>,
    pub(super) last_trades: HashMap<Box<str>, i64>,
    /// Receive time of the latest frame.
    pub(super) last_received: i64,
    pub(super) last_alive: i64,
    pub(super) alive_message: u64,
    pub(super) next_step: i64,
    /// Where the search for due checkpoints goes on.
    pub(super) checkpoint_cursor: usize,
    /// The hour of which, or of a later one, every book that lives has a checkpoint or its snapshot.
    pub(super) checkpointed: i64,
    pub(super) error_rows: u32,
    pub(super) errors_unsaid: u64,
    pub(super) buffer: Vec<u8>,
    pub(super) prices: Vec<(i128, i128)>,
    pub(super) ended: bool,
    pub(super) system: Option<String>,
    /// For level 3. It leaves in requests only.
    pub(super) token: Option<String>,
    /// Tokens given so far.
    pub(super) tokens: u32,
}

/// The kind of the ledger row about bytes that were refused.
pub(super) fn ledger_kind(error: &Error) -> LedgerKind {
    if matches!(error, Error::Limit { .. }) { LedgerKind::Limit } else { LedgerKind::DecodeError }
}

impl State {
    /// The symbol of a data message; `None`, counted, if it was never asked for.
    #[inline]
    pub(super) fn symbol(&mut self, options: &Options, name: &[u8], channel: Channel) -> Option<usize> {
        let wanted = |&i: &usize| {
            options.passive || self.symbols[i].subscriptions[channel as usize].state != SubscriptionState::Off
        };
        let found = self.index.get(name).filter(wanted);
        found.or_else(|| self.unknown(options, name))
    }

    #[cold]
    pub(super) fn unknown(&mut self, options: &Options, name: &[u8]) -> Option<usize> {
        let name = String::from_utf8_lossy(name);
        if options.passive {
            return self.add(&name);
        }
        self.refuse(&Error::Symbol { symbol: name.chars().take(limits::SYMBOL_LENGTH_MAX).collect() }, None, b"");
        None
    }

    pub(super) fn add(&mut self, name: &str) -> Option<usize> {
        if name.is_empty() {
            // In the ledger a row without a symbol is about all of them.
            self.refuse(&Error::Symbol { symbol: String::new() }, None, b"");
            return None;
        }
        let limit = [
            ("SYMBOL_LENGTH_MAX", limits::SYMBOL_LENGTH_MAX, name.len()),
            ("SYMBOLS_MAX", limits::SYMBOLS_MAX, self.symbols.len() + 1),
        ];
        if let Some((what, limit, found)) = limit.into_iter().find(|(_, limit, found)| found > limit) {
            self.refuse(&Error::Limit { what, limit, found }, None, b"");
            return None;
        }
        let i = self.symbols.len();
        self.symbols.push(Symbol {
            name: name.into(),
            view: short_view(name),
            pair: None,
            selected: false,
            subscriptions: [Subscription::OFF; Channel::ALL.len()],
            book: BookSlot::default(),
            orders: BookSlot::default(),
            precision: None,
            last_trade: self.last_trades.get(name).copied(),
            last_price: None,
            quoted: [None; 3],
            disagree_since: [None; 3],
        });
        self.index.insert(name.as_bytes(), i);
        Some(i)
    }

    /// Counts a refused frame or message; the ledger gets the first few of each second with an excerpt.
    pub(super) fn refuse(&mut self, error: &Error, book: Option<(usize, Channel)>, frame: &[u8]) {
        self.out.counts.errors += 1;
        let name = book.map_or("", |(i, _)| &self.symbols[i].name);
        // A row that ends the life of a book is always written: verify goes by it.
        if self.error_rows >= limits::ERROR_ROWS_MAX && book.is_none() {
            self.errors_unsaid += 1;
            return;
        }
        self.error_rows += 1;
        let mut detail = detail("error", &error.to_string());
        if !frame.is_empty() {
            detail.pop();
            detail.push_str(",\"excerpt\":");
            let excerpt = &frame[..frame.len().min(limits::EXCERPT_MAX)];
            write_text(&String::from_utf8_lossy(excerpt), &mut detail);
            let _ = write!(detail, ",\"bytes\":{}}}", frame.len());
        }
        let channel = book.map(|(_, channel)| channel);
        let row = LedgerRow {
            count: Some(1),
            detail: Some(detail),
            ..self.out.ledger_row(ledger_kind(error), channel, name)
        };
        self.out.add_ledger_row(row);
    }

    /// Says how far the recording has come, and how many rows each table got since the last time.
    pub(super) fn alive(&mut self, now: i64) {
        if self.errors_unsaid > 0 {
            let count = Some(self.errors_unsaid);
            let row = LedgerRow { count, ts_recv: now, ..self.out.ledger_row(LedgerKind::DecodeError, None, "") };
            self.out.add_ledger_row(row);
        }
        self.error_rows = 0;
        self.errors_unsaid = 0;
        let mut detail = String::from("{\"rows\":{");
        for (table, rows) in Table::ALL.into_iter().zip(std::mem::take(&mut self.out.rows_since_alive)) {
            if rows > 0 {
                let comma = if detail.ends_with('{') { "" } else { "," };
                // Writing to a String cannot fail.
                let _ = write!(detail, "{comma}\"{}\":{rows}", table.name());
            }
        }
        detail.push_str("}}");
        let next = self.out.message.map_or(0, |message| message + 1);
        let row = LedgerRow {
            ts_from: Some(self.last_alive),
            ts_to: Some(now),
            count: Some(next - self.alive_message),
            detail: Some(detail),
            ..LedgerRow::new(LedgerKind::Alive, now)
        };
        self.out.add_ledger_row(row);
        self.alive_message = next;
        self.last_alive = now;
    }
}
