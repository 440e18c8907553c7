"""Renews the certificates that this machine presents, and warns of each one that it cannot renew.

It renews a certificate of our CA when two fifths of its life are left: with the CA's key if that is
here, or else over the control API of the machine that has the key. From 30 days before the end, it
warns of a certificate of another CA, or of one that it fails to renew. It does nothing right after
a jump of the wall clock. Blocks.
"""

import logging
import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from crewgate import limits
from crewgate.ca.key_files import read_certificates
from crewgate.ca.machine_cert_renewal import (
    CertificateFiles,
    CertificateLifetime,
    holds_key,
    is_ours,
    put,
    read_pair,
    shown_certificates,
)
from crewgate.config import CAConfig, Config
from crewgate.core.health import ComponentHealth, degraded, failed, ok
from crewgate.core.x509.certificate import Certificate, read
from crewgate.errors import CAError
from crewgate.gossip.member_certificate_store import was_evicted

if TYPE_CHECKING:
    from crewgate.control.remote_ca_client import RemoteCAClient

_log = logging.getLogger(__name__)
_DAY = 86_400
_RESTORE = "restore the file from a backup, or name another file"
# Returns the next certificate (PEM) after one, and its CA's; CAError. The CA on this machine
# signs it, or another machine's control API does.
NextChain = Callable[[x509.Certificate, CertificateFiles], bytes]


def source_of(config: Config) -> "RemoteCAClient | None":
    """Return a client of the control API that `[ca]` names; None if it names none."""
    if config.remote is None or config.ca is None:
        return None
    # Loads an HTTP client, which a machine with the CA's key does not need.
    from crewgate.control.remote_ca_client import RemoteCAClient  # noqa: PLC0415 - see above

    return RemoteCAClient(config.remote, config.ca.root, config.identity_oids)


class MachineCertificateRenewer:
    """Checks certificates, and renews those that are due.

    It logs a failed renewal once; the health reports it only when the end is near. `wall` and
    `boot` return seconds of CLOCK_REALTIME and CLOCK_BOOTTIME; no other clock is read.
    """

    def __init__(self, wall: Callable[[], float], boot: Callable[[], float]) -> None:
        self._wall = wall
        self._boot = boot
        self._offset = wall() - boot()
        self._jumped = -math.inf  # when the wall clock jumped (by `boot`)
        self._facts: list[ComponentHealth] = []
        self._retry_at: dict[CertificateFiles, float] = {}  # after a failure (by `wall`)
        self._failed: dict[CertificateFiles, str] = {}

    def renew_due(self, config: Config, sign: NextChain | None) -> list[ComponentHealth]:
        """Renew what is due; return the health of each certificate and of the CA's own.

        While the wall clock is not trusted, return the facts of the previous check.
        """
        if self._is_steady():
            self._facts = list(self._check(config, sign))
        return self._facts

    def _is_steady(self) -> bool:
        """Whether the wall clock has kept pace with the boot clock for a while.

        A clock that is ahead for a few seconds would renew everything, with dates in the future.
        """
        now = self._boot()
        offset = self._wall() - now
        if abs(offset - self._offset) > limits.clock_step_seconds_max:
            self._offset, self._jumped = offset, now
        return now - self._jumped >= limits.clock_settle_seconds

    def _check(self, config: Config, sign: NextChain | None) -> Iterator[ComponentHealth]:
        ca = config.ca
        if ca is None:
            return
        pairs = shown_certificates(config)
        for gone in self._failed.keys() - set(pairs):
            self._forget(gone)
        for pair in pairs:
            try:
                yield self._renew_due(config, ca, pair, sign)
            except CAError as error:
                yield degraded(_name(pair), str(error), _RESTORE)
        yield from _authority(ca, self._wall())

    def _renew_due(
        self, config: Config, ca: CAConfig, pair: CertificateFiles, sign: NextChain | None
    ) -> ComponentHealth:
        leaf, now = read_certificates(pair.certificate)[0], self._wall()
        life, ours = CertificateLifetime.of(leaf), is_ours(ca, leaf)
        what = f"{pair.certificate}, which {pair.by} presents, {_end(life, now)}"
        if ours and life.is_due(now) and holds_key(pair.certificate):
            what += "; it is not renewed: a renewal would destroy the private key in the same file"
            mend = "put certificate and key into separate files, or renew it by hand"
            return _fact(_name(pair), life, now, what, mend)
        if ours and life.is_due(now) and now >= self._retry_at.get(pair, 0.0):
            why = self._renew(config, pair, sign)
            if not why:
                self._forget(pair)
                return ok(_name(pair))
            if self._failed.get(pair) != why:
                _log.info("%s, which %s presents, is due: %s", pair.certificate, pair.by, why)
            self._failed[pair] = why
            self._retry_at[pair] = now + limits.renewal_again_seconds
        if not life.ends_soon(now):
            return ok(_name(pair))
        if not ours:
            mend = "replace it; another CA issued it, so this machine cannot renew it"
            return _fact(_name(pair), life, now, what, mend)
        why = self._failed.get(pair, "it is not renewed")
        mend = "renew it with `crewgate ca renew` where the CA's key is"
        return _fact(_name(pair), life, now, f"{what}; {why}", mend)

    def _renew(self, config: Config, pair: CertificateFiles, sign: NextChain | None) -> str:
        """Replace a certificate by its successor; return why not, empty if that worked."""
        if sign is None:
            return (
                "this machine has no key of the CA, and [ca] has no `control`: name the control "
                "API of the machine that has the key, or copy a new certificate here"
            )
        try:
            leaf = read_pair(pair)
            certificate = read(leaf.public_bytes(Encoding.DER), config.identity_oids)
            if _is_evicted(config, certificate, int(self._wall())):
                return "this machine was evicted, so its certificate is not renewed"
            new = put(pair.certificate, leaf, sign(leaf, pair), self._wall())
        except (CAError, ValueError, OSError, UnsupportedAlgorithm) as error:
            why = str(error).removeprefix(f"{pair.certificate}: ")
            return f"it is not renewed: {why}"
        until = f"{new.not_valid_after_utc:%Y-%m-%d %H:%M}Z"
        _log.info("renewed %s, which %s presents, until %s", pair.certificate, pair.by, until)
        return ""

    def _forget(self, pair: CertificateFiles) -> None:
        self._failed.pop(pair, None)
        self._retry_at.pop(pair, None)


