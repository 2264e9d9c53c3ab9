//! How orders are simulated: what is assumed where the record does not say.

use krakpot_core::book::modify_rule::ModifyRule;

/// What the record is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Model {
    /// Level 3: every order and its place.
    #[default]
    Orders,
    /// Level 2: sums of levels. What leaves a level without being traded is assumed to have stood at one place; a run with
    /// each gives the two bounds.
    Bounds(Cancels),
}

/// Where everything stood that left a level of level 2 without being traded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancels {
    /// Before the own order: the most that it can have got.
    Ahead,
    /// Behind it: the least.
    Behind,
}

/// What an amendment to more quantity at the same price does to the place of an order. Kraken does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AmendUp {
    /// It goes behind all others.
    #[default]
    Lose,
    /// It keeps its place.
    Keep,
}

/// How long requests and reports are on their way, ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Latency {
    /// Always as long.
    Fixed {
        /// From the strategy to the exchange's engine.
        entry: i64,
        /// From the engine to the strategy.
        response: i64,
    },
    /// Each way as long as the newest message of the pair was on its way: its receive time minus its time.
    Recorded,
    /// Longer while the feed is late: a part of how much later than usual the newest message of the pair was received.
    /// Usual is the least that any message before took, so the clocks need not agree.
    Loaded {
        /// At the usual time, from the strategy to the exchange's engine.
        entry: i64,
        /// At the usual time, from the engine to the strategy.
        response: i64,
        /// What is added, in millionths of how late the feed is.
        coupling: i64,
    },
}

/// What becomes of own orders in a gap of the record. New ones are refused meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gaps {
    /// They live on. Afterwards the times of the other orders say which of them stand before an own one (level 2: all
    /// do). What is traded meanwhile at their price fills them, in doubt.
    #[default]
    Time,
    /// They live on, and stand behind everything afterwards. What is traded meanwhile at their price is not theirs.
    Worst,
    /// They are cancelled.
    Cancel,
}

/// What several orders of one account know of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Together {
    /// What one takes of a trade is gone for the others. An order that meets one of the same account takes what stands
    /// before it, and no more. One that is amended across the market takes.
    #[default]
    Share,
    /// Each is judged as if it were alone: each may get all of a trade, unless an older one at its price is left. An order
    /// that would meet one of the same account takes only at that one's price and at worse ones. One that is amended
    /// across the market rests. Cases that were worked out order by order are compared in this way.
    Alone,
}

/// All of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// What the record is made of.
    pub model: Model,
    /// What an amendment to more does.
    pub amend_up: AmendUp,
    /// What a `modify` of the record does to the place of an order.
    pub modify: ModifyRule,
    /// Ways of requests and reports.
    pub latency: Latency,
    /// How long after its receipt a message waits for others of the same instant, ns.
    pub join: i64,
    /// What a gap does.
    pub gaps: Gaps,
    /// What orders of one account know of each other.
    pub together: Together,
    /// Levels a side that the record shows.
    pub depth: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            model: Model::Orders,
            amend_up: AmendUp::Lose,
            modify: ModifyRule::KeepPlace,
            latency: Latency::Fixed { entry: 5_000_000, response: 5_000_000 },
            join: 10_000_000,
            gaps: Gaps::Time,
            together: Together::Share,
            depth: krakpot_core::limits::DEPTH_MAX,
        }
    }
}
