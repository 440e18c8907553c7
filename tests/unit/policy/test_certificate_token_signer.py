"""What a call is judged by that has a certificate and no token."""

import warnings
from collections import Counter

import msgspec
import pytest
from cross_crew_workers import BOOT_NS, CROSSING, NOW, PRICE, Holder, House, Worker, policy_of
from hypothesis import given
from hypothesis import strategies as st

from crewgate import limits
from crewgate._native.permit import Permit
from crewgate._native.presenter import Presenter
from crewgate.core import ids
from crewgate.core.cross_crew_accounts import run_branch
from crewgate.core.ids import EntityKind
from crewgate.core.reasons import Reason
from crewgate.core.verdict import Denial
from crewgate.core.x509.certificate import revocable_by
from crewgate.core.x509.identity_extension import Identity, Role
from crewgate.policy.certificate_token_signer import NONE, LocalSigner


@pytest.fixture
def worker() -> Worker:
    return House().workers[0]


def reason(verdict: Permit | Denial) -> Reason | None:
    """Why it was refused; None if it was not (it is released then)."""
    if isinstance(verdict, Denial):
        return verdict.reason
    verdict.release()
    return None


def test_the_permit_names_the_orchestrator_and_its_certificate(worker: Worker) -> None:
    """The grant has the account, the crew that calls, the run, and the certificate's serial."""
    permit = worker.judge(Holder())
    assert isinstance(permit, Permit), permit
    grant = permit.grant
    assert (grant.crew, grant.caller, grant.orchestrator) == ("bd:finance", "bd", "bd/bd-1")
    assert (grant.claims.agent_role, grant.claims.sub) == ("orchestrator", "bd/bd-1")
    assert grant.claims.jti.split(":")[0] == "0A"
    assert grant.branch == run_branch("bd:finance", Holder().identity)
    assert (grant.quota, grant.parent) == (CROSSING.credits_per_run, None)
    permit.release()


@pytest.mark.parametrize(
    ("holder", "owner", "expected"),
    [
        (Holder(), "bd", None),
        (Holder(), "shared", None),
        (Holder(), "hr", None),
        (Holder(crew="finance"), "bd", None),
        (Holder(crew="finance"), "finance", None),
        (Holder(not_after=NOW), "finance", Reason.TOKEN_EXPIRED),
        (Holder(not_after=NOW - 9), "finance", Reason.TOKEN_EXPIRED),
        # No token could name such an orchestrator, so nothing else does.
        (Holder(name="n" * 64, crew="bd"), "finance", "signed"),
    ],
)
def test_where_no_crossing_leads(
    worker: Worker, holder: Holder, owner: str, expected: object
) -> None:
    """Only the pair that is configured, and only until the certificate's last second."""
    found = worker.crossings.find(holder, owner, NOW)
    assert (found == expected) if expected != "signed" else found is not None


def test_the_agent_of_a_branch_crosses_with_a_token_only(worker: Worker) -> None:
    """Else a sub-agent could use what its orchestrator may."""

    class Agent(Holder):
        @property
        def identity(self) -> Identity:
            return msgspec.structs.replace(super().identity, role=Role.AGENT)

    assert worker.crossings.find(Agent(), "finance", NOW) is None


def test_a_name_that_no_token_can_hold() -> None:
    """An orchestrator whose label is over a claim's bound is nobody, not cut short."""
    crew = "c" * limits.name_chars_max
    crossing = msgspec.structs.replace(CROSSING, source=crew, target="f")
    worker = House().workers[0]
    worker.load(crossing)
    long = Holder(name="n" * limits.name_chars_max, crew=crew)
    assert worker.crossings.find(long, "f", NOW) is None
    short = Holder(name="n", crew=crew, serial_text="0B")
    assert worker.crossings.find(short, "f", NOW) is not None


