"""Key files: who may read them, where they may lie, and that nothing ever shows the key or its secret."""

from __future__ import annotations

import copy
import os
import pickle
import stat
import traceback
from pathlib import Path
from typing import Any

import pytest

from krakpot.errors import ConfigError
from krakpot.net import tokens
from krakpot.trade import key as module
from krakpot.trade.key import Secret, load, write

NAME = "nameOfAKeyThatNobodyHas"
SECRET = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="  # noqa: S105  # from the documentation
"""The secret of the example in Kraken's documentation; no key of anybody."""


def made(folder: Path, text: str | None = None, mode: int = 0o600) -> Path:
    """A key file with these lines."""
    path = folder / "key.toml"
    path.write_text(text if text is not None else f'key = "{NAME}"\nsecret = "{SECRET}"\nmode = "test"\n')
    path.chmod(mode)
    return path


def refused(path: Path | None, environment: dict[str, str] | None = None) -> str:
    """The sentence of a refusal; it shows no secret, and neither does its traceback."""
    with pytest.raises(ConfigError) as caught:
        load(path, environment=environment or {})
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert NAME not in shown
    assert SECRET[:12] not in shown
    return str(caught.value)


def test_a_file_that_was_written_is_read(tmp_path: Path) -> None:
    """All fields come back; only the owner can read the file, whatever the umask; it is never overwritten."""
    path = tmp_path / "key.toml"
    before = os.umask(0)
    try:
        write(path, NAME, SECRET, mode="live", account='the "main" one', permissions=["query-funds"])
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = load(path)
    assert (key.key, key.mode, key.account, key.permissions) == (NAME, "live", 'the "main" one', ("query-funds",))
    assert key.place == str(path)
    with pytest.raises(ConfigError, match="there is a file already"):
        write(path, NAME, SECRET, mode="test")


def test_signatures_are_krakens() -> None:
    """The example of Kraken's documentation."""
    body = "nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25"
    sign = Secret(SECRET).sign("/0/private/AddOrder", 1616492376594, body)
    assert sign == "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ=="
    assert Secret("c2VjcmV0").sign("/p", 1, "b") == tokens.signature(b"secret", "/p", 1, "b")


def test_nothing_shows_a_secret(tmp_path: Path) -> None:
    """Neither repr, str, format, vars, pickle nor copy; a text of others loses it."""
    key = load(made(tmp_path))
    for shown in (repr(key), str(key), f"{key}", repr(vars(key).values()), repr(key.secret), f"{key.secret!s}"):
        assert SECRET not in shown
    assert NAME not in repr(key)
    assert NAME not in key.id
    assert key.id == load(made(tmp_path)).id
    for copying in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled or copied"):
            copying(key.secret)
    with pytest.raises(TypeError):
        pickle.dumps(key)
    with pytest.raises(TypeError):
        vars(key.secret)
    assert key.without(f"no {NAME}, no {SECRET}.") == "no …, no …."
    secret = Secret(SECRET)
    before = secret.sign("/p", 1, "b")
    secret.forget()
    assert secret.sign("/p", 1, "b") != before
    assert not secret.is_in(SECRET)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601, 0o610])
def test_files_that_others_could_use_are_refused(tmp_path: Path, mode: int) -> None:
    """Any bit for others is one too many; the sentence has the cure."""
    assert f"(mode {mode:04o}); run `chmod 600" in refused(made(tmp_path, mode=mode))
    assert load(made(tmp_path, mode=0o400)).key == NAME


