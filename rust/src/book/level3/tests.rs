//! Tests of the level-3 book.

use super::*;
use crate::book::level2::Book;
use crate::book::synced::{BookMeta, Outcome, Synced};
use crate::wire::message::{Entry, Kind, Name, OwnedOrderId};

fn number(text: &str) -> Decimal {
    Decimal::parse(text.as_bytes()).expect(text)
}

fn entry<'a>(event: OrderEvent, side: Side, id: &'a str, price: &str, qty: &str, timestamp: i64) -> OrderEntry<'a> {
    let id = OrderId::new(id).expect(id);
    OrderEntry { side, event, id, price: number(price), qty: number(qty), timestamp }
}

fn add<'a>(side: Side, id: &'a str, price: &str, qty: &str, timestamp: i64) -> OrderEntry<'a> {
    entry(OrderEvent::Add, side, id, price, qty, timestamp)
}

fn ids(orders: &Orders, side: Side, price: i128) -> Vec<String> {
    orders.queue(side, price).map(|(id, ..)| id.to_string()).collect()
}

/// Every invariant of the book's parts.
fn check(orders: &Orders) {
    let (mut held, mut levels) = (0, 0);
    for (side, price_levels) in [(Side::Bid, &orders.bids), (Side::Ask, &orders.asks)] {
        assert!(price_levels.0.len() <= usize::from(orders.depth), "the window holds");
        assert!(
            price_levels.0.iter().zip(price_levels.0.iter().skip(1)).all(|(a, b)| a.key < b.key),
            "worst level first"
        );
        for level_ref in price_levels.0.iter() {
            let level = &orders.levels[level_ref.level];
            assert_eq!((level.key, level.ask), (level_ref.key, side == Side::Ask));
            let (mut at, mut before, mut qty, mut count) = (level.first, NONE, 0, 0);
            while at != NONE {
                let order = &orders.slab[at];
                assert_eq!((order.before, order.level), (before, level_ref.level));
                assert!(before == NONE || orders.slab[before].place < order.place, "earliest first");
                assert_eq!(orders.number(orders.id(at)), Some(at));
                (qty, count, before, at) = (qty + order.qty, count + 1, at, order.behind);
            }
            assert_eq!((level.qty, level.count, level.last), (qty, count, before));
            assert!(count > 0, "a level without orders is none");
            held += count as usize;
            levels += 1;
        }
    }
    assert_eq!((orders.len(), orders.levels.len()), (held, levels), "no order and no level without a place");
    assert_eq!(orders.ids.len(), held, "ids go with their orders");
}

#[test]
fn a_queue_goes_by_time_then_arrival_whatever_the_order_of_the_message() {
    let mut orders = Orders::new(10, 1, 8);
    let message = [
        add(Side::Bid, "OAAAAA-AAAAA-AAAAA3", "10.1", "3", 30),
        add(Side::Bid, "OAAAAA-AAAAA-AAAAA1", "10.1", "1", 10),
        add(Side::Bid, "OAAAAA-AAAAA-AAAAA2", "10.1", "2", 20),
        add(Side::Bid, "an id of another shape", "10.1", "4", 20),
    ];
    assert_eq!(orders.apply(&message, ModifyRule::KeepPlace), Ok(0));
    check(&orders);
    assert_eq!(
        ids(&orders, Side::Bid, 101),
        ["OAAAAA-AAAAA-AAAAA1", "OAAAAA-AAAAA-AAAAA2", "an id of another shape", "OAAAAA-AAAAA-AAAAA3"]
    );
    let last = orders.find(OrderId::new("OAAAAA-AAAAA-AAAAA3").expect("an id")).expect("held");
    assert_eq!((last.orders_ahead, last.qty_ahead, last.qty), (3, 700_000_000, 300_000_000));
    assert_eq!(orders.checksum(&mut Vec::new()), checksum::crc32(b"101100000000101200000000101400000000101300000000"));
    assert_eq!(orders.levels(Side::Bid).collect::<Vec<_>>(), [(101, 1_000_000_000, 4)]);
    assert_eq!(orders.checksum_level2(&mut Vec::new()), checksum::crc32(b"1011000000000"));
}

