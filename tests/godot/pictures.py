"""Pictures of the three scenes, of the built-in exchange while it trades: `scripts/pictures-godot FOLDER`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine import Godot, display, imported

SECONDS = {"heat": 32, "land": 34, "pairs": 8}
"""How long each scene runs before its picture is taken."""
COLOURS = 200


@contextmanager
def program(*arguments: str) -> Iterator[str]:
    """Run a command of krakpot; yields the address that it prints."""
    command = [sys.executable, "-m", "krakpot", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


def main() -> None:
    """Take them."""
    if not display():
        sys.exit("pictures need a virtual screen: apt-get install xvfb xauth")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as work,
        program("exchange", "--pairs", "24", "--rate", "1500", "--port", "0") as exchange,
        program("view", "live", "--url", exchange, "--port", "0", "--no-open") as view,
        Godot(imported(Path(work)), window=True, arguments=(f"--url={view}",)) as godot,
    ):
        godot.until('market().chosen != ""')
        for name, seconds in SECONDS.items():
            godot.run(f'open("res://scenes/{name}.tscn")')
            time.sleep(seconds)
            path = folder / f"godot-{name}.png"
            assert godot.run(f"picture({str(path.resolve())!r})")
            with Image.open(path) as found:
                few = found.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
            few.save(path, optimize=True)


if __name__ == "__main__":
    main()
