//! The rate counter against that of the built-in exchange, which was written independently.

mod common;

use common::{ONE, Random, SECOND, limit, pair, reported};
use krakpot_exchange::rate as exchange;
use krakpot_trade::amount::{Price, Qty};
use krakpot_trade::rate::{Cost, RateCounter, Tier};
use krakpot_trade::report::Change;
use krakpot_trade::terms::{Request, Side};
use krakpot_trade::trader::{Options, Trader};

const HOUR: i64 = 3600 * SECOND;
const NEAR: f64 = 1e-9;

/// The exchange's tier of the same name, with the same numbers.
fn other(tier: Tier) -> exchange::Tier {
    let found = exchange::TIERS.into_iter().find(|other| other.name == tier.name).expect("both have it");
    assert_eq!((found.limit, found.orders), (tier.limit, tier.open_orders));
    assert!((found.decay - f64::from(tier.decay) / 100.0).abs() < NEAR);
    found
}

/// Goal: over an hour of random requests, refused ones included, both counters have the same value after each request
/// and refuse the same ones.
#[test]
fn an_hour_of_random_requests() {
    for (seed, tier) in (0..).zip([Tier::STARTER, Tier::INTERMEDIATE, Tier::PRO].into_iter().cycle().take(30)) {
        let (mut random, theirs) = (Random(seed), other(tier));
        let (mut ours, mut their) = (RateCounter::new(tier), exchange::RateCounter::default());
        let (mut now, mut requests, mut refused) = (0, 0, 0);
        // Storms and lulls, so that the counter is at its limit as well as at 0.
        let pause = [400_000_000, 2 * SECOND, 20 * SECOND];
        while now < HOUR {
            now += random.between(0, pause[usize::try_from(now / (60 * SECOND) % 3).expect("small")]);
            let oldest = if random.one_in(2) { 20 } else { 400 };
            let age = random.between(0, oldest) * SECOND + random.between(-1, 1);
            let (cost, fixed, more) = match random.below(4) {
                0 | 1 => (Cost::ADD, exchange::FIXED, 0.0),
                2 => (Cost::amend(age), exchange::FIXED, exchange::amend(age)),
                _ => (Cost::cancel(age), 0.0, exchange::cancel(age)),
            };
            assert!((cost.counts() - fixed - more).abs() < NEAR, "seed {seed}, age {age}");
            requests += 1;
            let sum = their.now(now, &theirs) + fixed + more;
            let exceeded = their.exceeded(fixed + more, now, &theirs, false);
            // Where it is a matter of the last digits of a float, the exact one is right.
            let close = (sum - f64::from(tier.limit)).abs() < NEAR;
            let fits = ours.fits(cost, now);
            assert!(close || fits.is_ok() != exceeded, "seed {seed} at {now}: {sum} of {}", tier.limit);
            if let Err(at) = fits {
                refused += 1;
                assert!(at > now && ours.fits(cost, at).is_ok() && ours.fits(cost, at - 1).is_err());
                ours.add_refused(cost, now);
                their.add(fixed);
            } else {
                ours.add(cost, now);
                their.add(fixed + more);
            }
            let (used, theirs) = (ours.used(now), their.now(now, &theirs));
            assert!((used - theirs).abs() < NEAR, "seed {seed} at {now}: {used}, {theirs}");
        }
        assert!(requests > 500 && refused > 20, "seed {seed}: {refused} of {requests} were refused");
    }
}

/// Goal: the counter that a trader shows is that of the exchange that gets its requests, over an hour of orders that
/// are made, amended and cancelled.
#[test]
fn a_trader_counts_as_the_exchange() {
    for seed in 0..10 {
        let (mut random, tier) = (Random(seed), Tier::INTERMEDIATE);
        let (theirs, mut their) = (other(tier), exchange::RateCounter::default());
        let mut trader = Trader::new(Options { tier, ..Options::default() });
        trader.set_pair(pair("BTC", "USD"));
        trader.trust(0, true);
        trader.deposit("USD", 1_000_000_000 * ONE);
        // When the exchange made or last amended each order.
        let mut since = std::collections::BTreeMap::new();
        let (mut now, mut counted, mut costs) = (0, [0; 3], 0);
        while now < HOUR {
            now += random.between(0, 3 * SECOND);
            let live: Vec<u64> = trader.orders(0, None).map(|order| order.number).collect();
            match (random.below(3), random.pick(&live)) {
                (1, Some(&order)) => {
                    trader.amend(now, order, Some(Qty(random.between(10_000, 20_000))), None);
                }
                (2, Some(&order)) => trader.cancel(now, order),
                _ => {
                    trader.place(now, limit(Side::Buy, 10_000, 500_000), 5 * SECOND, "".into());
                }
            }
            for sent in trader.take_requests() {
                let (order, cost, change) = match sent.request {
                    Request::Add { order, .. } => (order, exchange::FIXED, Change::New),
                    Request::Amend { order, qty, .. } => {
                        let cost = exchange::FIXED + exchange::amend(now - since[&order]);
                        let price = Some(Price(500_000));
                        (order, cost, Change::Amended { qty: qty.expect("given"), price, restated: false })
                    }
                    Request::Cancel { order } => (order, exchange::cancel(now - since[&order]), Change::Canceled),
                };
                their.now(now, &theirs);
                their.add(cost);
                costs += usize::from(cost > exchange::FIXED);
                let kind = match change {
                    Change::New => 0,
                    Change::Canceled => 2,
                    _ => 1,
                };
                counted[kind] += 1;
                since.insert(order, now);
                let known = trader.reply(now, reported(order, now, change, Some(0)));
                assert_eq!(known, Ok(()));
            }
            let (used, limit) = trader.rate(0, now);
            let value = their.now(now, &theirs);
            assert!((used - value).abs() < NEAR && limit == 125, "seed {seed} at {now}: {used}, {value}");
        }
        assert!(counted.iter().all(|count| *count > 100) && costs > 100, "seed {seed}: {counted:?}, {costs}");
    }
}
