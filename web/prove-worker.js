// A worker of `prove`: calls of the page to its `Prover`.

import { Unreadable } from "./parquet.js";
import { memory, Prover } from "./prover.js";

const prover = new Prover();
const page = /** @type {any} */ (globalThis);

page.onmessage = async (/** @type {MessageEvent<{n: number, method: string, given: unknown[]}>} */ { data: { n, method, given } }) => {
  try {
    const value = await /** @type {any} */ (prover)[method](...given);
    page.postMessage({ n, value }, memory(value));
  } catch (error) {
    const { message } = /** @type {Error} */ (error);
    page.postMessage({ n, error: message, unreadable: error instanceof Unreadable });
  }
};
