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
mod events;
mod output;
mod symbols;
mod subscriptions;
mod liveness;
mod feeds;
mod books;
mod refused;
mod pairs;
mod replay;

use self::books::{BookChannel, Books, Fast, Item};
pub use self::budget::Budget;
pub use self::events::{
    BookMessage, BookOutcome, Event, EventKind, EventSet, GapEvent, LevelEntry, OhlcEvent, OrderChange, Received,
    StatusEvent, SubscriptionEvent, TickerEvent, TradeEvent, at_precision,
};
pub use self::options::{Channel, DEPTH_DEFAULT, Options};
use self::output::Output;
pub use self::output::{Checked, Counts, LedgerRow};
use self::pairs::Pairs;
pub use self::replay::Recorded;
pub use self::subscriptions::SubscriptionCounts;
use self::subscriptions::Subscriptions;
use self::symbols::{Effect, SubscriptionState, Symbols};
use crate::book::level2::Book;
use crate::book::level3::Orders;
use crate::book::modify_rule::ModifyRule;
use crate::book::synced::{BookMeta, Synced};
use crate::instrument::Pair;
use crate::limits;
use crate::table::ledger::LedgerKind;
use crate::table::rows::{Cell, Rows};
use crate::table::schema::Table;
use crate::wire::decode::Decoder;
use crate::wire::message::{BookData, Entries, Kind, Message, Placed, ShortEntry, ShortOrder};
use crate::wire::request;
use crate::wire::secret::Secret;
use crate::wire::time::SECOND;

/// How often the duties of the clock are looked at.
const STEP: i64 = SECOND / 10;

/// The protocol state of one connection.
pub struct Session {
    id: String,
    options: Options,
    decoder: Decoder,
    out: Output,
    symbols: Symbols,
    subscriptions: Subscriptions,
    books: Books,
    pairs: Pairs,
    budget: Budget,
    next_message: u64,
    /// Largest exchange time so far, the receive time of frames that came without one.
    latest: i64,
    next_step: i64,
    ended: bool,
    system: Option<String>,
}

impl Session {
    /// A new connection's state; `id` is a UUID that names the session in every row.
    #[must_use]
    pub fn new(id: &str, options: Options) -> Self {
        Self {
            id: id.into(),
            decoder: Decoder::default(),
            out: Output::new(options.rows, options.ledger),
            symbols: Symbols::default(),
            subscriptions: Subscriptions::new(options.instrument && !options.passive),
            books: Books::default(),
            pairs: Pairs::default(),
            options,
            budget: Budget::default(),
            next_message: 0,
            latest: 0,
            next_step: 0,
            ended: false,
            system: None,
        }
    }

    /// A session that goes on after `before`: trades already seen are not taken twice, missing ones are noticed, a pair
    /// that is gone is noticed, and the ledger says for how long nothing was known.
    #[must_use]
    pub fn after(id: &str, options: Options, before: &Self) -> Self {
        let mut session = Self::new(id, options);
        session.out.secrets.clone_from(&before.out.secrets);
        session.symbols.go_on_after(&before.symbols, before.out.last_received);
        session.pairs.go_on_after(&before.pairs, &before.symbols);
        // A session that received nothing changes nothing in what was known before it.
        let since = match &before.out.before {
            Some((_, since)) if before.out.last_received == 0 => *since,
            _ => (before.out.last_received > 0).then_some(before.out.last_received),
        };
        session.out.before = Some((before.id.clone(), since));
        let channels = session.options.channels.iter().copied().map(Some);
        session.out.gaps_to_tell = channels.chain(session.options.channels.is_empty().then_some(None)).collect();
        session
    }

    /// Goes on where a replayed session ends, before anything is subscribed here: its trades are not taken twice, missing
    /// ones are noticed, and gap events say for how long nothing was known.
    pub fn go_on_from(&mut self, before: &Self) {
        self.symbols.go_on_from(&before.symbols, before.out.last_received);
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether it is the session of this name, or the one that goes on after it.
    #[must_use]
    pub fn follows(&self, id: &str) -> bool {
        *self.id == *id || self.out.before.as_ref().is_some_and(|(before, _)| **before == *id)
    }

    /// The latest time that it was given, ns.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.out.now
    }

    /// Receive time of the latest frame, ns; 0 before the first.
    #[must_use]
    pub fn last_received(&self) -> i64 {
        self.out.last_received
    }

