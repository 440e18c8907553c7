"""What machines that share a ledger tell each other: who wants credit back, and that some came.

A hint and no more: it says where to look, and the ledger says what is there. One that is lost costs
a wait, never credit.
"""

from collections.abc import Iterable, Sequence

import msgspec

from crewgate import limits
from crewgate.core.budget.ledger_protocol import (
    DrawLease,
    Operation,
    OperationResult,
    RecallTicket,
    ReturnCredit,
    SettleLease,
)
from crewgate.core.budget.ledger_state import LedgerState
from crewgate.errors import LedgerError


class CreditWanted(msgspec.Struct, frozen=True, tag="Wanted"):
    """Somebody holds a ticket for credit of this level, and `holder` is who asked."""

    level: bytes
    holder: str


class CreditReturned(msgspec.Struct, frozen=True, tag="Came"):
    """Credit came back, or it became known that some will not, where somebody waits for it."""

    holder: str


CreditNotification = CreditWanted | CreditReturned
_encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[CreditNotification] = msgspec.json.Decoder(CreditNotification)


def read(text: str) -> CreditNotification | None:
    """None for what a later Crewgate may say, or another program."""
    try:
        return _decoder.decode(text.encode())
    except (msgspec.DecodeError, ValueError):
        return None


class Notifier:
    """Words what a transaction means to others; the same want is not told again and again."""

    def __init__(self) -> None:
        self._told: dict[bytes, float] = {}

    def of(
        self,
        operations: Sequence[Operation],
        answers: Sequence[OperationResult | LedgerError],
        books: LedgerState,
        now: float,
    ) -> list[str]:
        """Texts for `SQLSession.publish`; `now` is the wall clock in seconds."""
        notification: list[CreditNotification] = [
            CreditWanted(answer.level, operation.holder)
            for operation, answer in zip(operations, answers, strict=True)
            if isinstance(operation, DrawLease)
            and not operation.ahead
            and isinstance(answer, RecallTicket)
            and self._is_due(answer.level, now)
        ]
        if any(account.queue.waiting for account in books.accounts.values()):
            notification += [CreditReturned(holder) for holder in sorted(_givers(operations))]
        return [_encode(each).decode() for each in notification]

    def _is_due(self, level: bytes, now: float) -> bool:
        again = limits.recall_again_seconds
        self._told = {key: at for key, at in self._told.items() if 0 <= now - at < again}
        return self._told.setdefault(level, now) == now


def _givers(operations: Iterable[Operation]) -> set[str]:
    return {each.holder for each in operations if isinstance(each, ReturnCredit | SettleLease)}
