"""Proxies of the environment (HTTPS_PROXY, ALL_PROXY, NO_PROXY), for the feed and for REST.

The proxy opens a tunnel to the exchange (HTTP CONNECT, or SOCKS 5 with the extra ``krakpot[socks]``). TLS goes through
the tunnel, so the proxy sees the exchange's address and encrypted bytes. Addresses of this machine are reached without
a proxy. A proxy's address may have a password; it is never shown.
"""

from __future__ import annotations

import base64
import os
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from krakpot.errors import FeedError, words_of
from krakpot.values import LOOPBACK

ANSWER_MAX = 16 << 10
"""Bytes of a proxy's answer."""
PORTS = {"http": 80, "socks5": 1080, "socks5h": 1080}
ALLOWED = "http://, socks5:// or socks5h://"


@dataclass(frozen=True)
class Proxy:
    """A proxy that the environment names."""

    scheme: str
    host: str
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        """Its address, without a password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def chosen(host: str, environment: Mapping[str, str] | None = None) -> Proxy | None:
    """Return the proxy for a host; None: connect directly. ``FeedError`` if the proxy cannot be used."""
    environment = os.environ if environment is None else environment
    found = {name.lower(): value for name, value in environment.items() if value and name.isupper()}
    # Lower case has priority, as in other programs.
    found |= {name: value for name, value in environment.items() if name.islower()}
    text = found.get("https_proxy") or found.get("all_proxy")
    if not text or host in LOOPBACK or _excepted(host, found.get("no_proxy", "")):
        return None
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port or PORTS.get(parts.scheme, 0)
        (parts.hostname or "").encode("idna")
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme not in PORTS or not parts.hostname or not port:
        sentence = f"HTTPS_PROXY or ALL_PROXY: a proxy must be {ALLOWED} with a host"
        raise FeedError(sentence)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return Proxy(parts.scheme, parts.hostname, port, user, password)


def _excepted(host: str, names: str) -> bool:
    """Whether NO_PROXY names the host or its domain."""
    given = [name.strip().lower().removeprefix("*").removeprefix(".") for name in names.split(",") if name.strip()]
    return any(not name or host.lower() == name or host.lower().endswith(f".{name}") for name in given)


def tunnel(proxy: Proxy, host: str, port: int, timeout: float) -> socket.socket:
    """Open a tunnel through the proxy to the host; returns its blocking socket.

    ``timeout`` is for everything together. ``FeedError`` says what went wrong, without the password.
    """
    try:
        if proxy.scheme == "http":
            return _connect(proxy, host, port, timeout)
        return _socks(proxy, host, port, timeout)
    except TimeoutError:
        sentence = f"the proxy {proxy} gave no answer within {timeout:.0f} s"
        raise FeedError(sentence) from None
    except OSError as error:
        sentence = f"the proxy {proxy} cannot be used: {words_of(error)}"
        raise FeedError(sentence) from None


def _connect(proxy: Proxy, host: str, port: int, timeout: float) -> socket.socket:
    until = time.monotonic() + timeout
    sock = socket.create_connection((proxy.host, proxy.port), timeout)
    try:
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        request = f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n"
        if proxy.user:
            shown = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
            request += f"Proxy-Authorization: Basic {shown}\r\n"
        sock.sendall(f"{request}\r\n".encode())
        answer = b""
        # Byte by byte, because the bytes after the blank line come from the exchange.
        while not answer.endswith(b"\r\n\r\n"):
            sock.settimeout(max(0.001, until - time.monotonic()))
            byte = sock.recv(1)
            answer += byte
            if not byte or len(answer) > ANSWER_MAX:
                break
        status = re.match(rb"HTTP/1\.[01] (\d{3})(?: ([ -~]{0,60}))?", answer)
        if not answer.endswith(b"\r\n\r\n") or status is None:
            sentence = f"the proxy {proxy} gave an answer that is not HTTP"
            raise FeedError(sentence)
        if status[1] != b"200":
            words = b" ".join(filter(None, status.groups())).decode()
            sentence = f"the proxy {proxy} refuses a tunnel to {where}: {words}"
            raise FeedError(sentence)
    except BaseException:
        sock.close()
        raise
    sock.settimeout(timeout)
    return sock


def _socks(proxy: Proxy, host: str, port: int, timeout: float) -> socket.socket:
    try:
        from python_socks import ProxyError, ProxyType  # noqa: PLC0415  # an extra
        from python_socks.sync import Proxy as Socks  # noqa: PLC0415  # the same
    except ImportError:
        sentence = f"the proxy {proxy} needs an extra: pip install 'krakpot[socks]'"
        raise FeedError(sentence) from None
    # The proxy resolves the name (socks5h), because this machine may not be able to.
    way = Socks(ProxyType.SOCKS5, proxy.host, proxy.port, proxy.user or None, proxy.password or None, rdns=True)
    try:
        sock: socket.socket = way.connect(host, port, timeout=timeout)
    except ProxyError as error:
        sentence = f"the proxy {proxy} refuses a tunnel to {host}:{port}: {error}"
        raise FeedError(sentence) from None
    sock.settimeout(timeout)
    return sock
