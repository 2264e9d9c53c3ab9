"""The API key that orders are signed with: where it comes from, and who may never see it.

A key comes from a file (TOML, mode 0600, never inside a git work tree), from ``KRAKPOT_API_KEY`` and
``KRAKPOT_API_SECRET``, or from systemd's credentials. No ``repr``, error, pickle or log has the key or its secret. Only
a file that says ``mode = "live"`` lets a key reach Kraken.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args
from urllib.parse import urlsplit

from krakpot import values
from krakpot.errors import ConfigError, words_of

Mode = Literal["test", "live"]
"""``live``: the key is one of Kraken, and its orders cost money. ``test``: it is one of the built-in exchange."""
MODES: tuple[Mode, ...] = get_args(Mode)
CONFIRM = "KRAKPOT_CONFIRM"
"""The variable that names the account where nobody can type its name: a kill, and the first start with a journal."""
FIELDS = ("key", "secret", "mode", "account", "permissions")
"""Fields of a key file."""
VARIABLES = ("KRAKPOT_API_KEY", "KRAKPOT_API_SECRET")
CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""Where systemd puts what ``LoadCredential=`` names."""
CREDENTIAL = "krakpot-key"
"""Name of the credential: a key file."""
KRAKEN = "kraken.com"
OTHERS = 0o077
"""Bits of a mode by which others may use a file."""
FILE_MAX = 64 << 10
"""Bytes of a key file that are read."""


class Secret:
    """A secret that signs, and is never shown, copied or stored."""

    __slots__ = ("_bytes",)

    def __init__(self, text: str) -> None:
        """``text`` is base64, as Kraken shows it."""
        self._bytes = bytearray(base64.b64decode(values.api_secret(text)))

    def sign(self, path: str, nonce: int, body: str) -> str:
        """``API-Sign`` of a request: base64 of the HMAC-SHA512 over the path and SHA-256(nonce, body)."""
        inner = hashlib.sha256(f"{nonce}{body}".encode()).digest()
        return base64.b64encode(hmac.digest(self._bytes, path.encode() + inner, "sha512")).decode()

    def is_in(self, text: str) -> bool:
        """Whether a text has the secret in it."""
        return base64.b64encode(self._bytes).decode() in text

    def forget(self) -> None:
        """Overwrite the secret; it signs nothing from then on that an exchange accepts."""
        self._bytes[:] = bytes(len(self._bytes))

    def __del__(self) -> None:
        """Overwrite it in the memory of the process."""
        # Where its text was refused there is nothing to overwrite. At the end of the process this module has no names.
        if hasattr(self, "_bytes"):
            self.forget()

    def __repr__(self) -> str:
        """Show nothing of it."""
        return "Secret"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuse to be pickled or copied."""
        raise TypeError("a secret is not pickled or copied; give the path of its key file instead")


@dataclass(frozen=True)
class Key:
    """A key, checked. Its ``repr`` has neither the key nor the secret."""

    key: str = field(repr=False)
    secret: Secret = field(repr=False)
    mode: Mode
    account: str
    """A name for people."""
    permissions: tuple[str, ...] | None = None
    """What it is expected to may, in Kraken's words; None: what trading needs."""
    place: str = ""
    """Where it comes from."""

    @property
    def id(self) -> str:
        """Digits that tell keys apart, and from which no key follows; files about the key are named by them."""
        return hashlib.sha256(self.key.encode()).hexdigest()[:16]

    def check_host(self, url: str) -> None:
        """``ConfigError`` if the key must not be used at this address: test keys at Kraken, live keys anywhere else."""
        host = (urlsplit(url).hostname or "").rstrip(".").lower()
        at_kraken = host == KRAKEN or host.endswith(f".{KRAKEN}")
        if at_kraken and self.mode != "live":
            sentence = (
                f'{self.place}: the key is for tests (mode = "{self.mode}"), and {url} is Kraken, where orders cost '
                'money; only a key file with mode = "live" may be used there'
            )
            raise ConfigError(sentence)
        if self.mode == "live" and not at_kraken:
            sentence = (
                f'{self.place}: the key is one of Kraken (mode = "live"), and {url} is not Kraken; use a test key'
            )
            raise ConfigError(sentence)

    def without(self, text: str) -> str:
        """Return a text of others without the key and its secret, for errors and logs."""
        for own in (self.key, base64.b64encode(self.secret._bytes).decode()):  # noqa: SLF001  # its class is above
            text = text.replace(own, "…")
        return text


def load(path: str | os.PathLike[str] | None = None, *, environment: Mapping[str, str] = os.environ) -> Key:
    """Read the key of a file, or without ``path`` that of systemd's credentials or of ``KRAKPOT_API_*``.

    Raises
    ------
    ConfigError
        If there is no key, others could read the file, or a field is wrong. The sentence has no field's value.

    """
    if path is not None:
        return _file(Path(path))
    folder = environment.get(CREDENTIALS)
    if folder is not None and (credential := Path(folder) / CREDENTIAL).exists():
        # systemd made the file for this service alone; it belongs to root, or to the service.
        return _read(credential, credential.read_bytes())
    if any(name in environment for name in VARIABLES):
        lacking = [name for name in VARIABLES if not environment.get(name)]
        if lacking:
            raise ConfigError(f"environment: {lacking[0]} is missing; key and secret belong together")
        key, secret = (environment[name] for name in VARIABLES)
        # Variables are inherited by every child process, so they never have a key that can cost money.
        return _key({"key": key, "secret": secret, "mode": "test"}, "environment", VARIABLES)
    sentence = (
        f"there is no API key: give a key file (`krakpot key new` makes one), a systemd credential {CREDENTIAL}, or "
        f"set {' and '.join(VARIABLES)} for the built-in exchange"
    )
    raise ConfigError(sentence)


