"""Compiled strategies: by numba where it is, and always with a Python function in its place, called by address as well.

With ``KRAKPOT_TEST=all`` the last test installs numba in an environment of its own, and runs this file there.
"""

from __future__ import annotations

import asyncio
import copy
import ctypes
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import krakpot
import lakes
import tools
import traded
from fills import SYMBOL, Step, time
from krakpot import ExchangeOptions, ExchangeServer, Market
from krakpot._core import Compiled
from krakpot.errors import ConfigError
from krakpot.trade import compiled as module
from krakpot.trade.compiled import (
    BUY,
    FOK,
    IOC,
    POST_ONLY,
    SELL,
    Call,
    Change,
    Evidence,
    Gap,
    State,
    after,
    amend,
    buy,
    cancel,
    cancel_all,
    halt,
    layout,
    sell,
    send,
    stop,
)
from traded import paper, replay

NUMBA = "numba==0.68.1"
HERE = importlib.util.find_spec("numba") is not None
ONE = 100_000_000
"""A unit of the base asset in steps."""
MS = 1_000_000
SIGNATURE = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p)


class Struct:
    """A struct in memory, with its fields as attributes, as numba has it."""

    def __init__(self, array: Any) -> None:
        """Of an array without dimensions."""
        object.__setattr__(self, "_array", array)

    def __getattr__(self, name: str) -> Any:
        """A number, a struct or an array."""
        found = self._array[name]
        if found.shape:
            return Rows(found)
        return Struct(found) if found.dtype.names else found.item()

    def __setattr__(self, name: str, value: Any) -> None:
        """Write it."""
        self._array[name] = value


class Rows:
    """An array of them, or of numbers."""

    def __init__(self, array: Any) -> None:
        self._array = array

    def __len__(self) -> int:
        """How many."""
        return len(self._array)

    def __getitem__(self, at: int) -> Any:
        """One of them."""
        return Struct(self._array[at : at + 1].reshape(())) if self._array.dtype.names else self._array[at]

    def __setitem__(self, at: int, value: Any) -> None:
        """Write it."""
        self._array[at] = value


def view(address: int, dtype: Any, shape: tuple[int, ...] | None) -> Any:
    """What is there."""
    size = dtype.itemsize * int(np.prod(shape or (1,)))
    array = np.frombuffer((ctypes.c_char * size).from_address(address), dtype).reshape(shape or ())
    return Struct(array) if shape is None else Rows(array)


class Interpreted:
    """Stands for what numba made: Python calls the function, at an address."""

    def __init__(self, program: Any) -> None:
        def entry(market: int, state: int) -> int:
            given = [view(market, layout(), None), view(state, program.kind, program.shape)]
            try:
                program.function(*given[: program.arguments])
            except Exception as error:  # noqa: BLE001  # numba catches all of them too
                module._raised[:] = [error]
                return 0
            return 1

        self._kept = SIGNATURE(entry)
        self.address = ctypes.cast(self._kept, ctypes.c_void_p).value

    @staticmethod
    def of(program: Any) -> Interpreted:
        """In place of ``_Program._compile``."""
        return Interpreted(program)


