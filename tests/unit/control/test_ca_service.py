"""The CA at work: who gets which certificate, and revocations that are never half done."""

import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import forged_certificates
import msgspec
import pytest
from ca_world import ADA, BD, EDGE, Agent, first, opened, own, status
from control_world import ca_of, csr, identity
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from crewgate import limits
from crewgate.api.backend import CertificateRequest
from crewgate.api.schemas import RevocationReason
from crewgate.ca.authority import request_pem
from crewgate.ca.certificate_db import CertificateDB, CertificateRecord
from crewgate.ca.certificates import make_server, new_key
from crewgate.ca.crl import REASONS
from crewgate.config import Config
from crewgate.control import ca_service as desk_
from crewgate.control.ca_service import CAService
from crewgate.core.x509.certificate import read
from crewgate.core.x509.identity_extension import MAY_REVOKE, Identity, Role, member_id
from crewgate.errors import CAError, ControlError, ServiceConnectionError, ServiceRefusedError
from crewgate.ipc.admin_messages import RevocationReceipt
from crewgate.lifecycle import orchestrator_decommission
from crewgate.lifecycle.orchestrator_runs import OrchestratorRunState, OrchestratorRunStore
from crewgate.lifecycle.processes import RunProcess, this


def test_one_s_own_next_certificate_says_the_same(desk: CAService) -> None:
    """Identity and instance, chain and dates; and the register has it."""
    entry = first(desk, BD)
    answer = desk.certify(own(desk, BD, entry))
    leaf, issuing = x509.load_pem_x509_certificates(answer.certificate.encode())
    assert read(leaf.public_bytes(Encoding.DER)).speaks_for() == BD
    leaf.verify_directly_issued_by(issuing)
    assert desk.authority.register.find(answer.serial) is not None
    life = answer.not_after - answer.not_before
    assert life <= limits.certificate_life_seconds + limits.certificate_backdate_seconds


def test_a_gateway_keeps_its_names(desk: CAService) -> None:
    """Without them its next certificate would be none for its clients."""
    names: list[x509.GeneralName] = [x509.DNSName("edge.example")]
    entry = first(desk, EDGE, hosts=names)
    answer = desk.certify(own(desk, EDGE, entry))
    leaf = x509.load_pem_x509_certificate(answer.certificate.encode())
    found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert found.get_values_for_type(x509.DNSName) == ["edge.example"]


def test_a_gateway_keeps_its_signing_key_and_rights(desk: CAService) -> None:
    """Whatever key its TLS has next: what it has signed, and may sign, stays its own."""
    edge = msgspec.structs.replace(EDGE, key=bytes(range(32)), rights=(MAY_REVOKE,))
    answer = desk.certify(own(desk, edge, first(desk, edge)))
    leaf = x509.load_pem_x509_certificate(answer.certificate.encode())
    assert read(leaf.public_bytes(Encoding.DER)).speaks_for() == edge
    other = msgspec.structs.replace(edge, key=bytes(32))
    by = first(desk, ADA).serial
    with pytest.raises(CAError, match="another signing key"):
        desk.certify(CertificateRequest(other, csr(), by))


def test_an_operator_asks_for_others(desk: CAService) -> None:
    """Of any crew that there is, of any role; each with an instance of its own."""
    by = first(desk, ADA).serial
    for wanted, hosts in (
        (Identity(Role.ORCHESTRATOR, "fin-1", b"", "finance"), ()),
        (Identity(Role.GATEWAY, "edge-2", b""), ("edge.example", "192.0.2.1", "2001:db8::1")),
        (Identity(Role.OPERATOR, "bob", b""), ()),
    ):
        one, other = (
            desk.certify(CertificateRequest(wanted, csr(), by, hosts=hosts)) for _ in range(2)
        )
        found = [desk.authority.register.find(each.serial) for each in (one, other)]
        assert [each.label for each in found if each] == [wanted.label] * 2
        assert len({each.instance for each in found if each}) == 2


