//! What a session gives out: rows, ledger rows and counters.

use std::borrow::Cow;
use std::collections::VecDeque;

use super::options::Channel;
use crate::book::synced::BookMeta;
use crate::decimal::Decimal;
use crate::instrument::{Origin, Pair};
use crate::limits;
use crate::table::book_rows::{BookRows, LevelColumns, MessageRows, OrderColumns};
use crate::table::ledger::LedgerKind;
use crate::table::rows::{Cell, Place, Rows, word};
use crate::table::schema::Table;
use crate::wire::json::write_text;
use crate::wire::message::{Kind, Side};
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
    /// Messages of both outside the life of a book, or without a checksum.
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

/// Rows, events and counters: all that goes out.
#[derive(Debug)]
pub(super) struct Output {
    /// Rows of all tables but the two of book messages.
    pub(super) tables: Vec<Rows>,
    pub(super) book: BookRows<LevelColumns>,
    pub(super) orders: BookRows<OrderColumns>,
    pub(super) ledger: VecDeque<LedgerRow>,
    pub(super) counts: Counts,
    /// Rows since the last `alive` row.
    pub(super) rows_since_alive: [u64; Table::ALL.len()],
    /// Number of the frame being taken, or of the last one.
    pub(super) message: Option<u64>,
    /// Place of the last channel in the counts of messages.
    pub(super) last_counted: usize,
    /// Running number of ledger rows.
    pub(super) entry: u32,
    /// Tokens that must not be seen in anything that goes out, but for requests.
    pub(super) secrets: VecDeque<Secret>,
    pub(super) now: i64,
}

impl Output {
    pub(super) fn row<const N: usize>(&mut self, table: Table, place: &Place<'_>, cells: [Cell<'_>; N]) {
        self.tables[table as usize].push(place, cells);
        self.count_rows(table, 1);
    }

    /// Counts rows that were collected.
    pub(super) fn count_rows(&mut self, table: Table, rows: usize) {
        self.counts.rows[table as usize] += rows as u64;
        self.rows_since_alive[table as usize] += rows as u64;
    }

    /// A row that `alive` does not count: the rows of a checkpoint stand for others.
    pub(super) fn uncounted_row<const N: usize>(&mut self, table: Table, place: &Place<'_>, cells: [Cell<'_>; N]) {
        self.tables[table as usize].push(place, cells);
        self.counts.rows[table as usize] += 1;
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

    /// Writes a row of the ledger and keeps it as an row.
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
        if row.kind != LedgerKind::Alive && self.ledger.len() < limits::EVENTS_MAX {
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
        let row = LedgerRow { detail: Some(detail), ..self.ledger_row(LedgerKind::Precision, None, name) };
        self.add_ledger_row(row);
    }
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
