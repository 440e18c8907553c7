"""The control API over a fake office: who asks is put into the scope, as the edge puts it there."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from crewgate.api.app import make_app
from crewgate.api.backend import CertificateRequest, IssuedCertificateOwner, TokenRequest
from crewgate.api.branch_tree_snapshot import BranchTreeSnapshot
from crewgate.api.schemas import (
    BranchResponse,
    CertificateResponse,
    HealthResponse,
    IntrospectionResponse,
    MachinesResponse,
    RevocationResponse,
    RevocationsResponse,
    TokenResponse,
)
from crewgate.control.responses import revoked
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.core.x509.identity_extension import Identity, Role
from crewgate.errors import CrewgateError
from crewgate.ipc.admin_messages import RevocationReceipt, Until
from crewgate.server.request import ClientInfo

BD_RUN = "0199c1d2-0000-7000-8000-0000000000b1"
BD_CHILD = "0199c1d2-0000-7000-8000-0000000000b2"
FINANCE_RUN = "0199c1d2-0000-7000-8000-0000000000f1"
BOTH = "0199c1d2-0000-7000-8000-00000000000b"  # an id that both crews have
FORM = {"content-type": "application/x-www-form-urlencoded"}


def who(role: Role, name: str, crew: str = "") -> Identity:
    return Identity(role, name, bytes(16), crew)


OPERATOR = who(Role.OPERATOR, "ada")
GATEWAY = who(Role.GATEWAY, "edge-1")
BD = who(Role.ORCHESTRATOR, "bd-1", "bd")
BD_AGENT = who(Role.AGENT, "bd-1", "bd")
BD_OTHER = who(Role.ORCHESTRATOR, "bd-2", "bd")
FINANCE = who(Role.ORCHESTRATOR, "fin-1", "finance")
SERIALS = {
    "0B": IssuedCertificateOwner("bd", "bd-1"),
    "0F": IssuedCertificateOwner("finance", "fin-1"),
    "0E": IssuedCertificateOwner("", "edge-1"),
}


def rows() -> list[BranchResponse]:
    def row(crew: str, branch: str = "", parent: str = "") -> BranchResponse:
        return BranchResponse(crew=crew, branch=branch, state="live", parent=parent)

    return [
        row("bd"),
        row("bd", BD_RUN),
        row("bd", BD_CHILD, BD_RUN),
        row("bd", BOTH),
        row("finance"),
        row("finance", FINANCE_RUN),
        row("finance", BOTH),
    ]


class FakeOffice:
    """Does what it is asked, and remembers it; raises `error` instead if there is one."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.error: Exception | None = None
        self.refusal: CrewgateError | None = None  # of the certificate of the connection
        self.snapshot = BranchTreeSnapshot(rows())
        self.checked: list[str] = []
        self.revoked_by: list[str] = []
        self.reasons: list[str] = []

    def note(self, *what: Any) -> None:
        if self.error is not None:
            raise self.error
        self.asked.append(what)

    async def check(self, serial: str) -> None:
        self.checked.append(serial)
        if self.refusal is not None:
            raise self.refusal

    async def revoke(
        self, target: RevocationTarget, until: Until, by: str, reason: str = ""
    ) -> RevocationResponse:
        self.revoked_by.append(by)
        self.reasons.append(reason)
        self.note(f"revoke_{target.rules.label}", target.name, target.crew)
        return revoked(target, RevocationReceipt())

    async def revoke_certificate(self, serial: str, reason: str, by: str) -> RevocationResponse:
        self.revoked_by.append(by)
        self.note("revoke_certificate", serial, reason)
        return RevocationResponse(target="certificate", id=serial, crew="bd")

    async def revoke_orchestrator(
        self, crew: str, name: str, reason: str, by: str
    ) -> RevocationResponse:
        self.revoked_by.append(by)
        self.note("revoke_orchestrator", crew, name, reason)
        return RevocationResponse(target="orchestrator", id=f"{crew}/{name}", crew=crew)

    async def holder(self, serial: str) -> IssuedCertificateOwner | None:
        return SERIALS.get(serial)

    async def knows(self, crew: str, name: str) -> bool:
        return IssuedCertificateOwner(crew, name) in SERIALS.values()

    async def revocations(self, crew: str, rows_max: int, machine: str = "") -> RevocationsResponse:
        self.note("revocations", crew, rows_max, machine)
        return RevocationsResponse(revocations=[], total=0)

    async def tree(self, machine: str = "") -> BranchTreeSnapshot:
        self.note("tree", *([machine] if machine else []))
        return self.snapshot

    async def audit(self, query: Mapping[str, str]) -> bytes:
        self.note("audit", dict(query))
        return b"{}"

    async def machines(self, machine: str = "") -> MachinesResponse:
        self.note("machines", machine)
        return MachinesResponse(machines=[])

    def claims_known_provider(self, token: str) -> bool:
        return token.startswith("of-a-provider")

    async def start_run(self, crew: str, name: str, grant: TokenRequest) -> TokenResponse:
        self.note("start_run", crew, name, grant)
        return token_answer()

    async def spawn(self, crew: str, name: str, parent: str, grant: TokenRequest) -> TokenResponse:
        self.note("spawn", crew, name, parent, grant)
        return token_answer()

    async def refresh(self, crew: str, name: str, token: str, grant: TokenRequest) -> TokenResponse:
        self.note("refresh", crew, name, token, grant)
        return token_answer()

    async def introspect(self, token: str) -> IntrospectionResponse:
        self.note("introspect", token)
        return IntrospectionResponse(
            active=True, crew="bd", client_id="bd/bd-1", branch=BD_CHILD, exp=900
        )

    async def certify(self, wish: CertificateRequest) -> CertificateResponse:
        self.note("certify", wish)
        return CertificateResponse(serial="0C", certificate="PEM", not_before=0, not_after=1)

    async def certify_server(self, request: str, before: str, by: str) -> CertificateResponse:
        self.note("certify_server", request, before, by)
        return CertificateResponse(serial="0D", certificate="PEM", not_before=0, not_after=1)

    async def ocsp(self, request: bytes) -> bytes:
        self.note("ocsp", request)
        return b"der"

    async def ocsp_path(self, tail: str) -> bytes:
        self.note("ocsp_path", tail)
        return b"der"

    async def crl(self) -> bytes:
        self.note("crl")
        return b"pem"

    async def health(self) -> HealthResponse:
        self.note("health")
        return HealthResponse(status="ok")


