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
from oidc_provider import Provider, provider
from revocation_targets import branch

from crewgate import Permit, Verifier, limits
from crewgate.api.tokens import ID_TYPE, NEXT, TOKEN_TYPE
from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.errors import BranchRevokedError, IssuerError
from crewgate.ipc.admin_messages import RevocationReceipt
from crewgate.issuer import Orchestrator
from crewgate.issuer.branches.local_gateway import minter_of
from crewgate.issuer.inspection import read_claims

NOT_YET = Said(401, "token-not-yet-valid")
TOOLS = ["search.*"]


@pytest.fixture(scope="module")
def corp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """Where people sign in."""
    with provider(tmp_path_factory.mktemp("corp")) as found:
        yield found


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory, corp: Provider) -> Iterator[list[Installation]]:
    """Each joins the others, and knows the provider."""

    def adapt(machine: Installation) -> None:
        machine.edit("[crew.finance]\n", '[crew.finance]\nsponsor = "finance team"\n')
        with machine.file.open("a") as file:
            file.write(corp.table)

    with gateways(tmp_path_factory.mktemp("three"), 3, adapt=adapt) as found:
        yield found


def revoked(machine: Installation, kind: str, name: str, crew: str) -> RevocationReceipt:
    """All machines have it on their disks."""
    target = RevocationTarget(EntityKind[kind.upper()], name, crew)
    with owner_of(machine) as owner:
        receipt = owner.revoke([target], "all")
    assert (receipt.targets, receipt.reach.of) == ([target], 3)
    return receipt


def clerk(first: Installation, second: Installation, crew: str, name: str) -> httpx.Client:
    """An orchestrator with a certificate of one machine, at the control API of another."""
    prefix = first.folder / name
    holder = ("--role", "orchestrator", "--crew", crew, "--name", name)
    first.run("ca", "issue", *holder, "--out", str(prefix))
    context = ssl.create_default_context(cafile=second.folder / "certs" / "ca.pem")
    context.load_cert_chain(f"{prefix}.pem", f"{prefix}.key")
    url = f"https://127.0.0.1:{second.port + 2}"
    return httpx.Client(verify=context, base_url=url, trust_env=False, timeout=30)


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


def exchanged(api: httpx.Client, person: str) -> tuple[str, str]:
    """A run of the clerk's on behalf of a person (RFC 8693), and a child of it."""
    ask = {"grant_type": CHILD, "scope": "search.*", "credits": "10", "role": "lead"}
    of_person = {"subject_token_type": ID_TYPE, "subject_token": person}
    run = api.post("/v1/tokens", data={**ask, **of_person})
    assert run.status_code == 200, run.text
    of_run = {"subject_token_type": TOKEN_TYPE, "subject_token": run.json()["access_token"]}
    child = api.post("/v1/tokens", data={**ask, **of_run, "credits": "1", "role": "researcher"})
    assert child.status_code == 200, child.text
    return run.json()["access_token"], child.json()["access_token"]


