"""A verifier on the table of this machine: real agents, real sockets, several processes."""

import asyncio
import signal
import threading
import time
from functools import partial

import pytest
import trio
from agent_process import WAIT, Site
from crew_world import BRANCH, World
from embedded import denied, in_child, permitted
from installation import wait_until
from revocation_targets import branch

from crewgate import Denial, Permit, Reason, Verifier
from crewgate.errors import (
    AlreadySettledError,
    ConfigurationError,
    ForkedError,
    ServiceConnectionError,
    ServiceRefusedError,
)
from crewgate.ipc.admin_client import AdminClient

SEARCH = "search.web"
PRICE = 10_000


def is_permit(verdict: Permit | Denial) -> bool:
    return isinstance(verdict, Permit)


def tight(world: World, calls: int) -> bytes:
    """A token that pays for so many calls."""
    return world.mint(credit_quota=calls * PRICE)


async def admitted(verifier: Verifier, token: bytes) -> Permit | Denial:
    """Ask again while that is the answer: on a busy machine a draw takes longer than the wait."""
    while not is_permit(verdict := await verifier.admit(token, SEARCH)) and denied(verdict).retry:
        pass
    return verdict


def admitted_blocking(verifier: Verifier, token: bytes) -> Permit | Denial:
    """The same in a thread."""
    while not is_permit(verdict := verifier.admit_blocking(token, SEARCH)):
        if not denied(verdict).retry:
            break
    return verdict


def test_a_cold_branch_is_refused_once_and_its_draw_is_under_way(
    site: Site, verifier: Verifier
) -> None:
    """`decide` never waits: the first answer says retry, and soon the credit is there.

    Unless the agent was faster than the way back: then the credit is there at once.
    """
    first = verifier.decide(site.world.token, SEARCH)
    if not is_permit(first):
        assert (denied(first).reason, first.retry) == (Reason.BUDGET_UNAVAILABLE, True)
    wait_until(lambda: is_permit(verifier.decide(site.world.token, SEARCH)))


def test_without_waiting_a_branch_is_refused_that_the_agent_does_not_open(site: Site) -> None:
    """In observe mode, too, which passes a call for lack of credit; until the agent opens it."""
    site.file.write_text(f'{site.file.read_text()}mode = "observe"\n')
    site.agent()
    token, name = site.world.token, site.world.grant.claims.client_id

    def reason() -> Reason | None:
        verdict = verifier.decide(token, SEARCH)
        return verdict.observed_reason if isinstance(verdict, Permit) else verdict.reason

    with Verifier.from_config(site.file) as verifier, AdminClient(site.state) as admin:
        admin.quarantine("article", name)
        wait_until(lambda: reason() is Reason.ORCHESTRATOR_HELD)
        assert reason() is Reason.ORCHESTRATOR_HELD
        admin.quarantine("article", name, lift=True)
        wait_until(lambda: reason() is None)


def test_admit_waits_for_the_draw_in_a_thread(site: Site, verifier: Verifier) -> None:
    """The very first call is permitted; a verifier in a thread of one's own needs no loop."""
    verdict = permitted(verifier.admit_blocking(site.world.token, SEARCH))
    assert (verdict.price_micro, verdict.has_reservation) == (PRICE, False)


async def test_admit_waits_under_trio(site: Site, verifier: Verifier) -> None:
    """Sixty at once on the credit of fifty: exactly fifty, the others told which account."""
    token = tight(site.world, 50)
    verdicts: list[Permit | Denial] = []

    async def call() -> None:
        verdicts.append(await admitted(verifier, token))

    async with trio.open_nursery() as nursery:
        for _ in range(60):
            nursery.start_soon(call)
    assert sum(map(is_permit, verdicts)) == 50
    reasons = {verdict.reason for verdict in verdicts if isinstance(verdict, Denial)}
    assert reasons == {Reason.CREDITS_EXHAUSTED}


def test_admit_waits_under_asyncio(site: Site, verifier: Verifier) -> None:
    """The same under the other event loop."""
    token = tight(site.world, 50)

    async def calls() -> list[Permit | Denial]:
        return await asyncio.gather(*(admitted(verifier, token) for _ in range(60)))

    assert sum(map(is_permit, asyncio.run(calls()))) == 50


