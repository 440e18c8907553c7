"""The keys of those who are quarantined: a new name under one of them would be an alias.

Whoever holds a crew's key may write any `client_id`, so a quarantine of a name alone holds nobody.
"""

OrchestratorName = tuple[str, str]  # crew, orchestrator


class QuarantinedKeys:
    """By crew and key, who is quarantined and minted with it."""

    def __init__(self) -> None:
        self._held: dict[OrchestratorName, set[OrchestratorName]] = {}

    def __repr__(self) -> str:
        return f"<QuarantinedKeys keys={len(self._held)}>"

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self._held

    def hold(self, name: OrchestratorName, kid: str) -> None:
        """It is quarantined, and has minted with that key."""
        if kid:
            self._held.setdefault((name[0], kid), set()).add(name)

    def release(self, name: OrchestratorName) -> None:
        """It is not, whatever it has minted with."""
        for key, names in list(self._held.items()):
            names.discard(name)
            if not names:
                del self._held[key]
