//! Each rule of fills on level 3, one test a rule.

mod told;

use krakpot_trade::amount::{Price, Qty};
use krakpot_trade::paper::{AmendUp, Gaps, Options, Together};
use krakpot_trade::report::{Change, Reply};
use krakpot_trade::terms::{Request, Sent, Side, Terms, TimeInForce, Trigger};
use told::{BOOK, Bench, MS, buy, quick, sell, text};

/// What comes of an order for 2 at 100, sent at 5 ms behind the 8 of [`BOOK`]; `act` says what happens then.
fn of_two(options: Options, act: impl FnOnce(&mut Bench)) -> Vec<String> {
    let mut bench = Bench::new(options, BOOK);
    bench.send(5, 1, buy(2, 100));
    act(&mut bench);
    let events = bench.end();
    assert_eq!(events[0], "6 #1 new");
    events[1..].to_vec()
}

/// Goal: a cancel before the order moves it, one behind it does not.
#[test]
fn cancels_move_what_is_behind_them() {
    let reached = |gone: &str| {
        of_two(quick(), |bench| {
            bench.rows(8, "add buy 6 100 4, add buy 7 100 5");
            bench.rows(10, gone);
            bench.trade(20, Side::Sell, 100, 5);
            bench.rows(
                20,
                if gone.ends_with("buy 2 100 3") {
                    "delete buy 1 100 5"
                } else {
                    "delete buy 2 100 3, modify buy 7 100 3"
                },
            );
        })
    };
    assert_eq!(reached("delete buy 1 100 5"), ["20 #1 fill 2@100 queue", "20 #1 filled"]);
    assert_eq!(reached("delete buy 2 100 3"), [""; 0]);
}

/// Goal: the order gets what an order behind it lost, and no more.
#[test]
fn evidence_is_a_quantity() {
    let events = of_two(quick(), |bench| {
        bench.rows(8, "add buy 6 100 6");
        bench.trade(20, Side::Sell, 100, 9);
        bench.rows(20, "delete buy 1 100 5, delete buy 2 100 3, modify buy 6 100 5");
    });
    assert_eq!(events, ["20 #1 fill 1@100 queue"]);
}

/// Goal: what is traded beyond all that was shown reaches the order, in doubt.
#[test]
fn more_than_was_shown() {
    let events = of_two(quick(), |bench| {
        bench.trade(20, Side::Sell, 100, 9);
        bench.rows(20, "delete buy 1 100 5, delete buy 2 100 3");
    });
    assert_eq!(events, ["20 #1 fill 1@100 beyond in doubt"]);
}

/// Goal: a trade at a worse price fills the order, as far as it goes.
#[test]
fn trades_through_the_price() {
    for (qty, expected) in
        [(1, vec!["20 #1 fill 1@100 through"]), (7, vec!["20 #1 fill 2@100 through", "20 #1 filled"])]
    {
        let events = of_two(quick(), |bench| {
            bench.trade(20, Side::Sell, 99, qty);
            bench.rows(20, "delete buy 5 99 9");
        });
        assert_eq!(events, expected);
    }
    // On the other side, and at a better price, it says nothing.
    let events = of_two(quick(), |bench| {
        bench.trade(20, Side::Buy, 101, 4);
        bench.trade(21, Side::Sell, 101, 1);
    });
    assert_eq!(events, [""; 0]);
}

/// Goal: an order that comes to rest where it would have met ours met it, for as much as it has, and once.
#[test]
fn orders_that_cross() {
    let mut bench = Bench::new(quick(), BOOK);
    bench.send(5, 1, buy(2, 100));
    bench.send(5, 2, buy(2, 99));
    bench.rows(10, "delete buy 1 100 5, delete buy 2 100 3, delete buy 5 99 9");
    bench.rows(20, "add sell 8 99 3");
    bench.send(25, 3, Terms { time_in_force: TimeInForce::Ioc, ..buy(3, 99) });
    bench.paper.advance(i64::MAX);
    let replies = bench.paper.take_replies();
    let events: Vec<String> = replies.iter().filter_map(|(account, _, reply)| text(*account, reply)).collect();
    let expected = [
        "6 #1 new",
        "6 #2 new",
        "20 #1 fill 2@100 crossed",
        "20 #1 filled",
        "20 #2 fill 1@99 crossed",
        "26 #3 new",
        "26 #3 canceled: Immediate or cancel",
    ];
    assert_eq!(events, expected);
    let met = replies.iter().find_map(|(_, _, reply)| match reply {
        Reply::Report(report) => match &report.change {
            Change::Fill(fill) => fill.counterparty.clone(),
            _ => None,
        },
        Reply::Answer(_) => None,
    });
    assert_eq!(met.as_deref(), Some("8"));
}

