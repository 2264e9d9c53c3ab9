//! The exchange's clock beside this one, from the times in its answers.

use std::collections::VecDeque;

/// Answers that are looked at.
const KEPT: usize = 16;
/// Two clocks may go apart by one part in so many (100 ppm): a clock without a time service is rarely worse.
const DRIFT: i64 = 10_000;

/// An exchange of a request and its answer.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// When the answer was heard, ns by this clock.
    heard: i64,
    /// How long both ways took together, ns: the offset is uncertain by half of it.
    length: i64,
    /// The exchange's clock less this one, ns.
    offset: i64,
}

impl Sample {
    /// How far the clocks may have gone apart since then, ns.
    fn drift(&self, now: i64) -> i64 {
        now.saturating_sub(self.heard).max(0) / DRIFT
    }

    /// Whether both can be true: the offset was within half the length of each, and the clocks go apart only slowly.
    fn agrees(&self, newer: &Self) -> bool {
        let apart = i128::from(self.offset) - i128::from(newer.offset);
        let uncertain = i128::midpoint(self.length.into(), newer.length.into()) + i128::from(self.drift(newer.heard));
        apart.abs() <= uncertain
    }
}

/// How far the clocks are apart.
#[derive(Debug, Default)]
pub struct Clock {
    /// The last exchanges.
    last: VecDeque<Sample>,
    /// What is taken for the offset while there is no exchange since this clock was set, ns.
    before: Option<i64>,
}

impl Clock {
    /// An exchange: sent and heard by this clock, came and left by the exchange's; ns. One in which time runs backwards is
    /// left out. Earlier ones that contradict it are forgotten: one of the clocks was set meanwhile.
    pub fn add(&mut self, sent: i64, came: i64, left: i64, heard: i64) {
        let length = heard.saturating_sub(sent).saturating_sub(left.saturating_sub(came));
        if heard < sent || left < came || length < 0 {
            return;
        }
        let offset = i128::midpoint(i128::from(came) - i128::from(sent), i128::from(left) - i128::from(heard));
        let sample = Sample { heard, length, offset: i64::try_from(offset).unwrap_or(i64::MAX) };
        self.last.retain(|earlier| earlier.agrees(&sample));
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(sample);
        self.before = None;
    }

    /// This clock was set: it shows so much more than it would have, ns. The next exchange says how far the clocks are
    /// apart now.
    pub fn set(&mut self, by: i64) {
        self.before = self.offset().map(|offset| offset.saturating_sub(by));
        self.last.clear();
    }

    /// The exchange's clock less this one, and how long the exchange took that says so: the most exact one, where the
    /// shorter is the more exact, and an older one less than it was. `None`: none since this clock was set.
    #[must_use]
    pub fn best(&self) -> Option<(i64, i64)> {
        let now = self.last.back()?.heard;
        // All grow old alike, so the order does not depend on the time of the question.
        let best = self.last.iter().min_by_key(|one| (one.length / 2).saturating_add(one.drift(now)))?;
        Some((best.offset, best.length))
    }

    /// The exchange's clock less this one as far as anything is known, also right after this clock was set.
    #[must_use]
    pub fn offset(&self) -> Option<i64> {
        self.best().map(|(offset, _)| offset).or(self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;
    const SECOND: i64 = 1000 * MS;

    /// An exchange at a time: the clocks are so far apart, and each way takes so long.
    fn exchange(clock: &mut Clock, at: i64, offset: i64, way: i64) {
        clock.add(at, at + way + offset, at + way + offset, at + 2 * way);
    }

    /// Goal: the shortest exchange says how far the clocks are apart; old ones are forgotten; what cannot be is left out.
    #[test]
    fn the_shortest_exchange_counts() {
        let mut clock = Clock::default();
        assert_eq!((clock.best(), clock.offset()), (None, None));
        clock.add(1000, 1500, 1600, 1300);
        assert_eq!(clock.best(), Some((400, 200)), "200 on the way, both ways alike");
        clock.add(2000, 2500, 2600, 2900);
        assert_eq!(clock.best(), Some((400, 200)), "this one took longer");
        clock.add(2000, 2500, 2400, 2900);
        clock.add(2000, 2500, 2600, 1900);
        clock.add(2000, 2000, 3000, 2010);
        for _ in 0..KEPT {
            clock.add(0, 300, 300, 300);
        }
        assert_eq!(clock.best(), Some((150, 300)), "it agrees with the first, which is too old to be kept");
    }

    /// Goal: an exchange that is half a minute old gives way to one that took 6 ms longer, as the clocks may have gone apart.
    #[test]
    fn an_exchange_grows_old() {
        let mut clock = Clock::default();
        exchange(&mut clock, 0, 7 * MS, 10 * MS);
        exchange(&mut clock, 20 * SECOND, 8 * MS, 13 * MS);
        assert_eq!(clock.best(), Some((7 * MS, 20 * MS)), "20 s are 2 ms of drift");
        exchange(&mut clock, 40 * SECOND, 9 * MS, 13 * MS);
        assert_eq!(clock.best(), Some((9 * MS, 26 * MS)), "40 s are 4 ms");
    }

    /// Goal: an exchange that the earlier ones cannot be true with counts at once, though it took longer.
    #[test]
    fn a_step_is_seen_at_the_next_exchange() {
        let mut clock = Clock::default();
        for nth in 0..8 {
            exchange(&mut clock, nth * SECOND, 2 * MS, 5 * MS);
        }
        exchange(&mut clock, 10 * SECOND, 300 * MS, 100 * MS);
        assert_eq!(clock.best(), Some((300 * MS, 200 * MS)));
        exchange(&mut clock, 11 * SECOND, 299 * MS, 5 * MS);
        assert_eq!(clock.best(), Some((299 * MS, 10 * MS)));
    }

    /// Goal: after this clock was set nothing is measured until there is an exchange, and times stay what they were.
    #[test]
    fn this_clock_is_set() {
        let mut clock = Clock::default();
        clock.set(SECOND);
        assert_eq!((clock.best(), clock.offset()), (None, None), "nothing was known");
        exchange(&mut clock, 0, 7 * MS, 10 * MS);
        clock.set(SECOND);
        assert_eq!((clock.best(), clock.offset()), (None, Some(7 * MS - SECOND)));
        clock.set(-3 * SECOND);
        assert_eq!(clock.offset(), Some(7 * MS + 2 * SECOND), "it was set twice");
        exchange(&mut clock, 3 * SECOND, 9 * MS, 20 * MS);
        assert_eq!((clock.best(), clock.offset()), (Some((9 * MS, 40 * MS)), Some(9 * MS)));
    }
}
