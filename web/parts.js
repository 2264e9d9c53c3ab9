// What a file of a recording is: its table, day, session and number, by its name or by what is in it.

/** @typedef {import("./prover.js").Examined} Examined */

/** Tables and the columns that only they have. */
const COLUMNS = {
  ledger: ["ts_from", "channel", "detail"],
  orders_checkpoints: ["order_id", "modify_rule"],
  orders: ["order_id", "event"],
  checkpoints: ["level", "depth", "side"],
  book: ["checksum", "depth", "side"],
  trades: ["trade_id"],
  ohlc: ["interval_begin"],
  ticker: ["vwap", "bid_qty"],
  pairs: ["price_increment"],
  assets: ["precision_display"],
  status: ["connection_id"],
  frames: ["frame"],
};
export const TABLES = Object.keys(COLUMNS);
/** Tables whose rows the ledger's `alive` rows do not count. */
export const UNCOUNTED = ["ledger", "checkpoints", "orders_checkpoints"];

const LEVELS = ["symbol", "message", "side", "price", "qty", "depth", "price_precision", "qty_precision"];
/** The kinds of books that have checksums. */
export const BOOKS = /** @type {const} */ ([
  {
    channel: "book",
    messages: "book",
    columns: [...LEVELS, "kind", "checksum", "ts_recv"],
    checkpoints: "checkpoints",
    checkpointColumns: LEVELS,
  },
  {
    channel: "level3",
    messages: "orders",
    columns: [...LEVELS, "kind", "checksum", "event", "order_id", "ts_order", "ts_recv"],
    checkpoints: "orders_checkpoints",
    checkpointColumns: [...LEVELS, "order_id", "ts_order", "modify_rule"],
  },
]);
/** Tables without books, and the channel whose messages fill each of them. */
export const CHANNELS = /** @type {Record<string, string>} */ ({
  trades: "trade",
  ticker: "ticker",
  ohlc: "ohlc",
  status: "status",
  pairs: "instrument",
});
/** The tables by the ledger's word for a channel. */
export const TABLE_OF = /** @type {Record<string, string>} */ ({
  book: "book",
  level3: "orders",
  trade: "trades",
  ticker: "ticker",
  ohlc: "ohlc",
});

/**
 * A part of a lake.
 *
 * @typedef {object} Part
 * @property {number} id  The place of its file.
 * @property {string} name  As the ledger names it.
 * @property {string} table
 * @property {string} date
 * @property {string} session
 * @property {number} number  Of its journal; of a compacted part among those of its day.
 * @property {boolean} compacted
 * @property {number} bytes
 * @property {Examined} [has]
 * @property {boolean} [unreadable]
 */

const NAME = /^(?:[01]\d|2[0-3])[0-5]\d[0-5]\d-(?<session>.+)-(?<compacted>c?)(?<number>\d+)\.parquet$/;
const DAY = /^date=(\d{4}-\d\d-\d\d)$/;
const JOURNAL = /^\d{8}T\d{6}-(?<session>.+)-(?<number>\d+)\.journal$/;

/**
 * What the path of a file says.
 *
 * @param {string} path
 * @returns {{file: string, table?: string, date?: string, session?: string, number?: number, compacted?: boolean}}
 */
export function named(path) {
  const [file = "", folder = "", table = ""] = path.split("/").reverse();
  const found = NAME.exec(file)?.groups;
  return {
    file,
    table: TABLES.includes(table) ? table : undefined,
    date: DAY.exec(folder)?.[1],
    ...(found && { session: found.session, number: Number(found.number), compacted: found.compacted === "c" }),
  };
}

/**
 * The session and number of a journal: rows that are not sealed yet.
 *
 * @param {string} path
 */
export function journal(path) {
  const [file = "", folder = ""] = path.split("/").reverse();
  const found = folder === "_journal" ? JOURNAL.exec(file)?.groups : undefined;
  return found && { file, session: found.session, number: Number(found.number) };
}

/**
 * The table that has such columns.
 *
 * @param {string[]} columns
 */
export function tableOf(columns) {
  return Object.entries(COLUMNS).find(([, names]) => names.every((name) => columns.includes(name)))?.[0];
}

/**
 * The UTC day of a time.
 *
 * @param {bigint} ns  Since the epoch.
 */
export function day(ns) {
  return new Date(Number(ns / 1_000_000n)).toISOString().slice(0, 10);
}

/**
 * As messages write a time.
 *
 * @param {bigint} ns  Since the epoch.
 */
export function moment(ns) {
  return new Date(Number(ns / 1_000_000n)).toISOString().slice(0, 19).replace("T", " ");
}

/**
 * "1 row", "1,234 rows".
 *
 * @param {number} count
 * @param {string} one
 * @param {string} [many]
 */
export function counted(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en-US")} ${count === 1 ? one : many}`;
}
