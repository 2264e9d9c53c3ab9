//! Book messages of both kinds: level 2 and level 3.

use super::events::{BookMessage, BookOutcome, Event, EventKind, LevelEntry, OrderChange};
use super::options::{Channel, Options};
use super::output::{Checked, Counts, Output, detail, pair_row, scaled, side_cell};
use super::symbols::{BookSlot, Effect, SubscriptionState, Symbol, Symbols};
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
use crate::wire::message::{BookData, Entry, Kind, OrderEntry, ShortEntry, ShortOrder, Side};
use crate::wire::time::HOUR;

/// A kind of book that a session keeps: the book channel's, or level 3's.
pub(super) trait BookChannel: ChecksummedBook {
    const CHANNEL: Channel;

    fn slot_mut(symbol: &mut Symbol) -> &mut BookSlot<Self>;
    fn slot(symbol: &Symbol) -> &BookSlot<Self>;
    fn tally(counts: &mut Counts) -> &mut Checked;
    /// The depth that was requested.
    fn depth_option(options: &Options) -> Option<u16>;
    fn price(entry: &Self::Entry<'_>) -> Decimal;
    fn qty(entry: &Self::Entry<'_>) -> Decimal;
    /// Levels of the longer side of a snapshot.
    fn longer(entries: &[Self::Entry<'_>]) -> usize;
    /// Makes the rows of a message; `numbers` are the prices and quantities of its entries at scale 10.
    fn rows(out: &mut Output, run: MessageRows, entries: &[Self::Entry<'_>], numbers: &[(i128, i128)]);
    /// Writes the whole book.
    fn checkpoint(slot: &BookSlot<Self>, out: &mut Output, name: &str, next: u64);
    /// Orders added again while they were still there.
    fn replaced(&self) -> u64;
    /// The rule of the exchange that the checksum of the last message revealed, and its word.
    fn detected_rule(&self) -> Option<(Self::Rule, &'static str)>;
    /// The kind of its events.
    const EVENT: EventKind;
    /// The event of a message.
    fn event(message: BookMessage, entries: &[Self::Entry<'_>], numbers: &[(i128, i128)]) -> Event;
}

/// The place of a row of a checkpoint before message `next`; `entry` counts them.
pub(super) fn checkpoint_place<'a>(out: &Output, name: &'a str, next: u64, entry: &mut u32) -> Place<'a> {
    *entry += 1;
    Place { message: Some(next), entry: *entry - 1, ts_recv: out.now, ts_event: None, symbol: Cell::Text(name) }
}

impl BookChannel for Book {
    const CHANNEL: Channel = Channel::Book;
    const EVENT: EventKind = EventKind::Book;

    fn event(message: BookMessage, entries: &[Entry], numbers: &[(i128, i128)]) -> Event {
        let levels = entries.iter().zip(numbers);
        let levels = levels.map(|(entry, &(price, qty))| LevelEntry { side: entry.side, price, qty });
        Event::Book(message, levels.collect())
    }

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
    const EVENT: EventKind = EventKind::Level3;

    fn event(message: BookMessage, entries: &[OrderEntry<'_>], numbers: &[(i128, i128)]) -> Event {
        let update = message.kind == Kind::Update;
        let orders = entries.iter().zip(numbers).map(|(entry, &(price, qty))| OrderChange {
            side: entry.side,
            event: update.then_some(entry.event),
            id: entry.id.into(),
            price,
            qty,
            timestamp: entry.timestamp,
        });
        Event::Level3(message, orders.collect())
    }

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

/// Why a book is subscribed again that a message may not have reached.
pub(super) const UNREADABLE: &str = "a frame that could not be read";
/// Why a book is out of sync that the numbers of a message do not fit.
pub(super) const NOT_HELD: &str = "its numbers cannot be held";

/// What followed from one message of the hot path.
pub(super) enum Fast {
    /// It was not taken: it goes the general way.
    NotTaken,
    /// It was taken.
    Taken(usize, Effect),
}

/// A message of books as the general way takes it.
pub(super) struct Item<'m, 'e, 'a, B: BookChannel> {
    pub(super) kind: Kind,
    pub(super) data: &'m BookData<'m>,
    pub(super) entries: &'e [B::Entry<'a>],
    /// Place of its first row within the frame.
    pub(super) first: usize,
}

/// What all books of a session share.
pub(super) struct Books {
    /// Scratch memory.
    buffer: Vec<u8>,
    numbers: Vec<(i128, i128)>,
    /// Where the search for due checkpoints goes on.
    checkpoint_cursor: usize,
    /// Every book in sync has a checkpoint or a snapshot of this hour, or of a later one.
    checkpointed: i64,
}

impl Default for Books {
    fn default() -> Self {
        let (buffer, numbers) = (Vec::with_capacity(1024), Vec::new());
        Self { buffer, numbers, checkpoint_cursor: 0, checkpointed: i64::MIN }
    }
}

impl Books {
    /// The same as [`Self::message`] of an update, if all is as it nearly always is: the book is in sync, precision and
    /// depth are known, numbers are written at that precision, no checkpoint is due. Nothing is done otherwise.
    #[inline]
    pub(super) fn update(
        options: &Options,
        symbols: &mut Symbols,
        out: &mut Output,
        kind: Kind,
        data: &BookData<'_>,
        entries: &[ShortEntry],
    ) -> Fast {
        let Some(i) = symbols.get(data.symbol) else { return Fast::NotTaken };
        let symbol = &mut symbols.all[i];
        let subscription = &mut symbol.subscriptions[Channel::Book as usize];
        let (Some((price_precision, qty_precision, Origin::Instrument | Origin::Option)), Some((depth, _))) =
            (symbol.precision, symbol.book.depth)
        else {
            return Fast::NotTaken;
        };
        if kind != Kind::Update
            || (subscription.state != SubscriptionState::Active && !options.passive)
            || symbol.book.hour < out.now.div_euclid(HOUR)
        {
            return Fast::NotTaken;
        }
        let tens = |precision| Some(pow10(limits::SCALE.checked_sub(precision)?));
        let (Some(price_tens), Some(qty_tens)) = (tens(price_precision), tens(qty_precision)) else {
            return Fast::NotTaken;
        };
        let meta = BookMeta { kind, checksum: data.checksum, depth, price_precision, qty_precision };
        let Some(outcome) = symbol.book.synced.update(&meta, entries) else { return Fast::NotTaken };
        subscription.last_received = out.now;
        out.count(Channel::Book.name());
        out.counts.unknown_entries += std::mem::take(&mut symbol.book.synced.unknown_entries);
        let numbers = |entry: &ShortEntry| (i128::from(entry.price) * price_tens, i128::from(entry.qty) * qty_tens);
        if out.rows_wanted {
            let rows = out.book.push(out.message_rows(0, data.timestamp, i, meta), entries.len(), |levels| {
                for entry in entries {
                    let (price, qty) = numbers(entry);
                    levels.push(entry.side, price, qty);
                }
            });
            out.count_rows(Table::Book, rows);
        }
        if out.wants(EventKind::Book) {
            let message = book_message(out, symbol, data.timestamp, &meta, outcome.into());
            let levels = entries.iter().map(|entry| {
                let (price, qty) = numbers(entry);
                LevelEntry { side: entry.side, price, qty }
            });
            out.events.push(Event::Book(message, levels.collect()));
        }
        if !std::mem::replace(&mut symbol.touched, true) {
            symbols.touched.push(i);
        }
        if outcome == Outcome::Ok {
            out.counts.book.ok += 1;
            return Fast::Taken(i, Effect::None);
        }
        Fast::Taken(i, settle::<Book>(symbols, out, i, outcome, data.checksum.is_some()))
    }

    /// The same as [`Self::message`] of a recorded update of level 3, if all is as it nearly always is: the book is in sync,
    /// its orders are at the pair's precision, no rows are made. `None`: nothing is done.
    pub(super) fn update_orders(
        &mut self,
        symbols: &mut Symbols,
        out: &mut Output,
        i: usize,
        data: &BookData<'_>,
        (meta, orders): (&BookMeta, &[ShortOrder]),
    ) -> Option<[Effect; 2]> {
        let symbol = &mut symbols.all[i];
        let precision = symbol.precision.map(|(price, qty, _)| (price, qty));
        if meta.kind != Kind::Update
            || precision != Some((meta.price_precision, meta.qty_precision))
            || symbol.orders.depth.is_none_or(|(depth, _)| depth != meta.depth)
            || symbol.orders.hour < out.now.div_euclid(HOUR)
            || out.rows_wanted
        {
            return None;
        }
        let tens = |precision| Some(pow10(limits::SCALE.checked_sub(precision)?));
        let (price_tens, qty_tens) = (tens(meta.price_precision)?, tens(meta.qty_precision)?);
        let synced = &mut symbol.orders.synced;
        let replaced = synced.book().map_or(0, Orders::replaced);
        let outcome = match synced.update(meta, orders, &mut self.buffer)? {
            Ok(outcome) => outcome,
            Err(error) => {
                let error = match error {
                    Error::Decimal { text, scale, .. } => {
                        Error::Decimal { symbol: symbol.name.to_string(), text, scale }
                    }
                    other => other,
                };
                return Some([refuse::<Orders>(symbols, out, i, data, meta, &error), Effect::None]);
            }
        };
        let replaced = synced.book().map_or(0, Orders::replaced).saturating_sub(replaced);
        let unknown = std::mem::take(&mut synced.unknown_entries);
        if out.wants(EventKind::Level3) {
            let message = book_message(out, symbol, data.timestamp, meta, outcome.into());
            let changes = orders.iter().map(|order| OrderChange {
                side: order.side,
                event: Some(order.event),
                id: order.id.into(),
                price: i128::from(order.price) * price_tens,
                qty: i128::from(order.qty) * qty_tens,
                timestamp: order.timestamp,
            });
            out.events.push(Event::Level3(message, changes.collect()));
        }
        Some(settled::<Orders>(symbols, out, i, outcome, (data.checksum.is_some(), unknown, replaced)))
    }

    /// One message: it is applied, and its rows are made. Returns what follows.
    pub(super) fn message<B: BookChannel>(
        &mut self,
        options: &Options,
        symbols: &mut Symbols,
        out: &mut Output,
        i: usize,
        item: &Item<'_, '_, '_, B>,
    ) -> [Effect; 2] {
        let &Item { kind, data, entries, first } = item;
        let symbol = &mut symbols.all[i];
        let (price_precision, qty_precision) = precision::<B>(options, symbol, out, kind, entries);
        let depth = depth::<B>(options, symbol, kind, entries);
        let meta = BookMeta { kind, checksum: data.checksum, depth, price_precision, qty_precision };
        let hour = out.now.div_euclid(HOUR);
        if kind == Kind::Update {
            let this = out.message.unwrap_or(0);
            checkpoint::<B>(symbol, out, hour, this);
        }
        // First the numbers as the table holds them: a message that cannot be written must not be applied.
        self.numbers.clear();
        for entry in entries {
            let value = match (B::price(entry).rescale(limits::SCALE), B::qty(entry).rescale(limits::SCALE)) {
                (Some(price), Some(qty)) => {
                    self.numbers.push((price, qty));
                    continue;
                }
                (None, _) => B::price(entry),
                (_, None) => B::qty(entry),
            };
            let (symbol, text) = (symbol.name.to_string(), value.to_string());
            let error = Error::Decimal { symbol, text, scale: limits::SCALE };
            return [refuse::<B>(symbols, out, i, data, &meta, &error), Effect::None];
        }
        let slot = B::slot_mut(symbol);
        let replaced = slot.synced.book().map_or(0, B::replaced);
        let outcome = match slot.synced.apply(&meta, entries, &mut self.buffer) {
            Ok(outcome) => outcome,
            Err(error) => {
                let error = match error {
                    Error::Decimal { text, scale, .. } => {
                        Error::Decimal { symbol: symbol.name.to_string(), text, scale }
                    }
                    other => other,
                };
                return [refuse::<B>(symbols, out, i, data, &meta, &error), Effect::None];
            }
        };
        let replaced = match kind {
            Kind::Update => slot.synced.book().map_or(0, B::replaced).saturating_sub(replaced),
            Kind::Snapshot => slot.synced.book().map_or(0, B::replaced),
        };
        let unknown = std::mem::take(&mut slot.synced.unknown_entries);
        if out.rows_wanted {
            B::rows(out, out.message_rows(first, data.timestamp, i, meta), entries, &self.numbers);
        }
        if out.wants(B::EVENT) {
            let message = book_message(out, symbol, data.timestamp, &meta, outcome.into());
            out.events.push(B::event(message, entries, &self.numbers));
        }
        if kind == Kind::Snapshot {
            self.snapshot::<B>(symbols, out, i, &meta, entries.len());
        }
        settled::<B>(symbols, out, i, outcome, (data.checksum.is_some(), unknown, replaced))
    }

    /// A snapshot was taken: the ledger says with which depth and precision.
    fn snapshot<B: BookChannel>(
        &mut self,
        symbols: &mut Symbols,
        out: &mut Output,
        i: usize,
        meta: &BookMeta,
        entries: usize,
    ) {
        let BookMeta { depth, price_precision, qty_precision, .. } = meta;
        let hour = out.now.div_euclid(HOUR);
        // The clock may have been set back.
        self.checkpointed = self.checkpointed.min(hour);
        let symbol = &mut symbols.all[i];
        let slot = B::slot_mut(symbol);
        slot.refusals = 0;
        slot.hour = hour;
        slot.explained = false;
        slot.doubted = false;
        let from = slot.depth.map_or("", |(_, from)| from);
        let origin = symbol.precision.map_or("", |(_, _, origin)| origin.word());
        let facts = format!(
            "{{\"depth\":{depth},\"depth_origin\":\"{from}\",\"price_precision\":{price_precision},\
             \"qty_precision\":{qty_precision},\"precision_origin\":\"{origin}\"}}"
        );
        out.close_gap(Some(B::CHANNEL));
        let row = out.ledger_row(LedgerKind::Snapshot, Some(B::CHANNEL), &symbol.name);
        out.add_ledger_row(row.count(entries as u64).detail(facts));
        if symbol.in_sync(B::CHANNEL) {
            symbols.regain(i, B::CHANNEL, out);
        }
    }

    /// Books whose last checkpoint is of an earlier hour, a few at a time. `next` is the number of the frame to come.
    pub(super) fn checkpoints(&mut self, symbols: &mut Symbols, out: &mut Output, now: i64, next: u64) {
        let hour = now.div_euclid(HOUR);
        if hour <= self.checkpointed {
            return;
        }
        let mut written = 0;
        for _ in 0..symbols.all.len() {
            if written >= limits::CHECKPOINTS_MAX {
                return;
            }
            self.checkpoint_cursor = (self.checkpoint_cursor + 1) % symbols.all.len();
            let symbol = &mut symbols.all[self.checkpoint_cursor];
            out.now = out.now.max(now);
            written += usize::from(checkpoint::<Book>(symbol, out, hour, next));
            written += usize::from(checkpoint::<Orders>(symbol, out, hour, next));
        }
        self.checkpointed = hour;
    }
}

/// What the events of both kinds of books have.
fn book_message(
    out: &Output,
    symbol: &Symbol,
    ts_event: Option<i64>,
    meta: &BookMeta,
    outcome: BookOutcome,
) -> BookMessage {
    let &BookMeta { kind, checksum, price_precision, qty_precision, .. } = meta;
    let received = out.received(&symbol.name, ts_event);
    BookMessage { received, kind, checksum, outcome, price_precision, qty_precision }
}

/// Settles the precision in force for a message of books: the instrument channel's, else the option's, else what the
/// digits show.
fn precision<B: BookChannel>(
    options: &Options,
    symbol: &mut Symbol,
    out: &mut Output,
    kind: Kind,
    entries: &[B::Entry<'_>],
) -> (u8, u8) {
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
        // Entries of an instrument message and these never share a message.
        pair_row(out, &symbol.name, &pair, settled.2, 0);
        if changed {
            out.precision_row(&symbol.name, settled);
        }
    }
    (settled.0, settled.1)
}

/// Settles the depth in force: the ack's, else the option's, else the smallest that holds the snapshot.
fn depth<B: BookChannel>(options: &Options, symbol: &mut Symbol, kind: Kind, entries: &[B::Entry<'_>]) -> u16 {
    let slot = B::slot_mut(symbol);
    let given = B::depth_option(options).map(|depth| (depth, "option"));
    let longer = || smallest_depth(B::longer(entries));
    let (depth, from) = match (slot.depth.or(given), kind) {
        (Some((_, "inferred")), Kind::Snapshot) | (None, _) => (longer(), "inferred"),
        (Some(known), _) => known,
    };
    slot.depth = Some((depth, from));
    depth
}

/// Counts what a message did to a book; says what follows if the book is out of sync, or if a message may be lost.
fn settled<B: BookChannel>(
    symbols: &mut Symbols,
    out: &mut Output,
    i: usize,
    outcome: Outcome,
    (with_checksum, unknown, replaced): (bool, u64, u64),
) -> [Effect; 2] {
    out.counts.unknown_entries += unknown;
    out.counts.replaced += replaced;
    let effect = settle::<B>(symbols, out, i, outcome, with_checksum);
    let mut doubtful = Effect::None;
    if B::CHANNEL == Channel::Level3 {
        tell_rule::<B>(&mut symbols.all[i], out);
        if let Some((what, count)) =
            [("unknown order", unknown), ("order added twice", replaced)].into_iter().find(|(_, count)| *count > 0)
        {
            doubtful = doubt::<B>(&mut symbols.all[i], out, what, count);
        }
    }
    [effect, doubtful]
}

/// Counts how a book came out of a message, and says what follows if it is out of sync.
fn settle<B: BookChannel>(
    symbols: &mut Symbols,
    out: &mut Output,
    i: usize,
    outcome: Outcome,
    with_checksum: bool,
) -> Effect {
    let name = &symbols.all[i].name;
    let reason = match outcome {
        Outcome::Ok => {
            B::tally(&mut out.counts).ok += 1;
            symbols.recount(i, B::CHANNEL);
            return Effect::None;
        }
        Outcome::Unchecked => {
            out.counts.unchecked += 1;
            if !symbols.recount(i, B::CHANNEL) && with_checksum {
                let symbol = &mut symbols.all[i];
                if !std::mem::replace(&mut B::slot_mut(symbol).explained, true) {
                    // Nothing before this said that the book is out of sync: an update without a snapshot.
                    let row = out.ledger_row(LedgerKind::Gap, Some(B::CHANNEL), &symbol.name);
                    out.add_ledger_row(row.reason("update without a snapshot"));
                }
            }
            return Effect::None;
        }
        Outcome::Mismatch { expected, computed } => {
            B::slot_mut(&mut symbols.all[i]).mismatch = Some((expected, computed));
            let name = &symbols.all[i].name;
            let row = out.ledger_row(LedgerKind::Mismatch, Some(B::CHANNEL), name);
            out.add_ledger_row(row.detail(format!("{{\"expected\":{expected},\"computed\":{computed}}}")));
            "checksum mismatch"
        }
        Outcome::Crossed => {
            out.add_ledger_row(out.ledger_row(LedgerKind::Crossed, Some(B::CHANNEL), name));
            "crossed book"
        }
    };
    B::tally(&mut out.counts).bad += 1;
    B::slot_mut(&mut symbols.all[i]).explained = true;
    symbols.lose(i, B::CHANNEL, out.now, reason);
    Effect::Resync(reason)
}

/// Says what rule of the exchange the checksum revealed, the first time and when it is another.
fn tell_rule<B: BookChannel>(symbol: &mut Symbol, out: &mut Output) {
    let slot = B::slot_mut(symbol);
    let Some((rule, word)) = slot.synced.book().and_then(B::detected_rule) else { return };
    if slot.detected_rule != Some(rule) {
        slot.detected_rule = Some(rule);
        let row = out.ledger_row(LedgerKind::ModifyRule, Some(B::CHANNEL), &symbol.name);
        out.add_ledger_row(row.detail(detail("verified", word)));
    }
}

/// A message may be lost: one named an order that is not held, or added one that is, or could not be read. What the
/// checksum covers still holds, so the book stays in sync until it is unsubscribed, to be subscribed again.
pub(super) fn doubt<B: BookChannel>(symbol: &mut Symbol, out: &mut Output, what: &'static str, count: u64) -> Effect {
    if !B::slot_mut(symbol).newly_doubted() {
        return Effect::None;
    }
    let row = out.ledger_row(LedgerKind::Doubt, Some(B::CHANNEL), &symbol.name);
    out.add_ledger_row(row.count(count).reason(what));
    Effect::Doubt(what)
}

/// A frame could not be read, and may have changed a book: of the symbol that its beginning names, or else any. The
/// next checksum of a symbol finds what is wrong among its best ten levels; below them nothing does.
pub(super) fn unreadable(
    symbols: &mut Symbols,
    out: &mut Output,
    error: &Error,
    frame: &[u8],
) -> Vec<(usize, Channel, Effect)> {
    if !error.may_concern_books() {
        return Vec::new();
    }
    let named = book_named_in(frame);
    let i = named.and_then(|(_, symbol)| symbols.get(symbol));
    match (named, i) {
        (Some((None, _)), _) => Vec::new(),
        (Some((Some(Channel::Book), _)), Some(i)) => {
            vec![(i, Channel::Book, doubt::<Book>(&mut symbols.all[i], out, UNREADABLE, 1))]
        }
        (Some((Some(channel), _)), Some(i)) => {
            vec![(i, channel, doubt::<Orders>(&mut symbols.all[i], out, UNREADABLE, 1))]
        }
        _ => doubt_all(symbols, out, UNREADABLE),
    }
}

/// Any book may have changed. One row, without a symbol, is about all.
pub(super) fn doubt_all(symbols: &mut Symbols, out: &mut Output, what: &'static str) -> Vec<(usize, Channel, Effect)> {
    let mut doubted = Vec::new();
    for (i, symbol) in symbols.all.iter_mut().enumerate() {
        let books = [(symbol.book.newly_doubted(), Channel::Book), (symbol.orders.newly_doubted(), Channel::Level3)];
        let books = books.into_iter().filter(|(newly, _)| *newly);
        doubted.extend(books.map(|(_, channel)| (i, channel, Effect::Doubt(what))));
    }
    if !doubted.is_empty() {
        let row = out.ledger_row(LedgerKind::Doubt, None, "").count(doubted.len() as u64);
        out.add_ledger_row(row.reason(what));
    }
    doubted
}

/// A message of books that cannot be held: the book is out of sync; after two such snapshots the symbol is given up.
fn refuse<B: BookChannel>(
    symbols: &mut Symbols,
    out: &mut Output,
    i: usize,
    data: &BookData<'_>,
    meta: &BookMeta,
    error: &Error,
) -> Effect {
    let symbol = &mut symbols.all[i];
    out.refuse(error, Some((&symbol.name, B::CHANNEL)), b"");
    if out.wants(B::EVENT) {
        let message = book_message(out, symbol, data.timestamp, meta, BookOutcome::Refused);
        out.events.push(B::event(message, &[], &[]));
    }
    let slot = B::slot_mut(symbol);
    slot.synced.end();
    slot.explained = true;
    if meta.kind == Kind::Snapshot {
        slot.refusals += 1;
    }
    let given_up = slot.refusals >= 2;
    symbols.lose(i, B::CHANNEL, out.now, NOT_HELD);
    if !given_up {
        return Effect::Refuse(NOT_HELD);
    }
    let row = out.ledger_row(LedgerKind::Gone, Some(B::CHANNEL), &symbols.all[i].name);
    out.add_ledger_row(row.reason(&error.to_string()));
    Effect::GiveUp(NOT_HELD)
}

/// What a frame that cannot be read is about, by its beginning as Kraken lays it out: no book, or the channel and the
/// symbol of one. `None`: it cannot be known.
fn book_named_in(frame: &[u8]) -> Option<(Option<Channel>, &str)> {
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

/// Writes the whole book of a symbol as it is before message `next`, if it is in sync and its last one is of an earlier
/// hour; says whether it did.
fn checkpoint<B: BookChannel>(symbol: &mut Symbol, out: &mut Output, hour: i64, next: u64) -> bool {
    let slot = B::slot_mut(symbol);
    if slot.hour >= hour || slot.synced.book().is_none() {
        return false;
    }
    slot.hour = hour;
    if out.rows_wanted {
        B::checkpoint(B::slot(symbol), out, &symbol.name, next);
    }
    true
}
