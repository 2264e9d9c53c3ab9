// What a page remembers of one pair, in bounded memory: every state of its book exactly, its trades, queues and gaps.
//
// States are kept in chunks: the first whole, the others as what changed. A level is a whole number of ticks and a quantity,
// as the source gave it, so a state that is read back is equal to the one that was put in. When the memory is full, the
// oldest chunk goes.

/** States of a chunk. */
const CHUNK = 64
/** Less than two states are apart, and more than a double of this size can tell, microseconds. */
const BEFORE = 0.5
/** Bytes of what is said of a state beside its levels. */
const HEAD = 8 * 4 + 4 * 4 + 2 + 2

/**
 * @typedef {object} Side levels of one side, best first
 * @property {Float64Array} ticks
 * @property {Float64Array} qty
 */
/**
 * @typedef {object} BookState
 * @property {number} t time of receipt, microseconds
 * @property {number} event the exchange's time
 * @property {boolean} inSync
 * @property {boolean} continued
 * @property {number} checked 0 not checked, 1 ok, 2 wrong
 * @property {number} checksum
 * @property {number} messages since the state before
 * @property {number} depth levels of a side that were asked for: a side with fewer is whole
 * @property {Side} bids
 * @property {Side} asks
 */

/** A column of numbers that grows. */
class Growing {
  constructor(least = 64) {
    this.data = new Float64Array(least)
    this.n = 0
  }

  /** @param {number} a @param {number} b */
  push2(a, b) {
    if (this.n + 2 > this.data.length) {
      const more = new Float64Array(this.data.length * 2)
      more.set(this.data)
      this.data = more
    }
    this.data[this.n++] = a
    this.data[this.n++] = b
  }

  trim() {
    this.data = this.data.slice(0, this.n)
  }
}

class Chunk {
  constructor() {
    this.n = 0
    this.t = new Float64Array(CHUNK)
    this.event = new Float64Array(CHUNK)
    this.bid = new Float64Array(CHUNK)
    this.ask = new Float64Array(CHUNK)
    this.depth = new Uint16Array(CHUNK)
    this.checksum = new Uint32Array(CHUNK)
    this.messages = new Uint32Array(CHUNK)
    /** 1 in sync, 2 not continued. */
    this.flags = new Uint8Array(CHUNK)
    this.checked = new Uint8Array(CHUNK)
    /** Where the changes of each state begin and end in `bids` and `asks`. */
    this.bidEnd = new Uint32Array(CHUNK)
    this.askEnd = new Uint32Array(CHUNK)
    /** Pairs of ticks and quantity; 0: the level is gone. */
    this.bids = new Growing()
    this.asks = new Growing()
  }

  get bytes() {
    return CHUNK * HEAD + (this.bids.data.length + this.asks.data.length) * 8
  }
}

/**
 * Writes what has to change so that `old` becomes `next`. Both are sorted, in the direction `way`.
 * @param {Growing} out @param {Side} old @param {Float64Array} ticks @param {Float64Array} qty @param {1 | -1} way
 */
function changes(out, old, ticks, qty, way) {
  let i = 0
  let j = 0
  const n = old.ticks.length
  const m = ticks.length
  while (i < n || j < m) {
    const order = i >= n ? 1 : j >= m ? -1 : (old.ticks[i] - ticks[j]) * way
    if (order < 0) {
      out.push2(old.ticks[i++], 0)
    } else if (order > 0) {
      out.push2(ticks[j], qty[j])
      j++
    } else {
      if (old.qty[i] !== qty[j]) out.push2(ticks[j], qty[j])
      i++
      j++
    }
  }
}

/**
 * The side after its changes, which are sorted as it is.
 * @param {Side} old @param {Float64Array} data @param {number} from @param {number} to @param {1 | -1} way @returns {Side}
 */
function applied(old, data, from, to, way) {
  if (from === to) return old
  const n = old.ticks.length
  const ticks = new Float64Array(n + (to - from) / 2)
  const qty = new Float64Array(ticks.length)
  let i = 0
  let k = 0
  for (let j = from; j < to; j += 2) {
    const tick = data[j]
    while (i < n && (old.ticks[i] - tick) * way < 0) {
      ticks[k] = old.ticks[i]
      qty[k++] = old.qty[i++]
    }
    if (i < n && old.ticks[i] === tick) i++
    if (data[j + 1]) {
      ticks[k] = tick
      qty[k++] = data[j + 1]
    }
  }
  const rest = n - i
  ticks.set(old.ticks.subarray(i), k)
  qty.set(old.qty.subarray(i), k)
  return { ticks: ticks.subarray(0, k + rest), qty: qty.subarray(0, k + rest) }
}

/**
 * The side after the changes of several states: the last change of a level counts.
 * @param {Side} old @param {Float64Array} data @param {number} from @param {number} to @param {1 | -1} way @returns {Side}
 */
