"""Would it have filled: cases of one order, worked out by hand; tests/trade/test_questions.py has those of many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

import fills
from fills import SYMBOL, Event, Step, time
from krakpot import Lake, WouldFill
from krakpot.errors import ConfigError

BOOK: tuple[Event, ...] = (
    ("add", "buy", 1, 100, 5), ("add", "buy", 2, 100, 3), ("add", "buy", 3, 99, 9),
    ("add", "sell", 4, 101, 4), ("add", "sell", 5, 102, 9),
)  # fmt: skip
END = 1000
"""The last message of a case, ms."""


def case(path: Path, *steps: Step, **options: Any) -> Lake:
    """A lake that begins with ``BOOK`` and ends with messages at ``END``."""
    last = Step(END, (("add", "buy", 99, 50, 1),), (("buy", 500, 1),))
    return fills.make(path, [Step(1, BOOK), *steps, last], **options)


def ask(lake: Lake, *, until: float = 900, **options: Any) -> WouldFill:
    """Buy 2 at 100 at 6 ms, unless said otherwise."""
    asked: dict[str, Any] = {"side": "buy", "price": 100, "qty": 2, "at": time(6), "channel": "level3"}
    found: WouldFill = lake.would_fill(SYMBOL, **(asked | {"until": time(until)} | options))
    return found


def told(found: WouldFill) -> tuple[str, int, list[tuple[float, str, int]]]:
    """Outcome, certain quantity, and time (ms), evidence and quantity of each fill."""
    rows = found.fills.with_columns(pl.col("ts").to_physical()).iter_rows(named=True)
    return found.outcome, int(found.filled), [((r["ts"] - time(0)) / fills.MS, r["evidence"], r["qty"]) for r in rows]


def facts(found: WouldFill, *names: str) -> tuple[Any, ...]:
    """Several facts of an answer."""
    return tuple(getattr(found, name) for name in names)


def test_only_what_leaves_before_it_brings_an_order_forward(tmp_path: Path) -> None:
    """Two cancel before ours and behind it; of 4 traded, 3 are those before us and 1 is ours."""
    lake = case(
        tmp_path,
        Step(8, (("add", "buy", 6, 100, 6),)),
        Step(9, (("add", "buy", 7, 100, 4),)),
        Step(10, (("delete", "buy", 1, 100, 5),)),
        Step(12, (("delete", "buy", 6, 100, 6),)),
        Step(20, (("delete", "buy", 2, 100, 3), ("modify", "buy", 7, 100, 3)), (("sell", 100, 4),)),
    )
    found = ask(lake)
    assert told(found) == ("partly filled", 1, [(20, "queue", 1)])
    assert facts(found, "first_fill", "last_fill", "filled_max") == (time(20), time(20), 1)
    assert facts(found, "ahead", "reason", "until") == (8, None, time(900))
    assert found.trades.select("side", "price", "qty").rows() == [("sell", 100, 4)]
    changes = found.orders.filter(pl.col("order_id").is_not_null()).select("what", "order_id", "before", "qty").rows()
    assert changes == [
        ("there", fills.name(1), 0, 5), ("there", fills.name(2), 0, 3), ("add", fills.name(6), 0, 6),
        ("add", fills.name(7), 0, 4), ("delete", fills.name(1), 5, 0), ("delete", fills.name(6), 6, 0),
        ("delete", fills.name(2), 3, 0), ("modify", fills.name(7), 4, 3),
    ]  # fmt: skip
    # Level 2 sees the same sums whatever canceled.
    by_book = ask(lake, channel="book")
    assert facts(by_book, "outcome", "reason", "filled", "filled_max") == ("unknown", "bounds", 0, 2)
    assert ask(lake, until=19.999).outcome == "not filled"
    assert ask(lake, until=20).filled == 1


@pytest.mark.parametrize(("canceled", "fill"), [(1, 1), (6, 0)])
def test_level2_cannot_tell_who_canceled(canceled: int, fill: int, tmp_path: Path) -> None:
    """5 of 13 leave before us, or behind us: the sums are the same, and the answer is not."""
    left = (
        (("delete", "buy", 2, 100, 3), ("modify", "buy", 6, 100, 4))
        if canceled == 1
        else (("modify", "buy", 1, 100, 1),)
    )
    lake = case(
        tmp_path,
        Step(8, (("add", "buy", 6, 100, 5),)),
        Step(10, (("delete", "buy", canceled, 100, 5),)),
        Step(20, left, (("sell", 100, 4),)),
    )
    found = ask(lake)
    assert facts(found, "filled", "filled_max") == (fill, fill)
    by_book = ask(lake, channel="book")
    assert facts(by_book, "filled", "filled_max", "reason") == (0, 1, "bounds")


def test_evidence_is_a_quantity(tmp_path: Path) -> None:
    """An order behind us lost 1, so 1 was ours, not all of our 2."""
    behind = Step(8, (("add", "buy", 6, 100, 6),))
    gone = (("delete", "buy", 1, 100, 5), ("delete", "buy", 2, 100, 3), ("modify", "buy", 6, 100, 5))
    lake = case(tmp_path, behind, Step(20, gone, (("sell", 100, 9),)))
    assert told(ask(lake)) == ("partly filled", 1, [(20, "queue", 1)])
    assert told(ask(lake, channel="book"))[:2] == ("partly filled", 1), "no cancel, so both bounds agree"
    assert ask(lake).fills.select("price", "trade_id", "doubt").rows() == [(100, 1, False)]


def test_more_was_traded_than_shown(tmp_path: Path) -> None:
    """8 stood before us and 9 traded: what was not shown may have been a hidden part before us."""
    gone = (("delete", "buy", 1, 100, 5), ("delete", "buy", 2, 100, 3))
    lake = case(tmp_path, Step(20, gone, (("sell", 100, 9),)))
    found = ask(lake)
    assert told(found) == ("unknown", 0, [(20, "beyond", 1)])
    assert facts(found, "reason", "filled_max") == ("unmatched", 1)
    assert found.fills["doubt"].to_list() == [True]
    assert "beyond, in doubt" in found.lines()[-1]


def test_a_trade_through_the_price_fills_all_of_it(tmp_path: Path) -> None:
    """The sweep went on to 99: there it would have met our rest first."""
    gone = (("delete", "buy", 1, 100, 5), ("delete", "buy", 2, 100, 3), ("modify", "buy", 3, 99, 3))
    lake = case(tmp_path, Step(20, gone, (("sell", 100, 8), ("sell", 99, 6))))
    for channel in ("level3", "book"):
        assert told(ask(lake, channel=channel)) == ("filled", 2, [(20, "through", 2)])
    assert ask(lake, qty=7).filled == 6


def test_an_order_that_could_not_rest_beside_ours(tmp_path: Path) -> None:
    """All before us cancel, then an ask of 1 comes to our price, and later one of 3: they would have met us."""
    lake = case(
        tmp_path,
        Step(10, (("delete", "buy", 1, 100, 5),)),
        Step(11, (("delete", "buy", 2, 100, 3),)),
        Step(20, (("add", "sell", 8, 100, 1),)),
        Step(21, (("delete", "sell", 8, 100, 1),)),
        Step(22, (("add", "sell", 9, 100, 3),)),
    )
    for channel in ("level3", "book"):
        found = ask(lake, channel=channel)
        assert told(found) == ("filled", 2, [(20, "crossed", 1), (22, "crossed", 1)])
        assert ask(lake, channel=channel, until=21).outcome == "partly filled"


def test_an_order_that_takes(tmp_path: Path) -> None:
    """At once, what it would have met at each price; also what came in the same microsecond."""
    lake = case(tmp_path, Step(3, (("delete", "sell", 4, 101, 4),)), Step(6, (("add", "sell", 8, 101, 1),)))
    for channel in ("level3", "book"):
        found = ask(lake, price=102, qty=6, channel=channel)
        assert facts(found, "outcome", "filled", "filled_max", "ahead") == ("filled", 6, 6, None)
        assert found.fills.select("evidence", "price", "qty").rows() == [("taken", 101, 1), ("taken", 102, 5)]
        rests = ask(lake, price=101, qty=3, channel=channel)
        assert told(rests) == ("partly filled", 1, [(6, "taken", 1)])
        assert rests.ahead == 0
        assert told(ask(lake, price=101, at=time(5), channel=channel)) == ("partly filled", 1, [(6, "crossed", 1)])


def test_a_refilled_iceberg_goes_behind_ours(tmp_path: Path) -> None:
    """The same id comes again with a new time."""
    again = (("delete", "buy", 1, 100, 5), ("delete", "buy", 2, 100, 3), ("add", "buy", 1, 100, 5))
    lake = case(
        tmp_path,
        Step(20, again, (("sell", 100, 8),)),
        Step(25, (("modify", "buy", 1, 100, 2),), (("sell", 100, 3),)),
    )
    assert told(ask(lake)) == ("filled", 2, [(25, "queue", 2)])


def test_orders_that_come_into_the_window_have_their_own_times(tmp_path: Path) -> None:
    """We bid at 90, beyond the ten levels shown; then the level comes: order 20 was there before us, 21 was not."""
    bids = tuple(("add", "buy", 100 - n, 100 - n, 1) for n in range(10))
    first = Step(1, (*bids, ("add", "sell", 4, 101, 4)))
    into = (("delete", "buy", 100, 100, 1), ("add", "buy", 20, 90, 3, 0), ("add", "buy", 21, 90, 4, 9))
    swept = tuple(("delete", "buy", 100 - n, 100 - n, 1) for n in range(1, 10))
    steps = [
        first,
        Step(15, into),
        Step(20, (*swept, ("delete", "buy", 20, 90, 3), ("modify", "buy", 21, 90, 2)), (("sell", 90, 5),)),
        Step(END, (("add", "buy", 99, 50, 1),), (("buy", 500, 1),)),
    ]
    lake = fills.make(tmp_path, steps)
    found = ask(lake, price=90, qty=3)
    assert (found.ahead, *told(found)) == (None, "partly filled", 2, [(20, "queue", 2)])
    assert found.orders["what"].to_list()[:2] == ["hidden", "add"]
    by_book = ask(lake, price=90, qty=3, channel="book")
    assert facts(by_book, "ahead", "filled", "filled_max") == (None, 0, 3), "3 to 7 may have stood before it"


def test_trades_at_a_price_that_is_not_shown(tmp_path: Path) -> None:
    """Orders outside of the window may have had them; what was traded through the price is ours in any case."""
    bids = tuple(("add", "buy", 100 - n, 100 - n, 1) for n in range(10))
    swept = tuple(("delete", "buy", 100 - n, 100 - n, 1) for n in range(10))
    rest: Event = ("add", "buy", 80, 80, 1, 0)
    prints = (*(("sell", 100 - n, 1) for n in range(10)), ("sell", 90, 5), ("sell", 89, 1))
    last = Step(END, (("add", "buy", 99, 50, 1),), (("buy", 500, 1),))
    first = Step(1, (*bids, ("add", "sell", 4, 101, 4)))
    lake = fills.make(tmp_path / "never", [first, Step(20, (*swept, rest), prints), last])
    for channel in ("level3", "book"):
        found = ask(lake, price=90, qty=3, channel=channel)
        assert facts(found, "outcome", "filled", "filled_max") == ("unknown", 1 if channel == "book" else 0, 3)
    # It was shown when ours came: 2 stood before it, and a better price moved it out of the window.
    opening = Step(1, (*bids[:9], ("add", "buy", 91, 91, 2), ("add", "sell", 4, 105, 4)))
    out = Step(10, (("add", "buy", 101, 101, 1),))
    prints = (("sell", 101, 1), *(("sell", 100 - n, 1) for n in range(9)), ("sell", 91, 5))
    gone = (("delete", "buy", 101, 101, 1), *swept[:9], rest)
    lake = fills.make(tmp_path / "once", [opening, out, Step(20, gone, prints), last])
    found = ask(lake, price=91, qty=4)
    assert found.orders["what"].to_list() == ["shown", "there", "left", "hidden", "shown"]
    assert facts(found, "outcome", "reason", "filled", "filled_max") == ("unknown", "unmatched", 0, 3)
    by_book = ask(lake, price=91, qty=4, channel="book")
    assert facts(by_book, "filled", "filled_max") == (4, 4), "level 2 says that the level is gone"


def test_a_gap_ends_what_is_known(tmp_path: Path) -> None:
    """A message is lost: what filled before counts, the rest is unknown; a filled order stays filled."""
    steps = (
        Step(8, (("add", "buy", 9, 100, 5),)),
        Step(10, (("delete", "buy", 1, 100, 5),)),
        Step(20, (("delete", "buy", 2, 100, 3), ("modify", "buy", 9, 100, 4)), (("sell", 100, 4),)),
        Step(30, (("add", "buy", 6, 98, 1),), lost=True),
        Step(40, (("add", "buy", 7, 98, 1),)),
        Step(50, (("add", "buy", 8, 99, 1), ("add", "sell", 4, 101, 4)), snapshot=True),
        Step(60, (), (("sell", 100, 9),)),
    )
    lake = case(tmp_path, *steps)
    found = ask(lake, channel="level3")
    assert facts(found, "outcome", "reason", "filled") == ("unknown", "mismatch", 1)
    assert (found.gaps, found.fills["doubt"].any()) == (1, True)
    assert "the ledger says mismatch" in found.lines()[1]
    assert ask(lake, qty=1).outcome == "filled"
    assert ask(lake, until=20).filled == 1
    ended = lake.would_fill(SYMBOL, "buy", 100, 2, time(6))
    assert facts(ended, "outcome", "reason", "filled") == ("unknown", "mismatch", 1), "it rested through the gap"
    inside = ask(lake, at=time(45))
    assert facts(inside, "outcome", "reason", "filled") == ("not recorded", "mismatch", 0)
    early = ask(lake, at="2001-01-01", until=900)
    assert facts(early, "outcome", "reason") == ("not recorded", "absent")
    for known in (ask(lake), ask(lake, channel="book")):
        assert early.trades.schema == known.trades.schema, "the same columns outside of the recording"
        assert early.orders.schema == known.orders.schema
    assert early.orders.height == early.trades.height == 0


def test_trades_that_were_not_recorded(tmp_path: Path) -> None:
    """Without trades nothing is known but what is taken, or crossed by an order that came later."""
    lake = case(tmp_path, Step(20, (("delete", "buy", 1, 100, 5), ("delete", "buy", 2, 100, 3))), trades=False)
    found = ask(lake)
    assert facts(found, "outcome", "reason", "filled") == ("unknown", "trades", 0)
    assert told(ask(lake, price=101)) == ("filled", 2, [(6, "taken", 2)])
    assert "trades were not recorded" in found.lines()[1]


def test_trades_that_do_not_fit_the_orders_are_not_believed(tmp_path: Path) -> None:
    """A trade of 9 at our price, and those before us are still there: it may have been hidden, or at another time."""
    lake = case(tmp_path, Step(20, (), (("sell", 100, 9),)))
    found = ask(lake)
    assert facts(found, "outcome", "reason", "filled", "filled_max") == ("unknown", "unmatched", 0, 2)
    assert found.fills.select("evidence", "qty", "doubt").rows() == [("beyond", 2, True)]
    assert "0 to 2 of 2" in found.lines()[2]


def test_the_channel_is_level3_where_it_is_known(tmp_path: Path) -> None:
    """Else the book; without both, the reason is that of the last one that was recorded."""
    lake = case(tmp_path / "both")
    assert lake.would_fill(SYMBOL, "sell", 101, "0.5", time(6), time(900)).channel == "level3"
    lake = case(tmp_path / "level3", book=False)
    assert lake.would_fill(SYMBOL, "sell", 101, "0.5", time(6), time(900)).channel == "level3"
    before = lake.would_fill(SYMBOL, "sell", 101, "0.5", "2001-01-01")
    assert facts(before, "channel", "outcome", "reason") == ("level3", "not recorded", "absent")


def test_what_cannot_be_asked_for(tmp_path: Path) -> None:
    """Each with a sentence that says what is allowed."""
    lake = case(tmp_path)
    for options, words in (
        ({"side": "bid"}, "'buy', 'sell'"),
        ({"price": 0}, "price=0 is not allowed; give a number above 0"),
        ({"price": "much"}, "price='much' is not allowed"),
        ({"qty": "NaN"}, "qty='NaN' is not allowed"),
        ({"qty": "1e-11"}, "at most 10 decimals"),
        ({"qty": True}, "qty=True"),
        ({"price": "100.05"}, "price: '100.05' is not allowed; .* with at most 1 decimals, as BTC/USD has them"),
        ({"qty": "0.000000001"}, "qty: '0.000000001' is not allowed; .* with at most 8 decimals"),
        ({"channel": "trade"}, "'book', 'level3'"),
        ({"at": "soon"}, "at: 'soon' is not a time"),
        ({"at": time(901)}, "until is earlier than at"),
    ):
        with pytest.raises(ConfigError, match=words):
            ask(lake, **options)
    with pytest.raises(ConfigError, match="no symbol 'BTC/EUR'"):
        lake.would_fill("BTC/EUR", "buy", 1, 1, "2026-08-02")
