//! `Exchange`: the built-in exchange, without its sockets and its clock.

use std::sync::Mutex;

use krakpot_exchange::engine::Side;
use krakpot_exchange::faults::Injected;
use krakpot_exchange::history::Kept;
use krakpot_exchange::kinds::{By, KINDS};
use krakpot_exchange::market::Candle;
use krakpot_exchange::pairs::Pair;
use krakpot_exchange::settings::{SWITCHES, Settings};
use krakpot_exchange::{ENDPOINTS, Endpoint, Pace};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict};

use crate::error::{poisoned, value_error};

/// The built-in exchange: requests in, blocks of WebSocket frames out; the caller moves its time.
// A mutex, since several threads may hold the object; each call takes it whole.
#[pyclass(frozen, module = "krakpot._core")]
pub struct Exchange(Mutex<krakpot_exchange::Exchange>);

impl Exchange {
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&mut krakpot_exchange::Exchange) -> T + Send,
    ) -> PyResult<T> {
        py.detach(|| match self.0.lock() {
            Ok(mut exchange) => Ok(call(&mut exchange)),
            Err(_) => Err(poisoned()),
        })
    }
}

#[pymethods]
impl Exchange {
    #[new]
    #[pyo3(signature = (*, pairs = 200, rate = 1000.0, seed = 1, start = 0, log = false, book = None, level3 = None, history = None, account = None))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments")]
    fn new(
        py: Python<'_>,
        pairs: usize,
        rate: f64,
        seed: u64,
        start: i64,
        log: bool,
        book: Option<(i64, i64, i64)>,
        level3: Option<(i64, i64, i64)>,
        history: Option<usize>,
        account: Option<Vec<String>>,
    ) -> PyResult<Self> {
        if !(1..=krakpot_exchange::PAIRS_MAX).contains(&pairs) {
            return Err(value_error(format!("pairs must be from 1 to {}, not {pairs}", krakpot_exchange::PAIRS_MAX)));
        }
        if !(rate.is_finite() && rate > 0.0) {
            return Err(value_error(format!("rate must be above zero, not {rate}")));
        }
        let mut settings = Settings::default();
        for text in account.unwrap_or_default() {
            settings.set(&text).map_err(value_error)?;
        }
        let (book, level3) = (pace(book.unwrap_or_default())?, pace(level3.unwrap_or_default())?);
        Ok(py.detach(|| {
            let mut exchange = krakpot_exchange::Exchange::new(pairs, rate, seed, start, log);
            exchange.set_paces(book, level3);
            exchange.set_account(settings);
            if let Some(most) = history {
                exchange.set_history(most);
            }
            Self(Mutex::new(exchange))
        }))
    }

    #[getter]
    fn now(&self, py: Python<'_>) -> PyResult<i64> {
        self.with(py, |exchange| exchange.now())
    }

    #[getter]
    fn symbols(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.with(py, |exchange| exchange.symbols().map(str::to_owned).collect())
    }

    #[pyo3(signature = (endpoint = "public"))]
    fn connect(&self, py: Python<'_>, endpoint: &str) -> PyResult<u64> {
        let endpoint = endpoint_of(endpoint)?;
        self.with(py, |exchange| exchange.connect(endpoint))
    }

    fn allow(&self, py: Python<'_>, token: &str, until: i64) -> PyResult<()> {
        self.with(py, |exchange| exchange.allow(token, until))
    }

    fn disconnect(&self, py: Python<'_>, connection: u64) -> PyResult<()> {
        self.with(py, |exchange| exchange.disconnect(connection))
    }

    #[allow(clippy::needless_pass_by_value, reason = "PyO3 extracts it")]
    fn receive(&self, py: Python<'_>, connection: u64, text: PyBackedBytes) -> PyResult<()> {
        self.with(py, |exchange| exchange.receive(connection, &text))
    }

    #[pyo3(signature = (to, limit = None, wall = 0))]
    fn advance(&self, py: Python<'_>, to: i64, limit: Option<usize>, wall: i64) -> PyResult<i64> {
        self.with(py, |exchange| exchange.advance(to, limit.unwrap_or(usize::MAX), wall))
    }

