//! Kraken's rate counter of one pair, in whole units: what a request costs, and when the next one fits.

/// One count, in units. A unit is so small that the decay of each tier is a whole number of them in a nanosecond.
const COUNT: i64 = 100_000_000_000;
/// Nanoseconds.
const SECOND: i64 = 1_000_000_000;

/// What an account may do in one pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tier {
    /// Name.
    pub name: &'static str,
    /// The counter may reach this, and not exceed it.
    pub limit: u32,
    /// Hundredths of a count by which it falls in a second.
    pub decay: u32,
    /// Open orders of a pair.
    pub open_orders: usize,
}

impl Tier {
    /// The tier whose counter may reach this; the lowest, if none is known with it.
    #[must_use]
    pub fn with_limit(limit: u32) -> Self {
        [Self::STARTER, Self::INTERMEDIATE, Self::PRO]
            .into_iter()
            .find(|tier| tier.limit == limit)
            .unwrap_or(Self::STARTER)
    }

    /// The first one.
    pub const STARTER: Self = Self { name: "starter", limit: 60, decay: 100, open_orders: 60 };
    /// The second.
    pub const INTERMEDIATE: Self = Self { name: "intermediate", limit: 125, decay: 234, open_orders: 80 };
    /// The third.
    pub const PRO: Self = Self { name: "pro", limit: 180, decay: 375, open_orders: 225 };

    /// The tier of this name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        [Self::STARTER, Self::INTERMEDIATE, Self::PRO].into_iter().find(|tier| tier.name == name)
    }

    /// Units in a nanosecond: hundredths in a second are 10^9 units in 10^9 nanoseconds.
    fn units(self) -> i64 {
        i64::from(self.decay)
    }
}

/// What a request costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// It is counted even if the request is refused; units.
    fixed: i64,
    /// It depends on the age of the order; units.
    aged: i64,
}

/// The counts of the first row whose age, in seconds, is above that of the order; else none.
fn by_age(age: i64, rows: &[(i64, i64)]) -> i64 {
    rows.iter().find(|(below, _)| age < below * SECOND).map_or(0, |(_, counts)| counts * COUNT)
}

impl Cost {
    /// A new order.
    pub const ADD: Self = Self { fixed: COUNT, aged: 0 };

    /// To amend an order of this age, ns since it was made or last amended.
    #[must_use]
    pub fn amend(age: i64) -> Self {
        Self { fixed: COUNT, aged: by_age(age, &[(5, 3), (10, 2), (15, 1)]) }
    }

    /// To amend it to no more than is filled, which cancels it.
    #[must_use]
    pub fn amend_away(age: i64) -> Self {
        Self { fixed: COUNT, ..Self::cancel(age) }
    }

    /// To cancel it.
    #[must_use]
    pub fn cancel(age: i64) -> Self {
        Self { fixed: 0, aged: by_age(age, &[(5, 8), (10, 6), (15, 5), (45, 4), (90, 2), (300, 1)]) }
    }

    /// In counts.
    #[must_use]
    pub fn counts(self) -> f64 {
        counts(self.fixed + self.aged)
    }
}

/// Units as counts.
#[allow(clippy::cast_precision_loss, reason = "at most some thousand counts: the error is below 1e-12 of them")]
fn counts(units: i64) -> f64 {
    units as f64 / COUNT as f64
}

/// The counter of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateCounter {
    tier: Tier,
    /// Units, at the time `at`.
    value: i64,
    at: i64,
}

impl RateCounter {
    /// A counter at 0.
    #[must_use]
    pub const fn new(tier: Tier) -> Self {
        Self { tier, value: 0, at: i64::MIN }
    }

    /// Units at a time. A time before the last one is taken as that: a clock that was set back gives nothing away.
    fn units(&self, now: i64) -> i64 {
        let since = now.saturating_sub(self.at).max(0);
        (self.value - since.saturating_mul(self.tier.units()).min(self.value)).max(0)
    }

    /// Its value at a time, in counts.
    #[must_use]
    pub fn used(&self, now: i64) -> f64 {
        counts(self.units(now))
    }

    /// Whether a request of this cost fits at a time; if not, from when on it does.
    ///
    /// # Errors
    /// The time from which it fits, ns; the end of all time for a request that never fits.
    pub fn fits(&self, cost: Cost, now: i64) -> Result<(), i64> {
        let limit = i64::from(self.tier.limit) * COUNT;
        let all = cost.fixed + cost.aged;
        let (sum, most) = (self.units(now).saturating_add(all), limit - all);
        if sum <= limit {
            return Ok(());
        }
        let wait = sum - limit;
        // Rounded up: at that nanosecond it fits.
        let wait = wait.div_euclid(self.tier.units()) + i64::from(wait.rem_euclid(self.tier.units()) > 0);
        Err(if most < 0 { i64::MAX } else { now.max(self.at).saturating_add(wait) })
    }