def test_the_longest_names_and_tools_fit_a_token() -> None:
    """What the configuration takes at most, the gate can be shown."""
    source, target = "s" * 63, "t" * 64
    tools = tuple(f"{target[:10]}.{number:05d}" for number in range(64))
    assert sum(map(len, tools)) == limits.crossing_tools_chars_max
    crossing = msgspec.structs.replace(CROSSING, source=source, target=target, tools=tools)
    worker = House().workers[0]
    worker.load(crossing)
    worker.crossings._audience = "a" * limits.claim_chars_max
    holder = Holder(name="n" * 64, crew=source, serial_text="F" * 40)
    found = worker.crossings.find(holder, target, NOW)
    assert found is not None
    assert not isinstance(found, Reason)
    assert len(found.token) <= limits.token_bytes_max


def test_it_is_signed_once_a_certificate(worker: Worker) -> None:
    """On the way of a request stands one look-up; another certificate has another token."""
    first = worker.signed(Holder())
    assert worker.signed(Holder(), NOW + 3600) is first
    assert worker.signed(Holder(serial_text="0B")) is not first
    assert worker.signed(Holder(2)) is not first  # should two ever have one serial number
    assert worker.signed(Holder(), NOW - 3600) is not first  # a clock that was set back


def test_what_is_signed_ends_with_the_certificate(worker: Worker) -> None:
    """A stream may last as long as the certificate, and never longer; nothing is signed beyond."""
    assert reason(worker.judge(Holder(not_after=NOW + 60), now=NOW + 59)) is None
    token = worker.signed(Holder(not_after=NOW + 60)).token
    worker.gate.clock = (NOW + 60 + limits.leeway_seconds) * 10**9, BOOT_NS
    assert (
        reason(worker.gate.decide(token, 0, presenter=Presenter("bd:finance")))
        is Reason.TOKEN_EXPIRED
    )
    week = Holder(serial_text="0C", not_after=NOW + 10**9)
    assert reason(worker.judge(week)) is None


def test_it_is_worth_nothing_elsewhere() -> None:
    """Not on a connection without the certificate, not with the crew's name, not to another."""
    one, other = House().workers
    holder = Holder()
    assert reason(one.judge(holder)) is None
    assert reason(one.judge(holder, crew=None)) is Reason.BINDING_MISMATCH
    assert reason(one.judge(holder, crew="bd")) is Reason.BINDING_MISMATCH
    token = one.signed(holder).token
    assert (
        reason(other.gate.decide(token, 0, presenter=Presenter("bd:finance")))
        is Reason.INVALID_TOKEN
    )


def test_the_gate_knows_no_account_without_its_signer(worker: Worker) -> None:
    """The policy of files alone has the account and no key for it: the agent's judges nobody."""
    assert not policy_of().keys
    worker.gate.load(policy_of())
    token = worker.signed(Holder()).token
    assert (
        reason(worker.gate.decide(token, 0, presenter=Presenter("bd:finance")))
        is Reason.INVALID_TOKEN
    )
    assert NONE.find(Holder(), "finance", NOW) is None


def test_a_tool_beyond_the_crossing_is_refused_by_name(worker: Worker) -> None:
    """Of the tools that the account is asked for, those that no pattern covers."""
    assert reason(worker.judge(Holder(), 1)) is Reason.TOOL_NOT_ALLOWED
    assert reason(worker.judge(Holder(), 2)) is Reason.TOOL_NOT_ALLOWED
    assert reason(worker.judge(Holder(), -1)) is Reason.UNKNOWN_TOOL


def test_a_kid_is_the_same_over_reloads_and_of_no_other_process() -> None:
    """So calls under way go on over a reload, and no two processes have one."""
    one, other = LocalSigner(), LocalSigner()
    assert one.kid("bd:finance") == one.kid("bd:finance") != one.kid("bd:hr")
    assert one.kid("bd:finance") != other.kid("bd:finance")
    assert "LocalSigner" in repr(one)
    assert bytes(one._key).hex() not in repr(one)


def test_a_permit_outlives_a_reload_and_not_the_crossing(worker: Worker) -> None:
    """`revoked` tells a call under way that its account is gone, and not that it was amended."""
    permit = worker.judge(Holder())
    assert isinstance(permit, Permit)
    worker.load(msgspec.structs.replace(CROSSING, tools=("finance.quote",)))
    assert not permit.revoked
    worker.gate.load(policy_of())
    assert permit.revoked
    permit.release()


