"""Names and bounds that the core shows, and what it says to wrong arguments."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

import frames
from krakpot import __version__, _core

SESSION = "019e0000-0000-7000-8000-000000000000"


def test_tables_and_limits_are_shown() -> None:
    """Twelve tables, each with a schema that begins alike; bounds that fit each other, and Python's copies of them."""
    assert _core.TABLES == (
        "book",
        "orders",
        "trades",
        "ticker",
        "ohlc",
        "pairs",
        "assets",
        "status",
        "checkpoints",
        "orders_checkpoints",
        "ledger",
        "frames",
    )
    for table in _core.TABLES:
        schema = pa.schema(_core.schema(table))
        assert schema.names[:5] == ["session", "message", "entry", "ts_recv", "ts_event"]
        assert ("symbol" in schema.names) == (table != "assets")
        assert schema.field("ts_recv").type == pa.timestamp("ns", "UTC")
        assert not schema.field("session").nullable
    limits = dict(_core.LIMITS)
    assert len(limits) >= 11
    assert all(isinstance(value, int) and value > 0 for value in limits.values())
    assert limits["BATCH_MAX"] <= limits["WAITING_MAX"]
    assert limits["DEPTH_MAX"] == max(_core.DEPTHS) == 1000
    assert limits["FRAME_MAX"] == 16 << 20


def test_the_version_is_one() -> None:
    """The package's is the extension's, in the usual form; and the extension that is tested is the fast one."""
    assert __version__ == _core.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", __version__)
    assert isinstance(_core.DEBUG, bool)
    assert _core.PROFILE == ("debug" if _core.DEBUG else _core.PROFILE) != "unknown"


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: _core.schema("orders!"), ValueError, 'no table "orders!"; tables: book, orders, trades'),
        (
            lambda: _core.Session(SESSION, channels=["books"]),
            ValueError,
            'no channel "books"; channels: book, trade, ticker, ohlc, level3',
        ),
        (
            lambda: _core.Session(SESSION, depth=11),
            ValueError,
            r"depth 11 is not offered; depths: \[10, 25, 100, 500, 1000\]",
        ),
        (
            lambda: _core.Session(SESSION, level3_depth=25),
            ValueError,
            r"level-3 depth 25 is not offered; depths: \[10, 100, 1000\]",
        ),
        (lambda: _core.Budget(rate=0), ValueError, "rate 0 is to be above 0"),
        (lambda: _core.Budget(resync_share=1.5), ValueError, "resync_share 1.5 from 0 to 1"),
        (
            lambda: (session := _core.Session(SESSION)).import_pairs(session, ["A/B"], 1),
            ValueError,
            "a session cannot learn from itself",
        ),
        (lambda: _core.Session(SESSION, interval=2), ValueError, "interval 2 is not offered; intervals"),
        (lambda: _core.Session(SESSION, symbols=[""]), ValueError, "is no symbol pattern: 1 to 64 bytes"),
        (lambda: _core.Session(SESSION, exclude=["x" * 65]), ValueError, "is no symbol pattern: 1 to 64 bytes"),
        (
            lambda: _core.Session(SESSION, precision={"A/B": (11, 1)}),
            ValueError,
            "A/B: precision 11,1 is beyond 10 decimals",
        ),
        (lambda: _core.Session(SESSION).ingest([b"{}"], [1, 2]), ValueError, "1 frames and 2 receive times"),
        (lambda: _core.Verifier(SESSION, shard=2, shards=2), ValueError, "shard 2 is not below shards 2"),
        (
            lambda: _core.Verifier(SESSION, channel="trade"),
            ValueError,
            'channel "trade" has no books; channels: book, level3',
        ),
        (lambda: _core.Verifier(SESSION).messages(7), TypeError, "int does not offer __arrow_c_stream__"),
        (lambda: _core.Verifier(SESSION).messages(pa.table({"a": [1]})), ValueError, "the rows have no column symbol"),
        (
            lambda: _core.Verifier(SESSION).ends(pa.table({"symbol": [1], "message": [1], "kind": ["x"]})),
            ValueError,
            "column symbol is Int64",
        ),
        (lambda: _core.Session(7), TypeError, None),  # type: ignore[arg-type]  # that it is wrong is the point
        (lambda: _core.Session(SESSION, symbols="BTC/USD"), TypeError, None),
        (lambda: _core.Session(SESSION).receive(["text"], 1), TypeError, None),  # type: ignore[list-item]  # as above
        (lambda: _core.Session(SESSION).receive([b""], "now"), TypeError, None),  # type: ignore[arg-type]  # as above
        (lambda: _core.Session(SESSION).receive([b""], 2**63), OverflowError, None),
        (lambda: _core.Session(SESSION, depth=-1), OverflowError, None),
        (lambda: _core.matches(1, "A"), TypeError, None),  # type: ignore[arg-type]  # as above
    ],
)
def test_wrong_arguments_raise(call: Callable[[], Any], error: type[Exception], sentence: str | None) -> None:
    """A sentence that names what is allowed; never a crash, never silence."""
    with pytest.raises(error, match=sentence):
        call()


