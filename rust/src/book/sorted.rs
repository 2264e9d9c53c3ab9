//! The levels of a side in the order of their prices.

/// Levels, the worst first, the best last: most changes are near the best price and move few levels.
#[derive(Debug, Clone)]
pub(crate) struct SortedLevels<T> {
    /// First the levels that fell out of the depth and are not yet removed, then the levels.
    held: Vec<T>,
    /// How many fell out.
    fallen: usize,
}

impl<T> Default for SortedLevels<T> {
    fn default() -> Self {
        Self { held: Vec::new(), fallen: 0 }
    }
}

impl<T> std::ops::Deref for SortedLevels<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        &self.held[self.fallen..]
    }
}

impl<T> std::ops::DerefMut for SortedLevels<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.held[self.fallen..]
    }
}

impl<T: Copy> SortedLevels<T> {
    /// The place behind the last level that is worse: among the best first, by quarters, whose comparisons do not wait
    /// for each other; else by halves.
    #[allow(clippy::inline_always, reason = "a call costs as much as the search")]
    #[inline(always)]
    pub fn place(&self, worse: impl Fn(&T) -> bool) -> usize {
        let Some((rest, best)) = self.split_last_chunk::<16>() else { return self.partition_point(worse) };
        if !worse(&best[0]) {
            return rest.partition_point(worse);
        }
        let is_worse = |at: usize| usize::from(worse(&best[at]));
        let quarter = 4 * (is_worse(3) + is_worse(7) + is_worse(11));
        rest.len() + quarter + is_worse(quarter) + is_worse(quarter + 1) + is_worse(quarter + 2) + is_worse(quarter + 3)
    }

    #[inline]
    pub fn insert(&mut self, at: usize, level: T) {
        if at == 0 {
            return self.insert_worst(level);
        }
        self.held.insert(self.fallen + at, level);
    }

    /// How much room to make at the front.
    fn room(&self) -> usize {
        8 + self.len() / 16
    }

    /// A snapshot begins with the best level, and levels come up from below. They take the room of levels that fell out;
    /// without one, room is made.
    fn insert_worst(&mut self, level: T) {
        if self.fallen == 0 {
            self.fallen = self.room();
            self.held.splice(0..0, std::iter::repeat_n(level, self.fallen));
        }
        self.fallen -= 1;
        self.held[self.fallen] = level;
    }

    #[inline]
    pub fn remove(&mut self, at: usize) -> T {
        self.held.remove(self.fallen + at)
    }

    /// The worst level falls out. Removing it moves all others, so many are removed at once.
    #[inline]
    pub fn fall(&mut self) -> Option<T> {
        let worst = self.first().copied()?;
        self.fallen += 1;
        if self.fallen > 2 * self.room() {
            let room = self.room();
            self.held.drain(..room);
            self.fallen -= room;
        }
        Some(worst)
    }
}
