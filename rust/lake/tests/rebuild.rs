//! Books proved again from rows: what the session said live, verify must say of its rows.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure, in its helpers too")]

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use krakpot_core::book::checksum::crc32;
use krakpot_core::book::level2::Book;
use krakpot_core::session::{Options, Session};
use krakpot_core::table::schema::Table;
use krakpot_lake::batch::batch;
use krakpot_lake::rebuild::{Found, Rebuild, Verifier};

const SECOND: i64 = 1_000_000_000;
const START: i64 = 1_785_641_750 * SECOND;

fn bid(kind: &str, price: &str) -> String {
    let digits = format!("{}100000000", price.replace('.', ""));
    format!(
        r#"{{"channel":"book","type":"{kind}","data":[{{"symbol":"A/USD","bids":[{{"price":{price},"qty":1.00000000}}],"asks":[],"checksum":{},"timestamp":"2026-08-02T03:35:51.660084Z"}}]}}"#,
        crc32(digits.as_bytes())
    )
}

/// Proves the rows of `session`; its ledger's `unsubscribed` rows are the ends.
fn proved(session: &mut Session) -> Vec<Found> {
    let mut verifier = Verifier::<Book>::new("test", 0, 1);
    let mut batches: Vec<_> =
        session.drain().into_iter().map(|rows| (rows.table, batch("test", rows).unwrap())).collect();
    batches.sort_by_key(|(table, _)| [Table::Ledger, Table::Checkpoints, Table::Book].iter().position(|t| t == table));
    for (table, batch) in &batches {
        match table {
            Table::Ledger => {
                let kinds = batch.column_by_name("kind").unwrap().as_string_view();
                let messages = batch.column_by_name("message").unwrap().as_primitive::<UInt64Type>();
                let rows: Vec<_> = (0..batch.num_rows()).filter(|&row| kinds.value(row) == "unsubscribed").collect();
                assert!(!rows.is_empty(), "the ledger has an end");
                let symbols: ArrayRef = Arc::new(rows.iter().map(|_| Some("A/USD")).collect::<StringArray>());
                let numbers: ArrayRef =
                    Arc::new(rows.iter().map(|&row| Some(messages.value(row))).collect::<UInt64Array>());
                let words: ArrayRef = Arc::new(rows.iter().map(|&row| Some(kinds.value(row))).collect::<StringArray>());
                let ends = RecordBatch::try_from_iter([("symbol", symbols), ("message", numbers), ("kind", words)]);
                verifier.ends(&ends.unwrap()).unwrap();
            }
            Table::Checkpoints => verifier.checkpoints(batch).unwrap(),
            Table::Book => verifier.messages(batch).unwrap(),
            _ => {}
        }
    }
    verifier.finish()
}

/// Goal: a life that ended after a checkpoint, with no message of the symbol between the two, is not begun again by it.
#[test]
fn an_end_behind_a_checkpoint_is_not_forgotten() {
    let mut session = Session::new("test", Options { passive: true, depth: Some(10), ..Options::default() });
    session.receive(bid("snapshot", "1.0").as_bytes(), START);
    let hour = START + 3600 * SECOND;
    session.tick(hour);
    assert_eq!(session.counts().rows[Table::Checkpoints as usize], 1, "the hour's checkpoint");
    let left = r#"{"method":"unsubscribe","result":{"channel":"book","symbol":"A/USD"},"success":true}"#;
    session.receive(left.as_bytes(), hour + SECOND);
    session.receive(bid("update", "2.0").as_bytes(), hour + 2 * SECOND);
    assert_eq!((session.counts().book.ok, session.counts().book.bad, session.counts().unchecked), (1, 0, 1));
    let found = proved(&mut session);
    assert_eq!((found[0].ok, found[0].bad, found[0].unchecked), (1, 0, 1), "{:?}", found[0].problems);
    assert_eq!((found[0].unchecked_unexplained, found[0].checkpoints_ok), (0, 1), "{:?}", found[0].problems);
}

/// Goal: rows of one batch may be in any order of symbols, as a session collects them.
#[test]
fn rows_of_a_symbol_need_not_lie_together() {
    let mut session = Session::new("test", Options { passive: true, depth: Some(10), ..Options::default() });
    let frames = [bid("snapshot", "1.0"), bid("snapshot", "3.0").replace("A/USD", "B/USD"), bid("update", "1.0")];
    for (at, frame) in (START..).step_by(1_000_000).zip(&frames) {
        session.receive(frame.as_bytes(), at);
    }
    let mut verifier = Verifier::<Book>::new("test", 0, 1);
    for rows in session.drain().into_iter().filter(|rows| rows.table == Table::Book) {
        verifier.messages(&batch("test", rows).unwrap()).unwrap();
    }
    let found: Vec<_> = verifier.finish().into_iter().map(|found| (found.symbol, found.ok, found.bad)).collect();
    assert_eq!(found, [("A/USD".into(), 2, 0), ("B/USD".into(), 1, 0)]);
}
