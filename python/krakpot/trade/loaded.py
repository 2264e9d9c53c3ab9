"""A recording in memory: read and checked once, for as many runs as one likes.

>>> data = krakpot.load(krakpot.Replay("data", ["BTC/USD"], "2026-11-22T10", "2026-11-22T11"))  # doctest: +SKIP
>>> for edge in range(1, 6):  # doctest: +SKIP
...     print(edge, krakpot.run(Quote(edge), data, paper).pnl)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from krakpot import _core, values
from krakpot._core import Trading
from krakpot.errors import ConfigError
from krakpot.replay.replay import Replay
from krakpot.replay.source import STEPS, TIME_MAX
from krakpot.stream.book import BookOwner, LiveBook
from krakpot.stream.orders import LiveOrders
from krakpot.trade.source import PlayedData, ReplayData, TradedPair
from krakpot.work import OnProgress, no_progress

PLACE: Final = "krakpot.load"


class LoadedReplay:
    """A recording in memory, as ``krakpot.load`` returns it: ``krakpot.run``, ``run_many`` and ``events`` take it.

    It never changes, and any number of runs may have it, one after the other or at the same time.
    """

    __slots__ = ("_data", "_depths", "_loaded", "_pairs", "_replay")

    def __init__(self, replay: Replay, data: ReplayData, loaded: _core.Loaded) -> None:
        """``krakpot.load`` makes these."""
        self._replay = replay
        self._data = data
        self._loaded = loaded
        self._pairs = data.pairs()
        self._depths = {level3: data.depth(level3=level3) for level3 in (False, True)}

    @property
    def symbols(self) -> tuple[str, ...]:
        """Its pairs."""
        return self._data.symbols

    @property
    def messages(self) -> int:
        """Messages of books, and trades."""
        return self._loaded.messages

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it needs, about."""
        return self._loaded.nbytes

    def __repr__(self) -> str:
        """Its pairs, and how much it is."""
        names = " ".join(self.symbols[:3]) + (" …" if len(self.symbols) > 3 else "")  # noqa: PLR2004  # as many as fit a line
        return f"LoadedReplay({names}: {self.messages:,} messages, {self.nbytes / 1e6:,.0f} MB)"


class LoadedData(PlayedData):
    """The same for one run."""

    def __init__(self, loaded: LoadedReplay) -> None:
        """Nothing is read from the lake, unless a strategy asks for a whole book."""
        self._of = loaded
        known = data_of(loaded)
        self.symbols = known.symbols
        self.name = known.name
        self._core: Trading | None = None
        self._behind: Behind | None = None
        """Plays the same recording for the books that a strategy asks for, up to where the run is."""

    def look(self) -> None:
        """Nothing: it was seen when it was loaded."""

    def pairs(self) -> list[TradedPair]:
        """Pairs as the lake had them when it was loaded."""
        return list(self._of._pairs)  # noqa: SLF001  # of this file

    def depth(self, *, level3: bool) -> int | None:
        """Levels a side that the recording shows; None if it has none."""
        return self._of._depths[level3]  # noqa: SLF001  # of this file

    def has_level3(self, symbol: str) -> bool:
        """Whether the orders of a pair are there."""
        return data_of(self._of).has_level3(symbol)

    def step(self, core: Trading, until: int, steps: int = STEPS, *, fetch: bool = False) -> str:
        """Play on for a moment; why it came to a halt."""
        self._core = core
        loaded = self._of._loaded  # noqa: SLF001  # of this file
        if fetch:
            found = core.fetch(loaded, until)
            return "events" if found is None else found[0]
        return core.play(loaded, until, steps)[0]

    def interrupt(self) -> None:
        """Nothing: the run itself ends."""

    def end(self) -> None:
        """Let the threads end that read books."""
        if self._behind is not None:
            self._behind.end()

    def book(self, symbol: str) -> LiveBook | LiveOrders:
        """The book of a pair: level 2, or level 3 where only that is there."""
        return self._books().book(symbol)

    def level3(self, symbol: str) -> LiveOrders:
        """The orders of a pair."""
        return self._books().level3(symbol)

    def _books(self) -> ReplayData:
        if self._behind is None:
            before = self._of._loaded.skipped  # noqa: SLF001  # of this file
            self._behind = Behind(self._of, lambda: before + (0 if self._core is None else self._core.reads))
            self._behind.look()
        return self._behind


