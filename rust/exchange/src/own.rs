//! An order of the account: what was asked for, what became of it, and what it was at an earlier time.

use crate::amount::{self, RATE, Rounding};
use crate::engine::{OWN, SelfTrade, Side};
use crate::pairs::Pair;

/// What kind of order it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each has its name at Kraken in KINDS")]
pub enum OrderKind {
    Limit,
    Market,
    Iceberg,
    StopLoss,
    StopLossLimit,
    TakeProfit,
    TakeProfitLimit,
}

/// Names of the kinds.
pub const KINDS: [(&str, OrderKind); 7] = [
    ("limit", OrderKind::Limit),
    ("market", OrderKind::Market),
    ("iceberg", OrderKind::Iceberg),
    ("stop-loss", OrderKind::StopLoss),
    ("stop-loss-limit", OrderKind::StopLossLimit),
    ("take-profit", OrderKind::TakeProfit),
    ("take-profit-limit", OrderKind::TakeProfitLimit),
];

impl OrderKind {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        KINDS.iter().find(|kind| kind.1 == self).map_or("", |kind| kind.0)
    }

    /// Whether it has a worst price.
    #[must_use]
    pub const fn has_limit(self) -> bool {
        matches!(self, Self::Limit | Self::Iceberg | Self::StopLossLimit | Self::TakeProfitLimit)
    }

    /// Whether it waits for a price: `Some(true)` for a stop, `Some(false)` for a profit to be taken.
    #[must_use]
    pub const fn stops(self) -> Option<bool> {
        match self {
            Self::StopLoss | Self::StopLossLimit => Some(true),
            Self::TakeProfit | Self::TakeProfitLimit => Some(false),
            Self::Limit | Self::Market | Self::Iceberg => None,
        }
    }
}

/// How long an order may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each has its name at Kraken")]
pub enum TimeInForce {
    Gtc,
    Gtd,
    Ioc,
    Fok,
}

impl TimeInForce {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gtc => "GTC",
            Self::Gtd => "GTD",
            Self::Ioc => "IOC",
            Self::Fok => "FOK",
        }
    }
}

/// The client's own name of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientId {
    /// `cl_ord_id`.
    Name(String),
    /// `order_userref`; 0: none.
    Number(i64),
}

/// What was asked for. Prices and quantities are in units of the pair's last decimal.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Number of the pair.
    pub pair: usize,
    /// Side.
    pub side: Side,
    /// Kind.
    pub kind: OrderKind,
    /// Quantity.
    pub qty: i64,
    /// Amount of the quote asset that a market order buys for, instead of a quantity.
    pub cash: Option<i128>,
    /// Worst price.
    pub limit: Option<i64>,
    /// Quantity of an iceberg that is shown at once.
    pub display: Option<i64>,
    /// Price at which it is triggered, and whether that of the index is meant.
    pub trigger: Option<(i64, bool)>,
    /// How long it may wait.
    pub time_in_force: TimeInForce,
    /// When it expires, ns.
    pub expires: Option<i64>,
    /// When it begins, ns.
    pub begins: Option<i64>,
    /// Whether it must not take.
    pub post_only: bool,
    /// Whether the fee is taken in the base asset.
    pub base_fee: bool,
    /// What happens where it meets another order of the account.
    pub self_trade: SelfTrade,
    /// The client's name of it.
    pub client: ClientId,
    /// `sender_sub_id`.
    pub sender: Option<String>,
}

/// How far an order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It begins later.
    Scheduled,
    /// It waits for its price.
    Untriggered,
    /// It is in the market.
    Open,
    /// All of it is filled.
    Filled,
    /// What is left is cancelled.
    Canceled,
    /// Its time is over.
    Expired,
}

impl Stage {
    /// Whether it can still change.
    #[must_use]
    pub const fn is_alive(self) -> bool {
        matches!(self, Self::Scheduled | Self::Untriggered | Self::Open)
    }
}

/// What an order is at a time.
#[derive(Debug, Clone)]
pub struct State {
    /// Since when, ns.
    pub ts: i64,
    /// The same by the clock that stamps messages, ns.
    pub clock: i64,
    /// Stage.
    pub stage: Stage,
    /// Quantity in all.
    pub qty: i64,
    /// Worst price.
    pub limit: Option<i64>,
    /// Quantity that is shown at once.
    pub display: Option<i64>,
    /// Price of the trigger.
    pub trigger: Option<i64>,
    /// Quantity that is filled.
    pub filled: i64,
    /// What that cost, in units of the quote asset.
    pub cost: i128,
    /// Price × quantity of all fills, exact: costs are rounded one by one, so their sum gives no average price.
    pub worth: i128,
    /// Fees.
    pub fee: i128,
    /// What the account holds for it.
    pub held: i128,
    /// Whether it was amended.
    pub amended: bool,
    /// Why it ended.
    pub reason: Option<&'static str>,
}

