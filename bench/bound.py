"""Bound tokens: what a DPoP proof and a client certificate cost beside a bearer token."""

import hashlib

from bench import libraries
from bench.decisions import COLD_CALLS, cold_calls, once_each, repeated
from bench.sampling import Group, measure
from bench.world import SEARCH, SMALL, World, clocks, expect, open_line, private_table
from crewgate._native.permit import Permit
from crewgate._native.presenter import Presenter
from crewgate._native.proof import Origin, Proof
from crewgate._native.proof_windows import open_windows
from crewgate.core.verdict import Denial
from crewgate.issuer import ProofKey
from crewgate.issuer.bindings import base64url

BEARER = "known token, bound to no key"
CERTIFICATE = "known token, bound to a certificate"
DPOP = "known token, a new DPoP proof (Ed25519)"
_ORIGIN, _PATH = Origin("https", b"gateway.example"), b"/search"


def bound(rounds: int) -> Group:
    """Verdicts on known tokens; each DPoP call has a proof that no other call has."""
    world = World()
    line = world.line()
    table = private_table(SMALL._replace(proofs=2**20), world.policy)
    open_line(table, line)
    now, boot = clocks()
    open_windows(table, now - 60, boot // 10**9 - 60)  # it takes proofs without a nonce now
    open_windows(table, now, boot // 10**9)
    gate = world.gate(table, holds=False)
    key, digest = ProofKey.generate(), hashlib.sha256(b"certificate").digest()
    tokens = {
        BEARER: world.mint(line),
        CERTIFICATE: world.mint(line, cnf={"x5t#S256": base64url(digest)}),
        DPOP: world.mint(line, cnf={"jkt": key.binding.jkt}),
    }
    text = tokens[DPOP].decode()
    url = (_ORIGIN.text + _PATH).decode()
    proofs = [key.proof(text, "POST", url).encode() for _ in range(cold_calls(rounds))]

    def proven(proof: bytes) -> Permit | Denial:
        presenter = Presenter(proof=Proof(proof, b"POST", _ORIGIN, _PATH))
        return gate.decide(tokens[DPOP], SEARCH, presenter=presenter)

    expect(proven(key.proof(text, "POST", url).encode()))
    cases = [
        libraries.bare(world, [tokens[BEARER]] * COLD_CALLS, COLD_CALLS),
        repeated(BEARER, gate, tokens[BEARER], SEARCH),
        repeated(CERTIFICATE, gate, tokens[CERTIFICATE], SEARCH, presenter=Presenter(None, digest)),
        once_each(DPOP, proven, proofs),
    ]
    return measure("Bound tokens", cases, rounds, libraries.BARE)
