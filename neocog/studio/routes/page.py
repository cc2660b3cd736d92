"""The page's own files."""

from __future__ import annotations

from importlib.resources import files

from fastapi import FastAPI, Response

from ..workshop import Gone

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def add(app: FastAPI) -> None:
    """Each file of the page by its name: a request names none of the file system's."""
    served = {
        entry.name: (entry.read_bytes(), TYPES[suffix])
        for entry in files("neocog.studio").joinpath("page").iterdir()
        if (suffix := "." + entry.name.rpartition(".")[2]) in TYPES
    }

    def page() -> Response:
        return part("index.html")

    def part(name: str) -> Response:
        if name not in served:
            raise Gone("the page has no such part")
        content, kind = served[name]
        return Response(content, headers={"content-type": kind})

    app.add_api_route("/", page, methods=["GET", "HEAD"])
    app.add_api_route("/page/{name}", part, methods=["GET", "HEAD"])
