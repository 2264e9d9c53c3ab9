"""The page as the one ES module that anywidget takes: its files put together, without any tool at run time.

Each file becomes a function that is called at once and returns what the file exports. Files that cannot be put together
so, as those that import each other in a circle or export by default, are refused: the tests would fail.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

from krakpot.errors import ConfigError

ROOM = Path(__file__).parent
PAGE = ROOM.parent / "page"
FRONT = ROOM / "front.js"
IMPORT = re.compile(r"^import \{([^}]*)\} from '([^']+)';?\n", re.MULTILINE)
EXPORT = re.compile(r"^export ((?:async )?function\*?|class|const) (\w+)", re.MULTILINE)
REST = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)
"""What is left of imports and exports when those above are gone: forms that are not known here."""
COMMENT = re.compile(r"^ *(?:/\*\*.*?\*/|//[^\n]*)\n", re.MULTILINE | re.DOTALL)
"""A comment with lines of its own. Each widget carries the module."""
COMMENT_OF_STYLE = re.compile(r"/\*.*?\*/\s*", re.DOTALL)
BODY = re.compile(r'<body class="page">(.*?)<noscript>', re.DOTALL)


@cache
def module() -> str:
    """The text of the module. ``ConfigError`` if this build has no page."""
    page = PAGE / "index.html"
    if not page.is_file():
        raise ConfigError(f"this build has no page to show; its files belong in {PAGE}")
    body = BODY.search(page.read_text())
    assert body, "the page has a body"
    bundle = Bundle()
    front = bundle.add(FRONT)
    style = COMMENT_OF_STYLE.sub("", (PAGE / "style.css").read_text())
    given = ", ".join(json.dumps(text, ensure_ascii=False) for text in (style, body[1].strip()))
    return "\n".join([*bundle.texts, f"export default {front}.widget({given})\n"])


class Bundle:
    """Files put together, each behind those that it imports."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.texts: list[str] = []
        self.names: dict[Path, str] = {}
        """The variable that has what a file exports; empty while it is being added."""

    def add(self, path: Path) -> str:
        """Put a file behind the others, and what it imports before it; its variable."""
        path = path.resolve()
        if path in self.names:
            assert self.names[path], f"{path}: its imports are a circle"
            return self.names[path]
        self.names[path] = ""
        text = path.read_text()
        heads = [
            f"const {{ {wanted.strip().rstrip(',').replace(' as ', ': ')} }} = {self.add(path.parent / name)}"
            for wanted, name in IMPORT.findall(text)
        ]
        exported = [name for _, name in EXPORT.findall(text)]
        text = COMMENT.sub("", EXPORT.sub(r"\1 \2", IMPORT.sub("", text)))
        left = REST.search(text)
        assert left is None, f"{path}: cannot be put together: {left and left[0]}"
        name = self.names[path] = f"{path.stem}_{len(self.texts)}"
        given = f"return {{ {', '.join(exported)} }}"
        self.texts.append("\n".join([f"const {name} = (() => {{", *heads, text.strip(), given, "})()"]))
        return name
