import json
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from crewgate._native.signature import is_valid_point
from crewgate.core.policy.policy import VerificationKey
from crewgate.core.tokens.jwks import parse_jwks
from crewgate.errors import ConfigurationError
from crewgate.issuer import SigningKey


def keys_of(key: SigningKey) -> tuple[VerificationKey, ...]:
    """What a JWKS with that key alone gives."""
    return (VerificationKey(key.kid, "article", key.public),)


@pytest.mark.parametrize("form", [Path, str])
def test_a_written_key_reads_back(tmp_path: Path, form: type[Path | str]) -> None:
    """The file is 0600, the kid comes from the JWKS, and the key is the same."""
    key = SigningKey.generate("article-1")
    path = tmp_path / "article.pem"
    key.write(form(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    read = SigningKey.load(form(path), keys_of(key), "article.json")
    assert (read.kid, read.public) == ("article-1", key.public)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    """A second `write` would end every token of the first."""
    path = tmp_path / "article.pem"
    SigningKey.generate("one").write(path)
    with pytest.raises(FileExistsError):
        SigningKey.generate("two").write(path)


def test_its_jwk_is_what_a_jwks_takes() -> None:
    """The public half round-trips through the file that gateways read."""
    key = SigningKey(Ed25519PrivateKey.generate(), "article-1", "article/night")
    jwks = json.dumps({"keys": [key.jwk()]}).encode()
    assert parse_jwks(jwks, "article", "x") == (
        VerificationKey("article-1", "article", key.public, "article/night"),
    )
    assert is_valid_point(key.public)


def test_openssl_makes_such_a_key(tmp_path: Path) -> None:
    """The command that the error message names makes a file that is read."""
    path = tmp_path / "key.pem"
    command = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match=r"its public key is not in article\.json"):
        SigningKey.load(path, (), "article.json")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    """Whoever could read it may mint."""
    key = SigningKey.generate("article-1")
    path = tmp_path / "article.pem"
    key.write(path)
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=f"mode {mode:04o}"):
        SigningKey.load(path, keys_of(key), "article.json")


def test_a_missing_key_is_said(tmp_path: Path) -> None:
    """The path and the reason."""
    with pytest.raises(ConfigurationError, match=r"article\.pem: cannot read .* No such file"):
        SigningKey.load(tmp_path / "article.pem", (), "article.json")


def test_other_keys_are_refused(tmp_path: Path) -> None:
    """Another algorithm, an encrypted file, a public key, and no key at all."""
    curve = ec.generate_private_key(ec.SECP256R1())
    own = Ed25519PrivateKey.generate()
    password = BestAvailableEncryption(b"x")
    files = {
        "curve": curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "encrypted": own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, password),
        "text": b"not a key",
        "empty": b"",
        "large": b"x" * 100_000,
    }
    for name, pem in files.items():
        path = tmp_path / name
        path.write_bytes(pem)
        path.chmod(0o600)
        with pytest.raises(ConfigurationError, match=f"{name}: expected an unencrypted PKCS 8"):
            SigningKey.load(path, (), "article.json")


def test_a_kid_that_no_token_can_name_is_refused() -> None:
    """The kid has the alphabet of texts."""
    with pytest.raises(ConfigurationError, match="not a key id"):
        SigningKey.generate("a b")
