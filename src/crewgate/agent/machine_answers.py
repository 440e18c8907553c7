"""Answers the questions that people ask machines, for this machine; see `ipc/machine_messages`.

Threads make the answers that take long, a few at a time, so that the agent goes on meanwhile.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import msgspec
import trio
from msgspec.structs import replace

from crewgate import limits
from crewgate.agent import audit_report_process, status
from crewgate.agent.branch_tree.tree_reader import TreeReader
from crewgate.agent.ipc_server.message_stream import pages
from crewgate.agent.revocation import revocation_list
from crewgate.agent.revocation.subject_runs import live_runs
from crewgate.agent.state import AgentState
from crewgate.errors import ServiceRefusedError
from crewgate.ipc.admin_messages import TreeRow
from crewgate.ipc.answer_parts import (
    CallTotalRow,
    CheckpointRow,
    CheckpointsPart,
    InForcePart,
    RevocationsPart,
    RunsPart,
    StatusPart,
    TreePart,
)
from crewgate.ipc.machine_messages import (
    CheckpointsQuestion,
    InForceQuestion,
    LongQuestion,
    MachineQuestion,
    RevocationsQuestion,
    RunsQuestion,
    StatusQuestion,
    TreeQuestion,
    encode,
    read_question,
)

_THREADS = trio.CapacityLimiter(limits.member_answers_at_once)
_MINUTE_NS = 60 * 10**9
# What a branch costs a person who does not see it: those that can still spend come first.
_RANKS = {"live": 0, "exhausted": 1, "token-revoked": 2, "expired": 3, "revoked": 4, "closed": 5}


async def to_member(agent: AgentState, body: bytes) -> list[bytes]:
    """Return the pages of the answer to another member. Raises ServiceRefusedError."""
    try:
        question = read_question(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ServiceRefusedError(
            "it does not know this question: it runs an earlier version of Crewgate"
        ) from error
    return await answer(agent, question, rows_max=limits.member_tree_rows_max)


async def answer(
    agent: AgentState, question: MachineQuestion, rows_max: int | None = None
) -> list[bytes]:
    """Return the pages of the answer; of the tree, at most `rows_max` rows.

    Raises ServiceRefusedError if this machine cannot answer now.
    """
    if isinstance(question, StatusQuestion):
        return [encode(StatusPart(status.status(agent, 0)))]
    if isinstance(question, InForceQuestion):
        return [encode(InForcePart(revocation_list.in_force(agent, question.keys)))]
    if isinstance(question, RunsQuestion):
        runs = sorted(live_runs(agent, question.subject, question.crew))
        return [encode(RunsPart(runs[: limits.subject_runs_max]))]
    if isinstance(question, CheckpointsQuestion):
        kept = [CheckpointRow(*each) for each in agent.kept_checkpoints(question.machine)]
        size = limits.kept_checkpoints_page_max
        return [encode(CheckpointsPart(some)) for some, _ in pages(kept, size)]
    if isinstance(question, LongQuestion):
        return await audit_report_process.read(agent, question)
    if isinstance(question, RevocationsQuestion):
        copied = revocation_list.snapshot(agent)
        made = partial(_revocations, copied, question)
    else:
        made = partial(_tree, agent, question, rows_max)
    return await trio.to_thread.run_sync(made, limiter=_THREADS)


def _revocations(
    copied: revocation_list.RevocationSnapshot, question: RevocationsQuestion
) -> list[bytes]:
    rows, total = revocation_list.newest(copied, question.crew, question.limit)
    size = limits.revocation_page_rows_max
    return [encode(RevocationsPart(some, total)) for some, _ in pages(rows, size)]


def _tree(agent: AgentState, question: TreeQuestion, rows_max: int | None) -> list[bytes]:
    reader, now = TreeReader(agent), agent.clock.boot_ns()
    most = min([each for each in (rows_max, question.rows_max) if each], default=sys.maxsize)
    gone: list[tuple[str, str]] = []
    cursor = since = ""
    if question.since is not None:
        cursor, rows, gone, is_whole, now = agent.tree_follower.ask(reader, question.since, most)
        since = "" if is_whole else question.since
    elif question.find or question.crew:
        rows = reader.find(question.find, question.crew, boot_ns=now)
    else:
        rows = reader.tree(boot_ns=now)
    kept = within(rows, most)
    left_out = len(rows) - len(kept)
    ledger = agent.ledger_queue.ledger.identity
    is_shared = agent.active_config.config.ledger.engine == "postgresql"
    part = TreePart(ledger, [], is_shared, 0, now // _MINUTE_NS, cursor=cursor, since=since)
    found = [
        replace(part, rows=some, left_out=left_out if last else 0)
        for some, last in pages(kept, limits.member_page_rows_max)
    ]
    if gone:
        found += [replace(part, gone=some) for some, _ in pages(gone, limits.tree_gone_page_max)]
    if question.totals:
        counted = [CallTotalRow(*each) for each in agent.call_totals.read()]
        for some, _ in pages(counted[: limits.call_totals_max], limits.call_totals_page_max):
            found.append(replace(part, totals=some))
    return [encode(each) for each in found]


def within(rows: Sequence[TreeRow], rows_max: int) -> list[TreeRow]:
    """Return at most `rows_max` rows in their order, with the parents of each.

    Those that can still spend come before those that have ended, and then those that spent most.
    """
    if len(rows) <= rows_max:
        return list(rows)
    above = {(row.crew, row.branch): (row.crew, row.parent) for row in rows}
    kept = {(row.crew, "") for row in rows if not row.branch}
    for row in sorted(rows, key=lambda row: (_RANKS[row.state], -row.spent)):
        path = list(_path((row.crew, row.branch), above, kept))
        if len(kept) + len(path) <= rows_max:
            kept.update(path)
    return [row for row in rows if (row.crew, row.branch) in kept]


def _path(
    name: tuple[str, str], above: dict[tuple[str, str], tuple[str, str]], kept: Iterable[object]
) -> Iterator[tuple[str, str]]:
    """Yield a branch and the branches above it that are not kept yet."""
    for _ in range(limits.depth_max + 1):
        if name not in above or name in kept:
            return
        yield name
        name = above[name]
