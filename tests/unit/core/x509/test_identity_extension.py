"""The identity extension: what goes in comes out, and nothing else is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate.core.x509 import der
from crewgate.core.x509.identity_extension import Identity, Role, decode, encode

INSTANCE = bytes(range(16))
BD = Identity(Role.ORCHESTRATOR, "bd-1", INSTANCE, "bd")
names = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)
crews = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True)
rights = st.lists(names, max_size=16).map(tuple)
identities = st.one_of(
    st.builds(Identity, st.just(Role.ORCHESTRATOR), names, st.just(INSTANCE), crews, rights=rights),
    st.builds(Identity, st.just(Role.AGENT), names, st.just(INSTANCE), crews),
    st.builds(
        Identity,
        st.sampled_from([Role.GATEWAY, Role.OPERATOR]),
        names,
        st.binary(min_size=16, max_size=16),
        key=st.sampled_from([b"", bytes(32)]),
        rights=rights,
    ),
)


@given(identities)
def test_an_identity_comes_back(identity: Identity) -> None:
    """All roles, with and without key and rights."""
    assert decode(encode(identity)) == identity


@given(st.one_of(st.binary(max_size=80), identities.map(encode)), st.data())
def test_only_what_we_write_is_read(value: bytes, data: st.DataObject) -> None:
    """A changed byte is either refused or another identity, written in its one way."""
    if value:
        at = data.draw(st.integers(0, len(value) - 1))
        value = value[:at] + bytes([data.draw(st.integers(0, 255))]) + value[at + 1 :]
    try:
        found = decode(value)
    except ValueError:
        return
    assert encode(found) == value


def test_the_worked_example() -> None:
    """As `docs/explanation/certificates.md` spells it out."""
    assert encode(BD).hex() == (
        "3022"  # SEQUENCE of 34 bytes
        "020101"  # version 1
        "0a0100"  # orchestrator
        "0c026264"  # bd
        "0c0462642d31"  # bd-1
        "0410000102030405060708090a0b0c0d0e0f"  # instance
    )


def test_names_for_people() -> None:
    """The label of logs, and the SPIFFE ID."""
    assert BD.label == "bd/bd-1"
    assert BD.spiffe_id("crewgate.internal") == ("spiffe://crewgate.internal/orchestrator/bd/bd-1")
    gateway = Identity(Role.GATEWAY, "edge-1", INSTANCE)
    assert gateway.label == "gateway/edge-1"
    assert gateway.spiffe_id("x.example") == "spiffe://x.example/gateway/edge-1"
    agent = Identity(Role.AGENT, "bd-1", INSTANCE, "bd")
    branch = "00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert (agent.label, agent.holder, agent.branch) == (f"bd/bd-1#{branch}", "bd/bd-1", branch)
    assert agent.spiffe_id("x.example") == f"spiffe://x.example/agent/bd/bd-1/{branch}"
    assert (BD.holder, BD.branch) == ("bd/bd-1", "")


@pytest.mark.parametrize(
    "identity",
    [
        Identity(Role.ORCHESTRATOR, "bd-1", INSTANCE),
        Identity(Role.OPERATOR, "ada", INSTANCE, "bd"),
        Identity(Role.ORCHESTRATOR, "", INSTANCE, "bd"),
        Identity(Role.ORCHESTRATOR, "a/b", INSTANCE, "bd"),
        Identity(Role.ORCHESTRATOR, "../x", INSTANCE, "bd"),
        Identity(Role.ORCHESTRATOR, "bd-1", INSTANCE, "BD"),
        Identity(Role.ORCHESTRATOR, "bd-1", INSTANCE, "bd\n"),
        Identity(Role.ORCHESTRATOR, "n" * 65, INSTANCE, "bd"),
        Identity(Role.ORCHESTRATOR, "bd-1", b"short", "bd"),
        Identity(Role.ORCHESTRATOR, "bd-1", INSTANCE, "bd", key=bytes(32)),
        Identity(Role.GATEWAY, "edge-1", INSTANCE, key=bytes(31)),
        Identity(Role.AGENT, "bd-1", INSTANCE),
        Identity(Role.AGENT, "bd-1", bytes(16), "bd"),
        Identity(Role.AGENT, "bd-1", INSTANCE, "bd", key=bytes(32)),
        Identity(Role.AGENT, "bd-1", INSTANCE, "bd", rights=("revoke",)),
        Identity(Role.OPERATOR, "ada", INSTANCE, rights=("a",) * 17),
        Identity(Role.OPERATOR, "ada", INSTANCE, rights=("A b",)),
    ],
)
def test_what_no_certificate_may_say(identity: Identity) -> None:
    """Refused when written, and so when read."""
    with pytest.raises(ValueError, match=r"expected|has|have|needs"):
        encode(identity)


def test_another_version_and_trailing_bytes_are_refused() -> None:
    """A later version may mean anything."""
    value = encode(BD)
    with pytest.raises(ValueError, match="version"):
        decode(value.replace(b"\x02\x01\x01", b"\x02\x01\x02", 1))
    with pytest.raises(ValueError, match="surplus"):
        decode(value + b"\x00")
    inner = der.DERReader(value).take(der.SEQUENCE)
    with pytest.raises(ValueError, match="surplus"):
        decode(der.write(der.SEQUENCE, inner, der.write_integer(1)))
