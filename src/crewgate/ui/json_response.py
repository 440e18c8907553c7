"""Answers with documents, most in JSON, which no cache may keep."""

from collections.abc import Mapping

import msgspec
from starlette.responses import Response, StreamingResponse

from crewgate import limits
from crewgate.api.response_pieces import pieces

_encode = msgspec.json.Encoder().encode
_HEADERS = {"cache-control": "no-store"}
_JSON = "application/json"


def json_response(answer: object) -> Response:
    """Return the response with a document; a large one is sent in pieces.

    So a client that reads slowly causes no copy of the rest.
    """
    return encoded_response(_encode(answer))


def encoded_response(data: bytes) -> Response:
    """Return the response with a document that was encoded, perhaps in a thread."""
    if len(data) <= limits.buffer_bytes_max:
        return Response(data, headers=_HEADERS, media_type=_JSON)
    return DocumentResponse(data, _HEADERS, _JSON)


class DocumentResponse(StreamingResponse):
    """A large document of `size` bytes, sent in pieces."""

    def __init__(self, data: bytes, headers: Mapping[str, str], media_type: str) -> None:
        super().__init__(pieces(data), headers=headers, media_type=media_type)
        self.size = len(data)
