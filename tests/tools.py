"""Environments of other tools and clients: with their own packages alone, or with those of this one behind them."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
TOOLS = HERE.parent / "target" / "tools"
"""Kept between runs: some tools are large."""
HFTBACKTEST = "hftbacktest==2.4.4"
Run = Callable[..., dict[str, Any]]


def _interpreter(least: tuple[int, int]) -> str:
    """Python as it runs here if it is new enough, or the oldest one that is, on the path or in pyenv's folder."""
    if sys.version_info >= least:
        return sys.executable
    folders = [os.environ["PATH"], *map(str, Path.home().glob(".pyenv/versions/*/bin"))]
    for minor in range(least[1], least[1] + 4):
        for folder in reversed(folders):
            found = shutil.which(f"python3.{minor}", path=folder)
            if found and not subprocess.run([found, "-c", "import venv"], capture_output=True, check=False).returncode:
                return found
    pytest.skip(f"no Python {least[0]}.{least[1]} or later is found")


def only_in_all() -> None:
    """Skip a test that fetches packages, unless everything is tested."""
    if os.environ.get("KRAKPOT_TEST") != "all":
        pytest.skip("fetches a package from the registry: KRAKPOT_TEST=all")


def _install(python: Path, *packages: str) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"the registry did not give {' '.join(packages)}: {done.stderr}"


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Let one process of the tests after the other make an environment: they run side by side."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    with (TOOLS / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _create(python: str, folder: Path, *options: str) -> None:
    """An empty environment of a Python."""
    subprocess.run([python, "-m", "venv", "--clear", *options, str(folder)], check=True)


def _of_its_own(package: str, least: tuple[int, int] = (3, 11)) -> Path:
    """Make the environment that has a package alone; its folder."""
    folder = TOOLS / package.replace("==", "-")
    with _alone(folder.name):
        if not (folder / "complete").exists():
            _create(_interpreter(least), folder)
            _install(folder / "bin" / "python", package)
            (folder / "complete").touch()
    return folder


def _packages(folder: Path) -> Path:
    """Where an environment has its packages."""
    (found,) = folder.glob("lib/python*/site-packages")
    return found


def tool(package: str, program: str, least: tuple[int, int] = (3, 11)) -> Run:
    """Make the environment of a package, and return what runs a program of the tests in it.

    The program prints JSON in its last line; with it the version of the package, which is compared.
    """
    only_in_all()
    python = _of_its_own(package, least) / "bin" / "python"

    def run(*arguments: Any) -> dict[str, Any]:
        # Isolated from the packages and variables of this environment.
        command = [str(python), "-I", str(HERE / program), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
        assert done.returncode == 0, done.stderr
        found = dict(json.loads(done.stdout.splitlines()[-1]))
        assert found.pop("version") == package.partition("==")[2]
        return found

    return run


def _behind(folder: Path, *paths: Path) -> None:
    """Put packages of other environments behind those of one."""
    lines = [f"import site; site.addsitedir({str(path)!r})\n" for path in paths]
    (_packages(folder) / "behind.pth").write_text("".join(lines))


def environment(*packages: str) -> Path:
    """Make an environment that has packages, and behind them all of this one, which stays as it is; its folder."""
    folder = TOOLS / f"{packages[0].replace('==', '-')}-kernel"
    here = sysconfig.get_path("purelib")
    complete, mark = folder / "complete", "\n".join([here, *packages])
    with _alone(folder.name):
        if not complete.exists() or complete.read_text() != mark:
            # Compiled packages of this environment are imported there: the same Python.
            _create(sys.executable, folder)
            _install(folder / "bin" / "python", *packages)
            _behind(folder, Path(here))
            complete.write_text(mark)
    return folder


def kernel(package: str) -> tuple[Path, str]:
    """A kernel for notebooks that has a package, and behind it all of this environment, which stays as it is.

    Returns
    -------
    tuple
        The folder for ``JUPYTER_PATH``, and the name of the kernel.

    """
    only_in_all()
    packages = _packages(_of_its_own(package))
    here = Path(sysconfig.get_path("purelib"))
    # Compiled packages of this environment are imported there.
    assert packages.parent.name == here.parent.name, f"{packages} is of another Python: remove that environment"
    name = package.replace("==", "-")
    folder = TOOLS / f"{name}-kernel"
    with _alone(folder.name):
        _create(sys.executable, folder, "--without-pip")
        _behind(folder, packages, here)
        spec = folder / "share" / "jupyter" / "kernels" / name / "kernel.json"
        spec.parent.mkdir(parents=True)
        command = [str(folder / "bin" / "python"), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec.write_text(json.dumps({"argv": command, "display_name": name, "language": "python"}))
    return folder / "share" / "jupyter", name
