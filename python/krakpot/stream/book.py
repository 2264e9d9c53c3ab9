"""Handles to live books: they always show the current state, over all reconnects."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from decimal import Decimal
from typing import Any, ClassVar, Literal, Protocol, TypeVar, get_args, overload

from krakpot import values
from krakpot._core import Book, Frame, Session
from krakpot.errors import ChecksumMismatch, ConfigError, NoBook
from krakpot.stream.events import SubscriptionState

HandleState = SubscriptionState | Literal["disconnected", "unknown"]
MISMATCH = "checksum mismatch"
"""Reason of a resync, as the session words it."""
ALLOWED: dict[str, str | tuple[str, ...]] = {
    "side": ("bid", "ask"),
    "numbers": get_args(values.Numbers),
    "levels": "a whole number from 0, or None for all",
    "price": "a decimal.Decimal or its text; with numbers='int' whole steps of the precision",
    "order_id": "the id of an order, as text",
}
"""What the arguments of handles may be; a text where only the extension can tell."""
REFUSED = (ValueError, TypeError, OverflowError)
"""What the extension raises for an argument that it cannot take."""

T = TypeVar("T")
Number = Decimal | None
"""A price or quantity; None where that side of the book is empty."""


class BookOwner(Protocol):
    """Who has the session that keeps the book. The session is another one after each reconnect."""

    @property
    def session(self) -> Session:
        """The session of the current connection, or of the next one."""

    @property
    def down(self) -> str:
        """Why there is no connection now; empty while there is one."""


class LiveHandle(ABC):
    """The common part of the handles to books of level 2 and level 3."""

    __slots__ = ("_owner", "symbol")
    _channel: ClassVar[str]

    def __init__(self, owner: BookOwner, symbol: str) -> None:
        """``Feed.book`` and ``Feed.orders`` make these."""
        self._owner = owner
        self.symbol = symbol
        """The pair, as ``BTC/USD``."""

    @property
    def in_sync(self) -> bool:
        """Whether the book is known to equal the exchange's, so that its prices may be used."""
        return self._owner.session.in_sync(self.symbol, self._channel)

    @property
    def state(self) -> HandleState:
        """State of its subscription; ``disconnected`` without a connection, ``unknown`` if it is not subscribed."""
        return self._subscription()[0]

    @property
    def reason(self) -> str:
        """Why ``state`` is what it is; empty where all is well."""
        return self._subscription()[1]

    def _subscription(self) -> tuple[HandleState, str]:
        if self._owner.down:
            return "disconnected", self._owner.down
        found = self._owner.session.subscription(self.symbol, self._channel)
        return ("unknown", "the pair is not described yet, or not selected any more") if found is None else found

    def _wrong(self, error: Exception, **given: object) -> ConfigError:
        """The sentence about what the extension refused with ``error``: the first argument that is not allowed."""
        for name, value in given.items():
            words = ALLOWED[name]
            if isinstance(words, str) or value not in words:
                allowed = words if isinstance(words, str) else f"one of {', '.join(words)}"
                return ConfigError(
                    f"{type(self).__name__}: {name}: {values.shown(value)} is not allowed; allowed is {allowed}"
                )
        return ConfigError(f"{type(self).__name__}: {error}")

    def _find(self, question: Callable[..., T | None], **arguments: object) -> T | None:
        """The session's answer about this symbol; ``ConfigError`` if it refuses an argument.

        Arguments that only the extension can judge come last: ``_wrong`` blames them if the others are allowed.
        """
        try:
            return question(self.symbol, **arguments)
        except REFUSED as error:
            raise self._wrong(error, **arguments) from None

    def _ask(self, question: Callable[..., T | None], **arguments: object) -> T:
        """The same; ``NoBook`` if the session has no book in sync."""
        found = self._find(question, **arguments)
        if found is None:
            raise self._none()
        return found

    def _none(self) -> NoBook:
        state, reason = self._subscription()
        wrong = self._owner.session.last_mismatch(self.symbol, self._channel) if reason == MISMATCH else None
        return (
            NoBook(self.symbol, state, reason)
            if wrong is None
            else ChecksumMismatch(self.symbol, state, reason, *wrong)
        )

    @property
    @abstractmethod
    def _best(self) -> Callable[..., tuple[Any, Any, Any, Any] | None]:
        """The session's function for best bid and ask."""

    @overload
    def best(self, numbers: Literal["decimal"] = "decimal") -> tuple[Number, Number, Number, Number]: ...
    @overload
    def best(self, numbers: Literal["float"]) -> tuple[float | None, float | None, float | None, float | None]: ...
    @overload
    def best(self, numbers: Literal["int"]) -> tuple[int | None, int | None, int | None, int | None]: ...
    def best(self, numbers: str = "decimal") -> tuple[Any, Any, Any, Any]:
        """Best bid and ask, all of the same moment.

        Parameters
        ----------
        numbers
            ``decimal`` (exact), ``float`` (nearest) or ``int`` (steps of the pair's precision).

        Returns
        -------
        tuple[Any, Any, Any, Any]
            (bid price, bid quantity, ask price, ask quantity): prices in the quote currency, quantities in the base
            currency; of level 3 the sum of the orders at that price. None for both numbers of an empty side.

        Raises
        ------
        NoBook
            The book is out of sync.
        ConfigError
            ``numbers`` is not allowed.

        Examples
        --------
        >>> bid, bid_qty, ask, ask_qty = feed.book("BTC/USD").best("float")  # doctest: +SKIP

        """
        return self._ask(self._best, numbers=numbers)

    def __repr__(self) -> str:
        """Symbol and best prices, or the state."""
        if not self.in_sync:
            return f"{type(self).__name__}({self.symbol}, {self.state})"
        bid, _, ask, _ = self.best()
        return f"{type(self).__name__}({self.symbol}, {bid} / {ask})"


