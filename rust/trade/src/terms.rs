//! What a strategy asks for: the terms of an order, and requests.

use crate::amount::{Price, Qty};

/// Which side an order is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// It buys the base asset.
    Buy,
    /// It sells it.
    Sell,
}

impl Side {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }

    /// Kraken's word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Buy => "buy",
            Self::Sell => "sell",
        }
    }

    /// Whether an order of this side at price `a` is filled before one at price `b`.
    #[must_use]
    pub fn better(self, a: Price, b: Price) -> bool {
        match self {
            Self::Buy => a > b,
            Self::Sell => a < b,
        }
    }
}

/// How long an order may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeInForce {
    /// Until it is filled or cancelled.
    #[default]
    Gtc,
    /// Until this time of the exchange, ns.
    Gtd(i64),
    /// What is not filled at once is cancelled.
    Ioc,
    /// It is filled at once and whole, or cancelled.
    Fok,
}

/// A price that starts an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trigger {
    /// The last trade reaches it.
    pub price: Price,
    /// Whether it is a stop (the market moves against the side) or a profit to be taken.
    pub stop: bool,
}

/// What is asked for. An order keeps its terms; what is amended is in its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Number of the pair, as the account counts them.
    pub pair: usize,
    /// Side.
    pub side: Side,
    /// Quantity in all.
    pub qty: Qty,
    /// Worst price; `None`: a market order.
    pub price: Option<Price>,
    /// How long it may wait.
    pub time_in_force: TimeInForce,
    /// Whether it must not take.
    pub post_only: bool,
    /// Quantity that is shown at once: an iceberg.
    pub display: Option<Qty>,
    /// It starts at a price.
    pub trigger: Option<Trigger>,
}

impl Terms {
    /// A limit order that waits until it is filled or cancelled.
    #[must_use]
    pub const fn limit(pair: usize, side: Side, qty: Qty, price: Price) -> Self {
        Self {
            pair,
            side,
            qty,
            price: Some(price),
            time_in_force: TimeInForce::Gtc,
            post_only: false,
            display: None,
            trigger: None,
        }
    }
}

/// What is sent to the exchange. `order`: the account's own number of the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// A new order, that is not matched after `deadline`, ns by the exchange's clock.
    Add {
        /// Its number.
        order: u64,
        /// Its terms.
        terms: Terms,
        /// The engine does not match it after this time.
        deadline: i64,
    },
    /// Another quantity in all, another price; not made after `deadline`, ns by the exchange's clock.
    Amend {
        /// Its number.
        order: u64,
        /// Quantity in all, what is filled included.
        qty: Option<Qty>,
        /// Worst price.
        price: Option<Price>,
        /// The engine does not make it after this time.
        deadline: i64,
    },
    /// No more of it.
    Cancel {
        /// Its number.
        order: u64,
    },
}

impl Request {
    /// The order that it is about.
    #[must_use]
    pub const fn order(&self) -> u64 {
        match *self {
            Self::Add { order, .. } | Self::Amend { order, .. } | Self::Cancel { order } => order,
        }
    }
}

/// A request, and when it left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Local time, ns.
    pub ts: i64,
    /// The request.
    pub request: Request,
}
