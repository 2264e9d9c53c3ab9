// Not run: `tsc` reads it as somebody does who uses the package by its name, with its types alone.

import { Feed, type FeedOptions, load, Session } from "krakpot";
import { HeatMap, Ladder } from "krakpot/components";
import { Exchange } from "krakpot/exchange";
import { type Found, Verifier } from "krakpot/proof";

const exchange = new Exchange({ pairs: 3, seed: 1n });
const options: FeedOptions = { symbols: ["BTC/USD"], depth: 10, connect: (endpoint) => exchange.connect(endpoint) };
const feed = new Feed(options);
const end: () => void = feed.on("trade", "BTC/USD", (trade) => {
  const price: string = trade.price;
  const id: bigint = trade.trade_id;
  // @ts-expect-error: a trade has no checksum.
  trade.checksum;
  void [price, id];
});
feed.on("book", "*", ({ symbol, outcome, entries }) => {
  const best = feed.book(symbol).best();
  const bid: string | undefined = best?.bid?.[0];
  const side: "bid" | "ask" | undefined = entries[0]?.[0];
  // @ts-expect-error: there is no such outcome.
  outcome === "fine";
  void [bid, side];
});
// @ts-expect-error: there is no such channel.
feed.on("order", "*", () => {});
await load();
const session: Session = new Session({ passive: true });
const prices: Float64Array | undefined = session.book("BTC/USD").numbers(25)?.prices;
const found: Found[] = new Verifier("id", "level3").finish();
void [end, prices, found];
const map: HeatMap = new HeatMap(document.body, feed, "BTC/USD", { theme: "dark", candles: true });
map.close();
// @ts-expect-error: a ladder has no candles.
new Ladder(document.body, feed, "BTC/USD", { candles: true });
