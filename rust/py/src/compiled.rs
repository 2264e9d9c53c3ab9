//! A strategy that numba compiled: a C function over a fixed struct of the market, the account, and what it asks for.
//!
//! Beside `arrow.rs` the only file of the workspace with `unsafe`: a function is called by its address. Python makes its
//! view of the struct from [`Compiled::layout`], so the two cannot differ; size and version are compared all the same.
#![allow(
    unsafe_code,
    reason = "a compiled function is called by its address, with pointers to what it reads and writes"
)]

use std::sync::{Arc, Mutex, MutexGuard};

use krakpot_core::decimal::pow10;
use krakpot_core::session::Event;
use krakpot_trade::amount::{AMOUNT_SCALE, Amount, Price, Qty};
use krakpot_trade::order::{Order as Own, State};
use krakpot_trade::report::{Change, Evidence};
use krakpot_trade::run::{Call, Run};
use krakpot_trade::terms::{Side, Terms, TimeInForce, Trigger};
use krakpot_trade::trader::News;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::error::value_error;
use crate::own::{CHANGES, Shared, word_of};

/// Counts on when a field of the struct gets another meaning.
const VERSION: u32 = 1;
/// Pairs of a run that a compiled strategy sees.
const PAIRS: usize = 16;
/// Own orders that it sees at once.
const ORDERS: usize = 256;
/// Things that it may ask for in one call.
const REQUESTS: usize = 256;
/// How long an order waits for an answer where nothing is said, and what may be said, ns: as of `Market.send`.
const DEADLINE: i64 = 5_000_000_000;
const DEADLINES: std::ops::RangeInclusive<i64> = 500_000_000..=60_000_000_000;
/// What the function returns if it came to its end; numba returns 0 if it raised.
const DONE: i32 = 1;

/// Names of flags of an order, and their bits.
const POST_ONLY: i64 = 1;
const IOC: i64 = 2;
const FOK: i64 = 4;
const TAKE_PROFIT: i64 = 8;
const CONFIRM: i64 = 16;

/// What a gap is of, as `Gap` says it.
const GAPS: [&str; 5] = ["data", "trades", "account", "exchange", "clock"];

const STATES: [State; 10] = [
    State::Sent,
    State::Pending,
    State::Open,
    State::Amending,
    State::Canceling,
    State::Unknown,
    State::Filled,
    State::Canceled,
    State::Expired,
    State::Rejected,
];
const EVIDENCE: [Evidence; 6] =
    [Evidence::Queue, Evidence::Beyond, Evidence::Through, Evidence::Crossed, Evidence::Taken, Evidence::Exchange];

/// A type of a field: any bytes are a value of it.
trait Field: Copy {
    const ZERO: Self;

    /// As numpy's `dtype` takes it.
    fn layout(py: Python<'_>) -> PyResult<Bound<'_, PyAny>>;
}

impl Field for i64 {
    const ZERO: Self = 0;

    fn layout(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        Ok("i8".into_pyobject(py)?.into_any())
    }
}

impl Field for f64 {
    const ZERO: Self = 0.0;

    fn layout(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        Ok("f8".into_pyobject(py)?.into_any())
    }
}

impl<T: Field, const N: usize> Field for [T; N] {
    const ZERO: Self = [T::ZERO; N];

