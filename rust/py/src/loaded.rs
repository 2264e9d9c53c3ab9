//! `Loaded`: a recording in memory, and `Loader`, which reads it.

use std::sync::{Arc, Mutex, MutexGuard};

use krakpot_trade::loaded;
use krakpot_trade::pair::Pair;
use pyo3::prelude::*;

use crate::error::{poisoned, value_error};
use crate::replay::{Replayer, Step, Stepped};

/// Reads of sockets that are taken before the caller gets its turn.
const STEPS: usize = 4096;

/// A recording in memory.
#[pyclass(frozen, module = "krakpot._core")]
pub struct Loaded(pub Arc<loaded::Loaded>);

#[pymethods]
impl Loaded {
    /// Messages of books, and trades.
    #[getter]
    fn messages(&self) -> u64 {
        self.0.messages()
    }

    /// Bytes of memory that it needs, about.
    #[getter]
    fn nbytes(&self) -> usize {
        self.0.bytes()
    }

    /// When a read of a socket came, ns.
    fn time(&self, read: usize) -> Option<i64> {
        self.0.time(read)
    }

    /// Reads of sockets before its begin.
    #[getter]
    fn skipped(&self) -> usize {
        self.0.skipped()
    }
}

/// Reads a recording into memory.
#[pyclass(frozen, module = "krakpot._core")]
pub struct Loader(Mutex<loaded::Loader>);

#[pymethods]
impl Loader {
    #[new]
    fn new() -> Self {
        Self(Mutex::new(loaded::Loader::new()))
    }

    #[pyo3(signature = (symbol, *, price_precision, qty_precision, level3, level2))]
    fn add_pair(
        &self,
        symbol: &str,
        price_precision: u8,
        qty_precision: u8,
        level3: bool,
        level2: bool,
    ) -> PyResult<()> {
        let pair = Pair::watched(symbol, price_precision, qty_precision);
        let added = self.lock()?.add_pair(&pair, level3, level2);
        added.ok_or_else(|| value_error("too many pairs for one run; select fewer".into()))
    }

    /// Reads on; as of `Replayer.play`.
    #[pyo3(signature = (replayer, until, steps = STEPS), text_signature = "($self, replayer, until, steps=4096)")]
    fn read(
        &self,
        py: Python<'_>,
        replayer: &Replayer,
        until: i64,
        steps: usize,
    ) -> PyResult<(&'static str, Option<usize>)> {
        replayer.play_on();
        let (mut loader, mut state) = (self.lock()?, replayer.lock()?);
        for _ in 0..steps {
            if replayer.interrupted() {
                return Ok(("interrupted", None));
            }
            let next = state.next(until);
            let given = state.time_of(&next).is_some();
            let Stepped { mut events, connection, session, time } = match state.step_to(py, next)? {
                Step::Halt(why, player) => return Ok((why, player)),
                Step::Events(stepped) => stepped,
            };
            if !given {
                loader.skip();
                continue;
            }
            let lost = connection.filter(|connection| !connection.0).map(|connection| connection.3 == "level3");
            loader.read(time, events.drain(..), lost, &*session.bind(py).get().lock()?);
            state.reuse(events);
        }
        Ok(("steps", None))
    }

    #[getter]
    fn messages(&self) -> PyResult<u64> {
        Ok(self.lock()?.loaded().messages())
    }

    #[getter]
    fn nbytes(&self) -> PyResult<usize> {
        Ok(self.lock()?.loaded().bytes())
    }

    /// All of it; the loader begins anew.
    fn finish(&self) -> PyResult<Loaded> {
        let loader = std::mem::take(&mut *self.lock()?);
        Ok(Loaded(Arc::new(loader.finish())))
    }
}

impl Loader {
    fn lock(&self) -> PyResult<MutexGuard<'_, loaded::Loader>> {
        self.0.lock().map_err(|_| poisoned())
    }
}
