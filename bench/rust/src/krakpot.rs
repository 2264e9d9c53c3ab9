//! The core on the same frames: all the way to checked books with rows.

use arrow_array::RecordBatch;
use krakpot_core::book::level2::Book;
use krakpot_core::book::synced::{BookMeta, Outcome, Synced};
use krakpot_core::session::{Options, Session};
use krakpot_core::table::rows::Values;
use krakpot_core::table::schema::Table;
use krakpot_core::wire::decode::Decoder;
use krakpot_core::wire::message::{Data, Entry, Message};
use krakpot_lake::batch::batch;
use krakpot_lake::rebuild::{Found, Rebuild, Verifier};

use crate::Answer;
use crate::cases::Case;

/// Frames after which the rows are taken: a recorder of the full feed takes about this many at a time.
pub(crate) const TAKE: usize = 2048;
const START: i64 = krakpot_frames::START;

fn session(case: &Case) -> Session {
    Session::new(
        "bench",
        Options {
            passive: true,
            depth: Some(case.depth),
            precision: [(case.symbol.to_owned(), case.precision)].into(),
            ..Options::default()
        },
    )
}

/// Frame → checked book with rows. Returns the frames proved by their checksum and the rows of `book`.
///
/// # Panics
/// If a frame is refused or a checksum is wrong.
#[must_use]
pub fn checked_book(case: &Case) -> (u64, u64) {
    let mut session = session(case);
    let mut time = START;
    for frames in case.frames.chunks(TAKE) {
        for frame in frames {
            time += 1_000;
            session.receive(frame, time);
        }
        drop(std::hint::black_box(session.drain()));
    }
    let counts = session.counts();
    assert_eq!((counts.book.bad, counts.unchecked, counts.errors), (0, 0, 0), "{}: every frame is proved", case.name);
    (counts.book.ok, counts.rows[Table::Book as usize])
}

/// The same with the rows as Arrow record batches, as a recorder receives them.
///
/// # Panics
/// As [`checked_book`].
#[must_use]
pub fn batches(case: &Case) -> Vec<RecordBatch> {
    let mut session = session(case);
    let mut out = Vec::new();
    let mut time = START;
    for frames in case.frames.chunks(TAKE) {
        for frame in frames {
            time += 1_000;
            session.receive(frame, time);
        }
        for rows in session.drain() {
            let table = rows.table;
            let batch = batch("bench", rows).expect("rows fit their schema");
            if table == Table::Book {
                out.push(batch);
            }
        }
    }
    assert_eq!(session.counts().book.ok, case.frames.len() as u64, "{}: every frame is proved", case.name);
    out
}

/// The sums of the rows: each message's checksum once.
///
/// # Panics
/// If the rows lack a column.
#[must_use]
pub fn answer(case: &Case) -> Answer {
    let mut session = session(case);
    for frame in &case.frames {
        session.receive(frame, START);
    }
    let rows = session.drain().into_iter().find(|rows| rows.table == Table::Book).expect("rows of books");
    // The columns are without the session's: message, entry, …, checksum.
    let names: Vec<_> = Table::Book.columns().skip(1).map(|(name, ..)| name).collect();
    let column = |name| &rows.columns[names.iter().position(|n| *n == name).expect("a column of the table")].values;
    let (Values::U32(entries), Values::U32(checksums)) = (column("entry"), column("checksum")) else {
        panic!("entry and checksum are 32 bits wide");
    };
    let first = entries.iter().zip(checksums).filter(|(entry, _)| **entry == 0);
    Answer { entries: entries.len() as u64, checksums: first.map(|(_, checksum)| u64::from(*checksum)).sum() }
}

/// Decoded messages of a case, for the book alone.
pub type Messages = Vec<(BookMeta, Vec<Entry>)>;

/// Decodes a case.
///
/// # Panics
/// If a frame is refused.
#[must_use]
pub fn messages(case: &Case) -> Messages {
    let mut decoder = Decoder::default();
    let mut one = |frame: &Vec<u8>| {
        decoder
            .decode(frame, |message, entries| {
                let Message::Book(kind, Data::One((_, data))) = message else { panic!("a book frame") };
                let (price_precision, qty_precision) = case.precision;
                let meta =
                    BookMeta { kind, checksum: data.checksum, depth: case.depth, price_precision, qty_precision };
                (meta, entries.levels.to_vec())
            })
            .expect("a book frame")
    };
    case.frames.iter().map(&mut one).collect()
}

/// Applies decoded messages and computes every checksum. Returns how many were right.
///
/// # Panics
/// If a message cannot be represented.
#[must_use]
pub fn apply(messages: &Messages) -> u64 {
    let (mut synced, mut buffer) = (Synced::<Book>::default(), Vec::new());
    let mut right = 0;
    for (meta, entries) in messages {
        right += u64::from(synced.apply(meta, entries, &mut buffer).expect("held") == Outcome::Ok);
    }
    right
}

/// Proves rows again, as `krakpot verify` does with the rows of a lake.
///
/// # Panics
/// If the rows lack a column.
#[must_use]
pub fn verify(batches: &[RecordBatch]) -> Vec<Found> {
    let mut verifier = Verifier::<Book>::new("bench", 0, 1);
    for batch in batches {
        verifier.messages(batch).expect("rows of books");
    }
    verifier.finish()
}
