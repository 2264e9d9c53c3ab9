//! A pair as an account needs it: steps, minima and fees.

use std::sync::Arc;

use crate::amount::{AMOUNT_SCALE, Amount, FeeRate, Price, Qty, Rounding, round};
use krakpot_core::decimal::pow10;

/// A pair. Prices and quantities of its orders are whole steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// `BTC/USD`.
    pub symbol: Arc<str>,
    /// Base asset.
    pub base: Arc<str>,
    /// Quote asset.
    pub quote: Arc<str>,
    /// Decimals of a price step.
    pub price_precision: u8,
    /// Decimals of a quantity step.
    pub qty_precision: u8,
    /// Decimals to which costs and fees in the quote asset are rounded.
    pub cost_precision: u8,
    /// A price is a multiple of this.
    pub price_increment: Price,
    /// Least quantity of an order.
    pub qty_min: Qty,
    /// Least price × quantity of an order.
    pub cost_min: Amount,
    /// Fee of an order that rested.
    pub maker: FeeRate,
    /// Fee of an order that took.
    pub taker: FeeRate,
    /// `online`, `cancel_only`, …
    pub status: Arc<str>,
}

/// Millionths.
const RATE: i128 = 1_000_000;

impl Pair {
    /// A pair of which only data is asked: nothing is ordered, so that steps, minima and fees do not matter.
    #[must_use]
    pub fn watched(symbol: &str, price_precision: u8, qty_precision: u8) -> Self {
        let (base, quote) = symbol.split_once('/').unwrap_or((symbol, ""));
        Self {
            symbol: symbol.into(),
            base: base.into(),
            quote: quote.into(),
            price_precision,
            qty_precision,
            cost_precision: 0,
            price_increment: Price(1),
            qty_min: Qty::ZERO,
            cost_min: 0,
            maker: FeeRate(0),
            taker: FeeRate(0),
            status: "online".into(),
        }
    }

    /// Price × quantity, exact.
    ///
    /// # Panics
    /// If the two precisions exceed [`AMOUNT_SCALE`] together, which whoever makes a pair refuses.
    #[must_use]
    pub const fn cost(&self, price: Price, qty: Qty) -> Amount {
        price.0 as i128 * qty.0 as i128 * pow10(AMOUNT_SCALE - self.price_precision - self.qty_precision)
    }

    /// A quantity as an amount of the base asset.
    #[must_use]
    pub const fn amount(&self, qty: Qty) -> Amount {
        qty.0 as i128 * pow10(AMOUNT_SCALE - self.qty_precision)
    }

    /// The fee of a fill in the quote asset, rounded up to the decimals of costs. Kraken does not say how it rounds.
    #[must_use]
    pub fn fee(&self, cost: Amount, maker: bool) -> Amount {
        let rate = if maker { self.maker } else { self.taker };
        // The cost has few enough digits: 19 of a price and 19 of a quantity at most, so it is divided first.
        let (whole, rest) = (cost / RATE, cost % RATE);
        let exact = whole * i128::from(rate.0) + rest * i128::from(rate.0) / RATE;
        round(exact, self.cost_precision, Rounding::Up)
    }
}

#[cfg(test)]
impl Pair {
    /// BTC/USD as the tests have it.
    pub(crate) fn example() -> Self {
        Self {
            symbol: "BTC/USD".into(),
            base: "BTC".into(),
            quote: "USD".into(),
            price_precision: 1,
            qty_precision: 8,
            cost_precision: 5,
            price_increment: Price(1),
            qty_min: Qty(5000),
            cost_min: pow10(AMOUNT_SCALE) / 2,
            maker: FeeRate(2500),
            taker: FeeRate(4000),
            status: "online".into(),
        }
    }
}
