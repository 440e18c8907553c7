"""A request as a tool's server of the soak has it, whichever version of HTTP brought it."""

import json
import os
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

Field = tuple[bytes, bytes]


class GoneError(Exception):
    """The gateway has given the request up."""


class Request(ABC):
    """One request. It is in the log when it has been made."""

    def __init__(self, target: bytes, fields: Iterable[Field], log: int) -> None:
        path, _, query = target.decode("ascii").partition("?")
        self.words = path.strip("/").split("/")
        self.query = dict(pair.split("=") for pair in query.split("&") if pair)
        self.identity = {
            name.decode().removeprefix("x-crewgate-"): value.decode()
            for name, value in fields
            if name.startswith(b"x-crewgate-")
        }
        self.seen = self.identity.get("request", "")
        self._bytes = 0
        self._crc = 0
        if self.words != ["health"]:
            os.write(log, f"{self.seen or 'nobody'} {self.identity.get('tool', path)}\n".encode())

    @abstractmethod
    async def read(self) -> bytes:
        """Wait for a piece of the body; b"" at its end. GoneError if that never comes."""

    @abstractmethod
    async def start(self, status: int, fields: Sequence[Field]) -> None:
        """Begin an answer."""

    @abstractmethod
    async def piece(self, data: bytes, *, last: bool = False) -> None:
        """Go on with it, or end it."""

    @abstractmethod
    async def reset(self) -> None:
        """Break off, so that the gateway sees it at once."""

    async def read_body(self) -> None:
        """Take all of the body."""
        while data := await self.read():
            self._bytes += len(data)
            self._crc = zlib.crc32(data, self._crc)

    async def answer(self, body: bytes, kind: bytes = b"application/json") -> None:
        """Answer in full."""
        length = b"%d" % len(body)
        await self.start(200, [(b"content-type", kind), (b"content-length", length)])
        await self.piece(body, last=True)

    async def tell(self) -> None:
        """Answer with what came."""
        seen = self.identity | {"bytes": self._bytes, "crc": self._crc}
        await self.answer(json.dumps(seen).encode())

    def names(self) -> list[Field]:
        """The fields by which an answer names its request, and who is said to have sent it."""
        branch = self.identity.get("branch", "")
        return [(b"x-seen-request", self.seen.encode()), (b"x-seen-branch", branch.encode())]
