"""What users install: the wheel, and the sdist built from nothing but itself, each in an empty environment, at work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import lakes

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(1800)]

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Standard output of a command that must succeed; its words are shown if it does not.

    Nothing of this environment or this folder is visible to it but the tools on the path.
    """
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "KRAKPOT_"))
    }
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=kept | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel and the sdist of this folder, by kind; where all is tested, the wheel is that of `make wheel`."""
    out = tmp_path_factory.mktemp("dist")
    maturin = Path(sys.executable).with_name("maturin")
    of_all = os.environ.get("KRAKPOT_TEST") == "all"
    if not of_all:
        run(maturin, "build", "--release", "--locked", "--out", out, cwd=ROOT)
    run(maturin, "sdist", "--out", out, cwd=ROOT)
    (wheel,) = (ROOT / "dist" if of_all else out).glob("krakpot-*.whl")
    (sdist,) = out.glob("krakpot-*.tar.gz")
    return {"wheel": wheel, "sdist": sdist}


def compiled(folder: Path) -> dict[str, str]:
    """Variables by which an sdist is built as this folder is for its tests: what it depends on is compiled already.

    All files of an sdist have one time, so cargo would take crates of an earlier run for its own: those stay behind.
    """
    own = shutil.ignore_patterns("*krakpot*", "lib_core*", "_core*", "incremental", "examples", ".cargo-lock")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "target" / "develop", folder / "develop", copy_function=os.link, ignore=own)
    return {"CARGO_TARGET_DIR": str(folder), "MATURIN_PEP517_ARGS": "--profile develop"}


def test_wheel_holds_what_a_user_needs(distributions: dict[str, Path]) -> None:
    """Types, stub and licences are in the wheel; tests and benches are not; it serves every Python from 3.11 on."""
    wheel = distributions["wheel"]
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "cp311-abi3" in wheel.name
    assert {"krakpot/__init__.py", "krakpot/_core.pyi", "krakpot/_core.abi3.so", "krakpot/py.typed"} <= set(names)
    assert {"krakpot/page/index.html", "krakpot/page/main.js", "krakpot/page/page.js", "krakpot/page/style.css"} <= set(
        names
    )
    # `make page` builds it, where there is what that needs.
    core = "krakpot/page/core/wasm/session_bg.wasm"
    assert (core in names) == (ROOT / "python" / core).exists()
    assert {name.rpartition("/")[2] for name in names if "/licenses/" in name} == {"LICENSE-APACHE", "LICENSE-MIT"}
    assert all(name.startswith(("krakpot/", "krakpot-")) for name in names)


def test_sdist_holds_its_sources(distributions: dict[str, Path]) -> None:
    """Every crate of the workspace, the lock file and the licences are in the sdist; built things are not."""
    with tarfile.open(distributions["sdist"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    crates = ("rust", "rust/lake", "rust/exchange", "rust/py")
    assert {"Cargo.toml", "Cargo.lock", "pyproject.toml", "README.md", "LICENSE-MIT", "LICENSE-APACHE"} <= names
    assert {f"{crate}/Cargo.toml" for crate in crates} | {f"{crate}/src/lib.rs" for crate in crates} <= names
    assert not [name for name in names if name.endswith((".so", ".parquet")) or "/target/" in f"/{name}"]


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_installs_into_an_empty_environment_and_works(
    kind: str, distributions: dict[str, Path], tmp_path: Path
) -> None:
    """A user's first minutes: install, ask for the version, make a lake, prove it, read it."""
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    binaries = tmp_path / "venv" / "bin"
    cache = {} if kind == "wheel" else compiled(ROOT / "target" / "sdist")
    run(binaries / "python", "-m", "pip", "install", "--quiet", distributions[kind], cwd=tmp_path, **cache)
    place = run(binaries / "python", "-c", "import krakpot; print(krakpot.__file__)", cwd=tmp_path)
    assert place.startswith(str(tmp_path)), "the installed package, not this folder's"
    version = run(binaries / "python", "-c", "import krakpot; print(krakpot.__version__)", cwd=tmp_path).strip()
    assert run(binaries / "krakpot", "--version", cwd=tmp_path).split()[-1] == version
    assert f"-{version}" in distributions[kind].name
    frames = lakes.write_frames(tmp_path / "market.jsonl", lakes.market())
    taken = json.loads(run(binaries / "krakpot", "ingest", frames, "--out", "lake", "--json", cwd=tmp_path))
    assert taken["checksums"]["book"]["ok"] > 0
    report = json.loads(run(binaries / "krakpot", "verify", "lake", "--strict", "--json", cwd=tmp_path))
    assert report["proved"]
    assert report["checksums"] == taken["checksums"]
    program = "import krakpot; print(krakpot.Lake('lake').trades('BTC/USD').collect().height)"
    assert int(run(binaries / "python", "-c", program, cwd=tmp_path)) > 0
