"""Every endpoint, asked by every role and by orchestrators of the same and of another crew."""

from typing import Any, NamedTuple

import msgspec
import pytest
from api_world import (
    BD,
    BD_AGENT,
    BD_CHILD,
    BD_OTHER,
    BD_RUN,
    FINANCE,
    FINANCE_RUN,
    GATEWAY,
    OPERATOR,
    Desk,
    rows,
)

from crewgate.api.endpoints import ENDPOINTS
from crewgate.api.schemas import IntrospectionResponse
from crewgate.api.tokens import CHILD, NEXT, RUN
from crewgate.core.x509.identity_extension import MAY_REVOKE, Identity

CALLERS = {"operator": OPERATOR, "bd": BD, "bd-other": BD_OTHER, "finance": FINANCE, "gw": GATEWAY}
NEW = {"scope": "search.*", "credits": "1", "role": "r"}
SUBJECT = "urn:ietf:params:oauth:token-type:jwt"
OCSP = {"content-type": "application/ocsp-request"}
OF_BD = {"orchestrator": "bd/bd-1"}
CSR = {"request": "csr"}
EDGE = msgspec.structs.replace(GATEWAY, key=bytes(range(32)), rights=(MAY_REVOKE,))


class Case(NamedTuple):
    """A request that concerns crew bd (or bd/bd-1), and the status for each caller."""

    method: str
    endpoint: str
    path: str
    how: dict[str, Any]
    operator: int
    bd: int
    bd_other: int
    finance: int
    gw: int


def case(endpoint: str, who: tuple[int, int, int, int, int], path: str = "", **how: Any) -> Case:
    method, _, template = endpoint.partition(" ")
    return Case(method, template, path or template, how, *who)


ALL, STAFF, MINE = (200,) * 5, (200, 200, 200, 200, 403), (200, 200, 200, 403, 403)
OWN, HIDDEN = (200, 200, 403, 403, 403), (200, 200, 200, 404, 403)
REVOKE, TOKENS, CERTIFY = "POST /v1/revocations", "POST /v1/tokens", "POST /v1/certificates"
CASES = [
    case(REVOKE, MINE, json={"branch": BD_RUN, "crew": "bd"}),
    case(REVOKE, MINE, json={"grant": "g-1", "crew": "bd"}),
    case(REVOKE, MINE, json={"process": "pid_7", "crew": "bd"}),
    case(REVOKE, MINE, json={"all_tokens_of": "bd"}),
    case(REVOKE, HIDDEN, json={"certificate": "0B"}),
    case(REVOKE, (200, 404, 404, 404, 403), json={"certificate": "0E"}),
    case(REVOKE, MINE, json={"orchestrator": "bd/bd-1"}),
    case(REVOKE, (200, 404, 404, 403, 403), json={"orchestrator": "bd/made-up"}),
    case("GET /v1/revocations", MINE, "/v1/revocations?crew=bd"),
    case("GET /v1/revocations", STAFF),
    case("GET /v1/audit", (200, 403, 403, 403, 403), "/v1/audit?role=writer&limit=9"),
    case("GET /v1/machines", (200, 403, 403, 403, 403)),
    case("GET /v1/branches", MINE, "/v1/branches?crew=bd"),
    case("GET /v1/branches/{branch}", HIDDEN, f"/v1/branches/{BD_RUN}"),
    case("GET /v1/branches/{branch}", MINE, f"/v1/branches/{BD_RUN}?crew=bd"),
    case("DELETE /v1/branches/{branch}", HIDDEN, f"/v1/branches/{BD_CHILD}"),
    case("DELETE /v1/branches/{branch}", MINE, f"/v1/branches/{BD_CHILD}?crew=bd"),
    case("GET /v1/tree", STAFF),
    case("GET /v1/tree", MINE, "/v1/tree?crew=bd"),
    case(TOKENS, OWN, form={"grant_type": RUN, **NEW, **OF_BD}),
    case(TOKENS, OWN, form={"grant_type": NEXT, "refresh_token": "t", **OF_BD}),
    case(TOKENS, OWN, form={"grant_type": CHILD, **NEW, **OF_BD, "subject_token": "t",
                            "subject_token_type": SUBJECT}),
    case("POST /v1/introspect", ALL, form={"token": "t"}),
    case(CERTIFY, (201, 201, 403, 403, 403),
         json={**CSR, "role": "orchestrator", "crew": "bd", "name": "bd-1"}),
    case(CERTIFY, (201, 403, 403, 403, 403), json={**CSR, "role": "operator", "name": "eve"}),
    case(CERTIFY, (201, 403, 403, 403, 201), json={**CSR, "role": "gateway", "name": "edge-1"}),
    case(CERTIFY, (201, 403, 403, 403, 403),
         json={**CSR, "role": "gateway", "name": "edge-2", "hosts": ["edge"]}),
    case(CERTIFY, (201,) * 5, json=CSR),
    case(CERTIFY, (201, 201, 403, 400, 403), json={**CSR, "role": "agent", "branch_token": "t"}),
    case("POST /ocsp", ALL, content=b"x", headers=OCSP),
    case("GET /ocsp/{request:path}", ALL, "/ocsp/MEI="),
    case("GET /crl", ALL),
    case("GET /healthz", ALL),
    case("GET /readyz", ALL),
]  # fmt: skip


def test_no_endpoint_is_without_a_case() -> None:
    """Whoever adds an endpoint says here who may use it."""
    assert {(each.method, each.endpoint) for each in CASES} == {
        (each.method, each.path) for each in ENDPOINTS
    }


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("at", range(len(CASES)))
async def test_who_may_do_what(at: int, caller: str) -> None:
    """The status for each caller; what is refused has not reached the office."""
    wanted, desk = CASES[at], Desk()
    answer = await desk.ask(CALLERS[caller], wanted.method, wanted.path, **wanted.how)
    assert answer.status_code == getattr(wanted, caller.replace("-", "_")), answer.text
    did = [each for each in desk.office.asked if each[0] not in {"tree", "introspect"}]
    if answer.is_error:
        assert not did


