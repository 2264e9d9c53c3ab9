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
    /** The instant itself was asked for. */
    this.landing = false
    this.begun = 0
  }

  /**
   * @param {number} to microseconds @param {number} begin of the recording
   * @param {number} speed afterwards @param {boolean} paused afterwards
   */
  start(to, begin, speed, paused) {
    this.to = to
    this.speed = speed
    this.paused = paused
    this.landing = false
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
    if (to === null) return false
    const late = market.clock() > this.until
    if (this.landing) {
      // The instant is shown when the book of it is there, or the overview of it, which comes behind the books.
      if (!late && (market.awaiting || (market.begun === this.begun && market.overviewAt <= market.answeredAt))) return false
      this._end()
      return true
    }
    if (!late && (market.awaiting || market.reached < to)) return false
    // Everything up to the instant was watched: its state continues the last one.
    if (!late) market.resubscribed()
    this.landing = true
    this.begun = market.begun
    this.until = market.clock() + PATIENCE
    market.awaiting = true
    market.place(to, this.paused)
    // It stands still before it goes there, so that it is exactly there.
    if (this.paused) source.pause()
    source.seek(to)
    source.speed(this.speed)
    return false
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
