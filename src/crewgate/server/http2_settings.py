"""nghttp2 as this edge sets it up: what it tolerates by itself, and what it tells clients.

Knows no exchange. Floods are nghttp2's to count; it ends a connection whose head is over the bounds
given here, so they lie above those of a request, which cost the stream alone.
"""

import contextlib

from ngh2 import Configuration, Connection, ErrorCode, NGH2Error, Role, Setting

from crewgate import limits

PSEUDO_FIELDS = 4  # of a request, RFC 9113 §8.3.1
# What nghttp2 says when it ends a connection for its rate of resets, and of glitches.
FLOODS = {ErrorCode.INTERNAL_ERROR, ErrorCode.ENHANCE_YOUR_CALM}

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


def server_engine() -> Connection:
    """Return the engine of a new connection, its settings ready to be sent."""
    engine = Connection(Role.SERVER, _CONFIGURATION)
    engine.initiate_connection(_SETTINGS)
    engine.set_local_window_size(limits.connection_window_bytes)
    return engine


def is_over(engine: Connection) -> bool:
    """Return whether nothing is to be read or written any more."""
    try:
        return not (engine.want_read or engine.want_write)
    except NGH2Error:  # it is no longer usable, after an error or a GOAWAY of ours
        return True


def terminate(engine: Connection) -> None:
    """End the connection, because its client sends what no client would (RFC 9113 §10.5)."""
    with contextlib.suppress(NGH2Error):
        engine.terminate_connection(ErrorCode.ENHANCE_YOUR_CALM)
