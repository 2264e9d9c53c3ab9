"""Seals closed journals in a process of its own, one at a time, while the recording goes on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from krakpot.errors import counted
from krakpot.lake import journal
from krakpot.log import LogLine

LOOK = 0.1
"""Seconds between two looks for closed journals."""
HANG = 600.0
"""Seconds without progress after which a sealer is considered dead; one journal takes some seconds."""
NICE = 10
"""Priority of the sealer's process, so that the recorder comes first."""


class Sealer:
    """Seals the journals of a lake whenever ``request`` was called."""

    def __init__(self, lake: Path, log: Callable[[str], None]) -> None:
        """``log`` takes log lines."""
        self.lake = lake
        self.failures = 0
        """How often sealing failed."""
        self.last_error = ""
        """Why the last sealing failed; empty if it succeeded."""
        self._log = log
        self._wanted = self._ended = False

    def request(self) -> None:
        """Seal soon: a journal was closed."""
        self._wanted = True

    async def run(self) -> None:
        """Seal what was closed until ``end`` is called. A sealing that has begun is finished.

        It begins with the journals that killed recorders left.
        """
        self._wanted = bool(journal.journals(self.lake))
        while not self._ended:
            if self._wanted:
                self._wanted = False
                await self.seal()
            await asyncio.sleep(LOOK)

    def end(self) -> None:
        """Let ``run`` return."""
        self._ended = True

    async def seal(self) -> None:
        """Seal once. A failure is logged and counted; the journals stay."""
        process = await asyncio.create_subprocess_exec(
            # -P: no module of the folder that the recorder was started in.
            sys.executable, "-P", "-m", "krakpot.lake.seal", str(self.lake),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            # Ctrl-C in the terminal is for the recorder.
            start_new_session=True,
        )  # fmt: skip
        if hasattr(os, "setpriority"):
            with suppress(ProcessLookupError, PermissionError):
                os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
        talk = asyncio.create_task(process.communicate())
        hung = await self._hangs(talk)
        if hung:
            process.kill()
        out, err = await talk
        if hung or process.returncode:
            last = f"the sealer made no progress for {HANG:.0f} s and was ended" if hung else _last_words(process, err)
            self.failures, self.last_error = self.failures + 1, last
            self._log(LogLine(f"sealing failed, the journals stay: {last}", "seal_failed", "error", error=last))
            return
        self.last_error = ""
        report = json.loads(out)
        if report["recovered"]:
            found = counted(len(report["recovered"]), "journal")
            words = f"recovered {found} of a recorder that died ({counted(report['rows'], 'row')})"
            self._log(LogLine(words, "recovered", journals=len(report["recovered"]), rows=report["rows"]))
        for torn in report["torn"]:
            words = f"{torn['journal']}: {torn['bytes']} bytes at {torn['offset']} were torn and are lost"
            facts = {name: torn[name] for name in ("journal", "bytes", "offset")}
            self._log(LogLine(words, "torn", "warning", **facts))

    async def _hangs(self, talk: asyncio.Task[tuple[bytes, bytes]]) -> bool:
        """Wait for a sealer's end. Returns whether it hangs: it seals no further journal."""
        left = set(journal.journals(self.lake))
        while not (await asyncio.wait({talk}, timeout=HANG))[0]:
            # Journals that are being written only join them.
            now = set(journal.journals(self.lake))
            if left <= now:
                return True
            left = now
        return False


def _last_words(process: asyncio.subprocess.Process, err: bytes) -> str:
    """The last line that a failed sealer wrote, or its exit code."""
    lines = err.decode(errors="replace").strip().splitlines()
    if lines:
        return lines[-1].removeprefix("krakpot: ")
    return _exit_words(process.returncode or 0)


def _exit_words(code: int) -> str:
    """Why a sealer ended that wrote no error."""
    if code == -signal.SIGKILL:
        return "the sealer was killed; does the machine have enough memory?"
    return f"the sealer ended with exit code {code}" if code > 0 else f"the sealer was ended by signal {-code}"
