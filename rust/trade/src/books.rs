//! What a run looks up in the books of a session.

use krakpot_core::decimal::pow10;
use krakpot_core::limits::SCALE;
use krakpot_core::session::{LevelEntry, OrderChange, Session};
use krakpot_core::wire::message::{OrderId, Side as BookSide};

use crate::amount::{Price, Qty};
use crate::paper::Place;
use crate::terms::Side;

/// Price and quantity of the best levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Touch {
    /// Best bid.
    pub bid: Option<(Price, Qty)>,
    /// Best ask.
    pub ask: Option<(Price, Qty)>,
}

/// Where books are looked up.
pub trait Books {
    /// The session that has them.
    fn session(&self) -> &str;

    /// Whether they are those of this session, or of the one that goes on after it.
    fn follows(&self, session: &str) -> bool {
        self.session() == session
    }

    /// The best levels of a book that is in sync: of level 3, or of level 2.
    fn touch(&self, symbol: &str, level3: bool) -> Option<Touch>;

    /// All orders of a level-3 book that is in sync, as a snapshot has them.
    fn orders(&self, symbol: &str) -> Option<Vec<OrderChange>>;

    /// All levels of a level-2 book that is in sync, as a snapshot has them.
    fn levels(&self, symbol: &str) -> Option<Vec<LevelEntry>>;

    /// Where an order is in the queue of its price, in a level-3 book that is in sync.
    fn place(&self, symbol: &str, side: Side, price: Price, id: &str) -> Option<Place>;
}

impl Books for Session {
    fn session(&self) -> &str {
        self.id()
    }

    fn follows(&self, session: &str) -> bool {
        Self::follows(self, session)
    }

    fn touch(&self, symbol: &str, level3: bool) -> Option<Touch> {
        let steps = |(price, qty): (i128, i128)| Some((Price(price.try_into().ok()?), Qty(qty.try_into().ok()?)));
        if level3 {
            let book = self.orders(symbol)?.book()?;
            let best = |side| book.levels(side).next().and_then(|(price, qty, _)| steps((price, qty)));
            return Some(Touch { bid: best(BookSide::Bid), ask: best(BookSide::Ask) });
        }
        let book = self.book(symbol)?;
        let best = |side| {
            let mut found = None;
            book.each_level(side, 1, |price, qty| found = steps((price, qty)));
            found
        };
        Some(Touch { bid: best(BookSide::Bid), ask: best(BookSide::Ask) })
    }

    fn orders(&self, symbol: &str) -> Option<Vec<OrderChange>> {
        let book = self.orders(symbol)?.book()?;
        let (price_unit, qty_unit) = units(book.precision());
        let mut found = Vec::with_capacity(book.len());
        for side in [BookSide::Bid, BookSide::Ask] {
            for (steps, ..) in book.levels(side) {
                let price = steps * price_unit;
                found.extend(book.queue(side, steps).map(|(id, qty, timestamp)| OrderChange {
                    side,
                    event: None,
                    id: id.into(),
                    price,
                    qty: qty * qty_unit,
                    timestamp,
                }));
            }
        }
        Some(found)
    }

    fn levels(&self, symbol: &str) -> Option<Vec<LevelEntry>> {
        let book = self.book(symbol)?;
        let (price_unit, qty_unit) = units(book.precision());
        let mut found = Vec::with_capacity(book.len());
        for side in [BookSide::Bid, BookSide::Ask] {
            book.each_level(side, usize::MAX, |price, qty| {
                found.push(LevelEntry { side, price: price * price_unit, qty: qty * qty_unit });
            });
        }
        Some(found)
    }

    fn place(&self, symbol: &str, side: Side, price: Price, id: &str) -> Option<Place> {
        let book = Self::orders(self, symbol)?.book()?;
        let side = if side == Side::Buy { BookSide::Bid } else { BookSide::Ask };
        let mut place = Place { orders_ahead: 0, qty_ahead: Qty(0), qty_behind: Qty(0), exact: true };
        let (wanted, mut found) = (OrderId::new(id).ok(), false);
        for (other, qty, _) in book.queue(side, price.0.into()) {
            let qty = Qty(qty.try_into().ok()?);
            if Some(other) == wanted {
                found = true;
            } else if found {
                place.qty_behind += qty;
            } else {
                place.orders_ahead += 1;
                place.qty_ahead += qty;
            }
        }
        found.then_some(place)
    }
}

/// Steps of these decimals at the scale of events.
fn units((price, qty): (u8, u8)) -> (i128, i128) {
    (pow10(SCALE.saturating_sub(price)), pow10(SCALE.saturating_sub(qty)))
}
