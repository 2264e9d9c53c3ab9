"""`prove` of the npm package against `krakpot verify`, on the same files: the same counts and the same sentences."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest

import lakes
from frames import DAY, SECOND, START
from krakpot.lake import seal
from krakpot.lake.compact import compact
from krakpot.lake.format import FORMAT
from krakpot.lake.verify import verify

pytestmark = [pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
COUNTS = (
    *("frames", "messages", "rows", "checksums", "unchecked", "errors", "gaps", "checkpoints", "sessions", "symbols"),
    *("imported", "outcome", "more_problems"),
)


def proved(*paths: Path, **options: Any) -> dict[str, Any]:
    """The report of `prove` on folders and files."""
    command = ["node", str(ROOT / "tests/web/proved.js"), json.dumps(options), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def nonzero(found: Any) -> Any:
    """Without counts that are 0: verify names some channels that nothing was recorded of."""
    if not isinstance(found, dict):
        return found
    return {key: kept for key, value in found.items() if (kept := nonzero(value)) not in (0, {})}


def compared(lake: Path) -> dict[str, Any]:
    """The report of `prove`, which must say what `verify` says."""
    expected = verify(lake).to_dict()
    found = proved(lake)
    assert nonzero({key: found[key] for key in COUNTS}) == nonzero({key: expected[key] for key in COUNTS})
    assert sorted(found["problems"]) == sorted(expected["problems"])
    assert found["told"] > 3
    return found


def recorded(lake: Path, seed: int = 1, count: int = 900, *, level3: bool = False) -> Path:
    """A lake of two sessions with a gap between them, the first one of several journals."""
    recorder = lakes.Recorder(lake, lakes.session_name(START), interval=300.0, depth=10)
    # With checkpoints: they are made once an hour.
    timed = lakes.market(count, seed=seed, level3=level3, step=1800 * SECOND // count)
    for at in range(0, count, 25):
        recorder.take(timed[at : at + 25])
    recorder.end()
    seal.recover(lake)
    later = START + 3600 * SECOND
    lakes.make(lake, lakes.market(300, begin=later, seed=seed + 1), session=lakes.session_name(later), depth=10)
    return lake


def altered(frame: pl.DataFrame, row: int, column: str, step: int) -> pl.DataFrame:
    """The frame with one number changed by ``step`` of its last digits."""
    kind = frame.schema[column]
    shift = pl.lit(step).cast(kind) if kind != pl.Decimal else pl.lit(f"{step}e-8").str.to_decimal(scale=10).cast(kind)
    here = pl.int_range(pl.len()) == row
    return frame.with_columns(pl.when(here).then((pl.col(column) + shift).cast(kind)).otherwise(column).alias(column))


def test_an_unaltered_lake_is_proved_with_the_same_counts(tmp_path: Path) -> None:
    """Sessions, journals, checkpoints, level 3; sealed, and then compacted."""
    lake = recorded(tmp_path / "lake", level3=True)
    assert len(lakes.parts(lake, "book")) > 3
    found = compared(lake)
    assert (found["outcome"], found["bad"], found["failures"]) == ("proved", 0, [])
    assert found["checksums"]["book"]["ok"] > 500
    assert found["checksums"]["level3"]["ok"] > 100
    assert found["checkpoints"] > 0
    compact(lake, grace=0)
    again = compared(lake)
    assert again["outcome"] == "proved"
    assert again["checksums"] == found["checksums"]


@pytest.mark.parametrize(
    ("table", "column", "channel"),
    [
        ("book", "price", "book"),
        ("book", "qty", "book"),
        ("book", "checksum", "book"),
        ("orders", "qty", "level3"),
        ("orders", "checksum", "level3"),
    ],
)
def test_one_digit_is_found(tmp_path: Path, table: str, column: str, channel: str) -> None:
    """With its symbol, session, message and time; `verify` says the same of it."""
    lake = recorded(tmp_path / "lake", level3=True)
    part = lakes.parts(lake, table)[1]
    rows = pl.read_parquet(part, hive_partitioning=False).with_row_index("n")
    # The best bid of the last message that names a bid: it is in the book, and in the checksum.
    chosen = rows.filter(pl.col("checksum").is_not_null(), pl.col("qty") > 0, side="bid", symbol="BTC/USD")
    row = chosen.filter(pl.col("message") < pl.col("message").max()).sort("price", "n")[-1]
    lakes.rewrite(part, lambda frame: altered(frame, row["n"][0], column, -(10**7) if column == "price" else 1))
    found = compared(lake)
    assert found["outcome"] == "not proved"
    assert found["failures"], "a wrong checksum is named"
    failure = found["failures"][0]
    assert (failure["symbol"], failure["session"]) == ("BTC/USD", lakes.session_name(START))
    assert (failure["channel"], failure["explained"]) == (channel, False)
    times = rows.filter(message=failure["message"])["ts_recv"].cast(pl.Int64)
    assert failure["message"] >= row["message"][0]
    assert int(failure["received"]) in times.to_list()
    sentence = (
        f"BTC/USD: message {failure['message']}: checksum {failure['expected']} expected, "
        f"{failure['computed']} computed, and the ledger does not say so"
    )
    assert sentence in found["problems"]
    sent = rows.filter(message=failure["message"], symbol="BTC/USD")["checksum"].to_list()
    assert failure["expected"] in [*sent, *(value + 1 for value in sent if column == "checksum")]


def test_a_removed_row_is_found(tmp_path: Path) -> None:
    """By the count of its part, and by that of its second."""
    lake = recorded(tmp_path / "lake")
    lakes.rewrite(lakes.parts(lake, "book")[1], lambda frame: pl.concat([frame[:100], frame[101:]]))
    found = compared(lake)
    assert found["outcome"] == "not proved"
    assert any("the ledger says" in problem for problem in found["problems"])
    assert any("the ledger counted" in problem for problem in found["problems"])


def some_row(frame: pl.DataFrame, random: Random) -> pl.DataFrame:
    """The frame without one row."""
    at = random.randrange(frame.height)
    return pl.concat([frame[:at], frame[at + 1 :]])


def some_digit(frame: pl.DataFrame, random: Random) -> pl.DataFrame:
    """The frame with another digit."""
    column = random.choice(
        [name for name in ("price", "qty", "checksum", "message", "trade_id") if name in frame.columns]
    )
    return altered(frame, random.randrange(frame.height), column, random.choice([1, 10]))


def twice(frame: pl.DataFrame, random: Random) -> pl.DataFrame:
    """The frame with one row twice."""
    at = random.randrange(frame.height)
    return pl.concat([frame[: at + 1], frame[at:]])


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_altered_the_two_say_the_same(tmp_path: Path, seed: int) -> None:
    """Rows removed, doubled and changed, parts removed and renamed, of any table, at random."""
    random = Random(seed)
    lake = recorded(tmp_path / "lake", seed=seed, count=600, level3=seed % 2 == 1)
    if seed % 3 == 2:
        compact(lake, grace=0)
    wrong: Callable[[pl.DataFrame, Random], pl.DataFrame]
    for _ in range(4):
        table = random.choice(["book", "book", "trades", "checkpoints", "ledger", "orders"])
        found = sorted((lake / table).glob("date=*/*.parquet"))
        if not found:
            continue
        part = random.choice(found)
        change = random.randrange(5)
        if change == 0:
            part.unlink()
            continue
        wrong = [some_row, some_digit, twice, some_digit][change - 1]
        if table == "ledger" and change != 1:
            continue
        lakes.rewrite(part, lambda frame, wrong=wrong: wrong(frame, random))
    found_by_both = compared(lake)
    assert found_by_both["outcome"] == "not proved"


def test_a_session_that_was_killed_is_proved_up_to_its_last_row(tmp_path: Path) -> None:
    """What the sealer says of it is enough; and what is not sealed is not verified."""
    lake = tmp_path / "lake"
    recorder = lakes.Recorder(lake, lakes.session_name(START), interval=3.0, depth=10)
    timed = lakes.market(500)
    for at in range(0, 500, 25):
        recorder.take(timed[at : at + 25])
    journal = recorder.die()
    assert journal.exists()
    for closed in recorder.closed[:-1]:
        seal.seal(lake, closed)
    waiting = proved(lake)
    assert waiting["problems"] == []
    assert any("is not sealed yet" in note for note in waiting["notes"])
    seal.recover(lake)
    found = compared(lake)
    assert found["outcome"] == "proved"
    assert found["checksums"]["book"]["ok"] > waiting["checksums"]["book"]["ok"] > 0


def test_one_day_of_a_longer_recording(tmp_path: Path) -> None:
    """Each day of a session that goes on over midnight is proved alone, and the note says that it is not all."""
    lake = tmp_path / "lake"
    midnight = (START // DAY + 1) * DAY
    begin = midnight - 5 * SECOND
    recorder = lakes.Recorder(lake, lakes.session_name(begin), interval=60.0, depth=10)
    timed = lakes.market(600, begin=begin)
    for at in range(0, 600, 25):
        recorder.take(timed[at : at + 25])
    recorder.end()
    seal.recover(lake)
    assert compared(lake)["outcome"] == "proved"
    days = sorted({path.name for path in lake.glob("*/date=*")})
    assert len(days) == 2
    sums = 0
    for day, words in zip(days, ("later days are not among these files", "earlier days are not"), strict=True):
        alone = tmp_path / day
        for folder in lake.glob(f"*/{day}"):
            shutil.copytree(folder, alone / "lake" / folder.parent.name / day)
        found = proved(alone / "lake")
        assert found["problems"] == []
        assert any(words in note for note in found["notes"])
        sums += found["checksums"]["book"]["ok"]
    assert sums == verify(lake).ok


def test_parts_without_their_ledger(tmp_path: Path) -> None:
    """The checksums are computed; what cannot be known is said. The name of a file does not matter."""
    lake = recorded(tmp_path / "lake")
    part = lakes.parts(lake, "book")[0]
    copy = tmp_path / "any name.parquet"
    shutil.copy(part, copy)
    found = proved(copy)
    assert (found["outcome"], found["problems"]) == ("proved", [])
    assert found["unaccounted"] == [lakes.session_name(START)]
    expected = pl.read_parquet(part, hive_partitioning=False).select(pl.struct("symbol", "message").n_unique()).item()
    assert found["ok"] == expected
    lakes.rewrite(copy, lambda frame: altered(frame, 0, "qty", 1))
    failed = proved(copy)
    assert failed["bad"] == 1
    assert failed["problems"][0].endswith(" computed")
    # A part from the middle has no snapshot: its checkpoints have the book.
    middle = lakes.parts(lake, "book")[4]
    blind = proved(middle)
    assert blind["unchecked"] > 0
    assert any("open the part of checkpoints" in note for note in blind["notes"])
    seen = proved(middle, lake / "checkpoints")
    assert seen["ok"] > blind["ok"]


def test_what_is_no_part_is_said_in_a_sentence(tmp_path: Path) -> None:
    """Something else as Parquet, text, nothing, a file that was cut or damaged, an empty day."""
    lake = recorded(tmp_path / "lake", count=300)
    pl.DataFrame({"a": [1, 2]}).write_parquet(tmp_path / "else.parquet")
    (tmp_path / "text.parquet").write_text("hello, this is no Parquet")
    (tmp_path / "nothing.parquet").touch()
    part = lakes.parts(lake, "book")[0]
    content = bytearray(part.read_bytes())
    (tmp_path / "cut.parquet").write_bytes(content[: len(content) // 2])
    content[len(content) // 3 : len(content) // 3 + 200] = bytes(200)
    (tmp_path / "hurt.parquet").write_bytes(content)
    pl.read_parquet(part, hive_partitioning=False).clear().write_parquet(tmp_path / "rows.parquet")
    pl.read_parquet(part, hive_partitioning=False).drop("price").write_parquet(tmp_path / "column.parquet")
    for name, words in {
        "else": "else.parquet: this is a Parquet file of something else",
        "text": "text.parquet cannot be read: it is no Parquet file",
        "nothing": "nothing.parquet cannot be read: the file is empty",
        "cut": "cut.parquet cannot be read: its end is missing",
        "hurt": "hurt.parquet cannot be read: ",
        "rows": "rows.parquet: it has no rows",
        "column": "column.parquet cannot be read: it has no column price",
    }.items():
        found = proved(tmp_path / f"{name}.parquet")
        assert found["outcome"] == "not proved"
        assert len(found["problems"]) <= 2
        assert words in found["problems"][0]
    (tmp_path / "empty" / "book").mkdir(parents=True)
    (tmp_path / "empty" / "_lake.json").write_text(json.dumps({"format": FORMAT, "version": 1}))
    assert proved(tmp_path / "empty")["problems"] == ["nothing was recorded: the files have no message of the exchange"]
    # The others are proved all the same.
    shutil.copy(tmp_path / "hurt.parquet", lakes.parts(lake, "book")[0])
    found = proved(lake)
    assert found["outcome"] == "not proved"
    assert sum("cannot be read" in problem for problem in found["problems"]) == 1
    assert found["ok"] > 0
    (lake / "book" / lakes.parts(lake, "book")[0].parent.name / "copy.parquet").write_bytes(b"x")
    assert any("copy.parquet is not a part of the lake" in problem for problem in proved(lake)["problems"])


def test_messages_are_whole_whatever_row_groups_they_lie_in(tmp_path: Path) -> None:
    """Row groups of a few rows, and of one: messages lie in several, and the counts stay."""
    lake = recorded(tmp_path / "lake", count=300)
    part = lakes.parts(lake, "book")[0]
    expected = proved(part)
    assert expected["ok"] > 20
    for rows in (1, 3, 50):
        copy = tmp_path / f"{rows}.parquet"
        pl.read_parquet(part, hive_partitioning=False).write_parquet(
            copy, row_group_size=rows, use_pyarrow=True, pyarrow_options={"store_schema": False}
        )
        found = proved(copy)
        assert found["problems"] == []
        assert (found["symbols"], found["messages"]) == (expected["symbols"], expected["messages"])
