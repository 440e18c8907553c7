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


@pytest.mark.parametrize("content", [b"", b"a\r\nb", "ä".encode(), b"\xff"])
def test_credential_that_cannot_be_used(content: bytes, tmp_path: Path) -> None:
    """An empty or unprintable secret is said with its place, and never shown."""
    secret = tmp_path / "key"
    secret.write_bytes(content)
    with pytest.raises(ConfigurationError, match=str(secret)) as raised:
        read_credential(_upstream(file=secret))
    assert len(content) < 4 or content.decode() not in str(raised.value)


@pytest.mark.parametrize(
    "credential",
    [
        {"file": Path("/etc/sk-Secret/1234")},
        {"env": "ghp_Secret1234"},
    ],
    ids=["file", "env"],
)
def test_a_secret_in_the_place_of_its_file_is_not_shown(credential: dict[str, Path | str]) -> None:
    with pytest.raises(ConfigurationError, match="upstream tools") as raised:
        read_credential(_upstream(**credential))
    assert "1234" not in str(raised.value)
