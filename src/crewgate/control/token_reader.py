"""Reads the claims of tokens that pass the gate's checks of form, key, time and ceilings.

The gate decides on a private table without branches and revocations, about a tool that does not
exist: if it refuses only because of the tool, or because a bound token comes without its key, the
token has passed every check before.
`TokenRevocationCheck` says what is revoked. Use it in one thread at a time.
"""

import logging

from crewgate._native import token as native
from crewgate._native.gate import Gate
from crewgate._native.records import TableCapacities
from crewgate._native.table_owner import OwnedTable
from crewgate.config import Config
from crewgate.core.reasons import Reason
from crewgate.core.tokens.claims import Claims
from crewgate.core.verdict import Denial
from crewgate.errors import ConfigurationError
from crewgate.policy.loader import key_files, load_policy
from crewgate.runtime.file_watch import FileWatch

_log = logging.getLogger(__name__)
_NO_TOOL = -1
# The gate asks for the key of a bound token once all else about the token is good.
_GOOD = {Reason.UNKNOWN_TOOL, Reason.INVALID_PROOF}
_SMALLEST = TableCapacities(64, 64, 64, 2)


class TokenReader:
    """Reads tokens with the crews' keys, which it loads again when their files change."""

    def __init__(self, config: Config) -> None:
        """Load the keys; if that fails, `read` tries again when a file has changed."""
        self._config = config
        self._watch = FileWatch(key_files(config))
        self._table = OwnedTable.private(_SMALLEST)
        self._gate = Gate(self._table)
        self._generation = 0
        self._load()

    def read(self, token: str) -> tuple[Claims, str] | None:
        """Return the claims of a valid token and the id of its key; None for any other token.

        If a changed key file cannot be used, the previous keys stay active, as at the gateways.
        ConfigurationError if there are none yet.
        """
        if self._watch.changed():
            self._load()
        if not self._generation:
            raise ConfigurationError("the crews' keys cannot be used; `crewgate check` says why")
        data = token.encode(errors="replace")
        verdict = self._gate.decide(data, _NO_TOOL)
        if not isinstance(verdict, Denial) or verdict.reason not in _GOOD:
            return None
        kid, _, payload, _ = native.split(data)
        return native.claims(payload), kid

    def sponsor_of(self, crew: str) -> str:
        """Return who answers for a crew, as the configuration says; empty if it does not."""
        return next((each.sponsor for each in self._config.crews if each.name == crew), "")

    def _load(self) -> None:
        try:
            policy = load_policy(self._config, self._generation + 1)
        except ConfigurationError as error:
            _log.warning("keeping the previous keys: %s", error)
            return
        self._generation += 1
        self._table.set_policy_generation(self._generation)
        self._gate.load(policy)