    /// State of the exchange as it last said: `online`, `maintenance`, …
    #[must_use]
    pub fn system(&self) -> Option<&str> {
        self.system.as_deref()
    }

    /// What it makes from now on: rows, and ledger rows for the caller. What was made is kept until it is taken.
    pub fn collect(&mut self, rows: bool, ledger: bool) {
        self.out.rows_wanted = rows;
        self.out.ledger_wanted = ledger;
    }

    /// The events that it makes from now on.
    pub fn want_events(&mut self, events: EventSet) {
        self.out.events_wanted = events;
    }

    /// All subscriptions become events with the next call of [`Self::take_events`], as if none had one before.
    pub fn tell_all_subscriptions(&mut self) {
        self.subscriptions.tell_all(&mut self.symbols);
    }

    /// The events since the last call, in the order of messages; then the subscriptions whose state is another.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.subscriptions.tell_changes(&mut self.symbols, &mut self.out);
        std::mem::take(&mut self.out.events)
    }

    /// Gives back a vector of events that were taken, whose memory is used again.
    pub fn reuse_events(&mut self, mut taken: Vec<Event>) {
        if self.out.events.is_empty() {
            taken.clear();
            self.out.events = taken;
        }
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
        if self.ended {
            return;
        }
        let Self { options, decoder, out, symbols, subscriptions, books, pairs, .. } = self;
        let hidden = out.without_secrets(frame);
        let frame = &*hidden;
        let number = self.next_message;
        self.next_message += 1;
        let (latest, next_step) = (&mut self.latest, &mut self.next_step);
        let mut begin = |symbols: &mut Symbols, books: &mut Books, out: &mut Output, ts_event: Option<i64>| {
            let now = ts_recv.unwrap_or_else(|| {
                *latest = (*latest).max(ts_event.unwrap_or(0));
                *latest
            });
            if now >= *next_step {
                *next_step = now + STEP;
                duties(symbols, books, out, now, number);
            }
            out.now = now;
            out.last_received = now;
            out.message = Some(number);
            out.counts.frames += 1;
            if options.frames {
                let place = out.place(0, None, None);
                out.row(Table::Frames, &place, [Cell::Bytes(frame)]);
            }
        };
        if let Some((kind, data, entries)) = decoder.book(frame) {
            begin(symbols, books, out, data.timestamp);
            match Books::update(options, symbols, out, kind, &data, entries) {
                Fast::Taken(_, Effect::None) => {}
                Fast::Taken(i, effect) => subscriptions.follow(options, symbols, out, (i, Channel::Book, effect)),
                Fast::NotTaken => {
                    let message = (kind, &[(0, data)][..], decoder.levels());
                    book_messages::<Book>(options, (symbols, subscriptions, books), out, message);
                }
            }
            return;
        }
        if let Some((kind, data, orders)) = decoder.level3(frame) {
            begin(symbols, books, out, data.timestamp);
            let message = (kind, &[(0, data)][..], &*orders);
            book_messages::<Orders>(options, (symbols, subscriptions, books), out, message);
            decoder.reuse(orders);
            return;
        }
        let decoded = decoder.decode_any(frame, |message, entries| {
            begin(symbols, books, out, message.timestamp());
            handle(options, (symbols, subscriptions, books, pairs), out, &mut self.system, (&message, entries));
        });
        out.counts.unknown_fields = decoder.unknown_fields;
        if let Err(error) = decoded {
            begin(symbols, books, out, None);
            out.count("undecoded");
            out.refuse(&error, None, frame);
            for effect in books::unreadable(symbols, out, &error, frame) {
                subscriptions.follow(options, symbols, out, effect);
            }
        }
    }

    /// Lets time pass: `alive` rows, checkpoints, what is due.
    pub fn tick(&mut self, now: i64) {
        if self.ended {
            return;
        }
        let Self { options, out, symbols, subscriptions, books, .. } = self;
        if now >= self.next_step {
            self.next_step = now + STEP;
            duties(symbols, books, out, now, self.next_message);
        }
        out.now = out.now.max(now);
        if options.passive {
            return;
        }
        subscriptions.advance(options, symbols, out, now);
        subscriptions.overdue(options, symbols, out, now);
        for effect in liveness::check(symbols, out, now) {
            subscriptions.follow(options, symbols, out, effect);
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
        if self.options.passive || self.ended {
            return Vec::new();
        }
        self.subscriptions.requests(&self.options, &mut self.symbols, &mut self.out, now, budget)
    }

    /// Takes from another session what it knows of pairs, as if the instrument channel had said it here. The patterns
    /// select among them. A pair that is followed here, and that the other's instrument snapshot does not list, is
    /// delisted: no message says so if that happened while the other was not connected. One that may be among the pairs
    /// of the snapshot that could not be read stays as it is.
    pub fn import_pairs(&mut self, other: &Self, symbols: &[String], now: i64) {
        let Self { options, out, pairs, subscriptions, .. } = self;
        out.now = out.now.max(now);
        for name in symbols {
            let known = |of: &Symbols| of.get(&**name).and_then(|i| of.all[i].pair.clone());
            let here = known(&self.symbols);
            let there = known(&other.symbols).or_else(|| {
                let complete = other.subscriptions.instrument.delivers() && !other.pairs.may_be_listed(name);
                let gone = here.clone().filter(|_| complete);
                gone.map(|pair| Pair { status: "delisted".into(), ..pair })
            });
            if let Some(pair) = there
                && here.as_ref() != Some(&pair)
                && let Some(i) = self.symbols.get_or_add(name, out)
            {
                take_pair(options, (&mut self.symbols, subscriptions, pairs), out, (i, &pair));
            }
        }
    }

    /// Compares the best prices of level 3, which comes on a connection of its own, with those that another session has
    /// from the book or the ticker. If they disagree for a while and level 3 was silent, it is subscribed again.
    pub fn cross_check(&mut self, other: &Self, now: i64) {
        if self.ended {
            return;
        }
        let Self { options, out, symbols, subscriptions, .. } = self;
        out.now = out.now.max(now);
        for i in 0..symbols.all.len() {
            if let Some(at) = other.symbols.get(&*symbols.all[i].name) {
                let effect = liveness::check_level3(symbols, out, i, &other.symbols.all[at], now);
                subscriptions.follow(options, symbols, out, effect);
            }
        }
    }

    /// Replaces the patterns while the session runs. Pairs that are selected now are subscribed; those that are selected no
    /// more are unsubscribed, and their books end.
    pub fn select(&mut self, now: i64, symbols: Vec<String>, exclude: Vec<String>, of_channels: ChannelSymbols) {
        let Self { options, out, subscriptions, .. } = self;
        out.now = out.now.max(now);
        (options.symbols, options.exclude, options.channel_symbols) = (symbols, exclude, of_channels);
        if !options.passive {
            pairs::select_anew(options, &mut self.symbols, subscriptions, out);
        }
    }

    /// Whether there is level 3 to subscribe or to unsubscribe, and no token for it, or one that was refused.
    #[must_use]
    pub fn token_needed(&self) -> bool {
        !self.ended && self.subscriptions.token_needed()
    }

    /// Gives it a token for level 3.
    pub fn set_token(&mut self, token: &str) {
        self.subscriptions.set_token(token);
        let secrets = &mut self.out.secrets;
        secrets.extend(Secret::new(token));
        if secrets.len() > limits::SECRETS_MAX {
            secrets.pop_front();
        }
    }

    /// A ping request, with a number of its own.
    pub fn ping(&mut self) -> String {
        request::ping(self.subscriptions.request_id())
    }

    /// Adds a row to the ledger that only the caller can know of.
    pub fn add_ledger_row(&mut self, row: LedgerRow) {
        self.out.add_ledger_row(row);
    }

    /// The connection is gone: all books end, the ledger says so. Later frames are ignored.
    pub fn end(&mut self, now: i64, reason: &str) {
        if self.ended {
            return;
        }
        self.out.now = now;
        for channel in Channel::ALL.map(Some).into_iter().chain([None]) {
            self.out.close_gap(channel);
        }
        self.out.alive(now);
        for i in 0..self.symbols.all.len() {
            for channel in [Channel::Book, Channel::Level3] {
                self.symbols.end(i, channel, self.out.last_received, "not connected");
            }
        }
        let last_received = self.out.last_received;
        // A connection can be dead for long before that is noticed.
        let row = LedgerRow::new(LedgerKind::Disconnect, now).count(self.out.counts.frames).reason(reason);
        self.out.add_ledger_row(row.span((last_received > 0).then_some(last_received), Some(now)));
        self.ended = true;
    }

    /// A session that replays recorded rows; `before`: the one whose connection was lost before this one was made.
    #[must_use]
    pub fn replaying(id: &str, channels: Vec<Channel>, before: Option<&Self>) -> Self {
        let options =
            Options { channels, instrument: false, passive: true, rows: false, ledger: false, ..Options::default() };
        match before {
            Some(before) => Self::after(id, options, before),
            None => Self::new(id, options),
        }
    }

    /// Takes a recorded message of the book channel whose levels are numbers at the pair's precision, as nearly all are.
    /// False, and nothing is done: take it with [`Self::replay`].
    pub fn replay_levels(&mut self, at: Recorded, meta: &BookMeta, data: &BookData<'_>, levels: &[ShortEntry]) -> bool {
        if self.ended {
            return true;
        }
        self.begin_recorded(at);
        let Self { options, symbols, out, subscriptions, .. } = self;
        replay::levels(options, symbols, subscriptions, out, (meta, data, levels))
    }

    /// Takes a recorded update of level 3 whose orders are numbers at the pair's precision, none of them negative, as nearly
    /// all are. False, and nothing is done: take it with [`Self::replay`].
    pub fn replay_orders(&mut self, at: Recorded, meta: &BookMeta, data: &BookData<'_>, orders: &[ShortOrder]) -> bool {
        if self.ended {
            return true;
        }
        self.begin_recorded(at);
        let Self { options, symbols, out, subscriptions, books, .. } = self;
        replay::orders(options, (symbols, subscriptions, books), out, (meta, data, orders))
    }

    /// Takes a recorded message; `meta`: what its rows say of depth and precision.
    pub fn replay(&mut self, at: Recorded, meta: Option<&BookMeta>, message: &Message<'_>, entries: Entries<'_, '_>) {
        if self.ended {
            return;
        }
        self.begin_recorded(at);
        let Self { options, out, symbols, subscriptions, books, pairs, system, .. } = self;
        if let Some(meta) = meta {
            replay::prepare(symbols, subscriptions, out, meta, message);
        }
        handle(options, (symbols, subscriptions, books, pairs), out, system, (message, entries));
    }

    /// A recorded message comes next.
    fn begin_recorded(&mut self, at: Recorded) {
        let out = &mut self.out;
        (out.now, out.last_received, out.message) = (at.ts_recv, at.ts_recv, Some(at.message));
        out.counts.frames += u64::from(at.message >= self.next_message);
        self.next_message = self.next_message.max(at.message + 1);
    }

    /// A symbol is followed that was subscribed before the replay begins.
    pub fn replay_subscribed(&mut self, symbol: &str, channel: Channel, ts_recv: i64) {
        let Self { out, symbols, subscriptions, .. } = self;
        out.now = out.now.max(ts_recv);
        replay::subscribed(symbols, subscriptions, out, (symbol, channel));
    }

    /// Takes the book of a recorded checkpoint, if no book is in sync: the replay began after its snapshot.
    pub fn replay_checkpoint(&mut self, symbol: &str, book: Book, ts_recv: i64) {
        let Self { out, symbols, subscriptions, .. } = self;
        out.now = out.now.max(ts_recv);
        replay::restore::<Book>(symbols, subscriptions, out, (symbol, book, ()));
    }

    /// The same of level 3, with the rule that was known then.
    pub fn replay_orders_checkpoint(&mut self, symbol: &str, book: Orders, rule: ModifyRule, ts_recv: i64) {
        let Self { out, symbols, subscriptions, .. } = self;
        out.now = out.now.max(ts_recv);
        replay::restore::<Orders>(symbols, subscriptions, out, (symbol, book, rule));
    }

    /// Takes a recorded row of the ledger, after the message that it belongs to.
    pub fn replay_ledger(&mut self, row: &LedgerRow) {
        if self.ended {
            return;
        }
        let Self { out, symbols, subscriptions, .. } = self;
        out.now = out.now.max(row.ts_recv);
        if let Some(reason) = replay::ledger(symbols, subscriptions, out, row) {
            self.end(row.ts_recv, reason);
        }
    }

    /// Ledger rows since the last call, except `alive`.
    pub fn take_ledger(&mut self) -> Vec<LedgerRow> {
        self.out.ledger.drain(..).collect()
    }

    /// Rows waiting to be taken.
    #[must_use]
    pub fn pending_rows(&self) -> usize {
        let Output { tables, book, orders, .. } = &self.out;
        tables.iter().map(|rows| rows.len).sum::<usize>() + book.rows() + orders.rows()
    }

    /// The rows collected since the last call; tables without rows are left out.
    pub fn drain(&mut self) -> Vec<Rows> {
        let Self { out, symbols, .. } = self;
        let name = |symbol: usize| (&*symbols.all[symbol].name, symbols.all[symbol].view);
        let mut taken: Vec<_> = out.book.take(name).into_iter().chain(out.orders.take(name)).collect();
        let others = out.tables.iter_mut().filter(|rows| rows.len > 0);
        taken.extend(others.map(|rows| std::mem::replace(rows, Rows::new(rows.table))));
        taken
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.out.counts
    }

    /// Channel, symbol, state and its reason of every subscription.
    pub fn subscriptions(&self) -> impl Iterator<Item = (Channel, &str, &'static str, &'static str)> {
        self.symbols.all.iter().flat_map(move |symbol| {
            Channel::ALL.into_iter().filter_map(move |channel| {
                let (word, reason) = symbol.told(channel)?;
                Some((channel, &*symbol.name, word, reason))
            })
        })
    }

    /// State and reason of one subscription; `None` if there is none.
    #[must_use]
    pub fn subscription(&self, symbol: &str, channel: Channel) -> Option<(&'static str, &'static str)> {
        self.symbols.all[self.symbols.get(symbol)?].told(channel)
    }

    /// The pairs that the instrument channel described, and whether each was selected.
    pub fn pairs(&self) -> impl Iterator<Item = (&Pair, bool)> {
        self.symbols.all.iter().filter_map(|symbol| symbol.pair.as_ref().map(|pair| (pair, symbol.selected)))
    }

    /// A pair as the instrument channel described it last; `None`: it did not.
    #[must_use]
    pub fn pair(&self, symbol: &str) -> Option<&Pair> {
        self.symbols.all[self.symbols.get(symbol)?].pair.as_ref()
    }

    /// Books in sync, of both kinds.
    #[must_use]
    pub fn books_in_sync(&self) -> usize {
        self.symbols.in_sync
    }

    /// How many pairs, subscriptions and books there are.
    #[must_use]
    pub fn subscription_counts(&self) -> SubscriptionCounts {
        self.subscriptions.counts(&self.symbols)
    }

    /// The book of `symbol`, if it is in sync.
    #[must_use]
    pub fn book(&self, symbol: &str) -> Option<&Book> {
        self.symbols.get(symbol).and_then(|i| self.symbols.all[i].book.synced.book())
    }

    /// The last checksum of `symbol` that was wrong: what the exchange sent, and what was computed. `level3`: of its
    /// orders, not of its book.
    #[must_use]
    pub fn last_mismatch(&self, symbol: &str, level3: bool) -> Option<(u32, u32)> {
        let symbol = &self.symbols.all[self.symbols.get(symbol)?];
        if level3 { symbol.orders.mismatch } else { symbol.book.mismatch }
    }

    /// The level-3 book of `symbol`, if it is in sync.
    #[must_use]
    pub fn orders(&self, symbol: &str) -> Option<&Synced<Orders>> {
        let synced = &self.symbols.all[self.symbols.get(symbol)?].orders.synced;
        synced.book().is_some().then_some(synced)
    }
}

