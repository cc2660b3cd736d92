"""Slow clients: whoever dribbles a request, or sends none, is let go, and others are served meanwhile."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from studio_requests import RUNNER, dribble

from neocog.studio import patience
from neocog.studio.security import Keys
from neocog.studio.server import guarded, listening, settings

FEW = 4


@pytest.fixture
def patient_keys() -> Keys:
    return Keys()


@pytest.fixture
def port(shop, patient_keys, monkeypatch) -> Iterator[int]:
    """A real server with little patience."""
    monkeypatch.setattr(patience, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(patience, "BODY_SECONDS", 0.3)
    monkeypatch.setattr(patience, "MOST_WAITING", FEW)
    with listening(0) as place:
        number = place.getsockname()[1]
        server = uvicorn.Server(settings(guarded(shop, patient_keys, number)))
        thread = threading.Thread(target=server.run, args=([place],), daemon=True)
        thread.start()
        yield number
        server.should_exit = True
        thread.join(10)


def opened(port: int, sent: bytes = b"") -> socket.socket:
    line = socket.create_connection(("127.0.0.1", port), timeout=20)
    line.sendall(sent)
    return line


def heard(line: socket.socket) -> bytes:
    """All that comes until the server hangs up."""
    said = b""
    try:
        while part := line.recv(4096):
            said += part
    except ConnectionResetError:
        pass
    line.close()
    return said


@pytest.mark.parametrize("start", [b"", b"G", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "])
def test_a_head_that_does_not_come_is_not_waited_for(port, start):
    assert heard(opened(port, start)) == b""


def test_many_that_wait_do_not_keep_others_out(port):
    waiting = [opened(port, b"GET /") for _ in range(3 * FEW)]
    line = opened(port, b"GET /api/runs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert heard(line).startswith(b"HTTP/1.1 401")
    assert [heard(one) for one in waiting] == [b""] * len(waiting)


def test_who_is_refused_is_not_read_on(port):
    head = b"POST /api/images HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nabc"
    assert heard(opened(port, head)).startswith(b"HTTP/1.1 401")


def test_the_next_request_of_a_connection_is_waited_for_no_longer(port, patient_keys):
    head = f"HEAD / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {patient_keys.token}\r\n\r\n"
    line = opened(port, head.encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += line.recv(4096)
    assert answer.startswith(b"HTTP/1.1 200")
    line.sendall(b"GET / HT")
    assert heard(line) == b""


def test_a_body_that_dribbles_is_cut_off(app, session, monkeypatch):
    monkeypatch.setattr(patience, "BODY_SECONDS", 0.05)
    for path in ("/api/images", "/api/snapshots", "/api/plan"):
        answer = RUNNER.run(dribble(app, path, session))
        assert answer.status == 408
        assert answer.headers["connection"] == "close"
        assert b"too slowly" in answer.body
