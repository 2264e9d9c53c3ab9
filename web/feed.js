// A live feed: it connects, subscribes, reconnects, and calls back. What the protocol requires next decides the session.

import { Backoff, Pacer } from "./backoff.js";
import { CHANNELS } from "./events.js";
import { Book, load, now, Orders, Session } from "./session.js";

/** @typedef {import("./events.js").Event} Event */
/** @typedef {import("./events.js").Channel} Channel */
/** @typedef {import("./session.js").SessionOptions} SessionOptions */
/** @typedef {import("./session.js").Subscribed} Subscribed */
/** @typedef {"public" | "level3"} Endpoint */

/**
 * @template {Channel} C
 * @typedef {Extract<Event, {channel: C}>} EventOf
 */

/**
 * A WebSocket, as far as a feed needs it.
 *
 * @typedef {object} Socket
 * @property {number} readyState
 * @property {((event: any) => any) | null} onopen
 * @property {((event: any) => any) | null} onmessage
 * @property {((event: any) => any) | null} onclose
 * @property {((event: any) => any) | null} onerror
 * @property {(text: string) => void} send
 * @property {(code?: number, reason?: string) => void} close
 */

/**
 * @typedef {object} FeedOptions
 * @property {string[]} [symbols]  Patterns of symbols: `BTC/USD`, `ETH/*`; all.
 * @property {string[]} [exclude]  Patterns of symbols to leave out.
 * @property {Subscribed[]} [channels]  Channels to subscribe; book, trade, ticker.
 * @property {number} [depth]  Levels on each side of a book: 10, 25, 100, 500, 1000; 100.
 * @property {number} [level3Depth]  The same of level 3: 10, 100, 1000; 100.
 * @property {number} [interval]  Length of candles, minutes; 1.
 * @property {string} [url]  Where the public channels are.
 * @property {string} [level3Url]  Where level 3 is.
 * @property {() => Promise<string>} [token]  Gives a token for level 3.
 * @property {(endpoint: Endpoint, url: string) => Socket} [connect]  Opens a socket; a WebSocket of this environment. An
 *   exchange in the page: `(endpoint) => exchange.connect(endpoint)`.
 */

/** Where Kraken's public channels are. */
export const URL_PUBLIC = "wss://ws.kraken.com/v2";
/** Where its level 3 is. */
export const URL_LEVEL3 = "wss://ws-l3.kraken.com/v2";

/** Milliseconds between two looks at what is due. */
const STEP = 100;
/** Seconds of silence after which a ping is sent; Kraken sends a heartbeat every second. */
const PING_AFTER = 5;
/** Seconds of silence after which a connection is dead, and in which it must be made. */
const DEAD_AFTER = 15;

/** @returns {number} Monotonic time, seconds. */
const seconds = () => performance.now() / 1000;

/**
 * The channels whose events a session makes; those of connections come from here.
 *
 * @param {Channel[]} channels
 */
const ofSession = (channels) => channels.filter((channel) => channel !== "connection");

/** One connection, made again whenever it is lost, and its session. */
class Client {
  /** @type {Session} */
  session;
  /** When a frame last came, ns; 0: none did. */
  received = 0n;
  /** @type {Socket | undefined} */
  #socket;
  #endpoint;
  #options;
  #sessionOptions;
  #onEvents;
  #wanted;
  #backoff;
  #pacer = new Pacer();
  #opened = 0;
  #heard = 0;
  #pinged = false;
  /** When the next attempt is made, seconds; 0 while there is a socket. */
  #next = 0;
  #asked = false;
  #stopped = false;

  /**
   * @param {Endpoint} endpoint
   * @param {FeedOptions} options
   * @param {SessionOptions} sessionOptions
   * @param {Channel[]} wanted
   * @param {(events: Event[]) => void} onEvents
   * @param {Backoff} backoff
   */
  constructor(endpoint, options, sessionOptions, wanted, onEvents, backoff) {
    this.#endpoint = endpoint;
    this.#options = options;
    this.#sessionOptions = sessionOptions;
    this.#wanted = wanted;
    this.#onEvents = onEvents;
    this.#backoff = backoff;
    this.session = this.#begin();
    this.#next = seconds() + backoff.delay(seconds());
  }

  /** @param {Channel[]} channels */
  want(channels) {
    this.#wanted = channels;
    this.session.wantEvents(ofSession(channels));
  }

