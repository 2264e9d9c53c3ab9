"""The pairs of a recorded lake; from an exchange they are tested with the exchange."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from click.testing import CliRunner

import frames
import lakes
from krakpot import _core
from krakpot.cli import pairs as module
from krakpot.cli.main import main
from krakpot.cli.pairs import HEADS, pairs, table
from krakpot.errors import ConfigError, FeedError, NoLake
from krakpot.values import patterns, words


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pairs, one of which changed its precision while it was recorded."""
    path = tmp_path_factory.mktemp("pairs") / "lake"
    pair = frames.pair
    timed = [
        (frames.START, frames.instrument(pair("ETH/USD", price_precision=2), pair("BTC/USD"), pair("BTC/EUR"))),
        (
            frames.START + frames.SECOND,
            frames.instrument(pair("ETH/USD", price_precision=3, status="cancel_only"), kind="update"),
        ),
    ]
    lakes.make(path, timed)
    return path


@pytest.mark.parametrize(
    ("symbols", "exclude", "found"),
    [
        ("*", "", ["BTC/EUR", "BTC/USD", "ETH/USD"]),
        ("BTC/*", "", ["BTC/EUR", "BTC/USD"]),
        ("BTC/USD, ETH/*", "", ["BTC/USD", "ETH/USD"]),
        ("*", "*/USD", ["BTC/EUR"]),
    ],
)
def test_pairs_are_chosen_by_patterns(lake: Path, symbols: str, exclude: str, found: list[str]) -> None:
    """Sorted by name, chosen as ``record`` chooses."""
    assert [row["symbol"] for row in pairs(patterns(symbols), words(exclude), lake=lake)] == found


def test_a_pair_is_told_as_it_was_last(lake: Path) -> None:
    """The keys that the exchange's pairs have too, exact numbers as text, the latest description."""
    (row,) = pairs(["ETH/USD"], [], lake=lake)
    assert row | {"qty_min": "", "cost_min": ""} == {
        "symbol": "ETH/USD", "base": "ETH", "quote": "USD", "status": "cancel_only", "price_precision": 3,
        "qty_precision": 8, "price_increment": "0.1", "qty_increment": "0.00000001",
        "qty_min": "", "cost_min": "", "marginable": True,
    }  # fmt: skip
    assert (row["qty_min"], row["cost_min"]) == ("0.00005", "0.5")


def test_exact_numbers_are_the_same_text_from_everywhere(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exchange may write zeros at the end, and a lake's columns have them: neither is shown."""

    async def ask(_url: str) -> pl.DataFrame:
        session = _core.Session("live", symbols=["*"], channels=[])
        session.receive([frames.instrument(frames.pair("ETH/USD", qty_min="0.00005000", cost_min="10"))], 1)
        session.receive(
            [frames.instrument(frames.pair("ETH/USD", qty_min="0.000050", status="post_only"), kind="update")], 1
        )
        return pl.DataFrame(pa.record_batch(session.drain()["pairs"]))

    monkeypatch.setattr(module, "_ask", ask)
    (live,), (recorded,) = pairs(["*"], []), pairs(["ETH/USD"], [], lake=lake)
    assert list(live) == list(recorded)
    assert (live["qty_min"], recorded["qty_min"], live["status"]) == ("0.00005", "0.00005", "post_only")


def test_the_table_fits_the_terminal(lake: Path) -> None:
    """A narrow terminal shows fewer columns, never a cut one, and always the precisions."""
    rows = pairs(["*"], [], lake=lake)
    rows[0] |= {"marginable": None, "qty_min": None, "status": None}
    whole = table(rows, 1000)
    assert whole[0].split("  ")[0] == "pair"
    assert [line.split()[0] for line in whole[1:]] == ["BTC/EUR", "BTC/USD", "ETH/USD"], "sorted"
    assert whole[3].split() == ["ETH/USD", "cancel_only", "3", "0.1", "8", "0.00000001", "0.00005", "0.5", "yes"]
    assert whole[1].split() == ["BTC/EUR", "1", "0.1", "8", "0.00000001", "0.5"], "nothing where it is not known"
    widths = (1000, 92, 80, 70, 60)
    for width in widths:
        assert max(map(len, table(rows, width))) <= width
    columns = [sum(name in table(rows, width)[0] for name in HEADS.values()) for width in widths]
    assert columns == sorted(columns, reverse=True)
    assert (columns[0], columns[-1]) == (9, 5)
    assert all(name in table(rows, 10)[0] for name in ("pair", "status", "price dec.", "qty dec.", "min. qty"))
    assert table([], 80)[0].startswith("pair")


def test_the_table_of_a_terminal_and_of_a_pipe(lake: Path) -> None:
    """What reads a pipe gets every column."""
    run = partial(CliRunner().invoke, main, ["pairs", "--table", "--lake", str(lake)], catch_exceptions=False)
    piped, narrow = run(env={"COLUMNS": None}), run(env={"COLUMNS": "60"})
    assert "margin" in piped.output
    assert "margin" not in narrow.output
    assert piped.output.splitlines()[-1] == narrow.output.splitlines()[-1] == "3 pairs"


def test_no_exchange_there() -> None:
    """The sentence says what to do, which depends on where it was looked for."""
    with pytest.raises(FeedError, match="cannot connect: Connection refused; does `krakpot exchange` run there?"):
        pairs(["*"], [], url="ws://127.0.0.1:9/v2")
    with pytest.raises(FeedError, match="check --url and this machine's network$"):
        pairs(["*"], [], url="wss://nobody.invalid/v2")


def test_a_pattern_that_matches_nothing(lake: Path) -> None:
    """It is named, with the pair that was probably meant."""
    with pytest.raises(ConfigError, match="--symbols: 'eth/usd' matches none of the 3 pairs; did you mean ETH/USD?"):
        pairs(["BTC/*", "eth/usd"], [], lake=lake)


def test_no_lake_no_pairs(tmp_path: Path) -> None:
    """A wrong folder is said."""
    with pytest.raises(NoLake, match="there is no such folder"):
        pairs(["*"], [], lake=tmp_path / "none")