/// Goal: many orders at one price in one message, in no order, with others changed meanwhile, stand as if sorted; and
/// so do they by the other answer, and again by the first.
#[test]
fn a_long_queue_sent_in_no_order_is_sorted() {
    let count = 1000;
    let names: Vec<_> = (0..count).map(|n| format!("OAAAAA-AAAAA-{n:0>6}")).collect();
    // 1009 is prime: no time twice, and far from in order.
    let time = |n: i64| n * 7919 % 1009;
    let mut message: Vec<_> = (0..).zip(&names).map(|(n, id)| add(Side::Ask, id, "5", "1", time(n))).collect();
    let (event, late) = (OrderEvent::Modify, 5000);
    message.extend((0..).zip(&names).step_by(3).map(|(n, id)| entry(event, Side::Ask, id, "5", "1", late - n)));
    message.extend(names.iter().step_by(5).map(|id| entry(OrderEvent::Delete, Side::Ask, id, "5", "1", 0)));
    message.extend((0..9).map(|n| add(Side::Bid, &names[5 * n], "4", "1", -1)));
    let mut orders = Orders::new(10, 0, 0);
    // A level whose digits are known before; the last order comes when no more steps are left.
    let before = [add(Side::Ask, "first", "6", "1", 1), add(Side::Ask, "last", "6", "3", 3)];
    assert_eq!(orders.apply(&before, ModifyRule::KeepPlace), Ok(0));
    assert_eq!(orders.checksum(&mut Vec::new()), checksum::crc32(b"6163"));
    message.push(add(Side::Ask, "between", "6", "2", 2));
    assert_eq!(orders.apply(&message, ModifyRule::KeepPlace), Ok(0));
    assert_eq!(orders.walked, WALK_MAX, "the long way was not taken");
    let mut fresh = orders.clone();
    assert!(fresh.widen(0, 0), "which forgets all digits");
    assert_eq!(orders.checksum(&mut Vec::new()), fresh.checksum(&mut Vec::new()));
    assert_eq!(ids(&orders, Side::Ask, 6), ["first", "between", "last"]);
    let sorted = |late: &dyn Fn(i64) -> i64| {
        let mut sorted: Vec<_> = (0..).zip(&names).filter(|(n, _)| n % 5 != 0).collect();
        sorted.sort_by_key(|(n, _)| late(*n));
        sorted.into_iter().map(|(_, id)| id.clone()).collect::<Vec<_>>()
    };
    for _ in 0..2 {
        check(&orders);
        assert!(ids(&orders, Side::Ask, 5) == sorted(&time), "by the first times");
        orders.exchange_places();
        check(&orders);
        let taken = sorted(&|n| if n % 3 == 0 { late - n } else { time(n) });
        assert!(ids(&orders, Side::Ask, 5) == taken, "by the times of the modifies");
        orders.exchange_places();
    }
}

#[test]
fn a_level_that_falls_out_takes_its_orders_and_returns_by_adds() {
    let mut orders = Orders::new(2, 0, 0);
    let first = [add(Side::Ask, "a", "5", "1", 1), add(Side::Ask, "b", "5", "2", 2), add(Side::Ask, "c", "4", "3", 3)];
    assert_eq!(orders.apply(&first, ModifyRule::KeepPlace), Ok(0));
    // Three levels for a moment; at the end of the message only the best two are kept.
    let better = [add(Side::Ask, "d", "3", "4", 4), entry(OrderEvent::Delete, Side::Ask, "a", "5", "1", 5)];
    assert_eq!(orders.apply(&better, ModifyRule::KeepPlace), Ok(0));
    check(&orders);
    assert!(orders.find(OrderId::new("b").expect("an id")).is_none(), "level 5 fell out");
    assert_eq!(orders.apply(&[entry(OrderEvent::Delete, Side::Ask, "b", "5", "2", 6)], ModifyRule::KeepPlace), Ok(1));
    let back = [
        entry(OrderEvent::Delete, Side::Ask, "d", "3", "4", 7),
        add(Side::Ask, "b", "5", "2", 2),
        add(Side::Ask, "c", "4", "9", 8),
    ];
    assert_eq!(orders.apply(&back, ModifyRule::KeepPlace), Ok(0));
    check(&orders);
    assert_eq!(orders.replaced(), 1, "c was held and is now the new copy");
    assert_eq!(orders.levels(Side::Ask).collect::<Vec<_>>(), [(4, 9, 1), (5, 2, 1)]);
}

