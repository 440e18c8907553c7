"""The messages of the admin socket about what is revoked; see `admin_messages`."""

from typing import Annotated

import msgspec
from msgspec import Meta

from crewgate import limits
from crewgate.ipc.attach_messages import Count, Id

_Seconds = Annotated[int, Meta(ge=0, le=limits.time_seconds_max)]


class GetRevocations(msgspec.Struct, frozen=True, tag="ask-revocations"):
    """A client asks for the newest `limit` revocations in force. Answer: `RevocationsPage`s.

    With `crew`, only for those of a crew and of its accounts at other crews.
    """

    id: Id
    crew: Annotated[str, Meta(max_length=limits.claim_chars_max)] = ""
    limit: Annotated[int, Meta(ge=0, le=limits.revocation_rows_max)] = (
        limits.revocation_rows_default
    )


class RevocationRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """One revocation, as a machine knows it.

    - `key` is its key in the table, in hexadecimal; `kind` is the label of its kind.
    - `name` is that of the target, and `crew` its crew: empty if the machine knows only the key. A
      subject, a certificate or an orchestrator may have no crew.
    - `role` is that of a branch, if the machine has seen the branch.
    - `at` is when it was ordered, `expires` when the table forgets it, both in seconds since 1970;
      0 if unknown. Tokens issued until `before` are revoked; 0 stands for all tokens.
    - `by` is the holder of a certificate (`operator/ada`), `owner` for a person or a program on the
      machine, `overrun`, or `gateway/NAME` on a machine that has it from another one. `reason` is
      the text that it was ordered with. Only the `origin`, the machine on which it was ordered,
      knows them.
    - `coarsened`: it revokes all tokens of the crew, because the crew's share of the table is full.
    """

    key: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
    kind: str
    name: str = ""
    crew: str = ""
    role: str = ""
    at: _Seconds = 0
    expires: _Seconds = 0
    before: _Seconds = 0
    by: str = ""
    reason: str = ""
    origin: str = ""
    coarsened: bool = False


class RevocationsPage(msgspec.Struct, frozen=True, tag="revocations-page"):
    """The agent answers `GetRevocations` with such pages, the oldest row first; `last` is the end.

    `total` is the number of the revocations that match, listed or not.
    """

    id: Id
    rows: list[RevocationRow]
    last: bool
    total: Count = 0