    /// Counts a request that was sent.
    pub fn add(&mut self, cost: Cost, now: i64) {
        self.value = self.units(now).saturating_add(cost.fixed).saturating_add(cost.aged);
        self.at = self.at.max(now);
    }

    /// Counts a request that the exchange refused: its fixed part.
    pub fn add_refused(&mut self, cost: Cost, now: i64) {
        self.add(Cost { aged: 0, ..cost }, now);
    }

    /// The exchange said what it allows; what was counted stays.
    pub const fn set_tier(&mut self, tier: Tier) {
        self.tier = tier;
    }

    /// Limits of the account.
    #[must_use]
    pub const fn tier(&self) -> Tier {
        self.tier
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the worked example: an order is made, amended twice and cancelled; each time the counter has fallen.
    #[test]
    fn an_order_that_is_amended_and_cancelled() {
        let mut counter = RateCounter::new(Tier::INTERMEDIATE);
        let mut values = Vec::new();
        let requests =
            [(0, Cost::ADD), (2, Cost::amend(2 * SECOND)), (8, Cost::amend(6 * SECOND)), (9, Cost::cancel(SECOND))];
        for (at, cost) in requests {
            counter.add(cost, at * SECOND);
            values.push(counter.units(at * SECOND) / (COUNT / 100));
        }
        assert_eq!(values, [100, 400, 300, 866]);
    }

    /// Goal: thirteen orders may be made and cancelled in one instant, and a fourteenth made; its cancel has to wait,
    /// and fits at the time that is named, not a nanosecond before.
    #[test]
    fn pairs_of_one_instant() {
        let mut counter = RateCounter::new(Tier::INTERMEDIATE);
        for _ in 0..13 {
            for cost in [Cost::ADD, Cost::cancel(0)] {
                assert_eq!(counter.fits(cost, 7), Ok(()));
                counter.add(cost, 7);
            }
        }
        assert_eq!(counter.units(7), 117 * COUNT);
        assert_eq!(counter.fits(Cost::ADD, 7), Ok(()));
        counter.add(Cost::ADD, 7);
        let at = counter.fits(Cost::cancel(0), 7).expect_err("126 is above 125");
        assert_eq!(at, 7 + (COUNT + 233) / 234, "one count at 2.34 counts a second");
        assert_eq!(counter.fits(Cost::cancel(0), at), Ok(()));
        assert!(counter.fits(Cost::cancel(0), at - 1).is_err());
    }

    /// Goal: at the limit a request fits, a unit above it does not.
    #[test]
    fn the_limit_may_be_reached() {
        let mut counter = RateCounter::new(Tier::STARTER);
        for _ in 0..59 {
            counter.add(Cost::ADD, 0);
        }
        assert_eq!(counter.fits(Cost::ADD, 0), Ok(()));
        counter.add(Cost::ADD, 0);
        assert_eq!(counter.fits(Cost::ADD, 0), Err(SECOND));
        assert_eq!(counter.fits(Cost::ADD, SECOND - 1), Err(SECOND));
        assert_eq!(counter.fits(Cost::ADD, SECOND), Ok(()));
    }

    /// Goal: extreme times neither panic nor make room.
    #[test]
    fn times_that_cannot_be() {
        let mut counter = RateCounter::new(Tier::PRO);
        counter.add(Cost::ADD, i64::MAX);
        assert_eq!(counter.units(i64::MIN), COUNT, "a clock that was set back");
        let mut counter = RateCounter::new(Tier::PRO);
        counter.add(Cost::ADD, i64::MIN);
        counter.add(Cost::amend_away(0), i64::MAX);
        assert_eq!(counter.units(i64::MAX), 9 * COUNT);
    }

    #[test]
    fn ages() {
        let of = |cost: fn(i64) -> Cost, ages: &[i64]| -> Vec<i64> {
            ages.iter().map(|age| cost(age * SECOND)).map(|cost| (cost.fixed + cost.aged) / COUNT).collect()
        };
        assert_eq!(of(Cost::cancel, &[0, 5, 10, 15, 45, 90, 300]), [8, 6, 5, 4, 2, 1, 0]);
        assert_eq!(of(Cost::amend, &[0, 4, 5, 14, 15]), [4, 4, 3, 2, 1]);
        assert_eq!(of(Cost::amend_away, &[0, 300]), [9, 1]);
        assert_eq!(Tier::of("pro"), Some(Tier::PRO));
        assert_eq!(Tier::of("Pro"), None);
        let limits = [60, 125, 180, 1000].map(|limit| Tier::with_limit(limit).name);
        assert_eq!(limits, ["starter", "intermediate", "pro", "starter"], "what is not known is the lowest");
    }
}
