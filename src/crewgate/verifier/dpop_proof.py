"""The DPoP proof of a request, as an embedder gives it to its verifier."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from crewgate import limits
from crewgate._native.presenter import Presenter
from crewgate._native.proof import Origin, Proof

_CHARS = limits.proof_bytes_max + 1  # a longer proof is cut to this: the gate refuses it anyway


@dataclass(eq=False, repr=False, slots=True)
class DPoPProof:
    """What a request with the scheme DPoP shows beside its token (RFC 9449, section 7.1).

    Attributes:
        value: The value of the header field `DPoP`; empty if the client sent none.
        method: The method of the request, such as `"POST"`.
        url: The URL to which the client sent the request, such as `"https://host/path"`; its query
            counts for nothing. None if the host in the request is not one of this server's: then
            the proof is refused, since it may be one that the client made for another server.
        nonce_required: Whether the proof must have a nonce of this machine.
        presenter: The proof as the gate knows it, once the verifier has asked the gate.
    """

    value: str
    method: str
    url: str | None
    nonce_required: bool = False
    presenter: Presenter | None = field(default=None, init=False)

    @property
    def next_nonce(self) -> bytes | None:
        """After a permit: the value of a field `DPoP-Nonce` for the answer (section 8.2 there).

        The client's next proofs then have a newer nonce. None if there is no newer one.
        """
        return None if self.presenter is None else self.presenter.next_nonce

    def __repr__(self) -> str:
        """Return a text without the proof."""
        return f"<DPoPProof for {self.method} {self.url}>"


def native_proof(shown: DPoPProof) -> Proof:
    """Return the proof as the gate takes it.

    Raises:
        ValueError: `url` is no URL of HTTP.
    """
    text, method = shown.value[:_CHARS].encode("ascii", "replace"), shown.method.encode()
    if shown.url is None:
        return Proof(text, method, None, b"/")
    try:
        parts = urlsplit(shown.url)
    except ValueError as error:
        raise ValueError(f"url={shown.url!r}: {error}") from error
    if not parts.netloc:
        raise ValueError(f"url={shown.url!r}: pass the whole URL, such as https://host/path")
    origin = Origin(parts.scheme, parts.netloc.encode())
    return Proof(text, method, origin, (parts.path or "/").encode())
