// A market that the page receives itself: from Kraken, or from the built-in exchange in the page. Its core checks every book.

import { CHECKED, Follow, LOST, micros } from './follow.js'

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
/** Silence that is normal, microseconds: the exchange sends a heartbeat every second. */
const SILENCE = 1.5e6
/** Levels of a side of the level-3 book. */
const QUEUES_MAX = 100

const NOTHING = new Float64Array(0)
/** @type {Queue} */
const NO_QUEUE = { price: NOTHING, qty: NOTHING, time: new BigInt64Array(0), id: new BigUint64Array(0) }

const now = () => (performance.timeOrigin + performance.now()) * 1000

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
    /** The chosen pair as frames: of `one`, and of `next`. @type {Follow | null} */
    this.follow = null
    /** @type {Follow | null} */
    this.following = null
    /** The last message of level 3 that is not shown. @type {any} */
    this.queue = null
    this.queueBegan = true
    /** Messages of level 3 since the queues were last shown. */
    this.queued = 0
    /** Why connections are down, those that are. @type {Map<any, string>} */
    this.down = new Map()
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
    const feed = new this.web.Feed({
      channels, symbols, depth, level3Depth, url: this.options.url,
      ...(exchange && {
        connect: (/** @type {string} */ endpoint) => exchange.connect(endpoint),
        token: async () => {
          exchange.allow('page')
          return 'page'
        },
      }),
    })
    feed.on('connection', '*', (/** @type {any} */ event) => {
      if (event.up) this.down.delete(feed)
      else this.down.set(feed, event.reason)
    })
    return feed
  }

  close() {
    this.ended = true
    clearInterval(this.timer)
    this._drop('all', 'one', 'next', 'three')
    this.exchange?.free()
    this.exchange = null
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
    const pair = this.numbers.get(symbol) ?? 0
    if (!this.one || before.symbol !== symbol) {
      this._drop('one', 'next', 'three')
      this.one = this._feed(['book', 'trade'], [symbol], deep)
      this.follow = new Follow(this.one, symbol, pair, depth, this.handlers.frame)
      this._listen(this.one, symbol)
    } else if (before.deep !== deep) {
      // The book of the old depth is shown until that of the new one is there.
      this._drop('next')
      const feed = this.next = this._feed(['book', 'trade'], [symbol], deep)
      this.following = new Follow(feed, symbol, pair, depth, this.handlers.frame)
      feed.on('book', symbol, () => { if (feed === this.next) this._swap() })
      this._listen(feed, symbol)
    } else if (this.follow) {
      this.follow.depth = depth
      this.follow.since.messages++
    }
    if (!orders) {
      this._drop('three')
    } else if (!this.three) {
      this.queue = null
      this.queueBegan = true
      // The ticker proves that its best prices are right.
      const feed = this.three = this._feed(['ticker', 'level3'], [symbol], QUEUES_MAX)
      feed.on('level3', symbol, (/** @type {any} */ event) => this._level3(event))
      this._listen(feed, symbol)
    }
    this.handlers.answered('subscribe')
  }

  /** The feed of the new depth has a book. */
  _swap() {
    const { follow, following, next } = this
    follow?.flush()
    this.next = this.following = null
    this._drop('one')
    this.one = next
    this.follow = following
    // The same trades came to both.
    if (following) {
      following.trades = following.trades.filter(one => follow?.lastTrade === undefined || one.trade_id > follow.lastTrade)
      following.tradesBegan = false
    }
  }

  /** @param {('all' | 'one' | 'next' | 'three')[]} names of feeds that are not needed any more */
  _drop(...names) {
    for (const name of names) {
      if (name === 'one') {
        this.follow?.close()
        this.follow = null
      } else if (name === 'next') {
        this.following?.close()
        this.following = null
      }
      this[name]?.close()
      this.down.delete(this[name])
      this[name] = null
    }
  }

  /** @param {any} feed @param {string} symbol */
  _listen(feed, symbol) {
        feed.on('subscription', symbol, (/** @type {any} */ event) => {
      if (event.state === 'rejected') this.handlers.refused('subscribe', event.reason || 'the exchange gave no reason')
    })
    feed.open().catch((/** @type {unknown} */ error) => this._end(error))
  }

  /** @param {string[]} symbols */
  unsubscribe(symbols) {
    if (symbols.includes(this.chosen.symbol)) this._drop('one', 'next', 'three')
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
  _level3(event) {
    this.queue = event
    this.queued++
    if (event.kind === 'snapshot') this.queueBegan = true
    const pair = this.numbers.get(event.symbol)
    if (pair !== undefined && event.outcome in LOST) {
      this.handlers.frame({ kind: 'gap', channel: 'level3', pair, from: micros(event.ts_recv), to: 0, reason: LOST[event.outcome] })
    }
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
      if (is('book', 1000 / this.perSecond)) this.follow?.flush()
      if (this.three && this.queued && is('orders', EVERY.orders)) this._showOrders(pair)
    }
    if (is('clock', EVERY.clock)) this._clock()
    if (is('overview', EVERY.overview)) this._overview()
  }

  /** Nothing is known yet. @param {number} at */
  _waiting(at) {
    if (at < this.due.clock) return
    this.due.clock = at + EVERY.clock
    const reason = this.down.get(this.all) ?? ''
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
  _showOrders(pair) {
    const orders = this.three.orders(this.chosen.symbol)
    const levels = orders.levels(QUEUES_MAX)
    const { queue } = this
    const head = {
      pair, inSync: levels !== undefined, continued: !this.queueBegan, checked: /** @type {'unchecked' | 'ok' | 'wrong'} */ (CHECKED[queue.outcome] ?? 'unchecked'),
      recv: micros(queue.ts_recv), event: micros(queue.ts_event), checksum: queue.checksum ?? 0, messages: this.queued,
    }
    this.queued = 0
    this.queueBegan = false
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

  _clock() {
    const feeds = [this.all, this.one, this.three].filter(feed => feed !== null)
    const up = feeds.every(feed => feed.connected)
    const at = now()
    const reason = feeds.map(feed => this.down.get(feed)).find(Boolean) ?? ''
    const words = up ? this.all.system ?? '' : `!${reason}`
    if (words !== this.said) {
      this.said = words
      this.handlers.status({ up, reason, system: this.all.system ?? '' })
    }
    // A quiet market is not stale: the exchange's heartbeat comes all the same.
    const heard = Math.min(...feeds.map(feed => micros(feed.received) || at))
    this.shown = up && at - heard < SILENCE ? at : heard
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
