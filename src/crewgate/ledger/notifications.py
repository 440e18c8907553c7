"""Notifications between machines that share a ledger: credit is wanted, or credit came back.

A notification is a hint and carries no credit: it says where to look, and the ledger says what is
there. A lost one costs a wait, never credit.
"""

from collections.abc import Sequence

import msgspec

from crewgate import limits
from crewgate.core.budget.ledger_protocol import (
    DrawLease,
    DrawQueued,
    Operation,
    OperationResult,
    ReportLeaseUsage,
    ReturnCredit,
)
from crewgate.core.budget.ledger_state import LedgerState
from crewgate.errors import InvalidLedgerOperationError


class CreditWanted(msgspec.Struct, frozen=True, tag="Wanted"):
    """`holder` has a ticket for credit of this level; the other machines give idle credit back."""

    level: bytes
    holder: str


class CreditReturned(msgspec.Struct, frozen=True, tag="Came"):
    """`holder` returned credit of a level where a draw waits, or reported that some is spent.

    A machine with a waiting draw asks the ledger again.
    """

    holder: str


CreditNotification = CreditWanted | CreditReturned
_encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[CreditNotification] = msgspec.json.Decoder(CreditNotification)


def read(text: str) -> CreditNotification | None:
    """Return the notification; None for one of a later Crewgate, or of another program."""
    try:
        return _decoder.decode(text.encode())
    except (msgspec.DecodeError, ValueError):
        return None


class NotificationBuilder:
    """Makes the notifications of a transaction; repeats a wish for credit only after a pause."""

    def __init__(self) -> None:
        self._published: dict[bytes, float] = {}

    def of(
        self,
        operations: Sequence[Operation],
        answers: Sequence[OperationResult | InvalidLedgerOperationError],
        state: LedgerState,
        now: float,
    ) -> list[str]:
        """Return the texts for `SQLSession.publish`; `now` is the wall clock in seconds."""
        notifications: list[CreditNotification] = [
            CreditWanted(answer.level, operation.holder)
            for operation, answer in zip(operations, answers, strict=True)
            if isinstance(operation, DrawLease)
            and not operation.ahead
            and isinstance(answer, DrawQueued)
            and self._is_due(answer.level, now)
        ]
        if any(account.queue.waiting for account in state.accounts.values()):
            returns = (
                each for each in operations if isinstance(each, ReturnCredit | ReportLeaseUsage)
            )
            notifications += map(CreditReturned, sorted({each.holder for each in returns}))
        return [_encode(each).decode() for each in notifications]

    def _is_due(self, level: bytes, now: float) -> bool:
        again = limits.recall_again_seconds
        self._published = {key: at for key, at in self._published.items() if 0 <= now - at < again}
        return self._published.setdefault(level, now) == now
