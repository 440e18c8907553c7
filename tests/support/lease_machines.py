"""A seeded world of machines that share a ledger, and want each other's idle leases.

Virtual time. Each machine has the code of an agent for draws, a native table and gate, and a
process that makes calls. Each operation of the ledger takes its time, and so does each notification
of another machine, unless it is lost.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import trio
from grant_builders import BOOT_NS, NOW, POLICY, grant
from lease_world import GEOMETRY, NativeGate
from reporting_ledger import ReportingLedger

from crewgate import limits
from crewgate._native.permit import Permit
from crewgate._native.table_owner import OwnedTable
from crewgate.agent.budget.draws import Draws
from crewgate.agent.budget.shared_ledger_tasks import handle_notification
from crewgate.agent.ipc_server.attachments import AttachedProcesses
from crewgate.agent.revocation.types import ClockReading
from crewgate.core.budget.ledger_protocol import DrawLease, Operation, OperationResult
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import Denial
from crewgate.errors import InvalidLedgerOperationError
from crewgate.ipc.attach_messages import VERSION, Attach, CreditDrawn, DrawCredit
from crewgate.leases.lease_client import LeaseClient
from crewgate.ledger.notifications import NotificationBuilder, read
from crewgate.verifier.loaded_gate import needs_credit

ROOT = 100  # the number of the run; the branches of the world are below it
WAIT = 2.0  # seconds that a draw waits for credit of other machines
CALL = 0.02  # seconds of a call, at most
Then = Callable[[OperationResult | InvalidLedgerOperationError], None]


@dataclass
class Call:
    """A call, and when it began."""

    of: Grant
    price: int
    began: float


class SharedLedgerQueue:
    """Stands for `LedgerQueue`: one transaction at a time, of all that came meanwhile."""

    unavailable_reason = ""

    def __init__(self, machine: "SimulatedMachine") -> None:
        self._machine = machine
        self._waiting: list[tuple[Operation, Then | None]] = []
        self._is_busy = False
        self._notifications = NotificationBuilder()
        self.draws = 0

    def submit(self, operation: Operation) -> None:
        self._add(operation, None)

    def ask(self, operation: Operation, then: Then) -> None:
        self._add(operation, then)

    def _add(self, operation: Operation, then: Then | None) -> None:
        self.draws += isinstance(operation, DrawLease)
        self._waiting.append((operation, then))
        self._begin()

    def _begin(self) -> None:
        if self._waiting and not self._is_busy:
            self._is_busy = True
            self._machine.world.later(self._machine.world.delay(0.003), self._commit)

    def _commit(self) -> None:
        world, (batch, self._waiting) = self._machine.world, (self._waiting, [])
        operations = [operation for operation, _ in batch]
        answers = [world.do(operation) for operation in operations]
        state = world.ledger._state
        for text in self._notifications.of(operations, answers, state, world.wall):
            world.publish(text)
        for (_, then), answer in zip(batch, answers, strict=True):
            if then is not None:
                then(answer)
        self._is_busy = False
        self._begin()


class SimulatedMachine:
    """An agent and one process of a machine; `outcomes` counts how its calls ended."""

    def __init__(self, world: "SimulatedMachines", name: str) -> None:
        self.world = world
        self.table = OwnedTable.private(GEOMETRY)
        self.gate = NativeGate(self.table, POLICY)
        self.queue = SharedLedgerQueue(self)
        self.lease_client = LeaseClient(
            self.table, world.ledger, POLICY, name, submit=self.queue.submit
        )
        ignoring: Any = SimpleNamespace(learn=lambda _: None, admits=lambda *_: True)
        queue: Any = self.queue
        self.draws = Draws(
            self.table, self.lease_client, queue, ignoring, ignoring, WAIT, read=world.clocks
        )
        self.process = AttachedProcesses(self.table).enter(Attach(version=VERSION))
        self.clock = SimpleNamespace(boot_ns=lambda: world.clocks().boot_ns, read=world.clocks)
        self.recalls = 0
        self.outcomes: Counter[str] = Counter()
        self.longest = 0.0  # seconds that a call waited for credit
        self._waiting: dict[int, Call] = {}

    def call(self, of: Grant, price: int = 1) -> None:
        self._decide(Call(of, price, self.world.now))

    def _decide(self, call: Call) -> None:
        clocks = self.world.clocks()
        verdict = self.gate.decide(
            self.gate.holding, call.of, call.price, self.world.wall, clocks.boot_ns
        )
        if isinstance(verdict, Permit):
            permit = verdict
            self.longest = max(self.longest, self.world.now - call.began)
            self.outcomes["permitted"] += 1
            self.world.spent += call.price
            self.world.later(self.world.random.uniform(0, CALL), lambda: permit.settle(call.price))
        elif needs_credit(verdict) and self.world.now - call.began < WAIT:
            number = len(self._waiting) + 1000 * sum(self.outcomes.values())
            while number in self._waiting:
                number += 1
            self._waiting[number] = call
            self.draws.ask(
                self.process, DrawCredit(id=number, grant=call.of, need=call.price), clocks
            )
        else:
            self._refused(call, verdict)

    def _refused(self, call: Call, verdict: Denial) -> None:
        """No call is refused for good while the run has credit for it."""
        self.outcomes[verdict.reason.value] += 1
        if not verdict.retry:
            assert self.world.spent + call.price > self.world.quota, verdict

    def work(self) -> None:
        """What the agent does every few milliseconds, and what the process hears of it."""
        clocks = self.world.clocks()
        if self.draws._waiting:
            self.draws.retry(clocks)
        self.draws.prefetch(clocks)
        while True:
            try:
                message = self.process.outbox.receive_nowait()
            except trio.WouldBlock:
                return
            assert isinstance(message, CreditDrawn)
            self._drawn(self._waiting.pop(message.id), message.status)

    def _drawn(self, call: Call, status: str) -> None:
        if status == "contended":
            self.outcomes["contended"] += 1
        else:
            self._decide(call)

    def tidy(self) -> None:
        """What the agent does once a second."""
        self.lease_client.give_back_idle(self.world.wall, self.world.clocks().boot_ns)
        self.lease_client.lift_all()

    def idle(self, of: Grant) -> int:
        record = self.table.branch(self.table.find(of.branch_key))
        return 0 if record is None else record.available


class SimulatedMachines:
    """So many machines and one run with `quota` micro-credits, in a world of `seed`."""

    def __init__(self, count: int, quota: int, seed: int, *, loss: float = 0.0) -> None:
        self.random = random.Random(seed)
        self.quota = quota
        self.loss = loss
        self.now = 0.0
        self.spent = 0
        self.ledger = ReportingLedger()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._tidied = 0.0
        self.machines = [SimulatedMachine(self, f"m{number}") for number in range(count)]

    @property
    def wall(self) -> float:
        return NOW + self.now

    def clocks(self) -> ClockReading:
        return ClockReading(int(self.wall), BOOT_NS + round(self.now * 1e9))

    def branch(self, number: int) -> Grant:
        """A branch of the run, which may spend all that the run may."""
        return grant(number, self.quota, (ROOT, self.quota, int(NOW)))

    def delay(self, mean: float) -> float:
        return self.random.expovariate(1 / mean)

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (self.now + seconds, self._count, act))

    def do(self, operation: Operation) -> OperationResult | InvalidLedgerOperationError:
        try:
            return self.ledger.do(operation, self.wall)
        except InvalidLedgerOperationError as error:
            return error

    def publish(self, text: str) -> None:
        notification = read(text)
        assert notification is not None
        for machine in self.machines:
            if self.random.random() >= self.loss:
                agent: Any = machine
                self.later(self.delay(0.002), lambda m=agent: handle_notification(m, notification))

    def run(self, seconds: float) -> None:
        """Let so many seconds pass."""
        until = self.now + seconds
        while self.now < until:
            step = self.now + limits.draw_look_seconds
            while self._events and self._events[0][0] <= step:
                self.now, _, act = heapq.heappop(self._events)
                act()
            self.now = step
            for machine in self.machines:
                machine.work()
            if self.now - self._tidied >= 1:
                self._tidied = self.now
                for machine in self.machines:
                    machine.tidy()
