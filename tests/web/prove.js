// Proves rows that a test wrote as JSON: `prove.js FILE`. The file has the session, the channel, and in `messages`
// columns with their type and values as text. Prints what was found for each symbol.

import { readFileSync } from "node:fs";

import { load, Verifier } from "../../web/proof.js";

const WHOLE = { u8: Uint8Array, u16: Uint16Array, u32: Uint32Array, u64: BigUint64Array, time: BigInt64Array };
const LOW = (1n << 64n) - 1n;

/** One bit for each value that is there, the lowest first. */
function valid(values) {
  const bits = new Uint8Array(Math.ceil(values.length / 8));
  values.forEach((value, n) => {
    if (value !== null) bits[n >> 3] |= 1 << (n & 7);
  });
  return bits;
}

function column({ type, values }) {
  if (type === "text") {
    const texts = values.map((value) => new TextEncoder().encode(value ?? ""));
    const offsets = new Int32Array(texts.length + 1);
    texts.forEach((text, n) => (offsets[n + 1] = offsets[n] + text.length));
    const bytes = new Uint8Array(offsets.at(-1));
    texts.forEach((text, n) => bytes.set(text, offsets[n]));
    return { offsets, bytes, valid: valid(values) };
  }
  if (type === "decimal") {
    const words = values.flatMap((value) => [BigInt(value ?? 0) & LOW, (BigInt(value ?? 0) >> 64n) & LOW]);
    return { decimals: new BigUint64Array(words), valid: valid(values) };
  }
  const array = WHOLE[type];
  const wide = array === BigUint64Array || array === BigInt64Array;
  return { values: array.from(values, (value) => (wide ? BigInt(value ?? 0) : Number(value ?? 0))), valid: valid(values) };
}

const { session, channel, messages } = JSON.parse(readFileSync(process.argv[2], "utf8"));
await load();
const verifier = new Verifier(session, channel);
verifier.messages(Object.fromEntries(Object.entries(messages).map(([name, given]) => [name, column(given)])));
console.log(JSON.stringify(verifier.finish()));
