// `prove`: every checksum of a recording computed again from its Parquet files, and its ledger's account checked.

import { Account } from "./account.js";
import { buffers } from "./columns.js";
import { Unreadable } from "./parquet.js";
import { BOOKS, CHANNELS, day, journal, named, counted, tableOf } from "./parts.js";
import { Pool } from "./pool.js";
import { whole } from "./prover.js";
import { Report } from "./report.js";

/** @typedef {import("./parts.js").Part} Part */
/** @typedef {import("./proof.js").Columns} Columns */
/** @typedef {import("./prover.js").LedgerRow} LedgerRow */
/** @typedef {import("./prover.js").Piece} Piece */
/** @typedef {import("./tradeids.js").Known} Known */
/** @typedef {{path: string, bytes: number, blob: () => Promise<Blob>}} Source  A file that is read when its turn comes. */
/** @typedef {File | Source | string | URL} Input  A file, or the address of one. */
/** @typedef {{done: number, bytes: number}} Progress  Bytes read, of how many; those of books are read twice. */
/**
 * @typedef {object} Options
 * @property {AbortSignal} [signal]  Ends the proof; its promise is rejected with the reason.
 * @property {(progress: Progress) => void} [onProgress]
 * @property {number} [workers]  One for each core, and four at most, unless given.
 * @property {{session: string, number: number}[]} [journals]  What is not sealed yet: rows from there on are not proved.
 */

/** Row groups that are read ahead, beside one for each worker. */
const AHEAD = 1;
/** Files that are counted at a time, for each worker. */
const TOGETHER = 2;

/**
 * Where a file comes from. An address is read as a whole, when its turn comes.
 *
 * @param {Input} input
 * @returns {Source}
 */
