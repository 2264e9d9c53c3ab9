//! The levels of a side in the order of their prices.

/// Levels, the worst first, the best last: most changes are near the best price and move few levels.
#[derive(Debug, Clone)]
pub struct SortedLevels<T> {
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

    /// Puts a level at a place.
    #[inline]
    pub fn insert(&mut self, at: usize, level: T) {
        if at == 0 {
            return self.insert_worst(level);
        }
        if at < self.len() / 2 && self.fallen > 0 {
            // Those that are worse are fewer: they move into the room of levels that fell out.
            self.held.copy_within(self.fallen..self.fallen + at, self.fallen - 1);
            self.fallen -= 1;
            self.held[self.fallen + at] = level;
            return;
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

    /// Takes the level at a place.
    #[inline]
    pub fn remove(&mut self, at: usize) -> T {
        if at < self.len() / 2 && self.fallen < self.room() {
            let removed = self[at];
            self.held.copy_within(self.fallen..self.fallen + at, self.fallen + 1);
            self.fallen += 1;
            return removed;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: whatever is inserted, removed and falls out anywhere, the levels are those of a plain vector.
    #[test]
    fn levels_are_those_of_a_vector() {
        let (mut levels, mut plain, mut seed) = (SortedLevels::default(), Vec::new(), 1_u64);
        let mut most = 0;
        for step in 0..20_000_u64 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let pick = usize::try_from(seed >> 33).expect("64 bits");
            match pick % 7 {
                0..=3 if plain.len() < 300 => {
                    let at = (pick / 7) % (plain.len() + 1);
                    levels.insert(at, step);
                    plain.insert(at, step);
                }
                6 => assert_eq!(levels.fall(), (!plain.is_empty()).then(|| plain.remove(0))),
                _ if !plain.is_empty() => {
                    let at = (pick / 7) % plain.len();
                    assert_eq!(levels.remove(at), plain.remove(at));
                }
                _ => {}
            }
            most = most.max(plain.len());
            assert_eq!(levels[..], plain[..]);
            assert!(levels.fallen <= 2 * (8 + 300 / 16) + 1, "{} fell out", levels.fallen);
        }
        assert_eq!(most, 300);
    }
}