/// Goal: a taker gets what each order shows, at its price, with the fee of a taker; a maker has the maker's.
#[test]
fn takers_walk_the_book() {
    let mut bench = Bench::new(quick(), BOOK);
    bench.send(5, 1, buy(6, 102));
    bench.send(7, 2, buy(1, 100));
    bench.trade(20, Side::Sell, 99, 9);
    bench.paper.advance(i64::MAX);
    let fills: Vec<_> = bench
        .paper
        .take_replies()
        .into_iter()
        .filter_map(|(_, _, reply)| match reply {
            Reply::Report(report) => match report.change {
                Change::Fill(fill) => Some((fill.qty, fill.price, fill.maker, fill.fee, fill.trade_id)),
                _ => None,
            },
            Reply::Answer(_) => None,
        })
        .collect();
    // 0.4 % of 404 and of 204, 0.25 % of 100, in hundredths, rounded up.
    let money = |hundredths: i128| hundredths * 10_i128.pow(18);
    assert_eq!(
        fills,
        [
            (Qty(4), Price(101), false, money(162), None),
            (Qty(2), Price(102), false, money(82), None),
            (Qty(1), Price(100), true, money(25), Some(1)),
        ]
    );
}

/// Goal: post-only orders that would take are refused, also if the market came to them on their way.
#[test]
fn post_only() {
    let mut bench = Bench::new(quick(), BOOK);
    let post = |price| Terms { post_only: true, ..buy(2, price) };
    bench.send(5, 1, post(101));
    bench.rows(7, "delete sell 3 101 4");
    bench.send(10, 2, post(101));
    bench.rows(11, "add sell 9 101 1");
    bench.send(12, 3, post(100));
    let refused = |t, order| format!("{t} #{order} Add refused: EOrder:Post only order");
    assert_eq!(bench.end(), [refused(6, 1), refused(11, 2), "13 #3 new".to_owned()]);
}

/// Goal: immediate orders take what is there, or all or nothing; market orders go through all prices.
#[test]
fn orders_that_do_not_rest() {
    let mut bench = Bench::new(quick(), BOOK);
    bench.send(5, 1, Terms { time_in_force: TimeInForce::Fok, ..buy(14, 102) });
    bench.send(6, 2, Terms { time_in_force: TimeInForce::Fok, ..buy(4, 101) });
    bench.send(7, 3, Terms { time_in_force: TimeInForce::Ioc, ..buy(6, 101) });
    bench.send(8, 4, Terms { price: None, ..buy(10, 0) });
    let expected = [
        "6 #1 canceled: Fill or kill",
        "7 #2 new",
        "7 #2 fill 4@101 taken",
        "7 #2 filled",
        "8 #3 new",
        "8 #3 canceled: Immediate or cancel",
        "9 #4 new",
        "9 #4 fill 9@102 taken",
        "9 #4 canceled: Immediate or cancel",
    ];
    assert_eq!(bench.end(), expected);
}

