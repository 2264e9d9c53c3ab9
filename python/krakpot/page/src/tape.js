// Time and sales: the last trades before the instant that is shown.

import { clock, fitted, fixed } from './format.js'
import { element, put } from './ladder.js'

const ROW = 19
/** Characters that there is room for. */
const QTY = 11

export class Tape {
  /** @param {HTMLElement} host */
  constructor(host) {
    this.host = host
    host.classList.add('tape')
    const box = element('div', 'rows')
    this.box = host.appendChild(box)
    this.table = box.appendChild(element('table'))
    this.table.innerHTML = '<thead><tr><th scope="col">Time</th><th scope="col">Price</th><th scope="col">Quantity</th></tr></thead>'
    this.body = this.table.appendChild(element('tbody'))
    this.rows = 0
    this.key = ''
    new ResizeObserver(() => this._size()).observe(box)
    this._size()
  }

  _size() {
    const rows = Math.max(3, Math.floor((this.box.clientHeight - 22) / ROW))
    if (rows === this.rows) return
    this.rows = rows
    this.key = ''
    this.body.textContent = ''
    for (let i = 0; i < rows; i++) {
      const row = element('tr')
      for (const name of ['time', 'price', 'qty']) row.append(element('td', name))
      this.body.append(row)
    }
  }

  /** @param {import('./history.js').TradeHistory} trades @param {number} now @param {import('./stream.js').Pair | undefined} pair */
  draw(trades, now, pair) {
    const end = trades.after(now)
    const key = `${pair?.symbol}|${end}|${trades.n}`
    if (key === this.key) return
    this.key = key
    for (let i = 0; i < this.rows; i++) {
      const row = this.body.children[i]
      const number = end - 1 - i
      const one = pair && number >= trades.first ? trades.get(number) : null
      row.className = one ? (one.sell ? 'sell' : 'buy') + (one.missing ? ' missing' : '') : ''
      put(row.children[0], one ? clock(one.t) : '')
      put(row.children[1], one && pair ? fixed(one.price, pair.pricePrecision) : '')
      put(row.children[2], one && pair ? fitted(one.qty, pair.qtyPrecision, QTY) : '')
      const title = one ? `${one.sell ? 'sell' : 'buy'} ${fixed(one.qty, pair?.qtyPrecision ?? 0)}, ${one.market ? 'market' : 'limit'} order, trade ${one.id}` +
        (one.missing ? '; trades before it may be missing here' : '') : ''
      if (row.getAttribute('title') !== title) row.setAttribute('title', title)
    }
  }
}
