"""The web socket that tells of all runs for as long as somebody listens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from ..inside import Run
from ..telling import encoded
from ..workshop import Workshop

Drawn = tuple[tuple[int, int], ...]
"""How many points each curve of a run has, and how many values each of them stands for."""

TELL_SECONDS, CURVE_TELLINGS = 0.25, 4
"""How often runs are told of, and in every how manieth telling with the curves that have changed."""
MOST_LISTENERS = 32
"""Web sockets at once; another one is told to try again later."""
TRY_AGAIN_LATER = 1013


def add(app: FastAPI, workshop: Workshop) -> None:
    """Add the socket; what it sends has the same size for ever."""
    listeners: set[WebSocket] = set()

    async def live(socket: WebSocket) -> None:
        await socket.accept()
        if len(listeners) >= MOST_LISTENERS:
            await socket.close(TRY_AGAIN_LATER)
            return
        listeners.add(socket)
        try:
            await _tell(socket, workshop)
        finally:
            listeners.discard(socket)

    app.add_api_websocket_route("/api/live", live)


async def _tell(socket: WebSocket, workshop: Workshop) -> None:
    """Tell of the runs until the listener is gone."""
    gone = asyncio.create_task(_until_gone(socket))
    telling, shown = 0, dict[str, Drawn]()
    try:
        while not gone.done():
            states = partial(_states_with_curves, shown=shown) if telling % CURVE_TELLINGS == 0 else _states
            await socket.send_text(await asyncio.to_thread(_written, states, workshop))
            telling += 1
            await asyncio.wait([gone], timeout=TELL_SECONDS)
    except (WebSocketDisconnect, RuntimeError):  # it left while it was being told
        pass
    finally:
        gone.cancel()


def _written(states: Callable[[Workshop], list[dict[str, Any]]], workshop: Workshop) -> str:
    return encoded({"runs": states(workshop)}).decode("ascii")


def _states(workshop: Workshop) -> list[dict[str, Any]]:
    return [run.state() for run in workshop.runs]


def _states_with_curves(workshop: Workshop, shown: dict[str, Drawn]) -> list[dict[str, Any]]:
    """The runs, with the curves of those that were not shown as they are now; `shown` is what the listener has."""
    runs = workshop.runs
    before, now = dict(shown), {run.name: _drawn(run) for run in runs}
    shown.clear()
    shown.update(now)
    return [run.state(curves=before.get(run.name) != now[run.name]) for run in runs]


def _drawn(run: Run) -> Drawn:
    return tuple((len(curve.points), curve.each) for curve in run.curves.values())


async def _until_gone(socket: WebSocket) -> None:
    """Nothing that the page says here is listened to."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass
