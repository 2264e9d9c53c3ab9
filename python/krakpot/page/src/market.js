// What is known of the chosen pair and of all pairs: frames of a source in, histories and figures out. It draws nothing.

import { BookHistory, Gaps, QueueHistory, TradeHistory } from './history.js'

/** Bytes for states of the book, and for queues; trades that are kept. */
export const BOOK_BYTES = 64e6
export const QUEUE_BYTES = 32e6
export const TRADES_MAX = 100_000
/** Time over which messages per second are counted, ms. */
const COUNTED = 3000
/** A new state of this age continues the old one after a request of ours that made the source begin anew, microseconds. */
const RESUBSCRIBED = 3e6

/** @typedef {import('./decode.js').Frame} Frame */
/** @typedef {import('./stream.js').Pair} Pair */

/** What an overview says of a pair. */
export class Line {
  constructor() {
    this.bid = NaN
    this.ask = NaN
    this.last = NaN
    this.volume = NaN
    this.imbalance = NaN
    this.right = 0
    this.wrong = 0
    /** 1 in sync, 0 not, 2 not known */
    this.inSync = 2
    /** When a checksum was wrong for the last time, ms of the page's clock. */
    this.wrongAt = -Infinity
  }
}

export class Market {
  /** @param {() => number} clock milliseconds that only rise */
  constructor(clock = () => performance.now()) {
    this.clock = clock
    /** @type {Pair[]} */
    this.pairs = []
    /** @type {Line[]} */
    this.lines = []
    /** @type {import('./stream.js').Hello | null} */
    this.hello = null
    this.status = { up: true, reason: '', system: '' }
    this.connected = false
    /** Number of the chosen pair. */
    this.chosen = -1
    /** Levels of a side that were asked for. */
    this.depth = 100
    /** The source was told to go to another time, and has not answered: what comes is of the old one. */
    this.awaiting = false
    /** What is of a later time is let go. */
    this.until = Infinity
    /** The latest time that came, microseconds. */
    this.reached = -Infinity
    /** When the source said that it goes to another time, ms of the page's clock. */
    this.answeredAt = -Infinity
    /** What is recorded of the book of the pair; null: not known. @type {import('./stream.js').Span[] | null} */
    this.spans = null
    /** Books that came and do not continue what was there: how many. */
    this.begun = 0
    this.book = new BookHistory(1, BOOK_BYTES)
    this.trades = new TradeHistory(TRADES_MAX)
    this.queues = new QueueHistory(QUEUE_BYTES)
    this.gaps = new Gaps()
    this.level3Gaps = new Gaps()
    /** @type {import('./decode.js').ClockFrame | null} */
    this.time = null
    this.timeAt = -Infinity
    this.overviewAt = -Infinity
    /** @type {{at: number, n: number}[]} */
    this._counts = []
    this._seenAll = -1
    this._resubscribed = false
    /** Changes whenever the histories began anew. */
    this.epoch = 0
    /** Called with each new state of the book. @type {(state: import('./history.js').BookState) => void} */
    this.onState = () => {}
    /** Called when columns that were drawn are no longer right. */
    this.onChange = () => {}
  }

  /** @param {import('./stream.js').Hello} hello */
  greet(hello) {
    this.hello = hello
    this.connected = true
    this.setPairs(hello.pairs)
    this._seenAll = -1
  }

  /** @param {Pair[]} pairs */
  setPairs(pairs) {
    const symbol = this.pair?.symbol
    this.pairs = pairs
    const old = this.lines
    this.lines = pairs.map((_, i) => old[i] ?? new Line())
    // A server that was started anew may have other numbers.
    if (symbol !== undefined && pairs[this.chosen]?.symbol !== symbol) {
      const again = pairs.findIndex(one => one.symbol === symbol)
      this.lines = pairs.map(() => new Line())
      if (again >= 0) this.chosen = again
      else this.choose(-1)
    }
  }

  get pair() { return /** @type {Pair | undefined} */ (this.pairs[this.chosen]) }

