"""What a strategy is given: the market as it is now, and its own orders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, NamedTuple, Protocol, TypedDict, Unpack

from krakpot import values
from krakpot._core import BookEvent, Fill, Gap, Level3Event, Order, OrderEvent, Timer, TradeEvent, Trading
from krakpot.errors import ConfigError, NoBook
from krakpot.stream.book import LiveBook
from krakpot.stream.orders import LiveOrders
from krakpot.trade.compiled import CompiledStrategy
from krakpot.trade.options import Duration, nanoseconds_of
from krakpot.values import OrderSide, Time, shown

TimeInForce = Literal["gtc", "gtd", "ioc", "fok"]
How = Literal["passive", "nearest", "up", "down"]
Number = Decimal | int | str | float
"""A price or quantity: exact, or whole steps or floats if the run has such numbers."""
TAG_MAX = 64
"""Characters of a tag."""
DEADLINES = (500_000_000, 60_000_000_000)
"""Shortest and longest deadline of an order, ns: Kraken's."""
LOG_LINES = 200
"""Lines of a strategy's log that a result keeps."""


class Strategy(Protocol):
    """What a strategy has; every handler may be left out.

    Handlers are plain functions. What one asks for is sent when it returns, and is answered by later calls of ``order``
    and ``fill``. An exception ends the run: see ``krakpot.run``.
    """

    def start(self, m: Market) -> None:
        """The run begins."""

    def book(self, m: Market, e: BookEvent | Level3Event) -> None:
        """A message of a book, as often as ``wake`` says."""

    def trade(self, m: Market, e: TradeEvent) -> None:
        """A trade."""

    def order(self, m: Market, e: OrderEvent) -> None:
        """What became of an order: ``e.order``, ``e.change``, ``e.reason``, ``e.before``."""

    def fill(self, m: Market, e: Fill) -> None:
        """A fill, after what became of its order."""

    def gap(self, m: Market, e: Gap) -> None:
        """Data is missing (``e.healed`` is false), or is there again."""

    def timer(self, m: Market, e: Timer) -> None:
        """A time that was asked for by ``Market.after``: ``e.tag``."""

    def stop(self, m: Market, reason: str) -> None:
        """The run ends. What is asked for here is not sent any more."""


HANDLERS = ("start", "book", "trade", "order", "fill", "gap", "timer", "stop")


class Balance(NamedTuple):
    """What an account has of an asset."""

    total: Any
    held: Any
    """What open orders may need: computed here; the exchange does not send it."""
    free: Any


class Inventory(NamedTuple):
    """What an account bought and sold of a pair."""

    qty: Any
    average: Any
    """Average cost of what is held, in the quote asset."""
    realised: Any
    """Realised profit: proceeds of all sales, less their average cost and all fees."""
    unrealised: Any
    """Unrealised profit: value of what is held at the mid price, less its cost; None while the book is out of sync."""


class Rate(NamedTuple):
    """Kraken's rate counter of a pair."""

    used: float
    limit: float

    @property
    def free(self) -> float:
        """What may be used now."""
        return self.limit - self.used


class PairFacts(NamedTuple):
    """A pair as an account needs it."""

    symbol: str
    base: str
    quote: str
    price_precision: int
    qty_precision: int
    cost_precision: int
    price_increment: Any
    qty_min: Any
    cost_min: Any
    maker: Decimal
    """Fee of an order that rests, as a fraction."""
    taker: Decimal
    status: str


class OrderOptions(TypedDict, total=False):
    """Options of ``Market.buy`` and ``Market.sell``: those of ``Market.send``."""

    tif: TimeInForce
    post_only: bool
    display: Number | None
    expire: Time | None
    trigger: Number | None
    stop: bool
    deadline: Duration
    tag: str
    confirm: bool


class Books(Protocol):
    """Who gives the handles to books: a replay or a feed."""

    def book(self, symbol: str) -> LiveBook | LiveOrders:
        """The book of a pair: level 2, or level 3 where only that is there."""

    def level3(self, symbol: str) -> LiveOrders:
        """The orders of a pair."""


