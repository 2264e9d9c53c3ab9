"""One reader of book messages: whatever form the rows have, it gives what sorting all of them would give."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import frames
import lakes
from krakpot.errors import StorageError
from krakpot.lake import compact, seal
from krakpot.lake.folder import Folder
from krakpot.lake.format import BOOK_KINDS, stamp
from krakpot.lake.messages import MessageReader, PartReader

MIDNIGHT = frames.START // frames.DAY * frames.DAY + frames.DAY
BEGIN = MIDNIGHT - 3 * frames.HOUR
NEXT_DAY = datetime(2026, 8, 5, tzinfo=UTC)
KEY = ["symbol", "message", "entry"]
KINDS = pytest.mark.parametrize("kind", BOOK_KINDS, ids=["book", "level3"])


def recorded(lake: Path) -> lakes.Recorder:
    """Both kinds of books over a midnight and six checkpoints, in journals of twenty minutes; it goes on."""
    recorder = lakes.Recorder(lake, lakes.session_name(BEGIN), interval=1200.0)
    timed = lakes.market(600, begin=BEGIN, step=36 * frames.SECOND, level3=True)
    for n in range(0, len(timed), 20):
        recorder.take(timed[n : n + 20])
    return recorder


def journals(lake: Path) -> None:
    """Nothing is sealed."""
    recorded(lake)


def some_sealed(lake: Path) -> None:
    """All but the journal that is being written."""
    recorded(lake)
    seal.recover(lake)


def sealed(lake: Path) -> None:
    """Parts only."""
    recorded(lake).end()
    seal.recover(lake)


def compacted(lake: Path) -> None:
    """The first day in few parts, the second one in many."""
    sealed(lake)
    day = datetime.fromtimestamp(BEGIN / 1e9, tz=UTC).date()
    assert compact.compact(lake, dates=[day], now=NEXT_DAY, grace=0).compacted == [str(day)]


FORMS = pytest.mark.parametrize("form", [journals, some_sealed, sealed, compacted])


@pytest.fixture
def reader(form: Callable[[Path], None], tmp_path: Path) -> Callable[..., MessageReader]:
    """Makes readers of a lake of this form."""
    lake = tmp_path / "lake"
    form(lake)
    view = Folder(lake).look()
    return lambda kind, **options: MessageReader(view, lakes.session_name(BEGIN), kind, **options)


@pytest.fixture(scope="module")
def want(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    """All rows of each table, sorted."""
    lake = tmp_path_factory.mktemp("want") / "lake"
    sealed(lake)
    tables = [table for kind in BOOK_KINDS for table in (kind.messages, kind.checkpoints)]
    found = {table: lakes.rows(lake, table).sort(KEY) for table in tables}
    assert all(rows.height > 100 for rows in found.values())
    return found


def in_order(given: list[tuple[str, pl.DataFrame]], kind: Any) -> dict[str, pl.DataFrame]:
    """All that was given, by table; what the core relies on holds."""
    whole: dict[str, pl.DataFrame] = {}
    last: dict[tuple[str, str], tuple[int, int]] = {}
    for table, frame in given:
        assert frame.height
        assert frame.equals(frame.sort(KEY))
        for (symbol,), rows in frame.partition_by("symbol", as_dict=True).items():
            first = rows["message"][0]
            before = last.get((table, str(symbol)))
            # No message is in two frames, and they ascend from frame to frame.
            assert before is None or first > before[1], (table, symbol)
            last[table, str(symbol)] = first, rows["message"][-1]
            if table == kind.checkpoints:
                # A checkpoint is given before the messages that follow it.
                assert last.get((kind.messages, str(symbol)), (0, -1))[1] < first
        whole[table] = pl.concat([whole[table], frame]) if table in whole else frame
    return {table: rows.sort(KEY) for table, rows in whole.items()}


@KINDS
@FORMS
@pytest.mark.parametrize("rows", [50, 10**6])
def test_all_rows_in_order(
    reader: Callable[..., MessageReader], want: dict[str, pl.DataFrame], kind: Any, rows: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Every row of messages and checkpoints once, however many are read at a time."""
    monkeypatch.setattr("krakpot.lake.messages.ROWS", rows)
    found = in_order(list(reader(kind, columns=["ts_recv"]).frames()), kind)
    columns = [name for name in want[kind.messages].columns if name in (*kind.message_columns, "ts_recv")]
    assert found[kind.messages].equals(want[kind.messages].select(columns))
    columns = [name for name in want[kind.checkpoints].columns if name in kind.checkpoint_columns]
    assert found[kind.checkpoints].equals(want[kind.checkpoints].select(columns))


