"""The token exchange of the control process: a person's token is verified beside all other work."""

import threading
import time
from collections.abc import AsyncIterator

import msgspec
import pytest
import trio
from control_world import Machine, ca_of
from identity_provider_world import id_token, jwk, jwks, provider

from crewgate.api.backend import TokenRequest
from crewgate.config import Config
from crewgate.control.threaded_backend import ThreadedBackend
from crewgate.core.tokens.subjects import ProvenSubject
from crewgate.errors import SubjectTokenError
from crewgate.identity_provider.subject_tokens import SubjectTokenVerifier
from crewgate.issuer import read_claims

RUN = TokenRequest(("search.*",), "10", "lead")


@pytest.fixture
async def office(
    config: Config, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ThreadedBackend]:
    """The work behind the API of a gateway that knows the provider corp."""
    corp = provider(config.path.parent, crews=("bd",))
    config = msgspec.structs.replace(config, identity_providers=(corp,))
    found = ThreadedBackend(config, ca_of(config))
    found._cache.tree = machine.graph.tree
    monkeypatch.setattr(found._cache, "may_mint", machine.graph.may_mint)
    yield found
    found.close()


def of_ada(**changes: object) -> TokenRequest:
    """A run on behalf of her."""
    now = int(time.time())
    token = id_token(**{"iat": now, "exp": now + 300, **changes})
    return msgspec.structs.replace(RUN, subject_token=token)


async def test_a_person_s_token_begins_a_run(office: ThreadedBackend) -> None:
    """Of a crew that the provider is for; who asked is said in the answer and in the audit."""
    answer = await office.start_run("bd", "bd-1", of_ada())
    assert read_claims(answer.access_token).sub == answer.subject == "corp:ada"
    assert answer.audit_text.endswith(" on behalf of corp:ada")
    assert "eyJ" not in answer.audit_text
    for crew, name, ask in (("finance", "fin-1", of_ada()), ("bd", "bd-1", of_ada(aud="x"))):
        with pytest.raises(SubjectTokenError):
            await office.start_run(crew, name, ask)
    assert office.claims_known_provider(of_ada().subject_token or "")
    assert not office.claims_known_provider(answer.access_token)


async def test_a_provider_that_hangs_delays_no_other_work(
    office: ThreadedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other runs begin, and tokens are renewed, while a person's token waits for keys."""
    begun, over = threading.Event(), threading.Event()

    def hang(self: object, token: str, crew: str, now: float) -> ProvenSubject:
        begun.set()
        assert over.wait(60)
        return ProvenSubject("corp:ada")

    monkeypatch.setattr(SubjectTokenVerifier, "verify", hang)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(office.start_run, "bd", "bd-1", of_ada())
        await trio.to_thread.run_sync(begun.wait)
        try:
            run = await office.start_run("bd", "bd-1", RUN)
            assert (await office.refresh("bd", "bd-1", run.access_token, TokenRequest())).branch
        finally:
            over.set()


async def test_what_is_wrong_with_a_provider_is_known(
    office: ThreadedBackend, config: Config
) -> None:
    """For health; a new configuration has other providers."""
    assert await office.identity_provider_problems() == {"corp": ""}
    keys = config.path.parent / "corp.jwks.json"
    keys.write_bytes(jwks(jwk("rsa-1", use="enc")))
    problem = (await office.identity_provider_problems())["corp"]
    assert f"{keys}: none of 1 keys can be used" in problem
    await office.load(config, ca_of(config))
    assert await office.identity_provider_problems() == {}
