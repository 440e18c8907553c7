"""Introspection: what the gate would say of a token, and what the table says of its names."""

import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import trio
from control_world import ALWAYS_NS, Machine, add_crew, ca_of, csr, identity
from full_register import full_books

from crewgate import limits
from crewgate.api.backend import CertificateRequest
from crewgate.ca.authority import Authority
from crewgate.ca.certificates import new_key
from crewgate.ca.decommission_intents import DecommissionIntents
from crewgate.config import Config, load
from crewgate.control.threaded_backend import ThreadedBackend
from crewgate.control.token_reader import TokenReader
from crewgate.core.ids import EntityKind, uuid_bytes
from crewgate.core.x509.identity_extension import Identity, Role
from crewgate.errors import CAError, ControlError, ServiceConnectionError
from crewgate.issuer.inspection import read_claims
from crewgate.issuer.orchestrator import Orchestrator

Mint = Callable[..., tuple[str, str, str]]


@pytest.fixture
async def office(config: Config, machine: Machine) -> AsyncIterator[ThreadedBackend]:
    """The work behind the API, on a live table."""
    found = ThreadedBackend(config, ca_of(config))
    found._cache.tree = machine.graph.tree
    yield found
    found.close()


def minted(config: Config, crew: str = "bd", lifetime: int = 900) -> tuple[str, str, str]:
    """Tokens of a run, of its child, and of a child of that."""
    with Orchestrator.from_config(config.path, crew=crew, lifetime=lifetime) as orchestrator:
        run = orchestrator.start_run(credits="9", tools=["search.*"])
        child = orchestrator.spawn(role="r", parent=run, tools=["search.web"], credits="3")
        below = orchestrator.spawn(role="s", parent=child, tools=["search.web"], credits="1")
        return run.token(), child.token(), below.token()


async def test_a_good_token_says_what_it_is(office: ThreadedBackend, config: Config) -> None:
    """The members of RFC 7662, section 2.2, and the branch."""
    _, child, _ = minted(config)
    claims, found = read_claims(child), await office.introspect(child)
    assert found.active
    assert (found.scope, found.client_id, found.crew) == ("search.web", claims.client_id, "bd")
    assert (found.jti, found.exp, found.iat) == (claims.jti, claims.exp, claims.iat)
    assert (found.branch, found.credits_micro) == (claims.execution_branch_id, 3_000_000)
    assert (found.token_type, found.iss, found.aud) == ("Bearer", claims.iss, claims.aud)


@pytest.mark.parametrize(
    "kind",
    [
        EntityKind.BRANCH,
        EntityKind.GRANT,
        EntityKind.PROCESS,
        EntityKind.ORCHESTRATOR,
        EntityKind.KEY,
        EntityKind.CREW,
        None,
    ],
    ids=lambda kind: kind.name if kind else "ANCESTOR",
)
async def test_a_dead_token_is_not_active(
    office: ThreadedBackend, config: Config, machine: Machine, kind: EntityKind | None
) -> None:
    """By each thing that it names: nothing is said but that; another crew's lives on."""
    run, child, _ = minted(config)
    other, _, _ = minted(config, "finance")
    claims, above = read_claims(child), read_claims(run)
    names = {
        EntityKind.BRANCH: uuid_bytes(claims.execution_branch_id),
        EntityKind.GRANT: claims.jti.encode(),
        EntityKind.PROCESS: claims.process_id.encode(),
        EntityKind.ORCHESTRATOR: claims.client_id.encode(),
        EntityKind.KEY: b"bd-1",
        EntityKind.CREW: b"",
    }
    assert (await office.introspect(child)).active
    if kind is None:
        machine.revoke(EntityKind.BRANCH, "bd", uuid_bytes(above.execution_branch_id))
    else:
        machine.revoke(kind, "bd", names[kind])
    assert not (await office.introspect(child)).active
    assert (await office.introspect(child)).client_id == ""
    assert (await office.introspect(other)).active
    # What is narrower than the whole process, orchestrator, key or crew spares the parent.
    spared = kind in {EntityKind.BRANCH, EntityKind.GRANT}
    assert (await office.introspect(run)).active is spared


async def test_tokens_issued_after_a_revocation_of_their_orchestrator_live(
    office: ThreadedBackend, config: Config, machine: Machine
) -> None:
    """All until a second are dead, and none after it."""
    run, _, _ = minted(config)
    issued = read_claims(run).iat
    machine.revoke(EntityKind.ORCHESTRATOR, "bd", b"bd/bd-1", before=issued - 1)
    assert (await office.introspect(run)).active
    machine.revoke(EntityKind.ORCHESTRATOR, "bd", b"bd/bd-1", before=issued)
    assert not (await office.introspect(run)).active


async def test_garbage_is_not_active(office: ThreadedBackend, config: Config) -> None:
    """Whatever is sent: no error, and no word on what was wrong."""
    run, _, _ = minted(config)
    head, body, sign = run.split(".")
    turned = f"{head}.{body}.{sign[:-2]}{'AQ' if sign.endswith('AA') else 'AA'}"
    for garbage in ("", "x", "a.b.c", f"{head}.{body}.", turned, "é.é.é",
                    "\ud800", "." * 9000, f" {run}", f"{run}\n"):  # fmt: skip
        found = await office.introspect(garbage)
        assert (found.active, found.client_id, found.crew) == (False, "", "")


