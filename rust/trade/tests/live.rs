//! An account at the built-in exchange, in virtual time: in ordinary life, with faults, and killed at every point.

#![allow(clippy::print_stdout, reason = "it says what it found")]

mod client;
mod common;
#[path = "../../exchange/tests/common/mod.rs"]
mod frames;

use std::collections::BTreeMap;

use client::journal::{State, amount, fact, text};
use client::{Client, PATIENCE, PREFIX, Point, Program, World};
use common::{ONE, Random, SECOND};
use frames::{MS, START};
use krakpot_trade::amount::{Price, Qty};
use krakpot_trade::live::{Earlier, Options, Phase};
use krakpot_trade::note::Fact;
use krakpot_trade::order::{GRACE, State as OrderState};
use krakpot_trade::reconcile::Strangers;
use krakpot_trade::run::Gap;
use krakpot_trade::terms::{Side, Terms};

/// Goal: it connects, trades, loses its connection and goes on, and ends: own orders, fills and balances are the
/// exchange's, and the journal explains them to the last digit.
#[test]
fn ordinary_life() {
    let (mut orders, mut fills) = (0, 0);
    for seed in 0..20 {
        let mut program = Program::new(seed);
        program.ready();
        for pause in [SECOND / 10, 3 * SECOND, 20 * SECOND] {
            program.trades = true;
            assert!(program.go(20 * SECOND));
            program.hang_up(pause);
            assert!(program.go(pause / 2));
            program.ready();
        }
        assert_eq!(program.client.renewals, Vec::<String>::new(), "seed {seed}");
        // Each gap begins and heals once: before the first connection, and for each that was lost.
        let healed: Vec<bool> = program.client.gaps.iter().map(|gap| gap.healed).collect();
        assert_eq!(healed, [false, true].repeat(4), "{:?}", program.client.gaps);
        assert!(program.client.gaps.iter().all(|gap| gap.of == "account"));
        program.finish();
        let (some, more) = program.verify();
        (orders, fills) = (orders + some, fills + more);
    }
    println!("{orders} orders, {fills} fills");
    assert!(orders > 1000 && fills > 500, "{orders} {fills}");
}

/// What can go wrong, as the exchange is asked for it.
const FAULTS: [&str; 10] = [
    "late_ack=0.4,by=3s",
    "lost_ack=0.3",
    "lost_request=0.3",
    "duplicate_report=0.4",
    "report_before_ack=0.6",
    "sequence_gap=0.04",
    "rest_lag,by=60s",
    "token_refused=0.2",
    "nonce=0.3",
    "lockout=once,by=10s",
];

/// Seeds of each cell of the crash matrix: a few, or with `KRAKPOT_TEST=all` fifty, or five without optimisation.
#[allow(clippy::disallowed_methods, reason = "a test may ask how much it is to do")]
fn seeds() -> u64 {
    let all = std::env::var("KRAKPOT_TEST").is_ok_and(|value| value == "all");
    match (all, cfg!(debug_assertions)) {
        (true, false) => 50,
        (true, true) => 5,
        (false, false) => 2,
        (false, true) => 1,
    }
}

/// One cell: the program is killed there, begins anew from its journal, and goes on while the fault does. Whether the moment
/// came.
fn crash(point: Point, fault: &str, seed: u64) -> (Program, bool) {
    let mut program = Program::new(seed);
    // The clocks differ, by less than is allowed.
    program.world.offset = [0, 150 * MS, -150 * MS][(seed % 3) as usize];
    program.ready();
    program.reconciled.clear();
    program.world.lock = 10 * SECOND;
    program.world.exchange.inject(fault).expect("a fault");
    if seed % 2 == 1 && !fault.starts_with("rest_lag") {
        program.world.exchange.inject("rest_lag,by=60s").expect("a fault");
    }
    program.trades = true;
    program.kill = Some((point, 3 + seed % 7));
    // Where the moment never comes, as that of a lost answer, it is killed some time later.
    let reached = !program.go(20 * SECOND);
    let pause = [SECOND / 20, SECOND, 10 * SECOND][(seed % 3) as usize];
    program.begin(pause);
    program.until("ready again", 200 * SECOND, |one| one.phase() == Phase::Ready);
    program.trades = true;
    program.go(4 * SECOND);
    program.finish();
    (program, reached)
}

/// What the cells of the matrix found, in all.
#[derive(Debug, Default)]
struct Found {
    cells: usize,
    reached: usize,
    orders: usize,
    fills: usize,
    renewals: usize,
    longest: i64,
}

fn crashes(point: Point) -> Found {
    let mut all = Found::default();
    for fault in FAULTS {
        for seed in 0..seeds() {
            let cell = format!("{point:?} {fault} seed {seed}");
            let ran = std::panic::catch_unwind(|| {
                let (program, reached) = crash(point, fault, seed);
                (program.verify(), program.reconciled.clone(), program.renewals, reached)
            });
            let ((orders, fills), reconciled, renewals, reached) = ran.unwrap_or_else(|_| panic!("{cell}"));
            let most = reconciled.into_iter().max().expect("it was reconciled");
            assert!(most <= 90 * SECOND, "{cell}: {} s", most / SECOND);
            (all.cells, all.reached) = (all.cells + 1, all.reached + usize::from(reached));
            (all.orders, all.fills) = (all.orders + orders, all.fills + fills);
            (all.renewals, all.longest) = (all.renewals + renewals, all.longest.max(most));
        }
    }
    all
}

