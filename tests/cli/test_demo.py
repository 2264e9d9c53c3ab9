"""The demo, as a newcomer runs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import frames
import lakes
from krakpot.cli.demo import demo, draw
from krakpot.errors import ConfigError
from krakpot.lake.lake import Lake

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.slow
def test_records_proves_compares_and_draws(tmp_path: Path) -> None:
    """A short demo: exit 0, every checksum proved, the exchange's own account the same, a picture; twice in one
    folder.
    """
    out = tmp_path / "demo"
    for seed in (1, 2):
        command = [sys.executable, "-m", "krakpot", "demo", "--for", "3s", "--pairs", "40", "--rate", "1000"]
        # The second time with the key of an account in the environment, as the manual tells people to have it.
        keys = {"KRAKPOT_API_KEY": "key", "KRAKPOT_API_SECRET": "c2VjcmV0"} if seed == 2 else {}
        done = subprocess.run(
            [*command, "--seed", str(seed), "--out", str(out), "--json"],
            env=os.environ | keys,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        facts = json.loads(done.stdout)
        assert facts["verify"]["proved"]
        assert facts["differences"] == []
        assert facts["verify"]["checksums"]["book"]["ok"] == facts["record"]["checksums"]["book"]["ok"] > 1000
        assert [Path(one).name for one in facts["pictures"]] == [
            "book.png", "spread.png", "ladder.png", "coverage.png", "book.html",
        ]  # fmt: skip
        assert Path(facts["pictures"][0]).read_bytes().startswith(PNG)
        assert len(facts["record"]["sessions"]) == 1, "the earlier demo's lake is gone"


def test_leaves_other_folders_alone(tmp_path: Path) -> None:
    """A folder with other files is not cleared."""
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(ConfigError, match="not the folder of an earlier demo"):
        demo(tmp_path, seconds=1, pairs=1, rate=1, seed=1)
    assert (tmp_path / "mine.txt").read_text() == "precious"


def test_the_picture_ends_with_the_book_although_trades_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A margin there would look as if the book were empty; trades after its end are not shown."""
    figures = pytest.importorskip("krakpot.view.figures")
    timed = lakes.market(300)
    trades = [frame for _, frame in timed if b'"trade"' in frame and b'"update"' in frame and b"BTC/USD" in frame]
    late = re.sub(rb'"trade_id": ?(\d+)', lambda found: b'"trade_id":%d' % (int(found[1]) + 1000), trades[-1])
    lakes.make(tmp_path / "lake", [*timed, (timed[-1][0] + 60 * frames.SECOND, late)])
    lake = Lake(tmp_path / "lake")
    end = lake.coverage().filter(channel="book", symbol="BTC/USD")["ts_to"].dt.epoch("ns")[-1]
    files = draw(lake, tmp_path)
    assert [file.name for file in files] == ["book.png", "spread.png", "ladder.png", "coverage.png", "book.html"]
    assert all(file.stat().st_size > 5000 for file in files)
    axes = lake.plot.book("BTC/USD").axes[0]
    assert axes.get_xlim()[1] == pytest.approx(figures.dates.date2num(np.datetime64(end, "ns")), abs=1e-9)


def test_a_demo_without_a_book_has_no_pictures(tmp_path: Path) -> None:
    """It was too short, which is no error."""
    lakes.make(tmp_path / "lake", lakes.market(0)[:2])
    assert draw(Lake(tmp_path / "lake"), tmp_path) == []
