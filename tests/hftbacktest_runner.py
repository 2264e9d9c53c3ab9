"""hftbacktest runs on exported files, in an environment without krakpot.

Called with a JSON list of runs, because it takes long to compile; prints one line of JSON. ``orders``: limit orders of
the strategy: when they are sent (ns after the first event), side (1 buy, -1 sell), price, quantity. Answers: for each
order whether it was filled, and when at the exchange; the best prices at the end. With ``every``: instead, at each such
time, one order more at the best price of a side in turn, and the number of those that were filled.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import hftbacktest  # type: ignore[import-not-found]  # only where the test installed it
import numpy as np
from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest
from hftbacktest.data.validation import validate_event_order  # type: ignore[import-not-found]  # the same
from numba import njit

STEP = 1_000_000
FILLED = 3


@njit  # type: ignore[untyped-decorator]  # it has no types
def run(hbt: Any, times: Any, sides: Any, prices: Any, quantities: Any, filled: Any, every: int) -> Any:
    """Send each order at its time, and look every millisecond which ones were filled."""
    sent = 0
    bid = ask = 0.0
    ended = False
    # The first order must not be sent before there is a market.
    if hbt.elapse(STEP) != 0:
        return bid, ask, sent
    begin = last = hbt.current_timestamp - STEP
    while not ended:
        now = hbt.current_timestamp
        depth = hbt.depth(0)
        bid, ask = depth.best_bid, depth.best_ask
        if every == 0:
            while sent < len(times) and now >= begin + times[sent]:
                if sides[sent] > 0:
                    hbt.submit_buy_order(0, sent + 1, prices[sent], quantities[sent], 0, 0, False)
                else:
                    hbt.submit_sell_order(0, sent + 1, prices[sent], quantities[sent], 0, 0, False)
                sent += 1
        elif now - last >= every and sent < len(filled):
            last = now
            if sent % 2 == 0:
                hbt.submit_buy_order(0, sent + 1, bid, quantities[0], 0, 0, False)
            else:
                hbt.submit_sell_order(0, sent + 1, ask, quantities[0], 0, 0, False)
            sent += 1
        ended = hbt.elapse(STEP) != 0
        orders = hbt.orders(0)
        for number in range(sent):
            if filled[number] == 0 and number + 1 in orders:
                order = orders.get(number + 1)
                if order.status == FILLED:
                    filled[number] = order.exch_timestamp
    return bid, ask, sent


def answer(options: dict[str, Any]) -> dict[str, Any]:
    """Run it once."""
    data = np.load(options["file"])["data"]
    validate_event_order(data)
    asset = (
        BacktestAsset()
        .data([options["file"]])
        .linear_asset(1.0)
        .constant_order_latency(0, 0)
        .no_partial_fill_exchange()
        .trading_value_fee_model(0, 0)
        .tick_size(options["tick"])
        .lot_size(1e-8)
    )
    asset = asset.l3_fifo_queue_model() if options["level3"] else asset.risk_adverse_queue_model()
    hbt = HashMapMarketDepthBacktest([asset])
    orders = options.get("orders", [])
    filled = np.zeros(max(len(orders), options.get("most", 0)), np.int64)
    columns = [np.array([order[n] for order in orders], np.float64 if n > 1 else np.int64) for n in range(4)]
    if not orders:
        columns[3] = np.array([options["qty"]], np.float64)
    bid, ask, sent = run(hbt, *columns, filled, options.get("every", 0))
    hbt.close()
    return {"filled": [int(time) for time in filled[:sent]], "bid": bid, "ask": ask}


def main(runs: list[dict[str, Any]]) -> None:
    """Run it as often as is asked for."""
    version = hftbacktest.__version__ if hasattr(hftbacktest, "__version__") else ""
    sys.stdout.write(json.dumps({"version": version, "answers": [answer(options) for options in runs]}) + "\n")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
