"""Configures nghttp2 for a server: the limits it enforces itself, and the settings it announces.

The engine of a connection is the native one (crewgate._datapath.http2_engine), which calls nghttp2
without a Python object for each field. If it found no nghttp2, ngh2's engine does the same.

nghttp2 counts floods. If a head exceeds the limits given here, nghttp2 ends the whole connection;
the limits of a request are lower, and end only its stream. This module knows no exchange.
"""

import logging

from ngh2 import Configuration, Connection, Role, Setting

import crewgate.runtime.http2_self_test  # noqa: F401 - the import runs the test
from crewgate import limits
from crewgate._datapath import http2_engine
from crewgate._datapath.http2_engine import HTTP2Engine

_log = logging.getLogger(__name__)
PSEUDO_FIELDS = 4  # a request has at most four pseudo-header fields (RFC 9113 §8.3.1)

_CONFIGURATION = Configuration(
    auto_window_update=False,
    max_outbound_ack=limits.acknowledgements_max,
    max_settings=limits.settings_entries_max,
    max_continuations=limits.continuations_max,
    stream_reset_rate_limit=(limits.stream_resets_burst, limits.stream_resets_per_second),
    glitch_rate_limit=(limits.glitches_burst, limits.glitches_per_second),
    max_inbound_header_list_size=limits.head_slack * limits.head_bytes_max,
    max_inbound_header_count=limits.head_slack * limits.head_fields_max,
)
_SETTINGS = {
    Setting.MAX_CONCURRENT_STREAMS: limits.streams_max,
    Setting.INITIAL_WINDOW_SIZE: limits.stream_window_bytes,
    Setting.MAX_HEADER_LIST_SIZE: limits.head_bytes_max,
    Setting.NO_RFC7540_PRIORITIES: 1,
}


ServerEngine = HTTP2Engine | Connection


def server_engine() -> ServerEngine:
    """Return the engine of a new connection, with its settings queued to be sent."""
    engine: ServerEngine = (
        HTTP2Engine(_CONFIGURATION)
        if http2_engine.library is not None
        else Connection(Role.SERVER, _CONFIGURATION)
    )
    engine.initiate_connection(_SETTINGS)
    engine.set_local_window_size(limits.connection_window_bytes)
    return engine


def log_http2_library() -> None:
    """Log which nghttp2 serves the connections of this process."""
    if http2_engine.library is not None:
        _log.info("HTTP/2 is served by the nghttp2 of %s", http2_engine.library)
    else:
        faults = "; ".join(http2_engine.faults)
        _log.info("HTTP/2 is served by ngh2, at more cost, because of these faults: %s", faults)
