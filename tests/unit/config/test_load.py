from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from crewgate import limits
from crewgate.config import (
    AuditConfig,
    CredentialConfig,
    CrewConfig,
    LimitsConfig,
    ListenerConfig,
    TableConfig,
    ToolConfig,
    UpstreamConfig,
    UpstreamOrigin,
    load,
)
from crewgate.errors import ConfigurationError

Write = Callable[[str], Path]


def test_every_key_of_a_whole_file_arrives(write: Write, whole: str, tmp_path: Path) -> None:
    """Each key lands in its struct: paths made absolute, credits made micro-credits."""
    config = load(write(whole))
    assert config.path == tmp_path / "crewgate.toml"
    assert config.audience == "https://gateway.example"
    assert config.state == tmp_path / "run"
    assert (config.workers, config.drain_seconds) == (3, 7.0)
    assert config.listeners == (
        ListenerConfig(
            name="agents",
            address="127.0.0.1",
            port=8443,
            certificate=tmp_path / "certs/gateway.pem",
            key=Path("/etc/crewgate/gateway.key"),
            mode="observe",
            hosts=("gateway.example", "localhost:8443"),
        ),
    )
    assert config.crews == (
        CrewConfig(
            name="article",
            issuer="https://orchestrator.example",
            jwks=tmp_path / "crews/article/jwks.json",
            tools=("search.*", "publish.post"),
            signing_key=tmp_path / "crews/article/signing.key",
            credits_per_branch=1_000_000_000,
            credits_per_hour=5_000_500_000,
            credits_per_day=20_000_000_000,
            live_branches=100,
            new_branches_per_minute=60,
            live_revocations=1000,
            lifetime_seconds=600,
            depth=3,
            mode="observe",
        ),
    )
    assert config.audit == AuditConfig(tmp_path / "audit", 1_048_576, 3600, 10_000_000, "continue")
    assert config.table == TableConfig(1024, 4096, 512)
    assert config.limits == LimitsConfig(credit_wait_seconds_max=0.1)
    assert LimitsConfig().credit_wait_seconds_max == 2


def test_tools_and_upstreams_of_a_whole_file_arrive(
    write: Write, whole: str, tmp_path: Path
) -> None:
    """Tools keep the file's order, which numbers them; an upstream's URL is taken apart."""
    config = load(write(whole))
    assert config.upstreams == (
        UpstreamConfig(
            name="search",
            endpoints=(UpstreamOrigin("https", "search.example", 443),),
            credential=CredentialConfig(
                "authorization", "Bearer ", file=tmp_path / "secrets/search"
            ),
        ),
        UpstreamConfig(
            name="local",
            endpoints=(UpstreamOrigin("http", "::1", 9000),),
            credential=CredentialConfig("x-api-key", env="LOCAL_KEY"),
        ),
    )
    assert [upstream.origin.authority for upstream in config.upstreams] == [
        "search.example",
        "[::1]:9000",
    ]
    assert config.tools == (
        ToolConfig(
            name="search.web",
            method="POST",
            path="/search",
            upstream="search",
            price=10_000,
            decide_on="body",
            carriers=("authorization", "x-api-key"),
            allow_fields=("x-http-method-override",),
        ),
        ToolConfig(
            name="publish.post",
            method="POST",
            path="/publish/{id}",
            upstream="local",
            price=1,
            owner="article",
            mode="observe",
        ),
    )
    assert [tool.observe for tool in config.tools] == [False, True]
    assert config.crew("article").observe
    assert config.listeners[0].observe


def test_a_minimal_file_has_the_documented_defaults(
    write: Write, minimal: str, tmp_path: Path
) -> None:
    """What the file does not say is the default, and no ceiling is invented."""
    config = load(write(minimal))
    assert config.state == tmp_path / "state"
    assert config.audit == AuditConfig(tmp_path / "state" / "audit")
    assert config.audit.on_full == "refuse"
    assert config.drain_seconds == limits.drain_seconds_default
    assert (config.table, config.limits) == (TableConfig(), LimitsConfig())


def test_a_configuration_cannot_be_changed(write: Write, minimal: str) -> None:
    """Whoever was handed a configuration sees the same one for ever."""
    config = load(write(minimal))
    with pytest.raises(AttributeError, match="immutable"):
        config.workers = 9  # type: ignore[misc]
    assert msgspec.structs.replace(config, workers=1).workers == 1


def test_an_unknown_crew_is_refused_by_name(write: Write, whole: str) -> None:
    """Asking for a crew that is not there says which are."""
    with pytest.raises(ConfigurationError, match="no crew 'finance'; the file has: article"):
        load(write(whole)).crew("finance")