def _authority(ca: CAConfig, now: float) -> Iterator[ComponentHealth]:
    """Check the CA's own certificates: nothing renews them, and no certificate outlives them."""
    for path, what in ((ca.issuing, "issuing CA"), (ca.root, "root")):
        name = f"control: {what}"
        try:
            life = CertificateLifetime.of(read_certificates(path)[0])
        except CAError as error:
            yield degraded(name, str(error), _RESTORE)
            continue
        if life.end - now >= limits.ca_warning_days * _DAY:
            yield ok(name)
            continue
        mend = "make a new CA, and give its root to every machine before that"
        yield _fact(name, life, now, f"{path}: it {_end(life, now)}", mend)


def _is_evicted(config: Config, certificate: Certificate, now: int) -> bool:
    """Whether the cluster has evicted this machine: a renewal would make it a member again."""
    if certificate.identity is None:
        return False
    who = certificate.speaks_for()
    return was_evicted(config.state, who.role, who.name, certificate.issued, now)


def _name(pair: CertificateFiles) -> str:
    name = f"control: certificate {pair.certificate.name} of {pair.by}"
    return name[: limits.health_name_chars_max]


def _fact(name: str, life: CertificateLifetime, now: float, why: str, mend: str) -> ComponentHealth:
    """Return failed for an expired certificate, else degraded; listeners report refused calls."""
    return failed(name, why, mend, refuses=False) if life.end <= now else degraded(name, why, mend)


def _end(life: CertificateLifetime, now: float) -> str:
    """Return when a certificate ends, as a clause without a subject."""
    at = f"{datetime.fromtimestamp(life.end, UTC):%Y-%m-%d %H:%M}Z"
    left = life.end - now
    if left <= 0:
        return f"has ended on {at}"
    return f"ends on {at}, in {left / _DAY:.0f} days" if left >= 2 * _DAY else f"ends on {at}"
