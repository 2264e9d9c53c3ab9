"""websockets' asyncio API and orjson: every frame parsed, nothing kept. No client in Python does less."""

import asyncio

import orjson
from websockets.asyncio.client import connect

import common


async def main() -> None:
    """Read to the end."""
    url, _, _ = common.asked()
    messages = 0
    begun = common.now()
    async with connect(url, max_size=None, compression=None) as socket:
        async for text in socket:
            messages += orjson.loads(text).get("channel") == "book"
    common.tell(begun, common.now(), messages, None, None, "websockets", "orjson")


asyncio.run(main())
