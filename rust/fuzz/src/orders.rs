//! Bytes as the life of one level-3 book: orders come, change and go, messages are damaged; a plain list is the second
//! opinion on the queues, and the rows prove themselves again.

use std::fmt::Write as _;

use krakpot_core::book::level3::Orders;
use krakpot_core::session::{Options, Session};
use krakpot_core::table::schema::Table;
use krakpot_core::wire::message::Side;
use krakpot_frames::{Random, START, crc32, padded, time};
use krakpot_lake::batch::batch;
use krakpot_lake::rebuild::{Rebuild, Verifier};

use crate::ends::ends;
use crate::mutate::mutate;

const DEPTH: usize = 10;
const SYMBOL: &str = "A/USD";
/// Steps of one script.
const STEPS_MAX: usize = 500;

/// One order of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Order {
    ask: bool,
    id: String,
    price: u64,
    qty: u64,
    /// Microseconds since [`START`], and arrival: its place in the queue.
    place: (u64, u64),
}

/// A level-3 book as a list, which is sorted when it is read. Prices have one decimal, quantities three.
#[derive(Debug, Default)]
struct List {
    orders: Vec<Order>,
    arrivals: u64,
}

impl List {
    /// Prices of a side, best first.
    fn prices(&self, ask: bool) -> Vec<u64> {
        let mut prices: Vec<_> = self.orders.iter().filter(|o| o.ask == ask).map(|o| o.price).collect();
        prices.sort_unstable();
        prices.dedup();
        if !ask {
            prices.reverse();
        }
        prices
    }

    fn queue(&self, ask: bool, price: u64) -> Vec<&Order> {
        let mut queue: Vec<_> = self.orders.iter().filter(|o| (o.ask, o.price) == (ask, price)).collect();
        queue.sort_by_key(|o| o.place);
        queue
    }

    /// Every order, best level first, bids first.
    fn all(&self) -> Vec<&Order> {
        [false, true]
            .into_iter()
            .flat_map(|ask| self.prices(ask).into_iter().flat_map(move |p| self.queue(ask, p)))
            .collect()
    }

    fn truncate(&mut self) {
        for ask in [false, true] {
            let kept: Vec<_> = self.prices(ask).into_iter().take(DEPTH).collect();
            self.orders.retain(|o| o.ask != ask || kept.contains(&o.price));
        }
    }

    fn checksum(&self) -> u32 {
        let mut text = String::new();
        for ask in [true, false] {
            for price in self.prices(ask).into_iter().take(10) {
                for order in self.queue(ask, price) {
                    let _ = write!(text, "{price}{}", order.qty);
                }
            }
        }
        crc32(text.as_bytes())
    }

    fn crossed(&self) -> bool {
        matches!((self.prices(false).first(), self.prices(true).first()), (Some(bid), Some(ask)) if bid >= ask)
    }
}

