"""HTTP/2 for a client (RFC 9113), by the nghttp2 that `http2_engine.library` names."""

from collections.abc import Iterable, Mapping

import ngh2

from crewgate._datapath.http2_endpoint import HTTP2Endpoint

class HTTP2ClientEngine(HTTP2Endpoint):
    """The client's side of one connection, with the methods of `ngh2.Connection` and its errors.

    Unlike ngh2, it makes no event for frames of the kinds ALTSVC and ORIGIN.
    """

    @property
    def can_send_request(self) -> bool: ...
    @property
    def remote_settings(self) -> Mapping[int, int]: ...
    def send_request(self, headers: Iterable[ngh2.Header], *, end_stream: bool = False) -> int: ...
    def end_stream(self, stream_id: int) -> None: ...
