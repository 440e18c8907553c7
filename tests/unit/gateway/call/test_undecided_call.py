"""What is read of a request's head before there is a verdict."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from gateway_world import config_of

from crewgate.config import UpstreamConfig, UpstreamOrigin
from crewgate.core.problem_types import Reason
from crewgate.gateway.call.undecided_call import extract_credentials
from crewgate.gateway.routes import RouteTable, build
from crewgate.server.request import ClientInfo
from crewgate.server.socket_poller import SocketPoller
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
    found = extract_credentials(exchange, site, None, 0.0)  # type: ignore[arg-type]
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
