//! An account at the built-in exchange, in virtual time: in ordinary life, with faults, and killed at every point.

#![allow(clippy::print_stdout, reason = "it says what it found")]

mod client;
mod common;
#[path = "../../exchange/tests/common/mod.rs"]
mod frames;

use client::{Point, Program};
use common::SECOND;
use krakpot_trade::live::Phase;

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

/// Seeds of each cell of the crash matrix: a few, or with `KRAKPOT_TEST=all` fifty.
fn seeds() -> u64 {
    if std::env::var("KRAKPOT_TEST").is_ok_and(|value| value == "all") { 50 } else { 3 }
}

/// One cell: the program is killed there, begins anew from its journal, and goes on while the fault does. Whether the moment
/// came.
fn crash(point: Point, fault: &str, seed: u64) -> (Program, bool) {
    let mut program = Program::new(seed);
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
    let reached = !program.go(12 * SECOND);
    let pause = [SECOND / 20, SECOND, 10 * SECOND][(seed % 3) as usize];
    program.begin(pause);
    program.until("ready again", 200 * SECOND, |one| one.phase() == Phase::Ready);
    program.trades = true;
    program.go(4 * SECOND);
    program.finish();
    (program, reached)
}

/// Goal: killed at any moment, with any fault: no order is doubled, none is lost, balances are explained to the last digit,
/// and all is known within 90 seconds although REST is a minute late.
#[test]
fn killed_at_every_point() {
    let (mut cells, mut reached, mut orders, mut fills, mut longest, mut renewals) = (0, 0, 0, 0, 0, 0);
    for point in Point::ALL {
        for fault in FAULTS {
            for seed in 0..seeds() {
                let cell = format!("{point:?} {fault} seed {seed}");
                let ran = std::panic::catch_unwind(|| {
                    let (program, reached) = crash(point, fault, seed);
                    (program.verify(), program.reconciled.clone(), program.renewals, reached)
                });
                let ((some, more), reconciled, renewed, met) = ran.unwrap_or_else(|_| panic!("{cell}"));
                (cells, reached) = (cells + 1, reached + usize::from(met));
                (orders, fills, renewals) = (orders + some, fills + more, renewals + renewed);
                let most = reconciled.into_iter().max().expect("it was reconciled");
                assert!(most <= 90 * SECOND, "{cell}: {} s", most / SECOND);
                longest = longest.max(most);
            }
        }
    }
    let longest = longest / 1_000_000;
    println!(
        "{cells} kills, {reached} of them at the point, {orders} orders (doubled 0, lost 0), {fills} fills (unexplained 0), {renewals} renewals, \
         longest reconciliation {longest} ms"
    );
    assert!(reached > cells * 9 / 10 && orders > 5 * cells && fills > cells && renewals > cells / 4);
}
