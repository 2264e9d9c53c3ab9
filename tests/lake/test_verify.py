"""A lake proves itself, and whatever is taken from it or changed in it is missed and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

import frames
import lakes
from krakpot import _core
from krakpot.cli.main import main
from krakpot.errors import StorageError
from krakpot.lake import seal
from krakpot.lake.folder import Folder
from krakpot.lake.format import at_work, open_lake
from krakpot.lake.verify import Report, verify

MIDNIGHT = frames.START // frames.DAY * frames.DAY + frames.DAY


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of one session over three UTC days, with all tables, several journals, checkpoints, a gap and a lost
    trade.
    """
    lake = tmp_path_factory.mktemp("days") / "lake"
    begin = MIDNIGHT - frames.DAY // 2
    recorder = lakes.Recorder(lake, lakes.session_name(begin), frames=True, interval=1e9)
    step = 5 * 60 * frames.SECOND
    timed = lakes.market(600, begin=begin, step=step, level3=True)
    third = frames.Book("XRP/USD", price_precision=5)
    opening = [
        third.update([("bid", "0.50000", "1.00000000")], ts=MIDNIGHT),
        third.snapshot(),
        third.update([("bid", "0.50001", "1.00000000")], crc=third.checksum),
        third.update([("bid", "0.50002", "1.00000000")]),
        frames.trade("XRP/USD", 5),
        frames.trade("XRP/USD", 9),
        b"no frame at all",
    ]
    timed += [(MIDNIGHT + frames.HOUR + n, frame) for n, frame in enumerate(opening)]
    timed.sort(key=lambda item: item[0])
    assert timed[-1][0] > MIDNIGHT + frames.DAY
    # A flush a day ends exactly at midnight here; the next test file has one that crosses it.
    for quarter in range(MIDNIGHT - frames.DAY, MIDNIGHT + 3 * frames.DAY, frames.DAY // 4):
        some = [item for item in timed if quarter <= item[0] < quarter + frames.DAY // 4]
        if some:
            recorder.take(some)
    recorder.end()
    seal.recover(lake)
    for table in _core.TABLES:
        assert lakes.parts(lake, table), table
    assert len({part.parent.name for part in lakes.parts(lake, "book")}) == 3
    return lake


@pytest.fixture
def lake(days: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(days, tmp_path / "lake"))


def said(report: Report, *words: str) -> None:
    """The lake is not proved, and a sentence has all the words."""
    assert not report.proved
    assert any(all(word in sentence for word in words) for sentence in report.problems), report.problems


def test_the_whole_lake_is_proved(days: Path) -> None:
    """The guard: unspoiled, everything is right, and every kind of trouble in it has its reason."""
    report = verify(days)
    assert report.problems == []
    assert report.proved
    assert (report.bad, report.unchecked, report.errors, report.gaps) == (1, 2, 1, 2)
    assert report.checksums["book"]["ok"] > 400
    assert report.checksums["level3"] == {"ok": 122, "bad": 0}
    assert report.checkpoints > 50
    assert report.rows["frames"] == report.frames == 600 + 120 + 7 + 16
    assert report.symbols["book"]["XRP/USD"] == {"messages": 4, "ok": 1, "bad": 1, "unchecked": 2}
    assert dict(report.rows) == {table: lakes.rows(days, table).height for table in _core.TABLES}
    for table, channel in {"trades": "trade", "ticker": "ticker", "ohlc": "ohlc", "status": "status"}.items():
        assert report.messages[channel] == lakes.rows(days, table)["message"].n_unique()


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_the_verdict_does_not_depend_on_the_number_of_threads(days: Path, threads: int) -> None:
    """Symbols are shared out; sums stay."""
    assert verify(days, threads=threads).to_dict() == verify(days, threads=3).to_dict()


def test_strict_takes_no_excuse(days: Path) -> None:
    """A bad checksum that the ledger tells is no proof under ``strict``."""
    assert verify(days).proved
    assert not verify(days, strict=True).proved


def test_json_has_the_promised_keys(days: Path) -> None:
    """Scripts read these names."""
    facts = json.loads(json.dumps(verify(days).to_dict()))
    promised = {
        "frames",
        "messages",
        "rows",
        "checksums",
        "unchecked",
        "errors",
        "gaps",
        "outcome",
        "proved",
        "problems",
        "notes",
        "symbols",
    }
    assert promised <= set(facts)
    assert [set(facts["checksums"][channel]) for channel in ("book", "level3")] == [{"ok", "bad"}] * 2
    assert all(isinstance(facts[key], int) for key in ("frames", "unchecked", "errors", "gaps"))


@pytest.mark.parametrize("table", _core.TABLES)
def test_a_part_that_is_gone_is_missed(lake: Path, table: str) -> None:
    """One part less of any table, the ledger's own included: the sentence names the part, or the rows of the ledger."""
    part = lakes.parts(lake, table)[-1]
    part.unlink()
    report = verify(lake)
    if table == "ledger":
        said(report, "is not named in the ledger: a part of the ledger is missing")
        said(report, "has no end in the ledger")
    else:
        said(report, str(part.relative_to(lake)), "is missing")


@pytest.mark.parametrize("table", _core.TABLES)
def test_rows_that_are_gone_are_missed(lake: Path, table: str) -> None:
    """The last row of a part cut away, the part itself being well-formed."""
    part = lakes.parts(lake, table)[0]
    lakes.rewrite(part, lambda frame: frame.head(frame.height - 1))
    report = verify(lake)
    said(report, *(["of its ledger"] if table == "ledger" else [str(part.relative_to(lake)), "the ledger says"]))


@pytest.mark.parametrize("which", [1, 2], ids=["middle", "last"])
def test_a_day_that_is_gone_is_missed(lake: Path, which: int) -> None:
    """A whole day of all tables, its ledger too: the account has a hole, or no end."""
    names = sorted({part.parent.name for part in lakes.parts(lake, "ledger")})
    for folder in lake.glob(f"*/{names[which]}"):
        shutil.rmtree(folder)
    report = verify(lake)
    said(report, "not accounted for" if which == 1 else "has no end in the ledger")


def test_a_lake_without_its_first_day_is_still_proved(lake: Path) -> None:
    """Old days may be moved away: the books begin with their checkpoints, and a note says so."""
    names = sorted({part.parent.name for part in lakes.parts(lake, "ledger")})
    whole = verify(lake)
    for folder in lake.glob(f"*/{names[0]}"):
        shutil.rmtree(folder)
    report = verify(lake)
    assert report.problems == []
    assert any("earlier days are not in this lake" in note for note in report.notes)
    assert 0 < report.ok < whole.ok
    assert report.symbols["book"]["BTC/USD"]["unchecked"] == 0
    # The second day may go as well, but not the second day alone.
    for folder in lake.glob(f"*/{names[1]}"):
        shutil.rmtree(folder)
    assert verify(lake).problems == []


def test_a_lake_whose_journal_crossed_midnight_may_lose_its_first_day(tmp_path: Path) -> None:
    """One flush with rows of both days, as every midnight brings: the ledger of the second day names parts of the
    first.
    """
    lake = tmp_path / "lake"
    timed = lakes.market(2000, begin=MIDNIGHT - 20 * frames.SECOND)
    counts = lakes.make(lake, timed, session=lakes.session_name(timed[0][0]))
    assert verify(lake).checksums == counts["checksums"]
    folders = list(lake.glob("*/date=2026-08-02"))
    assert len(folders) == len(_core.TABLES) - 4, (
        "frames and level 3 were not recorded, and checkpoints are of the second day"
    )
    for folder in folders:
        shutil.rmtree(folder)
    report = verify(lake)
    assert report.problems == []
    assert len(report.notes) == 1
    assert report.ok > 0
    assert report.unchecked == 0


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("gap", ["XRP/USD", "an update without a snapshot"]),
        ("mismatch", ["XRP/USD", "checksum", "the ledger does not say so"]),
        ("trade_gap", ["XRP/USD", "trades 6 to 8 are missing, and the ledger does not say so"]),
        ("alive", ["not accounted for"]),
        ("disconnect", ["of its ledger are missing"]),
        ("decode_error", ["of its ledger are missing"]),
    ],
)
def test_a_ledger_without_its_reason_is_noticed(lake: Path, kind: str, words: list[str]) -> None:
    """The row that explains something taken out of its part: the trouble has no reason any more, and a number is
    missing.
    """
    for part in lakes.parts(lake, "ledger"):
        frame = pl.read_parquet(part, hive_partitioning=False)
        if kind in frame["kind"].to_list():
            lakes.rewrite(part, lambda frame: frame.filter(pl.col("kind") != kind))
            break
    else:
        pytest.fail(f"no part of the ledger has a row {kind}")
    report = verify(lake)
    said(report, *words)
    said(report, "of its ledger are missing")


