"""The commands on queues say what the calls of a lake return."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import fills
from fills import SYMBOL, Step, time
from krakpot import Lake
from krakpot.cli.main import main

OPENING = (
    ("add", "buy", 1, 100, 5), ("add", "buy", 2, 100, 3), ("add", "buy", 3, 99, 9), ("add", "sell", 4, 101, 4),
)  # fmt: skip
SWEPT = (("delete", "buy", 1, 100, 4), ("delete", "buy", 2, 100, 3), ("modify", "buy", 3, 99, 3))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An order of 5 loses 1 to a trade; then all at 100 and some at 99 is sold."""
    steps = [
        Step(1, OPENING),
        Step(10, (("modify", "buy", 1, 100, 4),), (("sell", 100, 1),)),
        Step(20, SWEPT, (("sell", 100, 4), ("sell", 100, 3), ("sell", 99, 6))),
        Step(1000, (("add", "buy", 5, 50, 1),), (("buy", 500, 1),)),
    ]
    return fills.make(tmp_path, steps)


def run(*line: str) -> Result:
    """Run a command line."""
    return CliRunner().invoke(main, line)


def test_order(lake: Lake) -> None:
    """Its place over time, and what of it traded."""
    life = lake.order(fills.name(1))
    line = ("order", str(lake.path), fills.name(1))
    said = run(*line)
    assert (said.exit_code, said.stdout.splitlines()) == (0, life.lines()), said.output
    assert said.stdout.splitlines()[0] == f"{fills.name(1)}, bid of {SYMBOL}: deleted; 5 traded, 0 unattributed"
    facts = json.loads(run(*line, "--symbols", SYMBOL, "--start", "2026-08-02", "--json").stdout)
    assert facts == life.to_dict()
    assert (facts["traded"], facts["path"][1]["behind"], facts["rows"][1]["lost"]) == ("5", "3", "1")
    assert facts["path"][2]["ts_recv"] == "2026-08-02T03:35:50.020000000Z"


def test_orders_of_a_book(lake: Lake) -> None:
    """Every order of the best levels; exit 1 where there is no book."""
    line = ("book", str(lake.path), "--symbols", SYMBOL, "--depth", "1", "--orders", "--at")
    found = lake.orders_at(SYMBOL, time(10), depth=1)
    said = run(*line, "2026-08-02T03:35:50.010")
    assert (said.exit_code, said.stdout.splitlines()) == (0, found.lines()), said.output
    assert said.stdout.splitlines()[3].split() == ["bid", "100", "1", "3", "4", "0.009s", fills.name(2)]
    facts = json.loads(run(*line, "2026-08-02T03:35:50.010", "--json").stdout)
    assert facts == found.to_dict()
    assert [(one["order_id"], one["ahead"], one["age"]) for one in facts["bids"]] == [
        (fills.name(1), "0", 0.009), (fills.name(2), "4", 0.009),
    ]  # fmt: skip
    none = run(*line, "2020-01-01")
    assert (none.exit_code, "no book was known yet" in none.stdout) == (1, True)


def test_would_fill(lake: Lake) -> None:
    """The answer and its evidence; exit 1 where it is not known."""
    line = ("would-fill", str(lake.path), SYMBOL, "buy", "100", "2", "2026-08-02T03:35:50.006")
    until = ("--until", "2026-08-02T03:35:50.900")
    found = lake.would_fill(SYMBOL, "buy", 100, 2, time(6), time(900))
    said = run(*line, *until)
    assert (said.exit_code, said.stdout.splitlines()) == (0, found.lines()), said.output
    assert said.stdout.splitlines()[1:4] == [
        "filled", "2 of 2 up to 2026-08-02T03:35:50.900000000Z", "8 was before it in the queue when it was placed",
    ]  # fmt: skip
    facts = json.loads(run(*line, *until, "--json").stdout)
    assert facts == found.to_dict()
    assert (facts["outcome"], facts["filled"], facts["fills"][0]["evidence"]) == ("filled", "2", "through")
    assert [trade["qty"] for trade in facts["trades"]] == ["1", "4", "3", "6"]
    by_book = run(*line, *until, "--channel", "book")
    assert (by_book.exit_code, ", on book" in by_book.stdout) == (0, True)
    late = run(*line[:-1], "2027-01-01")
    assert (late.exit_code, "not recorded: the recording had ended" in late.stdout) == (1, True)
