// Types of the components, for those who use the package.

import type { Feed } from "../types/index.js";

export interface PartOptions {
  /** Levels of each side that are shown; those of the feed, unless fewer; 100. */
  depth?: number;
  /** Otherwise that of the system. */
  theme?: "dark" | "light";
}

export interface HeatMapOptions extends PartOptions {
  /** Candles instead of the lines of best bid and ask; false. */
  candles?: boolean;
  /** Circles of trades; true. */
  trades?: boolean;
  /** Draw without WebGL2; false. */
  plain?: boolean;
}

declare class Part {
  /** The element that it is in; its height is that of the part. */
  readonly host: HTMLElement;
  readonly symbol: string;
  /** Ends it. The feed goes on. */
  close(): void;
}

/** Depth over time, with best prices and trades. */
export class HeatMap extends Part {
  constructor(host: HTMLElement, feed: Feed, symbol: string, options?: HeatMapOptions);
}

/** The book as it is now. */
export class Ladder extends Part {
  constructor(host: HTMLElement, feed: Feed, symbol: string, options?: PartOptions);
}

/** Time and sales. */
export class Trades extends Part {
  constructor(host: HTMLElement, feed: Feed, symbol: string, options?: PartOptions);
}
