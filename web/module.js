// A module of WebAssembly: how it is found, and how texts get into its memory.

/** @typedef {{ room(length: number): number, capacity(): number }} Reader  What takes texts through a buffer. */
/** @typedef {URL | Request | Response | BufferSource | WebAssembly.Module} Source  Where a module comes from. */

/**
 * The bytes of a module. In node a file is read, because its `fetch` takes none.
 *
 * @param {Source} source
 * @returns {Promise<any>}
 */
export async function found(source) {
  if (source instanceof URL && source.protocol === "file:") {
    // By a name in a variable, so that bundlers for browsers do not look for it.
    const files = "node:fs/promises";
    return (await import(/* @vite-ignore */ files)).readFile(source);
  }
  return source;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Writes texts into the memory of a module, without a copy in between. */
export class Writer {
  #memory;
  #reader;
  #view = new Uint8Array();

  /**
   * @param {WebAssembly.Memory} memory
   * @param {Reader} reader
   */
  constructor(memory, reader) {
    this.#memory = memory;
    this.#reader = reader;
  }

  /**
   * Writes a text, or bytes that are UTF-8.
   *
   * @param {string | Uint8Array} text
   * @returns {number} How many bytes were written.
   */
  write(text) {
    if (typeof text !== "string") {
      const view = this.#room(text.length);
      view.set(text);
      return text.length;
    }
    let { read, written } = encoder.encodeInto(text, this.#room(text.length));
    if (read < text.length) {
      // A character of UTF-16 is three bytes at most.
      ({ read, written } = encoder.encodeInto(text, this.#room(3 * text.length)));
    }
    return written;
  }

  /** @param {number} length */
  #room(length) {
    // A view is empty from the moment its memory grows: no look at the memory is needed, which takes longer.
    if (length >= this.#view.length) {
      const at = this.#reader.room(length);
      this.#view = new Uint8Array(this.#memory.buffer, at, this.#reader.capacity());
    }
    return this.#view;
  }
}

/**
 * The text of bytes.
 *
 * @param {Uint8Array} bytes
 * @returns {string}
 */
export function decode(bytes) {
  return decoder.decode(bytes);
}
