//! JSON as text: numbers put in quotes before the parser sees them, strings and objects written.

use crate::error::Error;

/// Copies `frame` to `out` with bare numbers in quotes; `numbers` are the places of their first characters in `out`.
pub(super) fn quote_numbers(frame: &[u8], out: &mut Vec<u8>, numbers: &mut Vec<u32>) -> Result<(), Error> {
    out.reserve(frame.len() + frame.len() / 4 + simd_json::INPUT_PADDING);
    let mut copied = 0;
    let mut at = 0;
    while at < frame.len() {
        match frame[at] {
            b'"' => {
                at += 1;
                loop {
                    match frame.get(at) {
                        Some(b'"') => break,
                        Some(b'\\') => at += 2,
                        Some(_) => at += 1,
                        None => return Err(Error::Json { offset: frame.len(), reason: "string without end".into() }),
                    }
                }
                at += 1;
            }
            b'-' | b'0'..=b'9' => {
                let end =
                    number_end(frame, at).ok_or_else(|| Error::Json { offset: at, reason: "not a number".into() })?;
                out.extend_from_slice(&frame[copied..at]);
                out.push(b'"');
                // Frames are at most FRAME_MAX (16 MiB) long, three times that with quotes: fits 32 bits.
                #[allow(clippy::cast_possible_truncation, reason = "see above")]
                numbers.push(out.len() as u32);
                out.extend_from_slice(&frame[at..end]);
                out.push(b'"');
                copied = end;
                at = end;
            }
            _ => at += 1,
        }
    }
    out.extend_from_slice(&frame[copied..]);
    Ok(())
}

/// Where the JSON number that begins at `at` ends; `None` if it is not one.
pub(super) fn number_end(frame: &[u8], mut at: usize) -> Option<usize> {
    let digits = |mut at: usize| {
        let from = at;
        while frame.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        (at > from).then_some(at)
    };
    if frame[at] == b'-' {
        at += 1;
    }
    let whole = at;
    at = digits(at)?;
    if frame[whole] == b'0' && at > whole + 1 {
        return None;
    }
    if frame.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if matches!(frame.get(at), Some(b'e' | b'E')) {
        at += 1;
        if matches!(frame.get(at), Some(b'+' | b'-')) {
            at += 1;
        }
        at = digits(at)?;
    }
    // What follows must end the number; the parser would take `"1""2"` for two values and say something confusing.
    matches!(frame.get(at), None | Some(b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r')).then_some(at)
}

/// Writes `text` as a JSON string.
pub fn write_text(text: &str, out: &mut String) {
    use std::fmt::Write as _;
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Ends a JSON object begun by [`Walk::extra`].
pub(super) fn close(extra: &mut String) {
    if !extra.is_empty() {
        extra.push('}');
    }
}