function source(input) {
  if (typeof input === "string" || input instanceof URL) {
    return { path: decodeURI(String(input).replace(/[?#].*$/, "")), bytes: 0, blob: () => fetched(input) };
  }
  if (input instanceof Blob) {
    const { name, size } = input;
    return { path: input.webkitRelativePath || name, bytes: size, blob: async () => input };
  }
  return input;
}

/**
 * @param {string | URL} address
 * @returns {Promise<Blob>}
 */
export async function fetched(address) {
  let answer;
  try {
    answer = await fetch(address);
  } catch {
    throw new Unreadable("the address cannot be read: nothing answers there, or its server does not allow this page to read it");
  }
  if (!answer.ok) throw new Unreadable(`its server answered ${answer.status} ${answer.statusText}`.trim());
  return answer.blob();
}

/** One proof. */
class Proof {
  report = new Report();
  /** @type {Part[]} */
  parts = [];
  /** Journals that are not sealed: the first one of each session. @type {Map<string, number>} */
  unsettled = new Map();
  /** @type {Record<string, string[]>} */
  kinds = {};
  progress = { done: 0, bytes: 0 };
  /** Files that are open. @type {Map<number, Promise<Blob>>} */
  #blobs = new Map();

  /**
   * @param {Source[]} files
   * @param {Pool} pool
   * @param {Options} options
   */
  constructor(files, pool, options) {
    this.files = files;
    this.pool = pool;
    this.options = options;
  }

  async run() {
    const [kinds] = await this.pool.all("start", () => []);
    this.kinds = kinds;
    await this.#recognise();
    const { report, parts } = this;
    const later = parts.filter((part) => !part.compacted && part.number >= (this.unsettled.get(part.session) ?? Infinity));
    this.parts = parts.filter((part) => !later.includes(part));
    /** @type {Set<string>} */
    const books = new Set(BOOKS.flatMap((kind) => [kind.messages, kind.checkpoints]));
    for (const { table, bytes } of this.parts) this.progress.bytes += books.has(table) ? 2 * bytes : bytes;
    await this.#sessions();
    if (report.empty) {
      const imported = Object.keys(report.imported).length;
      if (this.unsettled.size) report.note("nothing is sealed yet, so nothing was verified");
      else if (imported) report.note("all rows were imported, so there is nothing to prove");
      else if (!report.problems.length) report.problem("nothing was recorded: the files have no message of the exchange");
    }
    return report;
  }

  /** @param {number} bytes */
  #done(bytes) {
    this.options.signal?.throwIfAborted();
    this.progress.done += bytes;
    this.options.onProgress?.({ ...this.progress });
  }

  /**
   * The file of a part, with its number.
   *
   * @param {{id: number}} part
   */
  async #given({ id }) {
    let blob = this.#blobs.get(id);
    if (!blob) this.#blobs.set(id, (blob = this.files[id].blob()));
    return { id, blob: await blob };
  }

  /** @param {{id: number}} part */
  async #close({ id }) {
    this.#blobs.delete(id);
    await this.pool.all("close", () => [id]);
  }

  /**
   * What a call says of a part; a part that cannot be read is told once, and left out from then on.
   *
   * @template T
   * @param {Part} part
   * @param {() => Promise<T>} work
   * @returns {Promise<T | undefined>}
   */
  async #of(part, work) {
    if (part.unreadable) return undefined;
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      if (!part.unreadable) this.report.problem(`the part ${part.name} cannot be read: ${error.message}`);
      part.unreadable = true;
      return undefined;
    }
  }

  /** Find out what each file is. */
  async #recognise() {
    const { report } = this;
    for (const { session, number } of this.options.journals ?? []) this.#unsettle(session, number);
    const names = new Map();
    for (const [id, { path, bytes }] of this.files.entries()) {
      const waiting = journal(path);
      const { file, table, date, session, number = 0, compacted = false } = named(path);
      if (waiting) {
        this.#unsettle(waiting.session, waiting.number);
        report.note(`${waiting.file} is not sealed yet and was not verified`);
        continue;
      }
      // Files beside parts, in a folder that was given as a whole.
      if (path.includes("/") && !/^https?:/.test(path) && (!file.endsWith(".parquet") || /^[._]/.test(file))) continue;
      if (table && date && !session && !/^https?:/.test(path)) {
        report.problem(`${table}/date=${date}/${file} is not a part of the lake, and other readers would read it: move it away`);
        continue;
      }
      const part =
        table && date && session
          ? { id, name: `${table}/date=${date}/${file}`, table, date, session, number, compacted, bytes }
          : await this.#look({ id, file, date, session, number, compacted, bytes });
      if (!part) continue;
      if (names.has(part.name)) report.note(`${part.name} was given twice; the first is taken`);
      else this.parts.push(part);
      names.set(part.name, part);
    }
  }

  /**
   * @param {string} session
   * @param {number} number
   */
  #unsettle(session, number) {
    this.unsettled.set(session, Math.min(number, this.unsettled.get(session) ?? Infinity));
  }

  /**
   * A file whose path does not say all: its rows do.
   *
   * @param {{id: number, file: string, date?: string, session?: string, number: number, compacted: boolean, bytes: number}} known
   * @returns {Promise<Part | undefined>}
   */
  async #look({ id, file, date, session, number, compacted, bytes }) {
    const { report } = this;
    try {
      const { columns, session: own, received } = await this.pool.any("look", await this.#given({ id }));
      const table = tableOf(columns);
      if (!columns.length) report.problem(`${file}: it has no rows`);
      else if (!table || own === null || received === null) {
        report.problem(`${file}: this is a Parquet file of something else: it has no columns of a recording`);
      } else {
        const on = date ?? day(received);
        return { id, name: `${table}/date=${on}/${file}`, table, date: on, session: session ?? own, number, compacted, bytes };
      }
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      report.problem(`${file} cannot be read: ${error.message}`);
    } finally {
      await this.#close({ id });
    }
    return undefined;
  }

  async #sessions() {
    const { report, parts } = this;
    /** @type {Map<string, Part[]>} */
    const sessions = new Map();
    for (const part of parts) sessions.set(part.session, [...(sessions.get(part.session) ?? []), part]);
    /** @type {Map<string, LedgerRow[]>} */
    const ledgers = new Map();
    for (const [session, own] of sessions) ledgers.set(session, await this.#ledger(own));
    const imports = new Set([...ledgers].filter(([, rows]) => rows.some((row) => row.kind === "imported")).map(([name]) => name));
    const removed = [...ledgers.values()].some((rows) => rows.some((row) => row.kind === "removed"));
    // Imported rows may be older than all that was recorded.
    const days = parts.filter((part) => !imports.has(part.session)).map((part) => part.date).sort();
    const firstDay = days[0] ?? "9999-12-31";
    /** @type {Map<string, [string, string | null]>} */
    const before = new Map();
    /** @type {Map<string, Set<string>>} */
    const ended = new Map();
    /** @type {Map<string, Known>} */
    const known = new Map();
    /** @type {Known} */
    const unknown = { last: {}, complete: false };
    for (const session of [...sessions.keys()].sort()) {
      const own = sessions.get(session) ?? [];
      const ledger = ledgers.get(session) ?? [];
      const accounted = own.some((part) => part.table === "ledger");
      const account = new Account({
        session,
        parts: own,
        ledger,
        firstDay,
        goesOn: this.unsettled.has(session),
        problem: (sentence) => report.problem(sentence),
        note: (sentence) => report.note(sentence),
      });
      await this.#examine(own, account);
      if (imports.has(session)) {
        account.checkParts();
        for (const [origin, tables] of Object.entries(account.imported(!removed))) {
          const of = (report.imported[origin] ??= {});
          for (const [table, rows] of Object.entries(tables)) of[table] = (of[table] ?? 0) + rows;
        }
        continue;
      }
      report.sessions += 1;
      const { previous } = account;
      if (accounted) {
        account.check();
        const begin = previous ? (known.get(previous) ?? unknown) : { last: {}, complete: true };
        const { jumps, known: after } = await this.#trades(own, account, account.begunBefore ? unknown : begin);
        account.checkTrades(jumps);
        known.set(session, this.unsettled.has(session) ? unknown : after);
        ended.set(session, account.kinds);
        if (previous) {
          const gap = account.ledger.find((row) => row.kind === "gap" && row.from !== null)?.from;
          before.set(session, [previous, gap ? day(gap) : null]);
        }
      } else {
        report.unaccounted.push(session);
        report.note(`the ledger of session ${session} is not among the files, so whether messages are missing is not known`);
        for (const { table, has } of own) account.rows[table] = (account.rows[table] ?? 0) + (has?.rows ?? 0);
      }
      report.frames += account.frames;
      for (const [table, rows] of Object.entries(account.rows)) report.rows[table] = (report.rows[table] ?? 0) + rows;
      for (const kind of BOOKS) await this.#books(session, own, kind, account, accounted);
      this.#count(own, account);
    }
    this.#chain(before, ended, firstDay);
  }

  /** @param {Part[]} parts */
  async #ledger(parts) {
    /** @type {LedgerRow[]} */
    const rows = [];
    for (const part of parts.filter((one) => one.table === "ledger")) {
      rows.push(...((await this.#of(part, async () => this.pool.any("ledger", await this.#given(part)))) ?? []));
    }
    return rows;
  }

  /**
   * Count the rows of all parts, several at a time.
   *
   * @param {Part[]} parts
   * @param {Account} account
   */
  async #examine(parts, account) {
    const { counting } = account;
    const waiting = [...parts];
    const some = async () => {
      for (let part = waiting.shift(); part; part = waiting.shift()) {
        const one = part;
        one.has = await this.#of(one, async () => this.pool.any("examine", await this.#given(one), counting));
        await this.#close(one);
        this.#done(one.bytes);
      }
    };
    await Promise.all(Array.from({ length: TOGETHER * this.pool.size }, some));
  }

  /**
   * @param {Part[]} parts
   * @param {Account} account
   * @param {Known} known
   */
  async #trades(parts, account, known) {
    const own = ordered(parts, "trades");
    if (!own.length) return { jumps: [], known };
    await this.pool.one(0, "beginTrades", { known, told: account.told("trade_gap"), restarts: account.told("trade_restart") });
    for (const part of own) {
      await this.#of(part, async () => this.pool.one(0, "trades", await this.#given(part)));
      await this.#close(part);
    }
    return this.pool.one(0, "endTrades");
  }

  /**
   * @param {Part[]} parts
   * @param {Account} account
   */
  #count(parts, account) {
    const { report, kinds } = this;
    for (const { kind, count } of account.ledger) {
      if (kinds[kind]?.includes("needs_symbol")) report.errors += count ?? 0;
      if (kind === "gap" || kind === "trade_gap") report.gaps += 1;
    }
    for (const { table, has, unreadable } of parts) {
      const channel = CHANNELS[table];
      if (channel) report.messages[channel] = (report.messages[channel] ?? 0) + (unreadable ? 0 : (has?.distinct ?? 0));
    }
  }

  /**
   * Rows of the ledger after which a book of the channel is out of sync.
   *
   * @param {Account} account
   * @param {typeof BOOKS[number]} kind
   * @returns {Columns}
   */
  #ends(account, kind) {
    const ends = account.ledger.filter((row) => {
      const means = this.kinds[row.kind] ?? [];
      // Only a refused message whose book it was ends that book.
      if (!means.includes("ends_book") || (means.includes("needs_symbol") && row.symbol === null)) return false;
      return row.channel === null || row.channel === kind.channel;
    });
    const missing = account.missing[kind.messages].map((message) => ({ symbol: null, message, kind: "missing" }));
    const rows = [...ends.map(({ symbol, message, kind: word }) => ({ symbol, message, kind: word })), ...missing];
    return {
      symbol: texts(rows.map((row) => row.symbol)),
      message: { values: BigUint64Array.from(rows, (row) => BigInt(row.message ?? 0)) },
      kind: texts(rows.map((row) => row.kind)),
    };
  }

  /**
   * Rebuild the books of a session, part after part; the next ones are read meanwhile.
   *
   * @param {string} session
   * @param {Part[]} parts
   * @param {typeof BOOKS[number]} kind
   * @param {Account} account
   * @param {boolean} accounted
   */
  async #books(session, parts, kind, account, accounted) {
    const { pool, report } = this;
    if (!parts.some((part) => [kind.messages, kind.checkpoints].includes(/** @type {any} */ (part.table)))) return;
    const ends = this.#ends(account, kind);
    await pool.all("begin", (hand) => [session, kind.channel, hand, pool.size, ends]);
    /** @type {Promise<unknown>} */
    let given = Promise.resolve();
    const give = async (/** @type {"checkpoints" | "messages"} */ what, /** @type {Piece} */ { columns }) => {
      const now = pool.all("give", () => [what, columns], buffers(columns));
      // One frame is applied while the next one is made.
      const earlier = given;
      given = now;
      now.catch(() => undefined);
      await earlier;
    };
    for (const unit of units(parts, kind)) {
      const overlap = overlapping(unit.messages) ?? overlapping(unit.checkpoints);
      if (overlap) {
        report.problem(
          `the parts ${overlap[0].name} and ${overlap[1].name} have rows of the same messages: ` +
            "a page cannot put them in order, `krakpot verify` can",
        );
        continue;
      }
      // All checkpoints of a symbol go before its messages, later symbols may wait.
      const marks = whole(this.#decoded(unit.checkpoints, kind.checkpointColumns));
      /** @type {string | null} */
      let upto = "";
      const mark = async () => {
        const next = await marks.next();
        upto = next.done ? null : next.value.last;
        if (!next.done) await give("checkpoints", next.value);
      };
      for await (const piece of whole(this.#decoded(unit.messages, kind.columns))) {
        while (upto !== null && upto <= piece.last) await mark();
        await give("messages", piece);
      }
      while (upto !== null) await mark();
    }
    await given;
    for (const { failures, found } of await pool.all("finish", () => [])) {
      const told = (/** @type {string} */ sentence) => (accounted ? sentence : sentence.replace(/, and the ledger does not say so$/, ""));
      report.fail(failures.map((/** @type {any} */ one) => ({ ...one, session, channel: kind.channel })));
      for (const one of found) this.#found(kind.channel, one, accounted, told);
    }
  }

  /**
   * @param {"book" | "level3"} channel
   * @param {import("./proof.js").Found} found
   * @param {boolean} accounted
   * @param {(sentence: string) => string} told
   */
  #found(channel, found, accounted, told) {
    const { report } = this;
    report.checksums[channel].ok += found.ok;
    report.checksums[channel].bad += found.bad;
    report.unchecked += found.unchecked;
    report.checkpoints += found.checkpoints_ok;
    report.messages[channel] = (report.messages[channel] ?? 0) + found.messages;
    const total = (report.symbols[channel][found.symbol] ??= { messages: 0, ok: 0, bad: 0, unchecked: 0 });
    for (const key of /** @type {const} */ (["messages", "ok", "bad", "unchecked"])) total[key] += found[key];
    for (const sentence of found.problems) {
      // A part alone begins anywhere.
      if (!accounted && sentence.includes(", the first that is here: ")) {
        report.note(`${found.symbol}: the messages before its first snapshot or checkpoint cannot be checked; open the part of ` +
          `${channel === "book" ? "checkpoints" : "orders_checkpoints"} with it`);
      } else report.problem(told(sentence));
    }
    if (found.problems.length) return;
    for (const [count, what] of /** @type {const} */ ([[found.bad_unexplained, "bad"], [found.unchecked_unexplained, "unchecked"]])) {
      if (count) {
        report.problem(`${found.symbol}: ${counted(count, "message")} ${count === 1 ? "is" : "are"} ${what} without a reason in the ledger`);
      }
    }
  }

  /**
   * The row groups of parts, in order; some are read ahead.
   *
   * @param {Part[]} parts
   * @param {readonly string[]} columns
   * @returns {AsyncGenerator<Piece>}
   */
  async *#decoded(parts, columns) {
    const tasks = parts.flatMap((part) => (part.has?.groups ?? []).map((rows, group, all) => ({ part, group, rows, last: group === all.length - 1 })));
    /** @type {Promise<Piece[] | undefined>[]} */
    const ahead = [];
    let next = 0;
    const begin = () => {
      const { part, group } = tasks[next++];
      const pieces = this.#of(part, async () => this.pool.any("decode", await this.#given(part), group, columns));
      // Nobody may come to wait for it, if something before it fails.
      pieces.catch(() => undefined);
      ahead.push(pieces);
    };
    for (const { part, rows, last } of tasks) {
      while (next < tasks.length && ahead.length < this.pool.size + AHEAD) begin();
      const pieces = await ahead.shift();
      for (const piece of pieces ?? []) yield piece;
      this.#done((part.bytes * rows) / (part.has?.rows || 1));
      if (last) await this.#close(part);
    }
  }

  /**
   * Compare what the sessions of a recorder say of each other.
   *
   * @param {Map<string, [string, string | null]>} before
   * @param {Map<string, Set<string>>} ended
   * @param {string} firstDay
   */
  #chain(before, ended, firstDay) {
    const { report, unsettled } = this;
    const followed = new Set([...before.values()].map(([previous]) => previous));
    for (const [session, kinds] of ended) {
      if (!kinds.has("disconnect") || kinds.has("stop") || kinds.has("recovered")) continue;
      if (followed.has(session) || unsettled.has(session)) continue;
      // The first rows of the next session were journalled before this one ended.
      if ([...unsettled.keys()].some((other) => other > session && !ended.has(other))) continue;
      report.problem(`session ${session} was cut and the recorder went on, but the next session is not in this lake`);
    }
    for (const [session, [previous, lastDay]] of before) {
      const kinds = ended.get(session);
      if (!ended.has(previous) && !unsettled.has(previous)) {
        // Other sessions may have begun earlier and gone on beyond the days that were removed.
        if ([...ended.keys()].some((other) => other < previous) && (lastDay === null || lastDay >= firstDay)) {
          report.problem(`session ${session} follows ${previous}, which is not in this lake`);
        } else {
          report.note(`the lake begins with session ${session}; the one before it is not here`);
        }
      }
      // Sessions write their gap when data comes, and at the latest when they end.
      if (!kinds?.has("gap") && kinds?.has("disconnect")) {
        report.problem(`session ${session} follows another, and its ledger lacks the gap between them`);
      }
    }
  }
}

