//! Rows of the lake's tables, without Arrow.

pub mod ledger;
pub mod schema;
pub mod rows;
pub mod book_rows;
