//! What a session gives out: rows, ledger rows, events and counters. Rows, ledger rows and events are made only if
//! they are wanted, so that nothing piles up that nobody takes.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;

use super::events::{Event, EventKind, EventSet, GapEvent, Received};
use super::options::Channel;
use crate::book::synced::BookMeta;
use crate::decimal::Decimal;
use crate::error::Error;
use crate::instrument::{Origin, Pair};
use crate::limits;
use crate::table::book_rows::{BookRows, LevelColumns, MessageRows, OrderColumns};
use crate::table::ledger::LedgerKind;
use crate::table::rows::{Cell, Place, Rows, word};
use crate::table::schema::Table;
use crate::wire::json::write_text;
use crate::wire::message::{Kind, Refused, Side};
use crate::wire::secret::Secret;

/// A row of the ledger, for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerRow {
    /// What happened; the words are in `docs/reference/tables.md`.
    pub kind: LedgerKind,
    /// Channel.
    pub channel: Option<String>,
    /// Symbol.
    pub symbol: Option<String>,
    /// When it was noticed, ns.
    pub ts_recv: i64,
    /// Begin of what it is about, ns.
    pub ts_from: Option<i64>,
    /// End of what it is about, ns.
    pub ts_to: Option<i64>,
    /// How many.
    pub count: Option<u64>,
    /// Facts, as JSON.
    pub detail: Option<String>,
}

impl LedgerRow {
    /// A row without facts.
    #[must_use]
    pub const fn new(kind: LedgerKind, ts_recv: i64) -> Self {
        let (channel, symbol, ts_from, ts_to, count, detail) = (None, None, None, None, None, None);
        Self { kind, channel, symbol, ts_recv, ts_from, ts_to, count, detail }
    }

    /// The same with facts, a JSON object.
    #[must_use]
    pub fn detail(self, detail: String) -> Self {
        Self { detail: Some(detail), ..self }
    }

    /// The same with a reason.
    #[must_use]
    pub fn reason(self, reason: &str) -> Self {
        self.detail(detail("reason", reason))
    }

    /// The same with how many it is about.
    #[must_use]
    pub const fn count(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    /// The same with the time that it is about, ns.
    #[must_use]
    pub const fn span(mut self, ts_from: Option<i64>, ts_to: Option<i64>) -> Self {
        self.ts_from = ts_from;
        self.ts_to = ts_to;
        self
    }
}

/// Messages with a checksum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    /// Whose checksum was right.
    pub ok: u64,
    /// Whose checksum was wrong, or whose book was crossed.
    pub bad: u64,
}

/// What was counted so far.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Frames taken.
    pub frames: u64,
    /// Messages by channel; answers count as `reply`.
    pub messages: Vec<(String, u64)>,
    /// Rows by table.
    pub rows: [u64; Table::ALL.len()],
    /// Messages of the book channel.
    pub book: Checked,
    /// Messages of level 3.
    pub level3: Checked,
    /// Messages of both for a book that was out of sync, or without a checksum.
    pub unchecked: u64,
    /// Frames or messages refused.
    pub errors: u64,
    /// Gaps written to the ledger.
    pub gaps: u64,
    /// Requests refused.
    pub refused: u64,
    /// Removals of book levels, changes and removals of orders that were not there.
    pub unknown_entries: u64,
    /// Orders added again while they were still there.
    pub replaced: u64,
    /// Fields that no column keeps.
    pub unknown_fields: u64,
}

/// All that goes out.
#[derive(Debug)]
pub(super) struct Output {
    /// Whether rows are made.
    pub(super) rows_wanted: bool,
    /// Whether ledger rows are kept for the caller.
    pub(super) ledger_wanted: bool,
    /// Events that are made.
    pub(super) events_wanted: EventSet,
    /// Rows of all tables except the two of book messages.
    pub(super) tables: Vec<Rows>,
    pub(super) book: BookRows<LevelColumns>,
    pub(super) orders: BookRows<OrderColumns>,
    pub(super) ledger: VecDeque<LedgerRow>,
    pub(super) events: Vec<Event>,
    pub(super) counts: Counts,
    /// Rows since the last `alive` row.
    rows_since_alive: [u64; Table::ALL.len()],
    /// Number of the frame being taken, or of the last one.
    pub(super) message: Option<u64>,
    /// Place of the last channel in the counts of messages.
    last_counted: usize,
    /// Running number of ledger rows.
    entry: u32,
    /// Tokens that must not be seen in anything that goes out, except requests.
    pub(super) secrets: VecDeque<Secret>,
    /// The latest time that was given, ns.
    pub(super) now: i64,
    /// Receive time of the latest frame; 0 before the first.
    pub(super) last_received: i64,
    /// Time of the last `alive` row; 0 before the first step of the clock.
    pub(super) last_alive: i64,
    /// The first message that no `alive` row counts.
    alive_message: u64,
    /// The session before, and when its last frame came, while not all channels have a row of its gap.
    pub(super) before: Option<(String, Option<i64>)>,
    /// Channels that still need a row of the gap; `None` stands for a session that subscribes none.
    pub(super) gaps_to_tell: Vec<Option<Channel>>,
    /// Ledger rows of this second for what was refused, and what was refused without one.
    error_rows: u32,
    errors_without_row: u64,
}

