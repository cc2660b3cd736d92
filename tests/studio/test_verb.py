"""`neocog studio` as a process: what it prints, whom it answers, and how it ends."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys

import pytest

from neocog.cli import main

COMMAND = [sys.executable, "-m", "neocog", "studio", "--port", "0", "--no-browser", "--json"]


def request(port, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def test_it_prints_a_link_answers_who_has_it_and_ends_with_ctrl_c():
    process = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        printed = ""
        while not printed.rstrip().endswith("}"):
            line = process.stdout.readline()
            assert line, process.stderr.read()
            printed += line
        told = json.loads(printed)
        port, path = told["port"], told["url"].split(str(told["port"]))[1]
        assert told["url"].startswith(f"http://127.0.0.1:{port}/?token=")
        assert request(port, "/api/runs")[0] == 401
        assert request(port, "/api/runs", Host="evil.example")[0] == 403
        assert request(port, "/api/runs", Origin="null")[0] == 403
        status, headers, _ = request(port, path)
        assert status == 303
        cookie = headers["set-cookie"].split(";")[0]
        assert request(port, "/api/runs", Cookie=cookie)[::2] == (200, b"[]")
        assert b"studio" in request(port, "/", Cookie=cookie)[2]
        assert request(port, path)[0] == 401
        for raw in (b"GET /page/../app.py HTTP/1.1", b"GET /page/%2e%2e/app.py HTTP/1.1", b"GET //etc/passwd HTTP/1.1"):
            with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
                line.sendall(
                    raw + b"\r\nHost: localhost\r\nCookie: " + cookie.encode() + b"\r\nConnection: close\r\n\r\n"
                )
                assert b" 404 " in line.makefile("rb").readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert "interrupted" in out + err
    assert cookie.split("=")[1] not in err
    assert "Traceback" not in err


def test_it_listens_on_this_machine_alone():
    from neocog.studio.server import listening

    with listening(0) as made:
        assert made.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize("arguments", [("--port", "70000"), ("--port", "-1"), ("nowhere",), ("--host", "0.0.0.0")])
def test_what_cannot_be_served_is_refused(arguments, capsys):
    assert main(["studio", "--no-browser", *arguments]) == 2
    assert "error:" in capsys.readouterr().err


def test_a_taken_port_is_said(capsys):
    from neocog.studio.server import listening

    with listening(0) as made:
        assert main(["studio", "--no-browser", "--port", str(made.getsockname()[1])]) == 1
    assert "--port 0" in capsys.readouterr().err
