// A market that the page receives itself: from Kraken, or from the built-in exchange in the page. Its core checks every book.

/** @typedef {import('./stream.js').Handlers} Handlers */
/** @typedef {import('./stream.js').Source} Source */
/** @typedef {import('./decode.js').Queue} Queue */

/** Levels of a side of the books of all pairs, whose checksums are counted. */
const DEPTH_ALL = 10
/** Depths that the exchange has. */
const DEPTHS = [10, 25, 100, 500, 1000]
const DEPTHS_LEVEL3 = [10, 100, 1000]
/** Milliseconds between two looks at the connections, two overviews, two states of the queues. */
const EVERY = { clock: 250, overview: 1000, orders: 250 }
/** Data older than this is stale, microseconds: the exchange sends something every second. */
const STALE_AFTER = 3e6
/** Seconds of silence that are normal: the exchange sends a heartbeat every second. */
const SILENCE = 1.5
/** Levels of a side of the level-3 book. */
const QUEUES_MAX = 100

const NOTHING = new Float64Array(0)
/** @type {Queue} */
const NO_QUEUE = { price: NOTHING, qty: NOTHING, time: new BigInt64Array(0), id: new BigUint64Array(0) }

/** Nanoseconds as microseconds. @param {bigint | null} ns */
const micros = ns => (ns === null ? 0 : Number(ns / 1000n) + Number(ns % 1000n) / 1000)
const now = () => (performance.timeOrigin + performance.now()) * 1000

/** What became of a book, in the words of the stream. @type {Record<string, 'ok' | 'unchecked' | 'wrong'>} */
const CHECKED = { ok: 'ok', mismatch: 'wrong' }
/** @type {Record<string, string>} */
const LOST = { mismatch: 'wrong checksum', crossed: 'crossed book', refused: 'a message that cannot be' }

/** What came of a book since it was last shown. */
class Messages {
  constructor() {
    this.count = 0
    this.changed = false
    this.continued = true
    this.recv = 0
    this.event = 0
    this.checksum = 0
    /** @type {'ok' | 'unchecked' | 'wrong'} */
    this.checked = 'unchecked'
  }

  /** @param {any} event */
  take(event) {
    this.count++
    this.changed = true
    if (event.kind === 'snapshot') this.continued = false
    this.recv = micros(event.ts_recv)
    this.event = micros(event.ts_event)
    this.checksum = event.checksum ?? 0
    this.checked = CHECKED[event.outcome] ?? 'unchecked'
  }

  /** What was taken, once. @param {number} pair @param {boolean} inSync */
  head(pair, inSync) {
    const { continued, checked, recv, event, checksum, count: messages } = this
    this.count = 0
    this.changed = false
    this.continued = true
    return { pair, inSync, continued, checked, recv, event, checksum, messages }
  }
}

/** What is known of every pair. */
class Overall {
  constructor() {
    this.right = 0
    this.wrong = 0
    this.last = NaN
    this.volume = NaN
  }
}

/** Imbalance of the best five levels. @param {Float64Array} qtys @param {number} bids */
function imbalanceOf(qtys, bids) {
  let bid = 0
  let ask = 0
  for (let i = 0; i < 5; i++) {
    if (i < bids) bid += qtys[i]
    if (bids + i < qtys.length) ask += qtys[bids + i]
  }
  return bid + ask > 0 ? (bid - ask) / (bid + ask) : NaN
}