class Behind(ReplayData):
    """Plays the lake behind a run that has the recording in memory, as far as the run is, for the books of it."""

    def __init__(self, loaded: LoadedReplay, reads: Callable[[], int]) -> None:
        """``reads``: how many reads of sockets the run has."""
        super().__init__(loaded._replay)  # noqa: SLF001  # of this file
        self.source.speed = None
        self._reads = reads
        if self.name != data_of(loaded).name:
            sentence = (
                "krakpot.Market: whole books are read from the lake, also of a recording in memory; the lake has "
                "changed since it was loaded, so load it again"
            )
            raise ConfigError(sentence)

    def look(self) -> None:
        """See what there is to play."""
        super().look()
        self.source.choose([], rows=False)

    def owner(self, channel: str, symbol: str) -> BookOwner:
        """Whoever has the session of a symbol, once it is as far as the run."""
        return CaughtUp(self, super().owner(channel, symbol))

    def catch_up(self) -> None:
        """Play on to where the run is."""
        wanted = self._reads()

        def play(replayer: _core.Replayer, bound: int, steps: int) -> tuple[str, int | None]:
            left = min(wanted - replayer.reads, steps)
            if left <= 0:
                return "steps", None
            why, number, _ = replayer.play(bound, None, left)
            return why, number

        while self.source.replayer.reads < wanted:
            if self.source.play(TIME_MAX, None, STEPS, play)[0] == "end":
                return


class CaughtUp:
    """Whoever has the session of a symbol; it is as far as the run when somebody asks."""

    __slots__ = ("_behind", "_owner")

    def __init__(self, behind: Behind, owner: BookOwner) -> None:
        """For a handle to the symbol's book."""
        self._behind = behind
        self._owner = owner

    @property
    def session(self) -> _core.Session:
        """The session that has the symbol now."""
        self._behind.catch_up()
        return self._owner.session

    @property
    def down(self) -> str:
        """Why its connection is down; empty if it is up."""
        self._behind.catch_up()
        return self._owner.down


def data_of(loaded: LoadedReplay) -> ReplayData:
    """What it was loaded from."""
    return loaded._data  # noqa: SLF001  # of this file


def load(replay: Replay, *, memory: str | int = "4GB", progress: OnProgress = no_progress) -> LoadedReplay:
    """Read a recording into memory, and check it, for many runs: each is several times as fast as from the lake.

    A run comes to the same result, to the last digit, as one on the replay. A strategy that asks for whole books
    (``m.book``, ``m.level3``) makes its run read the lake after all; ``m.best``, orders and their queues do not.

    Parameters
    ----------
    replay
        What to load; it is left as it is. Its ``speed`` does not count.
    memory
        How much it may need at most: ``"4GB"``, or bytes; 0: no limit. A message of level 3 needs about 300 bytes.
    progress
        Called with the messages that are read, 0, and ``"messages"``.

    Returns
    -------
    LoadedReplay
        The recording, for ``krakpot.run``, ``run_many`` and ``events``.

    Raises
    ------
    ConfigError
        It needs more memory; the replay is not in the order of receive times, has no trades or no books, or nothing was
        recorded then.
    StorageError
        The lake cannot be read.

    Examples
    --------
    >>> data = krakpot.load(krakpot.Replay("data", ["BTC/USD"]))  # doctest: +SKIP
    >>> results = [krakpot.run(Quote(edge), data, paper) for edge in range(1, 6)]  # doctest: +SKIP

    """
    if not isinstance(replay, Replay):
        sentence = f"{PLACE}: replay: {values.shown(replay)} is not allowed; allowed is a krakpot.Replay"
        raise ConfigError(sentence)
    limit = values.read(values.byte_size, memory, f"{PLACE}: memory")
    data = ReplayData(replay, place=PLACE)
    data.source.speed = None
    data.look()
    try:
        loader = _core.Loader()
        for pair in data.pairs():
            loader.add_pair(
                pair.symbol, price_precision=pair.price_precision, qty_precision=pair.qty_precision,
                level3=data.has_level3(pair.symbol), level2=pair.symbol in data.source.symbols.get("book", ()),
            )  # fmt: skip
        why = ""
        while why != "end":
            why = data.source.play(TIME_MAX, None, STEPS, loader.read)[0]
            progress(loader.messages, 0, "messages")
            if limit and loader.nbytes > limit:
                sentence = (
                    f"{PLACE}: memory: the recording needs more than {limit / 1e9:g} GB: {loader.messages:,} messages "
                    "are read so far; load a shorter time or fewer pairs, allow more, or run on the replay itself"
                )
                raise ConfigError(sentence)
        return LoadedReplay(replay, data, loader.finish())
    finally:
        data.end()