#[test]
fn the_checksum_decides_what_a_modify_does_and_later_ones_follow() {
    let mut synced = Synced::<Orders>::default();
    let mut buffer = Vec::new();
    let meta = |kind, text: &[u8]| BookMeta {
        kind,
        checksum: Some(checksum::crc32(text)),
        depth: 10,
        price_precision: 0,
        qty_precision: 0,
    };
    let first = [add(Side::Bid, "a", "5", "1", 1), add(Side::Bid, "b", "5", "2", 2), add(Side::Bid, "c", "5", "3", 3)];
    assert_eq!(synced.apply(&meta(Kind::Snapshot, b"515253"), &first, &mut buffer), Ok(Outcome::Ok));
    let modify = |id, qty, time| entry(OrderEvent::Modify, Side::Bid, id, "5", qty, time);
    // The last in its queue stays the last by either rule: the checksum cannot tell them apart.
    assert_eq!(synced.apply(&meta(Kind::Update, b"515254"), &[modify("c", "4", 4)], &mut buffer), Ok(Outcome::Ok));
    assert_eq!(synced.book().and_then(Orders::detected_rule), None);
    // Kept its place.
    assert_eq!(synced.apply(&meta(Kind::Update, b"595254"), &[modify("a", "9", 5)], &mut buffer), Ok(Outcome::Ok));
    assert_eq!(synced.book().and_then(Orders::detected_rule), Some(ModifyRule::KeepPlace));
    // Went by the new times, twice: the book is not given up, and remembers.
    let both = [modify("a", "8", 6), modify("b", "6", 7), modify("a", "7", 8)];
    assert_eq!(synced.apply(&meta(Kind::Update, b"545657"), &both, &mut buffer), Ok(Outcome::Ok));
    assert_eq!(
        (synced.book().and_then(Orders::detected_rule), synced.rule),
        (Some(ModifyRule::TakeTimestamp), ModifyRule::TakeTimestamp)
    );
    check(synced.book().expect("in sync"));
    assert_eq!(synced.apply(&meta(Kind::Update, b"565751"), &[modify("c", "1", 9)], &mut buffer), Ok(Outcome::Ok));
    assert_eq!(synced.book().and_then(Orders::detected_rule), Some(ModifyRule::TakeTimestamp));
    // And back: the first of two changes of an order counts as little as the second.
    let both = [modify("b", "2", 10), modify("c", "3", 11), modify("b", "4", 12)];
    assert_eq!(synced.apply(&meta(Kind::Update, b"545753"), &both, &mut buffer), Ok(Outcome::Ok));
    assert_eq!(synced.rule, ModifyRule::KeepPlace);
    let last = [modify("b", "2", 13)];
    assert_eq!(synced.apply(&meta(Kind::Update, b"575352"), &last, &mut buffer), Ok(Outcome::Ok));
    // Neither rule: the book is out of sync, the rule stays known.
    let wrong = synced.apply(&meta(Kind::Update, b"?"), &[modify("a", "2", 14)], &mut buffer);
    let (expected, computed) = (checksum::crc32(b"?"), checksum::crc32(b"535252"));
    assert_eq!(wrong, Ok(Outcome::Mismatch { expected, computed }));
    assert!(synced.book().is_none());
    assert_eq!(synced.rule, ModifyRule::TakeTimestamp);
}

#[test]
fn a_modify_with_another_price_goes_to_the_end_of_that_queue() {
    for rule in [ModifyRule::KeepPlace, ModifyRule::TakeTimestamp] {
        let mut orders = Orders::new(10, 0, 0);
        let first = [add(Side::Bid, "a", "5", "1", 1), add(Side::Bid, "b", "6", "2", 2)];
        assert_eq!(orders.apply(&first, rule), Ok(0));
        assert_eq!(orders.apply(&[entry(OrderEvent::Modify, Side::Bid, "a", "6", "1", 3)], rule), Ok(0));
        check(&orders);
        assert_eq!(ids(&orders, Side::Bid, 6), ["b", "a"]);
        assert_eq!(orders.apply(&[entry(OrderEvent::Modify, Side::Bid, "a", "6", "0", 4)], rule), Ok(0));
        assert_eq!(orders.len(), 1, "an order without quantity is none");
        // The side is part of the level, even where both have the same price.
        let sides = [add(Side::Bid, "c", "0", "1", 5), entry(OrderEvent::Modify, Side::Ask, "c", "0", "1", 6)];
        assert_eq!(orders.apply(&sides, rule), Ok(0));
        assert_eq!(ids(&orders, Side::Ask, 0), ["c"]);
    }
}

