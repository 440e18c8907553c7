"""The endpoints of A2A agents as a configuration says them, and their mistakes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crewgate.config import load, route_builder
from crewgate.core.a2a.methods import Version
from crewgate.errors import ConfigurationError

Write = Callable[[str], Path]
SITE = """\
audience = "here"
workers = 0

[upstream.local]
url = "http://127.0.0.1:9000"

[upstream.local-grpc]
url = "http://127.0.0.1:9001"
protocol = "h2"

[a2a.research]
path = "/a2a/research"
upstream = "local"
price = "0.5"
"""
GRPC = 'grpc = "local-grpc"\n'


def test_an_endpoint_has_a_path_for_each_binding(write: Write) -> None:
    """The paths of both gRPC services lead to a server of their own, the card to its path."""
    keys = 'rpc_path = "/rpc"\nrest_path = "/rest"\ngrpc = "local-grpc"\nwell_known = true\n'
    config = load(write(SITE + keys))
    router = route_builder.router(config)
    served = [
        ("POST", "/a2a/research", "local", "/rpc"),
        ("POST", "/a2a/research/message:send", "local", "/rest/message:send"),
        ("GET", "/a2a/research/v1/tasks/t", "local", "/rest/v1/tasks/t"),
        ("DELETE", "/a2a/research/tasks/t/pushNotificationConfigs/c", "local",
         "/rest/tasks/t/pushNotificationConfigs/c"),
        ("GET", "/a2a/research/.well-known/agent-card.json", "local",
         "/.well-known/agent-card.json"),
        ("GET", "/.well-known/agent-card.json", "local", "/.well-known/agent-card.json"),
        ("POST", "/lf.a2a.v1.A2AService/GetTask", "local-grpc", "/lf.a2a.v1.A2AService/GetTask"),
        ("POST", "/a2a.v1.A2AService/GetTask", "local-grpc", "/a2a.v1.A2AService/GetTask"),
    ]  # fmt: skip
    routes = route_builder.served_routes(config)
    for method, path, upstream, sent in served:
        tool = routes[router.find(method.encode(), path.encode(), b"gate.example")].config
        assert tool.upstream == upstream
        assert route_builder.rewrite(config, tool)(path.encode()) == sent.encode()
    for method, path in (("GET", "/a2a/research"), ("PUT", "/a2a/research/x"), ("POST", "/a2a")):
        assert router.find(method.encode(), path.encode(), b"gate.example") == -1


def test_methods_that_send_no_message_are_free(write: Write) -> None:
    """A table of its own gives a method another price."""
    (agent,) = load(write(SITE + '[a2a.research.method.GetTask]\nprice = "0.001"\n')).a2a
    assert agent.price == 500_000
    assert agent.prices.get("SendMessage", agent.price) == 500_000
    assert (agent.prices["GetTask"], agent.prices["CancelTask"]) == (1_000, 0)
    assert agent.served == (Version.V1_0, Version.V0_3)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ('rpc_path = "/*"',
         'a2a.research.rpc_path = "/*": expected one path such as "/files", without {} and *'),
        ('card_path = "/{card}"', 'a2a.research.card_path = "/{card}": expected one path'),
        ('tenants = ["tasks"]', 'tenants: "tasks" is part of the paths of A2A'),
        ('tenants = ["a/b"]', "each a tenant of letters, digits, ., _, ~ and -"),
        ('push_origins = ["https://a.example/path"]', "push_origins"),
        ('versions = "0.2"', 'versions = "0.2": expected'),
        ('grpc = "remote"', 'grpc = "remote": no such upstream; known: local, local-grpc'),
        ('grpc = "local"', 'gRPC needs HTTP/2; write protocol = "h2" in [upstream.local]'),
        ('[a2a.research.method."tasks/get"]\nprice = "0"', "tasks/get"),
        ('[mcp.research]\npath = "/m"\nupstream = "local"\nprice = "0"',
         "a2a.research: [mcp.research] has this name too; rename one of them"),
        ('[tool."research.x"]\nmethod = "GET"\npath = "/x"\nupstream = "local"\nprice = "0"',
         'names that begin with "research" belong to [a2a.research]'),
        ('[a2a.other]\npath = "/a2a/research"\nupstream = "local"\nprice = "0"',
         "a2a.other"),
        (f'{GRPC}[a2a.x]\npath = "/x"\nupstream = "local"\nprice = "0"\n{GRPC}', "a2a.x.grpc"),
    ],
)  # fmt: skip
def test_a_mistake_is_reported_with_its_place(write: Write, keys: str, problem: str) -> None:
    """Also two agents at one path, and two of gRPC at one host."""
    with pytest.raises(ConfigurationError) as raised:
        load(write(SITE + keys))
    assert problem in str(raised.value)
