"""The control process's view of the shared table: whether a token or certificate is revoked now.

Maps the table that the agent hands out, as any process of the machine does; reads it and nothing
else. While there is none, nobody can say that something is not revoked.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crewgate._native.table import Table
from crewgate.core.claims import Claims
from crewgate.core.ids import Kind, branch_key, crew_key, table_key
from crewgate.errors import LinkError, TableError
from crewgate.link.session import attach


class Sight:
    """The table of the agent whose state is in `folder`, mapped anew for each look.

    The methods raise LinkError while there is no agent. They block, for a millisecond.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __repr__(self) -> str:
        return f"<Sight of {self._folder}>"

    def is_dead(self, claims: Claims, kid: str) -> bool:
        """Whether a token is dead by anything that it names (DESIGN's table, check 5)."""
        crew, issued = claims.crew, claims.iat
        named = [
            (Kind.GRANT, claims.jti),
            (Kind.PROCESS, claims.process_id),
            (Kind.ORCHESTRATOR, claims.client_id),
            (Kind.KEY, kid),
        ]
        keys = [table_key(kind, crew, name.encode()) for kind, name in named]
        branches = [claims.execution_branch_id, *(each.id for each in claims.branch_path)]
        keys += [crew_key(crew), *(branch_key(crew, branch) for branch in branches)]
        with self._look() as table:
            return any(table.is_revoked(key, issued) for key in keys)

    @contextmanager
    def _look(self) -> Iterator[Table]:
        session = attach(self._folder)
        try:
            table = Table.attach(session.table)
        except TableError as error:
            raise LinkError(f"{self._folder}: the table cannot be read: {error}") from error
        finally:
            os.close(session.table)
            session.connection.close()
        try:
            yield table
        finally:
            table.close()