impl Output {
    pub(super) fn new(rows_wanted: bool, ledger_wanted: bool) -> Self {
        Self {
            rows_wanted,
            ledger_wanted,
            events_wanted: EventSet::NONE,
            tables: Table::ALL.into_iter().map(Rows::new).collect(),
            book: BookRows::default(),
            orders: BookRows::default(),
            ledger: VecDeque::new(),
            events: Vec::new(),
            counts: Counts::default(),
            rows_since_alive: [0; Table::ALL.len()],
            message: None,
            last_counted: 0,
            entry: 0,
            secrets: VecDeque::new(),
            now: 0,
            last_received: 0,
            last_alive: 0,
            alive_message: 0,
            before: None,
            gaps_to_tell: Vec::new(),
            error_rows: 0,
            errors_without_row: 0,
        }
    }

    pub(super) fn row<const N: usize>(&mut self, table: Table, place: &Place<'_>, cells: [Cell<'_>; N]) {
        if self.rows_wanted {
            self.tables[table as usize].push(place, cells);
            self.count_rows(table, 1);
        }
    }

    /// Counts rows that were collected.
    pub(super) fn count_rows(&mut self, table: Table, rows: usize) {
        self.counts.rows[table as usize] += rows as u64;
        self.rows_since_alive[table as usize] += rows as u64;
    }

    /// A row that `alive` does not count: the rows of a checkpoint stand for others.
    pub(super) fn uncounted_row<const N: usize>(&mut self, table: Table, place: &Place<'_>, cells: [Cell<'_>; N]) {
        if self.rows_wanted {
            self.tables[table as usize].push(place, cells);
            self.counts.rows[table as usize] += 1;
        }
    }

    /// Whether events of a kind are made.
    #[inline]
    pub(super) fn wants(&self, kind: EventKind) -> bool {
        self.events_wanted.has(kind)
    }

    /// The message being taken, for an event.
    pub(super) fn received(&self, symbol: &Arc<str>, ts_event: Option<i64>) -> Received {
        Received { symbol: symbol.clone(), message: self.message.unwrap_or(0), ts_recv: self.now, ts_event }
    }

    /// Data of a symbol is known again after `ts_from`.
    pub(super) fn gap_event(
        &mut self,
        symbol: &Arc<str>,
        channel: Channel,
        ts_from: Option<i64>,
        trade_ids: Option<(i64, i64)>,
        reason: &'static str,
    ) {
        if self.wants(EventKind::Gap) {
            let received = self.received(symbol, None);
            self.events.push(Event::Gap(GapEvent { received, channel, trade_ids, ts_from, ts_to: self.now, reason }));
        }
    }

    pub(super) fn place<'a>(&self, entry: usize, ts_event: Option<i64>, symbol: Option<&'a str>) -> Place<'a> {
        // A frame has at most 16 Mi entries.
        #[allow(clippy::cast_possible_truncation, reason = "see above")]
        let entry = entry as u32;
        Place { message: self.message, entry, ts_recv: self.now, ts_event, symbol: Cell::of(symbol, Cell::Text) }
    }

    /// The rows of a book message, of which the first is at `entry`.
    pub(super) fn message_rows(
        &self,
        entry: usize,
        ts_event: Option<i64>,
        symbol: usize,
        meta: BookMeta,
    ) -> MessageRows {
        // A frame has at most 16 Mi entries.
        #[allow(clippy::cast_possible_truncation, reason = "see above")]
        MessageRows::new((self.message.unwrap_or(0), entry as u32), (self.now, ts_event), symbol, meta)
    }

    #[allow(clippy::inline_always, reason = "the name is constant where it is called: no text is compared then")]
    #[inline(always)]
    pub(super) fn count(&mut self, channel: &str) {
        // Most messages are of the channel of the one before.
        match self.counts.messages.get_mut(self.last_counted) {
            Some((name, n)) if name == channel => *n += 1,
            _ => self.count_other(channel),
        }
    }

    pub(super) fn count_other(&mut self, channel: &str) {
        if let Some(at) = self.counts.messages.iter().position(|(name, _)| name == channel) {
            self.counts.messages[at].1 += 1;
            self.last_counted = at;
        } else if self.counts.messages.len() < limits::CHANNELS_MAX {
            self.counts.messages.push((channel.chars().take(limits::SYMBOL_LENGTH_MAX).collect(), 1));
        } else {
            let others = "other channels";
            match self.counts.messages.iter_mut().find(|(name, _)| name == others) {
                Some((_, n)) => *n += 1,
                None => self.counts.messages.push((others.into(), 1)),
            }
        }
    }

    /// Writes a row of the ledger and keeps it for the caller.
    pub(super) fn add_ledger_row(&mut self, mut row: LedgerRow) {
        if let Some(detail) = &mut row.detail {
            // The caller's words may quote the exchange: the reason of a goodbye.
            if let Cow::Owned(hidden) = self.without_secrets(detail.as_bytes()) {
                *detail = String::from_utf8_lossy(&hidden).into_owned();
            }
        }
        let place = Place {
            message: self.message,
            entry: self.entry,
            ts_recv: row.ts_recv,
            ts_event: None,
            symbol: Cell::of(row.symbol.as_deref(), Cell::Text),
        };
        self.entry += 1;
        let cells = [
            Cell::Text(row.kind.name()),
            Cell::of(row.channel.as_deref(), Cell::Text),
            Cell::of(row.ts_from, Cell::Time),
            Cell::of(row.ts_to, Cell::Time),
            Cell::of(row.count, Cell::U64),
            Cell::of(row.detail.as_deref(), Cell::Text),
        ];
        self.uncounted_row(Table::Ledger, &place, cells);
        if matches!(row.kind, LedgerKind::Gap | LedgerKind::TradeGap) {
            self.counts.gaps += 1;
        }
        if self.ledger_wanted && row.kind != LedgerKind::Alive && self.ledger.len() < limits::EVENTS_MAX {
            self.ledger.push_back(row);
        }
    }

    /// The same bytes, stars in the place of tokens.
    pub(super) fn without_secrets<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let mut bytes = Cow::Borrowed(bytes);
        for secret in &self.secrets {
            secret.hide(&mut bytes);
        }
        bytes
    }

    pub(super) fn ledger_row(&self, kind: LedgerKind, channel: Option<Channel>, symbol: &str) -> LedgerRow {
        LedgerRow {
            channel: channel.map(|c| c.name().into()),
            symbol: (!symbol.is_empty()).then(|| symbol.into()),
            ..LedgerRow::new(kind, self.now)
        }
    }

    pub(super) fn precision_row(&mut self, name: &str, (price, qty, origin): (u8, u8, Origin)) {
        let detail = format!("{{\"price\":{price},\"qty\":{qty},\"origin\":\"{}\"}}", origin.word());
        self.add_ledger_row(self.ledger_row(LedgerKind::Precision, None, name).detail(detail));
    }

    /// Counts a refused frame or message; the ledger gets the first few of each second with an excerpt. `book`: the
    /// symbol and the channel of the book that is out of sync because of it.
    pub(super) fn refuse(&mut self, error: &Error, book: Option<(&str, Channel)>, frame: &[u8]) {
        self.counts.errors += 1;
        // A row after which a book is out of sync is always written: the verifier goes by it.
        if self.error_rows >= limits::ERROR_ROWS_MAX && book.is_none() {
            self.errors_without_row += 1;
            return;
        }
        self.error_rows += 1;
        let mut facts = detail("error", &error.to_string());
        if !frame.is_empty() {
            facts.pop();
            facts.push_str(",\"excerpt\":");
            let excerpt = &frame[..frame.len().min(limits::EXCERPT_MAX)];
            write_text(&String::from_utf8_lossy(excerpt), &mut facts);
            // Writing to a String cannot fail.
            let _ = write!(facts, ",\"bytes\":{}}}", frame.len());
        }
        let kind = error_kind(error);
        let (name, channel) = book.map_or(("", None), |(name, channel)| (name, Some(channel)));
        self.add_ledger_row(self.ledger_row(kind, channel, name).count(1).detail(facts));
    }

    /// Counts an item of a message that could not be read; the ledger names it.
    pub(super) fn refuse_item(&mut self, channel: &'static str, refused: &Refused) {
        self.counts.errors += 1;
        if self.error_rows >= limits::ERROR_ROWS_MAX {
            self.errors_without_row += 1;
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
        let symbol = symbol.as_deref().filter(|_| !ends_book).unwrap_or_default();
        let row = self.ledger_row(error_kind(error), None, symbol).count(1).detail(facts);
        self.add_ledger_row(LedgerRow { channel: Some(channel.into()), ..row });
    }

    /// Counts items that could not be read and are not named.
    pub(super) fn refuse_unnamed(&mut self, items: u64) {
        self.counts.errors += items;
        self.errors_without_row += items;
    }

    /// Data of a channel comes, or is not to come any more: from the last frame of the session before until now nothing of
    /// the channel was known.
    pub(super) fn close_gap(&mut self, channel: Option<Channel>) {
        let Some(at) = self.gaps_to_tell.iter().position(|other| *other == channel) else { return };
        self.gaps_to_tell.swap_remove(at);
        let Some((previous, since)) = &self.before else { return };
        let mut facts = detail("reason", "not connected");
        facts.pop();
        facts.push_str(",\"previous\":");
        write_text(previous, &mut facts);
        facts.push('}');
        let row = self.ledger_row(LedgerKind::Gap, channel, "").span(*since, Some(self.now));
        let message = self.message;
        // The gap ends before this message: the book that may begin with it is in sync.
        self.message = message.and_then(|message| message.checked_sub(1));
        self.add_ledger_row(row.detail(facts));
        self.message = message;
    }

    /// Says how far the recording has come, and how many rows each table got since the last time.
    pub(super) fn alive(&mut self, now: i64) {
        if self.errors_without_row > 0 {
            let row = LedgerRow::new(LedgerKind::DecodeError, now).count(self.errors_without_row);
            self.add_ledger_row(row);
        }
        self.error_rows = 0;
        self.errors_without_row = 0;
        let mut facts = String::from("{\"rows\":{");
        for (table, rows) in Table::ALL.into_iter().zip(std::mem::take(&mut self.rows_since_alive)) {
            if rows > 0 {
                let comma = if facts.ends_with('{') { "" } else { "," };
                // Writing to a String cannot fail.
                let _ = write!(facts, "{comma}\"{}\":{rows}", table.name());
            }
        }
        facts.push_str("}}");
        let next = self.message.map_or(0, |message| message + 1);
        let row = LedgerRow::new(LedgerKind::Alive, now).span(Some(self.last_alive), Some(now));
        self.add_ledger_row(row.count(next - self.alive_message).detail(facts));
        self.alive_message = next;
        self.last_alive = now;
    }
}

