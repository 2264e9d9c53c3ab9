//! Tables of what a run left of an account: columns as Python lists. Exact numbers are texts, times ns.

use krakpot_core::decimal::{Decimal, pow10};
use krakpot_trade::amount::{AMOUNT_SCALE, Amount, Price, Qty};
use krakpot_trade::paper::Place;
use krakpot_trade::run::Run;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::own::kind_of;

/// Decimals of the columns.
const DIGITS: u8 = 10;

/// An amount with the decimals of the columns: rounded down where it has more.
fn amount(amount: Amount) -> String {
    Decimal { mantissa: amount.div_euclid(pow10(AMOUNT_SCALE - DIGITS)), scale: DIGITS }.to_string()
}

/// Numbers of one pair as texts.
struct Texts {
    price: u8,
    qty: u8,
}

impl Texts {
    fn of(run: &Run, pair: usize) -> Self {
        let pair = run.pair(pair);
        Self { price: pair.price_precision, qty: pair.qty_precision }
    }

    fn price(&self, price: Price) -> String {
        Decimal { mantissa: price.0.into(), scale: self.price }.to_string()
    }

    fn qty(&self, qty: Qty) -> String {
        Decimal { mantissa: qty.0.into(), scale: self.qty }.to_string()
    }
}

/// A table of columns.
struct Columns<'py> {
    dict: Bound<'py, PyDict>,
}

impl<'py> Columns<'py> {
    fn new(py: Python<'py>) -> Self {
        Self { dict: PyDict::new(py) }
    }

    fn add<T: IntoPyObject<'py>>(&self, name: &str, values: impl Iterator<Item = T>) -> PyResult<()> {
        self.dict.set_item(name, values.collect::<Vec<_>>())
    }
}

/// All tables of an account, by name.
pub fn tables<'py>(py: Python<'py>, run: &Run, account: usize) -> PyResult<Bound<'py, PyDict>> {
    let all = PyDict::new(py);
    all.set_item("fills", fills(py, run, account)?)?;
    all.set_item("orders", orders(py, run, account)?)?;
    all.set_item("requests", requests(py, run, account)?)?;
    all.set_item("equity", values(py, run, account)?)?;
    all.set_item("gaps", gaps(py, run, account)?)?;
    let tally = run.tally(account);
    let delays = Columns::new(py);
    delays.add("entry", tally.delays.iter().map(|delay| delay.0))?;
    delays.add("response", tally.delays.iter().map(|delay| delay.1))?;
    all.set_item("delays", delays.dict)?;
    let refusals = PyDict::new(py);
    for (text, count) in &tally.refusals {
        refusals.set_item(&**text, count)?;
    }
    all.set_item("refusals", refusals)?;
    all.set_item("calls", tally.calls)?;
    Ok(all)
}

fn fills<'py>(py: Python<'py>, run: &Run, account: usize) -> PyResult<Bound<'py, PyDict>> {
    let rows = &run.tally(account).fills;
    let table = Columns::new(py);
    let texts = |pair: usize| Texts::of(run, pair);
    table.add("order", rows.iter().map(|row| row.order))?;
    table.add("exec_id", rows.iter().map(|row| row.fill.exec_id.to_string()))?;
    table.add("ts", rows.iter().map(|row| row.ts))?;
    table.add("heard", rows.iter().map(|row| row.heard))?;
    table.add("symbol", rows.iter().map(|row| run.pair(row.pair).symbol.to_string()))?;
    table.add("side", rows.iter().map(|row| row.side.word()))?;
    table.add("qty", rows.iter().map(|row| texts(row.pair).qty(row.fill.qty)))?;
    table.add("price", rows.iter().map(|row| texts(row.pair).price(row.fill.price)))?;
    table.add("liquidity", rows.iter().map(|row| if row.fill.maker { "maker" } else { "taker" }))?;
    table.add("fee", rows.iter().map(|row| amount(row.fill.fee)))?;
    table.add("evidence", rows.iter().map(|row| row.fill.evidence.word()))?;
    table.add("doubt", rows.iter().map(|row| row.fill.doubt))?;
    table.add("trade_id", rows.iter().map(|row| row.fill.trade_id))?;
    table.add("counterparty", rows.iter().map(|row| row.fill.counterparty.as_ref().map(ToString::to_string)))?;
    table.add("orders_ahead", rows.iter().map(|row| row.entry.as_ref().map(|place| place.orders_ahead)))?;
    let ahead = |place: &Place, pair| texts(pair).qty(place.qty_ahead);
    table.add("qty_ahead", rows.iter().map(|row| row.entry.as_ref().map(|place| ahead(place, row.pair))))?;
    Ok(table.dict)
}

