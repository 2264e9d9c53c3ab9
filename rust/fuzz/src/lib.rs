//! The core and the built-in exchange against second opinions, on bytes that nobody promised.
//!
//! [`decode`]: whatever the core takes for a message, `serde_json` takes for the same one, number by number as text; and
//! a well-formed book message that `serde_json` takes is taken. [`session`]: the bytes are a script of valid frames,
//! mutated frames, lost frames, ticks and answers; the counters must add up, the books must be those of a plain model,
//! and the rows, proved again, must say the same. [`orders`]: the same for level 3, where the model is a list of orders.
//! [`exchange`]: the bytes are what clients ask of the built-in exchange; it must answer every request, and the books that
//! it serves, kept by the core, must be its own. None may panic. libFuzzer and the seeded runner call the same four; the
//! fifth target, recovery of journals, is in Python: `tests/fuzz_journal.py`.

mod compare;
pub mod corpus;
mod exchange;
mod model;
pub mod mutate;
mod number;
mod orders;
mod script;

pub use compare::decode;
pub use exchange::exchange;
pub use orders::orders;
pub use script::session;
