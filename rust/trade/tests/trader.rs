//! An account as its strategy and its exchange see it: requests, refusals, holds, limits, halts, and what is looked
//! for.

mod common;

use std::collections::BTreeMap;

use common::{ONE, SECOND, fill, id, limit, pair, refused, reported, taken};
use krakpot_trade::amount::{Amount, Price, Qty};
use krakpot_trade::limits::Limits;
use krakpot_trade::order::{Found, GRACE, Ignored, Look, State};
use krakpot_trade::rate::Tier;
use krakpot_trade::report::{Asked, Change, Reply};
use krakpot_trade::rules::code;
use krakpot_trade::terms::{Request, Sent, Side, Terms, TimeInForce, Trigger};
use krakpot_trade::trader::{News, Options, OrderEvent, Trader};

const COIN: i64 = 100_000_000;
const WAIT: i64 = 5 * SECOND;

/// An account with 1000 USD and 10 BTC; bid 9.9, ask 10.1, last trade 10.0; the book is in sync, the feed was just
/// heard.
fn trader(options: Options) -> Trader {
    let mut trader = Trader::new(options);
    assert_eq!(trader.set_pair(pair("BTC", "USD")), 0);
    trader.deposit("USD", 1000 * ONE);
    trader.deposit("BTC", 10 * ONE);
    let level = |price| Some((Price(price), Qty(COIN)));
    trader.touch(0, level(99), level(101));
    trader.last_trade(0, Price(100), 0);
    trader.trust(0, true);
    trader.heard(0);
    trader
}

fn free() -> Trader {
    trader(Options::default())
}

/// Orders up to 100 USD, inventories up to 8 BTC, losses up to 10 USD.
fn limits() -> Limits {
    Limits { ramp: None, ..Limits::new(100 * ONE, BTreeMap::from([("BTC".into(), 8 * ONE)]), 10 * ONE) }
}

fn limited() -> Trader {
    trader(Options { limits: Some(limits()), ..Options::default() })
}

fn place(trader: &mut Trader, now: i64, terms: Terms) -> u64 {
    trader.place(now, terms, WAIT, "".into())
}

/// Places an order that rests at once.
fn rest(trader: &mut Trader, now: i64, terms: Terms) -> u64 {
    let order = place(trader, now, terms);
    assert_eq!(trader.reply(now, reported(order, now, Change::New, Some(0))), Ok(()), "{:?}", trader.order(order));
    order
}

fn state(trader: &Trader, order: u64) -> State {
    trader.order(order).expect("an order").state()
}

/// The name of the reason for which an order is rejected here; empty if it was sent. The strategy hears the same.
fn refusal(trader: &mut Trader, now: i64, terms: Terms) -> String {
    trader.take_requests();
    trader.take_events();
    let order = place(trader, now, terms);
    let (sent, events) = (trader.take_requests(), trader.take_events());
    if state(trader, order) != State::Rejected {
        assert_eq!((sent.len(), events.len()), (1, 0));
        return String::new();
    }
    let reason = trader.order(order).expect("it is there").reason.clone();
    let (before, state) = (State::Sent, State::Rejected);
    let change = News::Refused(Asked::Add);
    assert_eq!(events, [OrderEvent { order, change, reason: reason.clone(), before, state, ts: now }]);
    assert!(sent.is_empty(), "nothing is sent");
    code(&reason).to_owned()
}

/// The reason for which an amendment is refused here; empty if it was sent.
fn amend(trader: &mut Trader, now: i64, order: u64, qty: Option<i64>, price: Option<i64>) -> String {
    trader.take_requests();
    trader.take_events();
    trader.amend(now, order, qty.map(Qty), price.map(Price));
    let (sent, events) = (trader.take_requests(), trader.take_events());
    match &events[..] {
        [] => {
            let deadline = now + Options::default().answer_wait;
            let request = Request::Amend { order, qty: qty.map(Qty), price: price.map(Price), deadline };
            assert_eq!(sent, [Sent { ts: now, request }]);
            String::new()
        }
        [event] => {
            assert_eq!((&event.change, event.order, sent.len()), (&News::Refused(Asked::Amend), order, 0));
            assert_eq!(event.before, event.state, "the order stays as it is");
            code(&event.reason).to_owned()
        }
        more => panic!("{more:?}"),
    }
}