def change(column: str, by: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Adds to the number of the third entry of the part that is no removal, near the touch."""

    def changed(frame: pl.DataFrame) -> pl.DataFrame:
        best = frame.with_row_index("row").filter(
            pl.col("side") == "bid", pl.col("qty") > 0, pl.col("kind") == "update"
        )
        row = best.sort("price", descending=True)["row"][0]
        numbers = frame[column].to_list()
        numbers[row] += Decimal(by)
        return frame.with_columns(pl.Series(column, numbers, dtype=pl.Decimal(38, 10)))

    return changed


@pytest.mark.parametrize(("column", "by"), [("price", "-0.1"), ("qty", "0.00000001"), ("qty", "1000000")])
@pytest.mark.parametrize("which", [0, -1])
def test_a_changed_digit_is_no_proof(lake: Path, column: str, by: str, which: int) -> None:
    """One digit of one price or quantity, in the first part or the last: the checksum computed from the rows is
    another.
    """
    part = lakes.parts(lake, "book")[which]
    lakes.rewrite(part, change(column, by))
    said(verify(lake), "checksum", "the ledger does not say so")


def test_a_changed_checkpoint_is_noticed(lake: Path) -> None:
    """A checkpoint must equal the book rebuilt from the rows."""
    part = lakes.parts(lake, "checkpoints")[1]
    more = (pl.col("qty") + Decimal("0.00000001")).cast(pl.Decimal(38, 10))
    lakes.rewrite(part, lambda frame: frame.with_columns(qty=more))
    said(verify(lake), "the checkpoint before message", "is not the book rebuilt from the rows")


@pytest.mark.parametrize("table", ["book", "trades", "ledger", "status", "checkpoints"])
@pytest.mark.parametrize("spoil", ["cut", "emptied", "overwritten", "zeroed inside"])
def test_a_part_that_cannot_be_read_is_a_sentence(lake: Path, table: str, spoil: str) -> None:
    """A file cut short, empty, of another kind or with zeros in its pages: not proved, the part named, no traceback."""
    part = lakes.parts(lake, table)[0]
    data = part.read_bytes()
    part.write_bytes({
        "cut": data[: len(data) // 2],
        "emptied": b"",
        "overwritten": b"not parquet" * 1000,
        "zeroed inside": data[:40] + bytes(len(data) // 3) + data[40 + len(data) // 3 :],
    }[spoil])  # fmt: skip
    report = verify(lake)
    said(report, str(part.relative_to(lake)), "cannot be read")
    assert sum(str(part.relative_to(lake)) in sentence for sentence in report.problems) < 3, (
        "said once, not for every column"
    )


@pytest.mark.slow
@pytest.mark.parametrize("table", ["book", "trades"])
def test_any_flipped_bit_is_told(lake: Path, table: str, record_property: Callable[[str, object], None]) -> None:
    """Bits all over a part, whether or not a checksum of the exchange covers them: never proved, no traceback."""
    part = lakes.parts(lake, table)[1]
    data = part.read_bytes()
    places = range(0, len(data), max(len(data) // 20, 1))
    record_property("times", len(places))
    for place in places:
        spoiled = bytearray(data)
        spoiled[place] ^= 1 << (place % 8)
        part.write_bytes(spoiled)
        report = verify(lake, threads=1)
        assert not report.proved, f"bit {place % 8} of byte {place}"
        assert str(part.relative_to(lake)) in " ".join(report.problems)


@pytest.mark.slow
def test_any_flipped_bit_of_the_ledger_is_read_or_told(lake: Path) -> None:
    """The ledger names the other parts, and nobody names it: verification comes to an end with a report."""
    part = lakes.parts(lake, "ledger")[1]
    data = part.read_bytes()
    told = 0
    for place in range(0, len(data), max(len(data) // 20, 1)):
        spoiled = bytearray(data)
        spoiled[place] ^= 1 << (place % 8)
        part.write_bytes(spoiled)
        told += not verify(lake, threads=1).proved
    assert told > 5


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("sealed", "{"),
        ("sealed", "[]"),
        ("sealed", '{"table":"book"}'),
        ("sealed", '{"part":"book","first":0,"last":1}'),
        ("sealed", '{"part":"book/date=2026-08-02/100000-x-0.parquet","first":"0","last":1}'),
        ("sealed", '{"part":"book/date=2026-08-02/100000-x-0.parquet","first":0,"last":null}'),
        ("alive", '{"rows":{"book":"1"}}'),
        ("alive", '{"rows":[1]}'),
    ],
)
def test_a_row_of_the_ledger_that_makes_no_sense_is_told(lake: Path, kind: str, text: str) -> None:
    """A spoiled fact is a problem with its place, and the rest is verified."""

    def spoil(frame: pl.DataFrame) -> pl.DataFrame:
        first = pl.int_range(pl.len()) == pl.col("kind").eq(kind).arg_max()
        return frame.with_columns(detail=pl.when(first).then(pl.lit(text)).otherwise("detail"))

    lakes.rewrite(lakes.parts(lake, "ledger")[0], spoil)
    said(verify(lake), f" of the ledger (kind `{kind}`) is malformed")


def test_a_lake_sealed_before_hashes_were_kept_is_still_proved(lake: Path) -> None:
    """A ledger without SHA-256 is of an earlier krakpot, not wrong."""

    def forget(frame: pl.DataFrame) -> pl.DataFrame:
        old = pl.col("detail").str.replace(r',"sha256":"[0-9a-f]{64}"', "")
        return frame.with_columns(detail=old)

    for part in lakes.parts(lake, "ledger"):
        assert pl.read_parquet(part)["detail"].str.contains("sha256").any()
        lakes.rewrite(part, forget)
    assert verify(lake).proved


def test_a_foreign_part_is_noticed(lake: Path) -> None:
    """A part that the ledger does not name, such as a copy under another name, is not part of the record."""
    part = lakes.parts(lake, "trades")[0]
    session = part.stem.partition("-")[2].rpartition("-")[0]
    shutil.copy(part, part.with_name(f"000000-{session}-99.parquet"))
    said(verify(lake), "is not named in the ledger")


def test_a_journal_that_nobody_owns_is_named_with_its_cure(tmp_path: Path) -> None:
    """What is not sealed is not proved; what is being recorded is no mistake."""
    lake = tmp_path / "lake"
    recorder = lakes.Recorder(lake)
    recorder.take(lakes.market(20))
    alive = verify(lake)
    assert (alive.outcome, alive.proved, alive.problems) == ("nothing yet", False, [])
    assert any("was being recorded or sealed" in note for note in alive.notes)
    recorder.die()
    said(verify(lake), f"run `krakpot recover {lake}`")
    seal.recover(lake)
    assert verify(lake).proved


def test_progress_is_told(days: Path) -> None:
    """Bytes of parts, which grow to the size of all of them."""
    told: list[tuple[int, int, str]] = []
    verify(days, threads=1, progress=lambda *one: told.append(one))
    size = sum(part.path.stat().st_size for table in _core.TABLES for part in Folder(days).parts(table))
    assert {(total, unit) for _, total, unit in told} == {(size, "bytes")}
    done = [one for one, _, _ in told]
    assert done == sorted(done)
    assert 0 < done[0] < done[-1] == size


NOTHING = "nothing was recorded: the lake has no message of the exchange"


def test_an_empty_lake_proves_nothing_and_says_so(tmp_path: Path) -> None:
    """No session is no success, unless a recorder has only just begun."""
    lake = tmp_path / "lake"
    open_lake(lake)
    report = verify(lake)
    assert (report.proved, report.sessions, report.problems) == (False, 0, [NOTHING])
    assert report.notes == [f"to record into it, run `krakpot record --out {lake}`"]
    assert report.outcome == "not proved"
    with at_work(lake):
        report = verify(lake)
    assert (report.problems, report.notes) == ([], ["nothing is sealed yet, so nothing was verified"])
    assert (report.outcome, report.proved, report.to_dict()["outcome"]) == ("nothing yet", False, "nothing yet")


def test_a_recording_that_never_connected_is_no_success(tmp_path: Path) -> None:
    """Its ledger says that it tried, and adds up; there is no message in the lake."""
    lake = tmp_path / "lake"
    recorder = lakes.Recorder(lake)
    for kind in ("start", "connect", "refused"):
        recorder.session.add_ledger_row(kind, frames.START, detail="{}")
    recorder.end()
    seal.recover(lake)
    assert verify(lake).problems == [NOTHING]
    assert CliRunner().invoke(main, ["verify", str(lake)]).exit_code == 1
    lakes.make(lake, lakes.market(20), session=lakes.session_name(frames.START))
    assert verify(lake).problems == []


def test_foreign_parquet_is_named(tmp_path: Path) -> None:
    """What other readers would take for rows of the lake is a problem; what a file manager hides is a note."""
    lake = tmp_path / "lake"
    lakes.make(lake, lakes.market(50))
    (part,) = lakes.parts(lake, "book")
    hidden, copy = part.with_name(f"._{part.name}"), part.with_name("copy of a part.parquet")
    hidden.write_bytes(b"an attribute file of another system")
    report = verify(lake)
    assert report.problems == []
    assert [note for note in report.notes if f"date=2026-08-02/{hidden.name} is not a part" in note]
    shutil.copy(part, copy)
    assert verify(lake).problems == [
        f"book/date=2026-08-02/{copy.name} is not a part of the lake, and other readers would read it: move it away"
    ]


def test_what_is_no_lake_is_an_error(tmp_path: Path) -> None:
    """Nothing is proved about a folder that is not there."""
    with pytest.raises(StorageError, match="there is no such folder"):
        verify(tmp_path / "none")


def test_sessions_that_follow_each_other_need_each_other(tmp_path: Path) -> None:
    """A session that was cut names its end, the next one the one before and the gap: without either, not proved."""
    names = [f"019e{n:04x}-0000-7000-8000-000000000000" for n in range(3)]
    lake = tmp_path / "lake"
    for n, name in enumerate(names):
        recorder = lakes.Recorder(lake, name)
        begin = frames.START + n * frames.HOUR
        facts = {} if n == 0 else {"previous": names[n - 1]}
        recorder.session.add_ledger_row("connect", begin, detail=json.dumps(facts))
        if n:
            recorder.session.add_ledger_row("gap", begin, ts_from=begin - frames.HOUR, ts_to=begin)
        recorder.take(lakes.market(50, begin=begin))
        recorder.session.end(recorder.session.now, "cut")
        if n == len(names) - 1:
            recorder.session.add_ledger_row("stop", recorder.session.now)
        recorder.flush(recorder.session.now)
        recorder.writer.close()
    seal.recover(lake)
    report = verify(lake)
    assert (report.problems, report.sessions, report.gaps) == ([], 3, 2)
    for gone, words in [(2, ["was cut and the recorder went on"]), (1, ["follows", "not in this lake"])]:
        copy = Path(shutil.copytree(lake, tmp_path / f"without{gone}"))
        for part in copy.rglob(f"*{names[gone]}*.parquet"):
            part.unlink()
        said(verify(copy), *words)
    without_first = Path(shutil.copytree(lake, tmp_path / "without0"))
    for part in without_first.rglob(f"*{names[0]}*.parquet"):
        part.unlink()
    report = verify(without_first)
    assert report.problems == []
    assert any("the lake begins with session" in note for note in report.notes)


def test_two_messages_of_one_symbol_in_one_frame(tmp_path: Path) -> None:
    """Kraken sends one a frame, but the record of two is proved as live checked it: one after the other."""
    book = frames.Book("BTC/USD")
    first = book.snapshot([("100.1", "1.0")], [("100.2", "2.0")])
    updates = [book.update([("bid", price, "1.5")]) for price in ("100.0", "99.9")]
    inner = [frame.partition(b'"data":[')[2].removesuffix(b"]}") for frame in updates]
    both = b'{"channel":"book","type":"update","data":[' + b",".join(inner) + b"]}"
    lake = tmp_path / "lake"
    counts = lakes.make(lake, [(frames.START, first), (frames.START + 1, both)], precision={"BTC/USD": (1, 8)})
    assert counts["checksums"]["book"] == {"ok": 3, "bad": 0}
    report = verify(lake)
    assert (report.ok, report.bad, report.problems) == (3, 0, [])
