//! Reconciliation against a model of an exchange: whatever was lost, and however late REST is, each order is known or listed.

use std::collections::BTreeMap;
use std::sync::Arc;

use krakpot_exchange::rng::Rng;
use krakpot_trade::amount::{Price, Qty};
use krakpot_trade::names::cl_ord_id;
use krakpot_trade::order::{Found, GRACE, Look, State};
use krakpot_trade::reconcile::{Ask, Options, Outcome, Own, Reconcile, Seen, Strangers, Trouble, unexplained};
use krakpot_trade::report::{Evidence, Fill};

const SECOND: i64 = 1_000_000_000;
const PREFIX: &str = "makerBTC";

fn fill(number: u64, nth: usize, qty: i64) -> Fill {
    Fill {
        exec_id: format!("T{number}-{nth}").into(),
        trade_id: None,
        counterparty: None,
        cost: None,
        qty: Qty(qty),
        price: Price(100),
        maker: true,
        fee: 0,
        evidence: Evidence::Exchange,
        doubt: false,
    }
}

/// An order as the exchange has it.
#[derive(Debug, Clone)]
struct Truth {
    number: u64,
    id: Arc<str>,
    name: Arc<str>,
    arrived: i64,
    fills: Vec<(i64, Fill)>,
    /// When it ended, and how.
    end: Option<(i64, State)>,
}

impl Truth {
    /// What it is at a time; `None`: it is not there yet.
    fn at(&self, ts: i64) -> Option<Found> {
        if self.arrived > ts {
            return None;
        }
        let filled = self.fills.iter().filter(|fill| fill.0 <= ts).map(|fill| fill.1.qty).sum();
        let state = self.end.filter(|end| end.0 <= ts).map_or(State::Open, |end| end.1);
        let (qty, price) = (Qty(100), Some(Price(100)));
        Some(Found { ts, order_id: self.id.clone(), state, qty, price, filled, fills: Vec::new(), reason: "".into() })
    }

    fn seen(&self, ts: i64) -> Option<Seen> {
        Some(Seen { name: Some(self.name.clone()), found: self.at(ts)? })
    }
}

struct World {
    orders: Vec<Truth>,
    lag: i64,
    /// Fills that a snapshot shows.
    shown: usize,
}

impl World {
    fn fills(&self, until: i64) -> Vec<(i64, Arc<str>, Fill)> {
        let all = self
            .orders
            .iter()
            .flat_map(|order| order.fills.iter().map(|fill| (fill.0, order.id.clone(), fill.1.clone())));
        let mut all: Vec<_> = all.filter(|fill| fill.0 <= until).collect();
        all.sort_by_key(|fill| fill.0);
        all
    }

    fn answer(&self, now: i64, ask: &Ask, reconcile: &mut Reconcile) {
        let shown = now - self.lag;
        match ask {
            Ask::Orders(ids) => {
                assert!(ids.len() <= 50);
                let rows =
                    self.orders.iter().filter(|order| ids.contains(&order.id)).filter_map(|order| order.seen(shown));
                reconcile.orders(now, ask, now, &rows.collect::<Vec<_>>());
            }
            Ask::Closed { names, from, to } => {
                let made = |order: &&Truth| *from < order.arrived && order.arrived <= *to;
                let of = self.orders.iter().filter(|order| names.contains(&order.name));
                let of = of.filter(made).filter_map(|order| order.seen(shown));
                let rows: Vec<Seen> = of.filter(|seen| seen.found.state != State::Open).collect();
                reconcile.orders(now, ask, now, &rows);
            }
            Ask::Trades(since) => {
                let fills = self.fills(shown).into_iter().filter(|fill| fill.0 > *since);
                reconcile.trades(now, ask, now, &fills.map(|(_, id, fill)| (id, fill)).collect::<Vec<_>>());
            }
        }
    }
}