@pytest.fixture(params=["python", "numba"], autouse=True)
def made_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each test runs with both."""
    if request.param == "python":
        monkeypatch.setattr(module._Program, "_compile", Interpreted.of)
    elif not HERE:
        pytest.skip("numba is not installed")
    return str(request.param)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> krakpot.Lake:
    """A market of a second."""
    return traded.lake(tmp_path_factory.mktemp("compiled") / "lake")


@pytest.fixture(scope="module")
def swinging(tmp_path_factory: pytest.TempPathFactory) -> krakpot.Lake:
    """One pair whose best prices come and go, every third time by a trade."""
    steps = [Step(1, (("add", "buy", 1, 99, 5), ("add", "sell", 2, 102, 5)))]
    for turn in range(60):
        at, order = 20 + 70 * turn, 10 + turn
        side, price, taker = ("buy", 100, "sell") if turn % 4 < 2 else ("sell", 101, "buy")
        prints = ((taker, price, 4),) if turn % 3 == 0 else ()
        steps.append(Step(at, (("add", side, order, price, 3),)))
        steps.append(Step(at + 35, (("delete", side, order, price, 3),), prints))
    return traded.lake(tmp_path_factory.mktemp("swinging") / "lake", steps)


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> krakpot.Lake:
    """Two pairs whose prices move."""
    path = tmp_path_factory.mktemp("moving") / "lake"
    lakes.make(path, lakes.market(level3=True))
    return krakpot.Lake(path)


LOG = np.dtype([(name, "i8") for name in (
    "call", "now", "pair", "trading", "bid", "bid_qty", "ask", "ask_qty", "inventory", "base_free", "quote_free",
    "orders", "oldest", "state", "filled", "price", "rate", "of",
)])  # fmt: skip
STATE = np.dtype([("n", "i8"), ("quotes", "i8"), ("log", LOG, (6000,))])


def chase(m: Any, s: Any) -> None:  # noqa: PLR0912  # one function hears all
    """Rest at the best prices, go along with them, cancel the oldest order now and then; note all that is seen."""
    p = max(m.pair, 0)
    line = s.log[s.n]
    s.n += 1
    line.call, line.now, line.pair, line.trading = m.call, m.now, p, m.trading
    pair = m.pairs[p]
    if pair.synced:
        line.bid, line.bid_qty, line.ask, line.ask_qty = pair.bid, pair.bid_qty, pair.ask, pair.ask_qty
    line.inventory, line.base_free, line.quote_free = pair.inventory, pair.base_free, pair.quote_free
    line.rate = int(pair.rate_used * 100)
    line.orders = m.order_count
    if m.order_count:
        line.oldest, line.state = m.orders[0].id, m.orders[0].state
        line.filled, line.price = m.orders[0].filled, m.orders[0].price
    if m.call in (Call.START, Call.TIMER):
        after(m, 70_000_000, 5)
        if m.order_count:
            cancel(m, m.orders[0].id)
    if m.call == Call.TIMER:
        line.of = m.tag
    if m.call == Call.ORDER:
        line.of = m.order.id * 100 + m.change
    if m.call == Call.FILL:
        line.of = m.fill.price + m.fill.qty + m.fill.fee + m.fill.evidence
    if m.call == Call.TRADE:
        line.of = m.trade.id + m.trade.side * m.trade.qty + m.trade.price
    if m.call == Call.GAP:
        line.of = m.healed + 2 * m.gap
    if m.call == Call.BOOK and m.trading and m.synced:
        for side in (BUY, SELL):
            price = m.bid
            if side == SELL:
                price = m.ask
            found = False
            for i in range(m.order_count):
                order = m.orders[i]
                if order.pair == p and order.side == side:
                    found = True
                    if order.state == State.OPEN and order.price != price:
                        amend(m, order.id, 0, price)
            if not found and price:
                send(m, side, 2000 * pair.qty_min, price, POST_ONLY)
                s.quotes += 1


def steps_of(amount: Any, digits: int) -> int:
    """An amount with ten decimals in steps, rounded down."""
    return int(Decimal(amount) / 10**10 * 10**digits // 1)


class Chase:
    """The same in Python handlers, with numbers in steps."""

    def __init__(self) -> None:
        self.log: list[tuple[int, ...]] = []
        self.quotes = 0

    def note(self, m: Market, call: Call, symbol: str = "", of: int = 0) -> None:
        symbol = symbol or m.symbols[0]
        try:
            best: Any = m.best(symbol)
        except krakpot.NoBook:
            best = (0, 0, 0, 0)
        facts, orders = m.pair(symbol), m.orders()
        oldest = (0, 0, 0, 0)
        if orders:
            first = orders[0]
            oldest = (first.id, State[first.state.upper()], first.filled, first.price)
        self.log.append((
            int(call), m.now, m.symbols.index(symbol), int(m.trading), *(number or 0 for number in best),
            m.inventory(symbol).qty, steps_of(m.balance(facts.base).free, facts.qty_precision),
            steps_of(m.balance(facts.quote).free, facts.cost_precision), len(orders), *oldest,
            int(m.rate(symbol).used * 100), of,
        ))  # fmt: skip

    def start(self, m: Market) -> None:
        self.note(m, Call.START)
        m.after("70ms", "5")

    def timer(self, m: Market, e: Any) -> None:
        self.note(m, Call.TIMER, of=int(e.tag))
        m.after("70ms", "5")
        if m.orders():
            m.cancel(m.orders()[0])

    def book(self, m: Market, e: Any) -> None:
        self.note(m, Call.BOOK, e.symbol)
        try:
            bid, _, ask, _ = m.best(e.symbol)
        except krakpot.NoBook:
            return
        if not m.trading:
            return
        sides: list[tuple[Any, Any]] = [("buy", bid), ("sell", ask)]
        for side, price in sides:
            orders = m.orders(e.symbol, side)
            for order in orders:
                if order.state == "open" and order.price != price:
                    m.amend(order, price=price)
            if not orders and price is not None:
                m.send(side, e.symbol, 2000 * m.pair(e.symbol).qty_min, price, post_only=True)
                self.quotes += 1

    def trade(self, m: Market, e: Any) -> None:
        facts = m.pair(e.symbol)
        qty, price = int(e.qty * 10**facts.qty_precision), int(e.price * 10**facts.price_precision)
        self.note(m, Call.TRADE, e.symbol, e.trade_id + (1 if e.side == "buy" else -1) * qty + price)

    def order(self, m: Market, e: Any) -> None:
        self.note(m, Call.ORDER, e.order.symbol, e.order.id * 100 + Change[e.change.upper().replace(" ", "_")])

    def fill(self, m: Market, e: Any) -> None:
        fee = steps_of(e.fee, m.pair(e.symbol).cost_precision)
        self.note(m, Call.FILL, e.symbol, e.price + e.qty + fee + Evidence[e.evidence.upper()])

    def gap(self, m: Market, e: Any) -> None:
        self.note(m, Call.GAP, e.symbol, e.healed + 2 * Gap[e.of.upper()])

    def stop(self, m: Market, reason: str) -> None:
        self.note(m, Call.STOP)


def rich() -> krakpot.Paper:
    """Some of every asset."""
    return paper(balances={"USD": 10**6, "BTC": 100, "ETH": 1000})


def run(strategy: Any, lake: krakpot.Lake, account: krakpot.Paper | None = None, **options: Any) -> krakpot.Result:
    """One result."""
    result = krakpot.run(strategy, options.pop("feed", None) or replay(lake), account or paper(), **options)
    assert isinstance(result, krakpot.Result)
    return result


@pytest.mark.slow
@pytest.mark.parametrize("wake", ["message", "touch", "100ms", None])
@pytest.mark.parametrize("pairs", [1, 2])
def test_it_sees_and_does_what_handlers_in_python_do(
    swinging: krakpot.Lake, moving: krakpot.Lake, wake: str | None, pairs: int
) -> None:
    """Every call, everything that is seen at it, and the result are the same; of one pair and of two."""
    lake, symbols = (swinging, [SYMBOL]) if pairs == 1 else (moving, ["BTC/USD", "ETH/USD"])
    account = rich() if pairs == 2 else paper(balances={"USD": 10**6, "BTC": 100})
    in_python, strategy = Chase(), krakpot.compiled(state=STATE)(chase)
    channels = ["level3", "trade"]
    options: dict[str, Any] = {"wake": wake, "warmup": "200ms"}
    expected = run(
        in_python, lake, account, feed=krakpot.Replay(lake, symbols, channels=channels), numbers="int", **options
    )
    found = run(strategy, lake, account, feed=krakpot.Replay(lake, symbols, channels=channels), **options)
    lines = strategy.state["log"][: strategy.state["n"]]
    assert len(in_python.log) > 50
    for line, ours in zip(in_python.log, lines.tolist(), strict=True):
        assert dict(zip(LOG.names or (), ours, strict=True)) == dict(zip(LOG.names or (), line, strict=True))
    assert strategy.state["quotes"] == in_python.quotes
    assert found.digest == expected.digest
    if wake is not None:
        assert found.orders.height >= 20
        assert found.fills.height > 0
    if wake is not None and pairs == 1:
        assert found.requests.filter(found.requests["request"] == "amend").height >= 3


def join(m: Any, s: Any) -> None:
    """Rest one unit at the best bid, again and again."""
    s.calls += 1
    if m.call == Call.BOOK and m.trading and m.order_count == 0:
        buy(m, s.qty, m.bid, POST_ONLY)
    if m.call == Call.FILL:
        s.filled += m.fill.qty


JOIN = np.array((0, ONE, 0), [("calls", "i8"), ("qty", "i8"), ("filled", "i8")])


def test_each_run_begins_with_the_same_state(lake: krakpot.Lake) -> None:
    """What a strategy is given is its state at the begin; afterwards it shows the state at the end."""
    strategy = krakpot.compiled(state=JOIN)(join)
    assert (strategy.state["qty"], strategy.state["calls"]) == (ONE, 0)
    first = run(strategy, lake)
    told = strategy.state
    again = run(strategy, lake)
    assert first.fills.height > 5
    assert (told["filled"], told["qty"]) == (ONE * first.fills.height, ONE)
    assert strategy.state == told
    assert first.digest == again.digest
    assert JOIN["calls"] == 0, "the given array is left alone"
    assert copy.deepcopy(strategy).state["calls"] == 0


def test_many_run_in_one_pass(lake: krakpot.Lake) -> None:
    """Beside strategies in Python; each with its own state, compiled once."""
    strategy = krakpot.compiled(state=JOIN)(join)
    double = JOIN.copy()
    double["qty"] = 2 * ONE
    all_of_them: dict[str, Any] = {"one": strategy, "two": strategy.with_state(double), "python": traded.JoinBest()}
    found = krakpot.run_many(all_of_them, replay(lake), paper())
    assert all_of_them["two"].state["filled"] == 2 * ONE * found["two"].orders.filter(
        found["two"].orders["state"] == "filled"
    ).height + sum(
        int(qty * ONE) for qty in found["two"].orders.filter(found["two"].orders["state"] != "filled")["filled"]
    )
    assert strategy.state["filled"] == ONE * found["one"].fills.height > 0
    alone = run(strategy.with_state(), lake)
    assert found["one"].digest == alone.digest
    assert found["one"].fills["qty"].to_list() == found["python"].fills["qty"].to_list()
    with pytest.raises(ConfigError, match="allowed is .*qty.* of the shape"):
        strategy.with_state(np.zeros(3))


def test_it_hears_what_it_wants(lake: krakpot.Lake) -> None:
    """``hears`` leaves calls out, as handlers that are left out do."""
    strategy = krakpot.compiled(state=np.zeros(8, "i8"), hears=["trade", "timer", "start"])(count)
    run(strategy, lake)
    assert strategy.state.tolist() == [1, 0, 25, 0, 0, 0, 1, 0]


def count(m: Any, s: Any) -> None:
    """Count the calls by kind."""
    s[m.call] += 1
    if m.call == Call.START:
        after(m, 5)


def bare(m: Any) -> None:
    """Buy once at the market, and end the run."""
    if m.call == Call.BOOK and m.trading and m.next_order == 1:
        buy(m, ONE)
    if m.call == Call.FILL:
        stop(m)


def test_a_function_without_a_state(lake: krakpot.Lake) -> None:
    """Takes only the market. ``stop`` ends the run after the call."""
    result = asyncio.run(krakpot.run_async(krakpot.compiled(bare), replay(lake), paper()))
    assert isinstance(result, krakpot.Result)
    assert (result.fills.height, result.fills["evidence"][0]) == (1, "taken")
    assert result.summary["ended"] == "the strategy stopped"


def everything(m: Any, s: Any) -> None:
    """Ask for orders of every kind, and note what becomes of them."""
    if m.call == Call.TIMER and m.tag == 1:
        s[0] = send(m, BUY, ONE, m.bid - 50, 0, 0, 11, 0, 0, m.now + 400 * MS, 500 * MS)
        s[1] = buy(m, ONE, m.ask, IOC)
        s[2] = buy(m, 1000 * ONE, m.ask, FOK)
        s[3] = send(m, BUY, 10 * ONE, m.bid - 20, display=ONE)
        s[4] = send(m, SELL, ONE, 0, trigger=m.bid - 10)
        s[5] = sell(m, ONE, m.ask + 500, tag=12)
        after(m, 100 * MS, 2)
    if m.call == Call.START:
        after(m, 100 * MS, 1)
    if m.call == Call.TIMER and m.tag == 2:
        cancel(m, s[5])
        amend(m, s[3], 5 * ONE)
        after(m, 100 * MS, 3)
    if m.call == Call.TIMER and m.tag == 3:
        cancel_all(m)
        halt(m)
        s[6] = buy(m, ONE, m.bid)
        s[7] = m.trading


def test_orders_of_every_kind(lake: krakpot.Lake) -> None:
    """As ``Market.send`` makes them: good until a time, at once, all or nothing, iceberg, stop; tags; cancels; halt."""
    strategy = krakpot.compiled(state=np.zeros(8, "i8"))(everything)
    account = paper(balances={"USD": 500_000, "BTC": 10})
    orders = run(strategy, lake, account).orders
    assert strategy.state.tolist() == [1, 2, 3, 4, 5, 6, 7, 1], "their numbers; halted only when the call is over"
    rows = {row["order"]: row for row in orders.to_dicts()}
    assert [rows[n]["kind"] for n in range(1, 7)] == ["limit", "limit", "limit", "iceberg", "stop-loss", "limit"]
    states = [rows[n]["state"] for n in range(1, 8)]
    assert states == ["canceled", "filled", "canceled", "canceled", "canceled", "canceled", "rejected"]
    assert (rows[1]["tag"], rows[6]["tag"], rows[2]["tag"]) == ("11", "12", "")
    assert rows[4]["qty"] == 5
    assert rows[7]["reason"].startswith("krakpot:halted")


def place(m: Any, s: Any) -> None:
    """Join the bid, and note how much stands before."""
    if m.call == Call.TIMER:
        s[0] = m.orders[0].qty_ahead
        s[1] = m.orders[0].orders_ahead
        s[2] = m.orders[0].qty_behind
    if m.call == Call.BOOK and m.trading and m.next_order == 1:
        buy(m, ONE, m.bid)
        after(m, 9 * MS)


def test_places_in_the_queue_are_shown_where_they_are_wanted(lake: krakpot.Lake) -> None:
    """Two orders with 8 stand before; without ``queue`` it is -1."""
    for wanted, expected in ((True, [8 * ONE, 2, 0]), (False, [-1, -1, -1])):
        strategy = krakpot.compiled(state=np.zeros(3, "i8"), queue=wanted)(place)
        run(strategy, lake)
        assert strategy.state.tolist() == expected


def raises(m: Any) -> None:
    """Rest an order, and raise at its first fill."""
    if m.call == Call.BOOK and m.next_order == 1:
        buy(m, 30 * ONE, m.bid)
    if m.call == Call.FILL:
        raise LookupError("mine")


def test_what_it_raises_is_raised(lake: krakpot.Lake, capfd: pytest.CaptureFixture[str]) -> None:
    """As of a handler in Python: with the place; or the run goes on without it, its orders cancelled."""
    hook = sys.unraisablehook
    with pytest.raises(LookupError, match="mine") as caught:
        run(krakpot.compiled(raises), lake)
    assert "in the handler fill" in caught.value.__notes__[0]
    assert sys.unraisablehook is hook
    result = run(krakpot.compiled(raises), lake, on_error="halt")
    assert result.error == "LookupError: mine"
    assert result.orders["state"].to_list() == ["canceled"]
    assert result.summary["ended"] == "the recording ended"
    assert "mine" not in capfd.readouterr().err


def too_much(m: Any) -> None:
    """Ask for more than there is room for."""
    for _ in range(300):
        after(m, 1)


def strange_pair(m: Any) -> None:
    """Order in a pair that is not there."""
    buy(m, ONE, 1000, 0, 7)


def strange_order(m: Any) -> None:
    """Cancel an order of somebody else."""
    cancel(m, 99)


def strange_flags(m: Any) -> None:
    """Flags that are none."""
    buy(m, ONE, 1000, 512)


def two_times(m: Any) -> None:
    """At once, and all at once."""
    buy(m, ONE, 1000, IOC + FOK)


def too_short(m: Any) -> None:
    """A deadline that Kraken does not take."""
    send(m, BUY, ONE, 1000, deadline=1)


def no_side(m: Any) -> None:
    """A side that is none."""
    send(m, 0, ONE, 1000)


def nothing(m: Any) -> None:
    """Amend to what is there."""
    buy(m, ONE, 1000)
    amend(m, 1)


def writes(m: Any) -> None:
    """Write what only the helpers may."""
    m.asked = -5


def kinds(m: Any) -> None:
    """The same, with a request."""
    m.requests[0].kind = 99
    m.asked = 1


FLAGS = "POST_ONLY, IOC, FOK, TAKE_PROFIT, CONFIRM"
CASES: list[tuple[Callable[..., object], str]] = [
    (too_much, "it asked for 300 things in one call, and 256 is the most; ask for the rest in a later call"),
    (strange_pair, "an order: pair=7; allowed is pair=0 to pair=0"),
    (strange_order, "cancel: 99 is no order of this strategy"),
    (strange_flags, f"an order: flags=512 is not allowed; allowed is {FLAGS} and sums of them"),
    (two_times, "an order: give one of IOC, FOK and expire"),
    (too_short, "an order: deadline=1 is not allowed; allowed is 500 ms to 60 s, in ns"),
    (no_side, "an order: side=0 is not allowed; allowed is BUY or SELL"),
    (nothing, "amend: give qty, price or both: there is nothing to amend"),
    (writes, "it wrote m.asked itself; only buy, sell, amend and the others do that"),
    (kinds, "a request of the kind 99 is not known; only buy, sell, amend and the others ask"),
]


@pytest.mark.parametrize(("function", "sentence"), CASES, ids=lambda one: getattr(one, "__name__", ""))
def test_wrong_use_ends_the_run(lake: krakpot.Lake, function: Callable[..., object], sentence: str) -> None:
    """With the function and what is wrong."""
    with pytest.raises(ConfigError) as caught:
        run(krakpot.compiled(function), lake)
    assert str(caught.value) == f"krakpot.compiled: {function.__name__}: {sentence}"


def at_start(m: Any) -> None:
    """Order when nothing says of which pair."""
    if m.call == Call.START:
        buy(m, ONE, 1000)


def test_a_call_of_no_pair_needs_one(moving: krakpot.Lake) -> None:
    """Where there are several, the begin is of none."""
    with pytest.raises(ConfigError, match="this call is of no pair; allowed is pair=0 to pair=1"):
        run(krakpot.compiled(at_start), moving, rich(), feed=krakpot.Replay(moving, ["*"]))


def test_until_and_bounds(lake: krakpot.Lake) -> None:
    """It ends with the run's time; both passes begin with the same state."""
    strategy = krakpot.compiled(state=JOIN)(join)
    short = run(strategy, lake, until=time(301))
    assert 0 < short.orders.height < run(strategy, lake).orders.height
    both = krakpot.run(
        krakpot.compiled(state=JOIN)(join), replay(lake, channels=["book", "trade"]), paper(model="bounds")
    )
    expected = krakpot.run(
        traded.JoinBest(), replay(lake, channels=["book", "trade"]), paper(model="bounds"), wake="touch"
    )
    assert isinstance(both, krakpot.Bounds)
    assert isinstance(expected, krakpot.Bounds)
    assert both.ahead.fills["qty"].to_list() == expected.ahead.fills["qty"].to_list() != []
    assert both.behind.fills["qty"].to_list() == expected.behind.fills["qty"].to_list()


