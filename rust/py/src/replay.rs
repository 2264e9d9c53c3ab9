//! `Replayer`: recorded sessions merged by time, message by message, with the events that a live feed would give.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use krakpot_core::session::{self, Channel, Event, EventKind, EventSet};
use krakpot_core::table::schema::Table;
use krakpot_lake::replay::{Connection, Keys, Order, Window};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::arrow::batches;
use crate::error::{poisoned, value_error};
use crate::events::{events_named, object};
use crate::session::{Session, channel_named};

/// How late a message may come, ns, to be in its place by the exchange's time.
const LATE: i64 = 5_000_000_000;
/// Messages that are applied before the caller gets its turn.
const STEPS: usize = 4096;
/// `interrupted`: play on; return when the events of the read are given; give nothing more.
const PLAY: u8 = 0;
const HALT: u8 = 1;
const DROP: u8 = 2;

/// Rows of some messages of one session, in order: made in any thread, taken by `Replayer.add`.
#[pyclass(frozen, module = "krakpot._core")]
pub struct ReplayWindow {
    window: Mutex<Option<Window>>,
    /// Where the window after it goes on.
    keys: Keys,
}

#[pymethods]
impl ReplayWindow {
    #[new]
    #[pyo3(signature = (tables, *, by = "recv", after = None, floor = None))]
    fn new(
        py: Python<'_>,
        tables: &Bound<'_, PyDict>,
        by: &str,
        after: Option<&Bound<'_, Self>>,
        floor: Option<i64>,
    ) -> PyResult<Self> {
        let order = order_named(by)?;
        let mut keys = after.map(|after| after.get().keys.clone()).unwrap_or_default();
        if let Some(floor) = floor {
            keys.raise(floor);
        }
        let mut rows = Vec::new();
        for (name, frame) in tables {
            let name: String = name.extract()?;
            let table = Table::named(&name).ok_or_else(|| value_error(format!("no table {name:?}")))?;
            rows.extend(batches(&frame)?.into_iter().map(|batch| (table, batch)));
        }
        let window = py.detach(|| Window::new(&rows, order, &mut keys)).map_err(value_error)?;
        Ok(Self { window: Mutex::new(Some(window)), keys })
    }
}

fn order_named(by: &str) -> PyResult<Order> {
    match by {
        "recv" => Ok(Order::Recv),
        "event" => Ok(Order::Event),
        _ => Err(value_error(format!("no order {by:?}; orders: recv, event"))),
    }
}

/// One session of the replay.
struct Player {
    session: Py<Session>,
    endpoint: &'static str,
    windows: VecDeque<Window>,
    /// Whether no more rows come.
    finished: bool,
    /// Whether its connection is being made.
    connecting: bool,
    /// Whether its subscriptions became events.
    told: bool,
    /// Facts of the ledger about the end of its connection, JSON.
    down: Option<String>,
}

impl Player {
    /// The time of what comes next, and the window that has it. `Err`: more rows are needed to know it.
    fn peek(&mut self, order: Order) -> Result<Option<(i64, usize)>, ()> {
        while self.windows.front().is_some_and(|window| window.peek().is_none()) {
            self.windows.pop_front();
        }
        let next = match order {
            Order::Recv => self.windows.front().and_then(Window::peek).map(|key| (key, 0)),
            // Messages come late by the exchange's time: the next one may lie in a later window.
            Order::Event => {
                let keys = self.windows.iter().enumerate().filter_map(|(at, window)| Some((window.peek()?, at)));
                let next = keys.min();
                let known =
                    self.windows.back().and_then(Window::last).map_or(i64::MIN, |last| last.saturating_sub(LATE));
                next.filter(|(key, _)| self.finished || *key <= known)
            }
        };
        if next.is_none() && !self.finished { Err(()) } else { Ok(next) }
    }
}

/// Where the next read of a socket is: its time, its session, the window of its rows.
pub struct Place {
    key: i64,
    player: usize,
    window: usize,
}