/// Goal: what an account took is gone for it until the order is gone; for another account it is there.
#[test]
fn orders_are_eaten_once_by_each_account() {
    let mut bench = Bench::new(quick(), BOOK);
    assert_eq!(bench.paper.add_account(), Some(1));
    let ioc = Terms { time_in_force: TimeInForce::Ioc, ..buy(4, 101) };
    let add = |order| Request::Add { order, terms: ioc, deadline: i64::MAX };
    bench.ask(0, 5, add(1));
    bench.rows(7, "add sell 10 101 1");
    bench.ask(0, 8, add(2));
    bench.ask(1, 8, add(1));
    // The same id anew is another order.
    bench.rows(12, "delete sell 3 101 4, add sell 3 101 2");
    bench.ask(0, 20, add(3));
    let expected = [
        "6 #1 new",
        "6 #1 fill 4@101 taken",
        "6 #1 filled",
        "9 #2 new",
        "9 #2 fill 1@101 taken",
        "9 #2 canceled: Immediate or cancel",
        "9 1#1 new",
        "9 1#1 fill 4@101 taken",
        "9 1#1 filled",
        "21 #3 new",
        "21 #3 fill 2@101 taken",
        "21 #3 canceled: Immediate or cancel",
    ];
    assert_eq!(bench.end(), expected);
}

/// Goal: less keeps the place, more loses it unless the switch says otherwise; another price loses it.
#[test]
fn amendments() {
    let swept = |options: Options, qty, price| {
        of_two(options, |bench| {
            bench.rows(8, "add buy 6 100 6");
            bench.amend(10, 1, qty, price);
            bench.trade(20, Side::Sell, 100, 9);
            bench.rows(20, "delete buy 1 100 5, delete buy 2 100 3, modify buy 6 100 5");
        })
    };
    let one = ["11 #1 amended 1@100", "20 #1 fill 1@100 queue", "20 #1 filled"];
    assert_eq!(swept(quick(), Some(1), None), one);
    assert_eq!(swept(quick(), Some(3), None), ["11 #1 amended 3@100"]);
    let keep = Options { amend_up: AmendUp::Keep, ..quick() };
    assert_eq!(swept(keep, Some(3), None), ["11 #1 amended 3@100", "20 #1 fill 1@100 queue"]);
    assert_eq!(swept(quick(), None, Some(99)), ["11 #1 amended 2@99"]);
    assert_eq!(swept(quick(), Some(0), None), ["11 #1 amended 0@100", "11 #1 canceled: User requested"]);
    assert_eq!(swept(quick(), None, Some(0)), ["11 #1 Amend refused: EOrder:Invalid price", "20 #1 fill 1@100 queue"]);
    // To less than is filled: what is left is cancelled.
    let events = of_two(quick(), |bench| {
        bench.trade(8, Side::Sell, 99, 1);
        bench.amend(10, 1, Some(1), None);
        bench.amend(12, 1, Some(5), None);
        bench.cancel(12, 1);
    });
    assert_eq!(
        events,
        [
            "8 #1 fill 1@100 through",
            "11 #1 amended 1@100",
            "11 #1 canceled: User requested",
            "13 #1 Amend refused: EOrder:Unknown order",
            "13 #1 Cancel refused: EOrder:Unknown order",
        ]
    );
}

/// Goal: an order that is amended across the market takes; a post-only one is not amended so.
#[test]
fn amendments_across_the_market() {
    let events = of_two(quick(), |bench| bench.amend(10, 1, Some(6), Some(101)));
    assert_eq!(events, ["11 #1 amended 6@101", "11 #1 fill 4@101 taken"]);
    let mut bench = Bench::new(quick(), BOOK);
    bench.send(5, 1, Terms { post_only: true, ..buy(2, 100) });
    bench.amend(10, 1, None, Some(101));
    bench.cancel(12, 1);
    let expected = ["6 #1 new", "11 #1 Amend refused: EOrder:Post only order", "13 #1 canceled: User requested"];
    assert_eq!(bench.end(), expected);
}

/// Goal: at one instant the record comes before requests.
#[test]
fn the_record_comes_first() {
    let events = of_two(quick(), |bench| {
        bench.cancel(18, 1);
        bench.trade(19, Side::Sell, 99, 1);
    });
    assert_eq!(events, ["19 #1 fill 1@100 through", "19 #1 canceled: User requested"]);
    // An order that arrives at the instant of a trade was not there.
    let mut bench = Bench::new(quick(), BOOK);
    bench.send(5, 1, buy(2, 100));
    bench.trade(6, Side::Sell, 99, 9);
    assert_eq!(bench.end(), ["6 #1 new"]);
}

