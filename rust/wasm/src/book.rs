//! `Levels`: the levels of a book in typed arrays, for a picture; and as exact text.

use krakpot_core::decimal::Decimal;
use krakpot_core::wire::message::Side;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::json::Json;
use crate::session::Session;

/// The sides, in the order of all that is given here.
pub const SIDES: [Side; 2] = [Side::Bid, Side::Ask];

/// The nearest double; a book's precision is at most ten.
fn float(mantissa: i128, scale: u8) -> f64 {
    Decimal { mantissa, scale }.float().unwrap_or(f64::NAN)
}

/// Levels of one book, as doubles in the module's memory: those of the bids, then those of the asks, best first.
#[wasm_bindgen]
pub struct Levels {
    prices: Vec<f64>,
    qtys: Vec<f64>,
    /// Of level 3: orders of each level.
    counts: Vec<u32>,
    /// Of level 3: quantities of the orders of all levels, the first to be filled first.
    orders: Vec<f64>,
    bids: usize,
    precision: (u8, u8),
}

#[wasm_bindgen]
impl Levels {
    /// Without levels.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        let (prices, qtys, counts, orders) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { prices, qtys, counts, orders, bids: 0, precision: (0, 0) }
    }

    /// Takes the best `depth` levels of each side of a level-2 book. False, and no levels, if it is out of sync.
    pub fn book(&mut self, session: &Session, symbol: &str, depth: usize) -> bool {
        self.clear();
        let Some(book) = session.core().book(symbol) else { return false };
        self.precision = book.precision();
        for side in SIDES {
            book.each_level(side, depth, |price, qty| self.push(price, qty));
            if side == Side::Bid {
                self.bids = self.prices.len();
            }
        }
        true
    }

    /// The same of a level-3 book, with the queue of each level.
    pub fn level3(&mut self, session: &Session, symbol: &str, depth: usize) -> bool {
        self.clear();
        let Some(book) = session.core().orders(symbol).and_then(|synced| synced.book()) else { return false };
        self.precision = book.precision();
        for side in SIDES {
            for (price, qty, count) in book.levels(side).take(depth) {
                self.push(price, qty);
                self.counts.push(count);
                let queue = book.queue(side, price);
                self.orders.extend(queue.map(|(_, qty, _)| float(qty, self.precision.1)));
            }
            if side == Side::Bid {
                self.bids = self.prices.len();
            }
        }
        true
    }

    fn clear(&mut self) {
        for numbers in [&mut self.prices, &mut self.qtys, &mut self.orders] {
            numbers.clear();
        }
        self.counts.clear();
        self.bids = 0;
    }

    fn push(&mut self, price: i128, qty: i128) {
        let (price_precision, qty_precision) = self.precision;
        self.prices.push(float(price, price_precision));
        self.qtys.push(float(qty, qty_precision));
    }

    /// Levels of both sides.
    #[wasm_bindgen(getter)]
    pub fn length(&self) -> usize {
        self.prices.len()
    }

    /// Levels of the bids.
    #[wasm_bindgen(getter)]
    pub fn bids(&self) -> usize {
        self.bids
    }

    /// Where the prices are: doubles.
    #[wasm_bindgen(getter)]
    pub fn prices(&self) -> usize {
        self.prices.as_ptr().addr()
    }

    /// Where the quantities are: doubles.
    #[wasm_bindgen(getter)]
    pub fn qtys(&self) -> usize {
        self.qtys.as_ptr().addr()
    }

    /// Where the numbers of orders are: 32 bits each.
    #[wasm_bindgen(getter)]
    pub fn counts(&self) -> usize {
        self.counts.as_ptr().addr()
    }

    /// Where the quantities of the orders are: doubles.
    #[wasm_bindgen(getter)]
    pub fn orders(&self) -> usize {
        self.orders.as_ptr().addr()
    }

    /// Orders of all levels.
    #[wasm_bindgen(getter, js_name = orderCount)]
    pub fn order_count(&self) -> usize {
        self.orders.len()
    }

    /// Decimals of prices.
    #[wasm_bindgen(getter, js_name = pricePrecision)]
    pub fn price_precision(&self) -> u8 {
        self.precision.0
    }

    /// Decimals of quantities.
    #[wasm_bindgen(getter, js_name = qtyPrecision)]
    pub fn qty_precision(&self) -> u8 {
        self.precision.1
    }
}

#[wasm_bindgen]
impl Session {
    /// The best `depth` levels of each side of a book in sync, as JSON with exact numbers: bids, asks, depth, checksum.
    pub fn book(&self, symbol: &str, depth: usize) -> Option<String> {
        let book = self.core().book(symbol)?;
        let (price_precision, qty_precision) = book.precision();
        let mut json = Json::new();
        json.object(|json| {
            for side in SIDES {
                json.name(if side == Side::Bid { "bids" } else { "asks" }).list(|json| {
                    book.each_level(side, depth, |price, qty| {
                        json.list(|json| {
                            json.decimal(price, price_precision).decimal(qty, qty_precision);
                        });
                    });
                });
            }
            json.name("depth").number(book.depth());
        });
        Some(json.done())
    }

    /// The checksum of a book in sync.
    pub fn checksum(&self, symbol: &str) -> Option<u32> {
        Some(self.core().book(symbol)?.clone().checksum())
    }
}
