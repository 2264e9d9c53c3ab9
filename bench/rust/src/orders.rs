//! Level 3: seeded messages as Kraken sends them, the core, and a simple implementation to compare it with.
//!
//! Modelled on reports about BTC/USD: four in a hundred events modify, adds and deletes share the rest, and a message
//! has one event and the levels that enter the window after it. Four in five events fall on the best ten levels at
//! every depth, so that the depths differ only in the levels below. The market is a `BTreeMap`, its checksum is
//! computed bit by bit.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use krakpot_core::book::level3::Orders;
use krakpot_core::book::synced::{BookMeta, Outcome, Synced};
use krakpot_core::decimal::Decimal;
use krakpot_core::session::{Options, Session};
use krakpot_core::table::schema::Table;
use krakpot_core::wire::message::{Kind, OrderEntry, OrderEvent, OrderId, Side};
use krakpot_frames::{Random, padded};

use crate::krakpot::TAKE;

/// Updates of a case.
const UPDATES: usize = 20_000;
/// Messages of a case for the simple implementation: at depth 1000 it takes a millisecond for each.
pub const PLAIN_MESSAGES: usize = 200;
const SEED: u64 = 20_260_802;
const SIDES: [Side; 2] = [Side::Bid, Side::Ask];
const SYMBOL: &str = "BTC/USD";
/// Decimals of prices and of quantities.
const PRECISION: (u8, u8) = (1, 8);

/// An entry with its id as text, as in a frame.
#[derive(Debug, Clone)]
pub struct Entry {
    side: Side,
    event: OrderEvent,
    id: String,
    price: u64,
    qty: u64,
    timestamp: i64,
}

/// Messages of one symbol: a snapshot, then updates.
pub struct Case {
    /// `d10`, …
    pub name: &'static str,
    /// Levels per side.
    pub depth: u16,
    /// Checksum and entries.
    pub messages: Vec<(u32, Vec<Entry>)>,
}

#[derive(Debug, Clone)]
struct Order {
    id: String,
    qty: u64,
    timestamp: i64,
}

/// The whole market; bids under negated prices, so that both sides begin with the best level.
struct Market {
    sides: [BTreeMap<i64, Vec<Order>>; 2],
    depth: usize,
    clock: i64,
    random: Random,
}

