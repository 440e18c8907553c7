"""Names become bytes that are stored and sent: what each was it stays."""

from crewgate.core.ids import cluster_id
from crewgate.core.x509.identity_extension import member_id


def test_a_member_s_id_is_of_its_certificate_s_name() -> None:
    """Eight bytes, as BLAKE2b of Python's library and `b2sum -l 64` give them."""
    assert member_id("edge-1").hex() == "57c6b53e2672887f"
    assert len({member_id(f"edge-{number}") for number in range(4096)}) == 4096


def test_a_trust_domain_has_one_cluster() -> None:
    """Sixteen bytes, and no member's name gives the same."""
    assert cluster_id("crewgate.internal").hex() == "c0de718da6395a309392c7c0e27c7217"
    assert cluster_id("crewgate.internal")[:8] != member_id("crewgate.internal")
