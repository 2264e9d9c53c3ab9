//! `Book`: a copy of one book.

use krakpot_core::decimal::Decimal;
use krakpot_core::message::Side;
use pyo3::prelude::*;

/// A copy of one level-2 book, as the session held it when asked.
#[pyclass(frozen, module = "krakpot._core")]
pub struct Book {
    symbol: String,
    copy: krakpot_core::book::Book,
    checksum: u32,
}

impl Book {
    /// Copies a book.
    pub fn new(symbol: &str, book: &krakpot_core::book::Book) -> Self {
        let mut book = book.clone();
        let checksum = book.checksum(&mut Vec::new());
        Self { symbol: symbol.to_owned(), copy: book, checksum }
    }

    fn side(&self, side: Side, levels: Option<usize>) -> Vec<(String, String)> {
        let (price_precision, qty_precision) = self.copy.precision();
        let text = |mantissa, scale| Decimal { mantissa, scale }.to_string();
        let all = self.copy.levels(side).into_iter().take(levels.unwrap_or(usize::MAX));
        all.map(|(price, qty)| (text(price, price_precision), text(qty, qty_precision))).collect()
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
    fn bids(&self, levels: Option<usize>) -> Vec<(String, String)> {
        self.side(Side::Bid, levels)
    }

    #[pyo3(signature = (levels = None))]
    fn asks(&self, levels: Option<usize>) -> Vec<(String, String)> {
        self.side(Side::Ask, levels)
    }
}
