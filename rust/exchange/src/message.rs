//! Texts of the messages of each channel, as Kraken writes them: fixed-point numbers padded to the pair's precision.

use crate::amount::precision;
use crate::engine::Side;
use crate::market::{Candle, INTERVALS, Market, Trade};
use crate::orders::{Event, OrderEntry};
use crate::pairs::Pair;
use crate::view::Entry;
use crate::wire::{number, order_id, time};

/// A heartbeat.
pub const HEARTBEAT: &[u8] = b"{\"channel\":\"heartbeat\"}";

fn kind(snapshot: bool) -> &'static [u8] {
    if snapshot { b"snapshot" } else { b"update" }
}

/// Begins a message of a channel.
pub fn begin(channel: &str, snapshot: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"channel\":\"");
    out.extend_from_slice(channel.as_bytes());
    out.extend_from_slice(b"\",\"type\":\"");
    out.extend_from_slice(kind(snapshot));
    out.push(b'"');
}

/// Writes `,"name":` and a number; without the comma after an opening brace.
fn field(name: &str, value: i128, decimals: u8, out: &mut Vec<u8>) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    number(value, decimals, out);
}

/// State of the exchange, the first message of a connection. With a time it announces a maintenance that begins half a
/// minute later and lasts an hour.
pub fn status(system: &str, connection_id: u64, announced: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(
        format!(
            "{{\"channel\":\"status\",\"type\":\"update\",\"data\":[{{\"version\":\"2.0.10\",\"system\":\"{system}\",\
             \"api_version\":\"v2\",\"connection_id\":{connection_id},\"upcoming_maintenance\":["
        )
        .as_bytes(),
    );
    out.extend_from_slice(announced.unwrap_or_default().as_bytes());
    out.extend_from_slice(b"],\"emergency\":[]}]}");
}

/// A book message: entries in their order, both sides apart.
pub fn book(pair: &Pair, snapshot: bool, entries: &[Entry], checksum: u32, ts: i64, out: &mut Vec<u8>) {
    begin("book", snapshot, out);
    out.extend_from_slice(b",\"data\":[{\"symbol\":\"");
    out.extend_from_slice(pair.symbol.as_bytes());
    out.push(b'"');
    for (name, side) in [(&b",\"bids\":["[..], Side::Buy), (b",\"asks\":[", Side::Sell)] {
        out.extend_from_slice(name);
        for &(_, price, qty) in entries.iter().filter(|entry| entry.0 == side) {
            if out.last() != Some(&b'[') {
                out.push(b',');
            }
            out.push(b'{');
            field("price", price.into(), pair.price_precision, out);
            field("qty", qty.into(), pair.qty_precision, out);
            out.push(b'}');
        }
        out.push(b']');
    }
    field("checksum", checksum.into(), 0, out);
    out.extend_from_slice(b",\"timestamp\":");
    time(ts, 6, out);
    out.extend_from_slice(b"}]}");
}

/// A level3 message: entries in their order, both sides apart; those of a snapshot have no event. `first_id` is the number
/// of the pair's first order: no two pairs have a number in common.
pub fn level3(
    pair: &Pair,
    first_id: u64,
    snapshot: bool,
    entries: &[OrderEntry],
    sum: u32,
    ts: i64,
    out: &mut Vec<u8>,
) {
    begin("level3", snapshot, out);
    out.extend_from_slice(b",\"data\":[{");
    field("checksum", sum.into(), 0, out);
    out.extend_from_slice(b",\"symbol\":\"");
    out.extend_from_slice(pair.symbol.as_bytes());
    out.extend_from_slice(b"\",\"timestamp\":");
    time(ts, 9, out);
    for (name, side) in [(&b",\"bids\":["[..], Side::Buy), (b",\"asks\":[", Side::Sell)] {
        out.extend_from_slice(name);
        for entry in entries.iter().filter(|entry| entry.side == side) {
            if out.last() != Some(&b'[') {
                out.push(b',');
            }
            out.push(b'{');
            if !snapshot {
                out.extend_from_slice(match entry.event {
                    Event::Add => b"\"event\":\"add\",",
                    Event::Modify => b"\"event\":\"modify\",",
                    Event::Delete => b"\"event\":\"delete\",",
                });
            }
            out.extend_from_slice(b"\"order_id\":");
            order_id(first_id + entry.id, out);
            field("limit_price", entry.price.into(), pair.price_precision, out);
            field("order_qty", entry.qty.into(), pair.qty_precision, out);
            out.extend_from_slice(b",\"timestamp\":");
            time(entry.ts, 9, out);
            out.push(b'}');
        }
        out.push(b']');
    }
    out.extend_from_slice(b"}]}");
}

