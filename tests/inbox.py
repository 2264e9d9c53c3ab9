"""A web server that alerts are posted to."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Inbox:
    """A web server that keeps what is posted to it; ``status`` is its answer."""

    def __init__(self) -> None:
        """It answers 200."""
        self.alerts: list[dict[str, Any]] = []
        self.status = 200
        self.hang = threading.Event()
        self.url = ""

    def kinds(self) -> list[str]:
        """Kinds of the alerts that came."""
        return [one["kind"] for one in self.alerts]


@contextmanager
def inbox(tls: ssl.SSLContext | None = None) -> Iterator[Inbox]:
    """Serve an inbox meanwhile."""
    found = Inbox()
    found.hang.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.path == "/hook?secret=1"
            assert self.headers["Content-Type"] == "application/json"
            found.hang.wait()
            if found.status == 200:
                found.alerts.append(body)
            self.send_response(found.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    scheme = "http" if tls is None else "https"
    found.url = f"{scheme}://127.0.0.1:{server.server_address[1]}/hook?secret=1"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield found
    finally:
        found.hang.set()
        server.shutdown()
        server.server_close()
