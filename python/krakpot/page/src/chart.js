// The market over time in one view: depth as a heat map, touch, candles, trades, spread, imbalance and gaps, all on one axis of time.
//
// The right edge is the instant that is shown: now, or an earlier one. All that the page shows beside it is of that instant.

import { BINS, Columns, RING, UNKNOWN } from './columns.js'
import { clock, day, fixed, nice, short, STEPS } from './format.js'
import { HeatGL } from './heat.js'
import { Heat2D } from './heat2d.js'

/** Pixels behind the newest column. */
const PAD = 28
/** Columns that a view shows at most. */
const COLUMNS = 900
/** Lengths of time that a view can show, microseconds. */
export const SPAN_MIN = 2e6
export const SPAN_MAX = 6 * 3600e6
/** What a view shows unless it was zoomed: the least that holds all that is remembered, at most the last. */
const SPANS = [15e6, 30e6, 60e6]
/** Trades that are drawn one by one; of more, the largest of each group. */
const TRADES_DRAWN = 1500
/** Levels of a side that a view shows unless it was zoomed. */
const LEVELS_SHOWN = 60
/** Gap reasons are written where there is room for them, pixels. */
const ROOM = 90

/** As a cell holds it. */
const UNKNOWN_CELL = Math.fround(UNKNOWN)

const FONT = '11px ui-sans-serif, system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif'

export class Chart {
  /**
   * @param {HTMLElement} host
   * @param {import('./market.js').Market} market
   * @param {{plain?: boolean}} [options] `plain`: draw without WebGL2
   */
  constructor(host, market, options = {}) {
    this.host = host
    this.market = market
    this.canvas = document.createElement('canvas')
    this.canvas.className = 'heat'
    this.canvas.setAttribute('aria-hidden', 'true')
    this.over = document.createElement('canvas')
    this.over.className = 'over'
    host.append(this.canvas, this.over)
    const again = () => { this.stale = true }
    /** @type {import('./columns.js').Renderer | null} */
    let renderer = options.plain ? null : HeatGL.make(this.canvas, again)
    if (!renderer) {
      // A canvas that failed to give one context may give no other.
      const plain = document.createElement('canvas')
      plain.className = 'heat'
      plain.setAttribute('aria-hidden', 'true')
      this.canvas.replaceWith(plain)
      this.canvas = plain
      renderer = Heat2D.make(plain)
    }
    if (!renderer) throw new Error('This browser has no canvas to draw on.')
    this.renderer = renderer
    // A processor that plays the graphics card draws lines faster itself: four times the frames were seen.
    this.context = /** @type {CanvasRenderingContext2D} */ (this.over.getContext('2d', { willReadFrequently: !renderer.hardware }))
    this.columns = new Columns(renderer)
    this.span = SPANS[0]
    this.autoSpan = true
    /** The instant that is shown, microseconds; null: now. @type {number | null} */
    this.end = null
    this.centre = NaN
    this.height = NaN
    this.autoCentre = true
    this.autoHeight = true
    this.show = { trades: true, candles: false, touch: true }
    /** All columns have to be made anew. */
    this.stale = true
    /** @type {{x: number, y: number} | null} */
    this.pointer = null
    /** @type {import('./look.js').Palette} */
    this.palette = /** @type {any} */ (null)
    /** Called when the person moved the view. */
    this.onMove = () => {}
    this.epoch = -1
    this.drawn = { at: 0, key: '' }
    /** How often the columns were made anew, for tests. */
    this.rebuilds = 0
    market.onState = state => {
      // A picture of an earlier time does not follow.
      if (this.columns.held && !this.stale && market.epoch === this.epoch) this.columns.push(state, market.gaps)
      else if (!this.columns.held && this.end === null) this.stale = true
      this.changed = true
    }
    market.onChange = () => { this.stale = true }
    this.changed = true
    this._listen()
    new ResizeObserver(() => this._size()).observe(host)
    this._size()
  }

  /** @param {import('./look.js').Palette} palette */
  look(palette) {
    this.palette = palette
    this.renderer.palette(palette)
    this.hatch = hatch(this.context, palette.hatch)
    this.changed = true
  }

