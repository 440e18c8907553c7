"""The current keys of an identity provider: of a file, or downloaded and kept for a limited time.

If the new keys cannot be had, the last good ones stay in use: those of a file without a limit,
downloaded ones for `limits.jwks_age_seconds_max`. `problem` says why they are not new.
"""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from crewgate import limits
from crewgate.config import IdentityProviderConfig
from crewgate.errors import ConfigurationError, ServiceConnectionError
from crewgate.identity_provider.provider_keys import ProviderKey, find_keys, parse_provider_jwks
from crewgate.runtime.durable_files import cause
from crewgate.runtime.fault_transition_logger import FaultTransitionLogger
from crewgate.runtime.file_watch import FileWatch

if TYPE_CHECKING:
    from crewgate.identity_provider.provider_request import ProviderRequest

_log = logging.getLogger(__name__)


class KeySet(Protocol):
    """The keys of one provider. Threads may share it."""

    @property
    def problem(self) -> str:
        """Why the keys are old or missing; empty if they are not."""

    def refresh(self) -> None:
        """Get new keys if they are due. May block for seconds."""

    def find(self, kid: str, algorithm: str) -> list[ProviderKey]:
        """Return the keys that can have made a signature (`find_keys`). May block for seconds.

        Raises:
            ServiceConnectionError: There are no keys that are new enough.
        """


def key_set(provider: IdentityProviderConfig) -> KeySet:
    """Return the keys of a provider; the first use reads or downloads them."""
    name = f"identity provider {provider.name}"
    if provider.jwks is not None:
        return FileKeySet(provider.jwks, provider.pinned_keys, _fault_log(name))
    url = provider.jwks_url or ""  # the configuration has one of the two
    return downloaded_key_set(name, url, provider.ca, provider.pinned_keys)


def downloaded_key_set(
    name: str, url: str, ca: Path | None, pinned: tuple[str, ...] = ()
) -> KeySet:
    """Return the keys at a URL, verified by the roots `ca`; `name` is the provider's in the log."""

    def begin() -> "ProviderRequest":
        from crewgate.identity_provider.provider_request import (  # noqa: PLC0415 - imports httpx
            ProviderRequest,
            provider_context,
        )

        return ProviderRequest(url, provider_context(ca))

    return DownloadedKeySet(url, pinned, begin, _fault_log(name))


def _fault_log(name: str) -> FaultTransitionLogger:
    return FaultTransitionLogger(_log.warning, recovered=f"{name}: its keys are new again")


class FileKeySet:
    """The keys of a JWKS file, which is read again when it has changed."""

    def __init__(self, path: Path, pinned: tuple[str, ...], log: FaultTransitionLogger) -> None:
        self._path, self._pinned, self._log = path, pinned, log
        self._lock = threading.Lock()
        self._watch = FileWatch([path])
        self._keys: tuple[ProviderKey, ...] = ()
        self._is_read = False

    @property
    def problem(self) -> str:
        """See `KeySet`."""
        return self._log.why

    def refresh(self) -> None:
        """See `KeySet`."""
        with self._lock:
            if self._watch.is_due() or not self._is_read:
                self._is_read = True
                self._read()

    def find(self, kid: str, algorithm: str) -> list[ProviderKey]:
        """See `KeySet`."""
        self.refresh()
        if not self._keys:
            raise ServiceConnectionError(self.problem)
        return find_keys(self._keys, kid, algorithm)

    def _read(self) -> None:
        try:
            with self._path.open("rb") as file:
                data = file.read(limits.provider_answer_bytes_max + 1)
            self._keys = parse_provider_jwks(data, self._pinned, str(self._path))
        except OSError as error:
            self._log.note(f"{self._path}: the keys cannot be read: {cause(error)}")
            self._watch.retry_later()
        except ConfigurationError as error:
            self._log.note(str(error))
        else:
            self._log.note("")


class DownloadedKeySet:
    """The keys at a URL.

    `begin` begins a download, or raises ConfigurationError. `clock` returns monotonic seconds.
    """

    def __init__(
        self,
        url: str,
        pinned: tuple[str, ...],
        begin: "Callable[[], ProviderRequest]",
        log: FaultTransitionLogger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url, self._pinned, self._log = url, pinned, log
        self._begin, self._clock = begin, clock
        self._lock = threading.Lock()
        self._keys: tuple[ProviderKey, ...] = ()
        self._download: ProviderRequest | None = None
        self._loaded_at = self._tried_at = -float("inf")

    @property
    def problem(self) -> str:
        """See `KeySet`."""
        return self._log.why

    def refresh(self) -> None:
        """See `KeySet`."""
        with self._lock:
            self._load(limits.jwks_refresh_seconds)

    def find(self, kid: str, algorithm: str) -> list[ProviderKey]:
        """See `KeySet`; an unknown key may be a new one, so it is a reason to download again."""
        with self._lock:
            self._load(limits.jwks_refresh_seconds)
            if self._clock() - self._loaded_at > limits.jwks_age_seconds_max:
                raise ServiceConnectionError(self.problem or f"{self._url}: no keys yet; try again")
            found = find_keys(self._keys, kid, algorithm)
            if not found:
                self._load(0)
                found = find_keys(self._keys, kid, algorithm)
            return found

    def _load(self, age: float) -> None:
        """Download the keys if they are older than `age` seconds, at most once in a pause."""
        now = self._clock()
        is_due = now - self._loaded_at > age and now - self._tried_at > limits.jwks_pause_seconds
        # A server that hangs gets no second connection.
        if not is_due or (self._download is not None and self._download.is_running):
            return
        self._tried_at = now
        try:
            self._download = self._begin()
            self._keys = parse_provider_jwks(self._download.result(), self._pinned, self._url)
        except (ServiceConnectionError, ConfigurationError) as error:
            self._log.note(str(error))
        else:
            self._loaded_at = now
            self._log.note("")