function merged(old, data, from, to, way) {
  /** @type {Map<number, number>} */
  const last = new Map()
  for (let j = from; j < to; j += 2) last.set(data[j], data[j + 1])
  const sorted = [...last].sort((a, b) => (a[0] - b[0]) * way)
  return applied(old, Float64Array.from(sorted.flat()), 0, sorted.length * 2, way)
}

/** @returns {Side} */
export const noLevels = () => ({ ticks: new Float64Array(0), qty: new Float64Array(0) })

/** Every state of a book, within a number of bytes. */
export class BookHistory {
  /** @param {number} scale ticks of a price of 1, a power of ten @param {number} bytesMax */
  constructor(scale, bytesMax) {
    this.scale = scale
    this.bytesMax = bytesMax
    this.clear()
  }

  clear() {
    /** @type {Chunk[]} */
    this.chunks = []
    this.sealedBytes = 0
    /** The newest state. @type {BookState | null} */
    this.last = null
    /** Where `_read` was last: reading on from there is cheap. @type {{chunk: Chunk, i: number, bids: Side, asks: Side} | null} */
    this.cursor = null
    this.evicted = 0
  }

  get bytes() {
    const open = this.chunks[this.chunks.length - 1]
    return this.sealedBytes + (open ? open.bytes : 0)
  }

  /** The time of the oldest state; NaN if there is none. */
  get begin() { return this.chunks.length ? this.chunks[0].t[0] : NaN }

  /** The time of the newest state; NaN if there is none. */
  get end() { return this.last ? this.last.t : NaN }

  get states() {
    return this.chunks.length ? (this.chunks.length - 1) * CHUNK + this.chunks[this.chunks.length - 1].n : 0
  }

  /** Prices as ticks. @param {Float64Array} prices */
  ticksOf(prices) {
    const out = new Float64Array(prices.length)
    for (let i = 0; i < prices.length; i++) out[i] = Math.round(prices[i] * this.scale)
    return out
  }

  /**
   * Add the newest state; its time is not before that of the one before.
   * @param {{t: number, event: number, inSync: boolean, continued: boolean, checked: number, checksum: number, messages: number, depth: number,
   *   bidP: Float64Array, bidQ: Float64Array, askP: Float64Array, askQ: Float64Array}} state
   * @returns {BookState}
   */
  push(state) {
    let chunk = this.chunks[this.chunks.length - 1]
    if (!chunk || chunk.n === CHUNK) {
      if (chunk) {
        chunk.bids.trim()
        chunk.asks.trim()
        this.sealedBytes += chunk.bytes
      }
      chunk = new Chunk()
      this.chunks.push(chunk)
    }
    const i = chunk.n++
    const old = i && this.last ? this.last : { bids: noLevels(), asks: noLevels() }
    // The message that the levels came in is let go.
    const bids = { ticks: this.ticksOf(state.bidP), qty: state.bidQ.slice() }
    const asks = { ticks: this.ticksOf(state.askP), qty: state.askQ.slice() }
    changes(chunk.bids, old.bids, bids.ticks, bids.qty, -1)
    changes(chunk.asks, old.asks, asks.ticks, asks.qty, 1)
    chunk.t[i] = Math.max(state.t, this.last ? this.last.t : -Infinity)
    chunk.event[i] = state.event
    chunk.bid[i] = bids.ticks.length ? bids.ticks[0] : NaN
    chunk.ask[i] = asks.ticks.length ? asks.ticks[0] : NaN
    chunk.checksum[i] = state.checksum
    chunk.messages[i] = state.messages
    chunk.depth[i] = state.depth
    chunk.flags[i] = (state.inSync ? 1 : 0) | (state.continued ? 0 : 2)
    chunk.checked[i] = state.checked
    chunk.bidEnd[i] = chunk.bids.n
    chunk.askEnd[i] = chunk.asks.n
    this.last = {
      t: chunk.t[i], event: state.event, inSync: state.inSync, continued: state.continued, checked: state.checked,
      checksum: state.checksum, messages: state.messages, depth: state.depth, bids, asks,
    }
    while (this.chunks.length > 1 && this.bytes > this.bytesMax) {
      const gone = /** @type {Chunk} */ (this.chunks.shift())
      this.sealedBytes -= gone.bytes
      this.evicted += gone.n
      if (this.cursor?.chunk === gone) this.cursor = null
    }
    return this.last
  }

