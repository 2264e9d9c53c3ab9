"""Formats of files: what a file is, the names of pairs, numbers and times exact whatever pieces they are read in."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krakpot.errors import ConfigError
from krakpot.history import formats
from krakpot.history.formats import Found, WrongFile, check, recognise, symbol_of, symbol_of_file


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("XBTUSD", "BTC/USD"), ("XXBTZUSD", "BTC/USD"), ("XDGUSD", "DOGE/USD"), ("ETHXBT", "ETH/BTC"),
        ("XBTUSDT", "BTC/USDT"), ("USDTUSD", "USDT/USD"), ("XBTPYUSD", "BTC/PYUSD"), ("SOLEUR", "SOL/EUR"),
        ("XBT/EUR", "BTC/EUR"), ("BTC-USD", "BTC/USD"), ("ODDQUOTE", "ODD/QUOTE"),
        ("AAPLxUSD", "AAPLx/USD"), ("AAPLX/USD", "AAPLx/USD"),
    ],
)  # fmt: skip
def test_names_of_pairs(name: str, symbol: str) -> None:
    """Old names, long quotes before short ones, and what the lake knows."""
    assert symbol_of(name, ["ODD/QUOTE", "AAPLx/USD"]) == symbol


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("XBTUSD", "BTC/USD"), ("XXBTZUSD", "BTC/USD"), ("XDGUSD", "DOGE/USD"), ("XBTPYUSD", "BTC/PYUSD"),
        ("BTC-USD", "BTC/USD"), ("XBT_EUR", "BTC/EUR"), ("BTC%2FUSD", "BTC/USD"), ("TSLAxUSD", "TSLAx/USD"),
        ("aaplxusd", "AAPLx/USD"), ("ODDQUOTE", "ODD/QUOTE"), ("odd-quote", "ODD/QUOTE"),
    ],
)  # fmt: skip
def test_names_of_files(name: str, symbol: str) -> None:
    """Kraken's names, and in any letters what the lake knows."""
    assert symbol_of_file(name, ["ODD/QUOTE", "AAPLx/USD"]) == symbol


def test_a_name_of_a_file_that_is_no_pair_for_certain() -> None:
    """It is not guessed: words before, behind or in place of a pair, small letters, and two pairs of one name."""
    for name in (
        "unsorted_SOLUSD", "UNSORTED_SOLUSD", "SOLUSD_unsorted", "SOLUSD (1)", "tradesUSD", "my-usd", "solusd",
        "UNSORTEDSOLUSD", "2026-SOL-USD", "USD", "", "QQQQ", "%2fUSD", "ABC", "O-DDQUOTE",
    ):  # fmt: skip
        with pytest.raises(WrongFile, match="does not tell for certain of which pair it is"):
            symbol_of_file(name, ["AB/C", "A/BC", "ODD/QUOTE"])
    assert symbol_of_file("a-bc", ["AB/C", "A/BC"]) == "A/BC"


def test_a_name_that_is_no_pair() -> None:
    """It is not guessed."""
    for name in ("QQQQ", "USD", "", "A_B_C", "../../XBTUSD", "%2fUSD", "A%00B%2fUSD", "A%00USD", "XBT /USD"):
        with pytest.raises(WrongFile, match="is no pair of Kraken that is known"):
            symbol_of(name, ["BTC/USD"])


@given(
    rows=st.lists(
        st.tuples(
            st.integers(1_400_000_000 * 10**9, 1_800_000_000 * 10**9),
            st.decimals(0, 10**9, places=10),
            st.decimals(0, 10**9, places=8),
        ),
        min_size=1,
        max_size=20,
    ),
    piece=st.integers(1, 300),
)
def test_numbers_are_exact(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, Decimal, Decimal]], piece: int
) -> None:
    """Every digit of times, prices and quantities, however the file is cut into pieces."""
    path = tmp_path_factory.mktemp("csv") / "XBTUSD.csv"
    lines = [f"{Decimal(ts).scaleb(-9):f},{price:f},{qty:f}" for ts, price, qty in rows]
    path.write_text("\n".join(lines))
    ((_, found),) = recognise(path)
    assert isinstance(found, Found)
    before = formats.PIECE
    formats.PIECE = piece
    try:
        pieces = list(found.pieces(lambda _: "BTC/USD"))
    finally:
        formats.PIECE = before
    got = [
        row
        for one in pieces
        for row in zip(one.rows["ts_event"].dt.epoch("ns"), one.rows["price"], one.rows["qty"], strict=True)
    ]
    assert got == rows


def test_the_format_that_was_asked_for(tmp_path: Path) -> None:
    """Another one is named, with those that exist."""
    path = tmp_path / "XBTUSD_60.csv"
    path.write_text("1381095240,1,1,1,1,1,1\n")
    ((place, found),) = recognise(path)
    assert isinstance(found, Found)
    check(place, found, None)
    check(place, found, "kraken-ohlcvt")
    with pytest.raises(ConfigError, match=r"XBTUSD_60.csv: is kraken-ohlcvt, not tardis; formats: kraken-trades, "):
        check(place, found, "tardis")
