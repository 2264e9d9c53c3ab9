//! The Python extension `krakpot._core`: each file converts, lets go of the interpreter, calls the core, wraps.

mod error;
mod numbers;
mod arrow;
mod book;
mod orders;
mod session;
mod events;
mod rebuild;
mod verifier;
mod states;
mod sample;
mod align;
mod exchange;

/// The Rust core: sessions, books, checksums, tables; and the built-in exchange.
#[pyo3::pymodule]
mod _core {
    use std::collections::BTreeMap;

    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::align::align;
    #[pymodule_export]
    use crate::arrow::schema;
    #[pymodule_export]
    use crate::arrow::{Batch, Frame, Schema};
    #[pymodule_export]
    use crate::book::Book;
    #[pymodule_export]
    use crate::events::{BookEvent, Events, OhlcEvent, StatusEvent, SubscriptionEvent, TickerEvent, TradeEvent};
    #[pymodule_export]
    use crate::exchange::Exchange;
    #[pymodule_export]
    use crate::orders::Orders;
    #[pymodule_export]
    use crate::sample::BookSampler;
    #[pymodule_export]
    use crate::session::{Budget, Session};
    #[pymodule_export]
    use crate::states::States;
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

    /// Multiplier of the hash in an exchange's account.
    #[pymodule_export]
    const ACCOUNT_HASH: u64 = krakpot_exchange::HASH;

    /// Most pairs of an exchange.
    #[pymodule_export]
    const PAIRS_MAX: usize = krakpot_exchange::PAIRS_MAX;

    /// Names of the lake's tables, the named bounds and the kinds of faults: made at import, since `PyO3` exports constants only of simple types.
    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let tables: Vec<&str> = krakpot_core::table::schema::Table::ALL.iter().map(|table| table.name()).collect();
        module.add("TABLES", pyo3::types::PyTuple::new(module.py(), tables)?)?;
        let limits: BTreeMap<&str, usize> = krakpot_core::limits::ALL.into_iter().collect();
        module.add("LIMITS", limits)?;
        module.add("FAULTS", pyo3::types::PyTuple::new(module.py(), crate::exchange::faults())?)
    }
}
