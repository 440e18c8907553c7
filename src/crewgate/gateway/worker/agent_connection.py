"""A worker's place at the agent: attach, draw, hear of revocations and reloads, come back.

Speaks the group's door in the worker's own event loop. Decides nothing: what is heard goes to
`AgentEvents`. While the agent is away the table goes on to be judged by until it is stale; after a
restart the same number is asked for, so that the calls in flight keep their reservations.
"""

import logging
from pathlib import Path
from typing import Protocol

import trio

from crewgate import limits
from crewgate.core.health import HealthFact
from crewgate.core.tokens.grant import Grant
from crewgate.errors import LinkError
from crewgate.gateway.call.interfaces import DrawCallback
from crewgate.gateway.worker.pending_overruns import PendingOverruns
from crewgate.ipc import direct_send
from crewgate.ipc.attach_messages import (
    Attached,
    AttachRequest,
    AttachResponse,
    CreditDrawn,
    CutReport,
    DrawCredit,
    KeysRevoked,
    OverrunNoted,
    Reload,
    ReportOverrun,
    RequestFailed,
    WorkerAccepting,
    WorkerHealthReport,
    group_answers,
    pack,
    unpack,
)
from crewgate.ipc.handshake import AttachSession, attach

_log = logging.getLogger(__name__)


class AgentEvents(Protocol):
    """The worker, as its link sees it."""

    def attached(self, attached: Attached, table: int) -> None:
        """Use the table behind descriptor `table` under the number given; close the descriptor."""

    def revoked(self, pushed: KeysRevoked) -> CutReport:
        """Cut what was revoked, and say so."""

    def reload(self, generation: int) -> None:
        """Load the configuration of `generation`."""


