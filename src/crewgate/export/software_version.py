"""The version of Crewgate, which receivers show beside its records."""

from importlib.metadata import version
from typing import Final

SOFTWARE_VERSION: Final = version("crewgate")
