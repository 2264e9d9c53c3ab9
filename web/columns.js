// Columns of rows as Arrow has them: parts of them, and several put together.

/** @typedef {import("./proof.js").Column} Column */
/** @typedef {import("./proof.js").Columns} Columns */

/**
 * Bits `from` to `to`, the lowest first, as bytes of their own.
 *
 * @param {Uint8Array} bits
 * @param {number} from
 * @param {number} to
 */
function bitsOf(bits, from, to) {
  const bytes = Math.ceil((to - from) / 8);
  const shift = from & 7;
  const at = from >> 3;
  if (!shift) return bits.slice(at, at + bytes);
  const found = new Uint8Array(bytes);
  for (let n = 0; n < bytes; n++) found[n] = (bits[at + n] >> shift) | ((bits[at + n + 1] ?? 0) << (8 - shift));
  return found;
}

/**
 * Rows `from` to before `to` of a column, as a copy.
 *
 * @param {Column} column
 * @param {number} from
 * @param {number} to
 * @returns {Column}
 */
function part(column, from, to) {
  const valid = column.valid && bitsOf(column.valid, from, to);
  if ("decimals" in column) return { decimals: column.decimals.slice(2 * from, 2 * to), valid };
  if ("offsets" in column) {
    const offsets = column.offsets.slice(from, to + 1);
    const begin = offsets[0];
    const bytes = column.bytes.slice(begin, offsets[to - from]);
    if (begin) for (let n = 0; n < offsets.length; n++) offsets[n] -= begin;
    return { offsets, bytes, valid };
  }
  return { values: column.values.slice(from, to), valid };
}

/**
 * How many rows a column has.
 *
 * @param {Column} column
 */
export function length(column) {
  if ("decimals" in column) return column.decimals.length / 2;
  return "offsets" in column ? column.offsets.length - 1 : column.values.length;
}

/**
 * Rows `from` to before `to`, as a copy.
 *
 * @param {Columns} columns
 * @param {number} from
 * @param {number} to
 * @returns {Columns}
 */
export function slice(columns, from, to) {
  return Object.fromEntries(Object.entries(columns).map(([name, column]) => [name, part(column, from, to)]));
}

/**
 * Bits of two columns, one behind the other; a column without bits has all rows.
 *
 * @param {Column} a
 * @param {Column} b
 */
function valids(a, b) {
  if (!a.valid && !b.valid) return undefined;
  const first = length(a);
  const rows = first + length(b);
  const bits = new Uint8Array(Math.ceil(rows / 8));
  for (let row = 0; row < rows; row++) {
    const [of, at] = row < first ? [a.valid, row] : [b.valid, row - first];
    if (!of || (of[at >> 3] >> (at & 7)) & 1) bits[row >> 3] |= 1 << (row & 7);
  }
  return bits;
}

/**
 * @template {Uint8Array | Uint16Array | Uint32Array | BigUint64Array | BigInt64Array | Int32Array} T
 * @param {T} a
 * @param {T} b
 * @returns {T}
 */
function both(a, b) {
  const made = new /** @type {any} */ (a).constructor(a.length + b.length);
  made.set(a);
  made.set(b, a.length);
  return made;
}

/**
 * The rows of `a`, then those of `b`, which has the same columns. For few rows.
 *
 * @param {Columns} a
 * @param {Columns} b
 * @returns {Columns}
 */
export function joined(a, b) {
  /** @type {Columns} */
  const found = {};
  for (const [name, one] of Object.entries(a)) {
    const other = b[name];
    const valid = valids(one, other);
    if ("decimals" in one && "decimals" in other) {
      found[name] = { decimals: both(one.decimals, other.decimals), valid };
    } else if ("offsets" in one && "offsets" in other) {
      const end = one.offsets[one.offsets.length - 1];
      const more = other.offsets.map((offset) => offset + end).subarray(1);
      found[name] = { offsets: both(one.offsets, more), bytes: both(one.bytes, other.bytes), valid };
    } else if ("values" in one && "values" in other) {
      found[name] = { values: both(/** @type {any} */ (one.values), /** @type {any} */ (other.values)), valid };
    }
  }
  return found;
}

/**
 * The memory of columns, which can be handed to another thread without a copy.
 *
 * @param {Columns} columns
 * @returns {ArrayBuffer[]}
 */
export function buffers(columns) {
  const found = new Set();
  for (const column of Object.values(columns)) {
    for (const array of Object.values(column)) if (array) found.add(array.buffer);
  }
  return [...found];
}

const decoder = new TextDecoder();

/**
 * The text of a row; null if there is none.
 *
 * @param {Column} column
 * @param {number} row
 * @returns {string | null}
 */
export function text(column, row) {
  if (!("offsets" in column) || !has(column, row)) return null;
  return decoder.decode(column.bytes.subarray(column.offsets[row], column.offsets[row + 1]));
}

/**
 * Whether a row is not null.
 *
 * @param {Column} column
 * @param {number} row
 */
export function has(column, row) {
  return !column.valid || Boolean((column.valid[row >> 3] >> (row & 7)) & 1);
}

/**
 * The number of a row; null if there is none. Message numbers are far below 2⁵³.
 *
 * @param {Column} column
 * @param {number} row
 * @returns {number | null}
 */
export function number(column, row) {
  return "values" in column && has(column, row) ? Number(column.values[row]) : null;
}

/**
 * Whether two rows have the same text, or number.
 *
 * @param {Column} column
 * @param {number} a
 * @param {number} b
 */
export function same(column, a, b) {
  if ("values" in column) return column.values[a] === column.values[b];
  if (!("offsets" in column)) throw new TypeError("rows are compared by texts and numbers");
  const { offsets, bytes } = column;
  const size = offsets[a + 1] - offsets[a];
  if (offsets[b + 1] - offsets[b] !== size) return false;
  for (let n = 0; n < size; n++) if (bytes[offsets[a] + n] !== bytes[offsets[b] + n]) return false;
  return true;
}