class AgentConnection:
    """The link of worker `index` to the agent whose state is in `folder`."""

    def __init__(self, folder: Path, index: int, ears: AgentEvents) -> None:
        self._folder = folder
        self._index = index
        self._events = ears
        self._previous: Attached | None = None
        self._outbox: trio.MemorySendChannel[AttachRequest] | None = None
        self._descriptor = -1  # of the connection that `_outbox` is for
        self._questions: dict[int, tuple[DrawCredit, DrawCallback]] = {}
        self._away_since: float | None = None  # when an agent was lost that may have a successor
        self._last_id = 0
        self._pending_overruns = PendingOverruns()

    def __repr__(self) -> str:
        state = "attached" if self._outbox else "looking for the agent"
        return f"<AgentConnection worker {self._index} {state}>"

    async def run(self) -> None:
        """Attach, and attach again whenever the agent has been away; until cancelled."""
        self._away_since = trio.current_time()  # one that is started beside us comes in a moment
        while True:
            try:
                session = await trio.to_thread.run_sync(self._attach, abandon_on_cancel=True)
            except LinkError as error:
                if not self._is_expected():
                    _log.warning("%s", error)
                    self._give_up()
                await trio.sleep(limits.attach_again_seconds)
                continue
            self._previous = session.attached
            try:
                await self._converse(session)
            except LinkError as error:
                _log.warning("%s", error)
            finally:
                self._outbox, self._descriptor = None, -1
                self._away_since = trio.current_time()

    def ask(self, grant: Grant, need: int, answered: DrawCallback) -> None:
        """Ask for credit; `answered` is called once, with None if there is no answer.

        At once, if the agent does not keep up or has been away for long; else when the answer
        comes, and the agent answers everything in bounded time, or ends. What one agent has not
        answered its successor is asked again.
        """
        self._last_id += 1
        number = self._last_id
        draw = DrawCredit(id=number, grant=grant, need=need)
        is_waiting = self._outbox is None and self._is_expected()
        has_room = len(self._questions) < limits.link_draws_max
        if self._log(draw) or (is_waiting and has_room):
            self._questions[number] = draw, answered
        else:
            answered(None)

    def send_accepting(self, generation: int, *, accepting: bool) -> None:
        """Tell the agent that the listeners are open under this policy, or closed."""
        self._log(WorkerAccepting(accepting=accepting, policy_generation=generation))

    def send_health(self, facts: list[HealthFact]) -> None:
        """Tell the agent how this worker is; lost while the agent is away."""
        self._log(WorkerHealthReport(facts=facts))

    def send_overrun(self, request: bytes, grant: Grant, amount: int) -> None:
        """Tell the agent, until it has noted it, that an answer stated more than its call may cost.

        `request` is the call's id, 16 bytes that no other call ever has.
        """
        told = ReportOverrun(id=request, grant=grant, amount=amount)
        if self._pending_overruns.keep(told) and not self._log(told):
            self._pending_overruns.put_off(told)

    def _attach(self) -> AttachSession:
        return attach(self._folder, worker=self._index, answers_cuts=True, previous=self._previous)

    def _log(self, message: AttachRequest) -> bool:
        """Send or queue a message; False if it cannot be said: what must hold is in the table."""
        if self._outbox is None:
            return False
        # A writer that waits for the queue has sent all before, and its connection is open.
        is_first = self._outbox.statistics().tasks_waiting_receive
        if is_first and direct_send.send(self._descriptor, message):
            return True
        try:
            self._outbox.send_nowait(message)
        except (trio.WouldBlock, trio.BrokenResourceError):
            return False
        return True

    def _is_expected(self) -> bool:
        """An agent was there a moment ago, so the next one will be there in a moment."""
        since = self._away_since
        return since is not None and trio.current_time() - since < limits.agent_away_seconds

    def _give_up(self) -> None:
        """Answer all open questions with None: the agent is not coming back."""
        questions, self._questions = self._questions, {}
        for _, answered in questions.values():
            answered(None)

    def _ask_again(self) -> None:
        """Ask this agent what the one before has not answered; a draw may be asked twice."""
        for number, (draw, answered) in list(self._questions.items()):
            if not self._log(draw):
                del self._questions[number]
                answered(None)

    async def _converse(self, session: AttachSession) -> None:
        """Serve one connection; LinkError when it ends, since it is never meant to."""
        sender, receiver = trio.open_memory_channel[AttachRequest](limits.link_draws_max)
        self._outbox = sender
        self._descriptor = session.connection.fileno()
        self._pending_overruns.begin_again()
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(session.connection))
        failed: list[LinkError] = []
        async with stream, trio.open_nursery() as nursery:
            self._events.attached(session.attached, session.table)
            self._ask_again()
            for message in session.early:
                self._receive(message)
            nursery.start_soon(self._write, stream, receiver)
            try:
                await self._read(stream, session)
            except LinkError as error:
                failed.append(error)  # carried out by hand, so that it arrives as itself
            nursery.cancel_scope.cancel()
        raise failed[0] if failed else LinkError("the agent has ended the connection")

    async def _read(self, stream: trio.SocketStream, session: AttachSession) -> None:
        while True:
            try:
                data = await stream.receive_some(limits.receive_bytes)
            except trio.BrokenResourceError:
                return
            if not data:
                return
            for body in session.decoder.feed(data):
                self._receive(unpack(group_answers, body))

    async def _write(
        self, stream: trio.SocketStream, outbox: trio.MemoryReceiveChannel[AttachRequest]
    ) -> None:
        """Send what is queued; a broken connection is the reader's to notice."""
        try:
            await self._write_pending_overruns(stream)
            async for message in outbox:
                await stream.send_all(pack(message))
                await self._write_pending_overruns(stream)
        except trio.BrokenResourceError:
            return

    async def _write_pending_overruns(self, stream: trio.SocketStream) -> None:
        """Send what found no room in the queue, or was told to an agent that ended before."""
        while (told := self._pending_overruns.next()) is not None:
            await stream.send_all(pack(told))

    def _receive(self, message: AttachResponse) -> None:
        if isinstance(message, OverrunNoted):
            self._pending_overruns.noted(message.id)
        elif isinstance(message, KeysRevoked):
            self._log(self._events.revoked(message))
        elif isinstance(message, Reload):
            self._events.reload(message.generation)
        elif isinstance(message, (CreditDrawn, RequestFailed)):
            asked = self._questions.pop(message.id, None)
            if asked is not None:
                asked[1](message if isinstance(message, CreditDrawn) else None)
