//! `Exchange`: the built-in exchange, without its sockets and its clock.

use krakpot_exchange::{Endpoint, PAIRS_MAX, wire};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::error::{Result, wrong};
use crate::input::Input;

/// The built-in exchange: requests in, texts of frames out; the caller moves its time.
#[wasm_bindgen]
pub struct Exchange {
    core: krakpot_exchange::Exchange,
    input: Input,
    /// What was last taken: WebSocket frames, and where their texts begin and end.
    block: Vec<u8>,
    texts: Vec<u32>,
}

#[wasm_bindgen]
impl Exchange {
    /// An exchange of `pairs` pairs with `rate` messages a second of simulated flow, which follows from the seed.
    #[wasm_bindgen(constructor)]
    pub fn new(pairs: usize, rate: f64, seed: u64, start: i64) -> Result<Self> {
        if !(1..=PAIRS_MAX).contains(&pairs) {
            return Err(wrong(format!("pairs must be from 1 to {PAIRS_MAX}, not {pairs}")));
        }
        if !(rate.is_finite() && rate > 0.0) {
            return Err(wrong(format!("rate must be above zero, not {rate}")));
        }
        let mut core = krakpot_exchange::Exchange::new(pairs, rate, seed, start, false);
        // Past trades are for its REST, which a page does not have.
        core.set_history(0);
        Ok(Self { core, input: Input::default(), block: Vec::new(), texts: Vec::new() })
    }

    /// Opens a connection; its number.
    pub fn connect(&mut self, endpoint: &str) -> Result<u64> {
        let endpoint = match endpoint {
            "public" => Endpoint::Public,
            "level3" => Endpoint::Level3,
            other => return Err(wrong(format!("endpoint must be public or level3, not {other}"))),
        };
        Ok(self.core.connect(endpoint))
    }

    /// Allows a token for level 3, until a time.
    pub fn allow(&mut self, token: &str, until: i64) {
        self.core.allow(token, until);
    }

    /// Closes a connection.
    pub fn disconnect(&mut self, connection: u64) {
        self.core.disconnect(connection);
    }

    /// Makes room for a request of `length` bytes, and says where it is to be written in the module's memory.
    pub fn room(&mut self, length: usize) -> usize {
        self.input.room(length)
    }

    /// Bytes that have room without another call of `room`.
    pub fn capacity(&self) -> usize {
        self.input.capacity()
    }

    /// Takes the request that was written there.
    pub fn receive(&mut self, connection: u64, length: usize) {
        self.core.receive(connection, self.input.text(length));
    }

    /// Lets time pass, until at most `limit` bytes wait for one connection. The time that was reached.
    pub fn advance(&mut self, to: i64, limit: usize) -> i64 {
        self.core.advance(to, limit, 0)
    }

    /// Takes what waits for a connection: how many texts.
    pub fn take(&mut self, connection: u64) -> usize {
        self.block = self.core.take(connection);
        // 4 GiB are all the memory that there is.
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        self.texts.clear();
        self.texts.extend(wire::texts(&self.block).flat_map(|text| [place(text.start), place(text.end)]));
        self.texts.len() / 2
    }

    /// Where the block that was taken is in the module's memory.
    #[wasm_bindgen(getter)]
    pub fn block(&self) -> usize {
        self.block.as_ptr().addr()
    }

    /// Where the places of its texts are: begin and end of each, 32 bits each, from the begin of the block.
    #[wasm_bindgen(getter)]
    pub fn texts(&self) -> usize {
        self.texts.as_ptr().addr()
    }

    /// Its time, ns.
    #[wasm_bindgen(getter)]
    pub fn now(&self) -> i64 {
        self.core.now()
    }

    /// The best levels of one side of a pair's book as they are: price and quantity in turn.
    pub fn book(&self, symbol: &str, bids: bool, depth: usize) -> Option<Vec<String>> {
        let sides = self.core.book(symbol, depth)?;
        let side = sides.into_iter().nth(usize::from(!bids))?;
        Some(side.into_iter().flat_map(<[String; 2]>::from).collect())
    }

    /// Symbols of its pairs.
    #[wasm_bindgen(getter)]
    pub fn symbols(&self) -> Vec<String> {
        self.core.symbols().map(str::to_owned).collect()
    }

    /// Injects a fault, as `krakpot exchange --fault` has it.
    pub fn inject(&mut self, fault: &str) -> Result<()> {
        self.core.inject(fault).map_err(wrong)
    }

    /// The connections that a fault has ended since the last call, and the code with which each is closed, in turn. Other
    /// faults of sockets do nothing: there are no sockets.
    #[wasm_bindgen(js_name = takeEnded)]
    pub fn take_ended(&mut self) -> Vec<u64> {
        /// What a browser says of a connection that was not closed.
        const ABNORMAL: u64 = 1006;
        let faults = self.core.take_faults().into_iter();
        let ended = faults.filter_map(|fault| match (fault.name, fault.connection) {
            ("cut", Some(connection)) => Some([connection, ABNORMAL]),
            ("close", Some(connection)) => Some([connection, fault.by.cast_unsigned()]),
            _ => None,
        });
        ended.flatten().collect()
    }

    /// Ends all faults.
    #[wasm_bindgen(js_name = clearFaults)]
    pub fn clear_faults(&mut self) {
        self.core.clear_faults();
    }

    /// Its account of what it sent, as JSON.
    pub fn summary(&self) -> String {
        self.core.summary().to_string()
    }
}
