"""The names of accounts and of the runs that are charged to them."""

from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate.config import values
from crewgate.core.cross_crew_accounts import (
    ISSUER,
    account,
    caller,
    certificate,
    grant_id,
    is_account,
)
from crewgate.core.cross_crew_accounts import run_branch as branch_of
from crewgate.core.ids import uuid_bytes
from crewgate.core.tokens.claims import is_text
from crewgate.core.x509.identity_extension import Identity, Role

names = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True)
IDENTITY = Identity(Role.ORCHESTRATOR, "bd-1", bytes(range(16)), "bd")


@given(names, names)
def test_an_account_is_no_crew(source: str, target: str) -> None:
    """No configured crew can have its name, every claim can, and its crew can be told from it."""
    name = account(source, target)
    with pytest.raises(ValueError, match=r"^$"):
        values.NAME.read(name)
    assert is_text(name)
    assert is_account(name)
    assert not is_account(source)
    assert (caller(name), caller(source)) == (source, source)


@given(names, names, names, names)
def test_pairs_have_accounts_of_their_own(a: str, b: str, c: str, d: str) -> None:
    """Two pairs of crews never share one."""
    assert (account(a, b) == account(c, d)) == ((a, b) == (c, d))


def test_a_run_is_one_process_of_one_orchestrator_on_one_account() -> None:
    """Each of them makes another branch; the same make the same, in every worker and for ever."""
    branch = branch_of("bd:finance", IDENTITY)
    assert branch == "0e7e49ff-70fc-8671-a475-8b33d023bb3e"  # stored: another would reset accounts
    assert UUID(branch).version == 8
    assert uuid_bytes(branch)
    others = {
        branch_of("bd:hr", IDENTITY),
        branch_of("bd:finance", msgspec.structs.replace(IDENTITY, name="bd-2")),
        branch_of("bd:finance", msgspec.structs.replace(IDENTITY, instance=bytes(16))),
    }
    assert len(others | {branch}) == 4


def test_a_grant_names_the_certificate_it_was_signed_for() -> None:
    """Of an account alone: a token's own id may look like one."""
    grant = grant_id("0A1B", "c0ffee")
    assert is_text(grant)
    assert certificate("bd:finance", grant) == "0A1B"
    assert certificate("bd", grant) == ""
    assert is_text(ISSUER)
