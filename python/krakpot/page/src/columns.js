// The picture of a book over time, as numbers: a ring of columns, each the book at the end of a short time, put into bins of prices.
//
// Bids are above zero, asks below. What draws it (heat.js, heat2d.js) is told of every row of the ring that changes.

/** Columns of the ring: more than any view shows, so that a small move needs nothing new. */
export const RING = 2048
/** Bins of prices: twice what a view shows. */
export const BINS = 1024
/** Nothing is known of this time. */
export const UNKNOWN = 3e38
/** Behind the deepest level: nobody knows what is there. */
export const BEYOND = 2e38
/** How much of the newest scale comes from the newest book. */
const SCALE_BLEND = 0.2

/**
 * What draws the ring.
 * @typedef {object} Renderer
 * @property {(row: number, values: Float32Array) => void} row one row of the ring changed
 * @property {(values: Float32Array) => void} all all rows changed
 * @property {(view: HeatView) => void} draw
 * @property {(width: number, height: number) => void} resize
 * @property {(palette: import('./look.js').Palette) => void} palette
 * @property {string} name
 * @property {boolean} hardware whether a graphics card draws
 * @property {(row: number) => Float32Array | null} read a row as the renderer holds it, for tests
 */
/**
 * @typedef {object} HeatView
 * @property {number} column number of the column at the left edge, with its fraction, from `first` of the ring
 * @property {number} columns how many columns are between the edges
 * @property {number} bin number of the bin at the lower edge, with its fraction
 * @property {number} bins how many bins are between the edges
 * @property {number} row of the ring, of column 0
 * @property {number} known columns from 0 on that are known
 * @property {number} scale quantity of a bin that is drawn at full strength
 */

export class Columns {
  /** @param {Renderer} renderer */
  constructor(renderer) {
    this.renderer = renderer
    this.values = new Float32Array(RING * BINS)
    this.bid = new Float64Array(RING)
    this.ask = new Float64Array(RING)
    this.imbalance = new Float64Array(RING)
    this.length = 50_000
    this.binTicks = 1
    this.base = 0
    this.scale = 0
    this._row = new Float32Array(BINS)
    this.reset()
  }

  reset() {
    /** Number of the first column that is there; columns are numbered by time. @type {number} */
    this.first = 0
    /** Number behind the last one. @type {number} */
    this.next = 0
    /** What draws knows the columns before this one. */
    this.dirty = 0
    /** The newest state. @type {import('./history.js').BookState | null} */
    this.held = null
  }

  /** The column that a time is in. @param {number} t */
  index(t) { return Math.floor(t / this.length) }

  /** @param {number} column */
  ring(column) { return ((column % RING) + RING) % RING }

  /** Whether a column is there. @param {number} column */
  has(column) { return column >= this.first && column < this.next }

  /**
   * Put a book into a row of bins.
   * @param {Float32Array} row @param {import('./history.js').BookState | null} state null: unknown
   */
  fill(row, state) {
    if (!state || !state.inSync) {
      row.fill(UNKNOWN)
      return
    }
    row.fill(0)
    const { base, binTicks } = this
    const { bids, asks } = state
    for (let i = 0; i < bids.ticks.length; i++) {
      const bin = Math.floor((bids.ticks[i] - base) / binTicks)
      if (bin < 0) break
      if (bin < BINS) row[bin] += bids.qty[i]
    }
    for (let i = 0; i < asks.ticks.length; i++) {
      const bin = Math.floor((asks.ticks[i] - base) / binTicks)
      if (bin >= BINS) break
      if (bin < 0) continue
      // A bin that holds the best of both sides shows the larger.
      if (row[bin] <= 0) row[bin] -= asks.qty[i]
      else if (asks.qty[i] > row[bin]) row[bin] = -asks.qty[i]
    }
    // A side with fewer levels than were asked for is whole: there is nothing behind it.
    if (bids.ticks.length >= state.depth) {
      const end = Math.floor((bids.ticks[bids.ticks.length - 1] - base) / binTicks)
      if (end > 0) row.fill(BEYOND, 0, Math.min(end, BINS))
    }
    if (asks.ticks.length >= state.depth) {
      const end = Math.floor((asks.ticks[asks.ticks.length - 1] - base) / binTicks)
      if (end < BINS - 1) row.fill(BEYOND, Math.max(end + 1, 0))
    }
  }

  /** @param {number} column @param {Float32Array} row @param {import('./history.js').BookState | null} state */
  _put(column, row, state) {
    const at = this.ring(column)
    this.values.set(row, at * BINS)
    const known = state !== null && state.inSync
    this.bid[at] = known && state.bids.ticks.length ? state.bids.ticks[0] : NaN
    this.ask[at] = known && state.asks.ticks.length ? state.asks.ticks[0] : NaN
    this.imbalance[at] = known ? imbalance(state) : NaN
  }

