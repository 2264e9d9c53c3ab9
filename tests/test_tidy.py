"""The repository checks itself.

Each check first asserts that it found something to check: a check that sees nothing would pass.
"""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pyarrow as pa
import pytest

from krakpot import _core
from krakpot.cli.main import main

ROOT = Path(__file__).resolve().parent.parent
BYTES_MAX = 500_000
LEFTOVERS = ("FIX" + "ME", "TO" + "DO", "XX" + "X")
"""Words that mark unfinished work; in two pieces, so that this file holds none of them."""
MACHINES = re.compile("|".join(map(re.escape, ("/ho" + "me/", "/ro" + "ot/", "/wo" + "rk/", "/Us" + "ers/"))))
"""Folders of somebody's machine."""


def kept_files() -> list[Path]:
    """Files that git knows or would add; in an unpacked sdist, where git knows nothing, the test cannot run."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    found = subprocess.run(command, capture_output=True, check=False)
    if found.returncode:
        pytest.skip("not a git repository: what belongs to it is not known")
    paths = [ROOT / name for name in found.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def texts() -> dict[Path, str]:
    """Text files of the repository."""
    found = {}
    for path in kept_files():
        data = path.read_bytes()
        # Inputs of fuzzing are arbitrary bytes.
        if b"\0" not in data and "seeds" not in path.parts:
            found[path.relative_to(ROOT)] = data.decode()
    return found


def columns_of(page: str, table: str) -> list[tuple[str, str, str]]:
    """Name, type and meaning of each column in the section of a table."""
    section = re.search(rf"^## {table}\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    assert section, f"docs/reference/tables.md has a section {table}"
    lines = section[1].split("| column | type | unit | meaning |\n| --- | --- | --- | --- |\n")[1].split("\n\n")[0]
    cells = [re.split(r"\s*\|\s*", line.strip("| ")) for line in lines.splitlines()]
    return [(name, kind, meaning) for name, kind, _, meaning in cells]


def test_every_module_has_its_tests() -> None:
    """The tests of python/krakpot/<room>/x.py are in tests/<room>/test_x.py."""
    package = ROOT / "python/krakpot"
    modules = [path.relative_to(package) for path in package.rglob("*.py") if not path.stem.startswith("__")]
    assert len(modules) > 10
    missing = [str(path) for path in modules if not (ROOT / "tests" / path.parent / f"test_{path.stem}.py").exists()]
    assert not missing, f"modules without tests/<room>/test_<module>.py: {', '.join(sorted(missing))}"


def test_every_public_name_of_the_extension_is_in_the_stub() -> None:
    """The stub is the reference of the extension, so it leaves nothing out; members of classes too."""
    tree = ast.parse((ROOT / "python/krakpot/_core.pyi").read_text())
    named: dict[str, set[str]] = {}
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            named[node.target.id] = set()
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            members = node.body if isinstance(node, ast.ClassDef) else []
            named[node.name] = {member.name for member in members if isinstance(member, ast.FunctionDef)}
            constants = (member.target for member in members if isinstance(member, ast.AnnAssign))
            named[node.name] |= {target.id for target in constants if isinstance(target, ast.Name)}
    public = [name for name in dir(_core) if not name.startswith("_")]
    assert len(public) > 8
    assert sorted(set(public) - set(named)) == []
    for name in public:
        value = getattr(_core, name)
        if isinstance(value, type):
            public_members = {member for member in vars(value) if not member.startswith("_")}
            assert public_members <= named[name], f"{name}: the stub lacks {sorted(public_members - named[name])}"


def test_every_class_of_the_extension_is_frozen() -> None:
    """Python may hold an object in several threads: what is not frozen needs a comment that says why that is safe."""
    found = 0
    for path in sorted((ROOT / "rust/py/src").glob("*.rs")):
        lines = path.read_text().splitlines()
        for i, line in enumerate(lines):
            if line.startswith("#[pyclass"):
                found += 1
                excused = "frozen" in line or lines[i - 1].startswith("// Not frozen")
                assert excused, f"{path.relative_to(ROOT)}:{i + 1}: neither frozen nor excused by `// Not frozen: …`"
    assert found >= 5


def test_unsafe_code_is_in_two_files() -> None:
    """The borders to Arrow and to compiled strategies are made of pointers. Each block says why it is sound."""
    found = {}
    for path in sorted((ROOT / "rust").rglob("*.rs")):
        code = re.sub(r"//.*|\"(?:[^\"\\]|\\.)*\"", "", path.read_text())
        if "target" not in path.relative_to(ROOT).parts and re.search(r"\bunsafe\b", code):
            found[str(path.relative_to(ROOT))] = path.read_text()
    # Besides it only the line by which Godot finds the extension, in a workspace of its own.
    borders = ["rust/py/src/arrow.rs", "rust/py/src/compiled.rs"]
    assert list(found) == ["rust/godot/src/entry.rs", *borders]
    for text in (found[path] for path in borders):
        assert 0 < len(re.findall(r"\bunsafe \{", text)) <= text.count("// SAFETY: ")
    assert re.search(r"^unsafe_code = \"deny\"$", (ROOT / "Cargo.toml").read_text(), re.MULTILINE)


def test_the_threat_model_names_tests_that_exist() -> None:
    """Each claim of SECURITY.md names its tests, and they exist."""
    named = set(re.findall(r"`((?:tests|rust|deploy)/[\w./]+)`", (ROOT / "SECURITY.md").read_text()))
    assert len(named) > 10
    assert not sorted(name for name in named if not (ROOT / name).exists())


def test_no_file_is_large() -> None:
    """Recordings and pictures do not belong into the repository."""
    sizes = {path.relative_to(ROOT): path.stat().st_size for path in kept_files()}
    assert len(sizes) > 50
    assert not {path: size for path, size in sizes.items() if size > BYTES_MAX}


def test_nothing_is_left_over() -> None:
    """No file has marks of unfinished work, and what was replaced is deleted: git remembers it."""
    found = texts()
    assert len(found) > 50
    marked = [str(path) for path, text in found.items() if any(re.search(rf"\b{word}\b", text) for word in LEFTOVERS)]
    assert not marked
    old = [str(path) for path in found if re.search(r"[_-]old$|\.(orig|rej|bak)$", path.stem + path.suffix)]
    assert not old + [str(path) for path in found if any(part.endswith(("_old", "-old")) for part in path.parts)]


def test_no_file_names_a_machine() -> None:
    """No file has a path of somebody's machine."""
    found = texts()
    assert len(found) > 50
    assert not [f"{path}: {match[0]}" for path, text in found.items() if (match := MACHINES.search(text))]


