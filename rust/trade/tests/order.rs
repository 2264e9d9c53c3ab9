//! The state of one order, reply by reply: what each of them changes, and what it may not.

mod common;

use std::sync::Arc;

use common::{SECOND, fill, id, limit, pair, refused, report, taken};
use krakpot_trade::amount::{Amount, Price, Qty};
use krakpot_trade::order::{Found, GRACE, Ignored, Order, State, Until};
use krakpot_trade::report::{Answer, Asked, Change, Evidence, Fill};
use krakpot_trade::terms::Side;
use krakpot_trade::wire::refusal::Refusal;

/// An order of 1000 at 500, sent at 0, to be matched within five seconds.
fn order() -> Order {
    Order::new(7, limit(Side::Buy, 1000, 500), Arc::from("maker"), 0, Until::at(5 * SECOND))
}

/// Applies a report.
fn hear(order: &mut Order, ts: i64, change: Change, filled: impl Into<Option<i64>>) -> Result<(), Ignored> {
    order.report(&pair("BTC", "USD"), &report(7, ts, change, filled.into()))
}

fn answer(order: &mut Order, answer: &Answer) -> Result<(), Ignored> {
    order.answer(answer, false)
}

fn part(exec_id: &str, qty: i64) -> Change {
    Change::Fill(fill(&pair("BTC", "USD"), exec_id, qty, 500))
}

fn amended(qty: i64, price: i64) -> Change {
    Change::Amended { qty: Qty(qty), price: Some(Price(price)), restated: false }
}

/// An order that rests since 10.
fn resting() -> Order {
    let mut order = order();
    assert_eq!(answer(&mut order, &taken(7, Asked::Add, 9)), Ok(()));
    assert_eq!(hear(&mut order, 10, Change::New, 0), Ok(()));
    order
}

/// Goal: the life that every order hopes for; each reply a second time changes nothing.
#[test]
fn from_sent_to_filled() {
    let mut order = order();
    assert_eq!((order.state(), order.left()), (State::Sent, Qty(1000)));
    let ack = taken(7, Asked::Add, 9);
    assert_eq!(answer(&mut order, &ack), Ok(()));
    assert_eq!((order.state(), order.acked, order.order_id.clone()), (State::Pending, Some(9), Some(id(7))));
    assert_eq!(answer(&mut order, &ack), Err(Ignored::Duplicate));
    for (change, filled, state, again) in [
        (Change::Pending, 0, State::Pending, Ignored::Stale),
        (Change::New, 0, State::Open, Ignored::Stale),
        (Change::Refilled, 0, State::Open, Ignored::Stale),
        (Change::Triggered, 0, State::Open, Ignored::Stale),
        (part("a", 400), 400, State::Open, Ignored::Duplicate),
        (part("b", 600), 1000, State::Filled, Ignored::Duplicate),
    ] {
        assert_eq!(hear(&mut order, 10, change.clone(), filled), Ok(()), "{change:?}");
        assert_eq!((order.state(), order.filled), (state, Qty(filled)));
        let before = format!("{order:?}");
        assert_eq!(hear(&mut order, 10, change.clone(), filled), Err(again), "{change:?}");
        assert_eq!(format!("{order:?}"), before);
    }
    assert_eq!(hear(&mut order, 11, Change::Filled, 1000), Err(Ignored::Stale), "the quantity said so");
    assert_eq!(order.average(&pair("BTC", "USD")), Some(50 * common::ONE));
    assert_eq!((order.ended, order.reported, order.at_stake()), (Some(10), Some(10), Qty(0)));
}

/// Goal: the answer comes after the fill, and what was before the fill comes last.
#[test]
fn an_answer_after_the_fill() {
    let mut order = order();
    assert_eq!(hear(&mut order, 12, part("a", 1000), 1000), Ok(()));
    assert_eq!((order.state(), order.acked), (State::Filled, None));
    assert_eq!(answer(&mut order, &taken(7, Asked::Add, 11)), Ok(()));
    assert_eq!((order.state(), order.acked), (State::Filled, Some(11)));
    assert_eq!(hear(&mut order, 10, Change::New, 0), Err(Ignored::Stale));
    assert_eq!(hear(&mut order, 13, Change::Canceled, 1000), Err(Ignored::Ended));
}

