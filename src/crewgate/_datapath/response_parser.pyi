"""Reads the responses of tools' servers with llhttp."""

from crewgate._native.response_reader import ResponseReader

class ResponseParser(ResponseReader):
    """Parses the responses of one connection with llhttp: head, body, trailers, end.

    It refuses what could be framed in two ways (llhttp does), protocol upgrades, and heads over
    their limits. See `ResponseReader`.
    """

    def __init__(self) -> None: ...
