//! The protocol state of one connection: frames and times in; rows, events and requests out.
//!
//! A session decides what the protocol calls for next and never does it: [`Session::requests`] hands out what to send.
//! It subscribes to the instrument channel, then to the selected symbols in batches, checks each answer, keeps the
//! books, and subscribes one symbol again when its book is no longer the exchange's. Other symbols never notice.
//!
//! With [`Options::passive`] it requests nothing and takes what comes: recorded frames.
//!
//! Level 3 has a host of its own, which serves no instrument channel and wants a token: such a session takes the pairs
//! from another one ([`Session::import_pairs`]), is given the token ([`Session::set_token`]) and keeps to a [`Budget`].

mod options;
mod budget;
mod output;
mod symbols;
mod state;
mod subscriptions;
mod liveness;
mod feeds;
mod books;
mod refused;
mod pairs;

use std::collections::{HashMap, VecDeque};

use self::books::checkpoint;
pub use self::budget::Budget;
pub use self::options::{Channel, DEPTH_DEFAULT, Options};
pub use self::output::{Checked, Counts, LedgerRow};
use self::output::{Output, detail, pair_row};
use self::state::State;
pub use self::subscriptions::SubscriptionCounts;
use self::symbols::{Index, SubscriptionState, Symbol};
use crate::book::level2::Book;
use crate::book::level3::Orders;
use crate::instrument::{Origin, Pair};
use crate::limits;
use crate::table::book_rows::BookRows;
use crate::table::ledger::LedgerKind;
use crate::table::rows::Cell;
use crate::table::rows::Rows;
use crate::table::schema::Table;
use crate::wire::decode::Decoder;
use crate::wire::message::{Entries, Kind, Message};
use crate::wire::secret::Secret;

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3600 * SECOND;
/// How often the duties of the clock are looked at.
const STEP: i64 = SECOND / 10;

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

impl Session {
    /// A new connection's state; `id` is a UUID that names the session in every row.
    #[must_use]
    pub fn new(id: &str, options: Options) -> Self {
        let tables = Table::ALL.into_iter().map(Rows::new).collect();
        Self {
            id: id.into(),
            decoder: Decoder::default(),
            state: State {
                out: Output {
                    book: BookRows::default(),
                    orders: BookRows::default(),
                    tables,
                    ledger: VecDeque::new(),
                    counts: Counts::default(),
                    rows_since_alive: [0; Table::ALL.len()],
                    message: None,
                    last_counted: 0,
                    entry: 0,
                    secrets: VecDeque::new(),
                    now: 0,
                },
                symbols: Vec::new(),
                index: Index::default(),
                awaited: HashMap::new(),
                next_request: 1,
                instrument: if options.instrument { SubscriptionState::Pending(0) } else { SubscriptionState::Off },
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
                last_received: 0,
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
        self.state.last_received
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
            state.last_received = now;
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
                state.books::<Book>(options, kind, std::iter::once(&data), decoder.levels());
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
            if error.may_concern_books() {
                state.unread(options, frame);
            }
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
            matches!(
                symbol.subscriptions[Channel::Level3 as usize].state,
                SubscriptionState::Pending(_) | SubscriptionState::Resyncing(_)
            )
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
    pub fn add_ledger_row(&mut self, row: LedgerRow) {
        self.state.out.add_ledger_row(row);
    }

    /// The connection is gone: all books end, the ledger says so. Later frames are ignored.
    pub fn end(&mut self, now: i64, reason: &str) {
        if self.state.ended {
            return;
        }
        let state = &mut self.state;
        state.out.now = now;
        state.alive(now);
        for symbol in &mut state.symbols {
            symbol.book.synced.end();
            symbol.orders.synced.end();
        }
        let count = state.out.counts.frames;
        let row = LedgerRow {
            count: Some(count),
            // A connection can be dead for long before that is noticed.
            ts_from: (state.last_received > 0).then_some(state.last_received),
            ts_to: Some(now),
            detail: Some(detail("reason", reason)),
            ..state.out.ledger_row(LedgerKind::Disconnect, None, "")
        };
        state.out.add_ledger_row(row);
        state.ended = true;
    }

    /// Ledger rows since the last call, but for `alive`.
    pub fn take_ledger(&mut self) -> Vec<LedgerRow> {
        self.state.out.ledger.drain(..).collect()
    }

    /// Rows waiting to be taken.
    #[must_use]
    pub fn pending_rows(&self) -> usize {
        let Output { tables, book, orders, .. } = &self.state.out;
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
                (subscription.state != SubscriptionState::Off).then_some(told)
            })
        })
    }

    /// The pairs that the instrument channel described, and whether each was chosen.
    pub fn pairs(&self) -> impl Iterator<Item = (&Pair, bool)> {
        self.state.symbols.iter().filter_map(|symbol| symbol.pair.as_ref().map(|pair| (pair, symbol.selected)))
    }

    /// Books that live, of both kinds.
    #[must_use]
    pub fn books_in_sync(&self) -> usize {
        self.state.symbols.iter().map(Symbol::books_in_sync).sum()
    }

    /// How many pairs, subscriptions and books stand where.
    #[must_use]
    pub fn subscription_counts(&self) -> SubscriptionCounts {
        let mut found = SubscriptionCounts::default();
        for symbol in &self.state.symbols {
            found.in_sync += symbol.books_in_sync();
            found.pairs += usize::from(symbol.pair.is_some());
            found.selected += usize::from(symbol.pair.is_some() && symbol.selected);
            for subscription in &symbol.subscriptions {
                match subscription.state {
                    SubscriptionState::Off | SubscriptionState::Removed => {}
                    SubscriptionState::Active => found.subscribed += 1,
                    SubscriptionState::Rejected => found.rejected += 1,
                    SubscriptionState::Pending(_)
                    | SubscriptionState::Requested(_)
                    | SubscriptionState::Acked(_)
                    | SubscriptionState::Resyncing(_)
                    | SubscriptionState::Unsubscribing(_) => found.waiting += 1,
                }
            }
        }
        found
    }

    /// The book of `symbol`, if it lives.
    #[must_use]
    pub fn book(&self, symbol: &str) -> Option<&Book> {
        self.state.index.get(symbol).and_then(|i| self.state.symbols[i].book.synced.book())
    }

    /// The level-3 book of `symbol`, if it lives.
    #[must_use]
    pub fn orders(&self, symbol: &str) -> Option<&crate::book::synced::Synced<Orders>> {
        let life = &self.state.symbols[self.state.index.get(symbol)?].orders.synced;
        life.book().is_some().then_some(life)
    }
}

