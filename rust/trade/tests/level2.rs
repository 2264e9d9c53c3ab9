//! The two bounds on level 2.

mod told;

use krakpot_core::wire::message::Kind;
use krakpot_trade::amount::Qty;
use krakpot_trade::paper::{Cancels, Model, Options};
use krakpot_trade::terms::{Side, Terms, TimeInForce};
use told::{Bench, MS, buy, quick, sell};

fn bench(cancels: Cancels, levels: &str) -> Bench {
    let mut bench = Bench::new(Options { model: Model::Bounds(cancels), depth: 10, ..quick() }, "");
    bench.levels(1, Kind::Snapshot, levels);
    bench
}

const LEVELS: &str = "buy 100 8, buy 99 9, sell 101 4, sell 102 9";

/// Goal: a cancel stood before the order, or behind it: that decides what a trade gives.
#[test]
fn cancels_make_the_interval() {
    let run = |cancels| {
        let mut bench = bench(cancels, LEVELS);
        bench.send(5, 1, buy(2, 100));
        bench.levels(8, Kind::Update, "buy 100 14");
        bench.levels(10, Kind::Update, "buy 100 9");
        bench.trade(20, Side::Sell, 100, 4);
        bench.levels(20, Kind::Update, "buy 100 5");
        bench.end()
    };
    assert_eq!(run(Cancels::Ahead), ["6 #1 new", "20 #1 fill 1@100 queue"]);
    assert_eq!(run(Cancels::Behind), ["6 #1 new"]);
}

/// Goal: no more stands before the order than the level has; what was traded moves it in both bounds.
#[test]
fn trades_and_levels_move_the_order() {
    for cancels in [Cancels::Ahead, Cancels::Behind] {
        let mut bench = bench(cancels, LEVELS);
        bench.send(5, 1, buy(2, 100));
        bench.levels(8, Kind::Update, "buy 100 14");
        bench.trade(10, Side::Sell, 100, 3);
        bench.levels(10, Kind::Update, "buy 100 11");
        bench.until(11);
        let place = bench.paper.place(0, 1).expect("it rests");
        assert_eq!((place.qty_ahead, place.qty_behind, place.exact), (Qty(5), Qty(6), false));
        bench.levels(12, Kind::Update, "buy 100 2");
        bench.trade(20, Side::Sell, 100, 3);
        bench.levels(20, Kind::Update, "buy 100 0");
        let events = bench.end();
        match cancels {
            Cancels::Ahead => assert_eq!(events, ["20 #1 fill 2@100 queue", "20 #1 filled"]),
            Cancels::Behind => assert_eq!(events, ["20 #1 fill 1@100 beyond in doubt"]),
        }
    }
}

/// Goal: worse trades fill, and levels of the other side that grow where they cannot stand; takers eat levels once.
#[test]
fn through_crossed_and_taken() {
    let mut bench = bench(Cancels::Behind, LEVELS);
    bench.send(5, 1, buy(2, 100));
    bench.trade(10, Side::Sell, 99, 1);
    bench.levels(15, Kind::Update, "buy 100 0, sell 100 5");
    bench.send(20, 2, Terms { time_in_force: TimeInForce::Ioc, ..buy(6, 101) });
    bench.send(22, 3, Terms { time_in_force: TimeInForce::Ioc, ..buy(6, 101) });
    let expected = [
        "6 #1 new",
        "10 #1 fill 1@100 through",
        "15 #1 fill 1@100 crossed",
        "15 #1 filled",
        "21 #2 new",
        "21 #2 fill 4@100 taken",
        "21 #2 fill 2@101 taken",
        "21 #2 filled",
        "23 #3 new",
        "23 #3 fill 2@101 taken",
        "23 #3 canceled: Immediate or cancel",
    ];
    assert_eq!(bench.end(), expected);
}

/// Goal: a price outside of the window: nothing stands before the order, or all that is ever seen there.
#[test]
fn prices_outside_of_the_window() {
    let run = |cancels| {
        let options = Options { model: Model::Bounds(cancels), depth: 2, ..quick() };
        let mut bench = Bench::new(options, "");
        bench.levels(1, Kind::Snapshot, LEVELS);
        bench.send(5, 1, sell(2, 103));
        bench.levels(10, Kind::Update, "sell 101 0, sell 103 5");
        bench.trade(20, Side::Buy, 103, 6);
        bench.end()
    };
    assert_eq!(run(Cancels::Ahead), ["6 #1 new", "20 #1 fill 2@103 queue", "20 #1 filled"]);
    assert_eq!(run(Cancels::Behind), ["6 #1 new", "20 #1 fill 1@103 beyond in doubt"]);
}

/// Goal: after a gap an order stands behind everything.
#[test]
fn gaps() {
    for cancels in [Cancels::Ahead, Cancels::Behind] {
        let mut bench = bench(cancels, LEVELS);
        bench.send(5, 1, buy(2, 100));
        bench.paper.gap(0, 10 * MS);
        bench.levels(15, Kind::Snapshot, "buy 100 20, sell 101 1");
        bench.until(16);
        assert_eq!(bench.paper.place(0, 1).map(|place| place.qty_ahead), Some(Qty(20)));
    }
}