@pytest.mark.parametrize(
    ("wanted", "changes", "refused"),
    [
        (Identity(Role.ORCHESTRATOR, "x-1", b"", "nobody"), {}, 404),
        (Identity(Role.ORCHESTRATOR, "x-1", b""), {}, 400),
        (Identity(Role.OPERATOR, "x", b"", "bd"), {}, 400),
        (Identity(Role.OPERATOR, "X/..", b""), {}, 400),
        (Identity(Role.OPERATOR, "", b""), {}, 400),
        (Identity(Role.GATEWAY, "x", b""), {"hosts": ("a b",)}, 400),
        (Identity(Role.GATEWAY, "x", b""), {"hosts": ("é.example",)}, 400),
        (Identity(Role.OPERATOR, "x", b""), {"hosts": ("edge",)}, 400),
        (Identity(Role.OPERATOR, "x", b""), {"request": "nonsense"}, 400),
        (Identity(Role.OPERATOR, "x", b""), {"request": ""}, 400),
    ],
)
def test_wishes_that_are_refused(
    desk: CAService, wanted: Identity, changes: dict[str, object], refused: int
) -> None:
    """Each for what is wrong with it, and nothing is issued."""
    by = first(desk, ADA).serial
    before = len(desk.authority.register.all())
    wish = msgspec.structs.replace(CertificateRequest(wanted, csr(), by), **changes)
    assert status(desk, wish) == refused
    assert len(desk.authority.register.all()) == before


def test_nobody_gives_himself_a_longer_life(desk: CAService, config: Config) -> None:
    """What the configuration says is the most; an operator may give another more."""
    entry, by = first(desk, BD), first(desk, ADA).serial
    most = ca_of(config).life_seconds
    assert status(desk, own(desk, BD, entry, life_seconds=most + 1)) == 400
    desk.certify(own(desk, BD, entry, life_seconds=most))
    desk.certify(
        CertificateRequest(Identity(Role.OPERATOR, "bob", b""), csr(), by, life_seconds=most + 1)
    )


AGENT = Identity(Role.AGENT, "bd-1", bytes(range(16)), "bd")


def test_the_certificate_of_a_branch_ends_with_its_token(desk: CAService) -> None:
    """Or after a quarter of an hour, whatever a token says; it counts for no rate of others."""
    by, now = first(desk, BD).serial, int(time.time())
    for until, life, ends in (
        (now + 300, None, 300), (now + 300, 3600, 300), (now + 300, 60, 60),
        (now + 9999, None, 900),
    ):  # fmt: skip
        wish = CertificateRequest(AGENT, csr(), by, life_seconds=life, until=until)
        answer = desk.certify(wish)
        assert 0 <= answer.not_after - now - ends <= 2 if ends != 300 else answer.not_after == until
        assert answer.holder == f"bd/bd-1#{AGENT.branch}"
    assert status(desk, CertificateRequest(AGENT, csr(), by, until=now)) == 400
    with pytest.raises(CAError, match="ends with its token"):
        desk.certify(CertificateRequest(AGENT, csr(), by))
    with pytest.raises(CAError, match="cannot be renewed"):
        desk.authority.renew(answer.serial, datetime.now(UTC))
    assert desk.authority.register.issued_since("bd", "bd-1", 0) == 1


def test_the_certificates_of_branches_are_bounded(
    desk: CAService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "tokens_burst", 2)
    by, until = first(desk, BD).serial, int(time.time()) + 300
    for _ in range(2):
        desk.certify(CertificateRequest(AGENT, csr(), by, until=until))
    assert status(desk, CertificateRequest(AGENT, csr(), by, until=until)) == 429
    other = msgspec.structs.replace(AGENT, name="bd-2")
    desk.certify(CertificateRequest(other, csr(), by, until=until))