/// Goal: an order is sent, rests, is filled in two parts; the strategy hears each step; holds and balances follow to
/// the last digit, and the entries explain them.
#[test]
fn an_order_and_its_money() {
    let mut trader = trader(Options { entries: true, first_order: 40, ..Options::default() });
    let terms = limit(Side::Buy, 2 * COIN, 100);
    let order = place(&mut trader, 1000, terms);
    assert_eq!(order, 40);
    let request = Request::Add { order, terms, deadline: 1000 + WAIT };
    assert_eq!(trader.take_requests(), [Sent { ts: 1000, request }]);
    let (pair, usd) = (trader.pair(0).clone(), |trader: &Trader| trader.balance("USD"));
    let hold = 20 * ONE + ONE * 8 / 100;
    assert_eq!((usd(&trader).held, usd(&trader).free()), (hold, 1000 * ONE - hold), "with the fee of 0.4 %");
    for reply in [
        Reply::Answer(taken(order, Asked::Add, 1001)),
        reported(order, 1002, Change::New, Some(0)),
        reported(order, 1003, Change::Fill(fill(&pair, "a", COIN, 99)), Some(COIN)),
        reported(order, 1004, Change::Fill(fill(&pair, "b", COIN, 100)), Some(2 * COIN)),
    ] {
        assert_eq!(trader.reply(2000, reply), Ok(()));
    }
    let heard: Vec<_> = trader.take_events().into_iter().map(|event| (event.before, event.state, event.ts)).collect();
    let (sent, pending, open, filled) = (State::Sent, State::Pending, State::Open, State::Filled);
    assert_eq!(heard, [(sent, pending, 1001), (pending, open, 1002), (open, open, 1003), (open, filled, 1004)]);
    let fees = pair.fee(pair.cost(Price(99), Qty(COIN)), true) + pair.fee(10 * ONE, true);
    assert_eq!((usd(&trader).total, usd(&trader).held), (1000 * ONE - ONE * 199 / 10 - fees, 0));
    assert_eq!(trader.balance("BTC").total, 12 * ONE);
    let entries = trader.take_entries();
    let sum = |asset: &str| -> Amount {
        entries.iter().filter(|entry| *entry.asset == *asset).map(|entry| entry.amount - entry.fee).sum()
    };
    assert_eq!((sum("USD"), sum("BTC"), entries.len()), (usd(&trader).total, 12 * ONE, 6));
    let inventory = trader.inventory(0);
    assert_eq!((inventory.qty, inventory.basis, inventory.fees), (Qty(2 * COIN), ONE * 199 / 10, fees));
    assert_eq!(trader.unrealised(0), -ONE / 10, "2 × 9.9, the bid, less 19.9");
    assert!(trader.orders(0, None).next().is_none() && trader.all_orders().count() == 1);
}

/// Goal: an order that Kraken would refuse is refused here in Kraken's words, in Kraken's order; nothing is sent.
#[test]
fn refusals_of_kraken() {
    let good = limit(Side::Buy, COIN, 100);
    let stop = |price| Some(Trigger { price: Price(price), stop: true });
    for (terms, text) in [
        (good, ""),
        (Terms { qty: Qty(0), price: Some(Price(0)), ..good }, "EGeneral:Invalid arguments:volume"),
        (Terms { price: None, post_only: true, ..good }, "EGeneral:Invalid arguments:postonly"),
        (Terms { time_in_force: TimeInForce::Gtd(1000), ..good }, "EGeneral:Invalid arguments:expiretm"),
        (Terms { price: Some(Price(0)), qty: Qty(1), ..good }, "EOrder:Invalid price"),
        (Terms { price: Some(Price(-100)), ..good }, "EOrder:Invalid price"),
        (Terms { price: None, trigger: stop(0), ..good }, "EOrder:Invalid price"),
        (Terms { qty: Qty(4999), ..good }, "EOrder:Order minimum not met"),
        (Terms { qty: Qty(4_999_999), ..good }, "EOrder:Cost minimum not met"),
        (Terms { qty: Qty(5_000_000), ..good }, ""),
        (Terms { qty: Qty(1000 * COIN), ..good }, "EOrder:Insufficient funds"),
        (Terms { qty: Qty(i64::MAX), price: Some(Price(i64::MAX)), ..good }, "EGeneral:Invalid arguments:volume"),
        (Terms { pair: 5, ..good }, "krakpot:pair"),
    ] {
        assert_eq!(refusal(&mut free(), 1000, terms), text, "{terms:?}");
    }
    for (wait, fine) in [(SECOND / 2, true), (SECOND / 2 - 1, false), (60 * SECOND, true), (60 * SECOND + 1, false)] {
        let mut trader = free();
        let order = trader.place(0, good, wait, "".into());
        assert_eq!(state(&trader, order) == State::Sent, fine);
    }
    let mut trader = free();
    trader.set_pair(krakpot_trade::pair::Pair { status: "cancel_only".into(), ..pair("BTC", "USD") });
    assert_eq!(refusal(&mut trader, 1000, good), "EService:Market in cancel_only mode");
    let mut trader = free();
    trader.set_system("maintenance".into());
    assert_eq!(refusal(&mut trader, 1000, good), "EService:Unavailable");
}

