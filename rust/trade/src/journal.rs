//! Rows of an account's journal as text, until they are written. A row is a line `<hash> <JSON>`: its hash is the first half
//! of the SHA-256 over the hash of the row before and the JSON. All characters are ASCII.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::note::{Fact, Note};

/// Bytes of a SHA-256 that a row has, as hexadecimal digits.
const HASHED: usize = 16;
/// Bytes of a row beside its hash and its facts.
const HEAD: usize = 96;

/// A row that was made of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// Its number.
    pub number: u64,
    /// When it was made, ns.
    pub ts: i64,
    /// What it says.
    pub note: Note,
}

/// Rows that follow those of a journal.
#[derive(Debug, Default)]
pub struct Rows {
    before: String,
    number: u64,
    unwritten: Vec<u8>,
    refuses: bool,
    noted: Vec<Noted>,
}

impl Rows {
    /// `before` is the hash of the last row of the journal, `number` the number of the next one.
    #[must_use]
    pub fn new(before: String, number: u64) -> Self {
        Self { before, number, ..Self::default() }
    }

    /// From now on no order is taken: what was written before cannot be trusted to be there.
    pub const fn refuse_orders(&mut self) {
        self.refuses = true;
    }

    /// Number of the next row.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Adds a row. `facts` is a JSON object.
    pub fn add(&mut self, ts: i64, kind: &str, facts: &str) {
        let number = self.number;
        let mut line = String::with_capacity(self.before.len() + facts.len() + HEAD);
        // Writing to a String cannot fail.
        let _ = write!(line, "{} {{\"n\":{number},\"ts\":{ts},\"kind\":\"{kind}\"", self.before);
        let members = facts.strip_prefix('{').unwrap_or_default();
        if members != "}" {
            line.push(',');
        }
        line.push_str(members);
        let hash = hash(&line);
        self.unwritten.extend_from_slice(hash.as_bytes());
        self.unwritten.extend_from_slice(&line.as_bytes()[self.before.len()..]);
        self.unwritten.push(b'\n');
        self.before = hash;
        self.number += 1;
    }

    /// Adds rows of an account, but none of orders that are refused.
    pub fn add_notes(&mut self, ts: i64, notes: Vec<Note>) {
        for note in notes {
            if self.refuses && note.is_order() {
                continue;
            }
            let number = self.number;
            self.add(ts, note.kind, &facts(&note));
            self.noted.push(Noted { number, ts, note });
        }
    }

    /// The rows of notes that nobody took yet.
    pub fn take_noted(&mut self) -> Vec<Noted> {
        std::mem::take(&mut self.noted)
    }

    /// What is to be written next.
    #[must_use]
    pub fn unwritten(&self) -> &[u8] {
        &self.unwritten
    }

    /// So many bytes of [`Self::unwritten`] were written.
    pub fn written(&mut self, bytes: usize) {
        self.unwritten.drain(..bytes.min(self.unwritten.len()));
    }
}

fn hash(line: &str) -> String {
    let mut digits = String::with_capacity(2 * HASHED);
    for byte in &Sha256::digest(line.as_bytes())[..HASHED] {
        for four in [byte >> 4, byte & 15] {
            digits.extend(char::from_digit(four.into(), 16));
        }
    }
    digits
}

/// The facts of a note as a JSON object.
fn facts(note: &Note) -> String {
    let mut out = String::with_capacity(512);
    write_all(('{', '}'), &note.facts, &mut out, |(name, fact), out| {
        write_text(name, out);
        out.push(':');
        write_fact(fact, out);
    });
    out
}

