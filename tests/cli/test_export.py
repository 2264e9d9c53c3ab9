"""``krakpot export`` as people use it."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

import hand
import lakes
from hand import SECOND, START
from krakpot.cli import export
from krakpot.cli.main import main
from krakpot.history.imports import import_file
from krakpot.lake import format  # noqa: A004  # as the module is called


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


def test_origins(folder: Path) -> None:
    """What is left out is said; --origin takes it in; the words are those of the module."""
    hand.market().record(folder / "data")
    Path("XBTUSD.csv").write_text("1381095255,122.0,0.1\n")
    import_file("data", "XBTUSD.csv")
    code, out = typed("data", "--to", "csv", "--out", "csv", "--tables", "trades")
    assert code == 0
    assert out.endswith(
        'note: trades: 1 row of the origin kraken-csv left out; --origin all (origin="all") exports them\n'
    )
    code, out = typed("data", "--to", "csv", "--out", "all", "--tables", "trades", "--origin", "feed,kraken-csv")
    assert (code, "note" in out, len(list(Path("all/trades").iterdir()))) == (0, False, 2)
    assert typed("data", "--to", "tardis", "--out", "t", "--origin", "all")[0] == 2
    assert (*format.ORIGINS, "all") == export.ORIGINS


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