async def test_an_expired_token_is_not_active(
    office: ThreadedBackend, config: Config, machine: Machine
) -> None:
    """By the clock of the gate."""
    run, _, _ = minted(config, lifetime=1)
    now = time.time_ns()
    office._reader.resource._gate.clock = (now + (2 + limits.leeway_seconds) * 10**9, 10**15)
    assert not (await office.introspect(run)).active


def test_a_token_over_a_ceiling_is_not_read(config: Config) -> None:
    """A key that signs for longer than its crew may is refused here as it is at the gateways."""
    token, _, _ = minted(config)
    assert TokenReader(config).read(token) is not None
    crews = tuple(msgspec.structs.replace(crew, lifetime_seconds=300) for crew in config.crews)
    assert TokenReader(msgspec.structs.replace(config, crews=crews)).read(token) is None


async def test_a_key_that_left_is_believed_no_more(
    office: ThreadedBackend, config: Config, tmp_path: Path
) -> None:
    """The file is looked at with each question; one that is broken changes nothing."""
    run, _, _ = minted(config)
    jwks = config.crew("bd").jwks
    good = jwks.read_text()
    jwks.write_text("{")
    assert (await office.introspect(run)).active
    add_crew(config.path.parent, "bd", kid="bd-new")
    assert not (await office.introspect(run)).active
    jwks.write_text(good)
    assert (await office.introspect(run)).active


async def test_without_an_agent_nobody_vouches(
    office: ThreadedBackend, config: Config, machine: Machine
) -> None:
    """With no table, a stale one, or one that may lack revocations, no token is called good."""
    run, _, _ = minted(config)
    assert (await office.introspect(run)).active
    machine.table.extend_freshness(1, ALWAYS_NS)
    with pytest.raises(ServiceConnectionError):
        await office.introspect(run)
    machine.table.extend_freshness(ALWAYS_NS, 1)
    with pytest.raises(ServiceConnectionError, match="majority"):
        await office.introspect(run)
    machine.table.extend_freshness(ALWAYS_NS, ALWAYS_NS)
    assert (await office.introspect(run)).active
    machine.away = True
    with pytest.raises(ServiceConnectionError):
        await office.introspect(run)
    assert (await office.health()).status == "waiting"


async def test_a_serial_that_was_not_issued_is_no_certificate(office: ThreadedBackend) -> None:
    """Whatever it looks like."""
    for serial in ("", "0B", "x", "-1", "F" * 100):
        assert await office.holder(serial) is None
        with pytest.raises(ControlError) as refused:
            await office.check(serial)
        assert refused.value.status == 401


async def test_another_configuration_takes_the_place_of_the_one_before_between_two_questions(
    office: ThreadedBackend, config: Config
) -> None:
    """A crew is added while all sorts of work go on: none of it fails, and the crew is there."""
    file = config.path
    add_crew(file.parent, "legal")
    text = file.read_text()
    section = text[text.index("[crew.bd]") : text.index("[crew.finance]")].replace("bd", "legal")
    file.write_text(text + section)
    changed, is_over = load(file), trio.Event()
    with Authority(ca_of(config)) as authority:
        key = new_key().public_key()
        now = datetime.now(UTC)
        ada = authority.issue(identity(Role.OPERATOR, "ada"), key, now).serial
    done: Counter[str] = Counter()

    async def ask(what: str, work: Callable[[], Awaitable[object]]) -> None:
        while not is_over.is_set():
            await work()
            done[what] += 1

    async def certify(crew: str) -> None:
        await office.certify(
            CertificateRequest(Identity(Role.ORCHESTRATOR, "x-1", b"", crew), csr(), ada)
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "entry", lambda: office.entry(ada))
        nursery.start_soon(ask, "ocsp", lambda: office.local_ocsp(b"nonsense"))
        nursery.start_soon(ask, "api", lambda: office.ocsp(b"nonsense"))
        nursery.start_soon(ask, "list", office.publish)
        with pytest.raises(ControlError, match="no such crew"):
            await certify("legal")
        for _ in range(3):
            before = dict(done)
            await office.load(changed, ca_of(changed))
            while any(done[each] <= before.get(each, 0) for each in done):  # noqa: ASYNC110
                await trio.sleep(0.001)
        await certify("legal")
        is_over.set()
    assert set(done) == {"entry", "ocsp", "api", "list"}


async def test_one_that_cannot_be_used_leaves_the_one_before(
    office: ThreadedBackend, config: Config
) -> None:
    """Its CA is not there."""
    ca = ca_of(config)
    elsewhere = msgspec.structs.replace(ca, folder=ca.folder / "none")
    with pytest.raises(CAError):
        await office.load(config, elsewhere)
    await office.publish()
    assert await office.entry("AB") is None


async def test_another_configuration_goes_on_with_what_the_disk_did_not_take(
    office: ThreadedBackend, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its CA may be on another disk, for this very reason."""
    ca = ca_of(config)
    with full_books(monkeypatch):
        await office.revoke_orchestrator("bd", "bd-1", "unspecified", "operator/ada")
        moved = msgspec.structs.replace(ca, folder=ca.folder.with_name("moved"))
        shutil.copytree(ca.folder, moved.folder)
        (config.state / "unwritten").unlink()  # of no use to whoever has it from the one before
        await office.load(msgspec.structs.replace(config, ca=moved), moved)
        assert "disk is full" in office.unwritten_reason
    assert (await office.keep_up()).agent_lacks  # no agent runs here
    assert office.unwritten_reason == ""
    assert [*DecommissionIntents(moved.folder).open()]