/// The next read of a socket; or why it cannot be played, and which session needs rows.
pub type Next = Result<Place, (&'static str, Option<usize>)>;

/// Whose data of a symbol in a channel counts from a time on.
struct Switch {
    key: i64,
    channel: Channel,
    symbol: String,
    player: usize,
    joined: bool,
}

/// Whose data of a symbol in a channel counts now.
struct Owner {
    player: usize,
    /// Time and trade id of the last event that was given.
    last: (i64, i64),
    /// Checksum of the last message of a book that was given.
    checksum: Option<u32>,
    /// What was given before another session took over: of that one, only what is later counts.
    after: Option<(i64, i64)>,
}

#[allow(clippy::struct_excessive_bools, reason = "facts that do not depend on each other")]
pub struct State {
    players: Vec<Player>,
    /// Those of them that have rows, or may get some.
    active: Vec<usize>,
    order: Order,
    /// Sorted by time.
    switches: VecDeque<Switch>,
    owners: HashMap<Channel, HashMap<String, Owner>>,
    wanted: EventSet,
    connections: bool,
    /// Whether sessions keep rows.
    rows: bool,
    /// Events are given from this time on.
    since: i64,
    now: i64,
    /// Whether it matters what was given last: several sessions cover one symbol at a time, or a live feed goes on.
    arbitrated: bool,
    /// Whether what is given last is remembered of all channels.
    tracked: bool,
    /// Memory for the events of the next read.
    spare: Vec<Event>,
    /// Reads of sockets that were played.
    reads: usize,
}

impl State {
    fn switch(&mut self, key: i64) {
        while self.switches.front().is_some_and(|switch| switch.key <= key) {
            let Some(Switch { channel, symbol, player, joined, .. }) = self.switches.pop_front() else { return };
            let owners = self.owners.entry(channel).or_default();
            let before = owners.get(&symbol).map(|owner| (owner.player, owner.last));
            let last = before.map(|(_, last)| last);
            let after = before.filter(|(other, _)| joined && *other != player).map(|(_, last)| last);
            let last = last.unwrap_or((i64::MIN, i64::MIN));
            owners.insert(symbol, Owner { player, last, checksum: None, after });
        }
    }

    /// Whether an event of a player counts.
    fn counts(&mut self, player: usize, event: &Event) -> bool {
        let (channel, received, id) = match event {
            Event::Book(message, _) => (Channel::Book, &message.received, None),
            Event::Level3(message, _) => (Channel::Level3, &message.received, None),
            Event::Trade(trade) => (Channel::Trade, &trade.received, Some(trade.trade_id)),
            Event::Ticker(ticker) => (Channel::Ticker, &ticker.received, None),
            Event::Ohlc(ohlc) => (Channel::Ohlc, &ohlc.received, None),
            Event::Gap(gap) => (gap.channel, &gap.received, None),
            Event::Subscription(_) | Event::Status(_) => return true,
        };
        let Some(owner) = self.owners.get_mut(&channel).and_then(|owners| owners.get_mut(&*received.symbol)) else {
            return true;
        };
        if owner.player != player {
            // Of a session that is over nothing more comes.
            return self.players[owner.player].down.is_some();
        }
        let time = received.ts_event.unwrap_or(i64::MIN);
        if let Some((after, after_id)) = owner.after {
            let later = id.map_or(time > after, |id| id > after_id);
            if !later && !matches!(event, Event::Gap(_)) {
                return false;
            }
            owner.after = None;
        }
        if let Event::Book(message, _) | Event::Level3(message, _) = event {
            owner.checksum = message.checksum;
        }
        owner.last = (owner.last.0.max(time), id.map_or(owner.last.1, |id| owner.last.1.max(id)));
        true
    }

    /// When the next read of a socket is of which events are given; `None` if there is none, or if more rows are needed to
    /// know.
    pub fn time_of(&self, next: &Next) -> Option<i64> {
        next.as_ref().ok().map(|place| place.key).filter(|key| *key >= self.since)
    }

    /// What comes with the next read of a socket, the earliest of all sessions, before this time.
    pub fn next(&mut self, until: i64) -> Next {
        let mut best: Option<Place> = None;
        let mut over = None;
        for &at in &self.active {
            match self.players[at].peek(self.order) {
                Err(()) => return Err(("rows", Some(at))),
                Ok(Some((key, window))) if best.as_ref().is_none_or(|known| key < known.key) => {
                    best = Some(Place { key, player: at, window });
                }
                Ok(Some(_)) => {}
                Ok(None) => over = Some(at),
            }
        }
        if over.is_some() {
            return Err(("over", over));
        }
        match best {
            None => Err(("end", None)),
            Some(place) if place.key >= until => Err(("until", None)),
            Some(place) => Ok(place),
        }
    }

    /// Notes why nothing is played: after a session that is over, the one that follows it may begin.
    fn note_halt(&mut self, (why, player): (&'static str, Option<usize>)) -> (&'static str, Option<usize>) {
        if why == "over" {
            self.active.retain(|&at| Some(at) != player);
        }
        (why, player)
    }

    /// Applies what comes next, as [`Self::next`] just said it.
    pub fn step_to(&mut self, py: Python<'_>, next: Next) -> PyResult<Step> {
        let Place { key, player: at, window } = match next {
            Ok(place) => place,
            Err(halt) => {
                let (why, player) = self.note_halt(halt);
                return Ok(Step::Halt(why, player));
            }
        };
        self.switch(key);
        self.now = key;
        let wanted = if key < self.since { EventSet::NONE } else { self.wanted };
        let player = &mut self.players[at];
        let session = player.session.bind(py).get();
        let mut session = session.lock()?;
        // What is tracked is made, and not given.
        let made = if self.tracked && key >= self.since { wanted.or(MESSAGES) } else { wanted };
        session.want_events(made);
        session.collect(self.rows && key >= self.since, false);
        if made != EventSet::NONE && !std::mem::replace(&mut player.told, true) {
            session.tell_all_subscriptions();
        }
        if self.spare.capacity() > 0 {
            session.reuse_events(std::mem::take(&mut self.spare));
        }
        let Some(window) = player.windows.get_mut(window) else { return Ok(Step::Halt("rows", Some(at))) };
        let changed = window.step(&mut session, &mut player.connecting).map_err(value_error)?;
        let mut events = if made == EventSet::NONE { Vec::new() } else { session.take_events() };
        drop(session);
        if let Some(Connection::Down { detail, .. }) = &changed {
            player.down = Some(detail.clone());
        }
        let (endpoint, owner) = (player.endpoint, player.session.clone_ref(py));
        if self.arbitrated {
            events.retain(|event| self.counts(at, event) && wanted.has(about(event).0));
        }
        self.reads += 1;
        let connection = changed.filter(|_| self.connections && key >= self.since).map(|changed| match changed {
            Connection::Up { ts_recv } => (true, String::new(), ts_recv, endpoint),
            Connection::Down { ts_recv, detail } => (false, detail, ts_recv, endpoint),
        });
        Ok(Step::Events(Stepped { events, connection, session: owner, time: key }))
    }

    /// Gives back a vector of events whose memory is used again.
    pub fn reuse(&mut self, events: Vec<Event>) {
        self.spare = events;
    }
}

/// The events of messages that a symbol has.
const MESSAGES: EventSet = EventSet::NONE
    .with(EventKind::Book)
    .with(EventKind::Level3)
    .with(EventKind::Trade)
    .with(EventKind::Ticker)
    .with(EventKind::Ohlc);

/// A function to call with events, and the symbol that it wants; `None`: all.
type Listener = (Py<PyAny>, Option<String>);

/// The channel of events about connections, which is no channel of the exchange.
const CONNECTION: &str = "connection";
/// Its place after the kinds of events.
const CONNECTIONS: usize = EventKind::ALL.len();

/// Listeners of each kind of event, and of connections.
type Listeners = [Vec<Listener>; CONNECTIONS + 1];

/// An event as a Python object, its kind and its symbol.
type Given<'py> = (usize, Option<Arc<str>>, Bound<'py, PyAny>);

/// Merges recorded sessions by time and gives their events.
#[pyclass(frozen, module = "krakpot._core")]
pub struct Replayer {
    state: Mutex<State>,
    interrupted: AtomicU8,
    /// Makes the event of a connection.
    connection: Py<PyAny>,
}

#[pymethods]
#[allow(clippy::needless_pass_by_value, reason = "arguments are made from Python objects and belong to the call")]
impl Replayer {
    #[new]
    #[pyo3(signature = (connection, *, by = "recv", since = None))]
    fn new(connection: Py<PyAny>, by: &str, since: Option<i64>) -> PyResult<Self> {
        let state = State {
            players: Vec::new(),
            active: Vec::new(),
            rows: false,
            order: order_named(by)?,
            switches: VecDeque::new(),
            owners: HashMap::new(),
            wanted: EventSet::NONE,
            connections: false,
            since: since.unwrap_or(i64::MIN),
            now: i64::MIN,
            arbitrated: false,
            tracked: false,
            spare: Vec::new(),
            reads: 0,
        };
        Ok(Self { state: Mutex::new(state), interrupted: AtomicU8::new(PLAY), connection })
    }

    fn open(&self, session: Py<Session>, endpoint: &str) -> PyResult<usize> {
        let endpoint = if endpoint == "level3" { "level3" } else { "public" };
        let mut state = self.lock()?;
        let (windows, finished, connecting, told) = (VecDeque::new(), false, false, false);
        state.players.push(Player { session, endpoint, windows, finished, connecting, told, down: None });
        let player = state.players.len() - 1;
        state.active.push(player);
        Ok(player)
    }

    fn add(&self, player: usize, window: &ReplayWindow) -> PyResult<()> {
        let window = window.window.lock().map_err(|_| poisoned())?.take();
        let mut state = self.lock()?;
        let player = state.players.get_mut(player).ok_or_else(|| value_error("no such session".into()))?;
        player.windows.extend(window);
        Ok(())
    }

    fn subscribed(&self, py: Python<'_>, player: usize, channel: &str, symbol: &str, ts_recv: i64) -> PyResult<()> {
        let channel = channel_named(channel)?;
        let state = self.lock()?;
        let player = state.players.get(player).ok_or_else(|| value_error("no such session".into()))?;
        player.session.bind(py).get().lock()?.replay_subscribed(symbol, channel, ts_recv);
        Ok(())
    }

    fn finish(&self, player: usize) -> PyResult<()> {
        let mut state = self.lock()?;
        let player = state.players.get_mut(player).ok_or_else(|| value_error("no such session".into()))?;
        player.finished = true;
        Ok(())
    }

    fn switch(&self, key: i64, channel: &str, symbol: String, player: usize, joined: bool) -> PyResult<()> {
        let channel = channel_named(channel)?;
        let mut state = self.lock()?;
        let at = state.switches.partition_point(|switch| switch.key <= key);
        state.switches.insert(at, Switch { key, channel, symbol, player, joined });
        state.arbitrated |= joined;
        Ok(())
    }

    fn want(&self, channels: Vec<String>, rows: bool) -> PyResult<()> {
        let connections = channels.iter().any(|name| name == CONNECTION);
        let made: Vec<_> = channels.into_iter().filter(|name| name != CONNECTION).collect();
        let wanted = events_named(&made)?;
        let mut state = self.lock()?;
        (state.wanted, state.connections, state.rows) = (wanted, connections, rows);
        self.interrupted.fetch_max(HALT, Ordering::Relaxed);
        Ok(())
    }

    #[pyo3(signature = (*, drop = false))]
    fn interrupt(&self, drop: bool) {
        self.interrupted.fetch_max(if drop { DROP } else { HALT }, Ordering::Relaxed);
    }

    #[getter]
    fn now(&self) -> PyResult<Option<i64>> {
        let now = self.lock()?.now;
        Ok((now != i64::MIN).then_some(now))
    }

    #[getter]
    fn reads(&self) -> PyResult<usize> {
        Ok(self.lock()?.reads)
    }

    fn peek(&self, until: i64) -> PyResult<(&'static str, Option<usize>)> {
        let mut state = self.lock()?;
        Ok(match state.next(until) {
            Ok(_) => ("steps", None),
            Err(halt) => state.note_halt(halt),
        })
    }

    fn track(&self) -> PyResult<()> {
        let mut state = self.lock()?;
        (state.arbitrated, state.tracked) = (true, true);
        Ok(())
    }

    fn last(&self, channel: &str, symbol: &str) -> PyResult<Option<(i64, i64, Option<u32>)>> {
        let channel = channel_named(channel)?;
        let state = self.lock()?;
        let owner = state.owners.get(&channel).and_then(|owners| owners.get(symbol));
        let last = owner.map(|owner| (owner.last.0, owner.last.1, owner.checksum));
        Ok(last.filter(|last| last.0 != i64::MIN))
    }

    fn reopen(&self, player: usize) -> PyResult<()> {
        let mut state = self.lock()?;
        let found = state.players.get_mut(player).ok_or_else(|| value_error("no such session".into()))?;
        found.finished = false;
        if !state.active.contains(&player) {
            state.active.push(player);
        }
        Ok(())
    }

    #[getter]
    fn connected(&self) -> PyResult<bool> {
        let state = self.lock()?;
        let up = |&at: &usize| state.players[at].down.is_none() && !state.players[at].connecting;
        Ok(!state.active.is_empty() && state.active.iter().all(up))
    }

    pub fn session(&self, py: Python<'_>, channel: &str, symbol: &str) -> PyResult<Option<Py<Session>>> {
        let channel = channel_named(channel)?;
        let state = self.lock()?;
        let owner = state.owners.get(&channel).and_then(|owners| owners.get(symbol));
        Ok(owner.map(|owner| state.players[owner.player].session.clone_ref(py)))
    }

    fn down(&self, channel: &str, symbol: &str) -> PyResult<Option<String>> {
        let channel = channel_named(channel)?;
        let state = self.lock()?;
        let owner = state.owners.get(&channel).and_then(|owners| owners.get(symbol));
        Ok(owner.and_then(|owner| state.players[owner.player].down.clone()))
    }

    #[pyo3(signature = (until, listeners = None, steps = STEPS), text_signature = "($self, until, listeners=None, steps=4096)")]
    fn play<'py>(
        &self,
        py: Python<'py>,
        until: i64,
        listeners: Option<&Bound<'py, PyDict>>,
        steps: usize,
    ) -> PyResult<(&'static str, Option<usize>, Bound<'py, PyList>)> {
        let table = listeners.map(listeners_of).transpose()?;
        let given = PyList::empty(py);
        self.interrupted.store(PLAY, Ordering::Relaxed);
        for _ in 0..steps {
            let Stepped { events, connection, .. } = match self.step(py, until)? {
                Step::Halt(why, player) => return Ok((why, player, given)),
                Step::Events(stepped) => stepped,
            };
            for event in events {
                let (kind, symbol) = about(&event);
                let event: Given<'_> = (kind as usize, symbol, object(py, event)?);
                self.give(py, table.as_ref(), &given, &event)?;
                if self.dropped() {
                    return Ok(("interrupted", None, given));
                }
            }
            if let Some(connection) = connection {
                let event = self.connection.bind(py).call1(connection)?;
                self.give(py, table.as_ref(), &given, &(CONNECTIONS, None, event))?;
            }
            if !given.is_empty() {
                return Ok(("events", None, given));
            }
            if self.interrupted.load(Ordering::Relaxed) != PLAY {
                return Ok(("interrupted", None, given));
            }
        }
        Ok(("steps", None, given))
    }
}

