"""The CA at work (`control/ca_service`), with somebody in place of the agent who hears of it."""

from datetime import UTC, datetime

import pytest
from control_world import ca_of, csr, identity

from crewgate.api.backend import CertificateRequest
from crewgate.ca.authority import read_request
from crewgate.ca.certificate_db import CertificateDB, CertificateRecord
from crewgate.config import Config
from crewgate.control.ca_service import CAService
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.core.x509.identity_extension import Identity, Role
from crewgate.errors import ControlError, ServiceConnectionError
from crewgate.ipc.admin_messages import RevocationReceipt

BD = identity(Role.ORCHESTRATOR, "bd-1", "bd")
ADA = identity(Role.OPERATOR, "ada")
EDGE = identity(Role.GATEWAY, "edge-1")


class Agent:
    """Hears what is announced; away if it is told to be, `dying` ends the process before it."""

    def __init__(self) -> None:
        self.told: list[tuple[list[str], list[str]]] = []
        self.by: list[str] = []
        self.away = self.dying = False

    @property
    def heard(self) -> tuple[list[str], list[str]]:
        """All serials and all names, in whatever steps."""
        serials = [each for told, _ in self.told for each in told]
        return serials, [each for _, more in self.told for each in more]

    def announce(
        self,
        register: CertificateDB,
        state: object,
        entries: list[CertificateRecord],
        more: tuple[RevocationTarget, ...] = (),
        by: str = "",
    ) -> RevocationReceipt:
        if self.dying:
            raise KeyboardInterrupt
        if self.away:
            raise ServiceConnectionError("away")
        self.by.append(by)
        self.told.append(([each.serial for each in entries], [each.name for each in more]))
        register.announced(each.serial for each in entries)
        return RevocationReceipt(connections_closed=len(entries))


def opened(config: Config) -> CAService:
    return CAService(ca_of(config), config.state, {crew.name for crew in config.crews})


def first(desk: CAService, who: Identity, **more: object) -> CertificateRecord:
    """A certificate as `crewgate ca issue` would sign it."""
    public = read_request(csr().encode())
    return desk.authority.issue(who, public, datetime.now(UTC), **more)  # type: ignore[arg-type]


def own(
    desk: CAService, who: Identity, entry: CertificateRecord, **changes: object
) -> CertificateRequest:
    return CertificateRequest(who, csr(), entry.serial, is_own=True, **changes)  # type: ignore[arg-type]


def status(desk: CAService, wish: CertificateRequest) -> int:
    """That of the refusal."""
    with pytest.raises(ControlError) as refused:
        desk.certify(wish)
    return refused.value.status