    fn take<'py>(&self, py: Python<'py>, connection: u64) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.with(py, |exchange| exchange.take(connection))?))
    }

    fn take_log<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.with(py, krakpot_exchange::Exchange::take_log)?))
    }

    fn summary(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |exchange| exchange.summary().to_string())
    }

    fn inject(&self, py: Python<'_>, text: &str) -> PyResult<()> {
        self.with(py, |exchange| exchange.inject(text))?.map_err(value_error)
    }

    fn clear_faults(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, krakpot_exchange::Exchange::clear_faults)
    }

    #[getter]
    fn faults(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.with(py, |exchange| exchange.faults().map(str::to_owned).collect())
    }

    fn take_faults<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let dict = |injected: Injected| {
            let dict = PyDict::new(py);
            dict.set_item("ts", injected.ts)?;
            dict.set_item("name", injected.name)?;
            dict.set_item("connection", injected.connection)?;
            dict.set_item("frame", injected.frame)?;
            dict.set_item("channel", injected.channel)?;
            dict.set_item("symbol", injected.symbol)?;
            dict.set_item("by", injected.by)?;
            Ok(dict)
        };
        self.with(py, krakpot_exchange::Exchange::take_faults)?.into_iter().map(dict).collect()
    }

    #[pyo3(signature = (who, endpoint = "public"))]
    fn admit(&self, py: Python<'_>, who: &str, endpoint: &str) -> PyResult<Option<(u16, Option<u64>)>> {
        let endpoint = endpoint_of(endpoint)?;
        let refusal = self.with(py, |exchange| exchange.admit(who, endpoint).err())?;
        Ok(refusal.map(|refusal| (refusal.status, refusal.retry_after)))
    }

    #[getter]
    fn clock(&self, py: Python<'_>) -> PyResult<i64> {
        self.with(py, |exchange| exchange.clock())
    }

    #[getter]
    fn upcoming_maintenance(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |exchange| format!("[{}]", exchange.upcoming_maintenance().unwrap_or_default()))
    }

    #[getter]
    fn system(&self, py: Python<'_>) -> PyResult<&'static str> {
        self.with(py, |exchange| exchange.system())
    }

    #[pyo3(signature = (symbol, depth = 10))]
    fn book(&self, py: Python<'_>, symbol: &str, depth: usize) -> PyResult<Option<Sides>> {
        self.with(py, |exchange| exchange.book(symbol, depth).map(<[_; 2]>::into))
    }

    fn pairs(&self, py: Python<'_>) -> PyResult<Vec<PairFacts>> {
        self.with(py, |exchange| {
            let facts = |pair: &Pair| {
                let Pair { symbol, base, quote, price_precision, qty_precision, .. } = pair.clone();
                (symbol, base, quote, pair.status, price_precision, qty_precision)
            };
            exchange.pairs().map(facts).collect()
        })
    }

    #[pyo3(signature = (symbol, since = None, count = 1000))]
    fn trades(
        &self,
        py: Python<'_>,
        symbol: &str,
        since: Option<i64>,
        count: usize,
    ) -> PyResult<Option<Vec<TradeFacts>>> {
        self.with(py, |exchange| {
            let (pair, trades) = exchange.trades(symbol, since, count)?;
            let facts = |&(place, ref trade): &Kept| {
                let side = if trade.taker == Side::Buy { "b" } else { "s" };
                let price = number(trade.price.into(), pair.price_precision);
                let qty = number(trade.qty.into(), pair.qty_precision);
                (price, qty, trade.ts, side, if trade.market { "m" } else { "l" }, trade.id, place)
            };
            Some(trades.iter().map(facts).collect())
        })
    }

    #[pyo3(signature = (symbol, minutes = 1, count = 720))]
    fn candles(&self, py: Python<'_>, symbol: &str, minutes: i64, count: usize) -> PyResult<Option<Vec<CandleFacts>>> {
        self.with(py, |exchange| {
            let (pair, candles) = exchange.candles(symbol, minutes, count)?;
            let price = |value: i64| number(value.into(), pair.price_precision);
            let facts = |candle: &Candle| {
                let prices = [candle.open, candle.high, candle.low, candle.close].map(price);
                let vwap = number(candle.vwap(), pair.price_precision);
                (candle.begin, prices, vwap, number(candle.volume, pair.qty_precision), candle.trades)
            };
            Some(candles.iter().map(facts).collect())
        })
    }

    fn order(&self, py: Python<'_>, method: &str, params: &str) -> PyResult<String> {
        self.with(py, |exchange| exchange.order(method, params))
    }

    fn account(&self, py: Python<'_>, what: &str, at: i64) -> PyResult<String> {
        self.with(py, |exchange| exchange.account(what, at).to_string())
    }

    #[getter]
    fn fees(&self, py: Python<'_>) -> PyResult<(String, String)> {
        // In percent: millionths with four decimals.
        self.with(py, |exchange| exchange.fees().map(|fee| number(fee, 4)).into())
    }

    #[getter]
    fn fee_schedule(&self, py: Python<'_>) -> PyResult<Vec<(i128, String, String)>> {
        let rows = self.with(py, |exchange| exchange.fee_schedule())?;
        Ok(rows.into_iter().map(|(volume, [maker, taker])| (volume, number(maker, 4), number(taker, 4))).collect())
    }

    #[getter]
    fn volume(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |exchange| number(exchange.volume(), 4))
    }

    #[getter]
    fn tier(&self, py: Python<'_>) -> PyResult<&'static str> {
        self.with(py, |exchange| exchange.tier())
    }

    fn refuse_signed(&self, py: Python<'_>, method: &str) -> PyResult<Option<String>> {
        self.with(py, |exchange| exchange.refuse_signed(method))
    }

    fn shown_at(&self, py: Python<'_>, method: &str) -> PyResult<i64> {
        self.with(py, |exchange| exchange.shown_at(method))
    }

    fn refuse_rest(&self, py: Python<'_>) -> PyResult<Option<(u16, String)>> {
        self.with(py, krakpot_exchange::Exchange::refuse_rest)
    }
}

