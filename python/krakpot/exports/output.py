"""The folder of an export: files that appear when they are complete, and ``export.json``, which says what they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from krakpot import __version__
from krakpot.errors import ConfigError, StorageError, words_of
from krakpot.exports.pieces import Gap, Piece
from krakpot.lake.format import moment

MANIFEST = "export.json"
UNFINISHED = ".unfinished"
"""Ends the name of a file that is being written."""


@dataclass
class ExportReport:
    """What an export wrote, and what it left out."""

    to: str
    """The format."""
    lake: str
    out: str
    options: dict[str, Any]
    """As they were given."""
    version: str = __version__
    """Of krakpot."""
    complete: bool = False
    """Whether the export came to its end."""
    files: list[dict[str, Any]] = field(default_factory=list)
    """Of each file: its path within the folder, rows, and facts of its format."""
    gaps: list[dict[str, Any]] = field(default_factory=list)
    """Times that are in no file because they were not recorded, or were recorded wrong."""
    notes: list[str] = field(default_factory=list)
    """What is to be known, in sentences."""

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(int(file["rows"]) for file in self.files)

    def to_dict(self) -> dict[str, Any]:
        """As one JSON object."""
        return {**vars(self), "rows": self.rows}

    def __repr__(self) -> str:
        """Show what it is, not every file."""
        return f"ExportReport(to={self.to!r}, out={self.out!r}, files={len(self.files)}, rows={self.rows})"


class Output:
    """The folder that an export writes."""

    def __init__(self, report: ExportReport, *, overwrite: bool) -> None:
        """Make it; ``ConfigError`` if it has files and they may not be replaced."""
        self.report = report
        self.path = Path(report.out)
        self._made = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            held = any(self.path.iterdir())
        except OSError as error:
            sentence = f"out: {self.path} cannot be made ({words_of(error)}); choose a folder that you may write to"
            raise ConfigError(sentence) from None
        if held:
            self._clear(overwrite=overwrite)
        self.save()

    def _clear(self, *, overwrite: bool) -> None:
        """Remove the files of the export before, and nothing else."""
        try:
            before = json.loads((self.path / MANIFEST).read_text())["files"]
            paths = [self.path / file["path"] for file in before]
        except (OSError, ValueError, TypeError, KeyError):
            sentence = f"out: {self.path} has other files in it, no export; choose an empty folder or a new one"
            raise ConfigError(sentence) from None
        if not overwrite:
            sentence = f"out: {self.path} has an export already; choose another folder, or let it be overwritten"
            raise ConfigError(f"{sentence} (--overwrite, or overwrite=True)")
        root = self.path.resolve()
        for path in (*paths, *self.path.rglob(f"*{UNFINISHED}")):
            if path.resolve().is_relative_to(root):
                path.unlink(missing_ok=True)
        self._prune()

    def _prune(self) -> None:
        """Remove folders within the folder that are empty."""
        for path in sorted(self.path.rglob("*"), reverse=True):
            if path.is_dir():
                with suppress(OSError):
                    path.rmdir()

    def save(self) -> None:
        """Write the manifest."""
        self.write(MANIFEST, json.dumps(self.report.to_dict(), indent=1, default=str) + "\n")

    def discard(self) -> None:
        """Remove what was made: nothing was written."""
        (self.path / MANIFEST).unlink(missing_ok=True)
        self._prune()
        if self._made:
            with suppress(OSError):
                self.path.rmdir()

    def write(self, name: str, content: str) -> None:
        """Write a small file in one step."""
        unfinished = self.path / f"{name}{UNFINISHED}"
        try:
            unfinished.write_text(content)
            unfinished.rename(self.path / name)
        except OSError as error:
            raise _failed(error, self.path) from error

    @contextmanager
    def file(self, name: str) -> Iterator[File]:
        """A file to write; it gets its name when it is complete, and is gone if it fails or has no rows."""
        made = File(self.path, name)
        try:
            made.unfinished.parent.mkdir(parents=True, exist_ok=True)
            yield made
            if made.rows:
                path = self.path / made.name
                path.parent.mkdir(parents=True, exist_ok=True)
                made.unfinished.rename(path)
        except OSError as error:
            raise _failed(error, made.path) from error
        finally:
            with suppress(OSError):
                made.unfinished.unlink(missing_ok=True)
        if made.rows:
            self.report.files.append({"path": made.name, "rows": made.rows, **made.facts})
            self.save()

    def quiet(self, piece: Piece, channel: str) -> None:
        """Say that a piece has no message, and therefore no file."""
        times = f"from {moment(piece.ts_from)} to {moment(piece.ts_to)}"
        self.report.notes.append(f"{piece.symbol}: no message of {channel} {times}, so there is no file of it")

    def gaps(self, gaps: list[Gap]) -> None:
        """Say what is in no file."""
        self.report.gaps += [
            {"symbol": gap.symbol, "channel": gap.channel, **period(gap.ts_from, gap.ts_to), "reason": gap.reason}
            for gap in gaps
        ]


class File:
    """A file of an export that is being written."""

    def __init__(self, folder: Path, name: str) -> None:
        """``name`` is its path within the folder; it may change until the file is complete."""
        self.path = folder
        self.name = name
        self.unfinished = folder / f"{name}{UNFINISHED}"
        self.rows = 0
        self.facts: dict[str, Any] = {}


def _failed(error: OSError, path: Path) -> StorageError:
    return StorageError(f"the export could not be written: {words_of(error)}", path)


def period(begin: int, end: int) -> dict[str, str]:
    """Begin and end of a time as texts."""
    return {"ts_from": moment(begin), "ts_to": moment(end)}


def file_symbol(symbol: str) -> str:
    """A symbol within the name of a file."""
    return symbol.replace("/", "-")
