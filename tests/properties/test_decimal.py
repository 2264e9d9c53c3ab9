"""Numbers of the wire against ``decimal.Decimal``: what can be held is held exactly, all else is refused and said."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

import frames
from krakpot import _core

digits = st.text("0123456789", min_size=1, max_size=19)


@st.composite
def numbers(draw: st.DrawFn) -> str:
    """A JSON number of up to 38 digits: bare integer, padded or not, with or without an exponent."""
    whole = draw(digits).lstrip("0") or "0"
    text = draw(st.sampled_from(["", "", "", "-"])) + whole
    if draw(st.booleans()):
        text += "." + draw(digits)
    if draw(st.integers(0, 3)) == 0:
        text += draw(st.sampled_from("eE")) + draw(st.sampled_from(["", "+", "-"])) + str(draw(st.integers(0, 40)))
    return text


def fits(text: str, precision: int) -> bool:
    """Whether a number is none below zero, needs no more decimals than ``precision``, and fits Decimal(38, 10)."""
    value = Decimal(text)
    scaled = frames.EXACT.scaleb(value, precision)
    return value >= 0 and scaled == scaled.to_integral_value(context=frames.EXACT) and value < Decimal(10) ** 28


def hold(price: str, qty: str, precision: tuple[int, int]) -> tuple[_core.Session, pl.DataFrame | None]:
    """One bid, sent as written; the session and the rows of the book, if any."""
    session = _core.Session("s", passive=True, precision={"BTC/USD": precision})
    session.receive([frames.book("snapshot", "BTC/USD", [("bid", price, qty)], None)], frames.START)
    batch = session.drain().get("book")
    return session, None if batch is None else pl.DataFrame(pa.record_batch(batch))


@given(numbers(), numbers(), st.integers(0, 10), st.integers(0, 10))
@example("1e-8", "5E+3", 8, 0)
@example("1E-8", "0e-300", 7, 0)
@example("9999999999999999999", "0.0000000000000000000", 0, 0)
@example("9223372036854775807", "9223372036854775808", 0, 0)
@example("9.999999999999999999999999999E27", "1e27", 10, 0)
@example("1E28", "1", 10, 0)
@example("-0", "-0.0", 0, 0)
@example("1.00000000000", "3", 10, 10)
@example("1.00000000001", "3", 10, 10)
@example("0." + "0" * 60 + "1", "1", 10, 10)
@example("1" + "0" * 27 + "." + "0" * 80, "1", 0, 0)
@example("1" * 28 + "." + "1" * 11, "1", 10, 0)
@example("0", "1000000000000000.0000000000001e3", 0, 10)
def test_a_number_is_held_exactly_or_refused(price: str, qty: str, price_precision: int, qty_precision: int) -> None:
    """Accepted exactly where Decimal(38, 10) and the precision hold it; refusals are counted and stand in the
    ledger.
    """
    session, rows = hold(price, qty, (price_precision, qty_precision))
    counts = session.counts()
    if fits(price, price_precision) and fits(qty, qty_precision):
        assert counts["errors"] == 0
        assert rows is not None
        assert rows.select("price", "qty").row(0) == (Decimal(price), Decimal(qty))
        book = session.book("BTC/USD")
        assert book is not None
        # Without its sign and with all digits: `abs` would round to those of the context.
        pairs = ((price, price_precision), (qty, qty_precision))
        level = tuple(frames.padded(Decimal(text).copy_abs(), precision) for text, precision in pairs)
        assert book.bids() == ([] if Decimal(qty) == 0 else [level])
        event("held")
    else:
        assert counts["errors"] == 1
        assert rows is None, "a refused message leaves no row that looks as if it had been applied"
        assert session.book("BTC/USD") is None
        assert [row["kind"] for row in session.take_ledger()] == ["decode_error"]
        event("refused")


@given(numbers())
def test_other_channels_hold_what_decimal_38_10_holds(text: str) -> None:
    """A trade's price is held or the trade refused; a ticker's number goes to ``extra``, with its digits, if no column
    holds it.
    """
    value = Decimal(text)
    scaled = frames.EXACT.scaleb(value, 10)
    holds = scaled == scaled.to_integral_value(context=frames.EXACT) and abs(value) < Decimal(10) ** 28
    session = _core.Session("s", passive=True)
    session.receive(
        [frames.trade("BTC/USD", 1, price=text), frames.ticker("BTC/USD", last=frames.Number(text))], frames.START
    )
    tables = {name: pl.DataFrame(pa.record_batch(batch)) for name, batch in session.drain().items()}
    ticker = tables["ticker"]
    assert session.counts()["errors"] == (0 if holds else 1)
    if holds:
        assert tables["trades"]["price"].item() == value
        assert (ticker["last"].item(), ticker["extra"].item()) == (value, None)
    else:
        assert "trades" not in tables
        assert (ticker["last"].item(), ticker["extra"].item()) == (None, f'{{"last":{text}}}')


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+1",
        "01",
        "1.",
        ".5",
        "1e",
        "1e+",
        "0x1",
        "NaN",
        "Infinity",
        "-",
        "1_0",
        "1 2",
        "--1",
        "１",
        '"x"',
        "true",
        "null",
        "[1]",
    ],
)
def test_what_is_no_json_number_is_refused(text: str) -> None:
    """By JSON's grammar, and by nothing looser; the sentence is in the ledger."""
    session, rows = hold(text, "1", (1, 8))
    assert rows is None
    assert session.counts()["errors"] == 1
    (row,) = session.take_ledger()
    assert (row["kind"], row["count"]) == ("decode_error", 1)


@pytest.mark.parametrize(("text", "decimals"), [("5E+3", 0), ("1e-8", 8), ("0.50", 2), ("7", 0)])
def test_precision_is_inferred_from_the_digits_of_a_snapshot(text: str, decimals: int) -> None:
    """Where nobody tells the precision it is what the snapshot shows, and ``pairs`` says that it was inferred."""
    session = _core.Session("s", passive=True)
    session.receive([frames.book("snapshot", "BTC/USD", [("bid", "1.00000", text)], None)], frames.START)
    pairs = pl.DataFrame(pa.record_batch(session.drain()["pairs"]))
    assert pairs.select("price_precision", "qty_precision", "origin").rows() == [(5, decimals, "inferred")]
