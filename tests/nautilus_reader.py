"""nautilus_trader reads a catalog and applies it to its own book, in an environment without krakpot.

Called with the version of the catalog, its folder and the type of the book (MBP or MBO); prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import nautilus_trader  # type: ignore[import-not-found]  # only where the test installed it


def read(version: int, folder: str) -> tuple[list[Any], dict[str, list[Any]], dict[str, list[Any]]]:
    """Instruments, deltas and trades of a catalog, by instrument."""
    if version == 2:
        from nautilus_trader.persistence import ParquetDataCatalog  # type: ignore[import-not-found]  # the same

        catalog = ParquetDataCatalog(folder)
        instruments = catalog.instruments()
        names = [str(one.id) for one in instruments]
        return (
            instruments,
            {name: catalog.query_order_book_deltas([name]) for name in names},
            {name: catalog.query_trade_ticks([name]) for name in names},
        )
    from nautilus_trader.persistence.catalog import ParquetDataCatalog as Older  # type: ignore[import-not-found]  # the same

    older = Older(folder)
    instruments = older.instruments()
    names = [str(one.id) for one in instruments]
    return (
        instruments,
        {name: older.order_book_deltas([name]) for name in names},
        {name: older.trade_ticks([name]) for name in names},
    )


def main(version: int, folder: str, kind: str) -> None:
    """Read, apply, tell."""
    if version == 2:
        from nautilus_trader.model import BookType, InstrumentId, OrderBook  # type: ignore[import-not-found]  # the same
    else:
        from nautilus_trader.model.book import OrderBook  # type: ignore[import-not-found]  # the same
        from nautilus_trader.model.enums import BookType  # type: ignore[import-not-found]  # the same
        from nautilus_trader.model.identifiers import InstrumentId  # type: ignore[import-not-found]  # the same

    instruments, deltas, trades = read(version, folder)
    told: dict[str, Any] = {"version": nautilus_trader.__version__, "books": {}, "instruments": {}}
    for one in instruments:
        name = str(one.id)
        told["instruments"][name] = {
            key: str(getattr(one, key))
            for key in (
                "raw_symbol", "base_currency", "quote_currency", "price_precision", "size_precision", "price_increment",
                "size_increment", "min_quantity",
            )
        }  # fmt: skip
        book = OrderBook(InstrumentId.from_str(name), getattr(BookType, "L2_MBP" if kind == "MBP" else "L3_MBO"))
        for delta in deltas[name]:
            book.apply_delta(delta)
        told["books"][name] = {
            "deltas": len(deltas[name]),
            "sequence": int(deltas[name][-1].sequence),
            "ts_init": int(deltas[name][-1].ts_init),
            "trades": [
                (str(one.trade_id), str(one.price), str(one.size), str(one.aggressor_side), int(one.ts_event))
                for one in trades[name]
            ],
            **{
                side: [
                    (str(level.price), [str(order.size) for order in _orders(level)]) for level in getattr(book, side)()
                ]
                for side in ("bids", "asks")
            },
        }
    sys.stdout.write(json.dumps(told) + "\n")


def _orders(level: Any) -> list[Any]:
    found = level.get_orders() if hasattr(level, "get_orders") else level.orders()
    return list(found)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