fn orders<'py>(py: Python<'py>, run: &Run, account: usize) -> PyResult<Bound<'py, PyDict>> {
    let (trader, tally) = (run.trader(account), run.tally(account));
    let rows: Vec<_> = trader.all_orders().collect();
    let table = Columns::new(py);
    let texts = |pair: usize| Texts::of(run, pair);
    let times = |number: u64| tally.times.get(&number);
    table.add("order", rows.iter().map(|order| order.number))?;
    table.add("order_id", rows.iter().map(|order| order.order_id.as_ref().map(ToString::to_string)))?;
    table.add("symbol", rows.iter().map(|order| run.pair(order.terms.pair).symbol.to_string()))?;
    table.add("side", rows.iter().map(|order| order.terms.side.word()))?;
    table.add("kind", rows.iter().map(|order| kind_of(order)))?;
    table.add("qty", rows.iter().map(|order| texts(order.terms.pair).qty(order.qty)))?;
    table.add("price", rows.iter().map(|order| order.price.map(|price| texts(order.terms.pair).price(price))))?;
    table.add("filled", rows.iter().map(|order| texts(order.terms.pair).qty(order.filled)))?;
    table.add("average", rows.iter().map(|order| order.average(run.pair(order.terms.pair)).map(amount)))?;
    table.add("fee", rows.iter().map(|order| amount(order.fee)))?;
    table.add("state", rows.iter().map(|order| order.state().word()))?;
    table.add("reason", rows.iter().map(|order| order.reason.to_string()))?;
    table.add("tag", rows.iter().map(|order| order.tag.to_string()))?;
    table.add("sent", rows.iter().map(|order| order.sent))?;
    table.add("arrived", rows.iter().map(|order| times(order.number).and_then(|times| times.arrived)))?;
    table.add("acked", rows.iter().map(|order| times(order.number).and_then(|times| times.acked)))?;
    table.add("reported", rows.iter().map(|order| times(order.number).and_then(|times| times.reported)))?;
    table.add("ended", rows.iter().map(|order| times(order.number).and_then(|times| times.ended)))?;
    Ok(table.dict)
}

fn requests<'py>(py: Python<'py>, run: &Run, account: usize) -> PyResult<Bound<'py, PyDict>> {
    let rows = &run.tally(account).requests;
    let table = Columns::new(py);
    table.add("ts", rows.iter().map(|row| row.ts))?;
    table.add("order", rows.iter().map(|row| row.order))?;
    table.add("request", rows.iter().map(|row| row.what))?;
    table.add("symbol", rows.iter().map(|row| run.pair(row.pair).symbol.to_string()))?;
    table.add("qty", rows.iter().map(|row| row.qty.map(|qty| Texts::of(run, row.pair).qty(qty))))?;
    table.add("price", rows.iter().map(|row| row.price.map(|price| Texts::of(run, row.pair).price(price))))?;
    Ok(table.dict)
}

fn values<'py>(py: Python<'py>, run: &Run, account: usize) -> PyResult<Bound<'py, PyDict>> {
    let rows = &run.tally(account).values;
    let table = Columns::new(py);
    table.add("ts", rows.iter().map(|row| row.ts))?;
    for (place, asset) in run.assets().iter().enumerate() {
        table.add(asset, rows.iter().map(|row| amount(row.totals[place])))?;
    }
    table.add("equity", rows.iter().map(|row| row.mid.map(amount)))?;
    table.add("equity_exit", rows.iter().map(|row| row.exit.map(amount)))?;
    Ok(table.dict)
}

fn gaps<'py>(py: Python<'py>, run: &Run, account: usize) -> PyResult<Bound<'py, PyDict>> {
    let rows = &run.tally(account).gaps;
    let table = Columns::new(py);
    table.add("of", rows.iter().map(|row| row.of))?;
    table.add("symbol", rows.iter().map(|row| row.pair.map(|pair| run.pair(pair).symbol.to_string())))?;
    table.add("begin", rows.iter().map(|row| row.begin))?;
    table.add("end", rows.iter().map(|row| row.end))?;
    table.add("resting", rows.iter().map(|row| row.resting))?;
    Ok(table.dict)
}
