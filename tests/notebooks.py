"""Notebooks in the browser, as a person has them: JupyterLab and marimo, in an environment made for them.

The environment is kept in ``target/tools``; to make it takes about a minute.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from browser import Browser, Page
from processes import wait_for
from tools import environment

PACKAGES = ("jupyterlab==4.6.6", "anywidget==0.11.0", "marimo==0.25.2")
TOKEN = "token"  # noqa: S105  # of a server of this test
"""What the servers ask for. They listen on loopback, and end with the test."""
CELLS = "document.querySelectorAll('.jp-Notebook .jp-Cell')"
IDLE = "jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
WIDGET = """(() => {
    const find = root => {
        for (const one of root.querySelectorAll('*')) {
            const found = one.krakpot ? one : one.shadowRoot && find(one.shadowRoot)
            if (found) return found
        }
    }
    window.shell = find(document)
    window.krakpot = window.shell?.krakpot
    return Boolean(window.krakpot) })()"""
"""Finds the first widget, wherever it is, and makes its page ``krakpot``, as that of ``krakpot view`` is."""
ROOT = "shell.shadowRoot"
"""What the page of the widget is in."""


@contextmanager
def _server(folder: Path, *command: str) -> Iterator[str]:
    """A server of notebooks; its address. Nothing of the person who runs the tests is read or written."""
    python = environment(*PACKAGES) / "bin" / "python"
    log = folder / "server.log"
    home = folder / "home"
    places = {"HOME": "", "XDG_CONFIG_HOME": "xdg", "XDG_CACHE_HOME": "cache", "XDG_STATE_HOME": "state"}
    places |= {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "run"}
    settings = {"@jupyterlab/apputils-extension:announcements": True}
    (home / "config" / "labconfig").mkdir(parents=True)
    (home / "config" / "labconfig" / "page_config.json").write_text(json.dumps({"disabledExtensions": settings}))
    with log.open("wb") as file:
        process = subprocess.Popen(
            [str(python), "-m", *command],
            stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, cwd=folder,
            env=os.environ | {name: str(home / place) for name, place in places.items()},
        )  # fmt: skip
    try:
        found = re.search(r"http://(?:127\.0\.0\.1|localhost):\d+", wait_for("http://", log, process))
        assert found is not None
        yield found[0].replace("localhost", "127.0.0.1")
    finally:
        process.terminate()
        process.wait()


@contextmanager
def jupyterlab(browser: Browser, folder: Path, *cells: str, dark: bool = False) -> Iterator[Page]:
    """A notebook in JupyterLab that nobody has run yet; ``folder``: what its kernel runs in."""
    document = {
        "cells": [
            {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": text, "id": f"c{i}"}
            for i, text in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (folder / "market.ipynb").write_text(json.dumps(document))
    options = (f"--IdentityProvider.token={TOKEN}", "--ServerApp.port=0", "--allow-root", "--no-browser")
    with _server(folder, "jupyterlab", *options, "--LabApp.expose_app_in_browser=True") as address:
        page = browser.page(1440, 1000, dark=dark)
        page.go(f"{address}/lab/tree/market.ipynb?token={TOKEN}")
        page.until(f"Boolean(window.jupyterapp) && {CELLS}.length === {len(cells)}", 90)
        page.run("jupyterapp.restored.then(() => true)")
        if dark:
            page.run(
                "jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'}).then(() => true)"
            )
        # Before its kernel is there it asks for one, in a dialog.
        page.until(IDLE, 90)
        page.browser.listen(2)
        yield page
        page.close()


def run_cell(page: Page, number: int) -> None:
    """Run a cell as people do: click into it, then Shift and Enter."""
    x, y = page.run(f"""(() => {{
        const cell = {CELLS}[{number}].querySelector('.cm-content')
        cell.scrollIntoView({{block: 'nearest'}})
        const {{x, y}} = cell.getBoundingClientRect()
        return [x + 20, y + 10] }})()""")
    page.mouse("mousePressed", x, y, button="left", buttons=1, clickCount=1)
    page.mouse("mouseReleased", x, y, button="left", clickCount=1)
    page.key("Enter", shift=True)


def output(page: Page, number: int) -> str:
    """What a cell wrote, when it has ended."""
    page.until(f"/\\[\\d+\\]/.test({CELLS}[{number}].querySelector('.jp-InputPrompt').textContent)", 120)
    return str(page.run(f"{CELLS}[{number}].querySelector('.jp-OutputArea')?.innerText ?? ''"))


@contextmanager
def marimo(browser: Browser, folder: Path, *cells: str) -> Iterator[Page]:
    """A program of marimo, which runs its cells when it is opened."""
    text = "import marimo\napp = marimo.App()\n"
    for cell in cells:
        body = "\n".join(f"    {line}" for line in cell.splitlines())
        text += f"\n\n@app.cell\ndef _():\n{body}\n    return\n"
    (folder / "market.py").write_text(text)
    options = ("--headless", "--no-token", "--host", "127.0.0.1", "--port", str(_free_port()))
    with _server(folder, "marimo", "run", "market.py", *options) as address:
        page = browser.page(1440, 1000)
        page.go(address)
        yield page
        page.close()


def _free_port() -> int:
    """A port that nobody listens on; marimo chooses none by itself."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
