//! What an account hears over the private socket, as plain values.

use std::sync::Arc;

use krakpot_core::decimal::Decimal;
use krakpot_core::wire::message::Kind;

use super::json::{Unread, missing};
use crate::amount::{AMOUNT_SCALE, Amount, Price, Qty};
use crate::pair::Pair;
use crate::report::{Change, Evidence, Fill, Report};
use crate::terms::Side;

/// The channel of reports, as errors name it.
pub(super) const EXECUTIONS: &str = "executions";

/// A message.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// An answer to a request.
    Ack(Ack),
    /// Reports, or the orders and fills of a snapshot.
    Executions(Rows<Execution>),
    /// Balances of a snapshot.
    Holdings(Rows<Holding>),
    /// Changes of balances.
    Entries(Rows<Entry>),
    /// State of the exchange.
    Status(Vec<Status>),
    /// The connection lives.
    Heartbeat,
    /// A channel that is not of an account.
    Other(String),
    /// In plain text, not JSON: what is between us and the exchange restarts, so the connection will be cut.
    Restarting,
}

/// Rows of a message of a channel whose messages are numbered.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows<T> {
    /// Snapshot or update.
    pub kind: Kind,
    /// Its number, from 1.
    pub sequence: u64,
    /// The rows that were read.
    pub taken: Vec<T>,
    /// Why others were not. With one of them the account is in doubt.
    pub refused: Vec<Unread>,
    /// Further ones that were not.
    pub more: usize,
}

/// What is said of one order by an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Acked {
    /// The exchange's id of the order.
    pub order_id: Option<Arc<str>>,
    /// Its own name.
    pub cl_ord_id: Option<Arc<str>>,
    /// Id of an amendment.
    pub amend_id: Option<Arc<str>>,
    /// Id of the order that was replaced.
    pub original_order_id: Option<Arc<str>>,
    /// In a batch: why this one was refused.
    pub error: Option<Arc<str>>,
}

/// An answer to a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Ack {
    /// What was asked.
    pub method: String,
    /// The request.
    pub req_id: Option<u64>,
    /// Orders that it names; or Kraken's text of a refusal.
    pub result: Result<Vec<Acked>, Arc<str>>,
    /// Orders that were cancelled.
    pub count: Option<u64>,
    /// The channel that was subscribed.
    pub channel: Option<String>,
    /// How high the rate counter may be.
    pub rate_limit: Option<Decimal>,
    /// When the dead-man timer ends, ns; `None` where it does not run.
    pub trigger_time: Option<i64>,
    /// When the exchange received the request, ns.
    pub time_in: Option<i64>,
    /// When it answered, ns.
    pub time_out: Option<i64>,
    /// What it warns of.
    pub warnings: Vec<String>,
}

/// What a report is about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each has its word at Kraken in the decoder")]
pub enum ExecType {
    PendingNew,
    New,
    Trade,
    Filled,
    IcebergRefill,
    Canceled,
    Expired,
    Amended,
    Restated,
    Status,
    /// A word that is not known.
    Other(String),
}

