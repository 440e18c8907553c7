"""A machine without the key of the CA gets the CRL from the other machines."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cluster_gateways import Agent, agents, is_ready
from cryptography import x509
from installation import wait_until

from crewgate.ca.authority import Authority
from crewgate.ca.crl import make_crl
from crewgate.config import CAConfig, load


def _number(path: Path) -> int:
    crl = x509.load_pem_x509_crl(path.read_bytes())
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def _ca_of(machine: Agent) -> CAConfig:
    ca = load(machine.file).ca
    assert ca is not None
    return ca


def test_a_machine_that_was_away_for_days_has_a_fresh_list_once_it_joins(tmp_path: Path) -> None:
    """It has the CA's public files alone. Its list was over, so it refused every certificate."""
    with agents(tmp_path, 2) as (first, second):
        ca = _ca_of(first)
        second.kill()
        public = second.folder / "public"
        public.mkdir()
        for path in (ca.root, ca.issuing):
            shutil.copy(path, public)
        now = datetime.now(UTC)
        with Authority(ca) as authority:
            over = make_crl(authority.issuing, [], 1, now - timedelta(days=3))
            authority.publish(now)
        (public / "crl.pem").write_bytes(over)
        for key, path in (("folder", "none"), ("root", "ca.pem"), ("crl", "crl.pem")):
            before = {"folder": ca.folder, "root": ca.root, "crl": ca.crl}[key]
            second.edit(f'{key} = "{before}"', f'{key} = "{public / path}"')
        second.start()
        wait_until(lambda: _number(public / "crl.pem") == _number(ca.crl))
        wait_until(lambda: is_ready(second))
        crl = x509.load_pem_x509_crl((public / "crl.pem").read_bytes())
        assert crl.next_update_utc is not None
        assert crl.next_update_utc > now
