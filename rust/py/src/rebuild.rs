//! What `Verifier`, `StateCollector` and `BookSampler` share: they rebuild the books of either channel from rows.

use std::sync::Mutex;

use arrow_array::RecordBatch;
use krakpot_core::session::Channel;
use krakpot_lake::rebuild::Rebuild;
use pyo3::prelude::*;

use crate::arrow::batches;
use crate::error::{poisoned, value_error};

/// One of the two kinds of books.
pub enum Kind<Book, Level3> {
    /// The book channel.
    Book(Book),
    /// Level 3.
    Level3(Level3),
}

/// Evaluates an expression for either kind.
macro_rules! of_either {
    ($kind:expr, $books:ident => $call:expr) => {
        match $kind {
            Kind::Book($books) => $call,
            Kind::Level3($books) => $call,
        }
    };
}
pub(crate) use of_either;

impl<Book: Rebuild, Level3: Rebuild> Rebuild for Kind<Book, Level3> {
    fn ends(&mut self, rows: &RecordBatch) -> Result<(), String> {
        of_either!(self, books => books.ends(rows))
    }

    fn checkpoints(&mut self, rows: &RecordBatch) -> Result<(), String> {
        of_either!(self, books => books.checkpoints(rows))
    }

    fn messages(&mut self, rows: &RecordBatch) -> Result<(), String> {
        of_either!(self, books => books.messages(rows))
    }
}

/// What Python holds: a rebuilder until it is finished.
// A mutex, because several threads may hold the object. Each call locks it as a whole.
pub struct Rebuilder<T>(Mutex<Option<T>>);

impl<Book: Rebuild + Send, Level3: Rebuild + Send> Rebuilder<Kind<Book, Level3>> {
    /// A rebuilder for the books of `channel`, made of `options`.
    pub fn new<T>(
        channel: &str,
        options: T,
        book: impl FnOnce(T) -> Book,
        level3: impl FnOnce(T) -> Level3,
    ) -> PyResult<Self> {
        let kind = match Channel::named(channel) {
            Some(Channel::Book) => Kind::Book(book(options)),
            Some(Channel::Level3) => Kind::Level3(level3(options)),
            _ => return Err(value_error(format!("channel {channel:?} has no books; channels: book, level3"))),
        };
        Ok(Self(Mutex::new(Some(kind))))
    }

    /// Calls `call` with the rebuilder, without the interpreter.
    pub fn with<R: Send>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&mut Kind<Book, Level3>) -> Result<R, String> + Send,
    ) -> PyResult<R> {
        py.detach(|| {
            let mut guard = self.0.lock().map_err(|_| poisoned())?;
            call(guard.as_mut().ok_or_else(finished)?).map_err(value_error)
        })
    }

    /// The rebuilder itself, to be finished.
    pub fn take(&self, py: Python<'_>) -> PyResult<Kind<Book, Level3>> {
        py.detach(|| self.0.lock().map_err(|_| poisoned())?.take().ok_or_else(finished))
    }

    /// Gives it ledger rows.
    pub fn ends(&self, py: Python<'_>, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        self.each(py, rows, Rebuild::ends)
    }

    /// Gives it rows of checkpoints.
    pub fn checkpoints(&self, py: Python<'_>, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        self.each(py, rows, Rebuild::checkpoints)
    }

    /// Gives it rows of messages.
    pub fn messages(&self, py: Python<'_>, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        self.each(py, rows, Rebuild::messages)
    }

    fn each(
        &self,
        py: Python<'_>,
        rows: &Bound<'_, PyAny>,
        take: fn(&mut Kind<Book, Level3>, &RecordBatch) -> Result<(), String>,
    ) -> PyResult<()> {
        let batches = batches(rows)?;
        self.with(py, |kind| batches.iter().try_for_each(|batch| take(kind, batch)))
    }
}

fn finished() -> PyErr {
    value_error("it is finished: its result was taken; make a new one".into())
}
