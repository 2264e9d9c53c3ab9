//! Which rows of the ledger put a book out of sync.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray, UInt64Array};
use krakpot_core::table::ledger::LedgerKind;

/// Rows of the ledger after which books of a channel are out of sync, chosen as `krakpot verify` does.
pub fn ends(ledger: &RecordBatch, channel: &str) -> RecordBatch {
    let text = |name: &str| ledger.column_by_name(name).expect("a column").as_string_view();
    let (kinds, channels, symbols) = (text("kind"), text("channel"), text("symbol"));
    let messages = ledger.column_by_name("message").expect("a column").as_primitive::<UInt64Type>();
    let rows: Vec<usize> = (0..ledger.num_rows())
        .filter(|&row| {
            let of = LedgerKind::named(kinds.value(row)).expect("a kind of the ledger").properties();
            of.ends_book && (symbols.is_valid(row) || !of.needs_symbol)
        })
        .filter(|&row| channels.is_null(row) || channels.value(row) == channel)
        .collect();
    let column = |view: &arrow_array::StringViewArray| -> ArrayRef {
        let texts = rows.iter().map(|&row| view.is_valid(row).then(|| view.value(row)));
        Arc::new(texts.collect::<StringArray>())
    };
    let numbers = rows.iter().map(|&row| messages.is_valid(row).then(|| messages.value(row)));
    let numbers: ArrayRef = Arc::new(numbers.collect::<UInt64Array>());
    RecordBatch::try_from_iter_with_nullable([
        ("symbol", column(symbols), true),
        ("message", numbers, true),
        ("kind", column(kinds), true),
    ])
    .expect("columns of one length")
}
