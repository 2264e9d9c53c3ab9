//! The seeded runner: fuzzing on stable Rust, the same every time.
//!
//! `cargo run --release -- [--runs N] [--seconds S] [--seed S]`; at a failure it prints seed, run and input, and
//! `cargo run --release -- --target decode --input HEX` plays that input alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use krakpot_frames::Random;
use krakpot_fuzz::{corpus, decode, mutate, orders, session};

type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 3] = [("decode", decode), ("session", session), ("orders", orders)];
/// Decodes to one script: a script plays about a hundred frames.
const DECODES: u64 = 100;

fn usage(words: &str) -> ExitCode {
    eprintln!("{words}\nusage: run [--runs N] [--seconds S] [--seed S] | --target decode|session|orders --input HEX");
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
    if let (Some((_, target)), Some(input)) = (only, &played) {
        target(input);
        println!("passed: {} bytes", input.len());
        return ExitCode::SUCCESS;
    }
    if only.is_some() || played.is_some() {
        return usage("a target and its input belong together");
    }
    let frames = corpus::frames(seed);
    for frame in &frames {
        decode(frame);
    }
    let begun = Instant::now();
    let mut done = [0u64; 3];
    for run in 0..runs {
        let which = match run % DECODES {
            98 => 2,
            99 => 1,
            _ => 0,
        };
        let (name, target) = TARGETS[which];
        // Each run's input follows from seed and number alone.
        let mut random = Random::new(seed.wrapping_mul(0x9E37_79B9).wrapping_add(run));
        let input = input(name, &frames, &mut random);
        if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
            let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
            eprintln!("{name} failed: seed {seed}, run {run}\n{}", String::from_utf8_lossy(&input));
            eprintln!("again: cargo run --release -- --target {name} --input {hex}");
            return ExitCode::FAILURE;
        }
        done[which] += 1;
        if run % 1024 == 0 && begun.elapsed() >= Duration::from_secs(seconds) {
            break;
        }
    }
    println!(
        "seed {seed}: {} frames, {} scripts and {} of level 3, no difference, {:.1?}",
        done[0],
        done[1],
        done[2],
        begun.elapsed()
    );
    ExitCode::SUCCESS
}
