//! Trades, tickers, candles and status: messages without a book.

use std::hash::BuildHasher as _;
use std::sync::Arc;

use super::events::{Event, EventKind, OhlcEvent, StatusEvent, TickerEvent, TradeEvent, at_precision};
use super::options::{Channel, Options};
use super::output::{Output, column, kind_cell};
use super::subscriptions::Subscriptions;
use super::symbols::{Symbol, Symbols, Trades};
use crate::error::Error;
use crate::limits;
use crate::table::ledger::LedgerKind;
use crate::table::rows::{Cell, word};
use crate::table::schema::Table;
use crate::wire::message::{Kind, Ohlc, Status, Ticker, Trade};

/// The origin of all rows of a session; other rows are imported.
const FEED: Cell<'static> = word("feed");

/// What a number of a trade means, after those that were already taken.
enum Numbering {
    /// The next one, or the first of all.
    Next,
    /// It leaves these out.
    Missing(i64, i64),
    /// It was already taken, or is older than all that were.
    Known,
    /// It was left out before, and comes late.
    Late,
    /// Another trade has this number: the numbering started again.
    Restart,
}

/// What tells two trades with one number apart.
fn fingerprint(trade: &Trade<'_>) -> u64 {
    let numbers = [trade.price, trade.qty].map(|number| number.rescale(limits::SCALE));
    foldhash::fast::FixedState::with_seed(0).hash_one((trade.timestamp, trade.side, numbers))
}

/// What the number of a trade means.
fn numbering(known: Option<&Trades>, kind: Kind, trade: &Trade<'_>, fingerprint: u64) -> Numbering {
    let Some(Trades { last, timestamp, recent, restarted, .. }) = known else { return Numbering::Next };
    let id = trade.trade_id;
    if id > *last {
        // A snapshot may reach back to trades with numbers from before the numbering started again.
        if kind == Kind::Snapshot && *restarted && trade.timestamp < *timestamp {
            return Numbering::Known;
        }
        return match (last.checked_add(1), id.checked_sub(1)) {
            (Some(first), Some(end)) if first <= end => Numbering::Missing(first, end),
            _ => Numbering::Next,
        };
    }
    match recent.iter().rev().find(|(other, _)| *other == id) {
        Some((_, other)) if *other == fingerprint => Numbering::Known,
        Some(_) => Numbering::Restart,
        None if trade.timestamp > *timestamp => Numbering::Restart,
        // A snapshot reaches back to before the first trade that was taken.
        None if kind == Kind::Snapshot && recent.front().is_none_or(|(first, _)| id < *first) => Numbering::Known,
        None => Numbering::Late,
    }
}