class Market:
    """The market as a strategy sees it, and the account that it trades with. Handlers are given it."""

    __slots__ = ("_account", "_books", "_core", "_ends", "_keep", "_lines", "_pairs", "stored", "symbols")

    def __init__(self, core: Trading, account: int, books: Books, symbols: tuple[str, ...]) -> None:
        """``krakpot.run`` makes it."""
        self._core = core
        self._account = account
        self._books = books
        self._lines: list[tuple[int, str]] = []
        self._pairs: dict[str, PairFacts] = {}
        self._ends: Callable[[str], None] | None = None
        self._keep: Callable[[Mapping[str, Any]], object] | None = None
        self.stored: dict[str, Any] = {}
        """What ``store`` kept last; of a run with money also what an earlier run kept."""
        self.symbols = symbols
        """The pairs of the run."""

    # What there is.

    @property
    def now(self) -> int:
        """Local time of what happened last, ns since the epoch. In a replay it is the recorded one."""
        return self._core.now

    @property
    def warm(self) -> bool:
        """Whether the warm-up is over; before, orders are refused."""
        return self._core.warm

    @property
    def trading(self) -> bool:
        """Whether new orders are accepted: warm, not halted, and the exchange is open."""
        return self._core.trading(self._account)

    @property
    def system(self) -> str:
        """State of the exchange: ``online``, ``maintenance``, …; empty before it said."""
        return self._core.system

    def book(self, symbol: str) -> LiveBook | LiveOrders:
        """Return the handle to a book, as ``Feed.book`` gives it; its methods raise ``NoBook`` if it is out of sync.

        Where there is no level 2, it is the handle to the orders of level 3.
        """
        return self._books.book(symbol)

    def level3(self, symbol: str) -> LiveOrders:
        """Return the handle to the orders of a book, as ``Feed.orders`` gives it."""
        return self._books.level3(symbol)

    def best(self, symbol: str) -> tuple[Any, Any, Any, Any]:
        """Best bid and ask, in the numbers of the run: the fastest way to them.

        Returns
        -------
        tuple[Any, Any, Any, Any]
            (bid price, bid quantity, ask price, ask quantity); None for both numbers of an empty side.

        Raises
        ------
        NoBook
            The book is out of sync.

        """
        found = self._core.best(symbol)
        if found is None:
            raise NoBook(symbol, "resyncing", "")
        return found

    def pair(self, symbol: str) -> PairFacts:
        """Return steps, minima, fees and status of a pair."""
        found = self._pairs.get(symbol)
        # Nothing else of a pair changes while a run lasts.
        if found is None or found.status != self._core.pair_status(symbol):
            found = self._pairs[symbol] = PairFacts(**self._core.pair(symbol))
        return found

    def orders(self, symbol: str | None = None, side: OrderSide | None = None, tag: str | None = None) -> list[Order]:
        """Return own orders that are not over, in the order in which they were sent."""
        return self._core.orders(self._account, symbol, side, tag)

    def balance(self, asset: str) -> Balance:
        """Return what the account has of an asset."""
        return Balance(*self._core.balance(self._account, asset))

    def inventory(self, symbol: str) -> Inventory:
        """Return what was bought and sold of a pair."""
        return Inventory(*self._core.inventory(self._account, symbol))

    def rate(self, symbol: str) -> Rate:
        """Return the rate counter of a pair."""
        return Rate(*self._core.rate(self._account, symbol))

    # What is asked for.

    def buy(self, symbol: str, qty: Number, price: Number | None = None, **options: Unpack[OrderOptions]) -> Order:
        """Place an order to buy; ``send`` has the options."""
        return self.send("buy", symbol, qty, price, **options)

    def sell(self, symbol: str, qty: Number, price: Number | None = None, **options: Unpack[OrderOptions]) -> Order:
        """Place an order to sell; ``send`` has the options."""
        return self.send("sell", symbol, qty, price, **options)

    def send(
        self,
        side: OrderSide,
        symbol: str,
        qty: Number,
        price: Number | None = None,
        *,
        tif: TimeInForce = "gtc",
        post_only: bool = False,
        display: Number | None = None,
        expire: Time | None = None,
        trigger: Number | None = None,
        stop: bool = True,
        deadline: Duration = "5s",
        tag: str = "",
        confirm: bool = False,
    ) -> Order:
        """Place an order.

        Parameters
        ----------
        side
            ``buy`` or ``sell``.
        symbol
            A pair of the run.
        qty
            Quantity, in the base asset.
        price
            The worst price; None: a market order.
        tif
            ``gtc``; ``gtd`` (until ``expire``); ``ioc`` (what is not filled at once is cancelled); ``fok`` (all at
            once, or nothing).
        post_only
            Whether it is refused if it would take.
        display
            Quantity that is shown at once: an iceberg.
        expire
            When an order with ``gtd`` ends.
        trigger
            The price of the last trade that starts it.
        stop
            With ``trigger``: whether that is a stop-loss, or a take-profit.
        deadline
            The exchange does not match it later than this after now: 500 ms to 60 s. Kraken refuses an order that
            has less than 500 ms left when it arrives, so give the way there a little more.
        tag
            Your label of the order, at most 64 characters; ``m.orders(tag=…)`` finds it.
        confirm
            Whether a size is meant that the limit ``fat_finger`` of a ``krakpot.Live`` would refuse.

        Returns
        -------
        Order
            The order, which shows how it is at any time. One that cannot be is in state ``rejected``; the handler
            ``order`` hears of it.

        Raises
        ------
        ConfigError
            An argument cannot be read, or the pair is not traded in this run.

        Examples
        --------
        >>> order = m.send("buy", "BTC/USD", "0.01", "97500.0", post_only=True)  # doctest: +SKIP

        """
        place = f"krakpot.Market.{side}"
        wait = nanoseconds_of(deadline, f"{place}: deadline")
        if not DEADLINES[0] <= wait <= DEADLINES[1]:
            sentence = f"{place}: deadline: {shown(deadline)} is not allowed; allowed is 500ms to 60s"
            raise ConfigError(sentence)
        at = None if expire is None else int(values.time_of(expire, f"{place}: expire"))
        try:
            return self._core.order(
                self._account, symbol, side, qty, price, tif=tif, expire=at, post_only=post_only, display=display,
                trigger=trigger, stop=stop, deadline=wait, tag=_tag(tag, place), confirm=confirm,
            )  # fmt: skip
        except TypeError:
            _check_types(place, str, symbol=symbol, side=side, tif=tif)
            _check_types(place, bool, post_only=post_only, stop=stop, confirm=confirm)
            raise

    def amend(self, order: Order, *, qty: Number | None = None, price: Number | None = None) -> None:
        """Ask for another quantity in all (what is filled included), or another price."""
        if qty is None and price is None:
            sentence = "krakpot.Market.amend: give qty, price or both: there is nothing to amend"
            raise ConfigError(sentence)
        self._core.amend(self._account, _order(order, "amend"), qty, price)

    def cancel(self, order: Order | None = None, *, symbol: str | None = None) -> None:
        """Cancel an order; without one all of this strategy, or all of a pair."""
        if order is None:
            self._core.cancel_all(self._account, symbol)
        elif symbol is not None:
            sentence = "krakpot.Market.cancel: give an order or a symbol, not both"
            raise ConfigError(sentence)
        else:
            self._core.cancel(self._account, _order(order, "cancel"))

    def after(self, delay: Duration, tag: str = "") -> None:
        """Call the handler ``timer`` after a time: ``"15s"``, ``"100ms"``, 0."""
        place = "krakpot.Market.after"
        self._core.after(self._account, nanoseconds_of(delay, f"{place}: delay"), _tag(tag, place))

    def round(
        self,
        symbol: str,
        price: Number | None = None,
        qty: Number | None = None,
        how: How = "passive",
        side: OrderSide | None = None,
    ) -> Any:  # noqa: ANN401  # a number as the run has them
        """Return the nearest price or quantity that an order may have.

        Parameters
        ----------
        symbol
            A pair of the run.
        price, qty
            One of the two: a Decimal, text or a number.
        how
            ``passive``: a quantity down, a price away from the other side, which needs ``side``; ``nearest``, ``up``,
            ``down``.
        side
            Side of the order, for ``passive``.

        """
        named = (("price", price), ("qty", qty))
        texts = [None if number is None else _text_of(number, name) for name, number in named]
        return self._core.round(symbol, side, texts[0], texts[1], how)

    def halt(self, reason: str) -> None:
        """Cancel own orders and accept no new ones from now on; the strategy hears and sees on."""
        self._core.halt(self._account, str(reason))

    def stop(self, reason: str = "the strategy stopped") -> None:
        """End the run after this handler; of `run_many`, the run of all strategies."""
        if self._ends is not None:
            self._ends(str(reason))

    def store(self, state: Mapping[str, Any]) -> None:
        """Keep a dict of up to 64 KiB as JSON. With money it is in the journal: the next run has it in ``stored``."""
        if self._keep is not None:
            self._keep(state)
        self.stored = dict(state)

    def log(self, *what: object) -> None:
        """Keep a line for the result, with its time."""
        self._lines.append((self.now, " ".join(map(str, what))))
        del self._lines[:-LOG_LINES]

    def __repr__(self) -> str:
        """Its pairs."""
        return f"Market({', '.join(self.symbols)})"


