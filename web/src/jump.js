// Going to an instant of a recording: the time before it is played quickly first, so that the picture is not empty.

/** What is played before the instant, microseconds, and how fast: about 150 states of a busy book. */
const BEFORE = 30e6
const FAST = 12
/** States a second meanwhile; the server allows no more. */
const RATE = 60
/** A jump that takes longer goes to its instant at once, ms. */
const PATIENCE = 8000

export class Jump {
  /** @param {import('./market.js').Market} market @param {import('./stream.js').Source} source @param {number} rate of states, otherwise */
  constructor(market, source, rate) {
    this.market = market
    this.source = source
    this.rate = rate
    /** The instant, microseconds; null: no jump is under way. @type {number | null} */
    this.to = null
    this.speed = 1
    this.paused = false
    this.until = 0
  }

  /**
   * @param {number} to microseconds @param {number} begin of the recording
   * @param {number} speed afterwards @param {boolean} paused afterwards
   */
  start(to, begin, speed, paused) {
    this.to = to
    this.speed = speed
    this.paused = paused
    this.until = this.market.clock() + PATIENCE
    this.market.clear()
    this.market.awaiting = true
    this.market.until = to
    this.source.rate(RATE)
    this.source.seek(Math.max(begin, to - BEFORE))
    this.source.speed(FAST)
    this.source.resume()
  }

  /** Let time pass. @returns {boolean} whether it has arrived just now */
  tick() {
    const { to, market, source } = this
    if (to === null || (market.awaiting && market.clock() < this.until)) return false
    const arrived = market.reached >= to
    if (!arrived && market.clock() < this.until) return false
    // Everything up to the instant was watched: its state continues the last one.
    if (arrived) market.resubscribed()
    this._end()
    market.awaiting = true
    market.place(to, this.paused)
    // It stands still before it goes there, so that it is exactly there.
    if (this.paused) source.pause()
    source.seek(to)
    source.speed(this.speed)
    return true
  }

  /** The connection is gone: the place in the recording, too. */
  cancel() {
    if (this.to !== null) this._end()
  }

  _end() {
    this.to = null
    this.market.until = Infinity
    this.source.rate(this.rate)
  }
}