/** @implements {Source} */
export class CoreSource {
  /**
   * @param {Handlers} handlers
   * @param {object} options
   * @param {{pairs: number, rate: number, seed: bigint}} [options.exchange] the exchange in the page; otherwise `url`
   * @param {string} [options.url] where the exchange is; Kraken
   * @param {string} options.name
   * @param {string[]} [options.symbols] patterns of pairs; all
   */
  constructor(handlers, options) {
    this.handlers = handlers
    this.options = options
    /** @type {any} */
    this.web = null
    /** The exchange in the page. @type {any} */
    this.exchange = null
    /** The feed of all pairs, that of the chosen one, and that of its orders. @type {any} */
    this.all = null
    /** @type {any} */
    this.one = null
    /** @type {any} */
    this.three = null
    /** What will be `one` as soon as it has a book. @type {any} */
    this.next = null
    this.chosen = { symbol: '', depth: 100, orders: false, deep: 0 }
    /** @type {Map<string, number>} */
    this.numbers = new Map()
    /** @type {Overall[]} */
    this.lines = []
    this.book = new Messages()
    this.queue = new Messages()
    /** @type {any[]} */
    this.trades = []
    this.traded = true
    this.perSecond = 30
    this.greeted = false
    this.connected = false
    /** Whether it is to be told that the connection is down. */
    this.said = ''
    /** Until when what is shown is known to hold, microseconds. */
    this.shown = 0
    this.due = { clock: 0, overview: 0, orders: 0, book: 0 }
    /** Numbers of the orders that were last shown. @type {Map<string, bigint>} */
    this.ids = new Map()
    this.nextId = 1n
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this.timer = undefined
    this.ended = false
  }

  open() {
    this.ended = false
    this.handlers.state('connecting', '', 0)
    void this._begin().catch(error => this._end(error))
  }

  /** @param {unknown} error */
  _end(error) {
    this.close()
    const why = error instanceof Error ? error.message : String(error)
    const simd = typeof WebAssembly === 'undefined' || error instanceof WebAssembly.CompileError
    this.handlers.state('ended', simd
      ? `This browser cannot run the core of krakpot: it needs WebAssembly with 128-bit vectors, which current browsers have. Update it. (${why})`
      : this.web ? `The core of krakpot failed: ${why}. Open the page anew, and report it.`
        : `This page was built without the core of krakpot, so it can only show what \`krakpot view\` serves (${why}). \`make page\` builds it with the core.`, 0)
  }

  async _begin() {
    // By their names only here: a page without the core shows what a server sends.
    this.web = await import('../core/index.js')
    await this.web.load()
    if (this.options.exchange) {
      const { Exchange, load } = await import('../core/exchange.js')
      await load()
      this.exchange = new Exchange(this.options.exchange)
      this.exchange.run()
    }
    // It may have been closed meanwhile.
    if (this.ended) return
    this.all = this._feed(['book', 'ticker'], this.options.symbols, DEPTH_ALL)
    this.all.on('book', '*', (/** @type {any} */ event) => this._counted(event))
    this.all.on('ticker', '*', (/** @type {any} */ event) => this._ticker(event))
    await this.all.open()
    this.timer = setInterval(() => this._step(), 1000 / 60)
  }

  /** @param {string[]} channels @param {string[] | undefined} symbols @param {number} depth */
  _feed(channels, symbols, depth) {
    const { exchange } = this
    const level3Depth = DEPTHS_LEVEL3.find(one => one >= depth) ?? 1000
    return new this.web.Feed({
      channels, symbols, depth, level3Depth, url: this.options.url,
      ...(exchange && {
        connect: (/** @type {string} */ endpoint) => exchange.connect(endpoint),
        token: async () => {
          exchange.allow('page')
          return 'page'
        },
      }),
    })
  }

  close() {
    this.ended = true
    clearInterval(this.timer)
    for (const feed of [this.all, this.one, this.next, this.three]) feed?.close()
    this.exchange?.free()
    this.all = this.one = this.next = this.three = this.exchange = null
    this.greeted = false
    this.handlers.state('ended', '', 0)
  }

  retry() {
    for (const feed of [this.all, this.one, this.next, this.three]) feed?.retry()
  }

  /** A fault of the exchange in the page, to see what happens. @param {string} fault */
  inject(fault) { this.exchange?.inject(fault) }

  // Requests.

