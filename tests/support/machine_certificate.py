"""A gateway's certificate in place of the one that `crewgate init` had signed."""

from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from cryptography import x509

from crewgate import limits
from crewgate.ca.authority import Authority, identity_of
from crewgate.ca.key_files import PUBLIC, read_key, write_file
from crewgate.config import load
from crewgate.core.x509.identity_extension import Identity


def signed_at(config: Path, when: datetime, **changes: Any) -> Identity:
    """At another time or with another identity, for the same key; what it was before."""
    ca, machine = load(config).ca, load(config).cluster
    assert ca is not None
    assert machine is not None
    with Authority(ca) as authority:
        (before,) = authority.register.all()
        identity = identity_of(before)
        leaf = x509.load_pem_x509_certificate(before.pem.encode())
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        entry = authority.issue(
            msgspec.structs.replace(identity, **changes),
            read_key(machine.key).public_key(),
            when,
            life_seconds=None if "role" in changes else limits.gateway_life_seconds_max,
            hosts=[] if "role" in changes else [*names][1:],
        )
        write_file(machine.certificate, authority.chain(entry), PUBLIC, replace=True)
    return identity
