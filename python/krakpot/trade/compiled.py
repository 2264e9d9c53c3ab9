"""Strategies that numba compiles: a function of the market and of its own state, called without Python.

>>> import numpy
>>> from krakpot.trade.compiled import Call, buy
>>> @krakpot.compiled(state=numpy.dtype([("quotes", "i8")]), hears=["book"])  # doctest: +SKIP
... def maker(m, s):
...     if m.trading and m.order_count == 0:
...         buy(m, 10 * m.pairs[m.pair].qty_min, m.bid, POST_ONLY)
...         s.quotes += 1
>>> krakpot.run(maker, replay, paper, wake="1ms")  # doctest: +SKIP
>>> maker.state["quotes"]  # doctest: +SKIP

Prices and quantities are whole steps of the pair. The functions below ask for something; compiled code calls them.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from functools import cache
from typing import Any, overload

from krakpot._core import Compiled
from krakpot.errors import ConfigError
from krakpot.values import shown

PLACE = "krakpot.compiled"
NEEDS = f"{PLACE}: a compiled strategy needs numba: pip install 'krakpot[compiled]'"
LINES, LINE = 2, 300
"""Lines of a compiler's error that are told, and characters of each."""
COMPILED = "compiled"
"""The name of what is compiled among the handlers of a strategy."""


class Call(IntEnum):
    """What a call is of: ``m.call``."""

    START, BOOK, TRADE, ORDER, FILL, GAP, TIMER, STOP = range(8)


class State(IntEnum):
    """What an order is: ``m.orders[i].state``, ``m.order.state``, ``m.before``."""

    SENT, PENDING, OPEN, AMENDING, CANCELING, UNKNOWN, FILLED, CANCELED, EXPIRED, REJECTED = range(10)


class Change(IntEnum):
    """What became of an order: ``m.change``."""

    ACKED, AMEND_ACKED, CANCEL_ACKED, REJECTED, AMEND_REFUSED, CANCEL_REFUSED, UNKNOWN, RESOLVED, ADOPTED = range(9)
    PENDING, NEW, TRADE, FILLED, AMENDED, RESTATED, REFILLED, TRIGGERED, CANCELED, EXPIRED = range(9, 19)


class Evidence(IntEnum):
    """What proves a fill: ``m.fill.evidence``."""

    QUEUE, BEYOND, THROUGH, CROSSED, TAKEN, EXCHANGE = range(6)


class Gap(IntEnum):
    """What a gap is of: ``m.gap``."""

    DATA, TRADES, ACCOUNT, EXCHANGE, CLOCK = range(5)


BUY, SELL = 1, -1
"""Sides: of orders, requests and trades."""
POST_ONLY, IOC, FOK, TAKE_PROFIT, CONFIRM = 1, 2, 4, 8, 16
"""Flags of an order; a sum of them. ``CONFIRM``: its unusual size is meant."""

# What compiled code asks for. Each is compiled with the strategy that calls it, and writes into the market's struct.


def _ask(m: Any, kind: int, order: int, pair: int) -> Any:
    """The next free request. Without room the last one is written over: that is counted, and the run ends."""
    at = m.asked
    if at >= len(m.requests):
        m.lost += 1
        at = len(m.requests) - 1
    m.asked = at + 1
    found = m.requests[at]
    found.kind = kind
    found.order = order
    found.pair = pair
    return found


def send(
    m: Any,
    side: int,
    qty: int,
    price: int = 0,
    flags: int = 0,
    pair: int = -1,
    tag: int = 0,
    display: int = 0,
    trigger: int = 0,
    expire: int = 0,
    deadline: int = 0,
) -> int:
    """Place an order; its number, which ``m.orders[i].id`` is later.

    Parameters
    ----------
    m
        The market.
    side
        ``BUY`` or ``SELL``.
    qty
        Quantity in steps.
    price
        The worst price in steps; 0: a market order.
    flags
        ``POST_ONLY``, ``IOC``, ``FOK``, ``TAKE_PROFIT`` (with ``trigger``), ``CONFIRM`` or a sum of them.
    pair
        Number of the pair; -1: that of the call.
    tag
        A number of yours; 0: none.
    display
        Quantity that is shown at once: an iceberg; 0: all.
    trigger
        The price of the last trade that starts it; 0: none.
    expire
        When it ends, ns; 0: never.
    deadline
        The exchange does not match it later than so many ns after now; 0: 5 s.

    Returns
    -------
    int
        The number of the order.

    Examples
    --------
    >>> send(m, BUY, 1_000_000, m.bid, POST_ONLY, tag=7)  # doctest: +SKIP

    """
    if qty != int(qty) or price != int(price):
        raise ValueError("send: qty and price are whole steps")
    number: int = m.next_order
    asked = _ask(m, 1, number, m.pair if pair == -1 else pair)
    asked.side = side
    asked.qty = qty
    asked.price = price
    asked.flags = flags
    asked.tag = tag
    asked.display = display
    asked.trigger = trigger
    asked.expire = expire
    asked.deadline = deadline
    m.next_order = number + 1
    return number


