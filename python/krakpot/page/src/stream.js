// The stream of `krakpot view` as a source: connects, checks the version and every frame, connects again with a back-off.
//
// Nothing that a server sends makes it throw: a frame that is damaged becomes a plain sentence, and the next one is read.

import { STREAM, decode, Damaged } from './decode.js'

/** Seconds before the first, and at most before any later attempt to connect again. */
const BACKOFF_FIRST = 0.5
const BACKOFF_MAX = 10
const BACKOFF_FACTOR = 1.8
/** Seconds without any message after which a connection counts as lost: the server sends its clock every second. */
const SILENCE = 15
/** More pairs than any exchange has. */
const PAIRS_MAX = 100_000

/**
 * @typedef {object} Pair
 * @property {string} symbol
 * @property {number} pricePrecision
 * @property {number} qtyPrecision
 * @property {number} depth levels of a side that the source has
 * @property {string[]} channels
 */
/**
 * @typedef {object} Hello
 * @property {string} source `lake` or `live`
 * @property {string} name
 * @property {number} staleAfter microseconds
 * @property {number | null} begin microseconds since 1970 UTC
 * @property {number | null} end
 * @property {Pair[]} pairs
 */
/** @typedef {{symbol: string, channel: string, from: number, to: number, reason: string}} Span */
/** @typedef {'connecting' | 'open' | 'waiting' | 'ended'} State */
/**
 * What a source calls. Everything a page shows comes through these.
 * @typedef {object} Handlers
 * @property {(state: State, words: string, retryIn: number) => void} state of the connection to the source
 * @property {(hello: Hello) => void} hello
 * @property {(pairs: Pair[]) => void} pairs all pairs, when some were added
 * @property {(status: {up: boolean, reason: string, system: string}) => void} status of the source's connection to the exchange
 * @property {(frame: import('./decode.js').Frame) => void} frame
 * @property {(spans: Span[], begin: number | null, end: number | null) => void} coverage what is recorded, and where the recording begins and ends now
 * @property {(method: string) => void} answered a request was accepted
 * @property {(method: string, error: string) => void} refused a request, in the source's words
 * @property {(words: string) => void} damaged a message
 */
/**
 * What a page shows: the stream of a server, or a feed in the page.
 * @typedef {object} Source
 * @property {() => void} open
 * @property {() => void} close
 * @property {(symbols: string[], depth: number, orders: boolean) => void} subscribe
 * @property {(symbols: string[]) => void} unsubscribe
 * @property {(on: boolean) => void} overview
 * @property {(perSecond: number) => void} rate
 * @property {(symbols: string[]) => void} coverage
 * @property {(us: number) => void} seek
 * @property {() => void} pause
 * @property {() => void} resume
 * @property {(speed: number) => void} speed
 */

/** The address of the stream beside a page. @param {Location | URL} page @returns {string} */
export function streamBeside(page) {
  const url = new URL('/stream', page.href)
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
  const token = new URL(page.href).searchParams.get('token')
  if (token) url.searchParams.set('token', token)
  url.hash = ''
  return url.href
}

/** @implements {Source} */
export class StreamSource {
  /** @param {string} url @param {Handlers} handlers */
  constructor(url, handlers) {
    this.url = url
    this.handlers = handlers
    /** @type {WebSocket | null} */
    this.socket = null
    this.pairs = 0
    this.attempts = 0
    this.greeted = false
    this.ended = false
    this.number = 0
    /** What was asked for and is asked for again on a new connection, by method. @type {Map<string, object>} */
    this.wanted = new Map()
    /** @type {Map<string, {method: string, symbols: string[], depth: number, orders: boolean}>} */
    this.subscribed = new Map()
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.silence = undefined
    /** Frames that were damaged, all connections together. */
    this.damagedCount = 0
    this.bytes = 0
  }

  open() {
    this.ended = false
    this._connect()
  }