/// One trade of a message; `entry` is its place there.
pub(super) fn trade(
    options: &Options,
    symbols: &mut Symbols,
    subscriptions: &mut Subscriptions,
    out: &mut Output,
    (kind, trade, entry): (Kind, &Trade<'_>, usize),
) {
    let Some(i) = symbols.find(options, trade.symbol.as_bytes(), Channel::Trade, out) else { return };
    let now = out.now;
    subscriptions.received(symbols, i, Channel::Trade, now);
    symbols.regain(i, Channel::Trade, out);
    let Symbol { name, trades, precision, last_price, .. } = &mut symbols.all[i];
    let (Some(price), Some(qty)) = (trade.price.rescale(limits::SCALE), trade.qty.rescale(limits::SCALE)) else {
        let text = format!("{} or {}", trade.price, trade.qty);
        return out.refuse(&Error::Decimal { symbol: name.to_string(), text, scale: limits::SCALE }, None, b"");
    };
    let fingerprint = fingerprint(trade);
    let meaning = numbering(trades.as_ref(), kind, trade, fingerprint);
    let since = trades.as_ref().map(|trades| trades.last_received);
    let restarted = matches!(meaning, Numbering::Restart);
    match meaning {
        // A snapshot after a reconnect repeats what is recorded; an update that comes twice is recorded as it was sent.
        Numbering::Known if kind == Kind::Snapshot => return,
        Numbering::Next | Numbering::Late | Numbering::Known => {}
        Numbering::Missing(first, last) => {
            let row = out.ledger_row(LedgerKind::TradeGap, Some(Channel::Trade), name).span(since, Some(now));
            let count = first.abs_diff(last).saturating_add(1);
            out.add_ledger_row(row.count(count).detail(format!("{{\"first\":{first},\"last\":{last}}}")));
            out.gap_event(name, Channel::Trade, since, Some((first, last)), "trade ids are missing");
        }
        Numbering::Restart => {
            let last = trades.take().map_or(0, |trades| trades.last);
            let row = out.ledger_row(LedgerKind::TradeRestart, Some(Channel::Trade), name).span(since, Some(now));
            out.add_ledger_row(row.detail(format!("{{\"last\":{last},\"first\":{}}}", trade.trade_id)));
        }
    }
    match trades {
        Some(trades) => trades.add(trade.trade_id, trade.timestamp, now, fingerprint),
        None => *trades = Some(Trades::new(trade.trade_id, trade.timestamp, now, fingerprint, restarted)),
    }
    *last_price = Some(trade.price);
    let place = out.place(entry, Some(trade.timestamp), Some(name));
    let cells = [
        kind_cell(kind),
        Cell::Text(trade.side),
        Cell::Decimal(price),
        Cell::Decimal(qty),
        Cell::Text(trade.ord_type),
        Cell::I64(trade.trade_id),
        Cell::of(*precision, |(price, _, _)| Cell::U8(price)),
        Cell::of(*precision, |(_, qty, _)| Cell::U8(qty)),
        FEED,
    ];
    out.row(Table::Trades, &place, cells);
    if out.wants(EventKind::Trade) {
        let (price_precision, qty_precision) = precision.map_or((limits::SCALE, limits::SCALE), |p| (p.0, p.1));
        out.events.push(Event::Trade(Arc::new(TradeEvent {
            received: out.received(name, Some(trade.timestamp)),
            kind,
            side: trade.side.into(),
            ord_type: trade.ord_type.into(),
            trade_id: trade.trade_id,
            price: at_precision(price, price_precision),
            qty: at_precision(qty, qty_precision),
        })));
    }
}

/// One ticker of a message.
pub(super) fn ticker(
    options: &Options,
    symbols: &mut Symbols,
    subscriptions: &mut Subscriptions,
    out: &mut Output,
    (kind, ticker, entry): (Kind, &Ticker<'_>, usize),
) {
    let Some(i) = symbols.find(options, ticker.symbol.as_bytes(), Channel::Ticker, out) else { return };
    let [bid, _, ask, _, last, ..] = ticker.numbers;
    subscriptions.received(symbols, i, Channel::Ticker, out.now);
    symbols.regain(i, Channel::Ticker, out);
    symbols.all[i].quoted = [bid, ask, last];
    let name = &symbols.all[i].name;
    let place = out.place(entry, ticker.timestamp, Some(name));
    let mut cells = [Cell::Null; 13];
    cells[0] = kind_cell(kind);
    cells[1..12].copy_from_slice(&ticker.numbers.map(column));
    cells[12] = Cell::text_or_null(&ticker.extra);
    out.row(Table::Ticker, &place, cells);
    if out.wants(EventKind::Ticker) {
        let numbers = ticker.numbers.map(|number| number.and_then(|number| number.rescale(limits::SCALE)));
        let received = out.received(name, ticker.timestamp);
        out.events.push(Event::Ticker(Box::new(TickerEvent { received, numbers })));
    }
}

/// One candle of a message.
pub(super) fn ohlc(
    options: &Options,
    symbols: &mut Symbols,
    subscriptions: &mut Subscriptions,
    out: &mut Output,
    (kind, time, ohlc, entry): (Kind, Option<i64>, &Ohlc<'_>, usize),
) {
    let Some(i) = symbols.find(options, ohlc.symbol.as_bytes(), Channel::Ohlc, out) else { return };
    subscriptions.received(symbols, i, Channel::Ohlc, out.now);
    symbols.regain(i, Channel::Ohlc, out);
    let name = &symbols.all[i].name;
    let place = out.place(entry, time, Some(name));
    let mut cells = [Cell::Null; 12];
    cells[0] = kind_cell(kind);
    cells[1] = Cell::U16(ohlc.interval);
    cells[2] = Cell::Time(ohlc.interval_begin);
    cells[3..9].copy_from_slice(&ohlc.numbers.map(column));
    cells[9] = Cell::of(ohlc.trades, Cell::U64);
    cells[10] = Cell::text_or_null(&ohlc.extra);
    cells[11] = FEED;
    out.row(Table::Ohlc, &place, cells);
    if out.wants(EventKind::Ohlc) {
        out.events.push(Event::Ohlc(Box::new(OhlcEvent {
            received: out.received(name, time),
            interval: ohlc.interval,
            interval_begin: ohlc.interval_begin,
            trades: ohlc.trades,
            numbers: ohlc.numbers.map(|number| number.and_then(|number| number.rescale(limits::SCALE))),
        })));
    }
}

/// One element of a status message; returns the state that it tells.
pub(super) fn status(out: &mut Output, status: &Status<'_>, entry: usize) -> String {
    let system: String = status.system.chars().take(limits::SYMBOL_LENGTH_MAX).collect();
    let place = out.place(entry, None, None);
    let cells = [
        Cell::Text(status.system),
        Cell::of(status.version, Cell::Text),
        Cell::of(status.api_version, Cell::Text),
        Cell::of(status.connection_id, Cell::U64),
        Cell::text_or_null(&status.extra),
    ];
    out.row(Table::Status, &place, cells);
    if out.wants(EventKind::Status) {
        let (message, ts_recv) = (out.message.unwrap_or(0), out.now);
        out.events.push(Event::Status(StatusEvent { message, ts_recv, system: status.system.into() }));
    }
    system
}