def buy(m: Any, qty: int, price: int = 0, flags: int = 0, pair: int = -1, tag: int = 0) -> int:
    """Place an order to buy; ``send`` has more options."""
    return send(m, 1, qty, price, flags, pair, tag, 0, 0, 0, 0)


def sell(m: Any, qty: int, price: int = 0, flags: int = 0, pair: int = -1, tag: int = 0) -> int:
    """Place an order to sell; ``send`` has more options."""
    return send(m, -1, qty, price, flags, pair, tag, 0, 0, 0, 0)


def amend(m: Any, order: int, qty: int = 0, price: int = 0) -> None:
    """Ask for another quantity in all, or another price, in steps; 0: as it is."""
    if qty != int(qty) or price != int(price):
        raise ValueError("amend: qty and price are whole steps")
    asked = _ask(m, 2, order, -1)
    asked.qty = qty
    asked.price = price


def cancel(m: Any, order: int) -> None:
    """Cancel an order, by its number."""
    _ask(m, 3, order, -1)


def cancel_all(m: Any, pair: int = -1) -> None:
    """Cancel all orders of this strategy, or those of a pair."""
    _ask(m, 4, 0, pair)


def after(m: Any, delay: int, tag: int = 0) -> None:
    """Call the strategy after so many ns, with ``m.call == Call.TIMER`` and ``m.tag``."""
    asked = _ask(m, 5, 0, -1)
    asked.deadline = delay
    asked.tag = tag


def halt(m: Any) -> None:
    """Cancel own orders and accept no new ones from now on."""
    _ask(m, 6, 0, -1)


def stop(m: Any) -> None:
    """End the run after this call."""
    _ask(m, 7, 0, -1)


HELPERS = (_ask, send, buy, sell, amend, cancel, cancel_all, after, halt, stop)

# How a function becomes a strategy.


def _numba() -> Any:
    """Numba, which knows what ``HELPERS`` are; ``ConfigError`` without it."""
    try:
        import numba  # noqa: PLC0415  # it takes half a second, and only compiled strategies need it
    except ImportError:
        raise ConfigError(NEEDS) from None
    _register()
    return numba


def _numpy() -> Any:
    """NumPy, which krakpot itself does not need."""
    try:
        import numpy  # noqa: ICN001, PLC0415  # only here
    except ImportError:
        raise ConfigError(NEEDS) from None
    return numpy


@cache
def _register() -> None:
    """Let compiled code call the helpers; an index beyond the end is an error there too."""
    from numba.extending import register_jitable  # noqa: PLC0415  # as numba itself

    for helper in HELPERS:
        register_jitable(boundscheck=True)(helper)


@cache
def layout() -> Any:
    """The struct of the market, as a ``numpy.dtype``: all that compiled code can read."""
    return _numpy().dtype(Compiled.layout()["market"])


