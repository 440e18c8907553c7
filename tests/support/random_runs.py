"""Random runs as several machines record them, and a slow model of what their branches are."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import msgspec
from audit_records import NOON
from signed_audit import BEGIN, Machine

from crewgate import limits
from crewgate.audit.checkpoints.signing_key import CheckpointKey
from crewgate.audit.replay.extract import MachineExtract, extract
from crewgate.audit.replay.question import ReplayFilter
from crewgate.audit.replay.run_replay import ReplayedLine, RunReplay, gather
from crewgate.core.audit import records
from crewgate.core.ids import EntityKind, branch_key
from crewgate.core.revocation_kinds import KINDS
from crewgate.ipc.cluster_view import MachineAnswers

CREW = "article"
_LABELS = {rules.label: rules for rules in KINDS.values()}


def branch_id(number: int) -> str:
    return f"0199c1d2-0000-7000-8000-{number:012x}"


class RandomRun:
    """Records of one run, of a second one of the crew, and of a third of another crew."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.run = branch_id(1)
        self._paths: list[tuple[str, ...]] = [(self.run,), (branch_id(2),)]
        self._second = 0.0
        self._requests = 0
        self._open: list[tuple[dict[str, Any], Any]] = []

    def make(self, count: int) -> list[records.Record]:
        return [self._record() for _ in range(count)]

    def _time(self) -> Any:
        self._second += self._random.choice([0, 0.25, 1, 1, 30])
        return NOON + timedelta(seconds=self._second)

    def _who(self, path: tuple[str, ...], crew: str = CREW) -> dict[str, Any]:
        return {
            "crew": crew,
            "orchestrator": f"{crew}/{self._random.choice('ab')}",
            "process": f"pid_{self._random.randrange(3)}",
            "role": self._random.choice(["writer", "researcher"]),
            "branch": path[-1],
            "ancestry": path[:-1],
            "grant": f"grant-{self._random.randrange(6)}",
            "subject": "user_1" if path[0] == self.run else "user_2",
        }

    def _request(self) -> dict[str, Any]:
        self._requests += 1
        return {
            "request": f"request-{self._requests}",
            "listener": "agents",
            "peer": "192.0.2.0/24",
            "tool": "search.web",
            "method": "POST",
        }

    def _record(self) -> records.Record:
        random = self._random
        if random.random() < 0.2 and len(self._paths) < 12:
            above = random.choice(self._paths)
            if len(above) < 6:
                self._paths.append((*above, branch_id(len(self._paths) + 1)))
        path = random.choice(self._paths)
        crew = CREW if random.random() < 0.9 else "billing"
        who, time = self._who(path, crew), self._time()
        kind = random.choice(
            ["call", "call", "call", "deny", "grant", "grant", "open", "end", "burned", "rule",
             "revocation", "watch", "event"]
        )  # fmt: skip
        if kind in {"end", "burned"}:
            if self._open:
                opened, began = self._open.pop(random.randrange(len(self._open)))
                return self._end_of(kind, opened, began, time)
            kind = "call"
        make: dict[str, Any] = {
            "call": self._call, "deny": self._deny, "grant": self._grant, "open": self._opening,
            "rule": self._rule, "revocation": self._revocation, "watch": self._watch,
            "event": self._event,
        }  # fmt: skip
        found: records.Record = make[kind](who, time)
        return found

    def _deny(self, who: dict[str, Any], time: Any) -> records.Record:
        return self._call(who, time, verdict="deny", reason="credits-exhausted")

    def _grant(self, who: dict[str, Any], time: Any) -> records.Record:
        random = self._random
        issued = time - timedelta(seconds=random.choice([0, 5, 100]))
        return records.GrantRecord(
            **who, time=time, kid=f"key-{random.randrange(2)}", tools=("search.*",),
            quota_micro=random.randrange(1, 10**7), issued=issued,
            expires=issued + timedelta(seconds=random.choice([20, 900])),
        )  # fmt: skip

    def _opening(self, who: dict[str, Any], time: Any) -> records.Record:
        request = self._request()
        self._open.append(({**who, **request}, time))
        return records.StreamOpened(**who, **request, time=time, price_micro=10)

    def _rule(self, who: dict[str, Any], time: Any) -> records.Record:
        return records.RuleStepRecord(
            **who, time=time, rule="loops", rule_kind="same-call",
            step=self._random.choice(["warn", "refuse", "end"]),
            mode=self._random.choice(["enforce", "observe"]), count=5, limit=4,
        )  # fmt: skip

    def _watch(self, who: dict[str, Any], time: Any) -> records.Record:
        return records.WatchRecord(
            time=time, crew=who["crew"], orchestrator=who["orchestrator"], step="strike",
            was="observe", level="throttle", in_force="throttle",
        )  # fmt: skip

    def _event(self, _who: dict[str, Any], time: Any) -> records.Record:
        return records.ServiceEvent(time=time, event="test", detail=f"nothing about {self.run}")

    def _call(self, who: dict[str, Any], time: Any, **more: Any) -> records.CallRecord:
        is_refused = "reason" in more
        return records.CallRecord(
            **who, **self._request(), time=time, verdict=more.pop("verdict", "permit"),
            outcome=records.CallOutcome.REFUSED if is_refused else records.CallOutcome.DONE,
            cost_micro=0 if is_refused else self._random.randrange(10**6), quota_micro=10**7,
            duration_us=self._random.choice([0, 40, 10**6, 4 * 10**7]), **more,
        )  # fmt: skip

    def _end_of(self, kind: str, opened: dict[str, Any], began: Any, time: Any) -> records.Record:
        if kind == "end":
            return records.CallRecord(
                **opened, time=began, verdict="permit", outcome=records.CallOutcome.DONE,
                cost_micro=7, quota_micro=10**7,
                duration_us=round((time - began).total_seconds() * 1e6),
            )  # fmt: skip
        kept = {
            name: value for name, value in opened.items()
            if name not in {"listener", "peer", "method"}
        }  # fmt: skip
        return records.BurnedReservationRecord(
            **kept, time=time, started=began, cost_micro=9, cause="owner-died",
            branch_key="00" * 16, grant_key="11" * 16, owner=3,
        )  # fmt: skip

    def _revocation(self, who: dict[str, Any], time: Any) -> records.RevocationRecord:
        kind = self._random.choice(["branch", "branch", "grant", "process", "key", "orchestrator"])
        if self._random.random() < 0.1:
            kind = self._random.choice(["subject", "crew", "account"])
        names = {
            "account": who["branch"], "key": "key-1", "crew": who["crew"],
        }  # fmt: skip
        name = names.get(kind, who.get(kind, ""))
        is_far = self._random.random() < 0.3
        nobody = dict.fromkeys(["orchestrator", "process", "role", "branch", "subject"], "")
        identity = {"crew": who["crew"], **nobody}
        if kind in {"branch", "account"} and not is_far:
            identity |= {"branch": who["branch"], "ancestry": who["ancestry"]}
        if is_far and kind != "account":
            name = _LABELS[kind].keys(who["crew"], name)[0].hex()
        return records.RevocationRecord(
            **identity, time=time, target=kind, id=name, by="operator/ada", reason="looping",
        )  # fmt: skip


