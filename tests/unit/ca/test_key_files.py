"""Files of keys and certificates: whole or not there, private from the first moment."""

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from crewgate import limits
from crewgate.ca.certificates import new_key
from crewgate.ca.key_files import (
    PRIVATE,
    PUBLIC,
    key_pem,
    read_certificates,
    read_file,
    read_key,
    write_file,
)
from crewgate.errors import CAError


@pytest.mark.parametrize("mode", [PRIVATE, PUBLIC])
@pytest.mark.parametrize("umask", [0, 0o077])
def test_a_file_has_its_mode_whatever_the_umask(tmp_path: Path, mode: int, umask: int) -> None:
    """Others must read a list of the revoked, and nobody else a key."""
    before = os.umask(umask)
    try:
        write_file(tmp_path / "x", b"text", mode)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == mode
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_what_stands_there_is_replaced_only_where_it_is_said(tmp_path: Path) -> None:
    """In one step; a link is replaced and not followed."""
    path, other = tmp_path / "x", tmp_path / "other"
    other.write_bytes(b"other")
    path.symlink_to(other)
    with pytest.raises(CAError, match="the file exists already"):
        write_file(path, b"new", PUBLIC)
    assert other.read_bytes() == b"other"
    write_file(path, b"new", PUBLIC, replace=True)
    assert (path.read_bytes(), path.is_symlink(), other.read_bytes()) == (b"new", False, b"other")
    assert {each.name for each in tmp_path.iterdir()} == {"x", "other"}


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    """With the file that could not be written."""
    with pytest.raises(CAError, match=r"nowhere/x: cannot be written: No such file"):
        write_file(tmp_path / "nowhere" / "x", b"", PUBLIC)


@pytest.mark.parametrize("passphrase", [None, b"correct horse"])
def test_a_key_comes_back_with_its_passphrase(tmp_path: Path, passphrase: bytes | None) -> None:
    """Encrypted or not."""
    key = new_key()
    write_file(tmp_path / "k", key_pem(key, passphrase), PRIVATE)
    assert read_key(tmp_path / "k", passphrase).private_numbers() == key.private_numbers()
    assert (b"ENCRYPTED" in (tmp_path / "k").read_bytes()) is bool(passphrase)


@pytest.mark.parametrize(
    ("made", "given", "says"),
    [
        (b"xyzzy", None, "is encrypted, but there is no passphrase"),
        (None, b"abraxas", "is not encrypted, but there is a passphrase"),
        (b"xyzzy", b"plugh", "the passphrase is wrong"),
    ],
)
def test_a_wrong_passphrase_is_said(
    tmp_path: Path, made: bytes | None, given: bytes | None, says: str
) -> None:
    """None, one too many, another one; nothing of the key or the passphrase shows."""
    write_file(tmp_path / "k", key_pem(new_key(), made), PRIVATE)
    with pytest.raises(CAError, match=says) as raised:
        read_key(tmp_path / "k", given)
    assert not any(
        word in str(raised.value).replace(str(tmp_path), "")
        for word in ("xyzzy", "plugh", "abraxas", "BEGIN")
    )


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """Whoever read it is the CA."""
    write_file(tmp_path / "k", key_pem(new_key()), 0o640)
    with pytest.raises(CAError, match=r"mode 0640.*chmod 600"):
        read_key(tmp_path / "k")


def test_other_keys_are_refused(tmp_path: Path) -> None:
    """Another curve, RSA, nonsense, too much."""
    for number, key in enumerate(
        (ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048))
    ):
        data = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        write_file(tmp_path / f"{number}", data, PRIVATE)
        with pytest.raises(CAError, match="not an ECDSA key on curve P-256"):
            read_key(tmp_path / f"{number}")
    write_file(tmp_path / "nonsense", b"nonsense", PRIVATE)
    with pytest.raises(CAError, match="not a private key in PEM"):
        read_key(tmp_path / "nonsense")
    write_file(tmp_path / "large", bytes(limits.key_file_bytes_max + 1), PRIVATE)
    with pytest.raises(CAError, match="so it is not a private key"):
        read_key(tmp_path / "large")
    with pytest.raises(CAError, match="cannot be read"):
        read_key(tmp_path / "missing")


def test_what_is_no_certificate_is_said(tmp_path: Path) -> None:
    """An empty file, nonsense, a folder."""
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(CAError, match="not a certificate in PEM"):
        read_certificates(tmp_path / "x")
    assert read_file(tmp_path / "x") == b""
    with pytest.raises(CAError, match="cannot be read"):
        read_certificates(tmp_path)