/// Goal: fills are told apart by their id and by the number of the trade; without both they are not taken.
#[test]
fn a_fill_is_applied_once() {
    let mut order = resting();
    let with = |exec_id: &str, trade_id| {
        let fill = Fill { exec_id: exec_id.into(), trade_id, ..fill(&pair("BTC", "USD"), "", 100, 500) };
        Change::Fill(fill)
    };
    for (change, result, booked) in [
        (with("a", Some(1)), Ok(()), 100),
        (with("a", None), Err(Ignored::Duplicate), 100),
        (with("b", Some(1)), Err(Ignored::Duplicate), 100),
        (with("b", None), Ok(()), 200),
        (with("", Some(1)), Err(Ignored::Duplicate), 200),
        (with("", Some(2)), Ok(()), 300),
        (with("", Some(2)), Err(Ignored::Duplicate), 300),
        (with("c", Some(2)), Err(Ignored::Duplicate), 300),
        (with("", None), Err(Ignored::Malformed), 300),
    ] {
        assert_eq!(hear(&mut order, 20, change.clone(), None), result, "{change:?}");
        assert_eq!((order.booked, order.filled), (Qty(booked), Qty(booked)));
    }
}

/// Goal: a report of a fill that was lost is known by what is filled in all, and stays at stake until it comes.
#[test]
fn a_fill_that_is_missing() {
    let mut order = resting();
    assert_eq!(hear(&mut order, 21, part("b", 300), 700), Ok(()));
    assert_eq!((order.filled, order.booked, order.at_stake()), (Qty(700), Qty(300), Qty(700)));
    assert_eq!(hear(&mut order, 22, Change::Canceled, 700), Ok(()));
    assert_eq!((order.state(), order.left(), order.at_stake()), (State::Canceled, Qty(0), Qty(400)));
    assert_eq!(hear(&mut order, 20, part("x", 401), None), Err(Ignored::Overfilled));
    assert_eq!(hear(&mut order, 20, part("a", 400), 400), Ok(()));
    assert_eq!((order.state(), order.booked, order.at_stake()), (State::Canceled, Qty(700), Qty(0)));
}

/// Goal: an end that does not say how much is filled leaves nothing at stake; a fill that comes later is still booked.
#[test]
fn an_end_without_a_quantity() {
    let mut order = resting();
    assert_eq!(hear(&mut order, 22, Change::Canceled, None), Ok(()));
    assert_eq!((order.state(), order.at_stake(), order.claims()[0].1), (State::Canceled, Qty(0), Qty(0)));
    assert_eq!(hear(&mut order, 20, part("a", 1001), None), Err(Ignored::Overfilled));
    assert_eq!(hear(&mut order, 20, part("a", 1000), None), Ok(()));
    assert_eq!((order.state(), order.booked, order.filled), (State::Canceled, Qty(1000), Qty(1000)));
}

/// Goal: an order at its quantity is filled; one step more is refused, and changes nothing.
#[test]
fn never_more_than_ordered() {
    let mut order = resting();
    let before = format!("{order:?}");
    assert_eq!(hear(&mut order, 20, part("a", 1001), None), Err(Ignored::Overfilled));
    assert_eq!(hear(&mut order, 20, part("a", 1000), 1001), Err(Ignored::Overfilled));
    assert_eq!(hear(&mut order, 20, Change::Filled, 1001), Err(Ignored::Overfilled));
    assert_eq!(format!("{order:?}"), before);
    assert_eq!(hear(&mut order, 20, part("a", 1000), 1000), Ok(()));
    assert_eq!(order.state(), State::Filled);
}

