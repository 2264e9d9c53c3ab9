"""``krakpot record`` as people run it: a process, its signals, exit code and words; against a scripted exchange."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import pty
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from krakpot.lake import journal
from krakpot.lake.lake import Lake
from scripted import Exchange, until
from waiting import run

SUMMARY = {"frames", "messages", "rows", "checksums", "unchecked", "errors", "gaps"}


class Command:
    """A krakpot command that runs; ``err`` grows with what it says."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Listen to it."""
        self.process = process
        self.out = b""
        self.err = b""
        self._listening = asyncio.gather(self._read("out", process.stdout), self._read("err", process.stderr))

    @classmethod
    async def start(cls, *arguments: str | Path, cwd: Path, **options: Any) -> Command:
        """Start ``krakpot`` with arguments, in the folder ``cwd``."""
        environment = {name: text for name, text in os.environ.items() if not name.startswith("KRAKPOT_")}
        environment |= options.pop("env", {})
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "krakpot", *map(str, arguments), cwd=cwd, env=environment,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, **options,
        )  # fmt: skip
        return cls(process)

    async def _read(self, name: str, stream: asyncio.StreamReader | None) -> None:
        assert stream is not None, "piped"
        while data := await stream.read(1 << 16):
            setattr(self, name, getattr(self, name) + data)

    async def says(self, words: str) -> None:
        """Wait until it says something on standard error."""
        await until(lambda: words.encode() in self.err or self.process.returncode is not None, words)
        assert words.encode() in self.err, f"it ended with {self.process.returncode}: {self.err.decode()}"

    async def end(self) -> int:
        """Wait for its end; the exit code."""
        await self._listening
        return await self.process.wait()


def options(exchange: Exchange, lake: Path) -> tuple[str, ...]:
    """What nearly every test wants."""
    return ("record", "--url", exchange.url, "--out", str(lake), "--depth", "10", "--seal-interval", "1s")


async def recording(exchange: Exchange, messages: int = 100) -> None:
    """Wait until a recorder has all its books and some messages more."""
    await until(lambda: exchange.clients and len(exchange.client.asked("subscribe", "book")) > 0)
    sent = len(exchange.client.sent)
    await until(lambda: len(exchange.client.sent) > sent + messages)


async def proved(lake: Path) -> dict[str, Any]:
    """The proof by ``krakpot verify --json``, which must hold."""
    command = await Command.start("verify", "--json", lake, cwd=lake)
    code = await command.end()
    report = dict(json.loads(command.out))
    assert (code, report["problems"], command.err) == (0, [], b"")
    return report


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_ends_the_recording_in_order(tmp_path: Path, number: signal.Signals) -> None:
    """Exit 0, a summary in words, all journals sealed, a proof; and as long as nobody looks (no terminal) plain lines
    with the time, no control characters.
    """

    async def test() -> None:
        lake = tmp_path / "lake"
        async with Exchange() as exchange:
            command = await Command.start(*options(exchange, lake), cwd=tmp_path)
            await recording(exchange)
            command.process.send_signal(number)
            assert await command.end() == 0
            assert exchange.client.close_code == 1000
        report = await proved(lake)
        assert report["checksums"]["book"]["ok"] > 50
        assert not list((lake / "_journal").iterdir())
        said = command.err.decode()
        assert {character for character in said if not character.isprintable()} == {"\n"}
        lines = said.splitlines()
        assert all(line[2] == line[5] == ":" and line[8] == " " for line in lines)
        assert any(line.endswith(f"recording {exchange.url} into {lake} until Ctrl-C") for line in lines)
        assert any("3 of 3 pairs, book, trade, ticker, depth 10: about" in line for line in lines)
        words = command.out.decode()
        assert f"checksums {report['checksums']['book']['ok']:,} ok, 0 bad; 0 unchecked; 0 gaps; 0 errors" in words
        assert words.endswith(f"krakpot verify {lake}    proves it from the files alone\n")

    run(test())


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["text", "json"])
@pytest.mark.parametrize("listener", ["gone", "full"])
def test_lines_that_nobody_takes_end_no_recording(tmp_path: Path, listener: str, format_: str) -> None:
    """Who read its lines is gone, or their disk is full: the recording goes on to its end, which is exit 0."""

    async def test() -> None:
        lake = tmp_path / "lake"
        read, write = os.pipe()
        if listener == "full":
            os.close(write)
            write = os.open("/dev/full", os.O_WRONLY)
        async with Exchange() as exchange:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "krakpot", *options(exchange, lake), "--log-format", format_, cwd=tmp_path,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=write,
            )  # fmt: skip
            os.close(write)
            os.close(read)
            await recording(exchange)
            # Something to say.
            exchange.client.do(lambda socket: socket.close(1001))
            await until(lambda: len(exchange.clients) > 1)
            await recording(exchange)
            process.send_signal(signal.SIGTERM)
            out, _ = await process.communicate()
            assert process.returncode == 0
            assert b"proves it from the files alone" in out
        assert (await proved(lake))["checksums"]["book"]["ok"] > 50

    run(test())