def cross(m: Any) -> None:
    """Buy at the market as soon as it may; end when that is filled."""
    if m.call == Call.BOOK and m.trading and m.order_count == 0:
        buy(m, 4 * m.pairs[m.pair].qty_min)
    if m.call == Call.FILL:
        stop(m)


@pytest.mark.slow
def test_on_the_live_feed() -> None:
    """The same strategy on the built-in exchange."""
    server = ExchangeServer(ExchangeOptions(pairs=2, rate=300.0, seed=4))
    quotes = {pair[0].partition("/")[2] for pair in server.exchange.pairs()}
    account = paper("2ms", balances=dict.fromkeys(sorted(quotes), 10**9))
    result = krakpot.run(krakpot.compiled(cross), server, account, until="20s", wake="message")
    assert isinstance(result, krakpot.Result)
    assert result.fills["evidence"].unique().to_list() == ["taken"]
    assert result.summary["ended"] == "the strategy stopped"


# What does not depend on numba.


def test_codes_are_those_of_the_extension() -> None:
    """The names of the numbers; the struct has no field that numpy would move."""
    told = Compiled.layout()

    def words(kind: Any) -> list[str]:
        return [one.name.lower().replace("_", " ") for one in sorted(kind)]

    assert words(State) == told["states"]
    assert words(Change) == told["changes"]
    assert words(Evidence) == told["evidence"]
    assert words(Gap) == told["gaps"]
    assert [one.name.lower() for one in Call] == ["start", "book", "trade", "order", "fill", "gap", "timer", "stop"]
    assert layout().itemsize == told["market"]["itemsize"] > 1000
    assert layout()["orders"].shape == (256,)