/// Goal: what cannot be in a report is refused before it changes anything.
#[test]
fn malformed_reports() {
    let (mut order, pair) = (resting(), pair("BTC", "USD"));
    let before = format!("{order:?}");
    let good = fill(&pair, "a", 100, 500);
    for bad in [
        Fill { qty: Qty(0), ..good.clone() },
        Fill { qty: Qty(-5), ..good.clone() },
        Fill { price: Price(0), ..good.clone() },
        Fill { price: Price(i64::MAX), qty: Qty(i64::MAX), ..good.clone() },
        Fill { fee: Amount::MIN, ..good.clone() },
    ] {
        assert_eq!(hear(&mut order, 20, Change::Fill(bad.clone()), None), Err(Ignored::Malformed), "{bad:?}");
    }
    assert_eq!(hear(&mut order, 20, Change::Fill(good.clone()), 99), Err(Ignored::Malformed), "less in all than now");
    assert_eq!(hear(&mut order, 20, Change::New, -1), Err(Ignored::Malformed));
    for qty in [0, -1, i64::MIN] {
        assert_eq!(hear(&mut order, 20, amended(qty, 500), 0), Err(Ignored::Malformed));
    }
    let mut other = report(7, 20, Change::Canceled, Some(0));
    other.order_id = "another".into();
    assert_eq!(order.report(&pair, &other), Err(Ignored::OtherId));
    other.order_id = "".into();
    assert_eq!(Order::report(&mut self::order(), &pair, &other), Err(Ignored::Malformed));
    assert_eq!(format!("{order:?}"), before);
}

/// Goal: an amendment is made when it is reported, not when it is answered; an older one changes nothing.
#[test]
fn amendments() {
    let mut order = resting();
    order.amend(Some(Qty(2000)), None, 20, Until::at(30));
    assert_eq!((order.state(), order.qty, order.most()), (State::Amending, Qty(1000), Qty(2000)));
    assert_eq!(answer(&mut order, &taken(7, Asked::Amend, 22)), Ok(()));
    assert_eq!((order.state(), order.qty), (State::Amending, Qty(1000)));
    assert_eq!(hear(&mut order, 21, amended(2000, 501), 0), Ok(()));
    assert_eq!((order.state(), order.qty, order.price), (State::Open, Qty(2000), Some(Price(501))));
    assert_eq!(order.age(30), 10, "its age begins with the amendment");
    assert_eq!(hear(&mut order, 21, amended(2000, 501), 0), Err(Ignored::Duplicate));
    assert_eq!(hear(&mut order, 20, amended(1500, 502), 0), Err(Ignored::Stale));
    assert_eq!(hear(&mut order, 25, part("a", 1800), 1800), Ok(()));
    assert_eq!(hear(&mut order, 26, amended(1799, 501), None), Err(Ignored::Contradicts));
    assert_eq!(answer(&mut order, &taken(7, Asked::Amend, 40)), Err(Ignored::Stale), "none is under way");
}

/// Goal: a refused amendment leaves the order as it is, and the next one may be made.
#[test]
fn a_refused_amendment() {
    let mut order = resting();
    order.amend(None, Some(Price(600)), 20, Until::at(30));
    let no = refused(7, Asked::Amend, 22, "EOrder:Post only order");
    assert_eq!(answer(&mut order, &no), Ok(()));
    assert_eq!((order.state(), order.price), (State::Open, Some(Price(500))));
    order.amend(None, Some(Price(700)), 40, Until::at(50));
    assert_eq!(answer(&mut order, &no), Err(Ignored::Duplicate), "it was the answer to the first");
    assert_eq!(order.state(), State::Amending);
    assert_eq!(answer(&mut order, &refused(7, Asked::Amend, 42, "EOrder:Post only order")), Ok(()));
    order.amend(None, Some(Price(800)), 60, Until::at(70));
    assert_eq!(answer(&mut order, &no), Err(Ignored::Stale), "older than the answer to the second");
    assert_eq!(order.state(), State::Amending);
}

