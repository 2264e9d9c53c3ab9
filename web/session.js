// Sessions: the protocol state of one connection, its books and its events.

import init, * as core from "./wasm/session.js";
import { eventsOf } from "./events.js";
import { found, Writer } from "./module.js";

/** @typedef {import("./module.js").Source} Source */
/** @typedef {import("./events.js").Event} Event */
/** @typedef {import("./events.js").Channel} Channel */
/** @typedef {[price: string, qty: string]} Level  Exact, padded to the pair's decimals. */
/** @typedef {[price: string, qty: string, orders: number]} OrderLevel */
/** @typedef {"book" | "trade" | "ticker" | "ohlc" | "level3"} Subscribed  A channel that is subscribed. */

/**
 * What a session is to do.
 *
 * @typedef {object} SessionOptions
 * @property {string} [id]  Names the session; a UUID if none is given.
 * @property {Subscribed[]} [channels]  Channels to subscribe; book, trade, ticker.
 * @property {string[]} [symbols]  Patterns of symbols: `BTC/USD`, `ETH/*`; all.
 * @property {string[]} [exclude]  Patterns of symbols to leave out.
 * @property {number} [depth]  Levels on each side of a book: 10, 25, 100, 500, 1000; 100.
 * @property {number} [level3Depth]  The same of level 3: 10, 100, 1000; 100.
 * @property {number} [interval]  Length of candles, minutes; 1.
 * @property {Record<string, [number, number]>} [precision]  Decimals of prices and quantities of a symbol, if
 *   the exchange does not say them.
 * @property {boolean} [passive]  Request nothing, and take what comes: recorded frames.
 * @property {boolean} [instrument]  Subscribe the instrument channel; true. Otherwise pairs are imported.
 * @property {boolean} [rows]  Make the rows of a recording, for a digest; false.
 */

/**
 * Levels of a book as numbers for a picture: bids, then asks, each best first. The arrays are views of the module's memory:
 * they hold until the next call of any function of this package, so copy what is to stay.
 *
 * @typedef {object} Levels
 * @property {number} bids  How many of the levels are bids.
 * @property {Float64Array} prices
 * @property {Float64Array} qtys
 * @property {Uint32Array} counts  Of level 3: orders at each level.
 * @property {Float64Array} orders  Of level 3: quantities of all orders, level by level, the first to be filled first.
 * @property {number} pricePrecision  Decimals of prices.
 * @property {number} qtyPrecision  Decimals of quantities.
 */

/** @type {Promise<void> | undefined} */
let loading;
/** @type {WebAssembly.Memory} */
let memory;

/**
 * Loads the module. Every function here needs it; a `Feed` loads it.
 *
 * @param {Source} [source]  The module; the file beside this one.
 * @returns {Promise<void>}
 */
export function load(source = new URL("./wasm/session_bg.wasm", import.meta.url)) {
  loading ??= found(source).then(async (module_or_path) => {
    ({ memory } = await init({ module_or_path }));
  });
  return loading;
}

/** Milliseconds of the clock at the zero of the finer one, which may stand still while the machine sleeps. */
let zero = performance.timeOrigin;
/** Milliseconds that they may differ. */
const DRIFT_MAX = 50;

/** @returns {bigint} The time of this machine, ns since the epoch. */
export function now() {
  const fine = performance.now();
  const clock = Date.now();
  if (Math.abs(zero + fine - clock) > DRIFT_MAX) zero = clock - fine;
  return BigInt(Math.round((zero + fine) * 1000)) * 1000n;
}

/**
 * Names every session differently.
 *
 * @returns {string}
 */