def write(
    path: str | os.PathLike[str], key: str, secret: str, *, mode: Mode, account: str = "", permissions: object = None
) -> Key:
    """Write a key file that only its owner can read; returns its key.

    Raises
    ------
    ConfigError
        If the file is there already, lies inside a git work tree, or a field is wrong.

    """
    target = Path(path)
    _check_git(target)
    given: dict[str, Any] = {"key": key, "secret": secret, "mode": mode}
    if account:
        given["account"] = account
    if permissions is not None:
        given["permissions"] = permissions
    found = _key(given, str(target))
    # A text or a list of texts in JSON is one in TOML; the control character that is not was refused above.
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in given.items()]
    comment = (
        "# An API key of Kraken. Whoever reads this file can trade with it. Keep it out of backups and repositories."
    )
    try:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            # Whatever the umask is.
            os.chmod(target, 0o600)  # noqa: PTH101  # as the other calls here
            file.write("\n".join([comment, *lines, ""]))
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise ConfigError(f"{target}: there is a file already; choose another name, or remove it") from None
    except OSError as error:
        raise ConfigError(f"{target}: the key file cannot be written ({words_of(error)})") from None
    return found


def _file(path: Path) -> Key:
    """Read a key file that only its owner can read."""
    _check_git(path)
    # Not through a link, and without waiting for a writer, where the path is a pipe.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        handle = os.open(path, flags)
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such key file; `krakpot key new` makes one") from None
    except OSError as error:
        sentence = f"{path}: the key file cannot be read ({words_of(error)}); it must be a file, not a link to one"
        raise ConfigError(sentence) from None
    try:
        _check_file(path, os.fstat(handle))
        data = os.read(handle, FILE_MAX + 1)
    finally:
        os.close(handle)
    return _read(path, data)


def _check_file(path: Path, facts: os.stat_result) -> None:
    """``ConfigError`` if a path is no file, or one that others could use."""
    if not stat.S_ISREG(facts.st_mode):
        raise ConfigError(f"{path}: this is no file; give the path of a key file")
    if os.name != "posix":
        return
    if facts.st_mode & OTHERS:
        mode = stat.S_IMODE(facts.st_mode)
        sentence = f"{path}: others could read or change the key file (mode {mode:04o}); run `chmod 600 {path}`"
        raise ConfigError(sentence)
    if facts.st_uid != os.geteuid():
        sentence = f"{path}: the key file belongs to another user; it must belong to the one who uses it"
        raise ConfigError(sentence)


def _check_git(path: Path) -> None:
    """``ConfigError`` if a path lies inside a git work tree: one `git add` would publish the key."""
    # The folder as it really is: a link must not lead around the check. The file itself is no link.
    folder = path.parent.resolve()
    for above in (folder, *folder.parents):
        if os.path.lexists(above / ".git"):
            sentence = (
                f"{path}: a key file must not lie inside a git work tree ({above}), from where it is soon published; "
                "keep it elsewhere, for example in ~/.config/krakpot"
            )
            raise ConfigError(sentence)


def _read(path: Path, data: bytes) -> Key:
    """Read the fields of a key file."""
    if len(data) > FILE_MAX:
        raise ConfigError(f"{path}: the file is too large for a key file")
    try:
        given = tomllib.loads(data.decode())
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: the file is not text in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        # Of the parser's words only the place: they may quote the line of the secret.
        place = re.search(r"at line \d+", str(error))
        raise ConfigError(f"{path}: the file is not TOML ({place[0] if place else 'at its end'})") from None
    return _key(given, str(path))


def _key(given: Mapping[str, Any], place: str, names: tuple[str, str] = ("key", "secret")) -> Key:
    """Make a key of fields; ``names`` are those of key and secret in errors."""
    unknown = sorted(set(given) - set(FIELDS))
    if unknown:
        raise ConfigError(f"{place}: unknown field {unknown[0]!r}; allowed are {', '.join(FIELDS)}")
    for name in FIELDS[:3]:
        if name not in given:
            raise ConfigError(f"{place}: the field {name} is missing")
    key = _field(given["key"], values.api_key, place, names[0])
    secret = _field(given["secret"], Secret, place, names[1])
    mode = given["mode"]
    if mode not in MODES:
        raise ConfigError(f"{place}: mode {values.shown(mode)} is not allowed; allowed is {values.alternatives(MODES)}")
    account = given.get("account", "")
    if not isinstance(account, str) or not account.isprintable():
        raise ConfigError(f"{place}: account is not allowed; allowed is a name on one line")
    permissions = given.get("permissions")
    if permissions is not None:
        texts = isinstance(permissions, list) and all(isinstance(one, str) for one in permissions)
        if not texts or not all(re.fullmatch(r"[a-z-]+", one) for one in permissions):
            raise ConfigError(f'{place}: permissions is not allowed; allowed is a list, as ["query-funds"]')
        permissions = tuple(permissions)
    return Key(key, secret, mode, account, permissions, place)


def _field(value: object, read: Callable[[Any], Any], place: str, name: str) -> Any:  # noqa: ANN401  # what read makes
    """Read a field whose value no error shows."""
    if not isinstance(value, str):
        raise ConfigError(f"{place}: {name} is not allowed; allowed is a text")
    try:
        return read(value)
    except ValueError as error:
        raise ConfigError(f"{place}: {name} is not allowed; allowed is {error}") from None
