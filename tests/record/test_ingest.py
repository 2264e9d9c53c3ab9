"""Recorded frames go through the same session as live ones, give the same rows, and a file counts once."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

import frames
import lakes
from krakpot import _core
from krakpot.errors import ConfigError, FeedError, StorageError
from krakpot.lake import journal, seal
from krakpot.lake.verify import verify
from krakpot.record.ingest import FRAME_MAX, IngestResult, ingest, name_session

BTC, XRP, OLD = "book-btcusd-d25.jsonl", "book-xrpusd-d25.jsonl", "book-btcusd-d10-2023-unpadded.jsonl"


def book(result: IngestResult) -> tuple[int, int]:
    """Checksums that were right and wrong."""
    counts = result.counts["checksums"]["book"]
    return counts["ok"], counts["bad"]


@pytest.mark.parametrize(("name", "ok", "snapshots"), [(BTC, 2052, 1), (XRP, 1147, 1)])
def test_real_recordings_with_raw(tmp_path: Path, data: Path, name: str, ok: int, snapshots: int) -> None:
    """Every checksum of Kraken's is right, live and from Parquet alone; the frames are kept byte for byte."""
    path = data / "recorded" / name
    lake = tmp_path / "lake"
    result = ingest(path, lake, raw=True)
    lines = path.read_bytes().splitlines()
    assert book(result) == (ok, 0)
    assert (result.counts["unchecked"], result.counts["errors"], result.skipped) == (0, 0, 0)
    assert result.counts["frames"] == len(lines)
    assert "depth 25 (from the ack)" in result.remarks[0]
    report = verify(lake)
    assert report.problems == []
    assert (report.ok, report.bad, report.unchecked, report.frames) == (ok, 0, 0, len(lines))
    assert report.messages["book"] == ok
    kept = lakes.rows(lake, "frames")
    assert kept["frame"].to_list() == lines
    times = [int(text) for text in path.with_suffix(".recv_ns").read_text().split()]
    assert kept["ts_recv"].to_physical().to_list() == times
    assert lakes.rows(lake, "ledger").filter(kind="snapshot", channel="book").height == snapshots


def test_the_unpadded_recording_of_2023_with_its_precision_told(tmp_path: Path, data: Path) -> None:
    """Trailing zeros were lost on the way; with the pair's precision all 510 checksums are right."""
    result = ingest(data / "recorded" / OLD, tmp_path / "lake", precision={"BTC/USD": (1, 8)}, depth=10)
    assert book(result) == (510, 0)
    assert result.remarks == ["BTC/USD: precision 1,8 (as given), depth 10 (as given)"]
    report = verify(tmp_path / "lake")
    assert (report.ok, report.bad, report.unchecked, report.problems) == (510, 0, 0, [])


def test_the_unpadded_recording_without_its_precision_is_judged_honestly(tmp_path: Path, data: Path) -> None:
    """Nobody told the precision: whatever cannot be proved is counted bad or unchecked, with its reason, and never ok
    by luck.
    """
    result = ingest(data / "recorded" / OLD, tmp_path / "lake")
    ok, bad = book(result)
    assert ok + bad + result.counts["unchecked"] == 510
    assert "inferred from the snapshot" in result.remarks[0]
    report = verify(tmp_path / "lake")
    assert (report.ok, report.bad, report.unchecked) == (ok, bad, result.counts["unchecked"])
    assert report.problems == [], "the ledger says why"
    if ok < 510:
        assert bad == 1
        assert not verify(tmp_path / "lake", strict=True).proved


