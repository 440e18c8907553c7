"""Each grant is written once on a machine, by the first process that admits it."""

import subprocess
from pathlib import Path

import pytest
from crew_world import BRANCH, World
from gate_world import BOOT_NS, NS, Gatehouse
from native_programs import compiled
from search_depth import deep

from crewgate._native.gate import Gate
from crewgate._native.permit import Permit
from crewgate._native.records import TableCapacities
from crewgate.core.tokens.grant import Grant


@pytest.mark.parametrize("seed", [1, 2])
def test_processes_race_and_are_killed(seed: int, tmp_path: Path) -> None:
    """No grant stays without a line, and no two processes have a claim at one time."""
    program = compiled("grant_marks", tmp_path)
    done = subprocess.run(
        [program, str(deep(1)), str(seed)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def house_of(world: World) -> Gatehouse:
    """A table with room for the reservations of several processes, and credit for the branch."""
    house = Gatehouse(world, geometry=TableCapacities(64, 64, 512, 8))
    house.permit(world.token).release()
    return house


class Audit:
    """The grants that a gate has handed over; while `is_full`, none is taken."""

    def __init__(self) -> None:
        self.grants: list[str] = []
        self.is_full = False

    def note(self, grant: Grant) -> bool:
        """Take a grant."""
        if not self.is_full:
            self.grants.append(grant.claims.jti)
        return not self.is_full


def process(house: Gatehouse, audit: Audit, seconds: float = 0) -> Gate:
    """A further process on the table, whose clock is ahead."""
    attachment, _ = house.table.take_attachment()
    gate = Gate(house.table, attachment, note_grant=audit.note)
    gate.load(house.world.policy)
    gate.clock = (house.world.now * NS, BOOT_NS + round(seconds * NS))
    return gate


def admit(gate: Gate, token: bytes) -> None:
    """Have a call permitted."""
    verdict = gate.decide(token, 0)
    assert isinstance(verdict, Permit), verdict
    verdict.release()


def test_the_first_process_writes_a_grant_and_no_other() -> None:
    """Further calls, and the same token at another process, write nothing."""
    house, audit = house_of(World.make()), Audit()
    one, two = process(house, audit), process(house, audit)
    for gate in (one, one, two):
        admit(gate, house.world.token)
    assert audit.grants == ["grant-1"]
    admit(two, house.world.mint())
    assert audit.grants == ["grant-1", "grant-2"]


def test_a_second_token_with_the_id_of_a_grant_is_written_too() -> None:
    """Otherwise its signer could hide what it allows behind a grant that allows less."""
    house, audit = house_of(World.make()), Audit()
    gate = process(house, audit)
    for _ in range(2):
        for tools in (["search.web"], ["search.*"]):
            admit(gate, house.world.mint(jti="reused", allowed_tools=tools))
    assert audit.grants == ["reused", "reused"]


def test_a_refused_call_writes_no_grant() -> None:
    """A grant is in the audit when it was admitted, and not before."""
    house, audit = house_of(World.make()), Audit()
    gate = process(house, audit)
    gate.decide(house.world.mint(allowed_tools=["free.*"]), 0)
    gate.decide(house.world.mint(execution_branch_id=BRANCH[:-1] + "9"), 0)  # asks for a draw
    assert audit.grants == []


def test_a_grant_that_could_not_be_written_is_written_later() -> None:
    """While the audit is full, the claim of one process ends after some seconds."""
    house, audit = house_of(World.make()), Audit()
    audit.is_full = True
    admit(process(house, audit), house.world.token)
    audit.is_full = False
    admit(process(house, audit, seconds=1), house.world.token)
    assert audit.grants == []
    admit(process(house, audit, seconds=2), house.world.token)
    assert audit.grants == ["grant-1"]


def test_another_table_knows_no_grants() -> None:
    """After the agent has made a new table, each grant is written once more."""
    audit = Audit()
    world = World.make()
    for _ in range(2):
        admit(process(house_of(world), audit), world.token)
    assert audit.grants == ["grant-1", "grant-1"]
