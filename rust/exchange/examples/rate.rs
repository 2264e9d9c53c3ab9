//! How many messages a second one core makes and encodes: `cargo run --release -p krakpot-exchange --example rate`.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program that measures time and prints it")]

use std::time::Instant;

use krakpot_exchange::{Endpoint, Exchange};

fn main() {
    for (pairs, depth) in [(200, 10), (200, 100), (200, 1000), (1450, 1000)] {
        let mut exchange = Exchange::new(pairs, 10_000.0, 1, 0, false);
        let symbols: Vec<String> = exchange.symbols().map(|symbol| format!("\"{symbol}\"")).collect();
        let symbols = symbols.join(",");
        let client = exchange.connect(Endpoint::Public);
        for params in [
            format!(r#""channel":"book","depth":{depth}"#),
            r#""channel":"trade""#.to_owned(),
            r#""channel":"ticker","event_trigger":"bbo""#.to_owned(),
        ] {
            let request = format!(r#"{{"method":"subscribe","params":{{{params},"symbol":[{symbols}]}}}}"#);
            exchange.receive(client, request.as_bytes());
        }
        exchange.advance(3_000_000_000, usize::MAX, 0);
        exchange.take(client);
        let (mut bytes, before) = (0, exchange.summary()["messages"].as_u64().unwrap_or(0));
        let begin = Instant::now();
        while begin.elapsed().as_secs() < 3 {
            let to = exchange.now() + 100_000_000;
            exchange.advance(to, usize::MAX, 0);
            bytes += exchange.take(client).len();
        }
        let seconds = begin.elapsed().as_secs_f64();
        let messages = exchange.summary()["messages"].as_u64().unwrap_or(0) - before;
        #[allow(clippy::cast_precision_loss, reason = "for people")]
        let (rate, size) = (messages as f64 / seconds, bytes as f64 / messages as f64);
        println!("{pairs} pairs, depth {depth}: {rate:.0} messages/s, {size:.0} bytes each");
    }
}
