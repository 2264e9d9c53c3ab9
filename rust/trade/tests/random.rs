//! Random scripts: nothing panics, no order gets more than it asked for, and how often time is advanced changes nothing.

mod told;

use std::cell::Cell;
use std::collections::HashMap;

use krakpot_core::session::{LevelEntry, OrderChange};
use krakpot_core::wire::message::{self, Kind, OrderEvent, OwnedOrderId};
use krakpot_trade::amount::{Price, Qty};
use krakpot_trade::paper::{AmendUp, Cancels, Gaps, Latency, Model, Options, Paper, Together};
use krakpot_trade::report::{Change, Reply};
use krakpot_trade::terms::{Request, Sent, Side, Terms, TimeInForce, Trigger};
use told::pair;

/// xorshift64*: the same everywhere.
struct Random(Cell<u64>);

impl Random {
    fn new(seed: u64) -> Self {
        Self(Cell::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1))
    }

    fn below(&self, n: u64) -> u64 {
        let mut state = self.0.get();
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.0.set(state);
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }

    fn small(&self, n: i64) -> i64 {
        i64::try_from(self.below(n.unsigned_abs())).expect("small")
    }

    fn of<T: Copy>(&self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).expect("small")]
    }

    /// Mostly `usual`; sometimes a number at the edge of what there is.
    fn wild(&self, usual: i64, is_wild: bool) -> i64 {
        const EDGES: [i64; 8] = [i64::MIN, i64::MAX, 0, -1, 1, 1 << 56, (1 << 56) + 1, i64::MIN + 1];
        if is_wild && self.below(8) == 0 { self.of(&EDGES) } else { usual }
    }

    fn side(&self) -> Side {
        if self.below(2) == 0 { Side::Buy } else { Side::Sell }
    }
}

fn options(random: &Random) -> Options {
    let models = [Model::Orders, Model::Orders, Model::Bounds(Cancels::Ahead), Model::Bounds(Cancels::Behind)];
    let latencies =
        [Latency::Fixed { entry: 1000, response: 2000 }, Latency::Fixed { entry: 0, response: 0 }, Latency::Recorded];
    Options {
        model: random.of(&models),
        amend_up: random.of(&[AmendUp::Lose, AmendUp::Keep]),
        latency: random.of(&latencies),
        join: random.small(3) * 2000,
        gaps: random.of(&[Gaps::Time, Gaps::Worst, Gaps::Cancel]),
        together: random.of(&[Together::Share, Together::Alone]),
        depth: random.of(&[2, 5, 1000]),
        ..Options::default()
    }
}

fn request(random: &Random, now: i64, next: &mut u64, is_wild: bool) -> Request {
    let known = random.below(*next + 1);
    match random.below(5) {
        0..=2 => {
            let order = if is_wild && random.below(20) == 0 { known } else { *next };
            *next += 1;
            let (qty, price) = (1 + random.small(9), 95 + random.small(10));
            let kinds =
                [TimeInForce::Gtc, TimeInForce::Gtc, TimeInForce::Ioc, TimeInForce::Fok, TimeInForce::Gtd(now + 9000)];
            let trigger =
                Trigger { price: Price(random.wild(95 + random.small(10), is_wild)), stop: random.below(2) == 0 };
            let terms = Terms {
                pair: if is_wild && random.below(50) == 0 { 7 } else { 0 },
                side: random.side(),
                qty: Qty(random.wild(qty, is_wild)),
                price: (random.below(8) > 0).then(|| Price(random.wild(price, is_wild))),
                time_in_force: random.of(&kinds),
                post_only: random.below(5) == 0,
                display: (random.below(4) == 0).then(|| Qty(random.wild(1 + random.small(3), is_wild))),
                trigger: (random.below(6) == 0).then_some(trigger),
            };
            Request::Add { order, terms, deadline: random.wild(i64::MAX, is_wild) }
        }
        3 => {
            let qty = (random.below(3) > 0).then(|| Qty(random.wild(1 + random.small(9), is_wild)));
            let price = (random.below(3) == 0).then(|| Price(random.wild(95 + random.small(10), is_wild)));
            Request::Amend { order: known, qty, price, deadline: random.wild(i64::MAX, is_wild) }
        }
        _ => Request::Cancel { order: known },
    }
}