@pytest.mark.slow
@KINDS
@FORMS
@pytest.mark.parametrize("rows", [50, 10**6])
def test_a_symbol_from_message_to_message(
    reader: Callable[..., MessageReader], want: dict[str, pl.DataFrame], kind: Any, rows: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A half-open range of one symbol, without the checkpoints."""
    monkeypatch.setattr("krakpot.lake.messages.ROWS", rows)
    numbers = want[kind.messages]["message"].unique().sort()
    messages = reader(kind, symbols=["ETH/USD"])
    for first, until in [(0, numbers[40]), (numbers[40], numbers[-40]), (numbers[-40], None)]:
        given = list(messages.frames(first, until, checkpoints=False))
        assert {table for table, _ in given} == {kind.messages}
        found = in_order(given, kind)[kind.messages]
        mine = want[kind.messages].filter(
            pl.col("symbol") == "ETH/USD", pl.col("message") >= first,
            pl.lit(value=True) if until is None else pl.col("message") < until,
        )  # fmt: skip
        assert mine.height > 10
        assert found.equals(mine.select(found.columns))


@pytest.mark.parametrize("enough", [1, 40, 10**6])
def test_parts_of_one_symbol(tmp_path: Path, enough: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their rows need no filter, and a few parts are a frame; a part that a range cuts, or with a symbol more, does."""
    monkeypatch.setattr("krakpot.lake.messages.ENOUGH", enough)
    lake = tmp_path / "lake"
    recorder = lakes.Recorder(lake, lakes.session_name(BEGIN), interval=1200.0)
    # The other one stops after a while.
    timed = lakes.market(600, begin=BEGIN, step=36 * frames.SECOND)
    for n in range(0, len(timed), 20):
        recorder.take([one for one in timed[n : n + 20] if n < 200 or b'"symbol":"BTC/USD"' not in one[1]])
    recorder.end()
    seal.recover(lake)
    rows = lakes.rows(lake, "book").sort(KEY)
    symbols = [pl.read_parquet(part)["symbol"].n_unique() for part in lakes.parts(lake, "book")]
    assert set(symbols) == {1, 2}
    numbers = rows.filter(symbol="ETH/USD")["message"].unique().sort()
    messages = MessageReader(Folder(lake).look(), lakes.session_name(BEGIN), BOOK_KINDS[0], symbols=["ETH/USD"])
    for first, until in [(0, None), (numbers[40], numbers[-40])]:
        given = list(messages.frames(first, until, checkpoints=False))
        assert (len(given) > 4) == (enough < 10**6)
        found = in_order(given, BOOK_KINDS[0])["book"]
        mine = rows.filter(
            pl.col("symbol") == "ETH/USD", pl.col("message") >= first,
            pl.lit(value=True) if until is None else pl.col("message") < until,
        )  # fmt: skip
        assert found.equals(mine.select(found.columns))


@pytest.mark.slow
@KINDS
@FORMS
def test_units_of_a_time(reader: Callable[..., MessageReader], want: dict[str, pl.DataFrame], kind: Any) -> None:
    """From the unit that was begun at a time or before, up to those that were begun before another one."""
    since = datetime.fromtimestamp(BEGIN / 1e9, tz=UTC) + timedelta(hours=4)
    given = list(reader(kind, columns=["ts_recv"], symbols=["BTC/USD"]).frames(since=since, before=since))
    given += reader(kind, columns=["ts_recv"], symbols=["BTC/USD"]).frames(
        since=since, before=since + timedelta(hours=1)
    )
    received = pl.concat(frame["ts_recv"] for table, frame in given if table == kind.messages)
    mine = want[kind.messages].filter(symbol="BTC/USD")["ts_recv"]
    span = mine.filter((mine >= since) & (mine < since + timedelta(hours=1)))
    assert span.len() > 10
    assert span.is_in(received.implode()).all()


@pytest.mark.parametrize("form", [sealed])
def test_a_part_that_cannot_be_read_is_told_once(form: Callable[[Path], None], tmp_path: Path) -> None:
    """By default it is an error; a caller that goes on gets all other rows."""
    lake = tmp_path / "lake"
    form(lake)
    (kind, _) = BOOK_KINDS
    parts = lakes.parts(lake, "book")
    whole = lakes.rows(lake, "book")
    spoiled = pl.read_parquet(parts[3], hive_partitioning=False)
    parts[3].write_bytes(b"no parquet")
    view = Folder(lake).look()
    with pytest.raises(StorageError, match="a part cannot be read") as caught:
        list(MessageReader(view, lakes.session_name(BEGIN), kind).frames())
    assert caught.value.path == parts[3]
    told: list[Path] = []
    reader = PartReader(lambda path, _: told.append(path))
    found = in_order(list(MessageReader(view, lakes.session_name(BEGIN), kind, reader=reader).frames()), kind)["book"]
    assert told == [parts[3]]
    assert found.height == whole.height - spoiled.height


def test_a_time_in_a_compacted_day_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row groups of other messages, and of later times, are left out; what was asked for is whole."""
    for name, value in {"compact.ROW_GROUP": 16, "messages.ROWS": 24}.items():
        monkeypatch.setattr(f"krakpot.lake.{name}", value)
    lake = tmp_path / "lake"
    compacted(lake)
    (kind, _) = BOOK_KINDS
    received = pl.col("ts_recv").cast(pl.Int64)
    rows = lakes.rows(lake, kind.messages).filter(pl.col("symbol") == "ETH/USD", received < MIDNIGHT)
    reader = MessageReader(Folder(lake).look(), lakes.session_name(BEGIN), kind, symbols=["ETH/USD"])
    first = int(rows["message"].unique().sort()[20])
    end = BEGIN + 2 * frames.HOUR
    given = list(reader.frames(first, before=stamp(end), checkpoints=False))
    found = in_order(given, kind)[kind.messages]
    wanted = rows.filter(pl.col("message") >= first)
    needed = wanted.filter(received < end)
    assert 32 < needed.height < wanted.height - 32
    assert found.equals(wanted.head(found.height).select(found.columns))
    assert needed.height <= found.height < needed.height + 16, "at most the rest of a row group is more"
