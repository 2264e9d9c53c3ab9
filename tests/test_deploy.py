"""The files in deploy/ fit this version: their commands parse, their rules are those of the pages."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from krakpot import config, values
from krakpot.cli.main import main
from krakpot.config import Config
from krakpot.exchange.options import Options
from krakpot.exchange.server import ExchangeServer

ROOT = Path(__file__).resolve().parent.parent
UNIT = ROOT / "deploy/krakpot.service"
DOCKERFILE = ROOT / "deploy/Dockerfile"


def recording(arguments: list[str], folder: Path) -> Config:
    """What `krakpot record` would do with these arguments; wrong ones raise."""
    command = main.commands["record"]
    assert isinstance(command, click.Command)
    options = command.make_context("record", arguments).params
    file = options.pop("file")
    options.pop("json_")
    empty = folder / "krakpot.toml"
    empty.write_text("")
    assert file in {None, Path("/etc/krakpot.toml")}
    return config.load(options, file=empty, environment={})


def test_the_unit_starts_a_recorder(tmp_path: Path) -> None:
    """ExecStart is a command of this version, records where the unit lets it write, and serves metrics here only."""
    text = UNIT.read_text()
    (line,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    program, command, *arguments = shlex.split(line)
    assert (program, command) == ("/opt/krakpot/bin/krakpot", "record")
    found = recording(arguments, tmp_path)
    (writable,) = re.findall(r"^ReadWritePaths=(.*)$", text, re.MULTILINE)
    assert found.out == Path(writable)
    assert found.metrics is not None
    assert found.metrics[0] in values.LOOPBACK
    assert re.search(r"^User=krakpot$", text, re.MULTILINE)
    page = (ROOT / "docs/running.md").read_text()
    (file,) = re.findall(r"--config (\S+)", line)
    assert page.index(f">{file}\n") < page.index("systemctl enable"), "without it the recorder ends as wrong use"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze reads units; it is not here")
def test_systemd_reads_the_unit(tmp_path: Path) -> None:
    """No key is misspelt, no value refused; a key that is misspelt is seen."""
    program = shutil.which("krakpot", path=str(Path(sys.executable).parent))
    assert program is not None
    text = UNIT.read_text().replace("/opt/krakpot/bin/krakpot record", f"{program} record")
    for name, content, good in (("good", text, True), ("bad", text.replace("ProtectHome=", "ProtectHoem="), False)):
        (tmp_path / name).mkdir()
        unit = tmp_path / name / "krakpot.service"
        unit.write_text(content)
        command = ["systemd-analyze", "verify", "--man=no", str(unit)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ("ProtectHoem" not in done.stderr) == good, done.stderr
        assert not good or "krakpot.service:" not in done.stderr, done.stderr


def allowed(name: str) -> set[str]:
    """The system calls in one of systemd's sets."""
    command = ["systemd-analyze", "syscall-filter", name]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[1:]
    names = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    return {call for found in names for call in (allowed(found) if found.startswith("@") else [found])}


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None or shutil.which("strace") is None,
    reason="systemd-analyze knows the sets of calls, strace sees which are made; one is not here",
)
def test_the_unit_allows_what_a_recorder_calls(tmp_path: Path) -> None:
    """A recording, its sealing, its metrics, alerts and look at the clock make no call that the unit forbids."""
    text = UNIT.read_text()
    (filter_,) = re.findall(r"^SystemCallFilter=(.*)$", text, re.MULTILINE)
    free = {call for name in filter_.split() for call in allowed(name)}
    for key, name in {"ProtectClock": "@clock", "ProtectKernelModules": "@module"}.items():
        free -= allowed(name) if f"\n{key}=true\n" in text else set()
    assert len(free) > 100

    async def record() -> subprocess.CompletedProcess[str]:
        async with ExchangeServer(Options(pairs=3, rate=100.0)) as server:
            arguments = ["--url", server.address, "--for", "3s", "--keep", "30d", "--metrics", "0", "--out", "lake"]
            arguments += ["--alert", "cat >told", "--alert", "http://127.0.0.1:9/hook"]
            program = [sys.executable, "-m", "krakpot", "record", *arguments]
            command = ["strace", "-f", "-qq", "-e", "signal=none", "-o", "calls", *program]
            return await asyncio.to_thread(
                subprocess.run, command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100
            )

    done = asyncio.run(record())
    if "Operation not permitted" in done.stderr and not (tmp_path / "lake").exists():
        pytest.skip("strace may not look at programs here")
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("lake/book/*/*.parquet")), "it was sealed"
    assert (tmp_path / "told").stat().st_size, "an alert was told"
    assert "could not be delivered to http://127.0.0.1:9/…: the connection failed" in done.stderr
    made = set(re.findall(r"^\d+ +([a-z]\w*)\(", (tmp_path / "calls").read_text(errors="replace"), re.MULTILINE))
    assert {"flock", "fsync", "execve", "recvfrom"} <= made
    assert made - free == set()
    assert re.search(r"^SystemCallErrorNumber=EPERM$", text, re.MULTILINE), "what else may come kills nobody"


def test_the_image_records_as_nobody_special(tmp_path: Path) -> None:
    """Two stages, the last one not as root; what it starts and what asks for its health are commands of this version,
    and they agree on the port.
    """
    text = DOCKERFILE.read_text()
    stages = re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]
    assert len(stages) == 2
    (user,) = re.findall(r"^USER (\d+)$", stages[1], re.MULTILINE)
    assert int(user) > 0
    assert "cargo" not in stages[1], "no compiler in what runs"
    (entry,) = re.findall(r"^ENTRYPOINT (\[.*\])$", stages[1], re.MULTILINE)
    program, command, *arguments = json.loads(entry)
    assert (program, command) == ("krakpot", "record")
    found = recording(arguments, tmp_path)
    (volume,) = re.findall(r"^VOLUME (.*)$", stages[1], re.MULTILINE)
    assert found.out == Path(volume)
    (health,) = re.findall(r"^HEALTHCHECK .*CMD (\[.*\])$", stages[1], re.MULTILINE)
    program, command, *arguments = json.loads(health)
    assert (program, command) == ("krakpot", "top")
    params = main.commands["top"].make_context("top", arguments).params
    assert params["once"]
    assert found.metrics == ("127.0.0.1", int(params["where"]))


def test_what_the_image_copies_is_clean() -> None:
    """Local build output does not go into the image: folders that git ignores are ignored there too."""
    git = (ROOT / ".gitignore").read_text().split()
    docker = (ROOT / "deploy/Dockerfile.dockerignore").read_text().split()
    assert len(git) > 5
    for pattern in git:
        name = pattern.strip("/")
        assert {name, f"**/{name}"} & set(docker), pattern
