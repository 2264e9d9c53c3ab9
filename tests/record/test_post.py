"""Posting to an address: what is accepted, and why it is not."""

from __future__ import annotations

import io
import ssl
from types import SimpleNamespace

import pytest
import trustme

from inbox import inbox
from krakpot.record.post import ADDRESS, main, post

BODY = b'{"kind": "gap"}'


@pytest.mark.parametrize(
    ("status", "problem"),
    [(200, ""), (403, "it answered HTTP 403 Forbidden"), (301, "it answered HTTP 301 Moved Permanently"), (500, "it")],
)
def test_what_the_server_answers(status: int, problem: str) -> None:
    """Only success is success: a redirection is not followed, since it could lead to another machine."""
    with inbox() as served:
        served.status = status
        assert post(served.url, BODY).startswith(problem)
        assert served.kinds() == (["gap"] if status == 200 else [])


def test_nobody_answers() -> None:
    """The cause, without the address."""
    with inbox() as served:
        url = served.url
    assert post(url, BODY) == "the connection failed: Connection refused"


def test_the_certificate_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """An authority that nobody trusts is refused, one that is trusted is accepted."""
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    with inbox(tls) as served:
        assert post(served.url, BODY).startswith("its certificate was not accepted: ")
        trusted = ssl.create_default_context()
        authority.configure_trust(trusted)
        monkeypatch.setattr("krakpot.record.post.ssl.create_default_context", lambda: trusted)
        assert post(served.url, BODY) == ""
        assert served.kinds() == ["gap"]


def test_it_takes_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the feed does; a proxy that cannot be used is named."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert post("https://hooks.example/secret", BODY) == (
        "the proxy http://127.0.0.1:9 cannot be used: Connection refused"
    )


def test_as_a_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The address is a variable, the body its standard input; a failure is one line and exit code 1."""
    with inbox() as served:
        monkeypatch.setenv(ADDRESS, served.url)
        for status, code, words in ((200, 0, ""), (404, 1, "it answered HTTP 404 Not Found\n")):
            served.status = status
            monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(BODY)))
            assert main() == code
            assert capsys.readouterr().err == words