def test_what_a_table_revokes_a_certificate_by() -> None:
    """Itself at whatever time, and its orchestrator for what was issued until that second."""
    identity = Holder().identity
    (own, at), (orchestrator, issued) = revocable_by(identity, 10, NOW)
    assert (own, at) == (ids.certificate_key("bd", 10), 0)
    assert orchestrator == ids.table_key(EntityKind.ORCHESTRATOR, "bd", b"bd/bd-1")
    house = House()
    before = NOW + limits.leeway_seconds  # as the agent enters it at NOW
    house.table.revoke(orchestrator, ids.crew_key("bd"), before, 3600, NOW, BOOT_NS)
    assert house.table.is_revoked(orchestrator, issued)
    assert not house.table.is_revoked(orchestrator, issued + 1)


@pytest.mark.parametrize("step", [0, 1, 2])
def test_new_ceilings_govern_even_in_the_same_second(step: int) -> None:
    """Raised, lowered, raised again, by reloads `step` seconds apart."""
    house = House()
    worker = house.workers[0]
    now = NOW
    spent = 0
    for generation, most in enumerate((50, 90, 20, 120), 1):
        house.reload(
            msgspec.structs.replace(CROSSING, credits_per_run=most), generation, float(now)
        )
        while isinstance(permit := worker.judge(Holder(), now=now), Permit):
            permit.settle()
            spent += PRICE
        assert permit.reason is Reason.CREDITS_EXHAUSTED
        assert (permit.used_micro, permit.quota_micro) == (spent, most)
        now += step
    assert spent == 120


def test_only_so_many_are_kept() -> None:
    """A million certificates do not fill a worker's memory."""
    worker = House().workers[0]
    for number in range(limits.crossing_tokens_max + 5):
        worker.signed(Holder(serial_text=f"{number:04X}"))
    assert len(worker.crossings._signed) == limits.crossing_tokens_max


# (worker, process, name, what becomes of the call, seconds that pass), all within one hour.
steps = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.integers(1, 3),
        st.sampled_from(["bd-1", "bd-2"]),
        st.sampled_from(["settle", "release", "hold", "hold", "die"]),
        st.integers(0, 10),
    ),
    max_size=60,
)
Run = tuple[int, str]


@given(steps, st.integers(0, 12), st.integers(0, 20))
def test_two_workers_never_spend_more_than_the_two_ceilings(
    taken: list[tuple[int, int, str, str, int]], run: int, hour: int
) -> None:
    """Calls at once and one after the other: what a run, and all in an hour, have had in credits.

    A worker that dies has burned what it held, and its successor signs with another key.
    """
    house = House(
        msgspec.structs.replace(
            CROSSING, credits_per_run=run * PRICE, credits_per_hour=hour * PRICE
        )
    )
    consumed: Counter[Run] = Counter()
    held: list[list[Permit]] = [[], []]
    now = NOW
    for index, process, name, fate, passing in taken:
        now += passing
        holder = Holder(process, name)
        verdict = house.workers[index].judge(holder, now=now)
        if isinstance(verdict, Denial):
            # Credit that another run's lease still has is recalled over time: contended till then.
            is_full = consumed[process, name] >= run or consumed.total() >= hour
            assert is_full or verdict.retry, verdict
            continue
        consumed[process, name] += 1
        if fate == "settle":
            verdict.settle()
        elif fate == "release":
            verdict.release()
            consumed[process, name] -= 1
        else:
            held[index].append(verdict)
        if fate == "die":
            with warnings.catch_warnings(action="ignore", category=ResourceWarning):
                del verdict
                house.die(index, held[index])
        assert consumed[process, name] <= run
        assert consumed.total() <= hour
    for permit in (*held[0], *held[1]):
        permit.settle()
    for (process, name), count in consumed.items():
        if count:
            assert house.consumed(Holder(process, name)) == count * PRICE
