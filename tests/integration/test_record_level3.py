"""``krakpot record --channels book,level3`` as people run it, against ``krakpot exchange``: keys, words, exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from krakpot.compare.exchange import differences
from krakpot.lake.lake import Lake
from krakpot.lake.verify import verify

KEY = "aKeyThatNobodyHas"
SECRET = "YSBzZWNyZXQgdGhhdCBub2JvZHkgaGFz"  # noqa: S105  # nobody's
PAIR = {"KRAKPOT_API_KEY": KEY, "KRAKPOT_API_SECRET": SECRET}


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def environment(**variables: str) -> dict[str, str]:
    """What this process has, without options of krakpot, and more."""
    return {name: text for name, text in os.environ.items() if not name.startswith("KRAKPOT_")} | variables


def krakpot(*arguments: str | Path, cwd: Path, **variables: str) -> Done:
    """Run a command; nothing that it says has a secret in it."""
    done = subprocess.run(
        [sys.executable, "-m", "krakpot", *map(str, arguments)],
        cwd=cwd, env=environment(**variables), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert not [secret for secret in (KEY, SECRET) if secret in done.stdout + done.stderr]
    return Done(done.returncode, done.stdout, done.stderr)


class Server(NamedTuple):
    """A built-in exchange that runs."""

    process: subprocess.Popen[str]
    url: str
    rest: str

    def account(self) -> dict[str, Any]:
        """End it; its account."""
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=60)
        return dict(json.loads(out))


@contextmanager
def served(tmp_path: Path, pairs: int) -> Iterator[Server]:
    """``krakpot exchange`` with the key."""
    command = [sys.executable, "-m", "krakpot", "exchange", "--port", "0", "--pairs", str(pairs), "--json"]
    with subprocess.Popen(
        [*command, "--api-key", KEY], cwd=tmp_path, env=environment(KRAKPOT_API_SECRET=SECRET),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stderr is not None, "piped"
            url = process.stderr.readline().split()[-1]
            rest = process.stderr.readline().split()[-1]
            yield Server(process, url, rest)
        finally:
            process.kill()


@pytest.mark.slow
def test_level3_of_two_connections_ends_by_a_signal(tmp_path: Path) -> None:
    """205 pairs take two connections of level 3, whose address follows from ``--url``; Ctrl-C ends all three in order,
    with exit 0; the lake is proved, and equals the exchange's own account.
    """
    lake = tmp_path / "lake"
    with served(tmp_path, 205) as server:
        command = [
            "record",
            "--url",
            server.url,
            "--rest-url",
            server.rest,
            "--channels",
            "book,level3",
            "--depth",
            "10",
        ]
        command += ["--level3-depth", "10", "--out", str(lake)]
        with subprocess.Popen(
            [sys.executable, "-m", "krakpot", *command], cwd=tmp_path, env=environment(**PAIR),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            assert process.stderr is not None, "piped"
            said = ""
            # A line of progress comes every ten seconds; by then all is subscribed.
            while " level-3 books in sync, checksums " not in said.rpartition("\n")[2]:
                line = process.stderr.readline()
                assert line, said
                said = f"{said}\n{line.rstrip()}"
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=120)
        assert process.returncode == 0, said + err
        time.sleep(0.5)
        account = server.account()
    assert "205 of 205 pairs, level3, depth 10: about" in said
    assert "all subscribed in 5 s at the earliest" in said
    assert re.search(r"205 of 205 level-3 books in sync, checksums [\d,]+ ok 0 bad", said), said
    assert re.search(r"level3 checksums [\d,]+ ok, 0 bad", out), out
    assert not [secret for secret in (KEY, SECRET) if secret in said + out + err]
    report = verify(lake)
    assert report.problems == []
    assert len(Lake(lake).sessions()) == len(account["connections"]) == 3
    assert differences(Lake(lake), account) == []


@pytest.mark.slow
def test_json_has_both_kinds_of_checksums(tmp_path: Path) -> None:
    """With the key pair in a file of one's own; and what verify finds is the same."""
    with served(tmp_path, 5) as server:
        file = tmp_path / "krakpot.toml"
        file.touch(0o600)
        file.write_text(f'api_key = "{KEY}"\napi_secret = "{SECRET}"\nrest_url = "{server.rest}"\nlevel3_depth = 10\n')
        done = krakpot("record", "--url", server.url, "--channels", "level3", "--json", "--for", "4s", cwd=tmp_path)
    assert done.code == 0, done.err
    summary = json.loads(done.out)
    assert summary["checksums"]["level3"]["ok"] > 5
    assert summary["checksums"]["level3"]["bad"] == 0
    proof = krakpot("verify", "--json", "data", cwd=tmp_path)
    assert (proof.code, json.loads(proof.out)["checksums"]) == (0, summary["checksums"])


