"""Posts alerts to an incoming webhook of Slack (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks).

The URL is the secret, so no text shows it. Slack knows no ids: a repeated alert is a second
message, which has the same id in its last line.
"""

import re

import msgspec

from crewgate.alerts.alert import TEST, Alert, AlertState
from crewgate.alerts.channel import poster_to, read_secret
from crewgate.config import AlertConfig, ReceiverURL
from crewgate.config.export import RECEIVER_URL
from crewgate.core.alert_kinds import AlertSeverity
from crewgate.errors import ConfigurationError, ReceiverError
from crewgate.upstream.http_poster import HTTPPoster

_encode = msgspec.json.Encoder().encode
# Slack refuses a text of more than 3000 characters, as it is escaped.
_TEXT_CHARS_MAX, _NEXT_CHARS_MAX, _LINK_CHARS_MAX = 1700, 650, 500
_ENTITY_BEGINS = re.compile(r"&[a-z]*\Z")
_MARKS = {
    AlertSeverity.INFO: ":information_source:",
    AlertSeverity.WARNING: ":warning:",
    AlertSeverity.CRITICAL: ":rotating_light:",
}
_OVER = ":white_check_mark:"


class SlackChannel:
    """A channel of Slack behind one incoming webhook."""

    def __init__(self, receiver: AlertConfig) -> None:
        self._receiver = receiver
        self._url: ReceiverURL | None = None
        self._poster: HTTPPoster | None = None

    async def send(self, alert: Alert) -> None:
        """See `AlertChannel`."""
        try:
            url = read_url(self._receiver)
        except ConfigurationError as error:
            raise ReceiverError(str(error)) from error
        if self._poster is None or url != self._url:
            await self.close()
            self._url = url
            self._poster = poster_to(self._receiver, url)
        await self._poster.post(message(alert), secret=url.path.encode())

    def check_secret(self) -> None:
        """See `AlertChannel`."""
        read_url(self._receiver)

    async def close(self) -> None:
        """See `AlertChannel`."""
        poster, self._poster = self._poster, None
        if poster is not None:
            await poster.close()


def read_url(receiver: AlertConfig) -> ReceiverURL:
    """Return the URL in the file of the secret. Raises ConfigurationError without the URL."""
    try:
        url = RECEIVER_URL.read(read_secret(receiver))
    except ValueError:
        url = None
    if url is None or not url.is_web:
        raise ConfigurationError(
            f"alert {receiver.name}: {receiver.secret} must have the URL of an incoming webhook of "
            "Slack: https://hooks.slack.com/services/…"
        )
    return url


def message(alert: Alert) -> bytes:
    """Return the message for an alert, in JSON."""
    mark = _OVER if alert.state is AlertState.OVER or alert.type == TEST else _MARKS[alert.severity]
    text = f"{mark} {_escaped(alert.text, _TEXT_CHARS_MAX)}"
    then = _escaped(alert.next, _NEXT_CHARS_MAX)
    shown = f"{text}\n*Next:* {then}" if then else text
    if 0 < len(alert.link) <= _LINK_CHARS_MAX:
        shown += f"\n<{alert.link}|Look at it on the live page>"
    moment = f"{alert.timestamp:%Y-%m-%d %H:%M:%S}Z"
    small = (
        f"{alert.severity.value} · {alert.type} · machine {alert.machine} · {moment} · {alert.id}"
    )
    return _encode(
        {
            "text": text,
            "blocks": [
                {"type": "section", "text": _marked(shown)},
                {"type": "context", "elements": [_marked(_escaped(small, _TEXT_CHARS_MAX))]},
            ],
        }
    )


def _marked(text: str) -> dict[str, object]:
    """Return a text object; `verbatim`: Slack makes no link and no mention of its own of it."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _escaped(text: str, chars_max: int) -> str:
    """Return a text in which Slack finds no link and no mention, cut to `chars_max`."""
    found = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    if len(found) <= chars_max:
        return found
    return _ENTITY_BEGINS.sub("", found[: chars_max - 1]) + "…"
