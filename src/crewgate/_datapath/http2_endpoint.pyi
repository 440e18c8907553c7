"""The methods of `ngh2.Connection` that HTTP/2 clients and servers have in common (RFC 9113)."""

from collections.abc import Iterable, Mapping

import ngh2

class HTTP2Endpoint:
    """One endpoint of a connection, with the methods of `ngh2.Connection` and its errors.

    It is a client or a server: use one of the subclasses. All endpoints of a process share a
    buffer, so one thread uses them.
    """

    def __init__(self, configuration: ngh2.Configuration | None = None) -> None:
        """Raise ngh2.InternalError if there is no library; see `http2_engine.library`."""

    @property
    def want_read(self) -> bool: ...
    @property
    def want_write(self) -> bool: ...
    @property
    def local_window_size(self) -> int: ...
    @property
    def owned_count(self) -> int:
        """How many streams a native caller answers."""

    def initiate_connection(
        self, settings: Mapping[int, int] | Mapping[ngh2.Setting, int] | None = None
    ) -> None: ...
    def receive_data(self, data: bytes) -> None: ...
    def events(self) -> list[ngh2.Event]: ...
    def data_to_send(self, amount: int | None = None) -> bytes: ...
    def send_data(
        self, stream_id: int, data: bytes | bytearray | memoryview, *, end_stream: bool = False
    ) -> None: ...
    def send_trailers(self, stream_id: int, headers: Iterable[ngh2.Header]) -> None: ...
    def queued_body_size(self, stream_id: int) -> int: ...
    def reset_stream(self, stream_id: int, error_code: int = 8) -> None: ...
    def acknowledge_received_data(self, amount: int, stream_id: int) -> None: ...
    def set_local_window_size(self, window_size: int) -> None:
        """Set the window of the connection, not that of a stream."""

    def terminate_connection(self, error_code: int = 0) -> None: ...
    def rest(self) -> bool:
        """Give back the memory that only a busy connection needs; return False if it has output.

        That is up to 20 KiB. The connection takes it again when it needs it.
        """
