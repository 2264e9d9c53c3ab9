// The proof of a recording: books rebuilt from its rows alone, and every checksum computed again. A module of its own.

import init, * as core from "./wasm/proof.js";
import { found } from "./module.js";

/** @typedef {import("./module.js").Source} Source */

/**
 * A column as Arrow has it. `valid` says which rows are not null, one bit each, the lowest first; without it all are.
 * Times are a BigInt64Array of nanoseconds. Prices and quantities are `decimals`: two words of 64 bits each, the lower one
 * first, at ten decimals. Texts are bytes and where each begins, and where the last one ends.
 *
 * @typedef {{values: Uint8Array | Uint16Array | Uint32Array | BigUint64Array | BigInt64Array, valid?: Uint8Array}
 *   | {decimals: BigUint64Array, valid?: Uint8Array}
 *   | {offsets: Int32Array, bytes: Uint8Array, valid?: Uint8Array}} Column
 */

/** @typedef {Record<string, Column>} Columns  Columns by their names, as `docs/reference/tables.md` has them. */

/**
 * What was found for a symbol.
 *
 * @typedef {object} Found
 * @property {string} symbol
 * @property {number} messages  Messages of its book.
 * @property {number} ok  Those with the right checksum.
 * @property {number} bad  With a wrong one, a crossed book, or numbers that cannot be held.
 * @property {number} unchecked  While the book was out of sync, and those without a checksum.
 * @property {number} bad_unexplained  Bad ones that the ledger does not name.
 * @property {number} unchecked_unexplained  Unchecked ones for which the ledger gives no reason.
 * @property {number} checkpoints_ok
 * @property {number} checkpoints_bad
 * @property {string[]} problems  What is wrong, in sentences; at most ten.
 */

/**
 * A message with something wrong.
 *
 * @typedef {object} Failure
 * @property {string} symbol
 * @property {number} message  Its number in the session.
 * @property {"mismatch" | "crossed" | "decode_error"} kind  The ledger's word for it.
 * @property {boolean} explained  Whether the ledger says so too.
 * @property {bigint} [received]  When it was received, ns since the epoch; if the rows have `ts_recv`.
 * @property {number} [expected]  The checksum that the exchange sent.
 * @property {number} [computed]  The checksum of the rebuilt book.
 */

/** @type {Promise<void> | undefined} */
let loading;

/**
 * Loads the module.
 *
 * @param {Source} [source]  The module; the file beside this one.
 * @returns {Promise<void>}
 */
export function load(source = new URL("./wasm/proof_bg.wasm", import.meta.url)) {
  loading ??= found(source).then(async (module_or_path) => {
    await init({ module_or_path });
  });
  return loading;
}

/**
 * @param {core.Rows} rows
 * @param {string} name
 * @param {Column} column
 */
function add(rows, name, column) {
  const { valid } = column;
  if ("decimals" in column) return rows.decimals(name, column.decimals, valid);
  if ("offsets" in column) return rows.texts(name, column.offsets, column.bytes, valid);
  const { values } = column;
  if (values instanceof Uint8Array) return rows.u8s(name, values, valid);
  if (values instanceof Uint16Array) return rows.u16s(name, values, valid);
  if (values instanceof Uint32Array) return rows.u32s(name, values, valid);
  if (values instanceof BigUint64Array) return rows.u64s(name, values, valid);
  if (values instanceof BigInt64Array) return rows.times(name, values, valid);
  throw new TypeError(`column ${name}: such an array is of no column`);
}

/**
 * Rebuilds the books of one session and one channel. Rows come in this order: `ends`, then for each part in turn
 * `checkpoints` before `messages`; sorted by symbol, message and entry.
 */
export class Verifier {
  #verifier;

  /**
   * @param {string} session  Id of the session.
   * @param {"book" | "level3"} [channel]
   * @param {number} [shard]  Which share of the symbols it takes; the others are left out.
   * @param {number} [shards]  How many verifiers share the symbols.
   */
  constructor(session, channel = "book", shard = 0, shards = 1) {
    this.#verifier = new core.Verifier(session, channel, shard, shards);
  }

  /** @param {Columns} columns  Rows of the ledger after which a book is out of sync: symbol, message, kind. */
  ends(columns) {
    this.#give(columns, (rows) => this.#verifier.ends(rows));
  }

  /** @param {Columns} columns  Rows of `checkpoints` or `orders_checkpoints`. */
  checkpoints(columns) {
    this.#give(columns, (rows) => this.#verifier.checkpoints(rows));
  }

  /** @param {Columns} columns  Rows of `book` or `orders`. */
  messages(columns) {
    this.#give(columns, (rows) => this.#verifier.messages(rows));
  }

  /**
   * @param {Columns} columns
   * @param {(rows: core.Rows) => void} take
   */
  #give(columns, take) {
    const rows = new core.Rows();
    try {
      for (const [name, column] of Object.entries(columns)) add(rows, name, column);
      take(rows);
    } finally {
      rows.free();
    }
  }

  /** @returns {Failure[]} The messages with something wrong so far; the first thousand. */
  failures() {
    return JSON.parse(this.#verifier.failures(), (name, value) => (name === "received" ? BigInt(value) : value));
  }

  /** @returns {Found[]} What was found for each symbol. The verifier is used up. */
  finish() {
    return JSON.parse(this.#verifier.finish());
  }
}

/** @returns {Record<string, string[]>} What each kind of ledger row means: `ends_book`, `needs_symbol` and so on. */
export function ledgerKinds() {
  return JSON.parse(core.ledgerKinds());
}

/** The SHA-256 of a file that comes piece by piece. */
export class Sha256 {
  #sum = new core.Sha256();

  /** @param {Uint8Array} bytes  The next ones. */
  update(bytes) {
    this.#sum.update(bytes);
  }

  /** @returns {string} The digest in hexadecimal digits. It is used up. */
  finish() {
    return this.#sum.finish();
  }
}