impl State {
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

    fn handle(&mut self, options: &Options, message: &Message<'_>, entries: Entries<'_, '_>) {
        match message {
            Message::Book(kind, data) => self.books::<Book>(options, *kind, data.taken(), entries.levels),
            Message::Level3(kind, data) => self.books::<Orders>(options, *kind, data.taken(), entries.orders),
            Message::Trade(kind, data) => {
                self.out.count("trade");
                for (i, trade) in &data.taken {
                    self.trade(options, *kind, trade, *i);
                }
            }
            Message::Ticker(kind, data) => {
                self.out.count("ticker");
                for (i, ticker) in &data.taken {
                    self.ticker(options, *kind, ticker, *i);
                }
            }
            Message::Ohlc(kind, time, data) => {
                self.out.count("ohlc");
                for (i, ohlc) in &data.taken {
                    self.ohlc(options, *kind, *time, ohlc, *i);
                }
            }
            Message::Instrument(kind, assets, pairs) => {
                self.out.count("instrument");
                for (i, asset) in &assets.taken {
                    self.asset(asset, *i);
                }
                for (i, pair) in &pairs.taken {
                    if self.index.get(&*pair.symbol).is_some() || self.add(&pair.symbol).is_some() {
                        pair_row(&mut self.out, &pair.symbol, pair, Origin::Instrument, *i);
                        self.pair(options, pair);
                    }
                }
                if *kind == Kind::Snapshot {
                    self.instrument = SubscriptionState::Active;
                    // What an earlier session slot and the exchange no longer lists.
                    for name in std::mem::take(&mut self.missing) {
                        let row = LedgerRow {
                            detail: Some(detail("reason", "no longer listed after a reconnect")),
                            ..self.out.ledger_row(LedgerKind::Delisted, None, &name)
                        };
                        self.out.add_ledger_row(row);
                    }
                }
            }
            Message::Status(data) => {
                self.out.count("status");
                for (i, status) in &data.taken {
                    self.status(status, *i);
                }
            }
            Message::Heartbeat => self.out.count("heartbeat"),
            Message::Reply(reply) => {
                self.out.count(if reply.method == "pong" { "pong" } else { "reply" });
                self.reply(options, reply);
            }
            Message::Other(channel) => self.out.count(channel),
        }
        self.refuse_items(options, message);
    }
}
