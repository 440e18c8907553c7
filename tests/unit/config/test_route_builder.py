"""Hosts, rewritten paths and bases of upstreams: what is read of them, and what contradicts."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crewgate.config import load, route_builder
from crewgate.errors import ConfigurationError

Write = Callable[[str], Path]
LISTENER = """
[[listener]]
name = "agents"
address = "127.0.0.1"
port = 8443
certificate = "a"
key = "b"
"""
TWO = """
audience = "here"
[upstream.openai]
url = "https://api.openai.example"
[upstream.other]
url = "https://llm.example/compatible/"
[tool."openai.chat"]
method = "POST"
path = "/v1/chat/completions"
hosts = ["OpenAI.gateway.example"]
upstream = "openai"
price = "0.01"
[tool."other.chat"]
method = "POST"
path = "/v1/chat/completions"
hosts = ["other.gateway.example:8443"]
upstream = "other"
price = "0.01"
[tool."other.any"]
method = "POST"
path = "/other/*"
rewrite = "/v1/*"
upstream = "other"
price = "0.01"
"""


def test_two_providers_of_one_shape_fit_on_one_gateway(write: Write) -> None:
    """By host, or under a prefix; each at the base path of its own server."""
    config = load(write(TWO + LISTENER))
    assert [upstream.base for upstream in config.upstreams] == ["", "/compatible"]
    assert config.upstreams[1].origin.authority == "llm.example"
    router, chat = route_builder.router(config), b"/v1/chat/completions"
    assert router.find(b"POST", chat, b"openai.gateway.example") == 0
    assert router.find(b"POST", chat, b"other.gateway.example:8443") == 1
    assert router.find(b"POST", chat, b"localhost") == -1
    ways = [route_builder.rewrite(config, tool) for tool in config.tools]
    assert ways[0].is_plain
    assert ways[1](chat) == b"/compatible/v1/chat/completions"
    assert ways[2](b"/other/m%6fdels/x") == b"/compatible/v1/m%6fdels/x"
    servers = route_builder.servers(config)
    assert servers.agree(2, b"POST", b"/compatible/v1/models/x")
    assert not servers.agree(2, b"POST", b"/compatible/v1/chat/completions")


MISTAKES = [
    ('hosts = ["OpenAI.gateway.example"]\n', "", 'tool."openai.chat" (POST /v1/chat/completions)'),
    ('["OpenAI.gateway.example"]', '["other.gateway.example"]', "can match one request at other."),
    ('["OpenAI.gateway.example"]', '["a b"]', 'tool."openai.chat".hosts'),
    ('["OpenAI.gateway.example"]', '"a"', 'tool."openai.chat".hosts'),
    ('rewrite = "/v1/*"', 'rewrite = "/v1"', "both end in"),
    ('rewrite = "/v1/*"', 'rewrite = "/{id}/*"', "the same {names}"),
    ('rewrite = "/v1/*"', 'rewrite = "v1/*"', 'tool."other.any".rewrite = "v1/*"'),
    ('rewrite = "/v1/*"', 'rewrite = "/other/*"', "is the path itself; leave it out"),
    ('"/other/*"\nrewrite = "/v1/*"', '"/o/{x}"\nrewrite = "/v1/{y}"', "the same {names}"),
    ("port = 8443", 'port = 8443\nhosts = ["other.gateway.example"]',
     'tool."openai.chat".hosts: no listener serves "OpenAI.gateway.example"'),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "said"), MISTAKES)
def test_what_contradicts_is_refused(write: Write, old: str, new: str, said: str) -> None:
    """With the tool, and what to mend."""
    text = TWO + LISTENER
    assert old in text
    with pytest.raises(ConfigurationError) as caught:
        load(write(text.replace(old, new)))
    assert said in str(caught.value)


def test_two_paths_at_one_server_that_a_request_could_both_mean(write: Write) -> None:
    """They are told from each other here, and not there."""
    more = """
[tool."a.one"]
method = "GET"
path = "/one/{id}"
rewrite = "/items/{id}"
upstream = "openai"
price = "1"
[tool."a.two"]
method = "GET"
path = "/two/{kind}"
rewrite = "/{kind}/new"
upstream = "openai"
price = "1"
"""
    with pytest.raises(ConfigurationError, match=r"at their server: tool.*can match one request"):
        load(write(TWO + more + LISTENER))


@pytest.mark.parametrize(
    "hosts",
    ['["openai.gateway.example", "other.gateway.example"]',
     '["openai.gateway.example:8443", "other.gateway.example:8443"]'],
)  # fmt: skip
def test_hosts_that_a_listener_serves(write: Write, hosts: str) -> None:
    """With a port on either side, or with none."""
    load(write(TWO + LISTENER + f"hosts = {hosts}\n"))
    everywhere = LISTENER.replace("agents", "b").replace("8443", "1")
    load(write(TWO + LISTENER + 'hosts = ["a"]\n' + everywhere))
