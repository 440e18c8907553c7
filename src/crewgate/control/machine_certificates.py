"""Renews the certificates that this machine shows, and warns of each one that it cannot renew.

It renews a certificate of our CA when two fifths of its life are left: with the CA's key if that is
here, else over the control API of the machine that has the key. From 30 days before the end it
warns of a certificate of another CA, or of one that it fails to renew. Does nothing while the wall
clock has just jumped. Reads no clock but `wall` and `boot`. Blocks.
"""

import logging
import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from crewgate import limits
from crewgate.ca.key_files import read_certificates
from crewgate.ca.renewal import (
    CertificateFiles,
    CertificateLifetime,
    OwnCertificateFiles,
    holds_key,
    is_ours,
    put,
    read_pair,
    shown_certificates,
)
from crewgate.config import CAConfig, Config
from crewgate.core.health import ComponentHealth, degraded, failed, ok
from crewgate.core.x509.certificate import Certificate, read
from crewgate.core.x509.identity_extension import Role, member_id
from crewgate.errors import AuthorityError
from crewgate.gossip.member_directory import evicted_members

if TYPE_CHECKING:
    from crewgate.control.remote_ca_client import RemoteCAClient

_log = logging.getLogger(__name__)
_DAY = 86_400


class CertificateSource(Protocol):
    """Signs the next certificate: the CA here, or another machine's control API."""

    def next_chain(
        self, leaf: x509.Certificate, pair: CertificateFiles, *, is_server: bool
    ) -> bytes:
        """PEM of the next certificate after `leaf`, and of its CA; AuthorityError."""


def source_of(config: Config) -> "RemoteCAClient | None":
    """The control API that the configuration names, for a machine without the CA's key."""
    if config.remote is None or config.ca is None:
        return None
    # An HTTP client; a machine with the key does not load it before it serves.
    from crewgate.control.remote_ca_client import RemoteCAClient  # noqa: PLC0415 - for the reason above

    return RemoteCAClient(config.remote, config.ca.root)