/// Goal: all that is free may be used, fee included, and not a digit more; what an order holds comes back when it ends.
#[test]
fn funds() {
    let needs = 10 * ONE + ONE * 4 / 100;
    let mut trader = free();
    trader.deposit("USD", needs - 1000 * ONE);
    assert_eq!(refusal(&mut trader, 0, limit(Side::Buy, COIN, 100)), "");
    assert_eq!(
        (trader.balance("USD").free(), refusal(&mut trader, 0, limit(Side::Buy, 5_000_000, 100))),
        (0, "EOrder:Insufficient funds".to_owned())
    );
    assert_eq!(trader.reply(1, Reply::Answer(refused(1, Asked::Add, 1, "EOrder:Post only order"))), Ok(()));
    assert_eq!((trader.balance("USD").free(), state(&trader, 1)), (needs, State::Rejected));
    trader.deposit("USD", -1);
    assert_eq!(refusal(&mut trader, 0, limit(Side::Buy, COIN, 100)), "EOrder:Insufficient funds");
    assert_eq!(refusal(&mut trader, 0, limit(Side::Sell, 10 * COIN + 1, 100)), "EOrder:Insufficient funds");
    assert_eq!(refusal(&mut trader, 0, limit(Side::Sell, 10 * COIN, 100)), "");
    assert_eq!((trader.balance("BTC").held, trader.balance("BTC").free()), (10 * ONE, 0));
}

/// Goal: a market order to buy holds what it costs at the best ask and one percent more; without an ask it is refused.
#[test]
fn market_orders() {
    let mut trader = free();
    let market = |side| Terms { price: None, ..limit(side, COIN, 1) };
    let order = place(&mut trader, 0, market(Side::Buy));
    // 10.1 and one percent, in whole ticks.
    assert_eq!(trader.balance("USD").held, ONE * 103 / 10 + ONE * 412 / 10_000);
    assert_eq!(trader.order(order).expect("it is there").price, None);
    place(&mut trader, 0, market(Side::Sell));
    assert_eq!(trader.balance("BTC").held, ONE);
    trader.touch(0, Some((Price(99), Qty(1))), None);
    assert_eq!(refusal(&mut trader, 0, market(Side::Buy)), "krakpot:no_price");
    assert_eq!(refusal(&mut trader, 0, market(Side::Sell)), "");
}

/// Goal: the counter of the pair is that of the exchange: after thirteen orders, made and cancelled at once, and a
/// fourteenth, seven more fit; the refusal says when the next one does, and then it does. Cancels always pass.
#[test]
fn rate_counter() {
    let mut trader = free();
    for _ in 0..13 {
        let order = rest(&mut trader, 0, limit(Side::Buy, 10_000_000, 90));
        trader.cancel(0, order);
        assert_eq!(trader.reply(0, reported(order, 0, Change::Canceled, Some(0))), Ok(()));
    }
    for used in 118..=125 {
        assert_eq!(refusal(&mut trader, 0, limit(Side::Buy, 10_000_000, 90)), "");
        assert_eq!(trader.rate(0, 0), (f64::from(used), 125));
    }
    let order = place(&mut trader, 0, limit(Side::Buy, 10_000_000, 90));
    let reason = trader.order(order).expect("it is there").reason.clone();
    assert_eq!(*reason, *"EOrder:Rate limit exceeded: it fits at 427350428 ns");
    assert_eq!(amend(&mut trader, 0, 14, Some(20_000_000), None), "EOrder:Rate limit exceeded");
    trader.cancel(0, 14);
    assert_eq!(trader.take_requests().len(), 1, "a cancel passes");
    assert!((trader.rate(0, 0).0 - 133.0).abs() < 1e-9);
    assert_eq!(trader.rate_cost(15, Asked::Cancel, 6 * SECOND), Some(6.0));
    let mut trader = free();
    for _ in 0..125 {
        let order = rest(&mut trader, 0, limit(Side::Buy, 10_000_000, 90));
        assert_eq!(trader.reply(0, reported(order, 0, Change::Expired, Some(0))), Ok(()));
    }
    assert_eq!(refusal(&mut trader, 427_350_427, limit(Side::Buy, 10_000_000, 90)), "EOrder:Rate limit exceeded");
    assert_eq!(refusal(&mut trader, 427_350_428, limit(Side::Buy, 10_000_000, 90)), "");
}

