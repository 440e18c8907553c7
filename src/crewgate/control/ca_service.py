"""Operates the CA for the control process: revokes and signs in steps that survive a crash.

After a crash, each step is done, not done, or stored as begun; `complete` finishes stored steps. A
full disk delays no revocation: what cannot be stored is in force at once, is kept in this process
and for the next one (`ca/unrecorded_revocations`), and is stored by `complete` and `catch_up` when
that is possible. The checks use what the CA knows (crew, rate, previous certificate); the control
API checks the client's rights. Blocks; use it in one thread at a time.
"""

import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from cryptography import x509

from crewgate import limits
from crewgate.api.backend import CertificateRequest
from crewgate.api.schemas import CertificateResponse, RevocationResponse
from crewgate.ca.authority import Authority, new_instance, read_request
from crewgate.ca.certificate_db import CertificateRecord
from crewgate.ca.certificates import pem
from crewgate.ca.decommission_intents import DecommissionIntent, DecommissionIntents
from crewgate.ca.machine_cert_renewal import next_chain
from crewgate.ca.revocation_propagation import announce
from crewgate.ca.unrecorded_revocations import unwritten_of
from crewgate.config import CAConfig
from crewgate.control.orchestrator_rate_limit import OrchestratorRateLimiter
from crewgate.control.renewed_certificate import hosts_of, life_of, server_of
from crewgate.control.responses import host, revoked
from crewgate.core import problem_types
from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.core.x509.certificate import serial_text
from crewgate.core.x509.identity_extension import Identity, Role, check
from crewgate.errors import (
    CAError,
    ControlError,
    CRLPublishError,
    ServiceConnectionError,
    ServiceRefusedError,
)
from crewgate.gossip.member_certificate_store import was_evicted
from crewgate.ipc.admin_messages import RevocationReceipt
from crewgate.lifecycle.orchestrator_runs import OrchestratorRunStore
from crewgate.runtime.cleanup import on_error
from crewgate.runtime.reserved_file import ReservedFile

_SUPERSEDED = "superseded"


