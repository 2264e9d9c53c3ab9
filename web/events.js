// Events of a session, as JavaScript has them. Prices and quantities are exact texts; times and ids of trades are BigInts.

/** @typedef {"book" | "trade" | "ticker" | "ohlc" | "level3" | "status" | "subscription" | "gap"
 *   | "connection"} Channel */
/** @typedef {"ok" | "unchecked" | "mismatch" | "crossed" | "refused"} Outcome  How a book came out of a message. */

/**
 * What events of a message have.
 *
 * @typedef {object} Received
 * @property {string} symbol
 * @property {number} message  Number of the message within its session.
 * @property {bigint} ts_recv  Receive time, ns.
 * @property {bigint | null} ts_event  Time of the exchange, ns.
 */

/** @typedef {Received & {channel: "book", kind: "snapshot" | "update", outcome: Outcome, checksum: number | null,
 *   entries: [side: "bid" | "ask", price: string, qty: string][]}} BookEvent */
/** @typedef {Received & {channel: "level3", kind: "snapshot" | "update", outcome: Outcome, checksum: number | null,
 *   orders: [side: "bid" | "ask", event: "add" | "modify" | "delete" | null, id: string, price: string, qty: string,
 *   ts_order: bigint][]}} Level3Event */
/** @typedef {Received & {channel: "trade", kind: "snapshot" | "update", side: string, ord_type: string,
 *   trade_id: bigint, price: string, qty: string}} TradeEvent */
/** @typedef {Received & {channel: "ticker", bid: string | null, bid_qty: string | null, ask: string | null,
 *   ask_qty: string | null, last: string | null, volume: string | null, vwap: string | null, low: string | null,
 *   high: string | null, change: string | null, change_pct: string | null}} TickerEvent */
/** @typedef {Received & {channel: "ohlc", interval: number, interval_begin: bigint, trades: number | null,
 *   open: string | null, high: string | null, low: string | null, close: string | null, vwap: string | null,
 *   volume: string | null}} OhlcEvent */
/** @typedef {{channel: "status", message: number, ts_recv: bigint, system: string}} StatusEvent */
/** @typedef {{channel: "subscription", symbol: string, of: string, state: string, reason: string,
 *   ts_recv: bigint}} SubscriptionEvent */
/** @typedef {Omit<Received, "ts_event"> & {channel: "gap", of: string, reason: string, first_trade_id: bigint | null,
 *   last_trade_id: bigint | null, ts_from: bigint | null, ts_to: bigint}} GapEvent */
/** @typedef {{channel: "connection", endpoint: "public" | "level3", up: boolean, reason: string, ts_recv: bigint}
 *   } ConnectionEvent  A connection was made, was lost, or could not be made: why. */
/** @typedef {BookEvent | Level3Event | TradeEvent | TickerEvent | OhlcEvent | StatusEvent | SubscriptionEvent
 *   | GapEvent | ConnectionEvent} Event */

/** Fields of 64 bits, by channel. */
const WIDE = {
  book: [],
  level3: [],
  trade: ["trade_id"],
  ticker: [],
  ohlc: ["interval_begin"],
  status: [],
  subscription: [],
  gap: ["first_trade_id", "last_trade_id", "ts_from", "ts_to"],
  connection: [],
};

/** @type {Channel[]} */
export const CHANNELS = /** @type {any} */ (Object.keys(WIDE));

/**
 * The events that a session wrote.
 *
 * @param {string | undefined} text
 * @returns {Event[]}
 */
export function eventsOf(text) {
  if (text === undefined) return [];
  const events = JSON.parse(text);
  for (const event of events) {
    event.ts_recv = BigInt(event.ts_recv);
    if (typeof event.ts_event === "string") event.ts_event = BigInt(event.ts_event);
    for (const name of WIDE[/** @type {Channel} */ (event.channel)]) {
      if (event[name] !== null) event[name] = BigInt(event[name]);
    }
    if (event.orders) for (const order of event.orders) order[5] = BigInt(order[5]);
  }
  return events;
}
