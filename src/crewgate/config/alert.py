"""The tables [alert.NAME]: the receivers that the alerts process tells what a person must know."""

from typing import Annotated, Final, Literal

import msgspec

from crewgate import limits
from crewgate.config import values
from crewgate.config.declaration import Key, Scope
from crewgate.config.export import RECEIVER_URL, ReceiverURL
from crewgate.config.secret_places import SecretFile
from crewgate.config.toml_table_reader import TOMLTableReader
from crewgate.config.upstream import UpstreamTLS
from crewgate.config.values import Name
from crewgate.core.alert_kinds import AlertKind, AlertSeverity

AlertFormat = Literal["webhook", "slack", "pagerduty"]

_URL: Final = msgspec.structs.replace(
    RECEIVER_URL,
    expected='a URL such as "https://alerts.example/crewgate" or "http://127.0.0.1:9000/", '
    "without query or user",
)

PAGERDUTY: Final = ReceiverURL("https", "events.pagerduty.com", 443, "/v2/enqueue")


def _severity(scope: Scope) -> AlertSeverity:
    return AlertSeverity.INFO if scope["kinds"] else AlertSeverity.WARNING


class AlertConfig(msgspec.Struct, frozen=True):
    """One receiver of alerts."""

    name: str
    format: Annotated[
        AlertFormat,
        "What the receiver reads: signed messages (Standard Webhooks), an incoming webhook of "
        "Slack, or the Events API v2 of PagerDuty.",
    ]
    secret: Annotated[
        SecretFile,
        "File with the secret: `whsec_…` of a webhook, the whole URL of the incoming webhook of "
        "Slack, or the routing key of PagerDuty. It is read for each request.",
    ]
    url: Annotated[
        ReceiverURL | None,
        _URL,
        "The receiver. Slack has none, because its URL is a secret.",
        Key(absent="none for slack; `https://events.pagerduty.com/v2/enqueue` for pagerduty"),
    ] = None
    kinds: Annotated[
        tuple[AlertKind, ...],
        values.listed(values.member(AlertKind), len(AlertKind), 1),
        "Kinds of alerts that the receiver gets.",
        Key(absent="all kinds"),
    ] = ()
    severity: Annotated[
        AlertSeverity,
        values.member(AlertSeverity),
        "Least severity of the alerts that the receiver gets.",
        Key(default=_severity, absent='`"info"` if `kinds` is given, else `"warning"`'),
    ] = AlertSeverity.WARNING
    crews: Annotated[
        tuple[Name, ...],
        values.listed(values.NAME, limits.crews_max, 1),
        "Crews that the alerts are about. With this key, the receiver gets no alert about a "
        "machine.",
        Key(absent="alerts about all crews and all machines"),
    ] = ()
    thresholds: Annotated[
        tuple[int, ...],
        values.listed(values.integer(1, 100), limits.alert_thresholds_max, 1),
        "Percentages of a budget at which the receiver gets an alert.",
    ] = (50, 80, 100)
    tls: Annotated[
        UpstreamTLS, "Verification of an https receiver; chain and name are always verified."
    ] = UpstreamTLS()

    @property
    def place(self) -> str:
        """The receiver, in words for a log; no secret is in it."""
        if self.format == "slack":
            return "the incoming webhook of Slack"
        return str(self.address)

    @property
    def address(self) -> ReceiverURL:
        """The URL of a webhook or of PagerDuty."""
        return self.url or PAGERDUTY

    def check(self, section: TOMLTableReader) -> None:
        """Note a missing URL, one that the format does not have, and one that is not of the web."""
        if self.format == "webhook" and self.url is None:
            section.problem('a receiver of "webhook" needs `url`')
        if self.url is not None and self.format == "slack":
            section.problem("the URL of Slack is a secret; write it into the file `secret`", "url")
        if self.url is not None and not self.url.is_web:
            section.problem("a receiver of alerts needs http or https", "url")
        is_https = self.format == "slack" or self.address.scheme == "https"
        if "tls" in section.given and not is_https:
            section.problem("no effect, because the URL is not https; remove it", "tls")
