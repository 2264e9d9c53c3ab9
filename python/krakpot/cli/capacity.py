"""How much of a machine the full feed needs: records multiples of the feed until a limit is reached.

Each step runs the built-in exchange and ``krakpot record`` as separate processes (``capacity_run``). ``limit`` says
which limit a step reached; ``Report`` draws the conclusions.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from krakpot.cli import capacity_run
from krakpot.cli.capacity_run import CORES, Load, Step
from krakpot.cli.command import make_folder
from krakpot.errors import ConfigError, counted
from krakpot.lake.format import storage_error
from krakpot.log import size
from krakpot.record.cputime import STAGES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAIRS = 1450
"""Pairs of the full feed."""
LADDER = (1, 2, 5)
"""Multiples of the full feed that are tried; then the same times ten, times a hundred, and so on."""
REFINEMENTS = 2
"""Further steps between the last multiple that worked and the first that did not."""
BUSY = 0.9
"""Share of a core at which a single thread counts as full; share of all cores at which the machine does."""
GROWTH = 0.25
"""Seconds by which the lag may grow from the first to the last fifth of a step; more means that a queue grows."""
LATE = 1.0
"""Seconds by which one message in a hundred may be late."""
OTHERS = 0.2
"""Cores that other programs may use before the answer mentions it."""
SPARE = 200e6
"""Bytes that must be left on the disk."""
ROW_BYTES, BOOK_ROWS = 60, 1_500_000
"""Measured upper bounds of what a step needs: bytes of a row in journals and parts together; rows of all snapshots."""
ROWS = 1.6
"""Rows per message, for the same estimate."""
OVERHEAD = 40.0
"""Seconds before and after the window of a step, in which it records as well."""
ENDS = {
    "loss": "messages were lost",
    "exchange": "the exchange is at its end",
    "recorder": "the recorder's core is full",
    "machine": "all cores are full",
    "disk": "the disk is too slow",
    "sealer": "sealing falls behind",
    "lag": "messages come late",
    "failed": "a process ended",
}
"""Each limit in a few words."""
FILES = ("capacity.svg", "lake-")


@dataclass(frozen=True)
class Limit:
    """The limit that a step reached."""

    kind: str
    """loss, exchange, recorder, machine, disk, sealer, lag, or failed."""
    sentence: str


def limit(step: Step, cores: int = CORES) -> Limit | None:
    """Return the limit that a step reached; None if it reached none."""
    if step.failed:
        return Limit("failed", step.failed)
    if step.waits:
        return Limit("disk", f"the disk was slower than the feed: sockets waited {counted(step.waits, 'time')}")
    if step.stuck or step.lag_growth > GROWTH or step.lag_p99 > LATE:
        return _late(step, cores)
    if step.wrong:
        more = f" (and {len(step.wrong) - 1} more)" if len(step.wrong) > 1 else ""
        return Limit("loss", step.wrong[0] + more)
    if step.unsealed or step.cpu["seal"] >= step.seconds:
        share = step.cpu["seal"] / step.seconds
        return Limit(
            "sealer", f"sealing fell behind: it needs {share:.0%} of a core, {counted(step.unsealed, 'journal')} waited"
        )
    return None


def _late(step: Step, cores: int) -> Limit:
    """Return why messages came late, or not at all."""
    late = step.stuck or f"messages came {step.lag_p99 * 1000:,.0f} ms late (99 %)"
    if step.exchange_cpu >= BUSY * step.seconds:
        own = f"the recorder's loop used {step.loop / step.seconds:.0%} of a core"
        return Limit("exchange", f"the built-in exchange could not send faster, {own}: {late}")
    if step.loop >= BUSY * step.seconds:
        return Limit("recorder", f"the recorder's loop used a whole core: {late}")
    if step.busy >= BUSY:
        used, taken = step.exchange_cpu / step.seconds, sum(step.cpu.values()) / step.seconds
        shares = f"with the exchange {used:.1f}, with recorder and sealer {taken:.1f}"
        return Limit("machine", f"all {cores} cores were busy, {shares}: {late}")
    return Limit("lag", f"{late}, though no core was busy all the time")


@dataclass
class Report:
    """Findings for one set of channels."""

    load: Load
    seconds: float
    """Of each step's window."""
    cores: int = CORES
    steps: list[Step] = field(default_factory=list)

    def carried(self) -> Step | None:
        """Return the step with the highest multiple below every limit; None if even the lowest reached one."""
        best = None
        for step in sorted(self.steps, key=_times):
            if limit(step, self.cores) is not None:
                break
            best = step
        return best

    def gave(self) -> tuple[Step, Limit] | None:
        """Return the step with the lowest multiple that reached a limit, and the limit; None if there is none."""
        for step in sorted(self.steps, key=_times):
            if (found := limit(step, self.cores)) is not None:
                return step, found
        return None

    @property
    def row_bytes(self) -> float:
        """Bytes per sealed row, of the step with the most rows: small parts have more bytes per row."""
        return max(self.steps, key=lambda step: step.rows).row_bytes

    @property
    def lost(self) -> bool:
        """Whether a step lost or damaged messages although no limit was visible."""
        return any((found := limit(step, self.cores)) is not None and found.kind == "loss" for step in self.steps)

    @property
    def well(self) -> bool:
        """Whether the machine can record the full feed, and nothing was lost without a visible limit."""
        best = self.carried()
        return best is not None and best.times >= 1 and not self.lost

    def next(self, most: float) -> float | None:
        """Return the multiple to try next, at most ``most``; None: the limit is known well enough."""
        gave, best = self.gave(), self.carried()
        if gave is None:
            if best is None:
                return min(1.0, most)
            return None if best.times >= most else min(most, next(n for n in _ladder() if n > best.times))
        if best is None or len([step for step in self.steps if step.between]) >= REFINEMENTS:
            return None
        middle = two_digits((best.times * gave[0].times) ** 0.5)
        return middle if best.times < middle < gave[0].times else None

    def answer(self) -> list[str]:
        """Return the answer, sentence by sentence."""
        best, gave, load = self.carried(), self.gave(), self.load
        feed = f"the feed of {load.words} ({load.rate:,.0f} messages/s of the public channels)"
        if best is None:
            assert gave is not None, "a step was run"
            return [f"This machine does not carry {gave[0].times:g} times {feed}: {gave[1].sentence}."]
        at_least = "at least " if gave is None or gave[1].kind == "exchange" else ""
        rate = best.messages / best.seconds
        found = [
            f"This machine carries {at_least}{best.times:g} times {feed}: {rate:,.0f} messages a second, none lost."
        ]
        if gave is None:
            found.append("More was not tried (--most).")
        else:
            found.append(f"At {gave[0].times:g} times {gave[1].sentence}.")
        one = min(self.steps, key=_times)
        recorder, seal = one.recorder / one.seconds, one.cpu["seal"] / one.seconds
        own = f"the recorder needs {recorder:.1%} of a core and {one.recorder_mb:,.0f} MB"
        found.append(f"At {one.times:g} times {own}, its sealer {seal:.1%} and {one.sealer_mb:,.0f} MB now and then.")
        day = one.day_rows * self.row_bytes
        found.append(f"Disk: {day / 1e9:,.1f} GB a day, {self.row_bytes:.1f} bytes a row as sealed.")
        others = max(step.others(self.cores) for step in self.steps if not step.failed)
        if others > OTHERS:
            found.append(
                f"Other programs used up to {others:.1f} of {self.cores} cores meanwhile: without them it carries more."
            )
        return found

    @property
    def title(self) -> str:
        """The answer in a few words, for the plot."""
        best, gave = self.carried(), self.gave()
        carried = "nothing carried" if best is None else f"carried: {best.times:g} times the feed"
        return carried if gave is None else f"{carried}; at {gave[0].times:g} times {ENDS[gave[1].kind]}"

    def to_dict(self) -> dict[str, Any]:
        """For a program."""
        best = self.carried()
        return {
            "load": asdict(self.load),
            "cores": self.cores,
            "seconds": self.seconds,
            "carries": None if best is None else best.times,
            "day_bytes": None if best is None else min(self.steps, key=_times).day_rows * self.row_bytes,
            "well": self.well,
            "answer": self.answer(),
            "steps": [step.to_dict() | {"limit": _facts(limit(step, self.cores))} for step in self.steps],
        }


