//! Valid frames of every kind, to begin with.

use krakpot_frames::{Market, Random, padded, time};

/// An instrument message of pairs with these names, precisions and states.
pub fn instrument(kind: &str, pairs: &[(&str, u8, u8, &str)]) -> String {
    let pair = |(symbol, price, qty, status): &(&str, u8, u8, &str)| {
        let (base, quote) = symbol.split_once('/').unwrap_or((symbol, ""));
        format!(
            r#"{{"symbol":"{symbol}","base":"{base}","quote":"{quote}","status":"{status}","qty_precision":{qty},"qty_increment":1e-08,"price_precision":{price},"cost_precision":5,"marginable":true,"has_index":false,"cost_min":0.50,"margin_initial":0.20,"position_limit_long":240,"position_limit_short":180,"price_increment":0.1,"qty_min":0.00005000,"tick_size":0.1}}"#
        )
    };
    let pairs: Vec<_> = pairs.iter().map(pair).collect();
    format!(
        r#"{{"channel":"instrument","type":"{kind}","data":{{"assets":[{{"id":"USD","status":"enabled","precision":4,"precision_display":2,"borrowable":true,"collateral_value":1.00,"margin_rate":0.025000,"class":"fiat","multiplier":"1"}},{{"id":"EUR","status":"enabled","collateral_value":null}}],"pairs":[{}]}}}}"#,
        pairs.join(",")
    )
}

/// The answer to a request about one symbol.
pub fn reply(method: &str, channel: &str, symbol: &str, depth: u16, req_id: u64) -> String {
    format!(
        r#"{{"method":"{method}","req_id":{req_id},"result":{{"channel":"{channel}","depth":{depth},"snapshot":true,"symbol":"{symbol}","warnings":["see \"docs\" \u00e9"]}},"success":true,"time_in":"{}","time_out":"{}"}}"#,
        time(0),
        time(40)
    )
}

/// One frame of a channel without a book.
pub fn other(symbol: &str, random: &mut Random) -> String {
    let id = random.below(40);
    let price = padded(600_000 + random.below(9_999), 1);
    let qty = padded(random.below(1_000_000_000), 8);
    let at = time(random.below(9_000_000));
    match random.below(9) {
        0 => r#"{"channel":"heartbeat"}"#.into(),
        1 => format!(
            r#"{{"channel":"status","type":"update","data":[{{"version":"2.0.10","system":"online","api_version":"v2","connection_id":{},"maintenance":{{"at":[1.50,null,"\u0041\n"]}}}}]}}"#,
            random.next()
        ),
        2 | 3 => format!(
            r#"{{"channel":"trade","type":"{}","data":[{{"symbol":"{symbol}","side":"sell","price":{price},"qty":{qty},"ord_type":"market","trade_id":{id},"timestamp":"{at}"}},{{"symbol":"{symbol}","side":"buy","price":{price},"qty":{qty},"ord_type":"limit","trade_id":{},"timestamp":"{at}"}}]}}"#,
            if id < 4 { "snapshot" } else { "update" },
            id + 1
        ),
        4 => format!(
            r#"{{"channel":"ticker","type":"update","data":[{{"symbol":"{symbol}","bid":{price},"bid_qty":{qty},"ask":{price},"ask_qty":0.5,"last":{price},"volume":1234.5,"vwap":null,"low":1e3,"high":6.5E4,"change":-1.5,"change_pct":-0.01,"new_field":[true,{{"a":-0.0}}]}}]}}"#
        ),
        5 => format!(
            r#"{{"channel":"ohlc","type":"update","timestamp":"{at}","data":[{{"symbol":"{symbol}","open":{price},"high":{price},"low":{price},"close":{price},"trades":{id},"volume":{qty},"vwap":{price},"interval_begin":"{}","interval":1,"timestamp":"{at}"}}]}}"#,
            time(0)
        ),
        6 => format!(r#"{{"method":"pong","req_id":{id},"time_in":"{at}","time_out":"{at}"}}"#),
        7 => format!(
            r#"{{"error":"Currency pair not supported {symbol}","method":"subscribe","req_id":{id},"success":false,"symbol":"{symbol}","time_in":"{at}","time_out":"{at}"}}"#
        ),
        _ => format!(
            r#"{{"channel":"new channel {id}","type":"update","data":[{{"x":[1,{{"y":null}}]}}],"sequence":{id}}}"#
        ),
    }
}

/// Frames of every kind.
pub fn frames(seed: u64) -> Vec<Vec<u8>> {
    let mut random = Random::new(seed);
    let mut frames = vec![
        instrument("snapshot", &[("A/USD", 1, 8, "online"), ("B/USD", 5, 0, "post_only")]),
        reply("subscribe", "book", "A/USD", 10, 7),
        reply("unsubscribe", "trade", "B/USD", 10, 8),
    ];
    let mut market = Market::new("A/USD", 10, seed);
    frames.push(market.snapshot());
    for _ in 0..40 {
        frames.push(market.update());
        frames.push(other("A/USD", &mut random));
    }
    frames.into_iter().map(String::into_bytes).chain(crate::orders::frames(seed)).collect()
}

#[cfg(test)]
mod tests {
    /// Goal: the corpus holds every kind of message, and nothing in it is refused: mutations begin near the protocol.
    #[test]
    fn every_frame_of_the_corpus_is_taken() {
        let mut session = krakpot_core::session::Session::new(
            "corpus",
            krakpot_core::session::Options { passive: true, ..Default::default() },
        );
        let frames = super::frames(1);
        for frame in &frames {
            crate::compare::decode(frame);
            session.receive(frame, krakpot_frames::START);
            assert_eq!(session.counts().errors, 0, "{}", String::from_utf8_lossy(frame));
        }
        let names: Vec<_> = session.counts().messages.iter().map(|(name, _)| name.as_str()).collect();
        for name in ["book", "level3", "trade", "ticker", "ohlc", "instrument", "status", "heartbeat", "reply", "pong"]
        {
            assert!(names.contains(&name), "{name} is in the corpus: {names:?}");
        }
    }
}
