// The page as the whole document: what it shows, and from where, is said by the address.

import { mount } from './page.js'
import { CoreSource } from './src/core.js'
import { Prove } from './src/prove.js'
import { StreamSource, streamBeside } from './src/stream.js'

/** @typedef {import('./page.js').Connected} Connected */
/** @typedef {import('./src/stream.js').Handlers} Handlers */

const query = new URLSearchParams(location.search)
const hash = new URLSearchParams(location.hash.slice(1))
const theme = query.get('theme')

/** What the page shows if the address does not say it: a static page has no server beside it. */
const beside = document.querySelector('meta[name=source]')?.getAttribute('content') ?? 'view'
const chosen = hash.get('source') ?? (query.has('stream') ? 'view' : beside)
/** @type {[string, string][]} */
const SOURCES = [['view', 'krakpot view'], ['kraken', 'Kraken'], ['exchange', 'exchange']]
/** The faults that are offered of the exchange in the page. @type {[string, string][]} */
const FAULTS = [
  ['digit=once,channel=book', 'change a digit'], ['drop=once,channel=book', 'lose a message'], ['cut,for=1s', 'cut the connections'],
]

/** @param {string} name */
function goTo(name) {
  const symbol = new URLSearchParams(location.hash.slice(1)).get('symbol')
  location.hash = `source=${name}${symbol ? `&symbol=${symbol}` : ''}`
}

/** A whole number of the address, within bounds. @param {string} key @param {number} least @param {number} most @param {number} otherwise */
function number(key, least, most, otherwise) {
  const found = Math.round(Number(hash.get(key) ?? otherwise))
  return found >= least && found <= most ? found : otherwise
}

/** @param {Handlers} handlers @returns {Connected} */
function connect(handlers) {
  const others = SOURCES.filter(([name]) => name !== chosen && name !== 'view')
    .map(([name, words]) => /** @type {[string, () => void]} */ ([`Show ${name === 'exchange' ? 'the exchange in the page' : words}`, () => goTo(name)]))
  const symbols = hash.get('pairs')?.split(',').filter(Boolean)
  if (chosen === 'view') {
    const url = query.get('stream') ?? streamBeside(location)
    const help = {
      nothing: 'Start `krakpot view LAKE`, or `krakpot view live`, and the page connects by itself.',
      gone: 'Does `krakpot view` still run there?',
    }
    return { source: new StreamSource(url, handlers), place: new URL(url, location.href).host, others, help }
  }
  if (chosen === 'exchange') {
    const exchange = { pairs: number('count', 1, 1500, 40), rate: number('rate', 1, 100_000, 800), seed: BigInt(number('seed', 0, 1e9, 1)) }
    const name = 'the exchange in the page'
    return { source: new CoreSource(handlers, { exchange, name, symbols }), place: name, others, help: { nothing: 'Open the page anew.', gone: '' } }
  }
  const url = chosen === 'kraken' ? undefined : chosen
  if (url !== undefined && !/^wss?:\/\/[^/]+/.test(url)) {
    const none = new CoreSource(handlers, { name: chosen, symbols })
    none.open = () => handlers.state('ended', `“${chosen}” is no source. There are ${SOURCES.map(([name]) => name).join(', ')}, ` +
      'and addresses of exchanges: ws://127.0.0.1:8080/v2.', 0)
    return { source: none, place: chosen, others, help: { nothing: '', gone: '' } }
  }
  const place = url === undefined ? 'Kraken' : new URL(url).host
  const nothing = url === undefined ? 'Does this device have a network? The page connects by itself as soon as it can.'
    : `Start \`krakpot exchange --origin ${location.origin}\` there, and the page connects by itself.`
  return { source: new CoreSource(handlers, { url, name: place, symbols }), place, others, help: { nothing, gone: '' } }
}

const page = mount(document.body, {
  address: true,
  prove: (host, gone) => new Prove(host, gone),
  keys: hash.has('source') ? `source=${chosen}&` : '',
  plain: query.has('plain'),
  theme: theme === 'light' || theme === 'dark' ? theme : undefined,
  connect,
})

// Another source is another page.
window.addEventListener('hashchange', () => {
  if ((new URLSearchParams(location.hash.slice(1)).get('source') ?? beside) !== chosen) location.reload()
})

const select = /** @type {HTMLSelectElement} */ (document.querySelector('#source'))
select.append(...SOURCES.map(([name, words]) => new Option(words, name)))
if (!SOURCES.some(([name]) => name === chosen)) select.append(new Option(chosen, chosen))
select.value = chosen
select.addEventListener('change', () => goTo(select.value))
/** @param {string} id */
const unhide = id => { /** @type {HTMLElement} */ (document.querySelector(id)).hidden = false }
unhide('#source-field')

const { source } = page
if (source instanceof CoreSource && chosen === 'exchange') {
  const fault = /** @type {HTMLSelectElement} */ (document.querySelector('#fault'))
  fault.append(new Option('fault …', ''), ...FAULTS.map(([name, words]) => new Option(words, name)))
  fault.addEventListener('change', () => {
    const symbol = page.market.pair?.symbol
    if (fault.value) source.inject(fault.value.includes('channel') && symbol ? `${fault.value},symbol=${symbol}` : fault.value)
    fault.value = ''
  })
  unhide('#fault-field')
}

/** For tests, and for the curious at the console. */
Object.assign(window, { krakpot: page })
