"""The questions that a machine answers about itself, for people, and the messages that carry them.

A command asks its own agent (`AskMachines`). The agent answers for its machine, and asks the other
members over the gossip. It relays their pages unread: `cluster_view` decodes and merges them. A
machine of a later version may add members to answers, and kinds of questions.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from crewgate import limits
from crewgate.ipc.attach_messages import Id

_Text = Annotated[str, Meta(max_length=limits.claim_chars_max)]
_Cursor = Annotated[str, Meta(max_length=limits.tree_cursor_chars_max)]
_Key = Annotated[bytes, Meta(min_length=16, max_length=16)]


class TreeQuestion(msgspec.Struct, frozen=True, omit_defaults=True, tag="tree"):
    """Asks for branches and crews, as `GetTree`; answer: `TreePart`s.

    `totals`: also for what calls of each crew to each tool have come to. Unless `rows_max` is 0,
    the machine leaves out what goes beyond so many rows; to another machine it never sends more
    than `limits.member_tree_rows_max`.

    `since` is the `cursor` of the machine's last answer, or empty for the first question. With it,
    the machine may answer with what has changed since then, and `find` and `crew` mean nothing.
    """

    find: _Text = ""
    crew: _Text = ""
    totals: bool = False
    rows_max: Annotated[int, Meta(ge=0)] = 0
    since: _Cursor | None = None


class StatusQuestion(msgspec.Struct, frozen=True, omit_defaults=True, tag="status"):
    """Asks for the health of the machine; answer: one `StatusPart`."""


class RevocationsQuestion(msgspec.Struct, frozen=True, omit_defaults=True, tag="revocations"):
    """Asks for the newest revocations, as `GetRevocations`; answer: `RevocationsPart`s."""

    crew: _Text = ""
    limit: Annotated[int, Meta(ge=0, le=limits.revocation_rows_max)] = (
        limits.revocation_rows_default
    )


class InForceQuestion(msgspec.Struct, frozen=True, omit_defaults=True, tag="in-force"):
    """Asks which of these keys the table of the machine has; answer: one `InForcePart`."""

    keys: Annotated[list[_Key], Meta(max_length=limits.revocation_keys_max)]


class RunsQuestion(msgspec.Struct, frozen=True, omit_defaults=True, tag="runs"):
    """Asks which live runs of a subject the machine has seen; answer: one `RunsPart`.

    An empty crew stands for all crews.
    """

    subject: _Text
    crew: _Text = ""


class CheckpointsQuestion(msgspec.Struct, frozen=True, omit_defaults=True, tag="checkpoints"):
    """Asks which checkpoints of the audit of `machine` are kept; answer: `CheckpointsPart`s."""

    machine: _Text


class AlertsQuestion(msgspec.Struct, frozen=True, omit_defaults=True, tag="alerts"):
    """Asks for the newest alerts of the machine; answer: `AlertsPart`s.

    They are those that its receivers get, and those that records of its audit of the last day make.
    """

    limit: Annotated[int, Meta(ge=1, le=limits.member_alerts_max)] = limits.member_alerts_max


AuditMode = Literal[
    "calls", "connections", "watch", "rules", "revocations", "explain", "grants", "history"
]


class AuditQuestion(msgspec.Struct, frozen=True, omit_defaults=True, tag="audit"):
    """Asks what the audit of the machine has; answer: parts of an `audit.reports.AuditReport`.

    `filters` is an `audit.filters.AuditFilter` in JSON. `by` is the key of sums instead of calls.
    """

    mode: AuditMode
    filters: Annotated[bytes, Meta(max_length=limits.audit_question_bytes_max)]
    by: Annotated[str, Meta(max_length=limits.name_chars_max)] = ""


class RecordedRunsQuestion(msgspec.Struct, frozen=True, omit_defaults=True, tag="recorded-runs"):
    """Asks which runs the audit has; answer: `audit.replay.recorded_runs.RunsPart`s.

    `filters` is an `audit.replay.recorded_runs.RunsFilter` in JSON.
    """

    filters: Annotated[bytes, Meta(max_length=limits.audit_question_bytes_max)]


class ReplayQuestion(msgspec.Struct, frozen=True, omit_defaults=True, tag="replay"):
    """Asks for the lines of a recorded run; answer: an `audit.replay.extract.MachineExtract`.

    It comes in parts. `filters` is an `audit.replay.question.ReplayFilter` in JSON.
    """

    filters: Annotated[bytes, Meta(max_length=limits.replay_question_bytes_max)]


# Questions for which a process reads the audit files.
AuditFilesQuestion = AuditQuestion | RecordedRunsQuestion | ReplayQuestion
# Questions that take long, because a process is started for each.
LongQuestion = AuditFilesQuestion | AlertsQuestion
MachineQuestion = (
    TreeQuestion | StatusQuestion | RevocationsQuestion | InForceQuestion | RunsQuestion
    | CheckpointsQuestion | LongQuestion
)  # fmt: skip


# Stands for the machine that is asked itself; no certificate has this name.
THIS_MACHINE = "."


class AskMachines(msgspec.Struct, frozen=True, tag="ask-machines"):
    """A client asks all machines, or only the one called `machine`. Answer: `MachineAnswer`s.

    With `others_only`, all but the machine that is asked itself. A `TreeQuestion` that has `since`
    goes to each machine with its cursor of `cursors`.
    """

    id: Id
    question: MachineQuestion
    machine: Annotated[str, Meta(max_length=limits.claim_chars_max)] = ""
    others_only: bool = False
    cursors: Annotated[dict[_Text, _Cursor], Meta(max_length=limits.tree_cursors_max)] = {}

    def question_to(self, machine: str) -> MachineQuestion:
        """Return the question as this machine gets it."""
        if isinstance(self.question, TreeQuestion) and self.question.since is not None:
            since = self.cursors.get(machine, "")
            return msgspec.structs.replace(self.question, since=since)
        return self.question


class MachineAnswer(msgspec.Struct, frozen=True, omit_defaults=True, tag="machine-answer"):
    """The agent answers `AskMachines` with such messages, those of several machines in any order.

    - `page`: a part of the answer of `machine`.
    - `whole`: `machine` has answered.
    - `failed`: there is no whole answer of `machine`, because of `why`; forget its pages.
    - `end`: no message follows. `machine` is the one that was asked itself.
    """

    id: Id
    what: Literal["page", "whole", "failed", "end"]
    machine: str
    body: bytes = b""
    why: str = ""


encode = msgspec.msgpack.Encoder().encode
read_question = msgspec.msgpack.Decoder(MachineQuestion).decode