/// A life of an order that was sent, and what the account knows of it after the cut.
fn script(number: u64, cut: i64, rng: &mut Rng) -> (Option<Truth>, Own) {
    let mut random = |below: usize| i64::try_from(rng.below(below)).expect("small");
    let name: Arc<str> = cl_ord_id(PREFIX, number).expect("a name").into();
    let id: Arc<str> = format!("O{number}").into();
    let sent = cut - random(20_000) * SECOND / 1000;
    let deadline = sent + 5 * SECOND;
    let mut own = Own {
        number,
        name: name.clone(),
        order_id: None,
        deadline,
        sent,
        filled: Qty::ZERO,
        fills: Vec::new(),
        last_fill: None,
    };
    if random(4) == 0 {
        // It never came to the exchange.
        return (None, own);
    }
    let way = if random(5) == 0 { 5000 } else { 50 };
    let arrived = sent + random(way) * SECOND / 1000;
    let mut truth = Truth { number, id: id.clone(), name, arrived, fills: Vec::new(), end: None };
    let (mut ts, mut left) = (arrived, 100);
    for nth in 0..usize::try_from(random(5)).expect("small") {
        ts += random(8000) * SECOND / 1000;
        let qty = (1 + random(60)).min(left);
        left -= qty;
        if qty > 0 {
            truth.fills.push((ts, fill(number, nth, qty)));
        }
    }
    truth.end = match random(3) {
        _ if left == 0 => Some((ts, State::Filled)),
        0 => Some((ts + random(9000) * SECOND / 1000, [State::Canceled, State::Expired][usize::from(random(2) == 0)])),
        _ => None,
    };
    // Nothing changes by itself long after the cut: what the socket reports then goes to the account directly.
    truth.fills.retain(|fill| fill.0 <= cut + 2 * SECOND);
    truth.end = truth.end.filter(|end| end.0 <= cut + 2 * SECOND);
    // The account heard of some of it before the cut, in order.
    let heard = arrived.max(cut - random(15_000) * SECOND / 1000).min(cut);
    if arrived <= heard && random(3) > 0 {
        own.order_id = Some(id);
        for (at, fill) in truth.fills.iter().filter(|fill| fill.0 <= heard) {
            own.filled += fill.qty;
            own.fills.push(fill.id());
            own.last_fill = Some(*at);
        }
    }
    (Some(truth), own)
}

/// Goal: over 4000 cuts, with REST up to a minute late and answers that fail, every order is what it truly is, none that
/// exists is believed dead, and all is known after 90 seconds at most.
#[test]
fn every_order_is_known() {
    let (mut seen, mut late, mut longest) = (BTreeMap::<&str, usize>::new(), 0, 0);
    for seed in 0..4000 {
        let mut rng = Rng::new(seed);
        let cut = 1_800_000_000 * SECOND;
        let begun = cut + 2 * SECOND;
        let count = 1 + rng.below(12) as u64;
        let scripts: Vec<(Option<Truth>, Own)> = (1..=count).map(|number| script(number, cut, &mut rng)).collect();
        let own: Vec<Own> = scripts.iter().map(|script| script.1.clone()).collect();
        let lag = [0, 5, 60][rng.below(3)] * SECOND;
        let world =
            World { orders: scripts.into_iter().filter_map(|script| script.0).collect(), lag, shown: 1 + rng.below(8) };
        let mut reconcile = Reconcile::new(begun, own.clone(), Options::new(PREFIX));
        assert!(reconcile.take_asks(begun).is_empty(), "the snapshot comes first");
        let open =
            world.orders.iter().filter_map(|order| order.seen(begun)).filter(|seen| seen.found.state == State::Open);
        let fills = world.fills(begun);
        let last = fills[fills.len().saturating_sub(world.shown)..].iter().map(|fill| (fill.1.clone(), fill.2.clone()));
        reconcile.snapshot(begun, open.collect(), &last.collect::<Vec<_>>());
        let mut looks = BTreeMap::new();
        let mut arriving: Vec<&Truth> = world.orders.iter().filter(|order| order.arrived > begun).collect();
        let mut heard = Vec::new();
        let (mut now, mut rounds) = (begun, 0);
        let outcome = loop {
            for truth in arriving.extract_if(.., |truth| truth.arrived <= now) {
                reconcile.heard(truth.number);
                heard.push(truth.number);
            }
            for ask in reconcile.take_asks(now) {
                if rng.below(6) == 0 {
                    reconcile.unanswered(now, &ask);
                } else {
                    world.answer(now, &ask, &mut reconcile);
                }
            }
            for (number, look) in reconcile.take_looks() {
                assert_eq!(looks.insert(number, look), None, "one look is enough");
            }
            if let Some(outcome) = reconcile.outcome(now) {
                break outcome;
            }
            let arrives = arriving.iter().map(|truth| truth.arrived).min().unwrap_or(i64::MAX);
            let next = reconcile.next_due().min(arrives);
            rounds += 1;
            assert!(next >= now && rounds < 100, "it goes on: seed {seed}");
            now = next;
        };
        assert_eq!(outcome.troubles, [], "seed {seed}");
        longest = longest.max(now - begun);
        late += usize::from(lag == 60 * SECOND);
        for one in &own {
            let truth = world.orders.iter().find(|order| order.number == one.number);
            match (looks.get(&one.number), truth) {
                (Some(Look::NotFound { ts }), None) => {
                    assert!(*ts >= one.deadline + GRACE, "Kraken would not match it any more");
                    *seen.entry("dead").or_default() += 1;
                }
                (Some(Look::Found(found)), Some(truth)) => {
                    let expected = truth.at(begun).expect("it is there");
                    assert_eq!(
                        (found.state, found.filled),
                        (expected.state, expected.filled),
                        "seed {seed}: {truth:?}"
                    );
                    let new: Qty = found.fills.iter().map(|fill| fill.qty).sum();
                    assert_eq!(one.filled + new, found.filled, "every fill is known, once");
                    *seen.entry(found.state.word()).or_default() += 1;
                }
                (None, Some(truth)) => {
                    assert!(heard.contains(&truth.number), "the socket reported it");
                    *seen.entry("heard").or_default() += 1;
                }
                other => panic!("seed {seed}: {other:?}"),
            }
        }
        assert_eq!(outcome.found + outcome.dead, own.len());
    }
    assert!(late > 1000 && longest <= 90 * SECOND, "{late} {} s", longest / SECOND);
    for state in ["dead", "open", "filled", "canceled", "expired", "heard"] {
        assert!(seen.get(state).copied().unwrap_or(0) > 100, "{state}: {seen:?}");
    }
}

