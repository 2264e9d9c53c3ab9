//! Every bound of the core, in one place, related to each other by assertions.

/// Bytes of one frame. An instrument snapshot of 1,450 pairs is about 0.6 MB, a book snapshot of depth 1000 about 80 kB.
pub const FRAME_MAX: usize = 16 << 20;
/// Levels of nesting of one frame; the deepest documented message has four.
pub const NESTING_MAX: usize = 64;
/// Bytes of a symbol.
pub const SYMBOL_LENGTH_MAX: usize = 64;
/// Symbols of one session. Kraken listed 1,451 pairs in September 2026.
pub const SYMBOLS_MAX: usize = 20_000;
/// Book depths that Kraken offers.
pub const DEPTHS: [u16; 5] = [10, 25, 100, 500, 1000];
/// Depths of level 3 that Kraken offers.
pub const LEVEL3_DEPTHS: [u16; 3] = [10, 100, 1000];
/// Levels on each side of the deepest book.
pub const DEPTH_MAX: u16 = 1000;
/// Bytes of an order id; Kraken's have 19.
pub const ORDER_ID_LENGTH_MAX: usize = 64;
/// Orders of one level-3 book. The window bounds levels, not the orders at them.
pub const ORDERS_MAX: usize = 1_000_000;
/// Candle lengths that Kraken offers, in minutes.
pub const INTERVALS: [u16; 9] = [1, 5, 15, 30, 60, 240, 1440, 10_080, 21_600];
/// Decimals of a price or quantity column. Kraken's finest price precision is 10.
pub const SCALE: u8 = 10;
/// Digits of a price or quantity column.
pub const DIGITS_MAX: u32 = 38;
/// Ledger rows kept for the caller between two calls; the ledger keeps all.
pub const EVENTS_MAX: usize = 10_000;
/// Ledger rows for refused frames in one second; further ones are counted together in one row.
pub const ERROR_ROWS_MAX: u32 = 10;
/// Items of one message that cannot be read and are kept with what is wrong; further ones are counted.
pub const REFUSED_ITEMS_MAX: usize = 1000;
/// Bytes of a refused frame, or of a refused item, quoted in the ledger.
pub const EXCERPT_MAX: usize = 200;
/// Bytes of the exchange's own words (why it rejects, what it warns of) kept in one row of the ledger.
pub const WORDS_MAX: usize = 1000;
/// Unknown channel names counted by name; further ones are counted together.
pub const CHANNELS_MAX: usize = 16;
/// Symbols named in one request.
pub const BATCH_MAX: usize = 50;
/// Symbols requested and not yet answered (ack, and snapshot if one is due), all channels together.
pub const WAITING_MAX: usize = 200;
/// Units of level-3 subscriptions that Kraken grants a standard account in a second.
pub const LEVEL3_RATE: u32 = LEVEL3_RATES[0].1;
/// The same by account.
pub const LEVEL3_RATES: [(&str, u32); 2] = [("standard", 200), ("pro", 500)];
/// Units that a level-3 subscription costs, by its depth.
pub const LEVEL3_COSTS: [(u16, u32); 3] = [(LEVEL3_DEPTHS[0], 5), (LEVEL3_DEPTHS[1], 25), (LEVEL3_DEPTHS[2], 100)];
/// Tokens of at least this many bytes are hidden in what comes back; Kraken's have more than 40.
pub const SECRET_LENGTH_MIN: usize = 8;
/// Tokens of a session that are hidden: the latest ones.
pub const SECRETS_MAX: usize = 8;
/// Books written as checkpoints in one step of the clock, so that a new hour does not block the socket.
pub const CHECKPOINTS_MAX: usize = 16;

const _: () = assert!(BATCH_MAX <= WAITING_MAX);
const _: () = assert!(DEPTHS[4] == DEPTH_MAX);
// A price and a quantity of a wide level both fit the digits kept for the checksum.
const _: () = assert!(DIGITS_MAX <= 39);
// Orders are numbered with 32 bits; the highest number means none.
const _: () = assert!(ORDERS_MAX < u32::MAX as usize);

/// The bounds by name, for callers in other languages.
pub const ALL: [(&str, usize); 15] = [
    ("FRAME_MAX", FRAME_MAX),
    ("NESTING_MAX", NESTING_MAX),
    ("SYMBOL_LENGTH_MAX", SYMBOL_LENGTH_MAX),
    ("SYMBOLS_MAX", SYMBOLS_MAX),
    ("DEPTH_MAX", DEPTH_MAX as usize),
    ("ORDER_ID_LENGTH_MAX", ORDER_ID_LENGTH_MAX),
    ("ORDERS_MAX", ORDERS_MAX),
    ("EVENTS_MAX", EVENTS_MAX),
    ("ERROR_ROWS_MAX", ERROR_ROWS_MAX as usize),
    ("REFUSED_ITEMS_MAX", REFUSED_ITEMS_MAX),
    ("EXCERPT_MAX", EXCERPT_MAX),
    ("WORDS_MAX", WORDS_MAX),
    ("BATCH_MAX", BATCH_MAX),
    ("WAITING_MAX", WAITING_MAX),
    ("CHECKPOINTS_MAX", CHECKPOINTS_MAX),
];
