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
