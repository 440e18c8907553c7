"""Checks that a PostgreSQL server keeps what it acknowledges, as `[ledger] durability` requires.

A server that forgets a grant would grant the same credit again.

- `single` trusts one server with fsync. After a failover (the server's timeline has changed), the
  machine draws nothing until a person runs `crewgate ledger resume`.
- `synchronous` also trusts a failover, because a standby has every commit.
- `trusted` requires nothing, also not that a start finds all operations (`mark_file`).
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
    """Return why the ledger must grant nothing on this connection; "" if it may."""
    if durability == "trusted":
        return ""
    fsync, standbys, has_tables = _one(connection, _STATE)
    if fsync != "on":
        return (
            "fsync is off, so the server forgets grants in a crash; turn it on, or set "
            'durability = "trusted"'
        )
    if durability == "synchronous" and not standbys:
        return 'synchronous_standby_names is empty; name a standby, or set durability = "single"'
    return _timeline(connection, durability) if has_tables else ""


def is_standby(connection: psycopg.Connection[Any], durability: Durability) -> bool:
    """Return whether the server is a standby, which takes no writes until it is promoted.

    Always False with `trusted`, which asks no server.
    """
    return durability != "trusted" and bool(_one(connection, "SELECT pg_is_in_recovery()")[0])


def another(connection: psycopg.Connection[Any], expected: str) -> str:
    """Return why this is another ledger than `expected`; "" if it is that, or none is expected."""
    if not expected:
        return ""
    query = "SELECT to_regclass('migration') IS NOT NULL"
    (has_tables,) = _one(connection, query)
    query = "SELECT ledger FROM migration WHERE version = 1"
    found = _one(connection, query)[0] if has_tables else "without tables"
    if found == expected:
        return ""
    return (
        f"this is another ledger now ({found[:8]}, was {expected[:8]}); bring the old one back, or "
        "stop the gateway and run `crewgate ledger accept`"
    )


def older(connection: psycopg.Connection[Any], counts: Mapping[str, int]) -> str:
    """Return why this ledger is an older copy; "" if it has counted as many operations as known.

    `counts` are the operations that it has acknowledged, by holder.
    """
    query = "SELECT beat FROM holder WHERE name = %s"
    for holder, count in [*counts.items()]:
        row = connection.execute(query, (holder,)).fetchone()
        missing = count - (row[0] if row is not None else 0)
        if missing > 0:
            return (
                f"this ledger is an older copy: it lacks the last {missing} of {count} operations "
                f"of {holder}; bring the newer one back, or stop the gateway and run `crewgate "
                "ledger accept`"
            )
    return ""


def accept(connection: psycopg.Connection[Any]) -> str:
    """Accept this server as the ledger from now on, and return its timeline.

    Every holder's count grows by `limits.ledger_failover_operations_max`, so that operations which
    the failover has lost do not make this ledger an older copy.
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
    """Return eight hexadecimal digits that grow with every failover; only a primary has them."""
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
        f"its timeline was {found[0]} and is {now}: a failover may have lost grants; compare with "
        "`crewgate ledger reconcile`, then run `crewgate ledger resume`"
    )


def _one(connection: psycopg.Connection[Any], query: str) -> Any:  # noqa: ANN401 - a row
    row = connection.execute(query.encode()).fetchone()
    if row is None:
        raise psycopg.OperationalError(f"the server returned no row for: {query.strip()}")
    return row
