"""The studio's routes: the page and its files, the JSON API under `/api/`, and one web socket that tells of runs.

Mistakes that can be explained are answered with 400 and their parts, what is not there with 404. No answer quotes
more of a request than an error message may, and none holds paths or tracebacks.
"""

from __future__ import annotations

import asyncio
from importlib.resources import files
from typing import Any
from urllib.parse import unquote

import numpy as np
from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from .. import __version__
from ..data import Dataset, load_data
from ..errors import NeocogError, RunError, escaped
from ..layer import Shape
from ..layers import Conv
from ..statistics import confusion_matrix
from ..torch_engine.trainer import OPTIMIZERS
from ..training.settings import LEARNING_RATES
from . import answering, bodies
from .choosing import available
from .drafting import draft, zoo
from .pictures import flat, image, maps
from .running import Live
from .workshop import Gone, Workshop, test_images

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
SAMPLES = 12
TELL_SECONDS, CURVE_TELLINGS = 0.25, 4
"""How often runs are told of, and in every how manieth telling with their curves."""


def create_app(workshop: Workshop) -> FastAPI:
    """The application, without what guards it (`security.Guard`)."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    _explain_errors(app)
    _add_page(app)
    _add_planning(app)
    _add_runs(app, workshop)
    _add_files(app, workshop)
    _add_scenes(app, workshop)
    _add_socket(app, workshop)
    return app


def _explain_errors(app: FastAPI) -> None:
    @app.exception_handler(NeocogError)
    def explained(request: Request, error: NeocogError) -> Response:
        parts = {"kind": type(error).__name__, "rule": error.rule, "received": error.received, "hint": error.hint}
        status = 404 if isinstance(error, Gone) else 409 if isinstance(error, RunError) else 400
        return JSONResponse({"error": parts | {"where": error.where}}, status)

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> Response:
        return JSONResponse({"error": {"rule": str(error.detail)[:200]}}, error.status_code)

    @app.exception_handler(RequestValidationError)
    def unfit(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part)[:40] for part in first["loc"][1:])
        return JSONResponse({"error": {"rule": f"{place}: {first['msg']}"[:200]}}, 422)


def _add_page(app: FastAPI) -> None:
    """Each file of the page by its name: a request names none of the file system's."""
    folder = files(__package__).joinpath("page")
    served = {
        entry.name: (entry.read_bytes(), TYPES[suffix])
        for entry in folder.iterdir()
        if (suffix := "." + entry.name.rpartition(".")[2]) in TYPES
    }

    def page() -> Response:
        content, kind = served["index.html"]
        return Response(content, headers={"content-type": kind})

    def part(name: str) -> Response:
        if name not in served:
            raise Gone("the page has no such part")
        content, kind = served[name]
        return Response(content, headers={"content-type": kind})

    app.add_api_route("/", page, methods=["GET", "HEAD"])
    app.add_api_route("/page/{name}", part, methods=["GET", "HEAD"])


def _add_planning(app: FastAPI) -> None:
    def about() -> dict[str, Any]:
        return {
            "version": __version__,
            "data": available(),
            "zoo": zoo(),
            "optimizers": list(OPTIMIZERS),
            "rates": LEARNING_RATES,
        }

    def planned(body: bodies.Draft) -> dict[str, Any]:
        return draft(body.text, body.batch, body.dtype, body.optimizer)

    def fitting(body: bodies.Fitting) -> list[dict[str, Any]]:
        return [_fits(body, stride) for stride in range(1, body.most_stride + 1)]

    def samples(name: str) -> dict[str, Any]:
        if name not in available():
            raise Gone("these images are not there")
        return _samples(load_data(name).test, 0)

    app.add_api_route("/api/about", about)
    app.add_api_route("/api/data/{name}/samples", samples)
    app.add_api_route("/api/plan", planned, methods=["POST"])
    app.add_api_route("/api/window", fitting, methods=["POST"])


