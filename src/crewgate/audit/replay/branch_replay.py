"""One branch while a run is replayed: what it has done so far, and whether it is still live."""

from collections.abc import Iterator, Mapping

import msgspec

from crewgate import limits
from crewgate.audit.replay.run_record import RunRecord
from crewgate.core.audit.records import microseconds
from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import KINDS

# The newest revocation, in microseconds since 1970, of each target: kind and name, or key in hex.
Revocations = Mapping[tuple[str, str], int]
_RULES = {each.label: each for each in KINDS.values()}
_BRANCH, _SUBJECT = EntityKind.BRANCH.label, EntityKind.SUBJECT.label


class BranchSnapshot(msgspec.Struct, omit_defaults=True):
    """A branch at one step: what was recorded of it until then.

    `calls` were permitted and have ended, `refused` were refused, and `open` go on. `spent` is in
    micro-credits, of which `burned` was for calls without an end. `quota` is what it may spend.
    `rule` has taken `rule_step` last, with `rule_mode`. `state` is live, expired, token-revoked or
    revoked: by its newest recorded grant, and by revocations of it and of branches above it.
    """

    state: str = "live"
    calls: int = 0
    refused: int = 0
    open: int = 0
    spent: int = 0
    burned: int = 0
    quota: int = 0
    rule: str = ""
    rule_step: str = ""
    rule_mode: str = ""


class BranchReplay:
    """A branch while its run is replayed; `path` has the ids from the run down to it."""

    def __init__(self, crew: str, path: tuple[str, ...]) -> None:
        self.crew, self.path = crew, path
        self.snapshot = BranchSnapshot()
        self.role = self.orchestrator = self.process = self.subject = ""
        self.expires_us = 0  # unknown
        self._issued_us = 0
        self._ending = [
            (_BRANCH, name) for branch in path for name in _names(_BRANCH, crew, branch)
        ]
        self._voiding: list[tuple[str, str]] = []

    @property
    def targets(self) -> Iterator[tuple[str, str]]:
        """The targets whose revocation changes its state, by kind, and name or key in hex."""
        yield from self._ending
        yield from self._voiding

    def note(self, record: RunRecord) -> None:
        """Take over what a record of this branch says."""
        now = self.snapshot
        if record.kind == "call":
            now.refused += record.verdict == "deny"
            now.calls += record.verdict == "permit"
            now.spent += record.cost_micro
        elif record.kind == "burned":
            now.spent += record.cost_micro
            now.burned += record.cost_micro
        elif record.kind == "rule":
            now.rule, now.rule_step, now.rule_mode = record.rule, record.step, record.mode
        if record.kind in {"call", "grant"} and record.quota_micro:
            now.quota = record.quota_micro
        issued = microseconds(record.issued)
        if record.kind == "grant" and issued >= self._issued_us:
            self._issued_us, self.expires_us = issued, microseconds(record.expires)
            self._take_names(record)
        elif record.kind in {"call", "open"} and not self._issued_us:
            self._take_names(record)

    def _take_names(self, record: RunRecord) -> None:
        self.role, self.orchestrator = record.role, record.orchestrator
        self.process, self.subject = record.process, record.subject
        named = (
            ("grant", record.grant), ("process", record.process), ("key", record.kid),
            ("orchestrator", record.orchestrator), ("crew", self.crew),
        )  # fmt: skip
        self._voiding = [
            (kind, each) for kind, name in named for each in _names(kind, self.crew, name)
        ]
        self._ending = [each for each in self._ending if each[0] == _BRANCH]
        self._ending += [(_SUBJECT, name) for name in _names(_SUBJECT, self.crew, record.subject)]

    def state(self, revoked: Revocations, now_us: int) -> str:
        """Return the state at a moment, after these revocations."""
        if any(each in revoked for each in self._ending):
            return "revoked"
        if any(each in revoked and self._is_voided(each, revoked) for each in self._voiding):
            return "token-revoked"
        return "expired" if self.expires_us and self.expires_us <= now_us else "live"

    def _is_voided(self, target: tuple[str, str], revoked: Revocations) -> bool:
        """Whether the revocation of a target is about the newest grant, and not only older ones."""
        until = revoked[target] + limits.leeway_seconds * 1_000_000
        return _RULES[target[0]].is_for_good or self._issued_us <= until


def _names(kind: str, crew: str, name: str) -> Iterator[str]:
    """Yield a name, and the keys by which another machine's revocation may name it."""
    if not name:
        return
    yield name
    try:
        yield from (key.hex() for key in _RULES[kind].keys(crew, name))
    except ValueError:  # no revocation has it
        return