class CAService:
    """Signs and revokes for `ca`; has the agent of `state` apply it. `crews`: all known crews."""

    def __init__(self, ca: CAConfig, state: Path, crews: Collection[str]) -> None:
        """Open the CA; CAError."""
        self._ca = ca
        self._state = state
        self._crews = crews
        self._branch_rate_limiter = OrchestratorRateLimiter("certificates of branches")
        self._intents = DecommissionIntents(ca.folder)
        # All services of this process for one register share this object.
        self.held = unwritten_of(ca.register)
        self.held.keep_in(ReservedFile(state / "unwritten", limits.unwritten_bytes_max))
        self.authority = Authority(ca)
        with on_error(self.authority.close):
            self._runs = OrchestratorRunStore(ca.register)

    def close(self) -> None:
        """Close the CA."""
        self._runs.close()
        self.authority.close()

    def revoke_certificate(self, serial: str, reason: str, by: str = "") -> RevocationResponse:
        """Revoke in the register, the CRL, the table and open connections; 404 if not issued.

        `by` is as in `AdminClient.revoke`.
        """
        entry = self.authority.register.find(serial)
        if entry is None:
            raise problem_types.NOT_FOUND.error("there is no such certificate")
        register, why = self.authority.register, ""
        try:
            ended = self.authority.revoke([entry.serial], reason, datetime.now(UTC))
        except CRLPublishError as error:
            why = str(error)
            ended = [each for each in map(register.find, error.serials) if each is not None]
        self.held.own.update(each.serial for each in ended)
        ended = ended or [entry]
        done = self._announce(ended, by=by)
        why = register.unwritten_reason or why
        target = RevocationTarget(EntityKind.CERTIFICATE, entry.serial, entry.crew)
        return revoked(target, done, ended, why)

    def revoke_orchestrator(
        self, crew: str, name: str, reason: str, by: str = ""
    ) -> RevocationResponse:
        """Revoke all its certificates, and all its tokens until now; store the intent first.

        If `crewgate run` runs it, the CA signs no certificate for it from now on, and the task that
        completes decommissions ends its process and removes its key: otherwise the process would
        get another certificate. An unavailable agent applies the revocation when it is back. `by`
        is as in `AdminClient.revoke`.
        """
        intent = DecommissionIntent(crew, name, reason, int(time.time()))
        self.held.forget_propagated(intent)
        why, runs = self._store(intent)
        try:
            unlisted = self._revoke_certificates(intent)
            entries, done = self._end(intent, by)
        finally:
            # Not earlier: the response counts the connections that this method closed.
            self.held.own_runs |= runs
        why = why or self.unwritten_reason or unlisted
        return revoked(_orchestrator(crew, name), done, entries, why)

    def _store(self, intent: DecommissionIntent) -> tuple[str, set[int]]:
        """Store an intent, and ask its run to stop; return why it is not stored, and the run's id.

        If it cannot be stored, this process keeps it.
        """
        stopped: set[int] = set()
        try:
            with OrchestratorRunStore(self._ca.register) as runs:
                run = runs.request_stop_if_running(intent.crew, intent.name, intent.since)
            stopped = set() if run is None else {run.id}
            self._intents.note(intent)
        except CAError as error:
            self.held.hold(intent, str(error))
            return str(error), stopped
        self.held.let_go(intent)
        return "", stopped

    def complete(self, patience: float = 0.0) -> None:
        """Finish what a crash or an unavailable agent left, and store what could not be stored.

        Certificates that another process revoked in the last `patience` seconds are left to that
        process: it is about to have the agent apply them, and its receipt counts what was closed.
        The agent gets each revocation that cannot be stored once (`unwritten_reason` says why).
        Raises CAError or ServiceConnectionError, and ServiceRefusedError after all other steps are
        done.
        """
        for intent in self.held.ends():
            _, runs = self._store(intent)
            self.held.own_runs |= runs
        with suppress(CAError):
            self.authority.register.flush()
        self.held.save_again()
        now = datetime.now(UTC).timestamp()
        pending = self.authority.register.pending()
        self.held.own &= {each.serial for each in pending}
        due = [
            each
            for each in pending
            if each.serial in self.held.own or not 0 <= now - (each.revoked or 0) < patience
        ]
        if due:
            announce(self.authority.register, self._state, due)
        refused, unlisted = [], ""
        for intent in [*self.held.ends(), *self._intents.open()]:
            unlisted = self._revoke_certificates(intent, unlisted)
            try:
                _, done = self._end(intent)
            except ServiceRefusedError as error:
                # The other intents go on.
                refused.append(error)
                continue
            if done is None:
                raise ServiceConnectionError(
                    f"the agent has not applied the revocation of {intent.crew}/{intent.name}"
                )
        if refused:
            raise refused[0]

    def has_runs(self) -> bool:
        """Return whether an orchestrator is running or ending; CAError."""
        return bool(self.held or self._runs.open())

    @property
    def unwritten_reason(self) -> str:
        """Why the register lacks revocations that are in force; empty if it lacks none."""
        return self.held.unwritten_reason

    def publish(self) -> None:
        """Sign a new CRL; CAError."""
        self.authority.publish(datetime.now(UTC))

    def catch_up(self) -> None:
        """Sign a new CRL if it lacks a revocation; CAError."""
        self.authority.catch_up(datetime.now(UTC))

    def _revoke_certificates(self, intent: DecommissionIntent, unlisted: str = "") -> str:
        """Revoke in the register and the CRL; return why the CRL lacks any, or "".

        If `unlisted` gives a reason already, do not try to write the CRL again.
        """
        now = datetime.now(UTC)
        self.authority.register.revoke_holder(
            intent.crew, intent.name, intent.reason, int(now.timestamp())
        )
        if not unlisted:
            try:
                self.authority.catch_up(now)
            except CAError as error:
                unlisted = str(error)
        return unlisted

    def _end(
        self, intent: DecommissionIntent, by: str = ""
    ) -> tuple[list[CertificateRecord], RevocationReceipt | None]:
        """Have the agent apply an intent; return the certificates, and the agent's receipt.

        This does not wait for a CRL that cannot be written: `catch_up` needs no intent.
        """
        named = (intent.crew, intent.name)
        entries = [
            each for each in self.authority.register.pending() if (each.crew, each.name) == named
        ]
        is_applied = self.held.is_propagated(intent) and not entries
        done = RevocationReceipt() if is_applied else self._propagate(intent, entries, by)
        if done is not None and not self.held.is_ending(*named) and not self.unwritten_reason:
            self._intents.done(intent)
            self.held.forget_propagated(intent)
        return entries, done

    def _propagate(
        self, intent: DecommissionIntent, entries: Sequence[CertificateRecord], by: str
    ) -> RevocationReceipt | None:
        """Return the agent's receipt; None if the agent is unavailable."""
        target = _orchestrator(intent.crew, intent.name)
        more = () if self.held.is_propagated(intent) else (target,)
        done = None
        # Mark it before: if another thread calls `forget_propagated` meanwhile, that call wins.
        self.held.mark_propagated(intent)
        try:
            done = self._announce(entries, more, by)
        finally:
            if done is None and more:
                self.held.forget_propagated(intent)
        return done

    def _announce(
        self,
        entries: Sequence[CertificateRecord],
        more: Sequence[RevocationTarget] = (),
        by: str = "",
    ) -> RevocationReceipt | None:
        try:
            return announce(self.authority.register, self._state, entries, more, by=by)
        except ServiceConnectionError:
            return None

    def certify(self, request: CertificateRequest) -> CertificateResponse:
        """Issue a certificate; ControlError says what is wrong with the request."""
        now = datetime.now(UTC)
        before = self._entry_of(request.by)
        identity = self._identity(request, before)
        if identity.role is Role.AGENT:
            self._branch_rate_limiter.take(identity.crew, identity.name)
        else:
            self._check_rate(identity, int(now.timestamp()))
        if request.until is not None and request.until <= now.timestamp():
            raise problem_types.INVALID_REQUEST.error(
                "branch_token: the token has expired; refresh it first"
            )
        try:
            public = read_request(request.request.encode())
            hosts = hosts_of(before) if request.is_own else [host(each) for each in request.hosts]
        except CAError as error:
            raise problem_types.INVALID_REQUEST.error(str(error)) from error
        life_seconds = request.life_seconds
        if request.is_own and identity.role is Role.GATEWAY:
            self._refuse_evicted(before)
            life_seconds = life_seconds or life_of(before)
        entry = self.authority.issue(
            identity, public, now, life_seconds=life_seconds, hosts=hosts, until=request.until
        )
        self._check_again(request.by, entry, now)
        return CertificateResponse(
            serial=entry.serial,
            certificate=self.authority.chain(entry).decode(),
            not_before=entry.not_before,
            not_after=entry.not_after,
            holder=entry.label,
        )

    def certify_server(self, request: str, before: str, by: str) -> CertificateResponse:
        """Renew a server certificate; ControlError says what is wrong with the request.

        The signature of the CSR proves that the client has the certificate's key.
        """
        now = datetime.now(UTC)
        self._refuse_evicted(self._entry_of(by))
        try:
            leaf = server_of(request, before, now)
            new = self.authority.renew_server(leaf, now)
        except CAError as error:
            raise problem_types.INVALID_REQUEST.error(str(error)) from error
        return CertificateResponse(
            serial=serial_text(new.serial_number),
            certificate=(pem(new) + self.authority.issuing.certificate_pem).decode(),
            not_before=int(new.not_valid_before_utc.timestamp()),
            not_after=int(new.not_valid_after_utc.timestamp()),
        )

    def next_chain(self, leaf: x509.Certificate) -> bytes:
        """Return the next certificate (PEM) after `leaf`, whose key is here; CAError."""
        return next_chain(self.authority, leaf, datetime.now(UTC))

    def _refuse_evicted(self, entry: CertificateRecord) -> None:
        """ControlError for an evicted machine: a new certificate would make it a member again."""
        if was_evicted(self._state, entry.role, entry.name, entry.issued, int(time.time())):
            raise problem_types.NOT_PERMITTED.error(
                f"{entry.label} was evicted from the cluster; ask the operator of the CA for a new "
                "certificate"
            )

    def _identity(self, request: CertificateRequest, before: CertificateRecord) -> Identity:
        identity = request.identity
        if not identity.instance:
            identity = msgspec.structs.replace(identity, instance=new_instance())
        try:
            check(identity)
        except ValueError as error:
            raise problem_types.INVALID_REQUEST.error(str(error)) from error
        if self.held.is_ending(identity.crew, identity.name):
            raise CAError("no new certificates: the orchestrator is being decommissioned")
        if identity.crew and identity.crew not in self._crews:
            raise problem_types.NOT_FOUND.error("there is no such crew")
        if request.hosts and (request.is_own or identity.role is not Role.GATEWAY):
            raise problem_types.INVALID_REQUEST.error(
                "hosts: only for another gateway's certificate"
            )
        life_max = self._ca.life_seconds
        if identity.role is Role.GATEWAY:
            life_max = max(life_max, life_of(before))
        if request.is_own and request.life_seconds is not None and request.life_seconds > life_max:
            raise problem_types.INVALID_REQUEST.error(
                f"life_seconds: at most {life_max} to renew your own certificate"
            )
        return identity

    def _check_rate(self, identity: Identity, now: int) -> None:
        hourly_max = limits.certificates_per_hour_max
        issued = self.authority.register.issued_since(identity.crew, identity.name, now - 3600)
        if issued >= hourly_max:
            raise problem_types.TOO_MANY_CERTIFICATES.error(
                f"{identity.label} got {hourly_max} certificates in the last hour, the maximum; "
                "renew a certificate at half of its lifetime"
            )

    def _entry_of(self, serial: str) -> CertificateRecord:
        return check_good(self.authority.register.find(serial), time.time())

    def _check_again(self, by: str, entry: CertificateRecord, now: datetime) -> None:
        """Revoke a certificate that was just issued if another process revoked `by` meanwhile.

        A decommission is one transaction of the register: it revokes the new certificate as well,
        or it came before the new certificate, and then `by` is revoked here.
        """
        try:
            self._entry_of(by)
        except ControlError:
            self.held.own.add(entry.serial)
            self.authority.revoke([entry.serial], _SUPERSEDED, now)
            raise


def _orchestrator(crew: str, name: str) -> RevocationTarget:
    return RevocationTarget(EntityKind.ORCHESTRATOR, f"{crew}/{name}", crew)


def check_good(entry: CertificateRecord | None, now: float) -> CertificateRecord:
    """Return the record of a certificate that its dates and the register call valid.

    ControlError 401 for any other certificate.
    """
    status = "unknown" if entry is None else entry.status(now)
    if entry is None or status != "valid":
        raise problem_types.CERTIFICATE_NOT_VALID.error(f"the client certificate is {status}")
    return entry
