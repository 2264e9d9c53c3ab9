//! Trades, tickers, candles and status: messages without a book.

use super::options::{Channel, Options};
use super::output::{LedgerRow, column, kind_cell};
use super::state::State;
use crate::error::Error;
use crate::limits;
use crate::table::ledger::LedgerKind;
use crate::table::rows::Cell;
use crate::table::schema::Table;
use crate::wire::message::{Kind, Ohlc, Status, Ticker, Trade};

impl State {
    pub(super) fn trade(&mut self, options: &Options, kind: Kind, trade: &Trade<'_>, entry: usize) {
        let Some(i) = self.symbol(options, trade.symbol.as_bytes(), Channel::Trade) else { return };
        let symbol = &mut self.symbols[i];
        symbol.subscriptions[Channel::Trade as usize].last_received = self.out.now;
        let out = &mut self.out;
        if let Some(last) = symbol.last_trade {
            // A snapshot after a reconnect repeats trades that were already taken.
            if kind == Kind::Snapshot && trade.trade_id <= last {
                return;
            }
            if trade.trade_id > last.saturating_add(1) {
                let detail = Some(format!("{{\"first\":{},\"last\":{}}}", last + 1, trade.trade_id - 1));
                let count = u64::try_from(trade.trade_id - last - 1).ok();
                let row = LedgerRow {
                    count,
                    detail,
                    ..out.ledger_row(LedgerKind::TradeGap, Some(Channel::Trade), &symbol.name)
                };
                out.add_ledger_row(row);
            }
        }
        let (Some(price), Some(qty)) = (trade.price.rescale(limits::SCALE), trade.qty.rescale(limits::SCALE)) else {
            let text = format!("{} or {}", trade.price, trade.qty);
            let error = Error::Decimal { symbol: symbol.name.to_string(), text, scale: limits::SCALE };
            return self.refuse(&error, None, b"");
        };
        symbol.last_trade = symbol.last_trade.max(Some(trade.trade_id));
        symbol.last_price = Some(trade.price);
        let place = out.place(entry, Some(trade.timestamp), Some(&symbol.name));
        let cells = [
            kind_cell(kind),
            Cell::Text(trade.side),
            Cell::Decimal(price),
            Cell::Decimal(qty),
            Cell::Text(trade.ord_type),
            Cell::I64(trade.trade_id),
            Cell::of(symbol.precision, |(price, _, _)| Cell::U8(price)),
            Cell::of(symbol.precision, |(_, qty, _)| Cell::U8(qty)),
        ];
        out.row(Table::Trades, &place, cells);
    }

    pub(super) fn ticker(&mut self, options: &Options, kind: Kind, ticker: &Ticker<'_>, entry: usize) {
        let Some(i) = self.symbol(options, ticker.symbol.as_bytes(), Channel::Ticker) else { return };
        let [bid, _, ask, _, last, ..] = ticker.numbers;
        self.symbols[i].subscriptions[Channel::Ticker as usize].last_received = self.out.now;
        self.symbols[i].quoted = [bid, ask, last];
        let place = self.out.place(entry, ticker.timestamp, Some(&self.symbols[i].name));
        let mut cells = [Cell::Null; 13];
        cells[0] = kind_cell(kind);
        cells[1..12].copy_from_slice(&ticker.numbers.map(column));
        cells[12] = Cell::text_or_null(&ticker.extra);
        self.out.row(Table::Ticker, &place, cells);
    }

    pub(super) fn ohlc(&mut self, options: &Options, kind: Kind, time: Option<i64>, ohlc: &Ohlc<'_>, entry: usize) {
        let Some(i) = self.symbol(options, ohlc.symbol.as_bytes(), Channel::Ohlc) else { return };
        self.symbols[i].subscriptions[Channel::Ohlc as usize].last_received = self.out.now;
        let place = self.out.place(entry, time, Some(&self.symbols[i].name));
        let mut cells = [Cell::Null; 11];
        cells[0] = kind_cell(kind);
        cells[1] = Cell::U16(ohlc.interval);
        cells[2] = Cell::Time(ohlc.interval_begin);
        cells[3..9].copy_from_slice(&ohlc.numbers.map(column));
        cells[9] = Cell::of(ohlc.trades, Cell::U64);
        cells[10] = Cell::text_or_null(&ohlc.extra);
        self.out.row(Table::Ohlc, &place, cells);
    }

    pub(super) fn status(&mut self, status: &Status<'_>, entry: usize) {
        self.system = Some(status.system.chars().take(limits::SYMBOL_LENGTH_MAX).collect());
        let place = self.out.place(entry, None, None);
        let cells = [
            Cell::Text(status.system),
            Cell::of(status.version, Cell::Text),
            Cell::of(status.api_version, Cell::Text),
            Cell::of(status.connection_id, Cell::U64),
            Cell::text_or_null(&status.extra),
        ];
        self.out.row(Table::Status, &place, cells);
    }
}