def test_files_of_others_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner is the one who uses it."""
    path = made(tmp_path)
    monkeypatch.setattr("krakpot.trade.key.os.geteuid", lambda: os.getuid() + 1)
    assert "belongs to another user" in refused(path)


def test_files_inside_a_git_work_tree_are_refused(tmp_path: Path) -> None:
    """However deep, also where .git is a file, as in a worktree, and through a link to the folder."""
    deep = tmp_path / "repository" / "a" / "b"
    deep.mkdir(parents=True)
    path = made(deep)
    assert load(path).key == NAME
    (tmp_path / "repository" / ".git").write_text("gitdir: elsewhere\n")
    assert "must not lie inside a git work tree" in refused(path)
    link = tmp_path / "link"
    link.symlink_to(deep)
    assert "must not lie inside a git work tree" in refused(link / "key.toml")
    (tmp_path / "outside.toml").symlink_to(path)
    assert "not a link" in refused(tmp_path / "outside.toml")
    with pytest.raises(ConfigError, match="git work tree"):
        write(deep / "new.toml", NAME, SECRET, mode="test")
    assert not (deep / "new.toml").exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "the field key is missing"),
        (f'key = "{NAME}"\nmode = "test"\n', "the field secret is missing"),
        (f'key = "{NAME}"\nsecret = "{SECRET}"\n', "the field mode is missing"),
        (
            f'key = "{NAME}"\nsecret = "{SECRET}"\nmode = "real"\n',
            "mode 'real' is not allowed; allowed is test or live",
        ),
        (
            f'key = "{NAME}"\nsecret = "{SECRET[:-3]}"\nmode = "test"\n',
            "secret is not allowed; allowed is an API secret",
        ),
        (f'key = "{NAME}"\nsecret = 7\nmode = "test"\n', "secret is not allowed; allowed is a text"),
        (f'key = "{NAME} b"\nsecret = "{SECRET}"\nmode = "test"\n', "key is not allowed; allowed is an API key"),
        (f'key = "{NAME}"\nsecret = "{SECRET}\nmode = "test"\n', "the file is not TOML (at line 2)"),
        (
            f'key = "{NAME}"\nsecret = "{SECRET}"\nmode = "test"\npin = 1\n',
            "unknown field 'pin'; allowed are key, secret",
        ),
        (f'key = "{NAME}"\nsecret = "{SECRET}"\nmode = "test"\naccount = "a\\nb"\n', "account is not allowed"),
        (f'key = "{NAME}"\nsecret = "{SECRET}"\nmode = "test"\npermissions = "all"\n', "permissions is not allowed"),
        (f'key = "{NAME}"\nsecret = "{SECRET}"\nmode = "test"\npermissions = ["A B"]\n', "permissions is not allowed"),
        ("#" * (module.FILE_MAX + 1), "too large for a key file"),
    ],
)
def test_wrong_fields(tmp_path: Path, text: str, sentence: str) -> None:
    """The sentence names the field and what is allowed, never a key or a secret."""
    assert sentence in refused(made(tmp_path, text))


def test_other_files(tmp_path: Path) -> None:
    """A file that is none, a folder, bytes."""
    assert "there is no such key file" in refused(tmp_path / "none.toml")
    (tmp_path / "folder").mkdir()
    assert "this is no file" in refused(tmp_path / "folder")
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "this is no file" in refused(tmp_path / "pipe")
    path = made(tmp_path)
    path.write_bytes(b"\xff\xfe")
    assert "not text in UTF-8" in refused(path)


def test_keys_without_a_file(tmp_path: Path) -> None:
    """Variables have keys for tests only; systemd's credential is a key file; without either it is said what to do."""
    both = {"KRAKPOT_API_KEY": NAME, "KRAKPOT_API_SECRET": SECRET}
    assert (load(environment=both).mode, load(environment=both).place) == ("test", "environment")
    assert "KRAKPOT_API_SECRET is missing" in refused(None, {"KRAKPOT_API_KEY": NAME})
    assert "KRAKPOT_API_SECRET is not allowed" in refused(None, both | {"KRAKPOT_API_SECRET": "no base64!"})
    assert "`krakpot key new` makes one" in refused(None, {})
    made(tmp_path, f'key = "{NAME}"\nsecret = "{SECRET}"\nmode = "live"\n', 0o440).rename(tmp_path / "krakpot-key")
    assert load(environment=both | {"CREDENTIALS_DIRECTORY": str(tmp_path)}).mode == "live"


@pytest.mark.parametrize(
    ("mode", "url", "allowed"),
    [
        ("test", "https://api.kraken.com", False),
        ("test", "https://API.Kraken.COM.", False),
        ("test", "https://kraken.com:443/x", False),
        ("test", "wss://ws-auth.kraken.com/v2", False),
        ("test", "http://127.0.0.1:8081", True),
        ("test", "https://notkraken.com", True),
        ("live", "https://api.kraken.com", True),
        ("live", "wss://ws-auth.kraken.com/v2", True),
        ("live", "http://127.0.0.1:8081", False),
        ("live", "https://kraken.com.evil.example", False),
    ],
)
def test_where_a_key_may_be_used(tmp_path: Path, mode: Any, url: str, allowed: bool) -> None:
    """Money needs a file that says so, and a key of Kraken goes nowhere else."""
    key = write(tmp_path / "key.toml", NAME, SECRET, mode=mode)
    if allowed:
        key.check_host(url)
    else:
        with pytest.raises(ConfigError, match="is Kraken, where orders cost money|is not Kraken; use a test key"):
            key.check_host(url)