class _Program:
    """A function, and what numba makes of it when it is first needed."""

    def __init__(self, function: Callable[..., object], arguments: int, kind: Any, shape: Any) -> None:
        """``kind``: dtype of the state; ``shape``: of an array, or None if it is one record."""
        self.function, self.arguments, self.kind, self.shape = function, arguments, kind, shape
        self._entry: Any = None

    @property
    def address(self) -> int:
        """Of the compiled function."""
        if self._entry is None:
            self._entry = self._compile()
        return int(self._entry.address)

    def _compile(self) -> Any:
        numba = _numba()
        types, carray = numba.types, numba.carray
        inner = numba.njit(boundscheck=True, error_model="python")(self.function)
        shape = self.shape
        if self.arguments == 1:

            def entry(market: Any, state: Any) -> int:  # noqa: ARG001  # the state is there, and not wanted
                inner(carray(market, 1)[0])
                return 1

        elif shape is None:

            def entry(market: Any, state: Any) -> int:
                inner(carray(market, 1)[0], carray(state, 1)[0])
                return 1

        else:

            def entry(market: Any, state: Any) -> int:
                inner(carray(market, 1)[0], carray(state, shape))
                return 1

        try:
            market, state = (numba.from_dtype(kind) for kind in (layout(), self.kind))
            return numba.cfunc(types.int32(types.CPointer(market), types.CPointer(state)))(entry)
        except Exception as error:  # whatever numba raises, as KeyError for a field that is not there
            raise ConfigError(f"{PLACE}: {self.function.__name__} cannot be compiled: {self._why(error)}") from error

    def _why(self, error: Exception) -> str:
        """An error of numba in short: without colours, and without the fields of records, which fill pages."""
        if isinstance(error, KeyError):
            fields = ", ".join(layout().names)
            return f"there is no field {error}; m has {fields}, and krakpot.trade.compiled.layout() shows all of it"
        text = re.sub(r"\x1b\[\d+m|, \(\d+,\)", "", str(error))
        while (found := re.sub(r"(?:Record|nestedarray)\([^()]*\)", "record", text)) != text:
            text = found
        lines = [line.strip()[:LINE] for line in text.splitlines() if line.strip()]
        told = [line for line in lines if not line.startswith("Failed in nopython mode pipeline")][:LINES]
        code = self.function.__code__
        within = re.findall(rf"{re.escape(code.co_filename)} \((\d+)\)", text)
        where = [int(line) for line in within if int(line) > code.co_firstlineno]
        return " ".join(told) + (f" ({code.co_filename}, line {where[0]})" if where else "")


class CompiledStrategy:
    """A strategy that numba compiles. ``krakpot.compiled`` makes one; ``krakpot.run`` runs it."""

    def __init__(self, program: _Program, initial: Any, hears: tuple[str, ...], *, queue: bool) -> None:
        """``initial``: an array, which is the state at the begin of each run."""
        self._program, self._initial, self._hears, self._queue = program, initial, hears, queue
        self._core: Compiled | None = None
        self.__name__, self.__module__ = program.function.__name__, program.function.__module__

    @property
    def state(self) -> Any:
        """The state after the last run, or as each run begins: a copy, a record or an array as it was given."""
        np = _numpy()
        found = self._initial.copy()
        if self._core is not None:
            found = np.frombuffer(bytearray(self._core.state()), found.dtype).reshape(found.shape)
        return found[()]

    def with_state(self, state: Any = None) -> CompiledStrategy:
        """Return the same strategy with another state at the begin, as for ``run_many``; it is compiled once.

        Parameters
        ----------
        state
            An array or a record like the state of this one; None: the same state.

        Raises
        ------
        ConfigError
            It has another type or shape.

        Examples
        --------
        >>> krakpot.run_many({"a": maker, "b": maker.with_state(wide)}, replay, paper)  # doctest: +SKIP

        """
        initial = self._initial.copy() if state is None else _array(state)
        if (initial.dtype, initial.shape) != (self._initial.dtype, self._initial.shape):
            known = f"{self._initial.dtype} of the shape {self._initial.shape}"
            sentence = f"{PLACE}: state: {shown(state)} is not allowed; allowed is {known}"
            raise ConfigError(sentence)
        return CompiledStrategy(self._program, initial, self._hears, queue=self._queue)

    def __deepcopy__(self, memo: object) -> CompiledStrategy:
        """A run's own: nothing of it is shared but what was compiled."""
        return self.with_state()

    def handlers(self) -> dict[str, Any]:
        """What a run calls: the compiled function under its own name, and who says why it failed under each handler's.

        The state is as it is at the begin again.
        """
        address = self._program.address
        _raised.clear()
        version = int(Compiled.layout()["version"])
        self._core = Compiled(address, layout().itemsize, version, self._initial.tobytes(), self._queue)
        return {**dict.fromkeys(self._hears, self._fail), COMPILED: self._core}

    def _fail(self, why: str) -> None:
        if why:
            sentence = f"{PLACE}: {self._program.function.__name__}: {why}"
            raise ConfigError(sentence)
        raise _raised.pop() if _raised else RuntimeError(f"{self!r} raised; numba told nothing of it")

    def __repr__(self) -> str:
        """Its function."""
        return f"CompiledStrategy({self._program.function.__name__})"


_raised: list[BaseException] = []
"""What compiled code raised last, until the run raises it."""


