"""The configuration in force: loaded whole or not at all, watched, and numbered by generations.

Decides whether what stands in the files now may replace what is in force. Tells nobody.
"""

import logging
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import msgspec

from crewgate import limits
from crewgate.config import Config, load
from crewgate.config.restart_only import require_same
from crewgate.core.policy.policy import Policy
from crewgate.errors import ConfigurationError
from crewgate.policy.loader import key_files, load_policy
from crewgate.policy.startup_checks import require_place
from crewgate.runtime.durable_files import write_file
from crewgate.runtime.file_watch import FileWatch

_log = logging.getLogger(__name__)


class SavedGeneration(msgspec.Struct, frozen=True):
    """What a generation number stands for: the table that it was told to, and the content."""

    life: str
    generation: int
    digest: str


@dataclass(frozen=True)
class LoadedConfig:
    """A configuration with its policy, as one look at the files found them."""

    config: Config
    policy: Policy
    watch: FileWatch

    @property
    def digest(self) -> str:
        """Names the content, whatever its generation."""
        policy = msgspec.structs.replace(self.policy, generation=0)
        content = msgspec.json.encode((self.config, policy), enc_hook=str)
        return blake2b(content, digest_size=16).hexdigest()


class ActiveConfig:
    """The newest good configuration; `error` says why the files' present content is not it."""

    config: Config
    policy: Policy
    error: str
    look_again_ns: int = 0  # CLOCK_BOOTTIME: when content that was bad is due for another look

    def __init__(self, path: Path) -> None:
        """Load for the first time; ConfigurationError."""
        self._adopt(read_config_files(path), 0)

    def number(self, life: str, generation: int) -> None:
        """Continue from `generation`, the last one that the table of this life was told.

        A restarted agent that finds the same content keeps the number, so that no worker has to
        load anything; otherwise it takes the next.
        """
        same = self._read_stamp() == SavedGeneration(life, generation, self._loaded.digest)
        self._adopt(self._loaded, generation if same else generation + 1)
        self.stamp(life)

    def changed(self) -> bool:
        """Some file differs from the last look."""
        return bool(self._loaded.watch.changed())

    def read_files(self) -> LoadedConfig:
        """What the files hold now; ConfigurationError. Blocks: to be called in a thread."""
        found = read_config_files(self.config.path)
        require_same(self.config, found.config)
        require_place(self.config, found.config)
        return found

    def replace(self, loaded: LoadedConfig) -> None:
        """Put a good look in force, under the next generation."""
        self._adopt(loaded, self.policy.generation + 1)

    def refuse(self, error: ConfigurationError) -> None:
        """What the files hold now is bad: said once, the old one stays."""
        if str(error) != self.error:
            _log.warning("the configuration in force stays: %s", error)
        self.error = str(error)

    def stamp(self, life: str) -> None:
        """Remember for a restarted agent what the generation stands for.

        Where that cannot be written, a restart takes the next generation: every worker loads once
        more than it had to.
        """
        stamp = SavedGeneration(life, self.policy.generation, self._loaded.digest)
        with suppress(OSError):
            write_file(self._stamp_path, msgspec.json.encode(stamp), 0o600)

    @property
    def _stamp_path(self) -> Path:
        return self.config.state / "generation"

    def _read_stamp(self) -> SavedGeneration | None:
        try:
            return msgspec.json.decode(self._stamp_path.read_bytes(), type=SavedGeneration)
        except (OSError, msgspec.DecodeError, ValueError):
            return None

    def _adopt(self, loaded: LoadedConfig, generation: int) -> None:
        self._loaded = loaded
        self.config = loaded.config
        self.policy = msgspec.structs.replace(loaded.policy, generation=generation)
        self.error = ""


def read_config_files(path: Path) -> LoadedConfig:
    """The content of `path` and of what it names; ConfigurationError.

    The watch is made before the files are read, so that no later change escapes it.
    """
    for _ in range(limits.configuration_looks_max):
        first = FileWatch((path,))
        config = load(path)
        watch = FileWatch(watched(config))
        policy = load_policy(config, 0)
        if not first.changed():
            return LoadedConfig(config, policy, watch)
    raise ConfigurationError(f"{path}: changes while it is being read")


def watched(config: Config) -> list[Path]:
    """Every file whose content a worker has loaded under one generation."""
    paths: list[Path | None] = [config.path, *key_files(config)]
    for listener in config.listeners:
        paths += listener.certificate, listener.key
    if config.ca is not None:
        paths.append(config.ca.root)
        if config.ca.ocsp is not None:
            paths += config.ca.ocsp.certificate, config.ca.ocsp.key
    if config.cluster is not None:
        paths += config.cluster.certificate, config.cluster.key
    for upstream in config.upstreams:
        paths += upstream.tls.certificate, upstream.tls.key
        if upstream.credential is not None:
            paths.append(upstream.credential.file)
    return [path for path in paths if path is not None]
