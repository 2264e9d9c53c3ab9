//! What came of each pair: counts, the last message, trades and gaps. Bounded by pair, as `python/krakpot/serve/market.py`.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use krakpot_core::session::{BookMessage, BookOutcome, Channel, Event, TickerEvent, TradeEvent};
use krakpot_core::wire::message::{Kind, TICKER_NUMBERS};

use crate::book::float;
use crate::encode::{self, Trade};

/// Trades of a pair that are kept; more are counted and left out.
const TRADES_KEPT: usize = 1000;
/// Gaps of all pairs that are kept.
const GAPS_KEPT: usize = 1000;

/// What came of a book of a pair.
#[derive(Debug, Clone, Default)]
pub struct Messages {
    /// Messages.
    pub count: u64,
    /// Changes when what comes does not continue what was there.
    pub run: u64,
    /// Receipt of the last one, ns.
    pub ts_recv: i64,
    /// The exchange's time of it.
    pub ts_event: i64,
    /// The checksum that came with it.
    pub checksum: u32,
    /// What became of it.
    pub checked: u8,
    /// Checksums that were right.
    pub right: u64,
    /// Checksums that were wrong.
    pub wrong: u64,
}

impl Messages {
    fn take(&mut self, message: &BookMessage) {
        self.count += 1;
        self.run += u64::from(message.kind == Kind::Snapshot);
        self.ts_recv = message.received.ts_recv;
        self.ts_event = message.received.ts_event.unwrap_or_default();
        self.checksum = message.checksum.unwrap_or_default();
        self.checked = match message.outcome {
            BookOutcome::Ok => encode::RIGHT,
            BookOutcome::Mismatch | BookOutcome::Crossed => encode::WRONG,
            BookOutcome::Unchecked | BookOutcome::Refused => encode::UNCHECKED,
        };
        self.right += u64::from(self.checked == encode::RIGHT);
        self.wrong += u64::from(self.checked == encode::WRONG);
    }
}

/// Of a ticker: bid, ask, last price, volume of 24 hours.
pub type Ticker = [f64; 4];

/// What came of a pair.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Of its level-2 book.
    pub book: Messages,
    /// Of its level-3 book.
    pub level3: Messages,
    /// The last ticker.
    pub ticker: Option<Ticker>,
    /// The last trades.
    pub trades: VecDeque<Trade>,
    /// How many trades came, also those that are not kept.
    pub traded: u64,
    /// Changes when trades were missed.
    pub trade_run: u64,
    /// Price of the last trade.
    pub last: f64,
    /// Quantity of the trades that were seen.
    pub volume: f64,
}

impl Default for Pair {
    fn default() -> Self {
        let (book, level3) = (Messages::default(), Messages::default());
        let trades = VecDeque::new();
        Self { book, level3, ticker: None, trades, traded: 0, trade_run: 0, last: f64::NAN, volume: f64::NAN }
    }
}

impl Pair {
    fn take_trade(&mut self, event: &TradeEvent) {
        let number = |decimal: krakpot_core::decimal::Decimal| float(decimal.mantissa, decimal.scale);
        let (price, qty) = (number(event.price), number(event.qty));
        if self.trades.len() == TRADES_KEPT {
            self.trades.pop_front();
        }
        self.trades.push_back(Trade {
            ts_event: event.received.ts_event.unwrap_or(event.received.ts_recv),
            ts_recv: event.received.ts_recv,
            id: event.trade_id,
            price,
            qty,
            side: u8::from(event.side == "sell"),
            kind: u8::from(event.ord_type == "market"),
        });
        self.traded += 1;
        self.last = price;
        if event.kind != Kind::Snapshot {
            self.volume = if self.volume.is_nan() { qty } else { self.volume + qty };
        }
    }

    fn take_ticker(&mut self, event: &TickerEvent) {
        let number = |name: &str| {
            let at = TICKER_NUMBERS.iter().position(|known| *known == name);
            let found = at.and_then(|at| event.numbers[at]);
            found.map_or(f64::NAN, |value| float(value, krakpot_core::limits::SCALE))
        };
        self.ticker = Some(["bid", "ask", "last", "volume"].map(number));
    }
}

/// Something that is not known.
#[derive(Debug, Clone)]
pub struct Gap {
    /// Its channel.
    pub channel: Channel,
    /// The pair; `None`: all.
    pub symbol: Option<Arc<str>>,
    /// From when, ns.
    pub since: i64,
    /// Until when; 0 while it lasts.
    pub until: i64,
    /// Why.
    pub reason: String,
}

