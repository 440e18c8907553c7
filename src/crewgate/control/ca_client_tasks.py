"""Keeps this machine's certificates and its CRL fresh, and answers its workers' OCSP requests.

A machine with the CA's key signs its own certificates. A machine without it asks the control API
that `[ca]` names, if any, for certificates, the CRL and OCSP answers.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import trio
from cryptography.x509.ocsp import OCSPResponseStatus

from crewgate import limits
from crewgate.ca.crl_replica import CRLReplica
from crewgate.ca.ocsp.responder import failure
from crewgate.config import Config
from crewgate.control.health import ControlHealth
from crewgate.control.machine_cert_renewer import MachineCertificateRenewer, NextChain, source_of
from crewgate.core.health import ComponentHealth, degraded
from crewgate.errors import CAError
from crewgate.runtime.ticks import sleep_until_tick

if TYPE_CHECKING:
    from crewgate.control.remote_ca_client import RemoteCAClient

_CERTIFICATES = "certificates"
_OCSP, _CRL = "control: OCSP", "control: CRL"
_MEND = "check the machine that has the CA's key, and the network to it"


class CAClientTasks:
    """The tasks of one control process, which report to `health`.

    `config` returns the active configuration. A task that ends takes its reports back.
    """

    def __init__(
        self, config: Callable[[], Config], health: ControlHealth, sign: NextChain | None = None
    ) -> None:
        """`sign` is for a machine with the CA's key; None: the API that `[ca]` names, if any."""
        self._config = config
        self._sign = sign
        self._health = health
        self._renewing = MachineCertificateRenewer(
            time.time, partial(time.clock_gettime, time.CLOCK_BOOTTIME)
        )

    async def renew(self) -> None:
        """Check and renew the certificates periodically, until cancelled."""
        try:
            while True:
                config = self._config()
                api = source_of(config)
                sign = self._sign or (None if api is None else api.next_chain)
                facts = await trio.to_thread.run_sync(self._renewing.renew_due, config, sign)
                self._health.set(_CERTIFICATES, facts)
                await sleep_until_tick(limits.renewal_look_seconds)
        finally:
            self._health.set(_CERTIFICATES, ())

    async def follow_list(self) -> None:
        """Fetch the CRL periodically from the machine that signs it, until cancelled.

        If machines start together, that machine may answer a few seconds later than this one asks.
        So a failure at the start counts as a part of the start, and the next attempt comes soon.
        """
        replica: CRLReplica | None = None
        started = trio.current_time()
        try:
            while True:
                config = self._config()
                ca, remote, api = config.ca, config.remote, source_of(config)
                facts: list[ComponentHealth] = []
                if ca is not None and remote is not None and api is not None:
                    if replica is None or replica.ca != ca:
                        chains = [] if remote.certificate is None else [remote.certificate]
                        replica = CRLReplica(ca, config.state, chains, time.time)
                    facts = await trio.to_thread.run_sync(_fetch, replica, api)
                pause = limits.remote_list_seconds
                grace = limits.health_start_seconds
                if facts and trio.current_time() - started < grace:
                    facts = [msgspec.structs.replace(fact, grace=grace) for fact in facts]
                    pause = limits.remote_list_retry_seconds
                self._health.set(_CRL, facts)
                await trio.sleep(pause)
        finally:
            self._health.set(_CRL, ())
            self._health.set(_OCSP, ())

    async def answer(self, request: bytes) -> bytes:
        """Return another machine's response to an OCSP request, both DER."""
        api = source_of(self._config())
        if api is None:
            return failure(OCSPResponseStatus.TRY_LATER)
        try:
            answer = await trio.to_thread.run_sync(api.ocsp, request)
        except CAError as error:
            fact = degraded(_OCSP, f"there is no answer: {error}", _MEND)
            self._health.set(_OCSP, [fact], limits.ocsp_trouble_seconds)
            return failure(OCSPResponseStatus.TRY_LATER)
        self._health.set(_OCSP, ())
        return answer


def _fetch(replica: CRLReplica, api: "RemoteCAClient") -> list[ComponentHealth]:
    try:
        replica.take(api.revoked())
    except CAError as error:
        return [degraded(_CRL, f"it is not renewed: {error}", _MEND)]
    return []
