"""The studio as an application: its routes, and how mistakes are told.

Mistakes that can be explained are answered with 400 and their parts, what is not there with 404, what cannot be done
now with 409. No answer quotes more of a request than an error message may, and none holds paths or tracebacks.
"""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from ..errors import NeocogError, RunError
from .routes import live, page, planning, questions, runs
from .telling import Told
from .workshop import Gone, Workshop


def create_app(workshop: Workshop) -> FastAPI:
    """The application, without what guards it (`security.Guard`)."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    _explain_errors(app)
    page.add(app)
    planning.add(app)
    runs.add(app, workshop)
    questions.add(app, workshop)
    live.add(app, workshop)
    return app


def _explain_errors(app: FastAPI) -> None:
    @app.exception_handler(NeocogError)
    def explained(request: Request, error: NeocogError) -> Response:
        parts = {"kind": type(error).__name__, "rule": error.rule, "received": error.received, "hint": error.hint}
        status = 404 if isinstance(error, Gone) else 409 if isinstance(error, RunError) else 400
        return Told({"error": parts | {"where": error.where}}, status)

    @app.exception_handler(TimeoutError)
    def busy(request: Request, error: TimeoutError) -> Response:
        return Told({"error": {"rule": "this run is busy with a long step; try again later"}}, 503)

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> Response:
        return Told({"error": {"rule": str(error.detail)[:200]}}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    def unfit(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part)[:40] for part in first["loc"][1:])
        return Told({"error": {"rule": f"{place}: {first['msg']}"[:200]}}, 422)