def test_the_compressed_form_gives_the_same_lake(tmp_path: Path, data: Path) -> None:
    """``.jsonl.zst`` with its times beside it: the same session, the same rows; and the same file as far as refusing
    goes.
    """
    plain = data / "recorded" / XRP
    packed = tmp_path / (XRP + ".zst")
    packed.write_bytes(pa.compress(plain.read_bytes(), codec="zstd", asbytes=True))
    shutil.copy(plain.with_suffix(".recv_ns"), tmp_path)
    ingest(plain, tmp_path / "plain", raw=True)
    ingest(packed, tmp_path / "packed", raw=True)
    compared = 0
    for table in _core.TABLES:
        left, right = (lakes.rows(tmp_path / name, table) for name in ("plain", "packed"))
        if table == "ledger":
            left, right = (frame.filter(pl.col("kind") != "start") for frame in (left, right))
        assert left.equals(right), table
        compared += left.height
    assert compared > 3000
    with pytest.raises(ConfigError, match="already"):
        ingest(packed, tmp_path / "plain")


def test_a_file_counts_once(tmp_path: Path) -> None:
    """The same content is refused under any name; the lake stays as it was. Other content is taken."""
    path = lakes.write_frames(tmp_path / "a.jsonl", lakes.market(50))
    lake = tmp_path / "lake"
    first = ingest(path, lake)
    before = {part: part.read_bytes() for part in lake.rglob("*.parquet")}
    other = tmp_path / "b.jsonl"
    for suffix in (".jsonl", ".recv_ns"):
        shutil.copy(path.with_suffix(suffix), other.with_suffix(suffix))
    for again in (path, other):
        with pytest.raises(
            ConfigError, match=f"is in the lake {lake} already, as session {first.session}; nothing was added"
        ):
            ingest(again, lake)
    assert {part: part.read_bytes() for part in lake.rglob("*.parquet")} == before
    ingest(lakes.write_frames(tmp_path / "c.jsonl", lakes.market(50, seed=2)), lake)
    assert verify(lake).sessions == 2


def test_documented_examples(tmp_path: Path, data: Path) -> None:
    """The exchange's own examples with their published checksums, through files and Parquet."""
    for name, precision, checksums in [
        ("book_snapshot_worked_example_wire.json", {}, [3310070434]),
        ("book_channel_page_matic_snapshot_and_update.jsonl", {"MATIC/USD": (4, 8)}, [2439117997, 2114181697]),
        ("btc_2025_float_roundtrip.json", {"BTC/USD": (1, 8)}, [2610022218]),
    ]:
        lake = tmp_path / name
        result = ingest(data / "examples" / name, lake, precision=precision)
        assert book(result) == (len(checksums), 0), name
        rows = lakes.rows(lake, "book")
        assert rows["checksum"].unique(maintain_order=True).to_list() == checksums
        report = verify(lake)
        assert (report.ok, report.problems) == (len(checksums), [])


def test_single_recorded_messages_of_most_kinds(tmp_path: Path, data: Path) -> None:
    """Messages that others recorded: acks, refusals, tickers, trades, candles; private ones are counted, and nothing
    is an error.
    """
    lake = tmp_path / "lake"
    names = ["roq_kraken_2026-01.jsonl", "bytex_2026-09-25.jsonl", "acks_and_pong.jsonl", "trades_multi_2025-07.jsonl"]
    errors = 0
    for name in names:
        result = ingest(data / "examples" / name, lake)
        errors += result.counts["errors"]
    assert errors == 0, lakes.rows(lake, "ledger").filter(kind="decode_error")["detail"].to_list()
    assert 1875479340 in lakes.rows(lake, "book")["checksum"].to_list()
    for table in ("book", "trades", "ticker", "ohlc", "status"):
        assert lakes.rows(lake, table).height, table
    assert verify(lake).problems == []


