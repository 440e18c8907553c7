"""The sections of upstreams, and what a tool says of bodies and of web pages."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from crewgate import limits
from crewgate.config import (
    CORSConfig,
    CredentialConfig,
    HealthCheckConfig,
    ToolConfig,
    UpstreamConfig,
    UpstreamOrigin,
    UpstreamTLS,
    load,
)
from crewgate.errors import ConfigurationError

Write = Callable[[str], Path]

FULL = """\
audience = "https://gateway.example"
workers = 0

[upstream.fleet]
endpoints = ["https://10.0.0.1:8000", "https://tools.example", "https://[2001:DB8::1]:8000"]
protocol = "h2"
host = "tools.internal:8443"
connect_seconds = 1
first_byte_seconds = 30.5
idle_seconds = 10
connections = 8
reuse = "branch"
retry = true
retry_share = 0.5
credential = { header = "authorization", env = "FLEET_KEY" }

[upstream.fleet.tls]
ca = "certs/fleet-ca.pem"
certificate = "certs/gateway.pem"
key = "gateway/client.key"
server_name = "Tools.Internal"

[upstream.fleet.health]
path = "/health?deep=1"
interval_seconds = 2
timeout_seconds = 0.5
healthy = 1
unhealthy = 4

[tool.upload]
method = "PUT"
path = "/upload"
upstream = "fleet"
price = "0.01"
body_bytes_max = 17179869184

[tool.upload.cors]
origins = ["https://app.example", "http://localhost:3000"]
headers = ["Authorization", "X-Trace"]
max_age_seconds = 60
"""

PLAIN = """\
audience = "https://gateway.example"
workers = 0

[upstream.plain]
url = "http://127.0.0.1:9000"

[tool.plain]
method = "GET"
path = "/"
upstream = "plain"
price = "0"
"""


def test_every_key_of_an_upstream_arrives(write: Write, tmp_path: Path) -> None:
    """Endpoints keep their order; paths are made absolute and names lower case."""
    (upstream,) = load(write(FULL)).upstreams
    assert upstream == UpstreamConfig(
        name="fleet",
        endpoints=(
            UpstreamOrigin("https", "10.0.0.1", 8000),
            UpstreamOrigin("https", "tools.example", 443),
            UpstreamOrigin("https", "2001:db8::1", 8000),
        ),
        credential=CredentialConfig("authorization", env="FLEET_KEY"),
        protocol="h2",
        tls=UpstreamTLS(
            ca=tmp_path / "certs/fleet-ca.pem",
            certificate=tmp_path / "certs/gateway.pem",
            key=tmp_path / "gateway/client.key",
            server_name="tools.internal",
        ),
        host="tools.internal:8443",
        connect_seconds=1.0,
        first_byte_seconds=30.5,
        idle_seconds=10.0,
        connections=8,
        reuse="branch",
        retry=True,
        retry_share=0.5,
        health=HealthCheckConfig("/health?deep=1", 2.0, 0.5, 1, 4),
    )


def test_a_plain_upstream_has_the_documented_defaults(write: Write) -> None:
    """One URL is one endpoint over HTTP/1.1, with every time and number at its bound's default."""
    (upstream,) = load(write(PLAIN)).upstreams
    assert upstream == UpstreamConfig("plain", (UpstreamOrigin("http", "127.0.0.1", 9000),))
    assert (upstream.protocol, upstream.tls, upstream.health) == ("http/1.1", UpstreamTLS(), None)
    assert (upstream.connect_seconds, upstream.first_byte_seconds, upstream.idle_seconds) == (
        limits.upstream_connect_seconds_max,
        limits.upstream_first_byte_seconds_max,
        limits.upstream_idle_seconds_max,
    )
    assert upstream.connections == limits.upstream_connections_default
    assert upstream.reuse == "shared"
    assert (upstream.retry, upstream.retry_share) == (True, limits.upstream_retry_share)


def test_what_an_endpoint_is_called_and_verified_as(write: Write) -> None:
    """Its own authority and host, unless the file says how it is to be called."""
    (fleet,), (plain,) = load(write(FULL)).upstreams, load(write(PLAIN)).upstreams
    assert (fleet.secure, plain.secure) == (True, False)
    for endpoint in fleet.endpoints:
        assert fleet.authority(endpoint) == "tools.internal:8443"
        assert fleet.server_name(endpoint) == "tools.internal"
    assert plain.authority(plain.origin) == "127.0.0.1:9000"
    (alone,) = load(write(FULL.replace("server_name", "# "))).upstreams
    assert [alone.server_name(endpoint) for endpoint in alone.endpoints] == [
        "10.0.0.1",
        "tools.example",
        "2001:db8::1",
    ]


