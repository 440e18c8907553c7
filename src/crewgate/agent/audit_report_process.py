"""Runs the process that reads the audit of this machine for another one.

The engine that reads audit files takes a core and hundreds of megabytes, and the agent vouches for
the table four times a second. So `audit.member_report` does the work, one question at a time.
"""

import sys

import trio

from crewgate import limits
from crewgate.agent.state import AgentState
from crewgate.errors import ServiceRefusedError
from crewgate.ipc.frames import FrameDecoder
from crewgate.ipc.machine_messages import AuditFilesQuestion, encode

_CAPACITY = trio.CapacityLimiter(limits.member_audits_at_once)


async def read(agent: AgentState, question: AuditFilesQuestion) -> list[bytes]:
    """Return the pages of the answer. Raises ServiceRefusedError if the audit cannot be read."""
    config = agent.active_config.config
    # With -P, Python does not import a file named trio.py from the present folder.
    command = [sys.executable, "-P", "-m", "crewgate.audit.member_report"]
    command += [str(config.audit.folder), str(config.state), agent.machine_name]
    async with _CAPACITY:
        done = await trio.run_process(
            command,
            stdin=encode(question),
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