  /**
   * All columns anew: of another time, length or range of prices.
   * @param {import('./history.js').BookHistory} history @param {import('./history.js').Gaps} gaps
   * @param {{length: number, binTicks: number, base: number, end: number, carry: number}} view
   *   `end`: the last time that matters; `carry`: how long the newest state holds
   */
  rebuild(history, gaps, view) {
    this.length = view.length
    this.binTicks = view.binTicks
    this.base = view.base
    const last = this.index(view.end)
    this.first = Math.max(last - RING + 1, Number.isFinite(history.begin) ? this.index(history.begin) : last + 1)
    this.next = this.first
    this.held = null
    if (last >= this.first) {
      history.walk(this.first * this.length, view.end, this.length, state => {
        if (this.held) this._hold(this.held, this.index(state.t), gaps, state.continued ? Infinity : this.held.t)
        else if (this.index(state.t) > this.first) this.first = this.next = this.index(state.t)
        this.held = state
      })
      if (this.held) this._hold(this.held, Math.min(last, this.index(view.carry)) + 1, gaps, Infinity)
      this._measure(this.held)
      if (!history.last || this.held?.t !== history.last.t) this.held = null
    }
    this.dirty = this.next
    this.renderer.all(this.values)
  }

  /**
   * A state holds until the next one, and not in gaps.
   * @param {import('./history.js').BookState} state @param {number} until column behind @param {import('./history.js').Gaps} gaps
   * @param {number} end when it is known to end
   */
  _hold(state, until, gaps, end) {
    if (until <= this.next) return
    this.fill(this._row, state)
    const gone = gaps.list.length ? gaps.within(this.next * this.length, until * this.length) : []
    // Only what fits into the ring is written.
    this.next = Math.max(this.next, until - RING)
    this.dirty = Math.min(this.dirty, this.next)
    for (; this.next < until; this.next++) {
      const begin = this.next * this.length
      const known = begin <= end && !gone.some(one => one.from <= begin && one.to >= begin + this.length)
      if (known) this._put(this.next, this._row, state)
      else this._put(this.next, UNKNOWN_ROW, null)
    }
    this.first = Math.max(this.first, this.next - RING)
  }

  /**
   * A new state, behind all others.
   * @param {import('./history.js').BookState} state @param {import('./history.js').Gaps} gaps
   */
  push(state, gaps) {
    const column = this.index(state.t)
    const drawn = this.next
    if (!this.held || drawn <= this.first) {
      this.first = this.next = column
    } else if (state.continued) {
      this._hold(this.held, column, gaps, Infinity)
      this.next = Math.min(this.next, Math.max(column, this.first))
    } else {
      this.next = Math.min(this.next, Math.max(this.index(this.held.t) + 1, this.first))
      this._hold(this.held, column, gaps, this.held.t)
      this.next = Math.min(this.next, Math.max(column, this.first))
    }
    this.dirty = Math.min(this.dirty, this.next)
    this.held = state
    this._hold(state, Math.max(column + 1, drawn), gaps, Infinity)
  }

  /** The newest state holds until now. @param {number} now @param {import('./history.js').Gaps} gaps */
  advance(now, gaps) {
    if (this.held) this._hold(this.held, this.index(now) + 1, gaps, Infinity)
  }

  /** Tell what draws of the columns that changed. */
  flush() {
    if (this.dirty >= this.next) return
    if (this.next - this.dirty > RING / 4) {
      this.renderer.all(this.values)
    } else {
      for (let column = Math.max(this.dirty, this.first); column < this.next; column++) {
        const at = this.ring(column)
        this.renderer.row(at, this.values.subarray(at * BINS, (at + 1) * BINS))
      }
    }
    this.dirty = this.next
  }

  /** How strong the newest book is. @param {import('./history.js').BookState | null} state */
  _measure(state) {
    if (!state || !state.inSync) return
    this.fill(this._row, state)
    this.rescale()
  }

  /** Move the scale to that of the row that was filled last. */
  rescale() {
    const found = []
    for (const value of this._row) if (value !== 0 && value < 1e38) found.push(Math.abs(value))
    if (!found.length) return
    found.sort((a, b) => a - b)
    const top = found[Math.floor((found.length - 1) * 0.97)]
    this.scale = this.scale ? this.scale + (top - this.scale) * SCALE_BLEND : top
  }
}

const UNKNOWN_ROW = new Float32Array(BINS).fill(UNKNOWN)

/**
 * Imbalance of the best five levels: −1 asks only, 1 bids only.
 * @param {{bids: import('./history.js').Side, asks: import('./history.js').Side}} state @returns {number}
 */
export function imbalance(state) {
  let bids = 0
  let asks = 0
  for (let i = 0; i < Math.min(5, state.bids.qty.length); i++) bids += state.bids.qty[i]
  for (let i = 0; i < Math.min(5, state.asks.qty.length); i++) asks += state.asks.qty[i]
  return bids + asks ? (bids - asks) / (bids + asks) : NaN
}