/// Goal: a refilled iceberg of the record stands behind; so does a refilled part of ours.
#[test]
fn icebergs() {
    let events = of_two(quick(), |bench| {
        bench.trade(20, Side::Sell, 100, 8);
        bench.rows(20, "delete buy 1 100 5, delete buy 2 100 3, add buy 1 100 5");
        bench.trade(25, Side::Sell, 100, 3);
        bench.rows(25, "modify buy 1 100 2");
    });
    assert_eq!(events, ["25 #1 fill 2@100 queue", "25 #1 filled"]);
    let mut bench = Bench::new(quick(), "add sell 3 101 4");
    bench.send(5, 1, Terms { display: Some(Qty(2)), ..buy(5, 100) });
    bench.rows(8, "add buy 6 100 6");
    bench.trade(20, Side::Sell, 100, 3);
    bench.rows(20, "modify buy 6 100 3");
    // Three of order 6 stand before the second part now.
    bench.trade(21, Side::Sell, 100, 3);
    bench.rows(21, "delete buy 6 100 3");
    bench.trade(22, Side::Sell, 99, 9);
    let expected = ["6 #1 new", "20 #1 fill 2@100 queue", "20 #1 refilled", "22 #1 fill 3@100 through", "22 #1 filled"];
    assert_eq!(bench.end(), expected);
}

/// Goal: an order takes what stands before one of the same account, then it is cancelled; other accounts do not count.
#[test]
fn self_trades() {
    let mut bench = Bench::new(quick(), BOOK);
    assert_eq!(bench.paper.add_account(), Some(1));
    bench.send(5, 1, sell(2, 102));
    bench.send(10, 2, buy(15, 102));
    bench.ask(
        1,
        10,
        Request::Add { order: 1, terms: Terms { time_in_force: TimeInForce::Ioc, ..buy(15, 102) }, deadline: i64::MAX },
    );
    let expected = [
        "6 #1 new",
        "11 #2 new",
        "11 #2 fill 4@101 taken",
        "11 #2 fill 9@102 taken",
        "11 #2 canceled: Self trade prevention",
        "11 1#1 new",
        "11 1#1 fill 4@101 taken",
        "11 1#1 fill 9@102 taken",
        "11 1#1 canceled: Immediate or cancel",
    ];
    assert_eq!(bench.end(), expected);
    // What came behind our own order at its price is not reached.
    let mut bench = Bench::new(quick(), "add buy 1 100 5");
    bench.send(5, 1, sell(2, 102));
    bench.rows(7, "add sell 9 102 3");
    bench.send(10, 2, buy(1, 102));
    assert_eq!(bench.end(), ["6 #1 new", "11 #2 new", "11 #2 canceled: Self trade prevention"]);
}

/// Goal: a trade is shared by the orders of an account, at one price and over prices; where each is judged alone it is not.
#[test]
fn trades_are_shared() {
    let run = |together| {
        let mut bench = Bench::new(Options { together, ..quick() }, "add sell 3 101 4, add buy 1 100 1");
        for (order, price) in [(1, 100), (2, 100), (3, 99)] {
            bench.send(5, order, buy(2, price));
        }
        bench.trade(20, Side::Sell, 100, 1);
        bench.trade(20, Side::Sell, 98, 3);
        bench.rows(20, "delete buy 1 100 1");
        bench.end().split_off(3)
    };
    assert_eq!(run(Together::Share), ["20 #1 fill 2@100 through", "20 #1 filled", "20 #2 fill 1@100 through"]);
    assert_eq!(run(Together::Alone).len(), 6);
}

/// Goal: an order that arrives after its deadline is refused; one that arrives with it is not.
#[test]
fn deadlines() {
    let mut bench = Bench::new(quick(), BOOK);
    for (order, deadline) in [(1, 6), (2, 5)] {
        bench.ask(0, 5, Request::Add { order, terms: buy(1, 100), deadline: deadline * MS });
    }
    assert_eq!(bench.end(), ["6 #1 new", "6 #2 Add refused: EService:Deadline elapsed"]);
}

