// Parquet files read column by column, by npm's parquet-wasm, and taken out of its memory as Arrow has them.

import { found } from "./module.js";

/** @typedef {import("./proof.js").Column} Column */
/** @typedef {import("./proof.js").Columns} Columns */
/** @typedef {any} Library  The module of parquet-wasm. */

/** Rows of a row group at most; krakpot writes 131,072. More would not be read piece by piece. */
export const ROWS_MAX = 4_000_000;

/** @type {Promise<Library> | undefined} */
let loading;
/** How often it was loaded: one that stopped at a damaged file cannot go on, another copy can. */
let copies = 0;
/** @type {WeakSet<Library>} */
const stoppedCopies = new WeakSet();

/** @returns {Promise<Library>} */
function library() {
  loading ??= load();
  return loading;
}

async function load() {
  const place = new URL("./vendor/parquet_wasm.js", import.meta.url);
  // By an address in a variable, so that no type of the library is looked for. Each copy has its own.
  const address = copies ? `${place.href}?copy=${copies}` : place.href;
  copies += 1;
  const module = await import(/* @vite-ignore */ address);
  await module.default({ module_or_path: await found(new URL("./vendor/parquet_wasm_bg.wasm", import.meta.url)) });
  return module;
}

/**
 * The reason of a failure, in few words.
 *
 * @param {unknown} error
 */
function reason(error) {
  return error instanceof WebAssembly.RuntimeError ? "its content is damaged" : /** @type {Error} */ (error).message.split("\n")[0];
}

/**
 * What a promise of the library gives. At some damaged files the library stops: then its promise waits for ever, and the error
 * is one that nobody catches. A copy that stopped cannot go on, so another one is loaded for what comes next.
 *
 * @template T
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
async function guarded(work) {
  /** @type {(error: unknown) => void} */
  let stop = () => undefined;
  const stopped = new Promise((_, reject) => (stop = reject));
  const heard = (/** @type {any} */ event) => {
    const error = event.error ?? event.reason ?? event;
    if (error instanceof WebAssembly.RuntimeError) {
      event.preventDefault?.();
      stop(error);
    } else if (error === event) throw error;
  };
  const names = ["error", "unhandledrejection"];
  const inBrowser = "addEventListener" in globalThis;
  const node = /** @type {any} */ (globalThis).process;
  if (inBrowser) for (const name of names) globalThis.addEventListener(name, heard);
  else node.on("uncaughtException", heard);
  try {
    return /** @type {T} */ (await Promise.race([work(), stopped]));
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError) {
      stoppedCopies.add(await loading);
      loading = undefined;
    }
    throw error;
  } finally {
    if (inBrowser) for (const name of names) globalThis.removeEventListener(name, heard);
    else node.off("uncaughtException", heard);
  }
}

/** One read at a time: if the library stops, it is known at which file. @type {Promise<unknown>} */
let turn = Promise.resolve();

/**
 * @template T
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
function inTurn(work) {
  const done = turn.then(() => guarded(work));
  turn = done.catch(() => undefined);
  return done;
}

/** A file that cannot be read as Parquet: why. */
export class Unreadable extends Error {}

/** A Parquet file. */
export class ParquetFile {
  #blob;
  #library;
  #file;

  /**
   * @param {Blob} blob
   * @param {Library} library
   * @param {any} file
   */
  constructor(blob, library, file) {
    this.#blob = blob;
    this.#library = library;
    this.#file = file;
    const metadata = file.metadata();
    /** Rows of each row group. @type {number[]} */
    this.groups = Array.from({ length: metadata.numRowGroups() }, (_, group) => metadata.rowGroup(group).numRows());
    const first = this.groups.length ? metadata.rowGroup(0) : undefined;
    /** Names of its columns; of a file without rows none are known. @type {string[]} */
    this.columns = first ? Array.from({ length: first.numColumns() }, (_, n) => first.column(n).columnPath().join(".")) : [];
    /** Rows of all row groups. */
    this.rows = this.groups.reduce((sum, rows) => sum + rows, 0);
  }

  /**
   * Opens a file; only its end is read.
   *
   * @param {Blob} blob
   * @returns {Promise<ParquetFile>}
   */
  static async open(blob) {
    const ends = await Promise.all([blob.slice(0, 4).text(), blob.slice(-4).text()]);
    if (!blob.size) throw new Unreadable("the file is empty");
    if (ends[0] !== "PAR1") throw new Unreadable("it is no Parquet file");
    if (ends[1] !== "PAR1") throw new Unreadable("its end is missing: it was not copied whole");
    try {
      return await inTurn(async () => {
        const own = await library();
        return new ParquetFile(blob, own, await own.ParquetFile.fromFile(blob));
      });
    } catch (error) {
      throw new Unreadable(reason(error));
    }
  }