/// Patterns of the symbols of single channels.
pub type ChannelSymbols = std::collections::HashMap<Channel, Vec<String>>;

/// What the clock calls for; `next` is the number of the frame to come.
#[cold]
fn duties(symbols: &mut Symbols, books: &mut Books, out: &mut Output, now: i64, next: u64) {
    if out.last_alive == 0 {
        out.last_alive = now;
    }
    if now - out.last_alive >= SECOND {
        out.alive(now);
    }
    books.checkpoints(symbols, out, now, next);
}

/// Takes the book messages of one frame.
fn book_messages<B: BookChannel>(
    options: &Options,
    (symbols, subscriptions, books): (&mut Symbols, &mut Subscriptions, &mut Books),
    out: &mut Output,
    (kind, data, entries): (Kind, &[Placed<'_>], &[B::Entry<'_>]),
) {
    out.count(B::CHANNEL.name());
    let mut first = 0;
    for (_, data) in data {
        let item = Item::<B> { kind, data, entries: &entries[data.entries.clone()], first };
        if let Some(i) = symbols.find(options, data.symbol, B::CHANNEL, out) {
            subscriptions.received(symbols, i, B::CHANNEL, out.now);
            let effects = books.message(options, symbols, out, i, &item);
            if kind == Kind::Snapshot {
                // The snapshot came that its subscription waited for.
                let subscription = symbols.all[i].subscription(B::CHANNEL);
                let (state, leaving) = (subscription.state, subscription.leaving);
                if !matches!(effects[0], Effect::Refuse(_) | Effect::GiveUp(_))
                    && matches!(state, SubscriptionState::Requested(_) | SubscriptionState::Acked(_))
                {
                    subscriptions.activate(symbols, i, B::CHANNEL, out.now);
                }
                if leaving && symbols.all[i].in_sync(B::CHANNEL) {
                    // It was on its way when the symbol was deselected.
                    Subscriptions::leave(symbols, out, i, B::CHANNEL);
                }
            }
            for effect in effects.into_iter().filter(|effect| *effect != Effect::None) {
                subscriptions.follow(options, symbols, out, (i, B::CHANNEL, effect));
            }
        }
        first += data.entries.len().max(1);
    }
}