/// An amendment that was made, or the terms at the beginning.
#[derive(Debug, Clone)]
pub struct Amended {
    /// Its id.
    pub id: String,
    /// When, ns.
    pub ts: i64,
    /// Quantity in all, and what was still open of it.
    pub qty: [i64; 2],
    /// Worst price.
    pub limit: Option<i64>,
    /// Quantity that is shown at once.
    pub display: Option<i64>,
}

/// An order of the account.
#[derive(Debug, Clone)]
pub struct OwnOrder {
    /// Its number in the engine.
    pub number: u64,
    /// Its id.
    pub id: String,
    /// The pair, as it was when the order was made.
    pub pair: Pair,
    /// What was asked for.
    pub terms: Terms,
    /// When it was made, ns, by the clock that stamps messages.
    pub created: i64,
    /// When it was made or last amended, ns.
    pub aged: i64,
    /// What it is.
    pub now: State,
    /// What it was, oldest first, this included.
    pub history: Vec<State>,
    /// Its amendments; the first is the order as it was made.
    pub amends: Vec<Amended>,
    /// Ids of its fills.
    pub fills: Vec<String>,
}

impl OwnOrder {
    /// Quantity that is still open.
    #[must_use]
    pub const fn left(&self) -> i64 {
        self.now.qty - self.now.filled
    }

    /// Decimals of quote and base amounts.
    #[must_use]
    pub fn precisions(&self) -> (u8, u8) {
        (amount::precision(&self.pair.quote), amount::precision(&self.pair.base))
    }

    /// The asset that it holds.
    #[must_use]
    pub fn holds(&self) -> &str {
        if self.terms.side == Side::Buy { &self.pair.quote } else { &self.pair.base }
    }

    /// `order_status` of a report.
    #[must_use]
    pub const fn status(&self) -> &'static str {
        match self.now.stage {
            Stage::Scheduled => "pending_new",
            Stage::Untriggered => "new",
            Stage::Open if self.now.filled == 0 => "new",
            Stage::Open => "partially_filled",
            Stage::Filled => "filled",
            Stage::Canceled => "canceled",
            Stage::Expired => "expired",
        }
    }

    /// Keeps what it is now: the time, and the same by the clock that stamps messages.
    pub fn keep(&mut self, (ts, clock): (i64, i64)) {
        (self.now.ts, self.now.clock) = (ts, clock);
        self.history.push(self.now.clone());
    }

    /// What it was at a time; `None`: it was not there yet.
    #[must_use]
    pub fn at(&self, ts: i64) -> Option<&State> {
        self.history[..self.history.partition_point(|state| state.ts <= ts)].last()
    }
}

/// Price × quantity in units of the quote asset, rounded.
#[must_use]
pub fn cost(pair: &Pair, price: i64, qty: i64, rounding: Rounding) -> i128 {
    let exact = i128::from(price) * i128::from(qty);
    amount::rescale(exact, pair.price_precision + pair.qty_precision, amount::precision(&pair.quote), rounding)
}

/// What the account holds for a quantity: of the quote asset at the price and with the fee for a buy, of the base asset for
/// a sell. Rounded up.
#[must_use]
pub fn hold(pair: &Pair, side: Side, price: i64, qty: i64, (rate, base_fee): (i128, bool)) -> i128 {
    let (value, decimals, asset, fee) = if side == Side::Buy {
        let value = i128::from(price) * i128::from(qty);
        (value, pair.price_precision + pair.qty_precision, &pair.quote, !base_fee)
    } else {
        (i128::from(qty), pair.qty_precision, &pair.base, base_fee)
    };
    let value = value * (RATE + if fee { rate } else { 0 });
    amount::rescale(value, decimals + 6, amount::precision(asset), Rounding::Up)
}

/// Number of the account's first order on an exchange that begins at this time: later ones begin with greater numbers.
#[must_use]
pub const fn first_number(start: i64) -> u64 {
    OWN + (((start / 1_000_000_000).unsigned_abs() << 8) & (OWN - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::pairs;

    /// Goal: amounts by hand, from Kraken's own example of a trade.
    #[test]
    fn amounts() {
        let pair = pairs(1, 1).swap_remove(0);
        assert_eq!((pair.symbol.as_str(), pair.price_precision, pair.qty_precision), ("BTC/USD", 1, 8));
        assert_eq!(cost(&pair, 265_999, 500_000, Rounding::HalfEven), 1_329_995, "132.9995 USD");
        // 132.9995 × 1.004 = 133.531498
        assert_eq!(hold(&pair, Side::Buy, 265_999, 500_000, (4000, false)), 1_335_315);
        assert_eq!(hold(&pair, Side::Buy, 265_999, 500_000, (4000, true)), 1_329_995);
        assert_eq!(hold(&pair, Side::Sell, 265_999, 500_000, (4000, false)), 50_000_000, "0.005 BTC");
    }
}
