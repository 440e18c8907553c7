"""Sends alerts to PagerDuty (Events API v2, https://developer.pagerduty.com/docs/events-api-v2).

An alert that begins opens an incident, and the alert that it is over resolves it: both have the
same `dedup_key`, which names the kind, the crew and the subject. An alert about an event opens an
incident of its own, with the alert's id as `dedup_key`, which a person resolves. PagerDuty opens no
second incident for a key, so a repeated alert does no harm.
"""

import hashlib

import msgspec

from crewgate.alerts.alert import Alert, AlertState
from crewgate.alerts.channel import poster_to, read_secret
from crewgate.config import AlertConfig
from crewgate.errors import ConfigurationError, ReceiverError

_encode = msgspec.json.Encoder().encode
_KEY_CHARS_MAX = 255  # of a dedup_key, as PagerDuty documents it
_SUMMARY_CHARS_MAX = 1024  # the same


class PagerDutyChannel:
    """A service of PagerDuty."""

    def __init__(self, receiver: AlertConfig) -> None:
        self._receiver = receiver
        self._poster = poster_to(receiver, receiver.address)

    async def send(self, alert: Alert) -> None:
        """See `AlertChannel`."""
        try:
            key = read_secret(self._receiver)
        except ConfigurationError as error:
            raise ReceiverError(str(error)) from error
        await self._poster.post(event(alert, key), secret=key.encode())

    def check_secret(self) -> None:
        """See `AlertChannel`."""
        read_secret(self._receiver)

    async def close(self) -> None:
        """See `AlertChannel`."""
        await self._poster.close()


def event(alert: Alert, routing_key: str) -> bytes:
    """Return the event for an alert, in JSON."""
    document = msgspec.json.decode(alert.document())
    links = [{"href": alert.link, "text": "Look at it on the live page"}] if alert.link else []
    return _encode(
        {
            "routing_key": routing_key,
            "event_action": "resolve" if alert.state is AlertState.OVER else "trigger",
            "dedup_key": dedup_key(alert),
            "client": "Crewgate",
            **({"links": links} if links else {}),
            "payload": {
                "summary": alert.text[:_SUMMARY_CHARS_MAX],
                "source": alert.machine,
                "severity": alert.severity.value,
                "timestamp": document["timestamp"],
                "component": alert.subject,
                "group": alert.crew or alert.machine,
                "class": alert.type,
                "custom_details": document,
            },
        }
    )


def dedup_key(alert: Alert) -> str:
    """Return the key of the incident that an alert belongs to."""
    if alert.state is AlertState.ONCE:
        return alert.id
    # Branches of two crews may have one id, and a crew must not resolve an incident of another.
    about = f"{alert.crew}/{alert.subject}" if alert.crew else alert.subject
    key = f"{alert.type}/{about}"
    if len(key) <= _KEY_CHARS_MAX:
        return key
    return f"{alert.type}/{hashlib.sha256(about.encode()).hexdigest()}"
