"""The account adds up to the last number that a column can hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import frames
import lakes
from krakpot.lake import seal
from krakpot.lake.account import _sound
from krakpot.lake.verify import verify

LARGEST = 2**63 - 1


@pytest.mark.parametrize(
    ("ids", "lost"), [([LARGEST - 1, LARGEST], None), ([LARGEST - 3, LARGEST], 2), ([LARGEST], None)]
)
def test_trade_ids_up_to_the_largest(tmp_path: Path, ids: list[int], lost: int | None) -> None:
    """The successor of the largest id is no 64-bit number, and nobody computes it."""
    lake = tmp_path / "lake"
    trades = [(frames.START + n, frames.trade("BTC/USD", trade_id)) for n, trade_id in enumerate(ids)]
    lakes.make(lake, trades, precision={"BTC/USD": (1, 8)})
    assert lakes.rows(lake, "trades")["trade_id"].to_list() == ids
    told = lakes.rows(lake, "ledger").filter(kind="trade_gap")["count"].to_list()
    assert told == ([] if lost is None else [lost])
    assert verify(lake).problems == []


@pytest.mark.parametrize(("ids", "lost"), [([1, 2, 3], None), ([1, 2, 4], "trades 3 to 3 are missing")])
def test_trade_ids_that_begin_anew(tmp_path: Path, ids: list[int], lost: str | None) -> None:
    """Where the ledger says that numbering began anew, the new numbers are followed, and their holes are found."""
    lake = tmp_path / "lake"
    recorder = lakes.Recorder(lake, precision={"BTC/USD": (1, 8)})
    recorder.take([(frames.START + n, frames.trade("BTC/USD", n)) for n in (95, 96)])
    recorder.take([(frames.START + 97, frames.trade("BTC/USD", ids[0]))])
    recorder.session.add_ledger_row("trade_restart", frames.START + 97, channel="trade", symbol="BTC/USD")
    recorder.take([(frames.START + 100 + n, frames.trade("BTC/USD", n)) for n in ids[1:]])
    recorder.end()
    seal.recover(lake)
    assert lakes.rows(lake, "trades")["trade_id"].to_list() == [95, 96, *ids]
    told = bool(lakes.rows(lake, "ledger").filter(kind="trade_gap").height)
    problems = verify(lake).problems
    assert [lost in problem for problem in problems if lost] == ([] if lost is None or told else [True])
    assert problems == [] or lost is not None


@pytest.mark.parametrize(
    ("snapshot", "knows", "removed", "lost"),
    [
        ([3, 4, 5, 6], True, False, None),  # it brings the missing one, and repeats what is recorded
        ([3, 4, 5, 6], True, True, None),
        ([7, 8], True, False, None),
        ([9], True, False, None),  # a `trade_gap` row names 7 and 8
        ([9], False, False, "trades 7 to 8 are missing"),
        ([9], False, True, None),  # nobody can know
    ],
)
def test_trade_ids_over_a_reconnect(
    tmp_path: Path, snapshot: list[int], knows: bool, removed: bool, lost: str | None
) -> None:
    """A session goes on with the trade ids of the one before, also if its snapshot reaches back behind them."""
    lake = tmp_path / "lake"
    names = [lakes.session_name(frames.START + n * 30 * frames.SECOND) for n in range(2)]
    before = lakes.Recorder(lake, names[0], precision={"BTC/USD": (1, 8)})
    before.session.add_ledger_row("connect", frames.START, detail="{}")
    before.take([(frames.START + n, frames.trade("BTC/USD", n, ts=frames.START + n)) for n in (1, 2, 4, 5, 6)])
    before.end()
    begin = frames.START + 30 * frames.SECOND
    recorder = lakes.Recorder(lake, names[1], precision={"BTC/USD": (1, 8)}, after=before.session if knows else None)
    recorder.session.add_ledger_row("connect", begin, detail=json.dumps({"previous": names[0]}))
    recorder.session.add_ledger_row("gap", begin, channel="trade", ts_from=begin - 1, ts_to=begin)
    recorder.take(
        [(begin, frames.trade("BTC/USD", n, kind="snapshot", ts=frames.START + n)) for n in snapshot]
        + [(begin + 1, frames.trade("BTC/USD", snapshot[-1] + 1, ts=begin + 1))]
    )
    recorder.end()
    seal.recover(lake)
    if removed:
        for part in lake.rglob(f"*{names[0]}*.parquet"):
            part.unlink()
    problems = verify(lake).problems
    assert len(problems) == (lost is not None), problems
    assert lost is None or lost in problems[0]


@pytest.mark.parametrize(
    ("kind", "count", "text", "sound"),
    [
        ("alive", 3, None, True),
        ("alive", None, None, False),
        ("alive", 3, '{"rows":{"book":1}}', True),
        ("alive", 3, '{"rows":{"book":"1"}}', False),
        ("sealed", 1, '{"part":"book/date=2026-08-02/100000-x-0.parquet","first":null,"last":null}', True),
        ("sealed", 1, '{"part":"book/date=2026-08-02/100000-x-0.parquet","first":null,"last":1}', False),
        ("sealed", None, '{"part":"book/date=2026-08-02/100000-x-0.parquet","first":1,"last":1}', False),
        ("compacted", 1, '{"part":"book/date=2026-08-02/100000-x-c0.parquet","journals":[[0,5]]}', True),
        ("compacted", 1, '{"part":"book/date=2026-08-02/100000-x-c0.parquet","journals":[[5,0]]}', False),
        ("compacted", 1, '{"part":"book/date=2026-08-02/100000-x-c0.parquet","journals":[[0,1000000000]]}', False),
        ("connect", None, "{}", True),
    ],
)
def test_a_malformed_row_is_known_as_such(kind: str, count: int | None, text: str | None, sound: bool) -> None:
    """A damaged part may hold anything; the account uses only rows that have their facts."""
    assert _sound(kind, count, text) is sound
