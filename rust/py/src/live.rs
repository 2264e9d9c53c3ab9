//! `LiveAccount`: an account at the exchange, for Python to connect. Frames go in and come out as text; what is to be
//! written to the journal comes out as rows.

use std::sync::{Arc, Mutex, MutexGuard};

use krakpot_core::decimal::Decimal;
use krakpot_trade::amount::{AMOUNT_SCALE, Amount, Price, Qty};
use krakpot_trade::limits::Limits;
use krakpot_trade::live::{ACCOUNT, Earlier, Live, Options, Phase};
use krakpot_trade::order::{Found, State};
use krakpot_trade::paper::Place;
use krakpot_trade::reconcile::{Ask, Seen, Strangers};
use krakpot_trade::report::{Evidence, Fill};
use krakpot_trade::run::{Run, Simulated};
use krakpot_trade::terms::{Side, Terms};
use krakpot_trade::trader::{Options as TraderOptions, Trader};
use krakpot_trade::wire::request::{Frame, SelfTrade};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::error::{poisoned, value_error};
use crate::journal::{JournalRows, facts};
use crate::own::Shared;
use crate::trade::{Trading, amount, find, named, steps};

const SIDES: [(&str, Side); 2] = [("buy", Side::Buy), ("sell", Side::Sell)];

/// An account at the exchange.
#[pyclass(frozen, module = "krakpot._core")]
pub struct LiveAccount {
    shared: Arc<Shared>,
    live: Mutex<Live>,
}

/// An order as REST shows it: name, id, state, quantity, price, filled, time (ns), reason.
type OrderRow = (Option<String>, String, String, String, Option<String>, String, i64, String);
/// A fill as REST or a journal shows it: id of the order, of the fill, number of the trade, quantity, price, cost, fee in
/// the quote asset, whether the order rested.
type FillRow = (String, String, Option<i64>, String, String, String, String, bool);

