"""Who may talk to the studio: the browser that was given a link, from a page of the studio's own.

| what comes                                              | answer                                             |
|---------------------------------------------------------|----------------------------------------------------|
| another name in `Host` (DNS rebinding)                  | 403                                                |
| `Origin` of another page, `null`, or forged             | 403                                                |
| a request that a browser says another site began        | 403                                                |
| a change by cookie without `Origin`, a bare web socket  | 403                                                |
| no key, or one that is not known                        | 401; after a few wrong ones 429, for longer and longer |
| the link, or a wrong key, from another user of the machine | 403 (`neighbours.py`)                             |
| more bytes than the path takes                          | 413; what comes too slowly: `patience.py`          |

The link that is printed holds a token that is good once: it is exchanged for a session in a cookie that scripts cannot
read and other sites cannot send. Programs without a browser send either as `Authorization: Bearer ...`. Every answer,
errors included, forbids its page whatever does not come from the studio itself.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from time import monotonic
from urllib.parse import parse_qs, urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .neighbours import is_stranger
from .patience import CLOSE, limited

LOCAL = ("127.0.0.1", "localhost", "::1")
"""Names by which this machine calls itself; others may have been made to point here."""
READING = ("GET", "HEAD")
FREE_TRIES, LONGEST_WAIT = 5, 60.0
"""Wrong keys before waiting begins, and seconds that it grows to by doubling."""
MOST_SESSIONS = 64

KiB, MiB = 2**10, 2**20
BODY_BYTES = 256 * KiB
BODIES = {"/api/images": 16 * MiB, "/api/snapshots": 256 * MiB}
"""The most bytes of a request, by its path where that takes files."""

HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Waiting(Exception):
    """Too many wrong keys: `seconds` to wait before another is looked at."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"wait {seconds:.0f} s")
        self.seconds = seconds


@dataclass
class Keys:
    """The token of the next link, the sessions that links were exchanged for, and how many wrong keys came lately.

    Only digests are kept of sessions, and all comparisons take the same time.
    """

    clock: Callable[[], float] = monotonic
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    _sessions: list[bytes] = field(default_factory=list)
    _wrong: int = 0
    _until: float = 0.0

    def exchange(self, token: str) -> str | None:
        """A new session for the token of the link, which then is another; None for a wrong one. Raises Waiting."""
        if not self._judged(_same(_digest(token), [_digest(self.token)])):
            return None
        self.token = secrets.token_urlsafe(32)
        session = secrets.token_urlsafe(32)
        self._sessions = [*self._sessions, _digest(session)][-MOST_SESSIONS:]
        return session

    def is_session(self, key: str) -> bool:
        """Whether this is the session of somebody who is in, and is not shut out by those who are not."""
        return _same(_digest(key), self._sessions)

    def is_token(self, key: str) -> bool:
        """Whether this is the token of a link not yet used. Raises Waiting."""
        return self._judged(_same(_digest(key), [_digest(self.token)]))

    def _judged(self, right: bool) -> bool:
        """The same verdict, having counted wrong ones; while one has to wait there is none."""
        now = self.clock()
        if now < self._until:
            raise Waiting(self._until - now)
        if right:
            self._wrong = 0
            return True
        self._wrong += 1
        if self._wrong >= FREE_TRIES:
            self._until = now + min(LONGEST_WAIT, 2.0 ** (self._wrong - FREE_TRIES))
        return False


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _same(digest: bytes, known: Iterable[bytes]) -> bool:
    """Whether it is one of them; each is compared, and each comparison looks at all bytes."""
    found = False
    for one in known:
        found |= hmac.compare_digest(digest, one)
    return found


class Refusal(Exception):
    """A request that is not served: a status of HTTP, what must hold, and seconds to wait where that helps."""

    def __init__(self, status: int, rule: str, retry_after: float = 0.0) -> None:
        super().__init__(rule)
        self.status, self.rule, self.retry_after = status, rule, retry_after