def _fits(body: bodies.Fitting, stride: int) -> dict[str, Any]:
    """The output size with a stride, or why there is none."""
    layer = Conv((body.kernel,), 1, (stride,), (body.padding,), (body.dilation,))
    try:
        return {"stride": stride, "output": layer.output_shape(Shape((body.size, body.size), 1)).spatial[0]}
    except NeocogError as error:
        return {"stride": stride, "output": None, "why": error.rule, "hint": error.hint}


def _add_runs(app: FastAPI, workshop: Workshop) -> None:
    def runs() -> list[dict[str, Any]]:
        return [run.state(curves=True) for run in list(workshop.runs.values())]

    def begin(body: bodies.Begin) -> dict[str, Any]:
        return workshop.begin(body.text, body.data, body.settings.model_dump(), body.engine).state()

    def state(name: str) -> dict[str, Any]:
        return workshop.run(name).state(curves=True)

    def edit(name: str, body: bodies.Edit) -> dict[str, Any]:
        live = _live(workshop, name)
        live.edit(body.changes()).result(timeout=60)
        return live.state()

    def pause(name: str) -> dict[str, Any]:
        _live(workshop, name).pause(True)
        return workshop.run(name).state()

    def go_on(name: str) -> dict[str, Any]:
        chosen = _live(workshop, name)
        for other in list(workshop.runs.values()):
            if isinstance(other, Live) and other is not chosen:
                other.pause(True)
        chosen.pause(False)
        return chosen.state()

    def again(name: str) -> dict[str, Any]:
        return workshop.again(name).state()

    def clear(name: str) -> dict[str, Any]:
        live = _live(workshop, name)
        live.ask(live.clear).result(timeout=60)
        return live.state(curves=True)

    def remove(name: str) -> dict[str, Any]:
        workshop.remove(name)
        return {}

    def events(name: str) -> dict[str, Any]:
        return {"events": _live(workshop, name).events}

    app.add_api_route("/api/runs", runs)
    app.add_api_route("/api/runs", begin, methods=["POST"])
    app.add_api_route("/api/runs/{name}", state)
    app.add_api_route("/api/runs/{name}", edit, methods=["PATCH"])
    app.add_api_route("/api/runs/{name}", remove, methods=["DELETE"])
    app.add_api_route("/api/runs/{name}/events", events)
    for word, action in {"pause": pause, "resume": go_on, "again": again, "clear": clear}.items():
        app.add_api_route(f"/api/runs/{{name}}/{word}", action, methods=["POST"])


def _live(workshop: Workshop, name: str) -> Live:
    run = workshop.run(name)
    if not isinstance(run, Live):
        raise NeocogError("this run is only looked at", received=name[:40])
    return run


def _add_files(app: FastAPI, workshop: Workshop) -> None:
    def snapshot(name: str) -> Response:
        live = _live(workshop, name)
        return _download(live.checkpoint().sealed(), f"{live.name}-step-{live.step}.safetensors")

    def model(name: str) -> Response:
        run = workshop.run(name)
        return _download(run.model().sealed(), f"{run.name}.safetensors")

    async def restore(request: Request) -> dict[str, Any]:
        content = await request.body()
        return (await asyncio.to_thread(workshop.restore, content)).state()

    async def bring(request: Request) -> dict[str, Any]:
        content = await request.body()
        name = escaped(unquote(request.headers.get("x-name", "image"))[:80])
        key = await asyncio.to_thread(workshop.bring, name, content)
        kept = workshop.images[key]
        return {"upload": key, "name": name, "size": list(kept.pixels.shape), "notes": list(kept.notes)}

    app.add_api_route("/api/runs/{name}/snapshot", snapshot)
    app.add_api_route("/api/runs/{name}/model", model)
    app.add_api_route("/api/snapshots", restore, methods=["POST"])
    app.add_api_route("/api/images", bring, methods=["POST"])


def _download(content: bytes, name: str) -> Response:
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-._") else "-" for c in name)
    headers = {"content-disposition": f'attachment; filename="{safe}"'}
    return Response(content, media_type="application/octet-stream", headers=headers)