    fn layout(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        Ok((T::layout(py)?, (N,)).into_pyobject(py)?.into_any())
    }
}

/// A struct as C lays it out, and its description.
macro_rules! record {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $kind:ty,)+ }) => {
        $(#[$about])*
        #[repr(C)]
        #[derive(Clone, Copy)]
        struct $name { $($(#[$doc])* $field: $kind,)+ }

        impl Field for $name {
            const ZERO: Self = Self { $($field: <$kind as Field>::ZERO,)+ };

            fn layout(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
                let (found, formats) = (PyDict::new(py), PyList::empty(py));
                $(formats.append(<$kind as Field>::layout(py)?)?;)+
                found.set_item("names", [$(stringify!($field)),+])?;
                found.set_item("formats", formats)?;
                found.set_item("offsets", [$(std::mem::offset_of!($name, $field)),+])?;
                found.set_item("itemsize", size_of::<$name>())?;
                Ok(found.into_any())
            }
        }
    };
}

record! {
    /// An own order.
    Order {
        id: i64,
        pair: i64,
        /// 1: buy, -1: sell.
        side: i64,
        state: i64,
        qty: i64,
        /// 0: a market order.
        price: i64,
        filled: i64,
        /// Its tag, where that is a whole number.
        tag: i64,
        sent: i64,
        /// Place in the queue, where it is asked for and known; -1 otherwise.
        orders_ahead: i64,
        qty_ahead: i64,
        qty_behind: i64,
    }
}

record! {
    /// A pair of the run.
    Pair {
        price_precision: i64,
        qty_precision: i64,
        cost_precision: i64,
        price_increment: i64,
        qty_min: i64,
        /// Amounts of the quote asset are in its `cost_precision`, those of the base asset in `qty_precision`.
        cost_min: i64,
        /// Fees in millionths.
        maker: i64,
        taker: i64,
        synced: i64,
        bid: i64,
        bid_qty: i64,
        ask: i64,
        ask_qty: i64,
        inventory: i64,
        base: i64,
        base_free: i64,
        quote: i64,
        quote_free: i64,
        rate_used: f64,
        rate_limit: f64,
    }
}

record! {
    /// A trade.
    Trade {
        side: i64,
        price: i64,
        qty: i64,
        id: i64,
    }
}

record! {
    /// A fill of the order of the call.
    Fill {
        price: i64,
        qty: i64,
        fee: i64,
        maker: i64,
        evidence: i64,
        doubt: i64,
        trade_id: i64,
    }
}

record! {
    /// Something that the strategy asks for.
    Request {
        kind: i64,
        order: i64,
        pair: i64,
        side: i64,
        qty: i64,
        price: i64,
        flags: i64,
        tag: i64,
        display: i64,
        trigger: i64,
        expire: i64,
        /// Or how long until a timer.
        deadline: i64,
    }
}

record! {
    /// All that a compiled strategy sees.
    Market {
        now: i64,
        call: i64,
        /// The pair that the call is of; -1: none, or all of several.
        pair: i64,
        /// Time of the exchange of what the call is of; 0: not known.
        ts: i64,
        warm: i64,
        trading: i64,
        /// Best prices of the pair of the call.
        synced: i64,
        bid: i64,
        bid_qty: i64,
        ask: i64,
        ask_qty: i64,
        /// What became of `order`, and its state before.
        change: i64,
        before: i64,
        /// What a gap is of, and whether it is over.
        gap: i64,
        healed: i64,
        tag: i64,
        pair_count: i64,
        order_count: i64,
        /// Orders that are not in `orders`, as it is full.
        more_orders: i64,
        next_order: i64,
        asked: i64,
        /// Requests that had no room.
        lost: i64,
        order: Order,
        fill: Fill,
        trade: Trade,
        pairs: [Pair; PAIRS],
        orders: [Order; ORDERS],
        requests: [Request; REQUESTS],
    }
}

/// The address of a compiled strategy: of the market, and of its own state.
type Entry = unsafe extern "C" fn(*mut Market, *mut u64) -> i32;

/// The struct and the state of one strategy in one run.
struct Frame {
    market: Box<Market>,
    /// In words of eight bytes, so that every type of a field lies right.
    state: Box<[u64]>,
    /// Balances as they were shown last: to divide them again costs more than all the rest.
    seen: [[Amount; 4]; PAIRS],
    prepared: bool,
    /// It failed, and is called no more.
    dead: bool,
}

/// A compiled strategy in one run.
#[pyclass(frozen, module = "krakpot._core")]
pub struct Compiled {
    entry: Entry,
    frame: Mutex<Frame>,
    size: usize,
    queue: bool,
}

/// What came of a call.
pub enum Outcome {
    /// The run goes on.
    Done,
    /// The strategy ends the run.
    Stop,
    /// Why the strategy fails; empty: it raised.
    Failed(String),
}

/// The handlers that hear a call, as `Trading` numbers them.
pub const fn handlers(call: &Call) -> &'static [usize] {
    match call {
        Call::Start => &[0],
        Call::Book(_) => &[1],
        Call::Trade(_) => &[2],
        Call::Order(event) if matches!(event.change, News::Changed(Change::Fill(_))) => &[3, FILL],
        Call::Order(_) => &[3],
        Call::Gap(_) => &[5],
        Call::Timer(_) => &[6],
        Call::Stop(_) => &[7],
    }
}

const FILL: usize = 4;

#[pymethods]
impl Compiled {
    #[new]
    #[pyo3(signature = (address, size, version, state, queue = false))]
    #[allow(clippy::needless_pass_by_value, reason = "arguments are made from Python objects and belong to the call")]
    fn new(address: usize, size: usize, version: u32, state: &[u8], queue: bool) -> PyResult<Self> {
        if (size, version) != (size_of::<Market>(), VERSION) {
            return Err(value_error(format!(
                "a strategy was compiled for a struct of version {version} with {size} bytes, and this is version {VERSION} \
                 with {}; compile it with this version of krakpot",
                size_of::<Market>()
            )));
        }
        if address == 0 {
            return Err(value_error("a compiled strategy has no address".into()));
        }
        // SAFETY: a function pointer is as large as an address, and this one is not 0. That a function of this type is there
        // is the contract of `krakpot.compiled`, the only caller: numba made it with this signature, and its object keeps it.
        let entry = unsafe { std::mem::transmute::<usize, Entry>(address) };
        let mut words = vec![0_u64; state.len().div_ceil(8).max(1)].into_boxed_slice();
        for (word, bytes) in words.iter_mut().zip(state.chunks(8)) {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_ne_bytes(whole);
        }
        let seen = [[Amount::MIN; 4]; PAIRS];
        let frame = Frame { market: Box::new(Market::ZERO), state: words, seen, prepared: false, dead: false };
        Ok(Self { entry, frame: Mutex::new(frame), size: state.len(), queue })
    }

    /// Its state as bytes.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let frame = self.frame()?;
        let bytes: Vec<u8> = frame.state.iter().flat_map(|word| word.to_ne_bytes()).take(self.size).collect();
        Ok(PyBytes::new(py, &bytes))
    }

    /// The struct as numpy's `dtype` takes it, its version, and the words of its codes.
    #[staticmethod]
    fn layout(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
        let found = PyDict::new(py);
        found.set_item("version", VERSION)?;
        found.set_item("market", Market::layout(py)?)?;
        found.set_item("states", STATES.map(State::word))?;
        found.set_item("changes", CHANGES)?;
        found.set_item("evidence", EVIDENCE.map(Evidence::word))?;
        found.set_item("gaps", GAPS)?;
        Ok(found)
    }
}

/// 1 or 0.
fn flag(value: bool) -> i64 {
    i64::from(value)
}

/// A number of an order or a trade. Both count from 1.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// An amount in whole steps, rounded down.
fn steps(amount: Amount, precision: u8) -> i64 {
    let steps = amount.div_euclid(pow10(AMOUNT_SCALE - precision));
    i64::try_from(steps).unwrap_or(if steps < 0 { i64::MIN } else { i64::MAX })
}

const fn side_of(side: Side) -> i64 {
    match side {
        Side::Buy => 1,
        Side::Sell => -1,
    }
}

fn tag_of(tag: &str) -> i64 {
    if tag.is_empty() { 0 } else { tag.parse().unwrap_or(0) }
}

fn tag_text(tag: i64) -> Arc<str> {
    if tag == 0 { Arc::from("") } else { tag.to_string().into() }
}

impl Frame {
    /// What does not change in a run.
    fn prepare(&mut self, run: &Run) -> Result<(), String> {
        if run.pairs() > PAIRS {
            return Err(format!(
                "a compiled strategy sees at most {PAIRS} pairs, and this run has {}; select fewer pairs",
                run.pairs()
            ));
        }
        for (number, shown) in self.market.pairs[..run.pairs()].iter_mut().enumerate() {
            let pair = run.pair(number);
            shown.price_precision = pair.price_precision.into();
            shown.qty_precision = pair.qty_precision.into();
            shown.cost_precision = pair.cost_precision.into();
            shown.price_increment = pair.price_increment.0;
            shown.qty_min = pair.qty_min.0;
            shown.cost_min = steps(pair.cost_min, pair.cost_precision);
            (shown.maker, shown.taker) = (pair.maker.0, pair.taker.0);
        }
        self.market.pair_count = number(run.pairs() as u64);
        self.prepared = true;
        Ok(())
    }

    /// Shows what a call is of, the market and the account as they are now.
    fn show(&mut self, run: &Run, account: usize, call: &Call, handler: usize, queue: bool) {
        let trader = run.trader(account);
        let m = &mut *self.market;
        (m.now, m.call) = (run.now(), number(handler as u64));
        (m.warm, m.trading) = (flag(run.warm()), flag(run.trading(account)));
        for (number, shown) in m.pairs[..run.pairs()].iter_mut().enumerate() {
            let (touch, synced) = run.touch(number);
            shown.synced = flag(synced);
            (shown.bid, shown.bid_qty) = touch.bid.map_or((0, 0), |(price, qty)| (price.0, qty.0));
            (shown.ask, shown.ask_qty) = touch.ask.map_or((0, 0), |(price, qty)| (price.0, qty.0));
            shown.inventory = trader.inventory(number).qty.0;
            let (used, most) = trader.rate(number, run.now());
            (shown.rate_used, shown.rate_limit) = (used, most.into());
            let pair = run.pair(number);
            let (base, quote) = (trader.balance(&pair.base), trader.balance(&pair.quote));
            let now = [base.total, base.free(), quote.total, quote.free()];
            if self.seen[number] != now {
                self.seen[number] = now;
                (shown.base, shown.base_free) = (steps(now[0], pair.qty_precision), steps(now[1], pair.qty_precision));
                (shown.quote, shown.quote_free) =
                    (steps(now[2], pair.cost_precision), steps(now[3], pair.cost_precision));
            }
        }
        m.next_order = number(trader.next_order());
        (m.order_count, m.more_orders, m.asked, m.lost) = (0, 0, 0, 0);
        let mut count = 0;
        for order in (0..run.pairs()).flat_map(|pair| trader.orders(pair, None)) {
            match m.orders.get_mut(count) {
                Some(place) => *place = shown(run, account, order, queue),
                None => m.more_orders += 1,
            }
            count += 1;
        }
        let count = count.min(ORDERS);
        if run.pairs() > 1 {
            m.orders[..count].sort_unstable_by_key(|order| order.id);
        }
        m.order_count = number(count as u64);
        self.show_call(run, account, call, queue);
        let m = &mut *self.market;
        let none = Pair::ZERO;
        let best = usize::try_from(m.pair).ok().and_then(|pair| m.pairs.get(pair)).unwrap_or(&none);
        (m.synced, m.bid, m.bid_qty, m.ask, m.ask_qty) = (best.synced, best.bid, best.bid_qty, best.ask, best.ask_qty);
    }

    /// What a call is of.
    fn show_call(&mut self, run: &Run, account: usize, call: &Call, queue: bool) {
        let m = &mut *self.market;
        let only = if run.pairs() == 1 { 0 } else { -1 };
        let find = |symbol: &str| {
            if only == 0 { 0 } else { run.find(symbol).map_or(-1, |pair| number(pair as u64)) }
        };
        (m.pair, m.ts) = (only, 0);
        match call {
            Call::Start | Call::Stop(_) => {}
            Call::Timer(tag) => m.tag = tag_of(tag),
            Call::Gap(gap) => {
                m.pair = gap.pair.map_or(only, |pair| number(pair as u64));
                (m.gap, m.healed) = (code(&GAPS, gap.of), flag(gap.healed));
            }
            Call::Book(event) | Call::Trade(event) => match &**event {
                Event::Book(message, _) | Event::Level3(message, _) => {
                    m.pair = find(&message.received.symbol);
                    m.ts = message.received.ts_event.unwrap_or(0);
                }
                Event::Trade(trade) => {
                    m.pair = find(&trade.received.symbol);
                    m.ts = trade.received.ts_event.unwrap_or(0);
                    let pair = run.pair(usize::try_from(m.pair).unwrap_or(0));
                    let whole = |value: krakpot_core::decimal::Decimal, precision| {
                        value.rescale(precision).and_then(|value| i64::try_from(value).ok()).unwrap_or(0)
                    };
                    m.trade = Trade {
                        side: if trade.side == "buy" { 1 } else { -1 },
                        price: whole(trade.price, pair.price_precision),
                        qty: whole(trade.qty, pair.qty_precision),
                        id: trade.trade_id,
                    };
                }
                _ => {}
            },
            Call::Order(event) => {
                m.ts = event.ts;
                (m.change, m.before) = (code(&CHANGES, word_of(&event.change)), event.before as i64);
                m.order = trader_order(run, account, event.order, queue);
                m.pair = m.order.pair;
                if let News::Changed(Change::Fill(fill)) = &event.change {
                    let pair = run.pair(usize::try_from(m.pair).unwrap_or(0));
                    m.fill = Fill {
                        price: fill.price.0,
                        qty: fill.qty.0,
                        fee: steps(fill.fee, pair.cost_precision),
                        maker: flag(fill.maker),
                        evidence: fill.evidence as i64,
                        doubt: flag(fill.doubt),
                        trade_id: fill.trade_id.unwrap_or(0),
                    };
                }
            }
        }
    }
}

/// Place of a word.
fn code(words: &[&str], word: &str) -> i64 {
    words.iter().position(|known| *known == word).map_or(-1, |place| number(place as u64))
}

fn trader_order(run: &Run, account: usize, order: u64, queue: bool) -> Order {
    run.trader(account).order(order).map_or(Order::ZERO, |order| shown(run, account, order, queue))
}

/// An order as a compiled strategy sees it.
fn shown(run: &Run, account: usize, order: &Own, queue: bool) -> Order {
    let place = if queue { run.place(account, order.number) } else { None };
    let (orders_ahead, qty_ahead, qty_behind) =
        place.map_or((-1, -1, -1), |place| (number(place.orders_ahead as u64), place.qty_ahead.0, place.qty_behind.0));
    Order {
        id: number(order.number),
        pair: number(order.terms.pair as u64),
        side: side_of(order.terms.side),
        state: order.state() as i64,
        qty: order.qty.0,
        price: order.price.map_or(0, |price| price.0),
        filled: order.filled.0,
        tag: tag_of(&order.tag),
        sent: order.sent,
        orders_ahead,
        qty_ahead,
        qty_behind,
    }
}

impl Compiled {
    fn frame(&self) -> PyResult<MutexGuard<'_, Frame>> {
        let busy =
            || value_error("a compiled strategy is running: what it has can be read when its call is over".into());
        self.frame.try_lock().map_err(|_| busy())
    }

    /// Calls it, and does what it asks for. Nobody else waits for the run meanwhile.
    pub fn hear(&self, shared: &Shared, account: usize, call: &Call, handler: usize) -> PyResult<Outcome> {
        let mut frame = self.frame()?;
        if frame.dead {
            return Ok(Outcome::Done);
        }
        let outcome = self.heard(&mut frame, shared, account, call, handler)?;
        frame.dead = matches!(outcome, Outcome::Failed(_));
        Ok(outcome)
    }

    fn heard(
        &self,
        frame: &mut Frame,
        shared: &Shared,
        account: usize,
        call: &Call,
        handler: usize,
    ) -> PyResult<Outcome> {
        let run = shared.lock()?;
        if !frame.prepared
            && let Err(sentence) = frame.prepare(&run)
        {
            return Ok(Outcome::Failed(sentence));
        }
        frame.show(&run, account, call, handler, self.queue);
        // The function may let Python run, which may ask for the run.
        drop(run);
        let (market, state) = (&raw mut *frame.market, frame.state.as_mut_ptr());
        // SAFETY: the function has this signature (see `new`). Both pointers are those of live boxes, which nothing else reads
        // or writes until it returns: the frame is locked. What it writes there is a number, whichever bits it has.
        let returned = unsafe { (self.entry)(market, state) };
        if returned != DONE {
            return Ok(Outcome::Failed(String::new()));
        }
        let m = &*frame.market;
        if m.lost != 0 {
            return Ok(Outcome::Failed(format!(
                "it asked for {} things in one call, and {REQUESTS} is the most; ask for the rest in a later call",
                m.lost.saturating_add(m.asked)
            )));
        }
        let Some(requests) = usize::try_from(m.asked).ok().and_then(|asked| m.requests.get(..asked)) else {
            return Ok(Outcome::Failed("it wrote m.asked itself; only buy, sell, amend and the others do that".into()));
        };
        if requests.is_empty() {
            return Ok(Outcome::Done);
        }
        let mut run = shared.lock()?;
        let mut stop = false;
        for request in requests {
            match ask(&mut run, account, request) {
                Ok(ends) => stop |= ends,
                Err(sentence) => return Ok(Outcome::Failed(sentence)),
            }
        }
        Ok(if stop { Outcome::Stop } else { Outcome::Done })
    }
}

