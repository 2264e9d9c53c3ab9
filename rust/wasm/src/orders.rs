//! Level-3 books of a session: levels, queues, and one order's place.

use krakpot_core::decimal::Decimal;
use krakpot_core::wire::message::{OrderId, Side};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::book::SIDES;
use crate::error::{Result, wrong};
use crate::json::Json;
use crate::session::Session;

#[wasm_bindgen]
impl Session {
    /// The best `depth` levels of each side of a level-3 book in sync, as JSON: price, quantity, number of orders.
    pub fn orders(&self, symbol: &str, depth: usize) -> Option<String> {
        let book = self.core().orders(symbol)?.book()?;
        let (price_precision, qty_precision) = book.precision();
        let mut json = Json::new();
        json.object(|json| {
            for side in SIDES {
                json.name(if side == Side::Bid { "bids" } else { "asks" }).list(|json| {
                    for (price, qty, count) in book.levels(side).take(depth) {
                        json.list(|json| {
                            json.decimal(price, price_precision).decimal(qty, qty_precision).number(count);
                        });
                    }
                });
            }
            json.name("depth").number(book.depth());
        });
        Some(json.done())
    }

    /// The orders at a price, the first to be filled first, as JSON: id, quantity, time.
    pub fn queue(&self, symbol: &str, side: &str, price: &str) -> Result<Option<String>> {
        let side = match side {
            "bid" => Side::Bid,
            "ask" => Side::Ask,
            _ => return Err(wrong(format!("no side {side:?}; sides: bid, ask"))),
        };
        let price = Decimal::parse(price.as_bytes()).ok_or_else(|| wrong(format!("{price:?} is no number")))?;
        let Some(book) = self.core().orders(symbol).and_then(|synced| synced.book()) else { return Ok(None) };
        let (price_precision, qty_precision) = book.precision();
        let mut json = Json::new();
        json.list(|json| {
            let price = price.rescale(price_precision);
            for (id, qty, timestamp) in price.into_iter().flat_map(|price| book.queue(side, price)) {
                json.list(|json| {
                    json.text(&id.to_string()).decimal(qty, qty_precision).digits(timestamp);
                });
            }
        });
        Ok(Some(json.done()))
    }

    /// One order of a level-3 book in sync and its place in its queue, as JSON; nothing if it is not there.
    pub fn order(&self, symbol: &str, id: &str) -> Option<String> {
        let book = self.core().orders(symbol)?.book()?;
        let found = book.find(OrderId::new(id).ok()?)?;
        let (price_precision, qty_precision) = book.precision();
        let mut json = Json::new();
        json.object(|json| {
            json.name("side").text(found.side.word()).name("price").decimal(found.price, price_precision);
            json.name("qty").decimal(found.qty, qty_precision).name("ts_order").digits(found.timestamp);
            json.name("orders_ahead").number(found.orders_ahead);
            json.name("qty_ahead").decimal(found.qty_ahead, qty_precision);
        });
        Some(json.done())
    }
}
