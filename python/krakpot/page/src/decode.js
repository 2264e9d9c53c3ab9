// The binary messages of the stream, as docs/reference/stream.md lays them out: bytes in, plain objects out.
//
// Nothing in a message is believed before it is checked: its length, the order of its levels, every number. A message that
// is not what the page of the stream says is a `Damaged`, with a sentence for people.

/** The version of the stream that this file reads. */
export const STREAM = 1
/** More levels or orders of a side than any exchange has: a longer message is damaged. */
const ENTRIES_MAX = 1_000_000
/** Channels of a gap. */
export const CHANNELS = /** @type {const} */ (['book', 'trade', 'level3', 'ticker'])
/** What became of a checksum. */
export const CHECKED = /** @type {const} */ (['unchecked', 'ok', 'wrong'])

/**
 * @typedef {object} Head
 * @property {number} pair number of the pair
 * @property {boolean} inSync whether the book may be trusted
 * @property {boolean} continued false: what came before is of another time, or before a gap
 * @property {'unchecked' | 'ok' | 'wrong'} checked the checksum of the last message
 * @property {number} recv time of receipt of the last message, microseconds
 * @property {number} event the exchange's time of it, microseconds
 * @property {number} checksum that the exchange sent
 * @property {number} messages of the book since the state before
 */
/** @typedef {Head & {kind: 'book', bidP: Float64Array, bidQ: Float64Array, askP: Float64Array, askQ: Float64Array}} BookFrame */
/**
 * @typedef {object} Queue orders of one side, by price, then by place in the queue
 * @property {Float64Array} price
 * @property {Float64Array} qty
 * @property {BigInt64Array} time nanoseconds
 * @property {BigUint64Array} id
 */
/** @typedef {Head & {kind: 'orders', bids: Queue, asks: Queue}} OrdersFrame */
/**
 * @typedef {object} TradesFrame
 * @property {'trades'} kind
 * @property {number} pair
 * @property {boolean} continued
 * @property {number} leftOut trades that were left out because the client read too slowly
 * @property {Float64Array} event exchange's times, microseconds
 * @property {Float64Array} recv times of receipt, microseconds
 * @property {BigInt64Array} id
 * @property {Float64Array} price
 * @property {Float64Array} qty
 * @property {Uint8Array} side 0 buy, 1 sell
 * @property {Uint8Array} type 0 limit, 1 market
 */
/**
 * @typedef {object} OverviewFrame
 * @property {'overview'} kind
 * @property {number} time
 * @property {Float64Array} bid
 * @property {Float64Array} ask
 * @property {Float64Array} last
 * @property {Float64Array} volume
 * @property {Float64Array} imbalance
 * @property {Uint32Array} pair
 * @property {Uint32Array} right
 * @property {Uint32Array} wrong
 * @property {Uint8Array} inSync 1 in sync, 0 not, anything else: nobody reads this book
 */
/** @typedef {{kind: 'gap', channel: 'book' | 'trade' | 'level3' | 'ticker', pair: number, from: number, to: number, reason: string}} GapFrame `to` is 0 while it lasts */
/** @typedef {{kind: 'clock', paused: boolean, atEnd: boolean, live: boolean, up: boolean, shown: number, server: number, speed: number}} ClockFrame */
/** @typedef {BookFrame | OrdersFrame | TradesFrame | OverviewFrame | GapFrame | ClockFrame} Frame */

/** A message that is not what it should be. */
export class Damaged extends Error {}

const NAMES = ['', 'book', 'trades', 'orders', 'overview', 'gap', 'clock']
const LEAST = [0, 40, 16, 40, 16, 24, 32]

/**
 * Read one binary message.
 * @param {ArrayBuffer} data
 * @param {number} pairs how many pairs the server has named
 * @returns {Frame | null} null: a kind that this version does not know, which is to be ignored
 * @throws {Damaged}
 */
export function decode(data, pairs) {
  if (!data.byteLength) throw new Damaged('a message without bytes')
  const view = new DataView(data)
  const kind = view.getUint8(0)
  if (kind < 1 || kind > 6) return null
  if (data.byteLength < LEAST[kind]) {
    throw new Damaged(`${NAMES[kind]}: ${data.byteLength} bytes, at least ${LEAST[kind]} are needed`)
  }
  switch (kind) {
    case 1: return book(data, view, pairs)
    case 2: return trades(data, view, pairs)
    case 3: return orders(data, view, pairs)
    case 4: return overview(data, view, pairs)
    case 5: return gap(data, view, pairs)
    default: return clock(view, data)
  }
}