def test_a_person_s_runs_end_in_all_crews_on_all_machines(
    three: list[Installation], corp: Provider
) -> None:
    """They began with the ID tokens of a real provider; another person's runs go on."""
    ada, adam = corp.sign_in("auth0|ada"), corp.sign_in("adam")
    with ExitStack() as stack:
        callers = [stack.enter_context(closing(Caller(machine))) for machine in three]
        article = stack.enter_context(
            Orchestrator.from_config(three[0].file, crew="article", name="people")
        )
        api = stack.enter_context(clerk(three[0], three[1], "finance", "clerk-people"))

        def runs(person: str) -> list[str]:
            ask = {"credits": "10", "tools": TOOLS, "role": "lead"}
            return [article.start_run(**ask, subject_token=person).token(), *exchanged(api, person)]

        ended, others = runs(ada), runs(adam)
        assert {read_claims(each).sub for each in ended} == {"corp:auth0/7Cada"}
        shown = api.post("/v1/introspect", data={"token": ended[-1]}).json()
        assert (shown["sub"], shown["sponsor"]) == ("corp:auth0/7Cada", "finance team")
        assert shown["act"] == {"sub": "researcher", "act": {"sub": "finance/clerk-people"}}
        streams = [caller.stream(token) for caller in callers for token in ended]
        going_on = [caller.stream(token) for caller in callers for token in others]
        receipt = revoked(three[2], "subject", "corp:auth0/7Cada", "")
        assert (receipt.reach.applied_on, receipt.calls_cut, receipt.never_seen) == (3, 3, "")
        # Three machines enforce it, says the receipt: nobody has to wait.
        assert {caller.call(token) for caller in callers for token in ended} == {REVOKED}
        for stream in streams:
            stream.end()
            assert b"branch-revoked" in stream.heard
        assert {caller.call(token) for caller in callers for token in others} == {OK}
        assert all(stream.is_open for stream in going_on)
        for token in ended[1:]:
            answer = api.post("/v1/tokens", data={"grant_type": NEXT, "refresh_token": token})
            assert (answer.status_code, answer.json()["type"][-16:]) == (400, "no-further-token")
        with pytest.raises(IssuerError, match="subject 'corp:auth0/7Cada' was revoked"):
            runs(ada)
        with pytest.raises(BranchRevokedError):
            article.agent(read_claims(ended[0]).execution_branch_id).refresh()
        # An orchestrator ends the runs in its own crew, with a key or without.
        done = article.revoke_subject("corp:adam")
        assert done is not None
        assert done.is_known
        assert callers[0].call(others[0]) == REVOKED
        assert callers[0].call(others[1]) == OK
        said = api.post("/v1/revocations", json={"subject": "corp:adam", "until": "all"}).json()
        assert (said["target"], said["crew"], said["applied_on"]) == ("subject", "finance", 3)
        for stream in going_on:
            stream.end()
            assert b"branch-revoked" in stream.heard


def test_what_proves_nobody_begins_no_run(three: list[Installation], corp: Provider) -> None:
    """At the control API and at the command: one line, without a part of the token."""
    ada, elsewhere = corp.sign_in("ada"), corp.sign_in("ada", "another-app")
    with clerk(three[0], three[1], "article", "clerk-doubts") as api:
        run, _ = exchanged(api, ada)
        ask = {"grant_type": CHILD, "scope": "search.*", "credits": "10", "role": "lead"}
        for token, kind in ((elsewhere, ID_TYPE), (elsewhere, TOKEN_TYPE), (run, ID_TYPE)):
            shown = {"subject_token": token, "subject_token_type": kind}
            answer = api.post("/v1/tokens", data={**ask, **shown})
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
            assert token.split(".")[1] not in answer.text
        answer = api.post("/v1/tokens", data={**NEW, "subject": "corp:ada"})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
        assert "only a token of identity provider corp" in answer.json()["error_description"]
    new = ("--crew", "article", "--role", "r", "--tools", "search.web", "--credits", "1")
    mint = ("mint", *new, "-c", three[2].file)
    done = crewgate(*mint, "--subject-token", "-", stdin=ada)
    assert (done.returncode, read_claims(done.stdout).sub) == (0, "corp:ada")
    done = crewgate(*mint, "--subject-token", "-", stdin=elsewhere)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the token is for another application" in done.stderr
    done = crewgate(*mint, "--subject", "corp:ada")
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize("target", ["grant", "process", "crew"])
def test_another_machine_mints_nothing_by_a_dead_token(
    three: list[Installation], target: str
) -> None:
    """Neither its control API nor its commands: no next token, and no child."""
    first, second, _ = three
    # None whose tokens are dead for the next seconds too.
    crew, process = "finance" if target == "crew" else "article", f"pid_of-{target}"
    api = clerk(first, second, crew, f"clerk-{target}")
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
