"""Three whole gateways on one host: what is revoked on one of them is dead on all."""

import ssl
import statistics
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import httpx
import pytest
from authority import Files
from blocking_clients import OK, REVOKED, Caller, becomes
from cluster_gateways import SECONDS, acknowledged, gateways, owner_of, revoke
from command_process import crewgate
from control_site import CHILD, NEW
from installation import Installation, wait_until
from revocation_targets import certificate, orchestrator, signing_key
from search_depth import deep

from crewgate import Denial, Permit, Reason, Verifier
from crewgate.issuer import Orchestrator, ProofKey, SubAgent
from crewgate.issuer.inspection import read_claims

RUNS = deep(10)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Installation]]:
    """Each joins the others. Proofs need a nonce of the machine."""

    def adapt(machine: Installation) -> None:
        machine.edit('name = "agents"\n', 'name = "agents"\ndpop_nonce = "required"\n')

    with gateways(tmp_path_factory.mktemp("three"), 3, adapt=adapt) as found:
        yield found


@pytest.fixture
def article(three: list[Installation]) -> Iterator[Orchestrator]:
    """It mints on the first machine; its tokens are good on all."""
    with Orchestrator.from_config(three[0].file, crew="article") as found:
        yield found


def a_run(article: Orchestrator) -> SubAgent:
    return article.start_run(credits="10", tools=["search.*"])