/// The kind of the ledger row about bytes that were refused.
const fn error_kind(error: &Error) -> LedgerKind {
    if matches!(error, Error::Limit { .. }) { LedgerKind::Limit } else { LedgerKind::DecodeError }
}

/// A JSON object of one text.
pub(super) fn detail(key: &str, text: &str) -> String {
    let mut out = format!("{{\"{key}\":");
    write_text(&shortened(text), &mut out);
    out.push('}');
    out
}

/// Words of the exchange: they may be as long as a frame, and a row of the ledger is not.
pub(super) fn shortened(text: &str) -> Cow<'_, str> {
    if text.len() <= limits::WORDS_MAX {
        return Cow::Borrowed(text);
    }
    let end = (0..=limits::WORDS_MAX).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    Cow::Owned(format!("{}… ({} bytes)", &text[..end], text.len()))
}

pub(super) const fn kind_cell(kind: Kind) -> Cell<'static> {
    match kind {
        Kind::Snapshot => const { word(Kind::Snapshot.word()) },
        Kind::Update => const { word(Kind::Update.word()) },
    }
}

pub(super) const fn side_cell(side: Side) -> Cell<'static> {
    match side {
        Side::Bid => const { word(Side::Bid.word()) },
        Side::Ask => const { word(Side::Ask.word()) },
    }
}

