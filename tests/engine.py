"""Godot, driven through its input: what a scene, a node or a resource says of itself, and pictures of the window.

The assertions are in Python. Godot only says what it has, so a script that fails cannot make a test pass. Whatever
Godot calls an error fails the test too: a script that fails ends Godot with 0.
"""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ROOT / "godot"
TESTS = ROOT / "tests" / "godot"
MARK = "@probe "
WRONG = re.compile(r"\b(SCRIPT ERROR|USER ERROR|ERROR|Parse Error|SHADER ERROR)\b")
"""What Godot writes when something fails."""
SIZE = (1280, 720)


def binary() -> str:
    """Godot; a test that needs it is skipped where it is not. `KRAKPOT_TEST=all make test` fetches it before."""
    done = subprocess.run([ROOT / "scripts" / "godot", "--quick"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"Godot 4 is not here: run scripts/godot. {done.stderr.strip()}")
    return done.stdout.strip()


def wrong(text: str) -> list[str]:
    """Lines of Godot's output that tell of an error."""
    return [line for line in text.splitlines() if WRONG.search(line)]


def imported(folder: Path, *, extension: bool = False) -> Path:
    """A copy of the project with the probe in it, opened in the editor once; without this no class has a name.

    ``extension``: with the library of `make godot`; otherwise without it, also if it was built.
    """
    project = folder / "project"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns(".godot", *(() if extension else ("bin",))))
    if extension:
        # Godot without a window aborts when it finds an extension by itself.
        (project / ".godot").mkdir()
        (project / ".godot" / "extension_list.cfg").write_text("res://addons/krakpot/bin/krakpot.gdextension\n")
    shutil.copytree(TESTS, project / "test", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    said = ""
    for how in (["--import"], ["--editor", "--quit"]):
        done = subprocess.run(
            [binary(), "--headless", "--path", str(project), *how],
            capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
        said += done.stdout + done.stderr
        assert done.returncode == 0, said
    assert wrong(said) == [], said
    return project


def display() -> bool:
    """Whether pictures can be made: there is a virtual screen."""
    return shutil.which("xvfb-run") is not None


class Godot:
    """Godot with the probe, within its block.

    Parameters
    ----------
    project
        What ``imported`` returned.
    window
        Whether it draws, on a virtual screen.
    arguments
        For the project, behind ``--``.
    expected
        A pattern of errors that the test provokes, and that Godot may therefore tell.
    scene
        With a probe in it, below `tests/godot`.

    """

    def __init__(
        self, project: Path, *, window: bool = False, arguments: tuple[str, ...] = (), expected: str | None = None,
        size: tuple[int, int] = SIZE, scene: str = "probe.tscn",
    ) -> None:  # fmt: skip
        """Put the command together; the block starts it."""
        self.output: list[str] = []
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._expected = expected
        command = [binary(), "--path", str(project), f"res://test/{scene}"]
        if window:
            wide, tall = size
            command += ["--display-driver", "x11", "--rendering-driver", "opengl3", "--resolution", f"{wide}x{tall}"]
            command = ["xvfb-run", "-a", "-s", f"-screen 0 {wide}x{tall}x24", *command, "--audio-driver", "Dummy"]
        else:
            command += ["--headless"]
        self._command = [*command, "--", *arguments]

    def __enter__(self) -> Self:
        """Start it."""
        environment = os.environ | {"LIBGL_ALWAYS_SOFTWARE": "1"}
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=environment, start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._answer(60) == "ready"
        return self

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(MARK):
                self._answers.put(line.removeprefix(MARK).rstrip("\n"))
            else:
                self.output.append(line)
        self._answers.put(None)

    def _answer(self, timeout: float) -> str:
        try:
            found = self._answers.get(timeout=timeout)
        except queue.Empty:
            found = None
        assert found is not None, f"Godot does not answer:\n{''.join(self.output)}"
        return found

    def run(self, expression: str) -> Any:
        """The value of an expression of GDScript; the probe is `self`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(expression) + "\n")
        self._process.stdin.flush()
        found = json.loads(self._answer(30))
        assert "wrong" not in found, f"{expression}: {found['wrong']}\n{''.join(self.output)}"
        return found["result"]

    def until(self, expression: str, timeout: float = 30) -> Any:
        """Wait until an expression is true."""
        end = time.monotonic() + timeout
        while not (found := self.run(expression)):
            assert time.monotonic() < end, f"not within {timeout} s: {expression}\n{''.join(self.output)}"
            time.sleep(0.05)
        return found

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it; it must end well, and have told of no error."""
        assert self._process.stdin is not None
        try:
            if self._process.poll() is None:
                self._process.stdin.write("quit\n")
                self._process.stdin.flush()
            code = self._process.wait(20)
        finally:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._reader.join()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
        if kind is None:
            text = "".join(self.output)
            told = [line for line in wrong(text) if not (self._expected and re.search(self._expected, line))]
            assert told == [], text
            assert code == 0, text
