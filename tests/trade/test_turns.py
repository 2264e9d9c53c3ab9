"""Turns of a live run come when they are due, and end with a reason or an error."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from krakpot.trade.turns import Turns


@pytest.mark.parametrize("error", [LookupError("mine"), StopIteration(), KeyboardInterrupt()])
def test_turns_end_with_a_reason_or_an_error(error: BaseException) -> None:
    """They are called again after the time that they say, until they say why not; what they raise is raised."""

    async def main() -> None:
        said: list[Any] = [0.001, 0.0, "enough"]
        turns = Turns(lambda: said.pop(0))
        assert await turns.over == turns.result() == "enough"
        assert said == []

        def fails() -> float:
            raise error

        turns = Turns(fails)
        with pytest.raises(RuntimeError if isinstance(error, StopIteration) else type(error)):
            await result_of(turns)

        calls: list[int] = []

        def counts() -> float:
            calls.append(1)
            return 0.001

        turns = Turns(counts)
        turns.stop()
        await asyncio.sleep(0.01)
        assert calls == [1]

    async def result_of(turns: Turns) -> str:
        await turns.over
        return turns.result()

    asyncio.run(main())
