//! Any JSON, with its numbers as text.
//!
//! simd-json hands numbers over as binary floating point and keeps no text. So the frame is copied once into a scratch
//! buffer (the parser wants to write anyway) and bare numbers are put in quotes on the way: every number then arrives
//! as its text. The copy checks each number against JSON's grammar, the parser all the rest.

use simd_json::{Buffers, Node, Tape};

use crate::error::Error;
use crate::limits;
use crate::wire::json::quote_numbers;

/// Parses frames, reusing its memory.
pub struct Parser {
    scratch: Vec<u8>,
    /// Offsets in `scratch` of the first character of each bare number, ascending.
    numbers: Vec<u32>,
    buffers: Buffers,
    tape: Option<Tape<'static>>,
}

impl Default for Parser {
    fn default() -> Self {
        Self {
            scratch: Vec::new(),
            numbers: Vec::new(),
            buffers: Buffers::with_max_depth(4096, limits::NESTING_MAX),
            tape: Some(Tape(Vec::new())),
        }
    }
}

impl Parser {
    /// Parses one frame and hands its nodes to `then`, with the address of the scratch buffer and the ascending offsets in it at
    /// which bare numbers begin: a text that begins at one of them was a number.
    ///
    /// # Errors
    /// [`Error::Limit`] if the frame is too long, [`Error::Json`] if it is no JSON; `then` is not called in that case.
    pub fn read<R>(&mut self, frame: &[u8], then: impl FnOnce(&[Node<'_>], usize, &[u32]) -> R) -> Result<R, Error> {
        if frame.len() > limits::FRAME_MAX {
            return Err(Error::Limit { what: "FRAME_MAX", limit: limits::FRAME_MAX, found: frame.len() });
        }
        self.scratch.clear();
        self.numbers.clear();
        quote_numbers(frame, &mut self.scratch, &mut self.numbers)?;
        let length = self.scratch.len();
        self.scratch.resize(length + simd_json::INPUT_PADDING, 0);
        let base = self.scratch.as_ptr() as usize;
        let mut tape = self.tape.take().unwrap_or(Tape(Vec::new())).reset();
        let result = match simd_json::fill_tape_padded(&mut self.scratch, length, &mut self.buffers, &mut tape) {
            Ok(()) => Ok(then(&tape.0, base, &self.numbers)),
            Err(error) => {
                // Quotes were added before this place: two for each number begun before it.
                let at = error.index().min(length);
                let added = 2 * self.numbers.partition_point(|&n| (n as usize) < at);
                Err(Error::Json { offset: at.saturating_sub(added), reason: format!("{:?}", error.error()) })
            }
        };
        self.tape = Some(tape.reset());
        result
    }
}