  /** @param {string[]} symbols @param {number} depth @param {boolean} orders */
  subscribe([symbol], depth, orders) {
    const deep = DEPTHS.find(one => one >= depth) ?? 1000
    const before = this.chosen
    this.chosen = { symbol, depth, orders, deep }
    if (!this.one || before.symbol !== symbol) {
      this.unsubscribe([before.symbol])
      this.one = this._chosen(symbol, deep)
      this.book = new Messages()
      this.book.continued = false
      this.trades = []
      this.traded = false
    } else if (before.deep !== deep) {
      // The book of the old depth is shown until that of the new one is there.
      this.next?.close()
      this.next = this._chosen(symbol, deep)
    } else {
      this.book.changed = true
    }
    if (!orders) {
      this.three?.close()
      this.three = null
    } else if (!this.three) {
      this.queue = new Messages()
      this.queue.continued = false
      // The ticker proves that its best prices are right.
      const feed = this.three = this._feed(['ticker', 'level3'], [symbol], QUEUES_MAX)
      feed.on('level3', symbol, (/** @type {any} */ event) => this._level3(event))
      this._listen(feed, symbol)
    }
    this.handlers.answered('subscribe')
  }

  /** @param {string} symbol @param {number} depth */
  _chosen(symbol, depth) {
    const feed = this._feed(['book', 'trade'], [symbol], depth)
    feed.on('book', symbol, (/** @type {any} */ event) => {
      if (feed === this.next) {
        this.one.close()
        this.one = feed
        this.next = null
        // It is the same book: nothing was missed.
        this.book.take({ ...event, kind: 'update' })
      } else if (feed === this.one) {
        this._book(event)
      }
    })
    feed.on('trade', symbol, (/** @type {any} */ event) => { if (feed === this.one) this.trades.push(event) })
    this._listen(feed, symbol)
    return feed
  }

  /** @param {any} feed @param {string} symbol */
  _listen(feed, symbol) {
    feed.on('gap', symbol, (/** @type {any} */ event) => this._gap(event))
    feed.on('subscription', symbol, (/** @type {any} */ event) => {
      if (event.state === 'rejected') this.handlers.refused('subscribe', event.reason || 'the exchange gave no reason')
    })
    feed.open().catch((/** @type {unknown} */ error) => this._end(error))
  }

  /** @param {string[]} symbols */
  unsubscribe(symbols) {
    if (!symbols.includes(this.chosen.symbol) && this.one) return
    for (const feed of [this.one, this.next, this.three]) feed?.close()
    this.one = this.next = this.three = null
  }

  overview() {}

  /** @param {number} perSecond */
  rate(perSecond) { this.perSecond = perSecond }

  coverage() {}

  seek() { this.handlers.refused('seek', 'this market has no past but what the page remembers') }

  pause() {}

  resume() {}

  speed() {}

  // Events.

  /** @param {any} event */
  _counted(event) {
    const line = this.lines[this.numbers.get(event.symbol) ?? -1]
    if (!line) return
    if (event.outcome === 'ok') line.right++
    else if (event.outcome === 'mismatch') line.wrong++
  }

  /** @param {any} event */
  _ticker(event) {
    const line = this.lines[this.numbers.get(event.symbol) ?? -1]
    if (!line) return
    if (event.last !== null) line.last = Number(event.last)
    if (event.volume !== null) line.volume = Number(event.volume)
  }

  /** @param {any} event */
  _book(event) {
    this.book.take(event)
    // A wrong checksum is shown at once: the next message may repair it.
    if (LOST[event.outcome]) this._lost('book', event)
  }

  /** @param {any} event */
  _level3(event) {
    this.queue.take(event)
    if (LOST[event.outcome]) this._lost('level3', event)
  }

  /** @param {'book' | 'level3'} channel @param {any} event */
  _lost(channel, event) {
    const pair = this.numbers.get(event.symbol)
    if (pair === undefined) return
    if (channel === 'book') this._showBook(pair)
    this.handlers.frame({ kind: 'gap', channel, pair, from: micros(event.ts_recv), to: 0, reason: LOST[event.outcome] })
  }