BAD = [
    ('audience = "https://gateway.example"', "", "audience: missing; expected a text"),
    ("workers = 3", "workers = true", "workers = true: expected a whole number from 0 to 64"),
    ("workers = 3", "workers = 65", "workers = 65: expected a whole number"),
    ("workers = 3", "worker = 3", 'worker: unknown key; did you mean "workers"?'),
    ("workers = 3", 'zzz = "1"', "zzz: unknown key; known: state, audience, workers"),
    ("drain_seconds = 7", "drain_seconds = 0", "drain_seconds = 0: expected seconds"),
    ("drain_seconds = 7", "drain_seconds = nan", "drain_seconds = NaN: expected seconds"),
    ("port = 8443", "port = 0", "listener[0].port = 0: expected a whole number from 1"),
    ("port = 8443", 'port = "8443"', 'listener[0].port = "8443": expected'),
    ('"127.0.0.1"', '"localhost"', 'listener[0].address = "localhost": expected an IP address'),
    ('"localhost:8443"]', '"a/b"]', "listener[0].hosts = "),
    ('mode = "observe"\nhosts', 'mode = "log"\nhosts', 'mode = "log": expected "enforce" or'),
    ("[[listener]]", "[listener]", "listener = "),
    ("[crew.article]", '[crew."Art/icle"]', "the name 'Art/icle': expected a name"),
    ("[crew.article]", "[crew.shared]", 'crew.shared: "shared" means every crew'),
    ('["search.*", "publish.post"]', '["*"]', 'crew.article.tools = ["*"]: expected'),
    ('["search.*", "publish.post"]', '["a", "a"]', "an entry is repeated"),
    ('"5000.5"', "5000.5", "crew.article.credits_per_hour = 5000.5: expected credits as a text"),
    ('"5000.5"', '"0.0000001"', "at most six decimals"),
    ("lifetime_seconds = 600", "lifetime_seconds = 901", "expected a whole number from 1 to 900"),
    ("depth = 3", "depth = 9", "crew.article.depth = 9"),
    ('"https://search.example"', '"ftp://search.example"', "upstream.search.url = "),
    ('"https://search.example"', '"https://u:p@search.example"', "upstream.search.url = "),
    ('"https://search.example"', '"https://search.example/v1?a"', "without query or user"),
    ('"https://search.example"', '"https://search.example//v1"', "upstream.search.url = "),
    ('"https://search.example"', '"https://search.example/v%31"', "upstream.search.url = "),
    ('"https://search.example"', '"https://search.example/{id}"', "upstream.search.url = "),
    ('"https://search.example"', '"https://search.example/v1/*"', "upstream.search.url = "),
    ('"https://search.example"', '"https://search.example/v1/.."', "upstream.search.url = "),
    ('"https://search.example"', '"https://search.example:0"', "upstream.search.url = "),
    ('"https://search.example"', '"https://u:p@search.example"', '"https://…@search.example"'),
    (', file = "secrets/search"', "", "expected one of file and env"),
    (', env = "LOCAL_KEY"', ', env = "A", file = "b"', "expected one of file and env"),
    ('header = "x-api-key"', 'header = "x api"', "the name of a header field"),
    (
        'header = "x-api-key"',
        'header = "X-Crewgate-Crew"',
        "the gateway tells the tool by these fields who",
    ),
    ('header = "x-api-key"', 'header = "Host"', "frames the message; choose another"),
    ('"search.web"]', '"search web"]', "the name 'search web': expected a tool's name"),
    ('"POST"\npath = "/search"', '"HEAD"\npath = "/search"', 'method = "HEAD": expected "GET" or'),
    ('path = "/search"', 'path = "/a//b"', 'tool."search.web".path = "/a//b": expected a path'),
    ('path = "/search"', 'path = "/publish/{x}"', "can match one request"),
    ('upstream = "search"', 'upstream = "serach"', "no such upstream; known: local, search"),
    (
        'owner = "article"',
        'owner = "bd"',
        'owner = "bd": no such crew; known: article; a tool of no crew has the owner "shared"',
    ),
    ('price = "0.01"', 'price = "2000000"', "at most"),
    ('price = "0.01"\n', "", 'tool."search.web".price: missing'),
    ('["authorization", "x-api-key"]', '["cookie"]', 'expected a list of at most 3, each "auth'),
    ('["authorization", "x-api-key"]', "[]", "empty, so no call has a token"),
    ('["X-HTTP-Method-Override"]', '["x-crewgate-role"]', "is never passed on"),
    ('["X-HTTP-Method-Override"]', '["X_Crewgate_Role"]', "is never passed on"),
    (
        '["X-HTTP-Method-Override"]',
        '["Authorization"]',
        '"authorization" is never passed on; remove',
    ),
    (
        'owner = "article"',
        'allow_fields = ["x-api-key"]',
        'tool."publish.post".allow_fields: "x-api-key" is never passed on: tool."search.web".carr',
    ),
    ("rotate_bytes = 1048576", "rotate_bytes = 1", "audit.rotate_bytes = 1: expected"),
    ("keep_bytes = 10_000_000", "keep_bytes = 0", "audit.keep_bytes = 0: expected"),
    ('on_full = "continue"', 'on_full = "drop"', 'expected "refuse" or "continue"'),
    ("branches = 1024", "branches = 1000", "table.branches = 1000: expected a power of two"),
    ("credit_wait_seconds_max = 0.1", "credit_wait_seconds_max = 9", "at most 5"),
    ("credit_wait_seconds_max = 0.1", "token_bytes = 9", "limits.token_bytes: unknown key"),
]


