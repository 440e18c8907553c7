"""What programs import: complete, documented, and versioned in one place."""

import importlib
import inspect
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

import crewgate
from crewgate import errors

PACKAGES = ("crewgate", "crewgate.issuer", "crewgate.asgi")
CLIENTS = ("httpx", "httpx2", "requests", "aiohttp", "grpc")
OUR_OWN = {
    "VerdictSource",
    "StandaloneSource",
    "IdentityProviderConfig",
}  # for constructors that only factories call
MODULES = [importlib.import_module(name) for name in PACKAGES]
NAMES = {name: getattr(module, name) for module in MODULES for name in module.__all__}
EXPORTED = set(NAMES.values())


def functions_of(thing: Any) -> Iterator[Any]:
    """What a program calls of an exported object: itself, or a class's public methods."""
    if not isinstance(thing, type):
        yield thing
        return
    if "__init__" in vars(thing) and inspect.isfunction(thing.__init__):
        yield thing.__init__
    for name, member in inspect.getmembers(thing):
        if name.startswith("_"):
            continue
        if isinstance(member, property):
            yield member.fget
        elif inspect.isfunction(member) or inspect.ismethod(member):
            yield member


def classes_in(hint: Any) -> Iterator[type]:
    """The classes that an annotation names, however deep."""
    if isinstance(hint, type) and not typing.get_args(hint):
        yield hint
    for part in typing.get_args(hint):
        if isinstance(part, list):
            for each in part:
                yield from classes_in(each)
        else:
            yield from classes_in(part)


def named_by(thing: Any) -> Iterator[type]:
    """The project's own classes in the signatures and fields of an exported object."""
    annotated = [each for each in functions_of(thing) if inspect.isroutine(each)]
    if isinstance(thing, type) and issubclass(thing, msgspec.Struct):
        annotated.append(thing)
    for each in annotated:
        # Some annotations name a class that only a type checker imports there.
        for hint in typing.get_type_hints(each, localns=NAMES).values():
            yield from (cls for cls in classes_in(hint) if cls.__module__.startswith("crewgate"))


@pytest.mark.parametrize("module", MODULES, ids=PACKAGES)
def test_what_public_functions_take_and_return_is_public(module: ModuleType) -> None:
    """Nobody has to import from a private module to annotate what they were given."""
    missing = {
        f"{name}: {found.__name__}"
        for name in module.__all__
        for found in named_by(getattr(module, name))
        if found not in EXPORTED and found.__name__ not in OUR_OWN
    }
    assert not missing


def test_the_search_for_what_is_missing_finds_it() -> None:
    """The check above can fail: it looks into unions, containers, fields and properties."""
    found = {each.__name__ for each in named_by(crewgate.Denial)}
    assert {"Reason", "Grant", "SpentWindow"} <= found
    assert crewgate.Claims in set(named_by(MODULES[1].SubAgent))


@pytest.mark.parametrize("module", MODULES, ids=PACKAGES)
def test_everything_exported_is_there_once_and_documented(module: ModuleType) -> None:
    """`__all__` is sorted and true, and each name says what it is."""
    assert sorted(module.__all__, key=str.casefold) == sorted(set(module.__all__), key=str.casefold)
    for name in module.__all__:
        thing = getattr(module, name)
        assert name == "__version__" or not isinstance(thing, type) or inspect.getdoc(thing)


def test_a_docstring_that_names_an_error_has_a_list_of_them() -> None:
    """In a section that a reader, and the reference that is made of it, finds by its head."""
    unlisted = {
        f"{thing.__name__}: {each.__qualname__}"
        for thing in EXPORTED
        for each in (thing, *functions_of(thing))
        if re.search(r"[a-z]Error\b", inspect.getdoc(each) or "")
        and not re.search(r"^Raises:$", inspect.getdoc(each) or "", re.MULTILINE)
    }
    assert not unlisted


def test_errors_are_exported_with_all_above_them() -> None:
    """`except` needs no private module, nor does an error that is caught with its kin."""
    exported = {each for each in EXPORTED if isinstance(each, type) and issubclass(each, Exception)}
    assert exported <= {getattr(crewgate, name) for name in crewgate.__all__}
    for error in exported:
        kin = {each for each in error.__mro__ if each.__module__ == errors.__name__}
        assert kin <= exported


@pytest.mark.parametrize("client", CLIENTS)
def test_each_client_has_its_own_token_auth(client: str) -> None:
    """In a module that imports the client, so that nobody needs all of them."""
    module = importlib.import_module(f"crewgate.issuer.{client}_auth")
    assert {"TokenAuth"} <= set(module.__all__) <= {"TokenAuth", "NoTokenError"}


def test_the_version_is_one() -> None:
    """The package's attribute, what is installed, and what the command prints."""
    command = [sys.executable, "-m", "crewgate.cli", "--version"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert version("crewgate") == crewgate.__version__ == printed.split()[-1]


def test_help_for_a_permit_names_the_file_with_its_docstrings() -> None:
    """Native methods have none of their own."""
    text = inspect.getdoc(crewgate.Permit) or ""
    (file,) = re.findall(r"crewgate/(\S+\.pyi)", text)
    assert "def settle" in (Path(crewgate.__file__).parent / file).read_text()
