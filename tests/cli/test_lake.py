"""Commands on a lake: what they print and what they exit with."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

import channels
import frames
import lakes
from commands import facts, krakpot, wrong
from krakpot.cli import bar
from krakpot.lake.format import open_lake
from krakpot.lake.lake import Lake

JSON_KEYS = {"frames", "messages", "rows", "checksums", "unchecked", "errors", "gaps"}


pytestmark = pytest.mark.usefixtures("folder")


def test_ingest_then_verify(folder: Path, file: Path) -> None:
    """For people: what was done, and ``proved``."""
    done = krakpot("ingest", file, "--out", "lake")
    assert done.exit_code == 0, done.output
    assert "214 frames" in done.stdout
    assert " 0 bad" in done.stdout
    assert "precision 1,8 (from the instrument channel), depth 10 (from the ack)" in done.stdout
    proof = krakpot("verify", "lake")
    assert proof.exit_code == 0
    assert proof.stdout.splitlines()[-1] == "proved"
    assert sorted(path.name for path in folder.iterdir()) == ["good.jsonl", "good.recv_ns", "lake"]


def test_json_of_ingest_and_verify_agree(file: Path) -> None:
    """One object each, with the promised keys and the same figures."""
    done = facts(krakpot("ingest", file, "--out", "lake", "--json"))
    proof = facts(krakpot("verify", "lake", "--json"))
    assert set(done) >= JSON_KEYS
    assert set(proof) >= JSON_KEYS
    for key in JSON_KEYS - {"rows", "messages"}:
        assert done[key] == proof[key], key
    assert done["checksums"]["book"]["ok"] > 100
    sealer = len(list(Path("lake").glob("*/*/*.parquet"))) - 1
    assert proof["rows"] == done["rows"] | {"ledger": done["rows"]["ledger"] + sealer}
    assert proof["messages"] == {channel: n for channel, n in done["messages"].items() if channel != "reply"}
    assert proof["proved"] is True


def test_several_files_and_a_refused_one(folder: Path, file: Path) -> None:
    """Sums over files; a file that is there already is wrong use."""
    other = lakes.write_frames(folder / "other.jsonl", lakes.market(100, seed=2))
    done = facts(krakpot("ingest", file, other, "--out", "lake", "--json"))
    assert done["frames"] == 214 + 114
    assert [one["file"] for one in done["files"]] == [str(file), str(other)]
    again = krakpot("ingest", file, "--out", "lake")
    wrong(again, "is in the lake lake already, as session")


def test_packed_and_raw_and_told(folder: Path, file: Path) -> None:
    """The options of ``ingest``."""
    packed = folder / "packed.jsonl.zst"
    packed.write_bytes(pa.compress(file.read_bytes(), codec="zstd", asbytes=True))
    done = facts(
        krakpot(
            "ingest",
            packed,
            "--raw",
            "--depth",
            "25",
            "--precision",
            "BTC/USD=1,8",
            "--precision",
            "ETH/USD=2,8",
            "--json",
        )
    )
    assert done["lake"] == "data"
    assert lakes.rows(folder / "data", "frames")["frame"].to_list() == file.read_bytes().splitlines()


def test_bad_checksums_and_skipped_lines_are_exit_1(folder: Path) -> None:
    """Something was found wrong. The ledger tells it, so the lake is proved, but not under ``--strict``."""
    book = frames.Book("BTC/USD")
    bad = [(frames.START, book.snapshot([("1.0", "1.00000000")], [])), (frames.START, book.update([], crc=7))]
    path = lakes.write_frames(folder / "bad.jsonl", bad)
    done = krakpot("ingest", path, "--out", "lake", "--json")
    assert (done.exit_code, facts(done)["checksums"]["book"]) == (1, {"ok": 1, "bad": 1})
    assert krakpot("verify", "lake").exit_code == 0
    strict = krakpot("verify", "lake", "--strict")
    assert (strict.exit_code, strict.stdout.splitlines()[-1]) == (1, "not proved")
    assert "wrong: 1 checksum is wrong, and strict allows none: BTC/USD 1" in strict.stdout


def test_some_lines_that_are_no_frames_are_exit_1_with_their_number(file: Path) -> None:
    """The others are taken; ``verify`` proves what was taken."""
    lines = file.read_bytes().splitlines()
    Path("some.jsonl").write_bytes(b"\n".join([*lines[:50], b"not a frame", b"{", *lines[50:]]) + b"\n")
    done = krakpot("ingest", "some.jsonl", "--out", "lake")
    assert done.exit_code == 1
    assert "2 lines not decodable" in done.stdout
    assert facts(krakpot("ingest", "some.jsonl", "--out", "again", "--json"))["undecodable"] == 2
    assert krakpot("verify", "lake").exit_code == 0


@pytest.mark.parametrize("text", ['[{"channel":"book"}]', '{"a":1}\n{"a":2}\n', "1784000000 {}\n", "hello\n"])
def test_a_file_of_no_frames_is_exit_1(text: str) -> None:
    """One sentence on the form that is expected; no lake is made."""
    Path("none.jsonl").write_text(text)
    wrong(krakpot("ingest", "none.jsonl", "--out", "new"), "one message per line", 1)
    assert not Path("new").exists()


def test_a_spoiled_lake_is_exit_1_and_named(file: Path) -> None:
    """The sentence stands behind ``wrong:``, in JSON under ``problems``."""
    krakpot("ingest", file, "--out", "lake")
    part = lakes.parts(Path("lake"), "trades")[0]
    part.unlink()
    proof = krakpot("verify", "lake")
    assert proof.exit_code == 1
    assert f"wrong: the part {part.relative_to('lake')}" in proof.stdout
    assert proof.stdout.splitlines()[-1] == "not proved"
    proof = krakpot("verify", "lake", "--json")
    assert (proof.exit_code, facts(proof)["proved"]) == (1, False)


@pytest.mark.parametrize(
    ("table", "command"),
    [
        ("ledger", ["coverage", "lake"]),
        ("ledger", ["book", "lake", "--symbols", "BTC/USD", "--at"]),
        ("book", ["book", "lake", "--symbols", "BTC/USD", "--at"]),
        ("pairs", ["pairs", "--lake", "lake"]),
    ],
)
@pytest.mark.parametrize("harm", [lambda part: os.truncate(part, 100), lambda part: (part.unlink(), part.mkdir())])
def test_a_part_that_cannot_be_read_is_one_sentence(
    file: Path, table: str, command: list[str], harm: Callable[[Path], object]
) -> None:
    """Whatever reads it first: exit 1, what is wrong, and the command that says which part it is."""
    krakpot("ingest", file, "--out", "lake")
    if command[-1] == "--at":
        command = [
            *command,
            f"{Lake('lake').book().select(pl.col('ts_recv').max()).collect().item():%Y-%m-%dT%H:%M:%S.%f}",
        ]
    assert krakpot(*command).exit_code == 0
    for part in lakes.parts(Path("lake"), table):
        harm(part)
    done = krakpot(*command)
    assert done.exit_code == 1
    # Where the part is known, it is named at once.
    named = r"(` says more: lake/\S+\.parquet| lake` names it: lake)"
    assert re.fullmatch(rf"krakpot: a part cannot be read \(.+\); `krakpot verify{named}\n", done.stderr)
    proof = krakpot("verify", "lake")
    assert (proof.exit_code, f"wrong: the part {table}/" in proof.stdout) == (1, True)


@pytest.mark.parametrize("arguments", [("verify", "lake"), ("compact", "lake", "--grace", "0")])
def test_long_work_tells_how_far_it_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    """Without a terminal a line now and then, with share, rate and time left; with ``--json`` nothing."""
    monkeypatch.setattr(bar, "LINE_EVERY", 0.0)
    for name in ("lake", "other"):
        recorder = lakes.Recorder(folder / name, interval=1.0)
        for n in range(10):
            recorder.take(lakes.market(100)[n * 10 : n * 10 + 10])
        recorder.end()
        krakpot("recover", name)
    told = krakpot(*arguments).stderr.splitlines()
    assert re.fullmatch(
        rf"\d\d:\d\d:\d\d {arguments[0]}: \d+%, [\d.]+ k?B of [\d.]+ kB, [\d.]+ [kMG]?B/s, \d:\d\d left", told[0]
    )
    assert told[-1].split()[2] == "100%,"
    assert krakpot(arguments[0], "other", *arguments[2:], "--json").stderr == ""


def test_verify_beside_a_recorder_that_has_sealed_nothing(folder: Path) -> None:
    """Nothing is proved, and nothing is wrong: exit 0, and the third outcome."""
    recorder = lakes.Recorder(folder / "lake")
    recorder.take(lakes.market(20))
    proof = krakpot("verify", "lake")
    assert (proof.exit_code, proof.stdout.splitlines()[-1]) == (0, "nothing to prove yet")
    proof = krakpot("verify", "lake", "--json")
    assert (proof.exit_code, facts(proof)["outcome"], facts(proof)["proved"]) == (0, "nothing yet", False)


@pytest.mark.parametrize("arguments", [("verify", "lake"), ("coverage", "lake"), ("pairs", "--lake", "lake")])
def test_a_lake_without_data_says_how_it_gets_some(folder: Path, arguments: tuple[str, ...]) -> None:
    """The command that records into it."""
    open_lake(folder / "lake")
    done = krakpot(*arguments)
    assert done.exit_code == int(arguments[0] == "verify")
    assert "to record into it, run `krakpot record --out lake`" in done.stdout


def test_a_folder_that_is_no_lake_says_what_is_one(folder: Path) -> None:
    """An empty folder, for example."""
    (folder / "empty").mkdir()
    for arguments in (("verify", "empty"), ("coverage", "empty"), ("pairs", "--lake", "empty")):
        wrong(krakpot(*arguments), "it has no _lake.json; give the folder that `krakpot record --out` wrote: empty")


def test_recover(folder: Path) -> None:
    """Seals what a dead recorder left, says what was torn, and has nothing to do the second time."""
    recorder = lakes.Recorder(folder / "lake")
    recorder.take(lakes.market(50))
    alive = facts(krakpot("recover", "lake", "--json"))
    assert (alive["sealed"], len(alive["alive"])) == ([], 1)
    with recorder.die().open("ab") as journal:
        journal.write(b"half a block")
    done = krakpot("recover", "lake")
    assert done.exit_code == 0
    assert "1 journal sealed (1 left by a recorder that died)" in done.stdout
    assert "; lost: 12 bytes" in done.stdout
    again = facts(krakpot("recover", "lake", "--json"))
    assert (again["sealed"], again["rows"]) == ([], 0)
    assert krakpot("verify", "lake").exit_code == 0


def test_compact(folder: Path) -> None:
    """Merges what is past, says how much, has nothing to do the second time; a day that is wrong is exit 1."""
    recorder = lakes.Recorder(folder / "lake", interval=1.0)
    for n in range(10):
        recorder.take(lakes.market(100)[n * 10 : n * 10 + 10])
    recorder.end()
    shutil.copytree("lake", "other")
    done = krakpot("compact", "lake", "--grace", "0", "--dates", "2026-08-01..2026-08-02")
    assert done.exit_code == 0
    assert done.stdout.startswith("1 day compacted: ")
    again = facts(krakpot("compact", "lake", "--json"))
    assert (again["compacted"], again["rows"], again["skipped"]) == ([], 0, {})
    assert krakpot("verify", "lake").exit_code == 0
    krakpot("recover", "other")
    lakes.rewrite(lakes.parts(Path("other"), "book")[0], lambda frame: frame.reverse())
    left = krakpot("compact", "other", "--grace", "0")
    assert left.exit_code == 1
    assert "2026-08-02 was left as it is: book/date=2026-08-02/" in left.stdout
    wrong(krakpot("compact", "lake", "--dates", "august"), "--dates: 'august' is not allowed; allowed is dates as")
    wrong(krakpot("compact", "lake", "--grace", "never"), "--grace: 'never' is not allowed; allowed is a duration")


def test_coverage(file: Path) -> None:
    """From when to when, and why it ended; for one pair or all."""
    krakpot("ingest", file, "--out", "lake")
    spans = facts(krakpot("coverage", "lake", "--json"))["coverage"]
    assert len(spans) == 6
    assert set(spans[0]) == {"channel", "symbol", "ts_from", "ts_to", "reason", "session", "origin"}
    assert spans[0]["ts_from"] == "2026-08-02T03:35:50.000000000Z"
    assert {
        span["symbol"] for span in facts(krakpot("coverage", "lake", "--symbols", "ETH/USD", "--json"))["coverage"]
    } == {"ETH/USD"}
    text = krakpot("coverage", "lake")
    assert text.stdout.splitlines()[-1] == "6 spans"
    assert "2026-08-02 03:35:50.000" in text.stdout


@pytest.mark.slow
def test_compare_says_whether_the_two_are_the_same(folder: Path) -> None:
    """The table, the page, one JSON object; exit 1 where a book was wrong, 2 where a channel is not there."""
    market = channels.run(book=(5 * channels.MS, 0, 0), seconds=5, rate=600.0)
    channels.record(folder / "lake", market)
    done = krakpot("compare", "lake", "--out", "report")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-3:] == [
        "the same",
        "written: report/matches.parquet",
        "written: report/report.html",
    ]
    assert any(line.startswith("BTC/USD") and " 5.000" in line for line in done.stdout.splitlines())
    told = facts(krakpot("compare", "lake", "--symbols", "ETH/*", "--window", "0.1s", "--json"))
    assert list(told["symbols"]) == ["ETH/USD"]
    assert (told["equal"], told["window"], told["files"]) == (True, 100_000_000, [])
    assert told["latency_sign"] == "positive: the book channel is later than level 3"
    assert told["total"]["latency"]["recv"]["median"] == pytest.approx(5e6, abs=1e6)
    lost = len(market.level3) // 2
    channels.record(folder / "lost", market, drop=range(lost, lost + 5))
    result = krakpot("compare", "lost")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1] == "not the same"
    assert any(line.startswith(("wrong: ", "differ: ")) for line in result.stdout.splitlines())
    lakes.make(folder / "books", lakes.market())
    wrong(krakpot("compare", "books"), "books: the lake has no level3; record both")
    wrong(krakpot("compare", "lake", "--window", "much"), "--window: 'much' is not allowed")
    wrong(krakpot("compare", "lake", "--live", "--start", "2026-08-02"), "leave --start and --end out")
    wrong(krakpot("compare", "lake", "--live"), "no recorder writes into this lake")
    wrong(krakpot("compare", "lake", "--start", "yesterday"), "'yesterday' is not a time")


def test_bars_are_shown_written_and_counted(tmp_path: Path) -> None:
    """A table, one JSON object, or a file; each says how many bars are whole."""
    lakes.make(Path("lake"), lakes.market(400))
    told = facts(krakpot("bars", "lake", "--symbols", "BTC/*", "--every", "2s", "--json"))["bars"]
    assert {bar["symbol"] for bar in told} == {"BTC/USD"}
    assert set(told[0]) >= {"ts_from", "open", "volume", "covered", "missing"}
    shown = krakpot("bars", "lake", "--symbols", "BTC/USD", "--every", "2s").stdout.splitlines()
    whole = sum(bar["whole"] for bar in told)
    assert shown[-1] == f"{len(told)} bars, {whole} whole"
    assert len(shown) == len(told) + 2
    assert told[0]["open"] in shown[1]
    for name in ("bars.csv", "bars.parquet"):
        said = krakpot("bars", "lake", "--every", "3", "--by", "tick", "--out", name).stdout
        read = pl.read_csv(name) if name.endswith("csv") else pl.read_parquet(name)
        assert said.startswith(f"{read.height} bars in {name}, ")
    assert facts(krakpot("bars", "lake", "--out", "a.csv", "--json"))["out"] == "a.csv"
