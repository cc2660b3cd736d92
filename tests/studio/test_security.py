"""Whoever has no key, and every page but the studio's own, gets nothing: every route against every attack."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
from urllib.parse import quote

import image_bombs
import pytest
from studio_requests import HOST, ORIGIN, ask, knock

from neocog.studio import Workshop, guarded, neighbours, workshop
from neocog.studio.app import create_app
from neocog.studio.routes import live
from neocog.studio.security import FREE_TRIES, HEADERS, Guard, Keys, Redacted, Waiting

PORT = 8765
ROUTES = sorted(
    (method, re.sub(r"\{\w+\}", "x", route.path))
    for route in create_app(Workshop()).routes
    for method in getattr(route, "methods", None) or ()
)
METHODS = ("PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get")
FORGED_HOSTS = (
    *("evil.example", "evil.example:8765", "127.0.0.1.evil.example:8765", "localhost.evil.example", "127.0.0.2:8765"),
    *("0.0.0.0:8765", "[::2]:8765", "localhost@evil.example", "localhost:8765@evil.example", "evil.example#localhost"),
    *("localhost:8765, evil.example", "localhost:99999999", "", "http://localhost:8765", "local host", "127.1:8765"),
)
FORGED_ORIGINS = (
    *("null", "http://evil.example", "https://127.0.0.1:8765", "http://127.0.0.1:9999", "http://127.0.0.1"),
    *("http://localhost:8765", "http://127.0.0.1:8765.evil.example", "http://127.0.0.1:8765/", "file://", ""),
    *("http://evil.example, http://127.0.0.1:8765", "chrome-extension://abc", "http://[::1]:8765"),
)
NAMES_OF_ROUTES = [f"{method} {path}" for method, path in ROUTES]


@pytest.fixture(scope="module")
def cookie(session):
    return f"neocog-studio-{PORT}={session}"


def test_the_routes_were_found():
    assert len(ROUTES) >= 25
    assert {("GET", "/"), ("PATCH", "/api/runs/x"), ("DELETE", "/api/runs/x"), ("POST", "/api/images")} <= set(ROUTES)


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=NAMES_OF_ROUTES)
def test_without_a_key_there_is_nothing(app, method, path):
    for headers in (
        (),
        (("authorization", "Basic eDp4"),),
        (("cookie", f"neocog-studio-{PORT}="),),
        (("cookie", "neocog-studio-1=x"),),
        (("origin", ORIGIN),),
    ):
        answer = ask(app, method, path, headers=headers)
        assert answer.status == 401, headers
        assert b"open the link" in answer.body


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=NAMES_OF_ROUTES)
def test_a_wrong_key_is_no_key(app, method, path):
    for made in ("x", "0" * 43, "../../etc/passwd", "a" * 5000, "%00"):
        fresh = Guard(app.app, Keys(), app.cookie)  # which nobody has tried yet
        assert ask(fresh, method, path, key=made).status == 401


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=NAMES_OF_ROUTES)
def test_another_host_gets_nothing_even_with_the_key(app, session, method, path):
    for host in FORGED_HOSTS:
        assert ask(app, method, path, key=session, host=host).status == 403, host
    assert ask(app, method, path, key=session, host=None).status == 403
    assert ask(app, method, path, key=session, headers=(("host", "evil.example"),)).status == 403  # two of them


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=NAMES_OF_ROUTES)
def test_another_page_gets_nothing_even_with_the_cookie(app, cookie, method, path):
    for origin in FORGED_ORIGINS:
        assert ask(app, method, path, cookie=cookie, headers=(("origin", origin),)).status == 403, origin
    for site in ("cross-site", "same-site"):
        assert ask(app, method, path, cookie=cookie, headers=(("sec-fetch-site", site),)).status == 403, site
    twice = (("origin", ORIGIN), ("origin", "http://evil.example"))
    assert ask(app, method, path, cookie=cookie, headers=twice).status == 403


@pytest.mark.parametrize(("method", "path"), [one for one in ROUTES if one[0] not in ("GET", "HEAD")])
def test_a_change_by_cookie_says_from_which_page(app, cookie, method, path):
    assert ask(app, method, path, cookie=cookie).status == 403  # as a form or an image of another site would send it
    assert ask(app, method, path, cookie=cookie, headers=(("origin", ORIGIN),)).status not in (401, 403)


@pytest.mark.parametrize("method", METHODS)
def test_no_method_is_let_through_unseen(app, method):
    for path in ("/", "/api/runs", "/api/runs/x", "/page/main.js", "/nothing", "/docs", "/openapi.json", "/api"):
        assert ask(app, method, path).status == 401
        assert ask(app, method, path, host="evil.example").status == 403
        assert ask(app, method, path, headers=(("origin", "http://evil.example"),)).status == 403


@pytest.mark.parametrize(
    "headers",
    [
        (("host", HOST),),
        (("host", HOST), ("origin", ORIGIN)),
        (("host", "evil.example"), ("origin", "http://evil.example")),
        (("host", HOST), ("origin", "http://evil.example")),
        (("host", HOST), ("origin", "null")),
    ],
)
@pytest.mark.parametrize("with_cookie", [False, True])
def test_web_sockets_are_for_the_studios_own_page(app, cookie, headers, with_cookie):
    sent = (*headers, ("cookie", cookie)) if with_cookie else headers
    (first, *_) = knock(app, "/api/live", sent)
    own_page = with_cookie and headers == (("host", HOST), ("origin", ORIGIN))
    assert first["type"] == ("websocket.accept" if own_page else "websocket.close")


def test_the_link_is_good_once_and_gives_a_cookie_that_scripts_and_other_sites_cannot_use(shop):
    keys, told = Keys(), []
    app = guarded(shop, keys, PORT, lambda: told.append(keys.token))
    token = keys.token
    entered = ask(app, "GET", f"/?token={token}")
    assert (entered.status, entered.headers["location"]) == (303, "/")
    cookie = entered.headers["set-cookie"]
    assert cookie.startswith(f"neocog-studio-{PORT}=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} == set(cookie.split("; ")[1:])
    assert token not in cookie
    assert ask(app, "GET", "/", cookie=cookie.split(";")[0]).status == 200
    assert ask(app, "GET", f"/?token={token}").status == 401
    assert ask(app, "GET", "/api/about", key=token).status == 401
    assert told == [keys.token]
    assert keys.token != token
    assert ask(app, "GET", f"/?token={keys.token}").status == 303


def test_a_program_may_send_the_token_of_an_unused_link(shop):
    keys = Keys()
    app = guarded(shop, keys, PORT)
    assert ask(app, "GET", "/api/runs", key=keys.token).status == 200
    assert ask(app, "GET", f"/api/runs?token={keys.token}").status == 401  # not in an address, which is written down


def test_wrong_keys_have_to_wait_longer_and_longer_while_sessions_go_on():
    now = [0.0]
    keys = Keys(clock=lambda: now[0])
    session = keys.exchange(keys.token)
    waits = []
    for _ in range(12):
        try:
            assert not keys.is_token("wrong")
        except Waiting as wait:
            waits.append(wait.seconds)
            now[0] += wait.seconds
    assert waits == sorted(waits)
    assert waits[0] >= 1.0
    assert not keys.is_token("wrong")
    with pytest.raises(Waiting):
        keys.exchange(keys.token)  # even the right one, so that waiting tells nothing
    assert keys.is_session(session or "")
    now[0] += 60
    assert keys.exchange(keys.token)


CLIENT, SERVER = "0100007F:C350", "0100007F:223D"
"""The ends of what `ask` sends, as Linux writes them."""
MAPPED = tuple(f"0000000000000000FFFF0000{end}" for end in (CLIENT, SERVER))


def connection(local: str, remote: str, user: int) -> str:
    return f"  0: {local} {remote} 01 00000000:00000000 02:00000000 00000000 {user:5d} 0 7 2 0000000000000000"


@pytest.mark.parametrize(
    ("lines", "allowed"),
    [
        ([connection(CLIENT, SERVER, os.getuid()), connection(SERVER, CLIENT, os.getuid())], True),
        ([connection(CLIENT, SERVER, 0)], True),
        ([connection(CLIENT, SERVER, 54321), connection(SERVER, CLIENT, os.getuid())], False),
        ([connection(*MAPPED, 54321), connection(SERVER, CLIENT, os.getuid())], False),
        ([connection(SERVER, CLIENT, os.getuid())], False),  # who came is gone
        ([connection("0100007F:C351", SERVER, 54321)], True),  # that is another connection
        ([], True),
    ],
)
def test_the_link_is_for_the_user_who_runs_the_studio(shop, tmp_path, monkeypatch, lines, allowed):
    table = tmp_path / "tcp"
    table.write_text("\n".join(["  sl  local_address rem_address", *lines]))
    monkeypatch.setattr(neighbours, "TABLES", (table, tmp_path / "none"))
    keys = Keys()
    app = guarded(shop, keys, PORT)
    by_program, wrong = (ask(app, "GET", "/api/runs", key=key).status for key in (keys.token, "wrong"))
    assert (by_program, wrong) == ((200, 401) if allowed else (403, 403))
    entered = ask(app, "GET", f"/?token={keys.token}")
    assert entered.status == (303 if allowed else 403)
    if allowed:  # and whoever is in stays in
        assert ask(app, "GET", "/api/runs", cookie=entered.headers["set-cookie"].split(";")[0]).status == 200


@pytest.mark.parametrize("kind", [socket.AF_INET, socket.AF_INET6])
def test_linux_says_who_is_at_the_other_end(kind):
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(kind) as client:
        place = server.getsockname()
        client.connect(place if kind == socket.AF_INET else (f"::ffff:{place[0]}", place[1]))
        accepted, came = server.accept()
        with accepted:
            found = list(neighbours._connections())
            assert not neighbours.is_stranger(came, place)
    users = {user for a, b, user in found if a in neighbours._ends(came) and b in neighbours._ends(place)}
    assert users == ({os.getuid()} if found else set())  # other systems have no such tables


def test_waiting_is_told_with_its_length(shop):
    app = guarded(shop, Keys(), PORT)
    answers = [ask(app, "GET", "/api/runs", key=f"wrong {k}") for k in range(FREE_TRIES + 1)]
    assert [answer.status for answer in answers] == [401] * FREE_TRIES + [429]
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_keys_of_all_lengths_are_compared_as_digests(monkeypatch):
    from neocog.studio import security

    seen = []
    monkeypatch.setattr(security.hmac, "compare_digest", lambda a, b: seen.append((len(a), len(b))) or a == b)
    keys = Keys()
    keys.exchange(keys.token)
    for key in ("", "x", "y" * 4000):
        assert not keys.is_session(key)
        assert not keys.is_token(key)
    assert set(seen) == {(32, 32)}
    assert len(seen) >= 7  # each session and the token, every time


def test_every_answer_forbids_what_is_not_the_studios_own(app, session):
    answers = [
        ask(app, "GET", "/", key=session),
        ask(app, "GET", "/page/main.js", key=session),
        ask(app, "GET", "/api/runs", key=session),
        ask(app, "GET", "/api/runs/none", key=session),
        ask(app, "POST", "/api/plan", b"{", key=session),
        ask(app, "GET", "/"),
        ask(app, "GET", "/", host="evil.example"),
    ]
    for answer in answers:
        assert HEADERS.items() <= answer.headers.items()
        assert "access-control-allow-origin" not in answer.headers
        assert "server" not in answer.headers
    policy = HEADERS["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


TRAVERSALS = [
    prefix + target
    for prefix in (
        "../",
        "..%2f",
        "%2e%2e/",
        "%2e%2e%2f",
        "..%5c",
        "%2e%2e%5c",
        "....//",
        "..%252f",
        "..%c0%af",
        "%00/../",
    )
    for target in ("app.py", "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "security.py%00.js", "__init__.py")
] + [
    "/etc/passwd",
    "//etc/passwd",
    "file:///etc/passwd",
    "C:%5cboot.ini",
    "%5c%5chost%5cshare",
    "index.html%00",
    "main.js/",
]


@pytest.mark.parametrize("path", TRAVERSALS)
def test_no_path_leads_out(app, session, path):
    for place in ("/page/{}", "/api/runs/{}", "/api/data/{}/samples", "/api/scenes/{}/volume?layer=x", "/{}"):
        answer = ask(app, "GET", place.format(path), key=session)
        assert answer.status == 404, place
        assert b"root:" not in answer.body
        assert b"import" not in answer.body


def test_bodies_have_a_size(app, session):
    def refused(path, **more):
        answer = ask(app, "POST", path, key=session, **more)
        return answer.status == 413 and b"at most" in answer.body

    assert refused("/api/plan", headers=(("content-length", str(10**12)),))
    assert refused("/api/images", headers=(("content-length", str(2**24 + 1)),))
    assert refused("/api/images", chunks=[bytes(2**20)] * 17)  # whatever length was not said
    assert refused("/api/images", chunks=[bytes(2**20)] * 17, headers=(("content-length", "3"),))
    assert refused("/api/plan", chunks=[b"x" * 1000] * 300)
    assert ask(app, "POST", "/api/plan", key=session, headers=(("content-length", "-1"),)).status == 400


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"x"', b"{}", b"\xff\xfe", b'{"text": 1}', b'{"text": "x", "more": 1}', b"[" * 50_000],
)
def test_odd_bodies_are_explained(app, session, body):
    headers = (("content-type", "application/json"),)
    answer = ask(app, "POST", "/api/plan", body, key=session, headers=headers)
    assert answer.status in (400, 422)
    assert answer.json["error"]["rule"]
    assert len(answer.body) < 1000


def test_what_no_image_is_is_refused(app, session):
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    html = b"<!doctype html><script>alert(1)</script>"
    for content in (svg, html, b"", b"\x89PNG\r\n\x1a\n" + bytes(64), b"GIF89a" + b"\xff" * 20, b"PK\x03\x04"):
        answer = ask(app, "POST", "/api/images", content, key=session, headers=(("x-name", "a%3Cb%3E.svg"),))
        assert answer.status == 400
        assert answer.headers["content-type"] == "application/json"
        assert b"<script" not in answer.body


def test_what_is_logged_holds_no_keys(caplog):
    logger = logging.getLogger("neocog-test-of-the-studio")
    logger.addFilter(Redacted())
    with caplog.at_level(logging.INFO, logger.name):
        logger.info("GET %s", "/?token=abcDEF-_123&x=1")
        logger.info("Authorization: Bearer abcDEF-_123; Cookie: neocog-studio-8765=abcDEF-_123")
    assert "abcDEF" not in caplog.text
    assert caplog.text.count("<redacted>") == 3


@pytest.mark.parametrize("name", image_bombs.REFUSED)
def test_images_that_are_traps_are_refused_before_they_are_unfolded(app, session, name):
    content, _ = image_bombs.REFUSED[name]
    answer = ask(app, "POST", "/api/images", content, key=session)
    assert answer.status == 400
    assert len(answer.body) < 1000


def test_images_that_are_kept_take_no_more_than_so_much(app, session, shop, monkeypatch):
    content, _ = image_bombs.HARMLESS[next(iter(image_bombs.HARMLESS))]
    one = ask(app, "POST", "/api/images", content, key=session).json["upload"]
    monkeypatch.setattr(workshop, "IMAGE_BYTES", 1)
    other = ask(app, "POST", "/api/images", content, key=session).json["upload"]
    assert list(shop.images) == [other]
    assert ask(app, "POST", "/api/runs/x/answer", {"image": {"upload": one}}, key=session).status == 404


@pytest.mark.parametrize("name", ["a\nb.png", "\u202egnp.exe", "<b>\r\nSet-Cookie: x=1", "x" * 5000, "\x00", "%ff%fe"])
def test_names_of_files_are_written_out(app, session, name):
    content, _ = image_bombs.HARMLESS[next(iter(image_bombs.HARMLESS))]
    answer = ask(app, "POST", "/api/images", content, key=session, headers=(("x-name", quote(name)),))
    assert answer.status == 200
    assert "set-cookie" not in answer.headers
    shown = answer.json["name"]
    assert shown.isprintable()
    assert len(shown) <= 500


ODD = (b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 50_000, b'{"text": ' + b"9" * 5000 + b"}")
ODD_VALUES = (None, True, -1, 1e308, 10**30, "x" * 70, "\x00", [], {}, [[]], "../../etc/passwd")
TAKING = {
    "POST /api/plan": {"text": "INPUT[4x4x1] -> FC2"},
    "POST /api/window": {"size": 7, "kernel": 3, "padding": 0},
    "POST /api/runs": {"text": "x", "data": "mnist", "settings": {}, "engine": "auto"},
    "POST /api/comparisons": {"text": "x", "data": "mnist", "settings": {}, "steps": 3},
    "PATCH /api/runs/{name}": {"lr": -1.0, "momentum": 0.9, "batch_size": 8, "weight_decay": 0.0},
    "POST /api/runs/{name}/answer": {"image": {"number": 1}},
    "POST /api/runs/{name}/layers": {"image": {"number": 1}, "first": 0, "count": 1, "have": 0},
    "POST /api/runs/{name}/why": {
        "method": "none",
        "image": {"number": 1},
        "target": 1,
        "layer": "conv1",
        "evidence": False,
    },
    "POST /api/runs/{name}/dense": {"upload": "none", "target": 1, "stride": 4},
    "POST /api/scenes": {"run": "none", "image": {"upload": "none"}, "label": 0, "text": "x", "seed": 1},
    "POST /api/scenes/{key}/cell": {"layer": "conv1", "channel": 0, "place": [0, 0], "first": 0},
}
"""What each route takes: bodies that mean something, and begin nothing."""


@pytest.mark.parametrize("route", TAKING)
def test_no_message_is_so_odd_that_the_server_makes_a_mistake(app, session, digits, route):
    method, path = route.split()
    scene = ask(app, "POST", "/api/scenes", {"seed": 1}, key=session).json["scene"]
    there = path.replace("{name}", digits.name).replace("{key}", scene)
    replaced = [{**TAKING[route], field: value} for field in (*TAKING[route], "more") for value in ODD_VALUES]
    for body in (*ODD, *(json.dumps(one).encode() for one in replaced)):
        answer = ask(app, method, there, body, key=session, headers=(("content-type", "application/json"),))
        assert answer.status < 500, body[:80]
        assert answer.status in (200, 204) or answer.json["error"]["rule"], body[:80]


def test_numbers_in_addresses_may_be_odd_too(app, session, digits):
    scene = ask(app, "POST", "/api/scenes", {"seed": 1}, key=session).json["scene"]
    for value in ("-5", "x", "1e9", "9" * 30, "9" * 5000, "%00", ""):
        for path in (f"/api/runs/{digits.name}/samples?first=", f"/api/scenes/{scene}/volume?layer=conv1&first="):
            assert ask(app, "GET", path + value, key=session).status in (200, 400, 422), path + value[:40]


@pytest.mark.parametrize("route", [one for one in NAMES_OF_ROUTES if "/api/runs/x" in one])
def test_runs_are_known_by_name_alone(app, session, digits, route):
    method, path = route.split()
    body = TAKING.get(f"{method} {path.replace('/x', '/{name}')}", {})
    if "image" in body:
        body = {**body, "image": {}}
    for name in ("mnist-0", digits.name.upper(), f"{digits.name}%00", f"{digits.name}%20", "..", "%2e%2e", "*"):
        answer = ask(app, method, path.replace("/x", f"/{name}"), body, key=session)
        assert answer.status in (400, 404, 405), name
    assert digits.status == "paused"


def test_only_so_many_listen_at_once(app, cookie, monkeypatch):
    monkeypatch.setattr(live, "MOST_LISTENERS", 0)
    first, second = knock(app, "/api/live", (("host", HOST), ("origin", ORIGIN), ("cookie", cookie)))
    assert (first["type"], second) == ("websocket.accept", {"type": "websocket.close", "code": 1013, "reason": ""})


@pytest.mark.parametrize("message", [{"text": "{"}, {"bytes": b"\xff" * 100}, {"text": ""}, {"text": "[" * 50_000}])
def test_what_is_said_to_the_socket_is_not_listened_to(app, cookie, message):
    headers = (("host", HOST), ("origin", ORIGIN), ("cookie", cookie))
    heard = knock(app, "/api/live", headers, tellings=2, says=[{"type": "websocket.receive", **message}] * 3)
    assert [one["type"] for one in heard[:3]] == ["websocket.accept", "websocket.send", "websocket.send"]
