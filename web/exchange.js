// The built-in exchange in the page: a matching engine with simulated orders that speaks Kraken's protocol. A module of its
// own, which shares no code with the books: the two check each other.

import init, * as core from "./wasm/exchange.js";
import { decode, found, Writer } from "./module.js";

/** @typedef {import("./module.js").Source} Source */

const MILLISECOND = 1_000_000n;
/** A connection with more bytes than this waiting stops the time of the exchange, so that memory stays bounded. */
const WAITING_MAX = 16 << 20;

/** @type {Promise<void> | undefined} */
let loading;
/** @type {WebAssembly.Memory} */
let memory;

/**
 * Loads the module.
 *
 * @param {Source} [source]  The module; the file beside this one.
 * @returns {Promise<void>}
 */
export function load(source = new URL("./wasm/exchange_bg.wasm", import.meta.url)) {
  loading ??= found(source).then(async (module_or_path) => {
    ({ memory } = await init({ module_or_path }));
  });
  return loading;
}

/** A connection to an `Exchange`, with the face of a WebSocket as far as a `Feed` needs it. */
export class ExchangeSocket {
  /** @type {((event: any) => void) | null} */
  onopen = null;
  /** @type {((event: {data: string}) => void) | null} */
  onmessage = null;
  /** @type {((event: {code: number, reason: string}) => void) | null} */
  onclose = null;
  /** @type {((event: any) => void) | null} */
  onerror = null;
  /** 0 connecting, 1 open, 3 closed. */
  readyState = 0;
  #id;
  #send;
  #disconnect;

  /**
   * @param {bigint} id
   * @param {(text: string) => void} send
   * @param {() => void} disconnect
   */
  constructor(id, send, disconnect) {
    this.#id = id;
    this.#send = send;
    this.#disconnect = disconnect;
  }

  /** @returns {bigint} Its number at the exchange: a fault can name it (`cut,connection=3`). */
  get id() {
    return this.#id;
  }

  /** @param {string} text */
  send(text) {
    if (this.readyState === 1) this.#send(text);
  }

  /**
   * @param {number} [code]
   * @param {string} [reason]
   */
  close(code = 1000, reason = "") {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.#disconnect();
    this.onclose?.({ code, reason });
  }
}

/** The built-in exchange. Its time is moved by `advance`, or with the time of this machine by `run`. */
export class Exchange {
  /** @type {core.Exchange} */
  #exchange;
  #writer;
  /** @type {Map<bigint, ExchangeSocket>} */
  #sockets = new Map();
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /**
   * @param {object} [options]
   * @param {number} [options.pairs]  Pairs; 20.
   * @param {number} [options.rate]  Messages a second of simulated flow, all pairs together, books at depth 1000; 1000.
   * @param {bigint} [options.seed]  All that happens follows from it; 1.
   * @param {bigint} [options.start]  Its first time, ns since the epoch; now.
   */
  constructor({ pairs = 20, rate = 1000, seed = 1n, start = BigInt(Date.now()) * MILLISECOND } = {}) {
    this.#exchange = new core.Exchange(pairs, rate, seed, start);
    this.#writer = new Writer(memory, this.#exchange);
  }

  /** Ends it, and gives its memory back. */
  free() {
    this.stop();
    for (const socket of [...this.#sockets.values()]) socket.close(1001, "the exchange ends");
    this.#exchange.free();
  }

  /** @returns {bigint} Its time, ns. */
  get now() {
    return this.#exchange.now;
  }

  /** @returns {string[]} */
  get symbols() {
    return this.#exchange.symbols;
  }

  /**
   * Opens a connection. It is open with the next `advance`.
   *
   * @param {"public" | "level3"} [endpoint]
   * @returns {ExchangeSocket}
   */
  connect(endpoint = "public") {
    const id = this.#exchange.connect(endpoint);
    const socket = new ExchangeSocket(
      id,
      (text) => this.#exchange.receive(id, this.#writer.write(text)),
      () => {
        this.#sockets.delete(id);
        this.#exchange.disconnect(id);
      },
    );
    this.#sockets.set(id, socket);
    return socket;
  }

  /**
   * Allows a token for level 3.
   *
   * @param {string} token
   * @param {bigint} [until]  ns; for a day.
   */
  allow(token, until = this.now + 86_400_000n * MILLISECOND) {
    this.#exchange.allow(token, until);
  }

  /**
   * Moves its time, and hands over what its connections receive.
   *
   * @param {bigint} to  ns since the epoch.
   * @returns {bigint} The time that it reached: earlier, if a connection has too much waiting.
   */
  advance(to) {
    const reached = this.#exchange.advance(to, WAITING_MAX);
    for (const [id, socket] of [...this.#sockets]) {
      if (socket.readyState === 0) {
        socket.readyState = 1;
        socket.onopen?.({});
      }
      if (socket.readyState === 1) this.#deliver(id, socket);
    }
    const ended = this.#exchange.takeEnded();
    for (let i = 0; i < ended.length; i += 2) {
      this.#sockets.get(ended[i])?.close(Number(ended[i + 1]), "a fault of the exchange");
    }
    return reached;
  }

  /**
   * @param {bigint} id
   * @param {ExchangeSocket} socket
   */
  #deliver(id, socket) {
    const count = this.#exchange.take(id);
    const { buffer } = memory;
    // Copies: whoever receives a message may call the exchange, whose memory then moves.
    const places = new Uint32Array(buffer, this.#exchange.texts, 2 * count).slice();
    const block = new Uint8Array(buffer, this.#exchange.block, places.at(-1) ?? 0).slice();
    for (let i = 0; i < places.length && socket.readyState === 1; i += 2) {
      socket.onmessage?.({ data: decode(block.subarray(places[i], places[i + 1])) });
    }
  }

  /**
   * Moves its time with that of this machine until `stop`.
   *
   * @param {object} [options]
   * @param {number} [options.speed]  Seconds of the exchange in a second; 1.
   * @param {number} [options.every]  Milliseconds between two steps; 20.
   */
  run({ speed = 1, every = 20 } = {}) {
    this.stop();
    let last = performance.now();
    this.#timer = setInterval(() => {
      const now = performance.now();
      // A page in the background is woken seldom; it does not make up for more than a second.
      const passed = Math.min(now - last, 1000);
      last = now;
      this.advance(this.now + BigInt(Math.round(passed * speed * 1e6)));
    }, every);
  }

  /** Stops what `run` began. */
  stop() {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /**
   * The best levels of a pair's book as they are, which a client should have.
   *
   * @param {string} symbol
   * @param {number} [depth]  Levels of each side; 10.
   * @returns {{bids: [price: string, qty: string][], asks: [price: string, qty: string][]} | undefined}
   */
  book(symbol, depth = 10) {
    const [bids, asks] = [true, false].map((side) => {
      const found = this.#exchange.book(symbol, side, depth) ?? [];
      /** @type {[price: string, qty: string][]} */
      const levels = [];
      for (let i = 0; i < found.length; i += 2) levels.push([found[i], found[i + 1]]);
      return levels;
    });
    return this.symbols.includes(symbol) ? { bids, asks } : undefined;
  }

  /**
   * Injects a fault, as the option `--fault` of `krakpot exchange` does. Of the faults of connections only `cut` and `close`
   * do something here.
   *
   * @param {string} fault
   */
  inject(fault) {
    this.#exchange.inject(fault);
  }

  /** Ends all faults. */
  clearFaults() {
    this.#exchange.clearFaults();
  }

  /** @returns {any} Its account of what it sent. */
  summary() {
    return JSON.parse(this.#exchange.summary());
  }
}
