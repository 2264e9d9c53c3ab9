// The account of a session: what its ledger counts and names, against the rows and parts that are there.

import { counted, moment, TABLE_OF, TABLES, UNCOUNTED } from "./parts.js";

/** @typedef {import("./parts.js").Part} Part */
/** @typedef {import("./prover.js").Counting} Counting */
/** @typedef {import("./prover.js").LedgerRow} LedgerRow */
/** @typedef {import("./tradeids.js").Jump} Jump */
/** @typedef {{begin: number, upto: number | null, want: number, found: number}} Wrong  A span with another number of rows. */
/** @typedef {{journals: Set<number>, rows: number, here: boolean, replaced: Set<number>, replacedRows: number, replacedHere: boolean}} Merge */

/** Ledger entries from here on are the sealer's. */
const SEALER_ENTRY = 2 ** 31;
/** Journals of a session whose rows one part may hold. */
const JOURNALS_MAX = 16_000_000;
/** Sentences about one kind of trouble of a session. */
const TOLD_MAX = 10;
/** A session whose ledger reaches so near to the end of its day without an end goes on in the next one, ns. */
const MIDNIGHT = 10_000_000_000n;
const DAY = 86_400_000_000_000n;

/**
 * Facts of a ledger row; empty where there are none.
 *
 * @param {string | null} text
 * @returns {Record<string, any>}
 */
export function facts(text) {
  return text ? JSON.parse(text) : {};
}

/** @param {string} part */
const folder = (part) => part.slice(0, Math.max(part.lastIndexOf("/"), 0));
/** @param {string} part */
const journalOf = (part) => Number(part.replace(/\.parquet$/, "").split("-").pop());

/** @param {[number, number][]} ranges */
function expanded(ranges) {
  const found = new Set();
  for (const [begin, end] of ranges) for (let n = begin; n <= end; n++) found.add(n);
  return found;
}

/** @param {Set<number>} a @param {Set<number>} b */
const equal = (a, b) => a.size === b.size && [...a].every((n) => b.has(n));

/**
 * Whether a ledger row has the facts that the account needs of its kind; in a damaged part it may lack them.
 *
 * @param {LedgerRow} row
 */
function sound({ kind, count, detail }) {
  try {
    const found = facts(detail);
    if (kind === "sealed") {
      const { part, first = null, last = null } = found;
      const ends = first === null ? last === null : Number.isInteger(first) && Number.isInteger(last);
      return count !== null && Number.isInteger(journalOf(part)) && ends;
    }
    if (kind === "compacted") {
      const spans = found.journals.map((/** @type {[number, number]} */ [begin, end]) => end - begin);
      const sum = spans.reduce((/** @type {number} */ a, /** @type {number} */ b) => a + b, 0);
      return typeof found.part === "string" && count !== null && Math.min(0, ...spans) >= 0 && sum < JOURNALS_MAX;
    }
    return (count !== null || kind === "connect") && Object.values(found.rows ?? {}).every(Number.isInteger);
  } catch {
    return false;
  }
}

export class Account {
  /** Messages that the ledger counts. */
  frames = 0;
  /** Rows of the parts that the ledger names, by table. @type {Record<string, number>} */
  rows = {};
  /** Per table of books, the messages after which rows are missing: all books end there. @type {Record<string, number[]>} */
  missing = { book: [], orders: [] };

  /**
   * @param {object} options
   * @param {string} options.session
   * @param {Part[]} options.parts  All of its parts whose rows count.
   * @param {LedgerRow[]} options.ledger
   * @param {string} options.firstDay  What a session had before it is not among the files.
   * @param {boolean} options.goesOn  Whether rows of the session wait in journals.
   * @param {(sentence: string) => void} options.problem
   * @param {(sentence: string) => void} options.note
   */
  constructor({ session, parts, ledger, firstDay, goesOn, problem, note }) {
    this.session = session;
    this.parts = parts;
    this.firstDay = firstDay;
    this.problem = problem;
    this.note = note;
    const born = Number.parseInt(session.replaceAll("-", "").slice(0, 12), 16);
    const days = parts.map((part) => part.date).sort();
    this.days = { first: days[0] ?? "", last: days.at(-1) ?? "" };
    /** Whether its first days are not among the files. */
    this.begunBefore = Number.isFinite(born) && this.days.first > new Date(born).toISOString().slice(0, 10);
    const account = new Set(["sealed", "compacted", "alive", "recovered", "connect"]);
    /** Rows that make sense, by entry. */
    this.ledger = [...ledger].sort((a, b) => a.entry - b.entry).filter((row) => {
      const good = !account.has(row.kind) || sound(row);
      if (!good) {
        problem(`session ${session}: row ${row.entry} of the ledger (kind \`${row.kind}\`) is malformed; the part is damaged`);
      }
      return good;
    });
    this.kinds = new Set(this.ledger.map((row) => row.kind));
    const ended = ["disconnect", "stop", "recovered"].some((kind) => this.kinds.has(kind));
    const until = this.ledger.reduce((latest, row) => (row.received > latest ? row.received : latest), 0n);
    /** Whether it goes on after the last day that is here. */
    this.goesOnLater = !ended && !goesOn && until > 0n && DAY - (until % DAY) <= MIDNIGHT;
    if (this.goesOnLater) note(`session ${session} goes on after ${this.days.last}: later days are not among these files`);
    this.goesOn = goesOn || this.goesOnLater;
    this.until = until;
    this.ended = ended;
    /** @type {LedgerRow[]} */
    this.alive = this.ledger.filter((row) => row.kind === "alive");
  }

