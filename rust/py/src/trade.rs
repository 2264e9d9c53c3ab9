//! `Trading`: strategies in Python on a replay or a live feed. Events stay in Rust; Python is called where a handler is to
//! hear something.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use krakpot_core::decimal::{Decimal, pow10};
use krakpot_core::session::{Channel, Event};
use krakpot_trade::amount::{AMOUNT_SCALE, Amount, FeeRate, Price, Qty};
use krakpot_trade::pair::Pair;
use krakpot_trade::paper::{AmendUp, Cancels, Gaps, Latency, Model, Options, Paper};
use krakpot_trade::report::Change;
use krakpot_trade::run::{Call, Run, RunOptions, Venue, Wake};
use krakpot_trade::terms::{Side, Terms, TimeInForce, Trigger};
use krakpot_trade::trader::{News, Options as TraderOptions, Trader};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyDict, PyList};

use crate::compiled::{self, Compiled, Outcome};
use crate::error::{poisoned, value_error};
use crate::events::{Events, event_of, object};
use crate::numbers::{Numbers, decimal};
use crate::own::{self, Order, Shared};
use crate::reading::{Item, Reading, Source};
use crate::session::Session;

/// Reads of sockets that are played before the caller gets its turn.
const STEPS: usize = 4096;
/// Why nothing was read: something is to be said before.
const DUE: &str = "due";
/// After all times.
const NEVER: i64 = i64::MAX;

/// Names of the handlers, in the order of [`Handlers`].
const HANDLERS: [&str; 8] = ["start", "book", "trade", "order", "fill", "gap", "timer", "stop"];
/// Places of two of them: what a strategy hears of a report, and of the fill in it after that.
const ORDER: usize = 3;
const FILL: usize = 4;

/// What is called of a strategy, and the market that it is given.
struct Handlers {
    market: Py<PyAny>,
    calls: [Option<Py<PyAny>>; HANDLERS.len()],
    /// The strategy is compiled: it hears what there are calls for; they say why it failed.
    compiled: Option<Py<Compiled>>,
}

/// What somebody is to hear now.
struct Heard {
    account: usize,
    call: Call,
    /// The pair of a gap.
    symbol: Option<Arc<str>>,
    now: i64,
}

impl Heard {
    fn of(run: &Run, account: usize, call: Call) -> Self {
        let symbol = match &call {
            Call::Gap(gap) => gap.pair.map(|pair| run.pair(pair).symbol.clone()),
            _ => None,
        };
        Self { account, call, symbol, now: run.now() }
    }
}