/// Goal: so many orders of a pair as the tier allows may be open, those of which nothing is known included.
#[test]
fn open_orders_of_the_tier() {
    let mut trader = trader(Options { tier: Tier::STARTER, ..Options::default() });
    let mut now = 0;
    for _ in 0..60 {
        now += SECOND;
        assert_eq!(refusal(&mut trader, now, limit(Side::Buy, 10_000_000, 90)), "");
    }
    trader.advance(now);
    assert_eq!((state(&trader, 1), state(&trader, 60)), (State::Unknown, State::Sent));
    now += SECOND;
    assert_eq!(refusal(&mut trader, now, limit(Side::Buy, 10_000_000, 90)), "EOrder:Orders limit exceeded");
    assert_eq!(trader.reply(now, reported(7, now, Change::Expired, Some(0))), Ok(()));
    assert_eq!(refusal(&mut trader, now, limit(Side::Buy, 10_000_000, 90)), "");
}

/// Goal: while the book is not in sync nothing takes new risk; what takes risk away passes.
#[test]
fn without_a_book() {
    let mut trader = free();
    let order = rest(&mut trader, 0, limit(Side::Buy, COIN, 90));
    trader.trust(0, false);
    assert_eq!(refusal(&mut trader, 1, limit(Side::Sell, COIN, 200)), "krakpot:stale");
    assert_eq!(amend(&mut trader, 1, order, Some(COIN + 1), None), "krakpot:stale");
    assert_eq!(amend(&mut trader, 1, order, None, Some(89)), "krakpot:stale");
    assert_eq!(amend(&mut trader, 1, order, Some(COIN - 1), None), "", "less");
    trader.cancel(1, order);
    assert_eq!(trader.take_requests().len(), 1);
    let mut other = Trader::new(Options::default());
    other.set_pair(pair("BTC", "USD"));
    other.deposit("USD", 100 * ONE);
    assert_eq!(refusal(&mut other, 0, limit(Side::Buy, COIN, 100)), "krakpot:stale", "nobody said that it is");
}

/// Goal: what may be amended, and what is answered to what may not.
#[test]
fn amendments() {
    let mut trader = free();
    let order = rest(&mut trader, 0, limit(Side::Buy, 10 * COIN, 90));
    let hold = |qty: i128, price: i128| qty * price * ONE / 10 * 1004 / 1000;
    for (qty, price, text) in [
        (None, None, "EGeneral:Invalid arguments"),
        (Some(0), None, "EGeneral:Invalid arguments:volume"),
        (None, Some(0), "EOrder:Invalid price"),
        (Some(4999), None, "EOrder:Order minimum not met"),
        (Some(200 * COIN), None, "EOrder:Insufficient funds"),
    ] {
        assert_eq!(amend(&mut trader, SECOND, order, qty, price), text);
    }
    assert_eq!(trader.balance("USD").held, hold(10, 90));
    assert_eq!(amend(&mut trader, 2 * SECOND, order, Some(8 * COIN), Some(100)), "");
    assert_eq!(trader.balance("USD").held, hold(10, 90), "the dearer of the two");
    assert_eq!(amend(&mut trader, 2 * SECOND, order, Some(20 * COIN), None), "krakpot:amending");
    let change = Change::Amended { qty: Qty(8 * COIN), price: Some(Price(100)), restated: false };
    assert_eq!(trader.reply(3 * SECOND, reported(order, 3, change, Some(0))), Ok(()));
    assert_eq!((state(&trader, order), trader.balance("USD").held), (State::Open, hold(8, 100)));
    assert_eq!(amend(&mut trader, 4 * SECOND, order, None, Some(110)), "");
    assert_eq!(trader.balance("USD").held, hold(8, 110));
    let no = refused(order, Asked::Amend, 4, "EOrder:Post only order");
    assert_eq!(trader.reply(4 * SECOND, Reply::Answer(no)), Ok(()));
    assert_eq!((state(&trader, order), trader.balance("USD").held), (State::Open, hold(8, 100)));
    trader.cancel(5 * SECOND, order);
    assert_eq!(amend(&mut trader, 5 * SECOND, order, Some(COIN), None), "EOrder:Cancel pending");
    assert_eq!(trader.reply(5 * SECOND, reported(order, 5, Change::Canceled, Some(0))), Ok(()));
    assert_eq!(amend(&mut trader, 5 * SECOND, order, Some(COIN), None), "EOrder:Unknown order");
    assert_eq!(amend(&mut trader, 5 * SECOND, 99, Some(COIN), None), "EOrder:Unknown order");
    let market = place(&mut trader, 6 * SECOND, Terms { price: None, ..limit(Side::Buy, COIN, 1) });
    assert_eq!(amend(&mut trader, 6 * SECOND, market, None, Some(100)), "EGeneral:Invalid arguments:price");
}

