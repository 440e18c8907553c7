"""The CA at work for the control process: revoke in whole steps, and sign for whoever may have it.

Each method is one step that a crash leaves done, undone, or noted as begun; `complete` finishes
what was noted. A disk that takes nothing keeps no revocation from the gateway: what could not be
written down is in force, kept in this process and for the next one (`ca/unrecorded_revocations`),
and written by `complete` and `catch_up` when it can be. Judges a wish by what the CA knows (the
crew, the hour, the certificate before), never who may wish. Blocks; use it in one thread at a time.
"""

import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from crewgate import limits
from crewgate.api.backend import CertificateRequest
from crewgate.api.schemas import CertificateResponse, RevocationResponse
from crewgate.ca.authority import Authority, new_instance, read_request
from crewgate.ca.certificate_db import CertificateRecord
from crewgate.ca.certificates import pem
from crewgate.ca.decommission_intents import DecommissionIntent, DecommissionIntents
from crewgate.ca.renewal import next_chain
from crewgate.ca.revocation_propagation import announce
from crewgate.ca.unrecorded_revocations import unwritten_of
from crewgate.config import CAConfig
from crewgate.control.responses import host, revoked
from crewgate.core.ids import EntityKind
from crewgate.core.problem_types import (
    CERTIFICATE_NOT_VALID,
    INVALID_REQUEST,
    NOT_FOUND,
    NOT_PERMITTED,
    TOO_MANY_CERTIFICATES,
)
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.core.x509.certificate import serial_text
from crewgate.core.x509.identity_extension import Identity, Role, check, member_id
from crewgate.errors import AuthorityError, ControlError, CRLPublishError, LinkError, RefusedError
from crewgate.gossip.member_directory import evicted_members
from crewgate.ipc.admin_messages import RevocationReceipt
from crewgate.lifecycle.runs import RunStore
from crewgate.runtime.reserved_file import ReservedFile

_SUPERSEDED = "superseded"


