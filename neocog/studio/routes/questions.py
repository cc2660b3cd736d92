"""What a run's network makes of images: its layers, its answers, single values, and why."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi import FastAPI, Response

from ...statistics import confusion_matrix
from .. import answering, bodies
from ..inside import test_images
from ..pictures import SAMPLES, image, samples
from ..telling import Told, offer
from ..workshop import Workshop


def add(app: FastAPI, workshop: Workshop) -> None:
    """Routes that ask and change nothing."""
    _add_views(app, workshop)
    _add_scenes(app, workshop)
    _add_why(app, workshop)


def _add_views(app: FastAPI, workshop: Workshop) -> None:
    def layers(name: str, body: bodies.Look) -> Response:
        found = workshop.layers(name, body.image.model_dump(), body.first, body.count)
        return Response(status_code=204) if found.looks == body.have else Told(found.content)

    def confusion(name: str) -> dict[str, Any]:
        live = workshop.live(name)
        pairs = np.array(list(live.progress.answers), np.int64).reshape(-1, 2)
        classes = live.data.train.classes
        return {"classes": list(classes), "counts": confusion_matrix(pairs[:, 0], pairs[:, 1], len(classes)).tolist()}

    def predictions(name: str) -> list[dict[str, Any]]:
        live = workshop.live(name)
        images = live.data.test.images
        latest = list(live.progress.predictions)[:SAMPLES]
        return [one | {"image": image(np.asarray(images[one["number"]]))} for one in latest]

    def chosen(name: str, first: int = 0) -> dict[str, Any]:
        return samples(test_images(workshop.run(name)), max(0, first))

    app.add_api_route("/api/runs/{name}/layers", layers, methods=["POST"], response_model=None)
    offer(app, "/api/runs/{name}/confusion", confusion)
    offer(app, "/api/runs/{name}/predictions", predictions)
    offer(app, "/api/runs/{name}/samples", chosen)


def _add_scenes(app: FastAPI, workshop: Workshop) -> None:
    def follow(body: bodies.Follow) -> dict[str, Any]:
        if body.run is not None:
            key, scene = workshop.scene_of(body.run, body.image.model_dump(), body.label)
        elif body.text is not None:
            key, scene = workshop.text_scene(body.text, body.seed)
        else:
            key, scene = workshop.demo_scene(body.seed)
        shown = None if scene.shown is None else image(scene.shown)
        return {"scene": key, "classes": list(scene.classes), "image": shown, **scene.overview()}

    def volume(key: str, layer: str, side: str = "forward", first: int = 0) -> dict[str, Any]:
        return workshop.scene(key).volume(layer, side, max(0, first))

    def cell(key: str, body: bodies.Cell) -> dict[str, Any]:
        return workshop.scene(key).cell(body.layer, body.channel, tuple(body.place), body.first)

    offer(app, "/api/scenes", follow, "POST")
    offer(app, "/api/scenes/{key}/volume", volume)
    offer(app, "/api/scenes/{key}/cell", cell, "POST")


def _add_why(app: FastAPI, workshop: Workshop) -> None:
    def methods() -> list[dict[str, Any]]:
        return answering.methods()

    def says(name: str, body: bodies.Ask) -> dict[str, Any]:
        return answering.says(workshop, name, body.image.model_dump())

    def why(name: str, body: bodies.Why) -> dict[str, Any]:
        return answering.answer(workshop, name, body.model_dump())

    def dense(name: str, body: bodies.Slide) -> dict[str, Any]:
        return answering.dense(workshop, name, body.model_dump())

    offer(app, "/api/methods", methods)
    offer(app, "/api/runs/{name}/answer", says, "POST")
    offer(app, "/api/runs/{name}/why", why, "POST")
    offer(app, "/api/runs/{name}/dense", dense, "POST")
