"""Three whole gateways: tokens that are revoked at one of them are dead at all, and no others."""

import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import httpx
import pytest
from blocking_clients import OK, REVOKED, Caller, Said, becomes
from cluster_gateways import SECONDS, gateways, owner_of
from command_process import crewgate
from control_site import CHILD, NEW
from installation import Installation, wait_until
from revocation_targets import branch

from crewgate import Permit, Verifier, limits
from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.errors import BranchRevokedError, IssuerError
from crewgate.ipc.admin_messages import RevocationReceipt
from crewgate.issuer import Orchestrator, SubAgent
from crewgate.issuer.inspection import read_claims
from crewgate.issuer.local_gateway import minter_of

NOT_YET = Said(401, "token-not-yet-valid")
TOOLS = ["search.*"]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Installation]]:
    """Each joins the others."""
    with gateways(tmp_path_factory.mktemp("three"), 3) as found:
        yield found


def revoked(machine: Installation, kind: str, name: str, crew: str) -> RevocationReceipt:
    """All machines have it on their disks."""
    target = RevocationTarget(EntityKind[kind.upper()], name, crew)
    with owner_of(machine) as owner:
        receipt = owner.revoke([target], "all")
    assert (receipt.targets, receipt.reach.of) == ([target], 3)
    return receipt


def minted_later(machine: Installation, crew: str, process: str) -> str:
    """As by somebody who has waited for the leeway between clocks."""
    config, minter = minter_of(machine.file, crew, f"{crew}-later")
    ahead = limits.leeway_seconds + 1
    with Orchestrator(
        minter, config.journal_of(minter.client_id), clock=lambda: time.time() + ahead
    ) as later:
        return later.start_run(credits="10", tools=TOOLS, process_id=process).token()


@pytest.mark.parametrize("target", ["grant", "process", "crew"])
def test_streams_elsewhere_are_cut_and_no_others(three: list[Installation], target: str) -> None:
    """Also an embedded verifier's; later tokens of the process and of the crew are admitted."""
    first, second, third = three
    crew = "bd" if target == "crew" else "article"
    with ExitStack() as stack:
        near, far, away = (
            stack.enter_context(closing(Caller(machine))) for machine in (first, second, third)
        )
        embedded = stack.enter_context(Verifier.from_config(third.file))
        mints, others = (
            stack.enter_context(Orchestrator.from_config(first.file, crew=each))
            for each in (crew, "finance")
        )
        process = f"pid_{target}"
        run = mints.start_run(credits="10", tools=TOOLS, process_id=process)
        token = run.token()
        spared = [others.start_run(credits="10", tools=TOOLS, process_id=process).token()]
        if target == "grant":  # the next one of its own branch
            spared.append(run.refresh())
        if target != "crew":
            spared.append(mints.start_run(credits="10", tools=TOOLS, process_id="else").token())
        streams = [caller.stream(token) for caller in (near, far)]
        going_on = [far.stream(each) for each in spared]
        permit = embedded.admit_blocking(token, "search.web")
        assert isinstance(permit, Permit)
        assert not permit.revoked
        name = {"grant": read_claims(token).jti, "process": process, "crew": crew}[target]
        receipt = revoked(first, target, name, crew)
        assert receipt.calls_cut == 1
        for stream in streams:
            stream.end()
            assert b"branch-revoked" in stream.heard
        wait_until(lambda: permit.revoked, SECONDS)
        permit.release()
        for caller in (near, far, away):
            becomes(caller, token, REVOKED, OK)
            assert all(caller.call(each) == OK for each in spared)
        assert all(stream.is_open for stream in going_on)
        later = minted_later(first, crew, process)
        for caller in (near, far, away):
            becomes(caller, later, OK, NOT_YET)
        for each in spared:
            with owner_of(second) as owner:
                claims = read_claims(each)
                owner.revoke([branch(claims.execution_branch_id, claims.crew)])
        for stream in going_on:
            stream.end()