def test_without_receive_times_the_largest_exchange_time_so_far_stands_in(tmp_path: Path) -> None:
    """Frames before the first time take it; later ones never go back."""
    at = [frames.START + n * frames.SECOND for n in (0, 5, 3, 9)]
    sent = [frames.HEARTBEAT, *(frames.trade("BTC/USD", n, ts=ts) for n, ts in enumerate(at)), frames.HEARTBEAT]
    path = lakes.write_frames(tmp_path / "a.jsonl", [(0, frame) for frame in sent], times=False)
    ingest(path, tmp_path / "lake", raw=True)
    found = lakes.rows(tmp_path / "lake", "frames")["ts_recv"].to_physical()
    assert ((found - frames.START) // frames.SECOND).to_list() == [0, 0, 5, 5, 9, 9]


def test_a_session_is_named_by_its_content_and_first_time(tmp_path: Path) -> None:
    """A UUIDv7: the first time in milliseconds, then a hash of frames and times; so sessions sort by time."""
    path = lakes.write_frames(tmp_path / "a.jsonl", lakes.market(5))
    times = [ts for ts, _ in lakes.market(5)]
    name = name_session(path, times)
    assert int(name.replace("-", "")[:12], 16) == frames.START // 1_000_000
    assert (name[14], name[19] in "89ab", len(name)) == ("7", True, 36)
    assert name != name_session(path, [times[0], *(ts + 1 for ts in times[1:])])
    assert name_session(path, None)[:13] == name[:13], "without times the first one on the wire"


def test_lines_beyond_the_limit_are_skipped_and_counted(tmp_path: Path) -> None:
    """A line of more than 16 MiB does not fill the memory, costs no other line, and stands in the ledger."""
    timed = lakes.market(30)
    good = [frame for _, frame in timed]
    longest = b'{"channel":"heartbeat","pad":"' + b"x" * (FRAME_MAX - 32) + b'"}'
    assert len(longest) == FRAME_MAX
    lines = [*good[:20], longest + b"y", *good[20:], b"z" * (FRAME_MAX + 5_000_000), longest]
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(lines))
    path.with_suffix(".recv_ns").write_text("".join(f"{frames.START + n}\n" for n in range(len(lines))))
    result = ingest(path, tmp_path / "lake")
    assert result.skipped == 2
    assert result.counts["frames"] == len(good) + 1
    assert result.counts["errors"] == 0
    assert result.counts["checksums"]["book"]["bad"] == 0
    limits = lakes.rows(tmp_path / "lake", "ledger").filter(kind="limit")
    assert [lakes.facts(detail)["line"] for detail in limits["detail"]] == [21, len(good) + 2]
    report = verify(tmp_path / "lake")
    assert (report.problems, report.errors) == ([], 2)