  /** @param {any} event */
  _gap(event) {
    const pair = this.numbers.get(event.symbol)
    const { of, reason } = event
    if (pair === undefined || !(of === 'book' || of === 'trade' || of === 'level3' || of === 'ticker')) return
    if (of === 'book') this.book.continued = false
    if (of === 'level3') this.queue.continued = false
    if (of === 'trade') this.traded = false
    const to = micros(event.ts_to)
    this.handlers.frame({ kind: 'gap', channel: of, pair, from: event.ts_from === null ? to : micros(event.ts_from), to, reason })
  }

  // What is shown.

  _step() {
    if (!this.all) return
    const at = performance.now()
    this._pairs()
    if (!this.greeted) return this._waiting(at)
    const is = (/** @type {keyof typeof this.due} */ part, /** @type {number} */ every) => {
      if (at < this.due[part]) return false
      this.due[part] = at + every
      return true
    }
    const pair = this.numbers.get(this.chosen.symbol)
    if (this.one && pair !== undefined) {
      if (this.book.changed && is('book', 1000 / this.perSecond)) this._showBook(pair)
      if (this.three && this.queue.changed && is('orders', EVERY.orders)) this._showOrders(pair)
      if (this.trades.length) this._showTrades(pair)
    }
    if (is('clock', EVERY.clock)) this._clock()
    if (is('overview', EVERY.overview)) this._overview()
  }

  /** Nothing is known yet. @param {number} at */
  _waiting(at) {
    if (at < this.due.clock) return
    this.due.clock = at + EVERY.clock
    const { reason } = this.all
    if (reason && reason !== this.said) this.handlers.state('waiting', reason, 0)
    this.said = reason
  }

  _pairs() {
    const at = performance.now()
    if (this.greeted && at < this.due.overview) return
    const found = this.all.pairs().filter((/** @type {any} */ one) => one.selected)
    if (found.length <= this.numbers.size) return
    for (const { symbol } of found) {
      if (this.numbers.has(symbol)) continue
      this.numbers.set(symbol, this.numbers.size)
      this.lines.push(new Overall())
    }
    // Numbers stay, whatever the order of the exchange is.
    const channels = ['book', 'trade', 'ticker', ...(this.exchange ? ['level3'] : [])]
    const pairs = Array.from(this.numbers.keys(), symbol => {
      const one = found.find((/** @type {any} */ other) => other.symbol === symbol)
      return { symbol, pricePrecision: one?.price_precision ?? 0, qtyPrecision: one?.qty_precision ?? 0, depth: 1000, channels }
    })
    if (this.greeted) return this.handlers.pairs(pairs)
    this.greeted = true
    this.said = ''
    this.handlers.hello({ source: 'live', name: this.options.name, staleAfter: STALE_AFTER, begin: null, end: null, pairs })
    this.handlers.state('open', '', 0)
    return undefined
  }

  /** @param {number} pair */
  _showBook(pair) {
    const { symbol, depth } = this.chosen
    const levels = this.one.book(symbol).numbers(depth)
    const head = this.book.head(pair, levels !== undefined)
    if (!levels) {
      this.handlers.frame({ kind: 'book', ...head, bidP: NOTHING, bidQ: NOTHING, askP: NOTHING, askQ: NOTHING })
      return
    }
    // Copies: the core writes into the same memory with the next message.
    const { bids, prices, qtys } = levels
    this.handlers.frame({
      kind: 'book', ...head, bidP: prices.slice(0, bids), bidQ: qtys.slice(0, bids), askP: prices.slice(bids), askQ: qtys.slice(bids),
    })
  }

