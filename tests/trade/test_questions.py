"""Many orders at once: each answer is what a run on paper with that order alone comes to, whatever else is asked."""

from __future__ import annotations

from random import Random
from typing import Any

import polars as pl
import pytest

import fills
import krakpot
from fills import SYMBOL, Event, Print, Step, time
from krakpot.errors import ConfigError
from krakpot.trade.questions import SCHEMA
from traded import BOOK

END = 3000
"""The last message of a market, ms."""


def market(random: Random) -> list[Step]:
    """Some orders and takers; a gap, and a snapshot after it."""
    steps = [Step(2, BOOK)]
    held = {order: (side, price, qty) for _, side, order, price, qty, *_ in BOOK}
    number = 10
    for turn in range(120):
        at = 10 + 20 * turn
        events: list[Event] = []
        prints: list[Print] = []
        kind = random.choice(["add", "add", "cancel", "take", "take"])
        if kind == "add":
            number += 1
            side = random.choice(["buy", "sell"])
            price = random.randint(97, 100) if side == "buy" else random.randint(101, 104)
            held[number] = (side, price, random.randint(1, 6))
            events.append(("add", side, number, *held[number][1:]))
        elif kind == "cancel" and len(held) > 4:
            order = random.choice(sorted(held))
            events.append(("delete", held[order][0], order, *held.pop(order)[1:]))
        else:
            side = random.choice(["buy", "sell"])
            queue = sorted(
                (price if side == "sell" else -price, order) for order, (of, price, _) in held.items() if of == side
            )
            left = random.randint(1, 12)
            for _, order in queue[:-1]:
                _, price, qty = held[order]
                hit = min(left, qty)
                left -= hit
                if not hit:
                    break
                prints.append(("sell" if side == "buy" else "buy", price, hit))
                if hit == qty:
                    del held[order]
                    events.append(("delete", side, order, price, qty))
                else:
                    held[order] = (side, price, qty - hit)
                    events.append(("modify", side, order, price, qty - hit))
        if turn == 60:
            steps.append(Step(at, (("add", "buy", 9000, 96, 1),), lost=True))
            held[9000] = ("buy", 96, 1)
            continue
        if turn == 62:
            events = [("add", of, order, price, qty) for order, (of, price, qty) in held.items()]
            steps.append(Step(at, tuple(events), snapshot=True))
            continue
        if events or prints:
            steps.append(Step(at, tuple(events), tuple(prints)))
    steps.append(Step(END, (("add", "buy", 9999, 50, 1),), (("buy", 500, 1),)))
    return steps


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> krakpot.Lake:
    """A market with a gap."""
    return fills.make(tmp_path_factory.mktemp("questions") / "lake", market(Random(7)))


def questions(random: Random, count: int) -> pl.DataFrame:
    """Random orders; many at one price and time."""
    rows = []
    for _ in range(count):
        side = random.choice(["buy", "sell"])
        at = 12 + 20 * random.randrange(115) + random.choice([0, 0, 3])
        rows.append(
            (SYMBOL, side, random.randint(98, 103), random.randint(1, 12), time(at), time(at + random.randint(1, 900)))
        )
    return pl.DataFrame(rows, ["symbol", "side", "price", "qty", "at", "until"], orient="row")


class One:
    """Sends one order at its time, which the exchange takes back at another."""

    def __init__(self, row: dict[str, Any]) -> None:
        """See ``questions``."""
        self.row = row

    def start(self, m: krakpot.Market) -> None:
        m.after(f"{self.row['at'] - m.now}ns")

    def timer(self, m: krakpot.Market, e: object) -> None:
        row = self.row
        m.send(row["side"], row["symbol"], row["qty"], row["price"], tif="gtd", expire=row["until"], deadline="60s")