fn write_fact(fact: &Fact, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = match fact {
        Fact::Int(number) => write!(out, "{number}"),
        Fact::Number(number) => write!(out, "{number}"),
        Fact::Flag(flag) => write!(out, "{flag}"),
        Fact::None => write!(out, "null"),
        Fact::Text(text) => {
            write_text(text, out);
            Ok(())
        }
        Fact::Amounts(all) => {
            write_all(('{', '}'), all, out, |(asset, amount), out| {
                write_text(asset, out);
                out.push(':');
                write_text(amount, out);
            });
            Ok(())
        }
        Fact::List(all) => {
            write_all(('[', ']'), all, out, |text, out| write_text(text, out));
            Ok(())
        }
    };
}

fn write_all<T>((begin, end): (char, char), all: &[T], out: &mut String, write: impl Fn(&T, &mut String)) {
    out.push(begin);
    for (at, one) in all.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write(one, out);
    }
    out.push(end);
}

/// Writes a text as Python's `json` does: what is not ASCII as UTF-16 in hexadecimal digits.
fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for one in text.chars() {
        match one {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(one),
            _ => {
                for unit in one.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(kind: &'static str, facts: Vec<(&'static str, Fact)>) -> Note {
        Note { kind, facts }
    }

    fn text(text: &str) -> Fact {
        Fact::Text(text.into())
    }

    /// Goal: each kind of fact is written as Python's `json` writes it, and each row has the hash of the one before.
    #[test]
    fn rows_are_chained() {
        let mut rows = Rows::new("0".repeat(32), 7);
        rows.add(1, "end", "{}");
        rows.add_notes(
            2,
            vec![note(
                "note",
                vec![
                    ("text", text("\"\\\n\r\t\u{8}\u{c}\u{1}\u{7f} aä€😀")),
                    ("int", Fact::Int(-1)),
                    ("number", Fact::Number(u64::MAX)),
                    ("flag", Fact::Flag(true)),
                    ("none", Fact::None),
                    ("amounts", Fact::Amounts(vec![("A".into(), "1".into()), ("B".into(), "2.5".into())])),
                    ("list", Fact::List(vec!["a".into(), "b".into()])),
                    ("empty", Fact::List(Vec::new())),
                ],
            )],
        );
        let lines: Vec<String> =
            String::from_utf8(rows.unwritten().to_vec()).expect("ASCII").lines().map(str::to_owned).collect();
        assert_eq!(lines[0][33..], *r#"{"n":7,"ts":1,"kind":"end"}"#);
        assert_eq!(
            lines[1][33..],
            *r#"{"n":8,"ts":2,"kind":"note","text":"\"\\\n\r\t\b\f\u0001\u007f a\u00e4\u20ac\ud83d\ude00","int":-1,"number":18446744073709551615,"flag":true,"none":null,"amounts":{"A":"1","B":"2.5"},"list":["a","b"],"empty":[]}"#
        );
        assert_eq!(lines[0][..32], hash(&format!("{} {}", "0".repeat(32), &lines[0][33..])));
        assert_eq!(lines[1][..32], hash(&format!("{} {}", &lines[0][..32], &lines[1][33..])));
        assert_eq!(hash(""), "e3b0c44298fc1c149afbf4c8996fb924", "the first half of the SHA-256 of nothing");
        rows.written(lines[0].len() + 1);
        assert_eq!(rows.unwritten(), format!("{}\n", lines[1]).as_bytes());
        let noted = rows.take_noted();
        assert_eq!((noted.len(), noted[0].number, noted[0].ts), (1, 8, 2));
        assert!(rows.take_noted().is_empty());
    }

    /// Goal: an order that is refused has no row; all else has.
    #[test]
    fn orders_are_refused() {
        let mut rows = Rows::new(String::new(), 0);
        rows.refuse_orders();
        let intent = |method| note("intent", vec![("order", Fact::Number(1)), ("method", text(method))]);
        rows.add_notes(0, vec![intent("add"), intent("cancel"), intent("amend"), note("report", Vec::new())]);
        let methods: Vec<_> = rows.take_noted().into_iter().map(|one| one.note).collect();
        assert_eq!(methods, [intent("cancel"), note("report", Vec::new())]);
    }
}
