//! `Questions`: what would have become of many orders on a replay, each as if it were alone.

use std::sync::{Arc, Mutex, MutexGuard};

use arrow_array::builder::StringViewBuilder;
use arrow_array::{
    Array, ArrayRef, BooleanArray, Decimal128Array, Int64Array, LargeStringArray, RecordBatch, UInt8Array, UInt32Array,
};
use arrow_buffer::{Buffer, NullBuffer};
use krakpot_core::decimal::pow10;
use krakpot_trade::amount::{Price, Qty};
use krakpot_trade::pair::Pair;
use krakpot_trade::paper::{Cancels, Latency, Model, Options, Paper};
use krakpot_trade::questions::{Ending, EvidenceKinds, Part, Question, Verdict};
use krakpot_trade::report::Evidence;
use krakpot_trade::run::{Run, RunOptions, Venue, Wake};
use krakpot_trade::terms::Side;
use pyo3::prelude::*;

use crate::arrow::{Frame, batches};
use crate::error::{fault, poisoned, value_error};
use crate::replay::{Replayer, Step, Stepped};

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
    answers: Answers,
    parts: Vec<(usize, u32, Part)>,
}

impl State {
    fn collect(&mut self) {
        for pair in 0..self.run.pairs() {
            let unit = unit(self.run.pair(pair).qty_precision);
            let Some((verdicts, parts)) = self.run.paper().take_verdicts(pair) else { continue };
            for verdict in verdicts {
                self.answers.set(&verdict, unit);
            }
            self.parts.extend(parts.map(|(number, part)| (pair, number, part)));
        }
    }
}

/// Answers as columns, in the order of the questions' numbers. Their memory becomes that of the frame. What is not said
/// is 0: such memory costs nothing before it is written.
struct Answers {
    ending: Vec<u8>,
    until: Vec<i64>,
    filled: Vec<i128>,
    certain: Vec<i128>,
    first_fill: Vec<i64>,
    last_fill: Vec<i64>,
    /// Places in `words`, from 1.
    evidence: Vec<u16>,
    words: Vec<EvidenceKinds>,
    trade_id: Vec<i64>,
    ahead: Vec<i128>,
    gaps: Vec<i64>,
    /// [`TRADE`], [`AHEAD`].
    has: Vec<u8>,
}

/// Whether there is a trade.
const TRADE: u8 = 1;
/// Whether it is known what stood before it.
const AHEAD: u8 = 2;

impl Answers {
    fn new(count: usize) -> Self {
        Self {
            ending: vec![0; count],
            until: vec![0; count],
            filled: vec![0; count],
            certain: vec![0; count],
            first_fill: vec![0; count],
            last_fill: vec![0; count],
            evidence: vec![0; count],
            words: Vec::new(),
            trade_id: vec![0; count],
            ahead: vec![0; count],
            gaps: vec![0; count],
            has: vec![0; count],
        }
    }

    /// The answer of a question. `unit`: of a step of quantity.
    fn set(&mut self, verdict: &Verdict, unit: i128) {
        let at = verdict.number as usize;
        self.ending[at] = match verdict.ending {
            Ending::NotRecorded => 0,
            Ending::Filled => 1,
            Ending::Expired => 2,
            Ending::Unfinished => 3,
        };
        self.until[at] = verdict.until;
        self.filled[at] = i128::from(verdict.sum.filled) * unit;
        self.certain[at] = i128::from(verdict.sum.certain) * unit;
        if let Some((first, last)) = verdict.sum.times() {
            (self.first_fill[at], self.last_fill[at]) = (first, last);
            self.evidence[at] = self.word(verdict.sum.evidence);
        }
        if let Some(trade_id) = verdict.sum.trade_id() {
            self.trade_id[at] = trade_id;
            self.has[at] |= TRADE;
        }
        if let Some(ahead) = verdict.ahead {
            self.ahead[at] = i128::from(ahead.0) * unit;
            self.has[at] |= AHEAD;
        }
        self.gaps[at] = verdict.gaps.into();
    }

    /// The place of a word, from 1. There are few different ones.
    fn word(&mut self, kinds: EvidenceKinds) -> u16 {
        let at = self.words.iter().position(|known| *known == kinds).unwrap_or_else(|| {
            self.words.push(kinds);
            self.words.len() - 1
        });
        u16::try_from(at + 1).unwrap_or(0)
    }

