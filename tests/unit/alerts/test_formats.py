"""What each sort of receiver gets, and that no secret is shown."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
from alert_fakes import SECRET, TIME, alert, receiver
from scripted_server import read_request, scripted
from standardwebhooks import Webhook, WebhookVerificationError

from crewgate.alerts.alert import Alert, AlertState, linked
from crewgate.alerts.channel import wants
from crewgate.alerts.main import channel
from crewgate.alerts.pagerduty import dedup_key, event
from crewgate.alerts.slack import message
from crewgate.config import AlertConfig, ReceiverURL
from crewgate.core.alert_kinds import AlertKind, AlertSeverity
from crewgate.errors import ReceiverError

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]
OTHER = "whsec_" + base64.b64encode(bytes(24)).decode()


class Receiver:
    """A server that keeps the requests, and answers each with `status` and `body`."""

    def __init__(self, status: str = "200 OK", body: bytes = b"") -> None:
        self.status, self.body = status, body
        self.heads: list[dict[str, str]] = []
        self.targets: list[str] = []
        self.bodies: list[bytes] = []

    async def __call__(self, stream: Stream, number: int) -> None:
        while request := await read_request(stream):
            head, _, body = request.partition(b"\r\n\r\n")
            first, *lines = head.decode().split("\r\n")
            self.targets.append(first.split()[1])
            fields = (line.split(": ", 1) for line in lines)
            self.heads.append({name.lower(): value for name, value in fields})
            self.bodies.append(body)
            answer = self.body or body
            head_out = f"HTTP/1.1 {self.status}\r\ncontent-length: {len(answer)}\r\n\r\n"
            await stream.send_all(head_out.encode() + answer)


def fill_in(secret: Path, port: int) -> None:
    """Write the port of a server into the URL of Slack."""
    secret.write_text(secret.read_text().replace("PORT", str(port)))


async def send(
    server: Receiver, sent: Alert, secret: Path, kind: str = "webhook"
) -> tuple[Receiver, ReceiverError | None]:
    """Send an alert to a server of this format; return the error, if there is one."""
    failure = None
    async with scripted(server) as origin:
        place = ReceiverURL("http", origin.host, origin.port, "/in")
        fill_in(secret, origin.port)
        config = receiver(place=place, secret=secret, format=kind)
        way = channel(config)
        try:
            await way.send(sent)
        except ReceiverError as error:
            failure = error
        await way.close()
    return server, failure


def secret_file(folder: Path, text: str) -> Path:
    path = folder / "alert.secret"
    path.write_text(text)
    return path


def verified(secret: str, body: bytes, head: Mapping[str, str]) -> Any:
    """The document, if the independent library accepts the signature."""
    return Webhook(secret).verify(body.decode(), dict(head))


async def test_a_webhook_is_signed(tmp_path: Path) -> None:
    """The independent library of Standard Webhooks accepts it, and no changed one."""
    sent = alert(7)
    server, failure = await send(Receiver(), sent, secret_file(tmp_path, f"{SECRET}\n"))
    assert failure is None
    (head,), (body,) = server.heads, server.bodies
    assert server.targets == ["/in"]
    assert head["content-type"] == "application/json"
    assert head["webhook-id"] == sent.id
    assert verified(SECRET, body, head) == {
        "version": 1,
        "id": sent.id,
        "type": "rule",
        "timestamp": "2026-11-30T12:00:00Z",
        "machine": "gw-1",
        "subject": "branch/b",
        "state": "once",
        "severity": "warning",
        "text": "number 7",
        "next": "run `crewgate tree -c F`",
        "crew": "article",
        "data": {"number": 7},
    }
    for bad_secret, bad_body, bad_head in (
        (OTHER, body, head),
        (SECRET, body + b" ", head),
        (SECRET, body, head | {"webhook-id": "alert_0"}),
        (SECRET, body, head | {"webhook-timestamp": str(int(head["webhook-timestamp"]) + 1)}),
    ):
        with pytest.raises(WebhookVerificationError):
            verified(bad_secret, bad_body, bad_head)


async def test_a_secret_is_replaced_without_a_pause(tmp_path: Path) -> None:
    """The file is read for each alert; with two secrets, a receiver may know either."""
    path = secret_file(tmp_path, SECRET)
    server = Receiver()
    for text in (SECRET, f"{OTHER}\n{SECRET}\n", OTHER):
        path.write_text(text)
        await send(server, alert(1), path)
    for secret, number in ((SECRET, 0), (SECRET, 1), (OTHER, 1), (OTHER, 2)):
        assert verified(secret, server.bodies[number], server.heads[number])
    with pytest.raises(WebhookVerificationError):
        verified(SECRET, server.bodies[2], server.heads[2])


@pytest.mark.parametrize(
    "text",
    ["", "s3cret", "whsec_s3cret", "whsec_" + base64.b64encode(bytes(8)).decode(), "whsec_é"],
)
async def test_a_bad_secret_is_an_error_that_does_not_show_it(tmp_path: Path, text: str) -> None:
    server, failure = await send(Receiver(), alert(), secret_file(tmp_path, text))
    assert failure is not None
    assert str(tmp_path / "alert.secret") in str(failure)
    assert not text or text not in str(failure)
    assert not server.bodies


async def test_a_missing_secret_is_an_error_that_does_not_show_its_name(tmp_path: Path) -> None:
    """A person may have written the secret in the place of the name."""
    for kind in ("webhook", "slack", "pagerduty"):
        missing = tmp_path / "sk-1234"
        with pytest.raises(ReceiverError, match=f"no file below {tmp_path}") as failure:
            await channel(receiver(secret=missing, format=kind)).send(alert())
        assert "1234" not in str(failure.value)


async def test_slack_gets_a_message_at_its_secret_url(tmp_path: Path) -> None:
    path = secret_file(tmp_path, "http://127.0.0.1:PORT/services/T0/B0/s3cret")
    server, failure = await send(Receiver(body=b"ok"), alert(7), path, "slack")
    assert failure is None
    assert server.targets == ["/services/T0/B0/s3cret"]
    assert json.loads(server.bodies[0])["text"] == ":warning: number 7"


async def test_an_error_of_slack_does_not_show_the_url(tmp_path: Path) -> None:
    """Also if the answer repeats it."""
    path = secret_file(tmp_path, "http://127.0.0.1:PORT/services/s3cret")
    server = Receiver("403 Forbidden", b"no /services/s3cret here")
    _, failure = await send(server, alert(), path, "slack")
    assert str(failure) == f"HTTP status 403 (no {'*' * 16} here); check `secret`"
    assert "s3cret" not in receiver(secret=path, format="slack").place
    path.write_text("not a URL s3cret")
    _, failure = await send(server, alert(), path, "slack")
    assert "must have the URL of an incoming webhook" in str(failure)
    assert "s3cret" not in str(failure)


def test_the_message_of_slack() -> None:
    """A name can make neither a link nor a mention; the last line has the id."""
    sent = alert(1, text="<!channel> & co", severity=AlertSeverity.CRITICAL)
    found = json.loads(message(sent))
    section, context = found["blocks"]
    assert section["text"]["text"] == (
        ":rotating_light: &lt;!channel&gt; &amp; co\n*Next:* run `crewgate tree -c F`"
    )
    assert context["elements"][0]["text"] == (
        f"critical · rule · machine gw-1 · 2026-11-30 12:00:00Z · {sent.id}"
    )
    over = alert(1, state=AlertState.OVER, next="")
    assert json.loads(message(over))["text"] == ":white_check_mark: number 1"


def test_an_alert_leads_to_the_live_page_if_there_is_one() -> None:
    """To its branch, or to the list; whatever its names are, they make no other place."""
    page = "https://crewgate.example:8470"
    about = linked(alert(1, subject="branch/b/../?x#|>", crew="article:bd"), page)
    assert about.link == (f"{page}/#/branch/article%3Abd/b%2F..%2F%3Fx%23%7C%3E?alert={about.id}")
    for subject, crew in (("machine/gw-1/ledger", ""), ("branch/b", ""), ("crew/a/hour", "a")):
        other = linked(alert(2, subject=subject, crew=crew), page)
        assert other.link == f"{page}/#/alerts?alert={other.id}"
    assert json.loads(about.document())["link"] == about.link
    shown = json.loads(message(about))["blocks"][0]["text"]["text"]
    assert shown.endswith(f"\n<{about.link}|Look at it on the live page>")
    incident = json.loads(event(about, "k"))
    assert incident["links"] == [{"href": about.link, "text": "Look at it on the live page"}]
    without = linked(alert(1), "")
    assert "link" not in json.loads(without.document())
    assert "links" not in json.loads(event(without, "k"))


def test_slack_gets_no_text_that_it_refuses() -> None:
    """At most 3000 characters as they are escaped, and no name that it makes a link of."""
    sent = alert(1, text="&" * 1000, next="<" * 1000, link="https://" + "x" * 492)
    found = json.loads(message(sent))
    texts = [found["blocks"][0]["text"], *found["blocks"][1]["elements"]]
    assert all(len(each["text"]) <= 3000 and each["verbatim"] for each in texts)
    first, then, _ = texts[0]["text"].split("\n")
    assert first.removeprefix(":warning: ").replace("&amp;", "") == "…"
    assert then.removeprefix("*Next:* ").replace("&lt;", "") == "…"


async def test_pagerduty_opens_and_resolves_an_incident(tmp_path: Path) -> None:
    path = secret_file(tmp_path, "r0uting")
    server = Receiver("202 Accepted", b'{"status":"success"}')
    for state in (AlertState.BEGINS, AlertState.OVER):
        _, failure = await send(server, alert(1, state=state), path, "pagerduty")
        assert failure is None
    first, second = map(json.loads, server.bodies)
    assert (first["event_action"], second["event_action"]) == ("trigger", "resolve")
    assert first["dedup_key"] == second["dedup_key"] == "rule/article/branch/b"
    assert first["routing_key"] == "r0uting"
    payload = first["payload"]
    assert (payload["summary"], payload["source"]) == ("number 1", "gw-1")
    assert (payload["severity"], payload["class"]) == ("warning", "rule")
    assert payload["timestamp"] == TIME.isoformat().replace("+00:00", "Z")
    assert payload["custom_details"]["next"] == "run `crewgate tree -c F`"
    server.status, server.body = "400 Bad Request", b"r0uting is wrong"
    _, failure = await send(server, alert(), path, "pagerduty")
    assert str(failure) == "HTTP status 400 (******* is wrong)"


def test_each_event_is_an_incident_of_its_own_with_a_short_key() -> None:
    once, other = alert(1), alert(2)
    assert (dedup_key(once), dedup_key(other)) == (once.id, other.id)
    keys = {dedup_key(alert(1, crew=crew, state=AlertState.OVER)) for crew in ("", "a", "b")}
    assert len(keys) == 3  # branches of two crews may have one id
    long = alert(1, subject="x" * 300, state=AlertState.BEGINS)
    assert len(dedup_key(long)) < 256
    assert dedup_key(long) != dedup_key(alert(1, subject="x" * 301, state=AlertState.BEGINS))
    summary = json.loads(event(alert(1, text="y" * 2000), "k"))["payload"]["summary"]
    assert len(summary) == 1024


def chosen(config: AlertConfig, **changes: object) -> bool:
    return wants(config, alert(**changes))  # type: ignore[arg-type]


def test_a_receiver_chooses_its_alerts() -> None:
    """By kind, severity and crew; an alert about a machine has no crew."""
    kinds = (AlertKind.RULE, AlertKind.LEDGER)
    assert chosen(receiver(kinds=kinds))
    assert not chosen(receiver(kinds=kinds), type="disk")
    assert chosen(receiver(severity=AlertSeverity.WARNING))
    assert not chosen(receiver(severity=AlertSeverity.CRITICAL))
    assert chosen(receiver(crews=("article",)))
    assert not chosen(receiver(crews=("other",)))
    assert not chosen(receiver(crews=("article",)), crew="")


def test_a_receiver_does_not_hear_that_it_is_away_itself() -> None:
    component = {"component": "alerts to oncall"}
    assert not chosen(receiver(), data=component)
    assert chosen(receiver("other"), data=component)


def test_a_receiver_chooses_its_thresholds() -> None:
    """A jump over several thresholds is one alert for all of them."""
    budget: dict[str, object] = {"type": "run-credits", "percent": 80, "percent_before": 0}
    assert chosen(receiver(thresholds=(50, 100)), **budget)
    assert chosen(receiver(thresholds=(80,)), **budget)
    assert not chosen(receiver(thresholds=(100,)), **budget)
    assert not chosen(receiver(thresholds=(50, 100)), **(budget | {"percent_before": 50}))


def test_only_incidents_hear_that_a_branch_has_ended() -> None:
    over: dict[str, object] = {"type": "run-credits", "state": AlertState.OVER, "percent": 80}
    assert not chosen(receiver(), **over)
    assert chosen(receiver(format="pagerduty"), **over)
    assert chosen(receiver(), **(over | {"type": "crew-hour"}))