def test_admit_waits_in_many_threads(site: Site, verifier: Verifier) -> None:
    """And from threads, which share the one connection."""
    token = tight(site.world, 50)
    verdicts: list[Permit | Denial] = []

    def spend() -> None:
        verdicts.extend(admitted_blocking(verifier, token) for _ in range(10))

    threads = [threading.Thread(target=spend) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(map(is_permit, verdicts)) == 50


def test_a_budget_is_not_multiplied_by_verifiers(site: Site, verifier: Verifier) -> None:
    """Two attachments spend one branch's 20 calls together."""
    token = tight(site.world, 20)
    with Verifier.from_config(site.file) as other:
        turns = [admitted_blocking(each, token) for _ in range(15) for each in (verifier, other)]
    assert sum(map(is_permit, turns)) == 20


def test_a_revocation_by_the_owner_is_seen_in_the_next_call(site: Site, verifier: Verifier) -> None:
    """The table is the same memory, so no message has to arrive first."""
    permit = permitted(verifier.admit_blocking(site.world.token, SEARCH))
    with AdminClient(site.state) as owner:
        owner.revoke([branch(BRANCH)])
    assert permit.revoked
    assert denied(verifier.decide(site.world.token, SEARCH)).reason is Reason.BRANCH_REVOKED


def test_a_stopped_agent_holds_nobody_up(site: Site) -> None:
    """SIGSTOP: `decide` answers, `admit` gives up after its time, and both go on afterwards.

    On a busy machine the agent's last word may be too old by then.
    """
    text = site.file.read_text()
    assert WAIT in text
    site.file.write_text(text.replace(WAIT, "credit_wait_seconds_max = 0.25"))
    agent = site.agent()
    with Verifier.from_config(site.file) as verifier:
        agent.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        assert denied(verifier.decide(site.world.token, SEARCH)).retry
        denial = denied(verifier.admit_blocking(site.world.token, SEARCH))
        assert denial.reason in {Reason.BUDGET_UNAVAILABLE, Reason.REVOCATION_UNAVAILABLE}
        assert denial.retry
        assert time.monotonic() - began >= verifier._source.wait_seconds == 0.25
        agent.send_signal(signal.SIGCONT)
        wait_until(lambda: is_permit(verifier.decide(site.world.token, SEARCH)))


def test_without_an_agent_there_is_nothing_to_attach_to(site: Site) -> None:
    """One clear sentence, with what to do; and a file that is none is said to be none."""
    with pytest.raises(ServiceConnectionError, match="crewgate serve"):
        Verifier.from_config(site.file)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Verifier.from_config(str(site.file) + ".none")


def test_a_new_price_is_loaded_and_what_was_given_stays(site: Site, verifier: Verifier) -> None:
    """A reload is followed in the background; the gate refuses until it is there."""
    old = permitted(verifier.admit_blocking(site.world.token, SEARCH))
    site.write(price="0.02")
    with AdminClient(site.state) as owner:
        owner.reload()

    def new_price() -> bool:
        verdict = verifier.decide(site.world.token, SEARCH)
        if isinstance(verdict, Denial):
            assert verdict.retry
            return False
        return verdict.price_micro == 2 * PRICE

    wait_until(new_price)
    assert not old.revoked
    old.release()


def test_a_removed_key_ends_cached_tokens_and_running_calls(site: Site, verifier: Verifier) -> None:
    """What the JWKS no longer holds is a stranger's key, at once and for calls in flight too."""
    running = permitted(verifier.admit_blocking(site.world.token, SEARCH))
    (site.folder / "jwks.json").write_text('{"keys": []}')
    with AdminClient(site.state) as owner:
        owner.reload()

    def refused() -> bool:
        return denied(verifier.decide(site.world.token, SEARCH)).reason is Reason.INVALID_TOKEN

    wait_until(refused)
    wait_until(lambda: running.revoked)


def test_a_bad_file_leaves_the_old_policy_in_force(site: Site, verifier: Verifier) -> None:
    """The agent refuses it, so its generation never changes and nobody loads it."""
    permitted(verifier.admit_blocking(site.world.token, SEARCH))
    site.file.write_text("nonsense")
    with AdminClient(site.state) as owner, pytest.raises(ServiceRefusedError):
        owner.reload()
    permitted(verifier.admit_blocking(site.world.token, SEARCH))


def test_a_restarted_agent_is_found_again(site: Site) -> None:
    """Killed and started at once: no call is refused meanwhile, and draws go on afterwards."""
    agent = site.agent()
    sibling = site.world.mint(execution_branch_id=BRANCH[:-1] + "a")
    with Verifier.from_config(site.file) as verifier:
        warm = site.world.mint(credit_quota=2**40)
        permitted(verifier.admit_blocking(warm, SEARCH)).release()
        agent.kill()
        agent.wait()
        permitted(verifier.decide(warm, SEARCH)).release()
        site.agent()
        permitted(verifier.decide(warm, SEARCH)).release()
        wait_until(lambda: is_permit(verifier.admit_blocking(sibling, SEARCH)))
        assert site.status().embedders == 1


def test_the_first_call_of_a_child_waits_for_its_credit(site: Site, verifier: Verifier) -> None:
    """Its attachment comes first, and then the draw: one wait for both."""
    token = tight(site.world, 10)
    in_child(lambda: permitted(verifier.admit_blocking(token, SEARCH)))


def test_a_child_attaches_anew_and_leaves_the_parent_alone(site: Site, verifier: Verifier) -> None:
    """After fork both draw, each over its own connection; they share one budget."""
    token = tight(site.world, 10)
    for _ in range(4):
        permitted(verifier.admit_blocking(token, SEARCH))

    def work() -> None:
        for _ in range(3):
            wait_until(partial(_admitted, verifier, token))
        wait_until(lambda: site.status().embedders == 2)

    in_child(work)
    for _ in range(3):
        permitted(verifier.admit_blocking(token, SEARCH))
    # Until the agent has seen that the child ended, credit of the child may come back.
    wait_until(lambda: site.status().embedders == 1)
    wait_until(lambda: _reason(verifier, token) is Reason.CREDITS_EXHAUSTED)


def test_a_child_that_closes_during_its_first_call_stays_closed(
    site: Site, verifier: Verifier
) -> None:
    """That call may end as it likes; the next is refused and charged nothing."""
    permitted(verifier.admit_blocking(site.world.token, SEARCH))

    def work() -> None:
        first = verifier._source.judge
        verifier.close()
        first.decide(site.world.token, 0)
        late = denied(verifier.decide(site.world.token, SEARCH))
        assert late.reason is Reason.REVOCATION_UNAVAILABLE

    in_child(work)


def test_a_permit_of_the_parent_returns_its_credit_once(site: Site, verifier: Verifier) -> None:
    """A child with the copy of a permit cannot make the branch richer than its quota."""
    token = tight(site.world, 10)
    permit = permitted(verifier.admit_blocking(token, SEARCH, cost_micro=10 * PRICE))
    in_child(lambda: permit.settle(0), raises=ForkedError)
    permit.settle(0)
    assert permit.branch_unspent_micro == 10 * PRICE
    assert sum(is_permit(admitted_blocking(verifier, token)) for _ in range(20)) == 10


def _reason(verifier: Verifier, token: bytes) -> Reason:
    return denied(verifier.admit_blocking(token, SEARCH)).reason


def _admitted(verifier: Verifier, token: bytes) -> bool:
    return is_permit(verifier.admit_blocking(token, SEARCH))


def test_closing_leaves_the_agent(site: Site, verifier: Verifier) -> None:
    """The place is free again, the thread has ended, and late calls are refused."""
    thread = verifier._source._thread  # type: ignore[attr-defined]
    verifier.close()
    assert not thread.is_alive()
    wait_until(lambda: site.status().embedders == 0)
    denial = denied(verifier.admit_blocking(site.world.token, SEARCH))
    assert denial.reason is Reason.REVOCATION_UNAVAILABLE


def test_a_permit_is_settled_once_after_its_verifier_was_closed(
    site: Site, verifier: Verifier
) -> None:
    """The agent books what the calls cost, neither nothing nor twice, and the calls see an end."""
    lower, released = (
        permitted(verifier.admit_blocking(site.world.token, SEARCH)) for _ in range(2)
    )
    verifier.close()
    wait_until(lambda: site.status().embedders == 0)
    assert _spent(site) == 2 * PRICE
    lower.settle(1)
    released.release()
    with pytest.raises(AlreadySettledError):
        lower.settle(0)
    assert _spent(site) == 1
    with AdminClient(site.state) as owner:
        owner.revoke([branch(BRANCH)])
    assert lower.revoked


def _spent(site: Site) -> int:
    with AdminClient(site.state) as owner:
        return next(row.spent for row in owner.tree() if row.branch == BRANCH)


def test_an_agent_that_is_gone_and_a_table_that_is_replaced(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused within 6 s of the last word of the agent; on a new table admitted again, by itself.

    A running call learns it from `is_current`. The log has each cause once, however long it lasts.
    Calls of the old table must end: nobody hears of revocations there any more.
    """
    agent = site.agent()
    with Verifier.from_config(site.file) as verifier:
        running = permitted(verifier.admit_blocking(site.world.token, SEARCH))
        agent.kill()
        agent.wait()
        gone = time.monotonic()
        (site.state / "table").unlink()
        unheard = partial(verifier.decide, b"a.b.c", SEARCH)
        wait_until(lambda: denied(unheard()).reason is Reason.REVOCATION_UNAVAILABLE)
        assert time.monotonic() - gone < 6
        denial = denied(verifier.decide(site.world.token, SEARCH))
        assert denial.reason is Reason.REVOCATION_UNAVAILABLE
        assert not running.revoked
        assert not running.is_current
        logged = [each.getMessage() for each in caplog.records if each.name == "crewgate.verifier"]
        agent_process = f"the agent process of {site.state}"
        assert logged[0].startswith(
            f"the Crewgate verifier is not attached to {agent_process} and tries again: "
        )
        assert len(logged) == len(set(logged))
        site.agent()
        wait_until(lambda: is_permit(verifier.admit_blocking(site.world.token, SEARCH)), 6)
        assert running.revoked
        last = [each for each in caplog.records if each.name == "crewgate.verifier"][-1]
        assert last.levelname == "WARNING"
        assert last.getMessage() == f"the Crewgate verifier is attached to {agent_process}"
