//! Values for JavaScript, as JSON: one text crosses the border instead of a call for each value. Numbers of the exchange
//! and numbers of 64 bits are written as text, so that no digit is lost.
#![cfg_attr(not(feature = "session"), allow(dead_code, reason = "the proof has counts and sentences only"))]

use std::fmt::{Display, Write as _};

use krakpot_core::decimal::Decimal;
use krakpot_core::wire::write_text;

/// An object or a list being written.
pub struct Json {
    out: String,
}

impl Json {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { out: String::new() }
    }

    /// The text.
    pub fn done(self) -> String {
        self.out
    }

    /// A comma, unless a bracket or a name is before.
    fn next(&mut self) {
        if !matches!(self.out.as_bytes().last(), None | Some(b'[' | b'{' | b':')) {
            self.out.push(',');
        }
    }

    /// A list: `fill` writes its values.
    pub fn list(&mut self, fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.next();
        self.out.push('[');
        fill(self);
        self.out.push(']');
        self
    }

    /// An object: `fill` writes names and values in turn.
    pub fn object(&mut self, fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.next();
        self.out.push('{');
        fill(self);
        self.out.push('}');
        self
    }

    /// The name of the value that comes next: a plain word.
    pub fn name(&mut self, name: &str) -> &mut Self {
        self.text(name);
        self.out.push(':');
        self
    }

    /// A text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.next();
        write_text(text, &mut self.out);
        self
    }

    /// A number that a double holds.
    pub fn number(&mut self, number: impl Display) -> &mut Self {
        self.next();
        // Writing to a String cannot fail.
        let _ = write!(self.out, "{number}");
        self
    }

    /// A number by its digits, in quotes.
    pub fn digits(&mut self, number: impl Display) -> &mut Self {
        self.next();
        let _ = write!(self.out, "\"{number}\"");
        self
    }

    /// A number at a scale, in quotes.
    pub fn decimal(&mut self, mantissa: i128, scale: u8) -> &mut Self {
        self.digits(Decimal { mantissa, scale })
    }

    /// Nothing.
    pub fn null(&mut self) -> &mut Self {
        self.number("null")
    }

    /// The value, or null.
    pub fn maybe<T>(
        &mut self,
        value: Option<T>,
        write: impl for<'a> FnOnce(&'a mut Self, T) -> &'a mut Self,
    ) -> &mut Self {
        match value {
            Some(value) => write(self, value),
            None => self.null(),
        }
    }
}
