//! The protocol state of one connection: frames and times in; rows, events and requests out.
//!
//! A session decides what the protocol calls for next and never does it: [`Session::requests`] hands out what to send.
//! It subscribes to the instrument channel, then to the chosen symbols in batches, checks each answer, keeps the
//! books, and asks for one symbol again when its book is no longer the exchange's. Other symbols never notice.
//!
//! With [`Options::passive`] it asks for nothing and takes what comes: recorded frames.
//!
//! Level 3 has a host of its own, which serves no instrument channel and wants a token: such a session learns the pairs
//! from another one ([`Session::learn`]), is given the token ([`Session::authorise`]) and keeps to a [`Budget`].

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;

use crate::book::level2::{Book, LifeOf, Outcome, Proved, Terms, smallest_depth};
use crate::book::level3::{Modify, Orders};
use crate::decimal::{Decimal, pow10};
use crate::error::Error;
use crate::instrument::{Asset, Origin, Pair, matches};
use crate::limits;
use crate::table::book_rows::{LevelColumns, OrderColumns, Run, Runs};
use crate::table::rows::{Cell, Place, Rows, short_view, word};
use crate::table::schema::Table;
use crate::wire::decode::{Decoder, write_text};
use crate::wire::message::{
    BookData, Entries, Entry, Kind, Message, Ohlc, OrderEntry, Reply, ShortEntry, Side, Status, Ticker, Trade,
};
use crate::wire::secret::Secret;

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3600 * SECOND;
/// How often the clock's duties are looked at.
const STEP: i64 = SECOND / 10;
/// After this long without an ack a symbol is asked for again.
const ACK_TIMEOUT: i64 = 20 * SECOND;
/// After this long without its snapshot a book is asked for again. Kraken needs 0.1 to 0.6 s when it is not busy.
const SNAPSHOT_TIMEOUT: i64 = 60 * SECOND;
/// After this long without data a subscription is called quiet.
const QUIET: i64 = 60 * SECOND;
/// Two channels of a symbol that disagree for so long: the one that was silent all the while is dead.
const STALE: i64 = 10 * SECOND;
/// A connection that brings nothing for so long, not even a heartbeat, which comes every second, is silent as a whole.
const HEARTBEATS: i64 = 3 * SECOND;
/// The longest pause between two attempts at one symbol.
const PAUSE_MAX: i64 = 300 * SECOND;
/// A symbol that was well for so long starts again with short pauses.
const WELL: i64 = 600 * SECOND;

/// The channels that are subscribed symbol by symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Level-2 books.
    Book,
    /// Trades.
    Trade,
    /// Best prices and 24-hour statistics, at every change of the best prices.
    Ticker,
    /// Candles.
    Ohlc,
    /// Level-3 books: orders.
    Level3,
}

impl Channel {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Book, Self::Trade, Self::Ticker, Self::Ohlc, Self::Level3];

    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Book => "book",
            Self::Trade => "trade",
            Self::Ticker => "ticker",
            Self::Ohlc => "ohlc",
            Self::Level3 => "level3",
        }
    }

    /// The channel of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.name() == name)
    }
}

/// What a session is to do.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "options that do not depend on each other")]
pub struct Options {
    /// Channels to subscribe, besides instrument and status.
    pub channels: Vec<Channel>,
    /// Patterns of symbols to choose.
    pub symbols: Vec<String>,
    /// Patterns of symbols to leave out.
    pub exclude: Vec<String>,
    /// Book depth; where observing, the depth in force if no ack tells it.
    pub depth: Option<u16>,
    /// The same of level 3.
    pub level3_depth: Option<u16>,
    /// Length of candles, minutes.
    pub interval: u16,
    /// Price and quantity precision by symbol, where the instrument channel is silent.
    pub precision: HashMap<String, (u8, u8)>,
    /// Keep every frame byte for byte.
    pub frames: bool,
    /// Ask for tokenised assets too.
    pub tokenised: bool,
    /// Subscribe the instrument channel; otherwise pairs are learnt of another session.
    pub instrument: bool,
    /// Ask for nothing; take what comes.
    pub passive: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            channels: vec![Channel::Book, Channel::Trade, Channel::Ticker],
            symbols: vec!["*".into()],
            exclude: Vec::new(),
            depth: None,
            level3_depth: None,
            interval: 1,
            precision: HashMap::new(),
            frames: false,
            tokenised: false,
            instrument: true,
            passive: false,
        }
    }
}

/// The depth asked for where none is told.
pub const DEPTH_DEFAULT: u16 = 100;

/// What Kraken lets a client subscribe of level 3: units in a second, 200 for a standard account, a symbol costing 5, 25
/// or 100 at depth 10, 100 or 1000. One budget serves all sessions of an account; resyncs get a share of it, so that
/// trouble with some symbols never keeps others from being subscribed.
#[derive(Debug)]
pub struct Budget {
    rate: u32,
    resync_share: f64,
    /// Time, cost, and whether it was a resync, of what was spent lately.
    spent: VecDeque<(i64, u32, bool)>,
}

impl Budget {
    /// No second of the exchange's may see more than the rate, whichever way the network bunches requests a little.
    const WINDOW: i64 = SECOND + SECOND / 20;
    /// Long enough for the share of resyncs to hold a symbol of depth 1000.
    const RESYNC_WINDOW: i64 = 10 * SECOND;

    /// So much a second, of which resyncs get a share.
    #[must_use]
    pub fn new(rate: u32, resync_share: f64) -> Self {
        Self { rate, resync_share, spent: VecDeque::new() }
    }

    /// Spends `cost`, if it is there. What is dearer than the whole is granted alone.
    fn spend(&mut self, now: i64, cost: u32, resync: bool) -> bool {
        while self.spent.front().is_some_and(|(at, ..)| *at + Self::RESYNC_WINDOW <= now) {
            self.spent.pop_front();
        }
        let sum = |span: i64, resync_only: bool| {
            let within = self.spent.iter().filter(|(at, _, resync)| *at + span > now && (*resync || !resync_only));
            within.map(|(_, cost, _)| cost).sum::<u32>()
        };
        let fits = |sum: u32, limit: f64| sum == 0 || f64::from(sum) + f64::from(cost) <= limit;
        // Windows are whole seconds but for the margin.
        let resyncs = f64::from(self.rate) * self.resync_share * 10.0;
        let granted = fits(sum(Self::WINDOW, false), self.rate.into())
            && (!resync || fits(sum(Self::RESYNC_WINDOW, true), resyncs));
        if granted {
            self.spent.push_back((now, cost, resync));
        }
        granted
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(limits::LEVEL3_RATE, 0.1)
    }
}

/// Units that Kraken counts for a level-3 subscription.
const fn level3_cost(depth: u16) -> u32 {
    match depth {
        ..=10 => 5,
        11..=100 => 25,
        _ => 100,
    }
}

/// A row of the ledger, for the caller.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// What happened; the words are in `docs/reference/tables.md`.
    pub kind: String,
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

/// Messages with a checksum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    /// Whose checksum was right.
    pub ok: u64,
    /// Whose checksum was wrong, or whose book was crossed.
    pub bad: u64,
}

/// How many pairs, subscriptions and books stand where.
#[derive(Debug, Clone, Copy, Default)]
pub struct Standings {
    /// Pairs that the instrument channel described.
    pub pairs: usize,
    /// Of them those that were chosen.
    pub selected: usize,
    /// Subscriptions that deliver.
    pub subscribed: usize,
    /// Subscriptions that the exchange refused.
    pub refused: usize,
    /// Subscriptions that are wanted, asked for, or to be asked for again.
    pub waiting: usize,
    /// Books that live, of both kinds.
    pub live: usize,
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
    pub absent: u64,
    /// Orders added again while they were still there.
    pub replaced: u64,
    /// Fields that no column keeps.
    pub unknown_fields: u64,
}

/// Where a subscription of one symbol stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Not wanted.
    Off,
    /// To be asked for, not before this time.
    Wanted(i64),
    /// Asked for at this time.
    Asked(i64),
    /// Granted at this time; the snapshot is to come.
    Granted(i64),
    /// Delivering.
    Live,
    /// To be left and asked for again, not before this time.
    Bad(i64),
    /// Left at this time; the ack is to come.
    Leaving(i64),
    /// Refused by the exchange.
    Refused,
    /// Given up: delisted, or its data cannot be held.
    Gone,
}

impl Standing {
    const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Wanted(_) => "wanted",
            Self::Asked(_) | Self::Granted(_) => "asked",
            Self::Live => "live",
            Self::Bad(_) | Self::Leaving(_) => "bad",
            Self::Refused => "refused",
            Self::Gone => "gone",
        }
    }
}

/// A subscription of one symbol.
#[derive(Debug, Clone, Copy)]
struct Subscription {
    standing: Standing,
    /// Attempts since it was last well.
    attempts: u32,
    /// When it was last asked for.
    asked: i64,
    /// Whether it was ever delivering: to ask for it again is a resync.
    lived: bool,
    /// When its last data came.
    heard: i64,
    /// Why it stands as it does, where that is not as it should be.
    reason: &'static str,
}

impl Subscription {
    const OFF: Self = Self { standing: Standing::Off, attempts: 0, asked: 0, lived: false, heard: 0, reason: "" };

    /// It is delivering.
    fn live(&mut self, now: i64) {
        *self = Self { standing: Standing::Live, lived: true, heard: now, reason: "", ..*self };
    }

    /// Where it stands, in a word.
    fn word(&self, now: i64) -> &'static str {
        if self.standing == Standing::Live && now - self.heard > QUIET { "quiet" } else { self.standing.word() }
    }

    /// When to try again: at once the first time, then 1, 2, 4 … seconds later.
    fn pause(&mut self, now: i64) -> i64 {
        if now - self.asked > WELL {
            self.attempts = 0;
        }
        let pause = match self.attempts {
            0 => 0,
            n => (SECOND << (n - 1).min(9)).min(PAUSE_MAX),
        };
        self.attempts += 1;
        now + pause
    }
}

/// A book of one symbol, and what goes with it.
#[derive(Debug)]
struct Followed<B: Proved> {
    life: LifeOf<B>,
    /// Depth in force, and where it comes from.
    depth: Option<(u16, &'static str)>,
    /// Hour of the last checkpoint, or of the snapshot.
    hour: i64,
    /// Snapshots that could not be held, in a row.
    refusals: u8,
    /// Whether the ledger already says why updates are unchecked.
    explained: bool,
    /// Whether the ledger already says that this life is in doubt.
    doubted: bool,
    /// What the ledger last said was learnt of the exchange.
    habit: Option<B::Habit>,
}

impl<B: Proved> Default for Followed<B> {
    fn default() -> Self {
        let life = LifeOf::default();
        Self { life, depth: None, hour: 0, refusals: 0, explained: false, doubted: false, habit: None }
    }
}

impl<B: Proved> Followed<B> {
    /// Whether a book that lives is doubted for the first time in its life.
    fn newly_doubted(&mut self) -> bool {
        self.life.book().is_some() && !std::mem::replace(&mut self.doubted, true)
    }