  _size() {
    const { clientWidth: w, clientHeight: h } = this.host
    const ratio = Math.min(window.devicePixelRatio || 1, 2)
    const narrow = w < 560
    this.strip = h < 380 ? 26 : 36
    this.axis = narrow ? 62 : 78
    this.box = { w, h, ratio, x: Math.max(w - this.axis, 10), y: Math.max(h - 22 - 2 * (this.strip + 4), 10) }
    this.over.width = Math.round(w * ratio)
    this.over.height = Math.round(h * ratio)
    this.canvas.style.width = `${this.box.x}px`
    this.canvas.style.height = `${this.box.y}px`
    this.renderer.resize(Math.round(this.box.x * ratio), Math.round(this.box.y * ratio))
    this.changed = true
  }

  /** The instant that is shown. */
  get now() { return this.end ?? this.market.now() }

  /** Microseconds of a pixel. */
  get perPixel() { return this.span / Math.max(this.box.x - PAD, 1) }

  /** @param {number} t */
  x(t) { return this.box.x - PAD - (this.now - t) / this.perPixel }

  /** @param {number} x */
  time(x) { return this.now - (this.box.x - PAD - x) * this.perPixel }

  /** @param {number} ticks */
  y(ticks) { return this.box.y / 2 - ((ticks - this.centre) / this.height) * this.box.y }

  /** @param {number} y */
  ticks(y) { return this.centre + (0.5 - y / this.box.y) * this.height }

  // Moving.

  /** Show another instant; null: follow the newest. @param {number | null} t */
  goTo(t) {
    if (t === null) {
      this.end = null
    } else {
      const begin = this.market.book.begin
      const newest = this.market.now()
      this.end = t >= newest ? newest : Number.isFinite(begin) ? Math.max(t, begin) : t
    }
    this.changed = true
    this.onMove()
  }

  /** @param {number} us */
  moveBy(us) {
    const newest = this.market.now()
    const t = this.now + us
    this.goTo(t >= newest && this.end !== null && us > 0 ? null : t)
  }

  /** @param {number} factor above 1: more time */
  zoomTime(factor) {
    this.autoSpan = false
    this.span = Math.min(SPAN_MAX, Math.max(SPAN_MIN, this.span * factor))
    this.changed = true
    this.onMove()
  }

  /** @param {number} factor above 1: more prices */
  zoomPrice(factor) {
    if (!Number.isFinite(this.height)) return
    this.autoHeight = false
    this.height = Math.min(Math.max(this.height * factor, 8), 1e12)
    this.changed = true
  }

  /** @param {number} share of the height */
  movePrice(share) {
    this.autoCentre = false
    this.centre += this.height * share
    this.changed = true
  }

  resetView() {
    this.autoSpan = true
    this.autoCentre = this.autoHeight = true
    this.height = NaN
    this.centre = NaN
    this.changed = true
    this.onMove()
  }

