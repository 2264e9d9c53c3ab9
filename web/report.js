// What a proof found: counts, sentences, and the messages that are wrong.

/** @typedef {{messages: number, ok: number, bad: number, unchecked: number}} Counts */
/** @typedef {import("./proof.js").Failure & {session: string, channel: "book" | "level3"}} Failed  A message that is wrong. */

/** Sentences kept; further ones are counted. */
const PROBLEMS_MAX = 200;
/** Failures kept one by one; all are counted. */
const FAILURES_MAX = 1000;

/** The report of a proof, in the words of `krakpot verify --json`. */
export class Report {
  /** Messages that the ledger counts. */
  frames = 0;
  /** Per channel. @type {Record<string, number>} */
  messages = {};
  /** Per table. @type {Record<string, number>} */
  rows = {};
  checksums = { book: { ok: 0, bad: 0 }, level3: { ok: 0, bad: 0 } };
  unchecked = 0;
  errors = 0;
  gaps = 0;
  /** Checkpoints that equal the rebuilt book. */
  checkpoints = 0;
  /** Sessions that were recorded. */
  sessions = 0;
  /** Per origin and table: rows that were imported; they are counted, and never proved. @type {Record<string, Record<string, number>>} */
  imported = {};
  /** Per channel and symbol. @type {{book: Record<string, Counts>, level3: Record<string, Counts>}} */
  symbols = { book: {}, level3: {} };
  /** What is wrong, in sentences. @type {string[]} */
  problems = [];
  more_problems = 0;
  /** What is worth knowing and not wrong. @type {string[]} */
  notes = [];
  /** Messages with a wrong checksum, by time. @type {Failed[]} */
  failures = [];
  /** Sessions without a ledger among the files: nobody knows whether messages of them are missing. @type {string[]} */
  unaccounted = [];

  /** @param {string} sentence */
  problem(sentence) {
    if (this.problems.length < PROBLEMS_MAX) this.problems.push(sentence);
    else this.more_problems += 1;
  }

  /** @param {string} sentence */
  note(sentence) {
    if (!this.notes.includes(sentence)) this.notes.push(sentence);
  }

  /** @param {Failed[]} failures */
  fail(failures) {
    this.failures.push(...failures);
    this.failures.sort((a, b) => Number((a.received ?? 0n) - (b.received ?? 0n)) || a.message - b.message);
    this.failures.length = Math.min(this.failures.length, FAILURES_MAX);
  }

  /** Messages of all kinds of books whose checksum is right. */
  get ok() {
    return this.checksums.book.ok + this.checksums.level3.ok;
  }

  /** Messages whose checksum is wrong. */
  get bad() {
    return this.checksums.book.bad + this.checksums.level3.bad;
  }

  /** Whether no message of the exchange is in the files. */
  get empty() {
    return !this.frames && !Object.entries(this.rows).some(([table, rows]) => rows && table !== "ledger");
  }

  /** The verdict. @returns {"proved" | "not proved" | "nothing yet"} */
  get outcome() {
    if (this.problems.length) return "not proved";
    return this.empty ? "nothing yet" : "proved";
  }

  get proved() {
    return this.outcome === "proved";
  }
}
