// When to connect again, and how fast requests go out.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Backoff, Pacer } from "../backoff.js";

test("a lost connection is made again at once, then later and later", () => {
  const backoff = new Backoff(() => 0);
  assert.deepEqual(Array.from({ length: 11 }, () => backoff.delay(0)), [0, 0, 0, 0, 1, 2, 4, 8, 16, 30, 30]);
  backoff.opened(29);
  assert.equal(backoff.delay(0), 30);
  backoff.opened(30);
  assert.equal(backoff.delay(0), 0);
  assert.equal(backoff.delay(0, true), 5);
});

test("there are fewer attempts in ten minutes than Kraken bans", () => {
  const backoff = new Backoff(() => 0);
  const attempts = [];
  for (let now = 0; now < 3600; now = attempts.at(-1)) {
    attempts.push(now + backoff.delay(now));
    backoff.opened(30);
  }
  assert.ok(attempts.length > 120);
  for (const at of attempts) assert.ok(attempts.filter((other) => other > at - 600 && other <= at).length <= 121);
});

test("requests keep their order and their rate", () => {
  const pacer = new Pacer();
  const all = Array.from({ length: 35 }, (_, n) => `${n}`);
  pacer.add(all);
  const sent = [pacer.due(0), pacer.due(0), pacer.due(0.05), pacer.due(1), pacer.due(9), pacer.due(10)];
  assert.deepEqual(sent.map((requests) => requests.length), [10, 0, 0, 10, 10, 5]);
  assert.deepEqual(sent.flat(), all);
});