/// All pairs.
#[derive(Debug, Default)]
pub struct Market {
    /// By symbol.
    pub pairs: HashMap<Arc<str>, Pair>,
    /// The last gaps.
    pub gaps: VecDeque<Gap>,
    /// How many gaps came, also those that are not kept.
    pub gap_count: u64,
    /// Receipt of the last message, ns.
    pub ts: i64,
    /// State of the exchange; empty before it said.
    pub system: String,
    /// Why connections are down, those that are.
    pub down: BTreeMap<String, String>,
    /// Whether a connection was ever up.
    tried: bool,
}

impl Market {
    /// What came of a pair.
    pub fn pair(&mut self, symbol: &Arc<str>) -> &mut Pair {
        self.pairs.entry(Arc::clone(symbol)).or_default()
    }

    /// Takes an event of a session.
    pub fn take(&mut self, event: &Event) {
        match event {
            Event::Book(message, _) => self.book(Channel::Book, message),
            Event::Level3(message, _) => self.book(Channel::Level3, message),
            Event::Trade(trade) => {
                self.ts = trade.received.ts_recv;
                self.pair(&trade.received.symbol).take_trade(trade);
            }
            Event::Ticker(ticker) => {
                self.ts = ticker.received.ts_recv;
                self.pair(&ticker.received.symbol).take_ticker(ticker);
            }
            Event::Status(status) => self.system.clone_from(&status.system),
            Event::Gap(gap) => {
                let pair = self.pair(&gap.received.symbol);
                match gap.channel {
                    Channel::Book => pair.book.run += 1,
                    Channel::Level3 => pair.level3.run += 1,
                    Channel::Trade => pair.trade_run += 1,
                    Channel::Ticker | Channel::Ohlc => {}
                }
                self.add(Gap {
                    channel: gap.channel,
                    symbol: Some(Arc::clone(&gap.received.symbol)),
                    since: gap.ts_from.unwrap_or(gap.ts_to),
                    until: gap.ts_to,
                    reason: gap.reason.into(),
                });
            }
            Event::Ohlc(_) | Event::Subscription(_) => {}
        }
    }

    fn book(&mut self, channel: Channel, message: &BookMessage) {
        let (symbol, since) = (&message.received.symbol, message.received.ts_recv);
        self.ts = since;
        let pair = self.pair(symbol);
        if channel == Channel::Level3 {
            pair.level3.take(message);
        } else {
            pair.book.take(message);
        }
        let lost = match message.outcome {
            BookOutcome::Mismatch => "checksum mismatch",
            BookOutcome::Crossed => "crossed book",
            BookOutcome::Refused => "a number that cannot be held",
            BookOutcome::Ok | BookOutcome::Unchecked => return,
        };
        self.add(Gap { channel, symbol: Some(Arc::clone(symbol)), since, until: 0, reason: lost.into() });
    }

    /// Whether all connections are up; false before the first.
    pub fn connected(&self) -> bool {
        self.down.is_empty() && self.tried
    }

    /// Whether a connection could not be made, or was lost.
    pub fn failed(&self) -> bool {
        self.down.values().any(|reason| !reason.is_empty())
    }

    /// A connection came up.
    pub fn connection_up(&mut self, endpoint: &str) {
        self.tried = true;
        self.down.remove(endpoint);
    }

    /// A connection is down: nothing is known of its channels from now on. Without a reason it was never up.
    pub fn connection_down(&mut self, endpoint: &str, reason: &str, now: i64) {
        self.down.insert(endpoint.into(), reason.into());
        if reason.is_empty() {
            return;
        }
        let channels: &[Channel] = match endpoint {
            "level3" => &[Channel::Level3],
            _ => &[Channel::Book, Channel::Trade, Channel::Ticker],
        };
        for &channel in channels {
            self.add(Gap { channel, symbol: None, since: now, until: 0, reason: reason.into() });
        }
    }

    fn add(&mut self, gap: Gap) {
        if encode::channel(gap.channel).is_none() {
            return;
        }
        if self.gaps.len() == GAPS_KEPT {
            self.gaps.pop_front();
        }
        self.gaps.push_back(gap);
        self.gap_count += 1;
    }
}