def test_blank_lines_and_windows_ends_are_no_frames(tmp_path: Path) -> None:
    """What editors leave behind."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n\r\n" + b"\r\n".join(frame for _, frame in lakes.market(30)) + b"\r\n\n")
    result = ingest(path, tmp_path / "lake")
    assert (result.counts["frames"], result.counts["errors"]) == (len(lakes.market(30)), 0)


def test_a_bad_frame_is_counted_and_the_rest_goes_on(tmp_path: Path) -> None:
    """Malformed, cut, of wrong type, too deep, not UTF-8, before its snapshot, with too many digits: each told, none
    fatal.
    """
    good = lakes.market(100)
    update = frames.book("update", "NEW/USD", [("bid", "1.0", "1.0")], 1)
    bad = [
        b"{", b"null", b"[]", b"\xff\xfe", b'{"channel":"book"}', b'{"channel":"book","type":"update","data":7}',
        b'{"channel":"x","a":' + b"[" * 100 + b"]" * 100 + b"}", good[-1][1][:-2], b'{"channel":"\xc3"}',
        frames.trade("BTC/USD", 1).replace(b'"buy"', b"7"),
        frames.book("update", "NEW/USD", [("bid", "1" * 40, "1")], 1),
        frames.book("snapshot", "NEW/USD", [("bid", "0.00000000001", "1")], 1),
    ]  # fmt: skip
    timed = [*good, *((good[-1][0], frame) for frame in [update, *bad])]
    result = ingest(lakes.write_frames(tmp_path / "a.jsonl", timed), tmp_path / "lake")
    assert result.counts["errors"] == len(bad)
    assert result.counts["unchecked"] == 1
    assert result.counts["checksums"]["book"]["bad"] == 0
    ledger = lakes.rows(tmp_path / "lake", "ledger")
    assert ledger.filter(pl.col("kind").is_in(["decode_error", "limit"]))["count"].sum() == len(bad)
    assert "update without a snapshot" in ledger.filter(kind="gap")["detail"].item()
    excerpts = [
        lakes.facts(detail).get("excerpt") for detail in ledger.filter(kind="decode_error")["detail"].drop_nulls()
    ]
    assert "{" in excerpts
    assert verify(tmp_path / "lake").problems == []


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: None, "there is no such file; give files with one frame per line"),
        (lambda path: path.mkdir(), "cannot be read: Is a directory"),
        (lambda path: path.write_bytes(b""), "has no frames"),
        (lambda path: path.write_bytes(b"\n\n"), "has no frames"),
    ],
)
def test_a_file_that_gives_nothing(tmp_path: Path, make: object, sentence: str) -> None:
    """One sentence with the path, and the lake holds nothing of it."""
    assert callable(make)
    path = tmp_path / "a.jsonl"
    make(path)
    with pytest.raises(ConfigError, match=f"^{path}: {sentence}"):
        ingest(path, tmp_path / "lake")
    assert not list((tmp_path / "lake").rglob("*.parquet"))


LINES = [b'{"channel":"heartbeat"}', frames.status(), *(frame for _, frame in lakes.market(20))]
NOT_FRAMES = {
    "an array": (b"[" + b",".join(LINES) + b"]\n", "is a JSON array"),
    "quoted": (
        b"".join(json.dumps(line.decode()).encode() + b"\n" for line in LINES),
        "has JSON strings, with messages",
    ),
    "a time before": (
        b"".join(b"2026-08-02T03:35:50.1234567Z " + line + b"\n" for line in LINES),
        "has something before the message in each line; receive times belong in a .recv_ns file",
    ),
    "a number before": (
        b"".join(b"1785641750.0: " + line + b"\n" for line in LINES),
        "has something before the message",
    ),
    "other objects": (b'{"time":1}\n' * 30, "has JSON objects that are not messages: they have neither a channel nor"),
    "text": (b"time,bid,ask\n1,2,3\n", "has no message: none of the first 2 lines is a JSON object"),
    "one": (b"time,bid,ask\n", "has no message: its only line is no JSON object"),
    "many": (b"time,bid,ask\n" * 10_000, "has no message: none of the first 4,096 lines is a JSON object"),
}


@pytest.mark.parametrize(("content", "words"), NOT_FRAMES.values(), ids=NOT_FRAMES)
def test_a_file_that_has_no_frames_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    """One sentence that says what the file has and what is expected; nothing of it is kept."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(FeedError, match=f"^{re.escape(str(path))}: {re.escape(words)}") as caught:
        ingest(path, tmp_path / "lake")
    assert "a file must have one message per line, as Kraken sent it: {" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "lake").exists()


