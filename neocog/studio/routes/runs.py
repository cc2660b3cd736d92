"""Runs: begun, steered, ended, and their files."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import unquote

from fastapi import FastAPI, Request, Response

from ...errors import escaped
from .. import bodies
from ..running import ANSWER_SECONDS
from ..telling import Told, offer
from ..workshop import Workshop

NAME = 80
"""Characters of a file's name that are kept."""


def add(app: FastAPI, workshop: Workshop) -> None:
    """Routes under `/api/runs` that change a run or tell of it, and those that take files."""
    _add_runs(app, workshop)
    _add_files(app, workshop)


def _add_runs(app: FastAPI, workshop: Workshop) -> None:
    def runs() -> list[dict[str, Any]]:
        return [run.state(curves=True) for run in workshop.runs]

    def begin(body: bodies.Begin) -> dict[str, Any]:
        return workshop.begin(body.text, body.data, body.settings.model_dump(), body.engine).state()

    def compare(body: bodies.Compare) -> list[dict[str, Any]]:
        made = workshop.compare(body.text, body.data, body.settings.model_dump(), body.steps)
        return [run.state() for run in made]

    def state(name: str) -> dict[str, Any]:
        return workshop.run(name).state(curves=True)

    def edit(name: str, body: bodies.Edit) -> dict[str, Any]:
        live = workshop.live(name)
        live.edit(body.changes()).result(timeout=ANSWER_SECONDS)
        return live.state()

    def pause(name: str) -> dict[str, Any]:
        live = workshop.live(name)
        live.pause(True)
        return live.state()

    def go_on(name: str) -> dict[str, Any]:
        return workshop.resume(name).state()

    def again(name: str) -> dict[str, Any]:
        return workshop.again(name).state()

    def clear(name: str) -> dict[str, Any]:
        live = workshop.live(name)
        live.clear()
        return live.state(curves=True)

    def remove(name: str) -> dict[str, Any]:
        workshop.remove(name)
        return {}

    def events(name: str) -> dict[str, Any]:
        return {"events": workshop.live(name).events}

    offer(app, "/api/runs", runs)
    offer(app, "/api/runs", begin, "POST")
    offer(app, "/api/comparisons", compare, "POST")
    offer(app, "/api/runs/{name}", state)
    offer(app, "/api/runs/{name}", edit, "PATCH")
    offer(app, "/api/runs/{name}", remove, "DELETE")
    offer(app, "/api/runs/{name}/events", events)
    for word, action in {"pause": pause, "resume": go_on, "again": again, "clear": clear}.items():
        offer(app, f"/api/runs/{{name}}/{word}", action, "POST")


def _add_files(app: FastAPI, workshop: Workshop) -> None:
    def snapshot(name: str) -> Response:
        live = workshop.live(name)
        return _download(live.checkpoint().sealed(), f"{live.name}-step-{live.step}.safetensors")

    def model(name: str) -> Response:
        run = workshop.run(name)
        return _download(run.model().sealed(), f"{run.name}.safetensors")

    reading = asyncio.Lock()  # one file at a time: a small one may hold much

    async def restore(request: Request) -> Response:
        content = await request.body()
        async with reading:
            run = await asyncio.to_thread(workshop.restore, content)
        return Told(run.state())

    async def bring(request: Request) -> Response:
        content = await request.body()
        name = escaped(unquote(request.headers.get("x-name", "image"))[:NAME])
        async with reading:
            key, kept = await asyncio.to_thread(workshop.bring, name, content)
        notes = [note.en for note in kept.notes]
        return Told({"upload": key, "name": name, "size": list(kept.pixels.shape), "notes": notes})

    app.add_api_route("/api/runs/{name}/snapshot", snapshot, response_model=None)
    app.add_api_route("/api/runs/{name}/model", model, response_model=None)
    app.add_api_route("/api/snapshots", restore, methods=["POST"], response_model=None)
    app.add_api_route("/api/images", bring, methods=["POST"], response_model=None)


def _download(content: bytes, name: str) -> Response:
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-._") else "-" for c in name)
    headers = {"content-disposition": f'attachment; filename="{safe}"'}
    return Response(content, media_type="application/octet-stream", headers=headers)
