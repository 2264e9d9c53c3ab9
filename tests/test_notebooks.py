"""The notebooks run from top to bottom on a lake that is recorded on the spot, and show pictures."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from krakpot.lake.lake import Lake
from processes import running, wait_for
from tools import HFTBACKTEST, kernel

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SECONDS = 12
"""How long the lake of all notebooks is recorded."""
NEEDS = {"a_back_test_with_hftbacktest": HFTBACKTEST}
"""Notebooks that import a package which is not in this environment: it is fetched for ``KRAKPOT_TEST=all``."""
KEY, SECRET = "key", "c2VjcmV0"


def cells(notebook: Path) -> list[dict[str, Any]]:
    """Its cells, as they are kept."""
    return list(json.loads(notebook.read_text())["cells"])


def test_notebooks_are_kept_clean() -> None:
    """Without outputs, which would be somebody's; each begins with its title and is a short lesson."""
    assert len(NOTEBOOKS) >= 3
    assert NEEDS.keys() <= {notebook.stem for notebook in NOTEBOOKS}
    for notebook in NOTEBOOKS:
        found = cells(notebook)
        code = [cell for cell in found if cell["cell_type"] == "code"]
        assert not any(cell["outputs"] or cell["execution_count"] for cell in code), notebook
        assert found[0]["cell_type"] == "markdown"
        assert "".join(found[0]["source"]).startswith("# ")
        assert 5 <= len(code) <= 12, notebook


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Books, trades and orders of six pairs, from an exchange that loses a frame now and then."""
    folder = tmp_path_factory.mktemp("notebooks")
    out, log = folder / "lake", folder / "log"
    exchange = ["exchange", "--port", "0", "--rest-port", "0", "--pairs", "6", "--rate", "800", "--json"]
    exchange += ["--api-key", KEY, "--api-secret", SECRET, "--fault", "drop=0.001"]
    with running(*exchange, err=log) as server:
        url = wait_for("listening on", log, server).split()[-1]
        words = wait_for("level 3 at", log, server).split()
        level3, rest = words[3].rstrip(","), words[-1]
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("KRAKPOT_API_KEY", KEY)
            environment.setenv("KRAKPOT_API_SECRET", SECRET)
            record = ["record", "--channels", "book,trade,ticker,level3", "--depth", "100", "--for", f"{SECONDS}s"]
            addresses = ["--url", url, "--level3-url", level3, "--rest-url", rest]
            with running(*record, *addresses, "--out", out, err=folder / "recorder") as recorder:
                assert recorder.wait(SECONDS + 60) == 0, (folder / "recorder").read_text()
    assert {"book", "level3", "trade"} <= set(Lake(out).coverage()["channel"])
    return out


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of the tools that run notebooks
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(notebook: Path, lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own, as in Jupyter: no cell fails, and there is a picture."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.setenv("LAKE", str(lake))
    name = "python3"
    if notebook.stem in NEEDS:
        folder, name = kernel(NEEDS[notebook.stem])
        monkeypatch.setenv("JUPYTER_PATH", str(folder))
    read = nbformat.read(notebook, as_version=4)
    client = nbclient.NotebookClient(read, timeout=120, kernel_name=name, resources={"metadata": {"path": ROOT}})
    done = asyncio.run(client.async_execute())
    outputs = [output for cell in done.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output.text for output in outputs if output.output_type == "stream" and output.name == "stderr"]
    assert any("image/png" in output.get("data", {}) for output in outputs), "a lesson shows a picture"
