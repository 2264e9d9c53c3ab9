"""Which symbols each channel of a feed has, and how that changes while it runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from krakpot import _core

Rule = tuple[str, bool]
"""A pattern, and whether it selects or leaves out what it matches."""


class Patterns(NamedTuple):
    """What a session is to select: a symbol that ``symbols`` and the channel's own patterns match, and no exclusion."""

    symbols: list[str]
    exclude: list[str]
    channels: dict[str, list[str]]


class Selection:
    """Patterns by channel. Of the patterns that match a symbol the last one decides."""

    def __init__(self, channels: Mapping[str, Sequence[str]], exclude: Sequence[str] = ()) -> None:
        """Select ``channels``: patterns by channel, without what ``exclude`` matches."""
        self._rules: dict[str, list[Rule]] = {
            channel: [*((pattern, True) for pattern in patterns), *((pattern, False) for pattern in exclude)]
            for channel, patterns in channels.items()
        }
        self._begin = Patterns(
            list(dict.fromkeys(pattern for patterns in channels.values() for pattern in patterns)),
            list(exclude),
            {channel: list(patterns) for channel, patterns in channels.items()},
        )
        self._changed = False
        self.names: list[str] = []
        """Symbols of all listed pairs, as last known."""

    @property
    def channels(self) -> tuple[str, ...]:
        """All channels."""
        return tuple(self._rules)

    def rules(self, channel: str) -> list[Rule]:
        """The patterns of a channel, in order."""
        return list(self._rules[channel])

    def selects(self, channel: str, symbol: str) -> bool:
        """Whether a channel has a symbol."""
        for pattern, selects in reversed(self._rules.get(channel, [])):
            if _core.matches(pattern, symbol):
                return selects
        return False

    def symbols(self, names: Iterable[str], channels: Collection[str] | None = None) -> list[str]:
        """Those of ``names`` that one of ``channels`` (None: any channel) has."""
        among = self.channels if channels is None else channels
        return [name for name in names if any(self.selects(channel, name) for channel in among)]

    def patterns(self) -> Patterns:
        """What a session is to select now.

        A session knows no order of patterns. So after a change it is given names, and again when a pair was listed.
        """
        if not self._changed:
            return self._begin
        return Patterns(["*"], [], {channel: self.symbols(self.names, [channel]) for channel in self.channels})

    def unmatched(self, names: Sequence[str]) -> str | None:
        """A pattern that selects nothing because it matches none of ``names``."""
        for rules in self._rules.values():
            for pattern, selects in rules:
                if selects and not any(_core.matches(pattern, name) for name in names):
                    return pattern
        return None

    def change(self, patterns: Sequence[str], channels: Collection[str], *, selects: bool) -> None:
        """Select, or leave out, what ``patterns`` match."""
        self._changed = True
        for channel in channels:
            # An earlier rule with the same pattern has no effect any more.
            kept = [rule for rule in self._rules[channel] if rule[0] not in patterns]
            self._rules[channel] = kept + [(pattern, selects) for pattern in patterns]
