from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import krakpot
import traded
from fills import SYMBOL
from krakpot import Market
from krakpot.errors import ConfigError
from krakpot.trade.market import HANDLERS, handlers_of, lines_of
from traded import JoinBest, Notes, paper, replay


class _Coroutine:
    async def book(self, m: Market, e: object) -> None:
        """Nobody would await it."""


def test_handlers_are_those_that_are_there() -> None:
    """All may be left out but one; a coroutine, a class, an object without any is refused."""
    assert set(handlers_of(Notes(), "here")) == set(HANDLERS)
    wrong: list[tuple[object, str]] = [
        (_Coroutine(), "here: its handler book is not allowed; allowed is a plain function"),
        (JoinBest, "an object of it, as Strategy"),
        (42, "one of start, book, trade"),
    ]
    for one, sentence in wrong:
        with pytest.raises(ConfigError) as error:
            handlers_of(one, "here")
        assert sentence in str(error.value)


def test_what_a_market_shows_and_refuses(tmp_path: Path) -> None:
    """Names of the run, lines of the log, orders by side and tag; and calls that make no sense."""
    found: list[Any] = []

    class Look(Notes):
        def start(self, m: Market) -> None:
            m.log("begin", 1)
            m.after("5ms")

        def timer(self, m: Market, e: object) -> None:
            first, second = m.buy(SYMBOL, 1, 99, tag="low"), m.sell(SYMBOL, 1, 103, tag="high")
            found.extend([m.orders(), m.orders(side="buy"), m.orders(tag="high"), m.orders(SYMBOL, "sell")])
            found.append([[first, second], [first], [second], [second]])
            for call, sentence in (
                (lambda: m.amend(first), "give qty, price or both"),
                (lambda: m.cancel(first, symbol=SYMBOL), "give an order or a symbol, not both"),
                (lambda: m.buy(SYMBOL, 1, 99, tag="x" * 65), "tag: .* is not allowed; allowed is text of at most 64"),
                (lambda: m.orders(side="bid"), "allowed is one of buy, sell"),  # type: ignore[arg-type]  # that is the test
                (lambda: m.level3("ETH/USD"), "symbol: 'ETH/USD' is not selected by this replay"),
            ):
                with pytest.raises(ConfigError, match=sentence):
                    call()
            m.cancel(symbol=SYMBOL)
            found.append([order.state for order in (first, second)])
            assert (m.symbols, m.system, repr(m)) == ((SYMBOL,), "", f"Market({SYMBOL})")
            found.append(lines_of(m))

    account = paper(balances={"USD": 1000, "BTC": 5})
    result = krakpot.run(Look(), replay(traded.lake(tmp_path / "lake")), account)
    assert isinstance(result, krakpot.Result)
    assert found[:4] == found[4]
    assert found[5] == ["canceling", "canceling"]
    assert [line for _, line in found[6]] == ["begin 1"] == [line for _, line in result.log]


@pytest.mark.parametrize(
    ("handler", "sentence"),
    [
        (lambda m: None, r"its handler book takes \(m\), and is given \(m, e\)"),
        (lambda m, e, more: None, "is given"),
        (lambda m, e: (yield), "no generator"),
    ],
)
def test_a_handler_that_cannot_be_called_is_refused_at_once(handler: Any, sentence: str) -> None:
    """Not at the first fill, hours later; and a generator would do nothing, silently."""

    class Strategy:
        book = staticmethod(handler)

    with pytest.raises(ConfigError, match=sentence):
        handlers_of(Strategy(), "krakpot.run: strategy")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"post_only": "yes"}, "post_only: 'yes' is not allowed; allowed is True or False"),
        ({"stop": 3}, "stop: 3"),
        ({"tif": None}, "tif: None is not allowed; allowed is text"),
        ({"side": None}, "side: None"),
        ({"symbol": None}, "symbol: None"),
    ],
)
def test_a_wrong_type_is_named(tmp_path: Path, options: Any, sentence: str) -> None:
    """In a sentence as for a wrong value."""

    class Sends:
        def start(self, m: Market) -> None:
            given: Any = {"side": "buy", "symbol": "BTC/USD", "qty": "1", "price": "100"}
            m.send(**(given | options))

    with pytest.raises(ConfigError, match=sentence):
        krakpot.run(Sends(), traded.replay(traded.lake(tmp_path / "lake")), traded.paper())


@pytest.mark.parametrize("number", ["abc", float("nan"), "1e", "inf", True, [1]])
def test_only_numbers_are_rounded(tmp_path: Path, number: Any) -> None:
    """What is none is refused in a sentence."""

    class Rounds:
        def start(self, m: Market) -> None:
            m.round("BTC/USD", qty=number)

    with pytest.raises(ConfigError, match=r"krakpot\.Market\.round: qty: "):
        krakpot.run(Rounds(), traded.replay(traded.lake(tmp_path / "lake")), traded.paper())
