// A feed over sockets: `socket.js URL`. Prints a line for each thing that happened: `books`, `gap` and `books again`.

import WebSocket from "../../web/node_modules/ws/wrapper.mjs";

import { Feed } from "../../web/index.js";

const [url] = process.argv.slice(2);
const feed = new Feed({ url, connect: (_, address) => new WebSocket(address), channels: ["book", "trade"], depth: 10 });
const right = (least) => feed.counts().in_sync === 3 && feed.counts().checksums.book.ok >= least;
let said = "";
const say = (what) => console.log((said = what));
feed.on("gap", "*", ({ of }) => {
  if (of === "book" && said === "books") say("gap");
});
feed.on("book", "*", () => {
  if (said === "" && right(50)) say("books");
  if (said === "gap" && right(20)) {
    say(`books again, ${feed.counts().checksums.book.bad} wrong`);
    feed.close();
  }
});
await feed.open();
