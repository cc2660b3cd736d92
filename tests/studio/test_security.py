"""Whoever has no key, and every page but the studio's own, gets nothing: every route against every attack."""

from __future__ import annotations

import logging
import re

import pytest
from studio_requests import HOST, ORIGIN, ask, knock

from neocog.studio import Workshop, guarded
from neocog.studio.app import create_app
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
            assert not keys.knows("wrong")
        except Waiting as wait:
            waits.append(wait.seconds)
            now[0] += wait.seconds
    assert waits == sorted(waits)
    assert waits[0] >= 1.0
    assert not keys.knows("wrong")
    with pytest.raises(Waiting):
        keys.exchange(keys.token)  # even the right one, so that waiting tells nothing
    assert keys.knows(session or "")
    now[0] += 60
    assert keys.exchange(keys.token)


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
        keys.knows(key)
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