  /** The session that the recorder had before this one. @returns {string | undefined} */
  get previous() {
    const found = this.ledger.filter((row) => row.kind === "connect").map((row) => facts(row.detail).previous);
    return found.find((session) => typeof session === "string");
  }

  /** Spans of messages whose rows are counted. @returns {Counting} */
  get counting() {
    /** @type {number[]} */
    const bounds = [];
    for (const { message } of this.alive) if (bounds.at(-1) !== (message ?? -1)) bounds.push(message ?? -1);
    return { bounds, at: bounds.at(-1) ?? -1, begin: this.#tail(bounds.at(-1) ?? -1).begin };
  }

  /** Check everything but the trades; each thing that does not add up is a problem. */
  check() {
    this.checkParts();
    this.#numbers();
    this.#accounts();
    if (!this.ended && !this.goesOn) {
      const when = this.until ? ` after ${moment(this.until)} UTC` : "";
      this.problem(`session ${this.session} has no end in the ledger: what was recorded${when} is missing`);
    }
  }

  /** Every part that the ledger names is here with all its rows, and every part that is here is named. */
  checkParts() {
    const here = new Map(this.parts.map((part) => [part.name, part]));
    const told = this.ledger
      .filter((row) => row.kind === "sealed" || row.kind === "compacted")
      .map((row) => ({ kind: row.kind, count: row.count ?? 0, facts: facts(row.detail) }));
    const merges = this.#merges(told, here);
    const names = new Set();
    for (const { kind, count, facts: of } of told) {
      const merge = merges.get(folder(of.part));
      // What was merged is not here any more; nor is what was merged again, or not swapped in yet.
      const replaced = kind === "sealed" ? merge?.journals.has(journalOf(of.part)) : !merge || !equal(expanded(of.journals), merge.journals);
      if (replaced) continue;
      names.add(of.part);
      this.#part(here.get(of.part), of.part, count, of);
    }
    // Of a session that goes on, the row that names the last parts may be in the ledger of the next day.
    const newest = this.goesOnLater ? Math.max(...this.parts.map((part) => part.number)) : Infinity;
    for (const part of this.parts) {
      if (part.table === "ledger" || names.has(part.name) || part.number === newest) {
        this.rows[part.table] = (this.rows[part.table] ?? 0) + (part.unreadable ? 0 : (part.has?.rows ?? 0));
      } else if (!part.compacted && merges.get(folder(part.name))?.journals.has(part.number)) {
        this.problem(`the part ${part.name} is beside the compacted parts that hold its rows`);
      } else {
        this.problem(`the part ${part.name} is not named in the ledger: a part of the ledger is missing`);
      }
    }
  }

  /**
   * The compaction that is in force in each folder where there is one: the one whose parts are here; if there are none, the
   * last one, unless what it replaced is still here.
   *
   * @param {{kind: string, count: number, facts: Record<string, any>}[]} told
   * @param {Map<string, Part>} here
   */
  #merges(told, here) {
    /** @type {Map<string, Merge[]>} */
    const found = new Map();
    for (const { kind, count, facts: of } of told) {
      if (kind !== "compacted") continue;
      const journals = expanded(of.journals);
      const merges = found.get(folder(of.part)) ?? [];
      found.set(folder(of.part), merges);
      let merge = merges.find((one) => equal(one.journals, journals));
      if (!merge) {
        merge = { journals, rows: 0, here: false, replaced: new Set(), replacedRows: 0, replacedHere: false };
        merges.push(merge);
      }
      merge.rows += count;
      merge.here ||= here.has(of.part);
    }
    for (const { kind, count, facts: of } of told) {
      for (const merge of kind === "sealed" ? (found.get(folder(of.part)) ?? []) : []) {
        if (!merge.journals.has(journalOf(of.part))) continue;
        merge.replaced.add(journalOf(of.part));
        merge.replacedRows += count;
        merge.replacedHere ||= here.has(of.part);
      }
    }
    /** @type {Map<string, Merge>} */
    const merges = new Map();
    for (const [name, candidates] of found) {
      const better = (/** @type {Merge} */ a, /** @type {Merge} */ b) =>
        a.here === b.here ? a.journals.size > b.journals.size : a.here;
      const best = candidates.reduce((one, other) => (better(other, one) ? other : one));
      if (best.here || !best.replacedHere) merges.set(name, best);
    }
    for (const [name, merge] of merges) {
      // A row `sealed` may be in a ledger that is not among these files.
      if (equal(merge.replaced, merge.journals) && merge.replacedRows !== merge.rows) {
        this.problem(
          `the compacted parts of ${name} have ${counted(merge.rows, "row")}, the parts that they replaced had ${merge.replacedRows}`,
        );
      }
    }
    return merges;
  }