class Site(NamedTuple):
    """Machines that have recorded a run."""

    machines: dict[str, Machine]
    run: str

    @property
    def keys(self) -> list[str]:
        """The public keys of the machines."""
        return [machine.key.public for machine in self.machines.values()]

    def replay(self, question: ReplayFilter | None = None) -> RunReplay:
        """What they answer; the first one is asked directly."""
        wanted = question or ReplayFilter(self.run, CREW, is_signed=True)
        first, *rest = self.machines

        def of(name: str, asked: ReplayFilter) -> MachineExtract:
            machine = self.machines[name]
            return extract(machine.folder, asked, machine.key, name, now=BEGIN)

        def others(asked: ReplayFilter, name: str) -> MachineAnswers[MachineExtract]:
            names = [name] if name else rest
            return MachineAnswers({each: [of(each, asked)] for each in names}, "", [])

        return gather(wanted, lambda asked: of(first, asked), others)


def site(random: Random, folder: Path, count: int, machines: int = 2) -> Site:
    """Write a random run on some machines, with checkpoints, rotations and kills between."""
    made = RandomRun(random)
    found = {
        f"gw-{at}": Machine(folder / f"gw-{at}" / "audit", key=CheckpointKey(bytes([at] * 32)))
        for at in range(2, machines + 2)
    }
    agents = {name: machine.writer("agent") for name, machine in found.items()}
    for record in made.make(count):
        name = random.choice([*found])
        machine = found[name]
        if isinstance(record, records.RevocationRecord | records.WatchRecord):
            assert agents[name].write(record)
        else:
            assert random.choice(machine.writers).write(record)
        if random.random() < 0.2:
            machine.take()
        if random.random() < 0.05:
            machine.rotate()
        if random.random() < 0.03:
            machine.kill(random.randrange(2))
    return Site(found, made.run)


