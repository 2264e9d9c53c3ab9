//! How many messages one core makes and encodes in a second of its time: `cargo run --release -p krakpot-exchange --example rate`.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program that measures time and prints it")]

use std::time::Instant;

use krakpot_exchange::{Endpoint, Exchange};

const SECOND: i64 = 1_000_000_000;

fn main() {
    for (pairs, depth, level3) in [
        (200, 10, None),
        (200, 100, None),
        (200, 1000, None),
        (1450, 1000, None),
        (200, 10, Some((10, 40))),
        (200, 100, Some((100, 8))),
        (200, 1000, Some((1000, 2))),
    ] {
        let mut exchange = Exchange::new(pairs, 10_000.0, 1, 0, false);
        let symbols: Vec<String> = exchange.symbols().map(|symbol| format!("\"{symbol}\"")).collect();
        let client = exchange.connect(Endpoint::Public);
        for params in [
            format!(r#""channel":"book","depth":{depth}"#),
            r#""channel":"trade""#.to_owned(),
            r#""channel":"ticker","event_trigger":"bbo""#.to_owned(),
        ] {
            let all = symbols.join(",");
            exchange.receive(client, subscribe(&params, &all).as_bytes());
        }
        let orders = level3.map(|(depth, symbols_a_second)| {
            let client = exchange.connect(Endpoint::Level3);
            exchange.allow("token", i64::MAX);
            for some in symbols.chunks(symbols_a_second) {
                exchange.advance(exchange.now() + SECOND, usize::MAX, 0);
                let params = format!(r#""channel":"level3","depth":{depth},"token":"token""#);
                exchange.receive(client, subscribe(&params, &some.join(",")).as_bytes());
            }
            client
        });
        exchange.advance(exchange.now() + 3 * SECOND, usize::MAX, 0);
        let clients: Vec<u64> = std::iter::once(client).chain(orders).collect();
        for &client in &clients {
            exchange.take(client);
        }
        let (mut bytes, before) = (0, exchange.summary()["messages"].as_u64().unwrap_or(0));
        let (begin, begin_cpu) = (Instant::now(), cpu_seconds());
        while begin.elapsed().as_secs() < 3 {
            exchange.advance(exchange.now() + SECOND / 10, usize::MAX, 0);
            bytes += clients.iter().map(|&client| exchange.take(client).len()).sum::<usize>();
        }
        let seconds = cpu_seconds().zip(begin_cpu).map_or(begin.elapsed().as_secs_f64(), |(end, begin)| end - begin);
        let messages = exchange.summary()["messages"].as_u64().unwrap_or(0) - before;
        #[allow(clippy::cast_precision_loss, reason = "for people")]
        let (rate, size) = (messages as f64 / seconds, bytes as f64 / messages as f64);
        let with = if level3.is_some() { " with level3" } else { "" };
        println!("{pairs} pairs, depth {depth}{with}: {rate:.0} messages/s, {size:.0} bytes each");
    }
}

fn subscribe(params: &str, symbols: &str) -> String {
    format!(r#"{{"method":"subscribe","params":{{{params},"symbol":[{symbols}]}}}}"#)
}

/// Seconds that this process has had of the processor: other programs do not count. `None` where the system has no such
/// file; then the clock must do.
fn cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/schedstat").ok()?;
    text.split_whitespace().next()?.parse::<f64>().ok().map(|ns| ns / 1e9)
}
