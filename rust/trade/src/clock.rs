//! The exchange's clock beside this one, from the times in its answers.

use std::collections::VecDeque;

/// Answers that are looked at.
const KEPT: usize = 16;

/// How far the clocks are apart.
#[derive(Debug, Default)]
pub struct Clock {
    /// Length and offset of the last exchanges, ns.
    last: VecDeque<(i64, i64)>,
}

impl Clock {
    /// An exchange: sent and heard by this clock, came and left by the exchange's; ns. One in which time runs backwards is
    /// left out.
    pub fn add(&mut self, sent: i64, came: i64, left: i64, heard: i64) {
        let length = heard.saturating_sub(sent).saturating_sub(left.saturating_sub(came));
        if heard < sent || left < came || length < 0 {
            return;
        }
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        let offset = i128::midpoint(i128::from(came) - i128::from(sent), i128::from(left) - i128::from(heard));
        self.last.push_back((length, i64::try_from(offset).unwrap_or(i64::MAX)));
    }

    /// The exchange's clock less this one, and how long the exchange took that says so: the shortest is the most exact.
    #[must_use]
    pub fn best(&self) -> Option<(i64, i64)> {
        self.last.iter().min().map(|&(length, offset)| (offset, length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the shortest exchange says how far the clocks are apart; old ones are forgotten; what cannot be is left out.
    #[test]
    fn the_shortest_exchange_counts() {
        let mut clock = Clock::default();
        assert_eq!(clock.best(), None);
        clock.add(1000, 1500, 1600, 1300);
        assert_eq!(clock.best(), Some((400, 200)), "200 on the way, both ways alike");
        clock.add(2000, 2500, 2600, 2900);
        assert_eq!(clock.best(), Some((400, 200)), "this one took longer");
        clock.add(2000, 2500, 2400, 2900);
        clock.add(2000, 2500, 2600, 1900);
        clock.add(2000, 2000, 3000, 2010);
        for _ in 0..KEPT {
            clock.add(0, 10, 10, 300);
        }
        assert_eq!(clock.best(), Some((-140, 300)));
    }
}
