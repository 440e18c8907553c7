"""No mutation of a request lets an agent read another message than the one that was judged."""

import random
from collections import Counter
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import lenient_a2a_agent
import pytest
from a2a_mutations import PATH, Request, Texts, mutated, requests
from gateway_world import AGENT, SEALER, config_of, grant_of
from lenient_a2a_agent import Reading, Sent
from lenient_mcp_server import ABSENT, header_readings
from msgspec import structs
from search_depth import deep

from crewgate.config import UpstreamOrigin
from crewgate.config.a2a import WELL_KNOWN
from crewgate.core.a2a.methods import Version
from crewgate.core.sealed_ids import IdKind, IdOwner
from crewgate.errors import InvalidRequestError, UnknownIdError
from crewgate.gateway.a2a.judging import JudgedA2ARequest
from crewgate.gateway.endpoint import UnservedRequestError
from crewgate.gateway.routes import RouteTable, build
from crewgate.server import request as server_request

GRANT = grant_of()
OWNER = IdOwner(GRANT.crew, GRANT.branch_key, "research")
OTHER_BRANCH = IdOwner(GRANT.crew, bytes(16), "research")
HOOK = "https://hooks.example/updates"
RAW_TASK, RAW_CONTEXT, RAW_PAGE = "own-task", "own-context", "own-page"
TASK = SEALER.seal(RAW_TASK, IdKind.A2A_TASK, OWNER)
TEXTS = Texts(
    {
        "task": TASK,
        "name": f"tasks/{TASK}",
        "config-name": f"tasks/{TASK}/pushNotificationConfigs/c1",
        "context": SEALER.seal(RAW_CONTEXT, IdKind.A2A_CONTEXT, OWNER),
        "page": SEALER.seal(RAW_PAGE, IdKind.A2A_PAGE, OWNER),
        "tenant": "acme",
        "url": HOOK,
    },
    (
        "others-task", RAW_TASK, "tasks/others-task", "others-tenant", "https://evil.example/",
        "https://hooks.example@evil.example/", "https://hooks.example\\@evil.example/",
        SEALER.seal("others-task", IdKind.A2A_TASK, OTHER_BRANCH),
        SEALER.seal("others-task", IdKind.A2A_TASK, IdOwner(GRANT.crew, GRANT.branch_key, "other")),
        SEALER.seal("others-page", IdKind.A2A_PAGE, OTHER_BRANCH),
    ),
)  # fmt: skip
READERS = {
    "/rpc": lenient_a2a_agent.read_json_rpc,
    "/rest": lenient_a2a_agent.read_http_json,
    "": lenient_a2a_agent.read_grpc,
}


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> RouteTable:
    config = config_of(UpstreamOrigin("http", "127.0.0.1", 1), tmp_path_factory.mktemp("state"))
    agent = structs.replace(AGENT, grpc="tools", push_origins=("https://hooks.example",))
    pools: Any = {"tools": SimpleNamespace(upstream=config.upstreams[0])}
    return build(structs.replace(config, a2a=(agent,)), pools, sealer=SEALER)


def judged(routes: RouteTable, request: Request) -> tuple[Sent, JudgedA2ARequest] | None:
    """Return what reaches the agent and what was judged; None if the gateway refuses it."""
    method, target = request.method.encode(), request.target.encode("latin-1")
    fields = [(b"host", b"gateway.example"), *request.fields]
    try:
        head = server_request.build(
            method, target, None, fields, version="1.1", stream=0, streamed=True
        )
        route = routes.find(head.method, head.path, head.authority)
        if route is None or route.endpoint is None:
            return None
        found = route.endpoint.judge(head, request.body, GRANT, route.path_of)
        passed = route.fields.filter.kept(head.headers, b"token")
    except (InvalidRequestError, UnservedRequestError):
        return None
    assert isinstance(found, JudgedA2ARequest)
    assert found.target is not None
    path, _, query = found.target.decode().partition("?")
    sent = Sent(request.method, path, query, [*passed, *found.headers], found.body)
    return sent, found


def check(sent: Sent, request: JudgedA2ARequest) -> bool:
    """Compare what was judged with all that an agent could read; return whether it reads it."""
    assert header_readings(sent.headers, b"x-crewgate-tool") == {request.id}
    if request.called is None:
        assert (sent.path, sent.query, sent.body) == (WELL_KNOWN, "", b"")
        return True
    assert lenient_a2a_agent.versions(sent) <= {ABSENT, request.version.value}
    prefix = next(each for each in READERS if sent.path.startswith(each))
    readings = list(READERS[prefix](sent._replace(path=sent.path.removeprefix(prefix))))
    for reading in readings:
        # An agent without version 0.3 may take its prefix for a tenant, which it does not have.
        others = reading.texts - {("tenant", "v1")}
        assert reading.method == request.called.name
        assert reading.version is request.version or others != reading.texts
        for kind, text in others:
            assert is_own(kind, text, request), (kind, text)
        if reading.is_exact and others == reading.texts:
            check_contexts(reading, request)
    return any(reading.is_exact for reading in readings)


def is_own(kind: str, text: str, request: JudgedA2ARequest) -> bool:
    """Whether the branch may say a text to the agent."""
    if kind == "message":
        return True
    if kind == "context":
        return text in request.contexts and (text == RAW_CONTEXT or is_sealed_context(text))
    if kind == "url":
        parts = urlsplit(text.replace("\\", "/"))
        return (parts.scheme, parts.netloc) == ("https", "hooks.example")
    if kind == "name":
        head, task, *rest = text.split("/")
        return (head, task) == ("tasks", RAW_TASK) and ".." not in rest
    return text == {"task": RAW_TASK, "page": RAW_PAGE, "tenant": request.tenant}[kind]


def is_sealed_context(text: str) -> bool:
    """Whether a context has a name of this branch, which the gateway or the client chose."""
    for kind in (IdKind.A2A_CONTEXT_OF_CLIENT, IdKind.A2A_CONTEXT_OF_GATEWAY):
        try:
            SEALER.open(text, kind, OWNER)
        except UnknownIdError:
            continue
        return True
    return False


def check_contexts(reading: Reading, request: JudgedA2ARequest) -> None:
    """The agent reads the contexts and the tenant that were judged; each message is in one."""
    found = {text for kind, text in reading.texts if kind == "context"}
    # The gateway knows names of members that not every form of version 0.3 has.
    assert found == set(request.contexts) or reading.version is Version.V0_3
    assert {text for kind, text in reading.texts if kind == "tenant"} <= {request.tenant}
    kinds = {kind for kind, _ in reading.texts}
    assert "message" not in kinds or kinds & {"context", "task"}


def test_an_agent_reads_what_was_judged(routes: RouteTable) -> None:
    """Or the request is refused; many mutations are harmless, and pass."""
    dice = random.Random(11)
    valid = requests(TEXTS)
    for request in valid:
        seen = judged(routes, request)
        assert seen is not None, request
        assert check(*seen), request
    card = Request("GET", PATH + WELL_KNOWN, [(b"accept", b"*/*")], b"")
    ends = Counter[str]()
    for _ in range(deep(1000)):
        seen = judged(routes, mutated(dice.choice([*valid, card]), TEXTS, dice))
        ends["refused" if seen is None else "read" if check(*seen) else "unread"] += 1
    print(dict(ends))
    assert min(ends["refused"], ends["read"]) > 100
