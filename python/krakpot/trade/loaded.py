"""A recording in memory: read and checked once, for as many runs as one likes.

>>> data = krakpot.load(krakpot.Replay("data", ["BTC/USD"], "2026-11-22T10", "2026-11-22T11"))  # doctest: +SKIP
>>> for edge in range(1, 6):  # doctest: +SKIP
...     print(edge, krakpot.run(Quote(edge), data, paper).pnl)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Final, NoReturn, Self

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


@dataclass(frozen=True)
class Content:
    """What a recording in memory has; it never changes."""

    data: ReplayData
    """Where it was read from."""
    loaded: _core.Loaded
    pairs: tuple[TradedPair, ...]
    depths: Mapping[bool, int | None]
    """Levels a side, of level 2 and of level 3."""
    is_cut: bool
    """Whether the recording goes on after it."""


class LoadedReplay:
    """A recording in memory, made by ``krakpot.load``, for ``krakpot.run``, ``run_async``, ``run_many`` and ``events``.

    It never changes, and any number of runs may have it, one after the other or at the same time. Another process loads
    it for itself: it cannot be pickled.
    """

    __slots__ = ("_content",)

    def __init__(self, content: Content) -> None:
        """``krakpot.load`` makes these."""
        self._content = content

    @property
    def symbols(self) -> tuple[str, ...]:
        """Its pairs."""
        return self._content.data.symbols

    @property
    def messages(self) -> int:
        """Messages of books, trades, and gaps, as a run counts them."""
        return self._content.loaded.messages

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it needs, about."""
        return self._content.loaded.nbytes

    def __copy__(self) -> Self:
        """Itself: it does not change."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        """Itself: it does not change."""
        return self

    def __reduce__(self) -> NoReturn:
        """``TypeError``: what it has is too much to send."""
        sentence = "a LoadedReplay cannot be pickled; let each process call krakpot.load, or use threads"
        raise TypeError(sentence)

    def __repr__(self) -> str:
        """Its pairs, and how much it is."""
        names = " ".join(self.symbols[:3]) + (" …" if len(self.symbols) > 3 else "")  # noqa: PLR2004  # as many as fit a line
        return f"LoadedReplay({names}: {self.messages:,} messages, {self.nbytes / 1e6:,.1f} MB)"


class LoadedData(PlayedData):
    """The same for one run."""

    def __init__(self, loaded: LoadedReplay) -> None:
        """Nothing is read from the lake, unless a strategy asks for a whole book."""
        content = self._content = content_of(loaded)
        self.symbols = content.data.symbols
        self.name = content.data.name
        self._core: Trading | None = None
        self._played = False
        """Whether all that the run was to have is played."""
        self._ended = False
        self._lock = Lock()
        self._book_replay: BookReplay | None = None
        """Plays the same recording for the books that a strategy asks for, up to where the run is."""

    def look(self) -> None:
        """Nothing: it was seen when it was loaded."""

    def pairs(self) -> list[TradedPair]:
        """Pairs as the lake had them when it was loaded."""
        return list(self._content.pairs)

    def depth(self, *, level3: bool) -> int | None:
        """Levels a side that the recording shows; None if it has none."""
        return self._content.depths[level3]

    def has_level3(self, symbol: str) -> bool:
        """Whether the orders of a pair are there."""
        return self._content.data.has_level3(symbol)

    def step(self, core: Trading, until: int, steps: int = STEPS, *, fetch: bool = False) -> str:
        """Play on for a moment; why it came to a halt."""
        self._core = core
        loaded, end = self._content.loaded, self._content.data.source.end
        halt = (core.fetch(loaded, until) or ("events", None) if fetch else core.play(loaded, until, steps))[0]
        if halt == "end" and until < end and self._content.is_cut:
            # The recording goes on after the end of the replay.
            halt = "until"
        self._played = halt in {"end", "until"}
        return halt

    def interrupt(self) -> None:
        """Nothing: the run itself ends."""

    def end(self) -> None:
        """Let the threads end that read books."""
        with self._lock:
            self._ended = True
            if self._book_replay is not None:
                self._book_replay.end()

    def book(self, symbol: str) -> LiveBook | LiveOrders:
        """The book of a pair: level 2, or level 3 where only that is there."""
        return self._books().book(symbol)

    def level3(self, symbol: str) -> LiveOrders:
        """The orders of a pair."""
        return self._books().level3(symbol)

    def _books(self) -> BookReplay:
        with self._lock:
            if self._book_replay is None:
                self._book_replay = BookReplay(self._content.data, self.catch_up)
                self._book_replay.look()
                if self._ended:
                    self._book_replay.end()
            return self._book_replay

    def catch_up(self) -> None:
        """Let the books be as far as the run."""
        with self._lock:
            if self._book_replay is None or self._core is None or self._ended:
                return
            loaded = self._content.loaded
            reads = self._core.reads
            at = loaded.time(reads - 1) if reads else None
            # What is said after a read and before the next one: by then it is known which sessions are over.
            between = at is None or self._played or self._core.now > at
            self._book_replay.play_to(loaded.skipped + reads, at, between=between)


class BookReplay(ReplayData):
    """Plays the lake behind a run that has the recording in memory, as far as the run is, for the books of it."""

    def __init__(self, data: ReplayData, catch_up: Callable[[], None]) -> None:
        """``catch_up`` is called before a book is looked at."""
        super().__init__(data)
        self.catch_up = catch_up
        self._place_now = (-1, False)
        """The last place that it was asked for."""
        self.over = ""
        """Why nothing is played any more; empty while it is."""

    def look(self) -> None:
        """See what there is to play."""
        super().look()
        self.source.choose([], rows=False)

    def owner(self, channel: str, symbol: str) -> BookOwner:
        """Whoever has the session of a symbol, once it is as far as the run."""
        return BookReplayOwner(self, super().owner(channel, symbol))

    def end(self) -> None:
        """Let its threads end."""
        super().end()
        self.over = "the run is over"

    def play_to(self, wanted: int, at: int | None, *, between: bool) -> None:
        """Play so many reads of sockets, the last of which came at a time; ``between``: and see what comes next."""
        if self._place_now == (wanted, between):
            return
        replayer = self.source.replayer

        def play(_: _core.Replayer, bound: int, _steps: int) -> tuple[str, int | None]:
            if replayer.reads < wanted:
                why, number, _given = replayer.play(bound, None, wanted - replayer.reads)
                if why != "steps":
                    return why, number
            return replayer.peek(bound) if between else ("steps", None)

        self.source.play(TIME_MAX, None, STEPS, play)
        if replayer.reads != wanted or (at is not None and replayer.now != at):
            sentence = (
                f"krakpot.Market: m.book and m.level3 read the lake {self.folder.path}, also of a recording in memory; "
                "it is not as it was when it was loaded: load it again, or use m.best"
            )
            raise ConfigError(sentence)
        self._place_now = wanted, between


class BookReplayOwner:
    """Whoever has the session of a symbol; it is as far as the run when somebody asks."""

    __slots__ = ("_book_replay", "_owner")

    def __init__(self, replay: BookReplay, owner: BookOwner) -> None:
        """For a handle to the symbol's book."""
        self._book_replay = replay
        self._owner = owner

    @property
    def session(self) -> _core.Session:
        """The session that has the symbol now."""
        self._book_replay.catch_up()
        return self._owner.session

    @property
    def down(self) -> str:
        """Why its connection is down; empty if it is up."""
        self._book_replay.catch_up()
        return self._book_replay.over or self._owner.down


