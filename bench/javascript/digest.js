// Takes recorded frames from a file, as `rust/examples/digest.rs` does, and prints the digest of all that a session makes of
// them: `digest.js FILE DEPTH [SYMBOL=PRICE,QTY…] [--rounds N]`. Each line begins with the receive time in ns and a tab.
//
// With rounds it prints how many nanoseconds a frame takes in the fastest of them as well.

import { readFileSync } from "node:fs";

import { load, Session } from "../../web/index.js";

/** Frames between two calls that take the rows. */
const EVERY = 1000;

const [file, depth, ...others] = process.argv.slice(2);
const precision = {};
let rounds = 0;
while (others.length) {
  const argument = others.shift();
  if (argument === "--rounds") {
    rounds = Number(others.shift());
  } else {
    const [symbol, decimals] = argument.split("=");
    precision[symbol] = decimals.split(",").map(Number);
  }
}
// Texts, as a WebSocket gives them.
const frames = [];
for (const line of readFileSync(file, "utf8").split("\n")) {
  if (!line) continue;
  const tab = line.indexOf("\t");
  frames.push([line.slice(tab + 1), BigInt(line.slice(0, tab))]);
}

await load();
const options = { id: "digest", passive: true, depth: Number(depth), precision };
const session = new Session({ ...options, rows: true });
const digest = session.digest();
for (const [n, [frame, at]] of frames.entries()) {
  session.receive(frame, at);
  if (n % EVERY === 0) digest.take();
}
digest.take();
console.log(digest.value.toString(16).padStart(16, "0"));

let best = Infinity;
for (let round = 0; round < rounds; round++) {
  const session = new Session(options);
  const begin = performance.now();
  for (const [frame, at] of frames) session.receive(frame, at);
  best = Math.min(best, ((performance.now() - begin) * 1e6) / frames.length);
  session.free();
}
if (rounds) console.log(best.toFixed(0));
