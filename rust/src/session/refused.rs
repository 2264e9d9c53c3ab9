//! Items of a message that could not be read: a ledger row names each of them, the others were taken.

use super::books::{doubt, doubt_all};
use super::options::Channel;
use super::output::Output;
use super::symbols::{Effect, Symbols};
use crate::book::level2::Book;
use crate::book::level3::Orders;
use crate::wire::message::{Message, Refused};

pub(super) const UNREADABLE: &str = "a message that could not be read";

/// Counts the items of `message` that could not be read, and names them in the ledger. Returns what follows for books.
pub(super) fn items(symbols: &mut Symbols, out: &mut Output, message: &Message<'_>) -> Vec<(usize, Channel, Effect)> {
    let mut effects = Vec::new();
    let more = message.each_refused(|channel, refused| {
        out.refuse_item(channel, refused);
        match channel {
            "book" => effects.extend(doubted(symbols, out, Channel::Book, refused)),
            "level3" => effects.extend(doubted(symbols, out, Channel::Level3, refused)),
            _ => {}
        }
    });
    out.refuse_unnamed(more);
    effects
}

/// The item may have changed the book of its symbol, or any book if its symbol cannot be read.
fn doubted(
    symbols: &mut Symbols,
    out: &mut Output,
    channel: Channel,
    refused: &Refused,
) -> Vec<(usize, Channel, Effect)> {
    let Some(symbol) = refused.symbol.as_deref() else { return doubt_all(symbols, out, UNREADABLE) };
    let Some(i) = symbols.get(symbol) else { return Vec::new() };
    let symbol = &mut symbols.all[i];
    let effect = match channel {
        Channel::Book => doubt::<Book>(symbol, out, UNREADABLE, 1),
        _ => doubt::<Orders>(symbol, out, UNREADABLE, 1),
    };
    vec![(i, channel, effect)]
}
