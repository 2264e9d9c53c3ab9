"""Commands around the built-in exchange; what they do is tested where it is made."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from commands import facts, krakpot, wrong
from krakpot import _core
from krakpot.trade.key import load, write

KEYS = {"KRAKPOT_API_KEY": "key", "KRAKPOT_API_SECRET": "c2VjcmV0"}


def test_faults_are_listed() -> None:
    """For people a line each, for programs a list."""
    assert len(krakpot("exchange", "--faults").stdout.splitlines()) == len(_core.FAULTS)
    assert [one["name"] for one in facts(krakpot("exchange", "--faults", "--json"))["faults"]] == [
        row[0] for row in _core.FAULTS
    ]


@pytest.mark.slow
@pytest.mark.parametrize("names", [tuple(KEYS), ()])
def test_the_key_pair_of_the_environment_is_the_exchange_s(names: tuple[str, ...], tmp_path: Path) -> None:
    """Both variables are read: no new key is made where they are set."""
    command = [sys.executable, "-m", "krakpot", "exchange", "--port", "0", "--for", "1s", "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path,
        env=os.environ | {name: KEYS[name] for name in names},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["messages"] == 0
    assert ("API key" in done.stderr) == (not names)


@pytest.mark.slow
def test_key_files_are_written_and_accepted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands about accounts take them as they are: the first trades, the second cancels; a restart reads them."""
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    monkeypatch.delenv("KRAKPOT_API_KEY", raising=False)
    kept = []
    for _ in range(2):
        command = [sys.executable, "-m", "krakpot", "exchange", "--port", "0", "--pairs", "1", "--balance", "USD=5000"]
        keys = ["--key-file", "main.toml", "--second-key-file", "kill.toml"]
        with subprocess.Popen([*command, *keys], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as exchange:
            assert exchange.stdout is not None
            lines = [exchange.stdout.readline() for _ in range(4)]
            url = lines[-1].split()[-1]
            assert lines[2].startswith("key file main.toml: krakpot trade status main.toml --url http://")
            checked = facts(krakpot("key", "check", "main.toml", "--url", url, "--json"))
            status = facts(krakpot("trade", "status", "main.toml", "--url", url, "--json"))
            killed = facts(krakpot("trade", "kill", "kill.toml", "--url", url, "--yes", "--json"))
            other = facts(krakpot("trade", "status", "kill.toml", "--url", url, "--json"))
            exchange.terminate()
            exchange.wait(30)
        assert (checked["allowed"], checked["mode"], checked["account"]) == (True, "test", "main")
        assert not any("not expect" in sentence for sentence in checked["warnings"])
        assert status["balances"]["USD"]["total"] == "5000.0000"
        assert killed["gone"]
        assert other["key"]["permissions"] == ["close-trades"]
        kept.append([load(name).key for name in ("main.toml", "kill.toml")])
        assert all(stat.S_IMODE(Path(name).stat().st_mode) == 0o600 for name in ("main.toml", "kill.toml"))
    assert kept[0] == kept[1]


@pytest.mark.usefixtures("folder")
def test_wrong_key_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key of Kraken, no file that others could read, no option without what it is about."""
    monkeypatch.delenv("KRAKPOT_API_KEY", raising=False)
    write("live.toml", "name", KEYS["KRAKPOT_API_SECRET"], mode="live")
    wrong(krakpot("exchange", "--key-file", "live.toml"), "the key is one of Kraken")
    write("open.toml", "name", KEYS["KRAKPOT_API_SECRET"], mode="test")
    Path("open.toml").chmod(0o644)
    wrong(krakpot("exchange", "--second-key-file", "open.toml"), "others could read or change the key file")
    wrong(krakpot("exchange", "--second-key-may", "close-trades"), "without --second-key-file")
    wrong(krakpot("exchange", "--second-key-file", "a", "--second-key-may", "all"), "--second-key-may: 'all' is not")
    wrong(krakpot("exchange", "--key-file", "a", "--second-key-file", "a"), "it names the file of --key-file")
    wrong(krakpot("exchange", "--key-file", "a", "--api-key", "b", "--api-secret", "c2VjcmV0"), "leave one of them out")
    assert not Path("a").exists()
    Path(".git").mkdir()
    wrong(krakpot("exchange", "--key-file", "a"), "git work tree")
    wrong(krakpot("exchange", "--balance", "USD"), "balance.USD: this has no '='")


def test_most_pairs_are_as_many_as_the_exchange_has() -> None:
    """The bound of ``--pairs`` is that of the extension."""
    assert f"whole number from 1 to {_core.PAIRS_MAX}" in krakpot("exchange", "--pairs", "9999").stderr
    with pytest.raises(ValueError, match=f"pairs must be from 1 to {_core.PAIRS_MAX}, not"):
        _core.Exchange(pairs=_core.PAIRS_MAX + 1, rate=1.0, seed=1, start=0)
