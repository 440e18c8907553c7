"""The live page without an agent: machines whose answers a test sets, and what a browser makes."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from machine_trees import tree_answers

from crewgate.alerts.budget_watch import CrewAllowance
from crewgate.alerts.local_machine import LocalMachine
from crewgate.errors import ServiceConnectionError
from crewgate.ipc.admin_messages import AgentStatus, TreeRow
from crewgate.ipc.cluster_view import ClusterStatus, SilentMachine
from crewgate.ipc.machine_messages import MachineAnswer, TreeQuestion
from crewgate.ui.live import reader
from crewgate.ui.live.feed import LiveFeed
from crewgate.ui.live.reader import LiveReader
from crewgate.ui.live.stream import events
from crewgate.ui.person import Person, Right, rights_of


def status_of(**fields: Any) -> AgentStatus:
    """The health of a machine that is well."""
    defaults: dict[str, Any] = {
        "id": 1, "ready": True, "waiting_for": [], "pid": 1, "life": "", "fresh": True,
        "policy_generation": 1, "revocation_generation": 1, "workers": [], "embedders": 0,
        "counts": {},
    }  # fmt: skip
    return AgentStatus(**defaults | fields)


LOCAL = LocalMachine("gw-1", Path("/crewgate.toml"), Path("/state"))


def live_feed() -> LiveFeed:
    """A feed of gw-1, which a test tells what was read."""
    return LiveFeed(LOCAL, dict)


class Machines:
    """What the agent of gw-1 answers; `agent` is the name of a method that raises, if any."""

    def __init__(self) -> None:
        self.trees: dict[str, Sequence[TreeRow]] = {"gw-1": ()}
        self.health: dict[str, AgentStatus] = {"gw-1": status_of()}
        self.not_asked: list[SilentMachine] = []
        self.is_away = False
        self.allowances: dict[str, CrewAllowance] = {}
        self.now = 0.0

    def ask_machines(self, question: TreeQuestion, **_: object) -> Iterator[MachineAnswer]:
        assert isinstance(question, TreeQuestion)
        if self.is_away:
            raise ServiceConnectionError("the agent does not answer")
        yield from tree_answers(self.trees)

    def cluster_status(self) -> ClusterStatus:
        return ClusterStatus(dict(self.health), "gw-1", self.not_asked)

    def close(self) -> None:
        pass

    def reader(self, monkeypatch: pytest.MonkeyPatch) -> LiveReader:
        """A reader that asks these machines."""
        monkeypatch.setattr(reader, "AdminClient", lambda _: self)
        return LiveReader(LOCAL, self.allowances, lambda: self.now, lambda: self.now)


def viewer(*crews: str, name: str = "person/ada") -> Person:
    """A person who may view these crews; without one, all crews."""
    return Person(name, "login", rights_of([([Right.VIEW], crews or None)]))


class Browser:
    """What the page makes of the events; it fails if they contradict one another."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[str, Any]] = {}
        self.head: dict[str, Any] = {}
        self.documents: dict[str, Any] = {}
        self.resets = 0
        self.received: list[bytes] = []
        self._is_partial = False

    def take(self, event: bytes) -> None:
        """Take one event."""
        self.received.append(event)
        first, second, *rest = event.split(b"\n")
        assert rest == [b"", b""]
        name, data = first.removeprefix(b"event: ").decode(), json.loads(second[len("data: ") :])
        if name == "tree":
            self._take_tree(data)
        else:
            self.documents[name] = data

    def _take_tree(self, data: dict[str, Any]) -> None:
        if data.pop("reset"):
            self.rows.clear()
            self.resets += 1
            self._is_partial = True
        for row in data.pop("rows"):
            known = self.rows.get(row["n"])
            assert known is not None or {"crew", "branch"} <= row.keys()
            self.rows[row["n"]] = {**(known or {}), **row}
        for number in data.pop("gone"):
            del self.rows[number]
        self._is_partial = data.pop("more")
        self.head = data

    @property
    def branches(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The rows by crew and branch."""
        assert not self._is_partial
        found = {(row["crew"], row["branch"]): row for row in self.rows.values()}
        assert len(found) == len(self.rows)
        return found


class Watching:
    """A browser that takes the next event only if the test lets it; run `run` as a task."""

    def __init__(self, feed: LiveFeed, person: Person) -> None:
        self.browser = Browser()
        self.person: Any = person
        self.ended = trio.Event()
        self._turns = trio.Semaphore(0)
        self._feed, self._first = feed, person

    def let(self, count: int) -> None:
        """Let it take so many events."""
        for _ in range(count):
            self._turns.release()

    async def run(self) -> None:
        with self._feed.watching(self._first.name) as watcher:
            async for event in events(self._feed, watcher, self._first, lambda: self.person):
                await self._turns.acquire()
                self.browser.take(event)
        self.ended.set()
