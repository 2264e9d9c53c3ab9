//! The tables of the lake and their columns: names, types, order. The page `docs/reference/tables.md` says what they mean.

/// Type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// UTF-8 text (Arrow `Utf8View`).
    Text,
    /// Bytes (Arrow `BinaryView`).
    Bytes,
    /// Truth value.
    Bool,
    /// Unsigned, 8 bits.
    U8,
    /// Unsigned, 16 bits.
    U16,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 64 bits.
    U64,
    /// Signed, 64 bits.
    I64,
    /// Nanoseconds since the epoch, UTC.
    Time,
    /// Exact number, Decimal(38, 10).
    Decimal,
}

/// A column: name, type, whether it may be null.
pub type Column = (&'static str, Type, bool);

/// The tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Level-2 book entries.
    Book,
    /// Level-3 book entries: orders.
    Orders,
    /// Trades.
    Trades,
    /// Best prices and 24-hour statistics.
    Ticker,
    /// Candles.
    Ohlc,
    /// Pairs as the exchange describes them, and precisions from options or inferred.
    Pairs,
    /// Assets as the exchange describes them.
    Assets,
    /// State of the exchange.
    Status,
    /// Whole books, hourly.
    Checkpoints,
    /// Whole level-3 books, hourly.
    OrdersCheckpoints,
    /// Everything that happened to the recording.
    Ledger,
    /// The frames, byte for byte.
    Frames,
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 12] = [
        Self::Book,
        Self::Orders,
        Self::Trades,
        Self::Ticker,
        Self::Ohlc,
        Self::Pairs,
        Self::Assets,
        Self::Status,
        Self::Checkpoints,
        Self::OrdersCheckpoints,
        Self::Ledger,
        Self::Frames,
    ];

    /// Its name, and the name of its folder in a lake.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Book => "book",
            Self::Orders => "orders",
            Self::Trades => "trades",
            Self::Ticker => "ticker",
            Self::Ohlc => "ohlc",
            Self::Pairs => "pairs",
            Self::Assets => "assets",
            Self::Status => "status",
            Self::Checkpoints => "checkpoints",
            Self::OrdersCheckpoints => "orders_checkpoints",
            Self::Ledger => "ledger",
            Self::Frames => "frames",
        }
    }

    /// The table of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// Its columns after the common ones.
    #[allow(clippy::too_many_lines, reason = "a list of all columns")]
    const fn own(self) -> &'static [Column] {
        use Type::{Bool, Bytes, Decimal, I64, Text, Time, U8, U16, U32, U64};
        match self {
            Self::Book => &[
                ("kind", Text, false),
                ("side", Text, true),
                ("price", Decimal, true),
                ("qty", Decimal, true),
                ("checksum", U32, true),
                ("depth", U16, false),
                ("price_precision", U8, false),
                ("qty_precision", U8, false),
            ],
            Self::Orders => &[
                ("kind", Text, false),
                ("side", Text, true),
                ("event", Text, true),
                ("order_id", Text, true),
                ("price", Decimal, true),
                ("qty", Decimal, true),
                ("ts_order", Time, true),
                ("checksum", U32, true),
                ("depth", U16, false),
                ("price_precision", U8, false),
                ("qty_precision", U8, false),
            ],
            Self::Trades => &[
                ("kind", Text, false),
                ("side", Text, true),
                ("price", Decimal, false),
                ("qty", Decimal, false),
                ("ord_type", Text, true),
                ("trade_id", I64, true),
                ("price_precision", U8, true),
                ("qty_precision", U8, true),
                ("origin", Text, false),
            ],
            Self::Ticker => &[
                ("kind", Text, false),
                ("bid", Decimal, true),
                ("bid_qty", Decimal, true),
                ("ask", Decimal, true),
                ("ask_qty", Decimal, true),
                ("last", Decimal, true),
                ("volume", Decimal, true),
                ("vwap", Decimal, true),
                ("low", Decimal, true),
                ("high", Decimal, true),
                ("change", Decimal, true),
                ("change_pct", Decimal, true),
                ("extra", Text, true),
            ],
            Self::Ohlc => &[
                ("kind", Text, false),
                ("interval", U16, false),
                ("interval_begin", Time, false),
                ("open", Decimal, true),
                ("high", Decimal, true),
                ("low", Decimal, true),
                ("close", Decimal, true),
                ("vwap", Decimal, true),
                ("volume", Decimal, true),
                ("trades", U64, true),
                ("extra", Text, true),
                ("origin", Text, false),
            ],
            Self::Pairs => &[
                ("base", Text, true),
                ("quote", Text, true),
                ("status", Text, true),
                ("price_precision", U8, false),
                ("qty_precision", U8, false),
                ("price_increment", Decimal, true),
                ("qty_increment", Decimal, true),
                ("qty_min", Decimal, true),
                ("cost_min", Decimal, true),
                ("cost_precision", U8, true),
                ("marginable", Bool, true),
                ("margin_initial", Decimal, true),
                ("position_limit_long", I64, true),
                ("position_limit_short", I64, true),
                ("has_index", Bool, true),
                ("origin", Text, false),
                ("extra", Text, true),
            ],
            Self::Assets => &[
                ("id", Text, false),
                ("status", Text, false),
                ("precision", U8, true),
                ("precision_display", U8, true),
                ("borrowable", Bool, true),
                ("collateral_value", Decimal, true),
                ("margin_rate", Decimal, true),
                ("class", Text, true),
                ("extra", Text, true),
            ],
            Self::Status => &[
                ("system", Text, false),
                ("version", Text, true),
                ("api_version", Text, true),
                ("connection_id", U64, true),
                ("extra", Text, true),
            ],
            Self::Checkpoints => &[
                ("side", Text, true),
                ("level", U16, true),
                ("price", Decimal, true),
                ("qty", Decimal, true),
                ("depth", U16, false),
                ("price_precision", U8, false),
                ("qty_precision", U8, false),
            ],
            Self::OrdersCheckpoints => &[
                ("side", Text, true),
                ("level", U16, true),
                ("queue", U32, true),
                ("order_id", Text, true),
                ("price", Decimal, true),
                ("qty", Decimal, true),
                ("ts_order", Time, true),
                ("depth", U16, false),
                ("price_precision", U8, false),
                ("qty_precision", U8, false),
                ("modify_rule", Text, false),
            ],
            Self::Ledger => &[
                ("kind", Text, false),
                ("channel", Text, true),
                ("ts_from", Time, true),
                ("ts_to", Time, true),
                ("count", U64, true),
                ("detail", Text, true),
            ],
            Self::Frames => &[("frame", Bytes, false)],
        }
    }

    /// Its columns, in order. All tables begin with session, message, entry, `ts_recv`, `ts_event`; all except `assets` go
    /// on with the symbol.
    pub fn columns(self) -> impl Iterator<Item = Column> {
        const COMMON: [Column; 6] = [
            ("session", Type::Text, false),
            ("message", Type::U64, true),
            ("entry", Type::U32, false),
            ("ts_recv", Type::Time, false),
            ("ts_event", Type::Time, true),
            ("symbol", Type::Text, true),
        ];
        let common = if matches!(self, Self::Assets) { &COMMON[..5] } else { &COMMON[..] };
        common.iter().chain(self.own()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::{OHLC_NUMBERS, TICKER_NUMBERS};

    #[test]
    fn number_columns_are_in_the_order_of_the_messages() {
        for (table, numbers) in [(Table::Ticker, &TICKER_NUMBERS[..]), (Table::Ohlc, &OHLC_NUMBERS[..])] {
            let names: Vec<_> = table.columns().filter(|c| c.1 == Type::Decimal).map(|c| c.0).collect();
            assert_eq!(names, numbers);
        }
    }
}
