// A feed on the built-in exchange, in one process and without a network: books, events, cuts, level 3.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";

import { Exchange, load } from "../exchange.js";
import { Feed } from "../index.js";

const SECONDS = 30;

/** Waits until something is so. */
async function until(what, so) {
  for (let waited = 0; waited < SECONDS * 1000; waited += 20) {
    const found = so();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return assert.fail(`not so after ${SECONDS} s: ${what}`);
}

let exchange;
before(() => load());
beforeEach(() => {
  exchange?.free();
  exchange = new Exchange({ pairs: 4, rate: 400, seed: 7n });
  exchange.run();
});
after(() => exchange.free());

const feedOf = (options) => new Feed({ connect: (endpoint) => exchange.connect(endpoint), ...options });

test("books, trades and tickers of the symbols that were asked for", async () => {
  const [symbol, other] = exchange.symbols;
  const feed = feedOf({ symbols: [symbol], depth: 10 });
  const events = [];
  for (const channel of ["book", "trade", "ticker", "subscription"]) feed.on(channel, "*", (event) => events.push(event));
  const best = [];
  feed.on("book", symbol, () => best.push(feed.book(symbol).best()));
  await feed.open();
  const kinds = () => new Set(events.map((event) => event.channel));
  await until("every channel", () => kinds().size === 4 && best.length > 20);
  assert.equal(feed.connected, true);
  assert.equal(feed.book(symbol).inSync, true);
  assert.equal(feed.book(other).inSync, false);
  assert.equal(feed.book(symbol).levels().bids.length, 10);
  assert.deepEqual([...new Set(events.map((event) => event.symbol))], [symbol]);
  assert.ok(events.filter((event) => event.channel === "book").every((event) => event.outcome === "ok"));
  assert.ok(best.every(({ bid, ask }) => Number(bid[0]) < Number(ask[0])));
  const counts = feed.counts();
  assert.ok(counts.checksums.book.ok > 20);
  assert.deepEqual([counts.checksums.book.bad, counts.errors, counts.in_sync], [0, 0, 1]);
  assert.equal(feed.system, "online");
  feed.close();
  const last = events.length;
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.equal(events.length, last);
  assert.throws(() => feed.book(symbol).inSync, /the feed is not open/);
});

test("the books are those of the exchange, which computes its checksums with other code", async () => {
  const feed = feedOf({ depth: 100, channels: ["book"] });
  await feed.open();
  await until("all books", () => feed.counts().in_sync === 4 && feed.counts().checksums.book.ok > 400);
  assert.equal(feed.counts().checksums.book.bad, 0);
  // Nothing moves between the two: the exchange's time is moved by a timer.
  let levels = 0;
  for (const symbol of exchange.symbols) {
    const { bids, asks } = feed.book(symbol).levels();
    assert.deepEqual({ bids, asks }, exchange.book(symbol, 100), symbol);
    levels += bids.length + asks.length;
  }
  assert.ok(levels > 100);
  assert.equal(exchange.book("NO/PAIR"), undefined);
  feed.close();
});

test("a wrong digit is found, and the book comes back by itself", async () => {
  const [symbol] = exchange.symbols;
  const feed = feedOf({ symbols: [symbol], channels: ["book"], depth: 10 });
  const outcomes = [];
  feed.on("book", symbol, (event) => outcomes.push(event.outcome));
  await feed.open();
  await until("a book", () => outcomes.length > 5);
  exchange.inject(`digit,channel=book,symbol=${symbol}`);
  await until("a mismatch", () => outcomes.includes("mismatch"));
  exchange.clearFaults();
  await until("the book again", () => outcomes.at(-1) === "ok" && feed.book(symbol).inSync);
  assert.equal(feed.book(symbol).lastMismatch !== undefined, true);
  feed.close();
});

test("a cut connection is made again; its handles go on, and the gap is told", async () => {
  const [symbol] = exchange.symbols;
  const sockets = [];
  const feed = feedOf({
    symbols: [symbol],
    channels: ["book", "trade"],
    connect(endpoint) {
      sockets.push(exchange.connect(endpoint));
      return sockets.at(-1);
    },
  });
  const gaps = [];
  feed.on("gap", symbol, (gap) => gaps.push(gap));
  const lines = [];
  feed.on("connection", "*", ({ endpoint, up, reason }) => lines.push([endpoint, up, reason]));
  const book = feed.book(symbol);
  await feed.open();
  await until("a book", () => book.inSync);
  assert.deepEqual(feed.pairs().map((pair) => pair.symbol).sort(), [...exchange.symbols].sort());
  assert.ok(feed.received > 0n);
  const first = feed.counts().frames;
  assert.ok(first > 0);
  exchange.inject(`cut=once,connection=${sockets[0].id}`);
  await until("the cut", () => !book.inSync);
  await until("the book again", () => book.inSync);
  assert.equal(sockets.length, 2);
  assert.deepEqual(lines.map(([endpoint, up]) => [endpoint, up]), [["public", true], ["public", false], ["public", true]]);
  assert.match(lines[1][2], /closed with code 1006/);
  await until("the gap", () => gaps.some((gap) => gap.of === "book" && gap.ts_to > gap.ts_from));
  feed.close();
});

test("symbols can be changed, and a later connection follows those of now", async () => {
  const [one, other] = exchange.symbols;
  let socket;
  const feed = feedOf({ symbols: [one], channels: ["book"], connect: (endpoint) => (socket = exchange.connect(endpoint)) });
  await feed.open();
  await until("the first book", () => feed.book(one).inSync);
  feed.select([other]);
  await until("the other book", () => feed.book(other).inSync && !feed.book(one).inSync);
  socket.close(1006, "cut");
  await until("it goes", () => !feed.book(other).inSync);
  await until("the other book again", () => feed.book(other).inSync);
  assert.equal(feed.book(one).inSync, false);
  feed.close();
});

test("level 3 has its own connection and a token; every order has its place in its queue", async () => {
  const [symbol] = exchange.symbols;
  exchange.allow("secret");
  let asked = 0;
  const feed = feedOf({
    symbols: [symbol],
    channels: ["book", "level3"],
    level3Depth: 10,
    async token() {
      asked += 1;
      return "secret";
    },
  });
  const events = [];
  feed.on("level3", symbol, (event) => events.push(event));
  await feed.open();
  await until("orders", () => feed.orders(symbol).inSync && events.length > 5);
  assert.equal(asked, 1);
  const orders = feed.orders(symbol);
  const { bids } = orders.levels();
  const [price, qty, count] = bids[0];
  const queue = orders.queue("bid", price);
  assert.equal(queue.length, count);
  const decimals = qty.split(".")[1]?.length ?? 0;
  const sum = (found) => found.reduce((all, order) => all + BigInt(order.qty.replace(".", "")), 0n);
  assert.equal(sum(queue), BigInt(qty.replace(".", "")));
  const last = queue.at(-1);
  const place = orders.order(last.id);
  assert.deepEqual([place.side, place.price, place.qty, place.ts_order], ["bid", price, last.qty, last.ts_order]);
  assert.equal(place.orders_ahead, count - 1);
  assert.equal(BigInt(place.qty_ahead.replace(".", "")), sum(queue.slice(0, -1)));
  assert.equal(place.qty.split(".")[1]?.length ?? 0, decimals);
  assert.equal(orders.order("no such order"), undefined);
  // Level 3 that says nothing more while the book goes on is noticed.
  exchange.inject(`silence=once,channel=level3,symbol=${symbol}`);
  await until("silence", () => !orders.inSync);
  await until("orders again", () => orders.inSync);
  const { counts, orders: quantities, prices } = orders.numbers();
  assert.equal(counts.length, prices.length);
  assert.equal(quantities.length, counts.reduce((all, n) => all + n, 0));
  feed.close();
});

test("what a callback does harms neither the feed nor other callbacks", async (context) => {
  const [symbol] = exchange.symbols;
  const errors = context.mock.method(console, "error", () => {});
  const feed = feedOf({ symbols: [symbol], channels: ["book"] });
  let seen = 0;
  feed.on("book", symbol, () => {
    throw new Error("mine");
  });
  const end = feed.on("book", symbol, () => {
    seen += 1;
    if (seen === 5) end();
    if (seen > 5) assert.fail("it was ended");
  });
  let more = 0;
  feed.on("book", "*", () => {
    more += 1;
    if (more === 10) feed.close();
  });
  await feed.open();
  await until("it closes itself", () => more === 10);
  assert.equal(seen, 5);
  assert.equal(errors.mock.callCount(), 10);
  assert.throws(() => feed.on("order", "*", () => {}), /no events of "order"; there are book/);
});

test("a socket that cannot be made is tried again", async () => {
  let tried = 0;
  const feed = feedOf({
    channels: ["book"],
    connect(endpoint) {
      tried += 1;
      if (tried < 3) throw new Error("no network");
      return exchange.connect(endpoint);
    },
  });
  await feed.open();
  await until("books", () => feed.counts().in_sync === 4);
  assert.equal(tried, 3);
  feed.close();
});

test("the exchange in the page refuses what it cannot do", () => {
  assert.throws(() => new Exchange({ pairs: 0 }), /pairs must be from 1 to 1500, not 0/);
  assert.throws(() => new Exchange({ rate: NaN }), /rate must be above zero/);
  assert.throws(() => exchange.connect("private"), /endpoint must be public or level3, not private/);
  assert.throws(() => exchange.inject("nothing"), Error);
});
