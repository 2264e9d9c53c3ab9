//! `Verifier`: books rebuilt from rows, every checksum computed again.

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{Array, RecordBatch};
use krakpot_core::book::level2::Book;
use krakpot_core::book::level3::Orders;
use krakpot_core::session::Channel;
use krakpot_core::table::ledger::LedgerKind;
use krakpot_lake::rebuild::{self, Failure, Found, FromRows, Rebuild};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::error::{Result, wrong};
use crate::json::Json;
use crate::rows::Rows;

/// Messages with something wrong that are kept one by one; all are counted.
const FAILURES_MAX: usize = 1000;

/// Rebuilds the books of one session from the rows of its tables alone and recomputes every checksum. Rows come in this
/// order: `ends`, then for each part in turn `checkpoints` before `messages`; sorted by symbol, message and entry.
#[wasm_bindgen]
pub struct Verifier {
    kind: Kind,
    failed: Vec<Failed>,
}

enum Kind {
    Book(rebuild::Verifier<Book>),
    Level3(rebuild::Verifier<Orders>),
}

/// A message with something wrong.
struct Failed {
    symbol: String,
    message: u64,
    /// When it was received, ns since the epoch, if the rows say it.
    received: Option<i64>,
    what: Failure,
}

impl Verifier {
    fn rebuild(&mut self) -> &mut dyn Rebuild {
        match &mut self.kind {
            Kind::Book(verifier) => verifier,
            Kind::Level3(verifier) => verifier,
        }
    }
}

#[wasm_bindgen]
impl Verifier {
    /// A verifier of one session's books of a channel, book or level3. It takes only symbols whose CRC32 modulo `shards`
    /// is `shard`: several verifiers share the symbols so.
    #[wasm_bindgen(constructor)]
    pub fn new(session: &str, channel: &str, shard: u32, shards: u32) -> Result<Self> {
        let kind = match Channel::named(channel) {
            Some(Channel::Book) => Kind::Book(rebuild::Verifier::new(session, shard, shards)),
            Some(Channel::Level3) => Kind::Level3(rebuild::Verifier::new(session, shard, shards)),
            _ => return Err(wrong(format!("channel {channel:?} has no books; channels: book, level3"))),
        };
        Ok(Self { kind, failed: Vec::new() })
    }

    /// Takes rows of the ledger after which a book is out of sync.
    pub fn ends(&mut self, rows: &Rows) -> Result<()> {
        self.rebuild().ends(&rows.batch()?).map_err(wrong)
    }

    /// Takes rows of checkpoints.
    pub fn checkpoints(&mut self, rows: &Rows) -> Result<()> {
        self.rebuild().checkpoints(&rows.batch()?).map_err(wrong)
    }

    /// Takes rows of messages. With `ts_recv`, failures have their time.
    pub fn messages(&mut self, rows: &Rows) -> Result<()> {
        let (batch, failed) = (rows.batch()?, &mut self.failed);
        match &mut self.kind {
            Kind::Book(verifier) => take(verifier, &batch, failed),
            Kind::Level3(verifier) => take(verifier, &batch, failed),
        }
        .map_err(wrong)
    }

    /// The messages with something wrong so far, as JSON; the first thousand.
    pub fn failures(&self) -> String {
        let mut json = Json::new();
        json.list(|json| {
            for failed in &self.failed {
                json.object(|json| failed.write(json));
            }
        });
        json.done()
    }

    /// What was found for each symbol, as JSON. The verifier is used up.
    pub fn finish(self) -> String {
        let found = match self.kind {
            Kind::Book(verifier) => verifier.finish(),
            Kind::Level3(verifier) => verifier.finish(),
        };
        let mut json = Json::new();
        json.list(|json| {
            for found in &found {
                json.object(|json| write(json, found));
            }
        });
        json.done()
    }
}

/// What each kind of ledger row means, as JSON: kind to the names of what is true of it.
#[wasm_bindgen(js_name = "ledgerKinds")]
pub fn ledger_kinds() -> String {
    let mut json = Json::new();
    json.object(|json| {
        for kind in LedgerKind::ALL {
            json.name(kind.name()).list(|json| {
                for (name, _) in kind.properties().named().iter().filter(|(_, holds)| *holds) {
                    json.text(name);
                }
            });
        }
    });
    json.done()
}

fn take<B: FromRows>(
    verifier: &mut rebuild::Verifier<B>,
    batch: &RecordBatch,
    failed: &mut Vec<Failed>,
) -> std::result::Result<(), String> {
    let times = batch.column_by_name("ts_recv").and_then(|times| times.as_primitive_opt::<TimestampNanosecondType>());
    verifier.watch(batch, |applied| {
        if let Some(what) = applied.failed.filter(|_| failed.len() < FAILURES_MAX) {
            let received = times.filter(|times| times.is_valid(applied.row)).map(|times| times.value(applied.row));
            failed.push(Failed { symbol: applied.symbol.to_owned(), message: applied.message, received, what });
        }
    })
}

impl Failed {
    fn write(&self, json: &mut Json) {
        json.name("symbol").text(&self.symbol);
        json.name("message").number(self.message);
        json.name("kind").text(self.what.kind);
        json.name("explained").number(self.what.explained);
        if let Some(received) = self.received {
            json.name("received").digits(received);
        }
        if let Some((expected, computed)) = self.what.checksums {
            json.name("expected").number(expected);
            json.name("computed").number(computed);
        }
    }
}

fn write(json: &mut Json, found: &Found) {
    json.name("symbol").text(&found.symbol);
    for (name, count) in [
        ("messages", found.messages),
        ("ok", found.ok),
        ("bad", found.bad),
        ("unchecked", found.unchecked),
        ("bad_unexplained", found.bad_unexplained),
        ("unchecked_unexplained", found.unchecked_unexplained),
        ("checkpoints_ok", found.checkpoints_ok),
        ("checkpoints_bad", found.checkpoints_bad),
    ] {
        json.name(name).number(count);
    }
    json.name("problems").list(|json| {
        for problem in &found.problems {
            json.text(problem);
        }
    });
}