def test_the_page_of_tables_equals_the_schema() -> None:
    """docs/reference/tables.md has the tables and columns of the extension, with their types, in their order."""
    page = (ROOT / "docs/reference/tables.md").read_text()
    assert len(_core.TABLES) >= 10
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == list(_core.TABLES)
    for table in _core.TABLES:
        schema = pa.schema(_core.schema(table))
        told = columns_of(page, table)
        assert [(name, kind) for name, kind, _ in told] == [(field.name, str(field.type)) for field in schema]
        for (name, _, meaning), field in zip(told, schema, strict=True):
            assert meaning, f"{table}.{name} has a meaning"
            assert field.nullable or "null" not in meaning, f"{table}.{name} is never null"


def test_every_exception_to_a_rule_has_its_reason() -> None:
    """A lint that is switched off, a type that is not checked, a test that is skipped: the line says why."""
    rules: dict[str, list[tuple[re.Pattern[str], re.Pattern[str] | None]]] = {
        ".py": [
            (re.compile(r"#\s*noqa(?!: [A-Z]+\d+(, [A-Z]+\d+)*  # \S)"), re.compile(r"#\s*noqa")),
            (re.compile(r"#\s*type: ignore(?!\[[a-z, -]+\]  # \S)"), re.compile(r"#\s*type: ignore")),
        ],
        ".rs": [
            (re.compile(r"#!?\[(allow|expect)\((?![^]]*reason = \")", re.DOTALL), re.compile(r"#!?\[(allow|expect)\(")),
            (re.compile(r"#\[ignore(?! = \")"), None),
        ],
    }
    subjects = {".py": 0, ".rs": 0}
    wrong = []
    for path, text in texts().items():
        # This file names the marks without using them.
        if path.suffix not in rules or path.name == Path(__file__).name:
            continue
        for bad, any_use in rules[path.suffix]:
            subjects[path.suffix] += len(any_use.findall(text)) if any_use else 0
            wrong += [f"{path}:{text.count(chr(10), 0, match.start()) + 1}" for match in bad.finditer(text)]
    assert min(subjects.values()) > 5, subjects
    assert not wrong
    ignores = re.findall(r"^    \"[A-Z]+\d+\",(.*)$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert len(ignores) > 10
    assert all(re.fullmatch(r"\s+# \S.*", rest) for rest in ignores)
    banned = re.findall(r"^    \{ path = .*\},$", (ROOT / "clippy.toml").read_text(), re.MULTILINE)
    assert len(banned) > 20
    assert all('reason = "' in line for line in banned)


def test_commands_that_the_pages_name_exist() -> None:
    """Each command line in a page is valid: the command exists, with these options."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "CONTRIBUTING.md"]
    use = re.compile(r"(?:^|[`$ /])krakpot ([a-z-]+)((?: +(?:[^\s`|]+|'[^']*'))*)", re.MULTILINE)
    used = [
        (page.name, match[1], re.findall(r"(?<= )--?[a-z][a-z0-9-]*", match[2]))
        for page in pages
        for match in use.finditer(page.read_text())
        if match[1] in main.commands
    ]
    assert {"demo", "record", "verify"} <= {command for _, command, _ in used}
    table = (ROOT / "README.md").read_text()
    assert set(re.findall(r"^\| `krakpot ([a-z-]+)", table, re.MULTILINE)) == set(main.commands), (
        "README's table of commands"
    )
    for page_name, command, options in used:
        found = main.commands[command]
        # Of a group the options of its commands, which the words between do not tell apart.
        all_ = [found, *getattr(found, "commands", {}).values()]
        known = {name for one in all_ for parameter in one.params for name in parameter.opts} | {"-h", "--help"}
        assert set(options) <= known, f"{page_name}: krakpot {command} has no {sorted(set(options) - known)}"


def test_make_targets_that_the_pages_name_exist() -> None:
    """`make x` of a page is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"all", "demo", "test", "check"} <= targets
    pages = "".join((ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"))
    named = set(re.findall(r"`make ([a-z-]+)`|^make ([a-z-]+)$", pages, re.MULTILINE))
    assert named
    assert {a or b for a, b in named} <= targets


def test_files_that_the_architecture_names_exist() -> None:
    """Each file that ARCHITECTURE.md and CONTRIBUTING.md name exists."""
    paths = []
    for page in ("ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"):
        text = (ROOT / page).read_text()
        paths += re.findall(r"`((?:rust|python|tests|docs|bench|\.ci)/[\w./-]*)`", text)
        paths += [target for target in re.findall(r"\]\(([^)#:]+)\)", text) if "://" not in target]
    assert len(paths) > 20
    assert not sorted({path for path in paths if not (ROOT / path).exists() and "x.py" not in path})