/// Goal: an amendment to what is filled costs what a cancel costs, as the exchange counts it.
#[test]
fn an_amendment_that_cancels() {
    let mut trader = free();
    let order = rest(&mut trader, 0, limit(Side::Buy, COIN, 90));
    let part = Change::Fill(fill(&pair("BTC", "USD"), "a", COIN / 2, 90));
    assert_eq!(trader.reply(0, reported(order, 1, part, Some(COIN / 2))), Ok(()));
    assert_eq!(amend(&mut trader, 0, order, Some(COIN / 2), Some(-1)), "EOrder:Invalid price");
    assert_eq!(amend(&mut trader, 0, order, Some(COIN / 2), None), "");
    assert!((trader.rate(0, 0).0 - (1.0 + 1.0 + 8.0)).abs() < 1e-9);
}

/// Goal: a cancel is sent once; again only when nobody knows what became of it; of no open order it is refused.
#[test]
fn cancels() {
    let mut trader = free();
    let order = rest(&mut trader, 0, limit(Side::Buy, COIN, 90));
    trader.take_requests();
    trader.take_events();
    trader.cancel(SECOND, order);
    trader.cancel(SECOND, order);
    trader.cancel(SECOND, 99);
    assert_eq!(trader.take_requests(), [Sent { ts: SECOND, request: Request::Cancel { order } }]);
    let heard: Vec<_> = trader.take_events().into_iter().map(|event| (event.order, event.reason.to_string())).collect();
    let told = |order, text: &str| (order, text.to_owned());
    assert_eq!(heard, [told(order, "EOrder:Cancel pending"), told(99, "EOrder:Unknown order")]);
    trader.advance(6 * SECOND);
    assert_eq!(state(&trader, order), State::Unknown);
    trader.cancel(7 * SECOND, order);
    assert_eq!((trader.take_requests().len(), state(&trader, order)), (1, State::Canceling));
    let more = [91, 92].map(|price| rest(&mut trader, 7 * SECOND, limit(Side::Buy, COIN, price)));
    trader.take_requests();
    trader.cancel_all(8 * SECOND, Some(1));
    assert!(trader.take_requests().is_empty(), "another pair");
    trader.cancel_all(8 * SECOND, None);
    let sent: Vec<u64> = trader.take_requests().iter().map(|sent| sent.request.order()).collect();
    assert_eq!(sent, more);
}

/// Goal: each limit acts through the trader, with its name; without limits nothing of that is asked; an order of which
/// nothing is known counts.
#[test]
fn limits_of_a_trader() {
    let mut some = limited();
    assert_eq!(refusal(&mut some, 0, limit(Side::Buy, 11 * COIN, 100)), "krakpot:order_value");
    assert_eq!(refusal(&mut some, 0, limit(Side::Sell, 8 * COIN + 1, 100)), "krakpot:inventory");
    assert_eq!(refusal(&mut some, 0, limit(Side::Buy, COIN, 103)), "krakpot:collar");
    assert_eq!(refusal(&mut some, 0, limit(Side::Buy, 6 * COIN, 100)), "krakpot:fat_finger");
    assert_eq!(refusal(&mut some, 0, limit(Side::Buy, 5_500_000, 100)), "", "0.55 USD and a fee of 0.0022");
    assert_eq!(refusal(&mut some, 2 * SECOND + 1, limit(Side::Buy, COIN, 100)), "krakpot:stale");
    assert_eq!(refusal(&mut some, 2 * SECOND, limit(Side::Sell, COIN, 100)), "krakpot:self_trade");
    assert_eq!(refusal(&mut free(), i64::MAX / 2, limit(Side::Buy, 11 * COIN, 103)), "", "none without limits");

    // Four BTC are unknown, four more may be bought.
    let mut some = limited();
    assert_eq!(refusal(&mut some, 0, limit(Side::Buy, 4 * COIN, 99)), "");
    some.advance(WAIT);
    some.heard(WAIT);
    assert_eq!(state(&some, 1), State::Unknown);
    assert_eq!(refusal(&mut some, WAIT, limit(Side::Buy, 4 * COIN + 1, 99)), "krakpot:inventory");
    assert_eq!(refusal(&mut some, WAIT, limit(Side::Buy, 4 * COIN, 99)), "");
    // Nine more are open then, the unknown one included: the tenth passes, the eleventh does not.
    let mut few = trader(Options { limits: Some(Limits { open_orders: Some(2), ..limits() }), ..Options::default() });
    assert_eq!(refusal(&mut few, 0, limit(Side::Buy, COIN, 99)), "");
    few.advance(WAIT);
    few.heard(WAIT);
    assert_eq!(refusal(&mut few, WAIT, limit(Side::Buy, COIN, 99)), "");
    assert_eq!(refusal(&mut few, WAIT, limit(Side::Buy, COIN, 99)), "krakpot:open_orders");
}

