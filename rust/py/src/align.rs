//! `align`: which state of one sequence is which of another.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Int64Type, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch, UInt32Array};
use krakpot_lake::align::{self as lake, State, Window};
use pyo3::prelude::*;

use crate::arrow::{Frame, batches};
use crate::error::value_error;

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, String> {
    let array = batch.column_by_name(name).ok_or_else(|| format!("the states have no column {name}"))?;
    if array.null_count() > 0 {
        return Err(format!("column {name} has nulls"));
    }
    Ok(array)
}

fn numbers<'a, T: ArrowPrimitiveType>(batch: &'a RecordBatch, name: &str) -> Result<&'a [T::Native], String> {
    let array = column(batch, name)?;
    let found = array.as_primitive_opt::<T>().map(|numbers| &numbers.values()[..]);
    found.ok_or_else(|| format!("column {name} is {}, not {}", array.data_type(), T::DATA_TYPE))
}

fn states(batches: &[RecordBatch]) -> Result<Vec<State>, String> {
    let mut states = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    for batch in batches {
        let (groups, keys) = (numbers::<UInt32Type>(batch, "group")?, numbers::<UInt64Type>(batch, "key")?);
        let times = numbers::<Int64Type>(batch, "time")?;
        let first = column(batch, "first")?;
        let first = first.as_boolean_opt().ok_or_else(|| format!("column first is {}", first.data_type()))?;
        states.extend((0..batch.num_rows()).map(|row| State {
            group: groups[row],
            key: keys[row],
            time: times[row],
            first: first.value(row),
        }));
    }
    if !states.is_sorted_by_key(|state| state.group) {
        return Err("the groups do not ascend".into());
    }
    u32::try_from(states.len()).map_err(|_| format!("{} states are more than 2^32", states.len()))?;
    Ok(states)
}

/// Which state of one sequence is which of the other.
#[pyfunction]
#[pyo3(signature = (left, right, *, window, nearest = 16))]
pub fn align(
    py: Python<'_>,
    left: &Bound<'_, PyAny>,
    right: &Bound<'_, PyAny>,
    window: i64,
    nearest: usize,
) -> PyResult<Frame> {
    if window < 0 || nearest == 0 {
        return Err(value_error("window must not be negative, nearest not 0".into()));
    }
    let (left, right) = (batches(left)?, batches(right)?);
    py.detach(|| {
        let pairs = lake::align(&states(&left)?, &states(&right)?, Window { width: window, nearest });
        let (left, right): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let columns: [(&str, ArrayRef); 2] =
            [("left", Arc::new(UInt32Array::from(left))), ("right", Arc::new(UInt32Array::from(right)))];
        RecordBatch::try_from_iter(columns).map(Frame).map_err(|error| error.to_string())
    })
    .map_err(value_error)
}
