"""A key leaves a JWKS; the rest of the file, its mode and its links stay."""

import json
import os
from pathlib import Path

import pytest

from crewgate.ca.jwks_key_removal import remove_keys
from crewgate.errors import CAError


@pytest.fixture
def jwks(tmp_path: Path) -> Path:
    path = tmp_path / "crew.jwks.json"
    keys = [{"kid": kid, "kty": "OKP", "x": "é"} for kid in ("a", "b", "c")]
    path.write_text(json.dumps({"keys": keys, "note": "kept"}))
    path.chmod(0o640)
    return path


def test_the_named_go_and_the_others_stay(jwks: Path) -> None:
    """In their order, with all that the file says besides."""
    remove_keys(jwks, ["a", "c", "no such"])
    document = json.loads(jwks.read_text())
    assert document == {"keys": [{"kid": "b", "kty": "OKP", "x": "é"}], "note": "kept"}
    assert jwks.stat().st_mode & 0o777 == 0o640
    assert list(jwks.parent.iterdir()) == [jwks]


def test_a_link_stays_a_link(jwks: Path, tmp_path: Path) -> None:
    """The file that it leads to is replaced."""
    link = tmp_path / "link.json"
    link.symlink_to(jwks)
    remove_keys(link, ["a", "b", "c"])
    assert link.is_symlink()
    assert json.loads(jwks.read_text())["keys"] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_stays(jwks: Path) -> None:
    """Whoever owned it can still change it, and whoever could read it still can."""
    os.chown(jwks, 65_534, 65_533)
    remove_keys(jwks, ["a"])
    assert (jwks.stat().st_uid, jwks.stat().st_gid) == (65_534, 65_533)


@pytest.mark.parametrize("text", ["", "[]", '{"keys": 1}', '{"keys": [1]}', "\x80"])
def test_what_is_no_jwks_is_told_and_left(jwks: Path, text: str) -> None:
    """With the file, the keys, and that a person must do it."""
    jwks.write_bytes(text.encode("latin-1"))
    with pytest.raises(CAError, match=r"crew\.jwks\.json: .* the keys a, b .* by hand"):
        remove_keys(jwks, ["b", "a"])
    assert jwks.read_bytes() == text.encode("latin-1")
