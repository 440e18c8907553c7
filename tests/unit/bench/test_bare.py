"""The worker without verdict or audit keeps up with the one that it stands for."""

import inspect

import pytest
from crew_world import World
from gate_world import Gatehouse

from bench.hop import bare
from crewgate._native.audit_line import AuditLines, AuditLineTemplate
from crewgate.audit.recorder import AuditRecorder
from crewgate.core.verdict import Denial
from crewgate.gateway.call import call_audit_line, call_services
from crewgate.gateway.call.authorizer import GateAuthorizer
from crewgate.gateway.worker import main, worker


def public(kind: object) -> set[str]:
    """What it offers, `with` included."""
    return {name for name in dir(kind) if name[0] != "_" or name in {"__enter__", "__exit__"}}


@pytest.mark.parametrize(
    ("stand_in", "real"),
    [
        (bare.Waving, GateAuthorizer),
        (bare.Silent, AuditRecorder),
        (bare.NoLines, AuditLines),
        (bare.NoLine, AuditLineTemplate),
    ],
)
def test_a_stand_in_offers_what_it_stands_for(stand_in: type, real: type) -> None:
    assert public(real) <= public(stand_in)


def test_one_good_token_lets_all_through_whatever_is_asked_of_the_judge() -> None:
    """The stand-in for a permit answers all that a permit does, and charges no branch."""
    house = Gatehouse(World.make())
    number, _ = house.table.take_attachment()
    waving = bare.Waving(house.table, number, house.world.policy, lambda *_: None)
    asked = inspect.signature(GateAuthorizer.decide).parameters.values()
    how = {each.name: each.default for each in asked if each.kind is each.KEYWORD_ONLY}
    denial = waving.decide(house.world.token, 0, **how)
    assert isinstance(denial, Denial)
    assert denial.grant is not None
    house.draw(denial.grant, house.world.policy.tools[0].price)
    waved = waving.decide(house.world.token, 0, **how)
    assert isinstance(waved, bare.Waved)
    assert waving.decide(b"no token at all", 0, **how) is waved
    real = house.permit(house.world.token)
    assert public(real) <= public(waved)
    assert (waved.grant, waved.price_micro, waved.in_observe_mode) == (
        denial.grant,
        real.price_micro,
        real.in_observe_mode,
    )
    real.release()
    left = real.branch_unspent_micro
    for _ in range(3):
        waved.settle()
        waved.release()
    assert (waved.has_reservation, waved.grow(1), real.branch_unspent_micro) == (True, False, left)


def test_a_worker_is_put_together_as_the_bench_believes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its run would end, or measure a worker that lacks nothing."""
    for module, name in (
        (worker, "GateAuthorizer"),
        (main, "AuditRecorder"),
        (call_services, "AuditLines"),
        (main, "AuditWriter"),
        (call_audit_line, "record_end"),
    ):
        monkeypatch.setattr(module, name, vars(module)[name])  # taken back at the end
    monkeypatch.setenv(bare.VARIABLE, f"{bare.VERDICT},{bare.AUDIT},{bare.METRICS}")
    monkeypatch.setattr(main, "main", lambda: 0)
    assert bare.work() == 0
    assert (worker.GateAuthorizer, main.AuditRecorder) == (bare.Waving, bare.Silent)
    assert call_services.AuditLines is bare.NoLines
    assert (main.AuditWriter, call_audit_line.record_end) == (
        *(bare.UncountedWriter, bare.record_end),
    )
