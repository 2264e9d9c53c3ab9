"""``python -m krakpot``."""

from krakpot.cli.main import main

if __name__ == "__main__":
    main()
