"""Names of pairs and rows of trades of Kraken's REST."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from krakpot.errors import FeedError
from krakpot.net.market import TRIES, Pair, Rest, RestTrade
from krakpot.net.rest import Public, RestError
from waiting import run

PAIR = Pair("BTC/USD", "XXBTZUSD", 1, 8)


class Answers(Public):
    """REST with these answers, one after the other; an error is raised."""

    def __init__(self, *answers: Any) -> None:
        super().__init__("http://127.0.0.1:1")
        self.answers = list(answers)
        self.asked: list[tuple[str, dict[str, object]]] = []

    async def get(self, name: str, **parameters: object) -> dict[str, Any]:
        """The next answer; the last one again and again."""
        self.asked.append((name, parameters))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        found: dict[str, Any] = answer
        return found


def rest(*answers: Any, pace: float = 0.0) -> Rest:
    """A ``Rest`` with these answers."""
    return Rest("http://127.0.0.1:1", pace=pace, public=Answers(*answers))


def test_pairs_by_the_names_of_the_feed() -> None:
    """XBT is BTC and XDG is DOGE there; a pair without `wsname` is not in the feed."""
    pairs = {
        "XXBTZUSD": {"altname": "XBTUSD", "wsname": "XBT/USD", "pair_decimals": 1, "lot_decimals": 8},
        "XDGXBT": {"altname": "XDGXBT", "wsname": "XDG/XBT", "pair_decimals": 11, "lot_decimals": "8"},
        "XBTUSD.d": {"altname": "XBTUSD.d"},
        "odd": 7,
    }

    async def test() -> None:
        assert await rest(pairs).pairs() == {
            "BTC/USD": Pair("BTC/USD", "XXBTZUSD", 1, 8),
            "DOGE/BTC": Pair("DOGE/BTC", "XDGXBT", None, None),
        }

    run(test())


def test_trades_to_the_last_digit() -> None:
    """A row of Kraken's documentation; times may have more digits than the feed's."""
    row = ["30243.40000", "0.34507674", Decimal("1688669597.8277369"), "b", "m", "", 61044952]

    async def test() -> None:
        found = await rest({"XXBTZUSD": [row], "last": "1688671969993150842"}).trades(PAIR, 5)
        trade = RestTrade(
            61044952, 1688669597_827736900, Decimal("30243.4"), Decimal("0.34507674"), "buy", "market", ""
        )
        assert found == ([trade], 1688671969993150842)

    run(test())


@pytest.mark.parametrize(
    "answer",
    [
        {"last": "1"},
        {"XXBTZUSD": {}, "last": "1"},
        {"XXBTZUSD": [["1", "1", 1, "b", "m", ""]], "last": "1"},
        {"XXBTZUSD": [["x", "1", 1, "b", "m", "", 1]], "last": "1"},
        {"XXBTZUSD": [["1", "1", 1, "x", "m", "", 1]], "last": "1"},
        {"XXBTZUSD": [["1", "1", 1, "b", "m", "", "x"]], "last": "1"},
        {"XXBTZUSD": [7], "last": "1"},
        {"XXBTZUSD": []},
    ],
)
def test_answers_that_are_not_as_documented(answer: Any) -> None:
    """One sentence, and nothing is taken of them."""

    async def test() -> None:
        with pytest.raises(FeedError, match="REST Trades: the answer about BTC/USD has no trades as Kraken documents"):
            await rest(answer).trades(PAIR, 0)

    run(test())


def test_trouble_is_waited_for_and_ends() -> None:
    """What may pass is asked for again, a few times; what lasts is not."""

    async def test() -> None:
        passing, lasting = RestError("busy", lasting=False), RestError("no", lasting=True)
        passed = rest(passing, passing, {})
        assert await passed.pairs() == {}
        assert passed.requests == 3
        stuck = rest(passing)
        with pytest.raises(RestError, match="busy"):
            await stuck.pairs()
        assert stuck.requests == TRIES
        nowhere = RestError("no such name", lasting=False, unresolved=True)
        wrong = rest(nowhere)
        with pytest.raises(RestError, match="no such name"):
            await wrong.pairs()
        assert wrong.requests == 1
        # The network was there, and is lost for a moment.
        lost = rest({}, nowhere, nowhere, {})
        assert (await lost.pairs(), await lost.pairs()) == ({}, {})
        assert lost.requests == 4
        told: list[str] = []
        patient = Rest("http://127.0.0.1:1", pace=0, public=Answers(nowhere, {}), patient=True, log=told.append)
        assert await patient.pairs() == {}
        assert told == [f"no such name; asked again in 0 s (attempt 2 of {TRIES})"]
        refused = rest(lasting)
        with pytest.raises(RestError, match="no"):
            await refused.pairs()
        assert refused.requests == 1

    run(test())
