"""What clients are shown: the pairs of a lake or a feed, and the texts that say what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

import krakpot
import lakes
from frames import SECOND, START
from krakpot.lake import seal
from krakpot.serve.source import Source
from krakpot.widget.watcher import in_thread
from waiting import run


def source(lake: Path) -> Source:
    """One of a lake, which it reads in threads."""
    return Source(lake, in_thread)


def test_a_lake(whole_lake: Path) -> None:
    """It says what it is, where it begins and ends, and what is recorded; a place is at its beginning."""

    async def main() -> None:
        shown = source(whole_lake)
        await shown.begin()
        hello = shown.hello()
        assert (hello["source"], hello["name"]) == ("lake", "lake")
        assert [one["symbol"] for one in hello["symbols"]] == ["BTC/USD", "ETH/USD"]
        begin, end = hello["begin_us"] * 1000, hello["end_us"] * 1000
        assert START <= begin < end
        assert end > START + 50 * SECOND
        assert shown.idle
        place = shown.place()
        assert place is not None
        assert place.now // 1000 * 1000 == begin
        place.close()
        coverage = await shown.coverage(("BTC/USD",))
        assert (coverage["begin_us"], coverage["end_us"]) == (hello["begin_us"], hello["end_us"])
        assert {span["symbol"] for span in coverage["spans"]} == {"BTC/USD"}

    run(main())


def test_pairs_keep_their_numbers(tmp_path: Path) -> None:
    """A pair that is recorded later comes behind the others, whatever its name."""
    lake = tmp_path / "lake"
    market = lakes.market(200)
    only = [(ts, frame) for ts, frame in market if b"BTC/USD" not in frame or b'"pairs"' in frame]
    lakes.make(lake, only, session=lakes.session_name(START))

    async def main() -> None:
        shown = source(lake)
        await shown.begin()
        assert list(shown.pairs) == ["ETH/USD"]
        later = START + 60 * SECOND
        recorder = lakes.Recorder(lake, lakes.session_name(later))
        recorder.take(lakes.market(200, begin=later))
        recorder.end()
        seal.recover(lake)
        await shown.look()
        assert [one["symbol"] for one in shown.symbols()] == ["ETH/USD", "BTC/USD"]

    run(main())


def test_a_feed() -> None:
    """It is live, has no place, and no beginning before it has received something."""

    async def main() -> None:
        async with (
            krakpot.ExchangeServer(krakpot.ExchangeOptions(pairs=2, rate=300)) as exchange,
            krakpot.Feed(["*"], channels=["book"], depth=25, url=exchange.address) as feed,
        ):
            shown = Source(feed, in_thread)
            await shown.begin()
            assert shown.place() is None
            hello = shown.hello()
            assert (hello["source"], hello["name"]) == ("live", "Kraken")
            assert [one["depth"] for one in hello["symbols"]] == [25, 25]
            assert shown.live is not None
            # Another client of the same feed shares what is listened to already.
            other = Source(feed, in_thread, market=shown.live.market)
            await other.begin()
            assert other.live is not None
            assert other.live.market is shown.live.market
            assert not other.live.over
            await feed.close()
            assert other.live.over

    run(main())


def test_a_folder_that_is_no_lake(tmp_path: Path) -> None:
    """It is refused."""

    async def main() -> None:
        with pytest.raises(krakpot.NoLake):
            await source(tmp_path).begin()

    run(main())
