//! Items of a message that could not be read: a ledger row names each of them, the others were taken.

use std::fmt::Write as _;

use super::options::{Channel, Options};
use super::output::{LedgerRow, detail};
use super::state::{State, ledger_kind};
use crate::book::level2::Book;
use crate::book::level3::Orders;
use crate::limits;
use crate::wire::json::write_text;
use crate::wire::message::{Message, Refused};

impl State {
    /// Counts the items of `message` that could not be read, and names them in the ledger.
    pub(super) fn refuse_items(&mut self, options: &Options, message: &Message<'_>) {
        let more = message.each_refused(|channel, refused| {
            self.refuse_item(channel, refused);
            match channel {
                "book" => self.doubt_item(options, Channel::Book, refused),
                "level3" => self.doubt_item(options, Channel::Level3, refused),
                _ => {}
            }
        });
        self.out.counts.errors += more;
        self.errors_unsaid += more;
    }

    fn refuse_item(&mut self, channel: &'static str, refused: &Refused) {
        self.out.counts.errors += 1;
        if self.error_rows >= limits::ERROR_ROWS_MAX {
            self.errors_unsaid += 1;
            return;
        }
        self.error_rows += 1;
        let Refused { array, index, symbol, field, error, excerpt } = refused;
        let mut facts = detail("error", &error.to_string());
        facts.pop();
        // Writing to a String cannot fail.
        let _ = write!(facts, ",\"field\":\"{field}\",\"array\":\"{array}\",\"index\":{index},\"excerpt\":");
        write_text(excerpt, &mut facts);
        // A row of a book channel that names a symbol ends its book. This book is only in doubt, which is a row of its own.
        let ends_book = matches!(channel, "book" | "level3");
        if let (true, Some(symbol)) = (ends_book, symbol) {
            facts.push_str(",\"symbol\":");
            write_text(symbol, &mut facts);
        }
        facts.push('}');
        let kind = ledger_kind(error);
        let symbol = symbol.as_deref().filter(|_| !ends_book).unwrap_or_default();
        let row = LedgerRow {
            channel: Some(channel.into()),
            count: Some(1),
            detail: Some(facts),
            ..self.out.ledger_row(kind, None, symbol)
        };
        self.out.add_ledger_row(row);
    }

    /// The item may have changed the book of its symbol, or any book if its symbol cannot be read.
    fn doubt_item(&mut self, options: &Options, channel: Channel, refused: &Refused) {
        let what = "a message that could not be read";
        let Some(symbol) = refused.symbol.as_deref() else { return self.doubt_all(options, what) };
        match (self.index.get(symbol), channel) {
            (Some(i), Channel::Book) => self.doubt::<Book>(options, i, what, 1),
            (Some(i), _) => self.doubt::<Orders>(options, i, what, 1),
            (None, _) => {}
        }
    }
}
