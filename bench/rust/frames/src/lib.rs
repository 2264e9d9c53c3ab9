//! A made-up book channel: seeded, deterministic streams of frames as Kraken writes them.
//!
//! ```
//! use krakpot_frames::Market;
//!
//! let mut market = Market::new("BTC/USD", 25, 1);
//! assert!(market.snapshot().starts_with(r#"{"channel":"book","type":"snapshot""#));
//! assert!(market.update().contains(&format!(r#""checksum":{}"#, market.checksum())));
//! ```
//!
//! The book is a plain `BTreeMap`, the checksum is computed bit by bit, the digits come from the standard library:
//! nothing is shared with the core, so the two are independent. Modelled on recorded BTC/USD and XRP/USD streams: one
//! to three entries per update, a quarter of them removals, each removal inside the window followed by the level that
//! moves up into it. It is not a market: prices do not trend and nobody trades.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A small seeded generator (splitmix64): the same numbers everywhere.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`, nearly uniform.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    /// A number below `n`, small ones more often: most changes are near the best prices.
    pub fn near(&mut self, n: u64) -> u64 {
        let most = self.below(n) + 1;
        self.below(most)
    }
}

/// CRC-32/ISO-HDLC, bit by bit.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |mut crc, &byte| {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
        crc
    })
}

/// `value` × 10^-`decimals` in plain digits, padded as Kraken does.
#[must_use]
pub fn padded(value: u64, decimals: u8) -> String {
    let digits = format!("{value:0>width$}", width = usize::from(decimals) + 1);
    let (whole, rest) = digits.split_at(digits.len() - usize::from(decimals));
    if rest.is_empty() { digits } else { format!("{whole}.{rest}") }
}

/// Nanoseconds of the first frame: 2026-08-02T03:35:50Z.
pub const START: i64 = 1_785_641_750_000_000_000;

/// `microseconds` after [`START`] as Kraken writes a time.
#[must_use]
pub fn time(microseconds: u64) -> String {
    let seconds = 3 * 3600 + 35 * 60 + 50 + microseconds / 1_000_000;
    let (day, of_day) = (2 + seconds / 86_400, seconds % 86_400);
    assert!(day <= 31, "a stream lasts at most until the end of August");
    format!(
        "2026-08-{day:02}T{:02}:{:02}:{:02}.{:06}Z",
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60,
        microseconds % 1_000_000
    )
}

/// The whole book of one pair, and the part that a subscriber of `depth` sees.
#[derive(Debug, Clone)]
pub struct Market {
    /// `BTC/USD`.
    pub symbol: String,
    /// Decimals of prices.
    pub price_precision: u8,
    /// Decimals of quantities.
    pub qty_precision: u8,
    /// Levels per side that the subscriber sees.
    pub depth: usize,
    /// Microseconds since the stream began.
    pub clock: u64,
    /// Price to quantity; bids under negated prices, so that both sides begin with the best level.
    sides: [BTreeMap<i64, u64>; 2],
    random: Random,
}

/// Entries as they will be written: price and quantity, by side.
type Entries = [Vec<(i64, u64)>; 2];

impl Market {
    /// A book around 63,388.7 with one price decimal and eight of quantity, as BTC/USD.
    #[must_use]
    pub fn new(symbol: &str, depth: usize, seed: u64) -> Self {
        let mut market = Self {
            symbol: symbol.into(),
            price_precision: 1,
            qty_precision: 8,
            depth,
            clock: 0,
            sides: [BTreeMap::new(), BTreeMap::new()],
            random: Random::new(seed),
        };
        market.refill();
        market
    }

    fn qty(&mut self) -> u64 {
        // From a few units of the last decimal to some tens of whole ones, small ones more often.
        let digits = 3 + self.random.below(7);
        1 + self.random.below(10u64.pow(u32::try_from(digits).expect("below ten")))
    }

    /// Adds levels far from the touch, outside the window, until there are twice as many as the window shows.
    fn refill(&mut self) {
        for side in 0..2 {
            while self.sides[side].len() < 2 * self.depth {
                let centre: i64 = if side == 0 { -633_887 } else { 633_888 };
                let last = self.sides[side].last_key_value().map_or(centre, |(key, _)| *key);
                let key = last + 1 + i64::try_from(self.random.near(8)).expect("small");
                let qty = self.qty();
                self.sides[side].insert(key, qty);
            }
        }
    }

    /// Prices and quantities that a subscriber holds of one side (0: bids, 1: asks), best first.
    #[must_use]
    pub fn window(&self, side: usize) -> Vec<(u64, u64)> {
        self.sides[side].iter().take(self.depth).map(|(key, qty)| (key.unsigned_abs(), *qty)).collect()
    }

    /// Kraken's checksum of the current book.
    #[must_use]
    pub fn checksum(&self) -> u32 {
        let mut text = String::new();
        for side in [1, 0] {
            for (key, qty) in self.sides[side].iter().take(self.depth.min(10)) {
                let _ = write!(text, "{}{qty}", key.unsigned_abs());
            }
        }
        crc32(text.as_bytes())
    }

