// All pairs with the state of their books: searched, chosen. Only the rows that can be seen exist.

import { fixed } from './format.js'
import { element, put } from './ladder.js'

const ROW = 24
/** How long a wrong checksum is remembered, ms. */
const WRONG_SHOWN = 60_000

/** @typedef {{sign: string, name: string, words: string}} Verdict */

/**
 * What is to be said of the book of a pair: a sign and words, never colour alone.
 * @param {import('./market.js').Line | undefined} line @param {number} now @returns {Verdict}
 */
export function verdict(line, now) {
  if (!line || (line.inSync === 2 && !line.right && !line.wrong)) return { sign: '·', name: 'none', words: 'not read' }
  const counts = `${line.right} checksums right, ${line.wrong} wrong`
  if (line.inSync === 0) return { sign: '!', name: 'out', words: `out of sync; ${counts}` }
  if (line.wrong && now - line.wrongAt < WRONG_SHOWN) return { sign: '×', name: 'wrong', words: `a wrong checksum a moment ago; ${counts}` }
  if (!line.right) return { sign: '·', name: 'none', words: 'not checked yet' }
  return { sign: '✓', name: 'ok', words: counts }
}

export class Pairs {
  /** @param {HTMLElement} host @param {import('./market.js').Market} market @param {(number: number) => void} choose */
  constructor(host, market, choose) {
    this.market = market
    this.choose = choose
    host.classList.add('pairs')
    this.input = /** @type {HTMLInputElement} */ (element('input'))
    Object.assign(this.input, { type: 'search', placeholder: 'Search pairs  /', autocomplete: 'off', spellcheck: false })
    for (const [name, value] of Object.entries({
      role: 'combobox', 'aria-expanded': 'true', 'aria-controls': 'pair-list', 'aria-label': 'Search pairs', 'aria-autocomplete': 'list',
    })) this.input.setAttribute(name, value)
    this.box = element('div', 'rows')
    this.box.id = 'pair-list'
    this.box.setAttribute('role', 'listbox')
    this.box.setAttribute('aria-label', 'Pairs')
    this.space = this.box.appendChild(element('div', 'space'))
    this.foot = element('p', 'words')
    host.append(this.input, this.box, this.foot)
    /** @type {number[]} */
    this.found = []
    this.active = 0
    this.input.addEventListener('input', () => {
      this.active = 0
      this.box.scrollTop = 0
      this.search()
    })
    this.input.addEventListener('keydown', event => {
      if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
        event.preventDefault()
        this.active = Math.min(Math.max(this.active + (event.key === 'ArrowDown' ? 1 : -1), 0), this.found.length - 1)
        this._reveal()
      } else if (event.key === 'Enter' && this.found.length) {
        this.input.value = ''
        this.choose(this.found[this.active])
        this.search()
        this.input.blur()
      } else if (event.key === 'Escape') {
        this.input.value = ''
        this.search()
        this.input.blur()
      }
    })
    this.box.addEventListener('scroll', () => this.draw())
    this.box.addEventListener('click', event => {
      const row = /** @type {HTMLElement} */ (event.target).closest('[data-pair]')
      if (row) this.choose(Number(/** @type {HTMLElement} */ (row).dataset.pair))
    })
    new ResizeObserver(() => this.draw()).observe(this.box)
  }

  /** Find what the text says: pairs that begin with it first. */
  search() {
    const text = this.input.value.trim().toUpperCase()
    const rank = (/** @type {string} */ symbol) =>
      symbol === text ? 0 : symbol.startsWith(text) ? 1 : symbol.split('/')[1]?.startsWith(text) ? 2 : symbol.includes(text) ? 3 : 4
    this.found = this.market.pairs.map((_, i) => i)
    if (text) {
      const ranks = this.market.pairs.map(one => rank(one.symbol.toUpperCase()))
      this.found = this.found.filter(i => ranks[i] < 4).sort((a, b) => ranks[a] - ranks[b] || a - b)
    }
    this.space.style.height = `${this.found.length * ROW}px`
    this.draw()
  }

  _reveal() {
    const top = this.active * ROW
    if (top < this.box.scrollTop) this.box.scrollTop = top
    else if (top + ROW > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = top + ROW - this.box.clientHeight
    this.draw()
  }

  /** The pair before or after the chosen one, of those that were found. @param {1 | -1} way */
  step(way) {
    const at = this.found.indexOf(this.market.chosen)
    const next = this.found[(at + way + this.found.length) % this.found.length]
    if (next === undefined) return
    this.choose(next)
    this.active = this.found.indexOf(next)
    this._reveal()
  }

  draw() {
    const { market, box, space } = this
    const now = market.clock()
    const first = Math.floor(box.scrollTop / ROW)
    const many = Math.min(Math.ceil(box.clientHeight / ROW) + 1, this.found.length - first)
    while (space.children.length < many) {
      const row = element('div', 'pair')
      row.setAttribute('role', 'option')
      for (const name of ['sign', 'symbol', 'last']) row.append(element('span', name))
      space.append(row)
    }
    while (space.children.length > Math.max(many, 0)) space.lastElementChild?.remove()
    for (let i = 0; i < many; i++) {
      const number = this.found[first + i]
      const pair = market.pairs[number]
      const line = market.lines[number]
      const said = verdict(line, now)
      const row = /** @type {HTMLElement} */ (space.children[i])
      row.style.transform = `translateY(${(first + i) * ROW}px)`
      row.dataset.pair = String(number)
      row.id = `pair-${number}`
      row.classList.toggle('chosen', number === market.chosen)
      row.classList.toggle('active', this.input.matches(':focus') && first + i === this.active)
      row.setAttribute('aria-selected', String(number === market.chosen))
      put(row.children[0], said.sign)
      if (row.children[0].className !== `sign ${said.name}`) row.children[0].className = `sign ${said.name}`
      const title = `${pair.symbol}: ${said.words}`
      if (row.title !== title) {
        row.title = title
        row.setAttribute('aria-label', title)
      }
      put(row.children[1], pair.symbol)
      const price = line && (line.bid > 0 && line.ask > 0 ? (line.bid + line.ask) / 2 : line.last)
      put(row.children[2], price > 0 ? fixed(price, pair.pricePrecision) : '')
    }
    if (this.found[this.active] !== undefined && this.input.matches(':focus')) {
      this.input.setAttribute('aria-activedescendant', `pair-${this.found[this.active]}`)
    } else {
      this.input.removeAttribute('aria-activedescendant')
    }
    let ok = 0
    let bad = 0
    for (const line of market.lines) {
      const { name } = verdict(line, now)
      if (name === 'ok') ok++
      else if (name !== 'none') bad++
    }
    put(this.foot, !market.pairs.length ? 'No pairs yet.' : !this.found.length ? 'No pair has that in its name.'
      : `${ok} of ${market.pairs.length} proved right${bad ? `, ${bad} wrong or out of sync` : ''}`)
    this.foot.classList.toggle('bad', bad > 0)
  }
}
