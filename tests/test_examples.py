"""The Python of the pages runs, against a lake made of generated frames; their configuration is accepted."""

from __future__ import annotations

import re
from importlib.util import find_spec
from itertools import starmap
from pathlib import Path

import pytest

import frames
import lakes
from krakpot import config
from krakpot.record import ingest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """Line and text of each fenced block of a language."""
    text = page.read_text()
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [(text.count("\n", 0, match.start(1)), match[1]) for match in found]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with the lake ``data``, as ``krakpot ingest`` makes it of a small market."""
    file = lakes.write_frames(tmp_path / "market.jsonl", lakes.market(level3=True))
    counts = ingest.ingest(file, tmp_path / "data").counts
    assert counts["rows"]["trades"] > 0
    assert counts["checksums"]["book"]["ok"] > 0
    monkeypatch.chdir(tmp_path)
    # Nonces and journals of accounts.
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


def test_pages_have_examples() -> None:
    """The pages that a reader meets first show Python, so that the next test has something to run."""
    with_python = {page.name for page in PAGES if blocks(page, "python")}
    assert {"README.md", "lake.md", "queues.md", "exchange.md"} <= with_python


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.stem)
@pytest.mark.usefixtures("folder")
def test_python_of_a_page_runs(page: Path) -> None:
    """The code of a page runs from top to bottom without an error; a failure names the page and the line."""
    names: dict[str, object] = {}
    for line, text in blocks(page, "python"):
        if "@krakpot.compiled" in text and find_spec("numba") is None:
            continue  # tests/trade/test_compiled.py runs it in an environment that has numba
        exec(compile("\n" * line + text, str(page), "exec"), names)  # noqa: S102  # the pages are our own


def test_examples_find_rows(folder: Path) -> None:
    """The dates in the pages are those of the generated market: an example that shows nothing would prove nothing."""
    from krakpot import Lake  # as a reader does, in the folder

    lake = Lake("data")
    page = (ROOT / "docs/lake.md").read_text()
    ranges = re.findall(r'"(2026-[\dT:Z-]+)", "(2026-[\dT:Z-]+)"', page)
    assert len(ranges) >= 2
    assert folder == Path.cwd()
    assert all(starmap(lambda start, end: lake.book(None, start, end).collect().height > 0, ranges))
    assert f"date={frames.rfc3339(frames.START)[:10]}" in (ROOT / "README.md").read_text()


def test_configuration_of_the_pages_is_accepted(tmp_path: Path) -> None:
    """Every krakpot.toml in the pages loads, with the values that it shows."""
    found = [text for page in PAGES for _, text in blocks(page, "toml")]
    assert found
    for text in found:
        file = tmp_path / "krakpot.toml"
        file.write_text(text)
        loaded = config.load({}, file=file, environment={})
        assert loaded != config.Config()