/**
 * Parts of a table, in order.
 *
 * @param {Part[]} parts
 * @param {string} table
 */
function ordered(parts, table) {
  const own = parts.filter((part) => part.table === table && !part.unreadable && part.has?.rows);
  return own.sort((a, b) => (a.date < b.date ? -1 : a.date > b.date ? 1 : a.number - b.number));
}

/**
 * Parts that belong together, in the order of their messages: those of a journal, the compacted ones of a day. Checkpoints go
 * with the first unit that they concern.
 *
 * @param {Part[]} parts
 * @param {typeof BOOKS[number]} kind
 */
function units(parts, kind) {
  const by = (/** @type {Part} */ a, /** @type {Part} */ b) => (a.has?.first ?? 0) - (b.has?.first ?? 0) || a.number - b.number;
  /** @type {{messages: Part[], checkpoints: Part[], first: number, last: number}[]} */
  const found = [];
  for (const part of ordered(parts, kind.messages).sort(by)) {
    const unit = found.at(-1);
    const { first = 0, last = 0 } = part.has ?? {};
    if (unit && first <= unit.last) {
      unit.messages.push(part);
      unit.last = Math.max(unit.last, last);
    } else found.push({ messages: [part], checkpoints: [], first, last });
  }
  for (const part of ordered(parts, kind.checkpoints).sort(by)) {
    if (!found.length) found.push({ messages: [], checkpoints: [], first: 0, last: 0 });
    const concerned = found.filter((unit) => unit.first <= (part.has?.first ?? 0)).at(-1) ?? found[0];
    concerned.checkpoints.push(part);
  }
  for (const unit of found) {
    for (const own of [unit.messages, unit.checkpoints]) own.sort((a, b) => Number(b.compacted) - Number(a.compacted) || a.number - b.number);
  }
  return found;
}

