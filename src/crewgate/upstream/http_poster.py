"""Posts batches to a receiver over HTTP, and reads from its answers whether to try again.

The credential is read for each request. No error shows a credential or what the receiver sent,
except a short message of printable characters.
"""

from collections.abc import Sequence
from http import HTTPStatus

from crewgate import limits
from crewgate.config import CredentialConfig, ReceiverURL, UpstreamTLS
from crewgate.core.http_types import HeaderField
from crewgate.core.terminal_text import printable
from crewgate.errors import ConfigurationError, ReceiverError, ReceiverRefusedError
from crewgate.upstream.credential import credential_field
from crewgate.upstream.receiver_connection import ReceiverAnswer, ReceiverConnection

# The body is the reason; the others may pass, or an operator mends them.
_REFUSED: frozenset[int] = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)
_MENDS: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "; check `{key}`",
    HTTPStatus.FORBIDDEN: "; check `{key}`",
    HTTPStatus.NOT_FOUND: "; check the path of `url`",
    HTTPStatus.GONE: "; check the path of `url`",
    HTTPStatus.METHOD_NOT_ALLOWED: "; check the path of `url`",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "; it does not read this format or `encoding`",
}


class HTTPPoster:
    """Posts to the URL of a receiver over one connection at a time; `owner` names it in errors."""

    def __init__(
        self,
        owner: str,
        url: ReceiverURL,
        media: bytes,
        *,
        tls: UpstreamTLS,
        credential: CredentialConfig | None = None,
        secret_key: str = "credential",
    ) -> None:
        """`secret_key` is the key of the configuration that names the secret."""
        self._owner = owner
        self._secret_key = secret_key
        self._target = url.path or "/"
        self._media = media
        self._credential = credential
        self._connection = ReceiverConnection(owner, url, tls)

    async def post(
        self, body: bytes, more: Sequence[HeaderField] = (), secret: bytes = b""
    ) -> bytes:
        """Return the body of a good answer; the request has `more` header fields.

        Errors do not show a `secret` that the request has. Raises ReceiverError or
        ReceiverRefusedError.
        """
        fields = [(b"content-type", self._media), *more]
        if self._credential is not None:
            try:
                fields.append(credential_field(self._owner, self._credential))
            except ConfigurationError as error:
                raise ReceiverError(str(error)) from error
            secret = fields[-1][1].removeprefix(self._credential.prefix.encode())
        answer = await self._connection.request("POST", self._target, fields, body)
        # The log has what an answer says, and the answer may repeat the request.
        found = answer.body.replace(secret, b"*" * len(secret)) if secret else answer.body
        if not 200 <= answer.status < 300:  # noqa: PLR2004
            raise _refusal(answer, found, self._secret_key)
        return found

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()


def _refusal(answer: ReceiverAnswer, body: bytes, key: str) -> ReceiverError:
    status = answer.status
    text = printable(body.decode("utf-8", "replace").strip())[: limits.receiver_message_chars_max]
    # A binary body, such as a google.rpc.Status in protobuf, is no text for a person.
    text = f" ({text})" if text and body.isascii() else ""
    if status in _REFUSED:
        return ReceiverRefusedError(f"HTTP status {status}{text}")
    mend = _MENDS.get(status, "").format(key=key)
    return ReceiverError(f"HTTP status {status}{text}{mend}", answer.retry_seconds)
