"""What of tokens is revoked over the API: for whom it is done, and what nobody has confirmed."""

from typing import Any

import msgspec
import pytest
from api_world import BD, BD_CHILD, BD_RUN, BOTH, FINANCE_RUN, OPERATOR, Desk

from crewgate.api.branch_tree_snapshot import BranchTreeSnapshot
from crewgate.api.schemas import BranchResponse
from crewgate.core.x509.identity_extension import Identity

ROW = BranchResponse(
    crew="bd", branch="b", state="live", grant="g-1", process="pid_7", subject="corp:ada"
)
ACCOUNT = msgspec.structs.replace(ROW, crew="bd:finance", grant="0B:1", process="instance")


def desk() -> Desk:
    """One branch of bd was seen, and one run that crosses by certificate."""
    found = Desk()
    found.office.snapshot = BranchTreeSnapshot([ROW, ACCOUNT])
    return found


async def did(caller: Identity, ask: dict[str, Any]) -> tuple[Any, list[tuple[Any, ...]]]:
    """The answer, and what the office was asked to do."""
    at = desk()
    answer = await at.ask(caller, "POST", "/v1/revocations", json=ask)
    return answer, [each for each in at.office.asked if each[0] != "tree"]


@pytest.mark.parametrize(
    ("ask", "done"),
    [
        ({"grant": "g-1"}, ("revoke_grant", "g-1", "bd")),
        ({"process": "pid_7"}, ("revoke_process", "pid_7", "bd")),
        ({"grant": "unseen", "crew": "bd"}, ("revoke_grant", "unseen", "bd")),
        ({"all_tokens_of": "bd"}, ("revoke_crew", "bd", "bd")),
        ({"subject": "corp:ada"}, ("revoke_subject", "corp:ada", "bd")),
    ],
)
async def test_an_orchestrator_s_is_of_its_own_crew(ask: Any, done: Any) -> None:
    """What was seen of it needs no crew named; what is named is revoked unseen."""
    answer, asked = await did(BD, ask)
    assert (answer.status_code, asked) == (200, [done])
    target = done[0].removeprefix("revoke_")
    said = answer.json()
    assert (said["target"], said["id"], said["crew"]) == (target, done[1], "bd")


async def test_a_subject_is_of_all_crews_only_to_an_operator() -> None:
    """An orchestrator ends what a person has begun in its own crew; an unknown name is refused."""
    answer, asked = await did(OPERATOR, {"subject": "corp:ada"})
    assert (answer.status_code, asked) == (200, [("revoke_subject", "corp:ada", "")])
    answer, asked = await did(BD, {"subject": "corp:adam"})
    assert (answer.status_code, asked) == (409, [])
    answer, asked = await did(BD, {"subject": "corp:ada", "crew": "finance"})
    assert (answer.status_code, asked) == (403, [])


@pytest.mark.parametrize("what", ["branch", "grant", "certificate", "orchestrator"])
async def test_the_audit_can_name_the_caller(what: str) -> None:
    """Each request names who made it, as the log of the control process does."""
    at = Desk()
    name = {"branch": BD_RUN, "certificate": "0B", "orchestrator": "bd/bd-1"}.get(what, "g-1")
    named = {"crew": "bd"} if what in {"branch", "grant"} else {}
    answer = await at.ask(OPERATOR, "POST", "/v1/revocations", json={what: name, **named})
    assert (answer.status_code, at.office.revoked_by) == (200, ["operator/ada"])
    answer = await at.ask(BD, "DELETE", f"/v1/branches/{BD_RUN}")
    assert at.office.revoked_by == ["operator/ada", "bd/bd-1"]


@pytest.mark.parametrize(
    "ask", [{"grant": "g-2"}, {"process": "pid_8"}, {"grant": "0B:1"}, {"process": "instance"}]
)
async def test_what_was_not_seen_is_not_confirmed(ask: Any) -> None:
    """A mistyped name, or one of a run that has no token, is no grant and no process of the crew.

    An operator who names no crew is asked for it.
    """
    answer, asked = await did(BD, ask)
    assert (answer.status_code, asked) == (409, [])
    assert "to revoke it anyway, name its crew" in answer.json()["detail"]
    answer, asked = await did(OPERATOR, ask)
    assert (answer.status_code, asked) == (400, [])
    assert "name the crew of the" in answer.json()["detail"]


async def test_a_member_of_an_earlier_version_is_refused_by_its_new_name() -> None:
    """Nothing is revoked, and whoever wrote the request reads what to write."""
    answer, asked = await did(OPERATOR, {"every_token_of": "bd"})
    assert (answer.status_code, asked) == (400, [])
    assert answer.json()["detail"] == (
        "body: Object contains `every_token_of`, which is `all_tokens_of` now"
    )


async def test_the_deed_says_how_much_it_was() -> None:
    """Nobody takes a crew's end for a branch's."""
    at = desk()
    for ask in ({"all_tokens_of": "bd"}, {"grant": "g-1", "crew": "bd"}):
        await at.ask(OPERATOR, "POST", "/v1/revocations", json=ask)
    assert [deed.partition(": ")[2] for deed in at.deeds] == [
        "revoked all tokens of crew bd issued until now",
        "revoked grant g-1 of crew bd",
    ]


async def test_a_text_says_why() -> None:
    """Of a certificate and an orchestrator, it is a word of RFC 5280; of the rest, any text."""
    at = desk()
    ask = {"grant": "g-1", "crew": "bd", "reason": "asks for the same page"}
    assert (await at.ask(OPERATOR, "POST", "/v1/revocations", json=ask)).status_code == 200
    del ask["reason"]
    assert (await at.ask(OPERATOR, "POST", "/v1/revocations", json=ask)).status_code == 200
    assert at.office.reasons == ["asks for the same page", ""]
    for what, name in (("certificate", "0B"), ("orchestrator", "bd/bd-1")):
        wrong = {what: name, "reason": "asks for the same page"}
        answer = await at.ask(OPERATOR, "POST", "/v1/revocations", json=wrong)
        assert (answer.status_code, "keyCompromise" in answer.json()["detail"]) == (400, True)
        right = {what: name, "reason": "keyCompromise"}
        assert (await at.ask(OPERATOR, "POST", "/v1/revocations", json=right)).status_code == 200
    long = {"grant": "g-1", "crew": "bd", "reason": "x" * 501}
    assert (await at.ask(OPERATOR, "POST", "/v1/revocations", json=long)).status_code == 400


async def test_a_branch_is_found_by_a_few_characters_or_its_name() -> None:
    """An orchestrator finds those of its own crew only."""
    at = Desk()

    async def found(caller: Identity, find: str) -> list[str]:
        answer = await at.ask(caller, "GET", f"/v1/branches?find={find}")
        assert answer.status_code == 200
        return [row["branch"] for row in answer.json()["branches"]]

    assert await found(BD, "0199c1d2") == [BD_RUN, BD_CHILD, BOTH]
    assert len(await found(OPERATOR, "0199c1d2")) == 5
    assert await found(OPERATOR, FINANCE_RUN) == [FINANCE_RUN]
    assert await found(BD, FINANCE_RUN) == await found(BD, "bd/nobody") == []
    answer = await at.ask(OPERATOR, "GET", "/v1/branches?find=01")
    assert (answer.status_code, "at least 4" in answer.json()["detail"]) == (400, True)