def test_a_struct_of_another_version_is_refused() -> None:
    """Before anything is called."""
    size, version = layout().itemsize, Compiled.layout()["version"]
    for given in ((size + 8, version), (size, version + 1)):
        with pytest.raises(ValueError, match=r"was compiled for a struct of version \d+ with \d+ bytes, and this is"):
            Compiled(1, *given, b"")
    with pytest.raises(ValueError, match="has no address"):
        Compiled(0, size, version, b"")


def three(m: Any, s: Any, more: Any) -> None:
    """Takes too much."""


@pytest.mark.parametrize(
    ("function", "options", "sentence"),
    [
        (three, {}, r"three takes 3 arguments; write def three\(m\), or def three\(m, s\) with a state"),
        (join, {}, r"join takes 2 arguments, and there is no state; give state=…, or write def join\(m\)"),
        (bare, {"state": JOIN}, r"bare takes 1 argument, and there is a state; write def bare\(m, s\)"),
        (bare, {"hears": ["books"]}, "hears: 'books' is not allowed; allowed is one of start, book"),
        (bare, {"hears": []}, "hears: nothing would call bare"),
        (join, {"state": "i8"}, "state: 'i8' is not allowed; allowed is a numpy.dtype with named fields, or an array"),
        (join, {"state": np.zeros(2, object)}, "state: .* is not allowed"),
        (join, {"state": np.zeros(0)}, "state: .* is not allowed"),
        (join, {"state": "no such type"}, "state: 'no such type' is not allowed"),
        (Chase, {}, r"krakpot.compiled: <class .*Chase'> is not allowed; allowed is a plain function of m"),
    ],
)
def test_wrong_arguments_are_refused_at_once(function: Any, options: dict[str, Any], sentence: str) -> None:
    """With the place and what is allowed."""
    with pytest.raises(ConfigError, match=sentence):
        krakpot.compiled(**options)(function)


