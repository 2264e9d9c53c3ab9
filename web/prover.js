// What a worker of `prove` does: it reads parts, counts them, and rebuilds its share of the books.

import { buffers, has, joined, number, same, slice, text } from "./columns.js";
import { ParquetFile, Unreadable } from "./parquet.js";
import { ledgerKinds, load, Sha256, Verifier } from "./proof.js";
import { TradeIds } from "./tradeids.js";

/** @typedef {import("./proof.js").Columns} Columns */
/** @typedef {import("./proof.js").Column} Column */
/** @typedef {{id: number, blob: Blob}} Given  A file, and its number. */
/** @typedef {{bounds: number[], at: number, begin: number}} Counting  Spans of messages whose rows are counted. */
/**
 * @typedef {object} LedgerRow
 * @property {number} entry
 * @property {string} kind
 * @property {bigint} received
 * @property {number | null} message
 * @property {string | null} channel
 * @property {string | null} symbol
 * @property {bigint | null} from
 * @property {bigint | null} to
 * @property {number | null} count
 * @property {string | null} detail
 */
/** @typedef {{columns: Columns, last: string, key: string}} Piece  Rows; their last symbol; the message that they are of. */
/**
 * What a part has.
 *
 * @typedef {object} Examined
 * @property {number} rows
 * @property {number} first  Its first message.
 * @property {number} last
 * @property {number[]} counts  Rows of each span of messages.
 * @property {number} distinct  Different messages.
 * @property {string} sha256
 * @property {number[]} groups  Rows of each row group.
 */

const BYTES = 4 << 20;
/** Bits of a page of a set of numbers. */
const PAGE = 65_536;

/** Numbers, of which many lie together. */
class Numbers {
  /** @type {Map<number, Uint8Array>} */
  #pages = new Map();
  size = 0;

  /** @param {number} n */
  add(n) {
    const page = Math.floor(n / PAGE);
    const bit = n - page * PAGE;
    let bits = this.#pages.get(page);
    if (!bits) this.#pages.set(page, (bits = new Uint8Array(PAGE / 8)));
    if (bits[bit >> 3] & (1 << (bit & 7))) return;
    bits[bit >> 3] |= 1 << (bit & 7);
    this.size += 1;
  }
}

/**
 * The place of the first bound that is not below a number.
 *
 * @param {number[]} bounds
 * @param {number} n
 */
