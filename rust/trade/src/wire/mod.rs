//! What an account says to an exchange over the private WebSocket, and what it hears.
//!
//! Nothing here panics on bytes of others, and no number passes through binary floating point. In reading order; a file
//! uses only those above it:
//!
//! | module | what |
//! | --- | --- |
//! | [`json`] | JSON read member by member, numbers by their digits |
//! | [`refusal`] | what Kraken's words mean for an order that was asked for |
//! | [`request`] | requests as text, with a token that is never printed |
//! | [`message`] | what is heard: answers, reports, balances, status |
//! | [`decode`] | bytes to these messages |
//! | [`follow`] | which answer belongs to which request, and whether a message is missing |

pub mod json;
pub mod refusal;
pub mod request;
pub mod message;
pub mod decode;
pub mod follow;
