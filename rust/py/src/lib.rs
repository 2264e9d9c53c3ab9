//! The Python extension `krakpot._core`: each file converts, lets go of the interpreter, calls the core, wraps.

mod error;
mod numbers;
mod arrow;
mod frame;
mod book;
mod orders;
mod session;
mod digest;
mod events;
mod rebuild;
mod verifier;
mod states;
mod sample;
mod queue;
mod align;
mod replay;
mod loaded;
mod exchange;
mod own;
mod compiled;
mod tables;
mod reading;
mod trade;
mod journal;
mod live;
mod questions;

/// The Rust core: sessions, books, checksums, tables; and the built-in exchange.
// With the interpreter lock until the extension is tested without it.
#[pyo3::pymodule(gil_used = true)]
mod _core {
    use std::collections::BTreeMap;

    use krakpot_core::limits;
    use krakpot_core::session::{Channel, EventKind};
    use krakpot_core::table::ledger::LedgerKind;
    use pyo3::prelude::*;
    use pyo3::types::{IntoPyDict, PyTuple};

    #[pymodule_export]
    use crate::align::align;
    #[pymodule_export]
    use crate::arrow::schema;
    #[pymodule_export]
    use crate::arrow::{Batch, Frame, Schema};
    #[pymodule_export]
    use crate::book::Book;
    #[pymodule_export]
    use crate::compiled::Compiled;
    #[pymodule_export]
    use crate::digest::Digest;
    #[pymodule_export]
    use crate::events::{
        BookEvent, Events, GapEvent, Level3Event, OhlcEvent, StatusEvent, SubscriptionEvent, TickerEvent, TradeEvent,
    };
    #[pymodule_export]
    use crate::exchange::Exchange;
    #[pymodule_export]
    use crate::frame::{check_frame, text_frame};
    #[pymodule_export]
    use crate::journal::JournalRows;
    #[pymodule_export]
    use crate::live::LiveAccount;
    #[pymodule_export]
    use crate::loaded::{Loaded, Loader};
    #[pymodule_export]
    use crate::orders::Orders;
    #[pymodule_export]
    use crate::own::{Fill, Gap, Order, OrderEvent, Queue, Timer};
    #[pymodule_export]
    use crate::questions::Questions;
    #[pymodule_export]
    use crate::queue::QueueReader;
    #[pymodule_export]
    use crate::replay::{ReplayWindow, Replayer, replaying};
    #[pymodule_export]
    use crate::sample::{BookChanges, BookSampler};
    #[pymodule_export]
    use crate::session::{Budget, Session};
    #[pymodule_export]
    use crate::states::StateCollector;
    #[pymodule_export]
    use crate::trade::Trading;
    #[pymodule_export]
    use crate::verifier::Verifier;

    /// Whether the glob `pattern` matches the whole of `symbol`: `*` any run of characters, `?` one; case matters.
    #[pyfunction]
    fn matches(pattern: &str, symbol: &str) -> bool {
        krakpot_core::instrument::matches(pattern, symbol)
    }

    /// Version of the package.
    #[pymodule_export]
    #[allow(non_upper_case_globals, reason = "Python's name for it")]
    const __version__: &str = env!("CARGO_PKG_VERSION");

    /// Whether the extension was built without optimisation.
    #[pymodule_export]
    const DEBUG: bool = cfg!(debug_assertions);

    /// Cargo's profile of the build: release, develop, debug.
    #[pymodule_export]
    const PROFILE: &str = env!("KRAKPOT_PROFILE");

    /// Multiplier of the hash in an exchange's account.
    #[pymodule_export]
    const ACCOUNT_HASH: u64 = krakpot_exchange::HASH;

    /// Most pairs of an exchange.
    #[pymodule_export]
    const PAIRS_MAX: usize = krakpot_exchange::PAIRS_MAX;

    /// Tables, bounds, kinds of ledger rows, what Kraken offers, kinds of faults: made at import, since `PyO3` exports constants only of simple types.
    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let tables: Vec<&str> = krakpot_core::table::schema::Table::ALL.iter().map(|table| table.name()).collect();
        module.add("TABLES", PyTuple::new(module.py(), tables)?)?;
        module.add("LIMITS", BTreeMap::from(limits::ALL))?;
        let kinds = LedgerKind::ALL.map(|kind| (kind.name(), BTreeMap::from(kind.properties().named())));
        module.add("LEDGER_KINDS", BTreeMap::from(kinds))?;
        module.add(
            "CHANNELS",
            Channel::ALL.map(|channel| (channel.name(), channel.table().name())).into_py_dict(module.py())?,
        )?;
        module.add("EVENT_CHANNELS", PyTuple::new(module.py(), EventKind::ALL.map(EventKind::name))?)?;
        module.add("DEPTHS", PyTuple::new(module.py(), limits::DEPTHS)?)?;
        module.add("LEVEL3_DEPTHS", PyTuple::new(module.py(), limits::LEVEL3_DEPTHS)?)?;
        module.add("LEVEL3_COSTS", BTreeMap::from(limits::LEVEL3_COSTS))?;
        module.add("LEVEL3_RATES", BTreeMap::from(limits::LEVEL3_RATES))?;
        module.add("INTERVALS", PyTuple::new(module.py(), limits::INTERVALS)?)?;
        module.add("EXCHANGE_SWITCHES", PyTuple::new(module.py(), crate::exchange::switches())?)?;
        module.add("FAULTS", PyTuple::new(module.py(), crate::exchange::faults())?)
    }
}