/// A number of the strategy that may be left out.
fn given(value: i64) -> Option<i64> {
    (value != 0).then_some(value)
}

/// Does what was asked for; whether the run is to end.
fn ask(run: &mut Run, account: usize, request: &Request) -> Result<bool, String> {
    let pairs = run.pairs();
    let pair_of = |what: &str| {
        usize::try_from(request.pair).ok().filter(|pair| *pair < pairs).ok_or_else(|| {
            let which = if request.pair == -1 {
                "this call is of no pair".to_owned()
            } else {
                format!("pair={}", request.pair)
            };
            format!("{what}: {which}; allowed is pair=0 to pair={}", pairs - 1)
        })
    };
    let own = |run: &Run, what: &str| {
        let order = u64::try_from(request.order).ok().filter(|order| run.trader(account).order(*order).is_some());
        order.ok_or_else(|| format!("{what}: {} is no order of this strategy", request.order))
    };
    match request.kind {
        1 => {
            let terms = terms_of(request, pair_of("an order")?)?;
            let patience = given(request.deadline).unwrap_or(DEADLINE);
            if !DEADLINES.contains(&patience) {
                return Err(format!("an order: deadline={patience} is not allowed; allowed is 500 ms to 60 s, in ns"));
            }
            let tag = tag_text(request.tag);
            let placed = if request.flags & CONFIRM == 0 {
                run.order(account, terms, patience, tag)
            } else {
                run.order_confirmed(account, terms, patience, tag)
            };
            if placed != request.order.unsigned_abs() {
                return Err(
                    "an order got another number than it was told; Python must not place orders meanwhile".into()
                );
            }
        }
        2 => {
            let order = own(run, "amend")?;
            if (request.qty, request.price) == (0, 0) {
                return Err("amend: give qty, price or both: there is nothing to amend".into());
            }
            run.amend(account, order, given(request.qty).map(Qty), given(request.price).map(Price));
        }
        3 => {
            let order = own(run, "cancel")?;
            run.cancel(account, order);
        }
        4 => {
            let pair = if request.pair < 0 { None } else { Some(pair_of("cancel_all")?) };
            run.cancel_all(account, pair);
        }
        5 => run.after(account, request.deadline, tag_text(request.tag)),
        6 => run.halt(account, "the strategy halted".into()),
        7 => return Ok(true),
        kind => {
            return Err(format!("a request of the kind {kind} is not known; only buy, sell, amend and the others ask"));
        }
    }
    Ok(false)
}