fn open(id: &str, name: Option<&str>) -> Seen {
    let name = name.map(Arc::from);
    let found = Found {
        ts: 0,
        order_id: id.into(),
        state: State::Open,
        qty: Qty(5),
        price: Some(Price(1)),
        filled: Qty::ZERO,
        fills: Vec::new(),
        reason: "".into(),
    };
    Seen { name, found }
}

fn own(number: u64, order_id: Option<&str>) -> Own {
    Own {
        number,
        name: cl_ord_id(PREFIX, number).expect("a name").into(),
        order_id: order_id.map(Arc::from),
        deadline: 0,
        sent: 0,
        filled: Qty::ZERO,
        fills: Vec::new(),
        last_fill: None,
    }
}

/// Goal: orders of other programs are told and left alone; those under our names are adopted if that is wanted, and fail it
/// otherwise.
#[test]
fn strangers() {
    let name = cl_ord_id(PREFIX, 77).expect("a name");
    for adopt in [Strangers::Report, Strangers::Adopt] {
        let options = Options { strangers: adopt, ..Options::new(PREFIX) };
        let mut reconcile = Reconcile::new(0, Vec::new(), options);
        assert_eq!(reconcile.outcome(0), None, "no snapshot yet");
        let rows = vec![
            open("OA", None),
            open("OB", Some("other-program-1")),
            open("OC", Some(&name)),
            open("OD", Some("makerBTC?")),
        ];
        reconcile.snapshot(0, rows, &[("OC".into(), fill(77, 0, 1))]);
        let Outcome { troubles, adopted, foreign, .. } = reconcile.outcome(0).expect("nothing is in doubt");
        assert_eq!(foreign, ["OA".into(), "OB".into()]);
        let odd = Trouble::Stranger("makerBTC?".into(), "OD".into());
        if adopt == Strangers::Adopt {
            assert_eq!((adopted[0].0, adopted[0].1.found.fills.len(), troubles), (77, 1, vec![odd]));
        } else {
            assert_eq!(troubles, [Trouble::Stranger(name.as_str().into(), "OC".into()), odd]);
            assert!(troubles[0].to_string().contains("not in the journal"));
        }
    }
}

