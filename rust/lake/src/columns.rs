//! Columns of record batches, by name and type.

use arrow_array::cast::AsArray;
use arrow_array::types::Decimal128Type;
use arrow_array::{Array, ArrayRef, PrimitiveArray, RecordBatch};
use arrow_schema::DataType;

use krakpot_core::limits::SCALE;

/// A text column in any of the layouts that Arrow has for text.
pub(crate) enum TextColumn {
    View(arrow_array::StringViewArray),
    Large(arrow_array::LargeStringArray),
    Small(arrow_array::StringArray),
}

impl TextColumn {
    pub(crate) fn of(array: &ArrayRef) -> Option<Self> {
        match array.data_type() {
            DataType::Utf8View => array.as_string_view_opt().cloned().map(Self::View),
            DataType::LargeUtf8 => array.as_string_opt().cloned().map(Self::Large),
            DataType::Utf8 => array.as_string_opt().cloned().map(Self::Small),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn get(&self, row: usize) -> Option<&str> {
        match self {
            Self::View(a) => a.is_valid(row).then(|| a.value(row)),
            Self::Large(a) => a.is_valid(row).then(|| a.value(row)),
            Self::Small(a) => a.is_valid(row).then(|| a.value(row)),
        }
    }

    /// Whether a row holds this text, of at most twelve bytes.
    #[inline]
    pub(crate) fn is(&self, row: usize, text: &'static str) -> bool {
        match self {
            // A short text is in its view: two numbers are compared, and the compiler knows one of them.
            Self::View(a) => a.is_valid(row) && a.views()[row] == short_view(text),
            _ => self.get(row) == Some(text),
        }
    }

    /// Whether two rows hold the same text, or none.
    #[inline]
    pub(crate) fn same(&self, row: usize, other: usize) -> bool {
        // Short texts, as most are, have equal views if they are equal.
        matches!(self, Self::View(a) if a.null_count() == 0 && a.views()[row] == a.views()[other])
            || self.get(row) == self.get(other)
    }
}

/// The view of a text of at most twelve bytes: its length, then its bytes, then zeros.
const fn short_view(text: &str) -> u128 {
    let text = text.as_bytes();
    assert!(text.len() <= 12, "a longer text is not in its view");
    let mut view = text.len() as u128;
    let mut at = 0;
    while at < text.len() {
        view |= (text[at] as u128) << (32 + 8 * at);
        at += 1;
    }
    view
}

/// A column of prices or quantities.
pub(crate) fn decimals(array: &ArrayRef) -> Option<PrimitiveArray<Decimal128Type>> {
    let scale = i8::try_from(SCALE).ok()?;
    matches!(array.data_type(), DataType::Decimal128(_, s) if *s == scale).then(|| array.as_primitive().clone())
}

/// Column `name` of `batch`, as `read` takes it.
///
/// # Errors
/// A sentence, if the column is missing or of another type.
pub(crate) fn column<'a, T>(
    batch: &'a RecordBatch,
    name: &str,
    read: impl Fn(&'a ArrayRef) -> Option<T>,
) -> Result<T, String> {
    let array = batch.column_by_name(name).ok_or_else(|| format!("the rows have no column {name}"))?;
    read(array).ok_or_else(|| format!("column {name} is {}, not what the table's schema says", array.data_type()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_text_is_the_same_in_every_layout() {
        let rows = [Some("bid"), None, Some("bi"), Some("bid "), Some("ask"), Some(""), Some("bids of a long text")];
        let expected = rows.map(|row| row == Some("bid"));
        let layouts: [ArrayRef; 3] = [
            Arc::new(arrow_array::StringViewArray::from_iter(rows)),
            Arc::new(arrow_array::LargeStringArray::from_iter(rows)),
            Arc::new(arrow_array::StringArray::from_iter(rows)),
        ];
        for array in layouts {
            let column = TextColumn::of(&array).expect("text");
            assert_eq!(std::array::from_fn(|row| column.is(row, "bid")), expected);
            assert!(column.is(5, "") && !column.is(1, ""));
        }
    }
}
