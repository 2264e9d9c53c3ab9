//! What the numbers of trades say.

use super::*;

/// A trade message: number, seconds after the begin, price.
fn trades_at(kind: &str, trades: &[(i64, i64, &str)]) -> String {
    let trade = |(id, second, price): &(i64, i64, &str)| {
        format!(
            r#"{{"symbol":"A/USD","side":"buy","price":{price},"qty":2.00000000,"ord_type":"limit","trade_id":{id},"timestamp":"2026-08-02T03:35:{second:02}.660084Z"}}"#
        )
    };
    let trades: Vec<_> = trades.iter().map(trade).collect();
    format!(r#"{{"channel":"trade","type":"{kind}","data":[{}]}}"#, trades.join(","))
}

/// The rows of trades that a session made, and its ledger about trades.
fn trades_told(session: &mut Session) -> (u64, Vec<(LedgerKind, Option<u64>, String)>) {
    let kinds = [LedgerKind::TradeGap, LedgerKind::TradeRestart];
    let told = session.take_ledger().into_iter().filter(|row| kinds.contains(&row.kind));
    let told = told.map(|row| (row.kind, row.count, row.detail.unwrap_or_default())).collect();
    (session.counts().rows[Table::Trades as usize], told)
}

#[test]
fn trade_numbers_that_begin_anew_are_other_trades() {
    let (mut session, _) = begun(&[Channel::Trade], &[pair("A/USD", "online", 1)]);
    session.receive(trades_at("update", &[(500, 1, "1.0"), (501, 2, "1.0")]).as_bytes(), START);
    assert_eq!(trades_told(&mut session), (2, vec![]));
    // Delisted and listed again: the numbers begin at 1. Then 7 is missing.
    session.receive(trades_at("update", &[(1, 3, "1.0"), (2, 4, "1.0")]).as_bytes(), START);
    session.receive(trades_at("update", &[(3, 5, "1.0"), (5, 6, "1.0")]).as_bytes(), START);
    let restart = (LedgerKind::TradeRestart, None, r#"{"last":501,"first":1}"#.to_owned());
    let gap = (LedgerKind::TradeGap, Some(1), r#"{"first":4,"last":4}"#.to_owned());
    assert_eq!(trades_told(&mut session), (6, vec![restart, gap]));
    // The one that was missing comes late; another comes twice, and is recorded as it was sent.
    session.receive(trades_at("update", &[(4, 6, "1.0"), (5, 6, "1.0")]).as_bytes(), START);
    assert_eq!(trades_told(&mut session), (8, vec![]));
    // The same number and another price is another trade.
    session.receive(trades_at("update", &[(5, 6, "1.5")]).as_bytes(), START);
    assert_eq!(trades_told(&mut session).0, 9);
}

#[test]
fn trades_that_come_again_and_again_do_not_displace_others_from_memory() {
    let (mut session, _) = begun(&[Channel::Trade], &[pair("A/USD", "online", 1)]);
    let trades: Vec<_> = (100..150).map(|id| (id, id - 95, "1.0")).collect();
    session.receive(trades_at("update", &[&trades[..1], &trades[2..]].concat()).as_bytes(), START);
    // One comes late, the last one comes often.
    session.receive(trades_at("update", &trades[1..2]).as_bytes(), START);
    for _ in 0..63 {
        session.receive(trades_at("update", &trades[49..]).as_bytes(), START);
    }
    assert_eq!(trades_told(&mut session).0, 50 + 63);
    session.receive(trades_at("snapshot", &trades).as_bytes(), START);
    assert_eq!(trades_told(&mut session), (50 + 63, vec![]), "all of the snapshot is recorded already");
}

#[test]
fn trade_numbers_that_began_anew_are_seen_in_the_snapshot_of_a_new_subscription() {
    let (mut first, _) = begun(&[Channel::Trade], &[pair("A/USD", "online", 1)]);
    first.receive(trades_at("update", &[(500, 1, "1.0"), (501, 2, "1.0")]).as_bytes(), START);
    first.end(START, "cut");
    let mut second = Session::after("second", Options { channels: vec![Channel::Trade], ..Options::default() }, &first);
    second.requests(START);
    second.receive(instrument("snapshot", &[pair("A/USD", "online", 1)]).as_bytes(), START);
    second.requests(START);
    // The snapshot repeats what was taken before the numbers started again.
    let trades = [(501, 2, "1.0"), (1, 3, "1.0"), (2, 4, "1.0"), (3, 5, "1.0"), (4, 6, "1.0"), (5, 7, "1.0")];
    second.receive(trades_at("snapshot", &trades).as_bytes(), START);
    second.receive(trades_at("update", &[(6, 8, "1.0"), (8, 9, "1.0")]).as_bytes(), START);
    let restart = (LedgerKind::TradeRestart, None, r#"{"last":501,"first":1}"#.to_owned());
    let gap = (LedgerKind::TradeGap, Some(1), r#"{"first":7,"last":7}"#.to_owned());
    assert_eq!(trades_told(&mut second), (7, vec![restart, gap]));
    second.end(START, "cut");
    // A third one receives the old and the new numbers again: all are known.
    let mut third = Session::after("third", Options { channels: vec![Channel::Trade], ..Options::default() }, &second);
    third.requests(START);
    third.receive(instrument("snapshot", &[pair("A/USD", "online", 1)]).as_bytes(), START);
    third.requests(START);
    third.receive(trades_at("snapshot", &[(501, 2, "1.0"), (1, 3, "1.0"), (8, 9, "1.0")]).as_bytes(), START);
    assert_eq!(trades_told(&mut third), (0, vec![]));
}

#[test]
fn the_largest_trade_number_overflows_nothing() {
    let (mut session, _) = begun(&[Channel::Trade], &[pair("A/USD", "online", 1)]);
    session.receive(trades_at("update", &[(i64::MIN, 1, "1.0"), (i64::MAX, 2, "1.0")]).as_bytes(), START);
    let (rows, told) = trades_told(&mut session);
    assert_eq!((rows, told[0].0, told[0].1), (2, LedgerKind::TradeGap, Some(u64::MAX - 1)));
    session.receive(trades_at("update", &[(i64::MAX, 2, "1.0"), (1, 3, "1.0")]).as_bytes(), START);
    let (rows, told) = trades_told(&mut session);
    assert_eq!((rows, told.len(), told[0].0), (4, 1, LedgerKind::TradeRestart));
}
