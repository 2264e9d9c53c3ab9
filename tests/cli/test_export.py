"""``krakpot export`` as people use it."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

import hand
import lakes
from hand import SECOND, START
from krakpot.cli.main import main


def typed(*words: str) -> tuple[int, str]:
    """Exit code and standard output."""
    done = CliRunner().invoke(main, ["export", *words])
    return done.exit_code, done.stdout


def test_what_was_written_is_said(folder: Path) -> None:
    """Files, rows and the folder; gaps and notes if there are any; with --json all that is in export.json."""
    hand.market().record(folder / "data")
    code, out = typed("data", "--to", "hftbacktest", "--out", "npz", "--channel", "level3")
    assert (code, out) == (0, "1 file, 29 rows in npz\n")
    code, out = typed("data", "--to", "tardis", "--out", "csv", "--depth", "2", "--symbols", "BTC/*", "--json")
    assert code == 0
    assert json.loads(out) == json.loads((folder / "csv" / "export.json").read_text())
    code, out = typed("data", "--to", "parquet-us", "--out", "csv", "--tables", "trades,book", "--overwrite")
    assert (code, out) == (0, "2 files, 21 rows in csv\n")
    assert not list((folder / "csv").glob("kraken*"))


def test_gaps_are_said(folder: Path) -> None:
    """A recording that was cut; a range without the cut has none."""
    for begin in (START, START + 60 * SECOND):
        timed = lakes.market(50, begin=begin)
        lakes.make(folder / "data", timed, session=lakes.session_name(begin))
    code, out = typed("data", "--to", "hftbacktest", "--out", "npz")
    assert code == 0
    assert "2 gaps of the recording left out; export.json names them" in out
    end = "2026-08-02T03:36:10"
    code, out = typed("data", "--to", "csv", "--out", "csv", "--end", end)
    assert code == 0
    assert "gap" not in out
