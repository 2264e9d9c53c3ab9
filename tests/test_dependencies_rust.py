"""Rust files use only modules above them: the order of the ``mod`` lines is the order of reading.

A file uses only modules that the ``mod`` lines above its own name, within a room as well as between rooms; a module may
use its own submodules. So no two files use each other. The core crate knows no Arrow and has no features; the built-in
exchange does not know the core, so that the two check each other.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CRATES = {
    "core": "rust",
    "lake": "rust/lake",
    "exchange": "rust/exchange",
    "trade": "rust/trade",
    "py": "rust/py",
    "wasm": "rust/wasm",
    "fuzz": "rust/fuzz",
    "godot": "rust/godot",
}
FORBIDDEN = {
    "core": ("arrow", "krakpot_lake", "krakpot_exchange", "pyo3"),
    "lake": ("krakpot_exchange", "pyo3"),
    "exchange": ("krakpot_core", "krakpot_lake", "arrow", "pyo3"),
    "trade": ("arrow", "krakpot_lake", "krakpot_exchange", "pyo3"),
    "wasm": ("pyo3",),
    "godot": ("pyo3", "krakpot_lake", "arrow", "wasm_bindgen"),
}
"""What the sources of a crate never name."""

Module = tuple[str, ...]
"""A module by its path in the crate; the crate itself is ()."""


@dataclass(frozen=True)
class Use:
    """One path in one file."""

    file: Path
    module: Module
    path: Module
    """The path that it names, from the crate's root."""


def code(path: Path) -> str:
    """The source without comments, texts and characters."""
    source = path.read_text(encoding="utf-8")
    source = re.sub(r'r(#+)".*?"\1|"(?:[^"\\]|\\.)*"', '""', source, flags=re.DOTALL)
    return re.sub(r"//[^\n]*", "", source)


def module_of(path: Path, source: Path) -> Module:
    """The module that a file is."""
    parts = path.relative_to(source).with_suffix("").parts
    return parts[:-1] if parts[-1] in ("mod", "lib") else parts


def files(crate: str) -> dict[Module, Path]:
    """The modules of a crate and their files; a program beside the library is none of them."""
    source = ROOT / CRATES[crate] / "src"
    return {module_of(path, source): path for path in sorted(source.rglob("*.rs")) if path.name != "main.rs"}


def order(crate: str) -> dict[Module, int]:
    """The place of each module among the ``mod`` lines of its parent."""
    places: dict[Module, int] = {}
    for module, path in files(crate).items():
        for place, name in enumerate(re.findall(r"^\s*(?:pub(?:\([^)]*\))? )?mod (\w+);", code(path), re.MULTILINE)):
            places[(*module, name)] = place
    return places


def expanded(text: str, at: int) -> tuple[list[Module], int]:
    """The paths of a use tree that begins at a place, and where it ends: ``a::{b, c::d}`` are a.b and a.c.d."""
    if text.startswith("{", at):
        paths: list[Module] = []
        at += 1
        while not text.startswith("}", at):
            inner, at = expanded(text, at)
            paths += inner
            at = re.compile(r"[\s,]*").match(text, at).end()  # type: ignore[union-attr]  # matches everywhere
        return paths, at + 1
    word = re.compile(r"\s*(\w+|\*)(?:\s+as\s+\w+)?").match(text, at)
    if word is None:
        return [()], at
    if text.startswith("::", word.end()) and not text.startswith("::<", word.end()):
        rest, end = expanded(text, word.end() + 2)
        return [(word[1], *path) for path in rest], end
    return [(word[1],)], word.end()


def uses(crate: str) -> Iterator[Use]:
    """Every path of the crate's own modules, in all its files."""
    known = files(crate)
    for own, path in known.items():
        text = code(path)
        # A file of tests belongs to the module that it tests.
        tests = own[-1:] == ("tests",)
        module = own[:-1] if tests else own
        for match in re.finditer(r"(?<![\w:])(crate|super|self)::", text):
            found, _ = expanded(text, match.start())
            for written in found:
                base: Module = () if written[0] == "crate" else module
                rest = written[1:] if written[0] in ("crate", "self") else written
                # A test module at the foot of a file is inside of it: its first `super` is the file.
                inside = tests or "#[cfg(test)]" in text[: match.start()]
                levels = [name for name in rest if name == "super"]
                base = base[: len(base) - len(levels) + (1 if inside and levels else 0)]
                yield Use(path, module, base + tuple(name for name in rest if name != "super"))