#[pymethods]
#[allow(clippy::needless_pass_by_value, reason = "arguments are made from Python objects and belong to the call")]
impl LiveAccount {
    /// Adds the account to a run, which has its pairs and no account yet.
    #[new]
    #[pyo3(signature = (
        trading, prefix, *, hears, first_order, sent_before = 0, order_value, inventory, loss, open_orders, collar,
        orders_per_minute, stale, fee_share, fat_finger = true, ramp = None, clock = None, self_trade = "cancel_newest",
        validate = false, strangers = "report", lag, limit, dead_man = false, shared = false
    ))]
    #[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools, reason = "keyword arguments in Python")]
    fn new(
        trading: &Trading,
        prefix: &str,
        hears: (bool, bool),
        first_order: u64,
        sent_before: u64,
        order_value: &str,
        inventory: Vec<(String, String)>,
        loss: &str,
        open_orders: Option<usize>,
        collar: Option<i64>,
        orders_per_minute: Option<usize>,
        stale: Option<i64>,
        fee_share: Option<i64>,
        fat_finger: bool,
        ramp: Option<u64>,
        clock: Option<i64>,
        self_trade: &str,
        validate: bool,
        strangers: &str,
        lag: i64,
        limit: i64,
        dead_man: bool,
        shared: bool,
    ) -> PyResult<Self> {
        let held: PyResult<_> =
            inventory.iter().map(|(asset, text)| Ok((Arc::from(asset.as_str()), amount(text, "inventory")?))).collect();
        let limits = Limits {
            open_orders,
            collar,
            orders_per_minute,
            stale,
            fee_share,
            fat_finger,
            ramp,
            ..Limits::new(amount(order_value, "order_value")?, held?, amount(loss, "loss")?)
        };
        let kinds = [
            ("cancel_newest", SelfTrade::CancelNewest),
            ("cancel_oldest", SelfTrade::CancelOldest),
            ("cancel_both", SelfTrade::CancelBoth),
        ];
        let mut options = Options::new(prefix);
        options.self_trade = named("self_trade", self_trade, &kinds)?;
        let thought = [("report", Strangers::Report), ("adopt", Strangers::Adopt)];
        options.strangers = named("strangers", strangers, &thought)?;
        (options.validate, options.lag, options.limit) = (validate, lag, limit);
        (options.clock, options.dead_man, options.shared) = (clock, dead_man, shared);
        let shared = trading.shared();
        {
            let mut run = shared.lock()?;
            let trader = TraderOptions { limits: Some(limits), first_order, sent_before, ..TraderOptions::default() };
            let mut trader = Trader::new(trader);
            for pair in 0..run.pairs() {
                trader.set_pair(run.pair(pair).clone());
            }
            run.add_account(trader, hears).filter(|account| *account == ACCOUNT).ok_or_else(|| {
                value_error("a run with money has one account, and this one has another already".into())
            })?;
        }
        Ok(Self { shared, live: Mutex::new(Live::new(options)) })
    }

    // What earlier runs left.

    /// Balances that an earlier run knew last: what is there now needs a reason.
    fn restore_balances(&self, balances: Vec<(String, String)>) -> PyResult<()> {
        let mut run = self.shared.lock()?;
        for (asset, text) in balances {
            run.deposit(ACCOUNT, &asset, amount(&text, "balances")?);
        }
        self.live()?.has_balances();
        Ok(())
    }

    /// A fill of an earlier run: it counts in what was bought and sold.
    fn restore_fill(&self, symbol: &str, side: &str, row: FillRow) -> PyResult<()> {
        let mut run = self.shared.lock()?;
        let pair = find(&run, symbol)?;
        let (_, fill) = fill(&run, pair, &row)?;
        run.restore(ACCOUNT, pair, named("side", side, &SIDES)?, &fill);
        Ok(())
    }

    /// An order of an earlier run that may be at the exchange.
    #[pyo3(signature = (
        number, symbol, side, qty, price, *, post_only = false, tag = "", order_id = None, sent, deadline, fills,
        last_fill = None
    ))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments in Python")]
    fn restore_order(
        &self,
        number: u64,
        symbol: &str,
        side: &str,
        qty: &str,
        price: Option<&str>,
        post_only: bool,
        tag: &str,
        order_id: Option<&str>,
        sent: i64,
        deadline: i64,
        fills: Vec<FillRow>,
        last_fill: Option<i64>,
    ) -> PyResult<()> {
        let run = self.shared.lock()?;
        let pair = find(&run, symbol)?;
        let facts = run.pair(pair);
        let at = price.map(|price| steps(price, facts.price_precision, "price").map(Price)).transpose()?;
        let qty = Qty(steps(qty, facts.qty_precision, "qty")?);
        let side = named("side", side, &SIDES)?;
        let known: PyResult<Vec<Fill>> = fills.iter().map(|row| Ok(fill(&run, pair, row)?.1)).collect();
        self.live()?.restore(Earlier {
            number,
            terms: Terms { price: at, post_only, ..Terms::limit(pair, side, qty, Price(0)) },
            tag: tag.into(),
            order_id: order_id.map(Arc::from),
            sent,
            deadline,
            known: known?,
            last_fill,
        });
        Ok(())
    }

    // The connection.

    /// A connection is open, and its token is this: what is to be sent over it at once.
    fn connected<'py>(&self, py: Python<'py>, now: i64, token: &str) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        let mut run = self.shared.lock()?;
        let mut live = self.live()?;
        let frames = live.connected(now, token, run.trader(ACCOUNT));
        live.advance(now, &mut run);
        let frames =
            frames.ok_or_else(|| value_error("token: it is empty, or has letters that no token has".into()))?;
        Ok(frames.iter().map(|frame| bytes(py, frame)).collect())
    }

    fn disconnected(&self, now: i64) -> PyResult<()> {
        let mut run = self.shared.lock()?;
        let mut live = self.live()?;
        live.disconnected();
        live.advance(now, &mut run);
        Ok(())
    }

    /// A frame of the private socket. Returns why the connection is to be made anew, if it is.
    fn frame(&self, now: i64, data: &Bound<'_, PyBytes>) -> PyResult<Option<String>> {
        let mut run = self.shared.lock()?;
        Ok(self.live()?.frame(now, data.as_bytes(), &mut run))
    }

    /// It is so late. Returns why the connection is to be made anew, if it is.
    fn advance(&self, now: i64) -> PyResult<Option<String>> {
        let mut run = self.shared.lock()?;
        Ok(self.live()?.advance(now, &mut run))
    }

    /// The requests that are to be sent, and whether one is a cancel. Their rows are added: those of the others must be in
    /// the journal before.
    fn requests<'py>(
        &self,
        py: Python<'py>,
        now: i64,
        rows: &JournalRows,
    ) -> PyResult<Vec<(Bound<'py, PyBytes>, bool)>> {
        let frames = {
            let mut run = self.shared.lock()?;
            let mut live = self.live()?;
            let frames = live.requests(now, &mut run);
            if !frames.is_empty() {
                rows.lock()?.add_notes(now, live.take_notes());
            }
            frames
        };
        Ok(frames.iter().map(|(frame, cancel)| (bytes(py, frame), *cancel)).collect())
    }

    /// A request for a sign of life; its answer compares the clocks.
    fn ping<'py>(&self, py: Python<'py>, now: i64) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, self.live()?.ping(now).as_bytes()))
    }

    /// Whether a sign of life is needed now, because a request has no answer.
    fn needs_ping(&self, now: i64) -> PyResult<bool> {
        let run = self.shared.lock()?;
        Ok(self.live()?.needs_ping(now, &run))
    }

    /// This machine's clock was set: it shows so much more than it would have, ns.
    fn clock_was_set(&self, now: i64, by: i64) -> PyResult<()> {
        let mut run = self.shared.lock()?;
        let mut live = self.live()?;
        live.clock_was_set(by);
        live.advance(now, &mut run);
        Ok(())
    }

    /// The request that sets the dead-man timer; 0 seconds end it. None without a connection.
    fn arm<'py>(&self, py: Python<'py>, now: i64, seconds: u32) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let frame = self.live()?.arm(now, seconds).map_err(|why| value_error(why.to_string()))?;
        Ok(frame.map(|frame| bytes(py, &frame)))
    }

    /// Adds the rows of what was heard.
    fn note(&self, now: i64, rows: &JournalRows) -> PyResult<()> {
        let notes = self.live()?.take_notes();
        rows.lock()?.add_notes(now, notes);
        Ok(())
    }

    /// A row with the balances as they are now; false while they are not known, or a report of what changed them is missing.
    fn note_balances(&self) -> PyResult<bool> {
        let run = self.shared.lock()?;
        Ok(self.live()?.note_balances(&run))
    }

    // REST.

    /// What REST is to be asked: a number for the answer; `orders` and their ids; `closed`, names and between which times
    /// the orders were made; or `trades` and a time; ns.
    fn take_asks<'py>(&self, py: Python<'py>, now: i64) -> PyResult<Vec<(u64, &'static str, Bound<'py, PyAny>)>> {
        let asks = self.live()?.take_asks(now);
        let given = |(number, ask)| {
            let (kind, about) = match ask {
                Ask::Orders(ids) => ("orders", PyList::new(py, ids.iter().map(|id| &**id))?.into_any()),
                Ask::Closed { names, from, to } => {
                    let names = PyList::new(py, names.iter().map(|name| &**name))?;
                    ("closed", (names, from, to).into_pyobject(py)?.into_any())
                }
                Ask::Trades(since) => ("trades", since.into_pyobject(py)?.into_any()),
            };
            Ok((number, kind, about))
        };
        asks.into_iter().map(given).collect()
    }

    /// Orders that REST showed to a question, which was sent at `asked`.
    fn rest_orders(&self, now: i64, number: u64, asked: i64, rows: Vec<OrderRow>) -> PyResult<Option<String>> {
        let mut run = self.shared.lock()?;
        let mut live = self.live()?;
        let mut found = Vec::new();
        for row in &rows {
            if let Some(pair) = live.pair_of(&row.1, row.0.as_deref(), run.trader(ACCOUNT)) {
                found.push(seen(&run, pair, row)?);
            }
        }
        Ok(live.rest_orders(now, number, asked, &found, &mut run))
    }

    /// Fills that REST showed to a question.
    fn rest_fills(&self, now: i64, number: u64, rows: Vec<FillRow>) -> PyResult<Option<String>> {
        let mut run = self.shared.lock()?;
        let mut live = self.live()?;
        let mut found = Vec::new();
        for row in &rows {
            if let Some(pair) = live.pair_of(&row.0, None, run.trader(ACCOUNT)) {
                found.push(fill(&run, pair, row)?);
            }
        }
        Ok(live.rest_fills(now, number, &found, &mut run))
    }

    fn unanswered(&self, now: i64, number: u64) -> PyResult<()> {
        self.live()?.unanswered(now, number);
        Ok(())
    }

    // What is known.

    /// `down`, `reconciling`, `ready`, `failed`.
    #[getter]
    fn phase(&self) -> PyResult<&'static str> {
        Ok(match self.live()?.phase() {
            Phase::Down => "down",
            Phase::Reconciling => "reconciling",
            Phase::Ready => "ready",
            Phase::Failed => "failed",
        })
    }

    /// What does not agree, in sentences.
    #[getter]
    fn troubles(&self) -> PyResult<Vec<String>> {
        Ok(self.live()?.troubles().to_vec())
    }

    /// Open orders of other programs, by the exchange's ids, as the last comparison found them.
    #[getter]
    fn foreign(&self) -> PyResult<Vec<String>> {
        let live = self.live()?;
        let foreign = live.outcome().map(|outcome| outcome.foreign.iter().map(ToString::to_string).collect());
        Ok(foreign.unwrap_or_default())
    }

    /// The exchange's clock less this one, ns; None while it is not known.
    #[getter]
    fn offset(&self) -> PyResult<Option<i64>> {
        Ok(self.live()?.clock().map(|(offset, _)| offset))
    }

    /// How high the exchange lets the counter of orders be; None: it did not say yet.
    #[getter]
    fn max_rate(&self) -> PyResult<Option<u32>> {
        Ok(self.live()?.max_rate())
    }

    /// When the dead-man timer ends, by the exchange's clock, ns.
    #[getter]
    fn timer(&self) -> PyResult<Option<i64>> {
        Ok(self.live()?.timer())
    }

    /// Whether the dead-man timer should run.
    fn may_arm(&self, now: i64) -> PyResult<bool> {
        Ok(self.live()?.may_arm(now))
    }

    /// Why no new risk is taken, without `krakpot:`; None if it may be.
    fn why_not(&self, now: i64) -> PyResult<Option<String>> {
        Ok(self.live()?.why_not(now).map(|(_, why)| why.to_string()))
    }

    /// Requests without an answer.
    #[getter]
    fn waiting(&self) -> PyResult<usize> {
        Ok(self.live()?.unanswered_requests())
    }

    /// Something else forbids new risk; None: not any more.
    #[pyo3(signature = (now, why))]
    fn set_trouble(&self, now: i64, why: Option<&str>) -> PyResult<()> {
        let mut run = self.shared.lock()?;
        let mut live = self.live()?;
        live.set_trouble(why.map(Arc::from));
        live.advance(now, &mut run);
        Ok(())
    }

    /// A message of the feed came, be it a heartbeat.
    fn heard(&self, now: i64) -> PyResult<()> {
        self.shared.lock()?.heard(now);
        Ok(())
    }

    /// Where an order is in the real queue of its price: orders and quantity ahead of it. None where it is not seen.
    fn place(&self, order: u64) -> PyResult<Option<(usize, String)>> {
        let run = self.shared.lock()?;
        let Some(known) = run.trader(ACCOUNT).order(order) else { return Ok(None) };
        let precision = run.pair(known.terms.pair).qty_precision;
        Ok(run.place(ACCOUNT, order).map(|place| ahead(&place, precision)))
    }

    /// What the simulated exchange said to the same requests: when it would have been heard, and a row as the journal has;
    /// the report that an order is there has `orders_ahead` and `qty_ahead`.
    fn take_shadow<'py>(&self, py: Python<'py>) -> PyResult<Vec<(i64, &'static str, Bound<'py, PyDict>)>> {
        let mut run = self.shared.lock()?;
        let replies = run.take_shadow();
        let trader = run.trader(ACCOUNT);
        let mut rows = Vec::new();
        for Simulated { heard, reply, entry } in replies {
            let Some(order) = trader.order(reply.order()) else { continue };
            let pair = trader.pair(order.terms.pair);
            let note = krakpot_trade::note::reply(&reply, order, pair);
            let row = facts(py, &note)?;
            if let Some((orders, qty)) = entry.map(|place| ahead(&place, pair.qty_precision)) {
                row.set_item("orders_ahead", orders)?;
                row.set_item("qty_ahead", qty)?;
            }
            rows.push((heard, note.kind, row));
        }
        Ok(rows)
    }
}