def test_the_first_health_request_fits_its_interval(write: Write) -> None:
    """Where the file shortens the interval alone, the timeout is shortened with it."""
    text = FULL.replace("timeout_seconds = 0.5\n", "").replace("interval_seconds = 2\n", "")
    health = load(write(text)).upstreams[0].health
    assert health
    assert (health.interval_seconds, health.timeout_seconds) == (
        limits.health_interval_seconds,
        limits.health_timeout_seconds,
    )
    text = FULL.replace("timeout_seconds = 0.5\n", "").replace(
        "val_seconds = 2\n", "val_seconds = 1\n"
    )
    health = load(write(text)).upstreams[0].health
    assert health
    assert (health.interval_seconds, health.timeout_seconds) == (1.0, 1.0)


def test_a_tool_says_how_long_bodies_and_which_pages(write: Write) -> None:
    """Up to 16 GiB; without a word today's bound, and no page of another origin."""
    (upload,), (plain,) = load(write(FULL)).tools, load(write(PLAIN)).tools
    assert upload.body_bytes_max == 16 * 2**30
    assert upload.cors == CORSConfig(
        ("https://app.example", "http://localhost:3000"), ("authorization", "x-trace"), 60
    )
    assert (plain.body_bytes_max, plain.cors) == (limits.request_body_bytes_max, None)


def test_which_pages_may_call() -> None:
    """Origins are compared whole, or all are allowed."""
    some, every = CORSConfig(("https://app.example",)), CORSConfig(("*",))
    assert some.allows("https://app.example")
    assert not some.allows("https://app.example.evil")
    assert not some.allows("null")
    assert every.allows("null")
    assert (some.headers, some.max_age_seconds) == (("authorization", "content-type", "dpop"), 600)


ENDPOINTS = '["https://10.0.0.1:8000", "https://tools.example", "https://[2001:DB8::1]:8000"]'
BAD = [
    (ENDPOINTS, "[]", "expected a list of 1 to 64, each a URL such as"),
    (ENDPOINTS, '["https://a", "https://a:443"]', "an entry is repeated"),
    (ENDPOINTS, '["https://a", "http://b"]', "some are http and some https; write an upstream"),
    (ENDPOINTS, '["https://a/v1"]', "without path, query or user"),
    ("endpoints = ", 'url = "https://a"\nendpoints = ', "expected one of url and endpoints"),
    ("endpoints = ", "endpoint = ", 'endpoint: unknown key; did you mean "endpoints"?'),
    ("endpoints = ", "endpoint = ", "upstream.fleet.url: missing; expected a URL such as"),
    (ENDPOINTS, f'["https://{"a" * 64}"]', "expected a list"),
    (ENDPOINTS, f'["https://{"a." * 127}a"]', "expected a list"),
    (ENDPOINTS, '["https://a..b"]', "expected a list"),
    (ENDPOINTS, '["https://-a"]', "expected a list"),
    (ENDPOINTS, '["https://127.1"]', "expected a list"),
    (ENDPOINTS, '["https://0x7f.1"]', "expected a list"),
    (ENDPOINTS, '["https://127.0.0.0x1"]', "expected a list"),
    (ENDPOINTS, '["https://2130706433"]', "expected a list"),
    (ENDPOINTS, '["https://10.0.0.256"]', "expected a list"),
    ('"h2"', '"h3"', 'upstream.fleet.protocol = "h3": expected "http/1.1" or "h2"'),
    ("8443", "8443/x", 'upstream.fleet.host = "tools.internal:8443/x": expected a host'),
    ("connect_seconds = 1", "connect_seconds = 11", "expected seconds, more than 0 and at most 10"),
    ("connect_seconds = 1", "connect_seconds = true", "upstream.fleet.connect_seconds = true: "),
    (
        "first_byte_seconds = 30.5",
        "first_byte_seconds = 0",
        "upstream.fleet.first_byte_seconds = 0",
    ),
    ("connections = 8", "connections = 0", "expected a whole number from 1 to 4096"),
    (
        'reuse = "branch"',
        'reuse = "none"',
        'reuse = "none": expected "shared" or "crew" or "branch"',
    ),
    ("retry = true", 'retry = "yes"', 'retry = "yes": expected true or false'),
    ("retry_share = 0.5", "retry_share = 0", "retry_share = 0: expected a share, more than 0"),
    ("retry_share = 0.5", "retry_share = nan", "retry_share = NaN: expected a share"),
    ("retry_share = 0.5", "retry_share = 1.01", "retry_share = 1.01: expected a share"),
    ('key = "gateway/client.key"\n', "", "upstream.fleet.tls: expected certificate and key, or"),
    ('server_name = "T', "verify = false #", "tls.verify: unknown key; known: ca, certificate"),
    ('"Tools.Internal"', '"tools:443"', "expected a DNS name or an IP address, without a port"),
    ('"Tools.Internal"', '""', "expected a DNS name or an IP address, without a port"),
    ("https://", "http://", "upstream.fleet.tls: no effect, because the upstream's URL is http"),
    ('path = "/health?deep=1"\n', "", "upstream.fleet.health.path: missing; expected a path"),
    ("/health?deep=1", "health", "upstream.fleet.health.path = "),
    ("/health?deep=1", "/a b", "upstream.fleet.health.path = "),
    ("/health?deep=1", "/a\\u000d", "upstream.fleet.health.path = "),
    ("/health?deep=1", "/" + "a" * 256, "upstream.fleet.health.path = "),
    ("timeout_seconds = 0.5", "timeout_seconds = 3", "timeout_seconds (3) is over interval_"),
    ("interval_seconds = 2", "interval_seconds = 0.4", "expected seconds, from 0.5 to 3600"),
    ("unhealthy = 4", "unhealthy = 0", "expected a whole number from 1 to 20"),
    ("17179869184", "17179869185", "tool.upload.body_bytes_max = 17179869185: expected"),
    ("17179869184", "-1", "tool.upload.body_bytes_max = -1: expected"),
    ('"https://app.example"', '"https://App.example"', "tool.upload.cors.origins = "),
    ('"https://app.example"', '"https://app.example/"', "an origin as browsers send it"),
    ('"https://app.example"', '"app.example"', "an origin as browsers send it"),
    ('["https://app.example", "http://localhost:3000"]', "[]", "expected a list of 1 to 64"),
    ('"X-Trace"', '"X Trace"', "tool.upload.cors.headers = "),
    ("max_age_seconds = 60", "max_age_seconds = 86401", "from 0 to 86400"),
    ("max_age_seconds = 60", "max_age = 60", 'did you mean "max_age_seconds"?'),
]