  /** Choose a pair: what is remembered is of it alone. @param {number} number */
  choose(number) {
    this.chosen = number
    this.spans = null
    this.book = new BookHistory(10 ** (this.pair?.pricePrecision ?? 0), BOOK_BYTES)
    this.clear()
  }

  /** Forget everything of the pair: what comes now is of another time. */
  clear() {
    this.book.clear()
    this.trades.clear()
    this.queues.clear()
    this.gaps.clear()
    this.level3Gaps.clear()
    this.reached = -Infinity
    this._resubscribed = false
    this.epoch++
    this.onChange()
  }

  /** The source was asked for the same pair in another way: its next state continues what is there. */
  resubscribed() { this._resubscribed = true }

  /** The connection to the source is gone. */
  lost() {
    if (!this.connected) return
    const now = this.now()
    this.connected = false
    this.awaiting = false
    if (this.book.last) this.gaps.add(Math.max(now, this.book.end), 0, 'the page had no connection')
    this.onChange()
  }

  /** Where the source is from now on, until its clock says so. @param {number} shown microseconds @param {boolean} paused */
  place(shown, paused) {
    if (!this.time) return
    this.time = { ...this.time, shown, paused }
    this.timeAt = this.clock()
  }

  get live() { return this.time ? this.time.live : this.hello?.source === 'live' }

  /** Milliseconds since the last clock of the source. */
  get silent() { return this.clock() - this.timeAt }

  get staleAfter() { return this.hello?.staleAfter ?? 3e6 }

  /** How old what is shown is, microseconds, where it should be new; 0: it is new. */
  stale() {
    const silent = this.silent * 1e3
    if (!this.time || silent > this.staleAfter) return silent
    // A feed that hears nothing from the exchange.
    if (this.time.live && this.time.shown > 0) {
      const behind = this.time.server - this.time.shown + silent
      if (behind > this.staleAfter) return behind
    }
    return 0
  }

  /** The time that the source shows now, microseconds; it stops where data is stale. */
  now() {
    const { time } = this
    if (!time) return this.book.end
    // A live source says when its last message came; until then nothing was missed.
    const shown = time.live ? time.server : time.shown
    const passed = time.paused || time.atEnd ? 0 : Math.min(this.silent * 1e3, this.staleAfter) * (time.live ? 1 : time.speed)
    const now = shown + passed
    return Number.isFinite(this.book.end) ? Math.max(now, this.book.end) : now
  }

  /** Until when the newest state is known to hold, microseconds. */
  held() {
    if (!this.connected) return this.gaps.list.length ? this.gaps.list[this.gaps.list.length - 1].from : this.book.end
    const { time } = this
    if (!time) return this.book.end
    const now = this.now()
    if (time.live && time.shown > 0) return Math.max(this.book.end, Math.min(now, time.shown + this.staleAfter))
    return now
  }