/// Goal: orders at a price that comes into the window stand where their own times say.
#[test]
fn prices_that_come_into_the_window() {
    let mut bench = Bench::new(quick(), BOOK);
    bench.send(5, 1, buy(3, 97));
    bench.rows(15, "add buy 20 97 3 2, add buy 21 97 4 9");
    bench.until(16);
    let place = bench.paper.place(0, 1).expect("it rests");
    assert_eq!((place.orders_ahead, place.qty_ahead, place.qty_behind, place.exact), (1, Qty(3), Qty(4), true));
    bench.trade(20, Side::Sell, 97, 5);
    bench.rows(20, "delete buy 20 97 3, modify buy 21 97 2");
    assert_eq!(bench.end(), ["20 #1 fill 2@97 queue"]);
}

/// Goal: what stood before an order when its price left the window counts until the price is shown again.
#[test]
fn prices_that_leave_the_window() {
    let mut bench = Bench::new(Options { depth: 2, ..quick() }, BOOK);
    bench.send(5, 1, buy(3, 99));
    bench.rows(10, "add buy 7 101 1, delete sell 3 101 4");
    bench.until(11);
    let place = bench.paper.place(0, 1).expect("it rests");
    assert_eq!((place.qty_ahead, place.exact), (Qty(9), false));
    bench.trade(20, Side::Sell, 99, 4);
    bench.trade(21, Side::Sell, 99, 6);
    // Nine stood before it.
    assert_eq!(bench.until(25), ["21 #1 fill 1@99 beyond in doubt"]);
    // It is shown again: nothing stands there.
    bench.rows(30, "delete buy 7 101 1, add buy 5 99 2 1");
    bench.until(31);
    let place = bench.paper.place(0, 1).expect("it rests");
    assert_eq!((place.orders_ahead, place.qty_ahead, place.exact), (1, Qty(2), true));
}

/// Goal: in a gap new orders are refused; afterwards times, or the worst, decide the place, or all are cancelled.
#[test]
fn gaps() {
    let run = |gaps| {
        of_two(Options { gaps, ..quick() }, |bench| {
            bench.paper.gap(0, 10 * MS);
            bench.send(11, 2, buy(1, 100));
            bench.trade(13, Side::Sell, 100, 1);
            bench.snapshot(15, "add buy 9 100 4 9, add buy 2 100 3 1, add sell 3 101 4 1");
            bench.trade(20, Side::Sell, 100, 4);
            bench.rows(20, "delete buy 2 100 3, modify buy 9 100 3");
        })
    };
    let refused = "12 #2 Add refused: krakpot:gap";
    let time = [refused, "13 #1 fill 1@100 beyond in doubt", "20 #1 fill 1@100 queue", "20 #1 filled"];
    assert_eq!(run(Gaps::Time), time);
    assert_eq!(run(Gaps::Worst), [refused]);
    assert_eq!(run(Gaps::Cancel), ["10 #1 canceled: krakpot:gap", refused]);
    // Before the first snapshot nothing is known.
    let mut bench = Bench::new(quick(), "");
    bench.paper.gap(0, 2 * MS);
    bench.send(5, 1, buy(1, 100));
    assert_eq!(bench.end(), ["6 #1 Add refused: krakpot:gap"]);
}

/// Goal: a trade that is received later than the orders that lost it is joined with them; also one that is very late.
#[test]
fn trades_are_joined_with_what_orders_lost() {
    for (join, late) in [(10, 5), (10, 15), (0, 5)] {
        let events = of_two(Options { join: join * MS, ..quick() }, |bench| {
            bench.rows(8, "add buy 6 100 6");
            bench.rows(20, "delete buy 1 100 5, delete buy 2 100 3, modify buy 6 100 5");
            bench.rows(22, "delete buy 6 100 5");
            bench.trade_at(20 + late, 20, Side::Sell, 100, 9);
        });
        assert_eq!(events, ["20 #1 fill 1@100 queue"], "join {join}, {late} late");
    }
    // Two late trades of one instant are decided together.
    let events = of_two(quick(), |bench| {
        bench.rows(20, "delete buy 1 100 5, delete buy 2 100 3");
        bench.trade_at(25, 20, Side::Sell, 100, 8);
        bench.trade_at(26, 20, Side::Sell, 100, 1);
        bench.trade_at(27, 20, Side::Sell, 100, 1);
    });
    assert_eq!(events, ["20 #1 fill 1@100 beyond in doubt", "20 #1 fill 1@100 beyond in doubt", "20 #1 filled"]);
    // A trade that is told twice counts once.
    let mut bench = Bench::new(quick(), BOOK);
    bench.send(5, 1, buy(2, 100));
    for recv in [20, 30] {
        bench.paper.trade(0, recv * MS, 20 * MS, Side::Sell, Price(99), Qty(1), 7);
    }
    assert_eq!(bench.end(), ["6 #1 new", "20 #1 fill 1@100 through"]);
}