def test_lines_that_cannot_be_decoded_are_counted(tmp_path: Path) -> None:
    """Some of many: the others are taken, and the number is in the result."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b"".join(line + b"\n" for line in [b"# exported by hand", *LINES, b'{"channel":"book","type":"upd'])
    )
    result = ingest(path, tmp_path / "lake")
    assert (result.undecodable, result.counts["frames"]) == (2, len(LINES) + 2)
    assert verify(tmp_path / "lake").errors == 2
    good = tmp_path / "b.jsonl"
    good.write_bytes(b"".join(line + b"\n" for line in LINES))
    assert ingest(good, tmp_path / "other").undecodable == 0


def test_a_gz_file_is_simply_read(tmp_path: Path) -> None:
    """The same rows as of the plain file, with the receive times beside it; one that was cut off is an error."""
    timed = lakes.market(200)
    plain = lakes.write_frames(tmp_path / "a.jsonl", timed)
    packed = tmp_path / "b.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    shutil.copy(plain.with_suffix(".recv_ns"), tmp_path / "b.recv_ns")
    ingest(plain, tmp_path / "plain")
    ingest(packed, tmp_path / "packed")
    left, right = (lakes.rows(tmp_path / name, "book") for name in ("plain", "packed"))
    assert left.equals(right)
    assert left.height > 100
    for number, broken in enumerate((packed.read_bytes()[:-20], b"this is no gzip", gzip.compress(b"x")[:5])):
        path = tmp_path / f"broken{number}.jsonl.gz"
        path.write_bytes(broken)
        with pytest.raises(ConfigError, match=f"^{path}: cannot be read: "):
            ingest(path, tmp_path / "lake")
    assert not list((tmp_path / "lake").rglob("*.parquet"))


@pytest.mark.parametrize(
    ("scale", "words"),
    [
        (lambda ts: ts - frames.START + 7_384_000_000_000, "is 1970-01-01 02:03:04, not a receive time"),
        (lambda ts: ts // 10**3, "is 1970-01-21 16:00:41, not a receive time"),
        (lambda ts: ts // 10**9, "is 1970-01-01 00:00:01, not a receive time"),
        (lambda ts: -ts, "is 1913-"),
        (lambda ts: ts * 1000, "is beyond all dates, not a receive time"),
        (lambda ts: ts * 10**30, "is beyond all dates, not a receive time"),
    ],
    ids=["monotonic", "microseconds", "seconds", "negative", "picoseconds", "huge"],
)
def test_receive_times_of_another_clock(tmp_path: Path, scale: Callable[[int], int], words: str) -> None:
    """Not nanoseconds since the epoch: refused with the line and what it would mean, before there is a lake."""
    timed = lakes.market(20)
    path = lakes.write_frames(tmp_path / "a.jsonl", timed)
    path.with_suffix(".recv_ns").write_text("".join(f"{scale(ts)}\n" for ts, _ in timed))
    with pytest.raises(ConfigError, match=r"a\.recv_ns: line 1: .* must be nanoseconds since the epoch, UTC") as caught:
        ingest(path, tmp_path / "lake")
    assert words in str(caught.value)
    assert not (tmp_path / "lake").exists()


@pytest.mark.slow
@pytest.mark.parametrize("count", [100, 20_000])
@pytest.mark.parametrize("keep", [0, 0.5, 0.99])
def test_a_compressed_file_that_is_damaged(tmp_path: Path, count: int, keep: float) -> None:
    """Cut off or no zstd at all: one sentence, no half session in the lake, nothing left in the journal."""
    whole = pa.compress(b"".join(frame + b"\n" for _, frame in lakes.market(count)), codec="zstd", asbytes=True)
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(whole[: int(len(whole) * keep)] if keep else b"this is no zstd frame")
    with pytest.raises(ConfigError, match=f"^{path}: cannot be read: "):
        ingest(path, tmp_path / "lake")
    assert [file.name for file in (tmp_path / "lake").rglob("*") if file.is_file()] in ([], ["_lake.json"])


@pytest.mark.parametrize("count", [50, 9000])
@pytest.mark.parametrize("more", [-1, 1])
def test_receive_times_that_do_not_fit(tmp_path: Path, count: int, more: int) -> None:
    """One time too few or too many, in a small file or one of several chunks and days: refused, and nothing is kept of
    it.
    """
    timed = lakes.market(count, step=20 * frames.SECOND)
    path = lakes.write_frames(tmp_path / "a.jsonl", timed)
    times = [ts for ts, _ in timed]
    times = times[:-1] if more < 0 else [*times, times[-1]]
    path.with_suffix(".recv_ns").write_text("".join(f"{ts}\n" for ts in times))
    lake = tmp_path / "lake"
    with pytest.raises(ConfigError, match=rf"has {len(timed)} frames and {len(times)} receive times beside it"):
        ingest(path, lake)
    assert not list(lake.rglob("*.parquet"))
    assert not journal.journals(lake)
    lakes.write_frames(path, timed)
    assert ingest(path, lake).counts["frames"] == len(timed), "once they fit, it is taken"


def test_receive_times_that_are_no_numbers(tmp_path: Path) -> None:
    """The sentence names the file with the times."""
    path = lakes.write_frames(tmp_path / "a.jsonl", lakes.market(5))
    path.with_suffix(".recv_ns").write_text("yesterday\n")
    with pytest.raises(
        ConfigError, match=r"a\.recv_ns: must have one whole number per line, nanoseconds since the epoch"
    ):
        ingest(path, tmp_path / "lake")


def test_a_full_disk_during_ingest_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The frames still stand in their file, so a half session is worth nothing: it goes, and the next attempt is
    whole.
    """
    path = lakes.write_frames(tmp_path / "a.jsonl", lakes.market(9000))
    lake = tmp_path / "lake"
    real = journal.Writer._append  # where the disk is written
    calls: list[int] = []

    def full(writer: journal.Writer, kind: int, payload: bytes) -> None:
        calls.append(kind)
        if len(calls) > 1:
            assert writer.path is not None
            raise StorageError("cannot write the journal: the disk is full", writer.path)
        real(writer, kind, payload)

    with monkeypatch.context() as patch:
        patch.setattr(journal.Writer, "_append", full)
        with pytest.raises(StorageError, match="disk is full"):
            ingest(path, lake)
    assert len(calls) >= 2
    assert not lake.exists()
    assert ingest(path, lake).counts["frames"] == len(lakes.market(9000))
    assert verify(lake).problems == []


