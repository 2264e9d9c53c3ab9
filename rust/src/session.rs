//! The protocol state of one connection: frames and times in; rows, events and requests out.
//!
//! A session decides what the protocol calls for next and never does it: [`Session::requests`] hands out what to send.
//! It subscribes to the instrument channel, then to the chosen symbols in batches, checks each answer, keeps the
//! books, and asks for one symbol again when its book is no longer the exchange's. Other symbols never notice.
//!
//! With [`Options::observe`] it asks for nothing and takes what comes: recorded frames.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;

use crate::book::{Life, Outcome, Terms, smallest_depth};
use crate::decimal::Decimal;
use crate::decode::{Decoder, write_text};
use crate::error::Error;
use crate::instrument::{Asset, Origin, Pair, matches};
use crate::limits;
use crate::message::{BookData, Entry, Kind, Message, Ohlc, Reply, Side, Status, Ticker, Trade};
use crate::rows::{Cell, Place, Rows};
use crate::schema::Table;

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3600 * SECOND;
/// How often the clock's duties are looked at.
const STEP: i64 = SECOND / 10;
/// After this long without an ack a symbol is asked for again.
const ACK_TIMEOUT: i64 = 20 * SECOND;
/// After this long without its snapshot a book is asked for again. Kraken needs 0.1 to 0.6 s when it is not busy.
const SNAPSHOT_TIMEOUT: i64 = 60 * SECOND;
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
}

impl Channel {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Book, Self::Trade, Self::Ticker, Self::Ohlc];

    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Book => "book",
            Self::Trade => "trade",
            Self::Ticker => "ticker",
            Self::Ohlc => "ohlc",
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
pub struct Options {
    /// Channels to subscribe, besides instrument and status.
    pub channels: Vec<Channel>,
    /// Patterns of symbols to choose.
    pub symbols: Vec<String>,
    /// Patterns of symbols to leave out.
    pub exclude: Vec<String>,
    /// Book depth; where observing, the depth in force if no ack tells it.
    pub depth: Option<u16>,
    /// Length of candles, minutes.
    pub interval: u16,
    /// Price and quantity precision by symbol, where the instrument channel is silent.
    pub precision: HashMap<String, (u8, u8)>,
    /// Keep every frame byte for byte.
    pub frames: bool,
    /// Ask for tokenised assets too.
    pub tokenised: bool,
    /// Ask for nothing; take what comes.
    pub observe: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            channels: vec![Channel::Book, Channel::Trade, Channel::Ticker],
            symbols: vec!["*".into()],
            exclude: Vec::new(),
            depth: None,
            interval: 1,
            precision: HashMap::new(),
            frames: false,
            tokenised: false,
            observe: false,
        }
    }
}

/// The depth asked for where none is told.
pub const DEPTH_DEFAULT: u16 = 100;

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

/// What was counted so far.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Frames taken.
    pub frames: u64,
    /// Messages by channel; answers count as `reply`.
    pub messages: Vec<(String, u64)>,
    /// Rows by table.
    pub rows: [u64; Table::ALL.len()],
    /// Book messages whose checksum was right.
    pub ok: u64,
    /// Book messages whose checksum was wrong, or whose book was crossed.
    pub bad: u64,
    /// Book messages outside the life of a book, or without a checksum.
    pub unchecked: u64,
    /// Frames or messages refused.
    pub errors: u64,
    /// Gaps written to the ledger.
    pub gaps: u64,
    /// Requests refused.
    pub refused: u64,
    /// Removals of book levels that were not there.
    pub absent: u64,
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
}

