"""Several sessions of one symbol: a reader gets one stream, without duplicates and without a hole."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import frames
import lakes
from krakpot.lake import arbitration
from krakpot.lake.arbitration import Span, arbitrate, overlap
from krakpot.lake.lake import Lake
from krakpot.lake.verify import verify

MILLISECOND = frames.SECOND // 1000
SPANS = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 20), st.sampled_from("abc")).map(
        lambda drawn: Span(drawn[0], drawn[0] + drawn[1], drawn[2])
    ),
    max_size=8,
)


@given(SPANS)
def test_a_segment_is_of_the_earliest_begun_that_covers(spans: list[Span]) -> None:
    """Moment by moment: the span that was taken goes on while it covers; at its end comes, of those that cover, the one
    begun first.
    """
    expected: list[str | None] = []
    current: Span | None = None
    for moment in range(70):
        if current is None or current.end <= moment:
            current = min((span for span in spans if span.begin <= moment < span.end), default=None)
        expected.append(None if current is None else current.session)
    found = arbitrate(spans)
    assert all(one.begin < other.begin for one, other in pairwise(found))
    for moment, session in enumerate(expected):
        if session is not None:
            assert [one for one in found if one.begin <= moment][-1].session == session
    for one in found:
        assert one.joined == (one.begin > 0 and expected[one.begin - 1] is not None)


@given(SPANS)
def test_overlap(spans: list[Span]) -> None:
    """Whether there is a moment that two cover."""
    assert overlap(spans) == any(sum(s.begin <= moment < s.end for s in spans) > 1 for moment in range(70))


def late(timed: list[lakes.Timed], rng: random.Random) -> list[lakes.Timed]:
    """The same frames over another socket: each a little later than it was sent, in order."""
    received = []
    at = 0
    for sent, frame in timed:
        at = max(at, sent + rng.choice([0, 1, 5, 45]) * MILLISECOND)
        received.append((at, frame))
    return received


def stream(lake: Lake, table: str) -> list[tuple[object, ...]]:
    """All that a reader gets of a table, in the order of the exchange's times."""
    frame = lake.scan(table).collect()
    left_out = {"session", "message", "ts_recv"}
    columns = [name for name in frame.columns if name not in left_out]
    return frame.sort("symbol", "ts_event", "entry").select(columns).rows()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_one_stream_of_two_sources(tmp_path: Path, seed: int) -> None:
    """Two sockets with delays of their own; the first is cut, or loses a message, at a random moment: book, trades and
    tickers are those of a recording without trouble, row by row. With ``sources="all"`` each session is whole.
    """
    rng = random.Random(seed)
    timed = lakes.market(300, seed=seed + 1)
    lakes.make(tmp_path / "whole", timed)
    first, second = late(timed, rng), late(timed, rng)
    at = rng.randrange(60, 250)
    cut = seed % 2 == 0
    lost = first[:at] if cut else first[:at] + first[at + 1 :]
    path = tmp_path / "lake"
    # The first one begins before the second.
    early = [(ts - MILLISECOND, frame) for ts, frame in lost[:20]] + lost[20:]
    for number, received in enumerate((early, second)):
        lakes.make(path, received, session=lakes.session_name(frames.START + number * MILLISECOND))
    lake, whole = Lake(path), Lake(tmp_path / "whole")
    for table in ("book", "trades", "ticker"):
        assert stream(lake, table) == stream(whole, table), table
        assert lake.scan(table, sources="all").collect().height > whole.scan(table).collect().height
    # Ranges that meet give no row twice and leave none out.
    middle = first[at][0]
    for table in ("book", "trades", "ticker"):
        halves = [lake.scan(table, "BTC/USD", *span).collect().height for span in ((None, middle), (middle, None))]
        assert sum(halves) == lake.scan(table, "BTC/USD").collect().height


