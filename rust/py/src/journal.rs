//! `JournalRows`: rows of an account's journal as text, until Python writes them.

use std::sync::{Mutex, MutexGuard};

use krakpot_trade::journal::Rows;
use krakpot_trade::note::{Fact, Note};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::error::poisoned;

/// Number, time, kind and facts of a row.
type Noted<'py> = (u64, i64, &'static str, Bound<'py, PyDict>);

/// Rows that follow those of a journal.
#[pyclass(frozen, module = "krakpot._core")]
pub struct JournalRows(Mutex<Rows>);

impl JournalRows {
    /// The rows.
    pub fn lock(&self) -> PyResult<MutexGuard<'_, Rows>> {
        self.0.lock().map_err(|_| poisoned())
    }
}

#[pymethods]
impl JournalRows {
    #[new]
    fn new(before: String, number: u64) -> Self {
        Self(Mutex::new(Rows::new(before, number)))
    }

    fn refuse_orders(&self) -> PyResult<()> {
        self.lock()?.refuse_orders();
        Ok(())
    }

    /// Number of the next row.
    #[getter]
    fn number(&self) -> PyResult<u64> {
        Ok(self.lock()?.number())
    }

    fn add(&self, ts: i64, kind: &str, facts: &str) -> PyResult<()> {
        self.lock()?.add(ts, kind, facts);
        Ok(())
    }

    fn take_noted<'py>(&self, py: Python<'py>) -> PyResult<Vec<Noted<'py>>> {
        let noted = self.lock()?.take_noted();
        noted.iter().map(|row| Ok((row.number, row.ts, row.note.kind, facts(py, &row.note)?))).collect()
    }

    fn unwritten<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, self.lock()?.unwritten()))
    }

    fn written(&self, bytes: usize) -> PyResult<()> {
        self.lock()?.written(bytes);
        Ok(())
    }
}

/// The facts of a note.
pub fn facts<'py>(py: Python<'py>, note: &Note) -> PyResult<Bound<'py, PyDict>> {
    let found = PyDict::new(py);
    for (name, fact) in &note.facts {
        match fact {
            Fact::Text(text) => found.set_item(name, text)?,
            Fact::Int(number) => found.set_item(name, number)?,
            Fact::Number(number) => found.set_item(name, number)?,
            Fact::Flag(flag) => found.set_item(name, flag)?,
            Fact::Amounts(all) => {
                let amounts = PyDict::new(py);
                for (asset, amount) in all {
                    amounts.set_item(asset, amount)?;
                }
                found.set_item(name, amounts)?;
            }
            Fact::List(all) => found.set_item(name, all)?,
            Fact::None => found.set_item(name, py.None())?,
        }
    }
    Ok(found)
}
