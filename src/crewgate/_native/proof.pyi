"""DPoP proofs (RFC 9449): the form, the key, the request and the signature of each."""

from crewgate.core.reasons import Reason

class Origin:
    """Scheme, host and port of a listener's URLs, such as `https://gateway.example:8443`."""

    text: bytes

    def __init__(self, scheme: str, authority: bytes) -> None:
        """Make the origin of `authority`: a host in any case, with a port unless it is the default.

        Raises:
            ValueError: The scheme is neither `https` nor `http`.
        """

class KeyBinding:
    """The key that a token is bound to, by the thumbprint in its claim `cnf.jkt` (RFC 7800)."""

    thumbprint: bytes

    def __init__(self, jkt: str, token: bytes) -> None:
        """Bind `token` to a key. `jkt` is base64url of the thumbprint (RFC 7638).

        Raises:
            ValueError: `jkt` is not the canonical base64url of 32 bytes.
        """

class Proof:
    """The proof in a request's header field `DPoP`, and what it must be about."""

    text: bytes

    def __init__(self, text: bytes, method: bytes, origin: Origin | None, path: bytes) -> None:
        """Keep the proof; `path` is the path of the request, without its query.

        No proof is good without an origin: the request names another server.
        """

    def check(self, binding: KeyBinding, now: int) -> Reason | None:
        """Return None if the proof is good at `now` (seconds since the epoch), else the reason.

        These are the checks of RFC 9449, section 4.3, except those of the nonce and of replays.
        """