def token_answer() -> TokenResponse:
    return TokenResponse(
        access_token="a.b.c",
        token_type="Bearer",
        expires_in=900,
        scope="x",
        branch=BD_RUN,
        grant="g",
    )


class Desk:
    """Clients of the application, each with a certificate."""

    def __init__(self, office: FakeOffice | None = None) -> None:
        self.office = office or FakeOffice()
        self.deeds: list[str] = []
        self.app = make_app(self.office, self.deeds.append)

    async def ask(
        self, caller: Identity | None, method: str, path: str, **how: Any
    ) -> httpx.Response:
        """One request; `form=` is sent as a form in the order of its pairs."""
        form: Sequence[tuple[str, str]] | dict[str, str] | None = how.pop("form", None)
        if form is not None:
            pairs = list(form.items()) if isinstance(form, dict) else form
            how["content"] = str(httpx.QueryParams(pairs)).encode()
            how["headers"] = {**FORM, **how.get("headers", {})}

        async def with_peer(scope: Any, receive: Any, send: Any) -> None:
            scope["state"] = {"peer": ClientInfo("192.0.2.1", 1, identity=caller, serial=0x0B)}
            await self.app(scope, receive, send)

        transport = httpx.ASGITransport(with_peer, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="https://control") as client:
            return await client.request(method, path, **how)