  close() {
    this.ended = true
    clearTimeout(this.timer)
    clearTimeout(this.silence)
    this.socket?.close()
    this.socket = null
    this.handlers.state('ended', '', 0)
  }

  /** Try again now, instead of waiting. */
  retry() {
    if (this.ended || this.socket) return
    clearTimeout(this.timer)
    this._connect()
  }

  _connect() {
    clearTimeout(this.timer)
    this.greeted = false
    this.handlers.state('connecting', '', 0)
    let socket
    try {
      socket = new WebSocket(this.url)
    } catch {
      this.ended = true
      this.handlers.state('ended', `“${this.url}” is no address of a stream. It looks like ws://127.0.0.1:8765/stream.`, 0)
      return
    }
    socket.binaryType = 'arraybuffer'
    this.socket = socket
    // A socket that was given up may still call.
    socket.onmessage = event => { if (this.socket === socket) this._message(event.data) }
    socket.onclose = event => { if (this.socket === socket) this._lost(event) }
    this._heard()
  }

  _heard() {
    clearTimeout(this.silence)
    this.silence = setTimeout(() => {
      const socket = this.socket
      if (!socket) return
      this._lost({ code: 0, reason: `nothing came for ${SILENCE} s` })
      socket.close()
    }, SILENCE * 1000)
  }

  /** @param {{code: number, reason: string}} event */
  _lost(event) {
    clearTimeout(this.silence)
    this.socket = null
    if (this.ended) return
    const wait = Math.min(BACKOFF_MAX, BACKOFF_FIRST * BACKOFF_FACTOR ** this.attempts) * (0.75 + Math.random() / 2)
    this.attempts++
    const why = event.reason || (this.greeted ? 'the connection was lost' : 'no server answers there')
    this.handlers.state('waiting', why, wait)
    this.timer = setTimeout(() => this._connect(), wait * 1000)
  }

  /** @param {unknown} data */
  _message(data) {
    this._heard()
    try {
      if (typeof data === 'string') this._text(data)
      else if (data instanceof ArrayBuffer) this._binary(data)
    } catch (error) {
      if (!(error instanceof Damaged)) throw error
      this.damagedCount++
      this.handlers.damaged(error.message)
    }
  }

  /** @param {ArrayBuffer} data */
  _binary(data) {
    this.bytes += data.byteLength
    if (!this.greeted) throw new Damaged('market data before hello')
    const frame = decode(data, this.pairs)
    if (frame) this.handlers.frame(frame)
  }

  /** @param {string} text */
  _text(text) {
    let message
    try {
      message = JSON.parse(text)
    } catch {
      throw new Damaged('a text message that is not JSON')
    }
    if (typeof message !== 'object' || message === null) throw new Damaged('a text message that is no object')
    switch (message.type) {
      case 'hello': return this._hello(message)
      case 'symbols': {
        if (!this.greeted) throw new Damaged('symbols before hello')
        const pairs = readPairs(message.symbols)
        if (pairs.length < this.pairs) throw new Damaged('symbols: pairs are missing that were there')
        this.pairs = pairs.length
        return this.handlers.pairs(pairs)
      }
      case 'status':
        return this.handlers.status({
          up: message.connection === 'up', reason: String(message.reason ?? ''), system: String(message.system ?? ''),
        })
      case 'answer':
        if (message.success === false) {
          const method = String(message.method ?? '')
          if (method !== 'subscribe') this.wanted.delete(method)
          this.handlers.refused(method, String(message.error ?? 'no reason was given'))
        } else {
          this.handlers.answered(String(message.method ?? ''))
        }
        return undefined
      case 'coverage': return this.handlers.coverage(readSpans(message.spans), readTime(message.begin_us), readTime(message.end_us))
      default: return undefined
    }
  }

