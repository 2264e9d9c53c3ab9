"""A browser for all tests of a module, and an empty page for each."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from browser import Browser, Page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests of a module."""
    with Browser() as found:
        yield found


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page; whatever a test does, nothing may go wrong in it, and it asks no other host for anything."""
    found = browser.page()
    yield found
    hosts = {re.split(r"[/:]+", url)[1] for url in found.requests if not url.startswith(("data:", "about:"))}
    found.close()
    assert found.errors == []
    assert hosts == {"127.0.0.1"}
