//! `Questions`: what would have become of many orders on a replay, each as if it were alone.

use std::sync::{Arc, Mutex, MutexGuard};

use arrow_array::{Array, ArrayRef, BooleanArray, Decimal128Array, Int64Array, LargeStringArray, RecordBatch};
use krakpot_core::decimal::pow10;
use krakpot_trade::amount::{FeeRate, Price, Qty};
use krakpot_trade::pair::Pair;
use krakpot_trade::paper::{Cancels, Latency, Model, Options, Paper};
use krakpot_trade::questions::{Ending, Part, Question, Verdict};
use krakpot_trade::run::{Run, RunOptions, Venue, Wake};
use krakpot_trade::terms::Side;
use pyo3::prelude::*;

use crate::arrow::{Frame, batches};
use crate::error::{fault, poisoned, value_error};
use crate::replay::{Replayer, Step};
use crate::session::Session;

/// Reads of sockets that are played before the caller gets its turn.
const STEPS: usize = 4096;
/// Decimals of the columns.
const DIGITS: u8 = 10;

/// Questions about pairs, on one pass over a recording.
#[pyclass(frozen, module = "krakpot._core")]
pub struct Questions(Mutex<State>);

struct State {
    run: Run,
    keeps: bool,
    session: Option<Py<Session>>,
}

impl Questions {
    fn lock(&self) -> PyResult<MutexGuard<'_, State>> {
        self.0.lock().map_err(|_| poisoned())
    }
}

#[pymethods]
impl Questions {
    #[new]
    #[pyo3(signature = (*, cancels = None, depth = None, keeps = false))]
    fn new(cancels: Option<&str>, depth: Option<u16>, keeps: bool) -> PyResult<Self> {
        let model = match cancels {
            None => Model::Orders,
            Some("ahead") => Model::Bounds(Cancels::Ahead),
            Some("behind") => Model::Bounds(Cancels::Behind),
            Some(other) => {
                return Err(value_error(format!("cancels: {other:?} is not allowed; allowed is ahead, behind")));
            }
        };
        let latency = Latency::Fixed { entry: 0, response: 0 };
        let mut options = Options { model, latency, ..Options::default() };
        if let Some(depth) = depth {
            options.depth = depth;
        }
        let quiet = RunOptions { wake: Wake::Never, warmup: 0, quote: Arc::from(""), venue: Venue::Paper };
        let run = Run::new(quiet, Paper::new(options));
        Ok(Self(Mutex::new(State { run, keeps, session: None })))
    }

    #[pyo3(signature = (symbol, *, price_precision, qty_precision, level3 = true))]
    fn add_pair(&self, symbol: &str, price_precision: u8, qty_precision: u8, level3: bool) -> PyResult<usize> {
        let (base, quote) = symbol.split_once('/').unwrap_or((symbol, ""));
        let pair = Pair {
            symbol: symbol.into(),
            base: base.into(),
            quote: quote.into(),
            price_precision,
            qty_precision,
            cost_precision: 0,
            price_increment: Price(1),
            qty_min: Qty(0),
            cost_min: 0,
            maker: FeeRate(0),
            taker: FeeRate(0),
            status: "online".into(),
        };
        let added = self.lock()?.run.add_pair(pair, level3);
        added.ok_or_else(|| value_error("too many pairs; ask about fewer at once".into()))
    }

    /// Asks about orders of a pair: a frame with the columns number, buys, price, qty, at, until.
    fn ask(&self, pair: usize, frame: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut questions = Vec::new();
        for batch in batches(frame)? {
            let number = column::<Int64Array>(&batch, "number")?;
            let buys = column::<BooleanArray>(&batch, "buys")?;
            let (price, qty) = (column::<Int64Array>(&batch, "price")?, column::<Int64Array>(&batch, "qty")?);
            let (at, until) = (column::<Int64Array>(&batch, "at")?, column::<Int64Array>(&batch, "until")?);
            questions.reserve(batch.num_rows());
            for row in 0..batch.num_rows() {
                let number = u32::try_from(number.value(row));
                questions.push(Question {
                    number: number.map_err(|_| value_error("too many orders; ask about fewer at once".into()))?,
                    side: if buys.value(row) { Side::Buy } else { Side::Sell },
                    price: Price(price.value(row)),
                    qty: Qty(qty.value(row)),
                    at: at.value(row),
                    until: until.value(row),
                });
            }
        }
        let mut state = self.lock()?;
        let keeps = state.keeps;
        state.run.paper().ask(pair, questions, keeps);
        Ok(())
    }

    /// Takes the books that are known at a time at which a replay is entered.
    fn resume(&self, py: Python<'_>, replayer: &Replayer, channel: &str, now: i64) -> PyResult<()> {
        let mut state = self.lock()?;
        for pair in 0..state.run.pairs() {
            let symbol = state.run.pair(pair).symbol.clone();
            if let Some(session) = replayer.session(py, channel, &symbol)? {
                let books = session.bind(py).get().lock()?;
                state.run.resume(pair, now, &*books);
            }
        }
        Ok(())
    }