    fn frame(&self, kind: &str, entries: &Entries) -> String {
        let list = |side: usize| {
            let level = |(key, qty): &(i64, u64)| {
                let price = padded(key.unsigned_abs(), self.price_precision);
                format!(r#"{{"price":{price},"qty":{}}}"#, padded(*qty, self.qty_precision))
            };
            entries[side].iter().map(level).collect::<Vec<_>>().join(",")
        };
        format!(
            r#"{{"channel":"book","type":"{kind}","data":[{{"symbol":"{}","bids":[{}],"asks":[{}],"checksum":{},"timestamp":"{}"}}]}}"#,
            self.symbol,
            list(0),
            list(1),
            self.checksum(),
            time(self.clock)
        )
    }

    /// A snapshot of the current book.
    #[must_use]
    pub fn snapshot(&self) -> String {
        let side = |side: usize| self.sides[side].iter().take(self.depth).map(|(k, q)| (*k, *q)).collect();
        self.frame("snapshot", &[side(0), side(1)])
    }

    /// The key of the worst level that the subscriber sees.
    fn worst(&self, side: usize) -> i64 {
        self.sides[side].keys().nth(self.depth - 1).copied().expect("refilled to twice the depth")
    }

    /// One to three entries: changed, new and removed levels, and those that move up into the window.
    pub fn update(&mut self) -> String {
        let target = match self.random.below(100) {
            0..80 => 1,
            80..93 => 2,
            _ => 3,
        };
        let mut entries: Entries = [Vec::new(), Vec::new()];
        let mut written = 0;
        while written < target {
            let side = usize::from(self.random.below(2) == 1);
            let place = self.random.near(self.depth as u64);
            let place = usize::try_from(place).expect("a depth");
            let key = *self.sides[side].keys().nth(place).expect("inside the window");
            match self.random.below(100) {
                0..33 if written + 2 <= 3 => {
                    self.sides[side].remove(&key);
                    let up = self.worst(side);
                    entries[side].extend([(key, 0), (up, self.sides[side][&up])]);
                    written += 2;
                }
                33..70 => {
                    let qty = self.qty();
                    self.sides[side].insert(key, qty);
                    entries[side].push((key, qty));
                    written += 1;
                }
                _ => {
                    // A new price just behind another one, as long as it does not touch the other side.
                    let other = self.sides[1 - side].keys().next().map_or(i64::MAX, |best| -best);
                    let key = key + i64::try_from(self.random.near(20)).expect("small") - 10;
                    if key > other && key <= self.worst(side) && !self.sides[side].contains_key(&key) {
                        let qty = self.qty();
                        self.sides[side].insert(key, qty);
                        entries[side].push((key, qty));
                        written += 1;
                    }
                }
            }
            // Levels far outside the window do not matter.
            while self.sides[side].len() > 4 * self.depth {
                self.sides[side].pop_last();
            }
            self.refill();
        }
        self.clock += 100 + self.random.near(40_000);
        self.frame("update", &entries)
    }
}

/// A stream of a connection: status, then for each of `symbols` ack and snapshot, then `updates` over all of them.
#[must_use]
pub fn stream(symbols: usize, depth: usize, updates: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut frames = vec![
        r#"{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online","api_version":"v2","connection_id":2950167385101900187}]}"#
            .to_owned(),
    ];
    let mut random = Random::new(seed);
    let mut markets: Vec<_> =
        (0..symbols).map(|i| Market::new(&format!("M{i:03}/USD"), depth, random.next())).collect();
    for market in &markets {
        frames.push(format!(
            r#"{{"method":"subscribe","result":{{"channel":"book","depth":{depth},"snapshot":true,"symbol":"{}"}},"success":true,"time_in":"{}","time_out":"{}"}}"#,
            market.symbol,
            time(0),
            time(40)
        ));
        frames.push(market.snapshot());
    }
    let mut clock = 0;
    for _ in 0..updates {
        let i = usize::try_from(random.below(symbols as u64)).expect("a number of symbols");
        markets[i].clock = clock;
        frames.push(markets[i].update());
        clock = markets[i].clock;
    }
    frames.into_iter().map(String::into_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the stream has the shape that the benchmarks claim, and its checksum is the documented one.
    #[test]
    fn streams_are_shaped_like_the_recorded_ones() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(
            (padded(633_887, 1), padded(5100, 8), padded(7, 0)),
            ("63388.7".into(), "0.00005100".into(), "7".into())
        );
        assert_eq!(time(1_302_928), "2026-08-02T03:35:51.302928Z");
        for depth in [10, 25, 1000] {
            let frames = stream(1, depth, 5000, 7);
            let text = |frame: &Vec<u8>| String::from_utf8(frame.clone()).expect("text");
            assert_eq!(text(&frames[2]).matches("price").count(), 2 * depth);
            let entries: Vec<_> = frames[3..].iter().map(|f| text(f).matches("price").count()).collect();
            assert!(entries.iter().all(|n| (1..=3).contains(n)), "one to three entries an update");
            let removed: usize = frames[3..].iter().map(|f| text(f).matches(r#""qty":0.00000000"#).count()).sum();
            let share = 100 * removed / entries.iter().sum::<usize>();
            assert!((21..=27).contains(&share), "{share} % of the entries of depth {depth} are removals");
        }
        assert_eq!(stream(3, 10, 100, 1), stream(3, 10, 100, 1));
        assert_ne!(stream(3, 10, 100, 1), stream(3, 10, 100, 2));
    }
}
