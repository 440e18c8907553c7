"""Tries on import what the gateway relies on in ngh2, a young library whose API still changes.

Two engines in memory do what an attacker and an honest client do. The limits here are small, so
that the test is short: each server and client sets its own. The engines are ngh2's, or others with
the same methods (crewgate._datapath.http2_engine and http2_client_engine).
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import ngh2

from crewgate.runtime.install_hint import unusable_library

_WINDOW = 100  # bytes of a stream that the server accepts before it acknowledges some
_BODY = 150  # bytes that the client sends, more than the window
_FIELDS_MAX = 8  # fields of a request
_RESETS_MAX = 2  # streams that a client may reset at once
_HIGHEST_STREAM = 2**31 - 1  # in a GOAWAY: "no new request", RFC 9113 section 6.8
_TURNS_MAX = 10  # exchanges of bytes until both engines have nothing to say
# Makes a server or a client with the methods of `ngh2.Connection`.
EngineMaker = Callable[[ngh2.Configuration], Any]
_REQUEST = [
    (b":method", b"POST"),
    (b":scheme", b"https"),
    (b":authority", b"localhost"),
    (b":path", b"/"),
]


class _Pair:
    """A client and a server whose bytes reach each other at once."""

    def __init__(self, make_server: EngineMaker, make_client: EngineMaker) -> None:
        limits = ngh2.Configuration(
            auto_window_update=False,
            max_outbound_ack=100,
            max_settings=10,
            max_continuations=2,
            stream_reset_rate_limit=(_RESETS_MAX, 1),
            glitch_rate_limit=(100, 1),
            max_inbound_header_list_size=1000,
            max_inbound_header_count=_FIELDS_MAX,
        )
        self.server = make_server(limits)
        self.client = make_client(ngh2.Configuration())
        self.server.initiate_connection(
            {
                ngh2.Setting.INITIAL_WINDOW_SIZE: _WINDOW,
                ngh2.Setting.MAX_HEADER_LIST_SIZE: 1000,
                ngh2.Setting.NO_RFC7540_PRIORITIES: 1,
            }
        )
        self.client.initiate_connection({ngh2.Setting.ENABLE_PUSH: 0})
        self.talk()

    def talk(self) -> None:
        """Carry the bytes of each engine to the other, until neither has more."""
        for _ in range(_TURNS_MAX):
            sent, answered = self.client.data_to_send(), self.server.data_to_send()
            if not sent and not answered:
                return
            self.server.receive_data(sent)
            self.client.receive_data(answered)


def _values(event: ngh2.Event) -> tuple[object, ...]:
    """Return the type of an event and its values; two events are never equal themselves."""
    names: tuple[str, ...] = event.__match_args__
    return type(event), *(getattr(event, name) for name in names)


def _windows_open_by_hand(make_server: EngineMaker, make_client: EngineMaker) -> bool:
    """A client sends no more of a body than the server has acknowledged."""
    pair = _Pair(make_server, make_client)
    pair.server.events()
    stream = pair.client.send_request(_REQUEST)
    pair.client.send_data(stream, bytes(_BODY))
    pair.talk()
    held_back = pair.client.queued_body_size(stream)
    first = [_values(event) for event in pair.server.events()]
    pair.server.acknowledge_received_data(_WINDOW, stream)
    pair.talk()
    second = [_values(event) for event in pair.server.events()]
    return (
        held_back == _BODY - _WINDOW
        and first
        == [
            (ngh2.RequestReceived, stream, tuple(_REQUEST), False),
            (ngh2.DataReceived, stream, bytes(_WINDOW), False),
        ]
        and second == [(ngh2.DataReceived, stream, bytes(_BODY - _WINDOW), False)]
        and pair.client.queued_body_size(stream) == 0
    )


def _answers_arrive_whole(make_server: EngineMaker, make_client: EngineMaker) -> bool:
    """An answer has its hints, head, body and trailers; a notice of the end names no stream."""
    pair = _Pair(make_server, make_client)
    stream = pair.client.send_request(_REQUEST, end_stream=True)
    pair.talk()
    server = pair.server
    server.send_informational_response(stream, [(b":status", b"103")])
    server.send_response(stream, [(b":status", b"200")])
    server.send_data(stream, b"body")
    server.send_trailers(stream, [(b"x-end", b"1")])
    pair.client.events()
    pair.talk()
    server.send_shutdown_notice()
    pair.talk()
    ends = (ngh2.StreamClosed, ngh2.ConnectionClosed)
    events = [_values(event) for event in pair.client.events() if not isinstance(event, ends)]
    return events == [
        (ngh2.InformationalResponseReceived, stream, ((b":status", b"103"),)),
        (ngh2.ResponseReceived, stream, ((b":status", b"200"),), False),
        (ngh2.DataReceived, stream, b"body", False),
        (ngh2.TrailersReceived, stream, ((b"x-end", b"1"),)),
        (ngh2.GoAwayReceived, _HIGHEST_STREAM, ngh2.ErrorCode.NO_ERROR, b""),
    ]


def _large_heads_end_the_connection(make_server: EngineMaker, make_client: EngineMaker) -> bool:
    """A request with too many fields is an attack, and never reaches the application."""
    pair = _Pair(make_server, make_client)
    pair.server.events()
    pair.client.send_request([*_REQUEST, *[(b"x", b"1")] * _FIELDS_MAX], end_stream=True)
    try:
        pair.talk()
    except ngh2.DenialOfServiceError:
        return not pair.server.events()
    return False


def _floods_of_resets_end_the_connection(
    make_server: EngineMaker, make_client: EngineMaker
) -> bool:
    """A client that resets one stream after another is cut off (CVE-2023-44487)."""
    pair = _Pair(make_server, make_client)
    with suppress(ngh2.NGH2Error):
        for _ in range(_RESETS_MAX + 2):
            stream = pair.client.send_request(_REQUEST)
            pair.talk()
            pair.client.reset_stream(stream)
            pair.talk()
    last = pair.server.events()[-1]
    return isinstance(last, ngh2.ConnectionClosed) and last.error_code != ngh2.ErrorCode.NO_ERROR


_CHECKS = (
    _windows_open_by_hand,
    _answers_arrive_whole,
    _large_heads_end_the_connection,
    _floods_of_resets_end_the_connection,
)


def _server_of_ngh2(configuration: ngh2.Configuration) -> ngh2.Connection:
    return ngh2.Connection(ngh2.Role.SERVER, configuration)


def _client_of_ngh2(configuration: ngh2.Configuration) -> ngh2.Connection:
    return ngh2.Connection(ngh2.Role.CLIENT, configuration)


def self_test(
    make_server: EngineMaker = _server_of_ngh2, make_client: EngineMaker = _client_of_ngh2
) -> None:
    """Check the installed ngh2, with the servers and clients that the arguments return.

    Raises:
        DependencyError: It lacks a name that Crewgate uses, or behaves differently.
    """
    for check in _CHECKS:
        fact = (check.__doc__ or "").rstrip(".")
        try:
            is_kept = check(make_server, make_client)
        except Exception as error:
            raise unusable_library("ngh2", f'"{fact}" failed with {error!r}') from error
        if not is_kept:
            raise unusable_library("ngh2", f'it does not keep "{fact}"')


# The import runs the test, so no process can forget it before the first connection.
self_test()
