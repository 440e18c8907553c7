"""The draws that the agent has not answered yet: at most one per branch.

Any number of calls may wait for a draw. Its answer wakes them, and each asks the gate again, which
reads from the table whether there is credit. Sending a draw never blocks. For calls that do not
wait, the last answer that did not open a branch is remembered.
"""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from crewgate import limits
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import DRAW_REASONS
from crewgate.errors import ServiceConnectionError
from crewgate.ipc.attach_messages import CreditDrawn, Reload, RequestFailed, RevocationNotice
from crewgate.ipc.embedder_attachment import EmbedderAttachment
from crewgate.leases.branch_opening import DrawResult
from crewgate.verifier.waiters import DrawWaiter


@dataclass(slots=True)
class _Draw:
    """A draw of `need` that was sent; after `until` (monotonic clock, s) its answer is given up."""

    grant: Grant
    need: int
    until: float
    waiters: list[tuple[DrawWaiter, Grant, int]] = field(default_factory=list)

    def end(self, status: DrawResult | None) -> None:
        """Wake all that wait. A call with another grant or need must draw by itself if refused."""
        for waiter, grant, need in self.waiters:
            is_same = need == self.need and grant == self.grant
            waiter.notify(status if is_same or status is None else DrawResult.GRANTED)


class PendingDraws:
    """The pending draws of one attachment; without an attachment, nothing can be drawn."""

    def __init__(self, attachment: EmbedderAttachment | None) -> None:
        self._attachment = attachment
        self._lock = threading.Lock()
        self._by_branch: dict[bytes, int] = {}
        self._sent: dict[int, _Draw] = {}
        self._unopened: dict[bytes, DrawResult] = {}  # by branch, the oldest first

    def start(self, grant: Grant, need: int, waiter: DrawWaiter | None = None) -> bool:
        """Draw for the grant's branch unless a draw is under way; False if that is not possible.

        The draw under way may be for another grant or amount, so a call that waited must ask the
        gate again.
        """
        with self._lock:
            draw = self._sent.get(self._by_branch.get(grant.branch_key, 0))
            if draw is None or draw.until < time.monotonic():
                draw = self._send(grant, need, draw)
            if draw is None:
                return False
            if waiter is not None:
                draw.waiters.append((waiter, grant, need))
            return True

    def answer(
        self, messages: Iterable[CreditDrawn | RequestFailed | RevocationNotice | Reload]
    ) -> None:
        """Wake the calls that wait for the draws that these messages answer."""
        for message in messages:
            if isinstance(message, CreditDrawn | RequestFailed):
                status = DrawResult(message.status) if isinstance(message, CreditDrawn) else None
                with self._lock:
                    draw = self._forget(message.id)
                    if draw is not None:
                        self._note(draw.grant.branch_key, status)
                if draw is not None:
                    draw.end(status)

    def last_refusal(self, branch: bytes) -> DrawResult | None:
        """Return how the last draw of a branch ended if it did not open the branch."""
        return self._unopened.get(branch)

    def end(self) -> None:
        """Wake all that wait, because the attachment is gone and will answer no draw."""
        with self._lock:
            self._attachment = None
            draws = list(self._sent.values())
            self._sent.clear()
            self._by_branch.clear()
        for draw in draws:
            draw.end(None)

    def _send(self, grant: Grant, need: int, overdue: _Draw | None) -> _Draw | None:
        if overdue is None and len(self._sent) >= limits.ipc_draws_max:
            return None
        try:
            number = self._attachment.request_draw(grant, need) if self._attachment else 0
        except ServiceConnectionError:  # the listening thread gets the same error, and handles it
            number = 0
        if not number:
            return None
        draw = _Draw(grant, need, time.monotonic() + limits.ipc_seconds_max)
        if overdue is not None:
            draw.waiters = overdue.waiters
            self._forget(self._by_branch[grant.branch_key])
        self._sent[number] = draw
        self._by_branch[grant.branch_key] = number
        return draw

    def _forget(self, number: int) -> _Draw | None:
        draw = self._sent.pop(number, None)
        if draw is not None:
            self._by_branch.pop(draw.grant.branch_key, None)
        return draw

    def _note(self, branch: bytes, status: DrawResult | None) -> None:
        self._unopened.pop(branch, None)
        if status is not None and status.value in DRAW_REASONS:
            if len(self._unopened) >= limits.unopened_branches_max:
                del self._unopened[next(iter(self._unopened))]
            self._unopened[branch] = status
