"""Grants, and a process' and a crew's tokens, revoked by way of the control API."""

import json

import pytest
from control_site import NEW, ControlSite, serial_of
from installation import wait_until

from crewgate.issuer.inspection import read_claims


def minted(site: ControlSite, who: str, process: str) -> str:
    """A run's token, which a gateway here has seen."""
    with site.api(who) as api:
        token: str = api.post("/v1/tokens", data={**NEW, "process": process}).json()["access_token"]
    assert site.call(token).status_code == 200
    return token


@pytest.mark.parametrize("what", ["grant", "process", "all_tokens_of"])
def test_tokens_are_revoked_for_whom_they_concern(site: ControlSite, what: str) -> None:
    """By an orchestrator of the crew and no other; the answer says what it was, and the audit who.

    Afterwards no token is signed by a dead one, and introspection calls it dead.
    """
    # What is issued in the seconds after a crew's end is dead too: each case has its own crew.
    who, crew = ("finance", "finance") if what == "all_tokens_of" else ("bd", "bd")
    process = f"pid_{what}"
    token, other = minted(site, who, process), minted(site, who, "else")
    claims = read_claims(token)
    named = {"grant": claims.jti, "process": process, "all_tokens_of": crew}[what]
    ask = {what: named} if what == "all_tokens_of" else {what: named, "crew": crew}
    with site.api("bd" if who == "finance" else "finance") as stranger:
        assert stranger.post("/v1/revocations", json=ask).status_code == 403
    assert site.call(token).status_code == 200
    with site.api(who) as api:
        answer = api.post("/v1/revocations", json=ask)
        assert answer.status_code == 200, answer.text
        done = answer.json()
        target = "crew" if what == "all_tokens_of" else what
        assert (done["target"], done["id"], done["crew"]) == (target, named, crew)
        assert (done["enough"], done["applied_on"], done["coarsened"]) == (True, 1, False)
        assert site.call(token).status_code == 401
        assert site.call(other).status_code == (401 if what == "all_tokens_of" else 200)
        assert api.post("/v1/introspect", data={"token": token}).json() == {"active": False}
        last = {"grant_type": "refresh_token", "refresh_token": token}
        refused = api.post("/v1/tokens", data=last)
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
        assert "was revoked" in refused.json()["error_description"]
    deed = f"certificate {serial_of(site.folder / who)}: revoked "
    wait_until(lambda: any(deed in record.get("detail", "") for record in site.records()))
    records = [each for each in site.records() if each["kind"] == "revocation"]
    by = {"finance": "finance/fin-1", "bd": "bd/bd-1"}[who]
    assert (target, named, by) in [(each["target"], each["id"], each["by"]) for each in records]


def test_what_was_seen_needs_no_crew(site: ControlSite) -> None:
    """Once the tree has it; a mistyped one is not confirmed."""
    token = minted(site, "bd", "pid_seen")
    with site.api("bd") as api:

        def is_revoked() -> bool:
            answer = api.post("/v1/revocations", json={"process": "pid_seen"})
            assert answer.status_code in {200, 409}, answer.text
            return answer.status_code == 200

        wait_until(is_revoked)
        assert api.post("/v1/revocations", json={"process": "pid_seem"}).status_code == 409
    assert site.call(token).status_code == 401


def test_the_command_asks_for_the_same(site: ControlSite) -> None:
    """In the words of the command at the machine, which a script reads alike."""
    token = minted(site, "bd", "pid_told")
    jti = read_claims(token).jti
    ask = ("revoke", "--grant", jti, "--crew", "bd")
    said = site.tell(*ask, who="bd").stdout
    assert said == f"revoked grant {jti} of crew bd: no call was open at the gateway\n"
    assert site.call(token).status_code == 401
    there, here = json.loads(site.tell(*ask, "--json").stdout), site.ask(*ask)
    assert there.keys() == here.keys() - {"read_ns", "last_cut_ns"}
    assert (there["grant"], there["crew"]) == (jti, "bd")
    for arguments, says in (
        (("--grant", jti), "crew: name the crew of the grant"),
        (("--all-tokens-of", "finance"), "(403)"),
        (("--all-tokens-of", "bd", "--process", "p"), "name one of BRANCH"),
        ((), "name one of BRANCH"),
    ):
        who = "bd" if says == "(403)" else "ada"
        done = site.tell("revoke", *arguments, who=who, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert says in done.stderr
        assert len(done.stderr.splitlines()) == 1