def wrong(crate: str, use: Use, places: dict[Module, int]) -> str | None:
    """Why a use is not allowed."""
    target = max((use.path[:length] for length in range(len(use.path) + 1) if use.path[:length] in places), default=())
    shared = 0
    while shared < min(len(target), len(use.module)) and target[shared] == use.module[shared]:
        shared += 1
    if shared == len(use.module):
        return None
    if shared == len(target):
        # Of a parent only constants: they use nothing.
        item = use.path[len(target)] if len(use.path) > len(target) else ""
        return None if re.fullmatch(r"[A-Z][A-Z0-9_]*", item) else f"uses {item or 'all'} of its parent"
    one, other = use.module[: shared + 1], target[: shared + 1]
    if places[other] < places[one]:
        return None
    return f"uses {'::'.join(target)}, whose mod line is below that of {'::'.join(one)}"


@pytest.mark.parametrize("crate", CRATES)
def test_files_use_only_what_is_above_them(crate: str) -> None:
    """Every path that begins with crate, super or self, tests at the foot of files included."""
    places = order(crate)
    found = list(uses(crate))
    least = {"core": 250, "lake": 10, "exchange": 60, "py": 40, "wasm": 25, "fuzz": 12, "godot": 25, "trade": 8}[crate]
    assert len(found) > least, f"only {len(found)} uses were seen"
    declared = {module for module in files(crate) if module}
    unknown = {module for module in declared if module not in places and module[-1] != "tests"}
    assert not unknown, f"files without a mod line: {unknown}"
    faults = [
        f"{use.file.relative_to(ROOT)}: {reason}" for use in found if (reason := wrong(crate, use, places)) is not None
    ]
    assert not faults, "\n".join(sorted(set(faults)))


@pytest.mark.parametrize("crate", FORBIDDEN)
def test_crates_do_not_know_each_other(crate: str) -> None:
    """Neither their sources nor their manifests name what they must not know."""
    sources = files(crate)
    assert len(sources) > 4
    for path in sources.values():
        text = code(path)
        named = [name for name in FORBIDDEN[crate] if re.search(rf"\b{name}", text)]
        assert not named, f"{path.relative_to(ROOT)} names {named}"
    manifest = tomllib.loads((ROOT / CRATES[crate] / "Cargo.toml").read_text(encoding="utf-8"))
    dependencies = [name.replace("-", "_") for name in manifest["dependencies"]]
    assert dependencies or crate == "exchange"
    assert not [name for name in dependencies if name.startswith(FORBIDDEN[crate])]


def test_the_core_has_no_features() -> None:
    """The core has no features, so every build of it is the same."""
    manifest = tomllib.loads((ROOT / "rust" / "Cargo.toml").read_text(encoding="utf-8"))
    assert "features" not in manifest
    assert not [path for path in files("core").values() if re.search(r"\bfeature\s*=", code(path))]


def test_no_file_of_the_core_is_long() -> None:
    """A file that is too long to read at once has several ideas."""
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files("core").values()}
    assert len(lengths) > 30
    assert not {path: length for path, length in lengths.items() if length > 900}


def test_the_test_sees_a_use_of_what_is_below() -> None:
    """Each kind of fault is found in made-up uses."""
    places = {("wire",): 0, ("book",): 1, ("book", "digits"): 0, ("book", "level2"): 1}
    file = ROOT / "rust/src/wire/x.rs"

    def found(module: Module, path: Module) -> str | None:
        return wrong("core", Use(file, module, path), places)

    assert found(("wire",), ("book", "level2", "Book")) is not None
    assert found(("book", "digits"), ("book", "level2", "Book")) is not None
    assert found(("book", "digits"), ("book", "Levels")) is not None
    assert found(("book", "digits"), ("book", "DEPTH")) is None
    assert found(("book", "level2"), ("book", "digits", "Level")) is None
    assert found(("book",), ("book", "level2", "Book")) is None
    assert found((), ("wire", "message")) is None
    assert expanded("crate::a::{self, b::{C, D as E}, f}", 0)[0] == [
        ("crate", "a", "self"), ("crate", "a", "b", "C"), ("crate", "a", "b", "D"), ("crate", "a", "f"),
    ]  # fmt: skip