def test_verify_tells_what_one_source_lacks(tmp_path: Path) -> None:
    """A trade that one socket never brought: a note with what both had; no problem, as the ledger has it."""
    timed = lakes.market(300)
    trades = [n for n, (_, frame) in enumerate(timed) if b'"trade_id"' in frame and b'"BTC/USD"' in frame]
    lost = trades[len(trades) // 2]
    names = [lakes.session_name(frames.START + number * MILLISECOND) for number in range(2)]
    lakes.make(tmp_path / "lake", timed, session=names[0])
    lakes.make(tmp_path / "lake", timed[:lost] + timed[lost + 1 :], session=names[1])
    report = verify(tmp_path / "lake")
    assert report.problems == []
    books = Lake(tmp_path / "lake").book(sources="all").filter(kind="update", session=names[0])
    messages = books.select(pl.col("message").n_unique()).collect().item()
    book, trade = report.notes
    followed = f"sessions {names[0]} and {names[1]} both followed 2 symbols: "
    assert book == f"book: {followed}{messages} messages in both, 0 in the first only, 0 in the second only"
    assert trade.startswith(f"trades: {followed}")
    assert trade.endswith(" 1 in the first only, 0 in the second only; they differ in 1 symbol, as BTC/USD")


def test_a_trade_is_given_once_and_as_it_came_live(tmp_path: Path) -> None:
    """A recorder that starts again is sent the last trades a second time, as a snapshot: they are given once, as they
    came live, even where that was later; one that only the snapshot has is given too.
    """
    ack = frames.ack("trade", "BTC/USD")
    first = [(frames.START + n, frames.trade("BTC/USD", n, ts=n)) for n in (1, 2)]
    first.append((frames.START + frames.HOUR + frames.SECOND, frames.trade("BTC/USD", 3, ts=3)))
    again = [frames.trade("BTC/USD", n, ts=n, kind="snapshot") for n in (1, 2, 3, 4)]
    lake = tmp_path / "lake"
    for begin, timed in (
        (frames.START, first),
        (frames.START + frames.HOUR, [(frames.START + frames.HOUR, frame) for frame in again]),
    ):
        lakes.make(lake, [(begin, ack), *timed], session=lakes.session_name(begin), precision={"BTC/USD": (1, 8)})
    found = Lake(lake).trades().select("trade_id", "kind").collect().rows()
    assert found == [(1, "update"), (2, "update"), (4, "snapshot"), (3, "update")]
    assert Lake(lake).trades(start=frames.START + frames.HOUR).collect()["trade_id"].to_list() == [4, 3]
    assert Lake(lake).trades(sources="all").collect().height == 7
    with pytest.raises(ValueError, match="sources='two'; allowed: 'one', 'all'"):
        Lake(lake).trades(sources="two")  # type: ignore[arg-type]  # that it is wrong is the point


def test_a_part_that_cannot_be_read_is_not_compared(tmp_path: Path) -> None:
    """Verification comes to an end, names the part, and says that two sessions could not be compared."""
    for number in range(2):
        lakes.make(tmp_path, lakes.market(50), session=lakes.session_name(frames.START + number * MILLISECOND))
    part = lakes.parts(tmp_path, "trades")[0]
    part.write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    report = verify(tmp_path)
    assert any(str(part.relative_to(tmp_path)) in problem for problem in report.problems)
    books, trades = report.notes
    assert " messages in both, 0 in the first only, 0 in the second only" in books
    assert trades.startswith("trades: sessions ")
    assert trades.endswith(" could not be compared 2 times: a part cannot be read")


def test_symbols_of_small_parts_are_compared_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every part is opened once for two sessions, not once for each symbol; what is said is the same either way."""
    long = lakes.Recorder(tmp_path, lakes.session_name(frames.START), rows_max=50)
    timed = lakes.market(400)
    for at in range(0, len(timed), 20):
        long.take(timed[at : at + 20])
    long.end()
    begin = timed[len(timed) * 3 // 4][0]
    lakes.make(tmp_path, lakes.market(60, begin=begin, seed=2), session=lakes.session_name(begin))
    calls: list[tuple[int, int]] = []
    messages = arbitration._messages

    def counted(files: list[Path], what: list[arbitration.Both], *rest: Any) -> pl.DataFrame:
        calls.append((len(files), len(what)))
        return messages(files, what, *rest)

    monkeypatch.setattr(arbitration, "_messages", counted)
    together = verify(tmp_path).notes
    books, trades = (len(lakes.parts(tmp_path, table)) for table in ("book", "trades"))
    assert books > 10
    assert len(together) == 2
    assert "they differ in 2 symbols" in together[0]
    assert calls == [(books - 1, 2), (1, 2), (trades - 1, 2), (1, 2)]
    calls.clear()
    monkeypatch.setattr(arbitration, "BYTES_AT_ONCE", 1)
    assert verify(tmp_path).notes == together
    assert [symbols for _, symbols in calls] == [1] * 8