@pytest.mark.slow
def test_nothing_is_lost_to_kill_9(tmp_path: Path) -> None:
    """Killed while it records: the journals of all its connections are sealed, and the proof holds."""
    lake = tmp_path / "data"
    with served(tmp_path, 12) as server:
        command = ["record", "--url", server.url, "--rest-url", server.rest, "--channels", "book,level3"]
        with subprocess.Popen(
            [sys.executable, "-m", "krakpot", *command, "--level3-depth", "10"], cwd=tmp_path, env=environment(**PAIR),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as process:  # fmt: skip
            give_up = time.monotonic() + 60
            while len(list(lake.glob("_journal/*.journal"))) < 2:
                assert time.monotonic() < give_up, "two journals"
                time.sleep(0.1)
            time.sleep(3)
            process.kill()
    recovered = krakpot("recover", "--json", lake, cwd=tmp_path)
    assert len(json.loads(recovered.out)["recovered"]) == 2
    report = verify(lake)
    assert report.problems == []
    checksums = report.to_dict()["checksums"]
    assert checksums["book"]["ok"] > 12
    assert checksums["level3"]["ok"] > 12
    assert checksums["book"]["bad"] == checksums["level3"]["bad"] == 0


def test_pairs_need_no_key(tmp_path: Path) -> None:
    """Whoever is to record level 3 lists the pairs without what that needs."""
    with served(tmp_path, 5) as server:
        done = krakpot("pairs", "--url", server.url, cwd=tmp_path, KRAKPOT_CHANNELS="level3")
    assert (done.code, done.out.splitlines()[-1]) == (0, "5 pairs"), done.err


def test_a_wrong_secret_is_exit_2(tmp_path: Path) -> None:
    """Known once REST was asked: the cause, the cure, and no lake."""
    with served(tmp_path, 5) as server:
        arguments = ("record", "--url", server.url, "--rest-url", server.rest, "--channels", "book,level3")
        other = PAIR | {"KRAKPOT_API_SECRET": "b3RoZXI="}
        done = krakpot(*arguments, cwd=tmp_path, **other)
    assert done.code == 2, done.err
    last = done.err.splitlines()[-1]
    assert last.startswith("krakpot: no token for level 3: the API secret does not belong to the key; compare KRAKPOT_")
    assert not (tmp_path / "data").exists()


WRONG = {
    "no key": ((), {}, "level3 needs an API key of a Kraken account, with the permission"),
    "no secret": ((), {"KRAKPOT_API_KEY": KEY}, "set KRAKPOT_API_SECRET"),
    "no base64": ((), PAIR | {"KRAKPOT_API_SECRET": SECRET + "x"}, "KRAKPOT_API_SECRET: the value is not allowed"),
    "no place for tokens": (("--url", "ws://127.0.0.1:9/v2"), PAIR, "give --rest-url"),
    "no such depth": (("--level3-depth", "25"), PAIR, "--level3-depth: '25' is not allowed; allowed is one of 10, 100"),
    "no TLS": (("--rest-url", "http://api.kraken.com"), PAIR, "--rest-url: 'http://api.kraken.com' is not allowed"),
    "a key in the open": (("--api-secret", "x"), PAIR, "no such option '--api-secret'"),
}


@pytest.mark.parametrize(("arguments", "variables", "words"), WRONG.values(), ids=WRONG)
def test_wrong_use_is_exit_2(tmp_path: Path, arguments: tuple[str, ...], variables: dict[str, str], words: str) -> None:
    """Said in a sentence, and nothing is written."""
    done = krakpot("record", "--channels", "book,level3", *arguments, cwd=tmp_path, **variables)
    assert done.code == 2
    assert words in done.err
    assert not (tmp_path / "data").exists()


def test_a_file_that_others_can_read_is_exit_2(tmp_path: Path) -> None:
    """The sentence is the cure."""
    file = tmp_path / "krakpot.toml"
    file.write_text(f'api_key = "{KEY}"\napi_secret = "{SECRET}"\n')
    file.chmod(0o644)
    done = krakpot("record", "--channels", "level3", cwd=tmp_path)
    assert done.code == 2
    assert done.err.endswith("others can read this file: chmod 600 krakpot.toml\n")
