// The page: parts put together, keys, messages, the address. What it shows comes from a source (stream.js).

import { Chart } from './src/chart.js'
import { clock, day, duration, fixed, parseTime, rfc3339, short, size } from './src/format.js'
import { Jump } from './src/jump.js'
import { Ladder, put } from './src/ladder.js'
import { DARK, LIGHT } from './src/look.js'
import { Market } from './src/market.js'
import { imbalance } from './src/columns.js'
import { Pairs, verdict } from './src/pairs.js'
import { Queues } from './src/queues.js'
import { Tape } from './src/tape.js'
import { Timeline } from './src/timeline.js'

/** Milliseconds between two drawings of a part, and between two questions about what is recorded. */
const EVERY = { book: 80, timeline: 250, pairs: 500, spoken: 10_000, coverage: 30_000 }
const DEPTHS = [10, 25, 100, 500, 1000]
const SPEEDS = [0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 1000]
/** States of a pair a second that are asked for. */
const RATE = 30
/** The end of a recording that is no older is that of one that goes on, microseconds. */
const RECORDED_NOW = 20e6
/** A damaged message is spoken of for so long, ms. */
const DAMAGED_SHOWN = 15_000

/** The part of the address behind #. @returns {{symbol: string, depth: number, t: number}} */
function fromAddress() {
  const hash = new URLSearchParams(location.hash.slice(1))
  return { symbol: hash.get('symbol') ?? '', depth: Number(hash.get('depth')) || 0, t: parseTime(hash.get('t') ?? '') }
}

/**
 * @typedef {object} Connected
 * @property {import('./src/stream.js').Source & {retry?: () => void}} source
 * @property {string} place where it is, in the words of a message
 * @property {[string, () => void][]} others what a person may look at instead
 * @property {{nothing: string, gone: string}} help what to do where nothing answers, and where the connection is gone
 */
/**
 * @typedef {object} Options
 * @property {(handlers: import('./src/stream.js').Handlers) => Connected} connect makes the source
 * @property {boolean} address whether the address of the document says what is shown
 * @property {(host: HTMLElement, gone: AbortSignal) => import('./src/prove.js').Prove} [prove] makes the panel that proves a recording
 * @property {string} [keys] what stands in it before the symbol: `source=kraken&`
 * @property {boolean} [plain] draw without WebGL2
 * @property {'dark' | 'light'} [theme] otherwise that of the system
 * @property {string} [symbol] what is shown first, if the address does not say it
 * @property {number} [depth]
 * @property {number} [t] microseconds since 1970 UTC
 */
/**
 * Make a page of a host that has the elements of index.html.
 * @param {HTMLElement} host @param {Options} options
 */
