"""The control process at work says what is wrong with the CA's books."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from crewgate.audit.sink import Sink
from crewgate.audit.voice import Voice
from crewgate.audit.writer import Writer
from crewgate.config import Config
from crewgate.control.health import ControlHealth
from crewgate.control.serving import Serving
from crewgate.core.health import State
from crewgate.verifier.watch import Watch


async def test_revocations_that_are_not_written_are_in_the_health(
    config: Config, tmp_path: Path, autojump_clock: trio.testing.MockClock,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """As long as the register does not take them, and no longer; the log has them once."""

    async def complete(patience: float) -> None:
        """All but the writing."""

    office: Any = SimpleNamespace(trouble="issued.sqlite: disk is full", complete=complete)
    sink = Sink(Writer(tmp_path / "audit", "control"))
    health = ControlHealth(config.state, tmp_path, sink)
    health.is_serving = True
    watch = Watch((config.path,))
    serving = Serving(config, watch, office, sink, Voice("control", sink), health)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serving._complete)
            await trio.sleep(10)
            (fact,) = [fact for fact in health.facts() if fact.state is not State.OK]
            assert fact.component == "control: register"
            assert "not written down: issued.sqlite: disk is full" in fact.why
            office.trouble = ""
            await trio.sleep(10)
            assert [fact for fact in health.facts() if fact.state is not State.OK] == []
            nursery.cancel_scope.cancel()
    finally:
        serving._poller.close()
        sink.close()
    assert capsys.readouterr().err.count("disk is full") == 1
