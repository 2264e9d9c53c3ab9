//! The kinds of ledger rows and what each means: which begin or end the coverage of a symbol, which tell of an error.
//!
//! The recorder, the verifier and every reader of coverage ask here, so that a kind means the same to all of them.

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal: [$($property:ident),*];)*) => {
        /// What a row of the ledger tells of.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum LedgerKind {
            $($(#[$doc])* $kind,)*
        }

        impl LedgerKind {
            /// All kinds.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$kind),*];

            /// Its name in the column `kind`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }

            /// What it means for coverage.
            #[must_use]
            pub const fn properties(self) -> Properties {
                match self {
                    $(Self::$kind => Properties { $($property: true,)* ..Properties::NONE },)*
                }
            }
        }
    };
}

/// What a kind of ledger row means for the coverage of a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools, reason = "properties that do not depend on each other")]
pub struct Properties {
    /// A book is in sync from here on.
    pub begins_book: bool,
    /// Trades, tickers or candles are complete from here on.
    pub begins_feed: bool,
    /// A book is out of sync from here on: the book that the row names, or every one.
    pub ends_book: bool,
    /// Trades, tickers or candles are not complete any more.
    pub ends_feed: bool,
    /// It ends something only if it names a symbol.
    pub needs_symbol: bool,
    /// It is written when the end is noticed, and `ts_from` tells since when nothing came.
    pub tells_since: bool,
    /// Data is missing, wrong or refused: worth a warning.
    pub is_error: bool,
}

impl Properties {
    const NONE: Self = Self {
        begins_book: false,
        begins_feed: false,
        ends_book: false,
        ends_feed: false,
        needs_symbol: false,
        tells_since: false,
        is_error: false,
    };

    /// The properties by name, for callers in other languages.
    #[must_use]
    pub const fn named(self) -> [(&'static str, bool); 7] {
        [
            ("begins_book", self.begins_book),
            ("begins_feed", self.begins_feed),
            ("ends_book", self.ends_book),
            ("ends_feed", self.ends_feed),
            ("needs_symbol", self.needs_symbol),
            ("tells_since", self.tells_since),
            ("is_error", self.is_error),
        ]
    }
}

kinds! {
    /// A recorder, or an ingest, began.
    Start = "start": [];
    /// It ended in order.
    Stop = "stop": [];
    /// A connection is to be made.
    Connect = "connect": [];
    /// The connection is gone: all books end.
    Disconnect = "disconnect": [ends_book, ends_feed, tells_since];
    /// The exchange granted a subscription.
    Subscribed = "subscribed": [begins_feed];
    /// It refused one, or a request, or a token, or the connection failed.
    Refused = "refused": [is_error];
    /// A subscription ended as requested.
    Unsubscribed = "unsubscribed": [ends_book, ends_feed];
    /// A book began.
    Snapshot = "snapshot": [begins_book];
    /// A checksum is wrong: the book ends.
    Mismatch = "mismatch": [ends_book, is_error];
    /// The best bid is at or above the best ask: the book ends.
    Crossed = "crossed": [ends_book, is_error];
    /// A symbol will be unsubscribed and subscribed again.
    Resync = "resync": [];
    /// A subscription was granted and delivers nothing, though another channel says that it should.
    Stale = "stale": [];
    /// A message may be lost; the book is in sync until it is unsubscribed.
    Doubt = "doubt": [is_error];
    /// A checksum of level 3 showed what a `modify` does to an order's place.
    ModifyRule = "modify_rule": [];
    /// Something is not known for a time.
    Gap = "gap": [ends_book, ends_feed, tells_since, is_error];
    /// Trades are missing.
    TradeGap = "trade_gap": [is_error];
    /// The numbering of a pair's trades started again.
    TradeRestart = "trade_restart": [];
    /// A symbol cannot be held and was given up.
    Gone = "gone": [ends_book, ends_feed, is_error];
    /// A selected pair came.
    Listed = "listed": [];
    /// A selected pair went.
    Delisted = "delisted": [ends_book, ends_feed];
    /// A precision in force changed.
    Precision = "precision": [];
    /// A message could not be read, or a number not be held.
    DecodeError = "decode_error": [ends_book, needs_symbol, is_error];
    /// A bound was exceeded.
    Limit = "limit": [ends_book, needs_symbol, is_error];
    /// Once a second: the recording goes on.
    Alive = "alive": [];
    /// The clock of this machine stepped, or how good it is.
    Clock = "clock": [];
    /// A day that was older than the limit was removed.
    Removed = "removed": [];
    /// How late the loop was.
    Lag = "lag": [];
    /// A consumer was slower than the feed.
    Backpressure = "backpressure": [];
    /// A part was published.
    Sealed = "sealed": [];
    /// Parts of a past day were merged.
    Compacted = "compacted": [];
    /// A journal of a recorder that died was sealed.
    Recovered = "recovered": [];
    /// Rows of another origin than the feed were added.
    Imported = "imported": [];
    /// A live book was compared with REST, and equals it.
    Audit = "audit": [];
    /// A live book was compared with REST, and differs.
    AuditFailed = "audit_failed": [is_error];
    /// A damaged place of a journal could not be read.
    Torn = "torn": [is_error];
}

impl LedgerKind {
    /// The kind of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(property: impl Fn(Properties) -> bool) -> Vec<&'static str> {
        LedgerKind::ALL.into_iter().filter(|kind| property(kind.properties())).map(LedgerKind::name).collect()
    }

    #[test]
    fn what_ends_a_book_or_a_feed_is_said_once() {
        assert_eq!(
            names(|of| of.ends_book),
            ["disconnect", "unsubscribed", "mismatch", "crossed", "gap", "gone", "delisted", "decode_error", "limit"]
        );
        assert_eq!(names(|of| of.ends_feed), ["disconnect", "unsubscribed", "gap", "gone", "delisted"]);
        assert_eq!(names(|of| of.needs_symbol), ["decode_error", "limit"]);
        assert_eq!(names(|of| of.begins_book || of.begins_feed), ["subscribed", "snapshot"]);
    }

    #[test]
    fn every_kind_is_found_by_its_name_and_no_other_is() {
        for kind in LedgerKind::ALL {
            assert_eq!(LedgerKind::named(kind.name()), Some(kind));
        }
        assert_eq!(LedgerKind::named("alive "), None);
    }
}
