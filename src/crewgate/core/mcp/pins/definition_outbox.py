"""Definitions that a worker has seen and that the agent has not on disk yet.

The worker sends each of them, and sends all again to the next agent if the agent ends. Of one tool,
the outbox keeps the first and the newest definition: if they differ, the tool has changed, even if
the agent has not pinned the first one yet.

Until the agent pushes another pin of a tool, the worker sends a definition of the tool once, and at
most `limits.mcp_definitions_sent_max` different ones. So a server that changes its tools with each
list does not keep the agent busy.
"""

from collections import deque

import msgspec

from crewgate import limits
from crewgate.core.mcp.pins.tool_definitions import SeenDefinition


class DefinitionReport(msgspec.Struct, frozen=True):
    """Definitions of one endpoint, in the order in which the worker saw them."""

    number: int
    endpoint: str
    seen: list[SeenDefinition]


class DefinitionOutbox:
    """The unconfirmed definitions of one worker, by endpoint and name of the tool."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, list[SeenDefinition]]] = {}
        self._text_bytes = 0
        self._unsent: deque[tuple[str, SeenDefinition]] = deque()
        self._unanswered: dict[int, DefinitionReport] = {}
        self._last_number = 0
        # The digests that this connection has carried.
        self._sent: dict[tuple[str, str], set[str]] = {}

    @property
    def has_unsent(self) -> bool:
        """Whether there is something to send."""
        return bool(self._unsent)

    def names(self, endpoint: str) -> list[str]:
        """Return the tools of an endpoint that have unconfirmed definitions."""
        return list(self._kept.get(endpoint, ()))

    def count(self, endpoint: str) -> int:
        """Return of how many tools of an endpoint there are unconfirmed definitions."""
        return len(self._kept.get(endpoint, ()))

    def seen(self, endpoint: str, name: str) -> list[SeenDefinition]:
        """Return the first and the newest unconfirmed definition of a tool: none, one or two."""
        return self._kept.get(endpoint, {}).get(name, [])

    def add(self, endpoint: str, seen: SeenDefinition) -> None:
        """Keep a definition until the agent has it; do nothing if this connection carried it."""
        if len(self._sent) >= limits.mcp_tools_sent_max:
            self._sent.clear()
        sent = self._sent.setdefault((endpoint, seen.name), set())
        if seen.digest in sent or len(sent) >= limits.mcp_definitions_sent_max:
            return
        sent.add(seen.digest)
        if self._text_bytes + len(seen.text) > limits.mcp_definitions_bytes_max:
            seen = msgspec.structs.replace(seen, text=b"")
        kept = self._kept.setdefault(endpoint, {}).setdefault(seen.name, [])
        self._text_bytes += len(seen.text) - sum(len(each.text) for each in kept[1:])
        kept[1:] = [seen]
        self._unsent.append((endpoint, seen))

    def pushed(self, endpoint: str, name: str) -> None:
        """Let definitions of a tool be sent again, because the agent has another pin of it."""
        self._sent.pop((endpoint, name), None)
        if kept := self.seen(endpoint, name):
            self._sent[endpoint, name] = {each.digest for each in kept}

    def drop(self, endpoint: str, name: str) -> None:
        """Forget the unconfirmed definitions of a tool."""
        for seen in self._kept.get(endpoint, {}).pop(name, []):
            self._text_bytes -= len(seen.text)
        self._sent.pop((endpoint, name), None)

    def next(self) -> DefinitionReport | None:
        """Return the next report to send; None if there is none, or if too many are unanswered."""
        if len(self._unanswered) >= limits.mcp_reports_unanswered_max:
            return None
        self._skip_replaced()
        if not self._unsent:
            return None
        endpoint, size, found = self._unsent[0][0], 0, list[SeenDefinition]()
        while self._unsent and self._unsent[0][0] == endpoint:
            if len(found) >= limits.mcp_definitions_in_report or size > limits.mcp_report_bytes_max:
                break
            _, seen = self._unsent.popleft()
            found.append(seen)
            size += len(seen.text)
            self._skip_replaced()
        self._last_number += 1
        report = DefinitionReport(self._last_number, endpoint, found)
        self._unanswered[report.number] = report
        return report

    def put_back(self, report: DefinitionReport) -> None:
        """Have `next` return the definitions of a report again, because it could not be sent."""
        del self._unanswered[report.number]
        self._unsent.extendleft((report.endpoint, seen) for seen in reversed(report.seen))

    def confirm(self, number: int) -> None:
        """Drop what a report had: the agent has it on disk, and has pushed the pins."""
        report = self._unanswered.pop(number, None)
        if report is None:
            return
        tools = self._kept.get(report.endpoint, {})
        for sent in report.seen:
            kept = tools.get(sent.name, [])
            left = [each for each in kept if each is not sent]
            self._text_bytes -= sum(len(each.text) for each in kept if each is sent)
            if left:
                tools[sent.name] = left
            else:
                tools.pop(sent.name, None)

    def begin_again(self) -> None:
        """Send all unconfirmed definitions again, because there is a new connection."""
        self._unanswered.clear()
        self._unsent.clear()
        self._sent.clear()
        for endpoint, tools in self._kept.items():
            for name, kept in tools.items():
                self._sent[endpoint, name] = {each.digest for each in kept}
                self._unsent.extend((endpoint, each) for each in kept)

    def _skip_replaced(self) -> None:
        """Drop definitions from the front of the queue that newer ones have replaced."""
        while self._unsent:
            endpoint, seen = self._unsent[0]
            if any(each is seen for each in self.seen(endpoint, seen.name)):
                return
            self._unsent.popleft()