/// Goal: killed at any moment, with any fault: no order is doubled, none is lost, balances are explained to the last digit,
/// and all is known within 90 seconds although REST is a minute late.
#[test]
#[allow(clippy::disallowed_methods, reason = "the test decides what runs beside what")]
fn killed_at_every_point() {
    let found = std::thread::scope(|scope| {
        let threads = Point::ALL.map(|point| scope.spawn(move || crashes(point)));
        threads.map(|thread| thread.join().expect("no order is doubled or lost, and balances are explained"))
    });
    let sum = |of: fn(&Found) -> usize| found.iter().map(of).sum::<usize>();
    let (cells, reached) = (sum(|one| one.cells), sum(|one| one.reached));
    let (orders, fills, renewals) = (sum(|one| one.orders), sum(|one| one.fills), sum(|one| one.renewals));
    let longest = found.iter().map(|one| one.longest).max().unwrap_or(0) / MS;
    println!(
        "{cells} kills, {reached} of them at the point, {orders} orders (doubled 0, lost 0), {fills} fills (unexplained 0), \
         {renewals} renewals, longest reconciliation {longest} ms"
    );
    assert!(reached > cells * 8 / 10 && orders > 5 * cells && fills > cells && renewals > cells / 4);
}

fn program(seed: u64) -> Program {
    let mut program = Program::new(seed);
    program.ready();
    program
}

/// Goal: without a connection no new risk is taken; cancels are kept, and sent when there is one again.
#[test]
fn while_it_is_down() {
    let mut program = program(1);
    let (kept, cancelled) = (program.place(Side::Buy, 500_000, 900), program.place(Side::Sell, 500_000, 900));
    program.go(SECOND);
    program.hang_up(10 * SECOND);
    program.client.heard.clear();
    let refused = program.place(Side::Buy, 500_000, 900);
    let reason = &program.client.heard.last().expect("it is told").reason;
    assert!(reason.starts_with("krakpot:account: the private connection is down"), "{reason}");
    program.client.run.amend(0, kept, None, Some(Price(1)));
    for _ in 0..3 {
        program.client.run.cancel(0, cancelled);
        program.go(6 * SECOND / 3);
    }
    assert_eq!(program.truth(cancelled).as_deref(), Some("open"));
    program.ready();
    program.go(SECOND);
    assert_eq!(program.truth(cancelled).as_deref(), Some("canceled"));
    assert_eq!((program.truth(kept).as_deref(), program.truth(refused)), (Some("open"), None));
    assert_eq!(program.order(kept).state(), OrderState::Open);
    program.finish();
    program.verify();
}

/// Goal: a request that is lost ends as dead: not before it could not come any more, and REST, a minute late, shows that
/// it did not. Other orders are traded meanwhile.
#[test]
fn a_lost_order() {
    let mut program = program(2);
    program.world.exchange.inject("rest_lag,by=60s").expect("a fault");
    program.world.exchange.inject("lost_request=once").expect("a fault");
    let lost = program.place(Side::Buy, 500_000, 900);
    let deadline = program.world.now + PATIENCE;
    program.until("unknown", 6 * SECOND, |one| one.order(lost).state() == OrderState::Unknown);
    program.trades = true;
    while program.order(lost).state() == OrderState::Unknown {
        assert!(program.step() && program.phase() == Phase::Ready);
        assert!(program.world.now < deadline + 80 * SECOND, "it is looked for");
        // Cancels do not put it off.
        if program.world.random.one_in(300) {
            program.client.run.cancel(0, lost);
        }
    }
    assert_eq!(
        (program.order(lost).state(), &*program.order(lost).reason),
        (OrderState::Rejected, "krakpot:not_found")
    );
    assert!(program.world.now > deadline + GRACE + 60 * SECOND, "REST was a minute late");
    program.finish();
    let (orders, _) = program.verify();
    assert!(orders > 20 && program.client.renewals.is_empty(), "{orders} {:?}", program.client.renewals);
    assert_eq!(State::of(&program.rows).orders[&lost].ended, "rejected");
}

/// Goal: amendments and cancels that are lost are looked for, and can be asked for again.
#[test]
fn lost_changes() {
    let mut program = program(3);
    let order = program.place(Side::Buy, 500_000, 900);
    program.go(SECOND);
    for (method, fault) in [("amend_order", "lost_request"), ("cancel_order", "lost_request")] {
        program.world.exchange.inject(&format!("{fault}=once,method={method}")).expect("a fault");
        if method == "amend_order" {
            program.client.run.amend(0, order, Some(Qty(700_000)), None);
        } else {
            program.client.run.cancel(0, order);
        }
        program.until("unknown", 6 * SECOND, |one| one.order(order).state() == OrderState::Unknown);
        program.until("known", 7 * SECOND, |one| one.order(order).state() == OrderState::Open);
        assert_eq!((program.order(order).qty, program.phase()), (Qty(500_000), Phase::Ready));
    }
    // What was done is reported, though the answer is lost.
    for method in ["amend_order", "cancel_order"] {
        program.world.exchange.inject(&format!("lost_ack=once,method={method}")).expect("a fault");
    }
    program.client.run.amend(0, order, Some(Qty(600_000)), None);
    program.go(SECOND);
    assert_eq!((program.order(order).qty, program.order(order).state()), (Qty(600_000), OrderState::Open));
    program.client.run.cancel(0, order);
    program.go(SECOND);
    assert_eq!(program.order(order).state(), OrderState::Canceled);
    program.finish();
    program.verify();
}

