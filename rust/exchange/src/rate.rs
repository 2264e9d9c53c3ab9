//! The rate counter of one pair: what each request costs by the age of its order, and how fast the counter falls.

const SECOND: i64 = 1_000_000_000;

/// Limits of an account.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tier {
    /// Name.
    pub name: &'static str,
    /// The counter stays up to here.
    pub limit: u32,
    /// It falls by this much in a second.
    pub decay: f64,
    /// Open orders of a pair.
    pub orders: usize,
}

/// All of them.
pub const TIERS: [Tier; 3] = [
    Tier { name: "starter", limit: 60, decay: 1.0, orders: 60 },
    Tier { name: "intermediate", limit: 125, decay: 2.34, orders: 80 },
    Tier { name: "pro", limit: 180, decay: 3.75, orders: 225 },
];

/// What a request costs, whatever comes of it.
pub const FIXED: f64 = 1.0;

/// The cost of the first row whose age, in seconds, is above that of the order; else 0.
fn by_age(age: i64, rows: &[(i64, f64)]) -> f64 {
    rows.iter().find(|(below, _)| age < below * SECOND).map_or(0.0, |(_, cost)| *cost)
}

/// What it costs to amend an order of this age, ns since it was made or last amended, beside the fixed part.
#[must_use]
pub fn amend(age: i64) -> f64 {
    by_age(age, &[(5, 3.0), (10, 2.0), (15, 1.0)])
}

/// The same to edit it.
#[must_use]
pub fn edit(age: i64) -> f64 {
    by_age(age, &[(5, 6.0), (10, 5.0), (15, 4.0), (45, 2.0), (90, 1.0)])
}

/// What it costs to cancel it; there is no fixed part.
#[must_use]
pub fn cancel(age: i64) -> f64 {
    by_age(age, &[(5, 8.0), (10, 6.0), (15, 5.0), (45, 4.0), (90, 2.0), (300, 1.0)])
}

/// The counter of a pair.
#[derive(Debug, Clone, Copy, Default)]
pub struct RateCounter {
    value: f64,
    at: i64,
}

impl RateCounter {
    /// Its value now.
    pub fn now(&mut self, now: i64, tier: &Tier) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "seconds of a counter")]
        let since = (now - self.at) as f64 / 1e9;
        self.value = (self.value - since * tier.decay).max(0.0);
        self.at = now;
        self.value
    }

    /// Counts what was done.
    pub fn add(&mut self, cost: f64) {
        self.value += cost;
    }

    /// Whether a request of this cost is one too many. `at`: it already is where it reaches the limit.
    pub fn exceeded(&mut self, cost: f64, now: i64, tier: &Tier, at: bool) -> bool {
        let sum = self.now(now, tier) + cost;
        let limit = f64::from(tier.limit);
        sum > limit || (at && sum >= limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIER: Tier = TIERS[1];

    /// Goal: the worked example: an order is made, amended twice and cancelled; each time the counter has fallen meanwhile.
    #[test]
    fn an_order_that_is_amended_and_cancelled() {
        let mut counter = RateCounter::default();
        let mut last = 0;
        let mut values = Vec::new();
        for (at, cost) in [(0, None), (2, Some(amend as fn(i64) -> f64)), (8, Some(amend)), (9, Some(cancel))] {
            let (now, age) = (at * SECOND, at * SECOND - last);
            let cost = cost.map_or(FIXED, |cost| cost(age) + if at == 9 { 0.0 } else { FIXED });
            counter.now(now, &TIER);
            counter.add(cost);
            last = now;
            values.push((counter.now(now, &TIER) * 100.0).round() / 100.0);
        }
        assert_eq!(values, [1.0, 4.0, 3.0, 8.66]);
    }

    /// Goal: thirteen orders may be made and cancelled in one instant; a fourteenth may be made; the next may not.
    #[test]
    fn pairs_of_one_instant() {
        let mut counter = RateCounter::default();
        for _ in 0..13 {
            assert!(!counter.exceeded(FIXED, 0, &TIER, false));
            counter.add(FIXED);
            counter.add(cancel(0));
        }
        assert!((counter.now(0, &TIER) - 117.0).abs() < 1e-9);
        assert!(!counter.exceeded(FIXED, 0, &TIER, false));
        counter.add(FIXED);
        assert!(counter.exceeded(cancel(0), 0, &TIER, false));
        assert!(counter.exceeded(7.0, 0, &TIER, true) && !counter.exceeded(7.0, 0, &TIER, false), "at the limit");
    }

    #[test]
    fn ages() {
        let costs: Vec<f64> = [0, 5, 10, 15, 45, 90, 300].map(|age| cancel(age * SECOND)).into();
        assert_eq!(costs, [8.0, 6.0, 5.0, 4.0, 2.0, 1.0, 0.0]);
        assert_eq!([0, 4, 5, 14, 15].map(|age| amend(age * SECOND)).to_vec(), vec![3.0, 3.0, 2.0, 1.0, 0.0]);
        assert_eq!([0, 5, 10, 15, 45, 90].map(|age| edit(age * SECOND)).to_vec(), vec![6.0, 5.0, 4.0, 2.0, 1.0, 0.0]);
    }
}
