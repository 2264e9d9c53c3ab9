"""Posts standard input to an address, as JSON: the hook of an alert, in a process of its own.

``python -m krakpot.record.post`` takes the address from a variable, because it may be a secret, and the proxy from the
usual ones. Exit code 1 and one line on standard error if it was not accepted.
"""

from __future__ import annotations

import http.client
import os
import ssl
import sys
from contextlib import closing
from urllib.parse import urlsplit

from krakpot.errors import KrakpotError, words_of
from krakpot.net.proxy import chosen, tunnel

ADDRESS = "KRAKPOT_ALERT_ADDRESS"
TIMEOUT = 10.0
"""Seconds for each step."""
HEADERS = {"Content-Type": "application/json", "User-Agent": "krakpot"}
SUCCESS = range(200, 300)


def post(url: str, body: bytes) -> str:
    """Post ``body``; returns why it was not accepted, or an empty text. The address is not in it."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        proxy = chosen(host)
        tls = ssl.create_default_context() if parts.scheme == "https" else None
        connection = http.client.HTTPConnection(host, port or http.client.HTTP_PORT, timeout=TIMEOUT)
        if tls is not None:
            connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=tls)
        with closing(connection):
            if proxy is not None:
                sock = tunnel(proxy, host, connection.port, TIMEOUT)
                connection.sock = sock if tls is None else tls.wrap_socket(sock, server_hostname=host)
            connection.request("POST", path, body, HEADERS)
            with connection.getresponse() as response:
                return "" if response.status in SUCCESS else f"it answered HTTP {response.status} {response.reason}"
    except KrakpotError as error:
        return str(error)
    except ssl.SSLCertVerificationError as error:
        return f"its certificate was not accepted: {error.verify_message}"
    except (OSError, http.client.HTTPException) as error:
        return f"the connection failed: {words_of(error)}"


def main() -> int:
    """Post, and say whether it was accepted."""
    problem = post(os.environ[ADDRESS], sys.stdin.buffer.read())
    if problem:
        sys.stderr.write(f"{problem}\n")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
