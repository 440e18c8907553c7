"""Signs messages and posts them (Standard Webhooks 1.0, https://www.standardwebhooks.com).

The header fields are `webhook-id`, `webhook-timestamp` (when it was sent, so that a receiver can
refuse an old copy) and `webhook-signature`: `v1,` and the HMAC-SHA256 of `id.timestamp.body` in
base64. If the file has several secrets, there is a signature for each. So the secret can be
replaced while messages are on their way.
"""

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Callable, Sequence

from crewgate import limits
from crewgate.alerts.alert import Alert
from crewgate.alerts.channel import poster_to, read_secret
from crewgate.config import AlertConfig
from crewgate.core.http_types import HeaderField
from crewgate.errors import ConfigurationError, ReceiverError

_PREFIX = "whsec_"


class WebhookChannel:
    """A receiver of signed messages. `now` is the clock, in seconds since 1970."""

    def __init__(self, receiver: AlertConfig, now: Callable[[], float] = time.time) -> None:
        self._receiver, self._now = receiver, now
        self._poster = poster_to(receiver, receiver.address)

    async def send(self, alert: Alert) -> None:
        """See `AlertChannel`."""
        try:
            keys = read_keys(self._receiver)
        except ConfigurationError as error:
            raise ReceiverError(str(error)) from error
        body = alert.document()
        await self._poster.post(body, signed(alert.id, int(self._now()), body, keys))

    def check_secret(self) -> None:
        """See `AlertChannel`."""
        read_keys(self._receiver)

    async def close(self) -> None:
        """See `AlertChannel`."""
        await self._poster.close()


def read_keys(receiver: AlertConfig) -> list[bytes]:
    """Return the keys in the file of a webhook's secrets, at least one, the first one first.

    Raises ConfigurationError, which shows no secret.
    """
    keys = [_key(text) for text in read_secret(receiver).split()]
    low, high = limits.alert_secret_bytes_min, limits.alert_secret_bytes_max
    if len(keys) > limits.alert_secrets_max or not all(low <= len(key) <= high for key in keys):
        raise ConfigurationError(
            f"alert {receiver.name}: {receiver.secret} must have 1 to {limits.alert_secrets_max} "
            f'secrets, each on a line: "{_PREFIX}" and {low} to {high} bytes in base64; '
            f'`echo "{_PREFIX}$(head -c 32 /dev/urandom | base64)"` makes one'
        )
    return keys


def _key(text: str) -> bytes:
    """Return the bytes of a secret; none for a text that is no secret."""
    if not text.startswith(_PREFIX):
        return b""
    try:
        return base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        return b""


def signed(
    identifier: str, timestamp: int, body: bytes, keys: Sequence[bytes]
) -> list[HeaderField]:
    """Return the header fields of a message; `timestamp` is in seconds since 1970."""
    content = b"%b.%d.%b" % (identifier.encode(), timestamp, body)
    digests = (hmac.new(key, content, hashlib.sha256).digest() for key in keys)
    signatures = b" ".join(b"v1," + base64.b64encode(digest) for digest in digests)
    return [
        (b"webhook-id", identifier.encode()),
        (b"webhook-timestamp", b"%d" % timestamp),
        (b"webhook-signature", signatures),
    ]
