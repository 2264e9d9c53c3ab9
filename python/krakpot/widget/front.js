// The page in the output of a cell: its source is the model of the widget, which anywidget gives in any notebook.
//
// It uses `get`, `on`, `off` and `send` of the model and nothing else of the notebook, but for its colours.

import { mount } from '../page/page.js'
import { StreamSource } from '../page/src/stream.js'

/** Seconds without a message after which it says that it has read everything: what was sent may be lost. */
const IDLE_FIRST = 2
const IDLE_MAX = 60
/** Seconds without a message after which the kernel counts as gone: it sends its clock four times a second. */
const SILENCE = 15
const HELP = { nothing: 'Run this cell again.', gone: 'Does the kernel still run?' }

/**
 * @typedef {object} Model as anywidget gives it
 * @property {(name: string) => any} get
 * @property {(event: string, act: (...given: any[]) => void) => void} on
 * @property {(event: string, act: (...given: any[]) => void) => void} off
 * @property {(content: object) => void} send
 */

/** The kernel as a source: the messages are those of the stream. */
export class KernelSource extends StreamSource {
  /** @param {Model} model @param {import('../page/src/stream.js').Handlers} handlers */
  constructor(model, handlers) {
    super('', handlers)
    this.model = model
    /** The name of this view; another one each time it is opened. */
    this.view = ''
    this.batch = 0
    this.idle = IDLE_FIRST
    this.silent = false
    /** Where the recording was. @type {import('../page/src/decode.js').ClockFrame | null} */
    this.time = null
    this.received = (/** @type {any} */ content, /** @type {DataView[]} */ buffers) => this._received(content, buffers ?? [])
    const { frame } = handlers
    this.handlers = {
      ...handlers,
      frame: (/** @type {import('../page/src/decode.js').Frame} */ one) => {
        if (one.kind === 'clock') this.time = one
        frame(one)
      },
    }
  }

  open() {
    this.model.on('msg:custom', this.received)
    super.open()
  }

  close() {
    this._post({ type: 'close' })
    this.model.off('msg:custom', this.received)
    super.close()
  }

  /** Try again now: a new view in the kernel. */
  retry() {
    if (!this.ended) this._connect()
  }

  _connect() {
    if (this.view) this._post({ type: 'close' })
    // Not of the notebook's document, which may have no secure context.
    this.view = `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`
    this.greeted = false
    this.silent = false
    this.batch = 0
    this.handlers.state('connecting', '', 0)
    this._heard()
    this._post({ type: 'open' })
  }

  _heard() {
    this.idle = IDLE_FIRST
    clearTimeout(this.timer)
    clearTimeout(this.silence)
    this._wait()
    this.silence = setTimeout(() => {
      this.silent = true
      this.handlers.state('ended', `Nothing came from the kernel for ${SILENCE} s. It is busy with a cell, or it has ended; ` +
        'then run this cell again.', 0)
    }, SILENCE * 1000)
  }

  /** A batch that is lost on the way would be waited for. A kernel that is busy reads this later: it is said ever more seldom. */
  _wait() {
    this.timer = setTimeout(() => {
      if (this.greeted) this._post({ type: 'read', batch: this.batch, idle: true })
      this.idle = Math.min(2 * this.idle, IDLE_MAX)
      this._wait()
    }, this.idle * 1000)
  }

  /** @param {any} content @param {DataView[]} buffers */
  _received(content, buffers) {
    if (this.ended || content?.view !== this.view) return
    if (typeof content.end === 'string') {
      this._stop(content.end)
      return
    }
    if (content.again || this.silent) {
      this._connect()
      return
    }
    this._heard()
    let next = 0
    for (const text of content.messages ?? []) {
      if (typeof text === 'string') this._message(text)
      else this._message(copy(buffers[next++]))
      if (this.ended) return
    }
    if (Number.isInteger(content.batch)) {
      this.batch = content.batch
      this._post({ type: 'read', batch: this.batch })
    }
  }

  /** @param {string} words */
  _stop(words) {
    this.ended = true
    clearTimeout(this.timer)
    clearTimeout(this.silence)
    this.handlers.state('ended', words, 0)
  }

