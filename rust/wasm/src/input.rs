//! A buffer that the caller writes texts into: `TextEncoder.encodeInto` writes it without a copy in between, which
//! would cost as much as reading the text.

/// Bytes that it begins with: longer than nearly all frames.
const LENGTH: usize = 1 << 18;

/// The buffer. It moves only when it grows.
pub struct Input(Vec<u8>);

impl Default for Input {
    fn default() -> Self {
        Self(vec![0; LENGTH])
    }
}

impl Input {
    /// Makes room for `length` bytes. Where it begins in the module's memory.
    pub fn room(&mut self, length: usize) -> usize {
        if length > self.0.len() {
            self.0 = vec![0; length.next_power_of_two()];
        }
        self.0.as_ptr().addr()
    }

    /// Bytes that have room.
    pub fn capacity(&self) -> usize {
        self.0.len()
    }

    /// Its first `length` bytes, as far as there are as many.
    pub fn text(&self, length: usize) -> &[u8] {
        &self.0[..length.min(self.0.len())]
    }
}
