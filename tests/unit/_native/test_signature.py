"""Ed25519 by the linked libsodium: strictness, lengths, and the vectors of others."""

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from crewgate._native import signature

ROOT = Path(__file__).parents[3]
OWN = ROOT / "tests/vectors"
OTHERS = Path(os.environ.get("CREWGATE_VECTORS", OWN))  # the folder of others' vectors
VERSION = importlib.metadata.version("pynacl")
EDGES = json.loads((OWN / "ed25519_edges.json").read_text())


def vectors(name: str) -> Any:
    """Others' vectors, which are not kept here; skip unless CREWGATE_VECTORS names their folder."""
    path = OTHERS / name
    if not path.exists():
        pytest.skip(f"CREWGATE_VECTORS names no folder with {name}")
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """The script that made our own vectors."""
    spec = importlib.util.spec_from_file_location("ed25519_edges", OWN / "ed25519_edges.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def judge(public: str, message: str, sig: str) -> bool:
    """Verify hex; a signature of another length is refused before libsodium sees it."""
    try:
        return signature.verify(*map(bytes.fromhex, (public, message, sig)))
    except ValueError:
        return False


def test_wycheproof() -> None:
    """Every one of Wycheproof's 151 verdicts is ours."""
    groups = vectors("wycheproof_ed25519.json")["testGroups"]
    cases = [(group, case) for group in groups for case in group["tests"]]
    assert len(cases) == 151
    wrong = [
        case["tcId"]
        for group, case in cases
        if judge(group["publicKey"]["pk"], case["msg"], case["sig"]) != (case["result"] == "valid")
    ]
    assert wrong == []


def test_speccheck() -> None:
    """Of the 12 cases in which verifiers differ, exactly number 3 is accepted."""
    cases = vectors("ed25519_speccheck.json")
    accepted = [
        number
        for number, case in enumerate(cases)
        if judge(case["pub_key"], case["message"], case["signature"])
    ]
    assert len(cases) == 12
    assert accepted == [3]


@pytest.mark.parametrize("case", EDGES["signatures"], ids=lambda case: case["name"])
def test_edge_signatures(case: dict[str, Any]) -> None:
    """Each own edge case is judged as the readable list says."""
    assert judge(case["public"], case["message"], case["signature"]) == case["good"]


@pytest.mark.parametrize("case", EDGES["points"], ids=lambda case: case["name"])
def test_edge_points(case: dict[str, Any]) -> None:
    """Only canonical points of the prime-order subgroup may be keys."""
    assert signature.is_valid_point(bytes.fromhex(case["public"])) == case["good"]


def test_edges_are_what_the_generator_makes(generator: ModuleType) -> None:
    """Neither the list nor the compiled-in header was edited by hand."""
    assert generator.JSON_FILE.read_text() == generator.as_json()
    assert generator.HEADER_FILE.read_text() == generator.as_header()


def test_self_test_passes() -> None:
    """The library that is linked here is one that Crewgate may start on."""
    signature.self_test()


ANOTHER_LIBSODIUM = """
import nacl.bindings
from nacl import _sodium
class Pointers:
    cast = _sodium.ffi.cast
    def addressof(self, library, name, real=_sodium.ffi.addressof):
        return real(library, {name!r} if name == "crypto_core_ed25519_is_valid_point" else name)
_sodium.ffi = Pointers()
from crewgate import Verifier
"""


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("is_not_there", "has no function 'crypto_core_ed25519_is_valid_point'"),
        ("crypto_sign_bytes", "judges 'key: good' differently"),
    ],
)
def test_another_pynacl_is_refused_on_import(name: str, fault: str) -> None:
    """One line says what is wrong with which version, and what to install."""
    program = ANOTHER_LIBSODIUM.format(name=name)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"crewgate.errors.DependencyError: Crewgate cannot use pynacl {VERSION}")
    assert fault in last
    assert re.search(r"run pip install 'pynacl[^' ]*>=1\.6\.2[^' ]*'$", last)


def keys() -> Iterator[tuple[Ed25519PrivateKey, bytes]]:
    """A private key of another library and its public bytes, from fixed seeds."""
    for seed in range(3):
        key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(bytes([seed])).digest())
        yield key, key.public_key().public_bytes_raw()


@given(message=st.binary(max_size=5000), flip=st.integers(0, 511))
def test_agrees_with_another_library(message: bytes, flip: int) -> None:
    """What `cryptography` signed is good, and one flipped bit of the signature is not."""
    for key, public in keys():
        good = key.sign(message)
        assert signature.verify(public, message, good)
        bad = bytearray(good)
        bad[flip // 8] ^= 1 << flip % 8
        assert not signature.verify(public, message, bytes(bad))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_public_keys_of_other_lengths_raise(size: int) -> None:
    """The C function would read past a short key: the length is checked first."""
    with pytest.raises(ValueError, match=f"32 bytes, not {size}"):
        signature.verify(bytes(size), b"", bytes(64))
    with pytest.raises(ValueError, match=f"32 bytes, not {size}"):
        signature.is_valid_point(bytes(size))


@pytest.mark.parametrize("size", [0, 63, 65])
def test_signatures_of_other_lengths_raise(size: int) -> None:
    """A shifted boundary between signature and message is refused."""
    with pytest.raises(ValueError, match=f"64 bytes, not {size}"):
        signature.verify(bytes(32), b"", bytes(size))
