"""Asking the studio directly, with whatever headers an attacker would send; and waiting for its runs."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple
from urllib.parse import unquote

RUNNER = asyncio.Runner()
"""One event loop for all requests: a new one for each would take longer than they do. `conftest.py` closes it."""
HOST = "127.0.0.1:8765"
ORIGIN = f"http://{HOST}"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    app: Any,
    method: str,
    path: str,
    body: Any = None,
    *,
    key: str = "",
    cookie: str = "",
    headers: tuple[tuple[str, str], ...] = (),
    host: str | None = HOST,
    chunks: list[bytes] | None = None,
) -> Answer:
    """One request; `path` is as in its first line, percent signs and all."""
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    sent = list(headers)
    if host is not None:
        sent.append(("host", host))
    if key:
        sent.append(("authorization", f"Bearer {key}"))
    if cookie:
        sent.append(("cookie", cookie))
    if content and chunks is None:
        sent.append(("content-length", str(len(content))))
    if body is not None and not isinstance(body, bytes):
        sent.append(("content-type", "application/json"))
    waiting = chunks if chunks is not None else [content]
    return RUNNER.run(_asked(app, _scope(method, path, sent), waiting))


async def dribble(app: Any, path: str, key: str) -> Answer:
    """A POST of somebody who may ask, whose body begins and never ends."""
    sent = [("host", HOST), ("authorization", f"Bearer {key}"), ("content-type", "application/json")]
    return await _asked(app, _scope("POST", path, sent), [b"{"], ends=False)


def _scope(method: str, path: str, headers: list[tuple[str, str]]) -> dict[str, Any]:
    raw, _, query = path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw, errors="replace"),
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in headers],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8765),
    }


async def _asked(app: Any, scope: dict[str, Any], chunks: list[bytes], *, ends: bool = True) -> Answer:
    waiting, found = list(chunks), []

    async def receive() -> dict[str, Any]:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting) or not ends}
        if not ends:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        found.append(message)

    await app(scope, receive, send)
    headers = {n.decode("latin-1").lower(): v.decode("latin-1") for n, v in found[0]["headers"]}
    return Answer(found[0]["status"], headers, b"".join(one.get("body", b"") for one in found[1:]))


def knock(
    app: Any,
    path: str,
    headers: tuple[tuple[str, str], ...],
    *,
    tellings: int = 1,
    says: list[dict[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Open a web socket, say something, hear so many messages, and hang up: what came, the refusal or what was told."""
    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in headers],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8765),
        "subprotocols": [],
        "extensions": {},
    }
    return RUNNER.run(_knocked(app, scope, tellings, [{"type": "websocket.connect"}, *(says or [])]))


async def _knocked(app: Any, scope: dict[str, Any], tellings: int, says: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    heard = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if says:
            return says.pop(0)
        await heard.wait()
        return {"type": "websocket.disconnect", "code": 1000}

    async def send(message: dict[str, Any]) -> None:
        found.append(message)
        if len([one for one in found if one["type"] == "websocket.send"]) >= tellings:
            heard.set()

    await app(scope, receive, send)
    return found


def reach(live: Any, step: int) -> None:
    """Wait until a run has made so many steps."""
    live.ready.wait()
    while live.step < step and live.status not in ("failed", "diverged"):
        live.ask(lambda: None).result()


def rest(live: Any, step: int) -> Any:
    """Let a run go on to a step and rest there; the state of its engine then."""
    live.ready.wait()
    live.ask(lambda: setattr(live, "until", step)).result()
    live.paused = False
    live.ask(lambda: None).result()
    while not live.paused:
        live.ask(lambda: None).result()
    return live.ask(live.engine.state).result()
