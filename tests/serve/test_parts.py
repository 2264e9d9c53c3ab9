"""The files of a lake over HTTP."""

from __future__ import annotations

from pathlib import Path

import aiohttp

import lakes
from krakpot.lake.folder import Folder
from krakpot.serve import parts
from krakpot.serve.server import ViewServer
from viewing import serving


def test_the_parts_of_a_lake(lake: Path) -> None:
    """Listed with their sizes, and read by range as they are on disk."""

    async def main(_: ViewServer, client: aiohttp.ClientSession) -> None:
        async with client.get("/lake") as answer:
            found = await answer.json()
        assert found["unsealed"] == []
        listed = found["parts"]
        on_disk = sorted(path.relative_to(lake).as_posix() for path in lake.rglob("*.parquet"))
        assert sorted(one["path"] for one in listed) == on_disk
        assert len(on_disk) > 5
        for one in listed:
            data = (lake / one["path"]).read_bytes()
            assert one["bytes"] == len(data)
            async with client.get(f"/lake/{one['path']}") as answer:
                assert await answer.read() == data
                assert answer.headers["Content-Type"] == "application/vnd.apache.parquet"
            async with client.get(f"/lake/{one['path']}", headers={"Range": "bytes=-8"}) as answer:
                assert (answer.status, await answer.read()) == (206, data[-8:])
            async with client.get(f"/lake/{one['path']}", headers={"Range": "bytes=9999999-"}) as answer:
                assert answer.status == 416

    serving(main, lake)


def test_what_is_not_sealed_is_named(tmp_path: Path) -> None:
    """The first journal of a session that goes on: a proof leaves out what comes from there on."""
    recorder = lakes.Recorder(tmp_path / "lake")
    recorder.take(lakes.market(20))
    assert parts.unsealed(Folder(tmp_path / "lake")) == [{"session": recorder.writer.session, "number": 0}]
    recorder.end()


def test_only_parts_are_files(lake: Path) -> None:
    """Whatever a name says: no other file of the lake, none beside it, no link out of it."""
    folder = Folder(lake)
    known = parts.listed(folder)[0]["path"]
    assert parts.file_of(folder, known) == (lake / known).resolve()
    day = Path(known).parent
    (lake / day / "note.txt").write_text("secret")
    stranger = lake.parent / "outside.parquet"
    stranger.write_text("secret")
    (lake / day / Path(known).name.replace("-0.", "-9.")).symlink_to(stranger)
    for name in (
        "", ".", "/", "..", "_lake.json", "book", f"{day}", f"{day}/note.txt", f"/{known}", f"{known}/", f"./{known}/x",
        f"{known}/../../../_lake.json", f"../{lake.name}/{known}",
        known.replace("-0.", "-9."), known.replace("/", "\\"),
        f"{known}\0", "book/date=2026-08-02/..", "_journal/x/y", "book/../_lake.json", "x" * 10_000,
    ):  # fmt: skip
        found = parts.file_of(folder, name)
        assert found is None or found == (lake / known).resolve(), name
        assert found is None or Path(name.strip("/")) == Path(known), name
