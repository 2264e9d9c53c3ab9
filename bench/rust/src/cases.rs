//! The inputs: named and constant, each with its answer.

use krakpot_frames::stream;

use crate::Answer;

/// Updates of a generated case: some 4 MB of frames, more than the caches near the core hold.
const UPDATES: usize = 20_000;
/// The seed of all generated cases.
const SEED: u64 = 20_260_802;

/// Book frames of one symbol: a snapshot, then updates.
pub struct Case {
    /// `generated_d25`, `recorded_btcusd_d25`, …
    pub name: &'static str,
    /// Subscribed depth.
    pub depth: u16,
    /// Price and quantity precision.
    pub precision: (u8, u8),
    /// `BTC/USD`.
    pub symbol: &'static str,
    /// One frame per message.
    pub frames: Vec<Vec<u8>>,
    /// What a reader must see.
    pub answer: Answer,
}

/// The sums of `frames`, counted on the text alone.
fn answer(frames: &[Vec<u8>]) -> Answer {
    let mut answer = Answer::default();
    for frame in frames {
        let text = std::str::from_utf8(frame).expect("frames are text");
        answer.entries += text.matches(r#""price":"#).count() as u64;
        let (_, rest) = text.split_once(r#""checksum":"#).expect("a book frame has a checksum");
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        answer.checksums += digits.parse::<u64>().expect("digits");
    }
    answer
}

fn case(name: &'static str, symbol: &'static str, depth: u16, precision: (u8, u8), frames: Vec<Vec<u8>>) -> Case {
    let frames: Vec<_> = frames.into_iter().filter(|frame| frame.starts_with(br#"{"channel":"book""#)).collect();
    assert!(!frames.is_empty(), "{name} has no book frames");
    let answer = answer(&frames);
    Case { name, depth, precision, symbol, frames, answer }
}

/// Generated streams of three depths; recorded ones if `KRAKPOT_DATA` names their folder.
///
/// # Panics
/// If that folder lacks a file.
#[must_use]
pub fn cases() -> Vec<Case> {
    let generated =
        |name, depth: u16| case(name, "M000/USD", depth, (1, 8), stream(1, usize::from(depth), UPDATES, SEED));
    let mut cases =
        vec![generated("generated_d25", 25), generated("generated_d100", 100), generated("generated_d1000", 1000)];
    match std::env::var_os("KRAKPOT_DATA") {
        Some(folder) => {
            for (name, symbol, file, precision) in [
                ("recorded_btcusd_d25", "BTC/USD", "recorded/book-btcusd-d25.jsonl", (1, 8)),
                ("recorded_xrpusd_d25", "XRP/USD", "recorded/book-xrpusd-d25.jsonl", (5, 8)),
            ] {
                let text = std::fs::read(std::path::Path::new(&folder).join(file));
                let text = text.unwrap_or_else(|error| panic!("KRAKPOT_DATA: {file}: {error}"));
                let frames = text.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(<[u8]>::to_vec).collect();
                cases.push(case(name, symbol, 25, precision, frames));
            }
        }
        None => println!("KRAKPOT_DATA is not set: no recorded frames"),
    }
    cases
}
