"""The module of the widget: all of the page in one text, without an import."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from krakpot.errors import ConfigError
from krakpot.widget import front
from krakpot.widget.front import Bundle


def files(folder: Path, **texts: str) -> Path:
    """Write files of JavaScript; the folder."""
    for name, text in texts.items():
        (folder / f"{name}.js").write_text(text)
    return folder


def test_the_module_is_whole() -> None:
    """Every file that the page imports is in it once, with the style and the elements; nothing is left to fetch."""
    text = front.module()
    code = re.sub(r"/\*\*.*?\*/", "", text)
    assert not re.search(r"^(import|export (?!default))\b|\bimport\(", code, re.MULTILINE)
    assert text.count("export default") == 1
    names = re.findall(r"^const (\w+)_\d+ = \(\(\) => \{$", text, re.MULTILINE)
    assert len(names) == len(set(names))
    needed = {path.stem for path in (front.PAGE / "src").glob("*.js")}
    assert {"front", "page", "market", "ladder", "stream"} <= set(names) <= {"front", "page"} | needed
    assert "main" not in names, "that is the page as a whole document"
    assert '<section id=\\"panel-book\\"' in text
    assert "container-type: inline-size" in text
    assert "<noscript>" not in text


@pytest.mark.skipif(shutil.which("node") is None, reason="no node is found: apt-get install nodejs")
def test_the_module_is_javascript(tmp_path: Path) -> None:
    """It is read as a module, and exports what anywidget takes."""
    (tmp_path / "module.mjs").write_text(front.module())
    program = "import('./module.mjs').then(one => console.log(typeof one.default.render))"
    done = subprocess.run(["node", "-e", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "function\n", done.stderr


@pytest.mark.skipif(shutil.which("node") is None, reason="no node is found: apt-get install nodejs")
def test_names_of_files_do_not_meet(tmp_path: Path) -> None:
    """Two files use a name for different things; a file that two import is run once."""
    folder = files(
        tmp_path,
        shared="console.log('once')\nexport const value = 1\nexport function add(n) { return n + value }\n",
        left="import { value as one } from './shared.js'\nconst name = 'left'\n"
        "export class Left {\n  get name() { return name + one }\n}\n",
        main="import { Left } from './left.js'\nimport {\n  add,\n} from './shared.js'\nconst name = 'main'\n"
        "// a comment\nconsole.log(new Left().name, name, add(2))\n",
    )
    bundle = Bundle()
    bundle.add(folder / "main.js")
    done = subprocess.run(["node", "-e", "\n".join(bundle.texts)], capture_output=True, text=True, check=False)
    assert done.stdout == "once\nleft1 main 3\n", done.stderr


@pytest.mark.parametrize(
    "texts",
    [
        {"main": "import { b } from './b.js'\n", "b": "import { a } from './main.js'\n"},
        {"main": "export default 1\n"},
        {"main": "import * as b from './b.js'\n", "b": ""},
        {"main": "export { b } from './b.js'\n", "b": ""},
    ],
    ids=["circle", "default", "namespace", "again"],
)
def test_what_cannot_be_put_together(tmp_path: Path, texts: dict[str, str]) -> None:
    """Such a file is refused, so that nobody gets half a module."""
    folder = files(tmp_path, **texts)
    with pytest.raises(AssertionError, match=r"main\.js"):
        Bundle().add(folder / "main.js")


def test_a_build_without_the_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It says so, instead of showing nothing."""
    monkeypatch.setattr(front, "PAGE", tmp_path)
    front.module.cache_clear()
    with pytest.raises(ConfigError, match="no page to show"):
        front.module()
    front.module.cache_clear()
