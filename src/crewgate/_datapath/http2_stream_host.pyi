"""Drives the engine of an HTTP/2 connection to a tool's server, for its streams."""

import ngh2

from crewgate._datapath.http2_client_engine import HTTP2ClientEngine
from crewgate._datapath.pooled_connection import PooledConnection

class HTTP2StreamHost(PooledConnection):
    """The part of a connection that its streams use. Only native code can subclass it."""

    @property
    def engine(self) -> HTTP2ClientEngine | ngh2.Connection:
        """The native engine; ngh2's engine if the native one found no nghttp2."""