def test_a_finished_verifier_says_so() -> None:
    """It gives its findings once."""
    verifier = _core.Verifier(SESSION)
    assert verifier.finish() == []
    with pytest.raises(ValueError, match="it is finished: its result was taken"):
        verifier.finish()
    with pytest.raises(ValueError, match="it is finished: its result was taken"):
        verifier.messages(pa.schema(_core.schema("book")).empty_table())


@pytest.mark.parametrize(
    ("pattern", "symbol", "matches"),
    [
        ("*", "BTC/USD", True), ("BTC/*", "BTC/USD", True), ("*/USD", "BTC/USDT", False), ("?TC/USD", "BTC/USD", True),
        ("btc/usd", "BTC/USD", False), ("", "", True), ("", "A", False), ("*" * 50 + "Z", "A" * 60, False),
    ],
)  # fmt: skip
def test_patterns(pattern: str, symbol: str, matches: bool) -> None:
    """Globs over the whole symbol, case and all."""
    assert _core.matches(pattern, symbol) is matches


def test_limits_hold_in_a_session() -> None:
    """A symbol too long, a frame too long, nesting too deep, more events than are kept: counted, told, and the session
    goes on.
    """
    session = _core.Session(SESSION, passive=True)
    session.receive([frames.trade("A" * 61 + "/USD", 1), b"[" * (_core.LIMITS["FRAME_MAX"] + 1)], frames.START)
    deep = (
        b'{"channel":"heartbeat","a":'
        + b"[" * (_core.LIMITS["NESTING_MAX"] + 1)
        + b"]" * (_core.LIMITS["NESTING_MAX"] + 1)
        + b"}"
    )
    session.receive([deep], frames.START)
    assert session.counts()["errors"] == 3
    assert [row["kind"] for row in session.take_ledger()] == ["limit", "limit", "decode_error"]
    for n in range(_core.LIMITS["EVENTS_MAX"] + 50):
        session.add_ledger_row("clock", frames.START, count=n)
    assert len(session.take_ledger()) == _core.LIMITS["EVENTS_MAX"]
    assert pa.record_batch(session.drain()["ledger"]).num_rows == _core.LIMITS["EVENTS_MAX"] + 50 + 3
    session.receive([frames.trade("BTC/USD", 1)], frames.START)
    assert session.counts()["rows"]["trades"] == 1


def test_refusals_in_the_ledger_are_few_a_second_and_all_are_counted() -> None:
    """A flood of bad frames does not flood the ledger: the first ones with an excerpt, the rest in one row a second."""
    session = _core.Session(SESSION, passive=True)
    for n in range(2000):
        session.receive([b"x" * 1000], frames.START + n * frames.SECOND // 500)
    session.end(frames.START + 4 * frames.SECOND, "over")
    events = [row for row in session.take_ledger() if row["kind"] == "decode_error"]
    assert session.counts()["errors"] == 2000
    assert sum(row["count"] for row in events) == 2000
    assert len(events) <= 5 * (_core.LIMITS["ERROR_ROWS_MAX"] + 1)
    assert all(len(row["detail"]) < _core.LIMITS["EXCERPT_MAX"] + 200 for row in events if row["detail"])


def test_words_of_the_exchange_are_cut_in_the_ledger() -> None:
    """A refusal, a symbol or a warning may be as long as a frame: their rows are not, and say how long they were."""
    session = _core.Session(SESSION, passive=True)
    long = b"A" * (1 << 20)
    refusal = b'"method":"subscribe","success":false,"time_in":"2026-08-02T10:00:00.0Z"'
    session.receive(
        [
            b'{"error":"' + long + b'",' + refusal + b"}",
            b'{"error":"' + "é".encode() * 100_000 + b'","method":"nothing","success":false}',
            b'{"error":"no","symbol":"' + long + b'",' + refusal + b"}",
            b'{"method":"subscribe","result":{"channel":"book","depth":10,"symbol":"BTC/USD","warnings":["'
            + long
            + b'"]},"success":true}',
        ],
        frames.START,
    )
    events = session.take_ledger()
    assert [row["kind"] for row in events] == ["refused", "refused", "refused", "subscribed"]
    assert all(len(row["detail"].encode()) < _core.LIMITS["WORDS_MAX"] + 100 for row in events)
    assert len(events[2]["symbol"]) == _core.LIMITS["SYMBOL_LENGTH_MAX"]
    said = [json.loads(row["detail"]) for row in events]
    assert said[0]["error"].endswith("AA… (1048576 bytes)")
    assert said[1]["error"].endswith("éé… (200000 bytes)")
    assert said[2] == {"error": "no"}
    assert said[3]["depth"] == 10
    assert said[3]["warnings"].startswith('["AAA')