#[test]
fn what_cannot_be_held_is_refused_by_name() {
    let mut orders = Orders::new(10, 1, 0);
    let refused = |result| matches!(result, Err(Error::Decimal { .. }));
    assert!(refused(orders.apply(&[add(Side::Bid, "a", "5.55", "1", 1)], ModifyRule::KeepPlace)));
    assert!(refused(orders.apply(&[add(Side::Bid, "a", "-5.5", "1", 1)], ModifyRule::KeepPlace)));
    assert!(refused(orders.apply(&[add(Side::Bid, "a", "5.5", "0.1", 1)], ModifyRule::KeepPlace)));
    let most = "9".repeat(38);
    assert_eq!(orders.apply(&[add(Side::Bid, "a", "5.5", &most, 1)], ModifyRule::KeepPlace), Ok(0));
    check(&orders);
    assert!(refused(orders.apply(&[add(Side::Bid, "b", "5.5", "1", 1)], ModifyRule::KeepPlace)), "38 digits are most");
    assert!(OrderId::new(&"x".repeat(limits::ORDER_ID_LENGTH_MAX)).is_ok());
    let found = limits::ORDER_ID_LENGTH_MAX + 1;
    let limit = Error::Limit { what: "ORDER_ID_LENGTH_MAX", limit: limits::ORDER_ID_LENGTH_MAX, found };
    assert_eq!(OrderId::new(&"x".repeat(found)), Err(limit));
}

#[test]
fn ids_come_back_as_they_were_sent() {
    for text in ["OTCFZG-YOE2Q-LQKNM3", "000000-00000-000000", "ZZZZZZ-ZZZZZ-ZZZZZZ", "", "OTCFZG-YOE2Q-LQKNm3", "ö"] {
        let id = OrderId::new(text).expect("short enough");
        assert_eq!(id.to_string(), text);
        assert_eq!((OwnedOrderId::from(id), OwnedOrderId::new(text).borrowed()), (OwnedOrderId::new(text), id));
        let kraken = text.len() == 19 && !text.contains('m');
        assert_eq!(matches!(id.0, Name::Packed(_)), kraken, "{text}");
    }
    // Every byte at every place.
    for (byte, at) in (0..=u8::MAX).flat_map(|byte| (0..19).map(move |at| (byte, at))) {
        let mut text = *b"OTCFZG-YOE2Q-LQKNM3";
        text[at] = byte;
        let figure = byte.is_ascii_digit() || byte.is_ascii_uppercase();
        let kraken = if at == 6 || at == 12 { byte == b'-' } else { figure };
        let id = OrderId::short(&text);
        assert_eq!(id.is_some(), kraken, "{text:?}");
        assert!(id.is_none_or(|id| id.to_string().as_bytes() == text), "{text:?}");
    }
    // A field apart: the same characters moved by one are another id.
    assert_ne!(OrderId::new("O00000-0000A-000000"), OrderId::new("O00000-00000-A00000"));
}

#[test]
fn more_decimals_keep_the_orders_and_change_their_digits() {
    let mut orders = Orders::new(10, 1, 0);
    let first = [add(Side::Bid, "a", "10.1", "1", 1), add(Side::Ask, "b", "10.2", "2", 2)];
    assert_eq!(orders.apply(&first, ModifyRule::KeepPlace), Ok(0));
    let mut buffer = Vec::new();
    assert_eq!(orders.checksum(&mut buffer), checksum::crc32(b"10221011"));
    assert!(!orders.widen(0, 0), "decimals are never lost");
    assert!(orders.widen(2, 1));
    check(&orders);
    assert_eq!(orders.checksum(&mut buffer), checksum::crc32(b"102020101010"));
    assert_eq!(orders.checksum_level2(&mut buffer), checksum::crc32(b"102020101010"));
}

