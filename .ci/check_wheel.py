"""`make check-wheel`: the wheel as users get it, checked.

Its tags and symbols (auditwheel, abi3audit), its metadata (twine), its size; then it is installed into an empty
environment of every Python that is found, where it takes frames into a lake and proves the lake. Exit code 1 if
anything is wrong.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import lakes  # noqa: E402  # the tests' frames

SIZE_MAX = 6_000_000
"""Bytes. The extension has 2.4 MB, Python 0.6 MB, the page's modules as much, its reader of Parquet files 1.7 MB, so
that anybody can prove a recording in a browser. More means that symbols or files came in that no user needs."""
POLICY = "manylinux_2_17_x86_64"
"""glibc of 2012 and later: what pip 20.3 and later accept on nearly every Linux."""
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command that must succeed, without this environment's variables of Python."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "KRAKPOT_"))
    }
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=kept, capture_output=True, text=True, check=False)  # noqa: S603  # our own
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stdout}{done.stderr}")
    return done.stdout


def pythons() -> list[str]:
    """Commands of the Pythons that are found and start, one for each version, the newest last."""
    # pyenv puts one version on the path; the others are in its folder.
    folders = [os.environ["PATH"], *map(str, Path.home().glob(".pyenv/versions/*/bin"))]
    found = []
    for version in PYTHONS:
        paths = (shutil.which(f"python{version}", path=folder) for folder in reversed(folders))
        path = next((path for path in paths if path), None)
        if path and not subprocess.run([path, "-c", "import venv"], capture_output=True, check=False).returncode:  # noqa: S603  # a Python
            found.append(path)
    return found


def use(python: str, wheel: Path) -> None:
    """Install the wheel into an empty environment of this Python; take frames, prove the lake."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(python, "-m", "venv", folder / "venv", cwd=folder)
        binaries = folder / "venv" / "bin"
        run(binaries / "python", "-m", "pip", "install", "--quiet", wheel, cwd=folder)
        frames = lakes.write_frames(folder / "market.jsonl", lakes.market())
        taken = json.loads(run(binaries / "krakpot", "ingest", frames, "--out", "lake", "--json", cwd=folder))
        report = json.loads(run(binaries / "krakpot", "verify", "lake", "--strict", "--json", cwd=folder))
        if not (report["proved"] and report["checksums"] == taken["checksums"] and taken["checksums"]["book"]["ok"]):
            sys.exit(f"{python}: the lake is not proved: {report}")


def main() -> None:
    """Check the one wheel of the folder that the command names."""
    (wheel,) = Path(sys.argv[1]).resolve().glob("krakpot-*.whl")
    tool = Path(sys.executable).parent
    size = wheel.stat().st_size
    if size > SIZE_MAX:
        sys.exit(f"{wheel.name} has {size:,} bytes, more than {SIZE_MAX:,}")
    shown = run(tool / "auditwheel", "show", wheel, cwd=wheel.parent)
    if f'"{POLICY}"' not in shown or POLICY not in wheel.name:
        sys.exit(f"{wheel.name} is not consistent with {POLICY}:\n{shown}")
    run(tool / "abi3audit", "--strict", wheel, cwd=wheel.parent)
    run(tool / "twine", "check", "--strict", wheel, cwd=wheel.parent)
    found = pythons()
    if not found:
        sys.exit(f"none of the Pythons {', '.join(PYTHONS)} is found: the wheel was not used")
    for python in found:
        use(python, wheel)
    print(f"{wheel.name}: {size:,} bytes, {POLICY}, abi3, used with {', '.join(Path(p).name for p in found)}")  # noqa: T201  # the report


if __name__ == "__main__":
    main()
