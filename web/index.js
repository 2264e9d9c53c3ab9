// krakpot in a browser: checked order books, trades and events of Kraken's feed.

export { Feed, URL_LEVEL3, URL_PUBLIC } from "./feed.js";
export { Book, Digest, load, now, Orders, Session } from "./session.js";

/** @typedef {import("./feed.js").FeedOptions} FeedOptions */
/** @typedef {import("./feed.js").Socket} Socket */
/** @typedef {import("./session.js").SessionOptions} SessionOptions */
/** @typedef {import("./session.js").Levels} Levels */
/** @typedef {import("./events.js").Channel} Channel */
/** @typedef {import("./events.js").Event} Event */
/** @typedef {import("./events.js").BookEvent} BookEvent */
/** @typedef {import("./events.js").Level3Event} Level3Event */
/** @typedef {import("./events.js").TradeEvent} TradeEvent */
/** @typedef {import("./events.js").TickerEvent} TickerEvent */
/** @typedef {import("./events.js").OhlcEvent} OhlcEvent */
/** @typedef {import("./events.js").StatusEvent} StatusEvent */
/** @typedef {import("./events.js").SubscriptionEvent} SubscriptionEvent */
/** @typedef {import("./events.js").GapEvent} GapEvent */
/** @typedef {import("./events.js").ConnectionEvent} ConnectionEvent */