/// Symbol, base, quote, status, decimals of prices and of quantities.
type PairFacts = (String, String, String, &'static str, u8, u8);
/// Price, quantity, time in ns, side of the taker, type of its order, id, place in time.
type TradeFacts = (String, String, i64, &'static str, &'static str, i64, i64);
/// Begin in ns; open, high, low, close; vwap, volume, number of trades.
type CandleFacts = (i64, [String; 4], String, String, u64);

/// The digits of a number.
fn number(value: i128, decimals: u8) -> String {
    let mut digits = Vec::new();
    krakpot_exchange::wire::number(value, decimals, &mut digits);
    digits.into_iter().map(char::from).collect()
}

/// Bids and asks: price and quantity.
type Sides = (Vec<(String, String)>, Vec<(String, String)>);

/// Where Kraken is silent: a switch, its default, the other value, and what it decides.
pub fn switches() -> Vec<(&'static str, &'static str, &'static str, &'static str)> {
    SWITCHES.to_vec()
}

/// Kinds of faults: name, what it happens to, the default of `by`, and a line of help.
pub fn faults() -> Vec<(&'static str, &'static str, String, &'static str)> {
    let by = |by: By| match by {
        By::Nothing => String::new(),
        By::Time(ns, _) => format!("{}s", ns / 1_000_000_000),
        By::Number(of, default, ..) => format!("{default} {of}"),
        By::Words(words) => words.to_owned(),
    };
    KINDS.iter().map(|kind| (kind.name, kind.occasion.word(), by(kind.by), kind.help)).collect()
}

/// The endpoint of a name.
fn endpoint_of(name: &str) -> PyResult<Endpoint> {
    let found = ENDPOINTS.into_iter().find(|endpoint| endpoint.0 == name);
    found
        .map(|endpoint| endpoint.1)
        .ok_or_else(|| value_error(format!("endpoint must be public, level3 or private, not {name}")))
}

/// Delay, jitter and conflation of a channel, ns.
fn pace((delay, jitter, conflate): (i64, i64, i64)) -> PyResult<Pace> {
    const HOUR: i64 = 3_600_000_000_000;
    if [delay, jitter, conflate].iter().all(|value| (0..=HOUR).contains(value)) {
        return Ok(Pace { delay, jitter, conflate });
    }
    Err(value_error(format!(
        "delay, jitter and conflation must be from 0 to an hour, not {delay}, {jitter}, {conflate} ns"
    )))
}
