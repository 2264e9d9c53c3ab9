//! `Options`: what a session is to do.

use krakpot_core::limits;
use krakpot_core::session::{self, Channel};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::error::{Result, wrong};

/// What a session is to do; as they are made, they ask for books, trades and tickers of every pair.
#[wasm_bindgen]
pub struct Options(session::Options);

impl Options {
    /// The options themselves.
    pub fn get(&self) -> session::Options {
        self.0.clone()
    }
}

/// The channel of a name.
pub fn channel_named(name: &str) -> Result<Channel> {
    Channel::named(name).ok_or_else(|| {
        let names = Channel::ALL.map(Channel::name).join(", ");
        wrong(format!("no channel {name:?}; channels: {names}"))
    })
}

/// Patterns of symbols.
pub fn patterns(names: Vec<String>) -> Result<Vec<String>> {
    let most = limits::SYMBOL_LENGTH_MAX;
    match names.iter().find(|name| name.is_empty() || name.len() > most) {
        Some(name) => Err(wrong(format!("{name:?} is no symbol pattern: 1 to {most} bytes, as BTC/USD or BTC/*"))),
        None => Ok(names),
    }
}

#[wasm_bindgen]
impl Options {
    /// Those that a session has if nothing is said, without rows.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self(session::Options { rows: false, ledger: false, ..session::Options::default() })
    }

    /// Channels to subscribe.
    pub fn channels(&mut self, names: Vec<String>) -> Result<()> {
        self.0.channels = names.iter().map(|name| channel_named(name)).collect::<Result<_>>()?;
        Ok(())
    }

    /// Patterns of the symbols, and of those to leave out.
    pub fn symbols(&mut self, symbols: Vec<String>, exclude: Vec<String>) -> Result<()> {
        (self.0.symbols, self.0.exclude) = (patterns(symbols)?, patterns(exclude)?);
        Ok(())
    }

    /// Depth of books.
    pub fn depth(&mut self, depth: u16) -> Result<()> {
        if !limits::DEPTHS.contains(&depth) {
            return Err(wrong(format!("depth {depth} is not offered; depths: {:?}", limits::DEPTHS)));
        }
        self.0.depth = Some(depth);
        Ok(())
    }

    /// Depth of level 3.
    pub fn level3_depth(&mut self, depth: u16) -> Result<()> {
        if !limits::LEVEL3_DEPTHS.contains(&depth) {
            return Err(wrong(format!("level-3 depth {depth} is not offered; depths: {:?}", limits::LEVEL3_DEPTHS)));
        }
        self.0.level3_depth = Some(depth);
        Ok(())
    }

    /// Length of candles, minutes.
    pub fn interval(&mut self, minutes: u16) -> Result<()> {
        if !limits::INTERVALS.contains(&minutes) {
            return Err(wrong(format!("interval {minutes} is not offered; intervals: {:?}", limits::INTERVALS)));
        }
        self.0.interval = minutes;
        Ok(())
    }

    /// Decimals of prices and quantities of a pair, where the instrument channel is silent.
    pub fn precision(&mut self, symbol: String, price: u8, qty: u8) -> Result<()> {
        if price.max(qty) > limits::SCALE {
            return Err(wrong(format!("{symbol}: precision {price},{qty} is beyond {} decimals", limits::SCALE)));
        }
        self.0.precision.insert(symbol, (price, qty));
        Ok(())
    }

    /// Whether the session requests nothing and takes what comes: recorded frames.
    pub fn passive(&mut self, passive: bool) {
        self.0.passive = passive;
    }

    /// Whether it subscribes the instrument channel; otherwise pairs are imported from another session.
    pub fn instrument(&mut self, instrument: bool) {
        self.0.instrument = instrument;
    }

    /// Whether it makes rows, which a digest takes.
    pub fn rows(&mut self, rows: bool) {
        self.0.rows = rows;
    }
}