  /** @param {any} message */
  _hello(message) {
    super._hello(message)
    if (this.ended) clearTimeout(this.timer)
    // The kernel has made a new place, at the beginning; people want to be where they were.
    if (this.greeted && this.time && message.source === 'lake') {
      this.seek(this.time.shown)
      if (this.time.paused) this.pause()
    }
  }

  /** @param {string} method @param {object} [rest] */
  _send(method, rest = {}) {
    if (this.greeted) this._post({ type: 'request', text: JSON.stringify({ ...rest, method, req_id: ++this.number }) })
  }

  /** @param {object} content */
  _post(content) {
    try {
      this.model.send({ view: this.view, ...content })
    } catch (error) {
      if (!this.ended) this._stop(`The notebook has no connection to the kernel (${error}). Run this cell again.`)
    }
  }
}

/** The bytes of a buffer, aligned as its numbers need it. @param {DataView | ArrayBuffer | undefined} found */
function copy(found) {
  if (found instanceof ArrayBuffer) return found
  return found ? new Uint8Array(found.buffer, found.byteOffset, found.byteLength).slice().buffer : new ArrayBuffer(0)
}

/** Whether a notebook is dark; undefined: it does not say. @returns {'dark' | 'light' | undefined} */
function themeOfNotebook() {
  const { body, documentElement: root } = document
  const jupyter = body.dataset.jpThemeLight
  if (jupyter !== undefined) return jupyter === 'false' ? 'dark' : 'light'
  for (const one of [body, root]) {
    if (one.matches('.vscode-dark, .dark, .dark-theme')) return 'dark'
    if (one.matches('.vscode-light, .light, .light-theme')) return 'light'
  }
  return undefined
}

/**
 * The widget.
 * @param {string} style of the page @param {string} body its elements
 */
export function widget(style, body) {
  /** @param {{model: Model, el: HTMLElement}} given */
  function render({ model, el }) {
    const shell = document.createElement('div')
    // The page has keys of its own. JupyterLab would take `d d` to delete the cell.
    shell.dataset.lmSuppressShortcuts = 'true'
    // Neither the style of the notebook reaches into the page, nor its own out of it.
    const root = shell.attachShadow({ mode: 'open' })
    root.innerHTML = `<style>:host { all: initial; display: block; }\n${style}</style><div class="page">${body}</div>`
    const host = /** @type {HTMLElement} */ (root.querySelector('.page'))
    shell.addEventListener('keydown', event => {
      if (!event.ctrlKey && !event.metaKey && !event.altKey) event.stopPropagation()
    })
    host.style.border = '1px solid var(--line)'
    host.style.height = `${model.get('height')}px`
    el.append(shell)
    const chosen = () => (model.get('theme') === 'auto' ? themeOfNotebook() : model.get('theme'))
    const at = model.get('at_us')
    const page = mount(host, {
      address: false,
      theme: chosen(),
      symbol: model.get('symbol'),
      depth: model.get('depth'),
      t: at === null ? NaN : at,
      connect: handlers => ({ source: new KernelSource(model, handlers), place: 'the kernel', others: [], help: HELP }),
    })
    const changes = {
      height: () => { host.style.height = `${model.get('height')}px` },
      theme: () => page.theme(chosen() ?? (matchMedia('(prefers-color-scheme: light)').matches ? 'light' : 'dark')),
      pair() {
        const number = page.market.pairs.findIndex(one => one.symbol === model.get('symbol'))
        if (number >= 0) page.choose(number, model.get('depth'))
      },
    }
    /** @type {[string, () => void][]} */
    const listened = [['height', changes.height], ['theme', changes.theme], ['symbol', changes.pair], ['depth', changes.pair]]
    for (const [name, act] of listened) model.on(`change:${name}`, act)
    // The notebook may change its colours.
    const watch = new MutationObserver(() => { if (model.get('theme') === 'auto') changes.theme() })
    for (const one of [document.body, document.documentElement]) {
      watch.observe(one, { attributes: true, attributeFilter: ['class', 'data-jp-theme-light'] })
    }
    /** For tests, and for the curious at the console. */
    Object.assign(shell, { krakpot: page })
    return () => {
      watch.disconnect()
      for (const [name, act] of listened) model.off(`change:${name}`, act)
      page.close()
      shell.remove()
    }
  }
  return { render }
}
