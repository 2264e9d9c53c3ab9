//! The C++ peer: simdjson on-demand, which only reads.

use std::ffi::{CStr, c_char, c_void};

use crate::Answer;

unsafe extern "C" {
    fn krakpot_simdjson_padding() -> usize;
    fn krakpot_simdjson_instructions() -> *const c_char;
    fn krakpot_simdjson_new() -> *mut c_void;
    fn krakpot_simdjson_free(parser: *mut c_void);
    fn krakpot_simdjson_read(
        parser: *mut c_void,
        at: *const u8,
        ends: *const usize,
        frames: usize,
        orders: bool,
        text: bool,
        answer: *mut u64,
    ) -> usize;
}

/// Its version and the instructions it was compiled for.
#[must_use]
pub fn version() -> String {
    // SAFETY: a string that lives as long as the program.
    let instructions = unsafe { CStr::from_ptr(krakpot_simdjson_instructions()) };
    format!("{} ({})", env!("SIMDJSON_VERSION"), instructions.to_string_lossy())
}

/// A parser, and the frames in the layout that it needs.
pub struct Reader {
    parser: *mut c_void,
    buffer: Vec<u8>,
    ends: Vec<usize>,
    orders: bool,
}

impl Reader {
    /// Copies `frames` into one buffer, each followed by the padding: of level 3 (`orders`), or of the book channel.
    #[must_use]
    pub fn new(frames: &[Vec<u8>], orders: bool) -> Self {
        // SAFETY: a constant of the library; the parser is freed in `drop`.
        let (padding, parser) = unsafe { (krakpot_simdjson_padding(), krakpot_simdjson_new()) };
        let (mut buffer, mut ends) = (Vec::new(), Vec::new());
        for frame in frames {
            buffer.extend_from_slice(frame);
            ends.push(buffer.len());
            buffer.resize(buffer.len() + padding, 0);
        }
        Self { parser, buffer, ends, orders }
    }

    /// Reads all frames; numbers as their text, or as binary floating point.
    ///
    /// # Panics
    /// If a frame cannot be read.
    #[must_use]
    pub fn read(&mut self, text: bool) -> Answer {
        let mut answer = [0; 3];
        // SAFETY: `ends` are places in `buffer`, each followed by the padding; `answer` has the three places written.
        let read = unsafe {
            krakpot_simdjson_read(
                self.parser,
                self.buffer.as_ptr(),
                self.ends.as_ptr(),
                self.ends.len(),
                self.orders,
                text,
                answer.as_mut_ptr(),
            )
        };
        assert_eq!(read, self.ends.len(), "simdjson reads every frame");
        std::hint::black_box(answer[2]);
        Answer { entries: answer[0], checksums: answer[1] }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // SAFETY: made in `new`, freed once.
        unsafe { krakpot_simdjson_free(self.parser) };
    }
}
