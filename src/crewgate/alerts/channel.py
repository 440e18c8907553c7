"""What `sender` needs of a way to a receiver, and the choice of the alerts that a receiver gets."""

from typing import Protocol

from crewgate.alerts.alert import Alert, AlertState
from crewgate.config import AlertConfig, ReceiverURL
from crewgate.core.alert_kinds import AlertKind
from crewgate.errors import ConfigurationError
from crewgate.runtime.secret_file import unreadable
from crewgate.upstream.http_poster import HTTPPoster

_BRANCHES = {AlertKind.BRANCH_CREDITS.value, AlertKind.RUN_CREDITS.value}


class AlertChannel(Protocol):
    """Sends alerts to one receiver."""

    async def send(self, alert: Alert) -> None:
        """Send an alert, and return once the receiver has it.

        Raises ReceiverError if the receiver did not take it, ReceiverRefusedError if it refuses it.
        """

    def check_secret(self) -> None:
        """Raise ConfigurationError if the secret cannot be used. Blocks."""

    async def close(self) -> None:
        """Close the connections."""


def wants(receiver: AlertConfig, alert: Alert) -> bool:
    """Return whether a receiver gets an alert."""
    if receiver.kinds and alert.type not in {each.value for each in receiver.kinds}:
        return False
    if alert.severity.rank < receiver.severity.rank:
        return False
    if receiver.crews and alert.crew not in receiver.crews:
        return False
    if alert.data.get("component") == f"alerts to {receiver.name}":
        # A receiver that is back gets all alerts that it has missed.
        return False
    is_over = alert.state is AlertState.OVER
    if is_over and alert.type in _BRANCHES and receiver.format != "pagerduty":
        # Each branch ends some day; only a receiver with open incidents needs to hear of it.
        return False
    if not alert.percent or is_over:
        return True
    return any(alert.percent_before < each <= alert.percent for each in receiver.thresholds)


def poster_to(receiver: AlertConfig, url: ReceiverURL) -> HTTPPoster:
    """Return what posts JSON to the URL of a receiver."""
    return HTTPPoster(
        f"alert {receiver.name}",
        url,
        b"application/json",
        tls=receiver.tls,
        secret_key="secret",
    )


def read_secret(receiver: AlertConfig) -> str:
    """Return the text of the file of a receiver's secret. Raises ConfigurationError."""
    where = f"alert {receiver.name}: the secret in {receiver.secret}"
    try:
        text = receiver.secret.read_text(encoding="utf-8").strip()
    except OSError as error:
        why = unreadable(receiver.secret, error)
        raise ConfigurationError(f"alert {receiver.name}: `secret` cannot be read: {why}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{where} is no text") from None
    if not text.isascii() or not text.replace("\n", "").replace("\r", "").isprintable():
        raise ConfigurationError(f"{where} is not printable ASCII")
    if not text:
        raise ConfigurationError(f"{where} is empty; put the secret there")
    return text