impl Subscription {
    const OFF: Self = Self { standing: Standing::Off, attempts: 0, asked: 0 };

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

/// What is known of one symbol.
#[derive(Debug)]
struct Symbol {
    name: Box<str>,
    pair: Option<Pair>,
    selected: bool,
    subscriptions: [Subscription; Channel::ALL.len()],
    life: Life,
    /// Price and quantity precision in force, and where it comes from.
    precision: Option<(u8, u8, Origin)>,
    /// Book depth in force, and where it comes from.
    depth: Option<(u16, &'static str)>,
    last_trade: Option<i64>,
    /// Hour of the last checkpoint, or of the snapshot.
    hour: i64,
    /// Snapshots that could not be held, in a row.
    refusals: u8,
    /// Whether the ledger already says why updates are unchecked.
    explained: bool,
}

/// Rows, events and counters: all that goes out.
#[derive(Debug)]
struct Out {
    tables: Vec<Rows>,
    events: VecDeque<Event>,
    counts: Counts,
    /// Rows since the last `alive` row.
    since: [u64; Table::ALL.len()],
    /// Number of the frame being taken, or of the last one.
    message: Option<u64>,
    /// Running number of ledger rows.
    entry: u32,
    now: i64,
}

impl Out {
    fn row<const N: usize>(&mut self, table: Table, place: &Place<'_>, cells: [Cell<'_>; N]) {
        self.tables[table as usize].push(place, cells);
        self.counts.rows[table as usize] += 1;
        self.since[table as usize] += 1;
    }

