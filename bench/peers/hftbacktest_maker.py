"""hftbacktest on an exported recording: without a strategy, and with a maker each millisecond; CPU seconds of each.

Run in an environment of its own, with one JSON object: ``file``, ``tick``, ``fees``, ``qty``, ``rounds``. The maker
does what that of ``bench/python/trading.py`` does: an order on each side at the best price, amended when that moves,
within Kraken's rate counter. The events are in memory and the code is compiled before the time is taken.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
from hftbacktest import (  # type: ignore[import-not-found]  # only in its own environment
    GTX,
    LIMIT,
    BacktestAsset,
    HashMapMarketDepthBacktest,
)
from numba import njit  # type: ignore[import-not-found]  # the same

Untyped = Any
"""What hftbacktest and NumPy make: they have no types here."""
STEP = 1_000_000
SECOND = 1_000_000_000
WAIT = False
"""Whether the program waits for the answer to a request."""
MOST, DECAY, COST = 180.0, 3.75, 10.0
"""Kraken's rate counter: its limit, what it loses a second, what a request may cost."""


@njit  # type: ignore[untyped-decorator]  # it has no types
def idle(hbt: Untyped) -> int:
    """Let time pass to the end."""
    steps = 0
    while hbt.elapse(SECOND) == 0:
        steps += 1
    return steps


@njit  # type: ignore[untyped-decorator]  # it has no types
def maker(hbt: Untyped, qty: float) -> int:
    """Look once in a millisecond, and go along with the best prices; how many requests it sent."""
    number = np.zeros(2, np.int64)
    sent = 0
    counter = 0.0
    last = 0
    while hbt.elapse(STEP) == 0:
        now = hbt.current_timestamp
        if last > 0:
            counter = max(0.0, counter - DECAY * (now - last) / SECOND)
        last = now
        if counter + COST > MOST:
            continue
        depth = hbt.depth(0)
        if not (depth.best_bid > 0.0 and depth.best_ask > depth.best_bid):
            continue
        hbt.clear_inactive_orders(0)
        orders = hbt.orders(0)
        for side in range(2):
            price = depth.best_bid if side == 0 else depth.best_ask
            if number[side] == 0 or number[side] not in orders:
                sent += 1
                number[side] = sent
                if side == 0:
                    hbt.submit_buy_order(0, sent, price, qty, GTX, LIMIT, WAIT)
                else:
                    hbt.submit_sell_order(0, sent, price, qty, GTX, LIMIT, WAIT)
                counter += 1.0
            elif (
                orders.get(number[side]).cancellable
                and abs(orders.get(number[side]).price - price) > depth.tick_size / 2
            ):
                sent += 1
                hbt.modify(0, number[side], price, qty, WAIT)
                counter += 2.0
    return sent


def backtest(data: Untyped, options: dict[str, Any]) -> Untyped:
    """One market, with the orders of level 3 and the latency of the other program."""
    asset = (
        BacktestAsset()
        .data([data])
        .linear_asset(1.0)
        .constant_order_latency(5_000_000, 5_000_000)
        .l3_fifo_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(*options["fees"])
        .tick_size(options["tick"])
        .lot_size(1e-8)
    )
    return HashMapMarketDepthBacktest([asset])


def main(options: dict[str, Any]) -> None:
    """Measure, and print."""
    data = np.load(options["file"])["data"]
    times: dict[str, list[float]] = {"idle": [], "maker": []}
    counts: dict[str, int] = {}
    # The first round compiles and is not counted.
    for turn in range(options["rounds"] + 1):
        for name, spent in times.items():
            hbt = backtest(data, options)
            begun = time.process_time()
            counts[name] = int(idle(hbt) if name == "idle" else maker(hbt, options["qty"]))
            seconds = time.process_time() - begun
            hbt.close()
            if turn:
                spent.append(seconds)
    sys.stdout.write(json.dumps({"times": times, "counts": counts, "events": len(data)}) + "\n")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
