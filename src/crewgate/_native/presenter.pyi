"""The party that presents a token, and what it shows beside the token."""

from crewgate._native.proof import Proof

class Presenter:
    """The party that presents a token (RFC 7800, section 1.1), and its evidence.

    Attributes:
        crew: The crew that its client certificate names; None without one.
        certificate: The SHA-256 digest of that certificate (32 bytes); None without one.
        branch: The key in the table (16 bytes) of the branch that the certificate names; None if it
            names none. Then only tokens of that branch are good.
        proof: The DPoP proof of this request; None without one.
        nonce_required: Whether a proof must have a nonce of this machine.
        next_nonce: The nonce to put into the answer, so that the client's next proofs have a newer
            one than this good proof (RFC 9449, section 8.2). None if there is no newer one.
    """

    crew: str | None
    certificate: bytes | None
    branch: bytes | None
    proof: Proof | None
    nonce_required: bool
    next_nonce: bytes | None

    def __init__(
        self,
        crew: str | None = None,
        certificate: bytes | None = None,
        proof: Proof | None = None,
        *,
        branch: bytes | None = None,
        nonce_required: bool = False,
    ) -> None:
        """Raise ValueError if `branch` has another size."""
