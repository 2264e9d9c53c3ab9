// Level 3: each price level is the queue of its orders, the first to be filled at the left, the young ones bright.

import { duration, fixed, short } from './format.js'
import { between } from './look.js'

const ROW = 16
const FONT = '11px ui-sans-serif, system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif'
/** Orders younger than this are brightest, and older than that darkest, seconds. */
const YOUNG = 1
const OLD = 3600

/** How bright an order is, 0 old to 1 young. @param {number} seconds */
export function brightness(seconds) {
  return 1 - Math.min(1, Math.max(0, Math.log(Math.max(seconds, YOUNG) / YOUNG) / Math.log(OLD / YOUNG)))
}

/**
 * Orders by level.
 * @param {import('./decode.js').Queue} queue @returns {{price: number, from: number, to: number, sum: number}[]}
 */
export function levels(queue) {
  const out = []
  for (let i = 0; i < queue.price.length;) {
    const from = i
    let sum = 0
    for (; i < queue.price.length && queue.price[i] === queue.price[from]; i++) sum += queue.qty[i]
    out.push({ price: queue.price[from], from, to: i, sum })
  }
  return out
}

export class Queues {
  /** @param {HTMLElement} host */
  constructor(host) {
    this.host = host
    host.classList.add('queues')
    this.canvas = document.createElement('canvas')
    this.canvas.setAttribute('role', 'img')
    this.words = document.createElement('p')
    this.words.className = 'words'
    host.append(this.canvas, this.words)
    this.context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext('2d'))
    /** @type {{x: number, y: number} | null} */
    this.pointer = null
    this.canvas.addEventListener('pointermove', event => { this.pointer = { x: event.offsetX, y: event.offsetY } })
    this.canvas.addEventListener('pointerleave', () => { this.pointer = null })
    /** What was drawn, to be pointed at. @type {{x: number, y: number, w: number, text: string}[]} */
    this.places = []
  }

  /**
   * @param {import('./decode.js').OrdersFrame | null} frame @param {number} now
   * @param {import('./stream.js').Pair | undefined} pair @param {import('./look.js').Palette} palette @param {string} why there is nothing
   */
  draw(frame, now, pair, palette, why) {
    const { canvas, context: c } = this
    const w = this.host.clientWidth
    const h = this.host.clientHeight - 46
    const ratio = Math.min(window.devicePixelRatio || 1, 2)
    if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio)) {
      canvas.width = Math.round(w * ratio)
      canvas.height = Math.round(h * ratio)
      canvas.style.width = `${w}px`
      canvas.style.height = `${h}px`
    }
    c.setTransform(ratio, 0, 0, ratio, 0, 0)
    c.fillStyle = palette.ground
    c.fillRect(0, 0, w, h)
    c.font = FONT
    c.textBaseline = 'middle'
    this.places = []
    if (!frame || !frame.inSync || !pair) {
      c.fillStyle = palette.dim
      c.textAlign = 'center'
      c.fillText(frame && !frame.inSync ? 'out of sync: nobody knows the orders' : why, w / 2, h / 2, w - 16)
      c.textAlign = 'left'
      this.canvas.setAttribute('aria-label', 'No orders')
      this.words.textContent = ''
      return
    }
    const rows = Math.floor(h / ROW / 2)
    const sides = { asks: levels(frame.asks).slice(0, rows), bids: levels(frame.bids).slice(0, rows) }
    // A wall is cut at the right, so that the others can be seen; its sum says how large it is.
    const sums = [...sides.asks, ...sides.bids].map(one => one.sum).sort((a, b) => a - b)
    const most = sums[Math.floor((sums.length - 1) * 0.92)] || 1
    const left = 78
    const right = w - 58
    const wide = right - left
    const middle = rows * ROW
    c.fillStyle = palette.grid
    c.fillRect(0, middle, w, 1)
    for (const [name, queue, way] of /** @type {['asks' | 'bids', import('./decode.js').Queue, number][]} */ (
      [['asks', frame.asks, -1], ['bids', frame.bids, 1]])) {
      const stops = (name === 'asks' ? palette.heat.ask : palette.heat.bid).slice(1)
      sides[name].forEach((level, i) => {
        const y = way < 0 ? middle - (i + 1) * ROW : middle + i * ROW + 2
        c.fillStyle = name === 'asks' ? palette.ask : palette.bid
        c.textAlign = 'right'
        c.fillText(fixed(level.price, pair.pricePrecision), left - 8, y + ROW / 2)
        c.fillStyle = palette.dim
        c.fillText(short(level.sum), w - 8, y + ROW / 2)
        c.textAlign = 'left'
        c.save()
        c.beginPath()
        c.rect(left, y, wide, ROW)
        c.clip()
        let x = left
        let before = 0
        for (let k = level.from; k < level.to && x < right; k++) {
          const seconds = now / 1e6 - Number(queue.time[k] / 1000n) / 1e6
          const width = Math.max((queue.qty[k] / most) * wide, 0.75)
          // On a light page what is young is dark: it stands out.
          const [r, g, b] = between(stops, 0.08 + 0.84 * brightness(seconds))
          c.fillStyle = `rgb(${Math.round(r * 255)},${Math.round(g * 255)},${Math.round(b * 255)})`
          c.fillRect(x, y + 1, Math.max(width - 1, 0.75), ROW - 3)
          this.places.push({ x, y, w: width, text: `${name === 'asks' ? 'Ask' : 'Bid'} ${fixed(level.price, pair.pricePrecision)}: order ${k - level.from + 1} of ` +
            `${level.to - level.from}, ${fixed(queue.qty[k], pair.qtyPrecision)}, ${duration(Math.max(0, seconds * 1e6))} old, ${short(before)} before it.` })
          before += queue.qty[k]
          x += width
        }
        c.restore()
        if (x > right) {
          c.fillStyle = palette.ground
          for (const at of [right - 9, right - 5]) c.fillRect(at, y, 2, ROW)
        }
      })
    }
    const { pointer } = this
    const under = pointer && this.places.find(one => pointer.x >= one.x && pointer.x < one.x + one.w && pointer.y >= one.y && pointer.y < one.y + ROW)
    if (under) {
      c.strokeStyle = palette.text
      c.strokeRect(under.x + 0.5, under.y + 0.5, Math.max(under.w - 1, 2), ROW - 2)
    }
    const total = frame.asks.price.length + frame.bids.price.length
    this.canvas.setAttribute('aria-label', `${total} orders on ${sides.bids.length} bid and ${sides.asks.length} ask levels`)
    const words = under ? under.text : `First to be filled at the left. ${palette.dark ? 'Bright' : 'Dark'} is young, ${palette.dark ? 'dark' : 'pale'} an hour old or more.`
    if (this.words.textContent !== words) this.words.textContent = words
  }
}
