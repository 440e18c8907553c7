"""What the control process keeps going on every machine: its certificates, and a fresh list.

With the CA's key it renews by that. Without it, it asks the control API that `[ca]` names, if there
is one: for certificates, for the list of the revoked, and for the answers of OCSP that this
machine's workers want.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import trio

from crewgate import limits
from crewgate.config import Config
from crewgate.control.renewing import Renewing, Source, source_of
from crewgate.core.health import Fact, degraded, ok
from crewgate.errors import AuthorityError
from crewgate.pki.ocsp_response import Failure, failure
from crewgate.pki.revocation_list import KeptList

if TYPE_CHECKING:
    from crewgate.control.remote import RemoteAuthority

T = TypeVar("T")
Note = Callable[[Fact], None]
_OCSP, _LIST = "control: OCSP", "control: list of the revoked"
_MEND = "see to the machine that has the CA's key, and the way there"


class Upkeep:
    """The tasks of one process; `config` returns the configuration in force.

    `tell` hears what was done, `note` how each thing is.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        tell: Callable[[str], None],
        note: Note,
        source: Source | None = None,
    ) -> None:
        """`source` signs if the CA's key is here; None: the API that the configuration names."""
        self._config = config
        self._source = source
        self._note = note
        self._renewing = Renewing(time.time, _in_loop(tell), _in_loop(note))

    def __repr__(self) -> str:
        return f"<Upkeep {self._renewing!r}>"

    async def renew(self) -> None:
        """Look at the certificates again and again; until cancelled."""
        while True:
            config = self._config()
            source = self._source or source_of(config)
            await trio.to_thread.run_sync(self._renewing.look, config, source)
            await trio.sleep(limits.renewal_look_seconds)

    async def follow_list(self) -> None:
        """Fetch the list of the revoked from the machine that signs it; until cancelled."""
        kept: KeptList | None = None
        while True:
            config = self._config()
            ca, remote, api = config.ca, config.remote, source_of(config)
            if ca is not None and remote is not None and api is not None:
                if kept is None or kept.ca != ca:
                    chains = [] if remote.certificate is None else [remote.certificate]
                    kept = KeptList(ca, config.state, chains, time.time)
                await trio.to_thread.run_sync(self._fetch, kept, api)
            await trio.sleep(limits.remote_list_seconds)

    async def answer(self, request: bytes) -> bytes:
        """The answer to a question of OCSP, both DER: another machine's."""
        api = source_of(self._config())
        if api is None:
            return failure(Failure.TRY_LATER)
        try:
            answer = await trio.to_thread.run_sync(api.ocsp, request)
        except AuthorityError as error:
            self._note(degraded(_OCSP, f"it is not answered: {error}", _MEND))
            return failure(Failure.TRY_LATER)
        self._note(ok(_OCSP))
        return answer

    def _fetch(self, kept: KeptList, api: "RemoteAuthority") -> None:
        try:
            kept.take(api.revoked())
        except AuthorityError as error:
            fact = degraded(_LIST, f"it is not renewed: {error}", _MEND)
        else:
            fact = ok(_LIST)
        trio.from_thread.run_sync(self._note, fact)


def _in_loop(work: Callable[[T], None]) -> Callable[[T], None]:
    """For a thread: what it says is written where all else is."""

    def do(what: T) -> None:
        trio.from_thread.run_sync(work, what)

    return do
