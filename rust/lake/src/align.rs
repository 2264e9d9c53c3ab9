//! Pairs the states of two sequences that saw the same thing by two ways.
//!
//! The result is the longest chain of pairs that grows in both sequences; the states of a pair have equal keys and lie
//! within a window of time (the algorithm of Hunt and Szymanski for the longest common subsequence). Of chains of equal
//! length, the one whose differences of time are nearest to the usual difference at their place, in sum, is taken. So a
//! state that occurs again and again is paired with the one that fits the lag of its neighbours. Work: R log n for R
//! candidate pairs.

use std::collections::HashMap;

/// Consecutive unambiguous pairs; the median of their differences of time is the usual difference at their place.
const USUAL: usize = 256;

/// A state of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// What the state belongs to (a symbol). Only states of the same group are paired. A sequence is sorted by group.
    pub group: u32,
    /// Equal states have equal keys.
    pub key: u64,
    /// When it was first seen, ns. If a clock steps back, the latest time so far is used instead.
    pub time: i64,
    /// Whether it begins a span, so that it may be older than the time at which it was first seen. It may be paired with
    /// the state that the other sequence was in before the window.
    pub first: bool,
}

/// What may be paired.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Largest difference of time, ns.
    pub width: i64,
    /// Candidates of one state: those nearest to the usual difference of time. Bounds work and memory.
    pub nearest: usize,
}

/// The longest chain of pairs: place in `left`, place in `right`.
///
/// # Panics
/// If a sequence has 2^32 states.
#[must_use]
pub fn align(left: &[State], right: &[State], window: Window) -> Vec<(u32, u32)> {
    let mut pairs = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < left.len() && j < right.len() {
        let group = left[i].group.max(right[j].group);
        i += left[i..].partition_point(|state| state.group < group);
        j += right[j..].partition_point(|state| state.group < group);
        let one = &left[i..i + left[i..].partition_point(|state| state.group == group)];
        let other = &right[j..j + right[j..].partition_point(|state| state.group == group)];
        pairs.extend(Group::new(one, other, window).chain().into_iter().map(|(a, b)| (number(i) + a, number(j) + b)));
        i += one.len();
        j += other.len();
    }
    pairs
}

fn number(place: usize) -> u32 {
    u32::try_from(place).expect("fewer than 2^32 states")
}

/// A chain that ends with some pair. The longer, the better; then the nearer its differences of time to the usual ones.
#[derive(Debug, Clone, Copy, Default)]
struct Chain {
    length: u32,
    cost: u64,
    /// Its last pair, as a place in the list of all pairs that ended a chain.
    last: u32,
}

impl Chain {
    fn better(&self, other: &Self) -> bool {
        (self.length, other.cost) > (other.length, self.cost)
    }
}

/// The best chain that ends before a place of the right sequence (a Fenwick tree of maxima).
struct Best(Vec<Chain>);

impl Best {
    fn before(&self, mut place: usize) -> Chain {
        let mut best = Chain::default();
        while place > 0 {
            if self.0[place].better(&best) {
                best = self.0[place];
            }
            place &= place - 1;
        }
        best
    }

    fn at(&mut self, place: usize, chain: Chain) {
        let mut place = place + 1;
        while place < self.0.len() {
            if chain.better(&self.0[place]) {
                self.0[place] = chain;
            }
            place += place & place.wrapping_neg();
        }
    }
}

/// The states of one group.
struct Group<'a> {
    left: &'a [State],
    right: &'a [State],
    window: Window,
    left_times: Vec<i64>,
    right_times: Vec<i64>,
    /// Places of the right sequence, sorted by key, then by place; and where those of each key are.
    places: Vec<u32>,
    keys: HashMap<u64, (u32, u32)>,
    /// (left, right): for right states that begin a span, the state of the left sequence before the window. Sorted.
    before_first: Vec<(u32, u32)>,
}