  /** The chunk and place of the last state that is not after a time. @param {number} t @returns {[number, number] | null} */
  _find(t) {
    let low = 0
    let high = this.chunks.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.chunks[middle].t[0] <= t) low = middle + 1
      else high = middle
    }
    if (!low) return null
    const chunk = this.chunks[low - 1]
    let i = chunk.n - 1
    let first = 0
    while (first < i) {
      const middle = (first + i + 1) >> 1
      if (chunk.t[middle] <= t) first = middle
      else i = middle - 1
    }
    return [low - 1, i]
  }

  /** @param {Chunk} chunk @param {number} i @returns {BookState} */
  _read(chunk, i) {
    let at = this.cursor
    if (!at || at.chunk !== chunk || at.i > i) at = { chunk, i: -1, bids: noLevels(), asks: noLevels() }
    if (at.i < i) {
      // The changes of several states are put together first: a long walk copies a book once for each state that it visits.
      const many = i - at.i > 1 && at.i >= 0
      const from = at.i < 0 ? [0, 0] : [chunk.bidEnd[at.i], chunk.askEnd[at.i]]
      if (at.i < 0 && i > 0) {
        at.bids = applied(at.bids, chunk.bids.data, 0, chunk.bidEnd[0], -1)
        at.asks = applied(at.asks, chunk.asks.data, 0, chunk.askEnd[0], 1)
        from[0] = chunk.bidEnd[0]
        from[1] = chunk.askEnd[0]
      }
      at.bids = (many || (at.i < 0 && i > 1) ? merged : applied)(at.bids, chunk.bids.data, from[0], chunk.bidEnd[i], -1)
      at.asks = (many || (at.i < 0 && i > 1) ? merged : applied)(at.asks, chunk.asks.data, from[1], chunk.askEnd[i], 1)
      at.i = i
    }
    this.cursor = at
    return {
      t: chunk.t[i], event: chunk.event[i], inSync: (chunk.flags[i] & 1) !== 0, continued: (chunk.flags[i] & 2) === 0,
      checked: chunk.checked[i], checksum: chunk.checksum[i], messages: chunk.messages[i], depth: chunk.depth[i],
      bids: at.bids, asks: at.asks,
    }
  }

  /**
   * The last state that is not after a time; null where nothing is remembered.
   * @param {number} t
   * @returns {BookState | null}
   */
  at(t) {
    if (this.last && t >= this.last.t) return this.last
    const found = this._find(t)
    return found && this._read(this.chunks[found[0]], found[1])
  }

  /**
   * States from the last one that is not after `from`, up to `to`, in order: the last one of each `length` of time.
   * @param {number} from @param {number} to @param {number} length microseconds; 0: every state
   * @param {(state: BookState) => void} visit a state is continued if all since the one that was visited before are
   */
  walk(from, to, length, visit) {
    if (!this.chunks.length) return
    const [c, i] = this._find(from) ?? [0, 0]
    /** @type {[Chunk, number] | null} */
    let held = null
    let column = -Infinity
    let continued = true
    const give = () => {
      if (held) visit({ ...this._read(held[0], held[1]), continued })
    }
    for (let k = c; k < this.chunks.length; k++) {
      const chunk = this.chunks[k]
      for (let j = k === c ? i : 0; j < chunk.n && chunk.t[j] <= to; j++) {
        const now = length ? Math.floor(chunk.t[j] / length) : NaN
        if (held && now !== column) {
          give()
          continued = true
        }
        if (chunk.flags[j] & 2) continued = false
        held = [chunk, j]
        column = now
      }
    }
    give()
  }

  /** The time of the state before or after a time; NaN if there is none. @param {number} t @param {1 | -1} way */
  step(t, way) {
    const found = this._find(way < 0 ? t - BEFORE : t)
    if (way < 0) return found ? this.chunks[found[0]].t[found[1]] : NaN
    if (!found) return this.begin
    let [c, i] = found
    for (; c < this.chunks.length; c++, i = -1) {
      for (let j = i + 1; j < this.chunks[c].n; j++) if (this.chunks[c].t[j] > t) return this.chunks[c].t[j]
    }
    return NaN
  }
}

/** Trades of one pair, the newest of them. */
export class TradeHistory {
  /** @param {number} most */
  constructor(most) {
    this.most = most
    this.clear()
  }

  clear() {
    this.n = 0
    let size = Math.min(this.most, 4096)
    /** @type {{t: Float64Array, event: Float64Array, price: Float64Array, qty: Float64Array, id: Float64Array, flags: Uint8Array}} */
    this.data = {
      t: new Float64Array(size), event: new Float64Array(size), price: new Float64Array(size), qty: new Float64Array(size),
      id: new Float64Array(size), flags: new Uint8Array(size),
    }
    /** Trades that were left out on the way, as the source said. */
    this.leftOut = 0
  }

  get bytes() { return this.data.t.length * 41 }

  /** How many are kept. */
  get kept() { return Math.min(this.n, this.data.t.length) }

  /** Number of the oldest that is kept. */
  get first() { return this.n - this.kept }

  /** The place of a trade in the columns. @param {number} number */
  place(number) { return number % this.data.t.length }