/// A number of a book at its own precision.
pub(super) fn scaled<'a>(mantissa: i128, scale: u8) -> Cell<'a> {
    column(Some(Decimal { mantissa, scale }))
}

/// A number as its column holds it; the decoder let only such through.
pub(super) fn column<'a>(value: Option<Decimal>) -> Cell<'a> {
    Cell::of(value.and_then(|value| value.rescale(limits::SCALE)), Cell::Decimal)
}

/// Writes the row of a pair.
pub(super) fn pair_row(out: &mut Output, symbol: &str, pair: &Pair, origin: Origin, entry: usize) {
    let place = out.place(entry, None, Some(symbol));
    let cells = [
        Cell::text_or_null(&pair.base),
        Cell::text_or_null(&pair.quote),
        Cell::text_or_null(&pair.status),
        Cell::U8(pair.price_precision),
        Cell::U8(pair.qty_precision),
        column(pair.price_increment),
        column(pair.qty_increment),
        column(pair.qty_min),
        column(pair.cost_min),
        Cell::of(pair.cost_precision, Cell::U8),
        Cell::of(pair.marginable, Cell::Bool),
        column(pair.margin_initial),
        Cell::of(pair.position_limit_long, Cell::I64),
        Cell::of(pair.position_limit_short, Cell::I64),
        Cell::of(pair.has_index, Cell::Bool),
        Cell::Text(origin.word()),
        Cell::text_or_null(&pair.extra),
    ];
    out.row(Table::Pairs, &place, cells);
}
