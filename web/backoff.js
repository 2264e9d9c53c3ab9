// When to connect again, and how fast requests go out: policies without a clock or a socket. Times are seconds.

/** Attempts made at once: the first one, and three after drops. */
const FAST = 4;
/** Kraken bans an address for ten minutes after about 150 attempts in ten minutes. */
const BUDGET = 120;
/** Seconds in which they count. */
const WINDOW = 600;
/** The longest wait before jitter, seconds. */
const LONGEST = 30;
/** A connection that was open for this many seconds forgives the failures before it. */
const STABLE = 30;

/** Decides when to connect again: at once at first, then after 1, 2, 4 … 30 seconds and jitter. */
export class Backoff {
  #failures = 0;
  /** @type {number[]} */
  #attempts = [];
  #random;

  /** @param {() => number} [random]  From 0 to 1. */
  constructor(random = Math.random) {
    this.#random = random;
  }

  /**
   * Reports a connection that was open.
   *
   * @param {number} seconds  For how long.
   */
  opened(seconds) {
    if (seconds >= STABLE) this.#failures = 0;
  }

  /**
   * The wait before the next attempt, which is counted at its end.
   *
   * @param {number} now
   * @param {boolean} [maintenance]  Whether the exchange said so: its engine needs some seconds.
   * @returns {number}
   */
  delay(now, maintenance = false) {
    const step = Math.min(this.#failures - FAST, 16);
    let wait = step < 0 ? 0 : Math.min(LONGEST, 2 ** step);
    if (wait) wait += this.#random() * 0.75;
    if (maintenance) wait = Math.max(wait, 5 + this.#random() * 2);
    this.#failures += 1;
    this.#attempts = this.#attempts.filter((at) => at > now - WINDOW);
    if (this.#attempts.length >= BUDGET) {
      wait = Math.max(wait, this.#attempts[this.#attempts.length - BUDGET] + WINDOW - now);
    }
    this.#attempts.push(now + wait);
    return wait;
  }
}

/** Limits the rate of requests, and keeps their order: ten a second after a first ten. */
export class Pacer {
  /** @type {string[]} */
  #waiting = [];
  #tokens = 10;
  #at = 0;

  /** @param {string[]} requests */
  add(requests) {
    this.#waiting.push(...requests);
  }

  /**
   * Requests that may be sent now.
   *
   * @param {number} now
   * @returns {string[]}
   */
  due(now) {
    this.#tokens = Math.min(10, this.#tokens + (now - this.#at) * 10);
    this.#at = now;
    const due = this.#waiting.splice(0, Math.floor(this.#tokens));
    this.#tokens -= due.length;
    return due;
  }
}
