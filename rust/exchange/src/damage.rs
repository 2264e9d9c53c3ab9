//! What faults do to the text of a frame.

use std::ops::Range;

use crate::kinds::{Fault, What};
use crate::rng::Rng;

/// A number that fits into no integer of 64 bits.
const HUGE_NUMBER: &[u8] = b"9999999999999999999999";
/// Characters of a text that is longer than any that Kraken sends.
const HUGE_TEXT: usize = 70;

/// Damages the text of a frame as a fault wants it.
pub fn damage(fault: &Fault, text: &mut Vec<u8>, rng: &mut Rng) {
    match fault.kind.what {
        What::Digit => {
            let digits: Vec<usize> = (0..text.len()).filter(|&at| text[at].is_ascii_digit()).collect();
            if !digits.is_empty() {
                let at = digits[rng.below(digits.len())];
                #[allow(clippy::cast_possible_truncation, reason = "below 9")]
                let step = 1 + rng.below(9) as u8;
                text[at] = b'0' + (text[at] - b'0' + step) % 10;
            }
        }
        What::Truncate => text.truncate(rng.below(text.len().max(1))),
        What::Garbage => {
            for byte in text.iter_mut() {
                *byte = rng.bits().to_le_bytes()[0];
            }
        }
        What::Oversize => text.resize(text.len().max(usize::try_from(fault.by).unwrap_or(0)), b' '),
        What::Absent | What::Null | What::Huge => {
            let mut found = fields(text, &fault.words);
            if !found.is_empty() {
                let field = found.swap_remove(rng.below(found.len()));
                damage_field(fault.kind.what, field, text);
            }
        }
        _ => {}
    }
}

/// Whether a JSON text has a field of this name.
pub fn has_field(text: &[u8], name: &str) -> bool {
    !fields(text, name).is_empty()
}

/// A field of a JSON text: where its name, with quotes, and its value are.
struct Field {
    name: Range<usize>,
    value: Range<usize>,
}

fn damage_field(what: What, Field { name, value }: Field, text: &mut Vec<u8>) {
    match what {
        What::Absent => {
            // One of the commas beside it goes too.
            let before = usize::from(name.start > 0 && text[name.start - 1] == b',');
            let after = usize::from(before == 0 && text.get(value.end) == Some(&b','));
            text.drain(name.start - before..value.end + after);
        }
        What::Huge if text[value.start] == b'"' => {
            text.splice(value.start + 1..value.end - 1, std::iter::repeat_n(b'X', HUGE_TEXT));
        }
        What::Huge => {
            text.splice(value, HUGE_NUMBER.iter().copied());
        }
        _ => {
            text.splice(value, *b"null");
        }
    }
}

/// The fields of a name in a JSON text without blanks, as this exchange writes it.
fn fields(text: &[u8], name: &str) -> Vec<Field> {
    let pattern = format!("\"{name}\":");
    let begins = text.windows(pattern.len()).enumerate().filter(|(_, part)| *part == pattern.as_bytes());
    begins
        .map(|(begin, _)| {
            let value = begin + pattern.len();
            Field { name: begin..value - 1, value: value..value_end(text, value) }
        })
        .collect()
}

/// End of the JSON value that begins at `begin`.
fn value_end(text: &[u8], begin: usize) -> usize {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, &byte) in text.iter().enumerate().skip(begin) {
        if quoted {
            quoted = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b'{' | b'[' => depth += 1,
            b',' | b'}' | b']' if depth == 0 => return at,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::read;

    fn damaged(fault: &str, text: &[u8], seed: u64) -> Vec<u8> {
        let mut text = text.to_vec();
        damage(&read(fault, 0).expect("right"), &mut text, &mut Rng::new(seed));
        text
    }

    #[test]
    fn bytes() {
        for seed in 0..100 {
            let digit = damaged("digit", b"{\"a\":12.5}", seed);
            assert_eq!(digit.iter().zip(b"{\"a\":12.5}").filter(|(a, b)| a != b).count(), 1);
            let cut = damaged("truncate", b"{\"a\":1}", seed);
            assert!(cut.len() < 7 && b"{\"a\":1}".starts_with(&cut));
            let garbage = damaged("garbage", &[b' '; 50], seed);
            assert!(garbage.len() == 50 && garbage != [b' '; 50]);
        }
        let long = damaged("oversize,by=100", b"{}", 1);
        assert_eq!((long.len(), &long[..3]), (100, &b"{} "[..]));
    }

    /// Goal: one field of the name is changed, whatever its value and place; everything else stays.
    #[test]
    fn one_field() {
        let huge = "9999999999999999999999";
        let text = "X".repeat(70);
        for (fault, before, after) in [
            ("absent,by=a", r#"{"a":1,"b":2}"#, r#"{"b":2}"#.to_owned()),
            ("absent,by=b", r#"{"a":1,"b":2}"#, r#"{"a":1}"#.to_owned()),
            ("absent,by=b", r#"{"a":1,"b":{"c":[1,"}"]},"d":3}"#, r#"{"a":1,"d":3}"#.to_owned()),
            ("absent,by=a", r#"{"a":"x\",\\"}"#, "{}".to_owned()),
            ("absent,by=c", r#"{"a":"c"}"#, r#"{"a":"c"}"#.to_owned()),
            ("null,by=a", r#"{"a":"x","b":2}"#, r#"{"a":null,"b":2}"#.to_owned()),
            ("null,by=b", r#"{"a":"x","b":[2]}"#, r#"{"a":"x","b":null}"#.to_owned()),
            ("huge,by=a", r#"{"a":12.5}"#, format!(r#"{{"a":{huge}}}"#)),
            ("huge,by=a", r#"{"a":"BTC/USD"}"#, format!(r#"{{"a":"{text}"}}"#)),
        ] {
            let found = damaged(fault, before.as_bytes(), 1);
            assert_eq!(String::from_utf8(found).expect("text"), after, "{fault} of {before}");
        }
        let two = br#"[{"a":1},{"a":1}]"#;
        let hit: std::collections::BTreeSet<_> = (0..20).map(|seed| damaged("null,by=a", two, seed)).collect();
        assert_eq!(hit.len(), 2, "one of them, by chance");
        assert!(has_field(two, "a") && !has_field(two, "b"));
    }
}