impl Market {
    fn order(&mut self) -> Order {
        const FIGURES: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let mut id = String::from("O");
        while id.len() < 19 {
            if id.len() == 6 || id.len() == 12 {
                id.push('-');
            } else {
                id.push(char::from(FIGURES[self.below(36)]));
            }
        }
        self.clock += 1 + i64::try_from(self.random.below(1_000_000)).expect("small");
        Order { id, qty: 1_000 + self.random.below(1_000_000_000), timestamp: self.clock }
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.random.below(n as u64)).expect("below n")
    }

    /// Adds levels far from the touch until there are twice as many as the window shows.
    fn refill(&mut self) {
        for side in 0..2 {
            while self.sides[side].len() < 2 * self.depth {
                let centre: i64 = if side == 0 { -633_887 } else { 633_888 };
                let last = self.sides[side].last_key_value().map_or(centre, |(key, _)| *key);
                let key = last + 1 + i64::try_from(self.random.near(8)).expect("small");
                let orders = (0..=self.random.near(6)).map(|_| self.order()).collect();
                self.sides[side].insert(key, orders);
            }
        }
    }

    fn entry(side: usize, event: OrderEvent, key: i64, order: &Order) -> Entry {
        let Order { id, qty, timestamp } = order.clone();
        Entry { side: SIDES[side], event, id, price: key.unsigned_abs(), qty, timestamp }
    }

    fn all(side: usize, key: i64, orders: &[Order]) -> impl Iterator<Item = Entry> + '_ {
        orders.iter().map(move |order| Self::entry(side, OrderEvent::Add, key, order))
    }

    fn checksum(&self) -> u32 {
        let mut text = String::new();
        for side in [1, 0] {
            for (key, orders) in self.sides[side].iter().take(self.depth.min(10)) {
                for order in orders {
                    let _ = write!(text, "{}{}", key.unsigned_abs(), order.qty);
                }
            }
        }
        krakpot_frames::crc32(text.as_bytes())
    }

    fn snapshot(&self) -> Vec<Entry> {
        let side = |side: usize| {
            self.sides[side].iter().take(self.depth).flat_map(move |(key, orders)| Self::all(side, *key, orders))
        };
        side(0).chain(side(1)).collect()
    }

    fn update(&mut self) -> Vec<Entry> {
        let side = self.below(2);
        let place = match self.random.below(5) {
            0 => self.random.near(self.depth as u64),
            _ => self.random.near(10),
        };
        let place = usize::try_from(place).expect("a depth");
        let key = *self.sides[side].keys().nth(place).expect("inside the window");
        let worst = *self.sides[side].keys().nth(self.depth - 1).expect("twice the depth");
        let event = self.random.below(100);
        let new = self.order();
        let at = self.sides[side].get_mut(&key).expect("just found");
        let any = usize::try_from(self.random.below(at.len() as u64)).expect("a place");
        let mut entries = Vec::new();
        if event < 4 {
            // A fill: the order keeps its place.
            at[any].qty = at[any].qty / 2 + 1;
            let mut told = Self::entry(side, OrderEvent::Modify, key, &at[any]);
            told.timestamp = new.timestamp;
            entries.push(told);
        } else if event < 52 {
            let gone = at.remove(any);
            let mut told = Self::entry(side, OrderEvent::Delete, key, &gone);
            told.timestamp = new.timestamp;
            entries.push(told);
            if at.is_empty() {
                self.sides[side].remove(&key);
                let (up, orders) = self.sides[side].iter().nth(self.depth - 1).expect("twice the depth");
                entries.extend(Self::all(side, *up, orders));
            }
        } else {
            // A third of the orders make a level, as long as it does not touch the other side.
            let other = self.sides[1 - side].keys().next().map_or(i64::MAX, |best| -best);
            let beside = key - i64::try_from(self.random.near(4)).expect("small");
            let key = if event < 68 && beside > other { beside } else { key };
            entries.push(Self::entry(side, OrderEvent::Add, key, &new));
            assert!(key <= worst, "at least as good as a level of the window");
            self.sides[side].entry(key).or_default().push(new);
        }
        while self.sides[side].len() > 4 * self.depth {
            self.sides[side].pop_last();
        }
        self.refill();
        entries
    }
}

/// Generated messages of the depths that Kraken offers for level 3.
#[must_use]
pub fn cases() -> Vec<Case> {
    [("d10", 10), ("d100", 100), ("d1000", 1000)]
        .into_iter()
        .map(|(name, depth)| {
            let sides = [BTreeMap::new(), BTreeMap::new()];
            let mut market =
                Market { sides, depth: usize::from(depth), clock: krakpot_frames::START, random: Random::new(SEED) };
            market.refill();
            let mut messages = vec![(market.checksum(), market.snapshot())];
            for _ in 0..UPDATES {
                let entries = market.update();
                messages.push((market.checksum(), entries));
            }
            Case { name, depth, messages }
        })
        .collect()
}

/// The sums of a case: entries, and all checksums.
#[must_use]
pub fn answer(case: &Case) -> crate::Answer {
    let entries = case.messages.iter().map(|(_, entries)| entries.len() as u64).sum();
    crate::Answer { entries, checksums: case.messages.iter().map(|(checksum, _)| u64::from(*checksum)).sum() }
}

/// `at` in ns as Kraken writes a time of level 3.
fn time(at: i64) -> String {
    let since = u64::try_from(at - krakpot_frames::START).expect("no order is older than the stream");
    let microseconds = krakpot_frames::time(since / 1000);
    format!("{}{:03}Z", microseconds.trim_end_matches('Z'), since % 1000)
}

