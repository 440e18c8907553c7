"""An attachment whose one thread waits for its own answers; it keeps what else arrives."""

import time

from crewgate.core.tokens.grant import Grant
from crewgate.errors import ServiceConnectionError
from crewgate.ipc.attach_messages import CreditDrawn, Reload, RequestFailed, RevocationNotice
from crewgate.ipc.embedder_attachment import EmbedderAttachment
from crewgate.ipc.handshake import AttachedConnection


class BlockingAttachment(EmbedderAttachment):
    def __init__(self, session: AttachedConnection) -> None:
        super().__init__(session)
        self._pushed: list[RevocationNotice | Reload] = []

    def draw(self, grant: Grant, need: int, seconds: float) -> CreditDrawn | None:
        """Ask for credit, and wait for the answer; None if none comes."""
        number, end = self.request_draw(grant, need), time.monotonic() + seconds
        answer: CreditDrawn | RequestFailed | None = None
        while answer is None and (left := end - time.monotonic()) > 0:
            answer = self._receive(left).get(number)
        if isinstance(answer, RequestFailed):
            raise ServiceConnectionError(answer.message)
        return answer

    def poll(self, seconds: float = 0) -> list[RevocationNotice | Reload]:
        """What the agent has pushed since the last call."""
        if not self._pushed:
            self._receive(seconds)
        pushed, self._pushed = self._pushed, []
        return pushed

    def _receive(self, seconds: float) -> dict[int, CreditDrawn | RequestFailed]:
        answers = {}
        for message in self.listen(seconds):
            if isinstance(message, RevocationNotice | Reload):
                self._pushed.append(message)
            else:
                answers[message.id] = message
        return answers
