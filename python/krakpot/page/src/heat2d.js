// Draws the ring of columns without WebGL2: an image of it in memory, stretched onto the canvas.

import { BINS, RING } from './columns.js'
import { between, strength } from './look.js'

/** Colours of rising strength that are made once. */
const SHADES = 256

/** @implements {Renderer} @typedef {import('./columns.js').Renderer} Renderer */
export class Heat2D {
  /** @param {HTMLCanvasElement} canvas @returns {Heat2D | null} */
  static make(canvas) {
    const context = canvas.getContext('2d', { alpha: false })
    return context && new Heat2D(canvas, context)
  }

  /** @param {HTMLCanvasElement} canvas @param {CanvasRenderingContext2D} context */
  constructor(canvas, context) {
    this.name = 'canvas'
    this.hardware = false
    this.canvas = canvas
    this.context = context
    // Columns of the ring are columns of the image; the highest price is at the top.
    this.image = document.createElement('canvas')
    this.image.width = RING
    this.image.height = BINS
    this.inner = /** @type {CanvasRenderingContext2D} */ (this.image.getContext('2d', { alpha: false, willReadFrequently: true }))
    this.column = new ImageData(1, BINS)
    this.pixels = new Uint32Array(this.column.data.buffer)
    this.values = new Float32Array(RING * BINS)
    this.shades = { bid: new Uint32Array(SHADES), ask: new Uint32Array(SHADES), ground: 0, beyond: 0 }
    this.groundText = '#000'
    this.scale = 0
    this.drawn = 0
  }

  /** @param {number} value */
  _shade(value) {
    if (value > 2.5e38) return this.shades.ground
    if (value > 1e38) return this.shades.beyond
    const shades = value < 0 ? this.shades.ask : this.shades.bid
    return shades[Math.round(strength(Math.abs(value), this.drawn) * (SHADES - 1))]
  }

  /** @param {number} row @param {Float32Array} values */
  row(row, values) {
    this.values.set(values, row * BINS)
    for (let bin = 0; bin < BINS; bin++) this.pixels[BINS - 1 - bin] = this._shade(values[bin])
    this.inner.putImageData(this.column, row, 0)
  }

  /** @param {Float32Array} values */
  all(values) {
    this.values.set(values)
    const image = new ImageData(RING, BINS)
    const pixels = new Uint32Array(image.data.buffer)
    for (let row = 0; row < RING; row++) {
      for (let bin = 0; bin < BINS; bin++) pixels[(BINS - 1 - bin) * RING + row] = this._shade(values[row * BINS + bin])
    }
    this.inner.putImageData(image, 0, 0)
  }

  /** @param {number} width @param {number} height */
  resize(width, height) {
    if (this.canvas.width === width && this.canvas.height === height) return
    this.canvas.width = width
    this.canvas.height = height
  }

  /** @param {import('./look.js').Palette} palette */
  palette(palette) {
    const word = (/** @type {number[]} */ [r, g, b]) =>
      ((255 << 24) | (Math.round(b * 255) << 16) | (Math.round(g * 255) << 8) | Math.round(r * 255)) >>> 0
    for (let i = 0; i < SHADES; i++) {
      this.shades.bid[i] = word(between(palette.heat.bid, i / (SHADES - 1)))
      this.shades.ask[i] = word(between(palette.heat.ask, i / (SHADES - 1)))
    }
    this.shades.ground = word(palette.heat.ground)
    this.shades.beyond = word(palette.heat.beyond)
    this.groundText = palette.ground
    this.all(this.values)
  }

  /** @param {import('./columns.js').HeatView} view */
  draw(view) {
    const { context, canvas } = this
    // Shades are in the image already: it is made again when the scale has changed much.
    if (!this.drawn || view.scale > this.drawn * 1.5 || view.scale < this.drawn / 1.5) {
      this.drawn = view.scale || 1
      this.all(this.values)
    }
    context.imageSmoothingEnabled = false
    context.fillStyle = this.groundText
    context.fillRect(0, 0, canvas.width, canvas.height)
    const wide = canvas.width / view.columns
    const high = canvas.height / view.bins
    const top = canvas.height - (BINS - view.bin) * high
    const from = Math.max(0, Math.floor(view.column))
    const to = Math.min(view.known, Math.ceil(view.column + view.columns))
    for (let column = from; column < to;) {
      const row = (view.row + column) % RING
      const n = Math.min(to - column, RING - row)
      context.drawImage(this.image, row, 0, n, BINS, (column - view.column) * wide, top, n * wide, BINS * high)
      column += n
    }
  }

  /** @param {number} row */
  read(row) { return this.values.slice(row * BINS, (row + 1) * BINS) }
}
