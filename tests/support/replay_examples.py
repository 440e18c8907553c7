"""A made-up incident, as `/api/runs` and `/api/replay` of the live page answer."""

from datetime import UTC, timedelta
from typing import Any

import msgspec
from audit_records import NOON, deny, grant, permit, rule_step

from crewgate.audit.replay.extract import ExtractLine, MachineExtract
from crewgate.audit.replay.question import ReplayFilter
from crewgate.audit.replay.recorded_runs import RecordedRun
from crewgate.audit.replay.run_replay import RunReplay
from crewgate.core.audit.json_line import encode
from crewgate.core.audit.records import AttributedRecord, RevocationRecord
from crewgate.ipc.cluster_view import SilentMachine
from crewgate.ui.replay.endpoints import ListedRun, RunList, shown

RUN, LOOPING = "b819a180-79d4-463e-9447-c85544f8830b", "63da7825-096e-43be-b586-53bb2504922f"
NO_ANSWER = [SilentMachine("gw-3", "no answer within 10 s")]


def _lines() -> list[AttributedRecord]:
    ended = RevocationRecord(
        crew="article", orchestrator="article/one", process="pid_1", role="editor", branch=RUN,
        time=NOON + timedelta(seconds=70), target="branch", id=RUN, by="operator/ada",
        reason="asks for the same page again and again", cuts=1,
    )  # fmt: skip
    run = [grant(RUN, "editor", 0), permit(2, RUN, "editor", "search.web", 10_000)]
    below = [
        grant(LOOPING, "researcher", 3),
        *(permit(second, LOOPING, "researcher", "search.web", 20_000) for second in range(5, 60)),
        rule_step(60, LOOPING, "researcher", "loops", "refuse", 10),
        deny(61, LOOPING, "researcher", "search.web", "loop-detected"),
    ]
    return [*run, *(msgspec.structs.replace(each, ancestry=(RUN,)) for each in below), ended]


def replay() -> Any:
    """The steps of a run that was ended, on two machines of three."""
    texts = [encode(record).decode().rstrip("\n") for record in _lines()]  # type: ignore[arg-type]
    lines = [ExtractLine("worker-0.jsonl", at, "", text) for at, text in enumerate(texts)]
    machines = [
        MachineExtract(machine="gw-1", lines=lines[:2]),
        MachineExtract(machine="gw-2", lines=lines[2:], left_out=3, left_out_from=NOON),
    ]
    return msgspec.to_builtins(shown(RunReplay(ReplayFilter(RUN, "article"), machines, NO_ANSWER)))


def runs() -> Any:
    """Two runs, one of which a person has ended."""
    begin = NOON.astimezone(UTC)
    ended = RecordedRun(
        "article", RUN, "ada@example.com", "article/one", begin, begin, 2, 56, 1, 1, 1_110_000,
        begin, "operator/ada", "asks for the same page again and again",
    )  # fmt: skip
    live = msgspec.structs.replace(ended, run=LOOPING, ended=None, by="", why="")
    rows = [ListedRun(each, each.how_ended(begin)) for each in (ended, live)]
    return msgspec.to_builtins(RunList(rows, ["gw-1", "gw-2"], NO_ANSWER))