/// Goal: an order whose size is meant passes the fat-finger control, and no other one.
#[test]
fn confirmed() {
    let mut some = limited();
    let order = some.place_confirmed(0, limit(Side::Buy, 6 * COIN, 100), WAIT, "".into());
    assert_eq!(state(&some, order), State::Sent);
    let order = some.place_confirmed(0, limit(Side::Buy, 11 * COIN, 100), WAIT, "".into());
    assert_eq!(code(&some.order(order).expect("it is there").reason), "krakpot:order_value");
}

/// Goal: an amendment that takes more risk is limited as a new order is; the order itself does not count twice.
#[test]
fn limits_of_amendments() {
    let mut some = limited();
    let order = rest(&mut some, 0, limit(Side::Buy, 5 * COIN, 98));
    assert_eq!(amend(&mut some, 0, order, None, Some(103)), "krakpot:collar");
    assert_eq!(amend(&mut some, 0, order, Some(11 * COIN), None), "krakpot:order_value");
    assert_eq!(amend(&mut some, 0, order, Some(8 * COIN + 1), None), "krakpot:inventory");
    assert_eq!(amend(&mut some, 0, order, Some(8 * COIN), None), "");
    let ask = rest(&mut some, 0, limit(Side::Sell, COIN, 102));
    assert_eq!(amend(&mut some, 0, ask, None, Some(98)), "krakpot:self_trade");
}

/// Goal: the other pairs of a base asset count for its inventory.
#[test]
fn inventory_over_pairs() {
    let mut some = limited();
    assert_eq!(some.set_pair(pair("BTC", "EUR")), 1);
    some.deposit("EUR", 1000 * ONE);
    let level = |price| Some((Price(price), Qty(COIN)));
    some.touch(1, level(99), level(101));
    some.last_trade(1, Price(100), 0);
    some.trust(1, true);
    let order = rest(&mut some, 0, limit(Side::Buy, 5 * COIN, 100));
    let all = Change::Fill(fill(&pair("BTC", "USD"), "a", 5 * COIN, 100));
    assert_eq!(some.reply(0, reported(order, 1, all, Some(5 * COIN))), Ok(()));
    let euro = |qty| Terms { pair: 1, ..limit(Side::Buy, qty, 100) };
    assert_eq!(refusal(&mut some, 0, euro(3 * COIN + 1)), "krakpot:inventory");
    assert_eq!(refusal(&mut some, 0, euro(3 * COIN)), "");
    assert_eq!(some.find("BTC/EUR"), Some(1));
}

/// Goal: a loss beyond the limit halts: own orders are cancelled, new ones refused; a loss at the limit does not. It is
/// seen at a fill, and within a second when only the market moved.
#[test]
fn loss_halts() {
    for (last, by_fill) in [(89, true), (89, false)] {
        let mut some = limited();
        let bid = rest(&mut some, 0, limit(Side::Buy, 5 * COIN, 100));
        let other = rest(&mut some, 0, limit(Side::Buy, COIN, 99));
        some.take_requests();
        let at_zero = krakpot_trade::report::Fill { fee: 0, ..fill(&pair("BTC", "USD"), "a", 5 * COIN, 100) };
        let bought = reported(bid, 1, Change::Fill(at_zero), Some(5 * COIN));
        if by_fill {
            some.last_trade(0, Price(last), 0);
            assert_eq!(some.reply(0, bought), Ok(()), "5 × 1.1 = 5.5 are lost");
            assert_eq!(some.halted(), None);
            some.last_trade(0, Price(80), 0);
            let fee = krakpot_trade::report::Fill { fee: 1, ..fill(&pair("BTC", "USD"), "b", 1, 80) };
            some.advance(0);
            assert_eq!(some.halted(), None, "10 are lost, as many as may be");
            assert_eq!(some.reply(0, reported(other, 2, Change::Fill(fee), Some(1))), Ok(()));
        } else {
            assert_eq!(some.reply(0, bought), Ok(()));
            some.advance(0);
            some.last_trade(0, Price(79), 0);
            assert_eq!((some.halted(), some.next_due()), (None, SECOND));
            some.advance(SECOND);
        }
        let reason = some.halted().expect("more than 10 are lost").clone();
        assert_eq!(code(&reason), "krakpot:loss");
        assert_eq!(
            some.take_requests(),
            [Sent { ts: if by_fill { 0 } else { SECOND }, request: Request::Cancel { order: other } }]
        );
        assert_eq!(refusal(&mut some, SECOND, limit(Side::Sell, COIN, 110)), "krakpot:halted");
    }
}