class LiveBook(LiveHandle):
    """The current level-2 book of one symbol. ``Feed.book`` returns it; it is the same object over all reconnects.

    Prices and quantities are exact: ``decimal.Decimal``, padded to the pair's precision. ``numbers="float"`` gives the
    nearest floats, ``numbers="int"`` whole steps of the precision; both are faster.

    A book that is out of sync (wrong checksum, no snapshot yet, no connection) gives no price: every method then raises
    ``NoBook``, which says why. The feed repairs the book by itself.

    >>> def quote(book: LiveBook) -> None:
    ...     if book.in_sync:
    ...         print(book.best_bid, book.best_ask, book.bids(3))
    """

    __slots__ = ()
    _channel = "book"

    @property
    def _best(self) -> Callable[..., tuple[Any, Any, Any, Any] | None]:
        return self._owner.session.best

    @property
    def best_bid(self) -> Number:
        """Price of the best bid, in the quote currency. ``NoBook`` if out of sync."""
        return self.best()[0]

    @property
    def best_ask(self) -> Number:
        """Price of the best ask, in the quote currency. ``NoBook`` if out of sync."""
        return self.best()[2]

    @property
    def spread(self) -> Number:
        """Best ask minus best bid, exact. ``NoBook`` if out of sync."""
        return self.mid_and_spread()[1]

    @property
    def mid(self) -> Number:
        """Half of best bid plus best ask, exact. ``NoBook`` if out of sync."""
        return self.mid_and_spread()[0]

    @overload
    def mid_and_spread(self, numbers: Literal["decimal"] = "decimal") -> tuple[Number, Number]: ...
    @overload
    def mid_and_spread(self, numbers: Literal["float"]) -> tuple[float | None, float | None]: ...
    def mid_and_spread(self, numbers: str = "decimal") -> tuple[Any, Any]:
        """Mid price and spread, both of the same moment.

        Parameters
        ----------
        numbers
            ``decimal`` or ``float``. A mid price may lie between two steps, so there is no ``int``.

        Returns
        -------
        tuple[Any, Any]
            (mid, spread) in the quote currency; None for both where a side is empty.

        Raises
        ------
        NoBook
            The book is out of sync.
        ConfigError
            ``numbers`` is something else.

        Examples
        --------
        >>> mid, spread = feed.book("BTC/USD").mid_and_spread("float")  # doctest: +SKIP

        """
        values.read(values.word_of(("decimal", "float")), numbers, f"{type(self).__name__}: numbers")
        spread, mid = self._ask(self._owner.session.mid_and_spread, numbers=numbers)
        return mid, spread

    @overload
    def bids(
        self, levels: int | None = None, numbers: Literal["decimal"] = "decimal"
    ) -> list[tuple[Decimal, Decimal]]: ...
    @overload
    def bids(self, levels: int | None = None, *, numbers: Literal["float"]) -> list[tuple[float, float]]: ...
    @overload
    def bids(self, levels: int | None = None, *, numbers: Literal["int"]) -> list[tuple[int, int]]: ...
    def bids(self, levels: int | None = None, numbers: str = "decimal") -> list[Any]:
        """The best bids.

        Parameters
        ----------
        levels
            How many price levels at most; None for all that the subscribed depth has.
        numbers
            As in ``best``.

        Returns
        -------
        list[Any]
            (price, quantity) of each level, best first.

        Raises
        ------
        NoBook
            The book is out of sync.
        ConfigError
            ``levels`` or ``numbers`` is not allowed.

        Examples
        --------
        >>> feed.book("BTC/USD").bids(3, numbers="float")  # doctest: +SKIP
        [(97500.1, 0.5), (97499.8, 1.25), (97499.0, 0.02)]

        """
        return self._side("bid", levels, numbers)

    @overload
    def asks(
        self, levels: int | None = None, numbers: Literal["decimal"] = "decimal"
    ) -> list[tuple[Decimal, Decimal]]: ...
    @overload
    def asks(self, levels: int | None = None, *, numbers: Literal["float"]) -> list[tuple[float, float]]: ...
    @overload
    def asks(self, levels: int | None = None, *, numbers: Literal["int"]) -> list[tuple[int, int]]: ...
    def asks(self, levels: int | None = None, numbers: str = "decimal") -> list[Any]:
        """The best asks; parameters, result and errors as of ``bids``."""
        return self._side("ask", levels, numbers)

    def _side(self, side: str, levels: int | None, numbers: str) -> list[Any]:
        return self._ask(self._owner.session.levels, side=side, numbers=numbers, levels=levels)

    def copy(self) -> Book:
        """Copy the book; the copy no longer changes. ``NoBook`` if out of sync."""
        return self._ask(self._owner.session.book)

    @property
    def checksum(self) -> int:
        """Kraken's CRC32 of the best ten levels of both sides, computed now. ``NoBook`` if out of sync."""
        return self.copy().checksum

    def to_arrow(self) -> Frame:
        """All levels as Arrow columns, without copying.

        Returns
        -------
        Frame
            One row for each level: ``side`` (bid, ask), ``level`` (0 is the best), ``price`` and ``qty``
            (Decimal(38, 10)). ``polars.DataFrame(...)`` and ``pyarrow.record_batch(...)`` take it.

        Raises
        ------
        NoBook
            The book is out of sync.

        """
        return self.copy().to_arrow()
