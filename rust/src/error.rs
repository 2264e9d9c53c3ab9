//! Why a frame, a message or a number was refused.
//!
//! Expected trouble on the hot path (a wrong checksum, a crossed book) is a value, see [`crate::book::synced::Outcome`]. An
//! [`Error`] says that bytes are not what the v2 documentation promises. The facts are fields.

use std::fmt;

/// Why bytes were refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// Not JSON, not UTF-8, or nested too deeply.
    Json {
        /// Byte offset in the frame, as near as the parser can say.
        offset: usize,
        /// What the parser said.
        reason: String,
    },
    /// JSON, but no message: it is no object, or has neither a channel nor a method.
    NoMessage,
    /// A message, but not as the v2 documentation promises.
    Shape {
        /// Channel or method of the message.
        channel: String,
        /// The field that is missing, repeated or of another type.
        field: &'static str,
        /// Byte offset in the frame: of the field if it is there, else near the end of the object that lacks it.
        offset: usize,
    },
    /// A number with more digits than its column or the pair's precision can hold, or negative where none can be.
    Decimal {
        /// Symbol of the message.
        symbol: String,
        /// The number in plain digits.
        text: String,
        /// Decimals that can be held.
        scale: u8,
    },
    /// Data for a symbol that was not subscribed.
    Symbol {
        /// The symbol.
        symbol: String,
    },
    /// A bound of [`crate::limits`] was passed.
    Limit {
        /// Name of the bound.
        what: &'static str,
        /// The bound.
        limit: usize,
        /// What was found.
        found: usize,
    },
}

impl Error {
    /// Whether a frame that was refused for this reason may have been about a book. A frame that is no JSON may have been
    /// about anything.
    #[must_use]
    pub fn may_concern_books(&self) -> bool {
        match self {
            Self::Shape { channel, .. } => matches!(channel.as_str(), "book" | "level3"),
            // A number beyond all columns refuses an item, not the frame, unless the frame is an answer.
            Self::NoMessage | Self::Decimal { .. } | Self::Symbol { .. } => false,
            Self::Json { .. } | Self::Limit { .. } => true,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json { offset, reason } => write!(f, "not JSON at byte {offset}: {reason}"),
            Self::NoMessage => write!(f, "not a message: it has neither a channel nor a method"),
            Self::Shape { channel, field, offset } => {
                write!(f, "{channel}: field {field} is missing, repeated or of another type, at byte {offset}")
            }
            Self::Decimal { symbol, text, scale } => {
                let colon = if symbol.is_empty() { "" } else { ": " };
                write!(f, "{symbol}{colon}{text} cannot be held with {scale} decimals")
            }
            Self::Symbol { symbol } => write!(f, "{symbol}: data for a symbol that was not subscribed"),
            Self::Limit { what, limit, found } => write!(f, "{what}: {found} is beyond the limit of {limit}"),
        }
    }
}

impl std::error::Error for Error {}
