//! The Arrow border: record batches and schemas out, streams in, by the Arrow `PyCapsule` interface, without copying.
//!
//! Beside `compiled.rs` the only file of the workspace with `unsafe`: the interface is a C one.
#![allow(unsafe_code, reason = "the Arrow C data interface is made of raw pointers")]

use std::ffi::CStr;

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema};
use arrow_array::ffi_stream::{FFI_ArrowArrayStream, RecordBatchStreamReader};
use arrow_array::{Array, RecordBatch, StructArray};
use arrow_schema::SchemaRef;
use krakpot_core::table::schema::Table;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::error::{fault, value_error};

/// Schema and array.
type Capsules<'py> = (Bound<'py, PyCapsule>, Bound<'py, PyCapsule>);

const SCHEMA: &CStr = c"arrow_schema";
const ARRAY: &CStr = c"arrow_array";
const STREAM: &CStr = c"arrow_array_stream";

/// Arrow schema of a table.
#[pyclass(frozen, module = "krakpot._core")]
pub struct Schema(SchemaRef);

#[pymethods]
impl Schema {
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        schema_capsule(py, &self.0)
    }
}

fn schema_capsule<'py>(py: Python<'py>, schema: &SchemaRef) -> PyResult<Bound<'py, PyCapsule>> {
    let schema = FFI_ArrowSchema::try_from(schema.as_ref()).map_err(fault)?;
    // The capsule owns the structure; its `Drop` calls `release` unless a consumer has moved it out.
    PyCapsule::new_with_value(py, schema, SCHEMA)
}

/// Arrow schema of `table`, as written to journal and parts.
#[pyfunction]
pub fn schema(table: &str) -> PyResult<Schema> {
    let names = || Table::ALL.map(Table::name).join(", ");
    let table = Table::named(table).ok_or_else(|| value_error(format!("no table {table:?}; tables: {}", names())))?;
    Ok(Schema(krakpot_lake::batch::schema(table)))
}

/// Rows of one table: an Arrow record batch.
#[pyclass(frozen, module = "krakpot._core")]
pub struct Batch {
    table: Table,
    batch: RecordBatch,
}

impl Batch {
    /// Wraps rows of `table`.
    pub fn new(table: Table, batch: RecordBatch) -> Self {
        Self { table, batch }
    }
}

#[pymethods]
impl Batch {
    #[getter]
    fn table(&self) -> &'static str {
        self.table.name()
    }

    #[getter]
    fn num_rows(&self) -> usize {
        self.batch.num_rows()
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        schema_capsule(py, &self.batch.schema())
    }

    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Capsules<'py>> {
        // The interface lets a producer answer with its own schema if it cannot, or need not, cast.
        drop(requested_schema);
        array_capsules(py, &self.batch)
    }
}

fn array_capsules<'py>(py: Python<'py>, batch: &RecordBatch) -> PyResult<Capsules<'py>> {
    let array = FFI_ArrowArray::new(&StructArray::from(batch.clone()).to_data());
    let array = PyCapsule::new_with_value(py, array, ARRAY)?;
    Ok((schema_capsule(py, &batch.schema())?, array))
}

/// Columns that are not a table of the lake: an Arrow record batch.
#[pyclass(frozen, module = "krakpot._core")]
pub struct Frame(pub RecordBatch);

#[pymethods]
impl Frame {
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        schema_capsule(py, &self.0.schema())
    }

    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Capsules<'py>> {
        // As for `Batch`.
        drop(requested_schema);
        array_capsules(py, &self.0)
    }
}

/// The record batches of anything with `__arrow_c_stream__` (Polars frames, `PyArrow` tables and batches).
pub fn batches(rows: &Bound<'_, PyAny>) -> PyResult<Vec<RecordBatch>> {
    if !rows.hasattr("__arrow_c_stream__")? {
        let kind = rows.get_type().name()?.to_string();
        return Err(PyTypeError::new_err(format!(
            "{kind} does not offer __arrow_c_stream__: pass a Polars or PyArrow table"
        )));
    }
    let capsule = rows.call_method0("__arrow_c_stream__")?;
    let capsule = capsule.cast::<PyCapsule>()?;
    let pointer = capsule.pointer_checked(Some(STREAM))?.cast::<FFI_ArrowArrayStream>().as_ptr();
    // SAFETY: the capsule is named "arrow_array_stream", so by the interface it holds a valid
    // ArrowArrayStream; `from_raw` moves it out and leaves a released one, as the interface wants.
    let reader = unsafe { RecordBatchStreamReader::from_raw(pointer) };
    let reader = reader.map_err(|error| value_error(error.to_string()))?;
    reader.collect::<Result<_, _>>().map_err(|error| value_error(error.to_string()))
}
