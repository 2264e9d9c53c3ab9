// Numbers and times as people read them: grouped, aligned, never with more digits than there are.

/**
 * A number with a fixed number of decimals and its thousands grouped.
 * @param {number} value
 * @param {number} decimals
 * @returns {string}
 */
export function fixed(value, decimals) {
  if (!Number.isFinite(value)) return '–'
  const text = Math.abs(value).toFixed(decimals)
  const point = decimals ? text.length - decimals - 1 : text.length
  let out = ''
  for (let i = 0; i < point; i++) {
    if (i && (point - i) % 3 === 0) out += ','
    out += text[i]
  }
  return (value < 0 ? '−' : '') + out + text.slice(point)
}

/**
 * A quantity or an amount of money in few characters: 1,234, 12.3k, 4.56M.
 * @param {number} value
 * @returns {string}
 */
export function short(value) {
  const size = Math.abs(value)
  if (!Number.isFinite(value)) return '–'
  if (size === 0) return '0'
  for (const [unit, letter] of /** @type {[number, string][]} */ ([[1e12, 'T'], [1e9, 'B'], [1e6, 'M'], [1e3, 'k']])) {
    if (size >= unit * 9.9995) return fixed(value / unit, size >= unit * 99.95 ? 1 : 2) + letter
  }
  return fixed(value, size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : size >= 1 ? 3 : 4)
}

/**
 * A number with as many of its decimals as there is room for.
 * @param {number} value
 * @param {number} decimals
 * @param {number} most characters
 * @returns {string}
 */
export function fitted(value, decimals, most) {
  const text = fixed(value, decimals)
  const over = text.length - most
  return over <= 0 ? text : over <= decimals ? fixed(value, decimals - over) : short(value)
}

/**
 * Bytes: 12.3 MB.
 * @param {number} bytes
 * @returns {string}
 */
export function size(bytes) {
  return bytes < 1e6 ? `${Math.round(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`
}

/**
 * A length of time in its largest unit: 3.2 s, 4 min 05 s, 2 h 10 min.
 * @param {number} us microseconds
 * @returns {string}
 */
export function duration(us) {
  const s = us / 1e6
  if (s < 10) return `${s.toFixed(1)} s`
  if (s < 60) return `${Math.round(s)} s`
  const pad = (/** @type {number} */ n) => String(Math.floor(n)).padStart(2, '0')
  if (s < 3600) return `${Math.floor(s / 60)} min ${pad(s % 60)} s`
  if (s < 86400) return `${Math.floor(s / 3600)} h ${pad((s % 3600) / 60)} min`
  return `${Math.floor(s / 86400)} d ${pad((s % 86400) / 3600)} h`
}

/**
 * A time of the day, UTC.
 * @param {number} us microseconds since 1970 UTC
 * @param {number} [digits] decimals of a second
 * @returns {string} 06:00:00.123
 */
export function clock(us, digits = 3) {
  if (!Number.isFinite(us)) return '–'
  // Cut, not rounded: a time is never shown as later than it was.
  const ms = Math.floor(us / 1e3)
  const text = new Date(ms).toISOString().slice(11, 23) + String(Math.floor(us - ms * 1e3)).padStart(3, '0')
  return digits ? text.slice(0, 9 + digits) : text.slice(0, 8)
}

/**
 * A day, UTC.
 * @param {number} us microseconds since 1970 UTC
 * @returns {string} 2026-11-29
 */
export function day(us) {
  return Number.isFinite(us) ? new Date(Math.floor(us / 1e3)).toISOString().slice(0, 10) : '–'
}

/**
 * A time as RFC 3339 with the decimals that it needs.
 * @param {number} us microseconds since 1970 UTC
 * @returns {string} 2026-11-29T06:00:00Z
 */
export function rfc3339(us) {
  const fraction = clock(us, 6).slice(9).replace(/0+$/, '')
  return `${day(us)}T${clock(us, 0)}${fraction ? '.' + fraction : ''}Z`
}

/**
 * The time that a text says.
 * @param {string} text RFC 3339, with or without zone (UTC) and seconds
 * @returns {number} microseconds since 1970 UTC; NaN if it is none
 */
export function parseTime(text) {
  const found = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?\s*(Z|UTC|[+-]\d\d:\d\d)?$/i.exec(text.trim())
  if (!found) return NaN
  const [, date, minutes = '00:00', seconds = '00', fraction = '', zone = 'Z'] = found
  const ms = Date.parse(`${date}T${minutes}:${seconds}${/^(z|utc)$/i.test(zone) ? 'Z' : zone}`)
  return ms * 1e3 + Number(fraction.padEnd(6, '0').slice(0, 6) || 0)
}

/** Distances of ticks of an axis of time, microseconds. */
export const STEPS = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500].map(ms => ms * 1e3),
  ...[1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400].map(s => s * 1e6),
]

/**
 * The least number of the series 1, 2, 5, 10 … that is not less.
 * @param {number} least
 * @returns {number}
 */
export function nice(least) {
  const power = 10 ** Math.floor(Math.log10(least))
  for (const place of [1, 2, 5, 10]) if (place * power >= least * (1 - 1e-9)) return place * power
  return 10 * power
}
