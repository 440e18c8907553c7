"""The runs that the audit has, for a person who picks one to replay."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from crewgate import limits
from crewgate.audit.query_results import Moment
from crewgate.core.actors import ActorKind
from crewgate.ipc.cluster_view import MachineAnswers, SilentMachine

_Text = Annotated[str, Meta(max_length=limits.claim_chars_max)]


class RunsFilter(msgspec.Struct, frozen=True, omit_defaults=True):
    """Asks for the runs with records of which `since` <= time < `until`, the newest `limit`.

    `crews` names the crews whose runs count; empty, all of them do.
    """

    crews: Annotated[tuple[_Text, ...], Meta(max_length=limits.replay_crews_max)] = ()
    since: Moment | None = None
    until: Moment | None = None
    limit: Annotated[int, Meta(ge=0, le=limits.replay_runs_max)] = limits.replay_runs_default

    @property
    def parameters(self) -> dict[str, object]:
        """The values of the parameters of `duckdb_sql.RUNS`."""
        return {
            "crews": [*self.crews] or None,
            "since": _plain(self.since),
            "until": _plain(self.until),
            "limit": self.limit,
        }


class RecordedRun(msgspec.Struct, frozen=True):
    """A run, as far as its records are in the range.

    `subject` is on whose behalf it acts, as the newest record says. `calls` were permitted and have
    ended. `spent_micro` is in micro-credits. `ended` is when it or its subject was revoked, `by`
    whom, for what `why`. `expires` is the end of its last recorded grant.
    """

    crew: str
    run: str
    subject: str
    orchestrator: str
    first: Moment
    last: Moment
    branches: int
    calls: int
    refused: int
    rule_steps: int
    spent_micro: int
    ended: Moment | None = None
    by: str = ""
    why: str = ""
    expires: Moment | None = None

    def how_ended(self, now: datetime) -> str:
        """Say how the run ended; that it goes on if nothing says otherwise."""
        if self.ended is not None:
            why = f": {self.why}" if self.why else ""
            return f"revoked by {self.by}{why}"
        return "expired" if self.expires is not None and self.expires <= now else "live"


class RunsPart(msgspec.Struct, frozen=True):
    """A part of the runs that one machine has."""

    runs: list[RecordedRun]


class RecordedRuns(msgspec.Struct, frozen=True):
    """The runs of all machines, the newest first; who answered, and who did not."""

    runs: list[RecordedRun]
    machines: list[str]
    not_asked: Sequence[SilentMachine]


def merged(
    own: Mapping[str, list[RecordedRun]], others: MachineAnswers[RunsPart], limit: int
) -> RecordedRuns:
    """Merge the runs of this machine, by its name, with those of others; keep the newest."""
    all_runs = dict(own)
    for name, parts in others.parts.items():
        all_runs[name] = [run for part in parts for run in part.runs]
    found: dict[tuple[str, str], list[RecordedRun]] = {}
    for runs in all_runs.values():
        for run in runs:
            found.setdefault((run.crew, run.run), []).append(run)
    rows = sorted(map(_one, found.values()), key=lambda run: run.run)
    rows.sort(key=lambda run: run.last, reverse=True)
    return RecordedRuns(rows[:limit], [*all_runs], others.not_asked)


def _one(runs: Sequence[RecordedRun]) -> RecordedRun:
    """Return what several machines know of one run; branches may be on several of them."""
    newest = max(runs, key=lambda run: run.last)
    ended = [run for run in runs if run.ended is not None]
    # The machine at which a person ordered the end knows who and why; others name that machine.
    end = min(ended, key=lambda run: (ActorKind.GATEWAY.is_of(run.by), run.ended), default=newest)
    return msgspec.structs.replace(
        newest,
        first=min(run.first for run in runs),
        branches=max(run.branches for run in runs),
        **{
            name: sum(getattr(run, name) for run in runs)
            for name in ("calls", "refused", "rule_steps", "spent_micro")
        },
        ended=end.ended,
        by=end.by,
        why=end.why,
        expires=max(_moments(run.expires for run in runs), default=None),
    )


def _moments(found: Iterable[datetime | None]) -> list[datetime]:
    return [each for each in found if each is not None]


def _plain(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)
