//! JSON of the private socket, read member by member: numbers by their digits, a known member twice is refused.

use krakpot_core::decimal::Decimal;
use krakpot_core::limits;
use krakpot_core::wire::time::parse_time;
use simd_json::{Node, StaticNode};

/// Why bytes, or a part of a message, were not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// Not JSON, too long, nested too deeply, or no object with a channel or a method.
    Frame(String),
    /// A member is missing, repeated, of another type, or a number that its column cannot hold.
    Member {
        /// Channel or method.
        of: String,
        /// The member.
        name: &'static str,
    },
}

impl std::fmt::Display for Unread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Frame(why) => write!(f, "not a message: {why}"),
            Self::Member { of, name } => {
                write!(f, "{of}: member {name} is missing, repeated, of another type or beyond its range")
            }
        }
    }
}

impl std::error::Error for Unread {}

/// Reads frames, reusing its memory.
#[derive(Default)]
pub struct Parser(krakpot_core::wire::parser::Parser);

impl Parser {
    /// Reads one frame and hands its value to `then`.
    ///
    /// # Errors
    /// [`Unread`]; `then` is not called if the frame is no JSON.
    pub fn read<R>(
        &mut self,
        frame: &[u8],
        then: impl FnOnce(Value<'_, '_>) -> Result<R, Unread>,
    ) -> Result<R, Unread> {
        self.0
            .read(frame, |nodes, base, numbers| then(Value { nodes, base, numbers }))
            .map_err(|error| Unread::Frame(error.to_string()))?
    }
}

/// A value of a frame.
#[derive(Clone, Copy)]
pub struct Value<'t, 'a> {
    /// The first is this value; others may follow behind its end.
    nodes: &'t [Node<'a>],
    /// Address of the scratch buffer, to tell a quoted number from a text.
    base: usize,
    numbers: &'t [u32],
}

impl<'t, 'a> Value<'t, 'a> {
    /// Nodes that it has.
    fn span(self) -> usize {
        match self.nodes.first() {
            Some(Node::Object { count, .. } | Node::Array { count, .. }) => count + 1,
            _ => 1,
        }
    }

    /// The value that begins so many nodes behind this one's begin.
    fn behind(self, nodes: usize) -> Self {
        Self { nodes: self.nodes.get(nodes..).unwrap_or(&[]), ..self }
    }

    fn is_bare(self, text: &str) -> bool {
        let offset = (text.as_ptr() as usize).wrapping_sub(self.base);
        text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
            && u32::try_from(offset).is_ok_and(|offset| self.numbers.binary_search(&offset).is_ok())
    }

    /// Whether it is null, which is as if it were not there.
    #[must_use]
    pub fn is_null(self) -> bool {
        matches!(self.nodes.first(), Some(Node::Static(StaticNode::Null)))
    }

    /// A text.
    #[must_use]
    pub fn text(self) -> Option<&'a str> {
        match self.nodes.first() {
            Some(Node::String(text)) if !self.is_bare(text) => Some(text),
            _ => None,
        }
    }

    /// A text that names something: not empty, and not longer than an id.
    #[must_use]
    pub fn id(self) -> Option<&'a str> {
        self.text().filter(|text| (1..=limits::ORDER_ID_LENGTH_MAX).contains(&text.len()))
    }

    /// A number, bare or as a text.
    #[must_use]
    pub fn number(self) -> Option<Decimal> {
        match self.nodes.first() {
            Some(Node::String(text)) => Decimal::parse(text.as_bytes()),
            _ => None,
        }
    }

    /// A whole number in the range of `T`.
    #[must_use]
    pub fn whole<T: TryFrom<i128>>(self) -> Option<T> {
        T::try_from(self.number()?.rescale(0)?).ok()
    }

    /// True or false.
    #[must_use]
    pub fn flag(self) -> Option<bool> {
        match self.nodes.first() {
            Some(Node::Static(StaticNode::Bool(value))) => Some(*value),
            _ => None,
        }
    }

    /// A time, ns.
    #[must_use]
    pub fn time(self) -> Option<i64> {
        parse_time(self.text()?.as_bytes())
    }

    /// The values of an array.
    #[must_use]
    pub fn items(self) -> Option<impl Iterator<Item = Self>> {
        let Some(Node::Array { len, .. }) = self.nodes.first() else { return None };
        let mut next = self.behind(1);
        Some((0..*len).map(move |_| {
            let item = next;
            next = item.behind(item.span());
            item
        }))
    }

    /// The members of an object; `None` if it is none, if a name is no text, or stands twice.
    #[must_use]
    pub fn members(self) -> Option<Members<'t, 'a>> {
        let Some(Node::Object { len, .. }) = self.nodes.first() else { return None };
        let mut at = self.behind(1);
        let mut all = Vec::with_capacity((*len).min(64));
        for _ in 0..*len {
            let (name, value) = (at.text()?, at.behind(1));
            at = value.behind(value.span());
            all.push((name, value));
        }
        all.sort_by_key(|member| member.0);
        (!all.windows(2).any(|two| two[0].0 == two[1].0)).then_some(Members(all))
    }
}

