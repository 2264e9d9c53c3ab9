"""Chromium, driven over its own protocol: what a person would do with a page, and what the page says of itself."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new",
    "--remote-debugging-port=0",
    "--no-sandbox",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--mute-audio",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
)
SOFTWARE = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
"""WebGL without a graphics card."""
KEYS = {" ": ("Space", 32), "Enter": ("Enter", 13), "Escape": ("Escape", 27), "ArrowLeft": ("ArrowLeft", 37)}
KEYS |= {"ArrowUp": ("ArrowUp", 38), "ArrowRight": ("ArrowRight", 39), "ArrowDown": ("ArrowDown", 40)}
KEYS |= {
    "Home": ("Home", 36),
    "End": ("End", 35),
    "PageDown": ("PageDown", 34),
    "PageUp": ("PageUp", 33),
    "Tab": ("Tab", 9),
}


def chromium() -> str:
    """The browser; a test that needs it is skipped where it is not: only the system's packages bring it."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium is found: apt-get install --no-install-recommends chromium")
    return found


class Browser:
    """One process of the browser."""

    def __init__(self, *flags: str) -> None:
        """Start it, with more flags."""
        self._home = tempfile.mkdtemp(prefix="krakpot-browser-")
        command = [chromium(), *FLAGS, *(flags or SOFTWARE), f"--user-data-dir={self._home}", "about:blank"]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if found := re.search(r"DevTools listening on (ws://\S+)", line):
                break
        else:
            pytest.fail("Chromium did not start")
        # What it says later is thrown away: a full pipe would stop it.
        self._drain = subprocess.Popen(["cat"], stdin=self._process.stderr, stdout=subprocess.DEVNULL)
        self._stack = contextlib.ExitStack()
        # Without pings, which a thread draws from the random numbers that hypothesis watches in other tests.
        connection = connect(found[1], max_size=None, compression=None, ping_interval=None)
        self._socket: ClientConnection = self._stack.enter_context(connection)
        self._numbers = itertools.count(1)
        self.pages: dict[str, Page] = {}

    def call(self, method: str, session: str | None = None, wait: float = 30, **params: Any) -> Any:
        """Call a method of the protocol, and take what comes meanwhile."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        self._socket.send(json.dumps(message))
        end = time.monotonic() + wait
        while True:
            answer = self._take(end - time.monotonic())
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _take(self, wait: float) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._socket.recv(timeout=max(wait, 0)))
        page = self.pages.get(found.get("sessionId", ""))
        if page is not None and "method" in found:
            page.heard(found["method"], found["params"])
        return found

    def listen(self, seconds: float) -> None:
        """Take what comes for a while."""
        end = time.monotonic() + seconds
        with contextlib.suppress(TimeoutError):
            while (left := end - time.monotonic()) > 0:
                self._take(left)

    def page(self, width: int = 1440, height: int = 860, *, dark: bool = True, phone: bool = False) -> Page:
        """Open an empty page."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self.pages[session] = Page(self, session, target)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.size(width, height, phone=phone)
        page.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}],
        )
        return page

    def close(self) -> None:
        """End it."""
        self._stack.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._drain.wait()
        assert self._process.stderr is not None
        self._process.stderr.close()
        shutil.rmtree(self._home, ignore_errors=True)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self.close()


class Page:
    """One page, and what went wrong in it."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        """Of a session of the protocol."""
        self.browser = browser
        self.session = session
        self.target = target
        self.errors: list[str] = []
        """Exceptions that nobody caught, errors on the console, refused by the policy of the page."""
        self.requests: list[str] = []
        """Addresses that it asked for."""

    def heard(self, method: str, params: dict[str, Any]) -> None:
        """Take an event."""
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in {"error", "assert", "warning"}:
            self.errors.append(" ".join(str(one.get("value", one.get("description"))) for one in params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in {"error", "warning"}:
            self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Network.webSocketCreated":
            self.requests.append(params["url"])

    def call(self, method: str, **params: Any) -> Any:
        """Call a method of the protocol."""
        return self.browser.call(method, self.session, **params)

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        """Set the size of the window."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone,
        )  # fmt: skip
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)

    def go(self, url: str) -> None:
        """Open an address."""
        self.run("window.before = true")
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && !window.before")

    def run(self, text: str) -> Any:
        """The value of an expression, after its promise."""
        found = self.call("Runtime.evaluate", expression=text, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, f"{text}: {found['exceptionDetails']}"
        return found["result"].get("value")

    def until(self, text: str, seconds: float = 30) -> Any:
        """Wait until an expression is true; its value."""
        end = time.monotonic() + seconds
        while not (found := self.run(text)):
            assert time.monotonic() < end, f"never true: {text}"
            self.browser.listen(0.05)
        return found

    def key(self, key: str, *, shift: bool = False) -> None:
        """Press a key."""
        code, number = KEYS.get(key, ("", ord(key.upper()[0])))
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        common = {"key": key, "code": code, "windowsVirtualKeyCode": number, "modifiers": 8 if shift else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def write(self, text: str) -> None:
        """Write into what has the focus."""
        for one in text:
            self.key(one)

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """Move or press the mouse."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def drag(self, x: float, y: float, to_x: float, to_y: float) -> None:
        """Press, move, let go."""
        self.mouse("mousePressed", x, y, button="left", buttons=1, clickCount=1)
        for step in range(1, 6):
            share = step / 5
            self.mouse("mouseMoved", x + (to_x - x) * share, y + (to_y - y) * share, button="left", buttons=1)
        self.mouse("mouseReleased", to_x, to_y, button="left", clickCount=1)

    def text(self, selector: str) -> str:
        """The text of an element."""
        return str(self.run(f"document.querySelector({json.dumps(selector)}).textContent"))

    def picture(self, path: Path) -> Path:
        """Write a screenshot."""
        data = self.call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))
        return path

    def close(self) -> None:
        """Close it."""
        self.browser.pages.pop(self.session, None)
        self.browser.call("Target.closeTarget", targetId=self.target)