/// What one step brought.
pub enum Step {
    /// Nothing can be played: why, and which session needs rows.
    Halt(&'static str, Option<usize>),
    /// It was played.
    Events(Stepped),
}

/// What came with one read of a socket.
pub struct Stepped {
    /// The events that are wanted.
    pub events: Vec<Event>,
    /// What happened to a connection: whether it is up, facts, time, endpoint.
    pub connection: Option<(bool, String, i64, &'static str)>,
    /// The session that it came with.
    pub session: Py<Session>,
    /// Its time, ns.
    pub time: i64,
}

/// What an event is of, and the symbol that it is about.
fn about(event: &Event) -> (EventKind, Option<Arc<str>>) {
    match event {
        Event::Book(message, _) => (EventKind::Book, Some(message.received.symbol.clone())),
        Event::Level3(message, _) => (EventKind::Level3, Some(message.received.symbol.clone())),
        Event::Trade(event) => (EventKind::Trade, Some(event.received.symbol.clone())),
        Event::Ticker(event) => (EventKind::Ticker, Some(event.received.symbol.clone())),
        Event::Ohlc(event) => (EventKind::Ohlc, Some(event.received.symbol.clone())),
        Event::Status(_) => (EventKind::Status, None),
        Event::Subscription(event) => (EventKind::Subscription, Some(event.symbol.clone())),
        Event::Gap(event) => (EventKind::Gap, Some(event.received.symbol.clone())),
    }
}

fn listeners_of(listeners: &Bound<'_, PyDict>) -> PyResult<Listeners> {
    let mut table: Listeners = Default::default();
    for (channel, list) in listeners {
        let name: String = channel.extract()?;
        let kind = EventKind::named(&name).map(|kind| kind as usize).or((name == CONNECTION).then_some(CONNECTIONS));
        let kind = kind.ok_or_else(|| value_error(format!("no events of {name:?}")))?;
        table[kind] = list.extract()?;
    }
    Ok(table)
}

impl Replayer {
    /// What it plays; an error, if an earlier call failed.
    pub fn lock(&self) -> PyResult<MutexGuard<'_, State>> {
        self.state.lock().map_err(|_| poisoned())
    }

