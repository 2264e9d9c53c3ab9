"""Commands that prepare the others: ``config`` shows the options of a recording, ``completion`` helps to type them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
from click.shell_completion import get_completion_class

from krakpot import config as module
from krakpot import values
from krakpot.cli.command import FILE, Command, Value, json_option, print_json
from krakpot.cli.recording import recording_options
from krakpot.config import OPTIONS, PREFIX, SECRETS, Option, Setting
from krakpot.errors import ConfigError, words_of
from krakpot.values import SIZES, UNITS, hook_name

HIDDEN = "set, not shown"
VALUE_WIDTH = 40
"""Most characters of the column of values; longer ones stand out of it."""
SHELLS = {
    "bash": "echo 'eval \"$(krakpot completion bash)\"' >>~/.bashrc",
    "zsh": "echo 'eval \"$(krakpot completion zsh)\"' >>~/.zshrc",
    "fish": "krakpot completion fish >~/.config/fish/completions/krakpot.fish",
}
"""How completion is installed, by shell."""


def _seconds(value: float) -> str:
    """A duration as its reader takes it: ``1h30m``."""
    if value != int(value):
        return f"{Decimal(repr(value)):f}s"
    left, parts = int(value), []
    for unit, length in sorted(UNITS.items(), key=lambda item: -item[1]):
        count, left = divmod(left, length)
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts)


def _bytes(value: int) -> str:
    """A number of bytes as its reader takes it: ``200MB``."""
    unit, size = max(((unit, size) for unit, size in SIZES.items() if not value % size), key=lambda item: item[1])
    return f"{value // size}{unit}B" if value and unit else str(value)


def _place(value: tuple[str, int]) -> str:
    """Host and port as their reader takes them: ``[::1]:9100``."""
    host, port = value
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


METRICS_FORM = OPTIONS["metrics"].form
_FORMS: dict[str, Callable[[Any], str]] = {
    "DURATION": _seconds, "SIZE": _bytes, METRICS_FORM: _place,
    OPTIONS["alert"].form: lambda hooks: "; ".join(map(hook_name, hooks)),
}  # fmt: skip
"""Texts of values that are not simply written as they are, by the form of their option."""


def text_of(option: Option, value: Any) -> str:
    """A value as it can be typed; the option's words where there is none."""
    if value is None or value in ((), {}, ""):
        return option.default
    if option.secret:
        return HIDDEN
    if option.form in _FORMS:
        return _FORMS[option.form](value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return " ".join(f"{name}={','.join(map(str, listed))}" for name, listed in value.items())
    return ",".join(value) if isinstance(value, (tuple, list)) else str(value)


def toml_of(option: Option, value: Any) -> str:
    """A value as ``krakpot.toml`` has it."""
    if option.field == "alert":
        return _quoted(value)
    if option.form in _FORMS or isinstance(value, Path):
        return _quoted(text_of(option, value))
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_quoted(name)} = {_quoted(listed)}' for name, listed in value.items())} }}"
    return _quoted(value)


def _quoted(value: object) -> str:
    """Text, a number, a truth value or a list of them, in TOML; JSON writes these the same way."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def template(given: Mapping[str, Setting]) -> str:
    """Text of a ``krakpot.toml`` with every option: what was given, and the others as comments."""
    lines = [
        "# Options of `krakpot record`. The command line and KRAKPOT_* variables come first, this file second.",
        "# An option without # is in force; after # is its default, or an example where the default is none.",
    ]
    for name, option in OPTIONS.items():
        if option.secret:
            continue
        default = getattr(module.Config, name, None)
        example = default if option.example is None else option.example
        lines += ["", f"# {option.help} Default: {option.default}."]
        line = f"{option.key} = {toml_of(option, given[name].value if name in given else example)}"
        lines.append(line if name in given else f"# {line}")
    keys = ", ".join(OPTIONS[name].key for name in SECRETS)
    variables = ", ".join(OPTIONS[name].variable for name in SECRETS)
    lines += [
        "",
        f"# Secrets ({keys}) are best given in variables: {variables}.",
        "# They may also be in this file, if nobody else can read it (chmod 600).",
    ]
    return "\n".join([*lines, ""])


def _facts(option: Option, setting: Setting) -> dict[str, Any]:
    """An option as one JSON object."""
    value = setting.value
    if value and (option.secret or option.form == METRICS_FORM):
        value = text_of(option, value)
    if option.field == "alert":
        value = list(map(hook_name, value))
    return {
        "key": option.key,
        "flag": None if option.secret else option.flag,
        "variable": option.variable,
        "value": value if value or not option.secret else None,
        "source": setting.source,
        "place": setting.place or None,
    }


@click.command(cls=Command)
@recording_options
@click.option("--config", "file", type=FILE, help=f"TOML file with these options. Default: {module.FILE}.")
@click.option("--init", is_flag=True, help="Write a file to begin with: every option, explained.")
@json_option
def config(file: Path | None, *, init: bool, json_: bool, **options: Any) -> int:
    """Show every option of a recording, and where it comes from.

    Takes the options of `krakpot record` and reads them as it does: the command line, KRAKPOT_* variables,
    krakpot.toml, defaults. Secrets are never shown.

    \b
    krakpot config                                what `krakpot record` would do here
    krakpot config --depth 1000 --json            with an option, as an object
    krakpot config --init --symbols 'BTC/*'       write krakpot.toml; what is given is in force, the rest is explained
    """
    if init:
        path = file or Path(module.FILE)
        _write(path, template(module.typed(options)))
        if json_:
            print_json({"file": str(path)})
        else:
            click.echo(f"{path} is written; `krakpot config` shows what is in force")
        return 0
    found = module.settings(options, file=file)
    if json_:
        print_json({"options": [_facts(OPTIONS[name], setting) for name, setting in found.items()]})
        return 0
    rows = [(OPTIONS[name], one) for name, one in found.items()]
    table = [(option.key, text_of(option, one.value), one.place or one.source) for option, one in rows]
    wide, width = max(len(key) for key, _, _ in table), min(VALUE_WIDTH, max(len(text) for _, text, _ in table))
    for key, text, place in table:
        click.echo(f"{key:<{wide}}  {text:<{width}}  {place}")
    return 0


def _write(path: Path, text: str) -> None:
    """Write a new file; ``ConfigError`` if it exists or cannot be."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path}: exists already; --config names another file, or remove it first") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({words_of(error)}); --config names another file") from None


@click.command(cls=Command)
@click.argument("shell", type=Value(values.word_of(tuple(SHELLS)), "SHELL"))
@json_option
def completion(shell: str, *, json_: bool) -> int:
    """Print the script that completes commands with the Tab key.

    \b
    krakpot completion bash >>~/.bashrc           then open a new terminal
    krakpot completion zsh >>~/.zshrc
    krakpot completion fish >~/.config/fish/completions/krakpot.fish
    """
    made = get_completion_class(shell)
    assert made is not None, "click has one for each of these shells"
    commands = click.get_current_context().find_root().command
    script = made(commands, {}, "krakpot", f"_{PREFIX}COMPLETE").source().strip()
    if json_:
        print_json({"shell": shell, "script": script, "install": SHELLS[shell]})
    else:
        click.echo(f"{script}\n\n# To install it: {SHELLS[shell]}")
    return 0
