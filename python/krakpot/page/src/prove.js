// The panel that proves a recording: files that are dropped, chosen, named by the address, or those of the lake that is served.

import { fixed } from './format.js'

/** Failures and sentences that are shown; all are counted. */
const SHOWN_MAX = 100
const MARK = { proved: '✓', 'not proved': '×', 'nothing yet': '·' }

/** @typedef {{path: string, bytes: number, blob: () => Promise<Blob>}} Source */
/** @typedef {{path: string, date: string, bytes: number}} Listed  A part, as the server lists it. */

/**
 * @param {string} name @param {Record<string, unknown>} [facts] @param {(Node | string)[]} children
 * @returns {any}
 */
function made(name, facts = {}, ...children) {
  const element = Object.assign(document.createElement(name), facts)
  element.append(...children)
  return element
}

/** @param {string[]} heads @param {string[][]} rows */
function table(heads, rows) {
  const cells = (/** @type {string} */ name, /** @type {string[]} */ texts) => made('tr', {}, ...texts.map(text => made(name, { textContent: text })))
  return made('table', {}, made('thead', {}, cells('th', heads)), made('tbody', {}, ...rows.map(row => cells('td', row))))
}

/** @param {bigint | undefined} ns */
function time(ns) {
  if (ns === undefined) return '–'
  return `${new Date(Number(ns / 1_000_000n)).toISOString().slice(0, 19).replace('T', ' ')}.${String(ns % 1_000_000_000n).padStart(9, '0')}`
}

/**
 * All files of what was dropped, with their paths.
 * @param {DataTransfer} given @returns {Promise<Source[]>}
 */
async function dropped(given) {
  /** @type {Source[]} */
  const found = []
  /** @param {any} entry */
  const walk = async entry => {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject))
      found.push({ path: entry.fullPath.slice(1), bytes: file.size, blob: async () => file })
      return
    }
    const reader = entry.createReader()
    // A reader gives a hundred at a time.
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject))
      if (!some.length) return
      for (const one of some) await walk(one)
    }
  }
  // The list is empty after the first wait.
  const items = [...given.items].filter(item => item.kind === 'file').map(item => ({ entry: item.webkitGetAsEntry?.(), file: item.getAsFile() }))
  for (const { entry, file } of items) {
    if (entry) await walk(entry)
    else if (file) found.push(of(file))
  }
  return found
}

/** @param {File} file @returns {Source} */
const of = file => ({ path: file.webkitRelativePath || file.name, bytes: file.size, blob: async () => file })

export class Prove {
  /** The last report. @type {any} */
  report = null
  /** @type {AbortController | null} */
  #running = null
  /** @type {Listed[]} */
  #parts = []
  /** Sessions that are being recorded. @type {{session: string, number: number}[]} */
  #unsealed = []

