// One pair of a `Feed` of the web package as frames for a market: whenever it is asked, the newest state.

/** Messages after which nobody knows a book, in words. @type {Record<string, string>} */
export const LOST = { mismatch: 'checksum mismatch', crossed: 'crossed book', refused: 'a number that cannot be held' }
/** What became of a checksum. @type {Record<string, 'ok' | 'wrong'>} */
export const CHECKED = { ok: 'ok', mismatch: 'wrong', crossed: 'wrong' }
/** Trades that wait for the next state; more are counted and left out. */
const TRADES_MAX = 1000

/** @typedef {import('../core/index.js').Feed} Feed */
/** @typedef {import('./decode.js').Frame} Frame */

/** Nanoseconds as microseconds. @param {bigint | null | undefined} ns */
export const micros = ns => (ns ? Number(ns / 1000n) + Number(ns % 1000n) / 1000 : 0)

/** What came of a book since its last state. */
class Since {
  constructor() {
    this.messages = 0
    this.began = true
    this.inSync = false
    this.seen = false
    this.recv = 0
    this.event = 0
    this.checksum = 0
    /** @type {'unchecked' | 'ok' | 'wrong'} */
    this.checked = 'unchecked'
  }

  /** @param {import('../core/index.js').BookEvent} event */
  take(event) {
    this.seen = true
    this.messages++
    if (event.kind === 'snapshot') this.began = true
    this.recv = micros(event.ts_recv)
    this.event = micros(event.ts_event)
    this.checksum = event.checksum ?? 0
    this.checked = CHECKED[event.outcome] ?? 'unchecked'
  }

  /** @param {number} pair @param {boolean} inSync @returns {import('./decode.js').Head | null} null: nothing is new */
  head(pair, inSync) {
    if (!this.seen || (!this.messages && inSync === this.inSync)) return null
    const found = {
      pair, inSync, continued: !this.began, checked: this.checked, recv: this.recv, event: this.event,
      checksum: this.checksum, messages: this.messages,
    }
    this.messages = 0
    this.began = false
    this.inSync = inSync
    return found
  }
}

export class Follow {
  /**
   * @param {Feed} feed that subscribes the pair; it may not be open yet
   * @param {string} symbol @param {number} number of the pair in frames @param {number} depth levels of a side
   * @param {(frame: Frame) => void} frame
   */
  constructor(feed, symbol, number, depth, frame) {
    this.feed = feed
    this.symbol = symbol
    this.number = number
    this.depth = depth
    this.frame = frame
    this.since = new Since()
    /** @type {import('../core/index.js').TradeEvent[]} */
    this.trades = []
    /** Id of the last trade that was given. @type {bigint | undefined} */
    this.lastTrade = undefined
    this.leftOut = 0
    this.tradesBegan = true
    this.ends = [
      feed.on('book', symbol, event => {
        this.since.take(event)
        const lost = LOST[event.outcome]
        if (!lost) return
        // A wrong checksum is shown even if the book is right again soon.
        this.flush()
        this._gap(this.since.recv, 0, lost)
      }),
      feed.on('gap', symbol, event => {
        if (event.of === 'trade') this.tradesBegan = true
        if (event.of !== 'book') return
        this.since.began = true
        this._gap(micros(event.ts_from ?? event.ts_to), micros(event.ts_to), event.reason)
      }),
      feed.on('connection', '*', event => {
        if (event.up || event.endpoint !== 'public' || !this.since.inSync) return
        this.flush()
        this._gap(micros(event.ts_recv), 0, event.reason)
      }),
      feed.on('trade', symbol, event => {
        this.trades.push(event)
        if (this.trades.length <= TRADES_MAX) return
        this.trades.shift()
        this.leftOut++
      }),
    ]
  }

  close() {
    for (const end of this.ends) end()
    this.ends = []
  }

  /** @param {number} from @param {number} to @param {string} reason */
  _gap(from, to, reason) {
    this.frame({ kind: 'gap', channel: 'book', pair: this.number, from, to, reason })
  }

  /** Give what is new. */
  flush() {
    this._book()
    this._trades()
  }

  _book() {
    // A feed that is not open yet has no books.
    if (!this.since.seen) return
    const book = this.feed.book(this.symbol)
    const head = this.since.head(this.number, book.inSync)
    if (!head) return
    const levels = head.inSync ? book.numbers(this.depth) : undefined
    const n = levels?.bids ?? 0
    // The numbers are views of the module's memory, which the next call may change.
    const copy = (/** @type {'prices' | 'qtys'} */ name, /** @type {number} */ from, /** @type {number | undefined} */ to = undefined) =>
      levels ? levels[name].slice(from, to) : new Float64Array(0)
    this.frame({
      kind: 'book', ...head, bidP: copy('prices', 0, n), bidQ: copy('qtys', 0, n), askP: copy('prices', n), askQ: copy('qtys', n),
    })
  }

  _trades() {
    const { trades } = this
    if (!trades.length) return
    this.trades = []
    this.lastTrade = trades[trades.length - 1].trade_id
    // Trades from before the subscription are of their own time, not of that at which they were sent.
    const times = trades.map(one => [micros(one.ts_event ?? one.ts_recv), micros(one.ts_recv)])
    this.frame({
      kind: 'trades', pair: this.number, continued: !this.tradesBegan, leftOut: this.leftOut,
      event: Float64Array.from(times, ([event]) => event),
      recv: Float64Array.from(times, ([event, recv], i) => (trades[i].kind === 'snapshot' ? Math.min(event, recv) : recv)),
      id: BigInt64Array.from(trades, one => one.trade_id),
      price: Float64Array.from(trades, one => Number(one.price)),
      qty: Float64Array.from(trades, one => Number(one.qty)),
      side: Uint8Array.from(trades, one => Number(one.side === 'sell')),
      type: Uint8Array.from(trades, one => Number(one.ord_type === 'market')),
    })
    this.tradesBegan = false
    this.leftOut = 0
  }
}