/// Goal: after a halt the own orders are cancelled once, nothing new is sent, and the first reason stays.
#[test]
fn halt() {
    let mut trader = free();
    let order = rest(&mut trader, 0, limit(Side::Buy, COIN, 90));
    trader.take_requests();
    trader.halt(1, "by hand".into());
    trader.halt(2, "again".into());
    assert_eq!(trader.take_requests(), [Sent { ts: 1, request: Request::Cancel { order } }]);
    assert_eq!(trader.halted().map(ToString::to_string), Some("by hand".to_owned()));
    assert_eq!(refusal(&mut trader, 3, limit(Side::Buy, COIN, 90)), "krakpot:halted");
    assert_eq!(trader.reply(4, reported(order, 4, Change::Canceled, Some(0))), Ok(()));
    assert_eq!(state(&trader, order), State::Canceled);
}

/// Goal: a request without an answer: the order is unknown at its deadline, holds what it held, and may not be amended;
/// it ends by evidence, five seconds after its deadline at the earliest.
#[test]
fn no_answer() {
    let mut trader = free();
    assert_eq!(trader.next_due(), i64::MAX);
    let order = place(&mut trader, 0, limit(Side::Buy, COIN, 100));
    let held = trader.balance("USD").held;
    assert_eq!(trader.next_due(), WAIT);
    trader.advance(WAIT - 1);
    assert!(trader.take_events().is_empty());
    trader.advance(WAIT);
    let (change, before, state) = (News::Unknown, State::Sent, State::Unknown);
    assert_eq!(trader.take_events(), [OrderEvent { order, change, reason: "".into(), before, state, ts: WAIT }]);
    assert_eq!(trader.balance("USD").held, held);
    assert_eq!(amend(&mut trader, WAIT, order, Some(2 * COIN), None), "krakpot:unknown");
    let early = Look::NotFound { ts: WAIT + GRACE - 1 };
    assert_eq!(trader.resolve(WAIT, order, &early), Err(Ignored::TooEarly));
    assert_eq!(trader.resolve(WAIT, order, &Look::NotFound { ts: WAIT + GRACE }), Ok(()));
    let events = trader.take_events();
    assert_eq!((events.len(), &events[0].change, events[0].state), (1, &News::Resolved, State::Rejected));
    assert_eq!((trader.balance("USD").held, &*events[0].reason), (0, "krakpot:not_found"));
    assert_eq!(trader.ignored().find(|(_, count)| *count > 0), Some((Ignored::TooEarly, 1)));
}

/// Goal: a refusal that leaves it open what happened is unknown at once, with Kraken's text.
#[test]
fn an_unclear_refusal() {
    let mut trader = free();
    let order = place(&mut trader, 0, limit(Side::Buy, COIN, 100));
    let busy = refused(order, Asked::Add, 1, "EService:Busy");
    assert_eq!(trader.reply(1, Reply::Answer(busy)), Ok(()));
    let events = trader.take_events();
    assert_eq!(
        (&events[0].change, &*events[0].reason, events[0].state),
        (&News::Unknown, "EService:Busy", State::Unknown)
    );
    trader.advance(WAIT);
    assert!(trader.take_events().is_empty(), "it is told once");
}

fn found(ts: i64, order: u64) -> Found {
    Found {
        ts,
        order_id: id(order),
        state: State::Open,
        qty: Qty(3 * COIN),
        price: Some(Price(100)),
        filled: Qty(COIN),
        fills: vec![fill(&pair("BTC", "USD"), "a", COIN, 100)],
        reason: "".into(),
    }
}

