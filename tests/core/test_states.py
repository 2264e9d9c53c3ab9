"""States and their pairing as Python sees them: spans that end in between, and what is said to wrong arguments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

import frames
import lakes
from krakpot import _core

ENDS = {"symbol": pl.String, "message": pl.UInt64, "kind": pl.String}
STATES = pl.Schema({"group": pl.UInt32(), "key": pl.UInt64(), "time": pl.Int64(), "first": pl.Boolean()})


def frame(told: _core.Frame) -> pl.DataFrame:
    """Columns in Polars."""
    found = pl.from_arrow(pa.record_batch(told))
    assert isinstance(found, pl.DataFrame)
    return found


@pytest.fixture
def book(tmp_path: Path) -> pl.DataFrame:
    """Rows of two books: a snapshot each, then updates."""
    lakes.make(tmp_path, lakes.market(300))
    return lakes.rows(tmp_path, "book").sort("symbol", "message", "entry")


def test_states_are_the_messages_that_changed_a_book(book: pl.DataFrame) -> None:
    """A state for every message after which the book is another one, with the checksum that the exchange sent, its
    times, and its number of entries; the same in one go and in pieces.
    """
    states = _core.StateCollector("a session", channel="book", depths={"BTC/USD": 10})
    states.messages(book)
    found = frame(states.states())
    sent = book.group_by("symbol", "message", maintain_order=True).agg(
        pl.col("ts_recv", "ts_event", "checksum").first(), pl.len().cast(pl.UInt32).alias("entries")
    )
    told = sent.join(found, on=["symbol", "message"])
    assert told.height == found.height > 200
    for name in ("ts_recv", "ts_event", "checksum", "entries"):
        assert told[name].equals(told[f"{name}_right"], null_equal=True), name
    same = found.filter(pl.col("symbol") == "BTC/USD").select(pl.struct("checksum", "full"))
    assert (same.to_series() != same.to_series().shift(1)).all(), "consecutive ones differ"
    assert frame(states.states()).is_empty(), "each is told once"
    pieces = _core.StateCollector("a session", channel="book", depths={"BTC/USD": 10})
    half = book["message"].sort()[book.height // 2]
    for part in (book.filter(pl.col("message") <= half), book.filter(pl.col("message") > half)):
        pieces.messages(part)
    assert frame(pieces.states()).sort("symbol", "message").equals(found.sort("symbol", "message"))
    spans = frame(states.spans())
    assert spans.select("symbol", "span", "message_to", "ts_to", "reason").rows() == [
        ("BTC/USD", 0, None, None, None),
        ("ETH/USD", 1, None, None, None),
    ]


def test_ends_between_messages_end_spans(book: pl.DataFrame) -> None:
    """An end of one symbol, then one of all, told after rows: what follows without a snapshot is no state."""
    numbers = book.filter(pl.col("symbol") == "BTC/USD")["message"].unique().sort()
    first, second = int(numbers[len(numbers) // 3]), int(numbers[2 * len(numbers) // 3])
    states = _core.StateCollector("a session", channel="book", depths={})
    states.messages(book.filter(pl.col("message") <= first))
    states.ends(pl.DataFrame([("BTC/USD", first, "unsubscribed")], schema=ENDS, orient="row"))
    states.messages(book.filter(pl.col("message").is_between(first + 1, second)))
    states.ends(pl.DataFrame([(None, second, "disconnect")], schema=ENDS, orient="row"))
    states.messages(book.filter(pl.col("message") > second))
    last = dict(frame(states.states()).group_by("symbol").agg(pl.col("message").max()).iter_rows())
    assert last["BTC/USD"] <= first < last["ETH/USD"] <= second
    spans = frame(states.spans()).select("symbol", "message_to", "reason").rows()
    assert spans == [("BTC/USD", first, "unsubscribed"), ("ETH/USD", second, "disconnect")]


def test_a_wrong_message_ends_a_life_at_its_time(tmp_path: Path) -> None:
    """The message that failed has the time of the end; a snapshot begins the next span."""
    one = frames.Book("BTC/USD")
    timed = [
        (frames.START, one.snapshot([("10.0", "1")], [("11.0", "1")])),
        (frames.START + 1, one.update([("bid", "10.1", "2")])),
        (frames.START + 2, one.update([("bid", "10.2", "2")], crc=7)),
        (frames.START + 3, one.update([("bid", "10.3", "2")])),
        (frames.START + 4, one.snapshot([("10.0", "1")], [("11.0", "1")])),
    ]
    lakes.make(tmp_path, timed, precision={"BTC/USD": (1, 8)})
    states = _core.StateCollector("a session", channel="book", depths={})
    states.messages(lakes.rows(tmp_path, "book"))
    spans = frame(states.spans()).with_columns(pl.col("ts_from", "ts_to").dt.epoch("ns") - frames.START)
    assert spans.select("message_from", "ts_from", "message_to", "ts_to", "reason").rows() == [
        (0, 0, 2, 2, "mismatch"),
        (4, 4, None, None, None),
    ]
    assert frame(states.states())["span"].to_list() == [0, 0, 1]


def states() -> _core.StateCollector:
    """Of a session without rows."""
    return _core.StateCollector("a session", channel="book", depths={})


def align(change: Callable[[pl.DataFrame], pl.DataFrame], **options: Any) -> _core.Frame:
    """Pair two states with themselves, one side changed."""
    plain = pl.DataFrame([(0, 1, 5, False), (1, 1, 6, False)], schema=STATES, orient="row")
    return _core.align(change(plain), plain, **{"window": 10, **options})


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: _core.StateCollector("s", channel="trade", depths={}), ValueError, 'channel "trade" has no books'),
        (lambda: _core.StateCollector("s", channel="book", depths={"A": -1}), OverflowError, None),
        (lambda: states().messages(pl.DataFrame({"a": [1]})), ValueError, "the rows have no column ts_recv"),
        (lambda: states().ends([1]), TypeError, "__arrow_c_stream__"),
        (lambda: align(lambda f: f.drop("key")), ValueError, "the states have no column key"),
        (lambda: align(lambda f: f.cast({"time": pl.Int32})), ValueError, "column time is Int32, not Int64"),
        (lambda: align(lambda f: f.cast({"first": pl.Int8})), ValueError, "column first is Int8"),
        (lambda: align(lambda f: f.with_columns(key=None).cast(STATES)), ValueError, "column key has nulls"),
        (lambda: align(lambda f: f.reverse()), ValueError, "the groups do not ascend"),
        (lambda: align(lambda f: f, window=-1), ValueError, "window must not be negative, nearest not 0"),
        (lambda: align(lambda f: f, nearest=0), ValueError, "window must not be negative, nearest not 0"),
        (lambda: align(lambda f: f, window=2**63), OverflowError, None),
    ],
)  # fmt: skip
def test_wrong_arguments_raise(call: Callable[[], Any], error: type[Exception], sentence: str | None) -> None:
    """With a sentence that says what is wrong; and the call without the mistake passes."""
    with pytest.raises(error, match=sentence):
        call()
    assert frame(align(lambda f: f)).rows() == [(0, 0), (1, 1)]
    assert frame(align(lambda f: f, window=2**63 - 1)).rows() == [(0, 0), (1, 1)]
