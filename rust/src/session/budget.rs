//! How many level-3 subscriptions an account may make in a second.

use std::collections::VecDeque;

use crate::limits;
use crate::wire::time::SECOND;

/// What Kraken lets a client subscribe of level 3: units in a second, 200 for a standard account, a symbol costing 5, 25
/// or 100 at depth 10, 100 or 1000. One budget serves all sessions of an account; resyncs get a share of it, so that
/// trouble with some symbols never keeps others from being subscribed.
#[derive(Debug)]
pub struct Budget {
    rate: u32,
    resync_share: f64,
    /// Time, cost, and whether it was a resync, of what was spent lately.
    spent: VecDeque<(i64, u32, bool)>,
}

impl Budget {
    /// No second of the exchange may see more than the rate, even if the network moves requests closer together.
    pub(super) const WINDOW: i64 = SECOND + SECOND / 20;
    /// Long enough for the share of resyncs to hold a symbol of depth 1000.
    pub(super) const RESYNC_WINDOW: i64 = 10 * SECOND;

    /// A budget of `rate` units a second, of which resyncs get a share.
    #[must_use]
    pub fn new(rate: u32, resync_share: f64) -> Self {
        Self { rate, resync_share, spent: VecDeque::new() }
    }

    /// Spends `cost`, if the budget has it. A cost above the whole budget is granted if nothing else was spent.
    pub(super) fn spend(&mut self, now: i64, cost: u32, resync: bool) -> bool {
        while self.spent.front().is_some_and(|(at, ..)| *at + Self::RESYNC_WINDOW <= now) {
            self.spent.pop_front();
        }
        let sum = |span: i64, resync_only: bool| {
            let within = self.spent.iter().filter(|(at, _, resync)| *at + span > now && (*resync || !resync_only));
            within.map(|(_, cost, _)| cost).sum::<u32>()
        };
        let fits = |sum: u32, limit: f64| sum == 0 || f64::from(sum) + f64::from(cost) <= limit;
        // Windows are whole seconds, apart from the margin.
        let resyncs = f64::from(self.rate) * self.resync_share * 10.0;
        let granted = fits(sum(Self::WINDOW, false), self.rate.into())
            && (!resync || fits(sum(Self::RESYNC_WINDOW, true), resyncs));
        if granted {
            self.spent.push_back((now, cost, resync));
        }
        granted
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(limits::LEVEL3_RATE, 0.1)
    }
}

/// Units that Kraken counts for a level-3 subscription.
pub(super) fn level3_cost(depth: u16) -> u32 {
    let [.., (_, dearest)] = limits::LEVEL3_COSTS;
    limits::LEVEL3_COSTS.into_iter().find(|(held, _)| depth <= *held).map_or(dearest, |(_, cost)| cost)
}