def test_an_answer_is_that_of_a_run_with_this_order_alone(lake: krakpot.Lake) -> None:
    """No latency of the order; answers so late that its instant is known before. Fills, evidence, trades, doubt."""
    asked = questions(Random(3), 300)
    answers = lake.would_fill(asked)
    assert answers.columns == [*asked.columns, *(name for name in SCHEMA)]
    assert answers.select(asked.columns).equals(asked)
    paper = krakpot.Paper({"USD": 10**9, "BTC": 10**6}, fees=("0", "0"), latency=krakpot.Latency(0, "20ms"))
    sample = asked.with_row_index().to_dicts()
    results = krakpot.run_many(
        {str(row["index"]): One(row) for row in sample}, krakpot.Replay(lake, [SYMBOL]), paper, wake=None
    )
    seen: set[str] = set()
    for row, found in zip(sample, answers.iter_rows(named=True), strict=True):
        rows = results[str(row["index"])].fills.to_dicts()
        kinds = list(dict.fromkeys(one["evidence"] for one in rows))
        assert found["evidence"] == ("+".join(kinds) if kinds else None), (row, found, rows)
        assert found["filled_max"] == sum(one["qty"] for one in rows)
        assert found["filled"] == sum(one["qty"] for one in rows if not one["doubt"])
        assert (found["first_fill"], found["last_fill"]) == ((rows[0]["ts"], rows[-1]["ts"]) if rows else (None, None))
        assert found["trade_id"] == next((one["trade_id"] for one in rows if one["trade_id"] is not None), None)
        seen |= {found["outcome"], *kinds}
    assert seen >= {
        "filled", "partly filled", "not filled", "unknown", "not recorded", "queue", "beyond", "through", "taken",
    }  # fmt: skip


def test_an_answer_does_not_depend_on_what_else_is_asked(lake: krakpot.Lake) -> None:
    """One order at a time, half of them, in another order, by level 3 and by the book."""
    asked = questions(Random(4), 60).with_row_index("tag")
    for channel in ("level3", "book"):
        whole = lake.would_fill(asked, channel=channel)
        half = lake.would_fill(asked.reverse()[::2], channel=channel)
        assert half.equals(whole.reverse()[::2])
        for row in asked.drop("tag").to_dicts()[:8]:
            one = lake.would_fill(*row.values(), channel=channel)
            found = whole.filter(**row).row(0, named=True)
            assert (one.outcome, one.filled, one.filled_max) == (found["outcome"], found["filled"], found["filled_max"])
            assert one.fills["qty"].sum() == found["filled_max"]
    exact = lake.would_fill(asked, channel="level3")
    bounds = lake.would_fill(asked, channel="book")
    both = exact.filter(pl.col("gaps") == 0)
    other = bounds.filter(pl.col("tag").is_in(both["tag"].implode()))
    assert ((other["filled"] <= both["filled_max"]) & (both["filled"] <= other["filled_max"])).all()


def test_numbers_and_times_come_as_notebooks_have_them(lake: krakpot.Lake) -> None:
    """Text, floats, decimals, whole numbers; datetimes or nanoseconds; pandas and PyArrow; no until is the end."""
    at = pl.Series([time(35), time(35)]).cast(pl.Datetime("ns", "UTC"))
    base = pl.DataFrame({"symbol": [SYMBOL] * 2, "side": ["buy", "sell"], "price": [100, 101], "qty": [1, 2], "at": at})
    expected = lake.would_fill(base).select(list(SCHEMA))
    assert expected["reason"].null_count() + expected.filter(reason="gap").height == 2
    for other in (
        base.with_columns(pl.col("price", "qty").cast(pl.Float64)),
        base.with_columns(pl.col("price", "qty").cast(pl.String) + ".0"),
        base.with_columns(pl.col("price", "qty").cast(pl.Decimal(20, 3))),
        base.with_columns(pl.col("at").to_physical(), until=pl.lit(None, dtype=pl.Int64)),
        base.to_pandas(),
        base.to_arrow(),
        base.to_dict(as_series=False),
    ):
        assert lake.would_fill(other).select(list(SCHEMA)).equals(expected)
    assert lake.would_fill(base[:0]).columns == [*base.columns, *SCHEMA]


