"""Runs the processes that read the audit of this machine for somebody who asks about it.

The engine that reads audit files takes a core and hundreds of megabytes, and the agent vouches for
the table four times a second. So `audit.member_report` does the work, one question at a time. What
`alerts.recent_report` reads is less, so it waits for no such question.
"""

import socket
import sys
from collections.abc import Sequence

import trio

from crewgate import limits
from crewgate.agent.state import AgentState
from crewgate.errors import ServiceRefusedError
from crewgate.ipc.frames import FrameDecoder
from crewgate.ipc.machine_messages import AlertsQuestion, LongQuestion, encode

_REPORTS = trio.CapacityLimiter(limits.member_audits_at_once)
_ALERTS = trio.CapacityLimiter(limits.member_audits_at_once)


async def read(agent: AgentState, question: LongQuestion) -> list[bytes]:
    """Return the pages of the answer. Raises ServiceRefusedError if the audit cannot be read."""
    config = agent.active_config.config
    if isinstance(question, AlertsQuestion):
        name = config.name or socket.gethostname()
        places = config.path, config.state, config.audit.folder
        async with _ALERTS:
            arguments = [name, *map(str, places)]
            return await _pages("crewgate.alerts.recent_report", arguments, encode(question))
    arguments = [str(config.audit.folder), str(config.state), agent.machine_name]
    async with _REPORTS:
        return await _pages("crewgate.audit.member_report", arguments, encode(question))


async def _pages(module: str, arguments: Sequence[str], question: bytes) -> list[bytes]:
    # With -P, Python does not import a file named trio.py from the present folder.
    done = await trio.run_process(
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=question,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        deliver_cancel=_kill,
    )
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise ServiceRefusedError(f"its audit cannot be read: {why or 'the reader was killed'}")
    return list(FrameDecoder().feed(done.stdout))


async def _kill(process: trio.Process) -> None:
    """End the process at once: it only reads."""
    process.kill()
