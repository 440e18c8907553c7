"""What the control process keeps going on every machine: its certificates, and a fresh list.

With the CA's key it renews by that. Without it, it asks the control API that `[ca]` names, if there
is one: for certificates, for the list of the revoked, and for the answers of OCSP that this
machine's workers want.
"""

import time
from collections.abc import Callable

import trio

from crewgate import limits
from crewgate.config import Config
from crewgate.control.remote import RemoteAuthority
from crewgate.control.renewing import Renewing, Source, source_of
from crewgate.errors import AuthorityError
from crewgate.pki.ocsp_response import Failure, failure
from crewgate.pki.revocation_list import KeptList

Say = Callable[[str], None]


class Troubles:
    """What ails by name; a person hears of each when it begins, and when it is over."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self.now: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Troubles {self.now}>"

    def note(self, name: str, why: str = "") -> None:
        """What is wrong with it now; nothing is."""
        before = self.now.get(name)
        if why:
            self.now[name] = why
            if before is None:
                self._say(why)
        elif self.now.pop(name, None) is not None:
            self._say(f"{name}: all is well again")


class Upkeep:
    """The tasks of one process; `config` returns the configuration in force."""

    def __init__(
        self, config: Callable[[], Config], tell: Say, source: Source | None = None
    ) -> None:
        """`source` signs where the CA's key is; None: whoever the configuration names."""
        self._config = config
        self._source = source
        self._troubles = Troubles(tell)
        self._renewing = Renewing(time.time, _in_loop(tell), self._note)

    def __repr__(self) -> str:
        return f"<Upkeep {self._troubles!r}>"

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
            ca, remote = config.ca, config.remote
            if ca is not None and remote is not None:
                if kept is None or kept.ca != ca:
                    chains = [] if remote.certificate is None else [remote.certificate]
                    kept = KeptList(ca, config.state, chains, time.time)
                api = RemoteAuthority(remote, ca.root)
                await trio.to_thread.run_sync(self._fetch, kept, api)
            await trio.sleep(limits.remote_list_seconds)

    async def answer(self, request: bytes) -> bytes:
        """The answer to a question of OCSP, both DER: another machine's."""
        config = self._config()
        if config.ca is None or config.remote is None:
            return failure(Failure.TRY_LATER)
        api = RemoteAuthority(config.remote, config.ca.root)
        try:
            answer = await trio.to_thread.run_sync(api.ocsp, request)
        except AuthorityError as error:
            self._troubles.note("OCSP", f"OCSP is not answered: {error}")
            return failure(Failure.TRY_LATER)
        self._troubles.note("OCSP")
        return answer

    def _note(self, name: str, why: str) -> None:
        """From a thread."""
        trio.from_thread.run_sync(self._troubles.note, name, why)

    def _fetch(self, kept: KeptList, api: RemoteAuthority) -> None:
        name = "list of the revoked"
        try:
            kept.take(api.revoked())
        except AuthorityError as error:
            self._note(name, f"the list of the revoked is not renewed: {error}")
        else:
            self._note(name, "")


def _in_loop(say: Say) -> Say:
    """For a thread: sentences are written where all others are."""

    def tell(text: str) -> None:
        trio.from_thread.run_sync(say, text)

    return tell
