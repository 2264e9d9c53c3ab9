"""Who may connect: the Host and the Origin of a request, and the token where the server is not for this machine only.

A page of the network could reach a server on this machine by a name of its own that is changed to 127.0.0.1 (DNS
rebinding): its requests name that host. A page of another server is told by its ``Origin``.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlsplit

from krakpot.values import LOOPBACK

EVERY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # to be told from others
"""Addresses that stand for all of this machine, and one of them that a browser on it can open."""
BEARER = "bearer "


class Guard:
    """Decides which requests are served."""

    def __init__(self, host: str, token: str | None) -> None:
        """``host``: where the server listens; ``token``: what every request must carry, None: nothing."""
        self.token = token
        self._hosts = None if host in EVERY else set(LOOPBACK) if host.lower() in LOOPBACK else {host.lower()}

    def refusal(self, headers: Mapping[str, str], given: str | None) -> tuple[HTTPStatus, str] | None:
        """Why a request is not served; None if it is.

        Parameters
        ----------
        headers
            By any case of their names.
        given
            The token that came with its address or its cookie.

        """
        host = headers.get("Host", "")
        if self._hosts is not None and _name(host) not in self._hosts:
            return HTTPStatus.FORBIDDEN, "the request names another host; open the address that `krakpot view` printed"
        origin = headers.get("Origin")
        if origin is not None and origin.lower() not in {f"{scheme}://{host}".lower() for scheme in ("http", "https")}:
            return HTTPStatus.FORBIDDEN, "pages of other servers are not served"
        if self.token is not None and not self._carries(headers, given):
            return (
                HTTPStatus.UNAUTHORIZED,
                "the token is missing or wrong; open the address that `krakpot view` printed",
            )
        return None

    def _carries(self, headers: Mapping[str, str], given: str | None) -> bool:
        header = headers.get("Authorization", "")
        tokens = [given or "", header[len(BEARER) :] if header.lower().startswith(BEARER) else ""]
        assert self.token is not None, "asked only where there is one"
        # What a header holds that is no text is compared too.
        return any(hmac.compare_digest(one.encode(errors="surrogateescape"), self.token.encode()) for one in tokens)


def _name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