    /// The life is over, and the ledger says why.
    fn end(&mut self) {
        self.life.end();
        self.explained = true;
    }
}

/// What is known of one symbol.
#[derive(Debug)]
struct Symbol {
    name: Box<str>,
    /// The view of its name in the tables, if that is short.
    view: Option<u128>,
    pair: Option<Pair>,
    selected: bool,
    subscriptions: [Subscription; Channel::ALL.len()],
    book: Followed<Book>,
    orders: Followed<Orders>,
    /// Price and quantity precision in force, and where it comes from.
    precision: Option<(u8, u8, Origin)>,
    last_trade: Option<i64>,
    /// Price of the last trade of this session.
    traded: Option<Decimal>,
    /// Best bid, best ask and last price, as the ticker says.
    quoted: [Option<Decimal>; 3],
    /// Since when the ticker says other best prices than the book, and another last price than the trades; and since
    /// when level 3 has other best prices than either of the two.
    differs: [Option<i64>; 3],
}

impl Symbol {
    /// Its books that live.
    fn live(&self) -> usize {
        usize::from(self.lives(Channel::Book)) + usize::from(self.lives(Channel::Level3))
    }

    /// Whether `channel` keeps a book that lives.
    fn lives(&self, channel: Channel) -> bool {
        match channel {
            Channel::Book => self.book.life.book().is_some(),
            Channel::Level3 => self.orders.life.book().is_some(),
            Channel::Trade | Channel::Ticker | Channel::Ohlc => false,
        }
    }

    /// Ends the book that `channel` keeps, if it keeps one.
    fn end(&mut self, channel: Channel) {
        match channel {
            Channel::Book => self.book.end(),
            Channel::Level3 => self.orders.end(),
            Channel::Trade | Channel::Ticker | Channel::Ohlc => {}
        }
    }

    fn subscription(&self, channel: Channel) -> &Subscription {
        &self.subscriptions[channel as usize]
    }

    /// The best prices of its book, while it lives.
    fn best(&self) -> [Option<Decimal>; 2] {
        [Side::Bid, Side::Ask].map(|side| self.book.life.book().and_then(|book| book.best(side)))
    }

    /// The best prices of its level 3, while it lives.
    fn best_orders(&self) -> [Option<Decimal>; 2] {
        [Side::Bid, Side::Ask].map(|side| {
            let orders = self.orders.life.book()?;
            let (mantissa, ..) = orders.levels(side).next()?;
            Some(Decimal { mantissa, scale: orders.precision().0 })
        })
    }
}

/// Whether of two accounts of the same prices one says another than the other; what is not known differs from nothing.
fn differ<const N: usize>(one: [Option<Decimal>; N], other: [Option<Decimal>; N]) -> bool {
    one.into_iter().zip(other).any(|pair| match pair {
        (Some(one), Some(other)) => one.rescale(limits::SCALE) != other.rescale(limits::SCALE),
        _ => false,
    })
}

/// A kind of book that a session keeps: the book channel's, or level 3's.
trait Kept: Proved {
    const CHANNEL: Channel;

