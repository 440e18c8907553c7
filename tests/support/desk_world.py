"""The CA at work (`control/ca_service`), with somebody in place of the agent who hears of it."""

from datetime import UTC, datetime

import pytest
from control_world import ca_of, csr, identity

from crewgate.api.backend import Wish
from crewgate.ca.authority import read_request
from crewgate.ca.certificate_db import Entry, Register
from crewgate.ca.propagation import Announced
from crewgate.config import Config
from crewgate.control.ca_service import Desk
from crewgate.core.x509.identity import Identity, Role
from crewgate.errors import ControlError, LinkError
from crewgate.ipc.admin_messages import Name

BD = identity(Role.ORCHESTRATOR, "bd-1", "bd")
ADA = identity(Role.OPERATOR, "ada")
EDGE = identity(Role.GATEWAY, "edge-1")


class Agent:
    """Hears what is announced; away if it is told to be, `dying` ends the process before it."""

    def __init__(self) -> None:
        self.told: list[tuple[list[str], list[str]]] = []
        self.away = self.dying = False

    @property
    def heard(self) -> tuple[list[str], list[str]]:
        """All serials and all names, in whatever steps."""
        serials = [each for told, _ in self.told for each in told]
        return serials, [each for _, more in self.told for each in more]

    def announce(
        self, register: Register, state: object, entries: list[Entry], more: tuple[Name, ...] = ()
    ) -> Announced:
        if self.dying:
            raise KeyboardInterrupt
        if self.away:
            raise LinkError("away")
        self.told.append(([each.serial for each in entries], [each.name for each in more]))
        register.announced(each.serial for each in entries)
        return Announced(connections_closed=len(entries))


def opened(config: Config) -> Desk:
    return Desk(ca_of(config), config.state, {crew.name for crew in config.crews})


def first(desk: Desk, who: Identity, **more: object) -> Entry:
    """A certificate as `crewgate ca issue` would sign it."""
    public = read_request(csr().encode())
    return desk.authority.issue(who, public, datetime.now(UTC), **more)  # type: ignore[arg-type]


def own(desk: Desk, who: Identity, entry: Entry, **changes: object) -> Wish:
    return Wish(who, csr(), entry.serial, is_own=True, **changes)  # type: ignore[arg-type]


def status(desk: Desk, wish: Wish) -> int:
    """That of the refusal."""
    with pytest.raises(ControlError) as refused:
        desk.certify(wish)
    return refused.value.status