/// Takes a pair that is new or changed.
fn take_pair(
    options: &Options,
    (symbols, subscriptions, pairs): (&mut Symbols, &mut Subscriptions, &mut Pairs),
    out: &mut Output,
    (i, pair): (usize, &Pair),
) {
    let (change, effects) = pairs::describe(symbols, out, i, pair);
    // A book is to be subscribed again before the pair decides whether it is subscribed at all.
    for effect in effects {
        subscriptions.follow(options, symbols, out, effect);
    }
    pairs.choose(options, symbols, subscriptions, out, (i, pair, change));
}

/// Hands a message to the part that it is for.
fn handle(
    options: &Options,
    (symbols, subscriptions, books, pairs): (&mut Symbols, &mut Subscriptions, &mut Books, &mut Pairs),
    out: &mut Output,
    system: &mut Option<String>,
    (message, entries): (&Message<'_>, Entries<'_, '_>),
) {
    match message {
        Message::Book(kind, data) => {
            let messages = (*kind, data.taken(), entries.levels);
            book_messages::<Book>(options, (symbols, subscriptions, books), out, messages);
        }
        Message::Level3(kind, data) => {
            let messages = (*kind, data.taken(), entries.orders);
            book_messages::<Orders>(options, (symbols, subscriptions, books), out, messages);
        }
        Message::Trade(kind, data) => {
            out.count("trade");
            for (i, trade) in &data.taken {
                feeds::trade(options, symbols, subscriptions, out, (*kind, trade, *i));
            }
        }
        Message::Ticker(kind, data) => {
            out.count("ticker");
            for (i, ticker) in &data.taken {
                feeds::ticker(options, symbols, subscriptions, out, (*kind, ticker, *i));
            }
        }
        Message::Ohlc(kind, time, data) => {
            out.count("ohlc");
            for (i, ohlc) in &data.taken {
                feeds::ohlc(options, symbols, subscriptions, out, (*kind, *time, ohlc, *i));
            }
        }
        Message::Instrument(kind, assets, listed) => {
            out.count("instrument");
            for (i, asset) in &assets.taken {
                pairs::asset(out, asset, *i);
            }
            for (i, pair) in &listed.taken {
                if let Some(at) = pairs::listed(symbols, out, pair, *i) {
                    take_pair(options, (symbols, subscriptions, pairs), out, (at, pair));
                }
            }
            if *kind == Kind::Snapshot {
                subscriptions.instrument_came();
                out.close_gap(None);
                pairs.complete(out, listed);
            }
        }
        Message::Status(data) => {
            out.count("status");
            for (i, status) in &data.taken {
                *system = Some(feeds::status(out, status, *i));
            }
        }
        Message::Heartbeat => out.count("heartbeat"),
        Message::Reply(reply) => {
            out.count(if reply.method == "pong" { "pong" } else { "reply" });
            subscriptions.reply(options, symbols, out, reply);
        }
        Message::Other(channel) => out.count(channel),
    }
    for effect in refused::items(symbols, out, message) {
        subscriptions.follow(options, symbols, out, effect);
    }
}
