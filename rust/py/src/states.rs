//! `StateCollector`: the states that the books of a lake went through.

use std::collections::HashMap;

use krakpot_core::book::level2::Book;
use krakpot_core::book::level3::Orders;
use krakpot_lake::states;
use pyo3::prelude::*;

use crate::arrow::Frame;
use crate::rebuild::{Kind, Rebuilder, of_either};

/// Collects the states of one channel in one session.
#[pyclass(frozen, module = "krakpot._core")]
pub struct StateCollector(Rebuilder<Kind<states::StateCollector<Book>, states::StateCollector<Orders>>>);

#[pymethods]
impl StateCollector {
    #[new]
    #[pyo3(signature = (session, *, channel, depths))]
    fn new(session: &str, channel: &str, depths: HashMap<String, u16>) -> PyResult<Self> {
        let (book, level3) = (states::StateCollector::new, states::StateCollector::new);
        Rebuilder::new(channel, depths, |depths| book(session, depths), |depths| level3(session, depths)).map(Self)
    }

    fn ends(&self, py: Python<'_>, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        self.0.ends(py, rows)
    }

    fn checkpoints(&self, py: Python<'_>, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        self.0.checkpoints(py, rows)
    }

    fn messages(&self, py: Python<'_>, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        self.0.messages(py, rows)
    }

    fn states(&self, py: Python<'_>) -> PyResult<Frame> {
        self.0.with(py, |kind| of_either!(kind, states => states.states())).map(Frame)
    }

    fn spans(&self, py: Python<'_>) -> PyResult<Frame> {
        self.0.with(py, |kind| of_either!(kind, states => states.spans())).map(Frame)
    }
}