/// Goal: a fill beyond the quantity proves the amendment that is under way, and no other.
#[test]
fn a_fill_proves_an_amendment() {
    let mut order = resting();
    order.amend(Some(Qty(1500)), Some(Price(510)), 20, Until::at(30));
    assert_eq!(hear(&mut order, 25, part("a", 1000), 1000), Ok(()));
    assert_eq!(order.state(), State::Amending, "filled only if the amendment was refused");
    assert_eq!(hear(&mut order, 26, part("b", 501), 1501), Err(Ignored::Overfilled));
    assert_eq!(hear(&mut order, 26, part("b", 200), 1200), Ok(()));
    assert_eq!((order.qty, order.price), (Qty(1500), Some(Price(510))));
    assert_eq!(hear(&mut order, 24, amended(1500, 510), 0), Ok(()));
    assert_eq!((order.state(), order.left()), (State::Open, Qty(300)));

    let mut order = resting();
    order.amend(Some(Qty(1500)), None, 20, Until::at(30));
    assert_eq!(hear(&mut order, 25, part("a", 1000), 1000), Ok(()));
    assert_eq!(answer(&mut order, &refused(7, Asked::Amend, 27, "EOrder:Unknown order")), Ok(()));
    assert_eq!(order.state(), State::Filled, "it was not amended, so this is all of it");
}

/// Goal: an order that is amended to what is filled is cancelled, not filled, in whichever order that is heard.
#[test]
fn amended_away() {
    let replies = [(20, part("a", 400), 400), (30, amended(400, 500), 400), (31, Change::Canceled, 400)];
    for turn in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut order = resting();
        for place in turn {
            let (ts, change, filled) = replies[place].clone();
            assert_eq!(hear(&mut order, ts, change, filled), Ok(()), "{turn:?}");
        }
        let known = (order.state(), order.qty, order.filled, order.booked);
        assert_eq!(known, (State::Canceled, Qty(400), Qty(400), Qty(400)), "{turn:?}");
    }
}

/// Goal: a cancel is made when it is reported; one that is refused because the order is gone leaves it unknown until a
/// report says how it ended.
#[test]
fn cancels() {
    let mut order = resting();
    order.cancel(20, Until::at(30));
    assert!(order.state() == State::Canceling && order.is_canceling());
    assert_eq!(answer(&mut order, &taken(7, Asked::Cancel, 21)), Ok(()));
    assert_eq!(order.state(), State::Canceling);
    assert_eq!(hear(&mut order, 20, part("a", 10), 10), Ok(()));
    assert_eq!(hear(&mut order, 21, Change::Canceled, 10), Ok(()));
    assert_eq!(order.state(), State::Canceled);

    let mut order = resting();
    order.cancel(20, Until::at(30));
    assert_eq!(answer(&mut order, &refused(7, Asked::Cancel, 21, "EOrder:Unknown order")), Ok(()));
    assert_eq!(order.state(), State::Unknown);
    assert_eq!(hear(&mut order, 19, part("a", 1000), 1000), Ok(()));
    assert_eq!(order.state(), State::Filled);
}

/// Goal: a request without an answer is unknown from its deadline on, not before; any sign of life ends that.
#[test]
fn unknown() {
    let mut order = order();
    assert_eq!(order.next_due(), Some(5 * SECOND));
    assert!(!order.advance(5 * SECOND - 1) && order.state() == State::Sent);
    assert!(order.advance(5 * SECOND) && order.state() == State::Unknown);
    assert!(!order.advance(6 * SECOND), "it is told once");
    assert_eq!((order.next_due(), order.at_stake()), (None, Qty(1000)));
    assert_eq!(hear(&mut order, 10, Change::New, 0), Ok(()));
    assert_eq!(order.state(), State::Open);
    order.amend(Some(Qty(900)), None, 7 * SECOND, Until::at(9 * SECOND));
    order.cancel(8 * SECOND, Until::at(10 * SECOND));
    assert!(order.advance(9 * SECOND) && order.state() == State::Unknown);
    assert_eq!(hear(&mut order, 20, amended(900, 500), 0), Ok(()));
    assert_eq!(order.state(), State::Canceling);
    assert!(order.advance(10 * SECOND));
    assert_eq!(hear(&mut order, 21, Change::Expired, 0), Ok(()));
    assert_eq!(order.state(), State::Expired);
}