/// How far a replay went on.
enum Played {
    /// Somebody hears something.
    Heard(Heard),
    /// It cannot go on: why, and which session needs rows.
    Halt(&'static str, Option<usize>),
}

/// Strategies on one stream of data, with simulated orders.
#[pyclass(frozen, module = "krakpot._core")]
pub struct Trading {
    shared: Arc<Shared>,
    reading: Mutex<Reading>,
    handlers: OnceLock<Vec<Handlers>>,
    /// Whether the run is to end: nothing more is said.
    ended: AtomicBool,
    /// The account and the handler that raised.
    failed: Mutex<Option<(usize, &'static str)>>,
}

/// An account, the name of a handler, and what it is given.
type Told<'py> = (usize, &'static str, Option<Bound<'py, PyAny>>);
/// An account, the number of a handler, and what it is given.
type Said<'py> = (usize, usize, Option<Bound<'py, PyAny>>);

pub fn named<T: Copy>(name: &str, value: &str, allowed: &[(&str, T)]) -> PyResult<T> {
    allowed.iter().find(|(word, _)| *word == value).map(|(_, found)| *found).ok_or_else(|| {
        let words: Vec<_> = allowed.iter().map(|(word, _)| *word).collect();
        value_error(format!("{name}: {value:?} is not allowed; allowed is one of {}", words.join(", ")))
    })
}

/// A number of the wire, as an amount.
pub fn amount(text: &str, name: &str) -> PyResult<Amount> {
    let number = Decimal::parse(text.as_bytes()).and_then(|number| number.rescale(AMOUNT_SCALE));
    number.ok_or_else(|| value_error(format!("{name}: {text:?} is no amount with at most {AMOUNT_SCALE} decimals")))
}

/// A number of the wire in steps.
pub fn steps(text: &str, precision: u8, name: &str) -> PyResult<i64> {
    let number = Decimal::parse(text.as_bytes()).and_then(|number| number.rescale(precision));
    number
        .and_then(|steps| i64::try_from(steps).ok())
        .ok_or_else(|| value_error(format!("{name}: {text:?} is no number with at most {precision} decimals")))
}

#[pymethods]
#[allow(clippy::needless_pass_by_value, reason = "arguments are made from Python objects and belong to the call")]
impl Trading {
    #[new]
    #[pyo3(signature = (
        quote, *, numbers = "decimal", wake = "touch", every = 0, warmup = 0, model = "orders",
        cancels = "ahead", amend_up = "lose", latency = None, gaps = "time", join = None, depth = None, venue = "paper"
    ))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments in Python")]
    fn new(
        quote: &str,
        numbers: &str,
        wake: &str,
        every: i64,
        warmup: i64,
        model: &str,
        cancels: &str,
        amend_up: &str,
        latency: Option<(i64, i64, i64)>,
        gaps: &str,
        join: Option<i64>,
        depth: Option<u16>,
        venue: &str,
    ) -> PyResult<Self> {
        let wakes = [
            ("message", Wake::Message),
            ("touch", Wake::Touch),
            ("every", Wake::Every(every.max(1))),
            ("never", Wake::Never),
        ];
        let venues = [
            ("paper", Venue::Paper),
            ("live", Venue::Live { shadow: false }),
            ("shadow", Venue::Live { shadow: true }),
        ];
        let (wake, venue) = (named("wake", wake, &wakes)?, named("venue", venue, &venues)?);
        let options = RunOptions { wake, warmup: warmup.max(0), quote: quote.into(), venue };
        let cancels = named("cancels", cancels, &[("ahead", Cancels::Ahead), ("behind", Cancels::Behind)])?;
        let mut simulated = Options {
            model: named("model", model, &[("orders", Model::Orders), ("bounds", Model::Bounds(cancels))])?,
            amend_up: named("amend_up", amend_up, &[("lose", AmendUp::Lose), ("keep", AmendUp::Keep)])?,
            latency: match latency {
                None => Latency::Recorded,
                Some((entry, response, 0)) => Latency::Fixed { entry, response },
                Some((entry, response, coupling)) => Latency::Loaded { entry, response, coupling },
            },
            gaps: named("gaps", gaps, &[("time", Gaps::Time), ("worst", Gaps::Worst), ("cancel", Gaps::Cancel)])?,
            ..Options::default()
        };
        if let Some(join) = join {
            simulated.join = join;
        }
        if let Some(depth) = depth {
            simulated.depth = depth;
        }
        let run = Run::new(options, Paper::new(simulated));
        let shared = Arc::new(Shared::new(run, Numbers::named(numbers)?));
        Ok(Self {
            shared,
            reading: Mutex::default(),
            handlers: OnceLock::new(),
            ended: AtomicBool::new(false),
            failed: Mutex::default(),
        })
    }

    #[pyo3(signature = (
        symbol, base, quote, *, price_precision, qty_precision, cost_precision, price_increment, qty_min, cost_min, maker,
        taker, status = "online", level3 = true
    ))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments in Python")]
    fn add_pair(
        &self,
        symbol: &str,
        base: &str,
        quote: &str,
        price_precision: u8,
        qty_precision: u8,
        cost_precision: u8,
        price_increment: &str,
        qty_min: &str,
        cost_min: &str,
        maker: i64,
        taker: i64,
        status: &str,
        level3: bool,
    ) -> PyResult<usize> {
        if u16::from(price_precision) + u16::from(qty_precision) > u16::from(AMOUNT_SCALE) {
            return Err(value_error(format!("{symbol}: its prices and quantities have too many decimals together")));
        }
        let pair = Pair {
            symbol: symbol.into(),
            base: base.into(),
            quote: quote.into(),
            price_precision,
            qty_precision,
            cost_precision,
            price_increment: Price(steps(price_increment, price_precision, "price_increment")?),
            qty_min: Qty(steps(qty_min, qty_precision, "qty_min")?),
            cost_min: amount(cost_min, "cost_min")?,
            maker: FeeRate(maker),
            taker: FeeRate(taker),
            status: status.into(),
        };
        let added = self.shared.lock()?.add_pair(pair, level3);
        added.ok_or_else(|| value_error("too many pairs for one run; select fewer".into()))
    }

    fn add_account(&self, balances: Vec<(String, String)>, book: bool, trade: bool) -> PyResult<usize> {
        let mut run = self.shared.lock()?;
        let mut trader = Trader::new(TraderOptions { certain: true, ..TraderOptions::default() });
        for pair in 0..run.pairs() {
            trader.set_pair(run.pair(pair).clone());
        }
        for (asset, text) in balances {
            trader.deposit(&asset, amount(&text, "balances")?);
        }
        run.add_account(trader, (book, trade))
            .ok_or_else(|| value_error("too many accounts for one run; give fewer strategies".into()))
    }

    fn set_handlers(&self, handlers: Vec<(Py<PyAny>, Bound<'_, PyDict>)>) -> PyResult<()> {
        let mut all = Vec::new();
        for (market, found) in handlers {
            let mut calls = [const { None }; HANDLERS.len()];
            for (slot, name) in calls.iter_mut().zip(HANDLERS) {
                *slot = found.get_item(name)?.map(Bound::unbind);
            }
            let compiled = found.get_item("compiled")?.map(Bound::cast_into::<Compiled>).transpose()?;
            all.push(Handlers { market, calls, compiled: compiled.map(Bound::unbind) });
        }
        self.handlers.set(all).map_err(|_| value_error("this run has its strategies already".into()))
    }

    // Data.

    /// Plays a recording.
    #[pyo3(signature = (source, until, steps = STEPS), text_signature = "($self, source, until, steps=4096)")]
    fn play(
        &self,
        py: Python<'_>,
        source: Source<'_>,
        until: i64,
        steps: usize,
    ) -> PyResult<(&'static str, Option<usize>)> {
        if let Source::Lake(replayer) = &source {
            replayer.get().play_on();
        }
        let mut left = steps;
        loop {
            match self.play_silently(py, &source, until, &mut left)? {
                Played::Heard(heard) => self.say_heard(py, heard)?,
                Played::Halt(why, player) => return Ok((why, player)),
            }
            if self.ended.load(Ordering::Relaxed) {
                return Ok(("interrupted", None));
            }
        }
    }

    /// Takes events of a live feed, which were made with a session.
    fn take(&self, py: Python<'_>, events: Bound<'_, PyList>, session: &Bound<'_, Session>) -> PyResult<()> {
        self.reading()?.session = Some(session.clone().unbind());
        events.iter().filter_map(|event| event_of(&event)).try_for_each(|event| self.hear(py, event))
    }

    /// Lets a session take the frames of one read of a live feed's socket, and takes the events of them, one after the other.
    /// `after` is called after each.
    #[pyo3(signature = (made, session, frames, ts_recv, after = None))]
    fn receive(
        &self,
        py: Python<'_>,
        made: &Bound<'_, Events>,
        session: &Bound<'_, Session>,
        frames: Vec<PyBackedBytes>,
        ts_recv: i64,
        after: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let (maker, shared) = (made.get(), session.get());
        let events = py.detach(|| maker.read(shared, &frames, ts_recv))?;
        if events.is_empty() {
            return Ok(());
        }
        self.reading()?.session = Some(session.clone().unbind());
        for event in events {
            self.hear(py, event)?;
            if let Some(after) = after {
                after.call0()?;
            }
        }
        Ok(())
    }

    /// Lets time pass; a connection may have been lost.
    #[pyo3(signature = (now, session = None, level3 = false))]
    fn advance(&self, py: Python<'_>, now: i64, session: Option<&Bound<'_, Session>>, level3: bool) -> PyResult<()> {
        if let Some(session) = session {
            let mut reading = self.reading()?;
            reading.session = Some(session.clone().unbind());
            reading.events.push_back(Item::Look(now, level3));
        }
        self.say_all(py, Some(now))
    }

    /// The exchange says that a pair is in this state.
    fn set_pair_status(&self, now: i64, symbol: &str, status: &str) -> PyResult<()> {
        let mut run = self.shared.lock()?;
        let pair = find(&run, symbol)?;
        run.set_pair_status(now, pair, status);
        Ok(())
    }

    /// Looks at the book of a pair that was in sync before the run began.
    fn see(&self, now: i64, symbol: &str, session: &Session) -> PyResult<()> {
        let mut run = self.shared.lock()?;
        let pair = find(&run, symbol)?;
        run.see(now, pair, &*session.lock()?);
        Ok(())
    }

    /// Reads once, for `next`; what halts it.
    fn fetch(&self, py: Python<'_>, source: Source<'_>, until: i64) -> PyResult<Option<(&'static str, Option<usize>)>> {
        let (mut reading, mut run, mut playing) = (self.reading()?, self.shared.lock()?, source.open()?);
        let (next, time) = playing.next(&reading, until);
        reading.set_due(&mut run, time);
        if time.is_some_and(|time| run.is_due(time)) {
            return Ok(Some((DUE, None)));
        }
        reading.due = None;
        playing.step(py, next, &mut reading)
    }

    /// Reads of a recording in memory that were played.
    #[getter]
    fn reads(&self) -> PyResult<usize> {
        Ok(self.reading()?.reads)
    }

    /// What is to be said next of what was read: account, name of the handler, what it is given.
    #[pyo3(signature = (until = None))]
    fn next<'py>(&self, py: Python<'py>, until: Option<i64>) -> PyResult<Option<Told<'py>>> {
        Ok(self.said(py, until)?.map(|(account, handler, given)| (account, HANDLERS[handler], given)))
    }

    fn start(&self, py: Python<'_>, now: i64) -> PyResult<()> {
        self.begin(now)?;
        self.say_all(py, Some(now))
    }

    /// Says nothing more; `stop` then ends it.
    fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// The account and the handler that raised.
    #[getter]
    fn failed(&self) -> PyResult<Option<(usize, &'static str)>> {
        Ok(*self.failed.lock().map_err(|_| poisoned())?)
    }

    fn stop(&self, py: Python<'_>, reason: &str) -> PyResult<()> {
        self.ended.store(false, Ordering::Relaxed);
        let mut reading = self.reading()?;
        reading.events.clear();
        reading.fill = None;
        if let Some((_, left)) = &mut reading.loaded {
            *left = 0..0;
        }
        self.shared.lock()?.stop(&reason.into());
        drop(reading);
        self.say_all(py, Some(NEVER))
    }

    // What a strategy asks and does.

    #[getter]
    fn now(&self) -> PyResult<i64> {
        Ok(self.shared.lock()?.now())
    }

    #[getter]
    fn begin_ns(&self) -> PyResult<Option<i64>> {
        Ok(self.shared.lock()?.begin())
    }

    #[getter]
    fn messages(&self) -> PyResult<u64> {
        Ok(self.shared.lock()?.messages())
    }

    #[getter]
    fn warm(&self) -> PyResult<bool> {
        Ok(self.shared.lock()?.warm())
    }

    #[getter]
    fn system(&self) -> PyResult<String> {
        Ok(self.shared.lock()?.system().to_string())
    }

    #[getter]
    fn next_due(&self) -> PyResult<i64> {
        Ok(self.shared.lock()?.next_due())
    }

    fn trading(&self, account: usize) -> PyResult<bool> {
        Ok(self.shared.lock()?.trading(account))
    }

    fn best<'py>(&self, py: Python<'py>, symbol: &str) -> PyResult<Option<Best<'py>>> {
        self.touch(py, symbol, true)
    }

    /// The best prices that were seen last: a book is out of sync when its recording is over.
    fn last_best<'py>(&self, py: Python<'py>, symbol: &str) -> PyResult<Option<Best<'py>>> {
        self.touch(py, symbol, false)
    }

    #[pyo3(signature = (
        account, symbol, side, qty, price = None, *, tif = "gtc", expire = None, post_only = false, display = None,
        trigger = None, stop = true, deadline = 5_000_000_000, tag = "", confirm = false
    ))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments in Python")]
    fn order(
        &self,
        account: usize,
        symbol: &str,
        side: &str,
        qty: &Bound<'_, PyAny>,
        price: Option<&Bound<'_, PyAny>>,
        tif: &str,
        expire: Option<i64>,
        post_only: bool,
        display: Option<&Bound<'_, PyAny>>,
        trigger: Option<&Bound<'_, PyAny>>,
        stop: bool,
        deadline: i64,
        tag: &str,
        confirm: bool,
    ) -> PyResult<Order> {
        let (pair, price_precision, qty_precision) = self.precisions(symbol)?;
        let as_price =
            |given: &Bound<'_, PyAny>, name| self.shared.steps(given, price_precision, name, symbol).map(Price);
        let as_qty = |given: &Bound<'_, PyAny>, name| self.shared.steps(given, qty_precision, name, symbol).map(Qty);
        let time_in_force = match (tif, expire) {
            ("gtd", Some(at)) => TimeInForce::Gtd(at),
            ("gtd", None) => {
                return Err(value_error("tif: 'gtd' needs expire, the time at which the order ends".into()));
            }
            (_, Some(_)) => return Err(value_error("expire: only an order with tif='gtd' has it".into())),
            _ => named("tif", tif, &[("gtc", TimeInForce::Gtc), ("ioc", TimeInForce::Ioc), ("fok", TimeInForce::Fok)])?,
        };
        let terms = Terms {
            pair,
            side: named("side", side, &[("buy", Side::Buy), ("sell", Side::Sell)])?,
            qty: as_qty(qty, "qty")?,
            price: price.map(|price| as_price(price, "price")).transpose()?,
            time_in_force,
            post_only,
            display: display.map(|display| as_qty(display, "display")).transpose()?,
            trigger: trigger
                .map(|given| Ok::<_, PyErr>(Trigger { price: as_price(given, "trigger")?, stop }))
                .transpose()?,
        };
        let mut run = self.shared.lock()?;
        let number = if confirm {
            run.order_confirmed(account, terms, deadline, tag.into())
        } else {
            run.order(account, terms, deadline, tag.into())
        };
        drop(run);
        Ok(Order::new(self.shared.clone(), account, number))
    }

    #[pyo3(signature = (account, order, qty = None, price = None))]
    fn amend(
        &self,
        account: usize,
        order: &Order,
        qty: Option<&Bound<'_, PyAny>>,
        price: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let number = self.own(account, order)?;
        let (symbol, price_precision, qty_precision) = {
            let run = self.shared.lock()?;
            let pair = run.trader(account).order(number).map_or(0, |order| order.terms.pair);
            let pair = run.pair(pair);
            (pair.symbol.clone(), pair.price_precision, pair.qty_precision)
        };
        let qty = qty.map(|qty| self.shared.steps(qty, qty_precision, "qty", &symbol).map(Qty)).transpose()?;
        let price = price.map(|price| self.shared.steps(price, price_precision, "price", &symbol)).transpose()?;
        self.shared.lock()?.amend(account, number, qty, price.map(Price));
        Ok(())
    }

    fn cancel(&self, account: usize, order: &Order) -> PyResult<()> {
        let number = self.own(account, order)?;
        self.shared.lock()?.cancel(account, number);
        Ok(())
    }

    #[pyo3(signature = (account, symbol = None))]
    fn cancel_all(&self, account: usize, symbol: Option<&str>) -> PyResult<()> {
        let mut run = self.shared.lock()?;
        let pair = symbol.map(|symbol| find(&run, symbol)).transpose()?;
        run.cancel_all(account, pair);
        Ok(())
    }

    fn after(&self, account: usize, delay: i64, tag: &str) -> PyResult<()> {
        self.shared.lock()?.after(account, delay, tag.into());
        Ok(())
    }

    fn halt(&self, account: usize, reason: &str) -> PyResult<()> {
        self.shared.lock()?.halt(account, reason.into());
        Ok(())
    }

    fn halted(&self, account: usize) -> PyResult<Option<String>> {
        Ok(self.shared.lock()?.halted(account).map(ToString::to_string))
    }

    #[pyo3(signature = (account, symbol = None, side = None, tag = None))]
    fn orders(
        &self,
        account: usize,
        symbol: Option<&str>,
        side: Option<&str>,
        tag: Option<&str>,
    ) -> PyResult<Vec<Order>> {
        let run = self.shared.lock()?;
        let pair = symbol.map(|symbol| find(&run, symbol)).transpose()?;
        let side = side.map(|side| named("side", side, &[("buy", Side::Buy), ("sell", Side::Sell)])).transpose()?;
        let trader = run.trader(account);
        let tagged = |number: &u64| tag.is_none_or(|tag| trader.order(*number).is_some_and(|order| *order.tag == *tag));
        let live = run.live(account, pair, side).into_iter().filter(tagged);
        Ok(live.map(|number| Order::new(self.shared.clone(), account, number)).collect())
    }

    /// What is there in all, what orders hold, and what is free.
    fn balance<'py>(&self, py: Python<'py>, account: usize, asset: &str) -> PyResult<[Bound<'py, PyAny>; 3]> {
        let balance = {
            let run = self.shared.lock()?;
            if !run.assets().iter().any(|known| **known == *asset) {
                let known: Vec<_> = run.assets().iter().map(ToString::to_string).collect();
                let known = known.join(", ");
                return Err(value_error(format!("asset: {asset:?} is not traded in this run; its assets are {known}")));
            }
            run.trader(account).balance(asset)
        };
        Ok([
            self.shared.amount(py, balance.total)?,
            self.shared.amount(py, balance.held)?,
            self.shared.amount(py, balance.free())?,
        ])
    }

    /// Quantity, average cost, realised, unrealised.
    fn inventory<'py>(&self, py: Python<'py>, account: usize, symbol: &str) -> PyResult<Held<'py>> {
        let (held, average, unrealised, precision) = {
            let run = self.shared.lock()?;
            let number = find(&run, symbol)?;
            let (held, pair) = (run.trader(account).inventory(number), run.pair(number));
            let (touch, synced) = run.touch(number);
            let both = touch.bid.zip(touch.ask).filter(|_| synced);
            let unrealised =
                both.map(|(bid, ask)| i128::midpoint(held.unrealised(pair, bid.0), held.unrealised(pair, ask.0)));
            (held, held.average(pair), unrealised, pair.qty_precision)
        };
        let amount = |amount: Option<Amount>| amount.map(|amount| self.shared.amount(py, amount)).transpose();
        let qty = self.shared.qty(py, held.qty, precision)?;
        Ok((qty, amount(average)?, self.shared.amount(py, held.realised)?, amount(unrealised)?))
    }

    fn rate(&self, account: usize, symbol: &str) -> PyResult<(f64, u32)> {
        let run = self.shared.lock()?;
        let pair = find(&run, symbol)?;
        Ok(run.trader(account).rate(pair, run.now()))
    }

    /// The nearest price and quantity that an order may have: `passive` never moves a price towards the other side.
    #[pyo3(signature = (symbol, side, price = None, qty = None, how = "passive"))]
    fn round<'py>(
        &self,
        py: Python<'py>,
        symbol: &str,
        side: Option<&str>,
        price: Option<&Bound<'py, PyAny>>,
        qty: Option<&Bound<'py, PyAny>>,
        how: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        let up = match (how, side) {
            ("up", _) | ("passive", Some("sell")) => Some(true),
            ("down", _) | ("passive", Some("buy")) => Some(false),
            ("nearest", _) => None,
            ("passive", _) if price.is_none() => Some(false),
            ("passive", _) => {
                return Err(value_error("how: 'passive' needs the side of the order for a price".into()));
            }
            _ => {
                return Err(value_error(format!("how: {how:?} is not allowed; allowed is passive, nearest, up, down")));
            }
        };
        let (pair, price_precision, qty_precision) = self.precisions(symbol)?;
        let increment = self.shared.lock()?.pair(pair).price_increment.0.max(1);
        let (given, precision, unit) = match (price, qty) {
            (Some(price), None) => (price, price_precision, increment),
            (None, Some(qty)) => (qty, qty_precision, 1),
            _ => return Err(value_error("round: give a price or a qty, one of the two".into())),
        };
        let text = given.str()?.to_string();
        let number =
            Decimal::parse(text.as_bytes()).ok_or_else(|| value_error(format!("round: {text:?} is no number")))?;
        // Whole steps, and what is beyond them.
        let steps = number.rescale(precision).map_or_else(
            || (number.mantissa.div_euclid(pow10(number.scale.saturating_sub(precision))), true),
            |steps| (steps, false),
        );
        let unit = i128::from(unit);
        let (whole, rest) = (steps.0.div_euclid(unit), steps.0.rem_euclid(unit));
        let exact = rest == 0 && !steps.1;
        let more = match up {
            _ if exact => false,
            Some(up) => up,
            None => {
                let scale = number.scale.max(precision);
                let value = number.rescale(scale).unwrap_or(number.mantissa);
                let whole_unit = unit * pow10(scale - precision);
                value.rem_euclid(whole_unit) * 2 >= whole_unit
            }
        };
        self.shared.numbers.of(py, (whole + i128::from(more)) * unit, precision)
    }

    // What it leaves.

    fn assets(&self) -> PyResult<Vec<String>> {
        Ok(self.shared.lock()?.assets().iter().map(ToString::to_string).collect())
    }

    /// Quantity that was traded, and how much of it nothing in the book explains, by symbol.
    fn attribution<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let run = self.shared.lock()?;
        let found = PyDict::new(py);
        for number in 0..run.pairs() {
            let (pair, found_of) = (run.pair(number), run.attribution(number));
            let text = |qty: Qty| Decimal { mantissa: qty.0.into(), scale: pair.qty_precision }.to_string();
            found.set_item(&*pair.symbol, (text(found_of.printed), text(found_of.unattributed)))?;
        }
        Ok(found)
    }

    /// Tables of what the run left of an account, as columns.
    fn tables<'py>(&self, py: Python<'py>, account: usize) -> PyResult<Bound<'py, PyDict>> {
        let run = self.shared.lock()?;
        crate::tables::tables(py, &run, account)
    }

    /// The state of a pair, as the exchange said it last.
    fn pair_status(&self, symbol: &str) -> PyResult<String> {
        let run = self.shared.lock()?;
        Ok(run.pair(find(&run, symbol)?).status.to_string())
    }

    fn pair<'py>(&self, py: Python<'py>, symbol: &str) -> PyResult<Bound<'py, PyDict>> {
        let pair = {
            let run = self.shared.lock()?;
            run.pair(find(&run, symbol)?).clone()
        };
        let found = PyDict::new(py);
        found.set_item("symbol", &*pair.symbol)?;
        found.set_item("base", &*pair.base)?;
        found.set_item("quote", &*pair.quote)?;
        found.set_item("price_precision", pair.price_precision)?;
        found.set_item("qty_precision", pair.qty_precision)?;
        found.set_item("cost_precision", pair.cost_precision)?;
        found.set_item("price_increment", self.shared.price(py, pair.price_increment, pair.price_precision)?)?;
        found.set_item("qty_min", self.shared.qty(py, pair.qty_min, pair.qty_precision)?)?;
        found.set_item("cost_min", self.shared.amount(py, pair.cost_min)?)?;
        for (name, rate) in [("maker", pair.maker), ("taker", pair.taker)] {
            found.set_item(name, decimal(py, Decimal { mantissa: rate.0.into(), scale: 6 })?)?;
        }
        found.set_item("status", &*pair.status)?;
        Ok(found)
    }
}