def _times(step: Step) -> float:
    return step.times


def _facts(found: Limit | None) -> dict[str, str] | None:
    return None if found is None else asdict(found)


def _ladder() -> Iterator[float]:
    scale = 1
    while True:
        yield from (float(step * scale) for step in LADDER)
        scale *= 10


def two_digits(number: float) -> float:
    """The number with its first two digits."""
    return float(f"{number:.1e}")


def table(report: Report) -> list[str]:
    """Return the steps as lines of a table."""
    head = f"{'times':>6}{'messages/s':>12}{'lag p50':>9}{'p99 ms':>8}{'recorder':>10}{'MB':>6}{'sealer':>8}{'MB':>6}"
    lines = [f"{head}{'exchange':>10}{'machine':>9}  µs of CPU a message: {', '.join(STAGES)}"]
    for step in report.steps:
        if step.failed or step.stuck:
            lines.append(f"{step.times:>6g}  {step.failed or step.stuck}")
            continue
        us = ", ".join(f"{step.cpu[stage] / max(step.messages, 1) * 1e6:.2f}" for stage in STAGES)
        lines.append(
            f"{step.times:>6g}{step.messages / step.seconds:>12,.0f}{step.lag_p50 * 1000:>9,.1f}"
            f"{step.lag_p99 * 1000:>8,.1f}{step.recorder / step.seconds:>10.1%}{step.recorder_mb:>6,.0f}"
            f"{step.cpu['seal'] / step.seconds:>8.1%}{step.sealer_mb:>6,.0f}"
            f"{step.exchange_cpu / step.seconds:>10.1%}{step.busy:>9.0%}  {us}"
        )
    return lines


