"""What the options of a recording are and where they come from; a file to begin with; completion in a shell."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from krakpot.cli.main import main
from krakpot.cli.settings import HIDDEN, SHELLS, text_of, toml_of
from krakpot.config import OPTIONS, SECRETS, Config, load

KEY = "aKeyThatNobodyHas+/0123456789"
SECRET = base64.b64encode(b"a secret that nobody has").decode()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without krakpot.toml to start in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*args: str, **environment: str) -> Result:
    """Run a command that succeeds."""
    result = CliRunner().invoke(main, list(args), env=environment, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def options(*args: str, **environment: str) -> dict[str, dict[str, Any]]:
    """What ``krakpot config --json`` says, by key."""
    found = json.loads(run("config", *args, "--json", **environment).stdout)["options"]
    return {one["key"]: one for one in found}


def test_every_option_says_where_it_comes_from(folder: Path) -> None:
    """Each source wins over the ones below it; the file is named with the line."""
    (folder / "krakpot.toml").write_text(
        '# mine\n\ndepth = 10\nsymbols = [\n  "A/B",\n]\nseal_interval = "10m"\nraw = true\n'
    )
    found = options("--raw", "--for", "90s", KRAKPOT_SYMBOLS="C/D,E/*", KRAKPOT_MIN_FREE="5GB")
    assert list(found) == [option.key for option in OPTIONS.values()]
    places = {key: (one["value"], one["source"], one["place"]) for key, one in found.items()}
    assert places["depth"] == (10, "file", "krakpot.toml:3")
    assert places["seal_interval"] == (600.0, "file", "krakpot.toml:7")
    assert places["symbols"] == (["C/D", "E/*"], "variable", "KRAKPOT_SYMBOLS")
    assert places["min_free"] == (5_000_000_000, "variable", "KRAKPOT_MIN_FREE")
    assert places["raw"] == (True, "command line", "--raw")
    assert places["for"] == (90.0, "command line", "--for")
    assert places["exclude"] == ([], "default", None)
    assert (found["for"]["flag"], found["for"]["variable"]) == ("--for", "KRAKPOT_FOR")


def test_the_table_for_people(folder: Path) -> None:
    """A line for each option: its key, its value as it can be typed, its place."""
    (folder / "mine.toml").write_text('[channel_symbols]\nticker = ["A/B", "C/*"]\n')
    lines = run("config", "--config", "mine.toml", "--metrics", "9100", KRAKPOT_KEEP="30d").output.splitlines()
    found = {line.split()[0]: line.split()[1:] for line in lines}
    assert list(found) == [option.key for option in OPTIONS.values()]
    assert found["channel_symbols"] == ["ticker=A/B,C/*", "mine.toml:1"]
    assert found["keep"] == ["30d", "KRAKPOT_KEEP"]
    assert found["metrics"] == ["127.0.0.1:9100", "--metrics"]
    assert found["for"] == ["until", "Ctrl-C", "default"]
    assert len({line.index("default") for line in lines if "default" in line}) == 1, "the columns are straight"


def test_an_address_that_follows_from_another_says_so() -> None:
    """Level 3 of an exchange on this machine."""
    found = options("--url", "ws://127.0.0.1:8080/v2")["level3_url"]
    assert (found["value"], found["source"], found["place"]) == (
        "ws://127.0.0.1:8080/level3/v2", "default", "follows from url",
    )  # fmt: skip


def test_secrets_are_never_shown(folder: Path) -> None:
    """It is said that they are set, and where."""
    file = folder / "krakpot.toml"
    file.write_text(f'api_secret = "{SECRET}"\n')
    file.chmod(0o600)
    variables = {"KRAKPOT_API_KEY": KEY, "KRAKPOT_METRICS_TOKEN": KEY}
    for args in (["config"], ["config", "--json"], ["config", "--init", "--config", "new.toml"]):
        result = run(*args, **variables)
        assert KEY not in result.output
        assert SECRET not in result.output
    assert KEY not in Path("new.toml").read_text()
    found = options(**variables)
    assert [found[key]["value"] for key in SECRETS] == [HIDDEN] * 3
    assert [found[key]["place"] for key in SECRETS] == ["KRAKPOT_API_KEY", "krakpot.toml:1", "KRAKPOT_METRICS_TOKEN"]
    file.unlink()
    assert [options()[key]["value"] for key in SECRETS] == [None] * 3


def test_the_path_of_a_hook_is_not_shown() -> None:
    """It is often a secret; a file to begin with has what was given."""
    args = ["--alert", "https://hooks.example/T0/secret", "--alert", 'mail -s "x" me']
    assert "https://hooks.example/…; 'mail -s \"x\" me'  --alert" in run("config", *args).output
    assert options(*args)["alert"]["value"] == ["https://hooks.example/…", "'mail -s \"x\" me'"]
    run("config", "--init", *args)
    assert load({}, environment={}).alert == (args[1], args[3])


def test_a_file_to_begin_with(folder: Path) -> None:
    """It has every option but secrets; as it is written it changes nothing, and without its # every line is right."""
    run("config", "--init")
    text = (folder / "krakpot.toml").read_text()
    assert load({}, environment={}) == Config(), "only comments"
    keys = [option.key for option in OPTIONS.values() if not option.secret]
    lines = [line.removeprefix("# ") for line in text.splitlines()]
    lines = [line for line in lines if line.partition(" = ")[0] in keys]
    found = tomllib.loads("\n".join(lines))
    assert list(found) == keys
    for name, option in OPTIONS.items():
        if not option.secret:
            value, default = option.read(found[option.key]), getattr(Config(), name)
            assert value == default or default in (None, (), {}), f"{name}: its default, or an example"
    Path("all.toml").write_text("\n".join(lines))
    assert load({}, file=Path("all.toml"), environment={}).keep == 2_592_000.0, "and they go together"


