"""What a worker remembers of revocations: bounded, and claimed once."""

from hypothesis import given
from hypothesis import strategies as st

from crewgate import limits
from crewgate.core.ids import certificate_key, orchestrator_key
from crewgate.core.x509.identity_extension import Identity, Role
from crewgate.server.recently_revoked_keys import (
    DisconnectCount,
    RecentlyRevokedKeys,
    UnreportedDisconnects,
)
from crewgate.server.request import ClientInfo


def _peer(serial: int) -> ClientInfo:
    return ClientInfo(
        "::1", identity=Identity(Role.ORCHESTRATOR, "n", bytes(16), "bd"), serial=serial
    )


def _key(serial: int) -> bytes:
    return certificate_key("bd", serial)


@given(st.lists(st.lists(st.binary(min_size=1, max_size=1), max_size=5), max_size=20))
def test_the_last_ones_are_barred(pushes: list[list[bytes]]) -> None:
    """Never more than the bound, and the last push always among them."""
    barred = RecentlyRevokedKeys(5)
    for keys in pushes:
        barred.add(keys)
        assert all(key in barred for key in keys[-5:])
        assert len(barred._keys) <= 5


def test_a_push_claims_what_a_look_has_ended_once() -> None:
    """With the calls that it cut and the time of the last."""
    expelled = UnreportedDisconnects()
    expelled.note([_peer(1), _peer(1)], 3, 10)
    expelled.note([_peer(2)], 1, 20)
    assert expelled.claim([_key(3)]) == DisconnectCount(0, 0, 0)
    assert expelled.claim([_key(1), _key(2)]) == DisconnectCount(3, 4, 20)
    assert expelled.claim([_key(1), _key(2)]) == DisconnectCount(0, 0, 0)


def test_nobody_claims_what_is_long_gone() -> None:
    """A later push is about others."""
    expelled = UnreportedDisconnects()
    expelled.note([_peer(1)], 0, 0)
    expelled.note([], 0, int(limits.cut_memory_seconds * 1e9) + 1)
    assert expelled.claim([_key(1)]) == DisconnectCount(0, 0, 0)


def test_a_push_about_an_orchestrator_claims_its_connections() -> None:
    """Whatever certificate they showed; those of another name are not its."""
    expelled, other = (
        UnreportedDisconnects(),
        ClientInfo("::1", identity=Identity(Role.ORCHESTRATOR, "m", bytes(16), "bd"), serial=9),
    )
    expelled.note([_peer(1), _peer(2), other], 2, 10)
    assert expelled.claim([orchestrator_key("bd", "bd/n")]) == DisconnectCount(2, 2, 10)