impl ExecType {
    /// What Kraken's word means.
    #[must_use]
    pub fn of(word: &str) -> Self {
        match word {
            "pending_new" => Self::PendingNew,
            "new" => Self::New,
            "trade" => Self::Trade,
            "filled" => Self::Filled,
            "iceberg_refill" => Self::IcebergRefill,
            "canceled" => Self::Canceled,
            "expired" => Self::Expired,
            "amended" => Self::Amended,
            "restated" => Self::Restated,
            "status" => Self::Status,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// A report, or an order or fill of a snapshot. Most are sparse: what is not there is as it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    /// What it is about.
    pub exec_type: ExecType,
    /// The exchange's id of the order.
    pub order_id: Arc<str>,
    /// The order's own name.
    pub cl_ord_id: Option<Arc<str>>,
    /// State of the order.
    pub order_status: Option<Arc<str>>,
    /// Time of the exchange, ns.
    pub ts: i64,
    /// Pair.
    pub symbol: Option<Arc<str>>,
    /// Side.
    pub side: Option<Side>,
    /// Kind of the order.
    pub order_type: Option<Arc<str>>,
    /// How long it may wait.
    pub time_in_force: Option<Arc<str>>,
    /// When it expires, ns.
    pub expire_time: Option<i64>,
    /// Whether it must not take.
    pub post_only: Option<bool>,
    /// Quantity in all.
    pub order_qty: Option<Decimal>,
    /// Quantity that is shown at once.
    pub display_qty: Option<Decimal>,
    /// Worst price.
    pub limit_price: Option<Decimal>,
    /// Price that starts it.
    pub trigger_price: Option<Decimal>,
    /// Whether that price was reached.
    pub triggered: Option<bool>,
    /// Quantity that is filled in all.
    pub cum_qty: Option<Decimal>,
    /// What that cost.
    pub cum_cost: Option<Decimal>,
    /// Id of a fill.
    pub exec_id: Option<Arc<str>>,
    /// The public trade.
    pub trade_id: Option<i64>,
    /// Quantity of a fill.
    pub last_qty: Option<Decimal>,
    /// Its price.
    pub last_price: Option<Decimal>,
    /// Its cost.
    pub cost: Option<Decimal>,
    /// Whether the order rested.
    pub maker: Option<bool>,
    /// Fees of a fill, by asset.
    pub fees: Vec<(Arc<str>, Decimal)>,
    /// Why.
    pub reason: Arc<str>,
    /// Whether it was amended at some time.
    pub amended: bool,
    /// The rate counter of its pair.
    pub rate: Option<Decimal>,
}

impl Execution {
    /// The report about the account's order of this number, in steps of its pair. `None` if nothing changes: a word that is
    /// not known, or a trigger that moved.
    ///
    /// # Errors
    /// [`Unread`] if it lacks what it is about, or has a number that is no whole step: the account is in doubt then.
    pub fn report(&self, order: u64, pair: &Pair) -> Result<Option<Report>, Unread> {
        if self.symbol.as_ref().is_some_and(|symbol| *symbol != pair.symbol) {
            return Err(missing(EXECUTIONS, "symbol"));
        }
        let change = match &self.exec_type {
            ExecType::PendingNew => Change::Pending,
            ExecType::New => Change::New,
            ExecType::Trade => Change::Fill(self.fill(pair)?),
            ExecType::Filled => Change::Filled,
            ExecType::IcebergRefill => Change::Refilled,
            ExecType::Canceled => Change::Canceled,
            ExecType::Expired => Change::Expired,
            ExecType::Amended | ExecType::Restated => Change::Amended {
                qty: qty(self.order_qty, "order_qty", pair)?.ok_or_else(|| missing(EXECUTIONS, "order_qty"))?,
                price: price(self.limit_price, "limit_price", pair)?,
                restated: self.exec_type == ExecType::Restated,
            },
            ExecType::Status if self.triggered == Some(true) => Change::Triggered,
            ExecType::Status | ExecType::Other(_) => return Ok(None),
        };
        Ok(Some(Report {
            order,
            order_id: self.order_id.clone(),
            ts: self.ts,
            change,
            filled: qty(self.cum_qty, "cum_qty", pair)?,
            reason: self.reason.clone(),
        }))
    }

    fn fill(&self, pair: &Pair) -> Result<Fill, Unread> {
        let price = price(self.last_price, "last_price", pair)?;
        let price = price.filter(|price| price.0 > 0).ok_or_else(|| missing(EXECUTIONS, "last_price"))?;
        let qty = qty(self.last_qty, "last_qty", pair)?.filter(|qty| qty.is_positive());
        let qty = qty.ok_or_else(|| missing(EXECUTIONS, "last_qty"))?;
        let exec_id = match (&self.exec_id, self.trade_id) {
            (Some(id), _) => id.clone(),
            (None, Some(trade)) => format!("{}/{trade}", self.order_id).into(),
            (None, None) => return Err(missing(EXECUTIONS, "exec_id")),
        };
        let mut fee: Amount = 0;
        for (asset, qty) in &self.fees {
            let amount = amount(*qty).ok_or_else(|| missing(EXECUTIONS, "fees"))?;
            // A fee in the base asset at the price of the fill. One in another asset has no price here: balances have it.
            let in_quote = if *asset == pair.quote {
                Some(amount)
            } else if *asset == pair.base {
                let unit = krakpot_core::decimal::pow10(pair.price_precision.min(AMOUNT_SCALE));
                amount.checked_mul(i128::from(price.0)).map(|value| value / unit)
            } else {
                Some(0)
            };
            let sum = in_quote.and_then(|in_quote| fee.checked_add(in_quote));
            fee = sum.ok_or_else(|| missing(EXECUTIONS, "fees"))?;
        }
        Ok(Fill {
            exec_id,
            trade_id: self.trade_id,
            counterparty: None,
            qty,
            price,
            cost: self.cost.map(|cost| amount(cost).ok_or_else(|| missing(EXECUTIONS, "cost"))).transpose()?,
            maker: self.maker.unwrap_or(false),
            fee,
            evidence: Evidence::Exchange,
            doubt: false,
        })
    }
}

/// A number as an amount of an asset; `None` if it has too many digits.
#[must_use]
pub fn amount(number: Decimal) -> Option<Amount> {
    number.rescale(AMOUNT_SCALE)
}

fn steps(number: Option<Decimal>, name: &'static str, scale: u8) -> Result<Option<i64>, Unread> {
    let Some(number) = number else { return Ok(None) };
    let steps = number.rescale(scale).and_then(|steps| i64::try_from(steps).ok()).filter(|steps| *steps >= 0);
    steps.map(Some).ok_or_else(|| missing(EXECUTIONS, name))
}

fn qty(number: Option<Decimal>, name: &'static str, pair: &Pair) -> Result<Option<Qty>, Unread> {
    Ok(steps(number, name, pair.qty_precision)?.map(Qty))
}

fn price(number: Option<Decimal>, name: &'static str, pair: &Pair) -> Result<Option<Price>, Unread> {
    Ok(steps(number, name, pair.price_precision)?.map(Price))
}

/// What there is of an asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// Asset.
    pub asset: Arc<str>,
    /// All of it, in all wallets. What open orders hold is part of it: the channel does not say how much that is.
    pub total: Amount,
    /// Kind, id and content of each wallet; only `spot` `main` can trade.
    pub wallets: Vec<(Arc<str>, Arc<str>, Amount)>,
}

/// A change of a balance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub ledger_id: Arc<str>,
    /// Id of what made it; the two entries of a trade share it.
    pub ref_id: Option<Arc<str>>,
    /// Time of the exchange, ns.
    pub ts: i64,
    /// Kraken's word: `trade`, `deposit`, ….
    pub kind: Arc<str>,
    /// Asset.
    pub asset: Arc<str>,
    /// Kind and id of the wallet.
    pub wallet: (Option<Arc<str>>, Option<Arc<str>>),
    /// What was added or taken, without the fee.
    pub amount: Amount,
    /// Fee, taken besides.
    pub fee: Amount,
    /// What there is of the asset afterwards.
    pub balance: Amount,
}

/// State of the exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// `online`, `cancel_only`, `post_only`, `maintenance`.
    pub system: Arc<str>,
    /// Maintenance that is announced.
    pub maintenance: Vec<Advisory>,
    /// Emergencies that are announced.
    pub emergencies: usize,
}

/// A maintenance that is announced. All of it is advice, so what cannot be read is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Advisory {
    /// How near it is: `announced`, `approaching_30m`, ….
    pub phase: Option<Arc<str>>,
    /// What Kraken recommends.
    pub action: Option<Arc<str>>,
    /// Whether orders are taken.
    pub order_submission: Option<Arc<str>>,
    /// What it is about: `spot_trading`, `spot_ws`, ….
    pub services: Vec<Arc<str>>,
    /// When it begins, ns.
    pub begin: Option<i64>,
    /// When it ends, ns.
    pub end: Option<i64>,
    /// Until when orders should be cancelled, ns.
    pub cancel_before: Option<i64>,
}