    fn place<'a>(&self, entry: usize, ts_event: Option<i64>, symbol: Option<&'a str>) -> Place<'a> {
        // A frame has at most 16 Mi entries.
        #[allow(clippy::cast_possible_truncation, reason = "see above")]
        Place { message: self.message, entry: entry as u32, ts_recv: self.now, ts_event, symbol }
    }

    fn count(&mut self, channel: &str) {
        if let Some((_, n)) = self.counts.messages.iter_mut().find(|(name, _)| name == channel) {
            *n += 1;
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
    fn ledger(&mut self, event: Event) {
        let place = Place {
            message: self.message,
            entry: self.entry,
            ts_recv: event.ts_recv,
            ts_event: None,
            symbol: event.symbol.as_deref(),
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
        self.tables[Table::Ledger as usize].push(&place, cells);
        self.counts.rows[Table::Ledger as usize] += 1;
        if matches!(event.kind.as_str(), "gap" | "trade_gap") {
            self.counts.gaps += 1;
        }
        if event.kind != "alive" && self.events.len() < limits::EVENTS_MAX {
            self.events.push_back(event);
        }
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
    write_text(text, &mut out);
    out.push('}');
    out
}

/// A request that awaits its answers.
#[derive(Debug)]
struct Asked {
    channel: Option<Channel>,
    symbols: Vec<usize>,
}

/// The protocol state of one connection.
pub struct Session {
    id: String,
    options: Options,
    decoder: Decoder,
    state: State,
    next_message: u64,
    /// Largest exchange time so far, the receive time of frames that came without one.
    latest: i64,
}

struct State {
    out: Out,
    symbols: Vec<Symbol>,
    index: HashMap<Box<str>, usize>,
    /// Requests without all their answers, by `req_id`.
    asked: HashMap<u64, Asked>,
    next_request: u64,
    instrument: Standing,
    /// Pairs that an earlier session knew and this one has not seen yet.
    missing: Vec<Box<str>>,
    last_trades: HashMap<Box<str>, i64>,
    last_alive: i64,
    alive_message: u64,
    next_step: i64,
    /// Where the search for due checkpoints goes on.
    checkpoint_cursor: usize,
    error_rows: u32,
    errors_unsaid: u64,
    buffer: Vec<u8>,
    prices: Vec<(i128, i128)>,
    ended: bool,
    system: Option<String>,
}

impl Session {
    /// A new connection's state; `id` is a UUID that names the session in every row.
    #[must_use]
    pub fn new(id: &str, options: Options) -> Self {
        let tables = Table::ALL.into_iter().map(Rows::new).collect();
        Self {
            id: id.into(),
            options,
            decoder: Decoder::default(),
            state: State {
                out: Out {
                    tables,
                    events: VecDeque::new(),
                    counts: Counts::default(),
                    since: [0; Table::ALL.len()],
                    message: None,
                    entry: 0,
                    now: 0,
                },
                symbols: Vec::new(),
                index: HashMap::new(),
                asked: HashMap::new(),
                next_request: 1,
                instrument: Standing::Wanted(0),
                missing: Vec::new(),
                last_trades: HashMap::new(),
                last_alive: 0,
                alive_message: 0,
                next_step: 0,
                checkpoint_cursor: 0,
                error_rows: 0,
                errors_unsaid: 0,
                buffer: Vec::with_capacity(1024),
                prices: Vec::new(),
                ended: false,
                system: None,
            },
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
        let number = *next_message;
        *next_message += 1;
        let mut begin = |state: &mut State, ts_event: Option<i64>| {
            let now = ts_recv.unwrap_or_else(|| {
                *latest = (*latest).max(ts_event.unwrap_or(0));
                *latest
            });
            state.step(now, number);
            state.out.now = now;
            state.out.message = Some(number);
            state.out.counts.frames += 1;
            if options.frames {
                let place = state.out.place(0, None, None);
                state.out.row(Table::Frames, &place, [Cell::Bytes(frame)]);
            }
        };
        let decoded = decoder.decode(frame, |message, entries| {
            begin(state, message.timestamp());
            state.handle(options, &message, entries);
        });
        state.out.counts.unknown_fields = decoder.unknown_fields;
        if let Err(error) = decoded {
            begin(state, None);
            state.out.count("undecoded");
            state.refuse(&error, None, frame);
        }
    }

    /// Lets time pass: `alive` rows, checkpoints, retries that fell due.
    pub fn tick(&mut self, now: i64) {
        if self.state.ended {
            return;
        }
        self.state.step(now, self.next_message);
        self.state.out.now = self.state.out.now.max(now);
        if !self.options.observe {
            self.state.overdue(now);
        }
    }

    /// Requests to send now, in order; each is handed out once.
    pub fn requests(&mut self, now: i64) -> Vec<String> {
        if self.options.observe || self.state.ended {
            return Vec::new();
        }
        self.state.requests(&self.options, now)
    }

    /// A ping request, with a number of its own.
    pub fn ping(&mut self) -> String {
        let id = self.state.request_id();
        format!("{{\"method\":\"ping\",\"req_id\":{id}}}")
    }

    /// Adds a row to the ledger that only the caller can know of.
    pub fn note(&mut self, event: Event) {
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
            symbol.life.end();
        }
        let count = state.out.counts.frames;
        let event = Event {
            count: Some(count),
            detail: Some(fact("reason", detail)),
            ..state.out.event("disconnect", None, "")
        };
        state.out.ledger(event);
        state.ended = true;
    }

    /// Ledger rows since the last call, but for `alive`.
    pub fn events(&mut self) -> Vec<Event> {
        self.state.out.events.drain(..).collect()
    }

    /// Rows waiting to be taken.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.state.out.tables.iter().map(|rows| rows.len).sum()
    }

    /// The rows collected since the last call; tables without rows are left out.
    pub fn take(&mut self) -> Vec<Rows> {
        let tables = self.state.out.tables.iter_mut().filter(|rows| rows.len > 0);
        tables.map(|rows| std::mem::replace(rows, Rows::new(rows.table))).collect()
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.state.out.counts
    }

    /// Channel, symbol and state of every wanted subscription.
    pub fn subscriptions(&self) -> impl Iterator<Item = (Channel, &str, &'static str)> {
        self.state.symbols.iter().flat_map(|symbol| {
            Channel::ALL.into_iter().filter_map(move |channel| {
                let standing = symbol.subscriptions[channel as usize].standing;
                (standing != Standing::Off).then(|| (channel, &*symbol.name, standing.word()))
            })
        })
    }

    /// The pairs that the instrument channel described, and whether each was chosen.
    pub fn pairs(&self) -> impl Iterator<Item = (&Pair, bool)> {
        self.state.symbols.iter().filter_map(|symbol| symbol.pair.as_ref().map(|pair| (pair, symbol.selected)))
    }

    /// Books that live.
    #[must_use]
    pub fn live(&self) -> usize {
        self.state.symbols.iter().filter(|symbol| symbol.life.book().is_some()).count()
    }

    /// The book of `symbol`, if it lives.
    #[must_use]
    pub fn book(&self, symbol: &str) -> Option<&crate::book::Book> {
        self.state.index.get(symbol).and_then(|&i| self.state.symbols[i].life.book())
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
        self.asked.insert(id, Asked { channel, symbols: symbols.to_vec() });
        self.asked.retain(|&old, _| old + 1000 > id);
    }

    /// The duties of the clock; `next` is the number of the frame to come.
    fn step(&mut self, now: i64, next: u64) {
        if now < self.next_step {
            return;
        }
        self.next_step = now + STEP;
        if self.last_alive == 0 {
            self.last_alive = now;
        }
        if now - self.last_alive >= SECOND {
            self.alive(now);
        }
        // Books whose last checkpoint is of an earlier hour, a few at a time.
        let hour = now.div_euclid(HOUR);
        let mut written = 0;
        for _ in 0..self.symbols.len() {
            if written == limits::CHECKPOINTS_MAX {
                break;
            }
            self.checkpoint_cursor = (self.checkpoint_cursor + 1) % self.symbols.len();
            let symbol = &mut self.symbols[self.checkpoint_cursor];
            if symbol.hour < hour && symbol.life.book().is_some() {
                checkpoint(symbol, &mut self.out, now, next);
                written += 1;
            }
        }
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
            if rows > 0 && !matches!(table, Table::Ledger | Table::Checkpoints) {
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
    fn refuse(&mut self, error: &Error, symbol: Option<usize>, frame: &[u8]) {
        self.out.counts.errors += 1;
        let name = symbol.map_or("", |i| &self.symbols[i].name);
        // A row that ends the life of a book is always written: verify goes by it.
        if self.error_rows >= limits::ERROR_ROWS_MAX && symbol.is_none() {
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
        let event = Event { count: Some(1), detail: Some(detail), ..self.out.event(kind, None, name) };
        self.out.ledger(event);
    }

    fn handle(&mut self, options: &Options, message: &Message<'_>, entries: &[Entry]) {
        match message {
            Message::Book(kind, data) => {
                self.out.count("book");
                let mut first = 0;
                for item in data {
                    self.book(options, *kind, item, &entries[item.entries.clone()], first);
                    first += item.entries.len().max(1);
                }
            }
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
                    self.pair(options, pair, i);
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
    fn symbol(&mut self, options: &Options, name: &str, channel: Channel) -> Option<usize> {
        let found = self.index.get(name).copied();
        if options.observe {
            return found.or_else(|| self.add(name));
        }
        let found = found.filter(|&i| self.symbols[i].subscriptions[channel as usize].standing != Standing::Off);
        if found.is_none() {
            self.refuse(&Error::Symbol { symbol: name.chars().take(limits::SYMBOL_LENGTH_MAX).collect() }, None, b"");
        }
        found
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
            pair: None,
            selected: false,
            subscriptions: [Subscription::OFF; Channel::ALL.len()],
            life: Life::default(),
            precision: None,
            depth: None,
            last_trade: self.last_trades.get(name).copied(),
            hour: 0,
            refusals: 0,
            explained: false,
        });
        self.index.insert(name.into(), i);
        Some(i)
    }

    /// Settles the precision in force for a book message: the instrument channel's, else the option's, else what the
    /// digits show.
    fn precision(&mut self, options: &Options, i: usize, kind: Kind, entries: &[Entry]) -> (u8, u8) {
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
            let price = entries.iter().map(|e| digits(e.price)).max().unwrap_or(0).max(price);
            let qty = entries.iter().map(|e| digits(e.qty)).max().unwrap_or(0).max(qty);
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
    fn depth(&mut self, options: &Options, i: usize, kind: Kind, entries: &[Entry]) -> u16 {
        let symbol = &mut self.symbols[i];
        let told = options.depth.map(|depth| (depth, "option"));
        let longer = || {
            let bids = entries.iter().filter(|e| e.side == Side::Bid).count();
            smallest_depth(bids.max(entries.len() - bids))
        };
        let (depth, from) = match (symbol.depth.or(told), kind) {
            (Some((_, "inferred")), Kind::Snapshot) | (None, _) => (longer(), "inferred"),
            (Some(known), _) => known,
        };
        symbol.depth = Some((depth, from));
        depth
    }

    fn book(&mut self, options: &Options, kind: Kind, data: &BookData<'_>, entries: &[Entry], first: usize) {
        let Some(i) = self.symbol(options, data.symbol, Channel::Book) else { return };
        let (price_precision, qty_precision) = self.precision(options, i, kind, entries);
        let depth = self.depth(options, i, kind, entries);
        let symbol = &mut self.symbols[i];
        let now = self.out.now;
        let hour = now.div_euclid(HOUR);
        if symbol.hour < hour && kind == Kind::Update && symbol.life.book().is_some() {
            let this = self.out.message.unwrap_or(0);
            checkpoint(symbol, &mut self.out, now, this);
        }
        // First the numbers as the table holds them: a message that cannot be written must not be applied.
        self.prices.clear();
        for entry in entries {
            match (entry.price.rescale(limits::SCALE), entry.qty.rescale(limits::SCALE)) {
                (Some(price), Some(qty)) => self.prices.push((price, qty)),
                (None, _) => return self.unholdable(i, kind, entry.price, limits::SCALE),
                (_, None) => return self.unholdable(i, kind, entry.qty, limits::SCALE),
            }
        }
        let terms = Terms { kind, checksum: data.checksum, depth, price_precision, qty_precision };
        let outcome = match symbol.life.apply(&terms, entries, &mut self.buffer) {
            Ok(outcome) => outcome,
            Err(Error::Decimal { text, scale, .. }) => {
                let error = Error::Decimal { symbol: symbol.name.to_string(), text, scale };
                return self.refuse_book(i, kind, &error);
            }
            Err(error) => return self.refuse_book(i, kind, &error),
        };
        let out = &mut self.out;
        let own = |side: Cell<'static>, price, qty| {
            [
                Cell::Text(kind.word()),
                side,
                price,
                qty,
                Cell::of(data.checksum, Cell::U32),
                Cell::U16(depth),
                Cell::U8(price_precision),
                Cell::U8(qty_precision),
            ]
        };
        for (at, (entry, &(price, qty))) in entries.iter().zip(&self.prices).enumerate() {
            let place = out.place(first + at, data.timestamp, Some(&symbol.name));
            let cells = own(Cell::Text(entry.side.word()), Cell::Decimal(price), Cell::Decimal(qty));
            out.row(Table::Book, &place, cells);
        }
        if entries.is_empty() {
            let place = out.place(first, data.timestamp, Some(&symbol.name));
            out.row(Table::Book, &place, own(Cell::Null, Cell::Null, Cell::Null));
        }
        out.counts.absent += std::mem::take(&mut symbol.life.absent);
        if kind == Kind::Snapshot {
            symbol.refusals = 0;
            symbol.hour = hour;
            symbol.explained = false;
            let from = symbol.depth.map_or("", |(_, from)| from);
            let origin = symbol.precision.map_or("", |(_, _, origin)| origin.word());
            let detail = format!(
                "{{\"depth\":{depth},\"depth_origin\":\"{from}\",\"price_precision\":{price_precision},\
                 \"qty_precision\":{qty_precision},\"precision_origin\":\"{origin}\"}}"
            );
            let count = Some(entries.len() as u64);
            let event =
                Event { count, detail: Some(detail), ..out.event("snapshot", Some(Channel::Book), &symbol.name) };
            out.ledger(event);
            let subscription = &mut symbol.subscriptions[Channel::Book as usize];
            if matches!(subscription.standing, Standing::Asked(_) | Standing::Granted(_)) {
                subscription.standing = Standing::Live;
            }
        }
        match outcome {
            Outcome::Ok => out.counts.ok += 1,
            Outcome::Unchecked => {
                out.counts.unchecked += 1;
                if !symbol.explained && data.checksum.is_some() {
                    // Nothing before this said that the book is not alive: an update without a snapshot.
                    symbol.explained = true;
                    let detail = Some(fact("reason", "update without a snapshot"));
                    let event = Event { detail, ..out.event("gap", Some(Channel::Book), &symbol.name) };
                    out.ledger(event);
                }
            }
            Outcome::Mismatch { expected, computed } => {
                out.counts.bad += 1;
                let detail = Some(format!("{{\"expected\":{expected},\"computed\":{computed}}}"));
                let event = Event { detail, ..out.event("mismatch", Some(Channel::Book), &symbol.name) };
                out.ledger(event);
                self.resync(options, i, "checksum mismatch");
            }
            Outcome::Crossed => {
                out.counts.bad += 1;
                let event = out.event("crossed", Some(Channel::Book), &symbol.name);
                out.ledger(event);
                self.resync(options, i, "crossed book");
            }
        }
    }

    fn unholdable(&mut self, i: usize, kind: Kind, value: Decimal, scale: u8) {
        let error = Error::Decimal { symbol: self.symbols[i].name.to_string(), text: value.to_string(), scale };
        self.refuse_book(i, kind, &error);
    }

    /// A book message that cannot be held: the book's life ends; after two such snapshots the symbol is given up.
    fn refuse_book(&mut self, i: usize, kind: Kind, error: &Error) {
        self.refuse(error, Some(i), b"");
        let now = self.out.now;
        let symbol = &mut self.symbols[i];
        symbol.life.end();
        symbol.explained = true;
        let subscription = &mut symbol.subscriptions[Channel::Book as usize];
        if kind == Kind::Snapshot {
            symbol.refusals += 1;
        }
        if symbol.refusals >= 2 {
            subscription.standing = Standing::Gone;
            let detail = Some(fact("reason", &error.to_string()));
            let event = Event { detail, ..self.out.event("gone", Some(Channel::Book), &symbol.name) };
            self.out.ledger(event);
        } else if subscription.standing != Standing::Off {
            subscription.standing = Standing::Bad(subscription.pause(now));
        }
    }

    /// The book of a symbol is not the exchange's: it is to be left and asked for again. Kraken sends no new snapshot to
    /// a second subscribe, so the way is unsubscribe, its ack, subscribe.
    fn resync(&mut self, options: &Options, i: usize, reason: &str) {
        let now = self.out.now;
        let symbol = &mut self.symbols[i];
        symbol.life.end();
        symbol.explained = true;
        if options.observe {
            return;
        }
        let subscription = &mut symbol.subscriptions[Channel::Book as usize];
        let at = subscription.pause(now);
        subscription.standing = Standing::Bad(at);
        let event = Event {
            ts_from: Some(at),
            detail: Some(fact("reason", reason)),
            ..self.out.event("resync", Some(Channel::Book), &symbol.name)
        };
        self.out.ledger(event);
    }

    fn trade(&mut self, options: &Options, kind: Kind, trade: &Trade<'_>, entry: usize) {
        let Some(i) = self.symbol(options, trade.symbol, Channel::Trade) else { return };
        let symbol = &mut self.symbols[i];
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
        let place = out.place(entry, Some(trade.timestamp), Some(&symbol.name));
        let cells = [
            Cell::Text(kind.word()),
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
        let Some(i) = self.symbol(options, ticker.symbol, Channel::Ticker) else { return };
        let place = self.out.place(entry, ticker.timestamp, Some(&self.symbols[i].name));
        let mut cells = [Cell::Null; 13];
        cells[0] = Cell::Text(kind.word());
        cells[1..12].copy_from_slice(&ticker.numbers.map(column));
        cells[12] = Cell::text_or_null(&ticker.extra);
        self.out.row(Table::Ticker, &place, cells);
    }

    fn ohlc(&mut self, options: &Options, kind: Kind, time: Option<i64>, ohlc: &Ohlc<'_>, entry: usize) {
        let Some(i) = self.symbol(options, ohlc.symbol, Channel::Ohlc) else { return };
        let place = self.out.place(entry, time, Some(&self.symbols[i].name));
        let mut cells = [Cell::Null; 11];
        cells[0] = Cell::Text(kind.word());
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
    fn pair(&mut self, options: &Options, pair: &Pair, entry: usize) {
        let found = self.index.get(&*pair.symbol).copied();
        let Some(i) = found.or_else(|| self.add(&pair.symbol)) else { return };
        pair_row(&mut self.out, &pair.symbol, pair, Origin::Instrument, entry);
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
            // What Kraken does to a live book at that moment is not documented: it is left and asked for again.
            self.precision_event(&name, precision);
            if self.symbols[i].subscriptions[Channel::Book as usize].standing == Standing::Live {
                self.resync(options, i, "precision changed");
                let event = Event {
                    detail: Some(fact("reason", "precision changed")),
                    ..self.out.event("gap", Some(Channel::Book), &name)
                };
                self.out.ledger(event);
            }
        }
        if options.observe {
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
            symbol.life.end();
            symbol.explained = true;
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
            symbol.life.end();
            symbol.explained = true;
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
            let again = matches!(subscription.standing, Standing::Refused | Standing::Gone) && status_changed;
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
        let asked = reply.req_id.and_then(|id| self.asked.get_mut(&id).map(|asked| (id, asked)));
        let mut channel = reply.channel.and_then(Channel::named);
        let mut symbols: Vec<usize> = reply.symbol.and_then(|name| self.index.get(name)).copied().into_iter().collect();
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
        if symbols.is_empty() && options.observe {
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
        let event = Event {
            channel: channel.map(|name| name.chars().take(limits::SYMBOL_LENGTH_MAX).collect()),
            detail: reply.error.map(|error| fact("error", error)),
            ..self.out.event(kind, None, reply.symbol.unwrap_or(""))
        };
        self.out.ledger(event);
    }

    fn granted(&mut self, options: &Options, i: usize, channel: Channel, reply: &Reply<'_>) {
        let now = self.out.now;
        let symbol = &mut self.symbols[i];
        let mut detail = String::new();
        if channel == Channel::Book
            && let Some(depth) = reply.depth.and_then(|d| u16::try_from(d).ok()).filter(|d| limits::DEPTHS.contains(d))
        {
            symbol.depth = Some((depth, "ack"));
            detail = format!("{{\"depth\":{depth}");
        }
        if !reply.warnings.is_empty() {
            let _ = write!(detail, "{}\"warnings\":{}", if detail.is_empty() { "{" } else { "," }, reply.warnings);
        }
        if !detail.is_empty() {
            detail.push('}');
        }
        let event = Event {
            detail: (!detail.is_empty()).then_some(detail),
            ..self.out.event("subscribed", Some(channel), &symbol.name)
        };
        self.out.ledger(event);
        if options.observe {
            return;
        }
        let subscription = &mut symbol.subscriptions[channel as usize];
        if matches!(subscription.standing, Standing::Asked(_)) {
            subscription.standing = if channel == Channel::Book { Standing::Granted(now) } else { Standing::Live };
        }
    }

    fn left(&mut self, options: &Options, i: usize, channel: Channel) {
        let now = self.out.now;
        let symbol = &mut self.symbols[i];
        if channel == Channel::Book {
            // Updates until here still belonged to the old book.
            symbol.life.end();
            symbol.explained = true;
        }
        let event = self.out.event("unsubscribed", Some(channel), &symbol.name);
        self.out.ledger(event);
        let subscription = &mut symbol.subscriptions[channel as usize];
        if !options.observe && matches!(subscription.standing, Standing::Leaving(_)) {
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
        if options.observe {
            return;
        }
        let subscription = &mut symbol.subscriptions[channel as usize];
        if matches!(subscription.standing, Standing::Off | Standing::Gone) {
            return;
        }
        subscription.standing = match (error, subscribe) {
            // Not a refusal of this symbol: ask again, ever more slowly.
            ("Exceeded msg rate", true) => {
                subscription.attempts = subscription.attempts.max(1);
                Standing::Wanted(subscription.pause(now))
            }
            ("Exceeded msg rate", false) => {
                subscription.attempts = subscription.attempts.max(1);
                Standing::Bad(subscription.pause(now))
            }
            // The exchange still serves it and will send no snapshot: leave, then ask again.
            ("Already subscribed", true) => Standing::Bad(subscription.pause(now)),
            (_, true) => Standing::Refused,
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
                subscription.standing = next;
                let event = Event {
                    detail: Some(fact("reason", reason)),
                    ..self.out.event("resync", Some(channel), &symbol.name)
                };
                self.out.ledger(event);
            }
        }
        match self.instrument {
            Standing::Asked(at) | Standing::Granted(at) if now - at > SNAPSHOT_TIMEOUT => {
                self.instrument = Standing::Wanted(now);
            }
            _ => {}
        }
    }

    fn requests(&mut self, options: &Options, now: i64) -> Vec<String> {
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
                    let chosen: Vec<usize> = (0..self.symbols.len())
                        .filter(|&i| due(&self.symbols[i]) && goes_on(&self.symbols[i]) == snapshot)
                        .take(limits::WAITING_MAX.saturating_sub(waiting))
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
            let subscription = &mut self.symbols[i].subscriptions[channel as usize];
            subscription.standing = if subscribe { Standing::Asked(now) } else { Standing::Leaving(now) };
            subscription.asked = now;
        }
        text.push(']');
        // Kraken wants the parameters that tell subscriptions apart repeated when leaving.
        let _ = match channel {
            Channel::Book => write!(text, ",\"depth\":{}", options.depth.unwrap_or(DEPTH_DEFAULT)),
            Channel::Trade => Ok(()),
            Channel::Ticker => write!(text, ",\"event_trigger\":\"bbo\""),
            Channel::Ohlc => write!(text, ",\"interval\":{}", options.interval),
        };
        if subscribe {
            let _ = write!(text, ",\"snapshot\":{}", channel != Channel::Trade || snapshot);
        }
        let _ = write!(text, "}},\"req_id\":{id}}}");
        self.remember(id, Some(channel), symbols);
        text
    }
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

/// Writes the whole book of a symbol as it stands before message `next`.
fn checkpoint(symbol: &mut Symbol, out: &mut Out, now: i64, next: u64) {
    let Some(book) = symbol.life.book() else { return };
    symbol.hour = now.div_euclid(HOUR);
    let (price_precision, qty_precision) = book.precision();
    let scale = |mantissa, precision| column(Some(Decimal { mantissa, scale: precision }));
    let own = |side, level, price, qty| {
        let terms = (Cell::U16(book.depth()), Cell::U8(price_precision), Cell::U8(qty_precision));
        [side, level, price, qty, terms.0, terms.1, terms.2]
    };
    let mut entry = 0;
    let mut write = |cells: [Cell<'_>; 7]| {
        let place = Place { message: Some(next), entry, ts_recv: now, ts_event: None, symbol: Some(&symbol.name) };
        entry += 1;
        out.tables[Table::Checkpoints as usize].push(&place, cells);
        out.counts.rows[Table::Checkpoints as usize] += 1;
    };
    for side in [Side::Bid, Side::Ask] {
        for (level, (price, qty)) in book.levels(side).into_iter().enumerate() {
            // At most DEPTH_MAX (1000) levels.
            #[allow(clippy::cast_possible_truncation, reason = "see above")]
            let level = Cell::U16(level as u16);
            write(own(Cell::Text(side.word()), level, scale(price, price_precision), scale(qty, qty_precision)));
        }
    }
    if book.is_empty() {
        write(own(Cell::Null, Cell::Null, Cell::Null, Cell::Null));
    }
}