/** @param {string} what @param {ArrayBuffer} data @param {number} needed */
function exactly(what, data, needed) {
  if (data.byteLength !== needed) throw new Damaged(`${what}: ${data.byteLength} bytes, not the ${needed} that it announces`)
}

/** @param {string} what @param {number} n */
function count(what, n) {
  if (n > ENTRIES_MAX) throw new Damaged(`${what}: it announces ${n} entries`)
  return n
}

/** @param {string} what @param {DataView} view @param {number} pairs */
function pairOf(what, view, pairs) {
  const pair = view.getUint32(4, true)
  if (pair >= pairs) throw new Damaged(`${what}: pair ${pair}, but only ${pairs} are named`)
  return pair
}

/** Nanoseconds as microseconds: a number holds them to a quarter of one. @param {bigint} ns */
const micros = ns => Number(ns / 1000n) + Number(ns % 1000n) / 1000

/** @param {BigInt64Array} ns */
function microsOf(ns) {
  const out = new Float64Array(ns.length)
  for (let i = 0; i < ns.length; i++) out[i] = micros(ns[i])
  return out
}

/** @param {'book' | 'orders'} what @param {DataView} view @param {number} pairs @returns {Head} */
function head(what, view, pairs) {
  const flags = view.getUint8(1)
  const checked = CHECKED[view.getUint8(2)]
  if (flags > 3) throw new Damaged(`${what}: unknown flags ${flags}`)
  if (checked === undefined) throw new Damaged(`${what}: ${view.getUint8(2)} says nothing about a checksum`)
  return {
    pair: pairOf(what, view, pairs),
    inSync: (flags & 1) === 1,
    continued: (flags & 2) === 0,
    checked,
    recv: micros(view.getBigInt64(8, true)),
    event: micros(view.getBigInt64(16, true)),
    checksum: view.getUint32(24, true),
    messages: view.getUint32(28, true),
  }
}

/**
 * Prices and quantities of one side, best first.
 * @param {string} what
 * @param {Float64Array} price
 * @param {Float64Array} qty
 * @param {1 | -1} way 1: prices rise from the best
 * @param {boolean} same whether equal prices may follow each other
 */
function side(what, price, qty, way, same) {
  for (let i = 0; i < price.length; i++) {
    if (!(price[i] > 0 && price[i] < Infinity)) throw new Damaged(`${what}: a price of ${price[i]}`)
    if (!(qty[i] > 0 && qty[i] < Infinity)) throw new Damaged(`${what}: a quantity of ${qty[i]}`)
    if (i && !((price[i] - price[i - 1]) * way > 0 || (same && price[i] === price[i - 1]))) {
      throw new Damaged(`${what}: prices that are not in order`)
    }
  }
}

/** @param {Head} head @param {number} n @param {number} m */
function nobodyKnows(head, n, m) {
  if (!head.inSync && n + m) throw new Damaged('levels of a book that is out of sync')
}

/** @param {ArrayBuffer} data @param {DataView} view @param {number} pairs @returns {BookFrame} */
function book(data, view, pairs) {
  const n = count('book', view.getUint32(32, true))
  const m = count('book', view.getUint32(36, true))
  exactly('book', data, 40 + 16 * (n + m))
  const found = head('book', view, pairs)
  nobodyKnows(found, n, m)
  const bidP = new Float64Array(data, 40, n)
  const bidQ = new Float64Array(data, 40 + 8 * n, n)
  const askP = new Float64Array(data, 40 + 16 * n, m)
  const askQ = new Float64Array(data, 40 + 16 * n + 8 * m, m)
  side('book', bidP, bidQ, -1, false)
  side('book', askP, askQ, 1, false)
  return { kind: 'book', ...found, bidP, bidQ, askP, askQ }
}