/// An order as a message writes it.
fn entry(event: Option<&str>, order: &Order, at: u64) -> String {
    let event = event.map_or_else(String::new, |event| format!(r#""event":"{event}","#));
    format!(
        r#"{{{event}"order_id":"{}","limit_price":{},"order_qty":{},"timestamp":"{}"}}"#,
        order.id,
        padded(order.price, 1),
        padded(order.qty, 3),
        time(at)
    )
}

/// A message of level 3.
fn frame(kind: &str, entries: &[(bool, String)], checksum: u32) -> String {
    let side = |ask| entries.iter().filter(|e| e.0 == ask).map(|e| e.1.as_str()).collect::<Vec<_>>().join(",");
    format!(
        r#"{{"channel":"level3","type":"{kind}","data":[{{"symbol":"{SYMBOL}","checksum":{checksum},"timestamp":"{}","bids":[{}],"asks":[{}]}}]}}"#,
        time(0),
        side(false),
        side(true)
    )
}

/// A market's orders and the session that follows them.
struct Play {
    random: Random,
    list: List,
    session: Session,
    /// Whether the session must hold the list: not after a damaged or lost message, until the next snapshot.
    sure: bool,
    clock: u64,
    now: i64,
}

impl Play {
    fn new(seed: u64) -> Self {
        let options = Options {
            passive: true,
            level3_depth: Some(10),
            precision: [(SYMBOL.to_owned(), (1, 3))].into(),
            ..Options::default()
        };
        Self {
            random: Random::new(seed),
            list: List::default(),
            session: Session::new("fuzz", options),
            sure: false,
            clock: 0,
            now: START,
        }
    }

    fn snapshot(&self) -> String {
        let entries: Vec<_> = self.list.all().into_iter().map(|o| (o.ask, entry(None, o, o.place.0))).collect();
        frame("snapshot", &entries, self.list.checksum())
    }

    /// One event on the list, and its entry.
    fn event(&mut self, byte: u8) -> (bool, String) {
        self.clock += 1;
        self.list.arrivals += 1;
        let place = (self.clock - self.random.near(self.clock), self.list.arrivals);
        let held = usize::try_from(self.random.below(self.list.orders.len().max(1) as u64)).expect("small");
        match byte & 7 {
            0..4 if self.list.orders.len() < 60 => {
                let ask = byte & 8 != 0;
                let away = self.random.near(20);
                let id = match self.random.below(20) {
                    0 => format!("another shape {}", self.list.arrivals),
                    _ => format!("OAAAAA-{:05}-{:06}", self.clock % 40, 7),
                };
                let price = if ask { 1001 + away } else { 1000 - away };
                let order = Order { ask, id, price, qty: 1 + self.random.near(5000), place };
                self.list.orders.retain(|o| o.id != order.id);
                self.list.orders.push(order.clone());
                (ask, entry(Some("add"), &order, place.0))
            }
            4 | 5 if !self.list.orders.is_empty() => {
                let order = &mut self.list.orders[held];
                order.qty = 1 + self.random.near(5000);
                // To the worst end, where it crosses nothing. An order that is there keeps its place.
                let end = if order.ask { 1030 } else { 970 };
                if byte & 16 != 0 && order.price != end {
                    order.price = end;
                    order.place = place;
                }
                let (ask, at) = (order.ask, order.place.0);
                (ask, entry(Some("modify"), &order.clone(), at))
            }
            _ if !self.list.orders.is_empty() => {
                let order = self.list.orders.remove(held);
                (order.ask, entry(Some("delete"), &order, self.clock))
            }
            _ => (false, entry(Some("delete"), &Order { ask: false, id: "none".into(), price: 1, qty: 1, place }, 0)),
        }
    }

    fn update(&mut self, byte: u8) -> String {
        // Bids stand before asks in a message and are applied so; a message of one entry leaves no doubt.
        let entries = [self.event(byte)];
        self.list.truncate();
        frame("update", &entries, self.list.checksum())
    }

    fn step(&mut self, byte: u8) {
        self.now += 1_000_000;
        match byte >> 5 {
            // Faithful.
            0..5 => {
                let frame = self.update(byte);
                let before = self.session.counts().level3;
                self.session.receive(frame.as_bytes(), self.now);
                let after = self.session.counts().level3;
                if self.sure && self.list.crossed() {
                    assert_eq!(after.bad, before.bad + 1, "a crossed book is not kept: {frame}");
                    self.sure = false;
                } else if self.sure {
                    assert_eq!(after.ok, before.ok + 1, "a faithful message is proved: {frame}");
                    self.compare();
                }
            }
            5 => {
                let frame = self.snapshot();
                self.session.receive(frame.as_bytes(), self.now);
                self.sure = !self.list.crossed();
                if self.sure {
                    self.compare();
                }
            }
            // Lost, or damaged.
            6 => {
                self.update(byte);
                self.sure = false;
            }
            _ => {
                let (frame, other) = (self.update(byte), self.snapshot());
                let damaged = mutate(frame.as_bytes(), other.as_bytes(), &mut self.random);
                self.session.receive(&damaged, self.now);
                self.sure = false;
                if byte & 1 == 0 {
                    self.now += 1800 * 1_000_000_000;
                    self.session.tick(self.now);
                }
            }
        }
    }

    /// Level by level, order by order.
    fn compare(&self) {
        let life = self.session.orders(SYMBOL).expect("the book lives");
        let book = life.book().expect("it lives");
        let mut found = Vec::new();
        for side in [Side::Bid, Side::Ask] {
            for (price, ..) in book.levels(side) {
                for (id, qty, timestamp) in book.queue(side, price) {
                    found.push((side == Side::Ask, id.to_string(), price, qty, timestamp));
                }
            }
        }
        let at = |micros: u64| START + i64::try_from(micros).expect("small") * 1000;
        let want: Vec<_> = self
            .list
            .all()
            .into_iter()
            .map(|o| (o.ask, o.id.clone(), i128::from(o.price), i128::from(o.qty), at(o.place.0)))
            .collect();
        assert_eq!(found, want, "every order in its place");
    }

    /// Proves the rows again, by the core's other door.
    fn finish(mut self) {
        self.session.end(self.now, "end of the script");
        let tables: Vec<_> = self
            .session
            .drain()
            .into_iter()
            .map(|rows| (rows.table, batch("fuzz", rows).expect("rows fit their schema")))
            .collect();
        let mut verifier = Verifier::<Orders>::new("fuzz", 0, 1);
        let of = |table: Table| tables.iter().filter(move |(t, _)| *t == table).map(|(_, batch)| batch);
        of(Table::Ledger).for_each(|batch| verifier.ends(&ends(batch, "level3")).expect("columns"));
        of(Table::OrdersCheckpoints).for_each(|batch| verifier.checkpoints(batch).expect("columns"));
        of(Table::Orders).for_each(|batch| verifier.messages(batch).expect("columns"));
        let found = verifier.finish();
        let sum = |count: fn(&krakpot_lake::rebuild::Found) -> u64| found.iter().map(count).sum::<u64>();
        let level3 = self.session.counts().level3;
        let problems: Vec<_> = found.iter().flat_map(|found| &found.problems).collect();
        assert_eq!((sum(|f| f.ok), sum(|f| f.bad)), (level3.ok, level3.bad), "proved again: {problems:?}");
        let unexplained = (sum(|f| f.bad_unexplained), sum(|f| f.unchecked_unexplained), sum(|f| f.checkpoints_bad));
        assert_eq!(unexplained, (0, 0, 0), "the ledger accounts for all: {problems:?}");
    }
}

/// Plays `data`: four bytes of seed, then one step a byte. Panics where the session breaks its word.
pub fn orders(data: &[u8]) {
    let Some((seed, steps)) = data.split_at_checked(4) else { return };
    let mut play = Play::new(u64::from(u32::from_le_bytes([seed[0], seed[1], seed[2], seed[3]])));
    for &step in steps.iter().take(STEPS_MAX) {
        play.step(step);
    }
    play.finish();
}

/// Frames of level 3 of every kind, to begin with.
pub fn frames(seed: u64) -> Vec<Vec<u8>> {
    let mut play = Play::new(seed);
    let mut frames = Vec::new();
    for byte in 0..40 {
        frames.push(play.update(byte).into_bytes());
    }
    frames.push(play.snapshot().into_bytes());
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: scripts reach what they are to test: proved messages, damage, and books that come back.
    #[test]
    fn scripts_reach_every_outcome() {
        let mut random = Random::new(5);
        let mut play = Play::new(11);
        for _ in 0..3000 {
            play.step(u8::try_from(random.below(256)).expect("a byte"));
        }
        let counts = play.session.counts().clone();
        assert!(counts.level3.ok > 500 && counts.level3.bad > 20, "{counts:?}");
        assert!(
            counts.unchecked > 20 && counts.errors > 20 && counts.unknown_entries > 0 && counts.replaced > 0,
            "{counts:?}"
        );
        play.finish();
    }
}
