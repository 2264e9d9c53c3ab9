//! Tokens that the exchange repeats are hidden before anything else sees them.
//!
//! A token is sent in a request. The answer (a rejection, an error, the reason of a close) may quote it. Rows, events, kept
//! frames and log lines are made from answers, so tokens are hidden here, in one place.

use std::borrow::Cow;
use std::ops::Range;

use crate::limits;

/// A token that was sent.
#[derive(Clone)]
pub struct Secret {
    text: Box<[u8]>,
    /// By the byte at the token's end: how far the search may advance (Horspool).
    skip: [u8; 256],
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret")
    }
}

impl Secret {
    /// `None` if it is too short for a token: hiding every `a` would hide the market.
    #[must_use]
    pub fn new(token: &str) -> Option<Self> {
        let text: Box<[u8]> = token.as_bytes().into();
        if text.len() < limits::SECRET_LENGTH_MIN {
            return None;
        }
        let far = |from_end: usize| u8::try_from(from_end).unwrap_or(u8::MAX);
        let mut skip = [far(text.len()); 256];
        for (i, &byte) in text[..text.len() - 1].iter().enumerate() {
            skip[usize::from(byte)] = far(text.len() - 1 - i);
        }
        Some(Self { text, skip })
    }

    /// Replaces it by stars wherever it occurs, plain or with the escapes that JSON allows.
    pub fn hide(&self, bytes: &mut Cow<'_, [u8]>) {
        let mut from = 0;
        while let Some(found) = self.plain(bytes, from) {
            from = found.end;
            bytes.to_mut()[found].fill(b'*');
        }
        if bytes.contains(&b'\\') {
            let mut from = 0;
            while from < bytes.len() {
                let end = self.spelled(bytes, from);
                if let Some(end) = end {
                    bytes.to_mut()[from..end].fill(b'*');
                }
                from = end.unwrap_or(from + 1);
            }
        }
    }

    fn plain(&self, bytes: &[u8], mut at: usize) -> Option<Range<usize>> {
        let last = self.text.len() - 1;
        while let Some(&end) = bytes.get(at + last) {
            let found = at..=at + last;
            if end == self.text[last] && bytes[found] == *self.text {
                return Some(at..at + self.text.len());
            }
            at += usize::from(self.skip[usize::from(end)]);
        }
        None
    }

    /// Where the token ends, if it begins at `at`, any of its characters escaped.
    fn spelled(&self, bytes: &[u8], mut at: usize) -> Option<usize> {
        let mut left = &*self.text;
        let mut utf8 = [0; 4];
        while !left.is_empty() {
            let character = match (bytes.get(at)?, bytes.get(at + 1)) {
                (b'\\', Some(b'u')) => {
                    let digits = std::str::from_utf8(bytes.get(at + 2..at + 6)?).ok()?;
                    at += 6;
                    char::from_u32(u32::from_str_radix(digits, 16).ok()?)?.encode_utf8(&mut utf8).as_bytes()
                }
                (b'\\', Some(escaped @ (b'"' | b'\\' | b'/'))) => {
                    at += 2;
                    std::slice::from_ref(escaped)
                }
                (byte, _) => {
                    at += 1;
                    std::slice::from_ref(byte)
                }
            };
            left = left.strip_prefix(character)?;
        }
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "AbC+/09xyzAbC=";

    fn hidden(text: &str) -> String {
        let mut bytes = Cow::Borrowed(text.as_bytes());
        Secret::new(TOKEN).expect("long enough").hide(&mut bytes);
        String::from_utf8(bytes.into_owned()).expect("stars are text")
    }

    /// Goal: every occurrence is hidden, however it is spelled. The length stays, so the JSON stays valid.
    #[test]
    fn hidden_however_it_is_spelled() {
        let stars = |n| "*".repeat(n);
        for (text, expected) in [
            (TOKEN.to_owned(), stars(14)),
            (format!("{TOKEN}{TOKEN}\"a"), format!("{}\"a", stars(28))),
            (format!("AbC{TOKEN}="), format!("AbC{}=", stars(14))),
            (format!("{{\"error\":\"no {TOKEN}\"}}"), format!("{{\"error\":\"no {}\"}}", stars(14))),
            (r"xAbC+\/09xyzAbC=x".to_owned(), format!("x{}x", stars(15))),
            (r"\u0041bC\u002b\/09xyzAb\u0043=".to_owned(), stars(30)),
            (r"\\u0041bC".to_owned(), r"\\u0041bC".to_owned()),
            (TOKEN[..13].to_owned(), TOKEN[..13].to_owned()),
            (r"AbC+/09xyzAbC\".to_owned(), r"AbC+/09xyzAbC\".to_owned()),
            (String::new(), String::new()),
        ] {
            assert_eq!(hidden(&text), expected, "{text}");
        }
    }

    /// Goal: found at every place of a longer text, whatever the jumps of the search meet.
    #[test]
    fn found_at_every_place() {
        let text = "AbC=yz+/09".repeat(20);
        for at in 0..text.len() {
            let (before, after) = text.split_at(at);
            assert_eq!(
                hidden(&format!("{before}{TOKEN}{after}")),
                format!("{before}{}{after}", "*".repeat(14)),
                "{at}"
            );
        }
    }

    /// Goal: what is too short for a secret hides nothing, and a secret cannot be printed.
    #[test]
    fn a_letter_is_no_secret() {
        assert!(Secret::new("a").is_none());
        assert_eq!(format!("{:?}", Secret::new(TOKEN)), "Some(Secret)");
    }
}