/// Goal: a stop waits for a worse price of the last trade, a profit for a better one; then they are orders.
#[test]
fn triggers() {
    let mut bench = Bench::new(quick(), BOOK);
    let at = |price, stop| Some(Trigger { price: Price(price), stop });
    bench.send(5, 1, Terms { price: None, trigger: at(102, true), ..buy(1, 0) });
    bench.send(5, 2, Terms { trigger: at(100, false), ..buy(2, 99) });
    bench.trade(10, Side::Buy, 101, 1);
    bench.trade(15, Side::Sell, 100, 1);
    bench.trade(20, Side::Buy, 102, 1);
    let expected =
        ["6 #1 new", "6 #2 new", "15 #2 triggered", "20 #1 triggered", "20 #1 fill 1@101 taken", "20 #1 filled"];
    assert_eq!(bench.until(21), expected);
    // The last price is there already.
    bench.send(25, 3, Terms { price: None, trigger: at(102, true), ..buy(1, 0) });
    bench.send(25, 4, Terms { trigger: at(90, true), ..sell(1, 90) });
    bench.cancel(30, 4);
    let expected = [
        "26 #3 new",
        "26 #3 triggered",
        "26 #3 fill 1@101 taken",
        "26 #3 filled",
        "26 #4 new",
        "31 #4 canceled: User requested",
    ];
    assert_eq!(bench.end(), expected);
}

/// Goal: an order ends with its time, after what happened then.
#[test]
fn orders_expire() {
    let mut bench = Bench::new(quick(), BOOK);
    bench.send(5, 1, Terms { time_in_force: TimeInForce::Gtd(20 * MS), ..buy(2, 100) });
    bench.trade(20, Side::Sell, 99, 1);
    bench.trade(25, Side::Sell, 99, 1);
    assert_eq!(bench.end(), ["6 #1 new", "20 #1 fill 1@100 through", "20 #1 expired"]);
}

/// Goal: our own real orders are not in the record: what was traded with them is ours.
#[test]
fn real_orders_are_hidden() {
    for early in [true, false] {
        let mut bench = Bench::new(quick(), "add sell 3 101 4, add buy 1 100 5");
        if early {
            bench.paper.hide(["OURS"]);
        }
        bench.send(5, 1, buy(2, 100));
        bench.rows(7, "add buy OURS 100 2 6");
        if !early {
            bench.paper.advance(8 * MS);
            bench.paper.hide(["OURS"]);
        }
        bench.trade(20, Side::Sell, 100, 7);
        bench.rows(20, "delete buy 1 100 5, delete buy OURS 100 2");
        assert_eq!(bench.end(), ["6 #1 new", "20 #1 fill 2@100 beyond in doubt", "20 #1 filled"]);
    }
}

/// Goal: the traded quantity that no order lost is counted.
#[test]
fn attribution() {
    let mut bench = Bench::new(quick(), BOOK);
    bench.trade(20, Side::Sell, 100, 4);
    bench.trade(20, Side::Sell, 100, 2);
    bench.rows(20, "delete buy 1 100 5");
    bench.trade(30, Side::Buy, 101, 3);
    bench.rows(30, "modify sell 3 101 1");
    bench.trade_at(35, 30, Side::Buy, 101, 2);
    bench.until(40);
    let found = bench.paper.attribution(0);
    assert_eq!((found.printed, found.unattributed), (Qty(11), Qty(3)));
    bench.rows(45, "delete sell 77 101 1");
    bench.until(50);
    assert_eq!(bench.paper.skipped(0), 1);
}