def test_an_open_stream_elsewhere_is_cut(three: list[Installation], article: Orchestrator) -> None:
    """Its last event says why, and no call of the branch is admitted there or on the third.

    From the agent's reading of the request on one machine to a client's last byte on another.
    """
    milliseconds, (first, second, third) = [], three
    with ExitStack() as stack:
        near, far = Caller(second), Caller(third)
        for caller in (near, far):
            stack.callback(caller.close)
        for _ in range(RUNS):
            run = a_run(article)
            assert near.call(run.token()) == far.call(run.token()) == OK
            stream = near.stream(run.token())
            receipt = revoke(first, run.branch)
            stream.end()
            assert b"event: error\ndata: {" in stream.heard
            assert b"branch-revoked" in stream.heard
            assert not stream.why
            assert near.call(run.token()) == REVOKED
            becomes(far, run.token(), REVOKED, OK)
            milliseconds.append((stream.last_ns - receipt.read_ns) / 1e6)
    milliseconds.sort()
    p99 = milliseconds[min(RUNS - 1, RUNS * 99 // 100)]
    print(
        f"\n{RUNS} streams cut through another machine: from the request to the client's last byte "
        f"median {statistics.median(milliseconds):.1f} ms, p99 {p99:.1f} ms, "
        f"max {milliseconds[-1]:.1f} ms"
    )


def test_a_proof_is_good_on_one_machine(three: list[Installation], article: Orchestrator) -> None:
    """Recorded traffic of one machine is worthless at the others, for the same host and path."""
    key = ProofKey.generate()
    run = article.start_run(credits="10", tools=["search.*"], binding=key.binding)
    token, host = run.token(), f"localhost:{three[0].port}"

    def ask(machine: Installation, proof: str) -> tuple[int, bytes]:
        with closing(Caller(machine)) as caller:
            fields = {"authorization": f"DPoP {token}", "dpop": proof, "host": host}
            return caller.post(token, "/search", b"{}", fields)

    def nonce_of(machine: Installation) -> str:
        context = ssl.create_default_context(cafile=machine.folder / "certs" / "ca.pem")
        proof = key.proof(token, "POST", f"https://{host}/search")
        fields = {"authorization": f"DPoP {token}", "dpop": proof, "host": host}
        url = f"https://localhost:{machine.port}/search"
        answer = httpx.post(url, json={}, headers=fields, verify=context, trust_env=False)
        assert answer.status_code == 401
        return answer.headers["dpop-nonce"]

    proof = key.proof(token, "POST", f"https://{host}/search", nonce_of(three[0]))
    for machine in three[1:]:
        status, body = ask(machine, proof)
        assert (status, b"use-dpop-nonce" in body) == (401, True)
    assert ask(three[0], proof)[0] == 200
    for machine in three:
        status, body = ask(machine, proof)
        slug = b"proof-replayed" if machine is three[0] else b"use-dpop-nonce"
        assert (status, slug in body) == (401, True)
    proof = key.proof(token, "POST", f"https://{host}/search", nonce_of(three[1]))
    assert ask(three[1], proof)[0] == 200


def test_an_orchestrators_past_and_a_key_end_everywhere(
    three: list[Installation],
) -> None:
    """Tokens of before are dead on all machines, and in an embedder; later ones are not."""
    with ExitStack() as stack:
        callers = [Caller(machine) for machine in three]
        for caller in callers:
            stack.callback(caller.close)
        embedded = stack.enter_context(Verifier.from_config(three[1].file))
        bd, finance = (
            stack.enter_context(Orchestrator.from_config(three[0].file, crew=crew))
            for crew in ("bd", "finance")
        )
        ended, lives = (each.start_run(credits="10", tools=["search.*"]) for each in (bd, finance))
        for run in (ended, lives):
            assert all(caller.call(run.token()) == OK for caller in callers)
            assert isinstance(embedded.admit_blocking(run.token(), "search.web"), Permit)
        client = read_claims(ended.token()).client_id
        with owner_of(three[0]) as owner:
            receipt = owner.revoke([orchestrator(client, "bd")])
        assert (receipt.reach.until, receipt.reach.of) == ("quorum", 3)
        for caller in callers:
            becomes(caller, ended.token(), REVOKED, OK)
        _embedded_refuses(embedded, ended.token())
        assert all(caller.call(lives.token()) == OK for caller in callers)
        with owner_of(three[2]) as owner:
            owner.revoke([signing_key("finance-1", "finance")])
        for caller in callers:
            becomes(caller, lives.token(), REVOKED, OK)
        _embedded_refuses(embedded, lives.token())


def _embedded_refuses(embedded: Verifier, token: str) -> None:
    def does() -> bool:
        verdict = embedded.admit_blocking(token, "search.web")
        return isinstance(verdict, Denial) and verdict.reason is Reason.BRANCH_REVOKED

    wait_until(does, SECONDS)


def test_connections_of_a_certificate_are_closed_everywhere(
    three: list[Installation], article: Orchestrator
) -> None:
    """Asked of one machine's agent alone: neither list nor responder of the CA knows of it."""
    first = three[0]
    doomed, other = (_certified(first, name) for name in ("doomed", "other"))
    token = a_run(article).token()
    with ExitStack() as stack:
        callers = [Caller(machine, offset=1, files=doomed) for machine in three]
        kept = Caller(three[1], offset=1, files=other)
        for caller in (*callers, kept):
            stack.callback(caller.close)
        streams, goes_on = [caller.stream(token) for caller in callers], kept.stream(token)
        serial = first.ask("ca", "show", str(doomed.certificate))["serial"]
        with owner_of(first) as owner:
            receipt = owner.revoke([certificate(int(serial, 16), "article")], "all")
        assert receipt.connections_closed == 1
        for stream in streams:
            stream.end()
            assert b"data: 1\n\n" not in stream.heard
        assert goes_on.is_open
        revoke(first, read_claims(token).execution_branch_id)
        goes_on.end()
        for caller in callers:
            with pytest.raises(OSError, match=r"hung up|revoked"):
                caller.call(token)


def test_the_certificate_of_a_revoked_branch_is_dead_everywhere(
    three: list[Installation], article: Orchestrator
) -> None:
    """Its connections end on all machines, and none takes it again."""
    first, run = three[0], a_run(article)
    prefix = first.folder / "agent"
    first.run("ca", "issue", "--role", "agent", "--token", run.token(), "--out", str(prefix))
    files = Files(prefix.with_suffix(".pem"), prefix.with_suffix(".key"))
    with ExitStack() as stack:
        callers = [Caller(machine, offset=1, files=files) for machine in three]
        for caller in callers:
            stack.callback(caller.close)
            assert caller.call(run.token()) == OK
        idle = [stack.enter_context(caller.secure()) for caller in callers]
        acknowledged(first, run.branch, "all")
        for caller, connection in zip(callers, idle, strict=True):
            with suppress(OSError):
                assert connection.recv(1) == b""
            with pytest.raises(OSError, match=r"hung up|revoked"):
                caller.call(run.token())


def _certified(machine: Installation, name: str) -> Files:
    prefix = machine.folder / name
    holder = ("--role", "orchestrator", "--crew", "article", "--name", name)
    machine.run("ca", "issue", *holder, "--out", str(prefix))
    return Files(prefix.with_suffix(".pem"), prefix.with_suffix(".key"))


def test_another_machine_mints_nothing_for_a_dead_branch(
    three: list[Installation], article: Orchestrator
) -> None:
    """Neither its control API, nor its commands, whether a gateway there has seen the branch."""
    first, second, _ = three
    files = _certified(first, "clerk")
    context = ssl.create_default_context(cafile=second.folder / "certs" / "ca.pem")
    context.load_cert_chain(files.certificate, files.key)
    api = httpx.Client(
        verify=context, base_url=f"https://127.0.0.1:{second.port + 2}", trust_env=False, timeout=30
    )
    with api, closing(Caller(second)) as caller:
        token = api.post("/v1/tokens", data=NEW).json()["access_token"]
        again = {"grant_type": "refresh_token", "refresh_token": token}
        token = api.post("/v1/tokens", data=again).json()["access_token"]
        acknowledged(first, read_claims(token).execution_branch_id, "all")
        becomes(caller, token, REVOKED, OK)
        child = {
            "grant_type": CHILD, "subject_token": token, "scope": "search.web",
            "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "credits": "1", "role": "r",
        }  # fmt: skip
        for ask in (again | {"refresh_token": token}, child):
            answer = api.post("/v1/tokens", data=ask)
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
        for was_seen in (True, False):
            run = a_run(article)
            if was_seen:
                assert caller.call(run.token()) == OK
            acknowledged(first, run.branch, "all")
            below = ("--crew", "article", "--role", "r", "--tools", "search.web", "--credits", "1")
            for ask in (("refresh", run.token()), ("mint", *below, "--parent", run.token())):
                done = crewgate(*ask, "-c", second.file)
                assert (done.returncode, done.stdout) == (2, "")
                assert f"branch {run.branch} was revoked" in done.stderr