def _add_scenes(app: FastAPI, workshop: Workshop) -> None:
    def layers(name: str, body: bodies.Look) -> dict[str, Any]:
        told = {**workshop.layers(name, body.image.model_dump(), body.first, body.count)}
        told["pixels"], told["gradient"] = image(told["pixels"]), maps(flat(told["gradient"]))
        return told

    def confusion(name: str) -> dict[str, Any]:
        live = _live(workshop, name)
        pairs = np.array(list(live.answers), np.int64).reshape(-1, 2)
        classes = live.data.train.classes
        return {"classes": list(classes), "counts": confusion_matrix(pairs[:, 0], pairs[:, 1], len(classes)).tolist()}

    def predictions(name: str) -> list[dict[str, Any]]:
        live = _live(workshop, name)
        test = live.data.test
        return [
            one | {"image": image(np.asarray(test.images[one["number"]]))} for one in list(live.predictions)[:SAMPLES]
        ]

    def samples(name: str, first: int = 0) -> dict[str, Any]:
        return _samples(test_images(workshop.run(name)), max(0, first))

    def follow(body: bodies.Follow) -> dict[str, Any]:
        if body.run is not None:
            key = workshop.scene_of(body.run, body.image.model_dump(), body.label)
        elif body.text is not None:
            key = workshop.text_scene(body.text, body.seed)
        else:
            key = workshop.demo_scene(body.seed)
        scene = workshop.scene(key)
        shown = None if scene.shown is None else image(scene.shown)
        return {"scene": key, "classes": list(scene.classes), "image": shown, **scene.overview()}

    def volume(key: str, layer: str, side: str = "forward", first: int = 0) -> dict[str, Any]:
        return workshop.scene(key).volume(layer, side, max(0, first))

    def cell(key: str, body: bodies.Cell) -> dict[str, Any]:
        return workshop.scene(key).cell(body.layer, body.channel, tuple(body.place), body.first)

    def methods() -> list[dict[str, Any]]:
        return answering.methods()

    def why(name: str, body: bodies.Why) -> dict[str, Any]:
        return answering.answer(workshop, name, body.model_dump())

    def dense(name: str, body: bodies.Slide) -> dict[str, Any]:
        return answering.dense(workshop, name, body.model_dump())

    app.add_api_route("/api/methods", methods)
    app.add_api_route("/api/runs/{name}/dense", dense, methods=["POST"])
    app.add_api_route("/api/runs/{name}/why", why, methods=["POST"])
    app.add_api_route("/api/runs/{name}/layers", layers, methods=["POST"])
    app.add_api_route("/api/runs/{name}/confusion", confusion)
    app.add_api_route("/api/runs/{name}/predictions", predictions)
    app.add_api_route("/api/runs/{name}/samples", samples)
    app.add_api_route("/api/scenes", follow, methods=["POST"])
    app.add_api_route("/api/scenes/{key}/volume", volume)
    app.add_api_route("/api/scenes/{key}/cell", cell, methods=["POST"])


def _samples(test: Dataset, first: int) -> dict[str, Any]:
    """A dozen test images from number `first` on."""
    chosen = [(first + k) % len(test) for k in range(min(SAMPLES, len(test)))]
    images = [
        {"number": k, "label": test.classes[int(test.labels[k])], "image": image(np.asarray(test.images[k]))}
        for k in chosen
    ]
    return {"total": len(test), "images": images}


def _add_socket(app: FastAPI, workshop: Workshop) -> None:
    async def live(socket: WebSocket) -> None:
        """All runs, a few times a second, for as long as somebody listens; what is sent has the same size for ever."""
        await socket.accept()
        listening = asyncio.create_task(_until_gone(socket))
        telling = 0
        while not listening.done():
            told = [run.state(curves=telling % CURVE_TELLINGS == 0) for run in list(workshop.runs.values())]
            try:
                await socket.send_json({"runs": told})
            except (WebSocketDisconnect, RuntimeError):
                break
            telling += 1
            await asyncio.wait([listening], timeout=TELL_SECONDS)
        listening.cancel()

    app.add_api_websocket_route("/api/live", live)


async def _until_gone(socket: WebSocket) -> None:
    """Nothing that the page says here is listened to."""
    try:
        while True:
            await socket.receive_text()
    except (WebSocketDisconnect, RuntimeError, KeyError):
        return