/// The messages of a case as Kraken writes them, one per frame.
#[must_use]
pub fn frames(case: &Case) -> Vec<Vec<u8>> {
    let order = |entry: &Entry, snapshot: bool| {
        let event = if snapshot { String::new() } else { format!(r#""event":"{}","#, entry.event.word()) };
        let (price, qty) = (padded(entry.price, PRECISION.0), padded(entry.qty, PRECISION.1));
        let (id, at) = (&entry.id, time(entry.timestamp));
        format!(r#"{{{event}"order_id":"{id}","limit_price":{price},"order_qty":{qty},"timestamp":"{at}"}}"#)
    };
    let frame = |(n, (checksum, entries)): (usize, &(u32, Vec<Entry>))| {
        let kind = if n == 0 { Kind::Snapshot } else { Kind::Update };
        let [bids, asks] = SIDES.map(|side| {
            let orders = entries.iter().filter(|entry| entry.side == side);
            orders.map(|entry| order(entry, n == 0)).collect::<Vec<_>>().join(",")
        });
        let at = time(entries.iter().map(|entry| entry.timestamp).max().expect("a message has entries"));
        let kind = kind.word();
        format!(
            r#"{{"channel":"level3","type":"{kind}","data":[{{"checksum":{checksum},"symbol":"{SYMBOL}","timestamp":"{at}","bids":[{bids}],"asks":[{asks}]}}]}}"#
        )
        .into_bytes()
    };
    case.messages.iter().enumerate().map(frame).collect()
}

/// The same frames with one blank each: JSON of the same meaning, but not as Kraken writes it.
///
/// # Panics
/// If a frame has no colon.
#[must_use]
pub fn with_a_blank(frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut frames = frames.to_vec();
    for frame in &mut frames {
        let colon = frame.iter().position(|byte| *byte == b':').expect("an object");
        frame.insert(colon + 1, b' ');
    }
    frames
}

/// Frame → checked order book with rows. Returns the frames proved by their checksum and the rows of `orders`.
///
/// # Panics
/// If a frame is refused or a checksum is wrong.
#[must_use]
pub fn checked_book(depth: u16, frames: &[Vec<u8>]) -> (u64, u64) {
    let options = Options {
        passive: true,
        level3_depth: Some(depth),
        precision: [(SYMBOL.to_owned(), PRECISION)].into(),
        ..Options::default()
    };
    let mut session = Session::new("bench", options);
    let mut time = krakpot_frames::START;
    for frames in frames.chunks(TAKE) {
        for frame in frames {
            time += 1_000;
            session.receive(frame, time);
        }
        drop(std::hint::black_box(session.drain()));
    }
    let counts = session.counts();
    let wrong = (counts.level3.bad, counts.unchecked, counts.errors, counts.unknown_entries);
    assert_eq!(wrong, (0, 0, 0, 0), "depth {depth}: every frame is proved");
    (counts.level3.ok, counts.rows[Table::Orders as usize])
}

/// Runs a case through an order book of the core: ids are packed from their text on the way, as a decoder does.
/// Returns how many messages were proved, and the sum of the level-2 checksums if they are requested.
///
/// # Panics
/// If a message cannot be represented.
#[must_use]
pub fn krakpot(case: &Case, level2: bool) -> (u64, u64) {
    let (mut synced, mut buffer, mut entries) = (Synced::<Orders>::default(), Vec::new(), Vec::new());
    let (mut right, mut sum) = (0, 0);
    let mut kind = Kind::Snapshot;
    for (checksum, message) in &case.messages {
        entries.clear();
        entries.extend(message.iter().map(entry));
        let (price_precision, qty_precision) = PRECISION;
        let meta = BookMeta { kind, checksum: Some(*checksum), depth: case.depth, price_precision, qty_precision };
        right += u64::from(synced.apply(&meta, &entries, &mut buffer).expect("held") == Outcome::Ok);
        if let Some(book) = synced.book_mut().filter(|_| level2) {
            sum += u64::from(book.checksum_level2(&mut buffer));
        }
        kind = Kind::Update;
    }
    (right, sum)
}

fn entry(entry: &Entry) -> OrderEntry<'_> {
    OrderEntry {
        side: entry.side,
        event: entry.event,
        id: OrderId::new(&entry.id).expect("an id"),
        price: Decimal { mantissa: i128::from(entry.price), scale: PRECISION.0 },
        qty: Decimal { mantissa: i128::from(entry.qty), scale: PRECISION.1 },
        timestamp: entry.timestamp,
    }
}

/// The simple way: a map of orders that is sorted again after every message. Returns how many checksums were right.
#[must_use]
pub fn plain(case: &Case) -> u64 {
    let mut orders: HashMap<&str, (usize, i64, i64, u64)> = HashMap::new();
    let mut right = 0;
    let mut text = String::new();
    for (checksum, message) in &case.messages[..PLAIN_MESSAGES] {
        for entry in message {
            let side = usize::from(entry.side == Side::Bid);
            let price = i64::try_from(entry.price).expect("a price") * if side == 1 { -1 } else { 1 };
            match (entry.event, orders.get_mut(entry.id.as_str())) {
                (OrderEvent::Add, _) => {
                    orders.insert(&entry.id, (side, price, entry.timestamp, entry.qty));
                }
                (OrderEvent::Modify, Some(order)) => order.3 = entry.qty,
                (OrderEvent::Delete, _) => {
                    orders.remove(entry.id.as_str());
                }
                (OrderEvent::Modify, None) => {}
            }
        }
        let mut sorted: Vec<_> = orders.iter().map(|(id, order)| (*order, *id)).collect();
        sorted.sort_unstable();
        text.clear();
        let (mut level, mut at) = (0, None);
        for ((side, price, _, qty), id) in sorted {
            if at != Some((side, price)) {
                level = if at.is_some_and(|(before, _)| before == side) { level + 1 } else { 1 };
                at = Some((side, price));
            }
            if level <= 10 {
                let _ = write!(text, "{}{qty}", price.unsigned_abs());
            }
            if level > case.depth {
                orders.remove(id);
            }
        }
        right += u64::from(krakpot_core::book::checksum::crc32(text.as_bytes()) == *checksum);
    }
    right
}

/// Bytes of resident memory that an order takes, in books of `orders` orders at 2,000 levels. `None` if the system
/// does not say.
///
/// # Panics
/// If a message cannot be represented.
#[must_use]
pub fn bytes_per_order(orders: u64) -> Option<f64> {
    const BOOKS: u64 = 20;
    let resident = || {
        let text = std::fs::read_to_string("/proc/self/statm").ok()?;
        // Pages of 4 KiB wherever this runs; the second number is what is resident.
        text.split(' ').nth(1)?.parse::<u64>().ok().map(|pages| 4096 * pages)
    };
    let before = resident()?;
    let mut buffer = Vec::new();
    let mut books = Vec::new();
    for _ in 0..BOOKS {
        let mut synced = Synced::<Orders>::default();
        let mut meta =
            BookMeta { kind: Kind::Snapshot, checksum: None, depth: 1000, price_precision: 1, qty_precision: 8 };
        for n in 0..orders {
            let id = format!("O{:0>5}-{:0>5}-AAAAAA", n % 99_999, n / 99_999);
            let (side, price) = (SIDES[usize::from(n % 2 == 1)], 10_000 + n % 2000);
            let price = if side == Side::Bid { price } else { price + 2000 };
            let told = Entry { side, event: OrderEvent::Add, id, price, qty: n + 1, timestamp: 0 };
            synced.apply(&meta, &[entry(&told)], &mut buffer).expect("held");
            meta.kind = Kind::Update;
        }
        books.push(synced);
    }
    let held: usize = books.iter().filter_map(|synced| synced.book()).map(Orders::len).sum();
    assert_eq!(held as u64, BOOKS * orders, "every order is held");
    #[allow(clippy::cast_precision_loss, reason = "below 2^52")]
    let bytes = resident()?.saturating_sub(before) as f64 / held as f64;
    Some(bytes)
}
