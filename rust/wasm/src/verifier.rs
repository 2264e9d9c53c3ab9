//! `Verifier`: books rebuilt from rows, every checksum computed again.

use krakpot_core::book::level2::Book;
use krakpot_core::book::level3::Orders;
use krakpot_core::session::Channel;
use krakpot_lake::rebuild::{self, Found, Rebuild};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::error::{Result, wrong};
use crate::json::Json;
use crate::rows::Rows;

/// Rebuilds the books of one session from the rows of its tables alone and recomputes every checksum. Rows come in this
/// order: `ends`, then for each part in turn `checkpoints` before `messages`; sorted by symbol, message and entry.
#[wasm_bindgen]
pub struct Verifier(Kind);

enum Kind {
    Book(rebuild::Verifier<Book>),
    Level3(rebuild::Verifier<Orders>),
}

impl Verifier {
    fn rebuild(&mut self) -> &mut dyn Rebuild {
        match &mut self.0 {
            Kind::Book(verifier) => verifier,
            Kind::Level3(verifier) => verifier,
        }
    }
}

#[wasm_bindgen]
impl Verifier {
    /// A verifier of one session's books of a channel, book or level3.
    #[wasm_bindgen(constructor)]
    pub fn new(session: &str, channel: &str) -> Result<Self> {
        match Channel::named(channel) {
            Some(Channel::Book) => Ok(Self(Kind::Book(rebuild::Verifier::new(session, 0, 1)))),
            Some(Channel::Level3) => Ok(Self(Kind::Level3(rebuild::Verifier::new(session, 0, 1)))),
            _ => Err(wrong(format!("channel {channel:?} has no books; channels: book, level3"))),
        }
    }

    /// Takes rows of the ledger after which a book is out of sync.
    pub fn ends(&mut self, rows: &Rows) -> Result<()> {
        self.rebuild().ends(&rows.batch()?).map_err(wrong)
    }

    /// Takes rows of checkpoints.
    pub fn checkpoints(&mut self, rows: &Rows) -> Result<()> {
        self.rebuild().checkpoints(&rows.batch()?).map_err(wrong)
    }

    /// Takes rows of messages.
    pub fn messages(&mut self, rows: &Rows) -> Result<()> {
        self.rebuild().messages(&rows.batch()?).map_err(wrong)
    }

    /// What was found for each symbol, as JSON. The verifier is used up.
    pub fn finish(self) -> String {
        let found = match self.0 {
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