@pytest.mark.slow
def test_a_second_signal_leaves_the_sealing_to_the_next_start(tmp_path: Path) -> None:
    """Ctrl-C twice: it is gone at once with code 130, and nothing that was written is lost."""

    async def test() -> None:
        lake = tmp_path / "lake"
        async with Exchange() as exchange:
            command = await Command.start(*options(exchange, lake), "--seal-interval", "1h", cwd=tmp_path)
            await recording(exchange)
            # The exchange does not answer the close, so that there is time for the second one.
            exchange.client.socket.transport.pause_reading()
            command.process.send_signal(signal.SIGINT)
            await command.says("ending: closing the journal and sealing it")
            command.process.send_signal(signal.SIGINT)
            assert await command.end() == 130
            assert command.out == b""
            exchange.client.socket.transport.abort()
        assert len(journal.journals(lake)) == 1
        recover = await Command.start("recover", "--json", lake, cwd=tmp_path)
        assert await recover.end() == 0
        assert len(json.loads(recover.out)["recovered"]) == 1
        assert (await proved(lake))["checksums"]["book"]["ok"] > 0

    run(test())


@pytest.mark.slow
def test_json_is_one_object(tmp_path: Path) -> None:
    """``--json``: one object on standard output with the promised keys, equal to what verify finds; the words go to
    standard error.
    """

    async def test() -> None:
        lake = tmp_path / "lake"
        async with Exchange() as exchange:
            command = await Command.start(*options(exchange, lake), "--json", "--for", "3s", cwd=tmp_path)
            assert await command.end() == 0
        summary = json.loads(command.out)
        assert summary.keys() >= SUMMARY
        report = await proved(lake)
        assert summary["checksums"]["book"] == report["checksums"]["book"]
        assert summary["frames"] == report["frames"] > 0
        assert {table: n for table, n in summary["rows"].items() if table != "ledger" and n} == {
            table: n for table, n in report["rows"].items() if table != "ledger" and n
        }
        assert (summary["unchecked"], summary["errors"], summary["gaps"]) == (0, 0, 0)
        assert summary["messages"]["book"] == report["messages"]["book"]
        assert b"recording" in command.err

    run(test())


@pytest.mark.slow
def test_options_come_from_all_sources_in_their_order(tmp_path: Path) -> None:
    """The command line before the environment before the file; and ``--config`` names another file."""

    async def test() -> None:
        lake = tmp_path / "lake"
        async with Exchange() as exchange:
            places = f'url = "{exchange.url}"\nout = "{lake}"\n'
            (tmp_path / "krakpot.toml").write_text(
                places + 'symbols = ["BTC/USD"]\ndepth = 1000\nchannels = "book"\nfor = "1h"\n'
            )
            env = {"KRAKPOT_DEPTH": "500", "KRAKPOT_CHANNELS": "book,trade", "KRAKPOT_FOR": "1m"}
            command = await Command.start("record", "--json", "--for", "2s", "--depth", "25", cwd=tmp_path, env=env)
            assert await command.end() == 0
            assert [r["depth"] for r in exchange.client.asked("subscribe", "book")] == [25], "the command line's"
            assert exchange.client.asked("subscribe", "book")[0]["symbol"] == ["BTC/USD"], "the file's"
            assert exchange.client.asked("subscribe", "trade"), "the environment's"
            assert not exchange.client.asked("subscribe", "ticker")
            (tmp_path / "other.toml").write_text(places + 'symbols = "ETH/*"\n')
            command = await Command.start("record", "--config", "other.toml", "--for", "2s", cwd=tmp_path)
            assert await command.end() == 0
            assert exchange.client.asked("subscribe", "book")[0]["symbol"] == ["ETH/USD"]
            assert exchange.client.asked("subscribe", "book")[0]["depth"] == 100, "the default"
        await proved(lake)

    run(test())


WRONG = {
    "no such scheme": (("--url", "http://ws.kraken.com/v2"), "--url: 'http://ws.kraken.com/v2' is not allowed"),
    "no TLS to another machine": (("--url", "ws://ws.kraken.com/v2"), "allowed is a wss:// address"),
    "no host": (("--url", "wss:///v2"), "allowed is a wss:// address"),
    "no such port": (("--url", "wss://ws.kraken.com:99999/v2"), "allowed is a wss:// address"),
    "a fragment": (("--url", "wss://ws.kraken.com/v2#book"), "allowed is a wss:// address"),
    "no such depth": (("--depth", "42"), "--depth: '42' is not allowed; allowed is one of 10, 25, 100, 500, 1000"),
    "no such file": (("--config", "none.toml"), "none.toml: there is no such file"),
}


