"""HTTP/2 for a server (RFC 9113), by the nghttp2 that ngh2 bundles, called through its C functions.

`library` is the name of the library in use; it is None if no library did what Crewgate relies on.
`faults` has the fault of each library that failed. Clients (http2_client_engine) use the same
library.
"""

from collections.abc import Iterable

import ngh2

from crewgate._datapath.http2_endpoint import HTTP2Endpoint

library: str | None
faults: list[str]

class HTTP2Engine(HTTP2Endpoint):
    """The server's side of one connection, with the methods of `ngh2.Connection` and its errors.

    If a native caller (http2_endpoint.pxd) answers a stream itself, no event tells of its end.
    """

    def send_response(
        self, stream_id: int, headers: Iterable[ngh2.Header], *, end_stream: bool = False
    ) -> None: ...
    def send_informational_response(
        self, stream_id: int, headers: Iterable[ngh2.Header]
    ) -> None: ...
    def send_shutdown_notice(self) -> None: ...
    def send_goaway(self, error_code: int = 0) -> None: ...