/// Best prices and their quantities.
type Best<'py> =
    (Option<Bound<'py, PyAny>>, Option<Bound<'py, PyAny>>, Option<Bound<'py, PyAny>>, Option<Bound<'py, PyAny>>);

/// Quantity, average cost, realised, unrealised.
type Held<'py> = (Bound<'py, PyAny>, Option<Bound<'py, PyAny>>, Bound<'py, PyAny>, Option<Bound<'py, PyAny>>);

/// The number of a pair; an error with the names of all if there is none of this name.
pub fn find(run: &Run, symbol: &str) -> PyResult<usize> {
    run.find(symbol).ok_or_else(|| {
        let names: Vec<_> = (0..run.pairs()).map(|pair| run.pair(pair).symbol.to_string()).collect();
        value_error(format!("symbol: {symbol:?} is not traded in this run; its pairs are {}", names.join(", ")))
    })
}

impl Trading {
    /// The run.
    pub fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    fn touch<'py>(&self, py: Python<'py>, symbol: &str, needs_sync: bool) -> PyResult<Option<Best<'py>>> {
        let (touch, precisions) = {
            let run = self.shared.lock()?;
            let pair = find(&run, symbol)?;
            let (touch, synced) = run.touch(pair);
            if needs_sync && !synced {
                return Ok(None);
            }
            (touch, (run.pair(pair).price_precision, run.pair(pair).qty_precision))
        };
        let price = |level: Option<(Price, Qty)>| level.map(|l| self.shared.price(py, l.0, precisions.0)).transpose();
        let qty = |level: Option<(Price, Qty)>| level.map(|l| self.shared.qty(py, l.1, precisions.1)).transpose();
        Ok(Some((price(touch.bid)?, qty(touch.bid)?, price(touch.ask)?, qty(touch.ask)?)))
    }

    fn reading(&self) -> PyResult<MutexGuard<'_, Reading>> {
        self.reading.lock().map_err(|_| poisoned())
    }

    fn precisions(&self, symbol: &str) -> PyResult<(usize, u8, u8)> {
        let run = self.shared.lock()?;
        let number = find(&run, symbol)?;
        let pair = run.pair(number);
        Ok((number, pair.price_precision, pair.qty_precision))
    }

    fn own(&self, account: usize, order: &Order) -> PyResult<u64> {
        let foreign = || value_error("order: is not an order of this strategy".into());
        order.number_in(&self.shared, account).ok_or_else(foreign)
    }

    fn begin(&self, now: i64) -> PyResult<()> {
        if !std::mem::replace(&mut self.reading()?.started, true) {
            self.shared.lock()?.start(now);
        }
        Ok(())
    }

    /// Takes an event of a live feed, and calls handlers. Where the run is to end, nothing more is taken.
    fn hear(&self, py: Python<'_>, event: Event) -> PyResult<()> {
        if self.ended.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (item, until) = match event {
            // The state of a book's subscription is another: it may be out of sync.
            Event::Subscription(event) => match event.channel {
                Channel::Book | Channel::Level3 => {
                    (Item::Look(event.ts_recv, event.channel == Channel::Level3), Some(event.ts_recv))
                }
                _ => return Ok(()),
            },
            event => (Item::Event(event), None),
        };
        self.reading()?.events.push_back(item);
        self.say_all(py, until)
    }

    /// Calls handlers until all is said of what was read, and of what is due up to `until`.
    fn say_all(&self, py: Python<'_>, until: Option<i64>) -> PyResult<()> {
        while let Some(said) = self.said(py, until)? {
            self.call(py, said)?;
            if self.ended.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Calls the handlers of the call that was found.
    fn say_heard(&self, py: Python<'_>, heard: Heard) -> PyResult<()> {
        if let Some(handlers) = self.compiled(heard.account) {
            return self.tell_compiled(py, heard.account, handlers, &heard.call).map(drop);
        }
        let is_order = matches!(heard.call, Call::Order(_));
        let said = self.given(py, heard)?;
        self.call(py, said)?;
        if is_order && !self.ended.load(Ordering::Relaxed) {
            let fill = self.reading()?.fill.take();
            if let Some((account, fill)) = fill {
                self.call(py, (account, FILL, Some(fill.into_bound(py))))?;
            }
        }
        Ok(())
    }

    /// Calls a handler, if the strategy has it.
    fn call(&self, py: Python<'_>, (account, handler, given): Said<'_>) -> PyResult<()> {
        let Some(all) = self.handlers.get() else { return Err(value_error("this run has no strategies".into())) };
        let Some(handlers) = all.get(account) else { return Ok(()) };
        let Some(call) = &handlers.calls[handler] else { return Ok(()) };
        let called = match given {
            Some(given) => call.call1(py, (&handlers.market, given)),
            None => call.call1(py, (&handlers.market,)),
        };
        if let Err(error) = called {
            *self.failed.lock().map_err(|_| poisoned())? = Some((account, HANDLERS[handler]));
            return Err(error);
        }
        Ok(())
    }

    /// What is to be said next.
    fn said<'py>(&self, py: Python<'py>, until: Option<i64>) -> PyResult<Option<Said<'py>>> {
        loop {
            let mut reading = self.reading()?;
            if let Some((account, fill)) = reading.fill.take() {
                return Ok(Some((account, FILL, Some(fill.into_bound(py)))));
            }
            let mut run = self.shared.lock()?;
            let next = reading.first(run.now());
            let bound = next.or(until).or(reading.due).unwrap_or_else(|| run.now());
            if let Some(heard) = self.heard(&mut run, bound)? {
                // Python's objects are made when the locks are gone: that may run code which asks for the run again.
                drop((run, reading));
                let Some(handlers) = self.compiled(heard.account) else { return self.given(py, heard).map(Some) };
                if self.tell_compiled(py, heard.account, handlers, &heard.call)? {
                    continue;
                }
                return Ok(None);
            }
            if next.is_none() {
                return Ok(None);
            }
            reading.give(py, &mut run)?;
        }
    }

    /// The handlers of an account whose strategy is compiled.
    fn compiled(&self, account: usize) -> Option<&Handlers> {
        self.handlers.get()?.get(account).filter(|handlers| handlers.compiled.is_some())
    }

    /// Calls a compiled strategy; whether the run goes on.
    fn tell_compiled(&self, py: Python<'_>, account: usize, handlers: &Handlers, call: &Call) -> PyResult<bool> {
        let Some(compiled) = &handlers.compiled else { return Ok(true) };
        for &handler in compiled::handlers(call) {
            let Some(failed) = &handlers.calls[handler] else { continue };
            match compiled.get().hear(&self.shared, account, call, handler)? {
                Outcome::Done => {}
                Outcome::Stop => drop(handlers.market.call_method0(py, "stop")?),
                Outcome::Failed(why) => {
                    if let Err(error) = failed.call1(py, (why,)) {
                        *self.failed.lock().map_err(|_| poisoned())? = Some((account, HANDLERS[handler]));
                        return Err(error);
                    }
                }
            }
            if self.ended.load(Ordering::Relaxed) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether anybody hears a call. Who reads by `next` hears all.
    fn hears(&self, account: usize, call: &Call) -> bool {
        let Some(handlers) = self.handlers.get().and_then(|all| all.get(account)) else { return true };
        let has = |handler: usize| handlers.calls[handler].is_some();
        match call {
            Call::Start => has(0),
            Call::Book(_) => has(1),
            Call::Trade(_) => has(2),
            Call::Order(event) => has(ORDER) || (has(FILL) && matches!(event.change, News::Changed(Change::Fill(_)))),
            Call::Gap(_) => has(5),
            Call::Timer(_) => has(6),
            Call::Stop(_) => has(7),
        }
    }

    /// The handler of a call, and the object that it is given.
    fn given<'py>(&self, py: Python<'py>, heard: Heard) -> PyResult<Said<'py>> {
        let Heard { account, call, symbol, now } = heard;
        let event = |event: Arc<Event>| object(py, Arc::try_unwrap(event).unwrap_or_else(|event| (*event).clone()));
        Ok(match call {
            Call::Start => (account, 0, None),
            Call::Book(book) => (account, 1, Some(event(book)?)),
            Call::Trade(trade) => (account, 2, Some(event(trade)?)),
            Call::Order(event) => {
                let (order, fill) = own::order_event(py, &self.shared, account, &event)?;
                if let Some(fill) = fill {
                    self.reading()?.fill = Some((account, fill.unbind()));
                }
                (account, ORDER, Some(order))
            }
            Call::Gap(gap) => (account, 5, Some(own::gap(py, &gap, symbol.unwrap_or_default(), now)?)),
            Call::Timer(tag) => (account, 6, Some(own::timer(py, &tag, now)?)),
            Call::Stop(reason) => (account, 7, Some(reason.into_pyobject(py)?.into_any())),
        })
    }
}

