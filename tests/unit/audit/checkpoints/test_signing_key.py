"""The key of the checkpoints: made once, and read as OpenSSL writes it."""

import stat
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from crewgate.audit.checkpoints.signing_key import _BEGIN, _END, FILE_NAME, CheckpointKey
from crewgate.errors import ConfigurationError


def _public(key: Ed25519PrivateKey) -> str:
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    made = CheckpointKey.load_or_make(tmp_path)
    path = tmp_path / FILE_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert CheckpointKey.load_or_make(tmp_path).signing == made.signing
    read = load_pem_private_key(path.read_bytes(), password=None)
    assert isinstance(read, Ed25519PrivateKey)
    assert _public(read) == made.public


def test_a_key_of_openssl_is_read(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = tmp_path / FILE_NAME
    path.touch(0o600)
    path.write_bytes(pem)
    assert CheckpointKey.load(tmp_path).public == _public(key)


@pytest.mark.parametrize("text", ["", "x", f"{_BEGIN}\nMC4=\n{_END}\n", "\xff" * 99])
def test_another_file_is_no_key(text: str, tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.touch(0o600)
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ConfigurationError, match="expected an unencrypted PKCS 8 PEM"):
        CheckpointKey.load_or_make(tmp_path)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    CheckpointKey.load_or_make(tmp_path)
    (tmp_path / FILE_NAME).chmod(0o640)
    with pytest.raises(ConfigurationError, match="other users can read"):
        CheckpointKey.load_or_make(tmp_path)


def test_a_missing_key_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read the key of the audit"):
        CheckpointKey.load(tmp_path)
