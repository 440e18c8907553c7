"""A real agent that revokes tokens and no branch: who is refused, and who goes on."""

import json

import pytest
from agent_process import Enter, Site, reason
from crew_world import BRANCH, CREW, KID

from crewgate import limits
from crewgate.core.ids import EntityKind
from crewgate.core.reasons import Reason
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.ipc.admin_client import AdminClient
from crewgate.issuer.branches.local_gateway import LocalGateway
from crewgate.issuer.inspection import read_claims

NAMES = {EntityKind.GRANT: "grant-x", EntityKind.PROCESS: "pid_7729", EntityKind.CREW: CREW}
SIBLING = "0199c1d2-0000-7000-8000-000000000009"


@pytest.mark.parametrize("kind", NAMES)
def test_tokens_die_and_their_branch_lives(site: Site, enter: Enter, kind: EntityKind) -> None:
    """Every guest refuses them at once; a later token of the same branch is admitted everywhere.

    Its issuer may mint one, and nobody gets one for the dead.
    """
    site.agent()
    guests = [enter(), enter()]
    world = site.world
    token = world.mint(jti="grant-x")
    sibling = world.mint(process_id="pid_1", execution_branch_id=SIBLING)
    for guest in guests:
        guest.settled(token)
        guest.settled(sibling)
    local, shown = LocalGateway(site.state, CREW), read_claims(token.decode())
    assert not local.refuses(shown, KID)
    with AdminClient(site.state) as owner:
        receipt = owner.revoke([RevocationTarget(kind, NAMES[kind], CREW)])
    assert receipt.targets == [RevocationTarget(kind, NAMES[kind], CREW)]
    assert receipt.unresponsive == 0
    issued = world.now + 100  # later than the receipt and its leeway
    later = world.mint(jti="grant-z", iat=issued, exp=issued + 800)
    for guest in guests:
        assert reason(guest.call(token)) is Reason.BRANCH_REVOKED
        if kind is not EntityKind.CREW:
            guest.settled(sibling)
        guest.gate.clock = (issued * 10**9, guest.table.fresh_until - 1)
        guest.settled(later)
    assert local.refuses(shown, KID)
    assert not local.refuses(read_claims(later.decode()), KID)
    assert not any(each.is_revoked for each in local.usage({BRANCH, SIBLING}).values())


def test_the_command_says_it_to_a_person_and_to_a_script(site: Site, enter: Enter) -> None:
    """One line, one document; what the tree shows of it; and the audit has all three."""
    site.agent()
    enter().settled(site.world.mint(jti="grant-x"))
    done = site.command("revoke", "--grant", "grant-x", "--crew", CREW)
    text = "revoked grant grant-x of crew article: no call was open at the gateway\n"
    assert (done.returncode, done.stdout) == (0, text)
    assert site.tree()[BRANCH].state == "token-revoked"
    done = site.command("revoke", "--process", "pid_7729", "--crew", CREW, "--json")
    document = json.loads(done.stdout)
    assert (document["process"], document["crew"], document["until"]) == (
        "pid_7729",
        CREW,
        "local",
    )
    done = site.command("revoke", "--all-tokens-of", CREW, "--until", "all")
    assert (
        f"all tokens of crew article issued up to {limits.leeway_seconds} s from now" in done.stdout
    )
    for arguments, says in (
        (("--grant", "g"), "name the crew of the grant: --crew article"),
        (("--all-tokens-of", "nobody"), "is no crew that has tokens; configured are: article"),
    ):
        done = site.command("revoke", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert says in done.stderr
    written = [
        (line["target"], line["id"]) for line in site.audit() if line["kind"] == "revocation"
    ]
    assert written == [("grant", "grant-x"), ("process", "pid_7729"), ("crew", CREW)]
