// All the time there is: what is recorded, the gaps, what this page remembers, and the instant that is shown.

import { clock, day, STEPS } from './format.js'

const FONT = '10px ui-sans-serif, system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif'
/** Steps of the slider. */
const STEPS_ALL = 10_000

export class Timeline {
  /** @param {HTMLElement} host @param {(us: number) => void} choose */
  constructor(host, choose) {
    host.classList.add('timeline')
    this.host = host
    this.canvas = document.createElement('canvas')
    this.canvas.setAttribute('aria-hidden', 'true')
    this.input = document.createElement('input')
    Object.assign(this.input, { type: 'range', min: '0', max: String(STEPS_ALL), step: '1' })
    this.input.setAttribute('aria-label', 'Time')
    host.append(this.canvas, this.input)
    this.context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext('2d'))
    this.range = { begin: NaN, end: NaN }
    /** @type {import('./stream.js').Span[]} */
    this.spans = []
    this.held = false
    this.input.addEventListener('pointerdown', () => { this.held = true })
    this.input.addEventListener('pointerup', () => { this.held = false })
    this.input.addEventListener('pointercancel', () => { this.held = false })
    this.input.addEventListener('input', () => {
      if (Number.isFinite(this.range.begin)) choose(this.range.begin + (Number(this.input.value) / STEPS_ALL) * (this.range.end - this.range.begin))
    })
  }

  /**
   * @param {{begin: number, end: number}} range
   * @param {import('./stream.js').Span[] | null} spans of the book of the pair; null: there is no recording
   * @param {{begin: number, end: number}} memory @param {import('./history.js').Gap[]} gaps that the page has seen
   * @param {number} now @param {import('./look.js').Palette} palette @param {CanvasPattern | null} hatch
   */
  draw(range, spans, memory, gaps, now, palette, hatch) {
    const { canvas, context: c } = this
    const w = this.host.clientWidth
    const h = this.host.clientHeight
    const ratio = Math.min(window.devicePixelRatio || 1, 2)
    if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio)) {
      canvas.width = Math.round(w * ratio)
      canvas.height = Math.round(h * ratio)
    }
    c.setTransform(ratio, 0, 0, ratio, 0, 0)
    c.clearRect(0, 0, w, h)
    const all = range.end > range.begin
    this.input.disabled = !all
    if (!all) return
    this.range = range
    // The slider's thumb stays inside: its middle is half a thumb from the edges.
    const edge = 8
    const x = (/** @type {number} */ t) => edge + ((t - range.begin) / (range.end - range.begin)) * (w - 2 * edge)
    const top = 3
    const tall = 10
    c.fillStyle = /** @type {any} */ (hatch) ?? palette.grid
    c.fillRect(edge, top, w - 2 * edge, tall)
    const bar = (/** @type {number} */ from, /** @type {number} */ to, /** @type {string} */ colour) => {
      const a = Math.max(edge, x(from))
      const b = Math.min(w - edge, x(to))
      if (b <= a - 1) return
      c.fillStyle = palette.ground
      c.fillRect(a, top, Math.max(b - a, 1), tall)
      c.fillStyle = colour
      c.fillRect(a, top, Math.max(b - a, 1), tall)
    }
    for (const span of spans ?? []) bar(span.from, span.to, palette.dark ? '#2b3a49' : '#cfd8e1')
    if (Number.isFinite(memory.begin)) bar(memory.begin, memory.end, palette.bid)
    for (const gap of gaps) {
      const a = Math.max(edge, x(gap.from))
      const b = Math.min(w - edge, x(Math.min(gap.to, range.end)))
      if (b < a) continue
      c.fillStyle = palette.ground
      c.fillRect(a, top, Math.max(b - a, 1.5), tall)
      c.fillStyle = /** @type {any} */ (hatch) ?? palette.grid
      c.fillRect(a, top, Math.max(b - a, 1.5), tall)
    }
    const here = Math.min(Math.max(x(now), edge), w - edge)
    c.fillStyle = palette.text
    c.fillRect(here - 1, 0, 2, tall + 6)
    c.beginPath()
    c.arc(here, top + tall / 2, 5, 0, 2 * Math.PI)
    c.fill()
    c.font = FONT
    c.textBaseline = 'middle'
    c.fillStyle = palette.dim
    c.textAlign = 'center'
    const each = ((range.end - range.begin) * 110) / Math.max(w, 1)
    const step = STEPS.find(one => one >= each) ?? Math.ceil(each / 86400e6) * 86400e6
    for (let t = Math.ceil(range.begin / step) * step; t <= range.end; t += step) {
      if (x(t) < 36 || x(t) > w - 36) continue
      c.fillText(step % 86400e6 === 0 ? day(t) : clock(t, step < 1e6 ? 3 : 0), x(t), h - 6)
      c.fillRect(Math.round(x(t)), top + tall, 1, 3)
    }
    if (!this.held) this.input.value = String(Math.round(((now - range.begin) / (range.end - range.begin)) * STEPS_ALL))
    this.input.setAttribute('aria-valuetext', `${day(now)} ${clock(now, 0)} UTC`)
  }
}