/// What accounts hear of a random script; `often`: time is advanced between its steps.
fn run(seed: u64, is_wild: bool, often: bool) -> Vec<(usize, i64, Reply)> {
    let random = Random::new(seed);
    let other = Random::new(seed + 1);
    let options = options(&random);
    let mut paper = Paper::new(options);
    assert_eq!((paper.set_pair(pair()), paper.add_account(), paper.add_account()), (Some(0), Some(0), Some(1)));
    let (mut now, mut trade_id, mut next) = (10_000_i64, 0, 0);
    let mut heard = Vec::new();
    for step in 0..120 {
        now += random.small(4) * 500;
        if often {
            paper.advance(now - 1 - other.small(1000));
            heard.extend(paper.take_replies());
        }
        let ts = random.wild(now - random.small(4) * 500, is_wild);
        let recv = if is_wild && random.below(30) == 0 { random.wild(now, true).min(now) } else { now };
        match random.below(12) {
            0..=4 => {
                let rows = 1 + random.small(4);
                let kind = if step == 0 || random.below(25) == 0 { Kind::Snapshot } else { Kind::Update };
                let mut orders = Vec::new();
                let mut levels = Vec::new();
                for _ in 0..rows {
                    let (is_bid, id) = (random.below(2) == 0, random.below(20));
                    let price = if is_bid { 100 - random.small(6) } else { 101 + random.small(6) };
                    let side = if is_bid { message::Side::Bid } else { message::Side::Ask };
                    let price = i128::from(random.wild(price, is_wild)) * 10_i128.pow(10);
                    let qty = i128::from(random.wild(random.small(7), is_wild)) * 10_i128.pow(10);
                    let event = random.of(&[OrderEvent::Add, OrderEvent::Modify, OrderEvent::Delete]);
                    let timestamp = random.wild(ts, is_wild);
                    orders.push(OrderChange {
                        side,
                        event: Some(event),
                        id: OwnedOrderId::new(&id.to_string()),
                        price,
                        qty,
                        timestamp,
                    });
                    levels.push(LevelEntry { side, price, qty });
                }
                match options.model {
                    Model::Orders => paper.level3(0, recv, Some(ts), kind, &orders),
                    Model::Bounds(_) => paper.level2(0, recv, Some(ts), kind, &levels),
                }
            }
            5..=7 => {
                trade_id += 1;
                let (price, qty) = (98 + random.small(6), 1 + random.small(6));
                let (price, qty) = (random.wild(price, is_wild), random.wild(qty, is_wild));
                paper.trade(0, recv, ts, random.side(), Price(price), Qty(qty), trade_id);
            }
            8 if random.below(8) == 0 => paper.gap(0, recv),
            _ => {
                let request = request(&random, now, &mut next, is_wild);
                let account = usize::try_from(random.below(2)).expect("small");
                paper.send(account, Sent { ts: random.wild(now, is_wild), request });
            }
        }
        let _ = (paper.place(0, next), paper.next_due(), paper.attribution(0), paper.skipped(0));
    }
    paper.advance(i64::MAX);
    heard.extend(paper.take_replies());
    heard
}

/// Goal: numbers and times at the edge of what there is do no harm; what is filled is never more than what was asked for.
#[test]
fn nothing_panics_and_nothing_is_filled_twice() {
    let mut fills = 0;
    for seed in 0..1200 {
        let mut filled: HashMap<(usize, u64), (i64, i64)> = HashMap::new();
        for (account, _, reply) in run(seed, seed % 2 == 0, false) {
            let Reply::Report(report) = reply else { continue };
            let state = filled.entry((account, report.order)).or_insert((0, 0));
            match report.change {
                Change::Fill(fill) => {
                    assert!(fill.qty.is_positive());
                    state.0 += fill.qty.0;
                    fills += 1;
                    assert_eq!(report.filled, Some(Qty(state.0)), "seed {seed}");
                }
                Change::Filled | Change::Canceled | Change::Expired => {
                    state.1 += 1;
                    assert_eq!(state.1, 1, "seed {seed}: order {} ended twice", report.order);
                    filled.remove(&(account, report.order));
                }
                _ => {}
            }
        }
    }
    assert!(fills > 1000, "only {fills} fills");
}

/// Goal: what is heard, and when, does not depend on how often time is advanced.
#[test]
fn time_can_be_advanced_in_any_steps() {
    let mut replies = 0;
    for seed in 0..600 {
        let (once, often) = (run(seed, false, false), run(seed, false, true));
        let differs = once.iter().zip(&often).find(|(one, other)| one != other);
        assert!(once == often, "seed {seed}: {differs:?}");
        replies += once.len();
    }
    assert!(replies > 5000, "only {replies} replies");
}
