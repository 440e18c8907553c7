"""A whole configuration as text, to be read as it is or with one thing wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest

WHOLE = """\
audience = "https://gateway.example"
state = "run"
workers = 3
drain_seconds = 7

[[listener]]
name = "agents"
address = "127.0.0.1"
port = 8443
certificate = "certs/gateway.pem"
key = "/etc/crewgate/gateway.key"
mode = "observe"
hosts = ["gateway.example", "localhost:8443"]

[crew.article]
issuer = "https://orchestrator.example"
jwks = "crews/article/jwks.json"
signing_key = "crews/article/signing.key"
tools = ["search.*", "publish.post"]
credits_per_branch = "1000"
credits_per_hour = "5000.5"
credits_per_day = "20000"
live_branches = 100
new_branches_per_minute = 60
live_revocations = 1000
lifetime_seconds = 600
depth = 3
mode = "observe"

[upstream.search]
url = "https://search.example"
credential = { header = "Authorization", prefix = "Bearer ", file = "secrets/search" }

[upstream.local]
url = "http://[::1]:9000"
credential = { header = "x-api-key", env = "LOCAL_KEY" }

[tool."search.web"]
method = "POST"
path = "/search"
upstream = "search"
price = "0.01"
decide_on = "body"
carriers = ["authorization", "x-api-key"]
allow_fields = ["X-HTTP-Method-Override"]

[tool."publish.post"]
method = "POST"
path = "/publish/{id}"
upstream = "local"
price = "0.000001"
owner = "article"
mode = "observe"

[audit]
folder = "audit"
rotate_bytes = 1048576
rotate_seconds = 3600
keep_bytes = 10_000_000
on_full = "continue"

[table]
branches = 1024
revocations = 4096
reservations = 512

[limits]
credit_wait_seconds_max = 0.1
"""

MINIMAL = 'audience = "here"\nworkers = 0\n'


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a text as crewgate.toml and gives its path."""

    def write_text(text: str) -> Path:
        path = tmp_path / "crewgate.toml"
        path.write_text(text)
        return path

    return write_text


@pytest.fixture
def whole() -> str:
    """A configuration in which every key is written."""
    return WHOLE


@pytest.fixture
def minimal() -> str:
    """The least that a configuration needs."""
    return MINIMAL
