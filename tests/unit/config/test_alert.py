"""The tables [alert.NAME]: what a receiver needs, and what contradicts its format."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crewgate.config import AlertConfig, ReceiverURL, load
from crewgate.config.restart_only import wants_restart
from crewgate.core.alert_kinds import AlertKind, AlertSeverity
from crewgate.errors import ConfigurationError

Write = Callable[[str], Path]


def test_every_key_arrives(write: Write, minimal: str, tmp_path: Path) -> None:
    """Several receivers, in the order of the file; a change needs no restart."""
    text = """
        [crew.article]
        issuer = "https://orchestrator.example"
        jwks = "jwks.json"
        tools = ["search.*"]
        [alert.oncall]
        format = "webhook"
        url = "https://alerts.example/in"
        secret = "oncall.secret"
        kinds = ["rule", "crew-hour"]
        severity = "critical"
        crews = ["article"]
        thresholds = [90, 100]
        tls = { ca = "ca.pem" }
        [alert.chat]
        format = "slack"
        secret = "slack.url"
        [alert.pager]
        format = "pagerduty"
        secret = "routing.key"
        kinds = ["ledger"]
    """
    config = load(write(minimal + text))
    oncall, chat, pager = config.alerts
    assert oncall.url == ReceiverURL("https", "alerts.example", 443, "/in")
    assert oncall.secret == tmp_path / "oncall.secret"
    assert oncall.kinds == (AlertKind.RULE, AlertKind.CREW_HOUR)
    assert (oncall.severity, oncall.crews) == (AlertSeverity.CRITICAL, ("article",))
    assert (oncall.thresholds, oncall.tls.ca) == ((90, 100), tmp_path / "ca.pem")
    assert chat == AlertConfig("chat", "slack", tmp_path / "slack.url")
    assert chat.severity is AlertSeverity.WARNING
    assert chat.place == "the incoming webhook of Slack"
    assert pager.severity is AlertSeverity.INFO
    assert pager.place == "https://events.pagerduty.com/v2/enqueue"
    assert not list(wants_restart(load(write(minimal)), config))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('format = "webhook"', 'alert.x: a receiver of "webhook" needs `url`'),
        ('format = "slack"\nurl = "https://a"', "alert.x.url: the URL of Slack is a secret"),
        ('format = "webhook"\nurl = "udp://a"', "alert.x.url: a receiver of alerts needs http"),
        ('format = "webhook"\nurl = "http://a"\ntls = {}', "alert.x.tls: no effect"),
        ('format = "webhook"\nurl = "http://a"\nkinds = []', "alert.x.kinds"),
        ('format = "slack"\nkinds = ["loop"]', "alert.x.kinds"),
        ('format = "slack"\nthresholds = [0]', "alert.x.thresholds"),
        ('format = "slack"\nthresholds = [50, 50]', "alert.x.thresholds"),
        ('format = "slack"\nseverity = "high"', "alert.x.severity"),
        ('format = "slack"\ncrews = ["none"]', 'alert.x.crews: no crew "none"; known: none'),
        ('format = "mail"', "alert.x.format"),
    ],
)
def test_a_contradiction_is_named(write: Write, minimal: str, text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(write(f'{minimal}\n[alert.x]\nsecret = "s"\n{text}'))
    assert problem in str(caught.value)


def test_a_receiver_needs_a_secret(write: Write, minimal: str) -> None:
    with pytest.raises(ConfigurationError, match=r"alert\.x\.secret"):
        load(write(f'{minimal}\n[alert.x]\nformat = "slack"'))


@pytest.mark.parametrize(
    "secret",
    [
        "whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVg==",
        "https://hooks.slack.com/services/T0/B0/XX",
        "0123456789abcdef0123456789abcdef",
    ],
)
def test_a_secret_in_the_place_of_its_file_is_not_repeated(
    write: Write, minimal: str, secret: str
) -> None:
    text = f'[alert.x]\nformat = "pagerduty"\nsecret = "{secret}"'
    with pytest.raises(
        ConfigurationError, match=r"alert\.x\.secret: expected the name of a file"
    ) as caught:
        load(write(f"{minimal}\n{text}"))
    assert secret[-8:] not in str(caught.value)


def test_a_url_without_a_scheme_gets_an_example_of_a_webhook(write: Write, minimal: str) -> None:
    text = '[alert.x]\nformat = "webhook"\nsecret = "s"\nurl = "alerts.example/in"'
    with pytest.raises(ConfigurationError, match=r"https://alerts\.example/crewgate"):
        load(write(f"{minimal}\n{text}"))