    fn into_batch(self) -> PyResult<RecordBatch> {
        let was_filled = || self.evidence.iter().map(|word| *word > 0).collect::<NullBuffer>();
        let has = |what: u8| self.has.iter().map(|has| has & what > 0).collect::<NullBuffer>();
        let is_recorded = self.ending.iter().map(|ending| *ending > 0).collect();
        batch_of(vec![
            ("until", known(self.until, is_recorded)),
            ("ending", Arc::new(UInt8Array::from(self.ending))),
            ("filled", decimals(self.filled, None)?),
            ("certain", decimals(self.certain, None)?),
            ("first_fill", known(self.first_fill, was_filled())),
            ("last_fill", known(self.last_fill, was_filled())),
            ("evidence", in_words(&self.evidence, &self.words)?),
            ("trade_id", known(self.trade_id, has(TRADE))),
            ("ahead", decimals(self.ahead, Some(has(AHEAD)))?),
            ("gaps", Arc::new(Int64Array::from(self.gaps))),
        ])
    }
}

/// Evidence as text, which is there once for all.
fn in_words(evidence: &[u16], words: &[EvidenceKinds]) -> PyResult<ArrayRef> {
    let (mut text, mut places) = (String::new(), Vec::new());
    for kinds in words {
        let word: Vec<_> = kinds.iter().map(Evidence::word).collect();
        let word = word.join("+");
        places.push((u32::try_from(text.len()).map_err(fault)?, u32::try_from(word.len()).map_err(fault)?));
        text.push_str(&word);
    }
    let mut column = StringViewBuilder::with_capacity(evidence.len());
    let block = column.append_block(Buffer::from_vec(text.into_bytes()));
    for word in evidence {
        match usize::from(*word).checked_sub(1).and_then(|word| places.get(word)) {
            Some(&(begin, len)) => column.try_append_view(block, begin, len).map_err(fault)?,
            None => column.append_null(),
        }
    }
    Ok(Arc::new(column.finish()))
}

impl Questions {
    fn lock(&self) -> PyResult<MutexGuard<'_, State>> {
        self.0.lock().map_err(|_| poisoned())
    }
}

#[pymethods]
impl Questions {
    #[new]
    #[pyo3(signature = (count, *, cancels = None, depth = None, keeps = false))]
    fn new(count: usize, cancels: Option<&str>, depth: Option<u16>, keeps: bool) -> PyResult<Self> {
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
        let (answers, parts) = (Answers::new(count), Vec::new());
        Ok(Self(Mutex::new(State { run, keeps, answers, parts })))
    }

    #[pyo3(signature = (symbol, *, price_precision, qty_precision, level3 = true))]
    fn add_pair(&self, symbol: &str, price_precision: u8, qty_precision: u8, level3: bool) -> PyResult<usize> {
        let pair = Pair::watched(symbol, price_precision, qty_precision);
        let added = self.lock()?.run.add_pair(pair, level3);
        added.ok_or_else(|| value_error("too many pairs; ask about fewer at once".into()))
    }

    /// Asks about orders of a pair: a frame with the columns number, buys, price, qty, at, until. The numbers of all pairs
    /// begin at 0 and end before the count.
    fn ask(&self, pair: usize, frame: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut questions = Vec::new();
        for batch in batches(frame)? {
            let number = column::<UInt32Array>(&batch, "number")?;
            let buys = column::<BooleanArray>(&batch, "buys")?;
            let (price, qty) = (column::<Int64Array>(&batch, "price")?, column::<Int64Array>(&batch, "qty")?);
            let (at, until) = (column::<Int64Array>(&batch, "at")?, column::<Int64Array>(&batch, "until")?);
            questions.reserve(batch.num_rows());
            for row in 0..batch.num_rows() {
                questions.push(Question {
                    number: number.value(row),
                    side: if buys.value(row) { Side::Buy } else { Side::Sell },
                    price: Price(price.value(row)),
                    qty: Qty(qty.value(row)),
                    at: at.value(row),
                    until: until.value(row),
                });
            }
        }
        let mut state = self.lock()?;
        let count = state.answers.ending.len();
        if questions.iter().any(|question| question.number as usize >= count) {
            return Err(value_error(format!("number: there are {count} questions, from 0")));
        }
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
        let why = self.take_reads(py, replayer, until, steps)?;
        self.lock()?.collect();
        Ok(why)
    }

