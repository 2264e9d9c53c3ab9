//! The seeded runner: fuzzing on stable Rust, the same every time.
//!
//! `cargo run --release -- [--target NAME] [--runs N] [--seconds S] [--seed S]`; at a failure it prints seed, run and
//! input, and `cargo run --release -- --target decode --input HEX` plays that input alone. The inputs that are kept in
//! `seeds` are played first.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use krakpot_frames::Random;
use krakpot_fuzz::{corpus, decode, exchange, mutate, orders, private, session};

type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 5] =
    [("decode", decode), ("session", session), ("orders", orders), ("exchange", exchange), ("private", private)];
/// Of this many runs one plays each kind of script, and the others decode: a script plays about a hundred frames.
const TURN: u64 = 100;

fn usage(words: &str) -> ExitCode {
    eprintln!(
        "{words}\nusage: run [--target decode|session|orders|exchange|private] [--runs N] [--seconds S] [--seed S] [--input HEX]"
    );
    ExitCode::from(2)
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(hex.get(i..i + 2)?, 16).ok()).collect()
}

/// Input of run `run`: a damaged frame of the corpus, or a script.
fn input(target: &str, frames: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let length = frames.len() as u64;
    let mut any = || &frames[usize::try_from(random.below(length)).expect("an index")];
    if target == "decode" {
        let (frame, other) = (any(), any());
        return mutate::mutate(frame, other, random);
    }
    let length = 40 + random.near(600);
    (0..length).map(|_| random.next().to_le_bytes()[0]).collect()
}

/// The inputs that are kept for a target, by name; they come with the code.
fn kept(target: &str) -> Vec<Vec<u8>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).expect("seeds").map(|file| file.expect("a file").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "seeds of {target}");
    files.iter().map(|file| std::fs::read(file).expect("a file")).collect()
}

/// Plays an input; at a failure says how to see it again.
fn play((name, target): (&str, Target), input: &[u8], which: &str) -> bool {
    let passed = catch_unwind(AssertUnwindSafe(|| target(input))).is_ok();
    if !passed {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        eprintln!("{name} failed: {which}\n{}", String::from_utf8_lossy(input));
        eprintln!("again: cargo run --release -- --target {name} --input {hex}");
    }
    passed
}

fn main() -> ExitCode {
    let (mut runs, mut seconds, mut seed) = (u64::MAX, 10, 1);
    let (mut only, mut played) = (None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let Some(value) = arguments.next() else { return usage(&format!("{name} wants a value")) };
        let number = value.parse::<u64>();
        match (name.as_str(), number) {
            ("--runs", Ok(n)) => (runs, seconds) = (n, u64::MAX / 2_000_000_000),
            ("--seconds", Ok(n)) => seconds = n,
            ("--seed", Ok(n)) => seed = n,
            ("--target", _) => only = TARGETS.iter().find(|(target, _)| *target == value),
            ("--input", _) => played = bytes(&value),
            _ => return usage(&format!("{name} {value}: not known")),
        }
    }
    if let (Some(&target), Some(input)) = (only, &played) {
        return if play(target, input, "the input that was given") {
            println!("passed: {} bytes", input.len());
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    if played.is_some() {
        return usage("an input needs its target");
    }
    let mut frames = corpus::frames(seed);
    let mut seeds = 0;
    for &target in TARGETS.iter().filter(|(name, _)| only.is_none_or(|(only, _)| only == name)) {
        for input in kept(target.0) {
            seeds += 1;
            if !play(target, &input, "a seed") {
                return ExitCode::FAILURE;
            }
            if target.0 == "decode" {
                frames.push(input);
            }
        }
    }
    let begun = Instant::now();
    let mut done = [0u64; TARGETS.len()];
    for run in 0..runs {
        let which = match (only, run % TURN) {
            (Some((only, _)), _) => TARGETS.iter().position(|(name, _)| name == only).expect("it is one of them"),
            (None, turn @ 1..5) => usize::try_from(turn).expect("small"),
            (None, _) => 0,
        };
        // Each run's input follows from seed and number alone.
        let mut random = Random::new(seed.wrapping_mul(0x9E37_79B9).wrapping_add(run));
        let input = input(TARGETS[which].0, &frames, &mut random);
        if !play(TARGETS[which], &input, &format!("seed {seed}, run {run}")) {
            return ExitCode::FAILURE;
        }
        done[which] += 1;
        if run % 64 == 0 && begun.elapsed() >= Duration::from_secs(seconds) {
            break;
        }
    }
    let [decode, session, orders, exchange, private] = done;
    println!(
        "seed {seed}: {seeds} seeds, {decode} frames, {session} scripts, {orders} of level 3, {exchange} of the \
         exchange, {private} of its account, no difference, {:.1?}",
        begun.elapsed()
    );
    ExitCode::SUCCESS
}
