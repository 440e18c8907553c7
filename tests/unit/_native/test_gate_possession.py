"""The gate permits a call with a bound token only to a presenter that has the token's key."""

import hashlib

import proofs
import pytest
import tokens
from crew_world import World
from gate_world import BOOT_NS, NS, Gatehouse
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from proofs import Ed25519Client, P256Client

from crewgate import limits
from crewgate._native.presenter import Presenter
from crewgate._native.proof import Origin, Proof
from crewgate._native.proof_windows import are_full, open_windows
from crewgate.core.reasons import Reason

CLIENT, THIEF = Ed25519Client(), Ed25519Client(b"\2" * 32)
ORIGIN = Origin("https", b"gateway.example")
PATH = b"/search/web"
CERTIFICATE, OTHER_CERTIFICATE = b"\1" * 32, b"\2" * 32


def digest(data: bytes) -> str:
    return tokens.base64url(data).decode()


class Bound:
    """A gate, a token that is bound to the client's key, and proofs for requests with it."""

    def __init__(self, client: Ed25519Client | P256Client = CLIENT) -> None:
        self.world = World.make()
        self.house = Gatehouse(self.world)
        self.client = client
        self.token = self.world.mint(cnf={"jkt": proofs.thumbprint(client)})
        self.numbers = iter(range(10_000))
        self.pass_seconds(0)
        self.pass_seconds(limits.leeway_seconds + 4)  # a new table asks for nonces at first

    def pass_seconds(self, seconds: float) -> None:
        """Both clocks go on, and the agent does its work of each second."""
        self.house.boot_ns += round(seconds * NS)
        self.seconds = (self.house.boot_ns - BOOT_NS) / NS
        self.house.at(self.seconds)
        open_windows(self.house.table, self.now, self.house.boot_ns // NS)

    @property
    def now(self) -> int:
        return int(self.world.now + self.seconds)

    def nonce(self, **changes: object) -> str:
        """The nonce that a client gets with the refusal of another."""
        presenter = Presenter(proof=self.proof(**changes), nonce_required=True)
        return self.house.denial(self.token, presenter=presenter).nonce.decode()

    def proof(self, client: Ed25519Client | P256Client | None = None, **changes: object) -> Proof:
        """The proof of a new request."""
        claims = {
            "jti": f"{next(self.numbers):08}",
            "iat": self.now,
            "ath": digest(hashlib.sha256(self.token).digest()),
            **changes,
        }
        text = proofs.proof(client or self.client, **claims)
        return Proof(text, b"POST", ORIGIN, PATH)

    def reason(
        self, proof: Proof | None, token: bytes | None = None, *, required: bool = False
    ) -> Reason | None:
        """Why a request is refused, perhaps where a nonce is required."""
        presenter = Presenter(proof=proof, nonce_required=required)
        return self.house.reason(token or self.token, presenter=presenter)

    def repeated(self, **changes: object) -> Reason | None:
        """Why the second of two requests with the same proof is refused; the first is not."""
        text = self.proof(**changes).text
        assert self.reason(Proof(text, b"POST", ORIGIN, PATH)) is None
        return self.reason(Proof(text, b"POST", ORIGIN, PATH))


@pytest.fixture(params=[Ed25519Client, P256Client], ids=["Ed25519", "P-256"])
def bound(request: pytest.FixtureRequest) -> Bound:
    return Bound(request.param())


def test_a_bound_token_needs_a_proof(bound: Bound) -> None:
    assert bound.reason(bound.proof()) is None
    assert bound.reason(None) is Reason.INVALID_PROOF
    assert bound.house.reason(bound.token) is Reason.INVALID_PROOF
    assert bound.reason(bound.proof(THIEF)) is Reason.INVALID_PROOF
    assert bound.reason(bound.proof(htm="GET")) is Reason.INVALID_PROOF


def test_a_proof_is_good_once(bound: Bound) -> None:
    assert bound.repeated() is Reason.PROOF_REPLAYED
    assert bound.repeated(nonce=bound.nonce()) is Reason.PROOF_REPLAYED


def test_a_request_that_is_judged_twice_is_no_replay(bound: Bound) -> None:
    """The gate is asked again after a draw, and for another price."""
    proof = bound.proof()
    assert bound.reason(proof) is None
    assert bound.reason(proof) is None


def test_an_unbound_token_needs_no_proof_and_no_proof_fits_it() -> None:
    """RFC 9449, section 4.3: the proof has the key that the token is bound to."""
    bound = Bound()
    assert bound.reason(None, bound.world.token) is None
    assert bound.reason(bound.proof(), bound.world.token) is Reason.INVALID_PROOF


@pytest.mark.parametrize("where", ["crew", "tool"])
def test_a_crew_or_a_tool_can_require_bound_tokens(where: str) -> None:
    bound = Bound()
    policy = bound.world.policy
    crews = [structs.replace(each, requires_binding=where == "crew") for each in policy.crews]
    tools = [structs.replace(each, requires_binding=where == "tool") for each in policy.tools]
    required = structs.replace(policy, crews=tuple(crews), tools=tuple(tools), generation=2)
    bound.house.load(required)
    assert bound.reason(bound.proof()) is None
    assert bound.house.reason(bound.world.token) is Reason.TOKEN_UNBOUND
    assert bound.house.gate.grant_for(bound.world.token, 0) is None
    with bound.house.permit(bound.world.token, observe=True) as permit:
        assert (permit.observed_reason, permit.price_micro) == (Reason.TOKEN_UNBOUND, 0)


def test_only_a_refusal_for_the_nonce_has_one() -> None:
    bound = Bound()
    refused = bound.house.denial(bound.token, presenter=Presenter(proof=bound.proof(htm="GET")))
    assert refused.nonce == b""
    assert len(bound.nonce()) == 24


def test_no_proof_is_good_for_the_host_of_another_server(bound: Bound) -> None:
    text = bound.proof().text
    assert bound.reason(Proof(text, b"POST", None, PATH)) is Reason.INVALID_PROOF


def test_a_proof_is_refused_at_any_time_after_it_was_used() -> None:
    bound = Bound()
    used = bound.proof().text
    assert bound.reason(Proof(used, b"POST", ORIGIN, PATH)) is None
    for _ in range(400):
        bound.pass_seconds(0.5)
        found = bound.reason(Proof(used, b"POST", ORIGIN, PATH))
        assert found in {Reason.PROOF_REPLAYED, Reason.INVALID_PROOF, Reason.TOKEN_EXPIRED}


def test_a_used_proof_with_a_nonce_is_refused_at_any_time() -> None:
    bound = Bound()
    used = bound.proof(nonce=bound.nonce()).text
    assert bound.reason(Proof(used, b"POST", ORIGIN, PATH)) is None
    for _ in range(400):
        bound.pass_seconds(0.5)
        assert bound.reason(Proof(used, b"POST", ORIGIN, PATH)) is not None


def test_a_wall_clock_that_steps_back_makes_no_proof_good_again() -> None:
    bound = Bound()
    used = bound.proof().text
    assert bound.reason(Proof(used, b"POST", ORIGIN, PATH)) is None
    bound.pass_seconds(300)
    bound.house.at(bound.seconds - 300)
    open_windows(bound.house.table, bound.now - 300, bound.house.boot_ns // NS)
    assert bound.reason(Proof(used, b"POST", ORIGIN, PATH)) is Reason.USE_NONCE
    nonce = bound.nonce(iat=bound.now - 300)
    fresh = bound.proof(iat=bound.now - 300)
    assert bound.reason(fresh) is Reason.USE_NONCE  # its window was forgotten
    assert bound.reason(bound.proof(iat=bound.now - 300, nonce=nonce)) is None


def test_a_table_that_was_made_while_the_clock_was_behind() -> None:
    """An earlier table may have seen proofs until the clock was set right."""
    bound = Bound()
    used = bound.proof().text
    assert bound.reason(Proof(used, b"POST", ORIGIN, PATH)) is None
    bound.house = Gatehouse(bound.world)
    bound.house.at(bound.seconds)
    boot = bound.house.boot_ns // NS
    open_windows(bound.house.table, bound.now - 3600, boot)
    open_windows(bound.house.table, bound.now, boot)
    assert bound.reason(Proof(used, b"POST", ORIGIN, PATH)) is Reason.USE_NONCE
    assert bound.reason(bound.proof()) is Reason.USE_NONCE


def test_calls_that_are_refused_for_the_tool_take_no_room() -> None:
    """They cost nothing, so one agent could take the room of others."""
    bound = Bound()
    for tool in (-1, len(bound.world.policy.tools)):
        proof = bound.proof()
        refused = bound.house.denial(bound.token, tool, presenter=Presenter(proof=proof))
        assert refused.reason is Reason.UNKNOWN_TOOL
        assert bound.reason(Proof(proof.text, b"POST", ORIGIN, PATH)) is None


def test_a_new_table_takes_only_proofs_that_no_earlier_table_can_know() -> None:
    bound = Bound()
    used = bound.proof(iat=bound.now + limits.leeway_seconds).text
    assert bound.reason(Proof(used, b"POST", ORIGIN, PATH)) is None
    later = Bound()
    later.world, later.token = bound.world, bound.token
    later.house = Gatehouse(later.world)
    later.house.boot_ns = bound.house.boot_ns
    later.pass_seconds(0)
    for _ in range(limits.leeway_seconds + 4):
        assert later.reason(Proof(used, b"POST", ORIGIN, PATH)) is Reason.USE_NONCE
        later.pass_seconds(1)
    assert later.reason(later.proof(nonce=later.nonce())) is None
    assert later.reason(later.proof()) is None


def test_nonces_of_other_machines_and_times() -> None:
    bound, other = Bound(), Bound()
    assert bound.reason(bound.proof(nonce=bound.nonce())) is None
    ours = bound.nonce()
    for nonce in (other.nonce(), "", "x", "é", "A" * 24, ours + "A", ours[:-1], "B" + ours[1:]):
        # A client may go from one machine to another: the nonce counts for nothing here.
        assert bound.reason(bound.proof(nonce=nonce)) is None
        assert bound.repeated(nonce=nonce) is Reason.PROOF_REPLAYED
        assert bound.reason(bound.proof(nonce=nonce), required=True) is Reason.USE_NONCE
    old = bound.nonce()
    bound.pass_seconds(limits.proof_nonce_seconds - 16)
    assert bound.reason(bound.proof(nonce=old)) is None
    bound.pass_seconds(16)
    assert bound.reason(bound.proof(nonce=old)) is Reason.USE_NONCE


def test_a_listener_that_requires_nonces() -> None:
    bound = Bound()

    def reason(**changes: object) -> Reason | None:
        proof = bound.proof(**changes)
        return bound.house.reason(
            bound.token, presenter=Presenter(proof=proof, nonce_required=True)
        )

    assert reason() is Reason.USE_NONCE
    assert reason(nonce=bound.nonce()) is None


def test_a_full_window_refuses_new_proofs_and_forgets_none() -> None:
    bound = Bound()
    used = []
    assert not are_full(bound.house.table)
    while True:
        text = bound.proof().text
        found = bound.reason(Proof(text, b"POST", ORIGIN, PATH))
        if found is not None:
            break
        used.append(text)
    assert found is Reason.PROOFS_FULL
    assert are_full(bound.house.table)  # which the agent says in its health
    assert len(used) == 1024 // 16 * 3 // 8  # half of three quarters: one crew's part
    for text in used:
        assert bound.reason(Proof(text, b"POST", ORIGIN, PATH)) is Reason.PROOF_REPLAYED
    assert bound.reason(bound.proof(nonce=bound.nonce())) is None  # nonces have a set of their own
    bound.pass_seconds(16)
    assert bound.reason(bound.proof()) is None


def test_revoked_and_expired_tokens_are_refused_for_that() -> None:
    """The proof is looked at only after the token is good."""
    bound = Bound()
    bound.house.at(1000)
    assert bound.reason(bound.proof()) is Reason.TOKEN_EXPIRED


def test_a_token_that_is_bound_to_a_certificate() -> None:
    world = World.make()
    house = Gatehouse(world)
    token = world.mint(cnf={"x5t#S256": digest(CERTIFICATE)})
    assert house.reason(token, presenter=Presenter(certificate=CERTIFICATE)) is None
    for presenter in (None, Presenter(), Presenter(certificate=OTHER_CERTIFICATE)):
        assert house.reason(token, presenter=presenter) is Reason.INVALID_PROOF


def test_a_token_with_both_keys_needs_both() -> None:
    bound = Bound()
    jkt = proofs.thumbprint(CLIENT)
    bound.token = bound.world.mint(cnf={"jkt": jkt, "x5t#S256": digest(CERTIFICATE)})
    for certificate, proof, expected in (
        (CERTIFICATE, bound.proof(), None),
        (CERTIFICATE, None, Reason.INVALID_PROOF),
        (OTHER_CERTIFICATE, bound.proof(), Reason.INVALID_PROOF),
        (None, bound.proof(), Reason.INVALID_PROOF),
    ):
        presenter = Presenter(certificate=certificate, proof=proof)
        assert bound.house.reason(bound.token, presenter=presenter) is expected


@pytest.mark.parametrize(
    "confirmation",
    [
        {},
        [],
        "x",
        {"jkt": None},
        {"jkt": ""},
        {"jkt": "A" * 42 + "B"},
        {"jkt": "A" * 44},
        {"jkt": 7},
        {"x5t#S256": "A" * 42},
        {"jwk": {"kty": "OKP"}},
        {"kid": "1"},
        {"jkt": "A" * 43, "kid": "1"},
        {"jku": "https://evil.example"},
    ],
    ids=str,
)
def test_a_token_whose_binding_is_not_understood_is_refused(confirmation: object) -> None:
    world = World.make()
    assert Gatehouse(world).reason(world.mint(cnf=confirmation)) is Reason.INVALID_TOKEN


@pytest.mark.parametrize("value", [False, 1, "true"])
def test_a_process_is_proven_or_says_nothing_of_it(value: object) -> None:
    """An auditor reads one word for each of the two."""
    world = World.make()
    token = world.mint(process_proven=value)
    assert Gatehouse(world).reason(token) is Reason.INVALID_TOKEN


@given(data=st.data())
def test_no_call_is_permitted_without_the_key(data: st.DataObject) -> None:
    """An attacker has the token, proofs that were used, and its own key."""
    bound = KEPT
    used = bound.proof()
    assert bound.reason(used) is None
    text = data.draw(
        st.one_of(
            st.just(used.text),
            st.binary(max_size=300),
            st.builds(
                lambda claim, value: bound.proof(THIEF, **{claim: value}).text,
                st.sampled_from(["jti", "htm", "htu", "ath", "nonce"]),
                st.text(max_size=40),
            ),
            st.builds(
                lambda at, what: used.text[:at] + what + used.text[at + len(what) :],
                st.integers(0, len(used.text)),
                st.binary(min_size=1, max_size=3),
            ),
            st.permutations(used.text.split(b".")).map(b".".join),
        )
    )
    bound.pass_seconds(data.draw(st.sampled_from([0, 0.5, 7])))
    assert bound.reason(Proof(text, b"POST", ORIGIN, PATH)) in {
        Reason.INVALID_PROOF,
        Reason.PROOF_REPLAYED,
        Reason.PROOFS_FULL,
        Reason.TOKEN_EXPIRED,
    }


KEPT = Bound()