/** @param {ArrayBuffer} data @param {DataView} view @param {number} pairs @returns {OrdersFrame} */
function orders(data, view, pairs) {
  const n = count('orders', view.getUint32(32, true))
  const m = count('orders', view.getUint32(36, true))
  exactly('orders', data, 40 + 32 * (n + m))
  const found = head('orders', view, pairs)
  nobodyKnows(found, n, m)
  const queue = (/** @type {number} */ at, /** @type {number} */ size) => ({
    price: new Float64Array(data, at, size),
    qty: new Float64Array(data, at + 8 * size, size),
    time: new BigInt64Array(data, at + 16 * size, size),
    id: new BigUint64Array(data, at + 24 * size, size),
  })
  const bids = queue(40, n)
  const asks = queue(40 + 32 * n, m)
  side('orders', bids.price, bids.qty, -1, true)
  side('orders', asks.price, asks.qty, 1, true)
  return { kind: 'orders', ...found, bids, asks }
}

/** @param {ArrayBuffer} data @param {DataView} view @param {number} pairs @returns {TradesFrame} */
function trades(data, view, pairs) {
  const n = count('trades', view.getUint32(8, true))
  exactly('trades', data, 16 + 42 * n)
  const price = new Float64Array(data, 16 + 24 * n, n)
  const qty = new Float64Array(data, 16 + 32 * n, n)
  const sides = new Uint8Array(data, 16 + 40 * n, n)
  const types = new Uint8Array(data, 16 + 41 * n, n)
  for (let i = 0; i < n; i++) {
    if (!(price[i] > 0 && price[i] < Infinity && qty[i] > 0 && qty[i] < Infinity)) {
      throw new Damaged(`trades: ${qty[i]} at a price of ${price[i]}`)
    }
    if (sides[i] > 1 || types[i] > 1) throw new Damaged('trades: an unknown side or order type')
  }
  return {
    kind: 'trades',
    pair: pairOf('trades', view, pairs),
    continued: (view.getUint8(1) & 2) === 0,
    leftOut: view.getUint32(12, true),
    event: microsOf(new BigInt64Array(data, 16, n)),
    recv: microsOf(new BigInt64Array(data, 16 + 8 * n, n)),
    id: new BigInt64Array(data, 16 + 16 * n, n),
    price,
    qty,
    side: sides,
    type: types,
  }
}

/** @param {ArrayBuffer} data @param {DataView} view @param {number} pairs @returns {OverviewFrame} */
function overview(data, view, pairs) {
  const n = count('overview', view.getUint32(4, true))
  exactly('overview', data, 16 + 53 * n)
  const column = (/** @type {number} */ i) => new Float64Array(data, 16 + 8 * i * n, n)
  const numbers = (/** @type {number} */ i) => new Uint32Array(data, 16 + 40 * n + 4 * i * n, n)
  const pair = numbers(0)
  for (let i = 0; i < n; i++) {
    if (pair[i] >= pairs) throw new Damaged(`overview: pair ${pair[i]}, but only ${pairs} are named`)
  }
  return {
    kind: 'overview',
    time: micros(view.getBigInt64(8, true)),
    bid: column(0),
    ask: column(1),
    last: column(2),
    volume: column(3),
    imbalance: column(4),
    pair,
    right: numbers(1),
    wrong: numbers(2),
    inSync: new Uint8Array(data, 16 + 52 * n, n),
  }
}

/** @param {ArrayBuffer} data @param {DataView} view @param {number} pairs @returns {GapFrame} */
function gap(data, view, pairs) {
  const length = view.getUint16(2, true)
  exactly('gap', data, 24 + length)
  const channel = CHANNELS[view.getUint8(1)]
  if (channel === undefined) throw new Damaged(`gap: unknown channel ${view.getUint8(1)}`)
  const from = micros(view.getBigInt64(8, true))
  const to = micros(view.getBigInt64(16, true))
  if (to && to < from) throw new Damaged('gap: it ends before it begins')
  const reason = new TextDecoder().decode(new Uint8Array(data, 24, length))
  return { kind: 'gap', channel, pair: pairOf('gap', view, pairs), from, to, reason }
}

/** @param {DataView} view @param {ArrayBuffer} data @returns {ClockFrame} */
function clock(view, data) {
  exactly('clock', data, 32)
  const flags = view.getUint8(1)
  const speed = view.getFloat64(24, true)
  if (!(speed >= 0 && speed < Infinity)) throw new Damaged(`clock: a speed of ${speed}`)
  return {
    kind: 'clock',
    paused: (flags & 1) !== 0,
    atEnd: (flags & 2) !== 0,
    live: (flags & 4) !== 0,
    up: (flags & 8) !== 0,
    shown: micros(view.getBigInt64(8, true)),
    server: micros(view.getBigInt64(16, true)),
    speed,
  }
}
