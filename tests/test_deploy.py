"""What stands in deploy/ fits this version: its commands parse, its rules are those of the pages."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from krakpot import config
from krakpot.cli import main
from krakpot.config import Config

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
    assert found.metrics[0] in config.LOOPBACK
    assert re.search(r"^User=krakpot$", text, re.MULTILINE)


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
    """What was built here stays out of the image's build: the ignored folders of git are ignored there too."""
    git = (ROOT / ".gitignore").read_text().split()
    docker = (ROOT / "deploy/Dockerfile.dockerignore").read_text().split()
    assert len(git) > 5
    for pattern in git:
        name = pattern.strip("/")
        assert {name, f"**/{name}"} & set(docker), pattern