fn ahead(place: &Place, precision: u8) -> (usize, String) {
    let qty = Decimal { mantissa: place.qty_ahead.0.into(), scale: precision };
    (place.orders_ahead, qty.to_string())
}

impl LiveAccount {
    fn live(&self) -> PyResult<MutexGuard<'_, Live>> {
        self.live.lock().map_err(|_| poisoned())
    }
}

fn bytes<'py>(py: Python<'py>, frame: &Frame) -> Bound<'py, PyBytes> {
    PyBytes::new(py, frame.text().as_bytes())
}

/// An amount of a row. REST may give more digits than any asset has; none of them is lost.
fn money(text: &str, name: &str) -> PyResult<Amount> {
    let number = Decimal::parse(text.as_bytes()).and_then(|number| number.rescale(AMOUNT_SCALE));
    number.ok_or_else(|| value_error(format!("{name}: {text:?} is no amount")))
}

fn fill(run: &Run, pair: usize, row: &FillRow) -> PyResult<(Arc<str>, Fill)> {
    let facts = run.pair(pair);
    let (order_id, exec_id, trade_id, qty, price, cost, fee, maker) = row;
    let fill = Fill {
        exec_id: exec_id.as_str().into(),
        trade_id: *trade_id,
        counterparty: None,
        qty: Qty(steps(qty, facts.qty_precision, "qty")?),
        price: Price(steps(price, facts.price_precision, "price")?),
        cost: Some(money(cost, "cost")?),
        maker: *maker,
        fee: money(fee, "fee")?,
        evidence: Evidence::Exchange,
        doubt: false,
    };
    Ok((order_id.as_str().into(), fill))
}

fn seen(run: &Run, pair: usize, row: &OrderRow) -> PyResult<Seen> {
    let facts = run.pair(pair);
    let (name, order_id, state, qty, price, filled, ts, reason) = row;
    let states = [
        ("pending", State::Pending),
        ("open", State::Open),
        ("closed", State::Filled),
        ("canceled", State::Canceled),
        ("expired", State::Expired),
    ];
    let found = Found {
        ts: *ts,
        order_id: order_id.as_str().into(),
        state: named("status", state, &states)?,
        qty: Qty(steps(qty, facts.qty_precision, "vol")?),
        price: price.as_ref().map(|price| steps(price, facts.price_precision, "price").map(Price)).transpose()?,
        filled: Qty(steps(filled, facts.qty_precision, "vol_exec")?),
        fills: Vec::new(),
        reason: reason.as_str().into(),
    };
    Ok(Seen { name: name.as_deref().map(Arc::from), found })
}