@contextmanager
def raised_inside() -> Iterator[None]:
    """While a run lasts: what compiled code raises is kept for the run. Numba itself can only print it."""
    before = sys.unraisablehook

    def hook(told: sys.UnraisableHookArgs) -> None:
        if told.exc_value is not None and "numba" in str(told.object):
            _raised[:] = [told.exc_value]
        else:
            before(told)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def _array(state: Any) -> Any:
    """The state at the begin: zeros of a dtype, or a copy of an array."""
    np = _numpy()
    allowed = "a numpy.dtype with named fields, or an array of numpy, both of numbers"
    sentence = f"{PLACE}: state: {shown(state)} is not allowed; allowed is {allowed}"
    if isinstance(state, (np.ndarray, np.void)):
        found = np.ascontiguousarray(state).reshape(np.shape(state)).copy()
    else:
        try:
            found = np.zeros((), np.dtype(state))
        except (TypeError, ValueError):
            raise ConfigError(sentence) from None
    if found.dtype.hasobject or found.size == 0 or (found.shape == () and not found.dtype.names):
        raise ConfigError(sentence)
    return found


def _strategy(function: Any, state: Any, hears: Any, *, queue: bool) -> CompiledStrategy:
    if not inspect.isfunction(function):
        sentence = f"{PLACE}: {shown(function)} is not allowed; allowed is a plain function of m, or of m and s"
        raise ConfigError(sentence)
    arguments = len(inspect.signature(function).parameters)
    name = function.__name__
    if arguments not in {1, 2}:
        sentence = f"{PLACE}: {name} takes {arguments} arguments; write def {name}(m), or def {name}(m, s) with a state"
        raise ConfigError(sentence)
    if (state is None) != (arguments == 1):
        cure = f"give state=…, or write def {name}(m)" if state is None else f"write def {name}(m, s)"
        sentence = f"{PLACE}: {name} takes {arguments} argument{'s'[: arguments - 1]}, and there is "
        raise ConfigError(f"{sentence}{'no' if state is None else 'a'} state; {cure}")
    words = [call.name.lower() for call in Call]
    wanted = words if hears is None else [hears] if isinstance(hears, str) else list(hears)
    for word in wanted:
        if word not in words:
            sentence = f"{PLACE}: hears: {shown(word)} is not allowed; allowed is one of {', '.join(words)}"
            raise ConfigError(sentence)
    if not wanted:
        sentence = f"{PLACE}: hears: nothing would call {name}; allowed is one or more of {', '.join(words)}"
        raise ConfigError(sentence)
    initial = _array([("unused", "i8")] if state is None else state)
    program = _Program(function, arguments, initial.dtype, initial.shape or None)
    return CompiledStrategy(program, initial, tuple(wanted), queue=queue)


@overload
def compiled(function: Callable[..., object]) -> CompiledStrategy: ...
@overload
def compiled(
    *,
    state: Any = None,
    hears: Sequence[str] | None = None,
    queue: bool = False,
) -> Callable[[Callable[..., object]], CompiledStrategy]: ...
def compiled(
    function: Callable[..., object] | None = None,
    *,
    state: Any = None,
    hears: Sequence[str] | None = None,
    queue: bool = False,
) -> CompiledStrategy | Callable[[Callable[..., object]], CompiledStrategy]:
    """Make a strategy of a function that numba compiles. Needs ``pip install 'krakpot[compiled]'``.

    Parameters
    ----------
    function
        A function of ``m``, the market, or of ``m`` and ``s``, its own state. It may use what numba compiles, and calls
        ``buy``, ``sell``, ``amend``, ``cancel`` and the others of ``krakpot.trade.compiled``. It is compiled when it
        first runs.
    state
        The state of the strategy. A ``numpy.dtype`` with named fields: ``s`` is one record of it, which begins with
        zeros. An array without dimensions: one record that begins as that. Any other array: ``s`` is an array. Each run
        begins with the same state; ``strategy.state`` has it afterwards.
    hears
        Handlers whose events call it: ``start``, ``book``, ``trade``, ``order``, ``fill``, ``gap``, ``timer``,
        ``stop``; None: all of them. ``m.call`` says which one it is.
    queue
        Whether orders show their place in the queue: ``orders_ahead``, ``qty_ahead``, ``qty_behind``.

    Returns
    -------
    CompiledStrategy
        What ``krakpot.run`` runs.

    Raises
    ------
    ConfigError
        An argument is wrong; when it runs, also: numba is missing, or cannot compile it.

    Examples
    --------
    >>> @krakpot.compiled  # doctest: +SKIP
    ... def once(m):
    ...     if m.call == Call.BOOK and m.next_order == 1:
    ...         buy(m, 1_000_000, m.bid, POST_ONLY)

    """
    if function is not None:
        return _strategy(function, state, hears, queue=queue)
    return lambda found: _strategy(found, state, hears, queue=queue)