def test_a_time_outside_of_the_recording_is_not_recorded(lake: krakpot.Lake) -> None:
    """Before, after, and in the gap; what ends after the recording is not known."""
    base = questions(Random(1), 1).drop("until")
    times = [time(-10_000), time(1240), time(END + 10_000), time(1300)]
    asked = pl.concat([base.with_columns(at=pl.lit(at), until=pl.lit(at + 10**12)) for at in times])
    found = lake.would_fill(asked.with_columns(side=pl.lit("buy"), price=pl.lit(60)))
    assert found["outcome"].to_list() == ["not recorded", "not recorded", "not recorded", "unknown"]
    assert found["reason"].to_list() == [None, None, None, "ended"]
    assert found["filled_max"].to_list() == [0, 0, 0, 0]
    assert found["known_until"].null_count() == 3


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"side": "bid"}, "would_fill: side: row 1: 'bid' is not allowed; allowed is buy or sell"),
        ({"symbol": "BTC/USB"}, "would_fill: symbol: row 1: 'BTC/USB' is not allowed; did you mean BTC/USD?"),
        (
            {"price": "0"},
            "would_fill: price: row 1: '0' is not allowed; allowed is a number above 0 with at most 1 dec",
        ),
        ({"price": "100.05"}, "would_fill: price: row 1: '100.05' is not allowed; allowed is a number above 0 with at"),
        ({"qty": "much"}, "would_fill: qty: row 1: 'much' is not allowed; allowed is a number above 0 with at most 8"),
        ({"qty": None}, "would_fill: qty: row 1: a value is missing; every order needs one"),
        ({"at": "soon"}, "would_fill: at: row 1: 'soon' is not a time"),
        ({"until": "2001-01-01"}, "would_fill: at: row 1: .* is not allowed; until is earlier; exchange the two"),
        (
            {"colour": "red"},
            "would_fill: the column colour is not known; columns are symbol, side, price, qty, at, until",
        ),
    ],
)
def test_what_cannot_be_asked(lake: krakpot.Lake, change: dict[str, Any], sentence: str) -> None:
    """The sentence names column, row and what is allowed, before anything is played."""
    row = {"symbol": SYMBOL, "side": "buy", "price": "100", "qty": "1", "at": "2026-08-02T03:35:51", "until": None}
    with pytest.raises(ConfigError, match=sentence):
        lake.would_fill(pl.DataFrame([row, row | change], infer_schema_length=None))


def test_floats_that_are_no_numbers_of_the_pair(lake: krakpot.Lake) -> None:
    """100.05 has a decimal too many; 0.1 + 0.2 is no number of eight decimals but for its last bit."""
    base = questions(Random(1), 1)
    with pytest.raises(ConfigError, match="price: row 0: 100.05 is not allowed"):
        lake.would_fill(base.with_columns(price=pl.lit(100.05)))
    with pytest.raises(ConfigError, match="price: row 0: nan is not allowed"):
        lake.would_fill(base.with_columns(price=pl.lit(float("nan"))))
    assert lake.would_fill(base.with_columns(price=pl.lit(100.1), qty=pl.lit(0.00000003))).height == 1


def test_other_things_than_a_table(lake: krakpot.Lake) -> None:
    """A missing column, a thing that is no table, another channel."""
    with pytest.raises(ConfigError, match="would_fill: the column qty is missing; needed are symbol, side, price"):
        lake.would_fill(questions(Random(1), 1).drop("qty"))
    with pytest.raises(ConfigError, match="would_fill: 5 is not allowed; allowed is the name of a pair, or a table"):
        lake.would_fill(5)
    with pytest.raises(ConfigError, match="channel='trade' is not allowed; allowed is level3 or book"):
        lake.would_fill(questions(Random(1), 1), channel="trade")  # type: ignore[call-overload]  # what is refused
    with pytest.raises(ConfigError, match="at is missing"):
        lake.would_fill(SYMBOL, "buy", 1, 1, None)  # type: ignore[call-overload]  # what is refused
