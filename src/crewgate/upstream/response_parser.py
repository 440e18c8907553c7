"""The answer of a tool's server as llhttp reads it: head, pieces of the body, trailers, end.

Refuses what could be framed in two ways (llhttp does), switching protocols, and heads over their
bounds. Knows no socket.
"""

import httptools

from crewgate._native.response_reader import ResponseReader


class ResponseParser(ResponseReader):
    """Reads the answers of one connection; see `ResponseReader`."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(
            httptools.HttpResponseParser, (httptools.HttpParserError, httptools.HttpParserUpgrade)
        )