/// Goal: a clear refusal of an order ends it; one that leaves it open does not; in a simulation all are clear.
#[test]
fn refusals_of_an_order() {
    for (text, clear) in [
        ("EOrder:Insufficient funds", true),
        ("EGeneral:Invalid arguments:volume", true),
        ("EService:Market in cancel_only mode", true),
        ("eorder: rate limit exceeded", true),
        ("EService:Busy", false),
        ("EService: Unavailable", false),
        ("EService:Deadline elapsed", false),
        ("EGeneral:Internal error:5", false),
        ("EOrder:Reduce only:Position is closed", false),
        ("a text that nobody knows", false),
    ] {
        assert_eq!(Refusal::of(text) == Refusal::MayLive, !clear, "{text}");
        let no = refused(7, Asked::Add, 9, text);
        let (mut order, mut certain) = (order(), order());
        assert_eq!(answer(&mut order, &no), Ok(()));
        assert_eq!(order.state(), if clear { State::Rejected } else { State::Unknown }, "{text}");
        assert_eq!(certain.answer(&no, true), Ok(()));
        assert_eq!((certain.state(), &*certain.reason), (State::Rejected, text));
    }
    let mut order = resting();
    let late = refused(7, Asked::Add, 11, "EOrder:Insufficient funds");
    assert_eq!(answer(&mut order, &late), Err(Ignored::Contradicts), "it rests");
    let mut gone = self::order();
    assert_eq!(answer(&mut gone, &late), Ok(()));
    assert_eq!(hear(&mut gone, 12, part("a", 10), 10), Err(Ignored::Ended));
}

fn found(ts: i64, state: State, filled: i64) -> Found {
    Found {
        ts,
        order_id: id(7),
        state,
        qty: Qty(1000),
        price: Some(Price(500)),
        filled: Qty(filled),
        fills: Vec::new(),
        reason: "User requested".into(),
    }
}

/// Goal: an order that was looked for in vain ends five seconds after its deadline, not earlier, and not if it ever
/// showed a sign of life.
#[test]
fn not_found() {
    let mut order = order();
    order.advance(5 * SECOND);
    assert_eq!(order.not_found(5 * SECOND + GRACE - 1), Err(Ignored::TooEarly));
    assert_eq!(order.state(), State::Unknown);
    assert_eq!(order.not_found(5 * SECOND + GRACE), Ok(()));
    assert_eq!((order.state(), &*order.reason, order.at_stake()), (State::Rejected, "krakpot:not_found", Qty(0)));
    assert_eq!(order.not_found(i64::MAX), Err(Ignored::Ended));
    assert_eq!(resting().not_found(i64::MAX), Err(Ignored::Contradicts));
}

/// Goal: a look gives what was lost; a second one, or one at the past, changes nothing; one that cannot be is refused.
#[test]
fn looks() {
    let pair = pair("BTC", "USD");
    let mut order = resting();
    let fills = vec![fill(&pair, "a", 300, 500), fill(&pair, "b", 200, 499)];
    let look = Found { fills: fills.clone(), ..found(50, State::Canceled, 500) };
    assert_eq!(hear(&mut order, 20, part("a", 300), 300), Ok(()));
    assert_eq!(order.found(&pair, &look), Ok(vec![fills[1].clone()]));
    assert_eq!((order.state(), order.booked, &*order.reason), (State::Canceled, Qty(500), "User requested"));
    assert_eq!(order.found(&pair, &look), Err(Ignored::Stale));
    assert_eq!(order.found(&pair, &found(40, State::Open, 100)), Err(Ignored::Stale), "the past");
    assert_eq!(order.found(&pair, &found(60, State::Filled, 1000)), Err(Ignored::Ended));
    let mut order = resting();
    for (bad, why) in [
        (Found { order_id: "another".into(), ..look.clone() }, Ignored::OtherId),
        (Found { order_id: "".into(), ..look.clone() }, Ignored::Malformed),
        (Found { filled: Qty(499), ..look.clone() }, Ignored::Malformed),
        (Found { qty: Qty(499), ..look.clone() }, Ignored::Malformed),
        (Found { state: State::Unknown, ..look.clone() }, Ignored::Malformed),
        (found(50, State::Open, 1001), Ignored::Malformed),
    ] {
        assert_eq!(order.found(&pair, &bad), Err(why), "{bad:?}");
    }
    assert_eq!((order.state(), order.filled), (State::Open, Qty(0)));
}