@pytest.mark.parametrize("at", range(len(CASES)))
@pytest.mark.parametrize("caller", [None, BD_AGENT], ids=["nobody", "agent"])
async def test_nobody_without_an_identity_may_do_anything(at: int, caller: Identity | None) -> None:
    """A peer that no guard has named is refused everywhere, and the agent of a branch too."""
    desk = Desk()
    answer = await desk.ask(caller, CASES[at].method, CASES[at].path, **CASES[at].how)
    assert (answer.status_code, desk.office.asked) == (403, [])


@pytest.mark.parametrize(
    ("body", "found", "status"),
    [
        ({"role": "agent"}, {}, 400),
        ({"branch_token": "t"}, {}, 400),
        ({"role": "operator", "branch_token": "t"}, {}, 400),
        ({"role": "agent", "branch_token": "t", "name": "bd-1"}, {}, 400),
        ({"role": "agent", "branch_token": "t", "crew": "bd"}, {}, 400),
        ({"role": "agent", "branch_token": "t", "hosts": ["x"]}, {}, 400),
        ({"role": "agent", "branch_token": "t", "renews": "PEM"}, {}, 403),
        ({"role": "agent", "branch_token": "t"}, {"active": False}, 400),
        ({"role": "agent", "branch_token": "t"}, {"crew": "finance"}, 400),
        ({"role": "agent", "branch_token": "t"}, {"client_id": "bd/bd-2"}, 403),
        ({"role": "agent", "branch_token": "t"}, {"client_id": "finance/bd-1"}, 403),
        ({"role": "agent", "branch_token": "t"}, {"client_id": "made up"}, 400),
    ],
)
async def test_an_orchestrator_certifies_its_own_branches_only(
    monkeypatch: pytest.MonkeyPatch, body: dict[str, str], found: dict[str, object], status: int
) -> None:
    desk = Desk()
    claims = msgspec.structs.replace(await desk.office.introspect("t"), **found)

    async def introspect(_: str) -> IntrospectionResponse:
        return claims

    monkeypatch.setattr(desk.office, "introspect", introspect)
    desk.office.asked.clear()
    answer = await desk.ask(BD, "POST", "/v1/certificates", json={**CSR, **body})
    assert (answer.status_code, desk.office.asked) == (status, []), answer.text


async def test_the_token_says_what_the_certificate_of_a_branch_says() -> None:
    desk = Desk()
    body = {**CSR, "role": "agent", "branch_token": "t", "life_seconds": 60}
    await desk.ask(BD, "POST", "/v1/certificates", json=body)
    _, (_, wanted) = desk.office.asked
    assert (wanted.identity.label, wanted.until) == (f"bd/bd-1#{BD_CHILD}", 900)
    assert (wanted.life_seconds, wanted.is_own) == (60, False)


@pytest.mark.parametrize(("caller", "sees"), [(BD, {"bd"}), (OPERATOR, {"bd", "finance"})])
@pytest.mark.parametrize("path", ["/v1/tree", "/v1/branches"])
async def test_an_orchestrator_sees_its_own_crew_alone(
    caller: Identity, sees: set[str], path: str
) -> None:
    """Without a crew named, an operator sees all and an orchestrator its own."""
    answer = await Desk().ask(caller, "GET", path)
    found = answer.json()["branches"]
    assert {row["crew"] for row in found} == sees
    assert len(found) == sum(
        row.crew in sees and (path == "/v1/tree" or bool(row.branch)) for row in rows()
    )


async def test_what_is_not_ours_looks_like_what_is_not_there() -> None:
    """A branch of another crew and no branch at all get the same answer, byte for byte."""
    desk = Desk()
    foreign = await desk.ask(BD, "GET", f"/v1/branches/{FINANCE_RUN}")
    nothing = await desk.ask(BD, "GET", "/v1/branches/0199c1d2-0000-7000-8000-00000000dead")
    assert (foreign.status_code, foreign.content) == (nothing.status_code, nothing.content)
    one = await desk.ask(BD, "POST", "/v1/revocations", json={"certificate": "0F"})
    other = await desk.ask(BD, "POST", "/v1/revocations", json={"certificate": "FFFF"})
    assert (one.status_code, one.content) == (404, other.content)


async def test_introspection_tells_an_orchestrator_nothing_of_another_crew() -> None:
    """Another crew's good token is as little active as garbage (RFC 7662, section 2.2)."""
    answer = await Desk().ask(FINANCE, "POST", "/v1/introspect", form={"token": "bd's"})
    assert answer.json() == {"active": False}
    own = await Desk().ask(BD, "POST", "/v1/introspect", form={"token": "bd's"})
    assert own.json()["active"]


@pytest.mark.parametrize("who", [BD, EDGE])
async def test_one_s_own_certificate_keeps_the_whole_identity(who: Identity) -> None:
    """Instance, key and rights of the next certificate are those of the caller's."""
    desk = Desk()
    await desk.ask(who, "POST", "/v1/certificates", json=CSR)
    await desk.ask(OPERATOR, "POST", "/v1/certificates", json={**CSR, "role": "gateway",
                                                             "name": "edge-1"})  # fmt: skip
    (_, own), (_, other) = desk.office.asked
    assert (own.identity, own.is_own, own.by) == (who, True, "0B")
    assert (other.identity.instance, other.is_own) == (b"", False)
