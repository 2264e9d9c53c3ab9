"""Handle to a live level-3 book: every order, and its place in the queue at its price."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, Literal, TypeVar, overload

from krakpot._core import Orders
from krakpot.stream.book import LiveHandle

Side = Literal["bid", "ask"]
N = TypeVar("N", Decimal, float, int)


@dataclass(frozen=True, slots=True)
class QueuedOrder(Generic[N]):
    """An order in a live level-3 book, and what is before it in the queue at its price."""

    side: Side
    price: N
    """In the quote currency."""
    qty: N
    """Unfilled quantity, in the base currency."""
    ts_order: int
    """When it was entered, or took its place, in ns since the Unix epoch."""
    orders_ahead: int
    """Orders at the same price that are filled before it."""
    qty_ahead: N
    """Their quantity, in the base currency."""


class LiveOrders(LiveHandle):
    """The current level-3 book of one symbol. ``Feed.orders`` returns it; it is the same object over all reconnects.

    Kraken sends the orders of the best ``level3_depth`` price levels. Orders at one price are filled in the order of
    their queue. Numbers, ``in_sync`` and ``NoBook`` are as of ``LiveBook``.

    >>> def position(orders: LiveOrders, order_id: str) -> None:
    ...     found = orders.order(order_id)
    ...     if found is not None:
    ...         print(found.price, found.orders_ahead, found.qty_ahead)
    """

    __slots__ = ()
    _channel = "level3"

    @property
    def _best(self) -> Callable[..., tuple[Any, Any, Any, Any] | None]:
        return self._owner.session.order_best

    @overload
    def levels(
        self, side: Side, levels: int | None = None, numbers: Literal["decimal"] = "decimal"
    ) -> list[tuple[Decimal, Decimal, int]]: ...
    @overload
    def levels(
        self, side: Side, levels: int | None = None, *, numbers: Literal["float"]
    ) -> list[tuple[float, float, int]]: ...
    @overload
    def levels(
        self, side: Side, levels: int | None = None, *, numbers: Literal["int"]
    ) -> list[tuple[int, int, int]]: ...
    def levels(self, side: Side, levels: int | None = None, numbers: str = "decimal") -> list[Any]:
        """The best price levels of one side.

        Parameters
        ----------
        side
            ``bid`` or ``ask``.
        levels
            How many at most; None for all of the subscribed depth.
        numbers
            As in ``best``.

        Returns
        -------
        list
            (price, sum of quantities, number of orders) of each level, best first.

        Raises
        ------
        NoBook
            The book is out of sync.
        ConfigError
            ``side``, ``levels`` or ``numbers`` is not allowed.

        Examples
        --------
        >>> feed.orders("BTC/USD").levels("bid", 2, numbers="float")  # doctest: +SKIP
        [(97500.1, 0.5, 3), (97499.8, 1.25, 1)]

        """
        return self._ask(self._owner.session.order_levels, side=side, numbers=numbers, levels=levels)

    @overload
    def queue(
        self, side: Side, price: Decimal | str | int, numbers: Literal["decimal"] = "decimal"
    ) -> list[tuple[str, Decimal, int]]: ...
    @overload
    def queue(
        self, side: Side, price: Decimal | str | int, numbers: Literal["float"]
    ) -> list[tuple[str, float, int]]: ...
    @overload
    def queue(self, side: Side, price: Decimal | str | int, numbers: Literal["int"]) -> list[tuple[str, int, int]]: ...
    def queue(self, side: Side, price: Decimal | str | int, numbers: str = "decimal") -> list[Any]:
        """The orders at one price.

        Parameters
        ----------
        side
            ``bid`` or ``ask``.
        price
            In the quote currency, exact: a ``Decimal`` or its text.
        numbers
            How quantities are returned; as in ``best``.

        Returns
        -------
        list
            (order id, quantity, time of its place in ns) of each order, the first to be filled first; empty if there is
            no order at this price.

        Raises
        ------
        NoBook
            The book is out of sync.
        ConfigError
            ``side`` or ``numbers`` is not allowed, or ``price`` is not a number.

        Examples
        --------
        >>> orders = feed.orders("BTC/USD")  # doctest: +SKIP
        >>> orders.queue("bid", orders.best()[0])  # doctest: +SKIP
        [('OQCLML-BW3P3-BUCMWZ', Decimal('0.50000000'), 1785641750000000000)]

        """
        return self._ask(self._owner.session.order_queue, side=side, numbers=numbers, price=price)

    @overload
    def order(self, order_id: str, numbers: Literal["decimal"] = "decimal") -> QueuedOrder[Decimal] | None: ...
    @overload
    def order(self, order_id: str, numbers: Literal["float"]) -> QueuedOrder[float] | None: ...
    @overload
    def order(self, order_id: str, numbers: Literal["int"]) -> QueuedOrder[int] | None: ...
    def order(self, order_id: str, numbers: str = "decimal") -> QueuedOrder[Any] | None:
        """One order, and its position in its queue.

        Parameters
        ----------
        order_id
            Kraken's id of the order.
        numbers
            As in ``best``.

        Returns
        -------
        QueuedOrder | None
            Side, price, quantity, and orders and quantity ahead of it; None if the book does not have the order: it was
            filled or cancelled, or is deeper than ``level3_depth``.

        Raises
        ------
        NoBook
            The book is out of sync.

        Examples
        --------
        >>> found = feed.orders("BTC/USD").order("OQCLML-BW3P3-BUCMWZ")  # doctest: +SKIP
        >>> found and (found.orders_ahead, found.qty_ahead)  # doctest: +SKIP
        (2, Decimal('0.75000000'))

        """
        found = self._find(self._owner.session.order, numbers=numbers, order_id=order_id)
        if found is None:
            if not self.in_sync:
                raise self._none()
            return None
        return QueuedOrder(**found)

    def copy(self) -> Orders:
        """Copy the book; the copy no longer changes. ``NoBook`` if out of sync."""
        return self._ask(self._owner.session.orders)
