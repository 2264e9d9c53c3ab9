"""A client of the stream without a socket: each request is done, or answered with a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from frames import SECOND, START
from krakpot.serve.client import Client, refused
from krakpot.serve.source import Source
from krakpot.widget.watcher import in_thread
from waiting import run


async def ask(client: Client, **request: Any) -> dict[str, Any]:
    """The answer to a request."""
    return await client.answer(json.dumps(request))


def test_requests_of_a_client(whole_lake: Path) -> None:
    """What is asked for reaches its place in the lake; what is wrong changes nothing."""

    async def main() -> None:
        source = Source(whole_lake, in_thread)
        await source.begin()
        client = Client(source)
        place = client.place
        assert place is not None
        done = await ask(client, method="subscribe", symbols=["BTC/USD"], depth=10, req_id=4)
        assert done == {"type": "answer", "method": "subscribe", "success": True, "req_id": 4}
        assert client.viewer.subscriptions["BTC/USD"].depth == 10
        assert not place.ready, "the books are not those that are wanted"
        at = START + 20 * SECOND
        await ask(client, method="seek", at_us=at // 1000)
        assert place.now == at
        await ask(client, method="pause")
        assert place.paused
        await ask(client, method="resume")
        assert not place.paused
        await ask(client, method="speed", speed=30)
        assert place.speed == 30
        coverage = await ask(client, method="coverage", symbols=["BTC/USD"], req_id=5)
        assert (coverage["type"], coverage["req_id"]) == ("coverage", 5)
        wrong = await ask(client, method="subscribe", symbols=["BTC/EUR"], req_id=6)
        assert not wrong["success"]
        assert (wrong["method"], wrong["req_id"]) == ("subscribe", 6)
        assert "BTC/EUR" in wrong["error"]
        assert list(client.viewer.subscriptions) == ["BTC/USD"]
        assert not (await client.answer("no JSON"))["success"]
        place.close()

    run(main())


def test_a_refusal_says_what_it_refuses() -> None:
    """With the method and the number, if there were any."""
    assert refused("no") == {"type": "answer", "method": None, "success": False, "error": "no"}
    assert refused("no", "seek", 7)["req_id"] == 7