# The model: everything is computed anew from all lines until a step.


def model(lines: Sequence[ReplayedLine], run: str, until: int) -> dict[str, dict[str, Any]]:
    """What each branch of the run is after line number `until`."""
    now, seen = lines[until].moment_us, lines[: until + 1]
    branches: dict[str, tuple[str, ...]] = {}
    begun = [each for each in lines if _began(each, lines) <= now and each not in seen]
    for each in [*seen, *begun]:
        path = each.record.path
        for at, branch in enumerate(path):
            if run in path[: at + 1]:
                branches[branch] = path[: at + 1]
    return {
        branch: _branch(branch, path, seen, begun, now, lines) for branch, path in branches.items()
    }


def _began(line: ReplayedLine, lines: Sequence[ReplayedLine]) -> float:
    """When what a later line ends began."""
    record = line.record
    if record.kind == "burned" or (record.kind == "call" and record.verdict == "permit"):
        return min(record.begin_us, line.moment_us)
    return float("inf")


def _branch(
    branch: str, path: tuple[str, ...], seen: Sequence[ReplayedLine], begun: list[ReplayedLine],
    now: int, lines: Sequence[ReplayedLine],
) -> dict[str, Any]:  # fmt: skip
    own = [each.record for each in seen if each.record.branch == branch]
    own = [each for each in own if each.kind != "revocation"]
    ended = {
        (each.machine, each.record.request)
        for each in lines if each.record.kind in {"call", "burned"}
    }  # fmt: skip
    streams = [
        each for each in seen
        if each.record.branch == branch and each.record.kind == "open"
        and (each.machine, each.record.request) not in ended
    ]  # fmt: skip
    calls = [each for each in own if each.kind == "call"]
    burned = [each for each in own if each.kind == "burned"]
    quotas = [each.quota_micro for each in own if each.kind in {"call", "grant"}]
    rules = [each for each in own if each.kind == "rule"]
    grants = sorted(
        (each for each in own if each.kind == "grant"), key=lambda each: each.issued
    )  # the last of equal ones
    named = grants[-1:] or [each for each in own if each.kind in {"call", "open"}][-1:]
    return {
        "state": _state(path, named, seen, now),
        "calls": sum(each.verdict == "permit" for each in calls),
        "refused": sum(each.verdict == "deny" for each in calls),
        "open": len(streams) + sum(each.record.branch == branch for each in begun),
        "spent": sum(each.cost_micro for each in [*calls, *burned]),
        "burned": sum(each.cost_micro for each in burned),
        "quota": quotas[-1] if quotas else 0,
        "rule": rules[-1].rule if rules else "",
        "rule_step": rules[-1].step if rules else "",
        "rule_mode": rules[-1].mode if rules else "",
    }


def _state(path: tuple[str, ...], named: list[Any], seen: Sequence[ReplayedLine], now: int) -> str:
    revoked = [each for each in seen if each.record.kind == "revocation"]
    branches = {*path, *(branch_key(CREW, each).hex() for each in path)}
    ends = [each for each in revoked if each.record.target in {"branch", "account"}]
    if any(each.record.id in branches for each in ends):
        return "revoked"
    for record in named:
        subjects = {record.subject, *_hex(EntityKind.SUBJECT, record.subject)}
        if any(each.record.target == "subject" and each.record.id in subjects for each in revoked):
            return "revoked"
        issued = records.microseconds(record.issued)
        for kind, name in (
            (EntityKind.GRANT, record.grant), (EntityKind.PROCESS, record.process),
            (EntityKind.KEY, record.kid), (EntityKind.ORCHESTRATOR, record.orchestrator),
            (EntityKind.CREW, CREW),
        ):  # fmt: skip
            ids = {name, *_hex(kind, name)} if name else set()
            for each in revoked:
                late = each.moment_us + limits.leeway_seconds * 10**6
                if (
                    each.record.target == kind.label
                    and each.record.id in ids
                    and (KINDS[kind].is_for_good or issued <= late)
                ):
                    return "token-revoked"
        if record.kind == "grant" and records.microseconds(record.expires) <= now:
            return "expired"
    return "live"


def _hex(kind: EntityKind, name: str) -> set[str]:
    return {key.hex() for key in KINDS[kind].keys(CREW, name)} if name else set()


def as_whole(snapshot: Any) -> dict[str, Any]:
    """A `BranchSnapshot` with all members."""
    return msgspec.structs.asdict(snapshot)