def test_without_numba_it_says_what_to_install(lake: krakpot.Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is to run."""
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(ConfigError, match=r"needs numba: pip install 'krakpot\[compiled\]'"):
        run(krakpot.compiled(bare), lake)


# Numba itself.


def unknown_field(m: Any) -> None:
    """A field that is not there."""
    m.bids += 1


def unknown_type(m: Any) -> None:
    """A price that is text."""
    buy(m, ONE, "97500")  # type: ignore[arg-type]  # that is what is wrong


def beyond(m: Any) -> None:
    """An order that is not there."""
    m.orders[256 + m.order_count].id += 1


def divides(m: Any) -> None:
    """Divides by zero."""
    m.requests[0].qty = m.bid // m.order_count


DECIMALS: Any = 0.01


def sends_decimals(m: Any) -> None:
    """Asks for a quantity that is no number of steps."""
    buy(m, DECIMALS, m.bid)


def amends_decimals(m: Any) -> None:
    """Asks for a price that is no number of steps."""
    amend(m, 0, 0, DECIMALS)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [sends_decimals, amends_decimals])
def test_decimals_are_no_steps(lake: krakpot.Lake, strategy: Any) -> None:
    """They would be cut off without a word."""
    with pytest.raises(ValueError, match="qty and price are whole steps"):
        run(krakpot.compiled(strategy), lake)


@pytest.mark.slow
def test_what_numba_cannot_compile_is_told_in_short(lake: krakpot.Lake, made_by: str) -> None:
    """With the line; what goes wrong while it runs is an error too, not a crash."""
    if made_by != "numba":
        pytest.skip("about numba")
    with pytest.raises(
        ConfigError, match=r"unknown_field cannot be compiled: there is no field 'bids'; m has now, call"
    ):
        run(krakpot.compiled(unknown_field), lake)
    with pytest.raises(ConfigError) as caught:
        run(krakpot.compiled(unknown_type), lake)
    line = unknown_type.__code__.co_firstlineno + 2
    assert f"test_compiled.py, line {line})" in str(caught.value)
    assert len(str(caught.value)) < 500
    with pytest.raises(IndexError, match="out of bounds"):
        run(krakpot.compiled(beyond), lake)
    with pytest.raises(ZeroDivisionError):
        run(krakpot.compiled(divides), lake)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_of_it_with_numba(made_by: str) -> None:
    """These tests and the program of docs/trading.md, in an environment that has numba."""
    if HERE or made_by == "numba":
        pytest.skip("numba is here: the tests above used it")
    tools.only_in_all()
    python = tools.environment(NUMBA) / "bin" / "python"
    root = Path(__file__).parents[2]
    command: list[str | Path] = [
        python,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "tests/trade/test_compiled.py",
    ]
    command += ["tests/test_examples.py::test_python_of_a_page_runs[trading]"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    assert int(done.stdout.rpartition(" passed")[0].rpartition(" ")[2].rpartition("\n")[2]) > 60
