"""One file from the web: resumed where it was cut off, and believed only when its SHA-256 is the expected one.

It grows under a name of its own beside the place it is for, and gets its name when it is complete and right. So a name
always stands for the whole file, and an interrupted download goes on where it stopped (RFC 9110, section 14).
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import ssl
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from ..errors import RunError
from .published import Remote

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds to wait before each further try. After one that came farther, counting begins anew."""
SILENCE = 30.0
"""Seconds without a byte after which a connection counts as lost."""
CHUNK = 1 << 18
WORTH_ANOTHER_TRY = (408, 425, 429, 500, 502, 503, 504)

Told = Callable[[int], None]
"""Is told how many bytes of the file are there."""


def download(
    remote: Remote, path: Path, told: Told = lambda done: None, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Bring a file to its place. Raises RunError naming the address or the place, and what to do."""
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        check_space(path.parent, remote.size - _size(part))
        _fetch(remote, part, told, sleep)
        _check(remote, part)
        os.replace(part, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError("this file cannot be written", where=str(path), received=reason) from None


def check_space(folder: Path, needed: int) -> None:
    """Raises RunError where a folder, which may not exist yet, has no room for so many bytes."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise RunError(
            f"{needed:,} bytes more are needed here",
            where=str(folder),
            received=f"{free:,} bytes free",
            hint="NEOCOG_DATA=<a folder on another disk>",
        )


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _fetch(remote: Remote, part: Path, told: Told, sleep: Callable[[float], None]) -> None:
    """Try until all bytes are there, with growing pauses while no try comes farther than those before it."""
    if _size(part) > remote.size:
        part.unlink()
    failures, farthest = 0, _size(part)
    while (have := _size(part)) < remote.size:
        told(have)
        reason = _try(remote, part, told)
        if _size(part) > farthest:
            failures, farthest = 0, _size(part)
        else:
            failures += 1
        if failures > len(PAUSES):
            raise RunError(
                f"this file could not be downloaded in {failures} tries",
                where=remote.url,
                received=reason,
                hint="the same again later: what has come is kept, and it goes on from there",
            )
        if reason:
            sleep(PAUSES[max(0, failures - 1)])


def _try(remote: Remote, part: Path, told: Told) -> str:
    """Ask once for what is missing, and take what comes. Returns why it ended early; empty where it did not."""
    have = _size(part)
    request = urllib.request.Request(remote.url, headers={"User-Agent": "neocog"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with _opener().open(request, timeout=SILENCE) as answer:
            return _take(answer, have, remote, part, told)
    except HTTPError as error:
        error.close()
        if error.code == 416:  # what is here is not the start of what is there
            part.unlink()
        elif error.code not in WORTH_ANOTHER_TRY:
            rule = "this file is not there" if error.code >= 400 else "this address leads where it may not"
            raise RunError(rule, where=remote.url, received=f"{error.code} {error.reason}") from None
        return f"{error.code} {error.reason}"
    except URLError as error:
        return str(getattr(error.reason, "strerror", None) or error.reason)
    except (http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        return str(error) or type(error).__name__


def _take(answer: http.client.HTTPResponse, have: int, remote: Remote, part: Path, told: Told) -> str:
    """Append an answer's bytes, or begin anew where the server does not resume; never more than the file has."""
    if answer.status == 206:
        start = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
        if start is None or int(start[1]) != have:
            return "a part that was not asked for"
    else:
        have = 0
    with part.open("ab" if have else "wb") as file:
        while have < remote.size and (chunk := _read(answer, min(CHUNK, remote.size - have))):
            file.write(chunk)
            have += len(chunk)
            told(have)
    return "" if have == remote.size else f"the connection ended after {have:,} of {remote.size:,} bytes"


def _read(answer: IO[bytes], size: int) -> bytes:
    """Some bytes, fewer where the connection ends; what came before it broke is not lost."""
    try:
        return answer.read(size)
    except http.client.IncompleteRead as error:
        return error.partial


def _check(remote: Remote, part: Path) -> None:
    """Raises RunError, and removes what was downloaded, when it is not what it should be."""
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    if found != remote.sha256:
        part.unlink()
        raise RunError(
            f"this file must have SHA-256 {remote.sha256}; it was removed",
            where=remote.url,
            received=found,
            hint="the same again; if it stays so, the file was changed by someone on the way or at its source",
        )


class _SameScheme(urllib.request.HTTPRedirectHandler):
    """Follows redirections, but not to other kinds of addresses; from http to https is no loss."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        before, after = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if after not in (before, "https"):
            error = f"{msg} - Redirection to url '{newurl}' is not allowed"  # as urllib says of what is no web page
            raise HTTPError(newurl, code, error, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """http and https alone: no files, no ftp."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _SameScheme(),
    ):
        opener.add_handler(handler)
    return opener