@pytest.mark.parametrize(("good", "bad", "told"), BAD)
def test_one_wrong_thing_is_refused_where_it_stands(
    write: Write, good: str, bad: str, told: str
) -> None:
    """The error names the key's path, the value, and what was expected."""
    assert good in FULL
    path = write(FULL.replace(good, bad))
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    assert told in str(caught.value)
    assert all(
        line.startswith(f"{path}: upstream.fleet") or "tool.upload" in line
        for line in str(caught.value).splitlines()
    )


def test_more_endpoints_than_possible_are_refused(write: Write) -> None:
    """So many servers belong behind a name."""
    many = ", ".join(f'"https://s{n}.example"' for n in range(limits.endpoints_max + 1))
    with pytest.raises(ConfigurationError, match="expected a list of 1 to 64"):
        load(write(FULL.replace(ENDPOINTS, f"[{many}]")))


@pytest.mark.parametrize("host", ["3scale", "tools.2fa", "a_b.example", "tools.example.", "x" * 63])
def test_names_of_all_sorts_are_taken(write: Write, host: str) -> None:
    """Services of containers begin with digits and have underscores; a root's dot is a name's."""
    text = PLAIN.replace("127.0.0.1", host)
    (upstream,) = load(write(text)).upstreams
    assert upstream.origin == UpstreamOrigin("http", host, 9000)
    assert upstream.server_name(upstream.origin) == host.rstrip(".")


def test_a_bad_url_is_told_once(write: Write) -> None:
    """What cannot be read is not said to be missing, nor to be without TLS."""
    text = FULL.replace(f"endpoints = {ENDPOINTS}", 'url = "https://tools.example/v1?a"')
    with pytest.raises(ConfigurationError) as caught:
        load(write(text))
    assert len(str(caught.value).splitlines()) == 1


def test_the_document_shows_the_defaults(write: Write) -> None:
    """What it writes is a configuration, and what it calls a default is one."""
    document = (Path(__file__).parents[3] / "docs" / "how-to" / "add-a-tool.md").read_text()
    section = document.split("## All settings with their defaults")[1]
    (example,) = re.findall(r"```toml\n(.*?)```", section, re.DOTALL)
    config = load(write(f'audience = "here"\nworkers = 0\n{example}'))
    (tool,), (upstream,) = config.tools, config.upstreams
    assert tool == ToolConfig(tool.name, tool.method, tool.path, tool.upstream, tool.price)
    assert upstream == UpstreamConfig(
        upstream.name,
        upstream.endpoints,
        upstream.credential,
        tls=upstream.tls,
        health=HealthCheckConfig("/health"),
    )
    # The commented keys are a configuration too. `endpoints` cannot stand beside `url`.
    example = re.sub(r"^# (?!endpoints)", "", example, flags=re.MULTILINE)
    (tool,) = load(write(f'audience = "here"\nworkers = 0\n{example}')).tools
    assert tool.cors == CORSConfig(("https://app.example",))