  /** @param {HTMLElement} host @param {AbortSignal} gone */
  constructor(host, gone) {
    const pick = (/** @type {Record<string, unknown>} */ facts) => {
      const input = made('input', { type: 'file', multiple: true, hidden: true, ...facts })
      input.addEventListener('change', () => { void this.prove([...input.files].map(of)) })
      return input
    }
    const press = (/** @type {string} */ words, /** @type {() => void} */ act) => {
      const button = made('button', { type: 'button', textContent: words })
      button.addEventListener('click', act)
      return button
    }
    const [files, folder] = [pick({ accept: '.parquet' }), pick({ webkitdirectory: true })]
    this.day = made('select', { hidden: true, ariaLabel: 'Day' })
    this.lake = press('This lake', () => void this.#lake())
    this.lake.hidden = true
    this.stop = press('Stop', () => this.#running?.abort(new DOMException('stopped', 'AbortError')))
    this.stop.hidden = true
    this.bar = made('progress', { max: 1, value: 0, hidden: true, ariaLabel: 'Progress' })
    this.verdict = made('p', { className: 'verdict' })
    this.verdict.setAttribute('role', 'status')
    this.more = made('div', { className: 'found' })
    this.dialog = made('dialog', { id: 'prove', className: 'prove' },
      made('h2', { textContent: 'Prove it yourself' }),
      made('p', { textContent: 'Drop parts of a lake here, or its folder. Each book is rebuilt from the rows, and every checksum of the exchange ' +
        'is computed again, in this page. No file leaves this computer.' }),
      made('p', { className: 'choose' }, press('Files', () => files.click()), ' ', press('Folder', () => folder.click()), ' ', this.lake, ' ', this.day,
        ' ', this.stop, files, folder),
      this.bar, this.verdict, this.more,
      made('form', { method: 'dialog' }, made('button', { textContent: 'Close' })))
    host.append(this.dialog)
    const over = (/** @type {DragEvent} */ event) => {
      if (![...(event.dataTransfer?.types ?? [])].includes('Files')) return
      event.preventDefault()
      host.classList.toggle('dropping', event.type === 'dragover')
      if (event.type !== 'drop' || !event.dataTransfer) return
      void dropped(event.dataTransfer).then(found => this.prove(found), error => this.#say('not proved', `The files cannot be read: ${error.message}`))
    }
    for (const name of /** @type {const} */ (['dragover', 'drop', 'dragleave'])) {
      host.addEventListener(name, event => over(/** @type {DragEvent} */ (event)), { signal: gone })
    }
    gone.addEventListener('abort', () => this.#running?.abort())
  }

  /** Show the panel; what a server has of a lake can be chosen. */
  async open() {
    if (!this.dialog.open) this.dialog.showModal()
    const answer = await fetch('lake').catch(() => /** @type {Response | null} */ (null))
    if (!answer?.ok) return
    const { parts, unsealed = [] } = await answer.json()
    this.#parts = parts
    this.#unsealed = unsealed
    const days = [...new Set(this.#parts.map(part => part.date))].sort()
    this.day.replaceChildren(new Option('all days', ''), ...days.map(day => new Option(day, day)))
    this.lake.hidden = this.day.hidden = !parts.length
  }

  async #lake() {
    const { fetched } = await import('../core/prove.js')
    const day = this.day.value
    await this.prove(this.#parts.filter(part => !day || part.date === day)
      .map(({ path, bytes }) => ({ path, bytes, blob: () => fetched(`lake/${path}`) })), this.#unsealed)
  }

  /** The file that the address names. @param {string} url */
  async address(url) {
    await this.open()
    await this.prove([url])
  }

  /** @param {'proved' | 'not proved' | 'nothing yet'} outcome @param {string} words */
  #say(outcome, words) {
    this.verdict.className = `verdict ${outcome === 'proved' ? 'good' : outcome === 'not proved' ? 'bad' : ''}`
    this.verdict.textContent = `${MARK[outcome]} ${words}`
  }

  /** @param {(Source | string)[]} files @param {{session: string, number: number}[]} [journals] what is not sealed yet */
  async prove(files, journals = []) {
    if (!this.dialog.open) this.dialog.showModal()
    this.#running?.abort(new DOMException('stopped', 'AbortError'))
    const running = this.#running = new AbortController()
    this.report = null
    this.more.replaceChildren()
    this.stop.hidden = this.bar.hidden = false
    this.bar.removeAttribute('value')
    this.verdict.className = 'verdict'
    this.verdict.textContent = 'Reading …'
    const begun = performance.now()
    try {
      let core
      try {
        core = await import('../core/prove.js')
      } catch {
        return this.#say('nothing yet', 'This build of the page has no core to prove with. `make page` in krakpot’s repository makes it; `krakpot verify LAKE` proves a lake without a page.')
      }
      const report = await core.prove(files, {
        signal: running.signal,
        journals,
        onProgress: (/** @type {{done: number, bytes: number}} */ { done, bytes }) => {
          if (bytes && this.#running === running) this.bar.value = Math.min(done / bytes, 1)
        },
      })
      if (this.#running !== running) return
      this.report = report
      this.#show(report, (performance.now() - begun) / 1000)
    } catch (error) {
      if (this.#running !== running) return
      const { name, message } = /** @type {Error} */ (error)
      this.#say('nothing yet', name === 'AbortError' ? 'Stopped. Nothing was proved.' : `The proof could not be made: ${message}`)
    } finally {
      if (this.#running === running) {
        this.#running = null
        this.stop.hidden = this.bar.hidden = true
      }
    }
  }

  /** @param {any} report @param {number} seconds */
  #show(report, seconds) {
    const count = (/** @type {number} */ n) => fixed(n, 0)
    const checked = `${count(report.ok)} checksums are right, ${count(report.bad)} wrong, ${count(report.unchecked)} messages are not checked`
    const missing = report.unaccounted.length ? ' Whether messages are missing is not known: the ledger is not among these files.' : ''
    const words = report.outcome === 'proved' ? `Proved: ${checked}.${missing}` : report.outcome === 'not proved' ? `Not proved: ${checked}.`
      : 'There is nothing to prove in these files.'
    this.#say(report.outcome, `${words} (${fixed(seconds, 1)} s)`)
    const more = []
    if (report.failures.length) {
      more.push(made('h3', { textContent: 'Wrong messages' }), table(['Pair', 'Session', 'Message', 'Received, UTC', 'Checksum sent', 'Computed'],
        report.failures.slice(0, SHOWN_MAX).map((/** @type {any} */ one) => [one.symbol, one.session, count(one.message), time(one.received),
          one.expected === undefined ? one.kind : String(one.expected), one.computed === undefined ? '–' : String(one.computed)])))
    }
    for (const [head, all] of [['What is wrong', report.problems], ['Notes', report.notes]]) {
      if (!all.length) continue
      const list = made('ul', {}, ...all.slice(0, SHOWN_MAX).map((/** @type {string} */ text) => made('li', { textContent: text })))
      const left = all.length - SHOWN_MAX + (all === report.problems ? report.more_problems : 0)
      if (left > 0) list.append(made('li', { textContent: `… and ${count(left)} more` }))
      more.push(made('h3', { textContent: head }), list)
    }
    const rows = Object.entries(report.symbols).flatMap(([channel, symbols]) => Object.entries(/** @type {Record<string, any>} */ (symbols))
      .sort(([a], [b]) => (a < b ? -1 : 1)).map(([symbol, one]) => [one.bad ? '×' : one.unchecked ? '·' : '✓', symbol, channel, count(one.messages),
        count(one.ok), count(one.bad), count(one.unchecked)]))
    if (rows.length) more.push(made('h3', { textContent: 'Books' }), table(['', 'Pair', 'Channel', 'Messages', 'Right', 'Wrong', 'Not checked'], rows))
    this.more.replaceChildren(...more)
  }
}
