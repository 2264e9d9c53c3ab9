"""``python -m krakpot``."""

from krakpot.cli import main

if __name__ == "__main__":
    main()
