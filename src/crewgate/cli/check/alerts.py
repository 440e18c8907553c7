"""Checks that the alerts process can use what the tables [alert.NAME] name."""

from collections.abc import Iterator

from crewgate.alerts.channel import read_secret
from crewgate.alerts.slack import read_url
from crewgate.alerts.webhook import read_keys
from crewgate.cli.check.exports import is_here
from crewgate.config import AlertConfig, Config
from crewgate.errors import ConfigurationError
from crewgate.upstream.tls import verifying_context


def alert_errors(config: Config) -> Iterator[str]:
    """Yield what would keep alerts from a receiver, one line each."""
    for receiver in config.alerts:
        try:
            _use(receiver)
        except ConfigurationError as error:
            yield str(error)


def alert_warnings(config: Config) -> Iterator[str]:
    """Yield receivers that get alerts without TLS over a network."""
    for receiver in config.alerts:
        url = receiver.address
        if receiver.format != "slack" and url.scheme == "http" and not is_here(url.host):
            yield (
                f"alert {receiver.name}: the alerts go to {url.host} without TLS, so others in the "
                'network can read them; write url = "https://…"'
            )


def _use(receiver: AlertConfig) -> None:
    """Read the files of a receiver. Raises ConfigurationError."""
    url = receiver.address
    if receiver.format == "webhook":
        read_keys(receiver)
    elif receiver.format == "slack":
        url = read_url(receiver)
    else:
        read_secret(receiver)
    if url.scheme == "https":
        verifying_context(f"alert {receiver.name}", receiver.tls, "http/1.1")