  /** Take a frame of the source. @param {Frame} frame */
  take(frame) {
    if (this.awaiting && frame.kind !== 'overview') return
    switch (frame.kind) {
      case 'clock':
        this.time = frame
        this.timeAt = this.clock()
        this._late(frame.shown)
        return
      case 'overview': return this._overview(frame)
      case 'gap': {
        if (frame.pair !== this.chosen) return
        if (frame.channel === 'book') this.gaps.add(frame.from, frame.to, frame.reason)
        else if (frame.channel === 'level3') this.level3Gaps.add(frame.from, frame.to, frame.reason)
        // The book is in sync again already: its state came before the word of its gap.
        if (frame.channel === 'book' && !frame.to && this.book.last?.inSync && this.book.end > frame.from) this.gaps.close(this.book.end)
        this.onChange()
        return
      }
      case 'book': {
        this._count(frame.messages, frame.pair)
        if (frame.pair !== this.chosen) return
        if (!frame.continued) this.begun++
        // While a jump is under way, a state that no message made is of the place before it.
        if (this.until < Infinity && !frame.recv) return
        const t = this._when(frame.recv)
        if (this._late(frame.recv)) return
        const age = t - this.book.end
        const continued = frame.continued || (this._resubscribed && age < RESUBSCRIBED)
        // States that were on their way when it was asked continue, and do not end the wait for the new one.
        if (frame.inSync) {
          if (!frame.continued) this._resubscribed = false
          this.gaps.close(t)
        } else {
          this.gaps.add(t, 0, this._why(frame, t))
        }
        if (!continued && age > 0 && !this.gaps.at(this.book.end + age / 2)) this.gaps.add(this.book.end, t, 'not watched')
        const state = this.book.push({
          ...frame, t, depth: this.depth, continued: continued && Number.isFinite(age), checked: frame.checked === 'ok' ? 1 : frame.checked === 'wrong' ? 2 : 0,
        })
        const line = this.lines[frame.pair]
        if (line) line.inSync = frame.inSync ? 1 : 0
        this.onState(state)
        return
      }
      case 'orders':
        if (frame.pair !== this.chosen || this._late(frame.recv)) return
        if (frame.inSync) this.level3Gaps.close(this._when(frame.recv))
        this.queues.push(frame, this._when(frame.recv))
        return
      case 'trades':
        if (frame.pair === this.chosen) this.trades.push(frame, this.until)
    }
  }

  /** Why nobody knows a book. @param {import('./decode.js').BookFrame} frame @param {number} t */
  _why(frame, t) {
    if (frame.checked === 'wrong') return 'wrong checksum'
    // Behind the last span it may be recorded since it was asked.
    if (this.spans?.some(one => one.from > t) && !this.spans.some(one => one.from <= t && t < one.to)) {
      const before = this.spans.findLast(one => one.to <= t)
      return `nothing is recorded${before?.reason ? `: ${before.reason}` : ''}`
    }
    return frame.recv ? 'the book is out of sync' : 'nothing was received yet'
  }

  /** Whether something is of a time that is not wanted. @param {number} t */
  _late(t) {
    this.reached = Math.max(this.reached, t)
    return t > this.until
  }

  /** A state that was made before any message came has no time of receipt: it is of the time that is shown. @param {number} recv */
  _when(recv) {
    if (recv > 0) return recv
    const { time, hello } = this
    if (time) return time.live ? time.server : time.shown
    return hello?.begin ?? Date.now() * 1e3
  }

  /** @param {import('./decode.js').OverviewFrame} frame */
  _overview(frame) {
    let all = 0
    for (let i = 0; i < frame.pair.length; i++) {
      const line = this.lines[frame.pair[i]]
      if (!line) continue
      if (frame.wrong[i] > line.wrong) line.wrongAt = this.clock()
      line.bid = frame.bid[i]
      line.ask = frame.ask[i]
      line.last = frame.last[i]
      line.volume = frame.volume[i]
      line.imbalance = frame.imbalance[i]
      line.right = frame.right[i]
      line.wrong = frame.wrong[i]
      line.inSync = frame.inSync[i] > 1 ? 2 : frame.inSync[i]
      all += frame.right[i] + frame.wrong[i]
    }
    if (this._seenAll >= 0 && all >= this._seenAll) this._add(all - this._seenAll)
    this._seenAll = all
    this.overviewAt = this.clock()
  }

  /** @param {number} n @param {number} pair */
  _count(n, pair) {
    // The overview counts all pairs, where there is one.
    if (this._seenAll < 0 && pair === this.chosen) this._add(n)
  }

  /** @param {number} n */
  _add(n) {
    const now = this.clock()
    this._counts.push({ at: now, n })
    while (this._counts.length && this._counts[0].at < now - COUNTED) this._counts.shift()
  }

  /** Messages of books a second, of all pairs that the source reads. */
  rate() {
    const now = this.clock()
    let n = 0
    for (const one of this._counts) if (one.at >= now - COUNTED) n += one.n
    return n / (COUNTED / 1000)
  }

  get bytes() { return this.book.bytes + this.trades.bytes + this.queues.bytes }
}