class Guard:
    """ASGI middleware in front of everything: each request, of whatever method, and each web socket is looked at."""

    def __init__(self, app: ASGIApp, keys: Keys, cookie: str, told: Callable[[], None] = lambda: None) -> None:
        self.app, self.keys, self.cookie, self.told = app, keys, cookie, told

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve what may be served."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        sending = _with_headers(send)
        try:
            headers = _headers(scope)
            _check_place(scope, headers)
            if self._is_entry(scope):
                await self._enter(scope, sending)
                return
            self._check_key(scope, headers)
            limit = _check_length(scope, headers)
        except Refusal as refusal:
            await _refuse(scope, sending, refusal)
            return
        reading = limited(receive, limit) if scope["type"] == "http" else receive
        await self.app(scope, reading, sending)

    def _is_entry(self, scope: Scope) -> bool:
        """Whether this is the link that was printed."""
        asked = scope["type"] == "http" and scope["method"] == "GET" and scope["path"] == "/"
        return asked and b"token=" in scope["query_string"]

    async def _enter(self, scope: Scope, send: Send) -> None:
        _check_user(scope)
        tokens = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])
        try:
            session = self.keys.exchange(tokens[0])
        except Waiting as wait:
            raise Refusal(429, "too many wrong keys came; wait a moment", wait.seconds) from None
        if session is None:
            raise Refusal(401, "this link was used or is not the one that was printed; the terminal shows a new one")
        cookie = f"{self.cookie}={session}; HttpOnly; SameSite=Strict; Path=/"
        found = [(b"location", b"/"), (b"set-cookie", cookie.encode()), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 303, "headers": found})
        await send({"type": "http.response.body", "body": b""})
        self.told()

    def _check_key(self, scope: Scope, headers: dict[str, list[str]]) -> None:
        kind, _, bearer = headers.get("authorization", [""])[0].partition(" ")
        by_cookie = _cookie(headers, self.cookie)
        key = bearer.strip() if kind.lower() == "bearer" else by_cookie
        if not key:
            raise Refusal(401, "open the link that the terminal shows")
        changing = scope["type"] == "websocket" or scope["method"] not in READING
        if changing and "origin" not in headers and key == by_cookie:
            raise Refusal(403, "a browser says from which page a change comes")
        if self.keys.is_session(key):
            return
        _check_user(scope)
        try:
            known = self.keys.is_token(key)
        except Waiting as wait:
            raise Refusal(429, "too many wrong keys came; wait a moment", wait.seconds) from None
        if not known:
            raise Refusal(401, "this key is not known; open the link that the terminal shows")


def _headers(scope: Scope) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


def _check_place(scope: Scope, headers: dict[str, list[str]]) -> None:
    """Whether the request is to this machine by a name of its own, from a page of this very server."""
    hosts = headers.get("host", [])
    if len(hosts) != 1 or _host_name(hosts[0]) not in LOCAL:
        raise Refusal(403, "the studio answers to the names of this machine alone")
    origins = headers.get("origin")
    if origins is not None and origins != [f"http://{hosts[0]}"]:
        raise Refusal(403, "the studio answers to its own pages alone")
    if headers.get("sec-fetch-site", ["none"])[0] not in ("none", "same-origin"):
        raise Refusal(403, "the studio answers to its own pages alone")


def _check_user(scope: Scope) -> None:
    """Whether who comes with the link, or tries keys, is the user that the studio runs for."""
    client, server = scope.get("client"), scope.get("server")
    if client and server and is_stranger(tuple(client), tuple(server)):
        raise Refusal(403, "the studio answers to the user who runs it alone")


def _host_name(host: str) -> str:
    """`localhost` of `localhost:8765`; empty where it is no such thing."""
    if not re.fullmatch(r"(\[[0-9a-fA-F:]{2,39}\]|[A-Za-z0-9.-]{1,253})(:[0-9]{1,5})?", host):
        return ""
    return (urlsplit(f"//{host}").hostname or "").lower()


def _cookie(headers: dict[str, list[str]], name: str) -> str:
    """The cookie of that name; empty where there is none, or there are several."""
    parts = [part.strip().partition("=") for line in headers.get("cookie", []) for part in line.split(";")]
    found = [value for key, _, value in parts if key == name]
    return found[0] if len(found) == 1 else ""


def _check_length(scope: Scope, headers: dict[str, list[str]]) -> int:
    """The most bytes that this request may have; refused at once where it says that it has more."""
    limit = BODIES.get(scope["path"], BODY_BYTES)
    said = headers.get("content-length", ["0"])[0]
    if not re.fullmatch("[0-9]{1,18}", said):
        raise Refusal(400, "a length is a whole number")
    if int(said) > limit:
        raise Refusal(413, f"at most {limit:,} bytes are taken here")
    return limit


def _with_headers(send: Send) -> Send:
    """What goes out, with the headers of every answer."""

    async def sending(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            own = {name for name, _ in message.get("headers", [])}
            more = [(n.encode(), v.encode()) for n, v in HEADERS.items() if n.encode() not in own]
            message = {**message, "headers": [*message.get("headers", []), *more]}
        await send(message)

    return sending


async def _refuse(scope: Scope, send: Send, refusal: Refusal) -> None:
    body = json.dumps({"error": {"rule": refusal.rule}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.encode(), value.encode()) for name, value in CLOSE.items()]
    if refusal.retry_after:
        headers.append((b"retry-after", str(max(1, round(refusal.retry_after))).encode()))
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    kind = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
    await send({"type": f"{kind}.start", "status": refusal.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})


class Redacted(logging.Filter):
    """Takes tokens, sessions and keys out of whatever is logged."""

    SECRET = re.compile(r"(token=|bearer\s+|neocog-studio-\d+=)[^\s&;\"']+", re.IGNORECASE)

    def filter(self, record: logging.LogRecord) -> bool:
        """Every record passes, without secrets."""
        record.msg, record.args = self.SECRET.sub(r"\1<redacted>", record.getMessage()), ()
        return True