  /**
   * Compare a part that the ledger names with what it says.
   *
   * @param {Part | undefined} part
   * @param {string} name
   * @param {number} count
   * @param {Record<string, any>} of
   */
  #part(part, name, count, of) {
    if (!part) {
      const date = (name.split("date=")[1] ?? "").slice(0, 10);
      if (date < this.firstDay || (this.goesOnLater && date > this.days.last)) return;
      const span = of.first === null || of.first === undefined ? "" : ` (messages ${of.first} to ${of.last})`;
      this.problem(`the part ${name} with ${counted(count, "row")}${span} is missing`);
      if (Number.isInteger(of.first)) this.missing[of.table]?.push(Math.max(of.first - 1, 0));
      return;
    }
    if (part.unreadable || !part.has) return;
    const { rows, sha256 } = part.has;
    if (rows !== count) {
      this.problem(`the part ${name} has ${counted(rows, "row")}, the ledger says ${count.toLocaleString("en-US")}`);
    } else if (of.sha256 && of.sha256 !== sha256) {
      this.problem(`the part ${name} is not the file that was sealed: its SHA-256 differs`);
    }
  }

  /** A session numbers its ledger rows from 0: a missing number is a missing row. */
  #numbers() {
    let next = 0;
    let told = 0;
    for (const { entry } of this.ledger) {
      if (entry >= SEALER_ENTRY || told === TOLD_MAX) break;
      if (entry > next && !(this.begunBefore && next === 0)) {
        this.problem(`session ${this.session}: rows ${next} to ${entry - 1} of its ledger are missing`);
        told += 1;
      }
      next = entry + 1;
    }
  }

  /** The `alive` rows follow each other without a hole, and each table has the rows that they count. */
  #accounts() {
    let at = -1;
    /** @type {number[]} */
    const bounds = [];
    /** @type {Map<number, Record<string, number>>} */
    const expected = new Map();
    /** @type {number[]} */
    const holes = [];
    for (const { message, count, received, detail } of this.alive) {
      const last = message ?? -1;
      const before = last - (count ?? 0);
      if (before !== at) {
        this.#hole(at, before, received, !bounds.length);
        holes.push(before);
      }
      at = last;
      if (bounds.at(-1) !== last) bounds.push(last);
      const sum = expected.get(last) ?? {};
      expected.set(last, sum);
      for (const [table, rows] of Object.entries(facts(detail).rows ?? {})) sum[table] = (sum[table] ?? 0) + rows;
      this.frames += count ?? 0;
    }
    const tail = this.#tail(at);
    this.frames += tail.frames;
    for (const table of TABLES.filter((name) => !UNCOUNTED.includes(name))) {
      const counts = new Array(bounds.length + 1).fill(0);
      for (const part of this.parts) {
        if (part.table === table && !part.unreadable) part.has?.counts.forEach((rows, place) => (counts[place] += rows));
      }
      /** @type {Wrong[]} */
      const wrong = [];
      counts.forEach((found, place) => {
        const upto = bounds[place] ?? null;
        const begin = place ? bounds[place - 1] + 1 : 0;
        const want = (upto === null ? tail.rows[table] : expected.get(upto)?.[table]) ?? 0;
        // If the session goes on, the `alive` row that counts its last rows is not here.
        if (found !== want && !(upto === null && this.goesOn)) wrong.push({ begin, upto, want, found });
      });
      // The rows of a hole are reported already; here the ledger's row exists and rows of the table are missing.
      const touches = (/** @type {Wrong} */ one) =>
        holes.some((hole) => one.begin <= hole + 1 && (one.upto === null || hole <= one.upto));
      this.#miscounted(table, wrong.filter((one) => !touches(one)));
    }
  }

  /**
   * @param {string} table
   * @param {Wrong[]} wrong
   */
  #miscounted(table, wrong) {
    if (!wrong.length) return;
    const { begin, upto, want, found } = wrong[0];
    const more = wrong.length > 1 ? `, and ${wrong.length - 1} other spans differ` : "";
    this.problem(
      `session ${this.session}: ${table} has ${counted(found, "row")} of messages ${begin} to ${upto ?? "the end"}, ` +
        `the ledger counted ${want}${more}`,
    );
    this.missing[table]?.push(...wrong.map((one) => Math.max(one.begin - 1, 0)));
  }

  /**
   * Rows of each table after the last `alive` row, and the message from which on they are counted. Only the sealer counts
   * them, and only of a session whose recorder died.
   *
   * @param {number} at
   */
  #tail(at) {
    /** @type {{rows: Record<string, number>, begin: number, frames: number}} */
    const found = { rows: {}, begin: 0, frames: 0 };
    for (const { message, detail } of this.ledger.filter((row) => row.kind === "recovered")) {
      const of = facts(detail);
      // Of two journals that a recorder left, the earlier one was about to be closed.
      found.rows = of.rows ?? {};
      const journal = /-(\d+)\.journal$/.exec(String(of.journal));
      const firsts = this.ledger
        .filter((row) => row.kind === "sealed")
        .map((row) => facts(row.detail))
        .filter((sealed) => journal && journalOf(sealed.part) === Number(journal[1]) && Number.isInteger(sealed.first));
      found.begin = firsts.length ? Math.min(...firsts.map((sealed) => sealed.first)) : 0;
      found.frames = Math.max(found.frames, (message ?? at) - at);
    }
    return found;
  }

  /**
   * Messages `at + 1` to `until` that no `alive` row counts.
   *
   * @param {number} at
   * @param {number} until
   * @param {bigint} time
   * @param {boolean} first
   */
  #hole(at, until, time, first) {
    for (const missing of Object.values(this.missing)) missing.push(Math.max(at, 0));
    if (first && this.begunBefore) {
      this.note(
        `session ${this.session} begins here with message ${until + 1}, at ${moment(time)}: ` +
          "earlier days are not in this lake; its books begin with their checkpoints",
      );
      return;
    }
    this.problem(
      `session ${this.session}: messages ${at + 1} to ${until} (before ${moment(time)} UTC) ` +
        "are not accounted for: a part of the ledger, or a whole day, is missing",
    );
  }

  /** Messages at which the ledger says this of a symbol's trades. @param {string} kind */
  told(kind) {
    return this.ledger.filter((row) => row.kind === kind).map((row) => `${row.symbol} ${row.message}`);
  }

  /**
   * Tell of trades that are missing; where rows are missing anyway, that says enough.
   *
   * @param {Jump[]} jumps
   */
  checkTrades(jumps) {
    if (Object.values(this.missing).some((messages) => messages.length)) return;
    for (const { symbol, message, id, before } of jumps.slice(0, TOLD_MAX)) {
      this.problem(
        `${symbol}: message ${message}: trades ${before + 1} to ${id - 1} are missing, and the ledger does not say so`,
      );
    }
  }

  /** Per origin and table, the rows that were imported; they must be those that are there. @param {boolean} whole */
  imported(whole) {
    /** @type {Record<string, Record<string, number>>} */
    const counts = {};
    /** @type {Record<string, number>} */
    const told = {};
    for (const { kind, channel, count, detail } of this.ledger) {
      if (kind !== "imported") continue;
      const table = TABLE_OF[channel ?? ""] ?? String(channel);
      told[table] = (told[table] ?? 0) + (count ?? 0);
      const of = (counts[String(facts(detail).origin)] ??= {});
      of[table] = (of[table] ?? 0) + (count ?? 0);
    }
    for (const [table, count] of Object.entries(told)) {
      const found = this.rows[table] ?? 0;
      if (whole && found !== count && !this.goesOn) {
        this.problem(
          `session ${this.session}: ${table} has ${counted(found, "row")}, the ledger says that ${count.toLocaleString("en-US")} were imported`,
        );
      }
    }
    return counts;
  }
}
