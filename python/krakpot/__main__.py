"""The command ``krakpot``, also as ``python -m krakpot``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; Ctrl-C ends it without a traceback, also while it is still being loaded."""
    try:
        from krakpot.cli.main import main as run  # noqa: PLC0415  # what takes long is loaded here
    except KeyboardInterrupt:
        sys.stderr.write("krakpot: interrupted\n")
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
