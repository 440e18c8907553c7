"""What a token says, if gateways would take it: the gate's own checks of form, key, time, ceilings.

The gate decides on a table of its own that has no branch and no revocation, about a tool that does
not exist: a token that gets as far as that has passed every check before.
What is revoked is for `TableView` to say. Use it in one thread at a time.
"""

import logging

from crewgate._native import token as native
from crewgate._native.gate import Gate
from crewgate._native.records import Geometry
from crewgate._native.table_owner import OwnedTable
from crewgate.config import Config
from crewgate.core.problem_types import Reason
from crewgate.core.tokens.claims import Claims
from crewgate.core.verdict import Denial
from crewgate.errors import ConfigurationError
from crewgate.policy.loader import key_files, load_policy
from crewgate.runtime.file_watch import FileWatch

_log = logging.getLogger(__name__)
_NO_TOOL = -1
_SMALLEST = Geometry(64, 64, 64, 2)


class TokenReader:
    """Reads tokens by a configuration and the crews' keys as they are in their files now."""

    def __init__(self, config: Config) -> None:
        """Keys that cannot be used yet do not keep the rest of the process from its work."""
        self._config = config
        self._watch = FileWatch(key_files(config))
        self._table = OwnedTable.private(_SMALLEST)
        self._gate = Gate(self._table)
        self._generation = 0
        self._try()

    def read(self, token: str) -> tuple[Claims, str] | None:
        """The claims of a good token and the id of its key; None for any other.

        A key file that cannot be used is no news: the keys before stay, as at the gateways.
        ConfigurationError while there were none.
        """
        if self._watch.changed():
            self._try()
        if not self._generation:
            raise ConfigurationError("the crews' keys cannot be used; `crewgate check` says why")
        data = token.encode(errors="replace")
        verdict = self._gate.decide(data, _NO_TOOL)
        if not isinstance(verdict, Denial) or verdict.reason is not Reason.UNKNOWN_TOOL:
            return None
        kid, _, payload, _ = native.split(data)
        return native.claims(payload), kid

    def _try(self) -> None:
        try:
            self._load()
        except ConfigurationError as error:
            _log.warning("the keys before stay: %s", error)

    def _load(self) -> None:
        policy = load_policy(self._config, self._generation + 1)
        self._generation += 1
        self._table.set_policy_generation(self._generation)
        self._gate.load(policy)