/**
 * Two parts that are not in order one after the other; those that were compacted on one day are, by their numbers.
 *
 * @param {Part[]} parts
 */
function overlapping(parts) {
  if (parts.length < 2 || parts.every((part) => part.compacted && part.date === parts[0].date)) return undefined;
  for (let n = 1; n < parts.length; n++) {
    if ((parts[n].has?.first ?? 0) <= (parts[n - 1].has?.last ?? 0)) return [parts[n - 1], parts[n]];
  }
  return undefined;
}

/**
 * A column of texts.
 *
 * @param {(string | null)[]} rows
 */
function texts(rows) {
  const encoded = rows.map((row) => new TextEncoder().encode(row ?? ""));
  const offsets = new Int32Array(rows.length + 1);
  const valid = new Uint8Array(Math.ceil(rows.length / 8));
  encoded.forEach((row, n) => {
    offsets[n + 1] = offsets[n] + row.length;
    if (rows[n] !== null) valid[n >> 3] |= 1 << (n & 7);
  });
  const bytes = new Uint8Array(offsets[rows.length]);
  encoded.forEach((row, n) => bytes.set(row, offsets[n]));
  return { offsets, bytes, valid };
}

/**
 * Proves a recording: rebuilds the books from Parquet files of a lake, computes every checksum again, and checks the
 * ledger's account, as `krakpot verify` does. One row group of each worker is in memory at a time.
 *
 * @param {Iterable<Input>} files  Parts of a lake, of a day or of all; files with their path, or addresses.
 * @param {Options} [options]
 * @returns {Promise<Report>}
 */
export async function prove(files, options = {}) {
  const { signal } = options;
  signal?.throwIfAborted();
  const pool = new Pool(options.workers);
  const abort = () => pool.close(signal?.reason);
  signal?.addEventListener("abort", abort);
  try {
    const report = await new Proof([...files].map(source), pool, options).run();
    signal?.throwIfAborted();
    return report;
  } finally {
    signal?.removeEventListener("abort", abort);
    pool.close();
  }
}