    /// Plays a replay until nothing is asked any more.
    #[pyo3(signature = (replayer, until, steps = STEPS), text_signature = "($self, replayer, until, steps=4096)")]
    fn play(
        &self,
        py: Python<'_>,
        replayer: &Replayer,
        until: i64,
        steps: usize,
    ) -> PyResult<(&'static str, Option<usize>)> {
        replayer.play_on();
        for _ in 0..steps {
            let stepped = match replayer.step(py, until)? {
                Step::Halt(why, player) => return Ok((why, player)),
                Step::Events(stepped) => stepped,
            };
            let mut state = self.lock()?;
            let State { run, session, .. } = &mut *state;
            let lost = stepped.connection.as_ref().is_some_and(|connection| !connection.0);
            if !stepped.events.is_empty() || lost {
                let level3 = stepped.connection.as_ref().is_some_and(|connection| connection.3 == "level3");
                let books = stepped.session.bind(py).get().lock()?;
                for event in stepped.events {
                    run.take(event, &*books);
                }
                if lost {
                    run.look_at(stepped.time, level3, &*books);
                }
                drop(books);
                *session = Some(stepped.session);
            }
            if !run.paper().is_asked() {
                return Ok(("answered", None));
            }
            if replayer.interrupted() {
                return Ok(("interrupted", None));
            }
        }
        Ok(("steps", None))
    }

    /// The recording is over.
    fn finish(&self) -> PyResult<()> {
        self.lock()?.run.paper().finish();
        Ok(())
    }

    /// Answers since the last call, and the parts that were filled.
    fn answers(&self, pair: usize) -> PyResult<(Frame, Frame)> {
        let mut state = self.lock()?;
        if pair >= state.run.pairs() {
            return Err(value_error(format!("there is no pair {pair}")));
        }
        let (verdicts, parts) = state.run.paper().take_verdicts(pair);
        let pair = state.run.pair(pair);
        Ok((Frame(answers_of(&verdicts, pair)?), Frame(parts_of(&parts, pair)?)))
    }
}

fn column<'a, T: Array + 'static>(batch: &'a RecordBatch, name: &str) -> PyResult<&'a T> {
    let found = batch.column_by_name(name).and_then(|column| column.as_any().downcast_ref::<T>());
    found.filter(|column| column.null_count() == 0).ok_or_else(|| value_error(format!("{name}: no such column")))
}

fn batch_of(columns: Vec<(&str, ArrayRef)>) -> PyResult<RecordBatch> {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .map_err(fault)
}

fn whole<T>(rows: &[T], value: impl Fn(&T) -> Option<i64>) -> ArrayRef {
    Arc::new(rows.iter().map(value).collect::<Int64Array>())
}

/// Steps of so many decimals, as the lake's tables have numbers.
fn decimals<T>(rows: &[T], precision: u8, value: impl Fn(&T) -> Option<i64>) -> PyResult<ArrayRef> {
    let unit = pow10(DIGITS.saturating_sub(precision));
    let numbers: Decimal128Array = rows.iter().map(|row| value(row).map(|steps| i128::from(steps) * unit)).collect();
    Ok(Arc::new(numbers.with_precision_and_scale(38, DIGITS.cast_signed()).map_err(fault)?))
}

fn answers_of(rows: &[Verdict], pair: &Pair) -> PyResult<RecordBatch> {
    let word = |verdict: &Verdict| match verdict.ending {
        Ending::NotRecorded => 0,
        Ending::Filled => 1,
        Ending::Expired => 2,
        Ending::Unfinished => 3,
    };
    let evidence = |verdict: &Verdict| {
        let mut text = String::new();
        for kind in verdict.sum.evidence() {
            if !text.is_empty() {
                text.push('+');
            }
            text.push_str(kind.word());
        }
        (!text.is_empty()).then_some(text)
    };
    batch_of(vec![
        ("number", whole(rows, |row| Some(i64::from(row.number)))),
        ("ending", whole(rows, |row| Some(word(row)))),
        ("until", whole(rows, |row| Some(row.until))),
        ("filled", decimals(rows, pair.qty_precision, |row| Some(row.sum.filled))?),
        ("certain", decimals(rows, pair.qty_precision, |row| Some(row.sum.certain))?),
        ("first_fill", whole(rows, |row| row.sum.times().map(|times| times.0))),
        ("last_fill", whole(rows, |row| row.sum.times().map(|times| times.1))),
        ("evidence", Arc::new(rows.iter().map(evidence).collect::<LargeStringArray>())),
        ("trade_id", whole(rows, |row| row.sum.trade_id())),
        ("ahead", decimals(rows, pair.qty_precision, |row| row.ahead.map(|ahead| ahead.0))?),
        ("gaps", whole(rows, |row| Some(i64::from(row.gaps)))),
    ])
}

fn parts_of(rows: &[(u32, Part)], pair: &Pair) -> PyResult<RecordBatch> {
    batch_of(vec![
        ("number", whole(rows, |row| Some(i64::from(row.0)))),
        ("ts", whole(rows, |row| Some(row.1.ts))),
        ("evidence", Arc::new(rows.iter().map(|row| Some(row.1.evidence.word())).collect::<LargeStringArray>())),
        ("price", decimals(rows, pair.price_precision, |row| Some(row.1.price.0))?),
        ("qty", decimals(rows, pair.qty_precision, |row| Some(row.1.qty.0))?),
        ("trade_id", whole(rows, |row| row.1.trade_id)),
        ("doubt", Arc::new(rows.iter().map(|row| Some(row.1.doubt)).collect::<BooleanArray>())),
    ])
}
