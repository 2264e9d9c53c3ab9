"""How a command runs: how its arguments are read, what it prints when something is wrong, and its exit code.

Exit codes: 0 all is well, 1 something was found wrong, 2 wrong use, 130 interrupted. An error is one sentence on
standard error; with ``--json`` also ``{"error": {"kind": …, "message": …, "retryable": …}}`` on standard output.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from krakpot import _core, values
from krakpot.errors import ConfigError, ConnectionLost, FeedError, KrakpotError, NoLake, StorageError, TokenError

FOUND_WRONG, WRONG_USE, INTERRUPTED = 1, 2, 130


class Interrupted(Exception):
    """Ctrl-C ended a command; the sentence says what became of its work."""


@dataclass(frozen=True)
class Failure:
    """An error as a command reports it."""

    kind: str
    message: str
    exit_code: int
    retryable: bool = False
    """Whether the same command may succeed later, without a change."""

    @classmethod
    def of(cls, error: BaseException) -> Failure | None:
        """What an error means for people; None for a fault of krakpot itself, whose traceback should be reported."""
        for kinds, kind, exit_code, retryable in _KINDS:
            if isinstance(error, kinds):
                if isinstance(error, TokenError):
                    retryable = not error.lasting  # noqa: PLW2901  # the error knows better than its class
                return cls(kind, _one_line(_sentence(error)), exit_code, retryable)
        return None

    def report(self, *, as_json: bool) -> NoReturn:
        """Print it, and end the process."""
        click.echo(f"krakpot: {self.message}", err=True)
        if as_json:
            facts = {"kind": self.kind, "message": self.message, "retryable": self.retryable}
            click.echo(json.dumps({"error": facts}))
        sys.exit(self.exit_code)


_KINDS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str, int, bool], ...] = (
    (click.MissingParameter, "usage", WRONG_USE, False),
    # A value that is not allowed is the same mistake, whoever reads it.
    (click.BadParameter, "config", WRONG_USE, False),
    (click.ClickException, "usage", WRONG_USE, False),
    (ConfigError, "config", WRONG_USE, False),
    (NoLake, "no_lake", WRONG_USE, False),
    (StorageError, "storage", FOUND_WRONG, False),
    (TokenError, "token", FOUND_WRONG, True),
    (ConnectionLost, "connection", FOUND_WRONG, True),
    (FeedError, "feed", FOUND_WRONG, True),
    (KrakpotError, "krakpot", FOUND_WRONG, False),
    ((Interrupted, KeyboardInterrupt, click.Abort), "interrupted", INTERRUPTED, True),
    (OSError, "storage", FOUND_WRONG, False),
    # Functions of the package say with it which argument is wrong.
    (ValueError, "config", WRONG_USE, False),
)
"""Errors, the most special ones first: kind, exit code, whether to try again."""


def _sentence(error: BaseException) -> str:
    """An error's text, with the cure where the error cannot know it."""
    if isinstance(error, click.BadParameter) and not isinstance(error, click.MissingParameter):
        # The reader of the value says what is allowed.
        return f"{_place(error.param)}: {error.message}"
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx is not None else "krakpot"
        # As the module is run, it is not called what people call it.
        path = path.replace("python -m krakpot", "krakpot")
        text = error.format_message().rstrip(".")
        text = text[:1].lower() + text[1:]
        return f"{text} See `{path} --help`" if text.endswith(("?", "?)")) else f"{text}; see `{path} --help`"
    if isinstance(error, OSError) and error.strerror:
        name = f": {error.filename}" if error.filename else ""
        return f"{error.strerror[0].lower()}{error.strerror[1:]}{name}"
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return "interrupted"
    return str(error) or type(error).__name__


def _place(parameter: click.Parameter | None) -> str:
    """An option or argument as people write it."""
    if isinstance(parameter, click.Option):
        return max(parameter.opts, key=len)
    return parameter.human_readable_name if parameter is not None else "the command line"


def _one_line(text: str) -> str:
    """A text on one line that any terminal can show."""
    text = " ".join(text.split())
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _damaged(error: Exception) -> bool:
    """Whether Polars or PyArrow could not read a file; neither is imported to ask."""
    names = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(error).__mro__}
    return bool(names & {"polars.ComputeError", "pyarrow.ArrowException"})


class Command(click.Command):
    """A command of krakpot; ``interrupted`` says what became of its work after Ctrl-C."""

    def __init__(self, *args: Any, interrupted: str = "nothing was changed", **options: Any) -> None:
        """Take what click takes."""
        super().__init__(*args, **options)
        self.interrupted = interrupted

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line; errors know their command, and so the help that is of use."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; an error that names no lake names the lake that was given."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted: {self.interrupted}") from None
        except BrokenPipeError:
            # Click's: the reader of the output has seen enough of it.
            raise
        except Exception as error:
            if type(error) is ConfigError:
                raise ConfigError(_with_own_flag(str(error), ctx)) from error
            lake = ctx.params.get("lake")
            if lake is not None and (_damaged(error) or isinstance(error, OSError)):
                reason = str(error).partition("\n")[0]
                sentence = f"a part cannot be read ({reason}); `krakpot verify {lake}` names it"
                raise StorageError(sentence, lake) from error
            raise