    /// Whether it is to return to its caller.
    pub fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed) != PLAY
    }

    /// Lets it play on.
    pub fn play_on(&self) {
        self.interrupted.store(PLAY, Ordering::Relaxed);
    }

    /// Whether nothing more is to be given, not even the rest of a read.
    fn dropped(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed) == DROP
    }

    /// Applies what came with one read of a socket, the earliest of all sessions.
    fn step(&self, py: Python<'_>, until: i64) -> PyResult<Step> {
        let mut state = self.lock()?;
        let next = state.next(until);
        state.step_to(py, next)
    }

    /// Calls the listeners with an event, or keeps it for the caller.
    fn give(
        &self,
        py: Python<'_>,
        table: Option<&Listeners>,
        given: &Bound<'_, PyList>,
        (kind, symbol, event): &Given<'_>,
    ) -> PyResult<()> {
        let Some(table) = table else { return given.append(event) };
        for (callback, wanted) in &table[*kind] {
            if wanted.is_none() || wanted.as_deref() == symbol.as_deref() {
                callback.bind(py).call1((event,))?;
                if self.dropped() {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// A session that replays; `channels` are those that it recorded.
#[pyfunction]
#[pyo3(signature = (session, channels, after = None))]
pub fn replaying(session: &str, channels: Vec<String>, after: Option<&Bound<'_, Session>>) -> PyResult<Session> {
    let channels = channels.into_iter().map(|name| channel_named(&name)).collect::<PyResult<Vec<_>>>()?;
    Ok(Session::of(match after {
        None => session::Session::replaying(session, channels, None),
        Some(before) => session::Session::replaying(session, channels, Some(&*before.get().lock()?)),
    }))
}
