"""What the control process keeps going says how it goes, and no more once it has ended."""

from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from crewgate import limits
from crewgate.config import Config
from crewgate.control import ca_client_tasks as module
from crewgate.control.ca_client_tasks import CAClientTasks
from crewgate.core.health import ComponentHealth, degraded
from crewgate.errors import CAError


class Noted:
    """What each source said last, and how long it counts; in order."""

    def __init__(self) -> None:
        self.said: list[tuple[str, list[str], float]] = []

    def set(self, source: str, facts: Sequence[ComponentHealth], seconds: float = inf) -> None:
        self.said.append((source, [fact.component for fact in facts], seconds))


class Away:
    """A control API that does not answer."""

    def ocsp(self, request: bytes) -> bytes:
        raise CAError("no route to host")


async def test_an_end_takes_back_what_was_wrong(
    config: Config, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key has come: what the keyless machine said of certificates, list and OCSP is over."""
    noted = Noted()
    upkeep = CAClientTasks(lambda: config, noted)
    found = [degraded("control: certificate a.pem", "it ends")]
    monkeypatch.setattr(upkeep._renewing, "renew_due", lambda *_: found)
    with trio.move_on_after(limits.renewal_look_seconds / 2):
        await upkeep.renew()
    assert noted.said == [
        ("certificates", ["control: certificate a.pem"], inf),
        ("certificates", [], inf),
    ]
    noted.said.clear()
    with trio.move_on_after(limits.remote_list_seconds / 2):
        await upkeep.follow_list()
    assert [facts for _, facts, _ in noted.said] == [[], [], []]
    sources = {source for source, _, _ in noted.said}
    assert sources == {"control: CRL", "control: OCSP"}


async def test_a_question_that_failed_counts_for_a_while(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one may never come."""
    noted = Noted()
    monkeypatch.setattr(module, "source_of", lambda _: Away())
    await CAClientTasks(lambda: config, noted).answer(b"request")
    assert noted.said == [("control: OCSP", ["control: OCSP"], limits.ocsp_trouble_seconds)]


async def test_a_list_that_is_late_at_the_start_is_part_of_the_start(
    config: Config, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next attempt comes at once, and health shows a start; after the start, neither."""

    async def inline(call: Callable[..., Any], *arguments: object) -> object:
        """Without a thread, which the clock would not wait for."""
        return call(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", inline)
    found: list[ComponentHealth] = []
    answers = iter([*[[degraded("control: CRL", "no route")]] * 2, []])
    late = [degraded("control: CRL", "no route")]
    noted = Noted()
    monkeypatch.setattr(noted, "set", lambda _, facts, *__: found.extend(facts))
    monkeypatch.setattr(module, "source_of", lambda _: Away())
    monkeypatch.setattr(module, "CRLReplica", lambda *_: SimpleNamespace(ca=config.ca))
    monkeypatch.setattr(module, "_fetch", lambda *_: next(answers, late))
    remote: Any = SimpleNamespace(
        ca=config.ca, remote=SimpleNamespace(certificate=None), state=Path()
    )
    tasks = CAClientTasks(lambda: remote, noted)
    with trio.move_on_after(3 * limits.remote_list_retry_seconds):
        await tasks.follow_list()
    assert [fact.grace for fact in found] == [limits.health_start_seconds] * 2
    found.clear()
    answers = iter([[]])
    with trio.move_on_after(limits.remote_list_seconds * 1.5):
        await tasks.follow_list()
    assert [fact.grace for fact in found] == [0.0]
