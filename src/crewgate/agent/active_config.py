"""The active configuration: loaded as a whole or not at all, watched, and numbered by generations.

It decides whether the content of the files may replace the active configuration. The caller passes
the new one to the other parts of the agent and to the other processes.
"""

import logging
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import msgspec

from crewgate import limits
from crewgate.config import Config, load
from crewgate.config.reserved_crew_names import reserved_crew_names
from crewgate.config.restart_only import require_same
from crewgate.core.policy.policy import Policy
from crewgate.errors import ConfigurationError
from crewgate.policy.argument_rules_loader import load_argument_rules, schema_files
from crewgate.policy.loader import key_files, load_policy
from crewgate.policy.serve_config_checks import require_place
from crewgate.runtime.durable_files import write_file
from crewgate.runtime.file_watch import FileWatch

_log = logging.getLogger(__name__)


class SavedGeneration(msgspec.Struct, frozen=True):
    """The table (`life`) and the content (`digest`) for which a generation number stands."""

    life: str
    generation: int
    digest: str


@dataclass(frozen=True)
class LoadedConfig:
    """A configuration with its policy, from one reading of the files."""

    config: Config
    policy: Policy
    watch: FileWatch

    @property
    def digest(self) -> str:
        """The hash of the content, without its generation."""
        policy = msgspec.structs.replace(self.policy, generation=0)
        content = msgspec.json.encode((self.config, policy), enc_hook=str)
        return blake2b(content, digest_size=16).hexdigest()


class ActiveConfig:
    """The newest valid configuration; `error` says why the files' present content is invalid."""

    config: Config
    policy: Policy
    error: str

    def __init__(self, path: Path) -> None:
        """Load the configuration for the first time. Raises ConfigurationError."""
        self._adopt(read_config_files(path), 0)
        self._warn()
        self._stamp_path = self.config.state / "generation"

    def number(self, life: str, generation: int) -> None:
        """Continue from `generation`, the last one that the table of this life has.

        If a restarted agent finds the same content, it keeps the number, so no worker has to load
        anything. Otherwise it takes the next number.
        """
        same = self._read_stamp() == SavedGeneration(life, generation, self._loaded.digest)
        self._adopt(self._loaded, generation if same else generation + 1)
        self.stamp(life)

    def is_due(self) -> bool:
        """Return whether to read the files: one has changed, or invalid ones may be valid by now.

        A missing file cannot be watched.
        """
        return self._loaded.watch.is_due()

    def read_files(self) -> LoadedConfig:
        """Read and check the files; call it in a thread. Raises ConfigurationError."""
        # Only a reload needs it: 5 MB with what it imports.
        from crewgate.agent.worker_config_check import require_loadable  # noqa: PLC0415

        found = read_config_files(self.config.path)
        require_same(self.config, found.config)
        require_place(self.config, found.config)
        require_loadable(found.config)
        return found

    def replace(self, loaded: LoadedConfig) -> None:
        """Activate a configuration that `read_files` returned, under the next generation."""
        self._adopt(loaded, self.policy.generation + 1)
        self._warn()

    def refuse(self, error: ConfigurationError) -> None:
        """Keep the active configuration, because the files are invalid; log each reason once."""
        if str(error) != self.error:
            _log.warning("keeping the active configuration: %s", error)
        self.error = str(error)
        self._loaded.watch.retry_later()

    def stamp(self, life: str) -> None:
        """Save for a restarted agent what the generation stands for.

        If the disk does not take it, a restarted agent takes the next generation, and every worker
        loads the configuration once more than needed.
        """
        stamp = SavedGeneration(life, self.policy.generation, self._loaded.digest)
        with suppress(OSError):
            write_file(self._stamp_path, msgspec.json.encode(stamp), 0o600)

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

    def _warn(self) -> None:
        for text in reserved_crew_names(self.config):
            _log.warning("%s: %s", self.config.path, text)


def read_config_files(path: Path) -> LoadedConfig:
    """Read `path` and the files that it names. Raises ConfigurationError.

    The watch begins before the files are read, so it notices every later change.
    """
    for _ in range(limits.configuration_looks_max):
        first = FileWatch((path,))
        config = load(path)
        watch = FileWatch(watched(config))
        policy = load_policy(config, 0)
        load_argument_rules(config)
        if not first.changed():
            return LoadedConfig(config, policy, watch)
    raise ConfigurationError(f"{path}: the files change while Crewgate reads them; try again")


def watched(config: Config) -> list[Path]:
    """Return every file whose content a worker loads under one generation."""
    paths: list[Path | None] = [config.path, config.sealing_keys]
    paths += [*key_files(config), *schema_files(config)]
    paths += (agent.card_key for agent in config.a2a)
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