class CAService:
    """Works for the CA `ca`, and has the agent of `state` follow; `crews` are those there are."""

    def __init__(self, ca: CAConfig, state: Path, crews: Collection[str]) -> None:
        """Open the CA; AuthorityError."""
        self._ca = ca
        self._state = state
        self._crews = crews
        self._intents = DecommissionIntents(ca.folder)
        self.held = unwritten_of(ca.register)  # of this process, not of this desk
        self.held.keep_in(ReservedFile(state / "unwritten", limits.unwritten_bytes_max))
        self.authority = Authority(ca)

    def close(self) -> None:
        """Let the CA go."""
        self.authority.close()

    # Revocations.

    def revoke_certificate(self, serial: str, reason: str) -> RevocationResponse:
        """Register, CRL, then table and open connections; ControlError 404 for one not issued."""
        entry = self.authority.register.find(serial)
        if entry is None:
            raise NOT_FOUND.error("there is no such certificate")
        register, why = self.authority.register, ""
        try:
            ended = self.authority.revoke([entry.serial], reason, datetime.now(UTC))
        except CRLPublishError as error:
            why = str(error)
            ended = [each for each in map(register.find, error.serials) if each is not None]
        self.held.own.update(each.serial for each in ended)
        ended = ended or [entry]
        done = self._announce(ended)
        why = register.unwritten_reason or why
        target = RevocationTarget(EntityKind.CERTIFICATE, entry.serial, entry.crew)
        return revoked(target, done, ended, why)

    def revoke_orchestrator(self, crew: str, name: str, reason: str) -> RevocationResponse:
        """All that it has, and every token until now: noted first, so that it is never half done.

        Where `crewgate run` has it, no certificate is signed for it from here on, and whoever
        completes the ends of orchestrators ends its process and its key too: it would only have
        itself another certificate. An agent that is away hears of it when it is back.
        """
        intent = DecommissionIntent(crew, name, reason, int(time.time()))
        self.held.forget_propagated(intent)
        why, lives = self._note(intent)
        try:
            unlisted = self._enter(intent)
            entries, done = self._end(intent)
        finally:  # not before: the answer counts what it closed itself
            self.held.own_runs |= lives
        why = why or self.unwritten_reason or unlisted
        return revoked(_orchestrator(crew, name), done, entries, why)

    def _note(self, intent: DecommissionIntent) -> tuple[str, set[int]]:
        """Have the disk know of an intent; why it does not, and then this process holds it.

        Also the number of the life whose end begins with that, if there is one.
        """
        begun: set[int] = set()
        try:
            with RunStore(self._ca.register) as lives:
                life = lives.request_stop_if_running(intent.crew, intent.name, intent.since)
            begun = set() if life is None else {life.id}
            self._intents.note(intent)
        except AuthorityError as error:
            self.held.hold(intent, str(error))
            return str(error), begun
        self.held.let_go(intent)
        return "", begun

    def complete(self, patience: float = 0.0) -> None:
        """Finish what a crash, or an agent that was away, has left; write what was not written.

        What another process revoked within the last `patience` seconds is left to that one: it is
        about to tell the agent, and its receipt says what was closed. What this one revoked is not.
        The gateway is told once of what the disk does not take (`trouble` says why it does not).
        AuthorityError, LinkError; RefusedError once all others are done.
        """
        for intent in self.held.ends():
            _, lives = self._note(intent)
            self.held.own_runs |= lives
        with suppress(AuthorityError):
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
            unlisted = self._enter(intent, unlisted)
            try:
                _, done = self._end(intent)
            except RefusedError as error:  # one that is refused does not hold up the others
                refused.append(error)
                continue
            if done is None:
                raise LinkError(f"the agent is not told of the end of {intent.crew}/{intent.name}")
        if refused:
            raise refused[0]

    @property
    def unwritten_reason(self) -> str:
        """Why the CA's books lack what is in force; "" if they do not."""
        return self.held.unwritten_reason

    def publish(self) -> None:
        """Sign the list of revoked certificates anew."""
        self.authority.publish(datetime.now(UTC))

    def catch_up(self) -> None:
        """The same if the list lacks a revocation; AuthorityError while it cannot be written."""
        self.authority.catch_up(datetime.now(UTC))

    def _enter(self, intent: DecommissionIntent, unlisted: str = "") -> str:
        """Revoke in register and list; why the list lacks some of it.

        Where `unlisted` says why already, the list's disk is not tried again.
        """
        now, named = datetime.now(UTC), (intent.crew, intent.name)
        self.authority.register.revoke_holder(*named, intent.reason, int(now.timestamp()))
        if not unlisted:
            try:
                self.authority.catch_up(now)
            except AuthorityError as error:
                unlisted = str(error)
        return unlisted

    def _end(
        self, intent: DecommissionIntent
    ) -> tuple[list[CertificateRecord], RevocationReceipt | None]:
        """Have the gateway follow; what was revoked, and what it did.

        The end does not wait for a list that cannot be written: `catch_up` needs no intent.
        """
        named = (intent.crew, intent.name)
        entries = [
            each for each in self.authority.register.pending() if (each.crew, each.name) == named
        ]
        is_told = self.held.is_propagated(intent)
        done = RevocationReceipt() if is_told and not entries else self._propagate(intent, entries)
        if done is not None and not self.held.is_ending(*named) and not self.unwritten_reason:
            self._intents.done(intent)
            self.held.forget_propagated(intent)
        return entries, done

    def _propagate(
        self, intent: DecommissionIntent, entries: Sequence[CertificateRecord]
    ) -> RevocationReceipt | None:
        """None if the agent is away."""
        as_such = _orchestrator(intent.crew, intent.name)
        more = () if self.held.is_propagated(intent) else (as_such,)
        done = None
        self.held.mark_propagated(
            intent
        )  # before it is: whoever says meanwhile that it is not is heard
        try:
            done = self._announce(entries, more)
        finally:
            if done is None and more:
                self.held.forget_propagated(intent)
        return done

    def _announce(
        self, entries: Sequence[CertificateRecord], more: Sequence[RevocationTarget] = ()
    ) -> RevocationReceipt | None:
        """None if the agent is away."""
        try:
            return announce(self.authority.register, self._state, entries, more)
        except LinkError:
            return None

    # Certificates.

    def certify(self, request: CertificateRequest) -> CertificateResponse:
        """Sign a leaf; ControlError says what is wrong with the wish."""
        now = datetime.now(UTC)
        before = self._entry_of(request.by)
        identity = self._identity(request, before)
        self._check_rate(identity, int(now.timestamp()))
        try:
            public = read_request(request.request.encode())
            hosts = _hosts_of(before) if request.is_own else [host(each) for each in request.hosts]
        except AuthorityError as error:
            raise INVALID_REQUEST.error(str(error)) from error
        life = request.life_seconds
        if request.is_own and identity.role is Role.GATEWAY:
            self._refuse_evicted(before)
            life = life or _life_of(before)
        entry = self.authority.issue(identity, public, now, life_seconds=life, hosts=hosts)
        self._check_again(request.by, entry, now)
        return CertificateResponse(
            serial=entry.serial,
            certificate=self.authority.chain(entry).decode(),
            not_before=entry.not_before,
            not_after=entry.not_after,
        )

    def certify_server(self, request: str, before: str, by: str) -> CertificateResponse:
        """Sign the next of a server's certificate; ControlError says what is wrong with the wish.

        That it is renewed for who has its key, the signature of the CSR says.
        """
        now = datetime.now(UTC)
        self._refuse_evicted(self._entry_of(by))
        try:
            leaf = _server_of(request, before, now)
            new = self.authority.renew_server(leaf, now)
        except AuthorityError as error:
            raise INVALID_REQUEST.error(str(error)) from error
        return CertificateResponse(
            serial=serial_text(new.serial_number),
            certificate=(pem(new) + self.authority.issuing.certificate_pem).decode(),
            not_before=int(new.not_valid_before_utc.timestamp()),
            not_after=int(new.not_valid_after_utc.timestamp()),
        )

    def next_chain(self, leaf: x509.Certificate) -> bytes:
        """PEM of the next certificate after one whose key is on this machine; AuthorityError."""
        return next_chain(self.authority, leaf, datetime.now(UTC))

    def _refuse_evicted(self, entry: CertificateRecord) -> None:
        """ControlError for an evicted machine: a new certificate would make it a member again."""
        gone, _ = evicted_members(self._state / "gossip", int(time.time()))
        is_gone = entry.issued <= gone.get(member_id(entry.name), -1)
        if entry.role is Role.GATEWAY and is_gone:
            raise NOT_PERMITTED.error(
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
            raise INVALID_REQUEST.error(str(error)) from error
        if self.held.is_ending(identity.crew, identity.name):
            raise AuthorityError("no certificate is signed: its orchestrator is being ended")
        if identity.crew and identity.crew not in self._crews:
            raise NOT_FOUND.error("there is no such crew")
        if request.hosts and (request.is_own or identity.role is not Role.GATEWAY):
            raise INVALID_REQUEST.error("hosts: only for another gateway's certificate")
        most = self._ca.life_seconds
        if identity.role is Role.GATEWAY:
            most = max(most, _life_of(before))
        if request.is_own and request.life_seconds is not None and request.life_seconds > most:
            raise INVALID_REQUEST.error(f"life_seconds: at most {most} for one's own certificate")
        return identity

    def _check_rate(self, identity: Identity, now: int) -> None:
        most = limits.certificates_per_hour_max
        since = self.authority.register.issued_since(identity.crew, identity.name, now - 3600)
        if since >= most:
            raise TOO_MANY_CERTIFICATES.error(
                f"{identity.label} got {most} certificates in the last hour, and may have no more; "
                "renew a certificate at half of its lifetime"
            )

    def _entry_of(self, serial: str) -> CertificateRecord:
        entry = self.authority.register.find(serial)
        check_good(entry, time.time())
        if entry is None:
            raise AuthorityError("a certificate that is good has an entry")
        return entry

    def _check_again(self, by: str, entry: CertificateRecord, now: datetime) -> None:
        """Revoke what was just signed if its asker was revoked meanwhile, by whatever process.

        An orchestrator is ended in one transaction of the register: that has the new certificate
        in it, or it was before and shows here.
        """
        try:
            self._entry_of(by)
        except ControlError:
            self.held.own.add(entry.serial)
            self.authority.revoke([entry.serial], _SUPERSEDED, now)
            raise


def _orchestrator(crew: str, name: str) -> RevocationTarget:
    return RevocationTarget(EntityKind.ORCHESTRATOR, f"{crew}/{name}", crew)


def check_good(entry: CertificateRecord | None, now: float) -> None:
    """ControlError 401 unless a certificate is valid, by its dates and by the register."""
    status = "unknown" if entry is None else entry.status(now)
    if status != "valid":
        raise CERTIFICATE_NOT_VALID.error(f"the client certificate is {status}")


def _server_of(request: str, before: str, now: datetime) -> x509.Certificate:
    """The certificate, if it has not ended and the request is for its key. AuthorityError."""
    public = read_request(request.encode())
    try:
        leaf = x509.load_pem_x509_certificate(before.encode())
        is_its_key = leaf.public_key() == public
    except (ValueError, UnsupportedAlgorithm) as error:
        raise AuthorityError("renews: not a certificate of PEM whose key is known") from error
    if not is_its_key:
        raise AuthorityError("renews: the request is for another key than the certificate")
    if leaf.not_valid_after_utc < now:
        raise AuthorityError("renews: the certificate has ended; renew it where the CA is")
    return leaf


def _life_of(entry: CertificateRecord) -> int:
    """Seconds, without what it is dated back."""
    return entry.not_after - entry.issued


def _hosts_of(entry: CertificateRecord) -> list[x509.GeneralName]:
    """Names and addresses of a certificate: those of its next one."""
    leaf = x509.load_pem_x509_certificate(entry.pem.encode())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [name for name in names if not isinstance(name, x509.UniformResourceIdentifier)]
