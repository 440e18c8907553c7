"""Certificates of orchestrators, signed by the CA of a configuration, for tests of their ends."""

from datetime import UTC, datetime

from crewgate.ca.authority import Authority
from crewgate.ca.certificates import new_key
from crewgate.config import Config
from crewgate.core.x509.identity_extension import Identity, Role

ONE, OTHER = bytes(range(16)), bytes(range(16, 32))  # instances


def issue(config: Config, instance: bytes, name: str = "bd-1", crew: str = "article") -> str:
    """The serial of a new one."""
    assert config.ca is not None
    with Authority(config.ca) as authority:
        identity = Identity(Role.ORCHESTRATOR, name, instance, crew)
        return authority.issue(identity, new_key().public_key(), datetime.now(UTC)).serial
