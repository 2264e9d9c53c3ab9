"""A comparison as lines of text for a terminal."""

from __future__ import annotations

from krakpot.compare.report import Report
from krakpot.errors import counted

MINUTE, HOUR = 60, 60


def milliseconds(ns: float | None) -> str:
    """Format nanoseconds as milliseconds."""
    return "-" if ns is None else f"{ns / 1e6:,.3f}"


def duration(seconds: float) -> str:
    """Format a duration: ``3 h 20 min``, ``12.5 s``."""
    if seconds < MINUTE:
        return f"{seconds:.1f} s"
    minutes = round(seconds / MINUTE)
    return f"{minutes} min" if minutes < HOUR else f"{minutes // HOUR:,} h {minutes % HOUR} min"


def share(part: float | None) -> str:
    """Format a share; it is shown as 100 % or 0 % only if it is exactly that."""
    if part is None:
        return "-"
    return f"{part:.0%}".replace("%", " %") if part in {0, 1} else f"{min(max(part * 100, 0.001), 99.999):.3f} %"


def lines(report: Report, *, most: int = 30) -> list[str]:
    """The report for a terminal: one line per symbol (the ``most`` busiest), the totals, and what is wrong."""
    columns = f"{'found':>10}{'only book':>11}{'only level 3':>14}{'in full':>10}{'median':>10}{'95 %':>10}{'99 %':>10}"
    found = [f"{'':<16}{'book states':>12}{columns}   ms; +: the book channel is later"]
    symbols = report.symbols()
    busiest = sorted(symbols, key=lambda symbol: -symbols[symbol]["book_states"])[:most]
    total = report.total()
    for name, facts in [*((symbol, symbols[symbol]) for symbol in sorted(busiest)), ("all", total)]:
        recv = facts["latency"]["recv"] or {}
        latencies = "".join(f"{milliseconds(recv.get(key)):>10}" for key in ("median", "p95", "p99"))
        counts = f"{share(facts['share']):>10}{facts['only_book']:>11,}{facts['only_level3']:>14,}"
        found.append(f"{name:<16}{facts['book_states']:>12,}{counts}{share(facts['full']['share']):>10}{latencies}")
    recv, seconds, left_out = total["latency"]["recv"], total["seconds"], total["left_out"]
    found += [
        (
            f"which is first: level 3 {counted(recv['level3_first'], 'time')}, the book channel "
            f"{counted(recv['book_first'], 'time')}, both at once {counted(recv['together'], 'time')}; left out of "
            f"latency: {counted(total['recurs'], 'state')} repeated within a second, {total['begins']:,} at the "
            "beginning of a sync span"
        ),
        (
            f"compared: {duration(seconds['together'])}, summed over symbols; only the book in sync: "
            f"{duration(seconds['only_book'])}; only level 3 in sync: {duration(seconds['only_level3'])}; states left "
            f"out: book {left_out['book']:,}, level 3 {left_out['level3']:,}"
        ),
    ]
    for facts, what in ((total, "top ten levels"), (total["full"], "all common levels")):
        if (worst := facts["longest"]) is not None:
            found.append(
                f"differ: {what}, {counted(facts['disagreements'], 'time')}; longest: {worst['symbol']} from "
                f"{worst['ts_from']:%Y-%m-%dT%H:%M:%S.%f} to {worst['ts_to']:%H:%M:%S.%f}, "
                f"{counted(worst['states'], 'state')}, book message {worst['message']:,} of {worst['session']}, after "
                f"level-3 message {worst['level3_message']} of {worst['level3_session']}"
            )
    found += [
        f"wrong: {row['symbol']}: {row['reason']} in channel {row['channel']} at "
        f"{row['ts']:%Y-%m-%dT%H:%M:%S.%f}, message {row['message']:,} of {row['session']}"
        for row in report.broken.head(10).iter_rows(named=True)
    ]
    if not total["book_states"]:
        return [*found, "nothing could be compared: at no time were both books in sync for long enough"]
    return [*found, "the same" if report.equal else "not the same"]
