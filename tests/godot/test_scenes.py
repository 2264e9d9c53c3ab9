"""The scenes in a window: known levels at known places, and sentences where something is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from engine import PROJECT, Godot, display
from streamer import served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not display(), reason="pictures need a virtual screen: apt-get install xvfb xauth"),
]

MARKET = "market()"


def picture(godot: Godot, path: Path) -> Image.Image:
    """The window."""
    assert godot.run(f"picture({str(path)!r})")
    with Image.open(path) as found:
        return found.convert("RGB")


def colours(image: Image.Image, box: tuple[int, int, int, int]) -> tuple[float, float, float]:
    """The mean colour of a part of a picture."""
    pixels: Any = image.crop(box).resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    return tuple(pixels)


def test_heat_map_ladder_land_and_pairs(project: Path, tmp_path: Path) -> None:
    """The texture holds the book of the formula; bids are blue below, asks orange above; other scenes draw, too."""
    with served() as server, Godot(project, window=True, arguments=(f"--url={server.page}",)) as godot:
        godot.until(f'{MARKET}.chosen == "BTC/USD"')
        godot.run('open("res://scenes/heat.tscn")')
        godot.until("shows('Heat')")
        godot.until("shown().history.newest > 60", 60)
        godot.run(f"{MARKET}.clock.pause()")
        godot.until(f"{MARKET}.clock.paused")
        ns = godot.run(f"{MARKET}.shown_book().received_ns")
        bids, asks = server.pairs["BTC/USD"].book(ns, 100)
        # Cells of the texture: quantities by price.
        ticks, origin = godot.run("[shown().history.bin_ticks, shown().history.origin_bin]")
        expected: dict[int, float] = {}
        for side, sign in ((bids, 1), (asks, -1)):
            for price, qty in side:
                cell = round(price * 10) // ticks - origin
                expected[cell] = expected.get(cell, 0.0) + sign * qty
        newest = godot.run("shown().history.newest")
        middle = round((bids[0][0] + asks[0][0]) * 5) // ticks - origin
        # In the cell of the best prices both sides may meet: only one is drawn there.
        cells = [cell for cell in range(min(expected), max(expected), 2) if abs(cell - middle) > 2]
        asked = ", ".join(f"parts(shown().history.cell({newest}, {cell}))" for cell in cells)
        seen = 0
        for cell, (qty, number, _, known) in zip(cells, godot.run(f"[{asked}]"), strict=True):
            if known == 1 and number == cell:
                assert qty == pytest.approx(expected.get(cell, 0.0), rel=1e-5), cell
                seen += 1
        assert seen > 50
        # The picture follows the market; it has to stand still before places in it are known.
        godot.until("absf(shown().middle - shown().history.mid_bin) < 0.01", 60)
        image = picture(godot, tmp_path / "heat.png")
        # The middle of the newest column: how far it is from the right edge depends on how late the last frame was.
        head, span, end, wide = godot.run(
            "[shown().head(), shown().span, shown().chart().end.x, shown().chart().size.x]"
        )
        x = int(end - (head - newest - 0.5) / span * wide)
        top, bottom = godot.run("[shown().chart().position.y, shown().chart().end.y]")
        lights = {y: sum(colours(image, (x, y, x + 1, y + 1))) for y in range(round(top), round(bottom))}
        usual = sorted(lights.values())[len(lights) // 2]
        strong = [price for price, qty in (*bids[8:], *asks[8:]) if qty > 4]
        middles = [round(price * 10) // ticks - origin + 0.5 for price in strong]
        asked = ", ".join(f"shown().at({ns}, shown().history.price_at({cell})).y" for cell in middles)
        seen = 0
        for price, y in zip(strong, godot.run(f"[{asked}]"), strict=True):
            if int(y) in lights:
                assert lights[int(y)] > 1.3 * usual, price
                seen += 1
        assert seen >= 3
        best = godot.run(f"shown().at({ns}, {bids[0][0]!r}).y")
        upper = colours(image, (700, int(best) - 90, 930, int(best) - 30))
        lower = colours(image, (700, int(best) + 30, 930, int(best) + 90))
        assert upper[0] > upper[2] + 5, "asks are orange"
        assert lower[2] > lower[0] + 5, "bids are blue"
        godot.run('press("2")')
        godot.until("shows('Land')", 30)
        godot.run(f"{MARKET}.clock.resume()")
        godot.until("shown().history.newest > 80", 60)
        image = picture(godot, tmp_path / "land.png")
        assert len(image.crop((0, 60, 1280, 650)).getcolors(1 << 20) or []) > 500
        godot.run('press("3")')
        godot.until("shows('Pairs')", 30)
        godot.until("shown().lines.size() == 8", 30)
        words = {line["symbol"]: line for line in godot.run("shown().lines")}
        assert words["DOGE/USD"]["wrong"] == 1
        assert words["DOT/EUR"]["sync"] == 0
        told = godot.run("[shown().lines.map(shown().health_of), shown().lines]")
        assert {line["symbol"]: one[0] for one, line in zip(*told, strict=True)}["DOT/EUR"] == "! out of sync"
        image = picture(godot, tmp_path / "pairs.png")
        assert len(image.getcolors(1 << 20) or []) > 50


def test_what_is_wrong_is_seen(project: Path, tmp_path: Path) -> None:
    """No server: a red box and its sentence. Then a server; it falls silent: grey, and stale is written across."""
    with served(stale_after=0.8) as server:
        server.shut()
        with Godot(project, window=True, arguments=(f"--url={server.page}",)) as godot:
            godot.run('open("res://scenes/heat.tscn")')
            godot.until("shows('Heat')")
            godot.until(f"'No server' in {MARKET}.trouble()", 60)
            image = picture(godot, tmp_path / "none.png")
            box = colours(image, (200, 72, 280, 76))
            assert box[0] > box[2] + 20, "a red box"
            server.open()
            godot.until(f"shown().history.newest > 40 and {MARKET}.trouble() == ''", 60)
            before = picture(godot, tmp_path / "good.png")
            server.silent = True
            godot.until(f"{MARKET}.stale", 10)
            image = picture(godot, tmp_path / "stale.png")
            part = (600, 400, 940, 600)
            assert max(colours(image, part)) - min(colours(image, part)) < 12, "grey"
            assert max(colours(before, part)) - min(colours(before, part)) > 12
            stale = colours(image, (420, 340, 860, 375))
            assert stale[0] > stale[2] + 10, "yellow"


def test_the_project_can_be_published(project: Path) -> None:
    """It has what an asset library asks for."""
    for name in ("icon.svg", "LICENSE", "README.md", "addons/krakpot/LICENSE", "addons/krakpot/README.md"):
        assert (project / name).stat().st_size > 50
    assert "/addons/** !export-ignore" in (PROJECT / ".gitattributes").read_text()