/// The members of an object, by name.
pub struct Members<'t, 'a>(Vec<(&'a str, Value<'t, 'a>)>);

impl<'t, 'a> Members<'t, 'a> {
    /// A member that is there and not null.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Value<'t, 'a>> {
        let at = self.0.binary_search_by_key(&name, |member| member.0).ok()?;
        Some(self.0[at].1).filter(|value| !value.is_null())
    }

    /// What `read` makes of a member; `None` if it is not there.
    ///
    /// # Errors
    /// [`Unread::Member`] if `read` cannot.
    pub fn optional<T>(
        &self,
        of: &str,
        name: &'static str,
        read: impl FnOnce(Value<'t, 'a>) -> Option<T>,
    ) -> Result<Option<T>, Unread> {
        let Some(value) = self.get(name) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| missing(of, name))
    }

    /// What `read` makes of a member that must be there.
    ///
    /// # Errors
    /// [`Unread::Member`] if it is not there, or `read` cannot.
    pub fn required<T>(
        &self,
        of: &str,
        name: &'static str,
        read: impl FnOnce(Value<'t, 'a>) -> Option<T>,
    ) -> Result<T, Unread> {
        self.get(name).and_then(read).ok_or_else(|| missing(of, name))
    }
}

/// A member of a channel or method that cannot be read.
#[must_use]
pub fn missing(of: &str, name: &'static str) -> Unread {
    Unread::Member { of: of.chars().take(limits::SYMBOL_LENGTH_MAX).collect(), name }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: values are what they are on the wire, digits included; null is not there; a name twice is refused.
    #[test]
    fn values() {
        let frame =
            br#"{"a":1.50,"b":"1.50","c":[true,{"d":[]},"x\n"],"e":null,"f":{"g":-0.1},"h":"2026-11-28T15:00:01.5Z"}"#;
        let found = Parser::default().read(frame, |value| {
            let all = value.members().expect("an object");
            let decimal = |name| all.get(name).and_then(Value::number).map(|number| (number.mantissa, number.scale));
            assert_eq!(
                (decimal("a"), decimal("b"), decimal("c"), decimal("e")),
                (Some((150, 2)), Some((150, 2)), None, None)
            );
            assert_eq!((all.get("a").and_then(Value::text), all.get("b").and_then(Value::text)), (None, Some("1.50")));
            let items: Vec<Value<'_, '_>> = all.get("c").and_then(Value::items).expect("an array").collect();
            assert_eq!((items.len(), items[0].flag(), items[2].text()), (3, Some(true), Some("x\n")));
            let inner = all.get("f").and_then(Value::members).expect("an object");
            assert_eq!(inner.required("f", "g", Value::number).map(|number| number.mantissa), Ok(-1));
            assert_eq!(
                inner.required("f", "h", Value::number).expect_err("not there").to_string(),
                "f: member h is missing, repeated, of another type or beyond its range"
            );
            assert_eq!(all.get("h").and_then(Value::time), Some(1_795_878_001_500_000_000));
            assert!(all.get("h").and_then(Value::whole::<i64>).is_none());
            Ok(())
        });
        assert_eq!(found, Ok(()));
        for twice in [r#"{"a":1,"a":1}"#, r#"{"a":1,"b":2,"a":3}"#, "{1:2}", "[]", "7"] {
            let read = |frame: &str| Parser::default().read(frame.as_bytes(), |value| Ok(value.members().is_some()));
            assert_ne!(read(twice), Ok(true), "{twice}");
        }
    }

    /// Goal: what is no JSON is refused with a reason, and the parser can be used again.
    #[test]
    fn no_json() {
        let mut parser = Parser::default();
        for frame in ["", "{", "{\"a\":01}", "nul", "\"", &"[".repeat(1000)] {
            assert!(matches!(parser.read(frame.as_bytes(), |_| Ok(())), Err(Unread::Frame(_))), "{frame}");
        }
        assert_eq!(parser.read(b"{}", |value| Ok(value.members().is_some())), Ok(true));
    }
}
