"""A gateway's signing key: made for its owner's eyes, and nothing else is taken for one."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from crewgate import limits
from crewgate.ca.certificates import new_key
from crewgate.ca.key_files import key_pem
from crewgate.ca.member_signing_key import (
    certified_half,
    public_half,
    read_signing_key,
    write_signing_key,
)
from crewgate.errors import CAError

KEY = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
PRIVATE = (Encoding.PEM, PrivateFormat.PKCS8)
PUBLIC = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def private(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def test_a_key_is_made_once(tmp_path: Path) -> None:
    """And signs for the half that was told; no second one takes its place."""
    path = tmp_path / "signing.key"
    public = write_signing_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    verifier = ed25519.Ed25519PublicKey.from_public_bytes(public)
    verifier.verify(read_signing_key(path).sign(b"text"), b"text")
    with pytest.raises(CAError, match="the file exists already"):
        write_signing_key(path)
    assert certified_half(path) == public_half(path) == public


def test_one_that_is_not_there_is_made_to_be_certified(tmp_path: Path) -> None:
    """A link to nowhere is no place for it."""
    path = tmp_path / "signing.key"
    assert certified_half(path) == public_half(path)
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(CAError, match="cannot be read"):
        certified_half(tmp_path / "link")


def test_a_public_key_is_enough_to_be_certified_and_not_to_sign(tmp_path: Path) -> None:
    """Anybody may read it."""
    path = private(tmp_path / "public", KEY.public_key().public_bytes(*PUBLIC), 0o644)
    assert public_half(path) == KEY.public_key().public_bytes_raw()
    path.chmod(0o600)
    with pytest.raises(CAError, match="expected an unencrypted Ed25519 private key in PEM"):
        read_signing_key(path)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", r"an unencrypted Ed25519 private key in PEM \(PKCS 8\), as `openssl genpkey"),
        (b"-----BEGIN PUBLIC KEY-----\n", "an Ed25519 public key in PEM"),
        (key_pem(new_key()), "an unencrypted Ed25519 private key"),
        (ed448.Ed448PrivateKey.generate().private_bytes(*PRIVATE, NoEncryption()), "Ed25519"),
        (ed448.Ed448PrivateKey.generate().public_key().public_bytes(*PUBLIC), "Ed25519 public key"),
        (
            KEY.private_bytes(*PRIVATE, BestAvailableEncryption(b"x")),
            "expected an unencrypted Ed25519",
        ),
        (b"x" * (limits.key_file_bytes_max + 1), "so it is not a signing key"),
    ],
)
def test_what_is_no_such_key(tmp_path: Path, data: bytes, says: str) -> None:
    """One error each, with the file."""
    with pytest.raises(CAError, match=says) as raised:
        public_half(private(tmp_path / "signing.key", data))
    assert str(tmp_path) in str(raised.value)


def test_a_private_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """Whoever had it may sign revocations."""
    path = private(tmp_path / "signing.key", KEY.private_bytes(*PRIVATE, NoEncryption()), 0o640)
    with pytest.raises(CAError, match=r"other users can read .* \(mode 0640\)"):
        public_half(path)