@pytest.mark.parametrize(
    "key",
    [
        lambda: ec.generate_private_key(ec.SECP384R1()),
        lambda: ec.generate_private_key(ec.SECP256K1()),
        lambda: rsa.generate_private_key(65537, 1024),
        ed25519.Ed25519PrivateKey.generate,
    ],
)
def test_a_branch_needs_a_key_like_all_others(desk: CAService, key: Callable[[], Any]) -> None:
    by, until = first(desk, BD).serial, int(time.time()) + 300
    made = key()
    digest = None if isinstance(made, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    text = request.sign(made, digest).public_bytes(Encoding.PEM).decode()
    assert status(desk, CertificateRequest(AGENT, text, by, until=until)) == 400


def test_the_end_of_an_orchestrator_ends_the_certificates_of_its_branches(
    desk: CAService, config: Config
) -> None:
    by, until = first(desk, ADA).serial, int(time.time()) + 300
    serial = desk.certify(CertificateRequest(AGENT, csr(), by, until=until)).serial
    desk.revoke_orchestrator("bd", "bd-1", "cessationOfOperation")
    entry = desk.authority.register.find(serial)
    assert entry is not None
    assert entry.status(time.time()) == "revoked"
    # While `crewgate run` ends a process of that name, no branch gets a certificate either.
    with OrchestratorRunStore(ca_of(config).register) as runs:
        runs.request_stop("bd", "bd-1", int(time.time()))
        with pytest.raises(CAError, match="being ended"):
            desk.certify(CertificateRequest(AGENT, csr(), by, until=until))


def test_the_hour_is_bounded(desk: CAService, monkeypatch: pytest.MonkeyPatch) -> None:
    """A holder who asks again and again is told to come later; another is not."""
    monkeypatch.setattr(limits, "certificates_per_hour_max", 3)
    entry, other = first(desk, BD), first(desk, EDGE)
    desk.certify(own(desk, BD, entry))
    desk.certify(own(desk, BD, entry))
    assert status(desk, own(desk, BD, entry)) == 429
    desk.certify(own(desk, EDGE, other))


def test_who_is_revoked_gets_no_next_one(desk: CAService, agent: Agent) -> None:
    """Not with the certificate that was revoked, and not with one that was never issued."""
    entry = first(desk, BD)
    desk.revoke_certificate(entry.serial, "keyCompromise", "operator/ada")
    assert agent.by == ["operator/ada"]
    assert status(desk, own(desk, BD, entry)) == 401
    assert status(desk, CertificateRequest(BD, csr(), "0BAD", is_own=True)) == 401


def test_a_certificate_signed_while_its_asker_is_revoked_dies_too(
    desk: CAService, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process revokes between the look and the signature: nobody gets what was signed."""
    entry, issue = first(desk, BD), desk.authority.issue
    signed: list[CertificateRecord] = []

    def issue_slowly(*given: object, **named: object) -> CertificateRecord:
        with CertificateDB(ca_of(config).register) as register:
            register.revoke([entry.serial], "unspecified", int(datetime.now(UTC).timestamp()))
        signed.append(issue(*given, **named))  # type: ignore[arg-type]
        return signed[-1]

    monkeypatch.setattr(desk.authority, "issue", issue_slowly)
    assert status(desk, own(desk, BD, entry)) == 401
    found = desk.authority.register.find(signed[0].serial)
    assert found is not None
    assert found.revoked is not None


def test_an_orchestrator_ends_with_all_that_it_has(desk: CAService, agent: Agent) -> None:
    """Overlapping certificates and the name as such in one step; others of its crew live on."""
    entries = [first(desk, BD) for _ in range(3)]
    other = first(desk, identity(Role.ORCHESTRATOR, "bd-2", "bd"))
    answer = desk.revoke_orchestrator("bd", "bd-1", "cessationOfOperation", "operator/ada")
    assert agent.by == ["operator/ada"]
    serials = sorted(each.serial for each in entries)
    assert sorted(answer.certificates) == serials
    assert (answer.applied_on, answer.connections_closed) == (1, 3)
    ((told, more),) = agent.told
    assert (sorted(told), more) == (serials, ["bd/bd-1"])
    assert desk.authority.register.find(other.serial).status(0) == "valid"  # type: ignore[union-attr]
    desk.complete()
    assert len(agent.told) == 1


def test_what_another_process_has_just_revoked_is_left_to_it(desk: CAService, agent: Agent) -> None:
    """It tells the agent itself, and has the receipt; if it dies, this is done after a while."""
    entry = first(desk, BD)
    desk.authority.register.revoke([entry.serial], "keyCompromise", int(time.time()))
    desk.complete(3600)
    assert agent.told == []
    desk.complete()
    assert [serials for serials, _ in agent.told] == [[entry.serial]]


def test_what_this_process_revoked_waits_for_no_other(
    desk: CAService, agent: Agent, config: Config
) -> None:
    """The agent was away and hears at once, also from the desk of another configuration."""
    entry, agent.away = first(desk, BD), True
    desk.revoke_certificate(entry.serial, "superseded")
    agent.away = False
    with closing(opened(config)) as after:
        after.complete(3600)
        assert agent.heard == ([entry.serial], [])
        after.complete(3600)
        assert after.held.own == set()
    assert agent.heard == ([entry.serial], [])


@pytest.mark.parametrize("is_first", [True, False])
def test_the_life_of_an_orchestrator_that_is_ended_here_waits_for_no_other_process(
    desk: CAService,
    agent: Agent,
    config: Config,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_first: bool,
) -> None:
    """Its process and its key end next, but not before the answer; a command's own end is left."""
    monkeypatch.setattr(orchestrator_decommission, "announce", agent.announce)
    gone, entry = RunProcess(2**22 - 1, 1, "another boot"), first(desk, BD)
    with OrchestratorRunStore(ca_of(config).register) as lives:
        life = lives.begin("bd", "bd-1", gone, BD.instance, lambda _: None)
        if not is_first:
            lives.request_stop("bd", "bd-1", int(time.time()))
    announce = agent.announce

    def announce_slowly(*given: Any, by: str) -> RevocationReceipt:
        assert orchestrator_decommission.complete_intents(config, 3600) == []
        return announce(*given, by=by)

    with monkeypatch.context() as patch:
        patch.setattr(desk_, "announce", announce_slowly)
        answer = desk.revoke_orchestrator("bd", "bd-1", "unspecified")
    assert answer.certificates == [entry.serial]
    done = orchestrator_decommission.complete_intents(config, 3600)
    assert [(each.life.id, each.is_complete) for each in done] == [(life.id, True)] * is_first
    orchestrator_decommission.complete_intents(config, 3600)
    assert desk.held.own_runs == set()


def test_who_runs_under_that_name_gets_no_next_certificate(
    desk: CAService, config: Config, agent: Agent
) -> None:
    """Its supervisor would have itself one signed; a name that nobody runs may begin anew."""
    with OrchestratorRunStore(ca_of(config).register) as lives:
        lives.begin("bd", "bd-1", this(), BD.instance, lambda _: None)
        desk.revoke_orchestrator("bd", "bd-1", "keyCompromise")
        (life,) = lives.open()
        assert (life.label, life.state) == ("bd/bd-1", OrchestratorRunState.ENDING)
        with pytest.raises(
            CAError, match=r"no certificate is issued .*: its \w+ (is being|has been) ended"
        ):
            first(desk, BD)
        desk.revoke_orchestrator("bd", "bd-2", "keyCompromise")
        first(desk, identity(Role.ORCHESTRATOR, "bd-2", "bd"))


def test_a_certificate_that_was_never_issued_is_not_revoked(desk: CAService, agent: Agent) -> None:
    """404, and the agent is not told of a serial that somebody made up."""
    with pytest.raises(ControlError) as refused:
        desk.revoke_certificate("0BAD", "unspecified")
    assert (refused.value.status, agent.told) == (404, [])


def test_an_agent_that_is_away_hears_of_it_later(desk: CAService, agent: Agent) -> None:
    """The answer says so; certificates are dead by list and register at once."""
    entry, agent.away = first(desk, BD), True
    answer = desk.revoke_orchestrator("bd", "bd-1", "unspecified")
    assert (answer.applied_on, answer.missing) == (0, ["this machine"])
    assert answer.certificates == [entry.serial]
    with pytest.raises(ServiceConnectionError):
        desk.complete()
    agent.away = False
    desk.complete()
    assert agent.heard == ([entry.serial], ["bd/bd-1"])
    desk.complete()
    assert agent.heard == ([entry.serial], ["bd/bd-1"])


def test_one_that_is_refused_keeps_no_other_from_its_end(
    desk: CAService, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent has no room for the first: the others are told, and it is said."""
    agent.away = True
    for name in ("a-1", "bd-1"):
        desk.revoke_orchestrator("bd", name, "unspecified")
    agent.away, announce = False, agent.announce

    def refuse(*given: Any, by: str) -> RevocationReceipt:
        if any(name.name == "bd/a-1" for name in given[3]):
            raise ServiceRefusedError("there is no room")
        return announce(*given, by=by)

    monkeypatch.setattr(desk_, "announce", refuse)
    with pytest.raises(ServiceRefusedError, match="no room"):
        desk.complete()
    assert agent.heard[1] == ["bd/bd-1"]


@pytest.mark.parametrize("what", ["certificate", "orchestrator"])
def test_the_next_process_completes_what_a_killed_one_began(
    config: Config, agent: Agent, what: str
) -> None:
    """Whatever was registered and not announced, and the orchestrator as such."""
    desk = opened(config)
    entry = first(desk, BD)
    agent.dying = True
    revoke = {
        "certificate": lambda: desk.revoke_certificate(entry.serial, "unspecified"),
        "orchestrator": lambda: desk.revoke_orchestrator("bd", "bd-1", "unspecified"),
    }[what]
    with pytest.raises(KeyboardInterrupt):
        revoke()
    desk.close()
    agent.dying = False
    after = opened(config)
    after.complete()
    assert agent.heard == ([entry.serial], ["bd/bd-1"] if what == "orchestrator" else [])
    assert after.authority.register.pending() == []
    after.close()


def test_the_api_s_reasons_are_the_ca_s() -> None:
    """What the one takes the other can write into a list (RFC 5280, section 5.3.1)."""
    assert set(get_args(RevocationReason)) == set(REASONS)


def test_a_gateway_s_next_certificate_lives_as_long_as_the_one_before(desk: CAService) -> None:
    """It is a server, too: one of four hours must not take the place of one of a year."""
    year = limits.gateway_life_seconds_max
    entry = first(desk, EDGE, life_seconds=year)
    answer = desk.certify(own(desk, EDGE, entry))
    assert answer.not_after - answer.not_before == year + limits.certificate_backdate_seconds
    brief = first(desk, EDGE, life_seconds=600)
    answer = desk.certify(own(desk, EDGE, brief))
    assert answer.not_after - answer.not_before == 600 + limits.certificate_backdate_seconds


def test_a_machine_that_was_evicted_renews_nothing(desk: CAService, config: Config) -> None:
    """Its next certificate would make it a member again, and clients would take it for ours."""
    entry = first(desk, EDGE)
    gossip = config.state / "gossip"
    gossip.mkdir(exist_ok=True)
    (gossip / f"{member_id('edge-1').hex()}.gone").write_text(str(entry.issued))
    assert status(desk, own(desk, EDGE, entry)) == 403
    request, before = _server(desk)
    with pytest.raises(ControlError, match="was evicted"):
        desk.certify_server(request, before, entry.serial)


def test_a_server_s_certificate_is_renewed_for_who_has_its_key(desk: CAService) -> None:
    """By a gateway, for what its clients are shown: same key and names."""
    by = first(desk, EDGE).serial
    request, before = _server(desk)
    answer = desk.certify_server(request, before, by)
    old = x509.load_pem_x509_certificate(before.encode())
    new, issuing = x509.load_pem_x509_certificates(answer.certificate.encode())
    new.verify_directly_issued_by(issuing)
    assert (new.public_key(), new.subject) == (old.public_key(), old.subject)
    assert new.serial_number == int(answer.serial, 16) != old.serial_number
    names = [each.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
             for each in (old, new)]  # fmt: skip
    assert names[0] == names[1]


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("another key", "for another key"),
        ("over", "the certificate has expired"),
        ("another CA", "another CA issued certificate"),
        ("an orchestrator", "it is not a plain server certificate"),
        ("nonsense", "not a PEM certificate with a known kind of key"),
    ],
)
def test_what_is_no_server_of_ours_is_not_renewed(desk: CAService, what: str, says: str) -> None:
    """Each says why."""
    by, now = first(desk, EDGE).serial, datetime.now(UTC)
    request, before = _server(desk)
    if what == "another key":
        request = csr()
    elif what == "over":
        request, before = _server(desk, now - timedelta(days=limits.ca_server_days + 1))
    elif what == "another CA":
        other = forged_certificates.other_issuing()
        made = make_server(other, [x509.DNSName("x.example")], now)
        request, before = request_pem(made.key).decode(), made.certificate_pem.decode()
    elif what == "an orchestrator":
        key = new_key()
        request = request_pem(key).decode()
        before = desk.authority.issue(BD, key.public_key(), now).pem
    else:
        before = "nonsense"
    with pytest.raises(ControlError, match=says) as refused:
        desk.certify_server(request, before, by)
    assert refused.value.status == 400


def _server(desk: CAService, at: datetime | None = None) -> tuple[str, str]:
    """A CSR for the key of a server's certificate, and that."""
    made = make_server(
        desk.authority.issuing, [x509.DNSName("gw.example")], at or datetime.now(UTC)
    )
    return request_pem(made.key).decode(), made.certificate_pem.decode()
