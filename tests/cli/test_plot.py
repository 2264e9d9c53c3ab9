"""The command ``plot``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import lakes
from krakpot.cli.main import main
from krakpot.cli.plot import OPTIONS
from krakpot.lake.plot import Plot

pytest.importorskip("matplotlib")
pytest.importorskip("altair")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small lake."""
    path = tmp_path_factory.mktemp("plot") / "lake"
    lakes.make(path, lakes.market(200, level3=True))
    return path


@pytest.mark.parametrize(
    "line",
    [
        "book {} --symbols BTC/USD --depth 5 --out a.png", "spread {} --symbols BTC/USD --out a.svg",
        "ladder {} --symbols BTC/USD --at 2026-08-02T03:35:52 --out a.pdf", "coverage {} --out a.json",
        "queue {} --symbols BTC/USD --at 2026-08-02T03:35:52 --out a.png",
        "coverage {} --symbols BTC/*,ETH/USD --channel book --out a.png",
    ],
)  # fmt: skip
def test_each_picture_becomes_a_file(lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """The end of its name decides what it is; with --json one object says where it is."""
    monkeypatch.chdir(tmp_path)
    words = line.format(lake).split()
    done = CliRunner().invoke(main, ["plot", *words])
    assert (done.exit_code, done.stdout) == (0, f"picture: {words[-1]}\n"), done.output
    assert (tmp_path / words[-1]).stat().st_size > 1000
    done = CliRunner().invoke(main, ["plot", *words, "--json"])
    assert json.loads(done.stdout) == {"picture": words[0], "out": words[-1]}


def test_every_picture_of_a_lake_is_there() -> None:
    """A method without its command would be found by nobody on the command line."""
    assert set(OPTIONS) == {name for name in vars(Plot) if not name.startswith("_")}