def content_of(loaded: LoadedReplay) -> Content:
    """What it has."""
    return loaded._content  # noqa: SLF001  # of this file


def load(replay: Replay, *, memory: str | int = "4GB", progress: OnProgress = no_progress) -> LoadedReplay:
    """Read a recording into memory, and check it, for many runs: each is two to four times as fast as from the lake.

    A run comes to the same result, to the last digit, as one on the replay. A strategy that asks for whole books
    (``m.book``, ``m.level3``) makes its run read the lake beside it, which takes longer than the replay and needs the
    lake as it was; ``m.best``, orders and their queues do not. What is recorded now is loaded up to now.

    Parameters
    ----------
    replay
        What to load; it is left as it is. Its ``speed`` does not count.
    memory
        How much it may need at most, about: ``"4GB"``, or bytes; 0: no limit. A message of level 3 needs some 350
        bytes.
    progress
        Called with the messages that are read, 0, and ``"messages"``.

    Returns
    -------
    LoadedReplay
        The recording, for ``krakpot.run``, ``run_async``, ``run_many`` and ``events``.

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
                    f"{PLACE}: memory: the recording needs more than {memory}: {loader.messages:,} messages are read "
                    "so far; load a shorter time or fewer pairs, allow more, or run on the replay itself"
                )
                raise ConfigError(sentence)
        depths = {level3: data.depth(level3=level3) for level3 in (False, True)}
        pairs = tuple(data.pairs())
        return LoadedReplay(Content(data, loader.finish(), pairs, depths, data.source.is_cut))
    finally:
        data.end()
