//! Small damage to frames: bytes, digits, pieces, and the things that JSON readers disagree about.

use krakpot_frames::Random;

const PIECES: [&str; 42] = [
    "0",
    "-0",
    "1e-08",
    "1E400",
    "1e-300",
    "01",
    "1.",
    ".5",
    "-",
    "+1",
    "0.000000000000000000000000000000000000001",
    "99999999999999999999999999999999999999",
    "340282366920938463463374607431768211456.5",
    "9223372036854775808",
    "886110000000.00",
    "-1.5",
    "null",
    "true",
    "\"\"",
    "\"1.50\"",
    "[]",
    "{}",
    "{\"a\":[[]]}",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"\\ud83d\\ude00\"",
    "\"\\q\"",
    "\"a\\\"b\"",
    ",",
    ":",
    "\"",
    "\\",
    "\u{e9}",
    "\u{2028}",
    "\"price\":1",
    "\"symbol\":\"A/USD\",",
    "\"method\":\"subscribe\",",
    "\"checksum\":0,",
    "\"bids\":[],",
    "\"timestamp\":\"2024-02-30T00:00:00Z\",",
    "\"timestamp\":\"2026-08-02T03:35:50.123456789Z\",",
    "e5",
];
const BYTES: &[u8] = b"0123456789eE+-.\"\\,:[]{}tfnu \x00\x1f\x7f\xc3\xff\n";

/// The places at which a number, a text or a word begins and ends.
fn token(frame: &[u8], from: usize) -> std::ops::Range<usize> {
    let part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'+');
    let begin = frame[from..].iter().position(|b| part(*b)).map_or(frame.len(), |n| from + n);
    let end = frame[begin..].iter().position(|b| !part(*b)).map_or(frame.len(), |n| begin + n);
    begin..end
}

/// A frame with one to four damages, `other` being a source of foreign pieces.
pub fn mutate(frame: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut out = frame.to_vec();
    let at = |random: &mut Random, length: usize| usize::try_from(random.below(length as u64 + 1)).expect("a place");
    for _ in 0..=random.near(4) {
        let from = at(random, out.len());
        let piece = PIECES[at(random, PIECES.len() - 1)];
        match random.below(10) {
            0 => {
                let byte = BYTES[at(random, BYTES.len() - 1)];
                if let Some(place) = out.get_mut(from) {
                    *place = byte;
                }
            }
            1 => {
                if let Some(place) = out.get_mut(from) {
                    *place ^= 1 << random.below(8);
                }
            }
            2 => {
                let to = (from + at(random, 12)).min(out.len());
                out.drain(from..to);
            }
            3 => {
                out.splice(from..from, piece.bytes());
            }
            4 | 5 => {
                let range = token(&out, from);
                out.splice(range, piece.bytes());
            }
            6 => {
                let range = token(&out, from);
                if let Some(digit) = out[range].iter_mut().find(|b| b.is_ascii_digit()) {
                    *digit = b'0' + u8::try_from(random.below(10)).expect("a digit");
                }
            }
            7 => {
                let to = (from + at(random, 60)).min(out.len());
                let copy = out[from..to].to_vec();
                out.splice(to..to, copy);
            }
            8 => {
                let begin = at(random, other.len());
                let end = (begin + at(random, 80)).min(other.len());
                out.splice(from..from, other[begin..end].iter().copied());
            }
            _ => match random.below(4) {
                0 => out.truncate(from),
                1 => {
                    let depth = at(random, 80);
                    out.splice(from..from, "[".repeat(depth).into_bytes());
                }
                _ => {
                    // A comma and a key repeated: the same field twice.
                    let end = out[from..].iter().position(|b| *b == b',').map_or(out.len(), |n| from + n + 1);
                    let begin = out[..from].iter().rposition(|b| *b == b',').map_or(0, |n| n + 1);
                    let field = out[begin..end].to_vec();
                    out.splice(begin..begin, field);
                }
            },
        }
    }
    out
}