  /**
   * Reads columns of a row group; `use` must take from them what it needs before it returns, because their memory goes.
   *
   * @template T
   * @param {number} group
   * @param {string[]} columns
   * @param {(columns: Columns, rows: number) => T} use
   * @returns {Promise<T>}
   */
  async read(group, columns, use) {
    const lacking = columns.find((name) => !this.columns.includes(name));
    if (lacking) throw new Unreadable(`it has no column ${lacking}`);
    const rows = this.groups[group];
    if (rows > ROWS_MAX) throw new Unreadable(`a row group has ${rows.toLocaleString("en")} rows, more than krakpot writes`);
    let table;
    try {
      table = await inTurn(async () => {
        const own = await library();
        if (own !== this.#library) {
          this.#library = own;
          this.#file = await own.ParquetFile.fromFile(this.#blob);
        }
        return this.#file.read({ rowGroups: [group], columns, batchSize: Math.max(rows, 1) });
      });
    } catch (error) {
      throw new Unreadable(reason(error));
    }
    const batches = table.recordBatches();
    if (batches.length !== 1) throw new Unreadable(`${rows} rows came in ${batches.length} pieces`);
    const given = batches[0].intoFFI();
    try {
      return use(taken(new DataView(this.#library.wasmMemory().buffer), given), rows);
    } finally {
      given.free();
    }
  }

  /** Gives its memory back. */
  close() {
    if (!stoppedCopies.has(this.#library)) this.#file.free();
  }
}

/**
 * Columns of a record batch, as views of the library's memory: the structures of Arrow's C data interface in 32 bits.
 *
 * @param {DataView} memory
 * @param {{arrayAddr(): number, schemaAddr(): number}} given
 * @returns {Columns}
 */
function taken(memory, given) {
  const u32 = (/** @type {number} */ at) => memory.getUint32(at, true);
  const i64 = (/** @type {number} */ at) => Number(memory.getBigInt64(at, true));
  const bytes = (/** @type {number} */ at, /** @type {number} */ size) => new Uint8Array(memory.buffer, at, size);
  const word = (/** @type {number} */ at) => {
    let end = at;
    while (memory.getUint8(end)) end += 1;
    return new TextDecoder().decode(bytes(at, end - at));
  };
  const [array, schema] = [given.arrayAddr(), given.schemaAddr()];
  const children = i64(schema + 24);
  /** @type {Columns} */
  const columns = {};
  for (let n = 0; n < children; n++) {
    const of = u32(u32(schema + 32) + 4 * n);
    const at = u32(u32(array + 44) + 4 * n);
    const [length, missing, offset] = [i64(at), i64(at + 8), i64(at + 16)];
    const buffer = (/** @type {number} */ k) => u32(u32(at + 40) + 4 * k);
    if (offset) throw new Unreadable("its rows do not begin where its memory does");
    const valid = missing && buffer(0) ? bytes(buffer(0), Math.ceil(length / 8)) : undefined;
    const name = word(u32(of + 4));
    columns[name] = column(name, word(u32(of)), length, memory.buffer, buffer, valid);
  }
  return columns;
}

/**
 * @param {string} name
 * @param {string} format  The type, as the C data interface writes it.
 * @param {number} rows
 * @param {ArrayBufferLike} memory
 * @param {(k: number) => number} buffer
 * @param {Uint8Array | undefined} valid
 * @returns {Column}
 */
function column(name, format, rows, memory, buffer, valid) {
  // A column without bytes may have no address that fits its type.
  const view = (/** @type {any} */ type, /** @type {number} */ count, k = 1) =>
    count ? new type(memory, buffer(k), count) : new type(0);
  if (format.startsWith("ts")) return { values: view(BigInt64Array, rows), valid };
  if (/^d:\d+,10$/.test(format)) return { decimals: view(BigUint64Array, 2 * rows), valid };
  switch (format) {
    case "u": {
      const offsets = view(Int32Array, rows + 1);
      return { offsets, bytes: view(Uint8Array, offsets[rows], 2), valid };
    }
    case "U": {
      // Longer offsets, of other writers; a row group has no 2 GB of text.
      const offsets = Int32Array.from(view(BigInt64Array, rows + 1), Number);
      return { offsets, bytes: view(Uint8Array, offsets[rows], 2), valid };
    }
    case "C":
      return { values: view(Uint8Array, rows), valid };
    case "S":
      return { values: view(Uint16Array, rows), valid };
    case "I":
      return { values: view(Uint32Array, rows), valid };
    case "L":
      return { values: view(BigUint64Array, rows), valid };
    case "l":
      return { values: view(BigInt64Array, rows), valid };
    default:
      throw new Unreadable(`its column ${name} is of another type (${format})`);
  }
}