def test_what_is_given_is_in_force() -> None:
    """Options beside ``--init`` are written without #."""
    typed = ["--symbols", "BTC/*,ETH/USD", "--for", "1h30m", "--precision", "A/B=1,8", "--out", 'a "lake"', "--raw"]
    result = run("config", "--init", *typed, "--min-free", "5GB", "--metrics", "[::1]:9100", "--config", "mine.toml")
    assert "mine.toml is written" in result.output
    found = load({}, file=Path("mine.toml"), environment={})
    assert found == Config(
        symbols=("BTC/*", "ETH/USD"), duration=5400.0, precision={"A/B": (1, 8)}, out=Path('a "lake"'), raw=True,
        min_free=5_000_000_000, metrics=("::1", 9100),
    )  # fmt: skip


PATHS = st.text("ab \"'\\/\x7fé=#", min_size=1).map(Path).filter(lambda path: str(path).strip())


@given(
    st.one_of(
        st.tuples(st.just("duration"), st.one_of(st.integers(1, 10**9), st.floats(1e-9, 1e9)).map(float)),
        st.tuples(st.just("min_free"), st.integers(0, 10**15)),
        st.tuples(st.just("metrics"), st.tuples(st.sampled_from(["::1", "10.0.0.1", "host"]), st.integers(0, 65535))),
        st.tuples(
            st.just("precision"),
            st.dictionaries(st.sampled_from(["A/B", "C/D"]), st.tuples(*[st.integers(0, 9)] * 2), min_size=1),
        ),
        st.tuples(
            st.just("channel_symbols"),
            st.dictionaries(st.sampled_from(["book", "trade"]), st.just(("A/B", "*")), min_size=1),
        ),
        st.tuples(st.just("symbols"), st.lists(st.sampled_from(["A/B", "C/*"]), min_size=1).map(tuple)),
        st.tuples(st.just("raw"), st.booleans()),
        st.tuples(st.just("out"), PATHS),
    )
)
def test_values_are_shown_as_they_are_read(pair: tuple[str, Any]) -> None:
    """Read again, the text of a value is the value; so it is in TOML."""
    name, value = pair
    option = OPTIONS[name]
    assert option.read(text_of(option, value)) == value
    assert option.read(tomllib.loads(f"x = {toml_of(option, value)}")["x"]) == value


def complete(*words: str) -> list[str]:
    """What the shell is told for the last word, as the scripts ask it."""
    typed = " ".join(["krakpot", *words])
    asked = {"_KRAKPOT_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(len(words))}
    command = [sys.executable, "-c", "from krakpot.cli.main import main; main(prog_name='krakpot')"]
    result = subprocess.run(command, env=os.environ | asked, capture_output=True, text=True, check=True)
    return [line.removeprefix("plain,") for line in result.stdout.splitlines() if line]


def test_completion() -> None:
    """Commands, options, words and names of folders."""
    assert complete("co") == ["compare", "coverage", "compact", "config", "completion"]
    assert {"--symbols", "--symbols-per-connection"} == set(complete("record", "--sy"))
    assert complete("verify", "") == complete("record", "--out", "") == ["dir,"]
    assert complete("record", "--config", "") == ["file,"]
    assert complete("verify", "--threads", "") == []


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_of_a_shell(shell: str) -> None:
    """It asks krakpot, and its last line says how to install it; zsh wants its own line first."""
    lines = run("completion", shell).output.splitlines()
    assert any("_KRAKPOT_COMPLETE" in line for line in lines)
    assert lines[-1] == f"# To install it: {SHELLS[shell]}"
    assert (lines[0] == "#compdef krakpot") == (shell == "zsh")
    facts = json.loads(run("completion", shell, "--json").output)
    assert facts["script"].splitlines() == lines[:-2]
    assert (facts["shell"], facts["install"]) == (shell, SHELLS[shell])


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_runs_the_script(folder: Path) -> None:
    """The shell itself completes a command with it."""
    # As the installed command is.
    script = f"#!{sys.executable}\nfrom krakpot.__main__ import main\nmain()\n"
    (folder / "krakpot").write_text(script)
    (folder / "krakpot").chmod(0o755)
    lines = [
        'eval "$(krakpot completion bash)"',
        "COMP_WORDS=(krakpot verif) COMP_CWORD=1",
        "_krakpot_completion krakpot",
        'echo "${COMPREPLY[@]}"',
    ]
    path = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
    result = subprocess.run(["bash", "-c", "\n".join(lines)], env=path, capture_output=True, text=True, check=True)
    assert result.stdout == "verify\n"
