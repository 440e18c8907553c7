"""[limit.NAME]: limits on calls."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crewgate import limits
from crewgate.cli.check.call_limits import limit_warnings
from crewgate.config import load
from crewgate.core.policy.call_limits import CallLimit
from crewgate.errors import ConfigurationError

Write = Callable[[str], Path]
SITE = """\
audience = "here"
workers = 0

[crew.article]
issuer = "https://article.example"
jwks = "article.json"
tools = []

[crew.article.role.researcher]
tools = []

[upstream.local]
url = "http://127.0.0.1:9000"

[tool."search.web"]
method = "POST"
path = "/search"
upstream = "local"
price = "0.01"

[mcp.files]
path = "/files"
upstream = "local"
price = "0.01"
"""


def _limit(keys: str, site: str = SITE) -> str:
    return f"{site}\n[limit.slow]\n{keys}\n"


def test_every_key_arrives(write: Write) -> None:
    """A rate has the burst of its calls unless it names one."""
    config = load(
        write(
            _limit(
                'per = "role"\ncrew = "article"\nrole = "researcher"\ntools = ["search.*"]\n'
                'calls = 60\nseconds = 30\nmode = "observe"\n'
                '[limit.few]\nper = "branch"\nconcurrent = 4\n'
                '[limit.even]\nper = "machine"\ncalls = 5\nburst = 1'
            )
        )
    )
    assert [each.limit for each in config.call_limits] == [
        CallLimit(
            name="slow",
            per="role",
            crew="article",
            role="researcher",
            tools=("search.*",),
            calls=60,
            seconds=30,
            burst=60,
            observe=True,
        ),
        CallLimit(name="few", per="branch", concurrent=4),
        CallLimit(name="even", per="machine", calls=5, burst=1),
    ]


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ('per = "crew"', "limit.slow: expected either calls or concurrent"),
        ('per = "crew"\ncalls = 1\nconcurrent = 1', "expected either calls or concurrent"),
        (
            'per = "crew"\nconcurrent = 1\nseconds = 2',
            "limit.slow.seconds: is about calls in a time",
        ),
        ('per = "crew"\nconcurrent = 1\nburst = 2', "limit.slow.burst: is about calls in a time"),
        ('per = "crew"\ncalls = 0', "limit.slow.calls = 0: expected"),
        ('per = "crew"\nconcurrent = 0', "limit.slow.concurrent = 0: expected"),
        ('per = "agent"\ncalls = 1', 'limit.slow.per = "agent": expected'),
        ("calls = 1", "limit.slow.per: missing"),
        (
            'per = "crew"\ncalls = 1\nseconds = 86400\nburst = 8',
            "limit.slow.burst: a client that has used up the burst has it back only after 691,200",
        ),
        (
            'per = "crew"\ncalls = 1\ncrew = "finance"',
            'limit.slow.crew = "finance": no such crew; known: article',
        ),
        (
            'per = "crew"\ncalls = 1\nrole = "writer"',
            'limit.slow.role = "writer": no crew lists this role; known: researcher',
        ),
        (
            'per = "tool"\ncalls = 1\ntools = ["serch.*"]',
            'limit.slow.tools: "serch.*" covers no tool; the tools are: search.web, files',
        ),
        ('per = "tool"\ncalls = 1\ntools = ["search"]', '"search" covers no tool'),
        (
            'per = "branch"\nconcurrent = 12\n[limit.b]\nper = "run"\ncalls = 1',
            "the limits per branch and per run need 13 words for each branch; at most 12",
        ),
    ],
)
def test_a_limit_that_cannot_be_meant_is_refused(write: Write, keys: str, problem: str) -> None:
    """The problem names the key, and says what would be right."""
    with pytest.raises(ConfigurationError) as error:
        load(write(_limit(keys)))
    assert problem in str(error.value)


def test_a_limit_may_name_a_part_of_an_endpoint(write: Write) -> None:
    """Nobody but its server knows which tools there are."""
    config = load(write(_limit('per = "tool"\ncalls = 1\ntools = ["files.delete", "files.a.*"]')))
    assert config.call_limits[0].tools == ("files.delete", "files.a.*")


def test_limits_do_not_need_more_than_the_table_has(write: Write) -> None:
    """64 limits on the running calls of each of some tools need too many cells."""
    tools = "".join(
        f'[tool."t.n{n}"]\nmethod = "POST"\npath = "/{n}"\nupstream = "local"\nprice = "0"\n'
        for n in range(8)
    )
    many = "".join(
        f'[limit.l{n}]\nper = "tool"\nconcurrent = 1024\n'
        for n in range(limits.table_limit_cells // 128 // 10 + 1)
    )
    with pytest.raises(ConfigurationError, match="limit: all limits together count 16,640 "):
        load(write(f"{SITE}{tools}{many}"))


@pytest.mark.parametrize(
    ("site", "keys", "warning"),
    [
        (SITE, 'per = "crew"\nconcurrent = 3', "limit.slow: embedded verifiers do not know"),
        (SITE, 'per = "crew"\ncalls = 3', ""),
        ("workers", 'per = "branch"\nconcurrent = 1', "server of mcp.files has one running call"),
        ("workers", 'per = "branch"\nconcurrent = 1\ntools = ["files.*"]', ""),
        ("workers", 'per = "branch"\nconcurrent = 2', ""),
    ],
)
def test_check_warns_of_limits_on_running_calls(
    write: Write, site: str, keys: str, warning: str
) -> None:
    """They may refuse no call, or all that a client makes beside its stream."""
    if site == "workers":
        listener = (
            '[[listener]]\nname = "a"\naddress = "127.0.0.1"\nport = 8443\n'
            'certificate = "c.pem"\nkey = "k.pem"\n'
        )
        site = SITE.replace("workers = 0", "workers = 1") + listener
    warnings = list(limit_warnings(load(write(_limit(keys, site)))))
    assert [warning in each for each in warnings] == ([True] if warning else [])