fn ascending(states: &[State]) -> Vec<i64> {
    let mut latest = i64::MIN;
    let time = |state: &State| {
        latest = latest.max(state.time);
        latest
    };
    states.iter().map(time).collect()
}

/// The last place whose time is before the window of `time`.
fn last_before(times: &[i64], time: i64, window: Window) -> Option<usize> {
    times.partition_point(|t| *t < time.saturating_sub(window.width)).checked_sub(1)
}

impl<'a> Group<'a> {
    fn new(left: &'a [State], right: &'a [State], window: Window) -> Self {
        let (left_times, right_times) = (ascending(left), ascending(right));
        let mut places: Vec<u32> = (0..number(right.len())).collect();
        places.sort_by_key(|&place| right[place as usize].key);
        let mut keys = HashMap::new();
        let mut from = 0;
        while from < places.len() {
            let key = right[places[from] as usize].key;
            let length = places[from..].iter().take_while(|&&place| right[place as usize].key == key).count();
            keys.insert(key, (number(from), number(from + length)));
            from += length;
        }
        let before = |(j, state): (usize, &State)| {
            let i = last_before(&left_times, right_times[j], window)?;
            (state.first && left[i].key == state.key).then(|| (number(i), number(j)))
        };
        let mut before_first: Vec<_> = right.iter().enumerate().filter_map(before).collect();
        before_first.sort_unstable();
        Self { left, right, window, left_times, right_times, places, keys, before_first }
    }

    /// The right places of the key of left state `i` that lie in the window, ascending.
    fn within(&self, i: usize) -> &[u32] {
        let Some(&(from, to)) = self.keys.get(&self.left[i].key) else { return &[] };
        let places = &self.places[from as usize..to as usize];
        let time = self.left_times[i];
        let (first, last) = (time.saturating_sub(self.window.width), time.saturating_add(self.window.width));
        let from = places.partition_point(|&j| self.right_times[j as usize] < first);
        &places[from..from + places[from..].partition_point(|&j| self.right_times[j as usize] <= last)]
    }

    fn difference(&self, i: usize, j: usize) -> i64 {
        self.left_times[i].saturating_sub(self.right_times[j])
    }

    /// The usual difference of time from each left place on: the median of the unambiguous pairs around it.
    fn usual(&self) -> Vec<(usize, i64)> {
        let clear = |i| match self.within(i) {
            [j] => Some((i, self.difference(i, *j as usize))),
            _ => None,
        };
        let clear: Vec<_> = (0..self.left.len()).filter_map(clear).collect();
        let median = |pairs: &[(usize, i64)]| {
            let mut differences: Vec<_> = pairs.iter().map(|pair| pair.1).collect();
            let middle = differences.len() / 2;
            (pairs[0].0, *differences.select_nth_unstable(middle).1)
        };
        clear.chunks(USUAL).map(median).collect()
    }