    fn of(symbol: &mut Symbol) -> &mut Followed<Self>;
    fn kept(symbol: &Symbol) -> &Followed<Self>;
    fn tally(counts: &mut Counts) -> &mut Checked;
    /// The depth that was asked for.
    fn depth_option(options: &Options) -> Option<u16>;
    fn price(entry: &Self::Entry<'_>) -> Decimal;
    fn qty(entry: &Self::Entry<'_>) -> Decimal;
    /// Levels of the longer side of a snapshot.
    fn longer(entries: &[Self::Entry<'_>]) -> usize;
    /// Keeps the rows of a message: `numbers` are the prices and quantities of its entries.
    fn rows(out: &mut Out, run: Run, entries: &[Self::Entry<'_>], numbers: &[(i128, i128)]);
    /// Writes the whole book.
    fn checkpoint(followed: &Followed<Self>, out: &mut Out, name: &str, next: u64);
    /// Orders added again while they were still there.
    fn replaced(&self) -> u64;
    /// What the last message's checksum told of the exchange, and its word.
    fn learnt(&self) -> Option<(Self::Habit, &'static str)>;
}

const fn kind_cell(kind: Kind) -> Cell<'static> {
    match kind {
        Kind::Snapshot => const { word(Kind::Snapshot.word()) },
        Kind::Update => const { word(Kind::Update.word()) },
    }
}

const fn side_cell(side: Side) -> Cell<'static> {
    match side {
        Side::Bid => const { word(Side::Bid.word()) },
        Side::Ask => const { word(Side::Ask.word()) },
    }
}

/// A number of a book at its own precision.
fn scaled<'a>(mantissa: i128, scale: u8) -> Cell<'a> {
    column(Some(Decimal { mantissa, scale }))
}

/// The place of a row of a checkpoint before message `next`; `entry` counts them.
fn checkpoint_place<'a>(out: &Out, name: &'a str, next: u64, entry: &mut u32) -> Place<'a> {
    *entry += 1;
    Place { message: Some(next), entry: *entry - 1, ts_recv: out.now, ts_event: None, symbol: Cell::Text(name) }
}

impl Kept for Book {
    const CHANNEL: Channel = Channel::Book;

    fn of(symbol: &mut Symbol) -> &mut Followed<Self> {
        &mut symbol.book
    }

    fn kept(symbol: &Symbol) -> &Followed<Self> {
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

    fn rows(out: &mut Out, run: Run, entries: &[Entry], numbers: &[(i128, i128)]) {
        let rows = out.book.push(run, entries.len(), |levels| {
            for (entry, &(price, qty)) in entries.iter().zip(numbers) {
                levels.push(entry.side, price, qty);
            }
        });
        out.collected(Table::Book, rows);
    }

    fn checkpoint(followed: &Followed<Self>, out: &mut Out, name: &str, next: u64) {
        let Some(book) = followed.life.book() else { return };
        let (price_precision, qty_precision) = book.precision();
        let terms = [Cell::U16(book.depth()), Cell::U8(price_precision), Cell::U8(qty_precision)];
        let mut entry = 0;
        let mut write = |[side, level, price, qty]: [Cell<'_>; 4]| {
            let place = checkpoint_place(out, name, next, &mut entry);
            let [depth, price_precision, qty_precision] = terms;
            let cells = [side, level, price, qty, depth, price_precision, qty_precision];
            out.unaccounted(Table::Checkpoints, &place, cells);
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

    fn learnt(&self) -> Option<((), &'static str)> {
        None
    }
}

impl Kept for Orders {
    const CHANNEL: Channel = Channel::Level3;

    fn of(symbol: &mut Symbol) -> &mut Followed<Self> {
        &mut symbol.orders
    }

    fn kept(symbol: &Symbol) -> &Followed<Self> {
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

    fn rows(out: &mut Out, run: Run, entries: &[OrderEntry<'_>], numbers: &[(i128, i128)]) {
        let rows = out.orders.push(run, entries.len(), |orders| {
            for (entry, &(price, qty)) in entries.iter().zip(numbers) {
                orders.push(entry, run.terms.kind, price, qty);
            }
        });
        out.collected(Table::Orders, rows);
    }

    fn checkpoint(followed: &Followed<Self>, out: &mut Out, name: &str, next: u64) {
        let Some(book) = followed.life.book() else { return };
        let (price_precision, qty_precision) = book.precision();
        let terms = [Cell::U16(book.depth()), Cell::U8(price_precision), Cell::U8(qty_precision)];
        let rule = Cell::Text(followed.life.habit.word());
        let mut entry = 0;
        let mut write = |[side, level, queue, id, price, qty, timestamp]: [Cell<'_>; 7]| {
            let place = checkpoint_place(out, name, next, &mut entry);
            let [depth, price_precision, qty_precision] = terms;
            let cells = [side, level, queue, id, price, qty, timestamp, depth, price_precision, qty_precision, rule];
            out.unaccounted(Table::OrdersCheckpoints, &place, cells);
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

    fn learnt(&self) -> Option<(Modify, &'static str)> {
        self.arbitrated().map(|rule| (rule, rule.word()))
    }
}

/// Rows, events and counters: all that goes out.
#[derive(Debug)]
struct Out {
    /// Rows of all tables but the two of book messages.
    tables: Vec<Rows>,
    book: Runs<LevelColumns>,
    orders: Runs<OrderColumns>,
    events: VecDeque<Event>,
    counts: Counts,
    /// Rows since the last `alive` row.
    since: [u64; Table::ALL.len()],
    /// Number of the frame being taken, or of the last one.
    message: Option<u64>,
    /// Place of the last channel in the counts of messages.
    counted: usize,
    /// Running number of ledger rows.
    entry: u32,
    /// Tokens that must not be seen in anything that goes out, but for requests.
    secrets: VecDeque<Secret>,
    now: i64,
}

impl Out {
    fn row<const N: usize>(&mut self, table: Table, place: &Place<'_>, cells: [Cell<'_>; N]) {
        self.tables[table as usize].push(place, cells);
        self.collected(table, 1);
    }

    /// Counts rows that were collected.
    fn collected(&mut self, table: Table, rows: usize) {
        self.counts.rows[table as usize] += rows as u64;
        self.since[table as usize] += rows as u64;
    }

    /// A row that `alive` does not count: the rows of a checkpoint stand for others.
    fn unaccounted<const N: usize>(&mut self, table: Table, place: &Place<'_>, cells: [Cell<'_>; N]) {
        self.tables[table as usize].push(place, cells);
        self.counts.rows[table as usize] += 1;
    }

    fn place<'a>(&self, entry: usize, ts_event: Option<i64>, symbol: Option<&'a str>) -> Place<'a> {
        // A frame has at most 16 Mi entries.
        #[allow(clippy::cast_possible_truncation, reason = "see above")]
        let entry = entry as u32;
        Place { message: self.message, entry, ts_recv: self.now, ts_event, symbol: Cell::of(symbol, Cell::Text) }
    }

    /// The rows of a book message, of which the first is at `entry`.
    fn run(&self, entry: usize, ts_event: Option<i64>, symbol: usize, terms: Terms) -> Run {
        // A frame has at most 16 Mi entries.
        #[allow(clippy::cast_possible_truncation, reason = "see above")]
        Run::new((self.message.unwrap_or(0), entry as u32), (self.now, ts_event), symbol, terms)
    }

    #[allow(clippy::inline_always, reason = "the name is constant where it is called: no text is compared then")]
    #[inline(always)]
    fn count(&mut self, channel: &str) {
        // Most messages are of the channel of the one before.
        match self.counts.messages.get_mut(self.counted) {
            Some((name, n)) if name == channel => *n += 1,
            _ => self.count_other(channel),
        }
    }

    fn count_other(&mut self, channel: &str) {
        if let Some(at) = self.counts.messages.iter().position(|(name, _)| name == channel) {
            self.counts.messages[at].1 += 1;
            self.counted = at;
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

    /// Writes a row of the ledger and keeps it as an event.
    fn ledger(&mut self, mut event: Event) {
        if let Some(detail) = &mut event.detail {
            // The caller's words may quote the exchange: the reason of a goodbye.
            if let Cow::Owned(hidden) = self.without_secrets(detail.as_bytes()) {
                *detail = String::from_utf8_lossy(&hidden).into_owned();
            }
        }
        let place = Place {
            message: self.message,
            entry: self.entry,
            ts_recv: event.ts_recv,
            ts_event: None,
            symbol: Cell::of(event.symbol.as_deref(), Cell::Text),
        };
        self.entry += 1;
        let cells = [
            Cell::Text(&event.kind),
            Cell::of(event.channel.as_deref(), Cell::Text),
            Cell::of(event.ts_from, Cell::Time),
            Cell::of(event.ts_to, Cell::Time),
            Cell::of(event.count, Cell::U64),
            Cell::of(event.detail.as_deref(), Cell::Text),
        ];
        self.unaccounted(Table::Ledger, &place, cells);
        if matches!(event.kind.as_str(), "gap" | "trade_gap") {
            self.counts.gaps += 1;
        }
        if event.kind != "alive" && self.events.len() < limits::EVENTS_MAX {
            self.events.push_back(event);
        }
    }

    /// The same bytes, stars in the place of tokens.
    fn without_secrets<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let mut bytes = Cow::Borrowed(bytes);
        for secret in &self.secrets {
            secret.hide(&mut bytes);
        }
        bytes
    }

    fn event(&self, kind: &str, channel: Option<Channel>, symbol: &str) -> Event {
        Event {
            kind: kind.into(),
            channel: channel.map(|c| c.name().into()),
            symbol: (!symbol.is_empty()).then(|| symbol.into()),
            ts_recv: self.now,
            ..Event::default()
        }
    }
}

/// A JSON object of one text.
fn fact(key: &str, text: &str) -> String {
    let mut out = format!("{{\"{key}\":");
    write_text(&words(text), &mut out);
    out.push('}');
    out
}

/// Words of the exchange: they may be as long as a frame, and a row of the ledger is not.
fn words(text: &str) -> Cow<'_, str> {
    if text.len() <= limits::WORDS_MAX {
        return Cow::Borrowed(text);
    }
    let end = (0..=limits::WORDS_MAX).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    Cow::Owned(format!("{}… ({} bytes)", &text[..end], text.len()))
}

/// A request that awaits its answers.
#[derive(Debug)]
struct Asked {
    channel: Option<Channel>,
    symbols: Vec<usize>,
    /// Number of the token that it was sent with.
    token: u32,
}

/// The protocol state of one connection.
pub struct Session {
    id: String,
    options: Options,
    decoder: Decoder,
    state: State,
    budget: Budget,
    next_message: u64,
    /// Largest exchange time so far, the receive time of frames that came without one.
    latest: i64,
}

/// The numbers of symbols by their names.
#[derive(Default)]
struct Index {
    short: foldhash::HashMap<ShortName, usize>,
    long: foldhash::HashMap<Box<[u8]>, usize>,
}

/// A name of up to 16 bytes as numbers, which are compared without a call: its begin, its end, its length.
#[derive(PartialEq, Eq, Hash)]
struct ShortName(u64, u64, usize);

impl ShortName {
    #[inline]
    fn new(name: &[u8]) -> Option<Self> {
        let length = name.len();
        if let (8..=16, Some(first), Some(last)) = (length, name.first_chunk(), name.last_chunk()) {
            return Some(Self(u64::from_le_bytes(*first), u64::from_le_bytes(*last), length));
        }
        if let (4..8, Some(first), Some(last)) = (length, name.first_chunk(), name.last_chunk()) {
            return Some(Self(u32::from_le_bytes(*first).into(), u32::from_le_bytes(*last).into(), length));
        }
        let digits = name.iter().fold(0, |digits, byte| digits << 8 | u64::from(*byte));
        (length < 4).then_some(Self(digits, 0, length))
    }
}

impl Index {
    #[inline]
    fn get(&self, name: impl AsRef<[u8]>) -> Option<usize> {
        let name = name.as_ref();
        match ShortName::new(name) {
            Some(short) => self.short.get(&short),
            None => self.long.get(name),
        }
        .copied()
    }

    fn insert(&mut self, name: &[u8], i: usize) {
        match ShortName::new(name) {
            Some(short) => self.short.insert(short, i),
            None => self.long.insert(name.into(), i),
        };
    }
}

struct State {
    out: Out,
    symbols: Vec<Symbol>,
    index: Index,
    /// Requests without all their answers, by `req_id`.
    asked: HashMap<u64, Asked>,
    next_request: u64,
    instrument: Standing,
    /// Pairs that an earlier session knew and this one has not seen yet.
    missing: Vec<Box<str>>,
    last_trades: HashMap<Box<str>, i64>,
    /// Receive time of the latest frame.
    heard: i64,
    last_alive: i64,
    alive_message: u64,
    next_step: i64,
    /// Where the search for due checkpoints goes on.
    checkpoint_cursor: usize,
    /// The hour of which, or of a later one, every book that lives has a checkpoint or its snapshot.
    checkpointed: i64,
    error_rows: u32,
    errors_unsaid: u64,
    buffer: Vec<u8>,
    prices: Vec<(i128, i128)>,
    ended: bool,
    system: Option<String>,
    /// For level 3. It leaves in requests only.
    token: Option<String>,
    /// Tokens given so far.
    tokens: u32,
}

impl Session {
    /// A new connection's state; `id` is a UUID that names the session in every row.
    #[must_use]
    pub fn new(id: &str, options: Options) -> Self {
        let tables = Table::ALL.into_iter().map(Rows::new).collect();
        Self {
            id: id.into(),
            decoder: Decoder::default(),
            state: State {
                out: Out {
                    book: Runs::default(),
                    orders: Runs::default(),
                    tables,
                    events: VecDeque::new(),
                    counts: Counts::default(),
                    since: [0; Table::ALL.len()],
                    message: None,
                    counted: 0,
                    entry: 0,
                    secrets: VecDeque::new(),
                    now: 0,
                },
                symbols: Vec::new(),
                index: Index::default(),
                asked: HashMap::new(),
                next_request: 1,
                instrument: if options.instrument { Standing::Wanted(0) } else { Standing::Off },
                missing: Vec::new(),
                last_trades: HashMap::new(),
                last_alive: 0,
                alive_message: 0,
                next_step: 0,
                checkpoint_cursor: 0,
                checkpointed: i64::MIN,
                error_rows: 0,
                errors_unsaid: 0,
                buffer: Vec::with_capacity(1024),
                prices: Vec::new(),
                heard: 0,
                ended: false,
                system: None,
                token: None,
                tokens: 0,
            },
            options,
            budget: Budget::default(),
            next_message: 0,
            latest: 0,
        }
    }

    /// A session that goes on after `before`: trades already seen are not taken twice, missing ones are noticed, and a
    /// pair that is gone is noticed.
    #[must_use]
    pub fn after(id: &str, options: Options, before: &Self) -> Self {
        let mut session = Self::new(id, options);
        session.state.last_trades.clone_from(&before.state.last_trades);
        session.state.out.secrets.clone_from(&before.state.out.secrets);
        for symbol in &before.state.symbols {
            if let Some(id) = symbol.last_trade {
                session.state.last_trades.insert(symbol.name.clone(), id);
            }
            if symbol.selected {
                session.state.missing.push(symbol.name.clone());
            }
        }
        session.state.missing.extend(before.state.missing.iter().cloned());
        session
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The latest time it was told, ns.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.state.out.now
    }

    /// Receive time of the latest frame, ns; 0 before the first.
    #[must_use]
    pub fn last_received(&self) -> i64 {
        self.state.heard
    }

    /// State of the exchange as it last said: `online`, `maintenance`, …
    #[must_use]
    pub fn system(&self) -> Option<&str> {
        self.state.system.as_deref()
    }

    /// Takes one frame with its receive time, ns. Bad input is counted and written to the ledger; the session goes on.
    pub fn receive(&mut self, frame: &[u8], ts_recv: i64) {
        self.take_frame(frame, Some(ts_recv));
    }

    /// Takes one recorded frame whose receive time is not known: the largest exchange time so far stands in.
    pub fn receive_untimed(&mut self, frame: &[u8]) {
        self.take_frame(frame, None);
    }

    /// The first exchange time that one of `frames` carries; it stands in for the receive time of those before it.
    pub fn first_time(&mut self, frames: &[&[u8]]) {
        if self.latest == 0 {
            let time = |frame: &&[u8]| self.decoder.decode(frame, |message, _| message.timestamp()).ok().flatten();
            self.latest = frames.iter().find_map(time).unwrap_or(0);
        }
    }

    fn take_frame(&mut self, frame: &[u8], ts_recv: Option<i64>) {
        let Self { options, decoder, state, next_message, latest, .. } = self;
        if state.ended {
            return;
        }
        let hidden = state.out.without_secrets(frame);
        let frame = &*hidden;
        let number = *next_message;
        *next_message += 1;
        let mut begin = |state: &mut State, ts_event: Option<i64>| {
            let now = ts_recv.unwrap_or_else(|| {
                *latest = (*latest).max(ts_event.unwrap_or(0));
                *latest
            });
            state.step(now, number);
            state.out.now = now;
            state.heard = now;
            state.out.message = Some(number);
            state.out.counts.frames += 1;
            if options.frames {
                let place = state.out.place(0, None, None);
                state.out.row(Table::Frames, &place, [Cell::Bytes(frame)]);
            }
        };
        if let Some((kind, data, entries)) = decoder.book(frame) {
            begin(state, data.timestamp);
            if state.update(options, kind, &data, entries).is_none() {
                state.books::<Book>(options, kind, std::slice::from_ref(&data), decoder.levels());
            }
            return;
        }
        let decoded = decoder.decode_other(frame, |message, entries| {
            begin(state, message.timestamp());
            state.handle(options, &message, entries);
        });
        state.out.counts.unknown_fields = decoder.unknown_fields;
        if let Err(error) = decoded {
            begin(state, None);
            state.out.count("undecoded");
            state.refuse(&error, None, frame);
            state.unread(options, frame);
        }
    }

    /// Lets time pass: `alive` rows, checkpoints, retries that fell due.
    pub fn tick(&mut self, now: i64) {
        if self.state.ended {
            return;
        }
        self.state.step(now, self.next_message);
        self.state.out.now = self.state.out.now.max(now);
        if !self.options.passive {
            self.state.overdue(now);
        }
    }

    /// Requests to send now, in order; each is handed out once. Subscriptions of level 3 keep to a budget of its own.
    pub fn requests(&mut self, now: i64) -> Vec<String> {
        let mut budget = std::mem::take(&mut self.budget);
        let requests = self.requests_within(now, &mut budget);
        self.budget = budget;
        requests
    }

    /// The same with a budget that several sessions share.
    pub fn requests_within(&mut self, now: i64, budget: &mut Budget) -> Vec<String> {
        if self.options.passive || self.state.ended {
            return Vec::new();
        }
        self.state.requests(&self.options, now, budget)
    }

    /// Takes from another session what it knows of pairs, as if the instrument channel had said it here. Patterns choose
    /// among them as ever.
    pub fn import_pairs(&mut self, other: &Self, symbols: &[String], now: i64) {
        self.state.out.now = self.state.out.now.max(now);
        for name in symbols {
            let known = |state: &State| state.index.get(&**name).and_then(|i| state.symbols[i].pair.clone());
            if let Some(pair) = known(&other.state)
                && known(&self.state).as_ref() != Some(&pair)
            {
                self.state.pair(&self.options, &pair);
            }
        }
    }

    /// Holds the best prices of level 3, which comes on a connection of its own, against those that another session has
    /// of the book, or of the ticker: they too bear witness. See `State::stale`.
    pub fn cross_check(&mut self, other: &Self, now: i64) {
        if self.state.ended {
            return;
        }
        self.state.out.now = self.state.out.now.max(now);
        for i in 0..self.state.symbols.len() {
            if let Some(at) = other.state.index.get(&*self.state.symbols[i].name) {
                self.state.stale_orders(i, &other.state.symbols[at], now);
            }
        }
    }

    /// Whether there is level 3 to subscribe or to leave, and no token for it, or one that was refused.
    #[must_use]
    pub fn token_wanted(&self) -> bool {
        let waits = |symbol: &Symbol| {
            matches!(symbol.subscriptions[Channel::Level3 as usize].standing, Standing::Wanted(_) | Standing::Bad(_))
        };
        self.state.token.is_none() && !self.state.ended && self.state.symbols.iter().any(waits)
    }

    /// Gives it a token for level 3.
    pub fn set_token(&mut self, token: &str) {
        self.state.token = Some(token.into());
        let secrets = &mut self.state.out.secrets;
        secrets.extend(Secret::new(token));
        if secrets.len() > limits::SECRETS_MAX {
            secrets.pop_front();
        }
        self.state.tokens += 1;
    }

    /// A ping request, with a number of its own.
    pub fn ping(&mut self) -> String {
        let id = self.state.request_id();
        format!("{{\"method\":\"ping\",\"req_id\":{id}}}")
    }

    /// Adds a row to the ledger that only the caller can know of.
    pub fn add_ledger_row(&mut self, event: Event) {
        self.state.out.ledger(event);
    }

    /// The connection is gone: all books end, the ledger says so. Later frames are ignored.
    pub fn end(&mut self, now: i64, detail: &str) {
        if self.state.ended {
            return;
        }
        let state = &mut self.state;
        state.out.now = now;
        state.alive(now);
        for symbol in &mut state.symbols {
            symbol.book.life.end();
            symbol.orders.life.end();
        }
        let count = state.out.counts.frames;
        let event = Event {
            count: Some(count),
            // A connection can be dead for long before that is noticed.
            ts_from: (state.heard > 0).then_some(state.heard),
            ts_to: Some(now),
            detail: Some(fact("reason", detail)),
            ..state.out.event("disconnect", None, "")
        };
        state.out.ledger(event);
        state.ended = true;
    }

    /// Ledger rows since the last call, but for `alive`.
    pub fn take_ledger(&mut self) -> Vec<Event> {
        self.state.out.events.drain(..).collect()
    }

    /// Rows waiting to be taken.
    #[must_use]
    pub fn pending_rows(&self) -> usize {
        let Out { tables, book, orders, .. } = &self.state.out;
        tables.iter().map(|rows| rows.len).sum::<usize>() + book.rows() + orders.rows()
    }

    /// The rows collected since the last call; tables without rows are left out.
    pub fn drain(&mut self) -> Vec<Rows> {
        let State { out, symbols, .. } = &mut self.state;
        let name = |symbol: usize| (&*symbols[symbol].name, symbols[symbol].view);
        let mut taken: Vec<_> = out.book.take(name).into_iter().chain(out.orders.take(name)).collect();
        let others = out.tables.iter_mut().filter(|rows| rows.len > 0);
        taken.extend(others.map(|rows| std::mem::replace(rows, Rows::new(rows.table))));
        taken
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.state.out.counts
    }

    /// Channel, symbol, state and its reason of every wanted subscription.
    pub fn subscriptions(&self) -> impl Iterator<Item = (Channel, &str, &'static str, &'static str)> {
        let now = self.state.out.now;
        self.state.symbols.iter().flat_map(move |symbol| {
            Channel::ALL.into_iter().filter_map(move |channel| {
                let subscription = &symbol.subscriptions[channel as usize];
                let told = (channel, &*symbol.name, subscription.word(now), subscription.reason);
                (subscription.standing != Standing::Off).then_some(told)
            })
        })
    }

    /// The pairs that the instrument channel described, and whether each was chosen.
    pub fn pairs(&self) -> impl Iterator<Item = (&Pair, bool)> {
        self.state.symbols.iter().filter_map(|symbol| symbol.pair.as_ref().map(|pair| (pair, symbol.selected)))
    }

    /// Books that live, of both kinds.
    #[must_use]
    pub fn live(&self) -> usize {
        self.state.symbols.iter().map(Symbol::live).sum()
    }

    /// How many pairs, subscriptions and books stand where.
    #[must_use]
    pub fn standings(&self) -> Standings {
        let mut found = Standings::default();
        for symbol in &self.state.symbols {
            found.live += symbol.live();
            found.pairs += usize::from(symbol.pair.is_some());
            found.selected += usize::from(symbol.pair.is_some() && symbol.selected);
            for subscription in &symbol.subscriptions {
                match subscription.standing {
                    Standing::Off | Standing::Gone => {}
                    Standing::Live => found.subscribed += 1,
                    Standing::Refused => found.refused += 1,
                    Standing::Wanted(_)
                    | Standing::Asked(_)
                    | Standing::Granted(_)
                    | Standing::Bad(_)
                    | Standing::Leaving(_) => found.waiting += 1,
                }
            }
        }
        found
    }

    /// The book of `symbol`, if it lives.
    #[must_use]
    pub fn book(&self, symbol: &str) -> Option<&Book> {
        self.state.index.get(symbol).and_then(|i| self.state.symbols[i].book.life.book())
    }

    /// The level-3 book of `symbol`, if it lives.
    #[must_use]
    pub fn orders(&self, symbol: &str) -> Option<&crate::book::level3::Life> {
        let life = &self.state.symbols[self.state.index.get(symbol)?].orders.life;
        life.book().is_some().then_some(life)
    }
}

impl State {
    fn request_id(&mut self) -> u64 {
        self.next_request += 1;
        self.next_request - 1
    }

    /// Keeps what a request was about until its answers have come. Requests that are never answered are forgotten after
    /// a thousand others.
    fn remember(&mut self, id: u64, channel: Option<Channel>, symbols: &[usize]) {
        self.asked.insert(id, Asked { channel, symbols: symbols.to_vec(), token: self.tokens });
        self.asked.retain(|&old, _| old + 1000 > id);
    }

    /// The duties of the clock, if some are due; `next` is the number of the frame to come.
    #[inline]
    fn step(&mut self, now: i64, next: u64) {
        if now >= self.next_step {
            self.duties(now, next);
        }
    }

    fn duties(&mut self, now: i64, next: u64) {
        self.next_step = now + STEP;
        if self.last_alive == 0 {
            self.last_alive = now;
        }
        if now - self.last_alive >= SECOND {
            self.alive(now);
        }
        // Books whose last checkpoint is of an earlier hour, a few at a time.
        let hour = now.div_euclid(HOUR);
        if hour <= self.checkpointed {
            return;
        }
        let mut written = 0;
        for _ in 0..self.symbols.len() {
            if written >= limits::CHECKPOINTS_MAX {
                return;
            }
            self.checkpoint_cursor = (self.checkpoint_cursor + 1) % self.symbols.len();
            let symbol = &mut self.symbols[self.checkpoint_cursor];
            self.out.now = self.out.now.max(now);
            written += usize::from(checkpoint::<Book>(symbol, &mut self.out, hour, next));
            written += usize::from(checkpoint::<Orders>(symbol, &mut self.out, hour, next));
        }
        self.checkpointed = hour;
    }

    /// Says how far the recording has come, and how many rows each table got since the last time.
    fn alive(&mut self, now: i64) {
        if self.errors_unsaid > 0 {
            let count = Some(self.errors_unsaid);
            let event = Event { count, ts_recv: now, ..self.out.event("decode_error", None, "") };
            self.out.ledger(event);
        }
        self.error_rows = 0;
        self.errors_unsaid = 0;
        let mut detail = String::from("{\"rows\":{");
        for (table, rows) in Table::ALL.into_iter().zip(std::mem::take(&mut self.out.since)) {
            if rows > 0 {
                let comma = if detail.ends_with('{') { "" } else { "," };
                // Writing to a String cannot fail.
                let _ = write!(detail, "{comma}\"{}\":{rows}", table.name());
            }
        }
        detail.push_str("}}");
        let next = self.out.message.map_or(0, |message| message + 1);
        let event = Event {
            kind: "alive".into(),
            ts_recv: now,
            ts_from: Some(self.last_alive),
            ts_to: Some(now),
            count: Some(next - self.alive_message),
            detail: Some(detail),
            ..Event::default()
        };
        self.out.ledger(event);
        self.alive_message = next;
        self.last_alive = now;
    }

    /// Counts a refused frame or message; the ledger gets the first few of each second with an excerpt.
    fn refuse(&mut self, error: &Error, book: Option<(usize, Channel)>, frame: &[u8]) {
        self.out.counts.errors += 1;
        let name = book.map_or("", |(i, _)| &self.symbols[i].name);
        // A row that ends the life of a book is always written: verify goes by it.
        if self.error_rows >= limits::ERROR_ROWS_MAX && book.is_none() {
            self.errors_unsaid += 1;
            return;
        }
        self.error_rows += 1;
        let mut detail = fact("error", &error.to_string());
        if !frame.is_empty() {
            detail.pop();
            detail.push_str(",\"excerpt\":");
            let excerpt = &frame[..frame.len().min(limits::EXCERPT_MAX)];
            write_text(&String::from_utf8_lossy(excerpt), &mut detail);
            let _ = write!(detail, ",\"bytes\":{}}}", frame.len());
        }
        let kind = if matches!(error, Error::Limit { .. }) { "limit" } else { "decode_error" };
        let channel = book.map(|(_, channel)| channel);
        let event = Event { count: Some(1), detail: Some(detail), ..self.out.event(kind, channel, name) };
        self.out.ledger(event);
    }

    fn handle(&mut self, options: &Options, message: &Message<'_>, entries: Entries<'_, '_>) {
        match message {
            Message::Book(kind, data) => self.books::<Book>(options, *kind, data, entries.levels),
            Message::Level3(kind, data) => self.books::<Orders>(options, *kind, data, entries.orders),
            Message::Trade(kind, data) => {
                self.out.count("trade");
                for (i, trade) in data.iter().enumerate() {
                    self.trade(options, *kind, trade, i);
                }
            }
            Message::Ticker(kind, data) => {
                self.out.count("ticker");
                for (i, ticker) in data.iter().enumerate() {
                    self.ticker(options, *kind, ticker, i);
                }
            }
            Message::Ohlc(kind, time, data) => {
                self.out.count("ohlc");
                for (i, ohlc) in data.iter().enumerate() {
                    self.ohlc(options, *kind, *time, ohlc, i);
                }
            }
            Message::Instrument(kind, assets, pairs) => {
                self.out.count("instrument");
                for (i, asset) in assets.iter().enumerate() {
                    self.asset(asset, i);
                }
                for (i, pair) in pairs.iter().enumerate() {
                    if self.index.get(&*pair.symbol).is_some() || self.add(&pair.symbol).is_some() {
                        pair_row(&mut self.out, &pair.symbol, pair, Origin::Instrument, i);
                        self.pair(options, pair);
                    }
                }
                if *kind == Kind::Snapshot {
                    self.instrument = Standing::Live;
                    // What an earlier session followed and the exchange no longer lists.
                    for name in std::mem::take(&mut self.missing) {
                        let event = Event {
                            detail: Some(fact("reason", "no longer listed after a reconnect")),
                            ..self.out.event("delisted", None, &name)
                        };
                        self.out.ledger(event);
                    }
                }
            }
            Message::Status(data) => {
                self.out.count("status");
                for (i, status) in data.iter().enumerate() {
                    self.status(status, i);
                }
            }
            Message::Heartbeat => self.out.count("heartbeat"),
            Message::Reply(reply) => {
                self.out.count(if reply.method == "pong" { "pong" } else { "reply" });
                self.reply(options, reply);
            }
            Message::Other(channel) => self.out.count(channel),
        }
    }

    /// The symbol of a data message; `None`, counted, if it was never asked for.
    #[inline]
    fn symbol(&mut self, options: &Options, name: &[u8], channel: Channel) -> Option<usize> {
        let wanted =
            |&i: &usize| options.passive || self.symbols[i].subscriptions[channel as usize].standing != Standing::Off;
        let found = self.index.get(name).filter(wanted);
        found.or_else(|| self.unknown(options, name))
    }

    #[cold]
    fn unknown(&mut self, options: &Options, name: &[u8]) -> Option<usize> {
        let name = String::from_utf8_lossy(name);
        if options.passive {
            return self.add(&name);
        }
        self.refuse(&Error::Symbol { symbol: name.chars().take(limits::SYMBOL_LENGTH_MAX).collect() }, None, b"");
        None
    }

    fn add(&mut self, name: &str) -> Option<usize> {
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
            book: Followed::default(),
            orders: Followed::default(),
            precision: None,
            last_trade: self.last_trades.get(name).copied(),
            traded: None,
            quoted: [None; 3],
            differs: [None; 3],
        });
        self.index.insert(name.as_bytes(), i);
        Some(i)
    }

    /// Settles the precision in force for a message of books: the instrument channel's, else the option's, else what the
    /// digits show.
    fn precision<B: Kept>(&mut self, options: &Options, i: usize, kind: Kind, entries: &[B::Entry<'_>]) -> (u8, u8) {
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
                self.precision_event(&name, settled);
            }
        }
        (settled.0, settled.1)
    }

    fn precision_event(&mut self, name: &str, (price, qty, origin): (u8, u8, Origin)) {
        let detail = format!("{{\"price\":{price},\"qty\":{qty},\"origin\":\"{}\"}}", origin.word());
        let event = Event { detail: Some(detail), ..self.out.event("precision", None, name) };
        self.out.ledger(event);
    }

    /// Settles the depth in force: the ack's, else the option's, else the smallest that holds the snapshot.
    fn depth<B: Kept>(&mut self, options: &Options, i: usize, kind: Kind, entries: &[B::Entry<'_>]) -> u16 {
        let followed = B::of(&mut self.symbols[i]);
        let told = B::depth_option(options).map(|depth| (depth, "option"));
        let longer = || smallest_depth(B::longer(entries));
        let (depth, from) = match (followed.depth.or(told), kind) {
            (Some((_, "inferred")), Kind::Snapshot) | (None, _) => (longer(), "inferred"),
            (Some(known), _) => known,
        };
        followed.depth = Some((depth, from));
        depth
    }

    /// The same as [`Self::books`] of an update, if all is as it nearly always is: the book lives, precision and depth
    /// are known, numbers are written at that precision, no checkpoint is due. `None`, and nothing done, otherwise.
    #[inline]
    fn update(&mut self, options: &Options, kind: Kind, data: &BookData<'_>, entries: &[ShortEntry]) -> Option<()> {
        let i = self.index.get(data.symbol)?;
        let symbol = &mut self.symbols[i];
        let subscription = &mut symbol.subscriptions[Channel::Book as usize];
        let (Some((price_precision, qty_precision, Origin::Instrument | Origin::Option)), Some((depth, _))) =
            (symbol.precision, symbol.book.depth)
        else {
            return None;
        };
        if kind != Kind::Update
            || (subscription.standing == Standing::Off && !options.passive)
            || symbol.book.hour < self.out.now.div_euclid(HOUR)
        {
            return None;
        }
        let tens = |precision| Some(pow10(limits::SCALE.checked_sub(precision)?));
        let (price_tens, qty_tens) = (tens(price_precision)?, tens(qty_precision)?);
        let terms = Terms { kind, checksum: data.checksum, depth, price_precision, qty_precision };
        let outcome = symbol.book.life.update(&terms, entries)?;
        subscription.heard = self.out.now;
        self.out.count(Channel::Book.name());
        self.out.counts.absent += std::mem::take(&mut symbol.book.life.absent);
        let rows = self.out.book.push(self.out.run(0, data.timestamp, i, terms), entries.len(), |levels| {
            for entry in entries {
                levels.push(entry.side, i128::from(entry.price) * price_tens, i128::from(entry.qty) * qty_tens);
            }
        });
        self.out.collected(Table::Book, rows);
        if outcome == Outcome::Ok {
            self.out.counts.book.ok += 1;
        } else {
            self.outcome::<Book>(options, i, outcome, data.checksum.is_some());
        }
        Some(())
    }

    /// The messages of one frame of the book channel or of level 3.
    fn books<B: Kept>(&mut self, options: &Options, kind: Kind, data: &[BookData<'_>], entries: &[B::Entry<'_>]) {
        self.out.count(B::CHANNEL.name());
        let mut first = 0;
        for item in data {
            self.book::<B>(options, kind, item, &entries[item.entries.clone()], first);
            first += item.entries.len().max(1);
        }
    }

    fn book<B: Kept>(
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
        symbol.subscriptions[B::CHANNEL as usize].heard = self.out.now;
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
        let terms = Terms { kind, checksum: data.checksum, depth, price_precision, qty_precision };
        let followed = B::of(symbol);
        let replaced = followed.life.book().map_or(0, B::replaced);
        let outcome = match followed.life.apply(&terms, entries, &mut self.buffer) {
            Ok(outcome) => outcome,
            Err(Error::Decimal { text, scale, .. }) => {
                let error = Error::Decimal { symbol: symbol.name.to_string(), text, scale };
                return self.refuse_book::<B>(i, kind, &error);
            }
            Err(error) => return self.refuse_book::<B>(i, kind, &error),
        };
        let replaced = match kind {
            Kind::Update => followed.life.book().map_or(0, B::replaced).saturating_sub(replaced),
            Kind::Snapshot => followed.life.book().map_or(0, B::replaced),
        };
        let absent = std::mem::take(&mut followed.life.absent);
        let out = &mut self.out;
        B::rows(out, out.run(first, data.timestamp, i, terms), entries, &self.prices);
        out.counts.absent += absent;
        out.counts.replaced += replaced;
        if kind == Kind::Snapshot {
            self.snapshot::<B>(i, &terms, entries.len());
        }
        self.outcome::<B>(options, i, outcome, data.checksum.is_some());
        if B::CHANNEL == Channel::Level3 {
            self.learnt::<B>(i);
            if let Some((what, count)) =
                [("unknown order", absent), ("order added twice", replaced)].into_iter().find(|(_, count)| *count > 0)
            {
                self.doubt::<B>(options, i, what, count);
            }
        }
    }

    /// A snapshot was taken: the ledger says on what terms.
    fn snapshot<B: Kept>(&mut self, i: usize, terms: &Terms, entries: usize) {
        let Terms { depth, price_precision, qty_precision, .. } = terms;
        let hour = self.out.now.div_euclid(HOUR);
        let symbol = &mut self.symbols[i];
        let followed = B::of(symbol);
        followed.refusals = 0;
        followed.hour = hour;
        // The clock may have been set back.
        self.checkpointed = self.checkpointed.min(hour);
        followed.explained = false;
        followed.doubted = false;
        let from = followed.depth.map_or("", |(_, from)| from);
        let origin = symbol.precision.map_or("", |(_, _, origin)| origin.word());
        let detail = format!(
            "{{\"depth\":{depth},\"depth_origin\":\"{from}\",\"price_precision\":{price_precision},\
             \"qty_precision\":{qty_precision},\"precision_origin\":\"{origin}\"}}"
        );
        let count = Some(entries as u64);
        let event = Event { count, detail: Some(detail), ..self.out.event("snapshot", Some(B::CHANNEL), &symbol.name) };
        self.out.ledger(event);
        let subscription = &mut symbol.subscriptions[B::CHANNEL as usize];
        if matches!(subscription.standing, Standing::Asked(_) | Standing::Granted(_)) {
            subscription.live(self.out.now);
        }
    }

    fn outcome<B: Kept>(&mut self, options: &Options, i: usize, outcome: Outcome, proved: bool) {
        let symbol = &mut self.symbols[i];
        let out = &mut self.out;
        match outcome {
            Outcome::Ok => B::tally(&mut out.counts).ok += 1,
            Outcome::Unchecked => {
                out.counts.unchecked += 1;
                let followed = B::of(symbol);
                if !followed.explained && proved {
                    // Nothing before this said that the book is not alive: an update without a snapshot.
                    followed.explained = true;
                    let detail = Some(fact("reason", "update without a snapshot"));
                    let event = Event { detail, ..out.event("gap", Some(B::CHANNEL), &symbol.name) };
                    out.ledger(event);
                }
            }
            Outcome::Mismatch { expected, computed } => {
                B::tally(&mut out.counts).bad += 1;
                let detail = Some(format!("{{\"expected\":{expected},\"computed\":{computed}}}"));
                let event = Event { detail, ..out.event("mismatch", Some(B::CHANNEL), &symbol.name) };
                out.ledger(event);
                self.resync(options, i, B::CHANNEL, "checksum mismatch");
            }
            Outcome::Crossed => {
                B::tally(&mut out.counts).bad += 1;
                let event = out.event("crossed", Some(B::CHANNEL), &symbol.name);
                out.ledger(event);
                self.resync(options, i, B::CHANNEL, "crossed book");
            }
        }
    }

    /// Says what the checksum told of the exchange, the first time and when it is something else.
    fn learnt<B: Kept>(&mut self, i: usize) {
        let symbol = &mut self.symbols[i];
        let followed = B::of(symbol);
        let Some((habit, word)) = followed.life.book().and_then(B::learnt) else { return };
        if followed.habit != Some(habit) {
            followed.habit = Some(habit);
            let detail = Some(fact("verified", word));
            let event = Event { detail, ..self.out.event("modify_rule", Some(B::CHANNEL), &symbol.name) };
            self.out.ledger(event);
        }
    }

    /// A message may be lost: one named an order that is not held, or added one that is, or could not be read. What the
    /// checksum proves still holds, so the book lives on until it is left, to be asked for again.
    fn doubt<B: Kept>(&mut self, options: &Options, i: usize, what: &'static str, count: u64) {
        if B::of(&mut self.symbols[i]).newly_doubted() {
            let event = Event {
                count: Some(count),
                detail: Some(fact("reason", what)),
                ..self.out.event("doubt", Some(B::CHANNEL), &self.symbols[i].name)
            };
            self.out.ledger(event);
            self.settle_doubt(options, i, B::CHANNEL, what);
        }
    }

    fn settle_doubt(&mut self, options: &Options, i: usize, channel: Channel, what: &'static str) {
        let Subscription { standing, .. } = self.symbols[i].subscriptions[channel as usize];
        if !options.passive && standing == Standing::Live {
            self.ask_again(i, channel, what);
        }
    }

    /// A frame could not be read, and may have changed a book: of the symbol that its beginning names, or else any. The
    /// next checksum of a symbol finds what is wrong among its best ten levels; below them nothing does.
    fn unread(&mut self, options: &Options, frame: &[u8]) {
        let what = "a frame that could not be read";
        let of = whose(frame);
        let i = of.and_then(|(_, symbol)| self.index.get(symbol));
        match (of, i) {
            (Some((None, _)), _) => {}
            (Some((Some(Channel::Book), _)), Some(i)) => self.doubt::<Book>(options, i, what, 1),
            (Some((Some(_), _)), Some(i)) => self.doubt::<Orders>(options, i, what, 1),
            _ => {
                let mut doubted = Vec::new();
                for (i, symbol) in self.symbols.iter_mut().enumerate() {
                    doubted.extend(symbol.book.newly_doubted().then_some((i, Channel::Book)));
                    doubted.extend(symbol.orders.newly_doubted().then_some((i, Channel::Level3)));
                }
                if doubted.is_empty() {
                    return;
                }
                // One row, without a symbol, speaks for all.
                let count = Some(doubted.len() as u64);
                let event = Event { count, detail: Some(fact("reason", what)), ..self.out.event("doubt", None, "") };
                self.out.ledger(event);
                for (i, channel) in doubted {
                    self.settle_doubt(options, i, channel, what);
                }
            }
        }
    }

    fn unholdable<B: Kept>(&mut self, i: usize, kind: Kind, value: Decimal) {
        let symbol = self.symbols[i].name.to_string();
        let error = Error::Decimal { symbol, text: value.to_string(), scale: limits::SCALE };
        self.refuse_book::<B>(i, kind, &error);
    }

    /// A message of books that cannot be held: the book's life ends; after two such snapshots the symbol is given up.
    fn refuse_book<B: Kept>(&mut self, i: usize, kind: Kind, error: &Error) {
        self.refuse(error, Some((i, B::CHANNEL)), b"");
        let now = self.out.now;
        let symbol = &mut self.symbols[i];
        let followed = B::of(symbol);
        followed.end();
        if kind == Kind::Snapshot {
            followed.refusals += 1;
        }
        let given_up = followed.refusals >= 2;
        let subscription = &mut symbol.subscriptions[B::CHANNEL as usize];
        if given_up {
            (subscription.standing, subscription.reason) = (Standing::Gone, "its numbers cannot be held");
            let detail = Some(fact("reason", &error.to_string()));
            let event = Event { detail, ..self.out.event("gone", Some(B::CHANNEL), &symbol.name) };
            self.out.ledger(event);
        } else if subscription.standing != Standing::Off {
            (subscription.standing, subscription.reason) =
                (Standing::Bad(subscription.pause(now)), "its numbers cannot be held");
        }
    }

    /// The book of a symbol is not the exchange's: its life ends, and it is asked for again.
    fn resync(&mut self, options: &Options, i: usize, channel: Channel, reason: &'static str) {
        self.symbols[i].end(channel);
        if !options.passive {
            self.ask_again(i, channel, reason);
        }
    }

    /// A book is to be left and asked for again. Kraken sends no new snapshot to a second subscribe, so the way is
    /// unsubscribe, its ack, subscribe.
    fn ask_again(&mut self, i: usize, channel: Channel, reason: &'static str) {
        let now = self.out.now;
        let symbol = &mut self.symbols[i];
        let subscription = &mut symbol.subscriptions[channel as usize];
        let at = subscription.pause(now);
        (subscription.standing, subscription.reason) = (Standing::Bad(at), reason);
        let event = Event {
            ts_from: Some(at),
            detail: Some(fact("reason", reason)),
            ..self.out.event("resync", Some(channel), &symbol.name)
        };
        self.out.ledger(event);
    }

    fn trade(&mut self, options: &Options, kind: Kind, trade: &Trade<'_>, entry: usize) {
        let Some(i) = self.symbol(options, trade.symbol.as_bytes(), Channel::Trade) else { return };
        let symbol = &mut self.symbols[i];
        symbol.subscriptions[Channel::Trade as usize].heard = self.out.now;
        let out = &mut self.out;
        if let Some(last) = symbol.last_trade {
            // A snapshot after a reconnect repeats trades that were already taken.
            if kind == Kind::Snapshot && trade.trade_id <= last {
                return;
            }
            if trade.trade_id > last.saturating_add(1) {
                let detail = Some(format!("{{\"first\":{},\"last\":{}}}", last + 1, trade.trade_id - 1));
                let count = u64::try_from(trade.trade_id - last - 1).ok();
                let event = Event { count, detail, ..out.event("trade_gap", Some(Channel::Trade), &symbol.name) };
                out.ledger(event);
            }
        }
        let (Some(price), Some(qty)) = (trade.price.rescale(limits::SCALE), trade.qty.rescale(limits::SCALE)) else {
            let text = format!("{} or {}", trade.price, trade.qty);
            let error = Error::Decimal { symbol: symbol.name.to_string(), text, scale: limits::SCALE };
            return self.refuse(&error, None, b"");
        };
        symbol.last_trade = symbol.last_trade.max(Some(trade.trade_id));
        symbol.traded = Some(trade.price);
        let place = out.place(entry, Some(trade.timestamp), Some(&symbol.name));
        let cells = [
            kind_cell(kind),
            Cell::Text(trade.side),
            Cell::Decimal(price),
            Cell::Decimal(qty),
            Cell::Text(trade.ord_type),
            Cell::I64(trade.trade_id),
            Cell::of(symbol.precision, |(price, _, _)| Cell::U8(price)),
            Cell::of(symbol.precision, |(_, qty, _)| Cell::U8(qty)),
        ];
        out.row(Table::Trades, &place, cells);
    }

    fn ticker(&mut self, options: &Options, kind: Kind, ticker: &Ticker<'_>, entry: usize) {
        let Some(i) = self.symbol(options, ticker.symbol.as_bytes(), Channel::Ticker) else { return };
        let [bid, _, ask, _, last, ..] = ticker.numbers;
        self.symbols[i].subscriptions[Channel::Ticker as usize].heard = self.out.now;
        self.symbols[i].quoted = [bid, ask, last];
        let place = self.out.place(entry, ticker.timestamp, Some(&self.symbols[i].name));
        let mut cells = [Cell::Null; 13];
        cells[0] = kind_cell(kind);
        cells[1..12].copy_from_slice(&ticker.numbers.map(column));
        cells[12] = Cell::text_or_null(&ticker.extra);
        self.out.row(Table::Ticker, &place, cells);
    }

    fn ohlc(&mut self, options: &Options, kind: Kind, time: Option<i64>, ohlc: &Ohlc<'_>, entry: usize) {
        let Some(i) = self.symbol(options, ohlc.symbol.as_bytes(), Channel::Ohlc) else { return };
        self.symbols[i].subscriptions[Channel::Ohlc as usize].heard = self.out.now;
        let place = self.out.place(entry, time, Some(&self.symbols[i].name));
        let mut cells = [Cell::Null; 11];
        cells[0] = kind_cell(kind);
        cells[1] = Cell::U16(ohlc.interval);
        cells[2] = Cell::Time(ohlc.interval_begin);
        cells[3..9].copy_from_slice(&ohlc.numbers.map(column));
        cells[9] = Cell::of(ohlc.trades, Cell::U64);
        cells[10] = Cell::text_or_null(&ohlc.extra);
        self.out.row(Table::Ohlc, &place, cells);
    }

    fn status(&mut self, status: &Status<'_>, entry: usize) {
        self.system = Some(status.system.chars().take(limits::SYMBOL_LENGTH_MAX).collect());
        let place = self.out.place(entry, None, None);
        let cells = [
            Cell::Text(status.system),
            Cell::of(status.version, Cell::Text),
            Cell::of(status.api_version, Cell::Text),
            Cell::of(status.connection_id, Cell::U64),
            Cell::text_or_null(&status.extra),
        ];
        self.out.row(Table::Status, &place, cells);
    }

    fn asset(&mut self, asset: &Asset, entry: usize) {
        let place = self.out.place(entry, None, None);
        let cells = [
            Cell::Text(&asset.id),
            Cell::Text(&asset.status),
            Cell::of(asset.precision, Cell::U8),
            Cell::of(asset.precision_display, Cell::U8),
            Cell::of(asset.borrowable, Cell::Bool),
            column(asset.collateral_value),
            column(asset.margin_rate),
            Cell::of(asset.class.as_deref(), Cell::Text),
            Cell::text_or_null(&asset.extra),
        ];
        self.out.row(Table::Assets, &place, cells);
    }

    /// A pair, new or changed.
    fn pair(&mut self, options: &Options, pair: &Pair) {
        let found = self.index.get(&*pair.symbol);
        let Some(i) = found.or_else(|| self.add(&pair.symbol)) else { return };
        let now = self.out.now;
        let first = self.instrument != Standing::Live;
        let symbol = &mut self.symbols[i];
        let known_before = symbol.pair.is_some();
        let precision = (pair.price_precision, pair.qty_precision, Origin::Instrument);
        let precision_changed = symbol.precision.is_some_and(|p| p != precision);
        let status_changed = symbol.pair.as_ref().is_some_and(|p| p.status != pair.status);
        symbol.pair = Some(pair.clone());
        let holdable = pair.price_precision <= limits::SCALE && pair.qty_precision <= limits::SCALE;
        symbol.precision = Some(precision);
        let name = symbol.name.clone();
        if precision_changed {
            // What was refused for its digits may be held now.
            (symbol.book.refusals, symbol.orders.refusals) = (0, 0);
            // What Kraken does to a live book at that moment is not documented: it is left and asked for again.
            self.precision_event(&name, precision);
            for channel in [Channel::Book, Channel::Level3] {
                if self.symbols[i].subscriptions[channel as usize].standing == Standing::Live {
                    self.resync(options, i, channel, "precision changed");
                    let event = Event {
                        detail: Some(fact("reason", "precision changed")),
                        ..self.out.event("gap", Some(channel), &name)
                    };
                    self.out.ledger(event);
                }
            }
        }
        if options.passive {
            return;
        }
        let chosen = options.symbols.iter().any(|pattern| matches(pattern, &name))
            && !options.exclude.iter().any(|pattern| matches(pattern, &name));
        if !chosen {
            return;
        }
        self.missing.retain(|missing| *missing != name);
        let symbol = &mut self.symbols[i];
        if pair.status == "delisted" {
            let live = symbol.subscriptions.iter().any(|s| !matches!(s.standing, Standing::Off | Standing::Gone));
            for subscription in &mut symbol.subscriptions {
                if subscription.standing != Standing::Off {
                    subscription.standing = Standing::Gone;
                }
            }
            symbol.book.end();
            symbol.orders.end();
            if live || (symbol.selected && status_changed) {
                let event = self.out.event("delisted", None, &name);
                self.out.ledger(event);
            }
            return;
        }
        if !holdable {
            for subscription in &mut symbol.subscriptions {
                if subscription.standing != Standing::Off {
                    subscription.standing = Standing::Gone;
                }
            }
            symbol.book.end();
            symbol.orders.end();
            let error = Error::Limit {
                what: "SCALE",
                limit: limits::SCALE.into(),
                found: pair.price_precision.max(pair.qty_precision).into(),
            };
            let event =
                Event { detail: Some(fact("reason", &error.to_string())), ..self.out.event("gone", None, &name) };
            self.out.ledger(event);
            return;
        }
        symbol.selected = true;
        if !first && !known_before {
            let event = self.out.event("listed", None, &name);
            self.out.ledger(event);
        }
        for &channel in &options.channels {
            let subscription = &mut self.symbols[i].subscriptions[channel as usize];
            let changed = status_changed || precision_changed;
            let again = matches!(subscription.standing, Standing::Refused | Standing::Gone) && changed;
            if subscription.standing == Standing::Off || again {
                subscription.standing = Standing::Wanted(now);
            }
        }
    }

    fn reply(&mut self, options: &Options, reply: &Reply<'_>) {
        if !matches!(reply.method, "subscribe" | "unsubscribe") {
            if let Some(error) = reply.error {
                let event = Event { detail: Some(fact("error", error)), ..self.out.event("refused", None, "") };
                self.out.ledger(event);
                self.out.counts.refused += 1;
            }
            return;
        }
        let subscribe = reply.method == "subscribe";
        let id = reply.req_id.and_then(|id| u64::try_from(id).ok());
        let asked = id.and_then(|id| self.asked.get_mut(&id).map(|asked| (id, asked)));
        if let (Some(error), Some((_, asked))) = (reply.error, &asked)
            && bad_token(error)
            && asked.token == self.tokens
        {
            self.token = None;
        }
        let mut channel = reply.channel.and_then(Channel::named);
        let mut symbols: Vec<usize> = reply.symbol.and_then(|name| self.index.get(name)).into_iter().collect();
        if let Some((id, asked)) = asked {
            channel = channel.or(asked.channel);
            if symbols.is_empty() && asked.channel.is_some() && reply.error.is_some() {
                // An error without a symbol (a depth that is not offered) is about all that is still open.
                symbols = std::mem::take(&mut asked.symbols);
            }
            asked.symbols.retain(|symbol| !symbols.contains(symbol));
            if asked.symbols.is_empty() {
                self.asked.remove(&id);
            }
        }
        let Some(channel) = channel else {
            return self.reply_without_symbols(reply, subscribe);
        };
        if symbols.is_empty() && options.passive {
            symbols.extend(reply.symbol.and_then(|name| self.add(name)));
        }
        for i in symbols {
            match (reply.error, subscribe) {
                (None, true) => self.granted(options, i, channel, reply),
                (None, false) => self.left(options, i, channel),
                (Some(error), _) => self.refused(options, i, channel, subscribe, error),
            }
        }
    }

    /// An answer about the instrument channel, or a refusal that names nothing known.
    fn reply_without_symbols(&mut self, reply: &Reply<'_>, subscribe: bool) {
        let now = self.out.now;
        let kind = match (reply.error, subscribe) {
            (Some(_), _) => "refused",
            (None, true) => "subscribed",
            (None, false) => "unsubscribed",
        };
        let instrument = matches!(self.instrument, Standing::Asked(_)) && reply.symbol.is_none();
        if let Some(error) = reply.error {
            self.out.counts.refused += 1;
            if instrument {
                // Without pairs there is nothing to record: try again later.
                self.instrument =
                    Standing::Wanted(now + if error == "Exceeded msg rate" { SECOND } else { 10 * SECOND });
            }
        } else if instrument {
            self.instrument = Standing::Granted(now);
        } else {
            // It grants nothing that anyone knows; a row without a symbol would speak for all of them.
            return;
        }
        let channel = if instrument { Some("instrument") } else { reply.channel };
        let symbol: String = reply.symbol.unwrap_or("").chars().take(limits::SYMBOL_LENGTH_MAX).collect();
        let event = Event {
            channel: channel.map(|name| name.chars().take(limits::SYMBOL_LENGTH_MAX).collect()),
            detail: reply.error.map(|error| fact("error", error)),
            ..self.out.event(kind, None, &symbol)
        };
        self.out.ledger(event);
    }

    fn granted(&mut self, options: &Options, i: usize, channel: Channel, reply: &Reply<'_>) {
        let now = self.out.now;
        let symbol = &mut self.symbols[i];
        let mut detail = String::new();
        if let Some(depth) = reply.depth.and_then(|d| u16::try_from(d).ok()).filter(|d| limits::DEPTHS.contains(d))
            && let Some(known) = match channel {
                Channel::Book => Some(&mut symbol.book.depth),
                Channel::Level3 => Some(&mut symbol.orders.depth),
                Channel::Trade | Channel::Ticker | Channel::Ohlc => None,
            }
        {
            *known = Some((depth, "ack"));
            detail = format!("{{\"depth\":{depth}");
        }
        if !reply.warnings.is_empty() {
            detail.push_str(if detail.is_empty() { "{\"warnings\":" } else { ",\"warnings\":" });
            match words(&reply.warnings) {
                Cow::Borrowed(all) => detail.push_str(all),
                Cow::Owned(cut) => write_text(&cut, &mut detail),
            }
        }
        if !detail.is_empty() {
            detail.push('}');
        }
        let event = Event {
            detail: (!detail.is_empty()).then_some(detail),
            ..self.out.event("subscribed", Some(channel), &symbol.name)
        };
        self.out.ledger(event);
        if options.passive {
            return;
        }
        let subscription = &mut symbol.subscriptions[channel as usize];
        if matches!(subscription.standing, Standing::Asked(_)) {
            if matches!(channel, Channel::Book | Channel::Level3) {
                subscription.standing = Standing::Granted(now);
            } else {
                subscription.live(now);
            }
        }
    }

    fn left(&mut self, options: &Options, i: usize, channel: Channel) {
        let now = self.out.now;
        let symbol = &mut self.symbols[i];
        // Updates until here still belonged to the old book.
        symbol.end(channel);
        let event = self.out.event("unsubscribed", Some(channel), &symbol.name);
        self.out.ledger(event);
        let subscription = &mut symbol.subscriptions[channel as usize];
        if !options.passive && matches!(subscription.standing, Standing::Leaving(_)) {
            subscription.standing = Standing::Wanted(now);
        }
    }

    fn refused(&mut self, options: &Options, i: usize, channel: Channel, subscribe: bool, error: &str) {
        let now = self.out.now;
        let symbol = &mut self.symbols[i];
        self.out.counts.refused += 1;
        let event =
            Event { detail: Some(fact("error", error)), ..self.out.event("refused", Some(channel), &symbol.name) };
        self.out.ledger(event);
        if options.passive {
            return;
        }
        let subscription = &mut symbol.subscriptions[channel as usize];
        if matches!(subscription.standing, Standing::Off | Standing::Gone) {
            return;
        }
        subscription.standing = match (error, subscribe) {
            // Not a refusal of this symbol: ask again, ever more slowly.
            (error, true) if passing(error) => {
                subscription.attempts = subscription.attempts.max(1);
                Standing::Wanted(subscription.pause(now))
            }
            (error, false) if passing(error) => {
                subscription.attempts = subscription.attempts.max(1);
                Standing::Bad(subscription.pause(now))
            }
            // The exchange still serves it and will send no snapshot: leave, then ask again.
            ("Already subscribed", true) => Standing::Bad(subscription.pause(now)),
            (_, true) => {
                subscription.reason = "refused by the exchange";
                Standing::Refused
            }
            // Not subscribed there any more, whatever the reason: ask.
            (_, false) => Standing::Wanted(subscription.pause(now)),
        };
    }

    /// Subscriptions whose answer is overdue are asked for again.
    fn overdue(&mut self, now: i64) {
        for i in 0..self.symbols.len() {
            for channel in Channel::ALL {
                let symbol = &mut self.symbols[i];
                let subscription = &mut symbol.subscriptions[channel as usize];
                let (next, reason) = match subscription.standing {
                    Standing::Asked(at) if now - at > ACK_TIMEOUT => {
                        (Standing::Wanted(subscription.pause(now)), "no answer to subscribe")
                    }
                    Standing::Granted(at) if now - at > SNAPSHOT_TIMEOUT => {
                        (Standing::Bad(subscription.pause(now)), "no snapshot")
                    }
                    Standing::Leaving(at) if now - at > ACK_TIMEOUT => {
                        (Standing::Wanted(subscription.pause(now)), "no answer to unsubscribe")
                    }
                    _ => continue,
                };
                (subscription.standing, subscription.reason) = (next, reason);
                let event = Event {
                    detail: Some(fact("reason", reason)),
                    ..self.out.event("resync", Some(channel), &symbol.name)
                };
                self.out.ledger(event);
            }
            self.stale(i, now);
        }
        match self.instrument {
            Standing::Asked(at) | Standing::Granted(at) if now - at > SNAPSHOT_TIMEOUT => {
                self.instrument = Standing::Wanted(now);
            }
            _ => {}
        }
    }

    /// Channels of a symbol bear witness of each other: the ticker and the book of the best prices, the ticker and the
    /// trades of the last price. Where two of them disagree for a while and one was silent all the while, that one is
    /// acknowledged and dead, and is asked for again.
    fn stale(&mut self, i: usize, now: i64) {
        let symbol = &mut self.symbols[i];
        let best = symbol.best();
        // Who was granted and never spoke is taken to have said what the other said first.
        if symbol.quoted == [None; 3] && symbol.subscription(Channel::Ticker).standing == Standing::Live {
            symbol.quoted = [best[0], best[1], None];
        }
        let [bid, ask, last] = symbol.quoted;
        if symbol.traded.is_none() && symbol.subscription(Channel::Trade).standing == Standing::Live {
            symbol.traded = last;
        }
        let disagree = [differ([bid, ask], best), differ([last], [symbol.traded])];
        for (pair, witness) in [Channel::Book, Channel::Trade].into_iter().enumerate() {
            if !disagree[pair] {
                self.symbols[i].differs[pair] = None;
                continue;
            }
            let since = *self.symbols[i].differs[pair].get_or_insert(now);
            if now - since <= STALE {
                continue;
            }
            self.symbols[i].differs[pair] = None;
            let symbol = &mut self.symbols[i];
            let heard = |channel: Channel| symbol.subscriptions[channel as usize].heard;
            // The one that spoke last is right. A trade alone brings no ticker.
            let channel = if heard(witness) < heard(Channel::Ticker) { witness } else { Channel::Ticker };
            let Subscription { standing, heard, .. } = symbol.subscriptions[channel as usize];
            let follows = channel != Channel::Ticker || witness == Channel::Book;
            if standing != Standing::Live || heard >= since || !follows {
                continue;
            }
            symbol.quoted = [None; 3];
            self.dead(i, channel, heard, now);
        }
    }

    /// The same of level 3, whose witness is another session's symbol.
    fn stale_orders(&mut self, i: usize, other: &Symbol, now: i64) {
        let symbol = &mut self.symbols[i];
        let book = other.best();
        let (best, channel) = if book == [None; 2] {
            ([other.quoted[0], other.quoted[1]], Channel::Ticker)
        } else {
            (book, Channel::Book)
        };
        // While nothing at all arrives here, it is the connection that is silent.
        let silent = now - self.heard > HEARTBEATS;
        if silent || !differ(best, symbol.best_orders()) {
            symbol.differs[2] = None;
            return;
        }
        let since = *symbol.differs[2].get_or_insert(now);
        let Subscription { standing, heard, .. } = *symbol.subscription(Channel::Level3);
        if now - since <= STALE {
            return;
        }
        symbol.differs[2] = None;
        if standing == Standing::Live && heard < since && heard < other.subscription(channel).heard {
            self.dead(i, Channel::Level3, heard, now);
        }
    }

    /// A subscription was granted and is silent since `heard`, though it should not be: it ends, and is asked for again.
    fn dead(&mut self, i: usize, channel: Channel, heard: i64, now: i64) {
        self.symbols[i].end(channel);
        let reason = "silent, and another channel of the symbol says that it should not be";
        for kind in ["stale", "gap"] {
            let event = Event {
                ts_from: Some(heard),
                ts_to: Some(now),
                detail: Some(fact("reason", reason)),
                ..self.out.event(kind, Some(channel), &self.symbols[i].name)
            };
            self.out.ledger(event);
        }
        self.ask_again(i, channel, reason);
    }

    fn requests(&mut self, options: &Options, now: i64, budget: &mut Budget) -> Vec<String> {
        let mut requests = Vec::new();
        if matches!(self.instrument, Standing::Wanted(at) if at <= now) {
            let id = self.request_id();
            let tokenised = if options.tokenised { ",\"include_tokenized_assets\":true" } else { "" };
            requests.push(format!(
                "{{\"method\":\"subscribe\",\"params\":{{\"channel\":\"instrument\",\"snapshot\":true{tokenised}}},\"req_id\":{id}}}"
            ));
            self.remember(id, None, &[]);
            self.instrument = Standing::Asked(now);
        }
        let waits = |standing| matches!(standing, Standing::Asked(_) | Standing::Granted(_) | Standing::Leaving(_));
        let mut waiting = self.symbols.iter().flat_map(|s| &s.subscriptions).filter(|s| waits(s.standing)).count();
        for subscribe in [false, true] {
            for channel in Channel::ALL {
                let due = |symbol: &Symbol| match (symbol.subscriptions[channel as usize].standing, subscribe) {
                    (Standing::Bad(at), false) | (Standing::Wanted(at), true) => at <= now,
                    _ => false,
                };
                // A trade subscription that goes on from an earlier session asks for the snapshot, to close the gap.
                let goes_on = |symbol: &Symbol| channel == Channel::Trade && symbol.last_trade.is_some();
                for snapshot in [false, true] {
                    let mut within = |symbol: &Symbol| {
                        let Subscription { lived, .. } = symbol.subscriptions[channel as usize];
                        let cost = level3_cost(options.level3_depth.unwrap_or(DEPTH_DEFAULT));
                        channel != Channel::Level3
                            || self.token.is_some() && (!subscribe || budget.spend(now, cost, lived))
                    };
                    let chosen: Vec<usize> = (0..self.symbols.len())
                        .filter(|&i| due(&self.symbols[i]) && goes_on(&self.symbols[i]) == snapshot)
                        .take(limits::WAITING_MAX.saturating_sub(waiting))
                        .take_while(|&i| within(&self.symbols[i]))
                        .collect();
                    waiting += chosen.len();
                    for batch in chosen.chunks(limits::BATCH_MAX) {
                        requests.push(self.request(options, subscribe, channel, snapshot, batch, now));
                    }
                }
            }
        }
        requests
    }

    fn request(
        &mut self,
        options: &Options,
        subscribe: bool,
        channel: Channel,
        snapshot: bool,
        symbols: &[usize],
        now: i64,
    ) -> String {
        let id = self.request_id();
        let method = if subscribe { "subscribe" } else { "unsubscribe" };
        let mut text =
            format!("{{\"method\":\"{method}\",\"params\":{{\"channel\":\"{}\",\"symbol\":[", channel.name());
        for (n, &i) in symbols.iter().enumerate() {
            if n > 0 {
                text.push(',');
            }
            write_text(&self.symbols[i].name, &mut text);
            let symbol = &mut self.symbols[i];
            let subscription = &mut symbol.subscriptions[channel as usize];
            subscription.standing = if subscribe { Standing::Asked(now) } else { Standing::Leaving(now) };
            subscription.asked = now;
            let reason = subscription.reason;
            if !subscribe && symbol.lives(channel) {
                // In doubt, and alive until now. The ack may be lost, and the book would stand still and look alive.
                symbol.end(channel);
                let detail = Some(fact("reason", reason));
                let event = Event { detail, ..self.out.event("gap", Some(channel), &symbol.name) };
                self.out.ledger(event);
            }
        }
        text.push(']');
        // Kraken wants the parameters that tell subscriptions apart repeated when leaving.
        let _ = match channel {
            Channel::Book => write!(text, ",\"depth\":{}", options.depth.unwrap_or(DEPTH_DEFAULT)),
            Channel::Trade => Ok(()),
            Channel::Ticker => write!(text, ",\"event_trigger\":\"bbo\""),
            Channel::Ohlc => write!(text, ",\"interval\":{}", options.interval),
            Channel::Level3 => write!(text, ",\"depth\":{}", options.level3_depth.unwrap_or(DEPTH_DEFAULT)),
        };
        if subscribe {
            let _ = write!(text, ",\"snapshot\":{}", channel != Channel::Trade || snapshot);
        }
        if let (Channel::Level3, Some(token)) = (channel, &self.token) {
            text.push_str(",\"token\":");
            write_text(token, &mut text);
        }
        let _ = write!(text, "}},\"req_id\":{id}}}");
        self.remember(id, Some(channel), symbols);
        text
    }
}

/// What a frame that cannot be read is about, by its beginning as Kraken lays it out: no book, or the channel and the
/// symbol of one. `None`: nobody can tell.
fn whose(frame: &[u8]) -> Option<(Option<Channel>, &str)> {
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

/// Whether a refusal is of the token, not of the request: "Invalid session" on every private channel by the
/// documentation, "Token(s) not found" as others saw it.
fn bad_token(error: &str) -> bool {
    error.starts_with("ESession:") || error == "Token(s) not found"
}

/// Whether a refusal is of this moment: too many requests, by Kraken's word for the public channels and by the ending of
/// all its other words for it, the token, or trouble of the exchange's own (its page of errors: Unavailable, Busy,
/// Deadline elapsed, Internal error).
fn passing(error: &str) -> bool {
    error == "Exceeded msg rate"
        || error.ends_with("ate limit exceeded")
        || error.starts_with("EService:")
        || error == "EGeneral:Internal error"
        || bad_token(error)
}

/// A number as its column holds it; the decoder let only such through.
fn column<'a>(value: Option<Decimal>) -> Cell<'a> {
    Cell::of(value.and_then(|value| value.rescale(limits::SCALE)), Cell::Decimal)
}

/// Writes the row of a pair.
fn pair_row(out: &mut Out, symbol: &str, pair: &Pair, origin: Origin, entry: usize) {
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

/// Writes the whole book of a symbol as it stands before message `next`, if it lives and its last one is of an earlier
/// hour; says whether it did.
fn checkpoint<B: Kept>(symbol: &mut Symbol, out: &mut Out, hour: i64, next: u64) -> bool {
    let followed = B::of(symbol);
    if followed.hour >= hour || followed.life.book().is_none() {
        return false;
    }
    followed.hour = hour;
    let followed = B::kept(symbol);
    B::checkpoint(followed, out, &symbol.name, next);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_length_are_found_and_no_other() {
        let mut index = Index::default();
        let names: Vec<_> = ["A", "B"].iter().flat_map(|letter| (1..=20).map(|n| letter.repeat(n))).collect();
        // The same but for one letter in the middle.
        let others = names.iter().map(|name| name[..name.len() / 2].to_owned() + "/" + &name[name.len() / 2 + 1..]);
        let names: Vec<_> = names.iter().cloned().chain(others.filter(|name| name.len() > 1)).collect();
        assert_eq!(index.get("A"), None);
        for (i, name) in names.iter().enumerate() {
            assert_eq!(index.get(name), None, "{name}");
            index.insert(name.as_bytes(), i);
        }
        for (i, name) in names.iter().enumerate() {
            assert_eq!(index.get(name), Some(i), "{name}");
        }
        assert_eq!(index.get(""), None);
    }
}