/// Terms of an order that was asked for.
fn terms_of(request: &Request, pair: usize) -> Result<Terms, String> {
    let side = match request.side {
        1 => Side::Buy,
        -1 => Side::Sell,
        side => return Err(format!("an order: side={side} is not allowed; allowed is BUY or SELL")),
    };
    let flags = request.flags;
    if flags & !(POST_ONLY | IOC | FOK | TAKE_PROFIT | CONFIRM) != 0 {
        let allowed = "POST_ONLY, IOC, FOK, TAKE_PROFIT, CONFIRM and sums of them";
        return Err(format!("an order: flags={flags} is not allowed; allowed is {allowed}"));
    }
    let time_in_force = match (flags & IOC != 0, flags & FOK != 0, given(request.expire)) {
        (false, false, None) => TimeInForce::Gtc,
        (false, false, Some(at)) => TimeInForce::Gtd(at),
        (true, false, None) => TimeInForce::Ioc,
        (false, true, None) => TimeInForce::Fok,
        _ => return Err("an order: give one of IOC, FOK and expire".into()),
    };
    Ok(Terms {
        pair,
        side,
        qty: Qty(request.qty),
        price: given(request.price).map(Price),
        time_in_force,
        post_only: flags & POST_ONLY != 0,
        display: given(request.display).map(Qty),
        trigger: given(request.trigger).map(|price| Trigger { price: Price(price), stop: flags & TAKE_PROFIT == 0 }),
    })
}