def needs(load: Load, times: float, seconds: float) -> float:
    """Estimate the bytes on the disk that a step needs."""
    share = load.pairs / PAIRS
    rows = BOOK_ROWS * share + load.rate * times * ROWS * (seconds + OVERHEAD)
    return rows * ROW_BYTES * (2 if load.level3 else 1)


def check_room(folder: Path, load: Load, times: float, seconds: float) -> None:
    """Raise ``ConfigError`` where the disk has no room for a step."""
    wanted, free = needs(load, times, seconds) + SPARE, shutil.disk_usage(folder).free
    if free < wanted:
        sentence = (
            f"{folder}: {times:g} times the feed for {seconds:g} s may need {size(wanted)} there, and "
            f"{size(free)} are free; make room, or name another disk with --out"
        )
        raise ConfigError(sentence)


@contextmanager
def room(out: Path | None) -> Iterator[Path]:
    """Give a folder for the lakes: ``out``, or one that is removed at the end."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="krakpot-capacity-", ignore_cleanup_errors=True) as name:
            yield Path(name)
        return
    make_folder(out)
    if any(path.name.startswith(FILES[1]) for path in out.iterdir()):
        sentence = f"--out {out}: has lakes of an earlier run; choose another folder"
        raise ConfigError(sentence)
    yield out


def measure(
    loads: list[Load], *, seconds: float, most: float, out: Path | None, say: Callable[[str], None]
) -> list[Report]:
    """Try each of ``loads`` at growing multiples; returns one report for each.

    With ``out`` the lakes stay there; without it they are removed after each step. ``ConfigError`` if the disk has too
    little room for a step. No process is left at the end, also after Ctrl-C or SIGTERM.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with room(out) as folder:
            say(machine())
            return [_climb(Report(load, seconds), most, folder, keep=out is not None, say=say) for load in loads]
    finally:
        signal.signal(signal.SIGTERM, before)


def _climb(report: Report, most: float, folder: Path, *, keep: bool, say: Callable[[str], None]) -> Report:
    while (times := report.next(most)) is not None:
        load = report.load
        check_room(folder, load, times, report.seconds)
        say(f"{load.words}, {times:g} times: {load.rate * times:,.0f} messages/s for {report.seconds:g} s …")
        between = report.gave() is not None
        lake = folder / f"{FILES[1]}{'level3-' if load.level3 else ''}{times:g}"
        step = capacity_run.run(load, times, report.seconds, lake, between=between)
        report.steps.append(step)
        found = limit(step, report.cores)
        say(f"  carried, {step.messages / step.seconds:,.0f} messages/s" if found is None else f"  {found.sentence}")
        if not keep:
            shutil.rmtree(lake, ignore_errors=True)
    return report


