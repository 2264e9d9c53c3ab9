//! What a session is to do, from a dictionary of a script.

use godot::builtin::{AnyArray, VarDictionary, Variant, VariantType};
use krakpot_core::limits;
use krakpot_core::session::{self, Channel};

use crate::values::{self, Result};

const NAMES: &str = "channels, symbols, exclude, depth, level3_depth, interval, precision, passive, instrument, id";

/// The channel of a name.
fn channel_named(name: &str) -> Result<Channel> {
    Channel::named(name).ok_or_else(|| {
        let names = Channel::ALL.map(Channel::name).join(", ");
        format!("channels: there is no channel {name:?}; channels: {names}")
    })
}

/// Patterns of symbols.
pub fn patterns(names: Vec<String>) -> Result<Vec<String>> {
    let most = limits::SYMBOL_LENGTH_MAX;
    match names.iter().find(|name| name.is_empty() || name.len() > most) {
        Some(name) => Err(format!("{name:?} is no symbol pattern: 1 to {most} bytes, as BTC/USD or BTC/*")),
        None => Ok(names),
    }
}

/// One of the numbers that are offered.
fn offered(value: &Variant, name: &str, numbers: &[u16]) -> Result<u16> {
    let found = values::whole::<u16>(value, name).ok().filter(|found| numbers.contains(found));
    found.ok_or_else(|| format!("{name}: {value} is not offered; offered are {numbers:?}"))
}

/// Decimals of prices and quantities by symbol.
fn precision(value: &Variant, into: &mut session::Options) -> Result<()> {
    let wrong = || format!("precision: {value} is not allowed; allowed is {{\"BTC/USD\": [1, 8]}}");
    if value.get_type() != VariantType::DICTIONARY {
        return Err(wrong());
    }
    let given = value.try_to::<VarDictionary>().map_err(|_| wrong())?;
    for (symbol, decimals) in given.iter_shared() {
        if decimals.get_type() != VariantType::ARRAY {
            return Err(wrong());
        }
        let pair = decimals.try_to::<AnyArray>().map_err(|_| wrong())?;
        let pair: Vec<u8> = pair.iter_shared().map(|one| values::whole(&one, "precision")).collect::<Result<_>>()?;
        let &[price, qty] = pair.as_slice() else { return Err(wrong()) };
        if price.max(qty) > limits::SCALE {
            return Err(format!("precision: {symbol}: {price},{qty} is beyond {} decimals", limits::SCALE));
        }
        into.precision.insert(values::text(&symbol, "precision")?, (price, qty));
    }
    Ok(())
}

/// The options of a session, without rows, and its id if it is given one.
pub fn read(given: &VarDictionary) -> Result<(session::Options, Option<String>)> {
    let mut options = session::Options { rows: false, ledger: false, ..session::Options::default() };
    let mut id = None;
    for (name, value) in given.iter_shared() {
        let name = name.to_string();
        match name.as_str() {
            "channels" => {
                let names = values::texts(&value, &name)?;
                options.channels = names.iter().map(|name| channel_named(name)).collect::<Result<_>>()?;
            }
            "symbols" => options.symbols = patterns(values::texts(&value, &name)?)?,
            "exclude" => options.exclude = patterns(values::texts(&value, &name)?)?,
            "depth" => options.depth = Some(offered(&value, &name, &limits::DEPTHS)?),
            "level3_depth" => options.level3_depth = Some(offered(&value, &name, &limits::LEVEL3_DEPTHS)?),
            "interval" => options.interval = offered(&value, &name, &limits::INTERVALS)?,
            "precision" => precision(&value, &mut options)?,
            "passive" => options.passive = values::flag(&value, &name)?,
            "instrument" => options.instrument = values::flag(&value, &name)?,
            "id" => id = Some(values::text(&value, &name)?),
            _ => return Err(format!("there is no option {name:?}; options: {NAMES}")),
        }
    }
    Ok((options, id))
}