  /**
   * @param {string[]} symbols
   * @param {string[]} exclude
   */
  select(symbols, exclude) {
    this.session.select(symbols, exclude);
    // Sessions of later connections follow them too.
    Object.assign(this.#sessionOptions, { symbols, exclude });
  }

  get connected() {
    return this.#socket?.readyState === 1;
  }

  /** The next attempt is made with the next step. */
  retry() {
    if (this.#next) this.#next = seconds();
  }

  /** @param {Session} [after] */
  #begin(after) {
    const session = new Session(this.#sessionOptions, after);
    session.wantEvents(ofSession(this.#wanted));
    return session;
  }

  /** What is due now. */
  step() {
    if (this.#stopped) return;
    const at = seconds();
    if (this.#next && at >= this.#next) this.#connect();
    this.session.tick(now());
    if (this.connected) {
      this.#pacer.add(this.session.requests(now()));
      for (const request of this.#pacer.due(at)) this.#socket?.send(request);
      if (this.session.tokenNeeded) this.#ask();
    }
    const silence = at - this.#heard;
    if (this.#socket && silence > DEAD_AFTER) {
      this.#lost(this.#opened ? `no data for ${Math.round(silence)} s` : `no answer within ${DEAD_AFTER} s`);
    } else if (this.connected && silence > PING_AFTER && !this.#pinged) {
      this.#pinged = true;
      this.#socket?.send(this.session.ping());
    }
    this.deliver();
  }

  deliver() {
    const events = this.session.takeEvents();
    if (events.length) this.#onEvents(events);
  }

  #connect() {
    this.#next = 0;
    this.#pacer = new Pacer();
    this.#heard = seconds();
    this.#opened = 0;
    const isPublic = this.#endpoint === "public";
    const url = isPublic ? (this.#options.url ?? URL_PUBLIC) : (this.#options.level3Url ?? URL_LEVEL3);
    /** @type {Socket} */
    let socket;
    try {
      const connect = this.#options.connect ?? ((_, address) => new WebSocket(address));
      socket = connect(this.#endpoint, url);
    } catch (error) {
      this.#lost(`cannot connect: ${error instanceof Error ? error.message : error}`);
      return;
    }
    this.#socket = socket;
    // A socket that was given up may still call back.
    const current = () => this.#socket === socket;
    socket.onopen = () => {
      if (!current()) return;
      this.#opened = this.#heard = seconds();
      this.#pinged = false;
      this.#tell(true, "");
    };
    socket.onmessage = ({ data }) => {
      if (!current()) return;
      const time = (this.received = now());
      this.#heard = seconds();
      this.#pinged = false;
      if (typeof data === "string") this.session.receive(data, time);
      this.deliver();
    };
    socket.onerror = () => {};
    socket.onclose = ({ code, reason }) => {
      if (current()) this.#lost(`closed with code ${code} ${reason}`.trimEnd());
    };
  }

  /** @param {string} reason */
  #lost(reason) {
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close();
    const at = seconds();
    if (this.#opened) this.#backoff.opened(at - this.#opened);
    const maintenance = ["maintenance", "cancel_only"].includes(this.session.system ?? "");
    this.#next = at + this.#backoff.delay(at, maintenance);
    if (this.#opened) {
      this.session.end(reason, now());
      this.deliver();
      // A callback may have closed the feed.
      if (this.#stopped) return;
      this.session = this.#begin(this.session);
    }
    this.#opened = 0;
    this.#tell(false, reason);
  }

  /**
   * @param {boolean} up
   * @param {string} reason
   */
  #tell(up, reason) {
    this.#onEvents([{ channel: "connection", endpoint: this.#endpoint, up, reason, ts_recv: now() }]);
  }

  async #ask() {
    if (this.#asked || !this.#options.token) return;
    this.#asked = true;
    try {
      const token = await this.#options.token();
      if (!this.#stopped) this.session.setToken(token);
    } catch (error) {
      console.warn("no token for level 3, the next attempt is in 5 s:", error);
      await new Promise((resolve) => setTimeout(resolve, 5000));
    } finally {
      this.#asked = false;
    }
  }

  stop() {
    this.#stopped = true;
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close();
    this.session.free();
  }
}

/**
 * Live books and events.
 *
 * ```js
 * const feed = new Feed({ symbols: ["BTC/USD"], depth: 10 });
 * feed.on("trade", "BTC/USD", (trade) => console.log(trade.price, trade.qty));
 * feed.on("book", "*", (event) => console.log(event.symbol, feed.book(event.symbol).best()));
 * await feed.open();
 * ```
 */
export class Feed {
  #options;
  /** @type {Map<string, Map<string, Set<(event: any) => void>>>} */
  #callbacks = new Map();
  /** @type {Client | undefined} */
  #public;
  /** @type {Client | undefined} */
  #level3;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /** @param {FeedOptions} [options] */
  constructor(options = {}) {
    this.#options = { ...options };
  }

  /**
   * Calls `callback` for every event of a channel and a symbol; `*`: of all symbols. Books are as they are after the event.
   *
   * @template {Channel} C
   * @param {C} channel
   * @param {string} symbol
   * @param {(event: EventOf<C>) => void} callback
   * @returns {() => void} Ends it.
   */
  on(channel, symbol, callback) {
    if (!CHANNELS.includes(channel)) throw new RangeError(`no events of "${channel}"; there are ${CHANNELS.join(", ")}`);
    const symbols = this.#callbacks.get(channel) ?? new Map();
    const callbacks = symbols.get(symbol) ?? new Set();
    this.#callbacks.set(channel, symbols.set(symbol, callbacks.add(callback)));
    this.#want();
    return () => {
      callbacks.delete(callback);
      if (!callbacks.size) symbols.delete(symbol);
      if (!symbols.size) this.#callbacks.delete(channel);
      this.#want();
    };
  }

  /** Only what somebody listens to becomes an event. */
  #wanted() {
    return /** @type {Channel[]} */ ([...this.#callbacks.keys()]);
  }

  #want() {
    for (const client of this.#clients()) client.want(this.#wanted());
  }

  #clients() {
    return [this.#public, this.#level3].filter((client) => client !== undefined);
  }

  /** Loads the module and begins to connect. It stays connected until `close`. */
  async open() {
    await load();
    if (this.#public) return;
    const { channels = ["book", "trade", "ticker"], symbols, exclude, depth, level3Depth, interval } = this.#options;
    const backoff = new Backoff();
    const deliver = (/** @type {Event[]} */ events) => this.#deliver(events);
    const of = { symbols, exclude, depth, level3Depth, interval };
    const others = channels.filter((channel) => channel !== "level3");
    this.#public = new Client("public", this.#options, { ...of, channels: others }, this.#wanted(), deliver, backoff);
    if (others.length < channels.length) {
      /** @type {SessionOptions} */
      const options = { ...of, channels: ["level3"], instrument: false };
      this.#level3 = new Client("level3", this.#options, options, this.#wanted(), deliver, backoff);
    }
    this.#timer = setInterval(() => this.step(), STEP);
    this.step();
  }

  /** Does what is due: connections, requests, pings. `open` calls it ten times a second. */
  step() {
    this.#public?.step();
    if (this.#public && this.#level3) {
      // Level 3 has a host of its own, which does not describe the pairs.
      this.#level3.session.importPairs(this.#public.session);
      this.#level3.session.crossCheck(this.#public.session);
      this.#level3.step();
    }
  }

  /** @returns {boolean} Whether all its connections are open. */
  get connected() {
    const clients = this.#clients();
    return clients.length > 0 && clients.every((client) => client.connected);
  }

  /** Connects now, where it would wait before the next attempt. */
  retry() {
    for (const client of this.#clients()) client.retry();
  }

  /** @param {Event[]} events */
  #deliver(events) {
    for (const event of events) {
      // A callback may have closed the feed.
      if (!this.#public) return;
      const symbols = this.#callbacks.get(event.channel);
      if (!symbols) continue;
      for (const symbol of "symbol" in event ? [event.symbol, "*"] : ["*"]) {
        for (const callback of symbols.get(symbol) ?? []) {
          try {
            callback(event);
          } catch (error) {
            // One callback that fails stops no other, and not the feed.
            console.error(error);
          }
        }
      }
    }
  }

  /**
   * The book of a symbol as it is now; it goes on when the feed connects again.
   *
   * @param {string} symbol
   * @returns {Book}
   */
  book(symbol) {
    return new Book(() => this.#session(this.#public), symbol);
  }

  /**
   * The level-3 book of a symbol as it is now; it goes on when the feed connects again.
   *
   * @param {string} symbol
   * @returns {Orders}
   */
  orders(symbol) {
    return new Orders(() => this.#session(this.#level3), symbol);
  }

  /** @param {Client | undefined} client */
  #session(client) {
    if (!client) throw new Error("the feed is not open, or does not subscribe the channel");
    return client.session;
  }

  /**
   * Follows other symbols from now on.
   *
   * @param {string[]} symbols
   * @param {string[]} [exclude]
   */
  select(symbols, exclude = []) {
    Object.assign(this.#options, { symbols, exclude });
    for (const client of this.#clients()) client.select(symbols, exclude);
  }

  /**
   * The pairs that the exchange described, none before it did; those that match the feed's symbols are `selected`.
   *
   * @returns {ReturnType<Session["pairs"]>}
   */
  pairs() {
    return this.#session(this.#public).pairs();
  }

  /** @returns {bigint} When the last frame of the public channels came, ns; 0: none did. */
  get received() {
    return this.#public?.received ?? 0n;
  }

  /** @returns {any} Counters of the current connection: frames, messages, checksums, errors, subscriptions. */
  counts() {
    return this.#session(this.#public).counts();
  }

  /** @returns {string | undefined} State of the exchange: `online`, `maintenance`, … */
  get system() {
    return this.#public?.session.system;
  }

  /** Closes its connections. It can be opened again. */
  close() {
    clearInterval(this.#timer);
    this.#timer = undefined;
    for (const client of this.#clients()) client.stop();
    this.#public = this.#level3 = undefined;
  }
}
