"""What all tests share: the folder of real recordings, programs in no package, and how hard hypothesis tries."""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

# Deadlines would time the machine, not the code.
settings.register_profile("small", max_examples=60, stateful_step_count=30, deadline=None)
# The whole check takes the same examples each time, so that it says something of the change it is run on; the others
# take new ones each time, and so find what it does not.
settings.register_profile(
    "large",
    max_examples=300,
    stateful_step_count=100,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)
settings.register_profile("quick", max_examples=15, stateful_step_count=20, deadline=None)
settings.load_profile({"all": "large", "quick": "quick"}.get(os.environ.get("KRAKPOT_TEST", ""), "small"))


# A shell starts its background jobs with Ctrl-C ignored, and nohup with SIGHUP; recorders in the tests would wait for
# it without an end.
for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of real recorded frames; tests that need it are skipped only where KRAKPOT_DATA is not set at all."""
    folder = os.environ.get("KRAKPOT_DATA")
    if not folder:
        pytest.skip("KRAKPOT_DATA does not name the folder of real recorded frames")
    path = Path(folder)
    missing = [name for name in ("recorded", "examples", "reference") if not (path / name).is_dir()]
    if missing:
        pytest.fail(f"KRAKPOT_DATA is {path}, which lacks {', '.join(missing)}")
    return path


@pytest.fixture(scope="session")
def program() -> Callable[[str], ModuleType]:
    """Load a program that is in no package, by its path in the project."""

    def load(name: str) -> ModuleType:
        path = Path(__file__).resolve().parent.parent / name
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Options of a recording that happen to be set on this machine decide no test."""
    for name in list(os.environ):
        if name.startswith("KRAKPOT_") and name not in {"KRAKPOT_DATA", "KRAKPOT_TEST"}:
            monkeypatch.delenv(name)
