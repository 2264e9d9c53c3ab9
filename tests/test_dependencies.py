"""Who may use whom: the rooms of the package have walls, and no room has a circle inside.

Every import counts, also those inside functions and under ``TYPE_CHECKING``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "python" / "krakpot"
IMPORTS_MIN = 150
"""The least number of imports that a complete search finds: a check that sees nothing would pass."""

BASE = {"errors", "log", "values", "work"}
ALLOWED = {
    "errors": set[str](),
    "log": {"errors", "values"},
    "values": {"errors"},
    "work": set[str](),
    "display": {"errors"},
    "asked": set[str](),
    "config": BASE,
    "stream": BASE | {"config"},
    "net": BASE | {"config", "stream"},
    "features": {"errors", "values"},
    "view": BASE,
    "lake": BASE | {"config", "stream", "features", "view", "display", "asked"},
    "replay": BASE | {"config", "stream", "net", "lake"},
    "exports": BASE | {"config", "lake"},
    "history": BASE | {"config", "net", "lake"},
    "feed": BASE | {"config", "stream", "net", "lake", "replay", "display"},
    "serve": BASE | {"config", "stream", "net", "lake", "replay", "feed"},
    "widget": BASE | {"config", "stream", "net", "lake", "replay", "feed", "serve", "display"},
    "record": BASE | {"config", "stream", "net", "features", "lake", "history"},
    "exchange": BASE | {"config", "stream", "net"},
    "trade": BASE | {"config", "stream", "net", "features", "view", "lake", "replay", "feed", "exchange"},
    "compare": BASE | {"config", "stream", "net", "features", "lake", "feed", "exchange"},
    "cli": BASE
    | {
        "config",
        "stream",
        "net",
        "features",
        "view",
        "lake",
        "replay",
        "exports",
        "history",
        "feed",
        "serve",
        "record",
        "exchange",
        "compare",
        "trade",
    },
}
"""The rooms that a room may use, beside itself and the extension. ARCHITECTURE.md draws the same picture."""


def modules() -> dict[str, Path]:
    """Every module of the package by its name without ``krakpot.``; the package itself is the empty name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def targets(node: ast.stmt, known: set[str]) -> Iterator[str]:
    """Modules of the package that an import statement names."""
    if isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
        package, _, inner = node.module.partition(".")
        if package == "krakpot":
            for alias in node.names:
                name = f"{inner}.{alias.name}" if inner else alias.name
                yield name if name in known else inner
    elif isinstance(node, ast.Import):
        for alias in node.names:
            package, _, inner = alias.name.partition(".")
            if package == "krakpot":
                yield inner


def imports() -> dict[str, dict[str, int]]:
    """For each module the modules of the package that it imports, each with a line that does."""
    known = modules()
    found: dict[str, dict[str, int]] = {name: {} for name in known}
    for name, path in known.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                assert not getattr(node, "level", 0), f"{path}:{node.lineno}: imports name the whole path"
                for target in targets(node, set(known)):
                    found[name].setdefault(target, node.lineno)
    return found


def room(module: str) -> str:
    """The room of a module, or its own name at the top."""
    return module.partition(".")[0]


def test_rooms_keep_to_their_walls() -> None:
    """No module imports from a room that its own may not use."""
    found = imports()
    arrows = [(name, target, line) for name, targets in found.items() for target, line in targets.items()]
    assert len(arrows) > IMPORTS_MIN
    inside = {name for name in found if room(name) not in {"", "__main__"}}
    assert {room(name) for name in inside} == ALLOWED.keys(), "a room without a rule, or a rule without a room"
    wrong = [
        f"{name} imports {target or 'krakpot'} (line {line})"
        for name, target, line in arrows
        if name in inside
        and room(target) != room(name)
        and room(target) not in ALLOWED[room(name)]
        # Every room may use the extension and the version.
        and target not in {"", "_core"}
    ]
    assert not wrong


def test_no_module_uses_the_front_door() -> None:
    """Inside, names come from the file that defines them: ``from krakpot import Lake`` is for users."""
    looked = 0
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "krakpot":
                looked += 1
                allowed = {"_core", "__version__"} | set(modules())
                taken = {alias.name for alias in node.names}
                assert taken <= allowed, f"{name}: {sorted(taken - allowed)} of the package itself"
    assert looked > 10


def test_there_are_no_circles() -> None:
    """Modules can be put into an order in which each one uses only those before it."""
    graph = {name: set(targets) - {name, ""} for name, targets in imports().items() if name}
    assert len(graph) > 40
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail("a circle: " + " → ".join(reversed(error.args[1])))
    assert len(order) >= len(graph)


def test_rooms_have_no_code_of_their_own() -> None:
    """The ``__init__`` of a room has only a docstring: nobody would look for code there."""
    rooms = sorted(PACKAGE.glob("*/__init__.py"))
    assert len(rooms) > 5
    for path in rooms:
        body = ast.parse(path.read_text()).body
        assert len(body) == 1, path
        assert isinstance(body[0], ast.Expr), path
