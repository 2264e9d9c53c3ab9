// Sessions: exact numbers, views for pictures, and what wrong input gets.

import assert from "node:assert/strict";
import { before, test } from "node:test";

import { load, now, Session } from "../index.js";

// The example of Kraken's documentation of the checksum, in the layout of its feed.
const BIDS = [
  ["45283.5", "0.10000000"], ["45283.4", "1.54582015"], ["45282.1", "0.10000000"], ["45281.0", "0.10000000"],
  ["45280.3", "1.54592586"], ["45279.0", "0.07990000"], ["45277.6", "0.03310103"], ["45277.5", "0.30000000"],
  ["45277.3", "1.54602737"], ["45276.6", "0.15445238"],
];
const ASKS = [
  ["45285.2", "0.00100000"], ["45286.4", "1.54571953"], ["45286.6", "1.54571109"], ["45289.6", "1.54560911"],
  ["45290.2", "0.15890660"], ["45291.8", "1.54553491"], ["45294.7", "0.04454749"], ["45296.1", "0.35380000"],
  ["45297.5", "0.09945542"], ["45299.5", "0.18772827"],
];
const CHECKSUM = 3310070434;

function snapshot(checksum = CHECKSUM, symbol = "BTC/USD") {
  const side = (levels) => levels.map(([price, qty]) => `{"price":${price},"qty":${qty}}`).join(",");
  return (
    `{"channel":"book","type":"snapshot","data":[{"symbol":"${symbol}","bids":[${side(BIDS)}],"asks":[${side(ASKS)}],` +
    `"checksum":${checksum},"timestamp":"2026-08-02T03:35:51.660084Z"}]}`
  );
}

const session = (options = {}) => new Session({ passive: true, depth: 10, precision: { "BTC/USD": [1, 8] }, ...options });

before(() => load());

test("a book is exact, and its checksum is the exchange's", () => {
  const one = session();
  one.wantEvents(["book"]);
  one.receive(snapshot(), 1785641751660084001n);
  const book = one.book("BTC/USD");
  assert.equal(book.inSync, true);
  assert.equal(book.checksum, CHECKSUM);
  assert.deepEqual(book.levels(), { bids: BIDS, asks: ASKS, depth: 10 });
  assert.deepEqual(book.levels(2).asks, ASKS.slice(0, 2));
  assert.deepEqual(book.best(), { bid: BIDS[0], ask: ASKS[0] });
  const [event, ...rest] = one.takeEvents();
  assert.equal(rest.length, 0);
  assert.deepEqual(
    { ...event, entries: event.entries.length },
    {
      channel: "book", symbol: "BTC/USD", message: 0, ts_recv: 1785641751660084001n, ts_event: 1785641751660084000n,
      kind: "snapshot", outcome: "ok", checksum: CHECKSUM, entries: 20,
    },
  );
  assert.deepEqual(event.entries[0], ["bid", ...BIDS[0]]);
  assert.deepEqual(one.takeEvents(), []);
  one.free();
});

test("numbers for a picture are the nearest doubles of the exact ones", () => {
  const one = session();
  one.receive(snapshot(), 1n);
  const levels = one.book("BTC/USD").numbers();
  assert.equal(levels.bids, 10);
  const exact = [...BIDS, ...ASKS];
  assert.deepEqual([...levels.prices], exact.map(([price]) => Number(price)));
  assert.deepEqual([...levels.qtys], exact.map(([, qty]) => Number(qty)));
  assert.deepEqual([levels.pricePrecision, levels.qtyPrecision, levels.counts.length, levels.orders.length], [1, 8, 0, 0]);
  assert.equal(one.book("BTC/USD").numbers(3).prices.length, 6);
  one.free();
});

test("one wrong digit ends the book, and says what was expected", () => {
  const one = session();
  one.wantEvents(["book"]);
  one.receive(snapshot(CHECKSUM - 1), 1n);
  const book = one.book("BTC/USD");
  assert.equal(book.inSync, false);
  assert.equal(book.levels(), undefined);
  assert.equal(book.numbers(), undefined);
  assert.equal(book.best(), undefined);
  assert.deepEqual(book.lastMismatch, { expected: CHECKSUM - 1, computed: CHECKSUM });
  assert.deepEqual(one.takeEvents().map((event) => event.outcome), ["mismatch"]);
  assert.deepEqual(one.counts().checksums.book, { ok: 0, bad: 1 });
  one.free();
});

test("frames may be bytes, of any length, with characters of any length", () => {
  const one = session();
  const bytes = new TextEncoder().encode(snapshot());
  const view = new Uint8Array(bytes.length + 8);
  view.set(bytes, 8);
  one.receive(view.subarray(8), 1n);
  assert.equal(one.book("BTC/USD").inSync, true);
  // Longer than the buffer at first, and three bytes for each unit of UTF-16.
  const long = `{"channel":"status","type":"update","data":[{"version":"${"€".repeat(300_000)}","system":"€uro"}]}`;
  one.receive(long, 2n);
  assert.equal(one.system, "€uro");
  one.receive("", 3n);
  one.receive("{", 4n);
  assert.equal(one.counts().frames, 4);
  assert.equal(one.counts().errors, 2);
  assert.equal(one.book("BTC/USD").levels().bids.length, 10);
  one.free();
});

test("wrong options are errors that name what is allowed", () => {
  const wrong = (options, sentence) => assert.throws(() => new Session(options), sentence);
  wrong({ channels: ["books"] }, /no channel "books"; channels: .*book/);
  wrong({ depth: 11 }, /depth 11 is not offered; depths: .*10, 25/);
  wrong({ level3Depth: 25 }, /level-3 depth 25 is not offered/);
  wrong({ interval: 2 }, /interval 2 is not offered/);
  wrong({ symbols: [""] }, /"" is no symbol pattern/);
  wrong({ precision: { "A/B": [11, 0] } }, /A\/B: precision 11,0 is beyond 10 decimals/);
  const one = session();
  assert.throws(() => one.wantEvents(["order"]), /no events of "order"; there are .*book/);
  assert.throws(() => one.orders("A/B").queue("buy", "1"), /no side "buy"; sides: bid, ask/);
  assert.throws(() => one.orders("A/B").queue("bid", "x"), /"x" is no number/);
  one.free();
});

test("times are those of the clock, also after the finer one stood still", (context) => {
  const off = () => Math.abs(Number(now() / 1_000_000n) - Date.now());
  assert.ok(off() < 100);
  const before = performance.now();
  const still = context.mock.method(performance, "now", () => before - 3_600_000);
  assert.ok(off() < 100);
  still.mock.restore();
  assert.ok(off() < 100);
});

test("sessions have different names, and the digest sees every difference", () => {
  const value = (frame, at) => {
    const one = session({ rows: true });
    const digest = one.digest();
    one.receive(frame, at);
    digest.take();
    const found = [one.id, digest.value];
    one.free();
    return found;
  };
  const [[id, first], [other, same]] = [value(snapshot(), 1n), value(snapshot(), 1n)];
  assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.notEqual(id, other);
  assert.equal(first, same);
  assert.notEqual(first, value(snapshot(), 2n)[1]);
  assert.notEqual(first, value(snapshot(CHECKSUM + 1), 1n)[1]);
});
