// The book as a ladder: price, quantity, quantity up to there, and what it costs to sweep to there.

import { fitted, fixed, short } from './format.js'

const ROW = 19
/** Characters that there is room for. */
const QTY = 11

/** @param {string} tag @param {string} [name] @param {string} [text] */
export function element(tag, name = '', text = '') {
  const out = document.createElement(tag)
  if (name) out.className = name
  if (text) out.textContent = text
  return out
}

/** Change a text only if it is another: the page is laid out less. @param {Node} node @param {string} text */
export function put(node, text) {
  if (node.textContent !== text) node.textContent = text
}

/**
 * @typedef {object} Level
 * @property {number} ticks
 * @property {number} qty
 * @property {number} sum quantity up to here
 * @property {number} cost in the quote currency, of all up to here
 */

/**
 * Levels of a side with what it takes to sweep to them.
 * @param {import('./history.js').Side} side @param {number} scale @returns {Level[]}
 */
export function sweep(side, scale) {
  let sum = 0
  let cost = 0
  return Array.from(side.ticks, (ticks, i) => {
    const qty = side.qty[i]
    sum += qty
    cost += (ticks / scale) * qty
    return { ticks, qty, sum, cost }
  })
}

export class Ladder {
  /** @param {HTMLElement} host */
  constructor(host) {
    this.host = host
    this.offset = 0
    this.rows = 0
    /** @type {{asks: Level[], bids: Level[]}} */
    this.levels = { asks: [], bids: [] }
    /** @type {{side: 'asks' | 'bids', ticks: number} | null} */
    this.chosen = null
    host.classList.add('ladder')
    this.table = element('table')
    this.table.innerHTML = '<thead><tr><th scope="col">Price</th><th scope="col">Quantity</th><th scope="col">Sum</th>' +
      '<th scope="col" title="What it costs to take every order up to this price">Sweep</th></tr></thead>'
    this.asks = this.table.appendChild(element('tbody', 'asks'))
    this.middle = this.table.appendChild(element('tbody', 'middle'))
    this.bids = this.table.appendChild(element('tbody', 'bids'))
    const row = this.middle.appendChild(element('tr'))
    this.centre = /** @type {HTMLTableCellElement} */ (row.appendChild(element('td')))
    this.centre.colSpan = 4
    this.words = element('p', 'words')
    this.box = element('div', 'rows')
    this.box.append(this.table)
    this.box.tabIndex = 0
    this.box.setAttribute('role', 'region')
    this.box.setAttribute('aria-label', 'Levels of the book; Page Up and Page Down for deeper ones')
    host.append(this.box, this.words)
    this.box.addEventListener('wheel', event => {
      event.preventDefault()
      this.scroll(Math.sign(event.deltaY) * 3)
    }, { passive: false })
    this.box.addEventListener('keydown', event => {
      const by = { PageDown: this.rows, PageUp: -this.rows, ArrowDown: 1, ArrowUp: -1, Home: -Infinity }[event.key]
      if (by === undefined) return
      event.preventDefault()
      event.stopPropagation()
      this.scroll(by)
    })
    const choose = (/** @type {Event} */ event) => {
      const found = /** @type {HTMLElement} */ (event.target).closest('tr')
      const side = found?.parentElement === this.asks ? 'asks' : found?.parentElement === this.bids ? 'bids' : null
      this.chosen = found && side && found.dataset.ticks ? { side, ticks: Number(found.dataset.ticks) } : null
      this.changed = true
    }
    this.table.addEventListener('pointerover', choose)
    this.table.addEventListener('click', choose)
    this.box.addEventListener('pointerleave', () => {
      this.chosen = null
      this.changed = true
    })
    this.changed = true
    this.drawn = {}
    new ResizeObserver(() => this._size()).observe(this.box)
    this._size()
  }

  /** @param {number} by levels */
  scroll(by) {
    const most = Math.max(0, Math.max(this.levels.asks.length, this.levels.bids.length) - this.rows)
    this.offset = Math.min(most, Math.max(0, this.offset + by))
    this.changed = true
  }

  _size() {
    const rows = Math.max(3, Math.floor((this.box.clientHeight - 22 - 30) / ROW / 2))
    if (rows === this.rows) return
    this.rows = rows
    for (const body of [this.asks, this.bids]) {
      body.textContent = ''
      for (let i = 0; i < rows; i++) {
        const row = element('tr')
        for (const name of ['price', 'qty', 'sum', 'cost']) row.append(element('td', name))
        const bar = element('i', 'bar')
        row.firstElementChild?.append(document.createTextNode(''), bar)
        body.append(row)
      }
    }
    this.changed = true
  }

