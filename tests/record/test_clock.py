"""What is said of the clock is what the kernel and the files say, and nothing where they say nothing."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from krakpot.record import clock as hostclock


def timex(status: int, *, offset: int = 0, esterror: int = 0, maxerror: int = 0) -> hostclock.Timex:
    """An answer of the kernel."""
    return hostclock.Timex(offset=offset, maxerror=maxerror, esterror=esterror, status=status)


def test_a_clock_that_is_kept(tmp_path: Path) -> None:
    """Offsets in the unit that the status names, bounds from microseconds."""
    facts = hostclock.quality(timex(hostclock.STA_NANO, offset=-1234, esterror=5, maxerror=700), tmp_path)
    assert facts == {"synchronised": True, "offset_ns": -1234, "estimated_error_ns": 5000, "max_error_ns": 700_000}
    assert hostclock.quality(timex(0, offset=-3), tmp_path)["offset_ns"] == -3000


def test_a_clock_that_nobody_keeps(tmp_path: Path) -> None:
    """No numbers: the kernel's are those of long ago."""
    assert hostclock.quality(timex(hostclock.STA_UNSYNC, offset=7, maxerror=16_000_000), tmp_path) == {
        "synchronised": False
    }


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("run/chrony/chronyd.pid", "chrony"), ("run/systemd/timesync/synchronized", "systemd-timesyncd"),
        ("run/ntpd.pid", "ntpd"),
    ],
)  # fmt: skip
def test_the_client_and_the_hardware_show_themselves(tmp_path: Path, file: str, source: str) -> None:
    """By their files; without the kernel's answer they are all there is."""
    for name, text in ((file, "1"), (hostclock.CLOCKSOURCE, "tsc\n")):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    assert hostclock.quality(None, tmp_path) == {"source": source, "clock": "tsc"}
    assert hostclock.quality(None, tmp_path / "elsewhere") == {}


def test_the_structure_is_the_kernel_s() -> None:
    """The fields lie where Linux puts them, and all that it writes has room; the kernel fills in plausible values."""
    offsets = [getattr(hostclock.Timex, name).offset for name in ("offset", "maxerror", "esterror", "status")]
    word = ctypes.sizeof(ctypes.c_long)
    assert offsets == [word, 3 * word, 4 * word, 5 * word]
    assert ctypes.sizeof(hostclock.Timex) >= 208
    found = hostclock.kernel()
    if found is None:
        pytest.skip("this kernel does not tell")
    assert found.modes == 0
    assert found.maxerror >= 0
    assert hostclock.quality(found)["synchronised"] in (True, False)


def test_a_kernel_that_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No such function, or not allowed: nothing is known, and nothing is raised."""

    class Library:
        """A C library that refuses, or lacks the call."""

        def __init__(self, *names: str) -> None:
            for name in names:
                setattr(self, name, lambda _: -1)

    for library in (Library(), Library("adjtimex")):
        monkeypatch.setattr(ctypes, "CDLL", lambda *_, library=library, **__: library)
        assert hostclock.kernel() is None