def _check_types(place: str, kind: type, **given: object) -> None:
    for name, value in given.items():
        if not isinstance(value, kind):
            word = "text" if kind is str else "True or False"
            sentence = f"{place}: {name}: {shown(value)} is not allowed; allowed is {word}"
            raise ConfigError(sentence)


def _text_of(number: Number, name: str) -> str:
    """A number as plain digits."""
    try:
        found = Decimal(str(number))
    except (InvalidOperation, ValueError):
        found = Decimal("nan")
    if isinstance(number, bool) or not found.is_finite():
        sentence = f"krakpot.Market.round: {name}: {shown(number)} is not allowed; allowed is a number"
        raise ConfigError(sentence)
    return f"{found:f}"


def _tag(tag: object, place: str) -> str:
    if not isinstance(tag, str) or len(tag) > TAG_MAX:
        sentence = f"{place}: tag: {shown(tag)} is not allowed; allowed is text of at most {TAG_MAX} characters"
        raise ConfigError(sentence)
    return tag


def _order(order: object, method: str) -> Order:
    if not isinstance(order, Order):
        sentence = (
            f"krakpot.Market.{method}: order: {shown(order)} is not allowed; allowed is an order of this strategy"
        )
        raise ConfigError(sentence)
    return order


def lines_of(market: Market) -> list[tuple[int, str]]:
    """What a strategy logged."""
    return market._lines  # noqa: SLF001  # of this file


