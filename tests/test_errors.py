"""Errors have facts first and paths last, and form the tree that the module's docstring draws."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import krakpot
from krakpot import errors


def classes() -> dict[str, type[Exception]]:
    """Error classes of the module."""
    return {name: found for name, found in inspect.getmembers(errors, inspect.isclass) if issubclass(found, Exception)}


def test_the_page_draws_the_tree_as_it_is() -> None:
    """Each class is in the docstring, below its base."""
    drawn = re.findall(
        r"^    ((?:│   |    )*(?:├── |└── )?)(\w+)", inspect.cleandoc(errors.__doc__ or ""), re.MULTILINE
    )
    assert len(drawn) == len(classes()) >= 6
    above: list[str] = []
    for stem, name in drawn:
        level = len(stem) // 4
        base = classes()[name].__bases__[0]
        assert base.__name__ == (above[level - 1] if level else "Exception")
        above[level:] = [name]


@pytest.mark.parametrize(("number", "text"), [(0, "0 days"), (1, "1 day"), (2, "2 days"), (1234, "1,234 days")])
def test_counts_for_people(number: int, text: str) -> None:
    """The plural where there is not one."""
    assert errors.counted(number, "day") == text
    assert errors.counted(number, "entry", "entries") == text.replace("days", "entries").replace("day", "entry")


def test_errors_carry_their_facts() -> None:
    """Attributes for programs, one sentence for people."""
    lost = errors.ConnectionLost(3, "refused")
    assert (lost.attempts, lost.last_error) == (3, "refused")
    # The cause, and what to do about it.
    cure = "check the address (url), the network and the proxy, or try again later"
    assert str(lost) == f"no connection after 3 attempts: refused; {cure}"
    full = errors.StorageError("the disk is full", Path("lake"))
    assert (full.path, str(full)) == (Path("lake"), "the disk is full: lake")
    assert isinstance(errors.NoLake("not one", Path("x")), errors.StorageError)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("in words alone"), "in words alone"),
        (ConnectionResetError(), "Connection reset by peer"),
        (BrokenPipeError(), "Broken pipe"),
        (TimeoutError(), "Connection timed out"),
        (OSError(), "OSError"),
        (MemoryError(), "MemoryError"),
        (ValueError("two\nlines"), "two lines"),
        (ValueError(" "), "ValueError"),
    ],
)
def test_every_error_has_words(error: Exception, words: str) -> None:
    """An error of another library is one line; one without a text is named by its type."""
    assert errors.words_of(error) == words


@pytest.mark.parametrize("name", krakpot.__all__)
def test_what_the_package_offers_is_there(name: str) -> None:
    """Every name of ``krakpot.__all__``, imported on first use."""
    found = getattr(krakpot, name)
    assert found is not None
    if name in classes():
        assert found is classes()[name]


def test_what_is_not_offered_is_an_attribute_error() -> None:
    """As Python says it of any module."""
    with pytest.raises(AttributeError, match="module 'krakpot' has no attribute 'record_everything'"):
        krakpot.record_everything  # noqa: B018  # the access is the test


def test_dir_shows_what_is_offered_and_nothing_else() -> None:
    """Not the imports of the module, nor the rooms that were imported meanwhile."""
    code = (
        "import krakpot\n"
        "for name in krakpot.__all__: getattr(krakpot, name)\n"
        "print([n for n in dir(krakpot) if not n.startswith('_')] == [n for n in krakpot.__all__ if n[0] != '_'])\n"
        "print('__version__' in dir(krakpot), '__doc__' in dir(krakpot))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert found.stdout.split() == ["True"] * 3


def test_the_front_door_is_light() -> None:
    """Neither the package nor a feed loads Polars or PyArrow, which take longer than all the rest."""
    code = (
        "import sys, krakpot; krakpot.Feed; krakpot.LiveOrders; krakpot.KrakpotError\n"
        "print(sorted({'polars', 'pyarrow', 'numpy', 'rich', 'click'} & set(sys.modules)))\n"
        "krakpot.Lake; print('polars' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert found.stdout.splitlines() == ["[]", "True"]


def test_every_public_name_says_what_it_is() -> None:
    """``dir`` names all of them before any is imported, and each class and function has a docstring."""
    names = [name for name in krakpot.__all__ if name != "__version__"]
    assert len(names) > 40
    assert set(names) <= set(dir(krakpot))
    for name in names:
        found = getattr(krakpot, name)
        if inspect.isclass(found) or inspect.isfunction(found):
            assert (found.__doc__ or "").strip(), name
