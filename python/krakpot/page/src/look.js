// Colours of everything that is drawn: of the palette of Okabe and Ito, for a light and a dark page. style.css has the same.

/** @typedef {[number, number, number]} Rgb */
/**
 * @typedef {object} Palette
 * @property {boolean} dark
 * @property {string} ground
 * @property {string} text
 * @property {string} dim
 * @property {string} grid
 * @property {string} bid line and text
 * @property {string} ask
 * @property {string} hatch
 * @property {string} mark
 * @property {{ground: Rgb, beyond: Rgb, bid: Rgb[], ask: Rgb[]}} heat colours of rising strength
 */

/** @param {string} text #rrggbb @returns {Rgb} */
const rgb = text => /** @type {Rgb} */ ([1, 3, 5].map(i => parseInt(text.slice(i, i + 2), 16) / 255))

/** @type {Palette} */
export const DARK = {
  dark: true,
  ground: '#0e1319', text: '#dfe5ec', dim: '#8793a1', grid: 'rgba(150,170,190,0.10)',
  bid: '#56b4e9', ask: '#f0853a', hatch: 'rgba(150,165,180,0.38)', mark: '#f0e442',
  heat: {
    ground: rgb('#0e1319'), beyond: rgb('#161c23'),
    bid: ['#0e1319', '#0b3350', '#0072b2', '#4fb0ea', '#e2f3ff'].map(rgb),
    ask: ['#0e1319', '#48230f', '#c4560a', '#ff9a4d', '#fff0e0'].map(rgb),
  },
}

/** @type {Palette} */
export const LIGHT = {
  dark: false,
  ground: '#ffffff', text: '#1f2933', dim: '#5d6b7a', grid: 'rgba(40,60,80,0.09)',
  bid: '#0072b2', ask: '#c44f00', hatch: 'rgba(90,105,120,0.42)', mark: '#7a5c00',
  heat: {
    ground: rgb('#ffffff'), beyond: rgb('#f1f3f5'),
    bid: ['#ffffff', '#d3e8f5', '#6db1da', '#0072b2', '#00304d'].map(rgb),
    ask: ['#ffffff', '#fbe0cd', '#f0a06a', '#d55e00', '#5c2800'].map(rgb),
  },
}

/** A place between colours. @param {Rgb[]} stops @param {number} a 0 to 1 @returns {Rgb} */
export function between(stops, a) {
  const place = Math.min(Math.max(a, 0), 1) * (stops.length - 1)
  const i = Math.min(Math.floor(place), stops.length - 2)
  const f = place - i
  return /** @type {Rgb} */ (stops[i].map((from, k) => from + (stops[i + 1][k] - from) * f))
}

/** How strong a quantity is drawn, 0 to 1. @param {number} qty @param {number} scale */
export function strength(qty, scale) {
  return scale > 0 ? Math.min(1, Math.log2(1 + (15 * qty) / scale) / 4) : 0
}
