"""Proofs of a browser's key under random changes: none but the proof itself is good."""

from hypothesis import given
from hypothesis import strategies as st
from page_browser import BrowserKey

from crewgate import limits
from crewgate.core.tokens.proof import P256Key
from crewgate.ui.login.browser_key import (
    InvalidProofError,
    ProofVerifier,
    ProvenRequest,
    UsedProofs,
    key_thumbprint,
)

KEY = BrowserKey()
THUMBPRINT = key_thumbprint(P256Key("P-256", KEY.jwk["x"], KEY.jwk["y"]))
REQUEST = ProvenRequest("POST", "https://crewgate.example/api/action", b"{}")
TEXT = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=~ \x00é"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def good(verifier: ProofVerifier) -> str:
    return KEY.proof(REQUEST.method, REQUEST.url, REQUEST.body, verifier.nonce)


def is_taken(verifier: ProofVerifier, proof: str, used: UsedProofs | None = None) -> bool:
    try:
        verifier.verify(proof, REQUEST, THUMBPRINT, used or UsedProofs())
    except InvalidProofError:
        return False
    return True


@given(st.text(TEXT, max_size=100))
def test_no_text_is_a_proof(text: str) -> None:
    """And none makes the verifier fail in another way."""
    assert not is_taken(ProofVerifier(), text)
    assert not is_taken(ProofVerifier(), f"{text}.{text}.{text}")


@given(data=st.data())
def test_no_change_of_a_proof_is_good(data: st.DataObject) -> None:
    """Of one character, wherever it is. The last bits of a signature's text mean nothing."""
    verifier = ProofVerifier()
    proof = good(verifier)
    place = data.draw(st.integers(0, len(proof) - 2))
    other = data.draw(st.sampled_from(TEXT).filter(lambda each: each != proof[place]))
    assert not is_taken(verifier, proof[:place] + other + proof[place + 1 :])
    assert is_taken(verifier, proof)


@given(data=st.data())
def test_a_signature_is_known_in_each_of_its_forms(data: st.DataObject) -> None:
    """With other last bits in its text it is the same proof, so it is used too."""
    verifier, used = ProofVerifier(), UsedProofs()
    proof = good(verifier)
    assert is_taken(verifier, proof, used)
    assert not is_taken(verifier, proof[:-1] + data.draw(st.sampled_from(TEXT)), used)


@given(st.floats(0, 300))
def test_a_proof_is_good_for_two_windows_at_most(seconds: float) -> None:
    """Whatever the clock of the browser says; and it is good for one window at least."""
    clock = Clock()
    verifier = ProofVerifier(clock)
    proof = good(verifier)
    clock.now += seconds
    if seconds < limits.ui_nonce_seconds:
        assert is_taken(verifier, proof)
    if seconds >= 2 * limits.ui_nonce_seconds:
        assert not is_taken(verifier, proof)


@given(st.lists(st.floats(0, 70), max_size=20))
def test_a_used_proof_is_never_good_again(pauses: list[float]) -> None:
    """Its id is remembered for as long as its nonce is good."""
    clock = Clock()
    verifier, used = ProofVerifier(clock), UsedProofs()
    proofs = []
    for pause in pauses:
        clock.now += pause
        proofs.append(good(verifier))
        assert is_taken(verifier, proofs[-1], used)
        assert not any(is_taken(verifier, each, used) for each in proofs)


def test_no_other_process_takes_a_proof() -> None:
    assert not is_taken(ProofVerifier(), good(ProofVerifier()))
