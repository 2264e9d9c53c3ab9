"""Trades and candles of other origins than the feed: from Kraken's REST, and from files."""