  /** @param {import('./decode.js').TradesFrame} frame @param {number} [until] later ones are let go @returns {number} how many are new */
  push(frame, until = Infinity) {
    const before = this.n
    const newest = this.n ? this.data.t[this.place(this.n - 1)] : -Infinity
    const id = this.n ? this.data.id[this.place(this.n - 1)] : -Infinity
    for (let i = 0; i < frame.price.length; i++) {
      if (frame.recv[i] > until) break
      // A new subscription begins with trades from before it.
      if (!frame.continued && (frame.recv[i] < newest || (frame.recv[i] === newest && Number(frame.id[i]) <= id))) continue
      if (this.n === this.data.t.length && this.n < this.most) this._grow()
      const at = this.place(this.n++)
      this.data.t[at] = frame.recv[i]
      this.data.event[at] = frame.event[i]
      this.data.price[at] = frame.price[i]
      this.data.qty[at] = frame.qty[i]
      this.data.id[at] = Number(frame.id[i])
      // 1 sell, 2 market, 4 something is missing before it
      this.data.flags[at] = frame.side[i] | (frame.type[i] << 1) | (i === 0 && (frame.leftOut || !frame.continued) ? 4 : 0)
    }
    this.leftOut += frame.leftOut
    return this.n - before
  }

  _grow() {
    const size = Math.min(this.most, this.data.t.length * 2)
    const more = (/** @type {Float64Array} */ old) => {
      const next = new Float64Array(size)
      next.set(old)
      return next
    }
    const flags = new Uint8Array(size)
    flags.set(this.data.flags)
    this.data = {
      t: more(this.data.t), event: more(this.data.event), price: more(this.data.price), qty: more(this.data.qty),
      id: more(this.data.id), flags,
    }
  }

  /** Number of the first trade that is after a time. @param {number} t */
  after(t) {
    let low = this.first
    let high = this.n
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      if (this.data.t[this.place(middle)] <= t) low = middle + 1
      else high = middle
    }
    return low
  }

  /** @param {number} number */
  get(number) {
    const at = this.place(number)
    const flags = this.data.flags[at]
    return {
      t: this.data.t[at], event: this.data.event[at], price: this.data.price[at], qty: this.data.qty[at], id: this.data.id[at],
      sell: (flags & 1) === 1, market: (flags & 2) !== 0, missing: (flags & 4) !== 0,
    }
  }
}

/** States of queues, the newest of them, as they came. */
export class QueueHistory {
  /** @param {number} bytesMax */
  constructor(bytesMax) {
    this.bytesMax = bytesMax
    this.clear()
  }

  clear() {
    /** @type {(import('./decode.js').OrdersFrame & {t: number})[]} */
    this.frames = []
    this.bytes = 0
  }

  /** @param {import('./decode.js').OrdersFrame} frame @param {number} t */
  push(frame, t) {
    this.frames.push({ ...frame, t })
    this.bytes += weight(frame)
    while (this.frames.length > 1 && this.bytes > this.bytesMax) this.bytes -= weight(/** @type {any} */ (this.frames.shift()))
  }

  /** The last one that is not after a time. @param {number} t */
  at(t) {
    let low = 0
    let high = this.frames.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.frames[middle].t <= t) low = middle + 1
      else high = middle
    }
    return low ? this.frames[low - 1] : null
  }
}

/** @param {import('./decode.js').OrdersFrame} frame */
const weight = frame => 200 + 32 * (frame.bids.price.length + frame.asks.price.length)

/** @typedef {{from: number, to: number, reason: string}} Gap `to` is Infinity while it lasts */

/** Times of which nothing is known, in order. */
export class Gaps {
  constructor(most = 2000) {
    this.most = most
    /** @type {Gap[]} */
    this.list = []
  }

  clear() { this.list = [] }

  /** @param {number} from @param {number} to 0 or Infinity: it lasts @param {string} reason */
  add(from, to, reason) {
    const until = to || Infinity
    // The same gap again, with its end.
    const same = this.list.find(one => one.from === from || (one.to === Infinity && from >= one.from))
    if (same) {
      if (until !== Infinity || same.to === Infinity) same.to = until
      same.reason = reason || same.reason
      return
    }
    this.list.push({ from, to: until, reason })
    this.list.sort((a, b) => a.from - b.from)
    if (this.list.length > this.most) this.list.shift()
  }

  /** What lasts ends: there is data again. @param {number} t */
  close(t) {
    for (const one of this.list) if (one.to === Infinity) one.to = Math.max(t, one.from)
  }

  /** The gap that a time lies in. @param {number} t */
  at(t) {
    return this.list.find(one => one.from <= t && t < one.to) ?? null
  }

  /** @param {number} from @param {number} to */
  within(from, to) {
    return this.list.filter(one => one.from < to && one.to > from)
  }
}
