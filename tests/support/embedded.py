"""Verifiers as embedders make them, and the policies that a program gives them."""

import base64
import os
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from crew_world import AUDIENCE, CREW, ISSUER, World

from crewgate import Permit, StandaloneVerifier, Verifier
from crewgate.core.verdict import Denial

PRICES = {"search.web": "0.00001", "embeddings.create": "0.000005", "free.ping": "0"}


def jwks(world: World, crew: str = CREW) -> dict[str, Any]:
    """The crew's public key as a JWKS."""
    public = world.keys[crew].public_key().public_bytes_raw()
    x = base64.urlsafe_b64encode(public).rstrip(b"=").decode()
    return {"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": f"{crew}-1", "x": x}]}


def crew_of(world: World, crew: str = CREW, **options: Any) -> dict[str, Any]:
    """What `Verifier.standalone` is given for one crew."""
    tools = ["search.*", "embeddings.create", "free.*"]
    return {"issuer": ISSUER, "keys": jwks(world, crew), "tools": tools, **options}


def standalone(
    world: World, limits: dict[str, dict[str, object]] | None = None, **options: Any
) -> StandaloneVerifier:
    """A standalone verifier for the world's crews; `options` are of each crew."""
    crews = {crew: crew_of(world, crew, **options) for crew in world.keys}
    return Verifier.standalone(audience=AUDIENCE, tools=PRICES, crews=crews, limits=limits)


def permitted(verdict: Permit | Denial) -> Permit:
    """The permit, or a failed test that says why there is none."""
    assert isinstance(verdict, Permit), verdict
    return verdict


def denied(verdict: Permit | Denial) -> Denial:
    """The denial, or a failed test."""
    assert isinstance(verdict, Denial), verdict
    return verdict


def in_child(work: Callable[[], object], raises: type[Exception] | None = None) -> None:
    """Call `work` in a child process of os.fork; there it must raise `raises`, or nothing."""
    child = os.fork()
    if not child:
        status = 1
        try:
            with pytest.raises(raises) if raises else nullcontext():
                work()
            status = 0
        except BaseException:  # noqa: BLE001 - the child must not run the rest of the tests
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
