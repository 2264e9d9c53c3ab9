// Follows an exchange over real sockets: `follow.js ADDRESS MESSAGES`. Prints the feed's counters when so many books are proved.

import { createRequire } from "node:module";

import { Feed } from "../../web/index.js";

const WebSocket = createRequire(new URL("../../web/package.json", import.meta.url))("ws");
const [url, messages] = process.argv.slice(2);
const feed = new Feed({ url, depth: 10, connect: (_, address) => new WebSocket(address) });
feed.on("book", "*", () => {
  const counts = feed.counts();
  if (counts.checksums.book.ok < Number(messages) || counts.in_sync < counts.selected) return;
  console.log(JSON.stringify({ ...counts, connected: feed.connected }));
  feed.close();
});
await feed.open();
