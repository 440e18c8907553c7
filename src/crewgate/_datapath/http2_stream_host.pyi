"""Drives the engine of an HTTP/2 connection to a tool's server, for its streams."""

import ngh2

from crewgate._datapath.connection_pool import PoolCallbacks
from crewgate._datapath.http2_client_engine import HTTP2ClientEngine
from crewgate._datapath.transport import Transport

class HTTP2StreamHost:
    """The part of a connection that its streams use. Only native code can subclass it."""

    @property
    def engine(self) -> HTTP2ClientEngine | ngh2.Connection:
        """The native engine; ngh2's engine if the native one found no nghttp2."""
    @property
    def pool(self) -> PoolCallbacks:
        """The pool that the connection belongs to."""
    @property
    def transport(self) -> Transport:
        """The socket."""