  /** @param {any} message */
  _hello(message) {
    if (message.stream !== STREAM) {
      this.ended = true
      clearTimeout(this.silence)
      this.socket?.close()
      this.socket = null
      const theirs = Number.isSafeInteger(message.stream) ? `version ${message.stream}` : 'no version that a page could know'
      this.handlers.state('ended', `This page reads version ${STREAM} of the stream; the server speaks ${theirs}. ` +
        'Update krakpot, or open the page that the server itself gives.', 0)
      return
    }
    const pairs = readPairs(message.symbols)
    const stale = Number(message.stale_after_s)
    if (!(stale > 0 && stale < 1e6)) throw new Damaged('hello: no stale_after_s')
    this.pairs = pairs.length
    this.greeted = true
    this.attempts = 0
    for (const [method, rest] of this.wanted) this._send(method, rest)
    for (const one of this.subscribed.values()) this._send('subscribe', one)
    this.handlers.hello({
      source: String(message.source), name: String(message.name ?? ''), staleAfter: stale * 1e6,
      begin: readTime(message.begin_us), end: readTime(message.end_us), pairs,
    })
    this.handlers.state('open', '', 0)
  }

  /** @param {string} method @param {object} [rest] */
  _send(method, rest = {}) {
    if (this.socket?.readyState === 1 && this.greeted) {
      this.socket.send(JSON.stringify({ ...rest, method, req_id: ++this.number }))
    }
  }

  /** @param {string} method @param {object} rest */
  _keep(method, rest) {
    this.wanted.set(method, rest)
    this._send(method, rest)
  }

  /** @param {string[]} symbols @param {number} depth @param {boolean} orders */
  subscribe(symbols, depth, orders) {
    for (const symbol of symbols) this.subscribed.set(symbol, { method: 'subscribe', symbols: [symbol], depth, orders })
    this._send('subscribe', { symbols, depth, orders })
  }

  /** @param {string[]} symbols */
  unsubscribe(symbols) {
    for (const symbol of symbols) this.subscribed.delete(symbol)
    this._send('unsubscribe', { symbols })
  }

  /** @param {boolean} on */
  overview(on) { this._keep('overview', { on }) }

  /** @param {number} perSecond */
  rate(perSecond) { this._keep('rate', { per_second: perSecond }) }

  /** @param {string[]} symbols */
  coverage(symbols) { this._send('coverage', { symbols }) }

  /** @param {number} us */
  seek(us) { this._send('seek', { at_us: Math.round(us) }) }

  pause() { this._send('pause') }

  resume() { this._send('resume') }

  /** @param {number} speed */
  speed(speed) { this._keep('speed', { speed }) }
}

/** @param {unknown} found @returns {number | null} */
const readTime = found => (Number.isSafeInteger(found) ? /** @type {number} */ (found) : null)

/** @param {any} found @returns {Pair[]} */
function readPairs(found) {
  if (!Array.isArray(found) || found.length > PAIRS_MAX) throw new Damaged('hello: no list of symbols')
  return found.map(one => {
    const precision = (/** @type {unknown} */ n) => {
      if (!Number.isInteger(n) || /** @type {number} */ (n) < 0 || /** @type {number} */ (n) > 30) {
        throw new Damaged(`hello: a precision of ${n}`)
      }
      return /** @type {number} */ (n)
    }
    if (typeof one?.symbol !== 'string' || !one.symbol) throw new Damaged('hello: a pair without a symbol')
    return {
      symbol: one.symbol,
      pricePrecision: precision(one.price_precision),
      qtyPrecision: precision(one.qty_precision),
      depth: Number.isInteger(one.depth) ? one.depth : 0,
      channels: Array.isArray(one.channels) ? one.channels.map(String) : [],
    }
  })
}

/** @param {any} found @returns {Span[]} */
function readSpans(found) {
  if (!Array.isArray(found)) throw new Damaged('coverage: no list of spans')
  return found.map(one => {
    const from = Number(one?.from_us)
    const to = Number(one?.to_us)
    if (!(Number.isFinite(from) && to >= from)) throw new Damaged('coverage: a span without times')
    return { symbol: String(one.symbol), channel: String(one.channel), from, to, reason: String(one.reason ?? '') }
  })
}