KILL = """
import os, sys
from pathlib import Path
from krakpot.record.ingest import ingest
ingest(Path(sys.argv[1]), Path(sys.argv[2]), progress=lambda *_: os._exit(9))
"""


@pytest.mark.slow
@pytest.mark.parametrize("recovered", [False, True])
def test_a_killed_ingest_is_made_up_for_by_the_next(tmp_path: Path, recovered: bool) -> None:
    """Killed half way, sealed by a recovery or not: the same file is then taken whole, every row once."""
    path = lakes.write_frames(tmp_path / "a.jsonl", lakes.market(9000))
    lake = tmp_path / "lake"
    assert subprocess.run([sys.executable, "-c", KILL, str(path), str(lake)], check=False, timeout=120).returncode == 9
    assert len(journal.journals(lake)) == 1
    if recovered:
        assert len(seal.recover(lake).recovered) == 1
    result = ingest(path, lake, raw=True)
    assert lakes.rows(lake, "frames")["message"].to_list() == list(range(len(lakes.market(9000))))
    report = verify(lake)
    assert (report.problems, report.ok, report.sessions) == ([], book(result)[0], 1)
    with pytest.raises(ConfigError, match="already"):
        ingest(path, lake)


def test_a_file_that_is_being_ingested_is_left_alone(tmp_path: Path) -> None:
    """Two at once: the second is told, the first goes on."""
    timed = lakes.market(50)
    path = lakes.write_frames(tmp_path / "a.jsonl", timed)
    lake = tmp_path / "lake"
    first = lakes.Recorder(lake, name_session(path, [ts for ts, _ in timed]))
    first.take(timed[:20])
    with pytest.raises(ConfigError, match="is being put into the lake .* by another process"):
        ingest(path, lake)
    assert journal.journals(lake) == [first.writer.path]
    first.writer.discard()
    assert ingest(path, lake).counts["frames"] == len(timed)


def test_a_lake_that_cannot_be_written(tmp_path: Path) -> None:
    """Below a regular file there is no folder: a sentence with the path."""
    path = lakes.write_frames(tmp_path / "a.jsonl", lakes.market(5))
    (tmp_path / "file").write_text("")
    with pytest.raises(
        StorageError, match="a lake cannot be made here; choose a folder that you may write to"
    ) as caught:
        ingest(path, tmp_path / "file" / "lake")
    assert caught.value.path == tmp_path / "file" / "lake"
