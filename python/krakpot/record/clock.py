"""What this machine knows about the quality of its own clock, from which every receive time comes.

Linux keeps what the client of a time server told it (adjtimex(2), which is read here and never changed). Other systems
do not tell, so there the facts are missing. krakpot does not ask time servers itself.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

STA_UNSYNC, STA_NANO = 0x0040, 0x2000
"""Bits of ``status``: the clock is not synchronised; ``offset`` is in nanoseconds instead of microseconds."""
CLIENTS = {
    "chrony": ("run/chrony/chronyd.pid", "run/chronyd.pid"),
    "systemd-timesyncd": ("run/systemd/timesync/synchronized",),
    "ntpd": ("run/ntpd.pid", "run/openntpd.pid"),
}
"""Clients of time servers, and the files that exist while they run."""
CLOCKSOURCE = "sys/devices/system/clocksource/clocksource0/current_clocksource"


class Timex(ctypes.Structure):
    """``struct timex`` of Linux, up to what is read here."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        # The kernel writes 208 bytes in all; the rest is not read.
        ("rest", ctypes.c_byte * 256),
    )


def kernel() -> Timex | None:
    """What the kernel knows; None where it cannot or may not be asked."""
    if sys.platform != "linux":
        return None
    function = getattr(ctypes.CDLL(None, use_errno=True), "adjtimex", None)
    found = Timex()
    return None if function is None or function(ctypes.byref(found)) < 0 else found


def quality(timex: Timex | None, root: Path = Path("/")) -> dict[str, bool | int | str]:
    """Facts about the clock, as far as they are known.

    ``synchronised``: the client of a time server keeps it in time; ``offset_ns``: what the kernel still has to correct;
    ``estimated_error_ns``, ``max_error_ns``: the kernel's bounds; ``source``: the client; ``clock``: the hardware.
    """
    facts: dict[str, bool | int | str] = {}
    if timex is not None:
        synchronised = not timex.status & STA_UNSYNC
        facts["synchronised"] = synchronised
        if synchronised:
            # For a clock that is not synchronised, these only grow.
            facts["offset_ns"] = timex.offset if timex.status & STA_NANO else timex.offset * 1000
            facts["estimated_error_ns"] = timex.esterror * 1000
            facts["max_error_ns"] = timex.maxerror * 1000
    for client, files in CLIENTS.items():
        if any(os.path.exists(root / name) for name in files):  # noqa: PTH110  # unlike Path's, it never raises
            facts["source"] = client
            break
    try:
        facts["clock"] = (root / CLOCKSOURCE).read_text().strip()
    except OSError:
        # Not Linux, or a container that does not show it.
        return facts
    return facts
