//! `KrakpotExchange`: the built-in exchange, without its sockets and its clock.

use godot::builtin::{GString, PackedByteArray, PackedInt64Array, PackedStringArray, VarArray, VarDictionary};
use godot::classes::{IRefCounted, RefCounted};
use godot::obj::Base;
use godot::register::{GodotClass, godot_api};
use krakpot_exchange::{Endpoint, PAIRS_MAX, wire};

use crate::book::{SIDES, depth_of};
use crate::values::{self, Result, packed, sentence};

/// A connection with more bytes than this waiting stops the time of the exchange, so that memory stays bounded.
const WAITING_MAX: usize = 16 << 20;
/// What a WebSocket says of a connection that was not closed.
const ABNORMAL: i64 = 1006;
const NAMES: &str = "pairs, rate, seed, start";

/// The built-in exchange: requests in, texts of frames out. Times are nanoseconds since 1970, and its time is moved by
/// `advance`. It shares no code with the books of `KrakpotSession`: the two check each other.
#[derive(GodotClass)]
#[class(base = RefCounted)]
pub struct KrakpotExchange {
    core: krakpot_exchange::Exchange,
    #[allow(dead_code, reason = "the engine's part of the object")]
    base: Base<RefCounted>,
}

#[godot_api]
impl IRefCounted for KrakpotExchange {
    fn init(base: Base<RefCounted>) -> Self {
        Self { core: made(20, 1000.0, 1, 0), base }
    }
}

fn made(pairs: usize, rate: f64, seed: u64, start: i64) -> krakpot_exchange::Exchange {
    let mut core = krakpot_exchange::Exchange::new(pairs, rate, seed, start, false);
    // Past trades are for its REST, which is not here.
    core.set_history(0);
    core
}

/// An exchange that follows from a dictionary of a script.
fn read(given: &VarDictionary) -> Result<krakpot_exchange::Exchange> {
    let (mut pairs, mut rate, mut seed, mut start) = (20, 1000.0, 1_u64, 0);
    for (name, value) in given.iter_shared() {
        let name = name.to_string();
        match name.as_str() {
            "pairs" => pairs = values::whole::<usize>(&value, &name)?,
            "rate" => rate = values::float(&value, &name)?,
            "seed" => seed = values::whole::<u64>(&value, &name)?,
            "start" => start = values::whole::<i64>(&value, &name)?,
            _ => return Err(format!("there is no option {name:?}; options: {NAMES}")),
        }
    }
    if !(1..=PAIRS_MAX).contains(&pairs) {
        return Err(format!("pairs must be from 1 to {PAIRS_MAX}, not {pairs}"));
    }
    if !(rate.is_finite() && rate > 0.0) {
        return Err(format!("rate must be above zero, not {rate}"));
    }
    Ok(made(pairs, rate, seed, start))
}

#[godot_api]
impl KrakpotExchange {
    /// Begins anew: `pairs`, 20; `rate`, messages a second of simulated flow, 1000; `seed`, all that happens follows from
    /// it, 1; `start`, its first time. Returns what is wrong; nothing changes then.
    #[func]
    fn open(&mut self, options: VarDictionary) -> GString {
        sentence(read(&options).map(|core| self.core = core))
    }

    /// Opens a connection to `public` or `level3`; its number, or -1 if there is no such endpoint.
    #[func]
    fn open_connection(&mut self, endpoint: GString) -> i64 {
        let endpoint = match endpoint.to_string().as_str() {
            "public" => Endpoint::Public,
            "level3" => Endpoint::Level3,
            _ => return -1,
        };
        i64::try_from(self.core.connect(endpoint)).unwrap_or(-1)
    }

    /// Closes a connection.
    #[func]
    fn close_connection(&mut self, connection: i64) {
        self.core.disconnect(connection.cast_unsigned());
    }

    /// Allows a token for level 3, until a time.
    #[func]
    fn allow(&mut self, token: GString, until: i64) {
        self.core.allow(&token.to_string(), until);
    }

    /// Takes a request of a connection.
    #[func]
    fn receive(&mut self, connection: i64, request: PackedByteArray) {
        self.core.receive(connection.cast_unsigned(), request.as_slice());
    }

    /// Moves its time. Returns the time that was reached: earlier, if a connection has too much waiting.
    #[func]
    fn advance(&mut self, to: i64) -> i64 {
        self.core.advance(to, WAITING_MAX, 0)
    }

    /// Takes what waits for a connection: texts, as bytes.
    #[func]
    fn take(&mut self, connection: i64) -> VarArray {
        let block = self.core.take(connection.cast_unsigned());
        let mut found = VarArray::new();
        for text in wire::texts(&block) {
            found.push(&PackedByteArray::from(&block[text]));
        }
        found
    }

    /// Its time.
    #[func]
    fn now(&self) -> i64 {
        self.core.now()
    }

    /// Symbols of its pairs.
    #[func]
    fn symbols(&self) -> PackedStringArray {
        packed(self.core.symbols())
    }

    /// The best levels of a pair's book as they are: `bids` and `asks`, price and quantity in turn. Empty for a symbol that
    /// is not there.
    #[func]
    fn book(&self, symbol: GString, depth: i64) -> VarDictionary {
        let mut found = VarDictionary::new();
        let Some(sides) = self.core.book(&symbol.to_string(), depth_of(depth)) else { return found };
        for ((_, name), side) in SIDES.iter().zip(sides) {
            found.set(*name, &packed(side.into_iter().flat_map(<[String; 2]>::from)));
        }
        found
    }

    /// Injects a fault, as the option `--fault` of `krakpot exchange` does. Of the faults of connections only `cut` and
    /// `close` do something here. Returns what is wrong.
    #[func]
    fn inject(&mut self, fault: GString) -> GString {
        sentence(self.core.inject(&fault.to_string()))
    }

    /// The connections that a fault has ended since the last call, and the code with which each is closed, in turn.
    #[func]
    fn take_ended(&mut self) -> PackedInt64Array {
        let faults = self.core.take_faults().into_iter();
        let ended = faults.filter_map(|fault| {
            let connection = i64::try_from(fault.connection?).ok()?;
            match fault.name {
                "cut" => Some([connection, ABNORMAL]),
                "close" => Some([connection, fault.by]),
                _ => None,
            }
        });
        ended.flatten().collect()
    }

    /// Ends all faults.
    #[func]
    fn clear_faults(&mut self) {
        self.core.clear_faults();
    }

    /// Its account of what it sent, as JSON.
    #[func]
    fn summary(&self) -> GString {
        GString::from(self.core.summary().to_string().as_str())
    }
}
