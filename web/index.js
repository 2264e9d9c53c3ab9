// krakpot in a browser: checked order books, trades and events of Kraken's feed.

export { Feed, URL_PUBLIC } from "./feed.js";
export { load, now, Session } from "./session.js";
