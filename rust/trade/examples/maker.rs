//! A maker in Rust on the built-in exchange; it prints its fills: `maker [SECONDS] [--bench]`.
//!
//! With `--bench` it prints how many messages and rows a second of the processor takes, of level 3 and of level 2: from
//! frames, with every checksum proved, and from events that are there already, which is what other backtesters measure.
#![allow(clippy::disallowed_methods, reason = "a program around the engine: it reads its arguments and its CPU time")]
#![allow(clippy::print_stdout, reason = "it prints its result")]

#[path = "../tests/played/mod.rs"]
mod played;

use std::time::Instant;

use krakpot_core::session::{Channel, Event};
use krakpot_trade::engine::{Engine, Strategy};
use krakpot_trade::run::Wake;

use played::{MS, Maker, Read, load, pair, play, reads, run};

/// Rounds of a measurement; the fastest counts.
const ROUNDS: usize = 5;

/// Seconds that this process has had of the processor: other programs do not count. `None` where the system has no such
/// file; then the clock must do.
fn cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/schedstat").ok()?;
    text.split_whitespace().next()?.parse::<f64>().ok().map(|ns| ns / 1e9)
}

/// Seconds that something takes.
fn timed(what: impl FnOnce()) -> f64 {
    let (begin, begin_cpu) = (Instant::now(), cpu_seconds());
    what();
    cpu_seconds().zip(begin_cpu).map_or(begin.elapsed().as_secs_f64(), |(end, begin)| end - begin)
}

/// Nothing is done.
struct Idle;

impl Strategy for Idle {}

/// Rows of an event in a lake.
fn rows_of(event: &Event) -> usize {
    match event {
        Event::Level3(_, rows) => rows.len(),
        Event::Book(_, rows) => rows.len(),
        _ => 1,
    }
}

fn measure<S: Strategy>(name: &str, (reads, books): (&[Read], Channel), wake: Wake, make: impl Fn() -> S) {
    let (pair, (loaded, events)) = (pair(reads), load(reads, books));
    let (rows, events) = (events.iter().map(rows_of).sum::<usize>(), events.len());
    let (mut whole, mut alone) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..ROUNDS {
        let mut engine = Engine::new(run(&pair, wake, 1, books), vec![make()]);
        whole = whole.min(timed(|| assert_eq!(play(&mut engine, reads, books), events)));
        let mut engine = Engine::new(run(&pair, wake, 1, books), vec![make()]);
        alone = alone.min(timed(|| {
            loaded.play(&mut engine);
            engine.stop("");
        }));
    }
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let (messages, rows) = (events as f64 / 1e6, rows as f64 / 1e6);
    println!(
        "{name}: from frames {:.2} M messages/s, {:.2} M rows/s; from events {:.2} M messages/s, {:.2} M rows/s",
        messages / whole,
        rows / whole,
        messages / alone,
        rows / alone
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seconds = arguments.iter().find_map(|text| text.parse().ok()).unwrap_or(20);
    if arguments.iter().any(|text| text == "--bench") {
        if cfg!(debug_assertions) {
            println!("a debug build says nothing about speed: cargo run --release --example maker -- --bench");
            return;
        }
        let level3 = reads(seconds, 7, Channel::Level3);
        measure("no handler", (&level3, Channel::Level3), Wake::Never, || Idle);
        measure("a call at every message", (&level3, Channel::Level3), Wake::Message, || Idle);
        measure("a maker each 1 ms", (&level3, Channel::Level3), Wake::Every(MS), Maker::default);
        let level2 = reads(seconds, 7, Channel::Book);
        measure("level 2, no handler", (&level2, Channel::Book), Wake::Never, || Idle);
        measure("level 2, a maker each 1 ms", (&level2, Channel::Book), Wake::Every(MS), Maker::default);
        return;
    }
    let reads = reads(seconds, 7, Channel::Level3);
    let pair = pair(&reads);
    let mut engine = Engine::new(run(&pair, Wake::Touch, 1, Channel::Level3), vec![Maker::default()]);
    let events = play(&mut engine, &reads, Channel::Level3);
    let maker = &engine.strategies()[0];
    for (now, side, price, qty, evidence) in &maker.fills {
        println!("{} ms {:4} {} at {} steps, by {evidence}", now / MS, side.word(), qty.0, price.0);
    }
    println!("{} fills, {events} messages", maker.fills.len());
}
