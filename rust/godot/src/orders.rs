//! Level-3 books of a session: levels, queues, and one order's place.

use godot::builtin::{GString, VarArray, VarDictionary, varray, vdict};
use godot::register::godot_api;
use krakpot_core::decimal::Decimal;
use krakpot_core::wire::message::{OrderId, Side};

use crate::book::{SIDES, depth_of};
use crate::session::KrakpotSession;

#[godot_api(secondary)]
impl KrakpotSession {
    /// The best `depth` levels of each side, exactly: `bids` and `asks`, lists of price, quantity, number of orders. Empty
    /// if the level-3 book is out of sync. A negative depth means all.
    #[func]
    fn order_levels(&self, symbol: GString, depth: i64) -> VarDictionary {
        let mut found = VarDictionary::new();
        let symbol = symbol.to_string();
        let Some(book) = self.core().orders(&symbol).and_then(|synced| synced.book()) else { return found };
        let (price_precision, qty_precision) = book.precision();
        for (side, name) in SIDES {
            let mut levels = VarArray::new();
            for (price, qty, count) in book.levels(side).take(depth_of(depth)) {
                let price = Decimal { mantissa: price, scale: price_precision }.to_string();
                let qty = Decimal { mantissa: qty, scale: qty_precision }.to_string();
                levels.push(&varray![price.as_str(), qty.as_str(), i64::from(count)]);
            }
            found.set(name, &levels);
        }
        found
    }

    /// The orders at a price, the first to be filled first: id, quantity, time. `side` is `bid` or `ask`; empty if there are
    /// none.
    #[func]
    fn queue(&self, symbol: GString, side: GString, price: GString) -> VarArray {
        let mut found = VarArray::new();
        let side = side.to_string();
        let Some(side) = [Side::Bid, Side::Ask].into_iter().find(|one| one.word() == side) else { return found };
        let (symbol, price) = (symbol.to_string(), price.to_string());
        let Some(book) = self.core().orders(&symbol).and_then(|synced| synced.book()) else { return found };
        let (price_precision, qty_precision) = book.precision();
        let price = Decimal::parse(price.as_bytes()).and_then(|price| price.rescale(price_precision));
        for (id, qty, timestamp) in price.into_iter().flat_map(|price| book.queue(side, price)) {
            let qty = Decimal { mantissa: qty, scale: qty_precision }.to_string();
            found.push(&varray![id.to_string().as_str(), qty.as_str(), timestamp]);
        }
        found
    }

    /// One order of a level-3 book in sync and its place in its queue; empty if it is not there.
    #[func]
    fn order(&self, symbol: GString, id: GString) -> VarDictionary {
        let (symbol, id) = (symbol.to_string(), id.to_string());
        let book = self.core().orders(&symbol).and_then(|synced| synced.book());
        let Some((book, found)) = book.and_then(|book| Some((book, book.find(OrderId::new(&id).ok()?)?))) else {
            return VarDictionary::new();
        };
        let (price_precision, qty_precision) = book.precision();
        let text = |mantissa, scale| Decimal { mantissa, scale }.to_string();
        vdict! {
            "side" => found.side.word(), "price" => text(found.price, price_precision).as_str(),
            "qty" => text(found.qty, qty_precision).as_str(), "ts_order" => found.timestamp,
            "orders_ahead" => i64::try_from(found.orders_ahead).unwrap_or(i64::MAX),
            "qty_ahead" => text(found.qty_ahead, qty_precision).as_str(),
        }
    }
}
