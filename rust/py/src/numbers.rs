//! Exact numbers in Python: `decimal.Decimal`, or on request `float` or whole steps of the precision.

use krakpot_core::decimal::Decimal;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyFloat, PyInt, PyType};

use crate::error::value_error;

/// How a caller wants numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// `decimal.Decimal`, padded to the precision.
    Decimal,
    /// The nearest `float`.
    Float,
    /// `int`, in steps of the precision.
    Int,
}

impl Numbers {
    /// By its name in Python.
    pub fn named(name: &str) -> PyResult<Self> {
        match name {
            "decimal" => Ok(Self::Decimal),
            "float" => Ok(Self::Float),
            "int" => Ok(Self::Int),
            _ => Err(value_error(format!("no numbers {name:?}; numbers: decimal, float, int"))),
        }
    }

    /// By whatever a caller gave as their name.
    pub fn given(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::named(&text(value, "numbers", "decimal, float or int")?)
    }

    /// `mantissa` × 10^-`scale` as Python wants it.
    pub fn of(self, py: Python<'_>, mantissa: i128, scale: u8) -> PyResult<Bound<'_, PyAny>> {
        match self {
            Self::Int => Ok(mantissa.into_pyobject(py)?.into_any()),
            Self::Float => {
                let number = Decimal { mantissa, scale };
                let float =
                    number.float().unwrap_or_else(|| number.to_string().parse().expect("plain digits are a number"));
                Ok(PyFloat::new(py, float).into_any())
            }
            Self::Decimal => decimal(py, Decimal { mantissa, scale }),
        }
    }
}

/// The text that the argument `name` must be; `allowed` says which texts are.
pub fn text(value: &Bound<'_, PyAny>, name: &str, allowed: &str) -> PyResult<String> {
    value.extract().map_err(|_| value_error(format!("{name} {value:?} is not allowed; allowed is {allowed}")))
}

/// How many levels are asked for: a whole number from 0, or `None` for all.
pub fn level_count(levels: Option<&Bound<'_, PyAny>>) -> PyResult<usize> {
    let Some(levels) = levels else { return Ok(usize::MAX) };
    // In Python, True is a number.
    if !levels.is_instance_of::<PyBool>() {
        if let Ok(count) = levels.extract() {
            return Ok(count);
        }
        if levels.is_instance_of::<PyInt>() && levels.gt(0)? {
            // No book has that many.
            return Ok(usize::MAX);
        }
    }
    Err(value_error(format!("levels {levels:?} is not allowed; allowed is a whole number from 0, or None for all")))
}

/// A `decimal.Decimal` with as many decimals as the scale says.
pub fn decimal(py: Python<'_>, value: Decimal) -> PyResult<Bound<'_, PyAny>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    CLASS.import(py, "decimal", "Decimal")?.call1((value.to_string(),))
}