@pytest.mark.parametrize(("arguments", "words"), WRONG.values(), ids=WRONG)
def test_wrong_use_is_exit_2_and_one_sentence(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    """The place, what stands there, what is allowed; nothing is written."""

    async def test() -> None:
        command = await Command.start("record", "--out", tmp_path / "lake", *arguments, cwd=tmp_path)
        assert await command.end() == 2
        assert words in command.err.decode()
        assert command.err.count(b"\n") == 1
        assert command.out == b""
        assert not (tmp_path / "lake").exists()

    run(test())


def test_a_symbol_that_does_not_exist_is_exit_2(tmp_path: Path) -> None:
    """Known only once the exchange has told its pairs: the sentence has names that are near."""

    async def test() -> None:
        async with Exchange() as exchange:
            command = await Command.start(*options(exchange, tmp_path / "lake"), "--symbols", "XBT/USD", cwd=tmp_path)
            assert await command.end() == 2
            last = command.err.decode().splitlines()[-1]
            assert last == "krakpot: --symbols: 'XBT/USD' matches none of the 3 pairs; did you mean BTC/USD?"
            assert not (tmp_path / "lake").exists()

    run(test())


@pytest.mark.slow
def test_nobody_answers(tmp_path: Path) -> None:
    """No exchange there: said in a sentence, tried again; Ctrl-C ends it in order, with exit 1; the ledger has it."""

    async def test() -> None:
        async with Exchange() as exchange:
            pass
        command = await Command.start(*options(exchange, tmp_path / "lake"), cwd=tmp_path)
        await command.says(f"{exchange.url}: cannot connect: Connection refused; trying again")
        # The first attempts follow each other at once.
        await until(lambda: command.err.count(b"; trying again") >= 4, "four attempts")
        command.process.send_signal(signal.SIGINT)
        assert await command.end() == 1
        assert f"attempts: {exchange.url}: cannot connect: Connection refused" in command.err.decode().splitlines()[-1]
        verify = await Command.start("verify", "--json", tmp_path / "lake", cwd=tmp_path)
        assert await verify.end() == 1
        assert json.loads(verify.out)["problems"] == ["nothing was recorded: the lake has no message of the exchange"]
        kinds = Lake(tmp_path / "lake").ledger().collect()["kind"].to_list()
        assert kinds.count("refused") >= 4
        assert kinds[-1] != "disconnect"

    run(test())


@pytest.mark.slow
def test_a_disk_without_room_is_exit_1_and_one_sentence(tmp_path: Path) -> None:
    """The system refuses to let the journal grow: a sentence, exit 1; `krakpot recover` seals what was written, the
    proof holds.
    """

    async def test() -> None:
        lake = tmp_path / "lake"

        def small() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

        async with Exchange() as exchange:
            arguments = (*options(exchange, lake), "--seal-interval", "1h")
            command = await Command.start(*arguments, cwd=tmp_path, preexec_fn=small)
            assert await command.end() == 1
        (left,) = journal.journals(lake)
        last = command.err.decode().splitlines()[-1]
        assert last == f"krakpot: cannot write the journal: {os.strerror(errno.EFBIG)}: {left}"
        assert left.stat().st_size <= 60_000
        recover = await Command.start("recover", "--json", lake, cwd=tmp_path)
        assert await recover.end() == 0
        report = json.loads(recover.out)
        assert (len(report["recovered"]), report["torn"]) == (1, [])
        assert (await proved(lake))["checksums"]["book"]["ok"] > 0

    run(test())


@pytest.mark.slow
def test_on_a_terminal_there_is_a_panel(tmp_path: Path) -> None:
    """On a terminal the state is shown in place and the cursor is never left hidden, not even by a second Ctrl-C."""

    async def test() -> None:
        ours, theirs = pty.openpty()
        shown = bytearray()
        loop = asyncio.get_running_loop()

        def read() -> None:
            try:
                shown.extend(os.read(ours, 1 << 16))
            except OSError:  # the other side is closed
                loop.remove_reader(ours)

        loop.add_reader(ours, read)
        environment = {name: text for name, text in os.environ.items() if not name.startswith("KRAKPOT_")}
        async with Exchange() as exchange:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "krakpot", *options(exchange, tmp_path / "lake"), cwd=tmp_path,
                env=environment | {"TERM": "xterm", "COLUMNS": "100", "LINES": "40"},
                stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            )  # fmt: skip
            os.close(theirs)
            await recording(exchange)
            await until(lambda: b"3 in sync of 3 pairs" in shown)
            assert shown.rfind(b"\x1b[?25h") > shown.rfind(b"\x1b[?25l"), "the cursor is there"
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0
            await until(lambda: b"proves it from the files alone" in shown)
        loop.remove_reader(ours)
        os.close(ours)
        assert "checksums" in shown.decode()
        await proved(tmp_path / "lake")

    run(test())


@pytest.mark.slow
def test_a_module_in_the_folder_is_not_the_sealer_s(tmp_path: Path) -> None:
    """Started in a folder that has a ``polars.py`` of its own, the sealer still uses the real one."""

    async def test() -> None:
        (tmp_path / "polars.py").write_text("raise RuntimeError\n")
        async with Exchange() as exchange:
            script = Path(sys.executable).with_name("krakpot")
            assert script.exists(), "the command is installed beside the interpreter"
            process = await asyncio.create_subprocess_exec(
                script, *options(exchange, tmp_path / "lake"), "--for", "2s", cwd=tmp_path,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            _, err = await process.communicate()
            assert (process.returncode, b"failed" in err) == (0, False)
            assert Lake(tmp_path / "lake").sessions()

    run(test())