/// Random messages: every invariant holds after each, the level-2 view is the book of its sums, both checksums equal
/// those of a copy that has nothing cached, and numbers are used again.
#[test]
fn random_messages_keep_every_invariant() {
    let mut state = 1u64;
    let mut below = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits") % n
    };
    let names: Vec<_> =
        (0..120).map(|n| if n % 10 == 0 { format!("n{n}") } else { format!("OAAAAA-AAAAA-AAA{n:0>3}") }).collect();
    let mut orders = Orders::new(12, 0, 0);
    let mut buffer = Vec::new();
    let (mut rule, mut switches) = (ModifyRule::KeepPlace, 0);
    for time in 0..4000 {
        let message: Vec<_> = (0..below(6))
            .map(|_| {
                let id = &names[below(names.len())];
                let mut event = [OrderEvent::Add, OrderEvent::Modify, OrderEvent::Delete][below(3)];
                let (mut side, base) = if below(2) == 0 { (Side::Bid, 10) } else { (Side::Ask, 40) };
                let mut price = (base + below(14)).to_string();
                match orders.find(OrderId::new(id).expect("short")) {
                    // Most modifies keep the price, most orders are added once.
                    Some(held) if below(5) > 0 => (side, price) = (held.side, held.price.to_string()),
                    None if below(5) > 0 => event = OrderEvent::Add,
                    _ => {}
                }
                let timestamp = time - i64::try_from(below(9)).expect("small");
                entry(event, side, id, &price, &below(50).to_string(), timestamp)
            })
            .collect();
        orders.apply(&message, rule).expect("all can be held");
        check(&orders);
        let mut fresh = orders.clone();
        assert!(fresh.widen(0, 0), "which forgets what is cached");
        let expected = fresh.checksum(&mut buffer);
        assert_eq!(orders.checksum(&mut buffer), expected);
        assert_eq!(orders.checksum_level2(&mut buffer), fresh.checksum_level2(&mut buffer));
        let mut book = Book::new(12, 0, 0);
        for side in [Side::Bid, Side::Ask] {
            for (price, qty, _) in orders.levels(side) {
                let number = |mantissa| Decimal { mantissa, scale: 0 };
                book.set(&Entry { side, price: number(price), qty: number(qty) }).expect("held");
            }
        }
        assert_eq!(orders.checksum_level2(&mut buffer), book.checksum());
        // By turns the right checksum, that of the other rule, and one that is always wrong.
        fresh.exchange_places();
        check(&fresh);
        let otherwise = fresh.checksum(&mut buffer);
        let sent = [expected, otherwise][below(2)];
        let before = rule;
        assert_eq!(orders.verify_checksum(sent, &mut rule, &mut buffer), sent);
        check(&orders);
        switches += u32::from(before != rule);
        assert_eq!(before != rule, sent != expected);
        assert_eq!(orders.detected_rule().is_some(), expected != otherwise);
        assert_eq!(orders.checksum(&mut buffer), sent);
    }
    assert!(switches > 100, "{switches}");
    // A message holds at most five entries more than the window did.
    assert!(orders.slab.items.len() <= 120 && orders.levels.items.len() <= 2 * 12 + 5);
}

#[test]
fn a_book_has_a_most_of_orders() {
    let mut orders = Orders::new(10, 0, 0);
    // All but one, in no queue: adding a million takes seconds.
    orders.slab.items.resize_with(limits::ORDERS_MAX - 1, Order::default);
    assert_eq!(orders.apply(&[add(Side::Ask, "a", "1", "1", 0)], ModifyRule::KeepPlace), Ok(0));
    let (what, limit, found) = ("ORDERS_MAX", limits::ORDERS_MAX, limits::ORDERS_MAX + 1);
    let refused = Err(Error::Limit { what, limit, found });
    assert_eq!(orders.apply(&[add(Side::Ask, "b", "1", "1", 0)], ModifyRule::KeepPlace), refused);
    assert_eq!(
        orders.apply(&[add(Side::Ask, "a", "1", "1", 0)], ModifyRule::KeepPlace),
        Ok(0),
        "replaced, not one more"
    );
}