@pytest.mark.parametrize(("good", "bad", "told"), BAD)
def test_one_wrong_thing_is_refused_where_it_stands(
    write: Write, whole: str, good: str, bad: str, told: str
) -> None:
    """The error names the file, the key's path, the value, and what was expected."""
    assert good in whole
    path = write(whole.replace(good, bad, 1))
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    assert told in str(caught.value)
    assert all(line.startswith(f"{path}: ") for line in str(caught.value).splitlines())


def test_several_problems_are_told_together(write: Write, whole: str) -> None:
    """One reading finds all that is wrong within sections, a line each."""
    text = whole.replace("workers = 3", "workers = -1").replace("depth = 3", "depht = 3")
    with pytest.raises(ConfigurationError) as caught:
        load(write(text))
    assert len(str(caught.value).splitlines()) == 2


def test_two_listeners_on_one_port_and_two_crews_on_one_key_file_are_refused(
    write: Write, whole: str
) -> None:
    """What only shows between sections names both sides."""
    twice = whole[whole.index("[[listener]]") : whole.index("[crew")]
    crew = whole[whole.index("[crew") : whole.index("[upstream")].replace("crew.article", "crew.bd")
    named = twice.replace('"agents"', '"more"')
    for extra, told in (
        (twice, 'listener "agents": two listeners have this name'),
        (named, 'listener "more": "agents" has the same address and port (127.0.0.1 port 8443)'),
        (crew, "crew.bd.jwks: crew.article has this file too"),
    ):
        with pytest.raises(ConfigurationError, match=r"crewgate\.toml: ") as caught:
            load(write(f"{whole}\n{extra}"))
        assert told in str(caught.value)


def test_more_listeners_than_possible_are_refused(write: Write, whole: str) -> None:
    """The number of sections has a bound, and the error says which."""
    listener = whole[whole.index("[[listener]]") : whole.index("[crew")]
    with pytest.raises(ConfigurationError, match=r"listener: 17 tables; at most 16 are possible"):
        load(write(f"{whole}\n{listener * 16}"))


def test_more_upstreams_than_possible_are_refused(write: Write, minimal: str) -> None:
    """The same for tables that have names."""
    many = "".join(f'[upstream.u{n}]\nurl = "http://h"\n' for n in range(limits.upstreams_max + 1))
    with pytest.raises(ConfigurationError, match=r"upstream: 1025 tables; at most 1024"):
        load(write(minimal + many))


def test_workers_without_a_listener_are_refused(write: Write) -> None:
    """Workers that could not accept anything are a mistake; none at all are not."""
    with pytest.raises(ConfigurationError, match=r"add one, or write workers = 0"):
        load(write('audience = "here"\n'))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"audience = ", "not TOML"),
        (b'audience = "\xff"', "not UTF-8 at byte 12"),
        (b"#" * (limits.config_bytes_max + 1), "larger than 1048576 bytes"),
    ],
)
def test_a_file_that_is_no_document_is_refused(tmp_path: Path, data: bytes, told: str) -> None:
    """Broken syntax, foreign encodings and giants are told from wrong keys."""
    path = tmp_path / "crewgate.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigurationError, match=r"crewgate\.toml: ") as caught:
        load(path)
    assert told in str(caught.value)


def test_the_file_is_named_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong: that it is missing, its syntax, or a key."""
    monkeypatch.chdir(tmp_path)
    for text in (None, "audience = ", "zzz = 1"):
        if text is not None:
            Path("crewgate.toml").write_text(text)
        with pytest.raises(ConfigurationError) as caught:
            load("crewgate.toml")
        assert all(line.startswith("crewgate.toml: ") for line in str(caught.value).splitlines())


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    """The error of a missing file names it and the command that writes one."""
    with pytest.raises(ConfigurationError, match=r"No such file.*crewgate init"):
        load(tmp_path / "crewgate.toml")


def test_a_long_or_hostile_value_is_shown_short_and_escaped(write: Write, minimal: str) -> None:
    """A terminal shows at most 80 characters of a value and none that steer it."""
    text = minimal.replace('"here"', '"\\u001b[2J' + "a" * 500 + '"')
    with pytest.raises(ConfigurationError) as caught:
        load(write(text))
    assert "\x1b" not in str(caught.value)
    assert "a" * 100 not in str(caught.value)


@pytest.mark.parametrize("field", LimitsConfig.__struct_fields__)
def test_every_bound_that_can_be_lowered_is_asked_for(field: str) -> None:
    """A bound that the file may lower but no code reads from it would be a lie."""
    source = Path(limits.__file__).parent.parent
    code = [path for path in source.rglob("*.py") if path.parent.name != "config"]
    assert any(f"config.limits.{field}" in path.read_text() for path in code)
