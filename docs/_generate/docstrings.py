"""Docstrings for autodoc: their sections as reStructuredText, and those of native classes."""

import inspect
import runpy
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring

_SECTIONS = Config(napoleon_use_ivar=True, napoleon_use_rtype=False)


def convert(
    app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]
) -> None:
    """Turn the sections of a docstring (`Raises:`) into what autodoc shows.

    To Sphinx's own extension for this, a colon in the first line of a property ends its type.
    """
    kind = "method" if what in {"property", "attribute"} else what
    lines[:] = GoogleDocstring(lines, _SECTIONS, app, kind, name, value, options).lines()


def describe_native(module_name: str) -> None:
    """Replace the native classes of a module by those of their `.pyi` files.

    The docstrings of native code are in these files, and not in the compiled modules.
    """
    module = import_module(module_name)
    for name in dir(module):
        value = getattr(module, name)
        source = _stub(value)
        if source is not None:
            described = runpy.run_path(str(source), run_name=value.__module__)[name]
            described.__module__ = module_name
            setattr(module, name, described)


def _stub(value: object) -> Path | None:
    """The `.pyi` file beside the native module of a class."""
    if not inspect.isclass(value) or not value.__module__.startswith("crewgate."):
        return None
    path = Path(import_module(value.__module__).__file__ or "")
    native = next((each for each in EXTENSION_SUFFIXES if path.name.endswith(each)), None)
    return path.with_name(path.name.removesuffix(native)).with_suffix(".pyi") if native else None