class MachineCertificateRenewal:
    """Looks at certificates, and renews those that are due.

    Says once that a renewal failed; that is a trouble only when the end is near. `wall` and `boot`
    are seconds of CLOCK_REALTIME and CLOCK_BOOTTIME.
    """

    def __init__(
        self,
        wall: Callable[[], float],
        boot: Callable[[], float],
    ) -> None:
        self._wall = wall
        self._boot = boot
        self._offset = wall() - boot()
        self._jumped = -math.inf  # when the wall clock did (by `boot`)
        self._facts: list[ComponentHealth] = []
        self._not_before: dict[
            OwnCertificateFiles, float
        ] = {}  # when a renewal that failed is tried again
        self._failed: dict[OwnCertificateFiles, str] = {}

    def renew_due(self, config: Config, source: CertificateSource | None) -> list[ComponentHealth]:
        """Renew what is due; how each certificate and the CA's own are.

        While the clock cannot be believed: what the look before found.
        """
        if self._is_steady():
            self._facts = list(self._found(config, source, self._wall()))
        return self._facts

    def _is_steady(self) -> bool:
        """Whether the wall clock has run along with the other one for a while.

        By one that is ahead for seconds all would be renewed, for a time that has not come.
        """
        now = self._boot()
        offset = self._wall() - now
        if abs(offset - self._offset) > limits.clock_step_seconds_max:
            self._offset, self._jumped = offset, now
        return now - self._jumped >= limits.clock_settle_seconds

    def _found(
        self, config: Config, source: CertificateSource | None, now: float
    ) -> Iterator[ComponentHealth]:
        ca = config.ca
        if ca is None:
            return
        pairs = shown_certificates(config)
        for gone in self._failed.keys() - set(pairs):
            self._forget(gone)
        for pair in pairs:
            try:
                yield self._renew_due(config, ca, pair, source, now)
            except AuthorityError as error:
                yield degraded(_name(pair), str(error), "put it back")
        yield from _authority(ca, now)

    def _renew_due(
        self,
        config: Config,
        ca: CAConfig,
        pair: OwnCertificateFiles,
        source: CertificateSource | None,
        now: float,
    ) -> ComponentHealth:
        """Renew one if it is due; how it is. AuthorityError."""
        leaf = read_certificates(pair.certificate)[0]
        life, ours = CertificateLifetime.of(leaf), is_ours(ca, leaf)
        what = f"{pair.certificate}, which {pair.by} shows, {_end(life, now)}"
        if ours and life.is_due(now) and holds_key(pair.certificate):
            what += "; it is not renewed: a renewal would destroy the private key in the same file"
            mend = "put certificate and key into files of their own, or renew it by hand"
            return _fact(_name(pair), life, now, what, mend)
        if ours and life.is_due(now) and now >= self._not_before.get(pair, 0.0):
            why = self._renew(config, pair, source)
            if not why:
                self._forget(pair)
                return ok(_name(pair))
            if self._failed.get(pair) != why:
                _log.info("%s, which %s shows, is due: %s", pair.certificate, pair.by, why)
            self._failed[pair] = why
            self._not_before[pair] = now + limits.renewal_again_seconds
        if not life.ends_soon(now):
            return ok(_name(pair))
        if not ours:
            mend = "put another in its place; it is not of our CA, so it is not renewed here"
            return _fact(_name(pair), life, now, what, mend)
        why = self._failed.get(pair, "it is not renewed")
        mend = "renew it with `crewgate ca renew` where the CA's key is"
        return _fact(_name(pair), life, now, f"{what}; {why}", mend)

    def _renew(
        self, config: Config, pair: OwnCertificateFiles, source: CertificateSource | None
    ) -> str:
        """Have the next one in the place of the one before; why not, if it is not."""
        if source is None:
            return (
                "the CA's key is elsewhere, and [ca] names no control: name the control API of the "
                "machine that has the key, or copy another certificate here"
            )
        try:
            leaf = read_pair(pair)
            who = read(leaf.public_bytes(Encoding.DER))
            if _is_evicted(config, who, int(self._wall())):
                return "this machine was evicted, so its certificate is not renewed"
            files = CertificateFiles(pair.certificate, pair.key)
            is_server = who.identity is None
            chain = source.next_chain(leaf, files, is_server=is_server)
            new = put(pair.certificate, leaf, chain, self._wall())
        except (AuthorityError, ValueError, OSError, UnsupportedAlgorithm) as error:
            said = str(error).removeprefix(f"{pair.certificate}: ")
            return f"it is not renewed: {said}"
        until = f"{new.not_valid_after_utc:%Y-%m-%d %H:%M}Z"
        _log.info("renewed %s, which %s shows, until %s", pair.certificate, pair.by, until)
        return ""

    def _forget(self, pair: OwnCertificateFiles) -> None:
        self._failed.pop(pair, None)
        self._not_before.pop(pair, None)


def _authority(ca: CAConfig, now: float) -> Iterator[ComponentHealth]:
    """Nothing renews the CA itself, and no certificate outlives it."""
    for path, what in ((ca.issuing, "issuing CA"), (ca.root, "root")):
        name = f"control: {what}"
        try:
            life = CertificateLifetime.of(read_certificates(path)[0])
        except AuthorityError as error:
            yield degraded(name, str(error), "put it back")
            continue
        if life.end - now >= limits.ca_warning_days * _DAY:
            yield ok(name)
            continue
        mend = "make a new CA, and give every machine its root before that"
        yield _fact(name, life, now, f"{path}: it {_end(life, now)}", mend)


def _is_evicted(config: Config, who: Certificate, now: int) -> bool:
    """Whether the other machines have evicted this one: renewed, it would come back by itself."""
    if who.identity is None:
        return False
    identity = who.speaks_for()
    gone, _ = evicted_members(config.state / "gossip", now)
    is_gone = who.issued <= gone.get(member_id(identity.name), -1)
    return identity.role is Role.GATEWAY and is_gone


def _name(pair: OwnCertificateFiles) -> str:
    """Of the component in the machine's health."""
    name = f"control: certificate {pair.certificate.name} of {pair.by}"
    return name[: limits.health_name_chars_max]


def _fact(name: str, life: CertificateLifetime, now: float, why: str, mend: str) -> ComponentHealth:
    """One that has ended has failed; that calls are refused for it is for listeners to say."""
    return failed(name, why, mend, refuses=False) if life.end <= now else degraded(name, why, mend)


def _end(life: CertificateLifetime, now: float) -> str:
    """When it ends, for people."""
    at = f"{datetime.fromtimestamp(life.end, UTC):%Y-%m-%d %H:%M}Z"
    left = life.end - now
    if left <= 0:
        return f"has ended on {at}"
    return f"ends on {at}, in {left / _DAY:.0f} days" if left >= 2 * _DAY else f"ends on {at}"
