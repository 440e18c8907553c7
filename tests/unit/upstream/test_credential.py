"""Where the credential of an upstream comes from."""

from pathlib import Path

import msgspec
import pytest

from crewgate.config import CredentialConfig, UpstreamConfig, UpstreamOrigin
from crewgate.errors import ConfigurationError
from crewgate.upstream.credential import read_credential

ORIGIN = UpstreamOrigin("http", "127.0.0.1", 9)


def _upstream(**credential: object) -> UpstreamConfig:
    return UpstreamConfig(
        "tools", (ORIGIN,), CredentialConfig(**{"header": "authorization", **credential})
    )


def test_credential_of_file_and_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The prefix goes before the secret, and the line's end is no part of it."""
    secret = tmp_path / "key"
    secret.write_text("s3cret\n")
    monkeypatch.setenv("TOOLS_KEY", "other")
    expected = (b"authorization", b"Bearer s3cret")
    assert read_credential(_upstream(prefix="Bearer ", file=secret)) == expected
    assert read_credential(_upstream(env="TOOLS_KEY")) == (b"authorization", b"other")
    assert read_credential(msgspec.structs.replace(_upstream(), credential=None)) is None


@pytest.mark.parametrize("content", [None, "", "a\r\nb", "ä"])
def test_credential_that_cannot_be_used(content: str | None, tmp_path: Path) -> None:
    """A missing, empty or unprintable secret is said with its place, and never shown."""
    secret = tmp_path / "key"
    if content is not None:
        secret.write_text(content)
    with pytest.raises(ConfigurationError, match=str(secret)) as raised:
        read_credential(_upstream(file=secret))
    assert content is None or len(content) < 2 or content not in str(raised.value)
