from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import traded
from fills import SYMBOL
from krakpot import ExchangeOptions, ExchangeServer
from krakpot.cli.main import main
from krakpot.cli.trading import load
from krakpot.errors import ConfigError

RULES = '''
class JoinBest:
    """Rests one unit at the best bid."""

    def book(self, m, e):
        if m.trading and not m.orders(e.symbol, "buy"):
            m.buy(e.symbol, m.pair(e.symbol).qty_min * 10, m.best(e.symbol)[0], post_only=True)


class Idle:
    def trade(self, m, e):
        pass
'''
ACCOUNT = ["--symbols", SYMBOL, "--balance", "USD=50000", "--fees", "0.25%,0.40%"]


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A file with two strategies."""
    file = tmp_path / "rules.py"
    file.write_text(RULES)
    return file


def krakpot(*arguments: str | Path) -> tuple[int, str]:
    """Exit code and output of a command."""
    found = CliRunner().invoke(main, [str(one) for one in arguments])
    return found.exit_code, found.output


def test_backtest_prints_and_writes_the_result(tmp_path: Path, rules: Path) -> None:
    """The integrity line first; tables, summary and picture in the folder; the same numbers as JSON."""
    lake = traded.lake(tmp_path / "lake")
    out = tmp_path / "result"
    run: list[str | Path] = ["backtest", lake.path, f"{rules}:JoinBest", *ACCOUNT, "--latency", "1ms,2ms"]
    code, said = krakpot(*run, "--out", out)
    assert code == 0, said
    lines = said.splitlines()
    assert lines[0].startswith(f"{SYMBOL} 2026-08-02")
    assert "latency 1ms + 2ms" in lines[0]
    assert lines[1].startswith("P&L ")
    assert {"fills.parquet", "summary.json", "equity.png"} <= {path.name for path in out.iterdir()}
    code, said = krakpot(*run, "--json")
    assert (code, json.loads(said)["digest"]) == (0, json.loads((out / "summary.json").read_text())["digest"])


def test_backtest_on_level_2_gives_two_results(tmp_path: Path, rules: Path) -> None:
    """All cancels ahead, and all behind."""
    lake = traded.lake(tmp_path / "lake")
    code, said = krakpot("backtest", lake.path, f"{rules}:Idle", *ACCOUNT, "--model", "bounds", "--json")
    assert (code, set(json.loads(said))) == (0, {"ahead", "behind"})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["rules.txt"], "allowed is a Python file, as rules.py or rules.py:JoinBest"),
        (["none.py"], "STRATEGY: none.py is not there"),
        (["{rules}"], "has 2 strategies (JoinBest, Idle); name one, as"),
        (["{rules}:Other"], "has no strategy Other; it has JoinBest, Idle"),
        (["{rules}:Idle", "--latency", "soon"], "latency"),
        (["{rules}:Idle", "--balance", "USD"], "allowed is ASSET=AMOUNT, as USD=50000"),
        (["{rules}:Idle", "--wake", "often"], "wake"),
        (["{rules}:Idle", "--symbols", "ETH/USD"], "ETH/USD"),
    ],
)
def test_wrong_use_is_one_sentence(tmp_path: Path, rules: Path, arguments: list[str], sentence: str) -> None:
    """With exit code 2."""
    lake = traded.lake(tmp_path / "lake")
    given = [one.format(rules=rules) for one in arguments]
    code, said = krakpot("backtest", lake.path, given[0], *ACCOUNT, *given[1:])
    assert code == 2
    assert sentence in said
    assert len(said.splitlines()) == 1


def test_a_compiled_strategy_is_found(tmp_path: Path) -> None:
    """By its name, or as the only one; a helper that is imported is none."""
    file = tmp_path / "fast.py"
    file.write_text(
        "import krakpot\nfrom krakpot.trade.compiled import buy\n\n@krakpot.compiled\ndef fast(m): buy(m, 1)\n"
    )
    assert repr(load(file, "fast")) == repr(load(file, "")) == "CompiledStrategy(fast)"
    with pytest.raises(ConfigError, match="has no strategy slow; it has fast"):
        load(file, "slow")


def test_a_file_that_fails_says_why(tmp_path: Path) -> None:
    """An import that fails, a class that needs arguments, a file without a strategy."""
    for name, text, sentence in (
        ("fails", "import nothing_of_this_name", "cannot be imported: ModuleNotFoundError"),
        (
            "needs",
            "class Needs:\n    def __init__(self, x): ...\n    def book(self, m, e): ...",
            "give its arguments defaults",
        ),
        ("empty", "x = 1", "has 0 strategies (none); a strategy has one of start, book"),
    ):
        file = tmp_path / f"{name}.py"
        file.write_text(text)
        with pytest.raises(ConfigError) as error:
            load(file, "")
        assert sentence in str(error.value)


@pytest.mark.slow
def test_paper_ends_with_the_result_so_far(tmp_path: Path, rules: Path) -> None:
    """On the live feed of an exchange; Ctrl-C ends it well."""

    async def main_() -> tuple[int, dict[str, object]]:
        async with ExchangeServer(ExchangeOptions(pairs=2, rate=300.0, seed=4)) as server:
            symbol, _, quote = server.exchange.pairs()[0][:3]
            environment = os.environ | {
                "KRAKPOT_API_KEY": server.key.name, "KRAKPOT_API_SECRET": server.key.secret_text,
                "PYTHONPATH": os.pathsep.join(sys.path),
            }  # fmt: skip
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "krakpot", "paper", f"{rules}:JoinBest", "--symbols", symbol, "--json",
                "--balance", f"{quote}=1000000000", "--fees", "0.25%,0.40%", "--latency", "1ms",
                "--url", server.address, "--level3-url", server.level3_address, "--rest-url", server.rest_address,
                env=environment, stdout=subprocess.PIPE,
            )  # fmt: skip
            await asyncio.sleep(6)
            process.send_signal(signal.SIGINT)
            said, _ = await process.communicate()
            assert process.returncode is not None
            return process.returncode, json.loads(said)

    code, summary = asyncio.run(main_())
    assert code == 0
    assert summary["ended"] == "interrupted"
    assert summary["requests"]


def test_a_file_does_not_stand_for_a_module_of_its_name(tmp_path: Path) -> None:
    """A strategy in json.py leaves json as it is, and finds a module beside it."""
    (tmp_path / "beside_the_rules.py").write_text("NUMBER = 3\n")
    file = tmp_path / "json.py"
    file.write_text(
        "import beside_the_rules\nclass A:\n    n = beside_the_rules.NUMBER\n    def book(self, m, e): ...\n"
    )
    path = list(sys.path)
    try:
        assert load(file, "").n == 3
    finally:
        sys.path[:] = path
    assert sys.modules["json"] is json


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("import sys\nsys.exit(0)\n", "cannot be imported: SystemExit"),
        (
            "class A:\n    def __init__(self): raise ValueError('bad')\n    def book(self, m, e): ...\n",
            "ValueError: bad",
        ),
    ],
)
def test_code_of_a_file_that_ends_or_raises_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    """It is the file that is wrong, not the command: also where it ends the process without a word."""
    file = tmp_path / "wrong.py"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"^STRATEGY: ") as raised:
        load(file, "")
    assert sentence in str(raised.value)


def test_an_asset_is_given_once(tmp_path: Path, rules: Path) -> None:
    """A second amount would take the place of the first without a word."""
    lake = traded.lake(tmp_path / "lake")
    code, said = krakpot("backtest", lake.path, f"{rules}:Idle", *ACCOUNT, "--balance", "USD=1")
    assert (code, "USD is there twice" in said) == (2, True), said
    code, said = krakpot("backtest", lake.path, f"{rules}:Idle", *ACCOUNT, "--latency", "5ms,")
    assert (code, "--latency" in said) == (2, True), said


def test_the_folder_is_made_before_the_run(tmp_path: Path) -> None:
    """A long run is not lost because its result cannot be written."""
    lake = traded.lake(tmp_path / "lake")
    file = tmp_path / "ran.py"
    file.write_text(
        f"class A:\n    def start(self, m): __import__('pathlib').Path({str(tmp_path / 'ran')!r}).touch()\n"
    )
    code, said = krakpot("backtest", lake.path, file, *ACCOUNT, "--out", file)
    assert (code, "choose a folder" in said) == (2, True), said
    assert not (tmp_path / "ran").exists()
    assert krakpot("backtest", lake.path, file, *ACCOUNT)[0] == 0
    assert (tmp_path / "ran").exists(), "it would have run"


def test_ctrl_c_ends_a_slow_strategy_soon(tmp_path: Path) -> None:
    """After the handler that is called now; the result says that it ended early, and both bounds end at that time."""
    lake = traded.lake(tmp_path / "lake")
    file = tmp_path / "slow.py"
    file.write_text(
        "import os, signal\nclass A:\n    n = 0\n    def book(self, m, e):\n        self.n += 1\n"
        "        if self.n == 5 and 'ahead' not in os.environ:\n"
        "            os.environ['ahead'] = '1'\n            os.kill(os.getpid(), signal.SIGINT)\n"
        "    def stop(self, m, reason): print('calls', self.n)\n"
    )
    command = [sys.executable, "-m", "krakpot", "backtest", str(lake.path), str(file), *ACCOUNT, "--wake", "message"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "calls 5\n" in done.stdout
    assert "ended early: interrupted" in done.stdout
    done = subprocess.run([*command, "--model", "bounds"], capture_output=True, text=True, timeout=60, check=False)
    ahead, behind = done.stdout.split("all cancels behind:")
    assert "ended early: interrupted" in ahead
    first, second = (text.split(": in sync")[0].split("…")[1] for text in (ahead, behind))
    assert first == second, "the same time"
