// The workers of `prove`, one for each core; without workers, as in node, the work is done here.

import { Unreadable } from "./parquet.js";
import { Prover } from "./prover.js";

/** @typedef {{resolve: (value: any) => void, reject: (error: Error) => void}} Waiting */

/** One worker, or this thread. */
class Hand {
  /** Calls without an answer. */
  busy = 0;
  #worker;
  #prover;
  #n = 0;
  /** @type {Map<number, Waiting>} */
  #waiting = new Map();

  /** @param {boolean} thread  Whether it is a worker. */
  constructor(thread) {
    if (!thread) {
      this.#prover = new Prover();
      return;
    }
    this.#worker = new Worker(new URL("./prove-worker.js", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data: { n, value, error, unreadable } }) => {
      const waiting = this.#waiting.get(n);
      this.#waiting.delete(n);
      if (error === undefined) waiting?.resolve(value);
      else waiting?.reject(unreadable ? new Unreadable(error) : new Error(error));
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.close(new Error(`a worker stopped: ${event.message || "its file cannot be loaded"}`));
    };
  }

  /**
   * @param {string} method
   * @param {unknown[]} given
   * @param {Transferable[]} transfer
   * @returns {Promise<any>}
   */
  async call(method, given, transfer) {
    this.busy += 1;
    try {
      if (this.#prover) return await /** @type {any} */ (this.#prover)[method](...given);
      const n = (this.#n += 1);
      return await new Promise((resolve, reject) => {
        this.#waiting.set(n, { resolve, reject });
        this.#worker?.postMessage({ n, method, given }, transfer);
      });
    } finally {
      this.busy -= 1;
    }
  }

  /** @param {Error} error  What those who wait are told. */
  close(error) {
    this.#worker?.terminate();
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

export class Pool {
  /** @param {number} [size]  How many workers; those of the machine's cores, four at most. */
  constructor(size = Math.min(globalThis.navigator?.hardwareConcurrency ?? 1, 4)) {
    const threads = typeof Worker === "function";
    this.hands = Array.from({ length: threads ? Math.max(size, 1) : 1 }, () => new Hand(threads));
  }

  get size() {
    return this.hands.length;
  }

  /**
   * Calls a method of the worker that has least to do.
   *
   * @param {string} method
   * @param {...unknown} given
   * @returns {Promise<any>}
   */
  any(method, ...given) {
    const hand = this.hands.reduce((best, one) => (one.busy < best.busy ? one : best));
    return hand.call(method, given, []);
  }

  /**
   * Calls a method of one worker.
   *
   * @param {number} hand
   * @param {string} method
   * @param {...unknown} given
   * @returns {Promise<any>}
   */
  one(hand, method, ...given) {
    return this.hands[hand].call(method, given, []);
  }

  /**
   * Calls a method of all workers. What they are given is copied for all but the last one.
   *
   * @param {string} method
   * @param {(hand: number) => unknown[]} given
   * @param {Transferable[]} [transfer]
   * @returns {Promise<any[]>}
   */
  all(method, given, transfer = []) {
    const last = this.size - 1;
    return Promise.all(this.hands.map((hand, n) => hand.call(method, given(n), n === last ? transfer : [])));
  }

  /** @param {Error} [error] */
  close(error = new Error("the proof was ended")) {
    for (const hand of this.hands) hand.close(error);
  }
}