  /**
   * @param {import('./history.js').BookState | null} state
   * @param {import('./stream.js').Pair | undefined} pair @param {number} scale
   */
  draw(state, pair, scale) {
    if (!this.changed && this.drawn === state) return
    this.drawn = /** @type {any} */ (state)
    this.changed = false
    const known = state !== null && state.inSync && pair !== undefined
    this.host.classList.toggle('unknown', !known)
    this.levels = known ? { asks: sweep(state.asks, scale), bids: sweep(state.bids, scale) } : { asks: [], bids: [] }
    this.scroll(0)
    this.changed = false
    const { asks, bids } = this.levels
    const near = this.offset + this.rows
    const most = Math.max(asks[Math.min(near, asks.length) - 1]?.sum ?? 0, bids[Math.min(near, bids.length) - 1]?.sum ?? 0)
    for (let i = 0; i < this.rows; i++) {
      this._row(this.asks.children[this.rows - 1 - i], asks[this.offset + i], pair, scale, most)
      this._row(this.bids.children[i], bids[this.offset + i], pair, scale, most)
    }
    const bid = bids[0]?.ticks
    const ask = asks[0]?.ticks
    if (!known) {
      put(this.centre, !state ? 'nothing was received yet' : !state.inSync ? 'out of sync: nobody knows the levels' : '')
    } else if (bid === undefined || ask === undefined) {
      put(this.centre, 'one side is empty')
    } else {
      const spread = ask - bid
      const from = this.offset ? `levels ${this.offset + 1}–${near} · ` : ''
      put(this.centre, `${from}spread ${fixed(spread / scale, pair.pricePrecision)} · ${fixed((spread / ((ask + bid) / 2)) * 1e4, 2)} bp`)
    }
    this._words(pair, scale)
  }

  /** @param {Element} row @param {Level | undefined} level @param {import('./stream.js').Pair | undefined} pair @param {number} scale @param {number} most */
  _row(row, level, pair, scale, most) {
    const cells = /** @type {HTMLCollectionOf<HTMLElement>} */ (row.children)
    const name = /** @type {HTMLElement} */ (row)
    const price = /** @type {Text} */ (cells[0].firstChild)
    const bar = /** @type {HTMLElement} */ (cells[0].lastChild)
    if (!level || !pair) {
      if (price.data) {
        price.data = ''
        for (let i = 1; i < 4; i++) put(cells[i], '')
        bar.style.transform = 'scaleX(0)'
        delete name.dataset.ticks
      }
      return
    }
    const ticks = String(level.ticks)
    if (name.dataset.ticks !== ticks) {
      name.dataset.ticks = ticks
      price.data = fixed(level.ticks / scale, pair.pricePrecision)
    }
    put(cells[1], fitted(level.qty, pair.qtyPrecision, QTY))
    cells[1].title = `${fixed(level.qty, pair.qtyPrecision)} ${pair.symbol.split('/')[0]}`
    put(cells[2], short(level.sum))
    put(cells[3], short(level.cost))
    bar.style.transform = `scaleX(${(level.sum / most).toFixed(3)})`
    const chosen = this.chosen !== null && name.parentElement === this[this.chosen.side] &&
      (this.chosen.side === 'asks' ? level.ticks <= this.chosen.ticks : level.ticks >= this.chosen.ticks)
    name.classList.toggle('chosen', chosen)
  }

  /** @param {import('./stream.js').Pair | undefined} pair @param {number} scale */
  _words(pair, scale) {
    const { chosen } = this
    const level = chosen && this.levels[chosen.side].find(one => one.ticks === chosen.ticks)
    if (!chosen || !level || !pair) {
      put(this.words, 'Choose a price: what it costs to sweep to it.')
      return
    }
    const [base, quote] = pair.symbol.split('/')
    const best = this.levels[chosen.side][0].ticks / scale
    const each = level.cost / level.sum
    put(this.words, `${chosen.side === 'asks' ? 'Buying' : 'Selling'} ${short(level.sum)} ${base} ${chosen.side === 'asks' ? 'up' : 'down'} to ` +
      `${fixed(level.ticks / scale, pair.pricePrecision)} ${chosen.side === 'asks' ? 'costs' : 'brings'} ${short(level.cost)} ${quote}: ` +
      `${fixed(each, pair.pricePrecision)} each, ${fixed((Math.abs(each - best) / best) * 1e4, 1)} bp from the best price.`)
  }
}