    /// The recording is over.
    fn finish(&self) -> PyResult<()> {
        let mut state = self.lock()?;
        state.run.paper().finish();
        state.collect();
        Ok(())
    }

    /// All answers, in the order of the numbers, and the parts that were filled, by number and in the order of time.
    fn answers(&self) -> PyResult<(Frame, Frame)> {
        let mut state = self.lock()?;
        let (answers, mut parts) =
            (std::mem::replace(&mut state.answers, Answers::new(0)), std::mem::take(&mut state.parts));
        parts.sort_by_key(|part| part.1);
        Ok((Frame(answers.into_batch()?), Frame(parts_of(&parts, &state.run)?)))
    }
}

impl Questions {
    fn take_reads(
        &self,
        py: Python<'_>,
        replayer: &Replayer,
        until: i64,
        steps: usize,
    ) -> PyResult<(&'static str, Option<usize>)> {
        replayer.play_on();
        // Nobody is called, so the locks are held for all reads.
        let (mut state, mut replay) = (self.lock()?, replayer.lock()?);
        let run = &mut state.run;
        for _ in 0..steps {
            let next = replay.next(until);
            let Stepped { mut events, connection, session, time } = match replay.step_to(py, next)? {
                Step::Halt(why, player) => return Ok((why, player)),
                Step::Events(stepped) => stepped,
            };
            let lost = connection.filter(|connection| !connection.0);
            if !events.is_empty() || lost.is_some() {
                let books = session.bind(py).get().lock()?;
                for event in events.drain(..) {
                    run.take(event, &*books);
                }
                if let Some((.., endpoint)) = lost {
                    run.look_at(time, endpoint == "level3", &*books);
                }
            }
            replay.reuse(events);
            if !run.paper().is_asked() {
                return Ok(("answered", None));
            }
            if replayer.interrupted() {
                return Ok(("interrupted", None));
            }
        }
        Ok(("steps", None))
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

/// What a step of so many decimals is in the columns, which have as many as the lake's tables.
fn unit(precision: u8) -> i128 {
    pow10(DIGITS.saturating_sub(precision))
}

fn decimals(numbers: Vec<i128>, nulls: Option<NullBuffer>) -> PyResult<ArrayRef> {
    let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
    let column = Decimal128Array::new(numbers.into(), nulls);
    Ok(Arc::new(column.with_precision_and_scale(38, DIGITS.cast_signed()).map_err(fault)?))
}

/// Numbers, of which some are not there.
fn known(numbers: Vec<i64>, nulls: NullBuffer) -> ArrayRef {
    Arc::new(Int64Array::new(numbers.into(), Some(nulls)))
}

fn parts_of(rows: &[(usize, u32, Part)], run: &Run) -> PyResult<RecordBatch> {
    let steps = |value: &dyn Fn(&Part) -> i64, precision: &dyn Fn(&Pair) -> u8| {
        let number = |(pair, _, part): &(usize, u32, Part)| i128::from(value(part)) * unit(precision(run.pair(*pair)));
        decimals(rows.iter().map(number).collect(), None)
    };
    batch_of(vec![
        ("number", Arc::new(rows.iter().map(|row| Some(row.1)).collect::<UInt32Array>())),
        ("ts", Arc::new(rows.iter().map(|row| Some(row.2.ts)).collect::<Int64Array>())),
        ("evidence", Arc::new(rows.iter().map(|row| Some(row.2.evidence.word())).collect::<LargeStringArray>())),
        ("price", steps(&|part| part.price.0, &|pair| pair.price_precision)?),
        ("qty", steps(&|part| part.qty.0, &|pair| pair.qty_precision)?),
        ("trade_id", Arc::new(rows.iter().map(|row| row.2.trade_id).collect::<Int64Array>())),
        ("doubt", Arc::new(rows.iter().map(|row| Some(row.2.doubt)).collect::<BooleanArray>())),
    ])
}
