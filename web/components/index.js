// Pictures of a pair of a feed in any element of a page: HeatMap, Ladder, Trades. They are the parts of krakpot's own page,
// whose files `make components` puts beside this one.

import { Chart } from "./page/src/chart.js";
import { Follow, micros } from "./page/src/follow.js";
import { Ladder as Rungs } from "./page/src/ladder.js";
import { DARK, LIGHT } from "./page/src/look.js";
import { Market } from "./page/src/market.js";
import { Tape } from "./page/src/tape.js";

/** Milliseconds between two states, two looks at the connection. */
const EVERY = { state: 1000 / 30, clock: 250 };
/** Bytes of states that a part keeps which shows the newest alone. */
const NEWEST = 2e6;
/** Nothing came for so long, not even a heartbeat: what is shown is stale, microseconds. */
const STALE_AFTER = 3e6;

/** What all parts do: follow the feed, look like the page, say when nothing is known or old. */
class Part {
  #due = { state: 0, clock: 0 };
  #words;
  #frame = 0;
  #follow;

  constructor(host, feed, symbol, { depth = 100, theme } = {}) {
    this.host = host;
    this.feed = feed;
    this.symbol = symbol;
    this.depth = depth;
    // A shadow: neither style nor names of the page around it and of this part meet.
    const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
    const sheet = document.createElement("link");
    Object.assign(sheet, { rel: "stylesheet", href: new URL("./page/style.css", import.meta.url).href });
    this.box = document.createElement("div");
    this.box.className = "page";
    // What it shows decides nothing about the size of its host.
    Object.assign(this.box.style, { position: "absolute", inset: "0" });
    const hosted = new CSSStyleSheet();
    hosted.replaceSync(":host { display: block; position: relative; overflow: hidden; } .page > .words { " +
      "position: absolute; left: 8px; bottom: 8px; max-width: calc(100% - 16px); padding: 3px 8px; background: var(--mark-ground); color: var(--mark); }");
    root.adoptedStyleSheets = [hosted];
    this.#words = document.createElement("p");
    this.#words.className = "words";
    this.#words.setAttribute("role", "status");
    root.replaceChildren(sheet, this.box);
    this.market = new Market();
    this.body = document.createElement("div");
    Object.assign(this.body.style, { position: "relative", flex: "1", minHeight: "0" });
    this.box.append(this.body, this.#words);
    const dark = theme ? theme === "dark" : !matchMedia("(prefers-color-scheme: light)").matches;
    this.palette = dark ? DARK : LIGHT;
    this.box.classList.toggle("dark", dark);
    this.#say("Waiting for the exchange …");
  }

  /** Begin to draw. The rules of the page come with the sheet: a part measures itself when they are there. */
  begin() {
    this.#frame = requestAnimationFrame((at) => this.#step(at));
  }

  /** The host shows it no more: it follows nothing and draws nothing. */
  close() {
    cancelAnimationFrame(this.#frame);
    this.#frame = -1;
    this.#follow?.close();
    this.host.shadowRoot?.replaceChildren();
  }

  #say(words) {
    if (this.#words.textContent !== words) this.#words.textContent = words;
    this.#words.hidden = !words;
  }

  #step(at) {
    if (this.#frame < 0) return;
    this.#frame = requestAnimationFrame((next) => this.#step(next));
    if (at >= this.#due.clock) {
      this.#due.clock = at + EVERY.clock;
      this.#look();
    }
    if (this.#follow && at >= this.#due.state) {
      this.#due.state = at + EVERY.state;
      this.#follow.flush();
    }
    this.draw(at);
  }

  /** See whether the pair is known, and whether something comes. */
  #look() {
    const { market, feed } = this;
    if (!this.#follow && feed.received) this.#begin();
    if (!this.#follow) return;
    const server = (performance.timeOrigin + performance.now()) * 1000;
    const shown = micros(feed.received);
    market.take({ kind: "clock", paused: false, atEnd: false, live: true, up: feed.connected, shown, server, speed: 1 });
    this.box.classList.toggle("stale", market.stale() > 0);
    if (!feed.connected) this.#say("The connection to the exchange is lost. It is made again by itself.");
    else if (!market.book.last) this.#say(`Waiting for the book of ${this.symbol} …`);
    else this.#say(market.stale() > 0 ? "Stale: nothing new comes." : "");
  }

  #begin() {
    const pairs = this.feed.pairs();
    if (!pairs.length) return;
    const found = pairs.find((pair) => pair.symbol === this.symbol);
    if (!found?.selected) {
      this.#say(found ? `The feed does not follow ${this.symbol}.` : `The exchange has no pair ${this.symbol}.`);
      return;
    }
    const { symbol, price_precision: pricePrecision, qty_precision: qtyPrecision } = found;
    const pair = { symbol, pricePrecision, qtyPrecision, depth: this.depth, channels: ["book", "trade"] };
    const { market } = this;
    market.greet({ source: "live", name: "", staleAfter: STALE_AFTER, begin: null, end: null, pairs: [pair] });
    market.depth = this.depth;
    market.choose(0);
    if (!this.remembers) market.book.bytesMax = NEWEST;
    this.#follow = new Follow(this.feed, symbol, 0, this.depth, (frame) => market.take(frame));
  }
}

/** Depth over time, with best prices and trades. Dragging goes back in time, the wheel zooms. */
export class HeatMap extends Part {
  remembers = true;

  constructor(host, feed, symbol, options = {}) {
    super(host, feed, symbol, options);
    this.body.id = "chart";
    this.chart = new Chart(this.body, this.market, { plain: Boolean(options.plain) });
    this.chart.look(this.palette);
    this.chart.show.candles = options.candles ?? false;
    this.chart.show.trades = options.trades ?? true;
    this.begin();
  }

  draw(at) {
    const { chart, market } = this;
    chart.draw(at, market.pair ? market.book.at(chart.now) : null);
  }
}

/** The book as it is now: price, quantity, sums, and what it costs to sweep to a price. */
export class Ladder extends Part {
  remembers = false;

  constructor(host, feed, symbol, options = {}) {
    super(host, feed, symbol, options);
    this.ladder = new Rungs(this.body);
    this.begin();
  }

  draw() {
    const { market } = this;
    this.ladder.draw(market.book.last, market.pair, market.book.scale);
  }
}

/** Time and sales. */
export class Trades extends Part {
  remembers = false;

  constructor(host, feed, symbol, options = {}) {
    super(host, feed, symbol, options);
    this.tape = new Tape(this.body);
    this.begin();
  }

  draw() {
    const { market } = this;
    this.tape.draw(market.trades, market.now(), market.pair);
  }
}
