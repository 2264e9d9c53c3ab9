//! Takes recorded frames from a file, one to a line, and prints the digest of all that a session makes of them:
//! `digest FILE DEPTH [SYMBOL=PRICE,QTY…] [--rounds N]`. Each line begins with the receive time in ns and a tab.
//!
//! With rounds it prints how many nanoseconds a frame takes in the fastest of them as well.
#![allow(
    clippy::disallowed_methods,
    reason = "a program around the core: it reads its arguments, a file and the clock"
)]
#![allow(clippy::print_stdout, reason = "it prints its result")]

use std::time::Instant;

use krakpot_core::digest::Digest;
use krakpot_core::session::{Options, Session};

/// Frames between two calls that take the rows.
const EVERY: usize = 1000;

fn main() {
    let usage = "usage: digest FILE DEPTH [SYMBOL=PRICE,QTY…] [--rounds N]";
    let mut arguments = std::env::args().skip(1);
    let file = std::fs::read(arguments.next().expect(usage)).expect("a file of frames");
    let depth = arguments.next().and_then(|text| text.parse().ok()).expect(usage);
    let mut options = Options { passive: true, depth: Some(depth), ..Options::default() };
    let mut rounds = 0;
    while let Some(argument) = arguments.next() {
        if argument == "--rounds" {
            rounds = arguments.next().and_then(|text| text.parse().ok()).expect(usage);
            continue;
        }
        let (symbol, precision) = argument.split_once('=').expect(usage);
        let (price, qty) = precision.split_once(',').expect(usage);
        let precision = (price.parse().expect(usage), qty.parse().expect(usage));
        options.precision.insert(symbol.into(), precision);
    }
    let frames: Vec<(i64, &[u8])> = file
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| {
            let tab = line.iter().position(|byte| *byte == b'\t').expect("a time, a tab and a frame");
            (std::str::from_utf8(&line[..tab]).ok().and_then(|text| text.parse().ok()).expect("ns"), &line[tab + 1..])
        })
        .collect();

    let (mut session, mut digest) = (Session::new("digest", options.clone()), Digest::default());
    for (n, (at, frame)) in frames.iter().enumerate() {
        session.receive(frame, *at);
        if n % EVERY == 0 {
            digest.take(&mut session);
        }
    }
    digest.take(&mut session);
    println!("{:016x}", digest.value(&session));

    // The same as the benchmark in JavaScript: no rows, as a page has none.
    options.rows = false;
    options.ledger = false;
    let mut best = f64::INFINITY;
    for _ in 0..rounds {
        let mut session = Session::new("digest", options.clone());
        let begin = Instant::now();
        for (at, frame) in &frames {
            session.receive(frame, *at);
        }
        let all: u32 = frames.len().try_into().expect("fewer frames");
        best = best.min(begin.elapsed().as_secs_f64() * 1e9 / f64::from(all));
    }
    if rounds > 0 {
        println!("{best:.0}");
    }
}
