"""Licences of what krakpot depends on: read as SPDX means them, and all of them allowed."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def audit(program: Callable[[str], ModuleType]) -> ModuleType:
    """The program of `make audit`."""
    return program(".ci/audit.py")


@pytest.mark.parametrize(
    ("expression", "fine"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True),
        ("GPL-3.0-only OR MIT", True),
        ("MIT AND GPL-3.0-only", False),
        ("GPL-3.0-only AND MIT", False),
        ("MIT/Apache-2.0", True),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", True),
        ("(MIT OR Apache-2.0) AND GPL-3.0-only", False),
        ("MIT OR Apache-2.0 AND GPL-3.0-only", True),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("MIT WITH some-exception", False),
    ],
)
def test_licences_are_read_as_spdx_means_them(audit: ModuleType, expression: str, fine: bool) -> None:
    """AND binds more than OR; an exception is part of its licence."""
    assert audit.allowed(expression) == fine


@pytest.mark.parametrize("expression", ["", "MIT OR", "(MIT", "MIT)", "AND MIT", "MIT Apache-2.0", "MIT WITH"])
def test_what_is_no_expression_is_not_taken_for_one(audit: ModuleType, expression: str) -> None:
    """A licence that is missing or incomplete is not guessed."""
    with pytest.raises(ValueError):
        audit.allowed(expression)


def test_every_dependency_has_an_allowed_licence(audit: ModuleType) -> None:
    """Of Rust by the lock file, of Python as installed; both are found."""
    for packages, known in ((audit.rust(), "simd-json"), (audit.python(), "polars")):
        assert len(packages) > 10
        assert any(name.startswith(f"{known} ") for name in packages)
        assert not {name: licence for name, licence in packages.items() if not audit.allowed(licence)}


@pytest.fixture
def alone(audit: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Without dependencies and without tools."""
    monkeypatch.setattr(audit, "python", dict)
    monkeypatch.setattr(audit, "rust", dict)
    monkeypatch.setattr(audit.shutil, "which", lambda program, path=None: None)
    return audit


def test_a_licence_that_is_not_allowed_is_found(
    alone: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, with its name; tools that are not installed are said to be left out, and are no failure."""
    monkeypatch.setattr(alone, "rust", lambda: {"good 1.0": "MIT"})
    assert alone.main() == 0
    assert "advisories, Python: left out; pip-audit is not installed" in capsys.readouterr().out
    monkeypatch.setattr(alone, "rust", lambda: {"good 1.0": "MIT", "sour 2.0": "GPL-3.0-only", "mute 3.0": ""})
    assert alone.main() == 1
    out = capsys.readouterr().out
    assert "wrong: Rust: sour 2.0: licence 'GPL-3.0-only'" in out
    assert "wrong: Rust: mute 3.0: licence 'not told'" in out


@pytest.mark.parametrize("code", [0, 1])
def test_what_cargo_finds_is_found(alone: ModuleType, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """The audit reports what cargo-deny finds."""
    monkeypatch.setattr(alone.shutil, "which", lambda program, path=None: program if program == "cargo-deny" else None)
    done = alone.subprocess.CompletedProcess([], code)
    monkeypatch.setattr(alone.subprocess, "run", lambda *args, **options: done)
    assert alone.main() == code


@pytest.mark.parametrize(
    ("out", "code", "words"),
    [
        ('{"dependencies":[{"name":"a","version":"1","vulns":[]},{"name":"b","skip_reason":"x"}]}', 0, ": 1 of 2 pack"),
        ('{"dependencies":[{"name":"a","version":"1","vulns":[{"id":"CVE-1"}]}]}', 1, "wrong: Python: a 1: CVE-1"),
        ("", 0, "left out; pip-audit: no network"),
    ],
)
def test_what_pip_audit_finds_is_found(
    alone: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    out: str,
    code: int,
    words: str,
) -> None:
    """Its holes, and how many packages it could look up at all: it is content with none."""
    monkeypatch.setattr(alone.shutil, "which", lambda program, path=None: program if program == "pip-audit" else None)
    done = alone.subprocess.CompletedProcess([], 0, out, "warning\nno network\n")
    monkeypatch.setattr(alone.subprocess, "run", lambda *args, **options: done)
    assert alone.main() == code
    assert words in capsys.readouterr().out
