//! An account at the exchange: frames of its private socket in, requests as frames out. What they say of orders comes back
//! as effects for the account's [`Trader`](crate::trader::Trader), and as notes for its journal.
//!
//! Nothing here waits, sends or writes. After each connection, and whenever a message is missing, own orders are
//! reconciled; no new risk is taken before. A request without an answer is looked for, and never sent again.

mod account;
mod sent;
mod compared;
mod heard;

pub use account::{ACCOUNT, Earlier, Live, Options, Phase};
