// Going to an instant of a recording: the time before it is played quickly first, so that the picture is not empty.

/** What is played before the instant, microseconds. */
const BEFORE = 60e6
/** How fast, and how fast close to the instant; where that begins, and where it ends. */
const FAST = 40
const SLOW = 6
const CLOSE = 6e6
const END = 0.5e6
/** A jump that takes longer goes to its instant at once, ms. */
const PATIENCE = 8000

export class Jump {
  /** @param {import('./market.js').Market} market @param {import('./stream.js').Source} source */
  constructor(market, source) {
    this.market = market
    this.source = source
    /** The instant, microseconds; null: no jump is under way. @type {number | null} */
    this.to = null
    this.speed = 1
    this.paused = false
    this.phase = 0
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
    this.phase = 0
    this.until = this.market.clock() + PATIENCE
    this.market.clear()
    this.market.awaiting = true
    this.source.seek(Math.max(begin, to - BEFORE))
    this.source.speed(FAST)
    this.source.resume()
  }

  /** Let time pass. @returns {boolean} whether it has arrived just now */
  tick() {
    const { to, market, source } = this
    if (to === null || market.awaiting) return false
    const now = market.now()
    const late = market.clock() > this.until
    if (this.phase === 0 && now >= to - CLOSE) {
      this.phase = 1
      source.speed(SLOW)
    }
    if (!late && !(now >= to - END)) return false
    this.to = null
    // What was played too far is of the time after the instant.
    if (market.book.end > to) market.clear()
    market.awaiting = true
    source.seek(to)
    source.speed(this.speed)
    if (this.paused) source.pause()
    return true
  }

  /** The connection is gone: on the next one it begins anew. */
  cancel() { this.to = null }
}