def draw(reports: list[Report], path: Path) -> None:
    """Draw the CPU use by process, and the lag, over the rate, as an SVG file. Needs matplotlib."""
    import matplotlib as mpl  # noqa: PLC0415  # optional, and slow to load

    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  # after the choice above

    with mpl.rc_context({"svg.hashsalt": "krakpot", "font.size": 9}):
        figure, grid = plt.subplots(
            len(reports), 2, figsize=(11, 4.2 * len(reports)), layout="constrained", squeeze=False
        )
        for report, (left, right) in zip(reports, grid, strict=True):
            told = (step for step in report.steps if not step.failed and not step.stuck)
            steps = sorted(told, key=_times)
            # The rate that was sent, not the one that arrived: beyond the limit, sending more does not deliver more.
            rates = [report.load.rate * step.times / 1000 for step in steps]
            _draw_cores(left, report, steps, rates)
            for words, values in (
                ("half of the messages are later", [step.lag_p50 * 1000 for step in steps]),
                ("one in a hundred is later", [step.lag_p99 * 1000 for step in steps]),
            ):
                right.plot(rates, values, "o-", label=words)
            right.axhline(LATE * 1000, color="#555555", linestyle="--", linewidth=1)
            right.annotate(
                "one in a hundred later than this: not carried", (0.01, LATE * 1000), xytext=(0, 3),
                xycoords=("axes fraction", "data"), textcoords="offset points", color="#555555", fontsize=7,
            )  # fmt: skip
            right.set_yscale("log")
            right.set_ylabel("lag of book messages, ms")
            right.legend(loc="lower right", fontsize=7)
            left.set_title(report.load.words)
            right.set_title(report.title)
            for axes in (left, right):
                axes.set_xlabel("thousand messages sent a second")
                axes.margins(x=0.02)
                if (gave := report.gave()) is not None and (best := report.carried()) is not None:
                    # The limit lies between these two.
                    ends = (report.load.rate * step.times / 1000 for step in (best, gave[0]))
                    axes.axvspan(*ends, color="#c0392b", alpha=0.15, linewidth=0)
        try:
            figure.savefig(path, metadata={"Date": None})
        except OSError as error:
            raise storage_error(error, "write the plot", path) from error
        finally:
            plt.close(figure)


def _draw_cores(axes: Axes, report: Report, steps: list[Step], rates: list[float]) -> None:
    """Draw the use of the cores as stacked areas."""
    shares = [[step.cpu[stage] / step.seconds for step in steps] for stage in STAGES]
    shares.append([step.exchange_cpu / step.seconds for step in steps])
    # The kernel counts in coarse ticks, so the remainder may be slightly negative.
    shares.append([max(0.0, step.others(report.cores)) for step in steps])
    names = [*(f"recorder: {stage.replace('_', ' ')}" for stage in STAGES if stage != "seal"), "sealer"]
    colours = ["#5741d9", "#8f7ff0", "#c3bafa", "#2e86ab", "#90c9dd", "#f2a65a", "#c9c9c9", "#ebebeb"]
    axes.stackplot(rates, shares, labels=[*names, "the exchange", "other programs"], colors=colours)
    for rate in rates:
        axes.axvline(rate, color="white", linewidth=0.5)
    axes.axhline(report.cores, color="#555555", linestyle="--", linewidth=1)
    axes.annotate(
        f"all {report.cores} cores", (0.01, report.cores), xytext=(0, 3),
        xycoords=("axes fraction", "data"), textcoords="offset points", color="#555555", fontsize=7,
    )  # fmt: skip
    axes.set_ylim(0, report.cores * 1.08)
    axes.set_ylabel("cores in use")
    axes.legend(loc="upper left", bbox_to_anchor=(0, 0.93), fontsize=7, reverse=True)


def machine() -> str:
    """Describe this machine in a few words."""
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{names[0] if names else 'unknown CPU'}, {CORES} cores, {memory:.0f} GB, Python {sys.version.split()[0]}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines() if Path(path).exists() else []