/// Goal: replies are heard after the way back, never before they could be decided, and a quiet market holds nothing back.
#[test]
fn replies_are_heard_in_time() {
    let latency = krakpot_trade::paper::Latency::Fixed { entry: 2 * MS, response: 3 * MS };
    let mut bench = Bench::new(Options { latency, join: 10 * MS, ..quick() }, BOOK);
    bench.until(12);
    bench.send(20, 1, buy(2, 100));
    assert_eq!(bench.paper.next_due(), 25 * MS);
    assert!(bench.until(24).is_empty());
    assert_eq!(bench.until(25), ["22 #1 new"]);
    bench.trade_at(31, 30, Side::Sell, 99, 1);
    assert_eq!(bench.paper.next_due(), 41 * MS);
    assert!(bench.until(40).is_empty());
    bench.paper.advance(41 * MS);
    let heard: Vec<i64> = bench.paper.take_replies().iter().map(|reply| reply.1 / MS).collect();
    assert_eq!(heard, [41]);
    assert_eq!(bench.paper.next_due(), i64::MAX);
    // Requests of an account keep their order; a known arrival is taken as it is.
    bench.paper.send_at(0, Sent { ts: 50 * MS, request: Request::Cancel { order: 1 } }, 60 * MS);
    bench.send(51, 2, buy(1, 100));
    assert_eq!(bench.end(), ["60 #1 canceled: User requested", "60 #2 new"]);
}

/// Goal: with recorded ways, a request takes as long as the newest message did.
#[test]
fn recorded_ways() {
    let latency = krakpot_trade::paper::Latency::Recorded;
    let mut bench = Bench::new(Options { latency, ..quick() }, BOOK);
    bench.rows_at(13, 10, "add buy 8 98 1");
    bench.send(20, 1, buy(2, 100));
    bench.paper.advance(i64::MAX);
    let replies = bench.paper.take_replies();
    let times: Vec<_> = replies.iter().map(|(_, heard, reply)| (heard / MS, text(0, reply))).collect();
    assert_eq!(times.last(), Some(&(26, Some("23 #1 new".to_owned()))));
}

/// Goal: in a stall of the feed a request is later by exactly what the feed is late of its usual time, times the coupling;
/// a clock that is wrong by any amount changes nothing.
#[test]
fn ways_grow_with_the_load_of_the_feed() {
    let sent_late = |coupling: i64, clock: i64| {
        let latency = krakpot_trade::paper::Latency::Loaded { entry: 2 * MS, response: 3 * MS, coupling };
        let mut bench = Bench::empty(Options { latency, ..quick() });
        // The usual way takes 4 ms, by a clock that may be wrong.
        bench.snapshot_at(4 + clock, 0, BOOK);
        bench.rows_at(14 + clock, 10, "add buy 8 98 1");
        bench.send(16 + clock, 1, buy(1, 98));
        bench.rows_at(64 + clock, 20, "delete buy 8 98 1");
        bench.send(70 + clock, 2, buy(1, 98));
        bench.rows_at(104 + clock, 100, "add buy 9 98 1");
        bench.send(110 + clock, 3, buy(1, 98));
        bench.paper.advance(i64::MAX);
        let replies = bench.paper.take_replies();
        let new = replies.iter().filter_map(|(_, _, reply)| text(0, reply)).filter(|text| text.ends_with("new"));
        new.collect::<Vec<_>>()
    };
    // 40 ms late at the second one.
    assert_eq!(sent_late(0, 0), ["18 #1 new", "72 #2 new", "112 #3 new"]);
    assert_eq!(sent_late(1_000_000, 0), ["18 #1 new", "112 #2 new", "112 #3 new"]);
    assert_eq!(sent_late(500_000, 0), ["18 #1 new", "92 #2 new", "112 #3 new"]);
    assert_eq!(sent_late(1_000_000, -300), ["-282 #1 new", "-188 #2 new", "-188 #3 new"]);
}