def on_stop(market: Market, end: Callable[[str], None]) -> None:
    """Say what ends the run of a market."""
    market._ends = end  # noqa: SLF001  # of this file


def on_store(market: Market, stored: Mapping[str, Any], keep: Callable[[Mapping[str, Any]], object]) -> None:
    """Let a strategy's state be kept."""
    market._keep = keep  # noqa: SLF001  # of this file
    market.stored = dict(stored)


def _check_arguments(signature: Callable[[Any], Any], handler: Callable[..., object], name: str, place: str) -> None:
    """``ConfigError`` if a handler does not take what it is given: a run would find it only at the first call."""
    given = {"start": ("m",), "stop": ("m", "reason")}.get(name, ("m", "e"))
    try:
        taken = signature(handler)
    except (ValueError, TypeError):
        return  # Not every function that is written in C tells its arguments.
    try:
        taken.bind(*given)
    except TypeError:
        sentence = (
            f"{place}: its handler {name} takes {taken}, and is given ({', '.join(given)}); "
            f"write def {name}(self, {', '.join(given)})"
        )
        raise ConfigError(sentence) from None


def handlers_of(strategy: object, place: str) -> dict[str, Callable[..., object]]:
    """The handlers that a strategy has; ``ConfigError`` if it has none, or one that cannot be called."""
    import inspect  # noqa: PLC0415  # only when a run begins

    if isinstance(strategy, CompiledStrategy):
        return strategy.handlers()
    found: dict[str, Callable[..., object]] = {}
    for name in HANDLERS:
        handler = getattr(strategy, name, None)
        if handler is None:
            continue
        kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
        if not callable(handler) or any(kind(handler) for kind in kinds):
            sentence = (
                f"{place}: its handler {name} is not allowed; allowed is a plain function, no coroutine, no generator"
            )
            raise ConfigError(sentence)
        if not isinstance(strategy, type):
            _check_arguments(inspect.signature, handler, name, place)
        found[name] = handler
    if isinstance(strategy, type) or not found:
        hint = "an object of it, as Strategy()" if isinstance(strategy, type) else f"one of {', '.join(HANDLERS)}"
        sentence = f"{place}: {shown(strategy)} is not allowed; allowed is an object with handlers: {hint}"
        raise ConfigError(sentence)
    return found