/// Goal: while the connection is silent, nobody knows whether an amendment was made; when it comes at last, it is too late
/// for the exchange, too.
#[test]
fn an_amendment_that_arrives_late() {
    let mut program = program(5);
    let order = program.place(Side::Buy, 500_000, 900);
    program.go(SECOND);
    program.client.run.amend(0, order, Some(Qty(700_000)), None);
    assert!(program.pump(program.world.now));
    let connection = program.client.connection.expect("a connection");
    program.world.delay(connection, 30 * SECOND);
    program.go(29 * SECOND);
    assert_eq!((program.order(order).state(), program.order(order).most()), (OrderState::Unknown, Qty(700_000)));
    program.until("known", 5 * SECOND, |one| one.order(order).state() == OrderState::Open);
    let quantity = program.world.exchange.account("open", i64::MAX)[0]["qty"].as_str().map(amount);
    assert_eq!((program.order(order).qty, quantity), (Qty(500_000), Some(amount("0.005"))));
    assert_eq!(program.phase(), Phase::Ready);
    program.finish();
    program.verify();
}

/// Goal: an order that was believed to be rejected, and that the exchange reports, counts: its fills change the balances,
/// it is cancelled, and nothing is traded any more.
#[test]
fn a_rejected_order_that_lives() {
    for (behind, state) in [(900, OrderState::Canceled), (-50, OrderState::Filled)] {
        let mut program = program(6);
        let order = program.place(Side::Buy, 300_000, behind);
        // The id of the request that was sent last is the one before the next ping's.
        let ping = program.client.live.ping(program.world.now);
        let next: u64 = ping.trim_end_matches('}').rsplit(':').next().expect("an id").parse().expect("a number");
        let refusal = format!(
            r#"{{"method":"add_order","req_id":{},"success":false,"error":"EOrder:Insufficient funds","time_in":"{1}","time_out":"{1}"}}"#,
            next - 1,
            "2026-11-28T00:00:00.000000Z"
        );
        let now = program.world.now;
        assert_eq!(program.client.live.frame(now, refusal.as_bytes(), &mut program.client.run), None);
        assert_eq!(program.order(order).state(), OrderState::Rejected);
        program.until("failed", SECOND, |one| one.phase() == Phase::Failed);
        let troubles = program.client.live.troubles().join("; ");
        assert!(
            troubles.contains("the exchange shows it, which was rejected (EOrder:Insufficient funds)"),
            "{troubles}"
        );
        let row = State::of(&program.rows).orders.remove(&order).expect("a row");
        assert!(state == OrderState::Filled || row.ended.is_empty(), "{}", row.ended);
        program.client.run.halt(0, "krakpot:unreconciled".into());
        program.until("over", 5 * SECOND, |one| one.order(order).state() == state);
        program.hang_up(SECOND);
        program.ready();
        program.finish();
        let (_, fills) = program.verify();
        assert_eq!(fills > 0, state == OrderState::Filled);
    }
}

/// Goal: an order that was on its way when the program was killed, and comes after the new connection's snapshot, is
/// neither lost nor believed dead.
#[test]
fn an_order_that_arrives_late() {
    for (behind, state) in [(900, "open"), (-50, "closed")] {
        let mut program = program(7);
        program.kill = Some((Point::Send, 1));
        let price = Price(program.client.run.touch(0).0.bid.expect("a bid").0.0 - behind);
        let terms = Terms::limit(0, Side::Buy, Qty(300_000), price);
        program.client.run.order(0, terms, PATIENCE, "mine".into());
        assert!(!program.step());
        let connection = program.client.connection.take().expect("a connection");
        program.world.hold_up(connection, 2 * SECOND);
        program.begin(SECOND / 10);
        program.go(SECOND);
        assert_eq!((program.phase(), program.truth(1)), (Phase::Reconciling, None), "it is on its way");
        program.until("ready", 5 * SECOND, |one| one.phase() == Phase::Ready);
        assert_eq!((program.truth(1).as_deref(), &*program.order(1).tag), (Some(state), "mine"));
        program.finish();
        program.verify();
    }
}

/// Another program of the account trades, until a snapshot shows only its fills.
fn crowd(program: &mut Program) {
    let trades = |one: &Program| one.world.exchange.account("trades", i64::MAX).as_array().map_or(0, Vec::len);
    let (enough, end) = (trades(program) + 60, program.world.now + 20 * SECOND);
    while trades(program) < enough {
        let params = r#"{"order_type":"market","side":"sell","symbol":"BTC/USD","order_qty":0.05}"#;
        program.world.exchange.order("add_order", params);
        program.go(SECOND / 20);
        assert!(program.world.now < end, "it trades");
    }
}