    fn chain(&self) -> Vec<(u32, u32)> {
        let usual = self.usual();
        // Every pair that ended a chain: its places, and the pair before it.
        let mut ends: Vec<(u32, u32, u32)> = Vec::new();
        let mut best = Best(vec![Chain::default(); self.right.len() + 1]);
        let mut candidates = Vec::new();
        let mut before_first = self.before_first.iter().peekable();
        for i in 0..self.left.len() {
            let lag = match usual.partition_point(|(from, _)| *from <= i) {
                0 => usual.first().map_or(0, |first| first.1),
                after => usual[after - 1].1,
            };
            candidates.clear();
            let within = self.within(i);
            let mut from = within.partition_point(|&j| self.difference(i, j as usize) > lag);
            let mut to = from;
            while to - from < self.window.nearest.min(within.len()) {
                let distance = |place: usize| self.difference(i, within[place] as usize).abs_diff(lag);
                if to == within.len() || (from > 0 && distance(from - 1) <= distance(to)) {
                    from -= 1;
                } else {
                    to += 1;
                }
            }
            candidates.extend_from_slice(&within[from..to]);
            if self.left[i].first {
                let state = last_before(&self.right_times, self.left_times[i], self.window);
                candidates.extend(state.filter(|&j| self.right[j].key == self.left[i].key).map(number));
            }
            while let Some((_, j)) = before_first.next_if(|(at, _)| *at as usize == i) {
                candidates.push(*j);
            }
            candidates.sort_unstable();
            candidates.dedup();
            // The last place first: what is put there is not seen by those before it, and a state is in a chain once.
            for &j in candidates.iter().rev() {
                let before = best.before(j as usize);
                let cost = self.difference(i, j as usize).abs_diff(lag).min(self.window.width.unsigned_abs());
                let chain = Chain {
                    length: before.length + 1,
                    cost: before.cost.saturating_add(cost),
                    last: number(ends.len()),
                };
                ends.push((number(i), j, before.last));
                best.at(j as usize, chain);
            }
        }
        let mut end = best.before(self.right.len());
        let mut pairs = Vec::with_capacity(end.length as usize);
        while end.length > 0 {
            let (i, j, before) = ends[end.last as usize];
            pairs.push((i, j));
            end = Chain { length: end.length - 1, last: before, ..end };
        }
        pairs.reverse();
        pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    fn states(text: &str, step: i64, from: i64) -> Vec<State> {
        let state = |(n, key): (i64, u8)| State { group: 0, key: u64::from(key), time: from + n * step, first: false };
        (0..).zip(text.bytes()).map(state).collect()
    }

    fn window(milliseconds: i64) -> Window {
        Window { width: milliseconds * MS, nearest: 16 }
    }

    #[test]
    fn finds_the_longest_chain() {
        let pairs = align(&states("axbycz", MS, 0), &states("abcabz", MS, 0), window(1000));
        assert_eq!(pairs, [(0, 0), (2, 1), (4, 2), (5, 5)]);
    }

    #[test]
    fn pairs_what_fits_the_usual_difference_of_time() {
        // The left one is seen 3 ms later throughout; "a" comes every 2 ms, so three of the right may be meant.
        let text = "apaqarasatauavawaxayaz";
        let pairs = align(&states(text, MS, 3 * MS), &states(text, MS, 0), window(7));
        assert!(pairs.iter().all(|(i, j)| i == j) && pairs.len() == text.len());
        // The same where one of the right is missing: its neighbours do not move into its place.
        let mut right = states(text, MS, 0);
        right.remove(4);
        let pairs = align(&states(text, MS, 3 * MS), &right, window(7));
        assert!(pairs.iter().all(|&(i, j)| j == if i < 4 { i } else { i - 1 }), "{pairs:?}");
        assert_eq!(pairs.len(), right.len());
    }

    #[test]
    fn pairs_beyond_the_window_only_what_begins_a_span() {
        let mut left = states("a", MS, 500 * MS);
        let right = states("ab", 400 * MS, 0);
        assert!(align(&left, &right, window(10)).is_empty());
        left[0] = State { key: u64::from(b'b'), first: true, ..left[0] };
        assert_eq!(align(&left, &right, window(10)), [(0, 1)], "the right one has been in this state for 100 ms");
        left[0].key = u64::from(b'a');
        assert!(align(&left, &right, window(10)).is_empty(), "that one it has left");
        left[0] = State { first: false, ..states("b", MS, 0)[0] };
        let right = [State { first: true, ..states("b", MS, 900 * MS)[0] }];
        assert_eq!(align(&left, &right, window(10)), [(0, 0)], "and the other way round");
    }

    #[test]
    fn groups_are_apart() {
        let grouped = |group, text| states(text, MS, 0).into_iter().map(move |state| State { group, ..state });
        let left: Vec<_> = grouped(1, "ab").chain(grouped(3, "cd")).collect();
        let right: Vec<_> =
            grouped(0, "ab").chain(grouped(1, "b")).chain(grouped(2, "c")).chain(grouped(3, "d")).collect();
        assert_eq!(align(&left, &right, window(10)), [(1, 2), (3, 4)]);
    }
}
