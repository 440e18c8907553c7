"""The files of the page: read once, and found by their names alone, so no path leads elsewhere."""

import hashlib
from importlib import resources
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from crewgate import limits
from crewgate.core.problem_types import NOT_FOUND

PAGE: Final = "index.html"
_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "ico": "image/x-icon",
}


class StaticFile(NamedTuple):
    """A file, its media type, and the strong validator of its content (RFC 9110, 8.8.3)."""

    data: bytes
    media: str
    tag: str


class StaticFiles:
    """The files of the folder `static` of this package that browsers may have, by name."""

    def __init__(self) -> None:
        folder = resources.files("crewgate.ui").joinpath("static")
        self._files = {
            each.name: _read(each.read_bytes(), media)
            for each in folder.iterdir()
            if (media := _TYPES.get(each.name.rpartition(".")[2])) is not None
        }

    def answer(self, name: str, request: Request) -> Response:
        """Return the answer with a file, or that it has not changed. Raises ControlError 404."""
        found = self._files.get(name)
        if found is None:
            raise NOT_FOUND.error("there is no such file")
        # A browser asks each time, so that an upgrade reaches it.
        headers = {"etag": found.tag, "cache-control": "no-cache"}
        known = request.headers.get("if-none-match", "")
        if found.tag in (each.strip().removeprefix("W/") for each in known.split(",")):
            return Response(status_code=304, headers=headers)
        return Response(found.data, headers=headers, media_type=found.media)


def _read(data: bytes, media: str) -> StaticFile:
    if len(data) > limits.ui_static_bytes_max:
        raise ValueError(f"a file of the page has more than {limits.ui_static_bytes_max} bytes")
    return StaticFile(data, media, f'"{hashlib.sha256(data).hexdigest()[:32]}"')