/// Goal: what is reported of an order of an earlier run before all its fills are found waits, and is not lost.
#[test]
fn reports_wait() {
    let mut program = program(9);
    let order = program.place(Side::Sell, 100_000_000, 0);
    program.go(SECOND / 2);
    program.begin(300 * SECOND);
    let seen = |one: &Program| one.world.exchange.account("open", i64::MAX)[0].clone();
    while seen(&program)["filled"].as_str().is_none_or(|filled| amount(filled) == 0) {
        program.go(SECOND);
    }
    crowd(&mut program);
    let id = seen(&program)["id"].as_str().expect("it is partly filled").to_owned();
    program.world.exchange.inject("rest_lag,by=60s").expect("a fault");
    program.client.connect_at = program.world.now;
    program.go(2 * SECOND);
    assert_eq!(program.phase(), Phase::Reconciling, "REST does not show its fills yet");
    program.world.exchange.order("cancel_order", &format!(r#"{{"order_id":["{id}"]}}"#));
    program.go(SECOND);
    assert!(program.client.run.trader(0).order(order).is_none());
    program.ready();
    assert_eq!((program.order(order).state(), &*program.order(order).reason), (OrderState::Canceled, "User requested"));
    assert!(program.order(order).booked.is_positive() && program.order(order).at_stake() == Qty(0));
}

/// Goal: a missing message makes the connection anew, and what it said is looked up; the gap begins and heals once.
#[test]
fn a_missing_message() {
    let mut program = program(10);
    let order = program.place(Side::Buy, 500_000, 900);
    program.go(SECOND);
    program.world.exchange.inject("sequence_gap=once,channel=executions").expect("a fault");
    program.client.run.cancel(0, order);
    program.go(SECOND / 5);
    assert_eq!(program.client.renewals.len(), 1);
    assert!(program.client.renewals[0].starts_with("executions: message "), "{:?}", program.client.renewals);
    program.ready();
    assert_eq!(program.order(order).state(), OrderState::Canceled);
    assert_eq!(program.client.gaps.iter().map(|gap| gap.healed).collect::<Vec<_>>(), [false, true, false, true]);
    program.finish();
    program.verify();
}

/// Goal: fills of an amendment that nobody heard of are explained: its quantity comes before them in the journal.
#[test]
fn an_amendment_while_away() {
    let mut program = program(11);
    let order = program.place(Side::Buy, 300_000, 900);
    program.go(SECOND);
    let price = Price(program.client.run.touch(0).0.ask.expect("an ask").0.0 + 500);
    program.client.run.amend(0, order, Some(Qty(900_000)), Some(price));
    assert!(program.pump(program.world.now));
    let connection = program.client.connection.take().expect("a connection");
    program.world.hold_up(connection, 0);
    program.hang_up(SECOND);
    program.go(SECOND / 2);
    program.ready();
    program.go(SECOND);
    assert_eq!((program.order(order).state(), program.order(order).booked), (OrderState::Filled, Qty(900_000)));
    program.finish();
    program.verify();
}

/// Goal: an order that was filled while the program was away is found by its name, and its fills by the id that this shows;
/// the orders of other programs, whose fills crowd the snapshot, are left alone, and what they changed is named.
#[test]
fn filled_while_away() {
    let mut program = program(8);
    program.kill = Some((Point::Send, 1));
    let price = Price(program.client.run.touch(0).0.ask.expect("an ask").0.0 + 500);
    program.client.run.order(0, Terms::limit(0, Side::Buy, Qty(300_000), price), PATIENCE, "mine".into());
    assert!(!program.step());
    let connection = program.client.connection.take().expect("a connection");
    program.world.hold_up(connection, 0);
    program.begin(5 * SECOND);
    program.go(SECOND);
    assert_eq!(program.truth(1).as_deref(), Some("closed"));
    crowd(&mut program);
    program.ready();
    let order = program.order(1);
    assert_eq!((order.state(), order.booked, &*order.tag), (OrderState::Filled, Qty(300_000), "mine"));
    program.finish();
    let problems = State::of(&program.rows).problems;
    assert_eq!(problems.len(), 2, "base and quote asset: {problems:?}");
}

/// Goal: what other programs trade in a shared account is no trouble: it counts as if it came from outside, while the run goes
/// on, after a lost connection and at the next start; a row says so, and all is explained. Own fills are not taken for it.
#[test]
fn an_account_with_other_programs() {
    let options = Options { shared: true, ..Options::new(PREFIX) };
    let mut program = Program::with(8, options);
    program.ready();
    let agree = |one: &mut Program| {
        one.go(3 * SECOND);
        assert!(one.client.live.note_balances(&one.client.run), "the balances are the exchange's");
    };
    crowd(&mut program);
    agree(&mut program);
    program.trades = true;
    program.go(5 * SECOND);
    crowd(&mut program);
    program.hang_up(SECOND);
    crowd(&mut program);
    program.ready();
    program.go(5 * SECOND);
    program.trades = false;
    program.client.run.cancel_all(0, None);
    agree(&mut program);
    program.begin(SECOND);
    crowd(&mut program);
    program.ready();
    program.finish();
    let state = State::of(&program.rows);
    assert_eq!((state.problems, program.client.renewals.len()), (Vec::new(), 0));
    let others = program.rows.iter().filter(|row| row.kind == "entry" && text(row, "what") == "others");
    let (mut usd, mut btc) = (0, 0);
    for row in others {
        let sum = if text(row, "asset") == "USD" { &mut usd } else { &mut btc };
        *sum += amount(text(row, "amount"));
    }
    let own: Vec<&str> = state.seen.iter().map(String::as_str).collect();
    let trades = program.world.exchange.account("trades", i64::MAX);
    let theirs = |row: &&serde_json::Value| !own.contains(&row["id"].as_str().expect("an id"));
    let number = |row: &serde_json::Value, name: &str| amount(row[name].as_str().expect("a number"));
    let rows: Vec<&serde_json::Value> = trades.as_array().expect("trades").iter().filter(theirs).collect();
    assert!(rows.len() > 150 && own.len() > 5, "{} {}", rows.len(), own.len());
    assert_eq!(btc, -rows.iter().map(|row| number(row, "qty")).sum::<i128>());
    assert_eq!(usd, rows.iter().map(|row| number(row, "cost") - number(row, "fee")).sum::<i128>());
}

/// Goal: orders under this strategy's names that no journal has are reported, and nothing is traded; or taken over with
/// their fills, if that is wanted, and then new ones have other numbers.
#[test]
fn strangers() {
    for seed in 0..8 {
        let strangers = if seed % 2 == 0 { Strangers::Report } else { Strangers::Adopt };
        let mut program = Program::with(seed, Options { strangers, ..Options::new(PREFIX) });
        program.ready();
        let side = if seed % 4 < 2 { Side::Buy } else { Side::Sell };
        let order = program.place(side, 100_000_000, 0);
        let is_partly = |one: &Program| one.order(order).booked.is_positive() && one.order(order).left().is_positive();
        program.until("partly filled", 600 * SECOND, is_partly);
        let (name, filled) = (program.order(order).order_id.clone().expect("an id"), program.order(order).booked);
        program.rows.clear();
        program.begin(SECOND);
        program.until("over", 90 * SECOND, |one| !matches!(one.phase(), Phase::Down | Phase::Reconciling));
        if strangers == Strangers::Report {
            assert_eq!(program.phase(), Phase::Failed);
            let troubles = program.client.live.troubles().join("; ");
            let open = program.world.exchange.account("open", i64::MAX);
            let ids: Vec<&str> = open.as_array().expect("orders").iter().filter_map(|row| row["id"].as_str()).collect();
            let named = |id: &&str| troubles.contains(&format!("{id}: open under the name kptests0"));
            assert!(!ids.is_empty() && ids.iter().all(named), "{ids:?} {troubles}");
            let refused = program.place(Side::Buy, 500_000, 900);
            assert!(program.order(refused).reason.contains("do not agree"), "{}", program.order(refused).reason);
            continue;
        }
        let taken = program.order(order);
        assert!(taken.booked >= filled && taken.order_id.as_ref() == Some(&name), "{taken:?}");
        let next = program.place(Side::Buy, 500_000, 900);
        assert!(next > order, "{next}");
        program.finish();
        assert!(program.truth(order).is_some_and(|status| status == "canceled" || status == "closed"));
        assert_eq!(State::of(&program.rows).problems, Vec::<String>::new());
    }
}

/// Goal: with `validate` the exchange only looks at orders: nothing is placed.
#[test]
fn only_validated() {
    let mut program = Program::with(4, Options { validate: true, ..Options::new(PREFIX) });
    program.ready();
    let order = program.place(Side::Buy, 500_000, 900);
    program.go(SECOND);
    assert!(program.order(order).reason.starts_with("krakpot:validated"), "{}", program.order(order).reason);
    program.trades = true;
    program.go(20 * SECOND);
    program.finish();
    let (orders, fills) = program.verify();
    assert_eq!((orders, fills, program.client.run.live(0, None, None).len()), (0, 0, 0));
}

/// Goal: where the dead-man timer is demanded, nothing is placed before the exchange confirmed it, nor after it ended; what
/// the timer cancels is heard.
#[test]
fn the_dead_man_timer() {
    let mut program = Program::with(5, Options { dead_man: true, ..Options::new(PREFIX) });
    program.ready();
    let why = |one: &Program| one.client.live.why_not(one.world.now).map(|why| why.1.to_string()).unwrap_or_default();
    assert!(why(&program).starts_with("dead_man: "), "{}", why(&program));
    let refused = program.place(Side::Buy, 500_000, 900);
    assert!(program.order(refused).reason.starts_with("krakpot:dead_man"));
    assert_eq!(program.client.live.arm(program.world.now, 90_000).map(|_| ()).map_err(|_| ()), Err(()));
    let frame = program.client.live.arm(program.world.now, 60).expect("it may be").expect("a connection");
    let connection = program.client.connection.expect("a connection");
    program.world.send(connection, frame.text());
    assert!(!why(&program).is_empty(), "it is not confirmed");
    program.go(SECOND);
    assert_eq!(why(&program), "");
    let order = program.place(Side::Buy, 500_000, 900);
    program.go(50 * SECOND);
    assert_eq!((program.order(order).state(), why(&program)), (OrderState::Open, String::new()));
    program.go(15 * SECOND);
    assert_eq!(program.order(order).state(), OrderState::Canceled);
    assert!(why(&program).starts_with("dead_man"));
    let gaps: Vec<(&str, bool)> = program.client.gaps.iter().map(|gap| (gap.of, gap.healed)).collect();
    assert_eq!(gaps, [("account", false), ("account", true), ("account", false)]);
}

/// A time as the exchange writes it.
fn time(ns: i64) -> String {
    let mut text = Vec::new();
    krakpot_exchange::wire::time(ns, 6, &mut text);
    String::from_utf8(text).expect("ASCII").replace('"', "")
}

/// An account that hears what a test says.
struct Told {
    client: Client,
    now: i64,
}

impl Told {
    fn new(options: &Options) -> Self {
        Self { client: Client::new(&State::default(), options, &World::new(1)), now: START }
    }

    fn hear(&mut self, frame: &str) -> Option<String> {
        self.client.live.frame(self.now, frame.as_bytes(), &mut self.client.run)
    }

    fn wait(&mut self, time: i64) {
        self.now += time;
        self.client.live.advance(self.now, &mut self.client.run);
    }

    /// Connects; the exchange's clock is so far ahead. Then it says what there is.
    fn connect(&mut self, ahead: i64, balances: &[(&str, &str)]) {
        self.connect_as(ahead, balances, "", false);
    }

    /// The same with rows of the snapshot; `early`: that comes before the answers.
    fn connect_as(&mut self, ahead: i64, balances: &[(&str, &str)], orders: &str, early: bool) {
        let snapshot = format!(r#"{{"channel":"executions","type":"snapshot","data":[{orders}],"sequence":1}}"#);
        let trader = self.client.run.trader(0);
        let frames = self.client.live.connected(self.now, "token", trader).expect("a token");
        let ids: Vec<String> =
            frames.iter().map(|frame| frame.text().rsplit(':').next().expect("an id").into()).collect();
        let came = time(self.now + 10 * MS + ahead);
        self.now += 20 * MS;
        if early {
            assert_eq!(self.hear(&snapshot), None);
        }
        for (id, channel) in ids.iter().zip(["executions", "balances"]) {
            let id = id.trim_end_matches('}');
            let told = format!(
                r#"{{"method":"subscribe","req_id":{id},"result":{{"channel":"{channel}"}},"success":true,"time_in":"{came}","time_out":"{came}"}}"#
            );
            assert_eq!(self.hear(&told), None);
        }
        if !early {
            assert_eq!(self.hear(&snapshot), None);
        }
        let rows =
            balances.iter().map(|(asset, total)| format!(r#"{{"asset":"{asset}","balance":{total},"wallets":[]}}"#));
        let rows = rows.collect::<Vec<_>>().join(",");
        self.hear(&format!(r#"{{"channel":"balances","type":"snapshot","data":[{rows}],"sequence":1}}"#));
    }

    fn deposit(&mut self, id: &str, sequence: u64, balance: &str) -> Option<String> {
        let at = time(self.now);
        self.hear(&format!(
            r#"{{"channel":"balances","type":"update","data":[{{"ledger_id":"{id}","timestamp":"{at}","type":"deposit","asset":"USD","amount":5.5,"fee":0.5,"balance":{balance}}}],"sequence":{sequence}}}"#
        ))
    }

    fn total(&self, asset: &str) -> i128 {
        self.client.run.trader(0).balance(asset).total
    }

    fn why(&self) -> String {
        self.client.live.why_not(self.now).map(|(of, why)| format!("{of}/{why}")).unwrap_or_default()
    }
}

/// Goal: what comes while the program runs is an entry, once; what came while it was away has no reason, and is named with
/// both numbers.
#[test]
fn deposits() {
    let mut told = Told::new(&Options::new(PREFIX));
    told.connect(0, &[("USD", "100.25"), ("BTC", "2")]);
    assert_eq!((told.client.live.phase(), told.total("USD")), (Phase::Ready, amount("100.25")));
    assert_eq!(told.deposit("L1", 2, "105.25"), None);
    assert_eq!(told.deposit("L1", 3, "105.25"), None, "it is said twice");
    assert_eq!(told.total("USD"), amount("105.25"));
    assert!(told.deposit("L2", 5, "110.25").is_some_and(|why| why.contains("message 5 came in place of 4")));
    let mut rows = told.client.live.take_notes();
    assert_eq!(rows.iter().filter(|row| row.kind == "entry").count(), 2);
    told.client.live.disconnected();
    told.connect(0, &[("USD", "150"), ("BTC", "1.5"), ("ETH", "3")]);
    assert_eq!(told.client.live.phase(), Phase::Reconciling, "a report may be on its way");
    assert!(told.client.live.next_due() <= told.now + 2 * SECOND);
    told.wait(2 * SECOND);
    assert_eq!(told.client.live.phase(), Phase::Ready);
    rows.extend(told.client.live.take_notes());
    let last = rows.iter().rfind(|row| row.kind == "reconciled").expect("a row");
    let all = [
        "BTC: 2 by the account, 1.5 by the exchange",
        "ETH: 0 by the account, 3 by the exchange",
        "USD: 110.25 by the account, 150 by the exchange",
    ];
    assert_eq!(*fact(last, "unexplained"), Fact::List(all.map(String::from).into()));
    let found = BTreeMap::from(["USD", "BTC", "ETH"].map(|asset| (asset, told.total(asset))));
    assert_eq!(found, BTreeMap::from([("BTC", ONE * 3 / 2), ("ETH", 3 * ONE), ("USD", 150 * ONE)]));
    assert_eq!(State::of(&rows).problems.len(), 3, "the audit says the same");
    assert!(told.client.live.note_balances(&told.client.run));
    let end = told.client.live.take_notes();
    assert_eq!((end.len(), end[0].kind, text(&end[0], "totals")), (1, "balances", ""));
}

/// Goal: a snapshot that comes before the answers to the subscriptions counts, though the clocks are not compared yet; what
/// it shows as open was open when the connection began.
#[test]
fn a_snapshot_before_the_answers() {
    let row = r#"{"order_id":"O1","cl_ord_id":"kptests00000000005","symbol":"BTC/USD","side":"buy","order_qty":0.005,"limit_price":26500.0,"cum_qty":0.001,"exec_type":"new","order_status":"new","timestamp":"2020-01-01T00:00:00Z"}"#;
    for (ahead, early) in [(0, false), (0, true), (100 * MS, true), (-3600 * SECOND, true), (3600 * SECOND, true)] {
        let mut told = Told::new(&Options { clock: None, ..Options::new(PREFIX) });
        let symbol = told.client.run.pair(0).symbol.to_string();
        let terms = Terms::limit(0, Side::Buy, Qty(500_000), Price(265_000));
        let order_id = Some("O1".into());
        let (sent, deadline) = (told.now - 60 * SECOND, told.now - 55 * SECOND);
        told.client.live.restore(Earlier {
            number: 5,
            terms,
            tag: "".into(),
            order_id,
            sent,
            deadline,
            known: Vec::new(),
            last_fill: None,
        });
        let row = row.replace("BTC/USD", &symbol).replace("0.001", "0.000");
        told.connect_as(ahead, &[("USD", "1")], &row, early);
        assert_eq!(told.client.live.phase(), Phase::Ready, "{ahead} {early}");
        let order = told.client.run.trader(0).order(5).expect("it was taken over");
        assert_eq!((order.state(), order.order_id.as_deref()), (OrderState::Open, Some("O1")));
        // One that the snapshot does not show is looked for, and time passes for it as the exchange counts it.
        told.client.live.disconnected();
        told.connect_as(ahead, &[("USD", "1")], "", early);
        assert_eq!(told.client.live.phase(), Phase::Reconciling);
        assert_eq!(told.client.live.take_asks(told.now).len(), 1);
        assert_eq!(told.client.live.next_due(), told.now + 120 * SECOND - 20 * MS);
    }
}

/// Goal: with a clock that is off by more than is allowed nothing is placed; at most that is.
#[test]
fn clocks() {
    for (ahead, blocked) in [(249, false), (250, false), (251, true), (-249, false), (-251, true)] {
        let mut told = Told::new(&Options::new(PREFIX));
        told.connect(ahead * MS, &[("USD", "1")]);
        assert_eq!((told.client.live.phase(), told.client.live.clock()), (Phase::Ready, Some((ahead * MS, 20 * MS))));
        let why = format!("clock/clock: the exchange's clock is {ahead} ms from this one; 250 ms are allowed");
        assert_eq!(told.why(), if blocked { why } else { String::new() });
        // However far it is, and if nobody minds: times are compared by the exchange's clock.
        let mut told = Told::new(&Options { clock: None, ..Options::new(PREFIX) });
        told.connect(ahead * 1000 * SECOND, &[("USD", "1")]);
        assert_eq!((told.client.live.phase(), told.why()), (Phase::Ready, String::new()));
    }
}

/// Goal: after this machine's clock was set nothing is placed until the clocks are compared anew, by a request that was
/// sent after that; times of the exchange stay what they were, and an exchange without this limit goes on.
#[test]
fn a_clock_that_is_set() {
    let mut told = Told::new(&Options::new(PREFIX));
    assert_eq!(told.why().split(':').next(), Some("account/account"));
    told.connect(100 * MS, &[("USD", "1")]);
    let (earlier, then) = (told.client.live.ping(told.now), told.now);
    let answer = |told: &mut Told, frame: &str, at: i64| {
        let id = frame.rsplit(':').next().expect("an id").trim_end_matches('}').to_owned();
        let at = time(at);
        let text = format!(r#"{{"method":"pong","req_id":{id},"time_in":"{at}","time_out":"{at}"}}"#);
        assert_eq!(told.hear(&text), None);
    };
    // By an hour, back.
    let by = -3600 * SECOND;
    told.client.live.clock_was_set(by);
    told.now += by;
    assert_eq!(
        told.why(),
        "clock/clock: this machine's clock was set; the exchange's next answer says how far from its own it is"
    );
    // The answer to what was sent before says nothing.
    answer(&mut told, &earlier, then + 110 * MS);
    assert_eq!((told.client.live.clock(), told.why().is_empty()), (None, false));
    let ping = told.client.live.ping(told.now);
    told.now += 20 * MS;
    let at = told.now - by + 90 * MS;
    answer(&mut told, &ping, at);
    assert_eq!(told.client.live.clock(), Some((100 * MS - by, 20 * MS)));
    assert!(told.why().starts_with("clock/clock: the exchange's clock is 3600100 ms from this one"), "{}", told.why());
    let mut told = Told::new(&Options { clock: None, ..Options::new(PREFIX) });
    told.connect(0, &[("USD", "1")]);
    told.client.live.clock_was_set(SECOND);
    assert_eq!(told.why(), "");
}

/// Goal: a question that was sent before this machine's clock was set back is not taken for a later one: what REST did not
/// show then may still come.
#[test]
fn a_question_before_the_clock_is_set() {
    let mut program = program(2);
    program.kill = Some((Point::Send, 1));
    let price = Price(program.client.run.touch(0).0.bid.expect("a bid").0.0 - 900);
    program.client.run.order(0, Terms::limit(0, Side::Buy, Qty(300_000), price), PATIENCE, "".into());
    assert!(!program.step());
    let lost = program.client.connection.take().expect("a connection");
    program.world.hold_up(lost, 600 * SECOND);
    program.begin(SECOND);
    program.until("asked", 20 * SECOND, |one| one.world.questions().next().is_some());
    let live = &mut program.client.live;
    live.clock_was_set(-3600 * SECOND);
    let now = program.world.now - 3600 * SECOND;
    let number = program.world.questions().next().expect("a question");
    assert_eq!(live.rest_orders(now, number, program.world.now, &[], &mut program.client.run), None);
    assert_eq!(program.phase(), Phase::Reconciling, "it may still come");
}

/// Goal: from half an hour before a maintenance nothing is placed, until it is over; what is not about trading, or has no
/// time, changes nothing.
#[test]
fn maintenance() {
    let mut told = Told::new(&Options::new(PREFIX));
    told.connect(0, &[("USD", "1")]);
    let begin = told.now + 40 * 60 * SECOND;
    let one = |service: &str, begin: i64| {
        let (begin, end) = (time(begin), time(begin + 3600 * SECOND));
        format!(r#"{{"affected_services":["{service}"],"expected_start_utc":"{begin}","expected_end_utc":"{end}"}}"#)
    };
    let status = |all: &str| {
        format!(
            r#"{{"channel":"status","type":"update","data":[{{"system":"online","upcoming_maintenance":[{all}]}}]}}"#
        )
    };
    let all = [one("futures", told.now), r#"{"phase":"announced"}"#.to_owned(), one("spot_trading", begin)].join(",");
    assert_eq!(told.hear(&status(&all)), None);
    for (at, blocked, arms) in [
        (-1801, false, true),
        (-1800, true, true),
        (-61, true, true),
        (-60, true, false),
        (3599, true, false),
        (3600, false, true),
    ] {
        let wait = begin + at * SECOND - told.now;
        told.wait(wait);
        assert_eq!(told.why().starts_with("exchange/maintenance"), blocked, "{at}: {}", told.why());
        assert_eq!(told.client.live.may_arm(told.now), arms, "{at}");
    }
    let mut gaps = Vec::new();
    while let Some((_, call)) = told.client.run.poll(told.now) {
        if let krakpot_trade::run::Call::Gap(Gap { of, healed, .. }) = call {
            gaps.push((of, healed));
        }
    }
    assert_eq!(gaps, [("account", false), ("account", true), ("exchange", false), ("exchange", true)]);
    // One that is over, and still listed, does not hide the next one; nor does one that ends hide it later.
    let hour = 3600 * SECOND;
    let all = [2, -3, 1].map(|hours| one("spot_ws", told.now + hours * hour)).join(",");
    assert_eq!((told.hear(&status(&all)), told.why()), (None, String::new()));
    for (minutes, blocked) in [(29, false), (30, true), (119, true), (120, true), (179, true), (180, false)] {
        let wait = begin + hour + minutes * 60 * SECOND - told.now;
        told.wait(wait);
        assert_eq!(told.why().starts_with("exchange/maintenance"), blocked, "{minutes}: {}", told.why());
    }
}

/// Goal: a frame that is cut short anywhere is refused whole, and changes nothing; one that is damaged in any other way is
/// heard or refused, without a panic.
#[test]
fn damaged_frames() {
    let mut program = program(6);
    program.world.texts = Some(Vec::new());
    program.trades = true;
    program.go(20 * SECOND);
    let frames = program.world.texts.take().expect("they are kept");
    assert!(frames.len() > 200, "{}", frames.len());
    let mut cut = 0;
    for frame in frames.iter().take(150) {
        for length in 0..frame.len() {
            let renew = program.client.live.frame(program.world.now, &frame[..length], &mut program.client.run);
            assert!(renew.is_some(), "{}", String::from_utf8_lossy(&frame[..length]));
            cut += 1;
        }
    }
    program.finish();
    program.verify();
    let (mut random, mut renewals) = (Random(7), 0);
    let mut program = self::program(6);
    program.trades = true;
    program.go(5 * SECOND);
    for nth in 0..20_000 {
        let mut frame = random.pick(&frames).expect("there are some").clone();
        for _ in 0..=random.below(3) {
            let (at, by) = (random.below(frame.len()), random.bits().to_le_bytes()[0]);
            match random.below(5) {
                0 => frame[at] = by,
                1 => frame[at] = b"0123456789.-\"{}[]:,"[usize::from(by) % 19],
                2 => {
                    frame.remove(at);
                }
                3 => frame.insert(at, by),
                _ => {
                    let other = random.pick(&frames).expect("there are some");
                    frame.splice(at.., other[random.below(other.len())..].iter().copied());
                }
            }
            if frame.is_empty() {
                frame.push(b'{');
            }
        }
        renewals +=
            usize::from(program.client.live.frame(program.world.now, &frame, &mut program.client.run).is_some());
        if nth % 1000 == 0 {
            program.hang_up(SECOND / 10);
            program.go(SECOND);
        }
    }
    println!("{cut} cut frames, {renewals} of 20000 damaged ones led to a renewal");
    assert!(renewals > 5000 && cut > 10_000);
}