export function mount(host, options) {
  const gone = new AbortController()
  const get = (/** @type {string} */ id) => /** @type {HTMLElement} */ (host.querySelector(`#${id}`))

  // Messages to the person.

  /** @type {Map<string, HTMLElement>} */
  const notices = new Map()

  /**
   * Say something until it is taken back.
   * @param {string} key @param {string} words @param {{bad?: boolean, actions?: [string, () => void][]}} [more]
   */
  function notice(key, words, { bad = false, actions = [] } = {}) {
    let box = notices.get(key)
    if (box?.dataset.words === words) return
    box?.remove()
    box = document.createElement('p')
    box.className = bad ? 'notice bad' : 'notice'
    box.dataset.words = words
    box.dataset.key = key
    const text = document.createElement('span')
    // `commands` are shown as such.
    words.split('`').forEach((part, i) => text.append(i % 2 ? Object.assign(document.createElement('code'), { textContent: part }) : part))
    box.append(text)
    for (const [name, act] of [...actions, /** @type {[string, () => void]} */ (['Dismiss', () => take(key)])]) {
      const button = Object.assign(document.createElement('button'), { type: 'button', textContent: name })
      button.addEventListener('click', act)
      box.append(button)
    }
    notices.set(key, box)
    get('notices').append(box)
  }

  /** @param {string} key */
  function take(key) {
    notices.get(key)?.remove()
    notices.delete(key)
  }

  /** @param {string} words */
  function speak(words) {
    get('live').textContent = words
  }

  // The parts.

  const market = new Market()
  const chart = new Chart(get('chart'), market, { plain: Boolean(options.plain) })
  const ladder = new Ladder(get('panel-book'))
  const tape = new Tape(get('panel-tape'))
  const queues = new Queues(get('panel-orders'))
  const pairs = new Pairs(get('panel-pairs'), market, choose)
  const timeline = new Timeline(get('timeline'), t => goTo(t, false))
  const prove = options.prove?.(host, gone.signal)
  get('verify').hidden = !prove
  let palette = DARK
  let tab = 'book'
  let state = { name: /** @type {import('./src/stream.js').State} */ ('connecting'), words: '' }
  let speed = 1
  /** Where the address says to begin; done once. */
  let begin = options.address ? fromAddress() : { symbol: options.symbol ?? '', depth: options.depth ?? 0, t: options.t ?? NaN }
  let damaged = 0
  let damagedTimer = 0

  /** @type {import('./src/stream.js').Handlers} */
  const handlers = {
    state(name, words) {
      if (state.name === 'open' && name !== 'open') {
        market.lost()
        jump.cancel()
        speak('The connection was lost.')
      }
      state = { name, words }
      if (name === 'open') {
        for (const key of ['server', 'version']) take(key)
        speak('Connected.')
      } else if (name === 'waiting') {
        notice('server', navigator.onLine === false
          ? 'This device has no network. The page connects again by itself when it is back.'
          : market.hello
            ? `The connection to ${place} is gone: ${words}. The page tries again every few seconds. ${help.gone}`
            : `Nothing answers at ${place} (${words}). ${help.nothing}`,
        { bad: true, actions: [['Try now', () => source.retry?.()], ...others] })
      } else if (name === 'ended' && words) {
        take('server')
        notice('version', words, { bad: true, actions: others })
      }
      figures()
    },
    hello(hello) {
      const first = market.hello === null
      market.greet(hello)
      host.dataset.source = hello.source
      get('speed-field').hidden = hello.source !== 'lake'
      if (first) {
        source.overview(true)
        source.rate(RATE)
      }
      pairs.search()
      if (!hello.pairs.length) {
        notice('empty', hello.source === 'lake' ? 'This recording has no pairs. Record some with `krakpot record`.'
          : 'The feed has no pairs yet. They appear as soon as the exchange names them.')
      } else {
        take('empty')
      }
      if (!market.pair) start()
      else due.coverage = 0
    },
    pairs(found) {
      market.setPairs(found)
      pairs.search()
      take('empty')
      if (!market.pair) start()
    },
    status(found) {
      market.status = found
      const broken = !found.up && market.live
      if (broken) notice('exchange', `The connection to the exchange is lost${found.reason ? `: ${found.reason}` : ''}. It is made again by itself.`, { bad: true })
      else take('exchange')
      if (found.system && found.system !== 'online') notice('system', `The exchange says that it is in state “${found.system}”.`)
      else take('system')
    },
    frame(frame) { market.take(frame) },
    coverage(found, since, until) {
      if (market.hello && since !== null && until !== null) Object.assign(market.hello, { begin: since, end: until })
      const symbol = market.pair?.symbol
      if (!found.length || found.some(one => one.symbol === symbol)) market.spans = found.filter(one => one.symbol === symbol && one.channel === 'book')
    },
    answered(method) {
      if (method === 'seek') {
        market.awaiting = false
        market.answeredAt = market.clock()
        take('seek')
      }
      if (method === 'pause' || method === 'resume') market.place(market.now(), method === 'pause')
      if (method === 'subscribe') take('subscribe')
      if (jump.to === null) address()
    },
    refused(method, error) {
      if (method === 'seek') market.awaiting = false
      const what = method === 'subscribe' ? `The source refused ${market.pair?.symbol ?? 'the pair'}: ${error}. Choose another pair or depth.`
        : method === 'seek' ? `The source cannot go there: ${error}.` : `The source refused “${method}”: ${error}.`
      notice(method, what.replace(/\.\.$/, '.'), { bad: true })
    },
    damaged(words) {
      damaged++
      notice('damaged', `A message of the server was damaged and is not shown (${words}). ${damaged === 1 ? 'It is the first.' : `That makes ${damaged}.`} ` +
        'If it goes on, start the server again, and report it.', { bad: true })
      clearTimeout(damagedTimer)
      damagedTimer = window.setTimeout(() => take('damaged'), DAMAGED_SHOWN)
    },
  }

  const { source, place, others, help } = options.connect(handlers)
  const jump = new Jump(market, source, RATE)

  /** Show the pair that the address names, or a well-known one. */
  function start() {
    if (!market.pairs.length) return
    const named = begin.symbol.toUpperCase()
    const find = (/** @type {string} */ symbol) => market.pairs.findIndex(one => one.symbol.toUpperCase() === symbol)
    let number = named ? find(named) : -1
    const unknown = Boolean(named) && number < 0
    if (number < 0) number = find('BTC/USD')
    if (number < 0) number = market.pairs.findIndex(one => one.channels.includes('book'))
    choose(Math.max(number, 0), begin.depth)
    if (unknown) notice('symbol', `There is no pair “${begin.symbol}” here. Choose one from the list; \`/\` searches it.`)
    const { t } = begin
    begin = { symbol: '', depth: 0, t: NaN }
    if (Number.isFinite(t)) goTo(t, true)
  }

  /** @param {number} number of the pair @param {number} [depth] */
  function choose(number, depth = 0) {
    const pair = market.pairs[number]
    if (!pair || (number === market.chosen && !depth)) return
    if (market.pair) source.unsubscribe([market.pair.symbol])
    const wanted = depth || market.depth
    take('symbol')
    take('subscribe')
    market.choose(number)
    chart.resetView()
    chart.end = null
    ladder.offset = 0
    const most = Math.min(pair.depth || 1000, 1000)
    const offered = [...new Set([...DEPTHS.filter(one => one <= most), most])].sort((a, b) => a - b)
    const select = /** @type {HTMLSelectElement} */ (get('depth'))
    select.replaceChildren(...offered.map(one => new Option(String(one))))
    market.depth = offered.includes(wanted) ? wanted : offered.filter(one => one <= wanted).pop() ?? offered[0]
    select.value = String(market.depth)
    subscribe()
    due.coverage = 0
    pairs.draw()
    if (options.address) document.title = `${pair.symbol} – krakpot`
    put(get('symbol'), pair.symbol)
    speak(`${pair.symbol}.`)
    due.spoken = performance.now() + 1000
    address()
  }

  function subscribe() {
    const { pair } = market
    if (!pair) return
    const orders = tab === 'orders' && pair.channels.includes('level3')
    market.resubscribed()
    source.subscribe([pair.symbol], market.depth, orders)
  }

  /** @param {number} depth */
  function deepen(depth) {
    market.depth = depth
    chart.autoHeight = true
    subscribe()
    address()
  }

  // Time.

  const paused = () => (market.time?.live ?? market.hello?.source === 'live' ? chart.end !== null : Boolean(market.time?.paused))

  function pause() {
    if (market.live) {
      chart.goTo(chart.end === null ? market.now() : null)
    } else if (market.time?.paused) {
      source.resume()
    } else {
      source.pause()
    }
    figures()
  }

  /** The newest that is remembered; then, of a recording, its end. */
  function newest() {
    const { hello } = market
    if (chart.end === null && hello?.source === 'lake' && hello.end !== null && market.now() < hello.end) goTo(hello.end, false)
    else chart.goTo(null)
    figures()
  }

  let seekTimer = 0

  /**
   * Show an instant: from memory, or by asking the recording for it.
   * @param {number} t microseconds @param {boolean} exactly wait there
   */
  function goTo(t, exactly) {
    const { book } = market
    if (Number.isFinite(book.begin) && t >= book.begin && t <= market.now()) {
      chart.goTo(t)
      return
    }
    const hello = market.hello
    if (hello?.source === 'lake') {
      if (hello.begin !== null && hello.end !== null && (t < hello.begin || t > Math.max(hello.end, market.now() || 0))) {
        notice('seek', `${rfc3339(t)} is not in this recording: it has ${rfc3339(hello.begin)} to ${rfc3339(hello.end)}.`)
        return
      }
      chart.end = null
      clearTimeout(seekTimer)
      const wait = exactly || paused()
      // Somebody who drags the slider means the place where it stops.
      seekTimer = window.setTimeout(() => jump.start(t, hello.begin ?? t, speed, wait), exactly ? 0 : 180)
      return
    }
    const from = Number.isFinite(book.begin) ? `remembers ${clock(book.begin, 0)} UTC and later` : 'has received nothing yet'
    notice('seek', `${rfc3339(t)} is not in the memory of this page, which ${from}. Open a recording of that time: \`krakpot view LAKE\`.`)
  }

  function setSpeed(/** @type {number} */ value) {
    speed = value
    jump.speed = value
    const select = /** @type {HTMLSelectElement} */ (get('speed'))
    select.value = String(value)
    if (jump.to === null) source.speed(value)
  }

  let addressTimer = 0

  /** The address is that of what is shown. */
  function address() {
    clearTimeout(addressTimer)
    if (options.address) addressTimer = window.setTimeout(() => history.replaceState(null, '', link()), 250)
  }

  /** A link to what is shown. */
  function link() {
    const { pair } = market
    if (!pair) return location.pathname + location.search + (options.keys ? `#${options.keys.slice(0, -1)}` : '')
    const at = chart.end ?? (market.time?.paused ? market.now() : null)
    return `${location.pathname}${location.search}#${options.keys ?? ''}symbol=${pair.symbol}&depth=${market.depth}${at === null ? '' : `&t=${rfc3339(at)}`}`
  }

  chart.onMove = () => {
    address()
    figures()
  }

  // Keys.

  /** @param {string} id */
  const dialog = id => /** @type {HTMLDialogElement} */ (get(id))

  /** @param {string} id */
  const button = id => /** @type {HTMLButtonElement} */ (get(id))

  /** @param {'trades' | 'candles' | 'touch'} name */
  function toggle(name) {
    chart.show[name] = !chart.show[name]
    chart.changed = true
    if (name !== 'touch') button(name).setAttribute('aria-pressed', String(chart.show[name]))
  }

  /** @param {string} name */
  function show(name) {
    const before = tab
    tab = name
    host.dataset.tab = name
    for (const one of ['book', 'orders', 'tape', 'pairs']) get(`tab-${one}`).setAttribute('aria-selected', String(one === name))
    get('panel-orders').hidden = name !== 'orders'
    get('panel-book').hidden = name === 'orders'
    if ((before === 'orders') !== (name === 'orders')) subscribe()
    redraw = true
  }

  /** @param {number} way */
  function stepDepth(way) {
    const select = /** @type {HTMLSelectElement} */ (get('depth'))
    select.selectedIndex = (select.selectedIndex + way + select.length) % select.length
    deepen(Number(select.value))
  }

  /** @param {number} way */
  function stepSpeed(way) {
    if (market.hello?.source !== 'lake') return
    const at = SPEEDS.findIndex(one => one >= speed)
    setSpeed(SPEEDS[Math.min(Math.max(at + way, 0), SPEEDS.length - 1)])
  }

  /** @param {'dark' | 'light'} name */
  function theme(name) {
    palette = name === 'dark' ? DARK : LIGHT
    host.classList.toggle('dark', name === 'dark')
    chart.look(palette)
    redraw = true
  }

  function tell() {
    const now = chart.now
    const book = market.book.at(now)
    const { pair } = market
    if (!pair) return speak('No pair is chosen.')
    if (!book?.inSync) return speak(`${pair.symbol}: the book is out of sync.`)
    const price = (/** @type {number} */ ticks) => fixed(ticks / market.book.scale, pair.pricePrecision)
    speak(`${pair.symbol} at ${clock(now, 0)} UTC: bid ${price(book.bids.ticks[0])}, ask ${price(book.asks.ticks[0])}, ` +
      `imbalance ${fixed(imbalance(book), 2)}, ${verdict(market.lines[market.chosen], market.clock()).words}. ${get('link').textContent}.`)
  }

  function openJump() {
    const input = /** @type {HTMLInputElement} */ (get('jump-time'))
    input.value = rfc3339(Math.floor(chart.now / 1e3) * 1e3 || Date.now() * 1e3)
    put(get('jump-words'), '')
    dialog('jump').showModal()
    input.select()
  }

  async function copyLink() {
    if (!options.address) return speak('There is no link to a part of another document.')
    history.replaceState(null, '', link())
    try {
      await navigator.clipboard.writeText(location.href)
      speak('The link was copied.')
    } catch {
      speak('The link is in the address bar.')
    }
  }

  /** Key, as it is written, what it does, and how. @type {[string, string, string, () => void][]} */
  const KEYS = [
    ['/', '/', 'search pairs', () => {
      if (getComputedStyle(get('panel-pairs')).display === 'none') show('pairs')
      pairs.input.focus()
      pairs.draw()
    }],
    ['n', 'n', 'next pair', () => pairs.step(1)],
    ['p', 'p', 'pair before', () => pairs.step(-1)],
    [' ', 'space', 'pause, go on', pause],
    ['ArrowLeft', '←', 'back by a tenth of the view', () => chart.moveBy(-chart.span / 10)],
    ['ArrowRight', '→', 'forward by a tenth of the view', () => chart.moveBy(chart.span / 10)],
    ['<', '<', 'one state back', () => stepState(-1)],
    ['>', '>', 'one state forward', () => stepState(1)],
    ['Home', 'Home', 'the oldest that is remembered', () => chart.goTo(market.book.begin)],
    ['End', 'End', 'the newest', newest],
    ['g', 'g', 'go to an instant', openJump],
    ['+', '+', 'less time', () => chart.zoomTime(1 / 1.5)],
    ['-', '-', 'more time', () => chart.zoomTime(1.5)],
    ['ArrowUp', '↑', 'higher prices', () => chart.movePrice(0.1)],
    ['ArrowDown', '↓', 'lower prices', () => chart.movePrice(-0.1)],
    ['[', '[', 'more prices', () => chart.zoomPrice(1.3)],
    [']', ']', 'fewer prices', () => chart.zoomPrice(1 / 1.3)],
    ['0', '0', 'undo moves and zoom', () => chart.resetView()],
    ['d', 'd', 'more levels', () => stepDepth(1)],
    ['D', 'D', 'fewer levels', () => stepDepth(-1)],
    [',', ',', 'slower', () => stepSpeed(-1)],
    ['.', '.', 'faster', () => stepSpeed(1)],
    ['t', 't', 'trades on the picture', () => toggle('trades')],
    ['c', 'c', 'candles', () => toggle('candles')],
    ['b', 'b', 'lines of best bid and ask', () => toggle('touch')],
    ['o', 'o', 'book or orders', () => show(tab === 'orders' ? 'book' : 'orders')],
    ['i', 'i', 'read the state aloud', tell],
    ['l', 'l', 'copy a link to this instant', () => void copyLink()],
    ['v', 'v', 'prove a recording', () => void prove?.open()],
    ['s', 's', 'light or dark', () => theme(palette.dark ? 'light' : 'dark')],
    ['?', '?', 'this help', () => dialog('keys').showModal()],
  ]

  /** @param {1 | -1} way */
  function stepState(way) {
    const t = market.book.step(market.book.at(chart.now)?.t ?? chart.now, way)
    if (Number.isFinite(t)) chart.goTo(t)
  }

  // A page in another document has only the keys that are pressed in it.
  const keyboard = options.address ? document : host
  keyboard.addEventListener('keydown', pressed => {
    const event = /** @type {KeyboardEvent} */ (pressed)
    const target = /** @type {HTMLElement} */ (event.target)
    if (event.ctrlKey || event.metaKey || event.altKey || target.closest('dialog[open]')) return
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName) || (target.tagName === 'BUTTON' && (event.key === ' ' || event.key === 'Enter'))) return
    const found = KEYS.find(([key]) => key === (event.key === '=' ? '+' : event.key))
    if (!found) return
    event.preventDefault()
    found[3]()
  }, { signal: gone.signal })

  get('keys-list').append(...KEYS.map(([, name, words]) => {
    const row = document.createElement('div')
    const key = document.createElement('kbd')
    key.textContent = name
    const left = document.createElement('dt')
    left.append(key)
    row.append(left, Object.assign(document.createElement('span'), { textContent: words }))
    return row
  }))

  // Buttons.

  const press = (/** @type {string} */ id, /** @type {() => void} */ act) => button(id).addEventListener('click', act)
  press('pause', pause)
  press('newest', newest)
  press('trades', () => toggle('trades'))
  press('candles', () => toggle('candles'))
  press('theme', () => theme(palette.dark ? 'light' : 'dark'))
  press('verify', () => void prove?.open())
  press('help', () => dialog('keys').showModal())
  press('symbol', () => KEYS[0][3]())
  for (const name of ['book', 'orders', 'tape', 'pairs']) press(`tab-${name}`, () => show(name))
  get('tabs').addEventListener('keydown', event => {
    if (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight') return
    event.preventDefault()
    event.stopPropagation()
    const seen = [...get('tabs').children].filter(one => /** @type {HTMLElement} */ (one).offsetParent)
    const at = seen.findIndex(one => one.getAttribute('aria-selected') === 'true')
    const next = /** @type {HTMLElement} */ (seen[(at + (event.key === 'ArrowRight' ? 1 : -1) + seen.length) % seen.length])
    next.click()
    next.focus()
  })
  get('depth').addEventListener('change', event => deepen(Number(/** @type {HTMLSelectElement} */ (event.target).value)))
  const speeds = /** @type {HTMLSelectElement} */ (get('speed'))
  speeds.replaceChildren(...SPEEDS.map(one => new Option(`${one}×`, String(one))))
  speeds.value = '1'
  speeds.addEventListener('change', () => setSpeed(Number(speeds.value)))
  press('jump-close', () => dialog('jump').close())
  get('jump').querySelector('form')?.addEventListener('submit', event => {
    const t = parseTime(/** @type {HTMLInputElement} */ (get('jump-time')).value)
    if (Number.isFinite(t)) return goTo(t, true)
    event.preventDefault()
    put(get('jump-words'), 'That is no time. Write it like 2026-11-29T06:00:00Z.')
  })
  window.addEventListener('hashchange', () => {
    if (!options.address) return
    const wanted = fromAddress()
    const number = market.pairs.findIndex(one => one.symbol.toUpperCase() === wanted.symbol.toUpperCase())
    if (number >= 0 && (number !== market.chosen || (wanted.depth && wanted.depth !== market.depth))) choose(number, wanted.depth)
    else if (wanted.symbol && number < 0) notice('symbol', `There is no pair “${wanted.symbol}” here.`)
    if (Number.isFinite(wanted.t)) goTo(wanted.t, true)
  }, { signal: gone.signal })
  window.addEventListener('online', () => source.retry?.(), { signal: gone.signal })

  // Figures in words.

  /** @param {string} id @param {string} name @param {string} sign @param {string} words */
  function chip(id, name, sign, words) {
    const box = get(id)
    if (box.className !== name) box.className = name
    const [i, span] = box.children
    put(i, sign)
    put(span, words)
  }

  let wasStale = false

  function figures() {
    const { pair } = market
    const now = chart.now
    const book = pair ? market.book.at(now) : null
    const price = (/** @type {number | undefined} */ ticks) =>
      (ticks === undefined || !pair ? '–' : fixed(ticks / market.book.scale, pair.pricePrecision))
    const known = book?.inSync ? book : null
    const bid = known?.bids.ticks[0]
    const ask = known?.asks.ticks[0]
    put(get('bid'), price(bid))
    put(get('ask'), price(ask))
    put(get('spread'), bid === undefined || ask === undefined ? '–' : price(ask - bid))
    put(get('imbalance'), known ? fixed(imbalance(known), 2) : '–')
    if (!book) chip('proof', '', '·', 'not checked')
    else if (!book.inSync) chip('proof', 'bad', '!', 'out of sync')
    else if (book.checked === 2) chip('proof', 'bad', '×', 'wrong checksum')
    else if (book.checked === 1) chip('proof', 'good', '✓', `checksum ${book.checksum.toString(16).padStart(8, '0')}`)
    else chip('proof', '', '·', 'not checked')
    get('proof').title = pair ? `${pair.symbol}: ${verdict(market.lines[market.chosen], market.clock()).words}` : ''
    put(/** @type {Element} */ (get('rate').firstElementChild), `${short(Math.round(market.rate()))} msg/s`)
    connection()
    const stale = state.name === 'open' || market.time ? market.stale() : 0
    // Somebody who looks at the past is not deceived by it.
    const isStale = stale > 0 && !jump.to
    host.classList.toggle('stale', isStale)
    get('stale').hidden = !isStale
    if (isStale) put(get('stale'), `Stale: nothing new for ${duration(stale)}`)
    if (isStale !== wasStale) speak(isStale ? 'What is shown is stale: nothing new comes.' : 'Data comes again.')
    wasStale = isStale
    const back = chart.end === null ? 0 : market.now() - chart.end
    const halted = paused()
    get('instant').hidden = chart.end === null && !halted
    put(get('instant'), `${day(now)} ${clock(now)} UTC${chart.end === null ? '' : ` · ${duration(Math.max(back, 0))} back`}`)
    const pauseButton = button('pause')
    pauseButton.setAttribute('aria-pressed', String(halted))
    put(pauseButton, halted && !market.live ? 'Play' : 'Pause')
    get('newest').hidden = chart.end === null
  }

  function connection() {
    const { time } = market
    if (state.name === 'connecting') return chip('link', '', '·', 'connecting')
    if (state.name !== 'open') return chip('link', 'bad', '!', 'no connection')
    if (!time) return chip('link', '', '·', 'connected')
    if (time.live && !(time.up && market.status.up)) return chip('link', 'bad', '!', 'exchange connection lost')
    if (jump.to !== null) return chip('link', 'mark', '»', 'going there')
    if (time.live) return chip('link', 'good', '●', 'live')
    if (time.paused) return chip('link', 'mark', '‖', 'paused')
    if (time.atEnd && time.server - time.shown < RECORDED_NOW) return chip('link', 'good', '●', 'recorded now')
    if (time.atEnd) return chip('link', 'mark', '■', 'end of the recording')
    return chip('link', 'good', '▶', `recording, ${time.speed}×`)
  }

  let frames = 0
  let perSecond = 0
  let countedAt = performance.now()

  function foot() {
    const { book, hello } = market
    const memory = { begin: book.begin, end: market.held() }
    const lake = hello?.source === 'lake' && hello.begin !== null && hello.end !== null
    const range = lake ? { begin: /** @type {number} */ (hello.begin), end: Math.max(/** @type {number} */ (hello.end), memory.end || 0) }
      : { begin: book.begin, end: market.now() }
    timeline.draw(range, lake ? market.spans ?? [] : null, memory, market.gaps.list, chart.now, palette, chart.hatch ?? null)
    const kept = Number.isFinite(book.begin) ? `${duration(Math.max(memory.end - book.begin, 0))} in memory, ` : ''
    put(get('memory'), `${kept}${size(market.bytes)} · ${perSecond} frames/s${chart.renderer.name === 'WebGL2' ? '' : ' · no WebGL2'}`)
    get('memory').title = `${book.states} states of the book and ${market.trades.kept} trades are kept; ` +
      `at most ${size(book.bytesMax)} of states, then the oldest go`
  }

  function describe() {
    const { pair } = market
    if (!pair) return
    const words = `Depth of ${pair.symbol} over ${duration(chart.span)} up to ${clock(chart.now, 0)} UTC. Bid ${get('bid').textContent}, ask ${get('ask').textContent}.`
    get('chart').setAttribute('aria-label', words)
  }

  let redraw = true
  const due = { book: 0, timeline: 0, pairs: 0, spoken: 0, coverage: 0 }

  /** @param {number} at */
  function frame(at) {
    if (gone.signal.aborted) return
    requestAnimationFrame(frame)
    if (jump.tick()) address()
    const now = chart.now
    const { pair } = market
    const book = pair ? market.book.at(now) : null
    frames++
    chart.draw(at, book)
    const is = (/** @type {keyof typeof due} */ part) => {
      if (at < due[part] && !redraw) return false
      due[part] = at + EVERY[part]
      return true
    }
    if (is('book')) {
      // Together: figures of another state than the ladder's would look like an error.
      figures()
      if (tab === 'orders') {
        const why = !pair?.channels.includes('level3') ? 'There is no level 3 of this pair here.'
          : market.queues.frames.length ? 'No orders are remembered of this instant.' : 'Waiting for the orders …'
        queues.draw(market.queues.at(now), now, pair, palette, why)
      } else {
        ladder.draw(book, pair, market.book.scale)
      }
      tape.draw(market.trades, now, pair)
    }
    if (is('timeline')) {
      if (at - countedAt > 900) {
        perSecond = Math.round((frames * 1000) / (at - countedAt))
        frames = 0
        countedAt = at
      }
      foot()
    }
    if (is('pairs')) pairs.draw()
    if (is('spoken')) describe()
    // A recording that goes on has more.
    if (pair && market.hello?.source === 'lake' && is('coverage')) source.coverage([pair.symbol])
    redraw = false
  }

  theme(options.theme ?? (matchMedia('(prefers-color-scheme: light)').matches ? 'light' : 'dark'))
  show('book')
  if (chart.renderer.name !== 'WebGL2' && !options.plain) {
    notice('webgl', 'This browser has no WebGL2, so the picture is drawn in a slower way. Everything is there; turn on hardware acceleration to make it smooth.')
  }
  put(get('keys-about'), `The page keeps up to ${size(market.book.bytesMax)} of book states, ${size(market.queues.bytesMax)} of queues and ` +
    `${fixed(market.trades.most, 0)} trades of the pair that is shown, then forgets the oldest.`)
  requestAnimationFrame(frame)
  source.open()
  const named = options.address && new URLSearchParams(location.hash.slice(1)).get('prove')
  if (named) void prove?.address(named)
  /** The host will not be shown again. */
  function close() {
    gone.abort()
    source.close()
  }
  return { market, chart, ladder, tape, pairs, queues, timeline, source, jump, prove, goTo, link, choose, theme, close }
}
