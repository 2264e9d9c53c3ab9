//! `Book`: a copy of one book.

use std::sync::Arc;

use arrow_array::{ArrayRef, Decimal128Array, RecordBatch, StringArray, UInt16Array};
use krakpot_core::decimal::Decimal;
use krakpot_core::limits::{DIGITS_MAX, SCALE};
use krakpot_core::wire::message::Side;
use pyo3::prelude::*;

use crate::arrow::Frame;
use crate::error::fault;
use crate::numbers::level_count;

/// A copy of one level-2 book, as the session held it when asked.
#[pyclass(frozen, module = "krakpot._core")]
pub struct Book {
    symbol: String,
    copy: krakpot_core::book::level2::Book,
    checksum: u32,
}

impl Book {
    /// Copies a book.
    pub fn new(symbol: &str, book: &krakpot_core::book::level2::Book) -> Self {
        let mut book = book.clone();
        let checksum = book.checksum();
        Self { symbol: symbol.to_owned(), copy: book, checksum }
    }

    fn side(&self, side: Side, levels: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<(String, String)>> {
        let (price_precision, qty_precision) = self.copy.precision();
        let text = |mantissa, scale| Decimal { mantissa, scale }.to_string();
        let all = self.copy.levels(side).into_iter().take(level_count(levels)?);
        Ok(all.map(|(price, qty)| (text(price, price_precision), text(qty, qty_precision))).collect())
    }
}

#[pymethods]
impl Book {
    #[getter]
    fn symbol(&self) -> &str {
        &self.symbol
    }

    #[getter]
    fn depth(&self) -> u16 {
        self.copy.depth()
    }

    #[getter]
    fn price_precision(&self) -> u8 {
        self.copy.precision().0
    }

    #[getter]
    fn qty_precision(&self) -> u8 {
        self.copy.precision().1
    }

    #[getter]
    fn checksum(&self) -> u32 {
        self.checksum
    }

    #[pyo3(signature = (levels = None))]
    fn bids(&self, levels: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<(String, String)>> {
        self.side(Side::Bid, levels)
    }

    #[pyo3(signature = (levels = None))]
    fn asks(&self, levels: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<(String, String)>> {
        self.side(Side::Ask, levels)
    }
    fn to_arrow(&self) -> PyResult<Frame> {
        let (price_precision, qty_precision) = self.copy.precision();
        let (mut sides, mut levels, mut prices, mut qtys) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for side in [Side::Bid, Side::Ask] {
            for (level, (price, qty)) in (0u16..).zip(self.copy.levels(side)) {
                // As in the lake's tables: a session holds no book whose numbers these columns do not.
                let whole = |mantissa, scale| Decimal { mantissa, scale }.rescale(SCALE);
                sides.push(side.word());
                levels.push(level);
                prices.push(whole(price, price_precision));
                qtys.push(whole(qty, qty_precision));
            }
        }
        // 38 and 10: both fit.
        #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "38 and 10")]
        let decimals = |values: Vec<Option<i128>>| {
            Decimal128Array::from(values).with_precision_and_scale(DIGITS_MAX as u8, SCALE as i8)
        };
        let columns = || {
            RecordBatch::try_from_iter([
                ("side", Arc::new(StringArray::from(sides)) as ArrayRef),
                ("level", Arc::new(UInt16Array::from(levels))),
                ("price", Arc::new(decimals(prices)?)),
                ("qty", Arc::new(decimals(qtys)?)),
            ])
        };
        columns().map(Frame).map_err(fault)
    }
}
