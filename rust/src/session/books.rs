//! Book messages of both kinds: level 2 and level 3.

use super::HOUR;
use super::options::{Channel, Options};
use super::output::{Checked, Counts, LedgerRow, Output, detail, pair_row, scaled, side_cell};
use super::state::State;
use super::symbols::{BookSlot, SubscriptionState, Symbol};
use crate::book::level2::{Book, smallest_depth};
use crate::book::level3::Orders;
use crate::book::modify_rule::ModifyRule;
use crate::book::synced::{BookMeta, ChecksummedBook, Outcome};
use crate::decimal::{Decimal, pow10};
use crate::error::Error;
use crate::instrument::{Origin, Pair};
use crate::limits;
use crate::table::book_rows::MessageRows;
use crate::table::ledger::LedgerKind;
use crate::table::rows::{Cell, Place};
use crate::table::schema::Table;
use crate::wire::message::{BookData, Entry, Kind, OrderEntry, ShortEntry, Side};

/// A kind of book that a session keeps: the book channel's, or level 3's.
pub(super) trait BookChannel: ChecksummedBook {
    const CHANNEL: Channel;

    fn slot_mut(symbol: &mut Symbol) -> &mut BookSlot<Self>;
    fn slot(symbol: &Symbol) -> &BookSlot<Self>;
    fn tally(counts: &mut Counts) -> &mut Checked;
    /// The depth that was asked for.
    fn depth_option(options: &Options) -> Option<u16>;
    fn price(entry: &Self::Entry<'_>) -> Decimal;
    fn qty(entry: &Self::Entry<'_>) -> Decimal;
    /// Levels of the longer side of a snapshot.
    fn longer(entries: &[Self::Entry<'_>]) -> usize;
    /// Keeps the rows of a message: `numbers` are the prices and quantities of its entries.
    fn rows(out: &mut Output, run: MessageRows, entries: &[Self::Entry<'_>], numbers: &[(i128, i128)]);
    /// Writes the whole book.
    fn checkpoint(slot: &BookSlot<Self>, out: &mut Output, name: &str, next: u64);
    /// Orders added again while they were still there.
    fn replaced(&self) -> u64;
    /// What the last message's checksum told of the exchange, and its word.
    fn detected_rule(&self) -> Option<(Self::Rule, &'static str)>;
}

/// The place of a row of a checkpoint before message `next`; `entry` counts them.
pub(super) fn checkpoint_place<'a>(out: &Output, name: &'a str, next: u64, entry: &mut u32) -> Place<'a> {
    *entry += 1;
    Place { message: Some(next), entry: *entry - 1, ts_recv: out.now, ts_event: None, symbol: Cell::Text(name) }
}

impl BookChannel for Book {
    const CHANNEL: Channel = Channel::Book;

    fn slot_mut(symbol: &mut Symbol) -> &mut BookSlot<Self> {
        &mut symbol.book
    }

    fn slot(symbol: &Symbol) -> &BookSlot<Self> {
        &symbol.book
    }

    fn tally(counts: &mut Counts) -> &mut Checked {
        &mut counts.book
    }

    fn depth_option(options: &Options) -> Option<u16> {
        options.depth
    }

    fn price(entry: &Entry) -> Decimal {
        entry.price
    }

    fn qty(entry: &Entry) -> Decimal {
        entry.qty
    }

    fn longer(entries: &[Entry]) -> usize {
        let bids = entries.iter().filter(|e| e.side == Side::Bid).count();
        bids.max(entries.len() - bids)
    }

    fn rows(out: &mut Output, run: MessageRows, entries: &[Entry], numbers: &[(i128, i128)]) {
        let rows = out.book.push(run, entries.len(), |levels| {
            for (entry, &(price, qty)) in entries.iter().zip(numbers) {
                levels.push(entry.side, price, qty);
            }
        });
        out.count_rows(Table::Book, rows);
    }

    fn checkpoint(slot: &BookSlot<Self>, out: &mut Output, name: &str, next: u64) {
        let Some(book) = slot.synced.book() else { return };
        let (price_precision, qty_precision) = book.precision();
        let meta = [Cell::U16(book.depth()), Cell::U8(price_precision), Cell::U8(qty_precision)];
        let mut entry = 0;
        let mut write = |[side, level, price, qty]: [Cell<'_>; 4]| {
            let place = checkpoint_place(out, name, next, &mut entry);
            let [depth, price_precision, qty_precision] = meta;
            let cells = [side, level, price, qty, depth, price_precision, qty_precision];
            out.uncounted_row(Table::Checkpoints, &place, cells);
        };
        for side in [Side::Bid, Side::Ask] {
            for (level, (price, qty)) in (0..).zip(book.levels(side)) {
                let (price, qty) = (scaled(price, price_precision), scaled(qty, qty_precision));
                write([side_cell(side), Cell::U16(level), price, qty]);
            }
        }
        if book.is_empty() {
            write([Cell::Null; 4]);
        }
    }

    fn replaced(&self) -> u64 {
        0
    }

    fn detected_rule(&self) -> Option<((), &'static str)> {
        None
    }
}

impl BookChannel for Orders {
    const CHANNEL: Channel = Channel::Level3;

    fn slot_mut(symbol: &mut Symbol) -> &mut BookSlot<Self> {
        &mut symbol.orders
    }

    fn slot(symbol: &Symbol) -> &BookSlot<Self> {
        &symbol.orders
    }

    fn tally(counts: &mut Counts) -> &mut Checked {
        &mut counts.level3
    }

    fn depth_option(options: &Options) -> Option<u16> {
        options.level3_depth
    }

    fn price(entry: &OrderEntry<'_>) -> Decimal {
        entry.price
    }

    fn qty(entry: &OrderEntry<'_>) -> Decimal {
        entry.qty
    }

    fn longer(entries: &[OrderEntry<'_>]) -> usize {
        let levels = |side| {
            let mut prices: Vec<_> =
                entries.iter().filter(|e| e.side == side).filter_map(|e| e.price.rescale(limits::SCALE)).collect();
            prices.sort_unstable();
            prices.dedup();
            prices.len()
        };
        levels(Side::Bid).max(levels(Side::Ask))
    }

    fn rows(out: &mut Output, run: MessageRows, entries: &[OrderEntry<'_>], numbers: &[(i128, i128)]) {
        let rows = out.orders.push(run, entries.len(), |orders| {
            for (entry, &(price, qty)) in entries.iter().zip(numbers) {
                orders.push(entry, run.meta.kind, price, qty);
            }
        });
        out.count_rows(Table::Orders, rows);
    }

    fn checkpoint(slot: &BookSlot<Self>, out: &mut Output, name: &str, next: u64) {
        let Some(book) = slot.synced.book() else { return };
        let (price_precision, qty_precision) = book.precision();
        let meta = [Cell::U16(book.depth()), Cell::U8(price_precision), Cell::U8(qty_precision)];
        let rule = Cell::Text(slot.synced.rule.word());
        let mut entry = 0;
        let mut write = |[side, level, queue, id, price, qty, timestamp]: [Cell<'_>; 7]| {
            let place = checkpoint_place(out, name, next, &mut entry);
            let [depth, price_precision, qty_precision] = meta;
            let cells = [side, level, queue, id, price, qty, timestamp, depth, price_precision, qty_precision, rule];
            out.uncounted_row(Table::OrdersCheckpoints, &place, cells);
        };
        for side in [Side::Bid, Side::Ask] {
            for (level, (price, ..)) in (0..).zip(book.levels(side)) {
                for (queue, (id, qty, timestamp)) in (0..).zip(book.queue(side, price)) {
                    write([
                        side_cell(side),
                        Cell::U16(level),
                        Cell::U32(queue),
                        Cell::Text(id.text(&mut [0; 19])),
                        scaled(price, price_precision),
                        scaled(qty, qty_precision),
                        Cell::Time(timestamp),
                    ]);
                }
            }
        }
        if book.is_empty() {
            write([Cell::Null; 7]);
        }
    }

    fn replaced(&self) -> u64 {
        self.replaced()
    }

    fn detected_rule(&self) -> Option<(ModifyRule, &'static str)> {
        self.detected_rule().map(|rule| (rule, rule.word()))
    }
}

impl State {
    /// Settles the precision in force for a message of books: the instrument channel's, else the option's, else what the
    /// digits show.
    pub(super) fn precision<B: BookChannel>(
        &mut self,
        options: &Options,
        i: usize,
        kind: Kind,
        entries: &[B::Entry<'_>],
    ) -> (u8, u8) {
        let symbol = &mut self.symbols[i];
        if let Some((price, qty, Origin::Instrument | Origin::Option)) = symbol.precision {
            return (price, qty);
        }
        let settled = if let Some(&(price, qty)) = options.precision.get(&*symbol.name) {
            (price, qty, Origin::Option)
        } else {
            // As written in a snapshot, which Kraken pads; an update may only add decimals that it needs.
            let digits = |value: Decimal| match kind {
                Kind::Snapshot => value.scale.min(limits::SCALE),
                Kind::Update => value.needed().min(limits::SCALE),
            };
            let (price, qty) = symbol.precision.map_or((0, 0), |(price, qty, _)| (price, qty));
            let price = entries.iter().map(|e| digits(B::price(e))).max().unwrap_or(0).max(price);
            let qty = entries.iter().map(|e| digits(B::qty(e))).max().unwrap_or(0).max(qty);
            (price, qty, Origin::Inferred)
        };
        if symbol.precision != Some(settled) {
            let changed = symbol.precision.is_some();
            symbol.precision = Some(settled);
            let pair = Pair { price_precision: settled.0, qty_precision: settled.1, ..Pair::default() };
            let name = symbol.name.clone();
            // Entries of an instrument message and these never share a message.
            pair_row(&mut self.out, &name, &pair, settled.2, 0);
            if changed {
                self.out.precision_row(&name, settled);
            }
        }
        (settled.0, settled.1)
    }

    /// Settles the depth in force: the ack's, else the option's, else the smallest that holds the snapshot.
    pub(super) fn depth<B: BookChannel>(
        &mut self,
        options: &Options,
        i: usize,
        kind: Kind,
        entries: &[B::Entry<'_>],
    ) -> u16 {
        let slot = B::slot_mut(&mut self.symbols[i]);
        let told = B::depth_option(options).map(|depth| (depth, "option"));
        let longer = || smallest_depth(B::longer(entries));
        let (depth, from) = match (slot.depth.or(told), kind) {
            (Some((_, "inferred")), Kind::Snapshot) | (None, _) => (longer(), "inferred"),
            (Some(known), _) => known,
        };
        slot.depth = Some((depth, from));
        depth
    }

    /// The same as [`Self::books`] of an update, if all is as it nearly always is: the book lives, precision and depth
    /// are known, numbers are written at that precision, no checkpoint is due. `None`, and nothing done, otherwise.
    #[inline]
    pub(super) fn update(
        &mut self,
        options: &Options,
        kind: Kind,
        data: &BookData<'_>,
        entries: &[ShortEntry],
    ) -> Option<()> {
        let i = self.index.get(data.symbol)?;
        let symbol = &mut self.symbols[i];
        let subscription = &mut symbol.subscriptions[Channel::Book as usize];
        let (Some((price_precision, qty_precision, Origin::Instrument | Origin::Option)), Some((depth, _))) =
            (symbol.precision, symbol.book.depth)
        else {
            return None;
        };
        if kind != Kind::Update
            || (subscription.state == SubscriptionState::Off && !options.passive)
            || symbol.book.hour < self.out.now.div_euclid(HOUR)
        {
            return None;
        }
        let tens = |precision| Some(pow10(limits::SCALE.checked_sub(precision)?));
        let (price_tens, qty_tens) = (tens(price_precision)?, tens(qty_precision)?);
        let meta = BookMeta { kind, checksum: data.checksum, depth, price_precision, qty_precision };
        let outcome = symbol.book.synced.update(&meta, entries)?;
        subscription.last_received = self.out.now;
        self.out.count(Channel::Book.name());
        self.out.counts.unknown_entries += std::mem::take(&mut symbol.book.synced.unknown_entries);
        let rows = self.out.book.push(self.out.message_rows(0, data.timestamp, i, meta), entries.len(), |levels| {
            for entry in entries {
                levels.push(entry.side, i128::from(entry.price) * price_tens, i128::from(entry.qty) * qty_tens);
            }
        });
        self.out.count_rows(Table::Book, rows);
        if outcome == Outcome::Ok {
            self.out.counts.book.ok += 1;
        } else {
            self.outcome::<Book>(options, i, outcome, data.checksum.is_some());
        }
        Some(())
    }

    /// The messages of one frame of the book channel or of level 3.
    pub(super) fn books<'d, B: BookChannel>(
        &mut self,
        options: &Options,
        kind: Kind,
        data: impl IntoIterator<Item = &'d BookData<'d>>,
        entries: &[B::Entry<'_>],
    ) {
        self.out.count(B::CHANNEL.name());
        let mut first = 0;
        for item in data {
            self.book::<B>(options, kind, item, &entries[item.entries.clone()], first);
            first += item.entries.len().max(1);
        }
    }

    pub(super) fn book<B: BookChannel>(
        &mut self,
        options: &Options,
        kind: Kind,
        data: &BookData<'_>,
        entries: &[B::Entry<'_>],
        first: usize,
    ) {
        let Some(i) = self.symbol(options, data.symbol, B::CHANNEL) else { return };
        let (price_precision, qty_precision) = self.precision::<B>(options, i, kind, entries);
        let depth = self.depth::<B>(options, i, kind, entries);
        let symbol = &mut self.symbols[i];
        symbol.subscriptions[B::CHANNEL as usize].last_received = self.out.now;
        let hour = self.out.now.div_euclid(HOUR);
        if kind == Kind::Update {
            let this = self.out.message.unwrap_or(0);
            checkpoint::<B>(symbol, &mut self.out, hour, this);
        }
        // First the numbers as the table holds them: a message that cannot be written must not be applied.
        self.prices.clear();
        for entry in entries {
            match (B::price(entry).rescale(limits::SCALE), B::qty(entry).rescale(limits::SCALE)) {
                (Some(price), Some(qty)) => self.prices.push((price, qty)),
                (None, _) => return self.unholdable::<B>(i, kind, B::price(entry)),
                (_, None) => return self.unholdable::<B>(i, kind, B::qty(entry)),
            }
        }
        let meta = BookMeta { kind, checksum: data.checksum, depth, price_precision, qty_precision };
        let slot = B::slot_mut(symbol);
        let replaced = slot.synced.book().map_or(0, B::replaced);
        let outcome = match slot.synced.apply(&meta, entries, &mut self.buffer) {
            Ok(outcome) => outcome,
            Err(Error::Decimal { text, scale, .. }) => {
                let error = Error::Decimal { symbol: symbol.name.to_string(), text, scale };
                return self.refuse_book::<B>(i, kind, &error);
            }
            Err(error) => return self.refuse_book::<B>(i, kind, &error),
        };
        let replaced = match kind {
            Kind::Update => slot.synced.book().map_or(0, B::replaced).saturating_sub(replaced),
            Kind::Snapshot => slot.synced.book().map_or(0, B::replaced),
        };
        let absent = std::mem::take(&mut slot.synced.unknown_entries);
        let out = &mut self.out;
        B::rows(out, out.message_rows(first, data.timestamp, i, meta), entries, &self.prices);
        out.counts.unknown_entries += absent;
        out.counts.replaced += replaced;
        if kind == Kind::Snapshot {
            self.snapshot::<B>(i, &meta, entries.len());
        }
        self.outcome::<B>(options, i, outcome, data.checksum.is_some());
        if B::CHANNEL == Channel::Level3 {
            self.detected_rule::<B>(i);
            if let Some((what, count)) =
                [("unknown order", absent), ("order added twice", replaced)].into_iter().find(|(_, count)| *count > 0)
            {
                self.doubt::<B>(options, i, what, count);
            }
        }
    }

    /// A snapshot was taken: the ledger says on what meta.
    pub(super) fn snapshot<B: BookChannel>(&mut self, i: usize, meta: &BookMeta, entries: usize) {
        let BookMeta { depth, price_precision, qty_precision, .. } = meta;
        let hour = self.out.now.div_euclid(HOUR);
        let symbol = &mut self.symbols[i];
        let slot = B::slot_mut(symbol);
        slot.refusals = 0;
        slot.hour = hour;
        // The clock may have been set back.
        self.checkpointed = self.checkpointed.min(hour);
        slot.explained = false;
        slot.doubted = false;
        let from = slot.depth.map_or("", |(_, from)| from);
        let origin = symbol.precision.map_or("", |(_, _, origin)| origin.word());
        let detail = format!(
            "{{\"depth\":{depth},\"depth_origin\":\"{from}\",\"price_precision\":{price_precision},\
             \"qty_precision\":{qty_precision},\"precision_origin\":\"{origin}\"}}"
        );
        let count = Some(entries as u64);
        let row = LedgerRow {
            count,
            detail: Some(detail),
            ..self.out.ledger_row(LedgerKind::Snapshot, Some(B::CHANNEL), &symbol.name)
        };
        self.out.add_ledger_row(row);
        let subscription = &mut symbol.subscriptions[B::CHANNEL as usize];
        if matches!(subscription.state, SubscriptionState::Requested(_) | SubscriptionState::Acked(_)) {
            subscription.activate(self.out.now);
        }
    }

    pub(super) fn outcome<B: BookChannel>(&mut self, options: &Options, i: usize, outcome: Outcome, proved: bool) {
        let symbol = &mut self.symbols[i];
        let out = &mut self.out;
        match outcome {
            Outcome::Ok => B::tally(&mut out.counts).ok += 1,
            Outcome::Unchecked => {
                out.counts.unchecked += 1;
                let slot = B::slot_mut(symbol);
                if !slot.explained && proved {
                    // Nothing before this said that the book is not alive: an update without a snapshot.
                    slot.explained = true;
                    let detail = Some(detail("reason", "update without a snapshot"));
                    let row = LedgerRow { detail, ..out.ledger_row(LedgerKind::Gap, Some(B::CHANNEL), &symbol.name) };
                    out.add_ledger_row(row);
                }
            }
            Outcome::Mismatch { expected, computed } => {
                B::tally(&mut out.counts).bad += 1;
                let detail = Some(format!("{{\"expected\":{expected},\"computed\":{computed}}}"));
                let row = LedgerRow { detail, ..out.ledger_row(LedgerKind::Mismatch, Some(B::CHANNEL), &symbol.name) };
                out.add_ledger_row(row);
                self.resync(options, i, B::CHANNEL, "checksum mismatch");
            }
            Outcome::Crossed => {
                B::tally(&mut out.counts).bad += 1;
                let row = out.ledger_row(LedgerKind::Crossed, Some(B::CHANNEL), &symbol.name);
                out.add_ledger_row(row);
                self.resync(options, i, B::CHANNEL, "crossed book");
            }
        }
    }

    /// Says what the checksum told of the exchange, the first time and when it is something else.
    pub(super) fn detected_rule<B: BookChannel>(&mut self, i: usize) {
        let symbol = &mut self.symbols[i];
        let slot = B::slot_mut(symbol);
        let Some((rule, word)) = slot.synced.book().and_then(B::detected_rule) else { return };
        if slot.detected_rule != Some(rule) {
            slot.detected_rule = Some(rule);
            let detail = Some(detail("verified", word));
            let row =
                LedgerRow { detail, ..self.out.ledger_row(LedgerKind::ModifyRule, Some(B::CHANNEL), &symbol.name) };
            self.out.add_ledger_row(row);
        }
    }

    /// A message may be lost: one named an order that is not held, or added one that is, or could not be read. What the
    /// checksum proves still holds, so the book lives on until it is left, to be asked for again.
    pub(super) fn doubt<B: BookChannel>(&mut self, options: &Options, i: usize, what: &'static str, count: u64) {
        if B::slot_mut(&mut self.symbols[i]).newly_doubted() {
            let row = LedgerRow {
                count: Some(count),
                detail: Some(detail("reason", what)),
                ..self.out.ledger_row(LedgerKind::Doubt, Some(B::CHANNEL), &self.symbols[i].name)
            };
            self.out.add_ledger_row(row);
            self.settle_doubt(options, i, B::CHANNEL, what);
        }
    }

    /// A frame could not be read, and may have changed a book: of the symbol that its beginning names, or else any. The
    /// next checksum of a symbol finds what is wrong among its best ten levels; below them nothing does.
    pub(super) fn unread(&mut self, options: &Options, frame: &[u8]) {
        let what = "a frame that could not be read";
        let of = book_named_in(frame);
        let i = of.and_then(|(_, symbol)| self.index.get(symbol));
        match (of, i) {
            (Some((None, _)), _) => {}
            (Some((Some(Channel::Book), _)), Some(i)) => self.doubt::<Book>(options, i, what, 1),
            (Some((Some(_), _)), Some(i)) => self.doubt::<Orders>(options, i, what, 1),
            _ => self.doubt_all(options, what),
        }
    }

    /// Any book may have changed. One row, without a symbol, speaks for all.
    pub(super) fn doubt_all(&mut self, options: &Options, what: &'static str) {
        let mut doubted = Vec::new();
        for (i, symbol) in self.symbols.iter_mut().enumerate() {
            doubted.extend(symbol.book.newly_doubted().then_some((i, Channel::Book)));
            doubted.extend(symbol.orders.newly_doubted().then_some((i, Channel::Level3)));
        }
        if doubted.is_empty() {
            return;
        }
        let count = Some(doubted.len() as u64);
        let row = LedgerRow {
            count,
            detail: Some(detail("reason", what)),
            ..self.out.ledger_row(LedgerKind::Doubt, None, "")
        };
        self.out.add_ledger_row(row);
        for (i, channel) in doubted {
            self.settle_doubt(options, i, channel, what);
        }
    }

    pub(super) fn unholdable<B: BookChannel>(&mut self, i: usize, kind: Kind, value: Decimal) {
        let symbol = self.symbols[i].name.to_string();
        let error = Error::Decimal { symbol, text: value.to_string(), scale: limits::SCALE };
        self.refuse_book::<B>(i, kind, &error);
    }

    /// A message of books that cannot be held: the book's life ends; after two such snapshots the symbol is given up.
    pub(super) fn refuse_book<B: BookChannel>(&mut self, i: usize, kind: Kind, error: &Error) {
        self.refuse(error, Some((i, B::CHANNEL)), b"");
        let now = self.out.now;
        let symbol = &mut self.symbols[i];
        let slot = B::slot_mut(symbol);
        slot.end();
        if kind == Kind::Snapshot {
            slot.refusals += 1;
        }
        let given_up = slot.refusals >= 2;
        let subscription = &mut symbol.subscriptions[B::CHANNEL as usize];
        if given_up {
            (subscription.state, subscription.reason) = (SubscriptionState::Removed, "its numbers cannot be held");
            let detail = Some(detail("reason", &error.to_string()));
            let row = LedgerRow { detail, ..self.out.ledger_row(LedgerKind::Gone, Some(B::CHANNEL), &symbol.name) };
            self.out.add_ledger_row(row);
        } else if subscription.state != SubscriptionState::Off {
            (subscription.state, subscription.reason) =
                (SubscriptionState::Resyncing(subscription.pause(now)), "its numbers cannot be held");
        }
    }
}

/// What a frame that cannot be read is about, by its beginning as Kraken lays it out: no book, or the channel and the
/// symbol of one. `None`: nobody can tell.
pub(super) fn book_named_in(frame: &[u8]) -> Option<(Option<Channel>, &str)> {
    let beginning = &frame[..frame.len().min(limits::EXCERPT_MAX)];
    let beginning = match std::str::from_utf8(beginning) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&beginning[..error.valid_up_to()]).ok()?,
    };
    if beginning.starts_with("{\"method\":\"") || beginning.starts_with("{\"error\":\"") {
        return Some((None, ""));
    }
    let (channel, rest) = beginning.strip_prefix("{\"channel\":\"")?.split_once('"')?;
    if matches!(channel, "trade" | "ticker" | "ohlc" | "instrument" | "status" | "heartbeat") {
        return Some((None, ""));
    }
    let channel = Channel::named(channel)?;
    let (_, rest) = rest.strip_prefix(",\"type\":\"")?.split_once("\",\"data\":[{\"symbol\":\"")?;
    let (symbol, _) = rest.split_once('"')?;
    Some((Some(channel), symbol))
}

/// Writes the whole book of a symbol as it stands before message `next`, if it lives and its last one is of an earlier
/// hour; says whether it did.
pub(super) fn checkpoint<B: BookChannel>(symbol: &mut Symbol, out: &mut Output, hour: i64, next: u64) -> bool {
    let slot = B::slot_mut(symbol);
    if slot.hour >= hour || slot.synced.book().is_none() {
        return false;
    }
    slot.hour = hour;
    let slot = B::slot(symbol);
    B::checkpoint(slot, out, &symbol.name, next);
    true
}
