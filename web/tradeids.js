// Trade ids of a session: every jump of a symbol's ids is a gap that the ledger tells.

import { has, same, text } from "./columns.js";

/** @typedef {import("./proof.js").Columns} Columns */
/** @typedef {{last: Record<string, number>, complete: boolean}} Known  Last ids that the recorder knew, and whether of all symbols. */
/** @typedef {{symbol: string, message: number, id: number, before: number}} Jump */
/** @typedef {{known: number | null, prior: number | null, greatest: number | null, restarts: number, updates: number}} State */

/** Jumps that are kept. */
const JUMPS_MAX = 1000;

/** Follows the ids of each symbol; rows come sorted by symbol, message and entry, part after part. */
export class TradeIds {
  /** @type {Map<string, State>} */
  #symbols = new Map();
  /** @type {Jump[]} */
  #jumps = [];
  #known;
  #told;
  #restarts;

  /** @param {{known?: Known, told?: string[], restarts?: string[]}} [options]  `told`, `restarts`: "SYMBOL message". */
  constructor({ known = { last: {}, complete: false }, told = [], restarts = [] } = {}) {
    this.#known = known;
    this.#told = new Set(told);
    this.#restarts = new Set(restarts);
  }

  /**
   * @param {Columns} columns
   * @param {number} rows
   */
  take({ symbol, message, trade_id: ids, kind }, rows) {
    if (!("values" in ids && "values" in message)) throw new TypeError("trades have ids and messages");
    let name = "";
    /** @type {State | undefined} */
    let state;
    for (let row = 0; row < rows; row++) {
      if (!state || !same(symbol, row, row - 1)) {
        name = text(symbol, row) ?? "";
        state = this.#state(name);
      }
      if (has(ids, row)) this.#one(name, state, Number(message.values[row]), Number(ids.values[row]));
      state.updates += Number(text(kind, row) === "update");
    }
  }

  /** @param {string} name */
  #state(name) {
    let state = this.#symbols.get(name);
    if (!state) {
      const known = this.#known.last[name] ?? null;
      state = { known, prior: known, greatest: known, restarts: 0, updates: 0 };
      this.#symbols.set(name, state);
    }
    return state;
  }

  /**
   * @param {string} name
   * @param {State} state
   * @param {number} message
   * @param {number} id
   */
  #one(name, state, message, id) {
    // Where the ledger says that the exchange began to number anew, the ids before do not count any more.
    if (state.prior !== null && id <= state.prior && this.#restarts.has(`${name} ${message}`)) {
      Object.assign(state, { known: null, greatest: null, restarts: state.restarts + 1 });
    }
    const before = state.greatest;
    // A snapshot may bring a trade that was missed before: the greatest id counts.
    const sure = this.#known.complete || state.known !== null || state.restarts > 0 || state.updates > 0;
    if (before !== null && id - 1 > before && sure && !this.#told.has(`${name} ${message}`) && this.#jumps.length < JUMPS_MAX) {
      this.#jumps.push({ symbol: name, message, id, before });
    }
    state.prior = id;
    state.greatest = Math.max(id, before ?? id);
  }

  /** @returns {{jumps: Jump[], known: Known}} The jumps that the ledger does not tell; and the ids that are known now. */
  found() {
    const last = { ...this.#known.last };
    for (const [name, { greatest, known, updates }] of this.#symbols) {
      if (greatest !== null && (this.#known.complete || known !== null || updates > 0)) last[name] = greatest;
    }
    const by = (/** @type {Jump} */ a, /** @type {Jump} */ b) =>
      a.symbol === b.symbol ? a.message - b.message : a.symbol < b.symbol ? -1 : 1;
    return { jumps: this.#jumps.sort(by), known: { last, complete: this.#known.complete } };
  }
}
