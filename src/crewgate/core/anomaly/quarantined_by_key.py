"""Keeps the signing keys of quarantined orchestrators, under which a new name may be an alias.

The holder of a crew's key can write any `client_id` into a token, so a quarantine of one name alone
would have no effect.
"""

# Crew and orchestrator.
OrchestratorName = tuple[str, str]


class QuarantinedByKey:
    """The quarantined orchestrators that minted with each key, by crew and key id."""

    def __init__(self) -> None:
        self._held: dict[OrchestratorName, set[OrchestratorName]] = {}

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self._held

    def hold(self, name: OrchestratorName, kid: str) -> None:
        """Note that an orchestrator is quarantined and has minted with a key."""
        if kid:
            self._held.setdefault((name[0], kid), set()).add(name)

    def release(self, name: OrchestratorName) -> None:
        """Note that an orchestrator is not quarantined any more."""
        for key, names in list(self._held.items()):
            names.discard(name)
            if not names:
                del self._held[key]