/// Goal: a reply about a number that no order has is counted, the number is told, and the order can be taken over with
/// what was found of it; it is then one like others.
#[test]
fn an_order_of_an_earlier_run() {
    let mut trader = trader(Options { first_order: 100, ..Options::default() });
    assert_eq!(trader.reply(0, reported(42, 1, Change::New, Some(0))), Err(Ignored::Stranger));
    assert_eq!(trader.take_strangers().into_iter().collect::<Vec<_>>(), [42]);
    let terms = limit(Side::Buy, 3 * COIN, 90);
    assert_eq!(trader.adopt(0, 42, terms, "old".into(), found(5, 42), &[]), Ok(()));
    let order = trader.order(42).expect("it was taken over");
    assert_eq!((order.state(), order.qty, order.price), (State::Open, Qty(3 * COIN), Some(Price(100))));
    assert_eq!((order.booked, &*order.tag), (Qty(COIN), "old"));
    assert_eq!((trader.balance("BTC").total, trader.balance("USD").held), (11 * ONE, 20 * ONE + ONE * 8 / 100));
    let changes: Vec<_> = trader.take_events().into_iter().map(|event| event.change).collect();
    assert_eq!(changes, [News::Adopted, News::Changed(Change::Fill(fill(&pair("BTC", "USD"), "a", COIN, 100)))]);
    assert_eq!(trader.adopt(0, 42, terms, "".into(), found(6, 42), &[]), Err(Ignored::Stranger), "it is known");
    let bad = Found { filled: Qty(-1), ..found(6, 43) };
    assert_eq!(trader.adopt(0, 43, terms, "".into(), bad, &[]), Err(Ignored::Malformed));
    assert!(trader.order(43).is_none());
    trader.cancel(10, 42);
    assert_eq!(trader.reply(11, reported(42, 11, Change::Canceled, Some(COIN))), Ok(()));
    assert_eq!((state(&trader, 42), trader.balance("USD").held), (State::Canceled, 0));
    // No journal knew how far the numbers went: this run goes on behind them.
    let next = trader.place(20, limit(Side::Buy, COIN, 1), 1, "".into());
    assert_eq!(trader.adopt(0, next, terms, "".into(), found(6, next), &[]), Err(Ignored::Stranger), "of this run");
    assert_eq!(trader.adopt(0, 150, terms, "".into(), found(7, 150), &[]), Ok(()));
    let after = trader.place(20, limit(Side::Buy, COIN, 1), 1, "".into());
    assert_eq!((next, after, trader.order(next).map(|order| order.number)), (100, 151, Some(100)));
}

/// Goal: new facts of a pair reach its orders; a pair whose steps changed is another one.
#[test]
fn facts_of_pairs() {
    let mut trader = free();
    let mut facts = pair("BTC", "USD");
    facts.taker = krakpot_trade::amount::FeeRate(0);
    assert_eq!((trader.set_pair(facts.clone()), trader.pairs()), (0, 1));
    place(&mut trader, 0, limit(Side::Buy, COIN, 100));
    assert_eq!(trader.balance("USD").held, 10 * ONE);
    facts.price_precision = 2;
    assert_eq!((trader.set_pair(facts), trader.find("BTC/USD"), trader.pairs()), (1, Some(1), 2));
    assert_eq!(trader.orders(0, Some(Side::Buy)).count(), 1);
    assert_eq!(trader.orders(0, Some(Side::Sell)).count() + trader.orders(9, None).count(), 0);
}

/// Goal: an account that keeps few ended orders tells of each of them as one that keeps all; a late reply to a
/// forgotten one changes nothing.
#[test]
fn few_orders_are_kept() {
    let lives = |ended_orders| {
        let mut trader = trader(Options { ended_orders, ..Options::default() });
        let long = rest(&mut trader, 0, limit(Side::Buy, COIN, 90));
        for i in 1..20 {
            let now = 20 * SECOND * i;
            place(&mut trader, now, limit(Side::Buy, 1, 1));
            let order = rest(&mut trader, now, limit(Side::Buy, COIN, 90));
            trader.cancel(now, order);
            assert_eq!(trader.reply(now, reported(order, now, Change::Canceled, Some(0))), Ok(()));
        }
        let late = trader.reply(0, reported(3, 0, Change::New, Some(0)));
        assert_eq!(state(&trader, long), State::Open);
        (trader.take_events(), trader.all_orders().count(), late)
    };
    let (all, few) = (lives(usize::MAX), lives(2));
    assert_eq!(all.0, few.0);
    assert_eq!((all.1, few.1), (39, 3));
    assert_eq!((all.2, few.2), (Err(Ignored::Stale), Err(Ignored::Ended)));
}

/// Goal: each control that is on by default is switched off only by a value that somebody writes.
#[test]
fn controls_are_on() {
    let all = limits();
    let on = [all.open_orders.is_some(), all.collar.is_some(), all.orders_per_minute.is_some(), all.stale.is_some()];
    assert_eq!(on, [true; 4]);
    assert!(all.last_trade.is_some() && all.fee_share.is_some() && all.fat_finger && all.self_trade);
}