def test_a_person_s_runs_end_in_all_crews_on_all_machines(three: list[Installation]) -> None:
    """Their children too; another person's go on, and the person gets no further token or run."""
    with ExitStack() as stack:
        callers = [stack.enter_context(closing(Caller(machine))) for machine in three]
        crews = [
            stack.enter_context(Orchestrator.from_config(three[0].file, crew=each, name="people"))
            for each in ("article", "finance")
        ]

        def runs(subject: str) -> list[SubAgent]:
            return [
                each.start_run(credits="10", tools=TOOLS, subject=subject, role="r")
                for each in crews
            ]

        ended, others = runs("user:ada"), runs("user:adam")
        below = ended[0].spawn(role="r", tools=TOOLS, credits="1")
        tokens = [each.token() for each in (*ended, below)]
        assert {read_claims(each).sub for each in tokens} == {"user:ada"}
        streams = [caller.stream(token) for caller in callers for token in tokens]
        going_on = [caller.stream(each.token()) for caller in callers for each in others]
        receipt = revoked(three[1], "subject", "user:ada", "")
        assert (receipt.reach.applied_on, receipt.calls_cut, receipt.never_seen) == (3, 3, "")
        for stream in streams:
            stream.end()
            assert b"branch-revoked" in stream.heard
        for caller in callers:
            for token in tokens:
                becomes(caller, token, REVOKED, OK)
            assert all(caller.call(each.token()) == OK for each in others)
        for each in (*ended, below):
            with pytest.raises(BranchRevokedError):
                each.refresh()
        with pytest.raises(IssuerError, match="subject 'user:ada' was revoked"):
            runs("user:ada")
        assert all(stream.is_open for stream in going_on)
        for each in others:
            with owner_of(three[0]) as owner:
                owner.revoke([branch(each.branch, each.claims.crew)])
        for stream in going_on:
            stream.end()


@pytest.mark.parametrize("target", ["grant", "process", "crew"])
def test_another_machine_mints_nothing_by_a_dead_token(
    three: list[Installation], target: str
) -> None:
    """Neither its control API nor its commands: no next token, and no child."""
    first, second, _ = three
    # None whose tokens are dead for the next seconds too.
    crew, process = "finance" if target == "crew" else "article", f"pid_of-{target}"
    prefix = first.folder / f"clerk-{target}"
    holder = ("--role", "orchestrator", "--crew", crew, "--name", f"clerk-{target}")
    first.run("ca", "issue", *holder, "--out", str(prefix))
    context = ssl.create_default_context(cafile=second.folder / "certs" / "ca.pem")
    context.load_cert_chain(f"{prefix}.pem", f"{prefix}.key")
    api = httpx.Client(
        verify=context, base_url=f"https://127.0.0.1:{second.port + 2}", trust_env=False, timeout=30
    )
    with api, closing(Caller(second)) as caller:
        token = api.post("/v1/tokens", data={**NEW, "process": process}).json()["access_token"]
        assert caller.call(token) == OK
        name = {"grant": read_claims(token).jti, "process": process, "crew": crew}[target]
        revoked(first, target, name, crew)
        becomes(caller, token, REVOKED, OK)
        child = {
            "grant_type": CHILD, "subject_token": token, "scope": "search.web",
            "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "credits": "1", "role": "r",
        }  # fmt: skip
        for ask in ({"grant_type": "refresh_token", "refresh_token": token}, child):
            answer = api.post("/v1/tokens", data=ask)
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
        below = ("--crew", crew, "--role", "r", "--tools", "search.web", "--credits", "1")
        for command in (("refresh", token), ("mint", *below, "--parent", token)):
            done = crewgate(*command, "-c", second.file)
            assert (done.returncode, done.stdout) == (2, "")
            assert "was revoked: it cannot be used to obtain a new one" in done.stderr
        assert api.post("/v1/tokens", data=NEW).status_code == 200