impl Trading {
    /// Lets a recording go on until somebody hears something, without a lock or a call between; `left`: so many reads of
    /// sockets at most.
    fn play_silently(&self, py: Python<'_>, source: &Source<'_>, until: i64, left: &mut usize) -> PyResult<Played> {
        let (mut reading, mut run, mut playing) = (self.reading()?, self.shared.lock()?, source.open()?);
        loop {
            if let Some(heard) = self.give_read(py, &mut reading, &mut run)? {
                return Ok(Played::Heard(heard));
            }
            let halt = if playing.interrupted() || self.ended.load(Ordering::Relaxed) {
                Some("interrupted")
            } else if *left == 0 {
                Some("steps")
            } else {
                None
            };
            let (next, time) = playing.next(&reading, until);
            // What the last read led to is said before the next one, with what is due until then.
            reading.set_due(&mut run, time.filter(|_| halt.is_none()));
            let bound = reading.due.unwrap_or_else(|| run.now());
            if let Some(heard) = self.heard(&mut run, bound)? {
                return Ok(Played::Heard(heard));
            }
            if let Some(why) = halt {
                return Ok(Played::Halt(why, None));
            }
            *left -= 1;
            reading.said = reading.due;
            reading.due = None;
            if let Some((why, player)) = playing.step(py, next, &mut reading)? {
                return Ok(Played::Halt(why, player));
            }
        }
    }

    /// Lets the run take what was read, up to where somebody hears something.
    fn give_read(&self, py: Python<'_>, reading: &mut Reading, run: &mut Run) -> PyResult<Option<Heard>> {
        while let Some(next) = reading.first(run.now()) {
            if reading.said != Some(next)
                && let Some(heard) = self.heard(run, next)?
            {
                return Ok(Some(heard));
            }
            reading.give(py, run)?;
        }
        Ok(None)
    }

    /// What somebody hears next of what is due up to a time.
    fn heard(&self, run: &mut Run, bound: i64) -> PyResult<Option<Heard>> {
        while let Some((account, call)) = run.poll(bound) {
            if run.stuck() {
                let sentence = "a handler asks for something at the same time again and again, and time does not go on; \
                                let m.after wait, or send fewer orders at once";
                return Err(value_error(sentence.into()));
            }
            if self.hears(account, &call) {
                return Ok(Some(Heard::of(run, account, call)));
            }
        }
        Ok(None)
    }
}