  _listen() {
    const { over } = this
    /** @type {Map<number, {x: number, y: number}>} */
    const fingers = new Map()
    let moved = 0
    over.addEventListener('pointerdown', event => {
      over.setPointerCapture(event.pointerId)
      fingers.set(event.pointerId, { x: event.offsetX, y: event.offsetY })
      moved = 0
    })
    over.addEventListener('pointermove', event => {
      const before = fingers.get(event.pointerId)
      const here = { x: event.offsetX, y: event.offsetY }
      this.pointer = event.pointerType === 'touch' && fingers.size ? null : here
      this.changed = true
      if (!before) return
      if (fingers.size === 2) {
        const other = /** @type {{x: number, y: number}} */ ([...fingers].find(([id]) => id !== event.pointerId)?.[1])
        const old = Math.hypot(before.x - other.x, before.y - other.y)
        const now = Math.hypot(here.x - other.x, here.y - other.y)
        if (old > 10 && now > 10) this.zoomTime(old / now)
      } else if (before.x > this.box.x) {
        this.zoomPrice(Math.exp((here.y - before.y) / 150))
      } else {
        moved += Math.abs(here.x - before.x) + Math.abs(here.y - before.y)
        if (moved > 4) {
          if (here.x !== before.x) this.moveBy((before.x - here.x) * this.perPixel)
          // Up and down only on purpose: a swipe to the side is rarely level.
          if (Math.abs(here.y - before.y) > Math.abs(here.x - before.x)) this.movePrice((here.y - before.y) / this.box.y)
        }
      }
      fingers.set(event.pointerId, here)
    })
    const up = (/** @type {PointerEvent} */ event) => fingers.delete(event.pointerId)
    over.addEventListener('pointerup', up)
    over.addEventListener('pointercancel', up)
    over.addEventListener('pointerleave', () => {
      this.pointer = null
      this.changed = true
    })
    over.addEventListener('wheel', event => {
      event.preventDefault()
      const amount = Math.exp(Math.max(-100, Math.min(100, event.deltaY)) / 300)
      if (event.shiftKey && event.deltaX) this.moveBy(event.deltaX * this.perPixel)
      else if (event.shiftKey || event.offsetX > this.box.x) this.zoomPrice(amount)
      else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) this.moveBy(event.deltaX * this.perPixel)
      else this.zoomTime(amount)
    }, { passive: false })
    over.addEventListener('dblclick', () => this.resetView())
  }

  // Drawing.

  /** @param {import('./history.js').BookState | null} state @param {number} seconds since the frame before */
  _follow(state, seconds) {
    if (!state || !state.inSync || !state.bids.ticks.length || !state.asks.ticks.length) return
    const { bids, asks } = state
    const middle = (bids.ticks[0] + asks.ticks[0]) / 2
    if (!Number.isFinite(this.height) || (this.autoHeight && this._levels !== Math.min(bids.ticks.length, asks.ticks.length))) {
      this._levels = Math.min(bids.ticks.length, asks.ticks.length)
      const low = bids.ticks[Math.min(bids.ticks.length, LEVELS_SHOWN) - 1]
      const high = asks.ticks[Math.min(asks.ticks.length, LEVELS_SHOWN) - 1]
      this.height = Math.max(20, (high - low) * 1.15, (asks.ticks[0] - bids.ticks[0]) * 4)
    }
    if (!Number.isFinite(this.centre) || (this.autoCentre && Math.abs(middle - this.centre) > this.height * 0.6)) {
      this.centre = middle
      this.moving = false
    } else if (this.autoCentre) {
      const away = Math.abs(middle - this.centre) / this.height
      if (away > 0.15) this.moving = true
      if (away < 0.01) this.moving = false
      if (this.moving) this.centre += (middle - this.centre) * Math.min(1, seconds * 3)
    }
  }

  /** Make the columns fit what is to be seen. @param {number} left @param {number} now */
  _columns(left, now) {
    const { columns, market } = this
    const length = STEPS.find(one => one * COLUMNS >= this.span * 1.05 && one >= 10e3) ?? nice((this.span * 1.05) / COLUMNS)
    const binTicks = Math.max(1, nice((2 * this.height) / BINS))
    const low = this.centre - this.height / 2
    const high = this.centre + this.height / 2
    const outside = low < columns.base || high > columns.base + BINS * binTicks
    const first = Math.max(left, market.book.begin)
    const before = columns.index(first) < columns.first
    const behind = !columns.held && columns.index(Math.min(now, market.book.end)) >= columns.next
    if (this.stale || market.epoch !== this.epoch || length !== columns.length || binTicks !== columns.binTicks || outside || before || behind) {
      const base = outside || binTicks !== columns.binTicks || this.stale
        ? (Math.floor(this.centre / binTicks) - BINS / 2) * binTicks : columns.base
      const newest = market.held()
      const end = this.end === null ? market.now() : Math.min(market.now(), now + (RING - COLUMNS * 1.2) * length)
      columns.rebuild(market.book, market.gaps, { length, binTicks, base, end, carry: newest })
      this.stale = false
      this.epoch = market.epoch
      this.rebuilds++
    } else {
      columns.advance(market.held(), market.gaps)
    }
    columns.flush()
  }

  /**
   * Draw one frame.
   * @param {number} at milliseconds
   * @param {import('./history.js').BookState | null} state the book of the instant that is shown
   * @returns {boolean} whether something was drawn
   */
  draw(at, state) {
    const now = this.now
    if (this.autoSpan) this.span = SPANS.find(one => one * 1.1 >= this.market.now() - this.market.book.begin) ?? SPANS[SPANS.length - 1]
    // Half a pixel is the least that can be seen.
    const key = `${Math.round((2 * now) / this.perPixel)}|${this.span}|${this.market.trades.n}`
    if (!this.changed && !this.stale && key === this.drawn.key) return false
    const seconds = Math.min((at - this.drawn.at) / 1000, 0.25)
    this.drawn = { at, key }
    this.changed = false
    const { columns, box } = this
    this._follow(state, seconds)
    if (this.moving) this.changed = true
    const left = now - (box.x - PAD) * this.perPixel
    if (Number.isFinite(this.centre) && Number.isFinite(now)) {
      this._columns(left, now)
      if (state && at - (this._scaled ?? 0) > 300) {
        this._scaled = at
        columns.fill(columns._row, state)
        if (state.inSync) columns.rescale()
      }
      this.renderer.draw({
        column: left / columns.length - columns.first,
        columns: (box.x * this.perPixel) / columns.length,
        bin: (this.centre - this.height / 2 + 0.5 - columns.base) / columns.binTicks,
        bins: this.height / columns.binTicks,
        row: columns.ring(columns.first),
        known: Math.max(0, Math.min(columns.next, columns.index(now) + 1) - columns.first),
        scale: columns.scale,
      })
    } else {
      this.renderer.draw({ column: 0, columns: 1, bin: 0, bins: 1, row: 0, known: 0, scale: 1 })
    }
    this._over(left, now, state)
    return true
  }

  /** @param {number} left @param {number} now @param {import('./history.js').BookState | null} state */
  _over(left, now, state) {
    const { context: c, box, palette, market } = this
    c.setTransform(box.ratio, 0, 0, box.ratio, 0, 0)
    c.clearRect(0, 0, box.w, box.h)
    c.font = FONT
    c.textBaseline = 'middle'
    // Below and beside the plot nothing shows through.
    c.fillStyle = palette.ground
    c.fillRect(0, box.y, box.w, box.h - box.y)
    c.fillRect(box.x, 0, box.w - box.x, box.y)
    if (!Number.isFinite(now)) return
    const right = this.time(box.x)
    this._axes(left, right, now, state)
    c.save()
    c.beginPath()
    c.rect(0, 0, box.x, box.h - 20)
    c.clip()
    this._strips(left)
    this._gaps(left, Math.min(now, right), now)
    this._label('spread', 6, box.y + 12)
    this._label('imbalance of 5 levels', 6, box.y + this.strip + 16)
    c.beginPath()
    c.rect(0, 0, box.x, box.y)
    c.clip()
    this._unremembered(left)
    if (this.show.candles) this._candles(left, now)
    if (this.show.touch && !this.show.candles) this._touch(left)
    if (this.show.trades) this._trades(left, now)
    c.restore()
    this._tags(state)
    if (this.end !== null) {
      c.strokeStyle = palette.mark
      c.setLineDash([3, 3])
      c.beginPath()
      c.moveTo(this.x(now) + 0.5, 0)
      c.lineTo(this.x(now) + 0.5, box.h - 20)
      c.stroke()
      c.setLineDash([])
    }
    if (this.pointer && market.pair) this._cross(this.pointer)
  }

  /** @param {number} left @param {number} right @param {number} now @param {import('./history.js').BookState | null} state */
  _axes(left, right, now, state) {
    const { context: c, box, palette, market } = this
    const scale = market.book.scale
    const decimals = market.pair?.pricePrecision ?? 0
    c.lineWidth = 1
    c.strokeStyle = palette.grid
    c.fillStyle = palette.dim
    const step = Math.max(1, nice((this.height * 46) / box.y))
    c.textAlign = 'left'
    const low = this.centre - this.height / 2
    const tags = this._touchTags(state)
    c.beginPath()
    for (let tick = Math.ceil(low / step) * step; tick <= low + this.height; tick += step) {
      const y = Math.round(this.y(tick)) + 0.5
      c.moveTo(0, y)
      c.lineTo(box.x, y)
      if (y > 6 && y < box.y - 6 && !tags.some(tag => Math.abs(tag.y - y) < 15)) c.fillText(fixed(tick / scale, decimals), box.x + 7, y)
    }
    const wide = STEPS.find(one => one / this.perPixel >= 90) ?? STEPS[STEPS.length - 1] * Math.ceil((90 * this.perPixel) / STEPS[STEPS.length - 1])
    c.textAlign = 'center'
    for (let t = Math.ceil(left / wide) * wide; t < right; t += wide) {
      const x = Math.round(this.x(t)) + 0.5
      c.moveTo(x, 0)
      c.lineTo(x, box.h - 20)
      const half = 32
      if (x > half && x < box.x - half + 20) c.fillText(clock(t, wide < 1e6 ? 3 : 0), x, box.h - 9)
    }
    c.stroke()
    c.textAlign = 'left'
    c.fillText(day(now).slice(this.axis < 70 ? 5 : 0), box.x + 7, box.h - 9)
  }

  /** @param {number} left */
  _unremembered(left) {
    const { context: c, palette, market, box } = this
    const begin = market.book.begin
    const x = Number.isFinite(begin) ? this.x(begin) : 0
    if (x < 230 || left >= begin) return
    c.fillStyle = palette.dim
    c.textAlign = 'center'
    const words = market.book.evicted ? 'older than this page remembers' : `seen from ${clock(begin, 0)} UTC on`
    c.fillText(words, Math.min(x, box.x) / 2, box.y / 2)
    c.textAlign = 'left'
  }

  /** @param {number} left @param {number} right @param {number} now */
  _gaps(left, right, now) {
    const { context: c, box, palette, market, columns } = this
    const hatch = (/** @type {number} */ from, /** @type {number} */ to, /** @type {number} */ least) => {
      for (const [style, wide] of /** @type {[string | CanvasPattern, number][]} */ ([[palette.ground, least / 2], [this.hatch, least]])) {
        c.fillStyle = style
        c.fillRect(from, 0, Math.max(to - from, wide), box.h - 20)
      }
    }
    // What was not watched, and columns of gaps.
    let begun = NaN
    let end = NaN
    const wide = Math.max(1, columns.length / this.perPixel)
    this._each(left, (x, at) => {
      const unknown = columns.values[at * BINS] === UNKNOWN_CELL
      if (begun === begun && !(unknown && x <= end + 1)) {
        hatch(begun, end, 0)
        begun = NaN
      }
      if (!unknown) return
      if (begun !== begun) begun = x
      end = x + wide
    })
    if (begun === begun) hatch(begun, Math.min(end, box.x), 0)
    for (const gap of market.gaps.within(left, right)) {
      const from = Math.max(this.x(gap.from), 0)
      const to = Math.min(gap.to === Infinity ? this.x(now) : this.x(Math.min(gap.to, now)), box.x)
      if (to <= from) continue
      hatch(from, to, 2)
      if (to - from > ROOM) {
        c.textAlign = 'center'
        const words = gap.reason || 'gap'
        const wide = Math.min(c.measureText(words).width, to - from - 8)
        c.fillStyle = palette.ground
        c.fillRect((from + to - wide) / 2 - 5, box.y / 2 - 10, wide + 10, 20)
        c.fillStyle = palette.text
        c.fillText(words, (from + to) / 2, box.y / 2, to - from - 8)
        c.textAlign = 'left'
      }
    }
  }

  /** Columns between the edges of the plot, pixel by pixel. @param {number} left @param {(x: number, at: number) => void} visit */
  _each(left, visit) {
    const { columns, box } = this
    const end = Math.min(columns.next, columns.index(this.now) + 1)
    // A step of a pixel, or of a column where those are wider.
    const step = Math.max(1, columns.length / this.perPixel)
    let column = Math.max(columns.first, columns.index(left))
    if (step > 1) {
      for (; column < end; column++) visit(this.x(column * columns.length), columns.ring(column))
    } else {
      for (let x = Math.max(0, Math.floor(this.x(column * columns.length))); x < box.x; x++) {
        column = columns.index(left + x * this.perPixel)
        if (column >= end) break
        if (column >= columns.first) visit(x, columns.ring(column))
      }
    }
  }

  /** @param {number} left */
  _touch(left) {
    const { context: c, columns, palette } = this
    for (const [values, colour] of /** @type {[Float64Array, string][]} */ ([[columns.bid, palette.bid], [columns.ask, palette.ask]])) {
      c.beginPath()
      let last = NaN
      let end = NaN
      this._each(left, (x, at) => {
        const value = values[at]
        if (value !== value) {
          if (last === last) c.lineTo(x, this.y(last))
        } else if (last !== last) {
          c.moveTo(x, this.y(value))
        } else if (value !== last) {
          c.lineTo(x, this.y(last))
          c.lineTo(x, this.y(value))
        }
        last = value
        end = x
      })
      if (last === last) c.lineTo(Math.min(this.x(this.now), end + Math.max(1, columns.length / this.perPixel)), this.y(last))
      c.lineJoin = 'round'
      c.strokeStyle = palette.ground
      c.lineWidth = 3.5
      c.globalAlpha = 0.55
      c.stroke()
      c.globalAlpha = 1
      c.strokeStyle = colour
      c.lineWidth = 1.5
      c.stroke()
    }
    c.lineWidth = 1
  }

  /** @param {number} left @param {number} now */
  _trades(left, now) {
    const { context: c, palette, market, box } = this
    const { trades } = market
    const first = trades.after(left)
    const end = trades.after(now)
    const group = Math.max(1, Math.ceil((end - first) / TRADES_DRAWN))
    if (end <= first) return
    // Sizes are relative to the larger ones in view.
    const sample = []
    for (let i = first, step = Math.max(1, Math.floor((end - first) / 200)); i < end; i += step) sample.push(trades.data.qty[trades.place(i)])
    sample.sort((a, b) => a - b)
    const large = sample[Math.floor((sample.length - 1) * 0.95)] || 1
    const most = Math.max(4, Math.min(13, box.y / 36, box.x / 45))
    c.strokeStyle = palette.ground
    c.lineWidth = 1
    for (const sell of [false, true]) {
      c.fillStyle = sell ? palette.ask : palette.bid
      c.globalAlpha = 0.75
      for (let i = first; i < end; i += group) {
        let best = i
        for (let j = i + 1; j < Math.min(i + group, end); j++) {
          if (trades.data.qty[trades.place(j)] > trades.data.qty[trades.place(best)]) best = j
        }
        const at = trades.place(best)
        if (((trades.data.flags[at] & 1) === 1) !== sell) continue
        const y = this.y(Math.round(trades.data.price[at] * market.book.scale))
        if (y < -20 || y > box.y + 20) continue
        const radius = Math.min(most, Math.max(1.4, (most / 2) * Math.sqrt(trades.data.qty[at] / large)))
        c.beginPath()
        c.arc(this.x(trades.data.t[at]), y, radius, 0, 2 * Math.PI)
        c.fill()
        c.stroke()
      }
    }
    c.globalAlpha = 1
  }

  /** @param {number} left @param {number} now */
  _candles(left, now) {
    const { context: c, palette, market } = this
    const { trades } = market
    const wide = STEPS.find(one => one >= 1e6 && one / this.perPixel >= 9) ?? 86400e6
    this.candle = wide
    let slot = NaN
    let open = 0
    let high = 0
    let low = 0
    let close = 0
    const scale = market.book.scale
    const put = () => {
      if (slot !== slot) return
      const x = this.x(slot * wide)
      const width = wide / this.perPixel
      const up = close >= open
      c.strokeStyle = c.fillStyle = up ? palette.bid : palette.ask
      const middle = Math.round(x + width / 2) + 0.5
      c.beginPath()
      c.moveTo(middle, this.y(high * scale))
      c.lineTo(middle, this.y(low * scale))
      c.stroke()
      const top = this.y(Math.max(open, close) * scale)
      const tall = Math.max(1.5, this.y(Math.min(open, close) * scale) - top)
      c.globalAlpha = 0.65
      c.fillRect(x + 1.5, top, Math.max(1, width - 3), tall)
      c.globalAlpha = 1
      c.strokeStyle = palette.ground
      c.strokeRect(x + 1.5, top, Math.max(1, width - 3), tall)
    }
    const end = trades.after(now)
    for (let i = trades.after(Math.floor(left / wide) * wide - 1); i < end; i++) {
      const at = trades.place(i)
      const price = trades.data.price[at]
      const here = Math.floor(trades.data.t[at] / wide)
      if (here !== slot) {
        put()
        slot = here
        open = high = low = price
      }
      high = Math.max(high, price)
      low = Math.min(low, price)
      close = price
    }
    put()
  }

  /** @param {number} left */
  _strips(left) {
    const { context: c, columns, palette, market, box } = this
    const tall = this.strip
    const top = box.y + 4
    const scale = market.book.scale
    let most = 0
    this._each(left, (_, at) => { most = Math.max(most, columns.ask[at] - columns.bid[at] || 0) })
    const width = Math.max(1, columns.length / this.perPixel)
    c.fillStyle = palette.dim
    c.globalAlpha = 0.55
    this._each(left, (x, at) => {
      const spread = columns.ask[at] - columns.bid[at]
      if (spread > 0) {
        const h = Math.max(1, (spread / most) * (tall - 3))
        c.fillRect(x, top + tall - h, width + 0.3, h)
      }
    })
    const middle = top + tall + 4 + tall / 2
    c.globalAlpha = 0.85
    for (const [way, colour] of /** @type {[number, string][]} */ ([[1, palette.bid], [-1, palette.ask]])) {
      c.fillStyle = colour
      this._each(left, (x, at) => {
        const h = columns.imbalance[at] * way * (tall / 2 - 1)
        if (h > 0) c.fillRect(x, way > 0 ? middle - h : middle, width + 0.3, h)
      })
    }
    c.globalAlpha = 1
    c.strokeStyle = palette.grid
    c.beginPath()
    for (const y of [top - 2.5, top + tall + 1.5, middle, middle + tall / 2 + 2]) {
      c.moveTo(0, Math.round(y) + 0.5)
      c.lineTo(box.x, Math.round(y) + 0.5)
    }
    c.stroke()
    const quote = market.pair?.symbol.split('/')[1] ?? ''
    this._side = { spread: most > 0 ? `${fixed(most / scale, market.pair?.pricePrecision ?? 0)} ${quote}` : '', top, middle, tall }
  }

  /** Words that can be read over anything. @param {string} words @param {number} x @param {number} y */
  _label(words, x, y) {
    const { context: c, palette } = this
    c.globalAlpha = 0.8
    c.fillStyle = palette.ground
    c.fillRect(x - 4, y - 7, c.measureText(words).width + 8, 14)
    c.globalAlpha = 1
    c.fillStyle = palette.dim
    c.fillText(words, x, y)
  }

  /** The touch on the axis, and the scales of the strips. @param {import('./history.js').BookState | null} state */
  _tags(state) {
    const { context: c, palette, box } = this
    c.textAlign = 'left'
    if (this._side) {
      c.fillStyle = palette.dim
      c.fillText(this._side.spread, box.x + 7, this._side.top + 8, this.axis - 8)
      c.fillText('+1', box.x + 7, this._side.middle - this._side.tall / 2 + 7)
      c.fillText('−1', box.x + 7, this._side.middle + this._side.tall / 2 - 6)
    }
    for (const { y, colour, words } of this._touchTags(state)) {
      c.fillStyle = colour
      c.beginPath()
      c.roundRect(box.x + 2, y - 8, this.axis - 4, 16, 3)
      c.fill()
      c.fillStyle = palette.dark ? '#0b0f14' : '#ffffff'
      c.fillText(words, box.x + 7, y + 0.5, this.axis - 12)
    }
  }

  /** Best bid and ask on the axis, one beside the other where they are close. @param {import('./history.js').BookState | null} state */
  _touchTags(state) {
    if (!state?.inSync) return []
    const { palette, market, box } = this
    const tags = [[state.bids.ticks[0], palette.bid], [state.asks.ticks[0], palette.ask]].flatMap(([tick, colour]) =>
      (tick === undefined ? [] : [{ y: this.y(Number(tick)), colour: String(colour), words: fixed(Number(tick) / market.book.scale, market.pair?.pricePrecision ?? 0) }]))
    if (tags.length === 2 && tags[0].y - tags[1].y < 17) {
      const middle = (tags[0].y + tags[1].y) / 2
      tags[0].y = middle + 8.5
      tags[1].y = middle - 8.5
    }
    return tags.filter(({ y }) => y >= 0 && y <= box.y)
  }

  /** @param {{x: number, y: number}} pointer */
  _cross({ x, y }) {
    const { context: c, palette, box } = this
    if (x > box.x || y > box.h - 20) return
    c.strokeStyle = palette.dim
    c.globalAlpha = 0.7
    c.beginPath()
    c.moveTo(Math.round(x) + 0.5, 0)
    c.lineTo(Math.round(x) + 0.5, box.h - 20)
    if (y < box.y) {
      c.moveTo(0, Math.round(y) + 0.5)
      c.lineTo(box.x, Math.round(y) + 0.5)
    }
    c.stroke()
    c.globalAlpha = 1
    const read = this.readout(x, y)
    if (!read) return
    const wide = Math.max(...read.map(one => c.measureText(one).width)) + 16
    const tall = read.length * 16 + 8
    const left = x + 14 + wide > box.x ? x - 14 - wide : x + 14
    const top = Math.min(Math.max(y - tall - 10, 4), box.y - tall - 4)
    c.fillStyle = palette.ground
    c.globalAlpha = 0.92
    c.beginPath()
    c.roundRect(left, top, wide, tall, 4)
    c.fill()
    c.globalAlpha = 1
    c.strokeStyle = palette.grid
    c.stroke()
    c.textAlign = 'left'
    read.forEach((one, i) => {
      c.fillStyle = i ? palette.text : palette.dim
      c.fillText(one, left + 8, top + 12 + i * 16)
    })
  }

  /** What is at a place, in words. @param {number} x @param {number} y @returns {string[] | null} */
  readout(x, y) {
    const { columns, market } = this
    const t = this.time(x)
    if (t > this.now) return null
    const decimals = market.pair?.pricePrecision ?? 0
    const base = market.pair?.symbol.split('/')[0] ?? ''
    const out = [`${clock(t)} UTC`]
    const column = columns.index(t)
    const gap = market.gaps.at(t)
    if (gap) return [...out, gap.reason || 'gap']
    if (!columns.has(column)) return [...out, 'not remembered']
    const at = columns.ring(column)
    if (y < this.box.y) {
      const tick = Math.round(this.ticks(y))
      const bin = Math.floor((tick - columns.base) / columns.binTicks)
      const value = bin >= 0 && bin < BINS ? columns.values[at * BINS + bin] : 2e38
      const low = columns.base + bin * columns.binTicks
      const price = (/** @type {number} */ n) => fixed(n / market.book.scale, decimals)
      out.push(columns.binTicks === 1 ? price(tick) : `${price(low)} – ${price(low + columns.binTicks - 1)}`)
      out.push(value > 2.5e38 ? 'book out of sync' : value > 1e38 ? 'deeper than this depth'
        : value === 0 ? 'no orders' : `${value > 0 ? 'bids' : 'asks'} ${short(Math.abs(value))} ${base}`)
    } else if (columns.bid[at] === columns.bid[at]) {
      out.push(`spread ${fixed((columns.ask[at] - columns.bid[at]) / market.book.scale, decimals)}`)
      out.push(`imbalance ${fixed(columns.imbalance[at], 2)}`)
    }
    return out
  }
}

/** @param {CanvasRenderingContext2D} context @param {string} colour */
function hatch(context, colour) {
  const tile = document.createElement('canvas')
  tile.width = tile.height = 8
  const c = /** @type {CanvasRenderingContext2D} */ (tile.getContext('2d'))
  c.strokeStyle = colour
  c.lineWidth = 1.2
  c.beginPath()
  for (const x of [-8, 0, 8]) {
    c.moveTo(x, 8)
    c.lineTo(x + 8, 0)
  }
  c.stroke()
  return context.createPattern(tile, 'repeat')
}
