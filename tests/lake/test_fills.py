"""Would it have filled: cases worked out by hand, and random markets against a model that keeps lists."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fills
from fills import SYMBOL, Event, Print, Step, time
from krakpot import Lake, WouldFill
from krakpot.errors import ConfigError
from krakpot.lake.fills import trades_known

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
    return lake.would_fill(SYMBOL, **(asked | {"until": time(until)} | options))


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


def test_more_was_traded_than_shown(tmp_path: Path) -> None:
    """8 stood before us and 9 traded: the rest stood behind them by time."""
    gone = (("delete", "buy", 1, 100, 5), ("delete", "buy", 2, 100, 3))
    lake = case(tmp_path, Step(20, gone, (("sell", 100, 9),)))
    assert told(ask(lake)) == ("partly filled", 1, [(20, "beyond", 1)])


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


def test_an_order_that_would_have_taken(tmp_path: Path) -> None:
    """At once, what it would have met at each price; also what came in the same microsecond."""
    lake = case(tmp_path, Step(3, (("delete", "sell", 4, 101, 4),)), Step(6, (("add", "sell", 8, 101, 1),)))
    for channel in ("level3", "book"):
        found = ask(lake, price=102, qty=6, channel=channel)
        assert facts(found, "outcome", "filled", "filled_max") == ("would have taken", 0, 0)
        assert found.fills.select("evidence", "price", "qty").rows() == [("taken", 101, 1), ("taken", 102, 5)]
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


def test_an_order_that_loses_its_place_by_a_modify(tmp_path: Path) -> None:
    """By the rule that a modify takes the time it carries, which the checksum tells: then it stands behind ours."""
    lake = case(
        tmp_path,
        Step(10, (("modify", "buy", 1, 100, 4, 10),)),
        Step(20, (("delete", "buy", 2, 100, 3),), (("sell", 100, 3),)),
        Step(25, (("modify", "buy", 1, 100, 3, 10),), (("sell", 100, 1),)),
        rule="take_timestamp",
    )
    found = ask(lake)
    assert told(found) == ("partly filled", 1, [(25, "queue", 1)])
    changes = found.orders.filter(pl.col("what") == "modify").select("before", "qty", pl.col("ts_order").to_physical())
    assert changes.rows() == [(5, 4, time(10)), (4, 3, time(10))]


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
        assert facts(found, "outcome", "filled", "filled_max") == ("unknown", 1, 3)
    # It was shown when ours came: 2 stood before it, and a better price moved it out of the window.
    opening = Step(1, (*bids[:9], ("add", "buy", 91, 91, 2), ("add", "sell", 4, 105, 4)))
    out = Step(10, (("add", "buy", 101, 101, 1),))
    prints = (("sell", 101, 1), *(("sell", 100 - n, 1) for n in range(9)), ("sell", 91, 5))
    gone = (("delete", "buy", 101, 101, 1), *swept[:9], rest)
    lake = fills.make(tmp_path / "once", [opening, out, Step(20, gone, prints), last])
    found = ask(lake, price=91, qty=4)
    assert found.orders["what"].to_list() == ["shown", "there", "left", "hidden", "shown"]
    assert facts(found, "outcome", "filled", "filled_max") == ("unknown", 3, 4)
    assert ask(lake, price=91, qty=3).outcome == "filled"
    by_book = ask(lake, price=91, qty=4, channel="book")
    assert facts(by_book, "filled", "filled_max") == (3, 4)


def test_a_gap_ends_what_is_known(tmp_path: Path) -> None:
    """A message is lost: what filled before counts, the rest is unknown; a filled order stays filled."""
    steps = (
        Step(10, (("delete", "buy", 1, 100, 5),)),
        Step(20, (("delete", "buy", 2, 100, 3),), (("sell", 100, 4),)),
        Step(30, (("add", "buy", 6, 98, 1),), lost=True),
        Step(40, (("add", "buy", 7, 98, 1),)),
        Step(50, (("add", "buy", 8, 99, 1), ("add", "sell", 4, 101, 4)), snapshot=True),
        Step(60, (), (("sell", 100, 9),)),
    )
    lake = case(tmp_path, *steps)
    found = ask(lake, channel="level3")
    assert facts(found, "outcome", "reason", "filled") == ("unknown", "mismatch", 1)
    assert time(20) <= found.until < time(40)
    assert "the ledger says mismatch" in found.lines()[1]
    assert ask(lake, qty=1).outcome == "filled"
    assert ask(lake, until=20).outcome == "partly filled"
    ended = lake.would_fill(SYMBOL, "buy", 100, 2, time(6))
    assert facts(ended, "outcome", "reason", "filled") == ("partly filled", "mismatch", 1), "as long as it is known"
    inside = ask(lake, at=time(45))
    assert facts(inside, "outcome", "reason", "filled") == ("unknown", "mismatch", 0)
    early = ask(lake, at="2001-01-01", until=900)
    assert early.reason == "absent"
    for known in (ask(lake), ask(lake, channel="book")):
        assert early.trades.schema == known.trades.schema, "the same columns outside of the recording"
        assert early.orders.schema == known.orders.schema
    assert early.orders.height == early.trades.height == 0


def test_trades_that_were_not_recorded(tmp_path: Path) -> None:
    """Without trades nothing is known but what would have been taken, or crossed by an order that came later."""
    lake = case(tmp_path, Step(20, (("delete", "buy", 1, 100, 5), ("delete", "buy", 2, 100, 3))), trades=False)
    found = ask(lake)
    assert facts(found, "outcome", "reason", "filled") == ("unknown", "trades", 0)
    assert ask(lake, price=101).outcome == "would have taken"
    assert "trades were not recorded" in found.lines()[1]


def test_which_trades_are_known() -> None:
    """Recorded spans, trades whose ids follow each other over a gap of them, and ids that are missing."""

    def known(rows: list[tuple[int, int]], spans: list[tuple[int, int]]) -> int:
        frame = pl.DataFrame(rows, schema={"ts_event": pl.Int64, "trade_id": pl.Int64}, orient="row")
        return trades_known(frame.with_columns(pl.col("ts_event").cast(pl.Datetime("ns", "UTC"))), spans, 100, 200)

    assert known([], []) == 99
    assert known([], [(50, 150)]) == 150
    assert known([], [(50, 120), (121, 300)]) == 200
    assert known([(110, 7), (180, 8)], [(50, 120), (170, 300)]) == 200, "nothing was traded in the gap"
    assert known([(110, 7), (180, 9)], [(50, 300)]) == 109, "8 was, at a time from 110 on"
    assert known([(90, 7), (180, 9)], [(50, 300)]) == 99
    assert known([(90, 7), (100, 9)], [(50, 300)]) == 200, "before the period"
    assert known([(110, 9), (150, 3)], [(50, 300)]) == 200, "ids began anew"
    assert known([(60, 7), (130, 8)], []) == 130


def test_trades_that_do_not_fit_the_orders_are_not_believed(tmp_path: Path) -> None:
    """A trade of 9 at our price, and those before us are still there: it may have been hidden, or at another time."""
    lake = case(tmp_path, Step(20, (), (("sell", 100, 9),)))
    found = ask(lake)
    assert facts(found, "outcome", "reason", "filled", "filled_max") == ("unknown", "unmatched", 0, 2)
    assert found.fills.select("evidence", "qty", "qty_max").rows() == [("beyond", 0, 2)]
    assert (found.first_fill, "0 to 2 of 2" in found.lines()[2]) == (None, True)


def test_the_channel_is_level3_where_it_is_known(tmp_path: Path) -> None:
    """Else the book; without both, the reason is that of the book."""
    lake = case(tmp_path / "both")
    assert lake.would_fill(SYMBOL, "sell", 101, "0.5", time(6), time(900)).channel == "level3"
    lake = case(tmp_path / "level3", book=False)
    assert lake.would_fill(SYMBOL, "sell", 101, "0.5", time(6), time(900)).channel == "level3"
    before = lake.would_fill(SYMBOL, "sell", 101, "0.5", "2001-01-01")
    assert facts(before, "channel", "outcome", "reason") == ("book", "unknown", "absent")


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
        ({"price": "100.05"}, "price=100.05 has more decimals than BTC/USD has there: 1"),
        ({"qty": "0.000000001"}, "more decimals than BTC/USD has there: 8"),
        ({"channel": "trade"}, "'book', 'level3'"),
        ({"at": "soon"}, "at: 'soon' is not a time"),
        ({"at": time(901)}, "until is earlier than at"),
    ):
        with pytest.raises(ConfigError, match=words):
            ask(lake, **options)
    with pytest.raises(ConfigError, match="no symbol 'BTC/EUR'"):
        lake.would_fill("BTC/EUR", "buy", 1, 1, "2026-08-02")


# Random markets.


@dataclass
class Market:
    """A matching engine that keeps lists, without our order."""

    queues: dict[tuple[str, int], list[list[int]]] = field(default_factory=dict)
    """By side and price: id and quantity, in the order of the queue."""
    number: int = 0

    def prices(self, side: str) -> list[int]:
        """Prices of a side, best first."""
        return sorted((price for (one, price), queue in self.queues.items() if one == side and queue),
                      reverse=side == "buy")  # fmt: skip

    def add(self, side: str, price: int, qty: int) -> list[Event]:
        """A new order, where it does not meet the other side."""
        other = self.prices("sell" if side == "buy" else "buy")
        if other and (price >= other[0] if side == "buy" else price <= other[0]):
            return []
        self.number += 1
        self.queues.setdefault((side, price), []).append([self.number, qty])
        return [("add", side, self.number, price, qty)]

    def cancel(self, at: int) -> list[Event]:
        """An order goes; the last one of a side stays."""
        held = [(side, price, one) for (side, price), queue in sorted(self.queues.items()) for one in queue]
        side, price, one = held[at % len(held)]
        if sum(other == side for other, _, _ in held) == 1:
            return []
        self.queues[side, price].remove(one)
        return [("delete", side, one[0], price, one[1])]

    def take(self, taker: str, qty: int) -> tuple[list[Event], list[Print]]:
        """A market order; the last level of a side is not touched."""
        side = "sell" if taker == "buy" else "buy"
        events: list[Event] = []
        prints: list[Print] = []
        for price in self.prices(side)[:-1]:
            queue = self.queues[side, price]
            while queue and qty:
                one = queue[0]
                hit = min(qty, one[1])
                qty -= hit
                one[1] -= hit
                prints.append((taker, price, hit))
                if one[1]:
                    events.append(("modify", side, one[0], price, one[1]))
                else:
                    events.append(("delete", side, one[0], price, hit))
                    queue.pop(0)
        return events, prints


def expected(steps: list[Step], side: str, price: int, qty: int, at: int, until: int) -> tuple[int, int] | None:
    """Certain and largest quantity of our order, in lists; None: it would have taken."""
    other = {"buy": "sell", "sell": "buy"}[side]
    held: list[tuple[str, int, int, int]] = []  # side, order, price, quantity, in the order of arrival
    ours: int | None = None  # how many of them at our price came before us
    first: set[int] = set()
    filled = [0, 0]

    def better(one: int, two: int) -> bool:
        return one > two if side == "buy" else one < two

    for step in steps:
        if step.t > at and ours is None:
            if any(one == other and not better(where, price) for one, _, where, _ in held):
                return None
            first = {order for one, order, where, _ in held if (one, where) == (side, price)}
            ours = len(first)
        if step.t > until:
            break
        resting = ours is not None
        lost = {True: 0, False: 0}
        for what, _, order, where, left, *_ in step.events:
            old = next((one for one in held if one[1] == order), None)
            if old is not None:
                if (old[0], where) == (side, price):
                    lost[order in first] += old[3] - (0 if what == "delete" else left)
                held = [(*one[:3], left) if one is old else one for one in held if one is not old or what != "delete"]
        for what, one, order, where, left, *_ in step.events:
            if what == "add":
                held.append((one, order, where, left))
        before = sum(left for one, order, where, left in held if (one, where) == (side, price) and order in first)
        hits = [(where, left) for taker, where, left in step.prints if taker == other and not better(where, price)]
        traded = sum(left for where, left in hits if where == price)
        reach = max(traded - lost[True], 0) + sum(left for where, left in hits if where != price)
        if resting:
            crossed = sum(left for what, one, _, where, left, *_ in step.events
                          if what == "add" and one == other and not better(where, price))  # fmt: skip
            filled[0] = min(qty, filled[0] + (reach if before == 0 else 0) + crossed)
            filled[1] = min(qty, filled[1] + reach + crossed)
    return filled[0], filled[1]


@st.composite
def markets(draw: st.DrawFn, *, fitting: bool) -> list[Step]:
    """A random market; not ``fitting``: with trades that no order shows."""
    market = Market()
    opening = [event for n in range(3) for event in market.add("buy", 100 - n, draw(st.integers(1, 6)))]
    opening += [event for n in range(3) for event in market.add("sell", 101 + n, draw(st.integers(1, 6)))]
    steps = [Step(2, tuple(opening))]
    side, small = st.sampled_from(["buy", "sell"]), st.integers(1, 6)
    for n in range(draw(st.integers(5, 40))):
        kind = draw(st.sampled_from(["add", "add", "cancel", "take", "take"] + ["print"] * (not fitting)))
        events: list[Event] = []
        prints: list[Print] = []
        if kind == "add":
            one = draw(side)
            price = draw(st.integers(98, 101)) if one == "buy" else draw(st.integers(100, 103))
            events = market.add(one, price, draw(small))
        elif kind == "cancel":
            events = market.cancel(draw(st.integers(0, 30)))
        elif kind == "take":
            events, prints = market.take(draw(side), draw(st.integers(1, 12)))
        else:
            prints = [(draw(side), draw(st.integers(99, 102)), draw(small))]
        if events or prints:
            steps.append(Step(4 + 2 * n, tuple(events), tuple(prints)))
    return steps


@pytest.mark.slow
@settings(max_examples=40)
@given(data=st.data(), fitting=st.booleans())
def test_random_markets(data: st.DataObject, *, fitting: bool) -> None:
    """Level 3 as the model of lists; level 2 has it between its bounds."""
    steps = data.draw(markets(fitting=fitting))
    last = steps[-1].t + 10
    whole = [*steps, Step(last, (("add", "buy", 999, 50, 1),), (("buy", 1, 1),))]
    asked = st.tuples(
        st.sampled_from(["buy", "sell"]), st.integers(99, 102), st.integers(1, 8), st.integers(2, last - 1)
    )
    with TemporaryDirectory() as folder:
        lake = fills.make(Path(folder), whole)
        for side, price, qty, at in data.draw(st.lists(asked, min_size=3, max_size=3)):
            until = data.draw(st.integers(at, last))
            found = lake.would_fill(SYMBOL, side, price, qty, time(at), time(until))  # type: ignore[arg-type]  # a side
            bounds = lake.would_fill(SYMBOL, side, price, qty, time(at), time(until), channel="book")  # type: ignore[arg-type]  # a side
            model = expected(whole, side, price, qty, at, until)
            if model is None:
                assert (found.outcome, bounds.outcome) == ("would have taken", "would have taken")
                continue
            assert facts(found, "filled", "filled_max") == model
            assert sum(found.fills["qty"], Decimal(0)) == found.filled
            assert sum(found.fills["qty_max"], Decimal(0)) == found.filled_max
            certain, most = model
            words = {qty: "filled", 0: "not filled"}
            assert found.outcome == (words.get(certain, "partly filled") if certain in (most, qty) else "unknown")
            if fitting:
                assert certain == most, "a market that keeps the order of its queues leaves no doubt"
                assert bounds.filled <= certain <= bounds.filled_max