  /** @param {number} pair */
  _showOrders(pair) {
    const orders = this.three.orders(this.chosen.symbol)
    const levels = orders.levels(QUEUES_MAX)
    const head = this.queue.head(pair, levels !== undefined)
    const before = this.ids
    this.ids = new Map()
    const side = (/** @type {'bid' | 'ask'} */ name, /** @type {[string, string, number][]} */ rows) => {
      const all = rows.flatMap(([price]) => orders.queue(name, price).map((/** @type {any} */ one) => ({ ...one, price })))
      return {
        price: Float64Array.from(all, one => Number(one.price)),
        qty: Float64Array.from(all, one => Number(one.qty)),
        time: BigInt64Array.from(all, one => one.ts_order),
        id: BigUint64Array.from(all, one => {
          const id = before.get(one.id) ?? this.nextId++
          this.ids.set(one.id, id)
          return id
        }),
      }
    }
    this.handlers.frame({
      kind: 'orders', ...head, bids: levels ? side('bid', levels.bids) : NO_QUEUE, asks: levels ? side('ask', levels.asks) : NO_QUEUE,
    })
  }

  /** @param {number} pair */
  _showTrades(pair) {
    const { trades } = this
    this.trades = []
    this.handlers.frame({
      kind: 'trades', pair, continued: this.traded, leftOut: 0,
      event: Float64Array.from(trades, one => micros(one.ts_event ?? one.ts_recv)),
      recv: Float64Array.from(trades, one => micros(one.ts_recv)),
      id: BigInt64Array.from(trades, one => one.trade_id),
      price: Float64Array.from(trades, one => Number(one.price)),
      qty: Float64Array.from(trades, one => Number(one.qty)),
      side: Uint8Array.from(trades, one => (one.side === 'sell' ? 1 : 0)),
      type: Uint8Array.from(trades, one => (one.ord_type === 'market' ? 1 : 0)),
    })
    this.traded = true
  }

  _clock() {
    const feeds = [this.all, this.one, this.three].filter(feed => feed !== null)
    const down = feeds.find(feed => !feed.connected)
    const up = !down
    const at = now()
    const reason = down?.reason ?? ''
    const words = up ? this.all.system ?? '' : `!${reason}`
    if (words !== this.said) {
      this.said = words
      this.handlers.status({ up, reason, system: this.all.system ?? '' })
      const pair = this.numbers.get(this.chosen.symbol)
      if (!up && pair !== undefined) {
        if (this.one && !this.one.connected) {
          this.handlers.frame({ kind: 'gap', channel: 'book', pair, from: this.book.recv || at, to: 0, reason: reason || 'no connection' })
          this._showBook(pair)
        }
      }
    }
    const silence = Math.max(...feeds.map(feed => feed.silence))
    // A quiet market is not stale: the exchange's heartbeat comes all the same.
    this.shown = silence < SILENCE ? at : silence < Infinity ? at - silence * 1e6 : this.shown || at
    this.handlers.frame({
      kind: 'clock', paused: false, atEnd: false, live: true, up, shown: this.shown, server: at, speed: 1,
    })
  }

  _overview() {
    const n = this.lines.length
    const columns = Array.from({ length: 5 }, () => new Float64Array(n).fill(NaN))
    const [bid, ask, last, volume, imbalance] = columns
    const inSync = new Uint8Array(n)
    const right = new Uint32Array(n)
    const wrong = new Uint32Array(n)
    for (const [symbol, i] of this.numbers) {
      const levels = this.all.book(symbol).numbers(5)
      inSync[i] = levels ? 1 : 0
      if (levels) {
        const { bids, prices, qtys } = levels
        if (bids) bid[i] = prices[0]
        if (bids < prices.length) ask[i] = prices[bids]
        imbalance[i] = imbalanceOf(qtys, bids)
      }
      last[i] = this.lines[i].last
      volume[i] = this.lines[i].volume
      right[i] = this.lines[i].right
      wrong[i] = this.lines[i].wrong
    }
    this.handlers.frame({
      kind: 'overview', time: now(), bid, ask, last, volume, imbalance, pair: Uint32Array.from({ length: n }, (_, i) => i), right, wrong, inSync,
    })
  }
}
