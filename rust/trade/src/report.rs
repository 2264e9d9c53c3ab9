//! What comes back from an exchange, or from its simulation: answers to requests, and reports of what became of orders.

use std::sync::Arc;

use crate::amount::{Amount, Price, Qty};

/// What an answer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A new order.
    Add,
    /// An amendment.
    Amend,
    /// A cancel.
    Cancel,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The account's own number of the order.
    pub order: u64,
    /// What was asked.
    pub asked: Asked,
    /// The exchange's id of the order, or Kraken's text of a refusal.
    pub result: Result<Arc<str>, Arc<str>>,
    /// Time of the exchange, ns.
    pub ts: i64,
}

/// What proves a fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// An order behind ours lost that much in a trade at our price: with ours there it was ours.
    Queue,
    /// More was traded at our price than was shown. The weakest.
    Beyond,
    /// A trade at a worse price.
    Through,
    /// An order of the other side came to rest where it would have met ours.
    Crossed,
    /// Ours took what was there.
    Taken,
    /// The exchange said so.
    Exchange,
}

impl Evidence {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Beyond => "beyond",
            Self::Through => "through",
            Self::Crossed => "crossed",
            Self::Taken => "taken",
            Self::Exchange => "exchange",
        }
    }
}

/// A fill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fill {
    /// Its id; the same one is applied once.
    pub exec_id: Arc<str>,
    /// Number of the public trade, where there is one.
    pub trade_id: Option<i64>,
    /// Id of the order that ours met, where it is known.
    pub counterparty: Option<Arc<str>>,
    /// Quantity.
    pub qty: Qty,
    /// Price.
    pub price: Price,
    /// What it cost, as the exchange rounds it; `None`: price × quantity.
    pub cost: Option<Amount>,
    /// Whether ours rested.
    pub maker: bool,
    /// Fee in the quote asset.
    pub fee: Amount,
    /// What proves it.
    pub evidence: Evidence,
    /// Whether it lies in a gap's shadow, or the data of its instant does not explain it.
    pub doubt: bool,
}

/// What a fill is known by: its id, and the number of its public trade.
pub type FillId = (Arc<str>, Option<i64>);

impl Fill {
    /// What it is known by.
    #[must_use]
    pub fn id(&self) -> FillId {
        (self.exec_id.clone(), self.trade_id)
    }

    /// Whether it is a known fill of the same order: by its id, or by its trade. A trade is between two orders, so the
    /// exchange fills an order once with it, whatever it calls that; in a simulation one trade may fill both parts of an
    /// iceberg.
    #[must_use]
    pub fn is(&self, (exec_id, trade_id): &FillId) -> bool {
        let named = !exec_id.is_empty() && !self.exec_id.is_empty();
        (named && *exec_id == self.exec_id)
            || ((!named || self.evidence == Evidence::Exchange) && trade_id.is_some() && *trade_id == self.trade_id)
    }
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is known, and not in the market yet.
    Pending,
    /// It is in the market.
    New,
    /// A part of it was filled, or all. It never ends the order: the quantity does, or `Filled`.
    Fill(Fill),
    /// All of it is filled.
    Filled,
    /// Its quantity in all and its price are others. `restated`: the exchange did it by itself.
    Amended {
        /// Quantity in all.
        qty: Qty,
        /// Worst price.
        price: Option<Price>,
        /// Whether the exchange did it by itself.
        restated: bool,
    },
    /// Another part of an iceberg is shown.
    Refilled,
    /// Its trigger was reached.
    Triggered,
    /// What was left is cancelled.
    Canceled,
    /// Its time is over.
    Expired,
}

/// A report of the exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The account's own number of the order.
    pub order: u64,
    /// The exchange's id of the order.
    pub order_id: Arc<str>,
    /// Time of the exchange, ns.
    pub ts: i64,
    /// What happened.
    pub change: Change,
    /// Quantity that is filled in all, where the report says it.
    pub filled: Option<Qty>,
    /// Why; empty where nothing is said.
    pub reason: Arc<str>,
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To a request.
    Answer(Answer),
    /// About an order.
    Report(Report),
}

impl Reply {
    /// The account's number of the order.
    #[must_use]
    pub fn order(&self) -> u64 {
        match self {
            Self::Answer(answer) => answer.order,
            Self::Report(report) => report.order,
        }
    }
}
