// The page as the whole document: what it shows is said by the address.

import { mount } from './page.js'
import { StreamSource, streamBeside } from './src/stream.js'

const query = new URLSearchParams(location.search)
const theme = query.get('theme')

const page = mount(document.body, {
  address: true,
  plain: query.has('plain'),
  theme: theme === 'light' || theme === 'dark' ? theme : undefined,
  connect(handlers) {
    const url = query.get('stream') ?? streamBeside(location)
    return { source: new StreamSource(url, handlers), place: new URL(url, location.href).host, others: [] }
  },
})

/** For tests, and for the curious at the console. */
Object.assign(window, { krakpot: page })
