//! What a session is asked to do: channels, symbols, depths.

use std::collections::HashMap;

use crate::instrument::matches;
use crate::table::schema::Table;

/// The channels that are subscribed symbol by symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// Level-2 books.
    Book,
    /// Trades.
    Trade,
    /// Best prices and 24-hour statistics, at every change of the best prices.
    Ticker,
    /// Candles.
    Ohlc,
    /// Level-3 books: orders.
    Level3,
}

impl Channel {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Book, Self::Trade, Self::Ticker, Self::Ohlc, Self::Level3];

    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Book => "book",
            Self::Trade => "trade",
            Self::Ticker => "ticker",
            Self::Ohlc => "ohlc",
            Self::Level3 => "level3",
        }
    }

    /// The table that its messages fill.
    #[must_use]
    pub const fn table(self) -> Table {
        match self {
            Self::Book => Table::Book,
            Self::Trade => Table::Trades,
            Self::Ticker => Table::Ticker,
            Self::Ohlc => Table::Ohlc,
            Self::Level3 => Table::Orders,
        }
    }

    /// The channel of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.name() == name)
    }
}

/// What a session is to do.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "options that do not depend on each other")]
pub struct Options {
    /// Channels to subscribe, besides instrument and status.
    pub channels: Vec<Channel>,
    /// Patterns of symbols to choose.
    pub symbols: Vec<String>,
    /// Patterns of symbols to leave out.
    pub exclude: Vec<String>,
    /// Patterns of the symbols of one channel, a subset of `symbols`. A channel that is not named has all of them.
    pub channel_symbols: HashMap<Channel, Vec<String>>,
    /// Book depth; where observing, the depth in force if no ack tells it.
    pub depth: Option<u16>,
    /// The same of level 3.
    pub level3_depth: Option<u16>,
    /// Length of candles, minutes.
    pub interval: u16,
    /// Price and quantity precision by symbol, where the instrument channel is silent.
    pub precision: HashMap<String, (u8, u8)>,
    /// Keep every frame byte for byte.
    pub frames: bool,
    /// Ask for tokenised assets too.
    pub tokenised: bool,
    /// Subscribe the instrument channel; otherwise pairs are imported from another session.
    pub instrument: bool,
    /// Request nothing; take what comes.
    pub passive: bool,
    /// Make rows, for [`super::Session::drain`]. [`super::Session::collect`] changes it.
    pub rows: bool,
    /// Keep ledger rows, for [`super::Session::take_ledger`]. [`super::Session::collect`] changes it.
    pub ledger: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            channels: vec![Channel::Book, Channel::Trade, Channel::Ticker],
            symbols: vec!["*".into()],
            exclude: Vec::new(),
            channel_symbols: HashMap::new(),
            depth: None,
            level3_depth: None,
            interval: 1,
            precision: HashMap::new(),
            frames: false,
            tokenised: false,
            instrument: true,
            passive: false,
            rows: true,
            ledger: true,
        }
    }
}

impl Options {
    /// Whether the patterns select a symbol.
    pub(super) fn selects(&self, symbol: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, symbol));
        any(&self.symbols) && !any(&self.exclude)
    }

    /// Whether they select it for a channel, which has to be one of the channels to subscribe.
    pub(super) fn selects_for(&self, channel: Channel, symbol: &str) -> bool {
        let patterns = self.channel_symbols.get(&channel);
        self.channels.contains(&channel)
            && self.selects(symbol)
            && patterns.is_none_or(|patterns| patterns.iter().any(|pattern| matches(pattern, symbol)))
    }
}

/// The depth that is requested if none is given.
pub const DEPTH_DEFAULT: u16 = 100;
