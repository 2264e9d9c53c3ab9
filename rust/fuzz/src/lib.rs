//! The core and the built-in exchange against second opinions, on arbitrary bytes.
//!
//! [`decode`]: what the core reads as a message, `serde_json` reads as the same one, number by number as text. A documented
//! message that `serde_json` reads is read. [`session`]: the bytes are a script of valid frames, mutated frames, lost
//! frames, ticks and answers. The counters must add up, the books must equal those of a plain model, and the rows, verified
//! again, must give the same result. [`orders`]: the same for level 3, where the model is a list of orders. [`exchange`]:
//! the bytes are requests of clients to the built-in exchange. It must answer every request, and the books that it serves,
//! kept by the core, must equal its own. [`private`]: the same of clients of its account, whose orders and balances are kept
//! in a model. None may panic. libFuzzer and the seeded runner call the same five. The sixth target, recovery of journals, is in Python: `tests/fuzz_journal.py`.

mod number;
pub mod mutate;
mod compare;
mod ends;
mod model;
mod orders;
pub mod corpus;
mod script;
mod exchange;
mod private;

pub use compare::decode;
pub use exchange::exchange;
pub use orders::orders;
pub use private::private;
pub use script::session;
