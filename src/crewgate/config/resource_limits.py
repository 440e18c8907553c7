"""The tables [audit], [table] and [limits]: how much disk, memory and descriptors are used."""

from typing import Annotated, Literal

import msgspec

from crewgate import limits
from crewgate.config import values
from crewgate.config.declaration import Key
from crewgate.config.values import FilePath

OnFull = Literal["refuse", "continue"]
AuditSync = Literal["second", "each", "never"]


class AuditConfig(msgspec.Struct, frozen=True):
    """Where the audit files are, when they are rotated, and what happens when the disk is full."""

    folder: Annotated[
        FilePath,
        "Folder of the audit files.",
        Key(default=lambda scope: scope["state"] / "audit", absent="`audit` in the folder `state`"),
    ]
    rotate_bytes: Annotated[
        int,
        values.integer(limits.audit_rotate_bytes_min, limits.audit_rotate_bytes_max),
        "Size in bytes at which a new file begins.",
    ] = limits.audit_rotate_bytes
    rotate_seconds: Annotated[
        int, values.integer(1, limits.audit_rotate_seconds_max), "Age at which a new file begins."
    ] = limits.audit_rotate_seconds
    keep_bytes: Annotated[
        int | None,
        values.integer(limits.audit_keep_bytes_min, limits.audit_keep_bytes_max),
        "Delete the oldest files when all files together have more bytes than this.",
        Key(absent="all are kept"),
    ] = None
    on_full: Annotated[
        OnFull, 'When the disk is full, "refuse" calls, or "continue" without records.'
    ] = "refuse"
    sync: Annotated[
        AuditSync,
        'Lines that a power loss may take: those of the last "second", none ("each"), or all that '
        'the kernel has not written ("never").',
    ] = "second"


class TableConfig(msgspec.Struct, frozen=True):
    """The capacities of the shared table, powers of two; its creator allocates them in full."""

    branches: Annotated[
        int, values.capacity(limits.table_branches_max), "Branches that this machine can know."
    ] = limits.table_branches_default
    revocations: Annotated[
        int,
        values.capacity(limits.table_revocations_max),
        "Revocations that this machine can know.",
    ] = limits.table_revocations_default
    reservations: Annotated[
        int, values.capacity(limits.table_reservations_max), "Calls that can hold credit at once."
    ] = limits.table_reservations_max
    proofs: Annotated[
        int,
        values.capacity(limits.table_proofs_max, limits.table_proofs_min),
        "DPoP proofs that this machine can remember. A proof is remembered for about two minutes.",
    ] = limits.table_proofs_default


class LimitsConfig(msgspec.Struct, frozen=True):
    """Bounds of `limits` that the file may lower; a field has the name of its largest value there.

    `connections_max` is for one listener in one worker; 0 means as many as the descriptors allow.
    """

    credit_wait_seconds_max: Annotated[
        float,
        values.seconds(limits.credit_wait_seconds_max),
        "Longest time that a call waits for credit from the ledger.",
    ] = limits.credit_wait_seconds
    connections_max: Annotated[
        int,
        values.integer(1, limits.connections_max),
        "Connections of one listener in each worker. One client address gets four fifths at most.",
        Key(absent="as many as there are descriptors for"),
    ] = 0
    straight: Annotated[
        bool,
        "Carry simple calls and the bodies of responses by compiled code alone. With false, every "
        "call takes the longer way through Python, which has the same results.",
    ] = True