/// Goal: the answer to a request whose result a look showed is not taken for that of the next one.
#[test]
fn an_answer_from_before_the_look() {
    let mut order = resting();
    order.amend(Some(Qty(2000)), None, 0, Until::at(SECOND));
    assert_eq!(order.found(&pair("BTC", "USD"), &found(SECOND + GRACE, State::Open, 0)), Ok(Vec::new()));
    order.amend(Some(Qty(3000)), None, SECOND + GRACE, Until::at(2 * SECOND + GRACE));
    let late = |ts| refused(7, Asked::Amend, ts, "EOrder:Post only order");
    assert_eq!(answer(&mut order, &late(20)), Err(Ignored::Stale));
    assert_eq!(order.state(), State::Amending);
    assert_eq!(answer(&mut order, &late(SECOND + GRACE + 1)), Ok(()));
    assert_eq!(order.state(), State::Open);
}

/// Goal: an answer that comes after a report takes nothing back.
#[test]
fn an_answer_after_the_report() {
    let mut order = order();
    assert_eq!(hear(&mut order, 10, Change::New, 0), Ok(()));
    assert_eq!(answer(&mut order, &taken(7, Asked::Add, 9)), Ok(()));
    assert_eq!((order.state(), order.acked), (State::Open, Some(9)));
}

/// Goal: a look at an open order settles the requests that were over by then, and leaves younger ones.
#[test]
fn a_look_settles_requests() {
    let pair = pair("BTC", "USD");
    let mut order = resting();
    order.amend(Some(Qty(2000)), None, 0, Until::at(SECOND));
    order.advance(SECOND);
    assert_eq!(order.state(), State::Unknown);
    assert_eq!(order.found(&pair, &found(SECOND + GRACE - 1, State::Open, 0)), Err(Ignored::Stale));
    assert_eq!(order.state(), State::Unknown, "it may still be made");
    assert_eq!(order.found(&pair, &found(SECOND + GRACE, State::Open, 0)), Ok(Vec::new()));
    assert_eq!((order.state(), order.qty), (State::Open, Qty(1000)));
    order.amend(Some(Qty(2000)), None, 0, Until::at(SECOND));
    let made = Found { qty: Qty(2000), ..found(SECOND + GRACE + 1, State::Open, 0) };
    assert_eq!(order.found(&pair, &made), Ok(Vec::new()));
    assert_eq!((order.state(), order.qty), (State::Open, Qty(2000)));
}

/// Goal: the exchange fills an order once with a trade, whatever it calls that; a simulated trade may fill an iceberg twice.
#[test]
fn one_fill_for_a_trade() {
    for (evidence, second) in [(Evidence::Exchange, Err(Ignored::Duplicate)), (Evidence::Queue, Ok(()))] {
        let mut order = resting();
        let made = |name: &str| {
            let Change::Fill(fill) = part(name, 100) else { panic!("a fill") };
            Change::Fill(Fill { trade_id: Some(77), evidence, ..fill })
        };
        assert_eq!(hear(&mut order, 20, made("a"), 100), Ok(()));
        assert_eq!(hear(&mut order, 20, made("a"), 100), Err(Ignored::Duplicate));
        assert_eq!(hear(&mut order, 21, made("b"), 200), second);
    }
}

/// Goal: an order that was rejected is there again when the exchange shows it, with its terms.
#[test]
fn revived() {
    let mut order = order();
    assert_eq!(answer(&mut order, &refused(7, Asked::Add, 22, "EOrder:Insufficient funds")), Ok(()));
    assert_eq!((order.state(), order.most()), (State::Rejected, Qty(0)));
    assert_eq!(hear(&mut order, 23, Change::New, 0), Err(Ignored::Ended));
    order.revive();
    assert_eq!((order.state(), order.most(), &*order.reason), (State::Pending, Qty(1000), ""));
    assert_eq!(hear(&mut order, 23, Change::New, 0), Ok(()));
    order.revive();
    assert_eq!(order.state(), State::Open);
}
