//! Rows as Arrow record batches, without copying: the vectors become the buffers.

use std::sync::{Arc, OnceLock};

use arrow_array::types::{Decimal128Type, TimestampNanosecondType};
use arrow_array::{
    ArrayRef, BinaryViewArray, BooleanArray, PrimitiveArray, RecordBatch, StringViewArray, UInt8Array, UInt16Array,
    UInt32Array, UInt64Array,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};

use krakpot_core::limits::{DIGITS_MAX, SCALE};
use krakpot_core::table::rows::{Bits, Column, Rows, Values, Views, constant};
use krakpot_core::table::schema::{Table, Type};

/// Arrow type of a column.
fn data_type(kind: Type) -> DataType {
    match kind {
        Type::Text => DataType::Utf8View,
        Type::Bytes => DataType::BinaryView,
        Type::Bool => DataType::Boolean,
        Type::U8 => DataType::UInt8,
        Type::U16 => DataType::UInt16,
        Type::U32 => DataType::UInt32,
        Type::U64 => DataType::UInt64,
        Type::I64 => DataType::Int64,
        Type::Time => DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        // 38 and 10: both fit.
        #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "38 and 10")]
        Type::Decimal => DataType::Decimal128(DIGITS_MAX as u8, SCALE as i8),
    }
}

/// Arrow schema of a table.
#[must_use]
pub fn schema(table: Table) -> SchemaRef {
    // Made once: for a batch of one row it would be the greater part of the work.
    static SCHEMAS: [OnceLock<SchemaRef>; Table::ALL.len()] = [const { OnceLock::new() }; Table::ALL.len()];
    let make = || {
        let fields = table.columns().map(|(name, kind, null)| Field::new(name, data_type(kind), null));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    };
    SCHEMAS[table as usize].get_or_init(make).clone()
}

fn nulls(valid: Option<Bits>) -> Option<NullBuffer> {
    let valid = valid.filter(|bits| bits.zeros > 0)?;
    Some(NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(valid.bytes), 0, valid.len)))
}

/// Text from views. They were made from `str`; checking them again costs little and avoids `unsafe`.
fn text(views: Views, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
    let buffers = if views.data.is_empty() { vec![] } else { vec![Buffer::from_vec(views.data)] };
    Ok(Arc::new(StringViewArray::try_new(ScalarBuffer::from(views.views), buffers, nulls)?))
}

fn array(column: Column, kind: Type) -> Result<ArrayRef, ArrowError> {
    let nulls = nulls(column.valid);
    Ok(match column.values {
        Values::Views(views) if kind == Type::Text => text(views, nulls)?,
        Values::Views(views) => {
            let buffers = if views.data.is_empty() { vec![] } else { vec![Buffer::from_vec(views.data)] };
            Arc::new(BinaryViewArray::try_new(ScalarBuffer::from(views.views), buffers, nulls)?)
        }
        Values::Bool(bits) => {
            Arc::new(BooleanArray::new(BooleanBuffer::new(Buffer::from_vec(bits.bytes), 0, bits.len), nulls))
        }
        Values::U8(values) => Arc::new(UInt8Array::try_new(values.into(), nulls)?),
        Values::U16(values) => Arc::new(UInt16Array::try_new(values.into(), nulls)?),
        Values::U32(values) => Arc::new(UInt32Array::try_new(values.into(), nulls)?),
        Values::U64(values) => Arc::new(UInt64Array::try_new(values.into(), nulls)?),
        Values::I64(values) if kind == Type::Time => {
            Arc::new(PrimitiveArray::<TimestampNanosecondType>::try_new(values.into(), nulls)?.with_timezone("UTC"))
        }
        Values::I64(values) => {
            Arc::new(PrimitiveArray::<arrow_array::types::Int64Type>::try_new(values.into(), nulls)?)
        }
        Values::I128(values) => Arc::new(
            PrimitiveArray::<Decimal128Type>::try_new(values.into(), nulls)?.with_data_type(data_type(Type::Decimal)),
        ),
    })
}

/// Makes a batch of the rows of `session`.
///
/// # Errors
/// Never for rows collected by this crate; an [`ArrowError`] would name a mistake of it.
pub fn batch(session: &str, rows: Rows) -> Result<RecordBatch, ArrowError> {
    let mut arrays = Vec::with_capacity(rows.columns.len() + 1);
    arrays.push(text(constant(session, rows.len), None)?);
    for (column, (_, kind, _)) in rows.columns.into_iter().zip(rows.table.columns().skip(1)) {
        arrays.push(array(column, kind)?);
    }
    RecordBatch::try_new(schema(rows.table), arrays)
}
