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

    pub(crate) fn get(&self, row: usize) -> Option<&str> {
        match self {
            Self::View(a) => a.is_valid(row).then(|| a.value(row)),
            Self::Large(a) => a.is_valid(row).then(|| a.value(row)),
            Self::Small(a) => a.is_valid(row).then(|| a.value(row)),
        }
    }

    pub(crate) fn is_null(&self, row: usize) -> bool {
        match self {
            Self::View(a) => a.is_null(row),
            Self::Large(a) => a.is_null(row),
            Self::Small(a) => a.is_null(row),
        }
    }

    /// Whether two rows hold the same text, or none.
    pub(crate) fn same(&self, row: usize, other: usize) -> bool {
        // Short texts, as most are, have equal views if they are equal.
        matches!(self, Self::View(a) if a.null_count() == 0 && a.views()[row] == a.views()[other])
            || self.get(row) == self.get(other)
    }
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