class Commands(click.Group):
    """The commands in the order in which a newcomer meets them; every error of them is one sentence."""

    command_class = Command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read what stands before the command; an option of a command there is said to belong behind it."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            flags = {flag for command in self.commands.values() for param in command.params for flag in param.opts}
            if error.option_name not in flags:
                raise
            name = next((word for word in args if word in self.commands), "COMMAND")
            sentence = f"{error.option_name} belongs behind the command: `krakpot {name} {error.option_name}`"
            raise click.UsageError(sentence, ctx) from None

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click hands it over
        """Keep the order of definition."""
        return list(self.commands)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT001, FBT002  # click's signature
        **extra: Any,
    ) -> Any:
        """Run a command and end the process with its exit code, as ``krakpot`` does."""
        arguments = list(sys.argv[1:] if args is None else args)
        if not standalone_mode:
            return super().main(arguments, prog_name, complete_var, standalone_mode=False, **extra)
        try:
            code = super().main(arguments, prog_name, complete_var, standalone_mode=False, **extra)
        except BrokenPipeError:
            raise
        except (Exception, KeyboardInterrupt) as error:
            failure = Failure.of(error)
            if failure is None or os.environ.get("KRAKPOT_DEBUG"):
                raise
            failure.report(as_json="--json" in arguments)
        sys.exit(code if isinstance(code, int) else 0)


class Value(click.ParamType):  # type: ignore[type-arg]  # generic only from click 8.5 on
    """A value that one of the readers of ``krakpot.values`` reads."""

    def __init__(self, read: Callable[[object], Any], form: str) -> None:
        """``form`` is what help shows: ``DURATION``; that of a folder or a file is completed by the shell."""
        self.read = read
        self.name = form.lower()

    def shell_complete(self, _ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Let the shell complete the name of a folder or a file."""
        kind = {"folder": "dir", "file": "file"}.get(self.name)
        return [] if kind is None else [CompletionItem(incomplete, type=kind)]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it; click reports what is allowed."""
        try:
            return self.read(value)
        except ValueError as error:
            self.fail(f"{values.shown(value)} is not allowed; allowed is {error}", param, ctx)


class TimeValue(click.ParamType):  # type: ignore[type-arg]  # as above
    """A time, to nanoseconds since the epoch."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> values.Instant:
        """Read it; the sentence of the reader says how to write a time."""
        try:
            return values.nanoseconds(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


FOLDER = Value(values.folder, "FOLDER")
FILE = Value(values.file, "FILE")
DURATION = Value(values.duration, "DURATION")
PATTERNS = Value(values.patterns, "PATTERNS")
TIME = TimeValue()
SEED = Value(values.whole_number(0, (1 << 64) - 1), "NUMBER")
PAIRS = Value(values.whole_number(1, _core.PAIRS_MAX), "NUMBER")
RATE = Value(values.number(*values.EXCHANGE_RATES), "NUMBER")
PORT = Value(values.whole_number(0, values.PORTS - 1), "PORT")

lake_argument = click.argument("lake", type=FOLDER)


def refuse(flags: Collection[str], why: str) -> None:
    """Raise ``ConfigError`` if one of these options of the command that runs was typed: it has no effect."""
    context = click.get_current_context()
    for param in context.command.params:
        flag = max(param.opts, key=len)
        typed = context.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE
        if typed and flag in flags:
            raise ConfigError(f"{flag} has no effect {why}; leave it out")


def with_flag(sentence: str, place: str) -> str:
    """A sentence about an argument of a call, with its flag in place of its name in Python."""
    if not sentence.startswith(place):
        return sentence
    name, _, rest = sentence.removeprefix(place).partition(": ")
    if not name.isidentifier():
        # It names no argument.
        return sentence.removeprefix(place)
    flag = {"faults": "--fault"}.get(name, f"--{name.replace('_', '-')}")
    return f"{flag} {rest}"


def _with_own_flag(sentence: str, ctx: click.Context) -> str:
    """A sentence that begins with the name of an argument, with the option of the command that it came from."""
    name = re.match(r"\w+(?=[:=])", sentence)
    flags = {one.name: max(one.opts, key=len) for one in ctx.command.params if isinstance(one, click.Option)}
    return sentence if name is None or name[0] not in flags else flags[name[0]] + sentence[name.end() :]


def make_folder(out: Path) -> None:
    """Make the folder of ``--out``; ``ConfigError`` says why that is not possible."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        next(out.iterdir(), None)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"--out {out}: cannot be made ({reason}); choose a folder that you may write to") from None


@contextmanager
def results_folder(out: Path) -> Iterator[None]:
    """Make the folder of ``--out`` before long work; if the work fails, what was made is removed again."""
    made = [folder for folder in (out, *out.parents) if not os.path.exists(folder)]  # noqa: PTH110  # Path's raises
    make_folder(out)
    try:
        yield
    except BaseException:
        with suppress(OSError):
            for folder in made:
                folder.rmdir()
        raise


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option ``--json``."""
    return click.option("--json", "json_", is_flag=True, help="Print one JSON object on standard output.")(command)


def print_json(facts: object) -> None:
    """Print the one JSON object of a command."""
    click.echo(json.dumps(facts, default=str))


def checksums(counts: dict[str, dict[str, int]]) -> str:
    """How many checksums were right, for each kind of book that has any."""
    parts = [
        f"{channel} checksums {checked['ok']:,} ok, {checked['bad']:,} bad"
        for channel, checked in counts.items()
        if checked["ok"] + checked["bad"]
    ]
    return ", ".join(parts) or "no checksums"