function uuid() {
  // Pages without TLS have no randomUUID.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const text = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return text.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** @param {SessionOptions} given */
function optionsOf(given) {
  const options = new core.Options();
  options.channels(given.channels ?? ["book", "trade", "ticker"]);
  options.symbols(given.symbols ?? ["*"], given.exclude ?? []);
  if (given.depth !== undefined) options.depth(given.depth);
  if (given.level3Depth !== undefined) options.level3_depth(given.level3Depth);
  if (given.interval !== undefined) options.interval(given.interval);
  for (const [symbol, [price, qty]] of Object.entries(given.precision ?? {})) options.precision(symbol, price, qty);
  options.passive(given.passive ?? false);
  options.instrument(given.instrument ?? true);
  options.rows(given.rows ?? false);
  return options;
}

/** @type {core.Levels | undefined} */
let scratch;

/**
 * The views of what was last filled in.
 *
 * @param {core.Levels} levels
 * @returns {Levels}
 */
function views(levels) {
  const { buffer } = memory;
  const { length, orderCount } = levels;
  return {
    bids: levels.bids,
    prices: new Float64Array(buffer, levels.prices, length),
    qtys: new Float64Array(buffer, levels.qtys, length),
    counts: new Uint32Array(buffer, levels.counts, orderCount ? length : 0),
    orders: new Float64Array(buffer, levels.orders, orderCount),
    pricePrecision: levels.pricePrecision,
    qtyPrecision: levels.qtyPrecision,
  };
}

/**
 * What a session wraps, for the other classes of this file.
 *
 * @type {(session: Session) => core.Session}
 */
let coreOf;

/** Protocol state of one connection: frames and times in; events, books and requests out. It does no input or output. */
export class Session {
  static {
    coreOf = (session) => session.#session;
  }

  /** @type {core.Session} */
  #session;
  #writer;

  /**
   * @param {SessionOptions} [options]
   * @param {Session} [after]  The session of the connection before, whose pairs and trades this one goes on from. It is
   *   used up.
   */
  constructor(options = {}, after) {
    const given = optionsOf(options);
    try {
      this.#session = new core.Session(options.id ?? uuid(), given, after && coreOf(after));
    } finally {
      given.free();
    }
    this.#writer = new Writer(memory, this.#session);
  }

  /** Gives its memory back. */
  free() {
    this.#session.free();
  }

  /** @returns {string} */
  get id() {
    return this.#session.id;
  }

  /** @returns {string | undefined} State of the exchange as it last said: `online`, `maintenance`, … */
  get system() {
    return this.#session.system;
  }

  /**
   * Takes one frame. Whatever it holds: what cannot be read is counted, and the session goes on.
   *
   * @param {string | Uint8Array} frame
   * @param {bigint} [tsRecv]  Receive time, ns.
   */
  receive(frame, tsRecv = now()) {
    this.#session.receive(this.#writer.write(frame), tsRecv);
  }

  /**
   * Takes one recorded frame whose receive time is not known.
   *
   * @param {string | Uint8Array} frame
   */
  receiveUntimed(frame) {
    this.#session.receiveUntimed(this.#writer.write(frame));
  }

  /**
   * Chooses the events that are made from now on.
   *
   * @param {Iterable<Channel>} channels
   */
  wantEvents(channels) {
    this.#session.wantEvents([...channels]);
  }

  /** All subscriptions become events once more. */
  tellAllSubscriptions() {
    this.#session.tellAllSubscriptions();
  }

  /**
   * The events since the last call, in the order of messages.
   *
   * @returns {Event[]}
   */
  takeEvents() {
    return eventsOf(this.#session.takeEvents());
  }

  /**
   * Lets time pass.
   *
   * @param {bigint} [time]  ns.
   */
  tick(time = now()) {
    this.#session.tick(time);
  }

  /**
   * Requests to send now, in order; each is handed out once.
   *
   * @param {bigint} [time]  ns.
   * @returns {string[]}
   */
  requests(time = now()) {
    return this.#session.requests(time);
  }

  /** @returns {string} A ping request. */
  ping() {
    return this.#session.ping();
  }

  /**
   * Follows other symbols from now on.
   *
   * @param {string[]} symbols
   * @param {string[]} [exclude]
   * @param {bigint} [time]  ns.
   */
  select(symbols, exclude = [], time = now()) {
    this.#session.select(symbols, exclude, time);
  }

  /**
   * Takes from another session what it knows of the pairs that it follows.
   *
   * @param {Session} other
   * @param {bigint} [time]  ns.
   */
  importPairs(other, time = now()) {
    this.#session.importPairs(other.#session, time);
  }

  /**
   * Compares the best prices of level 3 with those that another session has from its books or tickers. Level 3 that was silent
   * while they disagreed is subscribed again.
   *
   * @param {Session} other
   * @param {bigint} [time]  ns.
   */
  crossCheck(other, time = now()) {
    this.#session.crossCheck(other.#session, time);
  }

  /** @returns {boolean} Whether a token for level 3 is needed. */
  get tokenNeeded() {
    return this.#session.tokenNeeded;
  }

  /** @param {string} token  For level 3. */
  setToken(token) {
    this.#session.setToken(token);
  }

  /**
   * The connection is gone: all books end.
   *
   * @param {string} reason
   * @param {bigint} [time]  ns.
   */
  end(reason, time = now()) {
    this.#session.end(time, reason);
  }

  /**
   * Counters: frames, messages by channel, checksums, errors, subscriptions.
   *
   * @returns {any}
   */
  counts() {
    return JSON.parse(this.#session.counts());
  }

  /** @returns {[channel: Subscribed, symbol: string, state: string, reason: string][]} Every subscription. */
  subscriptions() {
    return JSON.parse(this.#session.subscriptions());
  }

  /**
   * The pairs that the exchange described.
   *
   * @returns {{symbol: string, base: string, quote: string, status: string, price_precision: number,
   *   qty_precision: number, selected: boolean}[]}
   */
  pairs() {
    return JSON.parse(this.#session.pairs());
  }

  /**
   * The book of a symbol.
   *
   * @param {string} symbol
   * @returns {Book}
   */
  book(symbol) {
    return new Book(() => this, symbol);
  }

  /**
   * The level-3 book of a symbol.
   *
   * @param {string} symbol
   * @returns {Orders}
   */
  orders(symbol) {
    return new Orders(() => this, symbol);
  }

  /** @returns {Digest} A digest of this session, which takes its rows. */
  digest() {
    return new Digest(this);
  }
}

/** A book of a symbol as it is now, of level 2 or 3. Out of sync it has no levels: it is not known what they are. */
class Handle {
  #session;
  #symbol;
  #level3;

  /**
   * @param {() => Session} session  The session of the current connection.
   * @param {string} symbol
   * @param {boolean} level3
   */
  constructor(session, symbol, level3) {
    this.#session = session;
    this.#symbol = symbol;
    this.#level3 = level3;
  }

  /** The session in the module. */
  get _core() {
    return coreOf(this.#session());
  }

  /** @returns {string} */
  get symbol() {
    return this.#symbol;
  }

  /** @returns {boolean} Whether it may be trusted: every checksum since its snapshot was right. */
  get inSync() {
    return this._core.inSync(this.#symbol, this.#level3);
  }

  /** @returns {{expected: number, computed: number} | undefined} Its last checksum that was wrong. */
  get lastMismatch() {
    const found = this._core.lastMismatch(this.#symbol, this.#level3);
    return found && JSON.parse(found);
  }
}

/** The level-2 book of a symbol as it is now. */
export class Book extends Handle {
  /**
   * @param {() => Session} session  The session of the current connection.
   * @param {string} symbol
   */
  constructor(session, symbol) {
    super(session, symbol, false);
  }

  /** @returns {number | undefined} Its checksum. */
  get checksum() {
    return this._core.checksum(this.symbol);
  }

  /** @returns {{bid?: Level, ask?: Level} | undefined} Best levels, exactly. */
  best() {
    const book = this.levels(1);
    return book && { bid: book.bids[0], ask: book.asks[0] };
  }

  /**
   * Levels, best first, exactly.
   *
   * @param {number} [depth]  Levels of each side; all.
   * @returns {{bids: Level[], asks: Level[], depth: number} | undefined}
   */
  levels(depth = 0xffffffff) {
    const found = this._core.book(this.symbol, depth);
    return found && JSON.parse(found);
  }

  /**
   * Levels as numbers, for a picture.
   *
   * @param {number} [depth]  Levels of each side; all.
   * @returns {Levels | undefined}
   */
  numbers(depth = 0xffffffff) {
    scratch ??= new core.Levels();
    return scratch.book(this._core, this.symbol, depth) ? views(scratch) : undefined;
  }
}

/** The level-3 book of a symbol as it is now: every order in the window. */
export class Orders extends Handle {
  /**
   * @param {() => Session} session  The session of the current connection.
   * @param {string} symbol
   */
  constructor(session, symbol) {
    super(session, symbol, true);
  }

  /**
   * Levels with the number of their orders, best first, exactly.
   *
   * @param {number} [depth]  Levels of each side; all.
   * @returns {{bids: OrderLevel[], asks: OrderLevel[], depth: number} | undefined}
   */
  levels(depth = 0xffffffff) {
    const found = this._core.orders(this.symbol, depth);
    return found && JSON.parse(found);
  }

  /**
   * Levels and their queues as numbers, for a picture.
   *
   * @param {number} [depth]  Levels of each side; all.
   * @returns {Levels | undefined}
   */
  numbers(depth = 0xffffffff) {
    scratch ??= new core.Levels();
    return scratch.level3(this._core, this.symbol, depth) ? views(scratch) : undefined;
  }

  /**
   * The orders at a price, the first to be filled first.
   *
   * @param {"bid" | "ask"} side
   * @param {string} price
   * @returns {{id: string, qty: string, ts_order: bigint}[] | undefined}
   */
  queue(side, price) {
    const found = this._core.queue(this.symbol, side, price);
    /** @param {string[]} order */
    const named = ([id, qty, time]) => ({ id, qty, ts_order: BigInt(time) });
    return found && JSON.parse(found).map(named);
  }

  /**
   * One order and its place in its queue.
   *
   * @param {string} id
   * @returns {{side: "bid" | "ask", price: string, qty: string, ts_order: bigint, orders_ahead: number, qty_ahead: string}
   *   | undefined}
   */
  order(id) {
    const found = this._core.order(this.symbol, id);
    if (found === undefined) return undefined;
    const order = JSON.parse(found);
    return { ...order, ts_order: BigInt(order.ts_order) };
  }
}

/** One number for all that a session made: the same in Rust and in Python, if they took the same frames. */
export class Digest {
  #session;
  #digest = new core.Digest();

  /** @param {Session} session */
  constructor(session) {
    this.#session = session;
  }

  /** Takes the rows that the session has made; call it now and then, because they take memory. */
  take() {
    this.#digest.take(coreOf(this.#session));
  }

  /** @returns {bigint} The number, 64 bits: of the rows that were taken, and of books and counts as they are now. */
  get value() {
    return this.#digest.value(coreOf(this.#session));
  }
}
