"""The studio's server: bound to this machine alone, on the port that was asked for."""

from __future__ import annotations

import logging
import socket
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread

import uvicorn

from ..errors import RunError
from .app import create_app
from .patience import Patient
from .security import Guard, Keys, Redacted
from .workshop import Workshop

ADDRESS = "127.0.0.1"
GRACE = 2
"""Seconds that open connections get when the server ends."""


@dataclass(frozen=True)
class Place:
    """Where the studio listens, and the keys that open it."""

    port: int
    keys: Keys

    @property
    def link(self) -> str:
        """What to open in a browser; good once."""
        return f"http://{ADDRESS}:{self.port}/?token={self.keys.token}"


def listening(port: int) -> socket.socket:
    """A socket on this machine's own address; port 0 is any free one. Raises RunError where the port is taken."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((ADDRESS, port))
        made.listen()  # at once, so that whoever has the link need not wait
    except OSError as error:
        made.close()
        raise RunError(
            "the studio cannot listen here", where=f"{ADDRESS}:{port}", received=error.strerror or "", hint="--port 0"
        ) from None
    return made


def guarded(workshop: Workshop, keys: Keys, port: int, entered: Callable[[], None] = lambda: None) -> Guard:
    """The studio as an ASGI application that only those with a key can use."""
    return Guard(create_app(workshop), keys, f"neocog-studio-{port}", entered)


def serve(workshop: Workshop, port: int, told: Callable[[Place, bool], None], *, browser: bool) -> None:
    """Serve until Ctrl-C. `told` gets the place when it listens, and again with True for each next link."""
    with listening(port) as place_on:
        place = Place(place_on.getsockname()[1], Keys())
        app = guarded(workshop, place.keys, place.port, lambda: told(place, True))
        told(place, False)
        if not workshop.runs:
            workshop.foresee()
        if browser:
            Thread(target=webbrowser.open, args=[place.link], daemon=True).start()  # it waits for the first answer
        try:
            uvicorn.Server(settings(app)).run(sockets=[place_on])
        finally:
            workshop.close()


def settings(app: Guard) -> uvicorn.Config:
    """How the server runs: no proxies are believed, no requests are logged, and what is logged holds no keys."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).addFilter(Redacted())
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        http=Patient,
        ws="websockets-sansio",
        ws_max_size=64 * 1024,
        timeout_graceful_shutdown=GRACE,
    )
