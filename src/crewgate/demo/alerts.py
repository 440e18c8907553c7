"""The alerts that the demo gets, and whether their signatures are good (Standard Webhooks 1.0)."""

import base64
import hashlib
import hmac
import secrets
from pathlib import Path

import msgspec

from crewgate.runtime.durable_files import write_file

ALERTS = "/alerts"  # where the tool server takes them
_PREFIX = "whsec_"


class ReceivedAlert(msgspec.Struct, frozen=True):
    """One request of the alerts process: its three header fields, and its body."""

    id: str
    timestamp: str
    signature: str
    body: str

    def is_signed_with(self, secret: str) -> bool:
        """Return whether its signature is one with this secret (`whsec_…`)."""
        key = base64.b64decode(secret.removeprefix(_PREFIX))
        content = f"{self.id}.{self.timestamp}.{self.body}".encode()
        digest = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        return any(hmac.compare_digest(f"v1,{digest}", each) for each in self.signature.split())


class SignedAlert(msgspec.Struct, frozen=True):
    """The text of an alert, and whether its signature was good."""

    text: str
    is_signed: bool


def new_secret(path: Path) -> None:
    """Write a new secret into a file that only its owner can read."""
    text = f"{_PREFIX}{base64.b64encode(secrets.token_bytes(32)).decode()}\n"
    write_file(path, text.encode(), 0o600)


def end_of_branch(alerts: list[ReceivedAlert], branch: str, secret: str) -> SignedAlert | None:
    """Return the alert which says that a rule has ended a branch; None if it has not come."""
    for each in alerts:
        document = msgspec.json.decode(each.body)
        data = document.get("data", {})
        is_end = document.get("type") == "rule" and data.get("step") == "end"
        if is_end and branch in document.get("subject", ""):
            return SignedAlert(document["text"], each.is_signed_with(secret))
    return None
