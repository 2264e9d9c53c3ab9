// Does with a session what a test has done with one in Python, and prints what it requests and the events that it makes, each as
// JSON on a line: `events.js FILE OPTIONS`. A line of the file has a time in ns, a tab, and a frame, or `requests`, or `end`, after
// which the next session goes on. Whole numbers of 64 bits are printed in quotes.

import { readFileSync } from "node:fs";

import { CHANNELS } from "../../web/events.js";
import { load, Session } from "../../web/index.js";

const [file, options] = process.argv.slice(2);
const given = JSON.parse(options);
const out = [];
const print = (value) => out.push(JSON.stringify(value, (_, part) => (typeof part === "bigint" ? `${part}` : part)));

await load();
let session = new Session({ id: "0", ...given });
session.setToken("token");
let told;
for (const line of readFileSync(file, "utf8").split("\n")) {
  if (!line) continue;
  const tab = line.indexOf("\t");
  const [at, what] = [BigInt(line.slice(0, tab)), line.slice(tab + 1)];
  if (what === "requests") {
    session.requests(at).forEach(print);
  } else if (what === "end") {
    session.end("cut", at);
    session.takeEvents().forEach(print);
    session = new Session({ id: "1", ...given }, session);
    session.setToken("token");
  } else {
    if (told !== session.id) session.tellAllSubscriptions();
    told = session.id;
    // Those of connections are the feed's.
    session.wantEvents(CHANNELS.filter((channel) => channel !== "connection"));
    session.receive(what, at);
    session.takeEvents().forEach(print);
  }
}
console.log(out.join("\n"));
