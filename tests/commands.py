"""Runs krakpot's commands in this process, and reads what they print."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner, Result

from krakpot.cli.main import main


def krakpot(*arguments: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def facts(result: Result) -> dict[str, Any]:
    """The one JSON object on standard output."""
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def wrong(result: Result, sentence: str, code: int = 2) -> None:
    """Exit code, one sentence on standard error, nothing on standard output."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("krakpot: ")
    assert result.stderr.count("\n") == 1
    assert sentence in result.stderr
