// Proves the files of folders, or files, as a page would: `proved.js PATH…`. Prints the report. A path as `FILE=NAME` has that name.

import { openAsBlob, readdirSync, statSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";

import { prove } from "../../web/prove.js";

const [options, ...paths] = process.argv.slice(2);
const files = [];
for (const path of paths) {
  const inside = statSync(path).isDirectory() ? readdirSync(path, { recursive: true }).map((name) => join(path, name)) : [path];
  for (const file of inside.sort()) {
    if (!statSync(file).isFile()) continue;
    // As a browser: a folder that is dropped is the first name of each path.
    const name = file === path ? basename(file) : relative(dirname(path), file);
    files.push({ path: name, bytes: statSync(file).size, blob: () => openAsBlob(file) });
  }
}
const begun = performance.now();
let told = 0;
const report = await prove(files, { ...JSON.parse(options), onProgress: () => (told += 1) });
const { outcome, ok, bad } = report;
const text = (_, value) => (typeof value === "bigint" ? String(value) : value);
console.log(JSON.stringify({ ...report, outcome, ok, bad, told, ms: performance.now() - begun }, text));