/// A trade message.
pub fn trades<'a>(pair: &Pair, snapshot: bool, trades: impl Iterator<Item = &'a Trade>, out: &mut Vec<u8>) {
    begin("trade", snapshot, out);
    out.extend_from_slice(b",\"data\":[");
    for trade in trades {
        if out.last() != Some(&b'[') {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"symbol\":\"");
        out.extend_from_slice(pair.symbol.as_bytes());
        out.extend_from_slice(b"\",\"side\":\"");
        out.extend_from_slice(if trade.taker == Side::Buy { b"buy" } else { b"sell" });
        out.push(b'"');
        field("price", trade.price.into(), pair.price_precision, out);
        field("qty", trade.qty.into(), pair.qty_precision, out);
        out.extend_from_slice(b",\"ord_type\":\"");
        out.extend_from_slice(if trade.market { b"market" } else { b"limit" });
        out.push(b'"');
        field("trade_id", trade.id.into(), 0, out);
        out.extend_from_slice(b",\"timestamp\":");
        time(trade.ts, 6, out);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
}

/// A ticker message. A pair that never traded has zeros and the time 1970, as Kraken's has.
pub fn ticker(market: &Market, snapshot: bool, ts: i64, out: &mut Vec<u8>) {
    let pair = &market.pair;
    let (p, q) = (pair.price_precision, pair.qty_precision);
    let day = market.day(ts);
    begin("ticker", snapshot, out);
    out.extend_from_slice(b",\"data\":[{\"symbol\":\"");
    out.extend_from_slice(pair.symbol.as_bytes());
    out.push(b'"');
    for (side, price_name, qty_name) in [(Side::Buy, "bid", "bid_qty"), (Side::Sell, "ask", "ask_qty")] {
        let (price, qty) = market.best(side).unwrap_or_default();
        field(price_name, price.into(), p, out);
        field(qty_name, qty.into(), q, out);
    }
    let change = day.close - day.open;
    field("last", day.close.into(), p, out);
    field("volume", day.volume, q, out);
    field("vwap", day.vwap(), p, out);
    field("low", day.low.into(), p, out);
    field("high", day.high.into(), p, out);
    field("change", change.into(), p, out);
    field("change_pct", i128::from(change) * 10_000 / i128::from(day.open.max(1)), 2, out);
    field("trades", day.trades.into(), 0, out);
    out.extend_from_slice(b",\"timestamp\":");
    time(if day.trades == 0 { 0 } else { ts }, 6, out);
    out.extend_from_slice(b"}]}");
}

/// A message of candles of one interval; `interval` is the place in `INTERVALS`.
pub fn ohlc<'a>(
    pair: &Pair,
    interval: usize,
    snapshot: bool,
    candles: impl Iterator<Item = &'a Candle>,
    ts: i64,
    out: &mut Vec<u8>,
) {
    let minutes = INTERVALS[interval];
    let (p, q) = (pair.price_precision, pair.qty_precision);
    begin("ohlc", snapshot, out);
    out.extend_from_slice(b",\"timestamp\":");
    time(ts, 9, out);
    out.extend_from_slice(b",\"data\":[");
    for candle in candles {
        if out.last() != Some(&b'[') {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"symbol\":\"");
        out.extend_from_slice(pair.symbol.as_bytes());
        out.push(b'"');
        field("open", candle.open.into(), p, out);
        field("high", candle.high.into(), p, out);
        field("low", candle.low.into(), p, out);
        field("close", candle.close.into(), p, out);
        field("trades", candle.trades.into(), 0, out);
        field("volume", candle.volume, q, out);
        field("vwap", candle.vwap(), p, out);
        out.extend_from_slice(b",\"interval_begin\":");
        time(candle.begin, 9, out);
        field("interval", minutes.into(), 0, out);
        out.extend_from_slice(b",\"timestamp\":");
        time(candle.begin + minutes * 60_000_000_000, 6, out);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
}

/// An instrument message: assets and pairs.
pub fn instrument<'a>(snapshot: bool, assets: &[&str], pairs: impl Iterator<Item = &'a Pair>, out: &mut Vec<u8>) {
    begin("instrument", snapshot, out);
    out.extend_from_slice(b",\"data\":{\"assets\":[");
    for asset in assets {
        if out.last() != Some(&b'[') {
            out.push(b',');
        }
        let currency = matches!(*asset, "USD" | "EUR" | "GBP" | "JPY");
        let (precision, display) = (precision(asset), if currency { 2 } else { 5 });
        out.extend_from_slice(
            format!(
                "{{\"id\":\"{asset}\",\"status\":\"enabled\",\"precision\":{precision},\"precision_display\":{display},\
                 \"borrowable\":{currency},\"collateral_value\":{}",
                if currency { "1.000" } else { "0.000" }
            )
            .as_bytes(),
        );
        if currency {
            out.extend_from_slice(b",\"margin_rate\":0.025000");
        }
        out.extend_from_slice(b",\"class\":\"currency\"}");
    }
    out.extend_from_slice(b"],\"pairs\":[");
    for pair in pairs {
        if out.last() != Some(&b'[') {
            out.push(b',');
        }
        let (p, q) = (pair.price_precision, pair.qty_precision);
        let busy = pair.levels > 1000;
        out.extend_from_slice(
            format!(
                "{{\"symbol\":\"{}\",\"base\":\"{}\",\"quote\":\"{}\",\"status\":\"{}\",\"qty_precision\":{q},\"qty_increment\":",
                pair.symbol, pair.base, pair.quote, pair.status
            )
            .as_bytes(),
        );
        number(1, q, out);
        out.extend_from_slice(
            format!(
                ",\"price_precision\":{p},\"cost_precision\":{},\"marginable\":{busy},\"has_index\":{busy}",
                precision(&pair.quote)
            )
            .as_bytes(),
        );
        field("ws_display_price_precision", p.into(), 0, out);
        out.extend_from_slice(b",\"cost_min\":0.50");
        if busy {
            out.extend_from_slice(b",\"margin_initial\":0.20,\"position_limit_long\":300,\"position_limit_short\":240");
        }
        field("tick_size", 1, p, out);
        field("price_increment", 1, p, out);
        field("qty_min", 1000, q, out);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}}");
}
