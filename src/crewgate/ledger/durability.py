"""Whether a PostgreSQL server keeps what it has acknowledged, as far as it can be asked.

A grant that a server forgets is granted again. `single` trusts one server with fsync, and grants
nothing once that has become another one (its timeline changed: a failover), until a person has
looked. `synchronous` trusts a failover too, because a standby has every commit.
`trusted` asks nothing, at a start neither (`ledger.mark`).
"""

from collections.abc import Mapping
from typing import Any

import psycopg

from crewgate import limits
from crewgate.config import Durability

_STATE = """
    SELECT current_setting('fsync'), current_setting('synchronous_standby_names'),
        to_regclass('server') IS NOT NULL
"""
# The first eight digits of a WAL file's name are the timeline (PostgreSQL, "WAL Internals").
_TIMELINE = "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)"


def why_not(connection: psycopg.Connection[Any], durability: Durability) -> str:
    """Why nothing can be granted on this connection; empty if it can."""
    if durability == "trusted":
        return ""
    fsync, standbys, has_tables = _one(connection, _STATE)
    if fsync != "on":
        return 'fsync is off, so a crash forgets grants; turn it on, or say durability = "trusted"'
    if durability == "synchronous" and not standbys:
        return 'synchronous_standby_names is empty; name a standby, or say durability = "single"'
    return _timeline(connection, durability) if has_tables else ""


def is_standby(connection: psycopg.Connection[Any], durability: Durability) -> bool:
    """Whether the server takes no writes until it is promoted."""
    return durability != "trusted" and bool(_one(connection, "SELECT pg_is_in_recovery()")[0])


def another(connection: psycopg.Connection[Any], expected: str) -> str:
    """Why this is not the ledger of before; empty if it is, or none is expected."""
    if not expected:
        return ""
    query = "SELECT to_regclass('migration') IS NOT NULL"
    (has_tables,) = _one(connection, query)
    query = "SELECT ledger FROM migration WHERE version = 1"
    found = _one(connection, query)[0] if has_tables else "without tables"
    if found == expected:
        return ""
    return (
        f"is another ledger now ({found[:8]}, was {expected[:8]}): bring the old one back, or end "
        "the gateway and say `crewgate ledger accept`"
    )


def older(connection: psycopg.Connection[Any], counts: Mapping[str, int]) -> str:
    """Why this is an older copy of the ledger, by what it has counted of these holders."""
    query = "SELECT beat FROM holder WHERE name = %s"
    for holder, count in [*counts.items()]:
        row = connection.execute(query, (holder,)).fetchone()
        missing = count - (row[0] if row is not None else 0)
        if missing > 0:
            return (
                f"is older than it was: it lacks the last {missing} of {count} operations of "
                f"{holder}; bring the newer one back, or end the gateway and say `crewgate ledger "
                "accept`"
            )
    return ""


def accept(connection: psycopg.Connection[Any]) -> str:
    """Somebody has looked: this server is the one from now on; its timeline.

    Nor is it held against it that it may have lost the last operations of some holder.
    """
    with connection.transaction():
        connection.execute(
            "UPDATE holder SET beat = beat + %s", (limits.ledger_failover_operations_max,)
        )
        return _note_timeline(connection)


def _note_timeline(connection: psycopg.Connection[Any]) -> str:
    now = timeline(connection)
    with connection.transaction():
        connection.execute("DELETE FROM server")
        connection.execute("INSERT INTO server VALUES (%s)", (now,))
    return now


def timeline(connection: psycopg.Connection[Any]) -> str:
    """Eight hexadecimal digits that grow with every failover; of a primary alone."""
    (now,) = _one(connection, _TIMELINE)
    return str(now)


def _timeline(connection: psycopg.Connection[Any], durability: Durability) -> str:
    now = timeline(connection)
    found = connection.execute("SELECT timeline FROM server").fetchone()
    if found is not None and found[0] == now:
        return ""
    if found is None or durability == "synchronous":
        _note_timeline(connection)
        return ""
    return (
        f"its timeline was {found[0]} and is {now}: after a failover it may have forgotten grants; "
        "compare with `crewgate ledger reconcile`, then say `crewgate ledger resume`"
    )


def _one(connection: psycopg.Connection[Any], query: str) -> Any:  # noqa: ANN401 - a row
    row = connection.execute(query.encode()).fetchone()
    if row is None:
        raise psycopg.OperationalError("no answer to a question that has one")
    return row
