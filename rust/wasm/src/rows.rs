//! `Rows`: rows of a recorded part, column by column as Arrow has them, from JavaScript's typed arrays.

use std::sync::Arc;

use arrow_array::types::TimestampNanosecondType;
use arrow_array::{
    ArrayRef, Decimal128Array, PrimitiveArray, RecordBatch, StringArray, UInt8Array, UInt16Array, UInt32Array,
    UInt64Array,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::ArrowError;
use krakpot_core::limits::{DIGITS_MAX, SCALE};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::error::{Result, wrong};

/// Rows being put together.
#[wasm_bindgen]
pub struct Rows {
    columns: Vec<(String, ArrayRef)>,
}

impl Rows {
    /// The rows as a batch.
    pub fn batch(&self) -> Result<RecordBatch> {
        RecordBatch::try_from_iter(self.columns.iter().cloned()).map_err(refused)
    }

    fn push(&mut self, name: String, array: std::result::Result<ArrayRef, ArrowError>) -> Result<()> {
        self.columns.push((name, array.map_err(refused)?));
        Ok(())
    }
}

fn refused(error: ArrowError) -> wasm_bindgen::JsError {
    wrong(format!("these are no rows: {error}"))
}

/// Which of `rows` are not null: one bit each, the lowest first. Without them: all.
fn nulls(valid: Option<Vec<u8>>, rows: usize) -> std::result::Result<Option<NullBuffer>, ArrowError> {
    let Some(valid) = valid else { return Ok(None) };
    if valid.len() < rows.div_ceil(8) {
        let sentence = format!("{} bytes say which of {rows} rows are not null", valid.len());
        return Err(ArrowError::InvalidArgumentError(sentence));
    }
    Ok(Some(NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(valid), 0, rows))))
}

macro_rules! whole_numbers {
    ($($(#[doc = $doc:literal])* $method:ident $js:literal $of:ty => $array:ty;)*) => {
        #[wasm_bindgen]
        impl Rows {
            $(
                $(#[doc = $doc])*
                #[wasm_bindgen(js_name = $js)]
                pub fn $method(&mut self, name: String, values: Vec<$of>, valid: Option<Vec<u8>>) -> Result<()> {
                    let array = nulls(valid, values.len()).and_then(|nulls| <$array>::try_new(values.into(), nulls));
                    self.push(name, array.map(|array| Arc::new(array) as ArrayRef))
                }
            )*
        }
    };
}

whole_numbers! {
    /// A column of 8 bits each.
    u8s "u8s" u8 => UInt8Array;
    /// A column of 16 bits each.
    u16s "u16s" u16 => UInt16Array;
    /// A column of 32 bits each.
    u32s "u32s" u32 => UInt32Array;
    /// A column of 64 bits each.
    u64s "u64s" u64 => UInt64Array;
    /// A column of times, ns since the epoch.
    times "times" i64 => PrimitiveArray<TimestampNanosecondType>;
}

#[wasm_bindgen]
impl Rows {
    /// Without columns.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self { columns: Vec::new() }
    }

    /// A column of prices or quantities at ten decimals: two words of 64 bits each, the lower one first.
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "38 and 10")]
    pub fn decimals(&mut self, name: String, words: &[u64], valid: Option<Vec<u8>>) -> Result<()> {
        let (pairs, rest) = words.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(wrong(format!("column {name}: a number has two words, and there are {}", words.len())));
        }
        let values: Vec<i128> =
            pairs.iter().map(|[low, high]| (u128::from(*high) << 64 | u128::from(*low)).cast_signed()).collect();
        let array = nulls(valid, values.len())
            .and_then(|nulls| Decimal128Array::try_new(values.into(), nulls))
            .and_then(|array| array.with_precision_and_scale(DIGITS_MAX as u8, SCALE as i8));
        self.push(name, array.map(|array| Arc::new(array) as ArrayRef))
    }

    /// A column of texts: where each begins, and where the last one ends; and their bytes.
    pub fn texts(&mut self, name: String, offsets: Vec<i32>, bytes: Vec<u8>, valid: Option<Vec<u8>>) -> Result<()> {
        let fits = |end: &i32| usize::try_from(*end).is_ok_and(|end| end <= bytes.len());
        if !(offsets.first().is_some_and(|first| *first >= 0)
            && offsets.is_sorted()
            && offsets.last().is_some_and(fits))
        {
            return Err(wrong(format!("column {name}: its texts do not follow each other")));
        }
        let rows = offsets.len() - 1;
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let array = nulls(valid, rows).and_then(|nulls| StringArray::try_new(offsets, Buffer::from_vec(bytes), nulls));
        self.push(name, array.map(|array| Arc::new(array) as ArrayRef))
    }
}
