"""Comparisons: level 3 against the book channel, a lake against the exchange that it recorded."""
