"""What is read of a request's head before there is a verdict."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from gateway_world import config_of, grant_of
from msgspec.structs import replace

from crewgate._datapath.socket_poller import SocketPoller
from crewgate.config import UpstreamConfig, UpstreamOrigin
from crewgate.core.audit.records import CallInfo
from crewgate.core.reasons import Reason
from crewgate.gateway.call.undecided_call import (
    ListenerPolicy,
    UndecidedCall,
    extract_credentials,
    forwardable_headers,
)
from crewgate.gateway.headers import identity_headers
from crewgate.gateway.routes import RouteTable, build
from crewgate.gateway.trace_propagation import trace_of
from crewgate.server.request import ClientInfo
from crewgate.upstream.connector import Connector
from crewgate.upstream.pool import UpstreamPool
from crewgate.upstream.resolver import Resolver

ORIGIN = UpstreamOrigin("http", "127.0.0.1", 9)


@pytest.fixture
def site(tmp_path: Path) -> RouteTable:
    upstream = UpstreamConfig("tools", (ORIGIN,))
    pool = UpstreamPool(upstream, Connector(upstream, SocketPoller(), None), Resolver())
    return build(config_of(ORIGIN, tmp_path), {"tools": pool})


def _read(site: RouteTable, target: bytes, token: bytes) -> object:
    path, _, query = target.partition(b"?")
    headers = [(b"authorization", b"Bearer " + token)]
    request = SimpleNamespace(path=path, query=query, target=target, headers=headers)
    exchange = SimpleNamespace(request=request, peer=ClientInfo("192.0.2.1", 4711))
    policy = ListenerPolicy("agents")
    found = extract_credentials(exchange, policy, site, None, 0.0)  # type: ignore[arg-type]
    return found if isinstance(found, Reason) else found[0]


@pytest.mark.parametrize("target", [b"/v1/models", b"/a?key=v1", b"/v1"])
def test_a_dummy_key_that_stands_in_the_path_is_judged_as_any_other(
    site: RouteTable, target: bytes
) -> None:
    """It is no token, so that nothing is given away: the gate says 401."""
    assert _read(site, target, b"v1") == b"v1"


@pytest.mark.parametrize(
    "target",
    [
        b"/a/e30.e30.c2ln", b"/a?key=e30.e30.c2ln&b", b"/a/%653%30.e30.c2ln/b",
        b"/a?key=e30%2Ee30%2ec2ln", b"/a?%&%zz&b=e30.e30.c2l%6E%",
    ],
)  # fmt: skip
def test_a_token_that_stands_in_the_target_is_refused(site: RouteTable, target: bytes) -> None:
    """The tool would see it, and log it: as it is, or percent-encoded in any part."""
    assert _read(site, target, b"e30.e30.c2ln") is Reason.INVALID_REQUEST
    assert _read(site, b"/a", b"e30.e30.c2ln") == b"e30.e30.c2ln"
    assert _read(site, b"/a?b=%20.c2ln&e30.e30", b"e30.e30.c2ln") == b"e30.e30.c2ln"


TRACE, PARENT = b"0af7651916cd43dd8448eb211c80319c", b"b7ad6b7169203331"


def _sent(
    site: RouteTable,
    fields: list[tuple[bytes, bytes]],
    *,
    sample: float = 0.0,
    version: str = "1.1",
) -> tuple[dict[bytes, bytes], str]:
    """The fields that the tool gets, and the text for the audit."""
    request = SimpleNamespace(
        method=b"GET", path=b"/a", target=b"/a", headers=fields, version="2", authority=b"gw"
    )
    trace = trace_of(fields, sample)  # type: ignore[arg-type]
    entry = replace(site.entries[0], version=version)
    peer = ClientInfo("192.0.2.1", 4711)
    call = UndecidedCall(
        SimpleNamespace(request=request, peer=peer),  # type: ignore[arg-type]
        site,
        entry,
        b"e30.e30.c2ln",
        None,
        forwardable_headers(request, entry, b"e30.e30.c2ln"),  # type: ignore[arg-type]
        CallInfo(1, bytes(16), "agents", "-", entry.name, "GET"),
        trace,
        body=b"",
    )
    assert call.fields is not None
    head = call.head(entry, call.fields, identity_headers(grant_of()))
    pairs = head.fields or [tuple(line.split(b": ", 1)) for line in head.lines.splitlines()]
    return dict(pairs), "" if trace is None else trace.text


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_the_tool_gets_the_gateways_span(site: RouteTable, version: str) -> None:
    """With the client's trace id and state, over either version of HTTP; not the client's span."""
    parent = (b"traceparent", b"00-%b-%b-01" % (TRACE, PARENT))
    sent, text = _sent(site, [parent, (b"tracestate", b"a=1")], version=version)
    trace, client, ours, flags = text.split("-")
    assert (trace.encode(), client.encode(), flags) == (TRACE, PARENT, "01")
    assert sent[b"traceparent"] == b"00-%b-%b-01" % (TRACE, ours.encode())
    assert sent[b"tracestate"] == b"a=1"
    assert ours.encode() != PARENT


def test_a_call_of_no_trace_carries_none(site: RouteTable) -> None:
    """An invalid or repeated field does not pass, and neither does its state."""
    twice = [(b"traceparent", b"00-%b-%b-01" % (TRACE, PARENT))] * 2
    for fields in ([], [(b"traceparent", b"x")], twice):
        sent, text = _sent(site, [*fields, (b"tracestate", b"a=1")])
        assert not {b"traceparent", b"tracestate"} & sent.keys()
        assert text == ""


def test_a_sampled_call_begins_a_trace(site: RouteTable) -> None:
    sent, text = _sent(site, [], sample=1.0)
    trace, client, ours, flags = text.split("-")
    assert (client, flags) == ("0" * 16, "03")
    assert sent[b"traceparent"] == f"00-{trace}-{ours}-03".encode()