function place(bounds, n) {
  let low = 0;
  let high = bounds.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (bounds[middle] < n) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * A column of 64 bits as two numbers each; BigInts would be many times slower.
 *
 * @param {Column} column
 */
function words(column) {
  if (!("values" in column)) throw new Unreadable("its column message is of another type");
  const { values } = column;
  return new Uint32Array(values.buffer, values.byteOffset, values.byteLength / 4);
}

/**
 * What a piece is handed over with.
 *
 * @param {unknown} value
 * @returns {ArrayBuffer[]}
 */
export function memory(value) {
  return Array.isArray(value) ? value.flatMap((one) => (one?.columns ? buffers(one.columns) : [])) : [];
}

export class Prover {
  /** @type {Map<number, Promise<ParquetFile>>} */
  #files = new Map();
  /** @type {Verifier | undefined} */
  #verifier;
  #trades = new TradeIds();

  /** @param {Given} given */
  #open({ id, blob }) {
    let file = this.#files.get(id);
    if (!file) this.#files.set(id, (file = ParquetFile.open(blob)));
    return file;
  }

  /**
   * Loads the core.
   *
   * @returns {Promise<Record<string, string[]>>} What each kind of ledger row means.
   */
  async start() {
    await load();
    return ledgerKinds();
  }

  /** @param {number} id */
  async close(id) {
    const file = this.#files.get(id);
    this.#files.delete(id);
    await file?.then((one) => one.close(), () => undefined);
  }

  /**
   * What a file says of itself: its columns, and session and time of its first row.
   *
   * @param {Given} given
   */
  async look(given) {
    const file = await this.#open(given);
    const { columns, groups } = file;
    if (!groups.length || !["session", "message", "entry", "ts_recv"].every((name) => columns.includes(name))) {
      return { columns, session: null, received: null };
    }
    return file.read(0, ["session", "ts_recv"], ({ session, ts_recv: times }) => ({
      columns,
      session: text(session, 0),
      received: "values" in times ? BigInt(times.values[0]) : null,
    }));
  }

  /**
   * All rows of a part of the ledger.
   *
   * @param {Given} given
   */
  async ledger(given) {
    const file = await this.#open(given);
    /** @type {LedgerRow[]} */
    const found = [];
    const names = ["entry", "kind", "ts_recv", "message", "channel", "symbol", "ts_from", "ts_to", "count", "detail"];
    for (let group = 0; group < file.groups.length; group++) {
      await file.read(group, names, (columns, rows) => {
        const time = (/** @type {string} */ name, /** @type {number} */ row) => {
          const column = columns[name];
          return "values" in column && has(column, row) ? BigInt(column.values[row]) : null;
        };
        for (let row = 0; row < rows; row++) {
          found.push({
            entry: number(columns.entry, row) ?? 0,
            kind: text(columns.kind, row) ?? "",
            received: time("ts_recv", row) ?? 0n,
            message: number(columns.message, row),
            channel: text(columns.channel, row),
            symbol: text(columns.symbol, row),
            from: time("ts_from", row),
            to: time("ts_to", row),
            count: number(columns.count, row),
            detail: text(columns.detail, row),
          });
        }
      });
    }
    return found;
  }

  /**
   * Counts the rows of a part, and computes the digest of its file.
   *
   * @param {Given} given
   * @param {Counting} counting
   * @returns {Promise<Examined>}
   */
  async examine(given, { bounds, at, begin }) {
    const file = await this.#open(given);
    const counts = new Array(bounds.length + 1).fill(0);
    const numbers = new Numbers();
    let [first, last] = [Infinity, -1];
    for (let group = 0; group < file.groups.length; group++) {
      await file.read(group, ["message", "entry"], ({ message }, rows) => {
        const halves = words(message);
        for (let row = 0; row < rows; row++) {
          if (!has(message, row)) continue;
          const n = halves[2 * row] + halves[2 * row + 1] * 2 ** 32;
          numbers.add(n);
          if (n < first) first = n;
          if (n > last) last = n;
          if (n <= at || n >= begin) counts[place(bounds, n)] += 1;
        }
      });
    }
    const { rows, groups } = file;
    return { rows, first, last, counts, distinct: numbers.size, sha256: await digest(given.blob), groups };
  }

  /**
   * Begins the trades of a session.
   *
   * @param {ConstructorParameters<typeof TradeIds>[0]} options
   */
  beginTrades(options) {
    this.#trades = new TradeIds(options);
  }

  /**
   * Takes the trades of a part; parts come in their order.
   *
   * @param {Given} given
   */
  async trades(given) {
    const file = await this.#open(given);
    for (let group = 0; group < file.groups.length; group++) {
      await file.read(group, ["symbol", "message", "trade_id", "kind"], (columns, rows) => this.#trades.take(columns, rows));
    }
  }

  endTrades() {
    return this.#trades.found();
  }

  /**
   * Rows of a row group: its first message, all between, its last message. The first and the last may go on in others.
   *
   * @param {Given} given
   * @param {number} group
   * @param {string[]} names
   * @returns {Promise<Piece[]>}
   */
  async decode(given, group, names) {
    const file = await this.#open(given);
    return file.read(group, names, (columns, rows) => {
      const { symbol, message } = columns;
      const equal = (/** @type {number} */ a, /** @type {number} */ b) => same(message, a, b) && same(symbol, a, b);
      let head = Math.min(1, rows);
      while (head < rows && equal(head, head - 1)) head += 1;
      let tail = rows;
      if (head < rows) do tail -= 1; while (tail > head && equal(tail, tail - 1));
      const key = (/** @type {number} */ row) => `${text(symbol, row)} ${number(message, row)}`;
      /** @type {Piece[]} */
      const pieces = [];
      for (const [from, to] of [[0, head], [head, tail], [tail, rows]]) {
        if (to > from) pieces.push({ columns: slice(columns, from, to), last: text(symbol, to - 1) ?? "", key: key(from) });
      }
      return pieces;
    });
  }

  /**
   * Begins the books of a session.
   *
   * @param {string} session
   * @param {"book" | "level3"} channel
   * @param {number} shard
   * @param {number} shards
   * @param {Columns} ends
   */
  begin(session, channel, shard, shards, ends) {
    this.#verifier = new Verifier(session, channel, shard, shards);
    this.#verifier.ends(ends);
  }

  /**
   * Takes rows.
   *
   * @param {"checkpoints" | "messages"} what
   * @param {Columns} columns
   */
  give(what, columns) {
    this.#verifier?.[what](columns);
  }

  finish() {
    const verifier = this.#verifier;
    this.#verifier = undefined;
    if (!verifier) throw new TypeError("no books were begun");
    const failures = verifier.failures();
    return { failures, found: verifier.finish() };
  }
}

/**
 * SHA-256 of a file, of which little is in memory at a time.
 *
 * @param {Blob} blob
 */
async function digest(blob) {
  const sum = new Sha256();
  for (let at = 0; at < blob.size; at += BYTES) {
    sum.update(new Uint8Array(await blob.slice(at, at + BYTES).arrayBuffer()));
  }
  return sum.finish();
}

/**
 * Pieces in which no message is cut, of those that come.
 *
 * @param {AsyncIterable<Piece>} pieces
 * @returns {AsyncGenerator<Piece>}
 */
export async function* whole(pieces) {
  /** @type {Piece | undefined} */
  let held;
  for await (const piece of pieces) {
    if (held && piece.key === held.key) {
      // Only the rows of one message have their key again.
      held = { ...held, columns: joined(held.columns, piece.columns) };
      continue;
    }
    if (held) yield held;
    held = piece;
  }
  if (held) yield held;
}