/// Goal: what cannot be known within the limit is listed with its reason; nothing is invented.
#[test]
fn what_does_not_agree() {
    let limit = Options::new(PREFIX).limit;
    let mut silent = Reconcile::new(0, vec![own(1, None)], Options::new(PREFIX));
    assert_eq!(silent.next_due(), limit);
    assert_eq!(silent.outcome(limit).expect("over").troubles, [Trouble::Silent, Trouble::Lost(1)]);
    silent.heard(9);
    let mut reconcile =
        Reconcile::new(0, vec![own(1, Some("O1")), own(2, Some("O2")), own(3, Some("O3"))], Options::new(PREFIX));
    reconcile.snapshot(0, Vec::new(), &[]);
    let (mut now, mut times) = (0, Vec::new());
    let outcome = loop {
        for ask in reconcile.take_asks(now) {
            match ask {
                Ask::Orders(_) => {
                    times.push(now / SECOND);
                    let ended = |seen: Seen| Seen {
                        found: Found { state: State::Filled, filled: Qty(5), ..seen.found },
                        ..seen
                    };
                    reconcile.orders(now, &ask, now, &[open("O1", None), ended(open("O3", None))]);
                }
                Ask::Trades(since) => {
                    assert_eq!(since, -60 * SECOND);
                    reconcile.trades(now, &ask, now, &[("O3".into(), fill(3, 0, 2)), ("O9".into(), fill(3, 1, 3))]);
                }
                Ask::Closed { names, .. } => panic!("{names:?} have ids"),
            }
        }
        if let Some(outcome) = reconcile.outcome(now) {
            break outcome;
        }
        now = reconcile.next_due();
    };
    assert_eq!(now, limit);
    assert_eq!(times, [0, 1, 3, 8, 23, 53, 65], "at growing pauses, and when REST must have caught up");
    assert_eq!(outcome.troubles, [Trouble::Open(1), Trouble::Lost(2), Trouble::Fills(3, Qty(3))]);
    assert!(reconcile.take_looks().is_empty());
}

/// Goal: balances differ or not, to the last digit, also where one side does not know the asset.
#[test]
fn balances() {
    let of = |rows: &[(&str, i128)]| rows.iter().map(|row| (Arc::from(row.0), row.1)).collect::<BTreeMap<_, _>>();
    let known = of(&[("BTC", 5), ("USD", 7), ("EUR", 0)]);
    assert!(unexplained(&known, &of(&[("BTC", 5), ("USD", 7)])).is_empty());
    let found = unexplained(&known, &of(&[("BTC", 5), ("USD", 8), ("ETH", 1)]));
    let rows: Vec<(&str, i128, i128)> = found.iter().map(|one| (&*one.asset, one.expected, one.found)).collect();
    assert_eq!(rows, [("ETH", 0, 1), ("USD", 7, 8)]);
}

/// Goal: many orders without an id are looked for with one question, that names a time in which all of them were made if they
/// were; those of another time are another question. What is not shown is asked again together.
#[test]
fn orders_without_an_id_are_looked_for_together() {
    let at = 1_000_000 * SECOND;
    let own = |number: u64, sent: i64| Own {
        number,
        name: cl_ord_id(PREFIX, number).expect("a name").into(),
        order_id: None,
        deadline: sent + 5 * SECOND,
        sent,
        filled: Qty::ZERO,
        fills: Vec::new(),
        last_fill: None,
    };
    let mut all: Vec<Own> =
        (0..200).map(|number| own(number, at - 20 * SECOND + SECOND / 10 * number.cast_signed())).collect();
    all.extend([own(900, at - 3600 * SECOND), own(901, at - 3590 * SECOND)]);
    let mut reconcile = Reconcile::new(at, all, Options::new(PREFIX));
    reconcile.snapshot(at, Vec::new(), &[]);
    let asks = reconcile.take_asks(at);
    let facts = |ask: &Ask| {
        let Ask::Closed { names, from, to } = ask else { panic!("{ask:?}") };
        (names.len(), (*from - at) / SECOND, (*to - at) / SECOND)
    };
    assert_eq!(asks.iter().map(facts).collect::<Vec<_>>(), [(2, -3660, -3580), (200, -80, 9)]);
    let late = at + 100 * SECOND;
    for (ask, asked) in asks.iter().zip([65, 50]) {
        reconcile.orders(late, ask, at + asked * SECOND, &[]);
    }
    let dead: Vec<u64> = reconcile.take_looks().iter().map(|look| look.0).collect();
    assert_eq!(dead, [900, 901], "the others may still come");
    assert_eq!(reconcile.take_asks(late).iter().map(facts).collect::<Vec<_>>(), [(200, -80, 9)]);
}
