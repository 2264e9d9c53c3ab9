//! The pairs of the simulated exchange: well-known names first, then made-up ones, of every precision.

use crate::rng::Rng;

/// Most pairs of an exchange.
pub const PAIRS_MAX: usize = 1500;

/// A pair and the character of its market.
#[derive(Debug, Clone)]
pub struct Pair {
    /// `BTC/USD`.
    pub symbol: String,
    /// Base asset.
    pub base: String,
    /// Quote asset.
    pub quote: String,
    /// Status on the instrument channel.
    pub status: &'static str,
    /// Decimals of prices.
    pub price_precision: u8,
    /// Decimals of quantities.
    pub qty_precision: u8,
    /// Price at the start, in units of the last decimal.
    pub price: i64,
    /// Levels per side that its market tends to.
    pub levels: usize,
    /// Share of the orders, relative to the busiest.
    pub weight: f64,
}

/// Symbol, price precision, quantity precision, price at the start.
const HEAD: [(&str, u8, u8, f64); 30] = [
    ("BTC/USD", 1, 8, 63_381.0),
    ("ETH/USD", 2, 8, 3_215.98),
    ("XRP/USD", 5, 8, 1.081),
    ("SOL/USD", 2, 8, 152.41),
    ("BTC/EUR", 1, 8, 58_120.4),
    ("ETH/EUR", 2, 8, 2_950.11),
    ("DOGE/USD", 7, 8, 0.124_53),
    ("ADA/USD", 6, 8, 0.451_2),
    ("BTC/USDT", 1, 8, 63_377.2),
    ("ETH/USDT", 2, 8, 3_214.1),
    ("XRP/EUR", 5, 8, 0.991_2),
    ("SOL/EUR", 2, 8, 139.8),
    ("LTC/USD", 2, 8, 84.21),
    ("LINK/USD", 5, 8, 14.223),
    ("DOT/USD", 4, 8, 4.213),
    ("AVAX/USD", 2, 8, 27.13),
    ("BCH/USD", 2, 8, 441.15),
    ("ETH/BTC", 5, 8, 0.050_71),
    ("USDT/USD", 5, 8, 1.000_12),
    ("USDC/USD", 4, 8, 1.0001),
    ("EUR/USD", 5, 8, 1.091_2),
    ("PEPE/USD", 9, 5, 0.000_008_512),
    ("SHIB/USD", 8, 5, 0.000_014_33),
    ("BONK/USD", 10, 5, 0.000_021_331),
    ("TRX/USD", 6, 8, 0.161_2),
    ("XMR/USD", 2, 8, 168.2),
    ("SUI/USD", 4, 5, 3.411),
    ("FARTCOIN/USDT", 4, 5, 0.8213),
    ("MOG/EUR", 10, 5, 0.000_001_1),
    ("USD/JPY", 3, 8, 151.221),
];

/// 10^n as a float; exact for the n used here.
fn pow10(n: u8) -> f64 {
    10f64.powi(i32::from(n))
}

/// The first `count` pairs of the market that `seed` makes.
#[must_use]
pub fn pairs(count: usize, seed: u64) -> Vec<Pair> {
    let mut rng = Rng::new(seed ^ 0x5041_4952);
    let quotes = ["USD", "EUR", "USDT", "USDC", "BTC", "GBP"];
    (0..count)
        .map(|i| {
            let (symbol, price_precision, qty_precision, price) = if let Some(&(symbol, p, q, price)) = HEAD.get(i) {
                (symbol.to_owned(), p, q, price)
            } else {
                // Made-up names of three to five letters; the number makes them unique.
                let mut n = i;
                let mut base: String = (0..2)
                    .map(|_| {
                        let letter = char::from(b'A' + u8::try_from(n % 26).unwrap_or(0));
                        n /= 26;
                        letter
                    })
                    .collect();
                base.push_str(["X", "COIN", "FI", "DAO", "AI"][i % 5]);
                if n > 0 {
                    base.push(char::from(b'A' + u8::try_from(n % 26).unwrap_or(0)));
                }
                let precision = [0, 1, 2, 3, 3, 4, 4, 5, 6, 7, 8, 9, 10][rng.below(13)];
                let qty = if rng.below(10) == 0 { 5 } else { 8 };
                // Some thousands to millions of price steps.
                let steps = 2000.0 * (1.0 + rng.pareto(20.0)).min(5000.0);
                (format!("{base}/{}", quotes[rng.below(quotes.len())]), precision, qty, steps / pow10(precision))
            };
            let (base, quote) = symbol.split_once('/').unwrap_or((&symbol, ""));
            let status = match i % 97 {
                61 => "post_only",
                67 => "cancel_only",
                71 => "reduce_only",
                _ => "online",
            };
            let levels = match i {
                0..30 => 1150,
                _ => match i % 10 {
                    0 => 700,
                    1..=3 => 220,
                    4..=7 => 60,
                    8 => 14,
                    _ => 5,
                },
            };
            // Rank-frequency: a few pairs make most of the traffic, most are nearly silent.
            #[allow(clippy::cast_precision_loss, reason = "small")]
            let weight = 1.0 / (i as f64 + 2.0).powf(0.9);
            #[allow(clippy::cast_possible_truncation, reason = "prices at the start fit")]
            let price = ((price * pow10(price_precision)).round() as i64).max(500);
            Pair {
                base: base.to_owned(),
                quote: quote.to_owned(),
                symbol: symbol.clone(),
                status,
                price_precision,
                qty_precision,
                price,
                levels,
                weight,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifteen_hundred_different_pairs_of_every_precision() {
        let pairs = pairs(1500, 1);
        let names: std::collections::HashSet<_> = pairs.iter().map(|p| &p.symbol).collect();
        assert_eq!(names.len(), 1500);
        for precision in 0..=10 {
            assert!(pairs.iter().any(|p| p.price_precision == precision), "{precision}");
        }
        assert!(pairs.iter().any(|p| p.symbol.len() > 12 && p.qty_precision == 5));
        assert!(pairs.iter().all(|p| p.price > 0));
    }
}
