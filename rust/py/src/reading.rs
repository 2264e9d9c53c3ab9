//! What a run of strategies was given and has not taken yet: of a live feed, of a recording, or of a recording in memory.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, MutexGuard};

use krakpot_core::session::{self, Event};
use krakpot_trade::engine::received;
use krakpot_trade::loaded;
use krakpot_trade::run::Run;
use pyo3::prelude::*;

use crate::loaded::Loaded;
use crate::replay::{Next, Replayer, State, Step, Stepped};
use crate::session::Session;

/// What was read.
#[allow(clippy::large_enum_variant, reason = "nearly all of them are events")]
pub enum Item {
    /// An event.
    Event(Event),
    /// At this time books, of level 3 or of level 2, may have gone out of sync without one.
    Look(i64, bool),
}

impl Item {
    /// When it was received, or `now`.
    fn time(&self, now: i64) -> i64 {
        match self {
            Self::Event(event) => received(event).unwrap_or(now),
            Self::Look(time, _) => *time,
        }
    }

    /// Lets a run take it.
    fn give(self, run: &mut Run, books: &session::Session) {
        match self {
            Self::Event(event) => run.take(event, books),
            Self::Look(time, level3) => run.look_at(time, level3, books),
        }
    }
}

/// A recording that is played.
#[derive(FromPyObject)]
pub enum Source<'py> {
    /// From its lake.
    Lake(Bound<'py, Replayer>),
    /// From memory.
    Memory(Bound<'py, Loaded>),
}

impl Source<'_> {
    pub fn open(&self) -> PyResult<Playing<'_>> {
        Ok(match self {
            Self::Lake(replayer) => Playing::Lake(replayer.get(), replayer.get().lock()?),
            Self::Memory(loaded) => Playing::Memory(&loaded.get().0),
        })
    }
}

/// The same while it is played.
pub enum Playing<'a> {
    Lake(&'a Replayer, MutexGuard<'a, State>),
    Memory(&'a Arc<loaded::Loaded>),
}

/// The next read of a socket, or why there is none.
pub enum Upcoming {
    Lake(Next),
    Memory(Result<i64, &'static str>),
}

impl Playing<'_> {
    pub fn interrupted(&self) -> bool {
        matches!(self, Self::Lake(replayer, _) if replayer.interrupted())
    }

    /// The next read before this time, and its time if something of it is given.
    pub fn next(&mut self, reading: &Reading, until: i64) -> (Upcoming, Option<i64>) {
        match self {
            Self::Lake(_, state) => {
                let next = state.next(until);
                let time = state.time_of(&next);
                (Upcoming::Lake(next), time)
            }
            Self::Memory(loaded) => {
                let time = loaded.time(reading.reads).ok_or("end");
                let next = time.and_then(|time| if time < until { Ok(time) } else { Err("until") });
                (Upcoming::Memory(next), next.ok())
            }
        }
    }

    /// Reads what comes next, as [`Self::next`] just said it; why that cannot be, and which session needs rows.
    pub fn step(
        &mut self,
        py: Python<'_>,
        next: Upcoming,
        reading: &mut Reading,
    ) -> PyResult<Option<(&'static str, Option<usize>)>> {
        match (self, next) {
            (Self::Lake(_, state), Upcoming::Lake(next)) => {
                let Stepped { mut events, connection, session, time } = match state.step_to(py, next)? {
                    Step::Halt(why, player) => return Ok(Some((why, player))),
                    Step::Events(stepped) => stepped,
                };
                reading.events.extend(events.drain(..).map(Item::Event));
                state.reuse(events);
                if let Some((false, _, _, endpoint)) = connection {
                    reading.events.push_back(Item::Look(time, endpoint == "level3"));
                }
                reading.session = Some(session);
            }
            (_, Upcoming::Memory(Err(why))) => return Ok(Some((why, None))),
            (Self::Memory(loaded), _) => {
                let items = loaded.items(reading.reads);
                reading.reads += 1;
                match &mut reading.loaded {
                    Some((_, left)) => *left = items,
                    none => *none = Some((loaded.clone(), items)),
                }
            }
            // What comes next was said of the same.
            (Self::Lake(..), Upcoming::Memory(Ok(_))) => {}
        }
        Ok(None)
    }
}

/// What is to be said of what was read.
#[derive(Default)]
pub struct Reading {
    /// Events, and looks at books; not of a recording in memory.
    pub events: VecDeque<Item>,
    /// Whose books are those after them.
    pub session: Option<Py<Session>>,
    /// A recording in memory, and what of the last read is left.
    pub loaded: Option<(Arc<loaded::Loaded>, Range<usize>)>,
    /// Reads of it that were played.
    pub reads: usize,
    /// Up to this time all is to be said before more is read: then books are still those of before.
    pub due: Option<i64>,
    /// The second thing that a strategy hears of a report: its fill.
    pub fill: Option<(usize, Py<PyAny>)>,
    /// Whether the strategies began.
    pub started: bool,
    /// All is said up to this time, and nothing was given since.
    pub said: Option<i64>,
}

impl Reading {
    /// When the first of what was read was received, or `now`; `None`: nothing is left.
    pub fn first(&self, now: i64) -> Option<i64> {
        let loaded = || {
            let (loaded, left) = self.loaded.as_ref()?;
            (!left.is_empty()).then(|| loaded.received(left.start).unwrap_or(now))
        };
        self.events.front().map(|item| item.time(now)).or_else(loaded)
    }

    /// Lets a run take it.
    pub fn give(&mut self, py: Python<'_>, run: &mut Run) -> PyResult<()> {
        self.said = None;
        if let Some(item) = self.events.pop_front() {
            if let Some(session) = &self.session {
                item.give(run, &*session.bind(py).get().lock()?);
            }
        } else if let Some((loaded, left)) = &mut self.loaded
            && let Some(next) = left.next()
        {
            loaded.give(next, run);
        }
        Ok(())
    }

    /// A read comes at this time. Up to then all is said before it is read: books are still those of before. The strategies
    /// begin with the first one.
    pub fn set_due(&mut self, run: &mut Run, time: Option<i64>) {
        self.due = time;
        if let Some(time) = time
            && !std::mem::replace(&mut self.started, true)
        {
            run.start(time);
        }
    }
}
