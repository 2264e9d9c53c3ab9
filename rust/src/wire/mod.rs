//! What is on the wire: the exchange's messages, and how their bytes are read.

pub mod message;
mod fast;
pub mod decode;
pub mod secret;
